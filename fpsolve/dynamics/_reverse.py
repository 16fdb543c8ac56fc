"""The reverse dynamics of a diffusion model: any target, process, score and stochasticity eta.

On a line its flow is known in closed form: paths without noise do not cross, and each keeps its rank among them. If the
flow carries the law p to q, the path that ends at x began at y with ``P(y) = Q(x)``, P and Q the distribution
functions: whatever the flow is, there is but one increasing map that carries p to q (Villani 2009,
doi:10.1007/978-3-540-71050-9, chapter 1).

`identity` and `short` say as text what a dynamics is made of: two results are held against each other by it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri_exp

from fpsolve import marginals, scores
from fpsolve._checks import error, finite, non_negative, real_array, values_at
from fpsolve._kinks import FELT_IN_SCORES, joints
from fpsolve._times import Joints
from fpsolve.dynamics._base import BaseDynamics, break_times, central_divergence
from fpsolve.dynamics._clock import Clock
from fpsolve.dynamics._stochasticity import Churn, Eta, always_zero, eta_joints, eta_values, felt
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.processes import EDM, Process, checked_process
from fpsolve.scores import Score, name_of

Array = NDArray[np.float64]

#: Newton steps; as many halvings of a bracket where those would leave it.
_STEPS = 100
#: Beyond all positions.
_FAR = 1e150
_EPS = float(np.finfo(float).eps)
#: Logarithm of a slope beyond which its value does not matter.
_STEEPEST = 300.0
#: Rounding errors in a logarithm of a tail and in a position.
_ROUNDING = 8.0


def at_rank_of(here: Law, x: Array, there: Law) -> tuple[Array, Array] | None:
    """Positions at which `there` has the ranks that `here` has at x, (n,), and what they may be wrong by.

    From the smaller of both tails in logarithms, so that no rank is lost far out. The error is what the tails at the
    positions found still differ by, and rounding, over the density there. None for laws without tails in closed form.
    """
    below, above = here.log_tail(x, np.ones_like(x)), here.log_tail(x, -np.ones_like(x))
    if below is None or above is None:
        return None
    side = np.where(below < above, 1.0, -1.0)
    goal = np.minimum(below, above)
    y = float(np.ravel(there.mean)[0]) + float(np.ravel(there.cov)[0]) ** 0.5 * side * ndtri_exp(goal)
    low, high = np.full_like(y, -_FAR), np.full_like(y, _FAR)
    for _ in range(_STEPS):
        tail = there.log_tail(y, side)
        if tail is None:
            return None
        gap = tail - goal
        # d log tail / dy, of the sign of `side`; where there is no density at all the error is as good as infinite
        steep = np.exp(np.clip(there.log_density(y) - tail, -_STEEPEST, _STEEPEST))
        low, high = np.where(side * gap < 0.0, y, low), np.where(side * gap > 0.0, y, high)
        moved = y - side * gap / steep
        left = (moved < low) | (moved > high)
        moved = np.where(left, 0.5 * (low + high), moved)
        blur = _ROUNDING * _EPS * ((1.0 + np.abs(goal)) / steep + np.abs(y))
        done = np.abs(moved - y) <= blur
        if done.all():
            break
        y = np.where(done, y, moved)
    return y, np.abs(gap) / steep + blur


_LONGEST = 500


def identity(dynamics: BaseDynamics) -> dict[str, str | float | int]:
    """Return the kind of dynamics and its parts: target, process, score model and eta, or the law.

    Examples
    --------
    >>> import fpsolve as fp
    >>> identity(fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.EDM(), eta=0.5))["eta"]
    0.5
    """
    attrs: dict[str, str | float | int] = {"dynamics": type(dynamics).__name__}
    for name in ("target", "process", "score_model", "eta", "law"):
        if hasattr(dynamics, name):
            value = getattr(dynamics, name)
            attrs[name] = value if isinstance(value, int | float) else "exact" if value is None else short(value)
    return attrs


def short(value: object) -> str:
    """Return the text of an object that is the same in every run, cut at 500 characters."""
    text = repr(value)
    # an address would differ from run to run
    text = name_of(value) if " at 0x" in text else text
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


#: Where a score model is looked at for kinks in time, in standard deviations; see `fpsolve._kinks.joints`.
_SPREAD, _LOOKS, _MOST = (-1.9, -0.8, 0.1, 0.9, 2.1), 60, 20

#: Step of the differences of a score model per width of the narrowest feature of p_t: 1e-10 on a normal density.
DIFFERENCE = 0.02


@dataclass(frozen=True, init=False)
class Reverse(BaseDynamics):
    """Reverse-time dynamics, in reverse time ``r = T - t``,

        dY = b(t, Y) dr + eta g(t) dB,    b(t, y) = -a(t) y + (1 + eta^2)/2 g(t)^2 s(t, y).

    With the exact score every `eta` carries ``p_T`` to ``p_t`` exactly.

    Parameters
    ----------
    target : Law
        Data law p_0.
    process : Process
        Forward process.
    score : callable ``score(t, x)`` or None
        Score model s; None is the exact score ``grad log p_t``. Points x have the shape (...) in 1D and (..., 2) in 2D.
        Where it jumps or has a kink in t it should have an attribute `breaks`, a tuple of times.
    eta : float or callable ``eta(t)``
        1 is the reverse SDE, 0 the probability-flow ODE, default 1. A function of forward time may be 0 on intervals;
        where it jumps or has a kink it should have an attribute `breaks`, a tuple of times, as that of
        `fpsolve.dynamics.edm_churn` has.

    Raises
    ------
    ValueError
        A target that is no law, a process that is none; eta < 0, at any time; a score that a first look refuses (see
        `fpsolve.scores.probe`) or that returns the wrong shape or non-finite values (at the time it happens).

    Warns
    -----
    ScoreWarning
        A score that does not fit the target, by more than any plausible model error: a wrong sign, a forgotten factor,
        another clock (see `fpsolve.scores.admitted`). Say `fpsolve.scores.perturbed` where it is meant.

    References
    ----------
    Anderson 1982, doi:10.1016/0304-4149(82)90051-5; Song et al. 2021, arXiv:2011.13456.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0))
    >>> round(float(reverse.drift(0.5, 1.0)), 12)  # y + 2 s(y) with s(y) = -y
    -1.0
    """

    target: Law
    process: Process
    score_model: Score | None
    eta: Eta
    reversed_time = True
    unbounded = True

    def __init__(self, target: Law, process: Process, score: Score | None = None, eta: Eta = 1.0) -> None:
        if not isinstance(target, Law):
            got = f"a {type(target).__name__}"
            raise error("target", "a law", got, "data become one by fpsolve.KernelDensity(samples)")
        checked_process(process)
        object.__setattr__(self, "target", target)
        object.__setattr__(self, "process", process)
        object.__setattr__(self, "score_model", score)
        if isinstance(eta, Churn) and eta.process not in (None, process):
            raise error("eta", f"churn of the process {process!r}", f"of {eta.process!r}", "give both the same process")
        if isinstance(eta, Churn) and eta.process is None and not isinstance(process, EDM):
            # sigma is the noise level, which is t in EDM only
            eta = replace(eta, process=process)
        object.__setattr__(self, "eta", eta if callable(eta) else felt(non_negative("eta", eta)))
        if callable(eta):
            eta_values(eta, process.T * np.geomspace(1e-6, 1.0, 65))
        if score is not None:
            # looked at here, so that the warning points at who hands it in; what is refused is refused at its first use
            with suppress(ValueError):
                self.__dict__["score"] = scores.admitted(score, process, target)

    @property
    def dim(self) -> int:
        """Dimension of the target."""
        return self.target.dim

    @property
    def horizon(self) -> float:
        """T of the process, where the run begins."""
        return float(self.process.T)

    def eta_at(self, t: ArrayLike) -> Array:
        """eta at forward times t, of their shape."""
        if not callable(self.eta):
            return np.full(real_array("t", t).shape, self.eta)
        return eta_values(self.eta, t)

    def constant_eta(self, what: str) -> float:
        """Eta as a number; ValueError where it is a function of t, `what` being what needs a number."""
        if callable(self.eta):
            raise error("eta", f"a number for {what}", "a function of t", "use one eta for all times there")
        return float(self.eta)

    @property
    def eta_label(self) -> float | str:
        """Eta for attributes and messages: the number, or how the function presents itself."""
        return repr(self.eta) if callable(self.eta) else float(self.eta)

    @cached_property
    def joints(self) -> Joints:
        """Where eta jumps, or begins or ceases to be 0, and kinks of the process and of the score model."""
        known = self.process.joints
        if callable(self.eta):
            known = eta_joints(self.eta, self.horizon).with_others(known)
        times = [*known.times, *getattr(self.score_model, "breaks", ())]
        return replace(known, times=break_times("breaks", times, self.horizon))

    def hidden(self, low: float, high: float, grid: Grid | None) -> Joints:
        """Kinks in time of a score model, at five points of the law that noise has spread."""
        if self.score_model is None or hasattr(self.score_model, "breaks"):
            return Joints()
        jumps: tuple[float, ...] | None = getattr(self.score_model, "jumps", None)
        if jumps is not None:
            return Joints(tuple(t for t in jumps if low < t < high))
        mean, std = np.atleast_1d(self.target.mean), np.sqrt(np.diagonal(np.atleast_2d(self.target.cov)))
        rows = np.multiply.outer(np.array(_SPREAD), np.ones(self.dim))
        rows[:, 1:] *= -0.7  # in the plane not along the diagonal

        def every(times: Array) -> Array:
            alpha, variance = self.process.scale(0.0, times), self.process.variance(0.0, times)
            found = []
            for t, scale, noise in zip(times.tolist(), alpha, variance, strict=True):
                width = np.sqrt(scale**2 * std**2 + noise)
                x = scale * mean + width * rows
                found.append((width * self.score(t, x[:, 0] if self.dim == 1 else x).reshape(x.shape)).ravel())
            return np.transpose(found)

        known = self.joints.times
        points = len(_SPREAD) * self.dim
        return joints(every, low, high, announced=known, looks=_LOOKS, felt=FELT_IN_SCORES, most=_MOST, together=points)

    @cached_property
    def noiseless(self) -> bool:
        """Whether eta is 0 at all times."""
        if not callable(self.eta):
            return self.eta == 0.0
        return always_zero(self.eta, self.horizon, self.breaks)

    @property
    def exact(self) -> bool:
        """Whether the score is the exact one."""
        return self.score_model is None

    @cached_property
    def marginals(self) -> marginals.Marginals:
        """The family of marginals p_t of the forward process."""
        return marginals.family(self.target, self.process)

    def marginal(self, t: float) -> Law:
        """The law p_t of the forward process at time t."""
        return self.marginals.law(finite("t", t))

    @cached_property
    def score(self) -> Score:
        """``score(t, x)``: the model's, checked at every call, or the exact one."""
        if self.score_model is None:
            return scores.exact(self.target, self.process)
        return scores.admitted(self.score_model, self.process, self.target)

    def drift(self, t: float, x: ArrayLike) -> Array:
        """b(t, x) in reverse time, point values of the shape of x."""
        points, t = real_array("x", x), min(t, self.held_from)
        a, g = self.process.drift_rate(t), self.process.diffusion(t)
        return np.asarray(-a * points + 0.5 * (1.0 + self._square(t)) * g**2 * self.score(t, points))

    def drift_and_divergence(self, t: float, x: Array) -> tuple[Array, Array]:
        """b(t, x) and ``div b = -d a + (1 + eta^2)/2 g^2 div s`` at points (n, 2).

        The divergence of the score is in closed form where the target is a normal mixture or where the model has a
        method ``divergence(t, x)``, else by central differences of the score.
        """
        t = min(t, self.held_from)
        a, g = self.process.drift_rate(t), self.process.diffusion(t)
        factor = 0.5 * (1.0 + self._square(t)) * g**2
        score, divergence = self._score_and_divergence(t, x)
        return np.asarray(-a * x + factor * score), np.asarray(-a * self.dim + factor * divergence)

    def _score_and_divergence(self, t: float, x: Array) -> tuple[Array, Array]:
        known = self.marginals.score_and_laplacian(t, x) if self.exact else None
        if known is not None:
            return known
        given = getattr(self.score_model, "divergence", None)
        if given is not None:
            return self.score(t, x), values_at("score.divergence", given(t, x), x.shape[:-1], f"at t = {t:g}")
        width = np.sqrt(self.process.scale(0.0, t) ** 2 * self.target.smallest_std**2 + self.process.variance(0.0, t))
        return self.score(t, x), central_divergence(lambda y: self.score(t, y), x, DIFFERENCE * float(width))

    def _square(self, t: float) -> float:
        eta = self.eta(t) if callable(self.eta) else self.eta
        return float(eta) ** 2

    def noise(self, t: ArrayLike) -> Array:
        """``eta g(t)``."""
        return np.asarray((self.eta_at(t) if callable(self.eta) else self.eta) * self.process.diffusion(t))

    def laws_at(self, t: float, starts: list[Law]) -> list[Law]:
        """The marginal p_t."""
        return [self.marginal(t)]

    @property
    def held_from(self) -> float:
        """That of the process."""
        return float(self.process.held_from)

    def forgotten(self, saves: Array) -> tuple[int, Law] | None:
        """Where alpha(0, T) = 0 noise forgets every start at once: ``P_{T->t}(y, .) = p_t`` with the exact score.

        A model's law shortly below T is that in which its drift and the noise, both infinite, balance: the run begins
        in p_T, of which nothing is left either.
        """
        if self.held_from == self.horizon or not float(self.noise(saves[0])) > 0.0:
            return None
        first = int(self.exact and saves[1] <= self.held_from)
        return first, self.marginal(float(saves[first]))

    def origins(self, times: Array, x: Array) -> tuple[Array, Array] | None:
        """By rank among the marginals, which the flow with the exact score carries into each other."""
        if not self.exact or self.dim != 1:
            return None
        first, found = self.marginal(float(times[0])), []
        for t in times[1:]:
            at = at_rank_of(self.marginal(float(t)), x, first)
            if at is None:
                return None
            found.append(at)
        positions, unsure = zip((x, np.zeros_like(x)), *found, strict=True)
        return np.stack(positions), np.stack(unsure)

    def log_gibbs_on_axes(self, times: Array, *axes: Array) -> Array | None:
        """``[(1 + eta^2) log p_t - a |x|^2 / g^2] / eta^2`` for the exact score, None for a model."""
        if not self.exact:
            return None
        times = np.minimum(times, self.held_from)
        square = np.square(self.eta_at(times))
        bowl = self.process.drift_rate(times) / (np.square(self.process.diffusion(times)) * square)
        return self.marginals.log_gibbs_on_axes(times, 1.0 + 1.0 / square, bowl, *axes)

    @cached_property
    def _clock(self) -> Clock:
        return Clock.of(self.target, self.process)

    def clock(self, t: ArrayLike) -> Array:
        """Monotone function of t in which equal steps are about equally hard, see `fpsolve.dynamics._clock`."""
        return self._clock.forward(t)

    def clock_inverse(self, tau: ArrayLike) -> Array:
        """Inverse of `clock`."""
        return self._clock.backward(tau)

"""What every forward process answers, and the look at one that a user wrote.

Its four functions of time have to be those of one diffusion. Schedules integrated once: the linear beta(t), its curved
generalisation, their means over short and long intervals. Any process with lengths in units of its own standard
deviation: there it is variance preserving.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fpsolve import _checks, _times
from fpsolve._callables import told
from fpsolve._checks import USER_ERRORS, FloatArray, error, positive, values_at
from fpsolve._kinks import joints
from fpsolve._messages import page
from fpsolve._times import Joints

if TYPE_CHECKING:
    from fpsolve.laws import Gaussian


class Process(ABC):
    """A linear diffusion ``dX_t = a(t) X_t dt + g(t) dW_t`` on [0, T], with scalar a and g.

    Its transition is ``X_t | X_s = x ~ N(scale(s, t) x, variance(s, t) I)`` where
    ``scale(s, t) = exp(int_s^t a)`` and ``variance(s, t) = int_s^t scale(u, t)^2 g(u)^2 du``.

    A new process is one frozen dataclass with T and the five methods below, written so that they are accurate
    for t close to s and to 0 (``expm1`` and friends). Times are forward times in [0, T]; all methods
    broadcast, and scalars give numpy scalars. A time outside of [0, T], or s > t, raises a ValueError. Where one
    is used `checked_process` sees whether the five agree.
    """

    T: float

    @abstractmethod
    def drift_rate(self, t: Any) -> FloatArray:
        """Return a(t), of the shape of `t` (unit 1/time)."""

    @abstractmethod
    def diffusion(self, t: Any) -> FloatArray:
        """Return g(t) >= 0, of the shape of `t` (unit length/sqrt(time))."""

    @abstractmethod
    def scale(self, s: Any, t: Any) -> FloatArray:
        """Return alpha(s, t) = exp(int_s^t a), for s <= t, broadcast over both."""

    @abstractmethod
    def variance(self, s: Any, t: Any) -> FloatArray:
        """Return sigma2(s, t), the variance added from s to t per axis, for s <= t, broadcast over both."""

    def _repr_html_(self) -> str:
        """Show scale and standard deviation over t."""
        t = np.linspace(0.0, self.T, 101)
        scale, std = self.scale(0.0, t), np.sqrt(self.variance(0.0, t))
        told = f"alpha = {scale[-1]:.4g} (blue) and s = {std[-1]:.4g} (red) at T = {self.T:g}"
        return page(f"{repr(self)[:300]}\n{told}", [(t, scale), (t, std)])

    @property
    def kinks(self) -> tuple[float, ...]:
        """Times in (0, T) at which a or g jumps or has a kink, default none; steps of a run end there.

        A process of your own whose schedule is in pieces says so here: within a step that holds a kink no scheme keeps
        its order, and error estimates that count on it are too small.
        """
        return ()

    @property
    def plain(self) -> Process:
        """The process in x: this one, but for `OwnUnits`."""
        return self

    @property
    def held_from(self) -> float:
        """Time from which on a and g are held, because they are infinite at T, where alpha(0, T) = 0; else T."""
        return self.T

    @property
    def opaque(self) -> bool:
        """Whether coefficients are functions that fpsolve does not know, and has to look at."""
        return type(self).__module__.split(".")[0] != "fpsolve"

    @cached_property
    def joints(self) -> Joints:
        """Times at which steps have to end: `kinks`, and those found in coefficients that fpsolve does not know."""

        def both(t: FloatArray) -> FloatArray:
            return np.stack([self.drift_rate(t), self.diffusion(t)])

        return joints(both, 0.0, self.T, announced=self.kinks) if self.opaque else Joints(self.kinks)

    @property
    @abstractmethod
    def prior_std(self) -> float:
        """Standard deviation of the prior, the law samplers start from."""

    def longer(self, T: float) -> Process | None:
        """Return the same diffusion on [0, T] for a T beyond its own; None where nothing says how it goes on.

        Steps that first add noise, as EDM's churn at the highest level, leave [0, T] for a moment.
        """
        return None

    def reaching(self, t: float) -> Process:
        """Return this process, or for a t beyond T that one churn can reach the same diffusion on [0, t].

        A churn raises the noise level ``sqrt(sigma2(0, t))/alpha(0, t)`` by at most a factor of sqrt(2). Where it is
        higher, or nothing says how the process goes on, it is this one, which refuses t.
        """
        longer = self.longer(float(t)) if t > self.T * (1.0 + 1e-9) else None
        if longer is None:
            return self
        levels = [float(p.variance(0.0, p.T)) / float(p.scale(0.0, p.T)) ** 2 for p in (self, longer)]
        return longer if levels[1] <= 2.0 * levels[0] * (1.0 + 1e-9) else self

    def prior(self, dim: int = 1) -> Gaussian:
        """Return the prior N(0, prior_std^2 I), the customary start at time T.

        Parameters
        ----------
        dim : int, default 1
            Dimension, 1 or 2.
        """
        # here, not above: laws and processes share a room, and only this line of it needs a law
        from fpsolve.laws import Gaussian

        mean = 0.0 if _checks.dimension("dim", dim) == 1 else np.zeros(2)
        return Gaussian(mean, std=self.prior_std)

    def _time(self, t: Any) -> FloatArray:
        return _times.within("t", t, self.T)

    def _interval(self, s: Any, t: Any) -> tuple[FloatArray, FloatArray]:
        """Return both times, checked and ordered, unmodified: t - s is exact for close floats."""
        # one pair of numbers, as samplers ask for it at every step
        if isinstance(s, float) and isinstance(t, float) and 0.0 <= s <= t <= self.T:
            return np.asarray(s), np.asarray(t)
        start, end = _times.within("s", s, self.T), _times.within("t", t, self.T)
        if (start > end).any():
            raise _checks.error("s", "times s <= t", "s > t", "the forward process runs from s to t; swap them")
        return start, end


class VariancePreserving(Process):
    """The process ``dX = -beta(t)/2 X dt + sqrt(beta(t)) dW`` of a noise rate beta and its integral."""

    @abstractmethod
    def beta(self, t: Any) -> FloatArray:
        """Return the noise rate beta(t)."""

    @abstractmethod
    def _integral(self, s: Any, t: Any) -> FloatArray:
        """Return ``int_s^t beta``."""

    def drift_rate(self, t: Any) -> FloatArray:
        """Return a(t) = -beta(t)/2."""
        return -0.5 * self.beta(t)

    def diffusion(self, t: Any) -> FloatArray:
        """Return g(t) = sqrt(beta(t))."""
        return np.sqrt(self.beta(t))

    def scale(self, s: Any, t: Any) -> FloatArray:
        """Return alpha(s, t)."""
        return np.exp(-0.5 * self._integral(s, t))

    def variance(self, s: Any, t: Any) -> FloatArray:
        """Return sigma2(s, t)."""
        return -np.expm1(-self._integral(s, t))

    @property
    def prior_std(self) -> float:
        """Standard deviation 1 of the prior, the stationary law."""
        return 1.0


def constant(value: float, like: FloatArray) -> FloatArray:
    """Return `value` in the shape of `like`, a scalar for a scalar."""
    return value + 0.0 * like


#: Times looked at, in T, and the relative gaps that are rounding, and that a kink of a table inside a panel may leave.
_TIMES = np.concatenate([np.geomspace(1e-3, 0.1, 5), np.linspace(0.2, 1.0, 9)])
_ROUNDING, _KINK = 1e-6, 0.02
_RULE, _HALVINGS = np.polynomial.legendre.leggauss(16), 12


def checked_process(process: Any) -> Process:
    """Return `process` if it is one; one that fpsolve does not know is looked at.

    Raises
    ------
    ValueError
        No process; T or prior_std not > 0; a method that raises, does not broadcast, or is not finite; a scale that is
        not > 0; scale(0, 0) != 1 or variance(0, 0) != 0; transitions that do not compose,
        ``alpha(0, t) = alpha(0, s) alpha(s, t)`` and ``sigma2(0, t) = alpha(s, t)^2 sigma2(0, s) + sigma2(s, t)``; or
        that are not those of the coefficients, ``log alpha(s, t) = int a`` and
        ``sigma2(s, t) = int alpha(u, t)^2 g(u)^2 du``.
    """
    if not isinstance(process, Process):
        raise error("process", "a forward process", f"a {type(process).__name__}", "for instance fpsolve.VP()")
    if type(process).__module__.split(".")[0] == "fpsolve":
        return process
    T = positive("process T", getattr(process, "T", None))
    positive("process prior_std", process.prior_std)
    t = T * _TIMES
    ask = _Asked(process)
    scale, variance = ask.of("scale", 0.0, t), ask.of("variance", 0.0, t)
    if scale[-1] == 0.0 and scale[:-1].min() > 0.0:
        remedy = f"give it as fpsolve.GaussianPath(scale=..., std=..., T={T:g}), or end it at T = {0.999 * T:.6g} say"
        raise error("process", "scale(0, T) > 0: a score at T must know something of the data", "0", remedy)
    if scale.min() <= 0.0 or variance.min() <= 0.0 or ask.of("diffusion", t).min() < 0.0:
        raise error("process", "scale > 0, variance > 0 and diffusion >= 0 at t > 0", "one that is not")
    zero = np.zeros(1)
    if abs(ask.of("scale", zero, zero)[0] - 1.0) > _ROUNDING or abs(ask.of("variance", zero, zero)[0]) > _ROUNDING:
        raise error("process", "scale(0, 0) = 1 and variance(0, 0) = 0", "others", "they are transitions from s to t")
    ask.of("drift_rate", t)
    _compose(ask, t, scale, variance)
    found = process.joints
    marks = np.unique(
        [*t, *(kink for kink in found.times if t[0] < kink < T), *found.beside(float(t[0]), T, 2.0, share=0.5)]
    )
    for low, high in pairwise(marks[np.append(True, np.diff(marks) > _ROUNDING * T)]):
        _coefficients(ask, float(low), float(high))
    return process


class _Asked:
    """A process whose answers are checked."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def of(self, method: str, *times: Any) -> FloatArray:
        shape = np.broadcast_shapes(*map(np.shape, times))
        try:
            value = getattr(self.process, method)(*times)
        except USER_ERRORS as reason:
            raise error(f"process {method}", f"an answer for times of shape {shape}", told(reason)) from reason
        return values_at(f"process {method}", value, shape)


def _compose(ask: _Asked, t: FloatArray, scale: FloatArray, variance: FloatArray) -> None:
    """Refuse transitions over [0, s] and [s, T] that do not give that over [0, T]."""
    onward, added = ask.of("scale", t, t[-1]), ask.of("variance", t, t[-1])
    pairs = {
        "scale(0, T) = scale(0, s) scale(s, T)": (scale * onward, scale[-1]),
        "variance(0, T) = scale(s, T)^2 variance(0, s) + variance(s, T)": (onward**2 * variance + added, variance[-1]),
    }
    for law, (found, whole) in pairs.items():
        worst = int(np.argmax(np.abs(found - whole)))
        if not abs(found[worst] - whole) <= _ROUNDING * abs(whole):
            got = f"{whole:.6g} and {found[worst]:.6g} at s = {t[worst]:.4g}"
            raise error("process", law, got, "check scale and variance")


def _coefficients(ask: _Asked, low: float, high: float) -> None:
    """Refuse transitions over [low, high] that are not the integrals of drift_rate and diffusion."""
    nodes, weights = _RULE
    # panels halved towards `high`: where alpha(0, T) is small, a and g may be singular just beyond T
    edges = np.append(high - (high - low) * 0.5 ** np.arange(_HALVINGS), high)
    widths = np.diff(edges)[:, None]
    u, w = (edges[:-1, None] + 0.5 * widths * (1.0 + nodes)).ravel(), (0.5 * widths * weights).ravel()
    rates = ask.of("drift_rate", u)
    exponent, given = float(w @ rates), float(np.log(ask.of("scale", low, np.array([high]))[0]))
    between = f"between t = {low:.4g} and {high:.4g}"
    if not abs(exponent - given) <= _KINK * max(abs(given), float(w @ np.abs(rates)), 1e-9):
        raise error("process", f"log scale = int drift_rate {between}", f"{given:.6g} and {exponent:.6g}")
    added = float(w @ np.square(ask.of("scale", u, high) * ask.of("diffusion", u)))
    variance = float(ask.of("variance", low, np.array([high]))[0])
    if not abs(added - variance) <= _KINK * abs(variance):
        law = f"variance = int scale(u, t)^2 diffusion(u)^2 du {between}"
        raise error("process", law, f"{variance:.6g} and {added:.6g}")


# terms of psi: 1/19! is below rounding for |z| < 1
_SERIES = 18


def check_schedule(beta_min: float, beta_max: float, T: float) -> None:
    """Refuse rates and final times that make no schedule."""
    _checks.non_negative("beta_min", beta_min)
    _checks.positive("beta_max", beta_max)
    _checks.positive("T", T)


def ramp(t: FloatArray, curvature: float, T: float) -> FloatArray:
    """Return (e^{ct} - 1)/(e^{cT} - 1), which is t/T at c = 0."""
    if _is_linear(curvature, T):
        return t / T
    risen: FloatArray = np.expm1(curvature * t) / np.expm1(curvature * T)
    return risen


def mean_ramp(s: FloatArray, t: FloatArray, curvature: float, T: float) -> FloatArray:
    """Return the mean of the ramp over [s, t].

    The mean of e^{cu} - 1 is written as ``expm1(cs) + e^{cs} psi(c(t - s))``, ``psi(z) = (e^z - 1 - z)/z``:
    both terms have the sign of c, so nothing cancels.
    """
    if _is_linear(curvature, T):
        return 0.5 * (s + t) / T
    # (e^z - 1 - z)/z, by its series ``sum_{k >= 1} z^k/(k + 1)!`` near 0
    z = curvature * (t - s)
    small = np.abs(z) < 1.0
    near = np.where(small, z, 0.0)
    series = np.zeros_like(near)
    for k in range(_SERIES, 0, -1):
        # Horner in the ratios z/(k + 1) of successive terms
        series = (1.0 + series) * near / (k + 1)
    far = np.where(small, 1.0, z)
    risen = np.expm1(curvature * s) + np.exp(curvature * s) * np.where(small, series, np.expm1(far) / far - 1.0)
    mean: FloatArray = risen / np.expm1(curvature * T)
    return mean


def _is_linear(curvature: float, T: float) -> bool:
    # below this the ramp equals t/T to rounding, and expm1(c t) may underflow
    return abs(curvature) * T < 1e-17


@dataclass(frozen=True)
class OwnUnits(Process):
    r"""A process in units of the standard deviation that data of standard deviation 1 have at time t.

    .. math:: y = x/c(t), \qquad c(t)^2 = \alpha(0, t)^2 + \sigma^2(0, t), \qquad
              dY = -\tfrac{\beta}{2} Y dt + \sqrt{\beta}\, dW, \qquad \beta = g^2/c^2

    Every process is variance preserving there, with the noise levels ``sigma/alpha`` of before: boxes, cells, starts
    and weights that suit one suit all. ``alpha(s, t)`` is divided by c(t)/c(s), ``sigma2(s, t)`` by ``c(t)^2``. Laws at
    t = 0 are those of before, total variation, KL and the reverse dynamics too; a weighted norm is one of V(x/c(t)).

    Parameters
    ----------
    process : Process
    T : float, optional
        Final time, at most that of the process, which is the default.

    Raises
    ------
    ValueError
        No process; a T that is not in (0, process.T].

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, section 2 (every linear process in the units of another).

    Examples
    --------
    >>> from fpsolve.processes import EDM, OwnUnits
    >>> process = OwnUnits(EDM())
    >>> round(float(process.scale(0.0, 80.0)) * 6401.0**0.5, 12), round(float(process.variance(0.0, 80.0)), 9)
    (1.0, 0.999843774)
    """

    process: Process
    T: float = 0.0

    def __post_init__(self) -> None:
        _checks.instances(process=(self.process, Process))
        if self.T == 0.0:
            object.__setattr__(self, "T", float(self.process.T))
        _checks.interval("T", self.T, 0.0, self.process.T, ends="(]")

    @property
    def plain(self) -> Process:
        """`process`."""
        return self.process.plain

    def length(self, t: Any) -> FloatArray:
        """Return the unit c(t), of the shape of `t`."""
        t = self._time(t)
        return np.sqrt(np.square(self.process.scale(0.0, t)) + self.process.variance(0.0, t))

    def beta(self, t: Any) -> FloatArray:
        """Return the noise rate ``g^2/c^2``."""
        return np.square(self.process.diffusion(t) / self.length(t))

    def drift_rate(self, t: Any) -> FloatArray:
        """Return ``-beta(t)/2``."""
        return -0.5 * self.beta(t)

    def diffusion(self, t: Any) -> FloatArray:
        """Return ``g(t)/c(t)``."""
        return self.process.diffusion(t) / self.length(t)

    def scale(self, s: Any, t: Any) -> FloatArray:
        """Return ``alpha(s, t) c(s)/c(t)``."""
        start, end = self._interval(s, t)
        return self.process.scale(start, end) * (self.length(start) / self.length(end))

    def variance(self, s: Any, t: Any) -> FloatArray:
        """Return ``sigma2(s, t)/c(t)^2``."""
        start, end = self._interval(s, t)
        return self.process.variance(start, end) / np.square(self.length(end))

    @property
    def kinks(self) -> tuple[float, ...]:
        """Those of the process."""
        return tuple(t for t in self.process.kinks if t < self.T)

    @property
    def held_from(self) -> float:
        """That of the process."""
        return min(self.T, self.process.held_from)

    @property
    def prior_std(self) -> float:
        """That of the process, in units of c(T)."""
        return float(self.process.prior_std / self.length(self.T))

    def longer(self, T: float) -> OwnUnits | None:
        """Return the same on [0, T]; None where the process does not say how it goes on."""
        process = self.process if T <= self.process.T else self.process.longer(T)
        return None if process is None else OwnUnits(process, T)

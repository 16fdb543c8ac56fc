"""What adapters share: one formula per kind of prediction, how a user's model is called, and what its values look like.

Throughout ``x = a x_0 + s eps`` with ``a = alpha(0, t)``, ``s = sqrt(sigma2(0, t))`` of the process, and every model is
the conditional expectation of something given x: of the noise eps, of the data x_0, of a velocity. To see which, it is
converted to a score as if it were of each kind, and the result is held against what a score must be: the exact one
where the target is known, otherwise how scores behave far out. There ``x . s/|x|^2 -> -1/(s_t^2 + a_t^2 v)`` for some
v >= 0, the variance of the data's tail, the same at all times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray, finite, instances, real_array
from fpsolve.processes import Process
from fpsolve.scores._base import Order, answer, name_of

Conversion: TypeAlias = Callable[[Process, float, FloatArray, FloatArray], FloatArray]


def transition(process: Process, t: float) -> tuple[float, float]:
    """Return ``a = alpha(0, t)`` and ``s = sqrt(sigma2(0, t))``; refuse times without noise."""
    process = process.reaching(t)
    variance = float(process.variance(0.0, t))
    if not variance > 0.0:
        raise _checks.error("t", "a time with noise, sigma2(0, t) > 0", t, "stop at some t_min > 0")
    return float(process.scale(0.0, t)), float(np.sqrt(variance))


def from_noise(process: Process, t: float, x: FloatArray, eps: FloatArray) -> FloatArray:
    """Return ``-eps/s``."""
    return -eps / transition(process, t)[1]


def from_data(process: Process, t: float, x: FloatArray, data: FloatArray) -> FloatArray:
    """Return ``(a D - x)/s^2`` for a denoiser D, the expectation of x_0."""
    a, s = transition(process, t)
    return (a * data - x) / s**2


def from_salimans_ho(process: Process, t: float, x: FloatArray, v: FloatArray) -> FloatArray:
    """Return ``-(s x + a v)/(s (a^2 + s^2))`` for ``v = a eps - s x_0``."""
    a, s = transition(process, t)
    return -(s * x + a * v) / (s * (a**2 + s**2))


def from_flow(process: Process, t: float, x: FloatArray, u: FloatArray) -> FloatArray:
    """Return ``(a u - a' x)/(s (a' s - a s'))`` for ``u = a' x_0 + s' eps``, primes the derivatives in t.

    With ``a' = rate a`` and ``(s^2)' = 2 rate s^2 + g^2`` of the process this is ``2 (rate x - u)/g^2``: u is the
    velocity of the probability flow, in forward time.
    """
    a, s = transition(process, t)
    process = process.reaching(t)
    if a == 0.0:
        # nothing is left of the data, p_t is N(0, s^2) whatever the model says, and rate and g are infinite
        return -x / s**2
    return 2.0 * (process.drift_rate(t) * x - u) / process.diffusion(t) ** 2


def unchanged(process: Process, t: float, x: FloatArray, score: FloatArray) -> FloatArray:
    """Return the score itself."""
    return score


#: What a model may be, and how it becomes a score; the EDM denoiser is a denoiser with other arguments.
KINDS: dict[str, Conversion] = {
    "score": unchanged,
    "noise prediction": from_noise,
    "denoiser": from_data,
    "velocity": from_salimans_ho,
    "flow velocity": from_flow,
}

#: The adapter of every kind.
ADAPTERS = {
    "noise prediction": "from_noise_prediction",
    "denoiser": "from_denoiser",
    "velocity": "from_velocity",
    "flow velocity": "from_flow_velocity",
}

Model: TypeAlias = Callable[..., Any]
#: The time a model is given: a factor times t, or any function of t.
Time: TypeAlias = float | Callable[[float], Any]


@dataclass(frozen=True, eq=False, repr=False)
class Adapter(ABC):
    """A model of some kind as a score ``s(t, x)``.

    Attributes
    ----------
    model : callable
        The user's.
    process : Process
        Forward process it was trained for.
    time : float or callable
        What the model is given for t: ``time * t``, or ``time(t)``.
    order : "t, x" or "x, t"
        The order of its arguments.
    """

    model: Model
    process: Process
    time: Time = 1.0
    order: Order = "t, x"

    #: What it is called in messages, among the kinds that a probe tells apart.
    kind: ClassVar[str]
    #: The function that makes it.
    maker: ClassVar[str]

    def __post_init__(self) -> None:
        instances(process=(self.process, Process))
        if not callable(self.model):
            raise _checks.error("model", "a callable model", name_of(self.model)[:60])
        _checks.one_of("order", self.order, ("t, x", "x, t"))
        if not callable(self.time):
            _checks.positive("time", self.time, remedy="give the factor of t, or a function of t")

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return the score at the points x, of their shape.

        Raises
        ------
        ValueError
            If the model returns another shape, NaN or infinities (with the first place), or t has no noise.
        """
        t, points = finite("t", t), real_array("x", x)
        return self.convert(t, points, answer(self.kind, t, points, self.predict(t, points)))

    def predict(self, t: float, x: FloatArray) -> Any:
        """Return the model's own answer at time t and points x."""
        return self._ask(self.time(t) if callable(self.time) else self.time * t, x)

    def _ask(self, time: Any, x: FloatArray) -> Any:
        return self.model(time, x) if self.order == "t, x" else self.model(x, time)

    def exchanged(self) -> Self:
        """Return the adapter that calls the model with its arguments in the other order."""
        return replace(self, order="x, t" if self.order == "t, x" else "t, x")

    @abstractmethod
    def convert(self, t: float, x: FloatArray, prediction: FloatArray) -> FloatArray:
        """Return the score from the model's answer."""

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        options = "" if self.time == 1.0 else f", time={name_of(self.time)}"
        options += "" if self.order == "t, x" else f", order={self.order!r}"
        return f"{self.maker}({name_of(self.model)}, {self.process!r}{options})"


#: Ratios s/a of the times that are looked at: below, at and above a data standard deviation of 1.
LEVELS = (0.1, 0.4, 1.5, 6.0)
#: Outer radius of the points, in standard deviations.
RADIUS = 4.0
#: Tail variances of data of standard deviation 1 that are believed without being told.
_PLAUSIBLE = (0.002, 50.0)
#: Relative errors with which a model is near the exact score, is far from it, and may be far where another kind is
#: nearer by the factor.
NEAR, FAR, DOUBTFUL, FACTOR = 0.3, 0.7, 0.1, 10.0
#: A model's error is beyond a plausible one where it is above the first number on average over noise of thrice the data
#: and more, or above the second at half of the times, or where its score is, up to the third, a multiple of the exact
#: one that is not above 0, or has a factor beyond the fourth, up or down. Measured on eight targets and six processes:
#: a linear model and kernel estimates of 20 to 2000 samples are off by 0.08 at most at such noise, a shift of the data
#: by 0.3 by 0.28, and by 0.51 at half of the times; the empirical score of 50 samples, off by up to 97 at little noise,
#: by 0.04 and 0.52; a kernel estimate that is too smooth has a factor of 0.15 at little noise. Factors of 2, -1, 3 are
#: off by 1, 2, 2 everywhere, a forgotten division by the variance has a factor of 0.01 at little noise.
NOISY, HALF, PARALLEL, MULTIPLE = 0.4, 1.0, 0.3, 10.0
_MUCH_NOISE = 3.0
#: Times that models take in place of t, by mistake or because nobody told: in steps, backwards, as a level of noise.
CLOCKS: dict[str, Callable[[Process, float], float]] = {
    "999 t": lambda process, t: 999.0 * t,
    "1000 t": lambda process, t: 1000.0 * t,
    "t/1000": lambda process, t: t / 1000.0,
    "t/999": lambda process, t: t / 999.0,
    "T - t": lambda process, t: float(process.T) - t,
    "t/T": lambda process, t: t / float(process.T),
    "s/a": lambda process, t: float(np.divide(*transition(process, t)[::-1])),
}
#: Logarithms of the factors by which tails may differ: to look like a kind, and to pass for what it is said to be.
ALIKE, UNLIKE = float(np.log(2.0)), float(np.log(3.0))
#: Misfits closer than this are not told apart.
TIE_EXACT, TIE_TAILS = 0.02, 0.3


def _negative(conversion: Conversion) -> Conversion:
    return lambda process, t, x, value: conversion(process, t, x, -value)


#: Kinds and, as a common mistake, their negatives.
CANDIDATES: dict[str, Conversion] = KINDS | {f"minus a {kind}": _negative(KINDS[kind]) for kind in list(KINDS)[:2]}


def probe_times(process: Process, window: tuple[float, float] | None = None) -> list[float]:
    """Return T and the times of the levels, from the latest to the earliest as a run has them, in the window."""
    low, high = (0.0, float(process.T)) if window is None else window
    grid = float(process.T) * np.geomspace(1e-8, 1.0, 2000)
    with np.errstate(divide="ignore"):
        ratio = 0.5 * np.log(process.variance(0.0, grid)) - np.log(process.scale(0.0, grid))
    times = np.append(np.exp(np.interp(np.log(LEVELS), ratio, np.log(grid))), process.T)
    return [float(t) for t in np.unique(np.clip(times, low, high))[::-1] if t > 0.0]


def probe_points(
    process: Process, t: float, dim: int, data_std: float, box: tuple[tuple[float, float], ...] | None = None
) -> FloatArray:
    """Return points around 0 up to `RADIUS` standard deviations: (n,) in 1D, (2, n, 2) in 2D; the outermost last."""
    a, s = transition(process, t)
    radii = np.hypot(a * data_std, s) * np.array([0.07, 0.6, 1.3, 2.4, RADIUS])
    if dim == 1:
        x: FloatArray = np.multiply.outer(radii, np.array([1.0, -1.0])).ravel()
        return x if box is None else np.clip(x, *box[0])
    angles = np.pi * (np.arange(8) + 0.3) / 4.0
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    x = np.reshape(radii[:, None, None] * rays, (2, -1, 2))
    return x if box is None else np.stack([np.clip(x[..., k], *box[k]) for k in range(2)], axis=-1)


def inward(x: FloatArray, score: FloatArray, dim: int) -> float:
    """Return the mean of ``x . s/|x|^2`` over the outermost points."""
    outermost = 2 if dim == 1 else 16
    x, score = x.ravel()[-outermost:], score.ravel()[-outermost:]
    return float(x @ score / (x @ x))


def tail_misfits(
    process: Process, times: Sequence[float], points: Sequence[FloatArray], values: Sequence[FloatArray], dim: int
) -> dict[str, tuple[float, float]]:
    """Return for every kind how far its tails are from a score's, as logarithms of factors: (any v, plausible v)."""
    a, s = np.array([transition(process, t) for t in times]).T
    misfits = {}
    for kind, convert in CANDIDATES.items():
        slopes = [
            inward(x, convert(process, t, x, value), dim) for t, x, value in zip(times, points, values, strict=True)
        ]
        misfits[kind] = _misfit(-np.array(slopes) * s**2, a, s)
    return misfits


def exact_errors(
    process: Process,
    times: Sequence[float],
    points: Sequence[FloatArray],
    values: Sequence[FloatArray],
    scores: Sequence[FloatArray],
) -> dict[str, float]:
    """Return for every kind the relative root-mean-square error of the score it would be."""
    errors = {}
    for kind, convert in CANDIDATES.items():
        shares = [
            np.sum((convert(process, t, x, value) - score) ** 2) / np.sum(score**2)
            for t, x, value, score in zip(times, points, values, scores, strict=True)
        ]
        errors[kind] = float(np.sqrt(np.mean(shares)))
    return errors


def beyond_plausible(
    process: Process, times: Sequence[float], values: Sequence[FloatArray], scores: Sequence[FloatArray]
) -> str:
    """Return in words what no plausible model error explains in a model's scores at draws from p_t, or ""."""
    a, s = np.array([transition(process, t) for t in times]).T
    size = np.array([np.linalg.norm(score) for score in scores])
    off = np.array([np.linalg.norm(v - e) for v, e in zip(values, scores, strict=True)]) / size
    factor = np.array([np.vdot(v, e) for v, e in zip(values, scores, strict=True)]) / size**2
    rest = [np.linalg.norm(v - c * e) for v, c, e in zip(values, factor, scores, strict=True)]
    own = np.array([np.linalg.norm(v) for v in values])
    parallel = bool(np.all(rest <= PARALLEL * own))
    wild = factor.min() <= 0.0 or max(factor.max(), 1.0 / max(factor.min(), 1e-300)) > MULTIPLE
    noisy = s >= _MUCH_NOISE * a
    far = np.sqrt(np.mean(off[noisy] ** 2)) if noisy.any() else 0.0
    if not (far > NOISY or np.median(off) > HALF or (parallel and wild)):
        return ""
    if parallel and np.ptp(factor) <= 0.1 * np.abs(factor).max():
        return f"it is {np.mean(factor):.3g} times the exact one"
    if parallel:
        return f"it is {factor.min():.2g} to {factor.max():.2g} times the exact one: a factor that depends on time"
    if np.median(off) > HALF:
        return "it is further off than a score of 0 at most times"
    worst = int(np.argmax(np.where(noisy, off, 0.0)))
    return f"off by {off[worst]:.2g} at t = {times[worst]:.3g}, where noise hides the data and every model is near"


def _misfit(pull: FloatArray, a: FloatArray, s: FloatArray) -> tuple[float, float]:
    """Largest ``|log(pull (s^2 + a^2 v)/s^2)|`` over the times, at the best v and at the best plausible v."""
    if np.any(pull <= 0.0):
        return float("inf"), float("inf")
    v = np.concatenate([[0.0], np.geomspace(1e-4, 1e4, 400)])
    gap = np.abs(np.log(pull[:, None] * (1.0 + np.multiply.outer((a / s) ** 2, v)))).max(axis=0)
    plausible = (v >= _PLAUSIBLE[0]) & (v <= _PLAUSIBLE[1])
    return float(gap.min()), float(gap[plausible].min())

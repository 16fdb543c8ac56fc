"""What adapters share: one formula per kind of prediction, and how a user's model is called.

From what a model predicts to the score: one formula per kind.

Throughout ``x = a x_0 + s eps`` with ``a = alpha(0, t)``, ``s = sqrt(sigma2(0, t))`` of the process, and every model is
the conditional expectation of something given x: of the noise eps, of the data x_0, of a velocity.

What all adapters share: how the model is called, and that its answers are checked.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray, finite, instances, real_array
from fpsolve.processes import Process
from fpsolve.scores._base import answer, name_of

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
#: Which argument of the model comes first.
Order: TypeAlias = Literal["t, x", "x, t"]
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

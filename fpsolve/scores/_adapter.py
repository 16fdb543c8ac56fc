"""What all adapters share: how the model is called, and that its answers are checked."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, TypeAlias

from fpsolve import _checks
from fpsolve._checks import FloatArray, finite, instances, real_array
from fpsolve.processes import Process
from fpsolve.scores._arrays import answer
from fpsolve.scores._names import name_of

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

    def exchanged(self) -> Self:
        """Return the adapter that calls the model with its arguments in the other order."""
        return replace(self, order="x, t" if self.order == "t, x" else "t, x")

    @abstractmethod
    def convert(self, t: float, x: FloatArray, prediction: FloatArray) -> FloatArray:
        """Return the score from the model's answer."""

    def _ask(self, time: Any, x: FloatArray) -> Any:
        return self.model(time, x) if self.order == "t, x" else self.model(x, time)

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        options = "" if self.time == 1.0 else f", time={name_of(self.time)}"
        options += "" if self.order == "t, x" else f", order={self.order!r}"
        return f"{self.maker}({name_of(self.model)}, {self.process!r}{options})"

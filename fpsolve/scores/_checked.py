"""The check every score passes at the border."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from fpsolve._callables import answer_of
from fpsolve._checks import FloatArray, finite, real_array
from fpsolve.scores._arrays import answer
from fpsolve.scores._names import name_of

Score: TypeAlias = Callable[[float, FloatArray], FloatArray]


@dataclass(frozen=True, eq=False, repr=False)
class CheckedScore:
    """A user's score, whose every answer is checked: shape of x, real, finite.

    Parameters
    ----------
    score : callable
        ``score(t, x)``, t a float, x of shape ``(...)`` in 1D or ``(..., 2)`` in 2D.
    dim : int, optional
        1 or 2; known, messages name whole points.
    """

    score: Callable[[float, Any], Any]
    dim: int | None = None

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return ``score(t, x)`` as float64; tensors are taken off their device.

        Raises
        ------
        ValueError
            If it is of another shape than x, complex, not numeric, or not finite; the message says at which t.
        """
        t, x = finite("t", t), real_array("x", x)
        return answer("score", t, x, answer_of(f"score at t = {t:g}", self.score, t, x), self.dim)

    def __repr__(self) -> str:
        """Return the description of the score that is checked."""
        return name_of(self.score)


def checked(score: Callable[[float, Any], Any], dim: int | None = None) -> CheckedScore:
    """Return `score` behind the check, itself if it is behind it already.

    Raises
    ------
    ValueError
        If `score` is not callable.

    Examples
    --------
    >>> from fpsolve.scores import checked
    >>> float(checked(lambda t, x: -x)(0.5, 2.0))
    -2.0
    """
    if isinstance(score, CheckedScore):
        return score
    if not callable(score):
        raise ValueError(f"score: expected a callable score(t, x), got {score!r}; leave it out for the exact score.")
    return CheckedScore(score, dim)

"""The check every score passes at the border."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from fpsolve._checks import FloatArray

Score: TypeAlias = Callable[[float, FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class CheckedScore:
    """A user's score, whose every answer is checked: shape of x, real, finite.

    Parameters
    ----------
    score : callable
        ``score(t, x)``, t a float, x of shape ``(...)`` in 1D or ``(..., 2)`` in 2D.
    """

    score: Callable[[float, Any], Any]

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return ``score(t, x)`` as float64.

        Raises
        ------
        ValueError
            If it is of another shape than x, complex, not numeric, or not finite; the message says at which t.
        """
        x = np.asarray(x, dtype=np.float64)
        value = _real_array(t, self.score(t, x))
        if value.shape != x.shape:
            raise ValueError(
                f"score at t = {t:g}: expected the shape of x, {x.shape}, got {value.shape}; "
                "return one number (1D) or vector (2D) per point."
            )
        bad = ~np.isfinite(value)
        if bad.any():
            raise ValueError(
                f"score at t = {t:g}: expected finite numbers, got {int(bad.sum())} NaN or infinite of {bad.size}, "
                f"the first where x = {float(x.ravel()[int(bad.argmax())]):g}; "
                "evaluate in logarithms, not as a ratio of densities."
            )
        return value


def checked(score: Callable[[float, Any], Any]) -> CheckedScore:
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
    return CheckedScore(score)


def _real_array(t: float, value: Any) -> FloatArray:
    message = f"score at t = {t:g}: expected an array of real numbers, got {type(value).__name__}"
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # ragged lists, tensors that cannot be shared
        raise ValueError(f"{message} that numpy cannot convert; return a numpy array.") from None
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{message} of dtype {array.dtype}; return real floats.")
    return np.asarray(array, dtype=np.float64)

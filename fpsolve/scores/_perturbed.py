"""A score with a known error added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._callables import refuse_signature
from fpsolve._checks import FloatArray, real_array
from fpsolve.scores._checked import Score
from fpsolve.scores._names import name_of
from fpsolve.scores.errors import Scaling, ScoreError

__all__ = ["Perturbed", "perturbed"]


@dataclass(frozen=True, eq=False, repr=False)
class Perturbed:
    """The score ``s + e``; see `perturbed`."""

    score: Score
    error: ScoreError | Scaling

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return ``s(t, x) + e(t, x)``."""
        points = real_array("x", x)
        value = np.asarray(self.score(t, points), dtype=np.float64)
        if isinstance(self.error, Scaling):
            return np.asarray((1.0 + self.error.share) * value)
        return value + _checks.values_at("error", self.error(t, points), points.shape, f"at t = {t:g}")

    @property
    def domain(self) -> Any:
        """Where the score inside is defined, None for everywhere."""
        return getattr(self.score, "domain", None)

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        return f"perturbed({name_of(self.score)}, {name_of(self.error)})"


def perturbed(score: Score, error: ScoreError | Scaling) -> Perturbed:
    r"""Return a score with an error.

    .. math:: \hat s(t, x) = s(t, x) + e(t, x).

    Parameters
    ----------
    score : callable
        ``score(t, x)``; `exact` for an error that is known exactly.
    error : callable or Scaling
        ``error(t, x)`` of the shape of x, in units of the score; ready ones in `fpsolve.scores.errors`: ``Bias``,
        ``Scaling``, ``Sine``, ``Bump``, ``RandomField``, and ``InNoiseUnits`` and ``During`` around them.

    Returns
    -------
    Perturbed
        A callable ``score(t, x)``.

    Raises
    ------
    ValueError
        If one of the two cannot be called; at a call, an error of another shape, NaN or infinite.

    Examples
    --------
    >>> import fpsolve as fp
    >>> from fpsolve.scores import errors
    >>> exact = fp.scores.exact(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0))
    >>> score = perturbed(exact, errors.Bias(0.1))
    >>> float(score(0.5, 2.0))
    -1.9
    >>> score
    perturbed(exact(Gaussian(0.0, cov=1.0), OrnsteinUhlenbeck(T=1.0)), Bias(vector=0.1))
    """
    if not callable(score):
        raise _checks.error("score", "a callable score(t, x)", repr(score)[:60])
    if not isinstance(error, Scaling):
        refuse_signature("error", error, "t, x", "see fpsolve.scores.errors for ready ones")
    return Perturbed(score, error)

"""One step of a particle method, as what it does to a Gaussian: ``x' = A x + B s(t, x) + C Z``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GaussianStep:
    """Transition ``x -> N(A x + B s(t_from, x), C^2 I)``, from forward time ``t_from`` down to ``t_to``.

    Keeping the three numbers apart from the loop lets the same step drive particles (`apply`) and, cell by
    cell, a transition matrix (`mean` and `std`).

    Parameters
    ----------
    t_from, t_to : float
        Forward times, ``t_from > t_to``; the score is taken at ``t_from``, the start of the step.
    linear : float
        ``A``, dimensionless.
    score : float
        ``B``, in units of x squared.
    std : float
        ``C >= 0``, in units of x.

    Examples
    --------
    >>> step = GaussianStep(1.0, 0.9, linear=2.0, score=0.5, std=0.1)
    >>> float(step.mean(1.0, -1.0))
    1.5
    """

    t_from: float
    t_to: float
    linear: float
    score: float
    std: float

    def mean(self, x: Array | float, score: Array | float) -> Array:
        """``A x + B s``: where the step goes on average; any shape in, the same shape out."""
        return np.asarray(self.linear * np.asarray(x) + self.score * np.asarray(score), dtype=np.float64)

    def apply(self, x: Array, score: Array, normal: Array) -> Array:
        """Move particles: ``A x + B s + C Z`` with ``normal`` = Z standard normal, all of one shape."""
        moved = self.mean(x, score)
        moved += self.std * normal
        return moved

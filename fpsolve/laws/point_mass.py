"""The Dirac mass."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fpsolve._checks import FloatArray, integer
from fpsolve.laws._base import Law, location, plain
from fpsolve.laws._tail import COMPACT, Tail
from fpsolve.laws.gaussian import Gaussian

_NO_DENSITY = "PointMass: expected a law with a density, got a point mass; diffuse it first."


@dataclass(frozen=True, eq=False)
class PointMass(Law):
    """All mass at one point: for the oracle and for kernels, not a start on a grid.

    Parameters
    ----------
    at : float or array_like of shape (2,)
        The point; its shape decides the dimension.

    Examples
    --------
    >>> from fpsolve.laws import PointMass
    >>> PointMass(2.0).diffused(scale=0.5, variance=0.75)
    Gaussian(1.0, cov=0.75)
    """

    at: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", plain(location("PointMass at", self.at)))

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return 1 + np.ndim(self.at)

    @property
    def mean(self) -> float | FloatArray:
        """The point."""
        at: float | FloatArray = self.at
        return at

    @property
    def cov(self) -> float | FloatArray:
        """0."""
        return 0.0 if self.dim == 1 else np.zeros((2, 2))

    @property
    def tail(self) -> Tail:
        """No tail: the support is a point."""
        return COMPACT

    @property
    def smallest_std(self) -> float:
        """0."""
        return 0.0

    def log_density(self, x: Any) -> FloatArray:
        """Raise ValueError: a point mass has no density."""
        raise ValueError(_NO_DENSITY)

    def score(self, x: Any) -> FloatArray:
        """Raise ValueError: a point mass has no density."""
        raise ValueError(_NO_DENSITY)

    def cell_probabilities(self, *faces: Any) -> FloatArray:
        """Raise ValueError: a grid cannot represent a point mass."""
        raise ValueError(_NO_DENSITY)

    def sample(self, n: int, rng: np.random.Generator | int) -> FloatArray:
        """Return the point `n` times, shape ``(n,)`` or ``(n, 2)``."""
        return np.tile(self.at, (integer("n", n, minimum=0),) + (1,) * (self.dim - 1))

    def diffused(self, scale: float, variance: float) -> "PointMass | Gaussian":
        """Return ``N(scale x, variance I)``."""
        at = scale * np.asarray(self.at)
        return PointMass(at) if variance == 0.0 else Gaussian(at, std=float(np.sqrt(variance)))

    def axis_marginal(self, axis: int) -> "PointMass":
        """Return the point mass of coordinate `axis`."""
        return PointMass(np.atleast_1d(self.at)[axis])

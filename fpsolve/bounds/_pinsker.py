"""From relative entropy to (weighted) total variation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve import weights
from fpsolve._tails import edge_tail
from fpsolve.bounds._quadrature import END_SHARE
from fpsolve.grid import Grid
from fpsolve.weights import WeightLike

Array = NDArray[np.float64]

#: Share of a second moment that may lie beyond the box, by extrapolation.
_TAIL = 1e-2
#: Factors on V that are tried in the inequalities of Bolley and Villani.
_FACTORS = np.geomspace(1e-3, 1e2, 101)


@dataclass(frozen=True)
class WeightedPinsker:
    """Bounds of ``||mu - nu||_V`` from ``KL(mu|nu)``; infinite where a moment has not decayed at the ends of the box.

    Exponential moments are those of the box: what a tail beyond it would add cannot be known from cells.

    Attributes
    ----------
    hellinger : float
        ``sqrt(2) (mu(V^2) + nu(V^2))^{1/2} KL^{1/2}``.
    exponential : float
        ``(3/2 + log int e^{2V} dnu)(sqrt(KL) + KL/2)``, V rescaled by the best factor.
    square_exponential : float
        ``sqrt(2) (1 + log int e^{V^2} dnu)^{1/2} sqrt(KL)``, V rescaled by the best factor.
    """

    hellinger: float
    exponential: float
    square_exponential: float

    @property
    def best(self) -> float:
        """The smallest of the three."""
        return min(self.hellinger, self.exponential, self.square_exponential)


def weighted_pinsker(kl: float, mu: Array, nu: Array, grid: Grid, weight: WeightLike = None) -> WeightedPinsker:
    """Return three bounds of the weighted distance of mu and nu from their relative entropy ``KL(mu|nu)``.

    Parameters
    ----------
    kl : float
        Relative entropy, or a bound of it.
    mu, nu : arrays, shape of the grid
        Cell averages of their densities, for the moments.
    grid : Grid
    weight : Weight or callable, optional
        V, default ``1 + |x|^2``.

    References
    ----------
    Bolley and Villani 2005, doi:10.5802/afst.1095, Theorem 2.1 (the last two).

    Examples
    --------
    >>> import fpsolve as fp
    >>> grid, laws = fp.Grid.uniform((-9, 9), cells=300), (fp.Gaussian(0.0, std=1.0), fp.Gaussian(0.1, std=1.0))
    >>> found = weighted_pinsker(0.005, *(grid.cell_average(law) for law in laws), grid, fp.UnitWeight())
    >>> round(found.hellinger, 6)  # 2 sqrt(KL); Pinsker's own inequality gives sqrt(2 KL) for V = 1
    0.141421
    """
    v = weights.evaluate(weight, grid)
    second = _second_moment(mu + nu, v, grid)
    root = float(np.sqrt(kl))
    # the distance is homogeneous in V: each factor gives a bound
    first = [(1.5 + _log_moment(nu, 2.0 * c * v, grid)) * (root + 0.5 * kl) / c for c in _FACTORS]
    other = [np.sqrt(2.0 * (1.0 + _log_moment(nu, np.square(c * v), grid))) * root / c for c in _FACTORS]
    return WeightedPinsker(float(np.sqrt(2.0 * second)) * root, float(min(first)), float(min(other)))


def _second_moment(density: Array, v: Array, grid: Grid) -> float:
    """``int V^2`` of a density, its tail beyond the box included; infinite where that is a part of it that counts."""
    inside = float(np.sum(density * v**2) * grid.volume)
    tail = float(edge_tail(density, grid.axes, v**2))
    return inside + tail if tail <= _TAIL * inside else np.inf


def _log_moment(density: Array, exponent: Array, grid: Grid) -> float:
    """``log int e^exponent dnu``; infinite where the integrand has not decayed at the ends of the box."""
    positive = density > 0.0
    logs = np.where(positive, np.log(np.where(positive, density, 1.0)) + exponent, -np.inf)
    top = float(np.max(logs))
    size = np.exp(logs - top)
    inner = size[tuple(slice(1, -1) for _ in range(size.ndim))]
    total = float(size.sum())
    if total - float(inner.sum()) > END_SHARE * total:
        return float("inf")
    return top + float(np.log(total * grid.volume))

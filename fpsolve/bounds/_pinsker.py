"""From relative entropy to (weighted) total variation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, weights
from fpsolve._tails import edge_tail
from fpsolve.bounds._moments import Growth, log_exponential_moment, second_moment
from fpsolve.bounds._quadrature import LOST
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.weights import WeightLike

Array = NDArray[np.float64]

#: Share of a second moment that may lie beyond the box, by extrapolation.
_TAIL = 1e-2
#: Factors on V that are tried in the inequalities of Bolley and Villani.
_FACTORS = np.geomspace(1e-3, 1e2, 101)
_CELLS_SAY_NOTHING = "exponential moments of nu: its cells say nothing of its tail; give the law"


@dataclass(frozen=True)
class WeightedPinsker:
    """Bounds of ``||mu - nu||_V`` from ``KL(mu|nu)``; infinite where a moment is, or where it is not known.

    Attributes
    ----------
    hellinger : float
        ``sqrt(2) (mu(V^2) + nu(V^2))^{1/2} KL^{1/2}``.
    exponential : float
        ``(3/2 + log int e^{2V} dnu)(sqrt(KL) + KL/2)``, V rescaled by the best factor.
    square_exponential : float
        ``sqrt(2) (1 + log int e^{V^2} dnu)^{1/2} sqrt(KL)``, V rescaled by the best factor.
    unchecked : tuple of str
        What was taken for granted, or is not known.
    """

    hellinger: float
    exponential: float
    square_exponential: float
    unchecked: tuple[str, ...] = ()

    @property
    def best(self) -> float:
        """The smallest of the three."""
        return min(self.hellinger, self.exponential, self.square_exponential)


def weighted_pinsker(
    kl: float, mu: Array | Law, nu: Array | Law, grid: Grid, weight: WeightLike = None
) -> WeightedPinsker:
    r"""Return three bounds of the weighted distance of mu and nu from their relative entropy ``KL(mu|nu)``.

    Moments are those of the whole space. A law knows its tail: against Gaussian tails ``int e^{(cV)^2}`` is infinite
    for every c where V grows like ``|x|^2``, and ``int e^{2cV}`` finite only for small c. Cells know nothing beyond
    their box: second moments are then continued from the outermost cells, which is an estimate, and exponential ones
    are infinite unless V is bounded.

    Parameters
    ----------
    kl : float
        Relative entropy, or a bound of it; infinite gives no bound.
    mu, nu : Law, or array of the shape of the grid
        The laws, or cell averages of their densities.
    grid : Grid
    weight : Weight or callable, optional
        V, default ``1 + |x|^2``. How a function grows is not known: with one only `hellinger` is finite.

    Raises
    ------
    ValueError
        A relative entropy below 0, densities of another shape.

    References
    ----------
    Bolley and Villani 2005, doi:10.5802/afst.1095, Theorem 2.1 (the last two).

    Examples
    --------
    >>> import fpsolve as fp
    >>> grid, laws = fp.Grid.uniform((-9, 9), cells=300), (fp.Gaussian(0.0, std=1.0), fp.Gaussian(0.1, std=1.0))
    >>> found = weighted_pinsker(0.005, *laws, grid, fp.UnitWeight())
    >>> round(found.hellinger, 6)  # 2 sqrt(KL); Pinsker's own inequality gives sqrt(2 KL) for V = 1
    0.141421
    >>> weighted_pinsker(0.005, *laws, grid, fp.PolynomialWeight(2, 0.01)).square_exponential
    inf
    """
    _checks.instances(grid=(grid, Grid))
    if not (_checks.real_array("kl", kl).ndim == 0 and kl >= 0.0):
        raise _checks.error("kl", "a relative entropy >= 0", repr(kl))
    sides = [_side(name, one, grid, weight) for name, one in (("mu", mu), ("nu", nu))]
    root = float(np.sqrt(kl))
    unchecked = tuple(note for _, notes in sides for note in notes)
    second = sides[0][0] + sides[1][0]
    first, other = (_rescaled(_log_moment(nu, weight, square), square, kl) for square in (False, True))
    if not isinstance(nu, Law) and not np.isfinite(min(first, other)):
        unchecked = (*unchecked, _CELLS_SAY_NOTHING)
    return WeightedPinsker(float(np.sqrt(2.0 * second)) * root if root else 0.0, first, other, unchecked)


def _side(name: str, one: Array | Law, grid: Grid, weight: WeightLike) -> tuple[float, tuple[str, ...]]:
    """``int V^2`` of a law or of cell averages, and what was taken for granted."""
    if isinstance(one, Law):
        _checks.same_dim(name, one.dim, "grid", grid.dim)
        found = second_moment(one, weight, grid)
        return (found.value if found.margin >= 0.0 else np.inf), found.unchecked
    density = _checks.values_at(name, one, grid.shape)
    growth = Growth.of(weight)
    if growth is not None and growth.bounded:
        return float(weights.evaluate(weight, grid).flat[0]) ** 2, ()
    foretold = float(edge_tail(density, grid.axes, np.ones(grid.shape)))
    if abs(1.0 - float(density.sum() * grid.volume)) > LOST + 2.0 * foretold:
        return np.inf, (f"moments of {name}: mass beyond the box that its cells do not foretell",)
    square = weights.evaluate(weight, grid) ** 2
    inside = float(np.sum(density * square) * grid.volume)
    tail = float(edge_tail(density, grid.axes, square))
    value = inside + tail if tail <= _TAIL * inside else np.inf
    return value, (f"second moment of {name}: from its cells, continued beyond the box",)


def _log_moment(nu: Array | Law, weight: WeightLike, square: bool) -> Callable[[float], float]:
    """``c -> log int e^{2 c V} dnu``, or with `square` ``log int e^{(c V)^2} dnu``."""
    if isinstance(nu, Law):
        return lambda factor: log_exponential_moment(nu, weight, factor, square)
    growth = Growth.of(weight)
    if growth is None or not growth.bounded:
        return lambda factor: np.inf
    return lambda factor: factor**2 if square else 2.0 * factor


def _rescaled(log_moment: Callable[[float], float], square: bool, kl: float) -> float:
    """The inequality with the best of the factors: the distance is homogeneous in V, so each gives a bound."""
    root = float(np.sqrt(kl))
    best = np.inf
    for c in _FACTORS:
        moment = log_moment(float(c))
        if not np.isfinite(moment):
            # moments grow with the factor
            break
        found = np.sqrt(2.0 * (1.0 + moment)) * root / c if square else (1.5 + moment) * (root + 0.5 * kl) / c
        best = min(best, float(found))
    return best

"""``int_0^1 |F^-1(u) - G^-1(u)|^2 du`` from cell averages of two densities."""

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve.distances import _cells, _splines
from fpsolve.distances._smoothness import PRIMITIVES, spread

__all__ = ["squared_displacement"]

_ROUNDING = 8.0 * float(np.finfo(float).eps)


def squared_displacement(p: FloatArray, q: FloatArray, spacing: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return ``int |x - T(x)|^2 p(x) dx`` with ``T = G^-1 o F`` for every row, and its error.

    Parameters
    ----------
    p, q : arrays, shape (rows, n)
        Cell averages.
    spacing : array, shape (rows,) or (1,)
        Cell widths.

    Returns
    -------
    value, error : arrays, shape (rows,)
        The error covers reconstruction, quadrature and the round-off of the cumulatives.
    """
    widths = np.broadcast_to(spacing, len(p))
    sums = [_row(a * h, b * h) for a, b, h in zip(p, q, widths, strict=True)]
    value, error = np.array(sums).T
    return value * widths**2, error * widths**2


def _row(p: FloatArray, q: FloatArray) -> tuple[float, float]:
    """Return value and error for two arrays of cell masses, in units of cells."""
    costs = [_costs(p, q, degree, _cells.NODES) for degree in (4, 2, 0)]
    gap_2, gap_0 = (spread(np.abs(costs[0] - other)) for other in costs[1:])
    quadrature = np.abs(costs[0] - _costs(p, q, 4, _cells.NODES - 2))
    rounding = _ROUNDING * p.size**2 * (np.abs(p).sum() + np.abs(q).sum())
    error = PRIMITIVES.error(gap_2, gap_0).sum() + quadrature.sum() + rounding
    return float(costs[0].sum()), float(error)


def _costs(p: FloatArray, q: FloatArray, degree: int, nodes: int) -> FloatArray:
    """Return ``int |x - T(x)|^2 p dx`` over every cell."""
    u, weights = _cells.gauss(nodes)
    local = _splines.windows(_splines.coefficients(p, degree), degree)
    level = (np.cumsum(p) - p)[:, None] + local @ _splines.cumulative_basis(degree, u).T
    density = local @ _splines.basis(degree, u).T
    x = np.arange(p.size)[:, None] + u
    shift = x - _quantile(q, degree, level.ravel()).reshape(x.shape)
    return np.asarray((shift**2 * density) @ weights)


def _quantile(masses: FloatArray, degree: int, level: FloatArray) -> FloatArray:
    """Return the positions (in cells) where the cumulative spline reaches the levels, the ends beyond them."""
    faces = np.concatenate([np.zeros(1), np.cumsum(masses)])
    # cells whose mass is negative round-off hold no level
    rising = np.maximum.accumulate(faces)
    cell = np.clip(np.searchsorted(rising, level, side="right") - 1, 0, masses.size - 1)
    spline = _splines.coefficients(masses, degree)
    primitive = (
        _splines.windows(spline, degree)[cell] @ (_splines.monomials(degree) / np.arange(1.0, degree + 2.0)[:, None]).T
    )
    powers = np.concatenate([(faces[cell] - level)[:, None], primitive], axis=1)
    at_ends = np.where(powers[:, 0] >= 0.0, 0.0, 1.0)
    inside = (powers[:, 0] < 0.0) & (powers.sum(axis=1) > 0.0)
    zero, one = np.zeros(inside.sum()), np.ones(inside.sum())
    at_ends[inside] = _cells.bracketed_roots(powers[inside], zero, one, -one)
    return np.asarray(cell + at_ends)

"""Integrals over the cells of a plane, and over sets in it.

``int V |w|`` in 2D from cell averages of the signed w.

Sets of points that distances can be restricted to: functions, intervals, boxes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve._callables import answer_of
from fpsolve._checks import FloatArray
from fpsolve.distances import _splines
from fpsolve.distances._lines import ROUNDING, Line, Weigh
from fpsolve.distances._splines import VALUES, spread

# Gauss nodes per axis in cells without a change of sign: exact for quartics times weights of degree 3
_NODES = 4
# a conservative error is largest about here, and 0 on the faces and half-way
_INNER = np.array([0.25, 0.75])
# points at which V is evaluated at once, so that a table needs a few dozen megabytes
_CHUNK = 2**20


@dataclass(frozen=True)
class Plane:
    """Where the cells of one density lie: lower left corner of the box and cell widths."""

    low: tuple[float, float]
    spacing: tuple[float, float]

    def points(self, u: FloatArray, rows: range, columns: int) -> FloatArray:
        """Return the points at inner positions u x u of some rows of cells, shape (rows, m, ny, m, 2)."""
        x = self.low[0] + self.spacing[0] * (np.arange(rows.start, rows.stop)[:, None] + u)
        y = self.low[1] + self.spacing[1] * (np.arange(columns)[:, None] + u)
        grid = np.empty((*x.shape, *y.shape, 2))
        grid[..., 0], grid[..., 1] = x[:, :, None, None], y
        return grid


@dataclass(frozen=True, eq=False)
class WeightTable:
    """V on the cells of a plane, all of shape (..., nx, ny).

    Attributes
    ----------
    moments : array, shape (5, 5, nx, ny)
        ``int V B_k(u) B_l(v) du dv`` with the B-splines that act on the cell.
    largest, variation : arrays, shape (nx, ny)
        Largest value of V in the cell, and that minus the smallest.
    gap : array, shape (nx, ny)
        Difference of the mean of V to a coarser rule.
    """

    moments: FloatArray
    largest: FloatArray
    variation: FloatArray
    gap: FloatArray

    @classmethod
    def of(cls, weigh: Weigh, plane: Plane, shape: tuple[int, ...]) -> "WeightTable":
        """Tabulate V, some rows of cells at a time."""
        step = max(1, _CHUNK // (_NODES**2 * shape[1]))
        slabs = [range(k, min(k + step, shape[0])) for k in range(0, shape[0], step)]
        parts = [_slab(weigh, plane, slab, shape[1]) for slab in slabs]
        return cls(*(np.concatenate(part, axis=-2) for part in zip(*parts, strict=True)))


def absolute_integral(averages: FloatArray, planes: Sequence[Plane], weigh: Weigh) -> tuple[FloatArray, FloatArray]:
    """Return ``int V |s|`` over the box and its error for every density.

    s is the conservative tensor-product spline of degree 4. Squares in which it may change sign are split along
    the curve s = 0.

    Parameters
    ----------
    averages : array, shape (rows, nx, ny)
        Cell averages of the signed w.
    planes : sequence of Plane
        Positions of the cells of every row.
    weigh : callable
        V on arrays of points.

    Returns
    -------
    value, error : arrays, shape (rows,)
        The error covers reconstruction, quadrature and round-off of the sum, not the tail beyond the box.
    """
    sums = np.empty((2, len(averages)))
    for plane in dict.fromkeys(planes):
        table = WeightTable.of(weigh, plane, averages.shape[1:])
        for row in (k for k, at in enumerate(planes) if at == plane):
            value, error = absolute_by_cell(averages[row], plane, weigh, table)
            sums[:, row] = value.sum(), error.sum()
    return sums[0], sums[1]


def absolute_by_cell(
    averages: FloatArray, plane: Plane, weigh: Weigh, table: WeightTable
) -> tuple[FloatArray, FloatArray]:
    """Return ``int V |s|`` over every cell and its error, shapes (nx, ny)."""
    spline = tensor_spline(averages, 4)
    taps, _, nx, ny = table.moments.shape
    total = np.zeros((nx, ny))
    for k in range(taps):
        for j in range(taps):
            total += table.moments[k, j] * spline[k : k + nx, j : j + ny]
    value = np.abs(total)
    changes, split, gap = _split(spline, plane, weigh, table, value.sum())
    value[changes], outer = split, np.zeros_like(value)
    outer[changes] = gap
    error, rough = _spline_error(averages, spline)
    at_root = changes | (spread(spread(changes).T).T & rough)
    # the error of s has mean 0 in a cell, so only V's variation sees it; where the sign changes all of V does
    lever = 0.5 * table.variation + np.where(at_root, table.largest, 0.0)
    quadrature = outer + (table.gap + ROUNDING * table.largest) * np.abs(averages)
    area = plane.spacing[0] * plane.spacing[1]
    return area * value, area * (lever * error + quadrature)


def tensor_spline(averages: FloatArray, degree: int) -> FloatArray:
    """Return the coefficients of the conservative tensor-product spline, shape (nx + degree, ny + degree)."""
    return _splines.coefficients(_splines.coefficients(averages, degree).T, degree).T


def tensor_values(spline: FloatArray, degree: int, u: FloatArray) -> Iterator[FloatArray]:
    """Yield the spline at each pair of inner positions (u_a, u_b) of all cells, b fastest, shape (nx, ny)."""
    factors = _splines.basis(degree, u)
    for across in factors:
        strips = _combine(across, spline)
        for along in factors:
            yield _combine(along, strips.T).T


def values_in_cells(
    averages: FloatArray, cells: tuple[NDArray[np.intp], ...], u: FloatArray, v: FloatArray
) -> FloatArray:
    """Return the spline of degree 4 in m cells (row, column) at inner positions u x v, each (m, k): (m, k, k)."""
    local = np.lib.stride_tricks.sliding_window_view(tensor_spline(averages, 4), (5, 5))[cells]
    across, along = (_splines.basis(4, inner.ravel()).reshape(*inner.shape, 5) for inner in (u, v))
    return np.asarray(across @ local @ along.swapaxes(1, 2))


def _combine(factors: FloatArray, spline: FloatArray) -> FloatArray:
    cells = len(spline) - len(factors) + 1
    return np.asarray(sum(factor * spline[k : k + cells] for k, factor in enumerate(factors)))


def _split(
    spline: FloatArray, plane: Plane, weigh: Weigh, table: WeightTable, total: float
) -> tuple[NDArray[np.bool_], FloatArray, FloatArray]:
    """Return where s may change sign, ``int V |s|`` there and its difference to fewer nodes."""
    changes = _both_signs(spline)
    row, column = np.nonzero(changes)
    local = np.lib.stride_tricks.sliding_window_view(spline, (5, 5))[row, column]
    corners = _splines.bernstein(4) @ local @ _splines.bernstein(4).T
    lowest, highest = corners.min(axis=(1, 2)), corners.max(axis=(1, 2))
    # together these cannot matter more than rounding: tails far out change sign in every cell
    bound = np.maximum(highest, -lowest) * table.largest[row, column]
    matters = (lowest < 0.0) & (highest > 0.0) & (bound * max(len(row), 1) > np.finfo(float).eps * total)
    changes[row, column] = matters
    row, column = row[matters], column[matters]
    powers = _splines.monomials(4) @ local[matters] @ _splines.monomials(4).T
    squares = _splines.Squares.oriented(powers, corners[matters])

    def locate(index: NDArray[np.intp], u: FloatArray, v: FloatArray) -> FloatArray:
        x = plane.low[0] + plane.spacing[0] * (row[index, None] + u)
        y = plane.low[1] + plane.spacing[1] * (column[index, None] + v)
        return weigh(np.stack([x, y], axis=-1))

    fine, coarse = (_splines.absolute_in_squares(squares, locate, nodes) for nodes in _splines.OUTER)
    return changes, fine, np.abs(fine - coarse)


def _both_signs(spline: FloatArray) -> NDArray[np.bool_]:
    """Return the cells whose B-spline coefficients have both signs."""
    extremes = []
    for extreme in (np.minimum.reduce, np.maximum.reduce):
        strips = extreme([spline[k : len(spline) - 4 + k] for k in range(5)])
        extremes.append(extreme([strips[:, k : strips.shape[1] - 4 + k] for k in range(5)]))
    return np.asarray((extremes[0] < 0.0) & (extremes[1] > 0.0))


def _spline_error(averages: FloatArray, quartic: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Estimate ``max |s - w|`` in every cell, and where w is rough, shapes (nx, ny)."""
    gaps = [np.zeros_like(averages), np.zeros_like(averages)]
    quadratic = tensor_values(tensor_spline(averages, 2), 2, _INNER)
    for fine, coarse in zip(tensor_values(quartic, 4, _INNER), quadratic, strict=True):
        gaps[0] = np.maximum(gaps[0], np.abs(fine - coarse))
        gaps[1] = np.maximum(gaps[1], np.abs(fine - averages))
    gap_2, gap_0 = (spread(spread(gap).T).T for gap in gaps)
    return VALUES.error(gap_2, gap_0), VALUES.is_rough(gap_2, gap_0)


def _slab(
    weigh: Weigh, plane: Plane, rows: range, columns: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return moments, largest value, variation and quadrature gap of V on some rows of cells."""
    means = []
    for nodes in (_NODES - 1, _NODES):
        u, weights = _splines.gauss(nodes)
        v = weigh(plane.points(u, rows, columns))
        means.append(weights @ (v @ weights).swapaxes(0, 1).swapaxes(1, 2).reshape(nodes, -1))
    factors = weights[:, None] * _splines.basis(4, u)
    moments = np.einsum("iajl,ak->klij", v @ factors, factors, optimize=True)
    largest, smallest = v.max(axis=(1, 3)), v.min(axis=(1, 3))
    gap = np.abs(means[1] - means[0]).reshape(largest.shape)
    return moments, largest, largest - smallest, gap


#: A function from points to bool, an interval or several (1D), a box ((lo, hi), (lo, hi)) (2D).
Region: TypeAlias = Callable[[FloatArray], Any] | Sequence[Any]

# samples per cell that look for the ends of a function's set in 1D, and halvings that then find them
_SAMPLES, _HALVINGS = 16, 50
# samples per cell and axis that look for its boundary in 2D
_PER_AXIS = 8


@dataclass(frozen=True, eq=False)
class PointSet:
    """A set of points.

    Attributes
    ----------
    contains : callable
        Its indicator, 1.0 or 0.0 at points (...) in 1D, (..., 2) in 2D.
    lows, highs : arrays or None
        Ends of the intervals, shape (k,), or of the box, shape (2,); None for a function.
    """

    contains: Weigh
    lows: FloatArray | None = None
    highs: FloatArray | None = None

    @classmethod
    def of(cls, region: Any, dim: int) -> "PointSet":
        """Return the set a user's `region` describes; a ValueError where it describes none."""
        if callable(region):
            return cls(lambda points: _indicator(region, points, dim))
        bounds = _checks.real_array("region", region, "use (lo, hi), a list of these, a box, or a function of points")
        pairs = np.atleast_2d(bounds) if dim == 1 else bounds
        wanted = (2, 2) if dim == 2 else (len(pairs), 2)
        if pairs.shape != wanted or not (pairs[:, 0] < pairs[:, 1]).all():
            form = "((lo, hi), (lo, hi)) in 2D" if dim == 2 else "(lo, hi) or a list of these in 1D"
            raise _checks.error("region", f"{form} with lo < hi", repr(region)[:80], "or give a function of points")
        lows, highs = pairs.T

        def within(points: FloatArray) -> FloatArray:
            x = points if dim == 2 else points[..., None]
            inside = (x >= lows) & (x <= highs)
            return np.asarray(inside.all(axis=-1) if dim == 2 else inside.any(axis=-1), dtype=float)

        return cls(within, lows, highs)

    def ends(self, line: Line, cells: int) -> FloatArray:
        """Return the ends of the set on a line of cells, shape (k,)."""
        if self.lows is None or self.highs is None:
            return _changes(self.contains, line, cells)
        ends = np.concatenate([self.lows, self.highs])
        return np.asarray(ends[np.isfinite(ends)])

    def meets(self, places: FloatArray) -> float:
        """Return 1 where the set meets the stretch that the places (k,) go along, on a line; else 0."""
        if self.lows is None or self.highs is None:
            return float(self.contains(places).any())
        return float(((self.lows <= places.max()) & (self.highs >= places.min())).any())

    def overlap(self, plane: Plane, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the share of every cell in the set, (nx, ny), and where in each row and column of cells to look.

        The latter are inner positions (nx, 2), (ny, 2) of a rectangle in the cell that holds its part of the set:
        that part itself for a box, the whole cell for a function, whose share is sampled.
        """
        if self.lows is None or self.highs is None:
            inside = self.contains(plane.points(midpoints(_PER_AXIS), range(shape[0]), shape[1]))
            return inside.mean(axis=(1, 3)), *(np.tile([0.0, 1.0], (n, 1)) for n in shape)
        extents = []
        for low, h, n, start, stop in zip(plane.low, plane.spacing, shape, self.lows, self.highs, strict=True):
            faces = np.arange(n)[:, None]
            extents.append(np.clip((np.array([start, stop]) - low) / h - faces, 0.0, 1.0))
        across, along = (extent[:, 1] - extent[:, 0] for extent in extents)
        return np.outer(across, along), extents[0], extents[1]


def midpoints(count: int) -> FloatArray:
    """Return the midpoints of `count` equal parts of [0, 1]."""
    return np.asarray((np.arange(count) + 0.5) / count)


def _indicator(region: Callable[[FloatArray], Any], points: FloatArray, dim: int) -> FloatArray:
    shape = points.shape if dim == 1 else points.shape[:-1]
    inside = np.asarray(answer_of("region", region, points))
    if inside.shape != shape or inside.dtype != np.bool_:
        raise _checks.error(
            "region", f"booleans of shape {shape}", f"{inside.dtype} of shape {inside.shape}", "return one per point"
        )
    return inside.astype(float)


def _changes(contains: Weigh, line: Line, cells: int) -> FloatArray:
    """Return the points where membership changes, found by bisection between samples."""
    samples = line.low + line.spacing * np.linspace(0.0, cells, _SAMPLES * cells + 1)
    inside = contains(samples)
    k = np.nonzero(inside[:-1] != inside[1:])[0]
    low, high, first = samples[k], samples[k + 1], inside[k]
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        same = contains(middle) == first
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return np.asarray(0.5 * (low + high))

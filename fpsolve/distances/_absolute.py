"""``int V |w|`` from cell averages of the signed w, over the cells of lines and planes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import FloatArray
from fpsolve.distances import _splines
from fpsolve.distances._splines import VALUES, spline_error, spread

#: V at points of shape (...) in 1D, (..., 2) in 2D.
Weigh: TypeAlias = Callable[[FloatArray], FloatArray]

# summing positive numbers loses little: a few units in the last place of each
ROUNDING = 4.0 * np.finfo(float).eps
# two rules may miss a kink of V by similar amounts
_QUADRATURE = 4.0
# cells treated at once, so that memory stays near 100 MB whatever comes in
_CELLS_AT_ONCE = 2**17


@dataclass(frozen=True)
class Line:
    """Where the cells of each row lie: left end of the box and cell width, shape (rows,) or (1,)."""

    low: FloatArray
    spacing: FloatArray

    def rows(self, part: slice) -> "Line":
        """Return the geometry of some rows."""
        return self if self.low.size == 1 else Line(self.low[part], self.spacing[part])

    def positions(self, u: FloatArray, cells: int) -> FloatArray:
        """Return the points at inner positions u of every cell, shape (rows or 1, cells, len(u))."""
        inner = np.arange(cells)[:, None] + u
        return np.asarray(self.low[:, None, None] + self.spacing[:, None, None] * inner)

    def index(self, points: FloatArray) -> FloatArray:
        """Return points (k,) in units of cells from the left end, shape (rows or 1, k)."""
        return np.asarray((points - self.low[:, None]) / self.spacing[:, None])


def absolute_on_lines(
    averages: FloatArray, line: Line, weigh: Weigh, breaks: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return ``int V |s|`` over the box and its error for every row.

    s is the conservative spline of degree 4. Cells where it may change sign (found from Bernstein coefficients)
    and cells that hold one of the `breaks` of V are split there; Gauss-Legendre does the pieces.

    Parameters
    ----------
    averages : array, shape (rows, n)
        Cell averages of the signed w.
    line : Line
        Positions of the cells.
    weigh : callable
        V on arrays of points.
    breaks : array, shape (k,)
        Points where V has a kink or jump.

    Returns
    -------
    value, error : arrays, shape (rows,)
        The error covers reconstruction, quadrature of V and round-off of the sum, not the tail beyond the box.
    """
    rows = max(1, _CELLS_AT_ONCE // averages.shape[1])
    parts = [slice(k, k + rows) for k in range(0, averages.shape[0], rows)]
    results = [_block(averages[part], line.rows(part), weigh, breaks) for part in parts]
    values, errors = zip(*results, strict=True)
    return np.concatenate(values), np.concatenate(errors)


def _block(averages: FloatArray, line: Line, weigh: Weigh, breaks: FloatArray) -> tuple[FloatArray, FloatArray]:
    spline = _splines.coefficients(averages, 4)
    # ``int V s`` over whole cells (per cell width) by the full rule and two others, and V at the nodes. Where V has a
    # kink, one of Gauss and one with nodes at the ends never come as near to the full one as that to the truth
    local = _splines.windows(spline, 4)
    sums = []
    rules = (_splines.gauss(_splines.NODES - 2), _splines.lobatto(_splines.NODES + 1), _splines.gauss())
    for nodes, weights in rules:
        v = weigh(line.positions(nodes, local.shape[1]))
        table = (v * weights) @ _splines.basis(4, nodes)
        sums.append(np.einsum("rck,rck->rc", local, np.broadcast_to(table, local.shape)))
    whole, weight = sums[2], v
    apart = np.maximum(np.abs(whole - sums[0]), np.abs(whole - sums[1]))
    # the breaks as inner positions of every cell, shape (rows or 1, n, k); 1 where outside of it
    u = line.index(breaks)[:, None, :] - np.arange(averages.shape[1])[:, None]
    inner = np.where((u > 0.0) & (u < 1.0), u, 1.0)
    # where s may change sign in a cell: B-spline coefficients first, Bernstein's where those do
    changes, broken = _splines.both_signs(local), (inner < 1.0).any(axis=-1)
    row, cell = np.nonzero(changes)
    changes[row, cell] = _splines.both_signs(local[row, cell] @ _splines.bernstein(4).T)
    row, cell = np.nonzero(changes | broken)
    powers = local[row, cell] @ _splines.monomials(4).T
    within = np.broadcast_to(inner, (*averages.shape, breaks.size))[row, cell]
    pieces = np.abs(whole)
    pieces[row, cell] = _splines.absolute_in_cells(powers, _locator(line, row, cell, weigh), within)
    error, rough = spline_error(averages, spline)
    at_root = changes | (spread(changes) & rough)
    # the error of s has mean 0 in a cell, so only V's variation sees it; where the sign changes all of V does
    lever = _variation(weight, line, inner, weigh) + 2.0 * np.where(at_root, weight.max(axis=-1), 0.0)
    # zero but for weights with kinks in unknown places
    quadrature = np.where(broken, 0.0, _QUADRATURE * apart)
    rounding = ROUNDING * weight.max(axis=-1) * np.abs(averages)
    errors = lever * error + quadrature + rounding
    return line.spacing * pieces.sum(axis=1), line.spacing * errors.sum(axis=1)


def _variation(weight: FloatArray, line: Line, inner: FloatArray, weigh: Weigh) -> FloatArray:
    """Return how much V varies in every cell; in those with breaks its values on all pieces count."""
    found = np.asarray(np.ptp(weight, axis=-1))
    row, cell = np.nonzero((inner < 1.0).any(axis=-1))
    ends = np.zeros((row.size, 1))
    edges = np.sort(np.concatenate([ends, inner[row, cell], ends + 1.0], axis=1), axis=1)
    # just inside of every piece: a jump of V may lie closer to a face than any node
    pieces = 0.5 * (edges[:, 1:] + edges[:, :-1])
    low, spacing = np.broadcast_arrays(line.low, line.spacing)
    at = low[row, None] + spacing[row, None] * (cell[:, None] + pieces)
    values = np.concatenate([weigh(at), weight[row, cell]], axis=1)
    found[row, cell] = np.ptp(values, axis=1)
    return found


def _locator(line: Line, row: NDArray[np.intp], cell: NDArray[np.intp], weigh: Weigh) -> _splines.Locate:
    low = np.broadcast_to(line.low, row.max(initial=0) + 1) if line.low.size == 1 else line.low
    spacing = np.broadcast_to(line.spacing, low.shape) if line.spacing.size == 1 else line.spacing

    def locate(index: NDArray[np.intp], u: FloatArray) -> FloatArray:
        at = row[index]
        return weigh(low[at, None] + spacing[at, None] * (cell[index, None] + u))

    return locate


# Gauss nodes per axis in cells without a change of sign: exact for quartics times weights of degree 3
_NODES = 4
# a conservative error is largest about here, and 0 on the faces and half-way
_INNER = np.array([0.25, 0.75])
# points at which V is evaluated at once, so that a table needs a few dozen megabytes
_POINTS_AT_ONCE = 2**20


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
        step = max(1, _POINTS_AT_ONCE // (_NODES**2 * shape[1]))
        slabs = [range(k, min(k + step, shape[0])) for k in range(0, shape[0], step)]
        parts = [_slab(weigh, plane, slab, shape[1]) for slab in slabs]
        return cls(*(np.concatenate(part, axis=-2) for part in zip(*parts, strict=True)))


def absolute_on_planes(averages: FloatArray, planes: Sequence[Plane], weigh: Weigh) -> tuple[FloatArray, FloatArray]:
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
    # estimate ``max |s - w|`` in every cell, and where w is rough, shapes (nx, ny)
    gaps = [np.zeros_like(averages), np.zeros_like(averages)]
    quadratic = tensor_values(tensor_spline(averages, 2), 2, _INNER)
    for fine, coarse in zip(tensor_values(spline, 4, _INNER), quadratic, strict=True):
        gaps[0] = np.maximum(gaps[0], np.abs(fine - coarse))
        gaps[1] = np.maximum(gaps[1], np.abs(fine - averages))
    gap_2, gap_0 = (spread(spread(gap).T).T for gap in gaps)
    error, rough = VALUES.error(gap_2, gap_0), VALUES.is_rough(gap_2, gap_0)
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
    # the cells whose B-spline coefficients have both signs
    extremes = []
    for extreme in (np.minimum.reduce, np.maximum.reduce):
        strips = extreme([spline[k : len(spline) - 4 + k] for k in range(5)])
        extremes.append(extreme([strips[:, k : strips.shape[1] - 4 + k] for k in range(5)]))
    changes = np.asarray((extremes[0] < 0.0) & (extremes[1] > 0.0))
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

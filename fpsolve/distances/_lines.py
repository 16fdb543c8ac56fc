"""``int V |w|`` in 1D from cell averages of the signed w."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import FloatArray
from fpsolve.distances import _splines
from fpsolve.distances._splines import spline_error, spread

__all__ = ["ROUNDING", "Line", "Weigh", "absolute_integral"]

#: V at points of shape (...) in 1D, (..., 2) in 2D.
Weigh: TypeAlias = Callable[[FloatArray], FloatArray]

# summing positive numbers loses little: a few units in the last place of each
ROUNDING = 4.0 * np.finfo(float).eps
# two rules may miss a kink of V by similar amounts
_QUADRATURE = 4.0
# cells treated at once, so that memory stays near 100 MB whatever comes in
_CHUNK = 2**17


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


def absolute_integral(
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
    rows = max(1, _CHUNK // averages.shape[1])
    parts = [slice(k, k + rows) for k in range(0, averages.shape[0], rows)]
    results = [_block(averages[part], line.rows(part), weigh, breaks) for part in parts]
    values, errors = zip(*results, strict=True)
    return np.concatenate(values), np.concatenate(errors)


def _block(averages: FloatArray, line: Line, weigh: Weigh, breaks: FloatArray) -> tuple[FloatArray, FloatArray]:
    spline = _splines.coefficients(averages, 4)
    whole, coarse, weight = _unsplit(spline, line, weigh)
    # the breaks as inner positions of every cell, shape (rows or 1, n, k); 1 where outside of it
    u = line.index(breaks)[:, None, :] - np.arange(averages.shape[1])[:, None]
    inner = np.where((u > 0.0) & (u < 1.0), u, 1.0)
    changes, broken = _may_change_sign(spline), (inner < 1.0).any(axis=-1)
    row, cell = np.nonzero(changes | broken)
    powers = _splines.windows(spline, 4)[row, cell] @ _splines.monomials(4).T
    within = np.broadcast_to(inner, (*averages.shape, breaks.size))[row, cell]
    pieces = np.abs(whole)
    pieces[row, cell] = _splines.absolute_in_cells(powers, _locator(line, row, cell, weigh), within)
    error, rough = spline_error(averages, spline)
    at_root = changes | (spread(changes) & rough)
    # the error of s has mean 0 in a cell, so only V's variation sees it; where the sign changes all of V does
    lever = _variation(weight, line, inner, weigh) + 2.0 * np.where(at_root, weight.max(axis=-1), 0.0)
    # zero but for weights with kinks in unknown places
    quadrature = np.where(broken, 0.0, _QUADRATURE * np.abs(whole - coarse))
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


def _unsplit(spline: FloatArray, line: Line, weigh: Weigh) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return ``int V s`` over whole cells (per cell width) by the full and a coarser rule, and V at the nodes."""
    local = _splines.windows(spline, 4)
    sums = []
    for count in (_splines.NODES - 2, _splines.NODES):
        nodes, weights = _splines.gauss(count)
        v = weigh(line.positions(nodes, local.shape[1]))
        table = (v * weights) @ _splines.basis(4, nodes)
        sums.append(np.einsum("rck,rck->rc", local, np.broadcast_to(table, local.shape)))
    return sums[1], sums[0], v


def _may_change_sign(spline: FloatArray) -> NDArray[np.bool_]:
    """Return where s may change sign in a cell: B-spline coefficients first, Bernstein's where those do."""
    local = _splines.windows(spline, 4)
    mixed = _splines.both_signs(local)
    row, cell = np.nonzero(mixed)
    mixed[row, cell] = _splines.both_signs(local[row, cell] @ _splines.bernstein(4).T)
    return mixed


def _locator(line: Line, row: NDArray[np.intp], cell: NDArray[np.intp], weigh: Weigh) -> _splines.Locate:
    low = np.broadcast_to(line.low, row.max(initial=0) + 1) if line.low.size == 1 else line.low
    spacing = np.broadcast_to(line.spacing, low.shape) if line.spacing.size == 1 else line.spacing

    def locate(index: NDArray[np.intp], u: FloatArray) -> FloatArray:
        at = row[index]
        return weigh(low[at, None] + spacing[at, None] * (cell[index, None] + u))

    return locate

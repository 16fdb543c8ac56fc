"""The L1 distance of two densities on a set."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.distances import _lines, _planes
from fpsolve.distances._fields import Frame, aligned
from fpsolve.distances._norms import tail_of_difference, weigher
from fpsolve.distances._sets import PointSet, Region, midpoints
from fpsolve.distances.weighted import input_rounding
from fpsolve.weights import UnitWeight

__all__ = ["Region", "l1_on"]

# places beyond each end of the box at which a function's set is looked for
_BEYOND = 200
# points per cell and axis on the boundary of a region in 2D, and those they are compared with
_FINE, _COARSE = 16, 8


def l1_on(p: xr.DataArray, q: xr.DataArray, region: Region, *, unbounded: bool = True) -> xr.Dataset:
    """Return ``int_A |p - q| dx`` on a set A (no factor 1/2).

    Parameters
    ----------
    p, q : DataArray
        Cell averages of densities, see `weighted_tv`.
    region : callable, or sequence of numbers
        The set A: a function of points ((...) in 1D, (..., 2) in 2D) that returns booleans; in 1D an interval
        ``(lo, hi)`` or a list of them, in 2D a box ``((lo, hi), (lo, hi))``; ends may be infinite. In 1D and for
        boxes the ends are met exactly (those of a function if they are a sixteenth of a cell apart); in 2D the
        boundary of a function's set is sampled with 16 x 16 points per cell.
    unbounded : bool, default True
        As in `weighted_tv`; the tail counts where A reaches the outermost cells or points beyond the box.

    Returns
    -------
    Dataset
        `distance` and `error` over the leading dimensions.

    Raises
    ------
    ValueError
        If the region is none of these, a function does not return one boolean per point, or p and q do not fit.

    Examples
    --------
    >>> from fpsolve import Gaussian, Grid
    >>> grid = Grid.uniform((-9, 9), cells=300)
    >>> p, q = (xr.DataArray(grid.cell_average(Gaussian(m, std=1.0)), coords={"x": grid.x}) for m in (-1.0, 1.0))
    >>> round(float(l1_on(p, q, (0.0, np.inf)).distance), 8)  # Phi(1) - Phi(-1)
    0.68268949
    """
    _checks.flag("unbounded", unbounded)
    frame = aligned(p=p, q=q)
    mine, other = frame.rows(p), frame.rows(q)
    w, points = mine - other, PointSet.of(region, frame.dim)
    value, error = (_on_lines if frame.dim == 1 else _on_planes)(w, frame, points)
    error = error + input_rounding(frame, UnitWeight(), mine, other)
    if unbounded:
        weigh = _sides(points) if frame.dim == 1 else points.contains
        error = error + tail_of_difference(w, frame, weigh, (mine, other))
    return frame.labelled({"quantity": "L1 distance on a set"}, distance=value, error=error)


def _sides(points: PointSet) -> _lines.Weigh:
    """Return 1 on each half of a line of cells beyond whose end, by up to its length, the set has points; else 0."""

    def weigh(x: FloatArray) -> FloatArray:
        length = (x[-1] - x[0]) * x.size / (x.size - 1)
        beyond = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, _BEYOND)]) * length
        left, right = (points.meets(end + sign * beyond) for end, sign in ((x[0], -1.0), (x[-1], 1.0)))
        return np.where(np.arange(x.size) < x.size / 2, left, right)

    return weigh


def _on_lines(w: FloatArray, frame: Frame, points: PointSet) -> tuple[FloatArray, FloatArray]:
    """Return value and error of every row; the ends of the set become ends of the integrals."""
    sums = np.empty((2, len(w)))
    for rows, centres in frame.groups():
        spacing = (centres[-1] - centres[0]) / (centres.size - 1)
        line = _lines.Line(centres[:1] - 0.5 * spacing, np.array([spacing]))
        ends = points.ends(line, centres.size)
        sums[:, rows] = _lines.absolute_integral(w[rows], line, points.contains, ends)
    return sums[0], sums[1]


def _on_planes(w: FloatArray, frame: Frame, points: PointSet) -> tuple[FloatArray, FloatArray]:
    """Return value and error of every row; cells on the boundary of the set are sampled."""
    sums = np.empty((2, len(w)))
    planes, ones = frame.planes, weigher(UnitWeight(), 2)
    for plane in dict.fromkeys(planes):
        table = _planes.WeightTable.of(ones, plane, frame.shape)
        share, *extents = points.overlap(plane, frame.shape)
        cut = np.nonzero((share > 0.0) & (share < 1.0))
        corners = extents[0][cut[0]], extents[1][cut[1]]
        for row in (k for k, at in enumerate(planes) if at == plane):
            value, error = _planes.absolute_by_cell(w[row], plane, ones, table)
            fine, coarse = (_sampled(w[row], plane, points, cut, corners, count) for count in (_FINE, _COARSE))
            sampling = np.abs(fine - coarse)
            if points.lows is None:
                # where a straight boundary runs along an axis, fine and coarse may agree on the wrong share
                sampling += value[cut] / (2 * _FINE)
            sums[:, row] = value[share == 1.0].sum() + fine.sum(), error[share > 0.0].sum() + sampling.sum()
    return sums[0], sums[1]


def _sampled(
    w: FloatArray,
    plane: _planes.Plane,
    points: PointSet,
    cells: tuple[NDArray[np.intp], ...],
    corners: tuple[FloatArray, ...],
    count: int,
) -> FloatArray:
    """Return ``int |s| 1_A`` over some cells from count x count points in a rectangle of each."""
    widths = [corner[:, 1] - corner[:, 0] for corner in corners]
    u, v = (c[:, :1] + width[:, None] * midpoints(count) for c, width in zip(corners, widths, strict=True))
    x = plane.low[0] + plane.spacing[0] * (cells[0][:, None] + u)
    y = plane.low[1] + plane.spacing[1] * (cells[1][:, None] + v)
    inside = points.contains(np.stack(np.broadcast_arrays(x[:, :, None], y[:, None, :]), axis=-1))
    values = np.abs(_planes.values_in_cells(w, cells, u, v)) * inside
    area = plane.spacing[0] * plane.spacing[1] * widths[0] * widths[1]
    return np.asarray(values.mean(axis=(1, 2)) * area)

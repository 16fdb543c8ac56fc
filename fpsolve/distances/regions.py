"""The L1 distance of two densities on a set."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.distances import _lines, _planes
from fpsolve.distances._fields import Frame, aligned
from fpsolve.distances._norms import tail_mass
from fpsolve.distances.weighted import input_rounding
from fpsolve.weights import UnitWeight

__all__ = ["Region", "l1_on"]

#: A function from points to bool, an interval or several (1D), a box ((lo, hi), (lo, hi)) (2D).
Region: TypeAlias = Callable[[FloatArray], Any] | Sequence[Any]

# samples per cell that look for the boundary of a region in 1D, and halvings that then find it
_SAMPLES, _HALVINGS = 16, 50
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
        ``(lo, hi)`` or a list of them, in 2D a box ``((lo, hi), (lo, hi))``; ends may be infinite. In 1D the ends
        are met exactly (those of a function if they are a sixteenth of a cell apart); in 2D the boundary is
        sampled with 16 x 16 points per cell.
    unbounded : bool, default True
        As in `weighted_tv`; the tail counts only on sides where A reaches the outermost cells.

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
    frame = aligned(p=p, q=q)
    mine, other = frame.rows(p), frame.rows(q)
    contains = _membership(region, frame.dim)
    w = mine - other
    value, error = (_on_lines if frame.dim == 1 else _on_planes)(w, frame, contains)
    error = error + input_rounding(frame, UnitWeight(), mine, other)
    if unbounded:
        error = error + tail_mass(w, frame, contains)
    return frame.labelled({"quantity": "L1 distance on a set"}, distance=value, error=error)


def _membership(region: Any, dim: int) -> _lines.Weigh:
    """Return the indicator of the region as a function of points, values 0.0 and 1.0."""
    if callable(region):
        return lambda points: _indicator(region, points, dim)
    bounds = _checks.float_array("region", region, "use (lo, hi), a list of these, a box, or a function of points")
    wanted = (2,) if bounds.ndim == 1 else (2, 2) if dim == 2 else (bounds.shape[0] if bounds.ndim == 2 else 1, 2)
    if bounds.shape != wanted or (dim == 2 and bounds.ndim != 2) or not (bounds[..., 0] < bounds[..., 1]).all():
        form = "((lo, hi), (lo, hi)) in 2D" if dim == 2 else "(lo, hi) or a list of these in 1D"
        raise _checks.error("region", f"{form} with lo < hi", repr(region)[:80], "or give a function of points")
    lows, highs = np.atleast_2d(bounds).T
    if dim == 2:
        return lambda points: ((points >= lows) & (points <= highs)).all(axis=-1).astype(float)
    return lambda points: ((points[..., None] >= lows) & (points[..., None] <= highs)).any(axis=-1).astype(float)


def _indicator(region: Callable[[FloatArray], Any], points: FloatArray, dim: int) -> FloatArray:
    shape = points.shape if dim == 1 else points.shape[:-1]
    inside = np.asarray(region(points))
    if inside.shape != shape or inside.dtype != np.bool_:
        raise _checks.error(
            "region", f"booleans of shape {shape}", f"{inside.dtype} of shape {inside.shape}", "return one per point"
        )
    return inside.astype(float)


def _on_lines(w: FloatArray, frame: Frame, contains: _lines.Weigh) -> tuple[FloatArray, FloatArray]:
    """Return value and error of every row; the ends of the region become ends of the integrals."""
    sums = np.empty((2, len(w)))
    for rows, centres in frame.groups():
        spacing = (centres[-1] - centres[0]) / (centres.size - 1)
        line = _lines.Line(centres[:1] - 0.5 * spacing, np.array([spacing]))
        ends = _ends(contains, line, centres.size)
        sums[:, rows] = _lines.absolute_integral(w[rows], line, contains, ends)
    return sums[0], sums[1]


def _ends(contains: _lines.Weigh, line: _lines.Line, cells: int) -> FloatArray:
    """Return the points where membership changes, found by bisection between samples."""
    samples = line.low + line.spacing * np.linspace(0.0, cells, _SAMPLES * cells + 1)
    inside = contains(samples)
    k = np.nonzero(inside[:-1] != inside[1:])[0]
    low, high, first = samples[k], samples[k + 1], inside[k]
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        same = contains(middle) == first
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return 0.5 * (low + high)


def _on_planes(w: FloatArray, frame: Frame, contains: _lines.Weigh) -> tuple[FloatArray, FloatArray]:
    """Return value and error of every row; cells on the boundary of the region are sampled."""
    sums = np.empty((2, len(w)))
    planes = frame.planes
    ones: _lines.Weigh = lambda points: np.ones(points.shape[:-1])  # noqa: E731 - a weight is a function
    for plane in dict.fromkeys(planes):
        table = _planes.WeightTable.of(ones, plane, frame.shape)
        share = contains(plane.points(_midpoints(_COARSE), range(frame.shape[0]), frame.shape[1])).mean(axis=(1, 3))
        for row in (k for k, at in enumerate(planes) if at == plane):
            value, error = _planes.absolute_by_cell(w[row], plane, ones, table)
            boundary = np.nonzero((share > 0.0) & (share < 1.0))
            fine, coarse = (_sampled(w[row], plane, contains, boundary, m) for m in (_FINE, _COARSE))
            sums[0, row] = value[share == 1.0].sum() + fine.sum()
            sums[1, row] = error[share > 0.0].sum() + np.abs(fine - coarse).sum()
    return sums[0], sums[1]


def _midpoints(count: int) -> FloatArray:
    return (np.arange(count) + 0.5) / count


def _sampled(
    w: FloatArray, plane: _planes.Plane, contains: _lines.Weigh, cells: tuple[NDArray[np.intp], ...], count: int
) -> FloatArray:
    """Return ``int |s| 1_A`` over some cells from count x count points each."""
    u = _midpoints(count)
    values = _planes.values_in_cells(w, cells, u)
    x = plane.low[0] + plane.spacing[0] * (cells[0][:, None, None] + u[:, None])
    y = plane.low[1] + plane.spacing[1] * (cells[1][:, None, None] + u)
    inside = contains(np.stack(np.broadcast_arrays(x, y), axis=-1))
    return np.asarray((np.abs(values) * inside).mean(axis=(1, 2)) * plane.spacing[0] * plane.spacing[1])

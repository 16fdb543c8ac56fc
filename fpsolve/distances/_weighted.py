"""Weighted total variation of densities given by their cell averages, over everything or over a set.

Sets of points: functions, intervals, boxes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fpsolve import _checks, weights
from fpsolve._callables import answer_of
from fpsolve._checks import FloatArray
from fpsolve.distances import _absolute
from fpsolve.distances._absolute import Line, Plane, Weigh
from fpsolve.distances._fields import Frame, aligned, tail_of_difference, weigher, weighted_norm_of_rows, weighted_sum
from fpsolve.weights import UnitWeight, WeightLike

# half a unit in the last place of either cell average, and as much from its own computation
_INPUT_ROUNDING = float(np.finfo(float).eps)


def weighted_tv(p: xr.DataArray, q: xr.DataArray, weight: WeightLike = None, *, unbounded: bool = True) -> xr.Dataset:
    """Return the V-weighted total variation ``||p - q||_V = int V |p - q| dx``.

    There is no factor 1/2: V = 1 gives twice the usual total variation. The cell averages of w = p - q are turned
    into the conservative spline of degree 4 (the derivative of the quintic spline of the cumulative), which is
    integrated against V on the pieces between its roots; sixth order in the cell width on smooth densities, where
    ``sum V |p - q| h`` is only of second order.

    Parameters
    ----------
    p, q : DataArray
        Cell averages of densities (per unit length or area) on one uniform grid: dimensions x (or z with a coordinate
        x(..., z)) in 1D, x, y (or z_x, z_y with x and y) in 2D. Any leading dimensions, matched by name.
    weight : weight, callable or None
        V >= 1, default ``1 + |x|^2``.
    unbounded : bool, default True
        Whether the densities go on beyond the box. If so the weighted mass of p - q out there, extrapolated from
        the edges, is part of the error. Set False where the box is the whole state space.

    Returns
    -------
    Dataset
        `distance` and `error` over the leading dimensions. The error covers reconstruction, quadrature, the
        rounding of p and q and the tail, but not errors of the given cell averages themselves (for those of an
        evolved density see `forgetting_curve`).

    Raises
    ------
    ValueError
        If p or q is no such DataArray, they live on different grids, or hold NaN or infinities.

    Examples
    --------
    >>> from fpsolve import Gaussian, Grid
    >>> grid = Grid.uniform((-9, 9), cells=300)
    >>> cells = lambda law: xr.DataArray(grid.cell_average(law), dims="x", coords={"x": grid.x})
    >>> result = weighted_tv(cells(Gaussian(1e-4, std=1.0)), cells(Gaussian(-1e-4, std=1.0)))
    >>> f"{float(result.distance):.7e}"  # 12e-4 / sqrt(2 pi), up to the cube of 1e-4
    '4.7873074e-04'
    >>> bool(result.error < 1e-11)
    True
    """
    _checks.flag("unbounded", unbounded)
    frame = aligned(p=p, q=q)
    mine, other = frame.rows(p), frame.rows(q)
    norm = weighted_norm_of_rows(mine - other, frame, weight, unbounded=unbounded, densities=(mine, other))
    rounding = input_rounding(frame, weight, mine, other)
    return _dataset(frame, weight, norm.value, norm.error + rounding)


def weighted_norm(w: xr.DataArray, weight: WeightLike = None, *, unbounded: bool = True) -> xr.Dataset:
    """Return the V-weighted norm ``int V |w| dx`` of a signed difference.

    ``weighted_tv(p, q) = weighted_norm(p - q)``, up to the rounding of p and q, which this function cannot know.
    Where a difference is far smaller than the densities, give it directly: it has its digits, p - q lost them.

    Parameters
    ----------
    w : DataArray
        Cell averages of a signed difference, laid out as the densities of `weighted_tv`.
    weight, unbounded
        As in `weighted_tv`.

    Returns
    -------
    Dataset
        `distance` and `error` over the leading dimensions.

    Raises
    ------
    ValueError
        If w is no such DataArray, or holds NaN or infinities.
    """
    _checks.flag("unbounded", unbounded)
    frame = aligned(w=w)
    norm = weighted_norm_of_rows(frame.rows(w), frame, weight, unbounded=unbounded)
    return _dataset(frame, weight, norm.value, norm.error)


def total_variation(p: xr.DataArray, q: xr.DataArray, *, unbounded: bool = True) -> xr.Dataset:
    """Return the total variation ``TV = 1/2 int |p - q| dx``, between 0 and 1.

    Parameters
    ----------
    p, q, unbounded
        As in `weighted_tv`.

    Returns
    -------
    Dataset
        `distance` and `error` over the leading dimensions.

    Raises
    ------
    ValueError
        As in `weighted_tv`.
    """
    twice = weighted_tv(p, q, UnitWeight(), unbounded=unbounded)
    return (0.5 * twice).assign_attrs(twice.attrs | {"quantity": "total variation"})


def input_rounding(frame: Frame, weight: WeightLike, *densities: FloatArray, growth: float = 1.0) -> FloatArray:
    """Return what the rounding of the given cell averages may change in the norm of their difference.

    `growth` is how much the rounding of their computation exceeds that of storing them in float64.
    """
    weigh = weigher(weight, frame.dim)
    sums = [weighted_sum(density, frame, weigh) for density in densities]
    return np.asarray((growth * _INPUT_ROUNDING + frame.stored) * sum(sums))


def _dataset(frame: Frame, weight: WeightLike, distance: FloatArray, error: FloatArray) -> xr.Dataset:
    attrs = {"quantity": "weighted total variation", "weight": weights.to_json(weight)}
    return frame.labelled(attrs, distance=distance, error=error)


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
            # the points where membership changes, found by bisection between samples
            samples = line.low + line.spacing * np.linspace(0.0, cells, _SAMPLES * cells + 1)
            inside = self.contains(samples)
            k = np.nonzero(inside[:-1] != inside[1:])[0]
            low, high, first = samples[k], samples[k + 1], inside[k]
            for _ in range(_HALVINGS):
                middle = 0.5 * (low + high)
                same = self.contains(middle) == first
                low, high = np.where(same, middle, low), np.where(same, high, middle)
            return np.asarray(0.5 * (low + high))
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


def _sides(points: PointSet) -> Weigh:
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
        line = Line(centres[:1] - 0.5 * spacing, np.array([spacing]))
        ends = points.ends(line, centres.size)
        sums[:, rows] = _absolute.absolute_on_lines(w[rows], line, points.contains, ends)
    return sums[0], sums[1]


def _on_planes(w: FloatArray, frame: Frame, points: PointSet) -> tuple[FloatArray, FloatArray]:
    """Return value and error of every row; cells on the boundary of the set are sampled."""
    sums = np.empty((2, len(w)))
    planes, ones = frame.planes, weigher(UnitWeight(), 2)
    for plane in dict.fromkeys(planes):
        table = _absolute.WeightTable.of(ones, plane, frame.shape)
        share, *extents = points.overlap(plane, frame.shape)
        cut = np.nonzero((share > 0.0) & (share < 1.0))
        corners = extents[0][cut[0]], extents[1][cut[1]]
        for row in (k for k, at in enumerate(planes) if at == plane):
            value, error = _absolute.absolute_by_cell(w[row], plane, ones, table)
            fine, coarse = (_sampled(w[row], plane, points, cut, corners, count) for count in (_FINE, _COARSE))
            sampling = np.abs(fine - coarse)
            if points.lows is None:
                # where a straight boundary runs along an axis, fine and coarse may agree on the wrong share
                sampling += value[cut] / (2 * _FINE)
            sums[:, row] = value[share == 1.0].sum() + fine.sum(), error[share > 0.0].sum() + sampling.sum()
    return sums[0], sums[1]


def _sampled(
    w: FloatArray,
    plane: Plane,
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
    values = np.abs(_absolute.values_in_cells(w, cells, u, v)) * inside
    area = plane.spacing[0] * plane.spacing[1] * widths[0] * widths[1]
    return np.asarray(values.mean(axis=(1, 2)) * area)

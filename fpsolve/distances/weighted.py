"""Weighted total variation of densities given by their cell averages."""

import numpy as np
import xarray as xr

from fpsolve import _checks, weights
from fpsolve._checks import FloatArray
from fpsolve.distances._fields import Frame, aligned
from fpsolve.distances._norms import weigher, weighted_norm_of_rows, weighted_sum
from fpsolve.weights import UnitWeight, WeightLike

__all__ = ["input_rounding", "total_variation", "weighted_norm", "weighted_tv"]

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
    >>> f"{float(result.distance):.8e}"  # 12e-4 / sqrt(2 pi), up to the cube of 1e-4
    '4.78730736e-04'
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

"""Wasserstein distances in 1D from the cumulative distribution functions."""

from typing import Literal

import numpy as np
import xarray as xr

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve._tails import edge_tail
from fpsolve.distances import _cells, _splines
from fpsolve.distances._fields import Frame, aligned
from fpsolve.distances._norms import weigher, weighted_sum
from fpsolve.distances._quantiles import squared_displacement
from fpsolve.distances._smoothness import PRIMITIVES, spline_error, spread
from fpsolve.distances.divergences import root
from fpsolve.weights import UnitWeight

__all__ = ["wasserstein"]

# relative difference of the two masses that may be tails and rounding
_MASS_TOLERANCE = 1e-3
_ROUNDING = 8.0 * float(np.finfo(float).eps)


def wasserstein(p: xr.DataArray, q: xr.DataArray, order: Literal[1, 2] = 1, *, unbounded: bool = True) -> xr.Dataset:
    """Return the Wasserstein distance of order 1 or 2 of densities in 1D.

    ``W1 = int |F - G| dx`` and ``W2 = (int_0^1 |F^-1(u) - G^-1(u)|^2 du)^(1/2)`` with the cumulative distribution
    functions F, G. Between the faces these are the quintic splines that interpolate them; W1 is split at the
    crossings, W2 integrates ``|x - G^-1(F(x))|^2 p(x) dx``. In units of x.

    Parameters
    ----------
    p, q : DataArray
        Cell averages of densities, see `weighted_tv`, in 1D and of equal mass.
    order : {1, 2}
        Order of the distance.
    unbounded : bool, default True
        Whether the densities go on beyond the box; what that may change is then part of the error.

    Returns
    -------
    Dataset
        `distance` and `error` over the leading dimensions. W2 of less than about 1e-7 box lengths drowns in the
        round-off of the cumulatives, as its error says; W1 keeps its digits.

    Raises
    ------
    ValueError
        If the densities are in 2D, their masses differ by more than 1e-3 of them, or they do not fit together.

    Examples
    --------
    >>> from fpsolve import Gaussian, Grid
    >>> grid = Grid.uniform((-9, 9), cells=300)
    >>> p, q = (xr.DataArray(grid.cell_average(Gaussian(m, std=1.0)), coords={"x": grid.x}) for m in (0.0, 0.5))
    >>> [round(float(wasserstein(p, q, order).distance), 8) for order in (1, 2)]
    [0.5, 0.5]
    """
    _checks.one_of("order", order, (1, 2))
    _checks.flag("unbounded", unbounded)
    frame = aligned(p=p, q=q)
    if frame.dim != 1:
        raise _checks.error(
            "p, q", "densities in 1D", "2D", "use weighted_tv or hellinger, or the POT package on samples or cells"
        )
    mine, other = frame.rows(p), frame.rows(q)
    mismatch = _mass_mismatch(mine, other, frame)
    attrs = {"quantity": f"Wasserstein distance of order {order}"}
    if order == 1:
        value, error = _first(mine - other, frame)
        masses = weighted_sum(np.abs(mine) + np.abs(other), frame, weigher(UnitWeight(), 1))
        rounding = (np.finfo(float).eps + frame.stored) * masses
        error = error + (mismatch + rounding) * frame.length + _beyond(mine - other, frame, unbounded, 1)
        return frame.labelled(attrs, distance=value, error=error)
    square, error = squared_displacement(mine, other, frame.spacing[0])
    # as much as the round-off of the sums is in that of the cumulatives
    walk = np.sqrt(mine.shape[1]) * np.finfo(float).eps * np.abs(mine).sum(axis=1) * frame.volume
    mismatch = np.where(mismatch <= walk, 0.0, mismatch)
    error = error + mismatch * frame.length**2 + _beyond(np.abs(mine) + np.abs(other), frame, unbounded, 2)
    result = root(frame.labelled(attrs, distance=square, error=error))
    if frame.stored == 0.0:
        return result
    # by the triangle inequality: a share of the mass, the rounding of float32, may lie anywhere in the box
    moved = [np.sqrt(frame.stored * np.abs(density).sum(axis=1) * frame.volume) for density in (mine, other)]
    lost = frame.labelled({}, error=(moved[0] + moved[1]) * frame.length)
    return result.assign(error=result["error"] + lost["error"])


def _mass_mismatch(p: FloatArray, q: FloatArray, frame: Frame) -> FloatArray:
    masses = [density.sum(axis=1) * frame.volume for density in (p, q)]
    mismatch = np.abs(masses[0] - masses[1])
    if (mismatch > _MASS_TOLERANCE * np.abs(masses[0])).any():
        raise _checks.error(
            "p, q", "equal masses, within 1e-3", f"masses that differ by {mismatch.max():.3g}", "enlarge the box"
        )
    return np.asarray(mismatch)


def _beyond(density: FloatArray, frame: Frame, unbounded: bool, order: int) -> FloatArray:
    """Return what mass outside of the box may change: it is moved from where it is to somewhere in the box."""
    if not unbounded:
        return np.zeros(len(density))
    axes = [np.arange(float(density.shape[1]))]
    # tails are extrapolated in units of cells, and so is the distance from the middle of the box
    middle = 0.5 * (density.shape[1] - 1)
    moved = (density.shape[1] + np.abs(axes[0] - middle)) ** order
    return edge_tail(density, axes, moved) * frame.spacing[0] ** (order + 1)


def _first(w: FloatArray, frame: Frame) -> tuple[FloatArray, FloatArray]:
    """Return ``int |F - G|`` over the box and its error, from the cumulative of w = p - q (in cells)."""
    spline = _splines.coefficients(w, 4)
    start = np.cumsum(w, axis=1) - w
    powers = np.concatenate([start[..., None], _windows_primitive(spline)], axis=-1)
    whole = powers @ (1.0 / np.arange(1, 7))
    corners = powers @ _splines.to_bernstein(5).T
    row, cell = np.nonzero((corners.min(axis=-1) < 0.0) & (corners.max(axis=-1) > 0.0))
    pieces = np.abs(whole)
    pieces[row, cell] = _cells.absolute_in_cells(powers[row, cell], lambda index, u: np.ones_like(u))
    rounding = _ROUNDING * np.abs(start).sum(axis=1) + _ROUNDING * np.abs(w).sum(axis=1) * w.shape[1]
    square = frame.spacing[0] ** 2
    return pieces.sum(axis=1) * square, (_error_of_first(w, spline, start, corners) + rounding) * square


def _error_of_first(w: FloatArray, spline: FloatArray, start: FloatArray, corners: FloatArray) -> FloatArray:
    """Return the error of ``int |F - G|`` of every row, in cells; corners bound F - G in every cell.

    With S the spline of F - G, s its sign and ``E(x) = int_{-inf}^x (S - F + G)``, the error is ``int s dE``: what E
    has become at the far end, the error of the trapezoidal rule of the values at the faces, and 2 |E| at every change
    of sign. Errors of cells in between have both signs and cancel in E. Where w is not smooth nothing is known to. The
    sum of the sizes of all of them bounds it too, and is the smaller one where few cells hold everything.
    """
    local, rough = spline_error(w, spline)
    drifts = (np.abs(np.cumsum(_mean_primitive(w, 4) - _mean_primitive(w, degree), axis=1)) for degree in (2, 0))
    drift = PRIMITIVES.error(*(spread(one) for one in drifts))
    # the smallest value that is no round-off of the cumulative
    least = _ROUNDING * np.abs(w).sum(axis=1, keepdims=True)
    low, high = corners.min(axis=-1), corners.max(axis=-1)
    changes = (low < local) & (high > -local) & (np.maximum(high, -low) > least)
    cells = np.where(changes, 2.0 * (drift + local), 0.0) + np.where(rough, local, 0.0)
    return np.asarray(np.minimum(cells.sum(axis=1) + _trapezoidal_error(start), local.sum(axis=1)))


def _trapezoidal_error(values: FloatArray) -> FloatArray:
    """Return the error of the sum of every row as an integral, from those of every second and every fourth value."""
    fine = values.sum(axis=1)
    half, quarter = (
        np.max([np.abs(k * values[:, first::k].sum(axis=1) - fine) for first in range(k)], axis=0) for k in (2, 4)
    )
    return np.asarray(half * np.minimum(1.0, np.divide(half, quarter, out=np.ones_like(half), where=quarter > 0.0)))


def _mean_primitive(w: FloatArray, degree: int) -> FloatArray:
    """Return the mean over each cell of the integral of the spline of w from the left face."""
    k = np.arange(1.0, degree + 2.0)
    return np.asarray(
        _splines.windows(_splines.coefficients(w, degree), degree)
        @ ((1.0 / (k * (k + 1.0))) @ _splines.monomials(degree))
    )


def _windows_primitive(spline: FloatArray) -> FloatArray:
    """Return the coefficients of u, u^2, ..., u^5 of the integral of the spline from each left face."""
    return _splines.windows(spline, 4) @ (_splines.monomials(4) / np.arange(1.0, 6.0)[:, None]).T

"""Kullback-Leibler, chi-square and Hellinger: distances that compare densities point by point."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve._tails import edge_tail
from fpsolve.distances._fields import Frame, aligned
from fpsolve.distances._norms import TAIL_SAFETY
from fpsolve.distances._pointwise import Integrand, evaluated, integrate

__all__ = ["chi2", "hellinger", "kl", "root"]

# what lies beyond the box matters above this share of the value
_RELEVANT = 1e-3
# attrs["reason"] of infinite errors
_RISING = "the integrand grows towards the ends of the box: the tails decide, widen the box"
_COARSE = "the cells do not resolve the densities where the integrand is large: refine the grid"
_BELOW = "the ratio of the densities is decided where the divisor is below rounding (1e-14 of its largest value)"


def kl(p: xr.DataArray, q: xr.DataArray, *, unbounded: bool = True) -> xr.Dataset:
    """Return the Kullback-Leibler divergence of p from q, ``KL(p | q) = int p log(p/q) dx``, in nats.

    Computed as ``int [p log(p/q) - p + q] dx``, whose integrand is >= 0 and which agrees for equal masses, from the
    conservative splines of p, q and p - q: it keeps its digits where p and q are close.

    Parameters
    ----------
    p, q : DataArray
        Cell averages of densities, see `weighted_tv`; the direction is "p relative to q", infinite where q = 0 < p.
    unbounded : bool, default True
        Whether the densities go on beyond the box; the mass out there is then part of the error.

    Returns
    -------
    Dataset
        `distance`, `error`, and `left_out`: the mass on cells where q (and p or not) is below 1e-14 of its largest
        value, mere rounding, which is left out of the integral and counted in the error. Where the cells do not resolve
        the densities the error is infinite, and attrs["reason"] says so.

    Raises
    ------
    ValueError
        If q = 0 where p has mass (more than 1e-12), or p, q do not fit together.

    References
    ----------
    Csiszar (1975), doi:10.1214/aop/1176996454.
    """
    return _pointwise(p, q, Integrand("kl", _kl_density, lambda q: q, None), unbounded)


def chi2(p: xr.DataArray, q: xr.DataArray, *, unbounded: bool = True) -> xr.Dataset:
    """Return the chi-square divergence of p from q, ``chi2(p | q) = int (p - q)^2 / q dx``.

    The squared norm of p/q - 1 in L2(q); not symmetric. Always ``KL(p | q) <= log(1 + chi2(p | q))``.

    Parameters
    ----------
    p, q, unbounded
        As in `kl`; q is the density one divides by.

    Returns
    -------
    Dataset
        `distance`, `error`, `left_out`, as in `kl`. The error is infinite where p is well above rounding and q is not,
        where the integrand grows towards the ends of the box (nothing then bounds what lies there), and where the cells
        do not resolve the densities; attrs["reason"] says which.

    Raises
    ------
    ValueError
        As in `kl`.
    """
    return _pointwise(p, q, Integrand("chi2", lambda p, q, d: d * d / q, lambda q: q, None, steep=True), unbounded)


def hellinger(p: xr.DataArray, q: xr.DataArray, *, unbounded: bool = True) -> xr.Dataset:
    """Return the Hellinger distance ``H = (1/2 int (sqrt p - sqrt q)^2 dx)^(1/2)``, between 0 and 1.

    A metric, with ``H^2 <= TV <= sqrt(2) H``.

    Parameters
    ----------
    p, q, unbounded
        As in `kl`.

    Returns
    -------
    Dataset
        `distance`, `error`, `left_out` (mass where both are rounding), as in `kl`.

    Raises
    ------
    ValueError
        If p and q do not fit together.
    """
    half = Integrand("hellinger", _hellinger_density, lambda q: 0.5 * q, lambda p: 0.5 * p)
    square = _pointwise(p, q, half, unbounded)
    return root(square)


def root(square: xr.Dataset) -> xr.Dataset:
    """Return the square root of a squared distance, its error turned into that of the root."""
    value, error = square["distance"], square["error"]
    # a square that is 0 may come out negative by rounding, which its error covers
    middle, lower = (np.sqrt(part.clip(min=0.0)) for part in (value, value - error))
    upper = np.sqrt(np.maximum(value, 0.0) + error)
    result = square.assign(distance=middle, error=np.maximum(upper - middle, middle - lower))
    return result.assign_attrs(square.attrs)


def _pointwise(p: xr.DataArray, q: xr.DataArray, integrand: Integrand, unbounded: bool) -> xr.Dataset:
    _checks.flag("unbounded", unbounded)
    frame = aligned(p=p, q=q)
    mine, other = frame.rows(p), frame.rows(q)
    result = integrate(mine, other, integrand, frame.volume, frame.dim)
    error, reasons = result.error + _stored_rounding(mine, other, integrand, frame), []
    if unbounded:
        axes = [np.arange(float(n)) for n in frame.shape]
        with np.errstate(over="ignore", invalid="ignore"):
            outside = TAIL_SAFETY * edge_tail(result.cells, axes, np.ones(frame.shape)) * frame.volume
        error = error + outside
        if integrand.steep:
            rising = _grows_outwards(result.cells, frame.dim) & ~(outside <= _RELEVANT * result.value)
            error = np.where(rising, np.inf, error)
            reasons += [_RISING] if rising.any() else []
    if not result.resolved.all():
        error = np.where(result.resolved, error, np.inf)
        reasons.append(_COARSE)
    if not np.isfinite(error).all() and not reasons:
        reasons.append(_BELOW)
    attrs = {"quantity": integrand.name} | ({"reason": "; ".join(reasons)} if reasons else {})
    return frame.labelled(attrs, distance=result.value, error=error, left_out=result.left_out)


def _stored_rounding(p: FloatArray, q: FloatArray, integrand: Integrand, frame: Frame) -> FloatArray:
    """Return what the rounding of densities stored in float32 may change, where both are > 0: f at the ends."""
    total = np.zeros(len(p))
    if frame.stored == 0.0:
        return total
    p, q = np.broadcast_arrays(p, q)
    usable = (p > 0.0) & (q > 0.0)
    lower, upper = 1.0 - frame.stored, 1.0 + frame.stored
    values = [evaluated(integrand, a * p, b * q, a * p - b * q, usable) for a, b in ((lower, upper), (upper, lower))]
    middle = evaluated(integrand, p, q, p - q, usable)
    worst = np.maximum(*(np.abs(value - middle) for value in values))
    return np.asarray(worst.sum(axis=tuple(range(1, p.ndim))) * frame.volume)


def _grows_outwards(cells: FloatArray, dim: int) -> NDArray[np.bool_]:
    """Return which rows increase towards some end of the box, over their outermost tenth."""
    profiles = [cells] if dim == 1 else [cells.sum(axis=2), cells.sum(axis=1)]
    grows = np.zeros(len(cells), dtype=bool)
    for profile in (side for whole in profiles for side in (whole, whole[:, ::-1])):
        part = max(2, profile.shape[1] // 10)
        halves = [block.mean(axis=1) for block in np.array_split(profile[:, -part:], 2, axis=1)]
        grows |= halves[1] > halves[0]
    return grows


def _kl_density(p: FloatArray, q: FloatArray, d: FloatArray) -> FloatArray:
    """Return p log(p/q) - p + q >= 0; by its series in d/q where the terms would cancel."""
    x = d / q
    small = np.abs(x) < 1e-3
    y = np.where(small, x, 0.0)
    series = q * y * y * (1 / 2 + y * (-1 / 6 + y * (1 / 12 + y * (-1 / 20 + y / 30))))
    near = np.abs(x) < 0.5
    logarithm = np.where(near, np.log1p(np.where(near, x, 0.0)), np.log(p / q))
    return np.asarray(np.where(small, series, p * logarithm - d))


def _hellinger_density(p: FloatArray, q: FloatArray, d: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (d / (np.sqrt(p) + np.sqrt(q))) ** 2)

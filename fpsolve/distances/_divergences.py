"""Kullback-Leibler, chi-square and Hellinger: ``int f(p, q) dx`` of two densities, from reconstructed point values.

Cell averages do not determine a density where they are mere rounding, so cells in which p or q is below
`FLOOR` of its largest value are treated apart: nothing is clipped, what is left out is counted.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve._cells import edge_tail
from fpsolve._checks import FloatArray
from fpsolve.distances import _splines
from fpsolve.distances._absolute import tensor_spline, tensor_values
from fpsolve.distances._fields import TAIL_SAFETY, Frame, aligned
from fpsolve.distances._splines import PRIMITIVES, TO_SIX, spread

#: Cell averages below this part of the largest are rounding.
FLOOR = 1e-14
#: Densities so many times above the floor are no rounding.
CLEAR = 100.0
#: Mass of p on cells where q vanishes that may be rounding.
ZERO_MASS = 1e-12
# Gauss nodes per axis and cell
_NODES_1D, _NODES_2D = 5, 3
# steep tails have means of f above f of the means
_DOUBT = 2.0
# share of the integral on cells that do not resolve the densities above which nothing is known of the rest
_UNRESOLVED = 0.02
# degrees of splines that differ by this share of what they add to the averages do not converge
_COARSE_GAP = 0.1
_TINY = float(np.finfo(float).tiny)
# cells treated at once
_CHUNK = 2**17

BoolArray: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Integrand:
    """A function of two densities.

    Attributes
    ----------
    name : str
        For messages.
    density : callable
        ``f(p, q, d)`` with ``d = p - q`` given separately, so that small differences keep their digits; p, q > 0.
    without_p, without_q : callable or None
        ``f(0, q)`` and ``f(p, 0)``; None where that is infinite.
    steep : bool
        Whether f outgrows p as p/q does: where q is rounding and p is not, f may then be anything.
    """

    name: str
    density: Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
    without_p: Callable[[FloatArray], FloatArray]
    without_q: Callable[[FloatArray], FloatArray] | None
    steep: bool = False


@dataclass(frozen=True, eq=False)
class Pointwise:
    """Integral, its error, the mass on cells left out, and whether the cells resolve p and q, each of shape (rows,).

    `cells`: the mean of f over each cell, where p or q is rounding what it would be if the rounding were true.
    """

    value: FloatArray
    error: FloatArray
    left_out: FloatArray
    resolved: BoolArray
    cells: FloatArray


def integrate(p: FloatArray, q: FloatArray, integrand: Integrand, volume: FloatArray, dim: int) -> Pointwise:
    """Return ``int f(p, q)`` of every row of cell averages, shape (rows, n[, ny]).

    Raises
    ------
    ValueError
        If f is infinite where q = 0 and p has more than rounding there.
    """
    step = max(1, _CHUNK // p[0].size) if dim == 1 else 1
    parts = []
    for k in range(0, len(p), step):
        part = slice(k, k + step)
        sizes = volume if volume.size == 1 else volume[part]
        parts.append(_block(p[part], q[part], integrand, sizes, dim))
    return Pointwise(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _block(
    p: FloatArray, q: FloatArray, integrand: Integrand, volume: FloatArray, dim: int
) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray, FloatArray]:
    axes = tuple(range(1, dim + 1))
    low_p, low_q = (r <= FLOOR * r.max(axis=axes, keepdims=True) for r in (p, q))
    _refuse_zeros(p, q, low_p, low_q, integrand, volume)
    value, error, coarse = _regular(p, q, ~low_p & ~low_q, integrand, dim)
    rest, doubt, left_out, nominal = _irregular(p, q, low_p, low_q, integrand)
    lost = np.where(coarse, np.abs(value), 0.0).sum(axis=axes)
    resolved = lost <= _UNRESOLVED * np.abs(value + rest).sum(axis=axes)
    sums = [cells.sum(axis=axes) * volume for cells in (value + rest, error + doubt, left_out)]
    if integrand.steep:
        clear = p > CLEAR * FLOOR * p.max(axis=axes, keepdims=True)
        sums[1] = np.where((clear & low_q).any(axis=axes), np.inf, sums[1])
    return sums[0], sums[1], sums[2], resolved, np.maximum(value + rest, nominal)


def _refuse_zeros(
    p: FloatArray, q: FloatArray, low_p: BoolArray, low_q: BoolArray, integrand: Integrand, volume: FloatArray
) -> None:
    if integrand.without_q is not None:
        return
    lost = np.where(~low_p & low_q & (q <= 0.0), p, 0.0).sum(axis=tuple(range(1, p.ndim))) * volume
    if lost.max() > ZERO_MASS:
        raise _checks.error(
            "q",
            f"q > 0 wherever p > 0, as {integrand.name} needs",
            f"q = 0 on cells with mass {lost.max():.3g} of p",
            "exchange p and q, or use hellinger, total_variation or wasserstein",
        )


def _regular(
    p: FloatArray, q: FloatArray, regular: BoolArray, integrand: Integrand, dim: int
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return the mean of f over the cells and its error where both densities are above rounding, 0 elsewhere.

    And where the cells are too wide for either density to be known between their averages.
    """
    means, positive = zip(*(_mean(p, q, degree, integrand, dim) for degree in (4, 6, 2)), strict=True)
    base = evaluated(integrand, p, q, p - q, regular)
    # where a steep tail makes a spline negative the cell average is all there is
    usable = np.logical_and.reduce([regular, *positive])
    value = np.where(usable, means[0], base)
    gaps = [np.where(usable, np.abs(value - other), 0.0) for other in (*means[1:], base)]
    for axis in range(1, dim + 1):
        gaps = [np.moveaxis(spread(np.moveaxis(gap, axis, -1)), -1, axis) for gap in gaps]
    gap_6, gap_2, gap_0 = gaps
    error = np.where(usable, np.maximum(PRIMITIVES.error(gap_2, gap_0), TO_SIX * gap_6), np.abs(base))
    coarse = regular & (~usable | ((gap_2 > _COARSE_GAP * gap_0) & (gap_2 > _UNRESOLVED * np.abs(value))))
    return np.where(regular, value, 0.0), np.where(regular, error, 0.0), coarse


def _mean(p: FloatArray, q: FloatArray, degree: int, integrand: Integrand, dim: int) -> tuple[FloatArray, BoolArray]:
    """Return the mean of f over the cells by Gauss quadrature, and where p and q are positive at all nodes."""
    total, positive = np.zeros_like(p), np.ones(p.shape, dtype=bool)
    for weight, (at_p, at_q, at_d) in _nodes((p, q, p - q), degree, dim):
        positive &= (at_p > 0.0) & (at_q > 0.0)
        total += weight * evaluated(integrand, at_p, at_q, at_d, positive)
    return total, positive


def _nodes(fields: tuple[FloatArray, ...], degree: int, dim: int) -> Iterator[tuple[float, tuple[FloatArray, ...]]]:
    """Yield quadrature weights and the values of the splines of all fields at that node of every cell."""
    u, weights = _splines.gauss(_NODES_1D if dim == 1 else _NODES_2D)
    if dim == 1:
        splines = [_splines.coefficients(field, degree) for field in fields]
        for factors, weight in zip(_splines.basis(degree, u), weights, strict=True):
            yield float(weight), tuple(_splines.windows(spline, degree) @ factors for spline in splines)
    else:
        # one row at a time, see `integrate`
        streams = (tensor_values(tensor_spline(field[0], degree), degree, u) for field in fields)
        for weight, values in zip(np.outer(weights, weights).ravel(), zip(*streams, strict=True), strict=True):
            yield float(weight), tuple(value[None] for value in values)


def _irregular(
    p: FloatArray, q: FloatArray, low_p: BoolArray, low_q: BoolArray, integrand: Integrand
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return value, doubt, mass left out, and f as if the rounding were true, on cells where p or q is rounding."""
    only_q = low_p & ~low_q
    value = np.where(only_q, integrand.without_p(np.where(only_q, q, 0.0)), 0.0)
    left = low_q
    if integrand.without_q is not None:
        only_p = low_q & ~low_p
        value += np.where(only_p, integrand.without_q(np.where(only_p, p, 0.0)), 0.0)
        left = low_p & low_q
    left_out = np.where(left, np.abs(p) + np.abs(q), 0.0)
    # what f would be if the rounding were true
    size_p, size_q = np.abs(p), np.abs(q)
    if integrand.steep:
        # q = 0 beside p > 0 may be an underflow: f is then at least this
        size_q = np.maximum(size_q, _TINY)
    doubtful = (low_p | low_q) & (size_p > 0.0) & (size_q > 0.0)
    # 1e-20 over 1e-320 may overflow: the doubt is then infinite, and says so in the error
    with np.errstate(over="ignore"):
        nominal = evaluated(integrand, size_p, size_q, size_p - size_q, doubtful)
    doubt = np.where(nominal > 0.0, _DOUBT * np.abs(nominal - value), 0.0)
    return value, left_out + doubt, left_out, np.where(low_q, nominal, 0.0)


def evaluated(integrand: Integrand, p: FloatArray, q: FloatArray, d: FloatArray, where: BoolArray) -> FloatArray:
    """Return f on part of the cells and 0 elsewhere."""
    result = np.zeros_like(p)
    result[where] = integrand.density(p[where], q[where], d[where])
    return result


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
    value, error = square["distance"].values, square["error"].values
    # a square that is 0 may come out negative by rounding, which its error covers
    middle, lower = (np.sqrt(np.maximum(part, 0.0)) for part in (value, value - error))
    upper = np.sqrt(np.maximum(value, 0.0) + error)
    found = {"distance": middle, "error": np.maximum(upper - middle, middle - lower)}
    return square.assign({name: square[name].copy(data=numbers) for name, numbers in found.items()})


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
            # which rows increase towards some end of the box, over their outermost tenth
            cells = result.cells
            profiles = [cells] if frame.dim == 1 else [cells.sum(axis=2), cells.sum(axis=1)]
            grows = np.zeros(len(cells), dtype=bool)
            for profile in (side for whole in profiles for side in (whole, whole[:, ::-1])):
                part = max(2, profile.shape[1] // 10)
                halves = [block.mean(axis=1) for block in np.array_split(profile[:, -part:], 2, axis=1)]
                grows |= halves[1] > halves[0]
            rising = grows & ~(outside <= _RELEVANT * result.value)
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

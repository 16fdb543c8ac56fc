"""Energy distance and maximum mean discrepancy: norms of p - q in which cell averages say almost everything."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.distances._fields import aligned, tail_of_difference, weighted_sum
from fpsolve.distances._samples import kernel_to_samples
from fpsolve.distances._spectral import COARSE, Field, fields, gaps, norm_error, rbf_frequencies, unresolved

_EPS = float(np.finfo(float).eps)
#: Directions of the plane, doubled until half of them say the same, at most so many.
_DIRECTIONS, _MOST = 16, 128
_AGREE = 1e-10
#: Frequencies per pi/h: beyond 1 the transform of a resolved density is its spline's images only.
_BEYOND_NYQUIST = 1.5

Norms = Callable[[Field], FloatArray]


def energy(p: xr.DataArray, q: Any, *, unbounded: bool = True) -> xr.Dataset:
    """Return the energy distance ``(2 E|X - Y| - E|X - X'| - E|Y - Y'|)^(1/2)``, X, X' ~ p and Y, Y' ~ q.

    In 1D ``(2 int (F - G)^2 dx)^(1/2)``; in the plane ``pi/2`` times the mean over directions of the squares of the
    projections, each ``1/pi int |p_hat - q_hat|^2/xi^2 dxi`` with the exact transforms of the conservative splines. A
    metric, a norm of p - q, in units of the square root of x.

    Parameters
    ----------
    p : DataArray
        Cell averages of a density, see `weighted_tv`, in 1D or 2D.
    q : DataArray, or array of shape (n,) or (n, 2)
        The same, or at least 20 samples of q.
    unbounded : bool, default True
        Whether the densities go on beyond the box; what lies there is then part of the error.

    Returns
    -------
    Dataset
        `distance` and `error` over the leading dimensions. The error is a norm too: that of splines of degree 4, 2 and
        0 apart, of the tails, and of rounding. Where the cells do not resolve the densities it is infinite, and
        attrs["reason"] says so.
        With samples also `standard_error`, the root of the mean square of the distance of such samples from their law
        (no deviation of the distance is larger, by the triangle inequality), and `bias`, what the distance of the raw
        samples was above it and is taken off, by the unbiased square. The error then fails with probability 1e-3.

    Raises
    ------
    ValueError
        As in `weighted_tv`.

    References
    ----------
    Szekely and Rizzo 2013, doi:10.1016/j.jspi.2013.03.018.

    Examples
    --------
    >>> from fpsolve import Gaussian, Grid
    >>> grid = Grid.uniform((-9, 9), cells=300)
    >>> p, q = (xr.DataArray(grid.cell_average(Gaussian(m, std=1.0)), coords={"x": grid.x}) for m in (0.0, 1.0))
    >>> result = energy(p, q)
    >>> round(float(result.distance), 9), bool(result.error < 1e-6)
    (0.736075118, True)
    """
    _checks.flag("unbounded", unbounded)
    if not isinstance(q, xr.DataArray):
        return kernel_to_samples(p, q, {"quantity": "energy distance"}, None)
    return kernel_norm(p, q, unbounded, "energy distance", _energy_norms, _root_distance)


def mmd(p: xr.DataArray, q: Any, bandwidth: float, *, unbounded: bool = True) -> xr.Dataset:
    r"""Return the maximum mean discrepancy with a Gaussian kernel (RBF),

    .. math:: \mathrm{MMD}^2 = \int\!\!\int k(x - y) w(x) w(y)\, dx\, dy,
              \qquad w = p - q, \quad k(x) = e^{-|x|^2/(2 \mathrm{bandwidth}^2)}.

    The transform of k turns it into a sum of ``|w_hat|^2``; a norm of p - q, at most ``2^(1/2)``.

    Parameters
    ----------
    p : DataArray
        Cell averages of a density, see `weighted_tv`, in 1D or 2D.
    q : DataArray, or array of shape (n,) or (n, 2)
        The same, or at least 20 samples of q.
    bandwidth : float
        Standard deviation of the kernel (units of x); scikit-learn's gamma is ``1/(2 bandwidth^2)``. There is no
        default: the number means nothing without it.
    unbounded : bool, default True
        As in `energy`.

    Returns
    -------
    Dataset
        `distance` and `error`, with samples `standard_error` and `bias`, as in `energy`.

    Raises
    ------
    ValueError
        A bandwidth that is not > 0; as in `weighted_tv`.

    References
    ----------
    Gretton et al. 2012, https://jmlr.org/papers/v13/gretton12a.html.

    Examples
    --------
    >>> from fpsolve import Gaussian, Grid
    >>> grid = Grid.uniform((-9, 9), cells=300)
    >>> p, q = (xr.DataArray(grid.cell_average(Gaussian(m, std=1.0)), coords={"x": grid.x}) for m in (0.0, 1.0))
    >>> round(float(mmd(p, q, 1.0).distance), 9)  # [2 (1 - exp(-1/6))/3^(1/2)]^(1/2)
    0.421031632
    """
    _checks.flag("unbounded", unbounded)
    width, name = _checks.positive("bandwidth", bandwidth), "maximum mean discrepancy"
    kernel = f"exp(-|x|^2/(2 * {width!r}^2))"
    if not isinstance(q, xr.DataArray):
        return kernel_to_samples(p, q, {"quantity": name, "kernel": kernel}, width)
    result = kernel_norm(p, q, unbounded, name, lambda field: _rbf_norms(field, width), _one)
    return result.assign_attrs(kernel=kernel)


def kernel_norm(
    p: xr.DataArray, q: xr.DataArray, unbounded: bool, name: str, norms: Norms, root_kernel: Callable[[Any], FloatArray]
) -> xr.Dataset:
    """Return a norm of p - q and its error; `root_kernel` is ``k(x, x)^(1/2)``, the norm of a point mass at x."""
    frame = aligned(p=p, q=q)
    mine, other = frame.rows(p), frame.rows(q)
    w = mine - other
    value, error = np.empty(len(w)), np.empty(len(w))
    coarse = np.zeros(len(w), dtype=bool)
    for rows, (difference, first, second) in fields(frame, w, mine, other):
        found = norms(difference)
        value[rows], error[rows] = found[0], norm_error(found[1:5]) + found[5]
        coarse[rows] = unresolved(first) | unresolved(second)
    masses = sum(weighted_sum(density, frame, root_kernel) for density in (mine, other))
    error = error + (8.0 * _EPS + frame.stored) * masses
    if unbounded:
        error = error + tail_of_difference(w, frame, root_kernel, (mine, other))
    attrs = {"quantity": name} | ({"reason": COARSE} if coarse.any() else {})
    return frame.labelled(attrs, distance=value, error=np.where(coarse, np.inf, error))


def _one(points: FloatArray) -> FloatArray:
    return np.ones(points.shape[: 1 if points.ndim == 1 else 2])


def _root_distance(points: FloatArray) -> FloatArray:
    """Return ``(2 |x - c|)^(1/2)``, c the middle of the points: the norm of a mass moved from c to x."""
    if points.ndim == 1:
        return np.asarray(np.sqrt(2.0 * np.abs(points - 0.5 * (points[0] + points[-1]))))
    away = points - 0.5 * (points[0, 0] + points[-1, -1])
    return np.asarray(np.sqrt(2.0 * np.hypot(away[..., 0], away[..., 1])))


def _energy_norms(field: Field) -> FloatArray:
    """Return the norms of w and of the gaps of its splines, and what is left beyond the frequencies, shape (6, rows).

    A mass of w that is not 0, of tails, is moved to the middle of the box.
    """
    if len(field.shape) == 1:
        return np.sqrt(_energy_along(field, 0.0))
    angles = np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    each = np.stack([_energy_along(field, angle) for angle in angles], axis=1)
    while True:
        middles = angles + 0.5 * np.pi / angles.size
        others = np.stack([_energy_along(field, angle) for angle in middles], axis=1)
        norms = np.sqrt(0.25 * np.pi * (each.mean(axis=1) + others.mean(axis=1)))
        apart = np.abs(norms[0] - np.sqrt(0.5 * np.pi * each[0].mean(axis=0)))
        if 2 * angles.size >= _MOST or np.all(apart <= _AGREE * norms[0] + 0.1 * norm_error(norms[1:5])):
            norms[5] += apart
            return np.asarray(norms)
        each, angles = np.concatenate([each, others], axis=1), np.concatenate([angles, middles])


def _energy_along(field: Field, angle: float) -> FloatArray:
    """Return ``1/pi int |w_hat|^2/xi^2 dxi`` of the projection, of its gaps, and of the last third, (6, rows)."""
    step = 2.0 * np.pi / field.diameter
    top = _BEYOND_NYQUIST * np.pi / min(field.spacing)
    xi = np.asarray(step * np.arange(1, int(top / step) + 2), dtype=np.float64)
    direction = field.direction(angle)
    middle = np.multiply.outer(field.masses, np.exp(-1j * xi * float(field.centre @ direction)))
    waves = gaps(field, lambda w, degree: w.along(direction, xi, degree) - middle)
    means = gaps(field, lambda w, degree: w.moments(degree, field.centre)[0] @ direction)
    squares = [np.abs(wave) ** 2 / xi**2 for wave in waves]
    sums = [2.0 * square.sum(axis=1) + mean**2 for square, mean in zip(squares, means, strict=True)]
    left = squares[0][:, 2 * xi.size // 3 :].sum(axis=1)
    return np.asarray(np.stack([*sums, left]) * step / np.pi)


def _rbf_norms(field: Field, width: float) -> FloatArray:
    """Return the norms of w and of the gaps of its splines, and 0, shape (6, rows)."""
    xi, shares = zip(*(rbf_frequencies(width, side, half=k == 0) for k, side in enumerate(field.sides)), strict=True)
    squares = [np.abs(wave) ** 2 for wave in gaps(field, lambda w, degree: w.on_lattice(xi, degree))]
    for share in reversed(shares):
        squares = [square @ share for square in squares]
    return np.asarray(np.sqrt(np.stack([*squares, np.zeros(len(field.cells))])))

"""Energy distance and maximum mean discrepancy, norms of p - q in which cell averages say almost everything; the
Frechet distance of moments, what FID computes, on densities.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from scipy.linalg import solve_sylvester

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.distances._fields import Frame, aligned, tail_of_difference, weighted_sum
from fpsolve.distances._spectral import (
    COARSE,
    Field,
    fields,
    gaps,
    kernel_to_samples,
    norm_error,
    rbf_frequencies,
    transport_to_samples,
    unresolved,
)

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


def frechet(p: xr.DataArray, q: Any, *, unbounded: bool = True) -> xr.Dataset:
    r"""Return the Frechet distance of the first two moments, that of the Gaussians which share them with p and q:

    .. math:: d^2 = |m - m'|^2 + \mathrm{tr}\bigl(C + C' - 2 (C^{1/2} C' C^{1/2})^{1/2}\bigr).

    FID is ``d^2`` of moments of features. It is the Wasserstein distance W2 of those Gaussians, at most that of p and
    q, and 0 for different densities with the same moments.

    Parameters
    ----------
    p : DataArray
        Cell averages of a density, see `weighted_tv`, in 1D or 2D.
    q : DataArray, or array of shape (n,) or (n, 2)
        The same, or at least 20 samples of q.
    unbounded : bool, default True
        Whether the densities go on beyond the box; what that may change of the moments is then part of the error.

    Returns
    -------
    Dataset
        `distance` (units of x) and `error` over the leading dimensions: what the errors of the moments may change,
        ``|dm| + |d(C^(1/2))|`` of either density. Infinite where the cells do not resolve a density.
        With samples also `standard_error`, the root of the mean square of the distance of such samples from their law
        (no deviation of the distance is larger, by the triangle inequality), and `bias`, what the distance of the raw
        samples is estimated to be above the true one, not taken off. The error then fails with probability 1e-3.

    Raises
    ------
    ValueError
        A density without mass, or whose covariance is not positive definite; as in `weighted_tv`.

    References
    ----------
    Dowson and Landau 1982, doi:10.1016/0047-259X(82)90077-X; Heusel et al. 2017, arXiv:1706.08500.

    Examples
    --------
    >>> from fpsolve import Gaussian, Grid
    >>> grid = Grid.uniform((-9, 9), cells=300)
    >>> laws = Gaussian(0.0, std=1.0), Gaussian(3.0, std=0.5)
    >>> p, q = (xr.DataArray(grid.cell_average(law), coords={"x": grid.x}) for law in laws)
    >>> round(float(frechet(p, q).distance), 9)  # (3^2 + 0.5^2)^(1/2)
    3.041381265
    """
    _checks.flag("unbounded", unbounded)
    attrs = {"quantity": "Frechet distance of moments"}
    if not isinstance(q, xr.DataArray):
        return transport_to_samples(p, q, attrs, _to_density, lambda a, b: frechet_of_moments(*_of(a), *_of(b)))
    frame = aligned(p=p, q=q)
    arrays = [frame.rows(array) for array in (p, q)]
    beyond = [_beyond(array, frame, unbounded) for array in arrays]
    value, error = np.empty(frame.leading.size), np.empty(frame.leading.size)
    coarse = np.zeros(frame.leading.size, dtype=bool)
    for rows, both in fields(frame, *arrays):
        found = [moments(name, field) for name, field in zip("pq", both, strict=True)]
        for k, row in enumerate(rows):
            means, covs = zip(*((mean[k], cov[k]) for mean, cov, _ in found), strict=True)
            value[row] = frechet_of_moments(means[0], covs[0], means[1], covs[1])
            off = [errors[:, k] + outside[:, row] for (*_, errors), outside in zip(found, beyond, strict=True)]
            error[row] = sum(_shift(cov, *part) for cov, part in zip(covs, off, strict=True))
        coarse[rows] = unresolved(both[0]) | unresolved(both[1])
    attrs |= {"reason": COARSE} if coarse.any() else {}
    return frame.labelled(attrs, distance=value, error=np.where(coarse, np.inf, error))


def _of(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    return x.mean(axis=0), np.cov(x.T).reshape(x.shape[1], x.shape[1])


def _to_density(field: Field, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    means, covs, errors = moments("p", field)
    value = [frechet_of_moments(m, c, *_of(x)) for m, c in zip(means, covs, strict=True)]
    return np.array(value), np.array([_shift(c, *part) for c, part in zip(covs, errors.T, strict=True)])


def frechet_of_moments(mean: FloatArray, cov: FloatArray, other_mean: FloatArray, other_cov: FloatArray) -> float:
    """Return the distance from means (d,) and covariances (d, d), with the digits of their differences.

    ``M = (C^(1/2) C' C^(1/2))^(1/2)``, ``M X + X C = C^(1/2) (C' - C) C^(1/2)`` has the solution ``X = M - C``, and
    the trace is ``|C^(-1/2) X|^2``.
    """
    root = _root(cov)
    product = root @ other_cov @ root
    change = solve_sylvester(_root(0.5 * (product + product.T)), cov, root @ (other_cov - cov) @ root)
    return float(np.hypot(np.linalg.norm(mean - other_mean), np.linalg.norm(np.linalg.solve(root, change))))


def _root(cov: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(cov)
    return np.asarray((vectors * np.sqrt(values)) @ vectors.T)


def moments(name: str, field: Field) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return means, covariances, and errors of the mean and the second moment (2, rows), of every row."""
    mass = field.masses
    if not np.all(mass > 0.0):
        raise _checks.error(name, "a density of positive mass", f"mass {mass.min():.3g}")
    scale = mass[:, None]
    each = gaps(field, lambda w, degree: np.concatenate(
        [part.reshape(len(mass), -1) / scale for part in w.moments(degree, field.centre)], axis=1
    ))  # fmt: skip
    dim = len(field.shape)
    first, cov = _covariances(each[0], dim)
    lost = np.linalg.eigvalsh(cov).min(axis=1) <= 0.0
    if lost.any():
        # no spline of degree 4 resolves these: cells of constant density have a variance, at least
        first[lost], cov[lost] = _covariances((each[0] - each[2])[lost], dim)
        smallest = float(np.linalg.eigvalsh(cov).min())
        if not smallest > 0.0:
            got, remedy = f"an eigenvalue {smallest:.3g}", "a density is not negative"
            raise _checks.error(name, "a positive definite covariance", got, remedy)
    off = np.abs(np.stack(each[1:]))
    parts = [norm_error(np.sqrt((off[..., part] ** 2).sum(axis=-1))) for part in (slice(dim), slice(dim, None))]
    return first + field.centre, cov, np.where(lost, np.inf, np.stack(parts))


def _covariances(moments: FloatArray, dim: int) -> tuple[FloatArray, FloatArray]:
    """Means (rows, d) and covariances (rows, d, d) from first and second moments side by side."""
    first, second = moments[:, :dim].copy(), moments[:, dim:].reshape(-1, dim, dim)
    return first, second - first[:, :, None] * first[:, None, :]


def _beyond(rows: FloatArray, frame: Frame, unbounded: bool) -> FloatArray:
    """Return what tails, rounding and a mass that is not 1 do to first and second moments, shape (2, rows)."""
    result = []
    for power in (1, 2):

        def weigh(points: FloatArray, power: int = power) -> FloatArray:
            away = points - 0.5 * (points[0] + points[-1] if points.ndim == 1 else points[0, 0] + points[-1, -1])
            return np.asarray((np.abs(away) if points.ndim == 1 else np.hypot(away[..., 0], away[..., 1])) ** power)

        lost = (8.0 * _EPS + frame.stored) * weighted_sum(rows, frame, weigh)
        result.append(lost + (tail_of_difference(rows, frame, weigh, None) if unbounded else 0.0))
    return np.stack(result)


def _shift(cov: FloatArray, first: float, second: float) -> float:
    """Return what errors of the mean and of the second moment may change, |dm| + |d(C^(1/2))|.

    ``|C^(1/2) - D^(1/2)| <= |C - D|/(l^(1/2) + l'^(1/2))`` with the smallest eigenvalues, and at most the root of the
    sum of the eigenvalues' sizes of C - D (Powers and Stormer 1970, doi:10.1007/BF01645492).
    """
    if not np.isfinite(second):
        return float("inf")
    change = second + first * (first + 2.0 * np.sqrt(np.trace(cov)))
    smallest = float(np.linalg.eigvalsh(cov)[0])
    crude = np.sqrt(np.sqrt(len(cov)) * change)
    return float(first + min(crude, change / (np.sqrt(smallest) + np.sqrt(max(smallest - change, 0.0)))))

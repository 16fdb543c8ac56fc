"""Frechet distance of moments: what FID computes, on densities."""

from typing import Any

import numpy as np
import xarray as xr
from scipy.linalg import solve_sylvester

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.distances._fields import Frame, aligned, tail_of_difference, weighted_sum
from fpsolve.distances._samples import transport_to_samples
from fpsolve.distances._spectral import COARSE, Field, fields, gaps, norm_error, unresolved

_EPS = float(np.finfo(float).eps)


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

"""Finite mixtures of normal laws, as arrays: the base of Gaussian, GaussianMixture and KernelDensity."""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from fpsolve._checks import FloatArray, generator, integer, points
from fpsolve.laws._base import Law, check_axes, lengths
from fpsolve.laws._intervals import symmetric_interval_probabilities
from fpsolve.laws._tail import Tail

LOG_2PI = float(np.log(2.0 * np.pi))
_CHUNK = 2**18  # doubles per temporary array: 2 MB, about the second-level cache


class NormalMixture(Law):
    """The law ``sum_k w_k N(m_k, C_k)``, K components.

    Densities are evaluated by log-sum-exp, so they are finite and accurate however far out, and scores as the
    average of the component scores with the posterior weights of the components, never as a ratio of
    densities.

    Attributes
    ----------
    log_weights : ndarray of shape (K,)
        log w_k, all finite (components of weight 0 are left out).
    component_means : ndarray of shape (K, d)
        m_k, with an explicit axis d also in 1D.
    component_covs : ndarray of shape (K, d, d)
        C_k.
    diagonal : bool
        True where every C_k is diagonal (always in 1D): the law is then a sum of products on tensor grids.
    """

    if TYPE_CHECKING:

        @property
        def log_weights(self) -> FloatArray: ...
        @property
        def component_means(self) -> FloatArray: ...
        @property
        def component_covs(self) -> FloatArray: ...

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return int(self.component_means.shape[1])

    @property
    def components(self) -> "NormalMixture":
        """The mixture itself."""
        return self

    @cached_property
    def diagonal(self) -> bool:
        """True where every component covariance is diagonal."""
        return self.dim == 1 or not np.any(self.component_covs[:, 0, 1])

    @property
    def tail(self) -> Tail:
        """Gaussian, with the variance of the widest component."""
        return Tail(2.0, float(0.5 / np.linalg.eigvalsh(self.component_covs).max()))

    @cached_property
    def smallest_std(self) -> float:
        """Smallest standard deviation of a component along any direction."""
        return float(np.sqrt(np.linalg.eigvalsh(self.component_covs).min()))

    def log_density(self, x: Any) -> FloatArray:
        """Return ``log p(x) = log sum_k w_k N(x; m_k, C_k)`` by log-sum-exp, shape ``(...)``."""
        x = points("x", x, self.dim)
        flat = x.reshape(-1, self.dim)
        out = np.empty(len(flat))
        for rows in _chunks(len(flat), len(self.log_weights)):
            out[rows] = log_sum_exp(self._log_terms(flat[rows])[0])
        return out.reshape(x.shape[: x.ndim - self.dim + 1])

    def score(self, x: Any) -> FloatArray:
        """Return ``grad log p(x) = sum_k r_k(x) C_k^{-1} (m_k - x)``, r the posterior weights; shape of `x`."""
        x = points("x", x, self.dim)
        flat = x.reshape(-1, self.dim)
        out = np.empty(flat.shape)
        for rows in _chunks(len(flat), len(self.log_weights)):
            log_terms, pulls = self._log_terms(flat[rows])
            posterior = np.exp(log_terms - log_sum_exp(log_terms)[:, None])
            out[rows] = np.einsum("nk,nkd->nd", posterior, pulls)
        return out.reshape(x.shape)

    def sample(self, n: int, rng: np.random.Generator | int) -> FloatArray:
        """Return `n` draws: a component by its weight, then a normal draw from it; ``(n,)`` or ``(n, 2)``."""
        n, rng = integer("n", n, minimum=0), generator("rng", rng)
        weights = np.exp(self.log_weights)
        chosen = rng.choice(len(weights), size=n, p=weights / weights.sum())
        noise = rng.standard_normal((n, self.dim))
        draws = self.component_means[chosen] + np.einsum("nij,nj->ni", self._cholesky[chosen], noise)
        return np.asarray(draws[:, 0] if self.dim == 1 else draws)

    def cell_probabilities(self, *faces: Any) -> FloatArray | None:
        """Return the probability of every cell from normal CDFs; None in 2D with a rotated covariance."""
        arrays = check_axes(self.dim, faces, "faces")
        if not self.diagonal:
            return None
        total = np.zeros([len(array) - 1 for array in arrays])
        for rows in _chunks(len(self.log_weights), max(map(len, arrays))):
            per_axis = [self._interval_probabilities(i, array, rows) for i, array in enumerate(arrays)]
            per_axis[0] *= np.exp(self.log_weights[rows])[:, None]
            total += per_axis[0].sum(axis=0) if self.dim == 1 else per_axis[0].T @ per_axis[1]
        return total

    def diffused_components(self, scale: float, variance: float) -> tuple[FloatArray, FloatArray]:
        """Return means ``scale m_k`` and covariances ``scale^2 C_k + variance I`` of the diffused components."""
        covs = scale**2 * self.component_covs + variance * np.eye(self.dim)
        return scale * self.component_means, covs

    def _interval_probabilities(self, axis: int, faces: FloatArray, rows: slice) -> FloatArray:
        mean = self.component_means[rows, axis, None]
        std = np.sqrt(self.component_covs[rows, axis, axis, None])
        return symmetric_interval_probabilities(ndtr, (faces - mean) / std)

    def _log_terms(self, flat: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return ``log(w_k N(x; m_k, C_k))``, (n, K), and ``C_k^{-1} (m_k - x)``, (n, K, d)."""
        offsets = self.component_means - flat[:, None, :]
        first = offsets[..., 0] / self._cholesky[:, 0, 0]
        if self.dim == 1:
            return self._log_peaks - 0.5 * first**2, (first / self._cholesky[:, 0, 0])[..., None]
        second = (offsets[..., 1] - self._cholesky[:, 1, 0] * first) / self._cholesky[:, 1, 1]
        pull_y = second / self._cholesky[:, 1, 1]
        pull_x = (first - self._cholesky[:, 1, 0] * pull_y) / self._cholesky[:, 0, 0]
        return self._log_peaks - 0.5 * (first**2 + second**2), np.stack([pull_x, pull_y], axis=-1)

    @cached_property
    def _cholesky(self) -> FloatArray:
        return np.asarray(np.linalg.cholesky(self.component_covs))

    @cached_property
    def _log_peaks(self) -> FloatArray:
        """log of w_k times the component density at its own mean."""
        log_volume = np.log(np.diagonal(self._cholesky, axis1=1, axis2=2)).sum(axis=1)
        return np.asarray(self.log_weights - 0.5 * self.dim * LOG_2PI - log_volume)


class SeveralNormals(NormalMixture):
    """A normal mixture whose mean and covariance follow from its components."""

    @property
    def mean(self) -> float | FloatArray:
        """Mean, float or shape (2,)."""
        return float(self._moments[0][0]) if self.dim == 1 else self._moments[0]

    @property
    def cov(self) -> float | FloatArray:
        """Variance, or covariance of shape (2, 2): within plus between the components."""
        return float(self._moments[1][0, 0]) if self.dim == 1 else self._moments[1]

    @cached_property
    def _moments(self) -> tuple[FloatArray, FloatArray]:
        weights = np.exp(self.log_weights)
        mean = weights @ self.component_means
        offsets = self.component_means - mean
        within = np.einsum("k,kij->ij", weights, self.component_covs)
        return mean, within + np.einsum("k,ki,kj->ij", weights, offsets, offsets)


def log_sum_exp(log_terms: FloatArray) -> FloatArray:
    """Return ``log sum_k exp(a_k)`` over the last axis; the largest term is factored out, so nothing underflows."""
    top = log_terms.max(axis=-1, keepdims=True)
    return np.asarray(top[..., 0] + np.log(np.exp(log_terms - top).sum(axis=-1)))


def component_covariances(name: str, stds: Any, covs: Any, dim: int, count: int) -> FloatArray:
    """Return checked covariances ``(count, dim, dim)`` from standard deviations or covariances, exactly one given.

    Standard deviations: one number or one per component, isotropic in 2D. Covariances: variances in 1D and
    ``(count, 2, 2)`` matrices in 2D.
    """
    if (stds is None) == (covs is None):
        raise ValueError(f"{name}: expected exactly one of std and cov, got {'neither' if stds is None else 'both'}.")
    label = f"{name} {'cov' if stds is None else 'std'}"
    power = 2 if stds is None else 1
    values = lengths(label, covs if stds is None else stds, power=power, widths=dim == 1 or power == 1)
    if dim == 2 and stds is None:
        return _matrices(label, values, count)
    if values.ndim > 1 or values.size not in (1, count):
        raise ValueError(f"{label}: expected one number or {count}, got shape {values.shape}.")
    if values.min() <= 0.0:
        raise ValueError(f"{label}: expected numbers > 0, got {values.min():.6g}; use PointMass for no spread.")
    variances = values if stds is None else values**2
    return np.broadcast_to(variances.reshape(-1, 1, 1), (count, 1, 1)) * np.eye(dim)


def _matrices(label: str, matrices: FloatArray, count: int) -> FloatArray:
    if matrices.shape == (2, 2):
        matrices = np.broadcast_to(matrices, (count, 2, 2))
    if matrices.shape != (count, 2, 2):
        raise ValueError(f"{label}: expected matrices of shape ({count}, 2, 2), got shape {matrices.shape}.")
    asymmetry = np.abs(matrices[:, 0, 1] - matrices[:, 1, 0])
    for k in np.flatnonzero(asymmetry > 1e-12 * np.abs(matrices).max(axis=(1, 2))):
        raise ValueError(f"{label}: expected symmetric matrices, got {matrices[k].tolist()} (index {k}).")
    smallest, largest = np.linalg.eigvalsh(matrices).T
    # an eigenvalue of rounding size is zero, whatever its sign
    for k in np.flatnonzero(smallest <= 8.0 * np.finfo(float).eps * largest):
        raise ValueError(
            f"{label}: expected positive definite matrices, got {matrices[k].tolist()} (index {k}) "
            f"with smallest eigenvalue {smallest[k]:.6g}."
        )
    return matrices


def _chunks(n: int, width: int) -> Iterator[slice]:
    step = max(1, _CHUNK // max(1, width))
    return (slice(start, start + step) for start in range(0, n, step))

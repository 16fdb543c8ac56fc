"""Normal mixtures under a linear flow, and where they have structure.

Mixtures of normal laws as bare arrays: log densities and log CDFs, written for the oracle alone.

Where to look for the mass of a law: edges near its peaks, and at its kinks and jumps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from fpsolve._checks import FloatArray
from fpsolve.laws import Laplace, Law, StudentT, Uniform

BoolArray: TypeAlias = NDArray[np.bool_]
IndexArray: TypeAlias = NDArray[np.intp]

LOG_2PI = float(np.log(2.0 * np.pi))
_CHUNK = 2**20  # doubles per temporary array: 8 MB
_SAFE = 1e-280  # sums of products above this have lost nothing to underflow


@dataclass(frozen=True, eq=False)
class Mixture:
    """The law ``sum_k w_k N(m_k, C_k)``.

    Parameters
    ----------
    log_weights : ndarray of shape (K,)
    means : ndarray of shape (K, d)
    covs : ndarray of shape (K, d, d)
    """

    log_weights: FloatArray
    means: FloatArray
    covs: FloatArray

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return int(self.means.shape[1])

    @property
    def mean(self) -> FloatArray:
        """Mean, shape (d,)."""
        return np.exp(self.log_weights) @ self.means

    def noised(self, scale: float, variance: float) -> "Mixture":
        """Return the law of ``scale X + sqrt(variance) Z``."""
        covs = scale**2 * self.covs + variance * np.eye(self.dim)
        return Mixture(self.log_weights, scale * self.means, covs)

    def log_at(self, x: FloatArray) -> FloatArray:
        """Return the log density at points ``(n,)`` or ``(n, 2)``, shape ``(n,)``."""
        flat = x.reshape(-1, self.dim)
        out = np.empty(len(flat))
        for rows in chunks(len(flat), len(self.log_weights)):
            out[rows] = log_sum_exp(self.log_terms(flat[rows]))
        return out

    def log_on_axes(self, *axes: FloatArray) -> FloatArray:
        """Return the log density on the tensor grid of `axes`, shape ``(nx,)`` or ``(nx, ny)``."""
        if self.dim == 1:
            return self.log_at(axes[0])
        if np.any(self.covs[:, 0, 1]):
            return self.log_at(tensor(*axes)).reshape(axes[0].size, axes[1].size)
        return self._log_of_products(*axes)

    def log_tail(self, x: FloatArray, upper: bool) -> FloatArray:
        """Return ``log P(X <= x)`` in 1D, or ``log P(X > x)`` where `upper`."""
        sign = -1.0 if upper else 1.0
        z = sign * (x[:, None] - self.means[:, 0]) / np.sqrt(self.covs[:, 0, 0])
        return log_sum_exp(self.log_weights + log_ndtr(z))

    def log_terms(self, flat: FloatArray) -> FloatArray:
        """Return ``log w_k N(x; m_k, C_k)`` of shape (n, K), along the principal axes of each component."""
        offsets = [flat[:, j, None] - self.means[:, j] for j in range(self.dim)]
        log_terms = np.tile(self._log_peaks, (len(flat), 1))
        for i in range(self.dim):
            along = sum(offset * self._halved_axes[:, j, i] for j, offset in enumerate(offsets))
            log_terms -= np.square(along)
        return log_terms

    def _log_of_products(self, first: FloatArray, second: FloatArray) -> FloatArray:
        """Return the log density on axes for diagonal covariances: one matrix product per chunk of rows.

        Rows and columns are scaled by their largest term. Where even so the sum comes near underflow (the
        components nearest in x and in y differ, far out), it is taken again by log-sum-exp.
        """
        log_b = self._log_axis(1, second)
        shift_b = log_b.max(axis=1)
        factor_b = np.exp(log_b - shift_b[:, None]).T
        out = np.empty((first.size, second.size))
        for rows in chunks(first.size, second.size + len(self.log_weights)):
            log_a = self._log_axis(0, first[rows]) + self.log_weights
            shift_a = log_a.max(axis=1)
            sums = np.exp(log_a - shift_a[:, None]) @ factor_b
            lost = sums < _SAFE
            block: FloatArray = np.log(np.where(lost, 1.0, sums)) + shift_a[:, None] + shift_b
            if lost.any():
                i, j = np.nonzero(lost)
                block[lost] = self.log_at(np.stack([first[rows][i], second[j]], axis=-1))
            out[rows] = block
        return out

    def _log_axis(self, axis: int, x: FloatArray) -> FloatArray:
        variances = self.covs[:, axis, axis]
        squares = (x[:, None] - self.means[:, axis]) ** 2 / variances
        return np.asarray(-0.5 * (squares + np.log(variances) + LOG_2PI))

    @cached_property
    def _principal(self) -> tuple[FloatArray, FloatArray]:
        values, vectors = np.linalg.eigh(self.covs)
        return values, vectors

    @cached_property
    def _halved_axes(self) -> FloatArray:
        """Principal axes over sqrt(2) standard deviations, (K, d, d)."""
        values, vectors = self._principal
        return np.asarray(vectors / np.sqrt(2.0 * values[:, None, :]))

    @cached_property
    def _log_peaks(self) -> FloatArray:
        log_volumes = np.log(self._principal[0]).sum(axis=1)
        return np.asarray(self.log_weights - 0.5 * (self.dim * LOG_2PI + log_volumes))


def as_mixture(law: Any) -> Mixture | None:
    """Return the arrays of a law that exposes itself as a normal mixture, None for any other."""
    names = ("log_weights", "component_means", "component_covs")
    arrays = [getattr(law, name, None) for name in names]
    if any(array is None for array in arrays):
        return None
    return Mixture(*(np.asarray(array, dtype=np.float64) for array in arrays))


def log_sum_exp(terms: FloatArray) -> FloatArray:
    """Return ``log sum exp`` over the last axis."""
    top = terms.max(axis=-1)
    return np.asarray(top + np.log(np.exp(terms - top[..., None]).sum(axis=-1)))


def tensor(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the points of a 2D tensor grid, shape (n1 n2, 2), the second axis fastest."""
    return np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1).reshape(-1, 2)


def chunks(n: int, width: int) -> Iterator[slice]:
    """Yield slices of `n` rows of `width` doubles, a few megabytes each."""
    step = max(1, _CHUNK // max(1, width))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


_OFFSETS = np.array([-12.0, -4.0, -1.5, 0.0, 1.5, 4.0, 12.0])  # in standard deviations


def landmarks(law: Law, axis: int) -> FloatArray:
    """Return edges for the panels of integrals against `law` along `axis`, increasing.

    Every peak has a few of them within its width, every kink and jump is one of them.
    """
    mixture = as_mixture(law)
    if mixture is not None:
        return around(mixture.means[:, axis], np.sqrt(mixture.covs[:, axis, axis]))
    if isinstance(law, Uniform):
        ends = np.array([np.atleast_1d(law.low)[axis], np.atleast_1d(law.high)[axis]])
        return np.concatenate([ends, [0.5 * ends.sum(), 2.0 * ends[0] - ends[1], 2.0 * ends[1] - ends[0]]])
    if isinstance(law, Laplace | StudentT):
        scales = np.broadcast_to(law.scale, (law.dim,))
        return around(np.atleast_1d(law.mean)[[axis]], scales[[axis]])
    panels = getattr(law, "panels", None)
    if panels is not None:
        return np.union1d(panels[axis].low, panels[axis].high)
    return _from_moments(law, axis)


def around(centres: FloatArray, widths: FloatArray) -> FloatArray:
    """Return edges at, and some widths off, every centre; near duplicates are thinned out."""
    widths = np.broadcast_to(widths, centres.shape)
    edges = np.unique(centres[:, None] + widths[:, None] * _OFFSETS)
    kept = np.round(edges / (0.5 * widths.min()))
    return edges[np.unique(kept, return_index=True)[1]]


def _from_moments(law: Any, axis: int) -> FloatArray:
    """Return edges for a law of which only the moments are known; they may be infinite or missing."""
    centre = float(np.atleast_1d(law.mean)[axis])
    variance = float(np.atleast_2d(law.cov)[axis, axis])
    widths = [np.sqrt(variance)] if np.isfinite(variance) and variance > 0.0 else [1.0]
    if law.smallest_std > 0.0:
        widths.append(law.smallest_std)
    return np.concatenate([around(np.array([centre]), np.array([width])) for width in widths])

"""Finite mixtures of normal laws."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fpsolve._checks import FloatArray, probabilities
from fpsolve.laws._base import frozen, lengths
from fpsolve.laws._normal_mixture import SeveralNormals, component_covariances


@dataclass(frozen=True, eq=False, repr=False)
class GaussianMixture(SeveralNormals):
    """Mixture ``sum_k w_k N(m_k, C_k)`` of K normal laws in 1D or 2D.

    Parameters
    ----------
    weights : array_like of shape (K,)
        w_k >= 0 with sum 1 (never renormalised); components of weight 0 are left out.
    means : array_like of shape (K,) or (K, 2)
        m_k; the shape decides the dimension.
    stds : float or array_like of shape (K,), keyword only
        Standard deviations > 0, isotropic in 2D. Give exactly one of `stds` and `covs`.
    covs : array_like of shape (K,) or (K, 2, 2), keyword only
        Variances in 1D, symmetric positive definite covariances in 2D.

    Raises
    ------
    ValueError
        If weights are negative or do not sum to 1, a standard deviation is not > 0, a covariance is not
        symmetric positive definite, shapes disagree, or anything is NaN or infinite.

    Examples
    --------
    >>> from fpsolve.laws import GaussianMixture
    >>> law = GaussianMixture(weights=[0.5, 0.5], means=[-2.0, 2.0], stds=[0.3, 0.5])
    >>> law.mean, law.cov
    (0.0, 4.17)
    >>> float(law.score(40.0))  # that of the wider component alone
    -152.0
    """

    weights: Any
    means: Any
    stds: Any = field(default=None, kw_only=True)
    covs: Any = field(default=None, kw_only=True)
    log_weights: FloatArray = field(init=False)
    component_means: FloatArray = field(init=False)
    component_covs: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        weights = probabilities("GaussianMixture weights", self.weights)
        means = lengths("GaussianMixture means", self.means)
        if means.shape not in ((weights.size,), (weights.size, 2)):
            wanted = f"({weights.size},) in 1D or ({weights.size}, 2) in 2D"
            raise ValueError(f"GaussianMixture means: expected shape {wanted}, got {means.shape}.")
        covs = component_covariances("GaussianMixture", self.stds, self.covs, means.ndim, weights.size)
        used = weights > 0.0
        for name in ("weights", "means", "stds", "covs"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else frozen(value))
        object.__setattr__(self, "log_weights", frozen(np.log(weights[used])))
        object.__setattr__(self, "component_means", frozen(means.reshape(weights.size, -1)[used]))
        object.__setattr__(self, "component_covs", frozen(covs[used]))

    def __repr__(self) -> str:
        """Return the call that makes this law."""
        name, spread = ("stds", self.stds) if self.covs is None else ("covs", self.covs)
        return f"GaussianMixture({self.weights.tolist()}, {self.means.tolist()}, {name}={spread.tolist()})"

    def diffused(self, scale: float, variance: float) -> "GaussianMixture":
        """Return the mixture of ``N(scale m_k, scale^2 C_k + variance I)`` with the same weights."""
        return mixture_from_arrays(self.log_weights, *self.diffused_components(scale, variance))

    def axis_marginal(self, axis: int) -> "GaussianMixture":
        """Return the 1D mixture of coordinate `axis`."""
        covs = self.component_covs[:, axis, axis, None, None]
        return mixture_from_arrays(self.log_weights, self.component_means[:, axis, None], covs)


def mixture_from_arrays(log_weights: FloatArray, means: FloatArray, covs: FloatArray) -> GaussianMixture:
    """Return a mixture from arrays ``(K,)``, ``(K, d)`` and ``(K, d, d)``."""
    weights = np.exp(log_weights)
    if means.shape[1] == 1:
        return GaussianMixture(weights, means[:, 0], covs=covs[:, 0, 0])
    return GaussianMixture(weights, means, covs=covs)

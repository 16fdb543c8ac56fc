"""The normal law."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve.laws._base import frozen, location, plain
from fpsolve.laws._normal_mixture import NormalMixture, component_covariances


@dataclass(frozen=True, eq=False, repr=False)
class Gaussian(NormalMixture):
    """Normal law ``N(m, C)`` in 1D or 2D.

    Parameters
    ----------
    mean : float or array_like of shape (2,)
        m; its shape decides the dimension.
    std : float, keyword only
        Standard deviation > 0, isotropic in 2D. Give exactly one of `std` and `cov`.
    cov : float or array_like of shape (2, 2), keyword only
        Variance in 1D, symmetric positive definite covariance in 2D.

    Raises
    ------
    ValueError
        If neither or both of `std` and `cov` are given, or either is not positive (definite) and finite.

    Examples
    --------
    >>> from fpsolve.laws import Gaussian
    >>> law = Gaussian(1.0, std=0.5)
    >>> float(law.log_density(21.0))  # 40 standard deviations out
    -800.2257913526447
    >>> law.diffused(scale=0.5, variance=0.75)
    Gaussian(0.5, cov=0.8125)
    """

    mean: Any
    std: Any = field(default=None, kw_only=True)
    cov: Any = field(default=None, kw_only=True)
    log_weights: FloatArray = field(init=False)
    component_means: FloatArray = field(init=False)
    component_covs: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        mean = location("Gaussian mean", self.mean)
        dim = 1 if mean.ndim == 0 else 2
        covs = frozen(component_covariances("Gaussian", self.std, self.cov, dim, 1))
        isotropic = dim == 1 or (covs[0, 0, 1] == 0.0 and covs[0, 0, 0] == covs[0, 1, 1])
        object.__setattr__(self, "mean", plain(mean))
        object.__setattr__(self, "std", float(np.sqrt(covs[0, 0, 0])) if isotropic else None)
        object.__setattr__(self, "cov", float(covs[0, 0, 0]) if dim == 1 else covs[0])
        object.__setattr__(self, "log_weights", frozen(np.zeros(1)))
        object.__setattr__(self, "component_means", frozen(mean.reshape(1, dim)))
        object.__setattr__(self, "component_covs", covs)

    def __repr__(self) -> str:
        """Return the call that makes this law."""
        return f"Gaussian({np.asarray(self.mean).tolist()}, cov={np.asarray(self.cov).tolist()})"

    def diffused(self, scale: float, variance: float) -> "Gaussian":
        """Return ``N(scale m, scale^2 C + variance I)``."""
        means, covs = self.diffused_components(scale, variance)
        return Gaussian(means[0], cov=covs[0]) if self.dim == 2 else Gaussian(means[0, 0], cov=covs[0, 0, 0])

    def axis_marginal(self, axis: int) -> "Gaussian":
        """Return the normal law of coordinate `axis`."""
        return Gaussian(self.component_means[0, axis], cov=self.component_covs[0, axis, axis])

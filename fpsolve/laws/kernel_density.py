"""Kernel density estimates: how real data enter."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fpsolve._checks import FloatArray, finite_array
from fpsolve.laws._base import frozen, plain
from fpsolve.laws._normal_mixture import SeveralNormals
from fpsolve.laws.gaussian_mixture import GaussianMixture, mixture_from_arrays


@dataclass(frozen=True, eq=False, repr=False)
class KernelDensity(SeveralNormals):
    """Gaussian kernel density estimate ``p(x) = 1/n sum_i N(x; x_i, diag(b^2))``.

    Parameters
    ----------
    samples : array_like of shape (n,) or (n, 2)
        Data x_i, at least two rows, finite, not constant along an axis.
    bandwidth : float or array_like of shape (2,), optional
        Kernel standard deviation b in data units, one number or one per axis. Default: Scott's rule per axis,
        ``b = n^(-1/(d + 4)) std(x)`` with the sample standard deviation (divisor n - 1).

    Raises
    ------
    ValueError
        If there are fewer than two samples, NaN or infinite values, constant data, or a bandwidth that is not
        > 0.

    References
    ----------
    D. W. Scott, Multivariate Density Estimation, Wiley 1992, doi:10.1002/9780470316849.

    Examples
    --------
    >>> from fpsolve.laws import KernelDensity
    >>> law = KernelDensity([-1.0, 0.0, 1.0], bandwidth=0.5)
    >>> law.mean, round(law.cov, 12)
    (0.0, 0.916666666667)
    """

    samples: Any
    bandwidth: Any = None
    log_weights: FloatArray = field(init=False)
    component_means: FloatArray = field(init=False)
    component_covs: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        samples = finite_array("KernelDensity samples", self.samples)
        if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] != 2):
            raise ValueError(f"KernelDensity samples: expected shape (n,) or (n, 2), got {samples.shape}.")
        if len(samples) < 2:
            raise ValueError(f"KernelDensity samples: expected at least two, got {len(samples)}.")
        if np.any(np.ptp(samples, axis=0) == 0.0):
            raise ValueError("KernelDensity samples: expected data that vary, got the same value in every row.")
        n, dim = len(samples), samples.ndim
        bandwidth = _bandwidth(samples, self.bandwidth)
        object.__setattr__(self, "samples", frozen(samples))
        object.__setattr__(self, "bandwidth", plain(bandwidth))
        object.__setattr__(self, "log_weights", frozen(np.full(n, -np.log(n))))
        object.__setattr__(self, "component_means", frozen(samples.reshape(n, dim)))
        cov = np.diag(np.atleast_1d(bandwidth) ** 2)
        object.__setattr__(self, "component_covs", frozen(np.broadcast_to(cov, (n, dim, dim))))

    def __repr__(self) -> str:
        """Return a short description: the samples would fill the page."""
        return f"KernelDensity({len(self.samples)} samples, bandwidth={np.asarray(self.bandwidth).tolist()})"

    @property
    def components(self) -> GaussianMixture:
        """The same law as a GaussianMixture."""
        return self.diffused(1.0, 0.0)

    def diffused(self, scale: float, variance: float) -> GaussianMixture:
        """Return the mixture of ``N(scale x_i, scale^2 diag(b^2) + variance I)``."""
        return mixture_from_arrays(self.log_weights, *self.diffused_components(scale, variance))

    def axis_marginal(self, axis: int) -> "KernelDensity":
        """Return the 1D kernel density of coordinate `axis`."""
        if self.dim == 1:
            return self
        return KernelDensity(self.samples[:, axis], bandwidth=self.bandwidth[axis])


def _bandwidth(samples: FloatArray, given: Any) -> FloatArray:
    """Return the kernel's standard deviation: a 0-dimensional array in 1D, shape (2,) in 2D."""
    n, dim = len(samples), samples.ndim
    if given is None:
        return frozen(n ** (-1.0 / (dim + 4)) * np.std(samples, axis=0, ddof=1))
    bandwidth = finite_array("KernelDensity bandwidth", given)
    if bandwidth.shape not in ((), (dim,)) or bandwidth.min() <= 0.0:
        remedy = "one number > 0 or one per axis"
        raise ValueError(f"KernelDensity bandwidth: expected {remedy}, got {bandwidth.tolist()}.")
    return frozen(np.broadcast_to(bandwidth, samples.shape[1:]).copy() if dim == 2 else bandwidth.reshape(()))

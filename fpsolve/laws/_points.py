"""Laws made of points: one point, and a kernel density over many.

Kernel density estimates: how real data enter.

The Dirac mass.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fpsolve._checks import FloatArray, interval, varies
from fpsolve.laws._base import COMPACT, Law, Tail, bin_samples, frozen, lengths, location, number_of_draws, plain
from fpsolve.laws._gaussian import Gaussian, GaussianMixture, SeveralNormals, mixture_from_arrays

#: Samples beyond which they are binned unless told otherwise, and the distance of the nodes in bandwidths.
EXACT_SAMPLES = 3000
BIN_SHARE = {1: 0.25, 2: 0.5}


@dataclass(frozen=True, eq=False, repr=False)
class KernelDensity(SeveralNormals):
    """Gaussian kernel density estimate ``p(x) = 1/n sum_i N(x; x_i, diag(b^2))``.

    Parameters
    ----------
    samples : array_like of shape (n,) or (n, 2)
        Data x_i, at least two rows, finite, not constant (up to rounding) along an axis.
    bandwidth : float or array_like of shape (2,), optional
        Kernel standard deviation b in data units, one number or one per axis. Default: Scott's rule per axis,
        ``b = n^(-1/(d + 4)) std(x)`` with the sample standard deviation (divisor n - 1).
    bins : float, optional
        Share out the samples among nodes at this distance, in bandwidths, 0 to 1; 0 keeps every sample. Default: 0 up
        to 3000 samples, beyond them 0.25 in 1D and 0.5 in 2D. The law then *is* that of the nodes, everywhere;
        `binning_error` says how far it is from the estimate with all samples.

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
    bins: float | None = None
    log_weights: FloatArray = field(init=False)
    component_means: FloatArray = field(init=False)
    component_covs: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        samples = lengths("KernelDensity samples", self.samples)
        if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] != 2):
            raise ValueError(f"KernelDensity samples: expected shape (n,) or (n, 2), got {samples.shape}.")
        if len(samples) < 2:
            raise ValueError(f"KernelDensity samples: expected at least two, got {len(samples)}.")
        given = np.asarray(self.samples)
        if not np.all(varies(given if given.dtype.kind == "f" else samples)):
            raise ValueError("KernelDensity samples: expected data that vary, got the same value in every row.")
        n, dim = len(samples), samples.ndim
        bandwidth = _bandwidth(samples, self.bandwidth)
        object.__setattr__(self, "samples", frozen(samples))
        object.__setattr__(self, "bandwidth", plain(bandwidth))
        share = (0.0 if n <= EXACT_SAMPLES else BIN_SHARE[dim]) if self.bins is None else self.bins
        share = interval("KernelDensity bins", share, 0.0, 1.0, remedy="give the distance of the nodes in bandwidths")
        widths = share * np.atleast_1d(bandwidth)
        weights, means = np.full(n, 1.0 / n), samples.reshape(n, dim)
        if share > 0.0:
            weights, means = bin_samples(means, widths)
        cov = np.diag(np.atleast_1d(bandwidth) ** 2 - widths**2 / 6.0)
        object.__setattr__(self, "bins", share)
        object.__setattr__(self, "log_weights", frozen(np.log(weights)))
        object.__setattr__(self, "component_means", frozen(means))
        object.__setattr__(self, "component_covs", frozen(np.broadcast_to(cov, (len(weights), dim, dim))))

    def __repr__(self) -> str:
        """Return a short description: the samples would fill the page."""
        return f"KernelDensity({len(self.samples)} samples, bandwidth={np.asarray(self.bandwidth).tolist()})"

    @cached_property
    def binning_error(self) -> float:
        """``int |p_all - p_binned|``, all samples against their nodes, on cells of half a bandwidth; 0 without bins."""
        if not self.bins:
            return 0.0
        everything = KernelDensity(self.samples, self.bandwidth, bins=0.0)
        reach = 5.0 * np.atleast_1d(self.bandwidth)
        data = self.samples.reshape(len(self.samples), -1)
        low, high = data.min(axis=0) - reach, data.max(axis=0) + reach
        counts = np.ceil((high - low) / (0.5 * np.atleast_1d(self.bandwidth))).astype(int)
        steps = (high - low) / counts
        axes = [a + h * (np.arange(m) + 0.5) for a, h, m in zip(low, steps, counts, strict=True)]
        faces = [a + h * np.arange(m + 1) for a, h, m in zip(low, steps, counts, strict=True)]
        if len(axes) == 1:
            gap = self.density(axes[0]) - everything.density(axes[0])
            return float(np.abs(gap).sum() * steps[0])
        # In the plane cell probabilities are matrix products and cheap for any number of samples.
        ours, theirs = self.cell_probabilities(*faces), everything.cell_probabilities(*faces)
        return float(np.abs(np.asarray(ours) - np.asarray(theirs)).sum())

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
        return KernelDensity(self.samples[:, axis], bandwidth=self.bandwidth[axis], bins=self.bins)


def _bandwidth(samples: FloatArray, given: Any) -> FloatArray:
    """Return the kernel's standard deviation: a 0-dimensional array in 1D, shape (2,) in 2D."""
    n, dim = len(samples), samples.ndim
    if given is None:
        return frozen(n ** (-1.0 / (dim + 4)) * np.std(samples, axis=0, ddof=1))
    bandwidth = lengths("KernelDensity bandwidth", given, widths=True)
    if bandwidth.shape not in ((), (dim,)) or bandwidth.min() <= 0.0:
        remedy = "one number > 0 or one per axis"
        raise ValueError(f"KernelDensity bandwidth: expected {remedy}, got {bandwidth.tolist()}.")
    return frozen(np.broadcast_to(bandwidth, samples.shape[1:]).copy() if dim == 2 else bandwidth.reshape(()))


_NO_DENSITY = "PointMass: expected a law with a density, got a point mass; diffuse it first."


@dataclass(frozen=True, eq=False)
class PointMass(Law):
    """All mass at one point: for the oracle and for kernels, not a start on a grid.

    Parameters
    ----------
    at : float or array_like of shape (2,)
        The point; its shape decides the dimension.

    Examples
    --------
    >>> from fpsolve.laws import PointMass
    >>> PointMass(2.0).diffused(scale=0.5, variance=0.25)
    Gaussian(1.0, cov=0.25)
    """

    at: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", plain(location("PointMass at", self.at)))

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return 1 + np.ndim(self.at)

    @property
    def mean(self) -> float | FloatArray:
        """The point."""
        at: float | FloatArray = self.at
        return at

    @property
    def cov(self) -> float | FloatArray:
        """0."""
        return 0.0 if self.dim == 1 else np.zeros((2, 2))

    @property
    def tail(self) -> Tail:
        """No tail: the support is a point."""
        return COMPACT

    @property
    def smallest_std(self) -> float:
        """0."""
        return 0.0

    @property
    def features(self) -> list[tuple[float, float]]:
        """None: there is nothing to integrate."""
        return []

    def log_density(self, x: Any) -> FloatArray:
        """Raise ValueError: a point mass has no density."""
        raise ValueError(_NO_DENSITY)

    def score(self, x: Any) -> FloatArray:
        """Raise ValueError: a point mass has no density."""
        raise ValueError(_NO_DENSITY)

    def cell_probabilities(self, *faces: Any) -> FloatArray:
        """Raise ValueError: a grid cannot represent a point mass."""
        raise ValueError(_NO_DENSITY)

    def sample(self, n: int, rng: np.random.Generator | int) -> FloatArray:
        """Return the point `n` times, shape ``(n,)`` or ``(n, 2)``."""
        return np.tile(self.at, (number_of_draws(n, self.dim),) + (1,) * (self.dim - 1))

    def diffused(self, scale: float, variance: float) -> "PointMass | Gaussian":
        """Return ``N(scale x, variance I)``."""
        at = scale * np.asarray(self.at)
        return PointMass(at) if variance == 0.0 else Gaussian(at, std=float(np.sqrt(variance)))

    def axis_marginal(self, axis: int) -> "PointMass":
        """Return the point mass of coordinate `axis`."""
        return PointMass(np.atleast_1d(self.at)[axis])

"""Laws made of points (a kernel density over many, the Dirac mass), and of normal laws of many scales (Student's t)."""

from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
from scipy.special import gammaln, loggamma, stdtr

from fpsolve._checks import FloatArray, generator, interval, non_negative, points, positive, varies
from fpsolve._memory import require
from fpsolve.laws._base import (
    COMPACT,
    Law,
    Noisy,
    Tail,
    bin_samples,
    check_axes,
    faces_around,
    frozen,
    lengths,
    location,
    number_of_draws,
    plain,
    symmetric_interval_probabilities,
)
from fpsolve.laws._gaussian import Gaussian, GaussianMixture, NormalMixture, SeveralNormals, mixture_from_arrays

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
        columns = self.samples.reshape(len(self.samples), -1).T
        faces = [faces_around(x, b) for x, b in zip(columns, np.atleast_1d(self.bandwidth), strict=True)]
        if len(faces) == 1:
            middles, steps = 0.5 * (faces[0][1:] + faces[0][:-1]), np.diff(faces[0])
            return float((np.abs(self.density(middles) - everything.density(middles)) * steps).sum())
        remedy = "give a larger bandwidth, or leave out what lies far away"
        require("binning_error", 24.0 * len(faces[0]) * len(faces[1]), remedy)
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


_LOG_REACH = float(np.log(1e6))  # the scale mixture holds up to 10^6 scales from the centre
_NATS = 36.0  # what is left out of the scale mixture, relative: exp(-36) = 2e-16
_DEEPEST = 2000.0  # ... and down to densities exp(-2000) of the peak


class _HeavyTailed(Law):
    """What both have of Student's t law."""

    df: float
    mean: Any
    scale: float

    @property
    def features(self) -> list[tuple[float, float]]:
        """One peak with smooth flanks, for which many components would be too many."""
        return [(float(self.mean), self.smallest_std), (float(self.mean), self.scale)]

    @property
    def tail(self) -> Tail:
        """``p ~ |x|^-(df + d)``, also where a finite mixture stands for the law."""
        return Tail(0.0, self.df + self.dim)


@dataclass(frozen=True, eq=False)
class StudentT(_HeavyTailed):
    """Student's t law with df degrees of freedom; in 2D the multivariate t, the same scale in every direction.

    ``p(x) = Gamma((df + d)/2) / (Gamma(df/2) (pi df s^2)^(d/2)) (1 + |x - m|^2/(df s^2))^(-(df + d)/2)``

    Parameters
    ----------
    df : float
        Degrees of freedom > 0. The variance is finite for df > 2 only, the mean exists for df > 1 only.
    mean : float or array_like of shape (2,)
        Centre m; its shape decides the dimension. Default 0.
    scale : float
        s > 0; the covariance is ``s^2 df/(df - 2)`` times the identity. Default 1.

    Raises
    ------
    ValueError
        If `df` or `scale` is not > 0 or anything is NaN or infinite.

    Examples
    --------
    >>> from fpsolve.laws import StudentT
    >>> StudentT(5.0).cov
    1.6666666666666667
    """

    df: float
    mean: Any = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "df", positive("StudentT df", self.df))
        object.__setattr__(self, "mean", plain(location("StudentT mean", self.mean)))
        object.__setattr__(self, "scale", positive("StudentT scale", self.scale))
        lengths("StudentT scale", self.scale, widths=True)

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return 1 + np.ndim(self.mean)

    @property
    def cov(self) -> float | FloatArray:
        """``s^2 df/(df - 2)``, times the identity in 2D; infinite for df <= 2."""
        return _covariance(self.df, self.scale, self.dim)

    @property
    def smallest_std(self) -> float:
        """Width of the peak, ``s sqrt(df/(df + d))``: from the curvature of the log density there."""
        return self.scale * float(np.sqrt(self.df / (self.df + self.dim)))

    @property
    def jumps(self) -> bool:
        """None."""
        return False

    def log_density(self, x: Any) -> FloatArray:
        """Return ``log p(x)``, shape ``(...)``."""
        df, d = self.df, self.dim
        log_constant = gammaln(0.5 * (df + d)) - gammaln(0.5 * df) - 0.5 * d * np.log(np.pi * df * self.scale**2)
        return np.asarray(log_constant - 0.5 * (df + d) * np.log1p(self._squared(x) / df))

    def score(self, x: Any) -> FloatArray:
        """Return ``-(df + d) (x - m)/(df s^2 + |x - m|^2)``."""
        offsets = points("x", x, self.dim) - self.mean
        squared = self._squared(x) if self.dim == 1 else self._squared(x)[..., None]
        return np.asarray(-(self.df + self.dim) * offsets / (self.scale**2 * (self.df + squared)))

    def sample(self, n: int, rng: np.random.Generator | int) -> FloatArray:
        """Return `n` draws: normal over the root of a gamma variable; ``(n,)`` or ``(n, 2)``."""
        n, rng = number_of_draws(n, self.dim), generator("rng", rng)
        normal = rng.standard_normal((n, self.dim))
        stretch = np.sqrt(0.5 * self.df / rng.standard_gamma(0.5 * self.df, size=(n, 1)))
        draws = self.scale * stretch * normal
        return np.asarray(self.mean + (draws[:, 0] if self.dim == 1 else draws))

    def cell_probabilities(self, *faces: Any) -> FloatArray | None:
        """Return the probability of every cell from the t CDF in 1D; None in 2D."""
        arrays = check_axes(self.dim, faces, "faces")
        if self.dim == 2:
            return None
        return symmetric_interval_probabilities(lambda z: stdtr(self.df, z), (arrays[0] - self.mean) / self.scale)

    def diffused(self, scale: float, variance: float) -> "StudentT | DiffusedStudentT":
        """Return the law of ``scale X + sqrt(variance) Z`` as a scale mixture of normal laws."""
        mean, width = scale * np.asarray(self.mean), scale * self.scale
        if variance == 0.0:
            return StudentT(self.df, mean, width)
        return DiffusedStudentT(self.df, mean, width, float(np.sqrt(variance)))

    @property
    def components(self) -> "DiffusedStudentT":
        """The law as a finite scale mixture of normal laws, to rounding."""
        return DiffusedStudentT(self.df, self.mean, self.scale, 0.0)

    def axis_marginal(self, axis: int) -> "StudentT":
        """Return the 1D t law of coordinate `axis`, with the same df and scale."""
        return StudentT(self.df, np.atleast_1d(self.mean)[axis], self.scale)

    def _squared(self, x: Any) -> FloatArray:
        z = (points("x", x, self.dim) - self.mean) / self.scale
        return np.asarray(z**2 if self.dim == 1 else (z**2).sum(axis=-1))


@dataclass(frozen=True, eq=False)
class DiffusedStudentT(_HeavyTailed, Noisy, NormalMixture):
    """Student's t plus independent Gaussian noise, as a finite scale mixture of normal laws.

    t is ``N(m, lambda s^2)`` with lambda inverse-gamma(df/2, df/2), so the sum is
    ``int f(u) N(x; m, (s^2 e^u + std^2) I) du``, ``f(u) ~ exp(-df/2 (u + e^{-u}))``, u = log lambda. The
    trapezoidal rule in u converges geometrically: its relative error is ``2 |Gamma(a + 2 pi i/h)|/Gamma(a)``,
    ``a = (df + d)/2``, kept below 1e-14 by the spacing h. The nodes reach far enough for 10^6 scales from the
    centre.

    Parameters
    ----------
    df : float
        Degrees of freedom.
    mean : float or array_like of shape (2,)
        Centre m.
    scale : float
        s, of the t law.
    std : float
        Standard deviation of the noise, >= 0.

    References
    ----------
    L. N. Trefethen and J. A. C. Weideman, The exponentially convergent trapezoidal rule, SIAM Review 56
    (2014), doi:10.1137/130932132.
    """

    df: float
    mean: Any
    scale: float
    std: float
    log_weights: FloatArray = field(init=False, repr=False)
    component_means: FloatArray = field(init=False, repr=False)
    component_covs: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        mean = location("DiffusedStudentT mean", self.mean)
        dim, noise = 1 + mean.ndim, non_negative("DiffusedStudentT std", self.std)
        u, log_weights = scale_mixture(self.df, dim)
        variances = self.scale**2 * np.exp(u) + noise**2
        object.__setattr__(self, "mean", plain(mean))
        object.__setattr__(self, "log_weights", log_weights)
        object.__setattr__(self, "component_means", frozen(np.tile(mean.reshape(1, dim), (len(u), 1))))
        object.__setattr__(self, "component_covs", frozen(variances[:, None, None] * np.eye(dim)))

    @property
    def cov(self) -> float | FloatArray:
        """``s^2 df/(df - 2) + std^2``, times the identity in 2D; infinite for df <= 2."""
        return _covariance(self.df, self.scale, self.dim, self.std)

    @property
    def smallest_std(self) -> float:
        """Width of the peak: that of the t law and that of the noise, added in squares."""
        return float(np.hypot(self.scale * np.sqrt(self.df / (self.df + self.dim)), self.std))

    def sample(self, n: int, rng: np.random.Generator | int) -> FloatArray:
        """Return `n` draws: t plus noise."""
        return self.with_noise(StudentT(self.df, self.mean, self.scale), n, rng)

    def diffused(self, scale: float, variance: float) -> "DiffusedStudentT":
        """Return the law with further noise: the standard deviations add in squares."""
        std = float(np.sqrt((scale * self.std) ** 2 + variance))
        return DiffusedStudentT(self.df, scale * np.asarray(self.mean), scale * self.scale, std)

    def axis_marginal(self, axis: int) -> "DiffusedStudentT":
        """Return the 1D law of coordinate `axis`."""
        return DiffusedStudentT(self.df, np.atleast_1d(self.mean)[axis], self.scale, self.std)


@cache
def scale_mixture(df: float, dim: int) -> tuple[FloatArray, FloatArray]:
    """Return nodes u = log lambda and log weights of the scale mixture that is Student's t."""
    # the step of the trapezoidal rule for ``exp(-a u - c e^{-u})`` to a relative 1e-14
    a, omega = 0.5 * (df + dim), 10.0
    while 2.0 * np.exp(loggamma(a + 1j * omega).real - gammaln(a)) > 1e-14:
        omega *= 1.05
    step, half = 2.0 * float(np.pi) / omega, 0.5 * df
    # beyond `top` lie a relative exp(-36) of the mass and of the density 10^6 scales out
    top = max(_NATS / half, 2.0 * _LOG_REACH + 2.0 * _NATS / (df + dim))
    bottom = -max(float(np.log(800.0 / half)), 0.0) - min(1.0, float(np.sqrt(240.0 / half)))
    u = step * np.arange(np.floor(bottom / step), np.ceil(top / step))
    log_f = -half * (u + np.exp(-u) - 1.0)
    at_centre = log_f - 0.5 * dim * u
    kept = (at_centre > at_centre.max() - _NATS) | ((u > 0.0) & (log_f > -_DEEPEST))
    log_constant = half * np.log(half) - half - gammaln(half)
    return frozen(u[kept]), frozen(log_f[kept] + log_constant + np.log(step))


def _covariance(df: float, scale: float, dim: int, noise: float = 0.0) -> float | FloatArray:
    variance = (scale**2 * df / (df - 2.0) if df > 2.0 else float("inf")) + noise**2
    return variance if dim == 1 else np.diag([variance, variance])

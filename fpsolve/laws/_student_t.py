"""Student's t, and what Gaussian noise makes of it: a scale mixture of normal laws."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from scipy.special import gammaln, loggamma, stdtr

from fpsolve._checks import FloatArray, generator, non_negative, points, positive
from fpsolve.laws._base import (
    Law,
    Tail,
    check_axes,
    frozen,
    lengths,
    location,
    number_of_draws,
    plain,
    symmetric_interval_probabilities,
)
from fpsolve.laws._gaussian import NormalMixture

_LOG_REACH = float(np.log(1e6))  # the scale mixture holds up to 10^6 scales from the centre
_NATS = 36.0  # what is left out of the scale mixture, relative: exp(-36) = 2e-16
_DEEPEST = 2000.0  # ... and down to densities exp(-2000) of the peak


@dataclass(frozen=True, eq=False)
class StudentT(Law):
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
        return _isotropic(_variance(self.df, self.scale), self.dim)

    @property
    def smallest_std(self) -> float:
        """Width of the peak, ``s sqrt(df/(df + d))``: from the curvature of the log density there."""
        return self.scale * float(np.sqrt(self.df / (self.df + self.dim)))

    @property
    def features(self) -> list[tuple[float, float]]:
        """One peak with smooth flanks, for which many components would be too many."""
        return [(float(self.mean), self.smallest_std), (float(self.mean), self.scale)]

    @property
    def jumps(self) -> bool:
        """None."""
        return False

    @property
    def tail(self) -> Tail:
        """``p ~ |x|^-(df + d)``."""
        return Tail(0.0, self.df + self.dim)

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
class DiffusedStudentT(NormalMixture):
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
        return _isotropic(_variance(self.df, self.scale) + self.std**2, self.dim)

    @property
    def smallest_std(self) -> float:
        """Width of the peak: that of the t law and that of the noise, added in squares."""
        return float(np.hypot(self.scale * np.sqrt(self.df / (self.df + self.dim)), self.std))

    @property
    def features(self) -> list[tuple[float, float]]:
        """One peak with smooth flanks, for which many components would be too many."""
        return [(float(self.mean), self.smallest_std), (float(self.mean), self.scale)]

    @property
    def tail(self) -> Tail:
        """That of the t law, not of the finite mixture that stands for it."""
        return Tail(0.0, self.df + self.dim)

    def sample(self, n: int, rng: np.random.Generator | int) -> FloatArray:
        """Return `n` draws: t plus noise."""
        rng = generator("rng", rng)
        draws = StudentT(self.df, self.mean, self.scale).sample(n, rng)
        return draws + self.std * rng.standard_normal(draws.shape)

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
    step, half = _node_spacing(0.5 * (df + dim)), 0.5 * df
    # beyond `top` lie a relative exp(-36) of the mass and of the density 10^6 scales out
    top = max(_NATS / half, 2.0 * _LOG_REACH + 2.0 * _NATS / (df + dim))
    bottom = -max(float(np.log(800.0 / half)), 0.0) - min(1.0, float(np.sqrt(240.0 / half)))
    u = step * np.arange(np.floor(bottom / step), np.ceil(top / step))
    log_f = -half * (u + np.exp(-u) - 1.0)
    at_centre = log_f - 0.5 * dim * u
    kept = (at_centre > at_centre.max() - _NATS) | ((u > 0.0) & (log_f > -_DEEPEST))
    log_constant = half * np.log(half) - half - gammaln(half)
    return frozen(u[kept]), frozen(log_f[kept] + log_constant + np.log(step))


def _node_spacing(a: float) -> float:
    """Return the step h of the trapezoidal rule for ``exp(-a u - c e^{-u})`` to a relative 1e-14."""
    omega = 10.0
    while 2.0 * np.exp(loggamma(a + 1j * omega).real - gammaln(a)) > 1e-14:
        omega *= 1.05
    return 2.0 * float(np.pi) / omega


def _variance(df: float, scale: float) -> float:
    return scale**2 * df / (df - 2.0) if df > 2.0 else float("inf")


def _isotropic(variance: float, dim: int) -> float | FloatArray:
    return variance if dim == 1 else np.diag([variance, variance])

"""The Laplace law, and what Gaussian noise makes of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import erfcx, log_ndtr, ndtr

from fpsolve._checks import FloatArray, generator, points
from fpsolve.laws._base import Law, Tail, check_axes, frozen, lengths, location, number_of_draws, plain

_LOG_2 = float(np.log(2.0))
_SQRT_2 = float(np.sqrt(2.0))


@dataclass(frozen=True, eq=False)
class Laplace(Law):
    """Laplace law ``p(x) = 1/(2 b) exp(-|x - m| / b)``; in 2D the product of one per axis.

    Parameters
    ----------
    mean : float or array_like of shape (2,)
        m; its shape decides the dimension. Default 0.
    scale : float or array_like of shape (2,)
        b > 0; the variance is 2 b^2. Default 1.

    Raises
    ------
    ValueError
        If `scale` is not > 0 or anything is NaN or infinite.

    Examples
    --------
    >>> from fpsolve.laws import Laplace
    >>> Laplace(0.0, 0.5).cov
    0.5
    """

    mean: Any = 0.0
    scale: Any = 1.0

    def __post_init__(self) -> None:
        mean = location("Laplace mean", self.mean)
        object.__setattr__(self, "mean", plain(mean))
        object.__setattr__(self, "scale", plain(positive_per_axis("Laplace scale", self.scale, mean)))

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return 1 + np.ndim(self.mean)

    @property
    def cov(self) -> float | FloatArray:
        """Variance ``2 b^2``, or the diagonal covariance of shape (2, 2)."""
        return axis_covariance(2.0 * np.asarray(self.scale) ** 2)

    @property
    def tail(self) -> Tail:
        """Exponential, of the wider axis."""
        return Tail(1.0, 1.0 / float(np.max(np.asarray(self.scale))))

    @property
    def smallest_std(self) -> float:
        """0: the density has a kink."""
        return 0.0

    @property
    def features(self) -> list[tuple[float, float]]:
        """The kink, with flanks as wide as `scale`."""
        return [(float(np.asarray(self.mean)), float(self.scale))]

    @property
    def jumps(self) -> bool:
        """None."""
        return False

    @property
    def poincare_constant(self) -> float:
        """``4 b^2``, b the larger scale."""
        return 4.0 * float(np.max(np.asarray(self.scale))) ** 2

    def log_density(self, x: Any) -> FloatArray:
        """Return ``log p(x) = -log(2 b) - |x - m|/b``, summed over the axes in 2D."""
        z = np.abs(points("x", x, self.dim) - self.mean) / self.scale
        return sum_over_axes(-z - np.log(2.0 * np.asarray(self.scale)), self.dim)

    def score(self, x: Any) -> FloatArray:
        """Return ``-sign(x - m)/b``, 0 at the kink."""
        return np.asarray(-np.sign(points("x", x, self.dim) - self.mean) / self.scale)

    def sample(self, n: int, rng: np.random.Generator | int) -> FloatArray:
        """Return `n` draws, shape ``(n,)`` or ``(n, 2)``."""
        shape = (number_of_draws(n, self.dim),) + np.shape(self.mean)
        return np.asarray(generator("rng", rng).laplace(self.mean, self.scale, size=shape))

    def cell_probabilities(self, *faces: Any) -> FloatArray:
        """Return the probability of every cell, from ``expm1``: exact relative to each cell's own mass."""
        arrays = check_axes(self.dim, faces, "faces")
        means, scales = np.atleast_1d(self.mean), np.atleast_1d(self.scale)
        per_axis = [_interval_probabilities((f - m) / b) for f, m, b in zip(arrays, means, scales, strict=True)]
        return per_axis[0] if self.dim == 1 else np.outer(*per_axis)

    def diffused(self, scale: float, variance: float) -> "Laplace | DiffusedLaplace":
        """Return the law of ``scale X + sqrt(variance) Z``, closed form by the scaled erfc."""
        mean, width = scale * np.asarray(self.mean), scale * np.asarray(self.scale)
        return Laplace(mean, width) if variance == 0.0 else DiffusedLaplace(mean, width, float(np.sqrt(variance)))

    def axis_marginal(self, axis: int) -> "Laplace":
        """Return the 1D Laplace law of coordinate `axis`."""
        return Laplace(np.atleast_1d(self.mean)[axis], np.atleast_1d(self.scale)[axis])


@dataclass(frozen=True, eq=False)
class DiffusedLaplace(Law):
    """Laplace law plus independent Gaussian noise; in 2D the product of one per axis.

    ``p(x) = A(x) + A(-x)`` about the mean, with s the noise's standard deviation and
    ``A(x) = 1/(2 b) exp(s^2/(2 b^2) - x/b) Phi(x/s - s/b)
    = 1/(4 b) exp(-x^2/(2 s^2)) erfcx((s/b - x/s)/sqrt 2)``; the first form is used where its argument x/s - s/b is
    positive, the second elsewhere, so that neither over- nor underflows. The Gaussian parts of the two derivatives
    cancel: ``p'/p = tanh((log A(-x) - log A(x))/2)/b``.

    Parameters
    ----------
    mean, scale : float or array_like of shape (2,)
        m and b of the Laplace law.
    std : float
        s > 0.
    """

    mean: Any
    scale: Any
    std: float

    def __post_init__(self) -> None:
        mean = location("DiffusedLaplace mean", self.mean)
        object.__setattr__(self, "mean", plain(mean))
        object.__setattr__(self, "scale", plain(positive_per_axis("DiffusedLaplace scale", self.scale, mean)))

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return 1 + np.ndim(self.mean)

    @property
    def cov(self) -> float | FloatArray:
        """Variance ``2 b^2 + s^2``, or the diagonal covariance of shape (2, 2)."""
        return axis_covariance(2.0 * np.asarray(self.scale) ** 2 + self.std**2)

    @property
    def tail(self) -> Tail:
        """That of the Laplace law: noise adds a constant factor."""
        return Tail(1.0, 1.0 / float(np.max(np.asarray(self.scale))))

    @property
    def smallest_std(self) -> float:
        """Standard deviation of the noise, which rounds the kink."""
        return self.std

    def log_density(self, x: Any) -> FloatArray:
        """Return ``log p(x)``, finite however far out."""
        x = points("x", x, self.dim) - self.mean
        right, left = self._log_branch(x), self._log_branch(-x)
        return sum_over_axes(np.maximum(right, left) + np.log1p(np.exp(-np.abs(right - left))), self.dim)

    def score(self, x: Any) -> FloatArray:
        """Return ``grad log p(x)``, between ``-1/b`` and ``1/b`` on every axis."""
        x = points("x", x, self.dim) - self.mean
        return np.asarray(np.tanh(0.5 * (self._log_branch(-x) - self._log_branch(x))) / self.scale)

    def sample(self, n: int, rng: np.random.Generator | int) -> FloatArray:
        """Return `n` draws: Laplace plus noise."""
        rng = generator("rng", rng)
        draws = Laplace(self.mean, self.scale).sample(n, rng)
        return draws + self.std * rng.standard_normal(draws.shape)

    def cell_probabilities(self, *faces: Any) -> FloatArray:
        """Return the probability of every cell from ``F(x) = Phi(x/s) + b (A(-x) - A(x))`` and its reflection."""
        arrays = check_axes(self.dim, faces, "faces")
        if self.dim == 1:
            return self._interval_probabilities(arrays[0])
        return np.outer(*(self.axis_marginal(i)._interval_probabilities(array) for i, array in enumerate(arrays)))

    def diffused(self, scale: float, variance: float) -> "DiffusedLaplace":
        """Return the law with further noise: the standard deviations add in squares."""
        std = float(np.sqrt((scale * self.std) ** 2 + variance))
        return DiffusedLaplace(scale * np.asarray(self.mean), scale * np.asarray(self.scale), std)

    def axis_marginal(self, axis: int) -> "DiffusedLaplace":
        """Return the 1D law of coordinate `axis`."""
        return DiffusedLaplace(np.atleast_1d(self.mean)[axis], np.atleast_1d(self.scale)[axis], self.std)

    def _log_branch(self, x: FloatArray) -> FloatArray:
        """Return log A(x), x centred."""
        b, s = np.asarray(self.scale), self.std
        z = x / s - s / b
        # the upper limit keeps the logarithm finite at infinite faces
        near = np.log(erfcx(np.clip(-z, 0.0, 1e100) / _SQRT_2)) - 0.5 * (x / s) ** 2 - _LOG_2
        far = 0.5 * (s / b) ** 2 - x / b + log_ndtr(np.maximum(z, 0.0))
        return np.asarray(np.where(z > 0.0, far, near) - np.log(2.0 * b))

    def _interval_probabilities(self, faces: FloatArray) -> FloatArray:
        x = faces - float(self.mean)
        lower, upper = self._lower_tail(x), self._lower_tail(-x)
        return np.where(x[:-1] > 0.0, upper[:-1] - upper[1:], lower[1:] - lower[:-1])

    def _lower_tail(self, x: FloatArray) -> FloatArray:
        grown = np.exp(self._log_branch(-x)) - np.exp(self._log_branch(x))
        return np.asarray(ndtr(x / self.std) + float(self.scale) * grown)


def positive_per_axis(name: str, value: Any, mean: FloatArray) -> FloatArray:
    """Return widths > 0 in the shape of `mean`; one number serves both axes."""
    array = lengths(name, value, widths=True)
    if array.shape not in ((), mean.shape) or array.min() <= 0.0:
        raise ValueError(f"{name}: expected a number > 0 (or one per axis in 2D), got {array.tolist()}.")
    return frozen(np.broadcast_to(array, mean.shape))


def axis_covariance(variances: FloatArray) -> float | FloatArray:
    """Return a float in 1D, the diagonal matrix in 2D."""
    return float(variances) if variances.ndim == 0 else np.diag(variances)


def sum_over_axes(terms: FloatArray, dim: int) -> FloatArray:
    """Return the log density of a product law from one term per axis."""
    return np.asarray(terms if dim == 1 else terms.sum(axis=-1))


def _interval_probabilities(z: FloatArray) -> FloatArray:
    """Return Laplace(0, 1) masses between faces: differences of expm1 on either side of 0."""
    low, high = z[:-1], z[1:]
    right = -np.expm1(-(np.maximum(high, 0.0) - np.maximum(low, 0.0))) * np.exp(-np.maximum(low, 0.0))
    left = -np.expm1(np.minimum(low, 0.0) - np.minimum(high, 0.0)) * np.exp(np.minimum(high, 0.0))
    return np.asarray(0.5 * (left + right))

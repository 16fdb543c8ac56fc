"""The uniform law on an interval or a box, and what Gaussian noise makes of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_ndtr

from fpsolve._checks import FloatArray, generator, points
from fpsolve.laws._base import COMPACT, Law, Tail, check_axes, frozen, lengths, number_of_draws, plain
from fpsolve.laws._gaussian import LOG_2PI
from fpsolve.laws._laplace import axis_covariance, sum_over_axes

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(14)


class _OnBox(Law):
    """What both have of the box."""

    low: Any
    high: Any

    def __post_init__(self) -> None:
        low, high = _corners(type(self).__name__, self.low, self.high)
        object.__setattr__(self, "low", plain(low))
        object.__setattr__(self, "high", plain(high))

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return 1 + np.ndim(self.low)

    @property
    def mean(self) -> float | FloatArray:
        """Centre of the box."""
        return plain(np.asarray(0.5 * (np.asarray(self.low) + self.high)))

    @property
    def features(self) -> list[tuple[float, float]]:
        """Centre and ends."""
        std = float(np.sqrt(np.asarray(self.cov)))
        width = self.smallest_std if self.smallest_std > 0.0 else std
        mean = float(np.asarray(self.mean))
        return [(mean, std), (float(self.low), width), (float(self.high), width), (mean, width)]


@dataclass(frozen=True, eq=False)
class Uniform(_OnBox):
    """Uniform law on ``[low, high]``, in 2D on the box with these corners.

    Parameters
    ----------
    low, high : float or array_like of shape (2,)
        Ends of the interval, or corners of the box, low < high on every axis.

    Raises
    ------
    ValueError
        If low < high fails on an axis or anything is NaN or infinite.

    Examples
    --------
    >>> from fpsolve.laws import Uniform
    >>> float(Uniform(-1.0, 1.0).density(0.3))
    0.5
    """

    low: Any
    high: Any

    @property
    def cov(self) -> float | FloatArray:
        """Variance ``(high - low)^2/12``, or the diagonal covariance of shape (2, 2)."""
        return axis_covariance(np.asarray((np.asarray(self.high) - self.low) ** 2 / 12.0))

    @property
    def tail(self) -> Tail:
        """No tail: the support is bounded."""
        return COMPACT

    @property
    def smallest_std(self) -> float:
        """0: the density jumps."""
        return 0.0

    @property
    def edges(self) -> FloatArray:
        """The ends."""
        return np.array([float(self.low), float(self.high)])

    @property
    def jumps(self) -> bool:
        """At every end."""
        return True

    @property
    def poincare_constant(self) -> float:
        """``(L/pi)^2``, L the longer side."""
        return float(np.max(np.square(np.asarray(self.high) - np.asarray(self.low)))) / np.pi**2

    def log_density(self, x: Any) -> FloatArray:
        """Return minus the log of the volume inside, -inf outside."""
        inside = self._inside(points("x", x, self.dim))
        return np.where(inside, -np.log(np.prod(np.asarray(self.high) - self.low)), -np.inf)

    def score(self, x: Any) -> FloatArray:
        """Return 0 inside; raise ValueError for points outside, where the density is 0 and has no score."""
        x = points("x", x, self.dim)
        outside = int(np.count_nonzero(np.logical_not(self._inside(x))))
        if outside:
            remedy = "the score exists at t > 0 everywhere"
            raise ValueError(f"x: expected points in the support, got {outside} outside of it; {remedy}.")
        return np.zeros_like(x)

    def sample(self, n: int, rng: np.random.Generator | int) -> FloatArray:
        """Return `n` draws, shape ``(n,)`` or ``(n, 2)``."""
        shape = (number_of_draws(n, self.dim),) + np.shape(self.low)
        return np.asarray(generator("rng", rng).uniform(self.low, self.high, size=shape))

    def cell_probabilities(self, *faces: Any) -> FloatArray:
        """Return the overlap of every cell with the box, over the box's volume."""
        arrays = check_axes(self.dim, faces, "faces")
        lows, highs = np.atleast_1d(self.low), np.atleast_1d(self.high)
        clipped = [np.clip(f, low, high) for f, low, high in zip(arrays, lows, highs, strict=True)]
        per_axis = [np.diff(f) / (high - low) for f, low, high in zip(clipped, lows, highs, strict=True)]
        return per_axis[0] if self.dim == 1 else np.outer(*per_axis)

    def diffused(self, scale: float, variance: float) -> "Uniform | DiffusedUniform":
        """Return the law of ``scale X + sqrt(variance) Z``: a difference of normal CDFs per axis."""
        low, high = scale * np.asarray(self.low), scale * np.asarray(self.high)
        return Uniform(low, high) if variance == 0.0 else DiffusedUniform(low, high, float(np.sqrt(variance)))

    def axis_marginal(self, axis: int) -> "Uniform":
        """Return the 1D uniform law of coordinate `axis`."""
        return Uniform(np.atleast_1d(self.low)[axis], np.atleast_1d(self.high)[axis])

    def _inside(self, x: FloatArray) -> FloatArray:
        inside = (x >= self.low) & (x <= self.high)
        return np.asarray(inside if self.dim == 1 else inside.all(axis=-1))


@dataclass(frozen=True, eq=False)
class DiffusedUniform(_OnBox):
    """Uniform law plus independent Gaussian noise; in 2D the product of one per axis.

    ``p(x) = [Phi((x - low)/s) - Phi((x - high)/s)]/(high - low)``, evaluated in logarithms on the side of the
    lower tail; where the interval is narrow against s the difference would cancel, and the mean of the normal
    density over it is taken by 14-point Gauss-Legendre quadrature instead (exact to rounding there).

    Parameters
    ----------
    low, high : float or array_like of shape (2,)
        Ends or corners of the box.
    std : float
        s > 0, standard deviation of the noise.
    """

    low: Any
    high: Any
    std: float

    @property
    def cov(self) -> float | FloatArray:
        """Variance ``(high - low)^2/12 + s^2``, or the diagonal covariance of shape (2, 2)."""
        return axis_covariance(np.asarray((np.asarray(self.high) - self.low) ** 2 / 12.0 + self.std**2))

    @property
    def tail(self) -> Tail:
        """That of the noise."""
        return Tail(2.0, 0.5 / self.std**2)

    @property
    def smallest_std(self) -> float:
        """Standard deviation of the noise, which rounds the jumps."""
        return self.std

    def log_density(self, x: Any) -> FloatArray:
        """Return ``log p(x)``, finite however far out."""
        z, half = self._standardised(points("x", x, self.dim))
        return sum_over_axes(_log_average_normal(z, half) - np.log(self.std), self.dim)

    def score(self, x: Any) -> FloatArray:
        """Return ``grad log p(x)``; the difference of the two normal densities is taken by expm1."""
        x = points("x", x, self.dim)
        z, half = self._standardised(x)
        log_nearer_end = -0.5 * (z - half) ** 2 - 0.5 * LOG_2PI - np.log(2.0 * half)
        ratio = np.exp(log_nearer_end - _log_average_normal(z, half))
        return np.asarray(np.sign(x - self.mean) * ratio * np.expm1(-2.0 * z * half) / self.std)

    def sample(self, n: int, rng: np.random.Generator | int) -> FloatArray:
        """Return `n` draws: uniform plus noise."""
        rng = generator("rng", rng)
        draws = Uniform(self.low, self.high).sample(n, rng)
        return draws + self.std * rng.standard_normal(draws.shape)

    def diffused(self, scale: float, variance: float) -> "DiffusedUniform":
        """Return the law with further noise: the standard deviations add in squares."""
        std = float(np.sqrt((scale * self.std) ** 2 + variance))
        return DiffusedUniform(scale * np.asarray(self.low), scale * np.asarray(self.high), std)

    def axis_marginal(self, axis: int) -> "DiffusedUniform":
        """Return the 1D law of coordinate `axis`."""
        return DiffusedUniform(np.atleast_1d(self.low)[axis], np.atleast_1d(self.high)[axis], self.std)

    def _standardised(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the distance from the centre and the half width, in units of s."""
        half = 0.5 * (np.asarray(self.high) - self.low)
        return np.abs(x - self.mean) / self.std, half / self.std


def _corners(name: str, low: Any, high: Any) -> tuple[FloatArray, FloatArray]:
    lower, upper = lengths(f"{name} low", low), lengths(f"{name} high", high)
    if lower.shape != upper.shape or lower.shape not in ((), (2,)):
        raise ValueError(
            f"{name} low, high: expected two numbers (1D) or two pairs (2D), got shapes {lower.shape}, {upper.shape}."
        )
    if not np.all(lower < upper):
        raise ValueError(f"{name} low, high: expected low < high, got {lower.tolist()} and {upper.tolist()}.")
    return frozen(lower), frozen(upper)


def _log_average_normal(z: FloatArray, half: FloatArray) -> FloatArray:
    """Return ``log 1/(2 h) int_{z-h}^{z+h} phi``, z >= 0, phi the standard normal density."""
    narrow = (half <= 0.5) & (z * half <= 2.0)
    upper, lower = log_ndtr(half - z), log_ndtr(-half - z)
    # where narrow, lower is close to upper and this branch is not used; -1 keeps its logarithm quiet
    wide = upper + np.log1p(-np.exp(np.where(narrow, -1.0, lower - upper))) - np.log(2.0 * half)
    u = np.minimum(half, 0.5)[..., None] * _NODES
    tilt = -np.where(narrow, z, 0.0)[..., None] * u - 0.5 * u**2
    average = np.log(0.5 * np.exp(tilt) @ _WEIGHTS) - 0.5 * z**2 - 0.5 * LOG_2PI
    return np.where(narrow, average, wide)

"""Weights that depend on |x| alone and grow with it: ``V = weight - 1 = c0 + c1 v(|x|)``, known on the whole line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import weights
from fpsolve.bounds._lyapunov import quadratic
from fpsolve.weights import ExponentialWeight, PolynomialWeight, WeightLike

Array = NDArray[np.float64]

#: What stays unchecked where a weight is a function: it is looked at, not known.
LOOKED_AT = "the weight is c0 + c1 |x|^2 beyond |x| = 1000, to where it was looked at"


@dataclass(frozen=True)
class Radial(ABC):
    """``v(r)``, increasing from ``v(0) = 0``, with its Gaussian integrals; mu and variance of one shape below.

    Attributes
    ----------
    shift, factor : float
        c0 and c1 in ``V = c0 + c1 v(|x|)``.
    """

    shift: float
    factor: float

    @abstractmethod
    def height(self, r: ArrayLike) -> Array:
        """v at radii r >= 0."""

    @abstractmethod
    def radius(self, height: ArrayLike) -> Array:
        """The radius r with ``v(r) = height``."""

    @abstractmethod
    def slope(self, r: ArrayLike) -> Array:
        """``v'`` at radii r > 0."""

    @abstractmethod
    def mean(self, mu: Array, variance: Array) -> Array:
        """``E v(|X|)`` for X normal; it increases with |mu|."""

    @abstractmethod
    def spread(self, mu: Array, variance: Array) -> Array:
        """An upper bound of ``Var v(|X|)`` for X normal, one that increases with |mu|."""

    @abstractmethod
    def furthest(self, most: float) -> float:
        """The largest radius at which all of these are numbers, at most `most`."""

    @abstractmethod
    def beyond(self, gammas: Array, y: float, gain: float, offset: float, variance: float) -> Array:
        """Upper bounds of ``E v(|X|) - gamma v(r)`` over all r >= y and ``|mu| <= gain r + offset``; else infinite."""

    @abstractmethod
    def least(self, gain: float) -> float:
        """The gamma below which ``E v - gamma v`` is unbounded."""


@dataclass(frozen=True)
class Power(Radial):
    """``v = r^power``."""

    power: float

    def height(self, r: ArrayLike) -> Array:
        return np.asarray(np.power(r, self.power))

    def radius(self, height: ArrayLike) -> Array:
        return np.asarray(np.power(height, 1.0 / self.power))

    def slope(self, r: ArrayLike) -> Array:
        return np.asarray(self.power * np.power(r, self.power - 1.0))

    def mean(self, mu: Array, variance: Array) -> Array:
        return _moment(mu, variance, self.power)

    def spread(self, mu: Array, variance: Array) -> Array:
        if self.power < 1.0:  # | |a|^p - |b|^p | <= |a - b|^p
            return _moment(0.0 * mu, variance, 2.0 * self.power)
        # Poincare's inequality of the normal law
        return variance * self.power**2 * _moment(mu, variance, 2.0 * self.power - 2.0)

    def furthest(self, most: float) -> float:
        return float(min(most, 1e100 ** (0.5 / self.power)))

    def beyond(self, gammas: Array, y: float, gain: float, offset: float, variance: float) -> Array:
        p, ends = self.power, np.full(gammas.shape, np.inf)
        noise = float(_moment(np.zeros(1), np.array([variance]), p)[0])
        if p < 1.0:
            # |a + b|^p <= |a|^p + |b|^p
            falls, top = gammas >= gain**p, (gain * y) ** p + offset**p + noise
        else:
            # Minkowski: (E|X|^p)^(1/p) <= |mu| + (E|X - mu|^p)^(1/p)
            far = offset + noise ** (1.0 / p)
            falls, top = gammas >= gain * (gain + far / y) ** (p - 1.0), (gain * y + far) ** p
        ends[falls] = top - gammas[falls] * y**p
        return ends

    def least(self, gain: float) -> float:
        return float(gain**self.power)


@dataclass(frozen=True)
class Exponential(Radial):
    """``v = exp(rate r) - 1``."""

    rate: float

    def height(self, r: ArrayLike) -> Array:
        return np.asarray(np.expm1(self.rate * np.asarray(r)))

    def radius(self, height: ArrayLike) -> Array:
        return np.asarray(np.log1p(height) / self.rate)

    def slope(self, r: ArrayLike) -> Array:
        return np.asarray(self.rate * np.exp(self.rate * np.asarray(r)))

    def mean(self, mu: Array, variance: Array) -> Array:
        return _exponential(mu, variance, self.rate) - 1.0

    def spread(self, mu: Array, variance: Array) -> Array:
        return np.asarray(variance * self.rate**2 * _exponential(mu, variance, 2.0 * self.rate))

    def furthest(self, most: float) -> float:
        return min(most, 100.0 / self.rate)

    def beyond(self, gammas: Array, y: float, gain: float, offset: float, variance: float) -> Array:
        ends = np.full(gammas.shape, np.inf)
        top = float(_exponential(np.zeros(1), np.array([variance]), self.rate)[0]) * np.exp(
            self.rate * (gain * y + offset)
        )
        falls = (gammas * np.exp(self.rate * y) >= gain * top) & (gain <= 1.0)
        ends[falls] = top - 1.0 - gammas[falls] * np.expm1(self.rate * y)
        return ends

    def least(self, gain: float) -> float:
        return 0.0 if gain < 1.0 else np.inf


def radial(weight: WeightLike, dim: int) -> Radial | None:
    """The weight as a function of |x| on the whole space; None where it is not known to be one, or does not grow."""
    weight = weights.DEFAULT if weight is None else weight
    if isinstance(weight, PolynomialWeight):
        return Power(0.0, weight.beta, weight.power) if weight.beta > 0.0 else None
    if isinstance(weight, ExponentialWeight):
        return Exponential(0.0, 1.0, weight.rate) if weight.rate > 0.0 else None
    shape = None if isinstance(weight, weights.Weight) else quadratic(weight, dim)
    return None if shape is None else Power(shape[0], shape[1], 2.0)


def looked_at(weight: WeightLike) -> tuple[str, ...]:
    """What is taken for granted of a weight: nothing of a built-in one."""
    return () if weight is None or isinstance(weight, weights.Weight) else (LOOKED_AT,)


def _moment(mu: Array, variance: Array, power: float) -> Array:
    """``E |X|^power`` for X normal; variances may be zero."""
    from scipy.special import erf, gamma, hyp1f1

    if power == 0.0:
        return np.ones(np.broadcast(mu, variance).shape)
    if power in (1.0, 3.0):
        std = np.sqrt(np.maximum(variance, 1e-300))
        ratio = mu / std
        odd = mu if power == 1.0 else mu * (np.square(mu) + 3.0 * variance)
        even = std if power == 1.0 else std * (np.square(mu) + 2.0 * variance)
        return np.asarray(odd * erf(np.sqrt(0.5) * ratio) + np.sqrt(2.0 / np.pi) * even * np.exp(-0.5 * ratio**2))
    if power == 2.0:
        return np.asarray(np.square(mu) + variance)
    if power == 4.0:
        return np.asarray(np.square(np.square(mu) + 3.0 * variance) - 6.0 * np.square(variance))
    square = 2.0 * np.maximum(variance, 1e-300)
    factor = gamma(0.5 * (power + 1.0)) / np.sqrt(np.pi)
    ratio = np.square(mu) / square
    # far out the series in 1/ratio is exact to rounding, where Kummer's function is slow
    near = np.power(square, 0.5 * power) * factor * hyp1f1(-0.5 * power, 0.5, -np.minimum(ratio, 1e6))
    far = np.power(np.abs(mu), power) * (1.0 + 0.25 * power * (power - 1.0) / np.maximum(ratio, 1.0))
    return np.where(ratio < 1e6, near, far)


def _exponential(mu: Array, variance: Array, rate: float) -> Array:
    """``E exp(rate |X|)`` for X normal."""
    from scipy.special import log_ndtr

    std = np.sqrt(np.maximum(variance, 1e-300))
    both = np.logaddexp(
        rate * mu + log_ndtr(mu / std + rate * std), -rate * mu + log_ndtr(-mu / std + rate * std)
    )
    return np.asarray(np.exp(both + 0.5 * rate**2 * variance))

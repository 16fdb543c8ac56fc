"""Weights as Lyapunov functions: the sharp constants of ``P V <= gamma V + K`` on cells and, for weights that depend on
|x| alone and grow with it, ``V = weight - 1 = c0 + c1 v(|x|)``, on the whole line.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import weights
from fpsolve.grid import Grid
from fpsolve.kernels import Kernel, Operator
from fpsolve.weights import ExponentialWeight, PolynomialWeight, WeightLike

Array = NDArray[np.float64]

INSIDE = "P V - gamma V is largest inside of the box"
BOX_ONLY = (
    "P V <= gamma V + K is checked on the cells of the box only, not on the whole space; for that bring the exact "
    "kernel of a Gaussian mixture (a Gaussian, a kernel density) and a built-in weight or c0 + c1 |x|^2"
)
INSIDE_DETAIL = "its maximum, and its values further in, less the one where the ends of the box begin to matter"
HELD_DETAIL = "smallest V where the ends of the box begin to matter, less R"
#: What a sound source may send to the ends of the box or beyond, in 1 + V.
_REACHED = 1e-6
#: How far in, as a share of V, ``P V - gamma V`` must be larger than at the ends.
_SHARES = (0.5, 0.9)
#: At how many radii up to 50, and from there to 1000, a weight that is a function is looked at.
_LOOKS = 2001
#: Trial values of gamma.
GAMMAS = np.concatenate([np.geomspace(1e-8, 1e-2, 49)[:-1], np.linspace(0.01, 0.999, 200)])


def height(weight: WeightLike, grid: Grid) -> Array:
    """``V = weight - 1 >= 0`` at the cell centres, flat."""
    # a weight may be 1e-12 below one by rounding, which `weights.evaluate` lets through
    return np.maximum(weights.evaluate(weight, grid).ravel() - 1.0, 0.0)


def floor(weight: WeightLike, grid: Grid) -> Array:
    """Smallest V at the centre of every cell and at the points one cell away along every axis, flat.

    With it a cell belongs to a level set as soon as a point within a cell's width does: what is compared then reaches
    beyond every pair of points of the set, and overlaps err on the side of caution.
    """
    steps = np.meshgrid(*[(-h, 0.0, h) for h in grid.spacing], indexing="ij")
    moves = np.stack([step.ravel() for step in steps], axis=-1)
    around = [grid.x + (move[0] if grid.dim == 1 else move) for move in moves]
    lowest = np.min([weights.evaluate(weight, x, grid.dim) for x in around], axis=0)
    return np.asarray(np.maximum(lowest.ravel() - 1.0, 0.0))


def edge(grid: Grid) -> NDArray[np.bool_]:
    """The cells at the ends of the box, shape of the grid."""
    mask = np.ones(grid.shape, dtype=bool)
    mask[tuple(slice(1, -1) for _ in range(grid.dim))] = False
    return mask


@dataclass(frozen=True, eq=False)
class Region:
    """Where a kernel on a box stands for the one on the whole space: sources whose mass stays away from the ends.

    Elsewhere the ends of the box hold back what would leave it, and a drift inequality would be an artefact.

    Attributes
    ----------
    sound : bool array, flat
    frontier : bool array, flat
        Sound sources beside the ends of the box or a source that is not sound.
    inner : tuple of int arrays, flat
        For every source those about half and nine tenths as high in V on the way to where V is smallest.
    """

    sound: NDArray[np.bool_]
    frontier: NDArray[np.bool_]
    inner: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, kernel: Kernel | Operator, weight: WeightLike) -> Region:
        """Sources that send less than 1e-6 of 1 + V to the ends of the box or beyond."""
        v = height(weight, kernel.target).reshape(kernel.target.shape)
        reached = kernel.markov.pull(edge(kernel.target) * (1.0 + v))
        defects = kernel.defects if isinstance(kernel, Kernel) else None
        if defects is not None:
            reached = reached + defects.reshape(kernel.grid.shape) * (1.0 + float(np.max(v)))
        sound = reached <= _REACHED
        # sound sources whose neighbours are all sound, and which do not lie at the ends
        inner = sound & ~edge(kernel.grid)
        for axis in range(kernel.grid.dim):
            for shift in (1, -1):
                inner &= np.roll(sound, shift, axis=axis)
        v0 = height(weight, kernel.grid)
        return cls(sound.ravel(), (sound & ~inner).ravel(), tuple(_way_in(kernel.grid, v0, k) for k in _SHARES))

    @property
    def usable(self) -> bool:
        """Whether there are sound sources away from the ends of the region."""
        return bool((self.sound & ~self.frontier).any())

    def held(self, v: Array) -> float:
        """The largest level of V whose sublevel set lies inside of the region."""
        outside = self.frontier | ~self.sound
        return float(np.min(v[outside])) if outside.any() else float("inf")


def _way_in(grid: Grid, v: Array, share: float) -> NDArray[np.int64]:
    """Flat index of the cell at ``c + sqrt(share) (x - c)`` for every cell x; c where V is smallest."""
    centre = np.unravel_index(int(np.argmin(v)), grid.shape)
    moved = [
        _towards(int(middle), np.arange(n), float(np.sqrt(share))) for n, middle in zip(grid.shape, centre, strict=True)
    ]
    return np.asarray(np.ravel_multi_index(np.meshgrid(*moved, indexing="ij"), grid.shape).ravel(), dtype=np.int64)


def _towards(middle: int, cells: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Indices a share of the way out from the middle, rounded towards it."""
    gap = cells - int(middle)
    return np.asarray(int(middle) + np.sign(gap) * np.floor(np.abs(gap) * share).astype(np.int64))


@dataclass(frozen=True, eq=False)
class TradeOff:
    """For every trial gamma the smallest K with ``P V <= gamma V + K`` on the sound sources.

    Attributes
    ----------
    gammas, ks : arrays
    margins : array
        How far ``P V - gamma V`` at the frontier stays below its maximum K and, if that is less, below its values
        further in: negative or zero means that it is largest or still grows there, and K would grow with the box.
    """

    gammas: Array
    ks: Array
    margins: Array

    @classmethod
    def of(cls, pulled: Array, v: Array, region: Region, gammas: Array = GAMMAS) -> TradeOff:
        """From P V and V at the sources."""
        if not region.frontier.any():
            return cls(gammas, np.full(gammas.shape, np.inf), np.full(gammas.shape, -np.inf))
        excess = pulled - np.multiply.outer(gammas, v)
        ks, ends = excess[:, region.sound].max(axis=1), excess[:, region.frontier]
        falls = np.min([(excess[:, way[region.frontier]] - ends).min(axis=1) for way in region.inner], axis=0)
        # what sound sources send beyond the box is missing from P V
        return cls(gammas, np.maximum(ks + _REACHED, 0.0), np.minimum(ks - ends.max(axis=1), falls))

    @property
    def admissible(self) -> NDArray[np.bool_]:
        """Trials whose maximum lies inside of the region."""
        return self.margins > 0.0

    def margin(self, trial: int | None) -> float:
        """Margin of an admissible trial; below zero where there is none."""
        return min(float(np.max(self.margins)), -1e-300) if trial is None else float(self.margins[trial])

    def best(self) -> int | None:
        """The admissible trial with the smallest ``K/(1 - gamma)``, None where there is none."""
        if not self.admissible.any():
            return None
        return int(np.argmin(np.where(self.admissible, self.ks / (1.0 - self.gammas), np.inf)))


def quadratic(weight: WeightLike, dim: int) -> tuple[float, float] | None:
    """c0, c1 where ``V = weight - 1 = c0 + c1 |x|^2`` with c1 > 0, None for any other weight."""
    near = _quadratic_on(np.concatenate([[0.0], np.geomspace(0.1, 6.0, 13)]), weight, dim)
    # a weight of this shape near 0 may still have another one far out, or in between
    far = np.concatenate([np.linspace(0.0, 50.0, _LOOKS), np.geomspace(50.0, 1e3, _LOOKS)])
    return None if near is None else _quadratic_on(far, weight, dim)


def _quadratic_on(radii: Array, weight: WeightLike, dim: int) -> tuple[float, float] | None:
    """The same from points at some radii: on both sides, in several directions."""
    if dim == 1:
        points = np.concatenate([radii, -radii])
    else:
        angles = 0.3 + 2.0 * np.pi * np.arange(7) / 7.0
        points = (radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)).reshape(-1, 2)
    square = np.square(points) if dim == 1 else np.square(points).sum(axis=-1)
    v = weights.evaluate(weight, points, dim) - 1.0
    c0, c1 = float(np.min(v)), float((np.max(v) - np.min(v)) / np.max(square))
    exact = bool(np.all(np.abs(v - c0 - c1 * square) <= 1e-9 * (1.0 + np.abs(v))))
    return (max(c0, 0.0), c1) if exact and c1 > 1e-12 else None


def gradient_and_laplacian(v: Array, grid: Grid) -> tuple[Array, Array, Array, Array]:
    """``grad V`` (..., d), ``Lap V`` on the grid by findiff, and the estimated errors of both."""
    from findiff import Diff

    values = v.reshape(grid.shape)
    slopes, bends = [], []
    for axis, h in enumerate(grid.spacing):
        along = Diff(axis, h)
        slopes.append(along.estimate_error(values, acc=4))
        bends.append((along**2).estimate_error(values, acc=4))
    gradient = np.stack([s.extrapolated for s in slopes], axis=-1)
    gradient_error = np.stack([s.error for s in slopes], axis=-1)
    laplacian, laplacian_error = (sum(getattr(b, name) for b in bends) for name in ("extrapolated", "error"))
    return gradient, np.asarray(laplacian), gradient_error, np.asarray(laplacian_error)


#: What stays unchecked where a weight is a function: it is looked at, not known.
LOOKED_AT = "the weight is c0 + c1 |x|^2 beyond |x| = 1000, and between the 4,000 radii at which it was looked at"


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
    both = np.logaddexp(rate * mu + log_ndtr(mu / std + rate * std), -rate * mu + log_ndtr(-mu / std + rate * std))
    return np.asarray(np.exp(both + 0.5 * rate**2 * variance))

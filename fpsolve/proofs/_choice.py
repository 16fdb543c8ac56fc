"""Constants of Harris' theorem chosen in floating point: nothing here is proved, a bad choice costs only tightness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp, ndtr

from fpsolve.proofs._balls import Ball
from fpsolve.proofs._block import Block, odd_factorial

Array = NDArray[np.float64]

#: Points of y and of the curve V(x) + V(y) = R that are looked at.
POINTS, ARC = 3001, 61
#: Starts of the search: logits of gamma, logarithms of R over its least value less 1, logarithms of beta.
GAMMAS, RADII, BETAS = (-3.0, 0.0, 3.0), (-2.0, 0.5), (-3.0, -1.0)
#: Common betas of several blocks that are tried.
COMMON_BETAS = np.geomspace(1e-3, 1.0, 13)


class Doubles:
    """P V and total variation in floating point."""

    def __init__(self, block: Block) -> None:
        def floats(values: tuple[Ball, ...]) -> Array:
            return np.array([float(value.mid()) for value in values])

        self.alpha, self.s = float(block.path.scale.mid()), float(block.path.variance.mid())
        self.log_weights = np.log(floats(block.before.weights))
        self.means, self.totals = floats(block.before.means), floats(block.before.variances)
        self.slopes, self.shifts, self.variances = map(floats, (block.slopes, block.shifts, block.variances))

    def _log_parts(self, y: Array) -> Array:
        gap = y[..., None] - self.means
        return np.asarray(self.log_weights - 0.5 * np.log(self.totals) - gap**2 / (2.0 * self.totals))

    def moment(self, y: Array, degree: int) -> Array:
        """``int z^degree P(y, dz)``, degree even."""
        parts = self._log_parts(y)
        weights = np.exp(parts - logsumexp(parts, axis=-1, keepdims=True))
        mean = self.slopes * y[..., None] + self.shifts
        raw = sum(
            comb(degree, j) * odd_factorial(j) * self.variances ** (j // 2) * mean ** (degree - j)
            for j in range(0, degree + 1, 2)
        )
        return np.asarray((weights * raw).sum(axis=-1))

    def total_variation(self, x: Array, y: Array) -> Array:
        """TV(P(x,.), P(y,.)) for x < y."""
        low, high = self._log_parts(x), self._log_parts(y)
        ratio = logsumexp(high, axis=-1) - logsumexp(low, axis=-1)
        at = (self.s * ratio + (y - x) * (y + x) / 2.0) / (self.alpha * (y - x))
        return self._cdf(x, low, at) - self._cdf(y, high, at)

    def _cdf(self, y: Array, parts: Array, z: Array) -> Array:
        weights = np.exp(parts - logsumexp(parts, axis=-1, keepdims=True))
        gap = z[..., None] - self.slopes * y[..., None] - self.shifts
        return np.asarray((weights * ndtr(gap / np.sqrt(self.variances))).sum(axis=-1))


class Search:
    """The smallest factor of Harris' theorem for one block.

    Parameters
    ----------
    block : Block
    degree : int
        V = |x|^degree.
    """

    def __init__(self, block: Block, degree: int) -> None:
        self.kernel, self.degree = Doubles(block), degree
        reach = np.abs(self.kernel.means).max() + 12.0 * np.sqrt(self.kernel.totals.max())
        y = np.linspace(-3.0 * reach, 3.0 * reach, POINTS)
        self.drifted, self.v = self.kernel.moment(y, degree), np.abs(y) ** degree
        self.floor = float(np.abs(self.kernel.slopes).max() ** degree)

    def best(self, beta: float | None) -> tuple[float, float, float, float]:
        """gamma, R and beta of about the smallest factor, and that factor; R is infinite where there is none."""
        if self.floor >= 1.0:
            return self.floor, math.inf, beta or 1.0, 1.0
        starts = [(g, r) if beta else (g, r, b) for g in GAMMAS for r in RADII for b in (BETAS if not beta else (0.0,))]
        found = [minimize(lambda p: self._factor(p, beta), start, method="Nelder-Mead") for start in starts]
        point = min(found, key=lambda result: float(result.fun)).x
        gamma, R, K, chosen = self._constants(point, beta)
        return gamma, R, chosen, factor(chosen, gamma, R, K, self._overlap(R))

    def _constants(self, point: Array, beta: float | None) -> tuple[float, float, float, float]:
        gamma = self.floor + (1.0 - self.floor) / (1.0 + math.exp(-point[0]))
        K = max(float((self.drifted - gamma * self.v).max()), 1e-12)
        R = 2.0 * K / (1.0 - gamma) * (1.0 + math.exp(point[1]))
        return gamma, R, K, beta or math.exp(point[2])

    def _factor(self, point: Array, beta: float | None) -> float:
        if np.abs(point).max() > 30.0:
            return 2.0
        gamma, R, K, chosen = self._constants(point, beta)
        return factor(chosen, gamma, R, K, self._overlap(R))

    def _overlap(self, R: float) -> float:
        a = np.linspace(0.0, R ** (1.0 / self.degree), ARC)
        partner = np.maximum(R - a**self.degree, 0.0) ** (1.0 / self.degree)
        return 1.0 - float(self.kernel.total_variation(-a, partner).max())


def factor(beta: float, gamma: float, R: float, K: float, overlap: float) -> float:
    """The contraction factor of the theorem."""
    return max(1.0 - overlap + beta * K, gamma, (2.0 + beta * (gamma * R + 2.0 * K)) / (2.0 + beta * R))


def common_beta(blocks: Sequence[Block], degree: int) -> float:
    """The beta of about the smallest product of the blocks' factors, those above 1 left out."""
    searches = [Search(block, degree) for block in blocks]
    return float(min(COMMON_BETAS, key=lambda beta: math.prod(min(1.0, s.best(float(beta))[3]) for s in searches)))

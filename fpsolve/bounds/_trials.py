"""Constants that Harris' theorem may use, tried against each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Trial values of beta, in units of 1/K, and rounds of refinement around the best.
_BETAS = np.geomspace(1e-5, 1e2, 71)
_ROUNDS = 3


@dataclass(frozen=True, eq=False)
class Trials:
    """Admissible constants of a block: pairs (gamma, K) and levels R with their overlap; V unscaled.

    Attributes
    ----------
    gammas, ks : arrays, shape (n,)
    levels, overlaps : arrays, shape (m,) or (n, m)
    """

    gammas: Array
    ks: Array
    levels: Array
    overlaps: Array

    def abar(self, beta: float) -> Array:
        """abar for every pair (gamma, K) and level, shape (n, m); infinite where R is not above 2K/(1 - gamma)."""
        gamma, k, r = self.gammas[:, None], self.ks[:, None], np.atleast_2d(self.levels)
        local = 1.0 - self.overlaps + beta * k
        far = (2.0 + beta * (gamma * r + 2.0 * k)) / (2.0 + beta * r)
        worst = np.maximum(np.maximum(local, gamma), far)
        return np.where(r * (1.0 - gamma) > 2.0 * k, worst, np.inf)

    def best(self, beta: float) -> tuple[float, int, int]:
        """Smallest abar and where."""
        if self.gammas.size == 0 or self.levels.size == 0:
            return np.inf, -1, -1
        table = self.abar(beta)
        n, m = np.unravel_index(int(np.argmin(table)), table.shape)
        return float(table[n, m]), int(n), int(m)

    def constants(self, n: int, m: int) -> tuple[float, float, float, float]:
        """gamma, K, R and a'' of a pair and a level."""
        row = n if self.levels.ndim == 2 else 0
        levels, overlaps = np.atleast_2d(self.levels), np.atleast_2d(self.overlaps)
        return float(self.gammas[n]), float(self.ks[n]), float(levels[row, m]), float(overlaps[row, m])

    def thinned(self, step: int) -> Trials:
        """Every step-th pair and level, for searches."""
        part = (slice(None, None, step),) * self.levels.ndim
        return Trials(self.gammas[::step], self.ks[::step], self.levels[part], self.overlaps[part])


NO_TRIALS = Trials(np.empty(0), np.empty(0), np.empty(0), np.empty(0))


def best_beta(trials: Trials, least_k: float) -> float:
    """The factor beta with the smallest abar."""
    return refined_beta(trials, _BETAS / max(least_k, 1e-12))


def refined_beta(trials: Trials, betas: Array) -> float:
    """The best of increasing factors beta, refined."""
    for _ in range(_ROUNDS):
        at = int(np.argmin([trials.best(float(b))[0] for b in betas]))
        low, high = betas[max(at - 1, 0)], betas[min(at + 1, len(betas) - 1)]
        found, betas = betas[at], np.geomspace(low, high, 15)
    return float(found)

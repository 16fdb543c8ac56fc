"""The record of a Harris certificate, and the constants that are tried for one.

The record of Harris' theorem (Hairer and Mattingly): a contraction with its constants.

Constants that Harris' theorem may use, tried against each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve.bounds._record import Hypothesis, Record, failure

STATEMENT = (
    "Hairer and Mattingly 2011, Theorem 1.3 with the pairwise overlap a'': abar(beta) = "
    "max{1 - a'' + beta K, gamma, (2 + beta (gamma R + 2K))/(2 + beta R)}, R > 2K/(1 - gamma)"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Harris(Record):
    """A contraction from Harris' theorem; V = weight - 1. See `harris`.

    Attributes
    ----------
    value : float or None
        abar where it is below 1 and every hypothesis holds, on the whole line or plane.
    abar : float
        The number itself, whatever it is; NaN where no R is admissible. Where the hypotheses could be checked on a box
        only, it is a number of that box and `value` is None.
    beta : float
        Factor on V: the contraction is in the weight ``1 + beta V``; 1 unless searched.
    gamma, K : float
        Drift, ``P V <= gamma V + K``.
    R : float
        Level of the localization set ``{V(x) + V(y) <= R}``.
    overlap : float
        a'' at R.
    t0, t1 : float
        Times of the block.
    """

    abar: float
    beta: float
    gamma: float
    K: float
    R: float
    overlap: float
    t0: float
    t1: float


#: What makes a drift inequality hold.
HELPS = "a longer block, a weight that grows more slowly or data scaled to a smaller variance would help"


def record(
    abar: float,
    beta: float,
    constants: tuple[float, ...] | None,
    checked: tuple[Hypothesis, ...],
    unchecked: tuple[str, ...],
    times: tuple[float, float],
    reason: str = "",
) -> Harris:
    """Make the record; a certificate needs every hypothesis, no other reason against it, and abar < 1."""
    reason = reason or failure(checked)
    if not reason and constants is None:
        reason = f"no gamma < 1 and R > 2K/(1 - gamma); {HELPS}"
    elif not reason and not abar < 1.0:
        reason = f"abar = {abar:.6g} is not below 1"
    gamma, k, level, overlap = constants if constants is not None else (float("nan"),) * 4
    return Harris(
        value=None if reason else abar,
        statement=STATEMENT,
        checked=checked,
        unchecked=unchecked,
        reason=reason,
        abar=abar if np.isfinite(abar) else float("nan"),
        beta=beta,
        gamma=gamma,
        K=k,
        R=level,
        overlap=overlap,
        t0=times[0],
        t1=times[1],
    )


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

"""The score at every particle: exact in blocks, or from a table whose error is measured on the particles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fpsolve import _checks
from fpsolve.particles import _score_table

Array = npt.NDArray[np.float64]

# Below this many particle-component pairs per step a table costs more than it saves.
_WORTH_A_TABLE = 4_000_000
# What a law that is no mixture is taken to cost, in components: its marginals are quadratures.
_QUADRATURE = 64
# Terms an exact evaluation may hold at once: 32 MB in float64.
_TERMS = 2**22
_PROBES = 64
# In automatic mode a table is used only when it is this accurate relative to the root mean square score.
_ACCEPT = 1e-3


@dataclass(frozen=True)
class Scoring:
    """How scores are evaluated: ``tabulate`` True, False or None (a table where it pays and is accurate)."""

    reverse: Any
    components: int
    tabulate: bool | None

    def __call__(self, t: float, x: Array) -> tuple[Array, float]:
        """Score at x (n,) or (n, 2), and the largest table error seen at probes (NaN where none was used)."""
        # noise may come first and lead beyond T, where nothing is tabulated
        if self.tabulate is False or t > self.reverse.process.T:
            return exact(self.reverse, t, x, self.components), np.nan
        table = _score_table.build(self.reverse, t, x)
        error, size = _probe(self.reverse, table, x, self.components)
        if self.tabulate is None and not error <= _ACCEPT * size:
            return exact(self.reverse, t, x, self.components), np.nan
        score = table(x)
        outside = np.isnan(score) if x.ndim == 1 else np.isnan(score[:, 0])
        if np.any(outside):
            score[outside] = exact(self.reverse, t, x[outside], self.components)
        return score, error


def choose(reverse: Any, n: int, tabulate: bool | None) -> Scoring:
    """Settle how the scores of chunks of n particles are evaluated.

    Only the exact score is tabulated unasked: a user's model may be rough.
    """
    components = _components(reverse.target)
    if tabulate is None:
        worth = getattr(reverse, "exact", False) and components > 1 and n * components >= _WORTH_A_TABLE
        tabulate = None if worth else False
    return Scoring(reverse, components, tabulate)


def exact(reverse: Any, t: float, x: Array, components: int) -> Array:
    """``reverse.score(t, x)`` in blocks of bounded memory, refusing wrong shapes and non-finite values."""
    block = max(1024, _TERMS // max(components, 1))
    parts = [
        _checks.values_at("score", reverse.score(t, x[i : i + block]), x[i : i + block].shape, f"at t = {t:g}")
        for i in range(0, len(x), block)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _probe(reverse: Any, table: _score_table.ScoreTable, x: Array, components: int) -> tuple[float, float]:
    """Largest error of the table at evenly picked particles inside of it, and the rms score there."""
    picked = x[:: max(1, len(x) // _PROBES)]
    interpolated = table(picked)
    kept = np.isfinite(interpolated) if x.ndim == 1 else np.isfinite(interpolated[:, 0])
    if not np.any(kept):
        return float("inf"), 0.0
    truth = exact(reverse, table.t, picked[kept], components)
    return float(np.max(np.abs(interpolated[kept] - truth))), float(np.sqrt(np.mean(truth**2)))


def _components(target: Any) -> int:
    """Components of a mixture (a kernel density has one per sample); other laws count as 64."""
    weights = getattr(target, "log_weights", None)
    if weights is None:
        weights = getattr(getattr(target, "components", None), "log_weights", None)
    if weights is not None:
        return int(np.size(weights))
    return 1 if type(target).__name__ == "Gaussian" else _QUADRATURE

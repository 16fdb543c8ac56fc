"""Richardson extrapolation of level pairs and what their differences say about the error.

With h and the step halved together the level error of a scheme of order m is ``C h^m + O(h^{m+2})`` (m = 2), so
``E_k = (2^m L_k - L_{k-1})/(2^m - 1)`` on the cells of level k - 1 has fourth order. Two successive extrapolations differ by
about ``(2^p - 1)`` times the error of the better one, p the observed order; the estimate takes four times that share.

References
----------
Richardson 1911, doi:10.1098/rsta.1911.0009; Roache 1994, doi:10.1115/1.2910291 (the grid convergence index).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve.evolution.march import Level
from fpsolve.grid import Grid

Array = NDArray[np.float64]

#: Safety on the error of an extrapolated pair, and on that of a single level.
PAIR_SAFETY = 4.0
LEVEL_SAFETY = 1.25
#: Order assumed of an extrapolation before it was observed, and the range in which an observed one is believed.
UNSEEN_ORDER = 2.0
ORDER_RANGE = (1.0, 4.0)


@dataclass(frozen=True, eq=False)
class Extrapolation:
    """An extrapolated solution on `grid`, the one before it on half the cells, and the factor that turns their
    difference into an error of the better one: ``factor`` per (start, save), shape (starts, saves)."""

    grid: Grid
    values: Array
    previous: Array
    factor: Array


def richardson(fine: Level, coarse: Level, order: int) -> Array:
    """``(2^order fine - coarse)/(2^order - 1)`` on the cells of the coarse level; sums are kept exactly."""
    share = 1.0 / (2.0**order - 1.0)
    restricted = coarse.grid.refine().restrict(fine.values)
    return np.asarray((1.0 + share) * restricted - share * coarse.values)


def weighted_gap(grid: Grid, better: Array, previous: Array, v: Array) -> Array:
    """``sum V |restrict(better) - previous| * volume`` over the cells of the previous grid, shape (starts, saves).

    Parameters
    ----------
    grid : Grid
        Grid of `better`; `previous` lives on half its cells.
    better, previous : arrays, shape (starts, saves, nx[, ny])
    v : array, shape (saves, nx/2[, ny/2])
        Weight times cell volume on the cells of `previous`.
    """
    axes = tuple(range(-grid.dim, 0))
    return np.asarray((v * np.abs(grid.restrict(better) - previous)).sum(axis=axes))


def observed_factor(gap: Array, gap_before: Array | None) -> Array:
    """``4/(2^p - 1)`` with p = log2(gap_before/gap) per (start, save), kept within what theory allows."""
    if gap_before is None:
        return np.full(gap.shape, PAIR_SAFETY / (2.0**UNSEEN_ORDER - 1.0))
    tiny = np.finfo(float).tiny
    p = np.log2((gap_before + tiny) / (gap + tiny))
    return np.asarray(PAIR_SAFETY / (2.0 ** np.minimum(np.maximum(p, ORDER_RANGE[0]), ORDER_RANGE[1]) - 1.0))

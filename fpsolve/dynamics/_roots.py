"""Roots of cubics that cross zero once in their brackets. Imported when a clock is read, since it loads numba."""

from __future__ import annotations

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve._compile import compiled

_NEWTON_STEPS = 60


@compiled
def roots(table: FloatArray, close: float) -> FloatArray:
    """Roots of cubics, each by its own steps; columns c3, c2, c1, value at 0, value at the width, width."""
    roots = np.empty(table.shape[1])
    for j in range(len(roots)):
        c3, c2, c1, below, above, high = table[:, j]
        low = 0.0
        u = -high * below / (above - below)
        for _ in range(_NEWTON_STEPS):
            gap = ((c3 * u + c2) * u + c1) * u + below
            slope = (3.0 * c3 * u + 2.0 * c2) * u + c1
            if gap < 0.0:
                low = u
            if gap > 0.0:
                high = u
            moved = u - gap / slope if slope > 0.0 else 0.5 * (low + high)
            if moved < low or moved > high:
                moved = 0.5 * (low + high)
            near = abs(moved - u) <= close
            u = moved
            if near:
                break
        roots[j] = u
    return roots

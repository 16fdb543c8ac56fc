"""The first ensemble in a process loads the compiled remaps: done on a toy, and said if slow."""

from __future__ import annotations

from functools import cache

import numpy as np

from fpsolve._compile import saying_if_compiled
from fpsolve.evolution import warm

_CELLS = 8


@cache
def warm_up(dim: int, periodic: bool) -> None:
    """Load or compile everything that an ensemble runs; the next call does nothing."""
    warm.warm_up(dim, periodic)
    with saying_if_compiled():
        from fpsolve.stochastic._brownian import BrownianPaths
        from fpsolve.stochastic._lines import remap_lines
        from fpsolve.stochastic._planes import remap_planes

        BrownianPaths(0, 1, 1, 1.0).at([0.0, 1.0])
        if dim == 1:
            remap_lines(np.ones((1, _CELLS)), np.zeros((1, _CELLS + 1)), 0.25, periodic)
        else:
            still = np.zeros((1, _CELLS, _CELLS))
            remap_planes(still + 1.0, still, still, 1)

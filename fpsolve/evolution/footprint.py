"""What a run costs in memory, known before anything is allocated."""

from __future__ import annotations

import math

from fpsolve import _memory
from fpsolve.evolution.march import CHUNK_CELLS
from fpsolve.grid import Grid

#: Arrays of the size of a chunk that a march holds besides what it saves: potential, exponents, rates, line factors.
WORKING_ARRAYS = 16
#: Below this many bytes nobody need be asked.
NEGLIGIBLE = 10**8


def bytes_needed(grid: Grid, starts: int, saves: int) -> int:
    """Bytes of a level on `grid`: stored densities, those of the companion on half the cells, working arrays."""
    cells = math.prod(grid.shape)
    stored = starts * saves * cells * (1.0 + 0.5**grid.dim)
    return int(8 * (stored + WORKING_ARRAYS * max(cells, CHUNK_CELLS)))


def require(grid: Grid, starts: int, saves: int) -> None:
    """ValueError with the estimate when a level would not fit into the free memory."""
    needed = bytes_needed(grid, starts, saves)
    if needed < NEGLIGIBLE:
        return
    remedy = "take fewer cells, fewer save_at times or fewer starts at once"
    _memory.require("grid", needed, remedy)


def fits(grid: Grid, starts: int, saves: int) -> bool:
    """Whether a level fits into the free memory, as far as the system tells."""
    free = _memory.available_bytes()
    return free is None or bytes_needed(grid, starts, saves) <= free

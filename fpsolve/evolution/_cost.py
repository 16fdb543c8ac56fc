"""What a slow score model costs a run: measured once, said before it starts."""

from __future__ import annotations

import math
import sys
import time
from contextlib import suppress

from fpsolve.dynamics import BaseDynamics, Reverse
from fpsolve.evolution._problem import Problem
from fpsolve.grid import Grid

#: Runs that are expected to take longer say so.
SECONDS = 10.0
#: Levels that a run with `tol` needs at least, each with twice the steps and cells per axis.
LEVELS = 3


def announce(dynamics: BaseDynamics, problem: Problem, grid: Grid, steps: int, *, adaptive: bool) -> str:
    """Say to standard error what a run on `grid` with `steps` steps will cost where its score is slow; the sentence.

    With `adaptive` the grid is the coarsest of `LEVELS`, else the finest, with runs on half and a quarter of it.
    """
    if not isinstance(dynamics, Reverse) or dynamics.exact or dynamics.noiseless:
        return ""
    t = float(problem.saves[len(problem.saves) // 2])
    points = problem.position_grid(grid, t).x
    began = time.perf_counter()
    # what it refuses is refused where the run asks for it
    with suppress(ValueError):
        dynamics.score(t, points)
    cells = math.prod(grid.shape)
    each = (time.perf_counter() - began) / cells
    growth = 2.0 ** (grid.dim + 1)
    share = sum((growth if adaptive else 1.0 / growth) ** k for k in range(LEVELS))
    # a face of every axis per cell and step
    count = cells * steps * share * grid.dim
    if count * each < SECONDS:
        return ""
    more = f", and {growth:g} times as much for every further level" if adaptive else ""
    said = (
        f"evolve: the score takes {1e6 * each:.2g} microseconds per point, {count:.3g} points {count * each:.0f} s"
        f"{more}; fpsolve.scores.tabulate asks it once on a grid, e.g. at 48 times, and measures what that costs."
    )
    print(said, file=sys.stderr)
    return said

"""A run on a given grid with a given number of steps, and its companion on half of both."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fpsolve.evolution.extrapolate import LEVEL_SAFETY
from fpsolve.evolution.march import march
from fpsolve.evolution.plan import StepPlan
from fpsolve.evolution.problem import Problem
from fpsolve.evolution.quiet import noise
from fpsolve.evolution.solution import Solution
from fpsolve.grid import Grid
from fpsolve.stepping import Scheme


def solve_fixed(
    problem: Problem, scheme: Scheme, grid: Grid, plan: StepPlan, *, estimate: bool, tick: Callable[[int], None]
) -> Solution:
    """Single-level solution on exactly `grid` and `plan`; with `estimate`, a companion run gives the level error."""
    start = problem.start_values(grid)
    fine = march(problem.dynamics, problem.clock, grid, plan, start, scheme, tick)
    share = LEVEL_SAFETY / (2.0**scheme.order - 1.0)
    factor = np.full(fine.values.shape[:2], share)
    if not estimate:
        return Solution(grid, fine.values, None, factor, [fine.record], noise(problem.dynamics))
    half = grid.coarsen()
    coarse = march(problem.dynamics, problem.clock, half, plan.coarsened(), grid.restrict(start), scheme, tick)
    return Solution(grid, fine.values, coarse.values, factor, [coarse.record, fine.record], noise(problem.dynamics))

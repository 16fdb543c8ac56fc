"""A run on a given grid with a given number of steps, and its companion on half of both."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fpsolve.evolution.extrapolate import LEVEL_SAFETY
from fpsolve.evolution.march import Level, march
from fpsolve.evolution.plan import StepPlan
from fpsolve.evolution.problem import Problem
from fpsolve.evolution.quiet import noise
from fpsolve.evolution.smearing import shares
from fpsolve.evolution.solution import Solution
from fpsolve.grid import Grid
from fpsolve.stepping import Scheme

Array = NDArray[np.float64]

#: Safety on the error of levels that smear: twice as much smearing does not make twice the error for long.
SMEARED_SAFETY = 2.0


def solve_fixed(
    problem: Problem, scheme: Scheme, grid: Grid, plan: StepPlan, *, estimate: bool, tick: Callable[[int], None]
) -> Solution:
    """Single-level solution on exactly `grid` and `plan`; with `estimate`, a companion run gives the level error."""
    start = problem.start_values(grid)
    fine = march(problem.dynamics, problem.clock, grid, plan, start, scheme, tick)
    factor, smearing = _factor(problem, scheme, fine)
    common = noise(problem.dynamics, problem.saves), smearing
    if not estimate:
        return Solution(grid, fine.values, None, factor, [fine.record], *common)
    half = grid.coarsen()
    coarse = march(problem.dynamics, problem.clock, half, plan.coarsened(), grid.restrict(start), scheme, tick)
    return Solution(grid, fine.values, coarse.values, factor, [coarse.record, fine.record], *common)


def _factor(problem: Problem, scheme: Scheme, fine: Level) -> tuple[Array, float | None]:
    """Error per difference of the two levels, (starts, saves), and the largest share of numerical diffusion.

    ``1/(2^m - 1)`` at the scheme's order m. Where the noise is small for the cells the order falls to 1, as that of the
    numerical diffusion does: ``f(z)/(f(2z) - f(z))``, the worst so far in the run.
    """
    factor = np.full(fine.values.shape[:2], 1.0 / (2.0**scheme.order - 1.0))
    if not problem.dynamics.small_noise:
        return LEVEL_SAFETY * factor, None
    own, twice = shares(problem.dynamics, fine.grid, fine.plan.saves, fine.values)
    ratio = np.divide(own, twice - own, out=np.zeros_like(own), where=twice > own)
    worst = np.maximum.accumulate(ratio, axis=1)
    return np.maximum(LEVEL_SAFETY * factor, SMEARED_SAFETY * worst), float(own.max())

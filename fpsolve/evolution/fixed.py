"""A run on a given grid with a given number of steps, and what two coarser ones show of its error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fpsolve.evolution.evidence import look, looks, moved
from fpsolve.evolution.extrapolate import weighted_gap
from fpsolve.evolution.march import Level, march
from fpsolve.evolution.plan import StepPlan
from fpsolve.evolution.problem import Problem
from fpsolve.evolution.quiet import noise
from fpsolve.evolution.smearing import last_steps, shares
from fpsolve.evolution.solution import Solution
from fpsolve.grid import Grid
from fpsolve.solver import Scheme

Array = NDArray[np.float64]

#: Safety on the error of levels that smear: twice as much smearing does not make twice the error for long.
SMEARED_SAFETY = 2.0
#: Cells per axis of the coarsest level, at least.
FEWEST_CELLS = 4


def solve_fixed(
    problem: Problem, scheme: Scheme, grid: Grid, plan: StepPlan, *, estimate: bool, tick: Callable[[int], None]
) -> Solution:
    """Single-level solution on exactly `grid` and `plan`.

    With `estimate` a companion on half of cells and steps gives the level error, and a third level on a quarter of both
    says whether it may be believed.
    """
    start = problem.start_values(grid)
    quiet = noise(problem.dynamics, problem.saves)
    tau = problem.clock.at(plan.saves)
    times = plan.times(problem.clock, tau)
    # the last time is among them
    looked = looks(plan)[::-2][::-1]
    fine = march(problem.dynamics, times, grid, plan, start, scheme, tick, last_steps(plan, looked))
    smearing, smeared = _smearing(fine, looked)
    if not estimate:
        return Solution(grid, fine.values, None, np.ones(fine.values.shape[:2]), [fine.record], quiet, smearing)
    half = grid.coarsen()
    start = grid.restrict(start)
    fewer = plan.coarsened()
    coarse = march(problem.dynamics, fewer.times(problem.clock, tau), half, fewer, start, scheme, tick)
    third = _third(problem, scheme, half, plan, times, start, tick)
    gap = weighted_gap(grid, fine.values, coarse.values, problem.weight_values(half))
    found = look(problem, scheme.order, tau, gap, fine, coarse, third)
    factor = np.maximum(found.factor, SMEARED_SAFETY * smeared)
    records = [level.record for level in ([third[0]] if third else []) + [coarse, fine]]
    return Solution(
        grid, fine.values, coarse.values, factor, records, quiet, smearing,
        unresolved=found.unresolved, reason=found.reason, figures=found.figures, level_gap=gap,
    )  # fmt: skip


def _third(
    problem: Problem,
    scheme: Scheme,
    half: Grid,
    plan: StepPlan,
    times: Array,
    start: Array,
    tick: Callable[[int], None],
) -> tuple[Level, NDArray[np.int64]] | None:
    """The level on a quarter of cells and steps with the indices of its save times; None where there are too few."""
    quarter = plan.quartered(problem.clock.breaks)
    cells = tuple((n + 1) // 2 for n in half.shape)
    if quarter is None or min(cells) < FEWEST_CELLS:
        return None
    grid = Grid(half.bounds, cells)
    coarser, which = quarter
    # every fourth step time: what the clock says of them is known
    times = times[coarser.nodes_in(plan, which)]
    level = march(problem.dynamics, times, grid, coarser, moved(start, half, grid), scheme, tick)
    return level, which


def _smearing(fine: Level, looked: NDArray[np.int64]) -> tuple[float, Array]:
    """Largest share of numerical diffusion, and what its error is per difference of two levels, (starts, saves).

    ``f(z)/(f(2z) - f(z))``, the worst so far in the run: 1/3 while the mesh Peclet number z is small, as at the second
    order of the cells; 1 where the noise is too small for the cells and numerical diffusion is proportional to them.
    """
    own, twice = shares(fine, looked)
    ratio = np.divide(own, twice - own, out=np.zeros_like(own), where=twice > own)
    # between two looks the later one counts
    later = np.searchsorted(looked, np.arange(len(fine.plan.saves)))
    return float(own.max()), np.maximum.accumulate(ratio[:, later], axis=1)

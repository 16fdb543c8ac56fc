"""Refine until the estimate is below `tol`: level pairs halved together, extrapolated, compared with the pair before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve._progress import progress as progress_bar
from fpsolve.evolution.extrapolate import observed_factor, richardson, weighted_gap
from fpsolve.evolution.march import Level, Record, march
from fpsolve.evolution.plan import StepPlan
from fpsolve.evolution.problem import Problem
from fpsolve.evolution.solution import Solution
from fpsolve.grid import Grid

Array = NDArray[np.float64]


def solve_adaptive(
    problem: Problem,
    grid: Grid,
    plan: StepPlan,
    *,
    tol: float,
    budget: float,
    progress: bool | None = None,
) -> tuple[Solution, bool]:
    """Run levels from `grid` and `plan` on, each halved in space and time, until the error estimate meets `tol`.

    Parameters
    ----------
    problem : Problem
    grid, plan : Grid, StepPlan
        The coarsest level.
    tol : float
        Absolute, in the weighted norm, for every start and save time.
    budget : float
        Cell updates (cells times steps, all levels together) that may be spent.
    progress : bool, optional
        Show a bar per level.

    Returns
    -------
    solution : Solution
        The last extrapolation.
    met : bool
        Whether the estimate is below `tol`; False when the next level would exceed the budget.
    """
    records: list[Record] = []
    coarse: Level | None = None
    previous: Array | None = None
    gap_before: Array | None = None
    while True:
        start = problem.start_values(grid)
        with progress_bar(plan.steps, f"level {len(records) + 1}, {grid.shape} cells", enabled=progress) as bar:
            fine = march(problem.dynamics, problem.clock, grid, plan, start, problem.scheme, bar.update)
        records.append(fine.record)
        pair = None if coarse is None else richardson(fine, coarse, problem.scheme.order)
        if coarse is not None and pair is not None and previous is not None:
            gap = weighted_gap(coarse.grid, pair, previous, problem.weights_on(coarse.grid.coarsen()))
            solution = Solution(coarse.grid, pair, previous, observed_factor(gap, gap_before), records)
            met = bool(np.max(solution.error(problem)) <= tol)
            if met or _spent_after_next(records) > budget:
                return solution, met
            gap_before = gap
        coarse, previous = fine, pair
        grid, plan = grid.refine(), plan.refined()


def _spent_after_next(records: list[Record]) -> float:
    """Cell updates after one more level, which costs 2^(d+1) times the last."""
    last = records[-1]
    return sum(record.updates for record in records) + last.updates * 2.0 ** (len(last.cells) + 1)

"""Refine until the estimate is below `tol`: level pairs halved together, extrapolated, compared with the last."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fpsolve._progress import progress as progress_bar
from fpsolve.evolution.extrapolate import (
    LEAST_ORDER_SHARE,
    first_factor,
    jump_factor,
    later_factor,
    observed_order,
    richardson,
    stopped_factor,
    weighted_gap,
)
from fpsolve.evolution.footprint import fits
from fpsolve.evolution.march import Level, Record, march
from fpsolve.evolution.plan import StepPlan
from fpsolve.evolution.problem import Problem
from fpsolve.evolution.quiet import noise
from fpsolve.evolution.solution import Solution
from fpsolve.grid import Grid
from fpsolve.solver import Scheme

Array = NDArray[np.float64]


def solve_adaptive(
    problem: Problem,
    scheme: Scheme,
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
    scheme : Scheme
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
        Whether the estimate is below `tol`; False when the next level would exceed the budget or the free memory. Then
        estimates are more cautious, and infinite where levels do not come down.
    """
    records: list[Record] = []
    coarse: Level | None = None
    pair: Array | None = None
    orders = _Orders(problem, scheme)
    while True:
        start = problem.start_values(grid)
        with progress_bar(plan.steps, f"level {len(records) + 1}, {grid.shape} cells", enabled=progress) as bar:
            fine = march(problem.dynamics, plan.times(problem.clock), grid, plan, start, scheme, bar.update)
        records.append(fine.record)
        if coarse is not None:
            before, pair = pair, richardson(fine, coarse, scheme.order)
            factor = orders.factor(fine, coarse, pair, before) * problem.caution[:, None]
            if before is not None:
                narrow = orders.narrow(coarse.grid)
                common = noise(problem.dynamics, problem.saves)
                solution = Solution(coarse.grid, pair, before, factor, records, common, unresolved=narrow)
                met = bool(np.max(solution.error(problem)) <= tol)
                if met:
                    return solution, True
                if _spent_after_next(records) > budget or not fits(grid.refine(), *fine.values.shape[:2]):
                    return orders.stopped(solution, tol), False
        coarse = fine
        grid, plan = grid.refine(), plan.refined()


@dataclass
class _Orders:
    """Observed orders of levels and of extrapolations, as far as the levels so far show them."""

    problem: Problem
    scheme: Scheme
    level_gap: Array | None = None
    pair_gap: Array | None = None
    level_order: Array | None = None
    pair_order: Array | None = None

    def factor(self, fine: Level, coarse: Level, pair: Array, before: Array | None) -> Array:
        """Error of the newest extrapolation per difference to the one before, shape (starts, saves)."""
        gap = weighted_gap(fine.grid, fine.values, coarse.values, self.problem.weight_values(coarse.grid))
        level_order = np.zeros(gap.shape) if self.level_gap is None else observed_order(gap, self.level_gap)
        self.level_gap, self.level_order = gap, level_order
        if before is None:
            return np.full(gap.shape, np.nan)
        newest = weighted_gap(coarse.grid, pair, before, self.problem.weight_values(coarse.grid.coarsen()))
        earlier, self.pair_gap = self.pair_gap, newest
        order = self.scheme.order
        level_error = gap / (2.0**order - 1.0)
        least = jump_factor(coarse.values[:, 0], level_error, newest)
        if earlier is None:
            return np.maximum(first_factor(level_order, order, level_error, newest), least)
        self.pair_order = observed_order(newest, earlier)
        return np.maximum(later_factor(self.pair_order), least)

    def stopped(self, solution: Solution, tol: float) -> Solution:
        """The last solution of a run that could not be refined until it met its tolerance: orders are not trusted."""
        if self.level_gap is None or self.level_order is None or self.pair_gap is None:
            return solution
        order = np.full(self.pair_gap.shape, np.nan) if self.pair_order is None else self.pair_order
        factor = stopped_factor(solution.factor, order, self.level_gap, self.pair_gap)
        unresolved = (self.level_order < LEAST_ORDER_SHARE * self.scheme.order) & (self.level_gap > tol)
        unresolved |= self.narrow(solution.grid)
        return replace(solution, factor=factor, unresolved=unresolved, reason=self._reason(unresolved))

    def narrow(self, grid: Grid) -> NDArray[np.bool_]:
        """All times after the first of starts too narrow for the cells, shape (starts, saves)."""
        flags = np.repeat(self.problem.narrow(grid)[:, None], len(self.problem.saves), axis=1)
        flags[:, 0] = False
        return flags

    def _reason(self, unresolved: NDArray[np.bool_]) -> str:
        """Where levels do not come down, in one sentence."""
        if not unresolved.any():
            return ""
        start, save = np.argwhere(unresolved)[0]
        label = list(self.problem.starts)[start]
        return (
            f"budget: expected levels whose differences come down, got none for start {label!r} at t = "
            f"{float(self.problem.saves[save]):.6g}; give a larger budget, or a start wider than the cells."
        )


def _spent_after_next(records: list[Record]) -> float:
    """Cell updates after one more level, which costs 2^(d+1) times the last."""
    last = records[-1]
    return sum(record.updates for record in records) + last.updates * 2.0 ** (len(last.cells) + 1)

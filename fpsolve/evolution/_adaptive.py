"""Runs refined until a tolerance is met: cells and steps with noise, paths without.

Refine until the estimate is below `tol`: level pairs halved together, extrapolated, compared with the last.

Runs without noise: sources, levels of accuracy, and their errors.

A level is a grid and a tolerance of the trajectories. On a line some of the faces are followed again more closely, and
what their origins are off by is the integrator's error, in masses; in the plane a companion on half the cells at
`RATIO` times the tolerance shows that of averaging over cells too. What is compared took at least 1.5 times the steps,
everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fpsolve._messages import progress as progress_bar
from fpsolve.evolution._estimate import (
    LEAST_ORDER_SHARE,
    PAIR_SAFETY,
    first_factor,
    jump_factor,
    later_factor,
    observed_order,
    richardson,
    stopped_factor,
    weighted_gap,
)
from fpsolve.evolution._march import Level, Record, StepPlan, fits, length, march, noise
from fpsolve.evolution._problem import Problem
from fpsolve.evolution._result import MISPLACED, Solution
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.solver import (
    Accuracy,
    CellSource,
    LawSource,
    Scheme,
    Source,
    Transported,
    follow_back,
    masses_between,
    together,
    transport,
)

Array = NDArray[np.float64]

#: Relative error of a mass that all levels of a flow share where a and g are infinite at T: held shortly before, the
#: velocity, their difference, has a relative error of 1e-8 at the beginning of the first step.
HELD = 1e-9


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
            times, after = plan.times(problem.clock), problem.forgotten(grid)
            fine = march(problem.dynamics, times, grid, plan, start, scheme, bar.update, forgotten=after)
        records.append(fine.record)
        if coarse is not None:
            restricted = fine.grid.restrict(fine.values)
            before, pair = pair, richardson(restricted, coarse.values, scheme.order)
            factor = orders.factor(fine, coarse, pair, before) * problem.caution[:, None]
            if before is not None:
                narrow = orders.narrow(coarse.grid)
                common = noise(problem.dynamics, problem.saves)
                solution = Solution(coarse.grid, pair, before, factor, records, common, unresolved=narrow)
                met = bool(np.max(solution.error(problem)) <= tol)
                if met:
                    return solution, True
                # cell updates after one more level, which costs 2^(d+1) times the last
                last = records[-1]
                spent_after_next = sum(record.updates for record in records) + last.updates * 2.0 ** (
                    len(last.cells) + 1
                )
                if spent_after_next > budget or not fits(grid.refine(), *fine.values.shape[:2]):
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
        if self.problem.clock.rough:
            # steps hold kinks: nothing is known of an extrapolation but what its levels differ by, and that at random
            least = np.maximum(least, PAIR_SAFETY * gap / (newest + np.finfo(float).tiny))
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


#: Tolerance of the trajectories on a given grid; share of `tol` and range of the second level of a run with `tol`.
FIXED_RTOL = 1e-11
RTOL_SHARE = 1e-2
RTOL_RANGE = (1e-12, 3e-8)
#: Below this tolerances are lost in round-off.
SMALLEST_RTOL = 3e-14
#: Tolerance of the companion per tolerance of the level, and what the next level costs per cost of the last.
RATIO = 32.0
GROWTH = {1: 2.0, 2: 8.0}
#: Error of a level in the plane per difference to its companion: half the cells, at orders of 4 and more, decide.
PLANE_FACTOR = 0.125
#: Faces of a line that are followed again; safety on the mass that an error of an origin moves.
LOOKED_AT = 97
ORIGIN_SAFETY = 2.0
#: Share of what errors of either sign would do that is kept where signs are known.
UNSIGNED = 0.5
#: Rounding of a position per size, in units of the machine's.
ROUNDING = 16.0


def solve_flow(problem: Problem, grid: Grid, steps: int, *, estimate: bool) -> Solution:
    """The solution on exactly `grid`, with at least `steps` steps of the integrator in log t."""
    span = float(np.log(problem.saves[0] / problem.saves[-1]))
    accuracy = Accuracy(FIXED_RTOL, length(grid), span / steps)
    sources = _sources(problem, grid)
    level, record = _level(problem, grid, accuracy, sources)
    factor = np.full(level.values.shape[:2], PLANE_FACTOR)
    if not estimate:
        return Solution(grid, level.values, None, factor, [record], _noise(problem, grid, record.steps))
    if grid.dim == 1:
        return _on_line(problem, grid, sources, level, [record], accuracy)
    companion, before = _level(problem, grid.coarsen(), accuracy.coarser(RATIO), sources)
    noise = _noise(problem, grid, record.steps)
    return Solution(grid, level.values, companion.values, factor, [before, record], noise)


def solve_flow_to_tolerance(
    problem: Problem, grid: Grid, *, tol: float, budget: float, progress: bool | None
) -> tuple[Solution, bool]:
    """Tighten the trajectories, and in the plane halve the cells, from `grid` on until the estimate meets `tol`.

    On a line cell averages are exact whatever the cells, which therefore stay.

    Returns
    -------
    solution : Solution
    met : bool
        False when the budget or the memory is spent, or when what is left of the error is beyond the box.
    """
    rtol = min(max(RTOL_SHARE * tol, RTOL_RANGE[0]), RTOL_RANGE[1]) * (1.0 if grid.dim == 1 else RATIO)
    sources, records = _sources(problem, grid), list[Record]()
    before: Transported | None = None
    while True:
        accuracy = Accuracy(rtol, length(grid))
        with progress_bar(1, f"level {len(records) + 1}, {grid.shape} cells", enabled=progress) as bar:
            level, record = _level(problem, grid, accuracy, sources, before)
            bar.update(1)
        records.append(record)
        if grid.dim == 1:
            solution = _on_line(problem, grid, sources, level, list(records), accuracy)
        elif before is None:
            before, rtol, grid = level, rtol / RATIO, grid.refine()
            continue
        else:
            factor, noise = np.full(level.values.shape[:2], PLANE_FACTOR), _noise(problem, grid, record.steps)
            solution = Solution(grid, level.values, before.values, factor, list(records), noise)
        met = bool(np.max(solution.error(problem)) <= tol)
        hopeless = bool(np.max(MISPLACED * solution.tail(problem) + solution.rounding(problem)) > tol)
        spent = sum(r.updates for r in solution.levels) + solution.levels[-1].updates * GROWTH[grid.dim]
        enough = met or hopeless or level.unsure is not None or rtol < RATIO * SMALLEST_RTOL or spent > budget
        if enough or not fits(grid, *level.values.shape[:2]):
            return solution, met
        before, rtol, records = level, rtol / RATIO, solution.levels
        grid = grid if grid.dim == 1 else grid.refine()


def _level(
    problem: Problem, grid: Grid, accuracy: Accuracy, sources: list[Source], companion: Transported | None = None
) -> tuple[Transported, Record]:
    """Cell averages per volume of the solver's coordinate, and what they cost."""
    done = transport(problem.dynamics, grid, problem.saves, sources, accuracy, companion)
    return done, Record(grid.shape, done.steps, done.cost)


def _on_line(
    problem: Problem, grid: Grid, sources: list[Source], level: Transported, records: list[Record], accuracy: Accuracy
) -> Solution:
    """The solution on a line: its error is what the errors of origins do to the masses.

    To first order the mass that changes hands at a face is that between its origin and the origin moved by its error.
    Where rounding decides both faces of a cell may err either way; where paths were followed again the errors are
    known with their signs, and `UNSIGNED` of what they would do without is kept for what lies between those looked at.
    """
    assert level.origins is not None
    unsure, cost, share = level.unsure, 0, ORIGIN_SAFETY
    change = np.zeros(level.values.shape)
    if unsure is None:
        signed, unsure, cost = _followed_again(problem, grid, level, accuracy)
        moved = np.stack([[masses_between(source, row) for row in level.origins + signed] for source in sources])
        change, share = ORIGIN_SAFETY * np.abs(moved - level.values * grid.volume), UNSIGNED
    known = np.stack([level.origins, level.origins + unsure], axis=-1).reshape(len(level.origins), -1)
    hands = np.abs([[masses_between(source, row)[::2] for row in known] for source in sources])
    change += share * (hands[..., 1:] + hands[..., :-1])
    floor = np.asarray((problem.weight_values(grid) * change).sum(axis=-1))
    last = records[-1]
    levels = [*records[:-1], replace(last, cost=last.updates + cost)]
    noise = _noise(problem, grid, last.steps, traced=level.unsure is None)
    return Solution(grid, level.values, grid.restrict(level.values), np.ones(floor.shape), levels, noise, floor=floor)


def _followed_again(problem: Problem, grid: Grid, level: Transported, accuracy: Accuracy) -> tuple[Array, Array, int]:
    """What origins of all faces are wrong by, from some that are followed again more closely; and the cost.

    All faces share the steps of the integrator, so that errors vary smoothly from face to face: with their signs
    between those looked at, and at most the largest of the five nearest.
    """
    from scipy.ndimage import maximum_filter1d

    assert level.origins is not None
    faces = grid.face_axes[0]
    even = np.linspace(0, len(faces) - 1, min(len(faces), LOOKED_AT))
    # as many where the masses are
    masses = np.abs(level.values).mean(axis=(0, 1)) * grid.volume
    below = np.append(0.0, np.cumsum(masses))
    crowded = np.interp(np.linspace(0.0, below[-1], LOOKED_AT), below, np.arange(len(faces)))
    some = np.unique(np.concatenate([even, crowded]).round().astype(int))
    closer = replace(accuracy, rtol=max(accuracy.rtol / RATIO, SMALLEST_RTOL))
    again = follow_back(problem.dynamics, faces[some], problem.saves, closer, level.taken, together(grid))
    size = length(grid) + np.abs(level.origins)
    apart = again.origins - level.origins[:, some]
    signed = np.stack([np.interp(np.arange(len(faces)), some, row) for row in apart])
    largest = maximum_filter1d(np.abs(apart) / size[:, some], 5, axis=1, mode="nearest")
    near = largest[:, np.searchsorted(some, np.arange(len(faces)))]
    return signed, np.asarray((near + ROUNDING * np.finfo(float).eps) * size), again.cost


def _sources(problem: Problem, grid: Grid) -> list[Source]:
    """The starts in the solver's coordinate; arrays of cell averages live on `grid`."""
    at = float(problem.saves[0])
    where = problem.position_grid(grid, at)
    origin = np.zeros(grid.dim) if problem.frame is None else problem.frame.center(at)
    scale = np.ones(grid.dim) if problem.frame is None else problem.frame.scale(at)
    values = problem.start_values(grid)
    return [
        LawSource(start, origin, scale, where) if isinstance(start, Law) else CellSource(grid, values[k])
        for k, start in enumerate(problem.starts.values())
    ]


def _noise(problem: Problem, grid: Grid, steps: int, *, traced: bool = True) -> float:
    """Round-off of a mass: positions are rounded relative to the box, and a cell is a small part of it.

    Paths also have the velocity shortly before coefficients become infinite.
    """
    noise = float(np.finfo(float).eps * (4.0 + steps**0.5) * max(1.0, max(grid.shape) / 4.0))
    return noise + (HELD if traced and problem.saves[0] > problem.dynamics.held_from else 0.0)

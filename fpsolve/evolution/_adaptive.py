"""Runs with noise refined until a tolerance is met.

Refine until the estimate is below `tol`: level pairs halved together, extrapolated, compared with the last.

In the plane cells and steps are halved apart, those whose error is larger. With u(i, j) the density on 2^i times the
cells and 2^j times the steps of the coarsest level, errors are series in h^2, k^2 and their products; six runs, (i, j),
(i-1, j), (i-2, j), (i-1, j+1), (i-2, j+1), (i-2, j+2), together have no terms below the sixth order at less than twice
the cost of the first, and (i-3, j) to (i-3, j+3) show what is left of the error in time. What of them lives on fewer
cells is a small correction, taken to more cells by polynomials.

References
----------
Bungartz et al. 1994, doi:10.1007/978-3-322-89565-2_2, and Liem, Lue and Shih 1995, doi:10.1142/2638 (extrapolation in
several parameters); Roache and Knupp 1993, doi:10.1002/cnm.1640090502 (extrapolations on the cells of the finer level).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fpsolve._cells import add_refined
from fpsolve._compile import compiled
from fpsolve._memory import over
from fpsolve._messages import progress as progress_bar
from fpsolve.evolution._estimate import (
    LEAST_ORDER_SHARE,
    PAIR_SAFETY,
    PLANE_ORDER,
    first_factor,
    jump_factor,
    later_factor,
    observed_order,
    richardson,
    stopped_factor,
    third_factor,
    weighted_gap,
)
from fpsolve.evolution._march import Level, Record, StepPlan, fits, march, noise
from fpsolve.evolution._problem import Problem
from fpsolve.evolution._result import Solution
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
        Whether the estimate is below `tol`; False when the next level would exceed the budget or the free memory, or
        two levels say that what is beyond the box is too much. Then estimates are more cautious, and infinite where
        levels do not come down.
    """
    if grid.dim == 2 and scheme.order == 2 and not problem.clock.rough:
        return _solve_plane(_Runs(problem, scheme, grid, plan, progress), tol, budget)
    records: list[Record] = []
    coarse: Level | None = None
    pair: Array | None = None
    orders = _Orders(problem, scheme)
    lost = False
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
                spent = sum(record.updates for record in records) + records[-1].updates * 2.0 ** (grid.dim + 1)
                again, lost = lost, solution.beyond(problem, tol)
                enough = spent > budget or (again and lost)
                if enough or not fits(grid.refine(), *fine.values.shape[:2]):
                    return orders.stopped(solution, tol), False
        coarse = fine
        grid, plan = grid.refine(), plan.refined()


#: Weights of u at steps k, k/2, k/4 and so on in the corrections that take its terms in k^2, k^4 and k^6 away.
IN_TIME = np.array([[-1.0, 1.0, 0.0, 0.0], [1.0, -5.0, 4.0, 0.0], [-1.0, 21.0, -84.0, 64.0]])
IN_TIME *= np.array([[4.0 / 3.0], [16.0 / 45.0], [64.0 / 2835.0]])
#: Errors of the corrections in time: of the first per difference to that on half the cells, of the fourth order; of
#: the others, of which only the square of the cells is known, likewise; and per last of them (damped steps have terms
#: of odd order too, about a tenth of it). Steps are halved, not cells, where the error in space is a smaller share of
#: the tolerance.
FIRST_CELLS, OTHER_CELLS, LAST_STEPS, MET_SHARE = 4.0 / 15.0, 4.0 / 3.0, 0.5, 0.9
#: Share of the other corrections that they may be off by where their cells are as wide as a start: all smear it alike.
UNSEEN = 0.5
#: Before cells are halved the error in time there is known: steps are halved first where it is so large a share of the
#: tolerance, and not small beside the error in space, which becomes so many times smaller at most.
AHEAD, MOST = 0.7, 100.0


@compiled
def combine(
    runs: tuple[Array, ...], v: Array, w: Array, ring: bool, parts: tuple[Array, Array, Array, Array], sums: Array
) -> None:
    """What `_Combined` holds of a plane, from runs on twice its cells, or means of these, and on fewer."""
    fine, half, later, quarter, faster, fastest, e0, e1, e2, e3 = runs
    out, first, others, last = parts
    b, c, level, pair, steps = IN_TIME[1], IN_TIME[0, 1], 0.0, 0.0, 0.0
    for i in range(half.shape[0]):
        here, there, weight, best, change = half[i], later[i], v[i], out[i], first[i]
        for j in range(here.size):
            best[j] = fine[i, j] if fine.shape == half.shape else mean_of(fine, i, j)
        for j in range(here.size):
            gap, slower = best[j] - here[j], there[j] - here[j]
            level += weight[j] * abs(gap)
            steps += weight[j] * abs(slower)
            best[j] += gap / 3.0
            change[j] = c * slower
    if quarter.size > 0:
        if e0.size > 0:
            eighth, a = np.empty(e0.shape), IN_TIME[2]
            for i in range(e0.shape[0]):
                for j in range(e0.shape[1]):
                    eighth[i, j] = a[0] * e0[i, j] + a[1] * e1[i, j] + a[2] * e2[i, j] + a[3] * e3[i, j]
            add_refined(eighth, ring, last)
        slowed, apart = np.empty(quarter.shape), np.empty(quarter.shape)
        for i in range(quarter.shape[0]):
            for j in range(quarter.shape[1]):
                before, best, change = mean_of(half, i, j), mean_of(out, i, j), mean_of(first, i, j)
                q, f = quarter[i, j], faster[i, j]
                gap = best - (before + (before - q) / 3.0)
                pair += 4.0 * w[i, j] * abs(gap)
                others[i, j] = b[0] * q + b[1] * f + b[2] * fastest[i, j] + last[i, j]
                slowed[i, j] = (change - c * (f - q)) / 3.0
                apart[i, j] = gap / 15.0 + others[i, j]
                if e0.size == 0:
                    last[i, j] = others[i, j]
        add_refined(slowed, ring, first)
        add_refined(apart, ring, out)
    out += first
    sums[0], sums[1], sums[2] = level, pair, steps


@compiled(inline="always")
def mean_of(values: Array, i: int, j: int) -> float:
    """The average over the cell (i, j) of half as many."""
    left = values[2 * i, 2 * j] + values[2 * i, 2 * j + 1]
    right = values[2 * i + 1, 2 * j] + values[2 * i + 1, 2 * j + 1]
    return float(0.25 * (left + right))


@compiled
def compare(
    these: tuple[Array, ...], those: tuple[Array, ...], v: Array, ring: bool, unseen: float, parts: tuple[Array, Array],
    sums: Array,
) -> None:  # fmt: skip
    """What `_Runs.compared` returns of a plane."""
    (values, first, others, last), (before, first_before, others_before), (previous, off) = these, those, parts
    gap = in_time = 0.0
    expected = np.zeros(others.shape)
    if others_before.size > 0:
        add_refined(others_before, ring, expected)
    for i in range(before.shape[0]):
        for j in range(before.shape[1]):
            one, more = mean_of(first, i, j) - first_before[i, j], others[i, j] - expected[i, j]
            previous[i, j] = before[i, j] + one + more
            a, b, c, d = FIRST_CELLS * one, OTHER_CELLS * more, LAST_STEPS * last[i, j], unseen * others[i, j]
            off[i, j] = a + b + c + d
            gap += v[i, j] * abs(mean_of(values, i, j) - previous[i, j])
            in_time += v[i, j] * (abs(a) + abs(b) + abs(c) + abs(d))
    sums[0], sums[1] = gap, in_time


@dataclass
class _Combined:
    """An extrapolation from runs down from (i, j), and how much its parts differ in the weighted norm (starts, saves).

    `first` and `others` are the parts of the values that correct for steps, the latter like the `last` of them on half
    the cells; `level` is the difference to half the cells, `pair` that of fourth-order extrapolations in space, `steps`
    that to twice the steps.
    """

    values: Array
    first: Array
    others: Array
    last: Array
    level: Array
    pair: Array
    steps: Array


class _Runs:
    """Runs in the plane on 2^i times the cells and 2^j times the steps of the coarsest, made when they are needed."""

    def __init__(
        self, problem: Problem, scheme: Scheme, grid: Grid, plan: StepPlan, progress: bool | None = None
    ) -> None:
        self.problem, self.scheme, self.progress = problem, scheme, progress
        self.grids, self.plans = [grid], [plan]
        self.done: dict[tuple[int, int], Level] = {}
        self.records: list[Record] = []
        self._combined: dict[tuple[int, int], _Combined] = {}

    def grid(self, i: int) -> Grid:
        """The cells of a run."""
        while len(self.grids) <= i:
            self.grids.append(self.grids[-1].refine())
        return self.grids[i]

    def plan(self, j: int) -> StepPlan:
        """The steps of a run."""
        while len(self.plans) <= j:
            self.plans.append(self.plans[-1].refined())
        return self.plans[j]

    def ahead(self, i: int, j: int) -> float:
        """Cell updates spent once there is an extrapolation down from (i, j) and the one before it."""
        wanted = {(a - b, j + c) for a in (i, i - 1) for b in range(4) for c in range(b + 1) if a >= b}
        wanted -= {at for at in self.done if at[0] == i or self._whole(*at)}
        records = [*self.records, *(Record(self.grid(a).shape, self.plan(b).steps) for a, b in wanted)]
        return sum(record.updates for record in records)

    def _whole(self, i: int, j: int) -> bool:
        """Whether a run was made and has all of its cells, not means."""
        return (i, j) in self.done and self.done[i, j].values.shape[2:] == self.grid(i).shape

    def values(self, i: int, j: int, *, halved: bool = False) -> Array:
        """Densities (starts, saves, nx, ny) of a run, or with `halved` at least their means over 2 x 2 cells."""
        if not self._whole(i, j) and not (halved and (i, j) in self.done):
            grid, plan, problem = self.grid(i), self.plan(j), self.problem
            with progress_bar(plan.steps, f"level {len(self.records) + 1}, {grid.shape} cells", self.progress) as bar:
                times, after = plan.times(problem.clock), problem.forgotten(grid)
                start = problem.start_values(grid)
                done = march(problem.dynamics, times, grid, plan, start, self.scheme, bar.update, (), after, halved)
            self.done[i, j] = done
            self.records.append(done.record)
        return self.done[i, j].values

    def leave(self, j: int) -> None:
        """Let go of the densities of runs with fewer steps: no later extrapolation asks for them."""
        self.done = {at: level for at, level in self.done.items() if at[1] >= j}
        self._combined = {at: one for at, one in self._combined.items() if at[1] >= j}

    def combined(self, i: int, j: int, *, blind: bool = False) -> _Combined:
        """The extrapolation from (i, j) down, of the sixth order; with i = 1 of the fourth.

        With `blind` before there is that run: corrections in time do not need it, all else is meaningless.
        """
        if (i, j) in self._combined and not blind:
            return self._combined[i, j]
        half, grid, ring = self.values(i - 1, j), self.grid(i - 1), self.problem.dynamics.boundary == "periodic"
        # runs on half, a quarter and an eighth of the cells, each with more steps
        # of the finest cells means are asked for; the first are halved again
        runs = [half if blind else self.values(i, j, halved=i > 2), half, self.values(i - 1, j + 1)]
        runs += [self.values(i - b, j + c) for b in (2, 3) if b <= i for c in range(b + 1)]
        weights = [self.problem.weight_values(one) for one in (grid, self.grid(max(i - 2, 0)))]
        quarter = runs[3].shape[2:] if i > 1 else (0, 0)
        out, first, sums = np.empty(half.shape), np.empty(half.shape), np.zeros((*half.shape[:2], 3))
        others, last = np.zeros((*half.shape[:2], *quarter)), np.zeros((*half.shape[:2], *quarter))

        def planes(begin: int, end: int) -> None:
            for at in range(begin, end):
                s, k = divmod(at, half.shape[1])
                some = [run[s, k] for run in runs] + [np.empty((0, 0))] * (10 - len(runs))
                v, w = (np.array(weight[k]) for weight in weights)
                combine(tuple(some), v, w, ring, (out[s, k], first[s, k], others[s, k], last[s, k]), sums[s, k])

        over(half.shape[0] * half.shape[1], runs[0].size, planes)
        level, pair, steps = np.moveaxis(sums * grid.volume, -1, 0)
        found = _Combined(out, first, others, last, level, pair, steps)
        if not blind:
            self._combined[i, j] = found
        return found

    def in_time(self, i: int, j: int) -> float:
        """The largest error in time down from (i, j), before that run."""
        return float(np.max(self.problem.caution[:, None] * self.compared(i, j, blind=True)[3]))

    def compared(self, i: int, j: int, *, blind: bool = False) -> tuple[Array, Array, Array, Array]:
        """What half the cells say with the corrections in time of (i, j), what that may be off by, and two norms.

        Shapes (starts, saves, nx/2, ny/2) of `previous` and of what it may be off by, then (starts, saves): of the
        difference of the extrapolation to `previous`, and of the errors in time.
        """
        found, before = self.combined(i, j, blind=blind), self.combined(i - 1, j)
        v, ring = self.problem.weight_values(self.grid(i - 2)), self.problem.dynamics.boundary == "periodic"
        previous, off = np.empty_like(before.values), np.empty_like(before.values)
        sums = np.zeros((*previous.shape[:2], 2))
        unseen = UNSEEN / np.maximum(self.problem.cells_per_std(self.grid(i - 2)), 1.0) ** 2

        def planes(begin: int, end: int) -> None:
            for at in range(begin, end):
                s, k = divmod(at, previous.shape[1])
                these = found.values[s, k], found.first[s, k], found.others[s, k], found.last[s, k]
                those = before.values[s, k], before.first[s, k], before.others[s, k]
                compare(these, those, np.array(v[k]), ring, float(unseen[s]), (previous[s, k], off[s, k]), sums[s, k])

        over(previous.shape[0] * previous.shape[1], found.values.size, planes)
        gap, in_time = np.moveaxis(sums * self.grid(i - 2).volume, -1, 0)
        return previous, off, gap, in_time

    def solution(self, i: int, j: int) -> tuple[Solution, _Orders, float]:
        """What runs from (i, j) down say, their orders, and the largest error in space."""
        found, before = self.combined(i, j), self.combined(i - 1, j)
        grid, problem = self.grid(i - 1), self.problem
        previous, off, gap, in_time = self.compared(i, j)
        level, order = found.level + found.steps, self.scheme.order
        level_order, pair_order = observed_order(found.level, before.level), np.full(gap.shape, np.nan)
        if i == 2:
            factor = first_factor(level_order, order, level / 3.0, gap)
        elif i == 3:
            pair_order = observed_order(found.pair, before.pair)
            factor = third_factor(level_order, pair_order, order, found.pair, gap)
        else:
            pair_order = observed_order(gap, self.compared(i - 1, j)[2])
            factor = later_factor(pair_order, PLANE_ORDER)
        factor = np.maximum(factor, jump_factor(self.values(i - 1, j)[:, 0], level / 3.0, gap))
        factor = factor * problem.caution[:, None]
        # one share for all starts, so that it cancels in their differences
        least = factor.min(axis=0)[:, None, None]
        # errors of a density may add up, those of a difference of two have signs
        in_time *= problem.caution[:, None]
        for one in off:
            one /= least
        previous -= off
        records = sorted(self.records, key=lambda record: record.updates)
        common = noise(problem.dynamics, problem.saves)
        orders = _Orders(problem, self.scheme, level, gap, level_order, pair_order)
        floor, narrow = factor * gap + in_time, orders.narrow(grid)
        solution = Solution(grid, found.values, previous, factor, records, common, None, floor, narrow)
        return solution, orders, float(np.max(factor * gap))


def _solve_plane(runs: _Runs, tol: float, budget: float) -> tuple[Solution, bool]:
    """Halve cells or steps of runs in the plane, those whose error is larger, until the estimate meets `tol`."""
    i, j, lost = 2, 0, False
    while True:
        solution, orders, in_space = runs.solution(i, j)
        if np.max(solution.error(runs.problem)) <= tol:
            return solution, True
        # more steps alone are enough, and cost half of what halved cells do
        longer = in_space < MET_SHARE * tol
        ahead = (i, j + 1) if longer else (i + 1, j)
        starts, saves = solution.values.shape[:2]
        again, lost = lost, solution.beyond(runs.problem, tol)
        # the runs that are kept beside the finest, and what is made of them, take about as much as it
        enough = runs.ahead(*ahead) > budget or (again and lost)
        if enough or not fits(runs.grid(ahead[0]), 2 * starts, saves):
            return orders.stopped(solution, tol), False
        least = np.inf if longer else max(AHEAD * tol, in_space / MOST)
        i, j = ahead
        runs.leave(j)
        while runs.in_time(i, j) > least and runs.ahead(i, j + 1) <= budget:
            j += 1
            runs.leave(j)


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

"""How a run is solved, chosen once: finite volumes where there is noise, characteristics where there is none.

A run on a given grid with a given number of steps is held against two coarser ones, and against what finite volumes add
to a small noise. An exponentially fitted flux with the mesh Peclet number ``z = b h/D`` diffuses like
``D z/2 coth(z/2)``: the share ``f(z) = z/2 coth(z/2) - 1`` is the scheme's own. It is ``z^2/12``, second order in the
cells, while z is small, and ``|z|/2``, first order as of upwind differences, once the noise is too small for the cells.
Along a reverse dynamics ``z = (1 + eta^2)/eta^2 h d log p/dx``, so that cells of width h serve an eta down to about the
root of h per width of the narrowest feature.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve._compile import compiled
from fpsolve._memory import over
from fpsolve._messages import progress as progress_bar
from fpsolve.dynamics import BaseDynamics
from fpsolve.evolution._adaptive import solve_adaptive
from fpsolve.evolution._estimate import look, looks, moved, over_saves, weighted_gap, weighted_norm
from fpsolve.evolution._march import Level, StepPlan, march, noise
from fpsolve.evolution._problem import Problem
from fpsolve.evolution._result import Solution
from fpsolve.evolution._steady import solve_flow, solve_flow_to_tolerance
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.solver import SCHEMES, Scheme, scheme_named

Array = NDArray[np.float64]

#: Below this the series of f is used.
_SMALL = 1e-2


@compiled
def share(z: float) -> tuple[float, float]:
    """Numerical diffusion per diffusivity, ``f(z) = z/2 coth(z/2) - 1``, and that of twice as wide cells, f(2z).

    The second from the first: ``2 coth(2x) = coth(x) + tanh(x)``.

    Examples
    --------
    >>> [[round(f, 4) for f in share(z)] for z in (0.0, 1.0, 100.0)]
    [[0.0, 0.0], [0.082, 0.313], [49.0, 99.0]]
    """
    half = 0.5 * abs(z)
    if half <= _SMALL:
        own = half**2 / 3.0
        return own, 4.0 * own
    steep = np.tanh(half)
    own = half / steep - 1.0
    return own, own + half * steep


@compiled
def _add_shares(z: Array, q: Array, sums: Array, first: int, last: int) -> None:
    """Sums (rows, 3, starts) of ``|q|`` and of it times f(z) and f(2z) along rows of q (starts, rows, ny)."""
    for i in range(first, last):
        for j in range(z.shape[1]):
            narrow, wide = share(z[i, j])
            for s in range(len(q)):
                size = abs(q[s, i, j])
                sums[i, 0, s] += size
                sums[i, 1, s] += narrow * size
                sums[i, 2, s] += wide * size


def shares(level: Level, saves: NDArray[np.int64], steps: list[int]) -> tuple[Array, Array]:
    """Means of f(z) and f(2z) over the densities, each (starts, saves): of the cells and of twice as wide ones.

    Parameters
    ----------
    level : Level
        With the mesh Peclet numbers of the steps that end at the save times.
    saves : int array
        Which save times.
    steps : list of int
        The `last_steps` to them. Where there is no noise there is no share: 0.
    """
    planes = level.values.reshape(*level.values.shape[:2], -1, level.values.shape[-1])
    sums = np.zeros((len(saves), level.grid.dim, planes.shape[2], 3, len(planes)))
    for k, (save, step) in enumerate(zip(saves.tolist(), steps, strict=True)):
        for z, rows in zip(level.peclet[step], sums[k], strict=False):
            lines = z.reshape(-1, z.shape[-1])
            over(len(lines), z.size, partial(_add_shares, lines, planes[:, save], rows))
    mass, *smeared = np.moveaxis(sums.sum(axis=2), 2, 0)
    fine, coarse = (np.divide(part, mass, out=np.zeros_like(part), where=mass > 0.0).mean(axis=1).T for part in smeared)
    return fine, coarse


def last_steps(plan: StepPlan, saves: NDArray[np.int64]) -> list[int]:
    """The step that ends at each of some save times, the first for the start itself."""
    return [max(int(end) - 1, 0) for end in np.append(0, np.cumsum(plan.counts))[saves]]


#: Safety on the error of levels that smear: twice as much smearing does not make twice the error for long.
SMEARED_SAFETY = 2.0
#: Cells per axis of the coarsest level, at least.
FEWEST_CELLS = 4


#: Cells, steps and save times of a third level.
Quarter = tuple[Grid, StepPlan, NDArray[np.int64]]


def solve_fixed(
    problem: Problem,
    scheme: Scheme,
    grid: Grid,
    plan: StepPlan,
    coarser: tuple[StepPlan, Quarter | None] | None,
    tick: Callable[[int], None],
) -> Solution:
    """Single-level solution on exactly `grid` and `plan`.

    With `coarser` plans a companion on half of cells and steps gives the level error, and a third level on a quarter of
    both says whether it may be believed.
    """
    start = problem.start_values(grid)
    quiet = noise(problem.dynamics, problem.saves)
    tau = problem.clock.at(plan.saves)
    times = plan.times(problem.clock, tau)
    # the last time is among them
    looked = looks(plan)[::-2][::-1]
    watched, after = last_steps(plan, looked), problem.forgotten(grid)
    fine = march(problem.dynamics, times, grid, plan, start, scheme, tick, watched, after)
    smearing, smeared = _smearing(fine, looked, watched)
    if coarser is None:
        return Solution(grid, fine.values, None, np.ones(fine.values.shape[:2]), [fine.record], quiet, smearing)
    half = grid.coarsen()
    start = grid.restrict(start)
    fewer, quarter = coarser
    after = problem.forgotten(half)
    coarse = march(problem.dynamics, fewer.times(problem.clock, tau), half, fewer, start, scheme, tick, (), after)
    third = None if quarter is None else _third(problem, scheme, half, quarter, plan, times, start, tick)
    v = problem.weight_values(half)
    gap = over_saves(lambda s: weighted_gap(grid, fine.values[:, s], coarse.values[:, s], v[s]), fine.values)
    norm = weighted_norm(problem, grid, fine.values)
    found = look(problem, scheme.order, tau, gap, norm, fine, coarse, third)
    factor = np.maximum(found.factor, SMEARED_SAFETY * smeared)
    records = [level.record for level in ([third[0]] if third else []) + [coarse, fine]]
    return Solution(
        grid, fine.values, coarse.values, factor, records, quiet, smearing,
        unresolved=found.unresolved, reason=found.reason, figures=found.figures, level_gap=gap, level_norm=norm,
    )  # fmt: skip


def _third(
    problem: Problem,
    scheme: Scheme,
    half: Grid,
    quarter: Quarter,
    plan: StepPlan,
    times: Array,
    start: Array,
    tick: Callable[[int], None],
) -> tuple[Level, NDArray[np.int64]]:
    """The level on a quarter of cells and steps with the indices of its save times."""
    grid, coarser, which = quarter
    # every fourth step time: what the clock says of them is known
    times = times[coarser.nodes_in(plan, which)]
    start = moved(start, half, grid)
    level = march(problem.dynamics, times, grid, coarser, start, scheme, tick, (), problem.forgotten(grid))
    return level, which


def quarter_of(half: Grid, plan: StepPlan, breaks: Collection[float]) -> Quarter | None:
    """Cells, steps and save times of a third level, given half the cells and all steps; None where they are too few."""
    quarter = plan.quartered(breaks)
    cells = tuple((n + 1) // 2 for n in half.shape)
    if quarter is None or min(cells) < FEWEST_CELLS:
        return None
    return Grid(half.bounds, cells), *quarter


def _smearing(fine: Level, looked: NDArray[np.int64], watched: list[int]) -> tuple[float, Array]:
    """Largest share of numerical diffusion, and what its error is per difference of two levels, (starts, saves).

    ``f(z)/(f(2z) - f(z))``, the worst so far in the run: 1/3 while the mesh Peclet number z is small, as at the second
    order of the cells; 1 where the noise is too small for the cells and numerical diffusion is proportional to them.
    """
    own, twice = shares(fine, looked, watched)
    ratio = np.divide(own, twice - own, out=np.zeros_like(own), where=twice > own)
    # between two looks the later one counts
    later = np.searchsorted(looked, np.arange(len(fine.plan.saves)))
    return float(own.max()), np.maximum.accumulate(ratio[:, later], axis=1)


#: Cells of the first level in the plane per width of the narrowest law, with tol = 1, and the limits of that.
FOURTH_MEETS, CELLS = 0.21, (0.75, 2.0)


@dataclass(frozen=True)
class Coarsest:
    """The first grid of a run with `tol`: cell width per smallest standard deviation, limits on the cells per axis."""

    width: float
    cells: tuple[int, int]


class Method(Protocol):
    """A way to solve a problem on given levels or to a tolerance."""

    @property
    def name(self) -> str:
        """What the attribute `scheme` of a run says."""
        ...

    def coarsest(self, dim: int, narrow: float, tol: float) -> Coarsest:
        """The first grid; `narrow` is how many times the narrowest start is narrower than the law at T."""
        ...

    def saves(self, dim: int) -> int:
        """How many times are kept by default."""
        ...

    def fixed(self, problem: Problem, grid: Grid, plan: StepPlan, *, estimate: bool, progress: bool | None) -> Solution:
        """The solution on exactly `grid`."""
        ...

    def adaptive(
        self, problem: Problem, grid: Grid, plan: StepPlan, *, tol: float, budget: float, progress: bool | None
    ) -> tuple[Solution, bool]:
        """A solution whose error estimate is below `tol`, or False."""
        ...


@dataclass(frozen=True)
class FiniteVolumes:
    """Fokker-Planck steps: fluxes between cells, levels extrapolated."""

    scheme: Scheme

    @property
    def name(self) -> str:
        """Name of the scheme in time."""
        return self.scheme.name

    def coarsest(self, dim: int, narrow: float, tol: float) -> Coarsest:
        """Few cells: noise widens a narrow start, and coarse levels cost next to nothing.

        In the plane as many as let the fourth level meet the tolerance: another one costs four times as much.
        """
        if dim == 1:
            return Coarsest(1.0 / 1.5, (32, 256))
        per_width = FOURTH_MEETS * tol ** (-1.0 / 6.0)
        return Coarsest(1.0 / min(max(per_width, CELLS[0]), CELLS[1]), (32, 128))

    def saves(self, dim: int) -> int:
        """Fifty: they cost memory only."""
        return 50

    def fixed(self, problem: Problem, grid: Grid, plan: StepPlan, *, estimate: bool, progress: bool | None) -> Solution:
        """One level, and with `estimate` those on half and a quarter of cells and steps."""
        total, coarser = plan.steps, None
        if estimate:
            quarter = quarter_of(grid.coarsen(), plan, problem.clock.breaks)
            coarser = plan.coarsened(), quarter
            total += coarser[0].steps + (quarter[1].steps if quarter else 0)
        with progress_bar(total, "evolve", enabled=progress) as bar:
            return solve_fixed(problem, self.scheme, grid, plan, coarser, bar.update)

    def adaptive(
        self, problem: Problem, grid: Grid, plan: StepPlan, *, tol: float, budget: float, progress: bool | None
    ) -> tuple[Solution, bool]:
        """Levels halved until the extrapolations agree."""
        return solve_adaptive(problem, self.scheme, grid, plan, tol=tol, budget=budget, progress=progress)


@dataclass(frozen=True)
class Characteristics:
    """Transport along the flow: no noise, no numerical diffusion."""

    name: str = "characteristics"

    def coarsest(self, dim: int, narrow: float, tol: float) -> Coarsest:
        """Cells that show the image of the narrowest start; on a line they do not decide on the accuracy."""
        width = {1: 0.2, 2: 1.0 / 1.5}[dim] / max(narrow, 1.0)
        return Coarsest(width, {1: (128, 1024), 2: (32, 96)}[dim])

    def saves(self, dim: int) -> int:
        """Every time has trajectories of its own: fewer in the plane, where they are many."""
        return {1: 50, 2: 13}[dim]

    def fixed(self, problem: Problem, grid: Grid, plan: StepPlan, *, estimate: bool, progress: bool | None) -> Solution:
        """Steps of the integrator at most as large as those of the plan, and a companion on half of cells and steps."""
        with progress_bar(1, "evolve", enabled=progress) as bar:
            solution = solve_flow(problem, grid, plan.steps, estimate=estimate)
            bar.update(1)
        return solution

    def adaptive(
        self, problem: Problem, grid: Grid, plan: StepPlan, *, tol: float, budget: float, progress: bool | None
    ) -> tuple[Solution, bool]:
        """Cells halved and trajectories tightened until two levels agree."""
        return solve_flow_to_tolerance(problem, grid, tol=tol, budget=budget, progress=progress)


def method_for(dynamics: BaseDynamics, scheme: str) -> Method:
    """Characteristics for a reverse dynamics without any noise, finite volumes for everything else."""
    _checks.one_of("scheme", scheme, tuple(SCHEMES))
    if dynamics.noiseless:
        return Characteristics()
    return FiniteVolumes(scheme_named(scheme))


def narrowness(dynamics: BaseDynamics, problem: Problem) -> float:
    """Smallest standard deviation of the law at the first time over that of the starts; 1 where either is unknown."""
    laws = [start for start in problem.starts.values() if isinstance(start, Law)]
    here = dynamics.laws_at(float(problem.saves[0]), laws)
    stds = [law.smallest_std for law in laws if law.smallest_std > 0.0]
    return float(here[0].smallest_std / min(stds)) if stds and here and here[0].smallest_std > 0.0 else 1.0

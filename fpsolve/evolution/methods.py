"""How a run is solved: finite volumes where there is noise, characteristics where there is none. Chosen once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve._progress import progress as progress_bar
from fpsolve.dynamics import BaseDynamics
from fpsolve.evolution.adaptive import solve_adaptive
from fpsolve.evolution.fixed import solve_fixed
from fpsolve.evolution.flow import solve_flow, solve_flow_to_tolerance
from fpsolve.evolution.plan import StepPlan
from fpsolve.evolution.problem import Problem
from fpsolve.evolution.solution import Solution
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.solver import SCHEMES, Scheme, scheme_named

Array = NDArray[np.float64]


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

    def coarsest(self, dim: int, narrow: float) -> Coarsest:
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

    def coarsest(self, dim: int, narrow: float) -> Coarsest:
        """Few cells: noise widens a narrow start, and coarse levels cost next to nothing."""
        return Coarsest(1.0 / 1.5, {1: (32, 256), 2: (32, 96)}[dim])

    def saves(self, dim: int) -> int:
        """Fifty: they cost memory only."""
        return 50

    def fixed(self, problem: Problem, grid: Grid, plan: StepPlan, *, estimate: bool, progress: bool | None) -> Solution:
        """One level, and with `estimate` those on half and a quarter of cells and steps."""
        total = plan.steps
        if estimate:
            quarter = plan.quartered(problem.clock.breaks)
            total += plan.coarsened().steps + (quarter[0].steps if quarter else 0)
        with progress_bar(total, "evolve", enabled=progress) as bar:
            return solve_fixed(problem, self.scheme, grid, plan, estimate=estimate, tick=bar.update)

    def adaptive(
        self, problem: Problem, grid: Grid, plan: StepPlan, *, tol: float, budget: float, progress: bool | None
    ) -> tuple[Solution, bool]:
        """Levels halved until the extrapolations agree."""
        return solve_adaptive(problem, self.scheme, grid, plan, tol=tol, budget=budget, progress=progress)


@dataclass(frozen=True)
class Characteristics:
    """Transport along the flow: no noise, no numerical diffusion."""

    name: str = "characteristics"

    def coarsest(self, dim: int, narrow: float) -> Coarsest:
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

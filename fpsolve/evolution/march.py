"""The only time loop: one level, one grid, one step sequence, all starts at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fpsolve.dynamics import BaseDynamics
from fpsolve.evolution.plan import StepPlan
from fpsolve.evolution.quiet import carry, quiet_segments
from fpsolve.evolution.warm import warm_up
from fpsolve.grid import Grid
from fpsolve.solver import Scheme, StepTable, advance, exponents_at, rates_of, step_table

Array = NDArray[np.float64]

#: Rates are computed for so many steps at once that about this many cells are in flight: few calls, little memory.
CHUNK_CELLS = 250_000


@dataclass(frozen=True)
class Record:
    """What a level was: cells per axis and steps, without its values."""

    cells: tuple[int, ...]
    steps: int
    cost: int | None = None

    @property
    def updates(self) -> int:
        """Cell updates spent: cells times steps, or `cost` where something else was counted."""
        return self.steps * math.prod(self.cells) if self.cost is None else self.cost


@dataclass(frozen=True, eq=False)
class Level:
    """One solution: grid, plan and the saved cell averages, shape (starts, saves, nx[, ny]).

    `peclet` has the mesh Peclet numbers of the faces per axis, in the steps that were to be watched and had noise.
    """

    grid: Grid
    plan: StepPlan
    values: Array
    peclet: dict[int, list[Array]] = field(default_factory=dict)

    @property
    def record(self) -> Record:
        """Cells and steps."""
        return Record(self.grid.shape, self.plan.steps)


def march(
    dynamics: BaseDynamics,
    times: Array,
    grid: Grid,
    plan: StepPlan,
    start: Array,
    scheme: Scheme,
    tick: Callable[[int], None] = lambda steps: None,
    watched: Collection[int] = (),
) -> Level:
    """Advance the start densities through the plan and keep them at its save times.

    Parameters
    ----------
    dynamics : BaseDynamics
    times : array, shape (steps + 1,)
        Where steps end, those of the plan.
    grid : Grid
    plan : StepPlan
    start : array, shape (starts, nx[, ny])
        Cell averages of the initial densities.
    scheme : Scheme
    tick : callable
        Told how many steps were just done.
    watched : collection of int
        Steps, counted from 0, whose mesh Peclet numbers are kept.

    Returns
    -------
    Level
    """
    warm_up(grid.dim, dynamics.boundary == "periodic")
    table = step_table(scheme, np.abs(np.diff(times)), startup=plan.startup)
    nodes = times[:-1] + scheme.node * np.diff(times)
    marks = np.cumsum(plan.counts)
    values = np.empty((len(start), len(plan.saves), *grid.shape))
    values[:, 0] = q = start
    level = Level(grid, plan, values, {step: [] for step in watched})
    for first, last, quiet in _stretches(dynamics, plan):
        if quiet:
            ends = marks[(marks > first) & (marks <= last)]
            carried = carry(dynamics, grid, times[np.append(first, ends)], q)
            values[:, np.searchsorted(marks, ends) + 1] = carried
            q = carried[:, -1]
            tick(last - first)
        else:
            q = _advance_through(dynamics, level, nodes, table, marks, (first, last), q, tick)
    return level


def _advance_through(
    dynamics: BaseDynamics,
    level: Level,
    nodes: Array,
    table: StepTable,
    marks: NDArray[np.int64],
    stretch: tuple[int, int],
    q: Array,
    tick: Callable[[int], None],
) -> Array:
    """Finite-volume steps of a stretch with noise; fills the level at the marks passed, returns the last density."""
    periodic = dynamics.boundary == "periodic"
    chunk = max(1, CHUNK_CELLS // math.prod(level.grid.shape))
    for first in range(*stretch, chunk):
        last = min(first + chunk, stretch[1])
        exponents, diffusivity = exponents_at(dynamics, level.grid, nodes[first:last])
        rates = rates_of(level.grid, exponents, diffusivity)
        for step in level.peclet:
            if first <= step < last:
                level.peclet[step] = [z[step - first].copy() for z in exponents]
        # the first save time ahead, and those that lie within the chunk
        ahead, beyond = np.searchsorted(marks, [first, last], side="right")
        ends = marks[ahead:beyond].tolist()
        for k, (a, b) in enumerate(pairwise([first, *ends] if ends and ends[-1] == last else [first, *ends, last])):
            part = [(up[a - first : b - first], down[a - first : b - first]) for up, down in rates]
            q = advance(q, part, table[a:b], periodic=periodic)
            if k < len(ends):
                level.values[:, ahead + k + 1] = q
            tick(b - a)
    return q


def _stretches(dynamics: BaseDynamics, plan: StepPlan) -> list[tuple[int, int, bool]]:
    """First and last step of every stretch with noise or without."""
    quiet = quiet_segments(dynamics, plan.saves)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(quiet)) + 1, [len(quiet)]])
    steps = np.append(0, np.cumsum(plan.counts))
    return [(int(steps[a]), int(steps[b]), bool(quiet[a])) for a, b in pairwise(edges)]

"""The only time loop: one level, one grid, one step sequence, all starts at once.

Save times cut the run into segments; in each the steps are equal in the run's clock. Stretches without noise, where
eta(t) = 0 on an interval as with churn up to S_max only, are transport along paths. What a run costs in memory is known
before anything is allocated. The first run in a process loads compiled code, and on a new machine compiles it: done on
a toy, and said if slow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fpsolve import _memory, marginals
from fpsolve._compile import saying_if_compiled
from fpsolve._memory import over
from fpsolve.dynamics import BaseDynamics, RunClock
from fpsolve.grid import Grid
from fpsolve.laws import GaussianMixture
from fpsolve.solver import (
    Accuracy,
    CellSource,
    Potentials,
    Rates,
    Scheme,
    StepTable,
    advance_planes,
    advance_through,
    exponents_of,
    plane_rates_at,
    rates_at,
    rates_from_log_gibbs,
    scheme_named,
    step_table,
    transport,
)

Array = NDArray[np.float64]

#: Startup steps of the coarsest level.
STARTUP = 2
#: Save times, about, of the level on a quarter of the steps: orders change slowly along a run, and each costs a call.
QUARTER_SAVES = 6


@dataclass(frozen=True, eq=False)
class StepPlan:
    """Save times in the order of the run, and the number of steps in each segment between them.

    Attributes
    ----------
    saves : array, shape (segments + 1,)
        Forward times; decreasing for reverse dynamics.
    counts : int array, shape (segments,)
    startup : int
        Steps at the beginning that a scheme with a startup takes with it. Refined with the steps, so that all levels
        of a run use it over the same span of time and their errors stay comparable.
    """

    saves: Array
    counts: NDArray[np.int64]
    startup: int = 2 * STARTUP

    @property
    def steps(self) -> int:
        """Steps in total."""
        return int(self.counts.sum())

    def refined(self) -> StepPlan:
        """Twice the steps in every segment."""
        return StepPlan(self.saves, 2 * self.counts, 2 * self.startup)

    def coarsened(self) -> StepPlan:
        """Half the steps in every segment; where they are odd less than half, so that no segment is as fine as here."""
        return StepPlan(self.saves, np.maximum(self.counts // 2, 1), self.startup // 2)

    def quartered(self, fixed: Collection[float] = ()) -> tuple[StepPlan, NDArray[np.int64]] | None:
        """A quarter of the steps through some of the save times that it can meet, and which these are; None below 4.

        Save times in `fixed` are met whatever the number of steps before them.
        """
        done = [0, *np.cumsum(self.counts).tolist()]
        if done[-1] < 4:
            return None
        met = {k for k, t in enumerate(self.saves.tolist()) if t in fixed} if fixed else set()
        kept, end, enough = [0], len(done) - 1, 4
        for k in range(1, end + 1):
            ahead = done[k] - done[kept[-1]]
            if k == end and ahead < 8 and len(kept) > 1 and kept[-1] not in met:
                # too few for a segment of their own: joined to the one before
                kept.pop()
            if k == end or k in met or (ahead >= enough and ahead % 4 == 0):
                kept.append(k)
                # more of them at the beginning, where a narrow start spreads
                enough = max(4, min(done[k], done[-1] // QUARTER_SAVES))
        which = np.array(kept, dtype=np.int64)
        steps = np.diff(np.array(done, dtype=np.int64)[which])
        return StepPlan(self.saves[which], np.maximum(steps // 4, 1), self.startup // 4), which

    def nodes_in(self, finer: StepPlan, which: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which step times of a finer plan are those of this one, whose save times are `which` of the finer ones."""
        there = np.append(0, np.cumsum(finer.counts))[which]
        here = np.append(0, np.cumsum(self.counts))
        return np.asarray(np.rint(np.interp(np.arange(self.steps + 1), here, there)), dtype=np.int64)

    def times(self, clock: RunClock, tau: Array | None = None) -> Array:
        """All step times, shape (steps + 1,): smooth under refinement, save times hit exactly.

        `tau` is what the clock shows at the save times, where that is known.
        """
        tau = clock.at(self.saves) if tau is None else tau
        done = np.append(0, np.cumsum(self.counts))
        fractions = (np.arange(done[-1]) - np.repeat(done[:-1], self.counts)) / np.repeat(self.counts, self.counts)
        inner = np.repeat(tau[:-1], self.counts) + fractions * np.repeat(np.diff(tau), self.counts)
        times = clock.inverse(np.append(inner, tau[-1]))
        times[done] = self.saves
        if np.any(np.diff(times) * (self.saves[-1] - self.saves[0]) <= 0.0):
            raise ValueError(
                "clock: expected a strictly monotone one, got step times that turn back; check clock_inverse."
            )
        return times


def default_saves(clock: RunClock, count: int = 50) -> Array:
    """`count` times along the run, equally spaced in its clock, both ends included."""
    begin = [] if clock.settled == clock.first else [clock.first]
    tau = np.linspace(clock.at(clock.settled), clock.at(clock.last), count - len(begin))
    saves = np.append(begin, clock.inverse(tau))
    saves[[0, -1]] = clock.first, clock.last
    return saves


def plan_by_density(clock: RunClock, saves: Array, step: float) -> StepPlan:
    """Steps of at most `step` in the clock."""
    gaps = np.abs(np.diff(clock.at(saves)))
    forgotten = clock.dynamics.forgotten(saves)
    if forgotten is not None:
        # what is forgotten at once needs no steps
        gaps[: forgotten[0]] = 0.0
    return StepPlan(saves, np.maximum(1, np.ceil(gaps / step)).astype(np.int64), STARTUP)


def plan_by_count(clock: RunClock, saves: Array, steps: int) -> StepPlan:
    """Exactly `steps` steps, dealt out to the segments in proportion to their length in the clock.

    They are dealt in pairs wherever there are two for every segment, so that half the steps end on the same times; an
    odd one goes to the segment that has most. With fewer every segment gets one at least.
    """
    gaps = np.abs(np.diff(clock.at(saves)))
    unit = 2 if steps >= 2 * len(gaps) else 1
    pairs = steps // unit
    wish = gaps / gaps.sum() * pairs
    counts = np.maximum(1, np.floor(wish)).astype(np.int64)
    while counts.sum() != pairs:
        add = counts.sum() < pairs
        excess = counts - wish
        k = int(np.argmin(excess) if add else np.argmax(np.where(counts > 1, excess, -np.inf)))
        counts[k] += 1 if add else -1
    counts *= unit
    counts[int(np.argmax(counts))] += steps - unit * pairs
    return StepPlan(saves, counts)


def plan_on_nodes(clock: RunClock, steps: int, count: int = 50) -> StepPlan:
    """Exactly `steps` equal steps in the clock; about `count` of the step times are the save times.

    The segments hold an even number of steps, so that half the steps end on the same times; where the number is odd the
    last one has one more.
    """
    pairs = steps // 2
    segments = min(count - 1, max(pairs, 1))
    edges = 2 * np.round(np.linspace(0, pairs, segments + 1)).astype(np.int64)
    edges[-1] = steps
    saves = clock.inverse(clock.at(clock.last) * edges / steps)
    saves[[0, -1]] = clock.first, clock.last
    return StepPlan(saves, np.diff(edges))


@cache
def warm_up(dim: int, periodic: bool) -> None:
    """Load or compile the sweeps and densities of a dimension, on eight cells; the next call does nothing."""
    with saying_if_compiled():
        shape = (8,) * dim
        u = np.zeros((1, *shape))
        rates = [rates_from_log_gibbs(u, k, np.ones(1), periodic=periodic) for k in range(dim)]
        table = step_table(scheme_named("tr-bdf2"), np.ones(1))
        advance_through(np.ones((2, *shape)), rates, table, np.ones(1, dtype=np.int64), periodic=periodic)
        axes = [np.linspace(-1.0, 1.0, 8)] * dim
        marginals.FastLaw(_toy(dim)).log_density_on_axes(*axes)


def _toy(dim: int) -> GaussianMixture:
    if dim == 1:
        return GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[1.0, 1.0])
    cov = np.array([[1.0, 0.3], [0.3, 1.0]])
    return GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], covs=[cov, cov])


#: Tolerance of the trajectories: far below what the cells on either side leave.
RTOL = 1e-12
#: Error of a mass per tolerance of the trajectories, which all levels share.
SHARED = 64.0
#: Standard deviations in half a box, about: positions are followed to the tolerance in units of one.
BOX_DEVIATIONS = 6.0


def length(grid: Grid) -> float:
    """Scale of positions on a grid."""
    return max(high - low for low, high in grid.bounds) / (2.0 * BOX_DEVIATIONS)


def carry(dynamics: BaseDynamics, grid: Grid, times: Array, q: Array) -> Array:
    """Densities q (starts, nx[, ny]) at times[0], carried along the flow to the later ones.

    Returns
    -------
    array, shape (starts, times - 1, nx[, ny])
        Cell averages; sixth order in the cells, without numerical diffusion. Mass is kept in 1D and up to that order
        in 2D; what comes from beyond the box is zero.
    """
    sources = [CellSource(grid, averages) for averages in q]
    return transport(dynamics, grid, times, sources, Accuracy(RTOL, length(grid))).values[:, 1:]


#: Where else a segment is looked at whose middle has no noise, in its length.
_INSIDE = (0.03, 0.11, 0.23, 0.37, 0.59, 0.71, 0.83, 0.97)


def quiet_segments(dynamics: BaseDynamics, saves: Array) -> NDArray[np.bool_]:
    """Which segments between save times have no noise, shape (saves - 1,); the times of `breaks` are save times."""
    if not dynamics.breaks:
        return np.zeros(len(saves) - 1, dtype=bool)
    found = np.asarray(dynamics.noise(0.5 * (saves[1:] + saves[:-1])) == 0.0)
    # a zero in the middle may be one of a smooth function
    for share in _INSIDE if found.any() else ():
        found &= dynamics.noise(saves[:-1] + share * np.diff(saves)) == 0.0
    return found


def noise(dynamics: BaseDynamics, saves: Array) -> float | None:
    """Relative error of a cell average that no difference of levels shows; None without stretches of this kind."""
    return SHARED * RTOL if quiet_segments(dynamics, saves).any() else None


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
    """One solution: grid, plan and the saved cell averages, shape (starts, saves, nx[, ny]), or means over 2 x 2.

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

    def keep(self, at: slice | NDArray[np.int64], densities: Array) -> None:
        """Fill in densities (starts, times, nx[, ny]) at save times, or their means."""
        whole = self.values.shape[2:] == self.grid.shape
        self.values[:, at] = densities if whole else self.grid.restrict(densities)


def march(
    dynamics: BaseDynamics,
    times: Array,
    grid: Grid,
    plan: StepPlan,
    start: Array,
    scheme: Scheme,
    tick: Callable[[int], None] = lambda steps: None,
    watched: Collection[int] = (),
    forgotten: tuple[int, Array] | None = None,
    halved: bool = False,
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
    forgotten : (int, array), optional
        Number of the save time (0 or 1) from which on every start is this density, times its mass.
    halved : bool
        In the plane: keep means over 2 x 2 cells, a quarter of the numbers.

    Returns
    -------
    Level
    """
    warm_up(grid.dim, dynamics.boundary == "periodic")
    table = step_table(scheme, np.abs(np.diff(times)), startup=plan.startup)
    nodes = times[:-1] + scheme.node * np.diff(times)
    marks = np.cumsum(plan.counts)
    values = np.empty((len(start), len(plan.saves), *(grid.coarsen() if halved else grid).shape))
    level, q = Level(grid, plan, values, {step: [] for step in watched}), start
    level.keep(slice(0, 1), q[:, None])
    done = 0
    if forgotten is not None:
        mass = start.sum(axis=tuple(range(1, start.ndim)), keepdims=True) * grid.volume
        q = mass * forgotten[1]
        if forgotten[0] == 1:
            level.keep(slice(1, 2), q[:, None])
            tick(done := int(marks[0]))
    for first, last, quiet in _stretches(dynamics, plan, done):
        if quiet:
            ends = marks[(marks > first) & (marks <= last)]
            carried = carry(dynamics, grid, times[np.append(first, ends)], q)
            level.keep(np.searchsorted(marks, ends) + 1, carried)
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
    start, q = q, np.empty_like(q)
    over(q.shape[1], q.size, lambda a, b: np.copyto(q[:, a:b], start[:, a:b]))
    if level.grid.dim == 2 and not periodic:
        chunks = _plane_chunks(dynamics, level, nodes, stretch, tick)
        saves = np.full(table.dt.shape, -1)
        saves[marks - 1] = np.arange(1, len(marks) + 1)
        return advance_planes(q, chunks, table[slice(*stretch)], level.values, saves[slice(*stretch)])
    for first, last in _chunks(level.grid, stretch):
        rates = rates_at(dynamics, level.grid, nodes[first:last])
        if watched := [step for step in level.peclet if first <= step < last]:
            some = [(up[at], down[at]) for at in [np.array(watched) - first] for up, down in rates]
            found = exponents_of(dynamics, level.grid, nodes[watched], some)
            level.peclet.update({step: [z[k] for z in found] for k, step in enumerate(watched)})
        # the first save time ahead, and those that lie within the chunk
        ahead, beyond = np.searchsorted(marks, [first, last], side="right")
        q, kept = advance_through(q, rates, table[first:last], marks[ahead:beyond] - first, periodic=periodic)
        level.keep(slice(ahead + 1, beyond + 1), kept.swapaxes(0, 1))
        tick(last - first)
    return q


def _plane_chunks(
    dynamics: BaseDynamics, level: Level, nodes: Array, stretch: tuple[int, int], tick: Callable[[int], None]
) -> Iterator[Rates | Potentials]:
    """What makes the steps of a stretch in the plane, a chunk of them at a time."""
    for first, last in _chunks(level.grid, stretch):
        rates = plane_rates_at(dynamics, level.grid, nodes[first:last])
        for step in [step for step in level.peclet if first <= step < last]:
            if isinstance(rates, Potentials):
                level.peclet[step] = [_differences(rates.log_gibbs[step - first], axis) for axis in range(2)]
            else:
                at = [step - first]
                some = [(up[at], down[at]) for up, down in rates]
                level.peclet[step] = [z[0] for z in exponents_of(dynamics, level.grid, nodes[[step]], some)]
        yield rates
        tick(last - first)


def _differences(plane: Array, axis: int) -> Array:
    """From one cell to the next along an axis, some rows side by side with others."""
    above, below = (plane[1:], plane[:-1]) if axis == 0 else (plane[:, 1:], plane[:, :-1])
    found = np.empty(above.shape)
    over(len(found), found.size, lambda a, b: np.subtract(above[a:b], below[a:b], out=found[a:b]))
    return found


def _chunks(grid: Grid, stretch: tuple[int, int]) -> list[tuple[int, int]]:
    """First and last step of the chunks of a stretch."""
    chunk = max(2, CHUNK_CELLS // math.prod(grid.shape))
    return [(first, min(first + chunk, stretch[1])) for first in range(*stretch, chunk)]


def _stretches(dynamics: BaseDynamics, plan: StepPlan, done: int) -> list[tuple[int, int, bool]]:
    """First and last step of every stretch with noise or without, from a number of steps on."""
    quiet = quiet_segments(dynamics, plan.saves)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(quiet)) + 1, [len(quiet)]])
    steps = np.append(0, np.cumsum(plan.counts))
    every = [(max(int(steps[a]), done), int(steps[b]), bool(quiet[a])) for a, b in pairwise(edges)]
    return [(first, last, still) for first, last, still in every if first < last]


#: Arrays of the size of a chunk that a march holds besides what it saves: potential, exponents, rates, line factors.
WORKING_ARRAYS = 16


def bytes_needed(grid: Grid, starts: int, saves: int) -> int:
    """Bytes of a level on `grid`: stored densities, those of the companion on half the cells, working arrays."""
    cells = math.prod(grid.shape)
    stored = starts * saves * cells * (1.0 + 0.5**grid.dim)
    return int(8 * (stored + WORKING_ARRAYS * max(cells, CHUNK_CELLS)))


def require(grid: Grid, starts: int, saves: int) -> None:
    """ValueError with the estimate when a level would not fit into the free memory."""
    needed = bytes_needed(grid, starts, saves)
    if needed >= _memory.NEGLIGIBLE:
        _memory.require("grid", needed, "take fewer cells, fewer save_at times or fewer starts at once")


def fits(grid: Grid, starts: int, saves: int) -> bool:
    """Whether a level fits into the free memory, as far as the system tells."""
    needed = bytes_needed(grid, starts, saves)
    free = _memory.available_bytes() if needed >= _memory.NEGLIGIBLE else None
    return free is None or needed <= free

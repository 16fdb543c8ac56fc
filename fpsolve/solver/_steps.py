"""Time steps of a density and, by the exact transpose, of a function: the stepper knows operators, not grids or
physics.

Over a step the generator is frozen at one node of the step (the exponential-midpoint rule of Magnus type, second
order, when the node is the middle), and ``exp(dt A)`` is replaced by a rational function with a single real pole, that
needs nothing but solves with ``I - pole dt A``:

    m = (I - pole dt A)^{-1} q,
    one solve:   q' = q + mix (m - q),
    two solves:  q' = (I - pole dt A)^{-1} [ q + mix (m - q) ].

In the plane steps are split by axes.

References
----------
Hochbruck and Lubich 2003, doi:10.1137/S0036142902403875 (midpoint Magnus rule for stiff problems);
Bank et al. 1985, doi:10.1109/T-ED.1985.22232 (TR-BDF2); Rannacher 1984, doi:10.1007/BF01389463 (damped start).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import one_of
from fpsolve._memory import over
from fpsolve.solver._lines import advance_open, advance_ring, retreat_open
from fpsolve.solver._planes import BLOCK, Source, sweep_rings, sweep_x, sweep_y


@dataclass(frozen=True)
class Scheme:
    """A single-pole rational one-step scheme.

    Attributes
    ----------
    name : str
    pole : float
        Coefficient of ``dt A`` in the matrix that is solved with.
    solves : int
        1 or 2 solves per step, with the same matrix.
    mix : float
        Weight of the first solve, see the module's formulas.
    node : float
        Where in the step the generator is sampled, 0.5 the middle, 1.0 the end.
    order : int
        Order in time.
    startup : Scheme or None
        Scheme of the first steps of a run; how many is the run's affair.
    """

    name: str
    pole: float
    solves: int
    mix: float
    node: float
    order: int
    startup: Scheme | None = None


_GAMMA = 2.0 - math.sqrt(2.0)

BACKWARD_EULER = Scheme("backward-euler", pole=1.0, solves=1, mix=1.0, node=1.0, order=1)
CRANK_NICOLSON = Scheme("crank-nicolson", pole=0.5, solves=1, mix=2.0, node=0.5, order=2)
TR_BDF2 = Scheme("tr-bdf2", pole=_GAMMA / 2, solves=2, mix=2.0 / (_GAMMA * (2.0 - _GAMMA)), node=0.5, order=2)
#: Crank-Nicolson does not damp what a rough start excites; a few L-stable steps first do, and cost nothing.
DAMPED_CRANK_NICOLSON = Scheme("damped-crank-nicolson", pole=0.5, solves=1, mix=2.0, node=0.5, order=2, startup=TR_BDF2)

SCHEMES = {s.name: s for s in (DAMPED_CRANK_NICOLSON, CRANK_NICOLSON, TR_BDF2, BACKWARD_EULER)}


def scheme_named(name: str) -> Scheme:
    """The scheme called `name`; ValueError with the list of names otherwise."""
    return SCHEMES[one_of("scheme", name, tuple(SCHEMES))]


Array = NDArray[np.float64]


#: Jump rates of some steps, (up, down) per axis, shape (steps, ...) each.
Rates = list[tuple[Array, Array]]


@dataclass(frozen=True, eq=False)
class Potentials:
    """What the sweeps over an open plane make jump rates of, those of `rates_from_log_gibbs`.

    Attributes
    ----------
    log_gibbs : array, shape (steps, nx, ny)
        ``-Phi/D`` at the cell centres.
    rate : array, shape (steps, 2)
        ``D/h^2`` per axis.
    """

    log_gibbs: Array
    rate: Array


@dataclass(frozen=True)
class StepTable:
    """Per-step numbers of a scheme: pole, mixing weight and number of solves, shape (steps,) each."""

    dt: Array
    pole: Array
    mix: Array
    solves: NDArray[np.int64]

    def __getitem__(self, chunk: slice) -> StepTable:
        return StepTable(self.dt[chunk], self.pole[chunk], self.mix[chunk], self.solves[chunk])


def step_table(scheme: Scheme, dt: Array, *, startup: int = 0) -> StepTable:
    """Lay a scheme out over the steps `dt`, its startup scheme (where it has one) on the first `startup`."""
    used = [scheme] * len(dt)
    if scheme.startup is not None:
        used[:startup] = [scheme.startup] * min(startup, len(dt))
    return StepTable(
        dt=np.asarray(dt, dtype=float),
        pole=np.array([s.pole for s in used]),
        mix=np.array([s.mix for s in used]),
        solves=np.array([s.solves for s in used], dtype=np.int64),
    )


def advance(q: Array, rates: Rates, table: StepTable, *, periodic: bool) -> Array:
    """Advance the densities over ``len(table.dt)`` steps and return them; q itself is not changed."""
    return advance_through(q.copy(), rates, table, np.empty(0, dtype=np.int64), periodic=periodic)[0]


def advance_through(
    q: Array, rates: Rates, table: StepTable, ends: NDArray[np.int64], *, periodic: bool
) -> tuple[Array, Array]:
    """Advance the densities over ``len(table.dt)`` steps; return them and what they were after some of the steps.

    Parameters
    ----------
    q : array, shape (starts, nx[, ny])
        Densities (cell averages) or signed differences of such. In 2D they are advanced where they are.
    rates : list of (up, down), one pair per axis
        Jump rates, shape (steps, ...): as from `jump_rates`.
    table : StepTable
    ends : array, shape (kept,)
        Numbers of steps after which densities are returned, increasing.
    periodic : bool
        Ends joined (the rates have one more face) or no-flux.

    Returns
    -------
    array, shape (starts, nx[, ny])
        After the last step.
    array, shape (kept, starts, nx[, ny])
        In 2D by symmetric (Strang 1968, doi:10.1137/0705041) splitting: half a step along x, one along y, half along x.
    """
    if q.ndim == 3:
        kept, at = np.empty((len(q), len(ends), *q.shape[1:])), np.full(len(table.dt), -1)
        at[ends - 1] = np.arange(len(ends))
        q = _advance_rings(q, rates, table, kept, at) if periodic else advance_planes(q, [rates], table, kept, at)
        return q, kept.swapaxes(0, 1)
    kernel = advance_ring if periodic else advance_open
    columns = np.array(q.T, order="C")  # a copy: the transpose of a single start shares its memory
    saved: Array = kernel(columns, *rates[0], table.pole * table.dt, table.mix, table.solves, ends)
    return np.ascontiguousarray(columns.T), saved


def advance_planes(q: Array, chunks: Iterable[Rates | Potentials], table: StepTable, kept: Array, ends: Array) -> Array:
    """Advance densities on an open plane over ``len(table.dt)`` steps, where they are, and return them.

    By symmetric splitting, see `advance_through`. The lines of a direction are swept side by side, and the half step
    along x that ends a step together with the one that begins the next.

    Parameters
    ----------
    q : array, shape (starts, nx, ny)
    chunks : iterable
        What makes the steps, some of them at a time.
    table : StepTable
    kept : array, shape (starts, saves, nx, ny), or (starts, saves, nx/2, ny/2)
        Filled with the densities after some of the steps, or with their means over 2 x 2 cells.
    ends : int array, shape (steps,)
        After a step: which save the density is, negative for none.
    """
    room = np.empty((-(-q.shape[2] // BLOCK), 3, q.shape[1], BLOCK))
    nothing = np.empty((0, 0))
    closing, at = (0.0, 0), -1

    def along_x(source: Source, opening: tuple[float, float, int]) -> None:
        work = partial(sweep_x, q, room, closing, kept, at, source, opening)
        over(q.shape[2], q.size, work, multiple=BLOCK)

    for s, (along, across, rate) in enumerate(one for chunk in chunks for one in _steps_of(chunk)):
        c, mix, solves = float(table.pole[s] * table.dt[s]), float(table.mix[s]), int(table.solves[s])
        along_x(along, (c / 2 * rate[0], mix, solves))
        over(q.shape[1], q.size, partial(sweep_y, q, across, c * rate[1], mix, solves), multiple=BLOCK)
        closing, at = (mix, solves), int(ends[s])
    along_x((nothing, nothing, nothing), (0.0, 0.0, 0))
    return q


def _steps_of(chunk: Rates | Potentials) -> Iterator[tuple[Source, Source, tuple[float, float]]]:
    """What makes the rates along x and y in every step of a chunk, and what they are to be multiplied with."""
    nothing = np.empty((0, 0))
    if isinstance(chunk, Potentials):
        planes = np.require(chunk.log_gibbs, requirements=["C", "W"])
        for plane, (along, across) in zip(planes, chunk.rate.tolist(), strict=True):
            yield (plane, nothing, nothing), (plane, nothing, nothing), (along, across)
        return
    (up_x, down_x), (up_y, down_y) = chunk
    for sides in zip(up_x, down_x, up_y, down_y, strict=True):
        yield (nothing, *sides[:2]), (nothing, *sides[2:]), (1.0, 1.0)


def _advance_rings(q: Array, rates: Rates, table: StepTable, kept: Array, ends: Array) -> Array:
    """The same on closed lines; those along x are turned, so that they lie along the last axis."""
    for s, dt in enumerate(table.dt):
        c, mix, solves = float(table.pole[s] * dt), float(table.mix[s]), int(table.solves[s])
        along = tuple(np.ascontiguousarray(side[s].T) for side in rates[0])
        across = tuple(side[s] for side in rates[1])
        for (up, down), length in ((along, c / 2), (across, c), (along, c / 2)):
            lines = q if up is across[0] else np.ascontiguousarray(q.swapaxes(1, 2))
            over(lines.shape[1], q.size, partial(sweep_rings, lines, up, down, length, mix, solves))
            q = lines if up is across[0] else np.ascontiguousarray(lines.swapaxes(1, 2))
        if ends[s] >= 0:
            kept[:, ends[s]] = q
    return q


def retreat(f: Array, rates: Rates, table: StepTable) -> Array:
    """Return ``P f`` where `advance` takes densities q to ``q P``, on no-flux boxes; f itself is not changed.

    Parameters
    ----------
    f : array, shape (functions, nx[, ny])
        Functions on the cells at the end of the run.
    rates, table
        As for `advance`, in the order of the run; they are gone through backwards.

    Returns
    -------
    array, shape of `f`
        Functions on the cells at the beginning: to rounding ``sum q P f = sum q (P f)``.
    """
    if f.ndim == 2:
        return _retreat_line(f, rates[0], table)
    return _retreat_plane(f, rates, table)


def _retreat_line(f: Array, rates: tuple[Array, Array], table: StepTable) -> Array:
    columns = np.array(f.T, order="C")
    up, down = rates
    for s in range(len(table.dt) - 1, -1, -1):
        step = float(table.pole[s] * table.dt[s]), float(table.mix[s]), int(table.solves[s])
        retreat_open(columns, up[s][:, None], down[s][:, None], *step)
    return np.ascontiguousarray(columns.T)


def _retreat_plane(f: Array, rates: Rates, table: StepTable) -> Array:
    """Strang splitting read backwards is the same splitting: half along x, all along y, half along x."""
    planes = f.copy()
    (up_x, down_x), (up_y, down_y) = rates
    for s in range(len(table.dt) - 1, -1, -1):
        c, mix, solves = float(table.pole[s] * table.dt[s]), float(table.mix[s]), int(table.solves[s])
        turned = [np.ascontiguousarray(side[s].T) for side in (up_y, down_y)]
        for plane in planes:
            retreat_open(plane, up_x[s], down_x[s], c / 2, mix, solves)
            across = np.ascontiguousarray(plane.T)
            retreat_open(across, turned[0], turned[1], c, mix, solves)
            plane[:] = across.T
            retreat_open(plane, up_x[s], down_x[s], c / 2, mix, solves)
    return planes

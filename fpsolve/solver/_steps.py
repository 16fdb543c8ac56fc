"""Time steps of a density and, transposed, of a function: schemes, splitting, step tables.

One-step schemes in time: rational approximations of ``exp(dt A)`` with a single real pole.

Over a step the generator is frozen at one node of the step (the exponential-midpoint rule of Magnus type, second
order, when the node is the middle), and ``exp(dt A)`` is replaced by a rational function that needs nothing but
solves with ``I - pole dt A``:

    m = (I - pole dt A)^{-1} q,
    one solve:   q' = q + mix (m - q),
    two solves:  q' = (I - pole dt A)^{-1} [ q + mix (m - q) ].

References
----------
Hochbruck and Lubich 2003, doi:10.1137/S0036142902403875 (midpoint Magnus rule for stiff problems);
Bank et al. 1985, doi:10.1109/T-ED.1985.22232 (TR-BDF2); Rannacher 1984, doi:10.1007/BF01389463 (damped start).

Advance densities over a run of steps with given jump rates: the stepper knows operators, not grids or physics.

Move functions backwards over a run of steps: the exact transpose of `advance`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import one_of
from fpsolve._memory import over
from fpsolve.solver._lines import advance_open, advance_ring, retreat_open
from fpsolve.solver._planes import BLOCK, factorise_x, sweep_rings, sweep_x, sweep_y


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


def advance(q: Array, rates: list[tuple[Array, Array]], table: StepTable, *, periodic: bool) -> Array:
    """Advance the densities over ``len(table.dt)`` steps and return them; q itself is not changed."""
    return advance_through(q.copy(), rates, table, np.empty(0, dtype=np.int64), periodic=periodic)[0]


def advance_through(
    q: Array, rates: list[tuple[Array, Array]], table: StepTable, ends: NDArray[np.int64], *, periodic: bool
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
        return _advance_plane(q, rates, table, ends, periodic)
    kernel = advance_ring if periodic else advance_open
    columns = np.array(q.T, order="C")  # a copy: the transpose of a single start shares its memory
    kept: Array = kernel(columns, *rates[0], table.pole * table.dt, table.mix, table.solves, ends)
    return np.ascontiguousarray(columns.T), kept


#: Length times pole, mixing weight, number of solves; and planes to work in.
Step = tuple[float, float, int]
Room = tuple[Array, Array, Array]


def _advance_plane(
    q: Array, rates: list[tuple[Array, Array]], table: StepTable, ends: NDArray[np.int64], periodic: bool
) -> tuple[Array, Array]:
    sides = [side for pair in rates for side in pair]
    kept = np.empty((len(ends), *q.shape))
    sweep = _sweep_rings if periodic else _sweep_open
    shape = q.shape[1:]
    room = np.empty(shape), np.empty(shape), np.empty(shape)
    for s, dt in enumerate(table.dt):
        step = float(table.pole[s] * dt), float(table.mix[s]), int(table.solves[s])
        q = sweep(q, [side[s] for side in sides], step, room)
        kept[ends == s + 1] = q
    return q, kept


def _sweep_open(q: Array, rates: list[Array], step: Step, room: Room) -> Array:
    """Half a step along x, one along y, half along x; the lines of a direction side by side."""
    up_x, down_x, up_y, down_y = rates
    c, mix, solves = step

    def opening(first: int, last: int) -> None:
        factorise_x(up_x, down_x, c / 2, room[0], room[1], first, last)
        closing(first, last)

    def closing(first: int, last: int) -> None:
        sweep_x(q, up_x, c / 2, mix, solves, room, first, last)

    def across(first: int, last: int) -> None:
        sweep_y(q, up_y, down_y, c, mix, solves, first, last)

    over(q.shape[2], q.size, opening, multiple=BLOCK)
    over(q.shape[1], q.size, across, multiple=BLOCK)
    over(q.shape[2], q.size, closing, multiple=BLOCK)
    return q


def _sweep_rings(q: Array, rates: list[Array], step: Step, _: Room) -> Array:
    """The same on closed lines; those along x are turned, so that they lie along the last axis."""
    c, mix, solves = step
    up_x, down_x = (np.ascontiguousarray(side.T) for side in rates[:2])
    for (up, down), length in (((up_x, down_x), c / 2), (rates[2:], c), ((up_x, down_x), c / 2)):
        turned = up is up_x
        lines = np.ascontiguousarray(q.swapaxes(1, 2)) if turned else q
        over(lines.shape[1], q.size, partial(sweep_rings, lines, up, down, length, mix, solves))
        q = np.ascontiguousarray(lines.swapaxes(1, 2)) if turned else lines
    return q


def retreat(f: Array, rates: list[tuple[Array, Array]], table: StepTable) -> Array:
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


def _retreat_plane(f: Array, rates: list[tuple[Array, Array]], table: StepTable) -> Array:
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

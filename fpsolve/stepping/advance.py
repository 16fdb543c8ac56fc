"""Advance densities over a run of steps with given jump rates: the stepper knows operators, not grids or physics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve.stepping.schemes import Scheme

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
    """Advance the densities over ``len(table.dt)`` steps and return them; q itself is not changed.

    Parameters
    ----------
    q : array, shape (starts, nx[, ny])
        Densities (cell averages) or signed differences of such.
    rates : list of (up, down), one pair per axis
        Jump rates, shape (steps, ...): as from `fpsolve.finite_volume.jump_rates`.
    table : StepTable
    periodic : bool
        Ends joined (the rates have one more face) or no-flux.

    Returns
    -------
    array, shape of `q`
        In 2D by symmetric (Strang 1968, doi:10.1137/0705041) splitting: half a step along x, one along y, half along x.
    """
    if q.ndim == 2:
        return _advance_line(q, rates[0], table, periodic)
    return _advance_plane(q, rates, table, periodic)


def _advance_line(q: Array, rates: tuple[Array, Array], table: StepTable, periodic: bool) -> Array:
    from fpsolve import sweeps

    kernel = sweeps.advance_ring if periodic else sweeps.advance_open
    columns = np.array(q.T, order="C")  # a copy: the transpose of a single start shares its memory
    kernel(columns, rates[0], rates[1], table.pole * table.dt, table.mix, table.solves)
    return np.ascontiguousarray(columns.T)


def _advance_plane(q: Array, rates: list[tuple[Array, Array]], table: StepTable, periodic: bool) -> Array:
    from fpsolve import sweeps

    q = q.copy()
    (up_x, down_x), (up_y, down_y) = rates
    inverse, ratio, m = (np.empty(q.shape[1:]) for _ in range(3))
    for s, dt in enumerate(table.dt):
        c, mix, solves = float(table.pole[s] * dt), float(table.mix[s]), int(table.solves[s])
        if periodic:
            q = _ring_along_x(q, up_x[s], down_x[s], c / 2, mix, solves)
            sweeps.sweep_rings(q, up_y[s], down_y[s], c, mix, solves)
            q = _ring_along_x(q, up_x[s], down_x[s], c / 2, mix, solves)
        else:
            sweeps.sweep_x(q, up_x[s], down_x[s], c / 2, mix, solves, inverse, ratio, m)
            sweeps.sweep_y(q, up_y[s], down_y[s], c, mix, solves)
            sweeps.sweep_x(q, up_x[s], down_x[s], c / 2, mix, solves, inverse, ratio, m)
    return q


def _ring_along_x(q: Array, up: Array, down: Array, c: float, mix: float, solves: int) -> Array:
    """Closed lines along x, turned so that they lie along the last axis."""
    from fpsolve import sweeps

    turned = np.ascontiguousarray(q.swapaxes(1, 2))
    sweeps.sweep_rings(turned, np.ascontiguousarray(up.T), np.ascontiguousarray(down.T), c, mix, solves)
    return np.ascontiguousarray(turned.swapaxes(1, 2))

"""Move functions backwards over a run of steps: the exact transpose of `advance`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve.stepping.advance import StepTable

Array = NDArray[np.float64]


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
    from fpsolve import sweeps

    columns = np.array(f.T, order="C")
    up, down = rates
    for s in range(len(table.dt) - 1, -1, -1):
        step = float(table.pole[s] * table.dt[s]), float(table.mix[s]), int(table.solves[s])
        sweeps.retreat_open(columns, up[s][:, None], down[s][:, None], *step)
    return np.ascontiguousarray(columns.T)


def _retreat_plane(f: Array, rates: list[tuple[Array, Array]], table: StepTable) -> Array:
    """Strang splitting read backwards is the same splitting: half along x, all along y, half along x."""
    from fpsolve import sweeps

    planes = f.copy()
    (up_x, down_x), (up_y, down_y) = rates
    for s in range(len(table.dt) - 1, -1, -1):
        c, mix, solves = float(table.pole[s] * table.dt[s]), float(table.mix[s]), int(table.solves[s])
        turned = [np.ascontiguousarray(side[s].T) for side in (up_y, down_y)]
        for plane in planes:
            sweeps.retreat_open(plane, up_x[s], down_x[s], c / 2, mix, solves)
            across = np.ascontiguousarray(plane.T)
            sweeps.retreat_open(across, turned[0], turned[1], c, mix, solves)
            plane[:] = across.T
            sweeps.retreat_open(plane, up_x[s], down_x[s], c / 2, mix, solves)
    return planes

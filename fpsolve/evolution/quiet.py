"""Stretches without noise within a run of finite volumes: eta(t) = 0 on an interval, as with churn up to S_max only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve.dynamics import BaseDynamics
from fpsolve.grid import Grid
from fpsolve.solver import Accuracy, CellSource, transport

Array = NDArray[np.float64]

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


def quiet_segments(dynamics: BaseDynamics, saves: Array) -> NDArray[np.bool_]:
    """Which segments between save times have no noise, shape (saves - 1,); the times of `breaks` are save times."""
    if not dynamics.breaks:
        return np.zeros(len(saves) - 1, dtype=bool)
    return np.asarray(dynamics.noise(0.5 * (saves[1:] + saves[:-1])) == 0.0)


def noise(dynamics: BaseDynamics, saves: Array) -> float | None:
    """Relative error of a cell average that no difference of levels shows; None without stretches of this kind."""
    return SHARED * RTOL if quiet_segments(dynamics, saves).any() else None

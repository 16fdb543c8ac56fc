"""Stretches without noise within a run of finite volumes: eta(t) = 0 on an interval, as with churn up to S_max only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve.characteristics import Accuracy, CellSource, transport
from fpsolve.dynamics import BaseDynamics
from fpsolve.grid import Grid

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


def noise(dynamics: BaseDynamics) -> float | None:
    """Relative error of a cell average that no difference of levels shows; None without stretches of this kind."""
    return SHARED * RTOL if dynamics.breaks else None

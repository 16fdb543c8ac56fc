"""A sampler's step on a grid as Gaussian spreads: means, standard deviations and faces for the compiled sums."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from numpy.typing import NDArray

from fpsolve.grid import Grid
from fpsolve.kernels._inverse import pulled_back
from fpsolve.kernels._spread import REACH, Spread
from fpsolve.samplers import Score, Step

Array = NDArray[np.float64]
Map = Callable[[Array], Array]


def spreads_of(step: Step, score: Score, grid: Grid, cells: Grid, *, averaging: bool) -> tuple[Spread, ...]:
    """Return the spreads that do the step from `grid` to `cells`, one after the other.

    `averaging`: the source is the cell (variance lowered, or averaged where narrow); otherwise its centre.
    """

    def shrink(x: Array) -> Array:
        return step.scale_before * x

    def whole(x: Array) -> Array:
        return step.move(score, step.scale_before * x)

    if step.std_after == 0.0 and grid.dim == 1:
        faces = pulled_back(step, score, cells.face_axes[0], grid.bounds[0], REACH * step.std_before)
        if faces is not None:
            return (_spread(shrink, step.std_before, grid, (faces,), averaging),)
    if step.std_before == 0.0:
        return (_spread(whole, step.std_after, grid, cells.face_axes, averaging),)
    noise = _spread(shrink, step.std_before, grid, grid.face_axes, averaging)
    return noise, _spread(lambda u: step.move(score, u), step.std_after, grid, cells.face_axes, averaging)


def _spread(mean: Map, std: float, grid: Grid, faces: tuple[Array, ...], averaging: bool) -> Spread:
    rows = prod(grid.shape)
    means = np.asarray(mean(grid.x), dtype=np.float64).reshape(rows, grid.dim)
    stds, widths = np.full(means.shape, std), np.zeros(means.shape)
    if averaging:
        carried = carried_square(mean, grid)
        left = std**2 - carried / 12.0
        narrow = left <= 0.0
        stds = np.where(narrow, std, np.sqrt(np.where(narrow, 1.0, left)))
        widths = np.where(narrow, np.sqrt(carried), 0.0)
    ends = tuple(np.ascontiguousarray(face) for face in faces)
    return Spread(np.ascontiguousarray(means), stds, widths, ends)


def carried_square(mean: Map, grid: Grid) -> Array:
    """Square of a cell's width after the map: ``sum_l (d m_k/d x_l)^2 h_l^2``, shape (rows, d), by differences.

    The differences between the midpoints of opposite faces are the width itself; in 2D the covariance between the axes
    that a rotating map makes of a cell is left out.
    """
    if grid.dim == 1:
        return np.square(np.diff(mean(grid.face_axes[0])))[:, None]
    total = np.zeros((*grid.shape, 2))
    for axis in range(2):
        axes = list(grid.axes)
        axes[axis] = grid.face_axes[axis]
        total += np.square(np.diff(mean(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)), axis=axis))
    return total.reshape(-1, 2)

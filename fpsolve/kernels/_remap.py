"""Steps with little or no noise on a line: a spline of the cumulative mass, moved exactly.

With F the quintic spline through the cumulative masses at the faces and H the map of the step, the cumulative mass
after the step is ``E F(H^{-1}(face - s1 Z) - s0 Z')``. It is linear in the masses, so it is a matrix whose rows sum to
one; being a spline, it has small negative entries where the density bends sharply.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve.grid import Grid
from fpsolve.kernels._inverse import pulled_back
from fpsolve.samplers import Step

Array = NDArray[np.float64]
Score = Callable[[float, Array], Array]

#: From this many cell widths of noise on the lowered variance of the ordinary kernel is accurate to 1e-8.
_WIDE = 1.0
#: Gauss-Hermite nodes of the noise: it is narrower than a cell here.
_NODES = 16
_DEGREE = 5


def wide_enough(step: Step, score: Score, grid: Grid) -> bool:
    """Whether the ordinary kernel is accurate: the noise as wide as a cell that the map has carried along."""
    h, faces = grid.spacing[0], step.scale_before * grid.face_axes[0]
    if step.std_before > 0.0:
        return bool(step.std_before >= _WIDE * step.scale_before * h)
    carried = float(np.max(np.abs(np.diff(step.move(score, faces)))))
    return bool(step.std_after >= _WIDE * max(carried, h))


def matrix(step: Step, score: Score, grid: Grid, cells: Grid) -> tuple[Array, Array]:
    """Return the matrix (cells of grid, cells of target) and, per row, the mass it takes beyond the box.

    Raises
    ------
    ValueError
        A map that is not increasing: its steps fold the line over.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES if step.std_before + step.std_after > 0.0 else 1)
    faces = cells.face_axes[0]
    after = faces[:, None] - step.std_after * nodes
    before = pulled_back(step, score, after, grid.bounds[0])
    if before is None:
        remedy = "take smaller steps, or source='cell'"
        raise _checks.error("source", "a step whose map is increasing for 'spline'", "one that folds", remedy)
    points = (before - step.std_before * nodes) / step.scale_before
    cumulative = _spline_means(grid, points, weights / weights.sum())
    # masses beyond the box go into the end cells
    beyond = cumulative[0].copy(), cumulative[-1].copy()
    cumulative[0], cumulative[-1] = 0.0, 0.0
    cumulative[-1, -1] = 1.0
    # the value at face k is the sum of the masses before it
    rows = np.cumsum(np.diff(cumulative, axis=0)[:, :0:-1], axis=1)[:, ::-1].T
    rows = np.ascontiguousarray(rows)
    lost = np.cumsum(beyond[0][:0:-1])[::-1] + 1.0 - np.cumsum(beyond[1][:0:-1])[::-1]
    return rows, np.abs(lost)


def _spline_means(grid: Grid, points: Array, weights: Array) -> Array:
    """Weighted means over the points (faces, nodes) of the splines through the unit vectors on the grid's faces."""
    from scipy.interpolate import BSpline, make_interp_spline

    faces = grid.face_axes[0]
    spline = make_interp_spline(faces, np.eye(len(faces)), k=_DEGREE)
    total = np.zeros((len(points), len(faces)))
    for node, weight in zip(points.T, weights, strict=True):
        inside = np.clip(node, faces[0], faces[-1])
        total += weight * (BSpline.design_matrix(inside, spline.t, _DEGREE) @ spline.c)
    return total

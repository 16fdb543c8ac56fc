"""FiPy: finite volumes with the exponential scheme, backward Euler with the drift at the end of the step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import _peer
import numpy as np
import problem
from fipy import CellVariable, DiffusionTerm, ExponentialConvectionTerm, FaceVariable, Grid1D, Grid2D, TransientTerm

Array = _peer.Array


def _solve(mesh: object, start: Array, drift: Callable[[float], Array], steps: int) -> Array:
    q = CellVariable(mesh=mesh, value=start)
    velocity = FaceVariable(mesh=mesh, rank=1)
    equation = TransientTerm() == DiffusionTerm(coeff=1.0) - ExponentialConvectionTerm(coeff=velocity)
    times = _peer.times(steps)
    for t, after in pairwise(times):
        values = drift(after)
        values[:, mesh.exteriorFaces.value] = 0.0
        velocity.setValue(values)
        equation.solve(var=q, dt=t - after)
    return np.array(q.value)


def line(cells: int, steps: int) -> Callable[[], Array]:
    h = (problem.BOX[1] - problem.BOX[0]) / cells
    mesh = Grid1D(nx=cells, dx=h) + (problem.BOX[0],)
    x = np.array(mesh.faceCenters[0])
    start = problem.line_averages(problem.T, cells)
    return lambda: _solve(mesh, start, lambda t: (x + 2 * problem.line_score(t, x))[None], steps)


def plane(cells: int, steps: int) -> Callable[[], Array]:
    h = (problem.BOX[1] - problem.BOX[0]) / cells
    mesh = Grid2D(nx=cells, ny=cells, dx=h, dy=h) + ((problem.BOX[0],), (problem.BOX[0],))
    x, y = np.array(mesh.faceCenters)
    # FiPy numbers cells along x first.
    start = problem.plane_averages(problem.T, cells).T.ravel()

    def drift(t: float) -> Array:
        along_x, along_y = problem.plane_score(t, x, y)
        return np.stack([x + 2 * along_x, y + 2 * along_y])

    return lambda: _solve(mesh, start, drift, steps).reshape(cells, cells).T


if __name__ == "__main__":
    _peer.main(line, plane)

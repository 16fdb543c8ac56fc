"""fplanck: the generator frozen on pieces of time, matrix exponentials in between."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import _peer
import fplanck
import numpy as np
import problem
from scipy import constants

Array = _peer.Array


def _propagate(q: Array, potential: Callable[[float], Callable[..., Array]], steps: int) -> Array:
    """Carry q through the pieces; temperature 1/k and drag 1 make the diffusivity 1 and U dimensionless."""
    cells, times = q.shape[0], _peer.times(steps)
    width = problem.BOX[1] - problem.BOX[0]
    for t, after in pairwise(times):
        piece = fplanck.fokker_planck(
            temperature=1.0 / constants.k,
            drag=1.0,
            extent=[width * (1 - 1e-9)] * q.ndim,
            resolution=width / cells,
            potential=potential(0.5 * (t + after)),
        )
        q = piece.propagate(lambda *_, q=q: q, t - after, normalize=False)
    return q


def line(cells: int, steps: int) -> Callable[[], Array]:
    def potential(t: float) -> Callable[..., Array]:
        return lambda x: -2.0 * np.log(problem.line_density(t, x)) - 0.5 * x**2

    return lambda: _propagate(problem.line_averages(problem.T, cells), potential, steps)


def plane(cells: int, steps: int) -> Callable[[], Array]:
    def potential(t: float) -> Callable[..., Array]:
        return lambda x, y: -2.0 * np.log(problem.plane_density(t, x, y)) - 0.5 * (x**2 + y**2)

    return lambda: _propagate(problem.plane_averages(problem.T, cells), potential, steps)


if __name__ == "__main__":
    _peer.main(line, plane)

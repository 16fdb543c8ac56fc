"""What finite volumes add to a small noise.

An exponentially fitted flux with the mesh Peclet number ``z = b h/D`` diffuses like ``D z/2 coth(z/2)``: the share
``f(z) = z/2 coth(z/2) - 1`` is the scheme's own. It is ``z^2/12``, second order in the cells, while z is small, and
``|z|/2``, first order as of upwind differences, once the noise is too small for the cells. Along a reverse dynamics
``z = (1 + eta^2)/eta^2 h d log p/dx``, so that cells of width h serve an eta down to about the root of h per width of
the narrowest feature.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve.dynamics import BaseDynamics
from fpsolve.grid import Grid
from fpsolve.solver import rates_at

Array = NDArray[np.float64]

#: Below this the series of f is used.
_SMALL = 1e-2


def share(z: Array) -> Array:
    """Numerical diffusion per diffusivity, ``z/2 coth(z/2) - 1``.

    Examples
    --------
    >>> share(np.array([0.0, 1.0, 100.0])).round(4).tolist()
    [0.0, 0.082, 49.0]
    """
    half = 0.5 * np.abs(z)
    safe = np.where(half > _SMALL, half, 1.0)
    return np.where(half > _SMALL, safe / np.tanh(safe) - 1.0, half**2 / 3.0)


def shares(dynamics: BaseDynamics, grid: Grid, times: Array, values: Array) -> tuple[Array, Array]:
    """Means of f(z) and f(2z) over the densities, each (starts, times): of the cells and of twice as wide ones.

    Parameters
    ----------
    dynamics : BaseDynamics
    grid : Grid
    times : array
        Without noise at one of them there is no share: 0.
    values : array, shape (starts, times, nx[, ny])
    """
    fine, coarse = np.zeros(values.shape[:2]), np.zeros(values.shape[:2])
    noisy = np.flatnonzero(np.asarray(dynamics.noise(times)) > 0.0)
    if not len(noisy):
        return fine, coarse
    at = times[noisy]
    diffusivity = np.broadcast_to(dynamics.diffusivity(at), (len(at), grid.dim))
    for axis, (up, down) in enumerate(rates_at(dynamics, grid, at)):
        # rates are D/h^2 times Ber(-z) and Ber(z), which differ by z
        unit = grid.spacing[axis] ** 2 / diffusivity[:, axis].reshape(-1, *(1,) * grid.dim)
        z = np.moveaxis((up - down) * unit, axis + 1, -1)
        inner = np.moveaxis(np.abs(values[:, noisy]), axis + 2, -1)[..., : z.shape[-1]]
        space = tuple(range(2, inner.ndim))
        mass = np.maximum(inner.sum(axis=space), np.finfo(float).tiny) * grid.dim
        fine[:, noisy] += (inner * share(z)).sum(axis=space) / mass
        coarse[:, noisy] += (inner * share(2.0 * z)).sum(axis=space) / mass
    return fine, coarse

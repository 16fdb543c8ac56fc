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

from fpsolve.evolution.march import Level
from fpsolve.evolution.plan import StepPlan

Array = NDArray[np.float64]

#: Below this the series of f is used.
_SMALL = 1e-2


def share(z: Array) -> tuple[Array, Array]:
    """Numerical diffusion per diffusivity, ``f(z) = z/2 coth(z/2) - 1``, and that of twice as wide cells, f(2z).

    The second from the first: ``2 coth(2x) = coth(x) + tanh(x)``.

    Examples
    --------
    >>> [f.round(4).tolist() for f in share(np.array([0.0, 1.0, 100.0]))]
    [[0.0, 0.082, 49.0], [0.0, 0.313, 99.0]]
    """
    half = np.abs(z)
    half *= 0.5
    steep = np.tanh(np.maximum(half, _SMALL))
    own = half / steep - 1.0
    twice = own + half * steep
    small = half <= _SMALL
    if small.any():
        own[small] = half[small] ** 2 / 3.0
        twice[small] = 4.0 * own[small]
    return own, twice


def shares(level: Level, saves: NDArray[np.int64]) -> tuple[Array, Array]:
    """Means of f(z) and f(2z) over the densities, each (starts, saves): of the cells and of twice as wide ones.

    Parameters
    ----------
    level : Level
        With the mesh Peclet numbers of the steps that end at the save times.
    saves : int array
        Which save times. Where there is no noise there is no share: 0.
    """
    fine, coarse = np.zeros((2, len(level.values), len(saves)))
    steps = last_steps(level.plan, saves)
    noisy = [k for k, step in enumerate(steps) if level.peclet[step]]
    size = np.abs(level.values[:, saves[noisy]])
    for axis in range(level.grid.dim if noisy else 0):
        z = np.stack([level.peclet[steps[k]][axis] for k in noisy])
        inner = size[(slice(None), slice(None), *(slice(n) for n in z.shape[1:]))]
        space = tuple(range(2, inner.ndim))
        mass = np.maximum(inner.sum(axis=space), np.finfo(float).tiny) * level.grid.dim
        own, twice = share(z)
        fine[:, noisy] += (inner * own).sum(axis=space) / mass
        coarse[:, noisy] += (inner * twice).sum(axis=space) / mass
    return fine, coarse


def last_steps(plan: StepPlan, saves: NDArray[np.int64]) -> list[int]:
    """The step that ends at each of some save times, the first for the start itself."""
    return [max(int(end) - 1, 0) for end in np.append(0, np.cumsum(plan.counts))[saves]]

"""The first run in a process loads compiled code, and on a new machine compiles it: done on a toy, and said if slow."""

from __future__ import annotations

from functools import cache

import numpy as np

from fpsolve import marginals
from fpsolve._compile import saying_if_compiled
from fpsolve.laws import GaussianMixture
from fpsolve.solver import advance, exponents_from_log_gibbs, jump_rates, scheme_named, step_table


@cache
def warm_up(dim: int, periodic: bool) -> None:
    """Load or compile the sweeps and densities of a dimension, on eight cells; the next call does nothing."""
    with saying_if_compiled():
        shape = (8,) * dim
        u = np.zeros((1, *shape))
        rates = [
            jump_rates(exponents_from_log_gibbs(u, k, periodic=periodic), np.ones(1))
            for k in range(dim)
        ]
        advance(np.ones((2, *shape)), rates, step_table(scheme_named("tr-bdf2"), np.ones(1)), periodic=periodic)
        axes = [np.linspace(-1.0, 1.0, 8)] * dim
        marginals.FastLaw(_toy(dim)).log_density_on_axes(*axes)


def _toy(dim: int) -> GaussianMixture:
    if dim == 1:
        return GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[1.0, 1.0])
    cov = np.array([[1.0, 0.3], [0.3, 1.0]])
    return GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], covs=[cov, cov])

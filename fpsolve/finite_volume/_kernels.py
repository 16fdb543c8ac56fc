"""Compiled Bernoulli function. Imported only when a solver runs, so that ``import fpsolve`` does not load numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve._compile import compiled

Array = NDArray[np.float64]

#: Below this |z| the Taylor series is exact to round-off and cheaper than an exponential.
SERIES_LIMIT = 0.5


@compiled(inline="always")
def bernoulli_of_positive(a: Any) -> Any:
    """``a / (e^a - 1)`` for a >= 0; 0 where e^a overflows."""
    if a < SERIES_LIMIT:
        s = a * a
        tail = s * (
            -1.0 / 720 + s * (1.0 / 30240 + s * (-1.0 / 1209600 + s * (1.0 / 47900160 - s * 5.284190138687493e-10)))
        )
        return 1.0 - 0.5 * a + s * (1.0 / 12 + tail)
    return a / (np.exp(a) - 1.0)


@compiled
def fill_rates(z: Array, rate: Array, up: Array, down: Array) -> None:
    """up = rate Ber(-z), down = rate Ber(z), both from |z| so that the small one keeps its relative accuracy."""
    for k in range(z.shape[0]):
        for i in range(z.shape[1]):
            a = abs(z[k, i])
            small = bernoulli_of_positive(a)
            big = small + a
            if z[k, i] > 0.0:
                up[k, i] = rate[k] * big
                down[k, i] = rate[k] * small
            else:
                up[k, i] = rate[k] * small
                down[k, i] = rate[k] * big

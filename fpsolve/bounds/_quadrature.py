"""Integrals over the box of a grid, and whether the box is large enough for them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Share of an integral that the cells at the ends of the box may hold.
END_SHARE = 1e-6
#: Beyond this exponent an integrand is far beyond anything that a bound could use.
_HUGE = 300.0


def exp_or_inf(exponent: Array) -> Array:
    """``exp``, held at e^300 where it would overflow: an integral that meets it fails its check at the ends."""
    return np.asarray(np.exp(np.minimum(exponent, _HUGE)))


def end_share(values: Array) -> float:
    """1e-6 less the share of the integral of |values| that the cells at the ends of the box hold.

    Negative where the integrand has not decayed: the integral over the whole space is then larger, perhaps infinite.
    """
    size = np.abs(values)
    total = float(size.sum())
    inner = size[tuple(slice(1, -1) for _ in range(size.ndim))]
    return END_SHARE - (total - float(inner.sum())) / total if total > 0.0 else END_SHARE

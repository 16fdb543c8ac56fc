"""Divergence of a vector field that is known by its values only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Central difference of the first derivative, sixth order: offsets 1, 2, 3 with opposite signs on the other side.
_COEFFICIENTS = (3.0 / 4.0, -3.0 / 20.0, 1.0 / 60.0)


def central_divergence(field: Callable[[Array], Array], x: Array, step: float) -> Array:
    """Return ``sum_k d f_k/d x_k`` at points (n, d), error ``step^6 f^(7)/140`` and rounding of ``eps f/step``.

    Parameters
    ----------
    field : callable
        Points (n, d) in, vectors (n, d) out.
    x : array, shape (n, d)
    step : float

    Examples
    --------
    >>> central_divergence(lambda x: x**2, np.array([[1.0, 2.0]]), 0.01).round(9)
    array([6.])
    """
    total = np.zeros(len(x))
    for axis in range(x.shape[1]):
        shift = np.zeros(x.shape[1])
        for k, coefficient in enumerate(_COEFFICIENTS, start=1):
            shift[axis] = k * step
            total += coefficient * (field(x + shift)[:, axis] - field(x - shift)[:, axis])
    return total / step

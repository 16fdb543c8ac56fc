"""Compiled distances of rows of the exact kernel of a Gaussian mixture on the line."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fpsolve._compile import compiled

Array = NDArray[np.float64]

#: Components whose share is below exp(-this) of the largest are left out of a row.
_DEEPEST = 40.0


@compiled
def _log_shares(numbers: Array, at: float, out: Array) -> float:
    """``log w_k N(at; alpha M_k, S_k)`` into `out`, without the constant; returns the logarithm of their sum."""
    top = -np.inf
    for k in range(out.size):
        gap = at - numbers[1, k]
        out[k] = numbers[0, k] - 0.5 * gap * gap / numbers[2, k]
        top = max(top, out[k])
    total = 0.0
    for k in range(out.size):
        if out[k] > top - _DEEPEST:
            total += math.exp(out[k] - top)
    return top + math.log(total)


@compiled
def _below(numbers: Array, at: float, crossing: float, terms: Array, log_sum: float) -> float:
    """The mass of the row from `at` below `crossing`."""
    total = 0.0
    for k in range(terms.size):
        depth = terms[k] - log_sum
        if depth > -_DEEPEST:
            far = (crossing - numbers[3, k] * at - numbers[4, k]) / numbers[5, k]
            total += math.exp(depth) * 0.5 * math.erfc(-far * math.sqrt(0.5))
    return total


@compiled
def distances(numbers: Array, alpha: float, s: float, x: Array, y: Array) -> Array:
    """``TV(P(x, .), P(y, .))`` for pairs x < y, arrays of shape (n,).

    The rows cross once, where ``alpha z (x - y)/s - (x^2 - y^2)/(2 s) = log p(x) - log p(y)``, p that of the start.

    Parameters
    ----------
    numbers : array, shape (6, components)
        ``log w_k - 1/2 log S_k, alpha M_k, S_k``, gains, offsets, standard deviations.
    """
    out = np.empty(x.size)
    first, second = np.empty(numbers.shape[1]), np.empty(numbers.shape[1])
    for n in range(x.size):
        log_x, log_y = _log_shares(numbers, x[n], first), _log_shares(numbers, y[n], second)
        crossing = (0.5 * (x[n] + y[n]) + s * (log_x - log_y) / (x[n] - y[n])) / alpha
        gap = _below(numbers, x[n], crossing, first, log_x) - _below(numbers, y[n], crossing, second, log_y)
        out[n] = min(max(gap, 0.0), 1.0)
    return out

"""Compiled sweeps for functions: solves with the transposed matrix ``(I - c A)^T``, A the generator of a line.

Where `lines` moves densities forwards, these move functions backwards (backward Kolmogorov equation). The transposed
matrix has the same pivots, with ``up`` and ``down`` exchanged in the eliminations:

    (A^T f)_i = up_i (f_{i+1} - f_i) + down_{i-1} (f_{i-1} - f_i).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve._compile import compiled
from fpsolve.sweeps.lines import blend

Array = NDArray[np.float64]


@compiled
def _pivots(up: Array, down: Array, c: float, inverse: Array) -> None:
    """Inverse pivots of ``I - c A``, one line per column; up, down have the shape (cells - 1, lines)."""
    n, lines = inverse.shape
    for j in range(lines):
        inverse[0, j] = 1.0 / (1.0 + c * up[0, j])
    for i in range(1, n):
        for j in range(lines):
            out = up[i, j] if i < n - 1 else 0.0
            lost = c * c * up[i - 1, j] * down[i - 1, j] * inverse[i - 1, j]
            inverse[i, j] = 1.0 / (1.0 + c * (out + down[i - 1, j]) - lost)


@compiled
def _solve(up: Array, down: Array, c: float, inverse: Array, f: Array, out: Array) -> None:
    """out = (I - c A)^{-T} f; f has one column per line, or several that share one line; out may be f."""
    n, columns = f.shape
    shared = inverse.shape[1] == 1
    for k in range(columns):
        out[0, k] = f[0, k] * inverse[0, 0 if shared else k]
    for i in range(1, n):
        for k in range(columns):
            j = 0 if shared else k
            out[i, k] = (f[i, k] + c * down[i - 1, j] * out[i - 1, k]) * inverse[i, j]
    for i in range(n - 2, -1, -1):
        for k in range(columns):
            j = 0 if shared else k
            out[i, k] += c * up[i, j] * inverse[i, j] * out[i + 1, k]


@compiled
def retreat_open(f: Array, up: Array, down: Array, c: float, mix: float, solves: int) -> None:
    """Apply the transposed one-step scheme to functions on open (no-flux) lines, in place.

    Parameters
    ----------
    f : array, shape (cells, columns)
    up, down : arrays, shape (cells - 1, lines)
        One line for all columns, or one line per column.
    c : float
        ``pole * dt``.
    mix, solves
        As in `fpsolve.stepping.schemes.Scheme`; the factors of a step commute, so their order does not matter.
    """
    inverse, m = np.empty((f.shape[0], up.shape[1])), np.empty_like(f)
    _pivots(up, down, c, inverse)
    _solve(up, down, c, inverse, f, m)
    blend(f, m, mix, f)
    if solves == 2:
        _solve(up, down, c, inverse, f, f)

"""Compiled line sweeps over a plane: all lines along x at once, or line after line along y.

State arrays have the shape (starts, nx, ny). A sweep replaces every line q by the one-step scheme applied to it, with
the rates of that line. Along x the inner loop runs over y and is contiguous; along y each line is contiguous.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fpsolve.sweeps.lines import advance_open, advance_ring

Array = NDArray[np.float64]


@njit(cache=True, error_model="numpy")
def _factorise_x(up: Array, down: Array, c: float, inverse: Array, ratio: Array) -> None:
    nx, ny = inverse.shape
    for j in range(ny):
        inverse[0, j] = 1.0 / (1.0 + c * up[0, j])
    for i in range(1, nx - 1):
        for j in range(ny):
            ratio[i - 1, j] = c * down[i - 1, j] * inverse[i - 1, j]
            inverse[i, j] = 1.0 / (1.0 + c * (up[i, j] + down[i - 1, j]) - c * up[i - 1, j] * ratio[i - 1, j])
    i = nx - 1
    for j in range(ny):
        ratio[i - 1, j] = c * down[i - 1, j] * inverse[i - 1, j]
        inverse[i, j] = 1.0 / (1.0 + c * down[i - 1, j] - c * up[i - 1, j] * ratio[i - 1, j])


@njit(cache=True, error_model="numpy")
def _substitute_x(up: Array, c: float, inverse: Array, ratio: Array, q: Array, m: Array) -> None:
    nx, ny = q.shape
    for j in range(ny):
        m[0, j] = q[0, j] * inverse[0, j]
    for i in range(1, nx):
        for j in range(ny):
            m[i, j] = (q[i, j] + c * up[i - 1, j] * m[i - 1, j]) * inverse[i, j]
    for i in range(nx - 2, -1, -1):
        for j in range(ny):
            m[i, j] += ratio[i, j] * m[i + 1, j]


@njit(cache=True, error_model="numpy")
def sweep_x(
    q: Array,
    up: Array,
    down: Array,
    c: float,
    mix: float,
    solves: int,
    inverse: Array,
    ratio: Array,
    m: Array,
) -> None:
    """One step of the scheme along x for every start and every y, in place; up, down: (nx - 1, ny)."""
    _factorise_x(up, down, c, inverse, ratio)
    nx, ny = inverse.shape
    for k in range(q.shape[0]):
        _substitute_x(up, c, inverse, ratio, q[k], m)
        for i in range(nx):
            for j in range(ny):
                q[k, i, j] += mix * (m[i, j] - q[k, i, j])
        if solves == 2:
            _substitute_x(up, c, inverse, ratio, q[k], q[k])


@njit(cache=True, error_model="numpy")
def sweep_lines(q: Array, up: Array, down: Array, c: float, mix: float, solves: int, ring: bool) -> None:
    """One step along the last axis, line by line, in place; q (starts, lines, n), up, down (lines, faces)."""
    starts, lines, n = q.shape
    buffer = np.empty((n, starts))
    cs, mixes, counts = np.array([c]), np.array([mix]), np.array([solves])
    for i in range(lines):
        for k in range(starts):
            for j in range(n):
                buffer[j, k] = q[k, i, j]
        if ring:
            advance_ring(buffer, up[i : i + 1], down[i : i + 1], cs, mixes, counts)
        else:
            advance_open(buffer, up[i : i + 1], down[i : i + 1], cs, mixes, counts)
        for k in range(starts):
            for j in range(n):
                q[k, i, j] = buffer[j, k]

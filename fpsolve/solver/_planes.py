"""Compiled line sweeps over a plane: all lines along x at once, or line after line along y.

State arrays have the shape (starts, nx, ny). A sweep replaces every line q by the one-step scheme applied to it, with
the rates of that line. Along x the inner loop runs over y and vectorises; along y blocks of lines are turned in cache
first, so that the same loops serve (4 ns per cell instead of 13 line by line).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve._compile import compiled
from fpsolve.solver._lines import advance_ring

Array = NDArray[np.float64]


@compiled
def factorise_x(up: Array, down: Array, c: float, inverse: Array, ratio: Array, first: int, last: int) -> None:
    """Inverse pivots and elimination ratios of the lines along x with the numbers first to last - 1."""
    nx = inverse.shape[0]
    for j in range(first, last):
        inverse[0, j] = 1.0 / (1.0 + c * up[0, j])
    for i in range(1, nx):
        for j in range(first, last):
            out = up[i, j] if i < nx - 1 else 0.0
            ratio[i - 1, j] = c * down[i - 1, j] * inverse[i - 1, j]
            inverse[i, j] = 1.0 / (1.0 + c * (out + down[i - 1, j]) - c * up[i - 1, j] * ratio[i - 1, j])


@compiled
def _substitute_x(up: Array, c: float, inverse: Array, ratio: Array, q: Array, m: Array, first: int, last: int) -> None:
    nx = q.shape[0]
    for j in range(first, last):
        m[0, j] = q[0, j] * inverse[0, j]
    for i in range(1, nx):
        for j in range(first, last):
            m[i, j] = (q[i, j] + c * up[i - 1, j] * m[i - 1, j]) * inverse[i, j]
    for i in range(nx - 2, -1, -1):
        for j in range(first, last):
            m[i, j] += ratio[i, j] * m[i + 1, j]


@compiled
def sweep_x(
    q: Array,
    up: Array,
    c: float,
    mix: float,
    solves: int,
    room: tuple[Array, Array, Array],
    first: int,
    last: int,
) -> None:
    """One step of the scheme along x for every start and the y first to last - 1, in place; up: (nx - 1, ny).

    `room` is (inverse, ratio), those of `factorise_x`, and an array of their shape.
    """
    inverse, ratio, m = room
    for k in range(q.shape[0]):
        _substitute_x(up, c, inverse, ratio, q[k], m, first, last)
        for i in range(q.shape[1]):
            for j in range(first, last):
                q[k, i, j] += mix * (m[i, j] - q[k, i, j])
        if solves == 2:
            _substitute_x(up, c, inverse, ratio, q[k], q[k], first, last)


#: Lines along y swept together: enough for the vector units, few enough for the first-level cache.
BLOCK = 8


@compiled
def _turn(block: Array, lines: Array, first: int, width: int) -> None:
    """block[j, k] = lines[first + k, j]; columns beyond `width` repeat the last line and are never read back."""
    for k in range(block.shape[1]):
        line = lines[first + min(k, width - 1)]
        for j in range(block.shape[0]):
            block[j, k] = line[j]


@compiled
def sweep_y(q: Array, up: Array, down: Array, c: float, mix: float, solves: int, begin: int, end: int) -> None:
    """One step of the scheme along y for every start and the x begin to end - 1, in place; up, down: (nx, ny - 1)."""
    starts, ny = q.shape[0], q.shape[2]
    up_b, down_b = np.empty((ny - 1, BLOCK)), np.empty((ny - 1, BLOCK))
    inverse, ratio, state, m = (
        np.empty((ny, BLOCK)),
        np.empty((ny, BLOCK)),
        np.empty((ny, BLOCK)),
        np.empty((ny, BLOCK)),
    )
    for first in range(begin, end, BLOCK):
        width = min(BLOCK, end - first)
        _turn(up_b, up, first, width)
        _turn(down_b, down, first, width)
        factorise_x(up_b, down_b, c, inverse, ratio, 0, BLOCK)
        for s in range(starts):
            _turn(state, q[s], first, width)
            _substitute_x(up_b, c, inverse, ratio, state, m, 0, BLOCK)
            for j in range(ny):
                for k in range(BLOCK):
                    state[j, k] += mix * (m[j, k] - state[j, k])
            if solves == 2:
                _substitute_x(up_b, c, inverse, ratio, state, state, 0, BLOCK)
            for k in range(width):
                for j in range(ny):
                    q[s, first + k, j] = state[j, k]


@compiled
def sweep_rings(q: Array, up: Array, down: Array, c: float, mix: float, solves: int, first: int, last: int) -> None:
    """One step along the last axis on closed lines, one by one, in place; q (starts, lines, n), up, down (lines, n)."""
    starts, n = q.shape[0], q.shape[2]
    buffer = np.empty((n, starts))
    cs, mixes, counts, ends = np.array([c]), np.array([mix]), np.array([solves]), np.empty(0, np.int64)
    for i in range(first, last):
        for k in range(starts):
            for j in range(n):
                buffer[j, k] = q[k, i, j]
        advance_ring(buffer, up[i : i + 1], down[i : i + 1], cs, mixes, counts, ends)
        for k in range(starts):
            for j in range(n):
                q[k, i, j] = buffer[j, k]

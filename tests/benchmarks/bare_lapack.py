"""LAPACK's `dgtsv`, called from compiled code so that no Python call is part of what is measured.

`dgtsv` overwrites its matrix and its right-hand sides, so each call is preceded by a copy; the copies are timed on
their own and taken off.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

import numpy as np
from numba import njit
from numba.extending import get_cython_function_address
from numpy.typing import NDArray
from scipy.linalg.lapack import dgtsv as dgtsv_from_python

Array = NDArray[np.float64]

_SIGNATURE = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 8)
_dgtsv = _SIGNATURE(get_cython_function_address("scipy.linalg.cython_lapack", "dgtsv"))


@njit(error_model="numpy")
def _solve(matrix: Array, right: Array, work: Array, out: Array, sizes: NDArray[np.int32], call: bool) -> None:
    """Copy bands and right-hand sides, then solve every line with dgtsv (unless `call` is False).

    matrix (lines, 3, n): lower, diagonal, upper; right, out (lines, rhs, n); work (3, n); sizes (n, rhs, info).
    """
    for line in range(matrix.shape[0]):
        for i in range(matrix.shape[2]):
            work[0, i] = matrix[line, 0, i]
            work[1, i] = matrix[line, 1, i]
            work[2, i] = matrix[line, 2, i]
        for k in range(right.shape[1]):
            for i in range(right.shape[2]):
                out[line, k, i] = right[line, k, i]
        if call:
            n, rhs = sizes[0:].ctypes, sizes[1:].ctypes
            bands = work[0].ctypes, work[1].ctypes, work[2].ctypes
            _dgtsv(n, rhs, bands[0], bands[1], bands[2], out[line].ctypes, n, sizes[2:].ctypes)


def seconds(matrix: Array, right: Array, *, repeats: int) -> float:
    """Least CPU time of solving all lines once, copies taken off.

    Parameters
    ----------
    matrix : array, shape (lines, 3, n)
        Lower diagonal, diagonal, upper diagonal of each line.
    right : array, shape (lines, rhs, n)
    repeats : int
    """
    n = matrix.shape[2]
    work, out, sizes = np.empty((3, n)), np.empty_like(right), np.array([n, right.shape[1], 0], dtype=np.int32)
    _solve(matrix, right, work, out, sizes, True)
    if sizes[2] != 0 or not np.allclose(_residual(matrix, right, out), 0.0, atol=1e-10):
        raise RuntimeError(f"dgtsv: expected a solution, got info = {sizes[2]} or a large residual.")
    with_call = _least(lambda: _solve(matrix, right, work, out, sizes, True), repeats)
    return with_call - _least(lambda: _solve(matrix, right, work, out, sizes, False), repeats)


def seconds_from_python(matrix: Array, right: Array, *, repeats: int) -> float:
    """Least CPU time of the same solves by `scipy.linalg.lapack.dgtsv`, one Python call per line."""

    def solve() -> None:
        for (lower, diagonal, upper), b in zip(matrix, right, strict=True):
            dgtsv_from_python(lower[:-1], diagonal, upper[:-1], b.T)

    return _least(solve, repeats)


def _residual(matrix: Array, right: Array, out: Array) -> Array:
    lower, diagonal, upper = matrix[:, None, 0], matrix[:, None, 1], matrix[:, None, 2]
    product = diagonal * out
    product[..., 1:] += lower[..., :-1] * out[..., :-1]
    product[..., :-1] += upper[..., :-1] * out[..., 1:]
    return np.asarray((product - right) / np.abs(product).max())


def _least(function: Callable[[], None], repeats: int) -> float:
    best = np.inf
    for _ in range(repeats):
        began = time.process_time()
        function()
        best = min(best, time.process_time() - began)
    return best


def crank_nicolson_lines(up: Array, down: Array, dt: float) -> Array:
    """Bands of ``I - dt/2 A`` for lines with jump rates (lines, n - 1): lower, diagonal, upper, padded to n."""
    lines, n = up.shape[0], up.shape[1] + 1
    bands = np.zeros((lines, 3, n))
    bands[:, 0, :-1] = -0.5 * dt * up
    bands[:, 2, :-1] = -0.5 * dt * down
    bands[:, 1] = 1.0
    bands[:, 1, :-1] += 0.5 * dt * up
    bands[:, 1, 1:] += 0.5 * dt * down
    return bands

"""Compiled Thomas sweeps for birth-death generators on one line, open or periodic, several right-hand sides at once.

The matrix of a line is ``I - c A`` with ``(A q)_i = up_{i-1} q_{i-1} + down_i q_{i+1} - (up_i + down_{i-1}) q_i``. Its
columns are diagonally dominant for every c > 0, so elimination needs no pivoting (Higham 2002, section 9.5,
doi:10.1137/1.9780898718027). State arrays have the shape (cells, right-hand sides): the inner loop is contiguous.

Functions move backwards (backward Kolmogorov equation) by solves with the transposed matrix ``(I - c A)^T``, which has
the same pivots, with ``up`` and ``down`` exchanged in the eliminations:

    (A^T f)_i = up_i (f_{i+1} - f_i) + down_{i-1} (f_{i-1} - f_i).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve._compile import compiled

Array = NDArray[np.float64]


@compiled
def factorise(up: Array, down: Array, c: float, inverse: Array, ratio: Array) -> None:
    """Inverse pivots and elimination ratios ``c down_i / pivot_i`` of ``I - c A`` on an open line."""
    n = inverse.shape[0]
    inverse[0] = 1.0 / (1.0 + c * up[0])
    for i in range(1, n):
        ratio[i - 1] = c * down[i - 1] * inverse[i - 1]
        out = up[i] if i < n - 1 else 0.0
        inverse[i] = 1.0 / (1.0 + c * (out + down[i - 1]) - c * up[i - 1] * ratio[i - 1])


@compiled
def substitute(up: Array, c: float, inverse: Array, ratio: Array, q: Array, out: Array) -> None:
    """out = (I - c A)^{-1} q for every column, with the factors of `factorise`; out may be q."""
    n, columns = q.shape
    for k in range(columns):
        out[0, k] = q[0, k] * inverse[0]
    for i in range(1, n):
        weight = c * up[i - 1]
        for k in range(columns):
            out[i, k] = (q[i, k] + weight * out[i - 1, k]) * inverse[i]
    for i in range(n - 2, -1, -1):
        for k in range(columns):
            out[i, k] += ratio[i] * out[i + 1, k]


@compiled
def blend(q: Array, m: Array, mix: float, out: Array) -> None:
    """out = q + mix (m - q)."""
    for i in range(q.shape[0]):
        for k in range(q.shape[1]):
            out[i, k] = q[i, k] + mix * (m[i, k] - q[i, k])


@compiled
def _keep(q: Array, kept: Array) -> None:
    """Kept = the transpose of q, written out: an assigned array compiles six seconds longer, for its error message."""
    for k in range(q.shape[1]):
        for i in range(q.shape[0]):
            kept[k, i] = q[i, k]


@compiled
def advance_open(
    q: Array, up: Array, down: Array, c: Array, mix: Array, solves: NDArray[np.int64], ends: NDArray[np.int64]
) -> Array:
    """Advance q (cells, columns) in place over ``len(c)`` steps on an open (no-flux) line.

    Parameters
    ----------
    q : array, shape (cells, columns)
    up, down : arrays, shape (steps, cells - 1)
    c : array, shape (steps,)
        ``pole * dt`` of each step.
    mix, solves : arrays, shape (steps,)
        As in `fpsolve.solver._steps.Scheme`.
    ends : array, shape (kept,)
        Numbers of steps after which q is kept, increasing.

    Returns
    -------
    array, shape (kept, columns, cells)
    """
    n = q.shape[0]
    inverse, ratio, m = np.empty(n), np.empty(n), np.empty_like(q)
    kept, k = np.empty((len(ends), q.shape[1], n)), 0
    for s in range(c.shape[0]):
        factorise(up[s], down[s], c[s], inverse, ratio)
        substitute(up[s], c[s], inverse, ratio, q, m)
        blend(q, m, mix[s], q)
        if solves[s] == 2:
            substitute(up[s], c[s], inverse, ratio, q, q)
        while k < len(ends) and ends[k] == s + 1:
            _keep(q, kept[k])
            k += 1
    return kept


@compiled
def factorise_ring(up: Array, down: Array, c: float, inverse: Array, ratio: Array, spike: Array) -> None:
    """Factors of ``I - c A`` on a closed line (the last face joins the last cell to the first).

    The two corner entries are split off as a rank-one update (Sherman-Morrison): ``M = B + u v^T`` with
    u = (g, 0, ..., -c down_last), v = (1, 0, ..., -c up_last / g) and g = -(M_00). `spike` becomes B^{-1} u.
    """
    n = inverse.shape[0]
    g = -(1.0 + c * (up[0] + down[n - 1]))
    for i in range(n):
        before = down[i - 1] if i > 0 else down[n - 1]
        pivot = 1.0 + c * (up[i] + before)
        if i == 0:
            pivot -= g
        if i == n - 1:
            pivot -= c * up[n - 1] * c * down[n - 1] / g
        if i > 0:
            ratio[i - 1] = c * down[i - 1] * inverse[i - 1]
            pivot -= c * up[i - 1] * ratio[i - 1]
        inverse[i] = 1.0 / pivot
    spike[:, 0] = 0.0
    spike[0, 0] = g
    spike[n - 1, 0] = -c * down[n - 1]
    substitute(up, c, inverse, ratio, spike, spike)


@compiled
def substitute_ring(
    up: Array, down: Array, c: float, inverse: Array, ratio: Array, spike: Array, q: Array, out: Array
) -> None:
    """out = (I - c A)^{-1} q on a closed line, with the factors of `factorise_ring`; out may be q."""
    n, columns = q.shape
    g = -(1.0 + c * (up[0] + down[n - 1]))
    corner = -c * up[n - 1] / g
    substitute(up, c, inverse, ratio, q, out)
    denominator = 1.0 + spike[0, 0] + corner * spike[n - 1, 0]
    for k in range(columns):
        factor = (out[0, k] + corner * out[n - 1, k]) / denominator
        for i in range(n):
            out[i, k] -= factor * spike[i, 0]


@compiled
def advance_ring(
    q: Array, up: Array, down: Array, c: Array, mix: Array, solves: NDArray[np.int64], ends: NDArray[np.int64]
) -> Array:
    """Like `advance_open` on a closed line; up, down have the shape (steps, cells)."""
    n = q.shape[0]
    inverse, ratio, m, spike = np.empty(n), np.empty(n), np.empty_like(q), np.empty((n, 1))
    kept, k = np.empty((len(ends), q.shape[1], n)), 0
    for s in range(c.shape[0]):
        factorise_ring(up[s], down[s], c[s], inverse, ratio, spike)
        substitute_ring(up[s], down[s], c[s], inverse, ratio, spike, q, m)
        blend(q, m, mix[s], q)
        if solves[s] == 2:
            substitute_ring(up[s], down[s], c[s], inverse, ratio, spike, q, q)
        while k < len(ends) and ends[k] == s + 1:
            _keep(q, kept[k])
            k += 1
    return kept


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
        As in `fpsolve.solver._steps.Scheme`; the factors of a step commute, so their order does not matter.
    """
    inverse, m = np.empty((f.shape[0], up.shape[1])), np.empty_like(f)
    _pivots(up, down, c, inverse)
    _solve(up, down, c, inverse, f, m)
    blend(f, m, mix, f)
    if solves == 2:
        _solve(up, down, c, inverse, f, f)

"""Compiled rows of the exact kernel: a prior on nodes times a Gaussian likelihood, integrated cell by cell."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fpsolve._compile import compiled

Array = NDArray[np.float64]

#: Terms below exp(-this) of the largest of a row are left out.
DEEPEST = 200.0


@compiled
def line(log_prior: Array, x: Array, share: Array, y: Array, alpha: float, variance: float, out: Array) -> Array:
    """Rows on a line; returns the logarithm of every row's sum before it is normalised.

    Parameters
    ----------
    log_prior, x : arrays, shape (cells * nodes,)
        log p_{t1} at the nodes, in the order of the cells.
    share : array, shape (nodes,)
        Quadrature weights of a cell (they sum to its length).
    y : array, shape (rows,)
        Where the likelihood N(y; alpha x, variance) is taken.
    out : array, shape (rows, cells)
        Probabilities; every row is divided by its sum.
    """
    nodes, cells = share.size, out.shape[1]
    log_sums, terms = np.empty(y.size), np.empty(x.size)
    log_peak = -0.5 * math.log(2.0 * math.pi * variance)
    for i in range(y.size):
        top = -np.inf
        for a in range(x.size):
            gap = y[i] - alpha * x[a]
            terms[a] = log_prior[a] - 0.5 * gap * gap / variance
            top = max(top, terms[a])
        total = 0.0
        for j in range(cells):
            mass = 0.0
            for k in range(nodes):
                depth = terms[j * nodes + k] - top
                if depth > -DEEPEST:
                    mass += share[k] * math.exp(depth)
            out[i, j] = mass
            total += mass
        for j in range(cells):
            out[i, j] /= total
        log_sums[i] = top + math.log(total) + log_peak
    return log_sums


@compiled
def plane(
    log_prior: Array, axes: tuple[Array, Array], shares: tuple[Array, Array], y: Array, alpha: float, variance: Array,
    out: Array,
) -> Array:  # fmt: skip
    """Rows in the plane, like `line`; log_prior (nx * nodes, ny * nodes), y (rows, 2), out (rows, nx, ny)."""
    mx, my = shares[0].size, shares[1].size
    rows, nx, ny = out.shape
    log_sums, terms = np.empty(rows), np.empty_like(log_prior)
    log_peak = -math.log(2.0 * math.pi) - 0.5 * math.log(variance[0] * variance[1])
    along = np.empty(my * ny)
    for i in range(rows):
        for b in range(my * ny):
            gap = y[i, 1] - alpha * axes[1][b]
            along[b] = -0.5 * gap * gap / variance[1]
        top = -np.inf
        for a in range(mx * nx):
            gap = y[i, 0] - alpha * axes[0][a]
            here = -0.5 * gap * gap / variance[0]
            for b in range(my * ny):
                terms[a, b] = log_prior[a, b] + here + along[b]
                top = max(top, terms[a, b])
        total = 0.0
        for jx in range(nx):
            for jy in range(ny):
                mass = 0.0
                for k in range(mx):
                    for m in range(my):
                        depth = terms[jx * mx + k, jy * my + m] - top
                        if depth > -DEEPEST:
                            mass += shares[0][k] * shares[1][m] * math.exp(depth)
                out[i, jx, jy] = mass
                total += mass
        out[i] /= total
        log_sums[i] = top + math.log(total) + log_peak
    return log_sums

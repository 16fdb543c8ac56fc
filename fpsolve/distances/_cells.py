"""Integrals of V |s| over single cells, s a polynomial, split where s changes sign."""

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import FloatArray

__all__ = ["NODES", "Locate", "absolute_in_cells", "bracketed_roots", "gauss", "polynomial", "unit_roots"]

#: Gauss-Legendre nodes per piece: exact for a quartic times a weight of degree 7.
NODES = 6

#: V at the inner positions u (p, NODES) of the cells named by the index (p,), shape (p, NODES).
Locate: TypeAlias = Callable[[NDArray[np.intp], FloatArray], FloatArray]

# Newton steps inside a bracket: quadratic convergence from at worst a few bisections
_STEPS = 40
# a root off by this (in cells) changes an integral by its square
_ROOT_TOLERANCE = 1e-11


@cache
def gauss(nodes: int = NODES) -> tuple[FloatArray, FloatArray]:
    """Return Gauss-Legendre nodes and weights on [0, 1]."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return 0.5 * (points + 1.0), 0.5 * weights


def polynomial(powers: FloatArray, u: FloatArray) -> FloatArray:
    """Return ``sum_k powers[..., k] u^k`` for u of shape (..., m)."""
    value = powers[..., -1:] + np.zeros_like(u)
    for k in range(powers.shape[-1] - 2, -1, -1):
        value = value * u + powers[..., k : k + 1]
    return value


def unit_roots(powers: FloatArray) -> FloatArray:
    """Return the roots in (0, 1) where polynomials change sign, shape (m, degree), sorted, padded with 1.

    Between two neighbouring turning points, the roots of the derivative, a polynomial is monotone and has
    at most one root; so the degree is climbed from 1 upwards, with a bracketed Newton search in each gap.
    """
    count, degree = powers.shape[0], powers.shape[1] - 1
    if degree == 0:
        return np.ones((count, 0))
    turning = unit_roots(powers[:, 1:] * np.arange(1.0, degree + 1))
    edges = np.concatenate([np.zeros((count, 1)), turning, np.ones((count, 1))], axis=1)
    signs = np.sign(polynomial(powers, edges))
    row, gap = np.nonzero(signs[:, :-1] * signs[:, 1:] < 0.0)
    roots = np.ones((count, degree))
    roots[row, gap] = bracketed_roots(powers[row], edges[row, gap], edges[row, gap + 1], signs[row, gap])
    return np.sort(roots, axis=1)


def absolute_in_cells(powers: FloatArray, locate: Locate, breaks: FloatArray | None = None) -> FloatArray:
    """Return ``int_0^1 V |s| du`` for many cells at once.

    Parameters
    ----------
    powers : array, shape (m, degree + 1)
        The polynomial s of every cell in powers of u.
    locate : callable
        V at given places, see `Locate`.
    breaks : array, shape (m, k), optional
        Further places in [0, 1] where pieces begin, such as kinks of V.

    Returns
    -------
    array, shape (m,)
    """
    count = powers.shape[0]
    inner = [unit_roots(powers)] if breaks is None else [unit_roots(powers), breaks]
    edges = np.concatenate([np.zeros((count, 1)), *inner, np.ones((count, 1))], axis=1)
    edges.sort(axis=1)
    lengths = np.diff(edges, axis=1)
    cell, piece = np.nonzero(lengths > 0.0)
    start, length = edges[cell, piece], lengths[cell, piece]
    nodes, weights = gauss()
    u = start[:, None] + length[:, None] * nodes
    signed = (locate(cell, u) * polynomial(powers[cell], u)) @ weights
    return np.bincount(cell, weights=length * np.abs(signed), minlength=count).astype(float)


def bracketed_roots(powers: FloatArray, low: FloatArray, high: FloatArray, sign_low: FloatArray) -> FloatArray:
    """Newton's iteration kept inside [low, high], where each polynomial has exactly one root."""
    # columns lie together: every step runs through all polynomials
    columns = np.ascontiguousarray(powers.T)
    root = 0.5 * (low + high)
    found, open_ = root.copy(), np.arange(root.size)
    for _ in range(_STEPS):
        value, steepness = _value_and_slope(columns, root)
        below = np.sign(value) == sign_low
        low, high = np.where(below, root, low), np.where(below, high, root)
        step = np.divide(value, steepness, out=np.full_like(value, 2.0), where=np.abs(steepness) > np.abs(value))
        newton = root - step
        # a root found already sits on an end of its bracket, and rounding must not throw it out
        inside = (newton >= low - _ROOT_TOLERANCE) & (newton <= high + _ROOT_TOLERANCE)
        following = np.where(inside, np.clip(newton, low, high), 0.5 * (low + high))
        going = np.abs(following - root) >= _ROOT_TOLERANCE
        found[open_] = following
        if not going.any():
            break
        open_, columns = open_[going], columns[:, going]
        root, low, high, sign_low = (part[going] for part in (following, low, high, sign_low))
    return found


def _value_and_slope(columns: FloatArray, u: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return polynomials, coefficients along the first axis, and their derivatives at one place each."""
    value, slope = columns[-1], np.zeros_like(u)
    for column in columns[-2::-1]:
        slope = slope * u + value
        value = value * u + column
    return value, slope

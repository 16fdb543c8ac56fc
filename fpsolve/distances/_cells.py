"""Integrals of the absolute value and of squares of a polynomial over cells.

Integrals of V |s| over single cells, s a polynomial, split where s changes sign.

Integrals of V |s| over single squares, s a tensor-product polynomial, split along the curve s = 0.

Where s is monotone in one direction over the square, ``s = 0`` is a graph over the other. The inner integral
along the monotone direction is then split at the root and the outer one where the graph leaves the square,
so that Gauss-Legendre quadrature sees smooth functions only (Saye 2015, doi:10.1137/140966290, in 2D).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import FloatArray

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


#: V at inner positions u, v (both (p, NODES)) of the squares named by the index (p,), shape (p, NODES).
LocateSquare: TypeAlias = Callable[[NDArray[np.intp], FloatArray, FloatArray], FloatArray]

#: Nodes of the outer rule and of the one it is compared with.
OUTER = (4, 3)


@dataclass(frozen=True, eq=False)
class Squares:
    """Polynomials on the unit square, with the direction of the inner integral turned to the second axis.

    Attributes
    ----------
    powers : array, shape (m, degree + 1, degree + 1)
        Coefficients of ``u^a v^b``.
    turned : bool array, shape (m,)
        Where the axes were exchanged.
    """

    powers: FloatArray
    turned: NDArray[np.bool_]

    @classmethod
    def oriented(cls, powers: FloatArray, bernstein: FloatArray) -> "Squares":
        """Turn each polynomial so that it is monotone along its second axis, if it is along any."""
        turned = _steepness(bernstein, 1) > _steepness(bernstein, 2)
        return cls(np.where(turned[:, None, None], powers.swapaxes(1, 2), powers), turned)


def absolute_in_squares(squares: Squares, locate: LocateSquare, outer: int) -> FloatArray:
    """Return ``int_0^1 int_0^1 V |s| du dv`` of many squares, shape (m,), with `outer` nodes per outer piece."""
    edges = _outer_edges(squares.powers)
    lengths = np.diff(edges, axis=1)
    square, piece = np.nonzero(lengths > 0.0)
    start, length = edges[square, piece], lengths[square, piece]
    nodes, weights = gauss(outer)
    across = start[:, None] + length[:, None] * nodes
    exponents = np.arange(squares.powers.shape[1])
    lines = np.einsum("pga,pab->pgb", across[..., None] ** exponents, squares.powers[square])
    owner, position = np.repeat(square, outer), across.ravel()

    def along(index: NDArray[np.intp], v: FloatArray) -> FloatArray:
        at, u = owner[index], np.broadcast_to(position[index, None], v.shape)
        turned = squares.turned[at, None]
        return locate(at, np.where(turned, v, u), np.where(turned, u, v))

    inner = absolute_in_cells(lines.reshape(-1, lines.shape[-1]), along)
    sums = length * (inner.reshape(-1, outer) @ weights)
    return np.bincount(square, weights=sums, minlength=len(squares.powers)).astype(float)


def _outer_edges(powers: FloatArray) -> FloatArray:
    """Return where the curve s = 0 crosses the sides v = 0 and v = 1, with the ends 0 and 1, sorted."""
    count = len(powers)
    bottom, top = unit_roots(powers[:, :, 0]), unit_roots(powers.sum(axis=2))
    edges = np.concatenate([np.zeros((count, 1)), bottom, top, np.ones((count, 1))], axis=1)
    edges.sort(axis=1)
    return edges


def _steepness(bernstein: FloatArray, axis: int) -> FloatArray:
    """Return a lower bound for |derivative| along an axis; negative where its sign may change."""
    slopes = np.diff(bernstein, axis=axis)
    return np.asarray(np.maximum(slopes.min(axis=(1, 2)), -slopes.max(axis=(1, 2))))

"""Integrals of V |s| over single squares, s a tensor-product polynomial, split along the curve s = 0.

Where s is monotone in one direction over the square, ``s = 0`` is a graph over the other. The inner integral
along the monotone direction is then split at the root and the outer one where the graph leaves the square,
so that Gauss-Legendre quadrature sees smooth functions only (Saye 2015, doi:10.1137/140966290, in 2D).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import FloatArray
from fpsolve.distances import _cells

__all__ = ["LocateSquare", "Squares", "absolute_in_squares"]

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
    nodes, weights = _cells.gauss(outer)
    across = start[:, None] + length[:, None] * nodes
    exponents = np.arange(squares.powers.shape[1])
    lines = np.einsum("pga,pab->pgb", across[..., None] ** exponents, squares.powers[square])
    owner, position = np.repeat(square, outer), across.ravel()

    def along(index: NDArray[np.intp], v: FloatArray) -> FloatArray:
        at, u = owner[index], np.broadcast_to(position[index, None], v.shape)
        turned = squares.turned[at, None]
        return locate(at, np.where(turned, v, u), np.where(turned, u, v))

    inner = _cells.absolute_in_cells(lines.reshape(-1, lines.shape[-1]), along)
    sums = length * (inner.reshape(-1, outer) @ weights)
    return np.bincount(square, weights=sums, minlength=len(squares.powers)).astype(float)


def _outer_edges(powers: FloatArray) -> FloatArray:
    """Return where the curve s = 0 crosses the sides v = 0 and v = 1, with the ends 0 and 1, sorted."""
    count = len(powers)
    bottom, top = _cells.unit_roots(powers[:, :, 0]), _cells.unit_roots(powers.sum(axis=2))
    edges = np.concatenate([np.zeros((count, 1)), bottom, top, np.ones((count, 1))], axis=1)
    edges.sort(axis=1)
    return edges


def _steepness(bernstein: FloatArray, axis: int) -> FloatArray:
    """Return a lower bound for |derivative| along an axis; negative where its sign may change."""
    slopes = np.diff(bernstein, axis=axis)
    return np.asarray(np.maximum(slopes.min(axis=(1, 2)), -slopes.max(axis=(1, 2))))

"""Stationary points of an autonomous flow: all of them in a box, with their kinds and a check of completeness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.flows._field import Field, as_points, evaluate, field_of, jacobian
from fpsolve.flows._search import SAME, box_degree, newton, search, unique
from fpsolve.grid import Grid

__all__ = ["KINDS", "StationaryPoints", "stationary_points"]

KINDS = ("attracting", "repelling", "saddle", "degenerate")
#: Cells of the first search per axis.
CELLS = {1: 4001, 2: 121}
#: An eigenvalue whose real part is below this share of the largest one in size says nothing about the kind.
FLAT = 1e-6


@dataclass(frozen=True, eq=False)
class StationaryPoints:
    """The stationary points of a flow ``x' = S(x)`` in a box.

    Attributes
    ----------
    at : array of shape (n,) in 1D, (n, 2) in 2D
        The points, in increasing order (of the first coordinate).
    kind : tuple of str
        "attracting", "repelling", "saddle" or "degenerate" (an eigenvalue without a clear sign of its real part).
    eigenvalues : complex array of shape (n, d)
        Of the Jacobian of S, in increasing order of real, then imaginary parts.
    residual : array of shape (n,)
        |S| at the points.
    index : array of int, shape (n,)
        Sign of det(-J): +1 for attracting points (and in 2D repelling ones), -1 for saddles (and in 1D repelling
        points), 0 where it is degenerate.
    degree : int
        Degree of -S along the boundary of the box: what the indices have to add up to. It is 1 where the flow points
        inwards.
    unmatched : int
        Cells around which S turns, or on which it changes sign, without a point found within a cell and a half.
    box : tuple of (low, high) pairs
    cells : int
        Cells of the first search per axis.
    """

    at: FloatArray
    kind: tuple[str, ...]
    eigenvalues: Any
    residual: FloatArray
    index: Any
    degree: int
    unmatched: int
    box: tuple[tuple[float, float], ...]
    cells: int

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.at)

    @property
    def complete(self) -> bool:
        """Whether the indices add up to the degree, no cell is unmatched, and no point is degenerate.

        Necessary for having found all; what it cannot see is a pair of opposite index inside one cell.
        """
        return int(np.sum(self.index)) == self.degree and not self.unmatched and "degenerate" not in self.kind

    def of_kind(self, kind: str) -> FloatArray:
        """Return the points of one kind."""
        _checks.one_of("kind", kind, KINDS)
        return np.asarray(self.at[np.array([own == kind for own in self.kind], dtype=bool)])


def stationary_points(
    flow: Any, box: Any, *, cells: int | None = None, starts: Any = None, tol: float = 1e-10
) -> StationaryPoints:
    r"""Find the stationary points ``S(x) = 0`` of an autonomous flow in a box, and classify them.

    1D: every sign change between neighbouring nodes is polished by Brent's method, and every local minimum of \|S\|
    between them is tried as a double zero. All simple zeros further apart than a cell are found. 2D: Newton's method
    from every cell around which S turns (non-zero winding number), from every local minimum of \|S\| on the nodes and
    from `starts`; a heuristic, and closed by a check (`StationaryPoints.complete`): every cell around which S turns
    must have a point, and the indices of all points have to add up to the degree of -S along the boundary. It notices
    everything but a missed pair of opposite index inside one cell.

    Parameters
    ----------
    flow : ProductScore or callable ``S(x)``
        The Jacobian is the field's own in closed form, or by central differences.
    box : (low, high) or two such pairs
        Where to look.
    cells : int, optional
        Cells of the first search per axis, default 4001 in 1D and 121 in 2D, twice as many if that is incomplete.
    starts : array_like, optional
        Further points for Newton's method to start from.
    tol : float, default 1e-10
        Largest residual \|S\|, relative to the largest \|S\| on the nodes.

    Returns
    -------
    StationaryPoints

    Raises
    ------
    ValueError
        A box or field of another dimension, values of S that are not finite.

    References
    ----------
    Milnor 1965, Topology from the Differentiable Viewpoint (indices and degree: Poincare and Hopf).

    Examples
    --------
    >>> import fpsolve as fp
    >>> found = fp.flows.stationary_points(lambda x: x - x**3, (-2, 2))
    >>> found.at.round(6) + 0.0, found.kind, found.complete
    (array([-1.,  0.,  1.]), ('attracting', 'repelling', 'attracting'), True)
    """
    field = field_of(flow)
    dim = getattr(field, "dim", None)
    size = Grid.uniform(box, cells=1).dim
    if dim is not None:
        _checks.same_dim("box", size, "the flow", dim)
    count = CELLS[size] if cells is None else _checks.integer("cells", cells, minimum=4)
    first = np.empty((0, size)) if starts is None else _checks.finite_array("starts", starts).reshape(-1, size)
    tol = _checks.positive("tol", tol)
    found = _searched(field, Grid.uniform(box, cells=count), first, tol)
    if cells is None and not found.complete:
        # points that share a cell: look again where they do not, from what was found on
        first = np.concatenate([first, found.at.reshape(-1, size)])
        found = _searched(field, Grid.uniform(box, cells=2 * count), first, tol)
    return found


def _searched(field: Field, grid: Grid, starts: FloatArray, tol: float) -> StationaryPoints:
    seen = search(field, grid)
    points = newton(field, grid, np.concatenate([seen.holding, seen.maybe, starts]), tol * seen.scale)
    found = unique(points, grid)
    return _classified(field, found, box_degree(seen.values, grid.dim), seen.unmatched(found, grid), grid)


def _classified(field: Field, at: FloatArray, degree: int, unmatched: int, grid: Grid) -> StationaryPoints:
    """Return the points with what the Jacobian says about them."""
    box, cells = grid.bounds, grid.shape[0]
    if not len(at):
        none = np.empty(0)
        sums = degree, unmatched
        return StationaryPoints(as_points(at), (), at.astype(complex), none, none.astype(int), *sums, box, cells)
    # rounded, so that points on one vertical line are told apart by their height and not by rounding errors
    at = at[np.lexsort(np.round(at / (SAME * (box[0][1] - box[0][0]))).T[::-1])]
    slopes = jacobian(field, at)
    eigenvalues = np.stack([_ordered(np.linalg.eigvals(slope)) for slope in slopes])
    flat = FLAT * np.abs(eigenvalues).max()
    kind = tuple(_kind(values.real, flat) for values in eigenvalues)
    index = np.where(np.array(kind) == "degenerate", 0, np.sign(np.linalg.det(-slopes))).astype(int)
    residual = np.linalg.norm(evaluate(field, as_points(at)).reshape(at.shape), axis=1)
    return StationaryPoints(as_points(at), kind, eigenvalues, residual, index, degree, unmatched, box, cells)


def _ordered(eigenvalues: FloatArray) -> Any:
    """Return eigenvalues by real part, conjugate ones by imaginary part."""
    scale = max(float(np.abs(eigenvalues).max()), 1e-300)
    rounded = np.round(eigenvalues / (1e-9 * scale))
    return eigenvalues[np.lexsort((rounded.imag, rounded.real))].astype(complex)


def _kind(real: FloatArray, flat: float) -> str:
    if np.any(np.abs(real) <= flat):
        return "degenerate"
    if np.all(real < 0.0):
        return "attracting"
    return "repelling" if np.all(real > 0.0) else "saddle"

"""Stationary points of a flow ``x' = S(x)``: all of them in a box, with their kinds and a check of completeness; its
potential; and how far outside of the hull of the data points are.

A field may vanish where it changes its sign, at winding numbers and local minima: Newton's method from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fpsolve import _checks, _memory
from fpsolve._checks import FloatArray
from fpsolve._messages import Status
from fpsolve.grid import Grid
from fpsolve.scores import Field, ProductScore, as_points, evaluate, jacobian


def field_of(flow: Any) -> Field:
    """Return the field of a product-form score, or the callable itself."""
    if isinstance(flow, ProductScore):
        return flow.field
    if not callable(flow):
        raise _checks.error("flow", "a product-form score or a callable S(x)", repr(flow)[:60])
    checked: Field = flow
    return checked


def log_potential(field: Field, x: FloatArray) -> FloatArray | None:
    """Return log Psi where the field knows one."""
    if not hasattr(field, "log_potential"):
        return None
    return np.asarray(field.log_potential(x), dtype=np.float64)


_STEPS = 60
#: Points closer than this share of the box are one.
SAME = 1e-7


@dataclass(frozen=True, eq=False)
class Search:
    """What S on the nodes of a grid says about its zeros.

    Attributes
    ----------
    scale : float
        Largest |S| on the nodes.
    values : array of shape (nodes per axis, ..., d)
        S there.
    holding : array of shape (m, d)
        Positions that must have a zero nearby: polished sign changes, centres of cells around which S turns.
    maybe : array of shape (n, d)
        Positions that may: local minima of |S|, zeros on nodes.
    """

    scale: float
    values: FloatArray
    holding: FloatArray
    maybe: FloatArray

    def unmatched(self, found: FloatArray, grid: Grid) -> int:
        """Return how many of `holding` have none of the points found (k, d) within a cell and a half on every axis."""
        if not len(found):
            return len(self.holding)
        apart = np.abs(self.holding[:, None] - found) / np.array(grid.spacing)
        return int(np.count_nonzero(apart.max(axis=-1).min(axis=1) > 1.5))


def search(field: Field, grid: Grid) -> Search:
    """Evaluate the field on the nodes of a grid and read off where it may vanish."""
    axes = grid.face_axes
    nodes = axes[0] if grid.dim == 1 else np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    values = evaluate(field, nodes)
    if grid.dim == 1:
        holding, maybe = _on_the_line(field, axes[0], values)
        return Search(float(np.abs(values).max()), values[:, None], holding[:, None], maybe[:, None])
    size = np.linalg.norm(values, axis=-1)
    # the nodes that have no smaller neighbour
    padded = np.pad(size, 1, constant_values=np.inf)
    n, m = size.shape
    around = [padded[i : i + n, j : j + m] for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    lowest = size <= np.min(around, axis=0)
    return Search(float(size.max()), values, grid.x[winding(values) != 0], nodes[lowest])


def _on_the_line(field: Field, x: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Zeros by Brent's method from sign changes; exact zeros on nodes, and minima of |S| between them."""
    from scipy.optimize import brentq

    # signs: products of values as small as those of densities are 0
    signs = np.sign(values)
    changes = np.flatnonzero(signs[:-1] * signs[1:] < 0.0)
    ends = 4.0 * np.finfo(float).eps
    roots = [brentq(lambda z: float(field(np.array(z))), x[k], x[k + 1], xtol=1e-15, rtol=ends) for k in changes]
    size = np.abs(values)
    inner = np.flatnonzero((size[1:-1] <= size[:-2]) & (size[1:-1] <= size[2:])) + 1
    flat = [k for k in inner if signs[k - 1] * signs[k + 1] > 0.0]
    return np.array(roots), np.concatenate([x[values == 0.0], x[flat]])


def winding(values: FloatArray) -> FloatArray:
    """Return how often S (nx + 1, ny + 1, 2) turns around each cell, counter-clockwise, shape (nx, ny)."""
    angle = np.arctan2(values[..., 1], values[..., 0])
    along_x, along_y = _wrapped(np.diff(angle, axis=0)), _wrapped(np.diff(angle, axis=1))
    turn = along_x[:, :-1] + along_y[1:, :] - along_x[:, 1:] - along_y[:-1, :]
    return np.asarray(np.round(turn / (2.0 * np.pi)))


def _wrapped(difference: FloatArray) -> FloatArray:
    return np.asarray((difference + np.pi) % (2.0 * np.pi) - np.pi)


def box_degree(values: FloatArray, dim: int) -> int:
    """Return the degree of -S along the boundary of the box: 1 where S points inwards."""
    if dim == 1:
        left, right = np.sign(values[0, 0]), np.sign(values[-1, 0])
        return int((left - right) / 2.0)
    # the winding number of -S is that of S
    edge = np.concatenate([values[:-1, 0], values[-1, :-1], values[:0:-1, -1], values[0, :0:-1]])
    angle = np.arctan2(edge[:, 1], edge[:, 0])
    return int(np.round(_wrapped(np.diff(np.append(angle, angle[0]))).sum() / (2.0 * np.pi)))


def newton(field: Field, grid: Grid, starts: FloatArray, limit: float) -> FloatArray:
    """Return where Newton's method ends with |S| <= limit inside the box, (m, d): damped, a few cells per step."""
    x = starts.copy()
    reach = 3.0 * np.array(grid.spacing)
    low, high = np.array(grid.bounds).T
    for _ in range(_STEPS):
        value = evaluate(field, as_points(x)).reshape(x.shape)
        step = -np.einsum("nij,nj->ni", np.linalg.pinv(jacobian(field, x)), value)
        step *= np.minimum(1.0, (reach / np.maximum(np.abs(step), 1e-300)).min(axis=1))[:, None]
        x = np.clip(x + step, low - reach, high + reach)
        if not len(x) or np.abs(step / reach).max() < 1e-14:
            break
    size = np.linalg.norm(evaluate(field, as_points(x)).reshape(x.shape), axis=1)
    inside = np.all((x >= low) & (x <= high), axis=1)
    return np.asarray(x[(size <= limit) & inside])


def unique(points: FloatArray, grid: Grid) -> FloatArray:
    """Return one point of every cluster."""
    near = SAME * np.array([high - low for low, high in grid.bounds])
    kept: list[FloatArray] = []
    for point in points:
        if all(np.any(np.abs(point - other) > near) for other in kept):
            kept.append(point)
    return np.array(kept).reshape(-1, grid.dim)


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

    status: ClassVar[Status] = "estimated"

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
    _memory.require("cells", 48.0 * size * (count + 1.0) ** size, "take fewer cells")
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
    at = unique(points, grid)
    degree, unmatched = box_degree(seen.values, grid.dim), seen.unmatched(at, grid)
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
    index = np.where(np.array(kind) == "degenerate", 0, np.linalg.slogdet(-slopes)[0]).astype(int)
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


def outside_hull(points: Any, data: Any) -> FloatArray:
    r"""Return how far points are outside of the convex hull of data, negative inside.

    Stationary points of the best product-form score lie in the convex hull of the component means of a normal mixture
    whose covariances are multiples of the identity: ``grad Psi = 0`` reads ``x = sum_k a_k m_k`` with weights a_k > 0
    that sum to 1.

    Parameters
    ----------
    points : array_like
        Shape ``(n,)`` in 1D, ``(n, 2)`` in 2D.
    data : array_like
        Shape ``(m,)`` or ``(m, 2)``.

    Returns
    -------
    array of shape (n,)
        Distance to the hull outside of it (in 2D the largest distance to a line through one of its edges, which is no
        larger); inside minus the distance to its boundary.

    Raises
    ------
    ValueError
        Another dimension, in 2D data on one line.

    Examples
    --------
    >>> outside_hull([0.0, 1.5], [-1.0, 1.0])
    array([-1. ,  0.5])
    """
    at, cloud = _checks.finite_array("points", points), _checks.finite_array("data", data)
    if at.ndim not in (1, 2) or at.shape[1:] not in ((), (2,)) or at.shape[1:] != cloud.shape[1:] or not cloud.ndim:
        raise _checks.error("points", "shapes (n,) and (m,), or (n, 2) and (m, 2)", f"{at.shape} and {cloud.shape}")
    if at.ndim == 1:
        return np.asarray(np.maximum(cloud.min() - at, at - cloud.max()))
    from scipy.spatial import ConvexHull, QhullError

    try:
        edges = ConvexHull(cloud).equations
    except QhullError:
        raise _checks.error("data", "points that do not lie on one line", f"{len(cloud)} points that do") from None
    return np.asarray((at @ edges[:, :2].T + edges[:, 2]).max(axis=1))

"""Where a field may vanish: sign changes, winding numbers, local minima; Newton's method from there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve.flows._field import Field, as_points, evaluate, jacobian
from fpsolve.grid import Grid

__all__ = ["Search", "box_degree", "newton", "search", "unique"]

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
    return Search(float(size.max()), values, grid.x[winding(values) != 0], nodes[_minima(size)])


def _on_the_line(field: Field, x: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Zeros by Brent's method from sign changes; exact zeros on nodes, and minima of |S| between them."""
    from scipy.optimize import brentq

    changes = np.flatnonzero(values[:-1] * values[1:] < 0.0)
    ends = 4.0 * np.finfo(float).eps
    roots = [brentq(lambda z: float(field(np.array(z))), x[k], x[k + 1], xtol=1e-15, rtol=ends) for k in changes]
    size = np.abs(values)
    inner = np.flatnonzero((size[1:-1] <= size[:-2]) & (size[1:-1] <= size[2:])) + 1
    flat = [k for k in inner if values[k - 1] * values[k + 1] > 0.0]
    return np.array(roots), np.concatenate([x[values == 0.0], x[flat]])


def winding(values: FloatArray) -> FloatArray:
    """Return how often S (nx + 1, ny + 1, 2) turns around each cell, counter-clockwise, shape (nx, ny)."""
    angle = np.arctan2(values[..., 1], values[..., 0])
    along_x, along_y = _wrapped(np.diff(angle, axis=0)), _wrapped(np.diff(angle, axis=1))
    turn = along_x[:, :-1] + along_y[1:, :] - along_x[:, 1:] - along_y[:-1, :]
    return np.asarray(np.round(turn / (2.0 * np.pi)))


def _wrapped(difference: FloatArray) -> FloatArray:
    return np.asarray((difference + np.pi) % (2.0 * np.pi) - np.pi)


def _minima(size: FloatArray) -> FloatArray:
    """Say which nodes have no smaller neighbour, shape of `size`."""
    padded = np.pad(size, 1, constant_values=np.inf)
    n, m = size.shape
    around = [padded[i : i + n, j : j + m] for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    return np.asarray(size <= np.min(around, axis=0))


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

"""One Gaussian step on a grid: where every source cell goes, how widely, and the compiled sums over its targets.

Per axis the mass of a source cell is normal around its mean, or (where the step is narrower than the cell) normal plus
uniform; the probability of a target cell is a difference of that distribution function at its two faces, and the end
cells take what lies beyond the box. Steps with little or no noise on a line move a spline of the cumulative mass
exactly: with F the quintic spline through its values at the faces and H the map of the step, the cumulative mass after
the step is ``E F(H^{-1}(face - s1 Z) - s0 Z')``. It is linear in the masses and keeps their sum; being a spline, it has
small negative entries where the density bends sharply.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve._compile import compiled
from fpsolve._memory import over
from fpsolve.grid import Grid
from fpsolve.kernels._kernel import Map, preimages
from fpsolve.samplers import Score, Step

Array = NDArray[np.float64]
#: Means, standard deviations and widths of rows, per axis.
Normal = tuple[Array, Array, Array]

#: Gauss-Hermite nodes of the noise: it is narrower than a cell here.
_NODES = 16
_DEGREE = 5
#: How far beyond the box preimages are looked for, in lengths of the box; further out they are infinite.
_BEYOND = 1.0


@dataclass(frozen=True, eq=False)
class Remap:
    """A step that moves the spline of the cumulative mass: linear, keeps mass, not positive.

    Attributes
    ----------
    faces : array, shape (cells of grid + 1,)
        Where the cumulative mass is known.
    points : array, shape (cells of target + 1, nodes)
        Where the step comes from for every target face and node of the noise; infinite where from beyond any box.
    shares : array, shape (nodes,)
        Probabilities of the nodes.
    """

    faces: Array
    points: Array
    shares: Array

    @classmethod
    def of(cls, step: Step, score: Score, grid: Grid, cells: Grid) -> Remap | None:
        """Return the remap of a step; None where its map is not increasing, so that it folds the line over."""
        # nodes of the noise after and before the map, and their probabilities, each of shape (nodes,)
        last, first = _normal(step.std_after), _normal(step.std_before)
        after, before = (nodes.ravel() for nodes in np.meshgrid(last[0], first[0], indexing="ij"))
        shares = np.outer(last[1], first[1]).ravel()
        faces = cells.face_axes[0]
        reach = float(np.max(np.abs(before)))
        u = pulled_back(step, score, faces[:, None] - after, grid.bounds[0], reach)
        return None if u is None else cls(grid.face_axes[0], (u - before) / step.scale_before, shares)

    def matrix(self) -> Array:
        """Return the matrix (cells of grid, cells of target); its rows sum to one."""
        return self._moved(_every_cell(self.faces.size), np.ones(self.faces.size - 1))

    def push(self, masses: Array) -> Array:
        """Masses (n, cells of grid) -> masses (n, cells of target)."""
        at_faces = _summed(masses)
        return self._moved(self._interpolation.solve(at_faces), at_faces[-1])

    def _moved(self, coefficients: Array, total: Array) -> Array:
        at_faces = self._table @ coefficients
        # what goes beyond the box stays in its end cells
        at_faces[0], at_faces[-1] = 0.0, total
        return np.ascontiguousarray(np.diff(at_faces, axis=0).T)

    def pull(self, f: Array) -> Array:
        """Functions (n, cells of target) -> functions (n, cells of grid), the transpose of `push`."""
        steps = np.zeros((f.shape[1] + 1, f.shape[0]))
        steps[1:-1] = (f[:, :-1] - f[:, 1:]).T
        at_faces = self._interpolation.solve(self._table.T @ steps, "T")
        at_faces[-1] += f[:, -1]
        return np.ascontiguousarray(np.cumsum(at_faces[:0:-1], axis=0)[::-1].T)

    def beyond(self) -> Array:
        """Mass that every source cell takes beyond the box, shape (cells of grid,)."""
        ends = self._interpolation.solve(np.asarray(self._table[[0, -1]].todense()).T, "T")
        ends[-1, 1] -= 1.0
        return np.asarray(np.abs(np.cumsum(ends[:0:-1], axis=0)[::-1]).sum(axis=1))

    @property
    def _interpolation(self) -> Any:
        return _splines(self.faces.size)[1]

    @cached_property
    def _table(self) -> Any:
        """Means of the splines over the nodes, sparse (cells of target + 1, coefficients)."""
        from scipy.interpolate import BSpline

        knots = _splines(self.faces.size)[0]
        low, high, cells = self.faces[0], self.faces[-1], self.faces.size - 1
        inside = cells * ((np.clip(self.points, low, high) - low) / (high - low))
        tables = [
            share * BSpline.design_matrix(np.ascontiguousarray(node), knots, _DEGREE)
            for node, share in zip(inside.T, self.shares, strict=True)
        ]
        return sum(tables[1:], start=tables[0]).tocsr()


@lru_cache(maxsize=8)
def _splines(faces: int) -> tuple[Array, Any]:
    """Knots of the spline through values at the faces 0, 1, ..., and its conditions, factorised."""
    from scipy.interpolate import BSpline, make_interp_spline
    from scipy.sparse.linalg import splu

    places = np.arange(float(faces))
    knots = np.asarray(make_interp_spline(places, places, k=_DEGREE).t)
    return knots, splu(BSpline.design_matrix(places, knots, _DEGREE).tocsc())


@lru_cache(maxsize=2)
def _every_cell(faces: int) -> Array:
    """Coefficients of the cumulative masses of every cell alone, shape (coefficients, cells)."""
    return np.asarray(_splines(faces)[1].solve(_summed(np.eye(faces - 1))))


def _summed(masses: Array) -> Array:
    """Cumulative masses at the faces, shape (faces, n), of masses (n, cells)."""
    at_faces = np.zeros((masses.shape[1] + 1, masses.shape[0]))
    np.cumsum(masses.T, axis=0, out=at_faces[1:])
    return at_faces


def _normal(std: float) -> tuple[Array, Array]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES if std > 0.0 else 1)
    return std * nodes, weights / weights.sum()


def pulled_back(step: Step, score: Score, faces: Array, box: tuple[float, float], reach: float = 0.0) -> Array | None:
    """Return where the map of a step comes from for every face; None where the map is not increasing.

    A step that knows its own inverse, as a flow does, is asked for it: ``step.back(score, x)``. `box` holds what comes
    before the step, `reach` is how far its noise before the map goes.
    """
    if step.back is not None:
        return np.asarray(step.back(score, faces))
    low, high = (step.scale_before * end for end in box)
    length = high - low
    # a score may be wild far out, where nothing comes from: then it is enough that the map increases on the box
    for beyond in (max(_BEYOND * length, reach), reach):
        found = preimages(lambda u: step.move(score, u), faces, (low - beyond, high + beyond))
        if found is not None:
            return found
    return None


#: Parts of the rows of a push: at most so many, of so many rows at least, and numbers in the arrays of all.
PARTS, ROWS, PARTIAL = 16, 64, 4_000_000
#: Targets further than this many standard deviations are left out: 1e-17 of the mass.
REACH = 8.6


@dataclass(frozen=True, eq=False)
class Spread:
    """Where a step takes the source cells.

    Attributes
    ----------
    means, stds, widths : arrays, shape (rows, d)
        Mean, standard deviation of the normal part, full width of the uniform part (0 for none), per axis.
    faces : tuple of arrays
        Increasing target faces per axis, (nx + 1,)[, (ny + 1,)].
    """

    means: Array
    stds: Array
    widths: Array
    faces: tuple[Array, ...]

    @property
    def averaged(self) -> float:
        """Share of rows with a uniform part."""
        return float(np.mean(np.any(self.widths > 0.0, axis=1)))

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Target cells per axis."""
        return tuple(len(faces) - 1 for faces in self.faces)

    def matrix(self) -> Array:
        """Probabilities, shape (rows, cells)."""
        out = np.zeros((len(self.means), math.prod(self.shape)))
        over(len(out), out.size, self._loop(_line_matrix, _plane_matrix, out))
        return out

    def push(self, masses: Array) -> Array:
        """Masses (n, rows) -> masses (n, cells)."""
        rows, cells = masses.shape[1], math.prod(self.shape)
        # rows add to the same cells: parts of them, as many whatever the number of threads, to arrays of their own
        parts = max(1, min(PARTS, rows // ROWS, PARTIAL // (len(masses) * cells)))
        out = np.zeros((parts, len(masses), cells))

        def some(first: int, last: int) -> None:
            for part in range(first, last):
                loop = self._loop(_line_push, _plane_push, masses, out[part])
                loop(part * rows // parts, (part + 1) * rows // parts)

        over(parts, rows * cells, some)
        return np.asarray(out.sum(axis=0))

    def pull(self, f: Array) -> Array:
        """Functions (n, cells) -> their means (n, rows)."""
        out = np.zeros((len(f), len(self.means)))
        over(len(self.means), len(self.means) * f.shape[1], self._loop(_line_pull, _plane_pull, f, out))
        return out

    def _loop(self, line: Callable[..., None], plane: Callable[..., None], *given: Array) -> Callable[[int, int], None]:
        """The compiled loop of the dimension over some of the rows."""
        return partial((line, plane)[len(self.faces) - 1], (self.means, self.stds, self.widths), *self.faces, *given)

    def beyond(self) -> Array:
        """Mass of every row beyond the box, which the end cells take, shape (rows,)."""
        total = np.zeros(len(self.means))
        for k, faces in enumerate(self.faces):
            total += _outside(self.means[:, k], self.stds[:, k], self.widths[:, k], faces[0], faces[-1])
        return total


def spreads_of(step: Step, score: Score, grid: Grid, cells: Grid, *, averaging: bool) -> tuple[Spread, ...]:
    """Return the spreads that do the step from `grid` to `cells`, one after the other.

    `averaging`: the source is the cell (variance lowered, or averaged where narrow); otherwise its centre.
    """

    def shrink(x: Array) -> Array:
        return step.scale_before * x

    def whole(x: Array) -> Array:
        return step.move(score, step.scale_before * x)

    if step.std_after == 0.0 and grid.dim == 1:
        faces = pulled_back(step, score, cells.face_axes[0], grid.bounds[0], REACH * step.std_before)
        if faces is not None:
            return (_spread(shrink, step.std_before, grid, (faces,), averaging),)
    if step.std_before == 0.0:
        return (_spread(whole, step.std_after, grid, cells.face_axes, averaging),)
    noise = _spread(shrink, step.std_before, grid, grid.face_axes, averaging)
    return noise, _spread(lambda u: step.move(score, u), step.std_after, grid, cells.face_axes, averaging)


def _spread(mean: Map, std: float, grid: Grid, faces: tuple[Array, ...], averaging: bool) -> Spread:
    rows = math.prod(grid.shape)
    means = np.asarray(mean(grid.x), dtype=np.float64).reshape(rows, grid.dim)
    stds, widths = np.full(means.shape, std), np.zeros(means.shape)
    if averaging:
        carried = carried_square(mean, grid)
        left = std**2 - carried / 12.0
        narrow = left <= 0.0
        stds = np.where(narrow, std, np.sqrt(np.where(narrow, 1.0, left)))
        widths = np.where(narrow, np.sqrt(carried), 0.0)
    ends = tuple(np.ascontiguousarray(face) for face in faces)
    return Spread(np.ascontiguousarray(means), stds, widths, ends)


def carried_square(mean: Map, grid: Grid) -> Array:
    """Square of a cell's width after the map: ``sum_l (d m_k/d x_l)^2 h_l^2``, shape (rows, d), by differences.

    The differences between the midpoints of opposite faces are the width itself; in 2D the covariance between the axes
    that a rotating map makes of a cell is left out.
    """
    if grid.dim == 1:
        return np.square(np.diff(mean(grid.face_axes[0])))[:, None]
    total = np.zeros((*grid.shape, 2))
    for axis in range(2):
        axes = list(grid.axes)
        axes[axis] = grid.face_axes[axis]
        total += np.square(np.diff(mean(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)), axis=axis))
    return total.reshape(-1, 2)


@compiled
def _below(z: float, half: float) -> float:
    """P(Z + U <= z), Z standard normal, U uniform on [-half, half]; half = 0: the normal distribution function."""
    if half == 0.0:
        return 0.5 * math.erfc(-z * math.sqrt(0.5))
    # with G(z) = z Phi(z) + phi(z), whose slope is Phi
    high, low = z + half, z - half
    peak = 1.0 / math.sqrt(2.0 * math.pi)
    upper = 0.5 * high * math.erfc(-high * math.sqrt(0.5)) + peak * math.exp(-0.5 * high * high)
    lower = 0.5 * low * math.erfc(-low * math.sqrt(0.5)) + peak * math.exp(-0.5 * low * low)
    return min(max((upper - lower) / (2.0 * half), 0.0), 1.0)


@compiled
def _below_uniform(gap: float, width: float) -> float:
    """P(U <= gap), U uniform on [-width/2, width/2]; a point at 0 for width = 0."""
    if width == 0.0:
        return 1.0 if gap >= 0.0 else 0.0
    return min(max(gap / width + 0.5, 0.0), 1.0)


@compiled
def _cumulative(gap: float, std: float, width: float) -> float:
    """P(mean + step <= face), gap = face - mean."""
    if std == 0.0:
        return _below_uniform(gap, width)
    if gap == np.inf or gap == -np.inf:
        return 1.0 if gap > 0.0 else 0.0
    return _below(gap / std, 0.5 * width / std)


@compiled
def _probabilities(normal: Normal, i: int, axis: int, faces: Array, buffer: Array) -> tuple[int, int]:
    """Fill buffer with the probabilities of cells first, ..., last - 1 of row i and return (first, last)."""
    mean, std, width = normal[0][i, axis], normal[1][i, axis], normal[2][i, axis]
    cells = faces.size - 1
    reach = REACH * std + 0.5 * width
    first = min(max(int(np.searchsorted(faces, mean - reach)) - 1, 0), cells - 1)
    last = max(min(int(np.searchsorted(faces, mean + reach)), cells), first + 1)
    # differences taken on the side where the distribution function is small lose no digits
    middle = min(max(int(np.searchsorted(faces, mean)), first), last)
    before = 0.0
    for j in range(first, middle):
        after = 1.0 if j == last - 1 else _cumulative(faces[j + 1] - mean, std, width)
        buffer[j - first] = after - before
        before = after
    before = _cumulative(mean - faces[middle], std, width) if middle > first else 1.0
    for j in range(middle, last):
        after = 0.0 if j == last - 1 else _cumulative(mean - faces[j + 1], std, width)
        buffer[j - first] = before - after
        before = after
    return first, last


@compiled
def _line_matrix(normal: Normal, faces: Array, out: Array, begin: int, end: int) -> None:
    buffer = np.empty(faces.size)
    for i in range(begin, end):
        first, last = _probabilities(normal, i, 0, faces, buffer)
        for j in range(first, last):
            out[i, j] = buffer[j - first]


@compiled
def _line_push(normal: Normal, faces: Array, masses: Array, out: Array, begin: int, end: int) -> None:
    buffer = np.empty(faces.size)
    for i in range(begin, end):
        first, last = _probabilities(normal, i, 0, faces, buffer)
        for n in range(masses.shape[0]):
            for j in range(first, last):
                out[n, j] += masses[n, i] * buffer[j - first]


@compiled
def _line_pull(normal: Normal, faces: Array, f: Array, out: Array, begin: int, end: int) -> None:
    buffer = np.empty(faces.size)
    for i in range(begin, end):
        first, last = _probabilities(normal, i, 0, faces, buffer)
        for n in range(f.shape[0]):
            total = 0.0
            for j in range(first, last):
                total += f[n, j] * buffer[j - first]
            out[n, i] = total


@compiled
def _plane_matrix(normal: Normal, fx: Array, fy: Array, out: Array, begin: int, end: int) -> None:
    px, py = np.empty(fx.size), np.empty(fy.size)
    columns = fy.size - 1
    for i in range(begin, end):
        x0, x1 = _probabilities(normal, i, 0, fx, px)
        y0, y1 = _probabilities(normal, i, 1, fy, py)
        for a in range(x0, x1):
            for b in range(y0, y1):
                out[i, a * columns + b] = px[a - x0] * py[b - y0]


@compiled
def _plane_push(normal: Normal, fx: Array, fy: Array, masses: Array, out: Array, begin: int, end: int) -> None:
    px, py = np.empty(fx.size), np.empty(fy.size)
    columns = fy.size - 1
    for i in range(begin, end):
        x0, x1 = _probabilities(normal, i, 0, fx, px)
        y0, y1 = _probabilities(normal, i, 1, fy, py)
        for n in range(masses.shape[0]):
            for a in range(x0, x1):
                here = masses[n, i] * px[a - x0]
                for b in range(y0, y1):
                    out[n, a * columns + b] += here * py[b - y0]


@compiled(fastmath={"reassoc", "contract"})  # the inner sum may be vectorised
def _plane_pull(normal: Normal, fx: Array, fy: Array, f: Array, out: Array, begin: int, end: int) -> None:
    px, py = np.empty(fx.size), np.empty(fy.size)
    columns = fy.size - 1
    for i in range(begin, end):
        x0, x1 = _probabilities(normal, i, 0, fx, px)
        y0, y1 = _probabilities(normal, i, 1, fy, py)
        for n in range(f.shape[0]):
            total = 0.0
            for a in range(x0, x1):
                row = 0.0
                for b in range(y0, y1):
                    row += f[n, a * columns + b] * py[b - y0]
                total += px[a - x0] * row
            out[n, i] = total


@compiled
def _outside(means: Array, stds: Array, widths: Array, low: float, high: float) -> Array:
    out = np.empty(means.size)
    for i in range(means.size):
        below = _cumulative(low - means[i], stds[i], widths[i])
        out[i] = below + _cumulative(means[i] - high, stds[i], widths[i])
    return out

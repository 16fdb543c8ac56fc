"""One Gaussian step on a grid: where every source cell goes, how widely, and the compiled sums over its targets.

Per axis the mass of a source cell is normal around its mean, or (where the step is narrower than the cell) normal plus
uniform; the probability of a target cell is a difference of that distribution function at its two faces, and the end
cells take what lies beyond the box.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fpsolve._compile import compiled
from fpsolve.grid import Grid
from fpsolve.kernels._remap import pulled_back
from fpsolve.samplers import Score, Step

Array = NDArray[np.float64]
Map = Callable[[Array], Array]

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
        return self._summed((_line_matrix, _plane_matrix), (len(self.means), math.prod(self.shape)))

    def push(self, masses: Array) -> Array:
        """Masses (n, rows) -> masses (n, cells)."""
        return self._summed((_line_push, _plane_push), (len(masses), math.prod(self.shape)), masses)

    def pull(self, f: Array) -> Array:
        """Functions (n, cells) -> their means (n, rows)."""
        return self._summed((_line_pull, _plane_pull), (len(f), len(self.means)), f)

    def _summed(self, sums: tuple[Callable[..., None], ...], shape: tuple[int, int], *given: Array) -> Array:
        """Return zeros of a shape to which the compiled sum of the dimension has added."""
        out = np.zeros(shape)
        sums[len(self.faces) - 1](self.means, self.stds, self.widths, *self.faces, *given, out)
        return out

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
def _probabilities(mean: float, std: float, width: float, faces: Array, buffer: Array) -> tuple[int, int]:
    """Fill buffer with the probabilities of cells first, ..., last - 1 and return (first, last)."""
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
    if middle > first:
        before = _cumulative(mean - faces[middle], std, width)
    else:
        before = 1.0
    for j in range(middle, last):
        after = 0.0 if j == last - 1 else _cumulative(mean - faces[j + 1], std, width)
        buffer[j - first] = before - after
        before = after
    return first, last


@compiled
def _line_matrix(means: Array, stds: Array, widths: Array, faces: Array, out: Array) -> None:
    buffer = np.empty(faces.size)
    for i in range(means.shape[0]):
        first, last = _probabilities(means[i, 0], stds[i, 0], widths[i, 0], faces, buffer)
        for j in range(first, last):
            out[i, j] = buffer[j - first]


@compiled
def _line_push(means: Array, stds: Array, widths: Array, faces: Array, masses: Array, out: Array) -> None:
    buffer = np.empty(faces.size)
    for i in range(means.shape[0]):
        first, last = _probabilities(means[i, 0], stds[i, 0], widths[i, 0], faces, buffer)
        for n in range(masses.shape[0]):
            for j in range(first, last):
                out[n, j] += masses[n, i] * buffer[j - first]


@compiled
def _line_pull(means: Array, stds: Array, widths: Array, faces: Array, f: Array, out: Array) -> None:
    buffer = np.empty(faces.size)
    for i in range(means.shape[0]):
        first, last = _probabilities(means[i, 0], stds[i, 0], widths[i, 0], faces, buffer)
        for n in range(f.shape[0]):
            total = 0.0
            for j in range(first, last):
                total += f[n, j] * buffer[j - first]
            out[n, i] = total


@compiled
def _plane_matrix(means: Array, stds: Array, widths: Array, fx: Array, fy: Array, out: Array) -> None:
    px, py = np.empty(fx.size), np.empty(fy.size)
    columns = fy.size - 1
    for i in range(means.shape[0]):
        x0, x1 = _probabilities(means[i, 0], stds[i, 0], widths[i, 0], fx, px)
        y0, y1 = _probabilities(means[i, 1], stds[i, 1], widths[i, 1], fy, py)
        for a in range(x0, x1):
            for b in range(y0, y1):
                out[i, a * columns + b] = px[a - x0] * py[b - y0]


@compiled
def _plane_push(means: Array, stds: Array, widths: Array, fx: Array, fy: Array, masses: Array, out: Array) -> None:
    px, py = np.empty(fx.size), np.empty(fy.size)
    columns = fy.size - 1
    for i in range(means.shape[0]):
        x0, x1 = _probabilities(means[i, 0], stds[i, 0], widths[i, 0], fx, px)
        y0, y1 = _probabilities(means[i, 1], stds[i, 1], widths[i, 1], fy, py)
        for n in range(masses.shape[0]):
            for a in range(x0, x1):
                here = masses[n, i] * px[a - x0]
                for b in range(y0, y1):
                    out[n, a * columns + b] += here * py[b - y0]


@compiled(fastmath={"reassoc", "contract"})  # the inner sum may be vectorised
def _plane_pull(means: Array, stds: Array, widths: Array, fx: Array, fy: Array, f: Array, out: Array) -> None:
    px, py = np.empty(fx.size), np.empty(fy.size)
    columns = fy.size - 1
    for i in range(means.shape[0]):
        x0, x1 = _probabilities(means[i, 0], stds[i, 0], widths[i, 0], fx, px)
        y0, y1 = _probabilities(means[i, 1], stds[i, 1], widths[i, 1], fy, py)
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

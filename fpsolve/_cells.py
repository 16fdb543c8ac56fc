"""What is known by the masses of cells: between cells by the spline of their cumulative mass, without losing mass,
where a cubic between two of them is zero, and beyond the box extrapolated from the outermost ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve._compile import compiled
from fpsolve._memory import over


@dataclass(frozen=True, eq=False)
class Cumulative:
    """A density known by the masses of cells, continued by the spline of their cumulative mass; zero outside of them.

    Attributes
    ----------
    faces : tuple of arrays, shapes (nx + 1,)[, (ny + 1,)]
    cells : array, shape (..., nx) on a line, (nx, ny) in the plane
        Masses, of either sign.
    degree : int
        Of the spline: masses of other cells are of order ``h^(degree + 1)``, and exact between faces.
    """

    faces: tuple[FloatArray, ...]
    cells: FloatArray
    degree: int = 5

    @cached_property
    def _spline(self) -> Any:
        from scipy.interpolate import RectBivariateSpline, make_interp_spline

        if len(self.faces) == 1:
            before = np.zeros((*self.cells.shape[:-1], 1))
            cumulative = np.concatenate([before, np.cumsum(self.cells, axis=-1)], axis=-1)
            return make_interp_spline(self.faces[0], cumulative, k=self.degree, axis=-1)
        corners = np.zeros(tuple(len(axis) for axis in self.faces))
        corners[1:, 1:] = np.cumsum(np.cumsum(self.cells, axis=0), axis=1)
        return RectBivariateSpline(*self.faces, corners, kx=self.degree, ky=self.degree, s=0.0)

    def masses(self, *faces: FloatArray) -> FloatArray:
        """Masses of other cells; sums over the box are kept exactly, and there is nothing beyond it."""
        inside = [np.clip(other, own[0], own[-1]) for other, own in zip(faces, self.faces, strict=True)]
        values = np.asarray(self._spline(*inside), dtype=float)
        for axis in range(-len(faces), 0):
            values = np.diff(values, axis=axis)
        return values

    def density(self, points: FloatArray) -> FloatArray:
        """Density at points (n, 2) of the plane: the mixed derivative."""
        low, high = (np.array([axis[end] for axis in self.faces]) for end in (0, -1))
        inside = np.all((points >= low) & (points <= high), axis=1)
        out = np.zeros(len(points))
        out[inside] = self._spline.ev(*points[inside].T, dx=1, dy=1)
        return out


def refined(values: FloatArray, *, ring: bool) -> FloatArray:
    """Cell averages (..., nx, ny) on twice the cells per axis, of the seventh order; means of pairs are kept.

    A polynomial with the averages of seven cells has ``c +- d`` in the halves of the middle one; beyond the ends cells
    are mirrored, or on a ring those from the other end.
    """
    *some, nx, ny = values.shape
    out = np.zeros((*some, 2 * nx, 2 * ny))
    for at in np.ndindex(*some):
        add_refined(values[at], ring, out[at])
    return out


@compiled
def add_refined(values: FloatArray, ring: bool, out: FloatArray) -> None:
    """Add what `refined` makes of a plane (nx, ny) to one of (2 nx, 2 ny)."""
    nx, ny = values.shape
    # a row with three cells more at both ends
    rows, at = np.empty((2, ny + 6)), np.empty(6, np.int64)
    for i in range(nx):
        for k in range(3):
            at[k], at[3 + k] = _neighbour(i - k - 1, nx, ring), _neighbour(i + k + 1, nx, ring)
        middle, l1, l2, l3 = values[i], values[at[0]], values[at[1]], values[at[2]]
        r1, r2, r3 = values[at[3]], values[at[4]], values[at[5]]
        low, high = rows[0], rows[1]
        for j in range(ny):
            d = _slope(r1[j] - l1[j], r2[j] - l2[j], r3[j] - l3[j])
            low[j + 3] = middle[j] - d
            high[j + 3] = middle[j] + d
        for side in range(2):
            row, to = rows[side], out[2 * i + side]
            for k in range(3):
                row[2 - k] = row[3 + _neighbour(-1 - k, ny, ring)]
                row[ny + 3 + k] = row[3 + _neighbour(ny + k, ny, ring)]
            for j in range(ny):
                d = _slope(row[j + 4] - row[j + 2], row[j + 5] - row[j + 1], row[j + 6] - row[j])
                to[2 * j] += row[j + 3] - d
                to[2 * j + 1] += row[j + 3] + d


@compiled(inline="always")
def _slope(one: float, two: float, three: float) -> float:
    return (201.0 * one - 44.0 * two + 5.0 * three) / 1024.0


@compiled(inline="always")
def _neighbour(i: int, n: int, ring: bool) -> int:
    """The cell that stands in for cell i of n beyond the ends."""
    i = i % n if ring else i % (2 * n)
    return i if i < n else 2 * n - 1 - i


# cells per block: one in a hundred, so that the decay measured is the decay at the edge
_CELLS_PER_BLOCK = 100
# a decay length that grows as fast as the distance is no decay at all: the integral diverges at 1
_STEEPEST_GROWTH = 0.9
# blocks lag behind the edge, which makes power laws come out 2 % low: this puts them above
_GROWTH_MARGIN = 1.15
_TINY = float(np.finfo(np.float64).tiny)
# blocks next to the edge that may belong to a pile
_PILE_BLOCKS = 12
# rows of a plane summed together
_ROWS = 32


#: Fourth differences above this share of the largest of five cells show that a density is not smooth on them, and above
#: this share of all there is that it is not known, as with 1.1 cells per standard deviation.
_SHARP, _MUCH = 0.5, 0.5


def unresolved(values: FloatArray, weight_values: FloatArray) -> float:
    """Weighted sum of fourth differences of cell averages where these are as large as they; 0 where that is small.

    A law that lives in a cell or two has most of its mass there; of what lies within such cells their averages say
    nothing, and refining them a little says it again. Single cusps and jumps are left to who compares levels.
    """
    total = 0.0
    for axis in range(values.ndim):
        along, n = np.moveaxis(values, axis, 0), values.shape[axis]
        padded = np.pad(along, [(2, 2)] + [(0, 0)] * (values.ndim - 1))
        five = np.stack([padded[k : k + n] for k in range(5)])
        bend = np.abs(np.tensordot([1.0, -4.0, 6.0, -4.0, 1.0], five, axes=1))
        sharp = bend > _SHARP * np.abs(five).max(axis=0)
        total += float((np.moveaxis(weight_values, axis, 0) * bend)[sharp].sum())
    return total if total > _MUCH * float((weight_values * np.abs(values)).sum()) else 0.0


def edge_tail(values: FloatArray, axes: Sequence[FloatArray], weight_values: FloatArray) -> FloatArray:
    """Estimate the weighted mass ``int_{outside of the box} V |w|`` of a density or a signed difference.

    Next to each side ``g = V |w|`` is averaged over three blocks of cells (in 2D after summing along the
    side), outermost ``g_1``. Their ratio gives the decay length ``l`` of g, V's growth included, and its
    change from block to block the growth ``l'`` of that length; beyond the edge g then integrates to
    ``g_1 b rho / (1 - rho) / (1 - l')`` with b the block's width and rho = g_1/g_2. This is exact for an
    exponential (l' = 0), a few per cent above the truth for a power law (``l' = 1/power``) and above it for
    a Gaussian. Mass piled up at the edge is counted in full, and where g decays nowhere near the edge, the length of
    the box stands in for the decay length.

    Parameters
    ----------
    values : array, shape (..., nx[, ny])
        Cell averages w, per unit of the axes; the sign does not matter.
    axes : sequence of arrays
        Uniform cell centres, (nx,) and in 2D (ny,).
    weight_values : array
        V at the cell centres, of a shape that broadcasts with `values`.

    Returns
    -------
    array, shape (...)
        Estimated weighted mass outside of the box, >= 0, summed over its 2 (4) sides.

    Examples
    --------
    The mass of exp(-|x|)/2 outside of [-4, 4] is exp(-4):

    >>> faces = np.linspace(-4.0, 4.0, 401)
    >>> cdf = np.where(faces < 0, np.exp(faces) / 2, 1 - np.exp(-faces) / 2)
    >>> centres = (faces[1:] + faces[:-1]) / 2
    >>> tail = edge_tail(np.diff(cdf) / 0.02, [centres], np.ones(400))
    >>> round(float(tail / np.exp(-4.0)), 3)
    1.0
    """
    widths = [(axis[-1] - axis[0]) / max(axis.size - 1, 1) for axis in axes]
    if len(axes) == 1:
        reach = min(axes[0].size, (_PILE_BLOCKS + 3) * max(1, axes[0].size // _CELLS_PER_BLOCK))
        ends = [slice(-reach, None), slice(None, reach)]
        last, first = (np.abs(values[..., end]) * weight_values[..., end] for end in ends)
        return np.asarray(widths[0] * (_beyond(last, axes[0].size) + _beyond(first[..., ::-1], axes[0].size)))
    profiles = weighted_profiles(values, np.broadcast_to(weight_values, values.shape))
    sides = (_beyond(p, p.shape[-1]) + _beyond(p[..., ::-1], p.shape[-1]) for p in profiles)
    return np.asarray(widths[0] * widths[1] * sum(sides))


def weighted_profiles(values: FloatArray, weight_values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sums of ``V |w|`` over y and over x of planes (..., nx, ny), shapes (..., nx) and (..., ny)."""
    *some, nx, ny = values.shape
    along_x, along_y = np.empty((*some, nx)), np.empty((*some, ny))
    for at in np.ndindex(*some):
        partial_sums = np.zeros((-(-nx // _ROWS), ny))
        over(
            nx,
            nx * ny,
            partial(_add_profiles, values[at], weight_values[at], along_x[at], partial_sums),
            multiple=_ROWS,
        )
        along_y[at] = partial_sums.sum(axis=0)
    return along_x, along_y


@compiled
def _add_profiles(q: FloatArray, v: FloatArray, rows: FloatArray, columns: FloatArray, first: int, last: int) -> None:
    """Sums of ``V |w|`` over rows first to last - 1, and over columns of every `_ROWS` of them."""
    for i in range(first, last):
        here, weight, below = q[i], v[i], columns[i // _ROWS]
        total = 0.0
        for j in range(here.size):
            size = abs(here[j]) * weight[j]
            total += size
            below[j] += size
        rows[i] = total


def _beyond(profile: FloatArray, cells: int) -> FloatArray:
    """Sum of a positive profile of so many cells, of which these are the last, continued beyond, in units of cells."""
    rows = np.ascontiguousarray(profile).reshape(-1, profile.shape[-1])
    found = np.empty(len(rows))
    _continue(rows, max(1, cells // _CELLS_PER_BLOCK), cells, found)
    return found.reshape(profile.shape[:-1])


@compiled
def _continue(profiles: FloatArray, block: int, cells: int, found: FloatArray) -> None:
    """Continue profiles beyond their last cell.

    A drift that points outwards piles mass up at a no-flux end. Blocks that do not decay outwards are such a pile:
    their own mass is taken for misplaced, and the tail is extrapolated from the first block behind them that does.
    """
    n = profiles.shape[1]
    means = np.empty(_PILE_BLOCKS + 2)
    for r in range(len(profiles)):
        for k in range(len(means)):
            # the last complete block where the profile is too short
            stop = max(n - k * block, block)
            means[k] = profiles[r, stop - block : stop].mean()
        found[r] = means[0] * cells
        piled = 0.0
        for k in range(_PILE_BLOCKS):
            outer, middle, inner = means[k], means[k + 1], means[k + 2]
            # an edge that is empty has no tail and no pile: the support ends inside of the box
            if means[0] == 0.0 or middle > outer > 0.0:
                if middle > outer > 0.0:
                    found[r] = piled + min(_sum_beyond(outer, middle, inner, block), outer * cells)
                break
            piled += outer * block


@compiled
def _sum_beyond(outer: float, middle: float, inner: float, block: int) -> float:
    """Sum beyond the outer one of three neighbouring blocks that decay outwards."""
    # ratios below 1: their inverses and products overflow where densities underflow
    fall = -np.log(max(outer / middle, _TINY))
    further = -np.log(max(middle / inner, _TINY)) if inner > middle else fall
    growth = min(max(_GROWTH_MARGIN * (1.0 / fall - 1.0 / further), 0.0), _STEEPEST_GROWTH)
    return float(outer * block * (outer / (middle - outer)) / (1.0 - growth))


#: Newton steps towards a root at most.
_NEWTON_STEPS = 60


@compiled
def roots(table: FloatArray, close: float) -> FloatArray:
    """Roots of cubics that cross zero once in their brackets; columns c3, c2, c1, value at 0, at the width, width."""
    roots = np.empty(table.shape[1])
    for j in range(len(roots)):
        c3, c2, c1, below, above, high = table[:, j]
        low = 0.0
        u = -high * below / (above - below)
        for _ in range(_NEWTON_STEPS):
            gap = ((c3 * u + c2) * u + c1) * u + below
            slope = (3.0 * c3 * u + 2.0 * c2) * u + c1
            if gap < 0.0:
                low = u
            if gap > 0.0:
                high = u
            moved = u - gap / slope if slope > 0.0 else 0.5 * (low + high)
            if moved < low or moved > high:
                moved = 0.5 * (low + high)
            near = abs(moved - u) <= close
            u = moved
            if near:
                break
        roots[j] = u
    return roots

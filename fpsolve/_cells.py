"""Densities known by the masses of cells: between cells by the spline of their cumulative mass, without losing mass,
and beyond the box extrapolated from the outermost ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import FloatArray


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


# cells per block: one in a hundred, so that the decay measured is the decay at the edge
_CELLS_PER_BLOCK = 100
# a decay length that grows as fast as the distance is no decay at all: the integral diverges at 1
_STEEPEST_GROWTH = 0.9
# blocks lag behind the edge, which makes power laws come out 2 % low: this puts them above
_GROWTH_MARGIN = 1.15
_TINY = float(np.finfo(np.float64).tiny)
# blocks next to the edge that may belong to a pile
_PILE_BLOCKS = 12


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
        reach = _looked_at(axes[0].size)
        ends = [slice(-reach, None), slice(None, reach)]
        last, first = (np.abs(values[..., end]) * weight_values[..., end] for end in ends)
        return np.asarray(widths[0] * _both_sides(last, first, axes[0].size))
    integrand = np.abs(values) * weight_values
    profiles = integrand.sum(axis=-1), integrand.sum(axis=-2)
    sides = (_both_sides(profile, profile, axis.size) for profile, axis in zip(profiles, axes, strict=True))
    return np.asarray(widths[0] * widths[1] * sum(sides))


def _looked_at(cells: int) -> int:
    """Cells next to an end that the tail beyond it is extrapolated from, at most."""
    return min(cells, (_PILE_BLOCKS + 3) * max(1, cells // _CELLS_PER_BLOCK))


def _both_sides(last: FloatArray, first: FloatArray, cells: int) -> FloatArray:
    """Sum of a positive profile of so many cells continued beyond both ends, in units of cells.

    `last` ends with its last cell, `first` begins with its first, and both hold the cells that are looked at.
    """
    reach = _looked_at(cells)
    beyond = _beyond_last(np.stack([last[..., last.shape[-1] - reach :], first[..., :reach][..., ::-1]]), cells)
    return np.asarray(beyond[0] + beyond[1])


def _beyond_last(profile: FloatArray, cells: int) -> FloatArray:
    """Sum of a positive profile, of which these are the last cells, continued beyond, in units of cells.

    A drift that points outwards piles mass up at a no-flux end. Blocks that do not decay outwards are such a pile:
    their own mass is taken for misplaced, and the tail is extrapolated from the first block behind them that does.
    """
    block = max(1, cells // _CELLS_PER_BLOCK)
    blocks = [_block_mean(profile, block, k) for k in range(3)]
    result = blocks[0] * cells
    # an edge that is empty has no tail and no pile: the support ends inside of the box
    found = np.asarray(blocks[0] == 0.0)
    piled = np.zeros(result.shape)
    for k in range(_PILE_BLOCKS):
        decays, tail = _continued(blocks[k], blocks[k + 1], blocks[k + 2], block)
        tail = np.minimum(tail, blocks[k] * cells)
        result = np.where(decays & ~found, piled + tail, result)
        found |= decays
        if found.all():
            break
        piled = piled + blocks[k] * block
        blocks.append(_block_mean(profile, block, k + 3))
    return np.asarray(result)


def _continued(
    outer: FloatArray, middle: FloatArray, inner: FloatArray, block: int
) -> tuple[NDArray[np.bool_], FloatArray]:
    """Whether three neighbouring blocks decay outwards, and the sum beyond the outer one if they do."""
    decays = (outer > 0.0) & (middle > outer)
    # the placeholders 1 and 2 keep logarithms and ratios quiet where there is no decay to measure
    low, high = np.where(decays, outer, 1.0), np.where(decays, middle, 2.0)
    # ratios below 1: their inverses and products overflow where densities underflow
    fall = -np.log(np.maximum(low / high, _TINY))
    further = np.where(decays & (inner > middle), -np.log(np.maximum(high / np.maximum(inner, high), _TINY)), fall)
    growth = np.clip(_GROWTH_MARGIN * (1.0 / fall - 1.0 / further), 0.0, _STEEPEST_GROWTH)
    return decays, np.asarray(low * block * (low / (high - low)) / (1.0 - growth))


def _block_mean(profile: FloatArray, block: int, k: int) -> FloatArray:
    """Mean over the k-th block from the end; the last complete one where the profile is too short."""
    stop = max(profile.shape[-1] - k * block, block)
    return np.asarray(profile[..., stop - block : stop].mean(axis=-1))

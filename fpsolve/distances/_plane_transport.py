"""Optimal transport in the plane: sliced, by projections onto lines, and W1 and W2 by linear programming (POT)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.distances._divergences import root
from fpsolve.distances._fields import Frame, aligned, tail_of_difference, weighted_sum
from fpsolve.distances._spectral import (
    COARSE,
    Field,
    ToDensity,
    fields,
    line_transport,
    transport_to_samples,
    unresolved,
)
from fpsolve.distances._splines import PRIMITIVES
from fpsolve.distances._transport import mass_mismatch, squared_displacement

_EPS = float(np.finfo(float).eps)
#: Directions of projections, doubled until half of them say the same, at most so many.
_DIRECTIONS, _MOST = 8, 128
_AGREE = 1e-6
#: Cells of either density, at most, in the linear program.
ATOMS = 900
# cells lighter than this share of the mass are left out of it
_LIGHT = 1e-9


def sliced_wasserstein(p: xr.DataArray, q: Any, *, unbounded: bool = True) -> xr.Dataset:
    """Return the sliced Wasserstein distance of order 2 of densities in the plane.

    ``SW2 = (mean over directions of W2(p_direction, q_direction)^2)^(1/2)``, the projections onto lines by the exact
    transforms of the conservative splines, each W2 as `wasserstein` computes it. At most ``W2/2^(1/2)`` (units of x).

    Parameters
    ----------
    p : DataArray
        Cell averages of a density, see `weighted_tv`, in 2D.
    q : DataArray, or array of shape (n, 2)
        The same and of equal mass, or at least 20 samples of q.
    unbounded : bool, default True
        Whether the densities go on beyond the box; what that may change is then part of the error.

    Returns
    -------
    Dataset
        `distance` and `error` over the leading dimensions: projections of splines of degrees 4, 2 and 0 apart, the
        error of every W2, half of the directions, tails and rounding. Infinite where the cells do not resolve p or q.
        With samples also `standard_error`, the root of the mean square of the distance of such samples from their law
        (no deviation of the distance is larger, by the triangle inequality), and `bias`, what the distance of the raw
        samples is estimated to be above the true one, not taken off. The error then fails with probability 1e-3.

    Raises
    ------
    ValueError
        If the densities are in 1D, their masses differ by more than 1e-3 of them, or they do not fit together.

    References
    ----------
    Bonneel, Rabin, Peyre and Pfister 2015, doi:10.1007/s10851-014-0506-3.
    """
    _checks.flag("unbounded", unbounded)
    samples, attrs = not isinstance(q, xr.DataArray), {"quantity": "sliced Wasserstein distance of order 2"}
    frame = aligned(p=p) if samples else aligned(p=p, q=q)
    if frame.dim != 2:
        raise _checks.error("p, q", "densities in 2D", "1D", "there it is wasserstein(p, q, 2)")
    if samples:
        return transport_to_samples(p, q, attrs, *line_transport(2))
    arrays = [frame.rows(array) for array in (p, q)]
    square, error = np.empty(frame.leading.size), outside(frame, arrays, unbounded, 2)
    coarse = np.zeros(frame.leading.size, dtype=bool)
    for rows, both in fields(frame, *arrays):
        square[rows], here = _sliced(*both)
        error[rows] += here
        coarse[rows] = unresolved(both[0]) | unresolved(both[1])
    attrs |= {"reason": COARSE} if coarse.any() else {}
    return root(frame.labelled(attrs, distance=square, error=np.where(coarse, np.inf, error)))


def _sliced(p: Field, q: Field) -> tuple[FloatArray, FloatArray]:
    """Return the mean over directions of squared distances, and its error, of every row."""
    angles = np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    found = [_along(p, q, angle) for angle in angles]
    gaps = [np.max([np.abs(_along(p, q, angle, degree)[0] - found[2 * k][0]) for k, angle in enumerate(angles[::2])],
                   axis=0) for degree in (2, 0)]  # fmt: skip
    spline = PRIMITIVES.error(gaps[0], np.maximum(gaps[1], gaps[0]))
    while True:
        middles = angles + 0.5 * np.pi / angles.size
        half = np.mean([value for value, _ in found], axis=0)
        found, angles = found + [_along(p, q, angle) for angle in middles], np.concatenate([angles, middles])
        value, error = np.mean(found, axis=0)
        apart = np.abs(value - half)
        if 2 * angles.size > _MOST or np.all(apart <= _AGREE * value + spline + error):
            return value, error + spline + apart


def _along(p: Field, q: Field, angle: float, degree: int = 4) -> tuple[FloatArray, FloatArray]:
    """Return the squared distance of the projections onto one direction, and its error, of every row."""
    first, second = (field.projected(angle, degree) for field in (p, q))
    value, error = squared_displacement(first, second, np.array([min(p.spacing)]))
    return value, error


def outside(frame: Frame, arrays: list[FloatArray], unbounded: bool, order: int) -> FloatArray:
    """Return what tails, rounding and masses that differ may change in ``W^order``: they are moved through the box."""
    sides = [h * n for h, n in zip(frame.spacing, frame.shape, strict=True)]
    diameter = np.broadcast_to(np.hypot.reduce(np.broadcast_arrays(*sides)), len(arrays[0]))

    def weigh(points: FloatArray) -> FloatArray:
        away = points - 0.5 * (points[0, 0] + points[-1, -1])
        half = np.hypot(*(0.5 * (points[-1, -1] - points[0, 0])))
        return np.asarray((half + np.hypot(away[..., 0], away[..., 1])) ** order)

    lost = mass_mismatch(arrays[0], arrays[1], frame)
    lost = np.where(lost <= 1e-13, 0.0, lost) * diameter**order
    error = lost + (_EPS + frame.stored) * sum(weighted_sum(array, frame, weigh) for array in arrays)
    if unbounded:
        error = error + sum(tail_of_difference(array, frame, weigh, None) for array in arrays)
    return np.asarray(error)


def plane_wasserstein(
    arrays: list[FloatArray], frame: Frame, order: int, unbounded: bool, attrs: dict[str, str]
) -> xr.Dataset:
    """Return W1 or W2 of every row and its error; infinite where the cells resolve nothing.

    Between two bounds. With cells merged to at most `ATOMS` atoms, the transport of atoms costs no less than that of
    densities which are constant on the merged cells (both are sums of an atom and the same uniform law), and to these
    p and q are near: their own transport cell by cell is bounded by first moving along x, then along y. From below the
    potentials of the linear program, extended to all cells, bound the cost of any transport (Kantorovich's duality).
    """
    size = frame.leading.size
    value, error, coarse = np.empty(size), np.empty(size), np.zeros(size, dtype=bool)
    for rows, both in fields(frame, *arrays):
        coarse[rows] = unresolved(both[0]) | unresolved(both[1])
        for k, row in enumerate(rows):
            low, high = _bounds(both[0].cells[k], both[1].cells[k], both[0], order)
            value[row], error[row] = 0.5 * (low + high), 0.5 * (high - low)
    lost = outside(frame, arrays, unbounded, order) ** (1.0 / order)
    attrs = attrs | ({"reason": COARSE} if coarse.any() else {})
    return frame.labelled(attrs, distance=value, error=np.where(coarse, np.inf, error + 2.0 * lost))


def _bounds(p: FloatArray, q: FloatArray, field: Field, order: int) -> tuple[float, float]:
    """Return a lower and an upper bound of W of two densities of one row; W1 is that of the parts of p - q."""
    ot, spacing = _pot(), np.array(field.spacing)
    both = [cells / cells.sum() for cells in (p, q)]
    w = both[0] - both[1]
    size = 0.5 * float(np.abs(w).sum()) if order == 1 else 1.0
    if size == 0.0:
        return 0.0, 0.0

    def atoms_of(block: int) -> list[FloatArray]:
        """Masses of both sides on blocks of cells."""
        if order == 2:
            return [_merge(m, block) for m in both]
        merged = _merge(w, block)
        return [np.maximum(merged, 0.0), np.maximum(-merged, 0.0)]

    def smeared(block: int) -> float:
        return _within_1(w, block, spacing) if order == 1 else sum(_within_2(m, block, spacing) for m in both)

    block, merged = _finest_few(atoms_of, _LIGHT * size)
    points, masses, light = [], [], 0.0
    for m in merged:
        chosen = m > _LIGHT * size / m.size
        points.append((np.argwhere(chosen) + 0.5) * block * spacing)
        masses.append(m[chosen])
        light += float(np.abs(m[~chosen]).sum())
    total = float(masses[0].sum())
    if total == 0.0:
        return 0.0, smeared(block) + smeared(2)
    cost = _distance(points[0], points[1], order)
    plan, log = ot.emd(masses[0] / total, masses[1] / masses[1].sum(), cost, numItermax=2_000_000, log=True)
    top = (total * float((plan * cost).sum())) ** (1.0 / order)
    dual = (_dual_1 if order == 1 else _dual_2)(both, spacing, points[1], log["v"])
    moved = (light * float(np.hypot.reduce(spacing * p.shape)) ** order) ** (1.0 / order)
    # within cells a density varies as two cells tell
    return max(dual - smeared(2) - moved, 0.0), top + (smeared(block) if block > 1 else 0.0) + smeared(2) + moved


def _pot() -> Any:
    try:
        import ot
    except ModuleNotFoundError as reason:
        raise ModuleNotFoundError(
            "wasserstein in 2D solves a linear program by POT, which is not installed: pip install 'fpsolve[ot]', or "
            "use sliced_wasserstein, energy or mmd."
        ) from reason
    return ot


def _merge(masses: FloatArray, k: int) -> FloatArray:
    """Sums over blocks of k x k cells, the last ones partly empty."""
    padded = np.pad(masses, [(0, -n % k) for n in masses.shape])
    return np.asarray(padded.reshape(padded.shape[0] // k, k, -1, k).sum(axis=(1, 3)))


def _distance(x: FloatArray, y: FloatArray, order: int) -> FloatArray:
    square = ((x[:, None] - y[None]) ** 2).sum(axis=-1)
    return np.asarray(np.sqrt(square) if order == 1 else square)


def _finest_few(merged: Callable[[int], list[FloatArray]], light: float) -> tuple[int, list[FloatArray]]:
    """Return the smallest blocks of cells with at most `ATOMS` of more than a light share, and the masses there."""
    block = 1
    while any((m > light / m.size).sum() > ATOMS for m in merged(block)):
        block += 1
    return block, merged(block)


def _merged_alone(masses: FloatArray, k: int) -> list[FloatArray]:
    return [_merge(masses, k)]


def _in_blocks(masses: FloatArray, k: int) -> FloatArray:
    """Blocks of k x k cells, shape (blocks, blocks, k, k)."""
    padded = np.pad(masses, [(0, -n % k) for n in masses.shape])
    return padded.reshape(padded.shape[0] // k, k, -1, k).transpose(0, 2, 1, 3)


def _within_1(w: FloatArray, k: int, spacing: FloatArray) -> float:
    """Return a bound of W1 between signed masses and their means over blocks of k x k: along x, then along y."""
    blocks, total = _in_blocks(w, k), 0.0
    for lines, h in ((blocks.sum(axis=3), spacing[0]), (blocks, spacing[1])):
        away = np.cumsum(lines - lines.mean(axis=-1, keepdims=True), axis=-1)
        total += float(np.abs(away).sum()) * h
    return total


def _within_2(masses: FloatArray, k: int, spacing: FloatArray) -> float:
    """Return a bound of W2 between cells' masses and their means over blocks of k x k: along x, then along y.

    In one dimension ``W2^2 = int (x - F(x))^2 dF`` to the uniform law on [0, 1], exact where F is linear in every cell.
    """
    blocks, total = _in_blocks(np.maximum(masses, 0.0), k), 0.0
    for lines, h in ((blocks.sum(axis=3), spacing[0]), (blocks, spacing[1])):
        whole = lines.sum(axis=-1, keepdims=True)
        share = np.divide(lines, whole, out=np.full_like(lines, 1.0 / k), where=whole > 0.0)
        away = np.zeros((*lines.shape[:-1], k + 1))
        away[..., 1:] = np.cumsum(share, axis=-1) - np.arange(1, k + 1) / k
        first, second = away[..., :-1], away[..., 1:]
        total += float((lines * (first**2 + first * second + second**2)).sum()) / 3.0 * (h * k) ** 2
    return float(np.sqrt(total))


def _dual_1(masses: list[FloatArray], spacing: FloatArray, places: FloatArray, v: FloatArray) -> float:
    """Return ``int f d(p - q)`` with ``f(x) = min_j |x - y_j| - v_j``, which no Lipschitz constant above 1 has."""
    means = []
    for nodes in (np.array([0.5]), 0.5 + np.array([-0.5, 0.5]) / np.sqrt(3.0)):
        axes = [(np.add.outer(np.arange(n), nodes) * h).ravel() for n, h in zip(masses[0].shape, spacing, strict=True)]
        f = np.empty((axes[0].size, axes[1].size))
        for k, x in enumerate(axes[0]):
            away = np.hypot(x - places[:, 0], np.subtract.outer(axes[1], places[:, 1]))
            f[k] = (away - v).min(axis=1)
        cells = f.reshape(masses[0].shape[0], nodes.size, masses[0].shape[1], nodes.size).mean(axis=(1, 3))
        means.append(float((cells * (masses[0] - masses[1])).sum()))
    return means[1] - abs(means[1] - means[0])


def _dual_2(masses: list[FloatArray], spacing: FloatArray, places: FloatArray, v: FloatArray) -> float:
    """Return a lower bound of W2 from potentials f of p and g of q with ``f(x) + g(y) <= |x - y|^2`` on all cells.

    Between the cells' centres potentials are interpolated linearly, which breaks the inequality by at most a quarter of
    the squared width along each axis.
    """
    axes = [(np.arange(n) + 0.5) * h for n, h in zip(masses[0].shape, spacing, strict=True)]
    f = np.empty(masses[0].shape)
    for k, x in enumerate(axes[0]):
        f[k] = ((x - places[:, 0]) ** 2 + np.subtract.outer(axes[1], places[:, 1]) ** 2 - v).min(axis=1)
    squares = [np.subtract.outer(axis, axis) ** 2 for axis in axes]
    g = _conjugate(f, squares)
    f = _conjugate(g, squares)
    value = float((f * masses[0]).sum() + (g * masses[1]).sum()) - 0.25 * float((spacing**2).sum())
    return float(np.sqrt(max(value, 0.0)))


def _conjugate(f: FloatArray, squares: list[FloatArray]) -> FloatArray:
    """Return ``g(y) = min_x |x - y|^2 - f(x)`` over the cells, axis by axis."""
    rows = np.stack([(square[:, None] - f).min(axis=0) for square in squares[0]])
    return np.stack([(square + rows).min(axis=1) for square in squares[1]], axis=1)


def plane_transport(order: int) -> tuple[ToDensity, Any]:
    """W of order 1 or 2 in the plane, by linear programming, to samples and between samples."""
    ot = _pot()

    def between(a: FloatArray, b: FloatArray) -> float:
        share = np.full(len(a), 1.0 / len(a))
        cost = float(ot.emd2(share, share, _distance(a, b, order), numItermax=2_000_000))
        return float(cost ** (1.0 / order))

    def to_density(field: Field, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        spacing, share, found = np.array(field.spacing), np.full(len(x), 1.0 / len(x)), []
        for row in field.cells:
            masses = row / row.sum()
            block, (merged,) = _finest_few(partial(_merged_alone, masses), _LIGHT)
            chosen = merged > _LIGHT / merged.size
            places = (np.argwhere(chosen) + 0.5) * block * spacing + np.array(field.low)
            cost = _distance(places, x, order)
            value = float(ot.emd2(merged[chosen] / merged[chosen].sum(), share, cost, numItermax=2_000_000))
            # an atom and its cell: (width^2/12) along each axis
            moved = _within_2(masses, block, spacing) + block * float(np.sqrt((spacing**2).sum() / 12.0))
            found.append((value ** (1.0 / order), moved))
        value, moved = np.array(found).T
        return value, moved

    return to_density, between

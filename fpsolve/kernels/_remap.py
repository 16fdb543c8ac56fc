"""Steps with little or no noise on a line: a spline of the cumulative mass, moved exactly.

With F the quintic spline through the cumulative masses at the faces and H the map of the step, the cumulative mass
after the step is ``E F(H^{-1}(face - s1 Z) - s0 Z')``. It is linear in the masses and keeps their sum; being a spline,
it has small negative entries where the density bends sharply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.grid import Grid
from fpsolve.samplers import Score, Step

Array = NDArray[np.float64]

#: From this many cell widths of noise on the lowered variance of the ordinary kernel is accurate to 1e-8.
_WIDE = 1.0
#: Gauss-Hermite nodes of the noise: it is narrower than a cell here.
_NODES = 16
_DEGREE = 5
#: Rounds of the Illinois method: its order is 1.44, so a bracket of a sample's width is at rounding long before.
_ROUNDS = 40
#: How far beyond the box preimages are looked for, in lengths of the box; further out they are infinite.
_BEYOND = 1.0
_SAMPLES = 4001


def wide_enough(step: Step, score: Score, grid: Grid) -> bool:
    """Whether the ordinary kernel is accurate: the noise as wide as a cell that the map has carried along."""
    h, faces = grid.spacing[0], step.scale_before * grid.face_axes[0]
    if step.std_before > 0.0:
        return bool(step.std_before >= _WIDE * step.scale_before * h)
    carried = float(np.max(np.abs(np.diff(step.move(score, faces)))))
    return bool(step.std_after >= _WIDE * max(carried, h))


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
        at_faces = _cumulative(masses)
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
    return np.asarray(_splines(faces)[1].solve(_cumulative(np.eye(faces - 1))))


def _cumulative(masses: Array) -> Array:
    """Cumulative masses at the faces, shape (faces, n), of masses (n, cells)."""
    at_faces = np.zeros((masses.shape[1] + 1, masses.shape[0]))
    np.cumsum(masses.T, axis=0, out=at_faces[1:])
    return at_faces


def fold(step: Step, score: Score, grid: Grid) -> str:
    """Where on the line the map of a step is seen to turn back, for messages."""
    x = np.linspace(*grid.bounds[0], _SAMPLES)
    back = np.flatnonzero(np.diff(step.move(score, step.scale_before * x)) <= 0.0)
    place = f"between x = {x[back[0]]:.4g} and {x[back[-1] + 1]:.4g}" if back.size else "beyond the box"
    return f"{place} in the step from t = {step.t_from:.6g} to {step.t_to:.6g}"


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


def preimages(move: Callable[[Array], Array], faces: Array, box: tuple[float, float]) -> Array | None:
    """Return u in the box with ``move(u) = face`` for every face, of the shape of `faces`.

    None where the map is not increasing; preimages beyond the box become -inf or inf.
    """
    samples = np.linspace(box[0], box[1], _SAMPLES)
    images = move(samples)
    if not np.all(np.diff(images) > 0.0):
        return None
    wanted = faces.ravel()
    place = np.searchsorted(images, wanted)
    inside = (place > 0) & (place < _SAMPLES)
    found = np.where(place == 0, -np.inf, np.inf)
    k = place[inside]
    found[inside] = _illinois(move, wanted[inside], samples[k - 1], samples[k], images[k - 1], images[k])
    return np.asarray(found.reshape(faces.shape))


def _illinois(
    move: Callable[[Array], Array], wanted: Array, low: Array, high: Array, at_low: Array, at_high: Array
) -> Array:
    """Roots of ``move(u) - wanted`` in brackets, by regula falsi that halves a stale end (Dowell and Jarratt 1971)."""
    low, high, below, above = low.copy(), high.copy(), at_low - wanted, at_high - wanted
    side = np.zeros(wanted.shape)
    tolerance = 4.0 * np.finfo(float).eps * np.max(np.abs(np.concatenate([low, high])), initial=1.0)
    for _ in range(_ROUNDS):
        share = below / (below - above)
        middle = np.clip(low + share * (high - low), low, high)
        value = move(middle) - wanted
        up = value >= 0.0
        below = np.where(up & (side > 0), 0.5 * below, below)
        above = np.where(~up & (side < 0), 0.5 * above, above)
        step = np.where(up, high - middle, middle - low)
        low, below = np.where(up, low, middle), np.where(up, below, value)
        high, above = np.where(up, middle, high), np.where(up, value, above)
        side = np.where(up, 1.0, -1.0)
        # equal ends are exact roots: keep the quotient defined
        done = (below == 0.0) | (above == 0.0) | (high - low <= tolerance)
        if np.all(done | (step <= tolerance)):
            break
        above = np.where(above == 0.0, np.finfo(float).tiny, above)
    return np.asarray(middle)

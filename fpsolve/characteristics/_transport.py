"""Cell averages at later times from a density at the first: exact masses on a line, point values in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fpsolve.characteristics._origins import Accuracy, trace_back
from fpsolve.characteristics._sources import Source, masses_between
from fpsolve.dynamics import BaseDynamics
from fpsolve.grid import Grid

Array = NDArray[np.float64]
#: A later and an earlier forward time.
Stretch = tuple[float, float]

#: Points under way at once, in the plane: three numbers each and the integrator's sixteen stages stay in a cache.
_CHUNK = 4096
#: Most times on a line whose faces travel together: a segment between two of them takes a step or two of its own.
_JOINED = 16
#: Steps of a level per step of its companion, at least.
FINER = 1.5
#: Cell average from values at the centres: ``1 + d^2/24 - 17 d^4/5760 + 367 d^6/967680``, d the central difference.
_GHOSTS = 3
_SECOND, _FOURTH, _SIXTH = 1.0 / 24.0, -17.0 / 5760.0, 367.0 / 967680.0


@dataclass(frozen=True, eq=False)
class Transported:
    """Cell averages, shape (sources, times, nx[, ny]), the integrator's steps and their cost.

    On a line also `origins`, where the faces at every time come from, shape (times, nx + 1), and the `taken` steps
    between pairs of times.
    """

    values: Array
    steps: int
    cost: int
    origins: Array | None = None
    taken: Mapping[Stretch, int] = field(default_factory=dict)


def transport(
    dynamics: BaseDynamics,
    grid: Grid,
    times: Array,
    sources: Sequence[Source],
    accuracy: Accuracy,
    companion: Transported | None = None,
) -> Transported:
    """Carry densities along ``dY = b(t, Y) dr`` and average them over the cells of a grid at every time.

    On a line, ``mass of a cell at t = mass of the source between the origins of its faces``. In the plane,
    ``q_t(x) = q(Y) exp(-int div b dr)`` with Y the origin of x, at the cell centres and three rows of them around the
    box, and from those the averages by an eighth-order formula.

    Parameters
    ----------
    dynamics : BaseDynamics
        Gives ``drift`` in 1D and ``drift_and_divergence`` in 2D; its noise is not looked at.
    grid : Grid
        In the coordinate of the dynamics.
    times : array, shape (k,)
        Forward times, decreasing; the sources live at the first.
    sources : sequence of Source
    accuracy : Accuracy
    companion : Transported, optional
        On a line at least `FINER` times its steps are taken between any two times: two levels with the same few steps
        agree, and their difference says nothing.

    Returns
    -------
    Transported
        Densities per volume of the dynamics' coordinate.
    """
    if grid.dim == 2:
        return _plane(dynamics, grid, times, sources, accuracy)
    return _line(dynamics, grid, times, sources, accuracy, {} if companion is None else companion.taken)


def _line(
    dynamics: BaseDynamics,
    grid: Grid,
    times: Array,
    sources: Sequence[Source],
    accuracy: Accuracy,
    before: Mapping[Stretch, int],
) -> Transported:
    def rate(t: float, states: Array) -> Array:
        return dynamics.drift(t, states[0])[None]

    faces, steps, cost = grid.face_axes[0], 0, 0
    group = min(max(1, 2 * _CHUNK // len(faces)), _JOINED)
    parts, every = [faces[None]], dict[Stretch, int]()
    for first in range(1, len(times), group):
        # the faces of a few times travel together: those of an earlier time join the others on their way back
        states, taken = np.empty((1, 0)), 0
        for late, early in pairwise([*times[first : first + group][::-1], times[0]]):
            states = np.append(faces[None], states, axis=1)
            stretch = float(late), float(early)
            longest = float(np.log(early / late)) / (np.ceil(FINER * before.get(stretch, 0)) or 1.0)
            held = replace(accuracy, largest_step=min(accuracy.largest_step, longest))
            traced = trace_back(rate, *stretch, states, held, dynamics.breaks)
            every[stretch] = traced.steps
            states, taken, cost = traced.states, taken + traced.steps, cost + traced.cost
        parts.append(states[0].reshape(-1, len(faces)))
        steps = max(steps, taken)
    origins = np.concatenate(parts)
    values = np.stack([[masses_between(source, row) for row in origins] for source in sources]) / grid.volume
    return Transported(values, steps, cost, origins, every)


def _plane(
    dynamics: BaseDynamics, grid: Grid, times: Array, sources: Sequence[Source], accuracy: Accuracy
) -> Transported:
    def rate(t: float, states: Array) -> Array:
        drift, divergence = dynamics.drift_and_divergence(t, np.ascontiguousarray(states[:2].T))
        return np.concatenate([drift.T, divergence[None]])

    axes = [_with_ghosts(axis) for axis in grid.axes]
    points = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(2, -1)
    start = np.concatenate([points, np.zeros((1, points.shape[1]))])
    shape = (len(sources), len(times), *(axis.size for axis in axes))
    values, steps, cost = np.empty((*shape[:2], points.shape[1])), 0, 0
    for k, t in enumerate(times):
        for part in _parts(points.shape[1]):
            traced = trace_back(rate, float(t), float(times[0]), start[:, part], accuracy, dynamics.breaks)
            # the third component is int div b dr, gathered backwards: minus the change of the log density
            origins, factor = np.ascontiguousarray(traced.states[:2].T), np.exp(traced.states[2])
            values[:, k, part] = np.stack([source.density(origins) for source in sources]) * factor
            steps, cost = max(steps, traced.steps), cost + traced.cost
    return Transported(_averages(values.reshape(shape)), steps, cost)


def _parts(count: int) -> list[slice]:
    """Slices of `count` points, few enough at a time."""
    return [slice(first, min(first + _CHUNK, count)) for first in range(0, count, _CHUNK)]


def _with_ghosts(axis: Array) -> Array:
    """Cell centres with three more on either side."""
    h = (axis[-1] - axis[0]) / (len(axis) - 1)
    beyond = h * np.arange(1, _GHOSTS + 1)
    return np.concatenate([axis[0] - beyond[::-1], axis, axis[-1] + beyond])


def _averages(values: Array) -> Array:
    """Cell averages from point values at the centres with three ghosts on every side, along the last two axes."""
    for axis in (-2, -1):
        moved = np.moveaxis(values, axis, -1)
        second = np.diff(moved, 2, axis=-1)
        fourth = np.diff(second, 2, axis=-1)
        sixth = np.diff(fourth, 2, axis=-1)
        average = moved[..., 3:-3] + _SECOND * second[..., 2:-2] + _FOURTH * fourth[..., 1:-1] + _SIXTH * sixth
        values = np.moveaxis(average, -1, axis)
    return np.ascontiguousarray(values)

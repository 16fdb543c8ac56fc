"""Transport without noise: masses and densities of a start at the origins of the flow's paths.

Trajectories are followed back to the first time, all of them as one vectorised system. What is transported is a law at
the first time, or cell averages on a grid, in the solver's coordinate. Cell averages at later times are exact masses on
a line and come from point values in the plane.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fpsolve._cells import Cumulative
from fpsolve.dynamics import BaseDynamics
from fpsolve.grid import Grid
from fpsolve.laws import Law

Array = NDArray[np.float64]

#: d/dr of states (components, n) at forward time t: positions, and in the plane the log density.
Rate = Callable[[float, Array], Array]

#: Points for which the rate could be evaluated in the time that calling it takes.
CALL = 1000


@dataclass(frozen=True)
class Accuracy:
    """What the integrator of the trajectories is held to.

    Attributes
    ----------
    rtol : float
        Relative tolerance of a step; absolute in units of `length`.
    length : float
        Length below which positions are not told apart by `rtol`: the scale of the box.
    largest_step : float
        Largest step in log t.
    """

    rtol: float
    length: float
    largest_step: float = np.inf

    def coarser(self, factor: float) -> Accuracy:
        """The accuracy of a companion run: tolerance times `factor`, steps twice as large."""
        return Accuracy(factor * self.rtol, self.length, 2.0 * self.largest_step)


@dataclass(frozen=True, eq=False)
class Traced:
    """States at the first time, shape (components, n), the steps that were taken and what they cost.

    The cost is in points at which the rate was evaluated, `CALL` of them for what a call itself takes.
    """

    states: Array
    steps: int
    cost: int


def trace_back(
    rate: Rate, t: float, first: float, states: Array, accuracy: Accuracy, breaks: Iterable[float] = ()
) -> Traced:
    """Follow states at time t back to the `first` time, in log t, by an adaptive method of order 8.

    Parameters
    ----------
    rate : callable ``rate(t, states)``
        Change per reverse time r; t > 0 is forward time.
    t, first : float
        Forward times, ``0 < t <= first``.
    states : array, shape (components, n)
        What is followed back.
    accuracy : Accuracy
        The error of a step is the root mean square over all states.
    breaks : iterable of float
        Times at which the rate jumps or has a kink: steps end there, and neither side sees the rate of the other.

    Raises
    ------
    ValueError
        Where the integrator gives up, with the time.

    References
    ----------
    Hairer, Norsett and Wanner 1993, doi:10.1007/978-3-540-78862-1 (DOP853).

    Examples
    --------
    >>> traced = trace_back(lambda t, x: -x, 1.0, 2.0, np.array([[1.0]]), Accuracy(1e-10, 1.0))
    >>> traced.states.round(8)  # dx/dr = -x, one unit of r ago: e
    array([[2.71828183]])
    """
    inner = sorted(s for s in breaks if t < s < first)
    steps = cost = 0
    for low, high in pairwise([t, *inner, first] if t < first else []):
        traced = _trace_smooth(rate, low, high, states, accuracy)
        states, steps, cost = traced.states, steps + traced.steps, cost + traced.cost
    return Traced(states, steps, cost)


def _trace_smooth(rate: Rate, low: float, high: float, states: Array, accuracy: Accuracy) -> Traced:
    """From `low` back to `high` without breaks in between."""
    from scipy.integrate import DOP853

    # a hair inside, where a rate that jumps at an end is that of this side
    inside = float(np.nextafter(low, high)), float(np.nextafter(high, low))

    def derivative(log_t: float, flat: Array) -> Array:
        now = min(max(float(np.exp(log_t)), inside[0]), inside[1])
        return np.asarray(-now * rate(now, flat.reshape(states.shape))).ravel()

    begin, end = float(np.log(low)), float(np.log(high))
    solver = DOP853(
        derivative,
        begin,
        states.ravel(),
        end,
        rtol=accuracy.rtol,
        atol=accuracy.rtol * accuracy.length,
        max_step=accuracy.largest_step,
    )
    steps = 0
    while solver.status == "running":
        message = solver.step()
        steps += 1
        if solver.status == "failed":
            raise ValueError(
                f"dynamics: expected a flow that can be followed back to t = {high:g}, got stuck at "
                f"t = {float(np.exp(solver.t)):g} ({message}); stop earlier (larger t_min) or use eta > 0."
            )
    return Traced(solver.y.reshape(states.shape), steps, solver.nfev * (states.shape[1] + CALL))


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
#: Cells of the table of cumulative masses of a law that has none in closed form.
_TABLE_CELLS = 4096


class Source(Protocol):
    """The density at the first time, per volume of the solver's coordinate."""

    def masses(self, faces: Array) -> Array:
        """Mass between successive positions of a line, (n + 1,) in, (n,) out."""
        ...

    def density(self, points: Array) -> Array:
        """Point values in the plane, (n, 2) in, (n,) out."""
        ...


def masses_between(source: Source, faces: Array) -> Array:
    """Masses between successive positions of a line, less than zero where these turn back.

    Origins of faces do, where the flow has pressed them together below the tolerance of their trajectories.
    """
    return _between(source.masses, faces)


def _between(masses: Callable[[Array], Array], faces: Array) -> Array:
    """Masses between positions in any order, by a function of increasing ones."""
    if np.all(faces[1:] > faces[:-1]):
        return masses(faces)
    ordered, place = np.unique(faces, return_inverse=True)
    inside = masses(ordered) if len(ordered) > 1 else np.empty(0)
    return np.diff(np.append(0.0, np.cumsum(inside))[place])


@dataclass(frozen=True, eq=False)
class LawSource:
    """A law in x seen in the coordinate ``z = (x - center)/scale``.

    Attributes
    ----------
    law : Law
    center, scale : arrays, shape (d,)
        0 and 1 where positions are x themselves.
    box : Grid
        A grid in x that holds the law; laws without cell probabilities are integrated on it.
    """

    law: Law
    center: Array
    scale: Array
    box: Grid

    def masses(self, faces: Array) -> Array:
        """Exact where the law has cell probabilities, else Gauss-Legendre quadrature of its density."""
        # positions that differ in z may be one in x
        return _between(self._masses_in_x, self.center[0] + self.scale[0] * faces)

    def _masses_in_x(self, x: Array) -> Array:
        exact = self.law.cell_probabilities(x)
        return np.diff(self._cumulative(x)) if exact is None else np.asarray(exact)

    def density(self, points: Array) -> Array:
        """Density per area of z."""
        return self.law.density(self.center + self.scale * points) * float(np.prod(self.scale))

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        """Faces of a fine table and the mass to the left of each, within the box."""
        low, high = self.box.bounds[0]
        fine = Grid.uniform((low, high), cells=_TABLE_CELLS)
        return fine.face_axes[0], np.append(0.0, np.cumsum(fine.cell_average(self.law)) * fine.volume)

    def _cumulative(self, x: Array) -> Array:
        """Mass between the left end of the table and x: whole cells from the table, the rest by quadrature."""
        faces, before = self._table
        inside = np.clip(x, faces[0], faces[-1])
        cell = np.minimum(np.searchsorted(faces, inside, side="right") - 1, len(faces) - 2)
        half = 0.5 * (inside - faces[cell])
        nodes = faces[cell][:, None] + half[:, None] * (1.0 + _NODES)
        return np.asarray(before[cell] + half * (np.exp(self.law.log_density(nodes)) @ _WEIGHTS))


@dataclass(frozen=True, eq=False)
class CellSource:
    """Cell averages on a grid of the solver's coordinate, continued by the quintic spline of their cumulative mass.

    Attributes
    ----------
    grid : Grid
    averages : array of the grid's shape
        Density or signed difference; zero outside of the box.
    """

    grid: Grid
    averages: Array

    def masses(self, faces: Array) -> Array:
        """Differences of the spline through the cumulative masses at the faces: sums are kept exactly."""
        return self._spline.masses(faces)

    def density(self, points: Array) -> Array:
        """Mixed derivative of the spline through the cumulative masses at the corners."""
        return self._spline.density(points)

    @cached_property
    def _spline(self) -> Cumulative:
        return Cumulative(self.grid.face_axes, self.averages * self.grid.volume)


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
    between pairs of times; where the origins are known in closed form, what they may be `unsure` by.
    """

    values: Array
    steps: int
    cost: int
    origins: Array | None = None
    taken: Mapping[Stretch, int] = field(default_factory=dict)
    unsure: Array | None = None


def transport(
    dynamics: BaseDynamics,
    grid: Grid,
    times: Array,
    sources: Sequence[Source],
    accuracy: Accuracy,
    companion: Transported | None = None,
) -> Transported:
    """Carry densities along ``dY = b(t, Y) dr`` and average them over the cells of a grid at every time.

    On a line, ``mass of a cell at t = mass of the source between the origins of its faces``: in closed form where the
    dynamics knows them as well as `accuracy` asks, else by following paths back. In the plane,
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
    faces = grid.face_axes[0]
    known = dynamics.origins(times, faces)
    if known is not None and np.max(known[1]) <= accuracy.rtol * accuracy.length:
        found = Followed(known[0], 1, known[0].size, {})
    else:
        known, found = None, follow_back(dynamics, faces, times, accuracy, before, together(grid))
    values = np.stack([[masses_between(source, row) for row in found.origins] for source in sources]) / grid.volume
    unsure = None if known is None else known[1]
    return Transported(values, found.steps, found.cost, found.origins, found.taken, unsure)


def together(grid: Grid) -> int:
    """How many times have faces that travel together."""
    return min(max(1, 2 * _CHUNK // (grid.shape[0] + 1)), _JOINED)


@dataclass(frozen=True, eq=False)
class Followed:
    """Where positions on a line come from, (times, n), with steps, their cost, and those by pair of times."""

    origins: Array
    steps: int
    cost: int
    taken: Mapping[Stretch, int]


def follow_back(
    dynamics: BaseDynamics, faces: Array, times: Array, accuracy: Accuracy, before: Mapping[Stretch, int], group: int
) -> Followed:
    """Follow positions on a line at every time back to the first, in `FINER` times the steps taken before.

    Those of `group` times travel together.
    """

    def rate(t: float, states: Array) -> Array:
        return dynamics.drift(t, states[0])[None]

    steps, cost = 0, 0
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
    return Followed(np.concatenate(parts), steps, cost, every)


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
        for first in range(0, points.shape[1], _CHUNK):
            part = slice(first, first + _CHUNK)
            traced = trace_back(rate, float(t), float(times[0]), start[:, part], accuracy, dynamics.breaks)
            # the third component is int div b dr, gathered backwards: minus the change of the log density
            origins, factor = np.ascontiguousarray(traced.states[:2].T), np.exp(traced.states[2])
            values[:, k, part] = np.stack([source.density(origins) for source in sources]) * factor
            steps, cost = max(steps, traced.steps), cost + traced.cost
    return Transported(_averages(values.reshape(shape)), steps, cost)


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

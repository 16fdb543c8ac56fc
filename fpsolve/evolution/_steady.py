"""What takes no steps of finite volumes: steady states, the null vectors of generators, and runs without noise.

A level of a run without noise is a grid and a tolerance of the trajectories. On a line some of the faces are followed
again more closely, and what their origins are off by is the integrator's error, in masses; in the plane a companion on
half the cells at `RATIO` times the tolerance shows that of averaging over cells too. What is compared took at least 1.5
times the steps, everywhere.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve import _memory
from fpsolve._checks import error, instances, same_dim
from fpsolve._messages import described
from fpsolve._messages import progress as progress_bar
from fpsolve.dynamics import BaseDynamics
from fpsolve.evolution._march import Record, fits, length
from fpsolve.evolution._problem import Problem
from fpsolve.evolution._result import MISPLACED, Solution, axis_names
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.solver import (
    Accuracy,
    CellSource,
    LawSource,
    Source,
    Transported,
    follow_back,
    generator_matrix,
    masses_between,
    rates_at,
    together,
    transport,
)

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

#: Weights are rescaled beyond this, so that state 0 may lie far out in a tail.
_LARGE = 1e200
#: Times at which coefficients are compared, no periods of one another, and the relative change that is rounding.
_LOOKS, _ROUNDING = np.array([0.0, 0.37, 1.9]), 1e-9


def steady_state(dynamics: BaseDynamics, grid: Grid) -> xr.DataArray:
    """Density q with ``-div(b q) + c^2/2 Lap q = 0`` and unit mass on the grid.

    Parameters
    ----------
    dynamics : Langevin, or Dynamics(..., autonomous=True)
        Its coefficients must not depend on time.
    grid : Grid
        The box or ring that is the state space.

    Returns
    -------
    xarray.DataArray
        Density per cell (x[, y]), cell averages of second order; with a potential exactly ``exp(-Phi/D)`` at the cell
        centres up to normalisation. Attribute `residual`: the largest ``|A q|`` relative to the largest ``|A||q|``.

    Raises
    ------
    ValueError
        Time-dependent coefficients: they are not frozen silently, also where they are said to be autonomous.

    References
    ----------
    Grassmann, Taksar and Heyman 1985, doi:10.1287/opre.33.5.1107 (elimination without subtractions, 1D).

    Examples
    --------
    >>> import fpsolve as fp
    >>> q = steady_state(fp.Langevin(fp.Gaussian(0.0, std=1.0)), fp.Grid.uniform((-6, 6), cells=120))
    >>> round(float((q * q.x**2).sum() * 0.1), 3)
    1.0
    """
    import xarray as xr

    instances(dynamics=(dynamics, BaseDynamics), grid=(grid, Grid))
    same_dim("dynamics", getattr(dynamics, "dim", grid.dim), "the grid", grid.dim)
    if not dynamics.autonomous:
        raise error(
            "dynamics",
            "autonomous coefficients (Langevin, or Dynamics(..., autonomous=True))",
            f"a time-dependent {type(dynamics).__name__}",
            "use evolve to a late time instead",
        )
    cells = math.prod(grid.shape)
    # on a line arrays; in the plane sparse factors, whose fill grows as the logarithm of the cells
    each = 160.0 if grid.dim == 1 else 320.0 + 128.0 * math.log2(cells)
    _memory.require("grid", each * cells, "take fewer cells")
    rates = _rates(dynamics, grid)
    q = eliminate(*rates[0], ring=dynamics.boundary == "periodic") if grid.dim == 1 else _null_vector(rates, grid)
    q = (q / (q.sum() * grid.volume)).reshape(grid.shape)
    generator = generator_matrix(rates, grid.shape)
    residual = np.abs(generator @ q.ravel()).max() / (abs(generator) @ np.abs(q).ravel()).max()
    names = axis_names(grid.dim, scaled=False)
    coords = dict(zip(names, grid.axes, strict=True))
    attrs = {"status": "estimated", "residual": float(residual)}
    return described(xr.Dataset({"density": (names, q, attrs)}, coords=coords))["density"]


def _rates(dynamics: BaseDynamics, grid: Grid) -> list[tuple[Array, Array]]:
    """Jump rates per axis at time 0; ValueError where they are others at another time."""
    both = rates_at(dynamics, grid, _LOOKS)
    for pair in both:
        for rate in pair:
            change = float(np.abs(rate[1:] - rate[:1]).max() / np.abs(rate).max())
            if change > _ROUNDING:
                raise error(
                    "dynamics",
                    "coefficients that do not depend on time, as autonomous=True says",
                    f"rates that change by {change:.2g} of the largest between t = 0 and t = {_LOOKS[-1]:g}",
                    "use evolve to a late time instead",
                )
    return [(up[0], down[0]) for up, down in both]


def eliminate(up: Array, down: Array, *, ring: bool) -> Array:
    """Stationary weights of a birth-death chain on a line (n - 1 rates) or a ring (n rates), unnormalised.

    States are taken out one by one from the right end; the rates of what is left stay positive and are never
    subtracted, so every weight has a small relative error, however small it is.
    """
    n = len(up) if ring else len(up) + 1
    # `over`, `back`: rates between the last remaining state and state 0 across the closing face (0 on a line).
    right, left = up.astype(float).copy(), down.astype(float).copy()
    over, back = (right[-1], left[-1]) if ring else (0.0, 0.0)
    leave = np.empty((n, 4))
    for k in range(n - 1, 0, -1):
        # Neighbours of k among the states left: k - 1 and, over the closing face, 0.
        out = left[k - 1] + over
        leave[k] = right[k - 1], back, left[k - 1], over
        if k > 1:
            over, back = right[k - 1] * over / out, back * left[k - 1] / out
    q = np.empty(n)
    q[0] = 1.0
    for k in range(1, n):
        come_left, come_zero, go_left, go_zero = leave[k]
        q[k] = (q[k - 1] * come_left + q[0] * come_zero) / (go_left + go_zero)
        if q[k] > _LARGE:
            q[: k + 1] /= _LARGE
    return q


def _null_vector(rates: list[tuple[Array, Array]], grid: Grid) -> Array:
    """Null vector in 2D: one balance equation is replaced by the normalisation, sparse LU."""
    from scipy.sparse import csc_matrix, vstack
    from scipy.sparse.linalg import splu

    generator = generator_matrix(rates, grid.shape)
    cells = generator.shape[0]
    matrix = vstack([csc_matrix(np.ones((1, cells))), generator[1:]]).tocsc()
    right = np.zeros(cells)
    right[0] = 1.0
    factors = splu(matrix)
    q = factors.solve(right)
    return np.asarray(q - factors.solve(matrix @ q - right))


#: Relative error of a mass that all levels of a flow share where a and g are infinite at T: held shortly before, the
#: velocity, their difference, has a relative error of 1e-8 at the beginning of the first step.
HELD = 1e-9
#: Tolerance of the trajectories on a given grid; share of `tol` and range of the second level of a run with `tol`.
FIXED_RTOL = 1e-11
RTOL_SHARE = 1e-2
RTOL_RANGE = (1e-12, 3e-8)
#: Below this tolerances are lost in round-off.
SMALLEST_RTOL = 3e-14
#: Tolerance of the companion per tolerance of the level, and what the next level costs per cost of the last.
RATIO = 32.0
GROWTH = {1: 2.0, 2: 8.0}
#: Error of a level in the plane per difference to its companion: half the cells, at orders of 4 and more, decide.
PLANE_FACTOR = 0.125
#: Faces of a line that are followed again; safety on the mass that an error of an origin moves.
LOOKED_AT = 97
ORIGIN_SAFETY = 2.0
#: Share of what errors of either sign would do that is kept where signs are known.
UNSIGNED = 0.5
#: Rounding of a position per size, in units of the machine's.
ROUNDING = 16.0


def solve_flow(problem: Problem, grid: Grid, steps: int, *, estimate: bool) -> Solution:
    """The solution on exactly `grid`, with at least `steps` steps of the integrator in log t."""
    span = float(np.log(problem.saves[0] / problem.saves[-1]))
    accuracy = Accuracy(FIXED_RTOL, length(grid), span / steps)
    sources = _sources(problem, grid)
    level, record = _level(problem, grid, accuracy, sources)
    factor = np.full(level.values.shape[:2], PLANE_FACTOR)
    if not estimate:
        return Solution(grid, level.values, None, factor, [record], _noise(problem, grid, record.steps))
    if grid.dim == 1:
        return _on_line(problem, grid, sources, level, [record], accuracy)
    companion, before = _level(problem, grid.coarsen(), accuracy.coarser(RATIO), sources)
    noise = _noise(problem, grid, record.steps)
    return Solution(grid, level.values, companion.values, factor, [before, record], noise)


def solve_flow_to_tolerance(
    problem: Problem, grid: Grid, *, tol: float, budget: float, progress: bool | None
) -> tuple[Solution, bool]:
    """Tighten the trajectories, and in the plane halve the cells, from `grid` on until the estimate meets `tol`.

    On a line cell averages are exact whatever the cells, which therefore stay.

    Returns
    -------
    solution : Solution
    met : bool
        False when the budget or the memory is spent, or when what is left of the error is beyond the box.
    """
    rtol = min(max(RTOL_SHARE * tol, RTOL_RANGE[0]), RTOL_RANGE[1]) * (1.0 if grid.dim == 1 else RATIO)
    sources, records = _sources(problem, grid), list[Record]()
    before: Transported | None = None
    while True:
        accuracy = Accuracy(rtol, length(grid))
        with progress_bar(1, f"level {len(records) + 1}, {grid.shape} cells", enabled=progress) as bar:
            level, record = _level(problem, grid, accuracy, sources, before)
            bar.update(1)
        records.append(record)
        if grid.dim == 1:
            solution = _on_line(problem, grid, sources, level, list(records), accuracy)
        elif before is None:
            before, rtol, grid = level, rtol / RATIO, grid.refine()
            continue
        else:
            factor, noise = np.full(level.values.shape[:2], PLANE_FACTOR), _noise(problem, grid, record.steps)
            solution = Solution(grid, level.values, before.values, factor, list(records), noise)
        met = bool(np.max(solution.error(problem)) <= tol)
        hopeless = bool(np.max(MISPLACED * solution.tail(problem) + solution.rounding(problem)) > tol)
        spent = sum(r.updates for r in solution.levels) + solution.levels[-1].updates * GROWTH[grid.dim]
        enough = met or hopeless or level.unsure is not None or rtol < RATIO * SMALLEST_RTOL or spent > budget
        if enough or not fits(grid, *level.values.shape[:2]):
            return solution, met
        before, rtol, records = level, rtol / RATIO, solution.levels
        grid = grid if grid.dim == 1 else grid.refine()


def _level(
    problem: Problem, grid: Grid, accuracy: Accuracy, sources: list[Source], companion: Transported | None = None
) -> tuple[Transported, Record]:
    """Cell averages per volume of the solver's coordinate, and what they cost."""
    done = transport(problem.dynamics, grid, problem.saves, sources, accuracy, companion)
    return done, Record(grid.shape, done.steps, done.cost)


def _on_line(
    problem: Problem, grid: Grid, sources: list[Source], level: Transported, records: list[Record], accuracy: Accuracy
) -> Solution:
    """The solution on a line: its error is what the errors of origins do to the masses.

    To first order the mass that changes hands at a face is that between its origin and the origin moved by its error.
    Where rounding decides both faces of a cell may err either way; where paths were followed again the errors are
    known with their signs, and `UNSIGNED` of what they would do without is kept for what lies between those looked at.
    """
    assert level.origins is not None
    unsure, cost, share = level.unsure, 0, ORIGIN_SAFETY
    change = np.zeros(level.values.shape)
    if unsure is None:
        signed, unsure, cost = _followed_again(problem, grid, level, accuracy)
        moved = np.stack([[masses_between(source, row) for row in level.origins + signed] for source in sources])
        change, share = ORIGIN_SAFETY * np.abs(moved - level.values * grid.volume), UNSIGNED
    known = np.stack([level.origins, level.origins + unsure], axis=-1).reshape(len(level.origins), -1)
    hands = np.abs([[masses_between(source, row)[::2] for row in known] for source in sources])
    change += share * (hands[..., 1:] + hands[..., :-1])
    floor = np.asarray((problem.weight_values(grid) * change).sum(axis=-1))
    last = records[-1]
    levels = [*records[:-1], replace(last, cost=last.updates + cost)]
    noise = _noise(problem, grid, last.steps, traced=level.unsure is None)
    return Solution(grid, level.values, grid.restrict(level.values), np.ones(floor.shape), levels, noise, floor=floor)


def _followed_again(problem: Problem, grid: Grid, level: Transported, accuracy: Accuracy) -> tuple[Array, Array, int]:
    """What origins of all faces are wrong by, from some that are followed again more closely; and the cost.

    All faces share the steps of the integrator, so that errors vary smoothly from face to face: with their signs
    between those looked at, and at most the largest of the five nearest.
    """
    from scipy.ndimage import maximum_filter1d

    assert level.origins is not None
    faces = grid.face_axes[0]
    even = np.linspace(0, len(faces) - 1, min(len(faces), LOOKED_AT))
    # as many where the masses are
    masses = np.abs(level.values).mean(axis=(0, 1)) * grid.volume
    below = np.append(0.0, np.cumsum(masses))
    crowded = np.interp(np.linspace(0.0, below[-1], LOOKED_AT), below, np.arange(len(faces)))
    some = np.unique(np.concatenate([even, crowded]).round().astype(int))
    closer = replace(accuracy, rtol=max(accuracy.rtol / RATIO, SMALLEST_RTOL))
    again = follow_back(problem.dynamics, faces[some], problem.saves, closer, level.taken, together(grid))
    size = length(grid) + np.abs(level.origins)
    apart = again.origins - level.origins[:, some]
    signed = np.stack([np.interp(np.arange(len(faces)), some, row) for row in apart])
    largest = maximum_filter1d(np.abs(apart) / size[:, some], 5, axis=1, mode="nearest")
    near = largest[:, np.searchsorted(some, np.arange(len(faces)))]
    return signed, np.asarray((near + ROUNDING * np.finfo(float).eps) * size), again.cost


def _sources(problem: Problem, grid: Grid) -> list[Source]:
    """The starts in the solver's coordinate; arrays of cell averages live on `grid`."""
    at = float(problem.saves[0])
    where = problem.position_grid(grid, at)
    origin = np.zeros(grid.dim) if problem.frame is None else problem.frame.center(at)
    scale = np.ones(grid.dim) if problem.frame is None else problem.frame.scale(at)
    values = problem.start_values(grid)
    return [
        LawSource(start, origin, scale, where) if isinstance(start, Law) else CellSource(grid, values[k])
        for k, start in enumerate(problem.starts.values())
    ]


def _noise(problem: Problem, grid: Grid, steps: int, *, traced: bool = True) -> float:
    """Round-off of a mass: positions are rounded relative to the box, and a cell is a small part of it.

    Paths also have the velocity shortly before coefficients become infinite.
    """
    noise = float(np.finfo(float).eps * (4.0 + steps**0.5) * max(1.0, max(grid.shape) / 4.0))
    return noise + (HELD if traced and problem.saves[0] > problem.dynamics.held_from else 0.0)

"""Kernels of any dynamics by finite-volume steps: all point starts as right-hand sides of the same solves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve._times import one
from fpsolve.dynamics import BaseDynamics, RunClock
from fpsolve.grid import Grid
from fpsolve.kernels._kernel import Kernel, Operator, require_backwards, require_small
from fpsolve.solver import Scheme, advance, rates_at, retreat, scheme_named, step_table

if TYPE_CHECKING:
    from fpsolve.solver import StepTable

Array = NDArray[np.float64]

#: Clock per step by default, and the fewest steps of a block.
CLOCK_STEP = 0.05
FEWEST = 16
#: Startup steps of schemes that have a startup.
STARTUP = 4
#: Rates are computed for so many steps at once that about this many cells are in flight.
CHUNK_CELLS = 250_000
#: Point starts advanced together: bounds the memory of the solves.
CHUNK_STARTS = 512


@dataclass(frozen=True, eq=False)
class FiniteVolumeOperator(Operator):
    """Finite-volume steps between two times, see `finite_volume_operator`.

    Attributes
    ----------
    dynamics : BaseDynamics
    times : array, shape (steps + 1,)
        Step times, equal steps in the clock of a run that starts from a single cell between the times at which
        coefficients jump or have kinks (`breaks` of the dynamics), which are step times.
    scheme : Scheme
    """

    dynamics: BaseDynamics
    times: Array
    scheme: Scheme

    def push_masses(self, masses: Array) -> Array:
        """Masses (n, cells) -> masses (n, cells)."""
        q = masses.reshape(-1, *self.grid.shape)
        for part, table in self._chunks(range(0, self.steps, self._chunk)):
            q = advance(q, part, table, periodic=self.dynamics.boundary == "periodic")
        return np.asarray(q.reshape(masses.shape))

    def pull_functions(self, f: Array) -> Array:
        """Functions (n, cells) -> functions (n, cells)."""
        if self.dynamics.boundary == "periodic":
            raise _checks.error("dynamics", "no-flux ends for a pull", "periodic", "pull with the matrix")
        values = f.reshape(-1, *self.grid.shape)
        for part, table in self._chunks(reversed(range(0, self.steps, self._chunk))):
            values = retreat(values, part, table)
        return np.asarray(values.reshape(f.shape))

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.times) - 1

    @property
    def _chunk(self) -> int:
        return max(1, CHUNK_CELLS // prod(self.grid.shape))

    def _chunks(self, firsts: Iterator[int] | range) -> Iterator[tuple[list[tuple[Array, Array]], StepTable]]:
        """Rates and step numbers of chunk after chunk."""
        dt = np.diff(self.times)
        nodes = self.times[:-1] + self.scheme.node * dt
        table = step_table(self.scheme, np.abs(dt), startup=STARTUP)
        for first in firsts:
            part = slice(first, min(first + self._chunk, self.steps))
            yield rates_at(self.dynamics, self.grid, nodes[part]), table[part]


def finite_volume_operator(
    dynamics: BaseDynamics, grid: Grid, t0: float, t1: float, *, steps: int | None = None, scheme: str = "tr-bdf2"
) -> FiniteVolumeOperator:
    """Return the finite-volume kernel of a dynamics as an operator: `push` and its transpose `pull`, no matrix.

    ``d_r q = -div(b q) + c^2/2 Lap q`` from t0 to t1, as `evolve` solves it on one grid (second order in space and
    time), and the backward equation by transposed solves: to rounding ``sum push(q) f = sum q pull(f)``.

    Parameters
    ----------
    dynamics : Reverse, Forward, Langevin or Dynamics
    grid : Grid
        Any size.
    t0, t1 : float
        Forward times; ``t0 > t1 > 0`` for reverse dynamics, ``t0 < t1`` for every other.
    steps : int, optional
        Default: one per 0.05 of the run's clock, at least 16. Steps end where eta, the process or the score jumps or
        has a kink (the `breaks` of the dynamics); at least one on either side is taken whatever the number.
    scheme : {"tr-bdf2", "damped-crank-nicolson", "crank-nicolson", "backward-euler"}
        The default damps point starts; only backward Euler keeps every entry non-negative whatever the steps.

    Raises
    ------
    ValueError
        Times out of order or range, noise zero (eta = 0), an unknown scheme, mixed dimensions.

    Examples
    --------
    >>> import fpsolve as fp
    >>> grid = fp.Grid.uniform((-6, 6), cells=120)
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0))
    >>> step = finite_volume_operator(reverse, grid, 1.0, 0.5)
    >>> round(float(step.pull(grid.x)[80] / grid.x[80] - np.exp(-0.5)), 3)
    0.0
    """
    _checks.instances(dynamics=(dynamics, BaseDynamics), grid=(grid, Grid))
    start, end = _times(dynamics, t0, t1)
    dim = getattr(dynamics, "dim", grid.dim)
    _checks.same_dim("grid", grid.dim, "dynamics", dim)
    used = scheme_named(scheme)
    clock = RunClock(dynamics, start, end, min(grid.spacing))
    total = float(clock.at(end))
    count = max(FEWEST, ceil(total / CLOCK_STEP)) if steps is None else _checks.integer("steps", steps)
    times = _step_times(clock, total, count)
    name = f"{scheme} {start:g} -> {end:g}"
    return FiniteVolumeOperator(grid, start, end, grid, name, dynamics=dynamics, times=times, scheme=used)


def finite_volume(
    dynamics: BaseDynamics, grid: Grid, t0: float, t1: float, *, steps: int | None = None, scheme: str = "tr-bdf2"
) -> Kernel:
    """Return the finite-volume kernel of a dynamics as a matrix: what `finite_volume_operator` does to every cell.

    Parameters
    ----------
    dynamics, grid, t0, t1, steps, scheme
        As for `finite_volume_operator`; at most 2000 cells in 1D, 48 x 48 in 2D.

    Returns
    -------
    Kernel
        `defects` holds how far the rounding of the steps had moved the row sums from one; `negative` what the scheme
        left below zero.

    Raises
    ------
    ValueError
        As there, and too many cells (with the memory they would take).

    Examples
    --------
    >>> import fpsolve as fp
    >>> kernel = finite_volume(fp.Forward(fp.OrnsteinUhlenbeck(T=1.0)), fp.Grid.uniform((-6, 6), cells=60), 0.0, 1.0)
    >>> kernel.matrix.shape, kernel.defect < 1e-12
    ((60, 60), True)
    """
    _checks.instances(dynamics=(dynamics, BaseDynamics), grid=(grid, Grid))
    require_small(grid, remedy="push one density or pull one function at a time with finite_volume_operator")
    operator = finite_volume_operator(dynamics, grid, t0, t1, steps=steps, scheme=scheme)
    cells = prod(grid.shape)
    matrix = np.empty((cells, cells))
    for first in range(0, cells, CHUNK_STARTS):
        starts = np.zeros((min(CHUNK_STARTS, cells - first), cells))
        starts[np.arange(len(starts)), first + np.arange(len(starts))] = 1.0
        matrix[first : first + len(starts)] = operator.push_masses(starts)
    sums = matrix.sum(axis=1)
    matrix /= sums[:, None]
    return Kernel(matrix, grid, operator.t0, operator.t1, None, operator.name, np.abs(sums - 1.0))


def _step_times(clock: RunClock, total: float, count: int) -> Array:
    """About equal steps in the clock that end at every break: a step across a jump is of first order."""
    breaks = np.array(clock.breaks)
    ends = np.concatenate([[clock.first], breaks[np.argsort(clock.at(breaks))], [clock.last]])
    tau = np.concatenate([[0.0], clock.at(ends[1:-1]), [total]])
    # the equal steps that end nearest to the breaks, moved there
    nearest = np.rint(count * tau / total).astype(np.int64)
    steps = np.append(0, np.cumsum(np.maximum(1, np.diff(nearest))))
    times = clock.inverse(np.interp(np.arange(steps[-1] + 1), steps, tau))
    times[steps] = ends
    return times


def _times(dynamics: BaseDynamics, t0: float, t1: float) -> tuple[float, float]:
    if not dynamics.reversed_time:
        start, end = _checks.non_negative("t0", t0), one("t1", t1, 0.0, dynamics.horizon)
        if not start < end:
            expected = f"a time after t0 = {_checks.digits(start)}"
            raise _checks.error("t1", expected, _checks.digits(end), "this dynamics runs forwards")
        return start, end
    start, end = require_backwards(t0, t1, dynamics.horizon)
    if end == 0.0:
        raise _checks.error("t1", "a forward time > 0 for finite volumes", "0", "stop short of 0, or use exact")
    return start, end

"""The time loop of an ensemble: noise at the ends of every step, finite volumes between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve.dynamics import BaseDynamics, RunClock
from fpsolve.evolution.march import CHUNK_CELLS
from fpsolve.evolution.plan import StepPlan
from fpsolve.grid import Grid
from fpsolve.solver import Scheme, advance, rates_at, step_table
from fpsolve.stochastic._brownian import BrownianPaths
from fpsolve.stochastic._coupling import Coupling, gain
from fpsolve.stochastic._functional import RadialFunction, against_averages, extended_points
from fpsolve.stochastic._ito import ito_rates_at
from fpsolve.stochastic._noise import ScoreNoise
from fpsolve.stochastic._warm import warm_up

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """What an ensemble has to solve, before any grid."""

    dynamics: BaseDynamics
    clock: RunClock
    noise: ScoreNoise
    brownian: BrownianPaths
    function: RadialFunction
    ito: bool
    scheme: Scheme

    @property
    def periodic(self) -> bool:
        """Whether the ends are joined."""
        return self.dynamics.boundary == "periodic"


@dataclass(frozen=True, eq=False)
class Level:
    """One solution of an ensemble.

    Attributes
    ----------
    times : array, shape (steps + 1,)
        Forward times of the steps.
    values : array, shape (paths, saves, nx[, ny])
    functional : array, shape (paths, steps + 1)
        ``<u, phi>`` at the step times.
    variation : array, shape (paths, steps)
        ``c^2 sum_k lambda_k <u, e_k . grad phi>^2 dr`` over every step.
    smallest : array, shape (paths,)
        Smallest cell average after any step.
    """

    grid: Grid
    plan: StepPlan
    times: Array
    values: Array
    functional: Array
    variation: Array
    smallest: Array


def march(
    ensemble: Ensemble, grid: Grid, plan: StepPlan, start: Array, tick: Callable[[int], None] = lambda steps: None
) -> Level:
    r"""Take one start along every Brownian path of an ensemble.

    A step of length h moves the densities along the modes by ``A_k = (1/h) \int (W^k - W^k_n) ds`` with the
    coefficients of its beginning, then by finite volumes, then by the rest of the increment with those of its end: the
    path that jumps so has the increment and the time integral of W^k, and c sqrt(lambda_k) e_k is weighted rightly to
    first order within the step. Along a path the error falls like h for one mode or modes whose flows commute (like
    h^2 on Gaussians under constant noise), like h^(1/2) for others: Levy areas are not simulated.

    Parameters
    ----------
    ensemble : Ensemble
    grid : Grid
    plan : StepPlan
    start : array, shape (nx[, ny])
        Cell averages of the start.
    tick : callable
        Told how many steps were just done.

    References
    ----------
    Foster, dos Reis and Strange 2024, arXiv:2210.17543 (splittings by paths that match increments and integrals).
    """
    warm_up(grid.dim, ensemble.periodic)
    times = plan.times(ensemble.clock)
    increment, mean = ensemble.brownian.increments(np.abs(times - times[0]))
    state = _State(ensemble, grid, np.repeat(start[None], ensemble.brownian.paths, axis=0))
    rest = increment - mean
    steps = len(times) - 1
    marks = np.cumsum(plan.counts)
    values = np.empty((len(increment), len(plan.saves), *grid.shape))
    values[:, 0] = start
    functional, variation = np.empty((len(increment), steps + 1)), np.empty((len(increment), steps))
    functional[:, 0] = state.functional()
    ends = (state.stirring(float(times[0])),) * 2
    table = step_table(ensemble.scheme, np.abs(np.diff(times)), startup=plan.startup)
    nodes = times[:-1] + ensemble.scheme.node * np.diff(times)
    chunk = max(1, CHUNK_CELLS // int(np.prod(grid.shape)))
    for first in range(0, steps, chunk):
        rates = _rates(ensemble, grid, nodes[first : first + chunk])
        for n in range(first, min(first + chunk, steps)):
            state.kick(mean[..., n], float(times[n]))
            inner = [state.stirring(float(times[n]))]
            part = [(up[n - first : n - first + 1], down[n - first : n - first + 1]) for up, down in rates]
            state.q = advance(state.q, part, table[n : n + 1], periodic=ensemble.periodic)
            inner.append(state.stirring(float(times[n + 1])))
            state.kick(rest[..., n], float(times[n + 1]))
            ends = ends[-1], state.stirring(float(times[n + 1]))
            variation[:, n] = table.dt[n] * _mean_square(inner, ends)
            functional[:, n + 1] = state.functional()
            state.watch()
            values[:, np.flatnonzero(marks == n + 1) + 1] = state.q[:, None]
            tick(1)
    return Level(grid, plan, times, values, functional, variation, state.smallest)


def _mean_square(inner: list[Array], ends: tuple[Array, Array]) -> Array:
    """Mean over a step of ``sum_k X_k^2`` for X that moves like Brownian motion, shape (paths,).

    `inner` are X at the mean of the Brownian path within the step, before and after the drift: they give the square of
    the mean. The variance within the step is a sixth of the square of the increment, on average.
    """
    square = 0.5 * (np.square(inner[0]) + np.square(inner[1])) + np.square(ends[1] - ends[0]) / 6.0
    return np.asarray(square.sum(axis=1))


def _rates(ensemble: Ensemble, grid: Grid, nodes: Array) -> list[tuple[Array, Array]]:
    if ensemble.ito:
        return ito_rates_at(ensemble.dynamics, ensemble.noise, grid, nodes)
    return rates_at(ensemble.dynamics, grid, nodes)


class _State:
    """The densities of all paths, and what is read off them."""

    def __init__(self, ensemble: Ensemble, grid: Grid, q: Array) -> None:
        self.q = q
        self._dynamics = ensemble.dynamics
        self._coupling = Coupling(ensemble.noise, grid, ensemble.function, ensemble.periodic)
        phi = ensemble.function.value(extended_points(grid), grid.dim)
        self._phi = against_averages(phi, grid).ravel()
        self.smallest = self._flat().min(axis=1)

    def _flat(self) -> Array:
        return self.q.reshape(len(self.q), -1)

    def kick(self, amounts: Array, t: float) -> None:
        """Move along the modes by c(t) times amounts, shape (paths, modes)."""
        velocity, _ = self._coupling.at(t)
        self._coupling.kick(self.q, velocity, gain(self._dynamics, t) * amounts, t)

    def functional(self) -> Array:
        """<u, phi> of every path."""
        return np.asarray(self._flat() @ self._phi)

    def stirring(self, t: float) -> Array:
        """``c sqrt(lambda_k) <u, e_k . grad phi>``, shape (paths, modes)."""
        _, rate = self._coupling.at(t)
        return np.asarray(gain(self._dynamics, t) * (self._flat() @ rate.T))

    def watch(self) -> None:
        """Keep the smallest value."""
        self.smallest = np.minimum(self.smallest, self._flat().min(axis=1))

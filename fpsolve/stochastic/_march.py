"""The time loop of an ensemble: noise at the ends of every step, finite volumes between them.

The Ito variant is the same equation without the term that Stratonovich noise carries, so with less diffusion. In the
Stratonovich form that is solved here it reads ``d_r u = -div(b u) + D Lap u - 1/2 c^2 sum_k lambda_k div(e_k
div(e_k u))``: the drift gains ``1/2 c^2 sum_k lambda_k e_k div e_k`` and the diffusivity loses
``1/2 c^2 sum_k lambda_k e_k e_k^T``, which must leave it non-negative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve._compile import saying_if_compiled
from fpsolve.dynamics import BaseDynamics, RunClock
from fpsolve.evolution import CHUNK_CELLS, StepPlan, _march
from fpsolve.grid import Grid
from fpsolve.solver import Scheme, advance, face_points, jump_rates, rates_at, step_table
from fpsolve.stochastic._metric import RadialFunction, against_averages, extended_points, gain
from fpsolve.stochastic._noise import BrownianPaths, ScoreNoise

Array = NDArray[np.float64]
Rates = list[tuple[Array, Array]]

#: Excess over the diffusion, and correlation of the components, that are mere rounding.
_ROUNDING = 1e-12
#: Beyond this exponent a face carries nothing against the drift.
_ONE_WAY = 500.0


def require_well_posed(dynamics: BaseDynamics, noise: ScoreNoise, grid: Grid, times: Array) -> None:
    """Refuse noise that is somewhere stronger than the diffusion: ``c^2 sum lambda_k e_k e_k^T <= eta^2 g^2 I``.

    Raises
    ------
    ValueError
        With the time and place of the worst violation; in 2D also modes whose components are correlated (the grid
        has no cross diffusion to take away from).
    """
    fixed = _strongest(noise, grid, float(times[0])) if noise.autonomous else None
    worst, place, when, allowed = -np.inf, "", 0.0, 0.0
    for t in times:
        strongest, where, mixed = _strongest(noise, grid, float(t)) if fixed is None else fixed
        if mixed > _ROUNDING * strongest:
            remedy = "use the Stratonovich form, or modes along the axes"
            raise _checks.error("convention", "modes with uncorrelated components for Ito in 2D", "others", remedy)
        power, limit = gain(dynamics, float(t)) ** 2 * strongest, float(dynamics.noise(t)) ** 2
        if power - limit > worst:
            worst, place, when, allowed = power - limit, where, float(t), limit
    if worst > _ROUNDING * allowed:
        raise _checks.error(
            "noise",
            f"Ito noise no stronger than the diffusion, c^2 sum lambda e e^T <= {allowed:.4g} at t = {when:g}",
            f"{worst + allowed:.4g} at {place}, a negative diffusion",
            "use the Stratonovich form or smaller strengths",
        )


def _strongest(noise: ScoreNoise, grid: Grid, t: float) -> tuple[float, str, float]:
    """Largest eigenvalue of sum lambda e e^T over the cell centres, where it is, and the largest mixed entry."""
    points = grid.x
    root = np.sqrt(noise.variances)
    if grid.dim == 1:
        power = np.square(root[:, None] * noise.values(t, points)).sum(axis=0)
        k = int(np.argmax(power))
        return float(power[k]), f"x = {points[k]:.4g}", 0.0
    e = root[:, None, None, None] * noise.values(t, points)
    xx, yy, xy = np.square(e[..., 0]).sum(0), np.square(e[..., 1]).sum(0), (e[..., 0] * e[..., 1]).sum(0)
    power = 0.5 * (xx + yy) + np.hypot(0.5 * (xx - yy), xy)
    k = int(np.argmax(power))
    x, y = points.reshape(-1, 2)[k]
    return float(power.ravel()[k]), f"x = ({x:.4g}, {y:.4g})", float(np.abs(xy).max())


def ito_rates_at(dynamics: BaseDynamics, noise: ScoreNoise, grid: Grid, times: Array) -> Rates:
    """Jump rates (up, down) per axis at the given times, as `solver.rates_at` gives them without noise."""
    plain = rates_at(dynamics, grid, times)
    diffusivity = np.broadcast_to(dynamics.diffusivity(times), (len(times), grid.dim))
    power = np.array([gain(dynamics, float(t)) ** 2 for t in times])
    fixed = [_at_faces(noise, grid, k, float(times[0]), dynamics) for k in range(grid.dim)] if noise.autonomous else []
    rates = []
    for k, (up, down) in enumerate(plain):
        pairs = [fixed[k]] * len(times) if fixed else [_at_faces(noise, grid, k, float(t), dynamics) for t in times]
        shape = (-1,) + (1,) * grid.dim
        half = 0.5 * power.reshape(shape)
        drift = (up - down) * grid.spacing[k] + half * np.stack([push for push, _ in pairs])
        left = diffusivity[:, k].reshape(shape) - half * np.stack([square for _, square in pairs])
        rates.append(_rates_of(drift, left, grid.spacing[k]))
    return rates


def _at_faces(noise: ScoreNoise, grid: Grid, axis: int, t: float, dynamics: BaseDynamics) -> tuple[Array, Array]:
    """``sum lambda e_i div e`` and ``sum lambda e_i^2`` at the faces across an axis i."""
    points = face_points(grid, axis, periodic=dynamics.boundary == "periodic")
    lam = noise.variances.reshape((-1,) + (1,) * grid.dim)
    e = noise.values(t, points).reshape(noise.size, *points.shape[: grid.dim], grid.dim)
    divergence = np.zeros(e.shape[:-1])
    for k, h in enumerate(grid.spacing):
        shift = 0.5 * h if grid.dim == 1 else 0.5 * h * np.eye(2)[k]
        ahead, behind = (noise.values(t, points + s * shift).reshape(e.shape)[..., k] for s in (1.0, -1.0))
        divergence += (ahead - behind) / h
    normal = e[..., axis]
    return (lam * normal * divergence).sum(axis=0), (lam * normal**2).sum(axis=0)


def _rates_of(drift: Array, diffusivity: Array, h: float) -> tuple[Array, Array]:
    """Scharfetter-Gummel rates where the diffusivity varies from face to face; upwind where there is next to none."""
    floor = np.maximum(np.abs(drift) * h / _ONE_WAY, np.finfo(float).tiny)
    usual = diffusivity > floor
    held = np.where(usual, diffusivity, 1.0)
    up, down = jump_rates(np.where(usual, drift * h / held, 0.0), np.ones(len(drift)))
    factor = held / h**2
    one_way = np.abs(drift) / h
    return (
        np.where(usual, up * factor, np.where(drift > 0.0, one_way, 0.0)),
        np.where(usual, down * factor, np.where(drift < 0.0, one_way, 0.0)),
    )


_CELLS = 8


@cache
def warm_up(dim: int, periodic: bool) -> None:
    """Load or compile everything that an ensemble runs; the next call does nothing."""
    _march.warm_up(dim, periodic)
    with saying_if_compiled():
        from fpsolve.stochastic._lines import remap_lines, remap_planes
        from fpsolve.stochastic._noise import BrownianPaths

        BrownianPaths(0, 1, 1, 1.0).at([0.0, 1.0])
        if dim == 1:
            remap_lines(np.ones((1, _CELLS)), np.zeros((1, _CELLS + 1)), 0.25, periodic)
        else:
            still = np.zeros((1, _CELLS, _CELLS))
            remap_planes(still + 1.0, still, still, 1)


#: Change of the displacement from cell to cell that one piece of the flow may cover.
STEEPEST = 0.25


@dataclass(frozen=True, eq=False)
class Coupling:
    """Modes on a grid, each times the root of its strength: a time is asked for five times in a row, computed once."""

    noise: ScoreNoise
    grid: Grid
    function: RadialFunction
    periodic: bool
    _kept: dict[float, tuple[Array, Array]] = field(default_factory=dict, repr=False)

    def at(self, t: float) -> tuple[Array, Array]:
        """Velocities and rates at time t.

        Returns
        -------
        velocity : array, shape (modes, nx + 1) in 1D, (modes, 2, nx, ny) in 2D
            ``sqrt(lambda_k) e_k`` in cells: at the faces in 1D, at the centres in 2D.
        rate : array, shape (modes, cells)
            ``sum rate u = sqrt(lambda_k) <u, e_k . grad phi>`` for cell averages u.
        """
        key = 0.0 if self.noise.autonomous else t
        if key not in self._kept:
            self._kept.clear()
            self._kept[key] = self._compute(t)
        return self._kept[key]

    def _compute(self, t: float) -> tuple[Array, Array]:
        root = np.sqrt(self.noise.variances)
        points = extended_points(self.grid)
        gradient = self.function.gradient(points, self.grid.dim)
        if self.grid.dim == 1:
            at_faces = self.noise.values(t, self.grid.face_axes[0])
            rate = against_averages(root[:, None] * self.noise.values(t, points) * gradient, self.grid)
            return root[:, None] * at_faces / self.grid.spacing[0], rate
        modes = root[:, None, None, None] * self.noise.values(t, points)
        rate = against_averages((modes * gradient).sum(axis=-1), self.grid)
        velocity = np.moveaxis(modes[:, 1:-1, 1:-1] / np.array(self.grid.spacing), -1, 1)
        return np.ascontiguousarray(velocity), rate.reshape(len(rate), -1)

    def kick(self, q: Array, velocity: Array, amounts: Array, t: float) -> None:
        """Move the densities q (paths, nx[, ny]) along the modes by amounts (paths, modes), in place.

        Raises
        ------
        ValueError
            A map that folds the grid over, with the time: the steps are too large for the noise.
        """
        from fpsolve.stochastic._lines import remap_lines, remap_planes

        moved = np.tensordot(amounts, velocity, axes=1)
        if self.grid.dim == 1:
            gap = remap_lines(q, moved, STEEPEST, self.periodic)
        else:
            vx, vy = np.ascontiguousarray(moved[:, 0]), np.ascontiguousarray(moved[:, 1])
            change = max(float(np.abs(np.diff(v, axis=k)).max()) for v in (vx, vy) for k in (1, 2))
            gap = remap_planes(q, vx, vy, max(1, int(np.ceil(change / STEEPEST))))
        if not gap > 0.0:
            raise _checks.error(
                "steps",
                "steps small enough for the noise to move the grid without folding it",
                f"a fold at t = {t:g}",
                "take more steps, smoother modes or smaller strengths",
            )


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
    w : array, shape (paths, modes, steps + 1)
        The Brownian motions there.
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
    w: Array
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
    w, increment, mean = ensemble.brownian.along(np.abs(times - times[0]))
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
        some = nodes[first : first + chunk]
        if ensemble.ito:
            rates = ito_rates_at(ensemble.dynamics, ensemble.noise, grid, some)
        else:
            rates = rates_at(ensemble.dynamics, grid, some)
        for n in range(first, min(first + chunk, steps)):
            state.kick(mean[..., n], float(times[n]))
            inner = [state.stirring(float(times[n]))]
            part = [(up[n - first : n - first + 1], down[n - first : n - first + 1]) for up, down in rates]
            state.q = advance(state.q, part, table[n : n + 1], periodic=ensemble.periodic)
            inner.append(state.stirring(float(times[n + 1])))
            state.kick(rest[..., n], float(times[n + 1]))
            ends = ends[-1], state.stirring(float(times[n + 1]))
            # mean over a step of ``sum_k X_k^2`` for X that moves like Brownian motion, shape (paths,)
            square = 0.5 * (np.square(inner[0]) + np.square(inner[1])) + np.square(ends[1] - ends[0]) / 6.0
            variation[:, n] = table.dt[n] * np.asarray(square.sum(axis=1))
            functional[:, n + 1] = state.functional()
            state.watch()
            values[:, np.flatnonzero(marks == n + 1) + 1] = state.q[:, None]
            tick(1)
    return Level(grid, plan, times, w, values, functional, variation, state.smallest)


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

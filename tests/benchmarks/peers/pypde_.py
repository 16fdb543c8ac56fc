"""py-pde: explicit adaptive Runge-Kutta on central differences, compiled by numba.

Written as a class of its own, the way its documentation recommends for speed: as an expression, the score of the five
Gaussians keeps the symbolic front end busy for more than five minutes.
"""

from __future__ import annotations

from collections.abc import Callable

import _peer
import numba as nb
import numpy as np
import pde
import problem

Array = _peer.Array


@nb.njit(fastmath=True)
def _carry_line(q: Array, t: float, x: Array, means: Array, variances: Array, weights: Array, out: Array) -> None:
    """out = b q on the line, t the forward time."""
    shrink = np.exp(-t)
    for i in range(x.size):
        total, slope = 0.0, 0.0
        for k in range(means.size):
            v, d = 1.0 + (variances[k] - 1.0) * shrink**2, x[i] - shrink * means[k]
            part = weights[k] / np.sqrt(v) * np.exp(-0.5 * d * d / v)
            total += part
            slope += part * d / v
        out[i] = (x[i] - 2.0 * slope / total) * q[i]


@nb.njit(fastmath=True)
def _carry_plane(
    q: Array, t: float, x: Array, means: Array, turns: Array, stds: Array, weights: Array, out_x: Array, out_y: Array
) -> None:
    """(out_x, out_y) = b q in the plane, t the forward time."""
    shrink = np.exp(-t)
    v0, v1 = 1.0 + (stds[0] ** 2 - 1.0) * shrink**2, 1.0 + (stds[1] ** 2 - 1.0) * shrink**2
    c, s = np.cos(turns), np.sin(turns)
    for i in range(x.size):
        for j in range(x.size):
            total, along_x, along_y = 0.0, 0.0, 0.0
            for k in range(weights.size):
                dx, dy = x[i] - shrink * means[k, 0], x[j] - shrink * means[k, 1]
                a, b = c[k] * dx + s[k] * dy, c[k] * dy - s[k] * dx
                part = weights[k] * np.exp(-0.5 * (a * a / v0 + b * b / v1))
                total += part
                along_x += part * (c[k] * a / v0 - s[k] * b / v1)
                along_y += part * (s[k] * a / v0 + c[k] * b / v1)
            out_x[i, j] = (x[i] - 2.0 * along_x / total) * q[i, j]
            out_y[i, j] = (x[j] - 2.0 * along_y / total) * q[i, j]


class Line(pde.PDEBase):
    """``laplace(q) - d_dx(b q)``."""

    explicit_time_dependence = True

    def evolution_rate(self, state: pde.ScalarField, t: float = 0) -> pde.ScalarField:
        raise NotImplementedError

    def make_evolution_rate(self, state: pde.ScalarField, backend: object) -> Callable[..., Array]:
        laplace, d_dx = (
            state.grid.make_operator(name, bc={"value": 0.0}, backend=backend, dtype=state.dtype)
            for name in ("laplace", "d_dx")
        )
        x, horizon = problem.centres(state.grid.shape[0]), problem.T
        means, variances, weights = problem.LINE_MEANS, problem.LINE_STDS**2, problem.LINE_WEIGHTS

        def rate(q: Array, t: float) -> Array:
            flux = np.empty_like(q)
            _carry_line(q, horizon - t, x, means, variances, weights, flux)
            return laplace(q) - d_dx(flux)

        return rate


class Plane(Line):
    """``laplace(q) - d_dx(b_x q) - d_dy(b_y q)``."""

    def make_evolution_rate(self, state: pde.ScalarField, backend: object) -> Callable[..., Array]:
        laplace, d_dx, d_dy = (
            state.grid.make_operator(name, bc={"value": 0.0}, backend=backend, dtype=state.dtype)
            for name in ("laplace", "d_dx", "d_dy")
        )
        x, horizon = problem.centres(state.grid.shape[0]), problem.T
        means, turns, stds = problem.PLANE_MEANS, problem.PLANE_TURNS, problem.PLANE_STDS
        weights = problem.PLANE_WEIGHTS

        def rate(q: Array, t: float) -> Array:
            flux_x, flux_y = np.empty_like(q), np.empty_like(q)
            _carry_plane(q, horizon - t, x, means, turns, stds, weights, flux_x, flux_y)
            return laplace(q) - d_dx(flux_x) - d_dy(flux_y)

        return rate


def _stepper(equation: pde.PDEBase, grid: pde.CartesianGrid, start: Array, steps: int) -> Callable[[], Array]:
    """Compile once; there are no steps to choose, so the tolerance is 1 / steps^2."""
    solver = pde.RungeKuttaSolver(equation, adaptive=True, tolerance=1.0 / steps**2)
    state = pde.ScalarField(grid, start)
    advance = solver.make_stepper(state, dt=1e-4)
    advance(state.copy(), 0.0, 1e-3)

    def solve() -> Array:
        current = state.copy()
        advance(current, 0.0, problem.T - problem.T_MIN)
        return np.array(current.data)

    return solve


def line(cells: int, steps: int) -> Callable[[], Array]:
    grid = pde.CartesianGrid([problem.BOX], cells)
    return _stepper(Line(), grid, problem.line_averages(problem.T, cells), steps)


def plane(cells: int, steps: int) -> Callable[[], Array]:
    grid = pde.CartesianGrid([problem.BOX] * 2, cells)
    return _stepper(Plane(), grid, problem.plane_averages(problem.T, cells), steps)


if __name__ == "__main__":
    _peer.main(line, plane)

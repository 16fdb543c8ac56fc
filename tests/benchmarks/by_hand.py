"""What a careful user writes without fpsolve: Scharfetter-Gummel fluxes under `scipy.integrate.solve_ivp`.

The exponents of the faces are differences of ``2 log p + |x|^2/2`` between cell centres, as in fpsolve: one
evaluation of the density per cell, not one score per face. Everything that does not change with time is computed once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from benchmarks import problem
from numba import njit
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.sparse import csc_matrix, diags_array

Array = NDArray[np.float64]


def bernoulli(z: Array) -> Array:
    """``z / (e^z - 1)``."""
    # At z = 0 the division is 0/0, and the series takes its place.
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.abs(z) < 1e-5, 1.0 - 0.5 * z, z / np.expm1(z))


def line_rhs(cells: int) -> Callable[[float, Array], Array]:
    """Right-hand side ``dq/dr`` on the line, r = T - t."""
    x = problem.centres(cells)
    h, half = x[1] - x[0], 0.5 * x**2
    low, high = problem.LINE_MEANS
    heights, variances = problem.LINE_WEIGHTS, problem.LINE_STDS**2

    def rhs(r: float, q: Array) -> Array:
        shrink = np.exp(r - problem.T)
        v = shrink**2 * (variances - 1.0) + 1.0
        p = heights[0] / np.sqrt(v[0]) * np.exp((x - shrink * low) ** 2 * (-0.5 / v[0]))
        p += heights[1] / np.sqrt(v[1]) * np.exp((x - shrink * high) ** 2 * (-0.5 / v[1]))
        z = np.diff(2.0 * np.log(p) + half)
        down = bernoulli(z)
        flux = ((down + z) * q[:-1] - down * q[1:]) / h**2
        out = np.empty_like(q)
        out[0], out[-1] = -flux[0], flux[-1]
        np.subtract(flux[:-1], flux[1:], out=out[1:-1])
        return out

    return rhs


def line_rhs_compiled(cells: int) -> Callable[[float, Array], Array]:
    """The same right-hand side as one compiled loop."""
    x = problem.centres(cells)
    means, heights, variances = problem.LINE_MEANS, problem.LINE_WEIGHTS, problem.LINE_STDS**2
    return lambda r, q: _line_loop(np.exp(r - problem.T), q, x, means, heights, variances)


@njit(cache=True, error_model="numpy", fastmath=True)
def _line_loop(shrink: float, q: Array, x: Array, means: Array, heights: Array, variances: Array) -> Array:
    h = x[1] - x[0]
    v0, v1 = shrink**2 * (variances[0] - 1.0) + 1.0, shrink**2 * (variances[1] - 1.0) + 1.0
    c0, c1 = heights[0] / np.sqrt(v0), heights[1] / np.sqrt(v1)
    out, before = np.zeros_like(q), 0.0
    for i in range(q.size):
        d0, d1 = x[i] - shrink * means[0], x[i] - shrink * means[1]
        u = 2.0 * np.log(c0 * np.exp(-0.5 / v0 * d0 * d0) + c1 * np.exp(-0.5 / v1 * d1 * d1)) + 0.5 * x[i] ** 2
        if i > 0:
            z = u - before
            size = abs(z)
            low = 1.0 - 0.5 * size if size < 1e-5 else size * np.exp(-size) / (1.0 - np.exp(-size))
            up, down = (low + size, low) if z >= 0.0 else (low, low + size)
            flux = (up * q[i - 1] - down * q[i]) / h**2
            out[i - 1] -= flux
            out[i] += flux
        before = u
    return out


def lsoda(starts: list[Array], rtol: float, atol: float, *, compiled: bool = False) -> Array:
    """One run per start, (starts, cells) at t = 0.01: LSODA with a tridiagonal Jacobian."""
    rhs = (line_rhs_compiled if compiled else line_rhs)(len(starts[0]))
    end = problem.T - problem.T_MIN
    with np.errstate(under="ignore"):
        runs = [
            solve_ivp(rhs, (0.0, end), q, method="LSODA", lband=1, uband=1, rtol=rtol, atol=atol, t_eval=[end])
            for q in starts
        ]
    return np.array([run.y[:, -1] for run in runs])


class PlaneOperator:
    """Scharfetter-Gummel on a square grid: right-hand side and its exact sparse Jacobian."""

    def __init__(self, cells: int) -> None:
        x = problem.centres(cells)
        self.cells, self.h, self.x = cells, x[1] - x[0], x
        self.half = 0.5 * (x[:, None] ** 2 + x[None, :] ** 2)

    def rates(self, r: float) -> list[tuple[Array, Array]]:
        """Rates across the faces, (up, down) along x and along y."""
        p = problem.plane_density(problem.T - r, self.x[:, None], self.x[None, :])
        u = 2.0 * np.log(p) + self.half
        rates = []
        for axis in range(2):
            z = np.diff(u, axis=axis)
            down = bernoulli(z) / self.h**2
            rates.append((down + z / self.h**2, down))
        return rates

    def rhs(self, r: float, q: Array) -> Array:
        """A(r) q from the fluxes."""
        q = q.reshape(self.cells, self.cells)
        out = np.zeros_like(q)
        for axis, (up, down) in enumerate(self.rates(r)):
            turned, result = np.moveaxis(q, axis, 0), np.moveaxis(out, axis, 0)
            flux = np.moveaxis(up, axis, 0) * turned[:-1] - np.moveaxis(down, axis, 0) * turned[1:]
            result[:-1] -= flux
            result[1:] += flux
        return out.ravel()

    def jacobian(self, r: float, q: Array) -> csc_matrix:
        """A(r), five diagonals."""
        n = self.cells
        diagonal = np.zeros((n, n))
        bands = []
        for axis, (up, down) in enumerate(self.rates(r)):
            loss = np.moveaxis(diagonal, axis, 0)
            loss[:-1] -= np.moveaxis(up, axis, 0)
            loss[1:] -= np.moveaxis(down, axis, 0)
            widened = [np.pad(a, [(0, 1) if k == axis else (0, 0) for k in range(2)]).ravel() for a in (up, down)]
            stride = n if axis == 0 else 1
            bands += [(widened[0][:-stride], -stride), (widened[1][:-stride], stride)]
        values = [diagonal.ravel(), *[b for b, _ in bands]]
        return csc_matrix(diags_array(values, offsets=[0, *[k for _, k in bands]]))


def bdf_plane(cells: int, rtol: float, atol: float) -> Array:
    """p_T to t = 0.01 in the plane by BDF with the exact sparse Jacobian, (cells, cells)."""
    operator = PlaneOperator(cells)
    start = problem.plane_averages(problem.T, cells).ravel()
    end = problem.T - problem.T_MIN
    with np.errstate(under="ignore"):
        run = solve_ivp(
            operator.rhs, (0.0, end), start, method="BDF", jac=operator.jacobian, rtol=rtol, atol=atol, t_eval=[end]
        )
    return np.asarray(run.y[:, -1].reshape(cells, cells))

"""From a dynamics to the jump rates of every step in a chunk: the only place where physics meets fluxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve._memory import over
from fpsolve.dynamics import BaseDynamics
from fpsolve.grid import Grid
from fpsolve.solver._fluxes import exponents_from_drift, jump_rates, rates_from_log_gibbs
from fpsolve.solver._steps import Potentials, Rates

Array = NDArray[np.float64]


def rates_at(dynamics: BaseDynamics, grid: Grid, times: Array) -> Rates:
    """Jump rates (up, down) per axis at the given times, shape (times, ...) each.

    Raises
    ------
    ValueError
        Noise that is zero, coefficients that are NaN or infinite, with the time at which it happens.
    """
    found = plane_rates_at(dynamics, grid, times)
    if not isinstance(found, Potentials):
        return found
    periodic = dynamics.boundary == "periodic"
    return [rates_from_log_gibbs(found.log_gibbs, k, found.rate[:, k], periodic=periodic) for k in range(grid.dim)]


def plane_rates_at(dynamics: BaseDynamics, grid: Grid, times: Array) -> Rates | Potentials:
    """The same; where a potential is known it, of which sweeps over an open plane make rates themselves."""
    diffusivity = _diffusivity(dynamics, grid, times)
    if not np.all(diffusivity > 0.0):
        t = times[int(np.argmin(diffusivity.min(axis=1)))]
        raise ValueError(
            f"noise: expected > 0 at every time for the finite-volume steps, got 0 at t = {t:g}; "
            "without noise (eta = 0) there is only transport, which these steps would smear."
        )
    periodic = dynamics.boundary == "periodic"
    scale = diffusivity / np.square(grid.spacing)
    log_gibbs = dynamics.log_gibbs_on_axes(times, *grid.axes)
    if log_gibbs is not None:
        _refuse_non_finite(log_gibbs, times)
        return Potentials(log_gibbs, scale)
    rates = []
    for k in range(grid.dim):
        points = face_points(grid, k, periodic=periodic)
        drift = np.stack([_normal_drift(dynamics, float(t), points, k) for t in times])
        z = exponents_from_drift(drift, diffusivity[:, k], grid.spacing[k])
        _refuse_non_finite(z, times)
        rates.append(jump_rates(z, scale[:, k]))
    return rates


def exponents_of(dynamics: BaseDynamics, grid: Grid, times: Array, rates: list[tuple[Array, Array]]) -> list[Array]:
    """Mesh Peclet numbers ``z = b h/D`` of the faces per axis, shape (times, ...) each: ``up - down = D/h^2 z``."""
    scale = _diffusivity(dynamics, grid, times) / np.square(grid.spacing)
    shape = (-1,) + (1,) * grid.dim
    return [(up - down) / scale[:, k].reshape(shape) for k, (up, down) in enumerate(rates)]


def _diffusivity(dynamics: BaseDynamics, grid: Grid, times: Array) -> Array:
    found = dynamics.diffusivity(times)
    return found if found.shape == (len(times), grid.dim) else np.broadcast_to(found, (len(times), grid.dim))


def face_points(grid: Grid, axis: int, *, periodic: bool) -> Array:
    """Midpoints of the faces across `axis`: (faces,) in 1D, (nx', ny', 2) in 2D; the end face only when periodic."""
    inner = grid.face_axes[axis][1:] if periodic else grid.face_axes[axis][1:-1]
    if grid.dim == 1:
        return inner
    axes = [inner if k == axis else grid.axes[k] for k in range(2)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def _normal_drift(dynamics: BaseDynamics, t: float, points: Array, axis: int) -> Array:
    drift = dynamics.drift(t, points)
    return drift if points.ndim == 1 else drift[..., axis]


def _refuse_non_finite(z: Array, times: Array) -> None:
    # a sum is finite only if all terms are; one that overflows is looked at again
    lines = z.reshape(-1, z.shape[-1])
    sums = np.empty(len(lines))
    over(len(lines), z.size, lambda first, last: np.sum(lines[first:last], axis=1, out=sums[first:last]))
    if not np.isfinite(sums).all():
        bad = ~np.isfinite(z).reshape(len(times), -1).all(axis=1)
        if not bad.any():
            return
        raise ValueError(
            f"drift: expected finite values on the whole grid, got NaN or infinity at t = {times[bad][0]:g}; "
            "check the score or drift there, or choose a smaller box."
        )

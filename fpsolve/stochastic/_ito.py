"""The Ito variant: the same equation without the term that Stratonovich noise carries, so with less diffusion.

In the Stratonovich form that is solved here it reads ``d_r u = -div(b u) + D Lap u - 1/2 c^2 sum_k lambda_k div(e_k
div(e_k u))``: the drift gains ``1/2 c^2 sum_k lambda_k e_k div e_k`` and the diffusivity loses
``1/2 c^2 sum_k lambda_k e_k e_k^T``, which must leave it non-negative.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve.dynamics import BaseDynamics
from fpsolve.grid import Grid
from fpsolve.solver import face_points, jump_rates, rates_at
from fpsolve.stochastic._coupling import gain
from fpsolve.stochastic._noise import ScoreNoise

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
        rates.append(_rates(drift, left, grid.spacing[k]))
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


def _rates(drift: Array, diffusivity: Array, h: float) -> tuple[Array, Array]:
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

"""How well the total of a decomposition is known: cells in the norm and in the sampler's chain, mass beyond the box."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve import distances, weights
from fpsolve.decomposition._steps import Steps
from fpsolve.grid import Grid

if TYPE_CHECKING:
    from fpsolve.weights import WeightLike

Array = NDArray[np.float64]

#: Mass beyond the box whose weight is not known any more, and the weight of less, in units of the largest in the box.
_LOST, _BEYOND = 1e-6, 4.0
#: Fewest cells along an axis of the companion.
_FEWEST = 8


def total_errors(
    plan: Steps, times: Array, sampled: Array, total: Array, marginals: Array, lost: Array, weight: WeightLike
) -> tuple[Array, str]:
    """Return the error of every total, and the reason where one is infinite; lost is the mass beyond the box so far."""
    import xarray as xr

    grid, names = plan.grid, ("x", "y")[: plan.grid.dim]
    w = xr.DataArray(sampled - marginals, dims=("t", *names), coords=dict(zip(names, grid.axes, strict=True)))
    # its error counts roots within cells and tails, which sums over cells with V at their centres do not know
    found = distances.weighted_norm(w, weight)
    norm = np.abs(found["distance"].values - total) + found["error"].values
    beyond = _BEYOND * float(np.max(weights.evaluate(weight, grid))) * lost
    if any(n % 2 or n < 2 * _FEWEST for n in grid.shape):
        reason = f"no companion on half of {grid.shape} cells: take even numbers of at least {2 * _FEWEST}"
        return np.full(len(times), np.inf), reason
    errors = np.where(lost > _LOST, np.inf, norm + beyond + _from_half(plan, times, sampled, weight))
    return errors, "the sampler leaves the box: widen the grid" if np.any(lost > _LOST) else ""


def _from_half(plan: Steps, times: Array, sampled: Array, weight: WeightLike) -> Array:
    """V-norm of what the sampler's chain on half of the cells differs by: three times the error of second order."""
    half = replace(plan, grid=Grid(plan.grid.bounds, tuple(n // 2 for n in plan.grid.shape)))
    v = weights.evaluate(weight, half.grid) * half.grid.volume
    # pairs of cells, axis by axis
    coarse = 0.5 * (sampled[:, ::2] + sampled[:, 1::2])
    if plan.grid.dim == 2:
        coarse = 0.5 * (coarse[:, :, ::2] + coarse[:, :, 1::2])
    mu, gaps = coarse[0], [0.0]
    with warnings.catch_warnings():
        # what coarse cells are warned of, the given ones were too, or their error says so
        warnings.simplefilter("ignore")
        for k, (t0, t1) in enumerate(pairwise(times.tolist()), start=1):
            mu = half.sampled(t0, t1).push(mu)
            gaps.append(float((np.abs(coarse[k] - mu) * v).sum()))
    return np.array(gaps)

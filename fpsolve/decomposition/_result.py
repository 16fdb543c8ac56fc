"""The Dataset of a decomposition, and how well its total is known: cells in the norm and in the chain, mass beyond."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve import distances, weights
from fpsolve.decomposition._chain import SOURCES, Chain
from fpsolve.decomposition._steps import Steps, moved
from fpsolve.grid import Grid

if TYPE_CHECKING:
    import xarray as xr

    from fpsolve.laws import Law
    from fpsolve.weights import WeightLike

Array = NDArray[np.float64]

#: Mass beyond the box whose weight is not known any more, and the weight of less, in units of the largest in the box.
LOST, _BEYOND = 1e-6, 4.0
#: Fewest cells along an axis of the companion.
_FEWEST = 8
#: Safety on the error of a chain; the largest fall of a difference on halved cells that is believed, of kernels with
#: noise (fourth order) and of maps by splines.
SAFETY, STEEPEST, STEEPEST_OF_MAPS = 3.3, 16.0, 256.0


def masses_of(law: Law, grid: Grid) -> Array:
    """Masses of cells."""
    return grid.cell_average(law) * grid.volume


def dataset(chain: Chain, plan: Steps, times: Array, v: Array, contraction: Array, weight: WeightLike) -> xr.Dataset:
    """Everything a march has found; v is V on the cells at every time."""
    import xarray as xr

    grid = plan.cells(float(times[-1]))
    axes = ("x", "y")[: grid.dim]
    space = tuple(range(-grid.dim, 0))
    marginals = np.stack([masses_of(plan.exact.marginal(t), plan.cells(t)) for t in times.tolist()])
    off = (np.abs(chain.reference - marginals) * v).sum(axis=space)
    # what a step throws out of the box, kernels put into the cells at its ends
    lost = np.abs(1.0 - chain.sampled[0].sum()) + np.append(0.0, np.cumsum(chain.steps["thrown"]))
    # sums over cells with V at their centres know neither roots within cells nor tails
    known = distances.weighted_norm(_labelled(plan, times, chain.sampled - marginals), weight)
    error, reason = chain_errors(plan, times, chain.sampled, lost, v, weight, known["error"].values)
    bound = chain.local * contraction[1:]
    bound[0] = chain.local[0] * contraction[0]
    discount = np.full_like(chain.local, np.nan)
    np.divide(chain.propagated, chain.local, out=discount, where=chain.local > 0.0)
    per_step = {name: ("step", values) for name, values in chain.steps.items()}
    both = ("source", "step")
    return xr.Dataset(
        {
            "local": (both, chain.local),
            "propagated": (both, chain.propagated),
            "discount": (both, discount),
            "bound": (both, bound),
            "alive": (("source", "t"), chain.alive),
            "total": ("t", known["distance"].values),
            "total_error": ("t", error),
            "contraction": ("t", contraction),
            "closure": ("t", chain.closure),
            "reference_error": ("t", off),
            "remainder": (("source", *axes), chain.remainders / grid.volume),
            "sampled": (axes, chain.sampled[-1] / grid.volume),
            "exact": (axes, marginals[-1] / grid.volume),
            **per_step,
        },
        coords={
            "source": list(SOURCES),
            "step": np.arange(len(times) - 1),
            "t_from": ("step", times[:-1]),
            "t_to": ("step", times[1:]),
            "t": times,
            "reverse_time": ("t", times[0] - times),
            **dict(zip(axes, grid.axes, strict=True)),
        },
        attrs={
            "status": "estimated",
            "sampler": plan.sampler.name,
            "settings": repr(plan.sampler),
            "reference": plan.reference,
            "frame": "fixed" if plan.frame is None else "scaled",
            "score": "approximate" if plan.perturbed else "exact",
            "eta": plan.exact.eta_label,
            "total": float(known["distance"][-1]),
            "total_error": float(error[-1]),
            "total_error_reason": reason,
            "sum_of_terms": float(chain.propagated.sum()),
            "sum_of_bounds": float(bound.sum()),
        },
    )


def chain_errors(
    plan: Steps, times: Array, sampled: Array, lost: Array, v: Array, weight: WeightLike, known: Array
) -> tuple[Array, str]:
    """Return how well the total is known, and the reason where not; lost: mass beyond the box, known: of the norm."""
    shape = plan.grid.shape
    if any(n % 2 or n < 2 * _FEWEST for n in shape):
        reason = f"no companion on half of {shape} cells: take even numbers of at least {2 * _FEWEST}"
        return np.full(len(times), np.inf), reason
    beyond = _BEYOND * np.max(v.reshape(len(times), -1), axis=1) * lost
    # either holds several times what is wrong: the larger one covers both
    errors = np.maximum(known, beyond + _from_half(plan, times, sampled, weight))
    return np.where(lost > LOST, np.inf, errors), "the sampler leaves the box: widen the grid" if np.any(
        lost > LOST
    ) else ""


def _labelled(plan: Steps, times: Array, masses: Array) -> xr.DataArray:
    """Masses (t, cells) as densities per unit of x, with their positions at every time."""
    import xarray as xr

    names = ("z",) if plan.grid.dim == 1 else ("z_x", "z_y")
    cells = [plan.cells(t) for t in times]
    volume = np.array([one.volume for one in cells]).reshape(-1, *(1,) * plan.grid.dim)
    positions = {
        axis: (("t", name), np.stack([one.axes[k] for one in cells]))
        for k, (axis, name) in enumerate(zip("xy", names, strict=False))
    }
    return xr.DataArray(masses / volume, dims=("t", *names), coords={"t": times, **positions})


def _from_half(plan: Steps, times: Array, sampled: Array, weight: WeightLike) -> Array:
    """Error of the sampler's law by its chains on half and, where there are enough, a quarter of the cells.

    The V-norm of the difference d of the laws on all and on half of the cells, and where that on a quarter shows how
    differences fall, ``3.3 d/(d_before/d - 1)``, falling by no more than is believed.
    """
    gaps, chain = _on_half(plan, times, sampled, weight)
    shape = tuple(n // 2 for n in plan.grid.shape)
    if any(n % 2 or n < 2 * _FEWEST for n in shape):
        return gaps
    before, _ = _on_half(replace(plan, grid=Grid(plan.grid.bounds, shape)), times, chain, weight)
    pairs = zip(times[:-1].tolist(), times[1:].tolist(), strict=True)
    maps = plan.sampler.memory or all(plan.step(t0, t1).deterministic for t0, t1 in pairs)
    most = STEEPEST_OF_MAPS if maps else STEEPEST
    fall = np.minimum(np.divide(before, gaps, out=np.ones_like(gaps), where=gaps > 0.0), most)
    return np.asarray(gaps * np.minimum(1.0, SAFETY / np.maximum(fall - 1.0, 1.0)))


def _on_half(plan: Steps, times: Array, sampled: Array, weight: WeightLike) -> tuple[Array, Array]:
    """V-norm of what the sampler's chain on half of the cells differs by at every time, and that chain."""
    half = replace(plan, grid=Grid(plan.grid.bounds, tuple(n // 2 for n in plan.grid.shape)))
    # pairs of cells, axis by axis
    coarse = sampled[:, ::2] + sampled[:, 1::2]
    if plan.grid.dim == 2:
        coarse = coarse[:, :, ::2] + coarse[:, :, 1::2]
    chain, gaps = [coarse[0]], [0.0]
    with warnings.catch_warnings():
        # what coarse cells are warned of, the given ones were too, or their error says so
        warnings.simplefilter("ignore")
        for k, t in enumerate(times[1:]):
            kernel, begun = half.sampled(times, k)
            chain.append(moved(kernel, chain[begun]))
            v = weights.evaluate(weight, half.cells(float(t)))
            gaps.append(float((np.abs(coarse[k + 1] - chain[-1]) * v).sum()))
    return np.array(gaps), np.stack(chain)

"""From an ensemble to the Dataset users hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve import weights
from fpsolve._tails import edge_tail
from fpsolve.evolution.extrapolate import weighted_gap
from fpsolve.stochastic._march import Ensemble, Level
from fpsolve.weights import WeightLike

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]


def dataset(
    ensemble: Ensemble, fine: Level, coarse: Level | None, weight: WeightLike, attrs: dict[str, str | float | int]
) -> xr.Dataset:
    """Densities, masses, negativity, errors and functionals of an ensemble; see `fpsolve.stochastic.evolve`."""
    import xarray as xr

    grid = fine.grid
    names = ("x", "y")[: grid.dim]
    axes = tuple(range(-grid.dim, 0))
    error, tail = _errors(ensemble, fine, coarse, weight)
    w = ensemble.brownian.at(np.abs(fine.times - fine.times[0]))
    run = xr.Dataset(
        {
            "density": (
                ("path", "t", *names), fine.values, {"long_name": "probability density, cell averages"},
            ),
            "mass": (("path", "t"), fine.values.sum(axis=axes) * grid.volume),
            "negative_mass": (
                ("path", "t"),
                np.maximum(-fine.values, 0.0).sum(axis=axes) * grid.volume,
                {"long_name": "mass of the negative part"},
            ),
            "smallest_density": (("path", "t"), fine.values.min(axis=axes)),
            "smallest_density_ever": (("path",), fine.smallest, {"long_name": "over all steps"}),
            "error_estimate": (("path", "t"), error, {"long_name": "error estimate in the weighted norm"}),
            "tail": (("path", "t"), tail, {"long_name": "weighted mass beyond the box"}),
            "functional": (("path", "node"), fine.functional, {"long_name": "<u, phi>"}),
            "variation": (
                ("path", "step"),
                fine.variation,
                {"long_name": "c^2 sum lambda <u, e . grad phi>^2 dr over the step"},
            ),
            "brownian": (("path", "mode", "node"), w, {"long_name": "W at the step times"}),
        },
        coords={
            "path": np.arange(ensemble.brownian.paths),
            "t": fine.plan.saves,
            "reverse_time": ("t", np.abs(fine.plan.saves - fine.plan.saves[0])),
            "node_t": ("node", fine.times),
            "strength": ("mode", ensemble.noise.variances),
            **dict(zip(names, grid.axes, strict=True)),
        },
    )  # fmt: skip
    if coarse is not None:
        before = tuple(f"{name}_previous" for name in names)
        run = run.assign(density_previous=(("path", "t", *before), coarse.values))
        run = run.assign_coords(dict(zip(before, coarse.grid.axes, strict=True)))
    if not ensemble.dynamics.reversed_time:
        run = run.drop_vars("reverse_time")
    return run.assign_attrs(attrs | _read_off(ensemble, fine, coarse, weight))


def _errors(ensemble: Ensemble, fine: Level, coarse: Level | None, weight: WeightLike) -> tuple[Array, Array]:
    """Error estimate and tail, shape (paths, saves).

    The companion on half the cells and half the steps follows the same Brownian paths. What noise does to a path in
    a step is random, and the difference of the levels small by chance on some paths: the root mean square over the
    ensemble is the least that is taken.
    """
    shape = fine.values.shape[:2]
    v = weights.evaluate(weight, fine.grid)
    tail = edge_tail(fine.values, fine.grid.axes, v) if ensemble.dynamics.unbounded else np.zeros(shape)
    if coarse is None:
        return np.full(shape, np.nan), tail
    on_coarse = np.broadcast_to(weights.evaluate(weight, coarse.grid), (shape[1], *coarse.grid.shape))
    # Ito noise may leave so little diffusion that the fluxes become upwind ones, far from their asymptotic order
    order = 1.0 if ensemble.noise.size == 1 and not ensemble.ito else 0.5
    gap = weighted_gap(fine.grid, fine.values, coarse.values, on_coarse)
    gap = np.maximum(gap, np.sqrt(np.mean(np.square(gap), axis=0)))
    return gap / (2.0**order - 1.0) + tail, tail


def _read_off(
    ensemble: Ensemble, fine: Level, coarse: Level | None, weight: WeightLike
) -> dict[str, str | float | int]:
    levels = [level for level in (coarse, fine) if level is not None]
    return {
        "convention": "ito" if ensemble.ito else "stratonovich",
        "noise": ensemble.noise.description,
        "test_function": ensemble.function.description,
        "seed": ensemble.brownian.seed,
        "paths": ensemble.brownian.paths,
        "brownian_span": float(ensemble.brownian.span),
        "weight": weights.to_json(weight),
        "scheme": ensemble.scheme.name,
        "tol_met": "not asked",
        "boundary": ensemble.dynamics.boundary,
        "unbounded": int(ensemble.dynamics.unbounded),
        "frame": "fixed",
        "bounds": json.dumps(fine.grid.bounds),
        "levels": json.dumps([{"cells": level.grid.shape, "steps": level.plan.steps} for level in levels]),
    }

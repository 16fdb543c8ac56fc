"""From a solution to the Dataset users hold: labelled, self-contained, saved and loaded without loss."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpsolve import weights
from fpsolve.evolution.problem import Problem
from fpsolve.evolution.solution import Solution
from fpsolve.grid import Grid

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]
Coordinates = dict[str, tuple[tuple[str, ...], Array]]


def axis_names(dim: int, *, scaled: bool, suffix: str = "") -> tuple[str, ...]:
    """Names of the space dimensions: x, y on a fixed grid; z or z_x, z_y in the scaled frame."""
    plain = ("x", "y")[:dim]
    names = plain if not scaled else ("z",) if dim == 1 else tuple(f"z_{name}" for name in plain)
    return tuple(name + suffix for name in names)


def dataset(problem: Problem, solution: Solution, attrs: dict[str, str | float | int]) -> xr.Dataset:
    """Densities, errors, masses and tails of a solution as a Dataset.

    Variables: `density` (start, t, x[, y]), cell averages per unit of x; `density_previous` likewise on half the cells;
    `error_estimate`, `mass`, `tail` (start, t), the first and last in the V-weighted norm. Coordinate `reverse_time`.
    """
    import xarray as xr

    scaled = problem.frame is not None
    per_x = 1.0 / np.array([problem.jacobian(float(t)) for t in problem.saves])
    names = axis_names(solution.grid.dim, scaled=scaled)
    axes = tuple(range(-solution.grid.dim, 0))
    gap, tail = solution.gap(problem), solution.tail(problem)
    error = solution.total(problem, gap, tail)
    variables: dict[str, Any] = {
        "density": (
            ("start", "t", *names),
            _scale(solution.values, per_x),
            {"long_name": "probability density, cell averages"},
        ),
        "error_estimate": (
            ("start", "t"),
            error,
            {"long_name": "error estimate in the weighted norm"},
        ),
        "mass": (("start", "t"), solution.values.sum(axis=axes) * solution.grid.volume),
        "tail": (("start", "t"), tail, {"long_name": "weighted mass beyond the box, the largest so far"}),
    }
    coordinates: Coordinates = {"t": (("t",), problem.saves), **_positions(problem, solution.grid, "")}
    if problem.dynamics.reversed_time:
        coordinates["reverse_time"] = (("t",), problem.saves[0] - problem.saves)
    if solution.previous is not None:
        coarse = axis_names(solution.grid.dim, scaled=scaled, suffix="_previous")
        variables["density_previous"] = (("start", "t", *coarse), _scale(solution.previous, per_x))
        coordinates |= _positions(problem, solution.grid.coarsen(), "_previous")
    labels = {"start": list(problem.starts), **coordinates}
    attrs = attrs | _measured(problem, solution, gap) | _resolution(solution, error)
    return xr.Dataset(variables, coords=labels, attrs=attrs)


def _scale(values: Array, per_x: Array) -> Array:
    if np.all(per_x == 1.0):
        return values
    return np.asarray(values * per_x.reshape((1, -1) + (1,) * (values.ndim - 2)))


def _positions(problem: Problem, grid: Grid, suffix: str) -> Coordinates:
    """Cell centres: x, y themselves, or z with x(t, z)."""
    names = axis_names(grid.dim, scaled=problem.frame is not None, suffix=suffix)
    coordinates: Coordinates = {name: ((name,), axis) for name, axis in zip(names, grid.axes, strict=True)}
    if problem.frame is not None:
        positions = [problem.frame.to_x(float(t), grid.axes) for t in problem.saves]
        for k, name in enumerate(names):
            coordinates[("x", "y")[k] + suffix] = (("t", name), np.stack([p[k] for p in positions]))
    return coordinates


def _measured(problem: Problem, solution: Solution, gap: Array) -> dict[str, str | float | int]:
    """Attributes read off the solution."""
    smearing: dict[str, str | float | int] = (
        {} if solution.smearing is None else {"numerical_diffusion": solution.smearing}
    )
    return smearing | {
        "weight": weights.to_json(problem.weight),
        "boundary": problem.dynamics.boundary,
        "unbounded": int(problem.dynamics.unbounded),
        "frame": "fixed" if problem.frame is None else "scaled",
        "bounds": json.dumps(solution.grid.bounds),
        "levels": json.dumps([{"cells": r.cells, "steps": r.steps, "updates": r.updates} for r in solution.levels]),
        "error_factor": _common_factor(solution, gap),
        "smallest_density": float(solution.values.min()),
    }


def _resolution(solution: Solution, error: Array) -> dict[str, str | float | int]:
    """Whether every error is known, and if not why; "not asked" for runs without a companion."""
    if solution.previous is None:
        return {"resolved": "not asked", "resolved_reason": "estimate=False: nothing was compared"}
    resolved = "yes" if np.all(np.isfinite(error)) else "no"
    return {"resolved": resolved, "resolved_reason": solution.reason} | solution.figures


def _common_factor(solution: Solution, gap: Array) -> float:
    """One factor for the whole run: the largest among those (start, t) whose level difference matters."""
    if solution.previous is None:
        return float(np.max(solution.factor))
    matters = gap >= 1e-3 * gap.max()
    if solution.unresolved is not None and not np.all(solution.unresolved[matters]):
        matters &= np.logical_not(solution.unresolved)
    return float(np.max(solution.factor[matters]))

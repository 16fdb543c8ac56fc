"""Runs of fpsolve on the two problems, as a user writes them: a fresh `Reverse` each time, nothing kept from before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cases
import numpy as np
from benchmarks import problem
from numpy.typing import NDArray

import fpsolve as fp

Array = NDArray[np.float64]


def line_grid(cells: int) -> fp.Grid:
    """The box [-6, 6] in so many cells."""
    return fp.Grid.uniform(problem.BOX, cells=cells)


def plane_grid(cells: int) -> fp.Grid:
    """The box [-6, 6]^2 in cells x cells."""
    return fp.Grid.uniform([problem.BOX, problem.BOX], cells=(cells, cells))


def line_starts(count: int = 3) -> dict[str, fp.Law]:
    """p_T, two laws to be forgotten, and then further ones."""
    starts = cases.starts_1d(cases.ou_mixture())
    starts |= {f"further {k}": fp.Gaussian(0.2 * k, std=0.7) for k in range(count - len(starts))}
    return dict(list(starts.items())[:count])


def plane_starts(count: int = 1) -> dict[str, fp.Law]:
    """p_T and further laws in the plane."""
    reverse = cases.rotated_five()
    starts: dict[str, fp.Law] = {"exact": reverse.marginal(problem.T)}
    starts |= {f"further {k}": fp.Gaussian([0.2 * k, 0.1], std=0.8) for k in range(count - 1)}
    return starts


def line(starts: Mapping[str, Any], cells: int, steps: int, **options: Any) -> Any:
    """Whole `evolve` on the line: fixed grid, steps in the run's clock, t = 3 to 0.01."""
    settings: dict[str, Any] = {"t_min": problem.T_MIN, "progress": False} | options
    return fp.evolve(cases.ou_mixture(), starts, grid=line_grid(cells), steps=steps, **settings)


def plane(starts: Mapping[str, Any], cells: int, steps: int, **options: Any) -> Any:
    """Whole `evolve` in the plane."""
    settings: dict[str, Any] = {"t_min": problem.T_MIN, "progress": False} | options
    return fp.evolve(cases.rotated_five(), starts, grid=plane_grid(cells), steps=steps, **settings)


def line_pair(starts: Mapping[str, Any], cells: int, steps: int, **options: Any) -> Array:
    """Extrapolation of a level and its companion at t = 0.01 on the line, (starts, cells / 2)."""
    run = line(starts, cells, steps, save_at=[problem.T_MIN], **options)
    return np.asarray(run.fpsolve.extrapolated.values[:, -1])


def plane_pair(starts: Mapping[str, Any], cells: int, steps: int, **options: Any) -> Array:
    """The same in the plane, (starts, cells / 2, cells / 2)."""
    run = plane(starts, cells, steps, save_at=[problem.T_MIN], **options)
    return np.asarray(run.fpsolve.extrapolated.values[:, -1])


def line_tol(starts: Mapping[str, Any], tol: float, **options: Any) -> Array:
    """Densities at t = 0.01 on the line with `tol` in the weighted norm; only the coarsest grid is given."""
    settings: dict[str, Any] = {"t_min": problem.T_MIN, "save_at": [problem.T_MIN], "progress": False} | options
    run = fp.evolve(cases.ou_mixture(), starts, grid=line_grid(72), tol=tol, **settings)
    return np.asarray(run.density.values[:, -1])

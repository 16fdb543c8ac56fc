"""Closed forms as cell averages: what every error in the benchmarks is judged against."""

from __future__ import annotations

from functools import cache

import cases
import numpy as np
from benchmarks import problem, runs
from numpy.typing import NDArray

import fpsolve as fp

Array = NDArray[np.float64]


@cache
def line(cells: int, count: int = 3) -> Array:
    """Exact cell averages at t = 0.01 of the first `count` starts on the line, (count, cells)."""
    reverse, grid = cases.ou_mixture(), runs.line_grid(cells)
    starts = runs.line_starts(count).values()
    return np.array([fp.closed_form.cell_averages(reverse, start, problem.T_MIN, grid) for start in starts])


@cache
def plane(cells: int) -> Array:
    """Exact cell averages of p_t at t = 0.01 in the plane."""
    return problem.plane_averages(problem.T_MIN, cells)


def line_error(values: Array) -> float:
    """Largest TV error among densities (starts, cells) at t = 0.01 on the line."""
    cells = values.shape[-1]
    exact = line(cells, len(values))
    return max(problem.tv(q, p, 12.0 / cells) for q, p in zip(values, exact, strict=True))


def plane_error(values: Array) -> float:
    """TV error of a density (cells, cells) at t = 0.01 in the plane, started from p_T."""
    cells = values.shape[-1]
    return problem.tv(values, plane(cells), (12.0 / cells) ** 2)

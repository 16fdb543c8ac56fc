"""A million particles and a histogram against the grid, at the error that the particles reach."""

from __future__ import annotations

from typing import Any

import cases
import numpy as np
import pytest
from benchmarks import problem, report, runs, timing, truth, tune
from numpy.typing import NDArray

import fpsolve as fp

SECTION = "particles"
PARTICLES, STEPS, BINS = 1_000_000, 300, 100
FINE = {"cells": 400, "steps": 200}


def weighted_error(values: NDArray[np.float64]) -> float:
    """Weighted TV ``sum (1 + x^2) |q - p| h`` of cell averages at t = 0.01 from the closed form, start p_T."""
    grid = runs.line_grid(len(values))
    exact = truth.line(len(values), 1)[0]
    return float(np.sum((1.0 + grid.x**2) * np.abs(values - exact)) * grid.volume)


def histogram() -> NDArray[np.float64]:
    """Cell averages at t = 0.01 counted from Euler-Maruyama particles, steps equal in the run's clock."""
    reverse, grid = cases.ou_mixture(), runs.line_grid(BINS)
    cloud = fp.particles.simulate(
        reverse,
        reverse.marginal(problem.T),
        n=PARTICLES,
        steps=STEPS,
        t_min=problem.T_MIN,
        seed=0,
        histogram=grid,
        progress=False,
    )
    return np.asarray(cloud["count"].isel(t=-1).values / (PARTICLES * grid.volume))


# the search for a pair tries grids that are too coarse to be judged without the truth
@pytest.mark.filterwarnings("ignore::fpsolve.UnresolvedWarning")
def test_million_particles(benchmark: Any, judge: Any) -> None:
    found: list[NDArray[np.float64]] = []
    theirs = timing.once(lambda: found.append(histogram()))
    error = weighted_error(found[0])
    starts = runs.line_starts(1)
    pairs = [(e["cells"], e["steps"]) for e in tune.tuned()["line, one start"]]
    cells, steps = next((n, s) for n, s in pairs if weighted_error(runs.line_pair(starts, n, s)[0]) <= error)
    ours = timing.alone(benchmark, lambda: runs.line_pair(starts, cells, steps), rounds=10)

    values = runs.line_pair(starts, **FINE)[0]
    fine_error = weighted_error(values)
    fine_time = timing.least(lambda: runs.line_pair(starts, **FINE), 5)
    grid = runs.line_grid(len(values))
    needed = [fp.particles.needed(e, truth.line(grid.shape[0], 1)[0], grid) for e in (error, fine_error)]
    note = f" (10^6 Euler-Maruyama particles, {STEPS} steps, {BINS} bins)"
    years = theirs * needed[1] / PARTICLES / (365.25 * 24 * 3600)
    judge(
        report.faster(
            f"1D, weighted TV error {error:.1e}: {cells} cells, {steps} steps", ours, theirs, None, note=note
        ),
        report.Row(
            f"1D, weighted TV error {fine_error:.1e}: {FINE['cells']} cells, {FINE['steps']} steps",
            report.duration(fine_time),
            f"{needed[1]:.1e} particles needed, {years:.2g} years of CPU",
            f"{theirs * needed[1] / PARTICLES / fine_time:.1e} x faster",
        ),
    )

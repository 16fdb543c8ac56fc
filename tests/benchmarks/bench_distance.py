"""The smallest distance between two starts that is right to 1 %, and what particles would need for it."""

from __future__ import annotations

from typing import Any

import cases
import numpy as np
import xarray as xr
from benchmarks import problem, report, runs, timing
from numpy.typing import NDArray

import fpsolve as fp

SECTION = "distance"
CELLS, STEPS = 400, 200
#: Half the distance of the means of the two starts N(eps, 1) and N(-eps, 1).
GAPS = (1e-1, 1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-14)
PRECISION = 0.01


def evolve(eps: float) -> xr.Dataset:
    """Both starts, and their signed difference as a third right-hand side."""

    def difference(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(2.0 * np.exp(-0.5 * (x**2 + eps**2)) * np.sinh(eps * x) / np.sqrt(2.0 * np.pi))

    starts = {"left": fp.Gaussian(-eps, std=1.0), "right": fp.Gaussian(eps, std=1.0)}
    signed = runs.line_grid(CELLS).cell_average(difference)
    return runs.line(starts | {"difference": signed}, CELLS, STEPS, save_at=[problem.T_MIN])


def measured(run: xr.Dataset) -> tuple[float, float, float]:
    """Distance at the end and its error estimate from the two densities, and the norm of the signed difference."""
    curve = fp.forgetting_curve(run.sel(start=["left", "right"]), reference="left").isel(t=-1).squeeze()
    norm = fp.distances.weighted_norm(run.density.sel(start="difference").isel(t=-1))
    return float(curve.distance), float(curve.error), float(norm.distance)


def test_smallest_distance(benchmark: Any, judge: Any) -> None:
    reverse = cases.ou_mixture()
    body = []
    right = {"two densities": True, "signed difference": True}
    smallest = dict.fromkeys(right, np.inf)
    for eps in GAPS:
        run = evolve(eps)
        starts = fp.Gaussian(-eps, std=1.0), fp.Gaussian(eps, std=1.0)
        truth = fp.closed_form.weighted_tv(reverse, *starts, t=problem.T_MIN)
        distance, estimate, norm = measured(run)
        relative = {"two densities": abs(distance / truth.value - 1), "signed difference": abs(norm / truth.value - 1)}
        for way, off in relative.items():
            right[way] = right[way] and off <= PRECISION
            smallest[way] = truth.value if right[way] else smallest[way]
        n = needed(run, truth.value)
        body.append(
            [f"{eps:g}", f"{truth.value:.3e}", *[f"{v:.1e}" for v in relative.values()], f"{estimate:.1e}", f"{n:.1e}"]
        )
    seconds = timing.alone(benchmark, lambda: measured(evolve(1e-8)), rounds=5)
    last = runs.line(runs.line_starts(1), CELLS, STEPS, save_at=[problem.T_MIN], estimate=False)
    note = f"{report.duration(seconds)} a run; {needed(last, smallest['two densities']):.1e} particles needed"
    work = "smallest weighted distance right to 1 %"
    header = ["eps", "true distance", "off, two densities", "off, signed", "error estimate", "particles needed"]
    judge.table(f"Distance of the starts N(+-eps, 1) at t = 0.01, {CELLS} cells, {STEPS} steps", header, body)
    judge(
        report.figure(work + ", forgetting curve of two densities", smallest["two densities"], 1e-10, reference=note),
        report.figure(work + ", signed difference evolved", smallest["signed difference"], 1e-10),
    )


def needed(run: xr.Dataset, distance: float) -> float:
    """Particles until the histogram's own noise falls to the distance."""
    density = run.density.isel(start=0, t=-1).values
    return float(fp.particles.needed(distance, density, runs.line_grid(CELLS)))

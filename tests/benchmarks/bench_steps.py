"""Steps against error, for each scheme, each way to spread the steps, and each way to extrapolate."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks import problem, report, runs, timing
from numpy.typing import NDArray

Array = NDArray[np.float64]

SECTION = "steps"
COUNTS = (25, 50, 100, 200, 400)
CELLS = 400
#: Steps of the run that stands for infinitely many on the same cells.
MANY = 6400
SCHEMES = ("backward-euler", "crank-nicolson", "damped-crank-nicolson", "tr-bdf2")


def time_grids(steps: int) -> dict[str, Array | None]:
    """Ways to spread the steps; None leaves it to the run's clock."""
    return {
        "uniform": np.linspace(problem.T, problem.T_MIN, steps + 1),
        "geometric in t": np.geomspace(problem.T, problem.T_MIN, steps + 1),
        "geometric in t + 0.1": np.geomspace(problem.T + 0.1, problem.T_MIN + 0.1, steps + 1) - 0.1,
        "clock": None,
    }


def last(steps: int, scheme: str, times: Array | None = None) -> Array:
    """Densities of three starts at t = 0.01, single level."""
    saves = [problem.T_MIN] if times is None else times[1:-1]
    run = runs.line(runs.line_starts(), CELLS, steps, save_at=saves, scheme=scheme, estimate=False)
    return np.asarray(run.density.values[:, -1])


def gap(values: Array, reference: Array) -> float:
    """Largest TV distance over the starts."""
    return max(problem.tv(q, p, 12.0 / CELLS) for q, p in zip(values, reference, strict=True))


def test_time_grids(benchmark: Any, judge: Any) -> None:
    limit = last(MANY, "tr-bdf2")
    body, errors = [], {}
    for scheme in SCHEMES:
        for name in time_grids(1):
            errors[scheme, name] = [gap(last(n, scheme, time_grids(n)[name]), limit) for n in COUNTS]
            body.append([scheme, name, *[f"{e:.1e}" for e in errors[scheme, name]]])
    title = f"TV error in time at t = 0.01 on {CELLS} cells, largest of 3 starts, by steps"
    judge.table(title, ["scheme", "steps equal in", *[str(n) for n in COUNTS]], body)
    timing.alone(benchmark, lambda: last(200, "damped-crank-nicolson"), rounds=3)
    best = errors["damped-crank-nicolson", "clock"]
    others = [errors["damped-crank-nicolson", name] for name in time_grids(1) if name != "clock"]
    second = min(other[3] for other in others)
    work = "error at 200 steps, clock against the best other grid of times"
    judge(report.Row(work, f"{best[3]:.1e}", f"{second:.1e}", f"{best[3] / second:.2f} x"))

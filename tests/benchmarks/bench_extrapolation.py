"""Error against cost of one level, of a pair (Richardson) and of three levels (Romberg), three starts on the line."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from benchmarks import report, runs, timing, truth
from numpy.typing import NDArray

Array = NDArray[np.float64]

SECTION = "extrapolation"
#: A scheme without startup steps: the errors of all levels have the same expansion.
SCHEME = "tr-bdf2"
SIZES = ((100, 50), (200, 100), (400, 200), (800, 400))


def restrict(values: Array, cells: int) -> Array:
    """Averages over neighbouring cells, down to so many."""
    return np.asarray(values.reshape(len(values), cells, -1).mean(axis=2))


def single(cells: int, steps: int) -> Array:
    """One level, (starts, cells)."""
    run = runs.line(runs.line_starts(), cells, steps, save_at=[0.01], estimate=False, scheme=SCHEME)
    return np.asarray(run.density.values[:, -1])


def pair(cells: int, steps: int) -> Array:
    """(4 fine - coarse) / 3 on the coarse cells."""
    return runs.line_pair(runs.line_starts(), cells, steps, scheme=SCHEME)


def romberg(cells: int, steps: int) -> Array:
    """Three levels: the pair of pairs, (16 finer - coarser) / 15 on the coarsest cells."""
    levels = [restrict(single(cells // k, steps // k), cells // 4) for k in (1, 2, 4)]
    finer, coarser = (4 * levels[0] - levels[1]) / 3, (4 * levels[1] - levels[2]) / 3
    return np.asarray((16 * finer - coarser) / 15)


def test_extrapolation(benchmark: Any, judge: Any) -> None:
    body = []
    errors: dict[tuple[str, int], float] = {}
    for cells, steps in SIZES:
        row = [f"{cells} cells, {steps} steps"]
        for name, solve in (("single", single), ("pair", pair), ("romberg", romberg)):
            errors[name, cells] = truth.line_error(solve(cells, steps))
            seconds = timing.least(partial(solve, cells, steps), 4)
            row += [f"{errors[name, cells]:.1e}", f"{report.duration(seconds)}"]
        body.append(row)
    header = ["finest level", "one level", "cost", "pair", "cost", "three levels", "cost"]
    judge.table(
        "TV error and cost by the number of levels, largest of 3 starts (below 1.1e-8 it is the mass beyond the box)",
        header,
        body,
    )
    timing.alone(benchmark, lambda: pair(400, 200), rounds=3)
    order = [np.log2(errors[name, 200] / errors[name, 400]) for name in ("single", "pair", "romberg")]
    found = ", ".join(f"{o:.1f}" for o in order)
    judge(report.Row("observed order, 200 to 400 cells: one level, pair, three levels", found, "2, 4, up to 6", ""))

"""Cost against cells, steps and starts: whole runs on a fixed grid, single level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from benchmarks import report, runs, timing

SECTION = "scaling"
LIMIT = 1.1
SINGLE = {"estimate": False}


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Slope of log time against log size, least squares."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def measure(benchmark: Any, work: Callable[[int], Any], sizes: Sequence[int], rounds: Sequence[int]) -> list[float]:
    """Least times for every size; the largest is the one that pytest-benchmark sees."""
    seconds = [timing.least(partial(work, n), r) for n, r in zip(sizes[:-1], rounds[:-1], strict=True)]
    return [*seconds, timing.alone(benchmark, lambda: work(sizes[-1]), rounds=rounds[-1])]


def row(work: str, units: Sequence[float], seconds: Sequence[float]) -> report.Row:
    """Exponent over the whole range; beside it that of the last doubling or quadrupling."""
    slope, last = exponent(units, seconds), exponent(units[-2:], seconds[-2:])
    times = f"{report.duration(seconds[0])} to {report.duration(seconds[-1])}, last pair {last:.2f}"
    return report.figure(f"cost exponent: {work}", slope, LIMIT, reference=times, form=".2f")


def test_cells_on_the_line(benchmark: Any, judge: Any) -> None:
    sizes, starts = [200, 400, 800, 1600, 3200, 6400], runs.line_starts()
    seconds = measure(benchmark, lambda n: runs.line(starts, n, 200, **SINGLE), sizes, [20, 15, 10, 8, 6, 5])
    judge(row("1D, N = 200 to 6400, 200 steps, 3 starts", sizes, seconds))


def test_cells_in_the_plane(benchmark: Any, judge: Any) -> None:
    sizes, starts = [64, 128, 256, 512, 1024], runs.plane_starts()
    steps = 16
    options = SINGLE | {"save_at": [0.01]}
    seconds = measure(benchmark, lambda n: runs.plane(starts, n, steps, **options), sizes, [8, 6, 5, 3, 2])
    judge(row(f"2D, 64^2 to 1024^2 unknowns, {steps} steps, 1 start", [n * n for n in sizes], seconds))


def test_steps(benchmark: Any, judge: Any) -> None:
    sizes, starts = [100, 200, 400, 800, 1600], runs.line_starts()
    line = measure(benchmark, lambda n: runs.line(starts, 800, n, **SINGLE), sizes, [15, 10, 8, 6, 5])
    judge(row("1D, N = 800, 100 to 1600 steps, 3 starts", sizes, line))


def test_steps_in_the_plane(benchmark: Any, judge: Any) -> None:
    sizes, starts = [25, 50, 100, 200], runs.plane_starts()
    plane = measure(benchmark, lambda n: runs.plane(starts, 128, n, **SINGLE), sizes, [6, 5, 4, 3])
    judge(row("2D, 128^2, 25 to 200 steps, 1 start", sizes, plane))


def test_starts(benchmark: Any, judge: Any) -> None:
    def work(count: int) -> Any:
        return runs.line(runs.line_starts(count), 800, 200, **SINGLE)

    eight, one = timing.in_turns(benchmark, lambda: work(8), lambda: work(1), rounds=12)
    judge(report.at_most("1D, N = 800, 200 steps: 8 starts / 1 start", eight, one, 3.0))


def test_starts_in_the_plane(benchmark: Any, judge: Any) -> None:
    def work(count: int) -> Any:
        return runs.plane(runs.plane_starts(count), 256, 50, **SINGLE, save_at=[0.01])

    eight, one = timing.in_turns(benchmark, lambda: work(8), lambda: work(1), rounds=4)
    judge(report.at_most("2D, 256^2, 50 steps: 8 starts / 1 start", eight, one, 3.0))

"""Whole runs against the bare line solves they consist of: LAPACK's dgtsv on matrices that are already there."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks import bare_lapack, by_hand, problem, report, runs, timing

SECTION = "lapack"
STEPS = 200
SCHEME = {"scheme": "crank-nicolson", "estimate": False}


def line_rates(t: float, cells: int) -> tuple[Any, Any]:
    """Jump rates on the line, (1, cells - 1)."""
    x = problem.centres(cells)
    z = np.diff(2 * np.log(problem.line_density(t, x)) + 0.5 * x * x)
    down = by_hand.bernoulli(z) / (x[1] - x[0]) ** 2
    return (down + z / (x[1] - x[0]) ** 2)[None], down[None]


def test_line(benchmark: Any, judge: Any) -> None:
    matrix = bare_lapack.crank_nicolson_lines(*line_rates(0.1, 800), dt=problem.T / STEPS)
    right = np.random.default_rng(0).random((1, 3, 800))
    bare = [STEPS * bare_lapack.seconds(matrix, right, repeats=100)]
    starts = runs.line_starts()

    def reference() -> None:
        bare.append(STEPS * bare_lapack.seconds(matrix, right, repeats=100))

    ours, _ = timing.in_turns(benchmark, lambda: runs.line(starts, 800, STEPS, **SCHEME), reference, rounds=25)
    python = STEPS * bare_lapack.seconds_from_python(matrix, right, repeats=100)
    work = "1D, N = 800, 200 steps, 3 starts, Crank-Nicolson, whole evolve / 200 dgtsv"
    judge(
        report.at_most(work + " called from Python", ours, python, None),
        report.at_most(work + ", bare", ours, min(bare), 3.0),
    )


def test_plane(benchmark: Any, judge: Any) -> None:
    operator = by_hand.PlaneOperator(256)
    rates = operator.rates(problem.T - 0.1)[1]
    matrix = bare_lapack.crank_nicolson_lines(*rates, dt=problem.T / STEPS)
    right = np.random.default_rng(0).random((256, 1, 256))
    joined = np.ascontiguousarray(matrix.transpose(1, 0, 2).reshape(1, 3, -1)), right.reshape(1, 1, -1)
    sweeps = 3 * STEPS
    lines: list[float] = []
    one_call: list[float] = []

    def reference() -> None:
        lines.append(sweeps * bare_lapack.seconds(matrix, right, repeats=10))
        one_call.append(sweeps * bare_lapack.seconds(*joined, repeats=10))

    starts = runs.plane_starts()
    ours, _ = timing.in_turns(benchmark, lambda: runs.plane(starts, 256, STEPS, **SCHEME), reference, rounds=4)
    python = sweeps * bare_lapack.seconds_from_python(matrix, right, repeats=3)
    lowest = min(lines + one_call)
    which = " (line by line)" if lowest in lines else " (all lines in one call)"
    work = "2D, 256^2, 200 steps, 1 start, Crank-Nicolson, whole evolve / 600 dgtsv sweeps"
    judge(
        report.at_most(work + " called from Python", ours, python, None),
        report.at_most(work + ", bare", ours, lowest, 1.5, note=which),
    )

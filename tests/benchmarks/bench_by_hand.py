"""Equal error against what a careful user writes with scipy: LSODA on the line, BDF with the exact Jacobian in 2D.

All settings come from tuned.json; the errors are measured again here, and a route that misses its goal fails.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from benchmarks import by_hand, problem, report, runs, timing, truth, tune

SECTION = "by hand"


def check_same_problem() -> None:
    """The problem as written by hand must be the one that fpsolve is given."""
    np.testing.assert_allclose(truth.line(200, 1)[0], problem.line_averages(problem.T_MIN, 200), rtol=1e-9, atol=1e-13)
    p_T = runs.plane_grid(24).cell_average(runs.plane_starts()["exact"])
    np.testing.assert_allclose(p_T, problem.plane_averages(problem.T, 24, nodes=8), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(("goal", "limit"), [(1e-4, 5.0), (1e-6, 10.0)])
def test_lsoda(benchmark: Any, judge: Any, goal: float, limit: float) -> None:
    check_same_problem()
    hand = tune.tuned()[f"lsoda {goal:.0e}".replace("e-0", "e-")]
    grid, starts = runs.line_grid(hand["cells"]), runs.line_starts()
    averages = [grid.cell_average(law) for law in starts.values()]
    settings = {"rtol": hand["rtol"], "atol": hand["atol"]}
    theirs_error = truth.line_error(by_hand.lsoda(averages, **settings))
    pair = tune.cheapest("line, three starts", goal)
    ours_error = truth.line_error(runs.line_pair(starts, pair["cells"], pair["steps"]))
    assert max(theirs_error, ours_error) <= goal

    ours, theirs = timing.in_turns(
        benchmark,
        lambda: runs.line_pair(starts, pair["cells"], pair["steps"]),
        lambda: by_hand.lsoda(averages, **settings),
        rounds=50 if goal > 1e-5 else 6,
    )
    compiled = timing.least(lambda: by_hand.lsoda(averages, **settings, compiled=True), 4)
    tol = max(e["tol"] for e in tune.tuned()["tol"] if e["error"] <= goal)
    with_tol = timing.least(lambda: runs.line_tol(starts, tol), 5)
    work = f"1D, 3 starts, true TV error {goal:g}"
    hand_note = f" (LSODA, N = {hand['cells']}, rtol {hand['rtol']:g})"
    judge(
        report.faster(
            f"{work}: pair {pair['cells']} cells, {pair['steps']} steps", ours, theirs, limit, note=hand_note
        ),
        report.faster(f"{work}: the same pair", ours, compiled, None, note=" (LSODA, right-hand side in numba)"),
        report.faster(f"{work}: evolve(tol={tol:g}), error estimated", with_tol, theirs, None, note=hand_note),
    )


def test_bdf(benchmark: Any, judge: Any) -> None:
    hand = tune.tuned()["bdf"]
    found: list[Any] = []

    def reference() -> None:
        found.append(by_hand.bdf_plane(hand["cells"], hand["rtol"], hand["atol"]))

    theirs = timing.once(reference)
    goal = truth.plane_error(found[0])
    pair, starts = tune.cheapest("plane", goal), runs.plane_starts()
    ours = timing.alone(benchmark, lambda: runs.plane_pair(starts, pair["cells"], pair["steps"]), rounds=5)
    assert truth.plane_error(runs.plane_pair(starts, pair["cells"], pair["steps"])[0]) <= goal
    work = f"2D, true TV error {goal:.2g}: pair {pair['cells']}^2 cells, {pair['steps']} steps"
    judge(report.faster(work, ours, theirs, 10.0, note=f" (BDF, {hand['cells']}^2, exact sparse Jacobian)"))

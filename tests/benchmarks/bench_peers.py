"""Other packages on the same problem, at the error that they reach: fplanck, FiPy, PyDDM, py-pde."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks import environments, report, runs, timing, truth, tune

SECTION = "peers"

#: name, dimension, cells per axis, steps (py-pde: tolerance 1/steps^2), rounds
CASES = [
    ("fplanck", 1, 200, 100, 2),
    ("fipy", 1, 200, 200, 2),
    ("pyddm", 1, 400, 3000, 3),
    ("py-pde", 1, 200, 60, 3),
    ("py-pde", 1, 400, 120, 2),
    ("fplanck", 2, 128, 30, 1),
    ("fipy", 2, 128, 100, 1),
    ("py-pde", 2, 128, 100, 1),
]


# the truth is known here: cells as coarse as serve the error of the others say that nothing shows their own
@pytest.mark.filterwarnings("ignore::fpsolve.UnresolvedWarning")
@pytest.mark.parametrize(("name", "dim", "cells", "steps", "rounds"), CASES)
def test_peer(
    benchmark: Any, judge: Any, request: Any, name: str, dim: int, cells: int, steps: int, rounds: int
) -> None:
    work = f"{dim}D, 1 start, {name} with {cells}{'^2' if dim == 2 else ''} cells"
    folder = request.config.getoption("--peers")
    if folder is None:
        judge(report.skipped(work, "no --peers FOLDER given"))
        pytest.skip("no --peers FOLDER given")
    try:
        found = environments.PEERS[name].measure(Path(folder), dim, cells, steps, rounds)
    except RuntimeError as failure:
        judge(report.skipped(work, str(failure)[:100]))
        pytest.skip(str(failure))
    pair = tune.cheapest("line, one start" if dim == 1 else "plane", found["error"])
    starts = runs.line_starts(1) if dim == 1 else runs.plane_starts()
    solve = runs.line_pair if dim == 1 else runs.plane_pair
    ours = timing.alone(benchmark, lambda: solve(starts, pair["cells"], pair["steps"]), rounds=10 if dim == 1 else 4)
    values = solve(starts, pair["cells"], pair["steps"])
    assert (truth.line_error(values) if dim == 1 else truth.plane_error(values[0])) <= found["error"]
    whole = found["total"] - (rounds - 1) * found["seconds"]
    note = f" ({report.duration(whole)} with preparation)" if whole > 2 * found["seconds"] else ""
    judge(report.faster(f"{work}, TV error {found['error']:.1e}", ours, found["seconds"], 1.0, note=note))

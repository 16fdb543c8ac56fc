"""What the evidence of a run on a given grid costs: its third level and its indicators, as shares of the whole run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cases
import numpy as np
import pytest
from benchmarks import report, runs, timing

import fpsolve as fp
from fpsolve.evolution import _methods

SECTION = "evidence"
LIMIT = 15.0
#: What is timed, by the names under which a run calls it.
PARTS = {"_third": "third level", "look": "indicators", "_smearing": "numerical diffusion"}


def scaled() -> Any:
    """A process in the scaled frame."""
    reverse = fp.Reverse(cases.ou_mixture().target, fp.EDM(sigma_max=10.0))
    grid = fp.Grid.uniform((-7, 7), cells=400)
    return fp.evolve(
        reverse, fp.Gaussian(0.0, std=10.0), grid=grid, frame="scaled", steps=100, t_min=0.05, progress=False
    )


WORK: dict[str, tuple[Callable[[], Any], int]] = {
    "1D, 400 cells, 100 steps, 1 start": (lambda: runs.line(runs.line_starts(1), 400, 100), 60),
    "1D, 400 cells, 100 steps, 3 starts": (lambda: runs.line(runs.line_starts(), 400, 100), 60),
    "1D, 400 cells, 100 steps, scaled frame": (scaled, 20),
    "2D, 128^2 cells, 50 steps": (lambda: runs.plane(runs.plane_starts(), 128, 50), 8),
}


def shares(work: Callable[[], Any], rounds: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Per cent of a run that its parts take and their sum: medians over rounds, each against the same run."""
    spent: dict[str, float] = {}

    def timed(name: str) -> Callable[..., Any]:
        function = getattr(_methods, name)

        def call(*given: Any, **named: Any) -> Any:
            began = time.process_time()
            result = function(*given, **named)
            spent[name] += time.process_time() - began
            return result

        return call

    found = []
    with monkeypatch.context() as patch:
        for name in PARTS:
            patch.setattr(_methods, name, timed(name))
        for _ in range(rounds + 1):
            spent.update(dict.fromkeys(PARTS, 0.0))
            whole = timing.once(work)
            found.append([100.0 * s / whole for s in [*spent.values(), sum(spent.values())]])
    # the first round warms up
    return dict(zip([*PARTS, "sum"], np.median(found[1:], axis=0).tolist(), strict=True))


def test_evidence(benchmark: Any, judge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    body, rows = [], []
    for name, (work, rounds) in WORK.items():
        found = shares(work, rounds, monkeypatch)
        body.append([name, *[f"{s:.1f} %" for s in found.values()]])
        rows.append(report.figure(f"{name}: evidence, share of the run", found["sum"], LIMIT, unit=" %"))
    title = "What the evidence for an estimate costs beside the two levels it is about, share of the whole `evolve`"
    judge.table(title, ["", *PARTS.values(), "sum"], body)
    timing.alone(benchmark, next(iter(WORK.values()))[0], rounds=5)
    judge(*rows)

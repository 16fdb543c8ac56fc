"""Designed step grids against the best named ones: final weighted error of samplers of a mixture on a line."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks import report

import fpsolve as fp
from fpsolve import design

SECTION = "design"
LIMIT, SECONDS = 0.8, 60.0


@pytest.mark.parametrize("method", ["ddim", "dpm-solver++(2m)"])
@pytest.mark.parametrize("n", [5, 8, 12, 20])
def test_designed_grid(benchmark: Any, judge: Any, method: str, n: int) -> None:
    target = fp.GaussianMixture([0.4, 0.6], [-1.0, 1.0], stds=[0.3, 0.2])
    reverse = fp.Reverse(target, fp.VP(), eta=0.0)
    found = benchmark.pedantic(lambda: design.steps(reverse, method, n, progress=False), rounds=1)
    name, best = next(iter(found.named.items()))
    measured = f"designed {found.error:.4g} +- {found.error_bar:.1g}, stationarity {found.stationarity:.1g}"
    reference = f"{name} {best:.4g}, {measured}"
    work = f"{method}, {n} steps of VP: error of the designed grid over that of the best named one"
    judge(report.figure(work, found.error / best, LIMIT, reference=reference))
    judge(report.figure(f"{method}, {n} steps: design", found.seconds, SECONDS if n == 12 else None, unit=" s"))

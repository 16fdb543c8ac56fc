"""What more cores give in 2D: wall-clock time of one run with one thread and with more, and the serial share.

`--threads N` says with how many (default: two). The serial share is measured with one thread, as the time outside of
the loops over lines; with it Amdahl's law says what k cores could give at most.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest
from benchmarks import problem, report, runs

import fpsolve as fp
from fpsolve import _memory

SECTION = "threads"
SERIAL = 3.0
SHARE = 0.75


def work(cells: int, steps: int) -> Any:
    """One run of the five rotated Gaussians, one start, saved at its end; no companion."""
    return runs.plane(runs.plane_starts(), cells, steps, save_at=[problem.T_MIN], estimate=False)


def wall(cells: int, steps: int, threads: int, rounds: int = 4) -> float:
    """Least wall-clock time of a run."""
    before, found = fp.set_threads(threads), []
    work(cells, steps)
    for _ in range(rounds):
        began = time.perf_counter()
        work(cells, steps)
        found.append(time.perf_counter() - began)
    fp.set_threads(before)
    return min(found)


def serial_share(cells: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> float:
    """Per cent of a run with one thread that is spent outside of loops over lines."""
    inside = [0.0]

    def over(*given: Any, **named: Any) -> None:
        began = time.perf_counter()
        _memory.over(*given, **named)
        inside[0] += time.perf_counter() - began

    homes = [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith("fpsolve.") and module is not _memory and getattr(module, "over", None) is _memory.over
    ]
    assert len(homes) >= 4
    before, found = fp.set_threads(1), []
    with monkeypatch.context() as patch:
        for module in homes:
            patch.setattr(module, "over", over)
        for _ in range(4):
            inside[0], began = 0.0, time.perf_counter()
            work(cells, steps)
            found.append(100.0 * (1.0 - inside[0] / (time.perf_counter() - began)))
    fp.set_threads(before)
    return min(found)


@pytest.mark.parametrize(("cells", "steps"), [(256, 50), (1024, 20)])
def test_threads(
    benchmark: Any, judge: Any, monkeypatch: pytest.MonkeyPatch, pytestconfig: Any, cells: int, steps: int
) -> None:
    threads = int(pytestconfig.getoption("--threads"))
    work(cells, steps)
    serial = serial_share(cells, steps, monkeypatch)
    one = wall(cells, steps, 1)
    many = benchmark.pedantic(lambda: wall(cells, steps, threads), rounds=1)
    name = f"2D, {cells}^2, {steps} steps, whole evolve, one level"
    most = {k: 1.0 / (serial / 100.0 + (1.0 - serial / 100.0) / k) for k in (8, 16)}
    per_cell = one * 1e9 / cells**2 / steps
    large = cells == 1024
    judge(
        report.faster(f"{name}: {threads} threads", many, one, SHARE * threads if large else None, note=" (one)"),
        report.figure(
            f"{name}: serial share",
            serial,
            SERIAL if large else None,
            unit=" %",
            reference=f"at most {most[8]:.1f} x on 8, {most[16]:.1f} x on 16; {per_cell:.0f} ns per cell and step",
        ),
    )

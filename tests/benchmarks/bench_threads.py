"""What more cores give in 2D: wall-clock time of one run with one thread and with more, and the serial share.

`--threads N` says with how many (default: two). The serial share is measured with one thread, as the time outside of
the loops over lines; with it Amdahl's law says what k cores could give at most.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import cases
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


def five() -> tuple[fp.Reverse, dict[str, fp.Law]]:
    """Five rotated Gaussians, three starts."""
    return cases.rotated_five(), runs.plane_starts(3)


def old_faithful() -> tuple[fp.Reverse, dict[str, fp.Law]]:
    """Old Faithful in both columns, under VP, from p_T, the prior and a law far out."""
    data = fp.data.standardise(fp.data.read("old_faithful", ["eruption_min", "waiting_min"]))
    reverse = fp.Reverse(fp.KernelDensity(data.samples), fp.VP())
    far = fp.Gaussian([2.0, 1.0], std=0.7)
    return reverse, {"exact": reverse.marginal(1.0), "prior": reverse.process.prior(2), "far": far}


@pytest.mark.parametrize(
    ("problem_of", "tol", "limit"),
    [(five, 1e-4, None), (five, 1e-5, 3.0), (five, 1e-6, 15.0), (old_faithful, 1e-4, 2.0)],
)
def test_tolerances_in_the_plane(
    benchmark: Any, judge: Any, pytestconfig: Any, problem_of: Any, tol: float, limit: float | None
) -> None:
    """Wall-clock time of `evolve(tol=)`, the box chosen by it, all saved times."""
    threads, (reverse, starts) = int(pytestconfig.getoption("--threads")), problem_of()
    before, found = fp.set_threads(threads), []

    def run() -> None:
        began = time.perf_counter()
        assert fp.evolve(reverse, starts, t_min=problem.T_MIN, tol=tol, progress=False).attrs["tol_met"] == "yes"
        found.append(time.perf_counter() - began)

    benchmark.pedantic(run, rounds=1 if tol < 1e-5 else 3)
    fp.set_threads(before)
    name = (problem_of.__doc__ or "").split(",")[0].rstrip(".")
    judge(report.figure(f"2D, {name}, three starts, tol = {tol:g}, {threads} threads", min(found), limit, unit=" s"))

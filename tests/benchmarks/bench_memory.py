"""Peak memory of a large run, in a process of its own, and that nothing grows with the number of steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from benchmarks import report

SECTION = "memory"
LIMIT_GB = 1.5
#: Two runs that differ in their steps only may differ by so many per cent of the peak: the allocator's whims.
SPREAD = 2.0

SCRIPT = """
import json, resource, sys, time
import numpy as np
import cases
import fpsolve as fp
from benchmarks import problem, runs

cells, steps, estimate = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "yes"
began = time.process_time()
saves = np.geomspace(problem.T, problem.T_MIN, 20)
runs.plane(runs.plane_starts(3), cells, steps, save_at=saves, estimate=estimate)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"peak": peak, "seconds": time.process_time() - began}))
"""


def peak(cells: int, steps: int, *, estimate: bool) -> dict[str, float]:
    """Peak resident memory in bytes and CPU seconds of a run with 3 starts and 20 saved times."""
    command = [sys.executable, "-c", SCRIPT, str(cells), str(steps), "yes" if estimate else "no"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["tests", "."])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def test_peak(benchmark: Any, judge: Any) -> None:
    run = benchmark.pedantic(lambda: peak(1024, 40, estimate=True), rounds=1)
    stored = 3 * 20 * 1024**2 * 8 * 1.25
    reference = f"{stored / 1e9:.2f} GB of results, {run['seconds']:.0f} s"
    work = "peak memory: 2D, 1024^2, 3 starts, 20 saved times, companion run included"
    judge(report.figure(work, run["peak"] / 1e9, LIMIT_GB, unit=" GB", reference=reference))


def test_steps(benchmark: Any, judge: Any) -> None:
    few = peak(512, 40, estimate=False)
    many = benchmark.pedantic(lambda: peak(512, 320, estimate=False), rounds=1)
    growth = 100.0 * (many["peak"] / few["peak"] - 1.0)
    reference = f"{few['peak'] / 1e6:.0f} MB at 40 steps, {many['peak'] / 1e6:.0f} MB at 320"
    judge(
        report.figure(
            "growth of the peak from 40 to 320 steps, 2D, 512^2", growth, SPREAD, unit=" %", reference=reference
        )
    )

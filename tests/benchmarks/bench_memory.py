"""Peak memory of a large run, in a process of its own, and that nothing grows with the number of steps.

On Linux the peak is VmHWM of the child: its ``ru_maxrss`` would not do, for it survives `exec` and so starts at the
size of the process that started it (a child that does nothing showed 1025 MB below a parent of 1 GB, VmHWM 8 MB).
"""

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
from pathlib import Path
import numpy as np
from benchmarks import problem, runs

def peak():
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

cells, steps, count, estimate = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "yes"
runs.plane(runs.plane_starts(3), 32, 8, save_at=[problem.T_MIN])
before, began = peak(), time.process_time()
saves = np.geomspace(problem.T, problem.T_MIN, count)
runs.plane(runs.plane_starts(3), cells, steps, save_at=saves, estimate=estimate)
print(json.dumps({"peak": peak(), "before": before, "seconds": time.process_time() - began}))
"""


def peak(cells: int, steps: int, *, saves: int = 20, estimate: bool = False) -> dict[str, float]:
    """Peak resident memory of a run with 3 starts, that of a small run before it, in bytes, and CPU seconds."""
    command = [sys.executable, "-c", SCRIPT, str(cells), str(steps), str(saves), "yes" if estimate else "no"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["tests", "."])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def stored(cells: int, saves: int) -> float:
    """Bytes of the saved densities of 3 starts."""
    return 3.0 * saves * cells**2 * 8


def test_peak(benchmark: Any, judge: Any) -> None:
    run = benchmark.pedantic(lambda: peak(1024, 40, estimate=True), rounds=1)
    results = 1.25 * stored(1024, 20)
    assert run["before"] + results < run["peak"], "the peak must hold at least what is returned"
    reference = f"{results / 1e9:.2f} GB of results, {run['before'] / 1e9:.2f} GB before, {run['seconds']:.0f} s"
    work = "peak memory: 2D, 1024^2, 3 starts, 20 saved times, companion run included"
    judge(report.figure(work, run["peak"] / 1e9, LIMIT_GB, unit=" GB", reference=reference))


def test_steps(benchmark: Any, judge: Any) -> None:
    few = peak(512, 40)
    many = benchmark.pedantic(lambda: peak(512, 320), rounds=1)
    control = peak(512, 40, saves=40)
    added = stored(512, 40) - stored(512, 20)
    assert control["peak"] - few["peak"] > 0.5 * added, "the measurement must see twice the saved times"
    growth = 100.0 * (many["peak"] / few["peak"] - 1.0)
    names = "at 40 steps", "at 320", "at 40 with twice the saved times"
    reference = ", ".join(f"{r['peak'] / 1e6:.0f} MB {n}" for r, n in zip((few, many, control), names, strict=True))
    work = "growth of the peak from 40 to 320 steps, 2D, 512^2"
    judge(report.figure(work, growth, SPREAD, unit=" %", reference=reference, form=".2f"))

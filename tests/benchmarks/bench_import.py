"""What `import fpsolve` costs and loads, and what a first run costs in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks import report

SECTION = "import"
LIMIT = 0.3
HEAVY = ("sympy", "matplotlib", "scipy.stats", "numba", "xarray", "pandas")

IMPORT = f"""
import json, sys, time
began = time.perf_counter()
import fpsolve
seconds = time.perf_counter() - began
print(json.dumps({{"seconds": seconds, "loaded": [name for name in {HEAVY!r} if name in sys.modules]}}))
"""

FIRST_RUN = """
import json, sys, time
began = time.process_time()
import fpsolve as fp
grid = fp.Grid.uniform((-6, 6), cells=200)
reverse = fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5]), fp.OrnsteinUhlenbeck(T=3.0))
fp.evolve(reverse, {"prior": fp.Gaussian(0.0, std=1.0)}, grid=grid, steps=100, t_min=0.01)
print(json.dumps({"seconds": time.process_time() - began}))
"""


def fresh(script: str) -> dict[str, Any]:
    """What a script prints in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def test_import(benchmark: Any, judge: Any) -> None:
    found = [fresh(IMPORT) for _ in range(5)]
    benchmark.pedantic(lambda: found.append(fresh(IMPORT)), rounds=1)
    loaded = found[0]["loaded"]
    assert not set(loaded) & {"sympy", "matplotlib", "scipy.stats"}
    seconds = min(f["seconds"] for f in found)
    reference = f"loaded of {', '.join(HEAVY)}: {', '.join(loaded) or 'none'}"
    first = min(fresh(FIRST_RUN)["seconds"] for _ in range(2))
    judge(
        report.figure("import fpsolve", seconds, LIMIT, unit=" s", reference=reference),
        report.Row("import and first run in a fresh process, compiled code from disk", report.duration(first), "", ""),
    )

"""The first call says so when it compiles, and only then."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUN = (
    "import fpsolve as fp; r = fp.Reverse(fp.Gaussian(0.0, std=0.5), fp.VP());"
    "fp.evolve(r, r.marginal(1.0), grid=fp.Grid.uniform((-6, 6), cells=160), steps=40, t_min=0.1)"
)


def stderr_of_a_run(cache):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, check=True)
    return done.stderr


def test_compilation_is_announced_once(tmp_path):
    first, last = stderr_of_a_run(tmp_path).splitlines()
    assert first.startswith("fpsolve: compiling") and last.startswith("fpsolve: compiled in ")
    assert stderr_of_a_run(tmp_path) == ""

"""The one command of the benchmarks: ``python tests/benchmarks/run.py [options of pytest]``.

Sets one thread for every library before any of them is loaded, then hands over to pytest with pytest-benchmark's
options. Every further argument goes to pytest: ``-k lapack`` runs one topic, ``--peers FOLDER`` installs other packages
into environments of their own below that folder and measures them, ``--write-readme`` puts the table into README.md,
``--tune`` searches the settings in tuned.json again before anything is measured.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM", "BLIS", "NUMBA")
HERE = Path(__file__).resolve().parent
OPTIONS = (
    "--override-ini=python_files=bench_*.py",
    "--benchmark-only",
    "--benchmark-quiet",
    "--benchmark-disable-gc",
    "--benchmark-timer=time.process_time",
    "-o",
    "addopts=--strict-markers --strict-config --import-mode=importlib",
    "--tb=short",
    "-q",
)


def main(arguments: list[str]) -> None:
    """Replace this process by pytest, with the environment set."""
    environment = os.environ | {f"{name}_NUM_THREADS": "1" for name in THREADS}
    environment["FPSOLVE_BENCHMARKS"] = "1"
    os.chdir(HERE.parents[1])
    os.execve(sys.executable, [sys.executable, "-m", "pytest", str(HERE), *OPTIONS, *arguments], environment)


if __name__ == "__main__":
    main(sys.argv[1:])

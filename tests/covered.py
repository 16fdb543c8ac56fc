"""Print which lines of the package the tests reach: needs the package `coverage`.

``python tests/covered.py`` runs all tests but the notebooks, on every core, and those of compiled functions once more
without compilation, or else the lines of these would not be seen. What processes started by tests reach is counted too.
Exit status 1 below 95 %. Arguments are handed on to the first run: ``python tests/covered.py -m "not slow"``.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETTINGS = """
[run]
source = {root}/fpsolve
data_file = {folder}/lines
parallel = true
patch = subprocess
[report]
exclude_also =
    if TYPE_CHECKING:
    @overload
"""
#: What compiled functions are tested by, where that takes seconds without compilation.
COMPILED = "finite_volume stepping marginals kernels_remap kernels_samplers stochastic_kernels closed_form"


def main(arguments: list[str]) -> int:
    """Run, add up, print."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "settings"
        settings.write_text(SETTINGS.format(root=ROOT, folder=folder))
        plain = os.environ | {"PYTHONPATH": str(ROOT)}

        def coverage(*words: str, **environment: str) -> int:
            command = [sys.executable, "-m", "coverage", words[0], f"--rcfile={settings}", *words[1:]]
            return subprocess.run(command, cwd=ROOT, env=plain | environment, check=False).returncode

        tests = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "auto")
        files = [f"tests/test_{name}.py" for name in COMPILED.split()]
        failed = coverage("run", *tests, *(arguments or ["-m", "not notebook"]))
        failed += coverage("run", *tests, "-m", "not slow", *files, NUMBA_DISABLE_JIT="1")
        coverage("combine", "-q")
        return int(bool(coverage("report", "--skip-covered", "--show-missing", "--fail-under=95") or failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

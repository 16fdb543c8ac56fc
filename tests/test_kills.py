"""Processes of each kind are killed at random moments: three to five, nightly thirty, on a cluster too."""

import os
import subprocess
import sys
from pathlib import Path

import cases
import pytest

import fpsolve


@pytest.mark.skipif(sys.platform != "linux", reason="sessions by /proc")
@pytest.mark.parametrize("kind", ["serial", "study", "jobs", pytest.param("cluster", marks=cases.nightly)])
def test_what_a_killed_process_leaves_is_whole_or_absent(kind: str) -> None:
    script = Path(__file__).parent / "kills.py"
    environment = os.environ | {"PYTHONPATH": str(Path(fpsolve.__file__).parents[1])}
    count = cases.sample(30, 3 if kind == "jobs" else 5)
    command = [sys.executable, str(script), "--n", str(count), "--seed", "1", kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0 and done.stdout == f"{kind}: {count} killed, every file whole or absent\n", done.stderr

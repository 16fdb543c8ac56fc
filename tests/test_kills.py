"""Five processes of each kind are killed at random moments; `tests/kills.py` does it more often, on a cluster too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fpsolve


@pytest.mark.skipif(sys.platform != "linux", reason="sessions by /proc")
@pytest.mark.parametrize("kind", ["serial", "study", "jobs"])
def test_what_a_killed_process_leaves_is_whole_or_absent(kind: str) -> None:
    script = Path(__file__).parent / "kills.py"
    environment = os.environ | {"PYTHONPATH": str(Path(fpsolve.__file__).parents[1])}
    command = [sys.executable, str(script), "--n", "5", "--seed", "1", kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0 and done.stdout == f"{kind}: 5 killed, every file whole or absent\n", done.stderr

"""Scripts in processes of their own, forked from one that has loaded what all of them need."""

import json
import multiprocessing
import os
import runpy
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["loaded"])


def run(script: Path, folder: Path, want: str = "__name__") -> tuple[str, Any]:
    """Run a script in `folder`, warnings being errors; return what it prints, and what it calls `want`."""
    with TemporaryDirectory() as own:
        files = [Path(own) / one for one in ("out", "err", "value")]
        process = CONTEXT.Process(target=_child, args=(script, folder, want, files))
        process.start()
        process.join(600.0)
        process.kill()
        process.join()
        assert process.exitcode == 0, files[1].read_text()
        return files[0].read_text(), json.loads(files[2].read_text())


def _child(script: Path, folder: Path, want: str, files: list[Path]) -> None:
    for number, path in enumerate(files[:2], start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ["MPLBACKEND"], sys.argv = "Agg", [str(script)]
    warnings.simplefilter("error")
    files[2].write_text(json.dumps(runpy.run_path(str(script), run_name="__main__")[want]))

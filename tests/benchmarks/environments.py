"""Other packages in environments of their own: installed once below a folder that the caller names, then reused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).with_name("peers")


@dataclass(frozen=True)
class Peer:
    """A package to be compared with.

    Attributes
    ----------
    name : str
        As on the package index.
    requirements : tuple of str
        What pip is asked for.
    script : str
        File in peers/.
    """

    name: str
    requirements: tuple[str, ...]
    script: str

    def python(self, folder: Path) -> Path:
        """The interpreter of the peer's environment, installed if it is not there yet.

        Raises
        ------
        RuntimeError
            With the last words of pip.
        """
        place = folder.expanduser().resolve() / self.name
        interpreter, done = place / "bin" / "python", place / "installed"
        if not done.exists():
            _run([sys.executable, "-m", "venv", str(place)])
            _run([str(interpreter), "-m", "pip", "install", "--quiet", *self.requirements])
            done.touch()
        return interpreter

    def measure(self, folder: Path, dim: int, cells: int, steps: int, rounds: int) -> dict[str, Any]:
        """CPU seconds of one solve without preparation, true error, and CPU seconds of everything."""
        command = [str(self.python(folder)), self.script, *(str(a) for a in (dim, cells, steps, rounds))]
        return dict(json.loads(_run(command, cwd=SCRIPTS).splitlines()[-1]))


PEERS = {
    peer.name: peer
    for peer in (
        Peer("fplanck", ("fplanck==0.2.2", "numpy<2"), "fplanck_.py"),
        Peer("fipy", ("fipy==4.0.3",), "fipy_.py"),
        Peer("pyddm", ("pyddm==0.9.0",), "pyddm_.py"),
        Peer("py-pde", ("py-pde==0.59.0",), "pypde_.py"),
    )
}


def _run(command: list[str], cwd: Path | None = None) -> str:
    """Standard output of a command; RuntimeError with its last words when it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip() or "nothing was said").splitlines()[-1]
        raise RuntimeError(f"{Path(command[0]).name} {' '.join(command[1:4])}: {words}")
    return done.stdout

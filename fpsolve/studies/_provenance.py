"""Where a result comes from: versions, settings, machine, time and memory it took."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fpsolve
from fpsolve.studies._config import StudySettings

__all__ = ["collect", "peak_memory"]

_PACKAGES = ("numpy", "scipy", "xarray", "numba", "matplotlib")


def collect(settings: StudySettings, seconds: Mapping[str, float], wall_time: float) -> dict[str, Any]:
    """Return the provenance of a study that just ended."""
    origin = {
        "fpsolve": fpsolve.__version__,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count() or 0,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_time_s": round(wall_time, 2),
        "stages_s": {name: round(value, 2) for name, value in seconds.items()},
        "seed": settings.seed,
        "settings": settings.model_dump(mode="json", exclude={"title", "question"}),
    }
    peak = peak_memory()
    return origin if peak is None else origin | {"peak_memory_MB": round(peak)}


def peak_memory() -> float | None:
    """Return the largest resident memory of this process so far in MB, None where the system does not tell.

    On Linux this is VmHWM: ``ru_maxrss`` survives `exec`, so a command started by a large process would report that
    process's peak as its own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    if find_spec("resource") is None:
        return None
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # kilobytes, but bytes on macOS
    return used / 2**20 if sys.platform == "darwin" else used / 2**10

"""Run a study: settings in, report and files out, with their provenance.

Where a result comes from: versions, settings, machine, time and memory it took.

The way of every study: read settings, check the folder, run, write.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import fpsolve
from fpsolve import _checks
from fpsolve.settings import netcdf, result_folder, write_all
from fpsolve.studies import _catalogue
from fpsolve.studies.config import Stages, StudySettings, read
from fpsolve.studies.options import Options
from fpsolve.studies.page import html
from fpsolve.studies.report import Report, markdown
from fpsolve.studies.units import NOTE

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


#: Dots per inch of ``figure.png``.
DPI = 200
#: What is said of less work.
QUICKLY = "Made with --quick: fewer cells, steps, particles and cases, and kernel densities binned."
#: What a study writes.
FILES = ("run.nc", "figure.png", "figure.pdf", "report.md", "report.html", "summary.json")


def run_study(
    name: str,
    *,
    out: str | Path | None = None,
    config: str | Path | None = None,
    progress: bool | None = None,
    options: Options | None = None,
) -> Report:
    """Run a study, see `fpsolve.studies.run`."""
    _checks.one_of("study", name, _catalogue.names())
    module = import_module(f"fpsolve.studies.{_catalogue.module_name(name)}")
    settings = read(name, module.Config, config, options)
    # before the work, not after it
    folder = None if out is None else result_folder(out, FILES)
    began = time.perf_counter()
    stages = Stages(name, progress)
    report: Report = module.run(settings, stages)
    origin = collect(settings, stages.seconds, time.perf_counter() - began)
    report = replace(report, provenance={**origin, **report.provenance})
    if options is not None and options.quick:
        report = replace(report, notes=(*report.notes, QUICKLY))
    if '"own-units"' in json.dumps(origin["settings"]):
        report = replace(report, notes=(*report.notes, NOTE))
    if folder is not None:
        write_all(folder, _writers(report))
    return report


def _writers(report: Report) -> dict[str, Callable[[BytesIO], object]]:
    """What writes each file; the summary comes last and so tells that the others are there."""
    summary = json.dumps(report.summary(), indent=2, allow_nan=False, ensure_ascii=False)
    figure, picture = report.figure, BytesIO()
    figure.savefig(picture, format="png", dpi=DPI)
    # laid out once; what is raster in a PDF is smooth
    figure.set_layout_engine("none")
    texts = {"report.md": markdown(report), "report.html": html(report, picture.getvalue())}
    writers: dict[str, Callable[[BytesIO], object]] = {
        "run.nc": netcdf(report.datasets),
        "figure.png": lambda file: file.write(picture.getvalue()),
        "figure.pdf": lambda file: figure.savefig(file, format="pdf", dpi=DPI),
    }
    texts["summary.json"] = summary + "\n"
    writers |= {name: partial(_write_text, text) for name, text in texts.items()}
    return {name: write for name, write in writers.items() if name != "run.nc" or report.datasets}


def _write_text(text: str, file: BytesIO) -> None:
    file.write(text.encode())

"""The way of every study: read settings, check the folder, run, write."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from fpsolve import _checks
from fpsolve.settings import check_folder, packed, write_all
from fpsolve.studies import _catalogue, _config, _provenance, _text
from fpsolve.studies._report import Report
from fpsolve.studies._stages import Stages

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = ["run_study"]

#: Dots per inch of ``figure.png``.
DPI = 200


def run_study(
    name: str, *, out: str | Path | None = None, config: str | Path | None = None, progress: bool | None = None
) -> Report:
    """Run a study, see `fpsolve.studies.run`."""
    _checks.one_of("study", name, _catalogue.names())
    module = import_module(f"fpsolve.studies.{_catalogue.module_name(name)}")
    settings = _config.read(name, module.Config, config)
    folder = None if out is None else Path(out).absolute()
    if folder is not None:
        # before the work, not after it
        check_folder(folder)
    began = time.perf_counter()
    stages = Stages(name, progress)
    report: Report = module.run(settings, stages)
    origin = _provenance.collect(settings, stages.seconds, time.perf_counter() - began)
    report = replace(report, provenance={**origin, **report.provenance})
    if folder is not None:
        write_all(folder, _writers(report))
    return report


def _writers(report: Report) -> dict[str, Callable[[Path], object]]:
    """What writes each file; the summary comes last and so tells that the others are there."""
    writers: dict[str, Callable[[Path], object]] = {}
    if report.datasets:
        writers["run.nc"] = partial(_write_datasets, dict(report.datasets))
    writers["figure.png"] = partial(_write_figure, report.figure, dpi=DPI)
    writers["figure.pdf"] = partial(_write_figure, report.figure, dpi=2 * DPI)
    writers["report.md"] = lambda path: path.write_text(_text.markdown(report), encoding="utf-8")
    summary = json.dumps(report.summary(), indent=2, allow_nan=False, ensure_ascii=False)
    writers["summary.json"] = lambda path: path.write_text(summary + "\n", encoding="utf-8")
    return writers


def _write_figure(figure: Figure, path: Path, *, dpi: int) -> None:
    figure.savefig(path, dpi=dpi)


def _write_datasets(datasets: dict[str, xr.Dataset], path: Path) -> None:
    """Write the root first, then every group into the same file; compressed without loss."""
    for k, (group, dataset) in enumerate(datasets.items()):
        dataset.to_netcdf(
            path, mode="w" if k == 0 else "a", group=group or None, engine="h5netcdf", encoding=packed(dataset)
        )

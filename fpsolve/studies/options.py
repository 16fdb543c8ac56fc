"""What a command line changes in the settings of a study: other data, single keys, less work.

Changes are made in the tree of the TOML file, before it is checked: what does not fit is told as for files.

What suits one process and law suits all, because studies look at every process in its own units (`own_units`): there it
is variance preserving, and boxes, cells, starts, weights and tolerances are in standard deviations at time t. Times of
the settings belong to their process; with one of another kind they become those of the same noise level
``sigma/alpha``. Boxes become wide enough for the data, or for the tails of another target.

The way of every study: read settings, change them, check the folder, run, write, with the provenance: versions,
settings, machine, time and memory it took.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import fpsolve
from fpsolve import _checks, studies
from fpsolve import data as tables
from fpsolve._checks import FloatArray, error
from fpsolve.processes import Process
from fpsolve.settings import build, netcdf, result_folder, write_all
from fpsolve.settings import read as read_file
from fpsolve.studies.config import NOTE, Stages, StudySettings, level_time, own_units, reach, widen
from fpsolve.studies.report import Report, html, markdown

#: What `--quick` changes: the same question with fewer cells, steps, particles and cases.
QUICK: dict[str, dict[str, Any]] = {
    "error-decomposition": {"cells": 200},
    "forgetting": {
        "line.tol": 1e-3, "line.times": [0.25, 0.01], "line.saves": 16, "line.starts.shifted": None,
        "line.particles.n": 2_000, "line.particles.starts": ["prior"], "plane.tol": 5e-2, "plane.times": [0.25, 0.01],
        "line.bins": 1.0, "plane.bins": 1.0, "plane.starts.shifted": None, "plane.particles.n": 1_000,
        "plane.particles.steps": 300,
    },
    "guidance": {"w": [0.0, 8.0], "particles": 2_000, "tol": 1e-2},
    "harris-ladder": {
        "saves": 16, "tol": 1e-5, "ou_mixture": None, "two_modes.boundaries": [1.0, 0.3, 0.0], "two_modes.cells": 240,
        "two_modes.certificates": None,
    },
    "localization-set": {"cells_per_unit": 15, "boxes": [3.0, 4.0, 10.0], "betas": [0.01, 0.03, 0.1], "levels": 120},
    "product-form": {
        "line.bins": 1.0, "line.rtol": 1e-7, "line.steps": 200,
        "line.intervals": {"points": 2048, "mixture": 1024, "data": 256}, "line.cells_per_std": 4, "plane.basins": 12,
        "plane.rtol": 1e-3, "plane.sigma_min": 0.4, "plane.bins": 1.0, "plane.steps": 48,
        "plane.intervals": {"points": 96, "mixture": 64, "data": 64},
    },
    "proof": {"times": [0.5, 0.1], "blocks": [1.0, 0.4], "rtol": 1e-6, "kernel_cells": 200, "unproved": 0},
    "score-noise": {
        "cells": 200, "intervals": 64, "errors": 60, "thinned": 6, "paths": 2, "resamples": 500,
        "width": 2.0, "coarser": 0.1, "oracle.paths": 4,
    },
    "step-design": {"samplers": ["ddim", "dpm-solver++(2m)"], "evaluations": [4], "tries": 60},
    "step-size": {"cells": 200, "counts": [20, 40]},
    "stochasticity": {"etas": [0.0, 1.0, 3.16], "churns": [0.0, 32.0], "cells": 200},
}  # fmt: skip
#: What is expected of the law and the process of the settings as they come, and of no others.
KNOWN: dict[str, tuple[str, ...]] = {
    "forgetting": ("line.leading_order", "plane.leading_order"),
    "harris-ladder": ("two_modes.certificates", "ou_mixture.whole", "controls"),
    "localization-set": ("expected",),
    "proof": ("unproved", "close"),
    "step-design": ("redesigned",),
    "step-size": ("tolerance",),
    "stochasticity": ("noise_helps",),
}
#: Laws about which something can be proved.
PROVED = ("gaussian-mixture", "gaussian", "kernel-density")
#: With less work, kernel densities of more points are binned, in bandwidths.
FEW, QUICK_BINS = 60, 0.5
#: Columns of a file that are looked at where none are given.
MOST_COLUMNS = 50
#: Components of a mixture that is fitted to data where labels are needed.
LABELS = 3
#: Keys of times, single or listed.
TIMES = ("t_min", "curve_t_min", "t_from", "t_to", "times", "boundaries", "blocks", "split", "interval")


@dataclass(frozen=True)
class Options:
    """Changes of settings, in the order in which they are made: less work, data, keys.

    Attributes
    ----------
    quick : bool
        Fewer cells, steps and particles.
    data : path, optional
        A CSV or .npy file in place of every target and of the data of the study.
    columns : sequence of str
        One or two of its columns; what is on the line takes the first.
    changes : sequence of str
        ``key=value`` each, the key with its path (``process.kind=edm``), the value as TOML or text.
    """

    quick: bool = False
    data: str | Path | None = None
    columns: Sequence[str] = ()
    changes: Sequence[str] = ()

    def apply(self, name: str, tree: dict[str, Any]) -> dict[str, Any]:
        """Return the changed settings of the study `name`; the title names the data."""
        shipped = tomllib.loads(studies.settings(name)) if self.quick else {}
        before = {
            path: dict(group["process"]) for path, group in _every(tree) if isinstance(group.get("process"), dict)
        }
        laws = {path: dict(group["target"]) for path, group in _every(tree) if isinstance(group.get("target"), dict)}
        for path, value in QUICK[name].items() if self.quick else ():
            if _get(tree, path) == _get(shipped, path):  # else it is the user's own
                _put(tree, path, value)
        if self.data is not None or self.columns:
            self._put_data(name, tree)
        asked = [each for one in self.changes for each in _spread(tree, *_change(one))]
        for path, value in asked:
            if path.endswith(".kind"):
                # options of another kind do not fit
                _put(tree, path.removesuffix(".kind"), {})
            _put(tree, path, value)
        keys = {key for key, _ in asked}
        for path, group in list(_every(tree)):
            new = _process(group["process"]) if f"{path}process.kind" in keys and path in before else None
            if new is not None and group["process"]["kind"] != before[path]["kind"]:
                time = level_time(build(before[path], Process), own_units(new))
                _match(group, path, time, keys)
                # what parts of the study share, by the process of the first
                _match({key: value for key, value in tree.items() if key in TIMES and path}, "", time, keys, tree)
                keys |= {key for key in TIMES if key in tree}
        for path, law in laws.items() if self.data is None else ():
            target = _get(tree, f"{path}target")
            if isinstance(target, dict) and target != law:
                if name == "proof" and target.get("kind", PROVED[0]) not in PROVED:
                    raise error("target", f"one of {', '.join(PROVED)}", target["kind"], "other studies take all laws")
                group = _get(tree, path.removesuffix(".")) if path else tree
                widen(group, reach(target), reach(law), [key.removeprefix(path) for key in keys])
        if self.data is not None or any("process" in key or "target" in key for key in keys):
            for path in KNOWN.get(name, ()):
                _put(tree, path, None)
        asked_for = [_process(group["process"]) for path, group in _every(tree) if f"{path}process.kind" in keys]
        own = [process for process in asked_for if process is not None]
        return _titled(tree, [] if self.data is None else [Path(self.data).name], own)

    def _put_data(self, name: str, tree: dict[str, Any]) -> None:
        if self.data is None or len(self.columns) > 2:
            raise error("--columns", "one or two columns of a file", f"{list(self.columns)} of {self.data}",
                        "--data FILE --columns a,b")  # fmt: skip
        file, columns = str(self.data), list(self.columns) or first_columns(self.data)
        samples = tables.standardise(tables.read(file, columns[:1])).samples
        if len(columns) == 1:
            tree.pop("plane", None)  # what is on the line is left
        for _, table in list(_every(tree)):
            if "columns" in table:
                table |= {"file": file, "columns": columns[: len(table["columns"])]}
            if isinstance(table.get("target"), dict):
                table["target"] = {"kind": "kernel-density", "file": file, "columns": columns[:1]}
                if self.quick and len(samples) > FEW:
                    table["target"]["bins"] = QUICK_BINS
                if name == "guidance":  # its labels are components
                    table["target"] = {"kind": "gaussian-mixture"} | fitted(samples, LABELS)
                widen(table, float(np.abs(samples).max()))


def _process(table: Any) -> Process | None:
    """The process of a table; None for what is none, which is told with all that does not fit."""
    try:
        made: Process = build(table, Process)
        return made
    except ValueError:
        return None


def _change(text: str) -> tuple[str, Any]:
    """``key=value`` as a key and a value: TOML, or text where it is none."""
    key, sign, value = text.partition("=")
    if not (sign and key.strip()):
        raise error("--set", "key=value, such as process.kind=edm", repr(text))
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def _every(tree: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All tables with their paths, the innermost last."""
    if isinstance(tree, dict):
        yield path, tree
        for key, value in tree.items():
            yield from _every(value, f"{path}{key}.")


def _get(tree: Any, path: str) -> Any:
    """What stands at a path, None where nothing does."""
    for part in path.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def _spread(tree: dict[str, Any], path: str, value: Any) -> list[tuple[str, Any]]:
    """A change of the process of a study whose parts have one each changes all of them."""
    parts = [part for part, group in _every(tree) if part and "process" in group]
    here = not path.startswith("process.") or "process" in tree or not parts
    return [(path, value)] if here else [(part + path, value) for part in parts]


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Put a value at a path; None takes away what is there."""
    *parents, last = path.split(".")
    for part in parents:
        if value is None and part not in tree:
            return
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise error("--set", "a path of tables", f"{path}, where {part} is none")
    if value is None:
        tree.pop(last, None)
    else:
        tree[last] = value


def first_columns(path: str | Path) -> list[str]:
    """Return the names of the first one or two columns of numbers that are not all the same."""
    found: list[str] = []
    first: ValueError | None = None
    for place in range(MOST_COLUMNS):
        try:
            found += tables.read(path, [place]).columns
        except ValueError as reason:
            first = first or reason
            if "at place" in str(reason):
                break
        if len(found) == 2:
            break
    if not found and first is not None:
        raise first
    return found


def fitted(samples: FloatArray, count: int) -> dict[str, list[float]]:
    """Return weights, means and standard deviations of a mixture fitted to samples on the line, by 200 steps of EM.

    Standard deviations are at least a twentieth of that of the samples, so that no component is a single point.

    Examples
    --------
    >>> fitted(np.r_[np.linspace(-3.1, -2.9, 30), np.linspace(1.8, 2.2, 60)], 2)["weights"]
    [0.3333, 0.6667]
    """
    means = np.quantile(samples, (np.arange(count) + 0.5) / count)
    stds, weights = np.full(count, samples.std() / count), np.full(count, 1.0 / count)
    for _ in range(200):
        logs = np.log(weights / stds) - 0.5 * np.square((samples[:, None] - means) / stds)
        share = np.exp(logs - logs.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        mass = share.sum(axis=0) + 1e-9
        weights, means = mass / mass.sum(), (share * samples[:, None]).sum(axis=0) / mass
        stds = np.sqrt((share * np.square(samples[:, None] - means)).sum(axis=0) / mass)
        stds = np.maximum(stds, 0.05 * samples.std())
    order = np.argsort(means)
    found = {"weights": weights[order].round(4), "means": means[order].round(4), "stds": stds[order].round(4)}
    found["weights"] = (found["weights"] / found["weights"].sum()).round(12)
    return {name: values.tolist() for name, values in found.items()}


def _match(
    group: dict[str, Any],
    path: str,
    time: Callable[[float], float],
    asked: set[str],
    into: dict[str, Any] | None = None,
) -> None:
    """Map the times of a group of settings that were not asked for."""

    def times(value: Any) -> Any:
        if isinstance(value, list):
            # late levels that the new process does not reach fall together
            return list(dict.fromkeys(times(one) for one in value))
        return time(value) if isinstance(value, float) else value

    for inner, table in list(_every(group)):
        for key in TIMES if inner != "edm." else ():  # whose times are its own
            if key in table and path + inner + key not in asked:
                (table if into is None else into)[key] = times(table[key])


def _titled(tree: dict[str, Any], names: list[str], processes: list[Process]) -> dict[str, Any]:
    """The settings with the data, and the processes that were asked for, in the title."""
    used = [table for _, table in _every(tree) if "columns" in table]
    files = dict.fromkeys(str(table.get("file", "old_faithful")) for table in used)
    names += ["Old Faithful" if file == "old_faithful" else Path(file).name for file in files]
    names += dict.fromkeys(type(process).__name__ for process in processes)
    title = tree.get("title")
    if isinstance(title, str) and (new := [name for name in dict.fromkeys(names) if name not in title]):
        tree["title"] = f"{title} ({', '.join(new)})"
    return tree


_Read = TypeVar("_Read", bound=StudySettings)


def read(name: str, kind: type[_Read], path: str | Path | None = None, options: Options | None = None) -> _Read:
    """Return the settings of a study, its own or those of a file, with what a command line changes in them.

    Raises
    ------
    ValueError
        The file cannot be read, is not TOML, or does not fit; all misfits are told, with their paths.
    """
    expected = f"settings of {name!r}"
    change = partial((Options() if options is None else options).apply, name)
    where, text = (f"{name}.toml", studies.settings(name)) if path is None else (path, None)
    return read_file("config", kind, expected, where, text, change)


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
#: What is said of a second column.
UNUSED = "The column {} is not used: this study is on the line and takes the first."
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
    _checks.one_of("study", name, studies.names())
    module = import_module(f"fpsolve.studies.{studies.module_name(name)}")
    settings = read(name, module.Config, config, options)
    # before the work, not after it
    folder = None if out is None else result_folder(out, FILES)
    began = time.perf_counter()
    stages = Stages(name, progress)
    report: Report = module.run(settings, stages)
    origin = collect(settings, stages.seconds, time.perf_counter() - began)
    if options is not None and options.quick:
        report = replace(report, notes=(*report.notes, QUICKLY))
        origin["quick"] = True
    told = json.dumps(origin["settings"])
    if options is not None and options.data is not None:
        columns = list(options.columns) or first_columns(options.data)
        left = [name for name in columns[1:] if json.dumps(str(name)) not in told]
        origin["given"] = f"{Path(options.data).name} ({', '.join(str(one) for one in columns if one not in left)})"
        report = replace(report, notes=(*report.notes, *(UNUSED.format(name) for name in left)))
    report = replace(report, provenance={**origin, **report.provenance})
    if '"own-units"' in told:
        report = replace(report, notes=(*report.notes, NOTE))
    if folder is not None:
        write_all(folder, _writers(report))
    return report


def _writers(report: Report) -> dict[str, Callable[[BytesIO], object]]:
    """What writes each file; the summary comes last and so tells that the others are there."""
    summary = json.dumps(report.summary(), indent=2, allow_nan=False, ensure_ascii=False)
    figure, picture = report.figure, BytesIO()
    # a fast packing: half the time of a picture is its compression
    figure.savefig(picture, format="png", dpi=DPI, pil_kwargs={"compress_level": 2})
    # laid out once; what is raster in a PDF is smooth
    figure.set_layout_engine("none")
    texts = {"report.md": markdown(report), "report.html": html(report, picture.getvalue())}
    writers: dict[str, Callable[[BytesIO], object]] = {
        "run.nc": netcdf(report.datasets),
        "figure.png": lambda file: file.write(picture.getvalue()),
        "figure.pdf": lambda file: _draw_pdf(figure, file),
    }
    texts["summary.json"] = summary + "\n"
    writers |= {name: partial(_write_text, text) for name, text in texts.items()}
    return {name: write for name, write in writers.items() if name != "run.nc" or report.datasets}


def _draw_pdf(figure: Any, file: BytesIO) -> None:
    """Write a figure that is laid out; `savefig` would draw it twice."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    canvas, dpi = figure.canvas, figure.dpi
    figure.set_dpi(DPI)
    pdf: Any = FigureCanvasPdf(figure)
    pdf.print_pdf(file)
    figure.set_canvas(canvas)
    figure.set_dpi(dpi)


def _write_text(text: str, file: BytesIO) -> None:
    file.write(text.encode())

"""What a command line changes in the settings of a study: other data, single keys, less work.

Changes are made in the tree of the TOML file, before it is checked: what does not fit is told as for files. Times and
starts of the settings belong to their process; with a process of another kind they become those of the same noise level
``sigma/alpha`` and of the same distance in standard deviations of the prior.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fpsolve._checks import error
from fpsolve.processes import Process
from fpsolve.settings import build

#: What `--quick` changes: the same question with fewer cells, steps, particles and cases.
QUICK: dict[str, dict[str, Any]] = {
    "error-decomposition": {"cells": 240},
    "forgetting": {
        "line.tol": 1e-4, "line.times": [1.0, 0.25, 0.01], "line.saves": 16, "line.particles.n": 5_000,
        "line.particles.steps": 200, "line.particles.starts": ["prior"], "plane.tol": 2e-2,
        "plane.times": [1.0, 0.25, 0.01], "plane.particles.n": 2_000, "plane.particles.steps": 100,
    },
    "guidance": {"w": [0.0, 2.0, 8.0], "particles": 5_000},
    "harris-ladder": {"saves": 16, "tol": 1e-5},
    "localization-set": {"cells_per_unit": 15, "boxes": [3.0, 5.0, 10.0], "betas": [0.03, 0.1], "levels": 120},
    "product-form": {"line.rtol": 1e-7, "plane.basins": 12},
    "proof": {"times": [0.5, 0.1]},
    "score-noise": {"cells": 160, "intervals": 40, "errors": 40, "paths": 3, "resamples": 500},
    "step-design": {"samplers": ["ddim", "dpm-solver++(2m)"], "evaluations": [4, 6], "tries": 150},
    "step-size": {"cells": 240, "counts": [20, 40]},
    "stochasticity": {"etas": [0.0, 1.0, 3.16], "churns": [0.0, 32.0], "cells": 200},
}  # fmt: skip
#: Numbers that are known of the settings as they come, and of no others.
KNOWN = ("expected", "certificates", "whole")
#: Keys of times, single or listed.
TIMES = ("t_min", "curve_t_min", "t_from", "t_to", "times", "boundaries", "blocks", "split")


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
        before = {
            path: dict(group["process"]) for path, group in _every(tree) if isinstance(group.get("process"), dict)
        }
        for path, value in QUICK[name].items() if self.quick else ():
            _put(tree, path, value, only_there=True)
        if self.data is not None or self.columns:
            self._put_data(tree)
        asked = [_change(one) for one in self.changes]
        for path, value in asked:
            if path.endswith("process.kind"):
                # options of another kind do not fit
                _put(tree, path.removesuffix(".kind"), {})
            _put(tree, path, value)
        keys = {key for key, _ in asked}
        for path, group in list(_every(tree)):
            if f"{path}process.kind" in keys and path in before and group["process"]["kind"] != before[path]["kind"]:
                _match(group, before[path], {key.removeprefix(path) for key in keys})
        if self.data is not None or any("process" in key or "target" in key for key, _ in asked):
            # what is known of other settings only
            for _, table in list(_every(tree)):
                for key in KNOWN:
                    table.pop(key, None)
        return _titled(tree)

    def _put_data(self, tree: dict[str, Any]) -> None:
        if self.data is None or not 1 <= len(self.columns) <= 2:
            raise error("--columns", "one or two columns of a file", f"{list(self.columns)} of {self.data}",
                        "--data FILE --columns a,b")  # fmt: skip
        file, columns = str(self.data), list(self.columns)
        for _, table in _every(tree):
            if "columns" in table:
                count = len(table["columns"])
                if count > len(columns):
                    raise error("--columns", "two columns: this study has a part in the plane", f"{columns}",
                                "--columns a,b")  # fmt: skip
                table |= {"file": file, "columns": columns[:count]}
            if isinstance(table.get("target"), dict):
                table["target"] = {"kind": "kernel-density", "file": file, "columns": columns[:1]}


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


def _put(tree: dict[str, Any], path: str, value: Any, *, only_there: bool = False) -> None:
    *parents, last = path.split(".")
    for part in parents:
        if only_there and part not in tree:
            return
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise error("--set", "a path of tables", f"{path}, where {part} is none")
    tree[last] = value


def _match(group: dict[str, Any], before: dict[str, Any], asked: set[str]) -> None:
    """Give times and starts of a group of settings the noise levels and the units of its new process."""
    old, new = build(before, Process), build(group["process"], Process)
    time, ratio = level_time(old, new), new.prior_std / old.prior_std

    def times(value: Any) -> Any:
        if isinstance(value, list):
            # late levels that the new process does not reach fall together
            return list(dict.fromkeys(times(one) for one in value))
        return time(value) if isinstance(value, float) else value

    for path, table in _every(group):
        for key in TIMES:
            if key in table and path + key not in asked:
                table[key] = times(table[key])
        for key in ("starts", "start"):
            laws = table.get(key)
            for law in laws.values() if key == "starts" and isinstance(laws, dict) else [laws]:
                if isinstance(law, dict):
                    law |= {k: (np.array(law[k]) * ratio).tolist() for k in ("mean", "std") if k in law}


def level_time(old: Process, new: Process) -> Callable[[float], float]:
    """Return the map from times of one process to those of the same ``sigma/alpha`` of another, the ends kept.

    Examples
    --------
    >>> import fpsolve as fp
    >>> level_time(fp.VP(), fp.EDM())(1.0)
    80.0
    """

    def level(process: Process, t: Any) -> Any:
        return np.sqrt(process.variance(0.0, t)) / process.scale(0.0, t)

    nodes = np.geomspace(1e-6, 1.0, 20_001) * new.T
    levels = level(new, nodes)

    def mapped(t: float) -> float:
        if t in (0.0, old.T):
            return new.T if t else 0.0
        # four digits: nobody reads more, and the same level may be the end itself
        return float(f"{np.interp(level(old, t), levels, nodes):.4g}")

    return mapped


def _titled(tree: dict[str, Any]) -> dict[str, Any]:
    """The settings with the data in the title."""
    used = [table for _, table in _every(tree) if "columns" in table]
    files = dict.fromkeys(str(table.get("file", "old_faithful")) for table in used)
    names = ["Old Faithful" if file == "old_faithful" else Path(file).name for file in files]
    title = tree.get("title")
    if isinstance(title, str) and names and not any(name in title for name in names):
        tree["title"] = f"{title} ({', '.join(names)})"
    return tree

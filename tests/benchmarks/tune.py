"""Settings at which every route reaches a given true error most cheaply, searched and kept in tuned.json.

Fairness needs both sides tuned: the alternatives by cells and tolerances, fpsolve by cells and steps. Searched again by
``python tests/benchmarks/run.py --tune``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks import by_hand, runs, timing, truth

FILE = Path(__file__).with_name("tuned.json")
LINE_CELLS = (40, 48, 56, 64, 72, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640)
LINE_STEPS = (12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192)
PLANE_CELLS = (32, 40, 48, 64, 80, 96, 128, 160, 192)
PLANE_STEPS = (8, 12, 16, 24, 32, 48, 64, 96)
TOLS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6)

Entry = dict[str, Any]


@cache
def tuned() -> dict[str, Any]:
    """What the last search found."""
    return dict(json.loads(FILE.read_text()))


def cheapest(ladder: str, error: float) -> Entry:
    """The entry of a ladder with the least work whose true error is at most `error`."""
    good = [entry for entry in tuned()[ladder] if entry["error"] <= error]
    if not good:
        raise ValueError(f"error: expected one that the ladder {ladder!r} in tuned.json reaches, got {error:g}.")
    return dict(min(good, key=lambda entry: float(entry["cells"] ** entry["dim"] * entry["steps"])))


def search() -> None:
    """Search everything and write tuned.json; takes some minutes."""
    found: dict[str, Any] = {
        "line, three starts": _line_ladder(3),
        "line, one start": _line_ladder(1),
        "plane": _ladder(2, PLANE_CELLS, PLANE_STEPS, _plane_pair_error),
        "tol": [{"tol": tol, "error": _error_with_tol(tol)} for tol in TOLS],
        "lsoda 1e-4": _lsoda(1e-4, (592, 608, 640, 672, 720), (3e-4, 1e-4, 3e-5, 1e-5)),
        "lsoda 1e-6": _lsoda(1e-6, (5920, 6080, 6400, 7200), (3e-6, 1e-6, 3e-7, 1e-7)),
        "bdf": _bdf(6.5e-4, 256, (1e-3, 3e-4, 1e-4)),
    }
    for name in ("lsoda 1e-4", "lsoda 1e-6", "bdf"):
        del found[name]["seconds"]
    text = json.dumps(found, indent=1)
    FILE.write_text(re.sub(r"\s*\n\s{3,}|\n\s+(?=\})", " ", text) + "\n")
    tuned.cache_clear()


def _line_ladder(count: int) -> list[Entry]:
    starts = runs.line_starts(count)
    return _ladder(1, LINE_CELLS, LINE_STEPS, lambda n, s: truth.line_error(runs.line_pair(starts, n, s)))


def _plane_pair_error(cells: int, steps: int) -> float:
    return truth.plane_error(runs.plane_pair(runs.plane_starts(), cells, steps)[0])


def _error_with_tol(tol: float) -> float:
    return truth.line_error(runs.line_tol(runs.line_starts(), tol))


def _ladder(dim: int, sizes: Iterable[int], counts: Iterable[int], error: Callable[[int, int], float]) -> list[Entry]:
    """Entries that no other entry beats in both work and error."""
    entries = [{"dim": dim, "cells": n, "steps": s, "error": error(n, s)} for n in sizes for s in counts]
    entries.sort(key=lambda e: (e["cells"] ** dim * e["steps"], e["error"]))
    front: list[Entry] = []
    for entry in entries:
        if not front or entry["error"] < front[-1]["error"]:
            front.append(entry)
    return front


def _lsoda(goal: float, sizes: Iterable[int], rtols: Iterable[float]) -> Entry:
    """The fastest of all combinations of cells, rtol and atol that reach the goal for three starts."""
    best: Entry = {"seconds": np.inf}
    for cells in sizes:
        starts = [runs.line_grid(cells).cell_average(law) for law in runs.line_starts().values()]
        for rtol in rtols:
            for atol in (rtol, 0.1 * rtol, 0.01 * rtol, 0.001 * rtol):
                error = truth.line_error(by_hand.lsoda(starts, rtol, atol))
                if error > goal:
                    continue
                seconds = timing.least(partial(by_hand.lsoda, starts, rtol, atol), 5)
                if seconds < best["seconds"]:
                    best = {"cells": cells, "rtol": rtol, "atol": atol, "error": error, "seconds": seconds}
    return best


def _bdf(goal: float, cells: int, rtols: Iterable[float]) -> Entry:
    """The fastest combination of rtol and atol that reaches the goal in the plane."""
    best: Entry = {"seconds": np.inf}
    for rtol in rtols:
        for atol in (0.1 * rtol, 0.01 * rtol):
            began = time.process_time()
            error = truth.plane_error(by_hand.bdf_plane(cells, rtol, atol))
            seconds = time.process_time() - began
            if error <= goal and seconds < best["seconds"]:
                best = {"cells": cells, "rtol": rtol, "atol": atol, "error": error, "seconds": seconds}
    return best

"""Where the time of a whole run goes, function by function, and how far it is from the floor of this machine."""

from __future__ import annotations

import cProfile
import pstats
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine, report, runs, timing

SECTION = "profile"
OPTIONS = {"scheme": "crank-nicolson", "estimate": False}
SHARE = 0.03

#: Operations and bytes per cell and step that cannot be avoided; README.md says how they are counted.
LINE = {"exp": 3, "log": 1, "divide": 2, "flop": 8 + 9 + 6 + 3 * 8, "chain_multiply": 2, "byte": 0}
PLANE = {"exp": 7, "log": 1, "divide": 4, "flop": 5 * 6 + 2 * 9 + 2 * 6 + 3 * 8, "byte": 64}


def test_profile(benchmark: Any, judge: Any) -> None:
    prices = machine.prices()
    line = 800 * 200, lambda: runs.line(runs.line_starts(), 800, 200, **OPTIONS)
    plane = 256**2 * 200, lambda: runs.plane(runs.plane_starts(), 256, 200, **OPTIONS)
    body, summary = [], []
    for name, (updates, work), counts in (("1D", line, LINE), ("2D", plane, PLANE)):
        work()
        whole = timing.least(work, 12 if name == "1D" else 3)
        floor = sum(getattr(prices, key) * count for key, count in counts.items())
        ns = whole / updates * 1e9
        body += [[name, *entry] for entry in breakdown(own_times(work, 10 if name == "1D" else 2), whole, updates)]
        body.append([name, "floor", f"{floor:.1f}", f"run is {ns / floor:.1f} x the floor"])
        work_name = "1D, N = 800, 3 starts" if name == "1D" else "2D, 256^2, 1 start"
        summary.append(
            report.Row(
                f"{work_name}, 200 steps: per cell and step",
                f"{ns:.3g} ns",
                f"floor {floor:.3g} ns",
                f"{ns / floor:.1f} x",
            )
        )
    title = (
        "Where the time goes, nanoseconds per cell and step: 1D (800 cells, 3 starts), 2D (256^2, 1 start), 200 steps"
    )
    judge.table(title, ["", "function", "ns", "share"], body)
    timing.alone(benchmark, line[1], rounds=5)
    text = ", ".join(f"{key.replace('_', ' ')} {value:.2g}" for key, value in vars(prices).items())
    judge(*summary, report.Row("prices of this machine: ns per double (byte: per byte)", "", text, ""))


def breakdown(parts: dict[str, float], whole: float, updates: int) -> list[list[str]]:
    """Functions that take more than 3 % of the run, the rest of it in one line, and the whole."""
    large = sorted(((s, label) for label, s in parts.items() if s >= SHARE * whole), reverse=True)
    large.append((max(0.0, whole - sum(s for s, _ in large)), "the rest, mostly a fixed cost per run"))
    large.append((whole, "whole run"))
    return [[label, f"{s / updates * 1e9:.1f}", f"{100 * s / whole:.0f} %"] for s, label in large]


def own_times(work: Callable[[], Any], rounds: int) -> dict[str, float]:
    """CPU seconds spent in every function itself, least of some rounds; compiled functions count as functions."""
    least: dict[str, float] = {}
    for _ in range(rounds):
        profile = cProfile.Profile(time.process_time)
        profile.runcall(work)
        for (path, _line, function), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
            label = f"{_room(path)}{function}"
            least[label] = min(least.get(label, float("inf")), own)
    return least


def _room(path: str) -> str:
    parts = Path(path).parts
    if "fpsolve" in parts:
        inside = parts[len(parts) - parts[::-1].index("fpsolve") :]
        return ".".join(inside).removesuffix(".py") + "."
    return "" if path.startswith("~") else Path(path).stem + "."

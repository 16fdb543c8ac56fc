"""How much memory can be had, and the refusal of work that would not fit: before anything is allocated."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from fpsolve._checks import error

_MEMINFO = Path("/proc/meminfo")
_GROUPS = Path("/sys/fs/cgroup")
#: Below this many bytes nobody need be asked.
NEGLIGIBLE = 10**8
#: Work that takes longer than this many seconds says so before it begins.
LONG = 60.0


def available_bytes() -> int | None:
    """Memory that can be had, in bytes: the least that the machine, the container and the process's limit leave.

    Without swapping. None where the system tells of none of them.
    """
    return min([*_machine(), *_group(), *_address_space()], default=None)


def require(name: str, needed: float, remedy: str) -> None:
    """Raise the ValueError of `name` when `needed` bytes exceed the memory that can be had."""
    free = available_bytes() if needed >= NEGLIGIBLE else None
    if free is not None and needed > free:
        raise error(
            name, f"arrays that fit into the free memory ({free / 1e9:.3g} GB)", f"{needed / 1e9:.3g} GB", remedy
        )


def say_if_long(what: str, seconds: float) -> None:
    """Say on standard error how long work will take, where that is long."""
    if seconds > LONG:
        unit, size = next(pair for pair in _UNITS if seconds >= pair[1])
        print(f"fpsolve: {what} will take about {seconds / size:.2g} {unit} on one core.", file=sys.stderr)


_UNITS = (("years", 3.15e7), ("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0))


def _machine() -> Iterator[int]:
    if _MEMINFO.exists():
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024
                return
    names = getattr(os, "sysconf_names", {})
    if "SC_AVPHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        yield os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _group() -> Iterator[int]:
    """What the limits of containers leave: of every control group above this process, versions 2 and 1."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, controllers, inner = line.split(":", 2)
            if number != "0" and "memory" not in controllers.split(","):
                continue
            root = _GROUPS if number == "0" else _GROUPS / "memory"
            limit, used = ("max", "current") if number == "0" else ("limit_in_bytes", "usage_in_bytes")
            here = root / inner.lstrip("/")
            for folder in (here, *here.parents):
                if folder.is_relative_to(root):
                    yield from _left(folder, limit, used)


def _left(folder: Path, limit: str, used: str) -> Iterator[int]:
    """What is left of one limit; the pages of files that it counts are given up when they are needed."""
    with suppress(OSError, ValueError):  # "max": no limit
        most = int((folder / f"memory.{limit}").read_text())
        taken = int((folder / f"memory.{used}").read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        pages = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
        yield max(0, most - taken + pages)


def _address_space() -> Iterator[int]:
    """What the process may still map under RLIMIT_AS (``ulimit -v``)."""
    if find_spec("resource") is not None and Path("/proc/self/statm").exists():
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            yield max(0, most - mapped)

"""What the machine gives: memory, and the refusal of work that would not fit before anything is allocated; and threads
over independent lines, with the same results bit for bit with any number of them.

Compiled loops release the interpreter, so threads of Python run them side by side. Every line of a plane is computed by
one thread in the order of one thread; how the lines are dealt out changes no bit.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fpsolve import _checks
from fpsolve._checks import error, integer

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


def count(name: str, value: object, size: float, remedy: str, *, minimum: int = 1, seconds: float = 0.0) -> int:
    """Return an integer of things that take `size` bytes and `seconds` each: refused, or said, as below and above."""
    number = integer(name, value, minimum=minimum)
    require(name, size * number, remedy)
    say_if_long(f"work on {name} = {number}", seconds * number)
    return number


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


#: Below this many cells a thread costs more to wake than it saves.
WORTH = 20_000


class _Setting:
    """The number that was asked for, None until then; and which threads are at work on a share already."""

    asked: int | None = None
    within = threading.local()


def set_threads(n: int | None) -> int:
    """Set how many threads the compiled loops over lines use, in 2D runs and large kernels.

    Parameters
    ----------
    n : int or None
        Number of threads, at least 1. None: what the variable ``FPSOLVE_THREADS`` says, else ``NUMBA_NUM_THREADS``,
        else as many as this process has cores.

    Returns
    -------
    int
        The number before. Results do not depend on it, not in the last bit.

    Raises
    ------
    ValueError
        If n is not a whole number of at least 1.

    Examples
    --------
    >>> before = set_threads(2)
    >>> set_threads(before)
    2
    """
    before = threads()
    _Setting.asked = None if n is None else _checks.integer("n", n, minimum=1)
    return before


def threads() -> int:
    """The number of threads that the next loop uses."""
    if _Setting.asked is not None:
        return _Setting.asked
    for name in ("FPSOLVE_THREADS", "NUMBA_NUM_THREADS"):
        given = os.environ.get(name, "")
        if given:
            if not given.isdecimal() or int(given) < 1:
                raise _checks.error(name, "a whole number of at least 1", repr(given), "set it anew, or unset it")
            return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process; after a fork the child needs its own."""
    return ThreadPoolExecutor(workers, thread_name_prefix="fpsolve")


def over(lines: int, cells: int, work: Callable[[int, int], object], *, multiple: int = 1) -> None:
    """Call ``work(first, last)`` on ranges that make up ``range(lines)``, side by side where that pays.

    Parameters
    ----------
    lines : int
        Independent lines.
    cells : int
        Cells in all of them.
    work : callable
        A compiled loop over the lines first to last - 1; it writes what belongs to them and nothing else. Loops within
        it are done by its own thread.
    multiple : int
        Ranges begin at multiples of this.
    """
    count = min(1 + cells // WORTH, -(-lines // multiple))
    if count > 1:
        count = min(count, 1 if getattr(_Setting.within, "share", False) else threads())
    if count <= 1:
        work(0, lines)
        return

    def share(first: int, last: int) -> None:
        _Setting.within.share = True
        try:
            work(first, last)
        finally:
            _Setting.within.share = False

    blocks = -(-lines // multiple)
    ends = [min(lines, blocks * k // count * multiple) for k in range(count)] + [lines]
    others = [_pool(count - 1, os.getpid()).submit(share, ends[k], ends[k + 1]) for k in range(1, count)]
    try:
        share(ends[0], ends[1])
    finally:
        for other in others:
            other.result()

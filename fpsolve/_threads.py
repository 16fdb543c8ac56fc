"""Threads over independent lines: one setting of the package, and the same results bit for bit with any number.

Compiled loops release the interpreter, so threads of Python run them side by side. Every line of a plane is computed
by one thread in the order of one thread; how the lines are dealt out changes no bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from fpsolve import _checks

#: Below this many cells a thread costs more to wake than it saves.
WORTH = 20_000


class _Setting:
    """The number that was asked for, None until then."""

    asked: int | None = None


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
        A compiled loop over the lines first to last - 1; it writes what belongs to them and nothing else.
    multiple : int
        Ranges begin at multiples of this.
    """
    count = min(threads(), 1 + cells // WORTH, -(-lines // multiple))
    if count <= 1:
        work(0, lines)
        return
    blocks = -(-lines // multiple)
    ends = [min(lines, blocks * k // count * multiple) for k in range(count)] + [lines]
    others = [_pool(count - 1, os.getpid()).submit(work, ends[k], ends[k + 1]) for k in range(1, count)]
    try:
        work(ends[0], ends[1])
    finally:
        for other in others:
            other.result()

"""How much memory is free, and the refusal of work that would not fit: before anything is allocated."""

from __future__ import annotations

import os
from pathlib import Path

from fpsolve._checks import error

_MEMINFO = Path("/proc/meminfo")


def available_bytes() -> int | None:
    """Memory that can be had without swapping, in bytes; None where the system does not tell."""
    if _MEMINFO.exists():
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    names = getattr(os, "sysconf_names", {})
    if "SC_AVPHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def require(name: str, needed: int, remedy: str) -> None:
    """Raise the ValueError of `name` when `needed` bytes exceed the free memory."""
    free = available_bytes()
    if free is not None and needed > free:
        raise error(
            name, f"arrays that fit into the free memory ({free / 1e9:.3g} GB)", f"{needed / 1e9:.3g} GB", remedy
        )

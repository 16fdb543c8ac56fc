"""Objects as tables of files and back, settings in TOML files, and files that are complete or not there at all.

`build` makes a law, process, weight, grid or dynamics of a table, `dump` the table of it; both go by the signatures of
the classes, so a new one can be written in files as soon as its room's door exports it. Studies and sweeps read their
TOML files by `Settings`, groups of settings in which `Table` stands for an object. What does not fit is told all at
once, each with its path in the file and its line.
"""

from typing import TYPE_CHECKING, Any

from fpsolve.settings._files import (
    Misfit,
    Misfits,
    checksum,
    checksums,
    netcdf,
    read_netcdf,
    result_file,
    result_folder,
    unknown,
    write_all,
)
from fpsolve.settings._objects import ERRORS, Family, Made, build, dump, family_of, made, record

if TYPE_CHECKING:
    from fpsolve.settings._toml import Seed, Settings, Table, read, refused

__all__ = [
    "build",
    "dump",
    "Settings",
    "Seed",
    "Table",
    "read",
    "ERRORS",
    "Family",
    "Made",
    "Misfit",
    "Misfits",
    "family_of",
    "made",
    "refused",
    "unknown",
    "record",
    "checksum",
    "checksums",
    "netcdf",
    "read_netcdf",
    "result_file",
    "result_folder",
    "write_all",
]


def __getattr__(name: str) -> Any:
    """Load what needs pydantic when it is asked for: runs write laws into their attributes without it."""
    if name in {"Seed", "Settings", "Table", "read", "refused"}:
        from fpsolve.settings import _toml

        return getattr(_toml, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

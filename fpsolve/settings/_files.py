"""Files that appear complete or not at all: written in a temporary folder beside, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fpsolve._checks import error

if TYPE_CHECKING:
    import xarray as xr

_PREFIX = ".fpsolve-"
_REMEDY = "choose another with --out DIR"
#: Numbers from which on compressing pays.
_BIG = 10_000


def check_folder(folder: Path, remedy: str = _REMEDY) -> None:
    """Raise ValueError unless files can be written into `folder`; leaves nothing behind, the folder included.

    Tried, not asked: permissions alone do not know of full, read-only or special file systems.
    """
    made: list[Path] = []
    try:
        for part in (*reversed(folder.parents), folder):
            if not part.exists():
                part.mkdir()
                made.append(part)
        tempfile.TemporaryFile(dir=folder, prefix=_PREFIX).close()
    except OSError as reason:
        raise _refusal(folder, reason, remedy) from None
    finally:
        for part in reversed(made):
            part.rmdir()


def write_all(folder: Path, writers: Mapping[str, Callable[[Path], object]], remedy: str = _REMEDY) -> None:
    """Write files by name, all complete before the first appears in `folder`; the last name is renamed last.

    Parameters
    ----------
    folder : Path
        Made if need be. Files of the same names are replaced, others are left alone.
    writers : mapping of str to callable
        By file name, what writes that file at the path it is given.
    remedy : str
        What to do about a folder that cannot be written.

    Raises
    ------
    ValueError
        If the folder cannot be written; what was there before is untouched.
    """
    existed = folder.exists()
    staging: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=folder, prefix=_PREFIX))
        for name, write in writers.items():
            write(staging / name)
            with (staging / name).open("rb") as file:
                # renamed before its content is on the disk, a power cut would leave an empty file
                os.fsync(file.fileno())
        for name in writers:
            os.replace(staging / name, folder / name)
    except OSError as reason:
        raise _refusal(folder, reason, remedy) from reason
    finally:
        if staging is not None:
            shutil.rmtree(staging)
        if not existed and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def packed(dataset: xr.Dataset) -> dict[str, dict[str, object]]:
    """Return the encoding for `to_netcdf` that compresses without loss what is big."""
    packing: dict[str, object] = {"zlib": True, "complevel": 1, "shuffle": True}
    return {str(name): packing for name, v in dataset.variables.items() if v.dtype.kind == "f" and v.size > _BIG}


def _refusal(folder: Path, reason: OSError, remedy: str) -> ValueError:
    return error("out", "a folder that can be written", f"{folder}: {reason.strerror or reason}", remedy)

"""Files that appear complete or not at all: written in a temporary folder beside, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from fpsolve import _checks

__all__ = ["check_folder", "write_all"]

_PREFIX = ".fpsolve-"


def check_folder(folder: Path) -> None:
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
        raise _refusal(folder, reason) from None
    finally:
        for part in reversed(made):
            part.rmdir()


def write_all(folder: Path, writers: Mapping[str, Callable[[Path], None]]) -> None:
    """Write files by name, all complete before the first appears in `folder`; the last name is renamed last.

    Parameters
    ----------
    folder : Path
        Made if need be. Files of the same names are replaced, others are left alone.
    writers : mapping of str to callable
        By file name, what writes that file at the path it is given.

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
        for name in writers:
            os.replace(staging / name, folder / name)
    except OSError as reason:
        raise _refusal(folder, reason) from reason
    finally:
        if staging is not None:
            shutil.rmtree(staging)
        if not existed and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _refusal(folder: Path, reason: OSError) -> ValueError:
    got = f"{folder}: {reason.strerror or reason}"
    return _checks.error("out", "a folder that can be written", got, "choose another with --out DIR")

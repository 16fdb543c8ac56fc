"""What does not fit in a file, said in words of the file (a path, what was expected, what came), and files that appear
complete or not at all: made in memory, written beside, synchronised, renamed.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fpsolve._checks import error, meant

if TYPE_CHECKING:
    import xarray as xr


class Misfit(NamedTuple):
    """One of them: where, as keys and places in lists, and a sentence without its stop."""

    path: tuple[str | int, ...]
    text: str

    def under(self, *path: str | int) -> Misfit:
        """Return it as seen from further up."""
        return Misfit((*path, *self.path), self.text)

    def __str__(self) -> str:
        """Return ``path: text``."""
        return f"{place(self.path)}: {self.text}" if self.path else self.text


class Misfits(ValueError):
    """All that does not fit, at once.

    Attributes
    ----------
    found : list of Misfit
    """

    def __init__(self, found: Iterable[Misfit]) -> None:
        self.found = list(found)
        super().__init__("; ".join(str(one) for one in self.found) + ".")


def place(path: Iterable[str | int]) -> str:
    """Return a path as it is written here: ``starts.far.std``, ``targets.0.mean``."""
    return ".".join(str(part) for part in path)


def shown(value: Any) -> str:
    """Return the beginning of a value, nearly as a file writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    text = repr(list(value) if isinstance(value, tuple) else value) if isinstance(value, str | list | tuple) else ""
    text = text or str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def among(options: Collection[Any]) -> str:
    """Return "'a'", "'a' or 'b'", "one of 'a', 'b', 'c'"."""
    listed = [repr(option) for option in options]
    return " or ".join(listed) or "nothing" if len(listed) < 3 else f"one of {', '.join(listed)}"


def unknown(name: Any, known: Collection[str]) -> str:
    """Return the sentence about a value that is none of those known, with the one that may have been meant."""
    near = meant(name, known) if isinstance(name, str) else ""
    return f"expected {among(known)}, got {shown(name)}{f'; {near}' if near else ''}"


def unknown_key(name: str, known: Collection[str]) -> str:
    """Return the sentence about a key that is none of those known: what may have been meant, else all of them."""
    return f"unknown key, {meant(name, known) or f'expected {among(known)}'}"


_PREFIX = ".fpsolve-"
_REMEDY = "choose another with --out DIR"
#: Numbers from which on compressing pays, and how: without loss.
_BIG = 10_000
_PACKED: dict[str, object] = {"zlib": True, "complevel": 1, "shuffle": True}
#: Bytes that are tried, so that a full disk is found before the work.
_TRIED = 4096
#: How often a folder is made again that somebody else, who was making it too, takes away.
_TRIES = 50
#: Group of a file with the hashes of what was written, by group.
CHECKSUMS = "fpsolve_sha256"
_fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None


class Unwritten(OSError, ValueError):
    """A result that could not be written: the error of the operating system, as a sentence with the path."""


def result_folder(out: str | Path, names: Sequence[str] = (), remedy: str = _REMEDY) -> Path:
    """Return the folder of results, absolute, after trying to write there; it is made when something is written.

    Tried, not asked: permissions alone do not know of full, read-only or special file systems. What runs that were
    killed have left in the folder is removed.

    Parameters
    ----------
    out : str or Path
        ``~`` is the home.
    names : sequence of str
        Files that will be written there.
    remedy : str
        What to do about a folder that cannot be written.

    Raises
    ------
    ValueError
        No path; a folder that cannot be written, which is an OSError too; a folder where a file will be.
    """
    text = os.fspath(out)
    try:
        folder = Path(text).expanduser().absolute()
        readable = os.fsencode(text) and "\0" not in text
    except (RuntimeError, UnicodeError):
        readable = False
    if not readable:
        raise error("out", "the path of a folder", repr(text), remedy)
    try:
        base = next(part for part in (folder, *folder.parents) if os.path.lexists(part))
        _remove_leftovers(base)
        with _staging(base) as place:
            # the way down is tried in there: folders that others may be making too are left alone
            inner = place / folder.relative_to(base)
            inner.mkdir(parents=True, exist_ok=True)
            (inner / "tried").write_bytes(bytes(_TRIED))
        _refuse_folders(folder, names)
    except OSError as reason:
        raise _refusal(folder, reason, remedy) from None
    return folder


def result_file(out: str | Path, remedy: str) -> Path:
    """Return the path of a result, absolute, after trying to write beside it; see `result_folder`."""
    path = Path(out)
    if not path.name or "\0" in path.name or not path.name.isprintable():
        raise error("out", "the path of a file", repr(os.fspath(out)), remedy)
    return result_folder(path.parent, [path.name], remedy) / path.name


def write_all(folder: Path, writers: Mapping[str, Callable[[io.BytesIO], object]], remedy: str = _REMEDY) -> None:
    """Write files by name: all of them, or none, and then what was there before is there again.

    Old files are moved away before the first new one comes, the last name first, and the last name comes last: a
    process that is killed never leaves new files beside old ones.

    Parameters
    ----------
    folder : Path
        Made if need be. Files of the same names are replaced, others are left alone.
    writers : mapping of str to callable
        By file name, what writes that file into memory.
    remedy : str
        What to do about a folder that cannot be written.

    Raises
    ------
    ValueError
        If the folder cannot be written, an OSError too; what was there before is untouched.
    """
    made = [part for part in (folder, *folder.parents) if not part.exists()]
    done = False
    try:
        contents = {name: io.BytesIO() for name in writers}
        for name, write in writers.items():
            write(contents[name])
        with _staging(folder) as place:
            for name, content in contents.items():
                with (place / name).open("wb") as file:
                    file.write(content.getbuffer())
                    file.flush()
                    # renamed before its content is on the disk, a power cut would leave an empty file
                    os.fsync(file.fileno())
            _refuse_folders(folder, list(contents))
            _swap(place, folder, list(contents))
        done = True
    except OSError as reason:
        raise _refusal(folder, reason, remedy) from reason
    finally:
        for part in () if done else made:
            with suppress(OSError):  # not empty: somebody else's too
                part.rmdir()


def netcdf(datasets: Mapping[str, xr.Dataset]) -> Callable[[io.BytesIO], None]:
    """Return what writes Datasets by group, the root under "", as one netCDF file with the checksum of each group."""

    def write(buffer: io.BytesIO) -> None:
        from h5netcdf import File
        from xarray.backends import H5NetCDFStore

        with File(buffer, "w") as file:
            # a group of its own: whoever opens the file with xarray finds the Dataset as it was
            sums = file.create_group(CHECKSUMS)
            for group, dataset in datasets.items():
                place = file.create_group(group) if group else file
                big = [str(name) for name, v in dataset.variables.items() if v.dtype.kind == "f" and v.size > _BIG]
                dataset.dump_to_store(H5NetCDFStore(place), encoding=dict.fromkeys(big, _PACKED))
                sums.attrs[group or "root"] = checksum(dataset)

    return write


def checksum(dataset: xr.Dataset) -> str:
    """Return the sha256 of a Dataset: names, dimensions, numbers bit for bit and attributes, as files keep them."""
    found = sha256()
    for name, variable in sorted(dataset.variables.items(), key=lambda pair: str(pair[0])):
        values = variable.values
        text = values.dtype.kind in "OUS"
        head = [str(name), list(variable.dims), list(values.shape), "text" if text else values.dtype.name]
        found.update(json.dumps([*head, _plain(variable.attrs), values.tolist() if text else ""]).encode())
        if not text:
            found.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
    found.update(json.dumps(_plain(dataset.attrs)).encode())
    return found.hexdigest()


def read_netcdf(path: str | Path, **options: Any) -> tuple[xr.Dataset, bool]:
    """Read a file of results into memory; say whether it is as it was written.

    Parameters
    ----------
    path : str or Path
    **options
        Of ``xarray.load_dataset``, such as `group` or `engine` (default h5netcdf).

    Returns
    -------
    Dataset
    bool
        False where a name, number, dimension or attribute differs from what the checksum was made of. Files without
        one, as xarray writes them, pass.

    Raises
    ------
    ValueError
        A file whose numbers or parts are in other files: reading it would read those.
    OSError, KeyError
        As xarray raises for what it cannot read.
    """
    import xarray as xr

    engine = {"engine": "h5netcdf", "decode_times": False, **options}
    written = None
    if engine["engine"] == "h5netcdf":
        import h5py

        with h5py.File(path, "r") as file:
            _refuse_elsewhere(file, path)
            written = file[CHECKSUMS].attrs.get(engine.get("group") or "root") if CHECKSUMS in file else None
    dataset = xr.load_dataset(path, **engine)
    return dataset, written is None or written == checksum(dataset)


def checksums(path: str | Path) -> dict[str, str | None]:
    """Return the groups of a file, the root under "", and the checksum that each was written with, None without one."""
    import h5py

    with h5py.File(path, "r") as file:
        _refuse_elsewhere(file, path)
        written = file[CHECKSUMS].attrs if CHECKSUMS in file else {}
        groups = [name for name, inner in file.items() if isinstance(inner, h5py.Group) and name != CHECKSUMS]
        root = [""] if len(groups) < len(file) - (CHECKSUMS in file) else []
        return {name: written.get(name or "root") for name in [*root, *groups]}


def _refuse_elsewhere(group: Any, path: str | Path) -> None:
    """Refuse HDF5's ways into other files: external links, external raw storage, virtual datasets."""
    import h5py

    for name in group:
        link = group.get(name, getlink=True)
        inner = None if isinstance(link, h5py.ExternalLink | h5py.SoftLink) else group[name]
        outside = inner is None or (isinstance(inner, h5py.Dataset) and bool(inner.external or inner.is_virtual))
        if outside:
            remedy = "copy the numbers into it: xarray.load_dataset(path).to_netcdf(new_path), if you trust it"
            raise error("path", "a file with all of its content", f"{path}, whose {name!r} is elsewhere", remedy)
        if isinstance(inner, h5py.Group):
            _refuse_elsewhere(inner, path)


def _plain(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes in one form before and after a file, which gives numpy's numbers, and of lists of one the number."""
    listed = {str(name): np.asarray(value).tolist() for name, value in sorted(attrs.items())}
    return {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in listed.items()}


def _swap(place: Path, folder: Path, names: list[str]) -> None:
    """Move the files of `place` into `folder`, all or none."""
    before = place / "before"
    before.mkdir()
    came: list[str] = []
    try:
        # one file is replaced at once: the old one or the new one is there, whatever happens
        for name in reversed(names) if len(names) > 1 else ():
            if os.path.lexists(folder / name):
                os.replace(folder / name, before / name)
        for name in names:
            os.replace(place / name, folder / name)
            came.append(name)
    except BaseException:
        for name in came if len(names) > 1 else ():
            (folder / name).unlink()
        for old in before.iterdir():
            os.replace(old, folder / old.name)
        raise
    if _fcntl is not None:
        # names are content of the folder
        descriptor = os.open(folder, os.O_RDONLY)
        with suppress(OSError):  # some file systems cannot
            os.fsync(descriptor)
        os.close(descriptor)


def _refuse_folders(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        if (folder / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, f"{name} is a folder", str(folder / name))


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A folder in `folder`, which is made if need be, for what is not finished; it says that its process lives."""
    place, lock = _locked_folder(folder)
    try:
        yield place
    finally:
        shutil.rmtree(place)
        if lock is not None:
            os.close(lock)


def _locked_folder(folder: Path) -> tuple[Path, int | None]:
    for k in range(_TRIES):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            place = Path(tempfile.mkdtemp(dir=folder, prefix=_PREFIX))
            lock = _lock(place)
        except (FileNotFoundError, FileExistsError, BlockingIOError):
            # somebody else made one of the folders, and took it away because it was empty; or took ours for a leftover
            # in the moment before it was locked
            if k == _TRIES - 1:
                raise
            continue
        if place.is_dir():
            return place, lock
    raise FileNotFoundError(errno.ENOENT, "it is removed again and again", str(folder))


def _lock(path: Path) -> int | None:
    """Open and lock a folder; None where it is gone, and on file systems or machines without locks.

    The operating system gives it up when the process ends, however it ends.

    Raises
    ------
    BlockingIOError
        Another process has it.
    """
    descriptor = None
    if _fcntl is not None:
        try:
            descriptor = os.open(path, os.O_RDONLY)
            _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            assert descriptor is not None
            os.close(descriptor)
            raise
        except OSError:
            pass
    if descriptor is not None:
        os.close(descriptor)
    return None


def _remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed have left: folders of ours that nobody holds."""
    with suppress(FileNotFoundError):  # the folder itself may be taken away by whoever made it
        for place in folder.glob(f"{_PREFIX}*"):
            with suppress(BlockingIOError):
                lock = _lock(place) if place.is_dir() else None
                if lock is not None:
                    shutil.rmtree(place, ignore_errors=True)
                    os.close(lock)


def _refusal(folder: Path, reason: OSError, remedy: str) -> Unwritten:
    told = error("out", "a folder that can be written", f"{folder}: {reason.strerror or reason}", remedy)
    found = Unwritten(str(told))
    found.errno = reason.errno
    return found

"""Results of points, computed, written whole and found again: one NetCDF file per finished point, complete or not
there.

A point runs alike wherever it runs: the same floating-point state, one BLAS thread, errors kept as text. What its
function returns is brought into one form, a Dataset that a file keeps bit for bit.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from numbers import Real
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np

import fpsolve
from fpsolve._checks import error
from fpsolve._memory import set_threads
from fpsolve._messages import Failure
from fpsolve.settings import netcdf, read_netcdf, write_all

if TYPE_CHECKING:
    import xarray as xr


#: Name of the variable where the function returns a number, or a DataArray without a name.
VALUE = "value"

_EXPECTED = "a number, a dict of numbers, a DataArray or a Dataset"


def as_dataset(result: Any, labels: Mapping[str, Any]) -> xr.Dataset:
    """Return the result of one point as a Dataset of numbers, bools and strings.

    Parameters
    ----------
    result : number, dict of str to number or DataArray, DataArray, Dataset
        What the function returned.
    labels : mapping
        Label of the point along every swept name; a scalar coordinate that only repeats it is left out.

    Raises
    ------
    ValueError
        Anything else; a name that is also swept; values or attributes that a NetCDF file cannot hold.
    """
    import xarray as xr

    if isinstance(result, xr.DataArray):
        named = result.rename(VALUE if result.name is None else result.name)
        dataset = named.to_dataset(promote_attrs=False)
    elif isinstance(result, xr.Dataset):
        dataset = result
    elif isinstance(result, Mapping):
        dataset = xr.Dataset({_name(name): _entry(f"result[{name!r}]", entry) for name, entry in result.items()})
    else:
        dataset = xr.Dataset({VALUE: _entry("result", result)})
    return _storable(_without_labels(dataset, labels))


def _entry(name: str, value: Any) -> Any:
    import xarray as xr

    if isinstance(value, xr.DataArray):
        return value.drop_attrs() if value.name is None else value
    number = isinstance(value, Real | np.bool_) or (isinstance(value, np.ndarray) and value.ndim == 0)
    if not number:
        raise error(name, _EXPECTED, f"{type(value).__name__} {value!r}"[:80], "return one of these")
    return ((), np.asarray(value))


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name or "/" in name:
        raise error("result", "names that are strings without a slash", repr(name))
    return name


def _without_labels(dataset: xr.Dataset, labels: Mapping[str, Any]) -> xr.Dataset:
    """Drop scalar coordinates that repeat the point's own labels; refuse any other use of a swept name."""
    repeated = [
        name
        for name, label in labels.items()
        if name in dataset.coords and dataset[name].ndim == 0 and dataset[name].item() == label
    ]
    dataset = dataset.drop_vars(repeated)
    for name in labels:
        if name in dataset.variables or name in dataset.dims:
            raise error("result", "names other than the swept ones", repr(name), "rename it in what you return")
    return dataset


def _storable(dataset: xr.Dataset) -> xr.Dataset:
    """Return the Dataset with plain strings, in memory and without encoding; refuse what no file keeps."""
    dataset = dataset.load().drop_encoding()
    for key, variable in dataset.variables.items():
        name = _name(key)
        if name in dataset.xindexes and len(dataset.xindexes.get_all_coords(name)) > 1:
            raise error("result", "plain coordinates", f"the multi-index {name!r}", "use reset_index")
        _check_attrs(f"attributes of {name!r}", variable.attrs)
        if variable.dtype.kind in "OTU" and all(isinstance(text, str) for text in variable.values.ravel().tolist()):
            dataset[name] = variable.copy(data=variable.values.astype(np.str_))
        elif variable.dtype.kind not in "biuf" or variable.dtype == np.longdouble:
            raise error(f"result[{name!r}]", "real numbers, bools or strings", f"values of type {variable.dtype}")
    _check_attrs("attributes", dataset.attrs)
    return dataset


def _check_attrs(name: str, attrs: Mapping[Any, Any]) -> None:
    for key, value in attrs.items():
        plain = isinstance(value, str | int | float | np.integer | np.floating) and not isinstance(value, bool)
        numbers = isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iuf"
        if not (plain or numbers) or not isinstance(key, str):
            raise error(f"result, {name}", "strings and numbers", f"{key!r}: {value!r}"[:80], "use a JSON string")


@dataclass(frozen=True)
class Task:
    """A call to be made: function, keyword arguments, labels of the point, ``np.geterr()`` of the caller, version."""

    number: int
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    labels: Mapping[str, Any]
    floating_point: Mapping[str, Any]
    version: str


@dataclass(frozen=True)
class Outcome:
    """What became of a task: its Dataset, or None and the text of the error."""

    number: int
    dataset: xr.Dataset | None
    error: str


def compute(task: Task) -> Outcome:
    """Call the function of a task and return its result, or its error."""
    if fpsolve.__version__ != task.version:
        theirs = f"this worker has fpsolve {fpsolve.__version__}, the sweep was started with {task.version}"
        return Outcome(task.number, None, f"VersionError: {theirs}")
    dataset = None
    with Failure() as failure, one_thread(), np.errstate(**task.floating_point):
        dataset = as_dataset(task.function(**task.arguments), task.labels)
    return Outcome(task.number, dataset, failure.text)


def end_with(parent: int) -> None:
    """Let this worker end with the process that started it, killed or not; else it waits for minutes, holding pipes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if os.getppid() == parent:  # else it is a worker of somebody else
        Thread(target=watch, daemon=True).start()


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for BLAS, OpenMP and the loops over lines while the body runs: the processes share the cores.

    With two, OpenBLAS splits sums elsewhere and the last bits of ``a @ b`` change: results would depend on `n_jobs`.
    """
    # its own copy of BLAS has to be loaded before it can be limited
    import_module("scipy.linalg")
    from threadpoolctl import threadpool_limits

    before = set_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        set_threads(before)


#: Hex digits of the hash in a file's name: 10^6 points collide with probability 1e-12 or less.
DIGITS = 20

_VERSION, _CONFIGURATION, _CODE = "fpsolve_version", "fpsolve_configuration", "fpsolve_code"
_STATES = "fpsolve_states"


@dataclass(frozen=True)
class Store:
    """Files ``<hash of the configuration>-<package version>.nc`` in a folder.

    Attributes
    ----------
    folder : Path
    version : str
        Version of the package that computes.
    code : str
        Fingerprint of the function's code, kept in the files.
    states : dict of str to str
        Hashes of the objects that it reads and could change, kept likewise.
    """

    folder: Path
    version: str
    code: str
    states: dict[str, str]

    def path(self, key: str) -> Path:
        """Return the file of the point with hash `key`."""
        return self.folder / f"{key[:DIGITS]}-{self.version}.nc"

    def finished(self, keys: list[str]) -> list[bool]:
        """Return which points have a file; one warning where only other versions of the package left one."""
        present = {path.name for path in self.folder.glob("*.nc")}
        done = [self.path(key).name in present for key in keys]
        versions = {name[:DIGITS]: name[DIGITS + 1 : -3] for name in present if name[DIGITS : DIGITS + 1] == "-"}
        wanted = [key[:DIGITS] for key, ok in zip(keys, done, strict=True) if not ok]
        others = [versions[key] for key in wanted if key in versions]
        if others:
            warnings.warn(
                f"out: expected results of fpsolve {self.version}, got {len(others)} of version "
                f"{', '.join(sorted(set(others)))} in {self.folder}; they are kept, and these points are computed anew "
                "beside them.",
                stacklevel=4,
            )
        return done

    def write(self, key: str, configuration: str, dataset: xr.Dataset) -> None:
        """Write the result of a point, completely or not at all.

        Raises
        ------
        ValueError
            If the folder cannot be written.
        """
        origin = {_VERSION: self.version, _CONFIGURATION: configuration, _CODE: self.code}
        origin[_STATES] = json.dumps(self.states)
        write_netcdf(dataset.assign_attrs(origin), self.path(key))

    def read(self, key: str, configuration: str) -> tuple[xr.Dataset, set[str]]:
        """Return the result of a point, and what has changed since: "its code", names of objects that it reads.

        Raises
        ------
        ValueError
            If the file cannot be read, or was made for another point or by another version.
        """
        path = self.path(key)
        remedy = "move or delete it to have the point computed again"
        try:
            # no decoding of times: a variable in seconds stays the number it was
            dataset, whole = read_netcdf(path)
        except (OSError, ValueError, KeyError) as reason:
            raise error("out", "result files that can be read", f"{path} ({reason})", remedy) from None
        origin = {name: str(dataset.attrs.pop(name, "none")) for name in (_VERSION, _CONFIGURATION, _CODE, _STATES)}
        if origin[_VERSION] != self.version:
            got = f"{path} of version {origin[_VERSION]}"
            raise error("out", f"a result file of fpsolve {self.version}", got, remedy)
        if origin[_CONFIGURATION] != configuration:
            raise error("out", "the result file of this point", f"{path} of another", remedy)
        if not whole:
            raise error("out", "result files as they were written", f"{path} with another content", remedy)
        # fingerprints of different Pythons cannot be compared
        python = [code.partition(":")[0] for code in (origin[_CODE], self.code)]
        changed = {"its code"} if python[0] == python[1] and origin[_CODE] != self.code else set()
        with Failure():  # files of before this was kept
            then = json.loads(origin[_STATES])
            changed |= {name for name, state in self.states.items() if then.get(name, state) != state}
        return as_dataset(dataset, {}), changed


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write a file that is complete or not there at all.

    Raises
    ------
    ValueError
        If the folder cannot be written.
    """
    write_all(path.parent, {path.name: netcdf({"": dataset})}, remedy="what was finished before is kept")

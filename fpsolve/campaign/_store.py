"""The folder of a sweep: one NetCDF file per finished point, complete or not there at all."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fpsolve._checks import error
from fpsolve._failure import Failure
from fpsolve.campaign._results import as_dataset
from fpsolve.settings import check_folder, packed, write_all

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Store", "open_folder", "write_netcdf"]

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
        import xarray as xr

        path = self.path(key)
        remedy = "move or delete it to have the point computed again"
        try:
            # no decoding of times: a variable in seconds stays the number it was
            dataset = xr.load_dataset(path, engine="h5netcdf", decode_times=False)
        except (OSError, ValueError, KeyError) as reason:
            raise error("out", "result files that can be read", f"{path} ({reason})", remedy) from None
        origin = {name: str(dataset.attrs.pop(name, "none")) for name in (_VERSION, _CONFIGURATION, _CODE, _STATES)}
        if origin[_VERSION] != self.version:
            got = f"{path} of version {origin[_VERSION]}"
            raise error("out", f"a result file of fpsolve {self.version}", got, remedy)
        if origin[_CONFIGURATION] != configuration:
            raise error("out", "the result file of this point", f"{path} of another", remedy)
        changed = {"its code"} if _changed(origin[_CODE], self.code) else set()
        with Failure():  # files of before this was kept
            then = json.loads(origin[_STATES])
            changed |= {name for name, state in self.states.items() if then.get(name, state) != state}
        return as_dataset(dataset, {}), changed


def open_folder(out: str | Path) -> Path:
    """Return the folder of results, made if need be, after trying to write into it.

    Raises
    ------
    ValueError
        If it cannot be written.
    """
    folder = Path(out).expanduser().absolute()
    check_folder(folder, remedy="choose another")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write a file that is complete or not there at all.

    Raises
    ------
    ValueError
        If the folder cannot be written.
    """

    def write(place: Path) -> None:
        dataset.to_netcdf(place, engine="h5netcdf", encoding=packed(dataset))

    write_all(path.parent, {path.name: write}, remedy="what was finished before is kept")


def _changed(then: str, now: str) -> bool:
    """Compare fingerprints; those of different Pythons cannot be compared."""
    return then.partition(":")[0] == now.partition(":")[0] and then != now

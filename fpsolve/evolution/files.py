"""Runs from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpsolve import _checks

if TYPE_CHECKING:
    import xarray as xr


def load(path: str | Path, **options: Any) -> xr.Dataset:
    """Return a run saved with ``run.to_netcdf(path)``, read into memory, the file closed; ``run.fpsolve`` works on it.

    Parameters
    ----------
    path : str or Path
        A netCDF file.
    **options
        Of ``xarray.load_dataset``, such as `group` or `engine` (default h5netcdf).

    Returns
    -------
    Dataset
        With all values and attributes as `evolve` returned them.

    Raises
    ------
    ValueError
        A path without a file, or a file without a density.

    Examples
    --------
    >>> import tempfile, fpsolve as fp
    >>> run = fp.evolve(fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP()), fp.Gaussian(0.0, std=1.0), t_min=0.1, tol=1e-2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = run.to_netcdf(f"{folder}/run.nc", engine="h5netcdf")
    ...     again = fp.load(f"{folder}/run.nc")
    >>> again.identical(run), again.fpsolve.grid == run.fpsolve.grid
    (True, True)
    """
    import xarray as xr

    if not Path(path).is_file():
        raise _checks.error("path", "a netCDF file", str(path), "write one with run.to_netcdf(path)")
    run = xr.load_dataset(path, **{"engine": "h5netcdf", "decode_times": False, **options})
    if "density" not in run:
        got = f"one of {', '.join(map(str, run)) or 'nothing'}"
        raise _checks.error("path", "the file of a run, with the variable density", got, "open others with xarray")
    return run

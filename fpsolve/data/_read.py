"""One way in for the user's own data, whatever the file."""

from collections.abc import Sequence
from pathlib import Path

from fpsolve import _checks
from fpsolve.data._csv import old_faithful, read_csv
from fpsolve.data._npy import read_npy
from fpsolve.data._table import Column, Table

__all__ = ["read"]

#: The name that stands for the bundled table where a file is expected.
BUNDLED = "old_faithful"


def read(file: str | Path, columns: Sequence[Column] | None = None) -> Table:
    """Read columns of numbers from a CSV or .npy file.

    Parameters
    ----------
    file : path
        ``.npy``: see `read_npy`; anything else is read as CSV with a header line, see `read_csv`. The name
        "old_faithful" stands for the bundled table.
    columns : sequence of str or int, optional
        Columns to read, by name or by place from 0, in this order; default all. A law takes one or two.

    Returns
    -------
    Table
        Hand it to `standardise`, or its ``samples`` to ``fpsolve.KernelDensity``.

    Raises
    ------
    ValueError
        What is wrong with the file, with line or row and column.

    Examples
    --------
    From a file to a law:

    >>> import fpsolve as fp
    >>> mine = fp.data.standardise(fp.data.read("old_faithful", ["waiting_min"]))
    >>> fp.KernelDensity(mine.samples)
    KernelDensity(272 samples, bandwidth=0.3259...)
    """
    _checks.instance("file", file, str | Path, "a path")
    if str(file) == BUNDLED:
        table = old_faithful()
        return table if columns is None else table.select(columns)
    suffix = Path(file).suffix.lower()
    if suffix in {".npz", ".pkl", ".pickle", ".xlsx", ".xls", ".parquet", ".h5", ".mat"}:
        raise _checks.error("file", "a CSV or .npy file", str(file), "export the columns to one of these")
    return read_npy(file, columns) if suffix == ".npy" else read_csv(file, columns)

"""Columns of numbers from a CSV file, checked cell by cell."""

import csv
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from io import StringIO
from pathlib import Path

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray

__all__ = ["Table", "old_faithful", "read_csv"]


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of finite numbers, at least two rows.

    Attributes
    ----------
    columns : tuple of str
        Names, in the order of `values`.
    values : array of shape (rows, columns)
        The numbers as they stand in the file.
    source : str
        Name of the file.
    sha256 : str
        Checksum of the file's bytes.
    """

    columns: tuple[str, ...]
    values: FloatArray
    source: str
    sha256: str

    @property
    def samples(self) -> FloatArray:
        """The values as samples of a law: shape (rows,) for one column, (rows, 2) for two."""
        return self.values[:, 0] if len(self.columns) == 1 else self.values

    def select(self, columns: Sequence[str]) -> "Table":
        """Return the table of some of the columns, in the order asked for.

        Raises
        ------
        ValueError
            If a column is not there.
        """
        index = _positions(columns, self.columns, self.source)
        return Table(tuple(columns), self.values[:, index], self.source, self.sha256)


def read_csv(path: str | Path, columns: Sequence[str] | None = None) -> Table:
    """Read columns of numbers from a CSV file with a header line.

    Parameters
    ----------
    path : path
        UTF-8 text, comma separated, names of the columns in the first line; empty lines are skipped.
    columns : sequence of str, optional
        Columns to read, in this order; default all. Others may hold anything.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        The file cannot be read, has no header, lacks a column, names one twice, has a cell that is not a finite
        number or a row of the wrong length (with its line), fewer than two rows, or a column of equal values.

    Examples
    --------
    >>> import fpsolve.data as data
    >>> table = data.old_faithful()
    >>> table.columns, table.values.shape
    (('eruption_min', 'waiting_min'), (272, 2))
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as reason:
        raise _checks.error("data", "a readable CSV file", f"{path}: {reason.strerror}") from None
    return _parse(content, path.name, columns)


def old_faithful() -> Table:
    """Return the 272 eruptions of the Old Faithful geyser: duration and waiting time to the next, minutes.

    References
    ----------
    Azzalini and Bowman (1990). Applied Statistics 39, 357-365, doi:10.2307/2347385.
    """
    name = "old_faithful.csv"
    return _parse((resources.files("fpsolve.data") / name).read_bytes(), name, None)


def _parse(content: bytes, source: str, columns: Sequence[str] | None) -> Table:
    rows = _rows(content, source)
    if not rows:
        raise _checks.error(source, "a header line with the names of the columns", "an empty file")
    header = tuple(name.strip() for name in rows[0][1])
    if len(set(header)) < len(header):
        raise _checks.error(source, "a different name for every column", ", ".join(header))
    wanted = header if columns is None else tuple(columns)
    index = _positions(wanted, header, source)
    if len(rows) < 3:
        raise _checks.error(source, "at least two rows of data", f"{len(rows) - 1}")
    values = np.array([_numbers(row, line, index, header, source) for line, row in rows[1:]])
    for name, column in zip(wanted, values.T, strict=True):
        if np.ptp(column) == 0.0:
            expected = f"{source}: column {name!r}", "values that differ", f"{column[0]:g} in every row"
            raise _checks.error(*expected, "leave the column out")
    return Table(wanted, values, source, hashlib.sha256(content).hexdigest())


def _rows(content: bytes, source: str) -> list[tuple[int, list[str]]]:
    """Return (line number, cells) of every line that is not empty."""
    try:
        # utf-8-sig: spreadsheets write a byte order mark in front of the first name
        reader = csv.reader(StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as reason:
        raise _checks.error(source, "comma separated UTF-8 text", str(reason)) from None


def _positions(wanted: Sequence[str], present: Sequence[str], source: str) -> list[int]:
    missing = [name for name in wanted if name not in present]
    if missing or not wanted:
        named = " and ".join(repr(name) for name in missing) or "a column"
        raise _checks.error(source, f"a column named {named}", "the columns " + ", ".join(present))
    return [list(present).index(name) for name in wanted]


def _numbers(row: list[str], line: int, index: list[int], header: tuple[str, ...], source: str) -> list[float]:
    if len(row) != len(header):
        raise _checks.error(f"{source}, line {line}", f"{len(header)} cells", f"{len(row)}")
    return [_number(row[k], f"{source}, line {line}, column {header[k]!r}") for k in index]


def _number(cell: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _checks.error(where, "a finite number", repr(cell), "correct the cell or remove the row")
    return value

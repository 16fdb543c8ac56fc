"""Columns of numbers from a CSV file, checked cell by cell."""

import csv
import hashlib
import math
from collections.abc import Sequence
from importlib import resources
from io import StringIO
from pathlib import Path

import numpy as np

from fpsolve import _checks
from fpsolve.data._table import Column, Table, checked_table, positions

__all__ = ["old_faithful", "read_csv"]


def read_csv(path: str | Path, columns: Sequence[Column] | None = None) -> Table:
    """Read columns of numbers from a CSV file with a header line.

    Parameters
    ----------
    path : path
        UTF-8 text, comma separated, names of the columns in the first line; empty lines are skipped.
    columns : sequence of str or int, optional
        Columns to read, by name or by place from 0, in this order; default all. Others may hold anything.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        The file cannot be read, has no header (or one of numbers), lacks a column, names one twice, has a cell that is
        not a finite number or a row of the wrong length (with its line), fewer than two rows, or a column of equal
        values.

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


def _parse(content: bytes, source: str, columns: Sequence[Column] | None) -> Table:
    rows = _rows(content, source)
    if not rows:
        raise _checks.error(source, "a header line with the names of the columns", "an empty file")
    header = tuple(name.strip() for name in rows[0][1])
    _check_header(header, source)
    index = list(range(len(header))) if columns is None else positions(columns, header, source)
    if len(rows) < 3:
        raise _checks.error(source, "at least two rows of data", f"{len(rows) - 1}")
    values = np.array([_numbers(row, line, index, header, source) for line, row in rows[1:]])
    return checked_table(values, [header[k] for k in index], source, hashlib.sha256(content).hexdigest())


def _check_header(header: tuple[str, ...], source: str) -> None:
    if len(set(header)) < len(header):
        raise _checks.error(source, "a different name for every column", ", ".join(header))
    if all(_is_number(name) for name in header):
        # the first row of data would otherwise be lost in silence
        shown = ", ".join(header[:4])
        raise _checks.error(source, "names of the columns in the first line", f"numbers: {shown}", "add a header line")
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        mark = "semicolons" if ";" in header[0] else "tabs"
        raise _checks.error(source, "comma separated columns", f"{mark} in {header[0]!r}", "save it with commas")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rows(content: bytes, source: str) -> list[tuple[int, list[str]]]:
    """Return (line number, cells) of every line that is not empty."""
    try:
        # utf-8-sig: spreadsheets write a byte order mark in front of the first name
        reader = csv.reader(StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as reason:
        raise _checks.error(source, "comma separated UTF-8 text", str(reason)) from None


def _numbers(row: list[str], line: int, index: list[int], header: tuple[str, ...], source: str) -> list[float]:
    if len(row) != len(header):
        raise _checks.error(f"{source}, line {line}", f"{len(header)} cells", f"{len(row)}")
    return [_number(row[k], f"{source}, line {line}, column {header[k]!r}") for k in index]


def _number(cell: str, where: str) -> float:
    value = float(cell) if _is_number(cell) else math.nan
    if not math.isfinite(value):
        raise _checks.error(where, "a finite number", repr(cell), "correct the cell or remove the row")
    return value

"""Named columns of numbers: what every way of reading data returns, checked once; standardised, with the way back."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray

#: A column by its name, or by its place counted from 0.
Column = str | int


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
        if len(self.columns) > 2:
            got = f"{len(self.columns)}: {', '.join(self.columns)}"
            raise _checks.error(self.source, "one or two columns as samples of a law", got, "choose with columns=")
        return self.values[:, 0] if len(self.columns) == 1 else self.values

    def select(self, columns: Sequence[Column]) -> "Table":
        """Return the table of some of the columns, by name or place, in the order asked for.

        Raises
        ------
        ValueError
            If a column is not there.
        """
        index = positions(columns, self.columns, self.source)
        return Table(tuple(self.columns[k] for k in index), self.values[:, index], self.source, self.sha256)


def from_array(values: Any, columns: Sequence[str] | None = None, *, source: str = "array") -> Table:
    """Return an array of numbers as a table.

    Parameters
    ----------
    values : array_like of shape (rows,) or (rows, columns)
        Integers or floats.
    columns : sequence of str, optional
        Their names, default "column 0", "column 1" and so on.
    source : str, default "array"
        Where they come from, for messages and reports.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        Another shape, text, objects, complex numbers or booleans, NaN or infinities (with the row), fewer than two
        rows, a column of equal values, or another number of names than columns.

    Examples
    --------
    >>> from fpsolve import data
    >>> data.from_array([[1.0, 2.0], [3.0, 5.0]], ["a", "b"]).columns
    ('a', 'b')
    """
    numbers, given = _checks.real_array(source, values), np.asarray(values)
    # single precision is told from double: what it calls equal is coarser
    return checked_table(given if given.dtype.kind == "f" else numbers, columns, source, "")


def checked_table(array: Any, columns: Sequence[str] | None, source: str, sha256: str) -> Table:
    """Return the table of an array whatever it holds; refuse what `from_array` says."""
    if array.dtype.kind not in "iuf":
        raise _checks.error(source, "integers or floats", f"values of dtype {array.dtype}", "convert them first")
    if array.ndim not in (1, 2) or array.size == 0:
        raise _checks.error(source, "shape (rows,) or (rows, columns)", f"shape {array.shape}")
    values = np.array(array, dtype=np.float64).reshape(len(array), -1)
    if columns is not None:
        _checks.instance("columns", columns, Sequence, "a sequence of names")
    names = tuple(f"column {k}" for k in range(values.shape[1])) if columns is None else tuple(columns)
    if len(names) != values.shape[1]:
        raise _checks.error(source, f"{values.shape[1]} names of columns", f"{len(names)}")
    if len(values) < 2:
        raise _checks.error(source, "at least two rows of data", f"{len(values)}")
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        where = f"{source}, row {bad[0, 0]} (from 0), column {names[bad[0, 1]]!r}"
        raise _checks.error(where, "a finite number", f"{values[tuple(bad[0])]}", "correct it or remove the row")
    for name, column in zip(names, np.asarray(array).reshape(values.shape).T, strict=True):
        if not _checks.varies(column):
            expected = f"{source}: column {name!r}", "values that differ", f"{column[0]:g} in every row"
            raise _checks.error(*expected, "leave the column out")
    return Table(names, values, source, sha256)


def positions(wanted: Sequence[Column], present: Sequence[str], source: str) -> list[int]:
    """Return the places of columns given by name or place; refuse what is not there."""
    if isinstance(wanted, str):
        raise _checks.error("columns", "a list of names or places", repr(wanted), f"say columns=[{wanted!r}]")
    found, missing = [], []
    for column in wanted:
        if isinstance(column, Integral) and not isinstance(column, bool):
            (found if 0 <= column < len(present) else missing).append(int(column))
        elif column in present:
            found.append(list(present).index(str(column)))
        else:
            missing.append(column)
    if len(set(found)) < len(found):
        raise _checks.error("columns", "different columns", ", ".join(repr(c) for c in wanted), "name each once")
    if missing or not wanted:
        named = " and ".join(f"{'at place' if isinstance(c, int) else 'named'} {c!r}" for c in missing) or "to read"
        raise _checks.error(source, f"a column {named}", "the columns " + ", ".join(present))
    return found


@dataclass(frozen=True, eq=False)
class Standardised:
    """Columns ``(x - mean)/std``, with the mean and standard deviation that were taken out.

    Attributes
    ----------
    table : Table
        The standardised columns; ``table.samples`` is what `KernelDensity` takes.
    mean, std : array of shape (columns,)
        In the units of the file; std with divisor n - 1.
    """

    table: Table
    mean: FloatArray
    std: FloatArray

    @property
    def samples(self) -> FloatArray:
        """Standardised samples: shape (rows,) for one column, (rows, 2) for two."""
        return self.table.samples

    def original(self, values: Any, column: int = 0) -> FloatArray:
        """Return standardised `values` of a column in the units of the file, ``mean + std values``."""
        return np.asarray(self.mean[column] + self.std[column] * np.asarray(values, dtype=np.float64))

    def record(self) -> dict[str, Any]:
        """Return file, checksum and standardisation as plain numbers and strings, for a report."""
        return {
            "file": self.table.source,
            "sha256": self.table.sha256,
            "rows": len(self.table.values),
            "columns": list(self.table.columns),
            "mean": [float(value) for value in self.mean],
            "std": [float(value) for value in self.std],
        }


def standardise(table: Table) -> Standardised:
    """Return the table with every column shifted and scaled to mean 0 and standard deviation 1.

    Raises
    ------
    ValueError
        If a column does not vary by more than rounding.

    Examples
    --------
    >>> import fpsolve.data as data
    >>> waiting = data.standardise(data.old_faithful().select(["waiting_min"]))
    >>> [round(float(number), 3) for number in (waiting.mean[0], waiting.std[0])]
    [70.897, 13.595]
    >>> abs(round(float(waiting.samples.mean()), 12))
    0.0
    """
    _checks.instance("table", table, Table, "a Table", "make one by data.read or data.from_array")
    constant = np.flatnonzero(~_checks.varies(table.values))
    if len(constant):
        name = table.columns[constant[0]]
        raise _checks.error("table", "columns that vary", f"equal values in every row of {name!r}", "leave it out")
    # squares of 1e200 overflow; powers of two change no digit
    _, power = np.frexp(np.abs(table.values).max(axis=0))
    scaled = np.ldexp(table.values, -power)
    mean, std = scaled.mean(axis=0), scaled.std(axis=0, ddof=1)
    standard = Table(table.columns, (scaled - mean) / std, table.source, table.sha256)
    return Standardised(standard, np.ldexp(mean, power), np.ldexp(std, power))

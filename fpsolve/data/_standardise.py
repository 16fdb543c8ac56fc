"""Standardised data: mean 0 and standard deviation 1 per column, the way back recorded."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.data._table import Table


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

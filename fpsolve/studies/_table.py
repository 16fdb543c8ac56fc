"""Tables of short texts, for the terminal and for Markdown; numbers with as many digits as their errors allow."""

from __future__ import annotations

import decimal
import math
from dataclasses import dataclass

from fpsolve import _checks

__all__ = ["Table", "number", "outward", "with_error"]


@dataclass(frozen=True)
class Table:
    """A header and rows of texts; the first column is aligned left, all others right.

    Parameters
    ----------
    columns : tuple of str
    rows : tuple of tuples of str

    Raises
    ------
    ValueError
        If a row has another length than the header.

    Examples
    --------
    >>> print(Table(("start", "t"), (("prior", "0.5"), ("far", "0.01"))).text())
    start     t
    -----  ----
    prior   0.5
    far    0.01
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise _checks.error("row", f"{len(self.columns)} cells", f"{len(row)}")

    def text(self) -> str:
        """Return the table for a terminal."""
        widths = self._widths()
        rule = tuple("-" * width for width in widths)
        lines = [
            "  ".join(
                cell.ljust(width) if k == 0 else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in (self.columns, rule, *self.rows)
        ]
        return "\n".join(line.rstrip() for line in lines)

    def markdown(self) -> str:
        """Return the table as Markdown, readable as it stands."""
        rule = tuple(":--" if k == 0 else "--:" for k in range(len(self.columns)))
        return "\n".join("| " + " | ".join(row) + " |" for row in (self.columns, rule, *self.rows))

    def _widths(self) -> list[int]:
        return [max(len(row[k]) for row in (self.columns, *self.rows)) for k in range(len(self.columns))]


def outward(value: float, *, up: bool, digits: int = 8) -> str:
    """Return a proved bound in a few digits, at most 15, rounded so that it stays one.

    Examples
    --------
    >>> outward(0.12345, up=False, digits=3), outward(0.12345, up=True, digits=3)
    ('0.123', '0.124')
    """
    rounding = decimal.ROUND_CEILING if up else decimal.ROUND_FLOOR
    # 15 digits survive the way through a double
    return number(float(decimal.Context(prec=digits, rounding=rounding).create_decimal(value)), digits)


def number(value: float, digits: int = 4) -> str:
    """Return a number with `digits` significant digits, in powers of ten where that is shorter.

    Examples
    --------
    >>> number(0.031234), number(6.5589e-06), number(0.0)
    ('0.03123', '6.559e-06', '0')
    """
    if value == 0.0 or not math.isfinite(value):
        return f"{value:g}"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"
    return f"{value:.{digits - 1}e}"


def with_error(value: float, error: float) -> str:
    """Return ``value ± error``, the value to two digits of its error, eight at most.

    Examples
    --------
    >>> with_error(6.558912e-06, 3.2e-10)
    '6.5589e-06 ± 3e-10'
    """
    if not (value > 0.0 and error > 0.0 and math.isfinite(value / error)):
        return f"{number(value)} ± {error:.0e}"
    digits = math.ceil(math.log10(value / error)) + 1 if value > error else 1
    return f"{number(value, min(8, max(2, digits)))} ± {error:.0e}"

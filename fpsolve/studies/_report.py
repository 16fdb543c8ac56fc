"""What a study returns: checks with verdicts, a table, a figure, numbers and the data behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fpsolve.studies._table import Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = ["Check", "Report"]


@dataclass(frozen=True)
class Check:
    """One number held against a reference: it passes if ``|value - reference| <= tolerance``, NaN fails.

    Attributes
    ----------
    name : str
        What is checked, in words.
    value, reference, tolerance : float
    """

    name: str
    value: float
    reference: float
    tolerance: float

    @classmethod
    def at_most(cls, name: str, value: float, bound: float) -> Check:
        """Return the check that a number that cannot be negative is at most `bound`."""
        return cls(name, float(value), 0.0, float(bound))

    @property
    def passed(self) -> bool:
        """Whether the value is within the tolerance of the reference."""
        return abs(self.value - self.reference) <= self.tolerance

    @property
    def verdict(self) -> Literal["pass", "fail"]:
        """The word for it."""
        return "pass" if self.passed else "fail"

    def record(self) -> dict[str, Any]:
        """Return the check as it stands in ``summary.json``; JSON knows no NaN: null."""
        numbers = {name: getattr(self, name) for name in ("value", "reference", "tolerance")}
        finite = {name: number if math.isfinite(number) else None for name, number in numbers.items()}
        return {"name": self.name, **finite, "verdict": self.verdict}


@dataclass(frozen=True, eq=False)
class Report:
    """The outcome of a study.

    Attributes
    ----------
    study, title, question : str
    answer : tuple of str
        The answer in numbers, one paragraph each.
    checks : tuple of Check
    table : Table
        The main table; ``notes`` say how to read it.
    notes : tuple of str
    figure : matplotlib.figure.Figure
    caption : str
    metrics : mapping
        Numbers worth keeping, by name.
    provenance : mapping
        Where everything comes from; strings, numbers, lists and mappings of them.
    datasets : mapping of str to Dataset
        What goes into ``run.nc``: the root under "", every other one as a group of that name.
    """

    study: str
    title: str
    question: str
    answer: tuple[str, ...]
    checks: tuple[Check, ...]
    table: Table
    notes: tuple[str, ...]
    figure: Figure
    caption: str
    metrics: Mapping[str, float | int | str]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    datasets: Mapping[str, xr.Dataset] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every check passed; False without any."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def summary(self) -> dict[str, Any]:
        """Return what stands in ``summary.json``."""
        return {
            "study": self.study,
            "checks": [check.record() for check in self.checks],
            "metrics": {name: _json_number(value) for name, value in self.metrics.items()},
            "provenance": dict(self.provenance),
        }


def _json_number(value: float | int | str) -> float | int | str | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""What every bound returns: a number or None, the statement it comes from, what was checked and what was not."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Hypothesis:
    """One hypothesis of a statement, checked numerically.

    Attributes
    ----------
    name : str
        What was checked, in words.
    margin : float
        By how much it holds; negative where it fails, NaN where there was nothing to check it on: then it neither
        `holds` nor `fails`. Its unit is said in `name` or `detail`.
    detail : str
        Where and how it was checked.
    source : str
        Whose hypothesis it is, where that is not the statement of the record itself.
    """

    name: str
    margin: float
    detail: str = ""
    source: str = ""

    @property
    def holds(self) -> bool:
        """Whether the margin is not negative; False where nothing was checked."""
        return self.margin >= 0.0

    @property
    def fails(self) -> bool:
        """Whether the margin is negative; False where nothing was checked."""
        return self.margin < 0.0

    @property
    def verdict(self) -> Literal["holds", "FAILS", "not checked"]:
        """The word for it."""
        return "holds" if self.holds else "FAILS" if self.fails else "not checked"

    def __str__(self) -> str:
        """Return one line: verdict, name, margin."""
        margin = "" if np.isnan(self.margin) else f" (margin {self.margin:.3g})"
        text = f"{self.verdict}: {self.name}{margin}"
        return "; ".join([text, *filter(None, (self.detail, self.source))])


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """A bound: its value, or None for "no certificate", and where it comes from.

    Attributes
    ----------
    value : float or None
        The number the statement gives; None where a hypothesis fails or the number would say nothing.
    statement : str
        The statement, with its reference.
    checked : tuple of Hypothesis
        Hypotheses that were checked, with margins.
    unchecked : tuple of str
        Hypotheses that were taken for granted.
    reason : str
        Why there is no certificate, empty where there is one.
    """

    value: float | None
    statement: str
    checked: tuple[Hypothesis, ...] = ()
    unchecked: tuple[str, ...] = ()
    reason: str = ""

    @property
    def certified(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    def constants(self) -> dict[str, float]:
        """The scalar constants by name, without the value: what a summary file keeps."""
        own = {f.name for f in fields(Record)}
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self) if f.name not in own)
        return {
            name: float(value)
            for name, value in pairs
            if isinstance(value, int | float | np.number) and not isinstance(value, bool)
        }

    def __str__(self) -> str:
        """Return the record as text, one line per fact."""
        shown = f"no certificate: {self.reason}" if self.value is None else f"{self.value:.6g}"
        lines = [f"{type(self).__name__}: {shown}", f"  {self.statement}"]
        lines += [f"  {name} = {value:.6g}" for name, value in self.constants().items()]
        lines += [f"  {hypothesis}" for hypothesis in self.checked]
        lines += [f"  not checked: {what}" for what in self.unchecked]
        return "\n".join(lines)


def yes(name: str, holds: bool, detail: str = "", source: str = "") -> Hypothesis:
    """Return a hypothesis that has no margin: it holds, or it does not."""
    return Hypothesis(name, 0.0 if holds else -1.0, detail, source)


def failure(checked: tuple[Hypothesis, ...]) -> str:
    """Return which hypotheses fail or could not be checked, as a reason; empty where all hold."""
    return "; ".join(_failed(h) for h in checked if not h.holds)


def _failed(h: Hypothesis) -> str:
    if not h.fails:
        return f"{h.name} could not be checked"
    # an infinite margin is no number to read: nothing that was looked at satisfies it
    return f"{h.name} fails by {-h.margin:.3g}" if np.isfinite(h.margin) else f"{h.name} fails everywhere"

"""Rows of the benchmark table, further tables, and their text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

BEGIN, END = "<!-- last run: begin -->", "<!-- last run: end -->"
HEADER = ("work", "fpsolve", "reference", "ratio", "required", "verdict")
#: Order of the sections, one per file of benchmarks.
ORDER = (
    "lapack",
    "scaling",
    "by hand",
    "distance",
    "peers",
    "particles",
    "memory",
    "import",
    "steps",
    "limits",
    "extrapolation",
    "evidence",
    "threads",
    "design",
    "proofs",
    "profile",
)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    work : str
        What was done.
    ours, reference : str
        The two numbers with their units.
    ratio : str
        What is judged, or what is worth knowing.
    required : str
        Empty when the row is information only.
    met : bool or None
        None when nothing is required.
    """

    work: str
    ours: str
    reference: str
    ratio: str
    required: str = ""
    met: bool | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """Texts of the six columns."""
        verdict = {None: "", True: "met", False: "MISSED"}[self.met]
        return self.work, self.ours, self.reference, self.ratio, self.required, verdict


def at_most(work: str, ours: float, reference: float, limit: float | None, *, note: str = "") -> Row:
    """Row on two times in seconds: fpsolve takes at most `limit` times the reference."""
    ratio = ours / reference
    required = "" if limit is None else f"<= {limit:g} x"
    return Row(
        work, duration(ours), duration(reference) + note, f"{ratio:.2f} x", required, _judge(limit, ratio, most=True)
    )


def faster(work: str, ours: float, reference: float, limit: float | None, *, note: str = "") -> Row:
    """Row on two times in seconds: fpsolve is at least `limit` times faster than the reference."""
    ratio = reference / ours
    required = "" if limit is None else f">= {limit:g} x faster" if limit > 1 else "faster"
    text = f"{ratio:.3g} x faster" if ratio < 1000 else f"{ratio:,.0f} x faster"
    return Row(work, duration(ours), duration(reference) + note, text, required, _judge(limit, ratio, most=False))


def figure(
    work: str, value: float, limit: float | None, *, unit: str = "", reference: str = "", form: str = ".3g"
) -> Row:
    """Row on one number that must be at most `limit`."""
    required = "" if limit is None else f"<= {limit:g}{unit}"
    return Row(work, f"{value:{form}}{unit}", reference, "", required, _judge(limit, value, most=True))


def skipped(work: str, why: str) -> Row:
    """Row on something that could not be measured here."""
    return Row(work, "", f"skipped: {why}", "")


def duration(seconds: float) -> str:
    """A time in readable units."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1.0:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def _judge(limit: float | None, value: float, *, most: bool) -> bool | None:
    if limit is None:
        return None
    return bool(value <= limit) if most else bool(value >= limit)


@dataclass
class Report:
    """Everything a run has found so far: rows by section, and tables that stand on their own."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    tables: dict[str, tuple[str, Sequence[str], Sequence[Sequence[str]]]] = field(default_factory=dict)

    def add(self, section: str, *rows: Row) -> None:
        """Append rows to a section."""
        self.rows.setdefault(section, []).extend(rows)

    def table(self, section: str, title: str, header: Sequence[str], body: Sequence[Sequence[str]]) -> None:
        """Put a table below the rows."""
        self.tables[section] = (title, header, body)

    def text(self) -> str:
        """The whole report in Markdown, columns aligned."""
        sections = [*[s for s in ORDER if s in self.rows], *[s for s in self.rows if s not in ORDER]]
        parts = [markdown(HEADER, [row.cells for s in sections for row in self.rows[s]])] if sections else []
        for name in sorted(self.tables, key=lambda s: ORDER.index(s) if s in ORDER else len(ORDER)):
            title, header, body = self.tables[name]
            parts.append(f"{title}\n\n{markdown(header, body)}")
        return "\n\n".join(parts)


def markdown(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns."""
    lines = [tuple(header), *[tuple(row) for row in body]]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
    text = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join([text[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *text[1:]])


def write_into(path: Path, text: str) -> None:
    """Replace what stands between the two markers of a Markdown file."""
    old = path.read_text()
    if old.count(BEGIN) != 1 or old.count(END) != 1:
        raise ValueError(f"{path}: expected the markers {BEGIN} and {END} once each.")
    path.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{text}\n{END}", old, flags=re.DOTALL))

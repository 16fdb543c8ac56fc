"""What a study returns: checks with verdicts, a table, a figure, numbers and the data behind them, and their text.

A report is text for the terminal, 100 columns wide, Markdown, and one HTML file: figure inside, tables that open and
close, no network, readable on a phone. Numbers have as many digits as their errors allow.
"""

from __future__ import annotations

import base64
import decimal
import json
import math
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fpsolve import _checks
from fpsolve._messages import Status
from fpsolve.laws import Law
from fpsolve.processes import Process
from fpsolve.settings import build, dump

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


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
        widths = [max(len(row[k]) for row in (self.columns, *self.rows)) for k in range(len(self.columns))]
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
    '6.55891e-06 ± 3e-10'
    """
    if not (value > 0.0 and error > 0.0 and math.isfinite(value / error)):
        return f"{number(value)} ± {error:.0e}"
    digits = math.ceil(math.log10(value / error)) + 1 if value > error else 1
    return f"{number(value, min(8, max(2, digits)))} ± {error:.0e}"


@dataclass(frozen=True)
class Check:
    """One number held against a reference: it passes if ``|value - reference| <= tolerance``, NaN fails.

    Attributes
    ----------
    name : str
        What is checked, in words.
    value, reference, tolerance : float
    reason : str
        Why there is nothing to compare: then the check is "not checked", it neither passes nor fails.
    """

    name: str
    value: float
    reference: float
    tolerance: float
    reason: str = ""

    @classmethod
    def at_most(cls, name: str, value: float, bound: float, reason: str = "") -> Check:
        """Return the check that a number that cannot be negative is at most `bound`."""
        return cls(name, float(value), 0.0, float(bound), reason)

    @property
    def passed(self) -> bool:
        """Whether the value is within the tolerance of the reference."""
        return not self.reason and abs(self.value - self.reference) <= self.tolerance

    @property
    def verdict(self) -> Literal["pass", "fail", "not checked"]:
        """The word for it."""
        return "not checked" if self.reason else "pass" if self.passed else "fail"

    def record(self) -> dict[str, Any]:
        """Return the check as it stands in ``summary.json``; JSON knows no NaN: null."""
        numbers = {name: getattr(self, name) for name in ("value", "reference", "tolerance")}
        finite = {name: number if math.isfinite(number) else None for name, number in numbers.items()}
        return {"name": self.name, **finite, "verdict": self.verdict} | ({"reason": self.reason} if self.reason else {})


@dataclass(frozen=True, eq=False)
class Report:
    """The outcome of a study.

    Attributes
    ----------
    study, title, question : str
    answer : tuple of str
        The answer in numbers, one paragraph each.
    headline : str
        The one number of the answer with its error: "±", an interval, or "at most".
    checks : tuple of Check
    table : Table
        The main table; ``notes`` say how to read it.
    notes : tuple of str
    figure : matplotlib.figure.Figure
    caption : str
    metrics : mapping
        Numbers worth keeping, by name.
    status : mapping of a word of `Status` to names
        What the numbers of the table are: the columns that are estimated, certified, proved, Monte Carlo.
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
    status: Mapping[Status, tuple[str, ...]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    datasets: Mapping[str, xr.Dataset] = field(default_factory=dict)
    headline: str = ""

    def __post_init__(self) -> None:
        if self.headline and not any(mark in self.headline for mark in ("±", "[", "at most")):
            raise _checks.error("headline", "a number with its error: ±, [low, high] or 'at most'", self.headline)

    @property
    def passed(self) -> bool:
        """Whether every check passed that has something to compare; False without any."""
        verdicts = {check.verdict for check in self.checks}
        return "pass" in verdicts and "fail" not in verdicts

    def summary(self) -> dict[str, Any]:
        """Return what stands in ``summary.json``."""
        return {
            "study": self.study,
            "checks": [check.record() for check in self.checks],
            "metrics": {name: _json_number(value) for name, value in self.metrics.items()},
            "provenance": dict(self.provenance) | {"status": dict(self.status)},
        }


def _json_number(value: float | int | str) -> float | int | str | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


#: Columns of a terminal.
WIDTH = 100
#: Components of a mixture that are written out.
FEW = 4


def terminal(report: Report) -> str:
    """Return the report for a terminal."""
    blocks = [
        f"{report.title}\n{'=' * min(len(report.title), WIDTH)}",
        "\n".join(_wrapped(sentence) for sentence in in_short(report)),
        report.table.text(),
        "\n".join(_wrapped(note) for note in notes(report)),
        check_table(report.checks).text(),
        _wrapped(verdict(report)),
        *(_wrapped(paragraph) for paragraph in report.answer),
    ]
    # take the marks of mathematics and code out, which a terminal shows as they stand
    return "\n\n".join(block for block in blocks if block).replace("$", "").replace("`", "")


def markdown(report: Report) -> str:
    """Return ``report.md``."""
    names = [f"group `{name}`" if name else "the root" for name in report.datasets]
    blocks = [
        f"# {report.title}",
        " ".join(in_short(report)),
        f"**Question.** {report.question}",
        f"![{report.title}](figure.png)",
        f"*{report.caption}*",
        "## Answer",
        *report.answer,
        verdict(report),
        "## Table",
        report.table.markdown(),
        *notes(report),
        "## Checks",
        "A check passes if value and reference differ by at most the tolerance.",
        check_table(report.checks).markdown(),
        "## Provenance",
        _origin(report.provenance),
        "Densities and curves are in `run.nc`: "
        + (", ".join(names) if names else "nothing this time")
        + ". The figure for print is `figure.pdf`, "
        "all numbers are in `summary.json`.",
    ]
    return "\n\n".join(blocks) + "\n"


def check_table(checks: tuple[Check, ...]) -> Table:
    """Return one row per check."""
    rows = [
        (check.name, *(number(v) for v in (check.value, check.reference, check.tolerance)), check.verdict)
        for check in checks
    ]
    return Table(("check", "value", "reference", "tolerance", "verdict"), tuple(rows))


def verdict(report: Report) -> str:
    """Return one sentence on the checks."""
    failed = [check.name for check in report.checks if check.verdict == "fail"]
    left = [check for check in report.checks if check.reason]
    # by reason, which many share
    by_reason = {one.reason: "; ".join(each.name for each in left if each.reason == one.reason) for one in left}
    told = "".join(f" Not checked, because {reason}: {names}." for reason, names in by_reason.items())
    compared = len(report.checks) - len(left)
    if failed:
        return f"{len(failed)} of {compared} checks FAIL: {'; '.join(failed)}.{told}"
    return (f"All {compared} checks pass." if compared else "Nothing was checked.") + told


def in_short(report: Report) -> tuple[str, ...]:
    """Return five sentences: what was asked, on what, the answer with its error, the checks, what is not shown."""
    first, *more = (one.rstrip(".") for one in _sentences(report.question))
    asked = "; ".join([first, *(one[0].lower() + one[1:] for one in more)])
    laws, processes = _looked_at(report.provenance.get("settings", {}))
    own = str(report.provenance.get("given", ""))
    if own and not any(law.startswith(own.split(" (")[0]) for law in laws):
        # the law does not say what it was made of
        laws = [own if law == "kernel-density" else f"{law}, fitted to {own}" for law in laws]
    on = " and ".join(laws) + (" under " if laws and processes else "") + " and ".join(processes)
    # by headline, else what the answer begins with
    found = report.headline or (_sentences(report.answer[0])[0].rstrip(".") if report.answer else "nothing")
    kinds = {word: f"{word}: {', '.join(names)}" for word, names in report.status.items()}
    proved = kinds.pop("proved", "nothing is proved")
    less = ", and --quick looked at less" if "quick" in report.provenance else ""
    return (
        f"Asked: {asked if asked.endswith('?') else asked + '.'}",
        f"On: {on or 'what the settings say'}.",
        f"Found: {found}.",
        f"Checks: {verdict(report)}",
        f"Limits: {'; '.join([proved, *kinds.values()])}{less}.",
    )


def _sentences(text: str) -> list[str]:
    # a sentence ends before a capital, not within "p. 3" or "0.5"
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", text)


def _looked_at(settings: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Laws or files of data, and processes, of the settings of a study."""
    laws, processes, left = [], [], [("", settings)]
    while left:
        key, table = left.pop(0)
        left += [(name, one) for name, one in table.items() if isinstance(one, dict)]
        if "columns" in table:
            laws.append(
                f"{Path(str(table.get('file', 'old_faithful'))).name} ({', '.join(map(str, table['columns']))})"
            )
        elif key in ("target", "mixture") and "kind" in table:
            laws.append(formula(build(table, Law)))
        elif key == "process":
            processes.append(type(build(table, Process).plain).__name__)
    return list(dict.fromkeys(laws)), list(dict.fromkeys(processes))


def notes(report: Report) -> tuple[str, ...]:
    """Return how to read the table, and what its numbers are."""
    words = "; ".join(f"{word}: {', '.join(names)}" for word, names in report.status.items())
    return (*report.notes, f"What the numbers are: {words}.") if words else report.notes


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH)


def _origin(provenance: Mapping[str, Any]) -> str:
    """One line per entry, what is nested as one block of JSON."""
    nested = {name: value for name, value in provenance.items() if isinstance(value, dict | list)}
    lines = [f"- {name}: {value}" for name, value in provenance.items() if name not in nested]
    block = json.dumps(nested, indent=1, ensure_ascii=False)
    return "\n".join([*lines, "", "```json", block, "```"])


def formula(law: Law) -> str:
    """Return ``0.3 N(-1.5, 0.3^2) + 0.7 N(0.8, 0.4^2)`` for a few round normal laws, or the kind of the law.

    Examples
    --------
    >>> import fpsolve as fp
    >>> formula(fp.Gaussian([3.0, -3.0], std=0.25)), formula(fp.Laplace())
    ('N((3, -3), 0.25^2I)', 'laplace')
    """
    normal = law.components
    if normal is None or len(normal.log_weights) > FEW:
        return str(dump(law)["kind"])
    variances = normal.component_covs[:, 0, 0]
    if np.any(normal.component_covs != variances[:, None, None] * np.eye(law.dim)):
        return str(dump(law)["kind"])
    identity, parts = "I" if law.dim == 2 else "", []
    for weight, mean, std in zip(np.exp(normal.log_weights), normal.component_means, np.sqrt(variances), strict=True):
        at = ", ".join(f"{m:g}" for m in mean) if mean.any() else "0"
        spread = (identity or "1") if std == 1.0 else f"{std:g}^2{identity}"
        share = "" if weight == 1.0 else f"{weight:g} "
        parts.append(f"{share}N({f'({at})' if ',' in at else at}, {spread})")
    return " + ".join(parts)


#: Pixels of the page per inch of a figure: its labels are as large as the notes; narrow screens scroll sideways.
PER_INCH = 80
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; color: #222 }
img { max-width: 100%; height: auto } figure { margin: 1rem 0 } figcaption, .notes { font-size: .9rem; color: #555 }
.wide { overflow-x: auto } @media (max-width: 45rem) { .wide img { max-width: none } }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }
td, th { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
td:first-child, th:first-child { text-align: left } pre { overflow-x: auto; font-size: .8rem }
summary { cursor: pointer; font-weight: 600; margin: .6rem 0 } .fail { color: #b00020 }
"""


def html(report: Report, picture: bytes) -> str:
    """Return ``report.html``: five sentences, the figure (PNG), the whole answer, tables, checks, provenance."""
    source, width = base64.b64encode(picture).decode(), PER_INCH * report.figure.get_figwidth()
    short = "".join(f"<li>{_text(sentence)}</li>" for sentence in in_short(report))
    word = "pass" if report.passed else "fail"
    failed = "" if report.passed else " open"
    paragraphs = "".join(f"<p>{_text(paragraph)}</p>" for paragraph in report.answer)
    told = "".join(f"<p>{_text(note)}</p>" for note in notes(report))
    origin = json.dumps(report.provenance, indent=1, ensure_ascii=False)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(report.title)}</title><style>{STYLE}</style></head><body>\n"
        f'<h1>{escape(report.title)}</h1>\n<ul class="{word}">{short}</ul>\n'
        f'<figure><div class="wide"><img alt="{escape(report.title)}" width="{width:.0f}" '
        f'src="data:image/png;base64,{source}"></div>'
        f"<figcaption>{_text(report.caption)}</figcaption></figure>\n"
        f"<p><b>Question.</b> {_text(report.question)}</p>\n"
        f"<details><summary>Answer in full</summary>{paragraphs}</details>\n"
        f'<details open><summary>Table</summary>{_table(report.table)}<div class="notes">{told}</div></details>\n'
        f"<details{failed}><summary>Checks</summary>{_table(check_table(report.checks))}</details>\n"
        f"<details><summary>Provenance</summary><pre>{escape(origin)}</pre></details>\n</body></html>\n"
    )


def _text(text: str) -> str:
    """Escaped, without the marks of mathematics and code, which a page would show as they stand."""
    return escape(text.replace("$", "").replace("`", ""))


def _table(table: Table) -> str:
    head = "".join(f"<th>{_text(cell)}</th>" for cell in table.columns)
    rows = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'

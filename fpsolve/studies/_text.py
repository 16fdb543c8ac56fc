"""A report as text: for the terminal, 100 columns wide, and as Markdown."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from fpsolve.laws import Law
from fpsolve.settings import dump
from fpsolve.studies._report import Check, Report
from fpsolve.studies._table import Table, number

__all__ = ["WIDTH", "formula", "markdown", "terminal"]

#: Columns of a terminal.
WIDTH = 100
#: Components of a mixture that are written out.
FEW = 4


def terminal(report: Report) -> str:
    """Return the report for a terminal."""
    blocks = [
        f"{report.title}\n{'=' * min(len(report.title), WIDTH)}",
        _wrapped(report.question),
        report.table.text(),
        "\n".join(_wrapped(note) for note in report.notes),
        check_table(report.checks).text(),
        _wrapped(verdict(report)),
        *(_wrapped(paragraph) for paragraph in report.answer),
    ]
    return _plain("\n\n".join(block for block in blocks if block))


def markdown(report: Report) -> str:
    """Return ``report.md``."""
    blocks = [
        f"# {report.title}",
        f"**Question.** {report.question}",
        f"![{report.title}](figure.png)",
        f"*{report.caption}*",
        "## Answer",
        *report.answer,
        verdict(report),
        "## Table",
        report.table.markdown(),
        *report.notes,
        "## Checks",
        "A check passes if value and reference differ by at most the tolerance.",
        check_table(report.checks).markdown(),
        "## Provenance",
        _origin(report.provenance),
        "Densities and curves are in `run.nc`: " + _groups(report) + ". The figure for print is `figure.pdf`, "
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
    failed = [check.name for check in report.checks if not check.passed]
    if not failed:
        return f"All {len(report.checks)} checks pass."
    return f"{len(failed)} of {len(report.checks)} checks FAIL: {'; '.join(failed)}."


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH)


def _plain(text: str) -> str:
    """Take the marks of mathematics and code out, which a terminal shows as they stand."""
    return text.replace("$", "").replace("`", "")


def _origin(provenance: Mapping[str, Any]) -> str:
    """One line per entry, what is nested as one block of JSON."""
    nested = {name: value for name, value in provenance.items() if isinstance(value, dict | list)}
    lines = [f"- {name}: {value}" for name, value in provenance.items() if name not in nested]
    block = json.dumps(nested, indent=1, ensure_ascii=False)
    return "\n".join([*lines, "", "```json", block, "```"])


def _groups(report: Report) -> str:
    names = [f"group `{name}`" if name else "the root" for name in report.datasets]
    return ", ".join(names) if names else "nothing this time"


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

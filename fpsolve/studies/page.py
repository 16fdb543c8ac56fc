"""A report as one HTML file: figure inside, tables that open and close, no network, readable on a phone."""

from __future__ import annotations

import base64
import json
import re
from html import escape

from fpsolve.studies.report import Report, Table, check_table, notes, verdict

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; color: #222 }
img { max-width: 100%; height: auto } figure { margin: 1rem 0 } figcaption, .notes { font-size: .9rem; color: #555 }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }
td, th { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
td:first-child, th:first-child { text-align: left } pre { overflow-x: auto; font-size: .8rem }
summary { cursor: pointer; font-weight: 600; margin: .6rem 0 } .fail { color: #b00020 }
"""
#: Sentences of the summary.
SENTENCES = 5


def html(report: Report, picture: bytes) -> str:
    """Return ``report.html``: five sentences, the figure (PNG), the whole answer, tables, checks, provenance."""
    source = base64.b64encode(picture).decode()
    answer = " ".join(report.answer)
    # a sentence ends before a capital, not within "p. 3" or "0.5"
    said = [verdict(report), *re.split(r"(?<=[.:!?])\s+(?=[A-Z])", answer)][:SENTENCES]
    word = "pass" if report.passed else "fail"
    failed = "" if report.passed else " open"
    paragraphs = "".join(f"<p>{_text(paragraph)}</p>" for paragraph in report.answer)
    told = "".join(f"<p>{_text(note)}</p>" for note in notes(report))
    origin = json.dumps(report.provenance, indent=1, ensure_ascii=False)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(report.title)}</title><style>{STYLE}</style></head><body>\n"
        f'<h1>{escape(report.title)}</h1>\n<p class="{word}"><b>{_text(" ".join(said))}</b></p>\n'
        f'<figure><img alt="{escape(report.title)}" src="data:image/png;base64,{source}">'
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

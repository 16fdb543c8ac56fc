"""Benchmarks run through run.py only; here are their report and options."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

RUNNING = "FPSOLVE_BENCHMARKS" in os.environ

# The normal test run passes by: nothing here is collected, imported or looked at for doctests.
collect_ignore_glob = [] if RUNNING else ["*"]


def pytest_configure(config: pytest.Config) -> None:
    """Refuse benchmarks asked for by path: numpy is loaded by now, with as many threads as it likes."""
    here = Path(__file__).parent
    asked = [Path(str(argument).split("::")[0]).resolve() for argument in config.args]
    if not RUNNING and any(path == here or here in path.parents for path in asked):
        raise pytest.UsageError(
            "tests/benchmarks: expected to be run by its own command, python tests/benchmarks/run.py."
        )


if RUNNING:
    from benchmarks.report import Report, Row, write_into

    _REPORT = Report()

    def pytest_addoption(parser: pytest.Parser) -> None:
        """Options of the one command."""
        group = parser.getgroup("fpsolve benchmarks")
        group.addoption("--peers", metavar="FOLDER", help="measure other packages, installed below this folder")
        group.addoption("--write-readme", action="store_true", help="put the table into tests/benchmarks/README.md")
        group.addoption("--threads", type=int, default=2, help="threads of the topic `threads` (default: 2)")
        group.addoption("--tune", action="store_true", help="search the settings in tuned.json again first")

    def pytest_sessionstart(session: pytest.Session) -> None:
        """Search the settings again where asked for."""
        if session.config.getoption("--tune"):
            from benchmarks import tune

            tune.search()

    def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
        """Print the table, and write it where asked for."""
        text = _REPORT.text()
        if text:
            terminalreporter.section("benchmarks", sep="=")
            terminalreporter.write_line(text)
        if text and config.getoption("--write-readme"):
            write_into(Path(__file__).with_name("README.md"), text)

    class Judge:
        """Adds rows to the report and fails the benchmark whose requirement is missed."""

        def __init__(self, section: str) -> None:
            self.section = section

        def __call__(self, *rows: Row) -> None:
            """Add the rows, then judge them."""
            _REPORT.add(self.section, *rows)
            missed = [f"{row.work}: {row.ours}, {row.ratio}, {row.required}" for row in rows if row.met is False]
            assert not missed, "; ".join(missed)

        def table(self, title: str, header: list[str], body: Sequence[Sequence[str]]) -> None:
            """Add a table below the rows."""
            _REPORT.table(self.section, title, header, body)

    @pytest.fixture
    def judge(request: pytest.FixtureRequest) -> Judge:
        """Return the judge of the file's section, ``SECTION`` in the module."""
        return Judge(request.module.SECTION)

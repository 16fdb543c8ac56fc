"""The studies of bounds: run small, every check passes, and checks fail when what they check is wrong."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_studies_decomposition import FILES, as_shipped, run_small

import fpsolve as fp
from fpsolve import studies
from fpsolve.studies import _config, _harris_case, _harris_checks, harris_ladder
from fpsolve.studies._stages import Stages

QUICK = {"cells = 600": "cells = 160", "tol = 1e-7": "tol = 1e-4", "saves = 40": "saves = 8"}


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    return run_small("harris-ladder", QUICK, tmp_path_factory.mktemp("ladder"))


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """Its first case."""
    path = tmp_path_factory.mktemp("case") / "settings.toml"
    text = studies.settings("harris-ladder")
    for old, new in QUICK.items():
        text = text.replace(old, new)
    path.write_text(text)
    config = _config.read("harris-ladder", harris_ladder.Config, path)
    stages = Stages("test", enabled=False)
    with stages.total(3):
        return _harris_case.solve("two modes", config.two_modes, 0.01, 1e-4, 8, stages)


def failing(case):
    return [check.name for check in _harris_checks.checks(case) if not check.passed]


def test_the_ladder_passes_and_writes_its_files(ladder):
    report, out = ladder
    assert [check.name for check in report.checks if not check.passed] == []
    assert len({check.name for check in report.checks}) == len(report.checks) >= 30
    assert {path.name for path in out.iterdir()} == FILES
    assert max(len(line) for line in report.table.text().splitlines()) <= 100
    assert any(row[3] == "none" for row in report.table.rows)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["metrics"]["two_modes_block_4_certificate"] is None


def test_spoiled_ladders_fail_named_checks(case):
    assert failing(case) == []
    measured = case.ladder["measured"] * np.where(np.arange(6) == 5, 40.0, 1.0)
    found = failing(replace(case, ladder=case.ladder.assign(measured=measured)))
    assert "two modes: measured / Harris, largest" in found and len(found) >= 4
    # one boundary off by a part in a thousand is no violation of a bound, and yet seen
    shifted = case.ladder["measured"] * np.where(np.arange(6) == 2, 1.01, 1.0)
    assert failing(replace(case, ladder=case.ladder.assign(measured=shifted))) == [
        "two modes: kernels and finite volumes, difference / errors"
    ]
    swapped = case.ladder["nu"].copy()
    swapped.loc[{"bound": "Harris"}] = 0.5 * swapped.sel(bound="sharp Dobrushin")
    assert "two modes: sharp Dobrushin / Harris, largest" in failing(
        replace(case, ladder=case.ladder.assign(nu=swapped))
    )
    missing = case.ladder["nu"].where(case.ladder["t"] > 0.5)
    assert failing(replace(case, ladder=case.ladder.assign(nu=missing))) == [
        "two modes: boundaries with a Harris bound"
    ]


def test_spoiled_certificates_fail_named_checks(case):
    strict = case.settings.model_copy(update={"certificates": (0.2, 0.74, 0.931, "none", "none")})
    assert failing(replace(case, settings=strict)) == [
        "two modes 1 -> 0.6: certificate",
        "two modes 0.25 -> 0.1: certificates, none expected",
    ]
    first = case.blocks[0]
    lower = replace(first, harris=replace(first.harris, value=0.5 * first.sharp.value))
    assert failing(replace(case, blocks=(lower, *case.blocks[1:]))) == [
        "two modes: sharp / certificate of its block, largest"
    ]
    with_whole = {"whole": (_harris_case.WholeSettings(beta=0.1, sharp=0.9, sharp_tolerance=0.003, harris=0.01),)}
    pairs = ((first.sharp, first.harris),)
    settings = case.settings.model_copy(update=with_whole)
    assert len(failing(replace(case, settings=settings, references=pairs))) == 2


def test_controls_break_what_they_must_and_right_dynamics_do_not(case):
    assert set(_harris_checks.broken(case)) == set(_harris_checks.CONTROLS)
    assert all(check.passed for check in _harris_checks.controls(case))
    again = _harris_checks._replaced(case, fp.Reverse(case.reverse.target, case.reverse.process, case.reverse.score))
    assert not _harris_checks._failed(again)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["harris-ladder"])
def test_as_shipped(name, tmp_path: Path):
    as_shipped(name, tmp_path)

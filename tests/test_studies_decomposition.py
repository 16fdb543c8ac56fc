"""The studies of sampler errors: run small, every check passes, and checks fail when what they check is wrong."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cases
import numpy as np
import pytest
from test_status import WORDS, said

from fpsolve import studies
from fpsolve.studies import error_decomposition, step_size
from fpsolve.studies.options import read

FILES = {"run.nc", "figure.png", "figure.pdf", "report.html", "report.md", "summary.json"}
QUICK = {
    "error-decomposition": {"cells = 480": "cells = 200", "steps = 60": "steps = 20"},
    "step-size": {
        "cells = 320": "cells = 200",
        "counts = [16, 20, 25, 32, 40, 50, 64, 80]": "counts = [20, 40]",
        "exponential-integrator = 1.0\n": "",
        "ddim = 1.0\n": "",
    },
}


def run_small(name, changes, folder: Path):
    """Run a study with some texts of its settings replaced; return the report and its folder."""
    text = studies.settings(name)
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / "settings.toml").write_text(text)
    report = studies.run(name, config=folder / "settings.toml", out=folder / "out", progress=False)
    for group in report.datasets.values():
        assert said(group) <= WORDS, "every number of run.nc says what it is"
    return report, folder / "out"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return {name: run_small(name, changes, tmp_path_factory.mktemp(name)) for name, changes in QUICK.items()}


@pytest.mark.parametrize("name", tuple(QUICK))
def test_checks_pass_and_files_are_there(small, name):
    report, out = small[name]
    assert [check.name for check in report.checks if not check.passed] == []
    assert len(report.checks) >= 6
    assert {path.name for path in out.iterdir()} == FILES
    assert max(len(line) for line in report.table.text().splitlines()) <= 100


def test_the_headline_is_the_number_of_the_result_with_its_error(small):
    found = small["error-decomposition"][0].datasets[""]
    told = float(np.asarray(found["total"])[-1]), float(np.asarray(found["total_error"])[-1])
    value, bar = small["error-decomposition"][0].headline.removeprefix("final error ").split(" ± ")
    assert float(value) == pytest.approx(told[0], abs=told[1]) and float(bar) == pytest.approx(told[1], rel=0.5)
    last = small["step-size"][0].datasets[""]["total"].isel(steps=-1)
    best = str(last["sampler"].values[int(np.argmin(last.values))])
    assert f"steps of {best}" in small["step-size"][0].headline
    line = (small["step-size"][1] / "report.md").read_text().splitlines()[2]
    marks = (
        "Asked: ",
        "On: 0.5 N(-2, 0.3^2)",
        "Found: least error",
        "Checks: ",
        "Limits: nothing is proved; estimated: ",
    )
    assert sorted(marks, key=line.index) == list(marks)
    with pytest.raises(ValueError, match="headline: expected a number with its error"):
        replace(small["step-size"][0], headline="0.3")


def test_the_decomposition_fails_on_wrong_numbers(small):
    right = small["error-decomposition"][0].datasets[""]
    for name, spoiled in {
        "identity": right.assign(closure=right["closure"] + 1e-6),
        "exact chain": right.assign(reference_error=right["reference_error"] + 1.0),
        "measured difference": right.assign(remainder=right["remainder"] * 0.9),
        "propagated / a-priori": right.assign(bound=right["bound"] * 0.1),
        "total / (sum": right.assign_attrs(sum_of_terms=0.1 * right.attrs["total"]),
        "narrowest noise": right.assign(width=right["width"] * 0.01),
        "mass thrown": right.assign(sampled=right["sampled"] + 1e-2),
    }.items():
        failed = [check.name for check in error_decomposition.checks(spoiled) if not check.passed]
        assert any(one.startswith(name) for one in failed), name


def test_the_step_size_fails_on_wrong_numbers(small):
    right = small["step-size"][0].datasets[""]
    config = read("step-size", step_size.Config)
    kept = config.model_copy(update={"orders": {str(s): config.orders[str(s)] for s in right["sampler"].values}})
    assert all(check.passed for check in step_size.checks(kept, right))
    for name, spoiled in {
        "heun: fitted order": right.assign(order=right["order"].where(right["sampler"] != "heun", 1.0)),
        "identity": right.assign(closure=right["closure"] + 1e-6),
        "exact chain": right.assign(reference_error=right["reference_error"] + 1.0),
        "total / (parts": right.assign(total=2.0 * right["total"]),
    }.items():
        failed = [check.name for check in step_size.checks(kept, spoiled) if not check.passed]
        assert any(one.startswith(name) for one in failed), name


def test_settings_that_do_not_fit_are_told(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text(studies.settings("error-decomposition").replace('"euler-maruyama"', '"milstein"'))
    with pytest.raises(ValueError, match="sampler"):
        studies.run("error-decomposition", config=path, progress=False)


@pytest.mark.slow
@cases.nightly
@pytest.mark.parametrize("name", QUICK)
def test_as_shipped(name, tmp_path: Path):
    as_shipped(name, tmp_path)


def as_shipped(name, folder: Path):
    """Run a study in a process of its own: checks pass, within the memory and the processor's time that it may take."""
    before = os.times()
    command = [sys.executable, "-m", "fpsolve", "study", name, "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # the last line names the folder
    assert max(len(line) for line in done.stdout.splitlines()[:-1]) <= 100
    origin = json.loads((folder / "summary.json").read_text())["provenance"]
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    print(name, seconds, "s,", origin["peak_memory_MB"], "MB")
    assert origin["peak_memory_MB"] <= 1500 and seconds <= 90.0

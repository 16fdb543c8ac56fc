"""The studies of sampler errors: run small, every check passes, and checks fail when what they check is wrong."""

from pathlib import Path

import pytest

from fpsolve import studies
from fpsolve.studies import error_decomposition

QUICK = {
    "error-decomposition": {"cells = 480": "cells = 200", "steps = 60": "steps = 20"},
    "step-size": {"cells = 320": "cells = 200", "counts = [20, 40, 80]": "counts = [20, 40]"},
}


@pytest.fixture(scope="module", params=tuple(QUICK))
def report(request, tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp(request.param)
    text = studies.settings(request.param)
    for old, new in QUICK[request.param].items():
        assert old in text, old
        text = text.replace(old, new)
    if request.param == "step-size":
        text = text.replace("exponential-integrator = 1.0\n", "").replace("ddim = 1.0\n", "")
    (folder / "settings.toml").write_text(text)
    return studies.run(request.param, config=folder / "settings.toml", out=folder / "out", progress=False), folder


def test_checks_pass_and_files_are_there(report):
    found, folder = report
    assert [check.name for check in found.checks if not check.passed] == []
    assert {path.name for path in (folder / "out").iterdir()} == {
        "run.nc",
        "figure.png",
        "figure.pdf",
        "report.md",
        "summary.json",
    }


def test_checks_fail_on_wrong_numbers(report):
    found, _ = report
    if found.study != "error-decomposition":
        pytest.skip("the controls are those of the first study")
    right = found.datasets[""]
    for name, spoiled in {
        "identity": right.assign(closure=right["closure"] + 1e-6),
        "measured difference": right.assign(remainder=right["remainder"] * 0.9),
        "propagated / a-priori": right.assign(bound=right["bound"] * 0.1),
        "total / (sum": right.assign_attrs(sum_of_terms=0.1 * right.attrs["total"]),
        "narrowest noise": right.assign(width=right["width"] * 0.01),
    }.items():
        failed = [check.name for check in error_decomposition.checks(spoiled) if not check.passed]
        assert any(one.startswith(name) for one in failed), name


def test_settings_that_do_not_fit_are_told(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text(studies.settings("error-decomposition").replace('"euler-maruyama"', '"euler"'))
    with pytest.raises(ValueError, match="sampler"):
        studies.run("error-decomposition", config=path, progress=False)

"""The study of product-form scores: run small, every check passes; checks fail when what they check is wrong."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest

from fpsolve import studies
from fpsolve.flows import FlowDistance
from fpsolve.studies import product_form
from fpsolve.studies.config import Stages
from fpsolve.studies.options import read
from fpsolve.studies.report import Report

#: Three cells per width and some dozen steps are few on purpose; what they leave unresolved is said.
pytestmark = pytest.mark.filterwarnings("ignore::fpsolve.UnresolvedWarning")

#: Fewer intervals, cells and steps, and data of the user's own.
QUICK = {
    "{ points = 4096, mixture = 2048, data = 512 }": "{ points = 2048, mixture = 1024, data = 128 }",
    "{ points = 160, mixture = 128, data = 64 }": "{ points = 96, mixture = 96, data = 64 }",
    "steps = 400": "steps = 200",
    "steps = 120": "steps = 60",
    "basins = 32": "basins = 8",
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: Any) -> Report:
    folder: Path = tmp_path_factory.mktemp("product_form")
    rng = np.random.default_rng(5)
    data = np.concatenate([rng.normal([-1.0, 0.0], 0.5, (30, 2)), rng.normal([1.5, 1.0], 0.4, (40, 2))])
    np.savetxt(folder / "own.csv", data, delimiter=",", header="a,b", comments="")
    text = studies.settings("product-form")
    own = {
        'columns = ["waiting_min"]': f"file = '{folder / 'own.csv'}'\ncolumns = [\"a\"]",
        'columns = ["eruption_min", "waiting_min"]': f'file = \'{folder / "own.csv"}\'\ncolumns = ["a", "b"]',
    }
    for old, new in (QUICK | own).items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / "settings.toml").write_text(text)
    return studies.run("product-form", config=folder / "settings.toml", out=folder / "out", progress=False)


def test_checks_pass_with_own_data(report: Report) -> None:
    assert [check.name for check in report.checks if not check.passed] == []
    assert len(report.checks) >= 25
    assert report.metrics["reference_product_deviation"] <= 1e-3
    assert report.metrics["reference_exact_deviation"] <= 1e-3
    assert [row[0] for row in report.table.rows][2::3] == ["1D data", "2D data"]
    assert report.provenance["2D data"]["file"] == "own.csv"


def test_distances_do_not_depend_on_the_cells(report: Report) -> None:
    """Values of the study as shipped, within the larger errors of the small one."""
    for name, value in {"1D_2_points_eta_0": 3.21434, "1D_mixture_eta_1": 1.1768, "2D_mixture_eta_0": 1.714}.items():
        assert abs(report.metrics[name] - value) <= report.metrics[f"{name}_error"] + 6e-3, name


@pytest.fixture(scope="module")
def reference() -> Any:
    config = read("product-form", product_form.Config)
    return product_form.Reference(config.reference, config.weight)


def test_checks_fail_on_wrong_numbers(reference: Any) -> None:
    """Every kind of check is one that can fail."""
    config = read("product-form", product_form.Config)
    line = config.line.model_copy(update={"steps": 50, "cells_per_std": 2.0})
    with (stages := Stages("product-form", enabled=False)).total(1), stages("mixture"):
        case = product_form.solve(line, "mixture", "1D mixture", config.weight)
    failed = {check.name for check in product_form.checks(reference, [case]) if not check.passed}
    assert failed == set()
    wrong = {
        "sum of the indices": replace(case, points=replace(case.points, index=case.points.index - 1)),
        "smallest degree": replace(case, points=replace(case.points, degree=0)),
        "not found": replace(case, points=replace(case.points, unmatched=1)),
        "residual": replace(case, points=replace(case.points, residual=case.points.residual + 1e-3)),
        "outside the hull": replace(case, outside=0.1),
        "fall of log Psi": replace(case, growth=-1e-4),
        "eta = 0: error": replace(case, quiet=FlowDistance(1.0, 0.3, 0.5)),
        "eta = 1: error": replace(case, noisy_error=case.noisy),
    }
    assert product_form.on_cells(case, line, config.weight).passed
    spoiled = replace(case, quiet=replace(case.quiet, value=1.01 * case.quiet.value))
    assert not product_form.on_cells(spoiled, line, config.weight).passed
    for name, spoiled in wrong.items():
        failed = {check.name for check in product_form.checks(reference, [spoiled]) if not check.passed}
        assert any(name in one for one in failed), name


def test_reference_checks_fail_on_other_levels() -> None:
    config = read("product-form", product_form.Config)
    other = config.reference.model_copy(update={"sigma_min": 0.1})
    checks = product_form.checks(product_form.Reference(other, config.weight), [_Nothing()])
    failed = {check.name for check in checks if not check.passed}
    assert {"reference: stationary point 1", "reference: product-form end points, deviation"} <= failed


class _Nothing:
    """A case that passes every check."""

    def __init__(self) -> None:
        config = read("product-form", product_form.Config)
        line = config.line.model_copy(update={"steps": 20, "cells_per_std": 2.0, "rtol": 1e-3})
        self.__dict__.update(vars(product_form.solve(line, "mixture", "1D mixture", config.weight)))


BAD = {
    "mixed dimensions": ({"at = [-1.0, 1.0]": "at = [[-1.0, 1.0], [0.0, 1.0]]"}, "line: .*targets of one dimension"),
    "odd intervals": ({"points = 4096": "points = 4095"}, r"line\.intervals\.points: .*multiple of 2"),
    "swapped levels": ({"sigma_min = 0.05": "sigma_min = 5.0"}, "sigma_max: expected a number > sigma_min=5"),
    "missing column": ({'columns = ["waiting_min"]': 'columns = ["height"]'}, "a column named 'height'"),
}


@pytest.mark.parametrize("name", BAD)
def test_settings_that_do_not_fit_are_told(name: str, tmp_path: Path) -> None:
    changes, message = BAD[name]
    text = studies.settings("product-form")
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        studies.run("product-form", config=tmp_path / "settings.toml", progress=False)


@cases.nightly
@pytest.mark.slow
def test_the_study_as_shipped_passes() -> None:
    found = studies.run("product-form", progress=False)
    assert found.passed, [check.name for check in found.checks if not check.passed]
    assert found.metrics["1D_Old_Faithful_eta_0"] == pytest.approx(0.75562, abs=8e-4)
    assert found.metrics["1D_2_points_eta_1"] == pytest.approx(2.93622, abs=4e-4)
    assert [row[1] for row in found.table.rows] == [
        "2 attracting, 1 repelling",
        "1 attracting",
        "1 attracting",
        "3 attracting, 2 saddle",
        "3 attracting, 2 saddle",
        "2 attracting, 1 saddle",
    ]

"""The forgetting study: it answers with checks, and every check fails when what it checks is wrong."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import xarray as xr

import fpsolve as fp
from fpsolve import cli, studies
from fpsolve.studies import _forgetting_case, forgetting
from fpsolve.studies.config import AnyProcess, Stages
from fpsolve.studies.options import read
from fpsolve.studies.report import Check, Report, Table, number, with_error

QUICK = {
    "tol = 1e-5": "tol = 1e-3",
    "tol = 2e-3": "tol = 5e-2",
    "n = 50_000\nsteps = 800": "n = 4_000\nsteps = 300",
    "n = 20_000\nsteps = 500": "n = 2_000\nsteps = 150",
    "times = [1.0, 0.9, 0.75, 0.5, 0.25, 0.1, 0.01]": "times = [1.0, 0.5, 0.01]",
    "times = [1.0, 0.75, 0.5, 0.25, 0.01]": "times = [1.0, 0.75, 0.25, 0.01]",
    "saves = 48": "saves = 10",
}


def settings(folder: Path, changes: dict[str, str]) -> Path:
    """Write the study's settings with some texts replaced; each must be there."""
    text = studies.settings("forgetting")
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "settings.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def solved(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Report, Path, list[_forgetting_case.Case]]]:
    """The study at loose tolerances, run once, and the cases that it solved on the way."""
    folder = tmp_path_factory.mktemp("quick")
    before = np.seterr(all="raise", under="ignore")
    found: list[_forgetting_case.Case] = []

    def kept(*asked: Any) -> _forgetting_case.Case:
        found.append(_forgetting_case.solve(*asked))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forgetting, "solve", kept)
        report = studies.run("forgetting", out=folder / "out", config=settings(folder, QUICK))
    yield report, folder / "out", found
    np.seterr(**before)


@pytest.fixture(scope="module")
def quick(solved: tuple[Report, Path, list[_forgetting_case.Case]]) -> tuple[Report, Path]:
    return solved[:2]


@pytest.fixture(scope="module")
def case(solved: tuple[Report, Path, list[_forgetting_case.Case]]) -> _forgetting_case.Case:
    """Its one-dimensional part."""
    return solved[2][0]


def failing(case: _forgetting_case.Case) -> list[str]:
    return [check.name for check in _forgetting_case.checks(case) if not check.passed]


def test_the_quick_study_passes_all_of_many_checks(quick: tuple[Report, Path]) -> None:
    report, _ = quick
    assert [check.name for check in report.checks if not check.passed] == []
    assert len(report.checks) >= 8 and len({check.name for check in report.checks}) == len(report.checks)


def test_it_writes_its_files_and_nothing_else(quick: tuple[Report, Path]) -> None:
    _, out = quick
    assert sorted(path.name for path in out.iterdir()) == [
        "figure.pdf",
        "figure.png",
        "report.html",
        "report.md",
        "run.nc",
        "summary.json",
    ]
    assert (out / "figure.png").read_bytes()[:4] == b"\x89PNG" and (out / "figure.pdf").read_bytes()[:4] == b"%PDF"


def test_verdicts_in_the_summary_follow_from_its_numbers(quick: tuple[Report, Path]) -> None:
    summary = json.loads((quick[1] / "summary.json").read_text())
    assert summary["study"] == "forgetting"
    for check in summary["checks"]:
        assert set(check) == {"name", "value", "reference", "tolerance", "verdict"}
        inside = abs(check["value"] - check["reference"]) <= check["tolerance"]
        assert check["verdict"] == ("pass" if inside else "fail")
    record = summary["provenance"]["data"][0]
    assert record["columns"] == ["waiting_min"] and record["mean"] == [pytest.approx(70.897, abs=1e-3)]
    assert summary["provenance"]["settings"]["line"]["tol"] == 1e-3


def test_the_saved_run_is_the_run(quick: tuple[Report, Path]) -> None:
    report, out = quick
    with xr.open_dataset(out / "run.nc") as run:
        xr.testing.assert_identical(run.load(), report.datasets[""])
        assert run["start"].values.tolist() == ["exact", "prior", "shifted", "far"]
    for group, kept in report.datasets.items():
        with xr.open_dataset(out / "run.nc", group=group or None) as read:
            xr.testing.assert_identical(read.load(), kept)


def test_the_report_reads_in_order_and_the_table_fits_a_terminal(quick: tuple[Report, Path]) -> None:
    report, out = quick
    text = (out / "report.md").read_text()
    places = [text.index(part) for part in ("**Question.**", "(figure.png)", "## Answer", "## Table", "## Provenance")]
    assert places == sorted(places)
    assert max(len(line) for line in report.table.text().splitlines()) <= 100
    # three starts at three times in 1D, at four in 2D
    assert len(report.table.rows) == 3 * 3 + 3 * 4
    assert {row[-1] for row in report.table.rows} == {"pass"}


def test_a_start_has_one_colour_on_the_line_and_in_the_plane(quick: tuple[Report, Path]) -> None:
    figure = quick[0].figure
    figure.canvas.draw()
    labels = {text.get_text(): text.get_color() for ax in figure.axes for text in [ax.title, ax._left_title]}
    titles = {text[:3]: (text, colour) for text, colour in labels.items() if text.startswith("(")}
    (start, colour), (first, below) = titles["(b)"], titles["(c)"]
    start = start.removeprefix("(b)").strip()
    assert first.removeprefix("(c)").strip().startswith(start)
    lines = {line.get_label(): line.get_color() for line in figure.axes[0].get_lines()}
    assert {colour, below} == {next(seen for label, seen in lines.items() if label.startswith(start))}


def test_numbers_of_the_answer_are_those_of_the_curves(quick: tuple[Report, Path]) -> None:
    report, _ = quick
    curve = report.datasets["line_curve"]["distance"].sel(start="far").values
    assert f"from far {number(curve[0], 3)} to {number(curve[-1], 3)}" in report.answer[0]
    assert report.metrics["1D_far_final_distance"] == curve[-1]
    # V-weighted distance of N(4, 0.25^2) to a law close to N(0, 1): int V (q + p) = 2 + 16 + 0.0625 + 1
    assert curve[0] == pytest.approx(19.06, abs=0.05)


def test_a_wrong_closed_form_is_found(case: _forgetting_case.Case) -> None:
    assert failing(case) == []
    error = float(case.curve["error"].sel(start="far")[-1])
    quadrature = case.truth["quadrature"] + 2.0 * error * (case.truth["start"] == "far")
    assert failing(replace(case, truth=case.truth.assign(quadrature=quadrature))) == [
        "1D far: final weighted TV vs closed form"
    ]
    distance = case.truth["distance"] * (1.0 + 1e-3 * (case.truth["t"] == 0.5))
    assert failing(replace(case, truth=case.truth.assign(distance=distance))) == ["1D curves: true error / reported"]
    # and so the table says
    wrong = replace(case, truth=case.truth.assign(distance=1.01 * case.truth["distance"]))
    assert {row[-1] for row in forgetting._rows(case)} == {"pass"}
    assert {row[-1] for row in forgetting._rows(wrong)} == {"FAIL"}


def test_a_density_error_above_its_estimate_is_found(case: _forgetting_case.Case) -> None:
    wrong = case.truth["density_error"].copy()
    wrong[2, 1] = 1.1 * case.run["error_estimate"].sel(t=0.5).values[2] + 1e-11
    found = failing(replace(case, truth=case.truth.assign(density_error=wrong)))
    assert found == ["1D densities: true error / estimate"]


def test_a_tolerance_not_met_is_found(case: _forgetting_case.Case) -> None:
    strict = case.settings.model_copy(update={"tol": 1e-12})
    assert failing(replace(case, settings=strict)) == ["1D densities: error estimate"]


def test_lost_mass_is_found(case: _forgetting_case.Case) -> None:
    leak = case.run.assign(mass=case.run["mass"] * (1.0 - 1e-11 * case.run["reverse_time"]))
    assert failing(replace(case, run=leak)) == ["1D mass: largest change"]


def test_plain_total_variation_that_grows_is_found(case: _forgetting_case.Case) -> None:
    grown = case.plain["distance"].copy()
    grown[1, 5] = 1.01 * float(grown[1, 4])
    found = failing(replace(case, plain=case.plain.assign(distance=grown)))
    assert found == ["1D plain TV: growth beyond its errors"]


def test_a_decay_at_another_rate_is_found(case: _forgetting_case.Case) -> None:
    slow = case.curve["distance"] * xr.where(case.curve["t"] < 0.02, 1.05, 1.0)
    found = failing(replace(case, curve=case.curve.assign(distance=slow)))
    assert "1D far: final weighted TV / leading order" in found
    assert "1D shifted: final weighted TV / leading order" in found


def test_particles_of_another_law_are_found(case: _forgetting_case.Case) -> None:
    starts = {**case.starts, "far": fp.Gaussian(3.0, std=0.25)}
    few = case.settings.particles.model_copy(update={"starts": ("far",)})
    settings = case.settings.model_copy(update={"particles": few})
    wrong = _forgetting_case._particles(settings, case.run, case.reverse, starts, 1, Stages("test", False))
    found = failing(replace(case, checks=wrong))
    assert len(found) == 1 and found[0].startswith("1D far: times at which particles disagree")


BAD = {
    "t_min beyond T": ({"t_min = 0.01\n": "t_min = 1.5\n"}, r"times"),
    "a time beyond T": ({"times = [1.0, 0.5, 0.01]": "times = [1.2, 0.5, 0.01]"}, r"times: expected a number in"),
    "a taken label": ({"starts.shifted = { mean = 1.5,": "starts.exact = { mean = 1.5,"}, r"starts: expected labels"),
    "another dimension": ({"mean = 4.0": "mean = [4.0, 1.0]"}, r"line\.starts\.far: expected a law in 1D .* one in 2D"),
    "unknown particle start": ({'["prior", "shifted", "far"]': '["near"]'}, r"particles\.starts: expected one of"),
    "negative std": ({"std = 0.25 }": "std = -0.25 }"}, r"line\.starts\.far\.std: expected numbers > 0, got -0\.25"),
    "unknown process": ({'kind = "vp"': 'kind = "xp"'}, r"process\.kind: .*'xp'"),
    "unknown key": ({"power = 2.0": "powr = 2.0"}, r"weight\.powr: unknown key, perhaps 'power' is meant"),
    "missing column": ({'columns = ["waiting_min"]': 'columns = ["height"]'}, r"a column named 'height'"),
    "three columns": ({'columns = ["waiting_min"]': 'columns = ["a", "b", "c"]'}, r"line\.columns: .*at most 2"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_settings_are_refused_in_one_sentence(name: str, tmp_path: Path, capsys: Any) -> None:
    changes, message = BAD[name]
    path = settings(tmp_path, {**QUICK})
    text = path.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    assert cli.main(["study", "forgetting", "--out", str(tmp_path / "out"), "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fpsolve: error: ") and re.search(message, error), error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("waiting_min\n70\nlong\n", r"line 3, column 'waiting_min': expected a finite number, got 'long'"),
        ("waiting_min\n70\n", r"at least two rows of data, got 1"),
        ("waiting_min\n70\n70\n", r"values that differ"),
    ],
)
def test_bad_data_end_with_2(rows: str, message: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "mine.csv").write_text(rows)
    path = settings(tmp_path, QUICK | {"[line]\n": f"[line]\nfile = '{tmp_path / 'mine.csv'}'\n"})
    assert cli.main(["study", "forgetting", "--out", str(tmp_path / "out"), "--config", str(path)]) == 2
    assert re.search(message, capsys.readouterr().err)


@cases.nightly
@pytest.mark.slow
def test_the_study_as_shipped_passes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fpsolve", "study", "forgetting", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert max(len(line) for line in done.stdout.splitlines()[:-1]) <= 100
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert {check["verdict"] for check in summary["checks"]} == {"pass"} and len(summary["checks"]) >= 20
    assert summary["provenance"]["peak_memory_MB"] < 1000
    # far below what any histogram can see, and still with its digits
    assert summary["metrics"]["1D_prior_final_distance"] == pytest.approx(2.29707e-10, rel=1e-3)


@pytest.mark.parametrize(
    ("value", "reference", "tolerance", "verdict"),
    [(1.0, 1.0, 0.0, "pass"), (1.2, 1.0, 0.1, "fail"), (np.nan, 0.0, 1.0, "fail"), (np.inf, 0.0, 1.0, "fail")],
)
def test_a_check_passes_within_its_tolerance_only(
    value: float, reference: float, tolerance: float, verdict: str
) -> None:
    check = Check("a", value, reference, tolerance)
    assert check.verdict == verdict
    assert json.loads(json.dumps(check.record(), allow_nan=False))["verdict"] == verdict


def test_numbers_are_printed_with_the_digits_their_errors_allow() -> None:
    assert with_error(0.0244451167, 2.7e-10) == "0.024445117 ± 3e-10"
    assert with_error(4.0, 0.5) == "4.0 ± 5e-01"
    assert with_error(1e-12, 1e-10) == "1.0e-12 ± 1e-10"
    assert with_error(0.0, 1e-10) == "0 ± 1e-10"
    assert (number(12345.678), number(1e5), number(-0.5), number(np.nan)) == ("12346", "1.000e+05", "-0.5000", "nan")


def test_tables_align_and_refuse_ragged_rows() -> None:
    table = Table(("start", "t"), (("prior", "0.5"), ("far", "10")))
    assert table.text().splitlines() == ["start    t", "-----  ---", "prior  0.5", "far     10"]
    assert table.markdown().splitlines()[1] == "| :-- | --: |"
    with pytest.raises(ValueError, match="row: expected 2 cells, got 1"):
        Table(("a", "b"), (("x",),))


@pytest.mark.parametrize("kind", ["ornstein-uhlenbeck", "vp", "cosine-vp"])
def test_settings_build_every_process_they_name(kind: str) -> None:
    from pydantic import TypeAdapter

    built = TypeAdapter(AnyProcess).validate_python({"kind": kind, "T": 2.0})
    assert isinstance(built, fp.Process) and built.T == 2.0


def test_every_study_has_a_title_of_one_line_a_question_and_a_module() -> None:
    for name in studies.names():
        assert "\n" not in studies.title(name)
        module = import_module(f"fpsolve.studies.{studies.module_name(name)}")
        assert read(name, module.Config).question.endswith("?")

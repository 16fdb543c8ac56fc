"""``fpsolve check``, ``schema``, ``show`` and ``cite``; what a run says of itself."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import studies
from fpsolve.cli import main
from fpsolve.studies.command import SECONDS, latex

ROOT = Path(__file__).parents[1]
SWEEP = """
t_min = 0.05
eta = [0.5, 1.0]
tol = [1e-2, 1e-3, 1e-4]
processes = [{ kind = "vp" }, { kind = "edm" }]
targets = [{ kind = "gaussian", mean = 0.0, std = 1.0 }]
"""


@pytest.fixture
def run():
    reverse = fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5]), fp.VP())
    starts = {"exact": reverse.marginal(1.0), "far": fp.Gaussian(3.0, std=0.5)}
    return fp.evolve(reverse, starts, t_min=0.1, grid=fp.Grid.uniform((-6.0, 6.0), cells=80), steps=40)


@pytest.mark.parametrize("name", studies.names())
def test_settings_are_known_by_their_keys_and_their_cost_is_said(name, tmp_path, capsys) -> None:
    (tmp_path / "own.toml").write_text(studies.settings(name))
    assert main(["check", str(tmp_path / "own.toml")]) == 0
    told = capsys.readouterr().out
    assert f"settings of '{name}'" in told and all(f"{seconds} s " in told for seconds in SECONDS[name])
    tree = tomllib.loads(studies.settings(name))
    assert main(["schema", name]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(tree) <= set(schema["properties"]) and schema["additionalProperties"] is False


def test_a_sweep_is_counted_and_what_does_not_fit_is_told(tmp_path, capsys) -> None:
    (tmp_path / "sweep.toml").write_text(SWEEP)
    assert main(["check", str(tmp_path / "sweep.toml")]) == 0
    assert "settings of a sweep; they fit. 12 points" in capsys.readouterr().out  # 2 eta, 3 tol, 2 processes
    assert main(["schema", "sweep"]) == 0 and "targets" in capsys.readouterr().out
    (tmp_path / "bad.toml").write_text(studies.settings("step-size").replace("cells = 320", "cells = -3"))
    assert main(["check", str(tmp_path / "bad.toml")]) == 2
    assert "cells: expected" in capsys.readouterr().err
    for wrong in (["check", str(tmp_path / "none.toml")], ["schema", "nothing"], ["show", str(tmp_path / "none")]):
        assert main(wrong) == 2
        assert capsys.readouterr().err.startswith("fpsolve: error: ")


def test_the_file_of_a_sweep_in_the_readme_is_that_of_the_help_and_runs(tmp_path, capsys) -> None:
    block = re.search(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    with pytest.raises(SystemExit):
        main(["sweep", "--help"])
    assert block in capsys.readouterr().out
    (tmp_path / "own.toml").write_text(block)
    assert main(["sweep", str(tmp_path / "own.toml"), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert said.count("start far:") == 8 and "NOT MET" not in said


def test_a_run_says_its_answer_first(run, tmp_path, capsys) -> None:
    text = repr(run.fpsolve)
    worst = float(run["error_estimate"].max())
    assert text.splitlines()[0].startswith(f"worst estimate of int V |error|: {worst:.2g} (start")
    assert "box [-6, 6] (x), 80 cells" in text and "80 cells, 40 steps" in text
    assert run.fpsolve._repr_html_().startswith("<div><b>worst estimate")
    run.fpsolve.save(tmp_path / "run.nc")
    assert main(["show", str(tmp_path / "run.nc")]) == 0
    assert capsys.readouterr().out.strip() == text


def test_a_study_shows_its_verdict_and_its_answer(tmp_path, capsys) -> None:
    text = "# A title\n\n**Question.** Why?\n\n## Answer\n\nIt is `so`.\n\nAll 3 checks pass.\n\n## Table\n\n|a|\n"
    (tmp_path / "report.md").write_text(text)
    assert main(["show", str(tmp_path)]) == 0
    assert capsys.readouterr().out.split("\n\n") == ["A title", "All 3 checks pass.", "It is so.\n"]


def test_what_is_cited_is_what_the_file_says(capsys) -> None:
    assert main(["cite"]) == 0
    told = capsys.readouterr().out
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    title = next(line for line in lines if line.startswith("title: ")).partition(": ")[2].strip('"')
    assert f"title = {{{title}}}" in told and f"version = {{{fp.__version__}}}" in told


def test_a_table_in_latex_can_be_read_back(tmp_path, capsys):
    """0.0312(4): the value within its error, the error not smaller than it was nor much larger."""
    rng, rows = np.random.default_rng(5), []
    for _ in range(300):
        value = float(rng.choice([-1.0, 1.0]) * 10.0 ** rng.uniform(-12.0, 7.0))
        rows.append((value, abs(value) * 10.0 ** rng.uniform(-6.0, 0.5)))
    table = "".join(f"| a_1, 5% & x^2, $p_t$ | {v:.10g} ± {e:.0e} |\n" for v, e in rows)
    text = f"# A title\n\n## Table\n\n| case | error \\| bar |\n| :-- | --: |\n{table}\nnotes\n"
    (tmp_path / "report.md").write_text(f"{text}\n## Checks\n\n| no | no |\n")
    assert main(["show", str(tmp_path), "--latex"]) == 0
    begin, top, head, middle, *body, bottom, end = capsys.readouterr().out.strip().splitlines()
    assert (begin, end) == (r"\begin{tabular}{lr}", r"\end{tabular}") and head == r"case & error | bar \\"
    assert (top, middle, bottom) == (r"\toprule", r"\midrule", r"\bottomrule") and len(body) == len(rows)
    for line, (value, error) in zip(body, rows, strict=True):
        label, number = line.removesuffix(r" \\").rsplit(" & ", 1)
        assert label == r"a\_1, 5\% \& x\^{}2, $p_t$"
        found = re.fullmatch(r"\$?(-?[\d.]+)\((\d+)\)(?: \\times 10\^\{(-?\d+)\}\$)?", number)
        digits, off, power = found[1], int(found[2]), int(found[3] or 0)
        unit = 10.0 ** (power - (len(digits.split(".")[1]) if "." in digits else 0))
        said = float(f"{error:.0e}")
        assert said * 0.999 <= off * unit <= said + unit * 1.001
        assert abs(float(digits) * 10.0**power - value) <= off * unit * 0.5001 + 1e-9 * abs(value)
    with pytest.raises(ValueError, match="RESULT: expected a folder with report"):
        latex(tmp_path / "nowhere")
    (tmp_path / "report.md").write_text("# A title\n")
    with pytest.raises(ValueError, match="RESULT: expected a study's result with a table"):
        latex(tmp_path)

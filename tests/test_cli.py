"""The command line: exit status, one clear sentence for bad input, and nothing half-written."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import fpsolve
from fpsolve import cli, studies
from fpsolve.settings import result_folder, write_all
from fpsolve.studies.config import DataSettings, StudySettings
from fpsolve.studies.report import Check, Report, Table

FILES = ["figure.pdf", "figure.png", "report.html", "report.md", "run.nc", "summary.json"]


class FakeConfig(StudySettings):
    """Settings of a study that takes no time."""

    value: float
    interrupt: bool = False
    data: DataSettings = DataSettings(columns=("waiting_min",))


def fake_run(config: FakeConfig, stages: Any) -> Report:
    with stages.total(1), stages("measuring"):
        config.data.table()
    if config.interrupt:
        raise KeyboardInterrupt
    return Report(
        study="fake", title=config.title, question=config.question, answer=("The value is $v$.",),
        checks=(Check("value", config.value, 1.0, 0.1),), table=Table(("start", "v"), (("prior", "1"),)),
        notes=("v: the value.",), figure=Figure(), caption="Nothing.", metrics={"value": config.value, "gap": np.nan},
        datasets={"": xr.Dataset({"a": ("x", np.arange(3.0))}), "more": xr.Dataset({"b": ("y", np.zeros(20_000))})},
    )  # fmt: skip


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study named "fake" beside the real ones."""
    module = ModuleType("fpsolve.studies.fake")
    vars(module).update(Config=FakeConfig, run=fake_run)
    monkeypatch.setitem(sys.modules, "fpsolve.studies.fake", module)
    names, settings = studies.names, studies.settings
    text = 'title = "A fake"\nquestion = "Is it 1?"\nvalue = 1.05\n'
    monkeypatch.setattr(studies, "names", lambda: [*names(), "fake"])
    monkeypatch.setattr(studies, "settings", lambda name: text if name == "fake" else settings(name))


def toml(folder: Path, text: str) -> str:
    path = folder / "settings.toml"
    path.write_text(text)
    return str(path)


def test_a_study_that_passes_ends_with_0_and_writes_its_five_files(fake: None, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "deep" / "results"
    assert cli.main(["study", "fake", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == FILES
    printed = capsys.readouterr().out
    assert "All 1 checks pass." in printed and str(out) in printed and "value is v" in printed
    assert all(len(line) <= 100 or str(out) in line for line in printed.splitlines())


def test_the_summary_has_the_stated_form(fake: None, tmp_path: Path) -> None:
    cli.main(["study", "fake", "--out", str(tmp_path)])
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary) == {"study", "checks", "metrics", "provenance"}
    check = {"name": "value", "value": 1.05, "reference": 1.0, "tolerance": 0.1, "verdict": "pass"}
    assert summary["study"] == "fake" and summary["checks"] == [check]
    # JSON knows no NaN
    assert summary["metrics"] == {"value": 1.05, "gap": None}
    assert summary["provenance"]["fpsolve"] == fpsolve.__version__
    assert summary["provenance"]["settings"]["value"] == 1.05


def test_the_data_are_read_back_without_loss(fake: None, tmp_path: Path) -> None:
    cli.main(["study", "fake", "--out", str(tmp_path)])
    with xr.open_dataset(tmp_path / "run.nc") as root, xr.open_dataset(tmp_path / "run.nc", group="more") as more:
        assert root["a"].values.tolist() == [0.0, 1.0, 2.0]
        assert more["b"].dtype == np.float64 and more.sizes["y"] == 20_000


@pytest.mark.parametrize("value", ["0.5", "1.2", "-1.0"])
def test_a_check_that_fails_ends_with_1(fake: None, tmp_path: Path, capsys: Any, value: str) -> None:
    config = toml(tmp_path, f'title = "A"\nquestion = "?"\nvalue = {value}\n')
    assert cli.main(["study", "fake", "--out", str(tmp_path / "out"), "--config", config]) == 1
    assert "1 of 1 checks FAIL: value." in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["checks"][0]["verdict"] == "fail"


BAD_SETTINGS = {
    "unknown key": ("value = 1\nvalues = 2\n", r"line 4, values: unknown key, perhaps 'value' is meant"),
    "missing key": ("", r"value: missing"),
    "two at once": (
        "value = 'x'\nseed = -1\n",
        r"line 3, value: expected a number, got 'x'; line 4, seed: expected a number >= 0, got -1",
    ),
    "not TOML": ("value = = 1\n", r"expected a TOML file"),
    "missing column": ("value = 1\ndata.columns = ['height']\n", r"expected a column named 'height'"),
    "missing file": ("value = 1\ndata = {file = 'no.csv', columns = ['a']}\n", r"readable CSV file, got no\.csv"),
    "infinite": ("value = inf\n", r"value: expected a finite number, got inf"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_bad_settings_end_with_2_and_one_sentence(fake: None, tmp_path: Path, capsys: Any, name: str) -> None:
    text, message = BAD_SETTINGS[name]
    config = toml(tmp_path, f'title = "A"\nquestion = "?"\n{text}')
    assert cli.main(["study", "fake", "--out", str(tmp_path / "out"), "--config", config]) == 2
    streams = capsys.readouterr()
    assert not streams.out and not (tmp_path / "out").exists()
    assert streams.err.startswith("fpsolve: error: ") and streams.err.count("\n") == 1
    assert re.search(message, streams.err), streams.err


def test_a_csv_with_a_word_in_it_ends_with_2(fake: None, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "mine.csv").write_text("a\n1\ntwo\n")
    text = f"title = 'A'\nquestion = '?'\nvalue = 1\ndata = {{file = '{tmp_path}/mine.csv', columns = ['a']}}\n"
    assert cli.main(["study", "fake", "--out", str(tmp_path / "out"), "--config", toml(tmp_path, text)]) == 2
    assert "mine.csv, line 3, column 'a': expected a finite number, got 'two'" in capsys.readouterr().err


def test_an_unknown_study_ends_with_2_and_names_the_known_ones(capsys: Any) -> None:
    assert cli.main(["study", "remembering"]) == 2
    known = ", ".join(repr(name) for name in studies.names())
    assert "'forgetting'" in known and "'step-size'" in known
    message = capsys.readouterr().err
    assert message == f"fpsolve: error: study: expected one of {known}, got 'remembering'.\n"


def test_an_unwritable_folder_ends_with_2_before_any_work(fake: None, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("here")
    config = toml(tmp_path, 'title = "A"\nquestion = "?"\nvalue = 1.0\ninterrupt = true\n')
    assert cli.main(["study", "fake", "--out", str(tmp_path / "file" / "out"), "--config", config]) == 2
    message = capsys.readouterr().err
    assert "out: expected a folder that can be written" in message and "choose another with --out DIR" in message
    assert (tmp_path / "file").read_text() == "here"


def test_an_interrupted_study_leaves_nothing_and_ends_with_130(fake: None, tmp_path: Path, capsys: Any) -> None:
    config = toml(tmp_path, 'title = "A"\nquestion = "?"\nvalue = 1.0\ninterrupt = true\n')
    assert cli.main(["study", "fake", "--out", str(tmp_path / "new" / "out"), "--config", config]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["settings.toml"]


@pytest.mark.parametrize("blow", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_writing_that_breaks_off_leaves_the_old_results_as_they_were(tmp_path: Path, blow: Any) -> None:
    def write(file: BytesIO) -> None:
        file.write(b"new")

    def break_off(file: BytesIO) -> None:
        file.write(b"half")
        raise blow

    write_all(tmp_path, {"a": lambda file: file.write(b"old")})
    with pytest.raises((KeyboardInterrupt, ValueError)):
        write_all(tmp_path, {"a": write, "b": break_off})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"
    write_all(tmp_path, {"a": write})
    assert (tmp_path / "a").read_text() == "new"


def test_trying_a_folder_leaves_no_trace(tmp_path: Path) -> None:
    result_folder(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    result_folder(tmp_path)
    assert not list(tmp_path.iterdir())


def test_studies_lists_one_line_each_and_prints_settings(capsys: Any) -> None:
    assert cli.main(["studies"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == studies.names()
    assert all(len(line) <= 100 for line in lines)
    assert cli.main(["studies", "forgetting"]) == 0
    assert "[process]" in capsys.readouterr().out
    assert cli.main(["studies", "none"]) == 2


@pytest.mark.parametrize("name", studies.names())
def test_every_key_of_a_study_is_printed_with_its_meaning(name: str, capsys: Any) -> None:
    """What is printed is the file itself to a machine; to a reader every key of the settings class has its words."""
    kind = import_module(f"fpsolve.studies.{studies.module_name(name)}").Config
    assert cli.main(["studies", name]) == 0
    text = capsys.readouterr().out
    assert tomllib.loads(text) == tomllib.loads(studies.settings(name))
    schema = kind.model_json_schema()
    groups = [schema, *(group for group in schema.get("$defs", {}).values() if "properties" in group)]
    for group in groups:
        for key, one in group["properties"].items():
            assert one.get("description"), key
            assert key in text, key
            assert one["description"] in text, key


def test_without_a_command_the_help_is_shown(capsys: Any) -> None:
    assert cli.main([]) == 2
    assert "fpsolve" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0 and fpsolve.__version__ in capsys.readouterr().out


def test_python_m_fpsolve_is_the_same_command_and_listing_stays_light() -> None:
    code = (
        "import sys; from fpsolve.cli import main; main(['studies']); "
        "print([name for name in ('numba', 'xarray', 'matplotlib', 'pydantic') if name in sys.modules])"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert listed.splitlines()[-1] == "[]"
    done = subprocess.run([sys.executable, "-m", "fpsolve", "study", "x"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "study: expected one of " in done.stderr and "got 'x'" in done.stderr


def test_ci_runs_the_command_of_the_readme() -> None:
    root = Path(fpsolve.__file__).parents[1]
    readme = root / "README.md"
    if not readme.exists() or not (root / ".ci" / "run").exists():
        pytest.skip("not in a checkout")
    blocks = readme.read_text().split("```")[1::2]
    command = blocks[1].split("\n", 1)[1].strip()
    assert command in (root / ".ci" / "run").read_text()

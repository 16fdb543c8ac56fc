"""How the command line ends: faults, closed and full outputs, signals, whatever the shell ignores."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import fpsolve
from fpsolve import cli, studies

ROOT = str(Path(fpsolve.__file__).parents[1])
FLAGS: dict[bool, list[str]] = {False: [], True: ["-u"]}
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
#: A study that says when it runs and then waits; the first line gives the child the signals that it starts with.
WAITING = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.{handler})
import fpsolve.studies.forgetting as study
def run(*_):
    print("running", flush=True)
    time.sleep(300)
study.run = run
from fpsolve.cli import main
sys.exit(main(["study", "forgetting", "--out", sys.argv[1]]))
"""


@contextmanager
def child(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A child that is ended whatever happens."""
    environment = os.environ | {"PYTHONPATH": ROOT}
    command = [sys.executable, "-c", code, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_end_every_command_with_their_number(name: str) -> None:
    # set by the child itself: a shell that runs the tests in the background has SIGINT ignored in all its children
    code = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from fpsolve import cli
def run(_):
    print("running", flush=True)
    time.sleep(300)
cli._run = run
sys.exit(cli.main([]))
"""
    with child(code) as process:
        assert process.stdout is not None and process.stdout.readline() == "running\n"
        number = signal.Signals[name]
        process.send_signal(number)
        assert process.communicate(timeout=60) == ("", "fpsolve: interrupted, no file was changed.\n")
        assert process.returncode == 128 + number


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_signal_ends_a_study_and_leaves_nothing(tmp_path: Path) -> None:
    with child(WAITING.format(handler="default_int_handler"), str(tmp_path / "a" / "out")) as process:
        assert process.stdout is not None and process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=60)
        assert (process.returncode, out) == (128 + signal.SIGTERM, "")
        assert error == "fpsolve: interrupted, no file was changed.\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_what_the_shell_ignores_stays_ignored(tmp_path: Path) -> None:
    """As under nohup, or behind &: Ctrl-C and a closed terminal are for others."""
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + WAITING.format(handler="SIG_IGN")
    with child(code, str(tmp_path / "out")) as process:
        assert process.stdout is not None and process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 128 + signal.SIGTERM


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_while_importing_prints_no_traceback() -> None:
    code = """
import builtins, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from fpsolve.cli import main
plain = builtins.__import__
def importing(name, *rest):
    if name == "argparse":
        os.kill(os.getpid(), signal.SIGINT)
    if name == "numpy":
        raise ImportError("half of numpy")
    return plain(name, *rest)
builtins.__import__ = importing
sys.exit(main(["studies"]))
"""
    with child(code) as process:
        out, error = process.communicate(timeout=60)
        assert (process.returncode, out, error) == (130, "", "fpsolve: interrupted, no file was changed.\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [["studies"], ["--help"], ["studies", "forgetting"]])
@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_full_output_is_told_of(arguments: list[str], unbuffered: bool) -> None:
    if unbuffered and arguments == ["--help"]:
        pytest.skip("argparse passes over what print raises")
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, *FLAGS[unbuffered], "-m", "fpsolve", *arguments]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT, env=BUFFERED
        )
    assert done.returncode == cli.FAULT
    assert done.stderr == "fpsolve: error: the output could not be written: No space left on device.\n"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
@pytest.mark.parametrize("unbuffered", [False, True])
def test_an_output_that_nobody_reads_ends_quietly(unbuffered: bool) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, *FLAGS[unbuffered], "-m", "fpsolve", "studies"]
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT, env=BUFFERED
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (TypeError("unsupported\noperand"), "it could not go on (TypeError: unsupported operand); --traceback shows"),
        (MemoryError(), "it could not go on (memory ran out)"),
        (RecursionError("too deep"), "it could not go on (RecursionError: too deep)"),
        (
            FileNotFoundError(2, "No such file", "a"),
            "it could not go on (FileNotFoundError: [Errno 2] No such file: 'a')",
        ),
    ],
)
def test_a_fault_has_a_sentence_and_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, fault: BaseException, told: str
) -> None:
    def run(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(studies, "run", run)
    monkeypatch.delenv("FPSOLVE_TRACEBACK", raising=False)
    assert cli.main(["study", "forgetting"]) == cli.FAULT
    error = capsys.readouterr().err
    assert error.startswith("fpsolve: error: ") and told in error and error.count("\n") == 1
    with pytest.raises(type(fault)):
        cli.main(["study", "forgetting", "--traceback"])
    monkeypatch.setenv("FPSOLVE_TRACEBACK", "1")
    with pytest.raises(type(fault)):
        cli.main(["study", "forgetting"])


def test_the_handlers_of_who_calls_main_are_left_as_they_were() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert cli.main(["studies"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_tolerance_that_is_not_met_is_marked_and_ends_with_1(tmp_path: Path, capsys: Any) -> None:
    """A budget of 8 cells: the densities are off by 0.1 where the difference of two of them says 3e-13."""
    import xarray as xr

    from fpsolve.campaign import command, settings

    text = 't_min = 0.1\ntol = [1e-2]\n[[targets]]\nkind = "gaussian"\nmean = 0\nstd = 0.5\n[[processes]]\nkind = "vp"'
    (tmp_path / "a.toml").write_text(text)
    found = settings.run(settings.read(tmp_path / "a.toml"))
    assert found.attrs["tol_missed"] == 0 and float(found.run_error.max()) <= 1e-2
    assert not any("NOT MET" in line for line in command._table(found))
    missed = found.assign(tol_met=found.tol_met.copy(data=[[[["no"]]]])).assign_attrs(tol_missed=1)
    lines = list(command._table(missed))
    assert len(lines) == 1 and "(tolerance NOT MET: the run's own estimate is " in lines[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "run", lambda *_, **__: missed)
        assert cli.main(["sweep", str(tmp_path / "a.toml"), "--out", str(tmp_path / "out")]) == 1
    assert "The tolerance was NOT MET at 1 of 1 points" in capsys.readouterr().out
    with xr.open_dataset(tmp_path / "out" / "sweep.nc") as kept:
        assert kept.attrs["tol_missed"] == 1 and kept.tol_met.item() == "no"

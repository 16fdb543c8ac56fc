"""Settings in TOML: strict, all misfits at once and in words of the file, and nothing that takes for ever."""

from pathlib import Path
from typing import Any

import pytest

from fpsolve import cli
from fpsolve.campaign import settings
from fpsolve.studies import config, options

SWEEP = """
t_min = 0.1
tol = [1e-4]
[[targets]]
kind = "gaussian"
mean = 0.5
std = 0.5
[[processes]]
kind = "vp"
"""


class Study(config.StudySettings):
    data: config.DataSettings
    weight: config.AnyWeight
    particles: config.ParticleSettings


STUDY = """
title = "A"
question = "?"
data = {columns = [1]}
weight = {power = 2}
particles = {n = 10, steps = 5, method = "euler-maruyama"}
"""


def sweep(folder: Path, text: str) -> settings.SweepSettings:
    path = folder / "a.toml"
    path.write_text(text, encoding="utf-8")
    return settings.read(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mean = 0.5", "mean = true", r"line 6, targets\.0\.mean: expected a number or a list of numbers, got true"),
        ("mean = 0.5", 'mean = "0.5"', r"targets\.0\.mean: expected a number or a list of numbers, got '0\.5'"),
        ("mean = 0.5", "mean = nan", r"mean: expected a finite number"),
        ("mean = 0.5", "mean = 2020-01-01", r"mean: expected a number or a list of numbers, got 2020-01-01"),
        ("mean = 0.5", "mean = [0.5, true]", r"mean\.1: expected a number .*, got true"),
        ("t_min = 0.1", 't_min = "0.1"', r"t_min: expected a number, got '0\.1'"),
        ("t_min = 0.1", "t_min = true", r"t_min: expected a number, got true"),
        ("t_min = 0.1", "t_min = inf", r"t_min: expected a finite number"),
        ("t_min = 0.1", "t_min = 0.1\nseed = 1.0", r"seed: expected a whole number"),
        ("t_min = 0.1", "t_min = 0.1\nseed = true", r"seed: expected a whole number"),
        ("t_min = 0.1", "t_min = 0.1\nseed = 1e60", r"seed: expected a whole number"),
        (
            "t_min = 0.1",
            f"t_min = 0.1\nseed = {2**64}",
            r"whole numbers of at most 64 bits, got .*18446744073709551616",
        ),
        ("tol = [1e-4]", "tol = 1e-4", r"tol: expected a list, got 0\.0001"),
        ("tol = [1e-4]", 'tol = [1e-4]\neta = ["1"]', r"eta\.0: expected a number"),
        ("tol = [1e-4]", "grids = [{bounds = [-6, 6], cells = 40.0, steps = 10}]", r"grids\.0\.cells: .*whole number"),
        ('kind = "vp"', "kind = 3", r"processes\.0\.kind: expected one of .*'ornstein-uhlenbeck', .*got 3"),
        ('kind = "vp"', 'kind = "vp"\nbeta = 3', r"processes\.0\.beta: unknown key, perhaps 'beta_m"),
    ],
)
def test_nothing_is_converted_in_a_sweep(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        sweep(tmp_path, SWEEP.replace(old, new, 1))
    for jargon in ("tuple", "function-", "discriminator", "tag", "validation", "dictionary", "pydantic"):
        assert jargon not in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("power = 2", "power = true", r"weight\.power: expected a number"),
        ("power = 2", 'power = "2"', r"weight\.power: expected a number"),
        ("n = 10", "n = 10.0", r"particles\.n: expected a whole number"),
        ("n = 10", "n = true", r"particles\.n: expected a whole number"),
        ('question = "?"', "question = 3", r"question: expected text in quotes"),
        ("columns = [1]", "columns = [true]", r"data\.columns\.0: "),
        ("columns = [1]", "columns = [1.0]", r"data\.columns\.0: "),
    ],
)
def test_nothing_is_converted_in_a_study(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "a.toml").write_text(STUDY.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        options.read("a", Study, tmp_path / "a.toml")


def test_whole_numbers_are_floats_and_lists_are_positions(tmp_path: Path) -> None:
    read = sweep(tmp_path, SWEEP.replace("mean = 0.5", "mean = [1, 2]").replace("std = 0.5", "std = 1"))
    assert read.targets[0].value.mean.tolist() == [1.0, 2.0] and isinstance(read.targets[0].value.std, float)
    (tmp_path / "b.toml").write_text(STUDY)
    assert options.read("a", Study, tmp_path / "b.toml").weight.power == 2.0


def test_all_misfits_are_told_at_once(tmp_path: Path) -> None:
    text = SWEEP.replace("t_min = 0.1", "t_mni = true").replace("std = 0.5", 'std = "x"').replace('"vp"', '"vq"')
    with pytest.raises(ValueError) as refused:
        sweep(tmp_path, text)
    for part in ("t_min: missing", "t_mni: unknown key", "targets.0.std: expected a number", "got 'vq'"):
        assert part in str(refused.value)
    assert str(refused.value).count("targets") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = " + b"[" * 3000 + b"]" * 3000, "a TOML file, got .* with hundreds of brackets within each other"),
        (b"a." * 3000 + b"b = 1", "FILE: expected"),
        (b"# " + b"x" * 2_000_000, "FILE: expected a TOML file of at most 1000 kB, got .* of more"),
        (b"a = 1\na = 2", "FILE: expected a TOML file, got"),
        (b"a = '\xff'", "FILE: expected a TOML file, got"),
        (b"", "t_min: missing"),
    ],
)
def test_files_that_are_too_deep_too_long_or_no_toml(tmp_path: Path, content: bytes, message: str, capsys: Any) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        settings.read(tmp_path / "a.toml")
    assert cli.main(["sweep", str(tmp_path / "a.toml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_stream_without_end_is_not_read_to_its_end() -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("no /dev/zero")
    with pytest.raises(ValueError, match="at most 1000 kB"):
        settings.read("/dev/zero")

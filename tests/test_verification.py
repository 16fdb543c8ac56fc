"""``fpsolve verify``: all reference values hold, wrong ones are told, unknown groups are refused."""

from typing import Any

import pytest

from fpsolve import cli, verification
from fpsolve.verification import _cases


@pytest.mark.parametrize("group", verification.GROUPS)
def test_every_reference_value_holds(group: str) -> None:
    checks = verification.run([group], progress=False)[group]
    for check in checks:
        print(check.record())
    assert checks and all(check.passed for check in checks)


def test_a_wrong_reference_fails_and_ends_with_1(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(_cases, "GAUSSIAN_STEPS", {"euler-maruyama": {25: 0.1490}})
    assert cli.main(["verify", "samplers"]) == 1
    assert "1 of 1 checks FAIL." in capsys.readouterr().out
    monkeypatch.setattr(_cases, "SIX_MILLIONTHS", 6.56e-6)
    failed = [check.name for check in verification.run(["distances"])["distances"] if not check.passed]
    assert failed == ["TV of the runs from p_T and N(0, 1)", "the same: true error / error bar"]


def test_a_group_passes_with_0_and_an_unknown_one_ends_with_2(capsys: Any) -> None:
    assert cli.main(["verify", "steady states"]) == 0
    out = capsys.readouterr().out
    assert "All 2 checks pass." in out and max(len(line) for line in out.splitlines()) <= 120
    assert cli.main(["verify", "everything"]) == 2
    assert "group: expected one of 'densities', " in capsys.readouterr().err

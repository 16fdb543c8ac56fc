"""The comparison of two dumps of numbers finds what it must."""

import numpy as np
import pytest
import same_numbers


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ([1.0, 2.0, np.nan], 0.0),
        ([1.0, 2.0 * (1.0 + 1e-15), np.nan], 1e-15),
        ([1.0 + 1e-9, 2.0, np.nan], 5e-10),
        ([1.0, 2.0, 0.0], np.inf),
        ([1.0, 2.0, np.inf], np.inf),
        ([1.0, np.nan, np.nan], np.inf),
        ([1.0, 2.0], np.inf),
    ],
)
def test_a_change_is_measured_against_the_largest_number(after: list[float], expected: float) -> None:
    assert same_numbers.change(np.array([1.0, 2.0, np.nan]), np.array(after)) == pytest.approx(expected, rel=0.3)


def test_a_changed_bit_a_missing_array_and_nothing_are_told_apart(tmp_path, capsys) -> None:
    one, two, three = (str(tmp_path / f"{name}.npz") for name in ("one", "two", "three"))
    np.savez(one, a=np.arange(3.0), b=np.ones(2))
    np.savez(two, a=np.array([0.0, 1.0, np.nextafter(2.0, 3.0)]), b=np.ones(2))
    np.savez(three, a=np.arange(3.0))
    assert same_numbers.compare(one, one) == 0
    assert same_numbers.compare(one, two) == 1
    assert "a: 2.22e-16" in capsys.readouterr().out
    assert same_numbers.compare(one, three) == 1
    assert "b: only in" in capsys.readouterr().out


def test_names_of_cases_are_unique() -> None:
    names = [name for name, _ in same_numbers.cases()]
    kinds = {kind: sum(name.startswith(kind) for name in names) for kind in ("run", "ladder", "kernel")}
    assert len(names) == len(set(names))
    assert kinds["run"] >= 20 and kinds["ladder"] == 5 and kinds["kernel"] == 10

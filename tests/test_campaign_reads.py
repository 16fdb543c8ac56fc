"""Resumed sweeps: what a function reads beside its arguments makes the old values stale, wherever it is read."""

import functools
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numba import njit

import fpsolve as fp

FACTOR = 2.0
TABLE = np.array([2.0, 5.0])
SETTINGS = {"factor": 2.0}


def helper(a: float) -> float:
    return FACTOR * a


def outer_helper(a: float, by: Callable[[float], float] = helper) -> float:
    return by(a)


@dataclass
class Model:
    factor: float

    def __call__(self, a: float) -> float:
        return self.factor * a


class Plain:
    factor = 2.0

    def __init__(self, factor: float) -> None:
        self.own = factor

    def value(self, a: float) -> float:
        return self.own * a


def closure(factor: Any) -> Callable[..., Any]:
    def work(a: float) -> float:
        return float(np.ravel(factor)[0] * a)

    return work


def nested(factor: float) -> Callable[..., Any]:
    def inner(a: float) -> float:
        return factor * a

    def work(a: float) -> float:
        return inner(a)

    return work


def decorated(factor: float) -> Callable[..., Any]:
    def scale(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(a: float) -> float:
            return factor * function(a)

        return wrapper

    @scale
    def work(a: float) -> float:
        return a

    return work


def compiled(factor: float) -> Callable[..., Any]:
    @njit
    def inner(a: float) -> float:
        return factor * a

    def work(a: float) -> float:
        return inner(a)

    return work


def holding(make: Callable[[float], Any]) -> Callable[[float], Callable[..., Any]]:
    """A function that reads an object."""

    def build(factor: float) -> Callable[..., Any]:
        held = make(factor)

        def work(a: float) -> float:
            found = held(a) if callable(held) else held.value(a)
            return float(found)

        return work

    return build


def law(factor: float) -> Callable[..., Any]:
    held = fp.Gaussian(0.0, std=factor)

    def work(a: float) -> float:
        return a * float(np.sqrt(held.cov))

    return work


def second(factor: float) -> Callable[..., Any]:
    one, other = closure(2.0), closure(factor)

    def work(a: float) -> float:
        return float(0.0 * one(a) + other(a))

    return work


#: By kind: what makes a function ``a -> factor a``; its results with the factors 2 and 3 share a folder.
MAKERS: dict[str, Callable[[float], Callable[..., Any]]] = {
    "closure": closure,
    "array in a closure": lambda f: closure(np.array([f])),
    "list in a closure": lambda f: closure([f]),
    "inner function": nested,
    "decorator": decorated,
    "numba": compiled,
    "partial": lambda f: functools.partial(lambda a, factor: factor * a, factor=f),
    "partial in a closure": holding(lambda f: functools.partial(np.multiply, f)),
    "dataclass": holding(Model),
    "plain object": holding(Plain),
    "bound method": holding(lambda f: Plain(f).value),
    "lambda in a closure": holding(lambda f: lambda a: f * a),
    "cached": holding(lambda f: functools.lru_cache(lambda a: f * a)),
    "law": law,
    "the second of two": second,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_another_value_is_computed_again_or_told_of(tmp_path: Path, kind: str) -> None:
    make = MAKERS[kind]
    assert fp.sweep(make(2.0), out=tmp_path, a=[1.0, 2.0]).value.values.tolist() == [2.0, 4.0]
    # the same function, made again: nothing to say
    assert fp.sweep(make(2.0), out=tmp_path, a=[1.0, 2.0]).value.values.tolist() == [2.0, 4.0]
    changed(make(3.0), tmp_path)


def changed(work: Callable[..., Any], folder: Path) -> None:
    """The values are those with the factor 3, or there is a warning."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = fp.sweep(work, out=folder, a=[1.0, 2.0]).value.values.tolist()
    told = any("was changed; they are kept" in str(one.message) for one in said)
    assert (found == [3.0, 6.0] and not said) or (found == [2.0, 4.0] and told), (found, said)


def reads_global(a: float) -> float:
    return FACTOR * a


def reads_array(a: float) -> float:
    return float(TABLE[0]) * a


def reads_dict(a: float) -> float:
    return SETTINGS["factor"] * a


def calls_helpers(a: float) -> float:
    return outer_helper(a)


def reads_class(a: float) -> float:
    return Plain.factor * a


def reads_in_comprehension(a: float) -> float:
    return sum(FACTOR * b for b in [a])


@pytest.mark.parametrize(
    ("work", "place", "name"),
    [
        (reads_global, None, "FACTOR"),
        (reads_array, None, "TABLE"),
        (reads_dict, None, "SETTINGS"),
        (calls_helpers, None, "FACTOR"),
        (reads_in_comprehension, None, "FACTOR"),
        (reads_class, Plain, "factor"),
    ],
)
def test_another_global_is_computed_again_or_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[..., Any], place: Any, name: str
) -> None:
    fp.sweep(work, out=tmp_path, a=[1.0, 2.0])
    other = {"TABLE": np.array([3.0, 5.0]), "SETTINGS": {"factor": 3.0}}.get(name, 3.0)
    if place is None:
        monkeypatch.setitem(work.__globals__, name, other)  # type: ignore[attr-defined]
    else:
        monkeypatch.setattr(place, name, other)
    changed(work, tmp_path)


@pytest.mark.parametrize("what", ["number", "function"])
def test_another_attribute_of_a_module_is_computed_again_or_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def module(factor: float) -> ModuleType:
        made = ModuleType("my_settings")
        exec(f"factor = {factor}\ndef scale(a):\n    return {factor} * a", vars(made))
        return made

    def make(factor: float) -> Callable[..., Any]:
        source = "def work(a):\n    return " + ("s.factor * a" if what == "number" else "s.scale(a)")
        space: dict[str, Any] = {"s": module(factor), "__name__": "mine"}
        exec(source, space)
        work: Callable[..., Any] = space["work"]
        return work

    fp.sweep(make(2.0), out=tmp_path, a=[1.0, 2.0])
    changed(make(3.0), tmp_path)


@pytest.mark.parametrize(
    ("one", "other"), [("np.sin(a)", "np.cos(a)"), ("(1j * a).real", "(1j * a).imag"), ("abs(a)", "int(a)")]
)
def test_another_name_called_is_computed_again_or_told_of(tmp_path: Path, one: str, other: str) -> None:
    """The instructions are the same, and nothing of the user's is read."""

    def make(called: str) -> Callable[..., Any]:
        space: dict[str, Any] = {"np": np, "__name__": "mine"}
        exec(f"def work(a):\n    return float({called})", space)
        work: Callable[..., Any] = space["work"]
        return work

    fp.sweep(make(one), out=tmp_path, a=[1.0, 2.0])
    with pytest.warns(UserWarning, match="was changed; they are kept"):
        fp.sweep(make(other), out=tmp_path, a=[1.0, 2.0])


def test_what_the_function_changes_itself_is_no_change_of_its_input(tmp_path: Path) -> None:
    calls: list[float] = []
    memory: dict[float, float] = {}

    def work(a: float) -> float:
        calls.append(a)
        return memory.setdefault(a, 2.0 * a)

    for _ in range(3):
        assert fp.sweep(work, out=tmp_path, a=[1.0, 2.0]).value.values.tolist() == [2.0, 4.0]
    assert calls == [1.0, 2.0]


def test_the_identity_of_what_is_read_is_the_same_in_every_process(tmp_path: Path) -> None:
    """A sweep resumed by a new interpreter, with a set whose order changes from one to the next."""
    (tmp_path / "mine.py").write_text(
        "import numpy as np\nimport fpsolve as fp\n"
        "SET, LAW, ARRAY = {'a', 'b', 'c', 'd'}, fp.Gaussian(0.0, std=2.0), np.arange(3.0)\n"
        "class Thing:\n    def __init__(self):\n        self.names = {'x': 1.0, 'y': [1, 2]}\n"
        "THING = Thing()\n"
        "def helper(a):\n    return a * len(SET) + THING.names['x']\n"
        "def work(a):\n    print('computed')\n    return helper(a) * LAW.cov * ARRAY[1]\n"
    )
    code = "import mine, fpsolve as fp; print(fp.sweep(mine.work, out='out', a=[1.0, 2.0]).value.values.tolist())"
    for seed, lines in (("1", 3), ("2", 1), ("3", 1)):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            env={"PYTHONPATH": f"{Path(fp.__file__).parents[1]}", "PYTHONHASHSEED": seed, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "[20.0, 36.0]" and len(done.stdout.splitlines()) == lines

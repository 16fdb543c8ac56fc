"""Border checks: what passes comes back clean, what does not is named in one sentence."""

import datetime
import io
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from fpsolve import Grid, _checks, _messages


def test_message_names_argument_expectation_value_and_remedy() -> None:
    message = str(_checks.error("std", "a number > 0", -1.0, "use the absolute value"))
    assert message == "std: expected a number > 0, got -1.0; use the absolute value."
    assert str(_checks.error("std", "a number > 0", "none")) == "std: expected a number > 0, got none."


@pytest.mark.parametrize(
    ("call", "result"),
    [
        (lambda: _checks.finite("a", np.float32(2)), 2.0),
        (lambda: _checks.positive("a", 3), 3.0),
        (lambda: _checks.non_negative("a", 0), 0.0),
        (lambda: _checks.interval("a", 1, 0.0, 1.0), 1.0),
        (lambda: _checks.integer("n", np.int64(4)), 4),
        (lambda: _checks.one_of("m", "b", ("a", "b")), "b"),
        (lambda: _checks.dimension("dim", 2), 2),
        (lambda: _checks.same_dim("law", 1, "grid", 1), 1),
        (lambda: _checks.exactly_one(tol=None, steps=3), "steps"),
    ],
)
def test_good_values_come_back(call: Any, result: Any) -> None:
    assert call() == result
    assert type(call()) is type(result)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _checks.finite("a", np.nan), "a: expected a finite number, got nan"),
        (lambda: _checks.finite("a", "1"), "a: expected a finite number, got '1'"),
        (lambda: _checks.finite("a", None), "a: expected a finite number, got None"),
        (lambda: _checks.finite("a", 1j), "a: expected a finite number, got 1j"),
        (lambda: _checks.positive("a", 0.0), "a: expected a finite number > 0, got 0.0"),
        (lambda: _checks.positive("a", True), "a: expected a finite number > 0, got True"),
        (lambda: _checks.positive("a", np.inf), "a: expected a finite number > 0, got inf"),
        (lambda: _checks.positive("a", [1.0, 2.0]), r"a: expected a finite number > 0, got \[1.0, 2.0\]"),
        (lambda: _checks.non_negative("a", -1), "a: expected a finite number >= 0, got -1"),
        (lambda: _checks.non_negative("a", np.nan), "a: expected a finite number >= 0, got nan"),
        (
            lambda: _checks.interval("a", 0.0, 0.0, 1.0, ends="(]"),
            r"a: expected a number in \(0, 1\], got 0.0",
        ),
        (
            lambda: _checks.interval("a", 1.0, 0.0, 1.0, ends="[)"),
            r"a: expected a number in \[0, 1\), got 1.0",
        ),
        (lambda: _checks.interval("a", np.nan, 0.0, 1.0), r"a: expected a number in \[0, 1\], got nan"),
        (lambda: _checks.integer("n", 1.5), "n: expected an integer >= 1, got 1.5"),
        (lambda: _checks.integer("n", 1, minimum=2), "n: expected an integer >= 2, got 1"),
        (lambda: _checks.integer("n", True), "n: expected an integer >= 1, got True"),
        (lambda: _checks.one_of("m", "c", ("a", "b")), "m: expected one of 'a', 'b', got 'c'"),
        (lambda: _checks.dimension("dim", 3), "dim: expected 1 or 2, got 3"),
        (
            lambda: _checks.same_dim("law", 1, "the grid", 2),
            "law: expected dimension 2 as the grid has, got dimension 1",
        ),
        (lambda: _checks.real_array("x", ["a"]), "x: expected an array of real numbers"),
        (
            lambda: _checks.finite_array("x", [1.0, np.nan, np.inf]),
            "x: expected finite numbers, got 2 NaN or infinite of 3",
        ),
        (
            lambda: _checks.finite_array("x", [1.0], shape=(None, 2)),
            r"x: expected an array of shape \(n, 2\), got shape \(1,\)",
        ),
        (lambda: _checks.finite_array("x", [[1.0]], shape=(None,)), r"x: expected an array of shape \(n,\)"),
        (
            lambda: _checks.points("x", [1.0, 2.0, 3.0], 2),
            r"x: expected points of shape \(..., 2\) in 2D, got shape \(3,\)",
        ),
        (lambda: _checks.points("x", 1.0, 2), "x: expected points of shape"),
        (lambda: _checks.points("x", np.nan, 1, finite_only=True), "x: expected finite numbers"),
        (
            lambda: _checks.probabilities("weights", [0.5, 0.6]),
            "weights: expected weights that sum to 1, got a sum of 1.1",
        ),
        (
            lambda: _checks.probabilities("weights", [1.5, -0.5]),
            "weights: expected weights >= 0, got a smallest weight of -0.5",
        ),
        (lambda: _checks.probabilities("weights", []), "weights: expected at least one weight"),
        (lambda: _checks.covariance("cov", [[1.0, 0.5], [0.4, 1.0]]), "cov: expected a symmetric matrix"),
        (
            lambda: _checks.covariance("cov", [[1.0, 2.0], [2.0, 1.0]]),
            "cov: expected a positive definite matrix, got a smallest eigenvalue of -1",
        ),
        (
            lambda: _checks.values_at("score", [1.0], (2,), "at t=0.5"),
            r"score at t=0.5: expected values of shape \(2,\), got shape \(1,\)",
        ),
        (
            lambda: _checks.values_at("score", [np.nan], (1,), "at t=0.5"),
            "score at t=0.5: expected finite numbers, got 1 NaN",
        ),
        (
            lambda: _checks.exactly_one(tol=None, steps=None),
            "tol / steps: expected exactly one of these, got none of them",
        ),
        (
            lambda: _checks.exactly_one(tol=1e-3, steps=4),
            "tol / steps: expected exactly one of these, got tol and steps",
        ),
        (lambda: _checks.generator("rng", None), "rng: expected a numpy.random.Generator or an integer seed"),
        (lambda: _checks.generator("rng", -1), "rng: expected a numpy.random.Generator or an integer seed"),
        (lambda: _checks.generator("rng", 0.5), "rng: expected a numpy.random.Generator or an integer seed"),
    ],
)
def test_bad_values_get_one_clear_sentence(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        call()
    text = str(caught.value)
    assert text.endswith(".") and ". " not in text and "\n" not in text


def test_arrays_come_back_as_floats() -> None:
    assert _checks.finite_array("x", [1, 2], shape=(None,)).dtype == np.float64
    assert _checks.points("x", np.zeros((3, 4, 2)), 2).shape == (3, 4, 2)
    assert _checks.points("x", np.inf, 1) == np.inf
    np.testing.assert_array_equal(_checks.probabilities("w", [0.25, 0.75]), [0.25, 0.75])
    np.testing.assert_array_equal(_checks.covariance("cov", np.eye(2)), np.eye(2))
    np.testing.assert_array_equal(_checks.values_at("score", [1, 2], (2,)), [1.0, 2.0])


#: What a conversion would turn into numbers without a word, and what the refusal calls it.
NOT_NUMBERS = [
    (np.ma.masked_array([1.0, 2.0, 1e9], [0, 0, 1]), "1 masked of 3"),
    ([np.ma.masked, 1.0], "masked"),
    (1j, "complex numbers"),
    (np.complex128(1 + 0j), "complex numbers"),
    ([1.0, 2j], "complex numbers"),
    (np.array([1.0, 2j], dtype=object), "complex numbers"),
    (["1", "2"], "text"),
    (b"1", "text"),
    ([[1.0, "2"]], "text"),
    (pd.Series(["1", "2"], dtype="category"), "text"),
    ([True, False], "booleans"),
    ([True, 2.0], "booleans"),
    (np.bool_(1), "booleans"),
    (xr.DataArray([True]), "booleans"),
    (np.array(["2020-01-01"], dtype="datetime64[D]"), "dates"),
    (pd.to_datetime(pd.Series(["2020-01-01"])), "dates"),
    ([datetime.date(2020, 1, 1)], "datetime.date"),
    (np.timedelta64(1, "D"), "durations"),
    (np.array([(1, 2.0)], dtype="i,f"), "records"),
    (None, "None"),
    ([1.0, None], "None"),
    ({1.0, 2.0}, "{1.0, 2.0}"),
    ([1, [2, 3]], "that numpy cannot read"),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("value", "called"), NOT_NUMBERS, ids=[repr(value)[:40] for value, _ in NOT_NUMBERS])
def test_what_is_not_real_numbers_is_refused_and_not_converted(value: Any, called: str) -> None:
    with pytest.raises(ValueError, match=rf"^x: expected an array of real numbers, got .*{re.escape(called)}"):
        _checks.real_array("x", value)
    if not isinstance(value, list):
        with pytest.raises(ValueError, match=r"^x: expected a finite number, got "):
            _checks.finite("x", value)


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ([1, 2.5], [1.0, 2.5]),
        (range(3), [0.0, 1.0, 2.0]),
        (np.float32(0.5), 0.5),
        (Fraction(1, 4), 0.25),
        ([Decimal("0.5"), 10**30], [0.5, 1e30]),
        (np.array([1, np.inf], dtype=object), [1.0, np.inf]),
        (np.ma.masked_array([1.0, 2.0]), [1.0, 2.0]),
        (pd.Series([1, 2], dtype="Int64"), [1.0, 2.0]),
        (xr.DataArray([[1, 2]]), [[1.0, 2.0]]),
    ],
)
def test_real_numbers_of_every_make_are_read(value: Any, right: Any) -> None:
    np.testing.assert_array_equal(_checks.real_array("x", value), right)


def test_a_float_array_is_not_copied() -> None:
    array = np.zeros(3)
    assert _checks.real_array("x", array) is array


def test_an_instance_comes_back_or_is_named() -> None:
    assert _checks.instance("n", 3, int, "an int") == 3
    with pytest.raises(ValueError, match=r"^grid: expected a Grid, got None; use Grid.uniform\.$"):
        _checks.instance("grid", None, Grid, "a Grid", "use Grid.uniform")
    with pytest.raises(ValueError, match=r"^grid: expected a Grid, got the class Grid"):
        _checks.instance("grid", Grid, Grid, "a Grid")


def test_generator_takes_generators_seeds_and_sequences() -> None:
    own = np.random.default_rng(3)
    assert _checks.generator("rng", own) is own
    seeded = [_checks.generator("rng", seed).random() for seed in (3, np.int64(3), np.random.SeedSequence(3))]
    assert seeded == [np.random.default_rng(3).random()] * 3


class Terminal(io.StringIO):
    """Standard error of somebody who watches."""

    def isatty(self) -> bool:
        return True


def test_progress_is_silent_unless_somebody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, shown in ((io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr("sys.stderr", stream)
        assert list(_messages.progress(range(3), "solving")) == [0, 1, 2]
        assert ("solving" in stream.getvalue()) is shown


def test_progress_can_be_forced_and_advanced_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with _messages.progress(10, "stepping", enabled=True) as bar:
        bar.update(10)
        bar.set_postfix_str("level 2")
    assert "stepping" in stream.getvalue() and "10/10" in stream.getvalue() and "level 2" in stream.getvalue()
    monkeypatch.setattr("sys.stderr", Terminal())
    with _messages.progress(10, "stepping", enabled=False) as bar:
        bar.update(3)
    assert not _messages.in_notebook()

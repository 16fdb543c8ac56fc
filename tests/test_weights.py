"""Weights: values, the one place that evaluates them, and their names in saved files."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fpsolve as fp
from fpsolve import weights

BUILT_IN = [
    fp.PolynomialWeight(),
    fp.PolynomialWeight(power=3, beta=0.25),
    fp.PolynomialWeight(power=1, beta=0.0),
    fp.ExponentialWeight(0.7),
    fp.UnitWeight(),
]


def test_values_in_one_dimension(rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 5))
    np.testing.assert_allclose(fp.PolynomialWeight()(x), 1 + x**2, rtol=1e-15)
    np.testing.assert_allclose(fp.PolynomialWeight(3, 0.5)(x), 1 + 0.5 * np.abs(x) ** 3, rtol=1e-14)
    np.testing.assert_allclose(fp.ExponentialWeight(2.0)(x), np.exp(2 * np.abs(x)), rtol=1e-14)
    np.testing.assert_array_equal(fp.UnitWeight()(x), np.ones((3, 5)))


def test_values_in_two_dimensions(rng: np.random.Generator) -> None:
    x = rng.normal(size=(4, 3, 2))
    radius = np.linalg.norm(x, axis=-1)
    np.testing.assert_allclose(fp.PolynomialWeight()(x, dim=2), 1 + radius**2, rtol=1e-14)
    np.testing.assert_allclose(fp.PolynomialWeight(1.5, 2.0)(x, dim=2), 1 + 2 * radius**1.5, rtol=1e-14)
    np.testing.assert_allclose(fp.ExponentialWeight(0.3)(x, dim=2), np.exp(0.3 * radius), rtol=1e-14)
    np.testing.assert_array_equal(fp.UnitWeight()(x, dim=2), np.ones((4, 3)))


def test_the_same_two_numbers_are_two_points_or_one() -> None:
    assert weights.evaluate(None, [3.0, 4.0]).tolist() == [10.0, 17.0]
    assert float(weights.evaluate(None, [3.0, 4.0], dim=2)) == 26.0


@given(x=st.floats(-1e6, 1e6), power=st.floats(0.1, 6.0), beta=st.floats(0.0, 100.0))
def test_polynomial_weights_are_at_least_one_and_even(x: float, power: float, beta: float) -> None:
    weight = fp.PolynomialWeight(power, beta)
    assert weight(x) >= 1.0
    assert weight(x) == weight(-x) == weight([0.0, x], dim=2)


@pytest.mark.parametrize("weight", [None, *BUILT_IN])
def test_evaluate_takes_grids_and_points(weight: Any) -> None:
    for grid in (fp.Grid.uniform((-2, 3), cells=7), fp.Grid.uniform([(-2, 3), (0, 1)], cells=(7, 4))):
        values = weights.evaluate(weight, grid)
        assert values.shape == grid.shape
        np.testing.assert_array_equal(values, weights.evaluate(weight, grid.x, grid.dim))
        expected = fp.PolynomialWeight(2, 1) if weight is None else weight
        np.testing.assert_array_equal(values, expected(grid.x, dim=grid.dim))


def test_a_users_callable_gets_the_points_alone() -> None:
    seen = []

    def weight(x: Any) -> Any:
        seen.append(x.shape)
        return 1.0 + np.sum(np.abs(x), axis=-1)

    grid = fp.Grid.uniform([(-1, 1), (-1, 1)], cells=(4, 6))
    assert weights.evaluate(weight, grid).max() == pytest.approx(1 + 0.75 + 5 / 6)
    assert seen == [(4, 6, 2)]


def test_rounding_below_one_is_let_through() -> None:
    assert weights.evaluate(lambda x: np.full(x.shape, 1 - 2e-16), [0.0, 1.0]).shape == (2,)


@pytest.mark.parametrize(
    ("weight", "where", "dim", "message"),
    [
        (lambda x: x**2, [0.5], 1, r"weight: expected V >= 1, got a smallest value of 0.25; use 1 \+ V\."),
        (
            lambda x: 1.0 + x**2,
            np.zeros((3, 2)),
            2,
            r"weight: expected V of shape \(3,\), got shape \(3, 2\)",
        ),
        (lambda x: 2.0, [0.5, 1.0], 1, r"weight: expected V of shape \(2,\), got shape \(\)"),
        (lambda x: np.where(x > 0, np.nan, 1.0), [0.5], 1, "weight: expected a finite V, got NaN or inf"),
        (lambda x: ["a"], [0.5], 1, "weight: expected an array of real numbers"),
        (fp.ExponentialWeight(10.0), [100.0], 1, "weight: expected a finite V, got NaN or inf; use a slower"),
        (fp.PolynomialWeight(200.0), [1e3], 1, "weight: expected a finite V"),
        (3.0, [0.5], 1, r"weight: expected a weight, a callable V\(x\) or None, got 3.0"),
        (None, [0.5, 0.2, 0.1], 2, r"x: expected points of shape \(..., 2\)"),
        (None, [np.nan], 1, "x: expected finite numbers"),
        (None, [0.5], 3, "dim: expected 1 or 2, got 3"),
        (
            None,
            fp.Grid.uniform((-1, 1), cells=4),
            2,
            "dim: expected dimension 1 as the grid has, got dimension 2",
        ),
    ],
)
def test_bad_weights_are_refused(weight: Any, where: Any, dim: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        weights.evaluate(weight, where, dim)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: fp.PolynomialWeight(power=0), "power: expected a finite number > 0"),
        (lambda: fp.PolynomialWeight(beta=-1), "beta: expected a finite number >= 0"),
        (lambda: fp.ExponentialWeight(-0.1), "rate: expected a finite number >= 0"),
        (lambda: fp.ExponentialWeight(np.inf), "rate: expected"),
    ],
)
def test_bad_parameters_are_named(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        build()


@pytest.mark.parametrize("weight", BUILT_IN)
def test_built_in_weights_survive_a_file(weight: weights.Weight) -> None:
    assert weights.from_json(weights.to_json(weight)) == weight


def test_json_of_the_default_and_of_a_callable() -> None:
    assert weights.from_json(weights.to_json(None)) == weights.DEFAULT == fp.PolynomialWeight(2, 1)
    named = json.loads(weights.to_json(np.cosh))
    assert named == {"kind": "callable", "name": "cosh"}
    for text in (weights.to_json(np.cosh), "not json", '{"kind": "polynomial", "power": -1}', "[1]", "{}"):
        with pytest.raises(ValueError, match=r"^weight: expected the JSON of a built-in weight"):
            weights.from_json(text)

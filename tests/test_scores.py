"""Scores: the exact one, and the check at the border."""

from typing import Any

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import scores
from fpsolve.scores import CheckedScore, ExactScore

TARGET = fp.GaussianMixture([0.3, 0.7], [-1.5, 0.8], stds=[0.3, 0.4])


def test_exact_is_the_gradient_of_the_log_marginal() -> None:
    score = scores.exact(TARGET, fp.VP())
    x, h = np.linspace(-3.0, 3.0, 31), 1e-4
    assert isinstance(score, ExactScore)
    for t in (0.02, 0.3, 1.0):
        p = score.marginals.law(t)
        slope = (p.log_density(x + h) - p.log_density(x - h)) / (2.0 * h)
        np.testing.assert_allclose(score(t, x), slope, rtol=1e-5, atol=1e-5)


def test_exact_in_two_dimensions_has_the_shape_of_x() -> None:
    score = scores.exact(fp.Gaussian([0.0, 1.0], std=1.0), fp.OrnsteinUhlenbeck(T=2.0))
    x = np.zeros((3, 5, 2))
    np.testing.assert_allclose(score(0.7, x), np.broadcast_to([0.0, np.exp(-0.7)], x.shape), rtol=1e-14)


def test_steins_identity() -> None:
    """E s = 0 and E x s = -1 under p_t: by quadrature on the law's own density."""
    score, x = scores.exact(TARGET, fp.VP()), np.linspace(-8.0, 8.0, 4001)
    mass = score.marginals.law(0.1).density(x) * (x[1] - x[0])
    assert mass @ score(0.1, x) == pytest.approx(0.0, abs=1e-12)
    assert mass @ (x * score(0.1, x)) == pytest.approx(-1.0, abs=1e-12)


def test_checked_passes_good_answers_on_as_floats() -> None:
    good = scores.checked(lambda t, x: [-1, 2])
    assert isinstance(good, CheckedScore) and scores.checked(good) is good
    value = good(0.1, [3.0, 4.0])
    assert value.dtype == np.float64 and value.tolist() == [-1.0, 2.0]
    single = scores.checked(lambda t, x: (-x / (1.0 + t)).astype(np.float32))
    assert single(1.0, np.ones((4, 2))).dtype == np.float64


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda t, x: np.zeros(3), r"score at t = 0.25: expected the shape of x, \(2, 2\), got \(3,\)"),
        (lambda t, x: x[..., 0], r"expected the shape of x, \(2, 2\), got \(2,\)"),
        (
            lambda t, x: np.where(x > 2.5, np.nan, x),
            "score at t = 0.25: expected finite.*2 NaN or infinite of 4.*x = 3",
        ),
        (lambda t, x: np.where(x > 3.5, np.inf, x), "score at t = 0.25: expected finite"),
        (lambda t, x: x + 0j, "score at t = 0.25: expected an array of real numbers.*complex128"),
        (lambda t, x: "no", "score at t = 0.25: expected an array of real numbers, got str"),
        (lambda t, x: [[1.0], [1.0, 2.0]], "got list that numpy cannot convert"),
        (lambda t, x: None, "got NoneType of dtype object"),
    ],
)
def test_checked_refuses_and_says_when(score: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scores.checked(score)(0.25, np.array([[1.0, 2.0], [3.0, 4.0]]))


def test_checked_refuses_what_cannot_be_called() -> None:
    with pytest.raises(ValueError, match=r"score: expected a callable score\(t, x\), got 3"):
        scores.checked(3)

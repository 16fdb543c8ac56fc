"""Dissipativity and growth: a property of the law or of the model, not of the region that was looked at."""

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import bounds


def model(score):
    """A score model that is this function at all times."""
    return fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.VP(), score=fp.scores.checked(lambda t, x: score(x), 1))


def stretched(power):
    return fp.FromLogDensity(lambda x: -(np.abs(x) ** power), dim=1)


@pytest.mark.parametrize("region", [6.2, 30.0, None])
@pytest.mark.parametrize("power", [1.2, 1.8, 1.95])
def test_lighter_than_gaussian_is_not_dissipative_on_any_region(power, region):
    """-x.s/|x|^2 = p |x|^(p - 2) falls to 0: every region returns a number, and A is 0."""
    found = bounds.assumptions(stretched(power), region=region)
    assert found.value is None and not found.certified
    assert f"dissipative tail fails by {2.0 - power:.3g}" in found.reason


@pytest.mark.parametrize("t", [0.05, 0.3])
def test_noise_does_not_make_it_dissipative(t):
    """Also where the marginal is known by quadrature, whose own tails are Gaussian."""
    assert bounds.assumptions(fp.Reverse(stretched(1.8), fp.VP()), t).value is None


def test_an_exponential_tail_that_begins_far_out():
    law = fp.FromLogDensity(lambda x: np.logaddexp(-0.5 * x**2, -40.0 - np.abs(x)), dim=1)
    assert "dissipative tail" in bounds.assumptions(law, region=6.0).reason


@pytest.mark.parametrize(
    ("score", "dissipative"),
    [
        (lambda x: -1.8 * np.sign(x) * np.abs(x) ** 0.8, False),
        (lambda x: -np.sign(x) * np.abs(x) ** 0.99, False),
        (lambda x: -5.0 * np.tanh(x / 5.0), False),
        (lambda x: -x / np.log(2.0 + np.abs(x)), False),
        (lambda x: x, False),
        (lambda x: -x * (x < 0), False),
        (lambda x: -x + 0.1 * np.sin(x), True),
        (lambda x: -x + 5.0 * np.sin(x), True),
        (lambda x: -(x**3), True),
        (lambda x: -0.5 * (x - 3.0) - np.tanh(x), True),
    ],
)
def test_the_trend_of_a_model_over_growing_radii_decides(score, dissipative):
    found = bounds.assumptions(model(score), 0.5)
    assert (found.value is not None) is dissipative, str(found)
    assert not found.certified and found.method == "fitted"
    assert found.radii[-1] == pytest.approx(4096.0 * found.region)
    far = np.concatenate([s * np.geomspace(0.01, 4000.0 * found.region, 5001) for s in (1.0, -1.0)])
    if dissipative:
        assert np.all(far * score(far) <= -found.value * far**2 + 1.02 * found.offset + 1e-6)
        assert np.all(np.abs(score(far)) <= 1.02 * found.growth * (1.0 + np.abs(far) ** found.power))


def test_growth_faster_than_a_power_is_no_polynomial():
    found = bounds.assumptions(model(lambda x: -np.sign(x) * np.exp(np.abs(x) ** 0.3) * np.abs(x)), 0.5, region=5.0)
    assert found.value is None and "polynomial growth far out" in found.reason


def test_a_score_that_refuses_points_far_out_is_not_checked_there():
    exact = fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[0.5, 0.5]), fp.VP())

    def refusing(t, x):
        if np.max(np.abs(x)) > 50.0:
            raise ValueError("x: expected points within 50")
        return exact.score(t, x)

    found = bounds.assumptions(fp.Reverse(exact.target, exact.process, score=refusing), 0.2, region=8.0)
    said = {h.name: h for h in found.checked}["dissipative tail"]
    assert said.verdict == "not checked" and "expected points within 50" in said.detail
    assert found.value is None and "dissipative tail could not be checked" in found.reason


def test_only_closed_forms_are_certificates():
    mixture = fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[0.5, 0.8])
    closed = bounds.assumptions(mixture)
    fitted = bounds.assumptions(fp.FromLogDensity(mixture.log_density, dim=1))
    assert closed.certified and not closed.unchecked
    assert fitted.value is not None and not fitted.certified and "no certificate" in fitted.statement
    # by hand: A = share/v_max, B = M^2 v_max/(4 (1 - share) v_min^2), C = max(1, M)/v_min
    assert closed.value == pytest.approx(0.5 / 0.64)
    assert closed.offset == pytest.approx(0.64 / (4 * 0.5 * 0.25**2))
    assert closed.growth == pytest.approx(1.0 / 0.25) and closed.power == 1.0


def test_closed_forms_hold_on_a_wide_line(rng):
    """Random mixtures, rare and far components among them, to a thousand times the largest scale."""
    for _ in range(40):
        k = int(rng.integers(1, 5))
        law = fp.GaussianMixture(
            rng.dirichlet(np.full(k, 0.2)) * (1 - k * 1e-9) + 1e-9, rng.normal(0, 5, k), stds=rng.uniform(0.1, 3, k)
        )
        found = bounds.assumptions(law, share=float(rng.uniform(0.1, 0.9)))
        x = np.concatenate([np.linspace(-40, 40, 8001), np.geomspace(40, 4e4, 500), -np.geomspace(40, 4e4, 500)])
        s = law.score(x)
        assert np.all(x * s <= -found.value * x**2 + found.offset * (1 + 1e-9) + 1e-9 * x**2)
        assert np.all(np.abs(s) <= found.growth * (1.0 + np.abs(x)) * (1 + 1e-9))


@pytest.mark.parametrize("degrees", [0.0, 1.4, 31.0, 46.4])
def test_the_softest_direction_of_a_narrow_correlated_score_is_found(degrees):
    """A model -C^{-1} x with standard deviations 1 and 0.01: within a degree the pull grows from 1 by a factor of 4."""
    turn = np.radians(degrees)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    precision = axes @ np.diag([1.0, 1e4]) @ axes.T
    law = fp.Gaussian([0.0, 0.0], cov=np.linalg.inv(precision))
    reverse = fp.Reverse(law, fp.VP(), score=fp.scores.checked(lambda t, x: -x @ precision, 2))
    found = bounds.assumptions(reverse, 0.0, region=8.0)
    assert found.method == "fitted" and found.value == pytest.approx(0.5, rel=1e-3)
    assert found.growth >= 1e4 * 8.0**found.power / (1.0 + 8.0**found.power) * (1.0 - 1e-4)

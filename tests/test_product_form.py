"""Product-form scores: the formula, its optimality, far out, derivatives, and what is refused."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

import fpsolve as fp
from fpsolve import scores
from fpsolve.scores import ProductField, ProductScore
from fpsolve.scores._product_form import range_levels

POINTS = fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=1e-6)
MIXTURE = fp.GaussianMixture([0.3, 0.7], [-1.5, 0.8], stds=[0.3, 0.4])
PLANE = fp.GaussianMixture(
    [0.4, 0.6], [[-1.0, 0.0], [1.0, 0.5]], covs=[[[0.2, 0.1], [0.1, 0.3]], [[0.3, 0.0], [0.0, 0.1]]]
)
EDM = fp.EDM(sigma_min=0.02, sigma_max=3.0)
LEVELS = np.geomspace(0.05, 3.0, 9)


def by_definition(target: Any, sigma: np.ndarray, loss: np.ndarray, x: np.ndarray) -> np.ndarray:
    """grad Psi / D with g = 1/sigma, level by level from the laws themselves."""
    top, below = np.zeros(x.shape), np.zeros(x.shape)
    for s, weight in zip(sigma, loss, strict=True):
        law = target.diffused(1.0, s**2)
        p = law.density(x) if target.dim == 1 else law.density(x)[..., None]
        top += weight / s * p * law.score(x)
        below += weight / s**2 * p
    return top / below


@pytest.mark.parametrize("target", [MIXTURE, PLANE, fp.Laplace(0.3, 0.7)], ids=["mixture", "plane", "laplace"])
def test_the_best_field_is_the_gradient_of_psi_over_d(target: Any) -> None:
    x = np.linspace(-3.0, 3.0, 42).reshape((-1,) if target.dim == 1 else (7, 3, 2))
    field = scores.product_form(target, EDM, levels=LEVELS).field
    np.testing.assert_allclose(field(x), by_definition(target, LEVELS, LEVELS**2, x), rtol=1e-11, atol=1e-12)


def test_other_gains_and_losses() -> None:
    x = np.linspace(-3.0, 3.0, 13)
    field = scores.product_form(MIXTURE, EDM, levels=LEVELS, loss=lambda s: s**3).field
    np.testing.assert_allclose(field(x), by_definition(MIXTURE, LEVELS, LEVELS**3, x), rtol=1e-11)
    # one level: S = score/g whatever the loss
    single = scores.product_form(MIXTURE, EDM, levels=[0.7], gain=lambda s: 5.0 + s, loss=lambda s: 0.1 + s)
    np.testing.assert_allclose(5.7 * single.field(x), MIXTURE.diffused(1.0, 0.49).score(x), rtol=1e-12)
    np.testing.assert_allclose(single(0.7, x), MIXTURE.diffused(1.0, 0.49).score(x), rtol=1e-12)


def loss_of(field: Any, target: Any, sigma: np.ndarray, x: np.ndarray) -> float:
    """sum_i sigma_i^2 E_{p_i} |S/sigma_i - grad log p_i|^2 by the trapezoidal rule on x."""
    value, total = field(x), 0.0
    for s in sigma:
        law = target.diffused(1.0, s**2)
        total += s**2 * float(np.sum(law.density(x) * (value / s - law.score(x)) ** 2) * (x[1] - x[0]))
    return total


def test_no_perturbation_has_a_lower_loss(rng: np.random.Generator) -> None:
    """The loss at S* + d exceeds that at S* by int D d^2, for random smooth d of any size."""
    x = np.linspace(-25.0, 25.0, 20_001)
    best = scores.product_form(MIXTURE, EDM, levels=LEVELS).field
    least = loss_of(best, MIXTURE, LEVELS, x)
    below = sum(MIXTURE.diffused(1.0, s**2).density(x) for s in LEVELS)
    for size in (1e-3, 1e-2, 0.1, 1.0):
        a, k, b = rng.normal(size=(3, 8))
        d = size * np.sum(a[:, None] * np.sin(k[:, None] * x + b[:, None]), axis=0)
        more = loss_of(lambda z, d=d: best(z) + d, MIXTURE, LEVELS, x) - least
        assert more > 0.0
        assert more == pytest.approx(float(np.sum(below * d**2) * (x[1] - x[0])), rel=1e-5)
    # the control: another field, the score of the middle level, is worse
    assert loss_of(lambda z: 0.4 * MIXTURE.diffused(1.0, 0.16).score(z), MIXTURE, LEVELS, x) > 1.01 * least


def test_quadrature_over_a_range_states_its_error() -> None:
    field = scores.product_form(POINTS, EDM).field
    assert isinstance(field, ProductField)
    fine = ProductField(POINTS, range_levels(0.02, 3.0, 1024, lambda s: 1.0 / s, np.square))
    x = np.linspace(-12.0, 12.0, 997)
    change = np.abs(field(x) - fine(x)).max() / np.abs(fine(x)).max()
    assert change <= 1e-9 and field.levels.error <= 1e-9
    rough = scores.product_form(POINTS, EDM, rtol=1e-2).field
    assert rough.levels.sigma.size < field.levels.sigma.size
    assert np.abs(rough(x) - fine(x)).max() / np.abs(fine(x)).max() <= rough.levels.error <= 1e-2


def test_a_range_is_the_limit_of_many_levels() -> None:
    h = 2.98 / 4000
    many = scores.product_form(MIXTURE, EDM, levels=0.02 + h * (np.arange(4000) + 0.5)).field
    x = np.linspace(-4.0, 4.0, 33)
    np.testing.assert_allclose(scores.product_form(MIXTURE, EDM).field(x), many(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("target", [MIXTURE, POINTS, PLANE], ids=["mixture", "points", "plane"])
def test_finite_forty_sigma_out(target: Any) -> None:
    out = np.array([-120.0, 40.0, 120.0]) if target.dim == 1 else np.array([[120.0, 0.0], [-120.0, 120.0]])
    field = scores.product_form(target, EDM, levels=LEVELS).field
    value = field(out)
    # there the noisiest level alone is left: S = sigma * score
    expected = 3.0 * target.diffused(1.0, 9.0).score(out)
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    assert np.isfinite(field.log_potential(out)).all() and np.isfinite(field.jacobian(out)).all()


@pytest.mark.parametrize("target", [MIXTURE, PLANE], ids=["line", "plane"])
def test_potential_and_jacobian_are_derivatives(target: Any) -> None:
    field = scores.product_form(target, EDM, levels=LEVELS).field
    x = np.linspace(-2.0, 2.0, 12).reshape((-1,) if target.dim == 1 else (-1, 2))
    h, value, ratios = 1e-5, field.jacobian(x), []
    for axis in range(target.dim):
        step = h if target.dim == 1 else h * np.eye(2)[axis]
        slope = (field(x + step) - field(x - step)) / (2.0 * h)
        np.testing.assert_allclose(value[..., axis].reshape(slope.shape), slope, atol=2e-8)
        rise = (field.log_potential(x + step) - field.log_potential(x - step)) / (2.0 * h)
        along = field(x) if target.dim == 1 else field(x)[..., axis]
        ratios.append(along / rise)
    # S = (Psi/D) grad log Psi: one positive factor along every axis
    assert np.min(ratios) > 0.0
    np.testing.assert_allclose(ratios[0], ratios[-1], rtol=1e-6)
    assert scores.product_form(fp.Laplace(0.0, 1.0), EDM, levels=LEVELS).field.jacobian(x) is None


def test_the_score_is_the_gain_times_the_field_and_goes_through_the_solver() -> None:
    score = scores.product_form(MIXTURE, EDM)
    x = np.linspace(-3.0, 3.0, 101)
    for t in (0.02, 0.5, 3.0, 0.5):
        np.testing.assert_allclose(score(t, x), score.field(x) / t, rtol=1e-14)
    reverse = fp.Reverse(MIXTURE, EDM, score=score)
    run = fp.evolve(reverse, {"exact": reverse.marginal(3.0)}, t_min=0.1, tol=1e-3)
    assert run.attrs["tol_met"] == "yes"
    assert float(abs(run.mass - 1.0).max()) < 1e-10


@pytest.mark.parametrize("target", [MIXTURE, PLANE, fp.Laplace(0.3, 0.7)], ids=["line", "plane", "laplace"])
def test_divergence_is_the_sum_of_slopes(target: Any) -> None:
    score = scores.product_form(target, EDM, levels=LEVELS)
    x = np.linspace(-2.0, 1.0, 12).reshape((-1,) if target.dim == 1 else (3, 2, 2))
    slope, h = np.zeros(x.shape if target.dim == 1 else x.shape[:-1]), 1e-5
    for axis in range(target.dim):
        step = h if target.dim == 1 else h * np.eye(2)[axis]
        change = (score(0.5, x + step) - score(0.5, x - step)) / (2.0 * h)
        slope += change if target.dim == 1 else change[..., axis]
    np.testing.assert_allclose(score.divergence(0.5, x), slope, atol=1e-7)
    # the same by differences, for a field whose Jacobian nobody knows
    other = scores.product_form(target, EDM, field=lambda z: score.field(z))
    np.testing.assert_allclose(other.divergence(0.5, x), slope, atol=1e-7)


def test_time_of_the_autonomous_flow() -> None:
    assert scores.product_form(MIXTURE, EDM).duration(0.02) == pytest.approx(2.98, rel=1e-15)
    ve = fp.VE(sigma_min=0.1, sigma_max=3.0)
    assert scores.product_form(MIXTURE, ve).duration(0.2) == pytest.approx(
        np.sqrt(ve.variance(0.0, 1.0)) - np.sqrt(ve.variance(0.0, 0.2)), rel=1e-12
    )
    # g = 1/sigma^2: int dsigma/sigma
    squared = scores.product_form(MIXTURE, EDM, levels=LEVELS, gain=lambda s: s**-2.0)
    assert squared.duration(0.02, 2.0) == pytest.approx(np.log(100.0), rel=1e-10)


def test_a_field_of_the_users_own() -> None:
    score = scores.product_form(MIXTURE, EDM, field=lambda x: -x)
    assert isinstance(score, ProductScore)
    assert float(score(0.5, 3.0)) == -6.0


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "both": ({"levels": [1.0], "span": (0.1, 1.0)}, r"levels / span: expected at most one of these, got both"),
    "negative level": ({"levels": [-1.0, 2.0]}, r"levels: expected at least one standard deviation > 0, got -1"),
    "no level": ({"levels": []}, r"levels: expected at least one standard deviation > 0, got none"),
    "swapped span": ({"span": (3.0, 0.1)}, r"span: expected 0 < low < high, got \(3, 0.1\)"),
    "NaN": ({"levels": [np.nan]}, r"levels: expected finite numbers"),
    "negative loss": ({"levels": [1.0, 2.0], "loss": lambda s: s - 1.5}, r"loss\(1\): expected a number > 0, got -0.5"),
    "shape of gain": ({"levels": [1.0, 2.0], "gain": lambda s: 1.0}, r"gain: expected values of shape"),
    "field and levels": ({"field": np.negative, "levels": [1.0]}, r"field: expected neither levels nor span nor loss"),
    "no field": ({"field": 3}, r"field: expected a callable S\(x\), got 3"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_one_sentence(name: str) -> None:
    arguments, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        scores.product_form(MIXTURE, EDM, **arguments)


def test_a_process_that_shrinks_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match=r"process: expected one that only adds noise.*got VP; use VE or EDM"):
        scores.product_form(MIXTURE, fp.VP())


def test_two_data_points_merge_where_a_formula_says() -> None:
    """``Psi''(0) ~ h(sigma_max) - h(sigma_min)``, ``h = exp(-1/(2 s^2))/s``: 0 turns from repelling to attracting."""

    def slope(low: float) -> float:
        return float(scores.product_form(POINTS, EDM, span=(low, 3.0)).field.jacobian(0.0)[0, 0])

    def h(s: float) -> Any:
        return np.exp(-0.5 / s**2) / s

    merge = brentq(slope, 0.3, 0.9, xtol=1e-13)
    assert merge == pytest.approx(brentq(lambda low: h(low) - h(3.0), 0.3, 0.9, xtol=1e-14), abs=1e-10)
    for low, kinds in ((merge - 0.01, ["attracting", "repelling", "attracting"]), (merge + 0.01, ["attracting"])):
        found = fp.flows.stationary_points(scores.product_form(POINTS, EDM, span=(low, 3.0)), (-2.0, 2.0))
        assert list(found.kind) == kinds

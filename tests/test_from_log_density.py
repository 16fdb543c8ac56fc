"""Laws from a log density: normalisation, moments, kinks, samples and refusals."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.stats as st
from scipy.integrate import quad
from scipy.special import gamma

import fpsolve as fp
from fpsolve.laws import Law

KNOWN: dict[str, tuple[Law, float]] = {
    # law and the relative accuracy asked of the normalisation
    "mixture": (fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5]), 1e-12),
    "spike": (fp.GaussianMixture([0.5, 0.5], [0.0, 3.0], stds=[0.01, 1.0]), 1e-12),
    "far": (fp.Gaussian(100.3, std=0.1), 1e-11),
    "t": (fp.StudentT(5.0), 1e-11),
    "cauchy": (fp.StudentT(1.0), 1e-8),  # a mass of 6e-9 lies beyond 1e8
    "laplace": (fp.Laplace(0.3, 0.7), 1e-10),
    "laplace-at-0": (fp.Laplace(), 1e-10),
    "uniform": (fp.Uniform(-1.0, 2.1), 1e-12),
    "mixture-2d": (
        fp.GaussianMixture([0.3, 0.7], [[-2, 0], [2, 1]], covs=[[[0.3, 0.1], [0.1, 0.2]], [[0.5, -0.3], [-0.3, 0.4]]]),
        1e-11,
    ),
    "rotated-2d": (fp.Gaussian([1.0, 2.0], cov=[[1.0, 0.95], [0.95, 1.0]]), 1e-11),
    "far-2d": (fp.Gaussian([30.0, -20.0], std=0.1), 1e-10),
    "laplace-2d": (fp.Laplace([0.1, 0.0], [1.0, 0.5]), 1e-10),
    "uniform-2d": (fp.Uniform([-1.0, 0.0], [2.0, 1.1]), 1e-11),
}


@pytest.fixture(scope="module")
def rebuilt() -> dict[str, fp.FromLogDensity]:
    return {name: fp.FromLogDensity(_shifted(law), law.dim) for name, (law, _) in KNOWN.items()}


def _shifted(law: Law) -> Callable[[Any], Any]:
    return lambda x: law.log_density(x) + 7.0


@pytest.mark.parametrize("name", KNOWN)
def test_normalisation_and_moments(name: str, rebuilt: dict[str, fp.FromLogDensity]) -> None:
    (law, accuracy), found = KNOWN[name], rebuilt[name]
    assert found.log_constant == pytest.approx(7.0, abs=accuracy)
    x = law.sample(50, 1)
    np.testing.assert_allclose(found.log_density(x), law.log_density(x), rtol=0.0, atol=accuracy)
    if name != "cauchy":
        np.testing.assert_allclose(found.mean, law.mean, atol=1e-8)
        np.testing.assert_allclose(found.cov, law.cov, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", KNOWN)
def test_score_by_differences(name: str, rebuilt: dict[str, fp.FromLogDensity]) -> None:
    law, found = KNOWN[name][0], rebuilt[name]
    x = law.sample(20, 2)
    exact = law.score(x)
    np.testing.assert_allclose(found.score(x), exact, rtol=1e-7, atol=1e-7 * (1.0 + np.abs(exact).max()))
    assert found.score(x[:2]).shape == x[:2].shape


@pytest.mark.parametrize("name", KNOWN)
def test_smallest_std_sees_the_narrowest_feature(name: str, rebuilt: dict[str, fp.FromLogDensity]) -> None:
    law, found = KNOWN[name][0], rebuilt[name]
    if law.smallest_std == 0.0:
        assert found.smallest_std == 0.0  # kinks and jumps are noticed
    else:
        # differences along the axes: a rotated ridge looks wider by at most sqrt 2
        assert 0.95 * law.smallest_std <= found.smallest_std <= 1.45 * law.smallest_std


@pytest.mark.parametrize("name", ["mixture", "spike", "t", "laplace", "uniform"])
def test_samples_without_a_sampler(name: str, rebuilt: dict[str, fp.FromLogDensity]) -> None:
    law, draws = KNOWN[name][0], rebuilt[name].sample(40_000, 5)
    np.testing.assert_array_equal(draws[:5], rebuilt[name].sample(40_000, np.random.default_rng(5))[:5])
    faces = np.linspace(-8.0, 8.0, 801)
    cdf = np.cumsum(law.cell_probabilities(np.concatenate([[-np.inf], faces])))
    empirical = np.searchsorted(np.sort(draws), faces, side="right") / draws.size
    assert np.abs(empirical - cdf).max() < np.sqrt(np.log(2.0 / 1e-4) / (2.0 * draws.size))


def test_a_sampler_is_used_and_checked(rebuilt: dict[str, fp.FromLogDensity]) -> None:
    normal = fp.FromLogDensity(lambda x: -0.5 * (x**2).sum(axis=-1), 2, sampler=lambda n, rng: rng.normal(size=(n, 2)))
    assert st.kstest(normal.sample(5000, 0)[:, 1], "norm").pvalue > 1e-4
    for answer, message in ((np.zeros(3), r"values of shape \(3, 2\)"), (np.full((3, 2), np.nan), "finite")):
        bad = fp.FromLogDensity(lambda x: -0.5 * (x**2).sum(axis=-1), 2, sampler=lambda n, rng, a=answer: a)
        with pytest.raises(ValueError, match=message):
            bad.sample(3, 0)
    with pytest.raises(ValueError, match="sampler: expected a callable"):
        rebuilt["mixture-2d"].sample(3, 0)


def test_a_user_density_may_underflow_or_overflow_far_out() -> None:
    naive = fp.FromLogDensity(lambda x: np.log(np.exp(-0.5 * (x - 1) ** 2) + np.exp(-0.5 * (x + 1) ** 2)), 1)
    assert naive.log_constant == pytest.approx(np.log(2.0 * np.sqrt(2.0 * np.pi)), abs=1e-11)
    assert (naive.mean, naive.cov) == pytest.approx((0.0, 2.0), abs=1e-10)
    steep = fp.FromLogDensity(lambda x: -np.cosh(np.clip(x, -700.0, 700.0)), 1)
    assert np.isfinite(steep.log_constant)


def test_no_closed_forms() -> None:
    law = fp.FromLogDensity(lambda x: -0.5 * x**2, dim=1)
    assert law.diffused(1.0, 1.0) is None and law.cell_probabilities([0.0, 1.0]) is None and law.components is None
    assert law.axis_marginal(0) is law
    assert fp.FromLogDensity(lambda x: -0.5 * (x**2).sum(axis=-1), 2).axis_marginal(0) is None


@pytest.mark.parametrize(
    ("log_density", "dim", "message"),
    [
        (3.0, 1, "log_density: expected a callable"),
        (lambda x: -(x**2), 3, "dim: expected 1 or 2"),
        (lambda x: np.where(np.abs(x) > 5.0, np.nan, 0.0), 1, "expected numbers or -inf, got nan at x = -9"),
        (lambda x: np.where(x > 50.0, np.inf, -(x**2)), 1, "expected numbers or -inf, got inf"),
        (lambda x: -(x[:-1] ** 2), 1, r"expected values of shape \(4097,\), got \(4096,\)"),
        (lambda x: np.zeros_like(x), 1, "expected an integrable density, got 0.4"),
        (lambda x: -np.log(1.0 + np.abs(x[:, 0])) - x[:, 1] ** 2, 2, "mass beyond 5e7 on axis 0"),
        (lambda x: np.full(x.shape, -np.inf), 1, "got -inf at every probe"),
        (lambda x: np.full(x.shape[0], -np.inf), 2, "got -inf at every probe"),
    ],
)
def test_bad_functions(log_density: Any, dim: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fp.FromLogDensity(log_density, dim)


def test_score_outside_of_the_support() -> None:
    law = fp.FromLogDensity(lambda x: np.where(np.abs(x) <= 1.0, 0.0, -np.inf), 1)
    assert law.score(0.3) == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match="inside of the support"):
        law.score(2.0)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: -(np.sqrt(1.0 + x * x) ** 0.8),
        lambda x: -np.sqrt(np.abs(x)),
        lambda x: -(x**4),
        lambda x: -(x**2) - 0.1 * x**4,
        lambda x: -(x**6),
        lambda x: -np.cosh(x),
        lambda x: -((1.0 + (x - 50.0) ** 2) ** 0.3),
    ],
    ids=["stretched", "square root", "quartic", "quadratic and quartic", "sextic", "cosh", "far and stretched"],
)
def test_tails_that_are_not_concave_or_fall_off_fast_are_integrated(f: Any) -> None:
    ends = [-np.inf, -1e3, -20.0, -1.0, 0.0, 1.0, 20.0, 49.0, 50.0, 51.0, 80.0, 1e3, np.inf]

    def integral(power: int) -> float:
        with np.errstate(over="ignore"):
            parts = [
                quad(lambda x: x**power * np.exp(f(x) - f(0.5)), a, b, limit=200, epsabs=1e-13, epsrel=1e-12)[0]
                for a, b in pairwise(ends)
            ]
        return sum(parts)

    law = fp.FromLogDensity(f, dim=1)
    mass, first, second = integral(0), integral(1), integral(2)
    assert law.log_constant == pytest.approx(np.log(mass) + f(0.5), abs=1e-9)
    assert law.mean == pytest.approx(first / mass, abs=1e-8)
    assert law.cov + law.mean**2 == pytest.approx(second / mass, rel=1e-8)


def test_such_tails_are_integrated_in_the_plane() -> None:
    radial = quad(lambda r: 2.0 * np.pi * r * np.exp(-((1.0 + r * r) ** 0.4)), 0.0, np.inf, limit=200)[0]
    assert fp.FromLogDensity(lambda x: -((1.0 + (x**2).sum(-1)) ** 0.4), 2).log_constant == pytest.approx(
        np.log(radial), abs=1e-7
    )
    quartic = fp.FromLogDensity(lambda x: -(x**4).sum(-1), 2)
    assert quartic.log_constant == pytest.approx(2.0 * np.log(2.0 * gamma(1.25)), abs=1e-10)

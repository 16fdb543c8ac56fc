"""Moments over the whole line, whether they are finite, and the weighted inequalities that stand on them.

Everything is held against scipy's adaptive quadrature over the line, or against formulas.
"""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

import fpsolve as fp
from fpsolve import bounds, weights
from fpsolve.bounds import _line, _moments
from fpsolve.laws import Tail

GRID = fp.Grid.uniform((-9, 9), cells=300)
NARROW = fp.Grid.uniform((-4, 4), cells=100)
LAWS = {
    "mixture": fp.GaussianMixture([0.3, 0.7], [-1.5, 0.8], stds=[0.3, 0.4]),
    "rare": fp.GaussianMixture([1 - 1e-6, 1e-6], [0.0, 60.0], stds=[0.3, 2.0]),
    "kernel density": fp.KernelDensity(np.random.default_rng(1).normal(size=30)),
    "laplace": fp.Laplace(0.3, 0.5),
    "uniform": fp.Uniform(-1.0, 2.0),
    "t": fp.StudentT(6.5),
    "log density": fp.FromLogDensity(lambda x: -(np.abs(x) ** 1.8), dim=1),
}


def integral(f, law):
    """Over the line by scipy, in pieces around every place where the law has mass."""
    centres = [0.0, 60.0] if law is LAWS["rare"] else [float(law.mean)]
    around = (0, 0.3, 0.5, 1, 2, 3, 6, 12, 40)
    ends = sorted({0.0} | {c + sign * d for c in centres for d in around for sign in (-1, 1)})
    pieces = [(-np.inf, ends[0]), *pairwise(ends), (ends[-1], np.inf)]
    return sum(quad(f, a, b, epsabs=0.0, epsrel=1e-10, limit=200)[0] for a, b in pieces)


@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
@pytest.mark.parametrize("t", [0.0, 0.1])
@pytest.mark.parametrize("name", LAWS)
def test_second_moments_are_those_of_the_line(name, t):
    law = fp.Reverse(LAWS[name], fp.VP()).marginal(t)
    for weight in (fp.PolynomialWeight(2, 0.5), fp.PolynomialWeight(1.3), fp.UnitWeight(), lambda x: 1 + 0.1 * x**2):
        # a box that cuts off what it likes changes nothing in 1D
        found = _moments.second_moment(law, weight, NARROW)

        def integrand(x, weight=weight):
            return float(law.density(x)) * float(weights.evaluate(weight, x)) ** 2

        assert found.value == pytest.approx(integral(integrand, law), rel=1e-7), name
        assert found.margin >= 0.0
        assert bool(found.unchecked) == (not isinstance(weight, fp.weights.Weight))


def test_the_moments_of_the_plane():
    law = fp.GaussianMixture([0.4, 0.6], [[1.0, 0.0], [-1.0, 0.5]], covs=[[[0.5, 0.2], [0.2, 0.3]], np.eye(2) * 0.2])
    draws = law.sample(400_000, np.random.default_rng(3))
    square = (draws**2).sum(axis=1)
    found = _moments.second_moment(law, fp.PolynomialWeight(2, 0.5), fp.Grid.uniform([(-1, 1), (-1, 1)], cells=8))
    assert found.value == pytest.approx(np.mean((1 + 0.5 * square) ** 2), rel=0.02)
    log_mean = np.log(np.mean(np.exp(2 * 0.2 * (1 + 0.5 * square))))
    assert _moments.log_exponential_moment(law, fp.PolynomialWeight(2, 0.5), 0.2, False) == pytest.approx(
        log_mean, rel=0.02
    )
    # other weights: in the box, and only where nothing is left around it
    wide, narrow = (fp.Grid.uniform([(-h, h), (-h, h)], cells=48) for h in (7, 1.5))
    assert _moments.second_moment(law, fp.PolynomialWeight(1, 1.0), wide).margin >= 0.0
    assert _moments.second_moment(law, fp.PolynomialWeight(1, 1.0), narrow).margin < 0.0


@pytest.mark.parametrize(
    ("law", "weight", "finite"),
    [
        (fp.StudentT(4.0), fp.PolynomialWeight(2), False),
        (fp.StudentT(4.5), fp.PolynomialWeight(2), True),
        (fp.StudentT(30.0), fp.ExponentialWeight(0.01), False),
        (fp.Laplace(0.0, 1.0), fp.ExponentialWeight(0.49), True),
        (fp.Laplace(0.0, 1.0), fp.ExponentialWeight(0.51), False),
        (fp.Gaussian(0.0, std=1.0), fp.ExponentialWeight(5.0), True),
        (fp.FromLogDensity(lambda x: -2.4 * np.log1p(x**2), dim=1), fp.PolynomialWeight(2), False),
        (fp.FromLogDensity(lambda x: -np.sqrt(1 + x**2), dim=1), fp.ExponentialWeight(0.51), False),
    ],
    ids=repr,
)
@pytest.mark.parametrize("t", [0.0, 0.2])
def test_whether_a_second_moment_is_finite(law, weight, finite, t):
    alpha = float(fp.VP().scale(0.0, t))
    if isinstance(weight, fp.ExponentialWeight) and law.tail.power == 1.0:
        weight = fp.ExponentialWeight(weight.rate / alpha)
    found = _moments.second_moment(fp.Reverse(law, fp.VP()).marginal(t), weight, GRID)
    assert np.isfinite(found.value) == finite == (found.margin >= 0.0)


@pytest.mark.parametrize(("rate", "finite"), [(0.2, True), (0.3, False)])
def test_a_steep_weight_given_as_a_function_has_no_second_moment(rate, finite):
    """``E exp(2 r X^2)`` of a standard normal law is finite for r < 1/4."""
    found = _moments.second_moment(fp.Gaussian(0.0, std=1.0), lambda x: np.exp(rate * x**2), GRID)
    assert np.isfinite(found.value) == finite == (found.margin >= 0.0) and found.unchecked
    if finite:
        assert found.value == pytest.approx((1.0 - 4.0 * rate) ** -0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("function", "power", "rate"),
    [
        (lambda x: -(np.abs(x) ** 1.8), 1.8, 1.0),
        (lambda x: -0.5 * (x - 3) ** 2, 2.0, 0.5),
        (lambda x: np.logaddexp(-0.5 * (x - 3) ** 2, -0.1 * (x + 30) ** 2), 2.0, 0.1),
        (lambda x: -3 * np.abs(x) * np.where(x > 0, 1, 0.5), 1.0, 1.5),
        (lambda x: -2.5 * np.log1p(x**2), 0.0, 5.0),
        (lambda x: np.where(np.abs(x) < 1, 0.0, -np.inf), np.inf, np.inf),
    ],
)
def test_the_tail_of_a_log_density_is_read_far_out(function, power, rate):
    found = fp.FromLogDensity(function, dim=1).tail
    assert not found.known
    assert found.power == pytest.approx(power, abs=1e-6)
    assert found.rate == pytest.approx(rate, rel=1e-5)


@pytest.mark.parametrize("power", [0.5, 0.9, 0.98, 1.02])
def test_stretched_exponentials_are_told_from_exponential_tails(power):
    found = fp.FromLogDensity(lambda x: -((1.0 + x**2) ** (power / 2)), dim=1).tail
    assert found.power == pytest.approx(power, abs=1e-6) and found.rate == pytest.approx(1.0, rel=1e-4)


def test_noise_leaves_the_slower_of_two_tails():
    gauss, exponential = Tail(2.0, 0.5 / 0.3), Tail(1.0, 2.0)
    assert gauss.diffused(0.5, 0.2) == Tail(2.0, 0.5 / (0.25 * 0.3 + 0.2))
    assert exponential.diffused(0.5, 0.2) == Tail(1.0, 4.0)
    assert Tail(np.inf, np.inf).diffused(0.5, 0.2) == Tail(2.0, 2.5)
    assert Tail(0.0, 5.0).diffused(0.5, 0.2) == Tail(0.0, 5.0)


# exponential moments


@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
@pytest.mark.parametrize("name", ["mixture", "uniform", "kernel density"])
def test_exponential_moments_are_those_of_the_line(name):
    law = LAWS[name]
    root = fp.PolynomialWeight(0.7)
    for weight, square in ((fp.PolynomialWeight(2, 0.1), False), (fp.PolynomialWeight(1, 0.3), True), (root, True)):
        for c in (0.05, 0.4):

            def integrand(x, weight=weight, square=square, c=c):
                v = float(weights.evaluate(weight, x))
                return float(np.exp(law.log_density(x) + ((c * v) ** 2 if square else 2 * c * v)))

            expected = np.log(integral(integrand, law))
            assert _moments.log_exponential_moment(law, weight, c, square) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("half", [5, 8, 20, 40])
def test_no_box_makes_an_infinite_moment_finite(half):
    """V = 1 + 0.01 x^2 against Gaussian tails: int e^{(cV)^2} is infinite for every c."""
    grid, weight = fp.Grid.uniform((-half, half), cells=400), fp.PolynomialWeight(2, 0.01)
    mu, nu = fp.Gaussian(0.0, std=1.0), fp.Gaussian(0.1, std=1.0)
    for pair in ((mu, nu), tuple(grid.cell_average(law) for law in (mu, nu))):
        found = bounds.weighted_pinsker(0.005, *pair, grid, weight)
        assert found.square_exponential == np.inf
        # sqrt(2 (mu(V^2) + nu(V^2)) KL): 1 + 0.02 m2 + 1e-4 m4
        seconds = sum(1 + 0.02 * (1 + m**2) + 1e-4 * (3 + 6 * m**2 + m**4) for m in (0.0, 0.1))
        assert found.hellinger == pytest.approx(np.sqrt(2 * seconds * 0.005), rel=1e-4)
        assert found.best == min(found.hellinger, found.exponential)
    assert found.exponential == np.inf and "its cells say nothing" in found.unchecked[-1]


@pytest.mark.parametrize(
    ("nu", "weight"),
    [
        (fp.Laplace(), fp.PolynomialWeight(2)),
        (fp.StudentT(8.0), fp.PolynomialWeight(1, 0.01)),
        (fp.Gaussian(0.0, std=1.0), fp.ExponentialWeight(0.01)),
        (fp.Gaussian(0.0, std=1.0), lambda x: 1 + 0.01 * x**2),
    ],
)
def test_where_nothing_is_finite_or_known_only_second_moments_are_left(nu, weight):
    found = bounds.weighted_pinsker(0.01, nu, nu, GRID, weight)
    assert found.exponential == found.square_exponential == np.inf
    assert np.isfinite(found.hellinger) and found.best == found.hellinger


def test_a_box_that_does_not_hold_the_cells_gives_no_bound():
    law = fp.GaussianMixture([0.99, 0.01], [0.0, 30.0], stds=[1.0, 1.0])
    p = GRID.cell_average(law)
    assert bounds.weighted_pinsker(0.01, p, p, GRID).best == np.inf
    assert np.isfinite(bounds.weighted_pinsker(0.01, law, law, GRID).best)


def test_the_inequalities_of_bolley_and_villani_to_every_digit():
    """V = 1 makes all moments known: both constants and the factor 3/2 are pinned."""
    kl, law = 0.3, fp.Gaussian(0.0, std=1.0)
    found = bounds.weighted_pinsker(kl, law, law, GRID, fp.UnitWeight())
    c = np.geomspace(1e-3, 1e2, 101)
    assert found.hellinger == pytest.approx(2 * np.sqrt(kl), rel=1e-12)
    assert found.exponential == pytest.approx(np.min((1.5 + 2 * c) * (np.sqrt(kl) + kl / 2) / c), rel=1e-12)
    assert found.square_exponential == pytest.approx(np.min(np.sqrt(2 * (1 + c**2) * kl) / c), rel=1e-12)
    # V = 1 + b x^2, N(0, v): log int e^{2cV} = 2c - log(1 - 4 c b v)/2
    b, v = 0.05, 1.0
    found = bounds.weighted_pinsker(kl, law, law, GRID, fp.PolynomialWeight(2, b))
    c = c[4 * c * b * v < 1]
    moment = 2 * c - 0.5 * np.log(1 - 4 * c * b * v)
    assert found.exponential == pytest.approx(np.min((1.5 + moment) * (np.sqrt(kl) + kl / 2) / c), rel=1e-12)


def test_bad_entropies_are_refused():
    for kl in (-0.1, np.nan):
        with pytest.raises(ValueError, match="kl: expected a relative entropy >= 0"):
            bounds.weighted_pinsker(kl, LAWS["mixture"], LAWS["mixture"], GRID)
    assert bounds.weighted_pinsker(np.inf, LAWS["mixture"], LAWS["mixture"], GRID).best == np.inf
    assert bounds.weighted_pinsker(0.0, LAWS["mixture"], LAWS["mixture"], GRID).best == 0.0


def test_the_rule_integrates_every_law_to_one():
    for law in LAWS.values():
        line = _line.Line.of(law)
        assert abs(np.expm1(line.log_integral(law.log_density(line.x)))) <= 1e-9


@pytest.mark.parametrize(("rate", "finite"), [(0.25, False), (0.26, False), (0.3, False), (0.2, True), (0.125, True)])
def test_a_function_whose_square_grows_as_fast_as_the_law_falls_gives_no_bound(rate, finite):
    laws = fp.Gaussian(0.0, std=1.0), fp.Gaussian(0.1, std=1.0)
    found = bounds.weighted_pinsker(0.005, *laws, GRID, lambda x: np.exp(rate * x**2))
    assert found.status == ("certified" if finite else "no certificate")
    if finite:  # E exp(2 r X^2) = exp(2 r m^2/(1 - 4 r))/sqrt(1 - 4 r)
        squares = sum(np.exp(2 * rate * m**2 / (1 - 4 * rate)) / np.sqrt(1 - 4 * rate) for m in (0.0, 0.1))
        assert np.isclose(found.hellinger, np.sqrt(2.0 * squares * 0.005), rtol=1e-9)


def test_a_function_that_is_large_where_a_law_ends_has_a_moment():
    found = bounds.weighted_pinsker(
        0.1, *(fp.Uniform(-1.0, high) for high in (1.5, 2.0)), GRID, lambda x: np.exp(5 * abs(x))
    )
    squares = sum(((np.expm1(10.0) + np.expm1(10 * high)) / 10.0) / (1.0 + high) for high in (1.5, 2.0))
    assert np.isclose(found.hellinger, np.sqrt(2.0 * squares * 0.1), rtol=1e-9)

"""The Poincare bound: its terms by hand, its constant certified or called an estimate, its integrals over the line."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import eigh_tridiagonal

import fpsolve as fp
from fpsolve import bounds

GRID = fp.Grid.uniform((-12, 12), cells=400)


def by_hand(m, v, t0, t1, mu, s2, beta):
    """All three factors for N(m, v) under the linear VP, a start N(mu, s2) and V = 1 + beta x^2."""

    def area(t):
        return 0.1 * t + 0.5 * 19.9 * t * t

    a0, a1 = math.exp(-area(t0)), math.exp(-area(t1))  # alpha(0, t)^2
    v0, v1, m0, m1 = a0 * v + 1 - a0, a1 * v + 1 - a1, m * math.sqrt(a0), m * math.sqrt(a1)
    contraction = math.sqrt(a0 / a1) * math.sqrt(v1 / v0)
    # int q^2/p - 1 for Gaussians: w = 1/(2/s2 - 1/v0)
    w = 1.0 / (2.0 / s2 - 1.0 / v0)
    shift = 2.0 * mu / s2 - m0 / v0
    exponent = 0.5 * w * shift**2 - mu**2 / s2 + 0.5 * m0**2 / v0
    chi = math.sqrt(math.sqrt(v0 * w) / s2 * math.exp(exponent) - 1.0)
    moment = math.sqrt(1 + 2 * beta * (v1 + m1**2) + beta**2 * (3 * v1**2 + 6 * v1 * m1**2 + m1**4))
    return contraction, chi, moment


@pytest.mark.parametrize(("t0", "t1", "mu", "s2", "beta"), [(1.0, 0.1, 0.3, 0.9, 1.0), (0.5, 0.2, -0.4, 1.3, 0.2)])
def test_every_factor_by_hand(t0, t1, mu, s2, beta):
    reverse = fp.Reverse(fp.Gaussian(0.5, std=0.6), fp.VP())
    start = fp.Gaussian(mu, cov=s2)
    found = bounds.poincare(reverse, t0, t1, grid=GRID, start=start, weight=fp.PolynomialWeight(2, beta))
    contraction, chi, moment = by_hand(0.5, 0.36, t0, t1, mu, s2, beta)
    assert found.constant == pytest.approx(0.36) and found.method == "closed form" and not found.estimated
    assert found.contraction == pytest.approx(contraction, rel=1e-12)
    assert found.chi == pytest.approx(chi, rel=1e-8)
    assert found.moment == pytest.approx(moment, rel=1e-12)
    assert found.value == pytest.approx(contraction * chi * moment, rel=1e-8)
    assert not found.unchecked


# the constant


@pytest.mark.parametrize(
    ("law", "constant"),
    [
        (fp.Gaussian(0.3, std=0.5), 0.25),
        (fp.Laplace(0.2, 0.5), 1.0),
        (fp.Uniform(-1.0, 2.0), 9.0 / math.pi**2),
        (fp.GaussianMixture([1.0], [0.3], stds=[0.5]), 0.25),
    ],
    ids=repr,
)
def test_the_bracket_encloses_known_constants(law, constant):
    found = bounds.poincare_bracket(law)
    assert found.lower <= constant <= found.upper <= 9.2 * found.lower
    assert bounds.poincare(fp.Reverse(law, fp.VP()), 1.0, 0.1, grid=GRID).constant == pytest.approx(constant)


def gap(law, half, centre=0.0, n=3000):
    """One over the spectral gap by LAPACK on a wide grid."""
    faces = centre + np.linspace(-half, half, n + 1)
    h = faces[1] - faces[0]
    p, between = law.density(0.5 * (faces[1:] + faces[:-1])), law.density(faces[1:-1])
    seen = p > 1e-280
    p, between = p[seen], between[seen[1:] & seen[:-1]]
    diagonal = (np.append(between, 0.0) + np.append(0.0, between)) / p / h**2
    side = -between / (np.sqrt(p[:-1]) * np.sqrt(p[1:])) / h**2
    return 1.0 / eigh_tridiagonal(diagonal, side, select="i", select_range=(0, 1))[0][1]


MIXTURES = {
    "two modes": (fp.GaussianMixture([0.3, 0.7], [-1.5, 0.8], stds=[0.3, 0.4]), 12.0),
    "a rare wide one": (fp.GaussianMixture([0.999, 0.001], [0.0, 0.0], stds=[0.3, 3.0]), 60.0),
    "a rare far one": (fp.GaussianMixture([0.9999, 0.0001], [0.0, 8.0], stds=[1.0, 1.0]), 40.0),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_the_estimate_looks_at_every_component(name):
    law, half = MIXTURES[name]
    true = gap(law, half, n=12_000)
    found = bounds.spectral_gap_constant(law)
    bracket = bounds.poincare_bracket(law)
    print(name, "C =", found, "LAPACK", true, bracket)
    assert found == pytest.approx(true, rel=5e-3)
    assert bracket.lower <= true <= bracket.upper


def test_an_estimate_is_called_one_and_a_bracket_is_not():
    law = MIXTURES["two modes"][0]
    reverse = fp.Reverse(law, fp.VP())
    guessed = bounds.poincare(reverse, 1.0, 0.1, grid=GRID)
    assert guessed.estimated and "estimate on a grid, no certificate" in guessed.unchecked[0]
    assert any(h.name == "the estimate lies in its bracket" and h.holds for h in guessed.checked)
    sure = bounds.poincare(reverse, 1.0, 0.1, grid=GRID, constant="bracket")
    assert not sure.estimated and not sure.unchecked and sure.constant == bounds.poincare_bracket(law).upper
    assert guessed.value < sure.value < 3.1 * guessed.value


def test_strongly_log_concave_mixtures_have_a_closed_constant():
    """Modes 0.2 apart: -(log p)'' >= 1/v - d^2/(4 v^2), in the plane as well."""
    v, d = 0.09, 0.2
    bound = 1.0 / (1.0 / v - d**2 / (4 * v**2))
    law = fp.GaussianMixture([0.5, 0.5], [-d / 2, d / 2], stds=[0.3, 0.3])
    found = bounds.poincare(fp.Reverse(law, fp.VP()), 1.0, 0.1, grid=GRID)
    assert found.method == "closed form" and found.constant == pytest.approx(bound)
    assert found.constant > gap(law, 4.0)
    plane = fp.GaussianMixture([0.5, 0.5], [[-d / 2, 0.0], [d / 2, 0.0]], stds=[0.3, 0.3])
    grid = fp.Grid.uniform([(-7, 7), (-7, 7)], cells=60)
    found = bounds.poincare(fp.Reverse(plane, fp.VP()), 1.0, 0.1, grid=grid)
    assert found.constant == pytest.approx(bound) and found.value is not None


def stretched(power):
    return fp.FromLogDensity(lambda x: -(np.abs(x) ** power), dim=1)


@pytest.mark.parametrize(
    ("law", "exists"),
    [
        (fp.StudentT(5.0), False),
        (fp.StudentT(200.0), False),
        (fp.FromLogDensity(lambda x: -8.0 * np.log1p(x**2), dim=1), False),
        (fp.FromLogDensity(lambda x: np.logaddexp(-0.5 * x**2, -20.0 - 3.0 * np.log1p(x**2)), dim=1), False),
        (stretched(1.8), True),
        (fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[0.5, 0.5]), True),
    ],
)
@pytest.mark.parametrize("constant", [None, "bracket"])
def test_tails_heavier_than_exponential_have_no_constant(law, exists, constant):
    """Also where they begin at a density of 1e-9: no box sees that."""
    start = fp.Gaussian(0.0, std=0.9)
    found = bounds.poincare(fp.Reverse(law, fp.VP()), 1.0, 0.5, grid=GRID, start=start, constant=constant)
    assert bool(np.isfinite(found.constant)) is exists
    assert exists or (found.value is None and "Poincare constant of the target" in found.reason)


def test_a_given_constant_is_not_called_checked():
    reverse = fp.Reverse(fp.Gaussian(0.5, std=0.6), fp.VP())
    found = bounds.poincare(reverse, 1.0, 0.1, grid=GRID, constant=0.5)
    assert found.unchecked == ("the Poincare constant, as given",)
    assert bounds.poincare(reverse, 1.0, 0.1, grid=GRID, constant=0.36).value is not None
    # Var x <= C: a smaller one is false
    low = bounds.poincare(reverse, 1.0, 0.1, grid=GRID, constant=0.35)
    assert low.value is None and "at least the variance" in low.reason
    with pytest.raises(ValueError, match="constant: expected a finite number > 0"):
        bounds.poincare(reverse, 1.0, 0.1, grid=GRID, constant=0.0)


# the integrals


@pytest.mark.parametrize(("std", "finite"), [(1.40, True), (1.42, False), (2.0, False)])
def test_chi_square_is_finite_below_twice_the_variance(std, finite):
    """N(0, s^2) over N(0, 1): finite for s^2 < 2, and close to it far larger than a box shows."""
    wide = fp.Grid.uniform((-60, 60), cells=1500)
    reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0))
    found = bounds.poincare(reverse, 1.0, 0.1, grid=wide, start=fp.Gaussian(0.0, std=std))
    assert (found.value is not None) is finite
    if finite:
        assert found.chi == pytest.approx(math.sqrt(1 / (std * math.sqrt(2 - std**2)) - 1), rel=1e-8)
    else:
        assert found.chi == np.inf and "chi-square at t0 is finite" in found.reason


def test_chi_square_of_mixtures_by_quadrature():
    reverse = fp.Reverse(MIXTURES["two modes"][0], fp.VP())
    start = fp.GaussianMixture([0.9, 0.1], [0.2, -0.5], stds=[0.8, 0.4])
    p = reverse.marginal(0.4)
    found = bounds.poincare(reverse, 0.4, 0.1, grid=GRID, start=start)
    pieces = np.linspace(-14, 14, 29)
    total = sum(
        quad(lambda x: (start.density(x) - p.density(x)) ** 2 / p.density(x), a, b, epsrel=1e-11, epsabs=0.0)[0]
        for a, b in pairwise(pieces)
    )
    assert found.chi == pytest.approx(math.sqrt(total), rel=1e-7)


def test_two_equal_starts_have_no_distance():
    reverse = fp.Reverse(fp.Gaussian(0.5, std=0.6), fp.VP())
    same = fp.Gaussian(0.1, std=0.9)
    found = bounds.poincare(reverse, 1.0, 0.1, grid=GRID, start=same, reference=same)
    assert found.chi == 0.0 and found.value == 0.0


@pytest.mark.parametrize(
    ("target", "weight"),
    [
        (fp.Laplace(0.0, 0.7), fp.ExponentialWeight(0.8)),
        (fp.Laplace(0.0, 0.7), fp.ExponentialWeight(5.0)),
    ],
)
def test_a_weight_without_a_second_moment_gives_no_value(target, weight):
    grid = fp.Grid.uniform((-20, 20), cells=400)
    found = bounds.poincare(fp.Reverse(target, fp.VP()), 1.0, 0.05, grid=grid, weight=weight)
    assert found.value is None and found.moment == np.inf and "V^2 is integrable" in found.reason

"""The explicit bound on a sampler's relative entropy: its terms, its hypotheses, and the exact entropy of that sampler.

The sampler keeps Gaussians Gaussian: its mean and variance follow scalar recursions, written here from the equation of
its steps, and share nothing with the package.
"""

import math

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import bounds

GRID = fp.Grid.uniform((-14, 14), cells=300)


def entropy_of_gaussians(m, v, other_m, other_v):
    return 0.5 * (v / other_v + (m - other_m) ** 2 / other_v - 1.0 + math.log(other_v / v))


def true_entropy(m0, v0, b0, b1, T, sigma2, n, bias=0.0, eta=1.0):
    """KL(N(m0, v0) | end of the sampler): beta linear from b0 to b1, score frozen over each of n steps.

    ``dY = [-(eta^2/2) beta/sigma2 Y + (1 + eta^2)/2 beta (s + Y/sigma2)] dr + eta sqrt(beta) dB`` with the bracket
    s + Y/sigma2 frozen at the start of the step.
    """

    def area(t):
        return b0 * t + 0.5 * (b1 - b0) * t * t / T

    m, v = 0.0, sigma2
    times = [T * (n - k) / n for k in range(n + 1)]
    for k in range(n):
        power = area(times[k]) - area(times[k + 1])
        alpha2 = math.exp(-area(times[k]) / sigma2)
        mean, var = m0 * math.sqrt(alpha2), alpha2 * v0 + sigma2 * (1.0 - alpha2)
        rate = 0.5 * eta**2 / sigma2
        decay = math.exp(-rate * power)
        weight = 0.5 * (1 + eta**2) * (-math.expm1(-rate * power) / rate if rate else power)
        slope = decay + weight * (1.0 / sigma2 - 1.0 / var)
        m = slope * m + weight * (mean / var + bias)
        v = slope**2 * v + (sigma2 * -math.expm1(-2.0 * rate * power) if eta else 0.0)
    return entropy_of_gaussians(m0, v0, m, v)


def by_hand(m0, v0, b0, b1, T, sigma2, n, bias=0.0):
    """The three terms for a Gaussian and a linear beta."""
    area, h = 0.5 * (b0 + b1) * T, T / n
    fisher = v0 * (1.0 / v0 - 1.0 / sigma2) ** 2 + (m0 / sigma2) ** 2
    mixing = entropy_of_gaussians(m0, v0, 0.0, sigma2) * math.exp(-area / sigma2)
    return mixing, bias**2 * area, 2.0 * h * b1 * max(h * b1 / (4.0 * sigma2), 1.0) * fisher


def record(m0, v0, b0, b1, T, sigma2, n, bias=0.0, **more):
    process = fp.VP(beta_min=b0, beta_max=b1, T=T, sigma=math.sqrt(sigma2))
    reverse = fp.Reverse(fp.Gaussian(m0, cov=v0), process, **more)
    if bias:
        exact = reverse.marginals.score
        reverse = fp.Reverse(reverse.target, process, score=lambda t, x: exact(t, x) + bias, **more)
    return bounds.explicit_kl(reverse, n, grid=GRID)


def random_case(rng):
    case = {
        "m0": rng.normal(0.0, 1.0),
        "v0": math.exp(rng.uniform(-3.0, 0.7)),
        "b0": rng.uniform(0.0, 3.0),
        "T": rng.choice([0.5, 1.0, 2.0]),
        "sigma2": rng.uniform(0.5, 2.0),
        "n": int(rng.integers(1, 40)),
        "bias": float(rng.choice([0.0, 0.1])),
    }
    return case | {"b1": case["b0"] + rng.uniform(0.1, 20.0)}


@pytest.mark.parametrize("seed", range(12))
def test_terms_by_hand_and_the_true_entropy_below(seed):
    case = random_case(np.random.default_rng(seed))
    found = record(**case)
    mixing, score, discretization = by_hand(**case)
    assert found.mixing == pytest.approx(mixing, rel=1e-9)
    assert found.score == pytest.approx(score, rel=1e-6)
    assert found.discretization == pytest.approx(discretization, rel=1e-9)
    assert found.value == pytest.approx(mixing + score + discretization, rel=1e-6)
    assert true_entropy(**case) <= found.value


def test_a_decreasing_schedule_has_no_value():
    """VP(20, 0.1): the number is 0.00502 and the sampler's relative entropy five times that."""
    case = {"m0": 0.5, "v0": 0.25, "b0": 20.0, "b1": 0.1, "T": 1.0, "sigma2": 1.0, "n": 100}
    number, true = sum(by_hand(**case)), true_entropy(**case)
    assert (number, true) == (pytest.approx(0.00502, rel=1e-2), pytest.approx(0.0255, rel=1e-2))
    found = record(**case)
    assert found.value is None and "beta is non-decreasing fails" in found.reason
    # the same rates the other way round
    assert record(**case | {"b0": 0.1, "b1": 20.0}).value is not None


@pytest.mark.parametrize("curvature", [-5.0, 5.0])
def test_curved_schedules_count_by_their_direction(curvature):
    grid, target = fp.Grid.uniform((-8, 8), cells=100), fp.Gaussian(0.2, std=0.7)
    rising = fp.Reverse(target, fp.VP(0.5, 8.0, curvature=curvature))
    falling = fp.Reverse(target, fp.VP(8.0, 0.5, curvature=curvature))
    assert bounds.explicit_kl(rising, 50, grid=grid).value is not None
    assert "non-decreasing" in bounds.explicit_kl(falling, 50, grid=grid).reason


class Stepped(fp.VP):
    """beta = 2 below 1/2 and 10 above: it never decreases, and jumps."""

    def beta(self, t):
        return np.where(np.asarray(t) < 0.5, 2.0, 10.0)

    def _integral(self, s, t):
        return np.where(np.asarray(t) < 0.5, 2.0 * t, 1.0 + 10.0 * (np.asarray(t) - 0.5)) - np.where(
            np.asarray(s) < 0.5, 2.0 * s, 1.0 + 10.0 * (np.asarray(s) - 0.5)
        )


def test_a_schedule_with_a_jump_is_not_continuous():
    found = bounds.explicit_kl(fp.Reverse(fp.Gaussian(0.2, std=0.7), Stepped()), 50, grid=GRID)
    assert found.value is None and "beta is continuous fails" in found.reason


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.3, lambda t: 1.0 + t])
def test_the_sampler_has_eta_one(eta):
    case = {"m0": 0.5, "v0": 0.25, "b0": 0.1, "b1": 20.0, "T": 1.0, "sigma2": 1.0, "n": 20}
    found = record(**case, eta=eta)
    assert found.value is None and "eta = 1 fails" in found.reason
    assert record(**case, eta=lambda t: 1.0).value == record(**case).value


def test_it_is_not_the_bound_of_another_eta():
    """Negative control: without noise an error c moves the mean by c B/2, B = int beta: KL = c^2 B^2/8 > c^2 B."""
    case = {"m0": 0.0, "v0": 1.0, "b0": 0.1, "b1": 20.0, "T": 1.0, "sigma2": 1.0, "n": 400, "bias": 0.1}
    number, quiet = sum(by_hand(**case)), true_entropy(**case, eta=0.0)
    assert quiet == pytest.approx(0.01 * 10.05**2 / 8, rel=1e-6) and quiet > number
    assert true_entropy(**case) <= number == pytest.approx(record(**case).value, rel=1e-6)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (fp.Uniform(-1.0, 1.0), "p_0 has no jumps"),
        (fp.FromLogDensity(lambda x: np.where(np.abs(x) < 1, 0.0, -np.inf), dim=1), "p_0 has no jumps"),
        (fp.FromLogDensity(lambda x: np.where(x > 0, -x, -2 * x**2 - 0.5), dim=1), "p_0 has no jumps"),
        (fp.StudentT(2.0), "finite relative entropy"),
        (fp.StudentT(1.0), "finite relative Fisher information"),
    ],
    ids=repr,
)
def test_laws_without_a_finite_information(target, why):
    found = bounds.explicit_kl(fp.Reverse(target, fp.VP()), 50, grid=GRID)
    assert found.value is None and why in found.reason


def test_the_integrals_are_those_of_the_line():
    """A component of weight 1e-7, 1000 away, is beyond every box and carries most of both integrals."""
    weight, far = 1e-7, 1000.0
    law = fp.GaussianMixture([1 - weight, weight], [0.0, far], stds=[1.0, 1.0])
    found = bounds.explicit_kl(fp.Reverse(law, fp.VP()), 100, grid=GRID)
    # log(p/pi) at the far component: log w + far^2/2; |s + x|^2 = far^2 there
    assert found.kl_prior == pytest.approx(weight * (math.log(weight) + 0.5 * far**2), rel=1e-3)
    assert found.fisher_prior == pytest.approx(weight * far**2, rel=1e-6)
    assert found.value == pytest.approx(found.mixing + 2.0 * 0.01 * 20.0 * weight * far**2, rel=1e-6)


def test_kinks_are_allowed():
    """Laplace of scale b: I = E(-sign(x)/b + x)^2 = 1/b^2 - 2 + 2 b^2."""
    b = 0.7
    grid = fp.Grid.uniform((-15, 15), cells=200)
    found = bounds.explicit_kl(fp.Reverse(fp.Laplace(0.0, b), fp.VP()), 100, grid=grid)
    assert found.fisher_prior == pytest.approx(1 / b**2 - 2 + 2 * b**2, rel=1e-9)
    assert found.kl_prior == pytest.approx(0.5 * math.log(2 * math.pi) + b**2 - 1 - math.log(2 * b), rel=1e-9)
    assert found.value is not None


def test_a_score_error_that_grows_beyond_the_box_gives_no_value():
    exact = fp.Reverse(fp.Gaussian(0.0, std=0.8), fp.VP())
    wrong = fp.Reverse(exact.target, exact.process, score=lambda t, x: exact.score(t, x) + 1e-3 * np.exp(0.35 * x**2))
    found = bounds.explicit_kl(wrong, 10, grid=fp.Grid.uniform((-5.5, 5.5), cells=100))
    assert found.value is None and "the box holds the score error" in found.reason


def test_every_hypothesis_is_listed_with_its_source():
    found = record(0.5, 0.25, 0.1, 20.0, 1.0, 1.0, 20)
    named = {h.name for h in found.checked if h.source}
    assert named == {
        "beta is non-decreasing",
        "beta is positive",
        "beta is continuous",
        "eta = 1",
        "p_0 has a finite relative entropy",
        "p_0 has a finite relative Fisher information",
        "p_0 has no jumps",
    }
    assert "equal steps" in found.unchecked[-1] and "Strasman" in str(found.checked[0])


def test_the_score_error_of_laws_narrower_than_the_cells_is_that_of_the_line():
    """Score of N(0, 4 std^2) for N(0, std^2) with a cell centre in the middle: E|s - s'|^2 = v (1/v - 1/v')^2."""
    std, n = 0.01, 20
    exact, wrong = (fp.Reverse(fp.Gaussian(0.0, std=width), fp.VP()) for width in (std, 2.0 * std))
    model = fp.Reverse(exact.target, exact.process, score=lambda t, x: wrong.score(t, x))
    found = bounds.explicit_kl(model, n, grid=fp.Grid.uniform((-9, 9), cells=31))
    times = np.linspace(1.0, 0.0, n + 1)
    power = 0.1 * times + 0.5 * 19.9 * times**2
    v, other = (np.exp(-power) * s**2 - np.expm1(-power) for s in (std, 2.0 * std))
    expected = np.sum((v * (1 / v - 1 / other) ** 2)[:-1] * -np.diff(power))
    assert found.score == pytest.approx(expected, rel=1e-9)
    assert "the score error beyond the box" not in found.unchecked

"""Every bound over random cases, against truth that shares no code with it: none is violated, no check is false.

Truth is made of closed forms of Gaussians and of plain sums of formulas on a wider and finer grid. Few cases run by
default; 300 of each by

    FPSOLVE_BOUND_CASES=300 python -m pytest tests/test_bounds_random.py -q -s
"""

import math
import os
from itertools import pairwise

import numpy as np
import pytest
from test_bounds_explicit_kl import by_hand, true_entropy

import fpsolve as fp
from fpsolve import bounds, closed_form

CASES = int(os.environ.get("FPSOLVE_BOUND_CASES", "0"))
WIDE = fp.Grid.uniform((-30, 30), cells=3000)
GRID = fp.Grid.uniform((-14, 14), cells=350)


def cases(default):
    return range(CASES or default)


def random_mixture(rng, spread=1.5, narrow=0.3, wide=1.2):
    k = int(rng.integers(1, 4))
    shares = rng.dirichlet(np.full(k, 0.5)) * (1 - 1e-3 * k) + 1e-3
    return fp.GaussianMixture(shares, rng.normal(0.0, spread, k), stds=np.exp(rng.uniform(*np.log([narrow, wide]), k)))


def random_process(rng):
    processes = (
        fp.VP(),
        fp.VP(beta_max=8.0, sigma=1.2),
        fp.VP(curvature=3.0),
        fp.OrnsteinUhlenbeck(T=2.0),
        fp.SubVP(),
        fp.CosineVP(),
    )
    return processes[int(rng.integers(len(processes)))]


def random_weight(rng):
    powers = (fp.PolynomialWeight(2, rng.uniform(0.01, 1.0)), fp.PolynomialWeight(1, 0.5), fp.UnitWeight())
    return (*powers, fp.ExponentialWeight(0.3))[int(rng.integers(4))]


def values(weight, x):
    """V by its formula."""
    if isinstance(weight, fp.UnitWeight):
        return np.ones_like(x)
    if isinstance(weight, fp.ExponentialWeight):
        return np.exp(weight.rate * np.abs(x))
    return 1.0 + weight.beta * np.abs(x) ** weight.power


def log_density(law, x):
    """Of a Gaussian mixture, by its formula."""
    parts = law.components
    m, v = parts.component_means[:, 0], parts.component_covs[:, 0, 0]
    terms = parts.log_weights - (x[:, None] - m) ** 2 / (2 * v) - 0.5 * np.log(2 * math.pi * v)
    top = terms.max(axis=1)
    return top + np.log(np.exp(terms - top[:, None]).sum(axis=1))


def density(law, x):
    return np.exp(log_density(law, x))


@pytest.mark.parametrize("seed", cases(10))
def test_poincare_is_above_the_distance_and_its_constant_above_every_ratio(seed):
    rng = np.random.default_rng(seed)
    target, process, weight = random_mixture(rng), random_process(rng), random_weight(rng)
    reverse = fp.Reverse(target, process)
    t0, t1 = process.T, process.T * float(rng.uniform(0.02, 0.8))
    start = fp.Gaussian(rng.normal(0.0, 0.7), std=rng.uniform(0.4, 1.5))
    found = bounds.poincare(
        reverse, t0, t1, grid=GRID, start=start, weight=weight, constant=("bracket", None)[seed % 2]
    )
    x, h = WIDE.x, WIDE.spacing[0]
    p = density(target, x)
    for f, slope in ((x, np.ones_like(x)), (np.tanh(x), np.cosh(x) ** -2.0), (np.sin(x), np.cos(x))):
        variance = np.sum(p * f**2) * h - (np.sum(p * f) * h) ** 2
        assert variance <= found.constant * np.sum(p * slope**2) * h * (1 + 1e-3)
    if found.value is None:
        assert found.reason
        return
    q = closed_form.cell_averages(reverse, start, t1, WIDE)
    gap = np.sum(values(weight, x) * np.abs(q - density(reverse.marginal(t1), x))) * h
    assert gap <= found.value * (1 + 1e-3) + 1e-6
    a, b = density(start, x), density(reverse.marginal(t0), x)
    seen = b > 1e-290
    assert found.chi == pytest.approx(math.sqrt(np.sum((a - b)[seen] ** 2 / b[seen]) * h), rel=2e-2)
    square = np.sum(density(reverse.marginal(t1), x) * values(weight, x) ** 2) * h
    assert found.moment == pytest.approx(math.sqrt(square), rel=1e-4)


@pytest.mark.parametrize("seed", cases(40))
def test_the_weighted_inequalities_are_above_the_distance(seed):
    rng = np.random.default_rng(seed)
    mu, nu, weight = random_mixture(rng, wide=2.0), random_mixture(rng, wide=2.0), random_weight(rng)
    x, h = WIDE.x, WIDE.spacing[0]
    p, q = density(mu, x), density(nu, x)
    kl = float(np.sum(p * (log_density(mu, x) - log_density(nu, x))) * h)
    distance = float(np.sum(values(weight, x) * np.abs(p - q)) * h)
    small = fp.Grid.uniform((-5, 5), cells=60)
    found = bounds.weighted_pinsker(kl, mu, nu, small, weight)
    assert distance <= found.best * (1 + 1e-9)
    cells = bounds.weighted_pinsker(kl, WIDE.cell_average(mu), WIDE.cell_average(nu), WIDE, weight)
    assert distance <= cells.best * (1 + 1e-9)
    assert cells.hellinger == pytest.approx(found.hellinger, rel=1e-3)
    # what grows like |x|^2 or faster has no int e^{(cV)^2} against Gaussian tails
    quick = isinstance(weight, fp.ExponentialWeight) or getattr(weight, "power", 0.0) == 2.0
    assert not quick or found.square_exponential == np.inf


@pytest.mark.parametrize("seed", cases(60))
def test_the_explicit_bound_is_above_its_sampler_or_names_what_fails(seed):
    rng = np.random.default_rng(seed)
    b0, b1 = rng.uniform(0.01, 12.0, 2)
    case = {
        "m0": rng.normal(), "v0": math.exp(rng.uniform(-3, 0.7)), "b0": b0, "b1": b1, "T": rng.choice([0.5, 1.0, 2.0]),
        "sigma2": rng.uniform(0.5, 2.0), "n": int(rng.integers(1, 60)),
    }  # fmt: skip
    process = fp.VP(beta_min=b0, beta_max=b1, T=case["T"], sigma=math.sqrt(case["sigma2"]))
    found = bounds.explicit_kl(fp.Reverse(fp.Gaussian(case["m0"], cov=case["v0"]), process), case["n"], grid=GRID)
    assert (found.value is None) == (b1 < b0)
    if found.value is not None:
        assert true_entropy(**case) <= found.value == pytest.approx(sum(by_hand(**case)), rel=1e-8)


@pytest.mark.parametrize("seed", cases(6))
def test_girsanov_is_above_the_entropy_of_gaussian_runs(seed):
    """A constant score error moves the mean only: the entropy at the end is that of two Gaussians."""
    rng = np.random.default_rng(seed)
    m, v, c, eta = rng.normal(0, 0.5), rng.uniform(0.3, 1.5), rng.uniform(-0.5, 0.5), rng.uniform(0.4, 1.5)
    t_min = float(rng.uniform(0.05, 0.8))
    first = fp.Reverse(fp.Gaussian(m, cov=v), fp.OrnsteinUhlenbeck(T=1.5), eta=eta)
    score = fp.scores.checked(lambda t, x: first.score(t, x) + c, 1)
    second = fp.Reverse(first.target, first.process, eta=eta, score=score)
    found = bounds.girsanov(first, second, t_min=t_min, grid=GRID)
    # d mean/dr = [1 - (1 + eta^2)/v_t] mean + (1 + eta^2) c, a = -1, g^2 = 2
    shift = 0.0
    times = np.linspace(1.5, t_min, 20_001)
    for t, later in pairwise(times):
        v_t = math.exp(-2 * t) * v - math.expm1(-2 * t)
        shift += (t - later) * ((1 - (1 + eta**2) / v_t) * shift + (1 + eta**2) * c)
    v_end = math.exp(-2 * t_min) * v - math.expm1(-2 * t_min)
    true = shift**2 / (2 * v_end)
    path = 0.25 * (1 + eta**2) ** 2 * c**2 / eta**2 * (1.5 - t_min)
    assert found.value == pytest.approx(path, rel=1e-4)
    assert true <= found.value * (1 + 1e-3)
    distance = math.erf(abs(shift) / math.sqrt(8 * v_end))
    assert distance <= found.total_variation * (1 + 1e-3)


@pytest.mark.parametrize("seed", cases(60))
def test_assumptions_hold_on_the_whole_line(seed):
    rng = np.random.default_rng(seed)
    law = random_mixture(rng, spread=4.0, narrow=0.1, wide=3.0)
    if seed % 3 == 0:
        law = (fp.Laplace(rng.normal(), rng.uniform(0.2, 2)), fp.StudentT(rng.uniform(2.5, 60)))[seed % 2]
    reverse, t = fp.Reverse(law, fp.VP()), float(rng.choice([0.0, 0.05, 0.5]))
    found = bounds.assumptions(reverse, t)
    assert (found.value is None) == (seed % 3 == 0)
    if found.value is not None:
        assert found.certified
        x = np.concatenate([s * np.geomspace(1e-3, 1e5, 4001) for s in (1.0, -1.0)])
        s = reverse.marginal(t).score(x)
        assert np.all(x * s <= -found.value * x**2 + found.offset * (1 + 1e-9) + 1e-9 * x**2)
        assert np.all(np.abs(s) <= found.growth * (1.0 + np.abs(x)) * (1 + 1e-9))


@pytest.mark.parametrize("seed", cases(6))
def test_brackets_hold_the_spectral_gap_of_a_wider_and_finer_grid(seed):
    rng = np.random.default_rng(seed)
    law = random_mixture(rng)
    from test_bounds_poincare import gap

    true, found = gap(law, 22.0, n=6000), bounds.poincare_bracket(law)
    assert found.lower <= true * (1 + 1e-3) and true <= found.upper * (1 + 1e-3)

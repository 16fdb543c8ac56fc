"""Enclosures contain the truth: reference values, the oracle on random cases, quadrature, and what they rest on."""

import math
from itertools import pairwise

import cases
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

import fpsolve as fp
from fpsolve import proofs

TWO_MODES = cases.two_mode_vp()
SHIFTED = fp.Gaussian(1.5, std=0.5)


def test_total_variation_of_the_reference_case_is_proved_to_twelve_digits():
    """TV = 6.55888182791e-6 (documented to these digits); with V = 1 the norm is twice that."""
    found = proofs.weighted_tv(
        cases.ou_mixture(), fp.Gaussian(0.0, std=1.0), t=0.01, weight=fp.UnitWeight(), rtol=1e-12
    )
    assert found.relative_width <= 1e-12 and found.reason == "" and found.seconds < 60.0
    assert found.lower == pytest.approx(2 * 6.55888182791e-6, rel=5e-12)


@pytest.mark.parametrize("t", [0.5, 0.1, 0.01, 0.001])
def test_weighted_distances_under_vp_are_proved_to_ten_digits(t):
    found = proofs.weighted_tv(TWO_MODES, SHIFTED, t=t)
    truth = fp.closed_form.weighted_tv(TWO_MODES, SHIFTED, TWO_MODES.marginal(1.0), t)
    assert found.relative_width <= 1e-10
    assert found.lower - truth.error <= truth.value <= found.upper + truth.error


def test_the_default_weight_of_the_reference_case():
    found = proofs.weighted_tv(cases.ou_mixture(), fp.Gaussian(0.0, std=1.0), t=0.01)
    assert found.lower == pytest.approx(7.27348401777e-5, rel=5e-12)


WEIGHTS = [
    fp.UnitWeight(),
    fp.PolynomialWeight(1, 0.5),
    fp.PolynomialWeight(3, 0.2),
    fp.PolynomialWeight(4, 0.3),
    fp.ExponentialWeight(0.3),
]


@pytest.mark.parametrize("weight", WEIGHTS, ids=str)
def test_every_weight_against_quadrature_at_the_end_and_on_the_way(weight):
    """At T the distance is int V |nu - p_T|; before, Bayes' rule by Gauss-Hermite sums."""
    target = fp.GaussianMixture([0.4, 0.6], means=[-1.0, 0.7], stds=[0.4, 0.6])
    process = fp.OrnsteinUhlenbeck(T=1.0)
    reverse, nu = fp.Reverse(target, process), fp.Gaussian(-0.4, std=0.7)
    last = target.diffused(float(process.scale(0, 1)), float(process.variance(0, 1)))
    at_end = proofs.weighted_tv(reverse, nu, t=1.0, weight=weight)
    whole = integrate(lambda x: weight(x) * abs(nu.density(x) - last.density(x)))
    assert at_end.lower == pytest.approx(whole, rel=1e-8)

    here = target.diffused(float(process.scale(0, 0.3)), float(process.variance(0, 0.3)))
    alpha, std = float(process.scale(0.3, 1.0)), math.sqrt(float(process.variance(0.3, 1.0)))
    nodes, masses = np.polynomial.hermite_e.hermegauss(120)

    def gap(x):
        y = alpha * x + std * nodes
        return (nu.density(y) / last.density(y) - 1.0) @ masses / math.sqrt(2.0 * math.pi)

    whole = integrate(lambda x: weight(x) * float(here.density(x)) * abs(gap(x)))
    assert proofs.weighted_tv(reverse, nu, t=0.3, weight=weight).lower == pytest.approx(whole, rel=1e-7)


def integrate(f):
    """Over [-8, 8] in pieces, so that no kink costs more than its piece."""
    ends = np.linspace(-8.0, 8.0, 161)
    return sum(quad(f, a, b, epsabs=1e-13, epsrel=1e-11)[0] for a, b in pairwise(ends))


def random_case(seed):
    """A mixture of one to six components, a process, a start and a time, from hostile ranges."""
    rng = np.random.default_rng(seed)

    def stds(n, unit):
        return unit * np.exp(rng.uniform(np.log(0.05), np.log(3.0), n))

    k = rng.integers(1, 7)
    target = fp.GaussianMixture(rng.dirichlet(np.ones(k)), means=rng.uniform(-3, 3, k), stds=stds(k, 1.0))
    processes = [
        fp.OrnsteinUhlenbeck(T=float(rng.uniform(0.3, 3.0))),
        fp.VP(),
        fp.VP(curvature=float(rng.uniform(-5, 5)), sigma=1.3),
        fp.CosineVP(),
        fp.SubVP(),
        fp.VE(sigma_min=0.02, sigma_max=20.0),
        fp.EDM(sigma_min=0.02, sigma_max=20.0),
    ]
    process = processes[rng.integers(len(processes))]
    unit, n = float(process.prior_std), rng.integers(1, 4)
    nu = fp.GaussianMixture(rng.dirichlet(np.ones(n)), means=unit * rng.uniform(-2, 2, n), stds=stds(n, unit))
    t = process.T * float(rng.choice([rng.uniform(0.0, 0.9), 10 ** rng.uniform(-3, -1), rng.uniform(0.9, 1.0)]))
    return fp.Reverse(target, process), nu, t, [None, *WEIGHTS][rng.integers(len(WEIGHTS) + 1)]


def check_random(seed, budget=4.0):
    """The oracle's value, give or take its error bar, is in the enclosure; returns the enclosure."""
    reverse, nu, t, weight = random_case(seed)
    found = proofs.weighted_tv(reverse, nu, t=t, weight=weight, budget=budget)
    assert not math.isnan(found.lower) and found.lower <= found.upper
    assert found.relative_width <= 1e-10 or found.reason
    last = reverse.marginal(reverse.process.T)
    truth = fp.closed_form.weighted_tv(reverse, nu, last, t, weight=weight)
    slack = truth.error + 1e-9 * truth.value
    assert found.lower - slack <= truth.value <= found.upper + slack
    return found


@pytest.mark.parametrize("seeds", cases.sample([range(100, 110), range(110, 120)], [range(101, 107)]), ids=str)
def test_random_cases_contain_the_oracle(seeds):
    narrow = [check_random(seed).reason == "" for seed in seeds]
    assert np.mean(narrow) >= 0.7


def test_no_early_stopping_costs_nothing():
    found = proofs.early_stopping(TWO_MODES, t_min=0)
    assert (found.lower, found.upper, found.reason) == (0.0, 0.0, "") and 0.0 in found
    with pytest.raises(ValueError, match=r"t_min: expected a number in \[0, 1\], got 1\.5"):
        proofs.early_stopping(TWO_MODES, t_min=1.5)


def test_early_stopping_against_quadrature():
    found = proofs.early_stopping(TWO_MODES, t_min=0.01)
    process, target = TWO_MODES.process, TWO_MODES.target
    stopped = target.diffused(float(process.scale(0, 0.01)), float(process.variance(0, 0.01)))
    whole = integrate(lambda x: (1.0 + x**2) * abs(stopped.density(x) - target.density(x)))
    assert found.relative_width <= 1e-10 and found.lower == pytest.approx(whole, rel=1e-8)


@pytest.mark.parametrize("t", [1e-12, 1e-100])
def test_early_stopping_near_the_end_is_the_rate_of_change_times_the_time(t):
    """``p_t - p_0 = t (beta_min/2) ((x p_0)' + p_0'')`` to a relative 20 t (beta grows): by quadrature."""
    target = TWO_MODES.target
    found = proofs.early_stopping(TWO_MODES, t_min=t)
    weights, means, stds = np.array([0.3, 0.7]), np.array([-1.5, 0.8]), np.array([0.3, 0.4])

    def rate(x):
        z = (x - means) / stds
        parts = 1.0 - x * z / stds + (z**2 - 1.0) / stds**2
        return float((weights * norm.pdf(x, means, stds) * parts).sum())

    assert rate(0.3) == pytest.approx(float(second(target.density, 0.3)), rel=1e-5)
    whole = 0.05 * t * integrate(lambda x: (1.0 + x**2) * abs(rate(x)))
    assert found.reason == "" and found.relative_width <= 1e-10 and found.seconds < 60.0
    assert found.lower == pytest.approx(whole, rel=1e-8)


def second(density, x, h=1e-3):
    """``(x p)' + p''`` by differences."""
    low, here, high = (density(np.array([x + s * h]))[0] for s in (-1, 0, 1))
    return ((x + h) * high - (x - h) * low) / (2.0 * h) + (high - 2.0 * here + low) / h**2


def test_a_distance_below_every_double_has_an_interval_that_ends_near_nothing():
    found = proofs.early_stopping(TWO_MODES, t_min=1e-300)
    assert found.lower == 0.0 and found.upper < 1e-280 and "may be 0" in found.reason


def test_a_curve_is_its_distances():
    curve = proofs.forgetting_curve(TWO_MODES, {"near": SHIFTED, "prior": fp.Gaussian(0.0, std=1.0)}, t=[0.5, 0.1])
    one = proofs.weighted_tv(TWO_MODES, SHIFTED, t=0.1)
    assert float(curve.lower.sel(start="near", t=0.1)) == one.lower
    assert float(curve.upper.sel(start="near", t=0.1)) == one.upper
    assert bool((curve.lower <= curve.upper).all()) and curve.sizes == {"start": 2, "t": 2}


BLOCKS = {(1.0, 0.6): 0.2763, (0.6, 0.4): 0.7438, (0.4, 0.25): 0.9345, (0.25, 0.1): 0.9981}


@pytest.mark.parametrize(("block", "certificate"), BLOCKS.items(), ids=str)
def test_proved_contractions_are_as_small_as_those_certified_on_a_grid(block, certificate):
    found = proofs.harris(TWO_MODES, *block)
    assert found.value is not None and found.value <= certificate + 0.03
    alpha, s, law, before = transition(TWO_MODES, *block)
    # P V by quadrature of Bayes' rule: no gamma V + K is exceeded, and K is no larger than it has to be
    y = np.linspace(-30.0, 30.0, 1201)
    drifted = np.array([moment(alpha, s, law, before, point) for point in y])
    excess = (drifted - found.gamma * y**2).max()
    assert excess <= found.K <= excess * (1.0 + 2e-3)
    # the overlap over pairs inside of the set, by quadrature
    rng = np.random.default_rng(3)
    angles = rng.uniform(0.0, 2.0 * np.pi, 40)
    pairs = np.sqrt(found.R) * np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(0.8, 1.0, (40, 1))
    overlaps = [overlap(alpha, s, law, before, *pair) for pair in pairs]
    assert min(overlaps) >= found.overlap - 1e-6


@pytest.mark.parametrize(("power", "beta"), [(4, 0.01), (6, 0.001)])
def test_steeper_weights_are_proved_too(power, beta):
    found = proofs.harris(TWO_MODES, 1.0, 0.6, weight=fp.PolynomialWeight(power, beta))
    args, y = transition(TWO_MODES, 1.0, 0.6), np.linspace(-6.0, 6.0, 241)
    drifted = np.array([float(np.trapezoid(Z**power * density(*args, point), Z)) for point in y])
    excess = (drifted - found.gamma * y**power).max()
    assert found.power == power and excess <= found.K <= excess * (1.0 + 2e-3)
    # pairs on the curve V(x) + V(y) = R, and contraction of others in the norm itself
    share = np.linspace(0.0, 1.0, 21)
    pairs = np.stack([-((found.R * share) ** (1 / power)), (found.R * (1.0 - share)) ** (1 / power)], axis=1)
    least = min(overlap(*args, *pair) for pair in pairs)
    assert found.overlap - 1e-6 <= least <= found.overlap + 2e-3
    ratios = []
    for a, b in np.random.default_rng(3).uniform(-6.0, 6.0, (40, 2)):
        gap = np.abs(density(*args, a) - density(*args, b)) * (1.0 + found.beta * Z**power)
        ratios.append(float(np.trapezoid(gap, Z)) / (2.0 + found.beta * (a**power + b**power)))
    assert found.beta == beta and max(ratios) <= found.value < 0.3


def transition(reverse, t0, t1):
    process, target = reverse.process, reverse.target
    law = target.diffused(float(process.scale(0, t1)), float(process.variance(0, t1)))
    before = target.diffused(float(process.scale(0, t0)), float(process.variance(0, t0)))
    return float(process.scale(t1, t0)), float(process.variance(t1, t0)), law, before


Z = np.linspace(-9.0, 9.0, 6001)


def density(alpha, s, law, before, y):
    """P(y, .) on the points Z, by Bayes' rule in logarithms."""
    log = law.log_density(Z) + norm.logpdf(y, alpha * Z, math.sqrt(s)) - before.log_density(y)
    return np.exp(np.maximum(log, -700.0))


def moment(alpha, s, law, before, y):
    return float(np.trapezoid(Z**2 * density(alpha, s, law, before, y), Z))


def overlap(alpha, s, law, before, x, y):
    gap = density(alpha, s, law, before, x) - density(alpha, s, law, before, y)
    return 1.0 - 0.5 * float(np.trapezoid(np.abs(gap), Z))


def test_the_worst_pair_is_found_where_quadrature_finds_it():
    """The proved overlap is attained: the smallest over pairs of a net is not far above it."""
    found = proofs.harris(TWO_MODES, 0.6, 0.4)
    a = np.linspace(0.0, math.sqrt(found.R), 61)
    args = transition(TWO_MODES, 0.6, 0.4)
    least = min(overlap(*args, -x, math.sqrt(found.R - x**2)) for x in a[:-1])
    assert found.overlap <= least + 1e-6 and least <= found.overlap + 2e-3


def test_a_drift_that_rises_far_out_is_seen_when_gamma_is_chosen():
    """gamma at its least value, the square of max alpha V_k/(alpha^2 V_k + s): P V - gamma V then rises without end."""
    weights, means, stds = [0.058, 0.531, 0.155, 0.256], [0.876, 0.136, -0.853, -0.03], [0.262, 0.167, 0.441, 0.725]
    reverse = fp.Reverse(fp.GaussianMixture(weights, means, stds=stds), fp.VP())
    found = proofs.harris(reverse, 0.8165, 0.24656, weight=fp.PolynomialWeight(2, 0.00316), budget=20.0)
    assert found.value == pytest.approx(0.506, abs=2e-3) and found.K < 0.7


def test_no_contraction_is_an_answer():
    found = proofs.harris(TWO_MODES, 0.1, 0.0)
    assert found.value is None and "not below 1" in found.reason
    # of a given norm: the search for one is what takes long
    blocks = proofs.harris_blocks(TWO_MODES, [1.0, 0.6, 0.1, 0.0], weight=fp.PolynomialWeight(2, 0.03))
    assert blocks.value is None and "0.1 -> 0.0" in blocks.reason


def test_a_product_over_blocks_has_one_norm(monkeypatch):
    # three norms to choose from: the search among all takes long
    monkeypatch.setattr("fpsolve.proofs._block.COMMON_BETAS", (0.01, 0.1, 1.0))
    blocks = proofs.harris_blocks(TWO_MODES, [1.0, 0.6, 0.4])
    factors = [block.value for block in blocks.blocks]
    assert {block.beta for block in blocks.blocks} == {blocks.beta}
    assert math.prod(factors) <= blocks.value <= math.prod(factors) * (1 + 1e-12)


def test_a_rare_wide_component_is_not_overlooked():
    """1e-3 of mass ten times as wide: what a box of 7 overlooks decides K."""
    target = fp.GaussianMixture([0.999, 0.001], means=[0.0, 0.0], stds=[0.3, 3.0])
    reverse = fp.Reverse(target, fp.OrnsteinUhlenbeck(T=0.7))
    found = proofs.harris(reverse, 0.7, 0.05, weight=fp.PolynomialWeight(2, 0.3))
    alpha, s, law, before = transition(reverse, 0.7, 0.05)
    y = np.linspace(-40.0, 40.0, 201)
    z = np.linspace(-60.0, 60.0, 12001)
    log = law.log_density(z) + norm.logpdf(y[:, None], alpha * z, math.sqrt(s)) - before.log_density(y)[:, None]
    drifted = np.trapezoid(z**2 * np.exp(np.maximum(log, -700.0)), z, axis=1)
    if found.value is not None:
        assert (drifted - found.gamma * y**2).max() <= found.K
    else:
        assert found.reason


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: proofs.weighted_tv(TWO_MODES, fp.Laplace(0.0, scale=1.0), t=0.1), "nu: expected a finite mixture"),
        (lambda: proofs.weighted_tv(TWO_MODES, fp.Gaussian([0.0, 0.0], std=1.0), t=0.1), "nu: expected a law in 1D"),
        (lambda: proofs.weighted_tv(TWO_MODES, SHIFTED, t=1.5), r"t: expected .*\[0, 1\]"),
        (lambda: proofs.weighted_tv(TWO_MODES, SHIFTED, t=0.1, weight=abs), "weight: expected UnitWeight"),
        (lambda: proofs.weighted_tv(TWO_MODES, SHIFTED, t=0.1, weight=fp.PolynomialWeight(1.5)), "integer power"),
        (
            lambda: proofs.weighted_tv(fp.Reverse(fp.Gaussian(0, std=1.0), fp.VP(), eta=0.5), SHIFTED, t=0.1),
            "eta = 1, got eta = 0.5",
        ),
        (
            lambda: proofs.weighted_tv(
                fp.Reverse(TWO_MODES.target, fp.VP(), score=lambda t, x: TWO_MODES.score(t, x)), SHIFTED, t=0.1
            ),
            "got a score model",
        ),
        (lambda: proofs.weighted_tv("vp", SHIFTED, t=0.1), "reverse: expected a Reverse"),
        (lambda: proofs.harris(TWO_MODES, 0.1, 0.4), "t1: expected a time"),
        (lambda: proofs.harris(TWO_MODES, 0.4, 0.1, weight=fp.UnitWeight()), "weight: expected a PolynomialWeight"),
        (lambda: proofs.early_stopping(TWO_MODES, t_min=-1.0), "t_min: expected"),
        (lambda: proofs.early_stopping(TWO_MODES, t_min=0.1, rtol="small"), "rtol: expected"),
        (lambda: proofs.weighted_tv(TWO_MODES, SHIFTED, t=0.5, t_max=0.4), r"t: expected .*\[0, 0.4\]"),
        (lambda: proofs.forgetting_curve(TWO_MODES, {"a": SHIFTED}, t="late"), "t: expected"),
        (lambda: proofs.forgetting_curve(TWO_MODES, {"a": SHIFTED}, t=[0.5], reference=["a"]), "reference: expected"),
        (lambda: proofs.harris(TWO_MODES, 0.4, "late"), "t1: expected"),
        (lambda: proofs.harris_blocks(TWO_MODES, ["a", "b"]), "times: expected"),
        (lambda: proofs.verify(None, TWO_MODES, 3), "starts: expected a dict"),
    ],
)
def test_what_cannot_be_proved_is_refused_in_one_sentence(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_a_budget_that_ends_says_so():
    found = proofs.weighted_tv(TWO_MODES, SHIFTED, t=0.99, budget=1e-4)
    assert "budget" in found.reason and found.upper == math.inf and found.lower == 0.0


def test_equal_laws_have_an_enclosure_that_ends_at_nothing():
    found = proofs.weighted_tv(TWO_MODES, SHIFTED, SHIFTED, t=0.1)
    assert found.lower == found.upper == 0.0 and found.reason == ""


@pytest.mark.slow
def test_the_distance_on_old_faithful_is_proved():
    """272 components, start N(0, 1), t = 0.01: 2.3e-10, which no number of particles sees."""
    data = fp.data.standardise(fp.data.read("old_faithful", ["waiting_min"]))
    reverse = fp.Reverse(fp.KernelDensity(data.samples), fp.VP())
    found = proofs.weighted_tv(reverse, fp.Gaussian(0.0, std=1.0), t=0.01, rtol=1e-6)
    assert found.relative_width <= 1e-6 and found.seconds < 600.0
    assert found.lower == pytest.approx(2.297e-10, rel=1e-3)


if __name__ == "__main__":
    import sys

    # python tests/test_proofs.py FIRST LAST: more random cases, seeds FIRST to LAST - 1; exit status 1 if one is broken
    broken, wide = [], []
    for seed in range(int(sys.argv[1]), int(sys.argv[2])):
        try:
            found = check_random(seed, budget=20.0)
        except (AssertionError, ArithmeticError, RuntimeError, ValueError) as error:
            broken.append(seed)
            print(f"{seed}: BROKEN: {type(error).__name__}: {error}", flush=True)
            continue
        if found.reason:
            wide.append(seed)
        width = f"relative width {found.relative_width:.1e}, {found.seconds:.1f} s"
        print(f"{seed}: holds the oracle's value; {width}; {found.reason or 'as narrow as asked'}", flush=True)
    print(f"broken: {broken or 'none'}; wider than asked, with the reason: {wide or 'none'}")
    sys.exit(1 if broken else 0)


def test_all_is_forgotten_where_the_process_ends_in_noise_alone():
    """alpha(0, T) = 0: the reverse kernel from T is p_t whatever the start, so V-distances are 0."""
    reverse = fp.Reverse(fp.GaussianMixture([0.3, 0.7], [-1.5, 0.8], stds=[0.3, 0.4]), fp.RectifiedFlow())
    found = proofs.weighted_tv(reverse, fp.Gaussian(1.0, std=0.5), t=0.3)
    assert (found.lower, found.upper) == (0.0, 0.0) and found.status == "proved"
    contraction = proofs.harris(reverse, 1.0, 0.3, weight=fp.PolynomialWeight(2, 0.1))
    assert contraction.status == "proved" and contraction.overlap == 1.0 and contraction.value < 0.1

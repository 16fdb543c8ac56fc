"""Log-Sobolev, Wasserstein and frozen scores: constants where they are attained, and true values below every bound."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.stats import norm, wasserstein_distance

import fpsolve as fp
from fpsolve import bounds, kernels

VP = fp.VP()
TWO_MODES = fp.GaussianMixture([0.3, 0.7], [-1.5, 0.8], stds=[0.3, 0.4])


def beta(t):
    return 0.1 + 19.9 * t


def alpha(s, t):
    """The linear VP's scale, written out."""
    return np.exp(-0.5 * (0.1 * (t - s) + 9.95 * (t**2 - s**2)))


def density(law, t, x):
    """A mixture's p_t, and its score, written out."""
    a, components = alpha(0.0, t), law.components
    m, v = a * components.component_means[:, 0], a**2 * components.component_covs[:, 0, 0] + 1.0 - a**2
    parts = np.exp(components.log_weights) * norm.pdf(x[..., None], m, np.sqrt(v))
    p = parts.sum(-1)
    return p, (parts * (m - x[..., None]) / v).sum(-1) / p


def random_mixture(rng, apart=1.0):
    n = int(rng.integers(1, 4))
    stds = rng.uniform(0.45, 0.6, n)
    return fp.GaussianMixture(rng.dirichlet(np.full(n, 2.0)), rng.normal(0.0, apart, n), stds=stds)


@pytest.mark.parametrize("eta", [0.3, 1.0, 1.4])
def test_gaussian_data_attain_the_entropy_and_the_wasserstein_factor(eta):
    """The mean of a start moves along the linear reverse equation, integrated here by Runge and Kutta."""
    v, shift, t0, t1 = 0.36, 0.5, 0.9, 0.05

    def spread(t):
        return alpha(0.0, t) ** 2 * v + 1.0 - alpha(0.0, t) ** 2

    def slope(t, d):
        return (-0.5 * beta(t) + 0.5 * (1.0 + eta**2) * beta(t) / spread(t)) * d

    moved = solve_ivp(slope, (t0, t1), [shift], rtol=1e-11, atol=1e-14).y[0, -1]
    reverse = fp.Reverse(fp.Gaussian(0.2, std=0.6), VP, eta=eta)
    start = fp.Gaussian(alpha(0.0, t0) * 0.2 + shift, cov=spread(t0))
    found = bounds.log_sobolev(reverse, t0, t1, start=start)
    assert found.method == "closed form" and found.constant == pytest.approx(spread(t1), rel=1e-12)
    assert found.kl_start == pytest.approx(0.5 * shift**2 / spread(t0), rel=1e-9)
    assert found.value == pytest.approx(0.5 * moved**2 / spread(t1), rel=1e-8)
    # Otto and Villani's inequality is attained by a shift, too
    assert found.wasserstein == pytest.approx(moved, rel=1e-8)
    assert bounds.wasserstein(reverse, t0, t1).value == pytest.approx(moved / shift, rel=1e-8)


@pytest.mark.parametrize(
    ("law", "constant"),
    [
        (fp.Gaussian(0.3, std=0.5), 0.25),
        (fp.Uniform(-1.0, 2.0), 9.0 / np.pi**2),
        (fp.GaussianMixture([1.0], [0.3], stds=[2.0]), 4.0),
    ],
    ids=repr,
)
def test_the_bracket_encloses_known_log_sobolev_constants(law, constant):
    found = bounds.log_sobolev_bracket(law)
    assert found.lower <= constant <= found.upper <= 16.0 * found.lower


def test_heavy_tails_have_no_log_sobolev_constant():
    assert bounds.log_sobolev_bracket(fp.Laplace()).upper == np.inf
    assert bounds.poincare_bracket(fp.Laplace()).upper < np.inf
    found = bounds.log_sobolev(fp.Reverse(fp.Laplace(), VP), 0.9, 0.1)
    assert found.value is None and "log-Sobolev constant" in found.reason


def in_the_plane(law):
    """The law beside a narrow normal one: constants are at least those of the law, chi-squares the same."""
    m, v = law.component_means[:, 0], law.component_covs[:, 0, 0]
    covs = np.array([np.diag([one, v.min()]) for one in v])
    return fp.GaussianMixture(law.weights, np.stack([m, 0.0 * m], axis=1), covs=covs)


def constant_of(plane):
    """Poincare constant that `poincare` takes in the plane."""
    grid = fp.Grid.uniform([(-9.0, 9.0)] * 2, cells=24)
    return bounds.poincare(fp.Reverse(plane, VP), 0.9, 0.2, grid=grid).constant


def test_chi_square_between_components():
    """Poincare: v_max (1 + X/2), log-Sobolev: v_max (2 + (1 + X/2) (1 + log(1 + X)/2))."""
    x, h = np.linspace(-30.0, 30.0, 60_001, retstep=True)
    law = fp.GaussianMixture([0.2, 0.5, 0.3], [0.0, 0.4, -0.3], stds=[0.5, 0.6, 0.45])
    m, s = law.component_means[:, 0], np.sqrt(law.component_covs[:, 0, 0])
    logs = 2.0 * norm.logpdf(x, m[:, None, None], s[:, None, None]) - norm.logpdf(x, m[:, None], s[:, None])
    with np.errstate(under="ignore"):
        chi = (np.exp(logs).sum(-1) * h).max() - 1.0
    assert constant_of(in_the_plane(law)) == pytest.approx(0.36 * (1.0 + 0.5 * chi), rel=1e-9)
    expected = 0.36 * (2.0 + (1.0 + 0.5 * chi) * (1.0 + 0.5 * np.log1p(chi)))
    assert bounds.log_sobolev_constant(in_the_plane(law)) == (pytest.approx(expected, rel=1e-9), "mixture")
    wide = fp.GaussianMixture([0.5, 0.5], [[0.0, 0.0], [0.0, 0.0]], stds=[1.0, 1.5])
    assert np.isnan(constant_of(wide)) and bounds.log_sobolev_constant(wide) == (np.inf, "none")
    covs = np.array([[[0.5, 0.1], [0.1, 0.4]], [[0.4, 0.0], [0.0, 0.5]]])
    plane = fp.GaussianMixture([0.4, 0.6], [[0.0, 0.0], [0.3, -0.4]], covs=covs)
    y = np.linspace(-8.0, 8.0, 401)
    z = np.stack(np.meshgrid(y, y, indexing="ij"), axis=-1)
    logs = [fp.Gaussian(m, cov=c).log_density(z) for m, c in zip(plane.component_means, covs, strict=True)]
    chi = max(np.exp(2.0 * a - b).sum() * (y[1] - y[0]) ** 2 - 1.0 for a, b in (logs, logs[::-1]))
    v_max = np.linalg.eigvalsh(covs).max()
    assert constant_of(plane) == pytest.approx(v_max * (1.0 + 0.5 * chi), rel=1e-6)


def test_constants_of_mixtures_are_above_what_is_certain():
    """Every upper bound is above the lower end of the brackets, which know nothing of components."""
    rng, methods = np.random.default_rng(3), set()
    for k in range(25):
        law = random_mixture(rng, 0.5)
        least = bounds.log_sobolev_bracket(law).lower, bounds.poincare_bracket(law).lower
        constant, method = bounds.log_sobolev_constant(law)
        plane, way = bounds.log_sobolev_constant(in_the_plane(law))
        methods |= {method, way}
        assert min(constant, plane) >= max(least)
        if k < 8:
            assert constant_of(in_the_plane(law)) >= least[1]
    assert methods == {"closed form", "bracket on the line", "mixture"}


def test_true_entropies_are_below_the_bound():
    """q_t by Bayes' rule with trapezoids, formulas written out."""
    rng = np.random.default_rng(11)
    x, h = np.linspace(-9.0, 9.0, 901, retstep=True)
    tightest = np.inf
    for _ in range(15):
        target, start = random_mixture(rng), random_mixture(rng, 0.3)
        t0, t1 = rng.uniform(0.3, 1.0), rng.uniform(0.0, 0.25)
        a = alpha(t1, t0)
        p0, p1 = density(target, t0, x)[0], density(target, t1, x)[0]
        nu = np.exp(start.log_density(x))
        q = p1 * (norm.pdf(x, a * x[:, None], np.sqrt(1.0 - a**2)) @ (nu / p0)) * h
        seen = q > 1e-250
        true = np.sum(q[seen] * np.log(q[seen] / p1[seen])) * h
        found = bounds.log_sobolev(fp.Reverse(target, VP), t0, t1, start=start)
        assert found.value is not None and true <= found.value * (1.0 + 1e-6) + 1e-12
        assert 0.5 * np.sum(abs(q - p1)) * h <= found.total_variation
        tightest = min(tightest, found.value / max(true, 1e-300))
    assert tightest < 50.0


def test_two_dimensions_have_constants_now():
    law = fp.GaussianMixture([0.5, 0.5], [[-0.6, 0.0], [0.6, 0.2]], stds=[0.5, 0.5])
    grid, chi = fp.Grid.uniform([(-8.0, 8.0)] * 2, cells=80), np.expm1((1.2**2 + 0.2**2) / 0.25)
    reverse = fp.Reverse(law, VP)
    found = bounds.poincare(reverse, 0.9, 0.2, grid=grid)
    assert found.method == "mixture" and found.constant == pytest.approx(0.25 * (1.0 + 0.5 * chi))
    along = fp.GaussianMixture([0.5, 0.5], [-0.5 * np.hypot(1.2, 0.2), 0.5 * np.hypot(1.2, 0.2)], stds=[0.5, 0.5])
    assert found.constant >= bounds.poincare_bracket(along).lower and found.value is not None
    kl = bounds.log_sobolev(reverse, 0.9, 0.2, grid=grid, start=fp.Gaussian([0.3, 0.0], std=1.0))
    assert kl.value is not None and kl.value < kl.kl_start
    with pytest.raises(ValueError, match="grid: expected a Grid for the entropy at t0 in 2D"):
        bounds.log_sobolev(reverse, 0.9, 0.2)


def test_the_coefficient_in_w1_is_the_largest_over_all_pairs():
    grid = fp.Grid.uniform((-6.0, 6.0), cells=120)
    kernel = kernels.exact(fp.Reverse(TWO_MODES, VP), grid, 0.5, 0.2, source="point")
    # of the matrix alone, as of any kernel that is not known in closed form
    found, x = bounds.ollivier(replace(kernel, exact_of=None)), grid.x
    rng, largest = np.random.default_rng(0), 0.0
    far = [tuple(rng.choice(np.arange(20, 100), 2, replace=False)) for _ in range(60)]
    for i, j in [(i, i + 1) for i in range(30, 90)] + far:
        rows = kernel.matrix[i], kernel.matrix[j]
        largest = max(largest, wasserstein_distance(x, x, *rows) / abs(x[i] - x[j]))
    assert found.value == pytest.approx(largest, rel=1e-9) and found.status == "estimated"
    # quotients over whole cells are below the slope between them
    assert largest < bounds.ollivier(kernel).value < largest * (1.0 + 2e-4)
    # late, between the modes, the kernel spreads points: no contraction in W1, and none by log-concavity
    kernel = kernels.exact(fp.Reverse(TWO_MODES, VP), grid.refine(), 0.2, 0.05, source="point")
    late = bounds.ollivier(replace(kernel, exact_of=None))
    assert late.value > 1.0 and abs(late.x) < 1.0
    # on the line it is larger: far left the wider mode takes over, and Var P(y, .) has a peak
    alpha, s = float(VP.scale(0.05, 0.2)), float(VP.variance(0.05, 0.2))
    a, v = VP.scale(0.0, 0.05), VP.scale(0.0, 0.05) ** 2 * np.array([0.09, 0.16]) + VP.variance(0.0, 0.05)
    y, m, total = np.linspace(-36.0, -33.0, 30_001)[:, None], a * np.array([-1.5, 0.8]), alpha**2 * v + s
    logs = np.log([0.3, 0.7]) - 0.5 * np.log(total) - 0.5 * (y - alpha * m) ** 2 / total
    share = np.exp(logs - logs.max(axis=1, keepdims=True))
    share, mean = share / share.sum(axis=1, keepdims=True), (alpha * v * y + s * m) / total
    spread = (share * (mean**2 + v * s / total)).sum(axis=1) - (share * mean).sum(axis=1) ** 2
    assert bounds.ollivier(kernel).value == pytest.approx(alpha / s * spread.max(), rel=1e-7)
    assert bounds.ollivier(kernel).value > late.value
    assert bounds.wasserstein(fp.Reverse(TWO_MODES, VP), 0.5, 0.2).value is None


def test_the_wasserstein_factor_holds_for_a_log_concave_mixture():
    law = fp.GaussianMixture([0.5, 0.5], [-0.2, 0.2], stds=[0.3, 0.3])
    reverse, grid = fp.Reverse(law, VP), fp.Grid.uniform((-6.0, 6.0), cells=480)
    for t0, t1 in ((0.9, 0.4), (0.4, 0.15), (0.3, 0.1)):
        kernel = kernels.exact(reverse, grid, t0, t1, source="point")
        assert bounds.ollivier(kernel).value <= bounds.wasserstein(reverse, t0, t1).value * (1.0 + 1e-4)


TIMES = 1.05 * (0.0524 / 1.05) ** (np.arange(13) / 12) - 0.05


def test_frozen_scores_cost_what_the_two_time_law_says():
    """E|s(t, X_t) - s(t_k, X_k)|^2 by a double integral over the joint law, for every step."""
    times = np.array([0.8, 0.5, 0.3])
    found = bounds.discretization(fp.Reverse(TWO_MODES, VP), times)
    x, h = np.linspace(-5.5, 5.5, 441, retstep=True)
    for (t_k, later), step in zip(pairwise(times), found.steps, strict=True):

        def moved(t, t_k=t_k):
            a = alpha(t, t_k)
            p, s = density(TWO_MODES, t, x)
            joint = p[:, None] * norm.pdf(x, a * x[:, None], np.sqrt(1.0 - a**2))
            return 0.5 * beta(t) * np.sum(joint * (s[:, None] - density(TWO_MODES, t_k, x)[1]) ** 2) * h * h

        # Simpson's rule but for the last hundredth, where the joint law is too narrow for the points
        near = t_k - 0.01 * (t_k - later)
        t = np.linspace(later, near, 41)
        values = np.array([moved(s) for s in t])
        simpson = (t[1] - t[0]) / 3.0 * (values[0] + values[-1] + 4.0 * values[1::2].sum() + 2.0 * values[2:-1:2].sum())
        assert step == pytest.approx(simpson + 0.5 * values[-1] * (t_k - near), rel=2e-4)


def test_a_frozen_gaussian_by_quadrature():
    v, times = 0.25, TIMES

    def spread(t):
        return alpha(0.0, t) ** 2 * v + 1.0 - alpha(0.0, t) ** 2

    found = bounds.discretization(fp.Reverse(fp.Gaussian(0.3, std=0.5), VP), times)
    for (t_k, later), step in zip(pairwise(times), found.steps, strict=True):

        def rate(t, t_k=t_k):
            return 0.5 * beta(t) * (1.0 / spread(t) + (1.0 - 2.0 * alpha(t, t_k)) / spread(t_k))

        true = quad(rate, later, t_k)[0]
        assert step == pytest.approx(true, rel=1e-7)
    assert found.value == pytest.approx(found.kl_start + found.steps.sum())


def test_the_entropy_of_the_sampler_is_below_the_bound():
    """The exponential integrator on the score, density by density, with trapezoids."""
    x, h = np.linspace(-7.0, 7.0, 1401, retstep=True)
    q = norm.pdf(x)
    for t, u in pairwise(TIMES):
        a = alpha(u, t)
        mean = (x + 2.0 * (1.0 - a) * density(TWO_MODES, t, x)[1]) / a
        q = norm.pdf(x[:, None], mean, np.sqrt(1.0 / a**2 - 1.0)) @ q * h
    p = density(TWO_MODES, TIMES[-1], x)[0]
    true = np.sum(p * np.log(p / q)) * h
    found = bounds.discretization(fp.Reverse(TWO_MODES, VP), TIMES)
    assert true <= found.value <= 30.0 * true


def test_in_the_plane_an_entropy_is_none_where_the_box_misses_the_start():
    """A start beyond the box had an entropy of -3e-170 in it, and that was called certified."""
    grid = fp.Grid.uniform(((-6, 6), (-6, 6)), cells=(48, 48))
    reverse = fp.Reverse(fp.Gaussian([0.0, 0.0], std=0.5), VP)
    far = fp.Gaussian([20.0, 0.0], std=0.5)
    half = fp.GaussianMixture([0.5, 0.5], [[20.0, 0.0], [0.0, 0.0]], stds=[0.5, 0.5])
    for start in (far, half, fp.Gaussian([0.0, 0.0], std=4.0)):
        found = bounds.log_sobolev(reverse, 1.0, 0.1, start=start, grid=grid)
        assert found.value is None and "the box holds start" in found.reason
    # KL of N(0, 0.8^2 I) and N(0, v I), v the variance of p_1
    v = alpha(0.0, 1.0) ** 2 * 0.25 + 1.0 - alpha(0.0, 1.0) ** 2
    found = bounds.log_sobolev(reverse, 1.0, 0.1, start=fp.Gaussian([0.0, 0.0], std=0.8), grid=grid)
    assert found.kl_start == pytest.approx(0.64 / v - 1.0 - np.log(0.64 / v), rel=1e-4)
    assert any("beyond the boxes" in text for text in found.unchecked)


def test_in_the_plane_frozen_scores_cost_what_they_cost_on_two_lines():
    line = bounds.discretization(fp.Reverse(fp.Gaussian(0.0, std=0.5), VP), [0.5, 0.3, 0.2])
    reverse = fp.Reverse(fp.Gaussian([0.0, 0.0], std=0.5), VP)
    for half, value in ((1.0, None), (6.0, 2.0 * line.value)):
        grid = fp.Grid.uniform(((-half, half), (-half, half)), cells=(40, 40))
        found = bounds.discretization(reverse, [0.5, 0.3, 0.2], grid=grid)
        assert found.value == (None if value is None else pytest.approx(value, rel=1e-4))
        assert ("the box holds the laws" in found.reason) == (value is None)


@pytest.mark.parametrize("shift", [1e-6, 1e-9, 1e-13])
def test_the_entropy_of_a_small_shift_keeps_its_digits(shift):
    """It was as often negative as positive below 1e-17: a difference of numbers of the size of the shift."""
    reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0))
    found = bounds.log_sobolev(reverse, 1.0, 0.1, start=fp.Gaussian(shift, std=1.0))
    assert found.kl_start == pytest.approx(0.5 * shift**2, rel=2e-2)
    assert found.wasserstein >= 0.0


@pytest.mark.parametrize("std", [1e-2, 1e-5, 1e-7])
def test_frozen_scores_of_narrow_laws_down_to_time_zero(std):
    """The information is 1/(variance) down to times at which the noise is as narrow as the law: by quad over log t."""

    def spread(t):
        return alpha(0.0, t) ** 2 * std**2 - np.expm1(-(0.1 * t + 9.95 * t**2))

    def rate(u):
        t = np.exp(u)
        return 0.5 * t * beta(t) * (1.0 / spread(t) + (1.0 - 2.0 * alpha(t, 0.1)) / spread(0.1))

    ends = np.linspace(np.log(1e-30), np.log(0.1), 40)
    true = sum(quad(rate, a, b, epsabs=0.0, epsrel=1e-10)[0] for a, b in pairwise(ends))
    found = bounds.discretization(fp.Reverse(fp.Gaussian(0.0, std=std), VP), [0.5, 0.1, 0.0])
    assert found.steps[-1] == pytest.approx(true, rel=1e-6)


def test_a_point_has_no_bound_down_to_time_zero():
    """The integral of 1/t."""
    reverse = fp.Reverse(fp.PointMass(0.3), VP)
    found = bounds.discretization(reverse, [0.5, 0.1, 0.0])
    assert found.value is None and "towards t = 0" in found.reason
    assert bounds.discretization(reverse, [0.5, 0.1, 0.01]).value is not None
    # a jump's information grows like t^(-1/2), which has an integral
    assert bounds.discretization(fp.Reverse(fp.Uniform(-1.0, 1.0), VP), [0.5, 0.1, 0.0]).value is not None


def test_a_component_counts_however_small_its_weight():
    """f = (x - 50)_+ lives in the wide component alone, and its weight cancels: C >= Var f/E f'^2, about 9e5."""
    z = 0.05
    first, second = norm.pdf(z) - z * norm.sf(z), (1.0 + z**2) * norm.sf(z) - z * norm.pdf(z)
    weight = 1e-305
    quotient = 1e6 * (second - weight * first**2) / norm.sf(z)
    law = fp.GaussianMixture([1.0, weight], [0.0, 0.0], stds=[1.0, 1e3])
    assert bounds.poincare_bracket(law).upper >= quotient > 5e5
    # the log-Sobolev constant is at least that of Poincare
    assert bounds.log_sobolev_bracket(law).upper >= quotient and bounds.log_sobolev_constant(law)[0] >= quotient


def test_a_bracket_of_a_function_is_an_estimate_and_ends_where_it_still_rises():
    """exp(-x^2/2 - c|x|) has E exp(k|X|) ~ exp((k - c)^2/2), and so C >= 1 (Herbst), attained beyond 690 nats."""
    for c in (20.0, 50.0, 200.0):
        law = fp.FromLogDensity(lambda x, c=c: -0.5 * x**2 - c * np.abs(x), dim=1)
        assert bounds.log_sobolev_bracket(law).upper >= 1.0
    gap = fp.FromLogDensity(lambda x: np.where((np.abs(x) < 1.0) & (np.abs(x - 0.3) > 5e-4), 0.0, -np.inf), dim=1)
    laplace = fp.FromLogDensity(lambda x: -np.abs(x), dim=1)
    # C = 4 is the limit far out, which is no rise
    assert 4.0 <= bounds.poincare_bracket(laplace).upper < 4.5
    for law in (gap, laplace):
        assert bounds.poincare_bracket(law).status == "estimated"
    assert bounds.poincare_bracket(fp.Laplace()).status == "certified"
    found = bounds.log_sobolev(fp.Reverse(gap, VP), 1.0, 0.1)
    assert any("at which it was looked at" in text for text in found.unchecked)


def test_given_constants_are_not_below_the_variance():
    reverse = fp.Reverse(TWO_MODES, VP)
    assert bounds.log_sobolev(reverse, 1.0, 0.1, constant=1e-3).value is None
    assert bounds.log_sobolev(reverse, 1.0, 0.1, constant=2.0).value is not None
    assert bounds.wasserstein(reverse, 1.0, 0.1, concavity=1e3).value is None
    assert bounds.wasserstein(reverse, 1.0, 0.1, concavity=0.5).value is not None


@pytest.mark.parametrize(("width", "at"), [(0.05, 0.37), (0.01, 0.71), (0.003, 0.37)])
def test_girsanov_sees_score_errors_that_come_and_go(width, at):
    """For N(0, 1) under VP: 1/2 int beta f^2. It was 0.6 % too small, 2.4 times too large and next to nothing."""

    def push(t):
        return 0.3 * np.exp(-(((t - at) / width) ** 2))

    reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), VP)
    other = fp.Reverse(reverse.target, VP, score=lambda t, x: push(t) - x)
    found = bounds.girsanov(reverse, other, t_min=0.01, grid=fp.Grid.uniform((-9, 9), cells=100))
    near = np.clip([at - 8.0 * width, at, at + 8.0 * width], 0.01, 1.0)
    true = sum(0.5 * quad(lambda t: beta(t) * push(t) ** 2, a, b, epsabs=0.0)[0] for a, b in pairwise(near))
    assert found.value == pytest.approx(true, rel=1e-6)

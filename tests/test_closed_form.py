"""The oracle against formulas, scipy quadrature, ordinary differential equations, and itself along other routes."""

import itertools
from dataclasses import dataclass
from types import SimpleNamespace

import cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg
from scipy.integrate import quad, solve_ivp
from scipy.special import log_ndtr, logsumexp, ndtr

import fpsolve as fp
from fpsolve import closed_form
from fpsolve.closed_form import _fields, _mixture, _solve, density, kernel, log_density, weighted_tv

OU = fp.OrnsteinUhlenbeck(T=3.0)
UNIT = fp.UnitWeight()
X = np.linspace(-6.0, 6.0, 241)

PROCESSES = {
    "ou": OU,
    "vp": fp.VP(),
    "curved": fp.VP(sigma=1.5, curvature=3.0),
    "cosine": fp.CosineVP(),
    "sub-vp": fp.SubVP(),
    "ve": fp.VE(),
    "edm": fp.EDM(),
}
STARTS = {
    "gaussian": fp.Gaussian(1.5, std=0.5),
    "wide": fp.Gaussian(0.0, std=2.0),
    "far": fp.Gaussian(6.0, std=0.1),
    "mixture": fp.GaussianMixture([0.2, 0.8], [-1.0, 3.0], stds=[0.1, 1.0]),
    "data": fp.KernelDensity([-1.0, 0.2, 0.9, 1.0], bandwidth=0.2),
    "laplace": fp.Laplace(0.3, 0.5),
    "student": fp.StudentT(5.0),
    "uniform": fp.Uniform(-1.0, 2.0),
    "callable": fp.FromLogDensity(lambda x: -0.5 * x**2 - 0.3 * np.cos(3.0 * x), dim=1),
}
TARGETS = {
    "laplace": fp.Laplace(0.3, 0.7),
    "student": fp.StudentT(5.0, 0.5, 0.4),
    "uniform": fp.Uniform(-1.0, 2.0),
    "callable": fp.FromLogDensity(lambda x: -(x**2) + 1.5 * np.cos(3.0 * x), dim=1),
}
MOONS = fp.GaussianMixture(
    [0.4, 0.6], [[-1.0, 0.5], [1.0, 0.0]], covs=[[[0.3, 0.2], [0.2, 0.4]], [[0.2, 0.0], [0.0, 0.1]]]
)


def reverse_of(target, process=OU, eta=1.0):
    return fp.Reverse(target, process, eta=eta)


def moments(law, process, t):
    """Mean and covariance of p_t from the table of the documentation."""
    alpha, variance = process.scale(0.0, t), process.variance(0.0, t)
    dim = np.size(law.mean)
    return alpha * np.atleast_1d(law.mean), alpha**2 * np.atleast_2d(law.cov) + variance * np.eye(dim)


def bayes_by_scipy(reverse, start, t, x, limits, points=()):
    """q_t(x) for one x, straight from the formula and scipy's adaptive quadrature."""
    process = reverse.process
    p_t = reverse.target.diffused(float(process.scale(0.0, t)), float(process.variance(0.0, t)))
    p_start = reverse.target.diffused(float(process.scale(0.0, process.T)), float(process.variance(0.0, process.T)))
    alpha, variance = float(process.scale(t, process.T)), float(process.variance(t, process.T))

    def integrand(y):
        log_kernel = -0.5 * (y - alpha * x) ** 2 / variance - 0.5 * np.log(2 * np.pi * variance)
        return float(np.exp(start.log_density(y) + log_kernel - p_start.log_density(y) + p_t.log_density(x)))

    return quad(integrand, *limits, points=points or None, epsabs=1e-14, epsrel=1e-12, limit=500)[0]


# --- marginals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("t", [1e-3, 0.2, 3.0])
def test_marginals_by_quadrature_against_the_laws_own_closed_forms(name, t):
    alpha, variance = float(OU.scale(0.0, t)), float(OU.variance(0.0, t))
    mine = _fields.by_quadrature(TARGETS[name], OU, t, 1e-12).log_at(X)
    law = TARGETS[name].diffused(alpha, variance)
    if law is None:
        for x in (-1.3, 0.0, 4.0):
            centre, reach = x / alpha, 12.0 * np.sqrt(variance) / alpha

            def integrand(y, x=x):
                return TARGETS[name].density(y) * np.exp(-0.5 * (x - alpha * y) ** 2 / variance)

            # beyond 12 the density is below exp(-140)
            limits = max(centre - reach, -12.0), min(centre + reach, 12.0)
            expected = quad(integrand, *limits, epsabs=0.0, epsrel=1e-11, limit=500)[0] / np.sqrt(2 * np.pi * variance)
            found = np.exp(_fields.by_quadrature(TARGETS[name], OU, t, 1e-12).log_at(np.array([x]))[0])
            assert found == pytest.approx(expected, rel=1e-9)
        return
    # log densities down to -2e4: relative to their size that is rounding
    assert np.abs(mine - law.log_density(X)).max() <= 1e-12 * np.abs(mine).max() + 1e-12


def test_a_layer_next_to_a_kink_is_not_skipped():
    """Far to the left the Laplace integrand is a layer at its kink, between the nodes of the panels beside it."""
    law, process = fp.Laplace(0.0, 0.5), fp.VP()
    alpha, variance = float(process.scale(0.0, 1.0)), float(process.variance(0.0, 1.0))
    x = np.array([-200.0, -79.0, -31.0, -5.0])
    alone = [float(_fields.marginal(law, process, 1.0, 1e-12).log_at(x[[k]])[0]) for k in range(x.size)]
    assert np.abs(alone - law.diffused(alpha, variance).log_density(x)).max() <= 1e-10


# --- eta = 1: Bayes' rule ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STARTS)
def test_any_start_against_scipy_quadrature(name):
    reverse, start = cases.ou_mixture(), STARTS[name]
    kinks = {"laplace": (0.3,), "uniform": (-1.0, 2.0)}.get(name, ())
    limits = {"uniform": (-1.0, 2.0), "student": (-400.0, 400.0)}.get(name, (-30.0, 30.0))
    for t in (0.01, 1.0, 2.9):
        for x in (-2.2, 0.4, 1.8):
            points = () if name == "uniform" else (*kinks, float(start.mean), -20.0, 20.0)
            expected = bayes_by_scipy(reverse, start, t, x, limits, points)
            assert density(reverse, start, t, x) == pytest.approx(expected, rel=1e-8, abs=1e-14)


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize("process", ["ou", "cosine"])
def test_mass_is_one(name, process):
    reverse = reverse_of(cases.ou_mixture().target, PROCESSES[process])
    x = np.linspace(-15.0, 15.0, 3001)
    for t in (0.05, 0.5):
        q = density(reverse, STARTS[name], t * reverse.process.T, x)
        # a heavy-tailed start keeps heavy tails for a while
        tail = 3e-5 if name == "student" else 2e-9
        assert q.sum() * (x[1] - x[0]) == pytest.approx(1.0, abs=tail)


@pytest.mark.parametrize("process", PROCESSES)
def test_integral_from_the_marginal_gives_the_marginal(process):
    reverse = reverse_of(cases.ou_mixture().target, PROCESSES[process])
    T = reverse.process.T
    for t in (0.002 * T, 0.3 * T):
        spread = 4.0 + 8.0 * float(np.sqrt(reverse.process.variance(0.0, t)))
        x = np.linspace(-spread, spread, 101)
        found = _fields.bayes(reverse.target, reverse.process, reverse.marginal(T), t, 1e-12).log_at(x)
        expected = reverse.marginal(t).log_density(x)
        assert np.abs(found - expected).max() <= 2e-12 * (1.0 + np.abs(expected).max())


def test_tails_stay_accurate_and_finite_far_out():
    reverse = cases.ou_mixture()
    x = np.concatenate([-np.geomspace(60.0, 5.0, 20), np.geomspace(5.0, 60.0, 20)])
    found = _fields.bayes(reverse.target, OU, reverse.marginal(3.0), 0.01, 1e-12).log_at(x)
    expected = reverse.marginal(0.01).log_density(x)
    assert expected.min() < -5000.0
    assert np.abs(found / expected - 1.0).max() <= 1e-12
    for start in STARTS.values():
        assert np.isfinite(log_density(reverse, start, 0.01, x)).all()


@pytest.mark.parametrize("df", [9.0, 50.0])
def test_peaks_of_slow_starts_over_fast_marginals_are_found_far_out(df):
    """Where nu/p_T rises, the integrand has a second peak at y = 10^4, past a valley of exp(-170)."""
    reverse, start, t = cases.two_mode_vp(), fp.StudentT(df), 0.1
    alpha, variance = float(reverse.process.scale(t, 1.0)), float(reverse.process.variance(t, 1.0))
    for x in (6.2, 20.0):
        parts = []
        for edge, n in ((40.0, 40_001), (4e4, 400_001)):
            y = np.linspace(-edge, edge, n)
            log_f = start.log_density(y) - reverse.marginal(1.0).log_density(y) - 0.5 * (y - alpha * x) ** 2 / variance
            outside = np.abs(y) > (40.0 if edge > 40.0 else -1.0)
            parts.append(logsumexp(log_f[outside]) + np.log(y[1] - y[0]) - 0.5 * np.log(2 * np.pi * variance))
        expected = float(np.logaddexp(*parts) + reverse.marginal(t).log_density(x))
        # exponents of 10^8 cancel: their rounding is what is left
        assert float(log_density(reverse, start, t, x)) == pytest.approx(expected, abs=1e-6)


def test_a_group_of_points_says_what_each_of_them_says_alone():
    """From the ends of a range of points the bulk may lie e^-75 below a peak far out, and is still there between."""
    reverse, start = cases.two_mode_vp(), fp.StudentT(9.0)
    x = np.linspace(-12.0, 12.0, 49)
    alone = np.array([float(log_density(reverse, start, 0.1, at)) for at in x])
    assert alone.max() > -1.0
    assert log_density(reverse, start, 0.1, x) == pytest.approx(alone, rel=1e-9)


def test_a_peak_that_moves_faster_than_its_centre_is_followed():
    """Laplace start, narrow modes: panels right for two centres are not right for those between them."""
    target = fp.GaussianMixture([0.35, 0.65], [5.2, 4.5], stds=[0.1, 0.1])
    reverse = reverse_of(target, fp.VP(sigma=1.3, curvature=8.0))
    x = np.linspace(3.0, 7.0, 801)
    q = density(reverse, fp.Laplace(3.9, 2.2), 0.13, x)
    assert q.sum() * (x[1] - x[0]) == pytest.approx(1.0, abs=1e-10)
    one_by_one = [density(reverse, fp.Laplace(3.9, 2.2), 0.13, at) for at in x[::100]]
    assert q[::100] == pytest.approx(np.array(one_by_one), rel=1e-10)


@pytest.mark.parametrize("t", [0.01, 0.7, 2.9])
@pytest.mark.parametrize("start", [fp.Gaussian(2.0, std=0.3), fp.Gaussian(-1.0, std=2.5)])
def test_gaussian_formula_against_the_integral(t, start):
    target = fp.Gaussian(0.7, std=0.4)
    m_t, v_t = (float(np.squeeze(a)) for a in moments(target, OU, t))
    m_T, v_T = (float(np.squeeze(a)) for a in moments(target, OU, 3.0))
    gain, noise = v_t * OU.scale(t, 3.0) / v_T, v_t * OU.variance(t, 3.0) / v_T
    law = fp.Gaussian(m_t + gain * (start.mean - m_T), cov=noise + gain**2 * start.cov)
    assert np.abs(log_density(reverse_of(target), start, t, X) - law.log_density(X)).max() <= 1e-10
    by_integral = _fields.bayes(target, OU, start, t, 1e-12).log_at(X)
    assert np.abs(by_integral - law.log_density(X)).max() <= 1e-11 * (1.0 + np.abs(by_integral).max())


def test_reference_value_of_the_documentation():
    reverse = cases.ou_mixture()
    starts = reverse.marginal(3.0), fp.Gaussian(0.0, std=1.0)
    at_start, at_end = (0.5 * weighted_tv(reverse, *starts, t, UNIT).value for t in (3.0, 0.01))
    print("TV at the start and at t = 0.01:", at_start, at_end)
    assert at_start == pytest.approx(1.902e-3, rel=3e-4)
    assert at_end == pytest.approx(6.5589e-6, rel=1e-5)


@pytest.mark.parametrize("target", [cases.ou_mixture().target, TARGETS["laplace"]], ids=["mixture", "laplace"])
def test_point_mass_is_the_kernel_and_the_limit_of_narrow_starts(target):
    reverse = reverse_of(target)
    q = density(reverse, fp.PointMass(1.2), 0.5, X)
    assert np.abs(q - kernel(reverse, 3.0, 0.5, [1.2], X)[0]).max() <= 1e-13
    narrow = density(reverse, fp.Gaussian(1.2, std=1e-4), 0.5, X)
    assert np.abs(q - narrow).max() <= 1e-8
    assert q.sum() * (X[1] - X[0]) == pytest.approx(1.0, abs=1e-3)


def test_chapman_kolmogorov():
    reverse, z = cases.two_mode_vp(), np.linspace(-9.0, 9.0, 2001)
    x_from, x_to = np.array([-1.0, 0.3, 2.0]), np.linspace(-3.0, 3.0, 13)
    direct = kernel(reverse, 1.0, 0.05, x_from, x_to)
    in_two = kernel(reverse, 1.0, 0.3, x_from, z) @ kernel(reverse, 0.3, 0.05, z, x_to) * (z[1] - z[0])
    assert np.abs(direct - in_two).max() <= 1e-12
    assert np.abs(kernel(reverse, 1.0, 0.3, x_from, z).sum(axis=1) * (z[1] - z[0]) - 1.0).max() <= 1e-12
    # the kernel pushes the density of any start from one time to another
    start = fp.Laplace(0.5, 0.3)
    pushed = density(reverse, start, 0.3, z) @ kernel(reverse, 0.3, 0.05, z, x_to) * (z[1] - z[0])
    assert np.abs(pushed - density(reverse, start, 0.05, x_to)).max() <= 1e-12


@settings(max_examples=20)
@given(
    st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=4),
    st.floats(0.1, 1.0),
    st.floats(-3.0, 3.0),
    st.floats(0.05, 2.0),
    st.sampled_from(["ou", "vp", "sub-vp", "ve", "edm"]),
    st.floats(0.2, 0.9),
)
def test_random_problems_conserve_mass_and_compose(means, std, centre, width, name, fraction):
    """One integral from T to t equals one to the middle and the kernel from there."""
    process = PROCESSES[name]
    reverse = reverse_of(fp.GaussianMixture(np.full(len(means), 1 / len(means)), means, stds=std), process)
    T = process.T
    t = float(fraction * T)
    middle = 0.5 * (t + T)
    noise = {now: float(np.sqrt(process.variance(0.0, now))) for now in (t, middle, T)}
    start = fp.Gaussian(centre * noise[T], std=width * noise[T])
    z = {now: 25.0 * (4.0 + noise[now]) * np.linspace(-1.0, 1.0, 2001) for now in (t, middle)}
    q = {now: density(reverse, start, now, z[now]) * (z[now][1] - z[now][0]) for now in (t, middle)}
    assert [q[t].sum(), q[middle].sum()] == pytest.approx([1.0, 1.0], abs=1e-9)
    x = np.array([-0.5, 0.0, 1.0]) * (noise[t] + std)
    pushed = q[middle] @ kernel(reverse, middle, t, z[middle], x)
    assert pushed == pytest.approx(density(reverse, start, t, x), rel=1e-8, abs=1e-12)


# --- Gaussian targets, any eta -------------------------------------------------------------------------------------


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("name", ["ou", "vp", "sub-vp", "ve"])
def test_linear_dynamics_against_its_moment_equations(eta, name):
    process = PROCESSES[name]
    target, start, t = fp.Gaussian(0.7, std=0.4), fp.Gaussian(-1.0, std=0.8), 0.05 * process.T

    def rates(r, state):
        now = process.T - r
        mean, var = (np.squeeze(a) for a in moments(target, process, now))
        g2 = process.diffusion(now) ** 2
        slope = -process.drift_rate(now) - 0.5 * (1.0 + eta**2) * g2 / var
        constant = 0.5 * (1.0 + eta**2) * g2 * mean / var
        return [slope * state[0] + constant, 2.0 * slope * state[1] + eta**2 * g2]

    span = (0.0, process.T - t)
    mean, var = solve_ivp(rates, span, [start.mean, start.cov], method="LSODA", rtol=1e-11, atol=1e-13).y[:, -1]
    expected = fp.Gaussian(mean, cov=var).log_density(X)
    found = log_density(reverse_of(target, process, eta), start, t, X)
    assert np.abs(found - expected).max() <= 3e-8 * (1.0 + np.abs(expected).max())


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.5])
def test_linear_dynamics_in_the_plane_against_its_moment_equations(eta):
    target = fp.Gaussian([0.5, -0.3], cov=[[0.5, 0.3], [0.3, 0.4]])
    start, t = fp.Gaussian([1.0, 1.0], cov=[[0.2, -0.1], [-0.1, 0.5]]), 0.1

    def rates(r, state):
        mean, cov = moments(target, OU, 3.0 - r)
        slope = np.eye(2) - (1.0 + eta**2) * np.linalg.inv(cov)
        m, c = state[:2], state[2:].reshape(2, 2)
        dm = slope @ m + (1.0 + eta**2) * np.linalg.solve(cov, mean)
        return np.concatenate([dm, (slope @ c + c @ slope.T + 2.0 * eta**2 * np.eye(2)).ravel()])

    initial = np.concatenate([start.mean, np.ravel(start.cov)])
    end = solve_ivp(rates, (0.0, 2.9), initial, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    cov = end[2:].reshape(2, 2)
    law = fp.Gaussian(end[:2], cov=0.5 * (cov + cov.T))
    points = np.random.default_rng(0).normal(size=(50, 2))
    assert np.abs(log_density(reverse_of(target, OU, eta), start, t, points) - law.log_density(points)).max() <= 1e-8


@pytest.mark.parametrize("eta", [0.4, 1.0])
@pytest.mark.parametrize("name", ["laplace", "student", "uniform"])
def test_linear_dynamics_from_starts_that_are_no_mixtures(eta, name):
    """The law of G Y + noise is known to the laws in closed form."""
    target, t = fp.Gaussian(0.7, std=0.4), 0.5
    reverse = reverse_of(target, OU, eta)
    gain = log_gain(reverse, t)
    noise = density(reverse, fp.PointMass(0.0), t, X) @ X**2 * (X[1] - X[0])
    at_zero = density(reverse, fp.PointMass(0.0), t, X) @ X * (X[1] - X[0])
    law = STARTS[name].diffused(gain, noise - at_zero**2)
    found = log_density(reverse, STARTS[name], t, X + at_zero)
    assert np.abs(found - law.log_density(X)).max() <= 1e-9 * (1.0 + np.abs(found).max())


def log_gain(reverse, t):
    """G from the means of two point masses."""
    means = [density(reverse, fp.PointMass(at), t, X) @ X * (X[1] - X[0]) for at in (0.0, 1.0)]
    return means[1] - means[0]


@pytest.mark.parametrize("eta", [0.3, 1.0, 2.0])
def test_marginal_start_is_found_by_its_parameters(eta):
    reverse = reverse_of(cases.ou_mixture().target, OU, eta)
    p = reverse.marginal(3.0)
    same = fp.GaussianMixture([0.5, 0.5], p.component_means[::-1, 0], covs=p.component_covs[::-1, 0, 0])
    assert log_density(reverse, same, 0.2, X) == pytest.approx(reverse.marginal(0.2).log_density(X), rel=1e-12)
    other = fp.GaussianMixture([0.5, 0.5], p.component_means[:, 0], covs=p.component_covs[:, 0, 0] * 1.001)
    if eta != 1.0:
        with pytest.raises(ValueError, match="reverse: expected a case with a closed form, got eta"):
            density(reverse, other, 0.2, X)


# --- eta = 0: the probability flow ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mixture", "laplace", "student"])
def test_flow_map_against_its_differential_equation(name):
    target = cases.ou_mixture().target if name == "mixture" else TARGETS[name]
    reverse, start, t = reverse_of(target, fp.VP(), 0.0), fp.Gaussian(0.5, std=0.7), 0.02
    x = np.array([-2.3, -0.4, 0.3, 1.9, 4.0])

    def velocity(now, y):
        g2 = fp.VP().diffusion(now) ** 2
        return fp.VP().drift_rate(now) * y - 0.5 * g2 * reverse.score(now, y)

    end = solve_ivp(velocity, (t, 1.0), x, method="LSODA", rtol=1e-10, atol=1e-12).y[:, -1]
    flow = _solve.transport(target, fp.VP(), start, t, 1e-12)
    assert flow.origin(x) == pytest.approx(end, rel=1e-6, abs=1e-7)
    step = 1e-4
    jacobian = (flow.origin(x + step) - flow.origin(x - step)) / (2 * step)
    assert density(reverse, start, t, x) == pytest.approx(start.density(flow.origin(x)) * jacobian, rel=1e-5)


@pytest.mark.parametrize("process", ["ou", "vp", "edm"])
def test_transport_of_gaussians_is_affine_far_into_both_tails(process):
    target, process = fp.Gaussian(0.7, std=0.4), PROCESSES[process]
    t = 0.05 * process.T
    (m_t, v_t), (m_T, v_T) = (tuple(map(np.squeeze, moments(target, process, s))) for s in (t, process.T))
    z = np.concatenate([-np.geomspace(40.0, 1e-3, 30), np.geomspace(1e-3, 40.0, 30)])
    found = _solve.transport(target, process, target, t, 1e-12).origin(m_t + np.sqrt(v_t) * z)
    assert (found - m_T) / np.sqrt(v_T) == pytest.approx(z, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("name", ["gaussian", "laplace", "uniform", "student"])
def test_affine_flow_against_the_general_transport(name):
    target, start = fp.Gaussian(0.7, std=0.4), STARTS[name]
    x = np.linspace(-1.0, 2.0, 41)
    found = density(reverse_of(target, OU, 0.0), start, 0.1, x)
    general = _solve.transport(target, OU, start, 0.1, 1e-12).log_at(x)
    assert found == pytest.approx(np.exp(general), rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("name", STARTS)
def test_flow_conserves_mass_in_every_interval(name):
    """Cell averages (CDF differences) agree with quadrature of the density, and total one."""
    reverse = reverse_of(cases.ou_mixture().target, OU, 0.0)
    grid = fp.Grid.uniform((-6.0, 6.0), cells=600)
    q = closed_form.cell_averages(reverse, STARTS[name], 0.05, grid)
    nodes, weights = np.polynomial.legendre.leggauss(10)
    x = grid.axes[0][:, None] + 0.5 * grid.spacing[0] * nodes
    by_nodes = density(reverse, STARTS[name], 0.05, x) @ weights / 2
    # kinks and jumps of the start travel with the flow into some cell
    rough = name in {"laplace", "uniform"}
    worst = np.sort(np.abs(q - by_nodes))
    assert worst[-3 if rough else -1] <= 1e-9 * q.max()
    # the box cuts off the tails of the heaviest start
    assert q.sum() * grid.volume == pytest.approx(1.0, abs=1e-3)


def test_flow_keeps_total_variation():
    reverse = reverse_of(cases.two_mode_vp().target, fp.VP(), 0.0)
    starts = fp.Gaussian(0.3, std=0.8), fp.Gaussian(-0.2, std=1.1)
    at_start, at_end = (weighted_tv(reverse, *starts, t, UNIT) for t in (1.0, 0.01))
    assert at_end.value == pytest.approx(at_start.value, rel=1e-9)


# --- two dimensions ------------------------------------------------------------------------------------------------


def test_product_laws_in_the_plane_are_products_of_lines():
    one = fp.GaussianMixture([0.3, 0.7], [-1.5, 0.8], stds=[0.3, 0.4])
    two = fp.GaussianMixture([0.6, 0.4], [-0.5, 1.0], stds=[0.5, 0.2])
    weights = np.outer([0.3, 0.7], [0.6, 0.4]).ravel()
    means = [[a, b] for a in (-1.5, 0.8) for b in (-0.5, 1.0)]
    covs = [np.diag([a**2, b**2]) for a in (0.3, 0.4) for b in (0.5, 0.2)]
    plane = reverse_of(fp.GaussianMixture(weights, means, covs=covs), fp.VP())
    start = fp.Gaussian([0.5, -1.0], cov=[[0.25, 0.0], [0.0, 1.44]])
    parts = (one, fp.Gaussian(0.5, std=0.5)), (two, fp.Gaussian(-1.0, std=1.2))
    axes = np.linspace(-3.0, 3.0, 40), np.linspace(-2.0, 2.5, 37)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    for t in (0.01, 0.3, 0.9, 0.995):
        lines = [log_density(reverse_of(p, fp.VP()), nu, t, x) for (p, nu), x in zip(parts, axes, strict=True)]
        expected = lines[0][:, None] + lines[1]
        found = log_density(plane, start, t, points)
        assert found.shape == (40, 37)
        assert np.abs(found - expected).max() <= 2e-11 * (1.0 + np.abs(expected).max())


@pytest.mark.parametrize("name", ["laplace", "uniform"])
def test_independent_axes_in_the_plane(name):
    laws = {
        "laplace": (fp.Laplace([0.0, 0.5], [0.5, 0.8]), fp.Laplace),
        "uniform": (fp.Uniform([-1.0, 0.0], [1.0, 2.0]), fp.Uniform),
    }
    target = laws[name][0]
    start = fp.Gaussian([0.4, -0.3], std=0.8)
    x = np.random.default_rng(1).uniform(-2.0, 2.0, size=(30, 2))
    lines = [
        log_density(reverse_of(target.axis_marginal(i), fp.VP()), fp.Gaussian(start.mean[i], std=0.8), 0.05, x[:, i])
        for i in (0, 1)
    ]
    assert log_density(reverse_of(target, fp.VP()), start, 0.05, x) == pytest.approx(lines[0] + lines[1], rel=1e-11)


def test_integral_in_the_plane_from_the_marginal_gives_the_marginal():
    reverse = cases.rotated_five()
    x = np.random.default_rng(2).normal(scale=2.0, size=(30, 2))
    x[:3] = [[15.0, -12.0], [-20.0, 3.0], [0.0, 25.0]]
    for t in (0.01, 2.9):
        found = _fields.bayes(reverse.target, OU, reverse.marginal(3.0), t, 1e-12).log_at(x)
        expected = reverse.marginal(t).log_density(x)
        assert np.abs(found - expected).max() <= 2e-12 * (1.0 + np.abs(expected).max())


def test_student_target_in_the_plane():
    """Heavy tails, no product, no mixture: the start p_T has to come back as p_t."""
    target, process = fp.StudentT(5.0, [0.0, 0.3], 0.5), fp.VP()
    x = np.random.default_rng(3).normal(scale=0.7, size=(40, 2))
    p_start = target.diffused(float(process.scale(0.0, 1.0)), float(process.variance(0.0, 1.0)))
    p_end = target.diffused(float(process.scale(0.0, 0.3)), float(process.variance(0.0, 0.3)))
    found = log_density(reverse_of(target, process), p_start, 0.3, x, rtol=1e-10)
    assert found == pytest.approx(p_end.log_density(x), abs=1e-9)
    # the oracle takes the t law for a scale mixture here; the marginal as a plain convolution, at one point
    alpha, std = float(process.scale(0.0, 0.3)), float(np.sqrt(process.variance(0.0, 0.3)))
    nodes = np.linspace(-9.0, 9.0, 181)
    points = (x[0] - std * np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1)) / alpha
    bell = np.exp(-0.5 * nodes**2) * (nodes[1] - nodes[0]) / np.sqrt(2.0 * np.pi)
    by_trapezia = bell @ target.density(points) @ bell / alpha**2
    assert np.exp(_fields.marginal(target, process, 0.3, 1e-12).log_at(x[:1])[0]) == pytest.approx(
        by_trapezia, rel=1e-12
    )


def test_rotated_gaussian_in_the_plane_against_the_integral_and_point_masses():
    target = fp.Gaussian([0.5, -0.3], cov=[[0.5, 0.3], [0.3, 0.4]])
    reverse, x = reverse_of(target), np.random.default_rng(4).normal(size=(40, 2))
    start = fp.Gaussian([1.0, 1.0], cov=[[0.2, -0.1], [-0.1, 0.5]])
    assert _fields.bayes(target, OU, start, 0.1, 1e-12).log_at(x) == pytest.approx(
        log_density(reverse, start, 0.1, x), abs=1e-10
    )
    at = np.array([0.7, -1.1])
    for law in (target, MOONS):
        by_kernel = kernel(reverse_of(law), 3.0, 0.4, at[None], x)[0]
        assert density(reverse_of(law), fp.PointMass(at), 0.4, x) == pytest.approx(by_kernel, rel=1e-11)


# --- cell averages -------------------------------------------------------------------------------------------------


def test_cell_averages_of_a_gaussian_are_exact():
    reverse, start = reverse_of(fp.Gaussian(0.7, std=0.4)), fp.Gaussian(-1.0, std=0.8)
    t, x = 0.1, np.linspace(-8.0, 8.0, 4001)
    q = density(reverse, start, t, x) * (x[1] - x[0])
    mean = q @ x
    std = np.sqrt(q @ (x - mean) ** 2)
    for cells, order, bound in ((60, 6, 1e-11), (120, 4, 1e-9), (20, 12, 1e-9)):
        grid = fp.Grid.uniform((-4.0, 4.0), cells=cells)
        exact = np.diff(ndtr((grid.faces - mean) / std)) / grid.volume
        found = closed_form.cell_averages(reverse, start, t, grid, order=order)
        assert np.abs(found - exact).max() <= bound
    assert std > grid.spacing[0] / 2


@pytest.mark.parametrize("name", ["gaussian", "laplace", "uniform", "callable"])
def test_cell_averages_at_the_start_are_the_starts(name):
    grid = fp.Grid.uniform((-4.0, 4.0), cells=90)
    found = closed_form.cell_averages(cases.ou_mixture(), STARTS[name], 3.0, grid)
    assert found == pytest.approx(grid.cell_average(STARTS[name]), rel=1e-9, abs=1e-13)


def test_cell_averages_in_the_plane():
    reverse, start = cases.rotated_five(), fp.Gaussian([1.0, -0.5], cov=[[0.5, 0.2], [0.2, 0.3]])
    grid = fp.Grid.uniform([(-5.0, 5.0), (-5.5, 5.5)], cells=(48, 52))
    q = closed_form.cell_averages(reverse, start, 0.05, grid)
    assert q.shape == (48, 52)
    assert q.sum() * grid.volume == pytest.approx(1.0, abs=1e-6)
    nodes, weights = np.polynomial.legendre.leggauss(6)
    for i, j in ((20, 30), (24, 5), (40, 26)):
        x, y = (grid.axes[k][c] + 0.5 * grid.spacing[k] * nodes for k, c in ((0, i), (1, j)))
        values = density(reverse, start, 0.05, np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1))
        assert q[i, j] == pytest.approx(0.25 * weights @ values @ weights, rel=1e-10)


def test_any_object_with_faces_is_a_grid():
    grid = SimpleNamespace(dim=1, face_axes=(np.array([-6.0, -1.0, 0.5, 6.0]),))
    q = closed_form.cell_averages(cases.ou_mixture(), STARTS["gaussian"], 0.5, grid, order=40)
    assert q @ np.diff(grid.face_axes[0]) == pytest.approx(1.0, abs=1e-8)


# --- distances -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [1.0, 1e-3, 1e-6, 1e-10])
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_distance_of_gaussians_however_close(shift, eta):
    """TV of N(m, v) and N(m', v) is 2 Phi(|m - m'|/(2 sqrt v)) - 1; the flow from N(+-shift) is such a pair."""
    reverse = reverse_of(fp.Gaussian(0.7, std=0.4), OU, eta)
    starts = fp.Gaussian(shift, std=1.0), fp.Gaussian(-shift, std=1.0)
    gain = log_gain(reverse, 0.1)
    q = density(reverse, starts[0], 0.1, X) * (X[1] - X[0])
    std = np.sqrt(q @ X**2 - (q @ X) ** 2)
    z = gain * shift / std
    exact = 2.0 * z / np.sqrt(2.0 * np.pi) * 2.0 if z < 1e-4 else 2.0 * (2.0 * ndtr(z) - 1.0)
    found = weighted_tv(reverse, *starts, 0.1, UNIT)
    assert found.value == pytest.approx(exact, rel=1e-8)
    assert found.error <= 1e-8 * exact


@pytest.mark.parametrize("weight", [None, UNIT, fp.PolynomialWeight(1.0, 0.5), fp.ExponentialWeight(0.5), np.cosh])
def test_weighted_distance_against_scipy(weight):
    reverse, t = cases.two_mode_vp(), 0.1
    starts = fp.Gaussian(0.5, std=0.6), fp.StudentT(9.0)
    v = {None: lambda x: 1.0 + x**2, np.cosh: np.cosh}.get(weight, weight)
    found = weighted_tv(reverse, *starts, t, weight)
    x = np.linspace(-6.0, 6.0, 20_001)
    difference = density(reverse, starts[0], t, x) - density(reverse, starts[1], t, x)
    assert found.value == pytest.approx(np.sum(v(x) * np.abs(difference)) * (x[1] - x[0]), rel=1e-6)
    assert found.error <= 1e-9 * found.value


def test_tiny_distance_by_brute_force_has_correct_digits():
    """The same signed difference, by trapezoidal rule and plain summation in long doubles."""
    reverse, e = cases.ou_mixture(), 1e-5
    y, x = np.linspace(-14.0, 14.0, 3001), np.linspace(-6.0, 6.0, 2401)
    signed = np.exp(-0.5 * (y - e) ** 2, dtype=np.longdouble) - np.exp(-0.5 * (y + e) ** 2, dtype=np.longdouble)
    signed = signed / np.sqrt(2 * np.pi) / reverse.marginal(3.0).density(y) * (y[1] - y[0])
    alpha, variance = OU.scale(0.01, 3.0), OU.variance(0.01, 3.0)
    gauss = np.exp(-0.5 * (y - alpha * x[:, None]) ** 2 / variance) / np.sqrt(2 * np.pi * variance)
    brute = np.abs(reverse.marginal(0.01).density(x) * (gauss @ signed.astype(float))).sum() * (x[1] - x[0])
    found = weighted_tv(reverse, fp.Gaussian(e, std=1.0), fp.Gaussian(-e, std=1.0), 0.01, UNIT)
    assert found.value == pytest.approx(brute, rel=1e-5)
    ratio = weighted_tv(reverse, fp.Gaussian(e * 1e-4, std=1.0), fp.Gaussian(-e * 1e-4, std=1.0), 0.01, UNIT)
    assert ratio.value == pytest.approx(1e-4 * found.value, rel=1e-8)
    assert ratio.value < 2e-9


@pytest.mark.slow
def test_distance_in_the_plane_of_gaussians():
    reverse = reverse_of(fp.Gaussian([0.5, -0.3], std=0.6))
    starts = fp.Gaussian([1.0, 0.4], std=1.0), fp.Gaussian([0.4, -0.2], std=1.0)
    one = reverse_of(fp.Gaussian(0.0, std=0.6))
    gain = log_gain(one, 0.2)
    q = density(one, fp.Gaussian(0.0, std=1.0), 0.2, X) * (X[1] - X[0])
    std = np.sqrt(q @ X**2)
    exact = 2.0 * (2.0 * ndtr(0.5 * gain * np.hypot(0.6, 0.6) / std) - 1.0)
    found = weighted_tv(reverse, *starts, 0.2, UNIT)
    assert abs(found.value - exact) <= found.error <= 1e-6 * exact


def test_distance_is_a_metric_here():
    reverse = cases.two_mode_vp()
    a, b, c = fp.Gaussian(0.0, std=1.0), fp.Gaussian(0.5, std=0.8), fp.PointMass(1.0)
    ab, ba, bc, ac = (weighted_tv(reverse, p, q, 0.2).value for p, q in ((a, b), (b, a), (b, c), (a, c)))
    assert ab == pytest.approx(ba, rel=1e-12)
    assert ac <= ab + bc
    assert weighted_tv(reverse, a, a, 0.2).value == 0.0


def test_absolute_integrals_split_at_every_root():
    # the third has its root between the last node and the end of the panel
    nodes = _mixture.NODES
    rows = np.stack([np.sin(3.0 * nodes + 0.3), np.exp(nodes), nodes - 0.99, -(nodes**2) + 0.25, 0.0 * nodes])
    root = (np.pi - 0.3) / 3.0
    inner = quad(lambda x: np.sin(3.0 * x + 0.3), -0.1, root, epsabs=1e-14)[0]
    outer = quad(lambda x: -np.sin(3.0 * x + 0.3), -1.0, -0.1, epsabs=1e-14)[0]
    rest = quad(lambda x: -np.sin(3.0 * x + 0.3), root, 1.0, epsabs=1e-14)[0]
    exact = [inner + outer + rest, 2.0 * np.sinh(1.0), 0.5 * (1.99**2 + 0.01**2), 0.5, 0.0]
    assert _mixture.absolute_integrals(rows) == pytest.approx(exact, abs=1e-11)


# --- negative controls ---------------------------------------------------------------------------------------------


def dense_evolution(reverse, sign, start, t, faces, steps=300):
    """Reverse Fokker-Planck by finite differences: dense matrices, exponentials per step; first order in h and dr."""
    x, h = 0.5 * (faces[1:] + faces[:-1]), faces[1] - faces[0]
    q = start.density(x)
    T = reverse.process.T
    times = np.geomspace(T + 0.1, t + 0.1, steps + 1) - 0.1
    for before, after in itertools.pairwise(times):
        now = 0.5 * (before + after)
        g2 = float(reverse.process.diffusion(now)) ** 2
        inner = faces[1:-1]
        b = -float(reverse.process.drift_rate(now)) * inner + sign * g2 * reverse.marginal(now).score(inner)
        up, down = np.maximum(b, 0.0) / h + 0.5 * g2 / h**2, np.maximum(-b, 0.0) / h + 0.5 * g2 / h**2
        matrix = np.diag(up, -1) + np.diag(down, 1)
        matrix -= np.diag(matrix.sum(axis=0))
        q = linalg.solve(np.eye(len(x)) - (before - after) * matrix, q)
    return q


def test_a_score_of_the_wrong_sign_is_found_out():
    target = fp.GaussianMixture([0.4, 0.6], [-1.0, 1.2], stds=[0.5, 0.6])
    reverse, start = reverse_of(target, fp.OrnsteinUhlenbeck(T=1.5)), fp.Gaussian(0.8, std=0.6)
    grid = fp.Grid.uniform((-6.0, 6.0), cells=160)
    exact = closed_form.cell_averages(reverse, start, 0.1, grid)
    right, wrong = (dense_evolution(reverse, sign, start, 0.1, grid.faces) for sign in (1.0, -1.0))
    assert 0.5 * np.abs(right - exact).sum() * grid.volume <= 0.05
    assert 0.5 * np.abs(wrong - exact).sum() * grid.volume >= 0.3


def test_monte_carlo_agrees_and_notices_a_shifted_start():
    reverse, start, t = cases.two_mode_vp(), fp.Gaussian(0.8, std=0.3), 0.3
    rng, n, steps = np.random.default_rng(5), 20_000, 400
    times = np.linspace(1.0, t, steps + 1)
    x = start.sample(n, rng)
    for before, after in itertools.pairwise(times):
        x = x + (before - after) * reverse.drift(before, x)
        x = x + float(reverse.noise(before)) * np.sqrt(before - after) * rng.standard_normal(n)
    z = np.linspace(-6.0, 6.0, 2001)

    def z_score(law):
        q = density(reverse, law, t, z) * (z[1] - z[0])
        mean = q @ z
        return abs(x.mean() - mean) / np.sqrt((q @ z**2 - mean**2) / n)

    assert z_score(start) <= 4.0
    assert z_score(fp.Gaussian(3.5, std=0.3)) >= 6.0


# --- bad input -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rough:
    """A law whose log density carries noise of 1e-6: no quadrature can resolve it to 1e-12."""

    dim: int = 1
    mean: float = 0.0
    cov: float = 1.0
    smallest_std: float = 1.0

    def log_density(self, x):
        return -0.5 * x**2 + 1e-6 * np.sin(1e9 * x)

    def log_density_on_axes(self, x):
        return self.log_density(x)


def test_a_law_that_no_quadrature_resolves_is_an_error_and_a_larger_rtol_the_remedy():
    reverse = cases.ou_mixture()
    with pytest.raises(ValueError, match=r"rtol: expected .*, got .*; give a larger rtol"):
        density(reverse, Rough(), 0.1, X)
    q = density(reverse, Rough(), 0.1, X, rtol=1e-4)
    norm = 1.0 / np.sqrt(2.0 * np.pi)
    assert norm * q == pytest.approx(density(reverse, fp.Gaussian(0.0, std=1.0), 0.1, X), rel=1e-4, abs=1e-12)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda r: density(fp.Reverse(r.target, OU, score=lambda t, x: -x), STARTS["gaussian"], 1.0, X), "exact score"),
        (lambda r: density(r, STARTS["gaussian"], 0.0, X), r"t: expected a number in \(0, 3\]"),
        (lambda r: density(r, STARTS["gaussian"], 3.1, X), r"t: expected a number in \(0, 3\]"),
        (lambda r: density(r, fp.PointMass(0.0), 3.0, X), "point mass"),
        (lambda r: density(r, fp.Gaussian([0.0, 0.0], std=1.0), 1.0, X), "start: expected dimension 1"),
        (lambda r: density(r, STARTS["gaussian"], 1.0, [np.nan]), "x: expected finite"),
        (lambda r: density(reverse_of(r.target, OU, 0.5), STARTS["gaussian"], 1.0, X), "closed forms exist for"),
        (lambda r: density(reverse_of(r.target, OU, 0.0), fp.PointMass(0.0), 1.0, X), "closed forms exist for"),
        (lambda r: density(reverse_of(fp.Gaussian(0.0, std=1.0), OU, 0.0), fp.PointMass(0.0), 1.0, X), "closed forms"),
        (lambda r: density(reverse_of(MOONS, OU, 0.0), fp.Gaussian([0.0, 0.0], std=1.0), 1.0, np.zeros((1, 2))), "2D"),
        (lambda r: density(r, STARTS["gaussian"], 1.0, X, rtol=-1.0), "rtol: expected"),
        (lambda r: kernel(r, 0.5, 1.0, X, X), r"t1: expected a number in \(0, 0.5\)"),
        (lambda r: kernel(reverse_of(r.target, OU, 0.5), 1.0, 0.5, X, X), "eta = 1"),
        (lambda r: kernel(r, 1.0, 0.5, 0.0, X), "x_from: expected a list of points"),
        (lambda r: weighted_tv(r, STARTS["gaussian"], STARTS["wide"], 1.0, lambda x: 0.5 + 0.0 * x), "V >= 1"),
        (lambda r: weighted_tv(r, STARTS["gaussian"], STARTS["wide"], 1.0, 3.0), "weight: expected a callable"),
        (lambda r: weighted_tv(r, STARTS["gaussian"], STARTS["student"], 3.0, fp.PolynomialWeight(6.0)), "weight: exp"),
        (
            lambda r: closed_form.cell_averages(r, STARTS["wide"], 1.0, fp.Grid.uniform([(0, 1), (0, 1)], cells=4)),
            "grid",
        ),
    ],
)
def test_bad_input_is_named(make, match):
    with pytest.raises(ValueError, match=match):
        make(cases.ou_mixture())


def test_log_ndtr_is_what_the_tails_say():
    """The tails of a mixture in logarithms, 40 standard deviations out on either side."""
    field = _fields.marginal(fp.Gaussian(0.0, std=1.0), OU, 1.0, 1e-12)
    z = np.array([-40.0, -3.0, 0.0, 3.0, 40.0])
    assert field.log_tail(z, False) == pytest.approx(log_ndtr(z), rel=1e-13)
    assert field.log_tail(z, True) == pytest.approx(log_ndtr(-z), rel=1e-13)


def test_an_exponential_weight_may_overflow_where_nothing_is_left_of_the_laws():
    """``e^{0.3 |x|}`` between N(0, 35^2) and N(36, 35^2), at T: tilted normal laws, cut at 0 and at 18."""
    a, b, c, s = 0.0, 36.0, 0.3, 35.0

    def part(mean, low, high, rate):
        mass = ndtr((high - mean) / s - rate * s) - ndtr((low - mean) / s - rate * s)
        return np.exp(rate * mean + (rate * s) ** 2 / 2.0) * mass

    pieces = ((-np.inf, 0.0, -c, 1.0), (0.0, 18.0, c, 1.0), (18.0, np.inf, c, -1.0))
    whole = sum(sign * (part(a, low, high, rate) - part(b, low, high, rate)) for low, high, rate, sign in pieces)
    reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.EDM(sigma_max=20.0))
    starts = fp.Gaussian(a, std=s), fp.Gaussian(b, std=s)
    found = closed_form.weighted_tv(reverse, *starts, 20.0, weight=fp.ExponentialWeight(c))
    assert found.value == pytest.approx(whole, rel=1e-9) and found.error <= 1e-8 * whole


@pytest.mark.parametrize("process", [fp.RectifiedFlow(), fp.OrnsteinUhlenbeck(T=45.0)])
def test_the_error_covers_what_cancels_between_narrow_starts_far_out(process):
    """Nothing of a start is left: distances are 0 (below 1e-18), and what is printed is rounding, as its error says."""
    reverse = fp.Reverse(fp.GaussianMixture([0.006, 0.994], [0.217, -0.19], stds=[0.222, 0.056]), process)
    rng = np.random.default_rng(0)
    for _ in range(6):
        first = fp.GaussianMixture([0.2, 0.8], rng.normal(0.0, 3.0, 2), stds=rng.uniform(0.02, 0.3, 2))
        second = fp.Gaussian(rng.normal(0.0, 6.0), std=0.07)
        found = fp.closed_form.weighted_tv(reverse, first, second, 0.3, weight=fp.PolynomialWeight(2, 0.1))
        assert found.value <= found.error + 1e-17 and found.error < 1e-11

"""One step of every sampler as formulas: closed forms, relations between the methods, limits."""

from itertools import pairwise

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import samplers

PROCESSES = [fp.VP(), fp.OrnsteinUhlenbeck(T=2.0), fp.SubVP(), fp.VE(sigma_min=0.01, sigma_max=5.0), fp.EDM(0.002, 5.0)]
# a correction does not shrink with its step
NAMES = tuple(name for name in samplers.SAMPLERS if name != "predictor-corrector")


def linear_score(process, mean, variance):
    """The score of a Gaussian target."""

    def score(t, x):
        m, v = process.scale(0.0, t) * mean, process.scale(0.0, t) ** 2 * variance + process.variance(0.0, t)
        return -(x - m) / v

    return score


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_ddim_with_eta_one_is_ddpm(process):
    t0, t1 = 0.7 * process.T, 0.6 * process.T
    one, other = (samplers.step(name, process, 1.0, t0, t1) for name in ("ddpm", "ddim"))
    assert np.allclose([one.linear, one.score, one.std], [other.linear, other.score, other.std], rtol=1e-9)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_the_predictor_of_heun_is_ddim_without_noise(process):
    t0, score = 0.05 * process.T, linear_score(process, 0.4, 0.3)
    x = np.linspace(-3, 3, 7)
    heun, ddim = (samplers.step(name, process, 0.0, t0, 0.0).move(score, x) for name in ("heun", "ddim"))
    assert np.allclose(heun, ddim, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_ancestral_sampling_is_the_posterior_of_the_forward_chain(process):
    """With X_0 = x_0 known the score is that of N(alpha x_0, sigma2), and the step is Bayes' rule for X_t1."""
    t0, t1, x0, x = 0.5 * process.T, 0.3 * process.T, 0.7, np.array([-1.0, 0.2, 2.0])
    a, v = process.scale(t1, t0), process.variance(t1, t0)
    prior_mean, prior_variance = process.scale(0.0, t1) * x0, process.variance(0.0, t1)
    precision = 1 / prior_variance + a**2 / v
    step = samplers.step("ddpm", process, 1.0, t0, t1)
    expected = (prior_mean / prior_variance + a * x / v) / precision
    assert np.allclose(
        step.move(lambda t, y: -(y - process.scale(0.0, t) * x0) / process.variance(0.0, t), x), expected
    )
    assert step.std**2 == pytest.approx(1 / precision, rel=1e-9)


def test_the_forward_variance_of_ddpm():
    step = samplers.step("ddpm", fp.VP(), 1.0, 0.5, 0.4, variance="forward")
    assert step.std**2 == pytest.approx(fp.VP().variance(0.4, 0.5))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_every_method_tends_to_its_dynamics(name, process):
    """Drift and noise of a short step: b = -a y + (1 + eta^2)/2 g^2 s, eta g, with eta = 0 for Heun and EDM."""
    t, h = 0.5 * process.T, 1e-5 * process.T
    own = samplers.get(name).eta
    eta = 0.6 if own is None else own
    step, score = samplers.step(name, process, eta, t, t - h), linear_score(process, 0.4, 0.3)
    x = np.array([-1.0, 0.3, 2.0])
    a, g = process.drift_rate(t), process.diffusion(t)
    drift = -a * x + 0.5 * (1 + eta**2) * g**2 * score(t, x)
    assert np.allclose((step.move(score, x) - x) / h, drift, rtol=1e-3, atol=1e-3 * np.abs(drift).max())
    assert step.std_after**2 / h == pytest.approx(eta**2 * g**2, rel=1e-3)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_heun_is_of_second_order(process):
    score, t_end = linear_score(process, 0.4, 0.3), 0.2 * process.T
    x = np.array([1.3])
    mean, std = (
        (lambda t: process.scale(0.0, t) * 0.4),
        (lambda t: np.sqrt(process.scale(0.0, t) ** 2 * 0.3 + process.variance(0.0, t))),
    )
    exact = mean(t_end) + std(t_end) / std(process.T) * (x - mean(process.T))
    errors = []
    for n in (80, 160, 320):
        y, times = x, process.T * np.geomspace(1.0, 0.2, n + 1)
        for t0, t1 in pairwise(times):
            y = samplers.step("heun", process, 0.0, t0, t1).move(score, y)
        errors.append(abs(float(y[0] - exact[0])))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert abs(orders[-1] - 2.0) < 0.2, (errors, orders)


def test_churn_rises_where_no_data_are_left_at_T():
    """Rectified flow: the level t/(1 - t) is infinite at T = 1, and every level below it is reached at l/(1 + l)."""
    step = samplers.step("edm", fp.RectifiedFlow(), 1.0, 0.9, 0.5, churn=10.0, steps=100)
    level = 1.1 * 9.0
    assert step.t_top == pytest.approx(level / (1.0 + level), rel=1e-12)


def test_the_churn_of_edm():
    """As in the paper: t_hat = (1 + gamma) t, noise sqrt(t_hat^2 - t^2) S_noise, gamma capped at sqrt(2) - 1."""
    edm = fp.EDM(0.002, 80.0)
    ask = dict(churn=40.0, steps=256, s_min=0.05, s_max=50.0, s_noise=1.003)
    step = samplers.step("edm", edm, 1.0, 10.0, 9.0, **ask)
    top = 10.0 * (1 + 40 / 256)
    assert step.t_top == pytest.approx(top, rel=1e-12)
    assert step.std_before == pytest.approx(1.003 * np.sqrt(top**2 - 100.0))
    assert samplers.step("edm", edm, 1.0, 60.0, 50.0, **ask).std_before == 0.0
    assert samplers.step("edm", edm, 1.0, 1.0, 0.9, churn=1e9).t_top == pytest.approx(np.sqrt(2.0))
    # the first step rises beyond the level of T, as the paper's does: clipping it there is another sampler
    first = samplers.step("edm", edm, 1.0, 80.0, 70.0, churn=40.0, steps=256)
    assert first.t_top == pytest.approx(80.0 * (1 + 40 / 256), rel=1e-12)
    assert first.std_before == pytest.approx(np.sqrt(first.t_top**2 - 80.0**2), rel=1e-12)
    # in the variables y = x/alpha every process churns the same way
    vp = samplers.step("edm", fp.VP(), 1.0, 0.5, 0.4, churn=10.0, steps=100)
    before, after = (np.sqrt(fp.VP().variance(0.0, t)) / fp.VP().scale(0.0, t) for t in (0.5, vp.t_top))
    assert after == pytest.approx(1.1 * before, rel=1e-10)


def test_the_modified_integrator_freezes_score_plus_x_over_sigma_squared():
    """On the stationary law the modified score is 0, and the step is the exact OU transition."""
    process = fp.VP(sigma=1.5)
    step = samplers.step("exponential-integrator", process, 1.0, 0.5, 0.4, frozen="modified")
    x = np.array([-2.0, 0.5])
    assert np.allclose(step.move(lambda t, y: -y / 1.5**2, x), process.scale(0.4, 0.5) * x)
    assert step.std**2 == pytest.approx(process.variance(0.4, 0.5))
    # a plain step with the same frozen drift differs in second order only
    fine = [
        samplers.step("exponential-integrator", process, 1.0, 0.5, 0.5 - 1e-6, frozen=f) for f in ("score", "modified")
    ]
    assert fine[0].score == pytest.approx(fine[1].score, rel=1e-4)
    with pytest.raises(ValueError, match="variance preserving"):
        samplers.step("exponential-integrator", fp.VE(0.01, 5.0), 1.0, 0.5, 0.4, frozen="modified")


def test_draws_have_the_mean_and_the_spread_of_the_step(rng):
    process, score = fp.EDM(0.002, 5.0), linear_score(fp.EDM(0.002, 5.0), 0.4, 0.3)
    step = samplers.step("edm", process, 1.0, 1.0, 0.8, churn=20.0, steps=100)
    y = step.draw(score, np.full(200_000, 0.3), rng)
    # the Heun map of a linear score is linear
    slope = float((step.move(score, np.array([1.0])) - step.move(score, np.array([0.0])))[0])
    assert y.mean() == pytest.approx(float(step.move(score, np.array([0.3]))[0]), abs=5 * y.std() / 447)
    assert y.std() == pytest.approx(slope * step.std_before, rel=0.01)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (("milstein", 1.0, 0.5, 0.4), "name: expected one of 'euler-maruyama'"),
        (("ddpm", 1.0, 0.4, 0.5), "t_to: expected a time below t_from"),
        (("ddpm", 1.0, 1.5, 0.5), "t_from: expected forward times in"),
        (("ddim", 1.5, 0.5, 0.4), "eta: expected a number in"),
    ],
)
def test_bad_requests_are_one_clear_sentence(ask, message):
    name, *rest = ask
    with pytest.raises(ValueError, match=message):
        samplers.step(name, fp.VP(), *rest)


@pytest.mark.parametrize("eta", [0.4, 0.7, 1.5])
def test_the_modified_integrator_is_the_linear_equation_solved(eta):
    """``dY = [eta^2 a Y + (1 + eta^2)/2 g^2 c] dr + eta g dB`` with a = -g^2/2 and a frozen bracket c, by hand."""
    process, t, s = fp.VP(), 0.5, 0.4
    step = samplers.step("exponential-integrator", process, eta, t, s, frozen="modified")
    decay = np.exp(-0.5 * eta**2 * np.diff([process.beta_min * u + 0.5 * 19.9 * u**2 for u in (s, t)])[0])
    assert step.std**2 == pytest.approx(1.0 - decay**2, rel=1e-10)
    assert step.score == pytest.approx((1.0 + eta**2) / eta**2 * (1.0 - decay), rel=1e-10)
    assert step.linear - step.score == pytest.approx(decay, rel=1e-10)

"""Gaussian paths: coefficients against mpmath and closed forms, runs against the oracle, also with alpha(0, T) = 0."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import roots_legendre

import fpsolve as fp
from fpsolve.dynamics import Frame

TARGET = fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5])


def trigonometric(**more):
    return fp.GaussianPath(scale=lambda t: np.cos(np.pi * t / 2), std=lambda t: np.sin(np.pi * t / 2), **more)


def linear_beta(t):
    return 0.1 * t + 19.9 * t * t / 2


#: A path of numpy functions, the same from its log SNR, and one that takes real times only.
VPS = {
    "scale and std": {
        "scale": lambda t: np.exp(-linear_beta(t) / 2),
        "std": lambda t: np.sqrt(-np.expm1(-linear_beta(t))),
    },
    "log SNR": {"log_snr": lambda t: -0.5 * np.log(np.expm1(linear_beta(t)))},
    "real only": {
        "scale": lambda t: np.exp(-linear_beta(np.real(t)) / 2),
        "std": lambda t: np.sqrt(-np.expm1(-linear_beta(np.real(t)))),
    },
}


def true_coefficients(alpha, s, t):
    """a, g of mpmath functions by its own derivatives."""
    with mpmath.workdps(40):
        t = mpmath.mpf(t)
        a = mpmath.diff(alpha, t) / alpha(t)
        return float(a), float(mpmath.sqrt(mpmath.diff(lambda u: s(u) ** 2, t) - 2 * a * s(t) ** 2))


def true_transition(alpha, s, first, last):
    """alpha(s, t), sigma2(s, t) by subtraction in 60 digits."""
    with mpmath.workdps(60):
        u, t = mpmath.mpf(first), mpmath.mpf(last)
        scale = alpha(t) / alpha(u)
        return float(scale), float(s(t) ** 2 - scale**2 * s(u) ** 2)


STRAIGHT = (lambda t: 1 - t, lambda t: t)
MP = {
    "trigonometric": (
        trigonometric(),
        lambda t: mpmath.cos(mpmath.pi * t / 2),
        lambda t: mpmath.sin(mpmath.pi * t / 2),
    ),
    "rectified": (fp.RectifiedFlow(), *STRAIGHT),
    "rectified, two functions": (fp.GaussianPath(*STRAIGHT), *STRAIGHT),
}


@pytest.mark.parametrize("name", MP)
def test_coefficients_and_transitions_against_mpmath(name):
    process, alpha, s = MP[name]
    for t in (1e-6, 0.1, 0.5, 0.97, 1.0 - 1e-6):
        a, g = true_coefficients(alpha, s, t)
        # cos(pi t/2) has a rounding error of pi t/2
        rounding = 1e-13 + 1e-15 / (1.0 - t)
        assert process.drift_rate(t) == pytest.approx(a, rel=rounding)
        assert process.diffusion(t) == pytest.approx(g, rel=rounding)
    for first in (1e-6, 0.01, 0.3, 0.9):
        for gap in (1e-12, 1e-9, 1e-6, 1e-3, 0.05):
            scale, variance = true_transition(alpha, s, first, first + gap)
            assert process.scale(first, first + gap) == pytest.approx(scale, rel=1e-14)
            # what two floats 1e-12 apart differ by is exact
            assert process.variance(first, first + gap) == pytest.approx(variance, rel=1e-12, abs=0.0)


@pytest.mark.parametrize("name", VPS)
def test_a_path_is_the_process_that_it_describes(name):
    mine, process = fp.GaussianPath(**VPS[name]), fp.VP()
    t = np.array([1e-5, 0.01, 0.3, 0.5, 0.9])
    rough = 1e-7 if name == "real only" else 1e-12
    np.testing.assert_allclose(mine.drift_rate(t), process.drift_rate(t), rtol=rough)
    np.testing.assert_allclose(mine.diffusion(t), process.diffusion(t), rtol=rough)
    for gap in (1e-12, 1e-7, 1e-3, 0.05):
        np.testing.assert_allclose(mine.scale(t, t + gap), process.scale(t, t + gap), rtol=1e-13)
        np.testing.assert_allclose(mine.variance(t, t + gap), process.variance(t, t + gap), rtol=rough)
    assert mine.prior_std == pytest.approx(1.0)


def test_transitions_at_the_ends():
    for process in (fp.RectifiedFlow(), trigonometric()):
        assert process.scale(0.0, 1.0) == process.scale(0.7, 1.0) == 0.0
        assert process.variance(0.7, 1.0) == pytest.approx(1.0)
        assert process.scale(1.0, 1.0) == process.scale(0.0, 0.0) == 1.0
        assert process.variance(1.0, 1.0) == process.variance(0.0, 0.0) == 0.0
        assert np.isfinite([process.drift_rate(1.0), process.diffusion(1.0), process.prior_std]).all()
        assert process.scale(np.zeros((2, 1)), np.array([0.1, 0.2, 0.3])).shape == (2, 3)


def test_a_break_is_where_steps_end_and_its_sides_have_their_own_slope():
    def alpha(t):
        return np.where(t < 0.4, 1.0 - t, 0.6 - 0.5 * (t - 0.4))

    path = fp.GaussianPath(scale=alpha, std=lambda t: t, breaks=[0.4])
    assert path.kinks == (0.4,)
    assert path.drift_rate(0.39) == pytest.approx(-1.0 / 0.61)
    assert path.drift_rate(0.41) == pytest.approx(-0.5 / alpha(0.41))
    assert path.scale(0.4 - 1e-12, 0.4 + 1e-12) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scale": np.cos}, "two of these functions of time, or log_snr alone, got scale"),
        ({"scale": np.cos, "std": np.sin, "log_snr": np.log}, "got scale and std and log_snr"),
        ({"scale": 1.0, "std": np.sin}, "scale: expected a function of time, got a float"),
        ({"scale": lambda t: t, "std": lambda t: 1.0 - t}, "alpha > 0 before T"),
        ({"scale": lambda t: 1.0 + 0 * t, "std": lambda t: 1.0 - 0.5 * t}, r"log\(alpha/s\) that falls"),
        ({"scale": lambda t: np.ones(3), "std": lambda t: t}, "values of shape"),
        ({"scale": lambda t: 1.0 / [], "std": lambda t: t}, "values for times of shape"),
        ({"scale": np.cos, "std": np.sin, "breaks": [2.0]}, "breaks"),
        ({"scale": np.cos, "std": np.sin, "T": 0.0}, "T: expected"),
    ],
)
def test_functions_that_make_no_path_are_refused_in_one_sentence(given, said):
    with pytest.raises(ValueError, match=said):
        fp.GaussianPath(**given)


def test_the_text_of_a_path_says_what_it_is_and_not_where_it_lives():
    assert repr(trigonometric()) == repr(trigonometric())
    assert repr(trigonometric()) != repr(fp.GaussianPath(scale=lambda t: 1 - t, std=lambda t: t))
    assert " at 0x" not in repr(trigonometric())


def starts_of(reverse):
    T = reverse.process.T
    return {"exact": reverse.marginal(T), "prior": reverse.process.prior(), "far": fp.Gaussian(1.5, std=0.5)}


def worst_of(reverse, starts, tol, t_min):
    """Largest error per estimate and per tol, over starts and some times, against the oracle's cell averages."""
    run = fp.evolve(reverse, starts, t_min=t_min, tol=tol)
    assert run.attrs["tol_met"] == "yes"
    nodes, shares = roots_legendre(6)
    per_estimate = per_tol = 0.0
    for label, law in starts.items():
        for k in (1, 2, 5, 20, 40, run.sizes["t"] - 1):
            t, own = float(run.t[k]), run.density.sel(start=label).isel(t=k)
            if "z" in run.dims:
                frame = Frame(reverse)
                x, q = float(frame.center(t)[0]) + float(frame.scale(t)[0]) * run.z.values, own.values
            else:
                x, q = run.x.values, own.values
            h = x[1] - x[0]
            points = (x[:, None] + 0.5 * h * nodes).ravel()
            truth = fp.closed_form.density(reverse, law, t, points).reshape(len(x), -1) @ (0.5 * shares)
            distance = h * float(np.sum((1.0 + x**2) * np.abs(q - truth)))
            per_estimate = max(per_estimate, distance / float(run.error_estimate.sel(start=label)[k]))
            per_tol = max(per_tol, distance / tol)
    return per_estimate, per_tol


@pytest.mark.parametrize(
    ("process", "tol"),
    [(fp.RectifiedFlow(), 1e-3), (fp.RectifiedFlow(), 1e-5), (fp.RectifiedFlow(T=0.95), 1e-3), (trigonometric(), 1e-5)],
    ids=repr,
)
def test_runs_from_clean_noise_against_the_oracle(process, tol):
    reverse = fp.Reverse(TARGET, process)
    per_estimate, per_tol = worst_of(reverse, starts_of(reverse), tol, 0.01)
    assert per_estimate < 1.0
    assert per_tol < 1.0


def test_the_probability_flow_runs_from_clean_noise():
    reverse = fp.Reverse(fp.Gaussian(0.5, std=0.6), fp.RectifiedFlow(), eta=0.0)
    per_estimate, per_tol = worst_of(reverse, {"far": fp.Gaussian(1.5, std=0.5)}, 1e-4, 0.01)
    assert per_estimate < 1.0
    assert per_tol < 1.0


@pytest.mark.parametrize("target", [fp.Laplace(0.5, 0.5), fp.Uniform(-1.0, 1.0)], ids=repr)
def test_targets_without_components_are_forgotten_too(target):
    reverse = fp.Reverse(target, fp.RectifiedFlow())
    per_estimate, per_tol = worst_of(reverse, {"far": fp.Gaussian(1.5, std=0.5)}, 1e-3, 0.1)
    assert per_estimate < 1.0
    assert per_tol < 1.0


def test_a_model_with_a_constant_error_is_off_by_what_the_linear_equation_says():
    """Gaussian target, score off by c, eta = 1: ``mean(t) - alpha m = c S_t/(1 - t) int_t^1 2u/S_u du``."""
    target, c, t_min = fp.Gaussian(0.5, std=0.6), 0.1, 0.2
    process = fp.RectifiedFlow()
    score = fp.scores.perturbed(fp.scores.exact(target, process), lambda t, x: c * np.ones_like(x))
    run = fp.evolve(fp.Reverse(target, process, score=score), fp.Gaussian(1.0, std=0.7), t_min=t_min, tol=1e-5)

    def spread(u):
        return (1.0 - u) ** 2 * 0.36 + u**2

    expected = (1.0 - t_min) * 0.5
    expected += c * spread(t_min) / (1.0 - t_min) * quad(lambda u: 2.0 * u / spread(u), t_min, 1.0)[0]
    last = run.density.isel(start=0, t=-1)
    mean = float((last * run.x).sum() / last.sum())
    assert mean == pytest.approx(expected, abs=1e-5)


TABLES = [(name, zero) for name in ("linear", "scaled_linear", "squaredcos_cap_v2") for zero in (False, True)]


def table_of(name, zero):
    """alphas_cumprod of 1000 levels, by hand."""
    n = np.arange(1000)
    if name == "linear":
        beta = 1e-4 + (0.02 - 1e-4) * n / 999
    elif name == "scaled_linear":
        beta = (0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * n / 999) ** 2
    else:
        alpha_bar = [np.cos((k / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2 for k in range(1001)]
        beta = np.array([min(1 - alpha_bar[k + 1] / alpha_bar[k], 0.999) for k in range(1000)])
    root = np.sqrt(np.cumprod(1.0 - beta))
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2 if zero else root**2


@pytest.mark.parametrize(("name", "zero"), TABLES)
def test_tables_are_met_at_their_levels_and_the_rate_between_them_is_their_own(name, zero):
    process, table = fp.VP.from_betas(name, zero_snr=zero), table_of(name, zero)
    times = process.time_of(np.arange(1000))
    np.testing.assert_allclose(np.square(process.scale(0.0, times)), table, rtol=1e-11, atol=1e-300)
    np.testing.assert_allclose(process.variance(0.0, times), 1.0 - table, rtol=1e-12, atol=1e-15)
    assert process.beta(np.linspace(0.0, 1.0, 7001)).min() > 0.0
    # the transition over one step is that of the table, and over no time at all beta dt
    steps = np.square(process.scale(times[10:-2], times[11:-1]))
    np.testing.assert_allclose(steps, table[11:-1] / table[10:-2], rtol=1e-9)
    for t in (0.0004, 0.31, 0.97):
        end = t + 1e-12
        np.testing.assert_allclose(process.variance(t, end), process.beta(t) * (end - t), rtol=1e-8)
        inner = times[(t < times) & (times < t + 0.002)]
        integral = quad(lambda u: float(process.beta(u)), t, t + 0.002, points=inner)[0]
        assert -2.0 * np.log(process.scale(t, t + 0.002)) == pytest.approx(integral, rel=1e-9)


@pytest.mark.parametrize("zero", [False, True])
def test_one_pair_of_times_is_one_of_many(zero, rng):
    """Plain numbers take another way than arrays do: within a level, at levels, across one and across hundreds."""
    process = fp.VP.from_betas("scaled_linear", zero_snr=zero)
    times = np.concatenate([rng.uniform(0.0, 0.999, 60), np.arange(0, 990, 33) / 1000])
    s, t = np.sort([times, rng.permutation(times)], axis=0)
    t[:20] = s[:20] + 1e-4
    for name in ("scale", "variance"):
        of = getattr(process, name)
        one_by_one = [of(*pair) for pair in zip(s.tolist(), t.tolist(), strict=True)]
        np.testing.assert_allclose(one_by_one, of(s, t), rtol=1e-14, atol=0.0)


def test_timesteps_both_ways():
    process = fp.VP.from_betas("linear", T=2.0)
    assert process.time_of(0) == 0.002
    assert process.time_of(999) == process.T
    assert process.timestep_of(process.time_of(437)) == 437
    assert isinstance(process.timestep_of(0.002), int)
    assert process.timestep_of(0.003) == pytest.approx(0.5)
    np.testing.assert_array_equal(process.timestep_of(process.time_of(np.arange(1000))), np.arange(1000))
    assert process.timestep_of(process.time_of(np.arange(1000))).dtype.kind == "i"
    with pytest.raises(ValueError, match="n: expected timesteps from 0 to 999"):
        process.time_of(1000)


def test_the_linear_table_is_nearly_the_linear_schedule():
    """10.118 against 10.05 of ``-log alpha^2`` at the end."""
    process = fp.VP.from_betas("linear")
    ratio = np.log(process.scale(0.0, 1.0)) / np.log(fp.VP().scale(0.0, 1.0))
    assert 1.006 < ratio < 1.008


def test_tables_are_equal_by_their_numbers_and_do_not_print_them():
    one, other = fp.VP.from_betas("linear"), fp.VP.from_betas("cosine")
    same = fp.FromAlphasCumprod(table_of("linear", False))
    assert one == fp.VP.from_betas("linear")
    assert repr(one) != repr(other)
    assert max(len(repr(p)) for p in (one, same, other)) < 100


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: fp.FromAlphasCumprod([0.9, 0.95, 0.5, 0.1]), "alphas_cumprod: expected numbers that decrease"),
        (lambda: fp.FromAlphasCumprod([0.9, 0.5, 0.1, -0.1]), "at n = 3"),
        (lambda: fp.FromAlphasCumprod([1e-4, 2e-4, 3e-4, 4e-4]), r"from betas: fpsolve.VP.from_betas\(betas\)"),
        (lambda: fp.FromAlphasCumprod([0.5]), "at least four levels"),
        (lambda: fp.VP.from_betas([0.1, 0.0, 0.1, 0.1]), "betas: expected numbers in"),
        (lambda: fp.VP.from_betas("quadratic"), "schedule: expected one of"),
    ],
)
def test_tables_that_are_none_are_refused_in_one_sentence(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("tol", [1e-3, 1e-5])
@pytest.mark.parametrize(("name", "zero"), [TABLES[0], TABLES[2], TABLES[3], TABLES[4]])
def test_runs_of_tables_against_the_oracle(name, zero, tol):
    reverse = fp.Reverse(TARGET, fp.VP.from_betas(name, zero_snr=zero))
    per_estimate, per_tol = worst_of(reverse, starts_of(reverse), tol, 0.01)
    assert per_estimate < 1.0
    assert per_tol < 1.0


def test_kernels_forget_everything_from_clean_noise_on():
    """``P_{T->t}(y, .) = p_t``: rows of the exact kernel, of the closed form from a point, and the closed drift."""
    reverse, grid = fp.Reverse(TARGET, fp.RectifiedFlow()), fp.Grid.uniform((-6.0, 6.0), cells=120)
    kernel = fp.kernels.exact(reverse, grid, 1.0, 0.5)
    assert fp.bounds.dobrushin(kernel).value < 1e-12
    x = np.linspace(-3.0, 3.0, 13)
    for start in (fp.PointMass(2.0), fp.Gaussian(1.0, std=0.5)):
        found = fp.closed_form.density(reverse, start, 0.5, x)
        np.testing.assert_allclose(found, reverse.marginal(0.5).density(x), rtol=1e-9)
    ladder = fp.bounds.ladder(reverse, grid=grid, blocks=2, t_min=0.1)
    assert float(ladder["prior"].sel(bound="sharp Dobrushin").isel(t=-1)) < 1e-12
    assert float(ladder["prior"].sel(bound="Poincare").isel(t=-1)) == 0.0
    assert float(ladder["factor"].sel(bound="Poincare").isel(block=1)) == 0.0


@pytest.mark.parametrize("method", ["euler-maruyama", "exponential-integrator", "heun", "edm"])
def test_samplers_say_that_they_cannot_step_from_clean_noise(method):
    reverse = fp.Reverse(TARGET, fp.RectifiedFlow())
    with pytest.raises(ValueError, match="where no data are left; begin shortly before"):
        fp.samplers.step(method, reverse.process, 1.0, 1.0, 0.9)


@pytest.mark.parametrize(
    ("adapter", "model"),
    [
        ("from_noise_prediction", lambda t, x: x),
        ("from_denoiser", lambda t, x: 0.0 * x),
        ("from_flow_velocity", lambda t, x: x),
    ],
)
def test_adapters_answer_at_clean_noise(adapter, model):
    """At T x is the noise: every kind of model that knows nothing of x has the score -x there."""
    score = getattr(fp.scores, adapter)(model, fp.RectifiedFlow())
    np.testing.assert_allclose(score(1.0, np.array([0.0, 1.0, -2.0])), [0.0, -1.0, 2.0], atol=1e-7)

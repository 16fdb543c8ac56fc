"""Marginals: closed forms, compiled sums against numpy twins, quadrature against closed forms, and the physics."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy.integrate import quad
from scipy.special import logsumexp

import fpsolve as fp
from fpsolve import _compile, marginals
from fpsolve.laws import Law
from fpsolve.marginals import ClosedFormMarginals, MixtureMarginals, QuadratureMarginals, _compiled, _mixture
from fpsolve.processes import Process

OU, VP, EDM = fp.OrnsteinUhlenbeck(T=3.0), fp.VP(), fp.EDM()
ROTATED = fp.GaussianMixture(
    [0.3, 0.7], [[-2.0, 0.0], [2.0, 1.0]], covs=[[[0.3, 0.1], [0.1, 0.2]], [[0.5, -0.3], [-0.3, 0.4]]]
)
MIXTURE = fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5])
DATA = np.random.default_rng(7).normal(size=(40, 2)) * [1.0, 0.5]

ONE: dict[str, Law] = {
    "gaussian": fp.Gaussian(1.0, std=0.5),
    "mixture": MIXTURE,
    "kernel": fp.KernelDensity(DATA[:, 0], bandwidth=0.1),
    "t": fp.StudentT(5.0, 0.3, 0.8),
    "laplace": fp.Laplace(0.3, 0.7),
    "uniform": fp.Uniform(-1.0, 2.0),
}
TWO: dict[str, Law] = {
    "gaussian": fp.Gaussian([1.0, -0.5], cov=[[0.5, 0.2], [0.2, 0.3]]),
    "rotated": ROTATED,
    "kernel": fp.KernelDensity(DATA, bandwidth=[0.1, 0.2]),
    "t": fp.StudentT(6.0, [0.1, 0.4], 0.7),
    "laplace": fp.Laplace([0.1, 0.0], [1.0, 0.5]),
    "uniform": fp.Uniform([-1.0, 0.0], [2.0, 1.0]),
}
ALL = pytest.mark.parametrize(
    "target", [*ONE.values(), *TWO.values()], ids=[*(f"{n}-1d" for n in ONE), *(f"{n}-2d" for n in TWO)]
)
PROCESSES = pytest.mark.parametrize("process", [OU, VP, EDM], ids=["ou", "vp", "edm"])


# which way


def test_family_picks_the_way() -> None:
    for name, kind in {"kernel": MixtureMarginals, "t": MixtureMarginals, "laplace": ClosedFormMarginals}.items():
        assert type(marginals.family(ONE[name], VP)) is kind
        assert type(marginals.family(TWO[name], VP)) is kind
    unknown = fp.FromLogDensity(lambda x: -0.5 * x**2, 1)
    assert type(marginals.family(unknown, VP)) is QuadratureMarginals
    assert marginals.family(fp.PointMass(1.0), OU).law(1.0).mean == pytest.approx(np.exp(-1.0))


def test_numba_is_loaded_by_use_only() -> None:
    code = (
        "import sys, fpsolve as fp; from fpsolve import marginals, scores; m = marginals.family(fp.Laplace(), fp.VP());"
        "m.score(0.5, 1.0); print(any(k in sys.modules for k in ('numba', 'scipy.stats', 'matplotlib', 'sympy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


# closed forms


@PROCESSES
@pytest.mark.parametrize("name", ONE)
def test_density_is_the_integral_over_the_transition(name: str, process: Process) -> None:
    target, t = ONE[name], 0.13 * process.T
    scale, std = float(process.scale(0.0, t)), float(np.sqrt(process.variance(0.0, t)))
    m = marginals.family(target, process)
    for x in np.array([-2.5, -0.4, 0.3, 1.7]) * np.hypot(scale, std):
        near, far = (x - 10.0 * std) / scale, (x + 10.0 * std) / scale
        breaks = [p for p in (-2.0, -1.0, 0.3, 1.0, 2.0, x / scale) if near < p < far]

        def integrand(y: float, x: float = x) -> float:
            return float(target.density(y) * np.exp(-0.5 * ((x - scale * y) / std) ** 2))

        exact = quad(integrand, near, far, points=breaks, limit=400, epsabs=0.0, epsrel=1e-11)[0]
        exact /= std * np.sqrt(2.0 * np.pi)
        # t over +-10 std only where the transition, not the law, ends the integral
        assert m.log_density(t, x) == pytest.approx(np.log(exact), abs=1e-8)
        assert m.log_density_on_axes([t], np.array([x]))[0, 0] == pytest.approx(np.log(exact), abs=1e-8)


@ALL
@PROCESSES
def test_one_family_one_density(target: Law, process: Process) -> None:
    """law(t), log_density and log_density_on_axes agree, also far out; score is that of law(t)."""
    m = marginals.family(target, process)
    times = process.T * np.array([1e-4, 0.03, 0.4, 1.0])
    for width in (4.0, 500.0):
        axes = [np.linspace(-width, width, 21), np.linspace(-0.9 * width, width, 15)][: target.dim]
        on_axes = m.log_density_on_axes(times, *axes)
        assert on_axes.shape == (4, *(axis.size for axis in axes)) and on_axes.flags.writeable
        for i, t in enumerate(times):
            law = m.law(t)
            np.testing.assert_allclose(on_axes[i], law.log_density_on_axes(*axes), rtol=2e-13, atol=2e-12)
            x = axes[0] if target.dim == 1 else np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
            np.testing.assert_allclose(m.log_density(t, x), law.log_density(x), rtol=2e-13, atol=2e-12)
            expected = law.score(x)
            assert m.score(t, x).shape == x.shape
            # between two components far out the posterior weights inherit the rounding of large exponents
            rounding = 1e-11 + 1e-15 * np.abs(on_axes[i]).max()
            np.testing.assert_allclose(m.score(t, x), expected, rtol=rounding, atol=rounding * np.abs(expected).max())


@ALL
def test_at_time_zero_it_is_the_target(target: Law) -> None:
    m, x = marginals.family(target, VP), np.asarray(target.mean) + 0.01
    assert m.law(0.0).log_density(x) == m.log_density(0.0, x) == pytest.approx(float(target.log_density(x)))
    np.testing.assert_allclose(m.score(0.0, x), target.score(x), rtol=1e-12)


@ALL
@PROCESSES
def test_semigroup(target: Law, process: Process) -> None:
    """From 0 to s to t is from 0 to t."""
    m, s, t = marginals.family(target, process), 0.2 * process.T, 0.5 * process.T
    two = m.law(s).diffused(float(process.scale(s, t)), float(process.variance(s, t)))
    x = np.linspace(-3.0, 4.0, 8).reshape((8,) if target.dim == 1 else (4, 2)) * np.sqrt(1.0 + process.variance(0.0, t))
    np.testing.assert_allclose(two.log_density(x), m.law(t).log_density(x), rtol=1e-11, atol=1e-11)


@ALL
@pytest.mark.parametrize("process", [OU, VP], ids=["ou", "vp"])
def test_fokker_planck_equation(target: Law, process: Process) -> None:
    """d/dt log p = -a (d + x . s) + g^2/2 (div s + |s|^2): ties marginals to a and g, not to scale and variance."""
    m, t, d = marginals.family(target, process), 0.3 * process.T, target.dim
    x = np.linspace(-1.5, 1.9, 10).reshape((10,) if d == 1 else (5, 2))
    dt, h = 1e-4 * process.T, 1e-4
    left = (
        8.0 * (m.log_density(t + dt, x) - m.log_density(t - dt, x))
        - (m.log_density(t + 2 * dt, x) - m.log_density(t - 2 * dt, x))
    ) / (12.0 * dt)
    s = m.score(t, x)
    if d == 1:
        inner, square = x * s, s**2
        div = (m.score(t, x + h) - m.score(t, x - h)) / (2.0 * h)
    else:
        inner, square = (x * s).sum(axis=-1), (s**2).sum(axis=-1)
        shift = h * np.eye(2)
        div = sum((m.score(t, x + e) - m.score(t, x - e))[:, i] for i, e in enumerate(shift)) / (2.0 * h)
    right = -process.drift_rate(t) * (d + inner) + 0.5 * process.diffusion(t) ** 2 * (div + square)
    np.testing.assert_allclose(left, right, rtol=1e-6, atol=1e-6 * np.abs(right).max())


# compiled sums against numpy


def twin_1d(peaks: Any, means: Any, halves: Any, x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Log density and score in numpy."""
    offsets = means - x[:, None]
    terms = peaks - halves * offsets**2
    log_p = logsumexp(terms, axis=1)
    return log_p, (np.exp(terms - log_p[:, None]) * 2.0 * halves * offsets).sum(axis=1)


def twin_2d(peaks: Any, means: Any, halves: Any, slopes: Any, x: Any) -> tuple[np.ndarray, np.ndarray]:
    dx = means[:, 0] - x[:, None, 0]
    v = means[:, 1] - x[:, None, 1] - slopes * dx
    terms = peaks - halves[:, 0] * dx**2 - halves[:, 1] * v**2
    log_p = logsumexp(terms, axis=1)
    share = np.exp(terms - log_p[:, None])
    gx = (share * 2.0 * (halves[:, 0] * dx - halves[:, 1] * v * slopes)).sum(axis=1)
    return log_p, np.stack([gx, (share * 2.0 * halves[:, 1] * v).sum(axis=1)], axis=-1)


def coefficients(k: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    return (
        rng.normal(size=k) - 3.0,
        rng.normal(size=(k, 2)),
        np.exp(rng.normal(size=(k, 2))) * 20.0,
        rng.normal(size=k),
    )


def test_compiled_exponential() -> None:
    x = np.concatenate([np.linspace(-708.0, 709.0, 4001), np.linspace(-1.0, 1.0, 1001)])
    ours = np.array([_compile.exp(v) for v in x])
    np.testing.assert_allclose(ours, np.exp(x), rtol=4e-16)
    assert _compile.exp(-1e300) == _compile.exp(-708.0) < 4e-308
    assert np.isnan(_compile.exp(np.nan))


@pytest.mark.parametrize("n", [1, 127, 128, 129, 400])
@pytest.mark.parametrize("width", [1.0, 6.0, 1e3, 1e8])  # all summed directly, some blocks underflow, all do
def test_compiled_lines_and_scores(n: int, width: float, rng: np.random.Generator) -> None:
    peaks, means, halves, _ = coefficients(17, rng)
    x = rng.uniform(-width, width, n)
    log_p, score = twin_1d(peaks, means[:, 0], halves[:, 0], x)
    out, gradient = np.empty((1, n)), np.empty(n)
    _compiled.lines(peaks[None], means[None, :, 0].copy(), halves[None, :, 0].copy(), x, out, 0, 1)
    _compiled.scatter_1d(peaks, means[:, 0].copy(), halves[:, 0].copy(), x, gradient)
    np.testing.assert_allclose(out[0], log_p, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(gradient, score, rtol=1e-13 * max(1.0, width), atol=1e-12)


@pytest.mark.parametrize("n", [1, 129, 300])
@pytest.mark.parametrize("width", [1.0, 6.0, 1e3])
def test_compiled_planes_and_scores(n: int, width: float, rng: np.random.Generator) -> None:
    peaks, means, halves, slopes = coefficients(9, rng)
    x, y = rng.uniform(-width, width, 5), rng.uniform(-width, width, n)
    points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    log_p, score = twin_2d(peaks, means, halves, slopes, points)
    out, gradient = np.empty((1, 5, n)), np.empty_like(points)
    _compiled.planes(peaks[None], means[None], halves[None], slopes[None], x, y, np.array([[1.0, 0.0]]), out, 0, len(x))
    _compiled.scatter(peaks, means, halves, slopes, points, gradient)
    np.testing.assert_allclose(out.ravel(), log_p, rtol=1e-13, atol=1e-12)
    np.testing.assert_allclose(gradient, score, rtol=1e-12 * max(1.0, width), atol=1e-11 * width)


@pytest.mark.parametrize(("n", "narrow"), [(2, 1.0), (96, 0.5), (300, 1.0), (515, 4.0), (200, 300.0), (400, 1e5)])
def test_even_axes_and_the_tilt(n: int, narrow: float, rng: np.random.Generator) -> None:
    """Products of exponentials where they are safe, terms left out, terms one by one: against a sum of logarithms."""
    peaks, means, halves, slopes = coefficients(9, rng)
    halves[::2] *= narrow
    x, y = np.array([-5.0, 0.3, 2.2, 9.0]), np.linspace(-6.0, 7.0, n)
    points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    log_p = twin_2d(peaks, means, halves, slopes, points)[0]
    tilt, out = np.array([[2.5, 0.7], [1.0, 0.0]]), np.empty((2, len(x), n))
    every = [np.stack([array, array]) for array in (peaks, means, halves, slopes)]
    _compiled.planes(*every, x, y, tilt, out, 0, 2 * len(x))
    np.testing.assert_allclose(out[1].ravel(), log_p, rtol=2e-13, atol=1e-12)
    np.testing.assert_allclose(out[0].ravel(), 2.5 * log_p - 0.7 * (points**2).sum(axis=1), rtol=2e-13, atol=3e-12)
    # the negative control: points that are not equally spaced are not taken for it
    bent = y + 1e-3 * np.sin(y)
    points[:, 1] = np.tile(bent, len(x))
    _compiled.planes(*every, x, bent, tilt, out, len(x), 2 * len(x))
    log_p = twin_2d(peaks, means, halves, slopes, points)[0]
    np.testing.assert_allclose(out[1].ravel(), log_p, rtol=2e-13, atol=1e-12)


def test_compiled_sums_keep_nan_to_itself(rng: np.random.Generator) -> None:
    m = marginals.family(MIXTURE, VP)
    x = np.array([0.1, np.nan, 1e4, 2.0])
    for values in (m.score(0.3, x), m.log_density_on_axes([0.3], x)[0]):
        assert np.isnan(values[1]) and np.isfinite(values[[0, 2, 3]]).all()
    np.testing.assert_allclose(m.score(0.3, x)[2:], m.law(0.3).score(x[2:]), rtol=1e-12)


@pytest.mark.parametrize("spread", [1.0, 100.0, 3000.0])
def test_log_matmul_is_finite_where_a_term_is(spread: float, rng: np.random.Generator) -> None:
    a, b = -spread * rng.exponential(size=(30, 12)), -spread * rng.exponential(size=(12, 200))
    expected = logsumexp(a[:, :, None] + b[None], axis=1)
    np.testing.assert_allclose(_mixture.log_matmul(a, b), expected, rtol=1e-13, atol=1e-13)
    if spread > 1000.0:  # the negative control: one scaled product alone is not enough
        scaled = np.exp(a - a.max(axis=1, keepdims=True)) @ np.exp(b - b.max(axis=0))
        assert np.any(scaled == 0.0)


@given(some.integers(1, 6), some.floats(0.01, 3.0), some.floats(-60.0, 60.0), some.floats(0.001, 2.9))
def test_random_mixtures_in_one_dimension(k: int, narrowest: float, x: float, t: float) -> None:
    rng = np.random.default_rng(k)
    law = fp.GaussianMixture(
        rng.dirichlet(np.ones(k)), rng.normal(size=k) * 3.0, stds=narrowest * (1.0 + rng.random(k))
    )
    m = marginals.family(law, OU)
    exact = m.law(t)
    np.testing.assert_allclose(
        m.log_density_on_axes([t], np.array([x]))[0], exact.log_density(np.array([x])), rtol=1e-12
    )
    np.testing.assert_allclose(m.score(t, x), exact.score(x), rtol=1e-11, atol=1e-11)


def test_nearly_singular_covariances_keep_their_digits() -> None:
    """The law of x times that of y given x; a precision matrix loses 1/(1 - rho^2) = 5e9 in relative accuracy."""
    rho = 1.0 - 1e-10
    law = fp.Gaussian([0.0, 0.0], cov=[[1.0, rho], [rho, 1.0]])
    x = np.array([[0.5, 0.5 + 1e-5], [-1.0, -1.0]])
    exact = -0.5 * ((x.sum(axis=1)) ** 2 / (2 * (1 + rho)) + (x[:, 0] - x[:, 1]) ** 2 / (2 * (1 - rho)))
    exact -= np.log(2.0 * np.pi) + 0.5 * np.log((1.0 - rho) * (1.0 + rho))
    y = marginals.family(law, OU).log_density_on_axes([0.0], x[:, 0], x[:, 1])[0]
    np.testing.assert_allclose(np.diag(y), exact, atol=1e-5)


# bad input


@pytest.mark.parametrize("name", ["mixture", "laplace"])
def test_bad_input(name: str) -> None:
    m = marginals.family(ONE[name], VP)
    with pytest.raises(ValueError, match="t: expected forward times in"):
        m.law(1.5)
    with pytest.raises(ValueError, match="axes: expected 1 arrays for a 1D law, got 2"):
        m.log_density_on_axes([0.5], [0.0], [1.0])
    with pytest.raises(ValueError, match=r"x: expected points of shape \(..., 2\)"):
        marginals.family(TWO["kernel"], VP).score(0.5, np.zeros(3))

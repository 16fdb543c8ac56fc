"""Laws after Gaussian noise: closed forms against convolution, the semigroup and long arithmetic."""

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.stats as st
from scipy.integrate import quad

import fpsolve as fp
from fpsolve.laws import DiffusedLaplace, DiffusedStudentT, DiffusedUniform, Law

ONE: dict[str, Law] = {
    "gaussian": fp.Gaussian(1.0, std=0.5),
    "mixture": fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5]),
    "kernel": fp.KernelDensity(np.random.default_rng(7).normal(size=30)),
    "laplace": fp.Laplace(0.3, 0.7),
    "t": fp.StudentT(5.0, 0.3, 0.8),
    "uniform": fp.Uniform(-1.0, 2.0),
    "diffused-laplace": fp.Laplace(0.3, 0.7).diffused(0.6, 0.09),
}
TWO: dict[str, Law] = {
    "gaussian": fp.Gaussian([1.0, -0.5], cov=[[0.5, 0.2], [0.2, 0.3]]),
    "mixture": fp.GaussianMixture([0.3, 0.7], [[-2.0, 0.0], [2.0, 1.0]], covs=[np.eye(2), [[0.5, -0.3], [-0.3, 0.4]]]),
    "kernel": fp.KernelDensity(np.random.default_rng(8).normal(size=(30, 2)), bandwidth=[0.3, 0.8]),
    "laplace": fp.Laplace([0.1, 0.0], [1.0, 0.5]),
    "t": fp.StudentT(6.0, [0.1, 0.4], 0.7),
    "uniform": fp.Uniform([-1.0, 0.0], [2.0, 1.0]),
}
EVERY = pytest.mark.parametrize(
    "law", [*ONE.values(), *TWO.values()], ids=[*(f"{n}-1d" for n in ONE), *(f"{n}-2d" for n in TWO)]
)


def blurred(law: Law, scale: float, variance: float, x: float) -> float:
    """Quadrature of the density of scale X + sqrt(variance) Z."""
    std = np.sqrt(variance)

    def integrand(y: float) -> float:
        return float(law.density(y) * st.norm.pdf(x, scale * y, std))

    reach = 12.0 * std / scale
    breaks = [p for p in (-2.0, -1.0, 0.3, 1.0, 2.0) if abs(p - x / scale) < reach]
    return float(quad(integrand, x / scale - reach, x / scale + reach, points=breaks, epsabs=1e-15, limit=300)[0])


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize(("scale", "variance"), [(0.6, 0.09), (1.0, 1e-3), (0.05, 1.0), (1.0, 9.0)])
def test_diffused_is_the_convolution(name: str, scale: float, variance: float) -> None:
    law = ONE[name]
    result = law.diffused(scale, variance)
    assert result is not None
    for x in (-1.7, -0.2, 0.18, 0.9, 2.4):
        assert result.density(x) == pytest.approx(blurred(law, scale, variance, x), rel=1e-8, abs=1e-12)
    assert result.mean == pytest.approx(scale * law.mean, abs=1e-12)
    assert result.cov == pytest.approx(scale**2 * law.cov + variance)


@EVERY
def test_diffused_composes(law: Law) -> None:
    """Two steps of noise are one: the semigroup property, for every family."""
    once, step = law.diffused(0.7, 0.5), law.diffused(0.9, 0.2)
    assert once is not None and step is not None
    twice = step.diffused(0.7 / 0.9, 0.5 - (0.7 / 0.9) ** 2 * 0.2)
    x = np.linspace(-4.0, 5.0, 12).reshape((12,) if law.dim == 1 else (6, 2))
    np.testing.assert_allclose(twice.log_density(x), once.log_density(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(twice.score(x), once.score(x), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(law.diffused(0.7, 0.0).log_density(0.7 * x), law.log_density(x) - law.dim * np.log(0.7))


def mp_laplace(x: mp.mpf, b: Any) -> tuple[mp.mpf, mp.mpf]:
    """Laplace(0, b) plus N(0, 1) in long arithmetic: density and its logarithmic derivative."""
    half, b = mp.mpf(1) / 2, mp.mpf(b)

    def term(y: mp.mpf) -> mp.mpf:
        return mp.exp(half / b**2 - y / b) * half * mp.erfc((1 / b - y) / mp.sqrt(2)) / (2 * b)

    return term(x) + term(-x), (term(-x) - term(x)) / (b * (term(x) + term(-x)))


def mp_uniform(x: mp.mpf, half: float) -> tuple[mp.mpf, mp.mpf]:
    """Uniform(-half, half) plus N(0, 1) in long arithmetic."""
    near, far = (x - half), (x + mp.mpf(half))
    mass = (mp.erfc(near / mp.sqrt(2)) - mp.erfc(far / mp.sqrt(2))) / 2
    return mass / (2 * mp.mpf(half)), (mp.npdf(far) - mp.npdf(near)) / mass


@pytest.mark.parametrize("width", [1e-4, 0.03, 0.4, 1.0, 7.0, 300.0])
@pytest.mark.parametrize("x", [0.0, 1e-3, 0.7, 5.0, 40.0, 1e3])
def test_blurred_laplace_and_uniform_in_long_arithmetic(width: float, x: float) -> None:
    cases: list[tuple[Law, Callable[..., tuple[Any, Any]]]] = [
        (DiffusedLaplace(0.0, width, 1.0), mp_laplace),
        (DiffusedUniform(-width, width, 1.0), mp_uniform),
    ]
    for law, exact in cases:
        with mp.workdps(60):
            p, score = exact(mp.mpf(x), width)
            log_p = float(mp.log(p))
        assert law.log_density(x) == pytest.approx(log_p, rel=1e-13, abs=1e-13)
        # narrow: the score is the difference of two close branches over b, with b = 1e-4 of the noise an error of 1e-11
        assert law.score(x) == pytest.approx(float(score), rel=2e-10, abs=1e-15 / width)
        assert law.score(-x) == -law.score(x)


@pytest.mark.parametrize("df", [0.5, 1.0, 2.1, 5.0, 50.0, 1e3])
@pytest.mark.parametrize("dim", [1, 2])
def test_scale_mixture_is_student_t_into_the_polynomial_tail(df: float, dim: int) -> None:
    law = fp.StudentT(df, 0.0 if dim == 1 else [0.0, 0.0])
    r = np.concatenate([[0.0], np.geomspace(1e-3, 1e6, 200)])
    x = r if dim == 1 else np.stack([0.6 * r, 0.8 * r], axis=-1)
    inside = law.log_density(x) > law.log_density(x[0]) - 1900.0
    np.testing.assert_allclose(law.components.log_density(x)[inside], law.log_density(x)[inside], rtol=0.0, atol=1e-11)
    np.testing.assert_allclose(law.components.score(x)[inside], law.score(x)[inside], rtol=1e-10)
    assert np.exp(law.components.log_weights).sum() == pytest.approx(1.0, abs=1e-12)
    assert isinstance(law.components, DiffusedStudentT)
    np.testing.assert_array_equal(law.components.cov, law.cov)


@pytest.mark.parametrize("x", [0.0, 3.0, 50.0, 1e3])
def test_blurred_student_t_in_long_arithmetic(x: float) -> None:
    law = fp.StudentT(5.0).diffused(1.0, 4.0)
    with mp.workdps(25):
        c = mp.gamma(3) / (mp.gamma(mp.mpf(5) / 2) * mp.sqrt(5 * mp.pi))
        exact = mp.quad(lambda z: c * (1 + (x - 2 * z) ** 2 / mp.mpf(5)) ** -3 * mp.npdf(z), mp.linspace(-16, 16, 65))
    assert law.density(x) == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize("law", [ONE["laplace"], ONE["t"], ONE["mixture"], fp.Uniform(-1.0, 1.0)])
def test_diffused_far_out_is_finite_and_quiet(law: Law) -> None:
    x = np.array([-1e8, -1e4, -60.0, 60.0, 1e4, 1e8])
    for scale, variance in ((1.0, 1e-8), (1.0, 1e-2), (1e-3, 1.0), (1.0, 6400.0)):
        blur = law.diffused(scale, variance)
        assert np.all(np.isfinite(blur.log_density(x)))
        assert np.all(np.sign(blur.score(x)) == -np.sign(x))


@pytest.mark.parametrize("diffused", [False, True])
@pytest.mark.parametrize(
    "law",
    [
        fp.Gaussian(0.4, std=0.7),
        fp.GaussianMixture([0.3, 0.7], [-1.0, 2.0], stds=[0.9, 0.2]),
        fp.KernelDensity(np.array([-1.0, 0.0, 3.0]), bandwidth=0.25),
        fp.Laplace(0.3, scale=1.2),
        fp.StudentT(4.0),
        fp.Uniform(-1.0, 2.0),
    ],
    ids=lambda law: type(law).__name__,
)
def test_tails_are_those_of_the_log_density(law: fp.Law, diffused: bool) -> None:
    """Decay read off the log density at two radii far out, on the side where it is slower."""
    if diffused:
        law = law.diffused(0.8, 0.3)
    power, rate = law.tail.power, law.tail.rate
    if not np.isfinite(power):
        assert np.all(np.isneginf(law.log_density(np.array([-50.0, 50.0]))))
        return
    r = 1e3
    fall = min(float(-np.diff(law.log_density(side * np.array([r, 2 * r])))[0]) for side in (-1.0, 1.0))
    unit = np.log(2.0) if power == 0.0 else (2.0**power - 1.0) * r**power
    assert fall / unit == pytest.approx(rate, rel=0.02)

"""Guidance: the formula, conditional and tilted laws, and what guidance samples, against closed forms of Gaussians."""

import warnings

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

import fpsolve as fp
from fpsolve.scores import exact, guided

MIX = fp.GaussianMixture([0.2, 0.3, 0.5], [-2.0, 0.0, 1.5], stds=[0.4, 0.6, 0.5])
PLANE = fp.GaussianMixture([0.4, 0.6], [[-1.0, 0.0], [1.0, 0.5]], covs=[0.3 * np.eye(2), [[0.5, 0.2], [0.2, 0.4]]])


def normal(x, m, s):
    return np.exp(-0.5 * ((x - m) / s) ** 2) / (s * np.sqrt(2.0 * np.pi))


def test_the_formula_in_both_conventions_and_in_an_interval():
    process, x = fp.VP(), np.linspace(-3.0, 3.0, 7)
    u, c = exact(MIX, process), exact(MIX.given(2), process)
    score, limited = guided(u, c, 2.5), guided(u, c, 2.5, interval=(0.2, 0.6))
    # (1 + w') s_c - w' s_u with w' = w - 1
    np.testing.assert_allclose(score(0.3, x), 2.5 * c(0.3, x) - 1.5 * u(0.3, x), rtol=1e-13)
    for t, inside in ((0.1, False), (0.2, False), (0.4, True), (0.6, True), (0.7, False)):
        np.testing.assert_array_equal(limited(t, x), (score if inside else c)(t, x))
    np.testing.assert_array_equal(guided(u, c, 1.0)(0.3, x), c(0.3, x))
    np.testing.assert_allclose(guided(u, c, 0.0)(0.3, x), u(0.3, x))
    assert limited.breaks == (0.2, 0.6) and score.breaks == ()
    assert repr(limited).endswith("w=2.5, interval=(0.2, 0.6))")


def test_given_a_label():
    assert MIX.given(1).component_means.tolist() == [[0.0]]
    both = MIX.given("b", labels=["a", "b", "b"])
    np.testing.assert_allclose(both.density(0.7), (0.3 * normal(0.7, 0.0, 0.6) + 0.5 * normal(0.7, 1.5, 0.5)) / 0.8)
    np.testing.assert_allclose(MIX.given((1, 2)).density(0.7), both.density(0.7))
    one = PLANE.given(1)
    assert one.dim == 2 and np.allclose(one.cov, [[0.5, 0.2], [0.2, 0.4]]) and np.allclose(one.mean, [1.0, 0.5])
    shared = fp.GaussianMixture([0.5, 0.5], [[0.0, 0.0], [1.0, 0.0]], stds=0.3).given(1)
    assert np.allclose(shared.cov, 0.09 * np.eye(2))
    for label, labels in ((3, None), ("c", ["a", "b", "b"]), (0, ["a"])):
        with pytest.raises(ValueError, match=r"labels?: expected one"):
            MIX.given(label, labels)


@pytest.mark.parametrize("w", [0.5, 2.0, 6.0])
def test_the_tilted_law(w):
    law = MIX.tilted(2, w)

    def weight(x):
        p = 0.2 * normal(x, -2.0, 0.4) + 0.3 * normal(x, 0.0, 0.6) + 0.5 * normal(x, 1.5, 0.5)
        return p * (0.5 * normal(x, 1.5, 0.5) / p) ** w if p > 0.0 else 0.0

    mass = quad(weight, -4.0, 6.0, points=[0.0, 1.5], epsabs=0.0, epsrel=1e-10)[0]
    for x in (-1.0, 0.5, 1.5, 2.5):
        assert float(law.density(x)) == pytest.approx(weight(x) / mass, rel=1e-8)
    # the score of the tilted law is the guided one at t = 0
    h = 1e-5
    slope = (law.log_density(1.0 + h) - law.log_density(1.0 - h)) / (2.0 * h)
    combined = (1.0 - w) * MIX.score(1.0) + w * MIX.given(2).score(1.0)
    assert float(slope) == pytest.approx(float(combined), rel=1e-6)


@pytest.mark.parametrize(("eta", "interval"), [(1.0, None), (1.0, (0.1, 0.5)), (0.0, None)])
def test_what_guidance_of_gaussians_samples(eta, interval):
    """Scores linear in x keep Gaussians: mean and variance by ordinary differential equations, then the distance."""
    u, c, w, process, t_min = fp.Gaussian(0.0, std=1.2), fp.Gaussian(1.0, std=0.6), 2.5, fp.VP(), 0.01
    score = guided(exact(u, process), exact(c, process), w, interval=interval)

    def moments(r, y):
        t = process.T - r
        a, s2 = float(process.scale(0.0, t)), float(process.variance(0.0, t))
        vu, vc = a**2 * 1.44 + s2, a**2 * 0.36 + s2
        on = w if interval is None or interval[0] < t <= interval[1] else 1.0
        slope, offset = -(1.0 - on) / vu - on / vc, on * a / vc
        rate, g2 = -float(process.drift_rate(t)), float(process.diffusion(t)) ** 2
        half = 0.5 * (1.0 + eta**2) * g2
        return [rate * y[0] + half * (slope * y[0] + offset), 2.0 * (rate + half * slope) * y[1] + eta**2 * g2]

    at, values = (
        0.0,
        [
            float(process.scale(0.0, 1.0)),
            float(process.scale(0.0, 1.0)) ** 2 * 0.36 + float(process.variance(0.0, 1.0)),
        ],
    )
    for stop in [1.0 - t for t in ((interval or ())[::-1])] + [1.0 - t_min]:
        found = solve_ivp(moments, (at + 1e-12, stop - 1e-12), values, rtol=1e-10, atol=1e-12, method="DOP853")
        at, values = stop, found.y[:, -1]
    m, v = values
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reverse = fp.Reverse(c, process, score=score, eta=eta)
    run = fp.evolve(reverse, {"prior": reverse.marginal(1.0)}, t_min=t_min, tol=1e-4)
    end, grid = run.density.isel(start=0, t=-1), run.fpsolve.grid
    truth = end.copy(data=grid.cell_average(fp.Gaussian(m, cov=v)))
    error = float(run.error_estimate[0, -1])
    assert float(fp.distances.weighted_tv(end, truth).distance) <= error <= 1e-4
    # the tilted law of Gaussians: precisions and precision times mean add up
    precision = (1.0 - w) / 1.44 + w / 0.36
    tilted = w / 0.36 / precision, precision**-0.5
    apart = fp.distances.total_variation(end, end.copy(data=grid.cell_average(fp.Gaussian(tilted[0], std=tilted[1]))))
    gap = quad(lambda x: 0.5 * abs(normal(x, m, v**0.5) - normal(x, *tilted)), -4.0, 6.0, limit=400)[0]
    assert float(apart.distance) == pytest.approx(gap, abs=error + 5e-6) and gap > 0.02


def test_guided_scores_in_the_plane_and_mistakes():
    process = fp.VP()
    score = guided(exact(PLANE, process), exact(PLANE.given(1), process), 4.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reverse = fp.Reverse(PLANE.given(1), process, score=score)
    assert reverse.score(0.5, np.zeros((3, 2))).shape == (3, 2)
    right = exact(MIX, process)
    for call, words in (
        (lambda: guided(right, 3.0, 2.0), "conditional"),
        (lambda: guided(right, right, np.nan), "w: expected"),
        (lambda: guided(right, right, 2.0, interval=(0.5, 0.1)), "interval: expected two forward times"),
        (lambda: MIX.tilted(0, -1.0), "power: expected"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_an_interval_that_no_time_of_the_process_is_in_is_said():
    process = fp.VP()
    parts = exact(MIX, process), exact(MIX.given(2), process)
    with pytest.warns(
        fp.ScoreWarning, match=r"interval: expected forward times that begin below T = 1, got \(2.0, 3.0\)"
    ):
        fp.Reverse(MIX.given(2), process, score=guided(*parts, 2.0, interval=(2, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fp.Reverse(MIX.given(2), process, score=guided(*parts, 2.0, interval=(0.5, 3)))
        fp.Reverse(
            MIX.given(2),
            fp.EDM(),
            score=guided(exact(MIX, fp.EDM()), exact(MIX.given(2), fp.EDM()), 2.0, interval=(2, 3)),
        )

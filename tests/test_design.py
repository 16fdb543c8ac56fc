"""Designed step grids: their error by an independent recursion, better than every named grid, and stationary."""

from itertools import pairwise

import cases
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import simpson
from scipy.interpolate import CubicSpline
from scipy.special import ndtr
from scipy.stats import norm

import fpsolve as fp
from fpsolve import design

TARGET = fp.GaussianMixture([0.4, 0.6], [-1.0, 1.0], stds=[0.3, 0.2])
VP = fp.Reverse(TARGET, fp.VP(), eta=0.0)


def alpha_sigma(t):
    """Of VP with beta from 0.1 to 20, written out."""
    integral = 0.1 * t + 0.5 * 19.9 * t**2
    return np.exp(-0.5 * integral), np.sqrt(-np.expm1(-integral))


def epsilon(t, x):
    alpha, sigma = alpha_sigma(t)
    w, m, v = np.array([0.4, 0.6]), alpha * np.array([-1.0, 1.0]), alpha**2 * np.array([0.09, 0.04]) + sigma**2
    powers = -0.5 * (x[:, None] - m) ** 2 / v
    terms = w * np.exp(powers - powers.max(axis=1, keepdims=True)) / np.sqrt(v)
    return sigma * (terms * (x[:, None] - m) / v).sum(axis=1) / terms.sum(axis=1)


def by_recursion(times, method):
    """Weighted total variation of the law of DDIM or DPM-Solver++(2M) from N(0, 1): images of ranks."""
    start = np.linspace(-7.5, 7.5, 200_001)
    x, before = start, None
    for s, t in pairwise(times):
        (a_s, b_s), (a_t, b_t) = alpha_sigma(s), alpha_sigma(t)
        data = (x - b_s * epsilon(s, x)) / a_s
        step = np.log(a_t / b_t) - np.log(a_s / b_s)
        guess = data
        if method == "dpm-solver++(2m)" and before is not None:
            ratio = before[1] / step
            guess = data + 0.5 / ratio * (data - before[0])
        x = b_t / b_s * x - a_t * np.expm1(-step) * guess
        before = data, step
    low, high = np.minimum(x[1:], x[:-1]), np.maximum(x[1:], x[:-1])
    cells = np.linspace(-4.0, 4.0, 801)
    mass = np.histogram(0.5 * (low + high), cells, weights=np.diff(ndtr(start)))[0]
    alpha, sigma = alpha_sigma(times[-1])
    stds = np.sqrt(alpha**2 * np.array([0.09, 0.04]) + sigma**2)
    cdf = (np.array([0.4, 0.6]) * ndtr((cells[:, None] - alpha * np.array([-1.0, 1.0])) / stds)).sum(axis=1)
    middles = 0.5 * (cells[1:] + cells[:-1])
    return float((1.0 + middles**2) @ np.abs(mass - np.diff(cdf)))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ddim", "dpm-solver++(2m)"])
@pytest.mark.parametrize("n", cases.sample((5, 8, 12, 20), (5,)))
def test_a_designed_grid_beats_all_named_ones_and_its_neighbours(method, n, rng):
    found = design.steps(VP, method, n, progress=False)
    best, true = min(found.named.values()), by_recursion(found.times, method)
    print(f"{method}, n = {n}: {found.error:.5f} +- {found.error_bar:.1g}, by recursion {true:.5f}, "
          f"{found.error / best:.2f} of the best named, stationarity {found.stationarity:.2g}")  # fmt: skip
    # figures of the README
    low, high = {"ddim": (0.305, 0.475), "dpm-solver++(2m)": (0.055, 0.095)}[method]
    assert low <= found.error / best <= high
    assert found.error == pytest.approx(true, abs=found.error_bar + 2e-3)
    assert len(found.times) == n + 1 and np.all(np.diff(found.times) < 0.0)
    assert found.times[-1] == 1e-3 and found.evaluations == n
    karras = by_recursion(fp.samplers.grids.karras(n, fp.VP()), method)
    assert found.named["karras"] == pytest.approx(karras, rel=5e-3)
    assert list(found.named.values()) == sorted(found.named.values())
    wobble = 1.0 + 0.03 * rng.standard_normal((10, n - 1))
    nearby = [by_recursion(np.r_[found.times[0], found.times[1:-1] * w, 1e-3], method) for w in wobble]
    assert min(nearby) >= true * (1.0 - 5e-3)


@pytest.mark.slow
def test_noise_other_distances_tables_and_paths_without_signal():
    noisy = design.steps(VP, "ddpm", 3, grid=fp.Grid.uniform((-7, 7), cells=120), most=60, progress=False)
    assert noisy.error < min(noisy.named.values()) and noisy.evaluations == 3
    few = {"grid": fp.Grid.uniform((-7, 7), cells=200), "most": 30, "progress": False}
    heun = design.steps(VP, "heun", 3, **few)
    assert heun.evaluations == 6
    near = design.steps(
        VP, "ddim", 3, distance=fp.distances.wasserstein, grid=fp.Grid.uniform((-7, 7), cells=200), most=60,
        progress=False,
    )  # fmt: skip
    assert near.error <= min(near.named.values())
    table = fp.Reverse(TARGET, fp.FromAlphasCumprod(np.cumprod(1.0 - np.linspace(1e-4, 0.02, 1000))), eta=0.0)
    steps = design.steps(table, "ddim", 4, **few).timesteps
    own = design.error(table, "ddim", np.append(table.process.time_of(steps), 1e-3))
    assert 0.0 < float(own.error) < 1e-3 * float(own.distance)
    assert steps.shape == (4,) and 0 < steps[-1] < steps[0] <= 999 and np.all(np.diff(steps) < 0)
    flow = design.steps(
        fp.Reverse(TARGET, fp.RectifiedFlow(), eta=0.0), "flow-match-euler", 4, most=100, progress=False
    )
    assert flow.error <= 0.8 * min(flow.named.values())
    with pytest.raises(ValueError, match="timestep"):
        _ = flow.timesteps
    sigmas = design.steps(fp.Reverse(TARGET, fp.VE(), eta=0.0), "euler", 4, most=30, progress=False).sigmas
    assert np.all(np.diff(sigmas) < 0.0)


@pytest.mark.parametrize("most", [1, 30])
def test_a_design_is_no_worse_than_a_step_grid_to_begin_from(most):
    options = {"grid": fp.Grid.uniform((-7.0, 7.0), cells=100), "progress": False}
    good = design.steps(VP, "dpm-solver++(2m)", 4, most=400, **options)
    found = design.steps(VP, "dpm-solver++(2m)", 4, begin=good.times, most=most, **options)
    assert found.error <= good.error * (1.0 + 1e-12) < 0.5 * min(good.named.values())
    late = np.array([0.9, 0.5, 0.1, 0.02, 1e-3])  # begins below T
    begun = float(design.error(VP, "ddim", late, grid=options["grid"]).distance)
    assert design.steps(VP, "ddim", 4, begin=late, most=most, **options).error <= begun * (1.0 + 1e-12)


def test_tries_are_shared_out_among_the_beginnings():
    """About thirty more: the named grids, those next to what is found, the last derivative of every beginning."""
    found = design.steps(VP, "ddim", 4, most=60, grid=fp.Grid.uniform((-7.0, 7.0), cells=60), progress=False)
    assert found.tried <= 60 + 40


def ddim(score, x, s, t):
    """The map of DDIM from s to t, written out."""
    (a_s, b_s), (a_t, b_t) = alpha_sigma(s), alpha_sigma(t)
    return a_t * (x + b_s**2 * score(s, x)) / a_s - b_t * b_s * score(s, x)


def exact_score(t, x):
    return -epsilon(t, x) / alpha_sigma(t)[1]


def density(t, x):
    alpha, sigma = alpha_sigma(t)
    stds = np.sqrt(alpha**2 * np.array([0.09, 0.04]) + sigma**2)
    return norm.pdf(x[:, None], alpha * np.array([-1.0, 1.0]), stds) @ np.array([0.4, 0.6])


def weighted_of_images(u, mass, x, t):
    """``int V |q - p_t|`` of the law whose density is `mass` at u, moved by an increasing map to x(u)."""
    slope = CubicSpline(u, x)(u, 1)
    assert np.all(slope > 0.0)
    outside = [np.linspace(min(-5.0, x[0]), x[0], 4001), np.linspace(x[-1], max(5.0, x[-1]), 4001)]
    missed = sum(simpson((1.0 + y**2) * density(t, y), x=y) for y in outside)
    return missed + simpson((1.0 + x**2) * np.abs(mass - density(t, x) * slope), x=u)


def test_errors_of_named_grids_lie_within_their_bars():
    u = np.linspace(-8.0, 8.0, 40_001)
    found = design.named(VP, "ddim", 4)
    for name in ("leading", "uniform", "exponential", "karras"):
        # the last level of n is t_min itself
        times = getattr(fp.samplers.grids, name)(5 if name == "leading" else 4, fp.VP())
        times, x = (np.append(times[:4], 1e-3) if name == "leading" else times), u
        for s, t in pairwise(times):
            x = ddim(exact_score, x, s, t)
        true = weighted_of_images(u, norm.pdf(u), x, 1e-3)
        assert abs(found[name] - true) <= found[name].bar + 2e-8 and 0.0 < found[name].bar < 1e-5
        assert f"{found[name]!r}" == f"{float(found[name])} +- {found[name].bar:.1g}"


@pytest.mark.parametrize("t_min", [0.15, 0.3])
def test_tables_that_go_below_the_last_time_are_no_candidates(t_min):
    """Timesteps of 0.95, 0.9, ... of T end near 0: with twenty of them none of the tables stops at `t_min`."""
    found = design.named(VP, "ddim", 20, t_min=t_min)
    assert set(found) == {"uniform", "karras", "exponential", "log_snr"} and np.all(np.isfinite(list(found.values())))
    assert {"leading", "trailing", "linspace"} < set(design.named(VP, "ddim", 2, t_min=t_min))


def after_noise(x, mass, mean, std, y):
    """Density at y of ``mean + std Z`` where x has the density `mass`, x evenly spaced."""
    return np.array([(x[1] - x[0]) * mass @ norm.pdf(at, mean, std) for at in y])


def test_bars_of_methods_with_noise():
    x = np.linspace(-8.0, 8.0, 2401)
    times = np.array([1.0, 0.6, 0.3, 0.05])
    mass = norm.pdf(x)
    for s, t in pairwise(times):
        (a_s, b_s), (a_t, b_t) = alpha_sigma(s), alpha_sigma(t)
        added = b_s**2 - (a_s / a_t) ** 2 * b_t**2
        mean = a_t / a_s * (x + added * exact_score(s, x))
        mass = after_noise(x, mass, mean, np.sqrt(added) * b_t / b_s, x)
    true = simpson((1.0 + x**2) * np.abs(mass - density(times[-1], x)), x=x)
    found = design.error(VP, "ddpm", times)
    assert abs(float(found.distance) - true) <= float(found.error) + 2e-5 and 0.0 < float(found.error) < 1e-3
    small = design.error(VP, "ddpm", times, grid=fp.Grid.uniform((-2.0, 2.0), cells=200))
    assert float(small.error) == np.inf and "leaves the box" in small.attrs["reason"]


def wrong_score(t, x):
    return exact_score(t, x) - 0.2 / alpha_sigma(t)[1]


@pytest.mark.slow
def test_eta_per_step_helps_where_the_score_is_wrong():
    reverse = fp.Reverse(TARGET, fp.VP(), wrong_score, eta=0.0)
    options = {"grid": fp.Grid.uniform((-7.0, 7.0), cells=200), "progress": False}
    fixed = design.steps(reverse, "ddim", 2, most=300, **options)
    found = design.steps(reverse, "ddim", 2, free="eta", most=560, **options)
    assert found.noise.shape == (2,) and np.all((found.noise >= 0.0) & (found.noise <= 1.0)) and found.noise.max() > 0.1
    assert found.error < fixed.error and fixed.noise is None
    x = np.linspace(-7.0, 7.0, 1401)
    mass, law = norm.pdf(x), None
    for (s, t), eta in zip(pairwise(found.times), found.noise, strict=True):
        (a_s, b_s), (a_t, b_t) = alpha_sigma(s), alpha_sigma(t)
        drawn = eta * np.sqrt(b_s**2 - (a_s / a_t) ** 2 * b_t**2) * b_t / b_s
        score = wrong_score(s, x)
        mean = a_t * (x + b_s**2 * score) / a_s - np.sqrt(b_t**2 - drawn**2) * b_s * score
        law = mass, mean
        mass = after_noise(x, mass, mean, drawn, x) if drawn > 0.02 else after_map(x, mass, mean)
    assert law is not None
    true = simpson((1.0 + x**2) * np.abs(mass - density(1e-3, x)), x=x)
    assert found.error == pytest.approx(true, abs=found.error_bar + 3e-3)
    again = design.error(found.reverse, found.sampler, found.times, grid=options["grid"])
    assert float(again.distance) == pytest.approx(found.error, rel=1e-12)
    assert [found.reverse.eta_at(t) for t in found.times[:-1]] == found.noise.tolist()


def after_map(x, mass, image):
    """Density at x of an increasing image of a law."""
    return np.interp(x, image, mass / CubicSpline(x, image)(x, 1), left=0.0, right=0.0)


@pytest.mark.slow
def test_churn_per_step():
    reverse = fp.Reverse(TARGET, fp.VP(), wrong_score, eta=0.0)
    options = {"grid": fp.Grid.uniform((-7.0, 7.0), cells=120), "progress": False, "most": 160}
    found = design.steps(reverse, "edm", 2, free="churn", **options)
    assert found.error <= design.steps(reverse, "edm", 2, **options).error * (1.0 + 1e-12)
    assert found.noise.shape == (2,) and np.all(
        (found.noise >= 0.0) & (found.noise <= 2 * (np.sqrt(2.0) - 1.0) + 1e-12)
    )
    steps = fp.samplers.steps(found.sampler, found.reverse, found.times)
    for step, churn in zip(steps, found.noise, strict=True):
        low, top = (alpha_sigma(t)[1] / alpha_sigma(t)[0] for t in (step.t_from, step.t_top))
        assert top / low == pytest.approx(1.0 + churn / 2.0, rel=1e-9)
    again = design.error(found.reverse, found.sampler, found.times, grid=options["grid"])
    assert float(again.distance) == pytest.approx(found.error, rel=1e-12)


def test_the_bar_of_any_distance_is_twice_what_half_the_cells_change():
    grid = fp.Grid.uniform((-7.0, 7.0), cells=120)
    times = fp.samplers.grids.karras(4, fp.VP(), t_min=1e-3)

    def cosines(p, q):
        """Difference of E cos x at the cell centres, which says of itself that it is exact."""
        gap = abs(float((np.cos(p.x) * (p - q)).sum())) * float(p.x[1] - p.x[0])
        return xr.Dataset({"distance": gap, "error": 0.0})

    fine, coarse = (design.error(VP, "ddim", times, grid=g, distance=cosines) for g in (grid, grid.coarsen()))
    change = abs(float(fine.distance - coarse.distance))
    assert change > 1e-6 and float(fine.error) == pytest.approx(2.0 * change, rel=0.01)


def test_stationarity_is_the_derivative_by_the_logarithm_of_a_step():
    """At the Karras grid, which is no minimum: by differences twenty times as wide."""
    found = design._problem.Problem.of(VP, "ddim", 4, None, None, grid=fp.Grid.uniform((-7.0, 7.0), cells=200))
    z = found.logs(fp.samplers.grids.karras(4, fp.VP(), t_min=1e-3))
    slopes = [
        (np.log(found.error(found.times(z + e))) - np.log(found.error(found.times(z - e)))) / 0.04
        for e in 0.02 * np.eye(len(z))
    ]
    assert np.max(np.abs(slopes)) > 0.1
    assert found.stationarity(z) == pytest.approx(np.max(np.abs(slopes)), rel=0.05)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"free": "eta", "sampler": "heun"}, "ddim"),
        ({"free": "churn"}, "edm"),
        ({"free": "noise"}, "'eta', 'churn'"),
        ({"n": 1}, "n: "),
        ({"t_min": 2.0}, "t_min"),
        ({"start": 3.0}, "start"),
        ({"begin": [1.0, 0.3, 1e-3]}, "begin: expected 5 times that end at t_min = 0.001, got 3 that end at 0.001"),
        ({"begin": [1.0, 0.8, 0.5, 0.3, 0.1]}, "begin: expected 5 times .* got 5 that end at 0.1"),
        ({"sampler": "dimd"}, "perhaps 'ddim'"),
    ],
)
def test_bad_input(change, words):
    with pytest.raises((ValueError, TypeError), match=words):
        design.steps(**{"reverse": VP, "sampler": "ddim", "n": 4} | change)


@pytest.mark.slow
def test_edm_is_designed_on_cells_that_follow_its_scale():
    """Heun between Karras' levels by images of 400,001 points, without a grid; then a design better than all named."""
    weights, means, stds = np.array([0.3, 0.7]), np.array([-1.5, 0.8]), np.array([0.3, 0.4])
    reverse = fp.Reverse(fp.GaussianMixture(weights, means, stds=stds), fp.EDM(), eta=0.0)
    levels = np.linspace(80.0 ** (1 / 7), 0.08 ** (1 / 7), 7) ** 7
    u = np.linspace(-8.0, 8.0, 400_001)

    def slope(x, sigma):
        v = stds**2 + sigma**2
        shares = weights * np.exp(-0.5 * (x[:, None] - means) ** 2 / v + 0.5 * x[:, None] ** 2 / v.max()) / np.sqrt(v)
        shares /= shares.sum(axis=1, keepdims=True)
        return (shares * (x[:, None] - means) / v).sum(axis=1) * sigma

    x = 80.0 * u
    for sigma, later in pairwise(levels):
        first = slope(x, sigma)
        ahead = x + (later - sigma) * first
        x = x + 0.5 * (later - sigma) * (first + slope(ahead, later))
    law = np.exp(-0.5 * u * u) / np.sqrt(2.0 * np.pi) / np.gradient(x, u)
    ends = np.hypot(stds, 0.08)
    exact = (weights * np.exp(-0.5 * ((x[:, None] - means) / ends) ** 2) / ends / np.sqrt(2.0 * np.pi)).sum(axis=1)
    gap = (1.0 + x * x) * np.abs(law - exact)
    true = float(np.sum(0.5 * (gap[1:] + gap[:-1]) * np.diff(x)))
    named = fp.design.named(reverse, "heun", 6)
    assert abs(named["karras"] - true) <= named["karras"].bar + 1e-6
    assert named["karras"].bar < 1e-6
    best = fp.design.steps(reverse, "heun", 6, most=200, progress=False)
    print(f"EDM, Heun, 6 steps: Karras {float(named['karras']):.4f} (truth {true:.4f}), best named "
          f"{min(named.values())!r}, designed {best.error:.4f} +- {best.error_bar:.1g}")  # fmt: skip
    assert best.error <= 0.8 * min(named.values()) and best.error_bar <= 0.01 * best.error


def test_corrections_that_stay_where_they_are_are_steps():
    # ancestral steps of VP for N(0.5, 0.4^2), each with one Langevin step of size 2 snr^2 sigma^2
    times, (mean, var) = np.linspace(1.0, 0.05, 9), (0.0, 1.0)
    for t, later in pairwise(times):
        (a, s), (b, r) = alpha_sigma(t), alpha_sigma(later)
        ratio, total = a / b, (0.4 * a) ** 2 + s**2
        added = s**2 - (ratio * r) ** 2
        slope = (1.0 - added / total) / ratio
        mean, var = slope * (mean - 0.5 * a) + 0.5 * b, slope**2 * var + added * r**2 / s**2
        size, total = 2.0 * 0.16**2 * r**2, (0.4 * b) ** 2 + r**2
        mean, var = mean - size / total * (mean - 0.5 * b), (1.0 - size / total) ** 2 * var + 2.0 * size
    x = np.linspace(-9.0, 9.0, 400_001)
    gap = np.abs(norm.pdf(x, mean, var**0.5) - norm.pdf(x, 0.5 * b, total**0.5))
    truth = simpson((1.0 + x**2) * gap, x=x)
    found = design.error(fp.Reverse(fp.Gaussian(0.5, std=0.4), fp.VP()), "predictor-corrector", times)
    assert abs(float(found.distance) - truth) <= float(found.error) + 1e-8 and float(found.error) < 1e-5

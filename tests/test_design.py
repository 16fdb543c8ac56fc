"""Designed step grids: their error by an independent recursion, better than every named grid, and stationary."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import ndtr

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
    terms = w * np.exp(-0.5 * (x[:, None] - m) ** 2 / v) / np.sqrt(v)
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
@pytest.mark.parametrize(("method", "n"), [("ddim", 5), ("dpm-solver++(2m)", 5), ("ddim", 8)])
def test_a_designed_grid_beats_all_named_ones_and_its_neighbours(method, n, rng):
    found = design.steps(VP, method, n, progress=False)
    best, true = min(found.named.values()), by_recursion(found.times, method)
    print(f"{method}, n = {n}: {found.error:.5f} +- {found.error_bar:.1g}, by recursion {true:.5f}, "
          f"{found.error / best:.2f} of the best named, stationarity {found.stationarity:.2g}")  # fmt: skip
    assert found.error <= 0.8 * best
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
    noisy = design.steps(VP, "ddpm", 3, grid=fp.Grid.uniform((-7, 7), cells=200), most=60, progress=False)
    assert noisy.error < min(noisy.named.values()) and noisy.evaluations == 3
    heun = design.steps(VP, "heun", 3, grid=fp.Grid.uniform((-7, 7), cells=200), most=200, progress=False)
    assert heun.evaluations == 6
    near = design.steps(
        VP, "ddim", 3, distance=fp.distances.wasserstein, grid=fp.Grid.uniform((-7, 7), cells=200), most=60,
        progress=False,
    )  # fmt: skip
    assert near.error <= min(near.named.values())
    table = fp.Reverse(TARGET, fp.FromAlphasCumprod(np.cumprod(1.0 - np.linspace(1e-4, 0.02, 1000))), eta=0.0)
    steps = design.steps(table, "ddim", 4, progress=False).timesteps
    own = design.error(table, "ddim", np.append(table.process.time_of(steps), 1e-3))
    assert 0.0 < float(own.error) < 1e-3 * float(own.distance)
    assert steps.shape == (4,) and 0 < steps[-1] < steps[0] <= 999 and np.all(np.diff(steps) < 0)
    flow = design.steps(fp.Reverse(TARGET, fp.RectifiedFlow(), eta=0.0), "flow-match-euler", 4, progress=False)
    assert flow.error <= 0.8 * min(flow.named.values())
    with pytest.raises(ValueError, match="timestep"):
        _ = flow.timesteps
    sigmas = design.steps(fp.Reverse(TARGET, fp.VE(), eta=0.0), "euler", 4, progress=False).sigmas
    assert np.all(np.diff(sigmas) < 0.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"n": 1}, "n: "), ({"t_min": 2.0}, "t_min"), ({"start": 3.0}, "start"), ({"sampler": "dimd"}, "perhaps 'ddim'")],
)
def test_bad_input(change, words):
    with pytest.raises((ValueError, TypeError), match=words):
        design.steps(**{"reverse": VP, "sampler": "ddim", "n": 4} | change)

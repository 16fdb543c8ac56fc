"""Steps narrower than a cell: laws are moved to 1e-6, the Markov matrix is kept apart, and either says which it is."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import ndtr

import fpsolve as fp
from fpsolve import bounds, kernels

# VP with beta from 0.1 to 20, and OU: alpha(0, t), written here once more
ALPHA = {
    "vp": lambda t: np.exp(-0.25 * t * t * 19.9 - 0.05 * t),
    "ou": lambda t: np.exp(-t),
}
PROCESS = {"vp": fp.VP(), "ou": fp.OrnsteinUhlenbeck(T=2.0)}


class Recursion:
    """Mean and variance of a sampler on the target N(mu, s^2), in y = x/alpha and sigma: every step is affine there."""

    def __init__(self, alpha, mu: float, s: float, mean: float, variance: float) -> None:
        self.alpha, self.mu, self.s2, self.mean, self.variance = alpha, mu, s * s, mean, variance

    def step(self, t0: float, t1: float, eta: float = 0.0, rise: float = 0.0, heun: bool = True) -> None:
        (a, sigma), (b, end) = ((self.alpha(t), np.sqrt(1.0 - self.alpha(t) ** 2) / self.alpha(t)) for t in (t0, t1))
        mean, variance = self.mean / a, self.variance / a**2
        variance += sigma**2 * ((1.0 + rise) ** 2 - 1.0)
        sigma *= 1.0 + rise
        rate = sigma / (self.s2 + sigma**2)
        # noise of DDIM in units of y: what is drawn is taken from the noise that is kept
        drawn = eta * np.sqrt(sigma**2 - end**2) * end / sigma if eta else 0.0
        kept = np.sqrt(end**2 - drawn**2) if eta else end
        slope = 1.0 + (kept - sigma) * rate
        if heun:
            later = end / (self.s2 + end**2)
            slope = 1.0 + 0.5 * (end - sigma) * (rate + later * slope)
        self.mean = b * (self.mu + slope * (mean - self.mu))
        self.variance = b**2 * (slope**2 * variance + drawn**2)

    def averages(self, grid: fp.Grid) -> np.ndarray:
        below = ndtr((grid.faces - self.mean) / np.sqrt(self.variance))
        return np.diff(below) / grid.volume


def chains():
    rng = np.random.default_rng(11)
    for name in ("heun", "ddim", "edm", "little DDIM noise", "little churn"):
        for process in PROCESS:
            for cells in (200, 400, 800):
                steps = int(rng.integers(1, 12))
                yield name, process, cells, steps, float(rng.uniform(-0.7, 0.7)), float(rng.uniform(0.35, 0.9))


@pytest.mark.parametrize(("name", "process", "cells", "steps", "mu", "s"), list(chains()))
def test_chains_of_narrow_steps_follow_the_gaussian_recursion(name, process, cells, steps, mu, s):
    method = {"little DDIM noise": "ddim", "little churn": "edm"}.get(name, name)
    # 1 / 20 of the noise of DDPM; a rise of the noise level by one part in a thousand
    options = {"eta": 0.05} if name == "little DDIM noise" else {"eta": 0.0} if name == "ddim" else {}
    if name == "little churn":
        options = {"churn": 1e-3 * steps, "steps": steps}
    reverse, grid = fp.Reverse(fp.Gaussian(mu, std=s), PROCESS[process]), fp.Grid.uniform((-9, 9), cells=cells)
    recursion = Recursion(ALPHA[process], mu, s, 0.2, 0.64)
    start = q = recursion.averages(grid)
    # the churn starts below T, where there is room for it
    times, whole = np.linspace(0.45, 0.05, steps + 1) * reverse.process.T, None
    make = kernels.sampler if cells == 200 else kernels.sampler_operator
    for t0, t1 in pairwise(times):
        step = make(method, reverse, grid, t0, t1, **options)
        recursion.step(t0, t1, options.get("eta", 0.0), 1e-3 if name == "little churn" else 0.0, heun=method != "ddim")
        q = step.push(q)
        if cells == 200:
            whole = step if whole is None else whole @ step
        if name in ("heun", "ddim", "edm"):
            assert (step.averaged, step.stochastic) == (1.0, False)
    error = np.abs(q - recursion.averages(grid)).sum() * grid.volume
    print(name, process, cells, steps, "L1 error:", error)
    assert error <= 1e-6
    if whole is None:
        return
    assert np.abs(whole.push(start) - q).sum() * grid.volume <= 1e-11
    # the Markov matrix beside it is what it says
    assert whole.matrix.min() >= 0.0
    assert whole.markov.stochastic
    assert np.abs(whole.matrix.sum(axis=1) - 1.0).max() <= 1e-13


def test_between_the_grids_of_edm():
    """Each step has a grid of its own scale: from 80 to 0.05 in eleven Heun steps, by the recursion of Karras et al."""
    reverse, times = fp.Reverse(fp.Gaussian(0.5, std=0.6), fp.EDM()), np.geomspace(80.0, 0.05, 12)
    grids = [fp.Grid.uniform((-8 * np.hypot(t, 1.0), 8 * np.hypot(t, 1.0)), cells=400) for t in times]
    mean, variance = 0.0, 6400.0
    q = grids[0].cell_average(fp.Gaussian(0.0, std=80.0))
    for k, (t0, t1) in enumerate(pairwise(times)):
        q = kernels.sampler("heun", reverse, grids[k], t0, t1, to_grid=grids[k + 1]).push(q)
        rate, later = t0 / (0.36 + t0**2), t1 / (0.36 + t1**2)
        slope = 1.0 + 0.5 * (t1 - t0) * (rate + later * (1.0 + (t1 - t0) * rate))
        mean, variance = 0.5 + slope * (mean - 0.5), slope**2 * variance
    truth = np.diff(ndtr((grids[-1].faces - mean) / np.sqrt(variance))) / grids[-1].volume
    error = np.abs(q - truth).sum() * grids[-1].volume
    print("Heun between grids:", error)
    assert error <= 1e-6


@pytest.mark.parametrize(("name", "options"), [("heun", {}), ("ddim", {"eta": 0.05}), ("edm", {"churn": 0.001})])
def test_push_and_pull_are_adjoint_and_the_same_without_a_matrix(name, options, rng):
    reverse, grid = fp.Reverse(fp.Gaussian(0.3, std=0.5), fp.VP()), fp.Grid.uniform((-5, 5), cells=90)
    kernel = kernels.sampler(name, reverse, grid, 0.5, 0.47, **options)
    operator = kernels.sampler_operator(name, reverse, grid, 0.5, 0.47, **options)
    p, f = rng.random((3, 90)), rng.normal(size=(2, 90))
    assert not kernel.stochastic
    assert not operator.stochastic
    for one in (kernel, operator, kernel.markov, operator.markov):
        assert np.allclose(one.push(p) @ f.T, p @ one.pull(f).T, rtol=1e-11, atol=1e-11)
        assert np.allclose(one.push(p).sum(axis=1), p.sum(axis=1), rtol=1e-12)
    assert np.allclose(kernel.push(p), operator.push(p), rtol=1e-11, atol=1e-12)
    assert np.allclose(kernel.markov.push(p), operator.markov.push(p), rtol=1e-11, atol=1e-12)


def test_noisy_steps_have_one_operator():
    reverse, grid = fp.Reverse(fp.Gaussian(0.3, std=0.5), fp.VP()), fp.Grid.uniform((-5, 5), cells=300)
    kernel = kernels.sampler("ddpm", reverse, grid, 0.5, 0.4)
    assert kernel.moves is None
    assert kernel.stochastic
    assert kernel.markov is kernel


def test_bounds_speak_of_the_markov_matrix():
    """Two cells far apart cannot be told to meet by a map: the drift is that of the matrix, not of the spline."""
    reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=2.0))
    grid = fp.Grid.uniform((-8, 8), cells=200)
    kernel = kernels.sampler("heun", reverse, grid, 1.0, 0.9)
    assert bounds.dobrushin(kernel).value == bounds.dobrushin(kernel.markov).value
    assert bounds.harris(kernel).value == bounds.harris(kernel.markov).value


def test_a_map_that_folds_the_line_says_so():
    steep = fp.Reverse(
        fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=3.0), score=fp.scores.checked(lambda t, x: -50.0 * np.sin(x))
    )
    grid = fp.Grid.uniform((-6, 6), cells=60)
    with pytest.warns(UserWarning, match=r"from t = 3 to 2 is not increasing: it folds the line over.*smaller steps"):
        kernel = kernels.sampler("ddim", steep, grid, 3.0, 2.0, eta=0.0)
    assert kernel.stochastic
    assert kernel.averaged == 1.0


def test_a_score_that_is_wild_beyond_the_box_does_not_count_as_a_fold():
    """The map need only increase where something comes from."""
    truth = fp.Reverse(fp.Gaussian(0.2, std=0.5), fp.VP())

    def score(t, x):
        return truth.score(t, x) + np.where(np.abs(x) > 8.0, 300.0 * np.sin(5.0 * x), 0.0)

    wild, grid = (
        fp.Reverse(truth.target, truth.process, score=fp.scores.checked(score)),
        fp.Grid.uniform((-7, 7), cells=200),
    )
    recursion = Recursion(ALPHA["vp"], 0.2, 0.5, 0.1, 0.81)
    q = recursion.averages(grid)
    for t0, t1 in ((0.5, 0.4), (0.4, 0.3)):
        q = kernels.sampler("heun", wild, grid, t0, t1).push(q)
        recursion.step(t0, t1)
    assert np.abs(q - recursion.averages(grid)).sum() * grid.volume <= 1e-6


def test_kernels_that_do_not_join_are_refused():
    reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=2.0))
    fine, coarse = (fp.Grid.uniform((-6, 6), cells=n) for n in (60, 40))
    first = kernels.sampler("heun", reverse, fine, 1.0, 0.9)
    for later in (
        kernels.sampler("heun", reverse, fine, 0.8, 0.7),
        kernels.sampler("heun", reverse, fine, 1.0, 0.9),
        kernels.sampler("heun", reverse, coarse, 0.9, 0.8),
    ):
        with pytest.raises(ValueError, match=r"times that meet|the same grid"):
            first @ later
    with pytest.raises(ValueError, match="moves: expected rows that sum to one"):
        kernels.Kernel(first.matrix, fine, 1.0, 0.9, moves=0.5 * first.matrix)


def test_what_a_map_takes_beyond_the_box_is_told_cell_by_cell():
    """DDIM on a Gaussian about 0 is multiplication by a number: cells whose image ends beyond +-1 have lost that."""
    reverse = fp.Reverse(fp.Gaussian(0.0, std=0.5), PROCESS["ou"], eta=0.0)
    grid, small = fp.Grid.uniform((-4, 4), cells=200), fp.Grid.uniform((-1, 1), cells=100)
    law = Recursion(ALPHA["ou"], 0.0, 0.5, 0.0, 1.0)
    law.step(1.5, 0.3, heun=False)
    image = np.sqrt(law.variance) * grid.faces
    beyond = 1.0 - np.diff(np.clip(image, -1.0, 1.0)) / np.diff(image)
    kernel, splines = (
        kernels.sampler("ddim", reverse, grid, 1.5, 0.3, to_grid=small, eta=0.0, source=source)
        for source in ("cell", "spline")
    )
    assert 0.2 < beyond.mean() < 0.8
    # splines of degree 5 ring where what is lost begins
    away = np.abs(np.abs(grid.x) - 1.0 / np.sqrt(law.variance)) > 0.5
    np.testing.assert_allclose(kernel.defects[away], beyond[away], atol=1e-3)
    np.testing.assert_allclose(splines.defects[away], beyond[away], atol=1e-3)

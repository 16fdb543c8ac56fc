"""Samplers as kernels: Gaussian recursions, draws of the same steps, splines, what is averaged and what leaves."""

from itertools import pairwise

import cases
import numpy as np
import pytest

import fpsolve as fp
from fpsolve import kernels, samplers, weights

TEN = {
    "euler-maruyama": (0.1493, 0.0725, 0.0358, 0.0177, 0.0088),
    "exponential-integrator": (0.2402, 0.1170, 0.0577, 0.0286, 0.0143),
}
COUNTS = (25, 50, 100, 200, 400)


def end_error(target, name, steps, grid, **options):
    """||.||_{1+x^2} to p_0 after uniform steps from N(0, 1), on the grid."""
    reverse = fp.Reverse(target, fp.VP())
    q = grid.cell_average(fp.Gaussian(0.0, std=1.0))
    for t0, t1 in pairwise(np.linspace(1.0, 0.0, steps + 1)):
        q = kernels.sampler_operator(name, reverse, grid, t0, t1, **options).push(q)
    return float(np.sum(weights.evaluate(None, grid) * np.abs(q - grid.cell_average(target))) * grid.volume)


@pytest.mark.parametrize("name", TEN)
def test_the_ten_numbers_of_the_gaussian_example(name):
    target, grid = fp.Gaussian(1.0, cov=0.5), fp.Grid.uniform((-7, 7), cells=500)
    found = [end_error(target, name, steps, grid) for steps in COUNTS]
    print(name, [round(e, 5) for e in found], "expected", TEN[name])
    assert np.abs(np.array(found) - TEN[name]).max() <= 1e-4


def gaussian_recursion(name, steps, mean, variance, **options):
    """Mean and variance of the sampler on a Gaussian target: every step is linear there."""
    process = fp.VP()
    m, v = 0.0, 1.0
    score = fp.scores.exact(fp.Gaussian(mean, cov=variance), process)
    for t0, t1 in pairwise(np.linspace(1.0, 0.05, steps + 1)):
        step = samplers.step(name, process, options.pop("eta", 1.0) if name == "ddim" else 1.0, t0, t1)
        at = step.move(score, np.array([0.0, 1.0]))
        slope = float(at[1] - at[0])
        m, v = float(at[0]) + slope * m, slope**2 * v + step.std_after**2
    return m, v


@pytest.mark.parametrize("name", ["euler-maruyama", "exponential-integrator", "ddpm", "ddim"])
def test_noisy_steps_keep_gaussians_to_fourth_order(name):
    mean, variance = gaussian_recursion(name, 20, 0.5, 0.4)
    reverse, errors = fp.Reverse(fp.Gaussian(0.5, cov=0.4), fp.VP()), []
    for cells in (200, 400):
        grid = fp.Grid.uniform((-7, 7), cells=cells)
        q = grid.cell_average(fp.Gaussian(0.0, std=1.0))
        for t0, t1 in pairwise(np.linspace(1.0, 0.05, 21)):
            q = kernels.sampler(name, reverse, grid, t0, t1).push(q)
        errors.append(np.abs(q - grid.cell_average(fp.Gaussian(mean, cov=variance))).sum() * grid.volume)
    print(name, "against the Gaussian recursion:", errors)
    assert errors[1] <= 1e-6
    assert np.log2(errors[0] / errors[1]) >= 3.7 or errors[1] <= 1e-9


@pytest.mark.parametrize("name", ["heun", "ddim"])
def test_steps_without_noise_by_splines(name):
    """The Markov matrix smears by h^2/6 per step; the spline, by which laws are pushed, follows the recursion."""
    reverse, grid = fp.Reverse(fp.Gaussian(0.5, cov=0.4), fp.VP()), fp.Grid.uniform((-7, 7), cells=300)
    options = {"eta": 0.0} if name == "ddim" else {}
    score, m, v = reverse.score, 0.0, 1.0
    smeared = moved = grid.cell_average(fp.Gaussian(0.0, std=1.0))
    for t0, t1 in pairwise(np.linspace(1.0, 0.05, 21)):
        at = samplers.step(name, reverse.process, 0.0, t0, t1).move(score, np.array([0.0, 1.0]))
        m, v = float(at[0] + (at[1] - at[0]) * m), float((at[1] - at[0]) ** 2 * v)
        both = kernels.sampler(name, reverse, grid, t0, t1, **options)
        spline = kernels.sampler(name, reverse, grid, t0, t1, source="spline", **options)
        assert (both.averaged, both.negative) == (1.0, 0.0)
        assert spline.negative > 0.0
        assert np.array_equal(both.moves, spline.matrix)
        smeared, moved = both.markov.push(smeared), both.push(moved)
    truth = grid.cell_average(fp.Gaussian(m, cov=v))
    far, near = (np.abs(q - truth).sum() * grid.volume for q in (smeared, moved))
    print(name, "positive:", far, "spline:", near)
    assert near <= 1e-6
    assert far >= 100 * near


def test_heun_is_of_second_order_on_the_grid():
    reverse, grid = cases.ou_mixture(), fp.Grid.uniform((-6, 6), cells=400)
    truth, errors = grid.cell_average(reverse.marginal(0.01)), []
    for count in (20, 40, 80):
        times = reverse.clock_inverse(np.linspace(reverse.clock(3.0), reverse.clock(0.01), count + 1))
        times[[0, -1]] = 3.0, 0.01
        q = grid.cell_average(reverse.marginal(3.0))
        for t0, t1 in pairwise(times):
            q = kernels.sampler("heun", reverse, grid, t0, t1, source="spline").push(q)
        errors.append(np.abs(q - truth).sum() * grid.volume)
    print("Heun:", errors, np.log2(np.array(errors[:-1]) / errors[1:]))
    assert abs(np.log2(errors[1] / errors[2]) - 2.0) <= 0.2


def test_little_noise_by_splines_agrees_with_wide_grids():
    """The same noisy steps on a fine grid, where the ordinary kernel is accurate, and on a coarse one by splines."""
    reverse = fp.Reverse(cases.two_mode_vp().target, fp.VP(), eta=0.15)
    fine, coarse = fp.Grid.uniform((-6, 6), cells=1600), fp.Grid.uniform((-6, 6), cells=200)
    p, q = (g.cell_average(fp.Gaussian(0.0, std=1.0)) for g in (fine, coarse))
    for t0, t1 in pairwise(np.linspace(0.4, 0.34, 7)):
        p = kernels.sampler("exponential-integrator", reverse, fine, t0, t1).push(p)
        q = kernels.sampler("exponential-integrator", reverse, coarse, t0, t1, source="spline").push(q)
    error = np.abs(p.reshape(200, 8).mean(axis=1) - q).sum() * coarse.volume
    print("spline against eight times finer cells:", error)
    assert error <= 1e-6


CLOUDS = [
    ("euler-maruyama", 1, {}),
    ("ddpm", 1, {}),
    ("ddim", 1, {}),
    ("heun", 1, {}),
    ("edm", 1, {"churn": 20.0, "steps": 50}),
    ("exponential-integrator", 2, {}),
    ("edm", 2, {"churn": 20.0, "steps": 50}),
]


@pytest.mark.parametrize(("name", "dim", "options"), CLOUDS)
def test_kernels_are_the_laws_of_the_particles_steps(name, dim, options, rng):
    """Push a density, draw the same step: every cell count within its binomial spread (false alarm below 1e-6)."""
    reverse = cases.two_mode_vp() if dim == 1 else cases.rotated_five()
    T = reverse.process.T
    grid = fp.Grid.uniform((-6, 6), cells=600) if dim == 1 else fp.Grid.uniform([(-6, 6), (-6, 6)], cells=96)
    t0, t1, n = 0.3 * T, 0.27 * T, 400_000
    operator = kernels.sampler_operator(name, reverse, grid, t0, t1, **options)
    start = reverse.marginal(t0)
    pushed = operator.push(grid.cell_average(start)) * grid.volume
    step = samplers.step(name, reverse.process, 1.0, t0, t1, **options)
    cloud = step.draw(reverse.score, start.sample(n, rng), rng)
    columns = cloud.reshape(n, dim)
    counts = np.histogramdd(columns, bins=[np.asarray(f) for f in grid.face_axes])[0].reshape(grid.shape)
    block = 20 if dim == 1 else 8
    merged = [np.add.reduceat(a, range(0, a.shape[0], block), axis=0) for a in (pushed, counts)]
    if dim == 2:
        merged = [np.add.reduceat(a, range(0, a.shape[1], block), axis=1) for a in merged]
    p = merged[0]
    z = (merged[1] - n * p) / np.sqrt(n * np.clip(p, 2e-5, 1.0))
    print(name, dim, "largest z:", np.abs(z).max())
    assert np.abs(z).max() <= 6.0


def test_mass_beyond_the_box_goes_into_the_end_cells_and_is_reported():
    reverse, grid = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.VP()), fp.Grid.uniform((-1.0, 1.0), cells=50)
    kernel = kernels.sampler("euler-maruyama", reverse, grid, 0.5, 0.45, source="point")
    wide = fp.Grid.uniform((-9.0, 9.0), cells=450)
    whole = kernels.sampler("euler-maruyama", reverse, wide, 0.5, 0.45, source="point").matrix[200:250]
    outside = whole[:, :200].sum(axis=1) + whole[:, 250:].sum(axis=1)
    assert np.allclose(kernel.defects, outside, atol=1e-12)
    assert np.allclose(kernel.matrix[:, 0], whole[:, :201].sum(axis=1), atol=1e-12)
    assert kernel.defect > 0.1


def test_several_steps_report_at_least_what_they_throw_out_of_the_box():
    """The predictor's and the corrector's: none of both is in the small box afterwards."""
    reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.VP())
    small, wide = (fp.Grid.uniform((-half, half), cells=int(50 * half)) for half in (1.0, 9.0))
    chain, whole = (kernels.sampler_operator("predictor-corrector", reverse, g, 0.5, 0.45) for g in (small, wide))
    starts = np.zeros((50, 450))
    starts[np.arange(50), np.arange(200, 250)] = 1.0
    ends = whole.push_masses(starts)
    outside = ends[:, :200].sum(axis=1) + ends[:, 250:].sum(axis=1)
    assert len(chain.parts) == 2 and outside.min() > 0.05
    first = chain.parts[0].defects
    assert np.all(chain.defects >= np.maximum(outside, first) - 1e-12) and np.all(chain.defects > first + 0.01)


def test_a_step_of_ones_own_has_its_own_times():
    reverse, grid = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP()), fp.Grid.uniform((-6, 6), cells=100)
    step = samplers.step("ddpm", reverse.process, 1.0, 0.5, 0.4)
    same = kernels.sampler("ddpm", reverse, grid, 0.5, 0.4)
    assert np.array_equal(kernels.sampler(step, reverse, grid, 0.5, 0.4).matrix, same.matrix)
    with pytest.raises(ValueError, match=r"t0, t1: expected the step's own times 0.5 and 0.4, got 0.5 and 0.3"):
        kernels.sampler(step, reverse, grid, 0.5, 0.3)


def test_the_wrong_sign_of_a_score_is_seen_in_the_ten_numbers():
    """Negative control: the same check with s -> -s fails by far."""
    target, grid = fp.Gaussian(1.0, cov=0.5), fp.Grid.uniform((-7, 7), cells=300)
    right = fp.Reverse(target, fp.VP())
    wrong = fp.Reverse(target, fp.VP(), score=fp.scores.perturbed(right.score, fp.scores.errors.Scaling(-2.0)))
    q = grid.cell_average(fp.Gaussian(0.0, std=1.0))
    for t0, t1 in pairwise(np.linspace(1.0, 0.0, 26)):
        q = kernels.sampler_operator("euler-maruyama", wrong, grid, t0, t1).push(q)
    error = np.sum(weights.evaluate(None, grid) * np.abs(q - grid.cell_average(target))) * grid.volume
    assert abs(error - TEN["euler-maruyama"][0]) > 0.5


def test_a_halved_sigma_is_seen_in_the_ten_numbers():
    """Negative control: half the noise in every step."""
    target, grid = fp.Gaussian(1.0, cov=0.5), fp.Grid.uniform((-7, 7), cells=300)
    reverse = fp.Reverse(target, fp.VP())
    q = grid.cell_average(fp.Gaussian(0.0, std=1.0))
    for t0, t1 in pairwise(np.linspace(1.0, 0.0, 26)):
        step = samplers.step("euler-maruyama", reverse.process, 1.0, t0, t1)
        halved = samplers.GaussianStep(t0, t1, step.linear, step.score, 0.5 * step.std)
        q = kernels.sampler_operator(halved, reverse, grid, t0, t1).push(q)
    error = np.sum(weights.evaluate(None, grid) * np.abs(q - grid.cell_average(target))) * grid.volume
    assert abs(error - TEN["euler-maruyama"][0]) > 0.1

"""Transport without noise: against closed forms, with estimates that cover, and without numerical diffusion."""

import functools
import json

import cases
import numpy as np
import pytest
from scipy.special import ndtr

import fpsolve as fp
from fpsolve import closed_form, distances, weights
from fpsolve.dynamics import Frame, InFrame
from fpsolve.dynamics._reverse import at_rank_of
from fpsolve.solver import LawSource


def flow(reverse, **options):
    return fp.Reverse(reverse.target, reverse.process, eta=0.0, **options)


def traced(reverse):
    """The same flow with its score as a model: paths are followed back, for nothing is known of them."""
    return flow(reverse, score=fp.Reverse(reverse.target, reverse.process).score)


OU = cases.ou_mixture().target
LINES = {
    "ou": (fp.OrnsteinUhlenbeck(T=3.0), OU, 0.01),
    "vp": (fp.VP(), cases.two_mode_vp().target, 0.01),
    "edm": (fp.EDM(), OU, 0.02),
    "ve": (fp.VE(), OU, 1e-3),
    "cosine": (fp.CosineVP(T=1.0), OU, 0.01),
    "uniform": (fp.VP(), fp.Uniform(-1.0, 1.0), 0.02),
}


def starts_of(reverse):
    spread = float(np.sqrt(reverse.process.prior().cov))
    return {
        "exact": reverse.marginal(reverse.process.T),
        "far": fp.Gaussian(1.5 * spread, std=0.5 * spread),
    }


def weighted_errors(reverse, run, starts, at):
    grid = cases.position_grid(run, at)
    v, t = weights.evaluate(None, grid), float(run.t[at])
    exact = [closed_form.cell_averages(reverse, start, t, grid) for start in starts.values()]
    return (v * np.abs(run.density.values[:, at] - np.stack(exact))).sum(axis=1) * grid.volume


@functools.cache
def averages(name, start, t, grid):
    """What known and traced flows are held against: the transport of distribution functions, asked once."""
    process, target, _ = LINES[name]
    reverse = fp.Reverse(target, process, eta=0.0)
    return closed_form.cell_averages(reverse, starts_of(reverse)[start], t, grid)


@pytest.mark.parametrize("way", ["known", "traced"])
@pytest.mark.parametrize("name", list(LINES))
def test_a_line_agrees_with_the_transport_of_distribution_functions_within_the_estimate(name, way):
    process, target, t_min = LINES[name]
    reverse = fp.Reverse(target, process, eta=0.0)
    starts = starts_of(reverse)
    saves = np.geomspace(t_min, process.T, 5)
    for tol in (1e-3, 1e-5):
        run = fp.evolve(reverse if way == "known" else traced(reverse), starts, t_min=t_min, tol=tol, save_at=saves)
        for at in (2, -1):
            grid, estimate = cases.position_grid(run, at), run.error_estimate.values[:, at]
            exact = [averages(name, start, float(run.t[at]), grid) for start in starts]
            off = np.abs(run.density.values[:, at] - np.stack(exact))
            errors = (weights.evaluate(None, grid) * off).sum(axis=1) * grid.volume
            print(f"{name}, tol {tol:g}: errors {errors}, estimate/error {estimate / errors}")
            assert np.all(errors <= estimate)
            # no law diffused from a uniform one has its ranks in closed form
            by_rank = way == "known" and name != "uniform"
            assert (errors.max() <= 1e-9) if by_rank else run.fpsolve.levels[-1]["steps"] > 10
        assert run.attrs["scheme"] == "characteristics"
        assert run.attrs["tol_met"] == "yes" and run.error_estimate.max() <= tol
        assert np.abs(run.mass - 1.0).max() <= 1e-9


@pytest.mark.parametrize("name", ["ou", "vp", "edm"])
@pytest.mark.parametrize("way", [flow, traced])
def test_plain_total_variation_is_constant_on_a_line(name, way):
    process, target, t_min = LINES[name]
    reverse = way(fp.Reverse(target, process))
    run = fp.evolve(reverse, starts_of(reverse), t_min=t_min, tol=1e-6, save_at=np.geomspace(t_min, process.T, 12))
    curve = fp.forgetting_curve(run, weight=fp.UnitWeight())
    drift = float(np.ptp(curve.distance.values))
    print(f"{name}: total variation {float(curve.distance[0, 0]):.12f}, moves by {drift:.1e}")
    assert drift <= 1e-8
    # the control: the weighted norm does move
    assert np.ptp(fp.forgetting_curve(run).distance.values) > 0.1


def test_a_given_grid_and_a_score_model_and_a_companion():
    exact = flow(cases.two_mode_vp())
    model = traced(exact)
    grid, starts = fp.Grid.uniform((-6, 6), cells=300), starts_of(exact)
    runs = [fp.evolve(r, starts, grid=grid, steps=40, t_min=0.02, save_at=[0.3]) for r in (exact, model)]
    for run in runs:
        assert run.attrs["tol_met"] == "not asked"
        assert run.sizes["x"] == 300 and run.sizes["x_previous"] == 150
        errors = weighted_errors(exact, run, starts, -1)
        assert np.all(errors <= run.error_estimate.values[:, -1]) and errors.max() <= 1e-9
    # one by ranks, one by paths: nothing in common but the sources
    assert np.abs(runs[0].density.values - runs[1].density.values).max() <= 1e-8
    bare = fp.evolve(exact, starts, grid=grid, steps=40, t_min=0.02, save_at=[0.3], estimate=False)
    assert np.array_equal(bare.density.values, runs[0].density.values)
    assert np.isnan(bare.error_estimate).all() and "density_previous" not in bare
    with pytest.raises(ValueError, match="run"):
        _ = runs[0].fpsolve.extrapolated


def test_cell_averages_can_start_and_differences_keep_their_digits():
    reverse = flow(cases.two_mode_vp())
    grid = fp.Grid.uniform((-6, 6), cells=600)
    law = fp.Gaussian(0.3, std=0.8)
    given = {"law": law, "cells": grid.cell_average(law)}
    run = fp.evolve(reverse, given, grid=grid, steps=20, t_min=0.05, save_at=[0.05], estimate=False)
    gap = np.abs(run.density.values[0] - run.density.values[1]).max()
    print("law against its cell averages:", gap)
    assert 0.0 < gap <= 1e-8


def test_a_law_without_cell_probabilities_is_integrated():
    reverse = flow(cases.two_mode_vp())
    plain = fp.Gaussian(0.3, std=0.8)
    same = fp.FromLogDensity(lambda x: -0.5 * ((x - 0.3) / 0.8) ** 2, dim=1)
    run = fp.evolve(
        reverse, {"gauss": plain, "same": same}, grid=fp.Grid.uniform((-6, 6), cells=200), steps=20, t_min=0.05,
        save_at=[0.05],
    )  # fmt: skip
    assert np.abs(run.density.values[0] - run.density.values[1]).max() <= 1e-9


PLANE = fp.Gaussian([0.5, -0.3], cov=[[0.5, 0.3], [0.3, 0.4]])


@pytest.mark.parametrize("score", [None, "model"])
def test_the_plane_agrees_with_the_formula_of_gaussians(score):
    reverse = fp.Reverse(PLANE, fp.VP(), eta=0.0)
    starts = {"exact": reverse.marginal(1.0), "far": fp.Gaussian([1.0, 0.0], std=0.7)}
    solved = reverse if score is None else flow(reverse, score=fp.Reverse(PLANE, fp.VP()).score)
    grid = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=(96, 96))
    run = fp.evolve(solved, starts, grid=grid, steps=4, t_min=0.1, save_at=[0.1])
    exact = np.stack([closed_form.cell_averages(reverse, start, 0.1, grid) for start in starts.values()])
    v = weights.evaluate(None, grid)
    errors = (v * np.abs(run.density.values[:, -1] - exact)).sum(axis=(1, 2)) * grid.volume
    estimate = run.error_estimate.values[:, -1]
    print(score, "errors", errors, "estimate/error", estimate / errors)
    assert np.all(errors <= estimate) and errors.max() <= 1e-5


def test_plain_total_variation_is_constant_in_the_plane_and_the_marginals_are_carried():
    reverse = flow(cases.rotated_five())
    starts = {"exact": reverse.marginal(3.0), "far": fp.Gaussian([1.0, 0.5], std=0.7)}
    grid = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=(112, 112))
    run = fp.evolve(reverse, starts, grid=grid, steps=4, t_min=0.05, save_at=[0.5])
    pair = (run.density.sel(start=label, drop=True) for label in starts)
    values = distances.total_variation(*pair).distance.values
    print("total variation in the plane", values, "moves by", np.ptp(values))
    assert np.ptp(values) <= 1e-5
    v = weights.evaluate(None, grid)
    for k, t in enumerate((0.5, 0.05), start=1):
        gap = np.abs(run.density.values[0, k] - grid.cell_average(reverse.marginal(t)))
        error, estimate = float((v * gap).sum() * grid.volume), float(run.error_estimate[0, k])
        print(f"t = {t:g}: error {error:.2e}, estimate/error {estimate / error:.1f}")
        assert error <= estimate <= 1e-3


def test_the_plane_in_the_scaled_frame():
    reverse = fp.Reverse(cases.rotated_five().target, fp.EDM(sigma_max=20.0), eta=0.0)
    box = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=(80, 80))
    start = reverse.marginal(20.0)
    run = fp.evolve(reverse, start, grid=box, steps=4, t_min=0.3, save_at=[0.3], frame="scaled")
    assert run.attrs["frame"] == "scaled" and run.attrs["scheme"] == "characteristics"
    x, y = (run[name].values[-1] for name in "xy")
    ends = [(axis[0] - 0.5 * (axis[1] - axis[0]), axis[-1] + 0.5 * (axis[1] - axis[0])) for axis in (x, y)]
    grid = fp.Grid.uniform(ends, cells=(len(x), len(y)))
    gap = np.abs(run.density.values[0, -1] - grid.cell_average(reverse.marginal(0.3)))
    error = float((weights.evaluate(None, grid) * gap).sum() * grid.volume)
    print("EDM in the plane:", grid.shape, "error", error, "estimate", float(run.error_estimate[0, -1]))
    assert error <= float(run.error_estimate[0, -1])


def central_divergence(field, x, h):
    """Differences of fourth order along both axes."""
    total = np.zeros(len(x))
    for axis in range(2):
        off = h * np.eye(2)[axis]
        total += (8.0 * (field(x + off) - field(x - off)) - field(x + 2.0 * off) + field(x - 2.0 * off))[:, axis]
    return total / (12.0 * h)


def test_divergences_agree_with_differences():
    reverse, rng = cases.rotated_five(), np.random.default_rng(1)
    x = rng.normal(size=(500, 2))
    for t in (0.3, 1.5):
        drift, divergence = reverse.drift_and_divergence(t, x)
        assert np.allclose(drift, reverse.drift(t, x), rtol=1e-12)
        assert np.allclose(divergence, central_divergence(functools.partial(reverse.drift, t), x, 2e-3), atol=1e-6)
        framed = InFrame(Frame(reverse))
        drift, divergence = framed.drift_and_divergence(t, x)
        field = functools.partial(framed.drift, t)
        assert np.allclose(drift, field(x), rtol=1e-11, atol=1e-11)
        assert np.allclose(divergence, central_divergence(field, x, 2e-3), atol=1e-5)


def test_a_model_may_bring_its_divergence_and_is_held_to_its_shape():
    class Model:
        def __call__(self, t, x):
            return -x

        def divergence(self, t, x):
            return np.full(x.shape[:-1], -2.0)

    class Wrong(Model):
        def divergence(self, t, x):
            return np.zeros(3)

    x = np.zeros((5, 2))
    given = fp.Reverse(PLANE, fp.VP(), score=Model(), eta=0.0).drift_and_divergence(0.5, x)[1]
    found = fp.Reverse(PLANE, fp.VP(), score=lambda t, x: -x, eta=0.0).drift_and_divergence(0.5, x)[1]
    assert np.allclose(given, found, rtol=1e-9)
    with pytest.raises(ValueError, match=r"score\.divergence at t = 0\.5"):
        fp.Reverse(PLANE, fp.VP(), score=Wrong(), eta=0.0).drift_and_divergence(0.5, x)


def test_estimates_cover_at_many_times_and_for_narrow_starts():
    """Two levels may agree by accident where a narrow start happens to lie: 90 % of 167 times were covered once."""
    reverse = flow(cases.ou_mixture())
    starts = {"far": fp.Gaussian(1.5, std=0.5), "narrow": fp.Gaussian(0.4, std=0.01), "uniform": fp.Uniform(-1.0, 0.7)}
    run = fp.evolve(traced(reverse), starts, t_min=0.01, tol=1e-5, save_at=np.linspace(0.01, 3.0, 167))
    assert run.attrs["tol_met"] == "yes" and run.sizes["t"] == 167
    found = []
    for at in range(6, 167, 16):
        found.append(run.error_estimate.values[:, at] / weighted_errors(reverse, run, starts, at))
    print(f"eta = 0, 167 times: estimate/error {np.min(found):.1f} to {np.max(found):.0f}, {run.attrs['levels']}")
    assert np.min(found) >= 1.0


def test_ranks_are_told_however_far_out_and_not_where_nothing_tells_them():
    """Against 60 digits: logarithms of tails where both laws underflow; two narrow modes with nothing in between."""
    import mpmath  # comes with sympy, on which findiff depends

    here, there = fp.Gaussian(0.3, std=0.2), fp.GaussianMixture([0.25, 0.75], [-1.0, 1.5], stds=[0.8, 1.2])
    x = np.array([-12.0, -1.0, 0.2, 0.35, 9.0])
    y, unsure = at_rank_of(here, x, there)
    with mpmath.workdps(700):

        def cdf(z):
            parts = zip([0.25, 0.75], [-1.0, 1.5], [0.8, 1.2], strict=True)
            return sum(mpmath.mpf(w) * mpmath.ncdf((z - mpmath.mpf(m)) / mpmath.mpf(s)) for w, m, s in parts)

        for k, one in enumerate(x):
            goal = mpmath.ncdf((mpmath.mpf(one) - mpmath.mpf(0.3)) / mpmath.mpf(0.2))
            assert cdf(mpmath.mpf(y[k] - unsure[k])) <= goal <= cdf(mpmath.mpf(y[k] + unsure[k]))
    assert unsure.max() <= 1e-12
    apart = fp.GaussianMixture([0.5, 0.5], [-3.0, 3.0], stds=[0.05, 0.05])
    gap = at_rank_of(fp.Gaussian(0.0, std=1.0), np.array([0.0]), apart)
    assert gap[1][0] > 1.0


def test_flows_without_known_ranks_are_followed():
    """A gap without mass between two modes at the first time: the rank of what starts there is lost in rounding."""
    target = fp.GaussianMixture([0.5, 0.5], [-3.0, 3.0], stds=[0.05, 0.05])
    reverse = fp.Reverse(target, fp.OrnsteinUhlenbeck(T=0.01), eta=0.0)
    starts = {"exact": reverse.marginal(0.01), "between": fp.Gaussian(0.5, std=0.3)}
    run = fp.evolve(reverse, starts, t_min=0.004, tol=1e-5, save_at=[0.004])
    assert run.fpsolve.levels[-1]["steps"] > 1
    assert abs(float(run.mass[1, -1]) - 1.0) <= run.error_estimate[1, -1] <= 1e-5


def test_faces_that_are_one_position_in_x_have_no_mass_between_them():
    """Origins a rounding error apart in z far from 0 in x."""
    source = LawSource(fp.Gaussian(1e6, std=1.0), np.array([1e6]), np.array([1e-3]), fp.Grid.uniform((-1, 1), cells=8))
    faces = np.array([0.0, 1e-10, 2e-10, 1e3])
    assert source.masses(faces) == pytest.approx([0.0, 0.0, ndtr(1.0) - 0.5], abs=1e-9)
    assert np.array_equal(source.masses(np.zeros(3)), [0.0, 0.0])


def test_the_budget_counts_what_trajectories_cost():
    reverse = traced(cases.ou_mixture())
    with pytest.warns(fp.ToleranceWarning):
        run = fp.evolve(reverse, reverse.marginal(3.0), t_min=0.01, tol=1e-13, budget=1e6)
    levels = [level["updates"] for level in json.loads(run.attrs["levels"])]
    # the first level is judged by itself
    assert run.attrs["tol_met"] == "no" and len(levels) == 1
    # at least twelve evaluations per step, of the faces of 50 times
    assert levels[0] > 12 * 1024 * 49

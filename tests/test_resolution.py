"""Fixed grids: estimates that cover the truth, or say that cells and steps do not show it. Truth by Bayes' rule."""

import warnings
from contextlib import contextmanager

import cases
import coverage_of_estimates
import numpy as np
import pytest
import xarray as xr

import fpsolve as fp
from fpsolve import weights
from fpsolve.evolution import _march, _methods
from fpsolve.verification import coverage
from fpsolve.verification.coverage import masses


def ratios(reverse, start, run):
    """Estimate over true error at every save time but the first, in 1D and from one start."""
    found = []
    for k in range(1, run.sizes["t"]):
        grid = cases.position_grid(run, k)
        truth = masses(reverse, start, float(run.t[k]), [grid.faces])
        error = (weights.evaluate(None, grid) * np.abs(run.density.values[0, k] * grid.volume - truth)).sum()
        found.append(float(run.error_estimate[0, k]) / error)
    return np.array(found)


@contextmanager
def quietly():
    """Where a run may be unresolved at early times, which the ratios show."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fp.UnresolvedWarning)
        yield


def unresolved(reverse, start, **ask):
    with pytest.warns(fp.UnresolvedWarning, match=r"start 'start' at t = .*: take more"):
        run = fp.evolve(reverse, start, **ask)
    assert run.attrs["resolved"] == "no"
    return run


@pytest.mark.parametrize(
    ("steps", "saves"), [(51, None), (101, None), (50, 26), (100, 34), (99, 20), (30, 2), (201, 7)]
)
def test_odd_steps_and_save_times_that_do_not_divide_them(steps, saves):
    """The companion has at most half the steps of every interval between save times."""
    reverse, start = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP()), fp.Gaussian(0.0, std=1.0)
    at = None if saves is None else np.linspace(1.0, 0.01, saves)
    grid = fp.Grid.uniform((-7, 7), cells=800)
    run = fp.evolve(reverse, start, grid=grid, steps=steps, t_min=0.01, save_at=at)
    found = ratios(reverse, start, run)
    levels = [level["steps"] for level in run.fpsolve.levels]
    print(levels, run.attrs["resolved"], found.min(), np.median(found))
    assert levels[-1] == steps and levels[1] == steps // 2
    assert run.attrs["resolved"] == "yes"
    assert found.min() >= 1.0 and np.median(found) <= 20.0


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_a_few_steps_show_nothing(steps):
    reverse, start = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP()), fp.Gaussian(0.0, std=1.0)
    run = unresolved(reverse, start, grid=fp.Grid.uniform((-7, 7), cells=800), steps=steps, t_min=0.01)
    assert np.isinf(run.error_estimate.values[0, -1])


def test_steps_are_dealt_in_pairs():
    reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    from fpsolve.dynamics import run_clock

    clock = run_clock(reverse, [fp.Gaussian(0.0, std=1.0)], 1.0, 0.01)
    for steps, saves in ((50, 26), (100, 34), (57, 9), (12, 13)):
        plan = _march.plan_by_count(clock, np.linspace(1.0, 0.01, saves), steps)
        assert plan.steps == steps and plan.counts.min() >= 1
        if steps >= 2 * (saves - 1):
            assert (plan.counts % 2).sum() == steps % 2
            assert np.all(2 * plan.coarsened().counts <= plan.counts)
            coarser, which = plan.quartered()
            assert np.all(coarser.saves == plan.saves[which]) and coarser.steps <= steps / 4 + 1


@pytest.mark.parametrize(("steps", "saves"), [(100, 50), (400, 50), (99, 20), (64, 3), (1000, 200), (30, 15)])
def test_the_third_level_takes_every_fourth_step_time_and_few_of_the_save_times(steps, saves):
    edges = np.round(np.linspace(0, steps, saves)).astype(int)
    fine = _march.StepPlan(1.0 - edges / steps, np.diff(edges))
    coarser, which = fine.quartered()
    nodes = coarser.nodes_in(fine, which)
    assert len(which) <= 13 and which[0] == 0 and which[-1] == saves - 1
    assert len(nodes) == coarser.steps + 1 and coarser.steps <= steps / 4 + 1
    assert np.array_equal(nodes[np.append(0, np.cumsum(coarser.counts))], edges[which])
    assert np.diff(nodes).min() >= 4 and np.diff(nodes).max() <= 8


def test_numerical_diffusion_of_cells_and_of_twice_as_wide_ones():
    z = np.concatenate([-np.geomspace(1e-6, 800.0, 60), [0.0], np.geomspace(1e-6, 800.0, 60)])
    for found, wide in zip(np.transpose([_methods.share(one) for one in z]), (z, 2.0 * z), strict=True):
        half = 0.5 * wide.astype(np.longdouble)
        truth = np.where(half == 0.0, 0.0, half / np.tanh(np.where(half == 0.0, 1.0, half)) - 1.0)
        np.testing.assert_allclose(found, truth.astype(float), rtol=1e-4, atol=1e-15)


@pytest.mark.parametrize("cells", [60, 100, 200])
@pytest.mark.parametrize("case", ["sub-VP", "EDM, scaled", "stiff VP"])
def test_numerical_diffusion_is_asked_of_the_cells_not_of_eta(case, cells):
    """Mesh Peclet numbers far above 1 with eta = 1: near t = 0 of sub-VP there is next to no noise."""
    reverse, box, frame, t_min = {
        "sub-VP": (fp.Reverse(fp.Gaussian(2.0, std=0.3), fp.SubVP()), (-6, 6), "fixed", 0.01),
        "EDM, scaled": (fp.Reverse(fp.Gaussian(1.0, std=0.4), fp.EDM(sigma_max=5.0)), (-8.5, 8.5), "scaled", 0.005),
        "stiff VP": (fp.Reverse(fp.Gaussian(2.0, std=0.3), fp.VP(), eta=0.6), (-6, 6), "fixed", 0.003),
    }[case]
    start, grid = reverse.marginal(reverse.process.T), fp.Grid.uniform(box, cells=cells)
    ask = dict(grid=grid, steps=2 * cells, t_min=t_min, frame=frame)
    if cells < 100 or case == "EDM, scaled":
        with quietly():
            run = fp.evolve(reverse, start, **ask)
    else:
        run = fp.evolve(reverse, start, **ask)
    found = ratios(reverse, start, run)
    print(case, cells, run.attrs["numerical_diffusion"], run.attrs["resolved"], found.min(), np.median(found))
    assert found.min() >= 1.0
    if case == "sub-VP":
        assert run.attrs["numerical_diffusion"] > 10.0


@pytest.mark.parametrize("scheme", ["crank-nicolson", "damped-crank-nicolson", "tr-bdf2", "backward-euler"])
def test_four_steps_from_a_spike_are_not_called_solved(scheme):
    reverse = cases.ou_mixture()
    grid = fp.Grid.uniform((-6, 6), cells=400)
    run = unresolved(reverse, fp.Gaussian(1.0, std=0.02), grid=grid, steps=4, t_min=0.01, scheme=scheme)
    assert np.all(np.isinf(run.error_estimate.values[0, 1:]))
    assert np.abs(run.mass - 1.0).max() < 1e-12
    with quietly():
        many = fp.evolve(reverse, fp.Gaussian(1.0, std=0.1), grid=grid, steps=40, t_min=0.01, scheme=scheme)
    assert ratios(reverse, fp.Gaussian(1.0, std=0.1), many).min() >= 1.0


def test_oscillations_below_zero_are_no_small_error():
    """Free diffusion from a box by undamped Crank-Nicolson with steps far above h^2: negative far from any tail."""
    ring = fp.Dynamics(lambda t, x: 0.0 * x, 1.0, boundary="periodic")
    grid = fp.Grid.uniform((-1, 1), cells=400)
    start = np.where(np.abs(grid.x) < 0.1, 5.0, 0.0)
    with pytest.warns(fp.UnresolvedWarning):
        run = fp.evolve(ring, {"box": start}, grid=grid, steps=8, t_max=0.1, scheme="crank-nicolson")
    assert run.attrs["smallest_density"] < -0.1
    below = -np.minimum(run.density.values[0], 0.0).sum(axis=-1) * grid.volume
    assert np.all(run.error_estimate.values[0] >= below)


def test_levels_that_agree_because_none_sees_anything():
    """VE on eight cells: the density is one or two cells on every level, and never moves."""
    reverse = fp.Reverse(cases.two_mode_vp().target, fp.VE(sigma_max=10.0))
    start = reverse.marginal(1.0)
    run = unresolved(reverse, start, grid=fp.Grid.uniform((-80, 80), cells=8), steps=40, t_min=0.05)
    assert np.isinf(run.error_estimate.values[0, -1])


def test_what_is_built_on_an_unresolved_run_is_unresolved(tmp_path):
    reverse = cases.two_mode_vp()
    starts = {"exact": reverse.marginal(1.0), "spike": fp.Gaussian(1.0, std=0.01)}
    with pytest.warns(fp.UnresolvedWarning, match="'spike'"):
        run = fp.evolve(reverse, starts, grid=fp.Grid.uniform((-7, 7), cells=200), steps=60, t_min=0.01)
    lost = np.isinf(run.error_estimate)
    assert bool(lost.sel(start="spike").any()) and not bool(lost.sel(start="exact").any())
    run.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    loaded = xr.open_dataset(tmp_path / "run.nc", engine="h5netcdf").load()
    loaded.close()
    for one in (run, loaded):
        curve = fp.forgetting_curve(one, reference="exact")
        assert np.array_equal(np.isinf(curve.error.sel(start="spike")), lost.sel(start="spike"))
        assert curve.attrs["resolved"] == "no" and "spike" in curve.attrs["resolved_reason"]
    assert np.all(np.isinf(fp.forgetting_curve(run, reference="spike").error)[0] == lost.sel(start="spike"))
    cost = fp.distances.to_marginals(run, reverse)
    assert np.array_equal(np.isinf(cost.error), lost)
    assert np.all(np.isfinite(cost.error.sel(start="exact")))
    cloud = fp.particles.simulate(reverse, starts["spike"], n=500, steps=50, seed=0, save_at=run.t.values[[1, -1]])
    check = fp.particles.compare(run, cloud, start="spike")
    assert check.verdict.values[0] == "not tested"
    fp.plots.forgetting(curve)


def test_without_an_estimate_nothing_is_asked():
    reverse = cases.two_mode_vp()
    run = fp.evolve(
        reverse, reverse.marginal(1.0), grid=fp.Grid.uniform((-7, 7), cells=20), steps=3, t_min=0.01, estimate=False
    )
    assert run.attrs["resolved"] == "not asked" and np.all(np.isnan(run.error_estimate))


@pytest.mark.parametrize(("kind", "dim", "count"), [("grid", 1, 40), ("sensible", 1, 6), ("grid", 2, 4)])
def test_random_problems_are_covered_or_said_to_be_unresolved(kind, dim, count):
    found = list(coverage_of_estimates.many(range(1, count + 1), kind, dim))
    for what, figure in coverage.table(found):
        print(f"{kind}, {dim}D, seeds 1 to {count}: {what}: {figure}")
    held = np.concatenate([c.held.ravel() for c in found])
    assert held.mean() >= 0.99, coverage_of_estimates.failures(found)
    assert not any(np.isnan(c.estimates).any() for c in found)
    ratios_found = np.concatenate([c.ratios.ravel() for c in found])
    assert np.median(ratios_found) <= 20.0
    sensible = [c.resolved for c in found if c.problem.sensible]
    assert np.mean(sensible or [True]) >= 0.75


@pytest.mark.parametrize(("dim", "count"), [(1, cases.sample(54, 18)), (2, cases.sample(6, 3))])
def test_tolerances_asked_from_hostile_starts_are_covered_or_said_to_be_unresolved(dim, count):
    """Narrow, far, of two components, with jumps and kinks, without noise; budgets often too small to meet `tol`."""
    found, curves = [], []
    for seed in range(1, count + 1):
        problem = coverage.random_problem(seed, "hostile", dim)
        problem.ask["budget"] = min(problem.ask["budget"], {1: 3e5, 2: 1e6}[dim])
        run, seconds = coverage.solve(problem)
        found.append(coverage.covered(problem, run, seconds))
        if dim == 1 and seed % 9 == 0:
            curves.append(coverage.curve_errors(problem, run))
    for what, figure in coverage.table(found):
        print(f"hostile, {dim}D: {what}: {figure}")
    held = np.concatenate([c.held.ravel() for c in found] + [(e <= s).ravel() for e, s in curves])
    assert held.mean() >= 0.99, coverage_of_estimates.failures(found)
    assert not any(np.isnan(c.estimates).any() for c in found)
    # errors below the quadrature's own noise have no ratio
    seen = [(c.errors > 0.0) & ~c.said for c in found]
    ratios_found = np.concatenate([c.estimates[k] / c.errors[k] for c, k in zip(found, seen, strict=True)])
    print("median, with noise and without", np.median(ratios_found))
    assert np.median(ratios_found) <= 20.0


@pytest.mark.parametrize("seeds", [range(1, 2), pytest.param(range(2, cases.sample(9, 5)), marks=pytest.mark.slow)])
def test_backward_euler_with_many_save_times_and_a_tolerance_is_covered(seeds):
    """A step or two between save times, and a first order that extrapolations have to see through."""
    found = list(coverage_of_estimates.many(seeds, "many-saves"))
    assert all(len(c.problem.ask["save_at"]) >= 100 for c in found)
    held = np.concatenate([c.held.ravel() for c in found])
    assert held.all(), coverage_of_estimates.failures(found)
    ratios_found = np.concatenate([c.ratios.ravel() for c in found])
    print("smallest, median", ratios_found.min(), np.median(ratios_found))
    assert np.median(ratios_found) <= 20.0


def test_the_curve_between_two_flows_is_told_to_the_digits_it_states():
    """Edges of the pushed densities: a truth on 8000 cells is 2e-4 off, on 50,000 cells 5e-6."""
    problem = coverage.random_problem(7005, "hostile")
    problem.ask["budget"] = 3e5
    run, _ = coverage.solve(problem)
    truth = []
    for law in problem.starts.values():
        faces = np.linspace(-20.0, 17.0, 50_001)
        truth.append(masses(problem.reverse, law, float(run.t[-1]), [faces]))
    v = weights.evaluate(None, 0.5 * (faces[1:] + faces[:-1]))
    curve = fp.forgetting_curve(run, reference="exact").isel(t=-1)
    gap = abs(float(curve.distance[0]) - (v * np.abs(truth[1] - truth[0])).sum())
    print("gap", gap, "error", float(curve.error[0]))
    assert gap <= float(curve.error[0]) < 1e-3


def test_a_flow_that_takes_a_few_steps_is_not_compared_with_one_that_takes_as_many():
    """Two levels of two steps each between save times agreed to a tenth of their common error."""
    exact = fp.Reverse(fp.Gaussian(0.5, std=0.3), fp.OrnsteinUhlenbeck(T=1.2), eta=0.0)
    # as a model, so that paths are followed
    reverse = fp.Reverse(exact.target, exact.process, eta=0.0, score=exact.score)
    start = fp.Gaussian(0.4, std=3e-3)
    run = fp.evolve(reverse, start, t_min=2e-3, tol=3e-4, save_at=[1.1, 0.9, 0.5])
    assert np.all(ratios(reverse, start, run) >= 1.0)


def test_curves_of_resolved_runs_are_covered():
    """Distances far below the densities' own errors: the estimate is that of the signed difference."""
    reverse = cases.two_mode_vp()
    starts = {"exact": reverse.marginal(1.0), "prior": fp.Gaussian(0.0, std=1.0), "off": fp.Gaussian(1.0, std=0.6)}
    fine = fp.Grid.uniform((-9, 9), cells=9000)
    for cells, steps in ((120, 61), (200, 100), (400, 150)):
        run = fp.evolve(reverse, starts, grid=fp.Grid.uniform((-7, 7), cells=cells), steps=steps, t_min=0.02)
        curve = fp.forgetting_curve(run, reference="exact")
        assert run.attrs["resolved"] == "yes"
        for name in ("prior", "off"):
            for k in (1, curve.sizes["t"] // 2, -1):
                exact, other = (masses(reverse, starts[s], float(curve.t[k]), [fine.faces]) for s in ("exact", name))
                truth = float((weights.evaluate(None, fine) * np.abs(other - exact)).sum())
                one = curve.sel(start=name).isel(t=k)
                assert abs(float(one.distance) - truth) <= float(one.error) + 1e-5 * truth

"""Runs come back as users leave them: transposed, reversed, cut, thinned, joined, in float32, without attributes."""

import numpy as np
import pytest
import xarray as xr

import fpsolve as fp

DATA = fp.Gaussian(0.5, std=0.5)


@pytest.fixture(scope="module")
def run():
    reverse = fp.Reverse(DATA, fp.VP())
    starts = {"exact": reverse.marginal(1.0), "prior": fp.Gaussian(0.1, std=1.1)}
    grid = fp.Grid.uniform((-6, 6), cells=320)
    return fp.evolve(reverse, starts, grid=grid, steps=40, t_min=0.1, save_at=[0.8, 0.5, 0.3, 0.2], progress=False)


@pytest.fixture(scope="module")
def scaled():
    reverse = fp.Reverse(DATA, fp.VE(0.01, 20.0))
    return fp.evolve(reverse, {"exact": reverse.marginal(1.0)}, t_min=0.1, tol=1e-2, frame="scaled", progress=False)


@pytest.fixture(scope="module")
def plane():
    law = fp.Gaussian([0.5, 0.0], std=0.5)
    reverse = fp.Reverse(law, fp.VP())
    starts = {"exact": reverse.marginal(1.0), "prior": fp.Gaussian([0.0, 0.0], std=1.0)}
    grid = fp.Grid.uniform([(-5, 5), (-4, 4)], cells=(40, 32))
    return fp.evolve(reverse, starts, grid=grid, steps=20, t_min=0.2, save_at=[0.5], progress=False)


def joined(run):
    return xr.concat([run.isel(t=slice(2, None)), run.isel(t=slice(0, 3))], dim="t", data_vars="minimal")


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run.transpose("x", "t", "x_previous", "start"),
        lambda run: run.isel(t=slice(None, None, -1)),
        lambda run: run.sel(t=slice(0.8, 0.2)),
        lambda run: run.isel(t=[4, 1, 2]),
        lambda run: run.isel(start=[1, 0]),
        joined,
        lambda run: run.sortby("t").transpose(..., "start"),
    ],
    ids=["transposed", "reversed", "cut", "picked", "starts", "joined", "sorted"],
)
def test_what_is_measured_belongs_to_its_time_whatever_was_done_to_the_run(run, change):
    whole, changed = fp.forgetting_curve(run), change(run)
    curve = fp.forgetting_curve(changed)
    np.testing.assert_array_equal(curve.t, changed.t)
    for name in ("distance", "level_error", "quadrature_error"):
        np.testing.assert_allclose(curve[name], whole[name].sel(t=curve.t), rtol=1e-6)
    same = curve.error if 1.0 in curve.t else 0.0 * curve.error
    np.testing.assert_allclose(same, whole.error.sel(t=curve.t) if 1.0 in curve.t else same, rtol=1e-6)
    # what the box threw back before the first time left is not known of the difference, but of both densities
    both = run["tail"].sum("start").sel(t=curve.t.values).values
    assert 1.0 in curve.t.values or np.all(curve.tail_error.sel(start="prior").values >= both * (1.0 - 1e-9))
    reverse = fp.Reverse(DATA, fp.VP())
    cost, all_costs = fp.distances.to_marginals(changed, reverse), fp.distances.to_marginals(run, reverse)
    np.testing.assert_allclose(
        cost.distance.sel(start="prior"), all_costs.distance.sel(start="prior", t=cost.t), rtol=1e-12
    )
    fp.plots.density(changed, start="prior")
    cloud = fp.particles.simulate(reverse, fp.Gaussian(0.1, std=1.1), n=2000, seed=0, steps=40, save_at=run.t)
    mine, theirs = (fp.particles.compare(one, cloud, start="prior") for one in (changed, run))
    np.testing.assert_allclose(mine.chi2.sel(t=0.5), theirs.chi2.sel(t=0.5), rtol=1e-12)


def test_planes_may_be_transposed_too(plane):
    whole, curve = fp.forgetting_curve(plane), fp.forgetting_curve(plane.transpose("y", "start", "x", ..., "t"))
    np.testing.assert_allclose(curve.distance, whole.distance, rtol=1e-12)
    np.testing.assert_allclose(curve.error, whole.error, rtol=1e-12)
    part = plane.isel(x=slice(10, 30), y=slice(4, 28))
    assert part.fpsolve.grid == fp.Grid.uniform([(-2.5, 2.5), (-3.0, 3.0)], cells=(20, 24))


def test_the_error_of_a_run_stored_in_float32_knows_it(run):
    single = run.astype(np.float32).assign_coords(t=run.t.astype(np.float32), x=run.x.astype(np.float32))
    curve, whole = fp.forgetting_curve(single), fp.forgetting_curve(run)
    gap = np.abs(curve.distance.values - whole.distance.values)
    assert np.all(gap <= curve.rounding_error.values) and np.all(gap > whole.rounding_error.values)
    near = run.copy()
    near["density"] = run.density.copy()
    near["density"].loc[{"start": "prior"}] = near.density.sel(start="exact") * (1.0 + 1e-12)
    tiny = fp.forgetting_curve(near.astype(np.float32).assign_coords(x=run.x.astype(np.float32)))
    # 1e-12 (1 + E x^2) is far below what float32 resolves, and the error says so
    assert np.all(tiny.rounding_error > 1e-8)
    assert single.fpsolve.grid == run.fpsolve.grid


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda run: run.sel(t=slice(0.1, 0.5)), r"at least one saved time, got none; t decreases along a run"),
        (lambda run: run.rename(x="z"), "the coordinate 'z_previous' of a run from evolve, got a run without it"),
        (lambda run: run.drop_vars("x_previous"), "the coordinate 'x_previous' of a run from evolve, got"),
        (lambda run: run.drop_attrs(), "the attribute 'error_factor' of a run from evolve, got a run without it"),
        (lambda run: run.isel(t=0), r"density over \(start, t, x\[, y\]\), got dimensions"),
        (lambda run: run.drop_vars("start"), "the coordinate 'start' of a run from evolve, got a run without it"),
        (lambda run: run.isel(x=slice(None, None, -1)), "uniform increasing positions along x, got others"),
        (lambda run: run.isel(x=slice(0, None, 2)), r"whole cells of the box \[-6, 6\] along x, got cells of width"),
        (lambda run: run.isel(x=slice(0, 101)), "density_previous on a divisor of the cells of density along x"),
        (lambda run: run.drop_vars("x"), "positions in the coordinate 'x', got a run without it"),
        (lambda run: xr.concat([run, run.isel(start=[1]).assign_coords(start=["b"])], dim="start"), "one run, got 3"),
        (lambda run: xr.concat([run, run], dim="start"), "different labels of its starts"),
        (lambda run: xr.concat([run, run.isel(t=[2]) * 1.1], dim="t"), "one density at every time, got two different"),
        (lambda run: run.isel(start=[]), "at least one saved start, got none"),
        (lambda run: run[["mass"]], "a Dataset with the variable density, as fp.evolve returns, got one of mass"),
        (lambda run: run.density, "a Dataset with the variable density, as fp.evolve returns, got DataArray"),
    ],
)
def test_what_a_run_lacks_is_named_in_one_sentence(run, change, sentence):
    with pytest.raises(ValueError, match=f"^run: expected {sentence}") as caught:
        fp.forgetting_curve(change(run))
    assert "\n" not in str(caught.value)


def test_doors_other_than_curves_say_the_same(run):
    empty, reverse = run.sel(t=slice(0.1, 0.5)), fp.Reverse(DATA, fp.VP())
    cloud = fp.particles.simulate(reverse, DATA, n=20, seed=0, steps=5)
    for call in (
        lambda: fp.distances.to_marginals(empty, reverse),
        lambda: fp.plots.density(empty, start="prior"),
        lambda: fp.particles.compare(empty, cloud, start="prior"),
        lambda: fp.bounds.reverse_kl(empty, reverse, lambda t, x: 0.0 * x, start="prior"),
    ):
        with pytest.raises(ValueError, match=r"^run: expected at least one saved time"):
            call()
    with pytest.raises(ValueError, match=r"^p: expected at least one t, got none"):
        fp.weighted_tv(empty.density, empty.density)
    with pytest.raises(ValueError, match=r"^run: expected the attribute 'frame'"):
        fp.bounds.reverse_kl(run.drop_attrs(), reverse, lambda t, x: 0.0 * x, start="prior")


def test_the_grid_of_a_cut_run_is_that_of_its_cells(run, scaled):
    assert run.fpsolve.grid == fp.Grid.uniform((-6, 6), cells=320)
    cut = run.isel(x=slice(0, 160))
    assert cut.fpsolve.grid == fp.Grid.uniform((-6, 0), cells=160)
    mass = float((cut.density.sel(start="exact", t=0.1)).sum() * cut.fpsolve.grid.volume)
    # the share of N(0.5 alpha, alpha^2/4 + sigma^2) below 0
    from math import erf

    process = fp.VP()
    scale, noise = (float(f(0.0, 0.1)) for f in (process.scale, process.variance))
    z = -0.5 * scale / np.sqrt(0.25 * scale**2 + noise)
    assert mass == pytest.approx(0.5 * (1.0 + erf(z / np.sqrt(2.0))), abs=1e-4)
    assert run.coarsen(x=2).mean().fpsolve.grid == fp.Grid.uniform((-6, 6), cells=160)
    grid = scaled.fpsolve.grid
    part = scaled.isel(z=slice(4, 24))
    low = grid.bounds[0][0]
    h = grid.spacing[0]
    np.testing.assert_allclose(part.fpsolve.grid.bounds[0], (low + 4 * h, low + 24 * h), rtol=1e-12)
    with pytest.raises(ValueError, match="whole cells of the box"):
        print(run.isel(x=slice(0, None, 2)).fpsolve.grid)


@pytest.mark.parametrize("which", ["run", "scaled"])
def test_particles_are_counted_on_the_cells_of_a_cut_run(run, scaled, which):
    given = run.isel(x=slice(100, 200)) if which == "run" else scaled.isel(z=slice(4, 24))
    reverse = fp.Reverse(DATA, fp.VP() if which == "run" else fp.VE(0.01, 20.0))
    given = given.isel(t=[0, -1])
    made = dict(n=500, seed=3, steps=30, save_at=given.t)
    counted = fp.particles.simulate(reverse, reverse.process.prior(), histogram=given, **made)
    drawn = fp.particles.simulate(reverse, reverse.process.prior(), positions=True, **made)
    x = given.x if which == "run" else given.x.isel(t=-1)
    h = float(x[1] - x[0])
    faces = np.append(x.values - 0.5 * h, float(x[-1]) + 0.5 * h)
    expected = np.histogram(drawn.position.isel(t=-1), faces)[0]
    np.testing.assert_array_equal(counted["count"].isel(t=-1), expected)


def test_part_of_a_box_is_measured_on_that_part(run):
    part = run.isel(x=slice(120, 240))
    curve = fp.forgetting_curve(part)
    p, q = (run.density.sel(start=name, t=0.3) for name in ("exact", "prior"))
    region = (float(run.x[120]) - 6 / 320, float(run.x[239]) + 6 / 320)
    inside = float(np.sum(((1 + run.x**2) * abs(p - q)).sel(x=slice(*region))) * 12 / 320)
    assert float(curve.distance.sel(start="prior", t=0.3)) == pytest.approx(inside, rel=1e-2)
    assert float(curve.level_error.sel(start="prior", t=0.3)) <= float(
        fp.forgetting_curve(run).level_error.sel(start="prior", t=0.3)
    )


def test_a_run_cut_at_its_beginning_says_that_tails_of_before_are_unknown(run):
    assert "cut at its beginning" in fp.forgetting_curve(run.isel(t=slice(1, None))).attrs["note"]
    assert "note" not in fp.forgetting_curve(run).attrs


def test_a_metric_of_a_transposed_run_is_that_of_the_run(run):
    reverse = fp.Reverse(DATA, fp.VP())
    first, other = (
        fp.stochastic.siem_like(one, reverse, lambda t, x: 0.1 + 0.0 * x) for one in (run, run.transpose("x", ...))
    )
    np.testing.assert_allclose(first.metric, other.metric, rtol=1e-12)


def test_a_run_of_other_dynamics_is_not_held_against_these():
    target, process = fp.Gaussian(0.5, std=0.5), fp.VP()
    made_of = fp.Reverse(target, process)
    grid = fp.Grid.uniform((-6, 6), cells=80)
    made = fp.evolve(made_of, {"prior": process.prior()}, grid=grid, steps=40, t_min=0.1)
    others = {
        "target": fp.Reverse(fp.Gaussian(-0.5, std=0.5), process),
        "process": fp.Reverse(target, fp.OrnsteinUhlenbeck(1.0)),
    }
    for name, other in others.items():
        with pytest.raises(ValueError, match=rf"run: expected one of the {name} of `reverse`"):
            fp.distances.to_marginals(made, other)
        with pytest.raises(ValueError, match=rf"run: expected one of the {name} of `reverse`"):
            fp.bounds.reverse_kl(made, other, lambda t, x: np.zeros_like(x))
    with pytest.raises(ValueError, match=r"run: expected one of the eta of `reverse`, 0\.5, got 1"):
        fp.bounds.reverse_kl(made, fp.Reverse(target, process, eta=0.5), lambda t, x: np.zeros_like(x))
    # the same law, written again, and a run under a model of the score are of these dynamics
    again = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    assert np.isfinite(fp.distances.to_marginals(made, again).distance).all()
    wrong = fp.scores.perturbed(fp.scores.exact(target, process), fp.scores.errors.Bias(0.1))
    moved = fp.evolve(
        fp.Reverse(target, process, score=wrong), {"prior": process.prior()}, grid=grid, steps=40, t_min=0.1
    )
    assert fp.bounds.reverse_kl(moved, again, fp.scores.errors.Bias(0.1)).value > 0.0

"""Results say what they are: every coordinate and variable in words, and `repr` with the answer first."""

import numpy as np
import pytest
import xarray as xr

import fpsolve as fp

LINE = fp.GaussianMixture([0.4, 0.6], [-1.5, 1.0], stds=[0.3, 0.4])
VP = fp.VP()
REVERSE = fp.Reverse(LINE, VP)
GRID = fp.Grid.uniform((-6, 6), cells=80)


@pytest.fixture(scope="module")
def run():
    starts = {"exact": REVERSE.marginal(1.0), "prior": VP.prior()}
    return fp.evolve(REVERSE, starts, t_min=0.1, tol=1e-2, progress=False)


def _runs(run):
    yield run
    yield fp.evolve(fp.Reverse(LINE, fp.EDM()), fp.EDM().prior(), t_min=1.0, tol=0.1, progress=False)
    plane, box = fp.Gaussian([0.5, 0.0], std=1.0), fp.Grid.uniform([(-6, 6), (-6, 6)], cells=32)
    yield fp.evolve(fp.Reverse(plane, VP), VP.prior(2), grid=box, steps=12, t_min=0.2, progress=False)
    yield fp.evolve(fp.Forward(VP), LINE, t_max=0.5, tol=0.1, progress=False)
    yield fp.steady_state(fp.Dynamics(lambda t, x: -x, 2**0.5, autonomous=True), grid=GRID).to_dataset()


def _distances(run):
    p, q = run.density.sel(start="exact"), run.density.sel(start="prior")
    yield fp.forgetting_curve(run)
    yield fp.distances.to_marginals(run, REVERSE)
    yield fp.distances.weighted_norm(p - q)
    yield fp.distances.mmd(p, q, bandwidth=1.0)
    yield fp.distances.wasserstein(p.isel(t=-1), LINE.sample(200, 0))
    for name in ("chi2", "energy", "frechet", "hellinger", "kl", "total_variation", "wasserstein", "weighted_tv"):
        yield getattr(fp.distances, name)(p, q)


def _theory(run):
    yield fp.bounds.ladder(REVERSE, grid=fp.Grid.uniform((-9, 9), cells=60), blocks=2)
    yield fp.decomposition.errors(REVERSE, "ddpm", start=VP.prior(), steps=6, t_min=0.05, grid=GRID, blocks=0)
    exact = fp.scores.exact(LINE, VP)
    yield fp.scores.tabulate(exact, GRID, [0.1, 0.2, 0.4, 0.8])
    yield fp.scores.error_curve(exact, LINE, VP, [0.2, 0.4])
    yield fp.proofs.forgetting_curve(REVERSE, {"prior": VP.prior()}, t=[0.5], rtol=0.1)


def _others(run):
    cloud = fp.particles.simulate(REVERSE, VP.prior(), n=400, steps=60, t_min=0.1, seed=0, save_at=run.t.values)
    yield cloud
    yield fp.particles.compare(run, cloud, start="prior")
    yield fp.particles.from_positions([1.0, 0.5], np.zeros((2, 10)))
    yield fp.flows.orbits(lambda x: -x, [1.0, 2.0], duration=1.0, count=3)
    noise, ou = fp.stochastic.constant(0.09), fp.Dynamics(lambda t, x: -x, 2**0.5)
    ensemble = fp.stochastic.evolve(ou, LINE, noise, grid=GRID, steps=20, paths=2, seed=0, t_max=0.5)
    yield ensemble
    yield fp.stochastic.quadratic_variation(ensemble)


@pytest.mark.parametrize("makers", [_runs, _distances, _theory, _others])
def test_every_coordinate_and_variable_of_every_result_says_what_it_is(run, makers):
    count = 0
    for made in makers(run):
        assert isinstance(made, xr.Dataset)
        for name, variable in made.variables.items():
            assert variable.attrs.get("long_name") and "units" in variable.attrs, (list(made), name)
            assert f"units of {name}" not in variable.attrs["units"]
        count += 1
    assert count >= 5


def test_words_of_ones_own_stay_and_reach_the_figure(run):
    mine = run.copy()
    mine["x"].attrs |= {"long_name": "waiting time", "units": "minutes"}
    assert fp.plots.density(mine, start="prior").get_ylabel() == "waiting time (minutes)"
    assert fp.plots.density(run, start="prior").get_ylabel() == "position $x$"
    later = run.assign_coords(t=run.t.assign_attrs(units="s"))
    assert fp.forgetting_curve(later).t.attrs["units"] == "s"
    # what is made of a result leaves it alone
    coords = {name: run[name].values for name in ("start", "t", "x")}
    bare = xr.Dataset({"density": (("start", "t", "x"), run.density.values)}, coords=coords)
    fp.distances.kl(bare.density[0], bare.density[1])
    assert not bare.x.attrs and not bare.t.attrs


def test_the_answer_comes_first(run):
    """Every number told is read back and held against the result itself."""
    curve, ladder = (
        fp.forgetting_curve(run),
        fp.bounds.ladder(REVERSE, grid=fp.Grid.uniform((-9, 9), cells=60), blocks=2),
    )
    first = {
        name: repr(made.fpsolve).splitlines()[0]
        for name, made in {"run": run, "curve": curve, "ladder": ladder}.items()
    }
    assert "worst estimate" in first["run"] and "tol = 0.01 is met" in first["run"]
    distance, error = (float(text) for text in first["curve"].split(": ")[1].split(" (")[0].split(" +- "))
    assert distance == pytest.approx(float(curve.distance[0, -1]), rel=1e-3)
    assert error == pytest.approx(float(curve.error[0, -1]), rel=0.06)
    rows = repr(ladder.fpsolve).splitlines()
    assert rows[0].startswith("prior at t = 0.01: measured") and len(rows) == 1 + ladder.sizes["bound"]
    assert f"{float(ladder.prior[2, -1]):.4g} ({ladder.status.values[2]})" in rows[3]
    p, q = run.density[0, -1], run.density[1, -1]
    assert repr(fp.distances.wasserstein(p, q).fpsolve).startswith(
        f"{float(fp.distances.wasserstein(p, q).distance):.4g} +- "
    )
    lost = fp.distances.kl(p, q).assign(error=np.inf).assign_attrs(resolved="no", reason="for one")
    assert "no error bar" in repr(lost.fpsolve) and "unresolved: for one" in repr(lost.fpsolve)
    kernel = fp.kernels.exact(REVERSE, GRID, 1.0, 0.2)
    record = fp.bounds.dobrushin(kernel)
    assert repr(record).startswith(f"Dobrushin: {record.value:.6g} (")


def test_notebooks_show_the_answer_and_a_picture_that_is_well_formed(run):
    from xml.etree import ElementTree

    kernel = fp.kernels.exact(REVERSE, GRID, 1.0, 0.2)
    plain = [GRID, fp.PointMass(1.0), fp.Gaussian([0.0, 1.0], std=1.0), fp.bounds.dobrushin(kernel)]
    tailed = fp.StudentT(1.5, scale=1.0)
    drawn = [(LINE, 1), (fp.Laplace(0.0, scale=2.0), 1), (tailed, 1), (VP, 2), (fp.EDM(), 2), (fp.RectifiedFlow(), 2)]
    drawn += [(run.fpsolve, 2), (fp.forgetting_curve(run).fpsolve, 1), *((one, 0) for one in plain)]
    for one, count in drawn:
        page = ElementTree.fromstring(one._repr_html_())
        assert page.find("b").text
        lines = [line.attrib["points"].split() for line in page.iter() if line.tag.endswith("polyline")]
        assert len(lines) == count
        for points in lines:
            x, y = np.array([point.split(",") for point in points], dtype=float).T
            assert x.min() >= 0.0 and x.max() <= 320.0 and y.min() >= 0.0 and y.max() <= 90.0

"""Two results given together that say of which dynamics they are: others are refused, also from files."""

import numpy as np
import pytest
import xarray as xr

import fpsolve as fp

GRID = fp.Grid.uniform((-7, 7), cells=64)
START = fp.Gaussian(0.5, std=1.1)
BASE = {"target": fp.Gaussian(0.5, std=0.6), "process": fp.VP(), "eta": 1.0}
OTHERS = {
    "target": fp.Gaussian(-0.5, std=0.6),
    "process": fp.VP(beta_max=12.0),
    "eta": 0.5,
    "score": lambda t, x: -1.1 * np.asarray(x),
}


def reverse(**changes):
    return fp.Reverse(**(BASE | changes))


def evolved(dynamics, start=START):
    starts = {"exact": dynamics.marginal(1.0), "prior": start}
    return fp.evolve(dynamics, starts, grid=GRID, steps=16, t_min=0.1, save_at=[1.0, 0.3, 0.1])


def stored(data, folder, name):
    data.to_netcdf(folder / f"{name}.nc", engine="h5netcdf")
    return xr.load_dataset(folder / f"{name}.nc", engine="h5netcdf")


@pytest.fixture(scope="module")
def run():
    return evolved(reverse())


@pytest.fixture(scope="module")
def curve(run):
    return fp.forgetting_curve(run)


@pytest.fixture(scope="module")
def ladder():
    grid = fp.Grid.uniform((-7, 7), cells=40)
    return fp.bounds.ladder(reverse(), grid=grid, blocks=[1.0, 0.1], start={"prior": START})


@pytest.mark.parametrize("part", ["target", "process", "eta", "score"])
def test_a_curve_of_other_dynamics_than_the_ladder_is_refused(ladder, part, tmp_path):
    other = fp.forgetting_curve(evolved(reverse(**{part: OTHERS[part]})))
    kept = stored(ladder, tmp_path, "ladder")
    words = "same score model as" if part == "score" else f"same {part} as"
    for curve in (other, stored(other, tmp_path, "curve")):
        for call in (
            lambda curve=curve: fp.bounds.verify(kept, curve),
            lambda curve=curve: fp.plots.forgetting(curve, ladder=ladder),
            lambda curve=curve: fp.plots.ladder(kept, curve=curve),
        ):
            with pytest.raises(ValueError, match=f"{words} .*; make both of the same one"):
                call()


def test_a_ladder_and_a_curve_of_the_same_dynamics_go_together_also_from_files(curve, ladder, tmp_path):
    found, kept = stored(ladder, tmp_path, "ladder"), stored(curve, tmp_path, "curve")
    checks = fp.bounds.verify(found, kept)
    assert all(check.holds for check in checks if np.isfinite(check.margin))
    fp.plots.forgetting(kept, ladder=found)
    fp.plots.ladder(found, curve=kept)
    # what a Dataset does not say is not held against it
    kept.attrs = {name: kept.attrs[name] for name in ("weight", "reference")}
    assert len(fp.bounds.verify(found, kept)) == len(checks)


@pytest.mark.parametrize("part", ["target", "process", "eta"])
def test_particles_of_other_dynamics_are_refused(run, part):
    other = reverse(**{part: OTHERS[part]})
    cloud = fp.particles.simulate(other, START, n=50, steps=4, save_at=[1.0, 0.3, 0.1], seed=0)
    with pytest.raises(ValueError, match=f"cloud: expected a result of the same {part} as "):
        fp.particles.compare(run, cloud, start="prior")


def test_particles_of_nobody_knows_what_are_compared(run):
    x = np.random.default_rng(0).normal(size=(2, 400))
    fp.particles.compare(run, fp.particles.from_positions([0.3, 0.1], x, start="mine"), start="prior")


def test_a_check_and_a_closed_form_of_other_dynamics_are_refused_beside_a_curve(curve):
    other = reverse(target=OTHERS["target"])
    cloud = fp.particles.simulate(other, START, n=50, steps=4, save_at=[1.0, 0.3, 0.1], seed=0)
    check = fp.particles.compare(evolved(other), cloud, start="prior")
    with pytest.raises(ValueError, match="check: expected a result of the same target as curve"):
        fp.plots.forgetting(curve, check=check)
    with pytest.raises(ValueError, match="closed_form: expected a result of the same process as curve"):
        fp.plots.forgetting(curve, closed_form=curve["distance"].assign_attrs(process="EDM()"))


def test_a_metric_and_a_proof_ask_for_the_dynamics_of_the_run(run, curve):
    other = reverse(process=OTHERS["process"])
    with pytest.raises(ValueError, match="run: expected a result of the same process as dynamics"):
        fp.stochastic.siem_like(run, other, lambda t, x: 0.1 + 0.0 * x)
    wrong = fp.Reverse(OTHERS["target"], reverse().process, score=lambda t, x: -0.7 * x)
    with pytest.raises(ValueError, match="run: expected a result of the same target as dynamics"):
        fp.stochastic.siem_like(run, wrong, lambda t, x: 0.1 + 0.0 * x)
    with pytest.raises(ValueError, match="curve: expected a result of the same process as reverse"):
        fp.proofs.verify(curve, other, {"prior": START})


def test_a_metric_takes_the_dynamics_with_the_error_of_the_run_or_without():
    def error(t, x):
        return 0.1 + 0.0 * x

    exact = reverse()
    wrong = fp.Reverse(exact.target, exact.process, score=fp.scores.perturbed(exact.score, error))
    grid = fp.Grid.uniform((-6, 6), cells=60)
    run = fp.evolve(wrong, START, grid=grid, steps=16, t_min=0.1, save_at=[1.0, 0.5, 0.1], estimate=False)
    found = [fp.stochastic.siem_like(run, one, error)["metric"].values for one in (wrong, exact)]
    assert np.array_equal(*found)

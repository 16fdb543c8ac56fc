"""``fpsolve prove``: error bars of a stored run against proofs, its exit status, and what cannot be proved."""

import json
import subprocess
import sys

import cases
import numpy as np
import pytest
import xarray as xr

import fpsolve as fp
from fpsolve import cli, closed_form
from fpsolve.settings import dump
from fpsolve.verification import command

REVERSE = cases.two_mode_vp()
STARTS = {"prior": fp.Gaussian(0.0, std=1.0), "far": fp.Gaussian(1.5, std=0.5)}
GRID = fp.Grid.uniform((-6.0, 6.0), cells=400)


def targeted(law):
    """The attributes of a run that name another target."""
    return {"target_json": json.dumps(dump(law)), "target": repr(law)}


@pytest.fixture(scope="module")
def run():
    laws = {"exact": REVERSE.marginal(1.0)} | STARTS
    return fp.evolve(REVERSE, laws, t_min=0.1, grid=GRID, steps=200, save_at=[0.5, 0.1])


def proved(run, folder, *options):
    """The exit status of the command on a run."""
    run.to_netcdf(folder / "run.nc", engine="h5netcdf")
    return cli.main(["prove", str(folder / "run.nc"), *options])


def test_the_error_bars_of_a_run_are_proved_to_hold(run, tmp_path, capsys):
    out = tmp_path / "new" / "proof.nc"
    assert proved(run, tmp_path, "--times", "0.5", "0.1", "--out", str(out)) == 0
    printed = capsys.readouterr().out
    assert printed.count("holds") == 4 and "Given: the ball arithmetic" in printed
    found = xr.load_dataset(out, engine="h5netcdf")
    assert [found[name].attrs["status"] for name in ("distance", "error", "lower", "upper", "verdict")] == [
        "estimated", "estimated", "proved", "proved", "proved"
    ]  # fmt: skip
    assert (found.verdict == "holds").all() and found.sizes == {"start": 2, "t": 2}
    for label, law in STARTS.items():
        for t in (0.5, 0.1):
            oracle = closed_form.weighted_tv(REVERSE, law, REVERSE.marginal(1.0), t=t).value
            here = found.sel(start=label, t=t)
            assert abs(float(here.lower) - oracle) <= 1e-8 * oracle and here.lower <= here.upper


@pytest.mark.parametrize("reference", [None, "prior"])
def test_a_run_without_an_exact_start_and_another_reference(run, tmp_path, reference):
    options = [] if reference is None else ["--reference", reference]
    left = run.drop_sel(start="exact") if reference is None else run
    assert proved(left, tmp_path, "--start", "far", "--times", "0.1", *options) == 0
    found = command.prove(left, ["far"], reference, [0.1]).isel(start=0, t=0)
    mu = None if reference is None else STARTS[reference]
    one = fp.proofs.weighted_tv(REVERSE, STARTS["far"], mu, t=0.1)
    assert (float(found.lower), float(found.upper)) == (one.lower, one.upper)
    assert found.attrs["reference"] == (reference or "exact")


def test_an_error_bar_that_is_proved_wrong_ends_with_1(run, tmp_path, capsys):
    wrong = xr.where(run.start == "far", 1.01, 1.0)
    spoilt = run.assign(density=run.density * wrong, density_previous=run.density_previous * wrong)
    spoilt = spoilt.transpose(*run.dims)
    assert proved(spoilt, tmp_path, "--times", "0.5") == 1
    table = capsys.readouterr().out.splitlines()
    assert [line.endswith("does not hold") for line in table if line.startswith(("prior", "far"))] == [False, True]


def test_without_a_finite_error_bar_there_is_nothing_to_prove(run, tmp_path, capsys):
    unknown = run.assign(error_estimate=run.error_estimate + np.inf)
    assert proved(unknown, tmp_path, "--times", "0.5", "--start", "far") == 2
    told = capsys.readouterr()
    assert "undecided" in told.out and "no finite error bar" in told.err


def test_runs_and_curves_and_clouds_say_what_their_numbers_are(run):
    cloud = fp.particles.simulate(REVERSE, STARTS["far"], n=100, steps=10, save_at=[0.5, 0.1], t_min=0.1, seed=0)
    compared = fp.particles.compare(run, cloud, start="far")
    words = [one.attrs["status"] for one in (run, fp.forgetting_curve(run), compared)]
    assert words == ["estimated", "estimated", "Monte Carlo"]


def test_the_verdict_is_exact_at_the_ends_of_the_error_bar():
    from fpsolve.proofs._enclosure import _verdicts

    lower, upper = np.array([1.0, 1.0, 1.0, 1.0, 1.0]), np.array([1.5, 1.5, 1.5, 1.5, np.inf])
    distance, error = np.array([1.25, 1.25, 2.0, 1.25, 2.0]), np.array([0.3, 0.2, 0.4, np.nan, 5.0])
    verdicts = _verdicts(distance, error, lower, upper).tolist()
    assert verdicts == ["holds", "undecided", "does not hold", "undecided", "undecided"]
    # 0.1 + 0.2 as doubles is above 0.3: an end that only rounding brings there proves nothing
    touching = _verdicts(np.array([0.1]), np.array([0.2]), np.array([0.0]), np.array([0.1 + 0.2]))
    assert touching.tolist() == ["undecided"]


@pytest.mark.parametrize(
    ("attrs", "told"),
    [
        ({"score_model": "MyScore"}, "run: expected a run of score_model 'exact', got MyScore"),
        ({"dynamics": "Langevin"}, "run: expected a run of dynamics 'Reverse'"),
        ({"eta": 0.5}, "run: expected a run with eta = 1, got eta = 0.5"),
        ({"eta": "Churn(...)"}, "run: expected a run with eta = 1"),
        ({"target_json": None}, "run: expected its target as JSON"),
        ({"starts_json": None}, "run: expected the law of start 'prior' as JSON"),
        ({"weight": '{"kind": "callable", "name": "v"}'}, "run: expected a run in a built-in weight"),
        ({"weight": '{"kind": "polynomial", "power": 1.5, "beta": 1.0}'}, "weight: expected UnitWeight"),
        (targeted(fp.Laplace()), "reverse.target: expected a finite mixture"),
        (targeted(fp.Gaussian([0.0, 1.0], std=1.0)), "reverse.target: expected a law in 1D, got dimension 2"),
    ],
)
def test_what_cannot_be_proved_ends_with_2_and_one_sentence(run, tmp_path, capsys, attrs, told):
    kept = {name: text for name, text in (run.attrs | attrs).items() if text is not None}
    assert proved(run.drop_attrs(deep=False).assign_attrs(kept), tmp_path, "--times", "0.5") == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [(["--times", "0.3"], "--times: expected times that the run has saved (1, 0.5, 0.1), got 0.3"),
     (["--start", "near"], "--start: expected one of 'prior', 'far'"),
     (["--reference", "near"], "reference: expected one of"),
     (["--budget", "0"], "budget: expected")],
)  # fmt: skip
def test_options_that_do_not_fit_the_run(run, tmp_path, capsys, options, told):
    assert proved(run, tmp_path, *options) == 2
    assert told in capsys.readouterr().err


def test_a_file_that_is_no_run(tmp_path, capsys):
    (tmp_path / "text.nc").write_text("no run")
    assert cli.main(["prove", str(tmp_path / "text.nc")]) == 2
    assert "RUN.nc: expected a netCDF file" in capsys.readouterr().err


def test_without_the_extra_there_is_one_sentence(run, tmp_path):
    run.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    code = "import sys; sys.modules['flint'] = None; from fpsolve.cli import main; sys.exit(main(sys.argv[1:]))"
    command_line = [sys.executable, "-c", code, "prove", str(tmp_path / "run.nc")]
    done = subprocess.run(command_line, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "pip install 'fpsolve[proofs]'" in done.stderr and done.stderr.count("\n") == 1

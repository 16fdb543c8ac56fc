"""``fpsolve verify``: reference values and files hold, wrong ones are told, unknown groups are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import fpsolve as fp
from fpsolve import cli, verification
from fpsolve.verification import _cases

README = (Path(__file__).parents[1] / "README.md").read_text()


#: Figures of the README that are values of checks, by group and name: least, most, and what the README says.
FIGURES = {
    "densities": {"pair of 400 and 800 cells: TV": (6.4e-8, 7.2e-8, "| 6.8e-8, in ")},
    "plane": {"five rotated Gaussians, pair of 128^2 and 256^2 cells: TV": (3.4e-6, 3.6e-6, "| TV 3.5e-6 |")},
    "probability flow": {"probability flow: change of plain total variation": (0.0, 2e-10, "| below 2e-10 |")},
}


@pytest.mark.parametrize("group", verification.GROUPS)
def test_every_reference_value_holds(group: str) -> None:
    checks = verification.run([group], progress=False)[group]
    for check in checks:
        print(check.record())
    assert checks and all(check.passed for check in checks)
    values = {check.name: check.value for check in checks}
    for name, (least, most, told) in FIGURES.get(group, {}).items():
        assert least <= values[name] <= most and told in README, name


def test_a_wrong_reference_fails_and_ends_with_1(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(_cases, "GAUSSIAN_STEPS", {"euler-maruyama": {25: 0.1490}})
    assert cli.main(["verify", "samplers"]) == 1
    assert "1 of 1 checks FAIL." in capsys.readouterr().out
    monkeypatch.setattr(_cases, "SIX_MILLIONTHS", 6.56e-6)
    failed = [check.name for check in verification.run(["distances"])["distances"] if not check.passed]
    assert failed == ["TV of the runs from p_T and N(0, 1)", "the same: true error / error bar"]


def test_a_group_passes_with_0_and_an_unknown_one_ends_with_2(capsys: Any) -> None:
    assert cli.main(["verify", "steady states"]) == 0
    out = capsys.readouterr().out
    assert "All 2 checks pass." in out and max(len(line) for line in out.splitlines()) <= 120
    assert cli.main(["verify", "everything"]) == 2
    assert "group: expected one of 'densities', " in capsys.readouterr().err


REVERSE = fp.Reverse(fp.GaussianMixture([0.4, 0.6], [-1.0, 1.0], stds=[0.4, 0.5]), fp.VP())


@pytest.fixture(scope="module")
def run() -> xr.Dataset:
    starts = {"exact": REVERSE.marginal(1.0), "other": fp.Gaussian(0.3, std=0.8)}
    return fp.evolve(REVERSE, starts, t_min=0.01, tol=1e-3)


def failing(path: Path) -> list[str]:
    return [check.name for check in verification.check_file(path)[0] if not check.passed]


def test_a_file_as_it_was_written_passes(run: xr.Dataset, tmp_path: Path, capsys: Any) -> None:
    run.fpsolve.save(tmp_path / "run.nc")
    assert cli.main(["verify", str(tmp_path / "run.nc")]) == 0
    out, told = capsys.readouterr()
    assert "content differs from its sha256" in out and "residual of the equation by findiff" in out and not told
    assert "All 9 checks pass." in out
    run.to_netcdf(tmp_path / "plain.nc", engine="h5netcdf")
    assert cli.main(["verify", str(tmp_path / "plain.nc")]) == 0
    out, told = capsys.readouterr()
    assert "sha256" not in out and "plain.nc: no checksum (run.fpsolve.save writes one)" in told


def test_a_flipped_byte_is_told(run: xr.Dataset, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "run.nc"
    run.fpsolve.save(path)
    content = bytearray(path.read_bytes())
    # the last digit of an estimate, where nothing else would see it
    place = content.find(run.error_estimate.values[0, 20:22].tobytes())
    assert place > 0
    content[place] ^= 1
    path.write_bytes(content)
    assert cli.main(["verify", str(path)]) == 1
    assert failing(path) == ["content differs from its sha256"]
    assert "1 of 9 checks FAIL." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda run: run.drop_vars("mass"), {"variables missing: mass"}),
        (lambda run: run.drop_vars("density"), {"variables missing: density"}),
        (
            lambda run: run.assign(density=1.001 * run.density),
            {"mass less the sum of the densities", "start 'other': first density less its law"},
        ),
        (
            lambda run: run.assign(density=1.001 * run.density, mass=1.001 * run.mass),
            {"start 'exact': first density less its law", "smallest density as stored"},
        ),
        (
            lambda run: run.assign_attrs(process_json=run.attrs["process_json"].replace("20.0", "19.0")),
            {"residual of the equation by findiff, relative"},
        ),
        (lambda run: run.assign_attrs(eta=0.9), {"residual of the equation by findiff, relative"}),
        (lambda run: run.assign_attrs(smallest_density=0.0), {"smallest density as stored"}),
        (lambda run: run.assign(tail=run["tail"] + 1.0), {"twice the tail less the estimate"}),
        (lambda run: run.assign(tail=0.6 * run.error_estimate), {"twice the tail less the estimate"}),
        (
            lambda run: run.assign(mass=run.mass - 1e-3 * (run.t < 0.5)),
            {"mass less the sum of the densities"},
        ),
        (
            lambda run: run.assign({v: run[v] * (1.0 + 0.01 * (run.t < 0.5)) for v in ("density", "mass")}),
            {"change of the mass beyond its estimate"},
        ),
    ],
    ids=[
        "no mass",
        "no density",
        "scaled",
        "scaled with mass",
        "process",
        "eta",
        "smallest",
        "tail",
        "half the estimate",
        "mass",
        "leak",
    ],
)
def test_what_contradicts_itself_is_told_even_with_a_checksum_of_its_own(
    run: xr.Dataset, tmp_path: Path, change: Any, told: set[str]
) -> None:
    change(run).fpsolve.save(tmp_path / "run.nc")
    found = failing(tmp_path / "run.nc")
    assert told <= set(found), found
    assert len(found) <= 4


@pytest.mark.parametrize("kind", ["scaled frame", "flow", "plane", "few times", "uneven times"])
def test_runs_of_every_kind_pass(kind: str, tmp_path: Path) -> None:
    if kind == "scaled frame":
        edm = fp.Reverse(REVERSE.target, fp.EDM())
        made = fp.evolve(edm, {"exact": edm.marginal(80.0)}, t_min=0.01, tol=1e-3)
    elif kind == "flow":
        made = fp.evolve(fp.Reverse(REVERSE.target, fp.VP(), eta=0.0), fp.Gaussian(0.3, std=0.8), t_min=0.01, tol=1e-3)
    elif kind == "plane":
        plane = fp.Reverse(fp.GaussianMixture([0.4, 0.6], [[-1.0, 0.0], [1.0, 0.5]], stds=[0.5, 0.6]), fp.VP())
        grid = fp.Grid.uniform([(-5.5, 5.5), (-5, 5)], cells=(80, 64))
        made = fp.evolve(plane, fp.Gaussian([0.0, 0.0], std=1.0), t_min=0.05, grid=grid, steps=96)
    else:
        saves = [0.5, 0.01] if kind == "few times" else np.append(np.geomspace(0.9, 0.01, 40), [0.5, 0.1, 0.011])
        made = fp.evolve(REVERSE, fp.Gaussian(0.3, std=0.8), t_min=0.01, tol=1e-4, save_at=saves)
    made.fpsolve.save(tmp_path / "run.nc")
    checks, notes = verification.check_file(tmp_path / "run.nc")
    assert all(check.passed for check in checks), [check.record() for check in checks]
    assert any("residual" in check.name for check in checks) == (kind != "few times")
    assert notes == (("the equation was not looked at: fewer than 9 saved times",) if kind == "few times" else ())


def test_the_residual_of_exact_averages_is_of_fourth_order_in_the_cells(tmp_path: Path) -> None:
    """Averages differ from values at centres in second order."""
    found = []
    for cells in (40, 80):
        grid = fp.Grid.uniform((-6, 6), cells=cells)
        given = dict(grid=grid, steps=120, t_min=0.05, save_at=np.linspace(1.0, 0.05, 60), estimate=False)
        made = fp.evolve(REVERSE, {"exact": REVERSE.marginal(1.0)}, **given)
        made["density"].values[0] = [grid.cell_average(REVERSE.marginal(t)) for t in made.t.values.tolist()]
        made.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
        checks, _ = verification.check_file(tmp_path / "run.nc")
        found += [check.value for check in checks if check.name.startswith("residual")]
    print("residuals", found)
    assert found[1] < 1e-3 and found[0] / found[1] > 8.0


def test_distances_in_a_file_are_computed_again(run: xr.Dataset, tmp_path: Path) -> None:
    from fpsolve.settings import netcdf, write_all

    curve = fp.forgetting_curve(run, reference="exact")
    for factor, wanted in ((1.0, []), (1.0 + 1e-6, ["curve: distances less those computed again, relative"])):
        parts = {"": run, "curve": curve.assign(distance=factor * curve.distance)}
        write_all(tmp_path, {"run.nc": netcdf(parts)})
        assert failing(tmp_path / "run.nc") == wanted
    write_all(tmp_path, {"curve.nc": netcdf({"": curve})})
    assert verification.check_file(tmp_path / "curve.nc")[1] == (
        "its distances were not looked at: no run with their starts in the file",
    )


def test_what_is_no_file_of_results_is_refused(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "a.nc").write_text("no file")
    xr.Dataset({"a": 1.0}).to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    for name, told in (
        ("a", "RUN.nc: expected a netCDF file"),
        ("b", "expected a file with a run"),
        ("c", "no such file"),
    ):
        assert cli.main(["verify", str(tmp_path / f"{name}.nc")]) == 2
        assert told in capsys.readouterr().err

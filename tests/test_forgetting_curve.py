"""Forgetting curves of hand-made runs whose distances, rates and errors are known, and of one evolved run."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from cases import ou_mixture
from scipy.special import ndtr

import fpsolve as fp
from fpsolve import closed_form, distances

TIMES = np.array([2.0, 1.6, 1.3, 1.1, 0.6, 0.35, 0.2, 0.1])
SHIFTS = {"exact": 0.0, "near": 1e-6, "far": 0.8}
GRID = fp.Grid.uniform((-14, 14), cells=280)


def shifted(start: str, t: float) -> fp.Gaussian:
    """Mean shift * exp(t), unit variance: forgotten at rate exactly 1 as the shift goes to 0."""
    return fp.Gaussian(SHIFTS[start] * np.exp(t), std=1.0)


def hand_made(grid: fp.Grid = GRID, bump: dict[str, float] | None = None, factor: float = 1 / 3) -> xr.Dataset:
    """A run with errors bump[start] * h^2 * pattern on each level: density_previous has four times those."""
    bump = bump or {}

    def values(at: fp.Grid, start: str, t: float) -> np.ndarray:
        wave = at.cell_average(lambda x: np.exp(-x * x) * (2 * x * x - 1))
        return at.cell_average(shifted(start, t)) + bump.get(start, 0.0) * at.volume**2 * wave

    levels = {"density": (grid, "x"), "density_previous": (grid.coarsen(), "x_previous")}
    variables = {
        name: (("start", "t", x), [[values(at, start, t) for t in TIMES] for start in SHIFTS])
        for name, (at, x) in levels.items()
    }
    coordinates = {"start": list(SHIFTS), "t": TIMES, "reverse_time": ("t", TIMES[0] - TIMES)}
    positions = {x: at.x for at, x in levels.values()}
    return xr.Dataset(variables, coords=coordinates | positions, attrs={"error_factor": factor, "unbounded": 1})


def gaussian_distance(m: float) -> float:
    """||N(m, 1) - N(0, 1)|| with V = 1 + x^2, for small m: m int (1 + x^2) |x| N(x; 0, 1)."""
    return m * 6 / np.sqrt(2 * np.pi)


def test_layout() -> None:
    curve = fp.forgetting_curve(hand_made())
    assert list(curve.start.values) == ["near", "far"]
    assert {"distance", "error", "rate"} <= set(curve.data_vars)
    assert all(curve[name].dims == ("start", "t") for name in ("distance", "error", "rate"))
    np.testing.assert_array_equal(curve.reverse_time, TIMES[0] - TIMES)
    assert curve.attrs["reference"] == "exact"
    assert curve.attrs["weight"] == fp.weights.to_json(None)
    total = sum(curve[f"{part}_error"] for part in ("level", "quadrature", "tail", "rounding"))
    np.testing.assert_allclose(curve.error, total)


def test_distances_of_shifted_gaussians() -> None:
    curve = fp.forgetting_curve(hand_made())
    for t in TIMES:
        near = curve.sel(start="near", t=t)
        true = gaussian_distance(1e-6 * np.exp(t))
        assert float(near.distance) == pytest.approx(true, rel=1e-6)
        assert abs(float(near.distance) - true) <= float(near.error) + 1e-6 * true  # the formula is first order in m
        far = distances.weighted_tv(*(_cells(shifted(s, t)) for s in ("far", "exact")))
        assert float(curve.distance.sel(start="far", t=t)) == pytest.approx(float(far.distance), rel=1e-12)


def _cells(law: fp.Law) -> xr.DataArray:
    return xr.DataArray(GRID.cell_average(law), dims="x", coords={"x": GRID.x})


def test_weight_and_reference_are_the_ones_asked_for() -> None:
    unit = fp.forgetting_curve(hand_made(), reference="far", weight=fp.UnitWeight())
    assert list(unit.start.values) == ["exact", "near"]
    twice = 2 * distances.total_variation(_cells(shifted("exact", 0.2)), _cells(shifted("far", 0.2))).distance
    assert float(unit.distance.sel(start="exact", t=0.2)) == pytest.approx(float(twice), rel=1e-12)
    assert unit.attrs["weight"] == '{"kind": "unit"}'


def test_rate_of_a_pure_exponential_is_exact_on_uneven_times() -> None:
    rate = fp.forgetting_curve(hand_made()).rate.sel(start="near")
    np.testing.assert_allclose(rate, 1.0, atol=1e-5)


def test_rate_converges_at_second_order() -> None:
    """distance ~ exp(-r - r^2): rate 1 + 2r, and with a cubic exponent an error of second order."""
    errors = []
    for n in (10, 20, 40, 80):
        r = np.linspace(0.0, 1.0, n + 1) ** 1.2
        means = 1e-6 * np.exp(-r - r**3)
        density = [[GRID.cell_average(fp.Gaussian(m, std=1.0)) for m in row] for row in (0 * r, means)]
        run = xr.Dataset(
            {"density": (("start", "t", "x"), density)},
            coords={"start": ["exact", "a"], "t": 2.0 - r, "reverse_time": ("t", r), "x": GRID.x},
        )
        rate = fp.forgetting_curve(run).rate.sel(start="a").values
        errors.append(np.abs(rate - (1 + 3 * r**2)).max())
    slope = -np.polyfit(np.log([10, 20, 40, 80]), np.log(errors), 1)[0]
    assert abs(slope - 2.0) <= 0.2


def test_errors_common_to_both_starts_cancel() -> None:
    """The point of the estimate: both densities are off by 1e-3, their difference is not."""
    common = dict.fromkeys(SHIFTS, 0.3)
    run = hand_made(bump=common)
    off = abs(run.density.sel(start="near", t=0.1) - _cells(shifted("near", 0.1))).max()
    curve = fp.forgetting_curve(run).sel(start="near", t=0.1)
    true = gaussian_distance(1e-6 * np.exp(0.1))
    assert float(off) > 100 * true
    assert float(curve.distance) == pytest.approx(true, rel=1e-6)
    assert float(curve.error) < 1e-6 * true


def test_errors_of_the_difference_are_found() -> None:
    """Errors 0.3 h^2 in one start only: (fine - coarse)/3 is what they are, and covers the distance's error."""
    curve = fp.forgetting_curve(hand_made(bump={"near": 0.3, "far": 0.3})).sel(t=0.1)
    wave = _cells_of(lambda x: np.exp(-x * x) * (2 * x * x - 1))
    expected = 0.3 * GRID.volume**2 * float(distances.weighted_norm(wave).distance)
    for start in ("near", "far"):
        here = curve.sel(start=start)
        assert float(here.level_error) == pytest.approx(expected, rel=0.01)
        other = fp.forgetting_curve(hand_made()).sel(start=start, t=0.1)
        # the coarse cells smooth the wave a little
        assert 0.0 < abs(float(here.distance - other.distance)) <= 1.02 * float(here.error)
    doubled = fp.forgetting_curve(hand_made(bump={"near": 0.3, "far": 0.3}, factor=2 / 3)).sel(t=0.1)
    np.testing.assert_allclose(doubled.level_error, 2 * curve.level_error)


def _cells_of(f) -> xr.DataArray:
    return xr.DataArray(GRID.cell_average(f), dims="x", coords={"x": GRID.x})


def test_without_a_companion_the_error_is_nan_and_says_so() -> None:
    curve = fp.forgetting_curve(hand_made().drop_vars("density_previous"))
    assert np.isnan(curve.error).all()
    assert np.isnan(curve.level_error).all()
    assert np.isfinite(curve.quadrature_error).all() and np.isfinite(curve.distance).all()
    assert "density_previous" in curve.attrs["note"]
    assert "note" not in fp.forgetting_curve(hand_made()).attrs


def test_tails_count_unless_the_box_is_everything() -> None:
    narrow = hand_made(fp.Grid.uniform((-4, 4), cells=160))
    inside = narrow.assign_attrs(unbounded=0)
    # at one time alone: along a run the largest tail so far counts
    here = fp.forgetting_curve(narrow.sel(t=[0.1])).sel(start="far", t=0.1)
    true = fp.forgetting_curve(hand_made()).distance.sel(start="far", t=0.1)
    missing = float(true - here.distance)
    assert missing <= float(here.tail_error) <= 2 * missing
    assert float(fp.forgetting_curve(inside).tail_error.max()) == 0.0


def test_what_the_box_once_threw_back_stays_in_the_error() -> None:
    """A start cut off by the box at T: nothing is left at the edges later, but the distance stays wrong."""
    reverse = fp.Reverse(fp.Gaussian(0.4, std=0.3), fp.EDM(sigma_max=10.0))
    starts = {"start": fp.Laplace(2.0, 6.0), "exact": reverse.marginal(10.0)}
    run = fp.evolve(reverse, starts, t_min=0.7, tol=3e-5, weight=fp.UnitWeight())
    curve = fp.forgetting_curve(run, weight=fp.UnitWeight()).isel(start=0)
    for t in (curve.t[-1], curve.t[len(curve.t) // 2]):
        truth = closed_form.weighted_tv(reverse, *starts.values(), float(t), fp.UnitWeight()).value
        off, error = abs(float(curve.distance.sel(t=t)) - truth), float(curve.error.sel(t=t))
        print(f"t = {float(t):.3g}: off by {off:.1e}, error {error:.1e}, tail {float(curve.tail_error.sel(t=t)):.1e}")
        assert off <= error
    assert np.all(np.diff(curve.tail_error) >= 0.0)


def test_equal_starts_have_distance_zero_and_no_rate() -> None:
    run = hand_made()
    twin = run.assign(density=run.density.where(run.start != "near", run.density.sel(start="exact")))
    curve = fp.forgetting_curve(twin).sel(start="near")
    assert float(curve.distance.max()) == 0.0
    assert np.isnan(curve.rate).all()


@pytest.mark.parametrize(("count", "finite"), [(1, False), (2, True), (3, True)])
def test_few_times(count: int, finite: bool) -> None:
    curve = fp.forgetting_curve(hand_made().isel(t=slice(count)))
    assert bool(np.isfinite(curve.rate).all()) is finite
    assert np.isfinite(curve.distance).all()


def test_time_without_reverse_time_is_elapsed_time() -> None:
    run = hand_made().drop_vars("reverse_time")
    forward = run.isel(t=slice(None, None, -1))
    for each, sign in ((run, 1.0), (forward, -1.0)):
        np.testing.assert_allclose(fp.forgetting_curve(each).rate.sel(start="near"), sign, atol=1e-5)


def test_saved_runs_give_the_same_curve(tmp_path: Path) -> None:
    run = hand_made(bump={"far": 0.1})
    run.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as loaded:
        again = fp.forgetting_curve(loaded).load()
    xr.testing.assert_identical(again, fp.forgetting_curve(run))
    again.to_netcdf(tmp_path / "curve.nc", engine="h5netcdf")


def test_scaled_frame() -> None:
    """The same laws on cells that move and widen with t: equal distances, weighted at x(t, z)."""
    z, coarse = fp.Grid.uniform((-8, 8), cells=200), fp.Grid.uniform((-8, 8), cells=100)

    def positions(at: fp.Grid) -> np.ndarray:
        return 0.3 * TIMES[:, None] + (1 + TIMES)[:, None] * at.x

    def density(cells: int) -> list:
        rows = []
        for start in SHIFTS:
            boxes = [(0.3 * t - 8 * (1 + t), 0.3 * t + 8 * (1 + t)) for t in TIMES]
            rows.append(
                [
                    fp.Grid.uniform(b, cells=cells).cell_average(shifted(start, t))
                    for b, t in zip(boxes, TIMES, strict=True)
                ]
            )
        return rows

    run = xr.Dataset(
        {
            "density": (("start", "t", "z"), density(200)),
            "density_previous": (("start", "t", "z_previous"), density(100)),
        },
        coords={
            "start": list(SHIFTS), "t": TIMES, "reverse_time": ("t", TIMES[0] - TIMES),
            "z": z.x, "x": (("t", "z"), positions(z)),
            "z_previous": coarse.x, "x_previous": (("t", "z_previous"), positions(coarse)),
        },
        attrs={"error_factor": 1.0},
    )  # fmt: skip
    scaled, fixed = fp.forgetting_curve(run), fp.forgetting_curve(hand_made())
    difference = abs(scaled.distance - fixed.distance)
    assert (difference <= scaled.error + fixed.error).all()
    np.testing.assert_allclose(scaled.distance, fixed.distance, rtol=1e-5)
    assert float(scaled.error.max()) < 1e-4  # no error but that of restricting exact averages: none


def test_plane() -> None:
    grid = fp.Grid.uniform([(-7, 7), (-6, 6)], cells=(64, 56))
    means = {"exact": [0.0, 0.0], "a": [0.5, -0.3]}

    def density(at: fp.Grid) -> list:
        return [
            [at.cell_average(fp.Gaussian(np.exp(t) * np.array(m), std=1.0)) for t in (0.5, 0.0)] for m in means.values()
        ]

    coarse = grid.coarsen()
    run = xr.Dataset(
        {
            "density": (("start", "t", "x", "y"), density(grid)),
            "density_previous": (("start", "t", "x_previous", "y_previous"), density(coarse)),
        },
        coords={
            "start": list(means), "t": [0.5, 0.0], "reverse_time": ("t", [0.0, 0.5]),
            "x": grid.axes[0], "y": grid.axes[1], "x_previous": coarse.axes[0], "y_previous": coarse.axes[1],
        },
        attrs={"error_factor": 1.0},
    )  # fmt: skip
    curve = fp.forgetting_curve(run, weight=fp.UnitWeight()).sel(start="a")
    true = 2 * (2 * ndtr(0.5 * np.hypot(0.5, 0.3) * np.exp([0.5, 0.0])) - 1)
    assert (abs(curve.distance - true) <= curve.error).all()
    assert float(curve.error.max()) < 1e-3
    assert (curve.level_error < 1e-12).all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: run.density, "run: expected a Dataset with the variable density"),
        (lambda run: run.drop_vars("density"), "run: expected a Dataset with the variable density"),
        (lambda run: run.rename(start="origin"), r"run: expected density over \(start, t"),
        (lambda run: run.drop_sel(start="exact"), "reference: expected one of 'near', 'far', got 'exact'"),
        (lambda run: run.sel(start=["exact"]), "run: expected a start besides the reference"),
        (lambda run: run.isel(x_previous=slice(1, 90)), "divisor of the cells"),
    ],
)
def test_bad_runs_are_refused(spoil, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fp.forgetting_curve(spoil(hand_made()))


def test_a_tiny_truth_on_an_evolved_run() -> None:
    """The reference case: 6.5589e-6 = half the L1 distance at t = 0.01 between the starts p_T and N(0, 1)."""
    reverse = ou_mixture()
    starts = {
        "exact": reverse.marginal(3.0), "prior": fp.Gaussian(0.0, std=1.0),
        "plus": fp.Gaussian(1e-4, std=1.0), "minus": fp.Gaussian(-1e-4, std=1.0),
    }  # fmt: skip
    run = fp.evolve(reverse, starts, t_min=0.01, tol=1e-4, save_at=[3.0, 0.01])
    to_exact = fp.forgetting_curve(run, weight=fp.UnitWeight()).sel(start="prior", t=0.01)
    to_minus = fp.forgetting_curve(run, reference="minus").sel(start="plus", t=0.01)
    assert 0.5 * float(to_exact.distance) == pytest.approx(6.5589e-6, rel=1e-4)
    for curve, pair, weight in (
        (to_exact, ("exact", "prior"), fp.UnitWeight()),
        (to_minus, ("plus", "minus"), None),
    ):
        true = closed_form.weighted_tv(reverse, *(starts[s] for s in pair), 0.01, weight).value
        assert float(curve.distance) == pytest.approx(true, rel=1e-4)
        assert abs(float(curve.distance) - true) <= float(curve.error) <= 1e-2 * true


def test_a_curve_of_a_file_outlives_it(tmp_path):
    run = hand_made()
    run.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as opened:
        curve = fp.forgetting_curve(opened)
    (tmp_path / "run.nc").unlink()
    xr.testing.assert_identical(curve.drop_attrs(), fp.forgetting_curve(run).drop_attrs())

"""Figures hold what they are given: lines, bands, floors, bounds; labels with units; nothing on top of data."""

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

import fpsolve as fp
from fpsolve import plots

T, T_MIN = 1.0, 0.01
LABELS = ["exact", "prior", "far"]


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def made_curve(times: int = 9) -> xr.Dataset:
    """A curve of two starts that decays by known factors, and the reference's zeros."""
    t = np.linspace(T, T_MIN, times)
    decay = np.exp(-3.0 * (T - t))
    distance = np.stack([0.0 * decay, 1e-4 * decay**2, 10.0 * decay])
    return xr.Dataset(
        {"distance": (("start", "t"), distance), "error": (("start", "t"), 0.05 * distance)},
        coords={"start": LABELS, "t": t, "reverse_time": ("t", T - t)},
        attrs={"weight": '{"kind": "polynomial", "power": 2.0, "beta": 1.0}', "reference": "exact"},
    )


def made_check(start: str = "far", *, referred: bool = True) -> xr.Dataset:
    t = np.linspace(T, T_MIN, 4)
    seen = np.array([9.0, 1.0, 0.2, 0.15])
    names = ("reference_distance", "reference_expected", "reference_spread")
    values = dict(zip(names, (seen, 0.99 * seen, 0.02 * seen), strict=True)) if referred else {}
    floor = np.full(4, 0.1)
    values |= {"histogram_distance": 1.1 * floor, "floor": floor, "floor_exact": floor, "floor_spread": 0.1 * floor}
    data = {name: ("t", value) for name, value in values.items()}
    return xr.Dataset(data, coords={"t": t, "reverse_time": ("t", T - t)}, attrs={"n": 20_000, "start": start})


def made_run(dim: int, *, scaled: bool = False, cells: int = 40) -> xr.Dataset:
    """Gaussians that widen and move: cell averages over 5 times, in a fixed or a moving frame."""
    t = np.linspace(T, T_MIN, 5)
    grid = fp.Grid.uniform((-8.0, 8.0) if dim == 1 else [(-8.0, 8.0), (-8.0, 8.0)], cells=cells)
    centre = [2.0, 0.5] if dim == 2 else 2.0
    values = np.stack([grid.cell_average(fp.Gaussian(centre, std=1.5 - s)) for s in t])
    if not scaled:
        names = ("x", "y")[:dim]
        coords: dict[str, Any] = dict(zip(names, grid.axes, strict=True))
    else:
        names = ("z",) if dim == 1 else ("z_x", "z_y")
        coords = dict(zip(names, grid.axes, strict=True))
        for axis, name in zip(("x", "y"), names, strict=False):
            coords[axis] = (("t", name), (1.0 + t)[:, None] * coords[name])
        values = values / (1.0 + t).reshape(-1, *(1,) * dim) ** dim
    coords |= {"start": ["far"], "t": t, "reverse_time": ("t", T - t)}
    return xr.Dataset({"density": (("start", "t", *names), values[None])}, coords=coords)


def texts(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def lines(ax: Axes) -> dict[str, Any]:
    return {str(line.get_label()): line for line in ax.get_lines()}


def outside(ax: Axes) -> bool:
    """Whether the legend is off the axes."""
    figure = ax.figure
    figure.draw_without_rendering()
    legend = ax.get_legend()
    assert legend is not None
    return not ax.get_window_extent().overlaps(legend.get_window_extent())


def test_forgetting_draws_every_start_but_the_reference_on_a_log_scale() -> None:
    curve = made_curve()
    ax = plots.forgetting(curve)
    assert ax.get_yscale() == "log" and set(lines(ax)) == {"prior", "far"}
    np.testing.assert_array_equal(lines(ax)["far"].get_ydata(), curve["distance"].sel(start="far"))
    np.testing.assert_array_equal(lines(ax)["far"].get_xdata(), curve["reverse_time"])
    # the error bands contain distance +- error
    band = ax.collections[-1].get_datalim(ax.transData)
    assert band.y1 == pytest.approx(10.5) and len(ax.collections) == 2
    low, high = ax.get_ylim()
    assert low < 1e-4 * np.exp(-6.0 * 0.99) and high > 10.0


def test_labels_carry_units_and_the_weight() -> None:
    ax = plots.forgetting(made_curve())
    assert ax.get_xlabel() == plots.REVERSE_TIME
    assert ax.get_ylabel() == "weighted total variation, $V = 1 + |x|^{2}$"
    other = made_curve().assign_attrs(weight='{"kind": "exponential", "rate": 0.5}')
    assert plots.forgetting(other).get_ylabel().endswith("$V = e^{0.5|x|}$")
    mine = made_curve().assign_attrs(weight='{"kind": "callable", "name": "cosh"}')
    assert plots.forgetting(mine).get_ylabel().endswith("$V$")


def test_particles_come_with_band_and_floor() -> None:
    ax = plots.forgetting(made_curve(), check=made_check())
    drawn = [line for line in ax.get_lines() if len(line.get_xdata()) == 4]
    points = next(line for line in drawn if line.get_marker() == "x")
    floor = next(line for line in drawn if line.get_linestyle() == ":")
    np.testing.assert_array_equal(points.get_ydata(), made_check()["reference_distance"])
    np.testing.assert_array_equal(floor.get_ydata(), 0.1)
    # the band that the legend calls 2 sd
    check = made_check()
    ends = [check["reference_expected"] + k * check["reference_spread"] for k in (-2.0, 2.0)]
    bands = [set(np.round(c.get_paths()[0].vertices[:, 1], 12)) for c in ax.collections if c.get_paths()]
    assert any(set(np.round(np.concatenate(ends), 12)) <= band for band in bands)
    assert to_hex(points.get_color()) == plots.styles(LABELS)["far"].colour.lower()
    assert any("n = 2\\times 10^{4}" in text for text in texts(ax))
    assert "floor of their histogram" in texts(ax)


def test_a_check_without_reference_shows_the_distance_to_its_own_law() -> None:
    ax = plots.forgetting(made_curve(), check=made_check(referred=False))
    points = next(line for line in ax.get_lines() if line.get_marker() == "x")
    np.testing.assert_allclose(points.get_ydata(), 0.11)


def test_several_checks_share_their_entries_in_the_legend() -> None:
    ax = plots.forgetting(made_curve(), check=[made_check("prior"), made_check("far")])
    assert len([line for line in ax.get_lines() if line.get_marker() == "x"]) == 2
    assert len(texts(ax)) == len(set(texts(ax))) == 4


def test_every_bound_of_the_ladder_is_drawn_and_gaps_stay_gaps() -> None:
    t = made_curve()["t"].values
    values = np.stack([np.full(9, 30.0), np.where(t < 0.3, np.nan, 50.0)])
    ladder = xr.Dataset({"value": (("bound", "t"), values)}, coords={"bound": ["Dobrushin", "Harris"], "t": t})
    ladder["blocks"] = ("t", np.arange(9.0))
    ax = plots.forgetting(made_curve(), ladder=ladder)
    assert {"bound: Dobrushin", "bound: Harris"} <= set(texts(ax))
    np.testing.assert_array_equal(lines(ax)["bound: Harris"].get_ydata(), values[1])
    np.testing.assert_allclose(lines(ax)["bound: Harris"].get_xdata(), T - t)


def test_closed_form_values_are_open_circles_in_the_colour_of_their_start() -> None:
    curve = made_curve()
    ax = plots.forgetting(curve, closed_form=curve["distance"].isel(t=slice(0, None, 4)))
    circles = [line for line in ax.get_lines() if line.get_marker() == "o"]
    assert len(circles) == 3 and all(len(line.get_xdata()) == 3 for line in circles)
    assert to_hex(circles[2].get_markeredgecolor()) == plots.styles(LABELS)["far"].colour.lower()
    assert "closed form" in texts(ax)


def test_the_legend_never_covers_data() -> None:
    curve = made_curve()
    for where in ("right", "below"):
        assert outside(plots.forgetting(curve, check=made_check(), closed_form=curve["distance"], legend=where))
    _, axes = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
    assert outside(plots.forgetting(curve, ax=axes[0]))
    legend = axes[0].get_legend().get_window_extent()
    assert not legend.overlaps(axes[1].get_window_extent())


def test_descriptions_of_the_starts_go_into_the_legend() -> None:
    curve = made_curve().assign_coords(description=("start", ["$p_T$", "$N(0, 1)$", "$N(4, 0.25^2)$"]))
    assert texts(plots.forgetting(curve)) == ["prior: $N(0, 1)$", "far: $N(4, 0.25^2)$"]


def test_colours_are_distinct_also_for_the_colour_blind() -> None:
    """Okabe and Ito's palette as published; neighbours differ in lightness or hue for red-green blindness."""
    assert set(plots.PALETTE) <= {"#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#000000"}
    style = plots.styles(LABELS)
    assert len({one.colour for one in style.values()}) == 3
    assert len({str(one.dashes) for one in style.values()}) == 3
    assert len(plots.styles([str(k) for k in range(9)])) == 9


def test_what_is_not_a_curve_is_refused() -> None:
    with pytest.raises(ValueError, match=r"curve: expected a Dataset with distance\(start, t\)"):
        plots.forgetting(made_run(1))
    with pytest.raises(ValueError, match="a start with a positive distance"):
        plots.forgetting(made_curve().isel(start=[0]))


def test_a_heat_map_shows_reverse_time_and_x_with_units_and_a_colour_bar() -> None:
    run = made_run(1)
    run["x"].attrs.update(long_name="waiting time", units="standard deviations")
    ax = plots.density(run, start="far")
    assert ax.get_xlabel() == plots.REVERSE_TIME
    assert ax.get_ylabel() == "waiting time (standard deviations)"
    assert ax.get_xlim() == (0.0, T - T_MIN)
    assert len(ax.figure.axes) == 2 and "per unit of x" in ax.figure.axes[1].get_ylabel()
    values = ax.collections[0].get_array()
    assert values is not None and values.max() == pytest.approx(float(run["density"].max()))
    # the picture ends where nothing is to be seen, and holds all the rest
    low, high = ax.get_ylim()
    assert -8.0 < low < 2.0 - 2.0 * 1.49 and 2.0 + 2.0 * 1.49 < high < 8.0


@pytest.mark.parametrize(("height", "extend"), [(1.0, "max"), (0.1, "neither")])
def test_a_start_higher_than_the_scale_is_told_by_an_arrow(height: float, extend: str) -> None:
    run = made_run(1)
    run["density"] = run["density"] * xr.where(run["t"] > 0.6, height, 1.0)
    ax = plots.density(run)
    assert ax.collections[0].norm.vmax == pytest.approx(float(run["density"][:, 2:].max()))
    assert ax.collections[0].colorbar.extend == extend


def test_a_moving_frame_is_drawn_at_its_positions() -> None:
    run = made_run(1, scaled=True)
    corners = np.asarray(plots.density(run).collections[0].get_coordinates())
    np.testing.assert_allclose(corners[..., 1], run["x"].values)
    np.testing.assert_allclose(corners[..., 0], np.broadcast_to(run["reverse_time"].values[:, None], (5, 40)))


@pytest.mark.parametrize("scaled", [False, True])
def test_two_dimensions_give_panels_on_one_scale(scaled: bool) -> None:
    run = made_run(2, scaled=scaled)
    axes = plots.density(run, start="far")
    assert len(axes) == 4 and len(axes[0].figure.axes) == 5
    assert axes[0].figure.axes[-1].get_ylabel() == "density (per unit of area)"
    assert axes[0].get_title() == "$t = 1$, $r = 0$" and axes[-1].get_title() == "$t = 0.01$, $r = 0.99$"
    later = max(float(np.max(ax.collections[0].get_array())) for ax in axes[2:])
    assert later < float(run["density"].max())
    np.testing.assert_allclose([ax.collections[0].norm.vmax for ax in axes], later)
    assert len({ax.get_xlim() for ax in axes}) == 1
    # x to the right and y upwards: the highest point of the last panel is at (2, 0.5)
    mesh = axes[-1].collections[0]
    highest = np.unravel_index(np.argmax(mesh.get_array()), (40, 40))
    place = np.asarray(mesh.get_coordinates())[highest]
    np.testing.assert_allclose(place, [2.0, 0.5], atol=0.5)


def test_panels_at_chosen_times_in_given_axes() -> None:
    _, given = plt.subplots(1, 2)
    axes = plots.density(made_run(2), times=[0.7, 0.01], ax=given)
    assert list(axes) == list(given)
    assert axes[0].get_title() == "$t = 0.752$, $r = 0.248$"
    with pytest.raises(ValueError, match="ax: expected 3 axes, one per panel, got 2"):
        plots.density(made_run(2), times=[1.0, 0.5, 0.1], ax=given)


def test_panels_stand_where_the_density_has_changed_equally() -> None:
    """Mixtures ``(1 - a) p + a q`` are ``|a - b| TV(p, q)`` apart: the panels have the a next to 0, 1/3, 2/3 and 1."""
    run, shares = made_run(2), np.array([0.0, 0.01, 0.02, 0.03, 0.3, 0.64, 0.97, 0.98, 1.0])
    ends = run["density"].values[0, [0, -1]]
    values = (1.0 - shares)[:, None, None] * ends[0] + shares[:, None, None] * ends[1]
    t = np.linspace(1.0, 0.2, 9)
    coords = {"start": ["far"], "t": t, "reverse_time": ("t", 1.0 - t), "x": run["x"], "y": run["y"]}
    mixed = xr.Dataset({"density": (("start", "t", "x", "y"), values[None])}, coords=coords)
    titles = [ax.get_title() for ax in plots.density(mixed)]
    assert titles == ["$t = 1$, $r = 0$", "$t = 0.6$, $r = 0.4$", "$t = 0.5$, $r = 0.5$", "$t = 0.2$, $r = 0.8$"]
    still = mixed.assign(density=mixed["density"].isel(t=0).broadcast_like(mixed["density"]))
    assert [ax.get_title()[5:9] for ax in plots.density(still)] == ["1$, ", "0.7$", "0.5$", "0.2$"]


def test_a_law_whose_scale_changes_has_panels_with_axes_and_colours_of_their_own() -> None:
    run, scale = made_run(2, scaled=True), np.geomspace(60.0, 1.0, 5)
    stretch = xr.DataArray(scale, dims="t") / (1.0 + run["t"])
    run = run.assign(density=run["density"] / stretch**2).assign_coords(x=run["x"] * stretch, y=run["y"] * stretch)
    axes = plots.density(run)
    assert len(axes[0].figure.axes) == 8
    for ax, k, std in ((axes[0], 0, 0.5), (axes[-1], -1, 1.49)):
        mesh = ax.collections[0]
        assert mesh.norm.vmax == pytest.approx(float(run["density"][0, k].max()))
        # down to a thousandth of the maximum, but for a cell of 0.4 at each end
        assert np.ptp(ax.get_xlim()) / scale[k] == pytest.approx(2.0 * np.sqrt(2.0 * np.log(1e3)) * std, abs=0.8)


def test_density_refuses_unknown_starts_and_times_in_1d() -> None:
    with pytest.raises(ValueError, match="start: expected one of 'far', got 'near'"):
        plots.density(made_run(1), start="near")
    with pytest.raises(ValueError, match="times: expected no times in 1D"):
        plots.density(made_run(1), times=[0.5])
    two = xr.concat([made_run(1), made_run(1).assign_coords(start=["near"])], dim="start")
    with pytest.raises(ValueError, match="start: expected the label of one start, got None; choose among far, near"):
        plots.density(two)


@pytest.mark.parametrize("dim", [1, 2])
def test_figures_are_saved_as_png_and_pdf(dim: int, tmp_path: Any) -> None:
    ax = np.ravel(plots.density(made_run(dim)))[0]
    for ending in ("png", "pdf"):
        ax.figure.savefig(tmp_path / f"figure.{ending}")
        assert (tmp_path / f"figure.{ending}").stat().st_size > 5_000


def test_phase_portrait_shows_every_kind_and_basin() -> None:
    score = fp.scores.product_form(
        fp.GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], stds=0.1), fp.EDM(0.1, 3.0), levels=[0.1, 0.5, 3.0]
    )
    points = fp.flows.stationary_points(score, [(-2.0, 2.0), (-1.0, 1.0)])
    basins = fp.flows.basins(score, points, cells=6)
    ax = plots.phase_portrait(score, points, basins=basins, data=[[-1.0, 0.0], [1.0, 0.0]])
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["data", "attracting", "saddle"]
    mesh = ax.collections[0].get_array()
    np.testing.assert_array_equal(np.unique(np.asarray(mesh)), [0.0, 1.0])
    assert ax.get_xlim() == (-2.0, 2.0)
    with pytest.raises(ValueError, match="points: expected stationary points in 2D, got 1D"):
        plots.phase_portrait(np.negative, fp.flows.stationary_points(np.negative, (-1.0, 1.0)))


def test_orbits_are_drawn_over_time_and_in_the_plane() -> None:
    points = fp.flows.stationary_points(np.negative, (-1.0, 1.0))
    found = fp.flows.orbits(np.negative, [1.0, -0.5], duration=2.0, count=5)
    ax = plots.orbits(found, points=points, label="linear")
    np.testing.assert_allclose(ax.lines[1].get_ydata(), -0.5 * np.exp(-found.r.values), rtol=1e-7)
    assert len(ax.lines) == 3 and ax.get_legend_handles_labels()[1] == ["linear"]
    plane = plots.orbits(fp.flows.orbits(np.negative, [[1.0, 2.0]], duration=1.0, count=3))
    assert plane.get_xlabel() == "$x$" and len(plane.lines[0].get_xdata()) == 3
    with pytest.raises(ValueError, match="found: expected a Dataset with position"):
        plots.orbits(found.drop_vars("position"))


@pytest.fixture(scope="module")
def edm_run() -> xr.Dataset:
    reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.EDM())
    starts = {"exact": reverse.marginal(80.0), "prior": fp.EDM().prior()}
    return fp.evolve(reverse, starts, t_min=0.01, tol=10.0)


def test_time_zero_stands_at_the_end_of_a_log_scale_where_times_crowd() -> None:
    """Blocks of EDM end at t = 0: on an axis of r all but the first lie in its last fortieth."""
    _, ax = plt.subplots()
    fp.plots.time_axis(ax, [80.0, 2.0, 0.25, 0.0])
    ax.plot(80.0 - np.array([80.0, 2.0, 0.25, 0.0]), np.ones(4))
    places = ax.transData.transform(np.c_[80.0 - np.array([80.0, 2.0, 0.25, 0.0]), np.ones(4)])[:, 0]
    gaps = np.diff(places)
    assert gaps / gaps.sum() == pytest.approx(np.log([40.0, 8.0, 3.0]) / np.log(960.0), abs=1e-9)
    ticks = [ax.xaxis.get_major_formatter()(place, 0) for place in ax.get_xticks()]
    assert ticks[-1] == "0" and "1" in ticks
    assert ax.get_xlabel() == "time $t$ (log scale)"


def test_where_times_crowd_forward_time_is_drawn_on_a_log_scale(edm_run: xr.Dataset) -> None:
    curve = fp.forgetting_curve(edm_run, reference="exact")
    ax = plots.forgetting(curve)
    assert ax.get_xlabel() == "time $t$ (log scale)"
    # ends of the axes are the times, and a decade is as long as another
    places = ax.transData.transform([(80.0 - s, 1.0) for s in (10.0, 1.0, 0.1)])[:, 0]
    np.testing.assert_allclose(np.diff(places)[0], np.diff(places)[1], rtol=1e-6)
    assert [ax.xaxis.get_major_formatter()(r, 0) for r in ax.get_xticks()] == ["0.01", "0.1", "1", "10"]
    assert plots.forgetting(curve, axis="r").get_xlabel() == "reverse time $r = T - t$"
    with pytest.raises(ValueError, match="axis: expected one of 'auto', 'r', 't', 'clock', 'log-snr', got 'x'"):
        plots.forgetting(curve, axis="x")  # type: ignore[arg-type]


def test_a_heat_map_of_a_law_whose_scale_changes_is_in_its_own_units(edm_run: xr.Dataset) -> None:
    ax = plots.density(edm_run, start="exact")
    assert ax.get_ylabel() == "$z = (x - m(t))/S(t)$"
    drawn = ax.collections[0].get_array().reshape(edm_run.sizes["t"], -1)
    # the law is Gaussian at every time: in its own units always the same one
    normal = np.exp(-0.5 * edm_run.z.values**2) / np.sqrt(2.0 * np.pi)
    np.testing.assert_allclose(drawn, np.broadcast_to(normal, drawn.shape), atol=0.01)


@pytest.mark.parametrize("process", [fp.VP(), fp.EDM(), fp.OrnsteinUhlenbeck(T=3.0), fp.SubVP(), fp.CosineVP()])
def test_clock_and_signal_to_noise_are_those_of_the_process(process: fp.Process) -> None:
    """Where a time stands on the axis, and what its tick says, against the formulas at the times themselves."""
    times = np.geomspace(process.T, 0.01 * process.T, 12)
    coords = {"start": ["prior"], "t": times, "reverse_time": ("t", process.T - times)}
    distance = (("start", "t"), np.geomspace(1.0, 0.1, 12)[None])
    curve = xr.Dataset({"distance": distance}, coords=coords, attrs={"process": repr(process)})

    def levels(t: Any) -> dict[str, Any]:
        ratio = process.variance(0.0, t) / process.scale(0.0, t) ** 2
        return {"clock": 0.5 * np.log1p(ratio), "log-snr": -np.log(ratio)}

    for axis, level in levels(times).items():
        ax = plots.forgetting(curve, axis=axis)
        at = ax.transData.transform(np.stack([process.T - times, np.ones(12)], axis=1))[:, 0]
        share = (at - at[0]) / (at[-1] - at[0])
        np.testing.assert_allclose(share, (level - level[0]) / (level[-1] - level[0]), atol=2e-3)
        ticks = np.asarray(ax.xaxis.get_majorticklocs())
        shown = [float(ax.xaxis.get_major_formatter()(tick, 0)) for tick in ticks]
        assert len(shown) >= 3
        np.testing.assert_allclose(levels(process.T - ticks)[axis], shown, atol=0.02 * np.ptp(level))
        assert ("clock" in ax.get_xlabel()) == (axis == "clock")
    with pytest.raises(ValueError, match="does not name its process in full"):
        plots.forgetting(curve.assign_attrs(process="Mine(3)"), axis="clock")
    with pytest.raises(ValueError, match="log scale has no place"):
        plots.forgetting(
            curve.assign_coords(t=curve.t - curve.t[-1], reverse_time=curve.t[0] - curve.t), axis="log-snr"
        )

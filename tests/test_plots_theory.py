"""Figures of bounds: every number is where it belongs, gaps stay gaps, legends are off the data."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import fpsolve as fp
from fpsolve import bounds, decomposition, kernels, plots

BOUNDS = ["sharp Dobrushin", "product of sharp Dobrushin", "Harris", "Harris, closed form", "Poincare"]


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def made_ladder(starts=("nu",)) -> xr.Dataset:
    """Three blocks; no closed form at all, and no Harris certificate for the last block."""
    t, block = np.array([1.0, 0.6, 0.3, 0.1]), 3
    measured = np.array([2.0, 0.5, 0.2, 0.1])
    rows = np.outer([1.2, 1.5, 3.0, 1.0, 2.0], measured)
    rows[3], rows[2, -1] = np.nan, np.nan
    factor = np.linspace(0.2, 1.1, 5 * block).reshape(5, block)
    factor[2, -1] = np.nan
    variables = dict.fromkeys(starts, (("bound", "t"), rows))
    variables |= {
        "measured": (("start", "t"), np.tile(measured, (len(starts), 1))),
        "measured_error": (("start", "t"), np.full((len(starts), 4), 1e-3)),
        "factor": (("bound", "block"), factor),
    }
    coords = {"bound": BOUNDS, "t": t, "reverse_time": ("t", 1.0 - t), "start": list(starts)}
    return xr.Dataset(variables, coords, {"norm": '{"kind": "polynomial", "power": 2.0, "beta": 0.1}'})


def lines(ax):
    return {str(line.get_label()): line for line in ax.get_lines() if not str(line.get_label()).startswith("_")}


def outside(ax):
    ax.figure.draw_without_rendering()
    return not ax.get_window_extent().overlaps(ax.get_legend().get_window_extent())


def test_a_ladder_shows_the_measurement_and_every_bound():
    found = made_ladder()
    ax = plots.ladder(found)
    assert ax.get_yscale() == "log" and ax.get_xlabel() == "reverse time $r = T - t$"
    assert ax.get_ylabel().endswith("$V = 1 + 0.1\\,|x|^{2}$")
    drawn = lines(ax)
    for bound in BOUNDS:
        np.testing.assert_array_equal(drawn[bound].get_ydata(), found["nu"].sel(bound=bound))
        np.testing.assert_array_equal(drawn[bound].get_xdata(), found["reverse_time"])
    assert len({(line.get_color(), line.get_marker()) for line in drawn.values()}) == len(drawn)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert set(texts) == {*BOUNDS, "measured"} and outside(ax)


def test_a_ladder_with_a_curve_draws_it_through_the_points():
    found = made_ladder()
    t = np.linspace(1.0, 0.1, 20)
    curve = xr.Dataset(
        {"distance": (("start", "t"), np.exp(-t)[None])},
        coords={"start": ["nu"], "t": t, "reverse_time": ("t", 1.0 - t)},
    )
    ax = plots.ladder(found, curve=curve, legend="below")
    longest = max(ax.get_lines(), key=lambda line: len(line.get_xdata()))
    np.testing.assert_array_equal(longest.get_ydata(), np.exp(-t))
    assert outside(ax)


def test_ratios_are_bound_over_measured_after_the_start():
    found = made_ladder()
    ax = plots.ratio(found, legend="none")
    for bound, times in zip(BOUNDS, (1.2, 1.5, 3.0, np.nan, 2.0), strict=True):
        values = lines(ax)[bound].get_ydata()
        assert len(values) == 3
        np.testing.assert_allclose(values[np.isfinite(values)], times)
    assert ax.get_legend() is None
    assert any(list(line.get_ydata()) == [1.0, 1.0] for line in ax.get_lines())


def test_factors_are_bars_as_long_as_their_block():
    found = made_ladder()
    ax = plots.factors(found)
    assert len(ax.collections) == 3, "all but the product and what is in another norm"
    harris = ax.collections[1].get_segments()
    np.testing.assert_allclose(harris[0], [[0.0, found["factor"][2, 0]], [0.4, found["factor"][2, 0]]])
    assert len(harris[2]) == 0, "no certificate, no bar"


def test_lines_say_what_a_bound_is_and_slots_without_one_are_hatched():
    words = ["proved", "certified", "certified", "no certificate", "estimated"]
    found = made_ladder().assign_coords(status=("bound", words))
    for draw in (plots.ladder, plots.ratio):
        drawn = [lines(draw(found))[bound].get_linestyle() for bound in BOUNDS]
        assert [drawn[k] for k in (0, 1, 2, 4)] == ["-", "--", "--", ":"]
    for draw in (plots.ladder, plots.factors):
        ax = draw(made_ladder())
        hatched = [(patch.get_gid(), patch.get_x()) for patch in ax.patches if patch.get_hatch()]
        last = [x for gid, x in hatched if gid == f"no certificate: {BOUNDS[2]}"]
        np.testing.assert_allclose(last, [0.7])
        closed = [x for gid, x in hatched if gid == f"no certificate: {BOUNDS[3]}"]
        assert len(closed) == (3 if draw is plots.ladder else 0)


def test_ratios_and_forgetting_curves_hatch_what_has_no_number_too():
    words = ["proved", "certified", "certified", "no certificate", "estimated"]
    found = made_ladder().assign_coords(status=("bound", words))
    curve = xr.Dataset({"distance": found["measured"], "error": found["measured_error"]}, attrs={"status": "estimated"})
    for draw in (plots.ratio, lambda data: plots.forgetting(curve, ladder=data)):
        ax = draw(found)
        hatched = [(patch.get_gid(), patch.get_x()) for patch in ax.patches if patch.get_hatch()]
        assert [x for gid, x in hatched if gid == f"no certificate: {BOUNDS[2]}"] == pytest.approx([0.7])
        assert len([x for gid, x in hatched if gid == f"no certificate: {BOUNDS[3]}"]) == 3
        assert "dashed: certified" in ax.get_legend().get_title().get_text()
    drawn = lines(ax)
    looks = [drawn[f"bound: {bound}"].get_linestyle() for bound in BOUNDS]
    assert [looks[k] for k in (0, 1, 2, 4)] == ["-", "--", "--", ":"]
    assert drawn["nu"].is_dashed()


def test_proved_curves_are_solid_and_hatched_where_the_interval_has_no_upper_end():
    t = np.array([1.0, 0.6, 0.3, 0.1])
    low = np.array([[1.0, 0.5, 0.2, 0.1], [0.3, 0.2, 0.1, 0.05]])
    high = low * 1.001
    high[0, 2] = np.inf
    columns = {"lower": (("start", "t"), low), "upper": (("start", "t"), high)}
    proved = xr.Dataset(columns, {"start": ["a", "b"], "t": t}, {"status": "proved"})
    ax = plots.forgetting(proved)
    drawn = lines(ax)
    assert [drawn[name].get_linestyle() for name in "ab"] == ["-", "-"]
    np.testing.assert_allclose(drawn["b"].get_ydata(), low[1], rtol=1e-3)
    assert np.isnan(drawn["a"].get_ydata()[2])
    hatched = [patch.get_x() for patch in ax.patches if patch.get_hatch()]
    np.testing.assert_allclose(hatched, [0.4, 0.7])
    # with what was measured: dotted, in the same colour
    both = proved.assign(distance=proved["lower"], error=0.1 * proved["lower"])
    ax = plots.forgetting(both)
    looks = [(line.get_color(), line.get_linestyle()) for line in ax.get_lines()]
    assert looks.count((plots.styles("ab")["a"].colour, "-")) == 1 and len(looks) == 4


def test_one_of_several_starts_must_be_named():
    two = made_ladder(("near", "far"))
    assert plots.ladder(two, start="far").get_yscale() == "log"
    for draw in (plots.ladder, plots.ratio):
        with pytest.raises(ValueError, match="start: expected the label of one start, got None"):
            draw(two)
        with pytest.raises(ValueError, match="start: expected one of"):
            draw(two, start="other")
    with pytest.raises(ValueError, match="legend: expected one of"):
        plots.ladder(two, start="far", legend="above")


@pytest.mark.parametrize("legend", ["right", "below"])
def test_localization_shows_what_the_record_holds_and_ends_with_the_box(legend):
    reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=3.0))
    kernel = kernels.exact(reverse, fp.Grid.uniform((-9, 9), cells=90), 3.0, 0.1, source="point")
    weight = fp.PolynomialWeight(2, 0.1)
    found = bounds.localization(kernel, weight=weight, levels=np.geomspace(0.1, 20.0, 30))
    ax = plots.localization(found, legend=legend)
    within = found.levels <= found.held
    assert not within.all()
    drawn = lines(ax)
    np.testing.assert_array_equal(drawn[r"contraction $\bar a$ with $a''$"].get_ydata(), found.abar[within])
    np.testing.assert_array_equal(drawn["overlap of the set $a$"].get_ydata(), found.commons[within])
    dot = next(line for label, line in drawn.items() if label.startswith("best"))
    assert dot.get_xdata()[0] == found.level and dot.get_ydata()[0] == found.value
    assert outside(ax)


@pytest.fixture(scope="module")
def errors():
    """A sampler with errors of all three sources."""
    reverse = fp.Reverse(fp.Gaussian(1.0, std=0.5), fp.OrnsteinUhlenbeck(T=3.0))
    return decomposition.errors(
        reverse, "euler-maruyama", start=fp.Gaussian(0.0, std=1.0), steps=8, t_min=0.05,
        grid=fp.Grid.uniform((-6, 6), cells=100), blocks=2, score=lambda t, x: reverse.score(t, x) + 0.05,
        progress=False,
    )  # fmt: skip


def test_contributions_stack_what_is_left_of_every_step(errors):
    ax = plots.contributions(errors)
    assert len(ax.patches) == 3 * 8 and outside(ax)
    tops = np.array([bar.get_y() + bar.get_height() for bar in ax.patches]).reshape(3, 8)
    np.testing.assert_allclose(tops, np.cumsum(errors["propagated"], axis=0))
    np.testing.assert_array_equal(lines(ax)["score: local"].get_ydata(), errors["local"].sel(source="score"))
    assert lines(ax)["initialization: local"].get_ydata()[0] == errors["local"][0, 0]
    assert ax.get_ylabel().endswith("$V = 1 + |x|^{2}$")


def test_a_source_without_errors_is_left_out(errors):
    none = errors.assign(local=errors["local"].where(errors["source"] != "score", 0.0))
    ax = plots.contributions(none)
    assert len(ax.patches) == 2 * 8 and not any("score" in label for label in lines(ax))


def test_discounts_stand_at_the_ends_of_their_steps_under_the_contraction(errors):
    ax = plots.discounts(errors, legend="below")
    drawn = lines(ax)
    np.testing.assert_array_equal(drawn["discretization"].get_xdata(), errors["reverse_time"][1:])
    np.testing.assert_array_equal(drawn["discretization"].get_ydata(), errors["discount"].sel(source="discretization"))
    bound = drawn["a-priori contraction"].get_ydata()
    assert np.all(drawn["score"].get_ydata() <= bound[1:] * (1 + 1e-9)) and outside(ax)


def test_errors_alive_are_stacked_over_reverse_time(errors):
    ax = plots.alive(errors)
    np.testing.assert_array_equal(lines(ax)["measured total"].get_ydata(), errors["total"])
    top = ax.collections[-1].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(float(errors["alive"].sum("source").max())) and outside(ax)


@pytest.mark.parametrize(
    ("constant", "called"),
    [("closed form", "Poincare"), ("spectral gap of a grid", "Poincare (estimated constant)")],
)
def test_an_estimated_constant_is_called_one_in_the_legend(constant, called):
    found = made_ladder().assign_attrs(poincare_constant=constant)
    for draw in (plots.ladder, plots.ratio):
        labels = [str(line.get_label()) for line in draw(found).lines]
        assert called in labels and sum("Poincare" in label for label in labels) == 1
        steps = [line.get_drawstyle() for line in draw(found).lines if line.get_label() in BOUNDS]
        assert steps and set(steps) == {"steps-post"}
    assert not any("Poincare" in str(line.get_label()) for line in plots.factors(found).lines), "another norm"


def test_a_ladder_says_where_its_constant_comes_from():
    modes = fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[0.4, 0.4])
    for target, constant in ((fp.Gaussian(0.5, std=0.5), "closed form"), (modes, "spectral gap of a grid")):
        found = bounds.ladder(fp.Reverse(target, fp.VP()), grid=fp.Grid.uniform((-9, 9), cells=60), blocks=1)
        assert found.attrs["poincare_constant"] == constant

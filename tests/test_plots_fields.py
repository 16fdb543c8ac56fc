"""Films, fields, flows on a line, particles, convergence, divergences, ladders whole: what is drawn are the numbers."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from PIL import Image
from test_plots import close_figures as close_figures

import fpsolve as fp
from fpsolve import plots

MEAN, STD = 0.5, 0.7


@pytest.fixture(scope="module")
def ou() -> tuple[fp.Reverse, xr.Dataset]:
    """A Gaussian under OU: drift and score are lines, and all laws are normal."""
    reverse = fp.Reverse(fp.Gaussian(MEAN, std=STD), fp.OrnsteinUhlenbeck(T=2.0))
    starts = {"exact": reverse.marginal(2.0), "far": fp.Gaussian(2.0, std=0.8)}
    return reverse, fp.evolve(reverse, starts, t_min=0.1, tol=1e-3, progress=False)


def normal(t: float) -> tuple[float, float]:
    """Mean and variance of p_t: dX = -X dt + sqrt(2) dW."""
    return MEAN * np.exp(-t), STD**2 * np.exp(-2.0 * t) + 1.0 - np.exp(-2.0 * t)


def test_the_film_shows_every_start_in_its_colour_at_its_time(ou, tmp_path) -> None:
    _, run = ou
    film = plots.animation(run, frames=3)
    ax = plt.gcf().axes[0]
    film.save(tmp_path / "run.gif", writer="pillow")
    with Image.open(tmp_path / "run.gif") as image:
        assert image.n_frames == 3
    page = film.to_jshtml()
    assert page.count("data:image/png") >= 3 and 'src="http' not in page
    last = {str(line.get_label()): line for line in ax.get_lines()}
    assert {name: line.get_color() for name, line in last.items()} == {
        name: style.colour for name, style in plots.styles(["exact", "far"]).items()
    }
    mean, variance = normal(0.1)
    x, q = last["exact"].get_data()
    truth = np.exp(-0.5 * (x - mean) ** 2 / variance) / np.sqrt(2.0 * np.pi * variance)
    assert np.abs(q - truth).max() < 5e-3 and "t = 0.1" in ax.get_title()


def test_drift_score_level_set_and_sign_are_those_of_the_closed_form(ou) -> None:
    reverse, run = ou
    drift, score = plots.drift_and_score(run, reverse, level=3.0)
    x, times = run["x"].values, run["t"].values
    for ax, want in ((drift, lambda t, s: x + 2.0 * s), (score, lambda t, s: s)):
        drawn = ax.collections[0].get_array().reshape(len(times), len(x))
        for k in (0, len(times) // 2, len(times) - 1):
            mean, variance = normal(times[k])
            assert np.abs(drawn[k] - want(times[k], -(x - mean) / variance)).max() < 1e-9 * np.abs(drawn[k]).max()
    level = np.concatenate([path.vertices for path in drift.collections[-1].get_paths()])
    assert np.abs(np.abs(level[:, 1]) - np.sqrt(2.0)).max() < 1e-2
    # L V = 2 x b + 2: its sign at the upper end of what is hatched
    dots = np.concatenate([path.vertices for path in drift.collections[1].get_paths()])
    t = 2.0 - dots[:, 0]
    generator = 2.0 * dots[:, 1] * (dots[:, 1] - 2.0 * (dots[:, 1] - MEAN * np.exp(-t)) / normal(t)[1]) + 2.0
    assert abs(generator.max()) < 0.1 and generator.min() < -5.0
    # the level that is not asked for: twice the mean of V at the end
    default = plots.drift_and_score(run, reverse)[0]
    level = np.concatenate([path.vertices for path in default.collections[-1].get_paths()])
    end = run["density"].values[0, -1]
    twice = 2.0 * np.sum(end * (1.0 + x**2)) / np.sum(end)
    assert np.abs(np.abs(level[:, 1]) - np.sqrt(twice - 1.0)).max() < 1e-2
    with pytest.raises(ValueError, match="run: expected a run in 1D of reverse dynamics"):
        plots.drift_and_score(run, fp.Dynamics(lambda t, x: -x, 1.0))


def test_stream_lines_follow_the_drift_over_the_density(ou) -> None:
    reverse = fp.Reverse(fp.Gaussian([0.5, 0.0], std=0.5), fp.OrnsteinUhlenbeck(T=1.0))
    run = fp.evolve(reverse, fp.Gaussian([1.0, 0.0], std=0.5), t_min=0.2, tol=0.3, save_at=[1.0, 0.5, 0.2])
    ax = plots.streamlines(run, reverse, t=0.45)
    assert "t = 0.5" in ax.get_title()
    assert np.array_equal(ax.collections[0].get_array().ravel(), run["density"].sel(t=0.5).values[0].T.ravel())
    pieces = np.array(ax.collections[1].get_segments())
    pieces = pieces[(pieces[:, 0] != pieces[:, 1]).any(axis=1)]
    along, at = pieces[:, 1] - pieces[:, 0], pieces.mean(axis=1)
    drift = reverse.drift(0.5, at)
    cosine = (along * drift).sum(axis=1) / np.hypot(*along.T) / np.hypot(*drift.T)
    far = np.hypot(*drift.T) > 0.3
    assert np.mean(cosine[far] > 0.95) > 0.97
    with pytest.raises(ValueError, match="run: expected a run in 2D"):
        plots.streamlines(ou[1], reverse, start="far")


def test_the_phase_line_has_stable_points_filled_and_arrows_towards_them() -> None:
    ax = plots.phase_line(lambda x: x - x**3, fp.flows.stationary_points(lambda x: x - x**3, (-2.0, 2.0)))
    marks = {str(line.get_label()): line for line in ax.get_lines()}
    assert np.allclose(marks["attracting"].get_xdata(), [-1.0, 1.0])
    assert np.allclose(marks["repelling"].get_xdata(), [0.0])
    assert marks["attracting"].get_markerfacecolor() == "black" and marks["repelling"].get_markerfacecolor() == "white"
    curve = next(line for line in ax.get_lines() if len(line.get_xdata()) > 100)
    assert np.allclose(curve.get_ydata(), curve.get_xdata() - curve.get_xdata() ** 3)
    arrows = ax.collections[0]
    assert np.allclose(arrows.get_offsets()[:, 0], [-1.5, -0.5, 0.5, 1.5])
    assert arrows.U.tolist() == [
        1.0,
        -1.0,
        1.0,
        -1.0,
    ]


def test_particles_lie_in_the_band_of_a_right_grid_and_leave_that_of_a_wrong_one(ou) -> None:
    _, run = ou
    n = 4000
    t = run["t"].values[-1]
    mean, variance = normal(t)
    places = mean + np.sqrt(variance) * np.random.default_rng(0).normal(size=n)
    cloud = xr.Dataset({"position": (("t", "particle"), places[None])}, coords={"t": [t]})
    for start, inside in (("exact", True), ("far", False)):
        ax = plots.cumulative(run, cloud, start=start, level=1e-3)
        band = next(patch for patch in ax.patches)
        half = band.get_height() / 2.0
        estimate = float(run["error_estimate"].sel(start=start)[-1])
        low = np.sqrt(np.log(2e3) / (2.0 * n))
        assert low <= half <= low + estimate + float(run["tail"].sel(start=start)[-1])
        faces, gap = ax.get_lines()[-1].get_data()
        assert (np.abs(gap).max() <= half) == inside
        # by counting
        k = len(faces) // 2
        h = float(run["x"][1] - run["x"][0])
        below = float(run["density"].sel(start=start)[-1].values[:k].sum()) * h
        assert gap[k] == pytest.approx(np.mean(places <= faces[k]) - below, abs=1e-12)


def test_convergence_draws_errors_fitted_orders_and_triangles_of_those_slopes() -> None:
    n = np.array([10.0, 20.0, 40.0])
    error = xr.DataArray([3.0 / n, 5.0 / n**2], dims=("method", "cells"), coords={"method": ["a", "b"], "cells": n})
    ax = plots.convergence(error, over="cells", bar=0.1 * error)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a: order 1.00", "b: order 2.00"]
    assert np.allclose(ax.containers[1][0].get_ydata(), 5.0 / n**2)
    assert np.allclose(ax.containers[1][2][0].get_segments()[0][:, 1], 5.0 / 100.0 * np.array([0.9, 1.1]))
    slopes = []
    for patch in ax.patches:
        (left, top), _, (right, foot) = patch.get_xy()[:3]
        slopes.append(np.log(top / foot) / np.log(right / left))
    assert slopes == pytest.approx([1.0, 2.0])
    with pytest.raises(ValueError, match="error: expected a DataArray of positive errors over 'cells'"):
        plots.convergence(-error, over="cells")


def test_divergences_have_a_panel_each_and_the_values_of_normal_laws(ou) -> None:
    _, run = ou
    exact = run["density"].sel(start="exact")
    made = {"KL": fp.distances.kl(run["density"], exact), "W2": fp.distances.wasserstein(run["density"], exact, 2)}
    axes = plots.divergences(made)
    assert [ax.get_ylabel() for ax in axes] == ["KL", "W2"]
    mean, variance = normal(2.0)
    # at the start both are normal
    kl = 0.5 * (0.64 / variance - 1.0 - np.log(0.64 / variance) + (2.0 - mean) ** 2 / variance)
    w2 = np.hypot(2.0 - mean, 0.8 - np.sqrt(variance))
    for ax, truth, name in zip(axes, (kl, w2), made, strict=True):
        (line,) = (one for one in ax.get_lines() if len(one.get_xdata()) > 2)
        assert line.get_label() == "far" and line.get_color() == plots.styles(["exact", "far"])["far"].colour
        assert line.get_ydata()[0] == pytest.approx(truth, rel=2e-3) and line.get_xdata()[0] == 0.0
        band = ax.collections[0].get_paths()[0].vertices
        assert band[:, 1].max() >= float(made[name]["distance"].sel(start="far").max())


def test_the_ladder_whole_has_its_factors_in_the_table() -> None:
    reverse = fp.Reverse(fp.Gaussian(0.5, std=0.7), fp.OrnsteinUhlenbeck(T=2.0))
    made = fp.bounds.ladder(reverse, grid=fp.Grid.uniform((-9, 9), cells=60), blocks=2, t_min=0.1)
    axes = plots.overview(made)
    cells = {key: cell.get_text().get_text() for key, cell in axes[2].tables[0].get_celld().items()}
    column = next(k for k in range(2, 8) if cells[0, k] == "sharp Dobrushin")
    start = str(made["start"].values[0])
    factor, measured = made["factor"].sel(bound="sharp Dobrushin").values, made["measured"].sel(start=start).values
    assert [float(cells[k + 1, column]) for k in (0, 1)] == pytest.approx(factor.tolist(), rel=1e-3)
    assert float(cells[1, 1]) == pytest.approx(measured[1] / measured[0], rel=1e-3)
    assert float(cells[3, column]) == pytest.approx(
        float(made[start].sel(bound="sharp Dobrushin")[-1]) / measured[0], rel=1e-3
    )
    lacking = made.assign(factor=made["factor"].where(made["bound"] != "Harris"))
    again = plots.overview(lacking)[2].tables[0].get_celld()
    harris = next(k for k in range(2, 8) if cells[0, k] == "Harris")
    assert [again[k, harris].get_text().get_text() for k in (1, 2)] == ["none", "none"]
    assert axes[0].get_yscale() == "log" and axes[1].get_ylabel() == "bound / measured"


def test_the_legend_says_which_error_bands_are_thinner_than_their_line() -> None:
    t = np.linspace(1.0, 0.1, 9)
    distance = np.stack([np.exp(-3.0 * (1.0 - t)), np.exp(-(1.0 - t))])
    errors = np.stack([1e-6 * distance[0], 0.5 * distance[1]])
    curve = xr.Dataset(
        {"distance": (("start", "t"), distance), "error": (("start", "t"), errors)},
        coords={"start": ["sure", "vague"], "t": t, "reverse_time": ("t", 1.0 - t)},
    )
    for made, said in ((curve, "thinner than the line: sure"), (curve.assign(error=0.5 * curve["distance"]), "")):
        legend = plots.forgetting(made).get_legend()
        told = legend.get_title().get_text()
        assert told.endswith(said) and "vague" not in told and ("thinner" in told) == bool(said)
    stated = curve.assign_attrs(status="estimated")
    below = plots.forgetting(stated, legend="below").get_legend().get_title().get_text().splitlines()
    assert len(below) == 2 and below[1] == "error thinner than the line: sure"

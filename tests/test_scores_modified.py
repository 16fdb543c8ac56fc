"""Known errors, named modifications, tables and error curves of scores."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import fpsolve as fp
from fpsolve import data, scores
from fpsolve.scores import errors

TARGET = fp.GaussianMixture([0.3, 0.7], [-1.5, 0.8], stds=[0.3, 0.4])
PLANE = fp.KernelDensity(data.standardise(data.old_faithful()).samples)
EXACT = scores.exact(TARGET, fp.VP())
X = np.linspace(-3.0, 3.0, 13)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.Bias(0.2), 0.2 + 0.0 * X),
        (errors.Scaling(-0.3), -0.3 * EXACT(0.2, X)),
        (errors.Sine(0.5, wave=2.0, phase=0.1), 0.5 * np.sin(2.0 * X + 0.1)),
        (errors.Bump(0.4, at=1.0, width=0.2), 0.4 * np.exp(-0.5 * ((X - 1.0) / 0.2) ** 2)),
        (errors.InNoiseUnits(errors.Bias(0.1), fp.VP()), -0.1 / np.sqrt(fp.VP().variance(0.0, 0.2)) + 0.0 * X),
        (errors.During(errors.Bias(0.2), 0.1, 0.3), 0.2 + 0.0 * X),
        (errors.During(errors.Bias(0.2), 0.3, 0.5), 0.0 * X),
        (lambda t, x: t * x, 0.2 * X),
    ],
)
def test_errors_are_what_they_say(error: Any, expected: Any) -> None:
    score = scores.perturbed(EXACT, error)
    np.testing.assert_allclose(score(0.2, X) - EXACT(0.2, X), expected, atol=1e-13)


def test_errors_that_say_they_are_smooth_in_time_are_not_looked_at_by_runs() -> None:
    """What is not a score of its own times is asked as often as the steps need it, and the numbers are the same."""

    class Counted:
        def __init__(self, error: Any) -> None:
            self.error, self.calls = error, 0
            if hasattr(error, "breaks"):
                self.breaks = error.breaks

        def __call__(self, t: float, x: Any) -> Any:
            self.calls += 1
            return self.error(t, x)

    def run(error: Any) -> xr.Dataset:
        reverse = fp.Reverse(TARGET, fp.VP(), score=scores.perturbed(EXACT, error))
        grid = fp.Grid.uniform((-6.0, 6.0), cells=60)
        return fp.evolve(reverse, fp.Gaussian(0.0, std=1.0), grid=grid, steps=20, t_min=0.1, estimate=False)

    for known in (errors.Sine(0.1, wave=2.0), errors.InNoiseUnits(errors.Bias(0.1), fp.VP())):
        plain = Counted(lambda t, x, known=known: known(t, x))
        said = Counted(known)
        np.testing.assert_array_equal(run(said).density, run(plain).density)
        assert said.calls < 100 < plain.calls, known
    # what jumps says where, and a look finds the same
    during = errors.During(errors.Bias(0.1), 0.3, 0.7)
    told, looked = (
        fp.Reverse(TARGET, fp.VP(), score=scores.perturbed(EXACT, one)).hidden(0.1, 1.0, None).times
        for one in (during, lambda t, x: during(t, x))
    )
    assert told == (0.3, 0.7) and looked == pytest.approx(told, abs=1e-12)
    # of what is unknown, or changes quickly with its process, nothing is said
    assert not hasattr(scores.perturbed(lambda t, x: -x, errors.Bias(0.1)), "breaks")
    steep = fp.GaussianPath(scale=lambda t: 1.0 - 0.5 * t, std=lambda t: 0.4 + t + 0.3 * np.tanh((t - 0.5) / 1e-3))
    assert not hasattr(scores.exact(TARGET, steep), "breaks")


def test_errors_in_the_plane_have_directions() -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 2))
    wave = errors.Sine((0.0, 2.0), wave=(1.0, 0.0))(0.1, x)
    np.testing.assert_allclose(wave, np.stack([0.0 * x[..., 0], 2.0 * np.sin(x[..., 0])], axis=-1))
    bump = errors.Bump((1.0, -1.0), at=(0.5, 0.0), width=0.3)(0.1, x)
    profile = np.exp(-((x[..., 0] - 0.5) ** 2 + x[..., 1] ** 2) / (2 * 0.3**2))
    np.testing.assert_allclose(bump, np.stack([profile, -profile], axis=-1))
    assert errors.Bias((1.0, 2.0))(0.1, x).shape == x.shape


@pytest.mark.parametrize("dim", [1, 2])
def test_random_fields_have_the_covariance_they_say(dim: int) -> None:
    """Over 3000 seeds: mean 0, variance and correlation within five standard errors."""
    apart = np.array([0.0, 0.3, 0.6])
    points = apart if dim == 1 else np.stack([apart, 0.0 * apart], axis=-1)
    draws = np.stack([errors.RandomField(0.5, length=0.4, dim=dim, seed=k, waves=16)(0.1, points) for k in range(3000)])
    first = draws if dim == 1 else draws[..., 0]
    covariance = first.T @ first / len(first)
    expected = 0.25 * np.exp(-0.5 * ((apart[:, None] - apart) / 0.4) ** 2)
    # the variance of a product of two (nearly) Gaussian numbers is at most 2 sigma^4
    assert np.max(np.abs(covariance - expected)) <= 5.0 * np.sqrt(2.0) * 0.25 / np.sqrt(len(first))
    assert np.max(np.abs(first.mean(axis=0))) <= 5.0 * 0.5 / np.sqrt(len(first))
    if dim == 2:
        cross = np.mean(draws[:, 0, 0] * draws[:, 0, 1])
        assert abs(cross) <= 5.0 * 0.25 / np.sqrt(len(first))
    again = errors.RandomField(0.5, length=0.4, dim=dim, seed=7, waves=16)(0.9, points)
    np.testing.assert_array_equal(again, draws[7])


def test_clipped_limits_lengths_and_nothing_else() -> None:
    score = scores.clipped(EXACT, 2.0, dim=1)
    np.testing.assert_array_equal(score(0.2, X), np.clip(EXACT(0.2, X), -2.0, 2.0))
    plane = scores.exact(PLANE, fp.VP())
    x = 3.0 * np.random.default_rng(0).standard_normal((50, 2))
    value, limited = plane(0.1, x), scores.clipped(plane, 2.0, dim=2)(0.1, x)
    length = np.hypot(*value.T)
    assert np.any(length > 2.0) and np.any(length < 2.0)
    np.testing.assert_allclose(np.hypot(*limited.T), np.minimum(length, 2.0), rtol=1e-14)
    np.testing.assert_allclose(limited * np.maximum(length / 2.0, 1.0)[:, None], value, rtol=1e-14)


def test_smoothed_is_the_gaussian_average() -> None:
    """Of sines: ``E sin(k(x + std Z)) = e^{-k^2 std^2/2} sin kx``; in 2D of each component."""
    line = scores.smoothed(lambda t, x: np.sin(2.0 * x), 0.3, dim=1, nodes=15)
    np.testing.assert_allclose(line(0.1, X), np.exp(-0.5 * 0.36) * np.sin(2.0 * X), atol=1e-12)
    plane = scores.smoothed(lambda t, x: np.sin(x[..., :1] + 2.0 * x), 0.3, dim=2, nodes=15)
    x = np.random.default_rng(0).standard_normal((5, 2))
    sizes = np.exp(-0.5 * 0.09 * np.array([9.0, 5.0]))
    np.testing.assert_allclose(plane(0.1, x), sizes * np.sin(x[:, :1] + 2.0 * x), atol=1e-10)


def test_what_was_done_to_a_score_is_in_its_repr_and_in_the_run() -> None:
    score = scores.clipped(scores.perturbed(EXACT, errors.Sine(0.1, wave=3.0)), 50.0, dim=1)
    text = repr(score)
    assert text.startswith("clipped(perturbed(exact(GaussianMixture([0.3, 0.7]")
    assert text.endswith("Sine(amplitude=0.1, wave=3.0, phase=0.0)), limit=50, dim=1)")
    reverse = fp.Reverse(TARGET, fp.VP(), score=score)
    grid = fp.Grid.uniform((-5, 5), cells=60)
    run = fp.evolve(reverse, {"prior": fp.VP().prior()}, t_min=0.5, grid=grid, steps=10)
    assert run.attrs["score_model"] == text
    named = scores.perturbed(test_clipped_limits_lengths_and_nothing_else, lambda t, x: 0.0 * x)
    assert "test_scores_modified.test_clipped_limits" in repr(named) and "<lambda>, line" in repr(named)
    assert " at 0x" not in repr(named) + repr(scores.smoothed(lambda t, x: x, 0.1, dim=1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: scores.perturbed(1.0, errors.Bias(0.1)), r"score: expected a callable score\(t, x\), got 1\.0"),
        (lambda: scores.perturbed(EXACT, 0.1), r"error: expected a callable error\(t, x\), got 0\.1; see"),
        (lambda: scores.perturbed(EXACT, lambda t, x: 0.1)(0.1, X), r"error at t = 0\.1: .* values of shape \(13,\)"),
        (lambda: scores.perturbed(EXACT, lambda t, x: np.nan * x)(0.1, X), r"error at t = 0\.1: .* finite numbers"),
        (lambda: errors.Bias([1.0, 2.0, 3.0]), r"vector: expected one number \(1D\) or two \(2D\)"),
        (lambda: errors.Sine(0.1, wave=(1.0, 2.0)), r"wave: expected as many numbers as the amplitude"),
        (lambda: errors.Bump(0.1, at=0.0, width=0.0), r"width: expected a finite number > 0"),
        (lambda: errors.RandomField(0.1, length=-1.0, dim=1, seed=0), r"length: expected a finite number > 0"),
        (lambda: errors.RandomField(0.1, length=1.0, dim=1, seed=-1), r"seed: expected an integer >= 0"),
        (lambda: errors.InNoiseUnits(errors.Scaling(0.1), fp.VP()), r"error: expected a callable error\(t, x\)"),
        (lambda: errors.During(errors.Bias(0.1), 0.3, 0.2), r"stop: expected a time > start=0\.3"),
        (lambda: scores.clipped(EXACT, 0.0, dim=1), r"limit: expected a finite number > 0"),
        (lambda: scores.smoothed(EXACT, 0.1, dim=1, nodes=1), r"nodes: expected an integer >= 2"),
    ],
)  # fmt: skip
def test_bad_errors_and_modifications_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def between(box: tuple[float, float], n: int) -> Any:
    return np.random.default_rng(3).uniform(*box, n)


def test_a_table_stands_in_for_the_model_after_saving(tmp_path: Path) -> None:
    """Rerun without the model: the same density within what the interpolation error can do."""
    grid, times = fp.Grid.uniform((-5, 5), cells=200), np.geomspace(0.02, 1.0, 80)
    calls = []

    def slow(t: float, x: Any) -> Any:
        calls.append(t)
        return EXACT(t, x) + 0.1 * np.sin(x)

    table = scores.tabulate(slow, grid, times)
    assert len(calls) == 80 + 79
    table.to_netcdf(tmp_path / "score.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "score.nc", engine="h5netcdf") as opened:
        loaded = scores.tabulated(opened.load())
    xr.testing.assert_identical(table, opened)
    x = between((-5.0, 5.0), 400)
    gaps = [np.abs(loaded(t, x) - slow(t, x)).max() for t in np.geomspace(0.021, 0.99, 37)]
    print(f"interpolation: stated {loaded.error:.1e}, seen {max(gaps):.1e}")
    assert max(gaps) <= 1.5 * loaded.error and loaded.error < 1e-2
    assert "slow" in repr(loaded) and "error=" in repr(loaded) and table.attrs["score_model"] in repr(loaded)
    runs = {}
    for name, score in {"model": slow, "table": loaded}.items():
        reverse = fp.Reverse(TARGET, fp.VP(), score=score)
        runs[name] = fp.evolve(reverse, {"prior": fp.VP().prior()}, t_min=0.02, grid=grid, steps=80, save_at=[0.02])
    gap = fp.weighted_tv(runs["model"].density, runs["table"].density)
    assert float(gap.distance.max()) < 1e-4
    assert not json.dumps(loaded.box).startswith("null")


def test_the_error_of_a_table_falls_like_the_fourth_power() -> None:
    """Cells and times halved together: log-log slope within 0.2 of 4, and what is stated is what is seen."""
    target = fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[0.8, 0.9])
    exact, seen, stated = scores.exact(target, fp.OrnsteinUhlenbeck(T=2.0)), [], []
    x = between((-3.9, 3.9), 2000)
    for n in (80, 160):
        times = np.geomspace(0.2, 2.0, n // 4 + 1)
        table = scores.tabulate(exact, fp.Grid.uniform((-4, 4), cells=n), times)
        score = scores.tabulated(table)
        middles = np.sqrt(times[1:] * times[:-1])
        seen.append(max(np.abs(score(t, x) - exact(t, x)).max() for t in middles))
        stated.append(score.error)
    # a table that nobody measured is estimated from itself, on the safe side and not by far
    alone = scores.tabulated(table.score).error
    assert seen[1] <= alone <= 4.0 * seen[1], (alone, seen)
    assert abs(np.log2(seen[0] / seen[1]) - 4.0) <= 0.2, seen
    assert 0.7 <= stated[1] / seen[1] <= 1.5, (stated, seen)


def test_a_table_in_the_plane() -> None:
    grid, times = fp.Grid.uniform([(-4, 4), (-4, 4)], cells=(64, 60)), np.geomspace(0.1, 1.0, 24)
    exact = scores.exact(PLANE, fp.VP())
    table = scores.tabulate(exact, grid, times)
    assert table.score.dims == ("t", "x", "y", "component")
    score = scores.tabulated(table)
    x = np.random.default_rng(0).uniform(-3.5, 3.5, (200, 2))
    gaps = [np.abs(score(t, x) - exact(t, x)).max() for t in (0.11, 0.3, 0.97)]
    assert max(gaps) <= 1.5 * score.error < 0.05
    assert score.error <= scores.tabulated(table.score).error <= 8.0 * score.error
    reverse = fp.Reverse(PLANE, fp.VP(), score=score)
    run = fp.evolve(reverse, {"prior": fp.VP().prior(dim=2)}, t_min=0.1, grid=grid, steps=12, save_at=[0.1])
    assert float(run.mass.max() - run.mass.min()) < 1e-12 and float(abs(run.mass - 1.0).max()) < 1e-3


def test_the_divergence_of_a_table_is_that_of_its_spline() -> None:
    """Against central differences of the interpolated score, inside and, continued linearly, outside of the box."""
    times = np.geomspace(0.1, 1.0, 12)
    plane = scores.exact(PLANE, fp.VP())
    table = scores.tabulate(plane, fp.Grid.uniform([(-3, 3), (-3, 3)], cells=(30, 30)), times)
    score = scores.tabulated(table, outside="linear")
    x, h = np.random.default_rng(0).uniform(-2.9, 2.9, (50, 2)), 1e-5
    found = score.divergence(0.3, x)
    moved = [(score(0.3, x + h * e) - score(0.3, x - h * e)) / (2 * h) for e in np.eye(2)]
    differences = moved[0][:, 0] + moved[1][:, 1]
    np.testing.assert_allclose(found, differences, rtol=1e-6, atol=1e-6)
    line = scores.tabulated(scores.tabulate(EXACT, fp.Grid.uniform((-3, 3), cells=60), times), outside="linear")
    y = np.array([-2.0, 0.1, 2.0, 4.0])
    slopes = (line(0.3, y + h) - line(0.3, y - h)) / (2 * h)
    np.testing.assert_allclose(line.divergence(0.3, y), slopes, rtol=1e-6, atol=1e-6)


def test_the_probability_flow_runs_on_a_table() -> None:
    """eta = 0: the density is that of the exact score within what the table's error can do."""
    times, grid = np.geomspace(0.05, 1.0, 48), fp.Grid.uniform((-5, 5), cells=200)
    score = scores.tabulated(scores.tabulate(EXACT, grid, times), outside="linear")
    ask = {"t_min": 0.05, "grid": grid, "steps": 50, "save_at": [0.05]}
    start = {"prior": fp.VP().prior()}
    ends = [
        fp.evolve(fp.Reverse(TARGET, fp.VP(), score=model, eta=0.0), start, **ask).density.isel(t=-1, start=0)
        for model in (score, None)
    ]
    assert float(fp.weighted_tv(*ends).distance) < 1e-4


def test_beyond_the_table_is_refused_or_linear() -> None:
    grid, times = fp.Grid.uniform((-4, 4), cells=80), np.geomspace(0.1, 1.0, 20)
    table = scores.tabulate(lambda t, x: -2.0 * x / (1.0 + t), grid, times)
    strict, linear = scores.tabulated(table), scores.tabulated(table, outside="linear")
    assert strict(0.5, np.array([-4.0, 4.0])).shape == (2,)
    refused = r"x: expected points in the table's box .*-4\.0.*, got \[4\.5\] at t = 0\.5; .*linear"
    with pytest.raises(ValueError, match=refused):
        strict(0.5, np.array([0.0, 4.5]))
    np.testing.assert_allclose(linear(0.5, np.array([-6.0, 5.0])), [8.0, -20.0 / 3.0], rtol=1e-6)
    with pytest.raises(ValueError, match=r"t: expected a time in the table, \[0\.1, 1\], got 0\.05; tabulate these"):
        linear(0.05, np.zeros(2))
    plane = scores.tabulate(lambda t, x: -x, fp.Grid.uniform([(-4, 4), (-4, 4)], cells=(20, 20)), times)
    far = scores.tabulated(plane, outside="linear")(0.5, np.array([[6.0, 1.0], [0.0, -5.0]]))
    np.testing.assert_allclose(far, [[-6.0, -1.0], [0.0, 5.0]], atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.rename(x="z"), r"table: expected dimensions \(t, x\), or"),
        (lambda d: d.drop_vars("x"), r"table: expected a coordinate x"),
        (lambda d: d.assign_coords(x=d.x[::-1].values), r"table: x: expected at least 4 increasing positions"),
        (lambda d: d.isel(t=slice(0, 3)), r"table: t: expected at least 4 increasing positions"),
        (lambda d: d.where(d.x < 3.0), r"table: expected finite numbers"),
        (lambda d: d.assign_coords(t=d.t - 0.1), r"table: t: expected times > 0"),
        (lambda d: d.values, r"table: expected an xarray Dataset or DataArray, got ndarray"),
        (lambda d: d.rename("other").to_dataset(), r"table: expected a variable named score, got \['other'\]"),
    ],
)
def test_tables_are_checked(change: Any, message: str) -> None:
    grid, times = fp.Grid.uniform((-4, 4), cells=20), np.linspace(0.1, 1.0, 8)
    table = scores.tabulate(lambda t, x: -x, grid, times).score
    assert scores.tabulated(table[::-1])(0.5, 1.0) == pytest.approx(-1.0)  # decreasing times are put in order
    with pytest.raises(ValueError, match=message):
        scores.tabulated(change(table))
    with pytest.raises(ValueError, match="times: expected at least 4 different times > 0"):
        scores.tabulate(lambda t, x: -x, grid, [0.0, 0.1, 0.2, 0.3])


def test_error_curve_of_known_errors() -> None:
    """Closed forms: a bias has its own size, a scaling shares the Fisher information, noise units divide by s."""
    process, times = fp.VP(), np.array([1.0, 0.3, 0.05, 0.01])
    bias = scores.error_curve(scores.perturbed(EXACT, errors.Bias(0.2)), TARGET, process, times)
    np.testing.assert_allclose(bias.value, 0.2, rtol=1e-10)
    assert float(bias.error.max()) < 1e-6 and float(bias.lost.max()) < 1e-12
    scaled = scores.error_curve(scores.perturbed(EXACT, errors.Scaling(0.1)), TARGET, process, times)
    np.testing.assert_allclose(scaled.relative, 0.1, rtol=1e-12)
    noisy = errors.InNoiseUnits(errors.Bias(0.05), process)
    curve = scores.error_curve(scores.perturbed(EXACT, noisy), TARGET, process, times)
    np.testing.assert_allclose(curve.noise_units, 0.05, rtol=1e-10)
    zero = scores.error_curve(EXACT, TARGET, process, times)
    assert float(zero.value.max()) == 0.0 and curve.t.values.tolist() == times.tolist()
    # Fisher information of N(m, v) is 1/v
    gauss = fp.Gaussian(1.0, std=0.5)
    norm = scores.error_curve(lambda t, x: 0.0 * x, gauss, process, times).value
    variance = process.scale(0.0, times) ** 2 * 0.25 + process.variance(0.0, times)
    np.testing.assert_allclose(norm, variance**-0.5, rtol=1e-10)


@pytest.mark.parametrize("target", [PLANE, fp.Laplace(0.3, 0.6), fp.StudentT(5.0)])
def test_error_curve_covers_its_quadrature_error(target: fp.Law) -> None:
    """The relative error of a scaled score is its share for any law; a sine is checked against Monte Carlo."""
    process, times = fp.VP(), np.array([0.5, 0.05])
    exact = scores.exact(target, process)
    wave = errors.Sine(0.3, wave=1.5) if target.dim == 1 else errors.Sine((0.3, 0.0), wave=(1.5, 0.5))
    curve = scores.error_curve(scores.perturbed(exact, wave), target, process, times)
    assert np.all(np.isfinite(curve.error)) and float(curve.error.max()) < 1e-3
    for k, t in enumerate(times):
        start = target.sample(200_000, 0)
        noise = np.random.default_rng(1).standard_normal(start.shape)
        x = float(process.scale(0.0, t)) * start + float(process.variance(0.0, t)) ** 0.5 * noise
        squares = np.sum(np.square(wave(t, x)).reshape(len(x), -1), axis=1)
        deviation = 5.0 * squares.std() / np.sqrt(len(x))
        value, error = float(curve.value[k]), float(curve.error[k])
        assert abs(value**2 - squares.mean()) <= deviation + 2.0 * value * error


@pytest.mark.parametrize(
    ("target", "variance"),
    [(fp.StudentT(3.0), 3.0), (fp.StudentT(5.0), 5 / 3), (fp.Laplace(0.0, 1.0), 2.0), (fp.Laplace(0.0, 0.3), 0.18)],
    ids=["t3", "t5", "laplace", "narrow laplace"],
)
def test_error_curve_covers_what_is_beyond_its_box(target: fp.Law, variance: float) -> None:
    """A difference of x/10, which goes on growing there: its norm is a tenth of the root of E x^2."""
    process, times = fp.OrnsteinUhlenbeck(T=1.0), np.array([1.0, 0.1, 0.01])
    exact = fp.Reverse(target, process).marginals
    curve = scores.error_curve(lambda t, x: exact.score(t, x) + 0.1 * x, target, process, times)
    alpha, added = np.exp(-times), -np.expm1(-2.0 * times)
    off = np.abs(curve.value.values - 0.1 * np.sqrt(alpha**2 * variance + added))
    print(curve.error.values / np.maximum(off, 1e-300))
    assert np.all(off <= curve.error.values)


def test_error_curve_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="times: expected forward times > 0"):
        scores.error_curve(EXACT, TARGET, fp.VP(), [0.0, 0.5])
    with pytest.raises(ValueError, match=r"score at t = 0\.5: expected finite numbers"):
        scores.error_curve(lambda t, x: np.nan * x, TARGET, fp.VP(), [0.5])


def test_the_error_of_a_table_is_that_of_its_whole_box_too():
    """A box that ends inside of a mode: half a cell beyond the last node the spline is continued, not interpolated."""
    process, law = fp.VP(), fp.GaussianMixture([0.5, 0.5], [-1.5, 1.5], stds=[0.08, 0.5])
    exact = fp.scores.exact(law, process)
    grid, times = fp.Grid.uniform((-1.5, 1.5), cells=60), np.geomspace(2e-3, 1.0, 60)
    table = fp.scores.tabulate(exact, grid, times)
    x = np.linspace(-1.5, 1.5, 1201)
    for found in (fp.scores.tabulated(table), fp.scores.tabulated(table["score"])):
        worst = max(float(np.abs(found(float(t), x) - exact(float(t), x)).max()) for t in np.geomspace(2e-3, 1.0, 237))
        assert worst <= 2.0 * found.error


def test_a_table_that_does_not_resolve_its_score_knows_nothing_of_its_error():
    """Steps of the score between neighbouring nodes: halving gains nothing, and they may be of any height between."""
    axis, times = np.linspace(-2.0, 2.0, 40), np.geomspace(0.1, 1.0, 20)
    values = np.tile(np.tanh(axis / 1e-3), (20, 1))
    table = xr.DataArray(values, dims=("t", "x"), coords={"t": times, "x": axis})
    found = fp.scores.tabulated(table)
    x = np.linspace(-2.0, 2.0, 4001)
    worst = float(np.abs(found(0.3, x) - np.tanh(x / 1e-3)).max())
    assert worst > 0.1 and found.error == np.inf
    # modes of a third of a cell: 1.8 off
    exact = fp.scores.exact(fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[0.1, 0.15]), fp.VP())
    coarse = fp.scores.tabulate(exact, fp.Grid.uniform((-5.0, 5.0), cells=24), times)
    assert fp.scores.tabulated(coarse["score"]).error == np.inf
    # sixteen positions, a quarter of which say nothing: 2.4 off, and 0.5 was stated
    exact = fp.scores.exact(fp.GaussianMixture([0.5, 0.5], [-0.8, 1.5], stds=[0.3, 0.35]), fp.VP())
    few = fp.scores.tabulated(fp.scores.tabulate(exact, fp.Grid.uniform((-5.0, 5.0), cells=16), times)["score"])
    x = np.linspace(-5.0, 5.0, 1001)
    assert max(np.abs(few(t, x) - exact(t, x)).max() for t in np.geomspace(0.1, 1.0, 30).tolist()) < 1.5 * few.error
    smooth = xr.DataArray(np.tile(-axis, (20, 1)), dims=("t", "x"), coords={"t": times, "x": axis})
    assert fp.scores.tabulated(smooth).error < 1e-12

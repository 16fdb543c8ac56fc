"""Particles: steps against exact recursions, clouds against grids, tests of agreement against their own level."""

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, ndimage, stats

import fpsolve as fp
from fpsolve import particles, samplers
from fpsolve.particles import _agreement, _cloud, _score, _simulate

euler_maruyama, exponential_integrator = samplers.EulerMaruyama(), samplers.ExponentialIntegrator()
STEPS: dict[str, Callable[..., samplers.GaussianStep]] = {
    "euler-maruyama": euler_maruyama.step,
    "exponential-integrator": exponential_integrator.step,
}
LINE = fp.Grid.uniform((-7, 7), cells=400)
PLANE = fp.Grid.uniform([(-6, 6), (-5, 5)], cells=(96, 80))
NORMAL = fp.Gaussian(0.0, std=1.0)
TWO = fp.GaussianMixture(weights=[0.5, 0.5], means=[-2.0, 2.0], stds=[0.3, 0.5])
TILTED = fp.Gaussian([0.3, -0.2], cov=[[1.0, 0.5], [0.5, 0.8]])


def exact_run(laws: dict[str, list[fp.Law]], t: list[float], grid: fp.Grid, **extra: Any) -> xr.Dataset:
    """A run whose densities are exact cell averages: laws[start][time]."""
    density = np.stack([np.stack([grid.cell_average(law) for law in row]) for row in laws.values()])
    dims = ("x", "y")[: grid.dim]
    coords = dict(zip(dims, grid.axes, strict=True))
    run = xr.Dataset(
        {"density": (("start", "t", *dims), density)},
        coords={"start": list(laws), "t": t, "reverse_time": ("t", t[0] - np.array(t)), **coords},
    )
    return run.assign({name: (("start", "t"), np.full(density.shape[:2], value)) for name, value in extra.items()})


def exact_cloud(laws: list[fp.Law], t: list[float], n: int, seed: int) -> xr.Dataset:
    """Independent samples of a law at every time."""
    rng = np.random.default_rng(seed)
    return particles.from_positions(t, np.stack([law.sample(n, rng) for law in laws]), seed=seed)


def recursion(reverse: fp.Reverse, times: np.ndarray, step: Callable[..., Any], m: float, v: float) -> tuple:
    """Mean and variance of a Gaussian under the steps for a Gaussian target: exact, no particles."""
    for t0, t1 in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        s = step(reverse.process, reverse.eta, t0, t1)
        law = reverse.marginal(t0)
        factor = s.linear - s.score / law.cov
        m, v = factor * m + s.score * law.mean / law.cov, factor**2 * v + s.std**2
    return m, v


def weighted_distance(m: float, v: float, p: fp.Gaussian) -> float:
    """||N(m, v) - p||_{1 + x^2} by the rectangle rule, which is spectrally accurate but for the kinks."""
    x = np.linspace(-15, 15, 400_001)
    q = fp.Gaussian(m, std=v**0.5)
    return float(np.sum((1 + x**2) * np.abs(q.density(x) - p.density(x))) * (x[1] - x[0]))


# --- steps ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("euler-maruyama", [0.1493, 0.0725, 0.0358, 0.0177, 0.0088]),
        ("exponential-integrator", [0.2402, 0.1170, 0.0577, 0.0286, 0.0143]),
    ],
)
def test_steps_reproduce_the_discretization_errors_of_the_gaussian_case(method: str, expected: list[float]) -> None:
    target = fp.Gaussian(1.0, std=0.5**0.5)
    reverse = fp.Reverse(target, fp.VP())
    measured = [
        weighted_distance(*recursion(reverse, np.linspace(1, 0, n + 1), STEPS[method], 0.0, 1.0), target)
        for n in (25, 50, 100, 200, 400)
    ]
    np.testing.assert_allclose(measured, expected, atol=1e-4, rtol=0)
    orders = np.log2(np.array(measured[:-1]) / measured[1:])
    assert np.all(np.abs(orders - 1) < 0.2)


@pytest.mark.parametrize(
    "process",
    [fp.VP(), fp.VP(sigma=1.5, curvature=3.0), fp.SubVP(), fp.VE(), fp.EDM(), fp.CosineVP(), fp.OrnsteinUhlenbeck(T=2)],
    ids=lambda p: type(p).__name__,
)
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_exponential_integrator_solves_the_frozen_equation(process: fp.Process, eta: float) -> None:
    t0, t1 = 0.45 * process.T, 0.4 * process.T
    step = exponential_integrator.step(process, eta, t0, t1)

    def carried(u: float, power: int) -> float:
        return float(process.diffusion(u)) ** 2 / float(process.scale(t1, u)) ** power

    drift, _ = integrate.quad(carried, t1, t0, args=(1,), epsabs=0, epsrel=1e-11)
    noise, _ = integrate.quad(carried, t1, t0, args=(2,), epsabs=0, epsrel=1e-11)
    assert step.linear == pytest.approx(1 / float(process.scale(t1, t0)), rel=1e-14)
    assert step.score == pytest.approx(0.5 * (1 + eta**2) * drift, rel=1e-9)
    assert step.std == pytest.approx(eta * noise**0.5, rel=1e-8)


def test_exponential_integrator_has_the_closed_forms_of_vp_and_ve() -> None:
    vp, edm = fp.VP(sigma=1.3), fp.EDM()
    alpha = float(vp.scale(0.5, 0.6))
    step = exponential_integrator.step(vp, 1.0, 0.6, 0.5)
    assert step.score == pytest.approx(2 * 1.3**2 * (1 / alpha - 1), rel=1e-12)
    step = exponential_integrator.step(edm, 1.0, 2.0, 1.0)
    assert (step.linear, step.score, step.std) == pytest.approx((1.0, 3.0, 3.0**0.5), rel=1e-12)


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_without_a_score_two_exponential_steps_are_one(a: float, b: float, c: float) -> None:
    t0, t1, t2 = sorted((a, b, c), reverse=True)
    process = fp.VP()
    first, second, both = (exponential_integrator.step(process, 1.0, *ends) for ends in ((t0, t1), (t1, t2), (t0, t2)))
    assert both.linear == pytest.approx(first.linear * second.linear, rel=1e-12)
    composed = second.linear**2 * first.std**2 + second.std**2
    assert both.std**2 == pytest.approx(composed, rel=1e-9, abs=1e-14)


# --- when ----------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(0.01, 1.0), max_size=8),
    st.integers(0, 40),
    st.sampled_from([None, np.log, lambda t: t**3]),
)
def test_step_times_pass_through_every_saved_time(inner: list[float], more: int, clock: Any) -> None:
    # Times closer than rounding of the clock cannot be told apart by it.
    saved = np.unique(np.round([*inner, 0.01, 1.0], 4))[::-1]
    steps = saved.size - 1 + more
    times = _simulate.step_times(1.0, 0.01, max(steps, 1), saved, clock)
    assert times.size == max(steps, 1) + 1
    assert times[0] == 1.0
    assert times[-1] == 0.01
    assert np.all(np.diff(times) < 0)
    assert set(saved) <= set(times)


def test_steps_are_uniform_on_the_clock_and_in_time_without_one() -> None:
    ends = np.array([1.0, 0.01])
    np.testing.assert_allclose(np.diff(_simulate.step_times(1.0, 0.01, 10, ends, None)), -0.099, rtol=1e-12)
    np.testing.assert_allclose(np.diff(np.log(_simulate.step_times(1.0, 0.01, 10, ends, np.log))), np.log(0.01) / 10)


# --- simulate ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", STEPS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_clouds_follow_the_gaussian_recursion(method: str, eta: float) -> None:
    reverse = fp.Reverse(fp.Gaussian(1.0, std=0.7), fp.VP(), eta=eta)
    times = np.linspace(1.0, 0.01, 31)
    cloud = particles.simulate(reverse, NORMAL, n=40_000, times=times, method=method, seed=1)
    m, v = recursion(reverse, times, STEPS[method], 0.0, 1.0)
    assert abs(float(cloud["mean"][-1, 0]) - m) < 4.5 * (v / 40_000) ** 0.5
    assert abs(float(cloud["cov"][-1, 0, 0]) / v - 1) < 4.5 * (2 / 40_000) ** 0.5
    x = cloud["position"].isel(t=-1).values
    assert stats.kstest(x, stats.norm(m, v**0.5).cdf).pvalue > 1e-5


def test_clouds_follow_the_recursion_along_every_axis_in_2d() -> None:
    reverse = fp.Reverse(fp.Gaussian([1.0, -1.0], std=0.7), fp.VP())
    times = np.linspace(1.0, 0.01, 21)
    cloud = particles.simulate(reverse, fp.VP().prior(dim=2), n=40_000, times=times, seed=2)
    m, v = recursion(fp.Reverse(fp.Gaussian(1.0, std=0.7), fp.VP()), times, euler_maruyama.step, 0.0, 1.0)
    assert cloud["position"].dims == ("t", "particle", "axis")
    np.testing.assert_allclose(cloud["mean"][-1], [m, -m], atol=4.5 * (v / 40_000) ** 0.5)
    np.testing.assert_allclose(cloud["cov"][-1], v * np.eye(2), atol=4.5 * v * (2 / 40_000) ** 0.5)


def test_moments_of_a_cloud_are_those_of_its_positions() -> None:
    """Five particles: a covariance with n - 1 in place of n would be a quarter larger."""
    reverse = fp.Reverse(fp.Gaussian([1.0, -1.0], std=0.7), fp.VP())
    cloud = particles.simulate(reverse, fp.VP().prior(dim=2), n=5, times=np.linspace(1.0, 0.5, 3), seed=4)
    for k in range(cloud.sizes["t"]):
        np.testing.assert_allclose(cloud["mean"][k], cloud["position"][k].mean("particle"), rtol=1e-12)
        np.testing.assert_allclose(cloud["cov"][k], np.cov(cloud["position"][k].values.T, bias=True), rtol=1e-10)


def test_the_seed_and_the_chunk_decide_everything() -> None:
    reverse = fp.Reverse(TWO, fp.VP())

    def last(**changes: Any) -> np.ndarray:
        settings: dict[str, Any] = {"n": 1000, "steps": 5, "seed": 7, "chunk": 300} | changes
        return np.asarray(particles.simulate(reverse, NORMAL, **settings)["position"].isel(t=-1))

    np.testing.assert_array_equal(last(), last())
    np.testing.assert_array_equal(last(), last(histogram=LINE, positions=True, progress=False))
    # Whole chunks do not depend on how many follow.
    np.testing.assert_array_equal(last()[:900], last(n=2000)[:900])
    assert not np.any(last() == last(seed=8))
    assert not np.all(last() == last(chunk=500))
    # Chunks are independent of each other.
    assert not np.any(last()[:300] == last()[300:600])


def test_default_times_and_attributes() -> None:
    reverse = fp.Reverse(TWO, fp.VP())
    cloud = particles.simulate(reverse, NORMAL, n=10, steps=4, seed=0)
    np.testing.assert_allclose(cloud["t"], [1.0, 0.01])
    np.testing.assert_allclose(cloud["reverse_time"], [0.0, 0.99])
    assert cloud.attrs["steps"] == 4
    assert {"seed", "method", "t_min", "eta", "version", "start", "score_table_error"} <= set(cloud.attrs)
    saved = particles.simulate(reverse, NORMAL, n=10, steps=9, seed=0, save_at=[0.05, 0.3, 0.7])
    np.testing.assert_allclose(saved["t"], [0.7, 0.3, 0.05])
    assert saved.attrs["t_min"] == 0.05


def test_clouds_and_checks_survive_saving(tmp_path: Any) -> None:
    cloud = particles.simulate(fp.Reverse(TWO, fp.VP()), NORMAL, n=500, steps=4, seed=0, histogram=LINE)
    run = exact_run({"a": [NORMAL, TWO]}, [1.0, 0.01], LINE)
    for name, data in {"cloud": cloud, "check": particles.compare(run, cloud, start="a")}.items():
        data.to_netcdf(tmp_path / f"{name}.nc")
        with xr.open_dataset(tmp_path / f"{name}.nc") as loaded:
            xr.testing.assert_identical(loaded.load(), data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 0}, "n: expected an integer >= 1"),
        ({"steps": None}, "steps / times: expected exactly one"),
        ({"times": [1.0, 0.5]}, "steps / times: expected exactly one"),
        ({"steps": None, "times": [0.5, 1.0]}, "times: expected at least two strictly decreasing"),
        ({"steps": None, "times": [1.0, 0.5], "save_at": [0.7]}, "save_at: expected some of the given times"),
        ({"steps": None, "times": [1.0, 0.5], "t_min": 0.5}, "t_min: expected no t_min beside times"),
        ({"steps": None, "times": [2.0, 0.5]}, "times: expected forward times in"),
        ({"t_min": 0.0}, "t_min: expected a number in"),
        ({"t_min": 1.0}, "t_min: expected a number in"),
        ({"save_at": [2.0]}, "save_at: expected forward times between"),
        ({"save_at": [np.nan]}, "save_at: expected finite numbers"),
        ({"save_at": np.linspace(0.1, 0.9, 20)}, "steps: expected at least 20"),
        ({"method": "milstein"}, "method: expected one of 'euler-maruyama'"),
        ({"seed": None}, "seed: expected an integer"),
        ({"chunk": 0}, "chunk: expected an integer"),
        ({"start": TILTED}, "start: expected dimension 1"),
        ({"histogram": PLANE}, "histogram: expected dimension 1"),
        ({"n": 20_000_000}, "n: expected at most 256 MB of positions"),
        ({"reverse": fp.Forward(fp.VP())}, "reverse: expected a Reverse dynamics"),
    ],
)
def test_bad_arguments_are_refused(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"reverse": fp.Reverse(TWO, fp.VP()), "start": NORMAL, "n": 10, "steps": 3, "seed": 0}
    with pytest.raises(ValueError, match=message):
        particles.simulate(**(arguments | changes))


def test_bad_scores_are_refused_with_their_time() -> None:
    for bad in (lambda t, x: np.full(x.shape, np.nan), lambda t, x: np.zeros(3)):
        reverse = fp.Reverse(TWO, fp.VP(), score=bad)
        with pytest.raises(ValueError, match=r"score.* at t = 1"):
            particles.simulate(reverse, NORMAL, n=10, steps=3, seed=0)


# --- histograms and memory -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [fp.Grid.uniform((-1.5, 2.5), cells=37), LINE])
def test_counts_are_those_of_the_positions(grid: fp.Grid) -> None:
    reverse = fp.Reverse(TWO, fp.VP())
    cloud = particles.simulate(reverse, NORMAL, n=3000, steps=10, seed=3, chunk=700, histogram=grid, positions=True)
    for i in range(2):
        x = cloud["position"].isel(t=i).values
        np.testing.assert_array_equal(cloud["count"].isel(t=i), np.histogram(x, bins=grid.faces)[0])
        (low, high), outside = grid.bounds[0], cloud["outside"].isel(t=i)
        np.testing.assert_array_equal(outside, [np.sum(x < low), np.sum(x > high)])


def test_counts_in_2d_are_those_of_the_positions() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 2)) * 3
    counts, outside = _cloud.count(PLANE, x)
    np.testing.assert_array_equal(counts, np.histogram2d(x[:, 0], x[:, 1], bins=PLANE.face_axes)[0])
    assert counts.sum() + outside.sum() == 5000
    assert outside.sum() > 0
    counts, outside = _cloud.count(PLANE, np.array([[1e300, 0.0], [-1e300, 0.0], [6.0, 5.0]]))
    assert (counts[-1, -1], outside[0]) == (1, 2)


def peak_memory(n: int, **how: Any) -> int:
    reverse = fp.Reverse(fp.Gaussian(1.0, std=0.7), fp.VP())
    particles.simulate(reverse, NORMAL, n=10, steps=2, seed=0, **how)  # imports and caches
    tracemalloc.start()
    particles.simulate(reverse, NORMAL, n=n, steps=2, seed=0, chunk=4096, **how)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_n_unless_positions_are_kept() -> None:
    few, many = (peak_memory(n, histogram=LINE) for n in (8192, 131_072))
    assert many < 1.1 * few + 50_000
    # The control: with positions it must, by 8 bytes per particle and saved time.
    grown = peak_memory(131_072) - peak_memory(8192)
    assert grown > 0.9 * 16 * (131_072 - 8192)


# --- score tables --------------------------------------------------------------------------------------------------


def test_compiled_splines_match_scipy() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=40)
    x = rng.uniform(2.2, 5.3, 200)
    out = np.empty_like(x)
    _score.spline_line(table, 2.0, 0.1, x, out)
    expected = ndimage.map_coordinates(table, [(x - 2.0) / 0.1], order=3, prefilter=False)
    np.testing.assert_allclose(out, expected, rtol=1e-11, atol=1e-12)
    tables, points = rng.normal(size=(30, 40, 2)), rng.uniform([1.1, 2.2], [2.7, 5.3], (200, 2))
    out = np.empty_like(points)
    _score.spline_plane(tables, np.array([1.0, 2.0]), np.array([0.1, 0.1]), points, out)
    places = ((points - [1.0, 2.0]) / 0.1).T
    for i in range(2):
        expected = ndimage.map_coordinates(tables[..., i], places, order=3, prefilter=False)
        np.testing.assert_allclose(out[:, i], expected, rtol=1e-11, atol=1e-12)
    _score.spline_plane(tables, np.array([1.0, 2.0]), np.array([0.1, 0.1]), points + 100, out)
    assert np.all(np.isnan(out))


def kernel_density(dim: int) -> fp.KernelDensity:
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(-1, 0.4, (60, 2)), rng.normal(0.8, 0.5, (80, 2))])
    return fp.KernelDensity(x[:, 0] if dim == 1 else x)


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("t", [0.01, 0.3, 1.0])
def test_score_tables_are_accurate_on_the_particles(dim: int, t: float) -> None:
    reverse = fp.Reverse(kernel_density(dim), fp.VP())
    x = reverse.marginal(t).sample(4000, np.random.default_rng(1))
    table = _score.tabulated(reverse, t, x)
    scores = table(x)
    kept = np.isfinite(scores)
    truth = reverse.score(t, x)
    assert np.mean(kept) > 0.995
    assert np.max(np.abs(scores - truth)[kept]) < 1e-4 * np.max(np.abs(truth))


@pytest.mark.parametrize("dim", [1, 2])
def test_tabulated_and_exact_scores_move_particles_alike(dim: int) -> None:
    reverse, prior = fp.Reverse(kernel_density(dim), fp.VP()), fp.VP().prior(dim=dim)
    table, exact = (particles.simulate(reverse, prior, n=2000, steps=15, seed=4, tabulate=how) for how in (True, False))
    assert table.attrs["score_table"] == "15 of 15 steps"
    assert exact.attrs["score_table"] == "0 of 15 steps"
    gap = np.max(np.abs(table["position"] - exact["position"]).values)
    # Differences may grow along diverging paths; a factor ten covers them here.
    assert 0 < gap < 10 * table.attrs["score_table_shift"] + 1e-12 < 1e-3


def test_tables_are_used_unasked_only_where_they_pay_and_are_accurate() -> None:
    rough = fp.Reverse(kernel_density(1), fp.VP(), score=fp.scores.checked(lambda t, x: -x + np.sin(1e4 * x)))
    assert _score.choose(rough, 10**6, None).tabulate is False
    assert _score.choose(fp.Reverse(NORMAL, fp.VP()), 10**8, None).tabulate is False
    assert _score.choose(fp.Reverse(kernel_density(1), fp.VP()), 100, None).tabulate is False
    assert _score.choose(fp.Reverse(kernel_density(1), fp.VP()), 10**5, None).tabulate is None
    x = NORMAL.sample(5000, 0)
    used, error = _score.Scoring(rough, 1, True)(0.5, x)
    assert error > 0.5  # the control: a table that cannot follow the score must say so
    refused, error = _score.Scoring(rough, 1, None)(0.5, x)
    assert np.isnan(error)
    np.testing.assert_array_equal(refused, rough.score(0.5, x))
    assert np.max(np.abs(used - refused)) > 0.5


# --- expectations and probabilities on cells -----------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2])
def test_expectations_are_of_fourth_order(dim: int) -> None:
    law, box = (TWO, (-6, 6)) if dim == 1 else (TILTED, [(-5.5, 5.5), (-5, 5)])
    centre, width = np.full(dim, 0.2), np.full(dim, 0.9)
    means = []
    for n in (24, 48, 96, 384) if dim == 1 else (16, 32, 64, 256):
        grid = fp.Grid.uniform(box, cells=n)
        means.append(_cloud.expectations(grid.cell_average(law) * grid.volume, grid, centre, width))
    errors = [np.max(np.abs(mean - means[-1][0])) for mean, _ in means[:-1]]
    assert np.all(np.log2(np.array(errors[:-1]) / errors[1:]) > 3.5)
    # and the limit is right
    x = law.sample(400_000, np.random.default_rng(0))
    f = _cloud.function_values(x, centre, width, dim)
    assert np.all(np.abs(f.mean(axis=1) - means[-1][0]) < 5 * np.sqrt(means[-1][1] / 400_000))
    np.testing.assert_allclose(f.var(axis=1), means[-1][1], rtol=0.03)


@pytest.mark.parametrize("dim", [1, 2])
def test_probabilities_of_other_cells(dim: int) -> None:
    law, grid = (TWO, LINE) if dim == 1 else (TILTED, fp.Grid.uniform([(-6, 6), (-5, 5)], cells=(200, 180)))
    other = fp.Grid.uniform((-1.03, 9.0), cells=57) if dim == 1 else fp.Grid.uniform([(-2.2, 3), (-8, 1)], cells=33)
    source, target = grid, other
    p = grid.cell_average(law) * grid.volume
    exact = other.cell_average(law) * other.volume
    # Beyond the run's box there is nothing to give.
    np.testing.assert_allclose(_cloud.on_cells(p, source, target), exact, atol=2e-7)
    assert _cloud.on_cells(p, source, source) is p


# --- tests of agreement --------------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(0, 50), min_size=1, max_size=60).map(np.array),
    st.floats(1, 20),
)
def test_merged_cells_expect_enough(expected: np.ndarray, smallest: float) -> None:
    firsts = _agreement.merge(expected, smallest)
    sums = np.add.reduceat(expected, firsts)
    assert sums.sum() == pytest.approx(expected.sum())
    assert firsts.size == 1 or np.all(sums >= smallest * (1 - 1e-9))


def test_morton_order_visits_every_cell_once_and_makes_compact_blocks() -> None:
    order = _agreement.morton_order((13, 21))
    np.testing.assert_array_equal(np.sort(order), np.arange(13 * 21))
    i, j = np.divmod(_agreement.morton_order((16, 16)).reshape(-1, 16), 16)
    assert np.all(np.ptp(i, axis=1) == 3)
    assert np.all(np.ptp(j, axis=1) == 3)


def test_dkw_band_is_massarts() -> None:
    assert _agreement.dkw_band(1000, 0.05) == pytest.approx((np.log(40) / 2000) ** 0.5)
    assert _agreement.dkw_p_value(_agreement.dkw_band(1000, 0.05), 1000) == pytest.approx(0.05)


@pytest.mark.parametrize("dof", [2, 30, 300])
@pytest.mark.parametrize("off_centre", [0.0, 1e-9, 0.5, 20.0])
def test_the_tail_of_the_chi_square_with_and_without_grid_error(dof: int, off_centre: float) -> None:
    law = stats.ncx2(dof, off_centre) if off_centre else stats.chi2(dof)
    for level in (0.1, 1e-3):
        sf, critical = _agreement.chi_square_tail(float(law.isf(level)), dof, off_centre, level)
        # Patnaik's approximation errs by less than a factor two here, on the careful side.
        assert 0.98 * level < sf < (2 if off_centre > 1e-6 else 1.0001) * level
        assert _agreement.chi_square_tail(critical, dof, off_centre, level)[0] == pytest.approx(level)
    # No warning, no failure, whatever comes.
    for statistic in (0.0, 1.0, 1e4, 1e9):
        for huge in (1e3, 1e6, 1e12):
            assert 0 <= _agreement.chi_square_tail(statistic, dof, huge, 1e-4)[0] <= 1


def false_alarms(law: fp.Law, grid: fp.Grid, n: int, seeds: int, level: float) -> tuple[int, np.ndarray]:
    """How often exact samples are called wrong, and all p-values (seeds, test)."""
    run = exact_run({"a": [law]}, [0.5], grid)
    checks = [
        particles.compare(run, exact_cloud([law], [0.5], n, seed), start="a", at=[0.5], false_alarm=level)
        for seed in range(seeds)
    ]
    alarms = sum(check.attrs["verdict"] == "disagree" for check in checks)
    return alarms, np.stack([check["p_value"].values[0] for check in checks])


@pytest.mark.parametrize(("law", "grid"), [(TWO, LINE), (TILTED, PLANE)], ids=["1d", "2d"])
def test_the_false_alarm_rate_is_kept(law: fp.Law, grid: fp.Grid) -> None:
    alarms, p = false_alarms(law, grid, n=3000, seeds=200, level=0.1)
    # Bonferroni makes it smaller than stated, but a test that never fires tests nothing.
    assert stats.binom.isf(1e-4, 200, 0.1) >= alarms >= stats.binom.ppf(1e-4, 200, 0.04)
    assert stats.kstest(p[:, 0], "uniform").pvalue > 1e-4
    # z: the smallest of m p-values at level a/m is a level-a test.
    assert np.mean(p[:, -1] < 0.1 / (6 if grid.dim == 1 else 9)) <= stats.binom.isf(1e-4, 200, 0.1) / 200


def test_p_values_of_few_merged_cells_are_uniform() -> None:
    """On 48 degrees of freedom one too many or too few drowns; on two it moves the median by 0.2."""
    run = exact_run({"a": [TWO]}, [0.5], fp.Grid.uniform((-7, 7), cells=100))
    checks = [
        particles.compare(run, exact_cloud([TWO], [0.5], 2000, seed), start="a", at=[0.5], min_expected=480.0)
        for seed in range(200)
    ]
    assert {int(check["chi2_dof"].item()) for check in checks} == {2}
    # by default as many as Mann and Wald take (1942), up to what merging whole cells costs
    fine = exact_run({"a": [TWO]}, [0.5], LINE)
    usual = particles.compare(fine, exact_cloud([TWO], [0.5], 2000, 0), start="a", at=[0.5])
    assert 2000**0.4 < int(usual["chi2_dof"].item()) < 2.0 * 2000**0.4
    assert stats.kstest([float(check["p_value"].values[0, 0]) for check in checks], "uniform").pvalue > 1e-4


WRONG: dict[str, tuple[fp.Law, fp.Law]] = {
    "shifted": (NORMAL, fp.Gaussian(0.03, std=1.0)),
    "wider": (NORMAL, fp.Gaussian(0.0, std=1.025)),
    "weights": (TWO, fp.GaussianMixture(weights=[0.513, 0.487], means=[-2.0, 2.0], stds=[0.3, 0.5])),
    "correlation": (TILTED, fp.Gaussian([0.3, -0.2], cov=[[1.0, 0.46], [0.46, 0.8]])),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_density_is_detected(case: str) -> None:
    truth, wrong = WRONG[case]
    run = exact_run({"a": [truth]}, [0.5], LINE if truth.dim == 1 else PLANE)
    for law, verdict in ((truth, "agree"), (wrong, "disagree")):
        check = particles.compare(run, exact_cloud([law], [0.5], 100_000, 11), start="a", at=0.5)
        assert check.attrs["verdict"] == verdict
        assert check["verdict"].values.tolist() == [verdict]


def test_every_family_of_tests_can_fail() -> None:
    # A fine comb is seen by chi-square alone; a shift by band and z-scores.
    run = exact_run({"a": [NORMAL]}, [0.5], LINE)
    x = NORMAL.sample(100_000, np.random.default_rng(0))
    comb = x + 0.01 * np.sin(2 * np.pi * x / 0.14)
    check = particles.compare(run, particles.from_positions([0.5], comb[None]), start="a", at=0.5)
    failed = (check["p_value"] < check["level"]).values[0]
    assert failed.tolist() == [True, False, False]
    check = particles.compare(run, particles.from_positions([0.5], x[None] + 0.05), start="a", at=0.5)
    assert (check["p_value"] < check["level"]).values[0].tolist()[1:] == [True, True]


def test_the_grids_own_error_is_allowed_for() -> None:
    truth, off = NORMAL, fp.Gaussian(0.05, std=1.0)
    cloud = exact_cloud([truth], [0.5], 100_000, 3)
    plain = exact_run({"a": [off]}, [0.5], LINE)
    assert particles.compare(plain, cloud, start="a", at=0.5).attrs["verdict"] == "disagree"
    honest = exact_run({"a": [off]}, [0.5], LINE, error_estimate=0.12, tail=0.0)
    difference = LINE.cell_average(off) - LINE.cell_average(truth)
    previous = (LINE.cell_average(off) - difference).reshape(-1, 2).mean(axis=1)
    honest["density_previous"] = (("start", "t", "x_previous"), previous[None, None])
    honest = honest.assign_coords(x_previous=LINE.x.reshape(-1, 2).mean(axis=1))
    honest.attrs["error_factor"] = 1.0
    check = particles.compare(honest, cloud, start="a", at=0.5)
    assert check.attrs["verdict"] == "agree"
    assert float(check["grid_error"][0]) == pytest.approx(0.12)


@pytest.mark.parametrize("error", [np.inf, 2.0, 50.0])
def test_a_density_whose_error_allows_for_anything_is_not_tested(error: float) -> None:
    """Particles 3 standard deviations away: no agreement is found where no disagreement could be."""
    cloud = exact_cloud([fp.Gaussian(3.0, std=1.0)], [0.5], 1000, 3)
    run = exact_run({"a": [NORMAL]}, [0.5], LINE, error_estimate=error, tail=0.0)
    check = particles.compare(run, cloud, start="a", at=0.5)
    assert check.attrs["verdict"] == "not tested" and check["verdict"].values.tolist() == ["not tested"]
    assert check.attrs["not_tested"] == check.sizes["test"] and np.isnan(check["p_value"]).all()
    same = particles.compare(run, exact_cloud([NORMAL], [0.5], 1000, 3), start="a", at=0.5)
    assert same.attrs["verdict"] == "not tested"


def test_one_cell_that_holds_all_is_no_chi_square_test() -> None:
    run = exact_run({"a": [NORMAL]}, [0.5], LINE, tail=0.0)
    few = particles.compare(run, exact_cloud([NORMAL], [0.5], 8, 3), start="a", at=0.5)
    assert np.isnan(few["p_value"].sel(test="chi2")).all() and few.attrs["not_tested"] == 1
    assert few.attrs["verdict"] == "agree", "by the others"
    far = particles.compare(run, exact_cloud([fp.Gaussian(30.0, std=1.0)], [0.5], 8, 3), start="a", at=0.5)
    assert far.attrs["verdict"] == "disagree"


def test_particles_beyond_the_box_are_counted_there() -> None:
    box = fp.Grid.uniform((-2, 6), cells=160)
    run = exact_run({"a": [NORMAL]}, [0.5], box, tail=0.0)
    check = particles.compare(run, exact_cloud([NORMAL], [0.5], 50_000, 0), start="a", at=0.5)
    beyond = float(stats.norm.cdf(-2) + stats.norm.sf(6))
    assert float(check["outside_expected"][0]) == pytest.approx(beyond, rel=1e-9)
    assert abs(float(check["outside"][0]) - beyond) < 4.5 * (beyond / 50_000) ** 0.5
    # The missing mass is outside of the box, on a side the run does not know: chi-square still sees how much.
    lost = particles.from_positions([0.5], np.full((1, 50_000), 9.0))
    assert particles.compare(run, lost, start="a", at=0.5).attrs["verdict"] == "disagree"


def test_moving_cells_of_a_scaled_frame() -> None:
    laws: list[fp.Law] = [fp.Gaussian(0.0, std=40.0), fp.Gaussian(1.0, std=0.02)]
    z = fp.Grid.uniform((-7, 7), cells=200)
    x = np.stack([float(law.mean) + float(law.cov) ** 0.5 * z.x for law in laws])
    density = np.stack([z.cell_average(NORMAL) / float(law.cov) ** 0.5 for law in laws])
    run = xr.Dataset(
        {"density": (("start", "t", "z"), density[None])},
        coords={"start": ["a"], "t": [80.0, 0.002], "z": z.x, "x": (("t", "z"), x)},
    )
    check = particles.compare(run, exact_cloud(laws, [80.0, 0.002], 50_000, 1), start="a")
    assert check.attrs["verdict"] == "agree"
    swapped = exact_cloud([laws[0], fp.Gaussian(1.0, std=0.0205)], [80.0, 0.002], 50_000, 1)
    assert particles.compare(run, swapped, start="a")["verdict"].values.tolist() == ["agree", "disagree"]


def test_counts_on_the_cells_of_a_run_in_a_scaled_frame() -> None:
    reverse = fp.Reverse(fp.Gaussian(1.0, std=0.1), fp.EDM(sigma_max=10.0))
    t = [10.0, 1.0, 0.05]
    laws = [reverse.marginal(s) for s in t]
    z = fp.Grid.uniform((-7, 7), cells=200)
    x = np.stack([float(law.mean) + float(law.cov) ** 0.5 * z.x for law in laws])
    density = np.stack([z.cell_average(NORMAL) / float(law.cov) ** 0.5 for law in laws])
    run = xr.Dataset(
        {"density": (("start", "t", "z"), density[None])},
        coords={"start": ["a"], "t": t, "z": z.x, "x": (("t", "z"), x)},
    )
    cloud = particles.simulate(
        reverse, laws[0], n=20_000, steps=400, seed=0, histogram=run, method="exponential-integrator"
    )
    assert "position" not in cloud
    assert cloud["count"].dims == ("t", "z")
    assert cloud["x"].dims == ("t", "z")
    assert particles.compare(run, cloud, start="a").attrs["verdict"] == "agree"


def test_counts_on_another_grid_are_compared_as_well() -> None:
    run = exact_run({"a": [NORMAL]}, [0.5], LINE)
    other = fp.Grid.uniform((-2.51, 3.3), cells=97)
    x = NORMAL.sample(50_000, np.random.default_rng(2))
    for move, verdict in ((0.0, "agree"), (0.05, "disagree")):
        counts, outside = _cloud.count(other, x + move)
        cloud = xr.Dataset(
            {
                "count": (("t", "x"), counts[None]),
                "outside": (("t", "side"), outside[None]),
                "centre": (("t", "axis"), [[0.0]]),
                "width": (("t", "axis"), [[1.0]]),
                "function_mean": (("t", "function"), _means(x + move)[None]),
            },
            coords={"t": [0.5], "x": other.x},
            attrs={"n": 50_000},
        )
        check = particles.compare(run, cloud, start="a", at=0.5)
        assert check.attrs["verdict"] == verdict
        if verdict == "agree":
            assert np.all((check["p_value"] > 1e-3).values)


def _means(x: np.ndarray) -> np.ndarray:
    return np.asarray(_cloud.function_values(x, np.zeros(1), np.ones(1), 1).mean(axis=1))


def test_what_compare_refuses() -> None:
    run = exact_run({"a": [NORMAL, NORMAL]}, [1.0, 0.5], LINE)
    cloud = exact_cloud([NORMAL, NORMAL], [1.0, 0.5], 100, 0)
    early = exact_cloud([NORMAL, NORMAL], [1.0, 0.4], 100, 0)
    never = exact_cloud([NORMAL, NORMAL], [0.9, 0.4], 100, 0)
    plane = exact_cloud([TILTED, TILTED], [1.0, 0.5], 100, 0)
    empty = xr.Dataset(coords={"t": [1.0, 0.5]})
    cases: list[tuple[xr.Dataset, dict[str, Any], str]] = [
        (early, {}, "cloud: expected saved times in common with the run, got only the initial time"),
        (never, {}, "cloud: expected saved times in common with the run, got none"),
        (cloud, {"at": [0.7]}, "at: expected times saved in run and cloud"),
        (cloud, {"start": "b"}, "start: expected one of 'a'"),
        (cloud, {"reference": "b"}, "start: expected one of 'a'"),
        (cloud, {"false_alarm": 0.0}, "false_alarm: expected a number in"),
        (plane, {}, "cloud: expected dimension 1"),
        (empty, {}, "cloud: expected positions or counts"),
    ]
    for data, changes, message in cases:
        with pytest.raises(ValueError, match=message):
            particles.compare(run, data, **({"start": "a"} | changes))
    with pytest.raises(ValueError, match="position: expected shape"):
        particles.from_positions([1.0, 0.5], np.zeros((3, 10)))
    with pytest.raises(ValueError, match="t: expected strictly decreasing"):
        particles.from_positions([0.5, 1.0], np.zeros((2, 10)))


# --- the floor -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("law", "grid"), [(TWO, LINE), (TILTED, PLANE)], ids=["1d", "2d"])
def test_the_floor_is_what_exact_samples_show(law: fp.Law, grid: fp.Grid) -> None:
    run = exact_run({"a": [law]}, [0.5], grid)
    checks = [particles.compare(run, exact_cloud([law], [0.5], 5000, s), start="a", at=0.5) for s in range(60)]
    measured = np.array([float(check["histogram_distance"][0]) for check in checks])
    expected, spread = float(checks[0]["floor_exact"][0]), float(checks[0]["floor_spread"][0])
    assert abs(measured.mean() - expected) < 4.5 * measured.std() / 60**0.5
    assert measured.std() == pytest.approx(spread, rel=0.35)
    density = run["density"].isel(start=0, t=0)
    assert particles.histogram_floor(density, 5000, exact=True) == pytest.approx(expected, rel=1e-9)
    assert particles.histogram_floor(density, 5000) == pytest.approx(float(checks[0]["floor"][0]), rel=1e-9)


def test_the_floor_formula_and_how_many_particles_reach_below_it() -> None:
    p = LINE.cell_average(TWO)
    mass, v = p * LINE.volume, 1 + LINE.x**2
    formula = np.sum(v * np.sqrt(2 * mass * (1 - mass) / (np.pi * 10_000)))
    assert particles.histogram_floor(p, 10_000, LINE) == pytest.approx(formula, rel=1e-12)
    plain = particles.histogram_floor(p, 10_000, LINE, weight=fp.UnitWeight())
    assert plain < formula
    n = particles.needed(1e-3, p, LINE)
    assert particles.histogram_floor(p, n, LINE) <= 1e-3 < particles.histogram_floor(p, n - 1, LINE) * (1 + 1e-12)
    # 1/sqrt(n), with the exact mean below the normal one and equal to it in the limit
    few, many = (particles.histogram_floor(p, k, LINE, exact=True) for k in (1000, 10**8))
    assert few < particles.histogram_floor(p, 1000, LINE)
    assert many == pytest.approx(particles.histogram_floor(p, 10**8, LINE), rel=1e-3)
    for bad, message in (
        ((p, 0, LINE), "n: expected an integer"),
        ((p[:-1], 10, LINE), "density: expected an array of shape"),
        ((p * 1e3, 10, LINE), "density: expected cell averages"),
        ((p, 10), "grid: expected a grid beside a plain array"),
    ):
        with pytest.raises(ValueError, match=message):
            particles.histogram_floor(*bad)
    with pytest.raises(ValueError, match="distance: expected a finite number > 0"):
        particles.needed(0.0, p, LINE)


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-6, 0.99), st.integers(1, 60))
def test_the_exact_deviation_is_that_of_a_binomial(p: float, n: int) -> None:
    k = np.arange(n + 1)
    pmf = stats.binom.pmf(k, n, p)
    deviation = float(_agreement.binomial_deviation(np.array([p]), n)[0])
    assert deviation == pytest.approx(np.sum(pmf * np.abs(k / n - p)), rel=1e-9)
    for r in (0.0, 0.5 * p, p, min(1.0, 2 * p), 1.0):
        distance = float(_agreement.binomial_distance(np.array([p]), np.array([r]), n)[0])
        assert distance == pytest.approx(np.sum(pmf * np.abs(k / n - r)), rel=1e-8, abs=1e-14)


def test_the_distance_to_a_reference_is_what_was_foretold() -> None:
    run = exact_run({"a": [NORMAL], "b": [fp.Gaussian(0.05, std=1.0)]}, [0.5], LINE)
    checks = [
        particles.compare(run, exact_cloud([NORMAL], [0.5], 5000, s), start="a", at=0.5, reference="b")
        for s in range(60)
    ]
    measured = np.array([float(check["reference_distance"][0]) for check in checks])
    expected, spread = float(checks[0]["reference_expected"][0]), float(checks[0]["reference_spread"][0])
    assert abs(measured.mean() - expected) < 4.5 * measured.std() / 60**0.5
    assert measured.std() == pytest.approx(spread, rel=0.35)
    # The truth, 0.1, is drowned: what particles report is mostly their own noise.
    assert float(checks[0]["floor_exact"][0]) < expected < 1.1 * float(checks[0]["floor_exact"][0])
    assert json.loads(checks[0].attrs["weight"])["kind"] == "polynomial"


# --- the whole road ------------------------------------------------------------------------------------------------


def test_particles_agree_with_evolve() -> None:
    reverse = fp.Reverse(TWO, fp.VP())
    starts = {"exact": reverse.marginal(1.0), "prior": fp.VP().prior()}
    run = fp.evolve(reverse, starts, t_min=1e-2, tol=1e-4, save_at=[1.0, 0.3, 0.1, 0.01])
    cloud = particles.simulate(reverse, starts["prior"], n=50_000, steps=800, seed=0, save_at=run["t"], histogram=LINE)
    check = particles.compare(run, cloud, start="prior", reference="exact")
    assert check.attrs["verdict"] == "agree"
    assert check.sizes["t"] == 4
    # The control: eight steps are not enough for anybody.
    coarse = particles.simulate(reverse, starts["prior"], n=50_000, steps=8, seed=0, save_at=run["t"])
    assert particles.compare(run, coarse, start="prior").attrs["verdict"] == "disagree"


@pytest.mark.parametrize(("half", "cells"), [(10.0, 24), (1.5, 60)])
def test_z_scores_allow_for_wide_cells_and_for_what_lies_beyond_the_box(half, cells):
    """Normal samples against their own cell probabilities, on cells as wide as the law, and in a box that cuts it."""
    grid = fp.Grid.uniform((-half, half), cells=cells)
    density = np.diff(stats.norm.cdf(np.linspace(-half, half, cells + 1), 0.3, 1.0)) / grid.spacing[0]
    run = xr.Dataset(
        {"density": (("start", "t", "x"), density[None, None])}, coords={"start": ["a"], "t": [0.5], "x": grid.x}
    )
    rng, alarms = np.random.default_rng(4), 0
    for _ in range(60):
        cloud = fp.particles.from_positions([0.5], rng.normal(0.3, 1.0, (1, 20_000)))
        found = fp.particles.compare(run, cloud, start="a", false_alarm=0.03, at=[0.5])
        alarms += bool(found.p_value.sel(test="z").item() < found.level.sel(test="z").item())
    # one in a hundred each: more than four of 60 has a chance of 4e-4
    assert alarms <= 4
    moved = fp.particles.from_positions([0.5], rng.normal(1.0, 1.0, (1, 20_000)))
    assert fp.particles.compare(run, moved, start="a", at=[0.5]).attrs["verdict"] == "disagree"

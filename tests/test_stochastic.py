"""The stochastic Fokker-Planck equation against its Gaussian oracle, its invariants, and what it refuses."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from scipy.stats import kstest

import fpsolve as fp
from fpsolve import stochastic

MEAN, STD, RATE, SPREAD = 1.0, 0.8, 1.0, 2.0**0.5
PATHS, SEED = 8, 1
OU = fp.Dynamics(lambda t, x: -RATE * x, SPREAD)
LINE = fp.Grid.uniform((-9, 9), cells=400)


def ensemble(k: float, steps: int, convention: str = "stratonovich", **options) -> xr.Dataset:
    """Constant noise of strength k on a Gaussian under Ornstein-Uhlenbeck, drift error k dW."""
    defaults = dict(grid=LINE, steps=steps, paths=PATHS, seed=SEED, t_max=1.0, estimate=False)
    noise = stochastic.constant(k**2)
    return stochastic.evolve(OU, fp.Gaussian(MEAN, std=STD), noise, convention=convention, **defaults | options)


def oracle(run: xr.Dataset, k: float) -> dict[str, np.ndarray]:
    """Mean path, variance and quadratic variations along the same Brownian paths, on 4 substeps of every step.

    ``dm = -l m dr + k dW`` with the integral of W matched: exact to second order of the tiny substeps.
    """
    times, sub = run["node_t"].values, 4
    fine = np.append((times[:-1, None] + np.diff(times)[:, None] * np.arange(sub) / sub).ravel(), times[-1])
    brownian = stochastic.BrownianPaths(SEED, run.sizes["path"], 1, run.attrs["brownian_span"])
    increment, mean = (part[:, 0] for part in brownian.increments(fine))
    h = np.diff(fine)
    m = np.empty((len(increment), len(fine)))
    m[:, 0] = MEAN
    for n in range(len(h)):
        m[:, n + 1] = (m[:, n] + k * mean[:, n]) * np.exp(-RATE * h[n]) + k * (increment - mean)[:, n]
    lost = k**2 if run.attrs["convention"] == "ito" else 0.0
    v = (SPREAD**2 - lost) / (2.0 * RATE)
    v = v + (STD**2 - v) * np.exp(-2.0 * RATE * times)
    # mean over each substep, and the variance within it on average
    inside = m[:, :-1] + k * mean + 0.5 * (np.diff(m) - k * increment)
    path = m[:, ::sub]
    energy = 0.5 * (path**2 + v)
    return {
        "mean": path,
        "variance": v,
        "formula": k**2 * ((inside**2 + np.diff(m) ** 2 / 6.0) * h).sum(axis=1),
        "realised": np.square(np.diff(energy, axis=1)).sum(axis=1),
    }


def moments(run: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance; averages over cells add h^2/12 to the latter."""
    q, x, h = run["density"].values, LINE.x, LINE.spacing[0]
    mean = (q * x).sum(axis=-1) * h
    return mean, (q * x**2).sum(axis=-1) * h - mean**2 - h**2 / 12.0


@pytest.mark.parametrize("steps", [500, 2000])
@pytest.mark.parametrize(("k", "convention"), [(0.3, "stratonovich"), (1.0, "stratonovich"), (1.0, "ito")])
def test_gaussian_oracle(k, convention, steps):
    run = ensemble(k, steps, convention)
    known = oracle(run, k)
    saved = np.searchsorted(run["node_t"].values, run["t"].values)
    mean, variance = moments(run)
    found = stochastic.quadratic_variation(run).sel(share=1.0)
    off = {
        "mean": np.abs(mean - known["mean"][:, saved]).max(),
        "variance": np.abs(variance - known["variance"][saved]).max(),
        "formula": np.abs(found["formula"].values - known["formula"]).max(),
        "realised": np.abs(found["realised"].values - known["realised"]).max(),
    }
    print(f"k = {k:g}, {convention}, {steps} steps:", {name: f"{value:.1e}" for name, value in off.items()})
    assert max(off.values()) <= 1e-3
    assert abs(run["mass"] - 1.0).max() <= 1e-12
    # the realised variation scatters about the formula, and tends to it
    assert np.all(np.abs(found["realised"] - found["formula"]) <= 4.0 * found["spread"] + 2e-3)


def test_wrong_limits_would_be_seen():
    """The controls: Ito and Stratonovich differ by 250 tolerances, and so do other Brownian paths."""
    run = ensemble(1.0, 100)
    known = oracle(run.assign_attrs(convention="ito"), 1.0)
    assert abs(moments(run)[1][:, -1] - known["variance"][-1]).min() > 0.25
    other = ensemble(1.0, 100, seed=SEED + 1)
    assert np.abs(moments(other)[0][:, -1] - known["mean"][:, -1]).max() > 0.25


def test_the_same_brownian_path_at_any_number_of_steps_and_paths():
    few, many = ensemble(1.0, 50, paths=2), ensemble(1.0, 200, paths=3)
    assert np.abs(few["brownian"].values - many["brownian"].values[:2, :, ::4]).max() < 1e-9
    last = fp.weighted_tv(few["density"].isel(t=-1), many["density"].isel(t=-1, path=slice(2)))
    assert float(last["distance"].max()) < 2e-3


BIMODAL = fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-1.0, 1.2], stds=[0.6, 0.7]), fp.OrnsteinUhlenbeck(T=1.5))
TWO = stochastic.ScoreNoise([lambda x: np.sin(2.0 * x), lambda x: np.cos(2.0 * x)], [0.05, 0.05])


def pathwise_errors(noise: stochastic.ScoreNoise, counts: list[int]) -> np.ndarray:
    """Root mean square over the paths of int |q - q_fine| at the end, q_fine with eight times the most steps."""

    def last(steps):
        run = stochastic.evolve(
            BIMODAL, BIMODAL.marginal(1.5), noise, grid=fp.Grid.uniform((-8, 8), cells=120), steps=steps, paths=8,
            seed=0, t_min=0.05, save_at=[0.05], estimate=False,
        )  # fmt: skip
        return run["density"].values[:, -1] * 16.0 / 120.0

    fine = last(8 * counts[-1])
    return np.array([np.sqrt(np.mean(np.abs(last(n) - fine).sum(axis=1) ** 2)) for n in counts])


def test_orders_along_paths():
    """One where the modes commute, 1/2 where they do not; and 2 on the Gaussian oracle."""
    counts = [20, 40, 80]
    single, double = (
        pathwise_errors(noise, counts) for noise in (stochastic.ScoreNoise([lambda x: np.sin(2.0 * x)], [0.05]), TWO)
    )
    gauss = [
        ensemble(1.0, n, grid=fp.Grid.uniform((-9, 9), cells=120))["functional"].values[:, -1] for n in (20, 40, 640)
    ]
    ratio = np.log2(np.linalg.norm(gauss[0] - gauss[2]) / np.linalg.norm(gauss[1] - gauss[2]))
    slopes = [-np.polyfit(np.log(counts), np.log(e), 1)[0] for e in (single, double)]
    print("errors", single, double, "orders", slopes, "Gaussian", ratio)
    assert slopes[0] == pytest.approx(1.0, abs=0.25)
    assert slopes[1] == pytest.approx(0.5, abs=0.25)
    assert ratio > 1.7


def test_error_estimate_covers_noise_that_does_not_commute():
    grid = fp.Grid.uniform((-8, 8), cells=120)
    settings = dict(grid=grid, paths=8, seed=0, t_min=0.05, save_at=[0.05])
    run = stochastic.evolve(BIMODAL, BIMODAL.marginal(1.5), TWO, steps=60, **settings).isel(t=-1)
    fine = stochastic.evolve(BIMODAL, BIMODAL.marginal(1.5), TWO, steps=960, estimate=False, **settings).isel(t=-1)
    off = fp.weighted_tv(run["density"], fine["density"])["distance"]
    print("error", off.values, "estimate", run["error_estimate"].values)
    assert np.all(off <= run["error_estimate"])


def test_densities_are_conditional_laws_of_particles_that_share_the_noise():
    """Particles with their own B and the common W by Heun steps (Stratonovich), two modes that do not commute."""
    n, steps, sigma = 10_000, 400, 1.0
    dynamics = fp.Dynamics(lambda t, x: x - x**3, sigma)
    modes = stochastic.ScoreNoise([lambda x: np.sin(2.0 * x), lambda x: np.cos(2.0 * x)], [0.3, 0.2])
    grid = fp.Grid.uniform((-5, 5), cells=300)
    run = stochastic.evolve(
        dynamics, fp.Gaussian(0.2, std=0.6), modes, grid=grid, steps=400, paths=2, seed=9, t_max=1.0, estimate=False
    )
    times = np.linspace(0.0, 1.0, steps + 1)
    increment, _ = stochastic.BrownianPaths(9, 2, 2, 1.0).increments(times)
    root = np.sqrt(modes.variances)

    def move(x, dw, db):
        return (x - x**3) / steps + root @ (modes.values(0.0, x) * dw[:, None]) + sigma * db

    for path in range(2):
        rng = np.random.default_rng([9, path])
        x = rng.normal(0.2, 0.6, n)
        for k in range(steps):
            db = rng.standard_normal(n) * steps**-0.5
            first = move(x, increment[path, :, k], db)
            x = x + 0.5 * (first + move(x + first, increment[path, :, k], db))
        cdf = np.append(0.0, np.cumsum(run["density"].values[path, -1]) * grid.spacing[0])
        gap = kstest(x, lambda y, cdf=cdf: np.interp(y, grid.face_axes[0], cdf)).statistic
        spread = float(np.std(x))
        print(f"path {path}: Kolmogorov distance {gap:.4f}, particles' std {spread:.3f}")
        assert gap < 2.2 / n**0.5  # false alarm 1e-4
    apart = fp.distances.total_variation(run["density"][0, -1], run["density"][1, -1])["distance"]
    assert float(apart) > 0.1  # another path, another law


def test_ito_noise_may_take_all_the_diffusion_away():
    """k = g: v' = -2 v; upwind fluxes are what is left, and the estimate covers what they smear."""
    still = fp.Dynamics(lambda t, x: -x, 1.0)
    run = stochastic.evolve(
        still, fp.Gaussian(0.5, std=0.8), stochastic.constant(1.0), grid=LINE, steps=100, paths=2, seed=0, t_max=1.0,
        convention="ito",
    )  # fmt: skip
    mean, variance = moments(run)
    exact = 0.64 * np.exp(-2.0)
    assert np.all(variance[:, -1] > exact)
    assert variance[:, -1] == pytest.approx(exact, abs=0.03)
    for path in range(2):
        law = fp.Gaussian(mean[path, -1], std=exact**0.5)
        truth = xr.DataArray(LINE.cell_average(law), coords={"x": run["x"]})
        last = run.isel(path=path, t=-1)
        assert float(fp.weighted_tv(last["density"], truth)["distance"]) <= float(last["error_estimate"])


@pytest.mark.parametrize("convention", ["ito", "stratonovich"])
def test_noise_that_grows_with_x_moves_the_mean_as_a_geometric_brownian_motion(convention):
    """e(x) = x: ``dm = -m dr + k m dW``, so ``m = m_0 exp(-r + k W - k^2 r/2)`` for Ito, without the last term else."""
    k, steps = 0.3, 200
    noise = stochastic.ScoreNoise([lambda x: x], [k**2])
    grid = fp.Grid.uniform((-4.5, 4.5), cells=400)
    run = stochastic.evolve(
        OU, fp.Gaussian(MEAN, std=STD), noise, grid=grid, steps=steps, paths=4, seed=SEED, t_max=1.0,
        convention=convention, estimate=False, save_at=[1.0],
    )  # fmt: skip
    brownian = stochastic.BrownianPaths(SEED, 4, 1, run.attrs["brownian_span"])
    moved = brownian.at([0.0, 1.0])
    w = (moved[..., 1] - moved[..., 0]).ravel()
    mean = (run["density"].values[:, -1] * grid.x).sum(axis=-1) * grid.volume
    # the control: half of Ito's drift moves the mean by k^2/4 = 2 %
    expected = np.exp(-1.0 + k * w - (0.5 * k**2 if convention == "ito" else 0.0))
    print(convention, mean / expected - 1.0)
    np.testing.assert_allclose(mean, MEAN * expected, rtol=3e-3)


def test_ito_noise_has_no_mean():
    """E u solves the equation without noise: <u, phi> over 400 paths agrees within four standard errors."""
    noise = stochastic.random_fourier(0.15, length=0.8, modes=3, seed=2)
    settings = dict(grid=fp.Grid.uniform((-6, 6), cells=80), steps=40, t_min=0.3, estimate=False, save_at=[0.3])
    start = BIMODAL.marginal(1.5)
    noisy = stochastic.evolve(BIMODAL, start, noise, paths=400, seed=0, convention="ito", **settings)
    strat = stochastic.evolve(BIMODAL, start, noise, paths=400, seed=0, **settings)
    clean = fp.evolve(BIMODAL, {"start": start}, **settings)["density"].values[0, -1]
    x, h = noisy["x"].values, 12.0 / 80
    scores = {}
    for name, run in (("ito", noisy), ("stratonovich", strat)):
        for label, phi in (("x^2", x**2), ("cos 2x", np.cos(2.0 * x))):
            values = run["density"].values[:, -1] @ phi * h
            scores[name, label] = (values.mean() - clean @ phi * h) / (values.std(ddof=1) / 20.0)
    print(scores)
    assert all(abs(z) < 4.0 for (name, _), z in scores.items() if name == "ito")
    assert max(abs(z) for (name, _), z in scores.items() if name == "stratonovich") > 4.0  # the control


def test_error_estimate_covers_the_error_along_every_path():
    run = ensemble(1.0, 100, estimate=True, grid=fp.Grid.uniform((-9, 9), cells=200))
    known = oracle(run, 1.0)
    for path in range(PATHS):
        law = fp.Gaussian(known["mean"][path, -1], std=known["variance"][-1] ** 0.5)
        exact = xr.DataArray(run.fpsolve.grid.cell_average(law), coords={"x": run["x"]})
        last = run.isel(path=path, t=-1)
        assert float(fp.weighted_tv(last["density"], exact)["distance"]) <= float(last["error_estimate"])


def ensemble_of(start: fp.Law, k: float, grid: fp.Grid, steps: int) -> xr.Dataset:
    noise = stochastic.constant(k**2)
    return stochastic.evolve(OU, start, noise, grid=grid, steps=steps, paths=4, seed=SEED, t_max=1.0)


def shifted_mixtures(run: xr.Dataset, k: float, start: fp.GaussianMixture) -> np.ndarray:
    """Cell averages along every path: linear drift and constant noise move all components of a mixture by one shift."""
    shift = oracle(run, k)["mean"] - MEAN * np.exp(-RATE * run["node_t"].values)
    truth = np.empty(run["density"].shape)
    for save, t in enumerate(run["t"].values):
        fall = np.exp(-RATE * t)
        stds = np.sqrt(fall**2 * start.component_covs[:, 0, 0] + SPREAD**2 / (2.0 * RATE) * (1.0 - fall**2))
        node = int(np.argmin(np.abs(run["node_t"].values - t)))
        for path in range(run.sizes["path"]):
            law = fp.GaussianMixture([0.3, 0.7], fall * start.component_means[:, 0] + shift[path, node], stds=stds)
            truth[path, save] = run.fpsolve.grid.cell_average(law)
    return truth


@pytest.mark.parametrize("k", [0.0, 0.5])
@pytest.mark.parametrize(
    ("cells", "steps", "why"),
    [(100, 1, "a single step"), (64, 2, "do not come down"), (24, 80, "do not come down"), (16, 8, ""), (120, 200, "")],
)
def test_ensembles_on_unresolved_levels_have_no_estimate(k, cells, steps, why):
    """Two levels that are equally unresolved agree: the difference alone was up to 280 times below the error."""
    start = fp.GaussianMixture([0.3, 0.7], [-1.0, 1.5], stds=[0.15, 0.2])
    grid = fp.Grid.uniform((-9, 9), cells=cells)
    with pytest.warns(fp.UnresolvedWarning, match=why):
        run = ensemble_of(start, k, grid, steps)
    assert run.attrs["resolved"] == "no" and why in run.attrs["resolved_reason"]
    assert np.isinf(run["error_estimate"].values).any()
    assert np.array_equal(run["density"]["unresolved"], np.isinf(run["error_estimate"]))
    weighted = (1.0 + grid.x**2) * np.abs(run["density"].values - shifted_mixtures(run, k, start))
    off = weighted.sum(axis=-1) * grid.volume
    assert np.all(off[:, 1:] <= run["error_estimate"].values[:, 1:])


@pytest.mark.parametrize("k", [0.0, 0.5])
def test_resolved_ensembles_of_narrow_laws_are_covered(k):
    start = fp.GaussianMixture([0.3, 0.7], [-1.0, 1.5], stds=[0.3, 0.4])
    grid = fp.Grid.uniform((-9, 9), cells=360)
    run = ensemble_of(start, k, grid, 160)
    assert run.attrs["resolved"] == "yes"
    weighted = (1.0 + grid.x**2) * np.abs(run["density"].values - shifted_mixtures(run, k, start))
    ratio = run["error_estimate"].values[:, 1:] / (weighted.sum(axis=-1) * grid.volume)[:, 1:]
    print("estimate over error, smallest and median", ratio.min(), np.median(ratio))
    assert ratio.min() >= 1.0 and np.median(ratio) <= 20.0


def test_steps_of_an_ensemble_end_where_the_noise_jumps():
    def spread(t):
        return 1.4 if t <= 0.1234 else 0.3

    dynamics = fp.Dynamics(lambda t, x: -x, spread, breaks=(0.1234,))
    start, grid = fp.Gaussian(1.0, std=0.5), fp.Grid.uniform((-6, 6), cells=480)
    still = stochastic.constant(0.0)
    run = stochastic.evolve(dynamics, start, still, grid=grid, steps=60, paths=1, seed=0, t_max=0.4)
    assert 0.1234 in run["node_t"].values
    at_jump = 0.5 * 1.4**2 + (0.5**2 - 0.5 * 1.4**2) * np.exp(-2 * 0.1234)
    variance = 0.5 * 0.3**2 + (at_jump - 0.5 * 0.3**2) * np.exp(-2 * (0.4 - 0.1234))
    truth = grid.cell_average(fp.Gaussian(np.exp(-0.4), std=variance**0.5))
    off = float(((1.0 + grid.x**2) * np.abs(run["density"].values[0, -1] - truth)).sum() * grid.volume)
    print("a jump of the noise: error", off, "estimate", float(run["error_estimate"][0, -1]))
    assert off <= 4e-3 and off <= float(run["error_estimate"][0, -1]) < np.inf


def test_a_mode_of_time_beside_one_of_none_is_asked_at_every_time():
    """Noise that is there after r = 0.5 alone: all paths are one until then, and none afterwards."""
    start, grid = fp.Gaussian(1.0, std=0.8), fp.Grid.uniform((-8, 8), cells=120)
    late = lambda t, x: np.full_like(x, float(t < 0.5))  # noqa: E731
    noise = stochastic.ScoreNoise([lambda x: np.zeros_like(x), late], [1.0, 0.5])
    assert not noise.autonomous
    ask = {"grid": grid, "steps": 80, "paths": 3, "seed": 0, "save_at": [0.5, 0.1], "t_min": 0.1, "estimate": False}
    run = stochastic.evolve(fp.Reverse(fp.Gaussian(0.5, std=0.8), fp.VP()), start, noise, **ask)
    apart = np.abs(run["density"].values - run["density"].values[:1]).sum(axis=-1)[1:] * grid.volume
    assert run["t"].values.tolist() == [1.0, 0.5, 0.1]
    assert apart[:, :2].max() <= 1e-12 and apart[:, 2].min() >= 0.05


@pytest.mark.parametrize("kind", ["fourier", "localized", "time"])
def test_mass_of_every_path_is_kept_and_negativity_reported(kind):
    noise = {
        "fourier": stochastic.random_fourier(0.05, length=1.0, modes=6, seed=3),
        "localized": stochastic.localized([-1.0, 1.5], width=0.4, strength=0.05),
        "time": stochastic.ScoreNoise([lambda t, x: np.sin(3.0 * t) * np.tanh(x)], [0.05]),
    }[kind]
    target = fp.GaussianMixture([0.5, 0.5], [-1.5, 1.5], stds=[0.4, 0.5])
    reverse = fp.Reverse(target, fp.OrnsteinUhlenbeck(T=2.0), eta=0.8)
    run = stochastic.evolve(
        reverse, reverse.marginal(2.0), noise, grid=fp.Grid.uniform((-7, 7), cells=200), steps=100, paths=4, seed=0,
        t_min=0.02,
    )  # fmt: skip
    assert abs(run["mass"] - run["mass"].isel(t=0)).max() <= 1e-12
    negative = np.minimum(run["density"].values, 0.0).sum(axis=-1) * run.fpsolve.grid.volume
    assert np.array_equal(run["negative_mass"].values, -negative)
    assert np.all(run["smallest_density_ever"] <= run["smallest_density"].min("t"))
    assert float(run["negative_mass"].max()) < 1e-8
    assert np.all(np.diff(run["t"]) < 0.0)


def test_negative_densities_are_kept_and_said():
    """A start narrower than the cells rings under the remap; nothing is clipped."""
    grid = fp.Grid.uniform((-4, 4), cells=64)
    spike = np.zeros(64)
    spike[32] = 1.0 / grid.volume
    still = fp.Dynamics(lambda t, x: 0.0 * x, 1e-3)
    with pytest.warns(fp.UnresolvedWarning, match="do not come down"):
        run = stochastic.evolve(still, spike, stochastic.constant(1.0), grid=grid, steps=4, paths=3, seed=0, t_max=0.5)
    assert np.isinf(run["error_estimate"].values[:, -1]).all()
    assert np.all(run["negative_mass"].isel(t=-1) > 1e-3)
    assert abs(run["mass"] - 1.0).max() <= 1e-12


def test_noise_free_ensembles_are_evolve():
    target = fp.GaussianMixture([0.4, 0.6], [-1.0, 1.2], stds=[0.5, 0.6])
    reverse = fp.Reverse(target, fp.VP(), eta=1.0)
    settings = dict(grid=fp.Grid.uniform((-6, 6), cells=120), steps=60, t_min=0.02)
    start = fp.VP().prior()
    plain = fp.evolve(reverse, {"start": start}, **settings)
    quiet = stochastic.evolve(reverse, start, stochastic.constant(0.0), paths=2, seed=0, **settings)
    assert np.abs(quiet["density"].values - plain["density"].values).max() < 1e-12
    assert float(stochastic.quadratic_variation(quiet)["formula"].max()) == 0.0


def test_langevin_forward_and_periodic_dynamics():
    law = fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[0.6, 0.6])
    noise = stochastic.random_fourier(0.1, length=1.0, modes=4, seed=0)
    grid = fp.Grid.uniform((-6, 6), cells=120)
    run = stochastic.evolve(fp.Langevin(law), law, noise, grid=grid, steps=40, paths=2, seed=0, t_max=0.5)
    assert abs(run["mass"] - 1.0).max() <= 1e-12
    forward = fp.Forward(fp.OrnsteinUhlenbeck(T=1.0))
    run = stochastic.evolve(forward, law, noise, grid=grid, steps=40, paths=2, seed=0, t_max=0.5)
    assert abs(run["mass"] - 1.0).max() <= 1e-12
    assert np.all(np.diff(run["t"]) > 0.0)
    ring = fp.Dynamics(lambda t, x: np.sin(x), 0.8, boundary="periodic")
    circle = fp.Grid.uniform((-np.pi, np.pi), cells=96)
    flat = np.full(96, 1.0 / (2.0 * np.pi))
    turning = stochastic.constant(0.4)
    kwargs = dict(grid=circle, steps=40, paths=2, seed=0, t_max=1.0)
    still = fp.Dynamics(lambda t, x: 0.0 * x, 0.8, boundary="periodic")
    assert np.abs(stochastic.evolve(still, flat, turning, **kwargs)["density"] - flat[0]).max() < 1e-12
    assert abs(stochastic.evolve(ring, flat, turning, **kwargs)["mass"] - 1.0).max() <= 1e-12


def test_saved_and_loaded_without_loss(tmp_path):
    run = ensemble(0.3, 20, paths=2, estimate=True, grid=fp.Grid.uniform((-9, 9), cells=60))
    run.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as loaded:
        xr.testing.assert_identical(loaded.load(), run)
        again = stochastic.quadratic_variation(loaded)
    xr.testing.assert_identical(again, stochastic.quadratic_variation(run))
    wanted = {"seed", "paths", "noise", "convention", "test_function", "version", "steps", "t_end", "starts", "weight"}
    assert wanted <= set(run.attrs)
    assert run.attrs["noise"] == "constant(strength=0.09, dim=1)"
    assert run.fpsolve.grid.shape == (60,)


def test_figure_of_an_ensemble():
    run = ensemble(0.3, 10, paths=3, grid=fp.Grid.uniform((-9, 9), cells=60))
    ax = fp.plots.ensemble(run, t=0.5, exact=fp.Gaussian(0.0, std=1.0))
    assert len(ax.lines) == 5
    shown = run["density"].sel(t=0.5, method="nearest").values
    assert np.array_equal(ax.lines[1].get_ydata(), shown[1])
    np.testing.assert_allclose(ax.lines[3].get_ydata(), shown.sum(axis=0) / 3.0, rtol=1e-12)
    plt.close("all")
    with pytest.raises(ValueError, match="an ensemble in 1D"):
        fp.plots.ensemble(run.isel(path=0))


def test_figure_of_rank_correlations():
    """Rows top to bottom, one mark per distance at its value, a line from end to end of its interval."""
    parts = {"value": [[0.7, 0.2], [0.5, np.nan]], "low": [[0.6, -0.1], [0.3, 0.0]], "high": [[0.8, 0.4], [0.9, 0.1]]}
    dims, names = ("distance", "case"), {"distance": ["tv", "w2"], "case": ["a", "b"]}
    found = xr.Dataset({name: (dims, values) for name, values in parts.items()}, coords=names)
    rows = {"first": {"case": "a"}, "second": {"case": "b"}}
    ax = fp.plots.rank_correlations(found, rows=rows, distances={"tv": "TV", "w2": "W2"})
    assert [text.get_text() for text in ax.get_yticklabels()] == ["first", "second"] and ax.yaxis_inverted()
    ends = [[segment[:, 0].tolist() for segment in lines.get_segments()] for lines in ax.collections]
    assert ends == [[[0.6, 0.8], [-0.1, 0.4]], [[0.3, 0.9]]]
    marks = {str(line.get_label()): line for line in ax.lines}
    assert marks["TV"].get_xdata().tolist() == [0.7, 0.2] and marks["W2"].get_xdata().tolist() == [0.5]
    assert [round(float(y)) for y in marks["TV"].get_ydata()] == [0, 1]


def test_a_generator_is_a_seed_that_is_recorded():
    settings = dict(paths=1, grid=fp.Grid.uniform((-9, 9), cells=60))
    drawn = ensemble(0.3, 10, seed=np.random.default_rng(4), **settings)
    again = ensemble(0.3, 10, seed=drawn.attrs["seed"], **settings)
    assert np.array_equal(drawn["density"], again["density"])


BAD = {
    "Ito noise no stronger .* at x = .* negative diffusion": dict(
        noise=stochastic.localized([1.0], width=0.5, strength=2.5), convention="ito"
    ),
    "noise: expected a ScoreNoise": dict(noise=lambda x: x),
    r"modes\[0\]: expected values of shape \(61,\)": dict(noise=stochastic.ScoreNoise([lambda x: np.ones(3)], [0.1])),
    "finite": dict(noise=stochastic.ScoreNoise([lambda x: np.where(x > 1.0, np.nan, x)], [0.1])),
    "convention": dict(convention="strat"),
    "paths": dict(paths=0),
    "t_max": dict(t_max=None),
    "seed": dict(seed=None),
    "starts": dict(start=fp.Gaussian([0.0, 0.0], std=1.0)),
}


@pytest.mark.parametrize("message", BAD)
def test_refusals_in_one_sentence(message):
    settings = dict(
        start=fp.Gaussian(0.0, std=1.0), noise=stochastic.constant(0.1), grid=fp.Grid.uniform((-8, 8), cells=60),
        steps=20, paths=2, seed=0, t_max=0.5, estimate=False,
    )  # fmt: skip
    with pytest.raises(ValueError, match=message) as told:
        stochastic.evolve(OU, **settings | BAD[message])
    assert "\n" not in str(told.value)


def test_noise_that_folds_the_grid_over_is_refused(monkeypatch):
    monkeypatch.setattr("fpsolve.stochastic._march.STEEPEST", 1e9)  # pieces of the flow too long for it
    steep = stochastic.ScoreNoise([lambda x: 20.0 * np.sin(5.0 * x)], [1.0])
    with pytest.raises(ValueError, match=r"steps: .* without folding it, got a fold at t = ") as told:
        stochastic.evolve(
            OU, fp.Gaussian(0.0, std=1.0), steep, grid=fp.Grid.uniform((-8, 8), cells=120), steps=2, paths=2, seed=0,
            t_max=0.5, estimate=False,
        )  # fmt: skip
    assert "\n" not in str(told.value)


def test_without_diffusion_there_are_no_ensembles():
    flow = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0), eta=0.0)
    with pytest.raises(ValueError, match=r"eta|noise"):
        stochastic.evolve(
            flow, fp.Gaussian(0.0, std=1.0), stochastic.constant(0.1), grid=LINE, steps=4, paths=1, seed=0, t_min=0.5
        )


def test_noise_families_refuse():
    for message, make in {
        "modes: expected at least one": lambda: stochastic.ScoreNoise([], []),
        "one per mode, got shape": lambda: stochastic.ScoreNoise([np.sin], [0.1, 0.2]),
        "variance": lambda: stochastic.ScoreNoise([np.cos], [-0.1]),
        "3 arguments": lambda: stochastic.ScoreNoise([lambda a, b, c: a], [0.1]),
        "direction": lambda: stochastic.constant(0.1, direction=[1.0, 0.0]),
        "divergence_free": lambda: stochastic.random_fourier(0.1, length=1.0, seed=0, divergence_free=True),
        "directions": lambda: stochastic.localized([[0.0, 0.0]], width=0.5, strength=0.1),
        "centres": lambda: stochastic.localized([[0.0, 0.0, 0.0]], width=0.5, strength=0.1),
    }.items():
        with pytest.raises(ValueError, match=message):
            make()

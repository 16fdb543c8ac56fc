"""Score error in 2D: what is free of divergence changes no marginal, what is not follows the Gaussian oracle."""

import numpy as np
import pytest
import xarray as xr

import fpsolve as fp
from fpsolve import stochastic

PROCESS = fp.OrnsteinUhlenbeck(T=1.0)
ROUND = fp.Gaussian([0.0, 0.0], std=0.6)
MIXED = fp.GaussianMixture(
    [0.5, 0.5], [[-0.8, 0.3], [0.8, -0.2]], covs=[np.diag([0.4, 0.6]), np.array([[0.5, 0.1], [0.1, 0.4]])]
)
TIMES = [0.5, 0.05]


def quarter_turn(v: np.ndarray) -> np.ndarray:
    """J v, v turned by 90 degrees."""
    return np.stack([-v[..., 1], v[..., 0]], axis=-1)


def case(name: str):
    """Reverse dynamics, start, error e(t, x) with div(u e) = 0 along the whole run, box.

    A rotation leaves round densities alone; ``e = J grad log p_t = J grad p_t / p_t`` leaves p_t alone whatever it is.
    """
    if name == "round":
        return fp.Reverse(ROUND, PROCESS), fp.Gaussian([0.0, 0.0], std=1.3), lambda t, x: quarter_turn(x), 6.0
    reverse = fp.Reverse(MIXED, PROCESS)
    return reverse, reverse.marginal(1.0), lambda t, x: quarter_turn(reverse.score(t, x)), 6.5


def extrapolated(run: xr.Dataset) -> xr.DataArray:
    return run.fpsolve.extrapolated.sel(t=TIMES).rename(x_previous="x", y_previous="y")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["round", "mixed"])
def test_divergence_free_errors_change_no_marginal(name):
    reverse, start, error, box = case(name)
    settings = dict(grid=fp.Grid.uniform([(-box, box)] * 2, cells=128), steps=64, t_min=0.05, save_at=TIMES)
    clean = extrapolated(fp.evolve(reverse, {"start": start}, **settings)).isel(start=0)

    noise = stochastic.ScoreNoise([error], [0.02])  # turns by 0.3 in all
    noisy = stochastic.evolve(reverse, start, noise, paths=3, seed=0, **settings)
    wrong = fp.Reverse(reverse.target, PROCESS, score=lambda t, x: reverse.score(t, x) + 0.3 * error(t, x))
    given = extrapolated(fp.evolve(wrong, {"start": start}, **settings)).isel(start=0)

    along_paths = float(fp.distances.total_variation(extrapolated(noisy), clean)["distance"].max())
    deterministic = float(fp.distances.total_variation(given, clean)["distance"].max())
    print(f"{name}: TV {along_paths:.1e} along the paths, {deterministic:.1e} for the given error")
    assert along_paths <= 1e-5
    assert deterministic <= 1e-5
    assert abs(noisy["mass"] - noisy["mass"].isel(t=0)).max() <= 1e-12
    if name == "round":
        # e is at right angles to grad phi: no variation at all
        assert float(stochastic.quadratic_variation(noisy)["formula"].max()) < 1e-20


def test_an_error_with_divergence_does():
    """The control: the same size of error, not turned."""
    reverse, start, _, box = case("round")
    settings = dict(grid=fp.Grid.uniform([(-box, box)] * 2, cells=48), steps=20, t_min=0.05, estimate=False)
    plain = stochastic.evolve(reverse, start, stochastic.constant(0.0, dim=2), paths=1, seed=0, **settings)
    noise = stochastic.ScoreNoise([lambda x: x], [0.02])
    noisy = stochastic.evolve(reverse, start, noise, paths=2, seed=0, **settings)
    far = fp.distances.total_variation(noisy["density"].isel(t=-1), plain["density"].isel(path=0, t=-1, drop=True))
    assert float(far["distance"].min()) > 1e-2


@pytest.mark.parametrize("convention", ["stratonovich", "ito"])
def test_gaussian_oracle_in_the_plane(convention):
    """One mode per axis: every coordinate is the oracle of the line."""
    k, rate = 0.8, 1.0
    start = fp.Gaussian([1.0, -0.5], cov=np.diag([0.6, 0.9]))
    grid = fp.Grid.uniform([(-7, 7), (-7, 7)], cells=96)
    run = stochastic.evolve(
        fp.Dynamics(lambda t, x: -rate * x, 2.0**0.5), start, stochastic.constant(k**2, dim=2), grid=grid, steps=40,
        paths=2, seed=3, t_max=1.0, convention=convention,
    )  # fmt: skip
    q = run.fpsolve.extrapolated.isel(t=-1)
    x, volume = run.fpsolve.grid.coarsen().axes[0], run.fpsolve.grid.coarsen().volume
    times = run["node_t"].values
    increment, mean = stochastic.BrownianPaths(3, 2, 2, 1.0).increments(times)
    lost = k**2 if convention == "ito" else 0.0
    for axis, (m0, v0) in enumerate([(1.0, 0.6), (-0.5, 0.9)]):
        m = np.full(2, m0)
        for n, h in enumerate(np.diff(times)):
            m = (m + k * mean[:, axis, n]) * np.exp(-rate * h) + k * (increment - mean)[:, axis, n]
        v = (2.0 - lost) / (2.0 * rate)
        v = v + (v0 - v) * np.exp(-2.0 * rate)
        line = q.values.sum(axis=2 - axis)
        found = (line * x).sum(axis=-1) * volume
        variance = (line * x**2).sum(axis=-1) * volume - found**2 - (x[1] - x[0]) ** 2 / 12.0
        assert np.abs(found - m).max() < 5e-4
        assert np.abs(variance - v).max() < 5e-4


def test_random_fields_keep_mass_and_free_ones_are_free():
    free = stochastic.random_fourier(0.05, length=1.5, modes=3, seed=0, dim=2, divergence_free=True)
    points = np.random.default_rng(0).uniform(-3.0, 3.0, (50, 2))
    h = 1e-5
    flow = [
        (free.values(0.0, points + h * e) - free.values(0.0, points - h * e))[..., k] for k, e in enumerate(np.eye(2))
    ]
    assert np.abs(sum(flow) / (2.0 * h)).max() < 1e-8
    reverse = fp.Reverse(MIXED, PROCESS)
    for noise in (free, stochastic.localized([[0.5, 0.0]], width=0.7, strength=0.05, directions=[[1.0, 1.0]])):
        run = stochastic.evolve(
            reverse, PROCESS.prior(dim=2), noise, grid=fp.Grid.uniform([(-6, 6), (-6, 6)], cells=48), steps=20,
            paths=2, seed=1, t_min=0.05,
        )  # fmt: skip
        assert abs(run["mass"] - run["mass"].isel(t=0)).max() <= 1e-12
        assert float(run["negative_mass"].max()) < 1e-6


def test_refusals_in_the_plane():
    plane = fp.Dynamics(lambda t, x: -x, 1.0)
    settings = dict(grid=fp.Grid.uniform([(-6, 6), (-6, 6)], cells=32), steps=4, paths=1, seed=0, t_max=0.1)
    start = fp.Gaussian([0.0, 0.0], std=1.0)
    tilted = stochastic.constant(0.1, dim=2, direction=[1.0, 1.0])
    with pytest.raises(ValueError, match="uncorrelated components for Ito in 2D"):
        stochastic.evolve(plane, start, tilted, convention="ito", **settings)
    with pytest.raises(ValueError, match=r"no stronger than the diffusion.* at x = \(.*negative diffusion"):
        stochastic.evolve(plane, start, stochastic.constant(1.2, dim=2), convention="ito", **settings)
    one_way = stochastic.constant(1.2, dim=2, direction=[1.0, 0.0])
    with pytest.raises(ValueError, match=r"no stronger than the diffusion.* got 1.2 at x = \(.*negative diffusion"):
        stochastic.evolve(plane, start, one_way, convention="ito", **settings)
    ring = fp.Dynamics(lambda t, x: -x, 1.0, boundary="periodic")
    with pytest.raises(ValueError, match="boundary: expected 'no-flux' for noise in 2D"):
        stochastic.evolve(ring, start, tilted, **settings)

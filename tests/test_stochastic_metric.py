"""Radial test functions, their integrals against cell averages, and the SIEM-like metrics in closed form."""

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import stochastic
from fpsolve.stochastic import RadialFunction
from fpsolve.stochastic._metric import against_averages, extended_points


def test_profile_and_slope_give_the_same_function():
    both = RadialFunction(np.cosh, np.sinh)
    from_profile, from_slope = RadialFunction(profile=np.cosh), RadialFunction(slope=np.sinh)
    x = np.linspace(-3.0, 3.0, 13)
    plane = np.stack([x, x[::-1] ** 2], axis=-1) / 3.0
    assert np.abs(from_profile.gradient(x, 1) - np.sinh(x)).max() < 1e-9
    assert np.abs(both.gradient(x, 1) - np.sinh(x)).max() < 1e-12
    assert np.abs(from_slope.value(x, 1) - (np.cosh(x) - 1.0)).max() < 1e-12
    assert np.abs(from_profile.gradient(plane, 2) - both.gradient(plane, 2)).max() < 1e-9
    assert np.all(both.gradient(np.zeros((1, 2)), 2) == 0.0)


def test_the_default_is_half_the_square():
    default, explicit = RadialFunction(), RadialFunction(profile=lambda rho: 0.5 * rho**2, slope=lambda rho: rho)
    x = np.random.default_rng(0).standard_normal((20, 2))
    assert np.abs(default.value(x, 2) - explicit.value(x, 2)).max() < 1e-14
    assert np.abs(default.gradient(x, 2) - explicit.gradient(x, 2)).max() < 1e-14
    assert default.description == "|x|^2/2"


def test_bad_functions_are_told():
    with pytest.raises(ValueError, match="profile: expected a callable"):
        RadialFunction(profile=3.0)
    with pytest.raises(ValueError, match=r"slope: expected values of shape \(4,\)"):
        RadialFunction(slope=lambda rho: rho[:2]).gradient(np.arange(4.0), 1)


@pytest.mark.parametrize("dim", [1, 2])
def test_integrals_against_cell_averages_are_of_fourth_order(dim):
    law = fp.Gaussian(0.3, std=0.5) if dim == 1 else fp.Gaussian([0.3, -0.2], cov=[[0.25, 0.05], [0.05, 0.36]])
    errors = []
    for cells in (20, 40):
        bounds = (-4, 4) if dim == 1 else [(-4, 4), (-4, 4)]
        grid = fp.Grid.uniform(bounds, cells=cells)
        points = extended_points(grid)
        values = np.cos(points) if dim == 1 else np.cos(points @ np.array([1.0, 0.5]))
        found = float(np.sum(against_averages(values, grid) * grid.cell_average(law)))
        w = np.ones(1) if dim == 1 else np.array([1.0, 0.5])
        mean, cov = np.atleast_1d(law.mean), np.atleast_2d(law.cov)
        errors.append(abs(found - np.exp(-0.5 * w @ cov @ w) * np.cos(w @ mean)))
    print(errors)
    assert np.log2(errors[0] / errors[1]) > 3.5


OU = fp.Dynamics(lambda t, x: -x + 0.4, 2.0**0.5)
GRID = fp.Grid.uniform((-8, 8), cells=160)


def run_on(times: np.ndarray):
    return fp.evolve(
        OU, {"near": fp.Gaussian(0.0, std=1.0), "far": fp.Gaussian(1.5, std=0.7)}, grid=GRID, steps=len(times) - 1,
        t_max=float(times[-1]), save_at=times, estimate=False,
    )  # fmt: skip


def test_siem_like_metric_of_a_constant_error():
    """e = 0.4: <u, e x> = 0.4 m with m known, so Q is a sum of known numbers; it falls like the steps."""
    totals = []
    for steps in (100, 200):
        times = np.linspace(0.0, 1.0, steps + 1)
        found = stochastic.siem_like(run_on(times), OU, lambda t, x: np.full_like(x, 0.4), shares=(1.0, 0.1, 0.55))
        for start, m0 in (("near", 0.0), ("far", 1.5)):
            m = 0.4 + (m0 - 0.4) * np.exp(-times)
            terms = (0.4 * m[:-1] / steps) ** 2
            assert found["contribution"].sel(start=start).values == pytest.approx(terms, rel=5e-3, abs=1e-9)
            for share in (1.0, 0.1, 0.55):
                value = float(found["metric"].sel(start=start, share=share))
                assert value == pytest.approx(terms[: round(share * steps)].sum(), rel=5e-3, abs=1e-9)
        totals.append(float(found["metric"].sel(start="far", share=1.0)))
    assert totals[0] / totals[1] == pytest.approx(2.0, abs=0.02)


def test_siem_like_metric_of_reverse_dynamics_has_the_gain():
    reverse = fp.Reverse(fp.Gaussian(0.8, std=1.0), fp.VP(), eta=0.5)
    times = np.linspace(1.0, 0.1, 31)
    run = fp.evolve(reverse, reverse.marginal(1.0), grid=GRID, steps=30, t_min=0.1, save_at=times, estimate=False)
    found = stochastic.siem_like(run, reverse, lambda t, x: np.full_like(x, 0.1))
    gain = 0.5 * (1.0 + 0.25) * reverse.process.diffusion(times[:-1]) ** 2
    mean = 0.8 * reverse.process.scale(0.0, times[:-1])
    terms = (gain * 0.03 * 0.1 * mean) ** 2
    assert found["contribution"].values[0] == pytest.approx(terms, rel=1e-2, abs=1e-12)


def test_siem_like_metric_with_the_mean_gain_of_steps():
    """EDM from sigma 20: g^2 = 2 t, its integral over a step known; the value at the beginning is off by a half."""
    reverse = fp.Reverse(fp.Gaussian(0.8, std=1.0), fp.EDM(sigma_max=20.0), eta=1.0)
    times = np.geomspace(20.0, 0.5, 11)
    grid = fp.Grid.uniform((-120, 120), cells=1200)
    run = fp.evolve(
        reverse, reverse.marginal(20.0), grid=grid, steps=400, t_min=0.5, save_at=times, estimate=False, frame="fixed"
    )
    plain, mean = (
        stochastic.siem_like(run, reverse, lambda t, x: np.full_like(x, 0.1), mean_gain=asked)["contribution"].values[0]
        for asked in (False, True)
    )
    turned = times[:-1] ** 2 - times[1:] ** 2
    assert mean == pytest.approx((turned * 0.1 * 0.8) ** 2, rel=1e-2)
    assert plain == pytest.approx((2.0 * times[:-1] * (times[:-1] - times[1:]) * 0.1 * 0.8) ** 2, rel=1e-2)
    assert (plain / mean).min() > 1.3


def test_siem_like_refuses():
    times = np.linspace(0.0, 0.2, 5)
    run = run_on(times)
    with pytest.raises(ValueError, match="error at t = 0"):
        stochastic.siem_like(run, OU, lambda t, x: x[:3])
    with pytest.raises(ValueError, match="fixed frame"):
        stochastic.siem_like(run.assign_attrs(frame="scaled"), OU, lambda t, x: x)
    with pytest.raises(ValueError, match=r"shares: expected numbers in \(0, 1\]"):
        stochastic.siem_like(run, OU, lambda t, x: x, shares=[0.0, 1.0])
    with pytest.raises(ValueError, match="an ensemble of fpsolve"):
        stochastic.quadratic_variation(run)


def test_other_test_functions_and_the_first_tenth_of_an_ensemble():
    """phi = rho^4/4 on a Gaussian: <u, k phi'> = k E x^3 = k (m^3 + 3 m v)."""
    k = 0.5
    run = stochastic.evolve(
        fp.Dynamics(lambda t, x: -x, 2.0**0.5), fp.Gaussian(1.0, std=1.0), stochastic.constant(k**2), grid=GRID,
        steps=400, paths=2, seed=0, t_max=1.0, estimate=False, test_function=RadialFunction(slope=lambda rho: rho**3),
    )  # fmt: skip
    times = run["node_t"].values
    increment, mean = (part[:, 0] for part in stochastic.BrownianPaths(0, 2, 1, 1.0).increments(times))
    m = np.ones((2, len(times)))
    h = np.diff(times)
    for n in range(len(h)):
        m[:, n + 1] = (m[:, n] + k * mean[:, n]) * np.exp(-h[n]) + k * (increment - mean)[:, n]
    inside = m[:, :-1] + k * mean
    rate = (k * (inside**3 + 3.0 * inside)) ** 2  # v stays 1
    found = stochastic.quadratic_variation(run)["formula"]
    assert found.sel(share=1.0).values == pytest.approx((rate * h).sum(axis=1), rel=0.02)
    early = times[1:] <= 0.1
    assert found.sel(share=0.1).values == pytest.approx((rate * h)[:, early].sum(axis=1), rel=0.05)
    assert run.attrs["test_function"].startswith("slope")


def test_resamples_without_ranks_widen_the_interval():
    """One of twelve numbers differs: a third of the resamples miss it, and say nothing of any correlation."""
    one = np.append(np.zeros(11), 1.0)
    found = stochastic.rank_correlation(one, np.arange(12.0), seed=0)
    assert (found.low, found.high) == (-1.0, 1.0)
    # three values: next to no resample has but one of them
    some = stochastic.rank_correlation(np.floor(np.arange(12.0) / 5.0), np.arange(12.0), seed=0)
    assert 0.6 < some.low < some.value < some.high < 1.0

"""Step grids against their formulas written by hand, and in use."""

from __future__ import annotations

import numpy as np
import pytest

import fpsolve as fp
from fpsolve.samplers import grids


def level(process, t):
    return np.sqrt(process.variance(0.0, t)) / process.scale(0.0, t)


PROCESSES = [fp.VP(), fp.EDM(), fp.CosineVP(), fp.VP.from_betas("scaled_linear"), fp.RectifiedFlow(T=0.99)]


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_grids_of_noise_levels_have_the_levels_of_their_formulas(process):
    T, last, n = process.T, 0.01 * process.T, 9
    top, bottom, share = level(process, T), level(process, last), np.arange(n + 1) / n
    for rho in (1.0, 7.0):
        times = grids.karras(n, process, rho, t_min=last)
        wanted = (top ** (1 / rho) + share * (bottom ** (1 / rho) - top ** (1 / rho))) ** rho
        np.testing.assert_allclose(level(process, times), wanted, rtol=1e-10)
        assert (times[0], times[-1]) == (T, last)
    times = grids.exponential(n, process, t_min=last)
    np.testing.assert_allclose(level(process, times), top * (bottom / top) ** share, rtol=1e-10)
    half_log_snr = np.log(process.scale(0.0, times)) - 0.5 * np.log(process.variance(0.0, times))
    np.testing.assert_allclose(np.diff(half_log_snr), np.diff(half_log_snr)[0], rtol=1e-9)
    np.testing.assert_array_equal(grids.log_snr(n, process, t_min=last), times)
    np.testing.assert_allclose(grids.uniform(n, process, t_min=last), np.linspace(T, last, n + 1))


def test_the_levels_of_karras_paper():
    """N = 18 levels from 80 to 0.002 and then 0 (arXiv:2206.00364, equation 5)."""
    times = np.append(grids.karras(17, fp.EDM()), 0.0)
    wanted = [(80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(18)]
    np.testing.assert_allclose(times, [*wanted, 0.0], rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "timesteps"),
    [
        ("leading", {}, [900, 800, 700, 600, 500, 400, 300, 200, 100, 0]),
        ("leading", {"offset": 1}, [901, 801, 701, 601, 501, 401, 301, 201, 101, 1]),
        ("trailing", {}, [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]),
        ("linspace", {}, [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]),
    ],
)
def test_grids_of_timesteps_are_those_of_the_schedulers(name, options, timesteps):
    process = fp.VP.from_betas("linear", T=2.0)
    times = getattr(grids, name)(10, process, **options)
    np.testing.assert_array_equal(process.timestep_of(times[:-1]), timesteps)
    assert times[-1] == 0.0
    np.testing.assert_array_equal(grids.from_timesteps(timesteps, process), times)
    assert getattr(grids, name)(10, process, t_min=1e-3, **options)[-1] == 1e-3


def test_grids_are_taken_by_samplers():
    process = fp.VP.from_betas("linear", zero_snr=True)
    reverse = fp.Reverse(fp.Gaussian(0.5, std=0.6), process)
    times = grids.karras(6, process, t_max=0.99)
    assert len(fp.samplers.steps(fp.samplers.get("ddim"), reverse, times)) == 6


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: grids.karras(5, fp.RectifiedFlow()), "t_max: expected a time with a finite noise level"),
        (lambda: grids.karras(5, fp.VP(), rho=0.0), "rho: expected"),
        (lambda: grids.exponential(5, fp.VP(), t_min=0.0), "t_min: expected"),
        (lambda: grids.uniform(0, fp.VP()), "n: expected"),
        (lambda: grids.trailing(2000, fp.VP()), "n: expected at most 1000 timesteps"),
        (lambda: grids.leading(10, fp.VP(), offset=100), "timesteps: expected numbers from 0 to 999"),
        (lambda: grids.from_timesteps([1, 500], fp.VP()), "timesteps: expected at least two decreasing"),
        (lambda: grids.from_timesteps([500, 0], fp.VP(), t_min=0.01), "t_min: expected"),
        (lambda: grids.uniform(3, "vp"), "process"),
    ],
)
def test_grids_that_are_none_are_refused_in_one_sentence(call, said):
    with pytest.raises(ValueError, match=said):
        call()

"""The examples of CONTRIBUTING.md: what they add works everywhere, and gives the right numbers."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import fpsolve as fp

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)


@pytest.fixture(scope="module")
def added() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "added"}
    for block in BLOCKS:
        exec(compile(block, "CONTRIBUTING.md", "exec", dont_inherit=True), names)
    return names


def test_each_costs_at_most_forty_lines() -> None:
    assert len(BLOCKS) == 4
    for block in BLOCKS:
        body = block[re.search(r"^(@|def )", block, flags=re.M).start() :]
        assert len(body.splitlines()) <= 40


def test_a_process_from_alpha_and_s(added: dict[str, Any]) -> None:
    process = added["Trigonometric"]()
    t = 0.6
    assert float(process.scale(0.0, t)) == pytest.approx(np.cos(0.5 * np.pi * t), rel=1e-14)
    assert float(process.variance(0.0, t)) == pytest.approx(np.sin(0.5 * np.pi * t) ** 2, rel=1e-14)
    reverse = fp.Reverse(fp.Gaussian(0.5, std=0.4), process)
    run = fp.evolve(reverse, {"exact": reverse.marginal(process.T)}, t_min=0.05, tol=1e-5)
    grid, end = run.fpsolve.grid, run.density.isel(start=0, t=-1)
    alpha, s = np.cos(0.025 * np.pi), np.sin(0.025 * np.pi)
    truth = fp.Gaussian(0.5 * alpha, std=np.hypot(0.4 * alpha, s))
    gap = np.sum(np.abs(end.values - grid.cell_average(truth)) * (1.0 + grid.x**2)) * grid.volume
    assert gap <= float(run.error_estimate[0, -1]) <= 1e-5 and run.attrs["tol_met"] == "yes"


def test_a_sampler(added: dict[str, Any]) -> None:
    """On a Gaussian the mean and variance of a chain are two recursions."""
    process, target = fp.OrnsteinUhlenbeck(T=2.0), fp.Gaussian(1.0, std=0.5)
    reverse, times = fp.Reverse(target, process), np.linspace(2.0, 0.1, 11)
    mean, var = 0.0, 1.0
    for start, end in pairwise(times):
        a, s2 = np.exp(-(start - end)), 1.0 - np.exp(-2.0 * (start - end))
        alpha, added_noise = np.exp(-start), 1.0 - np.exp(-2.0 * start)
        precision = 1.0 / (0.25 * alpha**2 + added_noise)
        c = 1.0 / a - s2 / a * precision
        mean = c * mean + s2 / a * precision * alpha
        var = c**2 * var + s2 * (1.0 - np.exp(-2.0 * end)) / added_noise
    start = fp.Gaussian(0.0, std=1.0)
    cloud = fp.particles.simulate(reverse, start, n=40_000, times=times, method=added["Ancestral"](), seed=0)
    assert abs(float(cloud["mean"][-1, 0]) - mean) < 5.0 * np.sqrt(var / 40_000)
    grid = fp.Grid.uniform((-5.0, 6.0), cells=220)
    kernel = fp.kernels.sampler(added["Ancestral"](), reverse, grid, times[0], times[1])
    masses = kernel.push(grid.cell_average(fp.Gaussian(0.0, std=1.0)) * grid.volume)
    step = added["Ancestral"]().step(process, 1.0, times[0], times[1])
    first = step.linear + step.score * -1.0 / (0.25 * np.exp(-4.0) + 1.0 - np.exp(-4.0))
    truth = first**2 + step.std**2
    centre = masses @ grid.x
    assert masses @ (grid.x - centre) ** 2 == pytest.approx(truth, rel=2e-3)


def test_an_energy_distance(added: dict[str, Any]) -> None:
    """For two normals E|X - Y| is known."""
    grid = fp.Grid.uniform((-9.0, 9.0), cells=240)
    laws = fp.Gaussian(0.0, std=1.0), fp.Gaussian(0.5, std=1.3)
    p, q = (xr.DataArray(grid.cell_average(law), coords={"x": grid.x}) for law in laws)

    def mean_distance(m: float, variance: float) -> float:
        from scipy.stats import foldnorm

        s = np.sqrt(variance)
        return float(foldnorm(abs(m) / s, scale=s).mean())

    square = 2.0 * mean_distance(0.5, 1.0 + 1.69) - mean_distance(0.0, 2.0) - mean_distance(0.0, 3.38)
    found = added["energy"](p, q)
    assert abs(float(found.distance) - np.sqrt(square)) <= float(found.error) < 1e-4


def test_a_contraction_bound(added: dict[str, Any]) -> None:
    """It is attained by a Gaussian target and two starts that differ by a shift."""
    reverse = fp.Reverse(fp.Gaussian(0.0, std=0.5), fp.VP())
    starts = {"left": fp.Gaussian(-0.5, std=1.0), "right": fp.Gaussian(0.5, std=1.0)}
    run = fp.evolve(reverse, starts, t_min=0.3, tol=1e-7)
    end = run.density.isel(t=-1)
    found = fp.distances.wasserstein(end.sel(start="left"), end.sel(start="right"), 2)
    record = added["wasserstein_contraction"](reverse, 4.0, 0.3)
    assert record.value == pytest.approx(float(found.distance), rel=1e-4)
    refused = added["wasserstein_contraction"](reverse, 0.0, 0.3)
    assert refused.value is None and "log-concave" in refused.reason
    assert "not checked: -hess log p_0 >= concavity I" in str(record)

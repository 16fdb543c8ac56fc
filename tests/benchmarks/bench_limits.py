"""Absolute limits: what a user waits for, in CPU seconds of one thread; on a slow machine they are missed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cases
import numpy as np
import pytest
import xarray as xr
from benchmarks import report, timing

import fpsolve as fp
from fpsolve import bounds, decomposition, distances, kernels, stochastic

SECTION = "limits"
OU = fp.Dynamics(lambda t, x: -x, 2.0**0.5)


def dobrushin() -> Callable[[], Any]:
    grid = fp.Grid.uniform((-6, 6), cells=600)
    kernel = kernels.exact(cases.ou_mixture(), grid, 3.0, 0.01, source="point")
    return lambda: bounds.dobrushin(kernel)


def norms() -> Callable[[], Any]:
    grid, draw = fp.Grid.uniform((-6.0, 6.0), cells=400), np.random.default_rng(0)
    means, stds = draw.uniform(-2.5, 2.5, (4, 50, 2)), draw.uniform(0.3, 0.9, (4, 50, 2))
    rows = [
        [grid.cell_average(fp.Gaussian(m[0], std=s[0])) - grid.cell_average(fp.Gaussian(m[1], std=s[1]))
         for m, s in zip(*pair, strict=True)] for pair in zip(means, stds, strict=True)
    ]  # fmt: skip
    signed = xr.DataArray(rows, dims=("start", "t", "x"), coords={"x": grid.x})
    return lambda: distances.weighted_norm(signed)


def pair() -> Callable[[], Any]:
    reverse, grid = cases.ou_mixture(), fp.Grid.uniform((-6, 6), cells=800)
    starts = cases.starts_1d(reverse)
    return lambda: fp.evolve(reverse, starts, grid=grid, steps=400, t_min=0.01).fpsolve.extrapolated


def samples() -> Callable[[], Any]:
    draw = np.random.default_rng(0)
    values = np.concatenate([draw.normal(-1.5, 0.5, 33_333), draw.normal(1.0, 0.8, 66_667)])
    reverse = fp.Reverse(fp.KernelDensity(values), fp.VP())
    return lambda: fp.evolve(reverse, {"prior": fp.Gaussian(0.0, std=1.0)}, t_min=0.01, tol=1e-3)


def ensemble(modes: bool) -> Callable[[], Any]:
    noise = stochastic.random_fourier(0.1, length=1.0, modes=8, seed=0) if modes else stochastic.constant(0.09)
    start, grid = fp.Gaussian(1.0, std=0.8), fp.Grid.uniform((-9, 9), cells=400)
    ask = {"grid": grid, "steps": 500, "paths": 64, "seed": 0, "t_max": 1.0, "estimate": not modes}
    return lambda: stochastic.evolve(OU, start, noise, **ask)


def taken_apart() -> Callable[[], Any]:
    target = fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5])
    times = np.geomspace(3.1, 0.11, 61) - 0.1
    times[[0, -1]] = 3.0, 0.01
    reverse, grid = fp.Reverse(target, fp.OrnsteinUhlenbeck(T=3.0)), fp.Grid.uniform((-6, 6), cells=600)
    return lambda: decomposition.errors(
        reverse, "euler-maruyama", start=fp.Gaussian(0.0, std=1.0), grid=grid, times=times, progress=False
    )


LIMITS: dict[str, tuple[Callable[[], Callable[[], Any]], float]] = {
    "Dobrushin coefficient, 600 cells": (dobrushin, 1.0),
    "200 weighted norms, 400 cells": (norms, 0.2),
    "pair of 400/800 cells, three starts": (pair, 0.5),
    "tol = 1e-3 on a kernel density of 100,000 samples": (samples, 20.0),
    "64 stochastic paths, 400 cells, 500 steps, with the companion": (lambda: ensemble(False), 3.0),
    "64 stochastic paths, 400 cells, 500 steps, 8 modes": (lambda: ensemble(True), 3.0),
    "decomposition, 600 cells, 60 steps, bounds included": (taken_apart, 5.0),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits(benchmark: Any, judge: Any, name: str) -> None:
    make, limit = LIMITS[name]
    judge(report.figure(name, timing.alone(benchmark, make(), rounds=2), limit, unit=" s"))

"""The Gaussian oracle of the study of score error as noise: constant noise on an Ornstein-Uhlenbeck process."""

from __future__ import annotations

import numpy as np

import fpsolve as fp
from fpsolve import stochastic

__all__ = ["oracle"]

RATE, MEAN, STD = 1.0, 1.0, 0.8
SUBSTEPS = 4


def oracle(strength: float, cells: int, steps: int, paths: int, seed: int) -> dict[str, float]:
    """Return how far an ensemble is from ``dm = -m dr + k dW``, ``v' = -2 v + 2`` along the same Brownian paths.

    The path of the mean is integrated on substeps with the integrals of W matched, so its own error does not count.
    """
    k = strength**0.5
    grid = fp.Grid.uniform((-9.0, 9.0), cells=cells)
    run = stochastic.evolve(
        fp.Dynamics(lambda t, x: -RATE * x, 2.0**0.5),
        fp.Gaussian(MEAN, std=STD),
        stochastic.constant(strength),
        grid=grid,
        steps=steps,
        paths=paths,
        seed=seed,
        t_max=1.0,
        estimate=False,
        progress=False,
    )
    t = run["node_t"].values
    fine = np.append((t[:-1, None] + np.diff(t)[:, None] * np.arange(SUBSTEPS) / SUBSTEPS).ravel(), t[-1])
    brownian = stochastic.BrownianPaths(seed, paths, 1, float(run.attrs["brownian_span"]))
    increment, mean = (part[:, 0] for part in brownian.increments(fine))
    h = np.diff(fine)
    m = np.full((paths, len(fine)), MEAN)
    for n, step in enumerate(h):
        m[:, n + 1] = (m[:, n] + k * mean[:, n]) * np.exp(-RATE * step) + k * (increment - mean)[:, n]
    saved = np.searchsorted(t, run["t"].values)
    q, x, cell = run["density"].values, grid.x, grid.spacing[0]
    first = (q * x).sum(axis=-1) * cell
    second = (q * x**2).sum(axis=-1) * cell - first**2 - cell**2 / 12.0
    v = 1.0 / RATE + (STD**2 - 1.0 / RATE) * np.exp(-2.0 * RATE * run["t"].values)
    # mean over each substep, and the variance within it on average
    inside = m[:, :-1] + k * mean + 0.5 * (np.diff(m) - k * increment)
    variation = k**2 * (inside**2 + np.diff(m) ** 2 / 6.0) * h
    found = stochastic.quadratic_variation(run).sel(share=1.0)
    return {
        "mean": float(np.abs(first - m[:, ::SUBSTEPS][:, saved]).max()),
        "variance": float(np.abs(second - v).max()),
        "variation": float(np.abs(found["formula"].values - variation.sum(axis=1)).max()),
        "scatter": float((np.abs(found["realised"] - found["formula"]) / found["spread"]).max()),
        "mass": float(abs(run["mass"] - run["mass"].isel(t=0)).max()),
    }

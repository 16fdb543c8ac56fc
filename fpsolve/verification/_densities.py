"""Evolved densities against the closed form: one level, the extrapolated pair, the honesty of the estimate, mass."""

import numpy as np

import fpsolve as fp
from fpsolve import closed_form, weights
from fpsolve._checks import FloatArray
from fpsolve.studies._report import Check
from fpsolve.verification._cases import ou_mixture, rotated_five

__all__ = ["densities", "plane"]

T_MIN = 0.01


def densities() -> tuple[Check, ...]:
    """OU mixture from three starts at t = 0.01, cell averages against Bayes' rule."""
    reverse = ou_mixture()
    starts = {"exact": reverse.marginal(3.0), "shifted": fp.Gaussian(1.5, std=0.5), "prior": fp.Gaussian(0.0, std=1.0)}
    fine, half = fp.Grid.uniform((-6, 6), cells=800), fp.Grid.uniform((-6, 6), cells=400)
    single = fp.evolve(reverse, starts, grid=half, steps=400, t_min=T_MIN, progress=False)
    pair = fp.evolve(reverse, starts, grid=fine, steps=400, t_min=T_MIN, progress=False)
    truth = np.stack([closed_form.cell_averages(reverse, law, T_MIN, half) for law in starts.values()])
    gap = single.density.values[:, -1] - truth
    weighted = (weights.evaluate(None, half) * np.abs(gap)).sum(axis=1) * half.volume
    covered = float((weighted / single.error_estimate.values[:, -1]).max())
    extrapolated = pair.fpsolve.extrapolated.values[:, -1]
    return (
        Check.at_most("OU mixture, 400 cells, one level: TV to the closed form", _tv(gap, half), 3e-4),
        Check.at_most("the same: true error / estimate, largest", covered, 1.0),
        Check.at_most("pair of 400 and 800 cells: TV", _tv(extrapolated - truth, half), 2e-7),
        Check.at_most("mass: largest change", float(np.abs(pair.mass - pair.mass.isel(t=0)).max()), 1e-12),
    )


def plane() -> tuple[Check, ...]:
    """Five rotated Gaussians in the plane, a pair of 128^2 and 256^2 cells, against p_t."""
    reverse = rotated_five()
    grid = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=256)
    start = {"exact": reverse.marginal(3.0)}
    run = fp.evolve(reverse, start, grid=grid, steps=200, t_min=0.02, save_at=[0.02], progress=False)
    half = grid.coarsen()
    gap = run.fpsolve.extrapolated.values[:, -1] - half.cell_average(reverse.marginal(0.02))
    return (Check.at_most("five rotated Gaussians, pair of 128^2 and 256^2 cells: TV", _tv(gap, half), 1e-5),)


def _tv(gap: FloatArray, grid: fp.Grid) -> float:
    """Half the L1 norm of cell averages, the largest over the starts."""
    return float(0.5 * np.abs(gap).sum(axis=tuple(range(-grid.dim, 0))).max() * grid.volume)

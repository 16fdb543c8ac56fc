"""Steady states against Gibbs densities, normalised on the grid."""

import numpy as np

import fpsolve as fp
from fpsolve._checks import FloatArray
from fpsolve.studies._report import Check

__all__ = ["steady_states"]


def steady_states() -> tuple[Check, ...]:
    """Langevin dynamics of a law with two wells, and OU between walls: ``exp(-Phi/D)`` at the cell centres."""
    wells = fp.GaussianMixture(weights=[0.4, 0.6], means=[-2.0, 2.0], stds=[0.5, 0.4])
    line, walls = fp.Grid.uniform((-6, 6), cells=400), fp.Grid.uniform((-1, 2), cells=150)
    ou = fp.Dynamics(noise=1.5, potential=lambda t, x: x**2 / 2, autonomous=True)
    langevin = np.abs(fp.steady_state(fp.Langevin(wells), line).values - _gibbs(wells.log_density(line.x), line))
    boxed = np.abs(fp.steady_state(ou, walls).values - _gibbs(-(walls.x**2) / 1.5**2, walls))
    return (
        Check.at_most("Langevin of two wells: largest difference to its Gibbs state", float(langevin.max()), 1e-12),
        Check.at_most("OU between walls: largest difference to its Gibbs state", float(boxed.max()), 1e-12),
    )


def _gibbs(log_values: FloatArray, grid: fp.Grid) -> FloatArray:
    values = np.exp(log_values - log_values.max())
    return np.asarray(values / (values.sum() * grid.volume))

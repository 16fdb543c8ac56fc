"""What the scripts that `forks` runs have in common, loaded by being imported: libraries, rooms, compiled functions."""

import matplotlib.pyplot
import pytest
import scipy.integrate
import scipy.interpolate
import scipy.optimize
import scipy.stats

import fpsolve as fp
from fpsolve import bounds, decomposition, design, distances, flows, particles, plots, samplers, scores, stochastic

# pytest for its own sake: a child looks at what its parent was started by
__all__ = ["bounds", "decomposition", "design", "distances", "flows", "matplotlib", "particles", "plots", "pytest"]
__all__ += ["samplers", "scipy", "scores", "stochastic"]

_reverse = fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=0.5), fp.VP())
_starts = {"exact": _reverse.marginal(1.0), "prior": fp.VP().prior()}
_grid = fp.Grid.uniform((-6.0, 6.0), cells=120)
fp.forgetting_curve(fp.evolve(_reverse, _starts, grid=_grid, steps=40, t_min=0.1, progress=False), reference="exact")

"""Particles: simulated clouds, compared with grid densities at a stated false-alarm rate.

`simulate` moves particles by any sampler of `fpsolve.samplers`; `compare` tests a cloud against a run;
`histogram_floor` and `needed` say what histograms of particles can resolve at all.
"""

from fpsolve.particles._agreement import dkw_band as dkw_band
from fpsolve.particles._agreement import histogram_floor, needed
from fpsolve.particles._cloud import from_positions
from fpsolve.particles._compare import compare
from fpsolve.particles._simulate import simulate

__all__ = ["compare", "from_positions", "histogram_floor", "needed", "simulate"]

"""Particles: simulated clouds, compared with grid densities at a stated false-alarm rate.

`simulate` moves particles by Euler-Maruyama or the exponential integrator; `compare` tests a cloud against
a run; `histogram_floor` and `needed` say what histograms of particles can resolve at all. One step of a
method lives in a file of its own (`euler_maruyama.step`, `exponential_integrator.step`) and knows no loop.
"""

from fpsolve.particles import euler_maruyama, exponential_integrator
from fpsolve.particles._cloud import from_positions
from fpsolve.particles._compare import compare
from fpsolve.particles._floor import histogram_floor, needed
from fpsolve.particles._simulate import simulate
from fpsolve.particles._step import GaussianStep

__all__ = [
    "GaussianStep",
    "compare",
    "euler_maruyama",
    "exponential_integrator",
    "from_positions",
    "histogram_floor",
    "needed",
    "simulate",
]

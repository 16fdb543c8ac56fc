"""Particles: simulated clouds, compared with grid densities at a stated false-alarm rate.

`simulate` moves particles by Euler-Maruyama or the exponential integrator; `compare` tests a cloud against
a run; `histogram_floor` and `needed` say what histograms of particles can resolve at all. One step of a
method (`euler_maruyama.step`, `exponential_integrator.step`) lives in `fpsolve.samplers`, shared with the transition
kernels, and knows no loop.
"""

from fpsolve.particles._cloud import from_positions
from fpsolve.particles._compare import compare
from fpsolve.particles._floor import histogram_floor, needed
from fpsolve.particles._simulate import simulate
from fpsolve.samplers import GaussianStep, euler_maruyama, exponential_integrator

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

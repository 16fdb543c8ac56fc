"""One step of a sampler as formulas: no loop, no grid, no particles."""

from fpsolve.samplers import euler_maruyama, exponential_integrator
from fpsolve.samplers._step import GaussianStep

__all__ = ["GaussianStep", "euler_maruyama", "exponential_integrator"]

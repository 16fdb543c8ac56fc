"""Transition kernels on a grid: the exact reverse dynamics, any dynamics by finite volumes, samplers without particles.

`exact`, `finite_volume` and `sampler` return a `Kernel`, a row-stochastic matrix with its times;
`finite_volume_operator` and `sampler_operator` do the same to one density or function at a time on grids too large for
a matrix. Both have ``push`` (densities forwards in the run) and ``pull`` (functions backwards).
"""

from fpsolve.kernels._exact import exact
from fpsolve.kernels._finite_volume import FiniteVolumeOperator, finite_volume, finite_volume_operator
from fpsolve.kernels._kernel import LARGEST, Kernel, Operator
from fpsolve.kernels._sampler import SamplerOperator, sampler, sampler_operator

__all__ = [
    "LARGEST",
    "FiniteVolumeOperator",
    "Kernel",
    "Operator",
    "SamplerOperator",
    "exact",
    "finite_volume",
    "finite_volume_operator",
    "sampler",
    "sampler_operator",
]

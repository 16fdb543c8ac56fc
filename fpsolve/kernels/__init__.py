"""Transition kernels on a grid: the exact reverse dynamics, any dynamics by finite volumes, samplers without particles.

`exact`, `finite_volume` and `sampler` return a `Kernel`, a row-stochastic matrix with its times;
`finite_volume_operator` and `sampler_operator` do the same to one density or function at a time on grids too large for
a matrix. Both have ``push`` (densities forwards in the run) and ``pull`` (functions backwards).
"""

from fpsolve.kernels._dynamics import exact, finite_volume, finite_volume_operator
from fpsolve.kernels._kernel import LARGEST as LARGEST
from fpsolve.kernels._kernel import Kernel
from fpsolve.kernels._kernel import Operator as Operator
from fpsolve.kernels._sampler import sampler, sampler_operator

__all__ = ["Kernel", "exact", "finite_volume", "finite_volume_operator", "sampler", "sampler_operator"]

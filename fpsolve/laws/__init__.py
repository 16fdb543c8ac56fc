"""Probability laws in one and two dimensions: what is diffused, and what runs start from.

Every law is a frozen dataclass with `dim`, `mean`, `cov`, `log_density`, `density`, `score`, `sample`,
`cell_probabilities`, `diffused` and `smallest_std`; see `Law`. Points are arrays of any shape ``(...)`` in 1D
and ``(..., 2)`` in 2D. A further law costs one class with its formula and is registered nowhere else.
"""

from fpsolve.laws._base import Law
from fpsolve.laws._normal_mixture import NormalMixture
from fpsolve.laws._tail import Tail
from fpsolve.laws.from_log_density import FromLogDensity
from fpsolve.laws.gaussian import Gaussian
from fpsolve.laws.gaussian_mixture import GaussianMixture
from fpsolve.laws.kernel_density import KernelDensity
from fpsolve.laws.laplace import Laplace
from fpsolve.laws.point_mass import PointMass
from fpsolve.laws.student_t import StudentT
from fpsolve.laws.uniform import Uniform

__all__ = [
    "Law",
    "NormalMixture",
    "Gaussian",
    "GaussianMixture",
    "KernelDensity",
    "Laplace",
    "StudentT",
    "Uniform",
    "FromLogDensity",
    "PointMass",
    "Tail",
]

"""Probability laws in one and two dimensions: what is diffused, and what runs start from.

Every law is a frozen dataclass with `dim`, `mean`, `cov`, `log_density`, `density`, `score`, `sample`,
`cell_probabilities`, `diffused` and `smallest_std`; see `Law`. Points are arrays of any shape ``(...)`` in 1D
and ``(..., 2)`` in 2D. A further law costs one class with its formula and is registered nowhere else.
"""

from fpsolve.laws._base import Law
from fpsolve.laws._base import Tail as Tail
from fpsolve.laws._base import check_axes as check_axes
from fpsolve.laws._base import plain as plain
from fpsolve.laws._base import tensor_points as tensor_points
from fpsolve.laws._from_log_density import FromLogDensity
from fpsolve.laws._gaussian import LOG_2PI as LOG_2PI
from fpsolve.laws._gaussian import Gaussian, GaussianMixture
from fpsolve.laws._gaussian import NormalMixture as NormalMixture
from fpsolve.laws._gaussian import log_sum_exp as log_sum_exp
from fpsolve.laws._mixtures import DiffusedStudentT, KernelDensity, PointMass, StudentT
from fpsolve.laws._panels import Panels as Panels
from fpsolve.laws._panels import resolve as resolve
from fpsolve.laws._products import DiffusedLaplace, DiffusedUniform, Laplace, Uniform

__all__ = [
    "Law",
    "Gaussian",
    "GaussianMixture",
    "KernelDensity",
    "Laplace",
    "StudentT",
    "Uniform",
    "FromLogDensity",
    "PointMass",
    "DiffusedLaplace",
    "DiffusedStudentT",
    "DiffusedUniform",
]

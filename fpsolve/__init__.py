"""Grid-exact Fokker-Planck evolution of reverse-time diffusion densities.

fpsolve evolves densities under reverse-time diffusion dynamics on a grid, measures how fast they forget where
they started in weighted total variation, and checks the result against closed forms, bounds and particles.

Everything is imported on first use (PEP 562), so ``import fpsolve`` itself loads next to nothing.

Examples
--------
>>> import fpsolve as fp
>>> process = fp.VP(beta_min=0.1, beta_max=20.0, T=1.0)
>>> round(float(process.variance(0.0, 1.0)), 6)
0.999957
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fpsolve import _accessor

__version__ = "0.1.0"

# module -> the names it gives; never a module of the same name, which would hide the function once loaded
_HOMES: dict[str, tuple[str, ...]] = {
    "fpsolve.laws": (
        "Law",
        "Gaussian",
        "GaussianMixture",
        "KernelDensity",
        "Laplace",
        "StudentT",
        "Uniform",
        "FromLogDensity",
        "PointMass",
    ),
    "fpsolve.processes": (
        "Process",
        "OrnsteinUhlenbeck",
        "VP",
        "CosineVP",
        "SubVP",
        "VE",
        "EDM",
        "FromAlphasCumprod",
        "GaussianPath",
        "RectifiedFlow",
    ),
    "fpsolve.grid": ("Grid",),
    "fpsolve.weights": ("PolynomialWeight", "ExponentialWeight", "UnitWeight"),
    "fpsolve.dynamics": ("Dynamics", "Forward", "Langevin", "Reverse"),
    "fpsolve.evolution": ("evolve", "load", "steady_state"),
    "fpsolve.distances": ("forgetting_curve", "weighted_tv"),
    "fpsolve.campaign": ("sweep",),
    "fpsolve.explorer": ("explore",),
    "fpsolve._memory": ("set_threads",),
    "fpsolve._messages": ("ToleranceWarning", "ScoreWarning", "UnresolvedWarning"),
}
_NAMES = {name: home for home, names in _HOMES.items() for name in names}

_MODULES = (
    "laws",
    "processes",
    "weights",
    "data",
    "marginals",
    "scores",
    "closed_form",
    "kernels",
    "distances",
    "bounds",
    "decomposition",
    "design",
    "dynamics",
    "flows",
    "particles",
    "plots",
    "proofs",
    "samplers",
    "settings",
    "stochastic",
    "studies",
    "verification",
)

__all__ = ["__version__", *_NAMES, *_MODULES]

if TYPE_CHECKING:
    from fpsolve import bounds as bounds
    from fpsolve import closed_form as closed_form
    from fpsolve import data as data
    from fpsolve import decomposition as decomposition
    from fpsolve import design as design
    from fpsolve import distances as distances
    from fpsolve import dynamics as dynamics
    from fpsolve import flows as flows
    from fpsolve import kernels as kernels
    from fpsolve import laws as laws
    from fpsolve import marginals as marginals
    from fpsolve import particles as particles
    from fpsolve import plots as plots
    from fpsolve import processes as processes
    from fpsolve import proofs as proofs
    from fpsolve import samplers as samplers
    from fpsolve import scores as scores
    from fpsolve import settings as settings
    from fpsolve import stochastic as stochastic
    from fpsolve import studies as studies
    from fpsolve import verification as verification
    from fpsolve import weights as weights
    from fpsolve._memory import set_threads as set_threads
    from fpsolve._messages import ScoreWarning as ScoreWarning
    from fpsolve._messages import ToleranceWarning as ToleranceWarning
    from fpsolve._messages import UnresolvedWarning as UnresolvedWarning
    from fpsolve.campaign import sweep as sweep
    from fpsolve.distances import forgetting_curve as forgetting_curve
    from fpsolve.distances import weighted_tv as weighted_tv
    from fpsolve.dynamics import Dynamics as Dynamics
    from fpsolve.dynamics import Forward as Forward
    from fpsolve.dynamics import Langevin as Langevin
    from fpsolve.dynamics import Reverse as Reverse
    from fpsolve.evolution import evolve as evolve
    from fpsolve.evolution import load as load
    from fpsolve.evolution import steady_state as steady_state
    from fpsolve.explorer import explore as explore
    from fpsolve.grid import Grid as Grid
    from fpsolve.laws import FromLogDensity as FromLogDensity
    from fpsolve.laws import Gaussian as Gaussian
    from fpsolve.laws import GaussianMixture as GaussianMixture
    from fpsolve.laws import KernelDensity as KernelDensity
    from fpsolve.laws import Laplace as Laplace
    from fpsolve.laws import Law as Law
    from fpsolve.laws import PointMass as PointMass
    from fpsolve.laws import StudentT as StudentT
    from fpsolve.laws import Uniform as Uniform
    from fpsolve.processes import EDM as EDM
    from fpsolve.processes import VE as VE
    from fpsolve.processes import VP as VP
    from fpsolve.processes import CosineVP as CosineVP
    from fpsolve.processes import FromAlphasCumprod as FromAlphasCumprod
    from fpsolve.processes import GaussianPath as GaussianPath
    from fpsolve.processes import OrnsteinUhlenbeck as OrnsteinUhlenbeck
    from fpsolve.processes import Process as Process
    from fpsolve.processes import RectifiedFlow as RectifiedFlow
    from fpsolve.processes import SubVP as SubVP
    from fpsolve.weights import ExponentialWeight as ExponentialWeight
    from fpsolve.weights import PolynomialWeight as PolynomialWeight
    from fpsolve.weights import UnitWeight as UnitWeight


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(import_module(_NAMES[name]), name)
    elif name in _MODULES:
        value = import_module(f"fpsolve.{name}")
    else:
        raise AttributeError(f"module 'fpsolve' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


_accessor.install()

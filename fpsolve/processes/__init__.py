"""Linear forward processes ``dX = a(t) X dt + g(t) dW``."""

from fpsolve.processes._base import OwnUnits, Process
from fpsolve.processes._base import checked_process as checked_process
from fpsolve.processes._path import GaussianPath, RectifiedFlow
from fpsolve.processes._table import CosineVP, FromAlphasCumprod, betas, from_betas, zero_terminal_snr
from fpsolve.processes._vp import EDM, VE, VP, OrnsteinUhlenbeck, SubVP

__all__ = [
    "EDM",
    "VE",
    "VP",
    "CosineVP",
    "FromAlphasCumprod",
    "GaussianPath",
    "OrnsteinUhlenbeck",
    "OwnUnits",
    "Process",
    "RectifiedFlow",
    "SubVP",
    "betas",
    "from_betas",
    "zero_terminal_snr",
]

"""Linear forward processes ``dX = a(t) X dt + g(t) dW``: one file per family."""

from fpsolve.processes._base import OwnUnits, Process
from fpsolve.processes._base import checked_process as checked_process
from fpsolve.processes._path import GaussianPath, RectifiedFlow
from fpsolve.processes._table import FromAlphasCumprod, betas, from_betas, zero_terminal_snr
from fpsolve.processes._ve import EDM, VE
from fpsolve.processes._vp import VP, CosineVP, OrnsteinUhlenbeck, SubVP

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

"""Linear forward processes ``dX = a(t) X dt + g(t) dW``: one file per family."""

from fpsolve.processes._base import Process, checked_process
from fpsolve.processes._path import GaussianPath, RectifiedFlow
from fpsolve.processes._ve import EDM, VE
from fpsolve.processes._vp import VP, CosineVP, OrnsteinUhlenbeck, SubVP

__all__ = [
    "EDM",
    "VE",
    "VP",
    "CosineVP",
    "GaussianPath",
    "OrnsteinUhlenbeck",
    "Process",
    "RectifiedFlow",
    "SubVP",
    "checked_process",
]

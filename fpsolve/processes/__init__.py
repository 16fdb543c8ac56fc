"""Linear forward processes ``dX = a(t) X dt + g(t) dW``: one file per family."""

from fpsolve.processes._base import Process
from fpsolve.processes._look import checked_process
from fpsolve.processes.cosine_vp import CosineVP
from fpsolve.processes.edm import EDM
from fpsolve.processes.ornstein_uhlenbeck import OrnsteinUhlenbeck
from fpsolve.processes.sub_vp import SubVP
from fpsolve.processes.ve import VE
from fpsolve.processes.vp import VP

__all__ = ["EDM", "VE", "VP", "CosineVP", "OrnsteinUhlenbeck", "Process", "SubVP", "checked_process"]

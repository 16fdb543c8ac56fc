"""Dynamics ``dY = b(t, Y) dr + c(t) dB``: the forward process, Langevin, the reverse dynamics, or the user's own."""

from fpsolve.dynamics._base import BaseDynamics as BaseDynamics
from fpsolve.dynamics._base import Dynamics, Forward, Langevin
from fpsolve.dynamics._clock import MonotoneMap as MonotoneMap
from fpsolve.dynamics._clock import RunClock as RunClock
from fpsolve.dynamics._clock import run_clock as run_clock
from fpsolve.dynamics._frame import Frame as Frame
from fpsolve.dynamics._frame import InFrame as InFrame
from fpsolve.dynamics._reverse import Reverse
from fpsolve.dynamics._reverse import identity as identity
from fpsolve.dynamics._reverse import short as short
from fpsolve.dynamics._stochasticity import Churn, Eta, edm_churn

__all__ = ["Churn", "Dynamics", "Eta", "Forward", "Langevin", "Reverse", "edm_churn"]

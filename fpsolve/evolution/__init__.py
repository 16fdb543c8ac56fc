"""The time loop, tolerance control and the Dataset that comes out of it."""

from fpsolve.evolution.api import evolve
from fpsolve.evolution.files import load
from fpsolve.evolution.steady import steady_state

__all__ = ["evolve", "load", "steady_state"]

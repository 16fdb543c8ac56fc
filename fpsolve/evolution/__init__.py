"""The time loop, tolerance control and the Dataset that comes out of it."""

from fpsolve.evolution._api import evolve
from fpsolve.evolution._result import load
from fpsolve.evolution._steady import steady_state

__all__ = ["evolve", "load", "steady_state"]

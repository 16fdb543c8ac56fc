"""The time loop, tolerance control and the Dataset that comes out of it."""

from fpsolve.evolution._api import evolve
from fpsolve.evolution._estimate import look as look
from fpsolve.evolution._estimate import moved as moved
from fpsolve.evolution._estimate import root_mean_square as root_mean_square
from fpsolve.evolution._estimate import weighted_gap as weighted_gap
from fpsolve.evolution._estimate import weighted_norm as weighted_norm
from fpsolve.evolution._march import CHUNK_CELLS as CHUNK_CELLS
from fpsolve.evolution._march import Level as Level
from fpsolve.evolution._march import Record as Record
from fpsolve.evolution._march import StepPlan as StepPlan
from fpsolve.evolution._march import require as require
from fpsolve.evolution._methods import quarter_of as quarter_of
from fpsolve.evolution._problem import Problem as Problem
from fpsolve.evolution._problem import Start as Start
from fpsolve.evolution._problem import covering_box as covering_box
from fpsolve.evolution._result import RunAccessor as RunAccessor
from fpsolve.evolution._result import Solution as Solution
from fpsolve.evolution._result import load
from fpsolve.evolution._result import resolution as resolution
from fpsolve.evolution._setup import choose_frame as choose_frame
from fpsolve.evolution._steady import steady_state

__all__ = ["evolve", "load", "steady_state"]

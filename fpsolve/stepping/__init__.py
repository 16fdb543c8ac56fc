"""Time stepping: schemes as data, and one function that advances densities with given rates."""

from fpsolve.stepping.advance import StepTable, advance, step_table
from fpsolve.stepping.schemes import SCHEMES, Scheme, scheme_named

__all__ = ["SCHEMES", "Scheme", "StepTable", "advance", "scheme_named", "step_table"]

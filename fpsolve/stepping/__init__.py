"""Time stepping: schemes as data, and functions that advance densities, or take functions back, with given rates."""

from fpsolve.stepping.advance import StepTable, advance, step_table
from fpsolve.stepping.retreat import retreat
from fpsolve.stepping.schemes import SCHEMES, Scheme, scheme_named

__all__ = ["SCHEMES", "Scheme", "StepTable", "advance", "retreat", "scheme_named", "step_table"]

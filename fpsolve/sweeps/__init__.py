"""Compiled line solves. Arrays in, arrays out; importing this package loads numba."""

from fpsolve.sweeps.lines import advance_open, advance_ring
from fpsolve.sweeps.planes import sweep_lines, sweep_x

__all__ = ["advance_open", "advance_ring", "sweep_lines", "sweep_x"]

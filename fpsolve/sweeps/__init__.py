"""Compiled line solves. Arrays in, arrays out; importing this package loads numba."""

from fpsolve.sweeps.lines import advance_open, advance_ring
from fpsolve.sweeps.planes import sweep_rings, sweep_x, sweep_y

__all__ = ["advance_open", "advance_ring", "sweep_rings", "sweep_x", "sweep_y"]

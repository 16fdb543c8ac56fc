"""Compiled line solves. Arrays in, arrays out; importing this package loads numba."""

from fpsolve.sweeps.lines import advance_open, advance_ring
from fpsolve.sweeps.planes import sweep_rings, sweep_x, sweep_y
from fpsolve.sweeps.transposed import retreat_open

__all__ = ["advance_open", "advance_ring", "retreat_open", "sweep_rings", "sweep_x", "sweep_y"]

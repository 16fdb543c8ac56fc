"""The block of a reverse dynamics, checked at the border: its times, and a kernel that is said to be of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fpsolve import _checks, _times
from fpsolve.grid import Grid
from fpsolve.kernels import Kernel, Operator

if TYPE_CHECKING:
    from fpsolve.dynamics import Reverse

#: Times this close, as a share of the horizon, are the same; laws and processes are compared to the same accuracy.
_SAME = 1e-9


def block(reverse: Reverse, t0: float, t1: float) -> tuple[float, float]:
    """Return forward times ``T >= t0 > t1 >= 0`` as floats.

    Raises
    ------
    ValueError
        Times out of order or range.
    """
    if _checks.finite("t1", t1) < -_SAME * reverse.horizon:
        shown = f"a forward time in [0, t0 = {_checks.finite('t0', t0):.17g})"
        raise _checks.error("t1", shown, f"{t1:.17g}", "a block runs from the larger forward time t0 down to t1")
    return _times.block("t0", t0, "t1", t1, reverse.horizon, wanted="a forward time in [0, {start})")


def same_block(kernel: Kernel | Operator, reverse: Reverse, t0: float, t1: float, grid: Grid) -> None:
    """Refuse a kernel of other times, on another grid or of other dynamics than it is used with: ValueError."""
    asked = block(reverse, t0, t1)
    if any(abs(a - b) > _SAME * reverse.horizon for a, b in zip(asked, (kernel.t0, kernel.t1), strict=True)):
        expected, got = (f"the block {a:.10g} -> {b:.10g}" for a, b in (asked, (kernel.t0, kernel.t1)))
        raise _checks.error("kernel", f"one of {expected}", f"one of {got}", "make it with the times of the call")
    if kernel.grid != grid:
        expected, got = (f"{g.bounds} x {g.shape}" for g in (grid, kernel.grid))
        raise _checks.error("kernel", f"one on the grid {expected}", f"one on {got}", "pass grid=kernel.grid")
    known = kernel.exact_of if isinstance(kernel, Kernel) else None
    if known is not None and known is not reverse and not _same_dynamics(known, reverse, t0, t1, grid):
        got = "the exact one of another target or process"
        raise _checks.error("kernel", "one of the dynamics `reverse`", got, "pass the dynamics that it was made of")


def _same_dynamics(known: Reverse, reverse: Reverse, t0: float, t1: float, grid: Grid) -> bool:
    """Whether both have the same exact kernel over the block."""
    if not reverse.exact or callable(reverse.eta) or reverse.eta != 1.0 or reverse.dim != known.dim:
        return False
    numbers = ([float(f(t1, t0)) for f in (one.process.scale, one.process.variance)] for one in (known, reverse))
    laws = (one.marginal(t1).log_density(grid.x) for one in (known, reverse))
    return all(np.allclose(a, b, rtol=_SAME, atol=1e-300) for a, b in (numbers, laws))

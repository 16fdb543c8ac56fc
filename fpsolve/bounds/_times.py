"""The times of a block of a reverse dynamics, checked at the border."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpsolve import _checks

if TYPE_CHECKING:
    from fpsolve.dynamics import Reverse


def block(reverse: Reverse, t0: float, t1: float) -> tuple[float, float]:
    """Return forward times ``T >= t0 > t1 >= 0`` as floats.

    Raises
    ------
    ValueError
        Times out of order or range.
    """
    start = float(_checks.times("t0", _checks.finite("t0", t0), reverse.horizon))
    end = _checks.finite("t1", t1)
    if not start > end >= 0.0:
        remedy = "a block runs from the larger forward time t0 down to t1"
        raise _checks.error("t1", f"a forward time in [0, t0 = {start:g})", f"{end:g}", remedy)
    return start, end

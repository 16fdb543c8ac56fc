"""The times of a block of a reverse dynamics, checked at the border."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpsolve import _times

if TYPE_CHECKING:
    from fpsolve.dynamics import Reverse


def block(reverse: Reverse, t0: float, t1: float) -> tuple[float, float]:
    """Return forward times ``T >= t0 > t1 >= 0`` as floats.

    Raises
    ------
    ValueError
        Times out of order or range.
    """
    return _times.block("t0", t0, "t1", t1, reverse.horizon, wanted="a forward time in [0, {start})")

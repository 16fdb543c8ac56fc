"""Flows on a line in closed form: paths without noise do not cross, and each keeps its rank among them.

If the flow carries the law p to q, the path that ends at x began at y with ``P(y) = Q(x)``, P and Q the distribution
functions: whatever the flow is, there is but one increasing map that carries p to q (Villani 2009,
doi:10.1007/978-3-540-71050-9, chapter 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri_exp

from fpsolve.laws import Law

Array = NDArray[np.float64]

#: Newton steps; as many halvings of a bracket where those would leave it.
_STEPS = 100
#: Beyond all positions.
_FAR = 1e150
_EPS = float(np.finfo(float).eps)
#: Logarithm of a slope beyond which its value does not matter.
_STEEPEST = 300.0
#: Rounding errors in a logarithm of a tail and in a position.
_ROUNDING = 8.0


def at_rank_of(here: Law, x: Array, there: Law) -> tuple[Array, Array] | None:
    """Positions at which `there` has the ranks that `here` has at x, (n,), and what they may be wrong by.

    From the smaller of both tails in logarithms, so that no rank is lost far out. The error is what the tails at the
    positions found still differ by, and rounding, over the density there. None for laws without tails in closed form.
    """
    below, above = here.log_tail(x, np.ones_like(x)), here.log_tail(x, -np.ones_like(x))
    if below is None or above is None:
        return None
    side = np.where(below < above, 1.0, -1.0)
    goal = np.minimum(below, above)
    y = float(np.ravel(there.mean)[0]) + float(np.ravel(there.cov)[0]) ** 0.5 * side * ndtri_exp(goal)
    low, high = np.full_like(y, -_FAR), np.full_like(y, _FAR)
    for _ in range(_STEPS):
        tail = there.log_tail(y, side)
        if tail is None:
            return None
        gap = tail - goal
        # d log tail / dy, of the sign of `side`; where there is no density at all the error is as good as infinite
        steep = np.exp(np.clip(there.log_density(y) - tail, -_STEEPEST, _STEEPEST))
        low, high = np.where(side * gap < 0.0, y, low), np.where(side * gap > 0.0, y, high)
        moved = y - side * gap / steep
        left = (moved < low) | (moved > high)
        moved = np.where(left, 0.5 * (low + high), moved)
        blur = _ROUNDING * _EPS * ((1.0 + np.abs(goal)) / steep + np.abs(y))
        done = np.abs(moved - y) <= blur
        if done.all():
            break
        y = np.where(done, y, moved)
    return y, np.abs(gap) / steep + blur

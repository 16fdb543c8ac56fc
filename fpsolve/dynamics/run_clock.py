"""The clock of a run: the dynamics' own, plus a layer in which narrow starts spread.

A start of standard deviation s spreads like ``s^2 + G``, ``G = int c^2 dr`` since the beginning, so its own clock is
``log(1 + G/s^2)``: steps that resolve it grow with what it has grown to. Without the layer a start at rest elsewhere
is stepped over: measured on N(1.5, 0.5^2) under the OU mixture of the tests, 64 times the cell updates at tol = 1e-3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.dynamics import BaseDynamics
from fpsolve.laws import Law

if TYPE_CHECKING:
    from scipy.interpolate import CubicSpline

Array = NDArray[np.float64]

#: Clock per factor e in a start's variance.
LAYER_WEIGHT = 0.5
#: Width taken for a start with jumps or kinks, as a share of its standard deviation.
KINKED_SHARE = 0.1
_POINTS = 801


@dataclass(frozen=True, eq=False)
class RunClock:
    """Monotone map between forward time and the clock of a run, increasing along the run.

    Attributes
    ----------
    dynamics : BaseDynamics
    first, last : float
        Forward times at which the run begins and ends.
    width : float
        Smallest standard deviation among the starts; infinite switches the layer off.
    """

    dynamics: BaseDynamics
    first: float
    last: float
    width: float

    def _total(self) -> tuple[Array, Array]:
        """Table: the dynamics' clock along the run and the total clock, (points,) each."""
        begin, end = self.dynamics.clock(np.array([self.first, self.last]))
        nodes = np.linspace(float(begin), float(end), _POINTS)
        own = np.abs(nodes - nodes[0])
        if not np.isfinite(self.width):
            return nodes, own
        half = 0.5 * (nodes[1:] + nodes[:-1])
        times = self.dynamics.clock_inverse(np.stack([nodes[:-1], half, nodes[1:]]))
        power = np.square(self.dynamics.noise(times))
        # Simpson in the clock is Simpson in time only up to the map's curvature, so use the time increments.
        left, right = np.abs(times[1] - times[0]), np.abs(times[2] - times[1])
        spread = np.append(0.0, np.cumsum(0.5 * (power[0] + power[1]) * left + 0.5 * (power[1] + power[2]) * right))
        return nodes, own + LAYER_WEIGHT * np.log1p(spread / self.width**2)

    @cached_property
    def _splines(self) -> tuple[CubicSpline, CubicSpline]:
        from scipy.interpolate import CubicSpline

        nodes, total = self._total()
        order = slice(None, None, 1 if nodes[0] < nodes[-1] else -1)
        return CubicSpline(nodes[order], total[order]), CubicSpline(total, nodes)

    def at(self, t: ArrayLike) -> Array:
        """Clock at forward times t, 0 at the beginning of the run."""
        return np.asarray(self._splines[0](self.dynamics.clock(t)))

    def inverse(self, tau: ArrayLike) -> Array:
        """Forward times at which the clock shows tau."""
        return np.asarray(self.dynamics.clock_inverse(self._splines[1](tau)))


def run_clock(dynamics: BaseDynamics, starts: Iterable[object], first: float, last: float) -> RunClock:
    """The clock of a run of `dynamics` from the given starts (arrays have no width and add no layer)."""
    widths = [_width(start) for start in starts if isinstance(start, Law)]
    return RunClock(dynamics, first, last, min(widths, default=np.inf))


def _width(law: Law) -> float:
    if law.smallest_std > 0.0:
        return float(law.smallest_std)
    return KINKED_SHARE * float(np.sqrt(np.min(np.diagonal(np.atleast_2d(law.cov)))))

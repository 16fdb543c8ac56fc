"""The clock of a reverse dynamics: the time in which equal steps make about equal errors.

Its rate is ``|d log v/dt| + |d log g^2/dt|/2 + g^2/(10 v)`` with ``v(t) = alpha(0,t)^2 s^2 + sigma2(0,t)``, s the
smallest standard deviation in the target: the first term follows the score as it sharpens towards t = 0, the second
the schedule, the third keeps the relaxation resolved where nothing else moves. Weights measured on the mixtures of the
test suite: two to ten times fewer steps than uniform ones at the same error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve._monotone import MonotoneMap
from fpsolve.laws import Law
from fpsolve.processes import Process

Array = NDArray[np.float64]

#: The table starts at this fraction of T; schedules that end steeply (cosine) need nodes that crowd at T as well.
_START = 1e-9


@dataclass(frozen=True, eq=False)
class Clock:
    """Tabulated monotone map between log t and the clock."""

    table: MonotoneMap

    @classmethod
    def of(cls, target: Law, process: Process) -> Clock:
        """Tabulate the clock of a target and a process."""
        end = process.T * (1.0 - np.geomspace(1e-7, 0.3, 250))
        t = np.unique(np.concatenate([np.geomspace(_START * process.T, process.T, 1001)[:-1], end, [process.T]]))
        log_t = np.log(t)
        g2 = np.square(process.diffusion(t)) * np.ones_like(t)
        v = process.scale(0.0, t) ** 2 * target.smallest_std**2 + process.variance(0.0, t)
        # Rates per unit of log t; the small constant keeps the map invertible where every term vanishes.
        rate = np.abs(np.gradient(np.log(v), log_t)) + 0.5 * np.abs(np.gradient(np.log(g2), log_t)) + 0.1 * t * g2 / v
        pieces = (0.5 * (rate[1:] + rate[:-1]) + 1e-3) * np.diff(log_t)
        return cls(MonotoneMap(log_t, np.append(0.0, np.cumsum(pieces))))

    def forward(self, t: ArrayLike) -> Array:
        """tau(t)."""
        return self.table.forward(np.log(t))

    def backward(self, tau: ArrayLike) -> Array:
        """t(tau)."""
        return np.asarray(np.exp(self.table.inverse(tau)))

"""The clock of a reverse dynamics: the time in which equal steps make about equal errors.

Its rate is ``|d log v/dt| + |d log g^2/dt|/2 + g^2/(10 v)`` with ``v(t) = alpha(0,t)^2 s^2 + sigma2(0,t)``, s the
smallest standard deviation in the target: the first term follows the score as it sharpens towards t = 0, the second
the schedule, the third keeps the relaxation resolved where nothing else moves. Weights measured on the mixtures of the
test suite: two to ten times fewer steps than uniform ones at the same error.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve._monotone import MonotoneMap
from fpsolve.laws import Law
from fpsolve.processes import Process

Array = NDArray[np.float64]

#: The table starts at this fraction of T; schedules that end steeply (cosine) need nodes that crowd at T as well.
_START = 1e-9


def _pieces(target: Law, process: Process, t: Array) -> Array:
    """Change of the clock between times without a kink between them; at the ends the schedule is that of this side."""
    log_t = np.log(t)
    inside = np.clip(t, np.nextafter(t[0], t[-1]), np.nextafter(t[-1], t[0]))
    g2 = np.square(process.diffusion(inside)) * np.ones_like(t)
    v = process.scale(0.0, t) ** 2 * target.smallest_std**2 + process.variance(0.0, t)
    # Rates per unit of log t; the small constant keeps the map invertible where every term vanishes.
    rate = np.abs(np.gradient(np.log(v), log_t)) + 0.5 * np.abs(np.gradient(np.log(g2), log_t)) + 0.1 * t * g2 / v
    return np.asarray((0.5 * (rate[1:] + rate[:-1]) + 1e-3) * np.diff(log_t))


@dataclass(frozen=True, eq=False)
class Clock:
    """Tabulated monotone map between log t and the clock."""

    table: MonotoneMap

    @classmethod
    def of(cls, target: Law, process: Process) -> Clock:
        """Tabulate the clock of a target and a process."""
        end = process.T * (1.0 - np.geomspace(1e-7, 0.3, 250))
        first = _START * process.T
        kinks = [float(t) for t in process.kinks if 2.0 * first < t < process.T * (1.0 - _START)]
        t = np.concatenate([np.geomspace(first, process.T, 1001)[:-1], end])
        for kink in kinks:
            t = t[np.abs(t - kink) > 1e-13 * process.T]
        t = np.unique([*t, *kinks, process.T])
        parts = [t[(low <= t) & (t <= high)] for low, high in pairwise([first, *sorted(kinks), process.T])]
        pieces = np.concatenate([_pieces(target, process, part) for part in parts])
        log_t = np.log(t)
        joints = tuple(log_t[np.isin(t, kinks)].tolist())
        return cls(MonotoneMap(log_t, np.append(0.0, np.cumsum(pieces)), joints))

    def forward(self, t: ArrayLike) -> Array:
        """tau(t)."""
        return self.table.forward(np.log(t))

    def backward(self, tau: ArrayLike) -> Array:
        """t(tau)."""
        return np.asarray(np.exp(self.table.inverse(tau)))

"""The probability flow over one step, solved to many more digits than a sampler does, with the sampler's churn."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve.samplers import Step
from fpsolve.samplers.heun import HeunStep

if TYPE_CHECKING:
    from fpsolve.dynamics import Reverse
    from fpsolve.processes import Process
    from fpsolve.samplers._step import Score

Array = NDArray[np.float64]

#: Classical Runge-Kutta steps per step of the sampler: their error is below 1e-3 of Heun's.
_SUBSTEPS = 8


@dataclass(frozen=True, eq=False)
class FlowStep:
    """Churn by the forward process up to ``times[0]``, then the probability flow down to ``times[-1]``.

    Without churn this is the kernel of the reverse dynamics at eta = 0; with churn it is what EDM's stochastic step
    would be if its flow were exact. Either carries p_{t_from} to p_{t_to} with the exact score.

    Parameters
    ----------
    process : Process
    t_from, t_to : float
        Forward times of the step.
    times : array
        Nodes of the Runge-Kutta steps, decreasing.
    scale_before, std_before : float
        Of the churn, see `fpsolve.samplers.Step`.
    """

    process: Process
    t_from: float
    t_to: float
    times: Array
    scale_before: float = 1.0
    std_before: float = 0.0

    @property
    def std_after(self) -> float:
        """0: the flow adds no noise."""
        return 0.0

    def move(self, score: Score, x: Array) -> Array:
        """The flow from ``times[0]`` to ``times[-1]``, of the shape of x."""
        return self._along(score, x, self.times)

    def back(self, score: Score, x: Array) -> Array:
        """The flow from ``times[-1]`` to ``times[0]``: what `move` takes to x, to the accuracy of either."""
        return self._along(score, x, self.times[::-1])

    def _along(self, score: Score, x: Array, times: Array) -> Array:
        for t, later in pairwise(times.tolist()):
            h, middle = later - t, 0.5 * (t + later)
            first = self._slope(score, t, x)
            second = self._slope(score, middle, x + 0.5 * h * first)
            third = self._slope(score, middle, x + 0.5 * h * second)
            last = self._slope(score, later, x + h * third)
            x = x + h / 6.0 * (first + 2.0 * second + 2.0 * third + last)
        return x

    def _slope(self, score: Score, t: float, x: Array) -> Array:
        a, g = float(self.process.drift_rate(t)), float(self.process.diffusion(t))
        return np.asarray(a * x - 0.5 * g**2 * score(t, x))


def flow_step(reverse: Reverse, made: Step) -> FlowStep:
    """Return the flow with the churn of a step of a sampler."""
    top = made.t_top if isinstance(made, HeunStep) else made.t_from
    clock = np.linspace(float(reverse.clock(top)), float(reverse.clock(made.t_to)), _SUBSTEPS + 1)
    times = np.asarray(reverse.clock_inverse(clock))
    times[[0, -1]] = top, made.t_to
    return FlowStep(reverse.process, made.t_from, made.t_to, times, made.scale_before, made.std_before)

"""Where points come from: trajectories followed back to the first time, all of them as one vectorised system."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: d/dr of states (components, n) at forward time t: positions, and in the plane the log density.
Rate = Callable[[float, Array], Array]

#: Points for which the rate could be evaluated in the time that calling it takes.
CALL = 1000


@dataclass(frozen=True)
class Accuracy:
    """What the integrator of the trajectories is held to.

    Attributes
    ----------
    rtol : float
        Relative tolerance of a step; absolute in units of `length`.
    length : float
        Length below which positions are not told apart by `rtol`: the scale of the box.
    largest_step : float
        Largest step in log t.
    """

    rtol: float
    length: float
    largest_step: float = np.inf

    def coarser(self, factor: float) -> Accuracy:
        """The accuracy of a companion run: tolerance times `factor`, steps twice as large."""
        return Accuracy(factor * self.rtol, self.length, 2.0 * self.largest_step)


@dataclass(frozen=True, eq=False)
class Traced:
    """States at the first time, shape (components, n), the steps that were taken and what they cost.

    The cost is in points at which the rate was evaluated, `CALL` of them for what a call itself takes.
    """

    states: Array
    steps: int
    cost: int


def trace_back(
    rate: Rate, t: float, first: float, states: Array, accuracy: Accuracy, breaks: Iterable[float] = ()
) -> Traced:
    """Follow states at time t back to the `first` time, in log t, by an adaptive method of order 8.

    Parameters
    ----------
    rate : callable ``rate(t, states)``
        Change per reverse time r; t > 0 is forward time.
    t, first : float
        Forward times, ``0 < t <= first``.
    states : array, shape (components, n)
        What is followed back.
    accuracy : Accuracy
        The error of a step is the root mean square over all states.
    breaks : iterable of float
        Times at which the rate jumps or has a kink: steps end there, and neither side sees the rate of the other.

    Raises
    ------
    ValueError
        Where the integrator gives up, with the time.

    References
    ----------
    Hairer, Norsett and Wanner 1993, doi:10.1007/978-3-540-78862-1 (DOP853).

    Examples
    --------
    >>> traced = trace_back(lambda t, x: -x, 1.0, 2.0, np.array([[1.0]]), Accuracy(1e-10, 1.0))
    >>> traced.states.round(8)  # dx/dr = -x, one unit of r ago: e
    array([[2.71828183]])
    """
    inner = sorted(s for s in breaks if t < s < first)
    steps = cost = 0
    for low, high in pairwise([t, *inner, first] if t < first else []):
        traced = _trace_smooth(rate, low, high, states, accuracy)
        states, steps, cost = traced.states, steps + traced.steps, cost + traced.cost
    return Traced(states, steps, cost)


def _trace_smooth(rate: Rate, low: float, high: float, states: Array, accuracy: Accuracy) -> Traced:
    """From `low` back to `high` without breaks in between."""
    from scipy.integrate import DOP853

    # a hair inside, where a rate that jumps at an end is that of this side
    inside = float(np.nextafter(low, high)), float(np.nextafter(high, low))

    def derivative(log_t: float, flat: Array) -> Array:
        now = min(max(float(np.exp(log_t)), inside[0]), inside[1])
        return np.asarray(-now * rate(now, flat.reshape(states.shape))).ravel()

    begin, end = float(np.log(low)), float(np.log(high))
    solver = DOP853(
        derivative,
        begin,
        states.ravel(),
        end,
        rtol=accuracy.rtol,
        atol=accuracy.rtol * accuracy.length,
        max_step=accuracy.largest_step,
    )
    steps = 0
    while solver.status == "running":
        message = solver.step()
        steps += 1
        if solver.status == "failed":
            raise ValueError(
                f"dynamics: expected a flow that can be followed back to t = {high:g}, got stuck at "
                f"t = {float(np.exp(solver.t)):g} ({message}); stop earlier (larger t_min) or use eta > 0."
            )
    return Traced(solver.y.reshape(states.shape), steps, solver.nfev * (states.shape[1] + CALL))

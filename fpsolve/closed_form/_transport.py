"""Probability flow (eta = 0) in 1D: the monotone map that matches the CDFs of ``p_T`` and ``p_t``."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve.closed_form._fields import Smoothed, field_of, marginal
from fpsolve.closed_form._line import LineIntegral, log_lower, log_upper
from fpsolve.closed_form._mixture import Mixture
from fpsolve.laws import Law

_EPS = float(np.finfo(np.float64).eps)
_MOST_STEPS = 100
_TABLE = 257


class Distribution(Protocol):
    """A 1D law with its density and both tails in logarithms; `Mixture` is one."""

    @property
    def mean(self) -> FloatArray: ...
    def log_at(self, x: FloatArray) -> FloatArray: ...
    def log_tail(self, x: FloatArray, upper: bool) -> FloatArray: ...


@dataclass(frozen=True, eq=False)
class SmoothedDistribution:
    """A marginal by quadrature with its tails: the same integral against the normal CDF."""

    field: Smoothed
    mean: FloatArray

    def log_at(self, x: FloatArray) -> FloatArray:
        """Return the log density."""
        return self.field.log_at(x)

    def log_tail(self, x: FloatArray, upper: bool) -> FloatArray:
        """Return ``log P(X <= x)``, or ``log P(X > x)`` where `upper`."""
        field = self.field
        kernel = log_upper if upper else log_lower
        integral = LineIntegral(field.nu.log_at, field.edges[0], field.lens.width, field.rtol, kernel)
        return integral(field.lens.centres(x))


@dataclass(frozen=True, eq=False)
class Transport:
    """``q_t(x) = nu(y) p_t(x)/p_T(y)``, y the origin of x: ``F_{p_T}(y) = F_{p_t}(x)``.

    Parameters
    ----------
    nu : Law
        Start at T.
    p_start, p_end : Distribution
        p_T and p_t.
    """

    nu: Law
    p_start: Distribution
    p_end: Distribution

    @property
    def dim(self) -> int:
        """1."""
        return 1

    def log_at(self, x: FloatArray) -> FloatArray:
        """Return the log density at points (n,)."""
        y = self.origin(x)
        return field_of(self.nu).log_at(y) + self.p_end.log_at(x) - self.p_start.log_at(y)

    def log_on_axes(self, *axes: FloatArray) -> FloatArray:
        """Return the log density at points (n,)."""
        return self.log_at(axes[0])

    def origin(self, x: FloatArray) -> FloatArray:
        """Return the origins y at T of points x at t, from the smaller of the two tails."""
        lower, upper = (self.p_end.log_tail(x, side) for side in (False, True))
        y = np.empty(x.size)
        for goal, side, use in ((lower, False, lower < upper), (upper, True, lower >= upper)):
            if use.any():
                y[use] = self._quantile(goal[use], side)
        return y

    def _quantile(self, goal: FloatArray, upper: bool) -> FloatArray:
        """Return y with ``log tail(y) = goal`` under p_T: Newton on the log tail, inside of a bracket."""
        sign = -1.0 if upper else 1.0
        low, high = self._bracket(goal, upper)
        y, active = 0.5 * (low + high), np.arange(goal.size)
        for _ in range(_MOST_STEPS):
            z = y[active]
            tail = self.p_start.log_tail(z, upper)
            value = sign * (tail - goal[active])
            slope = np.exp(np.clip(self.p_start.log_at(z) - tail, -600.0, 600.0))
            low[active] = np.where(value <= 0.0, z, low[active])
            high[active] = np.where(value >= 0.0, z, high[active])
            step = z - value / slope
            inside = (step > low[active]) & (step < high[active])
            exact = np.abs(value) <= 4.0 * _EPS * (1.0 + np.abs(goal[active]))
            bisected = np.where(exact, z, 0.5 * (low[active] + high[active]))
            y[active] = np.where(inside, step, bisected)
            # 1/slope is the length on which the tail changes: the step after one this short is below rounding
            short = inside & (np.abs(step - z) * slope <= 1e-9)
            done = exact | short | (high[active] - low[active] <= 4.0 * _EPS * np.abs(z))
            active = active[~done]
            if not active.size:
                return y
        raise ValueError(
            f"x: expected points whose origin under the flow is found in {_MOST_STEPS} steps, got {active.size} "
            "that are not; move them nearer to the bulk."
        )

    def _bracket(self, goal: FloatArray, upper: bool) -> tuple[FloatArray, FloatArray]:
        """Return ends between which the log tail passes every goal: neighbours in one table for all of them."""
        sign = -1.0 if upper else 1.0
        ends = []
        for side, worst in ((-1.0, (sign * goal).min()), (1.0, (sign * goal).max())):
            y, width = float(self.p_start.mean[0]) + side, 1.0
            while side * (sign * self.p_start.log_tail(np.array([y]), upper)[0] - worst) < 0.0:
                y, width = y + side * width, 2.0 * width
            ends.append(y)
        table = np.linspace(ends[0], ends[1], _TABLE)
        values = np.maximum.accumulate(sign * self.p_start.log_tail(table, upper))
        place = np.clip(np.searchsorted(values, sign * goal), 1, _TABLE - 1)
        return table[place - 1], table[place]


def transport(target: Law, process: Any, start: Law, t: float, rtol: float) -> Transport:
    """Return the probability flow's image at t of a start at T."""
    return Transport(
        start,
        p_start=distribution(target, process, process.T, rtol),
        p_end=distribution(target, process, t, rtol),
    )


def distribution(target: Law, process: Any, t: float, rtol: float) -> Distribution:
    """Return p_t with its tails."""
    field = marginal(target, process, t, rtol)
    if isinstance(field, Smoothed):
        return SmoothedDistribution(field, np.atleast_1d(target.mean) * float(process.scale(0.0, t)))
    if isinstance(field, Mixture):
        return field
    raise TypeError("expected a 1D target")

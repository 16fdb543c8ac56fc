"""The clock of a run, in which equal steps make about equal errors: an increasing map of time, and its inverse.

For a reverse dynamics its rate is ``|d log v/dt| + |d log g^2/dt|/2 + g^2/(10 v)`` with
``v(t) = alpha(0,t)^2 s^2 + sigma2(0,t)``, s the smallest standard deviation in the target: the first term follows the
score as it sharpens towards t = 0, the second the schedule, the third keeps the relaxation resolved where nothing else
moves. Weights measured on the mixtures of the test suite: two to ten times fewer steps than uniform ones at the same
error.

A run adds a layer in which narrow starts spread. A start of standard deviation s spreads like ``s^2 + G``,
``G = int c^2 dr`` since the beginning, so its own clock is ``log(1 + G/s^2)``: steps that resolve it grow with what it
has grown to. Without the layer a start at rest elsewhere is stepped over: measured on N(1.5, 0.5^2) under the OU
mixture of the tests, 64 times the cell updates at tol = 1e-3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve._checks import FloatArray, error
from fpsolve._times import Joints
from fpsolve.dynamics._base import BaseDynamics
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.processes import Process

#: A Newton step below this share of the table's span leaves an error of the order of its square.
_CLOSE = 1e-8


@dataclass(frozen=True, eq=False)
class MonotoneMap:
    """Cubic spline through an increasing table; the inverse solves it to round-off, so that both belong together.

    Two separate splines, one each way, miss each other by their interpolation errors; step times computed with one
    and save times with the other then cross.

    Parameters
    ----------
    x, y : arrays, shape (n,)
        Strictly increasing.
    joints : tuple of float
        Those of the x at which the slope jumps: a spline on either side, so that none rings or rounds the corner off.
    """

    x: FloatArray
    y: FloatArray
    joints: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if np.any(np.diff(self.x) <= 0.0) or np.any(np.diff(self.y) <= 0.0):
            raise ValueError("table: expected strictly increasing x and y, got one that is not.")

    @cached_property
    def _cubics(self) -> FloatArray:
        """Coefficients of the cubic of every piece, highest power first, shape (4, n - 1)."""
        at = [0, *np.searchsorted(self.x, self.joints), len(self.x) - 1]
        parts = [slice(first, last + 1) for first, last in pairwise(at) if last > first]
        return np.concatenate([_cubics_through(self.x[part], self.y[part]) for part in parts], axis=1)

    def forward(self, x: ArrayLike) -> FloatArray:
        """y(x); beyond the table the cubic of its end goes on."""
        points = np.asarray(x, dtype=float)
        k = self._place(self.x, points)
        c3, c2, c1, c0 = self._cubics[:, k]
        u = points - self.x[k]
        return np.asarray(((c3 * u + c2) * u + c1) * u + c0)

    @staticmethod
    def _place(table: FloatArray, values: FloatArray) -> NDArray[np.intp]:
        """Numbers of the pieces that hold the values, the outermost for what lies beyond."""
        return np.minimum(np.maximum(np.searchsorted(table, values) - 1, 0), len(table) - 2)

    def inverse(self, y: ArrayLike) -> FloatArray:
        """x(y), within the table, by Newton steps kept inside the bracket of neighbouring nodes."""
        from fpsolve._cells import roots

        target = np.asarray(y, dtype=float)
        k = self._place(self.y, target)
        ends = [self.y[k] - target, self.y[k + 1] - target, self.x[k + 1] - self.x[k]]
        moved = roots(np.stack([*self._cubics[:3, k], *ends]).reshape(6, -1), _CLOSE * (self.x[-1] - self.x[0]))
        return np.asarray(self.x[k] + moved.reshape(target.shape))


def _cubics_through(x: FloatArray, y: FloatArray) -> FloatArray:
    """Coefficients of the cubic spline through a table whose third derivative does not jump at the second and the last
    but one node, shape (4, n - 1): what scipy's `CubicSpline` finds, ten times faster.
    """
    if len(x) < 4:
        from scipy.interpolate import CubicSpline

        return np.asarray(CubicSpline(x, y).c)
    from scipy.linalg.lapack import dgtsv

    h, chord = np.diff(x), np.diff(y) / np.diff(x)
    first, last = h[0] + h[1], h[-1] + h[-2]
    # what the slopes at the nodes solve: second derivatives agree there, at the ends third ones
    right = np.empty_like(x)
    right[1:-1] = 3.0 * (h[1:] * chord[:-1] + h[:-1] * chord[1:])
    right[0] = ((h[0] + 2.0 * first) * h[1] * chord[0] + h[0] ** 2 * chord[1]) / first
    right[-1] = (h[-1] ** 2 * chord[-2] + (2.0 * last + h[-1]) * h[-2] * chord[-1]) / last
    middle = np.concatenate([h[1:2], 2.0 * (h[1:] + h[:-1]), h[-2:-1]])
    slopes = dgtsv(np.append(h[1:], last), middle, np.append(first, h[:-1]), right)[3]
    bend = (slopes[1:] + slopes[:-1] - 2.0 * chord) / h
    return np.stack([bend / h, (chord - slopes[:-1]) / h - bend, slopes[:-1], y[:-1]])


Array = NDArray[np.float64]

#: The table starts at this fraction of T; schedules that end steeply (cosine) need nodes that crowd at T as well.
_START = 1e-9
#: How far beside a kink its sides are asked for, as a share of T: kinks that were found are known to less.
_BESIDE = 1e-12
#: Even nodes of the table besides, where the process is the user's.
_EVEN = 4001


def _pieces(std: float, process: Process, t: Array) -> Array:
    """Change of the clock between times without a kink between them; at the ends the schedule is that of this side."""
    log_t = np.log(t)
    inside = np.clip(t, t[0] + _BESIDE * process.T, t[-1] - _BESIDE * process.T)
    g2 = np.square(process.diffusion(inside)) * np.ones_like(t)
    v = process.scale(0.0, t) ** 2 * std**2 + process.variance(0.0, t)
    # Rates per unit of log t; the small constant keeps the map invertible where every term vanishes.
    rate = np.abs(np.gradient(np.log(v), log_t)) + 0.5 * np.abs(np.gradient(np.log(g2), log_t)) + 0.1 * t * g2 / v
    return np.asarray((0.5 * (rate[1:] + rate[:-1]) + 1e-3) * np.diff(log_t))


@dataclass(frozen=True, eq=False)
class Clock:
    """Tabulated monotone map between log t and the clock."""

    table: MonotoneMap

    @classmethod
    def of(cls, target: Law, process: Process) -> Clock:
        """The clock of a target and a process; that of a process which cannot change is tabulated once."""
        known = getattr(process, "__dataclass_params__", None)
        tabulate = _tabulated if known is not None and known.frozen else _tabulated.__wrapped__
        return tabulate(float(target.smallest_std), process)

    def forward(self, t: ArrayLike) -> Array:
        """tau(t)."""
        return self.table.forward(np.log(t))

    def backward(self, tau: ArrayLike) -> Array:
        """t(tau)."""
        return np.asarray(np.exp(self.table.inverse(tau)))


@lru_cache(maxsize=32)
def _tabulated(std: float, process: Process) -> Clock:
    # where nothing is left of the data at T every e-fold of T - t takes as long
    nearest = 1e-7 if process.held_from == process.T else 0.1 * (1.0 - process.held_from / process.T)
    end = process.T * (1.0 - np.geomspace(nearest, 0.3, 250))
    first = _START * process.T
    kinks = [float(t) for t in process.joints.times if 2.0 * first < t < process.T * (1.0 - _START)]
    t = np.concatenate([np.geomspace(first, process.T, 1001)[:-1], end])
    if process.opaque:
        # functions of the user's may change quickly anywhere
        even, known = np.linspace(0.0, process.T, _EVEN)[1:-1], np.unique(t)
        k = np.clip(np.searchsorted(known, even), 1, len(known) - 1)
        near = np.minimum(even - known[k - 1], known[k] - even) < 0.1 * process.T / _EVEN
        t = np.append(known, even[~near])
    for kink in kinks:
        t = t[np.abs(t - kink) > 1e-13 * process.T]
    t = np.unique([*t, *kinks, process.T])
    parts = [t[(low <= t) & (t <= high)] for low, high in pairwise([first, *sorted(kinks), process.T])]
    pieces = np.concatenate([_pieces(std, process, part) for part in parts])
    log_t = np.log(t)
    joints = tuple(log_t[np.isin(t, kinks)].tolist())
    return Clock(MonotoneMap(log_t, np.append(0.0, np.cumsum(pieces)), joints))


#: Steps beside a steep change grow by about this share of their distance to it, per step of the clock.
GRADING = 2.0
#: Ratio of neighbouring distances beside one at which the clock is tabulated.
RATIO = 1.25


def _graded(steep: Array, times: Array) -> Array:
    """Rate of the clock that steep changes (t, change, duration) ask for, shape of `times`.

    ``R^2 = K/2 sum_j a_j/(d_j/a_j + K |t - t_j|)^2``: within a change a/d, its own rate; beside it 1/(K distance), so
    that steps grow gradually. Without the second they jump from short to long, and extrapolation loses its order.
    """
    t, change, duration = steep
    total = np.zeros(len(times))
    for part in (slice(k, k + 64) for k in range(0, len(t), 64)):
        near = duration[part] / change[part] + GRADING * np.abs(times[:, None] - t[part])
        total += (change[part] / near**2).sum(axis=1)
    return np.asarray(np.sqrt(0.5 * GRADING * total))


#: Clock per factor e in a start's variance.
LAYER_WEIGHT = 0.5
#: Nodes of the table of a run, as shares of it.
_SHARES = np.concatenate([[0.0], np.geomspace(1e-9, 1e-2, 100), np.linspace(1e-2, 1.0, 150)[1:]])
#: Share of T, where coefficients are infinite there, within which no densities are kept unless asked for.
SETTLED = 0.005
#: Times that differ by less than this share of the larger are one.
SAME = 1e-9
#: Rounding errors of the first time within which noise may widen a start to no more than itself.
FEWEST = 1000.0
#: Width taken for a start with jumps or kinks, as a share of its standard deviation.
KINKED_SHARE = 0.1


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
    hidden : Joints
        Kinks of the coefficients that the dynamics does not know of.
    """

    dynamics: BaseDynamics
    first: float
    last: float
    width: float
    hidden: Joints = field(default_factory=Joints)

    @property
    def announced(self) -> RunClock:
        """The same without what is hidden."""
        return replace(self, hidden=Joints())

    @property
    def rough(self) -> bool:
        """Whether coefficients have more kinks than steps can meet."""
        return self.dynamics.joints.rough or self.hidden.rough

    @cached_property
    def _joints(self) -> Joints:
        return self.dynamics.joints.with_others(self.hidden)

    @property
    def breaks(self) -> tuple[float, ...]:
        """Times along the run at which coefficients jump or have kinks; what is an end up to rounding is left out."""
        low, high = min(self.first, self.last), max(self.first, self.last)
        every = self._joints.times if self.hidden.times else self.dynamics.breaks
        return tuple(t for t in every if low + SAME * high < t < high - SAME * high)

    @property
    def settled(self) -> float:
        """Time from which on a run is worth keeping: its first, or below a T at which coefficients are infinite."""
        if self.first <= self.dynamics.held_from or self.last >= self.first:
            return self.first
        return max(self.first * (1.0 - SETTLED), self.first - 0.1 * (self.first - self.last))

    @cached_property
    def _begin(self) -> float:
        return float(self.dynamics.clock(np.array([self.first]))[0])

    @cached_property
    def _map(self) -> MonotoneMap:
        """Total clock over the distance run on the dynamics' own; nodes crowd at the start, where starts spread."""
        end = float(self.dynamics.clock(np.array([self.last]))[0])
        share, joints = _SHARES, np.empty(0)
        steep = np.array(self._joints.steep).reshape(-1, 3).T
        if not np.isfinite(self.width) and not steep.size:
            own = abs(end - self._begin) * share
            return MonotoneMap(own, own)
        if steep.size:
            beside = self._joints.beside(min(self.first, self.last), max(self.first, self.last), RATIO)
            share = np.union1d(share, (self.dynamics.clock(beside) - self._begin) / (end - self._begin))
            share = share[np.append(True, np.diff(share) > 1e-13)]
        if self.breaks:
            # where the noise jumps, the slope of the layer does
            joints = (self.dynamics.clock(np.array(self.breaks)) - self._begin) / (end - self._begin)
            for joint in joints:
                share = share[np.abs(share - joint) > 1e-13]
            share = np.union1d(share, joints)
        own = abs(end - self._begin) * share
        halves = np.empty(2 * len(share) - 1)
        halves[::2], halves[1::2] = share, 0.5 * (share[1:] + share[:-1])
        times = self.dynamics.clock_inverse(self._begin + (end - self._begin) * halves)
        power = np.square(self.dynamics.noise(times))
        pieces = 0.5 * (power[1:] + power[:-1]) * np.abs(np.diff(times))
        spread = np.append(0.0, np.cumsum(pieces)[1::2])
        layer = LAYER_WEIGHT * np.log1p(spread / self.width**2)
        if steep.size:
            rate = _graded(steep, times)
            pieces = (rate[:-2:2] + 4.0 * rate[1:-1:2] + rate[2::2]) / 6.0 * np.abs(np.diff(times[::2]))
            layer += np.append(0.0, np.cumsum(pieces))
        return MonotoneMap(own, own + layer, tuple(own[np.searchsorted(share, np.sort(joints))].tolist()))

    def at(self, t: ArrayLike) -> Array:
        """Clock at forward times t, 0 at the beginning of the run."""
        return self._map.forward(np.abs(self.dynamics.clock(t) - self._begin))

    def inverse(self, tau: ArrayLike) -> Array:
        """Forward times at which the clock shows tau."""
        sign = 1.0 if self.last > self.first else -1.0
        return np.asarray(self.dynamics.clock_inverse(self._begin + sign * self._map.inverse(tau)))


def run_clock(
    dynamics: BaseDynamics, starts: Iterable[object], first: float, last: float, grid: Grid | None = None
) -> RunClock:
    """The clock of a run of `dynamics` from the given starts (arrays have no width and add no layer)."""
    width = min((_width(start) for start in starts if isinstance(start, Law)), default=np.inf)
    least = float(dynamics.noise(np.array([first]))[0]) * (FEWEST * np.finfo(float).eps * first) ** 0.5
    if width < least:
        got = f"one of {width:.3g}, which spreads within a rounding error of t = {first:g}"
        raise error("starts", f"standard deviations of {least:.2g} or more", got, "take a wider start")
    return RunClock(dynamics, first, last, width, dynamics.hidden(min(first, last), max(first, last), grid))


def _width(law: Law) -> float:
    if law.smallest_std > 0.0:
        return float(law.smallest_std)
    return KINKED_SHARE * float(np.sqrt(np.min(np.diagonal(np.atleast_2d(law.cov)))))

"""Where the steps end: knots uniform in the problem's own clock, through every saved time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fpsolve import _checks, _times

Array = npt.NDArray[np.float64]
Clock = Callable[[Array], Array]


def default_t_min(T: float) -> float:
    """Where a simulation stops unless told otherwise: 1e-2 T."""
    return 1e-2 * T


def clock_of(reverse: Any) -> Clock | None:
    """The dynamics' own clock (a method ``clock(t)``, increasing in forward time), or None: uniform in t."""
    clock = getattr(reverse, "clock", None)
    return clock if callable(clock) else None


def saved_times(save_at: npt.ArrayLike | None, t_min: float, T: float) -> Array:
    """Saved forward times, decreasing and distinct; by default the two ends T and ``t_min``."""
    if save_at is None:
        return np.array([T, t_min])
    return _times.saves("save_at", save_at, t_min, T, wanted="between t_min = {} and T = {}")[::-1]


def step_times(T: float, t_min: float, steps: int, saved: Array, clock: Clock | None) -> Array:
    """Decreasing forward times ``T = t_0 > ... > t_steps = t_min`` that pass through every saved time.

    The saved times cut [t_min, T] into segments. Each gets a share of the ``steps`` in proportion to its
    length on the clock (at least one), and its knots are uniform on the clock. Without inner saved times
    that is simply uniform on the clock.
    """
    ends = np.unique(np.concatenate([saved, [t_min, T]]))[::-1]
    if steps < ends.size - 1:
        expected = f"at least {ends.size - 1}, one for each interval between saved times"
        raise _checks.error("steps", expected, steps, "take more steps or save fewer times")
    ticks = ends if clock is None else np.asarray(clock(ends), dtype=np.float64)
    if not (np.all(np.isfinite(ticks)) and np.all(np.diff(ticks) < 0)):
        raise _checks.error("clock", "finite values that increase with forward time", f"{ticks} at t = {ends}")
    knot = _shares((ticks[0] - ticks) / (ticks[0] - ticks[-1]), steps)
    even = np.interp(np.arange(steps + 1), knot, ticks)
    times = even if clock is None else _invert(clock, even, t_min, T)
    times[knot] = ends
    return times


def _shares(fraction: Array, steps: int) -> npt.NDArray[np.int64]:
    """Knot numbers nearest to ``fraction * steps`` that leave at least one step to every segment."""
    segment = np.arange(fraction.size)
    wanted = np.rint(fraction * steps).astype(np.int64) - segment
    free = np.clip(np.maximum.accumulate(wanted), 0, steps - segment[-1])
    return np.asarray(free + segment, dtype=np.int64)


def _invert(clock: Clock, ticks: Array, low: float, high: float) -> Array:
    """Times at which the clock shows ``ticks``, by bisection (60 halvings: to rounding)."""
    below, above = np.full(ticks.shape, low), np.full(ticks.shape, high)
    for _ in range(60):
        middle = 0.5 * (below + above)
        late = np.asarray(clock(middle)) > ticks
        above = np.where(late, middle, above)
        below = np.where(late, below, middle)
    return np.asarray(0.5 * (below + above), dtype=np.float64)


def given_times(times: npt.ArrayLike, T: float, save_at: npt.ArrayLike | None) -> tuple[Array, Array]:
    """The user's own step times (checked) and the saved times among them (the same up to rounding)."""
    knots = _times.decreasing("times", times, T, wanted="at least two strictly decreasing")
    if save_at is None:
        return knots, knots[[0, -1]]
    wanted = _checks.finite_array("save_at", save_at).ravel()
    nearest = _times.places(wanted, knots, T)
    if wanted.size == 0 or np.any(nearest < 0):
        missing = ", ".join(map(_checks.digits, wanted[nearest < 0])) if wanted.size else "none"
        remedy = "add the missing ones to times, or give steps instead of times"
        raise _checks.error("save_at", "some of the given times", missing, remedy)
    return knots, knots[np.unique(nearest)]

"""Forward times at the border, and those at which steps have to end.

A user's `t_min`, T, save times and step times are computed in different ways, by ``arange``, ``cumsum``, powers or in
float32, and the same time comes out with other last digits. Compared exactly, it makes a second save time one rounding
error beside the first, a step of no length, or a time "outside" of the range. So every time is read and snapped here:
onto the ends of its range, onto the times at which steps have to end, and onto its neighbour.

Two times are the same where they differ by at most `ROUNDING` of themselves or `SUM` of T, which is what sums of ten
thousand steps leave; for a number that was computed in float32 (one that float32 holds exactly and that is no short
fraction) by `SINGLE` of itself, and at an end of the range by `SINGLE_SUM` of T. Numbers that come as float16 are the
mark that they round to. Times a user means to be different are further apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks
from fpsolve._checks import FloatArray, digits

#: Relative distance of two float64 times that are the same.
ROUNDING = 1e-9
#: Distance that sums of float64 steps leave, as a share of T.
SUM = 1e-12
#: Relative distance of two float32 times that are the same: 16 units in the last place.
SINGLE = 2e-6
#: Relative distance of a float16 number from the one it stands for.
HALF = 2.0**-11
#: Distance that sums of float32 steps leave: 8 units in the last place of T, at most a thousandth of a time.
SINGLE_SUM, _SHARE = 1e-6, 1e-3
#: A quick change: its time, its size as a share of the function, and how long it takes.
Steep = tuple[float, float, float]
#: How near to a steep change the first time beside it is, as a share of its duration.
_NEXT = 0.25


@dataclass(frozen=True)
class Joints:
    """Times at which steps have to end, increasing.

    `rough`: functions jump or bend at so many places that no steps can meet them all; orders are not to be believed.
    `steep`: where they change quickly.
    """

    times: tuple[float, ...] = ()
    rough: bool = False
    steep: tuple[Steep, ...] = ()

    def with_others(self, other: Joints) -> Joints:
        """Both together."""
        return Joints(
            tuple(sorted({*self.times, *other.times})),
            self.rough or other.rough,
            tuple(sorted({*self.steep, *other.steep})),
        )

    def beside(self, low: float, high: float, ratio: float, share: float = 0.0) -> FloatArray:
        """Times in (low, high) that resolve steep changes: one in each such share of them, and beside at distances that
        grow by a ratio."""
        if not self.steep:
            return np.empty(0)
        t, change, duration = np.array(self.steep).T
        apart = np.diff(t) > 2.0 * (duration[1:] + duration[:-1])
        inside = np.array([t - 0.5 * duration, t, t + 0.5 * duration])
        if share > 0.0:
            inside = inside[1, np.append(True, np.diff(np.cumsum(change) // share) > 0.0)]
        found = [inside.ravel()]
        for sign, ends in ((-1.0, np.append(True, apart)), (1.0, np.append(apart, True))):
            for at, first in zip(t[ends], _NEXT * duration[ends], strict=True):
                found.append(at + sign * first * ratio ** np.arange(np.log((high - low) / first) / np.log(ratio)))
        times = np.concatenate(found)
        return times[(times > low) & (times < high)]


def same(a: float, b: float, T: float) -> bool:
    """Return whether two times are the same up to rounding."""
    return bool(abs(a - b) <= max(_reach(a, b, T), _reach(b, a, T)))


def snapped(times: ArrayLike, marks: Iterable[float], T: float) -> FloatArray:
    """Return the times, those within rounding of a mark replaced by it; T sets the scale of rounding.

    Examples
    --------
    >>> snapped([0.1 + 0.2, 0.31], [0.3], 1.0).tolist()
    [0.3, 0.31]
    """
    given = np.asarray(times, dtype=np.float64)
    found = np.array(given)
    for mark in marks:
        gap = np.abs(given - mark)
        # farther than any reach, or the mark itself: most times are, and the look at their digits costs
        near = (gap > 0.0) & (gap <= (ROUNDING + _SHARE) * abs(mark) + (SUM + SINGLE_SUM) * T)
        if near.any():
            found = np.where(gap <= _reach(given, float(mark), T), mark, found)
    return found


def _of_half(given: object, times: FloatArray, marks: Iterable[float]) -> FloatArray:
    """Return times, those handed in as float16 replaced by the mark that they are the rounding of."""
    if np.asarray(given).dtype != np.float16:
        return times
    for mark in marks:
        times = np.where(np.abs(times - mark) <= HALF * abs(mark), mark, times)
    return times


def within(name: str, value: ArrayLike, T: float, low: float = 0.0) -> FloatArray:
    """Return forward times in [low, T] in the shape given; those outside by rounding are put onto the end they miss.

    Raises
    ------
    ValueError
        What is not finite numbers, or outside of the range.
    """
    # the common cases, at once: comparisons with NaN are false
    if type(value) is np.ndarray and value.dtype == np.float64 and value.size:
        if value.min() >= low and value.max() <= T:
            return value
    elif isinstance(value, float) and low <= value <= T:
        return np.asarray(value)
    times = _of_half(value, _checks.finite_array(name, value), (low, T))
    if times.size == 0 or (times.min() >= low and times.max() <= T):
        return times
    outside = (times < low) | (times > T)
    times = np.where(outside, snapped(times, (low, T), T), times)
    if times.min() < low or times.max() > T:
        worst = float(times.min() if times.min() < low else times.max())
        span = f"[{digits(low)}, T={digits(T)}]"
        raise _checks.error(name, f"forward times in {span}", digits(worst), "reverse time is T - t")
    return times


def one(name: str, value: object, low: float, high: float, *, ends: str = "[]", remedy: str = "") -> float:
    """Return one time in an interval, `ends` as in `fpsolve._checks.interval`; near a closed end it is that end.

    Raises
    ------
    ValueError
        What is not one number in the interval.
    """
    number = _checks.finite(name, value, remedy)
    closed = [mark for mark, bracket in ((low, ends[0]), (high, ends[1])) if bracket in "[]" and np.isfinite(mark)]
    scale = high if np.isfinite(high) else abs(number)
    near = snapped(_of_half(value, np.asarray(number), closed), closed, scale)
    return _checks.interval(name, float(near), low, high, ends=ends, remedy=remedy)


def block(
    first: str, t0: object, last: str, t1: object, T: float, *, wanted: str = "a forward time below {start}"
) -> tuple[float, float]:
    """Return the times of a block of reverse dynamics as floats, ``T >= t0 > t1 >= 0``.

    `first` and `last` are their names, `wanted` is what messages say of the second.

    Raises
    ------
    ValueError
        Times out of range, or a second one that is not below the first by more than rounding.
    """
    given = [(name, _of_half(t, np.asarray(_checks.finite(name, t)), (T,))) for name, t in ((first, t0), (last, t1))]
    inside = [within(name, t, T) for name, t in given]
    start, end = snapped(inside, (0.0, T), T).tolist()
    if not end < start or start - end <= float(_reach(end, start, T)):
        remedy = "reverse dynamics run from the larger forward time down to the smaller"
        raise _checks.error(last, wanted.format(start=f"{first} = {digits(start)}"), digits(end), remedy)
    return start, end


def saves(name: str, value: ArrayLike, low: float, high: float, *, wanted: str = "in [{0}, {1}]") -> FloatArray:
    """Return the user's save times, increasing and distinct, in [low, high].

    A time within rounding of an end is that end, of two times within rounding of one another the one with the shorter
    decimal is kept, so that ``sel(t=0.3)`` finds what was asked for as 0.3 and as 0.1 + 0.2.

    Raises
    ------
    ValueError
        No times, what is not finite numbers, times outside of the range.
    """
    given = _of_half(value, _checks.finite_array(name, value).ravel(), (low, high))
    if given.size == 0:
        raise _checks.error(name, "at least one forward time", "none", "leave it out for the default")
    times = np.unique(snapped(given, (low, high), high))
    if times[0] < low or times[-1] > high:
        worst = digits(times[0] if times[0] < low else times[-1])
        raise _checks.error(name, "forward times " + wanted.format(digits(low), digits(high)), worst, "leave it out")
    return _merged(times, (low, high), high)


def decreasing(name: str, value: ArrayLike, T: float, *, wanted: str = "at least two decreasing") -> FloatArray:
    """Return step times ``T >= t_0 > t_1 > ... >= 0``, at least two, without steps as short as rounding.

    Raises
    ------
    ValueError
        What is not finite numbers in [0, T], or does not decrease by more than rounding.
    """
    times = snapped(within(name, _checks.finite_array(name, value, shape=(None,)), T), (0.0, T), T)
    back = np.flatnonzero(np.diff(times) > _reach(times[1:], times[:-1], T))
    if times.size and not back.size:
        times = _merged(np.unique(times), (0.0, T), T)[::-1]
    if times.size < 2 or back.size:
        k = int(back[0]) if back.size else 0
        got = f"{digits(times[k])} before {digits(times[k + 1])}" if back.size else f"{times.size} of them"
        raise _checks.error(name, f"{wanted} forward times", got, "run from T downwards")
    return times


def places(wanted: ArrayLike, times: ArrayLike, T: float) -> NDArray[np.intp]:
    """Return for every wanted time the number of the time that is the same up to rounding, -1 where there is none."""
    have = np.asarray(times, dtype=np.float64)
    found = []
    for t in np.atleast_1d(_of_half(wanted, np.asarray(wanted, dtype=np.float64), have.tolist())):
        k = int(np.argmin(np.abs(have - t))) if have.size else -1
        found.append(k if have.size and abs(have[k] - t) <= _reach(t, float(have[k]), T) else -1)
    return np.array(found, dtype=np.intp)


def _merged(times: FloatArray, ends: tuple[float, float], T: float) -> FloatArray:
    """Return increasing times without neighbours that are the same: an end stays, else the shorter decimal."""
    single = _computed_in_single(times)
    shares = np.where(single[1:] & single[:-1], SINGLE, ROUNDING)
    if np.all(np.diff(times) > np.maximum(shares * np.maximum(np.abs(times[1:]), np.abs(times[:-1])), SUM * T)):
        return np.array(times)  # none is near another: a million of them at once
    kept = [float(times[0])]
    for t in times[1:].tolist():
        # how far two times may be apart and be the same
        other = kept[-1]
        size = np.maximum(np.abs(t), np.abs(other))
        share = np.where(_computed_in_single(t) & _computed_in_single(other), SINGLE, ROUNDING)
        if t - kept[-1] > np.asarray(np.maximum(share * size, SUM * T)):
            kept.append(t)
        elif kept[-1] not in ends and (t in ends or len(repr(t)) < len(repr(kept[-1]))):
            kept[-1] = t
    return np.array(kept)


def _reach(t: ArrayLike, mark: ArrayLike, T: float) -> FloatArray:
    """Return how far a time may be from a mark, an end of the range or another time, and be the same."""
    size = np.abs(mark)
    rounding = np.maximum(ROUNDING * size, SUM * T)
    # below 0 nothing can be meant, above it a small float32 number is one
    below = SINGLE_SUM * T * np.less(t, 0.0)
    share = np.where(size > 0.0, np.clip(SINGLE_SUM * T, SINGLE * size, _SHARE * size), below)
    single = _computed_in_single(t) | _computed_in_single(mark)
    return np.asarray(np.maximum(rounding, np.where(single, share, 0.0)))


def _computed_in_single(t: ArrayLike) -> NDArray[np.bool_]:
    """Return whether float32 holds a number exactly though it is no short fraction, which float16 would hold too."""
    times = np.asarray(t, dtype=np.float64)
    with np.errstate(over="ignore", under="ignore"):
        single, half = (times.astype(kind).astype(np.float64) for kind in (np.float32, np.float16))
    return np.asarray((single == times) & (half != times))

"""Where functions of time have kinks or jumps that nobody announced, and where they change quickly.

No scheme keeps its order in a step that holds a kink, and differences of levels then say nothing of the error: they
have to be ends of steps. A function is looked at on grids on which powers of t and of T - t are smooth. Sixth
differences of a smooth function are next to nothing, those around a jump of the function or of its first derivatives
stand out against their neighbours; there the look is repeated ever closer, as long as they fall more slowly than those
of something smooth (edge detection by differences: Gelb and Tadmor 1999, doi:10.1006/acha.1999.0262).

What changes quickly is no kink, but steps jump from short to long beside it unless they are told; then extrapolation
loses its order. So quick changes are found as well, and looked at in parts until they are resolved.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve._times import Joints, Steep

#: Values (functions, ...) of functions of times (...).
Functions = Callable[[FloatArray], FloatArray]

_ORDER = 6
#: Times of the grids at the ends, a quarter of those between, unless told otherwise; as shares of the range how near to
#: the ends they go, and where the middle begins.
LOOKS, _NEAREST, _MIDDLE = 1000, 1e-6, 0.02
#: A difference stands out where it is so many times a percentile of so many around it, and so many rounding errors.
_OUTSTANDING, _USUAL, _AROUND, _ROUNDINGS = 60.0, 25, 61, 4096.0
#: Closer looks: times, spacing per spacing before, how often; differences of kinks fall by less than this each time.
_CLOSER, _ZOOM, _ZOOMS, _SLOW = 41, 0.25, 22, 4.0**-4.5
#: The first closer look, in spacings of the grid; width of a steep change in those of the look that resolves it.
_FIRST, _WIDTH = 0.3, 4.0
#: Kinks closer together than this share of the range are one; of more than this many none is told.
_APART, MOST = 3e-6, 300
#: Sixth differences everywhere that are felt, as a share of the function: of coefficients, of what these are the
#: derivatives of, of scores, which learned ones have in single precision.
FELT, FELT_BY_DERIVATIVES, FELT_IN_SCORES = 1e-5, 1e-7, 1e-3


#: A function is steep where it changes by so many times itself in a time as long as that to the lower end of the range,
#: at most half the range, or many times that to the upper; itself, or this share of its largest value: powers of t are
#: not steep, and few are singular at the upper end. A kink known to this share of the range is one, a jump changes a
#: function by this share of it within that.
STEEP, _BEFORE, _SMALL, _EXACT, _JUMP = 7.0, 500.0, 0.05, 1e-7, 1e-2
#: What changes more than this in a piece is looked at in so many parts, so often.
_MUCH, _PARTS, _FINER = 0.05, 8, 4


def joints(
    functions: Functions,
    low: float,
    high: float,
    *,
    announced: tuple[float, ...] = (),
    looks: int = LOOKS,
    felt: float = FELT,
    most: int = MOST,
    together: int = 0,
) -> Joints:
    """Return the announced kinks, and the times inside of (low, high) at which a function or a derivative jumps.

    Jumps of the function or its slope are found to about 1e-13 of the range, of its curvature to 1e-6.

    Parameters
    ----------
    functions : callable
        Of an array of times, to one more axis in front; vectorised. What is not finite is left out.
    low, high : float
        Range of times; singular powers of t and of high - t at its ends are no kinks.
    announced : tuple of float
        What is found next to one of these is that one.
    looks : int
        Times of the grids at the ends; four times as many between.
    felt : float
        Sixth differences everywhere of this share of a function make it rough.
    most : int
        More kinks than this make it rough; every one costs about 400 values.
    together : int
        So many of the last functions are one, seen at as many points: where one of them passes through 0 the others say
        how large it is.
    """
    span, found, quick, rough = high - low, list[tuple[float, float]](), list[Steep](), False
    for grid, end, sign in _grids(low, high, looks):
        placed = _Placed(functions, end, sign)
        with np.errstate(all="ignore"):
            values = placed(grid)
            places, dense = _on(placed, grid, values, felt, most)
            quick += [] if dense else _quick(placed, grid, values, span, end, sign, together)
        found += [(end + sign * v, off) for v, off in places]
        rough |= dense
    kept = [float(t) for t in announced]
    # what was seen best stands for what is next to it; graded times may lie beyond the range
    for t, _ in sorted(found, key=lambda one: one[1]):
        if low < t < high and all(abs(t - other) > _APART * span for other in kept):
            kept.append(t)
    if len(kept) > most + len(announced):
        return Joints(tuple(announced), rough=True)
    jumps = [t for t, off in found if off < _EXACT * span]
    return Joints(tuple(sorted(kept)), rough, () if rough else _not_beside((*announced, *jumps), quick))


def quick_changes(functions: Functions, low: float, high: float, *, marks: tuple[float, ...]) -> tuple[Steep, ...]:
    """Return where functions, as those of `joints`, change quickly, but for what is next to marks that are jumps."""
    found, span = list[Steep](), high - low
    with np.errstate(all="ignore"):
        before, after = (np.atleast_2d(functions(np.array(marks) + side * _EXACT * span)) for side in (-1.0, 1.0))
        # what is not finite, or 0 on both sides, is no jump
        across = np.nan_to_num(np.abs(after - before) / (np.abs(after) + np.abs(before))).max(axis=0, initial=0.0)
        for grid, end, sign in _grids(low, high, LOOKS):
            placed = _Placed(functions, end, sign)
            found += _quick(placed, grid, placed(grid), span, end, sign)
    jumps = tuple(t for t, share in zip(marks, across, strict=True) if share > _JUMP)
    return _not_beside(jumps, found)


def _not_beside(jumps: tuple[float, ...], found: list[Steep]) -> tuple[Steep, ...]:
    """Return the steep changes that are no jumps: these are joints."""
    marks = np.array([*jumps, np.inf])
    return tuple(sorted(one for one in found if np.abs(marks - one[0]).min() > 2.0 * one[2]))


def _grids(low: float, high: float, looks: int) -> list[tuple[FloatArray, float, float]]:
    """Return distances, the end they are from and their sign: from each end in their logarithm, evenly between."""
    span = high - low
    near = span * np.geomspace(_NEAREST, _MIDDLE * 1.5, looks)
    return [(near, low, 1.0), (span * np.linspace(_MIDDLE, 1.0 - _MIDDLE, 4 * looks), low, 1.0), (near, high, -1.0)]


@dataclass(frozen=True)
class _Placed:
    """Functions of the distance to an end."""

    functions: Functions
    end: float
    sign: float

    def __call__(self, v: FloatArray) -> FloatArray:
        return np.atleast_2d(self.functions(self.end + self.sign * v))


def _on(
    functions: Functions, grid: FloatArray, values: FloatArray, felt: float, most: int
) -> tuple[list[tuple[float, float]], bool]:
    """Return the joints on a grid that is smooth in its index, how closely each was seen, and whether it is rough."""
    from scipy.ndimage import percentile_filter

    size, wider = (np.abs(np.diff(part, n=_ORDER, axis=1)) for part in (values, values[:, ::2]))
    floor = _ROUNDINGS * np.finfo(float).eps * np.abs(values).max(axis=1, keepdims=True)
    usual, usual_wider = (percentile_filter(part, _USUAL, size=(1, _AROUND), mode="reflect") for part in (size, wider))
    # infinite or missing values are no kinks
    out = np.isfinite(size) & np.isfinite(usual) & (size > _OUTSTANDING * usual + floor)
    places: dict[int, int] = {}
    for k in sorted({_highest(size[f], int(k)) for f, k in zip(*np.nonzero(out), strict=True)}):
        f = int(np.argmax(np.where(out[:, k], size[:, k] / (usual[:, k] + floor[:, 0]), 0.0)))
        # functions that have one kink together show it at neighbouring places
        if not places or k - next(reversed(places)) > _ORDER // 2:
            places[k] = f
    if len(places) > most:
        return [], True
    known = [_closer(functions, f, grid[k + _ORDER // 2], grid, k, floor[f, 0]) for k, f in places.items()]
    # where differences of half the spacing are not much smaller, there are kinks between any few times, or noise
    largest = np.abs(values).max(axis=1, keepdims=True)
    both = usual[:, ::2][:, : usual_wider.shape[1]]
    dense = (both > felt * largest) & (both > _SLOW * usual_wider[:, : both.shape[1]])
    return [one for some in known for one in some], bool(dense.any())


def _quick(
    functions: Functions,
    grid: FloatArray,
    values: FloatArray,
    span: float,
    end: float,
    sign: float,
    together: int = 0,
) -> list[Steep]:
    """Return the pieces of a grid on which a function changes quickly for its distance to the ends of the range.

    Pieces in which one changes much are looked at again in parts, as are those beside them.
    """
    apart = len(values) - together
    largest = _SMALL * _sizes(values, apart).max(axis=1, keepdims=True)
    for look in range(_FINER + 1):
        size, gaps, middle = _sizes(values, apart), np.diff(grid), 0.5 * (grid[1:] + grid[:-1])
        usual = 0.5 * (size[:, 1:] + size[:, :-1]) + largest
        # beside what is not finite nothing is known
        change = np.nan_to_num(np.abs(np.diff(values, axis=1)) / usual, posinf=0.0).max(axis=0)
        far = np.minimum(middle if sign > 0.0 else _BEFORE * middle, 0.5 * span)
        quick = change * far > STEEP * gaps
        much = quick & (change > _MUCH)
        if look == _FINER or not much.any():
            break
        much[1:-1] |= much[2:] | much[:-2]
        inner = (grid[:-1][much, None] + gaps[much, None] * np.arange(1, _PARTS) / _PARTS).ravel()
        order = np.argsort(np.append(grid, inner), kind="stable")
        values = np.concatenate([values, functions(inner)], axis=1)[:, order]
        grid = np.append(grid, inner)[order]
    at = end + sign * middle[quick]
    return list(zip(at.tolist(), change[quick].tolist(), gaps[quick].tolist(), strict=True))


def _sizes(values: FloatArray, apart: int) -> FloatArray:
    """Return sizes of functions, 0 where they are not finite; from row `apart` on those of all of them together."""
    size = np.where(np.isfinite(values), np.abs(values), 0.0)
    size[apart:] = size[apart:].max(axis=0, initial=0.0)
    return size


def _highest(size: FloatArray, k: int) -> int:
    """Return the index of the largest difference of those that one kink raises."""
    first = max(k - _ORDER, 0)
    top = first + int(np.argmax(size[first : k + _ORDER + 1]))
    return top if top == k else _highest(size, top)


def _closer(
    functions: Functions, which: int, at: float, grid: FloatArray, k: int, floor: float
) -> list[tuple[float, float]]:
    """Return where a kink is, by ever closer looks, and the spacing of the last; around a steep change graded times."""
    coarse = float(grid[min(k + _ORDER // 2 + 1, len(grid) - 1)] - grid[min(k + _ORDER // 2, len(grid) - 2)])
    # the next kink stays outside
    step, before, looks = _FIRST * coarse, np.inf, 0
    offsets = np.arange(_CLOSER) - _CLOSER // 2
    while looks < _ZOOMS and step > 4.0 * np.finfo(float).eps * abs(at):
        times = at + step * offsets
        times = times[(times >= grid[0]) & (times <= grid[-1])]
        size = np.abs(np.diff(functions(times)[which], n=_ORDER))
        top = int(np.argmax(size))
        if not size[top] > floor:
            break
        # in noise, and in what is smooth, none stands out
        usual = float(np.partition(size, len(size) // 4)[len(size) // 4])
        if size[top] < 0.5 * _OUTSTANDING * usual or (looks > 0 and size[top] < _SLOW * before):
            wide = _WIDTH * step * 2.0 ** np.arange(max(0, int(np.log2(4.0 * coarse / (_WIDTH * step))) + 1))
            return [(at + side * float(w), step) for w in wide for side in (-1.0, 1.0)] if looks > 0 else []
        at, before, looks = float(times[top + _ORDER // 2]), float(size[top]), looks + 1
        step *= _ZOOM
    return [(at, step)] if looks > 1 else []


def of_time(function: Callable[[float], float], T: float) -> Joints:
    """Return what a function of one time at a time announces in `breaks`, else what is found; looked at once."""
    look = _of_time if isinstance(function, Hashable) else _of_time.__wrapped__
    return look(function, T)


@lru_cache(maxsize=8)
def _of_time(function: Callable[[float], float], T: float) -> Joints:
    if hasattr(function, "breaks"):
        return Joints(tuple(function.breaks))
    return joints(lambda times: np.array([[function(t) for t in times.tolist()]]), 0.0, T)

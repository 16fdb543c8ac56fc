"""Where functions of time have kinks or jumps that nobody announced.

No scheme keeps its order in a step that holds one, and differences of levels then say nothing of the error: they have
to be ends of steps. A function is looked at on grids on which powers of t and of T - t are smooth. Sixth differences of
a smooth function are next to nothing, those around a jump of the function or of its first derivatives stand out against
their neighbours; there the look is repeated ever closer, as long as they fall more slowly than those of something
smooth (edge detection by differences: Gelb and Tadmor 1999, doi:10.1006/acha.1999.0262).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fpsolve._checks import FloatArray

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


@dataclass(frozen=True)
class Joints:
    """Times at which steps have to end, increasing.

    `rough`: functions jump or bend at so many places that no steps can meet them all; orders are not to be believed.
    """

    times: tuple[float, ...] = ()
    rough: bool = False

    def with_others(self, other: Joints) -> Joints:
        """Both together."""
        return Joints(tuple(sorted({*self.times, *other.times})), self.rough or other.rough)


def joints(
    functions: Functions,
    low: float,
    high: float,
    *,
    announced: tuple[float, ...] = (),
    looks: int = LOOKS,
    felt: float = FELT,
    most: int = MOST,
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
    """
    span = high - low
    near = span * np.geomspace(_NEAREST, _MIDDLE * 1.5, looks)
    # from each end in the logarithm of the distance to it, evenly between
    grids = ((near, low, 1.0), (span * np.linspace(_MIDDLE, 1.0 - _MIDDLE, 4 * looks), low, 1.0), (near, high, -1.0))
    found, rough = list[tuple[float, float]](), False
    for grid, end, sign in grids:
        with np.errstate(all="ignore"):
            places, dense = _on(_Placed(functions, end, sign), grid, felt, most)
        found += [(end + sign * v, off) for v, off in places]
        rough |= dense
    kept = [float(t) for t in announced]
    # what was seen best stands for what is next to it; graded times may lie beyond the range
    for t, _ in sorted(found, key=lambda one: one[1]):
        if low < t < high and all(abs(t - other) > _APART * span for other in kept):
            kept.append(t)
    if len(kept) > most + len(announced):
        return Joints(tuple(announced), rough=True)
    return Joints(tuple(sorted(kept)), rough)


@dataclass(frozen=True)
class _Placed:
    """Functions of the distance to an end."""

    functions: Functions
    end: float
    sign: float

    def __call__(self, v: FloatArray) -> FloatArray:
        return np.atleast_2d(self.functions(self.end + self.sign * v))


def _on(functions: Functions, grid: FloatArray, felt: float, most: int) -> tuple[list[tuple[float, float]], bool]:
    """Return the joints on a grid that is smooth in its index, how closely each was seen, and whether it is rough."""
    from scipy.ndimage import percentile_filter

    values = functions(grid)
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

"""Sets of points that distances can be restricted to: functions, intervals, boxes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from fpsolve import _checks
from fpsolve._callables import answer_of
from fpsolve._checks import FloatArray
from fpsolve.distances._lines import Line, Weigh
from fpsolve.distances._planes import Plane

__all__ = ["PointSet", "Region", "midpoints"]

#: A function from points to bool, an interval or several (1D), a box ((lo, hi), (lo, hi)) (2D).
Region: TypeAlias = Callable[[FloatArray], Any] | Sequence[Any]

# samples per cell that look for the ends of a function's set in 1D, and halvings that then find them
_SAMPLES, _HALVINGS = 16, 50
# samples per cell and axis that look for its boundary in 2D
_PER_AXIS = 8


@dataclass(frozen=True, eq=False)
class PointSet:
    """A set of points.

    Attributes
    ----------
    contains : callable
        Its indicator, 1.0 or 0.0 at points (...) in 1D, (..., 2) in 2D.
    lows, highs : arrays or None
        Ends of the intervals, shape (k,), or of the box, shape (2,); None for a function.
    """

    contains: Weigh
    lows: FloatArray | None = None
    highs: FloatArray | None = None

    @classmethod
    def of(cls, region: Any, dim: int) -> "PointSet":
        """Return the set a user's `region` describes; a ValueError where it describes none."""
        if callable(region):
            return cls(lambda points: _indicator(region, points, dim))
        bounds = _checks.real_array("region", region, "use (lo, hi), a list of these, a box, or a function of points")
        pairs = np.atleast_2d(bounds) if dim == 1 else bounds
        wanted = (2, 2) if dim == 2 else (len(pairs), 2)
        if pairs.shape != wanted or not (pairs[:, 0] < pairs[:, 1]).all():
            form = "((lo, hi), (lo, hi)) in 2D" if dim == 2 else "(lo, hi) or a list of these in 1D"
            raise _checks.error("region", f"{form} with lo < hi", repr(region)[:80], "or give a function of points")
        lows, highs = pairs.T
        return cls(_in_box(lows, highs) if dim == 2 else _in_intervals(lows, highs), lows, highs)

    def ends(self, line: Line, cells: int) -> FloatArray:
        """Return the ends of the set on a line of cells, shape (k,)."""
        if self.lows is None or self.highs is None:
            return _changes(self.contains, line, cells)
        ends = np.concatenate([self.lows, self.highs])
        return np.asarray(ends[np.isfinite(ends)])

    def meets(self, places: FloatArray) -> float:
        """Return 1 where the set meets the stretch that the places (k,) go along, on a line; else 0."""
        if self.lows is None or self.highs is None:
            return float(self.contains(places).any())
        return float(((self.lows <= places.max()) & (self.highs >= places.min())).any())

    def overlap(self, plane: Plane, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the share of every cell in the set, (nx, ny), and where in each row and column of cells to look.

        The latter are inner positions (nx, 2), (ny, 2) of a rectangle in the cell that holds its part of the set:
        that part itself for a box, the whole cell for a function, whose share is sampled.
        """
        if self.lows is None or self.highs is None:
            inside = self.contains(plane.points(midpoints(_PER_AXIS), range(shape[0]), shape[1]))
            return inside.mean(axis=(1, 3)), *(np.tile([0.0, 1.0], (n, 1)) for n in shape)
        extents = []
        for low, h, n, start, stop in zip(plane.low, plane.spacing, shape, self.lows, self.highs, strict=True):
            faces = np.arange(n)[:, None]
            extents.append(np.clip((np.array([start, stop]) - low) / h - faces, 0.0, 1.0))
        across, along = (extent[:, 1] - extent[:, 0] for extent in extents)
        return np.outer(across, along), extents[0], extents[1]


def midpoints(count: int) -> FloatArray:
    """Return the midpoints of `count` equal parts of [0, 1]."""
    return np.asarray((np.arange(count) + 0.5) / count)


def _indicator(region: Callable[[FloatArray], Any], points: FloatArray, dim: int) -> FloatArray:
    shape = points.shape if dim == 1 else points.shape[:-1]
    inside = np.asarray(answer_of("region", region, points))
    if inside.shape != shape or inside.dtype != np.bool_:
        raise _checks.error(
            "region", f"booleans of shape {shape}", f"{inside.dtype} of shape {inside.shape}", "return one per point"
        )
    return inside.astype(float)


def _in_intervals(lows: FloatArray, highs: FloatArray) -> Weigh:
    return lambda points: ((points[..., None] >= lows) & (points[..., None] <= highs)).any(axis=-1).astype(float)


def _in_box(lows: FloatArray, highs: FloatArray) -> Weigh:
    return lambda points: ((points >= lows) & (points <= highs)).all(axis=-1).astype(float)


def _changes(contains: Weigh, line: Line, cells: int) -> FloatArray:
    """Return the points where membership changes, found by bisection between samples."""
    samples = line.low + line.spacing * np.linspace(0.0, cells, _SAMPLES * cells + 1)
    inside = contains(samples)
    k = np.nonzero(inside[:-1] != inside[1:])[0]
    low, high, first = samples[k], samples[k + 1], inside[k]
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        same = contains(middle) == first
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return np.asarray(0.5 * (low + high))

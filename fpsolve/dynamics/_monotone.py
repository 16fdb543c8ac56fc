"""A smooth increasing map given by a table, and its exact inverse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve._checks import FloatArray

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
        from scipy.interpolate import CubicSpline

        at = [0, *np.searchsorted(self.x, self.joints), len(self.x) - 1]
        parts = [slice(first, last + 1) for first, last in pairwise(at) if last > first]
        return np.concatenate([CubicSpline(self.x[part], self.y[part]).c for part in parts], axis=1)

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
        from fpsolve.dynamics._roots import roots

        target = np.asarray(y, dtype=float)
        k = self._place(self.y, target)
        ends = [self.y[k] - target, self.y[k + 1] - target, self.x[k + 1] - self.x[k]]
        moved = roots(np.stack([*self._cubics[:3, k], *ends]).reshape(6, -1), _CLOSE * (self.x[-1] - self.x[0]))
        return np.asarray(self.x[k] + moved.reshape(target.shape))

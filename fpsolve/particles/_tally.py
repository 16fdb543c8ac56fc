"""What is kept of the particles at the saved times: sums, counts and, on request, positions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fpsolve.particles import _functions
from fpsolve.particles._cells import Cells

Array = npt.NDArray[np.float64]


@dataclass(eq=False)
class Tally:
    """Running totals over chunks; filled in place by the simulation loop, which owns it.

    Parameters
    ----------
    dim, n : int
        Dimension and total number of particles.
    centre, width : array (times, dim)
        Frame of the test functions at each saved time.
    cells : tuple of Cells, or empty
        Where to count at each saved time.
    keep : bool
        Whether positions are kept; only then does memory grow with n.
    """

    dim: int
    n: int
    centre: Array
    width: Array
    cells: tuple[Cells, ...] = ()
    keep: bool = True
    functions: Array = field(init=False)
    first: Array = field(init=False)
    second: Array = field(init=False)
    counts: list[npt.NDArray[np.int64]] = field(init=False)
    outside: npt.NDArray[np.int64] = field(init=False)
    positions: Array | None = field(init=False)

    def __post_init__(self) -> None:
        times = len(self.centre)
        self.functions = np.zeros((times, len(_functions.names(self.dim))))
        self.first = np.zeros((times, self.dim))
        self.second = np.zeros((times, self.dim, self.dim))
        self.counts = [np.zeros(c.shape, dtype=np.int64) for c in self.cells]
        self.outside = np.zeros((times, 2 if self.dim == 1 else 1), dtype=np.int64)
        shape = (times, self.n) if self.dim == 1 else (times, self.n, 2)
        self.positions = np.empty(shape) if self.keep else None

    def add(self, index: int, start: int, x: Array) -> None:
        """Add the chunk x, (m,) or (m, 2), of the particles from number ``start`` on, at a saved time."""
        if self.positions is not None:
            self.positions[index, start : start + len(x)] = x
        centre, width = self.centre[index], self.width[index]
        self.functions[index] += _functions.values(x, centre, width, self.dim).sum(axis=1)
        # Moments about the frame's centre: far from the origin raw second moments would cancel.
        shifted = x.reshape(len(x), self.dim) - centre
        self.first[index] += shifted.sum(axis=0)
        self.second[index] += shifted.T @ shifted
        if self.cells:
            counts, outside = self.cells[index].count(x)
            self.counts[index] += counts
            self.outside[index] += outside

    def mean(self) -> Array:
        """Sample mean, (times, dim)."""
        return np.asarray(self.centre + self.first / self.n, dtype=np.float64)

    def covariance(self) -> Array:
        """Sample covariance with denominator n, (times, dim, dim)."""
        shift = self.first / self.n
        return np.asarray(self.second / self.n - shift[:, :, None] * shift[:, None, :], dtype=np.float64)

"""Uniform cells at one time: counting particles in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fpsolve import _checks, _runs

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

AXES = ("x", "y")


@dataclass(frozen=True)
class Cells:
    """A uniform tensor grid of cells: lower ends, spacings and numbers of cells per axis."""

    low: tuple[float, ...]
    spacing: tuple[float, ...]
    shape: tuple[int, ...]

    @property
    def dim(self) -> int:
        """1 or 2."""
        return len(self.shape)

    @property
    def volume(self) -> float:
        """Length (1D) or area (2D) of a cell."""
        return float(np.prod(self.spacing))

    @property
    def faces(self) -> tuple[Array, ...]:
        """Faces per axis, (cells + 1,) each."""
        return tuple(
            np.asarray(lo + h * np.arange(n + 1), dtype=np.float64)
            for lo, h, n in zip(self.low, self.spacing, self.shape, strict=True)
        )

    @property
    def centres(self) -> tuple[Array, ...]:
        """Centres per axis, (cells,) each."""
        return tuple(
            np.asarray(lo + h * (np.arange(n) + 0.5), dtype=np.float64)
            for lo, h, n in zip(self.low, self.spacing, self.shape, strict=True)
        )

    def points(self, offset: tuple[float, ...] | None = None) -> Array:
        """Centres, moved by ``offset`` cells per axis: (nx,) in 1D, (nx, ny, 2) in 2D."""
        shift = offset or (0.0,) * self.dim
        axes = [c + o * h for c, o, h in zip(self.centres, shift, self.spacing, strict=True)]
        return axes[0] if self.dim == 1 else np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)

    def count(self, x: Array) -> tuple[Counts, Counts]:
        """Particles per cell, and outside of the box: (below, above) in 1D, (total,) in 2D.

        ``x`` is (n,) in 1D and (n, 2) in 2D. A cell holds its lower face; the last one also its upper face.
        """
        columns = [x] if self.dim == 1 else [x[:, 0], x[:, 1]]
        inside = np.ones(len(x), dtype=bool)
        index = np.zeros(len(x), dtype=np.int64)
        for column, lo, h, n in zip(columns, self.low, self.spacing, self.shape, strict=True):
            place = (column - lo) / h
            inside &= (place >= 0) & (place <= n)
            # Bounded before the conversion: a particle far outside must not overflow an integer.
            index = index * n + np.clip(place, 0, n - 1).astype(np.int64)
        counts = np.bincount(index[inside], minlength=int(np.prod(self.shape))).reshape(self.shape)
        if self.dim == 2:
            return counts, np.array([np.count_nonzero(~inside)], dtype=np.int64)
        below = np.count_nonzero(columns[0] < self.low[0])
        return counts, np.array([below, np.count_nonzero(~inside) - below], dtype=np.int64)


def from_grid(grid: Any) -> Cells:
    """Cells of a `fpsolve.Grid`."""
    return Cells(tuple(float(lo) for lo, _ in grid.bounds), tuple(float(h) for h in grid.spacing), tuple(grid.shape))


def from_dataset(data: Any, index: int) -> Cells:
    """Cells of a run or a cloud (anything with centres ``x[, y]``) at its saved time number ``index``.

    In a fixed frame ``x`` is an index; in a scaled frame it is a coordinate ``x(t, z)``: uniform at every
    time.
    """
    low, spacing, shape = [], [], []
    for name in AXES:
        if name not in data.coords:
            continue
        centres = data.coords[name]
        values = np.asarray(centres.isel(t=index) if "t" in centres.dims else centres, dtype=np.float64)
        h = float(values[-1] - values[0]) / (values.size - 1) if values.size > 1 else 0.0
        slack = _runs.position_slack(centres.values, h)
        if not h > 0.0 or np.any(np.abs(np.diff(values) - h) > slack * h):
            raise _checks.error("run", f"uniform increasing positions along {name}", "others", "sort it")
        low.append(float(values[0]) - 0.5 * h)
        spacing.append(h)
        shape.append(int(values.size))
    if not shape:
        raise _checks.error("run", "cell centres in the coordinates x (and y)", "none", "pass what evolve returned")
    return Cells(tuple(low), tuple(spacing), tuple(shape))

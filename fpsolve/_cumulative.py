"""Splines through cumulative masses at the faces of cells: densities between cells, without losing mass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fpsolve._checks import FloatArray


@dataclass(frozen=True, eq=False)
class Cumulative:
    """A density known by the masses of cells, continued by the spline of their cumulative mass; zero outside of them.

    Attributes
    ----------
    faces : tuple of arrays, shapes (nx + 1,)[, (ny + 1,)]
    cells : array, shape (..., nx) on a line, (nx, ny) in the plane
        Masses, of either sign.
    degree : int
        Of the spline: masses of other cells are of order ``h^(degree + 1)``, and exact between faces.
    """

    faces: tuple[FloatArray, ...]
    cells: FloatArray
    degree: int = 5

    @cached_property
    def _spline(self) -> Any:
        from scipy.interpolate import RectBivariateSpline, make_interp_spline

        if len(self.faces) == 1:
            before = np.zeros((*self.cells.shape[:-1], 1))
            cumulative = np.concatenate([before, np.cumsum(self.cells, axis=-1)], axis=-1)
            return make_interp_spline(self.faces[0], cumulative, k=self.degree, axis=-1)
        corners = np.zeros(tuple(len(axis) for axis in self.faces))
        corners[1:, 1:] = np.cumsum(np.cumsum(self.cells, axis=0), axis=1)
        return RectBivariateSpline(*self.faces, corners, kx=self.degree, ky=self.degree, s=0.0)

    def masses(self, *faces: FloatArray) -> FloatArray:
        """Masses of other cells; sums over the box are kept exactly, and there is nothing beyond it."""
        inside = [np.clip(other, own[0], own[-1]) for other, own in zip(faces, self.faces, strict=True)]
        values = np.asarray(self._spline(*inside), dtype=float)
        for axis in range(-len(faces), 0):
            values = np.diff(values, axis=axis)
        return values

    def density(self, points: FloatArray) -> FloatArray:
        """Density at points (n, 2) of the plane: the mixed derivative."""
        low, high = (np.array([axis[end] for axis in self.faces]) for end in (0, -1))
        inside = np.all((points >= low) & (points <= high), axis=1)
        out = np.zeros(len(points))
        out[inside] = self._spline.ev(*points[inside].T, dx=1, dy=1)
        return out

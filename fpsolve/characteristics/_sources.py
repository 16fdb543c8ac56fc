"""What is transported: a law at the first time, or cell averages on a grid, in the solver's coordinate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from fpsolve.grid import Grid
from fpsolve.laws import Law

if TYPE_CHECKING:
    from scipy.interpolate import BSpline, RectBivariateSpline

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
#: Cells of the table of cumulative masses of a law that has none in closed form.
_TABLE_CELLS = 4096
_DEGREE = 5


class Source(Protocol):
    """The density at the first time, per volume of the solver's coordinate."""

    def masses(self, faces: Array) -> Array:
        """Mass between successive positions of a line, (n + 1,) in, (n,) out."""
        ...

    def density(self, points: Array) -> Array:
        """Point values in the plane, (n, 2) in, (n,) out."""
        ...


def masses_between(source: Source, faces: Array) -> Array:
    """Masses between successive positions of a line, less than zero where these turn back.

    Origins of faces do, where the flow has pressed them together below the tolerance of their trajectories.
    """
    if np.all(faces[1:] > faces[:-1]):
        return source.masses(faces)
    ordered, place = np.unique(faces, return_inverse=True)
    return np.diff(np.append(0.0, np.cumsum(source.masses(ordered)))[place])


@dataclass(frozen=True, eq=False)
class LawSource:
    """A law in x seen in the coordinate ``z = (x - center)/scale``.

    Attributes
    ----------
    law : Law
    center, scale : arrays, shape (d,)
        0 and 1 where positions are x themselves.
    box : Grid
        A grid in x that holds the law; laws without cell probabilities are integrated on it.
    """

    law: Law
    center: Array
    scale: Array
    box: Grid

    def masses(self, faces: Array) -> Array:
        """Exact where the law has cell probabilities, else Gauss-Legendre quadrature of its density."""
        x = self.center[0] + self.scale[0] * faces
        exact = self.law.cell_probabilities(x)
        return np.diff(self._cumulative(x)) if exact is None else np.asarray(exact)

    def density(self, points: Array) -> Array:
        """Density per area of z."""
        return self.law.density(self.center + self.scale * points) * float(np.prod(self.scale))

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        """Faces of a fine table and the mass to the left of each, within the box."""
        low, high = self.box.bounds[0]
        fine = Grid.uniform((low, high), cells=_TABLE_CELLS)
        return fine.face_axes[0], np.append(0.0, np.cumsum(fine.cell_average(self.law)) * fine.volume)

    def _cumulative(self, x: Array) -> Array:
        """Mass between the left end of the table and x: whole cells from the table, the rest by quadrature."""
        faces, before = self._table
        inside = np.clip(x, faces[0], faces[-1])
        cell = np.minimum(np.searchsorted(faces, inside, side="right") - 1, len(faces) - 2)
        half = 0.5 * (inside - faces[cell])
        nodes = faces[cell][:, None] + half[:, None] * (1.0 + _NODES)
        return np.asarray(before[cell] + half * (np.exp(self.law.log_density(nodes)) @ _WEIGHTS))


@dataclass(frozen=True, eq=False)
class CellSource:
    """Cell averages on a grid of the solver's coordinate, continued by the quintic spline of their cumulative mass.

    Attributes
    ----------
    grid : Grid
    averages : array of the grid's shape
        Density or signed difference; zero outside of the box.
    """

    grid: Grid
    averages: Array

    def masses(self, faces: Array) -> Array:
        """Differences of the spline through the cumulative masses at the faces: sums are kept exactly."""
        low, high = self.grid.bounds[0]
        return np.diff(np.asarray(self._line(np.clip(faces, low, high))))

    def density(self, points: Array) -> Array:
        """Mixed derivative of the spline through the cumulative masses at the corners."""
        (x_low, x_high), (y_low, y_high) = self.grid.bounds
        x, y = points[:, 0], points[:, 1]
        inside = (x >= x_low) & (x <= x_high) & (y >= y_low) & (y <= y_high)
        out = np.zeros(len(points))
        out[inside] = self._plane.ev(x[inside], y[inside], dx=1, dy=1)
        return out

    @cached_property
    def _line(self) -> BSpline:
        from scipy.interpolate import make_interp_spline

        cumulative = np.append(0.0, np.cumsum(self.averages) * self.grid.volume)
        return make_interp_spline(self.grid.face_axes[0], cumulative, k=_DEGREE)

    @cached_property
    def _plane(self) -> RectBivariateSpline:
        from scipy.interpolate import RectBivariateSpline

        corner = np.zeros(tuple(n + 1 for n in self.grid.shape))
        corner[1:, 1:] = np.cumsum(np.cumsum(self.averages, axis=0), axis=1) * self.grid.volume
        return RectBivariateSpline(*self.grid.face_axes, corner, kx=_DEGREE, ky=_DEGREE, s=0.0)

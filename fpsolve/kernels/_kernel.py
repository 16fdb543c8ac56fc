"""A transition kernel on a grid: a row-stochastic matrix with its times. And where a map that increases comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _times
from fpsolve.grid import Grid

if TYPE_CHECKING:
    from fpsolve.dynamics import Reverse

Array = NDArray[np.float64]
Map = Callable[[Array], Array]

#: Rows of a kernel sum to one to this.
ROW_SUM = 1e-13
#: Largest grids for which the matrix is made: cells in 1D, cells per axis in 2D.
LARGEST = {1: 2000, 2: 48}


@dataclass(frozen=True, eq=False)
class Kernel:
    """Transition probabilities from the cells of a grid at time t0 to the cells of a grid at time t1.

    ``P[i, j]`` is the probability (mass, not density) of cell j at t1 when started in cell i at t0; cells are numbered
    in C order. Made by `exact`, `finite_volume` and `sampler`; ``K @ L`` is first K, then L.

    Parameters
    ----------
    matrix : array, shape (cells of grid, cells of to_grid)
        Rows sum to one to 1e-13. Kept without a copy, read-only.
    grid : Grid
        Cells at t0.
    t0, t1 : float
        Times from which and to which; forward times, so ``t0 > t1`` for reverse dynamics.
    to_grid : Grid, optional
        Cells at t1, default `grid`.
    name : str
    defects : array, shape (cells of grid,), optional
        Per row: mass beyond the box, and what the quadrature or the rounding of many steps left to one, before the row
        was made to sum to one. Measured, never hidden.
    averaged : float
        Share of rows whose source is averaged over its cell, because the step is narrower than the cell: each product
        with such a matrix adds a variance, ``h^2/6`` on average over all shifts by a part of a cell, at most ``h^2/4``.
    exact_of : Reverse, optional
        The reverse dynamics whose transitions these are, where the matrix is their exact kernel: `exact` says so. What
        is then known in closed form (`fpsolve.bounds`) holds beyond the box and between the cells.
    moves : array, shape of `matrix`, optional
        The linear operator that `push` and `pull` use in place of such a matrix: it moves a spline through the cell
        averages, adds no variance, keeps mass, and is not positive. None: they use the matrix.

    Raises
    ------
    ValueError
        A matrix (or moves) of another shape, not finite, or with rows that do not sum to one.

    Notes
    -----
    `matrix` is the Markov kernel: what bounds are computed from. Whether laws are pushed by it says `stochastic`.

    Examples
    --------
    >>> grid = Grid.uniform((0, 1), cells=2)
    >>> step = Kernel(np.array([[0.9, 0.1], [0.2, 0.8]]), grid, 1.0, 0.5)
    >>> step.push([2.0, 0.0])
    array([1.8, 0.2])
    >>> (step @ Kernel(step.matrix, grid, 0.5, 0.0)).matrix
    array([[0.83, 0.17],
           [0.34, 0.66]])
    """

    matrix: Array = field(repr=False)
    grid: Grid
    t0: float
    t1: float
    to_grid: Grid | None = None
    name: str = "kernel"
    defects: Array | None = field(default=None, repr=False)
    averaged: float = 0.0
    exact_of: Reverse | None = field(default=None, repr=False)
    moves: Array | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _checks.instances(grid=(self.grid, Grid))
        if self.to_grid is not None:
            _checks.instances(to_grid=(self.to_grid, Grid))
        object.__setattr__(self, "matrix", self._checked("matrix", self.matrix, ROW_SUM))
        if self.moves is not None:
            # entries of both signs: their sizes sum to a few, and so do their roundings
            object.__setattr__(self, "moves", self._checked("moves", self.moves, 100.0 * ROW_SUM))

    def _checked(self, name: str, values: Array, tolerance: float) -> Array:
        shape = (prod(self.grid.shape), prod(self.target.shape))
        matrix = _checks.finite_array(name, values, shape=shape).view()
        worst = float(np.max(np.abs(matrix.sum(axis=1) - 1.0)))
        if worst > tolerance:
            remedy = "a kernel keeps mass; put what leaves the box into its end cells"
            raise _checks.error(name, "rows that sum to one", f"a row off by {worst:.3g}", remedy)
        matrix.flags.writeable = False
        return matrix

    @property
    def stochastic(self) -> bool:
        """Whether `push` and `pull` use a row-stochastic matrix: no `moves` and no negative entries."""
        return self.moves is None and self.negative <= ROW_SUM

    @property
    def markov(self) -> Kernel:
        """The kernel whose `push` and `pull` are those of its matrix, `moves` left out: what bounds speak of."""
        return self if self.moves is None else replace(self, moves=None)

    @property
    def target(self) -> Grid:
        """Cells at t1."""
        return self.grid if self.to_grid is None else self.to_grid

    @property
    def defect(self) -> float:
        """Largest of `defects`; 0 where none were measured."""
        return 0.0 if self.defects is None else float(np.max(self.defects))

    @cached_property
    def negative(self) -> float:
        """Largest sum of the negative entries of a row, as a number >= 0; 0 for a stochastic matrix.

        Finite-volume kernels have some where time steps are long; kernels that move splines ring by construction.
        """
        return float(np.max(np.maximum(-self.matrix, 0.0).sum(axis=1)))

    def push(self, p: ArrayLike) -> Array:
        """Return the densities at t1, shape (..., *target.shape), of densities p at t0, shape (..., *grid.shape).

        Cell averages, per unit length or area, in and out; signed differences as well.
        """
        densities = on_cells("p", p, self.grid)
        flat = densities.reshape(-1, prod(self.grid.shape))
        pushed = (flat @ self._used) * (self.grid.volume / self.target.volume)
        return np.asarray(pushed.reshape(*densities.shape[: densities.ndim - self.grid.dim], *self.target.shape))

    def pull(self, f: ArrayLike) -> Array:
        """Return ``P f``, shape (..., *grid.shape): the mean at t1 of a function f, shape (..., *target.shape)."""
        values = on_cells("f", f, self.target)
        flat = values.reshape(-1, prod(self.target.shape))
        pulled = flat @ self._used.T
        return np.asarray(pulled.reshape(*values.shape[: values.ndim - self.target.dim], *self.grid.shape))

    @property
    def _used(self) -> Array:
        return self.matrix if self.moves is None else self.moves

    def __matmul__(self, later: Kernel) -> Kernel:
        """Return the kernel that does this one first, then `later`.

        Raises
        ------
        ValueError
            Different grids, or a `later` that does not begin where this one ends.
        """
        if not isinstance(later, Kernel):
            return NotImplemented
        if self.target != later.grid:
            shown = f"{self.target.bounds} x {self.target.shape} and {later.grid.bounds} x {later.grid.shape}"
            raise _checks.error("kernels", "the same grid in between", shown, "make both on one grid")
        if not _times.same(self.t1, later.t0, max(abs(self.t0), abs(later.t1))):
            shown = f"one to t = {_checks.digits(self.t1)} and one from t = {_checks.digits(later.t0)}"
            raise _checks.error("kernels", "times that meet", shown, "multiply in the order of the run")
        to_grid = None if later.target == self.grid else later.target
        product = self.matrix @ later.matrix
        # rounding only, but it adds up over hundreds of factors: taken out, and kept in the defects
        sums = product.sum(axis=1)
        product /= sums[:, None]
        lost = np.abs(sums - 1.0) + (0.0 if self.defects is None else self.defects)
        lost = lost + (0.0 if later.defects is None else float(np.max(later.defects)))
        moves = None if self.moves is None and later.moves is None else self._used @ later._used
        averaged = max(self.averaged, later.averaged)
        name = f"product {self.t0:g} -> {later.t1:g}"
        same = self.exact_of is later.exact_of
        known = self.exact_of if same else None
        return Kernel(product, self.grid, self.t0, later.t1, to_grid, name, lost, averaged, known, moves)


@dataclass(frozen=True, eq=False)
class Operator(ABC):
    """A transition kernel that is only ever applied: `push` densities, `pull` functions, no matrix.

    Parameters
    ----------
    grid : Grid
        Cells at t0.
    t0, t1 : float
        Times from which and to which.
    to_grid : Grid
        Cells at t1.
    name : str
    """

    grid: Grid
    t0: float
    t1: float
    to_grid: Grid
    name: str

    @property
    def target(self) -> Grid:
        """Cells at t1."""
        return self.to_grid

    @property
    def stochastic(self) -> bool:
        """Whether `push` and `pull` are those of a row-stochastic matrix: yes, but for steps that move splines."""
        return True

    @property
    def markov(self) -> Operator:
        """The transition kernel that bounds speak of; another one only where laws are moved by a remap."""
        return self

    def push(self, p: ArrayLike) -> Array:
        """Return the densities at t1, shape (..., *target.shape), of densities p at t0, shape (..., *grid.shape).

        Cell averages, per unit length or area, in and out; signed differences as well.
        """
        densities = on_cells("p", p, self.grid)
        masses = densities.reshape(-1, prod(self.grid.shape)) * self.grid.volume
        pushed = self.push_masses(masses) / self.target.volume
        return np.asarray(pushed.reshape(*densities.shape[: densities.ndim - self.grid.dim], *self.target.shape))

    def pull(self, f: ArrayLike) -> Array:
        """Return ``P f``, shape (..., *grid.shape): the mean at t1 of a function f, shape (..., *target.shape)."""
        values = on_cells("f", f, self.target)
        pulled = self.pull_functions(values.reshape(-1, prod(self.target.shape)))
        return np.asarray(pulled.reshape(*values.shape[: values.ndim - self.target.dim], *self.grid.shape))

    @abstractmethod
    def push_masses(self, masses: Array) -> Array:
        """Masses (n, cells of grid) -> masses (n, cells of target)."""

    @abstractmethod
    def pull_functions(self, f: Array) -> Array:
        """Functions (n, cells of target) -> functions (n, cells of grid)."""


def on_cells(name: str, values: ArrayLike, grid: Grid) -> Array:
    """Return `values` as a float array of shape (..., *grid.shape)."""
    array = _checks.finite_array(name, values)
    if array.ndim < grid.dim or array.shape[array.ndim - grid.dim :] != grid.shape:
        raise _checks.error(name, f"values on the cells, shape (..., {grid.shape})", f"shape {array.shape}")
    return array


def require_small(grid: Grid, *, remedy: str) -> None:
    """Refuse grids whose matrix is too large: ValueError with the memory it would take and the way without it."""
    cells, most = prod(grid.shape), LARGEST[grid.dim] ** grid.dim
    if cells > most:
        expected = f"at most {most} cells ({LARGEST[grid.dim]} per axis)" if grid.dim == 2 else f"at most {most} cells"
        got = f"{cells}, whose matrix would take {8 * cells**2 / 1e9:.3g} GB"
        raise _checks.error("grid", expected, got, remedy)


def require_backwards(t0: float, t1: float, horizon: float) -> tuple[float, float]:
    """Return the times of a block of reverse dynamics, ``horizon >= t0 > t1 >= 0``, as floats."""
    return _times.block("t0", t0, "t1", t1, horizon)


#: Samples of a map between which preimages are looked for; rounds of the Illinois method, whose order is 1.44: brackets
#: of a sample's width are at rounding long before.
SAMPLES, _ROUNDS = 4001, 40


def preimages(move: Map, faces: Array, box: tuple[float, float]) -> Array | None:
    """Return u in the box with ``move(u) = face`` for every face, of the shape of `faces`.

    None where the map is not increasing; preimages beyond the box become -inf or inf.
    """
    samples = np.linspace(box[0], box[1], SAMPLES)
    images = move(samples)
    if not np.all(np.diff(images) > 0.0):
        return None
    wanted = faces.ravel()
    place = np.searchsorted(images, wanted)
    inside = (place > 0) & (place < SAMPLES)
    found = np.where(place == 0, -np.inf, np.inf)
    k = place[inside]
    found[inside] = _illinois(move, wanted[inside], samples[k - 1], samples[k], images[k - 1], images[k])
    return np.asarray(found.reshape(faces.shape))


def _illinois(move: Map, wanted: Array, low: Array, high: Array, at_low: Array, at_high: Array) -> Array:
    """Roots of ``move(u) - wanted`` in brackets, by regula falsi that halves a stale end (Dowell and Jarratt 1971)."""
    low, high, below, above = low.copy(), high.copy(), at_low - wanted, at_high - wanted
    side = np.zeros(wanted.shape)
    tolerance = 4.0 * np.finfo(float).eps * np.max(np.abs(np.concatenate([low, high])), initial=1.0)
    for _ in range(_ROUNDS):
        share = below / (below - above)
        # within its bracket but for a rounding error
        middle = np.clip(low + share * (high - low), low, high)
        value = move(middle) - wanted
        up = value >= 0.0
        below = np.where(up & (side > 0), 0.5 * below, below)
        above = np.where(~up & (side < 0), 0.5 * above, above)
        step = np.where(up, high - middle, middle - low)
        low, below = np.where(up, low, middle), np.where(up, below, value)
        high, above = np.where(up, middle, high), np.where(up, value, above)
        side = np.where(up, 1.0, -1.0)
        # equal ends are exact roots: keep the quotient defined
        done = (below == 0.0) | (above == 0.0) | (high - low <= tolerance)
        if np.all(done | (step <= tolerance)):
            break
        above = np.where(above == 0.0, np.finfo(float).tiny, above)
    return np.asarray(middle)

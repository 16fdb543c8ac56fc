"""Kernels too large for a matrix: the same push and pull, one density or function at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.grid import Grid
from fpsolve.kernels._kernel import on_cells

Array = NDArray[np.float64]


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

"""A solution with its error parts: level difference, mass beyond the box, rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fpsolve._tails import edge_tail
from fpsolve.evolution.extrapolate import weighted_gap
from fpsolve.evolution.march import Record
from fpsolve.evolution.problem import Problem
from fpsolve.grid import Grid

Array = NDArray[np.float64]

#: What belongs beyond the box is missing there and, thrown back by its ends, too much inside: it counts twice.
MISPLACED = 2.0
#: Relative rounding of a cell's mass per cell between the origin and the edge: a face is rounded as its position is.
POSITIONS = 0.125
#: Values looked at together when errors are summed up.
CHUNK = 2_000_000


@dataclass(frozen=True, eq=False)
class Solution:
    """Densities on `grid`, what they are compared with on half the cells, and the levels that were run.

    Attributes
    ----------
    grid : Grid
    values : array, shape (starts, saves, nx[, ny])
        Cell averages per volume of the solver's coordinate.
    previous : array or None
        The previous extrapolation or level on half the cells per axis.
    factor : array, shape (starts, saves)
        Error of `values` per weighted difference to `previous`.
    levels : list of Record
        Coarsest first.
    noise : float or None
        Relative error of a cell average that no difference of levels shows; None: the round-off of the steps.
    smearing : float or None
        Numerical diffusion per diffusivity, see `fpsolve.evolution.smearing`; None where it was not looked at.
    floor : array or None
        What the error is at least, whatever the difference to `previous`, shape (starts, saves); None: nothing.
    unresolved : bool array, shape (starts, saves), or None
        Where nothing shows that differences of levels tell errors: the estimate is infinite there.
    reason : str
        Why, in one sentence.
    figures : dict
        What the levels show, for the attributes.
    level_gap : array or None
        The weighted difference to `previous`, where it is known already.
    """

    grid: Grid
    values: Array
    previous: Array | None
    factor: Array
    levels: list[Record]
    noise: float | None = None
    smearing: float | None = None
    floor: Array | None = None
    unresolved: NDArray[np.bool_] | None = None
    reason: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    level_gap: Array | None = None

    def gap(self, problem: Problem) -> Array:
        """Weighted difference to `previous`, shape (starts, saves); NaN without one."""
        previous = self.previous
        if self.level_gap is not None:
            return self.level_gap
        if previous is None:
            return np.full(self.values.shape[:2], np.nan)
        half = self.grid.coarsen()
        v = problem.weight_values(half)
        return self._over_saves(lambda s: weighted_gap(self.grid, self.values[:, s], previous[:, s], v[s]))

    def tail(self, problem: Problem) -> Array:
        """V-weighted mass beyond the box, extrapolated from the edges; 0 where the box is the state space.

        The largest so far along the run: what the box once cut off or threw back is misplaced from then on, even when
        nothing is left at the edges later.
        """
        if not problem.dynamics.unbounded:
            return np.zeros(self.values.shape[:2])
        v = problem.weight_values(self.grid)
        now = self._over_saves(lambda s: edge_tail(self.values[:, s], self.grid.axes, v[s]))
        return np.asarray(np.maximum.accumulate(now, axis=1))

    def rounding(self, problem: Problem) -> Array:
        """Noise in the weighted norm: where nothing else is known, round-off of that many steps, as a random walk, and
        of the positions between which the mass of a cell of a start lies.
        """
        v = problem.weight_values(self.grid)
        axes = tuple(range(-self.grid.dim, 0))
        norm = self._over_saves(lambda s: (v[s] * np.abs(self.values[:, s])).sum(axis=axes))
        noise = self.noise
        if noise is None:
            where = problem.position_grid(self.grid, float(problem.saves[0]))
            cells = max(np.max(np.abs(end)) / h for end, h in zip(where.bounds, where.spacing, strict=True))
            noise = float(np.finfo(float).eps * (4.0 + self.levels[-1].steps ** 0.5 + POSITIONS * cells))
        return np.asarray(noise * norm * self.grid.volume)

    def error(self, problem: Problem) -> Array:
        """Error estimate in the weighted norm, shape (starts, saves)."""
        return self.total(problem, self.gap(problem), self.tail(problem))

    def total(self, problem: Problem, gap: Array, tail: Array) -> Array:
        """The estimate from its parts; infinite where it is unresolved."""
        level = self.factor * gap if self.floor is None else np.maximum(self.factor * gap, self.floor)
        error = level + MISPLACED * tail + self.rounding(problem)
        return np.asarray(error if self.unresolved is None else np.where(self.unresolved, np.inf, error))

    def _over_saves(self, function: Callable[[slice], Array]) -> Array:
        """Apply a function to slices of save times, few at a time: no temporary of the size of all densities."""
        saves = self.values.shape[1]
        step = max(1, CHUNK * saves // max(self.values.size, 1))
        return np.concatenate([function(slice(k, k + step)) for k in range(0, saves, step)], axis=1)

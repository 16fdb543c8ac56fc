"""What a run has to solve, checked once: dynamics, frame, starts, save times, weight. Levels and grids come later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fpsolve import weights
from fpsolve._checks import error
from fpsolve.dynamics import BaseDynamics, Frame, RunClock
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.marginals import FastLaw
from fpsolve.weights import WeightLike

Array = NDArray[np.float64]
Start = Law | Array

#: Safety on estimates for starts with jumps or kinks.
KINKED_CAUTION = 2.0
#: Standard deviations of a start per cell below which nothing is known of its error.
NARROWEST = 0.5
#: Fraction of a start's mass that a given box may miss.
MAX_CUT = 1e-3


@dataclass(frozen=True, eq=False)
class Problem:
    """A run before any grid: the dynamics in the frame it is solved in, its starts and save times.

    Attributes
    ----------
    dynamics : BaseDynamics
        In the scaled frame already, where one is used.
    clock : RunClock
    frame : Frame or None
        None: positions are x themselves.
    starts : mapping of str to Law or array of cell averages
    saves : array
        Forward times in the order of the run.
    weight : WeightLike
    """

    dynamics: BaseDynamics
    clock: RunClock
    frame: Frame | None
    starts: Mapping[str, Start]
    saves: Array
    weight: WeightLike
    _fixed_weights: dict[Grid, Array] = field(default_factory=dict, repr=False)

    @property
    def caution(self) -> Array:
        """Factor on the error of extrapolations, shape (starts,): more for laws with jumps or kinks.

        Cells cut a jump at another place on every level, so differences of levels scatter about their order: over a
        hundred random runs estimates fell to 0.62 times the true error at early times, for uniform starts alone.
        """
        kinked = [isinstance(start, Law) and start.smallest_std == 0.0 for start in self.starts.values()]
        return np.where(kinked, KINKED_CAUTION, 1.0)

    def narrow(self, grid: Grid) -> NDArray[np.bool_]:
        """Which starts are narrower than `NARROWEST` cells, shape (starts,).

        Where in its cell such a start lies decides on its mean, on every level anew, and levels agree or not by
        accident: of 1,000 saved times of runs stopped early all that were not covered were of this kind.
        """
        width = NARROWEST * max(self.position_grid(grid, float(self.saves[0])).spacing)
        return np.array([isinstance(one, Law) and 0.0 < one.smallest_std < width for one in self.starts.values()])

    def jacobian(self, t: float) -> float:
        """Volume of x per volume of the solver's coordinate at time t."""
        return 1.0 if self.frame is None else float(np.prod(self.frame.scale(t)))

    def position_grid(self, grid: Grid, t: float) -> Grid:
        """The grid in x that the solver's grid covers at time t."""
        if self.frame is None:
            return grid
        ends = self.frame.to_x(t, tuple(np.asarray(b, dtype=float) for b in grid.bounds))
        bounds = [(float(e[0]), float(e[1])) for e in ends]
        return Grid.uniform(
            bounds[0] if grid.dim == 1 else bounds, cells=grid.shape[0] if grid.dim == 1 else grid.shape
        )

    def start_values(self, grid: Grid) -> Array:
        """Cell averages of all starts per volume of the solver's coordinate, shape (starts, nx[, ny])."""
        where = self.position_grid(grid, float(self.saves[0]))
        averages = [self._start_on(name, start, where) for name, start in self.starts.items()]
        return np.stack(averages) * self.jacobian(float(self.saves[0]))

    def _start_on(self, name: str, start: Start, grid: Grid) -> Array:
        if isinstance(start, np.ndarray):
            if start.shape != grid.shape:
                raise error(
                    f"starts[{name!r}]",
                    f"cell averages of shape {grid.shape}, the grid's",
                    f"shape {start.shape}",
                )
            return start
        mixture = start.components
        values = grid.cell_average(start if mixture is None or start.dim == 1 else FastLaw(mixture))
        cut = abs(1.0 - float(values.sum() * grid.volume))
        if cut > MAX_CUT:
            v = weights.evaluate(self.weight, grid)
            raise error(
                f"starts[{name!r}]",
                f"a law that the box {grid.bounds} holds up to a mass of {MAX_CUT:g}",
                f"a mass of {cut:.3g} (at least {cut * v.min():.3g} in the weighted norm) outside of it",
                "widen the box of the grid, or leave the box to fpsolve with tol",
            )
        return values

    def weight_values(self, grid: Grid) -> Array:
        """V at the cell centres of the solver's grid at every save time, shape (saves, nx[, ny]).

        Densities per solver volume times solver volume are masses, so sums with this weight serve in every frame.
        """
        return self.weight_values_at(grid, self.saves)

    def weight_values_at(self, grid: Grid, times: Array) -> Array:
        """V at the cell centres of the solver's grid at some times, shape (times, nx[, ny])."""
        if self.frame is None:
            if grid not in self._fixed_weights:
                self._fixed_weights[grid] = weights.evaluate(self.weight, grid)
            return np.broadcast_to(self._fixed_weights[grid], (len(times), *grid.shape))
        center, scale = self.frame.center(times), self.frame.scale(times)
        if grid.dim == 1 and (self.weight is None or isinstance(self.weight, weights.Weight)):
            return weights.evaluate(self.weight, center + scale * grid.x)
        every = zip(center, scale, strict=True)
        return np.stack([weights.evaluate(self.weight, m + s * grid.x, grid.dim) for m, s in every])

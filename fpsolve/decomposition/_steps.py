"""The three kernels of every step: the sampler's K, the dynamics with its score Q, the exact dynamics P."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve import kernels, samplers
from fpsolve.decomposition._flow import flow_step
from fpsolve.dynamics import Reverse
from fpsolve.kernels import Kernel

if TYPE_CHECKING:
    from fpsolve.grid import Grid
    from fpsolve.kernels import Operator
    from fpsolve.samplers import Sampler, Step

Array = NDArray[np.float64]

#: Largest grids on which kernels are matrices, in 1D and 2D; beyond they are applied without one.
_MATRIX_CELLS = {1: 2000, 2: 48**2}


@dataclass(frozen=True, eq=False)
class Steps:
    """What is needed to make the kernels of any step.

    Parameters
    ----------
    sampler : Sampler
    exact, model : Reverse
        With the exact score and with the approximate one (the same object where there is none), eta that of the method.
    grid : Grid
    """

    sampler: Sampler
    exact: Reverse
    model: Reverse
    grid: Grid

    @classmethod
    def of(cls, sampler: Sampler, reverse: Reverse, grid: Grid) -> Steps:
        """The two dynamics a sampler discretises."""
        eta = reverse.eta if sampler.eta is None else sampler.eta
        exact = Reverse(reverse.target, reverse.process, eta=eta)
        model = exact if reverse.exact else Reverse(reverse.target, reverse.process, reverse.score, eta)
        return cls(sampler, exact, model, grid)

    @property
    def perturbed(self) -> bool:
        """Whether the score is not the exact one."""
        return not self.model.exact

    @property
    def matrices(self) -> bool:
        """Whether the grid is small enough for matrices."""
        return prod(self.grid.shape) <= _MATRIX_CELLS[self.grid.dim]

    @property
    def reference(self) -> str:
        """How the exact kernels are made."""
        if self.exact.noiseless:
            return "probability flow by Runge-Kutta"
        return "Bayes' rule" if self.exact.eta == 1.0 and self.matrices else "finite volumes"

    def step(self, t0: float, t1: float) -> Step:
        """The formulas of one step of the sampler."""
        return samplers.step(self.sampler, self.model.process, float(self.model.eta_at(t0)), t0, t1)

    def sampled(self, t0: float, t1: float) -> Kernel | Operator:
        """K: one step of the sampler with its score."""
        return self._moved(self.step(t0, t1), self.model)

    def exactly(self, t0: float, t1: float) -> Kernel | Operator:
        """P: the dynamics with the exact score."""
        if self.reference == "Bayes' rule":
            return kernels.exact(self.exact, self.grid, t0, t1)
        return self._continuous(self.exact, t0, t1)

    def score_error(self, mu: Array, exact_push: Array, t0: float, t1: float) -> Array:
        """``mu (Q - P)``: what the dynamics does to mu with the approximate score less what it does with the exact one.

        Where P is Bayes' rule, Q is P plus the difference of two finite-volume kernels, whose grid errors cancel.
        """
        with_model = self._continuous(self.model, t0, t1).push(mu)
        if self.reference == "Bayes' rule":
            return with_model - self._continuous(self.exact, t0, t1).push(mu)
        return with_model - exact_push

    def _continuous(self, dynamics: Reverse, t0: float, t1: float) -> Kernel | Operator:
        if dynamics.noiseless:
            return self._moved(flow_step(self.exact, self.step(t0, t1)), dynamics)
        return kernels.finite_volume_operator(dynamics, self.grid, t0, t1)

    def _moved(self, step: Step, reverse: Reverse) -> Kernel | Operator:
        """A step as a kernel: splines where they can, sources averaged over cells where the map folds the line."""
        t0, t1 = step.t_from, step.t_to
        if not self.matrices:
            return kernels.sampler_operator(step, reverse, self.grid, t0, t1)
        if self.grid.dim == 2:
            return kernels.sampler(step, reverse, self.grid, t0, t1)
        try:
            return kernels.sampler(step, reverse, self.grid, t0, t1, source="spline")
        except ValueError:
            # a map that folds the line; anything else that is wrong is refused again here
            return kernels.sampler(step, reverse, self.grid, t0, t1)

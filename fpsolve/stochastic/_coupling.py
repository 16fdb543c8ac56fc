"""What the modes do on a grid: velocities of the remap, and the rates at which they stir a test function."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve.dynamics import BaseDynamics, Reverse
from fpsolve.grid import Grid
from fpsolve.stochastic._functional import RadialFunction, against_averages, extended_points
from fpsolve.stochastic._noise import ScoreNoise

Array = NDArray[np.float64]

#: Change of the displacement from cell to cell that one piece of the flow may cover.
STEEPEST = 0.25


def gain(dynamics: BaseDynamics, t: float) -> float:
    """c(t): drift per score, ``(1 + eta^2)/2 g^2`` for reverse dynamics, 1 for every other."""
    if isinstance(dynamics, Reverse):
        return 0.5 * (float(dynamics.process.diffusion(t)) ** 2 + float(dynamics.noise(t)) ** 2)
    return 1.0


@dataclass(frozen=True, eq=False)
class Coupling:
    """Modes on a grid, each times the root of its strength; what does not depend on time is computed once."""

    noise: ScoreNoise
    grid: Grid
    function: RadialFunction
    periodic: bool
    _kept: dict[str, tuple[Array, Array]] = field(default_factory=dict, repr=False)

    def at(self, t: float) -> tuple[Array, Array]:
        """Velocities and rates at time t.

        Returns
        -------
        velocity : array, shape (modes, nx + 1) in 1D, (modes, 2, nx, ny) in 2D
            ``sqrt(lambda_k) e_k`` in cells: at the faces in 1D, at the centres in 2D.
        rate : array, shape (modes, cells)
            ``sum rate u = sqrt(lambda_k) <u, e_k . grad phi>`` for cell averages u.
        """
        if "fixed" in self._kept:
            return self._kept["fixed"]
        found = self._compute(t)
        if self.noise.autonomous:
            self._kept["fixed"] = found
        return found

    def _compute(self, t: float) -> tuple[Array, Array]:
        root = np.sqrt(self.noise.variances)
        points = extended_points(self.grid)
        gradient = self.function.gradient(points, self.grid.dim)
        if self.grid.dim == 1:
            at_faces = self.noise.values(t, self.grid.face_axes[0])
            rate = against_averages(root[:, None] * self.noise.values(t, points) * gradient, self.grid)
            return root[:, None] * at_faces / self.grid.spacing[0], rate
        modes = root[:, None, None, None] * self.noise.values(t, points)
        rate = against_averages((modes * gradient).sum(axis=-1), self.grid)
        velocity = np.moveaxis(modes[:, 1:-1, 1:-1] / np.array(self.grid.spacing), -1, 1)
        return np.ascontiguousarray(velocity), rate.reshape(len(rate), -1)

    def kick(self, q: Array, velocity: Array, amounts: Array, t: float) -> None:
        """Move the densities q (paths, nx[, ny]) along the modes by amounts (paths, modes), in place.

        Raises
        ------
        ValueError
            A map that folds the grid over, with the time: the steps are too large for the noise.
        """
        from fpsolve.stochastic._lines import remap_lines
        from fpsolve.stochastic._planes import remap_planes

        moved = np.tensordot(amounts, velocity, axes=1)
        if self.grid.dim == 1:
            gap = remap_lines(q, moved, STEEPEST, self.periodic)
        else:
            vx, vy = np.ascontiguousarray(moved[:, 0]), np.ascontiguousarray(moved[:, 1])
            change = max(float(np.abs(np.diff(v, axis=k)).max()) for v in (vx, vy) for k in (1, 2))
            gap = remap_planes(q, vx, vy, max(1, int(np.ceil(change / STEEPEST))))
        if not gap > 0.0:
            raise _checks.error(
                "steps",
                "steps small enough for the noise to move the grid without folding it",
                f"a fold at t = {t:g}",
                "take more steps, smoother modes or smaller strengths",
            )

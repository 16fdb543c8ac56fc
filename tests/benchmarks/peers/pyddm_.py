"""PyDDM: backward Euler in C on equal time steps; one dimension, absorbing ends (no mass gets there)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import _peer
import numpy as np
import problem
import pyddm

Array = _peer.Array


class Start(pyddm.InitialCondition):
    """p_T on the nodes, as masses."""

    name = "p_T"
    required_parameters: ClassVar[list[str]] = []

    def get_IC(self, x: Array, dx: float, **_: object) -> Array:
        masses = problem.line_density(problem.T, x - 0.5 * dx) * dx
        return masses / masses.sum()


class ReverseDrift(pyddm.Drift):
    """x + 2 score, at forward time T - t, on nodes that are half a cell to the right of x."""

    name = "reverse"
    required_parameters: ClassVar[list[str]] = ["cell"]

    def get_drift(self, x: Array, t: float, **_: object) -> Array:
        x = np.asarray(x, dtype=float) - 0.5 * self.cell
        return x + 2 * problem.line_score(problem.T - t, x)


def line(cells: int, steps: int) -> Callable[[], Array]:
    """Nodes are multiples of dx, ends included; moved by half a cell, all but the first are cell centres."""
    end, h = problem.T - problem.T_MIN, (problem.BOX[1] - problem.BOX[0]) / cells
    model = pyddm.Model(
        drift=ReverseDrift(cell=h),
        noise=pyddm.NoiseConstant(noise=np.sqrt(2.0)),
        bound=pyddm.BoundConstant(B=problem.BOX[1]),
        IC=Start(),
        T_dur=end,
        dt=end / steps,
        dx=h,
    )
    return lambda: np.asarray(model.solve().undec)[1:] / h


def plane(cells: int, steps: int) -> Callable[[], Array]:
    raise SystemExit("one dimension only")


if __name__ == "__main__":
    _peer.main(line, plane)

"""The two sides of a comparison at one time, read from a run and a cloud."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fpsolve import _checks, _runs
from fpsolve.particles import _cells, _expected, _functions
from fpsolve.particles._cells import Cells

Array = npt.NDArray[np.float64]

_BLOCK = 2**18  # particles counted at a time


@dataclass(frozen=True, eq=False)
class GridSide:
    """A run's density at one start and time.

    Attributes
    ----------
    cells : Cells
    probability, slack : array, the cells' shape
        Cell probabilities, and the signed estimate of their error (0 where the run has none).
    outside : array (2,) below and above in 1D, (1,) in 2D
        Probability beyond the box: what is missing from 1, in 1D split in half.
    tail, error : float
        Estimated V-weighted mass beyond the box; error of the density in the weighted norm.
    """

    cells: Cells
    probability: Array
    slack: Array
    outside: Array
    tail: float
    error: float

    def on(self, cells: Cells) -> GridSide:
        """The same density on other cells; what falls outside of those counts as outside."""
        if cells is self.cells:
            return self
        probability, slack = (_expected.on_cells(p, self.cells, cells) for p in (self.probability, self.slack))
        total = float(self.outside.sum() + self.probability.sum())
        if cells.dim == 2:
            outside = np.array([total - probability.sum()])
        else:
            edges = np.array([self.cells.faces[0][0], cells.faces[0][0]])
            # One cell from the run's left end to the new box's: what lies below it.
            low = 0.0 if edges[1] <= edges[0] else float(_below(self.probability, self.cells, edges[1]))
            below = float(self.outside[0]) + low
            outside = np.array([below, total - below - float(probability.sum())])
        return GridSide(cells, probability, slack, outside, self.tail, self.error)


def _below(probability: Array, cells: Cells, face: float) -> float:
    """Probability of the run's box below a point, from the same spline as everything else."""
    left = cells.faces[0][0]
    one = Cells((float(left),), (float(face - left),), (1,))
    return float(_expected.on_cells(probability, cells, one)[0])


@dataclass(frozen=True, eq=False)
class ParticleSide:
    """Particles at one time: counts per cell and outside (as in GridSide), means of the test functions."""

    n: int
    cells: Cells
    counts: npt.NDArray[np.int64]
    outside: npt.NDArray[np.int64]
    centre: Array
    width: Array
    function_mean: Array


def grid_side(run: Any, start: str, index: int) -> GridSide:
    """Read a run's density at one start and saved time number ``index``."""
    cells = _cells.from_dataset(run, index)
    at = run.sel(start=start).isel(t=index)
    density = _checks.finite_array("run density", at["density"].values, shape=cells.shape)
    probability = density * cells.volume
    slack = np.zeros(cells.shape)
    if "density_previous" in run:
        change = _halved(density) - np.asarray(at["density_previous"].values, dtype=np.float64)
        slack = _runs.number(run, "error_factor") * cells.volume * _spread(change)
    missing = max(0.0, 1.0 - float(probability.sum()))
    outside = np.full(2, 0.5 * missing) if cells.dim == 1 else np.array([missing])
    return GridSide(cells, probability, slack, outside, _number(at, "tail"), _number(at, "error_estimate"))


def _number(at: Any, name: str) -> float:
    """A scalar of the run; 0 where it is absent or NaN (a run without companion estimates nothing)."""
    value = float(at[name]) if name in at else 0.0
    # an infinite estimate is one: the density is not resolved, and says nothing
    return 0.0 if np.isnan(value) else value


def _halved(values: Array) -> Array:
    """Averages over pairs (1D) or 2x2 blocks of cells."""
    if values.ndim == 1:
        return np.asarray(values.reshape(-1, 2).mean(axis=1), dtype=np.float64)
    nx, ny = values.shape
    return np.asarray(values.reshape(nx // 2, 2, ny // 2, 2).mean(axis=(1, 3)), dtype=np.float64)


def _spread(values: Array) -> Array:
    """Every coarse value on all of its fine cells."""
    for axis in range(values.ndim):
        values = np.repeat(values, 2, axis=axis)
    return values


def particle_side(cloud: Any, other: GridSide, index: int) -> ParticleSide:
    """Read a cloud at saved time number ``index``: its positions counted on the run's cells, else its counts.

    With positions the test functions sit where the *grid* density does, so their choice does not see the
    sample.
    """
    at, dim = cloud.isel(t=index), other.cells.dim
    if "position" in cloud:
        return _count_positions(np.asarray(at["position"].values, dtype=np.float64), other)
    if "count" not in cloud:
        raise _checks.error("cloud", "positions or counts", str(list(cloud)), "make it with particles.simulate")
    cells = _cells.from_dataset(cloud, index)
    _checks.same_dim("cloud", cells.dim, "run", dim)
    counts, outside, centre, width, means = (
        np.asarray(at[name].values) for name in ("count", "outside", "centre", "width", "function_mean")
    )
    return ParticleSide(int(cloud.attrs["n"]), cells, counts, np.atleast_1d(outside), centre, width, means)


def _count_positions(x: Array, other: GridSide) -> ParticleSide:
    """Positions (n,) or (n, 2) on the run's cells, in blocks so that memory does not follow n."""
    dim = other.cells.dim
    _checks.same_dim("cloud", x.ndim, "run", dim)
    centre, width = _expected.frame(other.probability, other.cells)
    counts, outside = (
        np.zeros(other.cells.shape, dtype=np.int64),
        np.zeros(2 if dim == 1 else 1, dtype=np.int64),
    )
    sums = np.zeros(len(_functions.names(dim)))
    for i in range(0, len(x), _BLOCK):
        inside, beyond = other.cells.count(x[i : i + _BLOCK])
        counts += inside
        outside += beyond
        sums += _functions.values(x[i : i + _BLOCK], centre, width, dim).sum(axis=1)
    return ParticleSide(len(x), other.cells, counts, outside, centre, width, sums / len(x))

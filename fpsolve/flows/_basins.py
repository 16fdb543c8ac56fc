"""Basins of attraction: which stationary point an orbit ends in, for every cell of a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve._messages import described
from fpsolve.flows._field import as_points, field_of
from fpsolve.flows._orbits import integrate, velocity_of
from fpsolve.flows._stationary import StationaryPoints
from fpsolve.grid import Grid

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["UNDECIDED", "basins"]

#: Label of the cells whose orbit was not captured in time.
UNDECIDED = -1
CELLS = {1: 400, 2: 80}
#: An orbit is captured within this share of the distance from its attracting point to the next stationary one.
CAPTURE = 0.02
#: The longest run, in units of the slowest rate at a stationary point: a deviation of e^-20 grows to size one.
PATIENCE = 20.0
#: Orbits are looked at after this time, in units of the median rate, then at intervals that grow: captured ones cost
#: no more.
FIRST_LOOK, GROWTH = 1.0, 1.5


def basins(
    flow: Any, points: StationaryPoints, *, box: Any = None, cells: int | None = None, rtol: float = 1e-4
) -> xr.Dataset:
    """Return which attracting point the orbit from every cell centre ends in.

    An orbit counts as captured when it is within 2 percent of the distance from an attracting point to the next
    stationary one; it is followed for 20 over the slowest rate at a stationary point. Orbits that start next to the
    border between two basins may stay undecided.

    Parameters
    ----------
    flow : ProductScore or callable ``S(x)``
    points : StationaryPoints
        What `stationary_points` found.
    box : (low, high) or two such pairs, optional
        Default the box of `points`.
    cells : int, optional
        Cells per axis, default 400 in 1D and 80 in 2D.
    rtol : float, default 1e-4
        Tolerance of the orbits, relative and absolute.

    Returns
    -------
    Dataset
        `basin` (x[, y]): the position in ``points.at`` of the attracting point, -1 where it is undecided; `share`
        (attractor): the share of the box in each basin, `attractor` those positions; the attribute `undecided` is the
        share that is in none.

    Raises
    ------
    ValueError
        No attracting point, a box of another dimension.

    Examples
    --------
    >>> import fpsolve as fp
    >>> field = lambda x: x - x**3
    >>> found = fp.flows.basins(field, fp.flows.stationary_points(field, (-2, 2)), cells=8)
    >>> found.basin.values
    array([0, 0, 0, 0, 2, 2, 2, 2])
    """
    import xarray as xr

    _checks.instance("points", points, StationaryPoints, "stationary points", "flows.stationary_points finds them")
    rtol = _checks.positive("rtol", rtol)
    field, dim = field_of(flow), points.at.ndim
    grid = Grid.uniform(points.box if box is None else box, cells=1)
    _checks.same_dim("box", grid.dim, "the stationary points", dim)
    grid = Grid(grid.bounds, (CELLS[dim] if cells is None else _checks.integer("cells", cells),) * dim)
    attracting = np.flatnonzero(np.array(points.kind) == "attracting")
    if not attracting.size:
        raise _checks.error("points", "at least one attracting point", "none", "widen the box of stationary_points")
    label = _followed(field, grid.x.reshape(-1, dim), points, attracting, rtol)
    share = np.array([np.mean(label == k) for k in attracting])
    names = ("x", "y")[:dim]
    coords = {name: (name, axis) for name, axis in zip(names, grid.axes, strict=True)}
    return described(
        xr.Dataset(
            {"basin": (names, label.reshape(grid.shape)), "share": ("attractor", share)},
            coords=coords | {"attractor": attracting},
            attrs={"status": "estimated", "undecided": float(np.mean(label == UNDECIDED)), "rtol": rtol},
        )
    )


def _followed(
    field: Any, starts: FloatArray, points: StationaryPoints, attracting: NDArray[np.intp], rtol: float
) -> NDArray[np.intp]:
    """Follow orbits piece by piece until captured; return labels (n,)."""
    dim, velocity = starts.shape[1], velocity_of(field)[0]
    all_points = points.at.reshape(-1, dim)
    targets, radius = all_points[attracting], _radii(all_points, attracting, points)
    slowest = float(np.abs(points.eigenvalues.real).min())
    limit = PATIENCE / max(slowest, 1e-300)
    piece = FIRST_LOOK / float(np.median(np.abs(points.eigenvalues.real)))
    label = np.full(len(starts), UNDECIDED, dtype=np.intp)
    active, x, elapsed = np.arange(len(starts)), starts, 0.0
    while active.size and elapsed < limit:
        near = np.linalg.norm(x[:, None] - targets, axis=-1) / radius
        closest = near.argmin(axis=1)
        captured = near.min(axis=1) <= 1.0
        label[active[captured]] = attracting[closest[captured]]
        active, x = active[~captured], x[~captured]
        if active.size:
            ends = np.array([0.0, piece])
            x = integrate(velocity, as_points(x), ends, rtol=rtol, atol=rtol, method="RK45")[:, -1].reshape(-1, dim)
            elapsed, piece = elapsed + piece, GROWTH * piece
    return label


def _radii(at: FloatArray, attracting: NDArray[np.intp], points: StationaryPoints) -> FloatArray:
    """Return the capture radius of every attracting point."""
    size = max(high - low for low, high in points.box)
    apart = np.linalg.norm(at[:, None] - at[attracting], axis=-1)
    apart[attracting, np.arange(attracting.size)] = size
    return np.asarray(CAPTURE * apart.min(axis=0))

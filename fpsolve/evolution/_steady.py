"""Steady states of autonomous dynamics: the null vector of the generator, without time stepping."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve import _memory
from fpsolve._checks import error, instances, same_dim
from fpsolve._messages import described
from fpsolve.dynamics import BaseDynamics
from fpsolve.evolution._result import axis_names
from fpsolve.grid import Grid
from fpsolve.solver import generator_matrix, rates_at

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

#: Weights are rescaled beyond this, so that state 0 may lie far out in a tail.
_LARGE = 1e200
#: Times at which coefficients are compared, no periods of one another, and the relative change that is rounding.
_LOOKS, _ROUNDING = np.array([0.0, 0.37, 1.9]), 1e-9


def steady_state(dynamics: BaseDynamics, grid: Grid) -> xr.DataArray:
    """Density q with ``-div(b q) + c^2/2 Lap q = 0`` and unit mass on the grid.

    Parameters
    ----------
    dynamics : Langevin, or Dynamics(..., autonomous=True)
        Its coefficients must not depend on time.
    grid : Grid
        The box or ring that is the state space.

    Returns
    -------
    xarray.DataArray
        Density per cell (x[, y]), cell averages of second order; with a potential exactly ``exp(-Phi/D)`` at the cell
        centres up to normalisation. Attribute `residual`: the largest ``|A q|`` relative to the largest ``|A||q|``.

    Raises
    ------
    ValueError
        Time-dependent coefficients: they are not frozen silently, also where they are said to be autonomous.

    References
    ----------
    Grassmann, Taksar and Heyman 1985, doi:10.1287/opre.33.5.1107 (elimination without subtractions, 1D).

    Examples
    --------
    >>> import fpsolve as fp
    >>> q = steady_state(fp.Langevin(fp.Gaussian(0.0, std=1.0)), fp.Grid.uniform((-6, 6), cells=120))
    >>> round(float((q * q.x**2).sum() * 0.1), 3)
    1.0
    """
    import xarray as xr

    instances(dynamics=(dynamics, BaseDynamics), grid=(grid, Grid))
    same_dim("dynamics", getattr(dynamics, "dim", grid.dim), "the grid", grid.dim)
    if not dynamics.autonomous:
        raise error(
            "dynamics",
            "autonomous coefficients (Langevin, or Dynamics(..., autonomous=True))",
            f"a time-dependent {type(dynamics).__name__}",
            "use evolve to a late time instead",
        )
    cells = math.prod(grid.shape)
    # on a line arrays; in the plane sparse factors, whose fill grows as the logarithm of the cells
    each = 160.0 if grid.dim == 1 else 320.0 + 128.0 * math.log2(cells)
    _memory.require("grid", each * cells, "take fewer cells")
    rates = _rates(dynamics, grid)
    q = eliminate(*rates[0], ring=dynamics.boundary == "periodic") if grid.dim == 1 else _null_vector(rates, grid)
    q = (q / (q.sum() * grid.volume)).reshape(grid.shape)
    generator = generator_matrix(rates, grid.shape)
    residual = np.abs(generator @ q.ravel()).max() / (abs(generator) @ np.abs(q).ravel()).max()
    names = axis_names(grid.dim, scaled=False)
    coords = dict(zip(names, grid.axes, strict=True))
    attrs = {"status": "estimated", "residual": float(residual)}
    return described(xr.Dataset({"density": (names, q, attrs)}, coords=coords))["density"]


def _rates(dynamics: BaseDynamics, grid: Grid) -> list[tuple[Array, Array]]:
    """Jump rates per axis at time 0; ValueError where they are others at another time."""
    both = rates_at(dynamics, grid, _LOOKS)
    for pair in both:
        for rate in pair:
            change = float(np.abs(rate[1:] - rate[:1]).max() / np.abs(rate).max())
            if change > _ROUNDING:
                raise error(
                    "dynamics",
                    "coefficients that do not depend on time, as autonomous=True says",
                    f"rates that change by {change:.2g} of the largest between t = 0 and t = {_LOOKS[-1]:g}",
                    "use evolve to a late time instead",
                )
    return [(up[0], down[0]) for up, down in both]


def eliminate(up: Array, down: Array, *, ring: bool) -> Array:
    """Stationary weights of a birth-death chain on a line (n - 1 rates) or a ring (n rates), unnormalised.

    States are taken out one by one from the right end; the rates of what is left stay positive and are never
    subtracted, so every weight has a small relative error, however small it is.
    """
    n = len(up) if ring else len(up) + 1
    # `over`, `back`: rates between the last remaining state and state 0 across the closing face (0 on a line).
    right, left = up.astype(float).copy(), down.astype(float).copy()
    over, back = (right[-1], left[-1]) if ring else (0.0, 0.0)
    leave = np.empty((n, 4))
    for k in range(n - 1, 0, -1):
        # Neighbours of k among the states left: k - 1 and, over the closing face, 0.
        out = left[k - 1] + over
        leave[k] = right[k - 1], back, left[k - 1], over
        if k > 1:
            over, back = right[k - 1] * over / out, back * left[k - 1] / out
    q = np.empty(n)
    q[0] = 1.0
    for k in range(1, n):
        come_left, come_zero, go_left, go_zero = leave[k]
        q[k] = (q[k - 1] * come_left + q[0] * come_zero) / (go_left + go_zero)
        if q[k] > _LARGE:
            q[: k + 1] /= _LARGE
    return q


def _null_vector(rates: list[tuple[Array, Array]], grid: Grid) -> Array:
    """Null vector in 2D: one balance equation is replaced by the normalisation, sparse LU."""
    from scipy.sparse import csc_matrix, vstack
    from scipy.sparse.linalg import splu

    generator = generator_matrix(rates, grid.shape)
    cells = generator.shape[0]
    matrix = vstack([csc_matrix(np.ones((1, cells))), generator[1:]]).tocsc()
    right = np.zeros(cells)
    right[0] = 1.0
    factors = splu(matrix)
    q = factors.solve(right)
    return np.asarray(q - factors.solve(matrix @ q - right))

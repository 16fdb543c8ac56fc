"""A slow model evaluated once on times x cells: the table is a Dataset that can be saved and used without the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.grid import Grid
from fpsolve.scores._checked import checked
from fpsolve.scores._names import name_of
from fpsolve.scores._tabulated import Tabulated, Where

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["tabulate"]

#: Points between the cells where the interpolation is held against the model, per time.
_HELD_OUT = 256


def tabulate(score: Callable[[float, Any], Any], grid: Grid, times: Any) -> xr.Dataset:
    r"""Evaluate a score model on times x cells, and measure what interpolation between them costs.

    The table is interpolated by cubic splines in x (cell centres) and in log t. Its error is not bounded but measured:
    the model is evaluated once more between neighbouring times, at up to 256 points between the cells, and the largest
    and the root-mean-square difference are kept. Use more times or cells until it is small enough.

    Parameters
    ----------
    score : callable
        ``score(t, x)``, slow or bound to a framework.
    grid : Grid
        Its cell centres are the nodes; it has to hold all points that will be asked for.
    times : array_like of shape (n,)
        Forward times > 0, at least 4 different ones; the first and the last are the ends of the table. Spread them
        geometrically: ``numpy.geomspace(t_min, T, 64)``.

    Returns
    -------
    xarray.Dataset
        ``score`` over (t, x) in 1D, (t, x, y, component) in 2D, point values at the cell centres (unit 1/length);
        ``interpolation_error`` and ``interpolation_rms`` over ``t_between`` (unit 1/length); attributes say what it
        is of. Hand it to `tabulated`; it survives ``to_netcdf``.

    Raises
    ------
    ValueError
        If there are fewer than 4 times or cells per axis, a time is not > 0, or the model returns what it must not.

    Examples
    --------
    >>> import fpsolve as fp
    >>> table = tabulate(lambda t, x: -x / (1.0 + t), fp.Grid.uniform((-5, 5), cells=40), np.geomspace(0.1, 1.0, 20))
    >>> table.score.dims, bool(table.interpolation_error.max() < 1e-4)
    (('t', 'x'), True)
    """
    _checks.instances(grid=(grid, Grid))
    import xarray as xr

    from fpsolve import __version__

    nodes = np.unique(_checks.finite_array("times", times, shape=(None,)))
    if len(nodes) < 4 or not nodes[0] > 0.0:
        raise _checks.error("times", "at least 4 different times > 0", f"{nodes.tolist()}"[:60])
    if min(grid.shape) < 4:
        raise _checks.error("grid", "at least 4 cells per axis", f"{grid.shape}")
    model = checked(score, grid.dim)
    values = np.stack([model(float(t), grid.x) for t in nodes])
    middles = np.sqrt(nodes[1:] * nodes[:-1])
    largest, rms = _held_out(model, Tabulated(nodes, grid.axes, values), grid, middles)
    axes = ("x", "y")[: grid.dim]
    dims = ("t", *axes) if grid.dim == 1 else ("t", *axes, "component")
    label = {"long_name": "score at the cell centres", "units": "1/length"}
    between = {"long_name": "difference to the model between times and cells", "units": "1/length"}
    return xr.Dataset(
        {
            "score": (dims, values, label),
            "interpolation_error": ("t_between", largest, between),
            "interpolation_rms": ("t_between", rms, between),
        },
        coords={"t": nodes, "t_between": middles} | dict(zip(axes, grid.axes, strict=True)),
        attrs={"score_model": name_of(score), "version": __version__, "interpolation": "cubic splines in x and log t"},
    )


def _held_out(model: Where, table: Tabulated, grid: Grid, middles: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Largest and root-mean-square difference per middle time, at faces between cells."""
    faces = [axis[1:-1] for axis in grid.face_axes]
    stride = [max(1, len(axis) // (_HELD_OUT if grid.dim == 1 else int(_HELD_OUT**0.5))) for axis in faces]
    picked = [axis[step // 2 :: step] for axis, step in zip(faces, stride, strict=True)]
    points = picked[0] if grid.dim == 1 else np.stack(np.meshgrid(*picked, indexing="ij"), axis=-1)
    gaps = [np.abs(table(float(t), points) - model(float(t), points)) for t in middles]
    return np.array([gap.max() for gap in gaps]), np.array([np.sqrt(np.mean(gap**2)) for gap in gaps])

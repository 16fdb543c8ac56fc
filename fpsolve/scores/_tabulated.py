"""A slow score model evaluated once on times x cells, and its values by interpolation from then on.

The table is a Dataset that can be saved and used without the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from fpsolve import _checks, _memory
from fpsolve._checks import FloatArray
from fpsolve._messages import described
from fpsolve.grid import Grid
from fpsolve.scores._base import checked, name_of

if TYPE_CHECKING:
    import xarray as xr


Where: TypeAlias = Callable[[float, Any], FloatArray]
Outside: TypeAlias = Literal["refuse", "linear"]

#: Nodes along a dimension from which an error is estimated, and what the last halving must have gained for one.
_FEWEST, _SOME = 8, 2.0
#: Rounding of positions and times that is still inside.
_SLACK = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class Tabulated:
    """A table of a score; see `tabulated`.

    Attributes
    ----------
    times : array of shape (n_t,)
        Increasing.
    axes : tuple of arrays
        Increasing positions of the nodes per axis.
    values : array of shape (n_t, nx) or (n_t, nx, ny, 2)
    outside : "refuse" or "linear"
        What happens beyond the outermost nodes by more than half a cell.
    source : str
        What the table is of.
    error : float
        Interpolation error (unit 1/length): measured when it was made, or estimated from the table itself.
    """

    times: FloatArray
    axes: tuple[FloatArray, ...]
    values: FloatArray
    outside: Outside = "refuse"
    source: str = ""
    error: float = float("nan")

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return len(self.axes)

    @property
    def breaks(self) -> tuple[float, ...]:
        """None: what its cubics bend by at the times of the table is far below its `error`."""
        return ()

    @property
    def box(self) -> tuple[tuple[float, float], ...]:
        """The nodes' range and half a cell more, per axis."""
        pairs = [(axis, 0.5 * (axis[1] - axis[0]), 0.5 * (axis[-1] - axis[-2])) for axis in self.axes]
        return tuple((float(axis[0] - low), float(axis[-1] + high)) for axis, low, high in pairs)

    @property
    def domain(self) -> tuple[tuple[float, float], tuple[tuple[float, float], ...]]:
        """First and last time, and the box."""
        return (float(self.times[0]), float(self.times[-1])), self.box

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return the interpolated score at the points x, of their shape.

        Raises
        ------
        ValueError
            At times beyond the table, and at points outside of the box unless ``outside="linear"``.
        """
        points = _checks.points("x", x, self.dim, finite_only=True)
        flat = points.reshape(-1, self.dim)
        inside, spline = self._inside(t, flat), self._spline(t)
        value = np.asarray(spline(inside[:, 0] if self.dim == 1 else inside)).reshape(flat.shape)
        beyond = flat - inside
        if np.any(beyond):
            value = value + self._slopes(spline, inside, beyond)
        return np.asarray(value.reshape(points.shape))

    def divergence(self, t: float, x: Any) -> FloatArray:
        """Return the divergence of the interpolated score at the points x, one number per point, shape (...).

        That of the spline itself: a flow along it keeps its mass.
        """
        points = _checks.points("x", x, self.dim, finite_only=True)
        flat = points.reshape(-1, self.dim)
        inside, spline = self._inside(t, flat), self._spline(t)
        if self.dim == 1:
            return np.asarray(spline(inside[:, 0], nu=1)).reshape(points.shape)
        total = sum(np.asarray(spline(inside, nu=nu))[:, k] for k, nu in enumerate(((1, 0), (0, 1))))
        return np.asarray(total).reshape(points.shape[:-1])

    def _inside(self, t: float, flat: FloatArray) -> FloatArray:
        """Points moved to the nearest one in the box where that is asked for; refuse them where it is not."""
        low, high = np.transpose(self.box)
        slack = _SLACK * (high - low)
        out = (flat < low - slack) | (flat > high + slack)
        if np.any(out) and self.outside == "refuse":
            worst = flat[np.argmax(out.any(axis=1))]
            raise _checks.error(
                "x",
                f"points in the table's box {self.box}",
                f"{worst.tolist()} at t = {t:g}",
                'tabulate on a larger grid, or say outside="linear" to continue it linearly',
            )
        return np.where(out, np.clip(flat, low, high), flat)

    def _slopes(self, spline: Any, inside: FloatArray, beyond: FloatArray) -> FloatArray:
        """First-order continuation from the edge of the box."""
        if self.dim == 1:
            return np.asarray(spline(inside[:, 0], nu=1)[:, None] * beyond)
        parts = [np.asarray(spline(inside, nu=nu)) * beyond[:, k, None] for k, nu in enumerate(((1, 0), (0, 1)))]
        return np.asarray(parts[0] + parts[1])

    def _spline(self, t: float) -> Any:
        """The spline in space at time t."""
        from scipy.interpolate import BSpline, NdBSpline

        first, last = self.domain[0]
        if not first * (1.0 - _SLACK) <= t <= last * (1.0 + _SLACK):
            expected = f"a time in the table, [{_checks.digits(first)}, {_checks.digits(last)}]"
            raise _checks.error("t", expected, t, "tabulate these times as well")
        in_time, knots = self._splines
        coefficients = np.asarray(in_time(np.log(np.clip(t, first, last))))
        return BSpline(knots[0], coefficients, 3) if self.dim == 1 else NdBSpline(tuple(knots), coefficients, 3)

    @cached_property
    def _splines(self) -> tuple[Any, list[FloatArray]]:
        """The spline in log t of the splines' coefficients in space, and the knots per axis."""
        from scipy.interpolate import make_interp_spline

        coefficients, knots = self.values, []
        for k, axis in enumerate(self.axes):
            spline = make_interp_spline(axis, coefficients, k=3, axis=k + 1)
            # scipy puts the interpolation axis first
            coefficients = np.moveaxis(spline.c, 0, k + 1)
            knots.append(spline.t)
        return make_interp_spline(np.log(self.times), coefficients, k=3), knots

    def __repr__(self) -> str:
        """Return what it is of, and how finely."""
        cells = " x ".join(str(len(axis)) for axis in self.axes)
        size = f"{len(self.times)} times in [{self.times[0]:g}, {self.times[-1]:g}], {cells} cells"
        return f"tabulated({self.source or 'a table'}, {size}, error={self.error:.2g}, outside={self.outside!r})"


def tabulated(table: xr.Dataset | xr.DataArray, *, outside: Outside = "refuse") -> Tabulated:
    """Return the score that interpolates a table, by cubic splines in x and in log t.

    Parameters
    ----------
    table : Dataset or DataArray
        What `tabulate` returned, also after ``to_netcdf`` and ``xarray.open_dataset``; or any DataArray over (t, x)
        in 1D or (t, x, y, component) in 2D, with increasing positions as coordinates and times > 0.
    outside : "refuse" or "linear"
        Points beyond the outermost nodes by more than half a cell are refused (default), or the score is continued
        linearly from the edge, as that of a Gaussian tail.

    Returns
    -------
    Tabulated
        A callable ``score(t, x)`` with ``divergence(t, x)``. Its ``error`` is the interpolation error measured by
        `tabulate`; for any other table an estimate: the largest difference at the left-out nodes when only every
        second time and position is used, over what the last halving gained (at most 8; fourth order would allow 16;
        1 below 32 positions or 16 times), NaN below 8; infinite where it gained less than 2, as then the nodes do not
        resolve the score.

    Raises
    ------
    ValueError
        If dimensions or coordinates are missing, there are fewer than 4 nodes along one, they do not increase, a time
        is not > 0, or values are not finite.

    Notes
    -----
    Third derivatives of the splines jump at the nodes. Finite volumes and particles do not mind; the adaptive
    integrator of high order behind eta = 0 in the plane takes very many steps: use the model itself there.

    Examples
    --------
    >>> import fpsolve as fp
    >>> grid, times = fp.Grid.uniform((-5, 5), cells=40), np.geomspace(0.1, 1.0, 20)
    >>> table = fp.scores.tabulate(lambda t, x: -x / (1.0 + t), grid, times)
    >>> score = tabulated(table)
    >>> abs(float(score(0.5, 1.5)) + 1.0) < 1e-5
    True
    """
    import xarray as xr

    _checks.one_of("outside", outside, ("refuse", "linear"))
    source, error, array = "", float("nan"), table
    if isinstance(table, xr.Dataset):
        if "score" not in table:
            raise _checks.error("table", "a variable named score", f"{list(table.data_vars)}", "see scores.tabulate")
        array, source = table["score"], str(table.attrs.get("score_model", ""))
        error = float(table["interpolation_error"].max()) if "interpolation_error" in table else error
    if not isinstance(array, xr.DataArray):
        raise _checks.error("table", "an xarray Dataset or DataArray", type(table).__name__)
    times, axes, values = _parts(array)
    if np.isnan(error):
        error = _estimated(times, axes, values)
    return Tabulated(times, axes, values, outside, source, error)


def _estimated(times: FloatArray, axes: tuple[FloatArray, ...], values: FloatArray) -> float:
    """What halving the table changes, over what halving it has gained; NaN where too few nodes would remain."""
    if (fewest := min(len(times), *(len(axis) for axis in axes))) < _FEWEST:
        return float("nan")
    change = _change(times, axes, values)
    if fewest < 2 * _FEWEST or change == 0.0:
        return change
    every = slice(None, None, 2)
    before = _change(times[every], tuple(axis[every] for axis in axes), values[(every,) * (1 + len(axes))])
    if before < _SOME * change and change > 64.0 * np.finfo(float).eps * float(np.abs(values).max()):
        # not even first order: what lies between such nodes is not known from them
        return float("inf")
    # fourth order would allow 16; what four nodes along an axis gain when they are doubled twice says nothing of it
    gained = before / change if min(len(axis) for axis in axes) >= 4 * _FEWEST else 1.0
    return change / min(max(gained, 1.0), 8.0)


def _change(times: FloatArray, axes: tuple[FloatArray, ...], values: FloatArray) -> float:
    """The largest difference at the nodes that are left out when every second time and position is used."""
    x, worst = axes[0] if len(axes) == 1 else np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1), 0.0
    # with the first position and without: on either side one is left out beyond the others, by half a cell of theirs
    for first in (0, 1):
        part = slice(first, None, 2)
        coarse = Tabulated(times[::2], tuple(axis[part] for axis in axes), values[::2, *((part,) * len(axes))])
        rows = [k for k, t in enumerate(times) if t <= coarse.times[-1]]
        worst = max(worst, *(float(np.abs(coarse(float(times[k]), x) - values[k]).max()) for k in rows))
    return worst


def _parts(array: xr.DataArray) -> tuple[FloatArray, tuple[FloatArray, ...], FloatArray]:
    """Times, positions and values in the order they are used, times increasing."""
    wanted = ("t", "x", "y", "component") if "y" in array.dims else ("t", "x")
    if set(array.dims) != set(wanted) or (len(wanted) == 4 and array.sizes["component"] != 2):
        expected = "dimensions (t, x), or (t, x, y, component) with two components"
        raise _checks.error("table", expected, f"{dict(array.sizes)}")
    array = array.transpose(*wanted).sortby("t") if "t" in array.coords else array.transpose(*wanted)
    positions = []
    for name in wanted[:3]:
        if name not in array.coords:
            raise _checks.error("table", f"a coordinate {name}", f"{list(array.coords)}", "assign_coords it")
        axis = _checks.finite_array(f"table: {name}", array.coords[name].values, shape=(None,))
        if len(axis) < 4 or np.any(np.diff(axis) <= 0.0):
            raise _checks.error(f"table: {name}", "at least 4 increasing positions", f"{axis[:6].tolist()} ...")
        positions.append(axis)
    if not positions[0][0] > 0.0:
        raise _checks.error("table: t", "times > 0", f"{positions[0][0]:g}", "splines run in log t")
    return positions[0], tuple(positions[1:]), _checks.finite_array("table", array.values)


#: Points between the cells where the interpolation is held against the model, per time.
_HELD_OUT = 256


def tabulate(score: Callable[[float, Any], Any], grid: Grid, times: Any) -> xr.Dataset:
    r"""Evaluate a score model on times x cells, and measure what interpolation between them costs.

    The table is interpolated by cubic splines in x (cell centres) and in log t. Its error is not bounded but measured:
    the model is evaluated once more between neighbouring times, at up to 256 faces of cells, the ends of the box among
    them, and the largest and (between cells) the root-mean-square difference are kept. Use more times or cells until it
    is small.

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
    numbers = float(len(nodes)) * np.prod(grid.shape, dtype=float) * grid.dim
    _memory.require("grid", 48.0 * numbers, "take fewer cells or times: cubic splines need few")
    model = checked(score, grid.dim)
    values = np.stack([model(float(t), grid.x) for t in nodes])
    middles = np.sqrt(nodes[1:] * nodes[:-1])
    # differences per middle time, at faces; those at the ends of the box are half a cell from a node
    table = Tabulated(nodes, grid.axes, values)
    most = _HELD_OUT if grid.dim == 1 else int(_HELD_OUT**0.5)
    ranks = [np.linspace(0, len(axis) - 1, min(len(axis), most)).round().astype(int) for axis in grid.face_axes]
    picked = [axis[rank] for axis, rank in zip(grid.face_axes, ranks, strict=True)]
    points = picked[0] if grid.dim == 1 else np.stack(np.meshgrid(*picked, indexing="ij"), axis=-1)
    gaps = [np.abs(table(float(t), points) - model(float(t), points)) for t in middles]
    # the ends of the box would weigh too much in a mean over so few points
    between_cells = (slice(1, -1),) * grid.dim
    largest = np.array([gap.max() for gap in gaps])
    rms = np.array([np.sqrt(np.mean(gap[between_cells] ** 2)) for gap in gaps])
    axes = ("x", "y")[: grid.dim]
    dims = ("t", *axes) if grid.dim == 1 else ("t", *axes, "component")
    label = {"long_name": "score at the cell centres", "units": "1/length"}
    between = {"long_name": "difference to the model between times and cells", "units": "1/length"}
    return described(
        xr.Dataset(
            {
                "score": (dims, values, label),
                "interpolation_error": ("t_between", largest, between),
                "interpolation_rms": ("t_between", rms, between),
            },
            coords={"t": nodes, "t_between": middles} | dict(zip(axes, grid.axes, strict=True)),
            attrs={
                "status": "estimated",
                "score_model": name_of(score),
                "version": __version__,
                "interpolation": "cubic splines in x and log t",
            },
        )
    )

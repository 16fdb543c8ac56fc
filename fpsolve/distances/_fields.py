"""DataArrays of cell averages at the border, checked, aligned and laid out as rows of plain arrays, and the V-weighted
norm of rows of signed differences with the parts of its error.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fpsolve import _checks, weights
from fpsolve._cells import edge_tail
from fpsolve._checks import FloatArray
from fpsolve._messages import described
from fpsolve._runs import UNRESOLVED
from fpsolve.distances._absolute import Line, Plane, Weigh, absolute_on_lines, absolute_on_planes
from fpsolve.distances._splines import MINIMUM_CELLS
from fpsolve.weights import WeightLike

# space dimension -> coordinate with the positions along it
_AXES = {"x": "x", "y": "y", "z": "x", "z_x": "x", "z_y": "y"}
_SETS = (("x",), ("x", "y"), ("z",), ("z_x", "z_y"))
# positions this close, in cells, are the same
_SAME = 1e-6


@dataclass(frozen=True, eq=False)
class Frame:
    """Where rows of cell averages live.

    Attributes
    ----------
    dims : tuple of str
        Space dimensions, one or two.
    shape : tuple of int
        Cells per axis.
    low, spacing : tuple of arrays
        Left end of the box and cell width per axis, each of shape (rows,), or (1,) if all rows share it.
    leading : DataArray
        Zeros over the leading dimensions, with the coordinates to carry along.
    stored : float
        Relative rounding of the densities as they were stored, beyond that of float64: 1.2e-7 for float32.
    lost : array or None
        Rows of which a run has no estimate of the densities, shape (rows,): nor is there one of a distance.
    reason : str
        Why.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    low: tuple[FloatArray, ...]
    spacing: tuple[FloatArray, ...]
    leading: xr.DataArray
    stored: float = 0.0
    lost: NDArray[np.bool_] | None = None
    reason: str = ""

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return len(self.dims)

    @property
    def volume(self) -> FloatArray:
        """Length or area of a cell, shape (rows,) or (1,)."""
        return np.asarray(np.prod(np.stack(np.broadcast_arrays(*self.spacing)), axis=0))

    @property
    def length(self) -> FloatArray:
        """Length of the box along the first axis, shape (rows,) or (1,)."""
        return self.spacing[0] * self.shape[0]

    @property
    def line(self) -> Line:
        """The geometry in 1D."""
        return Line(self.low[0], self.spacing[0])

    @property
    def planes(self) -> list[Plane]:
        """The geometry of every row in 2D."""
        columns = [np.broadcast_to(part, self.leading.size).tolist() for part in (*self.low, *self.spacing)]
        return [Plane((x, y), (hx, hy)) for x, y, hx, hy in zip(*columns, strict=True)]

    def groups(self) -> Iterator[tuple[NDArray[np.intp], FloatArray]]:
        """Yield the rows that share positions, and the cell centres (n,) or (nx, ny, 2) of those rows."""
        table = np.stack(np.broadcast_arrays(*self.low, *self.spacing, np.zeros(self.leading.size)), axis=1)[:, :-1]
        if all(part.size == 1 for part in (*self.low, *self.spacing)):
            places, owner = table[:1], np.zeros(len(table), dtype=np.intp)
        else:
            places, owner = np.unique(table, axis=0, return_inverse=True)
        for k, place in enumerate(places):
            axes = [
                low + h * (np.arange(n) + 0.5)
                for low, h, n in zip(place[: self.dim], place[self.dim :], self.shape, strict=True)
            ]
            points = axes[0] if self.dim == 1 else np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
            yield np.nonzero(owner.ravel() == k)[0], points

    def rows(self, array: xr.DataArray) -> FloatArray:
        """Return the values with the leading dimensions flattened, shape (rows, n[, ny])."""
        full = array.variable.set_dims({**self.leading.sizes, **dict(zip(self.dims, self.shape, strict=True))})
        return np.ascontiguousarray(full.values, dtype=float).reshape(-1, *self.shape)

    def labelled(self, attrs: dict[str, str], **rows: FloatArray) -> xr.Dataset:
        """Return variables (rows,) over the leading dimensions; the numbers are estimated unless `attrs` says else."""
        if self.lost is not None and self.lost.any():
            rows |= {"error": np.where(self.lost, np.inf, rows["error"])} if "error" in rows else {}
            attrs = attrs | {
                "resolved": "no",
                "reason": "; ".join(filter(None, [attrs.get("reason", ""), self.reason])),
            }
        variables = {name: (self.leading.dims, v.reshape(self.leading.shape)) for name, v in rows.items()}
        own = {"distance": attrs["quantity"]} if "quantity" in attrs else {}
        made = xr.Dataset(variables, coords=self.leading.coords, attrs={"status": "estimated"} | attrs)
        return described(made, **own)


def aligned(**arrays: Any) -> Frame:
    """Check DataArrays of cell averages against one another and return their common frame.

    Raises
    ------
    ValueError
        If one is no DataArray, has no (or other) space dimensions or positions, is not on a uniform grid of at least
        `MINIMUM_CELLS` cells, or holds NaN or infinities.
    """
    names = list(arrays)
    dims = [_space_dims(name, array) for name, array in arrays.items()]
    for name, other in zip(names[1:], dims[1:], strict=True):
        if other != dims[0]:
            raise _checks.error(name, f"the space dimensions {dims[0]} of {names[0]}", f"{other}", "use one grid")
    for name, array in arrays.items():
        empty = [str(d) for d in array.dims if array.sizes[d] == 0]
        if empty:
            remedy = "t decreases along a run: slice(later, earlier)" if "t" in empty else ""
            raise _checks.error(name, f"at least one {empty[0]}", "none", remedy)
        _checks.finite_array(name, array.values, remedy="cell averages must be finite")
    parts = tuple(arrays.values())
    _same_coordinates(names, parts)
    leading = _leading(parts, dims[0])
    positions = [_geometry(name, part, dims[0], leading) for name, part in zip(names, parts, strict=True)]
    for name, other_position in zip(names[1:], positions[1:], strict=True):
        slack = max(_slack(array, dims[0]) for array in (arrays[name], arrays[names[0]]))
        _same_positions(name, names[0], other_position, positions[0], slack)
    low, spacing = positions[0]
    stored = max(_rounding(array.dtype) for array in arrays.values())
    shape = tuple(parts[0].sizes[d] for d in dims[0])
    return Frame(dims[0], shape, low, spacing, leading, stored, *_lost(parts, leading))


def _same_coordinates(names: list[str], parts: tuple[xr.DataArray, ...]) -> None:
    """Refuse arrays whose common dimensions have other coordinates."""
    common = [(parts[0], other, d) for other in parts[1:] for d in other.dims if d in parts[0].dims]
    # what `align` finds as well, in a tenth of its time
    if all(one.get_index(d).equals(other.get_index(d)) for one, other, d in common):
        return
    try:
        xr.align(*parts, join="exact", copy=False)
    except ValueError as reason:
        raise _checks.error(
            " and ".join(names),
            "the same coordinates along common dimensions",
            str(reason).split("\n")[0],
            "regrid or select the same times first",
        ) from reason


def _lost(parts: tuple[xr.DataArray, ...], leading: xr.DataArray) -> tuple[NDArray[np.bool_] | None, str]:
    """Rows that a run says nothing about: its densities carry that as a coordinate, `UNRESOLVED`."""
    marks = [part.coords[UNRESOLVED].variable for part in parts if UNRESOLVED in part.coords]
    if not marks:
        return None, ""
    lost = leading.variable.astype(bool)
    for mark in marks:
        lost = lost | mark.astype(bool)
    return lost.transpose(*leading.dims).values.ravel(), str(marks[0].attrs.get("reason", ""))


def _space_dims(name: str, array: Any) -> tuple[str, ...]:
    if not isinstance(array, xr.DataArray):
        raise _checks.error(
            name,
            "an xarray.DataArray of cell averages",
            f"a {type(array).__name__}",
            'wrap it: xarray.DataArray(values, dims="x", coords={"x": grid.x})',
        )
    found = tuple(d for d in _AXES if d in array.dims)
    if found not in _SETS:
        raise _checks.error(
            name, "space dimensions x; x, y; z; or z_x, z_y", f"dimensions {array.dims}", "rename its dimensions"
        )
    for d in found:
        if _AXES[d] not in array.coords:
            raise _checks.error(name, f"positions in the coordinate {_AXES[d]!r}", "none", "assign_coords them")
        if array.sizes[d] < MINIMUM_CELLS:
            raise _checks.error(
                name, f"at least {MINIMUM_CELLS} cells along {d}", f"{array.sizes[d]}", "refine the grid"
            )
    return found


def _leading(parts: tuple[xr.DataArray, ...], dims: tuple[str, ...]) -> xr.DataArray:
    """Return zeros over the union of the leading dimensions, with coordinates that do not conflict."""
    sizes = {d: part.sizes[d] for part in parts for d in part.dims if d not in dims}
    coordinates: dict[Hashable, xr.Variable] = {}
    conflicting = {*_AXES, UNRESOLVED}
    for part in parts:
        for name, variable in part.coords.variables.items():
            if name in conflicting or not set(dims).isdisjoint(variable.dims):
                continue
            known = coordinates.get(name)
            # a scalar beside a dimension of its name: one was selected of many, ``density.sel(start="exact")``
            if known is None or (name in sizes and known.ndim == 0):
                coordinates[name] = variable
            elif (name not in sizes or variable.ndim > 0) and not known.equals(variable):
                conflicting.add(name)
    # in memory: what is made of a file that is open must outlive it
    kept = {k: v.load() for k, v in coordinates.items() if k not in conflicting}
    return xr.DataArray(np.zeros(tuple(sizes.values())), coords=kept, dims=tuple(sizes))


Geometry = tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]]


def _geometry(name: str, array: xr.DataArray, dims: tuple[str, ...], leading: xr.DataArray) -> Geometry:
    """Return left ends and cell widths per axis, each (rows,) or (1,)."""
    lows, spacings = [], []
    for d in dims:
        centres = array.coords.variables[_AXES[d]]
        along = leading.sizes if len(centres.dims) > 1 else {}
        table = centres.set_dims({**along, d: array.sizes[d]})
        rows = np.asarray(table.values, dtype=float).reshape(-1, array.sizes[d])
        spacing = (rows[:, -1] - rows[:, 0]) / (rows.shape[1] - 1)
        uneven = np.abs(np.diff(rows, axis=1) - spacing[:, None]).max(axis=1)
        if not (np.isfinite(rows).all() and (spacing > 0.0).all() and (uneven <= _slack(array, (d,)) * spacing).all()):
            raise _checks.error(name, f"uniform increasing positions along {d}", "others", "resample to a uniform grid")
        lows.append(rows[:, 0] - 0.5 * spacing)
        spacings.append(spacing)
    return tuple(lows), tuple(spacings)


def _rounding(dtype: np.dtype[Any]) -> float:
    """Return the relative rounding of a dtype where it is coarser than that of float64, else 0."""
    eps = float(np.finfo(dtype).eps) if np.issubdtype(dtype, np.floating) else 0.0
    return eps if eps > np.finfo(float).eps else 0.0


def _slack(array: xr.DataArray, dims: tuple[str, ...]) -> float:
    """Return how far positions may be off and be uniform, in cells: `_SAME`, more where they were stored in float32."""
    found = [_SAME]
    for d in dims:
        centres = array.coords.variables[_AXES[d]]
        steps = np.diff(centres.values, axis=centres.dims.index(d))
        width = float(np.abs(steps).min()) if steps.size else 0.0
        reach = float(np.abs(centres.values).max())
        # both ends of a difference are rounded
        found.append(4.0 * _rounding(centres.dtype) * reach / width if width > 0.0 else 0.0)
    return max(found)


def _same_positions(name: str, other_name: str, mine: Geometry, other: Geometry, slack: float) -> None:
    for low, h, low_other, h_other in zip(*mine, *other, strict=True):
        apart = np.maximum(np.abs(low - low_other), np.abs(h - h_other)) / h_other
        if (apart > slack).any():
            raise _checks.error(
                name,
                f"the cell positions of {other_name}",
                f"positions up to {apart.max():.3g} cells away",
                "compare at the same time and on the same grid",
            )


#: Tails are continued as they decay at the ends of the box; differences of tails may decay more slowly further out.
TAIL_SAFETY = 1.5
# share of the box next to its ends in which a change of sign spoils that: the difference is then no tail yet
_OUTER = 0.1

# built-in weights have their kink here; a piece more costs nothing for the others
_KINKS = np.zeros(1)


@dataclass(frozen=True, eq=False)
class Norm:
    """``int V |w|`` with its error parts, arrays of shape (rows,).

    Attributes
    ----------
    value : array
        The integral over the box.
    quadrature : array
        Error of reconstruction, quadrature and the sum's round-off.
    tail : array
        Estimated weighted mass outside of the box.
    """

    value: FloatArray
    quadrature: FloatArray
    tail: FloatArray

    @property
    def error(self) -> FloatArray:
        """The sum of the parts."""
        return self.quadrature + self.tail


def weigher(weight: WeightLike, dim: int) -> Weigh:
    """Return V as a function of points alone, checked wherever it is evaluated."""
    return lambda points: weights.evaluate(weight, points, dim)


def weighted_norm_of_rows(
    w: FloatArray,
    frame: Frame,
    weight: WeightLike,
    *,
    unbounded: bool,
    densities: tuple[FloatArray, FloatArray] | None = None,
) -> Norm:
    """Return the norm of every row of signed cell averages, shape (rows, n[, ny]).

    `densities`: the two whose difference w is, if known. Where w changes its sign near an end of the box, their own
    tails bound what is beyond.
    """
    weigh = weigher(weight, frame.dim)
    if frame.dim == 1:
        value, error = absolute_on_lines(w, frame.line, weigh, _KINKS)
    else:
        value, error = absolute_on_planes(w, frame.planes, weigh)
    if not unbounded:
        return Norm(value, error, np.zeros_like(value))
    return Norm(value, error, tail_of_difference(w, frame, weigh, densities))


def tail_of_difference(
    w: FloatArray, frame: Frame, weigh: Weigh, densities: tuple[FloatArray, FloatArray] | None
) -> FloatArray:
    """Return what ``int V |w|`` outside of the box may be; the tails of both densities where w turns near the edge."""
    tail = TAIL_SAFETY * tail_mass(w, frame, weigh)
    if densities is None or frame.dim == 2:
        return tail
    each = [tail_mass(density, frame, weigh) for density in densities]
    # which rows (rows, n) change their sign in the outer part of the box
    outer = max(3, int(_OUTER * w.shape[1]))
    sides = (w[:, :outer], w[:, -outer:])
    left, right = ((side.min(axis=1) < 0.0) & (side.max(axis=1) > 0.0) for side in sides)
    return np.where(left | right, np.maximum(tail, TAIL_SAFETY * (each[0] + each[1])), tail)


def tail_mass(w: FloatArray, frame: Frame, weigh: Weigh) -> FloatArray:
    """Return the estimated ``int V |w|`` outside of the box of every row."""
    # in units of cells: the volume of the cells of each row turns it into a mass
    axes = [np.arange(float(n)) for n in frame.shape]
    mass = np.empty(len(w))
    for rows, points in frame.groups():
        mass[rows] = edge_tail(w[rows], axes, weigh(points))
    return mass * frame.volume


def weighted_sum(values: FloatArray, frame: Frame, weigh: Weigh) -> FloatArray:
    """Return ``sum V |values| * cell volume``, V at the cell centres, of every row."""
    total = np.empty(len(values))
    for rows, points in frame.groups():
        total[rows] = np.tensordot(np.abs(values[rows]), weigh(points), axes=frame.dim)
    return total * frame.volume

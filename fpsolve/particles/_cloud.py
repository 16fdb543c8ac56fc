"""Clouds of particles: what is kept of them at the saved times, and the Dataset of it, from anyone's positions too.

Grids at one time: particles counted in their cells, what a density says of them, bounded test functions on them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fpsolve import _checks
from fpsolve._cells import Cumulative
from fpsolve._messages import described
from fpsolve.grid import Grid

if TYPE_CHECKING:
    import xarray as xr


Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

AXES = ("x", "y")
# Two Gauss-Legendre points per cell and axis: cell averages of smooth test functions to fourth order.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(2)
# All bounded by 1 <= V: bounded, because the far tail of a z-score is normal only for light-tailed summands.
_LINE: dict[str, Callable[[Array], Array]] = {
    "tanh(u)": np.tanh,
    "tanh(4u)": lambda u: np.tanh(4 * u),
    "cos(u)": np.cos,
    "cos(3u)": lambda u: np.cos(3 * u),
    "sin(3u)": lambda u: np.sin(3 * u),
    "u^2/(1+u^2)": lambda u: _saturated(u * u),
}
_PLANE: dict[str, Callable[[Array, Array], Array]] = {
    "tanh(u)": lambda u, v: np.tanh(u),
    "tanh(v)": lambda u, v: np.tanh(v),
    "tanh(4u)": lambda u, v: np.tanh(4 * u),
    "tanh(4v)": lambda u, v: np.tanh(4 * v),
    "cos(2u)": lambda u, v: np.cos(2 * u),
    "cos(2v)": lambda u, v: np.cos(2 * v),
    "sin(u)sin(v)": lambda u, v: np.sin(u) * np.sin(v),
    "cos(u-v)": lambda u, v: np.cos(u - v),
    "r^2/(1+r^2)": lambda u, v: _saturated(u * u + v * v),
}


def count(grid: Grid, x: Array) -> tuple[Counts, Counts]:
    """Particles per cell, and outside of the box: (below, above) in 1D, (total,) in 2D.

    ``x`` is (n,) in 1D and (n, 2) in 2D. A cell holds its lower face; the last one also its upper face.
    """
    columns = [x] if grid.dim == 1 else [x[:, 0], x[:, 1]]
    inside = np.ones(len(x), dtype=bool)
    index = np.zeros(len(x), dtype=np.int64)
    for column, (low, _), h, n in zip(columns, grid.bounds, grid.spacing, grid.shape, strict=True):
        place = (column - low) / h
        inside &= (place >= 0) & (place <= n)
        # Bounded before the conversion: a particle far outside must not overflow an integer.
        index = index * n + np.clip(place, 0, n - 1).astype(np.int64)
    counts = np.bincount(index[inside], minlength=int(np.prod(grid.shape))).reshape(grid.shape)
    if grid.dim == 2:
        return counts, np.array([np.count_nonzero(~inside)], dtype=np.int64)
    below = np.count_nonzero(columns[0] < grid.bounds[0][0])
    return counts, np.array([below, np.count_nonzero(~inside) - below], dtype=np.int64)


def on_cells(probability: Array, source: Grid, target: Grid) -> Array:
    """Probabilities of other cells, from the spline of the cumulative distribution at the source's faces.

    Exact (to rounding) where the target's faces are source faces, of order h^6 (1D) or h^4 (2D) elsewhere.
    Mass outside of the source's box is not invented: cells there get none.
    """
    apart = np.max(np.abs(np.subtract(source.bounds, target.bounds)))
    if source.shape == target.shape and apart <= 1e-9 * min(source.spacing):
        return probability
    return Cumulative(source.face_axes, probability, degree=5 if source.dim == 1 else 3).masses(*target.face_axes)


def frame_of_density(probability: Array, cells: Grid) -> tuple[Array, Array]:
    """Mean and standard deviation per axis of a grid density: where the test functions sit; each (dim,)."""
    centre, width = [], []
    for axis, points in enumerate(cells.axes):
        line = probability if cells.dim == 1 else probability.sum(axis=1 - axis)
        mean = float(line @ points) / float(line.sum())
        centre.append(mean)
        width.append(np.sqrt(float(line @ (points - mean) ** 2) / float(line.sum())))
    return np.array(centre), np.array(width)


def expectations(probability: Array, cells: Grid, centre: Array, width: Array) -> tuple[Array, Array]:
    r"""Mean and variance of every test function under cell probabilities, each (functions,), of order h^4.

    .. math:: \int f q = \sum_i P_i \bar f_i + \sum_i \tfrac{h^2}{12}\, |C|\, f'_i q'_i + O(h^4)

    per axis (P_i cell probabilities, bars cell averages, |C| the volume): the product of averages is not
    the average of the product.
    """
    mean, second = np.zeros((2, len(function_names(cells.dim))))
    for node in itertools.product(range(2), repeat=cells.dim):
        weighed = np.prod([_WEIGHTS[k] / 2 for k in node]) * probability
        f = _at(cells, tuple(float(_NODES[k]) / 2 for k in node), centre, width)
        mean += np.tensordot(f, weighed, axes=cells.dim)
        second += np.tensordot(f**2, weighed, axes=cells.dim)
    for axis in range(cells.dim):
        half = tuple(0.5 if k == axis else 0.0 for k in range(cells.dim))
        right, left = (_at(cells, tuple(s * o for o in half), centre, width) for s in (1, -1))
        # h q' |C| from the differences of the probabilities; the h of the other factor is in right - left.
        change = np.gradient(probability, axis=axis) / 12.0
        mean += np.tensordot(right - left, change, axes=cells.dim)
        second += np.tensordot(right**2 - left**2, change, axes=cells.dim)
    return mean, second - mean**2


def _at(cells: Grid, offset: tuple[float, ...], centre: Array, width: Array) -> Array:
    """Test functions at the cell centres moved by ``offset`` cells: (functions, nx[, ny])."""
    ends = zip(cells.bounds, offset, cells.spacing, strict=True)
    axes = Grid(tuple((low + o * h, high + o * h) for (low, high), o, h in ends), cells.shape).axes
    return _values(*np.ix_(*((axis - c) / w for axis, c, w in zip(axes, centre, width, strict=True))))


def _saturated(square: Array) -> Array:
    return np.asarray(square / (1 + square), dtype=np.float64)


def function_names(dim: int) -> tuple[str, ...]:
    """Names of the test functions; u (and v in 2D) is the coordinate minus the centre, over the width."""
    return tuple(_LINE) if dim == 1 else tuple(_PLANE)


def function_values(x: Array, centre: Array, width: Array, dim: int) -> Array:
    """All test functions at points x (n,) or (n, 2): (functions, n); centre and width are (dim,)."""
    columns = (x,) if dim == 1 else (x[..., 0], x[..., 1])
    return _values(*((column - centre[i]) / width[i] for i, column in enumerate(columns)))


def _values(*u: Array) -> Array:
    """All test functions of u and, in 2D, v, which broadcast."""
    functions: dict[str, Callable[..., Array]] = _LINE if len(u) == 1 else _PLANE
    return np.stack(np.broadcast_arrays(*(f(*u) for f in functions.values())))


def frame_of_target(target: Any, scale: float, variance: float) -> tuple[Array, Array]:
    """Centre and width of the test functions for ``scale X + sqrt(variance) Z``, X from the target; each (dim,).

    Mean and standard deviation per axis; the width is 1 where the target has no variance.
    """
    mean = np.atleast_1d(np.asarray(target.mean, dtype=np.float64))
    cov = np.asarray(target.cov, dtype=np.float64)
    data = np.diagonal(cov) if cov.ndim == 2 else np.atleast_1d(cov)
    known = np.isfinite(data)
    width = np.sqrt(np.where(known, scale**2 * np.where(known, data, 0.0) + variance, 1.0))
    return scale * mean, np.asarray(width)


@dataclass(eq=False)
class Tally:
    """Running totals over chunks; filled in place by the simulation loop, which owns it.

    Parameters
    ----------
    dim, n : int
        Dimension and total number of particles.
    centre, width : array (times, dim)
        Frame of the test functions at each saved time.
    cells : tuple of Grid, or empty
        Where to count at each saved time.
    keep : bool
        Whether positions are kept; only then does memory grow with n.
    """

    dim: int
    n: int
    centre: Array
    width: Array
    cells: tuple[Grid, ...] = ()
    keep: bool = True
    functions: Array = field(init=False)
    first: Array = field(init=False)
    second: Array = field(init=False)
    counts: list[npt.NDArray[np.int64]] = field(init=False)
    outside: npt.NDArray[np.int64] = field(init=False)
    positions: Array | None = field(init=False)

    def __post_init__(self) -> None:
        times = len(self.centre)
        self.functions = np.zeros((times, len(function_names(self.dim))))
        self.first = np.zeros((times, self.dim))
        self.second = np.zeros((times, self.dim, self.dim))
        self.counts = [np.zeros(c.shape, dtype=np.int64) for c in self.cells]
        self.outside = np.zeros((times, 2 if self.dim == 1 else 1), dtype=np.int64)
        shape = (times, self.n) if self.dim == 1 else (times, self.n, 2)
        self.positions = np.empty(shape) if self.keep else None

    def add(self, index: int, start: int, x: Array) -> None:
        """Add the chunk x, (m,) or (m, 2), of the particles from number ``start`` on, at a saved time."""
        if self.positions is not None:
            self.positions[index, start : start + len(x)] = x
        centre, width = self.centre[index], self.width[index]
        self.functions[index] += function_values(x, centre, width, self.dim).sum(axis=1)
        # Moments about the frame's centre: far from the origin raw second moments would cancel.
        shifted = x.reshape(len(x), self.dim) - centre
        self.first[index] += shifted.sum(axis=0)
        self.second[index] += shifted.T @ shifted
        if self.cells:
            counts, outside = count(self.cells[index], x)
            self.counts[index] += counts
            self.outside[index] += outside

    def mean(self) -> Array:
        """Sample mean, (times, dim)."""
        return np.asarray(self.centre + self.first / self.n, dtype=np.float64)

    def covariance(self) -> Array:
        """Sample covariance with denominator n, (times, dim, dim)."""
        shift = self.first / self.n
        return np.asarray(self.second / self.n - shift[:, :, None] * shift[:, None, :], dtype=np.float64)


def dataset(tally: Tally, t: Array, T: float, attrs: dict[str, Any]) -> xr.Dataset:
    """Put a finished tally into a Dataset with dims t, particle, axis, function and, for counts, x[, y]."""
    import xarray as xr

    axes = list(AXES[: tally.dim])
    data = xr.Dataset(
        {
            "mean": (("t", "axis"), tally.mean()),
            "cov": (("t", "axis", "other_axis"), tally.covariance()),
            "function_mean": (("t", "function"), tally.functions / tally.n),
            "centre": (("t", "axis"), tally.centre),
            "width": (("t", "axis"), tally.width),
        },
        coords={
            "t": t,
            "reverse_time": ("t", T - t),
            "axis": axes,
            "other_axis": axes,
            "function": list(function_names(tally.dim)),
        },
        attrs={"status": "Monte Carlo", "n": tally.n, **attrs},
    )
    if tally.positions is not None:
        data["position"] = (
            ("t", "particle") if tally.dim == 1 else ("t", "particle", "axis"),
            tally.positions,
        )
    return described(_with_counts(data, tally) if tally.cells else data)


def _with_counts(data: xr.Dataset, tally: Tally) -> xr.Dataset:
    """Add counts on cells, which have index coordinates, or ``x(t, z)`` as in a run where they move."""
    first = tally.cells[0]
    fixed = all(cells == first for cells in tally.cells)
    names = AXES[: tally.dim]
    dims = names if fixed else (("z",) if tally.dim == 1 else ("z_x", "z_y"))
    for i, (name, dim) in enumerate(zip(names, dims, strict=True)):
        centres = [cells.axes[i] for cells in tally.cells]
        data = data.assign_coords({name: (dim, centres[0]) if fixed else (("t", dim), np.stack(centres))})
    data["count"] = (("t", *dims), np.stack(tally.counts))
    if tally.dim == 1:
        data["outside"] = (("t", "side"), tally.outside)
        return data.assign_coords(side=["below", "above"])
    data["outside"] = ("t", tally.outside[:, 0])
    return data


def from_positions(
    t: npt.ArrayLike, position: npt.ArrayLike, *, T: float | None = None, **attrs: str | float
) -> xr.Dataset:
    """Make a cloud of anyone's particles, to be handed to `compare`.

    Parameters
    ----------
    t : array (times,)
        Forward times, strictly decreasing.
    position : array (times, n) in 1D, (times, n, 2) in 2D
        Positions of n independent particles, in the same order at every time.
    T : float, optional
        Forward time at which reverse time is 0; default the first of ``t``.
    **attrs
        Attributes to store, for instance ``method`` and ``seed``.

    Returns
    -------
    xarray.Dataset
        ``position(t, particle[, axis])``, the part of what `simulate` returns that `compare` needs.

    Raises
    ------
    ValueError
        Times that do not decrease, non-finite positions, shapes that do not match.

    Examples
    --------
    >>> import numpy as np
    >>> cloud = from_positions([1.0, 0.5], np.random.default_rng(0).normal(size=(2, 100)), method="mine")
    >>> dict(cloud.sizes)["particle"], cloud.attrs["method"]
    (100, 'mine')
    """
    import xarray as xr

    times = _checks.finite_array("t", t, shape=(None,))
    x = _checks.finite_array("position", position)
    if x.ndim not in (2, 3) or len(x) != times.size or x.shape[1] == 0 or (x.ndim == 3 and x.shape[2] != 2):
        raise _checks.error("position", f"shape ({times.size}, n) or ({times.size}, n, 2)", f"shape {x.shape}")
    if times.size == 0 or np.any(np.diff(times) >= 0):
        raise _checks.error("t", "strictly decreasing forward times", times.tolist(), "sort times and positions")
    dims = ("t", "particle", "axis")[: x.ndim]
    reverse_time = (times[0] if T is None else _checks.finite("T", T)) - times
    coords = {"t": times, "reverse_time": ("t", reverse_time), "axis": list(AXES[: x.ndim - 1])}
    notes = {"status": "Monte Carlo", "n": x.shape[1], **attrs}
    return described(xr.Dataset({"position": (dims, x)}, coords=coords, attrs=notes))

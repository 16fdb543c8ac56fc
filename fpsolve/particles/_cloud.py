"""Clouds of particles: what is kept of them at the saved times, and the Dataset of it, from anyone's positions too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fpsolve import _checks
from fpsolve.grid import Grid
from fpsolve.particles._cells import AXES, count, function_names, function_values

if TYPE_CHECKING:
    import xarray as xr

Array = npt.NDArray[np.float64]


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
        data["position"].attrs["long_name"] = "particle positions"
    return _with_counts(data, tally) if tally.cells else data


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
    data["count"].attrs["long_name"] = "particles per cell"
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
    return xr.Dataset({"position": (dims, x)}, coords=coords, attrs={"status": "Monte Carlo", "n": x.shape[1], **attrs})

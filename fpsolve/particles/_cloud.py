"""The Dataset of a cloud of particles: layout, and clouds made from anyone's positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fpsolve import _checks
from fpsolve.particles import _functions
from fpsolve.particles._cells import AXES
from fpsolve.particles._tally import Tally

if TYPE_CHECKING:
    import xarray as xr

Array = npt.NDArray[np.float64]


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
            "function": list(_functions.names(tally.dim)),
        },
        attrs={"n": tally.n, **attrs},
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
        centres = [cells.centres[i] for cells in tally.cells]
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
    return xr.Dataset({"position": (dims, x)}, coords=coords, attrs={"n": x.shape[1], **attrs})

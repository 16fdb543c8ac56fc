"""Densities over reverse time: a heat map in 1D, panels in 2D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _runs
from fpsolve.plots._style import REVERSE_TIME, axis_label, label_of, new_axes, parent

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

COLOURS = "viridis"
PANELS = 4
#: The picture ends where every density has fallen to this share of its own maximum.
SHOWN = 1e-3


def density(
    run: xr.Dataset,
    *,
    start: str | None = None,
    times: ArrayLike | None = None,
    ax: Any = None,
) -> Any:
    """Draw the density of one start: a heat map over (reverse time, x) in 1D, panels at some times in 2D.

    Colours show cell averages, per unit of x (per unit of area in 2D), on a scale that ends at the highest density
    of the later half of the times shown: a narrow start may exceed it, which the arrow at the colour bar tells.
    The axes end where the density of every time has fallen below a thousandth of its maximum.

    Parameters
    ----------
    run : Dataset
        What `fpsolve.evolve` returned. ``long_name`` and ``units`` of its x (and y), if given, are the labels.
    start : str, optional
        Label of the start; may be left out where there is only one.
    times : array, optional
        2D only: forward times of the panels, the nearest saved ones are shown; default four, equally spaced
        among the saved times, the first and last included.
    ax : Axes, or in 2D a sequence of Axes, optional
        Where to draw; default a new figure. 2D needs one per panel.

    Returns
    -------
    matplotlib.axes.Axes in 1D, array of Axes of shape (panels,) in 2D
        The colour bar belongs to the figure.

    Raises
    ------
    ValueError
        An unknown start, `times` in 1D, as many axes as panels not given.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> run = fp.evolve(reverse, fp.Gaussian(2.0, std=0.5), t_min=0.01, tol=1e-2)
    >>> density(run).get_xlabel()
    'reverse time $r = T - t$ (units of process time)'
    """
    run = _runs.tidy(run)
    label = label_of(run, start)
    values = run["density"].sel(start=label)
    if values.ndim == 2:
        if times is not None:
            raise _checks.error("times", "no times in 1D, where all are shown", repr(times))
        return _heat_map(run, values, label, new_axes() if ax is None else ax)
    index = _panel_index(run, times)
    axes = _panel_axes(len(index)) if ax is None else np.ravel(np.asarray(ax, dtype=object))
    if len(axes) != len(index):
        raise _checks.error("ax", f"{len(index)} axes, one per panel", f"{len(axes)}")
    return _panels(run, values, index, axes)


def _heat_map(run: xr.Dataset, values: xr.DataArray, label: str, ax: Axes) -> Axes:
    """1D: reverse time to the right, x upwards."""
    q = np.asarray(values.values, dtype=np.float64)
    x = np.broadcast_to(run["x"].values, q.shape)
    time, name = _run_time(run)
    mesh = ax.pcolormesh(
        np.broadcast_to(time[:, None], q.shape), x, q, norm=_norm(q),
        cmap=COLOURS, shading="gouraud", rasterized=True,
    )  # fmt: skip
    ax.set(xlabel=name, ylabel=axis_label(run, "x"), xlim=(time.min(), time.max()))
    ax.set_ylim(*_shown(x[q >= SHOWN * q.max(axis=1, keepdims=True)]))
    _colour_bar(mesh, [ax], f"density from start {label!r} (per unit of x)", float(q.max()))
    return ax


def _panels(run: xr.Dataset, values: xr.DataArray, index: list[int], axes: Any) -> Any:
    """2D: one panel per time on a common scale."""
    q = np.asarray(values.values[index], dtype=np.float64)
    time, _ = _run_time(run)
    corners = [_positions(run, name, k) for k in index for name in ("x", "y")]
    limits = _panel_limits(q, corners)
    norm = _norm(q)
    for panel, (ax, k) in enumerate(zip(axes, index, strict=True)):
        x, y = corners[2 * panel : 2 * panel + 2]
        mesh = ax.pcolormesh(x, y, q[panel].T, norm=norm, cmap=COLOURS, shading="gouraud", rasterized=True)
        ax.set(xlim=limits[0], ylim=limits[1], xlabel=axis_label(run, "x"), aspect="equal")
        ax.set_title(f"$t = {float(run['t'][k]):.3g}$, $r = {time[k]:.3g}$", fontsize="medium")
        if panel == 0:
            ax.set_ylabel(axis_label(run, "y"))
        else:
            ax.tick_params(labelleft=False)
    _colour_bar(mesh, list(axes), "density (per unit of area)", float(q.max()))
    return axes


def _run_time(run: xr.Dataset) -> tuple[Array, str]:
    """Reverse time and its label, forward time where the dynamics runs forward."""
    if "reverse_time" in run.coords:
        return np.asarray(run["reverse_time"].values, dtype=np.float64), REVERSE_TIME
    return np.asarray(run["t"].values, dtype=np.float64), "time $t$ (units of process time)"


def _positions(run: xr.Dataset, name: str, k: int) -> Array:
    """Cell centres along an axis at saved time k, also in the scaled frame."""
    axis = run[name].isel(t=k) if "t" in run[name].dims else run[name]
    return np.asarray(axis.values, dtype=np.float64)


def _panel_index(run: xr.Dataset, times: ArrayLike | None) -> list[int]:
    t = np.asarray(run["t"].values, dtype=np.float64)
    if times is None:
        return [int(k) for k in np.unique(np.linspace(0, t.size - 1, PANELS).round())]
    return [int(np.argmin(np.abs(t - wanted))) for wanted in np.atleast_1d(_checks.finite_array("times", times))]


def _panel_axes(count: int) -> Any:
    import matplotlib.pyplot as plt

    size = (2.6 * count + 0.8, 3.0)
    return plt.subplots(1, count, figsize=size, layout="constrained", squeeze=False)[1][0]


def _panel_limits(q: Array, corners: Sequence[Array]) -> list[tuple[float, float]]:
    """Common limits of all panels per axis."""
    limits = []
    for axis in (0, 1):
        shown = []
        for panel, values in enumerate(q):
            along = values.max(axis=1 - axis)
            shown.append(corners[2 * panel + axis][along >= SHOWN * along.max()])
        limits.append(_shown(np.concatenate(shown)))
    return limits


def _shown(points: Array) -> tuple[float, float]:
    return float(points.min()), float(points.max())


def _norm(q: Array) -> Any:
    """Scale of the colours for densities over (times, ...)."""
    from matplotlib.colors import Normalize

    return Normalize(vmin=0.0, vmax=float(q[len(q) // 2 :].max()))


def _colour_bar(mesh: Any, axes: list[Axes], label: str, highest: float) -> None:
    # gouraud colours interpolate: a percent above the end is not visible
    beyond = highest > 1.01 * mesh.norm.vmax
    bar = parent(axes[0]).colorbar(mesh, ax=axes, pad=0.02, extend="max" if beyond else "neither")
    bar.set_label(label)

"""Densities over reverse time, a heat map in 1D and panels in 2D, and flows: orbits over time in 1D, phase portraits
with basins of attraction in 2D.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _runs
from fpsolve.flows import KINDS, StationaryPoints
from fpsolve.plots._style import (
    PALETTE,
    REVERSE_TIME,
    TimeAxis,
    axis_label,
    label_of,
    new_axes,
    parent,
    time_axis,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


Array = NDArray[np.float64]

COLOURS = "viridis"
PANELS = 4
#: The picture ends where every density has fallen to this share of its own maximum.
SHOWN = 1e-3
#: A picture is in z, or every panel on its own, where the scale S(t) of a run changes by more than this.
SCALED = 10.0


def density(
    run: xr.Dataset,
    *,
    start: str | None = None,
    times: ArrayLike | None = None,
    axis: TimeAxis = "auto",
    ax: Any = None,
) -> Any:
    """Draw the density of one start: a heat map over (reverse time, x) in 1D, panels at some times in 2D.

    Colours show cell averages, per unit of x (per unit of area in 2D), on a scale that ends at the highest density
    of the later half of the times shown: a narrow start may exceed it, which the arrow at the colour bar tells.
    The axes end where the density of every time has fallen below a thousandth of its maximum. Where the scale S(t) of a
    run in the scaled frame changes more than tenfold (VE, EDM), in 1D position is z and density is per unit of z, and
    in 2D every panel has its own axes and colours.

    Parameters
    ----------
    run : Dataset
        What `fpsolve.evolve` returned. ``long_name`` and ``units`` of its x (and y), if given, are the labels.
    start : str, optional
        Label of the start; may be left out where there is only one.
    times : array, optional
        2D only: forward times of the panels, the nearest saved ones are shown; default four, the first and last
        included, between which the density changes about equally.
    axis : {"auto", "r", "t", "clock", "log-snr"}
        1D: reverse time, or forward time on a log scale; "auto" takes the latter where half of the times crowd at the
        end, as under VE and EDM.
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
    'reverse time $r = T - t$'
    """
    run = _runs.tidy(run)
    label = label_of(run, start)
    values = run["density"].sel(start=label)
    if values.ndim == 2:
        if times is not None:
            raise _checks.error("times", "no times in 1D, where all are shown", repr(times))
        return _heat_map(run, values, label, new_axes() if ax is None else ax, axis)
    if times is None:
        index = equal_changes(run, values)
    else:
        t = np.asarray(run["t"].values, dtype=np.float64)
        index = [int(np.argmin(np.abs(t - one))) for one in np.atleast_1d(_checks.finite_array("times", times))]
    axes = _panel_axes(len(index)) if ax is None else np.ravel(np.asarray(ax, dtype=object))
    if len(axes) != len(index):
        raise _checks.error("ax", f"{len(index)} axes, one per panel", f"{len(axes)}")
    return _panels(run, values, index, axes)


def _heat_map(run: xr.Dataset, values: xr.DataArray, label: str, ax: Axes, axis: TimeAxis) -> Axes:
    """1D: reverse time to the right, x upwards."""
    q, x, unit, title = in_frame(run, values)
    time, name = run_time(run)
    mesh = ax.pcolormesh(
        np.broadcast_to(time[:, None], q.shape), x, q, norm=_norm(q),
        cmap=COLOURS, shading="gouraud", rasterized=True,
    )  # fmt: skip
    ax.set(xlabel=name, ylabel=title, xlim=(time.min(), time.max()))
    if "reverse_time" in run.coords:
        time_axis(ax, run["t"].values, axis, run)
        ax.set_xlim(time.min(), time.max())
    ax.set_ylim(*reached(x, q))
    _colour_bar(mesh, [ax], f"density from start {label!r} (per unit of {unit})", float(q.max()))
    return ax


def in_frame(run: xr.Dataset, values: xr.DataArray) -> tuple[Array, Array, str, str]:
    """1D densities and positions of shape (t, x), their unit and label: in z where one picture cannot hold x."""
    q = np.asarray(values.values, dtype=np.float64)
    x = np.broadcast_to(run["x"].values, q.shape)
    width = np.ptp(x, axis=1)
    if "z" not in run.coords or width.max() <= SCALED * width.min():
        return q, x, "x", axis_label(run, "x")
    z = run["z"].values
    return q * (width / np.ptp(z))[:, None], np.broadcast_to(z, q.shape), "z", "$z = (x - m(t))/S(t)$"


def reached(x: Array, q: Array) -> tuple[float, float]:
    """The ends of where a density, or one at any time, is above a thousandth of its maximum."""
    points = x[q >= SHOWN * q.max(axis=-1, keepdims=True)]
    return float(points.min()), float(points.max())


def _panels(run: xr.Dataset, values: xr.DataArray, index: list[int], axes: Any) -> Any:
    """2D: one panel per time on a common scale, each on its own where the scale of the run changes much."""
    q = np.asarray(values.values[index], dtype=np.float64)
    time, _ = run_time(run)
    corners = [positions(run, name, k) for k in index for name in ("x", "y")]
    own = moves(corners)
    for panel, (ax, k) in enumerate(zip(axes, index, strict=True)):
        x, y = corners[2 * panel : 2 * panel + 2]
        shown, places = (q[panel : panel + 1], [x, y]) if own else (q, corners)
        limits = panel_limits(shown, places)
        mesh = ax.pcolormesh(x, y, q[panel].T, norm=_norm(shown), cmap=COLOURS, shading="gouraud", rasterized=True)
        ax.set(xlim=limits[0], ylim=limits[1], xlabel=axis_label(run, "x"), aspect="equal")
        ax.set_title(f"$t = {float(run['t'][k]):.3g}$, $r = {time[k]:.3g}$", fontsize="medium")
        if panel == 0:
            ax.set_ylabel(axis_label(run, "y"))
        elif not own:
            ax.tick_params(labelleft=False)
        if own:
            _colour_bar(mesh, [ax], "density (per unit of area)", float(q[panel].max()), "bottom")
    if not own:
        _colour_bar(mesh, list(axes), "density (per unit of area)", float(q.max()))
    return axes


def moves(corners: Sequence[Array]) -> bool:
    """Whether no common axes show a run at all of its times: positions along the axes, at one time after the other."""
    width = np.array([np.ptp(one) for one in corners])
    return bool(width.max() > SCALED * width.min())


def run_time(run: xr.Dataset) -> tuple[Array, str]:
    """Reverse time and its label, forward time where the dynamics runs forward."""
    if "reverse_time" in run.coords:
        return np.asarray(run["reverse_time"].values, dtype=np.float64), REVERSE_TIME
    return np.asarray(run["t"].values, dtype=np.float64), "time $t$"


def positions(run: xr.Dataset, name: str, k: int) -> Array:
    """Cell centres along an axis at saved time k, also in the scaled frame."""
    axis = run[name].isel(t=k) if "t" in run[name].dims else run[name]
    return np.asarray(axis.values, dtype=np.float64)


def equal_changes(run: xr.Dataset, values: xr.DataArray) -> list[int]:
    """Places of the panels' times, the first and the last among them, between which a density changes about equally.

    Its change is the total variation in the frame of the run, and a tenth of the change of the logarithm of the frame's
    width: a law that is only scaled looks alike in panels with axes of their own.
    """
    q = np.asarray(values.values, dtype=np.float64).reshape(run.sizes["t"], -1)
    widths = [np.ptp(positions(run, "x", k)) for k in range(len(q))]
    change = 0.5 * np.abs(np.diff(q / q.sum(axis=1, keepdims=True), axis=0)).sum(axis=1)
    change += 0.1 * np.abs(np.diff(np.log(widths)))
    path = np.append(0.0, np.cumsum(change + 1e-9))
    found, count = [0], min(PANELS, len(q))
    for panel in range(1, count):
        nearest = int(np.argmin(np.abs(path - path[-1] * panel / (count - 1))))
        found.append(min(max(nearest, found[-1] + 1), len(q) - count + panel))
    return found


def _panel_axes(count: int) -> Any:
    import matplotlib.pyplot as plt

    size = (2.6 * count + 0.8, 3.0)
    return plt.subplots(1, count, figsize=size, layout="constrained", squeeze=False)[1][0]


def panel_limits(q: Array, corners: Sequence[Array]) -> list[tuple[float, float]]:
    """Common limits of all panels per axis."""
    limits = []
    for axis in (0, 1):
        along = np.array([values.max(axis=1 - axis) for values in q])
        limits.append(reached(np.array([corners[2 * panel + axis] for panel in range(len(q))]), along))
    return limits


def _norm(q: Array) -> Any:
    """Scale of the colours for densities over (times, ...)."""
    from matplotlib.colors import Normalize

    return Normalize(vmin=0.0, vmax=float(q[len(q) // 2 :].max()))


def _colour_bar(mesh: Any, axes: list[Axes], label: str, highest: float, place: str = "right") -> None:
    # gouraud colours interpolate: a percent above the end is not visible
    beyond = highest > 1.01 * mesh.norm.vmax
    bar = parent(axes[0]).colorbar(mesh, ax=axes, pad=0.02, extend="max" if beyond else "neither", location=place)
    bar.set_label(label)


_INK = "0.25"
#: Marker of every kind of stationary point: shape, filled or not.
MARKERS = {"attracting": ("o", True), "repelling": ("o", False), "saddle": ("X", True), "degenerate": ("D", False)}
_DASHES: dict[str, Any] = {"attracting": "-", "repelling": (0, (4, 2)), "saddle": (0, (4, 2)), "degenerate": ":"}
#: Arrows start from this many places per axis.
PLACES = 60
#: Light versions of the palette, in which lines stay readable.
_PALE = 0.72


def orbits(
    found: xr.Dataset, *, points: StationaryPoints | None = None, label: str | None = None, colour: str = PALETTE[0],
    dashes: Any = "-", ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw orbits: position against the time of the flow in 1D, paths in the plane in 2D.

    Parameters
    ----------
    found : Dataset
        What `fpsolve.flows.orbits` returned.
    points : StationaryPoints, optional
        1D: levels, solid where attracting, dashed otherwise; 2D: markers as in `phase_portrait`.
    label : str, optional
        Name of the flow in the legend.
    colour, dashes
        Of the lines.
    ax : Axes, optional
        Where to draw; default a new figure. Several flows may share the axes.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        A Dataset without ``position(orbit, r[, axis])``.

    Examples
    --------
    >>> import fpsolve as fp
    >>> ax = orbits(fp.flows.orbits(lambda x: -x, [1.0, 2.0], duration=1.0))
    >>> ax.get_ylabel()
    'position $x$'
    """
    if "position" not in getattr(found, "data_vars", ()):
        raise _checks.error("found", "a Dataset with position(orbit, r)", "none", "pass fp.flows.orbits(...)")
    if points is not None:
        _checks.instance("points", points, StationaryPoints, "what fpsolve.flows.stationary_points returns")
    ax = new_axes() if ax is None else ax
    position = found["position"].values
    for k, path in enumerate(position):
        lines = (found["r"].values, path) if path.ndim == 1 else (path[:, 0], path[:, 1])
        ax.plot(*lines, color=colour, linestyle=dashes, linewidth=1.3, label=label if k == 0 else None)
    if position.ndim == 3:
        ax.set(xlabel="$x$", ylabel="$y$", aspect="equal")
        if points is not None:
            markers_of(ax, points)
        return ax
    ax.set(xlabel="time of the flow $r$", ylabel="position $x$")
    ax.margins(x=0.0)
    for place, kind in zip(() if points is None else points.at, () if points is None else points.kind, strict=True):
        ax.axhline(place, color=_INK, linewidth=0.8, linestyle=_DASHES[kind], zorder=1)
    return ax


def phase_portrait(
    flow: Any,
    points: StationaryPoints,
    *,
    basins: xr.Dataset | None = None,
    data: Any = None,
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a 2D autonomous flow: stream lines, stationary points by kind, basins of attraction as colours.

    Parameters
    ----------
    flow : ProductScore or callable ``S(x)``
    points : StationaryPoints
        What `fpsolve.flows.stationary_points` found; its box is what is drawn.
    basins : Dataset, optional
        What `fpsolve.flows.basins` returned; undecided cells stay white.
    data : array_like of shape (n, 2), optional
        Drawn as dots.
    legend : bool, default True
        Whether to add a legend, below the axes.
    ax : Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        Stationary points in 1D.

    Examples
    --------
    >>> import numpy as np
    >>> import fpsolve as fp
    >>> field = lambda x: np.stack([x[..., 0] - x[..., 0] ** 3, -x[..., 1]], axis=-1)
    >>> found = fp.flows.stationary_points(field, [(-2, 2), (-1, 1)])
    >>> [text.get_text() for text in phase_portrait(field, found).get_legend().get_texts()]
    ['attracting', 'saddle']
    """
    _checks.flag("legend", legend)
    _checks.instance("points", points, StationaryPoints, "what fpsolve.flows.stationary_points returns")
    if points.at.ndim != 2:
        raise _checks.error("points", "stationary points in 2D", "1D", "draw orbits of a 1D flow over time")
    from fpsolve.flows import field_of
    from fpsolve.scores import evaluate

    ax = new_axes(5.2, 5.2) if ax is None else ax
    x, y = (np.linspace(low, high, PLACES) for low, high in points.box)
    speed = evaluate(field_of(flow), np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1))
    if basins is not None:
        _shade(ax, basins)
    ax.streamplot(x, y, speed[..., 0].T, speed[..., 1].T, color="0.45", linewidth=0.6, arrowsize=0.7, density=1.1)
    if data is not None:
        cloud = _checks.finite_array("data", data, shape=(None, 2))
        ax.plot(*cloud.T, ".", color="black", markersize=2.5, alpha=0.5, label="data", zorder=3)
    markers_of(ax, points)
    ax.set(xlim=points.box[0], ylim=points.box[1], xlabel="$x$", ylabel="$y$", aspect="equal")
    if legend:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4, frameon=False, fontsize="small")
    return ax


def markers_of(ax: Axes, points: StationaryPoints) -> None:
    """One marker per stationary point, one entry of a legend per kind that occurs."""
    for kind in KINDS:
        chosen = points.of_kind(kind)
        if len(chosen):
            shape, filled = MARKERS[kind]
            face, edge, width = ("black", "white", 0.9) if filled else ("white", "black", 1.8)
            places = chosen.T if chosen.ndim == 2 else (chosen, np.zeros(chosen.size))
            ax.plot(
                *places, linestyle="none", marker=shape, markersize=8, markeredgecolor=edge,
                markeredgewidth=width, markerfacecolor=face, label=kind, zorder=5,
            )  # fmt: skip


def _shade(ax: Axes, basins: xr.Dataset) -> None:
    from matplotlib.colors import ListedColormap, to_rgb

    attractors = [int(k) for k in basins["attractor"].values]
    pale = [tuple(_PALE + (1.0 - _PALE) * c for c in to_rgb(PALETTE[k % len(PALETTE)])) for k in range(len(attractors))]
    place = np.full(basins["basin"].shape, np.nan)
    for k, attractor in enumerate(attractors):
        place[basins["basin"].values == attractor] = k
    ax.pcolormesh(
        basins["x"], basins["y"], place.T, cmap=ListedColormap(pale), vmin=-0.5, vmax=len(pale) - 0.5,
        shading="nearest", rasterized=True,
    )  # fmt: skip

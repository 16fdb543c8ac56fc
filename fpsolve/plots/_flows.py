"""Flows: orbits over time in 1D, phase portraits with basins of attraction in 2D."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fpsolve import _checks
from fpsolve.flows import KINDS, StationaryPoints
from fpsolve.plots._style import PALETTE, new_axes

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["orbits", "phase_portrait"]

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
    'position $x$ (units of x)'
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
        ax.set(xlabel="$x$ (units of x)", ylabel="$y$ (units of y)", aspect="equal")
        if points is not None:
            _markers(ax, points)
        return ax
    ax.set(xlabel="time of the flow $r$ (units of process time)", ylabel="position $x$ (units of x)")
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
    from fpsolve.flows._field import evaluate, field_of

    ax = new_axes(5.2, 5.2) if ax is None else ax
    x, y = (np.linspace(low, high, PLACES) for low, high in points.box)
    speed = evaluate(field_of(flow), np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1))
    if basins is not None:
        _shade(ax, basins)
    ax.streamplot(x, y, speed[..., 0].T, speed[..., 1].T, color="0.45", linewidth=0.6, arrowsize=0.7, density=1.1)
    if data is not None:
        cloud = _checks.finite_array("data", data, shape=(None, 2))
        ax.plot(*cloud.T, ".", color="black", markersize=2.5, alpha=0.5, label="data", zorder=3)
    _markers(ax, points)
    ax.set(xlim=points.box[0], ylim=points.box[1], xlabel="$x$ (units of x)", ylabel="$y$ (units of y)", aspect="equal")
    if legend:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4, frameon=False, fontsize="small")
    return ax


def _markers(ax: Axes, points: StationaryPoints) -> None:
    """One marker per stationary point, one entry of a legend per kind that occurs."""
    for kind in KINDS:
        chosen = points.of_kind(kind)
        if len(chosen):
            shape, filled = MARKERS[kind]
            face, edge, width = ("black", "white", 0.9) if filled else ("white", "black", 1.8)
            ax.plot(
                chosen[:, 0], chosen[:, 1], linestyle="none", marker=shape, markersize=8, markeredgecolor=edge,
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

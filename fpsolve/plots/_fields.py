"""Figures of what moves a density: films, drift and score over time, stream lines, the sign of a drift on a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fpsolve import _checks, _runs, weights
from fpsolve._checks import FloatArray as Array
from fpsolve.dynamics import BaseDynamics
from fpsolve.flows import StationaryPoints, field_of
from fpsolve.plots._density import (
    COLOURS,
    PLACES,
    equal_changes,
    in_frame,
    markers_of,
    moves,
    panel_limits,
    positions,
    reached,
    run_time,
)
from fpsolve.plots._style import PALETTE, TimeAxis, axis_label, label_of, new_axes, parent, styles, time_axis
from fpsolve.scores import evaluate

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

#: Colours are linear up to this quantile of the sizes, and logarithmic beyond it.
_LINEAR = 0.5


def drift_and_score(
    run: xr.Dataset, reverse: Any, *, weight: Any = None, level: float | None = None, axis: TimeAxis = "auto",
    ax: Any = None,
) -> Any:  # fmt: skip
    r"""Draw the drift and the score of a run in 1D over time and position, with a level set of V and the sign of L V.

    .. math:: L_t V = b(t, x)\, V'(x) + \tfrac12 c(t)^2\, V''(x),

    by central differences of V at half a cell; dots are where it is negative, so that V falls on average. Black: the
    level set ``{V <= level}``.

    Parameters
    ----------
    run : Dataset
        What `fpsolve.evolve` returned: its times and positions are drawn, those that its density reaches.
    reverse : Reverse
        The dynamics of the run.
    weight : weight, optional
        V; default ``1 + |x|^2``.
    level : float, optional
        Default twice the mean of V at the end of the run, so that at least half of the mass is inside (Markov).
    axis : {"auto", "r", "t", "clock", "log-snr"}
        As for `density`.
    ax : sequence of two Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    array of Axes, shape (2,)
        Drift per unit of reverse time, and score per unit of x; colours are linear in the smaller half of the sizes
        and logarithmic beyond.

    Raises
    ------
    ValueError
        A run in 2D, dynamics without a score.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> run = fp.evolve(reverse, fp.Gaussian(2.0, std=0.5), t_min=0.01, tol=1e-2)
    >>> [one.get_title() for one in drift_and_score(run, reverse)]
    ['drift $b(t, x)$', 'score $s(t, x)$']
    """
    import matplotlib.pyplot as plt

    run = _runs.tidy(run)
    _checks.instance("reverse", reverse, BaseDynamics, "the dynamics of the run, such as fp.Reverse(...)")
    if run["density"].ndim != 3 or not hasattr(reverse, "score"):
        raise _checks.error("run", "a run in 1D of reverse dynamics", "another", "in 2D draw fp.plots.streamlines")
    made = plt.subplots(1, 2, figsize=(10.0, 4.0), layout="constrained")[1] if ax is None else ax
    axes = np.ravel(np.asarray(made, dtype=object))
    q, place, _, label = in_frame(run, run["density"].isel(start=0))
    x, times = np.broadcast_to(run["x"].values, q.shape), run["t"].values
    h = 0.5 * np.diff(x, axis=1)[:, :1]
    below, here, above = (weights.evaluate(weight, one) for one in (x - h, x, x + h))
    drift = np.stack([reverse.drift(float(t), one) for t, one in zip(times, x, strict=True)])
    noise = np.array([float(reverse.noise(float(t))) for t in times])[:, None]
    generator = drift * (above - below) / (2.0 * h) + 0.5 * noise**2 * (above - 2.0 * here + below) / h**2
    mean = float(np.average(here[-1], weights=np.maximum(run["density"].values[0, -1], 0.0)))
    level = 2.0 * mean if level is None else _checks.finite("level", level)
    score = np.stack([reverse.score(float(t), one) for t, one in zip(times, x, strict=True)])
    r = np.broadcast_to(run["reverse_time"].values[:, None], q.shape)
    drawn = {"drift $b(t, x)$": (drift, "x per unit of reverse time"), "score $s(t, x)$": (score, "per unit of x")}
    for one, (title, (values, unit)) in zip(axes, drawn.items(), strict=True):
        _picture(one, r, place, values, reached(place, q), unit)
        one.contourf(r, place, generator, levels=[-np.inf, 0.0], colors="none", hatches=[".."])
        one.contour(r, place, here, levels=[level], colors="black", linewidths=1.4)
        one.set(title=title, ylabel=label, ylim=reached(place, q))
        time_axis(one, times, axis, run)
        one.set_xlim(r.min(), r.max())
    parent(axes[0]).supxlabel(
        f"black: $V = {level:.3g}$; dots: $L V < 0$, where $V$ falls on average", fontsize="small"
    )
    return axes


def _picture(ax: Axes, r: Array, place: Array, values: Array, shown: tuple[float, float], unit: str) -> None:
    """Signed values in colours, on a scale of what is shown."""
    from matplotlib.colors import SymLogNorm

    sizes = np.abs(values[(place >= shown[0]) & (place <= shown[1])])
    norm = SymLogNorm(max(float(np.quantile(sizes, _LINEAR)), 1e-300), vmin=-sizes.max(), vmax=sizes.max())
    mesh = ax.pcolormesh(r, place, values, norm=norm, cmap="RdBu_r", shading="gouraud", rasterized=True)
    parent(ax).colorbar(mesh, ax=ax, pad=0.02).set_label(unit)


def streamlines(
    run: xr.Dataset, reverse: Any, *, start: str | None = None, t: float | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the drift of a run in 2D at one time as stream lines over the density.

    Parameters
    ----------
    run : Dataset
        What `fpsolve.evolve` returned.
    reverse : Reverse
        The dynamics of the run.
    start : str, optional
        Label of the start; may be left out where there is only one.
    t : float, optional
        Forward time, the nearest saved one is shown; default one after two thirds of what the density changes.
    ax : Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Lines are wider where the drift is larger; the colour bar of the density belongs to the figure.

    Raises
    ------
    ValueError
        A run in 1D.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian([0.5, 0.0], std=0.5), fp.VP())
    >>> run = fp.evolve(reverse, fp.Gaussian([1.0, 0.0], std=0.5), t_min=0.1, tol=0.3)
    >>> streamlines(run, reverse).get_ylabel()
    'position $y$'
    """
    run = _runs.tidy(run)
    _checks.instance("reverse", reverse, BaseDynamics, "the dynamics of the run, such as fp.Reverse(...)")
    values = run["density"].sel(start=label_of(run, start))
    if values.ndim != 3:
        raise _checks.error("run", "a run in 2D", "one in 1D", "draw fp.plots.drift_and_score")
    wanted = None if t is None else _checks.finite("t", t)
    k = equal_changes(run, values)[-2:][0] if wanted is None else int(np.argmin(np.abs(run["t"].values - wanted)))
    at, q = float(run["t"][k]), np.asarray(values.values[k], dtype=np.float64)
    x, y = (np.broadcast_to(run[name].values, (run.sizes["t"], q.shape[n]))[k] for n, name in enumerate(("x", "y")))
    ax = new_axes(5.6, 4.6) if ax is None else ax
    mesh = ax.pcolormesh(x, y, q.T, vmin=0.0, cmap=COLOURS, shading="gouraud", rasterized=True)
    limits = reached(x, q.max(axis=1)), reached(y, q.max(axis=0))
    ends = [np.linspace(*pair, PLACES) for pair in limits]
    drift = reverse.drift(at, np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1))
    speed = np.hypot(drift[..., 0], drift[..., 1]).T
    width = 0.4 + 1.6 * speed / max(float(speed.max()), 1e-300)
    ax.streamplot(ends[0], ends[1], drift[..., 0].T, drift[..., 1].T, color="white", linewidth=width, arrowsize=0.8)
    ax.set(xlim=limits[0], ylim=limits[1], xlabel=axis_label(run, "x"), ylabel=axis_label(run, "y"), aspect="equal")
    ax.set_title(f"$t = {at:.3g}$: drift over the density", fontsize="medium")
    parent(ax).colorbar(mesh, ax=ax, pad=0.02).set_label("density (per unit of area)")
    return ax


def phase_line(flow: Any, points: StationaryPoints, *, legend: bool = True, ax: Axes | None = None) -> Axes:
    """Draw a 1D autonomous flow: its speed over position, the stationary points by kind, arrows where it goes.

    Parameters
    ----------
    flow : ProductScore or callable ``S(x)``
        A drift at one time: ``lambda x: reverse.drift(t, x)``.
    points : StationaryPoints
        What `fpsolve.flows.stationary_points` found; its box is what is drawn.
    legend : bool, default True
        Whether to add a legend.
    ax : Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        Stationary points in 2D.

    Examples
    --------
    >>> import fpsolve as fp
    >>> found = fp.flows.stationary_points(lambda x: x - x**3, (-2, 2))
    >>> [text.get_text() for text in phase_line(lambda x: x - x**3, found).get_legend().get_texts()]
    ['attracting', 'repelling']
    """
    _checks.flag("legend", legend)
    _checks.instance("points", points, StationaryPoints, "what fpsolve.flows.stationary_points returns")
    if points.at.ndim != 1:
        raise _checks.error("points", "stationary points in 1D", "2D", "draw fp.plots.phase_portrait")
    ax = new_axes(6.4, 3.4) if ax is None else ax
    low, high = np.ravel(points.box)
    x = np.linspace(low, high, 801)
    speed = evaluate(field_of(flow), x)
    ax.axhline(0.0, color="0.6", linewidth=0.8, zorder=1)
    ax.plot(x, speed, color=PALETTE[0], linewidth=1.5)
    ends = np.array([low, *points.at, high])
    between = 0.5 * (ends[1:] + ends[:-1])
    ax.quiver(
        between, np.zeros(between.size), np.sign(evaluate(field_of(flow), between)), 0.0, scale=18.0, width=0.008,
        color=PALETTE[1], pivot="middle", zorder=4,
    )  # fmt: skip
    markers_of(ax, points)
    ax.set(xlim=(low, high), xlabel="position $x$", ylabel="speed $S(x)$, per unit of time")
    if legend and points.at.size:
        ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return ax


def animation(run: xr.Dataset, *, start: str | None = None, frames: int = 60) -> Any:
    """Return the run as a film: in 1D the densities of all starts, in 2D the picture of one.

    Parameters
    ----------
    run : Dataset
        What `fpsolve.evolve` returned.
    start : str, optional
        Label of the start; 1D: default all, each in its colour.
    frames : int, default 60
        At most so many saved times are shown, evenly spaced among them.

    Returns
    -------
    matplotlib.animation.FuncAnimation
        ``save("run.gif", writer="pillow")`` writes it, ``to_jshtml()`` is HTML that plays in a notebook; neither
        needs ffmpeg. In 2D, where the scale of a run changes more than tenfold
        (VE, EDM), axes and colours are those of each frame.

    Raises
    ------
    ValueError
        An unknown start, none in 2D where there are several.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> run = fp.evolve(reverse, fp.Gaussian(2.0, std=0.5), t_min=0.01, tol=1e-2)
    >>> "<img" in animation(run, frames=3).to_jshtml()
    True
    """
    from matplotlib.animation import FuncAnimation

    run, most = _runs.tidy(run), _checks.integer("frames", frames, minimum=2)
    ax = new_axes(6.4, 4.0) if run["density"].ndim == 3 else new_axes(5.6, 4.6)
    shown = np.unique(np.linspace(0, run.sizes["t"] - 1, min(most, run.sizes["t"])).round()).astype(int)
    draw = _film_1d(run, start, ax) if run["density"].ndim == 3 else _film_2d(run, label_of(run, start), ax, shown)
    return FuncAnimation(parent(ax).get_figure(root=True), draw, frames=shown.tolist(), interval=100)


def _film_1d(run: xr.Dataset, start: str | None, ax: Axes) -> Callable[[int], Sequence[Any]]:
    """What draws frame k: one line per start, on axes that hold every frame."""
    labels = [str(label) for label in run["start"].values] if start is None else [label_of(run, start)]
    look = styles([str(label) for label in run["start"].values])
    films = {label: in_frame(run, run["density"].sel(start=label)) for label in labels}
    lines = {one: ax.plot([], [], color=look[one].colour, ls=look[one].dashes, label=one)[0] for one in labels}
    ends = np.array([reached(x, q) for q, x, *_ in films.values()])
    # a narrow start may leave the picture, as in the heat map
    top = max(float(q[len(q) // 2 :].max()) for q, *_ in films.values())
    _, _, unit, title = films[labels[0]]
    ax.set(xlim=(ends.min(), ends.max()), ylim=(0.0, 1.05 * top), xlabel=title, ylabel=f"density (per unit of {unit})")
    ax.legend(frameon=False, fontsize="small", loc="upper right")

    def draw(k: int) -> Sequence[Any]:
        for label, line in lines.items():
            q, x, *_ = films[label]
            line.set_data(x[k], q[k])
        return [*lines.values(), _at_time(run, k, ax)]

    return draw


def _film_2d(run: xr.Dataset, label: str, ax: Axes, shown: Any) -> Callable[[int], Sequence[Any]]:
    """What draws frame k: the picture of one start."""
    q = np.asarray(run["density"].sel(start=label).values, dtype=np.float64)
    corners = [positions(run, name, k) for k in range(len(q)) for name in ("x", "y")]
    # a frame that moves has its own axes and colours
    own = moves(corners)
    common = panel_limits(q[shown], [corners[2 * k + n] for k in shown for n in (0, 1)])
    top = None if own else float(q[len(q) // 2 :].max())

    def draw(k: int) -> Sequence[Any]:
        ax.clear()
        x, y = corners[2 * k : 2 * k + 2]
        mesh = ax.pcolormesh(x, y, q[k].T, vmin=0.0, vmax=top, cmap=COLOURS, shading="gouraud", rasterized=True)
        limits = panel_limits(q[k : k + 1], [x, y]) if own else common
        ax.set(xlim=limits[0], ylim=limits[1], xlabel=axis_label(run, "x"), ylabel=axis_label(run, "y"), aspect="equal")
        return [mesh, _at_time(run, k, ax)]

    return draw


def _at_time(run: xr.Dataset, k: int, ax: Axes) -> Any:
    return ax.set_title(f"$t = {float(run['t'][k]):.3g}$, $r = {run_time(run)[0][k]:.3g}$", fontsize="medium")

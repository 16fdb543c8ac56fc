"""Figures of many runs or numbers: ensembles, ranks, particles against the grid, convergence, divergences over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, _runs
from fpsolve.laws import Law
from fpsolve.particles import dkw_band
from fpsolve.plots._style import (
    PALETTE,
    Legend,
    TimeAxis,
    axis_label,
    finished,
    label_of,
    new_axes,
    positive,
    require,
    styles,
    time_axis,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def ensemble(run: xr.Dataset, *, t: float | None = None, exact: Law | None = None, ax: Axes | None = None) -> Axes:
    """Draw the densities of an ensemble in 1D at one time: thin lines per path, their mean, the law without noise.

    Parameters
    ----------
    run : Dataset
        What `fpsolve.stochastic.evolve` returned.
    t : float, optional
        Forward time, the nearest saved one is shown; default the last of the run.
    exact : Law, optional
        Drawn dashed: the marginal without noise, say.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        A run without paths, or in 2D.

    Examples
    --------
    >>> import fpsolve as fp
    >>> ou, noise = fp.Dynamics(lambda t, x: -x, 2**0.5), fp.stochastic.constant(0.09)
    >>> grid = fp.Grid.uniform((-8, 8), cells=80)
    >>> start = fp.Gaussian(1.0, std=0.8)
    >>> run = fp.stochastic.evolve(ou, start, noise, grid=grid, steps=20, paths=3, seed=0, t_max=0.5)
    >>> len(ensemble(run).lines)
    4
    """
    require("run", run, ("density",), "fpsolve.stochastic.evolve")
    if run["density"].dims != ("path", "t", "x"):
        got = ", ".join(map(str, run["density"].dims))
        raise _checks.error(
            "run", "an ensemble in 1D, density (path, t, x)", got, "pass what stochastic.evolve returned"
        )
    if exact is not None:
        _checks.instances(exact=(exact, Law))
    at = run["t"][-1] if t is None else _checks.finite("t", t)
    ax = new_axes() if ax is None else ax
    shown = run["density"].sel(t=at, method="nearest")
    ax.plot(run["x"], shown.T, color=PALETTE[5], linewidth=0.6, alpha=0.6)
    ax.plot(run["x"], shown.mean("path"), color=PALETTE[1], linewidth=1.8, label=f"mean over {run.sizes['path']} paths")
    if exact is not None:
        ax.plot(
            run["x"], exact.density(run["x"].values), color="k", linestyle="--", linewidth=1.0, label="without noise"
        )
    ax.set(xlabel=axis_label(run, "x"), ylabel=f"density at $t = {float(shown['t']):.3g}$")
    ax.margins(x=0.0)
    return ax


Array = NDArray[np.float64]

_MARKERS = ("o", "s", "^", "D", "v", "P")


def metric_against_distance(
    cases: xr.Dataset,
    *,
    metric: str = "metric",
    distance: str = "weighted_tv",
    share: float | None = 1.0,
    ranks: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw a metric of score errors against the distance they cause, one point per error, one marker per family.

    Parameters
    ----------
    cases : Dataset
        `metric` (case[, share]) and `distance` (case), with the coordinate `family` (case).
    metric, distance : str
        Names of the variables.
    share : float, optional
        Which share of the trajectory, where the metric has several.
    ranks : bool
        Draw ranks instead of values (which are on logarithmic axes).
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        A Dataset without these variables or families.
    """
    _checks.flag("ranks", ranks)
    for name in (metric, distance, "family"):
        if name not in cases:
            raise _checks.error("cases", f"a Dataset with {name!r}", f"one with {', '.join(map(str, cases))}")
    ax = new_axes() if ax is None else ax
    values = cases[metric] if "share" not in cases[metric].dims else cases[metric].sel(share=share)
    x, y = (np.asarray(v.values, dtype=np.float64) for v in (values, cases[distance]))
    if ranks:
        x, y = _ranks(x), _ranks(y)
    families = np.asarray(cases["family"].values)
    for k, family in enumerate(dict.fromkeys(families.tolist())):
        mine = families == family
        ax.plot(
            x[mine], y[mine], linestyle="none", marker=_MARKERS[k % len(_MARKERS)], markersize=5,
            markerfacecolor="none", markeredgecolor=PALETTE[k % len(PALETTE)], label=str(family),
        )  # fmt: skip
    if ranks:
        ax.plot([1, len(x)], [1, len(x)], color="0.8", linewidth=0.8, zorder=0)
        ax.set(xlabel="rank of the metric", ylabel="rank of the distance", aspect="equal")
    else:
        ax.set(xscale="log", yscale="log", xlabel="SIEM-like metric", ylabel="distance at the end")
    ax.grid(True, which="major", color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    return ax


def rank_correlations(
    found: xr.Dataset, *, rows: dict[str, dict[str, Any]], distances: dict[str, str], ax: Axes | None = None
) -> Axes:
    """Draw rank correlations with their intervals, one row each, one marker per distance.

    Parameters
    ----------
    found : Dataset
        `value`, `low`, `high` over (distance, ...).
    rows : dict of str to dict
        Label of every row, top to bottom, and the selection in `found` that it shows.
    distances : dict of str to str
        Labels of the distances by their names in `found`.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = new_axes() if ax is None else ax
    for k, (name, label) in enumerate(distances.items()):
        shift = 0.16 * (k - 0.5 * (len(distances) - 1))
        some = [found.sel(distance=name, **selection) for selection in rows.values()]
        value, low, high = (np.array([float(one[part]) for one in some]) for part in ("value", "low", "high"))
        known = np.isfinite(value)
        at = np.arange(len(rows))[known] + shift
        ax.hlines(at, low[known], high[known], color=PALETTE[k], linewidth=1.6)
        ax.plot(value[known], at, linestyle="none", marker=_MARKERS[k], color=PALETTE[k], markersize=5, label=label)
    ax.axvline(0.0, color="0.6", linewidth=0.8)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set(xlim=(-0.5, 1.02), xlabel="Spearman's rank correlation", ylim=(len(rows) - 0.5, -0.5))
    ax.grid(True, axis="x", color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    return ax


def _ranks(values: Array) -> Array:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values), dtype=np.float64)


def cumulative(
    run: xr.Dataset, cloud: xr.Dataset, *, start: str | None = None, t: float | None = None, level: float = 1e-3,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    r"""Draw the distribution function of particles less that of the grid in 1D, with the band of a right one.

    .. math:: |F_n - F| \leq \sqrt{\log(2/\mathrm{level}) / (2n)}

    at all x at once, with probability 1 - level (Dvoretzky, Kiefer and Wolfowitz); the grid's own error, half of its
    estimate and the mass outside, is added.

    Parameters
    ----------
    run : Dataset
        What `fpsolve.evolve` returned.
    cloud : Dataset
        What `fpsolve.particles.simulate` returned, with positions.
    start : str, optional
        Label of the start; may be left out where there is only one.
    t : float, optional
        Forward time, the nearest that both have is shown; default the last of the cloud.
    level : float, default 1e-3
        Probability of a false alarm.
    ax : Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        2D, a cloud without positions, a time that the run has not saved.

    References
    ----------
    Massart 1990, doi:10.1214/aop/1176990746.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> run = fp.evolve(reverse, fp.Gaussian(2.0, std=0.5), t_min=0.01, tol=1e-2)
    >>> cloud = fp.particles.simulate(reverse, fp.Gaussian(2.0, std=0.5), n=1000, steps=50, t_min=0.01, seed=0)
    >>> cumulative(run, cloud).get_xlabel()
    'position $x$'
    """
    run = _runs.tidy(run)
    require("cloud", cloud, ("position",), "fpsolve.particles.simulate")
    level = _checks.interval("level", level, 0.0, 1.0, ends="()")
    values = run["density"].sel(start=label_of(run, start))
    if values.ndim != 2:
        raise _checks.error("run", "a run in 1D", "one in 2D", "see fp.particles.compare")
    place = -1 if t is None else int(np.argmin(np.abs(cloud["t"].values - _checks.finite("t", t))))
    at = float(cloud["t"][place])
    k = int(np.argmin(np.abs(run["t"].values - at)))
    if abs(float(run["t"][k]) - at) > 1e-9 * max(1.0, at):
        raise _checks.error("run", f"a run saved at t = {at:g}, as the cloud", "none", f"evolve(..., save_at=[{at:g}])")
    x = np.broadcast_to(run["x"].values, values.shape)[k]
    h = float(x[1] - x[0])
    mass = np.concatenate([[0.0], np.cumsum(values.values[k]) * h])
    faces = np.append(x - 0.5 * h, x[-1] + 0.5 * h)
    points = np.sort(np.asarray(cloud["position"].isel(t=place).values, dtype=np.float64).ravel())
    gap = np.searchsorted(points, faces, side="right") / points.size - mass
    error = [float(run[name].sel(start=label_of(run, start)).values[k]) for name in ("error_estimate", "tail")]
    half = dkw_band(points.size, level) + 0.5 * error[0] + error[1]
    ax = new_axes(6.4, 3.4) if ax is None else ax
    ax.axhspan(-half, half, color=PALETTE[5], alpha=0.3, lw=0.0, label=f"band of a right grid, false alarm {level:g}")
    ax.axhline(0.0, color="0.6", linewidth=0.8)
    ax.plot(faces, gap, color=PALETTE[1], drawstyle="steps-mid", label=f"$F_n - F$, $n = {points.size}$")
    ax.set(xlabel=axis_label(run, "x"), ylabel="particles less grid", title=f"$t = {at:.3g}$")
    ax.set_xlim(points[0] - h, points[-1] + h)
    return finished(ax, "right")


def convergence(
    error: xr.DataArray, *, over: str, bar: xr.DataArray | None = None, orders: Sequence[int] | None = None,
    legend: Legend = "right", ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw errors against the numbers of cells or steps, on logarithmic axes, with slope triangles.

    Parameters
    ----------
    error : DataArray
        Positive errors over one dimension, or a second one with a line for each of its labels.
    over : str
        The coordinate with the numbers: cells, steps, evaluations; it may differ from line to line.
    bar : DataArray, optional
        Error bars of the errors.
    orders : sequence of int, optional
        Slopes of the triangles; default the rounded fits from 1 to 6.
    legend : {"right", "below", "none"}
    ax : Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The legend gives the order fitted to each line by least squares.

    Raises
    ------
    ValueError
        No such coordinate, an error that is not positive, fewer than two numbers.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> error = xr.DataArray(3.0 / np.array([10, 20, 40]) ** 2, dims="cells", coords={"cells": [10, 20, 40]})
    >>> [text.get_text() for text in convergence(error, over="cells").get_legend().get_texts()]
    ['error: order 2.00']
    """
    import xarray as xr

    over = _checks.label("over", over)
    if over not in getattr(error, "coords", {}) or error[over].size < 2 or not bool((error > 0.0).all()):
        raise _checks.error("error", f"a DataArray of positive errors over {over!r}, two at least", repr(error)[:60])
    ax = new_axes(6.4, 4.4) if ax is None else ax
    along = str(error[over].dims[-1])
    rest = [str(name) for name in error.dims if name != along]
    lines = {str(one[rest[0]].item()): one for one in error.transpose(*rest, along)} if rest else {"error": error}
    fits: list[float] = []
    if bar is not None:
        _checks.instances(bar=(bar, xr.DataArray))
    for (name, one), color, marker in zip(lines.items(), cycle(PALETTE), cycle(_MARKERS), strict=False):
        n, values = one[over].values.astype(float), one.values
        fits.append(-float(np.polyfit(np.log(n), np.log(values), 1)[0]))
        off = None if bar is None else (bar.sel({rest[0]: name}) if rest else bar).values
        ax.errorbar(n, values, off, color=color, marker=marker, capsize=2.0, label=f"{name}: order {fits[-1]:.2f}")
    ax.set(xscale="log", yscale="log", xlabel=over, ylabel="error")
    ticks = np.unique(error[over].values)
    seen = sorted({round(fit) for fit in fits} & {1, 2, 3, 4, 5, 6})
    wanted = seen if orders is None else _checks.finite_array("orders", orders, shape=(None,)).tolist()
    slope_triangles(ax, ticks, float(error.min()), wanted)
    ax.set_xticks(ticks, [f"{one:g}" for one in ticks], minor=False)
    ax.minorticks_off()
    return finished(ax, legend)


def slope_triangles(ax: Axes, n: Array, least: float, orders: Sequence[float]) -> None:
    """One triangle per slope, a fifth of the axis wide, standing on its foot below the least error."""
    span, foot = float(n[-1] / n[0]), 0.3 * least
    for place, slope in enumerate(orders):
        left, top = float(n[0]) * span ** (0.05 + 0.3 * place), foot * span ** (0.2 * slope)
        ax.fill([left, left, left * span**0.2], [top, foot, foot], facecolor="0.85", edgecolor="0.4", linewidth=0.8)
        at = (left, (top * foot) ** 0.5)
        ax.annotate(f"{slope:g}", at, (-3, 0), textcoords="offset points", ha="right", va="center")


def divergences(found: Mapping[str, xr.Dataset], *, axis: TimeAxis = "auto", ax: Any = None) -> Any:
    """Draw divergences and distances over time, each kind in a panel of its own, every start in its colour.

    Parameters
    ----------
    found : mapping of str to Dataset
        ``{"KL": fp.distances.kl(...), "chi-square": fp.distances.chi2(...), "W2": fp.distances.wasserstein(..., 2)}``:
        distance and error over (start, t). Errors are bands.
    axis : {"auto", "r", "t", "clock", "log-snr"}
        As for `forgetting`.
    ax : sequence of Axes, optional
        One per kind; default a new figure.

    Returns
    -------
    array of Axes

    Raises
    ------
    ValueError
        No mapping of such Datasets, as many axes as kinds not given.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> starts = {"exact": reverse.marginal(1.0), "far": fp.Gaussian(2.0, std=0.5)}
    >>> run = fp.evolve(reverse, starts, t_min=0.1, tol=1e-2)
    >>> exact = run.density.sel(start="exact")
    >>> [one.get_ylabel() for one in divergences({"KL": fp.distances.kl(run.density, exact)})]
    ['KL']
    """
    import matplotlib.pyplot as plt

    if not isinstance(found, Mapping) or not found:
        raise _checks.error("found", 'Datasets by name, {"KL": fp.distances.kl(...)}', repr(found)[:60])
    for name, one in found.items():
        require(f"found[{name!r}]", one, ("distance", "error", "reverse_time"), "fpsolve.distances.kl")
    size = (4.2 * len(found), 3.6)
    made = plt.subplots(1, len(found), figsize=size, layout="constrained", squeeze=False)[1][0] if ax is None else ax
    axes = np.ravel(np.asarray(made, dtype=object))
    if len(axes) != len(found):
        raise _checks.error("ax", f"{len(found)} axes, one per kind", f"{len(axes)}")
    for panel, (name, one) in zip(axes, found.items(), strict=True):
        r, look = one["reverse_time"].values, styles([str(label) for label in one["start"].values])
        for label, style in look.items():
            value, off = positive(one["distance"].sel(start=label).values), one["error"].sel(start=label).values
            if np.isnan(value).all():  # the reference itself
                continue
            panel.plot(r, value, color=style.colour, linestyle=style.dashes, label=label)
            low = np.fmax(value - off, 1e-3 * np.nanmin(value))
            panel.fill_between(r, low, value + off, color=style.colour, alpha=0.25, linewidth=0)
        panel.set(yscale="log", ylabel=name)
        panel.set_ylim(bottom=max(panel.get_ylim()[0], 0.2 * float(np.nanmin(positive(one["distance"].values)))))
        time_axis(panel, one["t"].values, axis, one)
        finished(panel, "none")
    axes[-1].legend(frameon=False, fontsize="small")
    return axes

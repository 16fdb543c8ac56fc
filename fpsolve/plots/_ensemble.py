"""Figures of ensembles: spread and ranks.

Densities of an ensemble at one time: a line per path, their mean, and what they are held against.

Figures of rank correlations: a metric against a distance, and correlations with their intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve.laws import Law
from fpsolve.plots._style import PALETTE, axis_label, new_axes, require

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

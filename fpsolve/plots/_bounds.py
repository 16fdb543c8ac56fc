"""Bounds beside the measurement: the ladder on one log axis, its ratios, the contraction of every block, and Harris'
contraction against the level R of the localization set, with the overlaps it is made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, _runs
from fpsolve.bounds import Localization
from fpsolve.plots._style import (
    DASHES,
    KEY,
    LINES,
    MARKERS,
    PALETTE,
    STRIP,
    Legend,
    TimeAxis,
    bound_label,
    finished,
    hatch,
    label_of,
    line_of,
    new_axes,
    positive,
    require,
    time_axis,
    weight_formula,
    words_of,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


Array = NDArray[np.float64]

_INK = "0.15"


#: Whose factors are those of the single coefficients, or of another norm.
_NOT_HERE = ("product", "Poincare")
# what `ladder` returns, whatever the starts
_DRAWN = ("start", "bound", "reverse_time", "measured", "measured_error", "factor")


def ladder(
    found: xr.Dataset,
    *,
    start: str | None = None,
    curve: xr.Dataset | None = None,
    legend: Legend = "right",
    axis: TimeAxis = "auto",
    ax: Axes | None = None,
) -> Axes:
    r"""Draw the distance of one start and every bound on it over reverse time, on one log scale.

    Bounds are steps: known at the markers, each is held until the next one is known. Proved bounds are solid,
    certified ones dashed, estimated ones and the measurement dotted; where a bound has no certificate there is a gap,
    and a hatched strip in its colour at the top.

    Parameters
    ----------
    found : Dataset
        What `fpsolve.bounds.ladder` returned.
    start : str, optional
        Label of the start; may be left out where there is only one.
    curve : Dataset, optional
        What `fpsolve.forgetting_curve` returned for the same start and norm: drawn as a line through the measured
        points.
    legend : {"right", "below", "none"}
        Where the legend goes, always off the axes.
    axis : {"auto", "r", "t", "clock", "log-snr"}
        Reverse time, or forward time on a log scale; "auto" takes the latter where half of the times crowd at the end.
    ax : Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        An unknown start, a curve of other dynamics.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> made = fp.bounds.ladder(reverse, grid=fp.Grid.uniform((-9, 9), cells=60), blocks=2)
    >>> ladder(made).get_yscale()
    'log'
    """
    require("found", found, _DRAWN, "fpsolve.bounds.ladder")
    if curve is not None:
        require("curve", curve, ("distance", "start", "reverse_time"), "fpsolve.forgetting_curve")
        _runs.require_same_dynamics(curve.attrs, found.attrs, ("curve", "found"))
    label = label_of(found, start)
    ax = new_axes(7.5, 4.2) if ax is None else ax
    r = _reverse_time(found)
    if curve is not None:
        one = curve["distance"].sel(start=label)
        look = line_of(str(curve.attrs.get("status", "")))
        ax.plot(_reverse_time(curve), positive(one.values), color=_INK, linewidth=1.6, linestyle=look, zorder=3)
    measured, error = (found[name].sel(start=label).values for name in ("measured", "measured_error"))
    line = "none" if curve is not None else ":"
    ax.errorbar(r, positive(measured), error, color=_INK, marker="o", linestyle=line, label="measured", zorder=4)
    for bound, style in bound_styles(found).items():
        values = positive(found[label].sel(bound=bound).values)
        ax.plot(r, values, drawstyle="steps-post", label=bound_label(found, bound), **style)
    lacking = {bound: found[label].sel(bound=bound).values[1:] for bound in bound_styles(found)}
    hatch(ax, r, lacking, _colours(found))
    ax.set(yscale="log", ylabel=f"weighted total variation, {weight_formula(found, 'norm')}")
    ax.margins(x=0.02)
    time_axis(ax, found["t"].values, axis, found)
    return finished(ax, legend, KEY)


def ratio(
    found: xr.Dataset,
    *,
    start: str | None = None,
    legend: Legend = "right",
    axis: TimeAxis = "auto",
    ax: Axes | None = None,
) -> Axes:
    r"""Draw how many times larger than the measured distance every bound is, at the block boundaries.

    Parameters
    ----------
    found, start, legend, axis, ax
        As for `ladder`, hatched strips included. A value below the line at 1 would be a bound that is violated.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> made = fp.bounds.ladder(reverse, grid=fp.Grid.uniform((-9, 9), cells=60), blocks=2)
    >>> ratio(made).get_ylabel()
    'bound / measured'
    """
    require("found", found, _DRAWN, "fpsolve.bounds.ladder")
    label = label_of(found, start)
    ax = new_axes(7.5, 3.0) if ax is None else ax
    measured = positive(found["measured"].sel(start=label).values)[1:]
    ax.axhline(1.0, color=_INK, linewidth=1.2)
    for bound, style in bound_styles(found).items():
        values = found[label].sel(bound=bound).values[1:] / measured
        ax.plot(_reverse_time(found)[1:], values, drawstyle="steps-post", label=bound_label(found, bound), **style)
    lacking = {bound: found[label].sel(bound=bound).values[1:] for bound in bound_styles(found)}
    hatch(ax, _reverse_time(found), lacking, _colours(found))
    ax.set(yscale="log", ylabel="bound / measured")
    ax.margins(x=0.02)
    time_axis(ax, found["t"].values, axis, found)
    return finished(ax, legend, KEY)


def factors(found: xr.Dataset, *, legend: Legend = "right", axis: TimeAxis = "auto", ax: Axes | None = None) -> Axes:
    """Draw the contraction of every single block, as a bar of the block's length for each kind of bound.

    Above the line at 1 nothing contracts; a bound without a certificate for a block has no bar there but a hatched
    strip in its colour at the top. Lines are dashed as in `ladder`. The bounds are
    those of one block each in the ladder's weight: Poincare's, which is in chi-square, is left out.

    Parameters
    ----------
    found, legend, axis, ax
        As for `ladder`.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> made = fp.bounds.ladder(reverse, grid=fp.Grid.uniform((-9, 9), cells=60), blocks=2)
    >>> factors(made).get_ylabel()
    'contraction of the block'
    """
    require("found", found, _DRAWN, "fpsolve.bounds.ladder")
    ax = new_axes(7.5, 3.0) if ax is None else ax
    r, styles = _reverse_time(found), bound_styles(found)
    ax.axhline(1.0, color=_INK, linewidth=1.2)
    # the factors of a product are those of the single coefficients
    for bound in (str(b) for b in found["bound"].values if not str(b).startswith(_NOT_HERE)):
        style, values = styles[bound], found["factor"].sel(bound=bound).values
        ax.plot([], [], label=bound_label(found, bound), **style)
        ax.hlines(values, r[:-1], r[1:], color=style["color"], linestyle=style["linestyle"], linewidth=1.6)
        middle = 0.5 * (r[:-1] + r[1:])
        ax.plot(middle, values, linestyle="none", **{k: style[k] for k in ("color", "marker", "markersize")})
    drawn = {b: found["factor"].sel(bound=b).values for b in styles if not b.startswith(_NOT_HERE)}
    strips = hatch(ax, r, drawn, _colours(found))
    highest = np.nanmax([1.0, *np.concatenate(list(drawn.values()))])
    # the strips hide no bar
    ax.set(ylim=(0.0, 1.05 * highest / (1.0 - STRIP * strips)), ylabel="contraction of the block")
    ax.margins(x=0.02)
    time_axis(ax, found["t"].values, axis, found)
    return finished(ax, legend, KEY)


def overview(
    found: xr.Dataset, *, start: str | None = None, curve: xr.Dataset | None = None, axis: TimeAxis = "auto"
) -> Any:
    """Draw a ladder whole: the distance with its bounds, bound over measurement, and a table of the blocks below.

    Parameters
    ----------
    found, start, curve, axis
        As for `ladder`.

    Returns
    -------
    array of Axes, shape (3,)
        In a new figure. The table has a row per block: the share of the distance that it leaves and the contraction
        that every kind of bound has for it, "none" without a certificate. The last row is the run: what is left, and
        what each bound leaves, of the distance at the start.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> made = fp.bounds.ladder(reverse, grid=fp.Grid.uniform((-9, 9), cells=60), blocks=2)
    >>> len(overview(made)[2].tables[0].get_celld())
    20
    """
    import matplotlib.pyplot as plt

    require("found", found, _DRAWN, "fpsolve.bounds.ladder")
    label, t = label_of(found, start), found["t"].values
    size = (8.5, 6.4 + 0.26 * len(t))
    axes = plt.subplots(3, 1, figsize=size, layout="constrained", height_ratios=(1.5, 1.0, 0.12 * (len(t) + 1)))[1]
    ladder(found, start=label, curve=curve, axis=axis, ax=axes[0])
    ratio(found, start=label, legend="none", axis=axis, ax=axes[1])
    axes[1].set_xlim(*axes[0].get_xlim())
    kinds = [str(bound) for bound in found["bound"].values if not str(bound).startswith(_NOT_HERE)]
    measured = found["measured"].sel(start=label).values
    # of a distance of zero there are no shares
    before = positive(measured)
    columns = [measured[1:] / before[:-1], *(found["factor"].sel(bound=kind).values for kind in kinds)]
    rows = [
        [f"{a:.4g} to {b:.4g}", *map(_share, shares)] for a, b, *shares in zip(t[:-1], t[1:], *columns, strict=True)
    ]
    last = [measured[-1], *(float(found[label].sel(bound=kind)[-1]) for kind in kinds)]
    rows.append([f"{t[0]:.4g} to {t[-1]:.4g}", *(_share(float(value / before[0])) for value in last)])
    axes[2].table(
        rows, colLabels=["block", "measured", *kinds], loc="upper center", cellLoc="right", edges="horizontal"
    )
    axes[2].set_axis_off()
    return axes


def _share(value: float) -> str:
    return "none" if np.isnan(value) else f"{value:.4g}"


def bound_styles(found: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Colour and marker of every bound, by its place in the ladder, and dashes by what it is, where that is known."""
    return {
        bound: {
            "color": PALETTE[k % len(PALETTE)],
            "linestyle": LINES.get(word, DASHES[k % len(DASHES)]),
            "marker": MARKERS[k % len(MARKERS)],
            "markersize": 5.0,
            "linewidth": 1.3,
        }
        for k, (bound, word) in enumerate(words_of(found).items())
    }


def _colours(found: xr.Dataset) -> dict[str, Any]:
    return {bound: style["color"] for bound, style in bound_styles(found).items()}


def _reverse_time(data: xr.Dataset) -> Array:
    return np.asarray(data["reverse_time"].values, dtype=np.float64)


def localization(found: Localization, *, legend: Legend = "right", ax: Axes | None = None) -> Axes:
    r"""Draw what Harris' theorem gives for every localization set ``{V <= R}``.

    The contraction with pairs (``a''``, dashed where the record is certified, else dotted) and with the set (``a``,
    dotted: of the box), the best level (dot), and the two overlaps. Curves end where the box does: `held`.

    Parameters
    ----------
    found : Localization
        What `fpsolve.bounds.localization` returned; levels are those of its own V = weight - 1.
    legend : {"right", "below", "none"}
        Where the legend goes, always off the axes.
    axis : {"auto", "r", "t", "clock", "log-snr"}
        Reverse time, or forward time on a log scale; "auto" takes the latter where half of the times crowd at the end.
    ax : Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=3.0))
    >>> kernel = fp.kernels.exact(reverse, fp.Grid.uniform((-9, 9), cells=90), 3.0, 0.1, source="point")
    >>> localization(fp.bounds.localization(kernel, weight=fp.PolynomialWeight(2, 0.1))).get_xlabel()
    'level $R$ of the localization set $\\{V \\leq R\\}$, in units of $V = w - 1$'
    """
    _checks.instance("found", found, Localization, "what fpsolve.bounds.localization returns")
    ax = new_axes(7.5, 3.6) if ax is None else ax
    within = found.levels <= found.held
    levels = found.levels[within]
    (blue, vermilion), (orange, sky) = PALETTE[:2], PALETTE[4:6]
    look = LINES.get(found.status, ":")
    ax.axhline(1.0, color="0.15", linewidth=1.2)
    ax.plot(levels, found.pairwise[within], color=vermilion, linestyle=look, label="overlap of pairs $a''$")
    ax.plot(levels, found.commons[within], color=orange, linestyle=":", label="overlap of the set $a$")
    ax.plot(levels, found.abar[within], color=blue, linestyle=look, label=r"contraction $\bar a$ with $a''$")
    ax.plot(levels, found.abar_common[within], color=sky, linestyle=":", label=r"contraction $\bar a$ with $a$")
    if np.isfinite(found.level):
        best = float(np.nanmin(found.abar))
        ax.plot(found.level, best, "o", color=blue, label=rf"best: $\bar a = {best:.3g}$ at $R = {found.level:.3g}$")
    ax.set(
        xscale="log",
        xlabel=r"level $R$ of the localization set $\{V \leq R\}$, in units of $V = w - 1$",
        ylabel="overlap, contraction",
    )
    ax.set_ylim(0.0, 1.5)
    return finished(ax, legend)

"""Harris' contraction against the level R of the localization set, with the overlaps it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fpsolve import _checks
from fpsolve.bounds import Localization
from fpsolve.plots._style import PALETTE, Legend, finished, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def localization(found: Localization, *, legend: Legend = "right", ax: Axes | None = None) -> Axes:
    r"""Draw what Harris' theorem gives for every localization set ``{V <= R}``.

    The contraction with pairs (``a''``, full) and with the set (``a``, dashed), the best level (dot), and the two
    overlaps. Curves end where the box does: `held`.

    Parameters
    ----------
    found : Localization
        What `fpsolve.bounds.localization` returned; levels are those of its own V = weight - 1.
    legend : {"right", "below", "none"}
        Where the legend goes, always off the axes.
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
    'level $R$ of the localization set $\\{V \\leq R\\}$'
    """
    _checks.instance("found", found, Localization, "what fpsolve.bounds.localization returns")
    ax = new_axes(7.5, 3.6) if ax is None else ax
    within = found.levels <= found.held
    levels = found.levels[within]
    blue, vermilion = PALETTE[:2]
    ax.axhline(1.0, color="0.15", linewidth=1.2)
    ax.plot(levels, found.pairwise[within], color=vermilion, label="overlap of pairs $a''$")
    ax.plot(levels, found.commons[within], color=vermilion, linestyle="--", label="overlap of the set $a$")
    ax.plot(levels, found.abar[within], color=blue, label=r"contraction $\bar a$ with $a''$")
    ax.plot(levels, found.abar_common[within], color=blue, linestyle="--", label=r"contraction $\bar a$ with $a$")
    if np.isfinite(found.level):
        best = float(np.nanmin(found.abar))
        ax.plot(found.level, best, "o", color=blue, label=rf"best: $\bar a = {best:.3g}$ at $R = {found.level:.3g}$")
    ax.set(xscale="log", xlabel=r"level $R$ of the localization set $\{V \leq R\}$", ylabel="overlap, contraction")
    ax.set_ylim(0.0, 1.5)
    return finished(ax, legend)

"""Where a sampler's error comes from: contributions of every step, discounts, errors alive along the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve.plots._style import PALETTE, REVERSE_TIME, Legend, finished, new_axes, require, weight_formula

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

_INK = "0.15"
#: Colour of every source.
_COLOURS = {"initialization": PALETTE[0], "discretization": PALETTE[1], "score": PALETTE[2]}
#: A second cue beside the colour, for print in black and white.
_HATCHES = {"initialization": "////", "discretization": "", "score": "...."}
#: Of filled areas: lines of the same colour stay visible on them.
_ALPHA = 0.55
_DASHES = {"initialization": ":", "discretization": "-", "score": "--"}


# what `errors` returns
_DRAWN = ("local", "propagated", "discount", "alive", "total", "contraction")


def contributions(found: xr.Dataset, *, legend: Legend = "right", ax: Axes | None = None) -> Axes:
    r"""Draw what is left at the end of the error of every step, stacked by source, and the local errors as lines.

    Heights are weighted norms of single terms: where their signs differ the total is below the sum of the bars.

    Parameters
    ----------
    found : Dataset
        What `fpsolve.decomposition.errors` returned. Sources without any error are left out.
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
    >>> reverse = fp.Reverse(fp.Gaussian(1.0, std=0.5), fp.OrnsteinUhlenbeck(T=3.0))
    >>> made = fp.decomposition.errors(reverse, "ddpm", start=fp.Gaussian(0.0, std=1.0), steps=8, t_min=0.05,
    ...                                grid=fp.Grid.uniform((-6, 6), cells=60), blocks=0)
    >>> contributions(made).get_xlabel()
    'step'
    """
    require("found", found, _DRAWN, "fpsolve.decomposition.errors")
    ax = new_axes(7.5, 3.6) if ax is None else ax
    below = np.zeros(found.sizes["step"])
    for source in _present(found):
        one = found.sel(source=source)
        height = np.asarray(one["propagated"].values, dtype=np.float64)
        ax.bar(
            found["step"], height, 1.0, below, color=_COLOURS[source], hatch=_HATCHES[source],
            alpha=_ALPHA, edgecolor="white", linewidth=0.0, label=f"{source}: left at the end",
        )  # fmt: skip
        below = below + height
        if source == "initialization":
            ax.plot(0, one["local"][0], "x", color=_COLOURS[source], label=f"{source}: local")
        else:
            ax.plot(found["step"], one["local"], color=_COLOURS[source], ls=_DASHES[source], label=f"{source}: local")
    ax.set(xlabel="step", ylabel=rf"$\|\cdot\|_V$ of the step's error, {weight_formula(found)}", ylim=(0.0, None))
    return finished(ax, legend)


def discounts(found: xr.Dataset, *, legend: Legend = "right", ax: Axes | None = None) -> Axes:
    r"""Draw the share of every local error that is left at the end, and the contraction that bounds it.

    Parameters
    ----------
    found, legend, ax
        As for `contributions`. Above the line at 1 the weighted norm of an error grows on its way.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(1.0, std=0.5), fp.OrnsteinUhlenbeck(T=3.0))
    >>> made = fp.decomposition.errors(reverse, "ddpm", start=fp.Gaussian(0.0, std=1.0), steps=8, t_min=0.05,
    ...                                grid=fp.Grid.uniform((-6, 6), cells=60), blocks=0)
    >>> discounts(made).get_yscale()
    'log'
    """
    require("found", found, _DRAWN, "fpsolve.decomposition.errors")
    ax = new_axes(7.5, 3.6) if ax is None else ax
    r = np.asarray(found["reverse_time"].values, dtype=np.float64)
    ax.axhline(1.0, color="0.6", linewidth=0.8)
    for source in _present(found):
        share = np.asarray(found["discount"].sel(source=source).values, dtype=np.float64)
        if source == "initialization":
            ax.plot(r[0], share[0], "x", color=_COLOURS[source], label=source)
        else:
            # an error of step k is there from the end of that step on
            ax.plot(r[1:], share, color=_COLOURS[source], ls=_DASHES[source], label=source)
    ax.plot(r, found["contraction"], color=_INK, linewidth=1.0, ls=(0, (8, 2)), label="a-priori contraction")
    ax.set(yscale="log", xlabel=REVERSE_TIME, ylabel="left at the end / local")
    return finished(ax, legend)


def alive(found: xr.Dataset, *, legend: Legend = "right", ax: Axes | None = None) -> Axes:
    r"""Draw the errors alive along the run, stacked by source, and the measured total ``||mu_k - p_t||_V``.

    Every layer is the norm of the sum of all errors of that source made so far; the total lies below the stack where
    errors cancel.

    Parameters
    ----------
    found, legend, ax
        As for `contributions`.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(1.0, std=0.5), fp.OrnsteinUhlenbeck(T=3.0))
    >>> made = fp.decomposition.errors(reverse, "ddpm", start=fp.Gaussian(0.0, std=1.0), steps=8, t_min=0.05,
    ...                                grid=fp.Grid.uniform((-6, 6), cells=60), blocks=0)
    >>> alive(made).get_xlabel()
    'reverse time $r = T - t$ (units of process time)'
    """
    require("found", found, _DRAWN, "fpsolve.decomposition.errors")
    ax = new_axes(7.5, 3.6) if ax is None else ax
    r, sources = np.asarray(found["reverse_time"].values, dtype=np.float64), _present(found)
    layers = [np.asarray(found["alive"].sel(source=source).values, dtype=np.float64) for source in sources]
    filled = ax.stackplot(r, layers, labels=sources, colors=[_COLOURS[source] for source in sources])
    for layer, source in zip(filled, sources, strict=True):
        layer.set(hatch=_HATCHES[source], alpha=_ALPHA, edgecolor="white", linewidth=0.0)
    ax.plot(r, found["total"], color="black", linewidth=1.5, label="measured total")
    ax.set(xlabel=REVERSE_TIME, ylabel=rf"$\|\mu_k - p_t\|_V$, {weight_formula(found)}", ylim=(0.0, None))
    ax.margins(x=0.0)
    return finished(ax, legend)


def _present(found: xr.Dataset) -> list[str]:
    """Sources with any error, in their order."""
    some = (found["local"] > 0.0).any("step")
    return [str(source) for source in found["source"].values if bool(some.sel(source=source))]

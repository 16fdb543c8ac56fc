"""The figure of the localization study: contraction against R, the overlaps, and the effect of the box."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from fpsolve.plots import PALETTE

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure"]


def figure(found: xr.Dataset) -> Figure:
    """Return the figure; no window is opened."""
    from matplotlib.figure import Figure

    whole = Figure(figsize=(12.5, 4.4), layout="constrained")
    first, second, third = whole.subplots(1, 3)
    wide = found.sel(box=found["box"].max())
    for beta, color in zip(found["beta"].values, PALETTE, strict=False):
        _contraction(first, wide.sel(beta=beta), color, f"$\\beta = {beta:g}$")
        _boxes(third, found.sel(beta=beta), color)
    _overlaps(second, found)
    for ax in (first, third):
        ax.axhline(1.0, color="0.2", linewidth=1.0)
        ax.set(ylim=(0.0, 1.8))
    first.set(xlabel="level $R$ of $V = 1 + x^2$", ylabel=r"contraction $\bar a$", title="(a) Contraction at $R$")
    third.set(xlabel="half-width of the box (units of $x$)", ylabel=r"best $\bar a$", title="(c) Effect of the box")
    for ax in (first, second, third):
        ax.grid(True, color="0.92", linewidth=0.6)
        ax.set_axisbelow(True)
    whole.legend(*_entries(first, second, third), loc="outside lower center", ncols=5, frameon=False, fontsize="small")
    return whole


def _contraction(ax: Axes, one: xr.Dataset, color: str, label: str) -> None:
    ax.semilogx(one["R"], one["abar"], color=color, label=label)
    ax.semilogx(one["R"], one["abar_set"], color=color, linestyle="--", linewidth=1.0)
    if np.isfinite(one["best_level"]):
        ax.plot(one["best_level"], one["certified"], "o", color=color, markersize=6)


def _overlaps(ax: Axes, found: xr.Dataset) -> None:
    one = found.sel(box=found["box"].max()).isel(beta=0)
    # beyond what the widest box holds there is nothing but its ends
    one = one.sel(R=slice(None, float(one["held"])))
    ax.semilogx(one["R"], one["a2"], color="0.15", label="pairs, $a''$")
    ax.semilogx(one["R"], one["a"], color="0.15", linestyle="--", label="set, $a$")
    ax.set(xlabel="level $R$ of $V = 1 + x^2$", ylabel="overlap", ylim=(0.0, 1.02), title="(b) Overlap at $R$")
    held = found["held"].isel(beta=0)
    for box, level in zip(found["box"].values, held.values, strict=True):
        if one["R"][0] < level:
            ax.axvline(level, ymin=0.94, color="0.5", linewidth=1.0)
            ax.annotate(f"{box:g}", (level, 0.935), ha="center", va="top", fontsize="x-small", color="0.4")


def _boxes(ax: Axes, one: xr.Dataset, color: str) -> None:
    ax.plot(one["box"], one["certified"], "o-", color=color, linewidth=1.2, zorder=3)
    ax.plot(one["box"], one["believed"], "x--", color=color, linewidth=0.9)
    ax.axhline(float(one["sharp"].sel(box=one["box"].max())), color=color, linestyle=":", linewidth=1.0)


def _entries(first: Axes, second: Axes, third: Axes) -> tuple[list[Artist], list[str]]:
    """One list of all entries for a legend below the panels."""
    handles: list[Artist] = []
    labels: list[str] = []
    for ax in (first, second):
        more, names = ax.get_legend_handles_labels()
        handles.extend(more)
        labels.extend(names)
    drawn = {"certified": "o-", "unguarded": "x--", "sharp, widest box": ":"}
    for name, look in drawn.items():
        (line,) = third.plot([], [], look, color="0.3", label=name)
        handles.append(line)
        labels.append(name)
    return handles, labels

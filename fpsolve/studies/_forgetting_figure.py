"""The figure of the forgetting study: curves, a heat map in 1D, panels in 2D."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fpsolve import plots
from fpsolve.studies._forgetting_case import Case

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["caption", "figure"]

#: The start that has most to forget.
SHOWN = "far"
SIZE = (11.0, 7.6)
PANELS = 4


def figure(line: Case, plane: Case) -> Figure:
    """Return the figure; no window is opened."""
    from matplotlib.figure import Figure

    whole = Figure(figsize=SIZE, layout="constrained")
    upper, lower = np.asarray(whole.subfigures(2, 1, height_ratios=(1.35, 1.0), hspace=0.03))
    left, right = upper.subplots(1, 2, width_ratios=(1.1, 1.0))
    plots.forgetting(
        line.curve, check=line.checks.values(), closed_form=line.truth["distance"], legend="below", ax=left
    )
    plots.density(line.run, start=_shown(line), ax=right)
    axes = lower.subplots(1, PANELS)
    plots.density(plane.run, start=_shown(plane), times=_panel_times(plane), ax=axes)
    for letter, ax in zip("abc", (left, right, axes[0]), strict=True):
        _letter(ax, letter)
    return whole


def caption(line: Case, plane: Case) -> str:
    """Return what the figure shows, in words."""
    one, two = (str(case.run["description"].sel(start=_shown(case)).item()) for case in (line, plane))
    n = next(iter(line.checks.values())).attrs["n"]
    return (
        f"(a) 1D: weighted total variation to the exact law against reverse time. Lines: grid, with the band of their "
        f"error (too narrow to see); circles: closed form; crosses: what histograms of {n} particles show, the band "
        f"around them what they should show; dotted: the floor below which a histogram cannot see. (b) 1D: density "
        f"from the start {one}. (c) 2D: density from the start {two} at four times. An arrow at a colour bar: the "
        f"narrow start is higher. Data are standardised: {_standardised(plane)}."
    )


def _standardised(case: Case) -> str:
    columns = zip(case.source.table.columns, case.source.mean, case.source.std, strict=True)
    return "; ".join(f"{name} has mean {mean:.2f} and standard deviation {std:.2f}" for name, mean, std in columns)


def _shown(case: Case) -> str:
    return SHOWN if SHOWN in case.starts else case.others[-1]


def _panel_times(case: Case) -> list[float]:
    """T, t_min and two between, from the times of the table."""
    times = sorted(case.settings.times, reverse=True)
    between = [times[round(k * (len(times) - 1) / (PANELS - 1))] for k in range(PANELS)]
    return [float(case.run["t"][0]), *between[1:-1], float(case.run["t"][-1])]


def _letter(ax: Any, letter: str) -> None:
    ax.set_title(f"({letter})  {ax.get_title()}", loc="left", fontsize="medium")
    ax.set_title("", loc="center")

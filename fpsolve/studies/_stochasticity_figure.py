"""The figure of the stochasticity study: forgetting curves, and what is left against either knob."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from fpsolve.plots import PALETTE, REVERSE_TIME, legend_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEFT = r"left at $t_{min}$, $V$-norm"


def figure(by_eta: xr.Dataset, by_churn: xr.Dataset) -> Figure:
    """Return the figure of four panels."""
    from matplotlib.figure import Figure

    whole = Figure(figsize=(11.0, 7.6), layout="constrained")
    (a, b), (c, d) = whole.subplots(2, 2)
    _curves(a, by_eta)
    _ends(b, by_eta)
    _errors(c, by_eta, "eta", r"$\eta$")
    _errors(d, by_churn, "churn", r"$S_{churn}$")
    far = _seen(by_churn, "far")[:, -1]
    d.plot(by_churn["churn"], far, marker="^", color=PALETTE[2], ls=(0, (5, 1.5)), label="far start")
    d.plot(by_churn["churn"], _coefficient(by_churn), marker="s", ls="--", color=PALETTE[3], label="sharp coefficient")
    d.set_xscale("symlog", linthresh=0.5)
    d.set_xticks(by_churn["churn"].values, [f"{value:g}" for value in by_churn["churn"].values])
    d.minorticks_off()
    d.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    for ax, title in zip((a, b, c, d), ("(a) forgetting", "(b) far start", "(c) score errors", "(d) EDM"), strict=True):
        ax.set_title(title, fontsize="medium", loc="left")
        ax.grid(True, which="major", color="0.9", linewidth=0.6)
    return whole


def _seen(found: xr.Dataset, name: str) -> xr.DataArray:
    """Distances above their errors; NaN, which is not drawn, below."""
    return found[name].where(found[name] > found[f"{name}_error"])


def _coefficient(found: xr.Dataset) -> xr.DataArray:
    return found["coefficient"].where(found["coefficient"] > 1e-13)


def _curves(ax: Axes, found: xr.Dataset) -> None:
    from matplotlib import colormaps

    r = float(found["t"][0]) - found["t"].values
    for k, eta in enumerate(found["eta"].values):
        color = colormaps["viridis"](0.9 * k / max(found.sizes["eta"] - 1, 1))
        ax.semilogy(r, _seen(found, "far").sel(eta=eta), color=color, label=rf"$\eta = {eta:g}$")
    ax.set(xlabel=REVERSE_TIME, ylabel=r"$\|q_t - p_t\|_V$")
    legend_beside(ax, "right")


def _ends(ax: Axes, found: xr.Dataset) -> None:
    ax.semilogy(found["eta"], _seen(found, "far")[:, -1], marker="^", color=PALETTE[2], label="left of the far start")
    ax.semilogy(found["eta"], _coefficient(found), marker="s", ls="--", color=PALETTE[0], label="sharp coefficient")
    ax.set(xlabel=r"stochasticity $\eta$", ylabel=_LEFT)
    legend_beside(ax, "right")


def _errors(ax: Axes, found: xr.Dataset, knob: str, label: str) -> None:
    for name, marker, color in (("early", "o", PALETTE[0]), ("late", "D", PALETTE[1])):
        ax.semilogy(found[knob], _seen(found, name), marker=marker, color=color, label=f"{name} score error")
    ax.set(xlabel=f"stochasticity {label}" if knob == "eta" else label, ylabel=_LEFT)
    legend_beside(ax, "right")

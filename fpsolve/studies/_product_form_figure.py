"""The figure of the product-form study: orbits, densities in 1D and 2D, the flow in the plane, distances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from fpsolve import flows, plots
from fpsolve.flows import StationaryPoints
from fpsolve.studies._product_form_case import Case, SideSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CAPTION", "figure"]

SIZE = (13.0, 8.4)
CAPTION = (
    "(a) Two data points, orbits of the exact probability flow and of the product-form flow from the same places; "
    "horizontal: its stationary points, dashed where repelling. (b) 1D data: law at the end of the exact sampler and "
    "of the product-form samplers without and with noise. (c) Their distances to the exact sampler as shares of the "
    "largest possible one, for every target. (d) 2D data: product-form flow, its stationary points and basins. "
    "(e), (f) Laws at the end, exact and product form with noise, on one colour scale. Data are standardised."
)
#: Densities are drawn where they exceed this share of their maximum.
SHOWN = 1e-3
EXACT, QUIET, NOISY = plots.PALETTE[1], plots.PALETTE[0], plots.PALETTE[2]
POINTS_1D = 241


def figure(
    product: xr.Dataset,
    exact: xr.Dataset,
    points: StationaryPoints,
    cases: list[Case],
    sides: tuple[SideSettings, SideSettings],
) -> Figure:
    """Return the figure; no window is opened."""
    from matplotlib.figure import Figure

    whole = Figure(figsize=SIZE, layout="constrained")
    (first, second, third), (fourth, fifth, sixth) = whole.subplots(2, 3)
    plots.orbits(exact, label="exact", colour=EXACT, dashes=(0, (5, 1.5)), ax=first)
    plots.orbits(product, points=points, label="product form", colour=QUIET, ax=first)
    _legend(first)
    line, plane = (next(case for case in reversed(cases) if case.dim == dim) for dim in (1, 2))
    _densities(second, line, sides[0])
    _shares(third, cases)
    _portrait(fourth, plane, sides[1])
    _planes((fifth, sixth), plane)
    for letter, ax in zip("abcdef", (first, second, third, fourth, fifth, sixth), strict=True):
        ax.set_title(f"({letter})", loc="left", fontsize="medium")
    return whole


def _densities(ax: Any, case: Case, side: SideSettings) -> None:
    """Exact, deterministic and noisy end densities in 1D; where the flow contracts, the curve is cut off above."""
    end = case.run["exact"]
    seen = end["x"].values[end.values >= SHOWN * float(end.max())]
    x = np.linspace(seen[0], seen[-1], POINTS_1D)
    start = case.reverse.marginal(case.reverse.horizon)
    quiet = np.exp(flows.log_density(case.score, start, x, duration=case.score.duration(side.sigma_min), rtol=1e-6))
    ax.fill_between(end["x"], end, color=EXACT, alpha=0.25, linewidth=0, label="exact")
    ax.plot(x, quiet, color=QUIET, label=r"$\eta = 0$")
    ax.plot(end["x"], case.run["density"], color=NOISY, linestyle=(0, (5, 1.5)), label=r"$\eta = 1$")
    ax.set(xlim=(x[0], x[-1]), xlabel="$x$ (units of x)", ylabel="density (per unit of x)", ylim=(0.0, None))
    _legend(ax)


def _legend(ax: Any) -> None:
    """A legend above the axes, right of the panel's letter."""
    style: dict[str, Any] = {"frameon": False, "fontsize": "small", "handlelength": 1.5, "columnspacing": 1.0}
    ax.legend(ncols=4, loc="lower right", bbox_to_anchor=(1.02, 0.99), **style)


def _shares(ax: Any, cases: list[Case]) -> None:
    places = np.arange(len(cases))[::-1]
    for shares, colour, marker, label in (
        ([case.quiet_share for case in cases], QUIET, "o", r"$\eta = 0$"),
        ([case.noisy_share for case in cases], NOISY, "s", r"$\eta = 1$"),
    ):
        ax.plot(shares, places, linestyle="none", marker=marker, color=colour, label=label)
    ax.set_yticks(places, [case.label for case in cases])
    ax.set(xlim=(0.0, 1.0), xlabel="distance / largest possible distance", ylim=(-0.5, len(cases) - 0.5))
    ax.grid(axis="x", color="0.9", linewidth=0.6)
    _legend(ax)


def _portrait(ax: Any, case: Case, side: SideSettings) -> None:
    basins = flows.basins(case.score, case.points, cells=side.basins) if "attracting" in case.points.kind else None
    samples = None if case.source is None else case.source.samples
    plots.phase_portrait(case.score, case.points, basins=basins, data=samples, legend=False, ax=ax)
    _legend(ax)


def _planes(axes: tuple[Any, Any], case: Case) -> None:
    """Exact and noisy densities in 2D."""
    from matplotlib.colors import Normalize

    p, q = case.run["exact"], case.run["density"]
    shade: dict[str, Any] = {"cmap": "viridis", "norm": Normalize(0.0, float(max(p.max(), q.max())))}
    for ax, one, name in zip(axes, (p, q), ("exact", r"product form, $\eta = 1$"), strict=True):
        mesh = ax.pcolormesh(one["x"], one["y"], one.values.T, **shade, shading="gouraud", rasterized=True)
        ax.set(xlim=case.points.box[0], ylim=case.points.box[1], aspect="equal", xlabel="$x$ (units of x)")
        ax.set_title(name, fontsize="medium")
    axes[0].set_ylabel("$y$ (units of y)")
    axes[0].figure.colorbar(mesh, ax=list(axes), pad=0.02).set_label("density (per unit of area)")

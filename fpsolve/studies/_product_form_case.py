"""One target of the product-form study, its best product-form score, its flow and where samplers end, and the study's
figure: orbits, densities in 1D and 2D, the flow in the plane, distances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
import xarray as xr
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

import fpsolve as fp
from fpsolve import flows, plots, weights
from fpsolve.data import Standardised, standardise
from fpsolve.flows import FlowDistance, StationaryPoints
from fpsolve.laws import Law, NormalMixture
from fpsolve.scores import ProductScore
from fpsolve.settings import Settings, Table
from fpsolve.studies.config import DataSettings
from fpsolve.weights import Weight

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: Data points are a mixture of this standard deviation: nothing beside the lowest noise level.
NARROW = 1e-6
#: The box of stationary points reaches this many standard deviations of the data from their mean.
BOX = 3.5
#: The box of noisy runs, in standard deviations of the law at the noisiest level.
REACH = 5.5
#: Orbits along which the potential is watched, per axis in the plane, and looks at each.
ORBITS, LOOKS = {1: 41, 2: 9}, 61


class PointSettings(Settings):
    """Data points of equal weight."""

    at: Annotated[tuple[float, ...] | tuple[tuple[float, float], ...], Field(min_length=2)]
    """Where the data points are."""

    def build(self) -> fp.GaussianMixture:
        """Return them as a mixture too narrow to be seen."""
        n = len(self.at)
        return fp.GaussianMixture(np.full(n, 1.0 / n), self.at, stds=NARROW)


class Intervals(Settings):
    """Intervals per axis of the integrals at eta = 0, for each target."""

    points: Annotated[int, Field(ge=16, multiple_of=2)]
    """For the data points."""
    mixture: Annotated[int, Field(ge=16, multiple_of=2)]
    """For the mixture."""
    data: Annotated[int, Field(ge=16, multiple_of=2)]
    """For the data."""


class SideSettings(Settings):
    """One dimension: noise levels, accuracy, three targets."""

    sigma_min: PositiveFloat
    """Noise level at which samplers stop; also the lowest level of the score."""
    sigma_max: PositiveFloat
    """Noise level at which they start."""
    rtol: PositiveFloat
    """Of the quadrature over the levels."""
    intervals: Intervals
    """Intervals per axis of the integrals at eta = 0."""
    cells_per_std: Annotated[float, Field(ge=2.0)]
    """At eta = 1: cells per sigma_min."""
    steps: Annotated[int, Field(ge=10)]
    """At eta = 1: steps of the run."""
    bins: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    """Of the kernel density, in bandwidths; default none."""
    basins: PositiveInt = 40
    """Cells per axis of the basins of attraction."""
    points: PointSettings
    """A few data points."""
    mixture: Annotated[NormalMixture, Table(NormalMixture, default="gaussian-mixture")]
    """A mixture of normal laws."""
    data: DataSettings
    """Data from a file, as a kernel density."""

    @model_validator(mode="after")
    def _one_dimension(self) -> Self:
        dims = {"points": self.points.build().dim, "mixture": self.mixture.dim, "data": len(self.data.columns)}
        if len(set(dims.values())) > 1:
            raise ValueError(f"targets of one dimension, but they have {dims}")
        return self

    def law(self, name: Literal["points", "mixture", "data"]) -> tuple[NormalMixture, Standardised | None]:
        """Return a target, and the data it comes from."""
        if name == "points":
            return self.points.build(), None
        if name == "mixture":
            return self.mixture, None
        source = standardise(self.data.table())
        law = self.data.kernel_density(source.samples)
        return fp.KernelDensity(law.samples, bandwidth=law.bandwidth, bins=self.bins), source


@dataclass(frozen=True, eq=False)
class Case:
    """Everything that was computed for one target.

    Attributes
    ----------
    label : str
    source : Standardised or None
        The data of a kernel density.
    score : ProductScore
    reverse : Reverse
        With the score, eta = 1.
    points : StationaryPoints
    outside : float
        How far the stationary point furthest out is outside of the convex hull of the data; negative inside.
    growth : float
        Smallest change of the log potential between looks along orbits.
    quiet : FlowDistance
        Distance of the end law to that of the exact sampler at eta = 0.
    noisy, noisy_error, noisy_share : float
        The same at eta = 1: distance, error, and the distance over the largest possible one.
    run : Dataset
        The noisy run: `density` and `exact` (x[, y]) at the end.
    """

    label: str
    source: Standardised | None
    score: ProductScore
    reverse: fp.Reverse
    points: StationaryPoints
    outside: float
    growth: float
    quiet: FlowDistance
    noisy: float
    noisy_error: float
    noisy_share: float
    run: xr.Dataset

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return self.reverse.dim

    @property
    def quiet_share(self) -> float:
        """Distance at eta = 0 over the largest possible one, the sum of both weighted masses."""
        return self.quiet.value / (self.quiet.value + 2.0 * self.quiet.overlap)

    @property
    def counts(self) -> str:
        """How many stationary points of which kind."""
        numbers = {kind: self.points.kind.count(kind) for kind in flows.KINDS}
        return ", ".join(f"{n} {kind}" for kind, n in numbers.items() if n)


def solve(settings: SideSettings, name: Literal["points", "mixture", "data"], label: str, weight: Weight) -> Case:
    """Run one target."""
    law, source = settings.law(name)
    process = fp.EDM(sigma_min=settings.sigma_min, sigma_max=settings.sigma_max)
    score = fp.scores.product_form(law, process, rtol=settings.rtol)
    reverse = fp.Reverse(law, process, score=score)
    points = flows.stationary_points(score, _box(law, BOX))
    end, start = reverse.marginal(settings.sigma_min), reverse.marginal(settings.sigma_max)
    quiet = flows.distance(
        score, start, end, duration=score.duration(settings.sigma_min), weight=weight,
        cells=getattr(settings.intervals, name), rtol=1e-5,
    )  # fmt: skip
    noisy, error, share, run = _noisy(settings, reverse, weight)
    flat = law.component_means[:, 0] if law.component_means.shape[1] == 1 else law.component_means
    outside = float(flows.outside_hull(points.at, flat).max())
    # smallest change of log Psi between looks along orbits from all over the start
    axes = [np.linspace(low, high, ORBITS[start.dim]) for low, high in _box(start, 2.0)]
    starts = axes[0] if start.dim == 1 else np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    duration = score.duration(settings.sigma_min)
    found = flows.orbits(score, starts, duration=duration, count=LOOKS, rtol=1e-7, atol=1e-9)
    return Case(
        label,
        source,
        score,
        reverse,
        points,
        outside,
        float(found["log_potential"].diff("r").min()),
        quiet,
        noisy,
        error,
        share,
        run,
    )


def _noisy(settings: SideSettings, reverse: fp.Reverse, weight: Weight) -> tuple[float, float, float, xr.Dataset]:
    """Evolve p_T at eta = 1 with the product-form score; the exact score would end in the marginal."""
    sigma_min, sigma_max = settings.sigma_min, settings.sigma_max
    box = _box(reverse.marginal(sigma_max), REACH)
    cells = [2 * int(np.ceil(0.5 * (high - low) * settings.cells_per_std / sigma_min)) for low, high in box]
    grid = fp.Grid.uniform(box if reverse.dim == 2 else box[0], cells=cells if reverse.dim == 2 else cells[0])
    starts = {"exact": reverse.marginal(sigma_max)}
    found = fp.evolve(
        reverse, starts, t_min=sigma_min, grid=grid, steps=settings.steps, weight=weight, save_at=[sigma_min],
        progress=False,
    )  # fmt: skip
    q = found["density"].isel(start=0, t=-1, drop=True)
    p = q.copy(data=grid.cell_average(reverse.marginal(sigma_min)))
    measured = fp.weighted_tv(q, p, weight=weight)
    error = float(measured["error"] + found["error_estimate"][0, -1])
    possible = float(((q + p) * weights.evaluate(weight, grid)).sum() * grid.volume)
    value = float(measured["distance"])
    return value, error, value / possible, xr.Dataset({"density": q, "exact": p}, attrs={"status": "estimated"})


def _box(law: Law, reach: float) -> list[tuple[float, float]]:
    mean, std = np.atleast_1d(law.mean), np.sqrt(np.diagonal(np.atleast_2d(law.cov)))
    return [(float(m - reach * s), float(m + reach * s)) for m, s in zip(mean, std, strict=True)]


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
    sides: Sequence[SideSettings],
) -> Figure:
    """Return the figure; no window is opened."""
    from matplotlib.figure import Figure

    rows = len(sides)
    whole = Figure(figsize=(SIZE[0], 0.5 * rows * SIZE[1]), layout="constrained")
    panels = whole.subplots(rows, 3, squeeze=False)
    first, second, third = panels[0]
    plots.orbits(exact, label="exact", colour=EXACT, dashes=(0, (5, 1.5)), ax=first)
    plots.orbits(product, points=points, label="product form", colour=QUIET, ax=first)
    _legend(first)
    last = {case.dim: case for case in cases}
    _densities(second, last[1], sides[0])
    _shares(third, cases)
    for (fourth, fifth, sixth), side in zip(panels[1:], sides[1:], strict=True):
        _portrait(fourth, last[2], side)
        _planes((fifth, sixth), last[2])
    for letter, ax in zip("abcdef", panels.flat, strict=False):
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
    ax.set(xlim=(x[0], x[-1]), xlabel="$x$", ylabel="density (per unit of x)", ylim=(0.0, None))
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
        ax.set(xlim=case.points.box[0], ylim=case.points.box[1], aspect="equal", xlabel="$x$")
        ax.set_title(name, fontsize="medium")
    axes[0].set_ylabel("$y$")
    axes[0].figure.colorbar(mesh, ax=list(axes), pad=0.02).set_label("density (per unit of area)")

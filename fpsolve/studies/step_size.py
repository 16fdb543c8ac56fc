"""Study: total error against step count for every sampler, with fitted orders and the floor that the start sets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import xarray as xr
from pydantic import Field, PositiveFloat, PositiveInt

from fpsolve import decomposition, samplers, weights
from fpsolve._messages import Status
from fpsolve.plots import PALETTE, legend_beside, slope_triangles, weight_formula
from fpsolve.processes import OwnUnits
from fpsolve.studies.config import SamplerName, Stages, noise_level, seen, time_at
from fpsolve.studies.error_decomposition import LineSettings
from fpsolve.studies.report import Check, Report, Table, number, with_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Config", "run"]

#: Noise knob of the methods: DDIM is the deterministic one, the others ignore it or take 1.
ETA = {"ddim": 0.0}
#: Columns of errors in the table; all are in run.nc and in the figure.
MOST = 3
#: What the numbers of the table are.
STATUS: dict[Status, tuple[str, ...]] = {
    "estimated": ("errors", "start", "order"),
}
NOTES = (
    "error: measured V-norm between the sampler's law, started from N(0, 1), and the exact marginal; start: what is "
    "left of the initialization error; order: slope of the discretization error in the number of steps. "
    "Where a total is below its parts, signed errors cancel.",
)
ROOM = "The process ends at t = {:.6g}, not at {:.6g}: EDM's churn first adds noise, and nothing says how it goes on."
CAPTION = (
    "Markers: measured error of every sampler at t_min against its evaluations of the score; dense dots: its "
    "discretization part with the fitted order; wide dots: what the wrong start leaves under the "
    "dynamics that the sampler follows; a total may dip below it where the signed errors cancel."
)


class Config(LineSettings):
    """Settings of the study."""

    counts: Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
    """Numbers of steps."""
    churn: PositiveFloat
    """Of the stochastic EDM sampler."""
    tolerance: PositiveFloat | None = None
    """Of the fitted orders; default: not checked."""
    orders: dict[SamplerName, PositiveFloat]
    """Expected order in the number of steps, by sampler."""

    def with_room(self) -> Config:
        """Return the settings with a process that ends so early that EDM's first churn has room above it.

        Only where nothing says how the process goes on beyond its T, as the cosine schedule.
        """
        rise = min(self.churn / min(self.counts), 2.0**0.5 - 1.0)
        plain = self.process.plain
        highest, last = (float(noise_level(plain, t)) for t in (plain.T, self.process.T))
        if plain.longer(1.25 * plain.T) is not None or highest >= (1.0 + rise) * last:
            return self
        high = time_at(plain, 0.99 * highest / (1.0 + rise))
        return self.model_copy(update={"process": OwnUnits(plain, high)})


def run(config: Config, stages: Stages) -> Report:
    """Run the study."""
    asked = config.process
    config = config.with_room() if "edm" in config.orders else config
    with stages.total(len(config.orders) + 1):
        parts = []
        for name in config.orders:
            with stages(name):
                parts.append(xr.concat([_one(config, name, n) for n in config.counts], dim="steps"))
        found = xr.concat(parts, dim="sampler").assign_coords(sampler=list(config.orders), steps=list(config.counts))
        found = found.assign(order=("sampler", [order(found.sel(sampler=name)) for name in config.orders]))
        with stages("figure"):
            drawn = _figure(found)
    return Report(
        study="step-size",
        title=config.title,
        question=config.question,
        answer=_answer(found),
        headline=_headline(found),
        checks=checks(config, found),
        table=Table(("sampler", *(f"error, {n} steps" for n in _told(config.counts)), "start", "order"), _rows(found)),
        status=STATUS,
        notes=NOTES if config.process.T == asked.T else (*NOTES, ROOM.format(config.process.T, asked.T)),
        figure=drawn,
        caption=CAPTION,
        metrics={f"{name}_order": float(found["order"].sel(sampler=name)) for name in config.orders},
        datasets={"": found},
    )


def order(one: xr.Dataset) -> float:
    """Return the fitted order of the discretization error of one sampler."""
    slope = np.polyfit(np.log(one["steps"].values), np.log(one["discretization"].values), 1)[0]
    return -float(slope)


def checks(config: Config, found: xr.Dataset) -> tuple[Check, ...]:
    """Return what must hold, each check one that can fail."""
    largest = (found["reference_error"] / found["discretization"]).max()
    orders = [
        Check(f"{name}: fitted order", float(found["order"].sel(sampler=name)), expected, config.tolerance)
        for name, expected in config.orders.items()
        if config.tolerance is not None
    ]
    # the parts are sums over cells, which the quadrature of the total is not
    total = found["total"] - found["quadrature"]
    ratio = total / (found["discretization"] + found["initialization"] + found["reference_error"])
    return (
        *orders,
        Check.at_most("identity: terms against the chain, largest", float(found["closure"].max()), 1e-12),
        Check.at_most("exact chain on the grid: error / discretization, largest", float(largest), 1e-2),
        Check.at_most("total / (parts + the chain's own error), largest", float(ratio.max()), 1.0 + 1e-9),
    )


def _one(config: Config, name: str, steps: int) -> xr.Dataset:
    reverse = config.reverse(ETA.get(name, 1.0))
    options: dict[str, Any] = {"churn": config.churn} if name == "edm" else {}
    sampler = seen(samplers.get(name, **options), config.process)
    result = decomposition.errors(
        reverse,
        sampler,
        start=reverse.process.prior(),
        grid=config.grid(),
        times=config.times(steps),
        weight=config.weight,
        blocks=0,
        progress=False,
    )
    alive = result["alive"].isel(t=-1)
    numbers = {source: float(alive.sel(source=source)) for source in ("initialization", "discretization")}
    numbers |= {name: float(result[name][-1]) for name in ("total", "total_error")}
    numbers |= {"closure": float(result["closure"].max())}
    numbers["evaluations"] = float(steps * sampler.evaluations)
    v = weights.evaluate(config.weight, config.grid()) * config.grid().volume
    on_cells = float((np.abs(result["sampled"].values - result["exact"].values) * v).sum())
    numbers["quadrature"] = numbers["total"] - on_cells
    numbers |= {"reference_error": float(result["reference_error"][-1]), "width": float(result["width"].min())}
    return xr.Dataset(numbers, attrs={"status": "estimated", "weight": result.attrs["weight"]})


def _told(counts: Sequence[int]) -> list[int]:
    """Those of the numbers of steps that the table has room for, the first and the last among them."""
    return [counts[k] for k in np.unique(np.linspace(0, len(counts) - 1, MOST).round().astype(int))]


def _rows(found: xr.Dataset) -> tuple[tuple[str, ...], ...]:
    rows = []
    for name in found["sampler"].values:
        one = found.sel(sampler=name)
        errors = [
            number(float(value)) for value in one["total"].sel(steps=_told(found["steps"].values.tolist())).values
        ]
        rows.append((str(name), *errors, number(float(one["initialization"][-1])), f"{float(one['order']):.2f}"))
    return tuple(rows)


def _answer(found: xr.Dataset) -> tuple[str, ...]:
    last = found.isel(steps=-1)
    best = str(last["sampler"].values[int(np.argmin(last["total"].values))])
    orders = ", ".join(f"{name} {float(found['order'].sel(sampler=name)):.2f}" for name in found["sampler"].values)
    most = (last["initialization"] > last["discretization"]).values
    floored = [str(name) for name in last["sampler"].values[most]]
    floor = f" The start weighs more than the steps for {', '.join(floored)}." if floored else ""
    smallest = number(float(last["total"].min()), 3)
    return (
        f"Fitted orders of the discretization error: {orders}.",
        f"With {int(last['steps'])} steps {best} has the smallest error, {smallest}.{floor}",
    )


def _headline(found: xr.Dataset) -> str:
    last = found.isel(steps=-1)
    best = last.isel(sampler=int(np.argmin(last["total"].values)))
    error = with_error(float(best["total"]), float(best["total_error"]))
    return f"least error {error}, with {int(best['steps'])} steps of {best['sampler'].item()}"


def _figure(found: xr.Dataset) -> Figure:
    from matplotlib.figure import Figure

    whole = Figure(figsize=(9.0, 5.0), layout="constrained")
    ax = whole.subplots()
    for name, marker, color in zip(found["sampler"].values, cycle("os^vDP"), cycle(PALETTE), strict=False):
        one = found.sel(sampler=name)
        label = f"{name}: order {float(one['order']):.2f}"
        ax.loglog(one["evaluations"], one["total"], marker=marker, ls=":", color=color, label=label)
        ax.loglog(one["evaluations"], one["discretization"], ls=(0, (1, 1)), lw=1.2, color=color)
        ax.axhline(float(one["initialization"][-1]), ls=(0, (1, 5)), lw=0.9, color=color)
    for name, dashes in (("discretization alone", (0, (1, 1))), ("what the start leaves", (0, (1, 5)))):
        ax.plot([], [], ls=dashes, lw=0.9, color="0.3", label=name)
    ticks = np.unique(found["evaluations"].values).astype(int)
    # every second label: they would run into each other
    ax.set_xticks(ticks[::-1][:: 2 if ticks.size > 8 else 1])
    ax.xaxis.set_major_formatter("{x:.0f}")
    slopes = sorted({round(float(one)) for one in found["order"].values} & {1, 2, 3, 4})
    slope_triangles(ax, ticks, float(found["discretization"].min()), slopes)
    ax.minorticks_off()
    ax.set(xlabel="evaluations of the score", ylabel=rf"$\|\mu_n - p_{{t_{{min}}}}\|_V$, {weight_formula(found)}")
    ax.grid(True, which="major", color="0.9", linewidth=0.6)
    ax.set_title("Error at the end of every sampler", fontsize="medium")
    legend_beside(ax, "right")
    return whole

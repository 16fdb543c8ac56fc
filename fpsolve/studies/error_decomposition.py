"""Study: how much of a sampler's final error each step and each source contributes, and what bounds make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import xarray as xr
from pydantic import Field, PositiveFloat, PositiveInt

import fpsolve as fp
from fpsolve import decomposition, plots
from fpsolve._checks import FloatArray
from fpsolve._messages import Status
from fpsolve.studies.config import (
    AnyWeight,
    Box,
    Cells,
    LineTarget,
    OwnProcess,
    SamplerSettings,
    Stages,
    StudySettings,
    TMin,
    by_clock,
    seen,
)
from fpsolve.studies.report import Check, Report, Table, number, with_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Config", "LineSettings", "run"]

SOURCES = ("initialization", "discretization", "score")
#: What the numbers of the table are.
STATUS: dict[Status, tuple[str, ...]] = {
    "estimated": ("local", "left", "left / local", "bound"),
}
NOTES = (
    "local: sum over the steps of the V-norms of the errors where they arise; left: the same when exact dynamics "
    "has carried each to the end; bound: local errors times the contraction still to come."
    " They are known without carrying anything.",
)
CAPTION = (
    "(a) V-norm of what is left at the end of the error of every step, stacked by source; lines: the local errors "
    "where they arise (the initialization error, at step 0, as a cross). (b) The share of every local error that is "
    "left at the end, and the a-priori contraction above it (it jumps where a block begins from which a sharp "
    "coefficient is known). (c) Errors alive along the trajectory by source, stacked, "
    "and the measured total, which lies below the stack where errors cancel. Colours and hatching as in (a)."
)
#: The identity is one of floating-point sums.
ROUNDING = 1e-12
#: What the exact chain on the grid may be off, relative to the total.
REFERENCE = 1e-2


class LineSettings(StudySettings):
    """What studies of samplers on the line have in common: target, process, grid, time grid."""

    t_min: TMin
    cells: Cells
    box: Box
    offset: PositiveFloat
    """Steps are geometric in tau + offset, tau = log(1 + (sigma/alpha)^2)/2."""
    process: OwnProcess
    weight: AnyWeight
    target: LineTarget

    def reverse(self, eta: float = 1.0) -> fp.Reverse:
        """Return the reverse dynamics with the exact score."""
        return fp.Reverse(self.target, self.process, eta=eta)

    def times(self, steps: int) -> FloatArray:
        """Return decreasing times from T to t_min, geometric in tau + offset (tau: `fpsolve.studies.config`)."""
        return by_clock(self.process, self.t_min, np.linspace(0.0, 1.0, steps + 1), offset=self.offset)

    def grid(self) -> fp.Grid:
        """Return the cells."""
        return fp.Grid.uniform(self.box, cells=self.cells)


class Config(LineSettings):
    """Settings of the study."""

    sampler: SamplerSettings
    """Sampler that is taken apart: its name, or a table of its kind and options."""
    steps: Annotated[int, Field(ge=5)]
    """Number of its steps."""
    score_error: float
    """Added to the exact score, in units of 1/x."""
    blocks: PositiveInt
    """Blocks of the a-priori contraction."""


def run(config: Config, stages: Stages) -> Report:
    """Run the study."""
    with stages.total(2):
        with stages("errors"):
            found = _errors(config, stages)
        with stages("figure"):
            drawn = _figure(found)
    return Report(
        study="error-decomposition",
        title=config.title,
        question=config.question,
        answer=_answer(found),
        headline=f"final error {with_error(found.attrs['total'], found.attrs['total_error'])}",
        checks=checks(found),
        table=Table(("source", "local", "left", "left / local", "bound"), tuple(_row(found, s) for s in SOURCES)),
        status=STATUS,
        notes=NOTES,
        figure=drawn,
        caption=CAPTION,
        metrics=_metrics(found),
        datasets={"": found},
    )


def checks(found: xr.Dataset) -> tuple[Check, ...]:
    """Return what must hold, each check one that can fail."""
    total, off = found.attrs["total"], float(found["reference_error"][-1])
    signed = found["sampled"] - found["exact"] - found["remainder"].sum("source")
    v = fp.weights.evaluate(fp.weights.from_json(found.attrs["weight"]), found["x"].values)
    h = float(found["x"][1] - found["x"][0])
    missing = float((np.abs(signed.values) * v).sum() * h)
    # a method without noise moves splines
    noise = [float(found["width"].min())] if float(found["width"].max()) > 0.0 else []
    worst = float((found["propagated"] / found["bound"].where(found["local"] > 0.0)).max())
    # where what leaves the box is kept
    lost = float(abs(found["sampled"][[0, -1]]).sum() * h)
    return (
        Check.at_most("identity: terms against the chain", float(found["closure"].max()), ROUNDING),
        Check.at_most("exact chain on the grid: error / total", off / total, REFERENCE),
        Check.at_most("measured difference less all terms / chain's own error", missing / off, 1.0 + 1e-6),
        Check.at_most(
            "total / (sum of terms + the chain's own error)", total / (found.attrs["sum_of_terms"] + off), 1.0
        ),
        Check.at_most("propagated / a-priori bound, largest", worst, 1.0 + 1e-9),
        *[Check.at_most("narrowest noise: cells per standard deviation", 1.0 / narrow, 1.0) for narrow in noise],
        Check.at_most("mass thrown beyond the box by the chain", lost, 1e-6),
    )


def _errors(config: Config, stages: Stages) -> xr.Dataset:
    reverse = config.reverse()
    exact = reverse.score
    return decomposition.errors(
        reverse,
        seen(config.sampler, config.process),
        start=reverse.process.prior(),
        grid=config.grid(),
        times=config.times(config.steps),
        score=lambda t, x: exact(t, x) + config.score_error,
        weight=config.weight,
        blocks=config.blocks,
        progress=stages.enabled,
    )


def _row(found: xr.Dataset, source: str) -> tuple[str, ...]:
    local, left, bound = (float(found[name].sel(source=source).sum()) for name in ("local", "propagated", "bound"))
    return source, number(local), number(left), number(left / local), number(bound)


def _metrics(found: xr.Dataset) -> dict[str, float]:
    metrics = {name: float(found.attrs[name]) for name in ("total", "sum_of_terms", "sum_of_bounds")}
    for source in SOURCES:
        one = found.sel(source=source)
        metrics |= {f"{source}_{name}": float(one[name].sum()) for name in ("local", "propagated", "bound")}
        metrics[f"{source}_at_the_end"] = float(one["alive"][-1])
    return metrics


def _answer(found: xr.Dataset) -> tuple[str, ...]:
    steps = found.sel(source="discretization")
    last = int(0.9 * steps.sizes["step"])
    share = float(steps["propagated"][last:].sum() / steps["propagated"].sum())
    alive = found["alive"].isel(t=-1)
    parts = ", ".join(f"{number(float(alive.sel(source=s)), 3)} from {s}" for s in SOURCES)
    return (
        f"The final error {number(found.attrs['total'], 3)} of {found.attrs['sampler']} is made of {parts}; the terms "
        f"of single steps add up to {number(found.attrs['sum_of_terms'], 3)}, the a-priori bounds to "
        f"{number(found.attrs['sum_of_bounds'], 3)}.",
        f"Of the first step's discretization error {float(steps['discount'][0]):.1%} is left at the end; the last "
        f"tenth of the steps makes {share:.0%} of what is left of all discretization errors.",
    )


def _figure(found: xr.Dataset) -> Figure:
    from matplotlib.figure import Figure

    whole = Figure(figsize=(12.5, 4.6), layout="constrained")
    axes = whole.subplots(1, 3)
    plots.contributions(found, legend="none", ax=axes[0])
    plots.discounts(found, legend="none", ax=axes[1])
    plots.alive(found, legend="none", ax=axes[2])
    titles = ("(a) Contribution of every step", "(b) What becomes of a local error", "(c) Errors alive")
    entries: dict[str, Any] = {}
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize="medium")
        handles, labels = ax.get_legend_handles_labels()
        entries |= {label: handle for label, handle in zip(labels, handles, strict=True) if label not in SOURCES}
    whole.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=4, frameon=False)
    return whole

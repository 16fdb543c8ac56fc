"""Study: Harris' contraction against the level R of the localization set, and against the width of the box."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import numpy as np
import xarray as xr
from pydantic import Field, PositiveFloat

import fpsolve as fp
from fpsolve import bounds, kernels
from fpsolve._checks import FloatArray, error
from fpsolve._messages import Status
from fpsolve.kernels import Kernel
from fpsolve.plots import PALETTE
from fpsolve.studies.config import LineTarget, OwnProcess, Settings, Stages, StudySettings
from fpsolve.studies.report import Check, Report, Table, number

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def figure(found: xr.Dataset) -> Figure:
    """Return the figure; no window is opened."""
    from matplotlib.figure import Figure

    whole = Figure(figsize=(12.5, 4.4), layout="constrained")
    first, second, third = whole.subplots(1, 3)
    wide = found.sel(box=found["box"].max())
    for beta, color in zip(found["beta"].values, PALETTE, strict=False):
        _contraction(first, wide.sel(beta=beta), color, f"$\\beta = {beta:g}$")
        one = found.sel(beta=beta)
        third.plot(one["box"], one["certified"], "o--", color=color, linewidth=1.2, zorder=3)
        third.plot(one["box"], one["believed"], "x:", color=color, linewidth=0.9)
        third.axhline(float(wide["sharp"].sel(beta=beta)), color=color, linestyle=":", linewidth=1.0)
    _overlaps(second, found)
    for ax in (first, third):
        ax.axhline(1.0, color="0.2", linewidth=1.0)
        ax.set(ylim=(0.0, 1.8))
    first.set(xlabel="level $R$ of $V = 1 + x^2$", ylabel=r"contraction $\bar a$", title="(a) Contraction at $R$")
    third.set(xlabel="half-width of the box", ylabel=r"best $\bar a$", title="(c) Effect of the box")
    for ax in (first, second, third):
        ax.grid(True, color="0.92", linewidth=0.6)
        ax.set_axisbelow(True)
    whole.legend(*_entries(first, second, third), loc="outside lower center", ncols=5, frameon=False, fontsize="small")
    return whole


def _contraction(ax: Axes, one: xr.Dataset, color: str, label: str) -> None:
    ax.semilogx(one["R"], one["abar"], color=color, linestyle="--", label=label)
    ax.semilogx(one["R"], one["abar_set"], color=color, linestyle=":", linewidth=1.0)
    if np.isfinite(one["best_level"]):
        ax.plot(one["best_level"], one["certified"], "o", color=color, markersize=6)


def _overlaps(ax: Axes, found: xr.Dataset) -> None:
    one = found.sel(box=found["box"].max()).isel(beta=0)
    # beyond what the widest box holds there is nothing but its ends
    one = one.sel(R=slice(None, float(one["held"])))
    ax.semilogx(one["R"], one["a2"], color="0.15", linestyle="--", label="pairs, $a''$")
    ax.semilogx(one["R"], one["a"], color="0.15", linestyle=":", label="set, $a$")
    ax.set(xlabel="level $R$ of $V = 1 + x^2$", ylabel="overlap", ylim=(0.0, 1.02), title="(b) Overlap at $R$")
    held = found["held"].isel(beta=0)
    for box, level in zip(found["box"].values, held.values, strict=True):
        if one["R"][0] < level:
            ax.axvline(level, ymin=0.94, color="0.5", linewidth=1.0)
            ax.annotate(f"{box:g}", (level, 0.935), ha="center", va="top", fontsize="x-small", color="0.4")


def _entries(first: Axes, second: Axes, third: Axes) -> tuple[list[Artist], list[str]]:
    """One list of all entries for a legend below the panels."""
    handles: list[Artist] = []
    labels: list[str] = []
    for ax in (first, second):
        more, names = ax.get_legend_handles_labels()
        handles.extend(more)
        labels.extend(names)
    drawn = {"certified": "o--", "unguarded": "x:", "sharp, widest box": ":"}
    for name, look in drawn.items():
        (line,) = third.plot([], [], look, color="0.3", label=name)
        handles.append(line)
        labels.append(name)
    return handles, labels


#: What the best contraction may change by and is called settled.
SETTLED = 0.01
COLUMNS = ("box", "beta", "held R", "best R", "a''", "certified", "with a", "unguarded", "sharp")
#: What the numbers of the table are.
STATUS: dict[Status, tuple[str, ...]] = {
    "certified": ("held R", "best R", "a''", "certified"),
    "estimated": ("with a", "unguarded", "sharp"),
}
NOTES = (
    "held R: largest level of V = 1 + x^2 whose set the box holds, with sources whose mass stays away from its ends; "
    "best R, a'': where abar is smallest, and the overlap of pairs there; certified: that abar; with a: the same with "
    "the mass common to all points of {V <= R} in place of a''.",
    "unguarded: what the matrix alone gives, whatever the box holds; sharp: weighted Dobrushin coefficient on that "
    "box. Both are artefacts of the box where they lie below the sharp coefficient of the widest box.",
)
CAPTION = (
    "(a) Best contraction abar against the level R, in the weight 1 + beta (1 + x^2) on the widest box: with pairs "
    "(a'', dashed: certified) and with the set (a, dotted: of the box); dots: the best R; above the line at 1 there is "
    "no certificate. (b) The "
    "overlaps themselves, and levels that the boxes hold (ticks above, with half-widths). (c) Against the half-width "
    "of the box: certified (circles), unguarded (crosses), and the sharp coefficient of the widest box (dotted): a "
    "cross below it is false."
)


class ExpectedSettings(Settings):
    """What is expected on the widest box for one beta."""

    beta: PositiveFloat
    """Of the weight."""
    pairs: PositiveFloat
    """Best contraction with the overlap of pairs."""
    set: PositiveFloat
    """Best contraction with the overlap of the set."""
    tolerance: PositiveFloat
    """How far off they may be."""


class Config(StudySettings):
    """Settings of the study."""

    t_from: PositiveFloat
    """Forward time at which the block begins."""
    t_to: PositiveFloat
    """Forward time at which it ends."""
    betas: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    """Of the weights 1 + beta V, V(x) = 1 + x^2."""
    boxes: Annotated[tuple[PositiveFloat, ...], Field(min_length=2)]
    """Half-widths of the boxes."""
    cells_per_unit: Annotated[int, Field(ge=4, le=80)]
    """Cells per unit of x."""
    levels: Annotated[int, Field(ge=10)]
    """Number of levels R looked at."""
    stability: PositiveFloat
    """How much doubling of the cells may change."""
    process: OwnProcess
    target: LineTarget
    expected: tuple[ExpectedSettings, ...] = ()
    """What is expected on the widest box; may be left out."""

    def kernel(self, half: float, refined: int = 1) -> Kernel:
        """Return the exact kernel of the block, from points, on the box [-half, half]."""
        reverse = fp.Reverse(self.target, self.process)
        cells = round(2.0 * half * self.cells_per_unit * refined)
        grid = fp.Grid.uniform((-half, half), cells=cells)
        return kernels.exact(reverse, grid, self.t_from, self.t_to, source="point")

    def tried(self) -> FloatArray:
        """Levels R of V = 1 + x^2: from a pair at the centre to far beyond the widest box."""
        return np.geomspace(2.0 + 1e-3, 6.0 * (1.0 + max(self.boxes) ** 2), self.levels)


def weight(beta: float) -> Callable[[FloatArray], FloatArray]:
    """Return ``1 + beta (1 + x^2)`` as a function of points on the line."""
    return lambda x: 1.0 + beta * (1.0 + np.square(x))


def run(config: Config, stages: Stages) -> Report:
    """Run the study."""
    with stages.total(3):
        with stages("boxes"):
            found = xr.concat([_on_box(config, half) for half in config.boxes], dim="box")
            found = found.assign_coords(box=list(config.boxes))
        with stages("finer cells"):
            # the certified number of every beta on the widest box with twice the cells
            kernel, levels = config.kernel(max(config.boxes), refined=2), config.tried()
            values = [bounds.localization(kernel, weight=weight(b), levels=b * levels).value for b in config.betas]
            found = found.assign(refined=("beta", [np.nan if value is None else value for value in values]))
        with stages("figure"):
            drawn: Figure = figure(found)
    if not np.isfinite(found["certified"].sel(box=found["box"].max())).any():
        remedy = "try smaller betas, wider boxes, or a process that forgets more"
        raise error("betas", "one with a certificate of Harris' theorem on the widest box", f"{config.betas}", remedy)
    return Report(
        study="localization-set",
        title=config.title,
        question=config.question,
        answer=_answer(found),
        headline=_headline(found),
        checks=checks(config, found),
        table=Table(COLUMNS, tuple(_row(found, box, beta) for beta in config.betas for box in config.boxes)),
        status=STATUS,
        notes=NOTES,
        figure=drawn,
        caption=CAPTION,
        metrics=_metrics(found),
        datasets={"": found},
    )


def _on_box(config: Config, half: float) -> xr.Dataset:
    """All numbers on one box, over beta and over the levels R of V = 1 + x^2."""
    kernel, levels, parts = config.kernel(half), config.tried(), []
    for beta in config.betas:
        one = bounds.localization(kernel, weight=weight(beta), levels=beta * levels)
        sharp = bounds.dobrushin(kernel, weight=weight(beta))
        at = int(np.argmin(np.abs(one.levels - one.level))) if np.isfinite(one.level) else 0
        numbers = {
            "certified": np.nan if one.value is None else one.value,
            "best_level": one.level / beta if one.value is not None else np.nan,
            "best_overlap": float(one.pairwise[at]) if one.value is not None else np.nan,
            "certified_set": _least(one.abar_common),
            "held": one.held / beta if one.held > one.levels[0] else np.nan,
            "believed": _least(one.unguarded),
            "sharp": sharp.value,
        }
        curves = {"a": one.commons, "a2": one.pairwise, "abar": one.abar, "abar_set": one.abar_common}
        curves |= {"unguarded": one.unguarded}
        part = xr.Dataset(numbers | {name: ("R", values) for name, values in curves.items()})
        for name in ("certified", "best_level", "best_overlap", "held"):
            part[name].attrs["status"] = "certified"
        parts.append(part.assign_attrs(status="estimated"))
    return xr.concat(parts, dim="beta").assign_coords(beta=list(config.betas), R=levels)


def _least(values: FloatArray) -> float:
    """Smallest finite value below 1, NaN where there is none."""
    below = values[np.isfinite(values) & (values < 1.0)]
    return float(below.min()) if below.size else np.nan


def checks(config: Config, found: xr.Dataset) -> tuple[Check, ...]:
    """Return what must hold, each check one that can fail."""
    wide = found.sel(box=max(config.boxes))
    sure, truth = found["certified"], wide["sharp"]
    false = (found["believed"] < truth) & ~np.isfinite(sure)
    moved = np.abs(wide["refined"] - wide["certified"]).max()
    grown = (wide["certified"] - sure).max()
    order = float((found["a"] - found["a2"]).max())
    # how many certified numbers use a level that the box does not hold, or whose set leaves the box
    level, half = found["best_level"], found["box"]
    beyond = float(((level > found["held"]) | (level > 1.0 + half**2)).sum())
    # how many certified numbers lie below the sharp coefficient of the widest box
    let_through = float((found["certified"] < found["sharp"].sel(box=found["box"].max())).sum())
    listed = [
        Check.at_most("sharp coefficient (widest box) / certified, largest", float((truth / sure).max()), 1.0),
        Check.at_most("certified on a narrower box: below the widest by", max(0.0, float(grown)), 1e-3),
        Check.at_most("a - a'', largest", max(0.0, order), 1e-12),
        Check.at_most("certified with a'' / with a, largest", float((sure / found["certified_set"]).max()), 1.0),
        Check.at_most("certified: change under doubling of the cells", float(moved), config.stability),
        Check.at_most("sets wider than the box among the certified", beyond, 0.0),
        Check.at_most("control, narrow boxes: false numbers let through", let_through, 0.0),
    ]
    if config.expected:  # of the shipped law; elsewhere it may be that none is
        listed.append(Check("control, narrow boxes: some number is false", float(bool(false.any())), 1.0, 0.0))
    for one in config.expected:
        here = wide.sel(beta=one.beta)
        listed.append(Check(f"beta = {one.beta:g}: certified", float(here["certified"]), one.pairs, one.tolerance))
        listed.append(Check(f"beta = {one.beta:g}: with a", float(here["certified_set"]), one.set, one.tolerance))
    return tuple(listed)


def _row(found: xr.Dataset, box: float, beta: float) -> tuple[str, ...]:
    one = found.sel(box=box, beta=beta)
    names = ("held", "best_level", "best_overlap", "certified", "certified_set", "believed", "sharp")
    return (f"[-{box:g}, {box:g}]", f"{beta:g}", *(_text(float(one[name])) for name in names))


def _text(value: float) -> str:
    return "none" if not np.isfinite(value) else number(value, 3)


def _metrics(found: xr.Dataset) -> dict[str, float]:
    names = ("certified", "certified_set", "best_level", "believed", "sharp", "held")
    return {
        f"{name}_beta_{beta:g}_box_{box:g}": float(found[name].sel(beta=beta, box=box))
        for name in names
        for beta in found["beta"].values
        for box in found["box"].values
    }


def _answer(found: xr.Dataset) -> tuple[str, ...]:
    wide = found.sel(box=found["box"].max())
    best = wide.isel(beta=int(np.nanargmin(wide["certified"].values)))
    narrow = found.where(np.isfinite(found["certified"]), drop=True)["box"].min()
    false = (found["believed"] < wide["sharp"]).any("beta")
    worst = [f"[-{b:g}, {b:g}]" for b in found["box"].values[false.values]]
    told = f" On {' and '.join(worst)} some lie even below the sharp coefficient: they are false." if worst else ""
    settled, unguarded = _settled(found), found["believed"].dropna("beta", how="all").idxmin("box")
    by_beta = ", ".join(f"{float(beta):g}: {float(half):g}" for beta, half in zip(found["beta"], settled, strict=True))
    narrowest = bool((unguarded == found["box"].min()).all())
    blind = (
        " Without looking at what the box holds, the narrowest box returns the smallest number." if narrowest else ""
    )
    return (
        f"The best contraction is {number(float(best['certified']), 3)} at beta = {float(best['beta']):g} and R = "
        f"{number(float(best['best_level']), 3)}, against a sharp coefficient of {number(float(best['sharp']), 3)}; "
        f"with the mass common to the whole set in place of pairs it is {number(float(best['certified_set']), 3)}.",
        f"A certificate needs a box of at least [-{float(narrow):g}, {float(narrow):g}]; from these half-widths on "
        f"the number changes by less than {SETTLED:.0%} (by beta): {by_beta}.{blind}{told}",
    )


def _settled(found: xr.Dataset) -> list[float]:
    """Half-width of the box from which on the certified number of each beta stays as on the widest box; NaN: never."""
    ordered = found["certified"].sortby("box").transpose("beta", "box")
    last = ordered.isel(box=-1)
    away = (abs(ordered / last - 1.0) > SETTLED) | ordered.isnull()
    # the first box after the last that is away
    place = [int(np.flatnonzero(row).max(initial=-1)) + 1 for row in away.values]
    boxes = ordered["box"].values
    return [float(boxes[k]) if k < len(boxes) else float("nan") for k in place]


def _headline(found: xr.Dataset) -> str:
    wide = found.sel(box=found["box"].max())
    best = wide.isel(beta=int(np.nanargmin(wide["certified"].values)))
    certified, sharp = (number(float(best[name]), 3) for name in ("certified", "sharp"))
    return f"contraction at most {certified} (certified) at beta = {float(best['beta']):g}, sharp {sharp} (estimated)"

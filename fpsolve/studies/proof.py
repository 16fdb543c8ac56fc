"""Study: error bars of a run held against proofs, the smallest distance that is proved, and contractions that are."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import xarray as xr
from pydantic import Field, PositiveFloat, PositiveInt

import fpsolve as fp
from fpsolve import _checks, bounds, closed_form, kernels
from fpsolve._messages import Status
from fpsolve.plots import PALETTE
from fpsolve.studies.config import AnyWeight, LineStart, LineTarget, OwnProcess, Stages, StudySettings
from fpsolve.studies.report import Check, Report, Table, number, outward

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Config", "checks", "room", "run"]

#: The normal law with the mean and the variance of p_T.
MATCHED = "matched"
COLUMNS = ("start or block", "t", "measured", "error bar", "proved, at least", "width", "verdict")
#: Contraction factors of a block.
FACTORS = ("proved", "certified", "sharp")
#: What the numbers of the table are.
STATUS: dict[Status, tuple[str, ...]] = {
    "proved": ("proved, at least", "width", "verdict"),
    "estimated": ("measured", "error bar"),
    "certified": ("blocks: in place of measured",),
}
NOTES = (
    "measured and its error bar are estimated, by finite volumes; the intervals are proved (their lower end and their "
    "width are shown), and so is each verdict on an error bar. Particles would have to number about 1/distance^2.",
    "Blocks: proved contraction factor in the norm of weight 1 + beta x^2 of the block's own beta; in place of the "
    "measurement the one certified on a grid, in place of the error bar the sharp coefficient, estimated on cells.",
)
CAPTION = (
    "(a) Distance to the exact law: proved (lines), measured (circles). (b) Relative to the distance: error bars of "
    "the solver (dotted, estimated), what they are off by (circles), widths of the intervals (lines, proved). (c) "
    "Contraction of every block: proved (filled), certified on a grid (dashed), sharp coefficient in the weight of "
    "the proof (dots, estimated); hatched: no proof."
)


class Config(StudySettings):
    """Settings of the study."""

    times: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    """Forward times of the enclosures."""
    cells: PositiveInt
    """Cells of the run."""
    steps: PositiveInt
    """Steps of the run."""
    half: PositiveFloat
    """Half-width of the run's box."""
    rtol: PositiveFloat
    """Relative width of the intervals."""
    blocks: Annotated[tuple[float, ...], Field(min_length=2)]
    """Forward times at which blocks begin and end."""
    kernel_cells: PositiveInt
    """Cells of the kernels beside the proofs."""
    kernel_half: PositiveFloat
    """Half-width of their box."""
    close: PositiveFloat | None = None
    """A proved factor is at most this far above the certified one; default: not checked."""
    unproved: Annotated[int, Field(ge=0)] | None = None
    """Blocks without a proof that are expected; default: not checked."""
    process: OwnProcess
    target: LineTarget
    weight: AnyWeight
    starts: dict[str, LineStart]
    """Laws that runs start from, by label, beside the exact one and "matched": normal, of p_T's moments."""

    def reverse(self) -> fp.Reverse:
        """Return the dynamics: the exact score, eta = 1."""
        return fp.Reverse(self.target, self.process)

    def laws(self) -> dict[str, fp.Law]:
        """Return the starts, the matched one last."""
        last = self.reverse().marginal(self.reverse().horizon)
        return self.starts | {MATCHED: fp.Gaussian(float(last.mean), std=float(np.sqrt(last.cov)))}


def room() -> Any:
    """Return fpsolve.proofs; ValueError without python-flint."""
    try:
        from fpsolve import proofs
    except ImportError as reason:
        raise _checks.error("proofs", "python-flint", "none installed", "pip install 'fpsolve[proofs]'") from reason
    return proofs


def run(config: Config, stages: Stages) -> Report:
    """Run the study."""
    proofs = room()
    with stages.total(4):
        with stages("run"):
            # the measured distances at the times of the study
            reverse, times = config.reverse(), list(config.times)
            laws = {"exact": reverse.marginal(reverse.horizon)} | config.laws()
            grid = fp.Grid.uniform((-config.half, config.half), cells=config.cells)
            solved = fp.evolve(reverse, laws, grid=grid, t_min=min(times), steps=config.steps, save_at=times)
            curve = fp.forgetting_curve(solved, weight=config.weight).sel(t=times)
        with stages("distances"):
            found = proofs.verify(curve, config.reverse(), config.laws(), rtol=config.rtol)
            found = found.assign(oracle=(("start", "t"), _oracle(config, found), {"status": "estimated"}))
        with stages("contractions"):
            blocks = _blocks(config)
        with stages("figure"):
            drawn = _figure(found, blocks)
    least = found.where(found["upper"] == found["upper"].min(), drop=True).squeeze()
    low, high = outward(float(least["lower"]), up=False), outward(float(least["upper"]), up=True)
    return Report(
        study="proof",
        title=config.title,
        question=config.question,
        answer=_answer(found, blocks),
        headline=f"least distance proved, from {least['start'].item()} at t = {float(least['t']):g}: [{low}, {high}]",
        checks=checks(config, found, blocks),
        table=Table(COLUMNS, (*_rows(found), *_block_rows(blocks))),
        status=STATUS,
        notes=NOTES,
        figure=drawn,
        caption=CAPTION,
        metrics=_metrics(found, blocks),
        datasets={"": found, "blocks": blocks},
    )


def _oracle(config: Config, found: xr.Dataset) -> list[list[float]]:
    """By how much the closed form and its own error bar miss the interval, relative to the distance; 0 is right."""
    reverse, laws = config.reverse(), config.laws()
    exact, rows = reverse.marginal(reverse.horizon), []
    for label in found["start"].values:
        row = []
        for t in found["t"].values:
            truth = closed_form.weighted_tv(reverse, laws[str(label)], exact, t=float(t), weight=config.weight)
            low, high = (float(found[name].sel(start=label, t=t)) for name in ("lower", "upper"))
            miss = max(low - truth.value - truth.error, truth.value - truth.error - high, 0.0)
            row.append(miss / high if high > 0.0 else miss)
        rows.append(row)
    return rows


def _blocks(config: Config) -> xr.Dataset:
    """Contraction of every block: proved, certified on a grid, and sharp on cells in the weight of the proof."""
    proofs, reverse = room(), config.reverse()
    grid = fp.Grid.uniform((-config.kernel_half, config.kernel_half), cells=config.kernel_cells)
    rows = []
    for t0, t1 in pairwise(config.blocks):
        theorem = proofs.harris(reverse, t0, t1)
        kernel = kernels.exact(reverse, grid, t0, t1, source="point")
        certified = bounds.harris(kernel, weight=fp.PolynomialWeight(2, 1.0), optimise=True).value
        sharp = bounds.dobrushin(kernel, weight=fp.PolynomialWeight(2, theorem.beta)).value
        values = [np.nan if value is None else value for value in (theorem.value, certified)]
        rows.append((*values, sharp, theorem.beta, theorem.K, theorem.overlap, theorem.reason))
    names = ("proved", "certified", "sharp", "beta", "K", "overlap", "reason")
    words = {"proved": "proved", "K": "proved", "overlap": "proved", "certified": "certified", "sharp": "estimated"}
    columns = {
        name: ("block", np.array(column), {"status": words[name]} if name in words else {})
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    ends = {"t_from": ("block", list(config.blocks[:-1])), "t_to": ("block", list(config.blocks[1:]))}
    return xr.Dataset(columns, coords=ends, attrs={"status": "estimated"})


def checks(config: Config, found: xr.Dataset, blocks: xr.Dataset) -> tuple[Check, ...]:
    """Return what must hold, each check one that can fail."""
    narrow = ((found["upper"] - found["lower"]) / found["lower"]).max()
    off = found["distance"] - found["error"] / 100.0, found["distance"] + found["error"] / 100.0
    refuted = (off[0] > found["upper"]) | (off[1] < found["lower"])
    gap = (blocks["proved"] - blocks["certified"]).max()
    missing = int(np.isnan(blocks["proved"]).sum())
    expected = []
    if config.close is not None:
        expected.append(Check.at_most("proved above certified contraction by", max(0.0, float(gap)), config.close))
    if config.unproved is not None:
        expected.append(Check("blocks without a proof", float(missing), float(config.unproved), 0.0))
    return (
        Check.at_most("error bars that are not proved to hold", float((found["verdict"] != "holds").sum()), 0.0),
        Check.at_most("relative width of the intervals, largest", float(narrow), config.rtol),
        Check.at_most("closed form outside of an interval, relative", float(found["oracle"].max()), 1e-12),
        Check("control: error bars a hundredth as long, some refuted", float(bool(refuted.any())), 1.0, 0.0),
        Check.at_most("sharp / proved contraction, largest", float((blocks["sharp"] / blocks["proved"]).max()), 1.0),
        *expected,
    )


def _rows(found: xr.Dataset) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for label in found["start"].values:
        for t in found["t"].values:
            one = {name: found[name].sel(start=label, t=t).item() for name in found.data_vars}
            told = number(one["distance"], 6), number(one["error"], 2), outward(one["lower"], up=False)
            width = outward(one["upper"] - one["lower"], up=True, digits=2)
            rows.append((str(label), f"{float(t):g}", *told, width, str(one["verdict"])))
    return rows


def _block_rows(blocks: xr.Dataset) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for k in range(blocks.sizes["block"]):
        one = blocks.isel(block=k)
        name = f"block {float(one['t_from']):g} -> {float(one['t_to']):g}"
        factors = (_factor(float(one[part])) for part in ("certified", "sharp"))
        bound = float(one["proved"])
        rows.append((name, "", *factors, _proved(bound), "", "proved" if np.isfinite(bound) else "no proof"))
    return rows


def _factor(value: float) -> str:
    return f"{value:.4f}" if np.isfinite(value) else "none"


def _proved(value: float) -> str:
    """A proved factor, rounded up."""
    return outward(value, up=True, digits=4) if np.isfinite(value) else "none"


def _metrics(found: xr.Dataset, blocks: xr.Dataset) -> dict[str, float]:
    ends = {
        f"{label}_{float(t):g}_{name}": float(found[name].sel(start=label, t=t))
        for label in found["start"].values
        for t in found["t"].values
        for name in ("distance", "error", "lower", "upper")
    }
    count = range(blocks.sizes["block"])
    return ends | {f"block_{k}_{name}": float(blocks[name][k]) for k in count for name in FACTORS}


def _answer(found: xr.Dataset, blocks: xr.Dataset) -> tuple[str, ...]:
    held, size = int((found["verdict"] == "holds").sum()), found["verdict"].size
    least = found.where(found["upper"] == found["upper"].min(), drop=True).squeeze()
    low, high = float(least["lower"]), float(least["upper"])
    missing = [k for k in range(blocks.sizes["block"]) if np.isnan(float(blocks["proved"][k]))]
    reasons = "; ".join(str(blocks["reason"][k].item()) for k in missing)
    stop = f"The proof stops in {len(missing)} of them: {reasons}." if missing else "Every block has a proof."
    return (
        f"{held} of {size} error bars are proved to hold. The smallest distance, that of the start "
        f"'{least['start'].item()}' at t = {float(least['t']):g}, is at least {low!r} and at most {high!r}: some "
        f"{number(1.0 / high**2, 1)} independent particles would begin to see it.",
        f"Proved factors of the {blocks.sizes['block']} blocks: "
        f"{', '.join(_proved(float(value)) for value in blocks['proved'])}; certified on a grid: "
        f"{', '.join(_factor(float(value)) for value in blocks['certified'])}. {stop}",
    )


def _figure(found: xr.Dataset, blocks: xr.Dataset) -> Figure:
    from matplotlib.figure import Figure

    whole = Figure(figsize=(12.5, 4.2), layout="constrained")
    first, second, third = whole.subplots(1, 3)
    t = found["t"].values
    for label, color in zip(found["start"].values, PALETTE, strict=False):
        here = found.sel(start=label)
        low, width = here["lower"].values, (here["upper"] - here["lower"]).values
        first.loglog(t, low, "-", color=color, label=str(label))
        first.loglog(t, here["distance"].values, "o", mfc="none", color=color)
        second.loglog(t, here["error"].values / low, ":", color=color)
        second.loglog(t, np.maximum(np.abs(here["distance"].values - low), 1e-300) / low, "o", mfc="none", color=color)
        second.loglog(t, np.maximum(width, 1e-300) / low, "-", color=color)
    first.set(xlabel="$t$", ylabel="weighted total variation to $p_t$", title="(a) Distance")
    second.set(xlabel="$t$", ylabel="relative to the distance", title="(b) Error bars and widths")
    for ax in (first, second):
        # the times themselves: within a decade a log scale labels all of its minor marks, over each other
        ax.set_xticks(t, [f"{one:.3g}" for one in t.tolist()])
        ax.minorticks_off()
    _bars(third, blocks)
    whole.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    return whole


def _bars(ax: Axes, blocks: xr.Dataset) -> None:
    """Contraction factors of the blocks."""
    names = [f"{float(a):g} - {float(b):g}" for a, b in zip(blocks["t_from"], blocks["t_to"], strict=True)]
    for k in range(len(names)):
        proved, certified, sharp = (float(blocks[name][k]) for name in FACTORS)
        if np.isnan(proved):
            ax.bar(k, 1.0, width=0.7, facecolor="none", edgecolor="0.7", hatch="//")
        else:
            ax.bar(k - 0.18, proved, width=0.34, color=PALETTE[0])
        if np.isfinite(certified):
            ax.bar(k + 0.18, certified, width=0.34, facecolor="none", edgecolor=PALETTE[1], linestyle="--")
        ax.plot(k, sharp, ".", color="0.2")
    ax.set_xticks(range(len(names)), names, fontsize="small")
    ax.set(xlabel="block", ylabel="contraction factor", title="(c) Contraction")

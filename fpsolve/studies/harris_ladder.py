"""Study: every bound on forgetting beside the measurement, and Harris' theorem block by block with its constants.

Checked are the order of the rungs, expected values, and controls that must break named checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import xarray as xr
from pydantic import Field, PositiveFloat, PositiveInt

import fpsolve as fp
from fpsolve import bounds, kernels, plots, weights
from fpsolve._checks import FloatArray
from fpsolve._messages import Status
from fpsolve.kernels import Kernel
from fpsolve.settings import Settings
from fpsolve.studies.config import (
    Box,
    Cells,
    LineStart,
    LineTarget,
    OwnProcess,
    Polynomial,
    Stages,
    StudySettings,
    Tol,
    by_clock,
    called,
)
from fpsolve.studies.report import Check, Report, Table, formula, number, with_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Why an inequality between bounds is not checked.
NOTHING = "there is no certificate to compare"
#: Label of the start, and of the law it is compared with.
START, REFERENCE = "nu", "exact"


class WholeSettings(Settings):
    """What is expected of the whole run as one block, in the weight ``1 + beta (1 + x^2)``."""

    beta: PositiveFloat
    """Of the weight 1 + beta (1 + x^2)."""
    sharp: PositiveFloat
    """Expected sharp Dobrushin coefficient."""
    sharp_tolerance: PositiveFloat
    """How far off it may be."""
    harris: PositiveFloat
    """Harris' contraction is at most this."""

    def weight(self, x: FloatArray) -> FloatArray:
        """``1 + beta (1 + x^2)`` at points x on the line."""
        return 1.0 + self.beta * (1.0 + np.square(x))


class CaseSettings(Settings):
    """A target on the line, the blocks of its run, and what is expected of them."""

    boundaries: Annotated[tuple[float, ...], Field(min_length=2)]
    """Forward times at which blocks begin and end, decreasing."""
    box: Box
    cells: Cells
    process: OwnProcess
    # the certificates are looked for over beta
    weight: Polynomial
    target: LineTarget
    start: LineStart
    """Law that the curve starts from."""
    certificates: tuple[PositiveFloat | Literal["none"], ...] = ()
    """Expected contraction of each block at the best beta, or "none"."""
    tolerance: PositiveFloat = 0.005
    """How far above them one may be."""
    whole: tuple[WholeSettings, ...] = ()
    """What is expected of the whole run as one block; may be left out."""

    def grid(self) -> fp.Grid:
        """Return the cells."""
        return fp.Grid.uniform(self.box, cells=self.cells)


@dataclass(frozen=True, eq=False)
class Block:
    """A block with the best certificate that Harris' theorem has for it, and the sharp coefficient beside it.

    Both in the weight ``1 + beta V`` with the beta of the block; as given where no beta has a certificate.
    """

    harris: bounds.Harris
    sharp: bounds.Dobrushin


@dataclass(frozen=True, eq=False)
class Case:
    """Everything that was computed for one case.

    `ladder` is of the start, in the weight of the settings; `curve` the same distance along a finite-volume run;
    `whole` the run as one block; `chain` the best product of certificates with one beta; `references` are the whole
    run, for each of the expected values.
    """

    name: str
    settings: CaseSettings
    reverse: fp.Reverse
    ladder: xr.Dataset
    curve: xr.Dataset
    blocks: tuple[Block, ...]
    whole: Block
    chain: bounds.HarrisBlocks
    references: tuple[tuple[bounds.Dobrushin, bounds.Harris], ...]


def solve(name: str, settings: CaseSettings, t_min: float, tol: float, saves: int, stages: Stages) -> Case:
    """Compute one case: ladder, curve, blocks."""
    reverse = fp.Reverse(settings.target, settings.process)
    grid, weight = settings.grid(), settings.weight
    times = settings.boundaries
    with stages(f"{name}: ladder"):
        ladder = bounds.ladder(reverse, grid=grid, blocks=times, weight=weight, start={START: settings.start})
    with stages(f"{name}: curve"):
        curve = _curve(settings, reverse, max(t_min, times[-1]), tol, saves)
    with stages(f"{name}: certificates"):
        single = tuple(_block(kernels.exact(reverse, grid, *ends, source="point"), weight) for ends in pairwise(times))
        run = kernels.exact(reverse, grid, times[0], times[-1], source="point")
        chain = bounds.harris_blocks(reverse, grid=grid, t_min=times[-1], candidates=times, weight=weight)
    references = tuple(
        (bounds.dobrushin(run, weight=one.weight), bounds.harris(run, weight=one.weight)) for one in settings.whole
    )
    return Case(name, settings, reverse, ladder, curve, single, _block(run, weight), chain, references)


def _curve(settings: CaseSettings, reverse: fp.Reverse, t_min: float, tol: float, saves: int) -> xr.Dataset:
    """The distance of the start along the run, saved at the boundaries and between them."""
    shared = [t for t in settings.boundaries if t >= t_min]
    between = by_clock(reverse.process, t_min, np.linspace(0.0, 1.0, saves), offset=0.1)
    starts = {REFERENCE: reverse.marginal(shared[0]), START: settings.start}
    times = np.unique(np.concatenate([shared, between[1:-1], [t_min]]))[::-1]
    run = fp.evolve(reverse, starts, t_min=t_min, tol=tol, save_at=times, weight=settings.weight, progress=False)
    return fp.forgetting_curve(run, reference=REFERENCE, weight=settings.weight)


def _block(kernel: Kernel, weight: fp.PolynomialWeight) -> Block:
    """The best certificate over beta; the weight as given where there is none."""
    best = bounds.harris(kernel, weight=weight, optimise=True)
    found = bounds.harris(kernel, weight=weight) if best.value is None else best
    same = fp.PolynomialWeight(power=weight.power, beta=weight.beta * found.beta)
    return Block(found, bounds.dobrushin(kernel, weight=same))


#: Named checks that each control must make fail.
CONTROLS = {
    "score of the wrong sign": ("measured <= sharp Dobrushin", "measured <= Harris", "measured <= Poincare"),
    "half the noise": ("measured <= sharp Dobrushin", "measured <= Harris", "measured <= Poincare"),
    "K left out": ("sharp Dobrushin <= Harris",),
}


def checks(case: Case) -> list[Check]:
    """Return all checks of one case but the controls."""
    return [*order(case.name, case.ladder, case.curve), *_agreement(case), *_certificates(case), *_whole(case)]


def order(name: str, ladder: xr.Dataset, curve: xr.Dataset | None = None) -> list[Check]:
    """Return the inequalities of a ladder as largest ratios, at most one; not checked where a rung has no number.

    Where there is a bound before a block with a certificate, there is one after it.
    """
    margins: dict[str, float] = {}
    for hypothesis in bounds.verify(ladder, curve):
        pair = hypothesis.name.replace("curve", "measured").replace(" <= ", " / ").replace("sharp Dobrushin", "sharp")
        margins[pair] = float(np.fmin(margins.get(pair, np.nan), hypothesis.margin))
    numbers = np.isfinite(ladder[START].values[:, 1:])
    empty = set(ladder["bound"].values[~numbers.any(axis=1)])
    reasons = {pair: NOTHING for pair in margins if np.isnan(margins[pair]) and empty & set(pair.split(" / "))}
    found = [
        Check.at_most(f"{name}: {pair}, largest", 1.0 - margin, 1.0, reasons.get(pair, ""))
        for pair, margin in margins.items()
    ]
    known = numbers[list(ladder["bound"].values).index("Harris")]
    due = known | (np.isfinite(ladder["factor"].sel(bound="Harris").values) & np.append(True, known[:-1]))
    reason = "" if due.any() else NOTHING
    return [*found, Check(f"{name}: boundaries with a Harris bound", int(known.sum()), int(due.sum()), 0.0, reason)]


def _agreement(case: Case) -> list[Check]:
    """The evolved curve against the kernels' own distances, which share no time step."""
    ladder, curve = case.ladder.sel(start=START), case.curve.sel(start=START)
    gaps = []
    for k in range(1, ladder.sizes["t"]):
        t = float(ladder["t"][k])
        if t >= float(curve["t"][-1]):
            there, here = curve.sel(t=t, method="nearest"), ladder.isel(t=k)
            off = abs(float(there["distance"]) - float(here["measured"]))
            gaps.append(off / (float(there["error"]) + float(here["measured_error"])))
    return [Check.at_most(f"{case.name}: kernels against finite volumes / errors", max(gaps), 1.0)]


def _certificates(case: Case) -> list[Check]:
    """Certificates of the blocks against the sharp coefficients and what is expected of them."""
    sure = [block for block in (*case.blocks, case.whole) if block.harris.value is not None]
    worst = max((block.sharp.value / block.harris.value for block in sure if block.harris.value), default=np.inf)
    reason = "" if sure else NOTHING
    found = [Check.at_most(f"{case.name}: sharp / certificate of its block, largest", worst, 1.0, reason)]
    for block, wanted in zip(case.blocks, case.settings.certificates, strict=False):
        name = f"{case.name} {block.harris.t0:g} -> {block.harris.t1:g}"
        value = block.harris.value
        if wanted == "none":
            found.append(Check(f"{name}: certificates, none expected", float(value is not None), 0.0, 0.0))
        else:
            most = wanted + case.settings.tolerance
            found.append(Check.at_most(f"{name}: certificate", np.nan if value is None else value, most))
    return found


def _whole(case: Case) -> list[Check]:
    """The whole run as one block against expected values."""
    found = []
    for (sharp, harris), one in zip(case.references, case.settings.whole, strict=True):
        name = f"{case.name}, 1 + {one.beta:g} (1 + x^2)"
        found.append(Check(f"{name}: sharp", sharp.value, one.sharp, one.sharp_tolerance))
        found.append(Check.at_most(f"{name}: Harris", np.nan if harris.value is None else harris.value, one.harris))
    return found


def controls(case: Case) -> list[Check]:
    """Return one check per control: how many of its named checks do not fail, which must be none."""
    return [
        Check.at_most(f"control, {name}: checks that do not fail", len(set(CONTROLS[name]) - failed), 0.0)
        for name, failed in broken(case).items()
    ]


def broken(case: Case) -> dict[str, set[str]]:
    """Return the names of the checks that every control breaks.

    The first two put the distance of a run of wrong dynamics in the place of what was measured; the third computes
    Harris' number without K on every block, in the weight as given.
    """
    reverse, score = case.reverse, case.reverse.score
    scaled, share = fp.scores.perturbed, fp.scores.errors.Scaling
    wrong = {
        "score of the wrong sign": fp.Reverse(reverse.target, reverse.process, score=scaled(score, share(-2.0))),
        # noise g/2 and drift -a y + (g/2)^2 s: (1 + eta^2)/2 times 0.4 is 1/4 at eta = 1/2
        "half the noise": fp.Reverse(reverse.target, reverse.process, score=scaled(score, share(-0.6)), eta=0.5),
    }
    found = {name: _failed(_replaced(case, dynamics)) for name, dynamics in wrong.items()}
    return found | {"K left out": _failed(_without_k(case))}


def _failed(ladder: xr.Dataset) -> set[str]:
    return {hypothesis.name for hypothesis in bounds.verify(ladder) if hypothesis.fails}


def _replaced(case: Case, dynamics: fp.Reverse) -> xr.Dataset:
    """The ladder with the distance under other dynamics in place of the measured one, as far down as t > 0."""
    grid, times = case.settings.grid(), [t for t in case.settings.boundaries if t > 0.0]
    v = weights.evaluate(case.settings.weight, grid) * grid.volume
    gap = grid.cell_average(case.settings.start) - grid.cell_average(case.reverse.marginal(times[0]))
    measured = case.ladder["measured"].copy()
    for k, ends in enumerate(pairwise(times), 1):
        gap = kernels.finite_volume_operator(dynamics, grid, *ends).push(gap)
        measured[0, k] = np.sum(v * np.abs(gap))
    return case.ladder.assign(measured=measured)


def _without_k(case: Case) -> xr.Dataset:
    """The ladder with Harris' numbers of the single blocks computed as if K were 0."""
    grid, weight, numbers = case.settings.grid(), case.settings.weight, []
    for ends in pairwise(case.settings.boundaries):
        kernel = kernels.exact(case.reverse, grid, *ends, source="point")
        gammas = bounds.drift(case.reverse, *ends, grid=grid, weight=weight, kernel=kernel).gammas[:, None]
        overlap = bounds.minorization(kernel, weight=weight)
        far = (2.0 + gammas * overlap.levels) / (2.0 + overlap.levels)
        numbers.append(float(np.min(np.maximum(np.maximum(1.0 - overlap.pairwise, gammas), far))))
    factor = case.ladder["factor"].copy()
    factor.loc[{"bound": "Harris"}] = np.where(np.less(numbers, 1.0), numbers, np.nan)
    return case.ladder.assign(factor=factor)


COLUMNS = ("block", "measured", "sharp", "Harris", "beta", "gamma", "K", "R", "a''")
#: What the numbers of the table are.
STATUS: dict[Status, tuple[str, ...]] = {
    "certified": ("Harris", "beta", "gamma", "K", "R", "a''"),
    "estimated": ("measured", "sharp"),
}
NOTES = (
    "measured: share of the distance of the start that the block leaves; sharp: weighted Dobrushin coefficient; "
    "Harris: certificate abar = max{1 - a'' + beta K, gamma, (2 + beta (gamma R + 2K))/(2 + beta R)}; both in the "
    "weight 1 + beta |x|^2. gamma, K: P|x|^2 <= gamma |x|^2 + K; a'': least overlap of rows with |x|^2 + |y|^2 <= R, "
    "cells at the border of that set included.",
    "beta is the best one for each block by itself; where none gives a certificate, the constants are those of the "
    "ladder's weight. chain: the best product of certificates with one beta for all blocks. Ratios of "
    "two rungs are less 0.002, the room for the finite lists of gamma, R and beta that are tried.",
    "What the numbers are: measured and sharp are estimated (on cells), certificates and their constants certified in "
    "floating point (hypotheses and what is not checked: attribute `records` of the ladder), nothing here is proved.",
)
CAPTION = (
    "Top: distance of the start to the exact law, measured (line: finite volumes, circles: kernels by Bayes' rule), "
    "and every bound on it; bounds are known at the markers. Middle: bound divided by measurement. Bottom: contraction "
    "of every single block in the weight of the ladder; above the line at 1 nothing contracts. Certified: dashed, "
    "estimated: dotted, no certificate: hatched at the top. "
)


class Config(StudySettings):
    """Settings of the study: two cases on the line."""

    curve_t_min: PositiveFloat
    """Forward time at which the evolved curve ends."""
    tol: Tol
    saves: PositiveInt
    """Times of the curve."""
    controls: bool = False
    """Checks that wrong dynamics must break, with this target."""
    two_modes: CaseSettings
    """A target of two modes."""
    ou_mixture: CaseSettings | None = None
    """A mixture under Ornstein-Uhlenbeck; may be left out."""


def run(config: Config, stages: Stages) -> Report:
    """Run the study."""
    asked = _named({"two modes": config.two_modes} | ({"OU mixture": config.ou_mixture} if config.ou_mixture else {}))
    with stages.total(3 * len(asked) + 2):
        shared = config.curve_t_min, config.tol, config.saves, stages
        cases = [solve(name, settings, *shared) for name, settings in asked.items()]
        with stages("controls"):
            # which checks a control breaks is known of the shipped law only
            controlled = controls(cases[0]) if config.controls else []
        with stages("figure"):
            drawn = _figure(cases)
    parts = {f"{case.name}_{kind}": getattr(case, kind) for case in cases for kind in ("ladder", "curve")}
    return Report(
        study="harris-ladder", title=config.title, question=config.question,
        answer=tuple(_answer(case) for case in cases),
        headline="; ".join(_headline(case) for case in cases),
        checks=(*(check for case in cases for check in checks(case)), *controlled),
        table=Table(COLUMNS, tuple(row for case in cases for row in _rows(case))), status=STATUS, notes=NOTES,
        figure=drawn, caption=CAPTION + " ".join(f"{name}: {_laws(settings)}." for name, settings in asked.items()),
        metrics={name: value for case in cases for name, value in _metrics(case).items()},
        datasets={"": cases[0].ladder} | {name.replace(" ", "_"): part for name, part in parts.items()},
    )  # fmt: skip


def _named(cases: dict[str, CaseSettings]) -> dict[str, CaseSettings]:
    """The cases by names that fit other data and processes too."""
    others = [one for one in cases.values() if one.target.components is None or hasattr(one.target, "samples")]
    if not others and not any(one.process.plain is not one.process for one in cases.values()):
        return cases
    named = {}
    for one in cases.values():
        law = "data" if hasattr(one.target, "samples") else formula(one.target)
        named[f"{law}, {called(one.process)}, beta = {one.weight.beta:g}"] = one
    return named


def _rows(case: Case) -> list[tuple[str, ...]]:
    """One row per block, one for the whole run, one for the chain."""
    measured = case.ladder["measured"].sel(start=START).values
    shares = [*(measured[1:] / measured[:-1]), measured[-1] / measured[0]]
    rows = [_row(case, block, share) for block, share in zip((*case.blocks, case.whole), shares, strict=True)]
    chain = case.chain
    name = f"{case.name}, chain of {len(chain.blocks)}"
    beta = number(chain.beta * case.settings.weight.beta, 3)
    return [*rows, (name, "", "", _certificate(chain.value), beta, "", "", "", "")]


def _row(case: Case, block: Block, share: float) -> tuple[str, ...]:
    # gamma, K and R are those of V = beta_0 |x|^2, beta_0 the ladder's own
    found, own = block.harris, case.settings.weight.beta
    constants = (found.beta * own, found.gamma, found.K / own, found.R / own, found.overlap)
    # rounding may leave an overlap of nothing at -1e-16
    texts = (number(round(value, 12) + 0.0, 3) for value in constants)
    shares = number(share, 3), f"{block.sharp.value:.4f}", _certificate(found.value)
    return (f"{case.name} {_span(block)}", *shares, *texts)


def _laws(one: CaseSettings) -> str:
    return f"{formula(one.target)}, {called(one.process)}, start {formula(one.start)}"


def _span(block: Block) -> str:
    return f"{block.harris.t0:g} -> {block.harris.t1:g}"


def _certificate(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _answer(case: Case) -> str:
    last = case.ladder[START].isel(t=-1) / float(case.ladder["measured"].sel(start=START)[-1])
    ratios = [f"{bound} {number(float(r), 3)}" for bound, r in zip(last["bound"].values, last.values, strict=True)]
    first, end = case.ladder["measured"].sel(start=START).values[[0, -1]]
    missing = [_span(b) for b in case.blocks if b.harris.value is None]
    where = f"No certificate: {', '.join(missing)}." if missing else "Every block has a certificate."
    return (
        f"{case.name}: the distance falls from {number(first, 3)} to {number(end, 3)}; bound / measured at the end: "
        f"{', '.join(ratios)}. {where} The run as one block is certified to contract by "
        f"{_certificate(case.whole.harris.value)} where the sharp coefficient is {case.whole.sharp.value:.4f}; the "
        f"best chain of blocks with one beta has {len(case.chain.blocks)} of them and {_certificate(case.chain.value)}."
    )


def _headline(case: Case) -> str:
    last = case.ladder.sel(start=START).isel(t=-1)
    apart = with_error(float(last["measured"]), float(last["measured_error"]))
    most = _certificate(case.whole.harris.value)
    return f"{case.name}: distance at the end {apart}, contraction at most {most} (certified)"


def _metrics(case: Case) -> dict[str, float]:
    key = case.name.replace(" ", "_")
    last = case.ladder.isel(t=-1)
    metrics = {f"{key}_measured": float(last["measured"].sel(start=START))}
    for bound in last["bound"].values:
        metrics[f"{key}_{str(bound).replace(', ', '_').replace(' ', '_')}"] = float(last[START].sel(bound=bound))
    for k, block in enumerate(case.blocks):
        metrics |= {f"{key}_block_{k}_{name}": value for name, value in block.harris.constants().items()}
        certificate = np.nan if block.harris.value is None else block.harris.value
        metrics |= {f"{key}_block_{k}_sharp": block.sharp.value, f"{key}_block_{k}_certificate": certificate}
    metrics[f"{key}_chain"] = np.nan if case.chain.value is None else case.chain.value
    return metrics


def _figure(cases: list[Case]) -> Figure:
    from matplotlib.figure import Figure

    whole = Figure(figsize=(5.6 * len(cases), 9.6), layout="constrained")
    axes = whole.subplots(3, len(cases), height_ratios=(1.5, 1.0, 1.0), squeeze=False)
    for column, case in zip(axes.T, cases, strict=True):
        plots.ladder(case.ladder, curve=case.curve, legend="none", ax=column[0])
        plots.ratio(case.ladder, legend="none", ax=column[1])
        plots.factors(case.ladder, legend="none", ax=column[2])
        column[0].set_title(case.name, fontsize="medium")
        limits = column[0].get_xlim()
        for ax in column[1:]:
            ax.set_xlim(*limits)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    whole.legend(handles, labels, loc="outside lower center", ncols=min(3, 1 + len(cases)), frameon=False)
    return whole

"""Study: every bound on forgetting beside the measurement, and Harris' theorem block by block with its constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from fpsolve import plots
from fpsolve._messages import Status
from fpsolve.studies._harris_case import START, Block, Case, CaseSettings, checks, controls, solve
from fpsolve.studies.config import Stages, StudySettings, Tol
from fpsolve.studies.report import Report, Table, formula, number
from fpsolve.studies.units import called

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = ["Config", "run"]

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
    asked = {"two modes": config.two_modes} | ({"OU mixture": config.ou_mixture} if config.ou_mixture else {})
    asked = _named(asked)
    with stages.total(3 * len(asked) + 2):
        cases = [
            solve(name, settings, config.curve_t_min, config.tol, config.saves, stages)
            for name, settings in asked.items()
        ]
        with stages("controls"):
            # which checks a control breaks is known of the shipped law only
            controlled = controls(cases[0]) if config.controls else []
        with stages("figure"):
            drawn = _figure(cases)
    return Report(
        study="harris-ladder",
        title=config.title,
        question=config.question,
        answer=tuple(_answer(case) for case in cases),
        checks=(*(check for case in cases for check in checks(case)), *controlled),
        table=Table(COLUMNS, tuple(row for case in cases for row in _rows(case))),
        status=STATUS,
        notes=NOTES,
        figure=drawn,
        caption=CAPTION + " ".join(_described(case) for case in cases),
        metrics={name: value for case in cases for name, value in _metrics(case).items()},
        datasets=_datasets(cases),
    )


def _named(cases: dict[str, CaseSettings]) -> dict[str, CaseSettings]:
    """The cases by names that fit other data and processes too."""
    if not any(hasattr(one.target, "samples") or one.process.plain is not one.process for one in cases.values()):
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
    name = f"{case.name} {_span(block)}"
    return (name, number(share, 3), f"{block.sharp.value:.4f}", _certificate(found.value), *texts)


def _span(block: Block) -> str:
    return f"{block.harris.t0:g} -> {block.harris.t1:g}"


def _certificate(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _answer(case: Case) -> str:
    ladder = case.ladder
    last = ladder[START].isel(t=-1) / float(ladder["measured"].sel(start=START)[-1])
    ratios = [f"{bound} {number(float(r), 3)}" for bound, r in zip(last["bound"].values, last.values, strict=True)]
    first, end = ladder["measured"].sel(start=START).values[[0, -1]]
    missing = [_span(b) for b in case.blocks if b.harris.value is None]
    where = f"No certificate: {', '.join(missing)}." if missing else "Every block has a certificate."
    return (
        f"{case.name}: the distance falls from {number(first, 3)} to {number(end, 3)}; bound / measured at the end: "
        f"{', '.join(ratios)}. {where} The run as one block is certified to contract by "
        f"{_certificate(case.whole.harris.value)} where the sharp coefficient is {case.whole.sharp.value:.4f}; the "
        f"best chain of blocks with one beta has {len(case.chain.blocks)} of them and {_certificate(case.chain.value)}."
    )


def _metrics(case: Case) -> dict[str, float]:
    key = case.name.replace(" ", "_")
    last = case.ladder.isel(t=-1)
    metrics = {f"{key}_measured": float(last["measured"].sel(start=START))}
    for bound in last["bound"].values:
        metrics[f"{key}_{str(bound).replace(', ', '_').replace(' ', '_')}"] = float(last[START].sel(bound=bound))
    for k, block in enumerate(case.blocks):
        metrics |= {f"{key}_block_{k}_{name}": value for name, value in block.harris.constants().items()}
        metrics |= {f"{key}_block_{k}_sharp": block.sharp.value}
        metrics |= {f"{key}_block_{k}_certificate": np.nan if block.harris.value is None else block.harris.value}
    metrics[f"{key}_chain"] = np.nan if case.chain.value is None else case.chain.value
    return metrics


def _datasets(cases: list[Case]) -> dict[str, xr.Dataset]:
    found = {"": cases[0].ladder}
    for case in cases:
        key = case.name.replace(" ", "_")
        found |= {f"{key}_ladder": case.ladder, f"{key}_curve": case.curve}
    return found


def _described(case: Case) -> str:
    ours = case.settings
    return f"{case.name}: {formula(ours.target)}, {called(ours.process)}, start {formula(ours.start)}."


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
    whole.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return whole

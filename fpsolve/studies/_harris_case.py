"""The Harris ladder study's certificates and checks.

One case of the Harris ladder: target, blocks, the ladder itself, an evolved curve and the best certificates.

What the Harris ladder checks: order of the rungs, expected values, and controls that must break named checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import xarray as xr
from pydantic import Field, PositiveFloat

import fpsolve as fp
from fpsolve import bounds, kernels, weights
from fpsolve._checks import FloatArray
from fpsolve.kernels import Kernel
from fpsolve.settings import Settings, Table
from fpsolve.studies.config import WEIGHT, Box, Cells, LineStart, LineTarget, OwnProcess, Stages
from fpsolve.studies.report import Check
from fpsolve.studies.units import by_clock

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
    weight: Annotated[fp.PolynomialWeight, Table(fp.PolynomialWeight), Field(description=WEIGHT)]
    target: LineTarget
    start: LineStart
    """Law that the curve starts from."""
    certificates: tuple[PositiveFloat | Literal["none"], ...] = ()
    """Expected contraction of each block at the best beta, or "none"."""
    tolerance: PositiveFloat = 0.005
    """How far above them one may be."""
    whole: tuple[WholeSettings, ...] = ()
    """What is expected of the whole run as one block; may be left out."""

    def reverse(self) -> fp.Reverse:
        """Return the reverse dynamics with the exact score."""
        return fp.Reverse(self.target, self.process)

    def grid(self) -> fp.Grid:
        """Return the cells."""
        return fp.Grid.uniform(self.box, cells=self.cells)


@dataclass(frozen=True, eq=False)
class Block:
    """A block with the best certificate that Harris' theorem has for it, and the sharp coefficient beside it.

    Attributes
    ----------
    harris : Harris
        In the weight ``1 + beta V`` with its own beta; as given where no beta has a certificate.
    sharp : Dobrushin
        In the same weight.
    """

    harris: bounds.Harris
    sharp: bounds.Dobrushin


@dataclass(frozen=True, eq=False)
class Case:
    """Everything that was computed for one case.

    Attributes
    ----------
    name : str
    settings : CaseSettings
    reverse : Reverse
    ladder : Dataset
        Of the start, in the weight of the settings.
    curve : Dataset
        The same distance along a finite-volume run.
    blocks : tuple of Block
    whole : Block
        The run as one block.
    chain : HarrisBlocks
        The best product of certificates with one beta.
    references : tuple of (Dobrushin, Harris)
        The whole run, for each of the expected values.
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
    reverse, grid, weight = settings.reverse(), settings.grid(), settings.weight
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
    weight = settings.weight
    times = np.unique(np.concatenate([shared, between[1:-1], [t_min]]))[::-1]
    run = fp.evolve(reverse, starts, t_min=t_min, tol=tol, save_at=times, weight=weight, progress=False)
    return fp.forgetting_curve(run, reference=REFERENCE, weight=weight)


def _block(kernel: Kernel, weight: fp.PolynomialWeight) -> Block:
    """The best certificate over beta; the weight as given where there is none."""
    found = bounds.harris(kernel, weight=weight, optimise=True)
    if found.value is None:
        found = bounds.harris(kernel, weight=weight)
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
    """Return the inequalities of a ladder as largest ratios, at most one; NaN, which fails, without any pair."""
    margins: dict[str, float] = {}
    for hypothesis in bounds.verify(ladder, curve):
        pair = hypothesis.name.replace("curve", "measured").replace(" <= ", " / ").replace("sharp Dobrushin", "sharp")
        margins[pair] = float(np.fmin(margins.get(pair, np.nan), hypothesis.margin))
    known = int(np.isfinite(ladder[START].sel(bound="Harris").values[1:]).sum())
    return [
        *(Check.at_most(f"{name}: {pair}, largest", 1.0 - margin, 1.0) for pair, margin in margins.items()),
        Check(f"{name}: boundaries with a Harris bound", known, ladder.sizes["block"], 0.0),
    ]


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
    found = [Check.at_most(f"{case.name}: sharp / certificate of its block, largest", worst, 1.0)]
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
    grid, weight = case.settings.grid(), case.settings.weight
    numbers = []
    for ends in pairwise(case.settings.boundaries):
        kernel = kernels.exact(case.reverse, grid, *ends, source="point")
        gammas = bounds.drift(case.reverse, *ends, grid=grid, weight=weight, kernel=kernel).gammas[:, None]
        overlap = bounds.minorization(kernel, weight=weight)
        far = (2.0 + gammas * overlap.levels) / (2.0 + overlap.levels)
        numbers.append(float(np.min(np.maximum(np.maximum(1.0 - overlap.pairwise, gammas), far))))
    found = np.array(numbers)
    factor = case.ladder["factor"].copy()
    factor.loc[{"bound": "Harris"}] = np.where(found < 1.0, found, np.nan)
    return case.ladder.assign(factor=factor)

"""One case of the Harris ladder: target, blocks, the ladder itself, an evolved curve and the best certificates."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import xarray as xr
from pydantic import Field, PositiveFloat

import fpsolve as fp
from fpsolve import bounds, kernels
from fpsolve._checks import FloatArray
from fpsolve.kernels import Kernel
from fpsolve.settings import Settings, Table
from fpsolve.studies._config import AnyProcess, LineStart, LineTarget
from fpsolve.studies._stages import Stages

__all__ = ["START", "Block", "Case", "CaseSettings", "WholeSettings", "solve"]

#: Label of the start, and of the law it is compared with.
START, REFERENCE = "nu", "exact"


class WholeSettings(Settings):
    """What is expected of the whole run as one block, in the weight ``1 + beta (1 + x^2)``."""

    beta: PositiveFloat
    sharp: PositiveFloat
    sharp_tolerance: PositiveFloat
    harris: PositiveFloat

    def weight(self, x: FloatArray) -> FloatArray:
        """``1 + beta (1 + x^2)`` at points x on the line."""
        return 1.0 + self.beta * (1.0 + np.square(x))


class CaseSettings(Settings):
    """A target on the line, the blocks of its run, and what is expected of them."""

    boundaries: Annotated[tuple[float, ...], Field(min_length=2)]
    box: tuple[float, float]
    cells: Annotated[int, Field(ge=50, le=2000)]
    process: AnyProcess
    # the certificates are looked for over beta
    weight: Annotated[fp.PolynomialWeight, Table(fp.PolynomialWeight)]
    target: LineTarget
    start: LineStart
    certificates: tuple[PositiveFloat | Literal["none"], ...] = ()
    tolerance: PositiveFloat = 0.005
    whole: tuple[WholeSettings, ...] = ()

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
    between = np.geomspace(shared[0], t_min, saves)
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

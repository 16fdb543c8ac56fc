"""The TOML file of ``fpsolve sweep``, read by pydantic: unknown keys are errors, all errors are told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from fpsolve import _toml
from fpsolve._checks import error
from fpsolve._toml import Seed, Settings
from fpsolve.campaign._laws import (
    LawSettings,
    PolynomialWeightSettings,
    PriorSettings,
    ProcessSettings,
    StartSettings,
    WeightSettings,
)
from fpsolve.campaign._score_errors import ScoreErrorSettings
from fpsolve.grid import Grid

__all__ = ["GridSettings", "SweepSettings", "read"]

_Several = Field(min_length=1)


class GridSettings(Settings):
    """A grid and a number of steps: one level, in place of a tolerance."""

    bounds: tuple[float, float] | tuple[tuple[float, float], tuple[float, float]]
    cells: PositiveInt | tuple[PositiveInt, PositiveInt]
    steps: PositiveInt

    @property
    def label(self) -> str:
        """``400 cells, 200 steps``."""
        cells = self.cells if isinstance(self.cells, int) else " x ".join(str(n) for n in self.cells)
        return f"{cells} cells, {self.steps} steps"

    def build(self) -> Grid:
        """Return the grid."""
        return Grid.uniform(self.bounds, cells=self.cells)


class SweepSettings(Settings):
    """Targets x processes x score errors x eta x (tolerances or grids); everything else holds for all points.

    Attributes
    ----------
    targets, processes : non-empty lists of tables with a `kind`, optionally a `name`
    score_errors : list of tables with a `kind`, optionally a `name`; default the exact score, without a dimension
    eta : list of numbers >= 0, default [1.0]
    tol : list of numbers > 0, or `grids`: list of {bounds, cells, steps}; exactly one of them
    starts : list of laws or {kind = "prior"}, default the prior
        What the law p_T of the forward process, the reference, is compared with.
    t_min : number > 0
        Forward time at which the reverse run ends.
    save_at : list of numbers, optional
        Forward times of the curve, default about 50.
    weight : table with a `kind`, default ``1 + |x|^2``
    seed : integer >= 0, default 0
    """

    targets: Annotated[tuple[LawSettings, ...], _Several]
    processes: Annotated[tuple[ProcessSettings, ...], _Several]
    score_errors: Annotated[tuple[ScoreErrorSettings, ...], _Several] | None = None
    eta: Annotated[tuple[NonNegativeFloat, ...], _Several] = (1.0,)
    tol: Annotated[tuple[PositiveFloat, ...], _Several] | None = None
    grids: Annotated[tuple[GridSettings, ...], _Several] | None = None
    starts: Annotated[tuple[StartSettings, ...], _Several] = (PriorSettings(kind="prior"),)
    t_min: PositiveFloat
    save_at: Annotated[tuple[PositiveFloat, ...], _Several] | None = None
    weight: WeightSettings = PolynomialWeightSettings()
    seed: Seed = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.tol is None) == (self.grids is None):
            raise error("tol / grids", "exactly one of these", "neither" if self.tol is None else "both")
        for name in ("targets", "processes", "score_errors", "starts", "grids"):
            labels = [one.label for one in getattr(self, name) or ()]
            for label in labels:
                if labels.count(label) > 1:
                    raise error(name, "different ones", f"{label!r} twice", 'tell them apart by name = "..."')
        return self


def read(path: str | Path) -> SweepSettings:
    """Return the settings of a sweep.

    Raises
    ------
    ValueError
        The file cannot be read, is not TOML, or does not fit; all misfits are told, with their paths.
    """
    return _toml.read("FILE", SweepSettings, "the settings of a sweep", path)

"""The TOML file of ``fpsolve sweep``: unknown keys are errors, all errors are told at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Self, TypeAlias, TypeVar

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from pydantic_core import CoreSchema, core_schema

from fpsolve import scores, settings, weights
from fpsolve._checks import error
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.processes import Process
from fpsolve.scores import errors
from fpsolve.settings import ERRORS, Family, Made, Misfit, Misfits, Seed, Settings, Table, family_of, made, refused
from fpsolve.weights import Weight

_Several = Field(min_length=1)
_Value = TypeVar("_Value", covariant=True)


@dataclass(frozen=True)
class ScoreModel:
    """The exact score of whatever target and process, with an error.

    Attributes
    ----------
    error : callable or Scaling or None
        One of `fpsolve.scores.errors`; None is the exact score.
    units : {"score", "noise"}
        Of the score, or of a noise prediction: then the error of the score is ``-error/s_t``.
    """

    error: Any
    units: Literal["score", "noise"] = "score"

    def of(self, target: Law, process: Process) -> scores.Score | None:
        """The score model for a target and a process; None for the exact score."""
        if self.error is None:
            return None
        error = errors.InNoiseUnits(self.error, process) if self.units == "noise" else self.error
        return scores.perturbed(scores.exact(target, process), error)


@dataclass(frozen=True)
class Named(Generic[_Value]):
    """An object of a file, and its label in the result: its name, or ``kind(what was written)``."""

    label: str
    value: _Value
    made: Made


@dataclass(frozen=True, eq=False)
class _Named:
    """For `typing.Annotated`: a table with an optional name that becomes a `Named`; `also` are kinds of no class."""

    family: Family
    also: Mapping[str, Any] = field(default_factory=dict)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """A table with its kind."""
        return {"type": "object", "properties": {"kind": {"type": "string"}, "name": {"type": "string"}}}

    def read(self, table: Any) -> Named[Any]:
        written = dict(table) if isinstance(table, Mapping) else table
        name = written.pop("name", None) if isinstance(written, dict) else None
        wrong = [Misfit(("name",), f"expected text that is not empty, got {name!r}")]
        found = [] if name is None or (isinstance(name, str) and name) else wrong
        try:
            one = self._made(written)
        except Misfits as misfits:
            found += misfits.found
        if found:
            raise refused(found)
        told = (f"{key}={list(part) if isinstance(part, tuple) else part}" for key, part in one.given.items())
        return Named(name or (f"{one.kind}({', '.join(told)})" if one.given else one.kind), one.value, one)

    def _made(self, written: Any) -> Made:
        return made(written, self.family, also=self.also)


class _ScoreErrors(_Named):
    """The same for score errors, whose `units` may be those of a noise prediction unless they are relative."""

    def _made(self, written: Any) -> Made:
        units = {"units": written["units"]} if isinstance(written, dict) and "units" in written else {}
        rest = {key: value for key, value in written.items() if key != "units"} if units else written
        one = super()._made(rest)
        allowed = ("score", "noise") if callable(one.value) else ("score",)
        if units and (units["units"] not in allowed or not callable(one.value)):
            raise Misfits([Misfit(("units",), settings.unknown(units["units"], allowed))])
        return Made(one.kind, units | one.given, ScoreModel(one.value, **units))


NamedLaw: TypeAlias = Annotated[Named[Law], _Named(family_of(Law))]
NamedStart: TypeAlias = Annotated[Named[Law | None], _Named(family_of(Law), {"prior": None})]
NamedProcess: TypeAlias = Annotated[Named[Process], _Named(family_of(Process))]
NamedScoreError: TypeAlias = Annotated[Named[ScoreModel], _ScoreErrors(ERRORS, {"none": None})]


class GridSettings(Settings):
    """A grid and a number of steps: one level, in place of a tolerance."""

    bounds: tuple[float, float] | tuple[tuple[float, float], tuple[float, float]]
    cells: PositiveInt | tuple[PositiveInt, PositiveInt]
    steps: PositiveInt

    @model_validator(mode="after")
    def _buildable(self) -> Self:
        try:
            self.build()
        except Misfits as misfits:
            raise refused(misfits.found) from None
        return self

    @property
    def label(self) -> str:
        """``400 cells, 200 steps``."""
        cells = self.cells if isinstance(self.cells, int) else " x ".join(str(n) for n in self.cells)
        return f"{cells} cells, {self.steps} steps"

    def build(self) -> Grid:
        """Return the grid."""
        grid: Grid = made({"bounds": self.bounds, "cells": self.cells}, family_of(Grid)).value
        return grid


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

    targets: Annotated[tuple[NamedLaw, ...], _Several]
    processes: Annotated[tuple[NamedProcess, ...], _Several]
    score_errors: Annotated[tuple[NamedScoreError, ...], _Several] | None = None
    eta: Annotated[tuple[NonNegativeFloat, ...], _Several] = (1.0,)
    tol: Annotated[tuple[PositiveFloat, ...], _Several] | None = None
    grids: Annotated[tuple[GridSettings, ...], _Several] | None = None
    starts: Annotated[tuple[NamedStart, ...], _Several] = (Named("prior", None, Made("prior", {}, None)),)
    t_min: PositiveFloat
    save_at: Annotated[tuple[PositiveFloat, ...], _Several] | None = None
    weight: Annotated[Weight, Table(Weight, default="polynomial")] = weights.DEFAULT
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
    return settings.read("FILE", SweepSettings, "the settings of a sweep", path)

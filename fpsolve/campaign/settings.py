"""The TOML file of ``fpsolve sweep``, and what is done at each of its points: evolve, and the forgetting curves of all
starts.

Unknown keys are errors, and all errors are told at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, Self, TypeAlias, TypeVar

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from pydantic_core import CoreSchema, core_schema

from fpsolve import scores, settings, weights
from fpsolve._checks import error
from fpsolve._messages import described
from fpsolve.campaign.command import sweep
from fpsolve.distances import forgetting_curve, to_marginals
from fpsolve.dynamics import Reverse
from fpsolve.evolution import evolve
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.processes import Process
from fpsolve.scores import errors
from fpsolve.settings import (
    ERRORS,
    Family,
    Made,
    Misfit,
    Misfits,
    Seed,
    Settings,
    Table,
    family_of,
    made,
    record,
    refused,
)
from fpsolve.weights import Weight

if TYPE_CHECKING:
    import xarray as xr


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


#: Label of the reference: the law p_T of the forward process.
REFERENCE = "exact"
EXACT = ScoreModel(None)


def forgetting(
    target: Law,
    process: Process,
    eta: float,
    *,
    score_error: ScoreModel = EXACT,
    tol: float | None = None,
    grid: tuple[Grid, int] | None = None,
    starts: Mapping[str, Law | None],
    t_min: float,
    save_at: tuple[float, ...] | None = None,
    weight: Weight | None = None,
) -> xr.Dataset:
    """Return how the starts of one reverse dynamics approach the reference, in the weighted norm.

    Parameters
    ----------
    target, process, eta
        The dynamics ``Reverse(target, process, score, eta=eta)``.
    score_error : ScoreModel, default none
        Error of the score.
    tol : float, or grid : (Grid, steps)
        Exactly one: tolerance of the run, or its grid and number of steps.
    starts : mapping of str to Law or None
        Initial laws; None is the prior of the process.
    t_min, save_at, weight
        As in `evolve`.

    Returns
    -------
    xarray.Dataset
        `weighted_tv` and `weighted_tv_error` (start): the distance at `t_min` and its error estimate; `distance`,
        `distance_error` and `rate` (start, save): the curve; `t` (save): its forward times, decreasing; `tol_met`;
        `run_error`: the largest error estimate of the densities, what `tol_met` is about;
        `model_error` and `model_error_error`: distance of the run from p_T to the law p_{t_min} of the forward process,
        what the score error costs (0 within its error for the exact score).
    """
    import xarray as xr

    reverse = Reverse(target, process, score_error.of(target, process), eta=eta)
    laws = {REFERENCE: reverse.marginal(float(process.T))}
    laws |= {label: process.prior(target.dim) if law is None else law for label, law in starts.items()}
    box, steps = (None, None) if grid is None else grid
    run = evolve(
        reverse, laws, grid=box, steps=steps, t_min=t_min, tol=tol, save_at=save_at, weight=weight, progress=False
    )
    curve = forgetting_curve(run, REFERENCE, weight).sel(start=list(starts))
    last = curve.isel(t=-1)
    cost = to_marginals(run.sel(start=[REFERENCE]).isel(t=[-1]), reverse, weight).isel(start=0, t=0)
    return xr.Dataset(
        {
            "weighted_tv": ("start", last["distance"].values),
            "weighted_tv_error": ("start", last["error"].values),
            "distance": (("start", "save"), curve["distance"].values),
            "distance_error": (("start", "save"), curve["error"].values),
            "rate": (("start", "save"), curve["rate"].values),
            "t": ("save", curve["t"].values),
            "model_error": ((), float(cost["distance"])),
            "model_error_error": ((), float(cost["error"])),
            "tol_met": ((), str(run.attrs["tol_met"])),
            "run_error": ((), float(run["error_estimate"].max())),
        },
        coords={"start": list(starts)},
        attrs={"status": "estimated"},
    )


def run(
    settings: SweepSettings, *, out: str | Path | None = None, n_jobs: int = 1, progress: bool | None = None
) -> xr.Dataset:
    """Return the results of a sweep over (target, process[, score error], eta, tol or grid), see `SweepSettings`.

    The attribute `tol_missed` counts the points whose tolerance was not met; `data` (JSON, by label) says of laws made
    from files which, and how they were standardised.
    """
    accuracy: dict[str, Any]
    errors = {one.label: one.value for one in settings.score_errors or ()}
    if settings.grids is None:
        accuracy = {"tol": settings.tol}
    else:
        accuracy = {"grid": {one.label: (one.build(), one.steps) for one in settings.grids}}
    fixed: dict[str, Any] = {
        "starts": {one.label: one.value for one in settings.starts},
        "t_min": settings.t_min,
        "save_at": settings.save_at,
        "weight": settings.weight,
    }
    written = (*settings.targets, *settings.starts)
    records = {one.label: record(**one.made.given) for one in written if "columns" in one.made.given}
    found = sweep(
        partial(forgetting, **fixed),
        n_jobs=n_jobs,
        seed=settings.seed,
        out=out,
        progress=progress,
        target={one.label: one.value for one in settings.targets},
        process={one.label: one.value for one in settings.processes},
        **({"score_error": errors} if errors else {}),
        eta=settings.eta,
        **accuracy,
    )
    found = described(found).assign_attrs(tol_missed=int((found["tol_met"] == "no").sum()))
    return found.assign_attrs(data=json.dumps(records)) if records else found

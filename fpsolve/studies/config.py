"""Settings that studies share, and the stages they report.

Settings of studies, read from TOML by pydantic: unknown keys are errors, all errors are told at once.

Where a study is: named stages, shown as a bar on a terminal, timed for the report.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
    StrictInt,
    StrictStr,
)

import fpsolve as fp
from fpsolve import data, samplers
from fpsolve._messages import interactive, progress
from fpsolve.laws import Law
from fpsolve.processes import Process
from fpsolve.settings import Seed, Table
from fpsolve.settings import Settings as Settings
from fpsolve.settings import read as read_file
from fpsolve.studies._catalogue import settings
from fpsolve.studies.options import Options
from fpsolve.studies.units import own_units
from fpsolve.weights import Weight

#: Where every stage is a line when there is no bar.
LOG = logging.getLogger("fpsolve.studies")
PROCESS = "Forward process: its kind and the options of that kind."
WEIGHT = "Weight V(x) of the norm: 1 + beta |x|^power, or another kind."
#: Objects that a file describes by tables with a kind; without one it is the kind that is named here.
AnyProcess: TypeAlias = Annotated[Process, Table(Process), Field(description=PROCESS)]
#: A process in its own units.
OwnProcess: TypeAlias = Annotated[Process, Table(Process), AfterValidator(own_units), Field(description=PROCESS)]
AnyWeight: TypeAlias = Annotated[Weight, Table(Weight, default="polynomial"), Field(description=WEIGHT)]
AnyLaw: TypeAlias = Annotated[Law, Table(Law, default="gaussian")]
LineStart: TypeAlias = Annotated[Law, Table(Law, default="gaussian", dim=1)]
LineTarget: TypeAlias = Annotated[
    Law, Table(Law, default="gaussian-mixture", dim=1), Field(description="Law on the line that the process noises.")
]
#: Numbers that many studies have.
TMin: TypeAlias = Annotated[float, Field(gt=0.0, description="Forward time at which runs end.")]
Tol: TypeAlias = Annotated[float, Field(gt=0.0, description="Error that runs may have, in the weighted norm.")]
Cells: TypeAlias = Annotated[int, Field(ge=50, le=2000, description="Cells of the box.")]
Box: TypeAlias = Annotated[tuple[float, float], Field(description="Ends of the box.")]


class StudySettings(Settings):
    """What every study has."""

    title: str
    """Title of the report."""
    question: str
    """What it asks, in a sentence or two."""
    seed: Seed = 0
    """Seed of everything random."""


class DataSettings(Settings):
    """One or two columns of a CSV or .npy file, by name or by place from 0, or of a bundled table by its name.

    `bandwidth` in standard deviations, or Scott's rule; `bins` in bandwidths, default none.
    """

    file: str = "old_faithful"
    """CSV or .npy file, or a bundled table: old_faithful, penguins, seattle_rain or sunspots."""
    columns: Annotated[tuple[StrictStr | StrictInt, ...], Field(min_length=1, max_length=2)]
    """One or two of its columns, by name or by place from 0."""
    bandwidth: Literal["scott"] | PositiveFloat = "scott"
    """Standard deviation of the kernels in those of the data, or "scott"."""
    bins: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    """Width of the bins that kernels are put together in, in bandwidths; default none."""

    def table(self) -> data.Table:
        """Return the columns, read and checked."""
        return data.read(self.file, self.columns)

    def kernel_density(self, samples: Any) -> fp.KernelDensity:
        """Return the kernel density of standardised samples."""
        bandwidth = None if self.bandwidth == "scott" else self.bandwidth
        return fp.KernelDensity(samples, bandwidth=bandwidth, bins=self.bins)


def _sampler(given: Any) -> samplers.Sampler:
    """A sampler by its name, or as a table with its kind and options: ``{kind = "edm", churn = 5.0}``."""
    options = dict(given) if isinstance(given, dict) else {"kind": given}
    try:
        return samplers.get(options.pop("kind", "a table without its kind"), "kind", **options)
    except ValueError as reason:
        raise ValueError(str(reason).removeprefix("kind: ")) from None


def _as_given(sampler: samplers.Sampler) -> str | dict[str, Any]:
    """The name of a sampler, or a table of its kind and the options that are not the default."""
    fields = getattr(sampler, "__dataclass_fields__", {})
    options = {name: getattr(sampler, name) for name, one in fields.items() if getattr(sampler, name) != one.default}
    return {"kind": sampler.name, **options} if options else sampler.name


SamplerSettings = Annotated[
    samplers.Sampler,
    PlainValidator(_sampler, json_schema_input_type=str | dict[str, Any]),
    PlainSerializer(_as_given),
]
SamplerName = Annotated[StrictStr, AfterValidator(lambda name: _sampler(name).name)]


class ParticleSettings(Settings):
    """How many particles, by which method, in how many steps; `false_alarm` of each comparison."""

    n: PositiveInt
    """Number of particles."""
    steps: PositiveInt
    """Number of their steps."""
    method: SamplerSettings
    """Sampler: its name, or a table of its kind and options."""
    false_alarm: Annotated[float, Field(gt=0.0, lt=1.0)] = 1e-3
    """Probability that a true match is called "disagree", per comparison."""


_Read = TypeVar("_Read", bound=StudySettings)


def read(name: str, kind: type[_Read], path: str | Path | None = None, options: Options | None = None) -> _Read:
    """Return the settings of a study, its own or those of a file, with what a command line changes in them.

    Raises
    ------
    ValueError
        The file cannot be read, is not TOML, or does not fit; all misfits are told, with their paths.
    """
    expected = f"settings of {name!r}"
    change = partial((Options() if options is None else options).apply, name)
    where, text = (f"{name}.toml", settings(name)) if path is None else (path, None)
    return read_file("config", kind, expected, where, text, change)


class Stages:
    """Names, counts and times the stages of a study.

    Parameters
    ----------
    study : str
        Text in front of the bar.
    enabled : bool, optional
        Show the bar; default only on a terminal or in a notebook.

    Examples
    --------
    >>> stages = Stages("forgetting", enabled=False)
    >>> with stages.total(1), stages("adding"):
    ...     total = 1 + 1
    >>> list(stages.seconds)
    ['adding']
    """

    def __init__(self, study: str, enabled: bool | None = None) -> None:
        self.study, self.enabled = study, enabled
        #: Wall time of every stage so far, in seconds.
        self.seconds: dict[str, float] = {}

    @contextmanager
    def total(self, count: int) -> Iterator[None]:
        """Show a bar of `count` stages while the block runs."""
        with progress(count, self.study, self.enabled) as self._bar:
            yield

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Run one stage."""
        self._bar.set_postfix_str(name)
        began = time.perf_counter()
        yield
        took = time.perf_counter() - began
        self.seconds[name] = self.seconds.get(name, 0.0) + took
        self._bar.update()
        if not (interactive() if self.enabled is None else self.enabled):
            LOG.info("%s: %s, %.1f s", self.study, name, took)

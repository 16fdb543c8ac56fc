"""Settings of studies, read from TOML by pydantic: unknown keys are errors, all errors are told at once."""

from __future__ import annotations

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
from fpsolve.laws import Law
from fpsolve.processes import Process
from fpsolve.settings import Seed, Settings, Table
from fpsolve.settings import read as read_file
from fpsolve.studies._catalogue import settings
from fpsolve.weights import Weight

__all__ = [
    "AnyLaw",
    "AnyProcess",
    "AnyWeight",
    "DataSettings",
    "LineStart",
    "LineTarget",
    "ParticleSettings",
    "SamplerName",
    "SamplerSettings",
    "Settings",
    "StudySettings",
    "read",
]

#: Objects that a file describes by tables with a kind; without one it is the kind that is named here.
AnyProcess: TypeAlias = Annotated[Process, Table(Process)]
AnyWeight: TypeAlias = Annotated[Weight, Table(Weight, default="polynomial")]
AnyLaw: TypeAlias = Annotated[Law, Table(Law, default="gaussian")]
LineStart: TypeAlias = Annotated[Law, Table(Law, default="gaussian", dim=1)]
LineTarget: TypeAlias = Annotated[Law, Table(Law, default="gaussian-mixture", dim=1)]


class StudySettings(Settings):
    """What every study has."""

    title: str
    question: str
    seed: Seed = 0


class DataSettings(Settings):
    """One or two columns of a CSV or .npy file, by name or by place from 0; "old_faithful" is the bundled one.

    `bandwidth` in standard deviations, or Scott's rule.
    """

    file: str = "old_faithful"
    columns: Annotated[tuple[StrictStr | StrictInt, ...], Field(min_length=1, max_length=2)]
    bandwidth: Literal["scott"] | PositiveFloat = "scott"

    def table(self) -> data.Table:
        """Return the columns, read and checked."""
        return data.read(self.file, self.columns)

    def kernel_density(self, samples: Any) -> fp.KernelDensity:
        """Return the kernel density of standardised samples."""
        return fp.KernelDensity(samples, bandwidth=None if self.bandwidth == "scott" else self.bandwidth)


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


SamplerSettings = Annotated[samplers.Sampler, PlainValidator(_sampler), PlainSerializer(_as_given)]
SamplerName = Annotated[StrictStr, AfterValidator(lambda name: _sampler(name).name)]


class ParticleSettings(Settings):
    """How many particles, by which method, in how many steps; `false_alarm` of each comparison."""

    n: PositiveInt
    steps: PositiveInt
    method: SamplerSettings
    false_alarm: Annotated[float, Field(gt=0.0, lt=1.0)] = 1e-3


_Read = TypeVar("_Read", bound=StudySettings)


def read(name: str, kind: type[_Read], path: str | Path | None = None) -> _Read:
    """Return the settings of a study, its own or those of a file.

    Raises
    ------
    ValueError
        The file cannot be read, is not TOML, or does not fit; all misfits are told, with their paths.
    """
    expected = f"settings of {name!r}"
    if path is None:
        return read_file("config", kind, expected, f"{name}.toml", settings(name))
    return read_file("config", kind, expected, path)

"""Settings of studies, read from TOML by pydantic: unknown keys are errors, all errors are told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

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
from fpsolve import _checks, _toml, data, samplers
from fpsolve._toml import Seed, Settings
from fpsolve.laws import Gaussian
from fpsolve.processes import Process
from fpsolve.studies._catalogue import settings

__all__ = [
    "DataSettings",
    "GaussianSettings",
    "MixtureSettings",
    "ParticleSettings",
    "ProcessSettings",
    "SamplerName",
    "SamplerSettings",
    "Settings",
    "StudySettings",
    "WeightSettings",
    "read",
]


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


class GaussianSettings(Settings):
    """A Gaussian start: mean (one number per axis) and one standard deviation."""

    mean: float | tuple[float, float]
    std: PositiveFloat

    def law(self, dim: int) -> Gaussian:
        """Return the law; ValueError if the mean has another dimension."""
        own = 2 if isinstance(self.mean, tuple) else 1
        _checks.same_dim("starts: mean", own, "the data", dim)
        return Gaussian(self.mean, std=self.std)

    def described(self) -> str:
        """Return ``N(mean, std^2)`` as mathematics."""
        identity = "I" if isinstance(self.mean, tuple) else ""
        mean = ", ".join(f"{m:g}" for m in self.mean) if isinstance(self.mean, tuple) else f"{self.mean:g}"
        return f"$N({f'({mean})' if identity else mean}, {self.std:g}^2{identity})$"


class MixtureSettings(Settings):
    """A Gaussian mixture on the line."""

    weights: tuple[PositiveFloat, ...]
    means: tuple[float, ...]
    stds: tuple[PositiveFloat, ...]

    def build(self) -> fp.GaussianMixture:
        """Return the mixture."""
        return fp.GaussianMixture(weights=self.weights, means=self.means, stds=self.stds)


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


class WeightSettings(Settings):
    """``V(x) = 1 + beta |x|^power``."""

    power: PositiveFloat = 2.0
    beta: Annotated[float, Field(ge=0.0)] = 1.0

    def build(self) -> fp.PolynomialWeight:
        """Return the weight."""
        return fp.PolynomialWeight(power=self.power, beta=self.beta)


class _OrnsteinUhlenbeck(Settings):
    kind: Literal["ornstein-uhlenbeck"]
    T: PositiveFloat

    def build(self) -> Process:
        return fp.OrnsteinUhlenbeck(T=self.T)


class _VP(Settings):
    kind: Literal["vp"]
    beta_min: PositiveFloat = 0.1
    beta_max: PositiveFloat = 20.0
    T: PositiveFloat = 1.0
    sigma: PositiveFloat = 1.0
    curvature: float = 0.0

    def build(self) -> Process:
        return fp.VP(
            beta_min=self.beta_min, beta_max=self.beta_max, T=self.T, sigma=self.sigma, curvature=self.curvature
        )


class _CosineVP(Settings):
    kind: Literal["cosine-vp"]
    T: PositiveFloat = 1.0

    def build(self) -> Process:
        return fp.CosineVP(T=self.T)


ProcessSettings = Annotated[_OrnsteinUhlenbeck | _VP | _CosineVP, Field(discriminator="kind")]

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
        return _toml.read("config", kind, expected, f"{name}.toml", settings(name))
    return _toml.read("config", kind, expected, path)

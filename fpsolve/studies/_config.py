"""Settings of studies, read from TOML by pydantic: unknown keys are errors, all errors are told at once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, StrictInt, StrictStr, ValidationError

import fpsolve as fp
from fpsolve import _checks, data
from fpsolve.laws import Gaussian
from fpsolve.processes import Process
from fpsolve.studies._catalogue import settings

__all__ = [
    "DataSettings",
    "GaussianSettings",
    "MixtureSettings",
    "ParticleSettings",
    "ProcessSettings",
    "Settings",
    "StudySettings",
    "WeightSettings",
    "read",
]


class Settings(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StudySettings(Settings):
    """What every study has."""

    title: str
    question: str
    seed: Annotated[int, Field(ge=0)] = 0


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


class ParticleSettings(Settings):
    """How many particles, by which method, in how many steps; `false_alarm` of each comparison."""

    n: PositiveInt
    steps: PositiveInt
    method: Literal["euler-maruyama", "exponential-integrator"]
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
    source = f"{name}.toml" if path is None else str(path)
    try:
        text = settings(name) if path is None else Path(path).read_text(encoding="utf-8")
        return kind.model_validate(tomllib.loads(text))
    except OSError as reason:
        raise _checks.error("config", "a readable TOML file", f"{source}: {reason.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise _checks.error("config", "a TOML file", f"{source}: {reason}") from None
    except ValidationError as misfits:
        raise _checks.error("config", f"settings of {name!r}", f"{source} with {_told(misfits)}") from None


def _told(misfits: ValidationError) -> str:
    """Return every misfit as ``path: what is wrong (value)``."""
    told = []
    for misfit in misfits.errors(include_url=False):
        path = ".".join(str(part) for part in misfit["loc"]) or "the file"
        came = "" if misfit["type"] == "missing" else f" (got {str(misfit['input'])[:60]!r})"
        told.append(f"{path}: {misfit['msg'][0].lower()}{misfit['msg'][1:]}{came}")
    return "; ".join(told)

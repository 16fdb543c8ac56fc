"""Laws, processes and weights as a sweep's TOML file writes them: one group of settings per `kind`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    StrictInt,
    StrictStr,
    model_validator,
)

import fpsolve as fp
from fpsolve import data, laws, processes, weights
from fpsolve._toml import Settings

__all__ = ["LawSettings", "Named", "Position", "ProcessSettings", "Settings", "StartSettings", "WeightSettings"]

Numbers: TypeAlias = tuple[float, ...]
#: A position: one number in 1D, two in 2D.
Position: TypeAlias = float | tuple[float, float]
#: What may differ per component: one number for all, or one each.
Each: TypeAlias = PositiveFloat | tuple[PositiveFloat, ...]
#: A variance, or the rows of a covariance.
Covariance: TypeAlias = PositiveFloat | tuple[tuple[float, float], tuple[float, float]]


class Named(Settings):
    """Settings of an object of some kind, with an optional name: its label in the result."""

    name: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _buildable(self) -> Self:
        # what the class itself refuses is told together with everything else
        self.build()
        return self

    def build(self) -> Any:
        """Return the object."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """The name, or ``kind(what was set)``."""
        if self.name is not None:
            return self.name
        told = self.model_dump(exclude_unset=True, exclude={"kind", "name"}, mode="json")
        # every kind of object has its `kind`, a literal that differs between the classes
        kind = str(self.model_dump(include={"kind"})["kind"])
        return kind + (f"({', '.join(f'{key}={value}' for key, value in told.items())})" if told else "")

    def _given(self) -> dict[str, Any]:
        """What was written in the file, as keyword arguments; the defaults are those of the classes."""
        return {key: getattr(self, key) for key in self.model_fields_set - {"kind", "name"}}


class GaussianSettings(Named):
    """`fpsolve.Gaussian`."""

    kind: Literal["gaussian"]
    mean: Position
    std: PositiveFloat | None = None
    cov: Covariance | None = None

    def build(self) -> laws.Law:
        """Return the law."""
        return fp.Gaussian(self.mean, std=self.std, cov=self.cov)


class MixtureSettings(Named):
    """`fpsolve.GaussianMixture`."""

    kind: Literal["gaussian-mixture"]
    weights: Numbers
    means: tuple[Position, ...]
    stds: Each | None = None
    covs: tuple[Covariance, ...] | None = None

    def build(self) -> laws.Law:
        """Return the law."""
        return fp.GaussianMixture(self.weights, self.means, stds=self.stds, covs=self.covs)


class LaplaceSettings(Named):
    """`fpsolve.Laplace`."""

    kind: Literal["laplace"]
    mean: Position = 0.0
    scale: Position = 1.0

    def build(self) -> laws.Law:
        """Return the law."""
        return fp.Laplace(self.mean, self.scale)


class StudentTSettings(Named):
    """`fpsolve.StudentT`."""

    kind: Literal["student-t"]
    df: float
    mean: Position = 0.0
    scale: float = 1.0

    def build(self) -> laws.Law:
        """Return the law."""
        return fp.StudentT(self.df, self.mean, self.scale)


class UniformSettings(Named):
    """`fpsolve.Uniform`."""

    kind: Literal["uniform"]
    low: Position
    high: Position

    def build(self) -> laws.Law:
        """Return the law."""
        return fp.Uniform(self.low, self.high)


class KernelDensitySettings(Named):
    """`fpsolve.KernelDensity` of one or two columns of a CSV or .npy file; "old_faithful" is the bundled one.

    Columns by name, or by place from 0. The bandwidth is in standard deviations of the data (in their own units where
    they are not standardised).
    """

    kind: Literal["kernel-density"]
    file: str = "old_faithful"
    columns: Annotated[tuple[StrictStr | StrictInt, ...], Field(min_length=1, max_length=2)]
    standardise: bool = True
    bandwidth: Literal["scott"] | PositiveFloat = "scott"

    def build(self) -> laws.Law:
        """Return the law."""
        table = data.read(self.file, self.columns)
        samples = data.standardise(table).samples if self.standardise else table.samples
        return fp.KernelDensity(samples, bandwidth=None if self.bandwidth == "scott" else self.bandwidth)

    def record(self) -> dict[str, Any]:
        """Return file, checksum and columns, and the mean and standard deviation that were taken out, if any."""
        table = data.read(self.file, self.columns)
        record = data.standardise(table).record()
        count = len(self.columns)
        return record if self.standardise else record | {"mean": [0.0] * count, "std": [1.0] * count}


class PriorSettings(Named):
    """The prior of the process, the customary start."""

    kind: Literal["prior"]

    def build(self) -> None:
        """Return None: the law depends on the process."""


class _Process(Named):
    """A process by the parameters that were set."""

    def build(self) -> processes.Process:
        """Return the process."""
        return _PROCESSES[type(self)](**self._given())


class OrnsteinUhlenbeckSettings(_Process):
    """`fpsolve.OrnsteinUhlenbeck`."""

    kind: Literal["ornstein-uhlenbeck"]
    T: float


class VPSettings(_Process):
    """`fpsolve.VP`."""

    kind: Literal["vp"]
    beta_min: float = 0.1
    beta_max: float = 20.0
    T: float = 1.0
    sigma: float = 1.0
    curvature: float = 0.0


class CosineVPSettings(_Process):
    """`fpsolve.CosineVP`."""

    kind: Literal["cosine-vp"]
    T: float = 1.0


class SubVPSettings(_Process):
    """`fpsolve.SubVP`."""

    kind: Literal["sub-vp"]
    beta_min: float = 0.1
    beta_max: float = 20.0
    T: float = 1.0


class VESettings(_Process):
    """`fpsolve.VE`."""

    kind: Literal["ve"]
    sigma_min: float = 0.01
    sigma_max: float = 50.0
    T: float = 1.0
    convention: Literal["sde", "score_sde"] = "sde"


class EDMSettings(_Process):
    """`fpsolve.EDM`."""

    kind: Literal["edm"]
    sigma_min: float = 0.002
    sigma_max: float = 80.0


class PolynomialWeightSettings(Settings):
    """``V = 1 + beta |x|^power``."""

    kind: Literal["polynomial"] = "polynomial"
    power: PositiveFloat = 2.0
    beta: NonNegativeFloat = 1.0

    def build(self) -> weights.Weight:
        """Return the weight."""
        return fp.PolynomialWeight(self.power, self.beta)


class ExponentialWeightSettings(Settings):
    """``V = exp(rate |x|)``."""

    kind: Literal["exponential"]
    rate: NonNegativeFloat

    def build(self) -> weights.Weight:
        """Return the weight."""
        return fp.ExponentialWeight(self.rate)


class UnitWeightSettings(Settings):
    """``V = 1``: twice the usual total variation."""

    kind: Literal["unit"]

    def build(self) -> weights.Weight:
        """Return the weight."""
        return fp.UnitWeight()


_PROCESSES: dict[type[_Process], type[processes.Process]] = {
    OrnsteinUhlenbeckSettings: fp.OrnsteinUhlenbeck,
    VPSettings: fp.VP,
    CosineVPSettings: fp.CosineVP,
    SubVPSettings: fp.SubVP,
    VESettings: fp.VE,
    EDMSettings: fp.EDM,
}

_Law: TypeAlias = (
    GaussianSettings | MixtureSettings | LaplaceSettings | StudentTSettings | UniformSettings | KernelDensitySettings
)
LawSettings = Annotated[_Law, Field(discriminator="kind")]
StartSettings = Annotated[PriorSettings | _Law, Field(discriminator="kind")]
ProcessSettings = Annotated[
    OrnsteinUhlenbeckSettings | VPSettings | CosineVPSettings | SubVPSettings | VESettings | EDMSettings,
    Field(discriminator="kind"),
]
WeightSettings = Annotated[
    PolynomialWeightSettings | ExponentialWeightSettings | UnitWeightSettings, Field(discriminator="kind")
]

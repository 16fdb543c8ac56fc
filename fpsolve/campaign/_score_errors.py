"""Score errors as a sweep's TOML file writes them: one group of settings per `kind`, in two possible units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from fpsolve import scores
from fpsolve._toml import Seed
from fpsolve.campaign._laws import Named, Position
from fpsolve.laws import Law
from fpsolve.processes import Process
from fpsolve.scores import errors

__all__ = ["ScoreErrorSettings", "ScoreModel"]


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


class NoErrorSettings(Named):
    """The exact score."""

    kind: Literal["none"]

    def build(self) -> ScoreModel:
        """Return the model without error."""
        return ScoreModel(None)


class ScalingSettings(Named):
    """`fpsolve.scores.errors.Scaling`: a relative error, the same in both units."""

    kind: Literal["scaling"]
    share: float

    def build(self) -> ScoreModel:
        """Return the model."""
        return ScoreModel(errors.Scaling(self.share))


class _Absolute(Named):
    """An error in units of the score or of a noise prediction."""

    units: Literal["score", "noise"] = "score"

    def error(self) -> Any:
        """Return the error as a function of t and x."""
        raise NotImplementedError

    def build(self) -> ScoreModel:
        """Return the model."""
        return ScoreModel(self.error(), self.units)


class BiasSettings(_Absolute):
    """`fpsolve.scores.errors.Bias`."""

    kind: Literal["bias"]
    vector: Position

    def error(self) -> errors.Bias:
        """Return the error."""
        return errors.Bias(self.vector)


class SineSettings(_Absolute):
    """`fpsolve.scores.errors.Sine`."""

    kind: Literal["sine"]
    amplitude: Position
    wave: Position
    phase: float = 0.0

    def error(self) -> errors.Sine:
        """Return the error."""
        return errors.Sine(self.amplitude, self.wave, self.phase)


class BumpSettings(_Absolute):
    """`fpsolve.scores.errors.Bump`."""

    kind: Literal["bump"]
    amplitude: Position
    at: Position
    width: PositiveFloat

    def error(self) -> errors.Bump:
        """Return the error."""
        return errors.Bump(self.amplitude, self.at, self.width)


class RandomFieldSettings(_Absolute):
    """`fpsolve.scores.errors.RandomField`."""

    kind: Literal["random-field"]
    amplitude: NonNegativeFloat
    length: PositiveFloat
    dim: Literal[1, 2] = 1
    seed: Seed = 0

    def error(self) -> errors.RandomField:
        """Return the error."""
        return errors.RandomField(self.amplitude, self.length, self.dim, self.seed)


ScoreErrorSettings = Annotated[
    NoErrorSettings | ScalingSettings | BiasSettings | SineSettings | BumpSettings | RandomFieldSettings,
    Field(discriminator="kind"),
]

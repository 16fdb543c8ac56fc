"""The predictor-corrector sampler of Song et al.: an ancestral step, and Langevin steps at the level it ends at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from fpsolve import _checks
from fpsolve.processes import Process
from fpsolve.samplers._gaussian import DDPM
from fpsolve.samplers._runs import Composed
from fpsolve.samplers._step import GaussianStep, Sampler


@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    r"""A step of `DDPM` to t', then steps of Langevin dynamics of p_{t'}, which leave t where it is.

    .. math:: x \leftarrow x + \epsilon\, s(t', x) + \sqrt{2 \epsilon}\, Z, \qquad
              \epsilon = 2\, \mathrm{snr}^2\, \sigma^2(0, t') .

    The paper's epsilon is ``2 snr^2 (|Z|/|s|)^2`` with norms averaged over the batch, which ties particles together;
    here the ratio is the standard deviation of the noise, to which it tends in many dimensions. No correction at 0.

    Parameters
    ----------
    snr : float
        Signal-to-noise ratio of a correction, > 0 and below 1/sqrt(2); default 0.16, the paper's for VE.
    corrections : int
        Langevin steps per step, default 1.

    References
    ----------
    Song et al. 2021, arXiv:2011.13456, Algorithms 1, 4 and 5.

    Examples
    --------
    >>> import fpsolve as fp
    >>> made = PredictorCorrector(snr=0.5).step(fp.EDM(), 1.0, 2.0, 1.0)
    >>> made.parts[1].score, made.parts[1].t_from
    (0.5, 1.0)
    """

    snr: float = 0.16
    corrections: int = 1
    name: ClassVar[str] = "predictor-corrector"
    evaluations: ClassVar[int] = 2
    from_noise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _checks.interval("snr", self.snr, 0.0, math.sqrt(0.5), ends="()")
        _checks.integer("corrections", self.corrections)
        object.__setattr__(self, "evaluations", 1 + self.corrections)

    @property
    def eta(self) -> float:
        """1: the noise of the predictor is that of the reverse SDE."""
        return 1.0

    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> Composed:
        """Return the step, see `Sampler.step`; `eta` is not used."""
        parts = [DDPM().step(process, eta, t_from, t_to)]
        size = 2.0 * self.snr**2 * float(process.variance(0.0, t_to))
        if t_to > 0.0:
            parts += self.corrections * [GaussianStep(t_to, t_to, 1.0, size, math.sqrt(2.0 * size))]
        return Composed(tuple(parts))

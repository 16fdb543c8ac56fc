"""Methods that ask for the score several times in a step: at its middle in ``lambda = log(alpha/s)``, at its end
(Heun's rule for the probability flow in the variables of EDM, without and with churn, Karras et al.), and on the way
along Langevin steps (the predictor-corrector sampler of Song et al.).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from fpsolve import _checks
from fpsolve._checks import digits
from fpsolve._times import ROUNDING
from fpsolve.processes import Process
from fpsolve.samplers._gaussian import DDPM, data, middle, noise, scale_and_std, transfer
from fpsolve.samplers._step import Array, Composed, GaussianStep, MapStep, Sampler, Score


class OfTheFlow(Sampler):
    """What deterministic methods have in common: they follow the probability flow."""

    @property
    def eta(self) -> float:
        """0: the method follows the probability flow."""
        return 0.0


@dataclass(frozen=True)
class DPMSolver2(OfTheFlow):
    r"""DPM-Solver-2, singlestep: the midpoint rule in lambda for the predicted noise e; k-diffusion's ``dpm_2``.

    With u the time half-way between t and t' in lambda, ``y = x/alpha``, ``sigma = s/alpha``:

    .. math:: y_u = y + (\sigma_u - \sigma)\, e(t, x), \qquad y' = y + (\sigma' - \sigma)\, e(u, \alpha_u y_u).

    A step to ``t_to = 0``, where lambda is infinite, is the first-order one.

    References
    ----------
    Lu et al. 2022, arXiv:2206.00927, Algorithm 1 with r_1 = 1/2.

    Examples
    --------
    >>> import fpsolve as fp
    >>> made = DPMSolver2().step(fp.EDM(), 0.0, 2.0, 0.5)  # u = 1
    >>> made.move(lambda t, x: -x / (1.0 + t**2), np.array([1.0]))  # 1 - 1.5 0.6/2
    array([0.55])
    """

    name: ClassVar[str] = "dpm-solver-2"
    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2

    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> MapStep:
        """Return the step, see `Sampler.step`; `eta` is not used."""
        u = middle(process, t_from, t_to) if t_to > 0.0 else t_to
        ends = [scale_and_std(process, t) for t in (t_from, u, t_to)]

        def move(score: Score, x: Array) -> Array:
            (alpha, std), (at_u, std_u), (end, std_end) = ends
            slope = noise(process, score, t_from, x)
            if t_to > 0.0:
                slope = noise(process, score, u, at_u * (x / alpha + (std_u / at_u - std / alpha) * slope))
            return np.asarray(end / alpha * x + (std_end - end / alpha * std) * slope)

        return MapStep(t_from, t_to, move)


@dataclass(frozen=True)
class DPMSolverPP2S(OfTheFlow):
    r"""DPM-Solver++(2S): the midpoint rule in lambda for the predicted data D.

    .. math:: x_u = \tfrac{s_u}{s} x + \alpha_u (1 - e^{-h/2})\, D(t, x), \qquad
              x' = \tfrac{s'}{s} x + \alpha' (1 - e^{-h})\, D(u, x_u), \qquad h = \lambda' - \lambda.

    A step to ``t_to = 0``, where lambda is infinite, is the first-order one, and so is one from where alpha = 0: there
    u is the time of the start, and its limit.

    References
    ----------
    Lu et al. 2022, arXiv:2211.01095, Algorithm 1 with r = 1/2.

    Examples
    --------
    >>> import fpsolve as fp
    >>> made = DPMSolverPP2S().step(fp.EDM(), 0.0, 2.0, 0.5)  # u = 1: D = 1/5, x_u = 0.6, then 0.6/2
    >>> made.move(lambda t, x: -x / (1.0 + t**2), np.array([1.0]))
    array([0.475])
    """

    name: ClassVar[str] = "dpm-solver++(2s)"
    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2
    from_noise: ClassVar[bool] = True

    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> MapStep:
        """Return the step, see `Sampler.step`; `eta` is not used."""
        twice = t_to > 0.0 and float(process.scale(0.0, t_from)) > 0.0
        u = middle(process, t_from, t_to) if twice else None
        return MapStep(t_from, t_to, partial(self._move, process, t_from, u, t_to))

    @staticmethod
    def _move(process: Process, t: float, u: float | None, end: float, score: Score, x: Array) -> Array:
        found = data(process, score, t, x)
        if u is not None:
            kept, share = transfer(process, t, u)
            found = data(process, score, u, kept * x + share * found)
        kept, share = transfer(process, t, end)
        return np.asarray(kept * x + share * found)


#: A churn is followed beyond T this far, in units of T.
_LONGEST = 4.0
#: Largest relative rise of the noise level in one step, of the paper.
LARGEST_RISE = math.sqrt(2.0) - 1.0


@dataclass(frozen=True)
class Heun(Sampler):
    r"""Deterministic Heun step of the probability flow (eta = 0), second order: the deterministic sampler of EDM.

    In ``y = x/alpha(0,t)`` and ``sigma = sqrt(sigma2(0,t))/alpha(0,t)`` every linear process has the flow
    ``dy/dsigma = d(y, sigma) = -sqrt(sigma2(0,t)) s(t, x)`` (the slope is the predicted noise), and

    .. math:: y_1 = \hat y + (\sigma' - \hat\sigma)\, d(\hat y, \hat\sigma), \qquad
              y' = \hat y + \tfrac{\sigma' - \hat\sigma}{2} [d(\hat y, \hat\sigma) + d(y_1, \sigma')].

    At ``t_to = 0``, where the slope is not defined, the step is Euler's, ``y' = y_1``, as in the paper.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, Algorithm 1.

    Examples
    --------
    >>> import fpsolve as fp
    >>> made = Heun().step(fp.EDM(), 0.0, 2.0, 1.0)
    >>> made.move(lambda t, x: -x / (1.0 + t**2), np.array([1.0]))  # exact: sqrt(2/5) = 0.632
    array([0.65])
    """

    name: ClassVar[str] = "heun"
    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2

    @property
    def eta(self) -> float:
        """0: the method follows the probability flow."""
        return 0.0

    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> MapStep:
        """Return the step, see `Sampler.step`; `eta` is not used."""
        return MapStep(t_from, t_to, partial(_down, process, t_from, t_to))


@dataclass(frozen=True)
class Karras(Sampler):
    """The stochastic sampler of EDM: churn up to a higher noise level, then a Heun step down; ``"edm"``.

    The noise level ``sigma = sqrt(sigma2(0,t))/alpha(0,t)`` first rises by the factor ``1 + gamma``,
    ``gamma = min(churn/steps, sqrt(2) - 1)`` where ``s_min <= sigma <= s_max`` and 0 elsewhere, by the forward process;
    a Heun step then goes down to `t_to`. The paper's first step rises beyond the level of T: the process of the step is
    then the same diffusion on a longer time (`Process.longer`), and the score is asked there; where a process does not
    say how it goes on, such a churn is refused.

    Parameters
    ----------
    churn : float or callable
        S_churn >= 0, default 0: deterministic; or a function of the time at which a step begins. The noise knob: for
        many steps it is that of ``eta^2 = churn sigma^{1/rho} / (rho (sigma_max^{1/rho} - sigma_min^{1/rho}))`` on
        Karras' time grid.
    steps : int, optional
        Number of steps of the whole sampler; churn is shared out among them. Default those of the run, 1 for a single
        step.
    s_min, s_max : float
        Noise levels between which there is churn, default all.
    s_noise : float
        Factor on the added noise's standard deviation, default 1.

    Raises
    ------
    ValueError
        A negative churn, level or noise factor, ``s_max < s_min``, steps below 1, a churn beyond the level of T
        of a process that does not go on.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, Algorithm 2.

    Examples
    --------
    >>> import fpsolve as fp
    >>> made = Karras(churn=40.0, steps=400).step(fp.EDM(), 0.0, 2.0, 1.0)
    >>> round(made.t_top, 6), round(made.std_before, 6)
    (2.2, 0.916515)
    """

    churn: float | Callable[[float], float] = 0.0
    steps: int | None = None
    s_min: float = 0.0
    s_max: float = math.inf
    s_noise: float = 1.0
    name: ClassVar[str] = "edm"
    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not callable(self.churn):
            _checks.non_negative("churn", self.churn)
        _checks.non_negative("s_noise", self.s_noise)
        _checks.non_negative("s_min", self.s_min)
        if not (isinstance(self.s_max, float) and self.s_max == math.inf):
            _checks.non_negative("s_max", self.s_max)
        if self.s_min > self.s_max:
            raise _checks.error("s_max", f"at least s_min = {digits(self.s_min)}", digits(self.s_max))
        if self.steps is not None:
            _checks.integer("steps", self.steps)

    @property
    def eta(self) -> float:
        """0: after its churn the method follows the probability flow."""
        return 0.0

    @property
    def deterministic(self) -> bool:
        """Whether there is no churn."""
        return self.churn == 0.0

    def in_steps(self, n: int) -> Karras:
        """Return the sampler whose churn is shared out among n steps, unless it was told their number."""
        return self if self.steps is not None else replace(self, steps=n)

    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> MapStep:
        """Return the step, see `Sampler.step`; `eta` is not used."""
        level = _noise_level(process, t_from)
        inside = self.s_min <= level <= self.s_max
        churn = _checks.non_negative("churn", self.churn(t_from)) if callable(self.churn) else self.churn
        gamma = min(churn / (self.steps or 1), LARGEST_RISE) if inside else 0.0
        if gamma == 0.0:
            return MapStep(t_from, t_to, partial(_down, process, t_from, t_to))
        rising = _reaching(process, (1.0 + gamma) * level, t_from)
        top = _time_of(rising, (1.0 + gamma) * level, t_from)
        return MapStep(
            t_from,
            t_to,
            partial(_down, rising, top, t_to),
            top,
            scale_before=float(rising.scale(t_from, top)),
            std_before=self.s_noise * math.sqrt(float(rising.variance(t_from, top))),
        )


def _down(process: Process, t_top: float, t_to: float, score: Score, x: Array) -> Array:
    """The Heun map from ``t_top`` to ``t_to``."""
    top, std_top = scale_and_std(process, t_top)
    end, std_end = scale_and_std(process, t_to)
    change = std_end / end - std_top / top
    y = x / top
    slope = -std_top * score(t_top, x)
    predicted = end * (y + change * slope)
    if t_to == 0.0:
        return np.asarray(predicted)
    corrected = -std_end * score(t_to, predicted)
    return np.asarray(end * (y + 0.5 * change * (slope + corrected)))


def _noise_level(process: Process, t: float) -> float:
    alpha, std = scale_and_std(process, t)
    return std / alpha


def _highest_level(process: Process) -> float:
    """The noise level of T: infinite where no data are left there."""
    return _noise_level(process, process.T) if process.scale(0.0, process.T) > 0.0 else math.inf


def _reaching(process: Process, level: float, low: float) -> Process:
    """The process, or where the level is beyond that of T the same diffusion on a time in which it is reached."""
    longer: Process | None = process
    while longer is not None and not _highest_level(longer) >= level * (1.0 - ROUNDING):
        longer = process.longer(float(longer.T) + 0.25 * float(process.T)) if longer.T < _LONGEST * process.T else None
    if longer is None:
        expected = f"a noise level after the churn of at most {_noise_level(process, process.T):.10g}, that of T"
        remedy = "give s_max below the first level, or a process that goes on, and begin inside of it"
        raise _checks.error("churn", expected, f"{level:.10g} in the step from t = {digits(low)}", remedy)
    return longer


def _time_of(process: Process, level: float, low: float) -> float:
    """The time at or after `low` at which the noise level is `level`, which is reached."""
    from scipy.optimize import brentq

    if level >= _highest_level(process):
        return float(process.T)

    def excess(t: float) -> float:
        # of one over the level, which has an end where no data are left
        return 1.0 / level - float(process.scale(0.0, t)) / math.sqrt(float(process.variance(0.0, t)))

    return float(brentq(excess, low, process.T, xtol=1e-14 * process.T, rtol=1e-14))


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

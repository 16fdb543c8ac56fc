"""Deterministic methods that ask for the score again at the middle of a step in ``lambda = log(alpha/s)``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from fpsolve.processes import Process
from fpsolve.samplers._levels import data, middle, noise, scale_and_std, transfer
from fpsolve.samplers._step import Array, MapStep, Sampler, Score


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

"""Heun's method for the probability flow in the variables of EDM: the deterministic sampler of Karras et al."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fpsolve.processes import Process
from fpsolve.samplers._step import Array, Score, nothing_left


@dataclass(frozen=True)
class HeunStep:
    r"""Churn from ``t_from`` up to ``t_top`` by the forward process, then one Heun step of the flow down to ``t_to``.

    In ``y = x/alpha(0,t)`` and ``sigma = sqrt(sigma2(0,t))/alpha(0,t)`` every linear process has the flow
    ``dy/dsigma = d(y, sigma) = -sqrt(sigma2(0,t)) s(t, x)`` (the slope is the predicted noise), and

    .. math:: y_1 = \hat y + (\sigma' - \hat\sigma)\, d(\hat y, \hat\sigma), \qquad
              y' = \hat y + \tfrac{\sigma' - \hat\sigma}{2} [d(\hat y, \hat\sigma) + d(y_1, \sigma')].

    At ``t_to = 0``, where the slope is not defined, the step is Euler's, ``y' = y_1``, as in the paper.

    Parameters
    ----------
    process : Process
    t_from, t_top, t_to : float
        Forward times, ``t_to < t_from <= t_top``; ``t_top = t_from`` is the deterministic method.
    noise : float
        Factor on the standard deviation of the added noise (S_noise).

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, Algorithms 1 and 2.

    Examples
    --------
    >>> import fpsolve as fp
    >>> made = HeunStep(fp.EDM(), 2.0, 2.0, 1.0)
    >>> made.move(lambda t, x: -x / (1.0 + t**2), np.array([1.0]))  # exact: sqrt(2/5) = 0.632
    array([0.65])
    """

    process: Process
    t_from: float
    t_top: float
    t_to: float
    noise: float = 1.0

    @property
    def scale_before(self) -> float:
        """alpha(t_from, t_top)."""
        return float(self.process.scale(self.t_from, self.t_top))

    @property
    def std_before(self) -> float:
        """Standard deviation of the churn."""
        return self.noise * math.sqrt(float(self.process.variance(self.t_from, self.t_top)))

    @property
    def std_after(self) -> float:
        """0: the flow adds no noise."""
        return 0.0

    def move(self, score: Score, x: Array) -> Array:
        """The Heun map from ``t_top`` to ``t_to``."""
        top, std_top = self._level(self.t_top)
        end, std_end = self._level(self.t_to)
        change = std_end / end - std_top / top
        y = x / top
        slope = -std_top * score(self.t_top, x)
        predicted = end * (y + change * slope)
        if self.t_to == 0.0:
            return np.asarray(predicted)
        corrected = -std_end * score(self.t_to, predicted)
        return np.asarray(end * (y + 0.5 * change * (slope + corrected)))

    def _level(self, t: float) -> tuple[float, float]:
        """alpha(0, t) and the standard deviation of the noise at t."""
        alpha = float(self.process.scale(0.0, t))
        if not alpha > 0.0:
            raise nothing_left(t)
        return alpha, math.sqrt(float(self.process.variance(0.0, t)))


def step(process: Process, eta: float, t_from: float, t_to: float) -> HeunStep:
    """Deterministic Heun step of the probability flow, second order; `eta` is not used.

    Parameters
    ----------
    process : Process
    eta : float
        Not used: the method follows the probability flow.
    t_from, t_to : float
        Forward times, ``t_from > t_to``.
    """
    return HeunStep(process, t_from, t_from, t_to)

"""The stochastic sampler of EDM: churn up to a higher noise level, then a Heun step down."""

from __future__ import annotations

import math

from fpsolve import _checks
from fpsolve.processes import Process
from fpsolve.samplers.heun import HeunStep

#: Largest relative rise of the noise level in one step, of the paper.
LARGEST_RISE = math.sqrt(2.0) - 1.0


def step(
    process: Process,
    eta: float,
    t_from: float,
    t_to: float,
    *,
    churn: float = 0.0,
    steps: int = 1,
    s_min: float = 0.0,
    s_max: float = math.inf,
    s_noise: float = 1.0,
) -> HeunStep:
    """One step of Karras' stochastic sampler.

    The noise level ``sigma = sqrt(sigma2(0,t))/alpha(0,t)`` first rises by the factor ``1 + gamma``,
    ``gamma = min(churn/steps, sqrt(2) - 1)`` where ``s_min <= sigma <= s_max`` and 0 elsewhere, by the forward process;
    a Heun step then goes down to `t_to`. The level never rises beyond that of T, where the process ends (the paper's
    first step does, if s_max lets it).

    Parameters
    ----------
    process : Process
    eta : float
        Not used: `churn` is the noise knob. For many steps it is that of ``eta^2 = churn sigma^{1/rho} / (rho
        (sigma_max^{1/rho} - sigma_min^{1/rho}))`` on Karras' time grid.
    t_from, t_to : float
        Forward times, ``t_from > t_to``.
    churn : float
        S_churn >= 0, default 0: deterministic.
    steps : int
        Number of steps of the whole sampler; churn is shared out among them.
    s_min, s_max : float
        Noise levels between which there is churn, default all.
    s_noise : float
        Factor on the added noise's standard deviation, default 1.

    Raises
    ------
    ValueError
        A negative churn or noise factor, steps below 1.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, Algorithm 2.

    Examples
    --------
    >>> import fpsolve as fp
    >>> made = step(fp.EDM(), 1.0, 2.0, 1.0, churn=40.0, steps=400)
    >>> round(made.t_top, 6), round(made.std_before, 6)
    (2.2, 0.916515)
    """
    _checks.non_negative("churn", churn)
    _checks.non_negative("s_noise", s_noise)
    level = _noise_level(process, t_from)
    inside = s_min <= level <= s_max
    gamma = min(churn / _checks.integer("steps", steps), LARGEST_RISE) if inside else 0.0
    return HeunStep(process, t_from, _time_of(process, (1.0 + gamma) * level, t_from), t_to, s_noise)


def _noise_level(process: Process, t: float) -> float:
    return math.sqrt(float(process.variance(0.0, t))) / float(process.scale(0.0, t))


def _time_of(process: Process, level: float, low: float) -> float:
    """The time at or after `low` at which the noise level is `level`; T where it never gets there."""
    from scipy.optimize import brentq

    if level <= _noise_level(process, low):
        return low
    if level >= _noise_level(process, process.T):
        return float(process.T)

    def excess(t: float) -> float:
        return _noise_level(process, t) - level

    return float(brentq(excess, low, process.T, xtol=1e-14 * process.T, rtol=1e-14))

"""The stochastic sampler of EDM: churn up to a higher noise level, then a Heun step down."""

from __future__ import annotations

import math

from fpsolve import _checks
from fpsolve._checks import digits
from fpsolve._times import ROUNDING
from fpsolve.processes import Process
from fpsolve.samplers._step import nothing_left
from fpsolve.samplers.heun import HeunStep

#: A churn is followed beyond T this far, in units of T.
_LONGEST = 4.0
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
    a Heun step then goes down to `t_to`. The paper's first step rises beyond the level of T: the process of the step is
    then the same diffusion on a longer time (`Process.longer`), and the score is asked there; where a process does not
    say how it goes on, such a churn is refused.

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
        A negative churn or noise factor, steps below 1, a churn beyond the level of T
        of a process that does not go on.

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
    if gamma == 0.0:
        return HeunStep(process, t_from, t_from, t_to, s_noise)
    rising = _reaching(process, (1.0 + gamma) * level, t_from)
    return HeunStep(rising, t_from, _time_of(rising, (1.0 + gamma) * level, t_from), t_to, s_noise)


def _noise_level(process: Process, t: float) -> float:
    alpha = float(process.scale(0.0, t))
    if not alpha > 0.0:
        raise nothing_left(t)
    return math.sqrt(float(process.variance(0.0, t))) / alpha


def _reaching(process: Process, level: float, low: float) -> Process:
    """The process, or where the level is beyond that of T the same diffusion on a time in which it is reached."""
    longer: Process | None = process
    while longer is not None and not _noise_level(longer, longer.T) >= level * (1.0 - ROUNDING):
        longer = process.longer(float(longer.T) + 0.25 * float(process.T)) if longer.T < _LONGEST * process.T else None
    if longer is None:
        expected = f"a noise level after the churn of at most {_noise_level(process, process.T):.10g}, that of T"
        remedy = "give s_max below the first level, or a process that goes on, and begin inside of it"
        raise _checks.error("churn", expected, f"{level:.10g} in the step from t = {digits(low)}", remedy)
    return longer


def _time_of(process: Process, level: float, low: float) -> float:
    """The time at or after `low` at which the noise level is `level`, which is reached."""
    from scipy.optimize import brentq

    if level >= _noise_level(process, process.T):
        return float(process.T)

    def excess(t: float) -> float:
        return _noise_level(process, t) - level

    return float(brentq(excess, low, process.T, xtol=1e-14 * process.T, rtol=1e-14))

"""What samplers share: levels of noise, the predicted noise and data of a score, and the exponential transfer.

With ``alpha = alpha(0,t)``, ``V = sigma2(0,t)``, ``s = sqrt(V)`` the score tells the noise ``e = -s score`` and the
data ``D = (x + V score)/alpha``; ``lambda = log(alpha/s)``. A frozen D is carried from t to t' exactly by

    x' = (s'/s) x + alpha' (1 - e^{-h}) D,    h = lambda' - lambda.
"""

from __future__ import annotations

import math

import numpy as np

from fpsolve import _checks
from fpsolve.processes import Process
from fpsolve.samplers._step import Array, Score, nothing_left

#: Where alpha(0, t) = 0, data are predicted from alpha/s at 1 to 4 times this, and may differ by this share.
_NEAR, _UNSURE = 3e-4, 1e-4


def scale_and_std(process: Process, t: float) -> tuple[float, float]:
    """Return alpha(0, t) > 0 and the standard deviation of the noise at t."""
    alpha = float(process.scale(0.0, t))
    if not alpha > 0.0:
        raise nothing_left(t)
    return alpha, math.sqrt(float(process.variance(0.0, t)))


def log_snr(process: Process, t: float) -> float:
    """Return ``log(alpha/s)``: infinite at 0, minus infinity where no data are left."""
    alpha, std = float(process.scale(0.0, t)), math.sqrt(float(process.variance(0.0, t)))
    if std == 0.0 or alpha == 0.0:
        return math.inf if std == 0.0 else -math.inf
    return math.log(alpha) - math.log(std)


def rise(process: Process, t_from: float, t_to: float) -> float:
    """Return ``h = lambda(t_to) - lambda(t_from) > 0``, infinite at both ends."""
    return log_snr(process, t_to) - log_snr(process, t_from)


def middle(process: Process, t_from: float, t_to: float) -> float:
    """Return the time half-way between two others in lambda."""
    from scipy.optimize import brentq

    scale_and_std(process, t_from)
    wanted = 0.5 * (log_snr(process, t_from) + log_snr(process, t_to))
    return float(brentq(lambda t: log_snr(process, t) - wanted, t_to, t_from, xtol=1e-15 * t_from, rtol=1e-14))


def noise(process: Process, score: Score, t: float, x: Array) -> Array:
    """Return the predicted noise."""
    return np.asarray(-math.sqrt(float(process.variance(0.0, t))) * score(t, x))


def data(process: Process, score: Score, t: float, x: Array) -> Array:
    """Return the predicted data; where alpha = 0 their limit, which a model of the data or of the velocity has.

    Raises
    ------
    ValueError
        A score whose predicted data have no limit, as those of a predicted noise that is not exact.
    """
    alpha = float(process.scale(0.0, t))
    if alpha > 0.0:
        return np.asarray((x + float(process.variance(0.0, t)) * score(t, x)) / alpha)
    from scipy.optimize import brentq

    near = []
    for k in range(1, 5):
        level = math.log(k * _NEAR)
        u = float(brentq(lambda t, level=level: max(log_snr(process, t), -1e3) - level, 1e-6 * t, t, xtol=1e-15 * t))
        near.append(data(process, score, u, x))
    limit = 4.0 * near[0] - 6.0 * near[1] + 4.0 * near[2] - near[3]
    off = float(np.max(np.abs(limit - 3.0 * near[0] + 3.0 * near[1] - near[2]), initial=0.0))
    if not off <= _UNSURE * (1.0 + float(np.max(np.abs(limit), initial=0.0))):
        remedy = "predict data or a velocity (fpsolve.scores.from_denoiser), or begin shortly before"
        expected = f"predicted data with a limit at t = {_checks.digits(t)}, where alpha = 0"
        raise _checks.error("score", expected, f"a change by {off:.3g}", remedy)
    return limit


def transfer(process: Process, t_from: float, t_to: float, sharper: float = 1.0) -> tuple[float, float]:
    """Return ``(s'/s) e^{-(sharper - 1) h}`` and ``alpha' (1 - e^{-sharper h})``: how x and frozen data go on."""
    h = rise(process, t_from, t_to)
    end, std = (math.sqrt(float(process.variance(0.0, t))) for t in (t_to, t_from))
    kept = end / std * (math.exp(-(sharper - 1.0) * h) if sharper > 1.0 else 1.0)
    return kept, -float(process.scale(0.0, t_to)) * math.expm1(-sharper * h)

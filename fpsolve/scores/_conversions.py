"""From what a model predicts to the score: one formula per kind.

Throughout ``x = a x_0 + s eps`` with ``a = alpha(0, t)``, ``s = sqrt(sigma2(0, t))`` of the process, and every model is
the conditional expectation of something given x: of the noise eps, of the data x_0, of a velocity.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.processes import Process

Conversion: TypeAlias = Callable[[Process, float, FloatArray, FloatArray], FloatArray]


def transition(process: Process, t: float) -> tuple[float, float]:
    """Return ``a = alpha(0, t)`` and ``s = sqrt(sigma2(0, t))``; refuse times without noise."""
    process = process.reaching(t)
    variance = float(process.variance(0.0, t))
    if not variance > 0.0:
        raise _checks.error("t", "a time with noise, sigma2(0, t) > 0", t, "stop at some t_min > 0")
    return float(process.scale(0.0, t)), float(np.sqrt(variance))


def from_noise(process: Process, t: float, x: FloatArray, eps: FloatArray) -> FloatArray:
    """Return ``-eps/s``."""
    return -eps / transition(process, t)[1]


def from_data(process: Process, t: float, x: FloatArray, data: FloatArray) -> FloatArray:
    """Return ``(a D - x)/s^2`` for a denoiser D, the expectation of x_0."""
    a, s = transition(process, t)
    return (a * data - x) / s**2


def from_salimans_ho(process: Process, t: float, x: FloatArray, v: FloatArray) -> FloatArray:
    """Return ``-(s x + a v)/(s (a^2 + s^2))`` for ``v = a eps - s x_0``."""
    a, s = transition(process, t)
    return -(s * x + a * v) / (s * (a**2 + s**2))


def from_flow(process: Process, t: float, x: FloatArray, u: FloatArray) -> FloatArray:
    """Return ``(a u - a' x)/(s (a' s - a s'))`` for ``u = a' x_0 + s' eps``, primes the derivatives in t.

    With ``a' = rate a`` and ``(s^2)' = 2 rate s^2 + g^2`` of the process this is ``2 (rate x - u)/g^2``: u is the
    velocity of the probability flow, in forward time.
    """
    a, s = transition(process, t)
    process = process.reaching(t)
    if a == 0.0:
        # nothing is left of the data, p_t is N(0, s^2) whatever the model says, and rate and g are infinite
        return -x / s**2
    return 2.0 * (process.drift_rate(t) * x - u) / process.diffusion(t) ** 2


def unchanged(process: Process, t: float, x: FloatArray, score: FloatArray) -> FloatArray:
    """Return the score itself."""
    return score


#: What a model may be, and how it becomes a score; the EDM denoiser is a denoiser with other arguments.
KINDS: dict[str, Conversion] = {
    "score": unchanged,
    "noise prediction": from_noise,
    "denoiser": from_data,
    "velocity": from_salimans_ho,
    "flow velocity": from_flow,
}

#: The adapter of every kind.
ADAPTERS = {
    "noise prediction": "from_noise_prediction",
    "denoiser": "from_denoiser",
    "velocity": "from_velocity",
    "flow velocity": "from_flow_velocity",
}

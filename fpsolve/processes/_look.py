"""The look at a process somebody wrote: its four functions of time have to be those of one diffusion."""

from itertools import pairwise
from typing import Any

import numpy as np

from fpsolve._callables import told
from fpsolve._checks import USER_ERRORS, FloatArray, error, positive, values_at
from fpsolve.processes._base import Process

#: Times looked at, in T, and the relative gaps that are rounding, and that a kink of a table inside a panel may leave.
_TIMES = np.concatenate([np.geomspace(1e-3, 0.1, 5), np.linspace(0.2, 1.0, 9)])
_ROUNDING, _KINK = 1e-6, 0.02
_NODES, _HALVINGS = 16, 12


def checked_process(process: Any) -> Process:
    """Return `process` if it is one; one that fpsolve does not know is looked at.

    Raises
    ------
    ValueError
        No process; T or prior_std not > 0; a method that raises, does not broadcast, or is not finite; a scale that is
        not > 0; scale(0, 0) != 1 or variance(0, 0) != 0; transitions that do not compose,
        ``alpha(0, t) = alpha(0, s) alpha(s, t)`` and ``sigma2(0, t) = alpha(s, t)^2 sigma2(0, s) + sigma2(s, t)``; or
        that are not those of the coefficients, ``log alpha(s, t) = int a`` and
        ``sigma2(s, t) = int alpha(u, t)^2 g(u)^2 du``.
    """
    if not isinstance(process, Process):
        raise error("process", "a forward process", f"a {type(process).__name__}", "for instance fpsolve.VP()")
    if type(process).__module__.split(".")[0] == "fpsolve":
        return process
    T = positive("process T", getattr(process, "T", None))
    positive("process prior_std", process.prior_std)
    t = T * _TIMES
    ask = _Asked(process)
    scale, variance = ask.of("scale", 0.0, t), ask.of("variance", 0.0, t)
    if scale[-1] == 0.0 and scale[:-1].min() > 0.0:
        remedy = f"end it shortly before, at T = {0.999 * T:.6g} say, where formulas that divide by scale(0, T) hold"
        raise error("process", "scale(0, T) > 0: a score at T must know something of the data", "0", remedy)
    if scale.min() <= 0.0 or variance.min() <= 0.0 or ask.of("diffusion", t).min() < 0.0:
        raise error("process", "scale > 0, variance > 0 and diffusion >= 0 at t > 0", "one that is not")
    zero = np.zeros(1)
    if abs(ask.of("scale", zero, zero)[0] - 1.0) > _ROUNDING or abs(ask.of("variance", zero, zero)[0]) > _ROUNDING:
        raise error("process", "scale(0, 0) = 1 and variance(0, 0) = 0", "others", "they are transitions from s to t")
    ask.of("drift_rate", t)
    _compose(ask, t, scale, variance)
    for low, high in pairwise(np.unique([*t, *(kink for kink in process.kinks if t[0] < kink < T)])):
        _coefficients(ask, float(low), float(high))
    return process


class _Asked:
    """A process whose answers are checked."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def of(self, method: str, *times: Any) -> FloatArray:
        shape = np.broadcast_shapes(*map(np.shape, times))
        try:
            value = getattr(self.process, method)(*times)
        except USER_ERRORS as reason:
            raise error(f"process {method}", f"an answer for times of shape {shape}", told(reason)) from reason
        return values_at(f"process {method}", value, shape)


def _compose(ask: _Asked, t: FloatArray, scale: FloatArray, variance: FloatArray) -> None:
    """Refuse transitions over [0, s] and [s, T] that do not give that over [0, T]."""
    onward, added = ask.of("scale", t, t[-1]), ask.of("variance", t, t[-1])
    pairs = {
        "scale(0, T) = scale(0, s) scale(s, T)": (scale * onward, scale[-1]),
        "variance(0, T) = scale(s, T)^2 variance(0, s) + variance(s, T)": (onward**2 * variance + added, variance[-1]),
    }
    for law, (found, whole) in pairs.items():
        worst = int(np.argmax(np.abs(found - whole)))
        if not abs(found[worst] - whole) <= _ROUNDING * abs(whole):
            got = f"{whole:.6g} and {found[worst]:.6g} at s = {t[worst]:.4g}"
            raise error("process", law, got, "check scale and variance")


def _coefficients(ask: _Asked, low: float, high: float) -> None:
    """Refuse transitions over [low, high] that are not the integrals of drift_rate and diffusion."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    # panels halved towards `high`: where alpha(0, T) is small, a and g may be singular just beyond T
    edges = np.append(high - (high - low) * 0.5 ** np.arange(_HALVINGS), high)
    widths = np.diff(edges)[:, None]
    u, w = (edges[:-1, None] + 0.5 * widths * (1.0 + nodes)).ravel(), (0.5 * widths * weights).ravel()
    rates = ask.of("drift_rate", u)
    exponent, given = float(w @ rates), float(np.log(ask.of("scale", low, np.array([high]))[0]))
    between = f"between t = {low:.4g} and {high:.4g}"
    if not abs(exponent - given) <= _KINK * max(abs(given), float(w @ np.abs(rates)), 1e-9):
        raise error("process", f"log scale = int drift_rate {between}", f"{given:.6g} and {exponent:.6g}")
    added = float(w @ np.square(ask.of("scale", u, high) * ask.of("diffusion", u)))
    variance = float(ask.of("variance", low, np.array([high]))[0])
    if not abs(added - variance) <= _KINK * abs(variance):
        law = f"variance = int scale(u, t)^2 diffusion(u)^2 du {between}"
        raise error("process", law, f"{variance:.6g} and {added:.6g}")

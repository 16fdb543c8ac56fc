"""alpha(s, t) and sigma2(s, t) of the built-in processes in ball arithmetic.

The formulas are written again here, from the definitions, so that nothing of a proof rests on floating point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flint

from fpsolve import _checks
from fpsolve.processes import EDM, VE, VP, CosineVP, OrnsteinUhlenbeck, Process, SubVP
from fpsolve.proofs._balls import Ball, arb, exact, precision


@dataclass(frozen=True)
class Path:
    """``X_t | X_s = x ~ N(scale x, variance)``."""

    scale: Ball
    variance: Ball


def path(process: Process, s: float, t: float) -> Path:
    """The transition of a built-in process between two times s <= t; ValueError for any other process.

    Which process has which formula is looked up by its class: a process of one's own has only floating point.
    """
    formula = _FORMULAS.get(type(process))
    if formula is None:
        known = ", ".join(kind.__name__ for kind in _FORMULAS)
        raise _checks.error("reverse", f"one of the processes {known}", type(process).__name__)
    if s == t:
        return Path(arb(1), arb(0))
    return formula(process, exact(s), exact(t))


def _variance_preserving(integral: Ball, sigma: Ball) -> Path:
    """alpha = exp(-B/(2 sigma^2)), sigma2 = sigma^2 (1 - alpha^2)."""
    return Path((-integral / (2 * sigma**2)).exp(), -(sigma**2) * (-integral / sigma**2).expm1())


def _ou(process: Any, s: Ball, t: Ball) -> Path:
    return _variance_preserving(2 * (t - s), arb(1))


def _vp(process: Any, s: Ball, t: Ball) -> Path:
    return _variance_preserving(_beta_integral(process, s, t, process.curvature), exact(process.sigma))


def _beta_integral(process: Any, s: Ball, t: Ball, curvature: float = 0.0) -> Ball:
    """int_s^t beta of a linear or curved schedule."""
    low, high, end = exact(process.beta_min), exact(process.beta_max), exact(process.T)
    if curvature == 0.0:
        risen = (t**2 - s**2) / (2 * end)
    else:
        # twice the digits of 1/(cT) cancel
        lost = max(0, math.ceil(-2.0 * math.log2(abs(curvature) * float(process.T))))
        with precision(flint.ctx.prec + lost + 64):
            c = exact(curvature)
            risen = (((c * t).exp() - (c * s).exp()) / c - (t - s)) / (c * end).expm1()
    return low * (t - s) + (high - low) * risen


def _sub_vp(process: Any, s: Ball, t: Ball) -> Path:
    """alpha = exp(-B/2), sigma2 = (1 - e^{-B(s, t)}) (1 - e^{-B(0, s) - B(0, t)})."""
    between = _beta_integral(process, s, t)
    total = _beta_integral(process, arb(0), s) + _beta_integral(process, arb(0), t)
    return Path((-between / 2).exp(), (-between).expm1() * (-total).expm1())


def _cosine(process: Any, s: Ball, t: Ball) -> Path:
    """abar(t) = cos(phi(t))^2/cos(phi(0))^2 until beta reaches 999/T, exponential after."""
    end, offset, clip = exact(process.T), arb("0.008"), arb(999)
    speed = arb.pi() / (2 * (1 + offset) * end)
    clip_time = end * ((clip / (end * 2 * speed)).atan() * (1 + offset) * 2 / arb.pi() - offset)

    def log_cosine(u: Ball) -> Ball:
        early = u.min(clip_time)
        angle = (early / end + offset) / (1 + offset) * arb.pi() / 2
        late = u.max(clip_time) - clip_time
        return -2 * angle.cos().log() + late * clip / end

    return _variance_preserving(log_cosine(t) - log_cosine(s), arb(1))


def _ve(process: Any, s: Ball, t: Ball) -> Path:
    """alpha = 1, sigma2 = sigma(t)^2 - sigma(s)^2, and sigma(t)^2 from s = 0 in the convention of score_sde."""
    low = exact(process.sigma_min)
    growth = (exact(process.sigma_max) / low).log() / exact(process.T)
    start = s == 0 and process.convention == "score_sde"
    added = low**2 * ((2 * growth * t).exp() - (2 * growth * s).exp())
    return Path(arb(1), added + low**2 if start else added)


def _edm(process: Any, s: Ball, t: Ball) -> Path:
    return Path(arb(1), (t - s) * (t + s))


_FORMULAS: dict[type[Process], Callable[[Any, Ball, Ball], Path]] = {
    OrnsteinUhlenbeck: _ou,
    VP: _vp,
    SubVP: _sub_vp,
    CosineVP: _cosine,
    VE: _ve,
    EDM: _edm,
}

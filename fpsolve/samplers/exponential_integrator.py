"""Exponential integrator: the score frozen at the start of the step, the linear part and the noise exact."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from fpsolve import _checks
from fpsolve.processes import Process
from fpsolve.samplers._step import GaussianStep

# 16 Gauss-Legendre nodes integrate g(u)^2 / alpha(t', u) over a step to rounding for every smooth schedule.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


def step(
    process: Process, eta: float, t_from: float, t_to: float, *, frozen: Literal["score", "modified"] = "score"
) -> GaussianStep:
    r"""Exponential-integrator step of the reverse dynamics.

    With the score frozen at ``s = s(t, y)``, ``dY = [-a Y + (1+eta^2)/2 g^2 s] dr + eta g dB`` is linear
    and its solution from forward time ``t = t_from`` to ``t' = t_to`` is exactly

    .. math:: y' = \frac{y}{\alpha(t',t)}
              + \frac{1+\eta^2}{2}\, s \int_{t'}^{t} \frac{g(u)^2}{\alpha(t',u)}\,du
              + \eta\, \frac{\sigma(t',t)}{\alpha(t',t)}\, Z .

    The noise needs no quadrature: ``int g(u)^2 / alpha(t',u)^2 du = sigma2(t',t) / alpha(t',t)^2`` for
    every linear process. The integral in front of the score is ``sigma2(t',t)`` where a = 0 (VE, EDM) and
    ``2 sigma^2 (1/alpha - 1)`` for variance-preserving schedules (``g^2 = -2 sigma^2 a``); sub-VP has no
    such form, so all processes take the same 16-point Gauss-Legendre rule, which agrees with both to
    rounding.

    Parameters
    ----------
    process : Process
        Gives ``g = diffusion(t)``, ``alpha(s,t) = scale(s,t)`` and ``sigma2(s,t) = variance(s,t)``.
    eta : float
        Noise knob: 1 the reverse SDE, 0 the probability flow.
    t_from, t_to : float
        Forward times, ``t_from > t_to``.
    frozen : {"score", "modified"}
        What is frozen at the start of the step: s, or the modified score ``s + y/sigma^2`` of variance-preserving
        processes with stationary law N(0, sigma^2), which leaves the linear part ``eta^2 a y``.

    Returns
    -------
    GaussianStep
        ``A = 1/alpha``, ``B`` the integral times ``(1+eta^2)/2``, ``C = eta sigma/alpha``.

    Raises
    ------
    ValueError
        `frozen` is "modified" for a process that is not variance preserving.

    References
    ----------
    Zhang, Q. and Chen, Y. (2023). Fast sampling of diffusion models with exponential integrator. ICLR,
    arXiv:2204.13902. De Bortoli, V. (2022). Convergence of denoising diffusion models under the manifold
    hypothesis. TMLR, arXiv:2208.05314. Strasman et al. (2025), arXiv:2402.04650 (modified score).
    """
    if _checks.one_of("frozen", frozen, ("score", "modified")) == "modified":
        return _modified(process, eta, t_from, t_to)
    alpha = float(process.scale(t_to, t_from))
    variance = float(process.variance(t_to, t_from))
    half = 0.5 * (t_from - t_to)
    nodes = t_to + half * (1.0 + _NODES)
    integrand = np.asarray(process.diffusion(nodes)) ** 2 / np.asarray(process.scale(t_to, nodes))
    return GaussianStep(
        t_from,
        t_to,
        linear=1.0 / alpha,
        score=0.5 * (1.0 + eta**2) * half * float(_WEIGHTS @ integrand),
        std=eta * math.sqrt(variance) / alpha,
    )


def _modified(process: Process, eta: float, t_from: float, t_to: float) -> GaussianStep:
    """The step with ``s + y/sigma^2`` frozen: ``dY = [eta^2 a Y + (1+eta^2)/2 g^2 (s + y/sigma^2)] dr + eta g dB``."""
    half = 0.5 * (t_from - t_to)
    nodes = t_to + half * (1.0 + _NODES)
    power, variance = np.asarray(process.diffusion(nodes)) ** 2, process.prior_std**2
    if np.max(np.abs(power + 2.0 * variance * np.asarray(process.drift_rate(nodes)))) > 1e-9 * np.max(power):
        raise _checks.error("frozen", "'score' for a process that is not variance preserving", "'modified'")
    propagator = np.asarray(process.scale(t_to, nodes)) ** (eta**2)
    pull = 0.5 * (1.0 + eta**2) * half * float(_WEIGHTS @ (power * propagator))
    return GaussianStep(
        t_from,
        t_to,
        linear=float(process.scale(t_to, t_from)) ** (eta**2) + pull / variance,
        score=pull,
        std=eta * math.sqrt(half * float(_WEIGHTS @ (power * propagator**2))),
    )

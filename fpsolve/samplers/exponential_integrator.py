"""Exponential integrator: the score frozen at the start of the step, the linear part and the noise exact."""

from __future__ import annotations

import math

import numpy as np

from fpsolve.processes import Process
from fpsolve.samplers._step import GaussianStep

# 16 Gauss-Legendre nodes integrate g(u)^2 / alpha(t', u) over a step to rounding for every smooth schedule.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


def step(process: Process, eta: float, t_from: float, t_to: float) -> GaussianStep:
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

    Returns
    -------
    GaussianStep
        ``A = 1/alpha``, ``B`` the integral times ``(1+eta^2)/2``, ``C = eta sigma/alpha``.

    References
    ----------
    Zhang, Q. and Chen, Y. (2023). Fast sampling of diffusion models with exponential integrator. ICLR,
    arXiv:2204.13902. De Bortoli, V. (2022). Convergence of denoising diffusion models under the manifold
    hypothesis. TMLR, arXiv:2208.05314.
    """
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

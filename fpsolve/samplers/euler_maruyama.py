"""Euler-Maruyama: every coefficient frozen at the start of the step."""

from __future__ import annotations

import math

from fpsolve.processes import Process
from fpsolve.samplers._step import GaussianStep


def step(process: Process, eta: float, t_from: float, t_to: float) -> GaussianStep:
    r"""Euler-Maruyama step of the reverse dynamics.

    .. math:: y' = y + h\,[-a(t)\,y + \tfrac{1+\eta^2}{2} g(t)^2 s(t, y)] + \eta\, g(t) \sqrt{h}\, Z,
              \qquad h = t - t'

    with all coefficients at the forward time ``t = t_from`` where the step starts. Weak order 1 in h.

    Parameters
    ----------
    process : Process
        Gives ``a = drift_rate(t)`` and ``g = diffusion(t)``.
    eta : float
        Noise knob: 1 the reverse SDE, 0 the probability flow (then this is the explicit Euler method).
    t_from, t_to : float
        Forward times, ``t_from > t_to``.

    Returns
    -------
    GaussianStep
        ``A = 1 - a h``, ``B = (1 + eta^2)/2 g^2 h``, ``C = eta g sqrt(h)``.

    References
    ----------
    Maruyama, G. (1955). Continuous Markov processes and stochastic equations. Rend. Circ. Mat. Palermo 4,
    48-90, doi:10.1007/BF02846028. Anderson, B. D. O. (1982). Reverse-time diffusion equation models.
    Stochastic Process. Appl. 12, 313-326, doi:10.1016/0304-4149(82)90051-5.
    """
    h = t_from - t_to
    a, g = float(process.drift_rate(t_from)), float(process.diffusion(t_from))
    return GaussianStep(
        t_from,
        t_to,
        linear=1.0 - a * h,
        score=0.5 * (1.0 + eta**2) * g**2 * h,
        std=eta * g * math.sqrt(h),
    )

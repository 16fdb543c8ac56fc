"""DDIM with any stochasticity: eta = 0 deterministic, eta = 1 ancestral."""

from __future__ import annotations

import math

from fpsolve import _checks
from fpsolve.processes import Process
from fpsolve.samplers._step import GaussianStep


def step(process: Process, eta: float, t_from: float, t_to: float) -> GaussianStep:
    r"""DDIM step with the stochasticity of the dynamics, ``0 <= eta <= 1``.

    With ``V = sigma2(0,t)``, ``V' = sigma2(0,t')``, ``a = alpha(t',t)``, ``v = sigma2(t',t)``, the denoised point
    ``x0 = (x + V s)/alpha(0,t)``, the noise ``e = -sqrt(V) s`` and ``\varsigma^2 = eta^2 v V'/V``,

    .. math:: x' = \alpha(0,t')\,x_0 + \sqrt{V' - \varsigma^2}\,e + \varsigma Z
              = \frac{x}{a} + \Big(\frac{V}{a} - \sqrt{(V' - \varsigma^2) V}\Big) s + \varsigma Z .

    It tends to the reverse dynamics with the same eta as the steps shrink; eta = 1 is `ddpm.step`.

    Parameters
    ----------
    process : Process
    eta : float
        In [0, 1]: beyond, the square root has no sense at every step.
    t_from, t_to : float
        Forward times, ``t_from > t_to``.

    Returns
    -------
    GaussianStep

    Raises
    ------
    ValueError
        eta outside of [0, 1].

    References
    ----------
    Song, Meng and Ermon 2021, arXiv:2010.02502, equations (12) and (16).

    Examples
    --------
    >>> import fpsolve as fp
    >>> made = step(fp.EDM(), 0.0, 2.0, 1.0)
    >>> made.linear, made.score, made.std
    (1.0, 2.0, 0.0)
    """
    _checks.interval("eta", eta, 0.0, 1.0, remedy="for more noise use euler-maruyama or exponential-integrator")
    alpha, added = float(process.scale(t_to, t_from)), float(process.variance(t_to, t_from))
    before, after = float(process.variance(0.0, t_from)), float(process.variance(0.0, t_to))
    drawn = eta**2 * added * after / before
    # V' - drawn >= V' (1 - v/V) >= 0 up to rounding
    kept = max(after - drawn, 0.0)
    factor = before / alpha - math.sqrt(kept * before)
    return GaussianStep(t_from, t_to, linear=1.0 / alpha, score=factor, std=math.sqrt(drawn))

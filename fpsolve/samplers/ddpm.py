"""Ancestral sampling (DDPM): the forward posterior with the denoised point in place of the data."""

from __future__ import annotations

import math
from typing import Literal

from fpsolve import _checks
from fpsolve.processes import Process
from fpsolve.samplers._step import GaussianStep


def step(
    process: Process, eta: float, t_from: float, t_to: float, *, variance: Literal["posterior", "forward"] = "posterior"
) -> GaussianStep:
    r"""Ancestral step: draw ``X_{t'}`` given ``X_t = x`` and ``X_0 = \hat x_0(x)``, Tweedie's denoised point.

    With ``a = alpha(t',t)``, ``v = sigma2(t',t)``, ``V = sigma2(0,t)``, ``V' = sigma2(0,t')``, the posterior of a
    Gaussian chain has the mean and variance

    .. math:: m(x) = \frac{x + v\, s(t, x)}{a}, \qquad \frac{v V'}{V},

    for every linear process: the scales alpha(0, .) cancel.

    Parameters
    ----------
    process : Process
    eta : float
        Not used: the method carries the noise of the reverse SDE.
    t_from, t_to : float
        Forward times, ``t_from > t_to``.
    variance : {"posterior", "forward"}
        ``v V'/V`` or ``v``, the two choices of Ho et al. (their beta-tilde and beta).

    Returns
    -------
    GaussianStep
        ``A = 1/a``, ``B = v/a``, ``C`` the root of the variance.

    References
    ----------
    Ho, Jain and Abbeel 2020, arXiv:2006.11239, equations (6), (7) and (11).

    Examples
    --------
    >>> import fpsolve as fp
    >>> made = step(fp.EDM(), 1.0, 2.0, 1.0)
    >>> made.linear, made.score, made.std
    (1.0, 3.0, 0.866...)
    """
    _checks.one_of("variance", variance, ("posterior", "forward"))
    alpha, added = float(process.scale(t_to, t_from)), float(process.variance(t_to, t_from))
    share = float(process.variance(0.0, t_to)) / float(process.variance(0.0, t_from))
    kept = added * share if variance == "posterior" else added
    return GaussianStep(t_from, t_to, linear=1.0 / alpha, score=added / alpha, std=math.sqrt(kept))

"""Point values of the oracle's densities."""

from typing import Any

import numpy as np

from fpsolve._checks import FloatArray, points, positive
from fpsolve.closed_form._solve import ReverseLike, check, require_law, solve
from fpsolve.laws import Law


def log_density(reverse: ReverseLike, start: Law, t: float, x: Any, *, rtol: float = 1e-12) -> FloatArray:
    """Return the logarithm of `density`, which stays finite and accurate far out; same arguments."""
    require_law("start", start)
    t = check(reverse, start, t)
    x = points("x", x, start.dim, finite_only=True)
    field = solve(reverse, start, t, positive("rtol", rtol))
    flat = x.reshape(-1) if start.dim == 1 else x.reshape(-1, 2)
    values = field.log_at(flat) if len(flat) else np.empty(0)
    return values.reshape(x.shape[: x.ndim - start.dim + 1])


def density(reverse: ReverseLike, start: Law, t: float, x: Any, *, rtol: float = 1e-12) -> FloatArray:
    """Return the density at time t of the reverse dynamics started from a law at T.

    - eta = 1, any target and start (Bayes' rule): ``q_t(x) = p_t(x) int nu(y)/p_T(y) N(y; alpha x, sigma2 I) dy``,
      alpha and sigma2 from t to T; a point mass is the integrand itself.
    - Gaussian target, any eta: the transition is Gaussian with gain
      ``G = sqrt(v_t/v_T) rho^(eta^2/2)``, variance ``v_t (1 - rho^(eta^2))``, ``rho = alpha^2 v_t/v_T``.
    - eta = 0 in 1D: ``q_t(x) = nu(y) p_t(x)/p_T(y)`` with ``F_{p_T}(y) = F_{p_t}(x)``.
    - start p_T of a normal-mixture target, any eta: p_t.

    Nothing here shares code with the solver: marginals come from formulas and quadrature of this module.

    Parameters
    ----------
    reverse : Reverse
        Dynamics with the exact score.
    start : Law
        Law at T, point masses included.
    t : float
        Forward time in (0, T].
    x : array_like of shape (...) in 1D, (..., 2) in 2D
        Points.
    rtol : float, keyword only
        Adaptive quadrature has to agree with itself on halved panels to this, relative to every point value
        (in logarithms, and up to the rounding of large exponents). Default 1e-12.

    Returns
    -------
    ndarray of shape (...)
        Densities: point values per unit length or area, not cell averages.

    Raises
    ------
    ValueError
        For a score model, mixed dimensions, t outside of (0, T], where no closed form is available (the message
        lists what is), or where `rtol` is not reached.

    References
    ----------
    Anderson 1982, doi:10.1016/0304-4149(82)90051-5; Song et al. 2021, arXiv:2011.13456.

    Examples
    --------
    >>> import fpsolve as fp
    >>> target = fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5])
    >>> reverse = fp.Reverse(target, fp.OrnsteinUhlenbeck(T=3.0))
    >>> density(reverse, fp.Gaussian(0.0, std=1.0), 0.01, [-2.0, 0.0, 2.0]).round(4)
    array([0.6058, 0.0002, 0.3873])
    """
    require_law("start", start)
    return np.exp(log_density(reverse, start, t, x, rtol=rtol))

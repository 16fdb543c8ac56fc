"""The transition density of the reverse SDE between any two times."""

from typing import Any

import numpy as np

from fpsolve import _times
from fpsolve._checks import FloatArray, error, interval, points, positive
from fpsolve.closed_form._fields import marginal
from fpsolve.closed_form._mixture import LOG_2PI
from fpsolve.closed_form._solve import ReverseLike, check_exact


def kernel(reverse: ReverseLike, t0: float, t1: float, x_from: Any, x_to: Any, *, rtol: float = 1e-12) -> FloatArray:
    """Return the transition densities of the reverse SDE (eta = 1) from time t0 down to t1 < t0: Bayes' rule,

        P(y, x) = p_{t1}(x) N(y; alpha x, sigma2 I) / p_{t0}(y),    alpha and sigma2 from t1 to t0.

    Parameters
    ----------
    reverse : Reverse
        Dynamics with the exact score and eta = 1.
    t0, t1 : float
        Forward times ``T >= t0 > t1 > 0``: the dynamics starts at t0 and ends at t1.
    x_from, x_to : array_like of shape (n,) and (m,), or (n, 2) and (m, 2) in 2D
        Points y at t0 and x at t1.
    rtol : float, keyword only
        Relative accuracy of marginals that need quadrature.

    Returns
    -------
    ndarray of shape (n, m)
        Densities (point values, per unit length or area of x): ``int P(y, x) dx = 1`` for every row.

    Raises
    ------
    ValueError
        For a score model, eta != 1, times out of order or outside of (0, T].

    References
    ----------
    Anderson 1982, doi:10.1016/0304-4149(82)90051-5.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0))
    >>> x = np.linspace(-8.0, 8.0, 401)
    >>> P = kernel(reverse, 1.0, 0.5, [0.0, 1.0], x)
    >>> np.round(P.sum(axis=1) * 0.04, 12)
    array([1., 1.])
    """
    check_exact(reverse)
    process, dim = reverse.process, reverse.target.dim
    if reverse.eta != 1.0:
        got = "eta(t)" if callable(reverse.eta) else f"eta = {reverse.eta:g}"
        raise error("reverse", "eta = 1", got, "Bayes' rule is the reverse SDE")
    t0 = _times.one("t0", t0, 0.0, process.T, ends="(]")
    t1 = interval("t1", t1, 0.0, t0, ends="()", remedy="reverse time runs from t0 down to t1")
    y = _rows("x_from", x_from, dim)
    x = _rows("x_to", x_to, dim)
    alpha, variance = float(process.scale(t1, t0)), float(process.variance(t1, t0))
    level = positive("rtol", rtol)
    log_kernel = np.full((len(y), len(x)), -0.5 * dim * (LOG_2PI + np.log(variance)))
    for i in range(dim):
        log_kernel -= 0.5 * (y.reshape(-1, dim)[:, None, i] - alpha * x.reshape(-1, dim)[:, i]) ** 2 / variance
    log_kernel -= marginal(reverse.target, process, t0, level).log_at(y)[:, None]
    log_kernel += marginal(reverse.target, process, t1, level).log_at(x)
    return np.asarray(np.exp(log_kernel))


def _rows(name: str, value: Any, dim: int) -> FloatArray:
    array = points(name, value, dim, finite_only=True)
    if array.ndim != dim:
        raise error(name, "a list of points, (n,) in 1D or (n, 2) in 2D", f"shape {array.shape}")
    return array

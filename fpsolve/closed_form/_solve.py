"""Densities of the reverse dynamics in closed form, at points: which formula answers for (reverse, start, t), the
monotone map of the probability flow on a line, which matches the CDFs of ``p_T`` and ``p_t``, and the transition
density.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fpsolve import _memory, _times
from fpsolve._checks import FloatArray, error, interval, points, positive, same_dim
from fpsolve.closed_form._fields import (
    Field,
    LawField,
    Smoothed,
    bayes,
    field_of,
    linear,
    marginal,
    marginal_mixture,
    posterior,
)
from fpsolve.closed_form._line import LineIntegral, log_lower, log_upper
from fpsolve.closed_form._mixture import LOG_2PI, Mixture, as_mixture
from fpsolve.laws import Law, PointMass
from fpsolve.processes import Process

_EPS = float(np.finfo(np.float64).eps)
_MOST_STEPS = 100
_TABLE = 257


class Distribution(Protocol):
    """A 1D law with its density and both tails in logarithms; `Mixture` is one."""

    @property
    def mean(self) -> FloatArray: ...
    def log_at(self, x: FloatArray) -> FloatArray: ...
    def log_tail(self, x: FloatArray, upper: bool) -> FloatArray: ...


@dataclass(frozen=True, eq=False)
class SmoothedDistribution:
    """A marginal by quadrature with its tails: the same integral against the normal CDF."""

    field: Smoothed
    mean: FloatArray

    def log_at(self, x: FloatArray) -> FloatArray:
        """Return the log density."""
        return self.field.log_at(x)

    def log_tail(self, x: FloatArray, upper: bool) -> FloatArray:
        """Return ``log P(X <= x)``, or ``log P(X > x)`` where `upper`."""
        field = self.field
        kernel = log_upper if upper else log_lower
        integral = LineIntegral(field.nu.log_at, field.edges[0], field.lens.width, field.rtol, kernel)
        return integral(field.lens.centres(x))


@dataclass(frozen=True, eq=False)
class Transport:
    """``q_t(x) = nu(y) p_t(x)/p_T(y)``, y the origin of x: ``F_{p_T}(y) = F_{p_t}(x)``.

    Parameters
    ----------
    nu : Law
        Start at T.
    p_start, p_end : Distribution
        p_T and p_t.
    """

    nu: Law
    p_start: Distribution
    p_end: Distribution

    @property
    def dim(self) -> int:
        """1."""
        return 1

    def log_at(self, x: FloatArray) -> FloatArray:
        """Return the log density at points (n,)."""
        y = self.origin(x)
        return field_of(self.nu).log_at(y) + self.p_end.log_at(x) - self.p_start.log_at(y)

    def log_on_axes(self, *axes: FloatArray) -> FloatArray:
        """Return the log density at points (n,)."""
        return self.log_at(axes[0])

    def origin(self, x: FloatArray) -> FloatArray:
        """Return the origins y at T of points x at t, from the smaller of the two tails."""
        lower, upper = (self.p_end.log_tail(x, side) for side in (False, True))
        y = np.empty(x.size)
        for goal, side, use in ((lower, False, lower < upper), (upper, True, lower >= upper)):
            if use.any():
                y[use] = self._quantile(goal[use], side)
        return y

    def _quantile(self, goal: FloatArray, upper: bool) -> FloatArray:
        """Return y with ``log tail(y) = goal`` under p_T: Newton on the log tail, inside of a bracket."""
        sign = -1.0 if upper else 1.0
        low, high = self._bracket(goal, upper)
        y, active = 0.5 * (low + high), np.arange(goal.size)
        for _ in range(_MOST_STEPS):
            z = y[active]
            tail = self.p_start.log_tail(z, upper)
            value = sign * (tail - goal[active])
            slope = np.exp(np.clip(self.p_start.log_at(z) - tail, -600.0, 600.0))
            low[active] = np.where(value <= 0.0, z, low[active])
            high[active] = np.where(value >= 0.0, z, high[active])
            step = z - value / slope
            inside = (step > low[active]) & (step < high[active])
            exact = np.abs(value) <= 4.0 * _EPS * (1.0 + np.abs(goal[active]))
            bisected = np.where(exact, z, 0.5 * (low[active] + high[active]))
            y[active] = np.where(inside, step, bisected)
            # 1/slope is the length on which the tail changes: the step after one this short is below rounding
            short = inside & (np.abs(step - z) * slope <= 1e-9)
            done = exact | short | (high[active] - low[active] <= 4.0 * _EPS * np.abs(z))
            active = active[~done]
            if not active.size:
                return y
        raise ValueError(
            f"x: expected points whose origin under the flow is found in {_MOST_STEPS} steps, got {active.size} "
            "that are not; move them nearer to the bulk."
        )

    def _bracket(self, goal: FloatArray, upper: bool) -> tuple[FloatArray, FloatArray]:
        """Return ends between which the log tail passes every goal: neighbours in one table for all of them."""
        sign = -1.0 if upper else 1.0
        ends = []
        for side, worst in ((-1.0, (sign * goal).min()), (1.0, (sign * goal).max())):
            y, width = float(self.p_start.mean[0]) + side, 1.0
            while side * (sign * self.p_start.log_tail(np.array([y]), upper)[0] - worst) < 0.0:
                y, width = y + side * width, 2.0 * width
            ends.append(y)
        table = np.linspace(ends[0], ends[1], _TABLE)
        values = np.maximum.accumulate(sign * self.p_start.log_tail(table, upper))
        place = np.clip(np.searchsorted(values, sign * goal), 1, _TABLE - 1)
        return table[place - 1], table[place]


def transport(target: Law, process: Any, start: Law, t: float, rtol: float) -> Transport:
    """Return the probability flow's image at t of a start at T."""
    return Transport(
        start,
        p_start=distribution(target, process, process.T, rtol),
        p_end=distribution(target, process, t, rtol),
    )


def distribution(target: Law, process: Any, t: float, rtol: float) -> Distribution:
    """Return p_t with its tails."""
    field = marginal(target, process, t, rtol)
    if isinstance(field, Smoothed):
        return SmoothedDistribution(field, np.atleast_1d(target.mean) * float(process.scale(0.0, t)))
    if isinstance(field, Mixture):
        return field
    raise TypeError("expected a 1D target")


AVAILABLE = (
    "closed forms exist for eta = 1 (any start), for eta = 0 in 1D (any start with a density), for Gaussian targets "
    "(normal-mixture and point-mass starts at any eta > 0 or eta(t), other starts where the target is isotropic) and "
    "for the start p_T of a normal-mixture target (any eta)"
)


class ReverseLike(Protocol):
    """What the oracle reads of a `Reverse`."""

    @property
    def target(self) -> Law: ...
    @property
    def process(self) -> Process: ...
    @property
    def eta(self) -> float | Callable[[float], float]: ...
    @property
    def exact(self) -> bool: ...


def check(reverse: ReverseLike, start: Law, t: float) -> float:
    """Return t as a float; refuse score models, mixed dimensions and times outside of (0, T]."""
    check_exact(reverse)
    same_dim("start", start.dim, "the target", reverse.target.dim)
    remedy = "densities are known at forward times t > 0 up to T, where the start is"
    return _times.one("t", t, 0.0, reverse.process.T, ends="(]", remedy=remedy)


def require_law(name: str, start: Law) -> None:
    """Refuse what has no log density: any object with one and a dimension is a law to the oracle."""
    if isinstance(start, type) or not all(hasattr(start, part) for part in ("log_density", "dim")):
        raise error(name, "a law", f"a {type(start).__name__}", "data become one by fpsolve.KernelDensity(samples)")


def check_exact(reverse: ReverseLike) -> None:
    """Refuse a score model."""
    if not all(hasattr(reverse, name) for name in ("target", "process", "eta", "exact")):
        raise error("reverse", "a reverse dynamics", f"a {type(reverse).__name__}", "fpsolve.Reverse(target, process)")
    if not reverse.exact:
        remedy = "leave out score=; no closed form knows a model's law"
        raise error("reverse", "the exact score", "a score model", remedy)


def solve(reverse: ReverseLike, start: Law, t: float, rtol: float) -> Field:
    """Return the log density at t in (0, T] of the reverse dynamics started from `start` at T.

    Raises
    ------
    ValueError
        Where no closed form is available.
    """
    target, process, eta = reverse.target, reverse.process, reverse.eta
    if t == process.T:
        if isinstance(start, PointMass):
            raise error("t", "a time t < T for a point mass, which has no density at T", "t = T")
        return LawField(start)
    mixture = as_mixture(target)
    if mixture is not None and len(mixture.log_weights) == 1:
        known = linear(mixture, process, eta, start, t, rtol)
        if known is not None:
            return known
    if mixture is not None and is_marginal(start, marginal_mixture(mixture, process, process.T)):
        return marginal_mixture(mixture, process, t)
    if eta == 1.0:
        return doob(reverse, start, t, rtol)
    if eta == 0.0 and target.dim == 1 and not isinstance(start, PointMass):
        return transport(target, process, start, t, rtol)
    shown = "eta(t)" if callable(eta) else f"eta = {eta:g}"
    described = f"{shown} in {target.dim}D, start {type(start).__name__}, target {type(target).__name__}"
    raise error("reverse", "a case with a closed form", described, AVAILABLE)


def doob(reverse: ReverseLike, start: Law, t: float, rtol: float) -> Field:
    """Return Bayes' rule applied to any start, eta = 1, t < T."""
    if isinstance(start, PointMass):
        return posterior(reverse.target, reverse.process, np.atleast_1d(start.at), t, rtol)
    return bayes(reverse.target, reverse.process, start, t, rtol)


def is_marginal(start: Law, p_start: Mixture) -> bool:
    """Say whether a start is the mixture p_T, component by component, whatever object it is."""
    mixture = as_mixture(start)
    if mixture is None or mixture.means.shape != p_start.means.shape:
        return False
    return all(
        np.allclose(a, b, rtol=1e-12, atol=1e-14 * float(np.abs(b).max()))
        for a, b in zip(_sorted(mixture), _sorted(p_start), strict=True)
    )


def _sorted(mixture: Mixture) -> tuple[Any, Any, Any]:
    keys = np.column_stack([mixture.means, mixture.covs.reshape(len(mixture.means), -1), mixture.log_weights])
    # rounded keys: components that differ by rounding keep their order
    order = np.lexsort(np.round(keys / np.abs(keys).max(initial=1e-300), 9).T)
    return mixture.log_weights[order], mixture.means[order], mixture.covs[order]


def log_density(reverse: ReverseLike, start: Law, t: float, x: Any, *, rtol: float = 1e-12) -> FloatArray:
    """Return the logarithm of `density`, which stays finite and accurate far out; same arguments."""
    require_law("start", start)
    t = check(reverse, start, t)
    _memory.require("x", 64.0 * np.size(x), "take fewer points at a time")
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
    >>> density(reverse, fp.Gaussian(0.0, std=1.0), 0.01, [-2.0, 0.0, 2.0]).round(4).tolist()
    [0.6058, 0.0002, 0.3873]
    """
    require_law("start", start)
    return np.exp(log_density(reverse, start, t, x, rtol=rtol))


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
    _memory.require("x_to", 24.0 * len(y) * len(x), "take fewer points at a time")
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

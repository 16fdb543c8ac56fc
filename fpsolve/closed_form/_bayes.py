"""The reverse kernel by Bayes' rule, and the linear case in closed form.

Reverse SDE (eta = 1) with the exact score: Bayes' rule, for any start and for point masses.

Gaussian targets: the reverse dynamics is linear, so for every eta the transition is one Gaussian.

With the exact score ``-C_t^{-1}(y - m_t)`` of ``p_t = N(m_t, C_t)`` the deviation ``e = y - m_t`` obeys, along an
eigenvector of C_t with eigenvalue v and with ``g^2/v = v'/v - 2 a`` (' in forward time),

    de = [eta^2 a - (1 + eta^2)/2 v'/v] e dr + eta g dB,

which integrates to ``Y_t = m_t + G (Y_T - m_T) + sqrt(S) Z`` with

    rho = alpha(t,T)^2 v_t/v_T = 1 - sigma2(t,T)/v_T,    G = sqrt(v_t/v_T) rho^(eta^2/2),    S = v_t (1 - rho^(eta^2)).

S follows from G because ``p_T`` is carried to ``p_t``. eta = 1 and eta = 0 are the formulas of Bayes' rule and of
the probability flow.
Where eta depends on time, ``eta^2 log(rho)`` becomes ``-int_t^T eta^2 g^2/v ds``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve.closed_form._fields import Field, Lens, Smoothed, all_landmarks, field_of, marginal, on_axes_from_points
from fpsolve.closed_form._mixture import LOG_2PI, Mixture, as_mixture, log_sum_exp
from fpsolve.laws import Law, PointMass


def bayes(target: Law, process: Any, start: Law, t: float, rtol: float) -> Smoothed:
    """Return ``q_t(x) = p_t(x) int nu(y)/p_T(y) N(y; alpha x, sigma2 I) dy``, Doob's h-transform of the start nu.

    alpha and sigma2 are those from t to T.
    """
    return bayes_of_field(target, process, field_of(start), all_landmarks(start), t, rtol)


def bayes_of_field(
    target: Law, process: Any, nu: Field, edges: tuple[FloatArray, ...], t: float, rtol: float
) -> Smoothed:
    """Return the same for any function nu, with the landmarks of its peaks."""
    p_start, p_end = marginal(target, process, process.T, rtol), marginal(target, process, t, rtol)
    alpha, variance = float(process.scale(t, process.T)), float(process.variance(t, process.T))
    lens = Lens(alpha, np.zeros(target.dim), float(np.sqrt(variance)))
    return Smoothed(nu, edges, lens, prefactor=p_end, divisor=p_start, rtol=rtol)


@dataclass(frozen=True, eq=False)
class Posterior:
    """``P(y, x) = p_t(x) N(y; alpha x, sigma2 I)/p_T(y)`` as a density in x: the reverse SDE from a point y."""

    at: FloatArray
    alpha: float
    variance: float
    p_end: Field
    log_p_start: float

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return self.at.size

    def log_at(self, x: FloatArray) -> FloatArray:
        """Return the log density at points (n,) or (n, 2)."""
        squares = (self.at - self.alpha * x.reshape(-1, self.dim)) ** 2
        log_kernel = -0.5 * (squares.sum(axis=1) / self.variance + self.dim * (LOG_2PI + np.log(self.variance)))
        return np.asarray(self.p_end.log_at(x) + log_kernel - self.log_p_start)

    def log_on_axes(self, *axes: FloatArray) -> FloatArray:
        """Return the log density on a tensor grid."""
        return on_axes_from_points(self.log_at, axes)


def posterior(target: Law, process: Any, at: FloatArray, t: float, rtol: float) -> Field:
    """Return the law at t of the reverse SDE started in the point `at` at T; a mixture for a mixture target."""
    alpha, variance = float(process.scale(t, process.T)), float(process.variance(t, process.T))
    mixture = as_mixture(target)
    if mixture is not None:
        return _posterior_mixture(marginal_mixture(mixture, process, t), alpha, variance, at)
    p_start, p_end = marginal(target, process, process.T, rtol), marginal(target, process, t, rtol)
    log_p_start = p_start.log_at(at.reshape(1, -1) if at.size == 2 else at)[0]
    return Posterior(at, alpha, variance, p_end, float(log_p_start))


def marginal_mixture(mixture: Mixture, process: Any, t: float) -> Mixture:
    """Return p_t for a mixture target."""
    return mixture.noised(float(process.scale(0.0, t)), float(process.variance(0.0, t)))


def _posterior_mixture(p_end: Mixture, alpha: float, variance: float, at: FloatArray) -> Mixture:
    """Return the mixture with weights ``w_k N(y; alpha m_k, S_k)``, normalised, ``S_k = alpha^2 C_k + sigma2 I``,

    means ``m_k + G_k (y - alpha m_k)``, ``G_k = alpha C_k S_k^{-1}``, covariances ``sigma2 C_k S_k^{-1}``.
    """
    arrived = p_end.noised(alpha, variance)
    # C_k and S_k commute: the product of one with the inverse of the other is symmetric
    shrink: FloatArray = np.asarray(np.linalg.solve(arrived.covs, p_end.covs), dtype=np.float64)
    shrink = 0.5 * (shrink + np.swapaxes(shrink, 1, 2))
    means = p_end.means + alpha * np.einsum("kij,kj->ki", shrink, at.reshape(-1) - arrived.means)
    log_weights = arrived.log_terms(at.reshape(1, -1))[0]
    return Mixture(log_weights - log_sum_exp(log_weights), means, variance * shrink)


Eta: TypeAlias = float | Callable[[float], float]

#: Accuracy of the integral over eta(t), and panels it may take: a jump that is not in `breaks` is bisected.
_RTOL, _PANELS = 1e-13, 400


@dataclass(frozen=True, eq=False)
class Transition:
    """``Y_t = m_t + G (Y_T - m_T) + sqrt(S) Z`` along common principal axes.

    Parameters
    ----------
    start_mean, end_mean : ndarray of shape (d,)
        m_T and m_t.
    axes : ndarray of shape (d, d)
        Orthonormal columns.
    gains, variances : ndarray of shape (d,)
        G and S along the columns.
    """

    start_mean: FloatArray
    end_mean: FloatArray
    axes: FloatArray
    gains: FloatArray
    variances: FloatArray

    def push(self, start: Mixture) -> Mixture:
        """Return the law at t of a mixture (of point masses, where covariances are 0)."""
        gain = self.axes * self.gains @ self.axes.T
        noise = self.axes * self.variances @ self.axes.T
        means = self.end_mean + (start.means - self.start_mean) @ gain.T
        return Mixture(start.log_weights, means, gain @ start.covs @ gain.T + noise)

    @property
    def noisy(self) -> bool:
        """Whether there is noise along every axis."""
        return bool(np.all(self.variances > 0.0))

    @property
    def isotropic(self) -> bool:
        """Whether G and S are the same along every axis."""
        return bool(np.ptp(self.gains) <= 1e-14 * self.gains[0] and np.ptp(self.variances) <= 1e-14 * self.variances[0])


@dataclass(frozen=True, eq=False)
class Affine:
    """The image of a law under an affine map: ``log q(x) = log nu(M (x - m_t) + m_T) + log det M``."""

    nu: Law
    transition: Transition

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return self.nu.dim

    def origin(self, x: FloatArray) -> FloatArray:
        """Return where the points (n, d) came from."""
        t = self.transition
        return np.asarray(t.start_mean + (x - t.end_mean) @ (t.axes / t.gains @ t.axes.T).T)

    def log_at(self, x: FloatArray) -> FloatArray:
        """Return the log density at points (n,) or (n, 2)."""
        y = self.origin(x.reshape(-1, self.dim))
        log_det = -float(np.log(self.transition.gains).sum())
        return field_of(self.nu).log_at(y if self.dim == 2 else y[:, 0]) + log_det

    def log_on_axes(self, *axes: FloatArray) -> FloatArray:
        """Return the log density on a tensor grid."""
        return on_axes_from_points(self.log_at, axes)


def transition(target: Mixture, process: Any, eta: Eta, t: float) -> Transition:
    """Return the transition from T to t for a target of one component."""
    end, start = marginal_mixture(target, process, t), marginal_mixture(target, process, process.T)
    _, axes = np.linalg.eigh(target.covs[0])
    v_end = np.einsum("ji,jk,ki->i", axes, end.covs[0], axes)
    v_start = np.einsum("ji,jk,ki->i", axes, start.covs[0], axes)
    forgotten = float(process.variance(t, process.T)) / v_start
    kept = float(process.scale(t, process.T)) ** 2 * v_end / v_start
    # kept + forgotten = 1; the logarithm of the smaller of the two is the accurate one
    log_rho = np.where(forgotten < 0.5, np.log1p(-np.minimum(forgotten, 0.5)), np.log(np.maximum(kept, 1e-300)))
    power = _integrated(target, process, eta, t, axes) if callable(eta) else eta**2 * log_rho
    gains = np.sqrt(v_end / v_start) * np.exp(0.5 * power)
    return Transition(start.means[0], end.means[0], axes, gains, -v_end * np.expm1(power))


def _integrated(target: Mixture, process: Any, eta: Callable[[float], float], t: float, axes: FloatArray) -> FloatArray:
    """Return ``-int_t^T eta(s)^2 g(s)^2/v(s) ds`` along every axis, by adaptive quadrature in log s between jumps."""
    from scipy.integrate import quad

    own = np.einsum("ji,jk,ki->i", axes, target.covs[0], axes)
    jumps = [s for s in getattr(eta, "breaks", ()) if t < s < process.T]

    def rate(log_s: float, variance: float) -> float:
        s = float(np.exp(log_s))
        v = float(process.scale(0.0, s)) ** 2 * variance + float(process.variance(0.0, s))
        return s * eta(s) ** 2 * float(process.diffusion(s)) ** 2 / v

    total = np.zeros(len(own))
    for low, high in pairwise(np.log([t, *sorted(jumps), process.T])):
        # the ends belong to either side of a jump: quad never takes them
        total -= [quad(rate, low, high, args=(v,), epsabs=0.0, epsrel=_RTOL, limit=_PANELS)[0] for v in own]
    return total


def linear(target: Mixture, process: Any, eta: Eta, start: Law, t: float, rtol: float) -> Field | None:
    """Return the law at t for a Gaussian target, or None where no formula of this file applies."""
    step = transition(target, process, eta, t)
    mixture = as_mixture(start)
    if isinstance(start, PointMass) and step.noisy:
        at = np.atleast_1d(start.at)
        mixture = Mixture(np.zeros(1), at[None], np.zeros((1, start.dim, start.dim)))
    if mixture is not None:
        return step.push(mixture)
    if isinstance(start, PointMass):
        return None
    return Affine(start, step) if not step.noisy else smoothed(field_of(start), all_landmarks(start), step, rtol)


def smoothed(nu: Field, edges: tuple[FloatArray, ...], step: Transition, rtol: float) -> Smoothed | None:
    """Return ``int nu(y) N(x; m_t + G (y - m_T), S) dy`` for any function nu, None where G differs by direction."""
    if not step.isotropic:
        return None
    gain, width = float(step.gains[0]), float(np.sqrt(step.variances[0]))
    lens = Lens(1.0 / gain, step.start_mean - step.end_mean / gain, width / gain)
    return Smoothed(nu, edges, lens, constant=-nu.dim * float(np.log(gain)), rtol=rtol)

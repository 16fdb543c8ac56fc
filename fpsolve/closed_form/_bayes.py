"""Reverse SDE (eta = 1) with the exact score: Bayes' rule, for any start and for point masses."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve.closed_form._fields import Field, Lens, Smoothed, all_landmarks, field_of, marginal, on_axes_from_points
from fpsolve.closed_form._mixture import LOG_2PI, Mixture, as_mixture, log_sum_exp
from fpsolve.laws import Law


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

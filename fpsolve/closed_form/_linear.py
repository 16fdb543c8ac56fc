"""Gaussian targets: the reverse dynamics is linear, so for every eta the transition is one Gaussian.

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
from fpsolve.closed_form._bayes import marginal_mixture
from fpsolve.closed_form._fields import Field, Lens, Smoothed, all_landmarks, field_of, on_axes_from_points
from fpsolve.closed_form._mixture import Mixture, as_mixture
from fpsolve.laws import Law, PointMass

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

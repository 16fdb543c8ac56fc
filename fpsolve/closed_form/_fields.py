"""Log densities in closed form up to one integral: what every branch of the oracle returns.

With eta = 1 and the exact score the reverse kernel is that of Bayes' rule, for any start and for point masses. For
Gaussian targets the reverse dynamics is linear, so for every eta the transition is one Gaussian.

With the exact score ``-C_t^{-1}(y - m_t)`` of ``p_t = N(m_t, C_t)`` the deviation ``e = y - m_t`` obeys, along an
eigenvector of C_t with eigenvalue v and with ``g^2/v = v'/v - 2 a`` (' in forward time),

    de = [eta^2 a - (1 + eta^2)/2 v'/v] e dr + eta g dB,

which integrates to ``Y_t = m_t + G (Y_T - m_T) + sqrt(S) Z`` with

    rho = alpha(t,T)^2 v_t/v_T = 1 - sigma2(t,T)/v_T,    G = sqrt(v_t/v_T) rho^(eta^2/2),    S = v_t (1 - rho^(eta^2)).

S follows from G because ``p_T`` is carried to ``p_t``. eta = 1 and eta = 0 are the formulas of Bayes' rule and of
the probability flow. Where eta depends on time, ``eta^2 log(rho)`` becomes ``-int_t^T eta^2 g^2/v ds``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol, TypeAlias

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve._kinks import of_time
from fpsolve.closed_form._line import LineIntegral
from fpsolve.closed_form._mixture import LOG_2PI, Mixture, as_mixture, landmarks, tensor
from fpsolve.closed_form._plane import PlaneIntegral
from fpsolve.laws import Gaussian, Laplace, Law, PointMass, StudentT, Uniform, log_sum_exp


class Field(Protocol):
    """A log density in 1D or 2D; `Mixture` is one."""

    @property
    def dim(self) -> int: ...
    def log_at(self, x: FloatArray) -> FloatArray: ...
    def log_on_axes(self, *axes: FloatArray) -> FloatArray: ...


@dataclass(frozen=True, eq=False)
class LawField:
    """The log density of a law as it is."""

    law: Law

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return self.law.dim

    def log_at(self, x: FloatArray) -> FloatArray:
        """Return the log density at points (n,) or (n, 2)."""
        return self.law.log_density(x)

    def log_on_axes(self, *axes: FloatArray) -> FloatArray:
        """Return the log density on a tensor grid."""
        return self.law.log_density_on_axes(*axes)


def field_of(law: Law) -> Field:
    """Return a law's log density, from the oracle's own formula where the law is a normal mixture."""
    mixture = as_mixture(law)
    return LawField(law) if mixture is None else mixture


@dataclass(frozen=True, eq=False)
class Lens:
    """The map of a Gaussian kernel: ``y`` is seen from x as ``N(y; scale x + shift, width^2 I)``."""

    scale: float
    shift: FloatArray
    width: float

    def centres(self, x: FloatArray) -> FloatArray:
        """Return the kernel's centres for points (n,) or (n, 2)."""
        return np.asarray(self.scale * x + (self.shift if x.ndim == 2 else self.shift[0]))

    def axis_centres(self, axes: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
        """Return the centres' coordinates for a tensor grid."""
        return tuple(self.scale * x + b for x, b in zip(axes, self.shift, strict=True))


@dataclass(frozen=True, eq=False)
class Smoothed:
    """``log q(x) = constant + log f(x) + log int nu(y)/p(y) N(y; scale x + shift, width^2 I) dy``.

    Marginals (nu the data law, no f, no p), Bayes' rule (f = p_t, p = p_T) and linear dynamics (neither) are
    all of this kind.

    Parameters
    ----------
    nu : Field
        What is integrated; need not be normalised.
    edges : tuple of ndarray
        Kinks of nu and landmarks of its peaks, per axis.
    lens : Lens
        The kernel.
    prefactor, divisor : Field or None
        f and p, None for 1.
    constant : float
        Added to the log.
    rtol : float
        Relative accuracy of the integral.
    """

    nu: Field
    edges: tuple[FloatArray, ...]
    lens: Lens
    prefactor: Field | None = None
    divisor: Field | None = None
    constant: float = 0.0
    rtol: float = 1e-12

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return self.nu.dim

    def log_at(self, x: FloatArray) -> FloatArray:
        """Return the log density at points (n,) or (n, 2)."""
        centres = self.lens.centres(x)
        values = self.line(centres) if self.dim == 1 else self.plane.at(centres)
        return self._finish(values, None if self.prefactor is None else self.prefactor.log_at(x))

    def log_on_axes(self, *axes: FloatArray) -> FloatArray:
        """Return the log density on a tensor grid."""
        if self.dim == 1:
            return self.log_at(axes[0])
        values = self.plane.on_axes(*self.lens.axis_centres(axes))
        return self._finish(values, None if self.prefactor is None else self.prefactor.log_on_axes(*axes))

    def log_and_averages(
        self, axes: tuple[FloatArray, ...], factors: Callable[..., FloatArray]
    ) -> tuple[FloatArray, FloatArray]:
        """Return the log density on a tensor grid, and averages of signed functions of y under each integrand."""
        centres = self.lens.axis_centres(axes)
        if self.dim == 1:
            values, averages = self.line.with_factors(centres[0], factors)
        else:
            values, averages = self.plane.with_factors(centres, factors)
        prefactor = None if self.prefactor is None else self.prefactor.log_on_axes(*axes)
        return self._finish(values, prefactor), averages

    @cached_property
    def line(self) -> LineIntegral:
        """The integral in 1D."""
        # the kernel of LineIntegral is a density of (y - c)/width: one 1/width is missing
        shift = -float(np.log(self.lens.width))
        return LineIntegral(
            lambda y: self._log_f(y) + shift, self.edges[0], self.lens.width, self.rtol, reach=self._reach
        )

    @cached_property
    def plane(self) -> PlaneIntegral:
        """The integral in 2D."""
        return PlaneIntegral(self._log_f, (self.edges[0], self.edges[1]), self.lens.width, self.rtol, self._reach)

    @property
    def _reach(self) -> float:
        """How far out a slow nu over a fast p can have peaks, in widths; p by quadrature is not asked very far out."""
        return 0.0 if self.divisor is None else 1e9 if isinstance(self.divisor, Mixture) else 1e3

    def _log_f(self, *axes: FloatArray) -> FloatArray:
        log_nu = self.nu.log_on_axes(*axes)
        return log_nu if self.divisor is None else log_nu - self.divisor.log_on_axes(*axes)

    def _finish(self, values: FloatArray, prefactor: FloatArray | None) -> FloatArray:
        return values + self.constant if prefactor is None else values + prefactor + self.constant


@dataclass(frozen=True, eq=False)
class Product:
    """The log density of two independent coordinates."""

    first: Field
    second: Field

    @property
    def dim(self) -> int:
        """2."""
        return 2

    def log_at(self, x: FloatArray) -> FloatArray:
        """Return the log density at points (n, 2)."""
        return self.first.log_at(x[:, 0]) + self.second.log_at(x[:, 1])

    def log_on_axes(self, *axes: FloatArray) -> FloatArray:
        """Return the log density on a tensor grid."""
        return self.first.log_at(axes[0])[:, None] + self.second.log_at(axes[1])


def all_landmarks(*laws: Law) -> tuple[FloatArray, ...]:
    """Return the landmarks of several laws together, per axis."""
    return tuple(np.concatenate([landmarks(law, axis) for law in laws]) for axis in range(laws[0].dim))


def marginal(target: Law, process: Any, t: float, rtol: float) -> Mixture | Smoothed | Product:
    """Return the log density of ``p_t``, the law of ``alpha X_0 + sqrt(sigma2) Z``.

    In closed form for normal mixtures, else ``p_t(x) = int p_0(y) N(x; alpha y, sigma2 I) dy`` by quadrature, per
    axis for laws with independent coordinates. A t law enters as the scale mixture of normal laws it is: integrals over
    quotients of integrals would take minutes (`by_quadrature` says the same of it, slowly).
    """
    alpha, variance = float(process.scale(0.0, t)), float(process.variance(0.0, t))
    mixture = as_mixture(target.components if isinstance(target, StudentT) else target)
    if mixture is None and alpha == 0.0:
        # nothing is left of the target
        mixture = as_mixture(Gaussian(0.0 if target.dim == 1 else np.zeros(2), std=1.0))
    if mixture is not None:
        return mixture.noised(alpha, variance)
    if target.dim == 2 and isinstance(target, Laplace | Uniform):
        first, second = (target.axis_marginal(axis) for axis in (0, 1))
        return Product(marginal(first, process, t, rtol), marginal(second, process, t, rtol))
    return by_quadrature(target, process, t, rtol)


def by_quadrature(target: Law, process: Any, t: float, rtol: float) -> Smoothed:
    """Return the log density of ``p_t`` as the integral it is, for any law."""
    alpha, variance = float(process.scale(0.0, t)), float(process.variance(0.0, t))
    lens = Lens(1.0 / alpha, np.zeros(target.dim), float(np.sqrt(variance)) / alpha)
    constant = -target.dim * float(np.log(alpha))
    return Smoothed(LawField(target), all_landmarks(target), lens, constant=constant, rtol=rtol)


def on_axes_from_points(log_at: Callable[[FloatArray], FloatArray], axes: tuple[FloatArray, ...]) -> FloatArray:
    """Return values on a tensor grid from a function of points."""
    if len(axes) == 1:
        return log_at(axes[0])
    return log_at(tensor(*axes)).reshape(axes[0].size, axes[1].size)


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


def _ends(eta: Callable[[float], float], process: Any) -> tuple[float, ...]:
    """Times at which the integrand jumps or bends, and such that resolve its quick changes."""
    found = process.joints.with_others(of_time(eta, process.T))
    return *found.times, *found.beside(0.0, process.T, 4.0, share=1.0).tolist()


def _integrated(target: Mixture, process: Any, eta: Callable[[float], float], t: float, axes: FloatArray) -> FloatArray:
    """Return ``-int_t^T eta(s)^2 g(s)^2/v(s) ds`` along every axis, by adaptive quadrature in log s between jumps."""
    from scipy.integrate import quad

    own = np.einsum("ji,jk,ki->i", axes, target.covs[0], axes)
    ends = [s for s in _ends(eta, process) if t < s < process.T]

    def rate(log_s: float, variance: float) -> float:
        s = float(np.exp(log_s))
        v = float(process.scale(0.0, s)) ** 2 * variance + float(process.variance(0.0, s))
        return s * eta(s) ** 2 * float(process.diffusion(s)) ** 2 / v

    total = np.zeros(len(own))
    for low, high in pairwise(np.log([t, *sorted(ends), process.T])):
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

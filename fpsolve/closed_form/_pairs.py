"""Two starts under one integral: the difference of their densities without cancellation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve.closed_form._bayes import bayes_of_field
from fpsolve.closed_form._fields import Field, Smoothed, all_landmarks, field_of
from fpsolve.closed_form._linear import smoothed, transition
from fpsolve.closed_form._mixture import Mixture, as_mixture
from fpsolve.closed_form._panels import EMPTY
from fpsolve.closed_form._solve import ReverseLike, solve
from fpsolve.laws import Law, PointMass

_EPS = float(np.finfo(np.float64).eps)


class Pair(Protocol):
    """``log(q_a + q_b)``, ``(q_a - q_b)/(q_a + q_b)`` and a bound on the latter's rounding error, on axes."""

    def __call__(self, *axes: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]: ...


@dataclass(frozen=True, eq=False)
class Sum:
    """The function ``nu_a + nu_b``."""

    first: Field
    second: Field

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return self.first.dim

    def log_at(self, x: FloatArray) -> FloatArray:
        """Return the log of the sum at points (n,) or (n, 2)."""
        return np.logaddexp(self.first.log_at(x), self.second.log_at(x))

    def log_on_axes(self, *axes: FloatArray) -> FloatArray:
        """Return the log of the sum on a tensor grid."""
        return np.logaddexp(self.first.log_on_axes(*axes), self.second.log_on_axes(*axes))


def pair(reverse: ReverseLike, start_a: Law, start_b: Law, t: float, rtol: float) -> Pair:
    """Return the two densities at t as one `Pair`.

    Where the transition is a kernel against which any function can be integrated, ``nu_a - nu_b`` goes under
    one integral, so that a difference far below the densities keeps its digits; otherwise (probability flow,
    point masses, t = T) the densities are subtracted in logarithms.
    """
    together = None
    if t < reverse.process.T and not any(isinstance(start, PointMass) for start in (start_a, start_b)):
        together = _together(reverse, start_a, start_b, t, rtol)
    if together is not None:
        return _integrated(together, log_ratio(start_a, start_b))
    fields = solve(reverse, start_a, t, rtol), solve(reverse, start_b, t, rtol)
    known = log_ratio(start_a, start_b) if t == reverse.process.T else None
    return _subtracted(*fields, known)


def _together(reverse: ReverseLike, start_a: Law, start_b: Law, t: float, rtol: float) -> Smoothed | None:
    """Return ``q_a + q_b`` as one integral, or None where the transition is not such a kernel."""
    nu, edges = Sum(field_of(start_a), field_of(start_b)), all_landmarks(start_a, start_b)
    target = as_mixture(reverse.target)
    if target is not None and len(target.log_weights) == 1:
        step = transition(target, reverse.process, reverse.eta, t)
        known = smoothed(nu, edges, step, rtol) if step.noisy else None
        if known is not None:
            return known
    if reverse.eta == 1.0:
        return bayes_of_field(reverse.target, reverse.process, nu, edges, t, rtol)
    return None


def _integrated(together: Smoothed, ratio: Callable[..., tuple[FloatArray, FloatArray]]) -> Pair:
    def factors(*axes: FloatArray) -> FloatArray:
        half, noise = ratio(*axes)
        return np.stack([np.tanh(half), noise])

    def values(*axes: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        log_sum, averages = together.log_and_averages(axes, factors)
        return log_sum, averages[0], averages[1]

    return values


def _subtracted(first: Field, second: Field, known: Callable[..., tuple[FloatArray, FloatArray]] | None) -> Pair:
    def values(*axes: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        a, b = (np.maximum(field.log_on_axes(*axes), EMPTY) for field in (first, second))
        half, noise = _half_difference(a, b) if known is None else known(*axes)
        return np.logaddexp(a, b), np.tanh(half), noise

    return values


def log_ratio(start_a: Law, start_b: Law) -> Callable[..., tuple[FloatArray, FloatArray]]:
    """Return ``(log nu_a - log nu_b)/2`` on axes and a bound on its rounding error.

    For two Gaussians from the differences of their parameters, so that nearly equal ones keep their digits.
    """
    a, b = as_mixture(start_a), as_mixture(start_b)
    if a is not None and b is not None and len(a.log_weights) == len(b.log_weights) == 1:
        return lambda *axes: _gaussian_half_ratio(a, b, axes)
    fields = field_of(start_a), field_of(start_b)
    return lambda *axes: _half_difference(*(np.maximum(field.log_on_axes(*axes), EMPTY) for field in fields))


def _half_difference(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    # beyond a difference of 40 the tanh is +-1 and rounding no longer matters
    size = np.minimum(np.abs(a), np.abs(b))
    half = 0.5 * (a - b)
    return half, np.where(np.abs(half) > 40.0, 0.0, _EPS * (1.0 + size))


def _gaussian_half_ratio(a: Mixture, b: Mixture, axes: tuple[FloatArray, ...]) -> tuple[FloatArray, FloatArray]:
    """Return half of ``-[u_a^T P_a u_a - u_b^T P_b u_b]/2 - log(det C_a/det C_b)/2``, u offsets, P precisions.

    With ``u_a - u_b = m_b - m_a`` and ``P_a - P_b = -P_a (C_a - C_b) P_b`` every term is proportional to a
    difference of parameters.
    """
    p_a, p_b = np.linalg.inv(a.covs[0]), np.linalg.inv(b.covs[0])
    change = a.covs[0] - b.covs[0]
    log_det = float(np.log1p(np.linalg.eigvals(p_b @ change).real).sum())
    shift, middle = b.means[0] - a.means[0], 0.5 * (a.means[0] + b.means[0])
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    terms = (x - middle) @ (p_a @ shift), 0.5 * _quadratic(x - b.means[0], -p_a @ change @ p_b)
    half = -0.5 * (terms[0] + terms[1] + 0.5 * log_det)
    size = np.abs(terms[0]) + np.abs(terms[1]) + abs(log_det)
    return half, 2.0 * _EPS * size


def _quadratic(x: FloatArray, matrix: Any) -> FloatArray:
    return np.asarray(((x @ matrix.T) * x).sum(axis=-1))

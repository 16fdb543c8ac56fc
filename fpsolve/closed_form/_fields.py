"""Log densities in closed form up to one integral: what every branch of the oracle returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve.closed_form._line import LineIntegral
from fpsolve.closed_form._mixture import Mixture, as_mixture, landmarks, tensor
from fpsolve.closed_form._plane import PlaneIntegral
from fpsolve.laws import Gaussian, Laplace, Law, StudentT, Uniform


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

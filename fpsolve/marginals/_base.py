"""What every marginal p_t answers, and those in closed form.

What every family of marginals offers.

Marginals of laws that know their own Gaussian blur in closed form: Laplace, uniform, point mass.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve.laws import Gaussian, Law
from fpsolve.processes import Process


class Marginals(ABC):
    """The marginals ``p_t`` of a forward process started from a target law.

    ``p_t`` is the law of ``alpha(0, t) X_0 + sqrt(sigma2(0, t)) Z``, X_0 from the target, Z standard normal. All
    densities are point values with respect to Lebesgue measure. Made by `fpsolve.marginals.family`.

    Attributes
    ----------
    target : Law
        p_0.
    process : Process
        Gives alpha and sigma2.
    """

    target: Law
    process: Process

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return self.target.dim

    @abstractmethod
    def law(self, t: float) -> Law:
        """Return p_t, 0 <= t <= T; the target itself at t = 0."""

    def log_density(self, t: float, x: Any) -> FloatArray:
        """Return ``log p_t(x)``, shape ``(...)``, at points of shape ``(...)`` in 1D, ``(..., 2)`` in 2D."""
        return self.law(t).log_density(x)

    def score(self, t: float, x: Any) -> FloatArray:
        """Return ``grad log p_t(x)``, the shape of `x`."""
        return self.law(t).score(x)

    def score_and_laplacian(self, t: float, x: Any) -> tuple[FloatArray, FloatArray] | None:
        """Return ``grad log p_t`` (n, 2) and ``Lap log p_t`` (n,) at points (n, 2); None without a closed form."""
        return None

    def log_density_on_axes(self, times: Any, *axes: Any) -> FloatArray:
        """Return ``log p_t`` on a tensor grid at several times.

        Parameters
        ----------
        times : array_like of shape (n_t,)
            Forward times.
        *axes : array_like
            Coordinates per axis, shapes ``(nx,)`` and, in 2D, ``(ny,)``.

        Returns
        -------
        ndarray of shape (n_t, nx) or (n_t, nx, ny)
            A new array, the caller's to overwrite.
        """
        return np.stack([self.law(float(t)).log_density_on_axes(*axes) for t in np.asarray(times)])

    def transition(self, times: Any) -> tuple[FloatArray, FloatArray]:
        """Return ``alpha(0, t)`` and ``sigma2(0, t)``, each of the shape of `times`."""
        times = np.asarray(times, dtype=np.float64)
        return np.asarray(self.process.scale(0.0, times)), np.asarray(self.process.variance(0.0, times))


def only_noise(dim: int, variance: float) -> Gaussian:
    """Return the law where alpha(0, t) = 0: nothing is left of the target."""
    return Gaussian(0.0 if dim == 1 else np.zeros(2), std=float(np.sqrt(variance)))


@dataclass(frozen=True, eq=False)
class ClosedFormMarginals(Marginals):
    """Marginals by `Law.diffused`, evaluated by the methods of the law that returns."""

    target: Law
    process: Process

    def law(self, t: float) -> Law:
        """Return ``target.diffused(alpha(0, t), sigma2(0, t))``."""
        scale, variance = self.transition(t)
        if scale == 0.0:
            return only_noise(self.dim, float(variance))
        law = self.target.diffused(float(scale), float(variance))
        if law is None:
            raise ValueError(f"target: expected a law with a closed form of diffused(), got {self.target!r}.")
        return law

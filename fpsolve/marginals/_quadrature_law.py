"""One marginal of a quadrature family, as a law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fpsolve._checks import FloatArray, generator
from fpsolve.laws import Law, Tail
from fpsolve.laws._base import plain

if TYPE_CHECKING:
    from fpsolve.marginals._quadrature import QuadratureMarginals


@dataclass(frozen=True, eq=False)
class QuadratureLaw(Law):
    """p_t of a `QuadratureMarginals` at one time.

    Parameters
    ----------
    family : QuadratureMarginals
        The family it belongs to.
    t : float
        Forward time > 0.
    scale, variance : float
        alpha(0, t) and sigma2(0, t).
    """

    family: QuadratureMarginals
    t: float
    scale: float
    variance: float

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return self.family.dim

    @property
    def mean(self) -> float | FloatArray:
        """alpha times the target's mean."""
        return plain(self.scale * np.asarray(self.family.target.mean))

    @property
    def cov(self) -> float | FloatArray:
        """``alpha^2 Cov(p_0) + sigma2 I``."""
        cov = self.scale**2 * np.asarray(self.family.target.cov)
        return plain(cov + self.variance * (1.0 if self.dim == 1 else np.eye(2)))

    @property
    def tail(self) -> Tail | None:
        """That of the target, with the noise; far beyond its nodes the quadrature itself has Gaussian tails."""
        tail = self.family.target.tail
        return None if tail is None else tail.diffused(self.scale, self.variance)

    @property
    def smallest_std(self) -> float:
        """``(alpha^2 s^2 + sigma2)^(1/2)``, s that of the target."""
        return float(np.hypot(self.scale * self.family.target.smallest_std, np.sqrt(self.variance)))

    def log_density(self, x: Any) -> FloatArray:
        """Return ``log p_t(x)``, shape ``(...)``."""
        return self.family.log_density(self.t, x)

    def score(self, x: Any) -> FloatArray:
        """Return ``grad log p_t(x)``, the shape of `x`."""
        return self.family.score(self.t, x)

    def log_density_on_axes(self, *axes: Any) -> FloatArray:
        """Return ``log p_t`` on the tensor grid of `axes`."""
        return np.asarray(self.family.log_density_on_axes(np.array([self.t]), *axes)[0])

    def sample(self, n: int, rng: np.random.Generator | int) -> FloatArray:
        """Return `n` draws: the target's, scaled, plus noise."""
        rng = generator("rng", rng)
        draws = self.scale * self.family.target.sample(n, rng)
        return draws + float(np.sqrt(self.variance)) * rng.standard_normal(draws.shape)

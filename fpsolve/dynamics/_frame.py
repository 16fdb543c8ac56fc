"""The scaled frame ``z = (x - m(t))/S(t)``: one fixed grid for a process whose scale changes by orders of magnitude.

With m, S the mean and standard deviation of p_t per axis, ``dz = (b - m' - S' z)/S dr + (c/S) dB`` (' in reverse time)
is again a dynamics. For the reverse dynamics with the exact score its drift has the potential

    b_z = D_k grad_k [ (1 + eta^2) log p_t(m + S z) + |z|^2/2 ] / eta^2,    D_k = eta^2 g^2 / (2 S_k^2),

which follows from ``m' = -a m`` and ``S' = -(a S + g^2/(2 S))`` in reverse time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve._times import Joints
from fpsolve.dynamics._base import BaseDynamics, square_norm_on_axes
from fpsolve.dynamics._reverse import Reverse
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.processes import Process

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Frame:
    """Mean m(t) and standard deviation S(t) of the marginals of a reverse dynamics, per axis.

    Parameters
    ----------
    reverse : Reverse
        Its target has finite mean and covariance.
    """

    reverse: Reverse

    @property
    def target(self) -> Law:
        """Data law."""
        return self.reverse.target

    @property
    def process(self) -> Process:
        """Forward process."""
        return self.reverse.process

    def center(self, t: ArrayLike) -> Array:
        """m(t), shape (..., d)."""
        return np.asarray(np.multiply.outer(self.process.scale(0.0, t), np.atleast_1d(self.target.mean)))

    def scale(self, t: ArrayLike) -> Array:
        """S(t), shape (..., d)."""
        variances = np.diagonal(np.atleast_2d(self.target.cov))
        noise = np.asarray(self.process.variance(0.0, t))[..., None]
        return np.asarray(np.sqrt(np.multiply.outer(np.square(self.process.scale(0.0, t)), variances) + noise))

    def to_x(self, t: float, axes: tuple[Array, ...]) -> tuple[Array, ...]:
        """Positions ``m + S z`` of points z on every axis at time t."""
        m, s = self.center(t), self.scale(t)
        return tuple(m[k] + s[k] * z for k, z in enumerate(axes))

    def grid(self, t: float, grid: Grid) -> Grid:
        """The grid in x of cells in z, at time t."""
        ends = self.to_x(t, tuple(np.asarray(b) for b in grid.bounds))
        return Grid(tuple((float(low), float(high)) for low, high in ends), grid.shape)


@dataclass(frozen=True, eq=False)
class InFrame(BaseDynamics):
    """A reverse dynamics seen in the scaled frame; its state is z, and densities are per unit z."""

    frame: Frame
    reversed_time = True
    unbounded = True

    @property
    def inner(self) -> Reverse:
        """The reverse dynamics in x."""
        return self.frame.reverse

    @property
    def horizon(self) -> float:
        """T of the process."""
        return self.inner.horizon

    @property
    def joints(self) -> Joints:
        """Those of the inner dynamics."""
        return self.inner.joints

    @property
    def noiseless(self) -> bool:
        """Whether the inner dynamics is."""
        return self.inner.noiseless

    @property
    def dim(self) -> int:
        """Dimension of the inner dynamics."""
        return self.inner.dim

    @property
    def held_from(self) -> float:
        """That of the inner dynamics."""
        return self.inner.held_from

    def forgotten(self, saves: Array) -> tuple[int, Law] | None:
        """That of the inner dynamics: a law in x."""
        return self.inner.forgotten(saves)

    def origins(self, times: Array, x: Array) -> tuple[Array, Array] | None:
        """Those of the inner dynamics, seen in the frame."""
        if self.dim != 1:
            return None
        m, s = self.frame.center(times)[:, 0], self.frame.scale(times)[:, 0]
        found, unsure = np.empty((2, len(times), len(x)))
        for k in range(len(times)):
            known = self.inner.origins(times[[0, k]], m[k] + s[k] * x)
            if known is None:
                return None
            found[k], unsure[k] = (known[0][1] - m[0]) / s[0], known[1][1] / s[0]
        found[0], unsure[0] = x, 0.0
        return found, unsure

    def noise(self, t: ArrayLike) -> Array:
        """c(t)/S(t) along the first axis; `diffusivity` has every axis."""
        return np.asarray(self.inner.noise(t) / self.frame.scale(t)[..., 0])

    def diffusivity(self, times: Array) -> Array:
        """``c^2/(2 S_k^2)``, shape (times, d)."""
        return 0.5 * np.square(self.inner.noise(times))[:, None] / np.square(self.frame.scale(times))

    def drift(self, t: float, x: ArrayLike) -> Array:
        """``(b - m' - S' z)/S`` at points z."""
        z, t = np.asarray(x, dtype=float), min(t, self.held_from)
        m, s = self.frame.center(t), self.frame.scale(t)
        if self.dim == 1:
            m, s = m[0], s[0]
        a, g = self.inner.process.drift_rate(t), self.inner.process.diffusion(t)
        return np.asarray((self.inner.drift(t, m + s * z) + a * m + (a * s + g**2 / (2.0 * s)) * z) / s)

    def drift_and_divergence(self, t: float, x: Array) -> tuple[Array, Array]:
        """The drift in z, and ``div b + sum_k (a + g^2/(2 S_k^2))``: the divergence in x and that of the frame."""
        t = min(t, self.held_from)
        m, s = self.frame.center(t), self.frame.scale(t)
        a, g = self.inner.process.drift_rate(t), self.inner.process.diffusion(t)
        drift, divergence = self.inner.drift_and_divergence(t, m + s * x)
        stretch = a + g**2 / (2.0 * s**2)
        return np.asarray((drift + a * m) / s + stretch * x), np.asarray(divergence + np.sum(stretch))

    def log_gibbs_on_axes(self, times: Array, *axes: Array) -> Array | None:
        """``[(1 + eta^2) log p_t(m + S z) + |z|^2/2] / eta^2`` for the exact score, None for a model."""
        if not self.inner.exact:
            return None
        family, eta2 = self.inner.marginals, np.square(self.inner.eta_at(times)).reshape(-1, *(1,) * len(axes))
        m, s = self.frame.center(times).T, self.frame.scale(times).T
        positions = [m[k][:, None] + s[k][:, None] * z for k, z in enumerate(axes)]
        every = zip(times, *positions, strict=True)
        u = np.concatenate([family.log_density_on_axes(np.array([t]), *x) for t, *x in every])
        u *= 1.0 + eta2
        u += 0.5 * square_norm_on_axes(*axes)
        u /= eta2
        return u

    def clock(self, t: ArrayLike) -> Array:
        """The clock of the inner dynamics."""
        return self.inner.clock(t)

    def clock_inverse(self, tau: ArrayLike) -> Array:
        """Inverse of `clock`."""
        return self.inner.clock_inverse(tau)

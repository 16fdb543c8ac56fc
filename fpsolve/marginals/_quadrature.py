"""Marginals by quadrature over the target, and the law that they are at one time.

Marginals of laws without a closed form: quadrature against the transition kernel.

One marginal of a quadrature family, as a law.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fpsolve._checks import FloatArray, generator, points
from fpsolve.laws import Law, Panels, Tail, check_axes, plain, resolve, tensor_points
from fpsolve.marginals import _hermite, _tensor
from fpsolve.marginals._base import Marginals, only_noise
from fpsolve.processes import Process

_NARROW = 8.0  # the kernel is narrow where the density is smooth over this many of its standard deviations
_REACH = 14.0  # beyond so many standard deviations of the kernel, relative exp(-98), nothing contributes
_PANEL = 4.0  # widest panel, in standard deviations of the kernel, that 16 Gauss-Legendre nodes resolve


@dataclass(frozen=True, eq=False)
class QuadratureMarginals(Marginals):
    """``p_t(x) = int p_0(y) N(x; alpha y, sigma2 I) dy`` by one of two rules, to about 1e-10 for smooth p_0.

    Where the kernel's width ``tau = sqrt(sigma2)/alpha`` is below the scale on which p_0 is smooth: Gauss-Hermite in
    ``y = (x + sqrt(sigma2) u)/alpha``. Otherwise: the composite Gauss-Legendre rule that resolves p_0, its panels cut
    to at most 4 tau where x can reach; p_t is then a normal mixture with a component per node, summed in logarithms
    where it underflows. So ``log p_t`` is finite everywhere at t > 0.

    Parameters
    ----------
    target : Law
        Any law; only its log density is used. Kinks and jumps are resolved in 1D, in 2D where they run along the axes;
        in 2D they are smeared over by Gauss-Hermite only where the other rule would need too many nodes.
    process : Process
        Forward process.
    """

    target: Law
    process: Process

    @cached_property
    def panels(self) -> tuple[Panels, ...]:
        """Per axis, the rule that resolves the target."""
        known: tuple[Panels, ...] | None = getattr(self.target, "panels", None)
        return resolve(self.target.log_density, self.dim) if known is None else known

    def law(self, t: float) -> Law:
        """Return p_t as a law; the target itself at t = 0."""

        scale, variance = self.transition(t)
        if scale == 0.0:
            return only_noise(self.dim, float(variance))
        return self.target if variance == 0.0 else QuadratureLaw(self, float(t), float(scale), float(variance))

    def log_density(self, t: float, x: Any) -> FloatArray:
        """Return ``log p_t(x)``, shape ``(...)``."""
        x = points("x", x, self.dim)
        kernel = self._kernel(t)
        if 0.0 in kernel:
            return self.law(t).log_density(x)
        flat = np.array(x, order="C").reshape(-1, self.dim)
        return self._at_points(flat, *kernel).reshape(x.shape[: x.ndim - self.dim + 1])

    def score(self, t: float, x: Any) -> FloatArray:
        """Return ``grad log p_t(x) = E[(alpha Y - x)/sigma2 | x]``, differentiated under the integral."""
        x = points("x", x, self.dim)
        scale, std = self._kernel(t)
        if std == 0.0 or scale == 0.0:
            return self.law(t).score(x)
        flat = np.array(x, order="C").reshape(-1, self.dim)
        rule = self._rule(scale, std, flat, len(flat))
        if rule is None:
            return _hermite.score(self.target, scale, std, flat).reshape(x.shape)
        return _tensor.score(self.target, rule, scale, std, flat).reshape(x.shape)

    def log_density_on_axes(self, times: Any, *axes: Any) -> FloatArray:
        """Return ``log p_t`` on a tensor grid, shape (n_t, nx) or (n_t, nx, ny)."""
        x = check_axes(self.dim, axes)
        times = np.atleast_1d(np.asarray(times, dtype=np.float64))
        out = np.empty((times.size, *(axis.size for axis in x)))
        for i, t in enumerate(times):
            out[i] = self._on_axes(float(t), x)
        return out

    def _on_axes(self, t: float, x: list[FloatArray]) -> FloatArray:
        scale, std = self._kernel(t)
        if std == 0.0 or scale == 0.0:
            return self.law(t).log_density_on_axes(*x)
        if self.dim == 1:
            return self._at_points(x[0][:, None].copy(), scale, std)
        ends = np.stack([[axis.min(), axis.max()] for axis in x], axis=-1)
        rule = self._rule(scale, std, ends, x[0].size * x[1].size)
        if rule is not None:
            return _tensor.on_axes(self.target, rule, scale, std, x)
        grid = tensor_points(2, tuple(x))
        return self._at_points(grid.reshape(-1, 2), scale, std).reshape(grid.shape[:2])

    def _at_points(self, flat: FloatArray, scale: float, std: float) -> FloatArray:
        """Return log densities at points (n, d)."""
        rule = self._rule(scale, std, flat, len(flat))
        if rule is not None:
            return _tensor.log_density(self.target, rule, scale, std, flat)
        value = _hermite.log_density(self.target, scale, std, flat)
        empty = np.isneginf(value)  # the target's own log density ends before these points
        if empty.any():
            # uncut panels: there only finite values are asked for
            value[empty] = _tensor.log_density(self.target, self.panels, scale, std, flat[empty])
        return value

    def _kernel(self, t: float) -> tuple[float, float]:
        scale, variance = self.transition(t)
        return float(scale), float(np.sqrt(variance))

    def _rule(self, scale: float, std: float, flat: FloatArray, n: int) -> tuple[Panels, ...] | None:
        """Return the panels cut to what the kernel needs within its reach from the points, None for Gauss-Hermite.

        That takes over where it is accurate and, in 2D, cheaper for `n` points; and where too many nodes were needed.
        """
        tau = std / scale
        low, high = flat.min(axis=0) / scale - _REACH * tau, flat.max(axis=0) / scale + _REACH * tau
        reach = [(float(low[axis]), float(high[axis])) for axis in range(self.dim)]
        nodes = np.prod([p.split_size(_PANEL * tau, r) for p, r in zip(self.panels, reach, strict=True)])
        accurate = _NARROW * tau <= min(panels.smooth for panels in self.panels)
        cheaper = self.dim == 1 or nodes > n * _hermite.ORDER[2] ** 2
        if nodes > _tensor.MOST_NODES[self.dim] or (accurate and cheaper):
            return None
        return tuple(panels.split(_PANEL * tau, r) for panels, r in zip(self.panels, reach, strict=True))


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

    @property
    def edges(self) -> FloatArray:
        """Those of the target, moved with its mass."""
        return self.scale * self.family.target.edges

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

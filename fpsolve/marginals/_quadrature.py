"""Marginals of laws without a closed form, by quadrature against the transition kernel, and the law of one time.

Kernels narrow against p_0: Gauss-Hermite for ``p_t(x) = E p_0((x + s Z)/alpha)/alpha^d``. Others: a tensor rule in y
for ``p_t(x) = int p_0(y) N(x; alpha y, s^2 I) dy``. In 1D this is a normal mixture with one component per node and goes
to the compiled sums. In 2D it is two matrix products, ``K_1 P K_2``, K_i the kernel along axis i and P the density
times weights at the nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fpsolve._checks import FloatArray, generator, points
from fpsolve.laws import LOG_2PI, Law, Panels, Tail, check_axes, log_sum_exp, plain, resolve, tensor_points
from fpsolve.marginals._mixture import Marginals, log_matmul, only_noise
from fpsolve.processes import Process

# by dimension; exact for e^{c Z} to 1e-13 up to c = 4 and 2: p_0's slopes 40 and 15 standard deviations out
_HERMITE_ORDER = {1: 32, 2: 16}
_HERMITE_CHUNK = 2**18


def _hermite_log_density(target: Law, scale: float, std: float, flat: FloatArray) -> FloatArray:
    """Return log p_t at points (n, d); -inf where the target's log density is -inf at every node."""
    out = np.empty(len(flat))
    for rows, terms, _ in _hermite_terms(target, scale, std, flat):
        empty = terms.max(axis=1) == -np.inf
        out[rows] = log_sum_exp(np.where(empty[:, None], 0.0, terms))
        out[rows][empty] = -np.inf
    return out


def _hermite_terms(
    target: Law, scale: float, std: float, flat: FloatArray
) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
    """Yield rows, log of weight times density at every node (n, m), and the nodes (m, d)."""
    dim = flat.shape[1]
    u, w = np.polynomial.hermite_e.hermegauss(_HERMITE_ORDER[dim])
    log_w = np.log(w / np.sqrt(2.0 * np.pi))
    nodes = u[:, None] if dim == 1 else np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1).reshape(-1, 2)
    log_weights = log_w if dim == 1 else np.add.outer(log_w, log_w).ravel()
    step = max(1, _HERMITE_CHUNK // len(nodes))
    for start in range(0, len(flat), step):
        rows = slice(start, start + step)
        y = (flat[rows, None, :] + std * nodes) / scale
        values = target.log_density(y[..., 0] if dim == 1 else y)
        yield rows, values + log_weights - dim * np.log(scale), nodes


_MOST_NODES = {1: 1_000_000, 2: 16_000_000}  # of a rule, by dimension; 16e6 are 128 MB
_FLOOR = 1e5  # nats below the peak that stand in for log 0
_SAFE = 500.0  # nats: what a scaled product may be off from its scales before its terms may have underflowed
_TENSOR_CHUNK = 256


def tensor_log_density(target: Law, rule: tuple[Panels, ...], scale: float, std: float, flat: FloatArray) -> FloatArray:
    """Return log p_t at points (n, d)."""
    if flat.shape[1] == 2:
        return np.concatenate([top for top, _ in _blocks(target, rule, scale, std, flat)])
    from fpsolve.marginals import _compiled

    out = np.empty((1, len(flat)))
    peaks, means, halves = _components(target, rule[0], scale, std)
    _compiled.lines(peaks[None], means[None], halves[None], flat[:, 0].copy(), out, 0, 1)
    return np.asarray(out[0])


def _tensor_score(target: Law, rule: tuple[Panels, ...], scale: float, std: float, flat: FloatArray) -> FloatArray:
    """Return grad log p_t at points (n, d)."""
    if flat.shape[1] == 2:
        return np.concatenate([gradient for _, gradient in _blocks(target, rule, scale, std, flat)])
    from fpsolve.marginals import _compiled

    out = np.empty(len(flat))
    _compiled.scatter_1d(*_components(target, rule[0], scale, std), flat[:, 0].copy(), out)
    return out[:, None]


def _components(target: Law, panels: Panels, scale: float, std: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return peaks, means and halves of the 1D mixture, see `_compiled`."""
    masses = _log_masses(target, (panels,))
    peaks = masses - np.log(std) - 0.5 * LOG_2PI
    return peaks, scale * panels.nodes, np.full(masses.size, 0.5 / std**2)


def _log_masses(target: Law, rule: tuple[Panels, ...]) -> FloatArray:
    """Return log of density times weight at the nodes, (n1,) or (n1, n2), with a floor in place of -inf."""
    log_p = target.log_density_on_axes(*(panels.nodes for panels in rule))
    weights = [panels.log_weights for panels in rule]
    log_p = np.maximum(log_p, log_p.max() - _FLOOR)
    return np.asarray(log_p + (weights[0] if len(rule) == 1 else np.add.outer(*weights)))


def _log_kernel(x: FloatArray, panels: Panels, scale: float, std: float) -> FloatArray:
    """Return ``log N(x; alpha y, s^2)``, shape (points, nodes)."""
    z = (x[:, None] - scale * panels.nodes) / std
    return np.asarray(-0.5 * z**2 - np.log(std) - 0.5 * LOG_2PI)


def _blocks(
    target: Law, rule: tuple[Panels, ...], scale: float, std: float, flat: FloatArray
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield log p_t (n,) and its gradient (n, 2) for blocks of scattered 2D points.

    Scaled matrix products as in `log_matmul`; a point whose sum may have lost terms is summed in logarithms.
    """
    masses = _log_masses(target, rule)
    tops = masses.max(axis=0)
    scaled = np.exp(masses - tops)
    y1, y2 = scale * rule[0].nodes, scale * rule[1].nodes
    for start in range(0, len(flat), _TENSOR_CHUNK):
        x = flat[start : start + _TENSOR_CHUNK]
        first, second = _log_kernel(x[:, 0], rule[0], scale, std), _log_kernel(x[:, 1], rule[1], scale, std) + tops
        top = first.max(axis=1) + second.max(axis=1)
        along_x, along_y = (np.exp(k - k.max(axis=1, keepdims=True)) for k in (first, second))
        d1, d2 = (y1 - x[:, :1]) / std**2, (y2 - x[:, 1:]) / std**2
        inner = along_x @ scaled
        total = np.einsum("nj,nj->n", inner, along_y)
        gx, gy = np.einsum("nj,nj->n", (along_x * d1) @ scaled, along_y), np.einsum("nj,nj->n", inner, along_y * d2)
        lost = total < np.exp(-_SAFE)
        total[lost] = 1.0
        value, gradient = top + np.log(total), np.stack([gx, gy], axis=-1) / total[:, None]
        for i in np.flatnonzero(lost):
            terms = (first[i, :, None] + (masses - tops) + second[i]).ravel()
            value[i] = log_sum_exp(terms)
            share = np.exp(terms - value[i]).reshape(masses.shape)
            gradient[i] = share.sum(axis=1) @ d1[i], share.sum(axis=0) @ d2[i]
        yield value, gradient


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
            # ``grad log p_t = E[Z p_0]/(s E[p_0])`` at points (n, d)
            out = np.empty(flat.shape)
            for rows, terms, nodes in _hermite_terms(self.target, scale, std, flat):
                share = np.exp(terms - terms.max(axis=1, keepdims=True))
                out[rows] = (share @ nodes) / (std * share.sum(axis=1, keepdims=True))
            return out.reshape(x.shape)
        return _tensor_score(self.target, rule, scale, std, flat).reshape(x.shape)

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
            along_x, along_y = (_log_kernel(axis, p, scale, std) for axis, p in zip(x, rule, strict=True))
            return log_matmul(log_matmul(along_x, _log_masses(self.target, rule)), along_y.T)
        grid = tensor_points(2, tuple(x))
        return self._at_points(grid.reshape(-1, 2), scale, std).reshape(grid.shape[:2])

    def _at_points(self, flat: FloatArray, scale: float, std: float) -> FloatArray:
        """Return log densities at points (n, d)."""
        rule = self._rule(scale, std, flat, len(flat))
        if rule is not None:
            return tensor_log_density(self.target, rule, scale, std, flat)
        value = _hermite_log_density(self.target, scale, std, flat)
        empty = np.isneginf(value)  # the target's own log density ends before these points
        if empty.any():
            # uncut panels: there only finite values are asked for
            value[empty] = tensor_log_density(self.target, self.panels, scale, std, flat[empty])
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
        cheaper = self.dim == 1 or nodes > n * _HERMITE_ORDER[2] ** 2
        if nodes > _MOST_NODES[self.dim] or (accurate and cheaper):
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

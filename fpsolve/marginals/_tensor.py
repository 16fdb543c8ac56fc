"""Composite quadrature of ``p_t(x) = int p_0(y) N(x; alpha y, s^2 I) dy`` on a tensor rule in y.

In 1D this is a normal mixture with one component per node and goes to the compiled sums. In 2D it is two matrix
products, ``K_1 P K_2``, K_i the kernel along axis i and P the density times weights at the nodes.
"""

from collections.abc import Iterator

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve.laws import LOG_2PI, Law, Panels, log_sum_exp
from fpsolve.marginals._mixture import log_matmul

MOST_NODES = {1: 1_000_000, 2: 16_000_000}  # of a rule, by dimension; 16e6 are 128 MB
_FLOOR = 1e5  # nats below the peak that stand in for log 0
_SAFE = 500.0  # nats: what a scaled product may be off from its scales before its terms may have underflowed
_CHUNK = 256


def on_axes(target: Law, rule: tuple[Panels, ...], scale: float, std: float, axes: list[FloatArray]) -> FloatArray:
    """Return log p_t on a 2D tensor grid, shape (nx, ny)."""
    along_x, along_y = _kernel(axes[0], rule[0], scale, std), _kernel(axes[1], rule[1], scale, std)
    masses = _log_masses(target, rule)
    return log_matmul(log_matmul(along_x, masses), along_y.T)


def log_density(target: Law, rule: tuple[Panels, ...], scale: float, std: float, flat: FloatArray) -> FloatArray:
    """Return log p_t at points (n, d)."""
    if flat.shape[1] == 2:
        return np.concatenate([top for top, _ in _blocks(target, rule, scale, std, flat)])
    from fpsolve.marginals import _compiled

    out = np.empty((1, len(flat)))
    peaks, means, halves = _components(target, rule[0], scale, std)
    _compiled.lines(peaks[None], means[None], halves[None], flat[:, 0].copy(), out, 0, 1)
    return np.asarray(out[0])


def score(target: Law, rule: tuple[Panels, ...], scale: float, std: float, flat: FloatArray) -> FloatArray:
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


def _kernel(x: FloatArray, panels: Panels, scale: float, std: float) -> FloatArray:
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
    for start in range(0, len(flat), _CHUNK):
        x = flat[start : start + _CHUNK]
        first, second = _kernel(x[:, 0], rule[0], scale, std), _kernel(x[:, 1], rule[1], scale, std) + tops
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

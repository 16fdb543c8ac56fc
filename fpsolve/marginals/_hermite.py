"""Gauss-Hermite quadrature of ``p_t(x) = E p_0((x + s Z)/alpha)/alpha^d``, for kernels narrow against p_0."""

from collections.abc import Iterator

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve.laws import Law, log_sum_exp

# by dimension; exact for e^{c Z} to 1e-13 up to c = 4 and 2: p_0's slopes 40 and 15 standard deviations out
ORDER = {1: 32, 2: 16}
_CHUNK = 2**18


def log_density(target: Law, scale: float, std: float, flat: FloatArray) -> FloatArray:
    """Return log p_t at points (n, d); -inf where the target's log density is -inf at every node."""
    out = np.empty(len(flat))
    for rows, terms, _ in _terms(target, scale, std, flat):
        empty = terms.max(axis=1) == -np.inf
        out[rows] = log_sum_exp(np.where(empty[:, None], 0.0, terms))
        out[rows][empty] = -np.inf
    return out


def score(target: Law, scale: float, std: float, flat: FloatArray) -> FloatArray:
    """Return ``grad log p_t = E[Z p_0]/(s E[p_0])`` at points (n, d)."""
    out = np.empty(flat.shape)
    for rows, terms, nodes in _terms(target, scale, std, flat):
        share = np.exp(terms - terms.max(axis=1, keepdims=True))
        out[rows] = (share @ nodes) / (std * share.sum(axis=1, keepdims=True))
    return out


def _terms(target: Law, scale: float, std: float, flat: FloatArray) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
    """Yield rows, log of weight times density at every node (n, m), and the nodes (m, d)."""
    dim = flat.shape[1]
    u, w = np.polynomial.hermite_e.hermegauss(ORDER[dim])
    log_w = np.log(w / np.sqrt(2.0 * np.pi))
    nodes = u[:, None] if dim == 1 else np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1).reshape(-1, 2)
    log_weights = log_w if dim == 1 else np.add.outer(log_w, log_w).ravel()
    step = max(1, _CHUNK // len(nodes))
    for start in range(0, len(flat), step):
        rows = slice(start, start + step)
        y = (flat[rows, None, :] + std * nodes) / scale
        values = target.log_density(y[..., 0] if dim == 1 else y)
        yield rows, values + log_weights - dim * np.log(scale), nodes

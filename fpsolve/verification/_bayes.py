"""Masses of cells at t by Bayes' rule, for normal mixtures: exact in the cells, a quadrature over the start alone.

The reverse kernel of a mixture target is a mixture, ``P(y, .) = sum_k pi_k(y) N(mu_k(y), v_k)`` with
``pi_k(y) ~ w_k N(y; alpha M_k, alpha^2 V_k + s)``, ``mu_k = (alpha V_k y + s M_k)/(alpha^2 V_k + s)`` and
``v_k = V_k s/(alpha^2 V_k + s)``, where M_k, V_k belong to p_t, alpha and s to the way from t to T. So a cell's mass is
``int nu(y) sum_k pi_k(y) [Phi((b - mu_k)/v_k^(1/2)) - Phi((a - mu_k)/v_k^(1/2))] dy``, however coarse the cell. The
integrand is analytic and the trapezoidal rule converges exponentially. For eta other than 1 and one Gaussian the
transition is Gaussian with gain ``(v_t/v_T)^(1/2) rho^(eta^2/2)`` and variance ``v_t (1 - rho^(eta^2))``.

References
----------
Anderson 1982, doi:10.1016/0304-4149(82)90051-5; Trefethen and Weideman 2014, doi:10.1137/130932132 (trapezoidal rule).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from fpsolve._checks import FloatArray
from fpsolve.dynamics import Reverse
from fpsolve.laws import Law

__all__ = ["masses"]

#: Standard deviations of a start that are integrated over, and nodes per narrowest width: both far below 1e-12.
REACH, NODES_PER_WIDTH = 9.0, 1.7
#: Nodes of the start looked at together.
CHUNK = 4096


@dataclass(frozen=True)
class _Mixture:
    """Weights (k), means (k, d) and one variance per component (k): round ones are all that is asked for here."""

    weights: FloatArray
    means: FloatArray
    variances: FloatArray

    @classmethod
    def of(cls, law: Law) -> _Mixture:
        mixture = law.components
        assert mixture is not None and np.allclose(
            mixture.component_covs, mixture.component_covs[:, :1, :1] * np.eye(law.dim)
        )
        return cls(np.exp(mixture.log_weights), mixture.component_means, mixture.component_covs[:, 0, 0])

    def masses(self, faces: list[FloatArray]) -> FloatArray:
        """Masses of the cells of a tensor grid."""
        return np.asarray(sum(w * _outer(_cells(faces, m, v)) for w, m, v in self._rows()))

    def _rows(self) -> Iterator[tuple[float, FloatArray, float]]:
        yield from zip(self.weights.tolist(), self.means, self.variances.tolist(), strict=True)


def masses(reverse: Reverse, start: Law, t: float, faces: list[FloatArray]) -> FloatArray:
    """Masses that the dynamics, started from `start` at T, has at t in cells with the given faces per axis.

    Parameters
    ----------
    reverse : Reverse
        Normal mixture (round components) as target and the exact score; eta other than 1 for one Gaussian, or from p_T.
    start : Law
        A normal mixture of round components.
    t : float
    faces : list of arrays
        Increasing, one per axis.
    """
    horizon = reverse.process.T
    if t == horizon:
        return _Mixture.of(start).masses(faces)
    here, there, begin = (_Mixture.of(law) for law in (reverse.marginal(t), reverse.marginal(horizon), start))
    if begin.weights.shape == there.weights.shape and np.array_equal(begin.means, there.means):
        return here.masses(faces)
    alpha, s = float(reverse.process.scale(t, horizon)), float(reverse.process.variance(t, horizon))
    if len(here.weights) == 1 and not callable(reverse.eta):
        # a Gaussian is carried to a Gaussian, whatever eta
        v, v_end = float(here.variances[0]), float(there.variances[0])
        rho = alpha**2 * v / v_end
        gain = float(np.sqrt(v / v_end)) * rho ** (reverse.eta**2 / 2.0)
        means = here.means + gain * (begin.means - there.means)
        return _Mixture(
            begin.weights, means, v * -np.expm1(reverse.eta**2 * np.log(rho)) + gain**2 * begin.variances
        ).masses(faces)
    assert reverse.eta == 1.0
    total = np.zeros(tuple(len(f) - 1 for f in faces))
    for w, mean, variance in begin._rows():
        total += w * _from_gaussian(here, alpha, s, mean, variance, faces)
    return total


def _from_gaussian(
    here: _Mixture, alpha: float, s: float, mean: FloatArray, variance: float, faces: list[FloatArray]
) -> FloatArray:
    """Masses from the start N(mean, variance), by the trapezoidal rule over it."""
    spread = alpha**2 * here.variances + s
    gain, v = alpha * here.variances / spread, here.variances * s / spread
    # narrowest along y: the start, the switch between components, the edge of a cell
    narrow = min(variance**0.5, float(np.sqrt(spread.min())), float((np.sqrt(v) / gain).min()))
    count = int(np.ceil(2.0 * REACH * variance**0.5 / narrow * NODES_PER_WIDTH)) + 1
    z = np.linspace(-REACH, REACH, count)
    p = np.exp(-0.5 * z**2)
    p /= p.sum()
    y = mean[:, None] + variance**0.5 * z
    total = np.zeros(tuple(len(f) - 1 for f in faces))
    for first in range(0, count, CHUNK):
        part = slice(first, first + CHUNK)
        shares = p[part] if len(mean) == 1 else np.multiply.outer(p[part], p)
        posterior = _posterior(here, alpha, spread, [y[0, part], *y[1:]])
        for k in range(len(v)):
            cells = [
                _cells([f], gain[k] * (q - alpha * here.means[k, a]) + here.means[k, a], v[k])[0]
                for a, (f, q) in enumerate(zip(faces, [y[0, part], *y[1:]], strict=True))
            ]
            weights = shares * posterior[k]
            total += cells[0] @ weights if len(cells) == 1 else cells[0] @ weights @ cells[1].T
    return total


def _posterior(here: _Mixture, alpha: float, spread: FloatArray, y: list[FloatArray]) -> FloatArray:
    """pi_k(y), shape (components, nodes[, nodes])."""
    logs = []
    for w, m, one in zip(here.weights, here.means, spread, strict=True):
        square = [np.square(q - alpha * m[a]) / one for a, q in enumerate(y)]
        both = square[0] if len(square) == 1 else np.add.outer(*square)
        logs.append(np.log(w) - 0.5 * len(y) * np.log(one) - 0.5 * both)
    stacked = np.stack(logs)
    stacked -= stacked.max(axis=0)
    weights = np.exp(stacked)
    return np.asarray(weights / weights.sum(axis=0))


def _cells(faces: list[FloatArray], mean: FloatArray, variance: float) -> list[FloatArray]:
    """Masses of N(mean, variance) in the cells of each axis, (cells,), or (cells, means) on a single axis."""
    if len(faces) == 1:
        z = np.subtract.outer(faces[0], np.atleast_1d(mean)) / variance**0.5
        return [_differences(z)] if np.ndim(mean) and np.size(mean) > 1 else [_differences(z)[:, 0]]
    return [_differences((f - m) / variance**0.5) for f, m in zip(faces, mean, strict=True)]


def _differences(z: FloatArray) -> FloatArray:
    """``Phi(z_{i+1}) - Phi(z_i)`` along the first axis, from the tail that is small."""
    low, high = z[:-1], z[1:]
    right = low + high > 0.0
    return np.asarray(np.where(right, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low)))


def _outer(cells: list[FloatArray]) -> FloatArray:
    return cells[0] if len(cells) == 1 else np.outer(*cells)

"""Masses of cells at t by Bayes' rule, for normal mixtures: exact in the cells, a quadrature over the start alone.

The reverse kernel of a mixture target is a mixture, ``P(y, .) = sum_k pi_k(y) N(mu_k(y), v_k)`` with
``pi_k(y) ~ w_k N(y; alpha M_k, alpha^2 V_k + s)``, ``mu_k = (alpha V_k y + s M_k)/(alpha^2 V_k + s)`` and
``v_k = V_k s/(alpha^2 V_k + s)``, where M_k, V_k belong to p_t, alpha and s to the way from t to T. So a cell's mass is
``int nu(y) sum_k pi_k(y) [Phi((b - mu_k)/v_k^(1/2)) - Phi((a - mu_k)/v_k^(1/2))] dy``, however coarse the cell. The
integrand is analytic and the trapezoidal rule converges exponentially. For eta other than 1 and one Gaussian the
transition is Gaussian with gain ``(v_t/v_T)^(1/2) rho^(eta^2/2)`` and variance ``v_t (1 - rho^(eta^2))``. Starts with
jumps or a kink are integrated over by Gauss's rule between these. The flow (eta = 0) on a line keeps ranks:
``F_T^(-1)(F_t(x))`` is where x came from.

References
----------
Anderson 1982, doi:10.1016/0304-4149(82)90051-5; Trefethen and Weideman 2014, doi:10.1137/130932132 (trapezoidal rule).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr, ndtr

from fpsolve._checks import FloatArray
from fpsolve.dynamics import Reverse
from fpsolve.laws import Laplace, Law, Uniform

__all__ = ["masses"]

#: Standard deviations of a start that are integrated over, and nodes per narrowest width to begin with.
REACH, NODES_PER_WIDTH, PLANE_NODES = 9.0, 1.7, 2.5
#: Nodes are doubled so often, or until the masses change by less than this together.
DOUBLINGS, SETTLED = 6, 1e-13
#: Scales of a Laplace law that are integrated over, nodes per panel, and narrowest widths per panel.
LAPLACE_REACH, PANEL_NODES, PANEL_WIDTHS = 40.0, 16, 2.0
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

    def log_tail(self, x: FloatArray, side: float) -> FloatArray:
        """Logarithm of the mass on a line beyond x, to the right (side 1) or to the left (-1)."""
        rows = [np.log(w) + log_ndtr(side * (m[0] - x) / v**0.5) for w, m, v in self._rows()]
        return np.asarray(np.logaddexp.reduce(rows, axis=0))

    def _rows(self) -> Iterator[tuple[float, FloatArray, float]]:
        yield from zip(self.weights.tolist(), self.means, self.variances.tolist(), strict=True)


def masses(reverse: Reverse, start: Law, t: float, faces: list[FloatArray]) -> FloatArray:
    """Masses that the dynamics, started from `start` at T, has at t in cells with the given faces per axis.

    Parameters
    ----------
    reverse : Reverse
        Normal mixture (round components) as target and the exact score; eta other than 1 for one Gaussian, or from p_T,
        or 0 on a line.
    start : Law
        A normal mixture of round components; before T and with eta = 1 on a line also a uniform or Laplace law.
    t : float
    faces : list of arrays
        Increasing, one per axis.
    """
    horizon = reverse.process.T
    alpha, s = float(reverse.process.scale(t, horizon)), float(reverse.process.variance(t, horizon))
    if isinstance(start, Uniform | Laplace):
        assert reverse.eta == 1.0 and t < horizon
        return _from_law(_Mixture.of(reverse.marginal(t)), alpha, s, start, faces)
    if t == horizon:
        return _Mixture.of(start).masses(faces)
    here, there, begin = (_Mixture.of(law) for law in (reverse.marginal(t), reverse.marginal(horizon), start))
    if begin.weights.shape == there.weights.shape and np.array_equal(begin.means, there.means):
        return here.masses(faces)
    if len(here.weights) == 1 and not callable(reverse.eta):
        # a Gaussian is carried to a Gaussian, whatever eta
        v, v_end = float(here.variances[0]), float(there.variances[0])
        rho = alpha**2 * v / v_end
        gain = float(np.sqrt(v / v_end)) * rho ** (reverse.eta**2 / 2.0)
        means = here.means + gain * (begin.means - there.means)
        return _Mixture(
            begin.weights, means, v * -np.expm1(reverse.eta**2 * np.log(rho)) + gain**2 * begin.variances
        ).masses(faces)
    if reverse.eta == 0.0:
        return _from_flow(here, there, begin, faces[0])
    assert reverse.eta == 1.0
    total = np.zeros(tuple(len(f) - 1 for f in faces))
    for w, mean, variance in begin._rows():
        total += w * _from_gaussian(here, alpha, s, mean, variance, faces)
    return total


def _from_flow(here: _Mixture, there: _Mixture, begin: _Mixture, faces: FloatArray) -> FloatArray:
    """Masses that ranks carry from the start to here, on a line: by bisection, in the smaller of both tails."""
    came = np.empty_like(faces)
    right = here.log_tail(faces, 1.0) < here.log_tail(faces, -1.0)
    reach = 40.0 * there.variances.max() ** 0.5
    for side, some in ((1.0, right), (-1.0, np.logical_not(right))):
        goal = here.log_tail(faces[some], side)
        low = np.full(goal.shape, there.means.min() - reach)
        high = np.full(goal.shape, there.means.max() + reach)
        for _ in range(70):
            middle = 0.5 * (low + high)
            more = side * (there.log_tail(middle, side) - goal) > 0.0
            low, high = np.where(more, middle, low), np.where(more, high, middle)
        came[some] = 0.5 * (low + high)
    return begin.masses([came])


def _from_gaussian(
    here: _Mixture, alpha: float, s: float, mean: FloatArray, variance: float, faces: list[FloatArray]
) -> FloatArray:
    """Masses from the start N(mean, variance), by the trapezoidal rule over it; in the plane nodes are not doubled."""
    narrow = min(variance**0.5, _narrowest(here, alpha, s))
    per_width = NODES_PER_WIDTH if len(faces) == 1 else PLANE_NODES
    count = int(np.ceil(2.0 * REACH * variance**0.5 / narrow * per_width))

    def masses(times: int) -> FloatArray:
        z = np.linspace(-REACH, REACH, times * count + 1)
        p = np.exp(-0.5 * z**2)
        return _over_nodes(here, alpha, s, mean[:, None] + variance**0.5 * z, p / p.sum(), faces)

    return _settled(masses) if len(faces) == 1 else masses(1)


def _from_law(here: _Mixture, alpha: float, s: float, start: Law, faces: list[FloatArray]) -> FloatArray:
    """Masses from a uniform or Laplace law on a line, by Gauss's rule on panels that end at its jumps or its kink."""
    narrow = PANEL_WIDTHS * _narrowest(here, alpha, s)
    nodes, gauss = np.polynomial.legendre.leggauss(PANEL_NODES)

    def panels(times: int) -> FloatArray:
        if isinstance(start, Uniform):
            low, high = float(np.ravel(start.low)[0]), float(np.ravel(start.high)[0])
            return np.linspace(low, high, times * int(np.ceil((high - low) / narrow)) + 1)
        assert isinstance(start, Laplace)
        middle, scale = float(np.ravel(start.mean)[0]), float(np.ravel(start.scale)[0])
        count = times * int(np.ceil(LAPLACE_REACH * max(scale / narrow, 0.5)))
        side = np.linspace(0.0, LAPLACE_REACH, count + 1) * scale
        return np.asarray(middle + np.concatenate([-side[:0:-1], side]))

    def masses(times: int) -> FloatArray:
        edges = panels(times)
        half = 0.5 * np.diff(edges)[:, None]
        y = (0.5 * (edges[1:] + edges[:-1])[:, None] + half * nodes).ravel()
        p = (half * gauss).ravel()
        if isinstance(start, Laplace):
            p = p * np.exp(-np.abs(y - float(np.ravel(start.mean)[0])) / float(np.ravel(start.scale)[0]))
        return _over_nodes(here, alpha, s, y[None], p / p.sum(), faces)

    return _settled(masses)


def _settled(masses: Callable[[int], FloatArray]) -> FloatArray:
    """Masses by 1, 2, 4, ... times as many nodes, until they stay.

    How fast they converge is up to the poles of the posterior weights, where components switch, which may be much
    nearer than anything is narrow.
    """
    before = masses(1)
    for k in range(1, DOUBLINGS + 1):
        after = masses(2**k)
        if np.abs(after - before).sum() <= SETTLED:
            return after
        before = after
    return before


def _narrowest(here: _Mixture, alpha: float, s: float) -> float:
    """Narrowest along the start: the switch between components, the edge of a cell."""
    spread = alpha**2 * here.variances + s
    gain, v = alpha * here.variances / spread, here.variances * s / spread
    return min(float(np.sqrt(spread.min())), float((np.sqrt(v) / gain).min()))


def _over_nodes(
    here: _Mixture, alpha: float, s: float, y: FloatArray, p: FloatArray, faces: list[FloatArray]
) -> FloatArray:
    """Masses from nodes y (axes, nodes) of the start with weights p along each axis."""
    spread = alpha**2 * here.variances + s
    gain, v = alpha * here.variances / spread, here.variances * s / spread
    total = np.zeros(tuple(len(f) - 1 for f in faces))
    for first in range(0, len(p), CHUNK):
        part = slice(first, first + CHUNK)
        shares = p[part] if len(y) == 1 else np.multiply.outer(p[part], p)
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

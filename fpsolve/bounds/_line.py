"""Integrals over the whole line: a quadrature that follows laws wherever their components lie, not a box."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fpsolve.laws import DiffusedStudentT, FromLogDensity, Laplace, Law, PointMass, StudentT, Uniform
from fpsolve.marginals import QuadratureLaw

Array = NDArray[np.float64]

#: Panel ends around the centre of a feature, in its widths, and Gauss-Legendre nodes per panel.
_ENDS = np.array([0.25, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 36, 40])
_NODES = 16
#: Panels closer than this share of the width of the feature they come from add nothing.
_MERGED = 0.2
#: Doublings beyond the outermost feature; laws with power tails end after fewer, and are continued as powers.
_DOUBLINGS, _POWER_DOUBLINGS = 30, 10


@dataclass(frozen=True, eq=False)
class Line:
    """A composite Gauss-Legendre rule on the line.

    Attributes
    ----------
    ends : array
        Increasing ends of its panels.
    power : bool
        Whether a law has a power tail: integrals then continue beyond the last panel as powers of x.
    """

    ends: Array
    power: bool

    @classmethod
    def of(cls, *laws: Law) -> Line:
        """Return a rule that resolves every component of the laws in 1D, 40 standard deviations and more around it."""
        features = [feature for law in laws for feature in _features(law)]
        centres, widths = (np.array([feature[k] for feature in features]) for k in (0, 1))
        points = np.concatenate([centres, *(centres + sign * z * widths for z in _ENDS for sign in (1.0, -1.0))])
        scales = np.tile(widths, 2 * _ENDS.size + 1)
        # weights have their kink at 0
        ends = np.unique(np.concatenate([[0.0], _thinned(points, scales), *(_edges(law) for law in laws)]))
        power = any(law.tail is not None and law.tail.power == 0.0 for law in laws)
        middle, half = 0.5 * (ends[0] + ends[-1]), 0.5 * (ends[-1] - ends[0])
        far = half * 2.0 ** np.arange(1, (_POWER_DOUBLINGS if power else _DOUBLINGS) + 1)
        return cls(np.concatenate([middle - far[::-1], ends, middle + far]), power)

    @cached_property
    def x(self) -> Array:
        """Nodes."""
        nodes = np.polynomial.legendre.leggauss(_NODES)[0]
        low, high = self.ends[:-1, None], self.ends[1:, None]
        return np.asarray(0.5 * (low + high) + 0.5 * (high - low) * nodes).ravel()

    @cached_property
    def _log_weights(self) -> Array:
        weights = np.polynomial.legendre.leggauss(_NODES)[1]
        return np.log(0.5 * np.diff(self.ends)[:, None] * weights).ravel()

    def log_integral(self, log_values: Array) -> float:
        """``log int e^f`` from f at the nodes; -inf where all are -inf, inf where it does not decay."""
        terms = log_values + self._log_weights
        top = float(np.max(terms))
        if not np.isfinite(top):
            return top
        total = float(np.sum(np.exp(terms - top)))
        per_panel = np.exp(terms - top).reshape(-1, _NODES).sum(axis=1)
        beyond = sum(_continued(per_panel[way], self.power) for way in (slice(-3, None), slice(2, None, -1)))
        return top + float(np.log(total + beyond)) if np.isfinite(beyond) else np.inf

    def mean(self, log_p: Array, values: Array) -> float:
        """``int p f`` from log p and f at the nodes; NaN where both its positive and its negative part are infinite."""
        with np.errstate(divide="ignore"):
            logs = log_p + np.log(np.abs(values))
        parts = [self.log_integral(np.where(side, logs, -np.inf)) for side in (values > 0.0, values < 0.0)]
        above, below = np.exp(parts)
        return float(above - below) if np.isfinite(min(above, below)) else float("nan")


def _continued(last: Array, power: bool) -> float:
    """What lies beyond the last of three panels, each twice as long as the one before; inf where it does not fall."""
    before, outermost = float(last[-2]), float(last[-1])
    if outermost <= 0.0:
        return 0.0
    ratio = outermost / before if before > 0.0 else np.inf
    if ratio >= 1.0 - 1e-6:
        return np.inf
    # powers of x make a geometric series; anything that falls faster is below it
    return outermost * ratio / (1.0 - ratio) if power or ratio > 1e-3 else outermost


def _features(law: Law) -> list[tuple[float, float]]:
    """Centres and widths of what an integral with the law has to resolve."""
    if law.dim != 1:
        raise TypeError(f"law: expected a law in 1D, got {law!r}")  # pragma: no cover
    if isinstance(law, PointMass):
        return []
    if isinstance(law, StudentT | DiffusedStudentT):
        # one peak with smooth flanks: the many components of its scale mixture need no panels of their own
        return [(float(law.mean), law.smallest_std), (float(law.mean), law.scale)]
    mixture = law.components
    if mixture is not None:
        return list(zip(mixture.component_means[:, 0], np.sqrt(mixture.component_covs[:, 0, 0]), strict=True))
    mean, std = float(np.asarray(law.mean)), float(np.sqrt(np.asarray(law.cov)))
    found = [(mean, std)] if np.isfinite(std) else []
    if isinstance(law, Laplace):
        return [(mean, float(law.scale))]
    ends = [float(getattr(law, name)) for name in ("low", "high") if hasattr(law, name)]
    narrow = law.smallest_std
    return found + [(end, narrow if narrow > 0.0 else std) for end in (*ends, mean)]


def _edges(law: Law) -> Array:
    """Points at which the density jumps or has kinks, and the panels of a law that knows its own."""
    if isinstance(law, Uniform):
        return np.array([float(law.low), float(law.high)])
    if isinstance(law, FromLogDensity):
        return np.append(law.panels[0].low, law.panels[0].high[-1:])
    # a marginal by quadrature: the target's panels, moved with its mass
    return law.scale * _edges(law.family.target) if isinstance(law, QuadratureLaw) else np.empty(0)


def _thinned(points: Array, scales: Array) -> Array:
    """The points in order, without those that lie much closer to their neighbour than their own scale."""
    order = np.lexsort((scales, points))
    kept: list[float] = []
    near = -np.inf
    for x, scale in zip(points[order].tolist(), scales[order].tolist(), strict=True):
        if x - near >= _MERGED * scale or not kept:
            kept.append(x)
            near = x
    return np.array(kept)

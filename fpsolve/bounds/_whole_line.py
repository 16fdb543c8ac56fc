r"""Drift and overlap of a block on the whole line, beyond the box and between the cells of any kernel.

For a Gaussian mixture with components ``N(M_k, V_k)`` of p_{t1}, ``alpha = alpha(t1, t0)``, ``s = sigma2(t1, t0)``, the
exact score and eta = 1, the reverse kernel is a Gaussian mixture,

.. math:: P(y, \cdot) = \sum_k \pi_k(y) N(\mu_k(y), v_k), \qquad v_k = V_k s / S_k, \quad
          \mu_k(y) = (\alpha V_k y + s M_k)/S_k, \quad \pi_k(y) \propto w_k N(y; \alpha M_k, S_k), \quad
          S_k = \alpha^2 V_k + s .

Rows are exponential tilts of one another, ``P(y, dz) ~ P(0, dz) e^(alpha y z/s)``. So ``(P f)' = (alpha/s) Cov(f, X)``,
and any two rows cross once: ``TV(P(x, .), P(y, .)) = F_x(c) - F_y(c)`` at that crossing c, which grows as the interval
[x, y] does. Everything here bounds from the safe side, in double precision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve._compile import compiled
from fpsolve.bounds import _closed
from fpsolve.bounds._lyapunov import GAMMAS, Radial, Region, TradeOff, height, looked_at, radial
from fpsolve.bounds._record import HELPS, Hypothesis
from fpsolve.kernels import Kernel, Operator
from fpsolve.weights import WeightLike

if TYPE_CHECKING:
    from fpsolve.dynamics import Reverse


Array = NDArray[np.float64]

#: Components whose share is below exp(-this) of the largest are left out of a row.
_DEEPEST = 40.0


@compiled
def _log_shares(numbers: Array, at: float, out: Array) -> float:
    """``log w_k N(at; alpha M_k, S_k)`` into `out`, without the constant; returns the logarithm of their sum."""
    top = -np.inf
    for k in range(out.size):
        gap = at - numbers[1, k]
        out[k] = numbers[0, k] - 0.5 * gap * gap / numbers[2, k]
        top = max(top, out[k])
    total = 0.0
    for k in range(out.size):
        if out[k] > top - _DEEPEST:
            total += math.exp(out[k] - top)
    return top + math.log(total)


@compiled
def _below(numbers: Array, at: float, crossing: float, terms: Array, log_sum: float) -> float:
    """The mass of the row from `at` below `crossing`."""
    total = 0.0
    for k in range(terms.size):
        depth = terms[k] - log_sum
        if depth > -_DEEPEST:
            far = (crossing - numbers[3, k] * at - numbers[4, k]) / numbers[5, k]
            total += math.exp(depth) * 0.5 * math.erfc(-far * math.sqrt(0.5))
    return total


@compiled
def tilt_distances(numbers: Array, alpha: float, s: float, x: Array, y: Array) -> Array:
    """``TV(P(x, .), P(y, .))`` for pairs x < y, arrays of shape (n,).

    The rows cross once, where ``alpha z (x - y)/s - (x^2 - y^2)/(2 s) = log p(x) - log p(y)``, p that of the start.

    Parameters
    ----------
    numbers : array, shape (6, components)
        ``log w_k - 1/2 log S_k, alpha M_k, S_k``, gains, offsets, standard deviations.
    """
    out = np.empty(x.size)
    first, second = np.empty(numbers.shape[1]), np.empty(numbers.shape[1])
    for n in range(x.size):
        log_x, log_y = _log_shares(numbers, x[n], first), _log_shares(numbers, y[n], second)
        crossing = (0.5 * (x[n] + y[n]) + s * (log_x - log_y) / (x[n] - y[n])) / alpha
        gap = _below(numbers, x[n], crossing, first, log_x) - _below(numbers, y[n], crossing, second, log_y)
        out[n] = min(max(gap, 0.0), 1.0)
    return out


#: Cells of the line between -Y and Y at first, half of them in the core; and rounds of refinement where K is attained.
_CELLS, _ROUNDS = 1200, 5
#: Y in units of the core's half-width: gamma within 1e-4 of the least one is still decided.
_FAR = 1e5
#: Room for rounding, relative.
_ROUNDING = 1e-9
#: Components times cells that may be open at once.
_MOST = 100_000
#: Where an upper bound of K is this close to what is attained, relative, it is not refined.
_DECIDED = 2e-5
#: Parts of a level set's boundary at first, how many of the worst are cut, into how many, how often.
_PARTS, _WORST, _CUTS, _PASSES = 48, 6, 8, 3


@dataclass(frozen=True, eq=False)
class Posterior:
    """The reverse kernel of a block as a mixture; arrays over the components.

    Attributes
    ----------
    alpha, s : float
        ``alpha(t1, t0)`` and ``sigma2(t1, t0)``.
    log_weights, evidence_means, evidence_variances : arrays
        ``log w_k``, ``alpha M_k`` and ``S_k``: the components of p_{t0}.
    gains, offsets, variances : arrays
        ``mu_k(y) = gains y + offsets`` and ``v_k``.
    """

    alpha: float
    s: float
    log_weights: Array
    evidence_means: Array
    evidence_variances: Array
    gains: Array
    offsets: Array
    variances: Array

    @classmethod
    def of(cls, reverse: Reverse | None, t0: float, t1: float) -> Posterior | None:
        """None where the kernel is not of this form: a score model, eta other than 1, another law, the plane."""
        if reverse is None or not reverse.exact or callable(reverse.eta) or reverse.eta != 1.0 or reverse.dim != 1:
            return None
        mixture = reverse.marginal(t1).components if _closed.is_mixture(reverse.target) else None
        if mixture is None:
            return None
        alpha, s = float(reverse.process.scale(t1, t0)), float(reverse.process.variance(t1, t0))
        means, spreads = mixture.component_means[:, 0], mixture.component_covs[:, 0, 0]
        total = alpha**2 * spreads + s
        parts = alpha * means, total, alpha * spreads / total, s * means / total, spreads * s / total
        return cls(alpha, s, np.asarray(mixture.log_weights), *parts)

    @property
    def tilt(self) -> float:
        """``alpha/s``."""
        return self.alpha / self.s

    def log_evidence(self, y: Array) -> Array:
        """``log w_k N(y; alpha M_k, S_k)`` without its constant, shape (n, components)."""
        gap = y[:, None] - self.evidence_means
        spread = self.evidence_variances
        return np.asarray(self.log_weights - 0.5 * np.log(spread) - 0.5 * np.square(gap) / spread)

    def shares(self, y: Array) -> tuple[Array, Array]:
        """``pi_k(y)``, shape (n, components), and ``log p_{t0}(y)`` up to a constant."""
        terms = self.log_evidence(y)
        top = terms.max(axis=1, keepdims=True)
        parts = np.exp(terms - top)
        sums = parts.sum(axis=1, keepdims=True)
        return parts / sums, (top + np.log(sums))[:, 0]

    def means(self, y: Array) -> Array:
        """``mu_k(y)``, shape (n, components)."""
        return np.asarray(y[:, None] * self.gains + self.offsets)

    def mean(self, y: Array) -> tuple[Array, Array]:
        """``E X`` under ``P(y, .)`` at points y, and its slope ``(alpha/s) Var X``; shapes (n,)."""
        shares, means = self.shares(y)[0], self.means(y)
        mean = (shares * means).sum(axis=1)
        spread = (shares * (self.variances + np.square(means - mean[:, None]))).sum(axis=1)
        return np.asarray(mean), np.asarray(self.tilt * spread)

    @cached_property
    def gain(self) -> float:
        """The largest gain: that of the widest component, which decides far out."""
        return float(self.gains.max())

    @cached_property
    def core(self) -> float:
        """Half-width of an interval that holds every component of p_{t0}, ten standard deviations of each."""
        return float(np.max(np.abs(self.evidence_means) + 10.0 * np.sqrt(self.evidence_variances)))

    @cached_property
    def narrowest(self) -> float:
        """The least standard deviation of the components of a row."""
        return float(np.sqrt(self.variances.min()))

    # drift

    def pulled(self, v: Radial, y: Array) -> Array:
        """``(P v)(y)`` at points y, shape (n,)."""
        return np.asarray((self.shares(y)[0] * v.mean(self.means(y), self.variances)).sum(axis=1))

    def least_constants(self, v: Radial, gammas: Array) -> Array:
        """For every gamma a K with ``P v <= gamma v + K`` on the whole line; infinite where there is none.

        On cells from -Y to Y the chord of ``P v - gamma v`` plus a bound of what the function exceeds it by; cells are
        halved where that decides. Beyond, from ``|mu_k(y)| <= gain |y| + offset``.
        """
        far, least = v.furthest(_FAR * self.core), np.full(gammas.shape, np.inf)
        offset, widest = float(np.max(np.abs(self.offsets))), float(self.variances.max())
        ends = np.where(gammas > v.least(self.gain), v.beyond(gammas, far, self.gain, offset, widest), np.inf)
        falls = np.isfinite(ends)
        if falls.any():
            small = 1e-3 * float(np.min(v.mean(0.0 * self.variances, self.variances)))
            k = np.maximum(self._largest_excess(v, gammas[falls], far, small), ends[falls])
            least[falls] = k + _ROUNDING * (np.abs(k) + small)
        return least

    def _largest_excess(self, v: Radial, gammas: Array, far: float, small: float) -> Array:
        """Upper bounds of ``P v - gamma v`` on [-far, far]; `small` is a K that nobody would care about."""
        inner = min(self.core, 0.5 * far)
        half = np.append(np.linspace(0.0, inner, _CELLS // 4 + 1), np.geomspace(inner, far, _CELLS // 4 + 1)[1:])
        nodes = np.concatenate([-half[:0:-1], half])
        low, high = nodes[:-1], nodes[1:]
        attained, settled = np.full(gammas.shape, -np.inf), np.full(gammas.shape, -np.inf)
        for last in range(_ROUNDS - 1, -1, -1):
            values, upper = self._on_cells(v, gammas, low, high)
            attained = np.maximum(attained, values)
            open_ = np.any(upper > attained + _DECIDED * np.maximum(np.abs(attained), small), axis=1)
            if last == 0 or open_.sum() * self.gains.size > _MOST:
                open_[:] = False
            settled = np.maximum(settled, upper[~open_].max(axis=0, initial=-np.inf))
            if not open_.any():
                break
            low, high = low[open_], high[open_]
            middle = 0.5 * (low + high)
            low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
        return settled

    def _on_cells(self, v: Radial, gammas: Array, low: Array, high: Array) -> tuple[Array, Array]:
        """The largest ``P v - gamma v`` attained at ends of cells, (gammas,), and upper bounds, (cells, gammas)."""
        width, middle = high - low, 0.5 * (low + high)
        near, far = np.minimum(np.abs(low), np.abs(high)), np.maximum(np.abs(low), np.abs(high))
        lines = [(self.pulled(v, y)[:, None], v.height(np.abs(y))) for y in (low, high)]
        # upper bounds on cells of ``|(P v)''|`` and of P v. ``|(P v)''| = (alpha/s)^2 |Cov(v, (X - m)^2)| <=
        # (alpha/s)^2 sd(v) (sqrt(E(X - c)^4) + 2 E(X - c)^2)``, any c
        most_shares, ends, curve = self._moments(low, middle, high)
        largest, smallest = self._range(v, ends)
        value = (self.shares(middle)[0] * v.mean(self.means(middle), self.variances)).sum(axis=1, keepdims=True)
        off = np.maximum(np.square(largest - value), np.square(smallest - value))
        spread = (most_shares * (v.spread(np.abs(ends).max(axis=0), self.variances) + off)).sum(axis=1)
        bend, most = np.sqrt(spread) * curve, largest.max(axis=1)
        with np.errstate(divide="ignore", over="ignore"):
            gap = np.maximum(0.25 * width * (v.slope(far) - v.slope(near)), 0.0)
        bow, nearest = (0.125 * np.square(width) * bend)[:, None], v.height(near)
        attained, upper = np.full(gammas.shape, -np.inf), np.empty((width.size, gammas.size))
        for rows in (slice(k, k + 64) for k in range(0, width.size, 64)):  # so many stay in the cache
            top = np.maximum(*(at[rows] - np.multiply.outer(height[rows], gammas) for at, height in lines))
            attained = np.maximum(attained, top.max(axis=0))
            chord = top + bow[rows] + np.multiply.outer(gap[rows], gammas)
            np.minimum(chord, most[rows, None] - np.multiply.outer(nearest[rows], gammas), out=upper[rows])
        return attained, upper

    def rows_bend(self, v: Radial, low: Array, high: Array) -> Array:
        """Upper bounds on cells of ``int (1 + V) |d^2/dy^2 P(y, dz)|``, V = v.shift + v.factor v(|x|)."""
        most_shares, ends, curve = self._moments(low, 0.5 * (low + high), high)
        largest, _ = self._range(v, ends)
        noise = v.factor**2 * v.spread(np.abs(ends).max(axis=0), self.variances)
        square = (most_shares * (noise + np.square(1.0 + v.shift + v.factor * largest))).sum(axis=1)
        return np.asarray(np.sqrt(square) * curve)

    def _range(self, v: Radial, ends: Array) -> tuple[Array, Array]:
        """The largest and the smallest ``E v`` of the components on cells."""
        nearest = np.where(ends[0] * ends[1] <= 0.0, 0.0, np.abs(ends).min(axis=0))
        return v.mean(np.abs(ends).max(axis=0), self.variances), v.mean(nearest, self.variances)

    def _moments(self, low: Array, middle: Array, high: Array) -> tuple[Array, Array, Array]:
        """On cells: bounds of ``pi_k``, mu_k at both ends, and of ``(alpha/s)^2 (sqrt(E(X - c)^4) + 2 E(X - c)^2)``."""
        shares, log_p = self.shares(middle)
        log_shares = self.log_evidence(middle) - log_p[:, None]
        # d log pi_k/dy = l_k - sum pi_j l_j, where l_k is linear in y
        slopes = -np.stack([(y[:, None] - self.evidence_means) / self.evidence_variances for y in (low, high)])
        least, most = slopes.min(axis=0), slopes.max(axis=0)
        rates = np.maximum(most - least.min(axis=1, keepdims=True), most.max(axis=1, keepdims=True) - least)
        bounded = np.exp(np.minimum(log_shares + 0.5 * (high - low)[:, None] * rates, 0.0))
        ends = np.stack([self.means(low), self.means(high)])
        centre = (shares * self.means(middle)).sum(axis=1, keepdims=True)
        square = np.square(ends - centre).max(axis=0)
        second = (bounded * (self.variances + square)).sum(axis=1)
        fourth = (bounded * (np.square(square + 3.0 * self.variances) - 6.0 * np.square(self.variances))).sum(axis=1)
        return bounded, ends, self.tilt**2 * (np.sqrt(fourth) + 2.0 * second)

    # overlap

    def distance(self, x: Array, y: Array) -> Array:
        """``TV(P(x, .), P(y, .))`` for x < y, arrays of one shape (n,)."""
        if self.alpha == 0.0:
            return np.zeros(x.shape)
        return np.asarray(tilt_distances(self._numbers, self.alpha, self.s, x, y))

    @cached_property
    def _numbers(self) -> Array:
        log_heights = self.log_weights - 0.5 * np.log(self.evidence_variances)
        spread = self.evidence_means, self.evidence_variances, self.gains, self.offsets, np.sqrt(self.variances)
        return np.stack([log_heights, *spread])

    def overlaps(self, v: Radial, levels: Array) -> Array:
        """Lower bounds of ``a'' = inf {1 - TV(P(x, .), P(y, .)): v(|x|) + v(|y|) <= level}``, for levels >= 0.

        The distance grows with the interval [x, y], so the infimum is on the boundary ``v(|x|) + v(|y|) = level`` with
        x <= 0 <= y. The boundary is cut into parts; on each the interval is the largest that touches it. Where the
        distance is largest they are cut again.
        """
        levels = np.maximum(levels, 0.0)
        ends = v.radius(0.5 * levels)[:, None] * np.linspace(0.0, 1.0, _PARTS + 1)
        worst = self._largest(v, levels[:, None], ends[:, :-1], ends[:, 1:])
        # the compiled sums leave out shares below exp(-40)
        return np.asarray(np.maximum(1.0 - worst - 1e-12, 0.0))

    def _largest(self, v: Radial, levels: Array, inner: Array, outer: Array) -> Array:
        """Upper bounds of the largest distance at every level (n, 1), over parts of its boundary (n, parts)."""
        bounds = self._on_parts(v, levels, inner, outer)
        rows = np.arange(len(levels))[:, None]
        for _ in range(_PASSES):
            order = np.argsort(-bounds, axis=1)
            cut, keep = order[:, :_WORST], order[:, _WORST:]
            steps = np.linspace(0.0, 1.0, _CUTS + 1)
            low, high = inner[rows, cut][..., None], outer[rows, cut][..., None]
            finer = (low + (high - low) * steps).reshape(len(levels), _WORST, _CUTS + 1)
            low, high = finer[..., :-1].reshape(len(levels), -1), finer[..., 1:].reshape(len(levels), -1)
            inner, outer = (np.hstack([a, b[rows, keep]]) for a, b in ((low, inner), (high, outer)))
            bounds = np.hstack([self._on_parts(v, levels, low, high), bounds[rows, keep]])
        return np.asarray(bounds.max(axis=1))

    def _on_parts(self, v: Radial, levels: Array, inner: Array, outer: Array) -> Array:
        """Distances of the ends of the largest intervals that touch parts, the smaller radius from inner to outer."""
        larger = v.radius(np.maximum(levels - v.height(inner), 0.0))
        # a level of zero has no pair of different points
        gap = outer + larger > 0.0
        found = np.zeros(outer.shape)
        small, large = outer[gap], larger[gap]
        found[gap] = np.maximum(self.distance(-small, large), self.distance(-large, small))
        return found


DRIFT = "P V <= gamma V + K on the whole line"
OVERLAP = "1 - TV(P(x, .), P(y, .)) >= a'' for all x, y on the line with V(x) + V(y) <= R"
ROUNDING = "P V and the rows in exact arithmetic: double precision, with margins for rounding"
#: How many levels share one value of a'' at first.
_EVERY = 6
#: Trial gammas near the least one, in units of it.
_NEAR = np.array([1.005, 1.02, 1.05, 1.1, 1.3])


@dataclass(frozen=True, eq=False)
class Line:
    """A kernel on the line that is a Gaussian mixture in closed form, and a weight that grows with |x|.

    Attributes
    ----------
    posterior : Posterior
    v : Radial
        ``V = v.shift + v.factor v(|x|)``.
    looked_at : tuple of str
        What is taken for granted of the weight.
    """

    posterior: Posterior
    v: Radial
    looked_at: tuple[str, ...]

    @property
    def unchecked(self) -> tuple[str, ...]:
        """What is taken for granted."""
        return (*self.looked_at, ROUNDING)

    @classmethod
    def of(cls, kernel: Kernel | Operator, weight: WeightLike, reverse: Reverse | None = None) -> Line | None:
        """None where the kernel or the weight is not known in closed form; `reverse`: whose transitions it is."""
        known = kernel.exact_of if reverse is None and isinstance(kernel, Kernel) else reverse
        posterior = Posterior.of(known, kernel.t0, kernel.t1)
        v = None if posterior is None else radial(weight, 1)
        return None if posterior is None or v is None else cls(posterior, v, looked_at(weight))

    @property
    def least(self) -> float:
        """The gamma at or below which ``P V - gamma V`` is unbounded."""
        return self.v.least(self.posterior.gain)

    def constants(self, gammas: Array) -> Array:
        """The smallest K with ``P V <= gamma V + K`` that is certain, infinite where there is none."""
        k = self.posterior.least_constants(self.v, gammas)
        return np.asarray(np.maximum(self.v.shift * (1.0 - gammas) + self.v.factor * k, 0.0))

    def trade(self, kernel: Kernel | Operator, weight: WeightLike) -> TradeOff:
        """gamma against K, which serves every cell of the matrix as well; margins are gamma less the least one."""
        near = self.least * _NEAR
        gammas = np.union1d(GAMMAS, near[(near > GAMMAS[0]) & (near < GAMMAS[-1])])
        v, end = height(weight, kernel.grid), height(weight, kernel.target)
        pulled = kernel.markov.pull(end.reshape(kernel.target.shape)).ravel()
        ks = np.maximum(self.constants(gammas), (pulled - np.multiply.outer(gammas, v)).max(axis=1))
        return TradeOff(gammas, ks, np.where(np.isfinite(ks), gammas - self.least, -np.abs(gammas - self.least)))

    def overlaps(self, levels: Array) -> Array:
        """Lower bounds of a'' at levels R of V(x) + V(y); 1 where no pair is that low."""
        return self.posterior.overlaps(self.v, (levels - 2.0 * self.v.shift) / self.v.factor)

    def at_most(self, found: Array, levels: Array) -> Array:
        """The smaller of `found` and a'' at increasing levels; a'' decreases, so few of its values tell for most."""
        least = np.empty(levels.shape)
        marks = np.append(np.arange(0, levels.size - 1, _EVERY), levels.size - 1)
        # at every level a'' is at least its value at the next mark
        least[:] = self.overlaps(levels[marks])[np.searchsorted(marks, np.arange(levels.size))]
        open_ = found > least
        if open_.any():
            least[open_] = self.overlaps(levels[open_])
        return np.minimum(found, least)

    def common(self, levels: Array) -> Array:
        """Lower bounds of the mass common to all rows from ``{V <= R}``: log P(x, dz) is concave in x."""
        radii = self.v.radius(np.maximum((levels - self.v.shift) / self.v.factor, 0.0))
        found = np.ones(radii.shape)
        some = radii > 0.0
        found[some] -= self.posterior.distance(-radii[some], radii[some]) + 1e-12
        return np.asarray(np.maximum(found, 0.0))

    def drift_holds(self, gamma: float, k: float) -> Hypothesis:
        """The drift inequality as checked."""
        detail = f"P V in closed form, V = weight - 1: K = {k:.6g}; the margin is gamma less the least possible one"
        margin = gamma - self.least if np.isfinite(k) else -abs(gamma - self.least)
        return Hypothesis(DRIFT, margin, detail)

    def overlap_holds(self, level: float, overlap: float) -> Hypothesis:
        """The overlap as checked."""
        detail = f"rows in closed form, R = {level:.6g}; the margin is the overlap"
        return Hypothesis(OVERLAP, overlap, detail)

    def no_drift(self) -> str:
        """Why no gamma below 1 is admissible, and what helps."""
        grows = f"far out P V grows like {self.least:.4g} V" if np.isfinite(self.least) else "P V grows faster than V"
        return f"no gamma < 1: {grows}, whatever the box; {HELPS}"

    def reach(self, radii: Array) -> Array:
        """Half-widths of boxes that hold the rows from some radii, to ten standard deviations."""
        p = self.posterior
        return np.asarray(p.gain * radii + float(np.max(np.abs(p.offsets))) + 10.0 * np.sqrt(float(p.variances.max())))

    def half_width(self) -> float:
        """A box that holds every component of p at both ends of the block, ten standard deviations of each."""
        p = self.posterior
        spread = np.sqrt(p.variances * p.evidence_variances / max(p.s, 1e-300))
        centres = np.abs(p.offsets) * p.evidence_variances / max(p.s, 1e-300)
        return float(max(p.core, np.max(centres + 10.0 * spread)))


def trade_off(kernel: Kernel | Operator, weight: WeightLike, v: Array, region: Region, line: Line | None) -> TradeOff:
    """gamma against K: on the whole line where the kernel is known there, else on the box."""
    if line is not None:
        return line.trade(kernel, weight)
    pulled = kernel.markov.pull(height(weight, kernel.target).reshape(kernel.target.shape)).ravel()
    return TradeOff.of(pulled, v, region)

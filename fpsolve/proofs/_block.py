"""What is proved of one block: the reverse kernel of a mixture of normal laws in balls, and ``||nu P_{T->t} - mu
P_{T->t}||_V`` enclosed.

Constants of Harris' theorem are chosen in floating point: nothing of that is proved, a bad choice costs only tightness.
Distances are enclosed by Bayes' rule, polynomials with remainders, and signs proved by bisection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, prod

import flint
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import ndtr

from fpsolve.proofs._balls import (
    Ball,
    Stopwatch,
    arb,
    around,
    bottom,
    by_shift,
    everything,
    exact,
    normal_cdf,
    pieces,
    power,
    size,
    top,
)
from fpsolve.proofs._mixtures import Mixture, Path, Side, Sides, absolute, integral, tail
from fpsolve.proofs._sources import Expansion, Ratio, Sources, positive_panels, product, widest


class Block:
    r"""The kernel P from t0 down to t1 < t0, eta = 1 and the exact score.

    .. math:: P(y, \cdot) = \sum_k \pi_k(y) N(\mu_k(y), v_k), \quad
       \mu_k(y) = \frac{\alpha V_k y + s M_k}{\alpha^2 V_k + s}, \quad v_k = \frac{V_k s}{\alpha^2 V_k + s}, \quad
       \pi_k(y) \propto w_k N(y; \alpha M_k, \alpha^2 V_k + s)

    with the components (w_k, M_k, V_k) of p_{t1}, alpha = alpha(t1, t0) and s = sigma2(t1, t0). As a function of z its
    density is ``p_{t1}(z) e^{-alpha^2 z^2/(2s)}`` times ``e^{alpha y z/s}``: an exponential family in y. For x < y the
    ratio ``P(y, dz)/P(x, dz)`` increases in z, so TV(P(x,.), P(y,.)) is ``F_x(z*) - F_y(z*)`` at the one point where
    the ratio is 1, and grows when y grows or x falls.

    Parameters
    ----------
    law : Mixture
        p_{t1}.
    path : Path
        From t1 to t0.
    """

    def __init__(self, law: Mixture, path: Path) -> None:
        self.law, self.path = law, path
        self.before = law.diffused(path)
        alpha, s = path.scale, path.variance
        rows = list(zip(law.rows(), self.before.variances, strict=True))
        self.slopes = tuple(alpha * v / total for (_, _, v), total in rows)
        self.shifts = tuple(s * m / total for (_, m, _), total in rows)
        self.variances = tuple(v * s / total for (_, _, v), total in rows)

    def posterior(self, y: Ball) -> list[Ball]:
        """pi_k(y) over a ball, each within [0, 1].

        Exponents are taken relative to the component that is largest at the centre, as polynomials around the centre.
        """
        centre = y.mid()
        shift = y - centre
        terms = []
        for w, m, v in self.before.rows():
            gap = centre - m
            terms.append(((w / v.sqrt()).log() - gap * gap / (2 * v), -gap / v, -1 / (2 * v)))
        base = max(terms, key=lambda term: float(term[0].mid()))
        parts = [((c - base[0]) + shift * ((b - base[1]) + shift * (a - base[2]))).exp() for c, b, a in terms]
        total = sum(parts, arb(0))
        return [_unit(part / total) for part in parts]

    def moment(self, y: Ball, degree: int) -> Ball:
        """``int z^degree P(y, dz)`` over a ball of y."""
        return sum((pi * m for pi, m in zip(self.posterior(y), self._raw(y, degree), strict=True)), arb(0))

    def slope(self, box: Ball, degree: int) -> Ball:
        """The derivative of that moment over a box of y: ``(alpha/s) Cov(z, z^degree)`` under P(y, .)."""
        weights = self.posterior(box)

        def mean(of: int) -> Ball:
            return sum((pi * m for pi, m in zip(weights, self._raw(box, of), strict=True)), arb(0))

        return self.path.scale / self.path.variance * (mean(degree + 1) - mean(1) * mean(degree))

    def _raw(self, y: Ball, degree: int) -> list[Ball]:
        """``int z^degree`` of the components of P(y, .)."""
        rows = zip(self.slopes, self.shifts, self.variances, strict=True)
        return [_normal_moment(slope * y + shift, v, degree) for slope, shift, v in rows]

    def moment_beyond(self, y: Ball, degree: int) -> Ball:
        """A bound of the moment of even degree at -y and y: a polynomial in y with coefficients >= 0."""
        slope, shift, v = (_largest(values) for values in (self.slopes, self.shifts, self.variances))
        return top(_normal_moment(slope * y + shift, v, degree))

    @property
    def steepest(self) -> Ball:
        """max_k alpha V_k/(alpha^2 V_k + s), an upper bound: P V needs gamma above its power."""
        return _largest(self.slopes)

    def total_variation(self, x: Ball, y: Ball) -> Ball:
        """TV(P(x,.), P(y,.)) for points x < y, half the L1 distance."""
        if self.path.scale == 0:
            return arb(0)
        ratio = self._log_evidence(y) - self._log_evidence(x)
        at = (self.path.variance * ratio + (y - x) * (y + x) / 2) / (self.path.scale * (y - x))
        return _unit(self._cdf(x, at) - self._cdf(y, at))

    def _log_evidence(self, y: Ball) -> Ball:
        """log p_{t0}(y) up to a constant."""
        terms = [(w / v.sqrt()).log() - (y - m) * (y - m) / (2 * v) for w, m, v in self.before.rows()]
        base = max(terms, key=lambda term: float(term.mid()))
        return base + sum(((term - base).exp() for term in terms), arb(0)).log()

    def _cdf(self, y: Ball, z: Ball) -> Ball:
        parts = zip(self.posterior(y), self.slopes, self.shifts, self.variances, strict=True)
        return sum((pi * normal_cdf((z - a * y - b) / v.sqrt()) for pi, a, b, v in parts), arb(0))


def _unit(ball: Ball) -> Ball:
    """A number known to lie in [0, 1], of which `ball` is known too."""
    low, high = bottom(ball).max(arb(0)), top(ball).min(arb(1))
    return low.union(high)


def _largest(values: tuple[Ball, ...]) -> Ball:
    """An upper bound of the absolute values."""
    found = arb(0)
    for value in values:
        found = found.max(size(value))
    return found


def _normal_moment(mean: Ball, variance: Ball, degree: int) -> Ball:
    """E X^degree of N(mean, variance): ``sum_j C(degree, j) (j - 1)!! variance^(j/2) mean^(degree - j)``, j even."""
    total = arb(0)
    for j in range(0, degree + 1, 2):
        total += comb(degree, j) * odd_factorial(j) * power(variance, j // 2) * power(mean, degree - j)
    return total


def odd_factorial(j: int) -> int:
    """(j - 1)!!, E Z^j of a standard normal Z for even j."""
    return prod(range(j - 1, 0, -2))


Array = NDArray[np.float64]

#: Points of y and of the curve V(x) + V(y) = R that are looked at.
POINTS, ARC = 3001, 61
#: How far out P V is looked at, in units of the reach of p_{t0}.
FARTHEST = 1e6
#: Starts of the search: logits of gamma, logarithms of R over its least value less 1, logarithms of beta.
GAMMAS, RADII, BETAS = (-3.0, 0.0, 3.0), (-2.0, 0.5), (-3.0, -1.0)
#: Common betas of several blocks that are tried.
COMMON_BETAS = np.geomspace(1e-3, 1.0, 13)


class Doubles:
    """P V and total variation in floating point."""

    def __init__(self, block: Block) -> None:
        def floats(values: tuple[Ball, ...]) -> Array:
            return np.array([float(value.mid()) for value in values])

        self.alpha, self.s = float(block.path.scale.mid()), float(block.path.variance.mid())
        self.log_weights = np.log(floats(block.before.weights))
        self.means, self.totals = floats(block.before.means), floats(block.before.variances)
        self.slopes, self.shifts, self.variances = map(floats, (block.slopes, block.shifts, block.variances))

    def _parts(self, y: Array) -> tuple[Array, Array]:
        """Log of the density before, up to a constant, and the shares of its components."""
        gap = y[..., None] - self.means
        logs = self.log_weights - 0.5 * np.log(self.totals) - gap**2 / (2.0 * self.totals)
        top = logs.max(axis=-1, keepdims=True)
        shares = np.exp(logs - top)
        total = shares.sum(axis=-1, keepdims=True)
        return (top + np.log(total))[..., 0], shares / total

    def moment(self, y: Array, degree: int) -> Array:
        """``int z^degree P(y, dz)``, degree even."""
        _, weights = self._parts(y)
        mean = self.slopes * y[..., None] + self.shifts
        raw = sum(
            comb(degree, j) * odd_factorial(j) * self.variances ** (j // 2) * mean ** (degree - j)
            for j in range(0, degree + 1, 2)
        )
        return np.asarray((weights * raw).sum(axis=-1))

    def total_variation(self, x: Array, y: Array) -> Array:
        """TV(P(x,.), P(y,.)) for x < y."""
        if self.alpha == 0.0:
            return np.zeros(np.broadcast(x, y).shape)
        (low, before), (high, after) = self._parts(x), self._parts(y)
        at = (self.s * (high - low) + (y - x) * (y + x) / 2.0) / (self.alpha * (y - x))
        return self._cdf(x, before, at) - self._cdf(y, after, at)

    def _cdf(self, y: Array, weights: Array, z: Array) -> Array:
        gap = z[..., None] - self.slopes * y[..., None] - self.shifts
        return np.asarray((weights * ndtr(gap / np.sqrt(self.variances))).sum(axis=-1))


class Search:
    """The smallest factor of Harris' theorem for one block.

    Parameters
    ----------
    block : Block
    degree : int
        V = |x|^degree.
    """

    def __init__(self, block: Block, degree: int) -> None:
        self.kernel, self.degree = Doubles(block), degree
        reach = np.abs(self.kernel.means).max() + 12.0 * np.sqrt(self.kernel.totals.max())
        # gamma near its least value lets P V - gamma V rise far out
        far = np.geomspace(3.0 * reach, FARTHEST * reach, ARC)
        y = np.concatenate([-far[::-1], np.linspace(-3.0 * reach, 3.0 * reach, POINTS), far])
        self.drifted, self.v = self.kernel.moment(y, degree), np.abs(y) ** degree
        self.floor = float(np.abs(self.kernel.slopes).max() ** degree)

    def best(self, beta: float | None) -> tuple[float, float, float, float]:
        """gamma, R and beta of about the smallest factor, and that factor; R is infinite where there is none."""
        if self.floor >= 1.0:
            return self.floor, math.inf, beta or 1.0, 1.0
        starts = [(g, r) if beta else (g, r, b) for g in GAMMAS for r in RADII for b in (BETAS if not beta else (0.0,))]
        found = [minimize(lambda p: self._factor(p, beta), start, method="Nelder-Mead") for start in starts]
        point = min(found, key=lambda result: float(result.fun)).x
        gamma, R, K, chosen = self._constants(point, beta)
        return gamma, R, chosen, factor(chosen, gamma, R, K, self._overlap(R))

    def _constants(self, point: Array, beta: float | None) -> tuple[float, float, float, float]:
        gamma = self.floor + (1.0 - self.floor) / (1.0 + math.exp(-point[0]))
        K = max(float((self.drifted - gamma * self.v).max()), 1e-12)
        R = 2.0 * K / (1.0 - gamma) * (1.0 + math.exp(point[1]))
        return gamma, R, K, beta or math.exp(point[2])

    def _factor(self, point: Array, beta: float | None) -> float:
        if np.abs(point).max() > 30.0:
            return 2.0
        gamma, R, K, chosen = self._constants(point, beta)
        return factor(chosen, gamma, R, K, self._overlap(R))

    def _overlap(self, R: float) -> float:
        a = np.linspace(0.0, R ** (1.0 / self.degree), ARC)
        partner = np.maximum(R - a**self.degree, 0.0) ** (1.0 / self.degree)
        return 1.0 - float(self.kernel.total_variation(-a, partner).max())


def factor(beta: float, gamma: float, R: float, K: float, overlap: float) -> float:
    """The contraction factor of the theorem."""
    return max(1.0 - overlap + beta * K, gamma, (2.0 + beta * (gamma * R + 2.0 * K)) / (2.0 + beta * R))


def common_beta(blocks: Sequence[Block], degree: int) -> float:
    """The beta of about the smallest product of the blocks' factors, those above 1 left out."""
    searches = [Search(block, degree) for block in blocks]
    return float(min(COMMON_BETAS, key=lambda beta: math.prod(min(1.0, s.best(float(beta))[3]) for s in searches)))


#: alpha w/sigma on a panel of half-width w: at 0.6 a polynomial of degree 25 leaves 1e-18.
PANEL_STEP = "0.6"
#: Widths of the laws tried for the ends of the line.
WIDTHS = range(6, 80, 2)


@dataclass(frozen=True)
class Problem:
    """Laws at the two times.

    Attributes
    ----------
    law : Mixture
        p_t.
    end : Mixture
        p_T.
    nu : Mixture
    mu : Mixture or None
        Starts at T; None is p_T itself.
    path : Path
        From t to T.
    sides : Sides
        V.
    """

    law: Mixture
    end: Mixture
    nu: Mixture
    mu: Mixture | None
    path: Path
    sides: Sides

    @property
    def signed(self) -> Mixture:
        """nu - mu, or nu where mu is p_T."""
        return self.nu if self.mu is None else self.nu.minus(self.mu)


def distance(problem: Problem, small: Ball, watch: Stopwatch) -> Ball:
    """A ball that holds the weighted distance; what is left out on purpose is a few times `small`."""
    sides, law = problem.sides, problem.law
    if not problem.path.variance > 0:
        return everything()
    if problem.path.scale == 0:
        # nothing of the start is left at T: every law becomes p_t
        return arb(0)
    low, high, beyond = _ends(problem, small)
    half = arb(PANEL_STEP) * problem.path.variance.sqrt() / problem.path.scale
    panels = [*positive_panels(exact(low), arb(0), half), *positive_panels(arb(0), exact(high), half)]
    masses = []
    for centre, width in panels:
        watch.check()
        masses.append(size(integral(law, sides.at(centre), centre - width, centre + width)))
    sources = _sources(problem, panels, masses, small, watch)
    share = small / len(panels)
    total = arb(0)
    for (centre, width), mass in zip(panels, masses, strict=True):
        watch.check()
        total += _on_panel(problem, sources.expand(centre, width, share / mass), mass, share, watch)
    return around(total, beyond)


def _ends(problem: Problem, small: Ball) -> tuple[float, float, Ball]:
    """Ends on the two sides of 0, and a bound of ``int V (q_t + q'_t)`` beyond them."""
    both = _majorant(problem, -1), _majorant(problem, 1)
    low, high, beyond = 0.0, 0.0, arb.pos_inf()
    for widths in WIDTHS:
        spans = [m.span(float(widths)) for m in (problem.law, *both)]
        low, high = min(-1.0, *(s[0] for s in spans)), max(1.0, *(s[1] for s in spans))
        left = integral(both[0], problem.sides.left, None, exact(low))
        beyond = size(left + integral(both[1], problem.sides.right, exact(high), None))
        if problem.mu is None:
            beyond += size(tail(problem.law, problem.sides, exact(low), exact(high)))
        if beyond <= small:
            break
    return low, high, beyond


def _majorant(problem: Problem, side: int) -> Mixture:
    """A mixture that is at least ``q_t + q'_t`` everywhere, light in the tail of one side.

    ``p_T >= w_k N(M_k, V_k)`` for the widest component k, and for it Bayes' rule is closed form.
    """
    w, m, v = widest(problem.law, side)
    alpha, added = problem.path.scale, problem.path.variance
    total = alpha**2 * v + added
    slope, shift, spread = alpha * v / total, added * m / total, v * added / total
    weights, means, variances = [], [], []
    for c, a, s in absolute(problem.signed).rows():
        start = slope * a + shift, spread + slope**2 * s
        for b, own, narrow in problem.law.rows():
            log_mass, mean, variance = product(((1, own, narrow), (-1, m, v), (1, *start)))
            weights.append(c * b / w * log_mass.exp())
            means.append(mean)
            variances.append(variance)
    return Mixture(tuple(weights), tuple(means), tuple(variances))


def _sources(
    problem: Problem, panels: Sequence[tuple[Ball, Ball]], masses: Sequence[Ball], small: Ball, watch: Stopwatch
) -> Sources:
    """The quadrature in y, far enough for every panel of x."""
    signed = problem.signed
    ratio, tails = Ratio(signed, problem.end), Ratio(absolute(signed), problem.end)
    low = high = arb(0)
    for widths in WIDTHS:
        ends = problem.end.span(float(widths) / 2), problem.signed.span(float(widths) / 2)
        low, high = (exact(f(e[i] for e in ends)) for i, f in ((0, min), (1, max)))
        left = arb(0)
        for (c, w), mass in zip(panels, masses, strict=True):
            watch.check()
            mean = problem.path.scale * (c + arb(0, size(w)))
            left += mass * tails.tail(low, high, mean, problem.path.variance)
        if left <= small:
            break
    targets = [(c, w, m) for (c, w), m in zip(panels, masses, strict=True)]
    constant = -1 if problem.mu is None else 0
    return Sources(ratio, tails, problem.path, low, high, small, constant, targets, watch)


def _on_panel(problem: Problem, part: Expansion, mass: Ball, small: Ball, watch: Stopwatch) -> Ball:
    """``int V p_t |D|`` over one panel."""
    polynomial = part.polynomial
    # the law of ``(x - centre)/half``
    means = tuple((m - part.centre) / part.half for m in problem.law.means)
    law = Mixture(problem.law.weights, means, tuple(v / part.half**2 for v in problem.law.variances))
    side = problem.sides.at(part.centre)
    total, unknown, allowed = arb(0), arb(0), small / mass
    for piece in pieces(by_shift(polynomial), arb(-1), arb(1), allowed, watch):
        if piece.sign != 0:
            total += piece.sign * _integral(law, side, part, polynomial, piece.low, piece.high)
        elif piece.bound <= allowed:
            unknown = unknown.max(piece.bound)
        else:
            weight = _integral(law, side, part, flint.arb_poly([1]), piece.low, piece.high)
            total = around(total, piece.bound * size(weight))
    return around(total, (part.error + unknown) * mass)


def _integral(law: Mixture, side: Side, part: Expansion, polynomial: flint.arb_poly, low: Ball, high: Ball) -> Ball:
    """``int V P law`` in the variable u of the panel, ``x = centre + half u``."""
    line = flint.arb_poly([part.centre, part.half])
    lift = (side.rate * part.centre).exp()
    return integral(law, Side(polynomial * side.polynomial(line) * lift, side.rate * part.half), low, high)

"""Ratios of densities and the laws a start becomes, in ball arithmetic.

r = nu/p_T becomes a finite sum: Gauss-Legendre quadrature of ``int r(y) N(y; a, s) dy`` and a bound on all it leaves.
On a panel of half-width L the n-point rule integrates polynomials of degree 2n - 1 exactly, its weights are positive,
and a function bounded by M in the ellipse E_rho is within ``2 M rho^-m/(rho - 1)`` of a polynomial of degree m, so the
error is at most ``8 L M rho^(1 - 2n)/(rho - 1)``. ``D(x) = int r(y) N(y; alpha x, sigma^2) dy + constant`` is on a
panel of x a polynomial and a remainder.

References
----------
Trefethen 2008, Is Gauss quadrature better than Clenshaw-Curtis?, doi:10.1137/060659831.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import flint
import numpy as np

from fpsolve.proofs._balls import Ball, Stopwatch, acb, arb, exact, normal_cdf, panel_count, power, size
from fpsolve.proofs._mixtures import Mixture, Path, taylor_remainder

#: Ellipses tried on a panel, from the widest.
RHOS = (6.0, 4.0, 2.5)
#: Boxes that cover the upper half of an ellipse, along and across.
BOXES = (8, 4)
#: Halvings of a panel before its ratio counts as unbounded.
HALVINGS = 8
#: r in the ellipse over r on the line: what more is, is cheaper in narrower panels than in more nodes.
GROWTH = 10**8


@dataclass(frozen=True)
class Panel:
    """``[centre - half, centre + half]`` with r bounded by `bound` in the ellipse of parameter rho around it."""

    centre: Ball
    half: Ball
    rho: Ball
    bound: Ball

    @property
    def height(self) -> Ball:
        """Half the height of the ellipse."""
        return self.half * (self.rho - 1 / self.rho) / 2

    @property
    def reach(self) -> Ball:
        """Half the width of the ellipse."""
        return self.half * (self.rho + 1 / self.rho) / 2


class Ratio:
    """nu/p of two mixtures of normal laws with positive weights."""

    def __init__(self, over: Mixture, under: Mixture) -> None:
        self.over, self.under = over, under

    def at(self, y: Ball) -> Ball:
        """The ratio at a real or complex ball.

        Both sums are divided by the component of p that is largest at the centre, and exponents are taken as
        quadratic polynomials around the centre, so that wide balls stay as narrow as they can.
        """
        centre = y.mid()
        exponents = [_quadratic(m, v, centre) for _, m, v in self.under.rows()]
        heights = [
            float(c.real.mid()) + float((w / v.sqrt()).log().mid())
            for (c, _, _), (w, _, v) in zip(exponents, self.under.rows(), strict=True)
        ]
        base = exponents[heights.index(max(heights))]
        shift = y - centre
        above = arb(0)
        for w, m, v in self.over.rows():
            above += w / v.sqrt() * _exp_of(_quadratic(m, v, centre), base, shift)
        below = arb(0)
        for (w, _, v), own in zip(self.under.rows(), exponents, strict=True):
            below += w / v.sqrt() * _exp_of(own, base, shift)
        return above / below

    def panels(self, low: Ball, high: Ball, half: Ball, watch: Stopwatch) -> list[Panel]:
        """Panels of at most this half-width that cover [low, high], with ellipses; unbounded ones are halved."""
        count = panel_count(low, high, half)
        width = (high - low) / count
        found: list[Panel] = []
        todo = [(low + width * i, low + width * (i + 1), 0) for i in reversed(range(count))]
        while todo:
            watch.check()
            a, b, level = todo.pop()
            panel, tame = self._bounded((a + b) / 2, (b - a) / 2)
            if tame or level >= HALVINGS:
                found.append(panel)
            else:
                middle = (a + b) / 2
                todo += [(middle, b, level + 1), (a, middle, level + 1)]
        return found

    def _bounded(self, centre: Ball, half: Ball) -> tuple[Panel, bool]:
        """The panel with the widest ellipse in which r is bounded, and whether it is not much larger there."""
        seen = arb(0)
        for i in range(-4, 5):
            seen = seen.max(size(self.at(centre + half * i / 4)))
        panel = Panel(centre, half, arb(RHOS[-1]), arb.pos_inf())
        for rho in RHOS:
            bound = self._supremum(Panel(centre, half, arb(rho), arb.pos_inf()))
            if bound.is_finite():
                panel = Panel(centre, half, arb(rho), bound)
                if bound <= GROWTH * seen:
                    return panel, True
        return panel, False

    def _supremum(self, panel: Panel) -> Ball:
        """An upper bound of |r| on the rectangle around the ellipse; infinite where p may vanish."""
        across, up = BOXES
        worst = arb(0)
        for i in range(across):
            real = panel.centre + panel.reach * (arb(2 * i + 1) / across - 1) + arb(0, (panel.reach / across).upper())
            for j in range(up):
                imag = panel.height * arb(2 * j + 1) / (2 * up) + arb(0, (panel.height / (2 * up)).upper())
                value = self.at(acb(real, imag))
                if not value.is_finite():
                    return arb.pos_inf()
                worst = worst.max(value.abs_upper())
        return worst

    def tail(self, low: Ball, high: Ball, mean: Ball, variance: Ball) -> Ball:
        """A bound of ``int r(y) N(y; mean, variance) dy`` beyond [low, high].

        p is at least its widest component, and nu over a normal law against a normal law is of Gaussian type.
        """
        w, m, v = widest(self.under)
        total = arb(0)
        for c, a, s in self.over.rows():
            log_mass, centre, spread = product(((1, a, s), (-1, m, v), (1, mean, variance)))
            if not spread > 0:
                return arb.pos_inf()
            std = spread.sqrt()
            beyond = normal_cdf((low - centre) / std) + normal_cdf((centre - high) / std)
            total += c / w * log_mass.exp() * beyond
        return size(total)


def widest(law: Mixture, side: int = 0) -> tuple[Ball, Ball, Ball]:
    """Weight, mean and variance of the widest component, among equals the one farthest to the given side."""
    return max(law.rows(), key=lambda row: (float(row[2].mid()), side * float(row[1].mid()), float(row[0].mid())))


def product(factors: Sequence[tuple[int, Ball, Ball]]) -> tuple[Ball, Ball, Ball]:
    """Log mass, mean and variance of ``prod N(x; m, v)^sign``, a multiple of one normal density where that is > 0."""
    precision = sum((sign / v for sign, _, v in factors), arb(0))
    linear = sum((sign * m / v for sign, m, v in factors), arb(0))
    mean = linear / precision
    log_mass = (2 * arb.pi() / precision).log() / 2
    for sign, m, v in factors:
        log_mass -= sign * (power(mean - m, 2) / (2 * v) + (2 * arb.pi() * v).log() / 2)
    return log_mass, mean, 1 / precision


def _quadratic(mean: Ball, variance: Ball, centre: Ball) -> tuple[Ball, Ball, Ball]:
    """Coefficients of ``-(y - m)^2/(2v)`` in powers of y - centre."""
    gap = centre - mean
    return -gap * gap / (2 * variance), -gap / variance, -1 / (2 * variance)


def _exp_of(own: tuple[Ball, Ball, Ball], base: tuple[Ball, Ball, Ball], shift: Ball) -> Ball:
    constant, linear, square = (a - b for a, b in zip(own, base, strict=True))
    return (constant + shift * (linear + shift * square)).exp()


@lru_cache(maxsize=64)
def rule(count: int, bits: int) -> tuple[tuple[Ball, Ball], ...]:
    """Nodes and weights of the Gauss-Legendre rule on [-1, 1] as balls; `bits` is the precision they are wanted at."""
    if flint.ctx.prec != bits:
        raise RuntimeError(f"rule: expected to work at {bits} bits, got {flint.ctx.prec}")
    return tuple(arb.legendre_p_root(count, k, weight=True) for k in range(count))


#: Half-width of the panels of y, in standard deviations of the kernel and of the narrowest component of p_T.
PANEL_HALF = "0.75"
#: Nodes of a panel at most.
MOST_NODES = 120
#: Degree of a polynomial at most.
MOST_DEGREE = 120

#: Centre, half-width and mass of a panel of x.
Target: TypeAlias = tuple[Ball, Ball, Ball]


@dataclass(frozen=True)
class Source:
    """One panel of the quadrature: nodes, weights times ratio, and its error against a kernel bounded by 1."""

    panel: Panel
    nodes: tuple[Ball, ...]
    values: tuple[Ball, ...]
    error: Ball


@dataclass(frozen=True)
class Expansion:
    """D on ``|x - centre| <= half``: a polynomial in ``(x - centre)/half``, off by at most `error`."""

    centre: Ball
    half: Ball
    polynomial: flint.arb_poly
    error: Ball


class Sources:
    """r on [low, high] as point sources.

    Parameters
    ----------
    ratio : Ratio
        r; its numerator may be signed.
    tails : Ratio
        A ratio that is at least |r|, for what lies beyond [low, high].
    path : Path
        alpha and sigma^2 from t to T.
    low, high : balls
        Ends of the quadrature in y.
    small : ball
        Error of the quadrature to aim at, summed over the targets by their mass.
    constant : int
        Added to the integral.
    targets : sequence of (centre, half-width, mass)
        Panels of x and their weights.
    watch : Stopwatch
    """

    def __init__(
        self,
        ratio: Ratio,
        tails: Ratio,
        path: Path,
        low: Ball,
        high: Ball,
        small: Ball,
        constant: int,
        targets: Sequence[Target],
        watch: Stopwatch,
    ) -> None:
        self.path, self.tails, self.low, self.high, self.constant = path, tails, low, high, constant
        self.watch = watch
        self.std = path.variance.sqrt()
        narrow = min((v.sqrt() for v in ratio.under.variances), key=lambda b: float(b.mid()))
        half = arb(PANEL_HALF) * (self.std if self.std < narrow else narrow)
        panels = ratio.panels(low, high, half.mid(), watch)
        shares = self._shares(panels, targets)
        self.sources = []
        for panel, share in zip(panels, shares, strict=True):
            watch.check()
            self.sources.append(self._source(ratio, panel, small * share))
        # panels lie from left to right: what is far on either side is bounded in one go
        self.places = [float(panel.centre.mid()) for panel in panels]
        self.reach = max((size(panel.reach) for panel in panels), key=float)
        self.height = max((size(panel.height) for panel in panels), key=float)
        sizes = [sum((size(value) for value in source.values), arb(0)) for source in self.sources]
        self.sums = _sums(sizes), _sums([source.error for source in self.sources])

    def _shares(self, panels: Sequence[Panel], targets: Sequence[Target]) -> list[Ball]:
        """Shares of the error for the panels of y, smaller where more mass sees them: in doubles, a choice only."""
        alpha, variance = float(self.path.scale.mid()), float(self.path.variance.mid())
        x, half, mass = np.array([[float(part.mid()) for part in target] for target in targets]).T
        shares = []
        for panel in panels:
            centre, reach, height = (float(b.mid()) for b in (panel.centre, panel.reach, panel.height))
            far = np.maximum(np.abs(alpha * x - centre) - reach - alpha * half, 0.0)
            peaks = np.exp(np.minimum((height**2 - far**2) / (2.0 * variance), 600.0))
            weight = float((mass * peaks).sum()) / math.sqrt(2.0 * math.pi * variance)
            shares.append(1 / (len(panels) * exact(max(weight, 1e-300))))
        return shares

    def _source(self, ratio: Ratio, panel: Panel, small: Ball) -> Source:
        """As many nodes as it takes for an error of `small` against a kernel of height 1: none where r is small."""
        count, error = 0, 2 * panel.half * panel.bound
        while count < MOST_NODES and not error <= small:
            count += 4 if count == 0 else 2
            error = quadrature_error(panel, count)
        nodes, values = [], []
        for node, weight in rule(count, flint.ctx.prec):
            y = panel.centre + panel.half * node
            nodes.append(y)
            values.append(weight * panel.half * ratio.at(y))
        return Source(panel, tuple(nodes), tuple(values), error)

    def _peak(self, panel: Panel, x: Ball) -> Ball:
        """An upper bound of ``|N(y; alpha x, sigma^2)|`` in the ellipse of a panel of y, over a ball of x."""
        variance = self.path.variance
        gap = abs(self.path.scale * x - panel.centre).lower() - panel.reach
        far = gap.max(arb(0))
        peak = ((panel.height * panel.height - far * far) / (2 * variance)).exp()
        return size(peak / (2 * arb.pi() * variance).sqrt())

    def expand(self, centre: Ball, half: Ball, small: Ball) -> Expansion:
        """The Taylor polynomial of D around `centre` of the degree that leaves about `small` on the panel."""
        alpha, std = self.path.scale, self.std
        step = alpha * half / std
        scale = 1 / (2 * arb.pi() * self.path.variance).sqrt()
        window, beyond, astray = self._window(centre, half, small / scale)
        near, rest, skipped = self._near(window, centre, half, small / scale)
        degree, remainder = 2, arb.pos_inf()
        while degree < MOST_DEGREE and not remainder <= small:
            degree += 2
            remainder = taylor_remainder(step, degree) * rest * scale
        # N(y; alpha (x0 + half u), sigma^2) = N(y; alpha x0, sigma^2) e^{z step u} e^{-step^2 u^2/2}
        sums = [arb(0)] * (degree + 1)
        for z, value in near:
            self.watch.check()
            term = value * (-z * z / 2).exp()
            for k in range(degree + 1):
                sums[k] += term
                term *= z
        first = flint.arb_poly([a * power(step, k) / arb(k).fac() for k, a in enumerate(sums)])
        second = flint.arb_poly([_gaussian_coefficient(step, k) for k in range(degree + 1)])
        polynomial = flint.arb_poly([c * scale for c in (first * second).coeffs()[: degree + 1]])
        left = self._left(window, centre + arb(0, size(half)))
        error = size(remainder + (skipped + beyond + astray) * scale + left)
        return Expansion(centre, half, polynomial + self.constant, error)

    def _window(self, centre: Ball, half: Ball, small: Ball) -> tuple[list[Source], Ball, Ball]:
        """Sources that may matter on a panel, and bounds of what the others' values and errors do, over the scale."""
        middle, spread = self.path.scale * centre, size(self.path.scale * half)
        values = self.sums[0][0]
        digits = (values[-1] / small).log()
        wide = math.sqrt(2.0 * max(float(digits.mid()), 0.0)) + 1.0 if digits.is_finite() else math.inf
        reach = wide * float(self.std.mid()) + float((spread + self.reach).mid())
        first = bisect_left(self.places, float(middle.mid()) - reach)
        last = bisect_right(self.places, float(middle.mid()) + reach)
        beyond, astray = arb(0), arb(0)
        for edge, side, place in ((first, 0, first - 1), (last, 1, last)):
            value, error = (sums[side][edge] for sums in self.sums)
            if not 0 <= place < len(self.places):
                continue
            gap = abs(middle - self.sources[place].panel.centre).lower() - spread - self.reach
            if not gap > 0:
                return self.sources, arb(0), arb(0)
            beyond += value * (-gap * gap / (2 * self.path.variance)).exp()
            astray += error * ((self.height * self.height - gap * gap) / (2 * self.path.variance)).exp()
        return self.sources[first:last], beyond, astray

    def _near(
        self, window: Sequence[Source], centre: Ball, half: Ball, small: Ball
    ) -> tuple[list[tuple[Ball, Ball]], Ball, Ball]:
        """The sources that matter on a panel, ``sum |value| sup e^{-z^2/4}`` over them, and a bound of the others."""
        spread = arb(0, size(self.path.scale * half / self.std))
        count = sum(len(source.nodes) for source in window)
        found, rest, skipped = [], arb(0), arb(0)
        for source in window:
            for y, value in zip(source.nodes, source.values, strict=True):
                z = (y - self.path.scale * centre) / self.std
                nearest = (z + spread).abs_lower()
                root = size((-nearest * nearest / 4).exp())
                part = size(value) * root
                if part * root * count <= small:
                    skipped += part * root
                else:
                    found.append((z, value))
                    rest += part
        return found, rest, skipped

    def _left(self, window: Sequence[Source], x: Ball) -> Ball:
        """What quadrature near a ball of x and the ends in y leave."""
        mean, variance = self.path.scale * x, self.path.variance
        total = self.tails.tail(self.low, self.high, mean, variance)
        for source in window:
            total += source.error * self._peak(source.panel, x)
        return size(total)


def _sums(values: Sequence[Ball]) -> tuple[list[Ball], list[Ball]]:
    """Sums of the first k values and of all but the first k, k = 0, ..., n."""
    low, high = [arb(0)], [arb(0)]
    for first, last in zip(values, reversed(values), strict=True):
        low.append(low[-1] + first)
        high.append(high[-1] + last)
    return low, high[::-1]


def quadrature_error(panel: Panel, count: int) -> Ball:
    """``8 L M rho^(1 - 2n)/(rho - 1)``: what n > 0 nodes leave of an integral of a function bounded by M."""
    return 8 * panel.half * panel.bound * panel.rho ** (1 - 2 * count) / (panel.rho - 1)


def _gaussian_coefficient(step: Ball, k: int) -> Ball:
    """The coefficient of u^k in ``e^{-step^2 u^2/2}``."""
    return arb(0) if k % 2 else power(-step * step / 2, k // 2) / arb(k // 2).fac()


def positive_panels(low: Ball, high: Ball, half: Ball) -> Sequence[tuple[Ball, Ball]]:
    """Centres and half-widths of equal panels of at most this half-width that cover [low, high]."""
    count = panel_count(low, high, half)
    width = (high - low) / (2 * count)
    return [(low + width * (2 * i + 1), width) for i in range(count)]

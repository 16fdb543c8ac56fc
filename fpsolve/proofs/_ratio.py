"""r = nu/p_T as a finite sum: Gauss-Legendre quadrature of ``int r(y) N(y; a, s) dy`` and a bound on all it leaves.

On a panel of half-width L the n-point rule integrates polynomials of degree 2n - 1 exactly, its weights are positive,
and a function bounded by M in the ellipse E_rho is within ``2 M rho^-m/(rho - 1)`` of a polynomial of degree m, so the
error is at most ``8 L M rho^(1 - 2n)/(rho - 1)``.

References
----------
Trefethen 2008, Is Gauss quadrature better than Clenshaw-Curtis?, doi:10.1137/060659831.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import flint

from fpsolve.proofs._balls import Ball, Stopwatch, acb, arb, normal_cdf, panel_count, power, size
from fpsolve.proofs._mixtures import Mixture

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

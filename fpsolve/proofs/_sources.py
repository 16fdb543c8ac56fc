"""``D(x) = int r(y) N(y; alpha x, sigma^2) dy + constant`` on a panel of x: a polynomial and a remainder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import flint

from fpsolve.proofs._balls import Ball, Stopwatch, arb, panel_count, power, size
from fpsolve.proofs._paths import Path
from fpsolve.proofs._ratio import Panel, Ratio, rule

#: Cramer's constant: |He_n(z)| <= 1.0865 sqrt(n!) e^{z^2/4}.
CRAMER = "1.0865"
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
        self.sources = []
        for panel in panels:
            watch.check()
            weight = sum((size(m) * self._peak(panel, c + arb(0, size(w))) for c, w, m in targets), arb(0))
            self.sources.append(self._source(ratio, panel, small / (len(panels) * weight)))

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
        near, rest, skipped = self._near(centre, half, small / scale)
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
        left = self._left(centre + arb(0, size(half)))
        return Expansion(centre, half, polynomial + self.constant, size(remainder + skipped * scale + left))

    def _near(self, centre: Ball, half: Ball, small: Ball) -> tuple[list[tuple[Ball, Ball]], Ball, Ball]:
        """The sources that matter on a panel, ``sum |value| sup e^{-z^2/4}`` over them, and a bound of the others."""
        spread = arb(0, size(self.path.scale * half / self.std))
        count = sum(len(source.nodes) for source in self.sources)
        found, rest, skipped = [], arb(0), arb(0)
        for source in self.sources:
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

    def _left(self, x: Ball) -> Ball:
        """What quadrature and the ends in y leave, over a ball of x."""
        mean, variance = self.path.scale * x, self.path.variance
        total = self.tails.tail(self.low, self.high, mean, variance)
        for source in self.sources:
            total += source.error * self._peak(source.panel, x)
        return size(total)


def quadrature_error(panel: Panel, count: int) -> Ball:
    """``8 L M rho^(1 - 2n)/(rho - 1)``: what n > 0 nodes leave of an integral of a function bounded by M."""
    return 8 * panel.half * panel.bound * panel.rho ** (1 - 2 * count) / (panel.rho - 1)


def taylor_remainder(step: Ball, degree: int) -> Ball:
    """What the polynomial of this degree leaves of ``e^{-(z - step u)^2/2}``, |u| <= 1, over ``sup e^{-z^2/4}``.

    The derivatives are Hermite functions, which Cramer's inequality bounds (Abramowitz and Stegun 1964, 22.14.17).
    """
    return arb(CRAMER) * step ** (degree + 1) / arb(degree + 1).fac().sqrt()


def _gaussian_coefficient(step: Ball, k: int) -> Ball:
    """The coefficient of u^k in ``e^{-step^2 u^2/2}``."""
    return arb(0) if k % 2 else power(-step * step / 2, k // 2) / arb(k // 2).fac()


def positive_panels(low: Ball, high: Ball, half: Ball) -> Sequence[tuple[Ball, Ball]]:
    """Centres and half-widths of equal panels of at most this half-width that cover [low, high]."""
    count = panel_count(low, high, half)
    width = (high - low) / (2 * count)
    return [(low + width * (2 * i + 1), width) for i in range(count)]

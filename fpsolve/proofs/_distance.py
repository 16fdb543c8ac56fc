"""``||nu P_{T->t} - mu P_{T->t}||_V`` enclosed: Bayes' rule, polynomials with remainders, signs proved by bisection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import flint

from fpsolve.proofs._balls import Ball, Stopwatch, arb, around, by_shift, everything, exact, pieces, size
from fpsolve.proofs._mixtures import Mixture, Path, Side, Sides, absolute, integral, tail
from fpsolve.proofs._sources import Expansion, Ratio, Sources, positive_panels, product, widest

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

"""``int V |f|`` of a signed mixture f, enclosed: two laws at one time, early stopping."""

from __future__ import annotations

from fpsolve.proofs._balls import Ball, Stopwatch, arb, around, exact, size
from fpsolve.proofs._mixtures import Mixture, integral
from fpsolve.proofs._signs import by_slope, pieces
from fpsolve.proofs._weights import Sides


def signed_norm(law: Mixture, sides: Sides, small: Ball, watch: Stopwatch) -> Ball:
    """A ball that holds ``int V |law|``, as narrow as signs are known: `small` is what may stay of it unknown."""
    low, high = reach(law, sides, small)
    mass = absolute(law)
    total = arb(0)
    for a, b in ((exact(low), arb(0)), (arb(0), exact(high))):
        side = sides.at((a + b) / 2)
        cap = size(side(a)) + size(side(b))
        allowed = small / (cap * (b - a))
        for piece in pieces(by_slope(law.density, law.slope), a, b, allowed, watch):
            part = piece.sign * integral(law, side, piece.low, piece.high)
            if piece.sign == 0:
                # V is largest at an end of a side
                part = around(arb(0), piece.bound * (piece.high - piece.low) * cap)
            total += part
    beyond = tail(mass, sides, exact(low), exact(high))
    return around(total, beyond)


def absolute(law: Mixture) -> Mixture:
    """``sum |w_k| N(m_k, v_k)``, which is at least |law| everywhere."""
    return Mixture(tuple(abs(w) for w in law.weights), law.means, law.variances)


def tail(law: Mixture, sides: Sides, low: Ball, high: Ball) -> Ball:
    """``int V law`` beyond [low, high], low <= 0 <= high."""
    return integral(law, sides.left, None, low) + integral(law, sides.right, high, None)


def reach(law: Mixture, sides: Sides, small: Ball) -> tuple[float, float]:
    """Ends on the two sides of 0 beyond which ``int V |law|`` is at most `small`, or as far as 60 widths."""
    mass, low, high = absolute(law), -1.0, 1.0
    for widths in range(6, 61):
        ends = law.span(float(widths))
        low, high = min(ends[0], -1.0), max(ends[1], 1.0)
        if tail(mass, sides, exact(low), exact(high)) <= small:
            break
    return low, high

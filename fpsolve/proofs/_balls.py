"""Ball arithmetic: numbers with a radius that holds every rounding, from python-flint, and signs proved by bisection.

References
----------
Johansson 2017, Arb: efficient arbitrary-precision midpoint-radius interval arithmetic, doi:10.1109/TC.2017.2690633.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from fpsolve import _checks

try:
    import flint
except ImportError as missing:
    raise ImportError(
        "fpsolve.proofs needs ball arithmetic from python-flint: pip install 'fpsolve[proofs]'"
    ) from missing

#: Panels of x or of y at most.
MOST_PANELS = 100_000

Ball: TypeAlias = Any  # flint.arb carries no types
arb, acb = flint.arb, flint.acb


@contextmanager
def precision(bits: int) -> Iterator[None]:
    """Work with so many bits inside of the block."""
    before, flint.ctx.prec = flint.ctx.prec, bits
    try:
        yield
    finally:
        flint.ctx.prec = before


def exact(value: float) -> Ball:
    """The ball of radius 0 around a double."""
    return arb(float(value))


def around(value: Ball, radius: Ball) -> Ball:
    """`value` widened by a radius >= 0; infinite where the radius is not finite."""
    if not radius.is_finite():
        return everything()
    return value + arb(0, radius.abs_upper())


def everything() -> Ball:
    """The whole line: what is known of a number nothing is known of."""
    return arb(0, arb.pos_inf())


def top(ball: Ball) -> Ball:
    """The upper end as a ball of radius 0, +infinity where the ball is not finite (NaN proves nothing)."""
    return ball.upper() if ball.is_finite() else arb.pos_inf()


def bottom(ball: Ball) -> Ball:
    """The lower end as a ball of radius 0, -infinity where the ball is not finite."""
    return ball.lower() if ball.is_finite() else arb.neg_inf()


def size(ball: Ball) -> Ball:
    """An upper bound of the absolute value, +infinity where the ball is not finite."""
    return ball.abs_upper() if ball.is_finite() else arb.pos_inf()


def float_above(ball: Ball) -> float:
    """A double that is not below any number of the ball."""
    end = top(ball)
    if not end.is_finite():
        return math.inf
    # a number below every double is still below the lowest one
    value = max(float(end.mid()), -sys.float_info.max)
    while math.isfinite(value) and not exact(value) >= end:
        value = math.nextafter(value, math.inf)
    return value


def float_below(ball: Ball) -> float:
    """A double that is not above any number of the ball."""
    return -float_above(-ball)


def power(base: Ball, exponent: int) -> Ball:
    """``base**exponent`` for an integer >= 0 by products: the ``**`` of balls is NaN where they hold 0."""
    result = arb(1)
    for _ in range(exponent):
        result *= base
    return result


def normal_density(x: Ball, mean: Ball, variance: Ball) -> Ball:
    """N(x; mean, variance)."""
    gap = x - mean
    return (-gap * gap / (2 * variance)).exp() / (2 * arb.pi() * variance).sqrt()


def normal_cdf(z: Ball) -> Ball:
    """P(Z <= z) of a standard normal Z; accurate in the left tail."""
    return (-z / arb(2).sqrt()).erfc() / 2


def panel_count(low: Ball, high: Ball, half: Ball) -> int:
    """How many panels of at most this half-width cover [low, high]; BudgetSpent where they are too many."""
    count = float_above((high - low) / (2 * half))
    if not count < MOST_PANELS:
        raise BudgetSpent(f"more than {MOST_PANELS} panels: a law or a transition is too narrow for its range")
    return int(count) + 1


class BudgetSpent(Exception):
    """What may be spent on a proof is over; says what it was."""


class Stopwatch:
    """Processor seconds since its start, and the end of the budget."""

    def __init__(self, budget: float) -> None:
        self.start, self.budget = time.process_time(), _checks.positive("budget", budget)

    @property
    def seconds(self) -> float:
        return time.process_time() - self.start

    def check(self) -> None:
        """Raise BudgetSpent where the budget is over."""
        if self.seconds > self.budget:
            raise BudgetSpent(f"not reached in the budget of {self.budget:g} s")


#: Centre and half-width of a box -> f at the centre, f on the box.
Judge: TypeAlias = Callable[[Ball, Ball], tuple[Ball, Ball]]


@dataclass(frozen=True)
class Piece:
    """An interval on which a function has the sign +1 or -1 throughout, or 0: unknown, at most `bound` in size."""

    low: Ball
    high: Ball
    sign: int
    bound: Ball


def by_shift(polynomial: flint.arb_poly) -> Judge:
    """Judge a polynomial on a box by its coefficients around the centre of the box."""

    def judge(centre: Ball, half: Ball) -> tuple[Ball, Ball]:
        first, *others = polynomial(flint.arb_poly([centre, half])).coeffs() or [arb(0)]
        return first, first + arb(0, size(sum((abs(c) for c in others), arb(0))))

    return judge


def pieces(judge: Judge, low: Ball, high: Ball, small: Ball, watch: Stopwatch, depth: int = 60) -> list[Piece]:
    """Cut [low, high] into intervals of proved sign and, around the roots, intervals on which |f| is small.

    A box that is not judged is halved until ``|f| <= small`` there, or `depth` times, or until rounding decides.

    Parameters
    ----------
    judge : function of centre and half-width
        Enclosures of f at the centre of a box and on the box.
    low, high : balls
    small : ball
        Where |f| is at most this, no sign is looked for.
    watch : Stopwatch
    depth : int, default 60
    """
    found: list[Piece] = []
    boxes = [(low, high, 0)]
    while boxes:
        watch.check()
        a, b, level = boxes.pop()
        centre = (a + b) / 2
        point, here = judge(centre, (b - a) / 2)
        sign = 1 if here > 0 else -1 if here < 0 else 0
        # where the value at one point is not known to better than `small`, halving boxes tells nothing
        blurred = point.contains(0) and not 2 * point.rad() <= small
        if sign == 0 and level < depth and not blurred and not size(here) <= small:
            boxes += [(centre, b, level + 1), (a, centre, level + 1)]
            continue
        if found and sign != 0 and found[-1].sign == sign:
            found[-1] = Piece(found[-1].low, b, sign, arb.pos_inf())
        else:
            found.append(Piece(a, b, sign, size(here)))
    return found

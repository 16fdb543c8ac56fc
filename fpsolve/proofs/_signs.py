"""Where a function has a proved sign: bisection on balls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import flint

from fpsolve.proofs._balls import Ball, Stopwatch, arb, size

#: Centre and half-width of a box -> f at the centre, f on the box.
Judge: TypeAlias = Callable[[Ball, Ball], tuple[Ball, Ball]]


@dataclass(frozen=True)
class Piece:
    """An interval on which a function has the sign +1 or -1 throughout, or 0: unknown, at most `bound` in size."""

    low: Ball
    high: Ball
    sign: int
    bound: Ball


def by_slope(value: Callable[[Ball], Ball], slope: Callable[[Ball], Ball]) -> Judge:
    """Judge f on a box of centre c and radius r by ``f(c) + [-r, r] f'(box)``."""

    def judge(centre: Ball, half: Ball) -> tuple[Ball, Ball]:
        point, spread = value(centre), arb(0, size(half))
        return point, point + spread * slope(centre + spread)

    return judge


def by_shift(polynomial: flint.arb_poly) -> Judge:
    """Judge a polynomial on a box by its coefficients around the centre of the box."""

    def judge(centre: Ball, half: Ball) -> tuple[Ball, Ball]:
        first, *others = polynomial(flint.arb_poly([centre, half])).coeffs() or [arb(0)]
        return first, first + arb(0, size(sum((abs(c) for c in others), arb(0))))

    return judge


def pieces(
    judge: Judge, low: Ball, high: Ball, small: Ball, watch: Stopwatch, depth: int = 60
) -> list[Piece]:
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

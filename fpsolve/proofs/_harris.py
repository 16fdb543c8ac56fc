"""Harris' theorem with every constant enclosed: contraction rates that are theorems."""

from __future__ import annotations

import math
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from fpsolve import _checks
from fpsolve._messages import Status
from fpsolve.dynamics import Reverse
from fpsolve.proofs._balls import (
    Ball,
    BudgetSpent,
    Judge,
    Stopwatch,
    arb,
    bottom,
    exact,
    float_above,
    float_below,
    power,
    precision,
    top,
)
from fpsolve.proofs._block import Block, Search, common_beta
from fpsolve.proofs._enclosure import HYPOTHESES, check_reverse
from fpsolve.proofs._mixtures import mixture, path
from fpsolve.weights import PolynomialWeight

#: Bits: the constants are wanted to four digits, so rounding has all the room it needs.
BITS = 96
#: Relative and absolute width to which K and the total variation are enclosed.
TOLERANCE, SMALLEST = 1e-4, 1e-12

STATEMENT = (
    "Hairer and Mattingly 2011, Theorem 1.3: if P V <= gamma V + K with gamma < 1 and TV(P(x,.), P(y,.)) <= 1 - a "
    "wherever V(x) + V(y) <= R, R > 2K/(1 - gamma), then the norm of weight 1 + beta V contracts by "
    "max(1 - a + beta K, gamma, (2 + beta (gamma R + 2K))/(2 + beta R))"
)


@dataclass(frozen=True, kw_only=True)
class ProvedHarris:
    """A proved contraction of the kernel from t0 to t1 in the norm of weight ``1 + beta |x|^power``.

    Attributes
    ----------
    value : float or None
        Upper bound of the contraction factor, a theorem; None where none below 1 was proved.
    t0, t1 : float
    power : int
        V = |x|^power.
    beta, gamma, R : float
        Chosen numbers.
    K, overlap : float
        Upper bound of ``sup P V - gamma V`` over the whole line; lower bound of ``inf 1 - TV`` over V(x) + V(y) <= R.
    statement, hypotheses, reason : str, tuple of str, str
    seconds : float
        Processor time spent.
    """

    value: float | None
    t0: float
    t1: float
    power: int
    beta: float
    gamma: float
    R: float
    K: float
    overlap: float
    statement: str = STATEMENT
    hypotheses: tuple[str, ...] = HYPOTHESES
    reason: str = ""
    seconds: float = 0.0

    @property
    def status(self) -> Status:
        """Proved, or no certificate."""
        return "no certificate" if self.value is None else "proved"

    def __str__(self) -> str:
        """Return the record as text, one line per fact."""
        shown = f"no contraction proved: {self.reason}" if self.value is None else f"proved contraction {self.value!r}"
        constants = ", ".join(f"{name} = {getattr(self, name):.6g}" for name in ("beta", "gamma", "R", "K", "overlap"))
        block = f"block {self.t0!r} -> {self.t1!r}, weight 1 + {self.beta:.6g} |x|^{self.power}"
        return "\n".join([shown, f"  {block} ({self.seconds:.2g} s)", f"  {constants}", f"  {self.statement}"])


@dataclass(frozen=True, kw_only=True)
class ProvedBlocks:
    """Proved contraction of consecutive blocks in one norm.

    Attributes
    ----------
    value : float or None
        Product of the factors that were proved below 1; None where a block has none.
    blocks : tuple of ProvedHarris
    beta : float
        The same on every block: only then is the product a bound for all of them.
    reason : str
    """

    value: float | None
    blocks: tuple[ProvedHarris, ...]
    beta: float
    reason: str = ""

    @property
    def status(self) -> Status:
        """Proved, or no certificate."""
        return "no certificate" if self.value is None else "proved"


def harris(
    reverse: Reverse,
    t0: float,
    t1: float,
    *,
    weight: PolynomialWeight | None = None,
    budget: float = 300.0,
) -> ProvedHarris:
    """Prove a contraction factor of the reverse kernel from t0 to t1 in a weighted total variation.

    gamma, R and, if no weight is given, beta are chosen in floating point; then ``K = sup_y (P V - gamma V)(y)`` is
    bounded on the whole line by branch and bound, and the overlap over all pairs with V(x) + V(y) <= R: along the curve
    V(x) + V(y) = R with x <= 0 <= y, which holds the worst pair because the kernel is an exponential family (see
    `Block`), so that corners of segments bound it.

    Parameters
    ----------
    reverse : Reverse
        As for `fpsolve.proofs.weighted_tv`.
    t0, t1 : float
        Forward times, T >= t0 > t1 >= 0.
    weight : PolynomialWeight of an even power, or None
        1 + beta |x|^power; None is power 2 with the beta of the smallest factor.
    budget : float, default 300
        Processor seconds.

    Returns
    -------
    ProvedHarris

    Raises
    ------
    ValueError
        As `weighted_tv`; a weight of another kind; times out of order.

    References
    ----------
    Hairer and Mattingly 2011, doi:10.1007/978-3-0348-0021-1_7.
    """
    degree, watch = _degree(weight), Stopwatch(budget)
    with precision(BITS):
        block = _block(reverse, t0, t1)
        gamma, R, beta, _ = Search(block, degree).best(None if weight is None else weight.beta)
        return _proved(block, float(t0), float(t1), degree, gamma, R, beta, watch)


def harris_blocks(
    reverse: Reverse,
    times: ArrayLike,
    *,
    weight: PolynomialWeight | None = None,
    budget: float = 300.0,
) -> ProvedBlocks:
    """Prove contraction factors of consecutive blocks in one norm, and their product.

    Parameters
    ----------
    reverse, weight, budget
        As for `harris`; the budget is that of a block. Without a weight the one beta is that of the smallest product.
    times : array_like
        Boundaries, decreasing.

    Returns
    -------
    ProvedBlocks

    Raises
    ------
    ValueError
        As `harris`.
    """
    degree = _degree(weight)
    _checks.positive("budget", budget)
    ends = np.ravel(_checks.finite_array("times", times)).tolist()
    if len(ends) < 2:
        raise _checks.error("times", "at least two boundaries", f"{len(ends)}", "a block has two ends")
    with precision(BITS):
        blocks = [_block(reverse, a, b) for a, b in pairwise(ends)]
        beta = common_beta(blocks, degree) if weight is None else weight.beta
        found = []
        for block, a, b in zip(blocks, ends[:-1], ends[1:], strict=True):
            gamma, R, *_ = Search(block, degree).best(beta)
            found.append(_proved(block, a, b, degree, gamma, R, beta, Stopwatch(budget)))
    factors = [one.value for one in found if one.value is not None]
    if len(factors) < len(found):
        failed = next(one for one in found if one.value is None)
        reason = f"{failed.t0!r} -> {failed.t1!r}: {failed.reason}"
        return ProvedBlocks(value=None, blocks=tuple(found), beta=beta, reason=reason)
    with precision(BITS):
        product = arb(1)
        for factor in factors:
            product *= exact(factor)
        return ProvedBlocks(value=float_above(product), blocks=tuple(found), beta=beta)


def _degree(weight: PolynomialWeight | None) -> int:
    if weight is None:
        return 2
    if type(weight) is PolynomialWeight and weight.power in {2.0, 4.0, 6.0} and weight.beta > 0.0:
        return int(weight.power)
    expected = "a PolynomialWeight of power 2, 4 or 6 and beta > 0, or None"
    raise _checks.error("weight", expected, repr(weight), "then P V is a closed form in y")


def _block(reverse: Reverse, t0: float, t1: float) -> Block:
    check_reverse(reverse)
    start = _checks.interval("t0", t0, 0.0, float(reverse.process.T))
    if not 0.0 <= _checks.finite("t1", t1) < start:
        raise _checks.error("t1", f"a time in [0, {start!r})", repr(t1), "reverse time runs from t0 down to t1")
    law = mixture("reverse.target", reverse.target)
    return Block(law.diffused(path(reverse.process, 0.0, t1)), path(reverse.process, t1, t0))


def _proved(
    block: Block, t0: float, t1: float, degree: int, gamma: float, R: float, beta: float, watch: Stopwatch
) -> ProvedHarris:
    """Enclose K and the overlap for the chosen constants and put them into the theorem."""
    K, overlap, value, reason = math.inf, 0.0, None, ""
    if not exact(gamma) > power(block.steepest, degree):
        reason = "V does not come down far out: max alpha V_k/(alpha^2 V_k + s) is not below 1"
    else:
        try:
            K = float_above(_drift_constant(block, degree, exact(gamma), watch))
            overlap = float_below(1 - _largest_variation(block, degree, exact(R), watch))
        except BudgetSpent as spent:
            reason = str(spent)
    if not reason and not exact(R) * (1 - exact(gamma)) > 2 * exact(K):
        reason = "R > 2K/(1 - gamma) fails where it was tried: no factor below 1; try other blocks or a smaller weight"
    if not reason:
        b, g, r, k, a = (exact(number) for number in (beta, gamma, R, K, overlap))
        bound = float_above((1 - a + b * k).max(g).max((2 + b * (g * r + 2 * k)) / (2 + b * r)))
        value = bound if bound < 1.0 else None
        reason = "" if value is not None else f"the theorem gives {bound:.6g}, not below 1; try other blocks"
    return ProvedHarris(
        value=value, t0=t0, t1=t1, power=degree, beta=beta, gamma=gamma, R=R, K=K, overlap=overlap, reason=reason,
        seconds=watch.seconds,
    )  # fmt: skip


def _drift_constant(block: Block, degree: int, gamma: Ball, watch: Stopwatch) -> Ball:
    """An upper bound of ``sup_y (P V - gamma V)(y)`` over the whole line, V = |y|^degree.

    Beyond Y a polynomial of degree `degree` with coefficients >= 0 bounds P V; divided by V it decreases, so it stays
    below gamma once it is.
    """
    end = arb(1)
    while not block.moment_beyond(end, degree) <= gamma * power(end, degree):
        watch.check()
        end *= 2

    def excess(centre: Ball, half: Ball) -> tuple[Ball, Ball]:
        spread = arb(0, half)
        box = centre + spread
        here = block.moment(centre, degree) - gamma * power(centre, degree)
        return here, top(here + spread * (block.slope(box, degree) - gamma * degree * power(box, degree - 1)))

    return _maximum(excess, -end, end, watch)


def _largest_variation(block: Block, degree: int, R: Ball, watch: Stopwatch) -> Ball:
    """An upper bound of ``sup TV(P(x,.), P(y,.))`` over ``|x|^degree + |y|^degree <= R``.

    The worst pair lies on the curve with x <= 0 <= y; x = -a; on a segment of a the pair (-a_max, y(a_min)) is worse.
    """
    root = R.root(degree)

    def partner(a: Ball) -> Ball:
        return top((R - power(a, degree)).max(arb(0)).root(degree))

    def variation(centre: Ball, half: Ball) -> tuple[Ball, Ball]:
        low, high = bottom(centre - half).max(arb(0)), top(centre + half)
        here = block.total_variation(-centre, partner(centre))
        return here, top(block.total_variation(-high, partner(low)))

    return _maximum(variation, arb(0), top(root), watch)


def _maximum(judge: Judge, low: Ball, high: Ball, watch: Stopwatch) -> Ball:
    """An upper bound of the maximum of a function that is not negative everywhere, within TOLERANCE.

    Branch and bound over [low, high]: the box of the largest upper bound is halved first. ``judge`` encloses the
    function at the centre of a box and bounds it from above on the box.
    """
    best, count = 0.0, 0
    queue: list[tuple[float, int, Ball, Ball]] = []
    todo = [((low + high) / 2, top((high - low) / 2))]
    while True:
        watch.check()
        for centre, half in todo:
            here, above = judge(centre, half)
            best, count = max(best, float_below(here)), count + 1
            heappush(queue, (-float_above(above), count, centre, half))
        worst, _, centre, half = heappop(queue)
        if -worst <= best * (1.0 + TOLERANCE) + SMALLEST:
            return exact(-worst)
        todo = [(centre - half / 2, top(half / 2)), (centre + half / 2, top(half / 2))]

"""Harris' contraction proved in ball arithmetic, as a rung of a ladder."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import ModuleType

from fpsolve import _checks, weights
from fpsolve._messages import Status
from fpsolve.bounds._harris_record import STATEMENT, Harris
from fpsolve.bounds._record import Record
from fpsolve.dynamics import Reverse
from fpsolve.laws import Law
from fpsolve.weights import PolynomialWeight, WeightLike

#: Processor seconds for one factor or one distance.
BUDGET = 60.0
#: A product of a few proved doubles is rounded by less.
OUTWARD = 1.0 + 2.0**-40


@dataclass(frozen=True, eq=False, kw_only=True)
class Proven(Record):
    """A record whose value, where there is one, is a theorem: its constants are enclosed by ball arithmetic."""

    @property
    def status(self) -> Status:
        """Proved, where there is a value."""
        return "no certificate" if self.value is None else "proved"


@dataclass(frozen=True, eq=False, kw_only=True)
class ProvedBlock(Proven, Harris):
    """A proved contraction."""


@dataclass(frozen=True, eq=False)
class Proved:
    """A block whose contraction is proved, one factor beta on V at a time; each proof is made once.

    Attributes
    ----------
    reverse : Reverse
    t0, t1 : float
    weight : Weight or callable
        1 + V.
    """

    reverse: Reverse
    t0: float
    t1: float
    weight: WeightLike
    _made: dict[float, ProvedBlock] = field(default_factory=dict, repr=False)

    def best(self, beta: float, step: int = 1) -> float:
        """The proved factor in the weight ``1 + beta V``; infinite where there is none. There is one trial only."""
        value = self.record(beta).value
        return math.inf if value is None else value

    def record(self, beta: float) -> ProvedBlock:
        """The proved factor in the weight ``1 + beta V``, or why there is none."""
        if beta not in self._made:
            self._made[beta] = self._proved(beta)
        return self._made[beta]

    def _proved(self, beta: float) -> ProvedBlock:
        weight = weights.DEFAULT if self.weight is None else self.weight
        if isinstance(weight, PolynomialWeight):
            weight = PolynomialWeight(weight.power, beta * weight.beta)
        try:
            found = room().harris(self.reverse, self.t0, self.t1, weight=weight, budget=BUDGET)
        except ValueError as refused:
            # what cannot be proved is refused in a sentence
            return self._block(beta, str(refused))
        # the constants of the proof are those of |x|^p, here V = beta |x|^p
        unit = found.beta / beta
        constants = found.gamma, unit * found.K, unit * found.R, found.overlap
        return self._block(beta, found.reason, found.value, constants, found.hypotheses)

    def _block(
        self,
        beta: float,
        reason: str,
        value: float | None = None,
        constants: tuple[float, ...] = (math.nan,) * 4,
        unchecked: tuple[str, ...] = (),
    ) -> ProvedBlock:
        gamma, K, R, overlap = constants
        return ProvedBlock(
            value=value, statement=STATEMENT, unchecked=unchecked, reason=reason, beta=beta, gamma=gamma, K=K, R=R,
            overlap=overlap, abar=math.nan if value is None else value, t0=self.t0, t1=self.t1,
        )  # fmt: skip


def room() -> ModuleType:
    """Return fpsolve.proofs; ValueError without python-flint."""
    try:
        from fpsolve import proofs
    except ImportError as reason:
        raise _checks.error("proved", "python-flint", "none installed", "pip install 'fpsolve[proofs]'") from reason
    return proofs


def distance(reverse: Reverse, start: Law, t: float, weight: WeightLike, norm: WeightLike) -> Proven:
    """A proved upper bound of the distance of a start at t to p_t in the weight, times ``sup norm/weight``."""
    statement = f"||nu - p_t||_V at t = {t!r} times the largest ratio of the norm's weight to V"
    own, other = (weights.DEFAULT if one is None else one for one in (weight, norm))
    if type(own) is not PolynomialWeight or type(other) is not PolynomialWeight or own.power != other.power:
        return Proven(value=None, statement=statement, reason="a proof needs polynomial weights of one power")
    try:
        found = room().weighted_tv(reverse, start, t=t, t_max=t, weight=own, rtol=1e-6, budget=BUDGET)
    except ValueError as refused:
        return Proven(value=None, statement=statement, reason=str(refused))
    # (1 + a |x|^p)/(1 + b |x|^p) lies between 1 and a/b
    value = found.upper * max(1.0, other.beta / max(own.beta, 1e-300)) * OUTWARD
    known = math.isfinite(value)
    reason = "" if known else found.reason
    return Proven(value=value if known else None, statement=statement, unchecked=found.hypotheses, reason=reason)

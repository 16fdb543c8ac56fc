"""The weights V for which integrals against normal laws are closed form: polynomials times e^{cx} on each side of 0."""

from __future__ import annotations

from typing import Any

import flint

from fpsolve import _checks
from fpsolve.proofs._balls import Ball, arb, exact
from fpsolve.proofs._mixtures import Side
from fpsolve.weights import DEFAULT, ExponentialWeight, PolynomialWeight, UnitWeight


class Sides:
    """V on the two sides of 0.

    Parameters
    ----------
    weight : UnitWeight, PolynomialWeight of an integer power, ExponentialWeight or None (1 + x^2)
    """

    def __init__(self, weight: Any = None) -> None:
        weight = DEFAULT if weight is None else weight
        self.left, self.right = _side(weight, -1), _side(weight, 1)

    def at(self, inside: Ball) -> Side:
        """V on the side of 0 on which a point lies."""
        if inside >= 0:
            return self.right
        if inside <= 0:
            return self.left
        raise ValueError(f"weight: expected a point on one side of 0, got {inside}")


def _side(weight: Any, sign: int) -> Side:
    # by its class: a subclass may be another function
    if type(weight) is UnitWeight:
        return Side(flint.arb_poly([1]), arb(0))
    if type(weight) is ExponentialWeight:
        return Side(flint.arb_poly([1]), sign * exact(weight.rate))
    if type(weight) is PolynomialWeight and float(weight.power).is_integer():
        power = int(weight.power)
        return Side(flint.arb_poly([1] + [0] * (power - 1) + [sign**power * exact(weight.beta)]), arb(0))
    got = repr(weight) if isinstance(weight, PolynomialWeight) else f"a {type(weight).__name__}"
    expected = "UnitWeight, ExponentialWeight or a PolynomialWeight of an integer power"
    raise _checks.error("weight", expected, got, "proofs need integrals in closed form")

"""One-step schemes in time: rational approximations of ``exp(dt A)`` with a single real pole.

Over a step the generator is frozen at one node of the step (the exponential-midpoint rule of Magnus type, second
order, when the node is the middle), and ``exp(dt A)`` is replaced by a rational function that needs nothing but
solves with ``I - pole dt A``:

    m = (I - pole dt A)^{-1} q,
    one solve:   q' = q + mix (m - q),
    two solves:  q' = (I - pole dt A)^{-1} [ q + mix (m - q) ].

References
----------
Hochbruck and Lubich 2003, doi:10.1137/S0036142902403875 (midpoint Magnus rule for stiff problems);
Bank et al. 1985, doi:10.1109/T-ED.1985.22232 (TR-BDF2); Rannacher 1984, doi:10.1007/BF01389463 (damped start).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fpsolve._checks import one_of


@dataclass(frozen=True)
class Scheme:
    """A single-pole rational one-step scheme.

    Attributes
    ----------
    name : str
    pole : float
        Coefficient of ``dt A`` in the matrix that is solved with.
    solves : int
        1 or 2 solves per step, with the same matrix.
    mix : float
        Weight of the first solve, see the module's formulas.
    node : float
        Where in the step the generator is sampled, 0.5 the middle, 1.0 the end.
    order : int
        Order in time.
    startup : Scheme or None
        Scheme of the first steps of a run; how many is the run's affair.
    """

    name: str
    pole: float
    solves: int
    mix: float
    node: float
    order: int
    startup: Scheme | None = None


_GAMMA = 2.0 - math.sqrt(2.0)

BACKWARD_EULER = Scheme("backward-euler", pole=1.0, solves=1, mix=1.0, node=1.0, order=1)
CRANK_NICOLSON = Scheme("crank-nicolson", pole=0.5, solves=1, mix=2.0, node=0.5, order=2)
TR_BDF2 = Scheme("tr-bdf2", pole=_GAMMA / 2, solves=2, mix=2.0 / (_GAMMA * (2.0 - _GAMMA)), node=0.5, order=2)
#: Crank-Nicolson does not damp what a rough start excites; a few L-stable steps first do, and cost nothing.
DAMPED_CRANK_NICOLSON = Scheme("damped-crank-nicolson", pole=0.5, solves=1, mix=2.0, node=0.5, order=2, startup=TR_BDF2)

SCHEMES = {s.name: s for s in (DAMPED_CRANK_NICOLSON, CRANK_NICOLSON, TR_BDF2, BACKWARD_EULER)}


def scheme_named(name: str) -> Scheme:
    """The scheme called `name`; ValueError with the list of names otherwise."""
    return SCHEMES[one_of("scheme", name, tuple(SCHEMES))]

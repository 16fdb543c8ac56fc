"""The record of Harris' theorem (Hairer and Mattingly): a contraction with its constants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fpsolve.bounds._record import Hypothesis, Record, failure

STATEMENT = (
    "Hairer and Mattingly 2011, Theorem 1.3 with the pairwise overlap a'': abar(beta) = "
    "max{1 - a'' + beta K, gamma, (2 + beta (gamma R + 2K))/(2 + beta R)}, R > 2K/(1 - gamma)"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Harris(Record):
    """A contraction from Harris' theorem; V = weight - 1. See `harris`.

    Attributes
    ----------
    value : float or None
        abar where it is below 1 and every hypothesis holds, on the whole line or plane.
    abar : float
        The number itself, whatever it is; NaN where no R is admissible. Where the hypotheses could be checked on a box
        only, it is a number of that box and `value` is None.
    beta : float
        Factor on V: the contraction is in the weight ``1 + beta V``; 1 unless searched.
    gamma, K : float
        Drift, ``P V <= gamma V + K``.
    R : float
        Level of the localization set ``{V(x) + V(y) <= R}``.
    overlap : float
        a'' at R.
    t0, t1 : float
        Times of the block.
    """

    abar: float
    beta: float
    gamma: float
    K: float
    R: float
    overlap: float
    t0: float
    t1: float


#: What makes a drift inequality hold.
HELPS = "a longer block, a weight that grows more slowly or data scaled to a smaller variance would help"


def record(
    abar: float,
    beta: float,
    constants: tuple[float, ...] | None,
    checked: tuple[Hypothesis, ...],
    unchecked: tuple[str, ...],
    times: tuple[float, float],
    reason: str = "",
) -> Harris:
    """Make the record; a certificate needs every hypothesis, no other reason against it, and abar < 1."""
    reason = reason or failure(checked)
    if not reason and constants is None:
        reason = f"no gamma < 1 and R > 2K/(1 - gamma); {HELPS}"
    elif not reason and not abar < 1.0:
        reason = f"abar = {abar:.6g} is not below 1"
    gamma, k, level, overlap = constants if constants is not None else (float("nan"),) * 4
    return Harris(
        value=None if reason else abar,
        statement=STATEMENT,
        checked=checked,
        unchecked=unchecked,
        reason=reason,
        abar=abar if np.isfinite(abar) else float("nan"),
        beta=beta,
        gamma=gamma,
        K=k,
        R=level,
        overlap=overlap,
        t0=times[0],
        t1=times[1],
    )

"""What every bound returns: a number or None, the statement it comes from, what was checked and what was not; the block
of a reverse dynamics, checked at the border; and the record of Harris' theorem (Hairer and Mattingly) with the
constants that are tried for one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, _times
from fpsolve._messages import Status, page
from fpsolve.grid import Grid
from fpsolve.kernels import Kernel, Operator

if TYPE_CHECKING:
    from fpsolve.dynamics import Reverse


@dataclass(frozen=True)
class Hypothesis:
    """One hypothesis of a statement, checked numerically.

    Attributes
    ----------
    name : str
        What was checked, in words.
    margin : float
        By how much it holds; negative where it fails, NaN where there was nothing to check it on: then it neither
        `holds` nor `fails`. Its unit is said in `name` or `detail`.
    detail : str
        Where and how it was checked.
    source : str
        Whose hypothesis it is, where that is not the statement of the record itself.
    """

    name: str
    margin: float
    detail: str = ""
    source: str = ""

    @property
    def holds(self) -> bool:
        """Whether the margin is not negative; False where nothing was checked."""
        return self.margin >= 0.0

    @property
    def fails(self) -> bool:
        """Whether the margin is negative; False where nothing was checked."""
        return self.margin < 0.0

    @property
    def verdict(self) -> Literal["holds", "FAILS", "not checked"]:
        """The word for it."""
        return "holds" if self.holds else "FAILS" if self.fails else "not checked"

    def __str__(self) -> str:
        """Return one line: verdict, name, margin."""
        margin = "" if np.isnan(self.margin) else f" (margin {self.margin:.3g})"
        text = f"{self.verdict}: {self.name}{margin}"
        return "; ".join([text, *filter(None, (self.detail, self.source))])


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """A bound: its value, or None for "no certificate", and where it comes from.

    Attributes
    ----------
    value : float or None
        The number the statement gives; None where a hypothesis fails or the number would say nothing.
    statement : str
        The statement, with its reference.
    checked : tuple of Hypothesis
        Hypotheses that were checked, with margins.
    unchecked : tuple of str
        Hypotheses that were taken for granted.
    reason : str
        Why there is no certificate, empty where there is one.
    """

    value: float | None
    statement: str
    checked: tuple[Hypothesis, ...] = ()
    unchecked: tuple[str, ...] = ()
    reason: str = ""

    @property
    def certified(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    @property
    def status(self) -> Status:
        """What the value is.

        "certified": the statement gives it and the checked hypotheses hold, in floating point, but for what `unchecked`
        lists. "estimated": a number that no statement guarantees. "no certificate": there is none, see `reason`.
        """
        return "no certificate" if self.value is None else "certified" if self.certified else "estimated"

    def constants(self) -> dict[str, float]:
        """The scalar constants by name, without the value: what a summary file keeps."""
        own = {f.name for f in fields(Record)}
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self) if f.name not in own)
        return {
            name: float(value)
            for name, value in pairs
            if isinstance(value, int | float | np.number) and not isinstance(value, bool)
        }

    def __init_subclass__(cls) -> None:
        # the answer first: dataclasses leave a method that is there
        for method in ("__repr__", "_repr_html_"):
            setattr(cls, method, getattr(Record, method))

    def _repr_html_(self) -> str:
        return page(str(self))

    def __repr__(self) -> str:
        """Return the record as text, one line per fact."""
        shown = f"no certificate: {self.reason}" if self.value is None else f"{self.value:.6g} ({self.status})"
        lines = [f"{type(self).__name__}: {shown}", f"  {self.statement}"]
        lines += [f"  {name} = {value:.6g}" for name, value in self.constants().items()]
        lines += [f"  {hypothesis}" for hypothesis in self.checked]
        lines += [f"  not checked: {what}" for what in self.unchecked]
        return "\n".join(lines)


def yes(name: str, holds: bool, detail: str = "", source: str = "") -> Hypothesis:
    """Return a hypothesis that has no margin: it holds, or it does not."""
    return Hypothesis(name, 0.0 if holds else -1.0, detail, source)


def failure(checked: tuple[Hypothesis, ...]) -> str:
    """Return which hypotheses fail or could not be checked, as a reason; empty where all hold."""
    return "; ".join(_failed(h) for h in checked if not h.holds)


def _failed(h: Hypothesis) -> str:
    if not h.fails:
        return f"{h.name} could not be checked"
    # an infinite margin is no number to read: nothing that was looked at satisfies it
    return f"{h.name} fails by {-h.margin:.3g}" if np.isfinite(h.margin) else f"{h.name} fails everywhere"


#: Times this close, as a share of the horizon, are the same; laws and processes are compared to the same accuracy.
_SAME = 1e-9


def block(reverse: Reverse, t0: float, t1: float) -> tuple[float, float]:
    """Return forward times ``T >= t0 > t1 >= 0`` as floats.

    Raises
    ------
    ValueError
        Times out of order or range.
    """
    if _checks.finite("t1", t1) < -_SAME * reverse.horizon:
        shown = f"a forward time in [0, t0 = {_checks.finite('t0', t0):.17g})"
        raise _checks.error("t1", shown, f"{t1:.17g}", "a block runs from the larger forward time t0 down to t1")
    return _times.block("t0", t0, "t1", t1, reverse.horizon, wanted="a forward time in [0, {start})")


def same_block(kernel: Kernel | Operator, reverse: Reverse, t0: float, t1: float, grid: Grid) -> None:
    """Refuse a kernel of other times, on another grid or of other dynamics than it is used with: ValueError."""
    asked = block(reverse, t0, t1)
    if any(abs(a - b) > _SAME * reverse.horizon for a, b in zip(asked, (kernel.t0, kernel.t1), strict=True)):
        expected, got = (f"the block {a:.10g} -> {b:.10g}" for a, b in (asked, (kernel.t0, kernel.t1)))
        raise _checks.error("kernel", f"one of {expected}", f"one of {got}", "make it with the times of the call")
    if kernel.grid != grid:
        expected, got = (f"{g.bounds} x {g.shape}" for g in (grid, kernel.grid))
        raise _checks.error("kernel", f"one on the grid {expected}", f"one on {got}", "pass grid=kernel.grid")
    known = kernel.exact_of if isinstance(kernel, Kernel) else None
    if known is not None and known is not reverse and not _same_dynamics(known, reverse, t0, t1, grid):
        got = "the exact one of another target or process"
        raise _checks.error("kernel", "one of the dynamics `reverse`", got, "pass the dynamics that it was made of")


def _same_dynamics(known: Reverse, reverse: Reverse, t0: float, t1: float, grid: Grid) -> bool:
    """Whether both have the same exact kernel over the block."""
    if not reverse.exact or callable(reverse.eta) or reverse.eta != 1.0 or reverse.dim != known.dim:
        return False
    numbers = ([float(f(t1, t0)) for f in (one.process.scale, one.process.variance)] for one in (known, reverse))
    laws = (one.marginal(t1).log_density(grid.x) for one in (known, reverse))
    return all(np.allclose(a, b, rtol=_SAME, atol=1e-300) for a, b in (numbers, laws))


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


Array = NDArray[np.float64]

#: Trial values of beta, in units of 1/K, and rounds of refinement around the best.
_BETAS = np.geomspace(1e-5, 1e2, 71)
_ROUNDS = 3
#: One in so many pairs and levels tells which of the others need a look.
_FEW = 8


@dataclass(frozen=True, eq=False)
class Trials:
    """Admissible constants of a block: pairs (gamma, K) and levels R with their overlap; V unscaled.

    Attributes
    ----------
    gammas, ks : arrays, shape (n,)
    levels, overlaps : arrays, shape (m,) or (n, m)
    """

    gammas: Array
    ks: Array
    levels: Array
    overlaps: Array

    def abar(self, beta: float) -> Array:
        """abar for every pair (gamma, K) and level, shape (n, m); infinite where R is not above 2K/(1 - gamma)."""
        gamma, k, r = self.gammas[:, None], self.ks[:, None], np.atleast_2d(self.levels)
        local = 1.0 - self.overlaps + beta * k
        far = (2.0 + beta * (gamma * r + 2.0 * k)) / (2.0 + beta * r)
        worst = np.maximum(np.maximum(local, gamma), far)
        return np.where(r * (1.0 - gamma) > 2.0 * k, worst, np.inf)

    def reached(self, betas: Array) -> float:
        """What the best of the factors reaches at least: the smallest abar of a few pairs and levels."""
        few = self.thinned(_FEW)
        return min(float(few.abar(float(beta)).min(initial=np.inf)) for beta in betas)

    def best(self, beta: float, reached: float | None = None) -> tuple[float, int, int]:
        """Smallest abar and where; infinite where it is above what is reached already."""
        if reached is None:
            reached = self.reached(np.array([beta]))
        local = 1.0 - self.overlaps.max(axis=-1, initial=0.0) + beta * self.ks
        rows = np.flatnonzero((self.gammas <= reached) & (local <= reached))
        gammas, ks = self.gammas[rows], self.ks[rows]
        if self.levels.ndim == 2:
            columns = np.arange(self.levels.shape[1])
            some = Trials(gammas, ks, self.levels[rows], self.overlaps[rows])
        else:
            columns = np.flatnonzero(1.0 - self.overlaps + beta * ks.min(initial=np.inf) <= reached)
            some = Trials(gammas, ks, self.levels[columns], self.overlaps[columns])
        table = some.abar(beta)
        if not table.size:
            return np.inf, -1, -1
        n, m = np.unravel_index(int(np.argmin(table)), table.shape)
        return float(table[n, m]), int(rows[n]), int(columns[m])

    def constants(self, n: int, m: int) -> tuple[float, float, float, float]:
        """gamma, K, R and a'' of a pair and a level."""
        row = n if self.levels.ndim == 2 else 0
        levels, overlaps = np.atleast_2d(self.levels), np.atleast_2d(self.overlaps)
        return float(self.gammas[n]), float(self.ks[n]), float(levels[row, m]), float(overlaps[row, m])

    def thinned(self, step: int) -> Trials:
        """Every step-th pair and level, for searches."""
        part = (slice(None, None, step),) * self.levels.ndim
        return Trials(self.gammas[::step], self.ks[::step], self.levels[part], self.overlaps[part])


NO_TRIALS = Trials(np.empty(0), np.empty(0), np.empty(0), np.empty(0))


def best_beta(trials: Trials, least_k: float) -> float:
    """The factor beta with the smallest abar."""
    return refined_beta(trials, _BETAS / max(least_k, 1e-12))


def refined_beta(trials: Trials, betas: Array) -> float:
    """The best of increasing factors beta, refined."""
    for _ in range(_ROUNDS):
        reached = trials.reached(betas)
        at = int(np.argmin([trials.best(float(b), reached)[0] for b in betas]))
        low, high = betas[max(at - 1, 0)], betas[min(at + 1, len(betas) - 1)]
        found, betas = betas[at], np.geomspace(low, high, 15)
    return float(found)

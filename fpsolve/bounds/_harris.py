"""Harris' theorem with quantitative constants (Hairer and Mattingly): a contraction from drift and overlap, certain or
not, of one kernel, of a chain with one beta for all blocks, and for every level R of the localization set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve._checks import flag, instances
from fpsolve.bounds._dobrushin import _stochastic, certain, default_levels, increasing, matrix_overlaps
from fpsolve.bounds._drift import closed_trials, searched
from fpsolve.bounds._lyapunov import (
    BOX_ONLY,
    GAMMAS,
    HELD_DETAIL,
    INSIDE,
    Region,
    TradeOff,
    floor,
    height,
    looked_at,
    quadratic,
)
from fpsolve.bounds._record import (
    NO_TRIALS,
    STATEMENT,
    Harris,
    Hypothesis,
    Record,
    Trials,
    best_beta,
    failure,
    record,
    refined_beta,
)
from fpsolve.bounds._whole_line import Line, trade_off
from fpsolve.kernels import Kernel
from fpsolve.weights import WeightLike

Array = NDArray[np.float64]

#: What no grid can check.
UNCHECKED = ("P V <= gamma V + K beyond the box", "points between cell centres", "densities within cells")
#: Levels R that the box holds.
_LEVELS = 1200
#: Levels from the least admissible one up, in units of it; for many components every third.
_UP = np.geomspace(1.0, 1e3, 151)
_MANY = 30
#: Levels tried around the best one.
_FINE, _WIDER = 41, 3


@dataclass(frozen=True, eq=False)
class Sharp:
    """A kernel analysed on its grid and, where it is known in closed form, on the whole space.

    Attributes
    ----------
    kernel : Kernel
    weight : Weight or callable
    held : float
        The largest level of V whose sublevel set the box holds.
    trade : TradeOff
        gamma against K: on the whole line where that is known, else on the box.
    line : Line or None
    trials : Trials
        With overlaps of rows of the matrix, and no larger than what is certain on the line.
    others : tuple of Trials
        Constants that do not need the grid.
    usable : bool
        Whether the box holds what some sources send.
    """

    kernel: Kernel
    weight: WeightLike
    held: float
    trade: TradeOff
    line: Line | None
    trials: Trials
    others: tuple[Trials, ...]
    usable: bool = True

    @classmethod
    def of(cls, kernel: Kernel, weight: WeightLike) -> Sharp:
        """Pull V back once and compare all pairs of rows once."""
        v, region, line = height(weight, kernel.grid), Region.of(kernel, weight), Line.of(kernel, weight)
        held, trade = region.held(v), trade_off(kernel, weight, v, region, line)
        if not region.usable:
            return cls(kernel, weight, held, trade, line, NO_TRIALS, (), False)
        within = up = NO_TRIALS
        gammas, ks = trade.gammas[trade.admissible], trade.ks[trade.admissible]
        if ks.size and held > 0.0:
            low = min(2.0 * float(np.min(ks)), held)
            levels = np.geomspace(max(low, 1e-6 * held), held, _LEVELS)
            within = Trials(gammas, ks, levels, overlap_within(kernel, weight, levels, line))
        if line is not None and ks.size:
            least = float(np.min(2.0 * ks / (1.0 - gammas)))
            levels = max(least, 1e-12) * (_UP if line.posterior.gains.size <= _MANY else _UP[::3])
            up = Trials(gammas, ks, levels, line.overlaps(levels))
        # constants by Young's inequality
        reverse, shape = kernel.exact_of, quadratic(weight, kernel.grid.dim)
        known = reverse is not None and reverse.exact and not callable(reverse.eta) and reverse.eta == 1.0
        found = closed_trials(reverse, kernel.t0, kernel.t1, shape) if known and reverse and shape is not None else None
        closed = NO_TRIALS if found is None else found
        return cls(kernel, weight, held, trade, line, within, (closed,) if line is None else (up, closed))

    @property
    def certain(self) -> bool:
        """Whether some constants hold on the whole space."""
        return self.line is not None or any(trials.gammas.size for trials in self.others)

    def _sets(self) -> tuple[Trials, ...]:
        """Trials that certify, or those of the box where there are none."""
        own = (self.trials,) if self.line is not None else ()
        return (*own, *self.others) if self.certain else (self.trials,)

    def best(self, beta: float, step: int = 1) -> float:
        """Smallest abar in the weight ``1 + beta V`` that certifies; infinite where there is none below 1."""
        if not self.certain:
            return np.inf
        abar = min(trials.thinned(step).best(beta)[0] for trials in self._sets())
        return abar if abar < 1.0 else np.inf

    def best_on_box(self, beta: float, step: int = 1) -> float:
        """The same, numbers that hold on the box only included."""
        return min(trials.thinned(step).best(beta)[0] for trials in self._sets())

    def best_beta(self) -> float:
        """The factor on V with the smallest abar, of the constants that `record` takes."""
        ks, sets = self.trade.ks[self.trade.admissible], self._sets()
        if not ks.size:
            return 1.0
        betas = [best_beta(trials, float(np.min(ks))) for trials in sets]
        bests = [trials.best(beta) for trials, beta in zip(sets, betas, strict=True)]
        at = int(np.argmin([found[0] for found in bests]))
        if not np.isfinite(bests[at][0]) or sets[at].levels.ndim == 2:
            return betas[at]
        # levels between those tried move the best beta a little
        finer = self._around(sets[at], bests[at][2], at == 0 and self.line is not None, _WIDER)
        return refined_beta(finer, betas[at] * np.geomspace(0.8, 1.25, 101))

    def record(self, beta: float) -> Harris:
        """The best contraction in the weight ``1 + beta V``, and why it is none."""
        abar, constants, own = self._refined(beta)
        times, found = (self.kernel.t0, self.kernel.t1), np.isfinite(abar)
        if self.line is None and not (self.others and self.certain):
            return record(abar, beta, constants, self._on_box(constants), UNCHECKED, times, self._why_not(abar))
        checked: tuple[Hypothesis, ...] = (_stochastic(self.kernel),)
        if self.line is not None and constants is not None and not own:
            known = self.line.drift_holds(*constants[:2]), self.line.overlap_holds(*constants[2:])
            checked = (*known, self._holds(constants[2]), *checked)
        reason = "" if found else self._why_not(abar)
        unchecked = looked_at(self.weight) if self.line is None else self.line.unchecked
        return record(abar, beta, constants, checked, unchecked, times, reason)

    def _refined(self, beta: float) -> tuple[float, tuple[float, ...] | None, bool]:
        """abar, its constants and whether they are those of the closed form by Young's inequality."""
        sets: Sequence[Trials] = self._sets()
        bests = [trials.best(beta) for trials in sets]
        at = int(np.argmin([found[0] for found in bests]))
        abar, n, m = bests[at]
        if not np.isfinite(abar):
            return abar, None, False
        own = self.line is None or at == 2
        if own:
            return abar, sets[at].constants(n, m), True
        finer = self._around(sets[at], m, at == 0)
        again, i, j = finer.best(beta)
        return (again, finer.constants(i, j), False) if again < abar else (abar, sets[at].constants(n, m), False)

    def _around(self, trials: Trials, m: int, within: bool, reach: int = 1) -> Trials:
        """Levels between the neighbours of a level, `reach` away."""
        low, high = trials.levels[max(m - reach, 0)], trials.levels[min(m + reach, trials.levels.size - 1)]
        levels = np.geomspace(low, high, _FINE * reach)
        if within or self.line is None:
            overlaps = overlap_within(self.kernel, self.weight, levels, self.line)
        else:
            overlaps = self.line.overlaps(levels)
        return Trials(trials.gammas, trials.ks, levels, overlaps)

    def _holds(self, level: float) -> Hypothesis:
        if level > self.held:
            return Hypothesis("the box contains {V <= R}", 0.0, "not needed: the overlap at R is in closed form")
        return Hypothesis("the box contains {V <= R}", self.held - level, HELD_DETAIL)

    def _on_box(self, constants: tuple[float, ...] | None) -> tuple[Hypothesis, ...]:
        best = self.trade.best()
        margin = self.trade.margin(best)
        level = self.held if constants is None else constants[2]
        return (
            Hypothesis(INSIDE, margin, f"K is the maximum over cells, as far as V = {self.held:.4g}"),
            self._holds(min(level, self.held)),
            _stochastic(self.kernel),
        )

    def _why_not(self, abar: float) -> str:
        """Why there is no certificate, and what would help; empty where abar and the hypotheses tell."""
        if not self.usable:
            half = None if self.line is None else self.line.half_width()
            width = "" if half is None else f", to [-{half:.3g}, {half:.3g}] say"
            return f"the box is too small: its ends matter to sources of every level of V; widen it{width}"
        if self.line is not None and not self.trade.admissible.any():
            return self.line.no_drift()
        if not self.certain:
            shown = f"abar = {abar:.6g} there" if np.isfinite(abar) else "no gamma < 1 and R > 2K/(1 - gamma) there"
            return f"{BOX_ONLY}; {shown}"
        return ""


def overlap_within(kernel: Kernel, weight: WeightLike, levels: Array, line: Line | None) -> Array:
    """a'' from the rows of the matrix, and no more than what is certain on the line."""
    from fpsolve.bounds import _pairs

    found = 1.0 - _pairs.distance_by_level(kernel.matrix, floor(weight, kernel.grid), levels)
    return found if line is None else line.at_most(found, levels)


def harris(kernel: Kernel, *, weight: WeightLike = None, optimise: bool | None = None) -> Harris:
    r"""Return the contraction that Harris' theorem gives a kernel, with its sharp constants.

    With V = weight - 1, ``P V <= gamma V + K`` and the overlap ``a'' = inf_{V(x) + V(y) <= R} (1 - TV(P(x), P(y)))``
    for some ``R > 2K/(1 - gamma)``,

    .. math:: \rho_\beta(\mu P, \nu P) \le \bar a(\beta)\, \rho_\beta(\mu, \nu), \qquad
              \bar a(\beta) = \max\Big\{1 - a'' + \beta K,\; \gamma,\;
              \frac{2 + \beta(\gamma R + 2K)}{2 + \beta R}\Big\},

    in the norm ``\rho_\beta`` with weight ``1 + \beta V``. Every gamma below 1 with its smallest K, and every R, is
    tried; the best is returned. The same beta on every block makes the product a bound for a run.

    The theorem is about all laws on the line, so its hypotheses are checked on all of it: that is possible for exact
    kernels of Gaussian mixtures on the line with built-in weights (or functions ``c0 + c1 |x|^2``), where P V and the
    rows are closed forms; in the plane with the constants of `harris_closed_form`. Of any other kernel or weight only
    the part in the box is known: `value` is then None, and `abar` the number of that part.

    Parameters
    ----------
    kernel : Kernel
        Use ``source="point"`` for transitions from points.
    weight : Weight or callable, optional
        ``1 + beta V`` as it stands, default ``1 + |x|^2``.
    optimise : bool, optional
        Search the factor beta as well; the contraction is then in the weight ``1 + beta (weight - 1)``, `beta` in the
        record. Default: only where there is no certificate in the weight as given.

    Returns
    -------
    Harris
        `value` is None, "no certificate", where abar is not below 1, or a hypothesis fails or could not be checked on
        the whole line: `reason` says which and what would help.

    Raises
    ------
    ValueError
        A weight below 1.

    References
    ----------
    Hairer and Mattingly 2011, doi:10.1007/978-3-0348-0021-1_7, Theorem 1.3.

    Examples
    --------
    >>> import fpsolve as fp
    >>> from fpsolve import kernels
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=3.0))
    >>> kernel = kernels.exact(reverse, fp.Grid.uniform((-10, 10), cells=200), 3.0, 0.1, source="point")
    >>> found = harris(kernel, weight=fp.PolynomialWeight(2, 0.1))
    >>> 0.0 < found.value < 1.0
    True
    """
    instances(kernel=(kernel, Kernel))
    flag("optimise", optimise, optional=True)
    return searched(Sharp.of(kernel, weight), optimise)


#: Factors beta on V that are tried; 1 is the weight as given.
BETAS = np.append(1.0, np.geomspace(1e-4, 10.0, 31))
#: Every so many trial gammas and levels are used while beta is searched.
_COARSE = 4


class Block(Protocol):
    """A block for which a contraction is known for every factor on V."""

    def best(self, beta: float, step: int = 1) -> float:
        """The smallest factor in the weight ``1 + beta V``; infinite where there is none below 1."""

    def record(self, beta: float) -> Harris:
        """The best contraction in the weight ``1 + beta V``."""


@dataclass(frozen=True, eq=False)
class Chain:
    """The kernels between neighbouring boundaries, and from the first boundary to each, analysed.

    Attributes
    ----------
    blocks, whole : sequences of Sharp, Closed or Proved, one for each boundary but the first
    """

    blocks: Sequence[Block]
    whole: Sequence[Block]

    def factors(self, betas: Array = BETAS) -> tuple[Array, Array]:
        """Factors on the initial distance at the boundaries in the weight 1 + V, and the beta behind each.

        A contraction in the weight ``1 + beta V`` costs ``max(beta, 1/beta)`` in that of ``1 + V``. At each boundary
        the best beta is taken, and the better of one block from the start and of a chain that ends with the last block.
        NaN where there is no certificate.
        """
        costs = np.maximum(betas, 1.0 / betas)
        rough = np.stack([c * self._products(float(b), _COARSE) for b, c in zip(betas, costs, strict=True)])
        chosen = betas[np.argmin(rough, axis=0)]
        exact = {b: max(b, 1.0 / b) * self._products(b, 1) for b in {float(b) for b in chosen} | {1.0}}
        values = np.array([min(exact[float(b)][n], exact[1.0][n]) for n, b in enumerate(chosen)])
        used = np.where(values == exact[1.0], 1.0, chosen)
        found = np.isfinite(values)
        return np.where(found, values, np.nan), np.where(found, used, np.nan)

    def _products(self, beta: float, step: int) -> Array:
        """Contractions from the start to every boundary for one beta, infinite without certificate; 1 at the start."""
        products = [1.0]
        for block, whole in zip(self.blocks, self.whole, strict=True):
            products.append(min(whole.best(beta, step), products[-1] * block.best(beta, step)))
        return np.array(products)


@dataclass(frozen=True, eq=False, kw_only=True)
class Localization(Record):
    """Harris' contraction as a function of the level R of the localization set; see `localization`.

    Attributes
    ----------
    value : float or None
        Smallest abar over the levels that the box holds, where it is below 1 and its hypotheses are known on the whole
        line (see `harris`).
    level : float
        R where it is attained; NaN where no level has one.
    held : float
        The largest level whose set ``{V <= R}`` the box holds: beyond it nothing is certified.
    levels, commons, pairwise : arrays, shape (n,)
        R, a and a''.
    abar, abar_common : arrays, shape (n,)
        The best abar at R over all pairs (gamma, K), with a'' and with a in its place; NaN where R is not above
        ``2K/(1 - gamma)`` for any of them, or beyond `held`.
    unguarded : array, shape (n,)
        The number that one gets from the matrix alone, at every R and with K from all cells, those at the ends of the
        box included: what a box that is too small would make one believe. No certificate.
    """

    level: float
    held: float
    levels: Array = field(repr=False)
    commons: Array = field(repr=False)
    pairwise: Array = field(repr=False)
    abar: Array = field(repr=False)
    abar_common: Array = field(repr=False)
    unguarded: Array = field(repr=False)


def localization(kernel: Kernel, *, weight: WeightLike = None, levels: ArrayLike | None = None) -> Localization:
    r"""Return what Harris' theorem gives a kernel for every localization set ``{V <= R}``, V = weight - 1.

    A small set overlaps well but must hold what the drift sends back, ``R > 2K/(1 - gamma)``; a large one is easily
    returned to but its far ends share nothing: abar(R) has a minimum in between, which `harris` returns.

    Parameters
    ----------
    kernel : Kernel
        Use ``source="point"`` for transitions from points.
    weight : Weight or callable, optional
        ``1 + beta V`` as it stands, default ``1 + |x|^2``.
    levels : array, optional
        R, increasing; default 60 from the smallest pair of cells to what the box holds.

    Returns
    -------
    Localization

    Raises
    ------
    ValueError
        Levels that do not increase, a weight below 1.

    References
    ----------
    Hairer and Mattingly 2011, doi:10.1007/978-3-0348-0021-1_7, Theorem 1.3.

    Examples
    --------
    >>> import fpsolve as fp
    >>> from fpsolve import kernels
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=3.0))
    >>> kernel = kernels.exact(reverse, fp.Grid.uniform((-10, 10), cells=200), 3.0, 0.1, source="point")
    >>> found = localization(kernel, weight=fp.PolynomialWeight(2, 0.1))
    >>> bool(found.value <= np.nanmin(found.abar_common)), bool(found.level <= found.held)
    (True, True)
    """
    instances(kernel=(kernel, Kernel))
    v, region, line = height(weight, kernel.grid), Region.of(kernel, weight), Line.of(kernel, weight)
    held = region.held(v)
    pulled = kernel.markov.pull(height(weight, kernel.target).reshape(kernel.target.shape)).ravel()
    curve = default_levels(v, held) if levels is None else increasing(levels)
    bare = matrix_overlaps(kernel, weight, curve)
    pairwise, commons = certain(line, curve, bare)
    trade = trade_off(kernel, weight, v, region, line)
    ok, within = trade.admissible, curve <= held
    best, with_common = (
        np.where(within, _best(trade.gammas[ok], trade.ks[ok], curve, overlap), np.nan)
        for overlap in (pairwise, commons)
    )
    excess = pulled - np.multiply.outer(GAMMAS, v)
    at = int(np.nanargmin(best)) if np.isfinite(best).any() else None
    smallest = np.inf if at is None else float(best[at])
    checked = (
        Hypothesis("some level within the box has a drift", float(held) if at is not None else -1.0, HELD_DETAIL),
        _stochastic(kernel),
        Hypothesis("abar is below 1", 1.0 - smallest if smallest < 1.0 else min(1.0 - smallest, -1e-300)),
    )
    reason = failure(checked)
    if line is None and not reason:
        reason = f"{BOX_ONLY}; abar = {smallest:.6g} there"
    return Localization(
        value=None if reason else smallest,
        statement=STATEMENT,
        checked=checked,
        unchecked=UNCHECKED if line is None else line.unchecked,
        reason=reason,
        level=float("nan") if at is None else float(curve[at]),
        held=held,
        levels=curve,
        commons=commons,
        pairwise=pairwise,
        abar=best,
        abar_common=with_common,
        unguarded=_best(GAMMAS, np.maximum(excess.max(axis=1), 0.0), curve, bare[0]),
    )


def _best(gammas: Array, ks: Array, levels: Array, overlaps: Array) -> Array:
    """Smallest abar over the pairs at every level; NaN where none is admissible."""
    if gammas.size == 0:
        return np.full(levels.shape, np.nan)
    found = Trials(gammas, ks, levels, overlaps).abar(1.0).min(axis=0)
    return np.where(np.isfinite(found), found, np.nan)

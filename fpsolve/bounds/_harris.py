"""Harris' theorem with quantitative constants (Hairer and Mattingly): a contraction from drift and overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve.bounds import _closed
from fpsolve.bounds._dobrushin import _stochastic
from fpsolve.bounds._drift import closed_constants
from fpsolve.bounds._lyapunov import HELD_DETAIL, INSIDE, INSIDE_DETAIL, Region, TradeOff, floor, height, quadratic
from fpsolve.bounds._record import Hypothesis, Record, failure
from fpsolve.bounds._times import block
from fpsolve.kernels import Kernel
from fpsolve.weights import WeightLike

if TYPE_CHECKING:
    from fpsolve.dynamics import Reverse

Array = NDArray[np.float64]

STATEMENT = (
    "Hairer and Mattingly 2011, Theorem 1.3 with the pairwise overlap a'': abar(beta) = "
    "max{1 - a'' + beta K, gamma, (2 + beta (gamma R + 2K))/(2 + beta R)}, R > 2K/(1 - gamma)"
)
#: What no grid can check.
UNCHECKED = ("P V <= gamma V + K beyond the box", "points between cell centres", "densities within cells")
#: Levels R that are tried.
_LEVELS = 1200
#: Levels beyond what the box holds, in units of that.
_FURTHER = np.geomspace(1.0, 1e6, 301)[1:]
#: Trial values of beta, in units of 1/K, and rounds of refinement around the best.
_BETAS = np.geomspace(1e-5, 1e2, 71)
_ROUNDS = 3
#: Shares of the dissipativity constant that are tried in closed form.
_SHARES = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True, eq=False, kw_only=True)
class Harris(Record):
    """A contraction from Harris' theorem; V = weight - 1. See `harris`.

    Attributes
    ----------
    value : float or None
        abar where it is below 1 and every hypothesis holds.
    abar : float
        The number itself, whatever it is; NaN where no R is admissible.
    beta : float
        Factor on V: the contraction is in the weight ``1 + beta V``; 1 unless optimised.
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

    def best(self, beta: float) -> tuple[float, int, int]:
        """Smallest abar and where."""
        if self.gammas.size == 0 or self.levels.size == 0:
            return np.inf, -1, -1
        table = self.abar(beta)
        n, m = np.unravel_index(int(np.argmin(table)), table.shape)
        return float(table[n, m]), int(n), int(m)

    def constants(self, n: int, m: int) -> tuple[float, float, float, float]:
        """gamma, K, R and a'' of a pair and a level."""
        row = n if self.levels.ndim == 2 else 0
        levels, overlaps = np.atleast_2d(self.levels), np.atleast_2d(self.overlaps)
        return float(self.gammas[n]), float(self.ks[n]), float(levels[row, m]), float(overlaps[row, m])

    def thinned(self, step: int) -> Trials:
        """Every step-th pair and level, for searches."""
        part = (slice(None, None, step),) * self.levels.ndim
        return Trials(self.gammas[::step], self.ks[::step], self.levels[part], self.overlaps[part])

    def best_beta(self) -> float:
        """The factor beta with the smallest abar: a logarithmic grid, refined."""
        if self.gammas.size == 0:
            return 1.0
        betas = _BETAS / max(float(np.min(self.ks)), 1e-12)
        for _ in range(_ROUNDS):
            at = int(np.argmin([self.best(b)[0] for b in betas]))
            low, high = betas[max(at - 1, 0)], betas[min(at + 1, len(betas) - 1)]
            found, betas = betas[at], np.geomspace(low, high, 15)
        return float(found)


NO_TRIALS = Trials(np.empty(0), np.empty(0), np.empty(0), np.empty(0))


def harris(kernel: Kernel, *, weight: WeightLike = None, optimise: bool = False) -> Harris:
    r"""Return the contraction that Harris' theorem gives a kernel, with its sharp constants on the grid.

    With V = weight - 1, ``P V <= gamma V + K`` and the overlap ``a'' = inf_{V(x) + V(y) <= R} (1 - TV(P(x), P(y)))``
    for some ``R > 2K/(1 - gamma)``,

    .. math:: \rho_\beta(\mu P, \nu P) \le \bar a(\beta)\, \rho_\beta(\mu, \nu), \qquad
              \bar a(\beta) = \max\Big\{1 - a'' + \beta K,\; \gamma,\;
              \frac{2 + \beta(\gamma R + 2K)}{2 + \beta R}\Big\},

    in the norm ``\rho_\beta`` with weight ``1 + \beta V``. Every gamma below 1 with its smallest K, and every R that
    the box holds, is tried; the best is returned. The same beta on every block makes the product a bound for a run.

    Parameters
    ----------
    kernel : Kernel
        Use ``source="point"`` for transitions from points.
    weight : Weight or callable, optional
        ``1 + beta V`` as it stands, default ``1 + |x|^2``.
    optimise : bool
        Search the factor beta as well; the contraction is then in the weight ``1 + beta (weight - 1)``.

    Returns
    -------
    Harris
        `value` is None, "no certificate", where abar is not below 1 or a hypothesis fails.

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
    found = Sharp.of(kernel, weight)
    return found.record(found.trials.best_beta() if optimise else 1.0)


@dataclass(frozen=True, eq=False)
class Sharp:
    """A kernel analysed on its grid: every constant that Harris' theorem could use.

    Attributes
    ----------
    kernel : Kernel
    v : array
        V at the sources.
    trade : TradeOff
    held : float
        The largest level of V whose sublevel set the box holds.
    trials : Trials
    """

    kernel: Kernel
    v: Array
    trade: TradeOff
    held: float
    trials: Trials

    @classmethod
    def of(cls, kernel: Kernel, weight: WeightLike, reverse: Reverse | None = None) -> Sharp:
        """Pull V back once and compare all pairs of rows once.

        With `reverse`, levels that the box does not hold are tried too, with the overlap in closed form where there is
        one: what is certified without any grid is then certified here as well.
        """
        from fpsolve.bounds import _pairs

        v, region = height(weight, kernel.grid), Region.of(kernel, weight)
        pulled = kernel.markov.pull(height(weight, kernel.target).reshape(kernel.target.shape)).ravel()
        trade, held = TradeOff.of(pulled, v, region), region.held(v)
        ok = trade.admissible
        if not ok.any() or held <= 0.0:
            return cls(kernel, v, trade, held, NO_TRIALS)
        low = min(2.0 * float(np.min(trade.ks[ok])), held)
        levels = np.geomspace(max(low, 1e-6 * held), held, _LEVELS)
        overlaps = 1.0 - _pairs.distance_by_level(kernel.matrix, floor(weight, kernel.grid), levels)
        beyond = held * _FURTHER
        further = None if reverse is None else _closed_overlap(reverse, kernel.t0, kernel.t1, weight, beyond)
        if further is not None:
            levels, overlaps = np.append(levels, beyond), np.append(overlaps, further)
        return cls(kernel, v, trade, held, Trials(trade.gammas[ok], trade.ks[ok], levels, overlaps))

    def record(self, beta: float) -> Harris:
        """The best contraction in the weight ``1 + beta V``."""
        abar, n, m = self.trials.best(beta)
        found = np.isfinite(abar)
        inside = self.trade.margin(int(np.flatnonzero(self.trade.admissible)[n]) if n >= 0 else self.trade.best())
        level = float(self.trials.levels[m]) if found else self.held
        checked = (
            Hypothesis(INSIDE, inside, INSIDE_DETAIL),
            self._holds(level),
            _stochastic(self.kernel),
        )
        constants = self.trials.constants(n, m) if found else None
        return record(abar, beta, constants, checked, UNCHECKED, (self.kernel.t0, self.kernel.t1))

    def _holds(self, level: float) -> Hypothesis:
        if level > self.held:
            return Hypothesis("the box contains {V <= R}", 0.0, "not needed: the overlap at R is in closed form")
        return Hypothesis("the box contains {V <= R}", self.held - level, HELD_DETAIL)


def harris_closed_form(
    reverse: Reverse, t0: float, t1: float, *, weight: WeightLike = None, optimise: bool = False
) -> Harris:
    r"""Return the contraction that Harris' theorem gives a block with constants in closed form, without any grid.

    For the exact score of a Gaussian mixture, eta = 1 and ``weight = 1 + c0 + c1 |x|^2``: gamma and K from the
    dissipativity of the target, carried through the block; a'' from the fact that the rows of Bayes' kernel are
    exponential tilts of one another, ``KL(P(x, .)|P(y, .)) <= |x - y|^2 (L + 1/sigma2(t1, t0))/2`` with L the largest
    slope of the score at t0, and ``|x - y|^2 <= 2 (|x|^2 + |y|^2)``.

    Parameters
    ----------
    reverse : Reverse
    t0, t1 : float
        Forward times, ``t0 > t1``.
    weight : Weight or callable, optional
        Default ``1 + |x|^2``.
    optimise : bool
        Search the factor beta on V = weight - 1 as well.

    Returns
    -------
    Harris
        `value` is None where there is no closed form or abar is not below 1.

    Raises
    ------
    ValueError
        Times out of order or range, a weight below 1.

    References
    ----------
    Hairer and Mattingly 2011, doi:10.1007/978-3-0348-0021-1_7; Bretagnolle and Huber 1979, doi:10.1007/BF00535268.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[0.5, 0.5]), fp.VP())
    >>> 0.0 < harris_closed_form(reverse, 1.0, 0.3, optimise=True).value < 1.0
    True
    """
    found = Closed.of(reverse, *block(reverse, t0, t1), weight)
    return found.record(found.trials.best_beta() if optimise else 1.0)


@dataclass(frozen=True, eq=False)
class Closed:
    """A block analysed in closed form.

    Attributes
    ----------
    t0, t1 : float
    trials : Trials
    known : bool
        Whether there are closed forms at all.
    """

    t0: float
    t1: float
    trials: Trials
    known: bool

    @classmethod
    def of(cls, reverse: Reverse, t0: float, t1: float, weight: WeightLike) -> Closed:
        """One pair (gamma, K) per share of the dissipativity constant, and levels from the least admissible one up."""
        shape = quadratic(weight, reverse.dim)
        bayes = reverse.exact and reverse.eta == 1.0
        trials = closed_trials(reverse, t0, t1, shape) if bayes and shape is not None else None
        return cls(float(t0), float(t1), NO_TRIALS if trials is None else trials, trials is not None)

    def record(self, beta: float) -> Harris:
        """The best contraction in the weight ``1 + beta V``."""
        if not self.known:
            needs = "closed-form constants need a Gaussian mixture, its exact score, eta = 1 and V = c0 + c1 |x|^2"
            return record(np.inf, beta, None, (Hypothesis(needs, -1.0),), (), (self.t0, self.t1))
        abar, n, m = self.trials.best(beta)
        constants = self.trials.constants(n, m) if np.isfinite(abar) else None
        return record(abar, beta, constants, (), (), (self.t0, self.t1))


def closed_trials(reverse: Reverse, t0: float, t1: float, shape: tuple[float, float]) -> Trials | None:
    """Constants of a block in closed form: one pair (gamma, K) per share of the dissipativity constant."""
    pairs = [closed_constants(reverse, t0, t1, shape, float(share)) for share in _SHARES]
    found = np.array([p for p in pairs if p is not None])
    if len(found) == 0:
        return None
    gammas, ks = found[found[:, 0] < 1.0].T
    least = np.maximum(2.0 * ks / (1.0 - gammas), 2.0 * shape[0])
    levels = least[:, None] * (1.0 + np.geomspace(1e-3, 1e3, 200))
    overlaps = _overlap_at(reverse, t0, t1, shape, levels)
    return None if overlaps is None else Trials(gammas, ks, levels, overlaps)


def _overlap_at(reverse: Reverse, t0: float, t1: float, shape: tuple[float, float], levels: Array) -> Array | None:
    """Lower bound of a'' at levels of ``V = c0 + c1 |x|^2``: ``|x - y|^2 <= 2 (|x|^2 + |y|^2) <= 2 (R - 2 c0)/c1``."""
    square = 2.0 * np.maximum(levels - 2.0 * shape[0], 0.0) / shape[1]
    return _closed.overlap(reverse.marginal(t0), float(reverse.process.variance(t1, t0)), square)


def _closed_overlap(reverse: Reverse, t0: float, t1: float, weight: WeightLike, levels: Array) -> Array | None:
    """The same for any weight; None where there is no closed form."""
    shape = quadratic(weight, reverse.dim)
    if shape is None or not reverse.exact or reverse.eta != 1.0:
        return None
    return _overlap_at(reverse, t0, t1, shape, levels)


def record(
    abar: float,
    beta: float,
    constants: tuple[float, ...] | None,
    checked: tuple[Hypothesis, ...],
    unchecked: tuple[str, ...],
    times: tuple[float, float],
) -> Harris:
    """Make the record; a certificate needs every hypothesis and abar < 1."""
    reason = failure(checked)
    if not reason and constants is None:
        reason = "no gamma < 1 and R > 2K/(1 - gamma) within the box"
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

"""Does one number put things in the order of another? Spearman's rank correlation with a bootstrap interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks

Array = NDArray[np.float64]

#: Fewer pairs than this have no interval worth the name.
MINIMUM_PAIRS = 10
#: Below this rank variance a resample has next to no ranks.
_TIED = 1e-12


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation of pairs, see `rank_correlation`.

    Attributes
    ----------
    value : float
        In [-1, 1]; 1 where the two orders agree.
    low, high : float
        Ends of the percentile interval of the bootstrap.
    level : float
        Its coverage, nominally.
    pairs, resamples, seed : int
    """

    value: float
    low: float
    high: float
    level: float
    pairs: int
    resamples: int
    seed: int

    def __str__(self) -> str:
        """Return ``value [low, high]`` to two digits."""
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def rank_correlation(
    first: ArrayLike, second: ArrayLike, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> RankCorrelation:
    """Return Spearman's rank correlation of pairs and its bootstrap interval.

    Pairs are resampled with replacement; ties, which resampling makes, share their mean rank.

    Parameters
    ----------
    first, second : array_like, shape (pairs,)
        At least ten pairs of finite numbers, in each not all the same.
    seed : int
        Of the resampling.
    resamples : int
    level : float
        In (0, 1).

    Raises
    ------
    ValueError
        Fewer pairs, unequal lengths, numbers that are not finite or all the same up to rounding.

    References
    ----------
    Spearman 1904, doi:10.2307/1412159; Efron and Tibshirani 1993, An introduction to the bootstrap, chapter 13.

    Examples
    --------
    >>> x = np.arange(40.0)
    >>> found = rank_correlation(x, np.exp(x) * (-1.0) ** (x < 3), seed=0)
    >>> found.value > 0.9 and found.low < found.value < found.high
    True
    """
    given = [_checks.finite_array("first", first), _checks.finite_array("second", second)]
    if given[0].shape != given[1].shape:
        got = f"shapes {given[0].shape} and {given[1].shape}"
        raise _checks.error("first, second", "two vectors of one length", got)
    pairs = np.stack(given)
    if pairs.ndim != 2 or pairs.shape[1] < MINIMUM_PAIRS:
        raise _checks.error("first, second", f"two vectors of at least {MINIMUM_PAIRS} numbers", f"shape {pairs.shape}")
    if not np.all(_checks.varies(pairs, axis=1)):
        raise _checks.error("first, second", "numbers that differ", "one that is the same everywhere")
    _checks.interval("level", level, 0.0, 1.0, ends="()")
    count = _checks.integer("resamples", resamples)
    n = pairs.shape[1]
    chosen = np.random.default_rng(_checks.integer("seed", seed, minimum=0)).integers(0, n, (count, n))
    spread = _spearman(pairs[0][chosen], pairs[1][chosen])
    low, high = np.nanquantile(spread, [0.5 - 0.5 * level, 0.5 + 0.5 * level])
    return RankCorrelation(
        value=float(_spearman(pairs[:1], pairs[1:])[0]),
        low=float(low),
        high=float(high),
        level=float(level),
        pairs=n,
        resamples=count,
        seed=seed,
    )


def _spearman(first: Array, second: Array) -> Array:
    """Correlation of the ranks along the last axis; NaN where all ranks are tied."""
    from scipy.stats import rankdata

    a, b = (rankdata(values, axis=-1) for values in (first, second))
    a, b = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (a, b))
    power = (a**2).sum(axis=-1) * (b**2).sum(axis=-1)
    tied = power < _TIED
    return np.where(tied, np.nan, (a * b).sum(axis=-1) / np.sqrt(np.where(tied, 1.0, power)))

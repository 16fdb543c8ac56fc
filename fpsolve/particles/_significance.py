"""The three tests of agreement and their levels: arrays in, p-values out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ChiSquare:
    """Multinomial chi-square on merged cells: statistic, degrees of freedom, p-value, critical value."""

    statistic: float
    dof: int
    p_value: float
    critical: float


def smallest_expected(n: int) -> float:
    """Expected count up to which cells are merged: 5, and no more than about ``2 n^(2/5)`` cells.

    Five keeps the bulk of the statistic chi-square distributed; at the small levels of a stated overall
    false-alarm rate its tail counts, and with thousands of cells of expected count 5 the variance of the
    statistic is a tenth too large. ``2 n^(2/5)`` cells also lose no power against smooth differences.

    References
    ----------
    Mann, H. B. and Wald, A. (1942), doi:10.1214/aoms/1177731569.
    """
    return max(5.0, 0.5 * math.pow(n, 0.6))


def merge(expected: Array, smallest: float) -> npt.NDArray[np.int64]:
    """First indices of runs of cells that expect ``smallest`` or more each; the rest joins the last run."""
    # Solvers may leave cells of -1e-14: only the search needs a sorted array, the sums are taken as they are.
    cumulative = np.maximum.accumulate(np.cumsum(expected))
    firsts, reached = [0], 0.0
    while True:
        nxt = int(np.searchsorted(cumulative, reached + smallest)) + 1
        if nxt >= expected.size or cumulative[-1] - cumulative[nxt - 1] < smallest:
            return np.array(firsts, dtype=np.int64)
        firsts.append(nxt)
        reached = float(cumulative[nxt - 1])


def morton_order(shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Order of the cells of a 2D grid along Morton's curve: merged runs are compact blocks, not strips.

    References
    ----------
    Morton, G. M. (1966). A computer oriented geodetic data base. IBM Ottawa.
    """
    i, j = np.meshgrid(*(np.arange(n, dtype=np.int64) for n in shape), indexing="ij")
    code = np.zeros(shape, dtype=np.int64)
    for bit in range(max(shape).bit_length()):
        code |= ((i >> bit) & 1) << (2 * bit + 1) | ((j >> bit) & 1) << (2 * bit)
    return np.asarray(np.argsort(code.ravel()), dtype=np.int64)


def chi_square(counts: Array, probability: Array, slack: Array, n: int, level: float, smallest: float) -> ChiSquare:
    """Pearson's statistic ``sum (N_i - n p_i)^2 / (n p_i)`` on merged cells.

    ``slack`` is the grid's own error of every probability: it makes the reference a non-central chi-square
    with non-centrality ``n sum slack_i^2 / p_i``. All arrays are (cells,), ordered so that neighbours may
    be merged. Where one cell is left there is nothing to compare, and the p-value is NaN.

    References
    ----------
    Pearson, K. (1900), doi:10.1080/14786440009463897; Cochran, W. G. (1952), doi:10.1214/aoms/1177729380.
    """
    firsts = merge(n * probability, smallest)
    expected = n * np.add.reduceat(probability, firsts)
    observed = np.add.reduceat(counts, firsts)
    error = n * np.add.reduceat(slack, firsts)
    dof = firsts.size - 1
    if dof == 0:
        # one cell holds all: there is nothing to compare
        return ChiSquare(0.0, 0, math.nan, math.nan)
    statistic = float(np.sum((observed - expected) ** 2 / expected))
    off_centre = float(np.sum(error**2 / expected))
    sf, critical = chi_square_tail(statistic, dof, off_centre, level)
    return ChiSquare(statistic, dof, sf, critical)


def chi_square_tail(statistic: float, dof: int, off_centre: float, level: float) -> tuple[float, float]:
    """Survival function at ``statistic`` and quantile of tail ``level`` of a non-central chi-square.

    Patnaik's two-moment form ``c chi2(f)``, ``c = (k + 2 l)/(k + l)``, ``f = (k + l)^2/(k + 2 l)``; exact
    for l = 0. It is closed: the non-central series of scipy gives up with warnings where the grid's error
    is large.

    References
    ----------
    Patnaik, P. B. (1949). The non-central chi-square and F-distributions and their applications. Biometrika 36,
    202-232, doi:10.1093/biomet/36.1-2.202.
    """
    from scipy.special import chdtrc, chdtri

    stretch = (dof + 2.0 * off_centre) / (dof + off_centre)
    freedom = (dof + off_centre) / stretch
    return float(chdtrc(freedom, statistic / stretch)), float(stretch * chdtri(freedom, level))


def dkw_band(n: int, level: float) -> float:
    """Half-width ``sqrt(log(2/level) / (2 n))`` of the Dvoretzky-Kiefer-Wolfowitz band of an empirical CDF.

    References
    ----------
    Dvoretzky, Kiefer and Wolfowitz (1956), doi:10.1214/aoms/1177728174; Massart, P. (1990), The tight
    constant in that inequality, doi:10.1214/aop/1176990746.

    Examples
    --------
    >>> round(dkw_band(100_000, 0.05), 6)
    0.004295
    """
    return math.sqrt(math.log(2.0 / level) / (2.0 * n))


def dkw_p_value(distance: float, n: int) -> float:
    """Massart's bound ``2 exp(-2 n distance^2)`` on the p-value, at most 1."""
    return min(1.0, 2.0 * math.exp(-2.0 * n * distance**2))


def normal_band(level: float) -> float:
    """Two-sided normal quantile: |z| exceeds it with probability ``level``."""
    from scipy.special import ndtri

    return float(-ndtri(0.5 * level))


def z_p_values(z: Array) -> Array:
    """Two-sided p-values of z-scores."""
    from scipy.special import ndtr

    return np.asarray(2.0 * ndtr(-np.abs(z)), dtype=np.float64)

"""Tests and distances of particles against a grid density at one time: two sides in, a row of numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fpsolve import weights
from fpsolve.particles import _floor
from fpsolve.particles._cells import expectations

if TYPE_CHECKING:
    from fpsolve.particles._compare import GridSide, ParticleSide
    from fpsolve.weights import WeightLike

Array = npt.NDArray[np.float64]

#: Error of a density, in the weighted norm, from which no two laws can be told apart: |f| <= 1, and V >= 1.
_BLUNT = 2.0


def verdict(p_values: Sequence[float], levels: Sequence[float]) -> str:
    """Return "disagree", "agree", or "not tested" where no test could be made (all p-values NaN)."""
    made = [(p, level) for p, level in zip(p_values, levels, strict=True) if not np.isnan(p)]
    if not made:
        return "not tested"
    return "agree" if all(p >= level for p, level in made) else "disagree"


def families(dim: int) -> tuple[str, ...]:
    """Families of tests: the DKW band needs an order, so it is there in 1D only."""
    return ("chi2", "dkw", "z") if dim == 1 else ("chi2", "z")


def tests(grid_side: GridSide, sample: ParticleSide, level: float, min_expected: float | None) -> dict[str, Any]:
    """Chi-square, DKW band (1D) and z-scores, each family at an equal share of ``level``, and the verdict."""
    tests_made = families(grid_side.cells.dim)
    share = level / len(tests_made)
    here = grid_side.on(sample.cells)
    row = _chi_square(here, sample, share, min_expected)
    if "dkw" in tests_made:
        row |= _dkw(here, sample, share)
    row |= _z_scores(grid_side, sample, share)
    row["p_value"] = [row.pop(f"{family}_p") for family in tests_made]
    # One z p-value is the smallest of several: it is held against the level of a single function.
    row["level"] = [share / len(row["z"]) if family == "z" else share for family in tests_made]
    if not grid_side.error + grid_side.tail < _BLUNT:
        # whatever the particles do, a difference up to the grid's own error would be allowed
        row["p_value"] = [np.nan] * len(tests_made)
    inside = int(sample.counts.sum())
    return row | {
        "verdict": verdict(row["p_value"], row["level"]),
        "particles": sample.n,
        "outside": 1.0 - inside / sample.n,
        "outside_expected": float(here.outside.sum()),
        "grid_error": grid_side.error + grid_side.tail,
    }


def _chi_square(here: GridSide, sample: ParticleSide, level: float, min_expected: float | None) -> dict[str, Any]:
    """Chi-square; the outside makes cells of its own, at the ends in 1D and after the last block in 2D."""
    least = smallest_expected(sample.n) if min_expected is None else min_expected
    if here.cells.dim == 1:
        tail = np.full(1, 0.5 * here.tail)
        counts = np.concatenate([sample.outside[:1], sample.counts, sample.outside[1:]])
        probability = np.concatenate([here.outside[:1], here.probability, here.outside[1:]])
        slack = np.concatenate([tail, here.slack, tail])
    else:
        nx, ny = here.cells.shape
        order = morton_order((nx, ny))
        counts = np.concatenate([sample.counts.ravel()[order], sample.outside])
        probability = np.concatenate([here.probability.ravel()[order], here.outside])
        slack = np.concatenate([here.slack.ravel()[order], [here.tail]])
    result = chi_square(counts, probability, slack, sample.n, level, least)
    return {
        "chi2": result.statistic,
        "chi2_dof": result.dof,
        "chi2_critical": result.critical,
        "chi2_p": result.p_value,
    }


def _dkw(here: GridSide, sample: ParticleSide, level: float) -> dict[str, Any]:
    """Largest distance of the CDFs on the faces; mass outside may lie on either side: it widens the band."""
    seen = (sample.outside[0] + np.concatenate([[0], np.cumsum(sample.counts)])) / sample.n
    expected = here.outside[0] + np.concatenate([[0.0], np.cumsum(here.probability)])
    distance = float(np.max(np.abs(seen - expected)))
    # A CDF differs by at most half the L1 distance, and that is at most half the weighted norm.
    allowance = 0.5 * here.error + here.tail
    return {
        "dkw": distance,
        "dkw_band": dkw_band(sample.n, level) + allowance,
        "dkw_p": dkw_p_value(max(0.0, distance - allowance), sample.n),
    }


def _z_scores(grid_side: GridSide, sample: ParticleSide, level: float) -> dict[str, Any]:
    """z-scores; the weighted error of the density bounds the error of every expectation, since |f| <= V."""
    mean, variance = expectations(grid_side.probability, grid_side.cells, sample.centre, sample.width)
    # A function that is constant on the support has no variance; the floor keeps its z finite.
    std = np.sqrt(np.maximum(variance, 1e-12) / sample.n)
    z = (sample.function_mean - mean) / std
    allowance = (grid_side.error + grid_side.tail) / std
    excess = np.maximum(0.0, np.abs(z) - allowance)
    band = normal_band(level / z.size)
    return {
        "z": z,
        "z_band": band + float(np.max(allowance)),
        "z_p": float(np.min(z_p_values(excess))),
    }


def distances(grid_side: GridSide, sample: ParticleSide, weight: WeightLike) -> dict[str, Any]:
    """Weighted distance of the histogram to its own law, with what a perfect match would show."""
    here = grid_side.on(sample.cells)
    v = weights.evaluate(weight, here.cells.x, here.cells.dim)
    exact = _floor.binomial_deviation(here.probability, sample.n)
    return {
        "histogram_distance": float(np.sum(v * np.abs(sample.counts / sample.n - here.probability))),
        "floor": float(np.sum(v * _floor.normal_deviation(here.probability, sample.n))),
        "floor_exact": float(np.sum(v * exact)),
        "floor_spread": _floor.spread(exact, np.zeros_like(exact), here.probability, sample.n, v),
    }


def to_reference(grid_side: GridSide, sample: ParticleSide, reference: GridSide, weight: WeightLike) -> dict[str, Any]:
    """Weighted distance of the histogram to another law; its mean and spread if the density is right."""
    here, there = grid_side.on(sample.cells), reference.on(sample.cells)
    v = weights.evaluate(weight, here.cells.x, here.cells.dim)
    shift = here.probability - there.probability
    expected = _floor.binomial_distance(here.probability, there.probability, sample.n)
    return {
        "reference_distance": float(np.sum(v * np.abs(sample.counts / sample.n - there.probability))),
        "reference_expected": float(np.sum(v * expected)),
        "reference_spread": _floor.spread(expected, shift, here.probability, sample.n, v),
    }


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

"""Tests and distances of particles against a grid density at one time: two sides in, a row of numbers out; and the bias
floor of histograms, how far n particles look from the law they were drawn from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fpsolve import _checks, _runs, weights
from fpsolve.grid import Grid
from fpsolve.particles._cloud import expectations, on_cells

if TYPE_CHECKING:
    from fpsolve.particles._compare import GridSide, ParticleSide
    from fpsolve.weights import WeightLike


Array = npt.NDArray[np.float64]


def histogram_floor(
    density: Any, n: int, grid: Grid | None = None, *, weight: WeightLike = None, exact: bool = False
) -> float:
    r"""Expected weighted distance between a histogram of n exact samples and their own law.

    .. math:: E \sum_i V_i\, |\hat p_i - p_i| \approx \sum_i V_i \sqrt{\frac{2\, p_i (1 - p_i)}{\pi\, n}}

    A histogram never gets closer than this to anything, whatever the true distance; between two histograms
    of n samples each it is sqrt(2) times as much.

    Parameters
    ----------
    density : array or DataArray, the grid's shape
        Cell averages of the density (per unit x), as in ``run.density``; a DataArray at one start and time
        brings its own cells.
    n : int
        Number of particles.
    grid : Grid, optional
        The cells; needed for a plain array.
    weight : Weight, callable or None
        V, taken at the cell centres; default ``1 + |x|^2``.
    exact : bool
        Use De Moivre's exact mean absolute deviation of a binomial in place of the normal one, which is too
        large in cells that expect less than about one particle. Default False.

    Returns
    -------
    float
        The floor, in the weighted norm (no factor 1/2). Cells of slightly negative mass, which a solver may
        leave far out, count with their size.

    Raises
    ------
    ValueError
        n < 1, a density of another shape than the grid, not finite, or with a cell of mass above 1.

    References
    ----------
    De Moivre's formula: Diaconis, P. and Zabell, S. (1991). Closed form summation for classical
    distributions. Statist. Sci. 6, 284-302, doi:10.1214/ss/1177011699.

    Examples
    --------
    >>> import fpsolve as fp
    >>> grid = fp.Grid.uniform((-6, 6), cells=400)
    >>> p = grid.cell_average(fp.Gaussian(0.0, std=1.0))
    >>> round(histogram_floor(p, 1_000_000, grid), 4)
    0.0309
    """
    probability, v = _masses(density, grid, weight)
    _checks.integer("n", n)
    _checks.flag("exact", exact)
    mean_deviation = binomial_deviation(probability, n) if exact else normal_deviation(probability, n)
    return float(np.sum(v * mean_deviation))


def needed(distance: float, density: Any, grid: Grid | None = None, *, weight: WeightLike = None) -> int:
    r"""How many particles until a histogram's bias floor falls to a given distance.

    .. math:: n = \Big( \sum_i V_i \sqrt{2\, p_i (1 - p_i) / \pi} \Big)^2 \Big/ d^2

    Parameters
    ----------
    distance : float
        The distance d to be resolved, in the weighted norm (no factor 1/2): for instance a grid solve's
        error.
    density, grid, weight
        As in `histogram_floor`.

    Returns
    -------
    int
        The smallest n with ``histogram_floor(density, n, grid, weight=weight) <= distance``.

    Raises
    ------
    ValueError
        distance <= 0, and as `histogram_floor`.

    Examples
    --------
    >>> import fpsolve as fp
    >>> grid = fp.Grid.uniform((-6, 6), cells=400)
    >>> p = grid.cell_average(fp.Gaussian(0.0, std=1.0))
    >>> round(needed(1e-3, p, grid) / 1e8, 2)
    9.53
    """
    _checks.positive("distance", distance)
    return max(1, math.ceil((histogram_floor(density, 1, grid, weight=weight) / distance) ** 2))


def normal_deviation(probability: Array, n: int) -> Array:
    """``E|phat - p|`` of cells in the normal approximation: ``sqrt(2 p (1-p) / (pi n))``."""
    return np.asarray(np.sqrt(2.0 * np.abs(probability) * (1.0 - probability) / (np.pi * n)), dtype=np.float64)


def binomial_deviation(probability: Array, n: int) -> Array:
    """``E|phat - p|`` of cells exactly: ``2 k (1-p) C(n,k) p^k (1-p)^(n-k) / n``, ``k = floor(n p) + 1``."""
    from scipy.special import gammaln, xlog1py, xlogy

    p = np.abs(probability)
    k = np.minimum(np.floor(n * p) + 1.0, n)
    log_binomial = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    # The smallest positive number keeps 0 log 0 away from empty cells; their result is 0 either way.
    log_p = xlogy(k, np.maximum(p, np.finfo(float).tiny))
    return np.asarray(2.0 * k / n * np.exp(log_binomial + log_p + xlog1py(n - k + 1.0, -p)), dtype=np.float64)


def binomial_distance(probability: Array, other: Array, n: int) -> Array:
    """``E|phat - r|`` of cells for any r, in closed form by binomial CDFs.

    With X = n phat and a = n r, ``E|X - a| = np - a + 2 E(a - X)+`` and
    ``E(a - X)+ = a F(k; n, p) - n p F(k - 1; n - 1, p)``, ``k = floor(a)``.
    """
    p, a = np.abs(probability), n * np.abs(other)
    k = np.floor(a)
    above = a * _binomial_cdf(k, n, p) - n * p * _binomial_cdf(k - 1.0, n - 1, p)
    return np.asarray((n * p - a + 2.0 * above) / n, dtype=np.float64)


def spread(deviation: Array, shift: Array, probability: Array, n: int, v: Array) -> float:
    """Standard deviation of ``sum V |phat - r|`` where cells have ``deviation = E|phat - r|``, ``shift = p - r``.

    Cells are treated as independent, which is right up to the one constraint that they sum to 1.
    """
    variance = shift**2 + np.abs(probability) * (1.0 - probability) / n - deviation**2
    # Far out the variance is a difference of equal numbers, and rounding may leave it negative.
    return float(np.sqrt(np.sum(v**2 * np.maximum(variance, 0.0))))


def _binomial_cdf(k: Array, n: int, p: Array) -> Array:
    """``P(X <= k)`` of a binomial, 0 below 0 and 1 from n on."""
    from scipy.special import betaincc

    inner = np.clip(k, 0.0, max(n - 1, 0))
    cdf = betaincc(inner + 1.0, np.maximum(n - inner, 1.0), p)
    return np.asarray(np.where(k < 0, 0.0, np.where(k >= n, 1.0, cdf)), dtype=np.float64)


def _masses(density: Any, grid: Grid | None, weight: WeightLike) -> tuple[Array, Array]:
    """Cell probabilities and V at the centres."""
    if grid is None:
        if not hasattr(density, "coords"):
            raise _checks.error("grid", "a grid beside a plain array", "None", "pass the grid the density lives on")
        grid = _runs.grid_at(density, 0)
    _checks.instances(grid=(grid, Grid))
    values = _checks.finite_array("density", density, shape=grid.shape)
    probability = values * grid.volume
    if np.max(probability) > 1.0 + 1e-9:
        got = f"a largest cell probability of {np.max(probability):.3g}"
        raise _checks.error("density", "cell averages per unit x", got, "do not pass masses or counts")
    return np.minimum(probability, 1.0), weights.evaluate(weight, grid.x, grid.dim)


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
        # largest distance of the CDFs on the faces; mass outside may lie on either side: it widens the band
        seen = (sample.outside[0] + np.concatenate([[0], np.cumsum(sample.counts)])) / sample.n
        expected = here.outside[0] + np.concatenate([[0.0], np.cumsum(here.probability)])
        distance = float(np.max(np.abs(seen - expected)))
        # A CDF differs by at most half the L1 distance, and that is at most half the weighted norm.
        allowance = 0.5 * here.error + here.tail
        row |= {
            "dkw": distance,
            "dkw_band": dkw_band(sample.n, share) + allowance,
            "dkw_p": dkw_p_value(max(0.0, distance - allowance), sample.n),
        }
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


def _z_scores(grid_side: GridSide, sample: ParticleSide, level: float) -> dict[str, Any]:
    """z-scores by the density on halved cells, which bounds the error of every expectation, since |f| <= V.

    What functions change by on halved cells is an error too, and so is what the run lacks.
    """
    cells, finer = grid_side.cells, grid_side.cells.refine()
    probability = on_cells(grid_side.probability, cells, finer)
    (coarse, _), (mean, variance) = (
        expectations(*one, sample.centre, sample.width)
        for one in ((grid_side.probability, cells), (probability, finer))
    )
    error = grid_side.error + float(grid_side.outside.sum()) + float(np.max(np.abs(coarse - mean)))
    # A function that is constant on the support has no variance; the floor keeps its z finite.
    std = np.sqrt(np.maximum(variance, 1e-12) / sample.n)
    z = (sample.function_mean - mean) / std
    allowance = (error + grid_side.tail) / std
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
    exact = binomial_deviation(here.probability, sample.n)
    return {
        "histogram_distance": float(np.sum(v * np.abs(sample.counts / sample.n - here.probability))),
        "floor": float(np.sum(v * normal_deviation(here.probability, sample.n))),
        "floor_exact": float(np.sum(v * exact)),
        "floor_spread": spread(exact, np.zeros_like(exact), here.probability, sample.n, v),
    }


def to_reference(grid_side: GridSide, sample: ParticleSide, reference: GridSide, weight: WeightLike) -> dict[str, Any]:
    """Weighted distance of the histogram to another law; its mean and spread if the density is right."""
    here, there = grid_side.on(sample.cells), reference.on(sample.cells)
    v = weights.evaluate(weight, here.cells.x, here.cells.dim)
    shift = here.probability - there.probability
    expected = binomial_distance(here.probability, there.probability, sample.n)
    return {
        "reference_distance": float(np.sum(v * np.abs(sample.counts / sample.n - there.probability))),
        "reference_expected": float(np.sum(v * expected)),
        "reference_spread": spread(expected, shift, here.probability, sample.n, v),
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

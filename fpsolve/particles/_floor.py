"""The bias floor of histograms: how far n particles look from the law they were drawn from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fpsolve import _checks, _runs, weights
from fpsolve.grid import Grid

if TYPE_CHECKING:
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

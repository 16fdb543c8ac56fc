"""Minorization of a kernel on level sets of V: how much all rows, or any two, have in common."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks
from fpsolve.bounds._dobrushin import _stochastic
from fpsolve.bounds._lyapunov import HELD_DETAIL, Region, floor, height
from fpsolve.bounds._record import Hypothesis, Record, failure
from fpsolve.bounds._whole_line import Line, trade_off
from fpsolve.kernels import Kernel
from fpsolve.weights import WeightLike

Array = NDArray[np.float64]

#: Levels of the curve over R by default.
_LEVELS = 60


@dataclass(frozen=True, eq=False, kw_only=True)
class Minorization(Record):
    """Overlap of the rows started in ``{V <= R}``; see `minorization`.

    Attributes
    ----------
    value : float or None
        a'' at `level`: what Harris' theorem needs.
    level : float
        R.
    common : float
        a at `level`: mass common to all rows started in ``{V <= R}``; at most a''.
    measure : array, shape of the target cells
        The minorizing measure nu, cell averages of a density with mass one (zero where a = 0).
    levels, commons, pairwise : arrays
        a and a'' as functions of R: the sensitivity to the localization set.
    """

    level: float
    common: float
    measure: Array = field(repr=False)
    levels: Array = field(repr=False)
    commons: Array = field(repr=False)
    pairwise: Array = field(repr=False)


def minorization(
    kernel: Kernel, level: float | None = None, *, weight: WeightLike = None, levels: ArrayLike | None = None
) -> Minorization:
    r"""Return how much the rows of a kernel overlap that start where V = weight - 1 is at most R.

    .. math:: a = \int \inf_{V(x) \le R} P(x, dz), \qquad
              a'' = \inf_{V(x) + V(y) \le R} (1 - \mathrm{TV}(P(x, \cdot), P(y, \cdot))) \ge a .

    a is the best constant in ``P(x, .) >= a nu(.)`` on ``{V <= R}``, attained by ``nu = inf P(x, .)/a``; a'' is all
    that Harris' theorem uses. A cell counts as part of a set if a neighbour does, so that both err on the side of
    caution; for the exact kernel of a Gaussian mixture on the line both are at most what is certain of the densities,
    in closed form. Of other kernels the part within cells stays unchecked.

    Parameters
    ----------
    kernel : Kernel
        Use ``source="point"`` for transitions from points.
    level : float, optional
        R; default twice K/(1 - gamma), the least that Harris' theorem admits for the kernel's own drift.
    weight : Weight or callable, optional
        Default ``1 + |x|^2``.
    levels : array, optional
        R of the curve, increasing; default 60 from the smallest pair of cells to what the box holds.

    Returns
    -------
    Minorization

    Raises
    ------
    ValueError
        A negative level, levels that do not increase, a weight below 1.

    References
    ----------
    Doeblin 1940; Hairer and Mattingly 2011, doi:10.1007/978-3-0348-0021-1_7, Assumption 2 and Remark 3.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0))
    >>> from fpsolve import kernels
    >>> kernel = kernels.exact(reverse, fp.Grid.uniform((-8, 8), cells=200), 1.0, 0.25, source="point")
    >>> found = minorization(kernel, 4.0)
    >>> bool(found.common <= found.value)
    True
    """
    _checks.instances(kernel=(kernel, Kernel))
    v, line = height(weight, kernel.grid), Line.of(kernel, weight)
    region = Region.of(kernel, weight)
    held = region.held(v)
    chosen = _least_level(kernel, weight, v, region, line) if level is None else _checks.non_negative("level", level)
    curve = default_levels(v, held) if levels is None else increasing(levels)
    every = np.union1d(curve, [chosen])
    pairwise, commons = certain(line, every, matrix_overlaps(kernel, weight, every))
    on_curve, at = np.searchsorted(every, curve), int(np.searchsorted(every, chosen))
    checked: tuple[Hypothesis, ...] = (
        Hypothesis("the box contains {V <= R}", held - chosen, HELD_DETAIL),
        _stochastic(kernel),
    )
    if line is not None:
        checked = (*checked, line.overlap_holds(float(chosen), float(pairwise[at])))
    reason = failure(checked)
    return Minorization(
        value=None if reason else float(pairwise[at]),
        statement="inf over V(x) + V(y) <= R of 1 - TV(P(x,.), P(y,.)); inf over V(x) <= R of P(x,.) >= a nu",
        checked=checked,
        unchecked=("points between cell centres", "densities within cells") if line is None else line.unchecked,
        reason=reason,
        level=float(chosen),
        common=float(commons[at]),
        measure=_measure(kernel, floor(weight, kernel.grid), float(chosen)),
        levels=curve,
        commons=commons[on_curve],
        pairwise=pairwise[on_curve],
    )


def matrix_overlaps(kernel: Kernel, weight: WeightLike, levels: Array) -> tuple[Array, Array]:
    """a'' and a from the rows of the matrix, sets taken a cell too wide."""
    from fpsolve.bounds import _pairs

    lowest = floor(weight, kernel.grid)
    pairwise = 1.0 - _pairs.distance_by_level(kernel.matrix, lowest, levels)
    return pairwise, _pairs.minima_by_level(kernel.matrix, lowest, levels)


def certain(line: Line | None, levels: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
    """a'' and a of the matrix, and no more than what is certain of the densities on the line."""
    if line is None:
        return found
    return np.minimum(found[0], line.overlaps(levels)), np.minimum(found[1], line.common(levels))


def _least_level(kernel: Kernel, weight: WeightLike, v: Array, region: Region, line: Line | None) -> float:
    """``2 K/(1 - gamma)`` of the kernel's drift; the level that the box holds where there is no drift."""
    trade = trade_off(kernel, weight, v, region, line)
    best = trade.best()
    return region.held(v) if best is None else 2.0 * float(trade.ks[best] / (1.0 - trade.gammas[best]))


def default_levels(v: Array, held: float) -> Array:
    """Levels from the smallest sum over a pair of cells up to what the box holds."""
    lowest = np.partition(v, 1)[:2].sum()
    low = max(lowest, 1e-3 * held)
    return np.geomspace(low, held, _LEVELS) if held > low > 0.0 else np.array([held])


def increasing(levels: ArrayLike) -> Array:
    """Return levels R as an array; ValueError where they do not increase."""
    curve = _checks.finite_array("levels", levels, shape=(None,))
    if curve.size == 0 or np.any(np.diff(curve) <= 0.0):
        raise _checks.error("levels", "increasing levels R", "others" if curve.size else "none", "sort them")
    return curve


def _measure(kernel: Kernel, v: Array, level: float) -> Array:
    """Density of the minorizing measure on the target cells."""
    inside = v <= level
    shared = kernel.matrix[inside].min(axis=0) if inside.any() else np.zeros(kernel.matrix.shape[1])
    mass = float(shared.sum())
    density = shared / (mass * kernel.target.volume) if mass > 0.0 else np.zeros_like(shared)
    return np.asarray(density.reshape(kernel.target.shape))

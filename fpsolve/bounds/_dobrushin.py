"""The weighted Dobrushin coefficient of a kernel, its sharp contraction, and local minorization: how much all rows on a
level set of V, or any two of them, have in common.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, weights
from fpsolve._checks import flag, instances
from fpsolve._messages import Status
from fpsolve.bounds._lyapunov import GAMMAS, HELD_DETAIL, Region, floor, height
from fpsolve.bounds._record import Hypothesis, Record, failure
from fpsolve.bounds._whole_line import Line, trade_off
from fpsolve.grid import Grid
from fpsolve.kernels import Kernel
from fpsolve.weights import WeightLike

Array = NDArray[np.float64]

#: Cells of the wider box, and their width in standard deviations of the narrowest component of a row.
_WIDEST, _RESOLVED = 1500, 0.5
FAR_PAIRS = "pairs of far points stay below the maximum"
_BETWEEN = ("pairs of points between cell centres", "densities within cells")


@dataclass(frozen=True, eq=False, kw_only=True)
class Dobrushin(Record):
    """The sharp coefficient of a kernel; see `dobrushin`.

    Attributes
    ----------
    value : float
        delta(P) of the matrix, a maximum over pairs of cells: for the dynamics a lower bound. It may exceed 1: the
        weighted norm of a difference can grow.
    upper : float
        An upper bound of the coefficient on the whole line, with `whole_line` and where that is known (see `harris`):
        the maximum over as wide a box as ``P V <= gamma V + K`` asks for, with what lies between the centres, what the
        cell may miss in which two rows cross, and three times what halving the cells changes. Else NaN.
    x, y : float or array of shape (2,)
        Cell centres of the pair of sources at which it is attained.
    t0, t1 : float
        Times of the kernel.
    """

    value: float
    upper: float
    x: float | Array
    y: float | Array
    t0: float
    t1: float

    @property
    def status(self) -> Status:
        """Estimated: the largest of the pairs of cells is a lower bound; the certified side is `upper`."""
        return "estimated"


def dobrushin(
    kernel: Kernel, *, weight: WeightLike = None, start_weight: WeightLike = None, whole_line: bool = False
) -> Dobrushin:
    r"""Return the weighted Dobrushin coefficient of a kernel.

    .. math:: \delta(P) = \max_{x \ne y} \frac{\|P(x, \cdot) - P(y, \cdot)\|_{w_1}}{w_0(x) + w_0(y)},
              \qquad \|\mu P - \nu P\|_{w_1} \le \delta(P)\, \|\mu - \nu\|_{w_0},

    and no smaller constant works: it is the norm of P on differences of probabilities. Coefficients of consecutive
    blocks multiply. On a grid the supremum is over pairs of cells: a contraction for what the matrix does to laws that
    the box holds, and a lower bound of the coefficient on the whole space; `upper` is the other side, for the exact
    kernels of Gaussian mixtures on the line. All pairs of rows are compared, in some milliseconds for 600 cells.

    Parameters
    ----------
    kernel : Kernel
        Use ``source="point"`` for transitions from points.
    weight : Weight or callable, optional
        w1, default ``1 + |x|^2``; `UnitWeight` gives the classical coefficient.
    start_weight : Weight or callable, optional
        w0, default the same as `weight`.
    whole_line : bool
        Find `upper` as well; the kernel is then made once more on a wider box.

    Returns
    -------
    Dobrushin

    Raises
    ------
    ValueError
        A weight below 1.

    References
    ----------
    Dobrushin 1956, doi:10.1137/1101006; Hairer and Mattingly 2011, doi:10.1007/978-3-0348-0021-1_7.

    Examples
    --------
    >>> from fpsolve import Grid
    >>> two = Kernel(np.array([[0.9, 0.1], [0.2, 0.8]]), Grid.uniform((-1, 1), cells=2), 1.0, 0.5)
    >>> from fpsolve.weights import UnitWeight
    >>> round(dobrushin(two, weight=UnitWeight()).value, 12)
    0.7
    """
    instances(kernel=(kernel, Kernel))
    flag("whole_line", whole_line)
    from fpsolve.bounds import _pairs

    end = weights.evaluate(weight, kernel.target).ravel()
    start = weights.evaluate(weight if start_weight is None else start_weight, kernel.grid).ravel()
    value, pair = _pairs.largest_ratio(kernel.matrix, start, end)
    line = Line.of(kernel, weight) if whole_line and start_weight is None else None
    upper, beyond = (float("nan"), ()) if line is None else _whole_line(kernel, line, weight, float(value))
    centres = kernel.grid.x.reshape(len(start), -1)
    first, second = (float(centres[i, 0]) if kernel.grid.dim == 1 else centres[i] for i in pair)
    # how many cells the pair stays away from the ends of the box
    places = np.stack(np.unravel_index(np.array(pair), kernel.grid.shape), axis=-1)
    margin = int(np.min(np.minimum(places, np.array(kernel.grid.shape) - 1 - places)))
    inside = Hypothesis("the maximising pair is inside of the box", margin - 1.0, "cells from its ends, less one")
    return Dobrushin(
        value=float(value),
        statement="delta(P) = sup ||P(x,.) - P(y,.)||_w1 / (w0(x) + w0(y)) (Dobrushin 1956), maximum over cells",
        checked=(inside, *beyond, _stochastic(kernel)),
        unchecked=_BETWEEN if beyond else ("pairs of points beyond the box", *_BETWEEN),
        upper=upper,
        x=first,
        y=second,
        t0=kernel.t0,
        t1=kernel.t1,
    )


def _whole_line(kernel: Kernel, line: Line, weight: WeightLike, value: float) -> tuple[float, tuple[Hypothesis, ...]]:
    """An upper bound of the coefficient on the line, and how far the pairs that decide it were looked for."""
    largest = max(2.0, 2.0 * line.least) if np.isfinite(line.least) else 1.0
    gammas = np.append(GAMMAS, np.geomspace(1.0, largest, 60))
    ks, scale = line.constants(gammas), height(weight, kernel.grid).max()
    # two points with V(x) + V(y) = r have at most (2 + gamma r + 2 K)/(2 + r), which tends to gamma
    levels = scale * np.geomspace(1e-2, 1e6, 161)
    far = (2.0 + np.multiply.outer(levels, gammas) + 2.0 * ks) / (2.0 + levels[:, None])
    beyond = np.maximum(far, gammas).min(axis=1)
    radii = line.v.radius(np.maximum(levels - 2.0 * line.v.shift, 0.0) / line.v.factor)
    # the rows from there, in cells that are no wider and resolve them; those of the starts may be, their remainder is
    # known
    ends, h = line.reach(radii), min(kernel.target.spacing[0], _RESOLVED * line.posterior.narrowest)
    enough = beyond <= max(value, 1.05 * float(beyond[-1]))
    fits = int(np.sum((2.0 * ends <= _WIDEST * h) & (2.0 * radii <= 8.0 * _WIDEST * h)))
    at = min(int(np.argmax(enough)), max(fits - 1, 0))
    grids = [
        Grid.uniform((-half, half), cells=int(np.clip(np.ceil(2.0 * half / h), 40, most)))
        for half, most in ((radii[at], _WIDEST // 2), (ends[at], _WIDEST))
    ]
    inside = _from_above(kernel, line, weight, *grids)
    most = f"at most {beyond[at]:.6g}"
    detail = f"those with V(x) + V(y) > {levels[at]:.4g} reach {most}; the margin is the maximum less that"
    return max(inside, float(beyond[at])), (Hypothesis(FAR_PAIRS, value - float(beyond[at]), detail),)


def _from_above(kernel: Kernel, line: Line, weight: WeightLike, grid: Grid, to_grid: Grid) -> float:
    """The maximum over pairs of cells of a wider box, and what it may miss between and within them."""
    from fpsolve import kernels

    assert kernel.exact_of is not None
    wide = kernels.exact(kernel.exact_of, grid, kernel.t0, kernel.t1, source="point", to_grid=to_grid)
    value, halved = (_on_cells(wide, weight, every) for every in (1, 2))
    # what a source between two centres may exceed the maximum by: rows and V are near their chords there
    centres = wide.grid.x
    low, high = centres[:-1], centres[1:]
    inner, outer = np.minimum(np.abs(low), np.abs(high)), np.maximum(np.abs(low), np.abs(high))
    h = wide.grid.spacing[0]
    with np.errstate(divide="ignore"):
        chord = np.maximum(0.25 * h * (line.v.slope(outer) - line.v.slope(inner)), 0.0)
    # the centres on both sides of 0 are above V there
    chord = line.v.factor * np.where(low * high < 0.0, line.v.height(outer), chord)
    least = 1.0 + line.v.shift + line.v.factor * line.v.height(np.where(low * high < 0.0, 0.0, inner))
    rows = 0.125 * h**2 * line.posterior.rows_bend(line.v, low, high)
    between = float(value * np.max(chord / least) + np.max(rows / least))
    # what the maximum may miss in the cell where the difference of two rows changes its sign. Rows of an exact kernel
    # are ``p(z) exp(c x z)`` up to factors, so the sign changes once. There the cell has ``|int f|``, which is less
    # than ``int |f|`` by at most ``h^2 max |f'|/4``; twice as wide cells may miss as much, so halving does not show it.
    # Slopes are differences of neighbours, of rows that are sums of steps between sources
    start = weights.evaluate(weight, wide.grid).ravel()
    end = weights.evaluate(weight, wide.target).ravel()
    slopes = 0.25 * np.maximum(end[1:], end[:-1]) * np.diff(wide.matrix, axis=1)
    alone = np.abs(slopes).max(axis=1)
    steps = np.append(0.0, np.cumsum(np.abs(np.diff(slopes, axis=0)).max(axis=1)))
    most = np.minimum(np.abs(np.subtract.outer(steps, steps)), np.add.outer(alone, alone))
    # where rows are narrower than cells their slopes are not seen: at most twice what both have in a cell is missed
    masses = 2.0 * (end * wide.matrix).max(axis=1)
    held = np.minimum.outer(masses, masses)
    resolved = to_grid.spacing[0] <= (1.0 + 1e-9) * _RESOLVED * line.posterior.narrowest
    most = np.minimum(most, held) if resolved else held
    return value + between + float(np.max(most / np.add.outer(start, start))) + 3.0 * abs(value - halved)


def _on_cells(kernel: Kernel, weight: WeightLike, every: int) -> float:
    """The maximum over every source, or every other one and pairs of cells at the end."""
    from fpsolve.bounds import _pairs

    end, start = (weights.evaluate(weight, grid).ravel() for grid in (kernel.target, kernel.grid))
    pairs = np.arange(0, end.size, every)
    counts = np.diff(np.append(pairs, end.size))
    merged = np.ascontiguousarray(np.add.reduceat(kernel.matrix, pairs, axis=1)[::every])
    return float(_pairs.largest_ratio(merged, start[::every].copy(), np.add.reduceat(end, pairs) / counts)[0])


def _stochastic(kernel: Kernel) -> Hypothesis:
    return Hypothesis("the kernel is non-negative", 1e-9 - kernel.negative, "1e-9 less the negative part of a row")


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
    if level is None:
        # 2 K/(1 - gamma) of the kernel's drift; the level that the box holds where there is no drift
        trade = trade_off(kernel, weight, v, region, line)
        best = trade.best()
        chosen = held if best is None else 2.0 * float(trade.ks[best] / (1.0 - trade.gammas[best]))
    else:
        chosen = _checks.non_negative("level", level)
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
    # density of the minorizing measure on the target cells
    inside = floor(weight, kernel.grid) <= float(chosen)
    shared = kernel.matrix[inside].min(axis=0) if inside.any() else np.zeros(kernel.matrix.shape[1])
    mass = float(shared.sum())
    density = shared / (mass * kernel.target.volume) if mass > 0.0 else np.zeros_like(shared)
    return Minorization(
        value=None if reason else float(pairwise[at]),
        statement="inf over V(x) + V(y) <= R of 1 - TV(P(x,.), P(y,.)); inf over V(x) <= R of P(x,.) >= a nu",
        checked=checked,
        unchecked=("points between cell centres", "densities within cells") if line is None else line.unchecked,
        reason=reason,
        level=float(chosen),
        common=float(commons[at]),
        measure=np.asarray(density.reshape(kernel.target.shape)),
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

"""Error estimates from levels of cells and steps, and the evidence for them.

With h and the step halved together the level error of a scheme of order m is ``C h^m + O(h^{m+2})`` (m = 2), so
``E_k = (2^m L_k - L_{k-1})/(2^m - 1)`` on the cells of level k - 1 has fourth order. Two successive ones differ by
about ``(2^p - 1)`` times the error of the better one, p the observed order; the estimate takes four times that share.

On a given grid two levels that are equally unresolved agree. So a third one, on a quarter of cells and steps, has to
show that differences come down as they should (`observed` order), and four indicators have to say that the finest level
sees what it computes: cells per width of the density's narrowest features, read off its second differences; steps per
e-folding of the scale of the law, read off the clock; the change of the density per step; and negative densities, which
are errors by themselves. Where one of them fails there is no estimate.

Thresholds: over 400 random problems (`fpsolve.verification.coverage`), half of them absurdly coarse, the estimate of
two levels covered 71 % of the saved times; with this evidence 99.9 % of those called resolved, which were 99 % of those
with three cells per width and 50 steps.

References
----------
Richardson 1911, doi:10.1098/rsta.1911.0009; Roache 1994, doi:10.1115/1.2910291 (the grid convergence index, and why
grid convergence studies need three grids).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
from numpy.typing import NDArray

from fpsolve._cells import Cumulative, weighted_profiles
from fpsolve._compile import compiled
from fpsolve._memory import over
from fpsolve.evolution._march import Level, StepPlan
from fpsolve.evolution._problem import Problem
from fpsolve.grid import Grid

Array = NDArray[np.float64]

#: Safety on the error of an extrapolated pair.
PAIR_SAFETY = 4.0
#: Order assumed of an extrapolation before it was observed: third where the levels themselves come down at the
#: scheme's order (within 0.3), second otherwise; and the range in which an observed order is believed.
UNSEEN_ORDERS = (2.0, 3.0)
ORDER_SLACK = 0.3
ORDER_RANGE = (1.0, 4.0)
#: Levels of a run that was stopped come down at least at this share of the scheme's order, or nothing is known.
LEAST_ORDER_SHARE = 0.25
#: Until orders are seen, an extrapolation is taken to be at most 1/LEVEL_SHARE times better than its finer level.
LEVEL_SHARE = 1.0 / 20.0
#: Order of extrapolations in the plane. Until it is seen the one below is believed where those of the fourth order
#: come down at that within a slack, and they are taken to be at most so many times better than these.
PLANE_ORDER, PAIR_SLACK, PAIR_SHARE = 6.0, 0.5, 0.1
#: Change between neighbouring cells, per maximum, above which a start jumps on its grid; and the share of the level's
#: error that an extrapolation of such a start keeps: up to 1/5, twice that in undamped steps.
JUMP = 0.5
JUMP_SHARE = 0.4
#: Values looked at together.
CHUNK = 2_000_000


@dataclass(frozen=True, eq=False)
class Extrapolation:
    """An extrapolated solution on `grid`, the one before it on half the cells, and the factor that turns their
    difference into an error of the better one: ``factor`` per (start, save), shape (starts, saves)."""

    grid: Grid
    values: Array
    previous: Array
    factor: Array


def richardson(fine: Array, coarse: Array, order: int) -> Array:
    """``(2^order fine - coarse)/(2^order - 1)``, both on the cells of the coarse level; sums are kept exactly."""
    share = 1.0 / (2.0**order - 1.0)
    return np.asarray((1.0 + share) * fine - share * coarse)


def weighted_gap(grid: Grid, better: Array, previous: Array, v: Array) -> Array:
    """``sum V |restrict(better) - previous| * volume`` over the cells of the previous grid, shape (starts, saves).

    Parameters
    ----------
    grid : Grid
        Grid of `better`; `previous` lives on half its cells.
    better, previous : arrays, shape (starts, saves, nx[, ny])
    v : array, shape (saves, nx/2[, ny/2])
        Weight on the cells of `previous`.
    """
    return np.asarray(weighted_sum(v, np.abs(grid.restrict(better) - previous)) * (grid.volume * 2**grid.dim))


def weighted_sum(v: Array, values: Array) -> Array:
    """``sum V q`` over the cells, v (saves, nx[, ny]) and values (starts, saves, nx[, ny]), shape (starts, saves)."""
    return np.asarray(np.einsum("kx,skx->sk" if v.ndim == 2 else "kxy,skxy->sk", v, values))


def _sum(grid: Grid, v: Array, values: Array) -> Array:
    """``int V |q|`` over the cells, shape (starts, saves)."""
    return weighted_sum(v, np.abs(values)) * grid.volume


def weighted_norm(problem: Problem, grid: Grid, values: Array) -> Array:
    """``int V |q|`` at every save, shape (starts, saves)."""
    v = problem.weight_values(grid)
    if grid.dim == 2:
        return np.asarray(weighted_profiles(values, np.broadcast_to(v, values.shape))[0].sum(axis=-1) * grid.volume)
    return over_saves(lambda s: _sum(grid, v[s], values[:, s]), values)


def over_saves(function: Callable[[slice], Array], values: Array, saves: int | None = None) -> Array:
    """Apply a function to slices of save times of densities, few at a time: no temporary of the size of all."""
    step = max(1, CHUNK * values.shape[1] // max(values.size, 1))
    count = values.shape[1] if saves is None else saves
    if count <= step:
        return function(slice(0, count))
    return np.concatenate([function(slice(k, k + step)) for k in range(0, count, step)], axis=1)


def observed_order(gap: Array, gap_before: Array) -> Array:
    """``log2(gap_before/gap)``; 0 where both vanish."""
    tiny = np.finfo(float).tiny
    return np.asarray(np.log2((gap_before + tiny) / (gap + tiny)))


def jumps(start: Array) -> NDArray[np.bool_]:
    """Which cell averages (starts, nx[, ny]) change by more than `JUMP` of their maximum from cell to cell."""
    space = tuple(range(1, start.ndim))
    steepest = np.max([np.abs(np.diff(start, axis=axis)).max(axis=space) for axis in space], axis=0)
    return np.asarray(steepest > JUMP * np.abs(start).max(axis=space))


def jump_factor(start: Array, level_error: Array, gap: Array) -> Array:
    """Least error per difference of extrapolations for starts that jump on the coarser of their two levels, else 0.

    Where in its cell a jump lies decides on the mean of the cells' density, ``h^2`` times another number on every
    level, which no extrapolation removes and no observed order shows.

    Parameters
    ----------
    start : array, shape (starts, nx[, ny])
    level_error, gap : arrays, shape (starts, saves)
        Error of the finer level, difference of the extrapolations.
    """
    return np.where(jumps(start)[:, None], JUMP_SHARE * level_error / (gap + np.finfo(float).tiny), 0.0)


def first_factor(level_order: Array, scheme_order: int, level_error: Array, gap: Array) -> Array:
    """Error per difference of the first two extrapolations, whose order p nobody has seen yet, per (start, save).

    ``4/(2^p - 1)`` with a cautious p, and never less than what makes the error `LEVEL_SHARE` of the fine level's: on
    coarse levels the errors of space and time may cancel in one extrapolation and make a single difference small.

    Parameters
    ----------
    level_order, level_error, gap : arrays, shape (starts, saves)
        Observed order and error of the levels themselves, difference of the extrapolations.
    scheme_order : int
    """
    believed = np.where(level_order >= scheme_order - ORDER_SLACK, UNSEEN_ORDERS[1], UNSEEN_ORDERS[0])
    least = LEVEL_SHARE * level_error / (gap + np.finfo(float).tiny)
    return np.asarray(np.maximum(PAIR_SAFETY / (2.0**believed - 1.0), least))


def third_factor(level_order: Array, pair_order: Array, scheme_order: int, pair_gap: Array, gap: Array) -> Array:
    """Error per difference of the first two extrapolations of the order `PLANE_ORDER`, per (start, save).

    `pair_order` and `pair_gap` are the order that those of the fourth order show, and their last difference.
    """
    steady = (level_order >= scheme_order - ORDER_SLACK) & (pair_order >= ORDER_RANGE[1] - PAIR_SLACK)
    unseen = np.maximum(first_factor(level_order, scheme_order, np.zeros(gap.shape), gap), later_factor(pair_order))
    factor = np.where(steady, PAIR_SAFETY / (2.0 ** (PLANE_ORDER - 1.0) - 1.0), unseen)
    return np.asarray(np.maximum(factor, PAIR_SHARE / 15.0 * pair_gap / (gap + np.finfo(float).tiny)))


def stopped_factor(factor: Array, pair_order: Array, level_gap: Array, pair_gap: Array) -> Array:
    """Error per difference of extrapolations in a run that was stopped before it met its tolerance.

    Too few or too coarse levels: while the differences of extrapolations are no small share of those of the levels, and
    do not fall at an order that theory allows, extrapolations are not believed to be better than levels. The error is
    then at least the last difference of levels. Over 600 saved times of runs stopped early, half of them from starts
    narrower than the cells, 95.6 % were covered without this and 99.7 % with it.

    Parameters
    ----------
    factor : array, shape (starts, saves)
        By orders seen and assumed.
    pair_order : array
        Observed order of the extrapolations; NaN where there are only two.
    level_gap, pair_gap : arrays
        Last differences of levels and of extrapolations in the weighted norm.
    """
    low, high = ORDER_RANGE
    seen = (pair_order >= low) & (pair_order <= high + ORDER_SLACK)
    unsure = np.logical_not(seen) & (pair_gap > LEVEL_SHARE * level_gap)
    ratio = np.divide(level_gap, pair_gap, out=np.zeros_like(factor), where=unsure)
    return np.asarray(np.maximum(factor, ratio))


def later_factor(pair_order: Array, high: float = 4.0) -> Array:
    """``4/(2^p - 1)`` with the observed order p of the extrapolations, kept within what theory allows, at most `high`.

    A difference that fell faster than at the highest order is an accident, not a gain: the order below is believed of
    the difference before, and the factor makes up for the rest.
    """
    accident = pair_order > high + ORDER_SLACK
    believed = np.where(accident, high - 1.0, np.minimum(np.maximum(pair_order, ORDER_RANGE[0]), high))
    excess = np.where(accident, np.minimum(pair_order - believed, 60.0), 0.0)
    return np.asarray(PAIR_SAFETY / (2.0**believed - 1.0) * 2.0**excess)


Flags = NDArray[np.bool_]

#: Below this order levels do not come down. More than `EXCESS` above the scheme's the coarsest level is not resolved
#: itself; order 1 is believed then.
LEAST_ORDER = 0.5
EXCESS = 0.5
#: Safety on the error of a level, ``gap/(2^p - 1)``: in 3400 saved times the error was at most 2.2 times that, mostly
#: within 10 %.
SAFETY = 3.0
#: Cells per width, steps per e-folding, and the share of the density that may change in a step.
CELLS_PER_WIDTH = 2.0
STEPS_PER_FOLD = 2.0
CHANGE = 0.4
#: Save times at which the finest level is looked at.
LOOKS = 9
#: Differences below this multiple of the rounding of the norm have no order.
NOISE = 100.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the levels show, per (start, save).

    Attributes
    ----------
    factor : array
        Error per gap, ``3/(2^p - 1)`` with the order p to be believed.
    unresolved : bool array
    reason : str
        One sentence on the first place where evidence is missing; empty where it is everywhere.
    figures : dict
        Smallest observed order, cells per width and steps per e-folding along the run.
    """

    factor: Array
    unresolved: Flags
    reason: str
    figures: dict[str, float]


def look(
    problem: Problem,
    scheme_order: int,
    tau: Array,
    gap: Array,
    norm: Array,
    fine: Level,
    coarse: Level,
    third: tuple[Level, NDArray[np.int64]] | None,
    *,
    along: float | None = None,
) -> Evidence:
    """Hold the levels against each other and the finest against what it has to resolve.

    Parameters
    ----------
    problem : Problem
    scheme_order : int
    tau : array, shape (saves,)
        What the clock of the run shows at the save times.
    gap : array, shape (starts, saves)
        Weighted difference of the finest level to the next.
    norm : array, shape (starts, saves)
        Weighted norm of the finest level.
    fine, coarse : Level
        On all cells and on half of cells and steps.
    third : (Level, indices of its saves) or None
        On a quarter of both.
    along : float, optional
        The starts are members of an ensemble whose error along a path of noise is of this order. The difference of two
        levels of one path is small or large by chance: orders are those of the root mean square over all paths, never
        believed to be higher than this one, and half of it shows that levels come down.
    """
    observed = _observed(problem, coarse, third, gap, pooled=along is not None)
    least, most = (LEAST_ORDER, scheme_order) if along is None else (min(LEAST_ORDER, 0.5 * along), along)
    looked = looks(fine.plan)
    seen_width, seen_change = _seen(problem, fine, norm, looked)
    still = gap <= NOISE * np.finfo(float).eps * (4.0 + fine.plan.steps**0.5) * norm.max(axis=1, keepdims=True)
    observed[still] = scheme_order
    width, change = _between((np.minimum, np.maximum), (seen_width, seen_change), looked, gap.shape[1])
    folds = _steps_per_fold(problem, fine, tau)
    within = np.minimum(np.maximum(observed, LEAST_ORDER), most)
    believed = np.where(observed > scheme_order + EXCESS, min(1, most), within)
    factor = SAFETY / (2.0 ** np.where(np.isnan(believed), LEAST_ORDER, believed) - 1.0)
    below = _below_zero(problem, fine)
    single = np.maximum.accumulate(np.append(False, fine.plan.counts < 2))
    failing = {
        "a single step between save times leaves nothing to compare with: take more steps": single,
        f"its levels differ by {{gap:.2g}} and do not come down (observed order {{order:.2g}}, {least:g} is the "
        "least that shows it): take more cells and steps": np.logical_not(observed >= least),
        f"about {{width:.2g}} cells per width of its narrowest feature, {CELLS_PER_WIDTH:g} are needed: take more "
        "cells": width < CELLS_PER_WIDTH,
        f"about {{folds:.2g}} steps while the scale of the law changes by a factor e, {STEPS_PER_FOLD:g} are needed so "
        "far along the run: take more steps": folds < STEPS_PER_FOLD,
        f"a step changes {{change:.0%}} of it, {CHANGE:.0%} is the most: take more steps": change > CHANGE,
        "negative densities of weighted mass {below:.2g}, more than its levels differ by: take more steps, or a scheme "
        "that damps, tr-bdf2 or backward-euler": below > factor * gap + NOISE * np.finfo(float).eps * norm.max(),
    }
    unresolved = reduce(np.logical_or, failing.values())
    unresolved[:, 0] = False
    values = {"gap": gap, "order": observed, "width": width, "folds": folds, "change": change, "below": below}
    reason = _sentence(problem, failing, values, "start" if along is None else "path") if unresolved.any() else ""
    figures = {
        "observed_order": float(observed[:, 1:].min()),
        "cells_per_width": float(width.min()),
        "steps_per_fold": float(folds.min()),
    }
    return Evidence(factor, unresolved, reason, figures)


def root_mean_square(gap: Array) -> Array:
    """Over the members of an ensemble, of the shape of `gap` (paths, saves)."""
    return np.broadcast_to(np.sqrt(np.mean(np.square(gap), axis=0)), gap.shape)


def _observed(
    problem: Problem, coarse: Level, third: tuple[Level, NDArray[np.int64]] | None, gap: Array, *, pooled: bool
) -> Array:
    """Order shown by the third level at its saves; between them the lesser of the neighbours'. NaN without one."""
    if third is None:
        return np.full(gap.shape, np.nan)
    level, which = third
    seen = problem.weight_values_at(coarse.grid, problem.saves[which]), coarse.values[:, which]
    v, values = (moved(array, coarse.grid, level.grid) for array in seen)
    before = _sum(level.grid, v, values - level.values)
    gaps = gap[:, which], before
    found = observed_order(*(map(root_mean_square, gaps) if pooled else gaps))
    # at the start all levels hold the same law, which shows nothing
    found[:, 0] = found[:, 1]
    return _between((np.minimum,), (found,), which, gap.shape[1])[0]


def _between(worse: tuple[np.ufunc, ...], seen: tuple[Array, ...], which: NDArray[np.int64], saves: int) -> list[Array]:
    """What was seen at some saves, for all of them: between two the worse of both."""
    if len(which) == saves:
        return list(seen)
    every = np.arange(saves)
    right, left = np.searchsorted(which, every), np.searchsorted(which, every, side="right") - 1
    return [np.asarray(worst(one[:, left], one[:, right])) for worst, one in zip(worse, seen, strict=True)]


def moved(values: Array, grid: Grid, coarser: Grid) -> Array:
    """Cell averages on about half as many cells: means of neighbours, or by a spline of the cumulative where odd."""
    if all(n == 2 * m for n, m in zip(grid.shape, coarser.shape, strict=True)):
        return grid.restrict(values)
    for axis in range(grid.dim):
        rows = np.moveaxis(values, axis - grid.dim, -1) * grid.spacing[axis]
        masses = Cumulative((grid.face_axes[axis],), rows, degree=3).masses(coarser.face_axes[axis])
        values = np.moveaxis(masses / coarser.spacing[axis], -1, axis - grid.dim)
    return values


def looks(plan: StepPlan) -> NDArray[np.int64]:
    """The save times at which the finest level is looked at more closely: few, for it costs."""
    last, gaps = len(plan.saves) - 1, min(len(plan.saves), LOOKS) - 1
    return np.arange(gaps + 1) * last // gaps


def _seen(problem: Problem, fine: Level, norm: Array, looked: NDArray[np.int64]) -> tuple[Array, Array]:
    """Cells per width and change per step of the densities at some saves, shape (starts, saves) each.

    Widths w in cells: ``sum V |q''| / sum V |q|`` is about ``1/w^2`` for a Gaussian of that width.
    """
    v = problem.weight_values_at(fine.grid, fine.plan.saves[looked])
    planes = fine.values.reshape(*fine.values.shape[:2], -1, fine.values.shape[-1])
    before, ring = np.maximum(looked - 1, 0), problem.dynamics.boundary == "periodic"
    sums = np.empty((3, len(planes), len(looked)))
    work = partial(_look_closely, planes, v.reshape(len(v), *planes.shape[2:]), looked, before, ring, sums)
    over(sums[0].size, planes[0, 0].size * sums[0].size, work)
    change, *bends = sums / np.maximum(norm[:, looked] / fine.grid.volume, np.finfo(float).tiny)
    width = 1.0 / np.sqrt(np.maximum(np.maximum(*bends), np.finfo(float).eps))
    # share of the density that a step changes on its way to each save
    return width, change / fine.plan.counts[before]


@compiled
def _look_closely(
    q: Array,
    v: Array,
    looked: NDArray[np.int64],
    before: NDArray[np.int64],
    ring: bool,
    sums: Array,
    first: int,
    last: int,
) -> None:
    """``sum V |q - q before|`` and ``sum V |q''|`` along x and y, of pairs (start, look)."""
    nx, ny = q.shape[2], q.shape[3]
    for pair in range(first, last):
        s, k = divmod(pair, len(looked))
        here, then, weight = q[s, looked[k]], q[s, before[k]], v[k]
        change = along_x = along_y = 0.0
        for i in range(nx):
            row, earlier, w = here[i], then[i], weight[i]
            for j in range(ny):
                change += w[j] * abs(row[j] - earlier[j])
            for j in range(1, ny - 1):
                along_y += w[j] * abs((row[j + 1] - row[j]) - (row[j] - row[j - 1]))
            if ring:
                joint = row[0] - row[ny - 1]
                along_y += w[0] * abs((row[1] - row[0]) - joint) + w[ny - 1] * abs(joint - (row[ny - 1] - row[ny - 2]))
            if nx > 1 and (ring or 0 < i < nx - 1):
                left, right = here[i - 1], here[(i + 1) % nx]
                for j in range(ny):
                    along_x += w[j] * abs((right[j] - row[j]) - (row[j] - left[j]))
        sums[0, s, k], sums[1, s, k], sums[2, s, k] = change, along_x, along_y


def _steps_per_fold(problem: Problem, fine: Level, tau: Array) -> Array:
    """Steps per unit of the clock, the fewest so far; infinite where time itself is the clock."""
    steps = np.full(len(fine.plan.saves), np.inf)
    if problem.dynamics.reversed_time:
        steps[1:] = fine.plan.counts / np.maximum(np.diff(tau), np.finfo(float).tiny)
    return np.asarray(np.minimum.accumulate(steps))


def _below_zero(problem: Problem, fine: Level) -> Array:
    """``int V max(-q, 0)``, an error by itself where the start is no signed difference."""
    least = fine.values.min()
    if least >= 0.0 or least >= -NOISE * np.finfo(float).eps * fine.values.max():
        return np.zeros(fine.values.shape[:2])
    signed = fine.values[:, 0].reshape(len(fine.values), -1).min(axis=1) < 0.0
    v = problem.weight_values(fine.grid)
    below = over_saves(lambda s: _sum(fine.grid, v[s], np.minimum(fine.values[:, s], 0.0)), fine.values)
    return np.where(signed[:, None], 0.0, below)


def _sentence(problem: Problem, failing: dict[str, Flags], values: dict[str, Array], row: str) -> str:
    """Where evidence is missing first, and which."""
    shape = values["gap"].shape
    for template, flags in failing.items():
        places = np.argwhere(np.broadcast_to(flags, shape)[:, 1:])
        if len(places):
            start, save = places[np.argmin(places[:, 1])] + [0, 1]
            known = {name: float(np.broadcast_to(value, shape)[start, save]) for name, value in values.items()}
            said = template.format(**known)
            return f"{row} {list(problem.starts)[start]!r} at t = {float(problem.saves[save]):.6g}: {said}"
    return ""

"""Distances along a run: between its starts, to the exact marginals, and from where it stops to the data's law p_0."""

from __future__ import annotations

import json
from dataclasses import replace
from math import ceil
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fpsolve import _checks, _runs, weights
from fpsolve._checks import FloatArray
from fpsolve.distances._fields import (
    TAIL_SAFETY,
    Frame,
    Norm,
    aligned,
    tail_mass,
    weigher,
    weighted_norm_of_rows,
    weighted_sum,
)
from fpsolve.distances._spectral import COARSE, Field, unresolved
from fpsolve.distances._weighted import input_rounding, weighted_tv
from fpsolve.dynamics import Reverse
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.marginals import FastLaw
from fpsolve.weights import WeightLike

# suffix of the dimensions and positions of the previous level
_PREVIOUS = "_previous"
_NO_COMPANION = (
    "the run has no density_previous (estimate=False), so the discretisation error is unknown and error is NaN"
)
_CUT = (
    "the run is cut at its beginning: what the box threw back before is not known of the difference, and tail_error is "
    "that of the densities themselves, where the run has it in this weight"
)


def curve_of(
    run: xr.Dataset, frame: Frame, attrs: dict[str, str], norm: Norm, rounding: FloatArray, level: FloatArray
) -> xr.Dataset:
    """Put distances, the parts of their errors and the rate together, over the leading dimensions of the frame."""
    cut = _runs.forgetful(run) and float(run.variables["reverse_time"].values[0]) > 0.0
    tail, lost = norm.tail, np.zeros(frame.leading.size, dtype=bool)
    if cut and "tail" in run and run.attrs.get("weight") == attrs["weight"]:
        # the largest tails so far of both densities bound those of their difference
        tail = np.maximum(tail, _of_both(np.add, run["tail"].variable, run, frame, attrs))
    if "error_estimate" in run:
        # without an estimate of a density, its own or the reference's, there is none of the curve
        lost = _of_both(np.logical_or, run["error_estimate"].variable == np.inf, run, frame, attrs)
    # what the box threw back once is misplaced from then on
    along, shape = frame.leading.dims.index("t"), frame.leading.shape
    parts = {
        "level_error": np.where(lost, np.inf, level),
        "quadrature_error": norm.quadrature,
        "tail_error": np.maximum.accumulate(tail.reshape(shape), axis=along).ravel(),
        "rounding_error": rounding,
    }
    notes = ([] if "density_previous" in run else [_NO_COMPANION]) + ([_CUT] if cut else [])
    attrs = attrs | _runs.identity(run) | ({"note": "; ".join(notes)} if notes else {})
    if lost.any():
        attrs = attrs | {"resolved": "no", "resolved_reason": str(run.attrs.get("resolved_reason", ""))}
    # the time that has gone by: reverse time, or that since the start of other dynamics
    times = np.asarray(run["t"].values, dtype=float)
    elapsed = np.asarray(run["reverse_time"].values, dtype=float) if "reverse_time" in run.coords else times - times[0]
    rate = _rate(norm.value.reshape(shape), np.abs(elapsed), along).ravel()
    return frame.labelled(attrs, distance=norm.value, error=np.sum(list(parts.values()), axis=0), rate=rate, **parts)


def _of_both(join: np.ufunc, table: xr.Variable, run: xr.Dataset, frame: Frame, attrs: dict[str, str]) -> NDArray[Any]:
    """Return what a table over (start, t) has for the starts of a frame, joined with what it has for the reference."""
    place = {label: k for k, label in enumerate(run.variables["start"].values.tolist())}
    both = table.isel(start=[place[label] for label in frame.leading["start"].values.tolist()])
    if "reference" in attrs:
        both = join(both, table.isel(start=place[attrs["reference"]]))
    return np.asarray(both.set_dims(dict(frame.leading.sizes)).values).ravel()


def previous(run: xr.Dataset) -> xr.DataArray | None:
    """Return the densities of the previous level, with the names of `density`; None without them."""
    if "density_previous" not in run:
        return None
    before = run["density_previous"].transpose("start", "t", ...)
    names = [str(name) for name in (*before.dims, *before.coords)]
    return before.rename({name: name.removesuffix(_PREVIOUS) for name in names if name.endswith(_PREVIOUS)})


def level_error(
    run: xr.Dataset, frame: Frame, w: FloatArray, weight: WeightLike, *before: xr.DataArray | None
) -> FloatArray:
    """Return the discretisation error of rows w from what they were on the previous level, NaN without one.

    `before` are the densities there: one, or two whose difference w is.
    """
    levels = {f"density_previous_{k}": array for k, array in enumerate(before) if array is not None}
    if not levels:
        return np.full(len(w), np.nan)
    coarse = aligned(**levels)
    rows = [coarse.rows(array) for array in levels.values()]
    # means over the cells of the coarser frame of the same box
    ratio = [n // m for n, m in zip(frame.shape, coarse.shape, strict=True)]
    if tuple(r * m for r, m in zip(ratio, coarse.shape, strict=True)) != frame.shape:
        raise _checks.error(
            "run", "density_previous on a divisor of the cells of density", f"{coarse.shape} and {frame.shape}"
        )
    blocks = [length for pair in zip(coarse.shape, ratio, strict=True) for length in pair]
    axes = tuple(range(2, 2 * frame.dim + 1, 2))
    gap = np.asarray(w.reshape(len(w), *blocks).mean(axis=axes)) - (rows[0] - rows[1] if len(rows) > 1 else rows[0])
    return _runs.number(run, "error_factor") * weighted_sum(gap, coarse, weigher(weight, frame.dim))


def unbounded(run: xr.Dataset) -> bool:
    """Return whether the box only truncates the state space of the run."""
    return int(run.attrs.get("unbounded", 1)) == 1


def solver_rounding(run: xr.Dataset) -> float:
    """Return how much the round-off of a cell average exceeds that of storing it: a random walk over the steps."""
    levels = json.loads(run.attrs.get("levels", "[]"))
    steps = max((float(level["steps"]) for level in levels), default=0.0)
    return 1.0 + float(np.sqrt(steps))


def _rate(distance: FloatArray, r: FloatArray, axis: int) -> FloatArray:
    """Return -d log(distance) / dr along an axis, one-sided of second order at the ends."""
    if r.size < 2:
        return np.full_like(distance, np.nan)
    logarithm = np.full_like(distance, np.nan)
    np.log(distance, out=logarithm, where=distance > 0.0)
    order: Literal[1, 2] = 2 if r.size > 2 else 1
    return -np.asarray(np.gradient(logarithm, r, axis=axis, edge_order=order))


def forgetting_curve(run: xr.Dataset, reference: str = "exact", weight: WeightLike = None) -> xr.Dataset:
    """Return ``t -> ||nu_1 P_{T->t} - nu_2 P_{T->t}||_V`` for every start against a reference, with rate and error.

    With the signed difference ``w = p_start - p_reference`` of the stored cell averages,

    * distance = ``int V |w| dx``, by the conservative spline split at its roots (see `weighted_tv`);
    * rate = ``-d log(distance) / dr`` in reverse time r, by second-order differences on the given times;
    * error = what the discretisation leaves in *w*: ``error_factor * sum V |restrict(w) - w_previous| * volume`` with
      the previous level (or extrapolation) stored in the run, plus quadrature, plus the V-weighted tail of w
      beyond the box, plus round-off. The starts share grid and steps, so their errors cancel in w: a distance
      far below the densities' own errors still has correct digits, and the error shows how many.

    Parameters
    ----------
    run : Dataset
        What `evolve` returns: `density(start, t, x[, y])` (cell averages) and, unless estimated errors were switched
        off, `density_previous` on half as many cells; attrs `error_factor` and, where the state space is the
        box itself, ``unbounded = 0``.
    reference : str, default "exact"
        Label of the start all others are compared with.
    weight : weight, callable or None
        V >= 1, default ``1 + |x|^2``.

    Returns
    -------
    Dataset
        `distance`, `error` and `rate` over (start, t), the reference left out; `quadrature_error`, `level_error`,
        `tail_error` and `rounding_error` are the parts of `error`. Coordinates of t, such as `reverse_time`, are
        kept. The rate is NaN where the distance is 0 and where there are fewer than two times. Without
        `density_previous` the level error, hence `error`, is NaN and attrs["note"] says so. attrs["status"] is
        "estimated", as the error bars are; `fpsolve.proofs.verify` proves what it can.

    Raises
    ------
    ValueError
        If the run lacks a density, times, positions, the attribute that scales its errors or the reference, or has no
        start besides it, or is two runs put together.

    Examples
    --------
    >>> import numpy as np
    >>> from fpsolve import Gaussian, Grid
    >>> grid, times = Grid.uniform((-9, 9), cells=200), [2.0, 1.0, 0.0]
    >>> laws = {"exact": lambda t: Gaussian(0.0, std=1.0), "off": lambda t: Gaussian(1e-3 * np.exp(t), std=1.0)}
    >>> density = [[grid.cell_average(law(t)) for t in times] for law in laws.values()]
    >>> run = xr.Dataset(
    ...     {"density": (("start", "t", "x"), density)},
    ...     coords={"start": list(laws), "t": times, "reverse_time": ("t", [0.0, 1.0, 2.0]), "x": grid.x},
    ... )
    >>> curve = forgetting_curve(run)
    >>> curve.rate.sel(start="off").values.round(3)
    array([1., 1., 1.])
    """
    given, run = run, _runs.tidy(run)
    labels = run.variables["start"].values.tolist()
    _checks.one_of("reference", reference, labels, "name a start of the run")
    if len(labels) < 2:
        raise _checks.error("run", "a start besides the reference", f"{labels}", "evolve at least two starts")
    density, before = run["density"].transpose("start", "t", ...), previous(run)
    which = [k for k, label in enumerate(labels) if label != reference], labels.index(reference)
    others, fixed = (density.isel(start=k, drop=True) for k in which)
    frame = aligned(density=others, reference=fixed)
    p, q = frame.rows(others), frame.rows(fixed)
    norm = weighted_norm_of_rows(p - q, frame, weight, unbounded=unbounded(run), densities=(p, q))
    rounding = input_rounding(frame, weight, p, q, growth=solver_rounding(run))
    pair = [] if before is None else [before.isel(start=k, drop=True) for k in which]
    level = level_error(run, frame, p - q, weight, *pair)
    attrs = {"quantity": "weighted total variation to the reference start", "reference": reference}
    attrs["weight"] = weights.to_json(weight)
    return _runs.in_order_of(given, curve_of(run, frame, attrs, norm, rounding, level))


def to_marginals(run: xr.Dataset, reverse: Reverse, weight: WeightLike = None) -> xr.Dataset:
    r"""Return ``t -> ||q_t - p_t||_V``, the distance of every start of a run to the marginals of the forward process.

    With the exact score a run from ``p_T`` stays at 0, up to its error; with a score model the curve from ``p_T`` is
    what the error of the score has cost so far, and the curve from the prior adds the error of the start.

    Parameters
    ----------
    run : Dataset
        What `fpsolve.evolve` returned for `reverse`: cell averages over (start, t, x[, y]).
    reverse : Reverse
        Its target and process define ``p_t``; its score and eta are those of the run.
    weight : weight, callable or None
        V >= 1, default ``1 + |x|^2``.

    Returns
    -------
    Dataset
        `distance`, `error`, `rate` and the parts of the error over (start, t), as `fpsolve.forgetting_curve` returns
        them and `fpsolve.plots.forgetting` draws them. The error is that of the run's own density: level, quadrature,
        tail and rounding; infinite where the cells do not hold p_t. A distance below its error means that nothing was
        found.

    Raises
    ------
    ValueError
        If the run lacks densities, its dimension is not the target's, or it says that it is one of another target or
        process.

    Examples
    --------
    >>> import fpsolve as fp
    >>> target, process = fp.Gaussian(0.5, std=0.5), fp.VP()
    >>> model = fp.scores.perturbed(fp.scores.exact(target, process), fp.scores.errors.Bias(0.1))
    >>> reverse = fp.Reverse(target, process, score=model)
    >>> run = fp.evolve(reverse, {"exact": reverse.marginal(1.0)}, t_min=0.01, tol=1e-4)
    >>> cost = to_marginals(run, reverse).isel(start=0, t=-1)
    >>> f"{float(cost.distance):.3f}", bool(cost.error < 1e-4)
    ('0.217', True)
    """
    _checks.instances(reverse=(reverse, Reverse))
    given, run = run, _runs.tidy(run)
    density = run["density"].transpose("start", "t", ...)
    truth = _marginals_on(density.isel(start=0, drop=True), reverse)
    _runs.require_made_of(run, target=reverse.target, process=reverse.process)
    frame = aligned(density=density, marginals=truth)
    q, p = frame.rows(density), frame.rows(truth)
    norm = weighted_norm_of_rows(q - p, frame, weight, unbounded=unbounded(run), densities=(p, q))
    cut = _cut(p, frame)
    norm = replace(norm, tail=np.where(cut, np.inf, norm.tail))
    rounding = input_rounding(frame, weight, q, p, growth=solver_rounding(run))
    # the marginals are exact on every level, so what is left of the difference is the density's own
    level = level_error(run, frame, q, weight, previous(run))
    attrs = {"quantity": "weighted total variation to the marginals", "weight": weights.to_json(weight)}
    attrs |= {"resolved": "no", "resolved_reason": CUT} if cut.any() else {}
    return _runs.in_order_of(given, curve_of(run, frame, attrs, norm, rounding, level))


def _marginals_on(density: xr.DataArray, reverse: Reverse) -> xr.DataArray:
    """Cell averages of p_t where the density (t, x[, y]) has its cells."""
    frame = aligned(density=density)
    _checks.same_dim("run", frame.dim, "the target", reverse.target.dim)
    times = [float(t) for t in density["t"].values]
    averages = []
    for k, t in enumerate(times):
        low, spacing = ([float(part[min(k, len(part) - 1)]) for part in axis] for axis in (frame.low, frame.spacing))
        bounds = [(a, a + h * n) for a, h, n in zip(low, spacing, frame.shape, strict=True)]
        line = frame.dim == 1
        grid = Grid.uniform(bounds[0], cells=frame.shape[0]) if line else Grid.uniform(bounds, cells=frame.shape)
        averages.append(_averaged(reverse.marginal(t), grid))
    return density.copy(data=averages)


#: The default grid: standard deviations to each side, which are doubled so often at most until the error is below this
#: share; cells per narrowest width, cells at most per axis in 1D and 2D.
_REACH, _DOUBLED, _ENOUGH, _CELLS, _MOST = 10.0, 3, 1e-6, 6.0, (4000, 320)
#: Mass of a law that its cells may lack, and beyond what their tails show: of quadrature.
_LACKING, _QUADRATURE = 1e-3, 1e-8
#: Standard deviations of a law per cell below which its cells say nothing of it.
_NARROWEST = 0.5
CUT = "the cells do not hold the laws: widen the grid"


def early_stopping(
    reverse: Reverse, t_min: float, weight: WeightLike = None, *, grid: Grid | None = None
) -> xr.Dataset:
    """Return ``||p_{t_min} - p_0||_V``, what a run loses by stopping at t_min > 0 even if it is exact.

    Errors of runs and samplers are measured against p_{t_min}; this is the term left to the data's law. It belongs to
    every error budget, and is often the largest part of it.

    Parameters
    ----------
    reverse : Reverse
        Its target is p_0 and its process noises it; score and eta do not matter.
    t_min : float
        Forward time in [0, T] at which the run ends.
    weight : weight, callable or None
        V >= 1, default ``1 + |x|^2``.
    grid : Grid, optional
        Default: ten standard deviations of both laws to each side, or of 20, 40 and 80 what leaves the smallest error;
        six cells per narrowest width (at most 4000, in 2D 320 per axis).

    Returns
    -------
    Dataset
        `distance` and `error`, as of `weighted_tv`; infinite where the cells do not resolve the laws or do not hold
        them.

    Raises
    ------
    ValueError
        A time outside of [0, T]; a target of points, of which every p_t is 2 away in total variation; no finite
        variance and no grid.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=0.5), fp.OrnsteinUhlenbeck(T=2.0))
    >>> round(float(early_stopping(reverse, 0.01).distance), 6)
    0.044059
    """
    _checks.instances(reverse=(reverse, Reverse))
    t = _checks.interval("t_min", t_min, 0.0, reverse.horizon)
    target = reverse.target
    if np.trace(np.atleast_2d(target.cov)) == 0.0:
        raise _checks.error("reverse", "a target with a density", repr(target)[:60], "give its kernel density")
    laws, found = (reverse.marginal(t), target), []
    if grid is not None:
        _checks.same_dim("grid", grid.dim, "the target", target.dim)
        return _apart(laws, grid, weight)
    stds = [np.sqrt(np.diag(np.atleast_2d(law.cov))) for law in laws]
    if not np.all(np.isfinite(stds)) or np.min(stds) == 0.0:
        raise _checks.error("grid", "a Grid for a target without a finite variance", "None")
    narrow = min(law.smallest_std or float(s.min()) / _CELLS**2 for law, s in zip(laws, stds, strict=True))
    for k in range(_DOUBLED + 1):
        reach = [(np.atleast_1d(law.mean), 2.0**k * _REACH * s) for law, s in zip(laws, stds, strict=True)]
        low, high = np.min([m - r for m, r in reach], axis=0), np.max([m + r for m, r in reach], axis=0)
        counts = [min(ceil(side * _CELLS / narrow), _MOST[target.dim - 1]) for side in high - low]
        bounds = list(zip(low.tolist(), high.tolist(), strict=True))
        found.append(_apart(laws, Grid.uniform(bounds, cells=counts), weight))
        if found[-1]["error"] <= _ENOUGH * found[-1]["distance"]:
            break
    return min(found, key=lambda one: float(one["error"]))


def _apart(laws: tuple[Law, Law], grid: Grid, weight: WeightLike) -> xr.Dataset:
    """Return how far two laws are from one another on a grid; no error bar where it does not resolve or hold them."""
    names = ("x", "y")[: grid.dim]
    p, q = (
        xr.DataArray(_averaged(law, grid), dims=names, coords=dict(zip(names, grid.axes, strict=True))) for law in laws
    )
    low, spacing = (tuple(part[0] for part in grid.bounds), tuple(float(h) for h in grid.spacing))
    result, both = weighted_tv(p, q, weight), np.stack([p.values, q.values])
    narrow = any(0.0 < law.smallest_std < _NARROWEST * max(spacing) for law in laws)
    found = {COARSE: narrow or unresolved(Field(both, low, spacing)).any(), CUT: _cut(both, aligned(p=p)).any()}
    reasons = [reason for reason, holds in found.items() if holds]
    result["error"] = result["error"] + (np.inf if reasons else 0.0)
    attrs = {"quantity": "early stopping, to the law of the data"} | ({"reason": "; ".join(reasons)} if reasons else {})
    return result.assign_attrs(attrs)


def _cut(rows: FloatArray, frame: Frame) -> NDArray[np.bool_]:
    """Which rows of cell averages of probabilities lack much mass, or more than their decay at the ends shows.

    What lies beyond, most of a wide law or a component of small weight, is then not known from the cells.
    """
    lacking = 1.0 - rows.reshape(len(rows), -1).sum(axis=1) * frame.volume
    shown = TAIL_SAFETY * tail_mass(rows, frame, weigher(weights.UnitWeight(), frame.dim))
    return np.asarray(lacking > np.minimum(_LACKING, shown + _QUADRATURE))


def _averaged(law: Law, grid: Grid) -> FloatArray:
    # in the plane a rotated component has no closed form of a cell's mass: quadrature of the compiled density
    mixture = law.components
    return grid.cell_average(law if mixture is None or grid.dim == 1 else FastLaw(mixture))

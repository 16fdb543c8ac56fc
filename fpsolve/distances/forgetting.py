"""How fast a run forgets where it started: distances to a reference start over time, with error and rate."""

import json
from typing import Literal

import numpy as np
import xarray as xr

from fpsolve import _checks, weights
from fpsolve._checks import FloatArray
from fpsolve.distances._fields import Frame, aligned
from fpsolve.distances._norms import Norm, weigher, weighted_norm_of_rows, weighted_sum
from fpsolve.distances.weighted import input_rounding
from fpsolve.weights import WeightLike

__all__ = ["forgetting_curve"]

# suffix of the dimensions and positions of the previous level
_PREVIOUS = "_previous"
_NO_COMPANION = (
    "the run has no density_previous (estimate=False), so the discretisation error is unknown and error is NaN"
)


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
        `density_previous` the level error, hence `error`, is NaN and attrs["note"] says so.

    Raises
    ------
    ValueError
        If the run lacks a density or the reference, or has no start besides it.

    Examples
    --------
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
    _require(run, reference)
    density = run["density"].transpose("start", "t", ...)
    fixed = density.sel(start=reference, drop=True)
    others = density.drop_sel(start=reference)
    frame = aligned(density=others, reference=fixed)
    p, q = frame.rows(others), frame.rows(fixed)
    norm = weighted_norm_of_rows(p - q, frame, weight, unbounded=_unbounded(run))
    rounding = _solver_rounding(run) * input_rounding(frame, weight, p, q)
    parts = _error_parts(norm, rounding, _level_error(run, reference, frame, p - q, weight))
    curve = frame.labelled(_attrs(run, reference, weight), distance=norm.value, **parts)
    curve["error"] = xr.zeros_like(curve["distance"]) + sum(curve[name] for name in parts)
    curve["rate"] = _rate(curve["distance"], _reverse_time(run))
    return curve[["distance", "error", "rate", *parts]]


def _require(run: xr.Dataset, reference: str) -> None:
    if not isinstance(run, xr.Dataset) or "density" not in run:
        raise _checks.error(
            "run", "a Dataset with the variable density, as fp.evolve returns", f"a {type(run).__name__}"
        )
    if not {"start", "t"} <= set(run["density"].dims) or "start" not in run.coords:
        raise _checks.error("run", "density over (start, t, ...)", f"dimensions {run['density'].dims}")
    labels = run["start"].values.tolist()
    _checks.one_of("reference", reference, labels, "name a start of the run")
    if len(labels) < 2:
        raise _checks.error("run", "a start besides the reference", f"{labels}", "evolve at least two starts")


def _unbounded(run: xr.Dataset) -> bool:
    return int(run.attrs.get("unbounded", 1)) == 1


def _error_parts(norm: Norm, rounding: FloatArray, level: FloatArray) -> dict[str, FloatArray]:
    return {
        "level_error": level,
        "quadrature_error": norm.quadrature,
        "tail_error": norm.tail,
        "rounding_error": rounding,
    }


def _level_error(run: xr.Dataset, reference: str, frame: Frame, w: FloatArray, weight: WeightLike) -> FloatArray:
    """Return the discretisation error of w from its difference to the previous level, NaN without one."""
    if "density_previous" not in run:
        return np.full(len(w), np.nan)
    before = run["density_previous"].transpose("start", "t", ...)
    difference = before.drop_sel(start=reference) - before.sel(start=reference, drop=True)
    names = [str(name) for name in (*difference.dims, *difference.coords)]
    ours = {name: name.removesuffix(_PREVIOUS) for name in names if name.endswith(_PREVIOUS)}
    difference = difference.rename(ours)
    coarse = aligned(density_previous=difference)
    gap = _restrict(w, frame, coarse) - coarse.rows(difference)
    return float(run.attrs["error_factor"]) * weighted_sum(gap, coarse, weigher(weight, frame.dim))


def _restrict(w: FloatArray, frame: Frame, coarse: Frame) -> FloatArray:
    """Return means over the cells of the coarser frame of the same box."""
    ratio = [n // m for n, m in zip(frame.shape, coarse.shape, strict=True)]
    if tuple(r * m for r, m in zip(ratio, coarse.shape, strict=True)) != frame.shape:
        raise _checks.error(
            "run", "density_previous on a divisor of the cells of density", f"{coarse.shape} and {frame.shape}"
        )
    blocks = [length for pair in zip(coarse.shape, ratio, strict=True) for length in pair]
    axes = tuple(range(2, 2 * frame.dim + 1, 2))
    return np.asarray(w.reshape(len(w), *blocks).mean(axis=axes))


def _reverse_time(run: xr.Dataset) -> FloatArray:
    """Return elapsed time: reverse time, or the time since the start of other dynamics."""
    if "reverse_time" in run.coords:
        return np.asarray(run["reverse_time"].values, dtype=float)
    times = np.asarray(run["t"].values, dtype=float)
    return np.asarray(np.abs(times - times[0]))


def _rate(distance: xr.DataArray, r: FloatArray) -> xr.DataArray:
    """Return -d log(distance) / dr, one-sided of second order at the ends."""
    if r.size < 2:
        return xr.full_like(distance, np.nan)
    values = distance.transpose(..., "t")
    positive = values.values > 0.0
    logarithm: FloatArray = np.where(positive, np.log(np.where(positive, values.values, 1.0)), np.nan)
    order: Literal[1, 2] = 2 if r.size > 2 else 1
    slope = np.apply_along_axis(np.gradient, -1, logarithm, r, edge_order=order)
    return values.copy(data=-slope).transpose(*distance.dims)


def _solver_rounding(run: xr.Dataset) -> float:
    """Return how much the round-off of a cell average exceeds that of storing it: a random walk over the steps."""
    levels = json.loads(run.attrs.get("levels", "[]"))
    steps = max((float(level["steps"]) for level in levels), default=0.0)
    return 1.0 + float(np.sqrt(steps))


def _attrs(run: xr.Dataset, reference: str, weight: WeightLike) -> dict[str, str]:
    attrs = {
        "quantity": "weighted total variation to the reference start",
        "reference": reference,
        "weight": weights.to_json(weight),
    }
    return attrs if "density_previous" in run else attrs | {"note": _NO_COMPANION}

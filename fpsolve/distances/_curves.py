"""What a run knows of its own errors, and curves made of it: level, quadrature, tail and rounding over (start, t)."""

import json
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fpsolve import _checks, _runs
from fpsolve._checks import FloatArray
from fpsolve.distances._fields import Frame, aligned
from fpsolve.distances._norms import Norm, weigher, weighted_sum
from fpsolve.weights import WeightLike

__all__ = ["curve_of", "level_error", "previous", "solver_rounding", "unbounded"]

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
    cut = _runs.forgetful(run) and float(run["reverse_time"][0]) > 0.0
    tail = np.maximum(norm.tail, _tails_before(run, frame, attrs)) if cut else norm.tail
    lost = _unresolved(run, frame, attrs)
    parts = {
        "level_error": np.where(lost, np.inf, level),
        "quadrature_error": norm.quadrature,
        "tail_error": _largest_so_far(tail, frame),
        "rounding_error": rounding,
    }
    notes = ([] if "density_previous" in run else [_NO_COMPANION]) + ([_CUT] if cut else [])
    attrs = attrs | _runs.identity(run) | ({"note": "; ".join(notes)} if notes else {})
    if lost.any():
        attrs = attrs | {"resolved": "no", "resolved_reason": str(run.attrs.get("resolved_reason", ""))}
    curve = frame.labelled(attrs, distance=norm.value, **parts)
    curve["error"] = xr.zeros_like(curve["distance"]) + sum(curve[name] for name in parts)
    curve["rate"] = _rate(curve["distance"], _reverse_time(run))
    return curve[["distance", "error", "rate", *parts]]


def _unresolved(run: xr.Dataset, frame: Frame, attrs: dict[str, str]) -> NDArray[np.bool_]:
    """Return where the run has no estimate of a density, its own or the reference's: nor is there one of the curve."""
    if "error_estimate" not in run:
        return np.zeros(frame.leading.size, dtype=bool)
    lost: xr.DataArray = run["error_estimate"] == np.inf
    own = lost.sel(start=frame.leading["start"])
    both = own | lost.sel(start=attrs["reference"], drop=True) if "reference" in attrs else own
    return np.asarray(both.transpose(*frame.leading.dims).values, dtype=bool).ravel()


def _largest_so_far(tail: FloatArray, frame: Frame) -> FloatArray:
    """Return the largest of the tails up to each time: what the box threw back once is misplaced from then on."""
    over_time = frame.leading.copy(data=tail.reshape(frame.leading.shape)).transpose(..., "t")
    grown = over_time.copy(data=np.maximum.accumulate(over_time.values, axis=-1))
    return np.asarray(grown.transpose(*frame.leading.dims).values).ravel()


def _tails_before(run: xr.Dataset, frame: Frame, attrs: dict[str, str]) -> FloatArray:
    """Return the largest tails so far of both densities as the run has them: a bound of those of their difference."""
    if "tail" not in run or run.attrs.get("weight") != attrs["weight"]:
        return np.zeros(frame.leading.size)
    own = run["tail"].sel(start=frame.leading["start"])
    both = own + run["tail"].sel(start=attrs["reference"], drop=True) if "reference" in attrs else own
    return np.asarray(both.transpose(*frame.leading.dims).values, dtype=float).ravel()


def previous(run: xr.Dataset) -> xr.DataArray | None:
    """Return the densities of the previous level, with the names of `density`; None without them."""
    if "density_previous" not in run:
        return None
    before = run["density_previous"].transpose("start", "t", ...)
    names = [str(name) for name in (*before.dims, *before.coords)]
    return before.rename({name: name.removesuffix(_PREVIOUS) for name in names if name.endswith(_PREVIOUS)})


def level_error(
    run: xr.Dataset, before: xr.DataArray | None, frame: Frame, w: FloatArray, weight: WeightLike
) -> FloatArray:
    """Return the discretisation error of rows w from what they were on the previous level, NaN without one."""
    if before is None:
        return np.full(len(w), np.nan)
    coarse = aligned(density_previous=before)
    gap = _restrict(w, frame, coarse) - coarse.rows(before)
    return _runs.number(run, "error_factor") * weighted_sum(gap, coarse, weigher(weight, frame.dim))


def unbounded(run: xr.Dataset) -> bool:
    """Return whether the box only truncates the state space of the run."""
    return int(run.attrs.get("unbounded", 1)) == 1


def solver_rounding(run: xr.Dataset) -> float:
    """Return how much the round-off of a cell average exceeds that of storing it: a random walk over the steps."""
    levels = json.loads(run.attrs.get("levels", "[]"))
    steps = max((float(level["steps"]) for level in levels), default=0.0)
    return 1.0 + float(np.sqrt(steps))


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

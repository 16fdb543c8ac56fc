"""The first look at a model: does it answer at all, with the right shape, type and order of arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._callables import refuse_company, told
from fpsolve._checks import USER_ERRORS, FloatArray
from fpsolve.scores._arrays import answer, as_numpy

Predict = Callable[[float, FloatArray], Any]

def first_values(
    name: str, predict: Predict, times: Sequence[float], points: Sequence[FloatArray], dim: int, swapped: Predict
) -> list[FloatArray]:
    """Return what the model gives at the points of every time, of their shape, finite floats.

    Raises
    ------
    ValueError
        If it raises, returns another shape, integers or values that are not finite, changes its points, or has another
        value at a point among others; the message says if the model answers properly with its arguments exchanged.
    """
    return [_one(name, predict, t, x, dim, swapped) for t, x in zip(times, points, strict=True)]


def _one(name: str, predict: Predict, t: float, x: FloatArray, dim: int, swapped: Predict) -> FloatArray:
    where, before = f"{name} at t = {t:g}", x.copy()
    try:
        raw = predict(t, x)
    except USER_ERRORS as reason:
        remedy = _remedy(swapped, t, x) or "points come as numpy arrays; wrap a torch module by from_torch"
        raise _checks.error(where, f"an answer for points of shape {x.shape}", told(reason), remedy) from reason
    array = as_numpy(where, raw)
    if array.dtype.kind in "iu":
        remedy = "return floats: integers cut the digits off"
        raise _checks.error(where, "floats", f"integers ({array.dtype})", remedy)
    if array.shape != x.shape:
        remedy = _remedy(swapped, t, x) or "return one number (1D) or vector (2D) per point"
        raise _checks.error(where, f"the shape of x, {x.shape}", f"{array.shape}", remedy)
    values = answer(name, t, x, array, dim)
    if not np.array_equal(before, x):
        raise _checks.error(where, "a model that leaves its points alone", "one that changes x in place", "copy it")
    refuse_company(where, lambda points: predict(t, points), before, values)
    return values


def _remedy(swapped: Predict, t: float, x: FloatArray) -> str:
    """Say so where the model answers properly with the arguments exchanged."""
    try:
        array = np.asarray(as_numpy("", swapped(t, x)))
    except USER_ERRORS:
        return ""
    good = array.shape == x.shape and array.dtype.kind == "f" and bool(np.isfinite(array).all())
    return "it answers when called with (x, t): exchange the arguments" if good else ""

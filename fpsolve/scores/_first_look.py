"""The first look at a model: does it answer at all, with the right shape, type and order of arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.scores._arrays import MODEL_ERRORS, answer, as_numpy

Predict = Callable[[float, FloatArray], Any]

_POINT_NAMES = {"x", "y", "z", "xt", "x_t", "point", "points", "position", "sample", "samples"}
_TIME_NAMES = {"t", "tau", "r", "time", "times", "timestep", "timesteps", "sigma", "noise_level"}


def refuse_swapped_names(name: str, model: Any, order: str, remedy: str) -> None:
    """Refuse a model whose parameters are named in the other order than it is called in.

    Raises
    ------
    ValueError
        If one of its first two parameters is named like a point, the other like a time, and they stand the other way.
    """
    try:
        parameters = list(inspect.signature(model).parameters)[:2]
    except (TypeError, ValueError):  # compiled functions may have no signature
        return
    if len(parameters) < 2:
        return
    first, second = (parameter.lower() for parameter in parameters)
    found = "t, x" if first in _TIME_NAMES and second in _POINT_NAMES else ""
    found = "x, t" if first in _POINT_NAMES and second in _TIME_NAMES else found
    if found and found != order:
        raise _checks.error(name, f"arguments in the order ({order})", f"({', '.join(parameters)})", remedy)


def first_values(
    name: str, predict: Predict, times: Sequence[float], points: Sequence[FloatArray], dim: int, swapped: Predict
) -> list[FloatArray]:
    """Return what the model gives at the points of every time, of their shape, finite floats.

    Raises
    ------
    ValueError
        If it raises, returns another shape, integers or values that are not finite; the message says if the model
        answers properly with its arguments exchanged.
    """
    return [_one(name, predict, t, x, dim, swapped) for t, x in zip(times, points, strict=True)]


def _one(name: str, predict: Predict, t: float, x: FloatArray, dim: int, swapped: Predict) -> FloatArray:
    where = f"{name} at t = {t:g}"
    try:
        raw = predict(t, x)
    except MODEL_ERRORS as reason:
        got = f"{type(reason).__name__}: {str(reason).splitlines()[0][:120] if str(reason) else 'no message'}"
        remedy = _remedy(swapped, t, x) or "points come as numpy arrays; wrap a torch module by from_torch"
        raise _checks.error(where, f"an answer for points of shape {x.shape}", got, remedy) from reason
    array = as_numpy(where, raw)
    if array.dtype.kind in "iu":
        remedy = "return floats: integers cut the digits off"
        raise _checks.error(where, "floats", f"integers ({array.dtype})", remedy)
    if array.shape != x.shape:
        remedy = _remedy(swapped, t, x) or "return one number (1D) or vector (2D) per point"
        raise _checks.error(where, f"the shape of x, {x.shape}", f"{array.shape}", remedy)
    return answer(name, t, x, array, dim)


def _remedy(swapped: Predict, t: float, x: FloatArray) -> str:
    """Say so where the model answers properly with the arguments exchanged."""
    try:
        array = np.asarray(as_numpy("", swapped(t, x)))
    except MODEL_ERRORS:
        return ""
    good = array.shape == x.shape and array.dtype.kind == "f" and bool(np.isfinite(array).all())
    return "it answers when called with (x, t): exchange the arguments" if good else ""

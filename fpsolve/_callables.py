"""What users hand in as functions of points f(x), of time c(t), or of both f(t, x): one look, one check of answers.

The signature tells an exchanged order before anything runs; an answer is held against the points it was asked for;
a closer look asks again at a few of them, because a function that sees the other points too (a mean, a batch norm, a
random number) has no value at a point. Functions symmetric in t and x cannot be told from their exchange.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fpsolve._checks import USER_ERRORS, FloatArray, error, real_array, shown

_POINT_NAMES = {"x", "y", "z", "xs", "xt", "x_t", "point", "points", "pos", "position", "positions", "state"}
_POINT_NAMES |= {"sample", "samples"}
_TIME_NAMES = {"t", "tau", "r", "time", "times", "timestep", "timesteps", "sigma", "noise_level"}
#: Names that are nothing else, whatever the other argument is called.
_SURELY = {"t, x": ({"x", "xs", "points", "positions"}, {"t", "time"})}
_SURELY["x, t"] = (_SURELY["t, x"][1], _SURELY["t, x"][0])
#: Largest change of a value, relative to the largest one, when it is asked for among other points: single precision.
_ALONE = 1e-4
#: Fewer points are not asked for twice.
_FEWEST = 32


def refuse_swapped_names(name: str, function: Any, order: str, remedy: str) -> None:
    """Refuse a function whose parameters are named in the other order than it is called in.

    Raises
    ------
    ValueError
        If one of its first two parameters is named like a point and the other like a time and they stand the other way,
        or one of them has a name that belongs to the other place, as x before t.
    """
    names = _parameters(function)
    if names is None or len(names) < 2:
        return
    first, second = (parameter.lower() for parameter in names[:2])
    found = "t, x" if first in _TIME_NAMES and second in _POINT_NAMES else ""
    found = "x, t" if first in _POINT_NAMES and second in _TIME_NAMES else found
    not_first, not_second = _SURELY[order]
    if (found and found != order) or first in not_first or second in not_second:
        raise error(name, f"arguments in the order ({order})", f"({', '.join(names)})", remedy)


def refuse_signature(name: str, function: Any, order: str, remedy: str = "") -> None:
    """Refuse what cannot be called with the arguments of `order`: "t, x", "x" or "t".

    Raises
    ------
    ValueError
        What cannot be called, takes more or fewer arguments, or has them named in the other order.
    """
    if not callable(function):
        got = "an array: one number along every axis" if isinstance(function, np.ndarray) else shown(function)
        raise error(name, f"a callable {name}({order})", got, remedy)
    count = len(order.split(","))
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # compiled functions may have none
        return
    try:
        signature.bind(*range(count))
    except TypeError:
        taken = ", ".join(map(str, signature.parameters.values()))
        raise error(name, f"a function of ({order})", f"one of ({taken})", remedy) from None
    if count == 2:
        refuse_swapped_names(name, function, order, f"exchange them: it is called with ({order})")
    elif order == "t" and next(iter(signature.parameters)).lower() in _SURELY["t, x"][0]:
        raise error(name, "a function of (t)", f"one of ({next(iter(signature.parameters))})", remedy)


def answer_of(label: str, function: Callable[..., Any], *arguments: Any, remedy: str = "") -> Any:
    """Return ``function(*arguments)``; what a user's function raises becomes a sentence, fpsolve's own stay.

    Raises
    ------
    ValueError
        What the function raised, with its kind and the shape of the points it was asked for.
    """
    try:
        return function(*arguments)
    except USER_ERRORS as reason:
        if isinstance(reason, ValueError) and ": expected " in str(reason):
            raise
        shape = np.shape(arguments[-1])
        where = f"points of shape {shape}" if shape else "one number"
        remedy = remedy or "it is called with numpy arrays"
        raise error(label, f"an answer for {where}", told(reason), remedy) from reason


def values_of(
    name: str,
    function: Callable[..., Any],
    x: FloatArray,
    *,
    t: float | None = None,
    vector: bool = False,
    dim: int | None = None,
    constant: bool = False,
    look: bool = True,
) -> FloatArray:
    """Return ``function(x)``, or ``function(t, x)`` where t is given, at the points x: real, finite, of their shape.

    Parameters
    ----------
    name : str
        What messages call it.
    function : callable
    x : array, shape (...) in 1D, (..., 2) in 2D
    t : float, optional
    vector : bool
        One number per coordinate, of the shape of x; default: one per point.
    dim : int, optional
        1 or 2; needed unless `vector`.
    constant : bool
        A value that does not depend on x may come alone; it is repeated.
    look : bool
        Also ask for a few points on their own, and see whether x was changed.

    Raises
    ------
    ValueError
        It raises, returns another shape, something that is not real numbers, NaN or infinities; it changes x, or its
        value at a point depends on the other points.
    """
    label = name if t is None else f"{name} at t = {t:g}"
    shape = x.shape if vector or dim == 1 else x.shape[:-1]
    before = x.copy() if look else x
    try:
        raw = function(x) if t is None else function(t, x)
    except USER_ERRORS as reason:
        remedy = exchanged(function, t, before, shape) or "it is called with numpy arrays"
        raise error(label, f"an answer for points of shape {x.shape}", told(reason), remedy) from reason
    values = real_array(label, raw, "return real floats")
    if constant and values.shape in ((), (2,) if vector and dim != 1 and x.shape[-1:] == (2,) else ()):
        named = [one.lower() for one in (_parameters(function) or [])[:2]]
        in_order = len(named) == 2 and (named[0] in _TIME_NAMES or named[1] in _POINT_NAMES)
        if not in_order and (found := exchanged(function, t, before, shape)):
            raise error(label, f"one value per point, of shape {shape}", f"shape {values.shape}", found)
        values = np.broadcast_to(values, shape)
    if values.shape != shape:
        per = "one number (1D) or vector (2D)" if vector else "one value"
        remedy = exchanged(function, t, before, shape) or f"return {per} per point"
        raise error(label, f"values of shape {shape}, that of the points", f"shape {values.shape}", remedy)
    refuse_bad(label, values, before, dim)
    if look and not np.array_equal(before, x):
        raise error(label, "a function that leaves its points alone", "one that changes x in place", "work on a copy")
    if look:
        ask = function if t is None else lambda points: function(t, points)
        refuse_company(label, ask, before, values)
    return values


def refuse_bad(label: str, values: FloatArray, x: FloatArray, dim: int | None = None, remedy: str = "") -> None:
    """Refuse NaN and infinities, with the first point where they occur."""
    bad = ~np.isfinite(values)
    if bad.any():
        count = f"{int(bad.sum())} NaN or infinite of {values.size}"
        raise error(label, "finite numbers", f"{count}, the first where x = {_place(x, bad, dim)}", remedy)


def refuse_company(label: str, ask: Callable[[FloatArray], Any], x: FloatArray, values: FloatArray) -> None:
    """Refuse a function whose value at a point is another one when it is asked for a few of the points only."""
    planar = x.ndim > 1 and x.shape[-1] == 2
    lengths = x.shape[:-1] if planar else x.shape
    if math.prod(lengths) < _FEWEST:
        return
    # neither the ends nor a symmetric pair: a mean or a maximum over these is not that over all
    few = np.ix_(*[np.unique([n // 3, n // 2]) for n in lengths])
    expected = values[few]
    with np.errstate(all="ignore"):
        alone = np.broadcast_to(real_array(label, ask(x[few].copy())), expected.shape)
        # infinities that agree have no gap
        gap = np.where(alone == expected, 0.0, np.abs(alone - expected))
    if not np.all(gap <= _ALONE * np.abs(values).max()):
        k = np.unravel_index(int(np.argmax(np.where(np.isnan(gap), np.inf, gap))), gap.shape)
        got = f"{expected[k]:.6g} among {x.size} numbers and {alone[k]:.6g} among {x[few].size}"
        remedy = "no means, norms or random numbers over the array; networks in evaluation mode"
        raise error(label, "one value at a point, whatever the others are", got, remedy)


def exchanged(function: Callable[..., Any], t: float | None, x: FloatArray, shape: tuple[int, ...]) -> str:
    """Say so where a function of (t, x) answers properly when its arguments are exchanged, else ""."""
    if t is None:
        return ""
    try:
        with np.errstate(all="ignore"):
            array = real_array("", function(x.copy(), t))
    except USER_ERRORS:
        return ""
    good = array.shape == shape and shape != () and bool(np.isfinite(array).all())
    return "it answers when called with (x, t): exchange the arguments" if good else ""


def told(reason: BaseException) -> str:
    """Return an exception on one line."""
    text = str(reason).splitlines()[0][:120] if str(reason) else "no message"
    return f"{type(reason).__name__}: {text}"


def _parameters(function: Any) -> list[str] | None:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # compiled functions may have no signature
        return None


def _place(x: FloatArray, bad: Any, dim: int | None) -> str:
    """The point of the first bad entry, as text."""
    first = int(np.argmax(bad))
    if dim == 2 or (dim is None and x.ndim > 1 and x.shape[-1] == 2):
        point = x.reshape(-1, 2)[first * x.size // (2 * bad.size)]
        return f"({point[0]:g}, {point[1]:g})"
    return f"{float(x.ravel()[first]):g}"

"""The Jacobian of a field S(x): the field's own in closed form, or by central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from fpsolve import _checks
from fpsolve._callables import answer_of
from fpsolve._checks import FloatArray
from fpsolve.scores._central import first_derivative

__all__ = ["Field", "as_points", "evaluate", "jacobian"]

Field: TypeAlias = Callable[[FloatArray], Any]

#: Step of the central differences, relative to 1 + |x|, and their order.
_STEP, _ORDER = 1e-4, 4


def evaluate(field: Field, x: FloatArray) -> FloatArray:
    """Return S(x) as a finite array of the shape of x."""
    return _checks.values_at("S(x)", answer_of("S(x)", field, x), x.shape)


def as_points(x: FloatArray) -> FloatArray:
    """Return points (n, d) as a field takes them: (n,) in 1D."""
    return x[:, 0] if x.shape[1] == 1 else x


def jacobian(field: Field, x: FloatArray) -> FloatArray:
    """Return ``dS_a/dx_b`` at points (n, d), shape (n, d, d).

    In closed form where the field has a method `jacobian` that knows it, else by central differences of order 4
    with step 1e-4 (1 + |x|).
    """
    dim = x.shape[1]
    if hasattr(field, "jacobian"):
        known = field.jacobian(as_points(x))
        if known is not None:
            return np.asarray(known, dtype=np.float64).reshape(-1, dim, dim)
    out = np.zeros((len(x), dim, dim))
    for axis in range(dim):
        step = np.zeros((len(x), dim))
        step[:, axis] = _STEP * (1.0 + np.abs(x[:, axis]))
        for k, weight in enumerate(first_derivative(_ORDER), start=1):
            ahead, behind = (evaluate(field, as_points(x + side * step)).reshape(-1, dim) for side in (k, -k))
            out[:, :, axis] += weight * (ahead - behind)
        out[:, :, axis] /= step[:, axis, None]
    return out

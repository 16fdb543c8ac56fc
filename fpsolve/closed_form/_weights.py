"""Values of a weight V, without the package's own evaluation of weights."""

import inspect
from typing import Any

import numpy as np

from fpsolve._callables import answer_of
from fpsolve._checks import FloatArray, error, values_at


def weight_values(weight: Any, x: FloatArray, dim: int) -> FloatArray:
    """Return V at points ``(...)`` (1D) or ``(..., 2)`` (2D), checked to be finite and >= 1; None is ``1 + |x|^2``."""
    squares = x**2 if dim == 1 else (x**2).sum(axis=-1)
    if weight is None:
        return np.asarray(1.0 + squares)
    if not callable(weight):
        raise error("weight", "a callable V(x) or None", weight)
    # an overflow becomes inf, which is refused below
    with np.errstate(over="ignore"):
        values = weight(x, dim=dim) if takes_dim(weight) else answer_of("weight", weight, x)
    checked = values_at("weight", values, squares.shape)
    if checked.size and checked.min() < 1.0 - 1e-12:
        raise error("weight", "V >= 1", f"a smallest value of {checked.min():.6g}", "use 1 + V")
    return checked


def takes_dim(weight: Any) -> bool:
    """Say whether a weight wants to be told the dimension, as the package's own do."""
    try:
        return "dim" in inspect.signature(weight).parameters
    except (TypeError, ValueError):  # some compiled callables have no signature
        return False

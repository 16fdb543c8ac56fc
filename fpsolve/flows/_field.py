"""The field of a flow ``x' = S(x)`` and its potential."""

from __future__ import annotations

from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.scores import Field, ProductScore, as_points, evaluate, jacobian

__all__ = ["Field", "as_points", "evaluate", "field_of", "jacobian", "log_potential"]


def field_of(flow: Any) -> Field:
    """Return the field of a product-form score, or the callable itself."""
    if isinstance(flow, ProductScore):
        return flow.field
    if not callable(flow):
        raise _checks.error("flow", "a product-form score or a callable S(x)", repr(flow)[:60])
    checked: Field = flow
    return checked


def log_potential(field: Field, x: FloatArray) -> FloatArray | None:
    """Return log Psi where the field knows one."""
    if not hasattr(field, "log_potential"):
        return None
    return np.asarray(field.log_potential(x), dtype=np.float64)

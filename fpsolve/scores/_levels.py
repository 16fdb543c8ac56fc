"""Noise levels of a product-form score: a finite set, or a continuous range by quadrature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._callables import values_of
from fpsolve._checks import FloatArray

__all__ = ["Levels", "finite_levels", "range_levels"]


@dataclass(frozen=True, eq=False)
class Levels:
    """Levels sigma_i with the weight of each.

    Attributes
    ----------
    sigma : array of shape (n,)
        Standard deviations > 0 of the noise, increasing.
    gain : array of shape (n,)
        g(sigma_i) > 0.
    loss : array of shape (n,)
        Loss weight l(sigma_i) > 0 times the quadrature weight of a continuous range.
    error : float
        Quadrature error, see `ProductField`; 0 for a finite set.
    """

    sigma: FloatArray
    gain: FloatArray
    loss: FloatArray
    error: float = 0.0

    def with_error(self, error: float) -> Levels:
        """Return the same levels with a stated quadrature error."""
        return replace(self, error=float(error))


Function = Callable[[FloatArray], Any]


def finite_levels(sigma: Any, gain: Function, loss: Function) -> Levels:
    """Return a finite set of levels, each with its loss weight."""
    values = np.sort(_checks.finite_array("levels", sigma, shape=(None,)))
    if values.size == 0 or values[0] <= 0.0:
        got = "none" if values.size == 0 else f"{values[0]:g}"
        raise _checks.error("levels", "at least one standard deviation > 0", got)
    return Levels(values, _positive("gain", gain, values), _positive("loss", loss, values))


def range_levels(low: float, high: float, nodes: int, gain: Function, loss: Function) -> Levels:
    """Return Gauss-Legendre nodes in log sigma for ``int_low^high l(sigma) ... dsigma``."""
    u, w = np.polynomial.legendre.leggauss(nodes)
    half = 0.5 * np.log(high / low)
    sigma = np.sqrt(low * high) * np.exp(half * u)
    return Levels(sigma, _positive("gain", gain, sigma), _positive("loss", loss, sigma) * half * w * sigma)


def _positive(name: str, function: Function, sigma: FloatArray) -> FloatArray:
    values = values_of(name, function, sigma, dim=1)
    if values.min() <= 0.0:
        worst = int(np.argmin(values))
        raise _checks.error(f"{name}({sigma[worst]:.6g})", "a number > 0", f"{values[worst]:g}")
    return values

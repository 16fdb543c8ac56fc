"""Fixed bounded test functions, on coordinates measured from a centre in widths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# All bounded by 1 <= V: bounded, because the far tail of a z-score is normal only for light-tailed summands.
_LINE: dict[str, Callable[[Array], Array]] = {
    "tanh(u)": np.tanh,
    "tanh(4u)": lambda u: np.tanh(4 * u),
    "cos(u)": np.cos,
    "cos(3u)": lambda u: np.cos(3 * u),
    "sin(3u)": lambda u: np.sin(3 * u),
    "u^2/(1+u^2)": lambda u: _saturated(u * u),
}
_PLANE: dict[str, Callable[[Array, Array], Array]] = {
    "tanh(u)": lambda u, v: np.tanh(u),
    "tanh(v)": lambda u, v: np.tanh(v),
    "tanh(4u)": lambda u, v: np.tanh(4 * u),
    "tanh(4v)": lambda u, v: np.tanh(4 * v),
    "cos(2u)": lambda u, v: np.cos(2 * u),
    "cos(2v)": lambda u, v: np.cos(2 * v),
    "sin(u)sin(v)": lambda u, v: np.sin(u) * np.sin(v),
    "cos(u-v)": lambda u, v: np.cos(u - v),
    "r^2/(1+r^2)": lambda u, v: _saturated(u * u + v * v),
}


def _saturated(square: Array) -> Array:
    return np.asarray(square / (1 + square), dtype=np.float64)


def names(dim: int) -> tuple[str, ...]:
    """Names of the test functions; u (and v in 2D) is the coordinate minus the centre, over the width."""
    return tuple(_LINE) if dim == 1 else tuple(_PLANE)


def values(x: Array, centre: Array, width: Array, dim: int) -> Array:
    """All test functions at points x (n,) or (n, 2): (functions, n); centre and width are (dim,)."""
    if dim == 1:
        u = (x - centre[0]) / width[0]
        return np.stack([f(u) for f in _LINE.values()])
    u, v = ((x[..., i] - centre[i]) / width[i] for i in range(2))
    return np.stack([f(u, v) for f in _PLANE.values()])


def frame(target: Any, scale: float, variance: float) -> tuple[Array, Array]:
    """Centre and width of the test functions for ``scale X + sqrt(variance) Z``, X from the target; each (dim,).

    Mean and standard deviation per axis; the width is 1 where the target has no variance.
    """
    mean = np.atleast_1d(np.asarray(target.mean, dtype=np.float64))
    cov = np.asarray(target.cov, dtype=np.float64)
    data = np.diagonal(cov) if cov.ndim == 2 else np.atleast_1d(cov)
    known = np.isfinite(data)
    width = np.sqrt(np.where(known, scale**2 * np.where(known, data, 0.0) + variance, 1.0))
    return scale * mean, np.asarray(width)

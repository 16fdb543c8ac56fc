"""Compiled evaluation of cubic B-splines on a uniform grid; imported only when a table is used."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fpsolve._compile import compiled

Array = npt.NDArray[np.float64]


@compiled(error_model="python")
def _weights(u: float) -> tuple[float, float, float, float]:  # pragma: no cover - compiled
    """The four cubic B-splines at the fraction u of a cell."""
    v = 1.0 - u
    return (
        v * v * v / 6.0,
        (4.0 - 6.0 * u * u + 3.0 * u * u * u) / 6.0,
        (4.0 - 6.0 * v * v + 3.0 * v * v * v) / 6.0,
        u * u * u / 6.0,
    )


@compiled(error_model="python")
def line(table: Array, low: float, spacing: float, x: Array, out: Array) -> None:  # pragma: no cover - compiled
    """Spline with coefficients ``table`` (m,) at x (n,); points outside of the nodes 1 .. m-3 give NaN."""
    m = table.size
    for p in range(x.size):
        place = (x[p] - low) / spacing
        if not 1.0 <= place < m - 2:
            out[p] = np.nan
            continue
        i = int(place)
        a, b, c, d = _weights(place - i)
        out[p] = a * table[i - 1] + b * table[i] + c * table[i + 1] + d * table[i + 2]


@compiled(error_model="python")
def plane(table: Array, low: Array, spacing: Array, x: Array, out: Array) -> None:  # pragma: no cover - compiled
    """Two splines with coefficients ``table`` (m, k, 2) at x (n, 2); points outside give NaN."""
    m, k = table.shape[0], table.shape[1]
    for p in range(x.shape[0]):
        u, v = (x[p, 0] - low[0]) / spacing[0], (x[p, 1] - low[1]) / spacing[1]
        if not (1.0 <= u < m - 2 and 1.0 <= v < k - 2):
            out[p, 0], out[p, 1] = np.nan, np.nan
            continue
        i, j = int(u), int(v)
        across, along = _weights(u - i), _weights(v - j)
        first, second = 0.0, 0.0
        for r in range(4):
            for s in range(4):
                w = across[r] * along[s]
                first += w * table[i - 1 + r, j - 1 + s, 0]
                second += w * table[i - 1 + r, j - 1 + s, 1]
        out[p, 0], out[p, 1] = first, second

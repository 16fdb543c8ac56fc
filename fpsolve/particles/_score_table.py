"""A score on a fine uniform grid at one time, interpolated by cubic splines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# The spline filter assumes a mirror at the ends; that error falls by 0.268 per node: 1e-9 after 16.
_PAD = 16
_LARGEST = {1: 4096, 2: 320}  # nodes per axis
# Nodes per standard deviation of the narrowest component.
_FINENESS = {1: 40.0, 2: 12.0}
# Centred first derivative of eighth order (Fornberg 1988, doi:10.1090/S0025-5718-1988-0935077-0, table 1).
_STENCIL = np.array([4 / 5, -1 / 5, 4 / 105, -1 / 280])


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Spline coefficients of the score at one time: (m,) in 1D, (mx, my, 2) in 2D, with the grid they sit on.

    The interpolation error is ``O(spacing^4)``; nothing is assumed about it, it is measured on the particles.
    """

    t: float
    low: tuple[float, ...]
    spacing: tuple[float, ...]
    coefficients: Array

    def __call__(self, x: Array) -> Array:
        """Interpolated score at x (n,) or (n, 2); NaN marks points outside of the table."""
        from fpsolve.particles import _spline_kernels as kernels

        out = np.empty_like(x)
        if x.ndim == 1:
            kernels.line(self.coefficients, self.low[0], self.spacing[0], x, out)
        else:
            kernels.plane(self.coefficients, np.array(self.low), np.array(self.spacing), x, out)
        return out


def build(reverse: Any, t: float, x: Array) -> ScoreTable:
    """Tabulate the score at time t over the bulk of the particles x, (n,) or (n, 2).

    The table covers the central 99.6 % of (a sample of) the particles and a quarter more on either side;
    the caller evaluates the score exactly outside. A scalar table of ``log p_t`` differentiated to eighth
    order is used for the exact score in 2D: on a tensor grid a kernel density is a matrix product there.
    """
    from scipy.ndimage import spline_filter

    low, spacing, nodes = _frame(reverse, t, x)
    axes = [np.asarray(lo + h * np.arange(m), dtype=np.float64) for lo, h, m in zip(low, spacing, nodes, strict=True)]
    if len(axes) == 1:
        coefficients = spline_filter(np.asarray(reverse.score(t, axes[0])), order=3, mode="mirror")
        return ScoreTable(t, low, spacing, np.ascontiguousarray(coefficients))
    values = _score_on_axes(reverse, t, axes, spacing)
    filtered = [spline_filter(values[..., i], order=3, mode="mirror") for i in range(2)]
    return ScoreTable(t, low, spacing, np.stack(filtered, axis=-1))


def _frame(reverse: Any, t: float, x: Array) -> tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...]]:
    """Lower ends, spacings and numbers of nodes per axis, padding included."""
    sample = x[:: max(1, len(x) // 4096)].reshape(-1, reverse.dim)
    ends = np.quantile(sample, [0.002, 0.998], axis=0)
    margin = 0.25 * (ends[1] - ends[0])
    process, smallest = reverse.process, reverse.target.smallest_std
    narrow = np.sqrt(float(process.scale(0.0, t)) ** 2 * smallest**2 + float(process.variance(0.0, t)))
    width = np.maximum(ends[1] - ends[0] + 2 * margin, narrow)
    wanted = np.ceil(_FINENESS[reverse.dim] * width / narrow)
    inner = np.minimum(np.maximum(wanted, 64), _LARGEST[reverse.dim]).astype(int)
    spacing = width / inner
    low = ends[0] - margin - _PAD * spacing
    return tuple(low.tolist()), tuple(spacing.tolist()), tuple((inner + 1 + 2 * _PAD).tolist())


def _score_on_axes(reverse: Any, t: float, axes: list[Array], spacing: tuple[float, ...]) -> Array:
    """Score at the nodes of a 2D tensor grid, (mx, my, 2)."""
    if not getattr(reverse, "exact", False):
        return np.asarray(reverse.score(t, np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)), dtype=np.float64)
    reach = len(_STENCIL)
    more = [
        np.concatenate([a[0] + h * np.arange(-reach, 0), a, a[-1] + h * np.arange(1, reach + 1)])
        for a, h in zip(axes, spacing, strict=True)
    ]
    log_p = np.asarray(reverse.marginals.log_density_on_axes(np.array([t]), *more))[0]
    along_x = _derivative(log_p[:, reach:-reach], spacing[0])
    along_y = _derivative(log_p[reach:-reach, :].T, spacing[1]).T
    return np.stack([along_x, along_y], axis=-1)


def _derivative(values: Array, h: float) -> Array:
    """Eighth-order derivative along the first axis, at all but the four outer nodes of either end."""
    reach, n = len(_STENCIL), len(values) - 2 * len(_STENCIL)
    result = np.zeros((n, *values.shape[1:]))
    for k, c in enumerate(_STENCIL, start=1):
        result += c * (values[reach + k : reach + k + n] - values[reach - k : reach - k + n])
    return np.asarray(result / h, dtype=np.float64)

"""The two problems every route is timed on, written down without fpsolve: numpy and the normal CDF are all it takes.

Ornstein-Uhlenbeck forward process ``dX = -X dt + sqrt(2) dW``, T = 3, reverse dynamics (eta = 1, exact score) to
t = 0.01 in the box [-6, 6] or its square, start ``p_T``, so that the truth is ``p_t``. On the line the target is
0.5 N(-2, 0.3^2) + 0.5 N(2, 0.5^2), in the plane five Gaussians on a circle, each turned differently. The environments
of other packages import this file as it is, and a benchmark compares it with what fpsolve computes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

T = 3.0
T_MIN = 0.01
BOX = (-6.0, 6.0)

LINE_MEANS = np.array([-2.0, 2.0])
LINE_STDS = np.array([0.3, 0.5])
LINE_WEIGHTS = np.array([0.5, 0.5])

_ANGLES = 2 * np.pi * np.arange(5) / 5
PLANE_MEANS = 2.0 * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
PLANE_TURNS = _ANGLES + 0.4
PLANE_STDS = np.array([0.5, 0.3])
PLANE_WEIGHTS = np.array([0.1, 0.15, 0.2, 0.25, 0.3])


def faces(cells: int) -> Array:
    """Cell faces, (cells + 1,)."""
    return np.linspace(*BOX, cells + 1)


def centres(cells: int) -> Array:
    """Cell centres, (cells,)."""
    f = faces(cells)
    return np.asarray(0.5 * (f[1:] + f[:-1]))


def line_density(t: float, x: Array) -> Array:
    """p_t at points x."""
    return np.asarray(sum(np.exp(-0.5 * (x - m) ** 2 / v) * c for m, v, c in _line_parts(t)))


def line_score(t: float, x: Array) -> Array:
    """Derivative of log p_t at points x."""
    total, slope = np.zeros_like(x), np.zeros_like(x)
    for m, v, c in _line_parts(t):
        part = np.exp(-0.5 * (x - m) ** 2 / v) * c
        total += part
        slope -= part * (x - m) / v
    return slope / total


def _line_parts(t: float) -> list[tuple[float, float, float]]:
    """Mean, variance and height of the components of p_t."""
    shrink = np.exp(-t)
    v = shrink**2 * LINE_STDS**2 + 1.0 - shrink**2
    height = LINE_WEIGHTS / np.sqrt(2 * np.pi * v)
    return list(zip(shrink * LINE_MEANS, v, height, strict=True))


def line_averages(t: float, cells: int) -> Array:
    """Exact cell averages of p_t."""
    from scipy.special import ndtr

    f = faces(cells)
    shrink = np.exp(-t)
    stds = np.sqrt(shrink**2 * LINE_STDS**2 + 1.0 - shrink**2)
    cdf = sum(w * ndtr((f - shrink * m) / s) for w, m, s in zip(LINE_WEIGHTS, LINE_MEANS, stds, strict=True))
    return np.asarray(np.diff(cdf) / np.diff(f))


def plane_parts(t: float) -> list[tuple[Array, tuple[float, float, float], float]]:
    """Mean, inverse covariance (xx, xy, yy) and height of the components of p_t in the plane."""
    shrink = np.exp(-t)
    parts = []
    for m, angle, w in zip(PLANE_MEANS, PLANE_TURNS, PLANE_WEIGHTS, strict=True):
        v = shrink**2 * PLANE_STDS**2 + 1.0 - shrink**2
        c, s = np.cos(angle), np.sin(angle)
        inverse = (c * c / v[0] + s * s / v[1], c * s * (1 / v[0] - 1 / v[1]), s * s / v[0] + c * c / v[1])
        parts.append((shrink * m, inverse, float(w / (2 * np.pi * np.sqrt(v[0] * v[1])))))
    return parts


def plane_density(t: float, x: Array, y: Array) -> Array:
    """p_t at points (x, y)."""
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape))
    for m, (xx, xy, yy), height in plane_parts(t):
        dx, dy = x - m[0], y - m[1]
        total += height * np.exp(-0.5 * (xx * dx * dx + 2 * xy * dx * dy + yy * dy * dy))
    return total


def plane_score(t: float, x: Array, y: Array) -> tuple[Array, Array]:
    """Gradient of log p_t at points (x, y)."""
    total, along_x, along_y = (np.zeros(np.broadcast_shapes(x.shape, y.shape)) for _ in range(3))
    for m, (xx, xy, yy), height in plane_parts(t):
        dx, dy = x - m[0], y - m[1]
        part = height * np.exp(-0.5 * (xx * dx * dx + 2 * xy * dx * dy + yy * dy * dy))
        total += part
        along_x -= part * (xx * dx + xy * dy)
        along_y -= part * (xy * dx + yy * dy)
    return along_x / total, along_y / total


def plane_averages(t: float, cells: int, nodes: int = 4) -> Array:
    """Cell averages of p_t on cells x cells, Gauss-Legendre with `nodes` points per axis."""
    place, share = np.polynomial.legendre.leggauss(nodes)
    h, mid = (BOX[1] - BOX[0]) / cells, centres(cells)
    total = np.zeros((cells, cells))
    for a, u in zip(place, share, strict=True):
        for b, v in zip(place, share, strict=True):
            total += 0.25 * u * v * plane_density(t, mid[:, None] + 0.5 * h * a, mid[None, :] + 0.5 * h * b)
    return total


def tv(p: Array, q: Array, cell: float) -> float:
    """Half the L1 distance of cell averages; `cell` is the cells' length or area."""
    return 0.5 * float(np.abs(p - q).sum()) * cell

"""Compiled sums over noise levels and normal components: the potential of a product-form score and its derivatives.

Imported only where needed, since it loads numba. Laid out as `fpsolve.marginals._compiled`, whose exponential it uses:
blocks of points in the first-level cache, terms in the outer loop. A term's exponent is
``peak - half_x (x - mx)^2 - half_y (y - my - slope (x - mx))^2``; in 1D the second part is absent (half_y = 0).
"""

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve._compile import BLOCK, compiled, exp, lost


@compiled(fastmath={"contract"})
def first_order(
    peaks: FloatArray, gains: FloatArray, means: FloatArray, halves: FloatArray, slopes: FloatArray,
    points: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """Fill ``out`` (n, 5) with top, P, Q, dP/dx, dP/dy, the last four divided by exp(top).

    ``P = sum_k exp(e_k)``, ``Q = sum_k gains_k exp(e_k)``; peaks, gains and slopes (K,), means and halves (K, 2),
    points (n, 2).
    """
    sums, top = np.empty((4, BLOCK)), np.empty(BLOCK)
    for start in range(0, points.shape[0], BLOCK):
        n = min(BLOCK, points.shape[0] - start)
        x, y = points[start : start + n, 0].copy(), points[start : start + n, 1].copy()
        top[:] = 0.0
        for attempt in range(2):
            sums[:] = 0.0
            for k in range(peaks.size):
                peak, gain, slope = peaks[k], gains[k], slopes[k]
                mx, my, hx, hy = means[k, 0], means[k, 1], halves[k, 0], halves[k, 1]
                for j in range(n):
                    dx = mx - x[j]
                    v = (my - y[j]) - slope * dx
                    w = exp((peak - hx * dx * dx - hy * v * v) - top[j])
                    pull = hy * v
                    sums[0, j] += w
                    sums[1, j] += gain * w
                    sums[2, j] += w * (hx * dx - pull * slope)
                    sums[3, j] += w * pull
            if attempt == 1 or not lost(sums[0], n):
                break
            _largest(peaks, means, halves, slopes, x, y, top)
        for j in range(n):
            out[start + j, 0] = top[j]
            out[start + j, 1] = sums[0, j]
            out[start + j, 2] = sums[1, j]
            out[start + j, 3] = 2.0 * sums[2, j]
            out[start + j, 4] = 2.0 * sums[3, j]


@compiled
def _largest(
    peaks: FloatArray, means: FloatArray, halves: FloatArray, slopes: FloatArray,
    x: FloatArray, y: FloatArray, top: FloatArray,
) -> None:  # fmt: skip
    """Fill ``top`` with the largest exponent at every point."""
    top[:] = -np.inf
    for k in range(peaks.size):
        for j in range(x.size):
            dx = means[k, 0] - x[j]
            v = (means[k, 1] - y[j]) - slopes[k] * dx
            e = peaks[k] - halves[k, 0] * dx * dx - halves[k, 1] * v * v
            top[j] = e if e > top[j] else top[j]


@compiled(fastmath={"contract"})
def second_order(
    peaks: FloatArray, gains: FloatArray, means: FloatArray, halves: FloatArray, slopes: FloatArray,
    points: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """Fill ``out`` (n, 9) with P, Q, dP/dx, dP/dy, dQ/dx, dQ/dy, P_xx, P_xy, P_yy, all divided by one factor.

    The arguments are those of `first_order`.
    """
    sums, top = np.empty((9, BLOCK)), np.empty(BLOCK)
    for start in range(0, points.shape[0], BLOCK):
        n = min(BLOCK, points.shape[0] - start)
        x, y = points[start : start + n, 0].copy(), points[start : start + n, 1].copy()
        top[:] = 0.0
        for attempt in range(2):
            sums[:] = 0.0
            for k in range(peaks.size):
                peak, gain, slope = peaks[k], gains[k], slopes[k]
                mx, my, px, py = means[k, 0], means[k, 1], 2.0 * halves[k, 0], 2.0 * halves[k, 1]
                bend = px + py * slope * slope
                for j in range(n):
                    dx = mx - x[j]
                    v = (my - y[j]) - slope * dx
                    gy = py * v
                    gx = px * dx - gy * slope
                    w = exp((peak - 0.5 * (px * dx * dx + gy * v)) - top[j])
                    sums[0, j] += w
                    sums[1, j] += gain * w
                    sums[2, j] += w * gx
                    sums[3, j] += w * gy
                    sums[4, j] += gain * w * gx
                    sums[5, j] += gain * w * gy
                    sums[6, j] += w * (gx * gx - bend)
                    sums[7, j] += w * (gx * gy + py * slope)
                    sums[8, j] += w * (gy * gy - py)
            if attempt == 1 or not lost(sums[0], n):
                break
            _largest(peaks, means, halves, slopes, x, y, top)
        for j in range(n):
            for i in range(9):
                out[start + j, i] = sums[i, j]

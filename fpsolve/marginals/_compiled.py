"""Compiled sums over normal components: log densities along lines, scores at scattered points.

Imported only where needed, since it loads numba. Every kernel works on blocks of points that stay in the first-level
cache, components in the outer loop, so that the inner loop over points vectorises; the exponential is written out
below because the library's does not. Each block is first summed directly; where a sum underflows the block is done
again with every point's largest exponent factored out. Twins in numpy are in the tests.

A component's exponent is ``peak - half (x - mean)^2``, `half` half a precision; in 2D it is
``peak - half_x (x - mx)^2 - half_y (y - my - slope (x - mx))^2``, the law of x times that of y given x, which stays
accurate for nearly singular covariances.
"""

import math

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import FloatArray
from fpsolve._compile import BLOCK, compiled, exp, log, lost


# "contract" allows fused multiply-adds and nothing else: NaN and the order of sums stay as written
@compiled(fastmath={"contract"})
def _line(peaks: FloatArray, means: FloatArray, halves: FloatArray, x: FloatArray, out: FloatArray) -> None:
    """out_j = log sum_k exp(peak_k - half_k (x_j - mean_k)^2)."""
    total, top = np.empty(BLOCK), np.empty(BLOCK)
    for start in range(0, x.size, BLOCK):
        n = min(BLOCK, x.size - start)
        block = x[start : start + n]
        total[:] = 0.0
        for k in range(peaks.size):
            peak, mean, half = peaks[k], means[k], halves[k]
            if peak > -708.0:
                for j in range(n):
                    d = block[j] - mean
                    total[j] += exp(peak - half * d * d)
        if lost(total, n):
            top[:] = -np.inf
            for k in range(peaks.size):
                peak, mean, half = peaks[k], means[k], halves[k]
                for j in range(n):
                    d = block[j] - mean
                    e = peak - half * d * d
                    top[j] = e if e > top[j] else top[j]
            total[:] = 0.0
            for k in range(peaks.size):
                peak, mean, half = peaks[k], means[k], halves[k]
                for j in range(n):
                    d = block[j] - mean
                    total[j] += exp((peak - half * d * d) - top[j])
            for j in range(n):
                out[start + j] = top[j] + math.log(total[j])  # a NaN stays one
        else:
            for j in range(n):
                out[start + j] = log(total[j])


@compiled
def lines(
    peaks: FloatArray, means: FloatArray, halves: FloatArray, x: FloatArray, out: FloatArray, first: int, last: int
) -> None:
    """Fill rows of ``out`` (times, nx) with 1D log densities; peaks, means, halves have shape (times, K)."""
    for i in range(first, last):
        _line(peaks[i], means[i], halves[i], x, out[i])


#: Points of an even axis summed together: `LANES` neighbours, and those up to `REACH` times as many further away.
LANES, REACH = 16, 4
#: Exponents up to here and their products stay finite; a term so far below another (e^-60) changes no bit of a sum.
SAFE, NOTHING = 300.0, 60.0


@compiled
def _spacing(y: FloatArray) -> float:
    """Distance of equally spaced points, 0 where they are not."""
    h = (y[-1] - y[0]) / max(y.size - 1, 1)
    off = 4e-15 * max(abs(y[0]), abs(y[-1]))
    for j in range(y.size):
        if not abs(y[0] + h * j - y[j]) <= off:
            return 0.0
    return float(h)


@compiled(fastmath={"contract"})
def _shifts(halves: FloatArray, h: float, out: FloatArray) -> None:
    """out (K, 2 REACH): ``exp(-half (k LANES h)^2)``, k from -REACH on."""
    for c in range(halves.size):
        for k in range(2 * REACH):
            shift = (k - REACH) * LANES * h
            out[c, k] = exp(-halves[c] * shift * shift)


@compiled(fastmath={"contract"})
def _add_directly(peak: float, d: float, half: float, h: float, total: FloatArray) -> None:
    """Add ``exp(peak - half (d + h j)^2)`` to total_j."""
    for j in range(total.size):
        there = d + h * j
        total[j] += exp(peak - half * there * there)


@compiled(fastmath={"contract"})
def _add_by_products(peak: float, d: float, half: float, h: float, shifts: FloatArray, total: FloatArray) -> None:
    """The same for the 2 REACH LANES totals; one loop without other arrays, so that all stays in registers.

    ``peak - half (m + s)^2`` is ``(peak - half m^2) - 2 half m s - half s^2``: with s a multiple of LANES h the
    exponential of the second is a power, that of the third a constant of the component.
    """
    jump = 2.0 * half * LANES * h
    c0, c1, c2, c3, c5, c6, c7 = shifts[0], shifts[1], shifts[2], shifts[3], shifts[5], shifts[6], shifts[7]
    for g in range(LANES):
        middle = d + h * (4 * LANES + g)
        up = exp(peak - half * middle * middle)
        forth = exp(-jump * middle)
        back = 1.0 / forth
        down = up * back
        total[g + 4 * LANES] += up
        total[g + 3 * LANES] += c3 * down
        up *= forth
        down *= back
        total[g + 5 * LANES] += c5 * up
        total[g + 2 * LANES] += c2 * down
        up *= forth
        down *= back
        total[g + 6 * LANES] += c6 * up
        total[g + LANES] += c1 * down
        total[g + 7 * LANES] += c7 * (up * forth)
        total[g] += c0 * (down * back)


@compiled(fastmath={"contract"})
def _even_line(
    peaks: FloatArray,
    means: FloatArray,
    halves: FloatArray,
    shifts: FloatArray,
    y: FloatArray,
    h: float,
    total: FloatArray,
    out: FloatArray,
) -> None:
    """`_line` on y at distances h, by two exponentials for 2 REACH points; h = 0: the points have others."""
    if h <= 0.0:
        _line(peaks, means, halves, y, out)
        return
    for start in range(0, y.size, total.size):
        n = min(total.size, y.size - start)
        low, high = y[start], y[start] + h * (total.size - 1)
        best = -np.inf
        for c in range(peaks.size):
            far = max(abs(low - means[c]), abs(high - means[c]))
            best = max(best, peaks[c] - halves[c] * far * far)
        total[:] = 0.0
        for c in range(peaks.size):
            peak, mean, half = peaks[c], means[c], halves[c]
            near, far = max(low - mean, mean - high, 0.0), max(abs(low - mean), abs(high - mean))
            if peak - half * near * near < best - NOTHING:
                continue
            if abs(peak) + half * far * far < SAFE and 2.0 * half * far * REACH * LANES * h < SAFE:
                _add_by_products(peak, low - mean, half, h, shifts[c], total)
            else:
                _add_directly(peak, low - mean, half, h, total[:n])
        if lost(total, n):
            _line(peaks, means, halves, y[start : start + n], out[start : start + n])
        else:
            for j in range(n):
                out[start + j] = log(total[j])


@compiled(fastmath={"contract"})
def planes(
    peaks: FloatArray,
    means: FloatArray,
    halves: FloatArray,
    slopes: FloatArray,
    x: FloatArray,
    y: FloatArray,
    tilt: FloatArray,
    out: FloatArray,
    first: int,
    last: int,
) -> None:
    """Fill rows of ``out`` (times, nx, ny) with ``factor log p - bowl |x|^2``: given x, each row is a 1D mixture.

    Shapes: peaks and slopes (times, K), means and halves (times, K, 2), tilt (times, 2) has factor and bowl; the rows
    of all times are one list.
    """
    count, nx, time = peaks.shape[1], x.size, -1
    row_peaks, row_means, row_halves = np.empty(count), np.empty(count), np.empty(count)
    shifts, total = np.empty((count, 2 * REACH)), np.empty(2 * REACH * LANES)
    h = _spacing(y)
    for row in range(first, last):
        i = row // nx
        j = row - i * nx
        if i != time:
            for k in range(count):
                row_halves[k] = halves[i, k, 1]
            _shifts(row_halves, h, shifts)
            time = i
        for k in range(count):
            d = x[j] - means[i, k, 0]
            row_peaks[k] = peaks[i, k] - halves[i, k, 0] * d * d
            row_means[k] = means[i, k, 1] + slopes[i, k] * d
        line, factor, bowl = out[i, j], tilt[i, 0], tilt[i, 1]
        _even_line(row_peaks, row_means, row_halves, shifts, y, h, total, line)
        if factor != 1.0 or bowl != 0.0:
            for k in range(y.size):
                line[k] = factor * line[k] - bowl * (x[j] * x[j] + y[k] * y[k])


@compiled(fastmath={"contract"})
def averages(
    peaks: FloatArray,
    means: FloatArray,
    halves: FloatArray,
    slopes: FloatArray,
    x: FloatArray,
    y: FloatArray,
    weights: FloatArray,
    out: FloatArray,
    first: int,
    last: int,
) -> None:
    """Fill rows of ``out`` (nx, ny) with weighted sums of the density over the nodes of every cell.

    Shapes: x (nx, nodes), y (nodes, ny), each row equally spaced, weights (nodes, nodes); others (K,) and (K, 2).
    """
    count, nodes = peaks.size, y.shape[0]
    row_peaks, row_means, row_halves = np.empty(count), np.empty(count), halves[:, 1].copy()
    shifts, total, line = np.empty((count, 2 * REACH)), np.empty(2 * REACH * LANES), np.empty(y.shape[1])
    h = _spacing(y[0])
    _shifts(row_halves, h, shifts)
    for i in range(first, last):
        here = out[i]
        here[:] = 0.0
        for a in range(nodes):
            for k in range(count):
                d = x[i, a] - means[k, 0]
                row_peaks[k] = peaks[k] - halves[k, 0] * d * d
                row_means[k] = means[k, 1] + slopes[k] * d
            for b in range(nodes):
                _even_line(row_peaks, row_means, row_halves, shifts, y[b], h, total, line)
                weight, tiny = weights[a, b], False
                for j in range(line.size):
                    tiny |= not line[j] > -708.0
                if tiny:
                    for j in range(line.size):
                        here[j] += weight * math.exp(line[j])
                else:
                    for j in range(line.size):
                        here[j] += weight * exp(line[j])


@compiled(fastmath={"contract"})
def _pulls(
    peaks: FloatArray, means: FloatArray, halves: FloatArray, slopes: FloatArray,
    x: FloatArray, y: FloatArray, n: int, sums: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
) -> None:  # fmt: skip
    """Fill the sums of weights and of weights times half the pulls at n points, all over exp(top)."""
    total, gx, gy, top = sums
    top[:] = 0.0
    for attempt in range(2):
        total[:] = 0.0
        gx[:] = 0.0
        gy[:] = 0.0
        for k in range(peaks.size):
            peak, slope = peaks[k], slopes[k]
            mx, my, hx, hy = means[k, 0], means[k, 1], halves[k, 0], halves[k, 1]
            for j in range(n):
                dx = mx - x[j]
                v = (my - y[j]) - slope * dx
                w = exp((peak - hx * dx * dx - hy * v * v) - top[j])
                pull = hy * v
                total[j] += w
                gx[j] += w * (hx * dx - pull * slope)
                gy[j] += w * pull
        if attempt == 1 or not lost(total, n):
            break
        top[:] = -np.inf
        for k in range(peaks.size):
            for j in range(n):
                dx = means[k, 0] - x[j]
                v = (means[k, 1] - y[j]) - slopes[k] * dx
                e = peaks[k] - halves[k, 0] * dx * dx - halves[k, 1] * v * v
                top[j] = e if e > top[j] else top[j]


@compiled(fastmath={"contract"})
def scatter(
    peaks: FloatArray, means: FloatArray, halves: FloatArray, slopes: FloatArray, points: FloatArray, out: FloatArray
) -> None:
    """Fill ``out`` (n, 2) with 2D log densities' gradients at ``points`` (n, 2); shapes (K,) and (K, 2)."""
    total, gx, gy, top = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    x, y = np.empty(BLOCK), np.empty(BLOCK)
    for start in range(0, points.shape[0], BLOCK):
        n = min(BLOCK, points.shape[0] - start)
        for j in range(n):
            x[j], y[j] = points[start + j, 0], points[start + j, 1]
        _pulls(peaks, means, halves, slopes, x, y, n, (total, gx, gy, top))
        for j in range(n):
            out[start + j, 0] = 2.0 * gx[j] / total[j]
            out[start + j, 1] = 2.0 * gy[j] / total[j]


@compiled(fastmath={"contract"})
def scatter_second(
    peaks: FloatArray,
    means: FloatArray,
    halves: FloatArray,
    slopes: FloatArray,
    points: FloatArray,
    gradient: FloatArray,
    laplacian: FloatArray,
) -> None:
    """Fill ``gradient`` (n, 2) and ``laplacian`` (n,) of 2D log densities at ``points`` (n, 2).

    With posterior weights r_k and pulls v_k, ``grad = sum r v`` and ``Lap = sum r (|v|^2 - tr C^{-1}) - |grad|^2``,
    the latter summed as ``sum r (|v - grad|^2 - tr C^{-1})``: far out the pulls are large and nearly equal.
    """
    total, gx, gy, top = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    second, x, y = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for start in range(0, points.shape[0], BLOCK):
        n = min(BLOCK, points.shape[0] - start)
        for j in range(n):
            x[j], y[j] = points[start + j, 0], points[start + j, 1]
        _pulls(peaks, means, halves, slopes, x, y, n, (total, gx, gy, top))
        for j in range(n):
            gx[j] = 2.0 * gx[j] / total[j]
            gy[j] = 2.0 * gy[j] / total[j]
        second[:] = 0.0
        for k in range(peaks.size):
            peak, slope = peaks[k], slopes[k]
            mx, my, hx, hy = means[k, 0], means[k, 1], halves[k, 0], halves[k, 1]
            trace = 2.0 * (hx + hy * (1.0 + slope * slope))
            for j in range(n):
                dx = mx - x[j]
                v = (my - y[j]) - slope * dx
                w = exp((peak - hx * dx * dx - hy * v * v) - top[j])
                px = 2.0 * (hx * dx - hy * v * slope) - gx[j]
                py = 2.0 * hy * v - gy[j]
                second[j] += w * (px * px + py * py - trace)
        for j in range(n):
            gradient[start + j, 0] = gx[j]
            gradient[start + j, 1] = gy[j]
            laplacian[start + j] = second[j] / total[j]


@compiled(fastmath={"contract"})
def scatter_1d(peaks: FloatArray, means: FloatArray, halves: FloatArray, points: FloatArray, out: FloatArray) -> None:
    """Fill ``out`` (n,) with 1D log densities' derivatives at ``points`` (n,); shapes (K,)."""
    total, g, top = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for start in range(0, points.size, BLOCK):
        n = min(BLOCK, points.size - start)
        x = points[start : start + n]
        top[:] = 0.0
        for attempt in range(2):
            total[:] = 0.0
            g[:] = 0.0
            for k in range(peaks.size):
                peak, mean, half = peaks[k], means[k], halves[k]
                for j in range(n):
                    d = mean - x[j]
                    w = exp((peak - half * d * d) - top[j])
                    total[j] += w
                    g[j] += w * (half * d)
            if attempt == 1 or not lost(total, n):
                break
            top[:] = -np.inf
            for k in range(peaks.size):
                for j in range(n):
                    d = means[k] - x[j]
                    e = peaks[k] - halves[k] * d * d
                    top[j] = e if e > top[j] else top[j]
        for j in range(n):
            out[start + j] = 2.0 * g[j] / total[j]


@compiled(fastmath={"contract"})
def log_sums(a: FloatArray, b: FloatArray, lost: NDArray[np.bool_], out: FloatArray) -> None:
    """Redo ``out_ij = log sum_k exp(a_ik + b_kj)`` in every block of a row that holds a ``lost`` entry."""
    total, top = np.empty(BLOCK), np.empty(BLOCK)
    for i in range(a.shape[0]):
        for start in range(0, b.shape[1], BLOCK):
            n = min(BLOCK, b.shape[1] - start)
            if not lost[i, start : start + n].any():
                continue
            top[:] = -np.inf
            for k in range(b.shape[0]):
                row = b[k, start : start + n]
                for j in range(n):
                    e = a[i, k] + row[j]
                    top[j] = e if e > top[j] else top[j]
            total[:] = 0.0
            for k in range(b.shape[0]):
                row = b[k, start : start + n]
                for j in range(n):
                    total[j] += exp(a[i, k] + row[j] - top[j])
            for j in range(n):
                out[i, start + j] = top[j] + math.log(total[j])

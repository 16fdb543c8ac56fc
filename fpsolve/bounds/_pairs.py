"""Compiled comparisons of all pairs of rows of a kernel.

Neighbouring rows are close, so rows are compared cluster by cluster: with the distance of two centres and the radii of
the clusters, the triangle inequality tells which pairs of clusters can matter at all; only those are looked at row by
row. The result is that of comparing all pairs, for a few per cent of the work where rows change slowly.

The inner sums may be reordered (reassoc) so that they use vector units; their error stays at rounding times the number
of cells.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from fpsolve._compile import compiled
from fpsolve._memory import over

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Rows per cluster.
_CLUSTER = 8
#: Rows this far apart count as singular to each other: an overlap below 1e-12 is of no use to anyone.
_SINGULAR = 1.0 - 1e-12
#: Room for rounding in the triangle inequality.
_ROUNDING = 1e-12


@compiled(fastmath={"reassoc", "contract"})
def gap(first: Array, second: Array, weights: Array, low: int, high: int) -> float:
    """``sum_j w_j |P_ij - P_kj|`` over the columns low, ..., high - 1."""
    total = 0.0
    for j in range(low, high):
        total += weights[j] * abs(first[j] - second[j])
    return total


@compiled
def supports(matrix: Array) -> tuple[Indices, Indices]:
    """First and one past the last column that is not zero, of every row."""
    rows, columns = matrix.shape
    low, high = np.zeros(rows, dtype=np.int64), np.full(rows, columns, dtype=np.int64)
    for i in range(rows):
        while low[i] < columns - 1 and matrix[i, low[i]] == 0.0:
            low[i] += 1
        while high[i] > low[i] + 1 and matrix[i, high[i] - 1] == 0.0:
            high[i] -= 1
    return low, high


@compiled
def _distance(matrix: Array, weights: Array, low: Indices, high: Indices, i: int, k: int) -> float:
    return gap(matrix[i], matrix[k], weights, min(low[i], low[k]), max(high[i], high[k]))


def _clusters(matrix: Array, weights: Array, low: Indices, high: Indices) -> tuple[Indices, Array, Array]:
    """Centres of clusters of consecutive rows, their radii, and the distances between the centres."""
    rows = matrix.shape[0]
    ends = np.append(np.arange(0, rows, _CLUSTER), rows)
    centres = (ends[1:] + ends[:-1]) // 2
    radii, between = np.zeros(len(centres)), np.zeros((len(centres), len(centres)))
    work = partial(_compare_clusters, matrix, weights, low, high, centres, radii, between)
    over(len(centres), len(centres) * matrix.size // _CLUSTER, work)
    return centres, radii, between


@compiled
def _compare_clusters(
    matrix: Array,
    weights: Array,
    low: Indices,
    high: Indices,
    centres: Indices,
    radii: Array,
    between: Array,
    begin: int,
    end: int,
) -> None:
    """Radii of the clusters begin to end - 1 and distances to those before them."""
    for a in range(begin, end):
        for i in range(a * _CLUSTER, min((a + 1) * _CLUSTER, matrix.shape[0])):
            radii[a] = max(radii[a], _distance(matrix, weights, low, high, i, centres[a]))
        for b in range(a):
            between[a, b] = _distance(matrix, weights, low, high, centres[a], centres[b])


@compiled
def _least_by_cluster(values: Array) -> Array:
    """Smallest value in every cluster."""
    count = (values.size + _CLUSTER - 1) // _CLUSTER
    least = np.full(count, np.inf)
    for i in range(values.size):
        least[i // _CLUSTER] = min(least[i // _CLUSTER], values[i])
    return least


def largest_ratio(matrix: Array, start: Array, end: Array) -> tuple[float, tuple[int, int]]:
    """``max_{i != k} sum_j end_j |P_ij - P_kj| / (start_i + start_k)`` and where it is attained."""
    low, high = supports(matrix)
    clusters = _clusters(matrix, end, low, high)
    centres, _, between = clusters
    ratios = np.tril(between / np.add.outer(start[centres], start[centres]), -1)
    a, b = np.unravel_index(int(np.argmax(ratios)), ratios.shape)
    best, pair = float(ratios[a, b]), (int(centres[a]), int(centres[b]))
    found: dict[int, tuple[float, tuple[int, int]]] = {}

    def part(begin: int, last: int) -> None:
        found[begin] = _largest(matrix, start, end, (low, high), clusters, (best, pair), begin, last)

    over(len(centres), len(centres) * matrix.size // _CLUSTER, part)
    # of equals the first, as without threads
    return max((found[begin] for begin in sorted(found)), key=lambda one: one[0])


@compiled
def _largest(
    matrix: Array,
    start: Array,
    end: Array,
    support: tuple[Indices, Indices],
    clusters: tuple[Indices, Array, Array],
    known: tuple[float, tuple[int, int]],
    begin: int,
    stop: int,
) -> tuple[float, tuple[int, int]]:
    """The largest ratio that is known or that of a row in the clusters begin to stop - 1 and one before it."""
    low, high = support
    _, radii, between = clusters
    best, pair = known
    least, rows = _least_by_cluster(start), matrix.shape[0]
    for a in range(begin, stop):
        for b in range(a + 1):
            reach = between[a, b] + radii[a] + radii[b]
            if reach * (1.0 + _ROUNDING) <= best * (least[a] + least[b]):
                continue
            for i in range(a * _CLUSTER, min((a + 1) * _CLUSTER, rows)):
                for k in range(b * _CLUSTER, min((b + 1) * _CLUSTER, i)):
                    ratio = _distance(matrix, end, low, high, i, k) / (start[i] + start[k])
                    if ratio > best:
                        best, pair = ratio, (i, k)
    return best, pair


@compiled
def _raise_level(largest: Array, slot: int, value: float) -> None:
    """Put a value into a profile that increases with the level."""
    while slot < largest.size and largest[slot] < value:
        largest[slot] = value
        slot += 1


def distance_by_level(matrix: Array, height: Array, levels: Array) -> Array:
    """Largest total variation ``1/2 sum_j |P_ij - P_kj|`` over pairs with ``height_i + height_k <= level``.

    `levels` increase; pairs beyond the last are left out. Accurate to 1e-12.
    """
    low, high = supports(matrix)
    ones = np.ones(matrix.shape[1])
    return _by_level(matrix, height, levels, ones, (low, high), _clusters(matrix, ones, low, high))


@compiled
def _by_level(
    matrix: Array,
    height: Array,
    levels: Array,
    ones: Array,
    support: tuple[Indices, Indices],
    clusters: tuple[Indices, Array, Array],
) -> Array:
    low, high = support
    centres, radii, between = clusters
    rows = matrix.shape[0]
    least = _least_by_cluster(height)
    largest = np.zeros(levels.size)
    for a in range(centres.size):
        for b in range(a):
            slot = np.searchsorted(levels, height[centres[a]] + height[centres[b]])
            _raise_level(largest, slot, 0.5 * between[a, b])
    for a in range(centres.size):
        for b in range(a + 1):
            slot = np.searchsorted(levels, least[a] + least[b])
            reach = 0.5 * (between[a, b] + radii[a] + radii[b])
            if slot >= levels.size or min(reach * (1.0 + _ROUNDING), _SINGULAR) <= largest[slot]:
                continue
            for i in range(a * _CLUSTER, min((a + 1) * _CLUSTER, rows)):
                for k in range(b * _CLUSTER, min((b + 1) * _CLUSTER, i)):
                    place = np.searchsorted(levels, height[i] + height[k])
                    # a pair only matters where lower levels do not exceed it already
                    if place < levels.size and largest[place] < reach:
                        _raise_level(largest, place, 0.5 * _distance(matrix, ones, low, high, i, k))
    return largest


@compiled
def minima_by_level(matrix: Array, height: Array, levels: Array) -> Array:
    """``sum_j min_i P_ij`` over the rows with ``height_i <= level``, for increasing levels; 1 where there is no row."""
    rows, columns = matrix.shape
    order = np.argsort(height)
    running = np.full(columns, np.inf)
    total = np.ones(levels.size)
    at, value = 0, 1.0
    for slot in range(levels.size):
        changed = False
        while at < rows and height[order[at]] <= levels[slot]:
            changed = True
            for j in range(columns):
                running[j] = min(running[j], matrix[order[at], j])
            at += 1
        if changed:
            value = running.sum()
        total[slot] = value
    return total

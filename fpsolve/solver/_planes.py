"""Compiled line sweeps over a plane: along x, along y, and on closed lines.

State arrays have the shape (starts, nx, ny). A sweep replaces every line q by the one-step scheme applied to it. Lines
are taken in blocks that stay in the cache; those along y are turned on the way, so that the same loops serve: the inner
one runs over the lines of a block. Between the potential of a plane and its new density nothing goes through memory
but the factors of the lines along x, which both half steps share.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve._compile import compiled
from fpsolve.solver._fluxes import SERIES_LIMIT, bernoulli_pair, bernoulli_series
from fpsolve.solver._lines import advance_ring

Array = NDArray[np.float64]

#: Lines swept together: enough for the vector units, few enough for the second-level cache.
BLOCK = 32
#: Cells of them turned together: few enough for the first-level cache.
TILE = 64
#: Exponents looked at together.
PIECE = 256
#: What makes the rates of a plane: a potential (nx, ny), or else rates up and down; what is not used has size 0.
Source = tuple[Array, Array, Array]


@compiled
def _take(plane: Array, turned: bool, first: int, block: Array) -> None:
    """block[i, k] = plane[i, first + k], of the turned plane if asked; lines beyond the last repeat it."""
    if turned:
        for begin in range(0, plane.shape[1], TILE):
            end = min(begin + TILE, plane.shape[1])
            for k in range(BLOCK):
                line, tile = plane[min(first + k, plane.shape[0] - 1), begin:end], block[begin:end]
                for j in range(line.size):
                    tile[j, k] = line[j]
        return
    width = min(BLOCK, plane.shape[1] - first)
    for i in range(plane.shape[0]):
        row, to = plane[i, first : first + width], block[i]
        if width == BLOCK:
            for k in range(BLOCK):
                to[k] = row[k]
        else:
            for k in range(BLOCK):
                to[k] = row[min(k, width - 1)]


@compiled
def _put(block: Array, turned: bool, first: int, plane: Array) -> None:
    """Write back what `_take` took, without what was repeated."""
    if turned:
        for begin in range(0, plane.shape[1], TILE):
            end = min(begin + TILE, plane.shape[1])
            for k in range(min(BLOCK, plane.shape[0] - first)):
                line, tile = plane[first + k, begin:end], block[begin:end]
                for j in range(line.size):
                    line[j] = tile[j, k]
        return
    width = min(BLOCK, plane.shape[1] - first)
    for i in range(plane.shape[0]):
        row, of = plane[i, first : first + width], block[i]
        if width == BLOCK:
            for k in range(BLOCK):
                row[k] = of[k]
        else:
            for k in range(width):
                row[k] = of[k]


@compiled
def _put_means(block: Array, first: int, plane: Array) -> None:
    """Write means over 2 x 2 cells of what `_take` took along x."""
    width = min(BLOCK // 2, plane.shape[1] - first // 2)
    for i in range(plane.shape[0]):
        left, right, row = block[2 * i], block[2 * i + 1], plane[i, first // 2 : first // 2 + width]
        for k in range(width):
            row[k] = 0.25 * ((left[2 * k] + left[2 * k + 1]) + (right[2 * k] + right[2 * k + 1]))


@compiled
def _jump_weights(u: Array, ahead: int, c: float, forth: Array, back: Array) -> None:
    """c Ber(-z), c Ber(z) with ``z = u[e + ahead] - u[e]``: one list, so that the loop runs in the vector units.

    Most exponents are small on fine grids, and a piece of the list that has no other needs no exponential.
    """
    z = np.empty(PIECE)
    for begin in range(0, u.size - ahead, PIECE):
        n = min(PIECE, u.size - ahead - begin)
        here, there = u[begin : begin + n], u[begin + ahead : begin + ahead + n]
        up, down = forth[begin : begin + n], back[begin : begin + n]
        large = False
        for e in range(n):
            z[e] = there[e] - here[e]
            large |= not abs(z[e]) < SERIES_LIMIT
        if large:
            for e in range(n):
                b, a = bernoulli_pair(z[e])
                up[e] = c * b
                down[e] = c * a
        else:
            for e in range(n):
                b, a = bernoulli_series(z[e])
                up[e] = c * b
                down[e] = c * a


@compiled
def _factorise(source: Source, turned: bool, first: int, c: float, factors: Array, work: Array) -> None:
    """Jumps times c, inverse pivots and elimination ratios of a block of lines, into factors (3, cells, BLOCK)."""
    potential, up, down = source
    forth, inverse, ratio = factors[0], factors[1], factors[2]
    block, back = work[0], work[1]
    n = forth.shape[0]
    if potential.size > 0:
        _take(potential, turned, first, block)
        # the next cell of a line is BLOCK numbers ahead
        _jump_weights(block.reshape(block.size), BLOCK, c, forth.reshape(block.size), back.reshape(block.size))
    else:
        _take(up, turned, first, forth)
        _take(down, turned, first, back)
        for i in range(n - 1):
            for k in range(BLOCK):
                forth[i, k] *= c
                back[i, k] *= c
    forth[n - 1] = 0.0
    for k in range(BLOCK):
        inverse[0, k] = 1.0 / (1.0 + forth[0, k])
        ratio[0, k] = back[0, k] * inverse[0, k]
    for i in range(1, n):
        before, lost, leave, enter = forth[i - 1], ratio[i - 1], forth[i], back[i - 1]
        pivots, ratios, returned = inverse[i], ratio[i], back[i]
        for k in range(BLOCK):
            pivots[k] = 1.0 / (1.0 + (leave[k] + enter[k]) - before[k] * lost[k])
        for k in range(BLOCK):
            ratios[k] = returned[k] * pivots[k]


@compiled
def _substitute(q: Array, factors: Array, m: Array) -> None:
    """m = (I - c A)^{-1} q but for the last subtraction of every row, which is `m_i += ratio_i m_{i+1}`."""
    forth, inverse = factors[0], factors[1]
    for k in range(BLOCK):
        m[0, k] = q[0, k] * inverse[0, k]
    for i in range(1, q.shape[0]):
        here, before, now, enter, pivots = q[i], m[i - 1], m[i], forth[i - 1], inverse[i]
        for k in range(BLOCK):
            now[k] = (here[k] + enter[k] * before[k]) * pivots[k]


@compiled
def _step(q: Array, factors: Array, mix: float, solves: int, m: Array) -> None:
    """The one-step scheme on a block of lines, in place; m is room to work in."""
    n, ratio = q.shape[0], factors[2]
    _substitute(q, factors, m)
    for k in range(BLOCK):
        q[n - 1, k] += mix * (m[n - 1, k] - q[n - 1, k])
    for i in range(n - 2, -1, -1):
        here, now, after, ratios = q[i], m[i], m[i + 1], ratio[i]
        for k in range(BLOCK):
            now[k] += ratios[k] * after[k]
            here[k] += mix * (now[k] - here[k])
    if solves == 2:
        _substitute(q, factors, q)
        for i in range(n - 2, -1, -1):
            here, after, ratios = q[i], q[i + 1], ratio[i]
            for k in range(BLOCK):
                here[k] += ratios[k] * after[k]


@compiled
def sweep_x(
    q: Array,
    room: Array,
    closing: tuple[float, int],
    kept: Array,
    at: int,
    source: Source,
    opening: tuple[float, float, int],
    first: int,
    last: int,
) -> None:
    """End a step along x and begin the next one, for every start and the y first to last - 1, in place.

    Parameters
    ----------
    q : array, shape (starts, nx, ny)
    room : array, shape (blocks, 3, nx, BLOCK)
        Factors of the lines: those of the half step that is ended, then those of the one begun.
    closing : (mix, solves)
        Of the half step to end; no solves: there is none.
    kept : array, shape (starts, saves, nx, ny), or of half as many cells for means over 2 x 2
    at : int
        Which save the density between the two is; negative: none.
    source : (potential, up, down)
    opening : (c, mix, solves)
        Of the half step to begin; c is the length times the pole, and times D/h^2 with a potential.
    """
    starts, nx = q.shape[0], q.shape[1]
    work = np.empty((4, nx, BLOCK))
    m, state = work[2], work[3]
    for begin in range(first, last, BLOCK):
        factors = room[begin // BLOCK]
        if closing[1] > 0:
            for s in range(starts):
                _take(q[s], False, begin, state)
                _step(state, factors, closing[0], closing[1], m)
                if at >= 0 and kept.shape[2] < nx:
                    _put_means(state, begin, kept[s, at])
                elif at >= 0:
                    _put(state, False, begin, kept[s, at])
                if s < starts - 1 or opening[2] == 0:
                    _put(state, False, begin, q[s])
        if opening[2] > 0:
            _factorise(source, False, begin, opening[0], factors, work)
            # the last start is in the cache still
            for s in range(starts - 1, -1, -1):
                if s < starts - 1 or closing[1] == 0:
                    _take(q[s], False, begin, state)
                _step(state, factors, opening[1], opening[2], m)
                _put(state, False, begin, q[s])


@compiled
def sweep_y(q: Array, source: Source, c: float, mix: float, solves: int, first: int, last: int) -> None:
    """A step along y for every start and the x first to last - 1, in place; source and c as in `sweep_x`."""
    ny = q.shape[2]
    work, factors = np.empty((4, ny, BLOCK)), np.empty((3, ny, BLOCK))
    m, state = work[2], work[3]
    for begin in range(first, last, BLOCK):
        _factorise(source, True, begin, c, factors, work)
        for s in range(q.shape[0]):
            _take(q[s], True, begin, state)
            _step(state, factors, mix, solves, m)
            _put(state, True, begin, q[s])


@compiled
def sweep_rings(q: Array, up: Array, down: Array, c: float, mix: float, solves: int, first: int, last: int) -> None:
    """One step along the last axis on closed lines, one by one, in place; q (starts, lines, n), up, down (lines, n)."""
    starts, n = q.shape[0], q.shape[2]
    buffer = np.empty((n, starts))
    cs, mixes, counts, ends = np.array([c]), np.array([mix]), np.array([solves]), np.empty(0, np.int64)
    for i in range(first, last):
        for k in range(starts):
            for j in range(n):
                buffer[j, k] = q[k, i, j]
        advance_ring(buffer, up[i : i + 1], down[i : i + 1], cs, mixes, counts, ends)
        for k in range(starts):
            for j in range(n):
                q[k, i, j] = buffer[j, k]

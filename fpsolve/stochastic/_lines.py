"""Compiled conservative remaps, along lines and in planes: mass moves between faces, never through what is stored.

A line holds cell averages (unit of length: one cell). They become the quartic spline with exactly these averages (the
derivative of the quintic spline of the cumulative), mirrored at no-flux ends and wrapped at periodic ones. If the flow
carries the position p_i to face i, cell i receives what the spline holds between p_i and p_{i+1}: conservative to
round-off, sixth order in the cell width, and accurate relative to the local values far out in a tail.

A plane is remapped along a flow in two passes of lines, without splitting the flow. A map near the identity, ``Phi =
(Phi_1, Phi_2)``, is exactly a map of x-lines, ``(x, y) -> (Phi_1(x, y), y)``, followed by one of y-lines that takes
``(Phi_1(x, y), y)`` to ``(Phi_1, Phi_2)``. The first moves the faces of x-lines as Phi does at their y; the second
brings y-faces from where Phi^{-1} has their y. What leaves a density unchanged (a rotation of a round one, say) does so
here.

Phi and its inverse are the Lie series of the velocity v to fourth order, ``sum_k (+-1)^k (v . grad)^k x/k!``, with
fourth-order differences. A line stands for the density at its own coordinate, so cell averages across the lines
are turned into values at the centres before a pass and back after it, by exactly inverse filters: mass is kept.

References
----------
Unser, Aldroubi and Eden 1993, doi:10.1109/78.193220 (recursive filters for B-splines); Zerroukat, Wood and Staniforth
2006, doi:10.1002/fld.1154 (conservative remapping by splines); Catmull and Smith 1980, doi:10.1145/965105.807505 (two
passes); Nair, Scroggs and Semazzi 2002, doi:10.1175/1520-0493(2002)130<2059:ECGTSF>2.0.CO;2 (conservative cascade).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fpsolve._compile import compiled
from fpsolve._memory import over

Array = NDArray[np.float64]

#: Poles of the inverse of the taps (1, 26, 66, 26, 1)/120: quartic splines from averages.
AVERAGE_POLES = (-0.43057534709997, -0.04309628820326465)
#: Poles of the inverse of (1, 76, 230, 76, 1)/384: quartic splines from values at the cell centres.
POINT_POLES = (-0.3613412259002201, -0.013725429297339121)
AVERAGE_TAPS = (66.0 / 120.0, 26.0 / 120.0, 1.0 / 120.0)
POINT_TAPS = (230.0 / 384.0, 76.0 / 384.0, 1.0 / 384.0)
#: Cells after which |pole|^k is below round-off.
_MEMORY = 45


@compiled
def _filter(c: Array, pole: float, periodic: bool) -> None:
    """One pole, causal and anticausal, in place; unit gain at frequency zero."""
    n = c.shape[0]
    gain = (1.0 - pole) * (1.0 - 1.0 / pole)
    for i in range(n):
        c[i] *= gain
    total, power = 0.0, pole
    for k in range(_MEMORY):
        total += power * (c[(n - 1 - k) % n] if periodic else c[_mirrored(k, n)])
        power *= pole
    c[0] += total
    for i in range(1, n):
        c[i] += pole * c[i - 1]
    if periodic:
        total, power = 0.0, pole
        for k in range(_MEMORY):
            total += power * c[k % n]
            power *= pole
        c[n - 1] = -pole * (c[n - 1] + total)
    else:
        c[n - 1] *= pole / (pole - 1.0)
    for i in range(n - 2, -1, -1):
        c[i] = pole * (c[i + 1] - c[i])


@compiled
def _mirrored(k: int, n: int) -> int:
    """Index of cell k on a line that is mirrored at its ends again and again."""
    k = k % (2 * n)
    return k if k < n else 2 * n - 1 - k


@compiled
def spline(values: Array, poles: tuple[float, float], periodic: bool, c: Array) -> None:
    """Coefficients of the quartic spline of a line: ``c[k + 2]`` belongs to cell k, two ghosts at each end."""
    n = values.shape[0]
    inner = c[2 : n + 2]
    for i in range(n):
        inner[i] = values[i]
    _filter(inner, poles[0], periodic)
    _filter(inner, poles[1], periodic)
    for k in range(2):
        c[1 - k] = inner[n - 1 - k] if periodic else inner[k]
        c[n + 2 + k] = inner[k] if periodic else inner[n - 1 - k]


@compiled
def _partial(c: Array, cell: int, u: float) -> float:
    """Integral of the spline from the left face of a cell to its inner position u."""
    a, b, m, d, e = c[cell], c[cell + 1], c[cell + 2], c[cell + 3], c[cell + 4]
    p0 = (a + 11.0 * b + 11.0 * m + d) / 24.0
    p1 = (-a - 3.0 * b + 3.0 * m + d) / 12.0
    p2 = (a - b - m + d) / 12.0
    p3 = (-a + 3.0 * b - 3.0 * m + d) / 24.0
    p4 = (a - 4.0 * b + 6.0 * m - 4.0 * d + e) / 120.0
    return float(u * (p0 + u * (p1 + u * (p2 + u * (p3 + u * p4)))))


@compiled
def _turned(k: int, n: int) -> int:
    """``k % n``, which costs a division only where k is beyond the line."""
    return k if 0 <= k < n else k % n


@compiled
def redistribute(q: Array, positions: Array, periodic: bool, c: Array, out: Array) -> None:
    """out_i = integral of the spline of q between positions i and i + 1 (in cells); c is room for n + 4 numbers."""
    n = q.shape[0]
    spline(q, AVERAGE_POLES, periodic, c)
    cell = math.floor(positions[0]) if periodic else min(max(math.floor(positions[0]), 0), n - 1)
    before = _partial(c, _turned(cell, n), positions[0] - cell)
    for i in range(n):
        nxt = math.floor(positions[i + 1]) if periodic else min(max(math.floor(positions[i + 1]), 0), n - 1)
        after = _partial(c, _turned(nxt, n), positions[i + 1] - nxt)
        mass = after - before
        for k in range(cell, nxt):
            mass += q[_turned(k, n)]
        out[i] = mass
        cell, before = nxt, after


@compiled
def cubic(v: Array, y: float) -> float:
    """Cubic interpolation of values at the integers 0, 1, ..."""
    k = min(max(int(y), 1), v.shape[0] - 3)
    u = y - k
    left, right = u * (u - 1.0), 0.5 * (u + 1.0) * (u - 2.0)
    outer = left * ((u + 1.0) * v[k + 2] - (u - 2.0) * v[k - 1]) * (1.0 / 6.0)
    return float(outer + right * ((u - 1.0) * v[k] - u * v[k + 1]))


@compiled
def _velocity(v: Array, y: float, periodic: bool) -> float:
    n = v.shape[0] - 1
    return cubic(v, y - n * math.floor(y / n) if periodic else min(max(y, 0.0), float(n)))


@compiled
def trace_back(v: Array, substeps: int, periodic: bool, positions: Array) -> float:
    """Where the flow of v (cells, at the faces) over a unit of time brings each face from; returns the smallest gap.

    Classical Runge-Kutta steps backwards, the velocity interpolated cubically. No-flux ends stay where they are, and
    nothing comes from beyond them.
    """
    n, step = v.shape[0] - 1, -1.0 / substeps
    for i in range(n + 1):
        y = float(i)
        for k in range(substeps):
            k1 = v[i] if k == 0 else _velocity(v, y, periodic)
            k2 = _velocity(v, y + 0.5 * step * k1, periodic)
            k3 = _velocity(v, y + 0.5 * step * k2, periodic)
            k4 = _velocity(v, y + step * k3, periodic)
            y += step * (k1 + 2.0 * k2 + 2.0 * k3 + k4) / 6.0
        positions[i] = y
    return _close_ends(positions, periodic)


@compiled
def _close_ends(positions: Array, periodic: bool) -> float:
    """Hold the positions to the line (no-flux) or to one turn (periodic); returns the smallest gap."""
    n = positions.shape[0] - 1
    if periodic:
        positions[n] = positions[0] + n
    gap = float(n)
    for i in range(n):
        gap = min(gap, positions[i + 1] - positions[i])
    if not periodic:
        positions[0], positions[n] = 0.0, float(n)
        for i in range(1, n):
            positions[i] = min(max(positions[i], 0.0), float(n))
    return gap


@compiled
def remap_lines(q: Array, v: Array, steepest: float, periodic: bool) -> float:
    """Move every line q[p] along the flow of v[p] (cells, at the faces) over a unit of time, in place.

    Parameters
    ----------
    q : array, shape (lines, n)
        Cell averages.
    v : array, shape (lines, n + 1)
        Displacement velocity at the faces, in cells.
    steepest : float
        Largest change of v from face to face that one Runge-Kutta step may cover; a line takes as many as it needs.
    periodic : bool

    Returns
    -------
    float
        Smallest distance between traced faces, in cells; negative where a map folds the line over.
    """
    lines, n = q.shape
    c, positions, out = np.empty(n + 4), np.empty(n + 1), np.empty(n)
    smallest = float(n)
    for p in range(lines):
        change = 0.0
        for i in range(n):
            change = max(change, abs(v[p, i + 1] - v[p, i]))
        if change == 0.0:
            for i in range(n + 1):
                positions[i] = i - v[p, i]
            gap = _close_ends(positions, periodic)
        else:
            gap = trace_back(v[p], max(1, math.ceil(change / steepest)), periodic, positions)
        smallest = min(smallest, gap)
        redistribute(q[p], positions, periodic, c, out)
        for i in range(n):
            q[p, i] = out[i]
    return smallest


_NEWTON_STEPS = 30
_CLOSE = 1e-13


@compiled
def _carry(vx: Array, vy: Array, padded: Array, out: Array) -> None:
    """out = (v . grad) w with fourth-order differences of the padded w."""
    nx, ny = out.shape
    for i in range(nx):
        for j in range(ny):
            p, q = i + 2, j + 2
            dx = 8.0 * (padded[p + 1, q] - padded[p - 1, q]) - (padded[p + 2, q] - padded[p - 2, q])
            dy = 8.0 * (padded[p, q + 1] - padded[p, q - 1]) - (padded[p, q + 2] - padded[p, q - 2])
            out[i, j] = (vx[i, j] * dx + vy[i, j] * dy) / 12.0


def displacements(vx: Array, vy: Array) -> tuple[Array, Array]:
    """``(Phi - id)_x`` and ``(Phi^{-1} - id)_y`` at the cell centres, in cells."""
    forward_x, backward_y = vx.copy(), -vy
    term, padded = np.empty_like(vx), np.empty((vx.shape[0] + 4, vx.shape[1] + 4))
    for total, component, sign in ((forward_x, vx, 1.0), (backward_y, vy, -1.0)):
        factor = sign
        term[:] = component
        for order in range(2, 5):
            # out (nx + 4, ny + 4) = w inside; two ghosts on every side (not in the corners) continue quartic
            # polynomials
            padded[2:-2, 2:-2] = term
            for lines in (padded[:, 2:-2], padded.T[:, 2:-2]):
                for ends in (lines, lines[::-1]):
                    a, b, c, d, e = ends[2], ends[3], ends[4], ends[5], ends[6]
                    ends[1] = 5.0 * a - 10.0 * b + 10.0 * c - 5.0 * d + e
                    ends[0] = 15.0 * a - 40.0 * b + 45.0 * c - 24.0 * d + 5.0 * e
            _carry(vx, vy, padded, term)
            factor *= sign / order
            total += factor * term
    return forward_x, backward_y


@compiled
def _between_centres(v: Array, y: float) -> float:
    """Cubic interpolation of values at the centres 1/2, 3/2, ... of cells at a position y in cells."""
    return cubic(v, y - 0.5)


@compiled
def _sources(displacement: Array, forward: bool, positions: Array) -> float:
    """Positions that a line's faces come from; returns the smallest gap between them.

    Displacements at the centres are of the map itself (`forward`; it is inverted by Newton steps) or of its inverse.
    """
    n = displacement.shape[0]
    for i in range(1, n):
        if not forward:
            positions[i] = i + _between_centres(displacement, float(i))
            continue
        slope = 1.0 + displacement[i] - displacement[i - 1]
        y = i - _between_centres(displacement, float(i)) / slope
        for _ in range(_NEWTON_STEPS):
            step = (y + _between_centres(displacement, min(max(y, 0.0), float(n))) - i) / slope
            y -= step
            if abs(step) < _CLOSE * n:
                break
        positions[i] = y
    positions[0], positions[n] = 0.0, float(n)
    gap = float(n)
    for i in range(1, n - 1):
        gap = min(gap, positions[i + 1] - positions[i])
    for i in range(1, n):
        positions[i] = min(max(positions[i], 0.0), float(n))
    return gap


@compiled
def convert(line: Array, poles: tuple[float, float], taps: tuple[float, float, float], c: Array) -> None:
    """Averages to values at the centres or back, in place: `poles` of what is given, `taps` of what is wanted."""
    spline(line, poles, False, c)
    for i in range(line.shape[0]):
        line[i] = taps[0] * c[i + 2] + taps[1] * (c[i + 1] + c[i + 3]) + taps[2] * (c[i] + c[i + 4])


@compiled
def _pass(lines: Array, displacement: Array, forward: bool) -> float:
    """One pass over all lines, in place; returns the smallest gap."""
    count, n = lines.shape
    c, positions, out = np.empty(n + 4), np.empty(n + 1), np.empty(n)
    smallest = float(n)
    for k in range(count):
        smallest = min(smallest, _sources(displacement[k], forward, positions))
        redistribute(lines[k], positions, False, c, out)
        for i in range(n):
            lines[k, i] = out[i]
    return smallest


@compiled
def _convert_all(lines: Array, poles: tuple[float, float], taps: tuple[float, float, float]) -> None:
    c = np.empty(lines.shape[1] + 4)
    for k in range(lines.shape[0]):
        convert(lines[k], poles, taps, c)


def remap_planes(q: Array, vx: Array, vy: Array, repeats: int) -> float:
    """Move every plane q[p] along the flow of v[p] over a unit of time, in place, in `repeats` equal parts.

    Parameters
    ----------
    q : array, shape (planes, nx, ny)
        Cell averages.
    vx, vy : arrays, shape (planes, nx, ny)
        Velocity at the cell centres, in cells of its axis.
    repeats : int
        Compositions of the map for ``v/repeats`` with itself.

    Returns
    -------
    float
        Smallest distance between the sources of neighbouring faces, in cells; negative where a map folds a line over.
    """
    gaps = np.empty(len(q))

    def part(first: int, last: int) -> None:
        for p in range(first, last):
            gaps[p] = _remap_plane(q[p], vx[p] / repeats, vy[p] / repeats, repeats)

    over(len(q), q.size, part)
    return float(gaps.min())


def _remap_plane(q: Array, vx: Array, vy: Array, repeats: int) -> float:
    """Move one plane, in place, `repeats` times along v."""
    smallest = float(max(q.shape))
    forward_x, backward_y = displacements(vx, vy)
    turned_displacement = np.ascontiguousarray(forward_x.T)
    for _ in range(repeats):
        _convert_all(q, AVERAGE_POLES, POINT_TAPS)
        turned = np.ascontiguousarray(q.T)
        smallest = min(smallest, _pass(turned, turned_displacement, True))
        _convert_all(turned, AVERAGE_POLES, POINT_TAPS)
        q[:] = turned.T
        _convert_all(q, POINT_POLES, AVERAGE_TAPS)
        smallest = min(smallest, _pass(q, backward_y, False))
        turned = np.ascontiguousarray(q.T)
        _convert_all(turned, POINT_POLES, AVERAGE_TAPS)
        q[:] = turned.T
    return smallest

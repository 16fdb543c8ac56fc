"""Compiled conservative remap of planes along a flow, in two passes of lines and without splitting the flow.

A map of the plane near the identity, ``Phi = (Phi_1, Phi_2)``, is exactly a map of x-lines, ``(x, y) -> (Phi_1(x, y),
y)``, followed by one of y-lines that takes ``(Phi_1(x, y), y)`` to ``(Phi_1, Phi_2)``. The first moves the faces of
x-lines as Phi does at their y; the second brings y-faces from where Phi^{-1} has their y. So the flow itself is never
split, and what leaves a density unchanged (a rotation of a round one, say) does so here.

Phi and its inverse are the Lie series of the velocity v to fourth order, ``sum_k (+-1)^k (v . grad)^k x/k!``, with
fourth-order differences. A line stands for the density at its own coordinate, so cell averages across the lines
are turned into values at the centres before a pass and back after it, by exactly inverse filters: mass is kept.

References
----------
Catmull and Smith 1980, doi:10.1145/965105.807505 (two passes); Nair, Scroggs and Semazzi 2002,
doi:10.1175/1520-0493(2002)130<2059:ECGTSF>2.0.CO;2 (conservative cascade).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve._compile import compiled
from fpsolve.stochastic._lines import AVERAGE_POLES, AVERAGE_TAPS, POINT_POLES, POINT_TAPS, cubic, redistribute, spline

Array = NDArray[np.float64]

_NEWTON_STEPS = 30
_CLOSE = 1e-13


def _pad(w: Array, out: Array) -> None:
    """out (nx + 4, ny + 4) = w inside; two ghosts on every side (not in the corners) continue quartic polynomials."""
    out[2:-2, 2:-2] = w
    for lines in (out[:, 2:-2], out.T[:, 2:-2]):
        for ends in (lines, lines[::-1]):
            a, b, c, d, e = ends[2], ends[3], ends[4], ends[5], ends[6]
            ends[1] = 5.0 * a - 10.0 * b + 10.0 * c - 5.0 * d + e
            ends[0] = 15.0 * a - 40.0 * b + 45.0 * c - 24.0 * d + 5.0 * e


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
            _pad(term, padded)
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
    smallest = float(max(q.shape[1:]))
    for p in range(len(q)):
        forward_x, backward_y = displacements(vx[p] / repeats, vy[p] / repeats)
        turned_displacement = np.ascontiguousarray(forward_x.T)
        for _ in range(repeats):
            _convert_all(q[p], AVERAGE_POLES, POINT_TAPS)
            turned = np.ascontiguousarray(q[p].T)
            smallest = min(smallest, _pass(turned, turned_displacement, True))
            _convert_all(turned, AVERAGE_POLES, POINT_TAPS)
            q[p] = turned.T
            _convert_all(q[p], POINT_POLES, AVERAGE_TAPS)
            smallest = min(smallest, _pass(q[p], backward_y, False))
            turned = np.ascontiguousarray(q[p].T)
            _convert_all(turned, POINT_POLES, AVERAGE_TAPS)
            q[p] = turned.T
    return smallest

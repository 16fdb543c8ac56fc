"""``E |s - s'|^2`` under a law: over the line, over the plane as far as it matters, or over cells alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve.bounds._line import Line
from fpsolve.bounds._quadrature import around_share, end_share
from fpsolve.grid import Grid
from fpsolve.laws import Law

Array = NDArray[np.float64]

#: How to read the margins.
HELD = "1e-6 less its share at the ends; where it is known beyond the box, and is part of the value, 1e-3 less what is"
RESOLVED = "5 and 20 % less the integrand's waves of two and four cells; over the line no cells are used"
#: Share of the integral that may lie beyond the box where it is known there, and is part of the value.
_MISSED = 1e-3
#: Times that a box in the plane is widened by half of itself.
_WIDENINGS = 3
#: Largest Fourier coefficients of the integrand at periods of two and four cells, relative to its sum: a Gaussian of a
#: standard deviation of 1.1 cells is just allowed, a peak of three cells is not.
_ALTERNATING, _FOURTH = 0.05, 0.2
#: Beyond this log density a law has no mass.
_EMPTY = -700.0


@dataclass(frozen=True)
class ScoreError:
    """An expectation of ``|s - s'|^2``, and what is known of it.

    Attributes
    ----------
    value : float
        The expectation, infinite where it is.
    held : float
        Not negative where the box holds as much of it as it must.
    resolved : float
        Not negative where cells are narrow enough: by how much the Fourier coefficients of the integrand at periods of
        two and four cells stay below 5 and 20 % of its sum. Over the line no cells are used.
    whole : bool
        Whether it was looked for beyond the box.
    """

    value: float
    held: float
    resolved: float
    whole: bool


def under(law: Law, square: Callable[[Array], Array], grid: Grid) -> ScoreError:
    """Return ``E f`` under a law that is known beyond the box, f >= 0 a function of points of the shape of ``grid.x``.

    A function that refuses points beyond the box with a ValueError is only asked inside.
    """
    return _over_line(law, square, grid) if grid.dim == 1 else _over_plane(law, square, grid)


def on_cells(p: Array, square: Array, grid: Grid) -> ScoreError:
    """Return the same for cell averages and f at the cell centres: nothing is known beyond their box."""
    values = p * square
    return ScoreError(float(values.sum() * grid.volume), end_share(values), _resolved(values), False)


def _over_line(law: Law, square: Callable[[Array], Array], grid: Grid) -> ScoreError:
    line = Line.of(law)
    log_p = law.log_density(line.x)
    seen = log_p > _EMPTY
    values = np.zeros(line.x.shape)
    try:
        # what overflows is more than the smallest density seen can outweigh
        with np.errstate(over="ignore"):
            values[seen] = square(line.x[seen])
    except ValueError:
        # tables and networks may end somewhere; what fails everywhere fails on the cells, too
        return on_cells(grid.cell_average(law), square(grid.x), grid)
    log_p = np.where(seen, log_p, -np.inf)
    total = line.mean(log_p, values)
    low, high = grid.bounds[0]
    beyond = line.mean(log_p, np.where((line.x >= low) & (line.x <= high), 0.0, values))
    held = _MISSED - (beyond / total if total > 0.0 else 0.0) if np.isfinite(total) else -np.inf
    return ScoreError(total, held, _ALTERNATING, True)


def _over_plane(law: Law, square: Callable[[Array], Array], grid: Grid) -> ScoreError:
    found, wide = on_cells(grid.cell_average(law), square(grid.x), grid), grid
    inside = found.value
    try:
        for _ in range(_WIDENINGS):
            if found.held >= 0.0:
                break
            wide = _wider(wide)
            found = on_cells(wide.cell_average(law), square(wide.x), wide)
        with np.errstate(over="ignore"):
            around = around_share(wide, lambda x: law.density(x) * square(x), found.value)
    except ValueError:
        return found
    missed = _MISSED - (found.value - inside) / found.value if found.value > 0.0 else _MISSED
    return ScoreError(found.value, min(found.held, around, missed), found.resolved, True)


def _wider(grid: Grid) -> Grid:
    """The box with a quarter of its cells more on every side."""
    extra = [max(1, n // 4) for n in grid.shape]
    more = [k * h for k, h in zip(extra, grid.spacing, strict=True)]
    bounds = tuple((low - d, high + d) for (low, high), d in zip(grid.bounds, more, strict=True))
    return Grid(bounds, tuple(n + 2 * k for n, k in zip(grid.shape, extra, strict=True)))


def _resolved(values: Array) -> float:
    """Margin of the two shortest waves that cells carry: in what is resolved there is little of them."""
    total, margin = float(values.sum()), _ALTERNATING
    if not total > 0.0:
        return margin
    for axis, n in enumerate(values.shape):
        sums = values.sum(axis=tuple(k for k in range(values.ndim) if k != axis)) / total
        for most, wave in ((_ALTERNATING, (1, -1)), (_FOURTH, (1, 1j, -1, -1j))):
            margin = min(margin, most - abs(complex(np.resize(wave, n) @ sums)))
    return margin

"""What a run has to solve, checked once: dynamics, frame, starts, save times, weight, and the box that holds their
mass.

The box is where the laws of a run live, up to a stated V-weighted tail. Mixtures give their tails component by
component; any other law is integrated along each axis from its mean outwards. The choice need not be sharp: what the
box really cuts off is measured afterwards and is part of the error estimate. Levels and grids come later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, logsumexp

from fpsolve import weights
from fpsolve._checks import error, shown
from fpsolve._memory import over
from fpsolve.dynamics import BaseDynamics, Frame, RunClock
from fpsolve.grid import Grid
from fpsolve.laws import Law, NormalMixture
from fpsolve.marginals import FastLaw
from fpsolve.weights import WeightLike

Array = NDArray[np.float64]
Start = Law | Array

#: Safety on estimates for starts with jumps or kinks.
KINKED_CAUTION = 2.0
#: Standard deviations of a start per cell below which nothing is known of its error.
NARROWEST = 0.5
#: Fraction of a start's mass that a given box may miss.
MAX_CUT = 1e-3


@dataclass(frozen=True, eq=False)
class Problem:
    """A run before any grid: the dynamics in the frame it is solved in, its starts and save times.

    Attributes
    ----------
    dynamics : BaseDynamics
        In the scaled frame already, where one is used.
    clock : RunClock
    frame : Frame or None
        None: positions are x themselves.
    starts : mapping of str to Law or array of cell averages
    saves : array
        Forward times in the order of the run.
    weight : WeightLike
    """

    dynamics: BaseDynamics
    clock: RunClock
    frame: Frame | None
    starts: Mapping[str, Start]
    saves: Array
    weight: WeightLike
    _fixed_weights: dict[Grid, Array] = field(default_factory=dict, repr=False)

    @property
    def caution(self) -> Array:
        """Factor on the error of extrapolations, shape (starts,): more for laws with jumps or kinks.

        Cells cut a jump at another place on every level, so differences of levels scatter about their order: over a
        hundred random runs estimates fell to 0.62 times the true error at early times, for uniform starts alone.
        """
        kinked = [isinstance(start, Law) and start.smallest_std == 0.0 for start in self.starts.values()]
        return np.where(kinked, KINKED_CAUTION, 1.0)

    def cells_per_std(self, grid: Grid) -> Array:
        """Cells per standard deviation of the narrowest feature of the starts, (starts,); infinite where not known."""
        width = max(self.position_grid(grid, float(self.saves[0])).spacing)
        return np.array([one.smallest_std / width if isinstance(one, Law) else np.inf for one in self.starts.values()])

    def narrow(self, grid: Grid) -> NDArray[np.bool_]:
        """Which starts are narrower than `NARROWEST` cells, shape (starts,).

        Where in its cell such a start lies decides on its mean, on every level anew, and levels agree or not by
        accident: of 1,000 saved times of runs stopped early all that were not covered were of this kind.
        """
        cells = self.cells_per_std(grid)
        return np.asarray((cells > 0.0) & (cells < NARROWEST))

    def jacobian(self, t: float) -> float:
        """Volume of x per volume of the solver's coordinate at time t."""
        return 1.0 if self.frame is None else float(np.prod(self.frame.scale(t)))

    def position_grid(self, grid: Grid, t: float) -> Grid:
        """The grid in x that the solver's grid covers at time t."""
        return grid if self.frame is None else self.frame.grid(t, grid)

    def start_values(self, grid: Grid) -> Array:
        """Cell averages of all starts per volume of the solver's coordinate, shape (starts, nx[, ny])."""
        where = self.position_grid(grid, float(self.saves[0]))
        values, volume = np.empty((len(self.starts), *grid.shape)), self.jacobian(float(self.saves[0]))
        for row, (name, start) in zip(values, self.starts.items(), strict=True):
            np.multiply(self._start_on(name, start, where), volume, out=row)
        return values

    def forgotten(self, grid: Grid) -> tuple[int, Array] | None:
        """Number of the save time from which on nothing is left of the starts, and the cell averages of the law there.

        Per volume of the solver's coordinate, shape (nx[, ny]).
        """
        found = self.dynamics.forgotten(self.saves)
        if found is None:
            return None
        at = float(self.saves[found[0]])
        where = self.position_grid(grid, at)
        return found[0], where.cell_average(found[1]) * self.jacobian(at)

    def _start_on(self, name: str, start: Start, grid: Grid) -> Array:
        if isinstance(start, np.ndarray):
            if start.shape != grid.shape:
                raise error(
                    f"starts[{name!r}]",
                    f"cell averages of shape {grid.shape}, the grid's",
                    f"shape {start.shape}",
                )
            return start
        mixture = start.components
        values = grid.cell_average(start if mixture is None or start.dim == 1 else FastLaw(mixture))
        cut = abs(1.0 - float(values.sum() * grid.volume))
        if cut > MAX_CUT:
            v = weights.evaluate(self.weight, grid)
            raise error(
                f"starts[{name!r}]",
                f"a law that the box {grid.bounds} holds up to a mass of {MAX_CUT:g}",
                f"a mass of {cut:.3g} (at least {cut * v.min():.3g} in the weighted norm) outside of it",
                "widen the box of the grid, or leave the box to fpsolve with tol",
            )
        return values

    def weight_values(self, grid: Grid) -> Array:
        """V at the cell centres of the solver's grid at every save time, shape (saves, nx[, ny]).

        Densities per solver volume times solver volume are masses, so sums with this weight serve in every frame.
        """
        return self.weight_values_at(grid, self.saves)

    def weight_values_at(self, grid: Grid, times: Array) -> Array:
        """V at the cell centres of the solver's grid at some times, shape (times, nx[, ny])."""
        if self.frame is None:
            if grid not in self._fixed_weights:
                self._fixed_weights[grid] = self._weight_on(grid)
            return np.broadcast_to(self._fixed_weights[grid], (len(times), *grid.shape))
        center, scale = self.frame.center(times), self.frame.scale(times)
        if grid.dim == 1 and (self.weight is None or isinstance(self.weight, weights.Weight)):
            return weights.evaluate(self.weight, center + scale * grid.x)
        every = zip(center, scale, strict=True)
        return np.stack([weights.evaluate(self.weight, m + s * grid.x, grid.dim) for m, s in every])

    def _weight_on(self, grid: Grid) -> Array:
        """V at the cell centres; weights of our own in the plane some rows at a time, side by side."""
        if grid.dim == 1 or not (self.weight is None or isinstance(self.weight, weights.Weight)):
            return weights.evaluate(self.weight, grid)
        x, y = grid.axes
        values = np.empty(grid.shape)

        def rows(first: int, last: int) -> None:
            for begin in range(first, last, ROWS):
                part = slice(begin, min(begin + ROWS, last))
                points = np.stack(np.meshgrid(x[part], y, indexing="ij"), axis=-1)
                values[part] = weights.evaluate(self.weight, points, 2)

        over(len(x), values.size, rows)
        return values


#: Rows of a plane whose points are made together.
ROWS = 32
Interval = tuple[float, float]

#: A box for light tails costs little more when it holds nearly everything: 7.3 standard deviations for 1e-12.
LIGHT_TAIL = 1e-12
#: The generous radius is taken when it is at most this much larger than the sufficient one.
GENEROUS = 1.6
#: Mixtures of at most so many components are looked at together.
SMALL_MIXTURE = 16
#: Logarithms from here on belong to no finite number.
LARGEST = 600.0


def covering_box(laws: Iterable[Law], weight: WeightLike, allowance: float) -> tuple[Interval, ...]:
    """Smallest axis-parallel box (lo, hi per axis) that leaves each law a V-weighted tail of `allowance` per side.

    Parameters
    ----------
    laws : iterable of Law
        All of one dimension.
    weight : WeightLike
        V; None is 1 + |x|^2.
    allowance : float
        Where tails are light enough for it the box is widened to hold all but `LIGHT_TAIL`.
    """
    return hull(law_boxes(list(laws), weight, allowance))


def hull(boxes: Sequence[tuple[Interval, ...]]) -> tuple[Interval, ...]:
    """The smallest box that holds all boxes."""
    return tuple((min(box[k][0] for box in boxes), max(box[k][1] for box in boxes)) for k in range(len(boxes[0])))


def on_the_way(start: tuple[Interval, ...], home: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """What a law reaches that begins in the box `start` and is pulled into the box `home` while noise widens it.

    Between two Gaussians whose distance m shrinks by the factor rho, linear dynamics has reached
    ``rho m + sqrt(rho^2 A^2 + (1 - rho^2) R^2)`` beyond the centre of `home`, A and R the half-widths: more than either
    box where a narrow start is far from home, at most ``R sqrt(1 + m^2/(R^2 - A^2))``.
    """
    reached = []
    for (lo, hi), (home_lo, home_hi) in zip(start, home, strict=True):
        centre, wide, narrow = 0.5 * (home_lo + home_hi), 0.5 * (home_hi - home_lo), 0.5 * (hi - lo)
        m, gain = 0.5 * (lo + hi) - centre, wide**2 - narrow**2
        # the bound is attained on the way where its rho is below 1, else the start itself is farthest out
        inside = gain > 0.0 and abs(m) * wide < gain**0.5 * (gain + m * m) ** 0.5
        reach = wide * (1.0 + m * m / gain) ** 0.5 if inside else 0.0
        side = (lo, max(hi, centre + reach)) if m > 0.0 else (min(lo, centre - reach), hi)
        reached.append(side)
    return tuple(reached)


def law_boxes(laws: Sequence[Law], weight: WeightLike, allowance: float) -> list[tuple[Interval, ...]]:
    """The box of every law; those of small mixtures are looked for together."""
    generous = min(allowance, LIGHT_TAIL)
    mixtures = [law.components for law in laws]
    sizes = [0 if mixture is None else len(mixture.log_weights) for mixture in mixtures]
    together = [k for k, size in enumerate(sizes) if 0 < size <= SMALL_MIXTURE]
    groups = [together, *([k] for k, size in enumerate(sizes) if size > SMALL_MIXTURE)]
    found: dict[int, tuple[Interval, ...]] = {}
    for group in filter(None, groups):
        chosen = [mixture for k in group if (mixture := mixtures[k]) is not None]
        boxes = _mixture_boxes(chosen, weight, (allowance, generous))
        for k, enough, wide in zip(group, *boxes, strict=True):
            centers = np.atleast_1d(laws[k].mean).tolist()
            found[k] = tuple(
                (_chosen(low, lowest, center), _chosen(high, highest, center))
                for (low, high), (lowest, highest), center in zip(enough, wide, centers, strict=True)
            )
    for k, law in enumerate(laws):
        if mixtures[k] is None:
            found[k] = tuple(_axis_interval(law, axis, weight, allowance, generous) for axis in range(law.dim))
    return [found[k] for k in range(len(laws))]


def _chosen(enough: float, wide: float, center: float) -> float:
    """The generous end of an interval where it is not much further out than the sufficient one."""
    return wide if abs(wide - center) <= GENEROUS * abs(enough - center) else enough


def _on_axis(means: Array, k: int, positions: Array) -> Array:
    """Points that run along axis k through means (..., d) of laws (1D: the positions themselves)."""
    if means.shape[-1] == 1:
        return positions
    points = np.broadcast_to(means, (*positions.shape, 2)).copy()
    points[..., k] = positions
    return points


@cache
def _reaches() -> tuple[Array, Array]:
    """Numbers u of standard deviations and ``log P(Z > u)``, shape (n, 1) each."""
    u = np.linspace(0.0, 38.0, 761)[:, None]
    return u, np.asarray(log_ndtr(-u))


def _mixture_boxes(
    laws: Sequence[NormalMixture], weight: WeightLike, allowances: Sequence[float]
) -> list[list[tuple[Interval, ...]]]:
    """Component by component: u standard deviations with ``2 w V(m +- u s) P(Z > u) <= share of the allowance``.

    A component whose whole weighted mass is below its share is left out (u = 0): scale mixtures, as a Student's t is
    represented, have many wide components of next to no mass. One list per allowance, in the order of the laws.
    """
    counts = np.array([len(law.log_weights) for law in laws])
    first, owner = np.cumsum(counts) - counts, np.repeat(np.arange(len(laws)), counts)
    means = np.concatenate([law.component_means for law in laws])
    stds = np.sqrt(np.diagonal(np.concatenate([law.component_covs for law in laws]), axis1=-2, axis2=-1))
    log_mass = np.log(2.0) + np.concatenate([law.log_weights for law in laws])
    centers = np.stack([np.atleast_1d(law.mean) for law in laws])[owner]
    u, log_beyond = _reaches()
    ends: list[list[tuple[list[float], list[float]]]] = [[] for _ in allowances]
    for k in range(laws[0].dim):
        m, s = means[:, k], stds[:, k]
        reach = np.maximum(u, 2.0) * s  # V where most of the weighted mass beyond u is
        points = _on_axis(centers, k, np.stack([m - reach, m + reach]))
        log_beyond_u = weights.logarithm(weight, points, laws[0].dim).max(axis=0) + log_mass + log_beyond
        for allowance, sides in zip(allowances, ends, strict=True):
            enough = log_beyond_u <= np.log(allowance / counts)[owner]
            found = enough.any(axis=0)
            if not found.all():
                raise _infinite_moment(laws[owner[np.argmin(found)]])
            radius = u[np.argmax(enough, axis=0), 0] * s
            low, high = np.where(radius > 0.0, m - radius, np.inf), np.where(radius > 0.0, m + radius, -np.inf)
            sides.append((np.minimum.reduceat(low, first).tolist(), np.maximum.reduceat(high, first).tolist()))
    return [[tuple((low[j], high[j]) for low, high in sides) for j in range(len(laws))] for sides in ends]


def _axis_interval(law: Law, k: int, weight: WeightLike, allowance: float, generous: float) -> Interval:
    """Radii on both sides of the mean beyond which the integral of V p along the axis is small enough."""
    marginal = law.axis_marginal(k)
    center = float(np.atleast_1d(law.mean)[k])
    std = float(np.sqrt(np.atleast_2d(law.cov)[k, k]))
    if not np.isfinite(std):
        std = 1.0
    r = std * np.concatenate([np.linspace(0.0, 8.0, 801)[:-1], np.geomspace(8.0, 1e6, 1200)])
    ends = []
    for sign in (-1.0, 1.0):
        x = center + sign * r
        along = marginal.log_density(x) if marginal is not None else _log_cross_section(law, k, x)
        log_v = weights.logarithm(weight, _on_axis(np.atleast_1d(law.mean), k, x), law.dim)
        # where there is nothing V may be anything
        tail = _tails(r, along + np.where(np.isneginf(along), 0.0, log_v), law)
        radius, wide = (r[np.argmax(tail <= max(limit, tail[-1]))] for limit in (allowance, generous))
        ends.append(_chosen(center + sign * float(radius), center + sign * float(wide), center))
    return ends[0], ends[1]


def _tails(r: Array, log_mass: Array, law: Law) -> Array:
    """Integral from every radius outwards of a function given by its logarithm, shape of r.

    ValueError where it does not decay before it, or V, is no finite number any more.
    """
    # V, and with it the product, is followed as far out as there are numbers for it
    known = np.flatnonzero(log_mass >= LARGEST)
    count = int(known[0]) if known.size else len(r)
    r_known, log_known = r[:count], log_mass[:count]
    last = log_known[-2:] if count > 1 else np.zeros(2)
    if np.isfinite(last).all():
        power = -float((last[1] - last[0]) / np.log(r_known[-1] / r_known[-2])) if count > 1 else 0.0
        if not power > 1.0:
            raise _infinite_moment(law)
        beyond = float(np.exp(last[1])) * float(r_known[-1]) / (power - 1.0)
    else:
        beyond = 0.0
    mass = np.exp(log_known)
    pieces = 0.5 * (mass[1:] + mass[:-1]) * np.diff(r_known)
    tail = np.append(np.cumsum(pieces[::-1])[::-1], 0.0) + beyond
    return np.append(tail, np.full(len(r) - count, beyond))


def _infinite_moment(law: Law) -> ValueError:
    return error(
        "weight",
        "one with a finite moment under the laws of the run",
        f"a moment that is infinite, or beyond any number, under {shown(law)}",
        "take a weaker weight, or give a grid",
    )


def _log_cross_section(law: Law, k: int, x: Array) -> Array:
    """Log density of coordinate k at the positions x, by integrating a 2D law over the other coordinate."""
    other = 1 - k
    std = float(np.sqrt(np.atleast_2d(law.cov)[other, other]))
    y = float(np.atleast_1d(law.mean)[other]) + std * np.linspace(-12.0, 12.0, 481)
    order = np.argsort(x)
    axes = (x[order], y) if k == 0 else (y, x[order])
    density = logsumexp(law.log_density_on_axes(*axes), axis=other) + np.log(y[1] - y[0])
    return np.asarray(density[np.argsort(order)])

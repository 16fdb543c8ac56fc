"""Integrals over the whole line and plane, with what is left out bounded: expectations and relative entropies of laws,
``E |s - s'|^2`` under one, integrals over the time of a run.

A quadrature on the line follows laws wherever their components lie; integrals over the box of a grid say whether it is
large enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fpsolve._times import Joints
from fpsolve.bounds._record import Hypothesis
from fpsolve.dynamics import Reverse
from fpsolve.grid import Grid
from fpsolve.laws import Law

Array = NDArray[np.float64]

#: Nodes per panel of an integral over time; panels towards a time at which coefficients are infinite, each 4 times as
#: long as the one before.
_TIME_NODES, _TOWARDS = 8, 14
#: Latest over first time of a panel at most, and the share of t0 at which panels towards t = 0 end: the information of
#: a narrow law falls like 1/t down to where the noise is as narrow.
_RATIO, EARLIEST = 16.0, 1e-20
#: Panel ends around the centre of a feature, in its widths, and Gauss-Legendre nodes per panel.
_ENDS = np.array([0.25, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 36, 40])
_NODES = 16
#: Nodes and weights on [-1, 1], in space and in time: an eigenvalue problem, solved once.
_IN_SPACE, _IN_TIME = (np.polynomial.legendre.leggauss(n) for n in (_NODES, _TIME_NODES))
#: Panels closer than this share of the width of the feature they come from add nothing.
_MERGED = 0.2
#: Doublings beyond the outermost feature; laws with power tails end after fewer, and are continued as powers.
_DOUBLINGS, _POWER_DOUBLINGS = 30, 10


@dataclass(frozen=True, eq=False)
class Line:
    """A composite Gauss-Legendre rule on the line.

    Attributes
    ----------
    ends : array
        Increasing ends of its panels.
    power : bool
        Whether a law has a power tail: integrals then continue beyond the last panel as powers of x.
    """

    ends: Array
    power: bool

    @classmethod
    def of(cls, *laws: Law) -> Line:
        """Return a rule that resolves every component of the laws in 1D, 40 standard deviations and more around it."""
        features = [feature for law in laws for feature in law.features]
        centres, widths = (np.array([feature[k] for feature in features]) for k in (0, 1))
        points = np.concatenate([centres, *(centres + sign * z * widths for z in _ENDS for sign in (1.0, -1.0))])
        scales = np.tile(widths, 2 * _ENDS.size + 1)
        # the points in order, without those that lie much closer to their neighbour than their own scale
        order = np.lexsort((scales, points))
        kept: list[float] = []
        near = -np.inf
        for x, scale in zip(points[order].tolist(), scales[order].tolist(), strict=True):
            if x - near >= _MERGED * scale or not kept:
                kept.append(x)
                near = x
        # weights have their kink at 0
        ends = np.unique(np.concatenate([[0.0], np.array(kept), *(law.edges for law in laws)]))
        power = any(law.tail is not None and law.tail.power == 0.0 for law in laws)
        middle, half = 0.5 * (ends[0] + ends[-1]), 0.5 * (ends[-1] - ends[0])
        far = half * 2.0 ** np.arange(1, (_POWER_DOUBLINGS if power else _DOUBLINGS) + 1)
        return cls(np.concatenate([middle - far[::-1], ends, middle + far]), power)

    @cached_property
    def x(self) -> Array:
        """Nodes."""
        low, high = self.ends[:-1, None], self.ends[1:, None]
        return np.asarray(0.5 * (low + high) + 0.5 * (high - low) * _IN_SPACE[0]).ravel()

    @cached_property
    def _log_weights(self) -> Array:
        # a mean of 5e-324 ends a panel at 0 whose nodes weigh less than any number: nothing
        with np.errstate(divide="ignore"):
            return np.log(0.5 * np.diff(self.ends)[:, None] * _IN_SPACE[1]).ravel()

    def log_integral(self, log_values: Array) -> float:
        """``log int e^f`` from f at the nodes; -inf where all are -inf, inf where it does not decay."""
        terms = log_values + self._log_weights
        top = float(np.max(terms))
        if not np.isfinite(top):
            return top
        total = float(np.sum(np.exp(terms - top)))
        per_panel = np.exp(terms - top).reshape(-1, _NODES).sum(axis=1)
        beyond = sum(_continued(per_panel[way], self.power) for way in (slice(-3, None), slice(2, None, -1)))
        return top + float(np.log(total + beyond)) if np.isfinite(beyond) else np.inf

    def mean(self, log_p: Array, values: Array) -> float:
        """``int p f`` from log p and f at the nodes; NaN where both its positive and its negative part are infinite."""
        with np.errstate(divide="ignore"):
            logs = log_p + np.log(np.abs(values))
        parts = [self.log_integral(np.where(side, logs, -np.inf)) for side in (values > 0.0, values < 0.0)]
        above, below = np.exp(parts)
        return float(above - below) if np.isfinite(min(above, below)) else float("nan")


def _continued(last: Array, power: bool) -> float:
    """What lies beyond the last of three panels, each twice as long as the one before; inf where it does not fall."""
    before, outermost = float(last[-2]), float(last[-1])
    if outermost <= 0.0:
        return 0.0
    ratio = outermost / before if before > 0.0 else np.inf
    if ratio >= 1.0 - 1e-6:
        return np.inf
    # powers of x make a geometric series; anything that falls faster is below it
    return outermost * ratio / (1.0 - ratio) if power or ratio > 1e-3 else outermost


#: Share of an integral that the cells at the ends of the box may hold.
END_SHARE = 1e-6
#: Beyond this exponent an integrand is far beyond anything that a bound could use.
_HUGE = 300.0


#: Mass of a law that the quadrature in the cells may get wrong.
_UNRESOLVED = 1e-4
#: Mass of a law that the box may miss.
LOST = 1e-6
#: How far beyond the box an integrand is looked for, in boxes on either side.
_AROUND = 2


def held(grid: Grid, **laws: Law) -> tuple[Hypothesis, ...]:
    """Return the hypotheses that the box holds laws, up to a mass of 1e-6 each, and in 2D that its cells resolve them.

    Without it an integral over the box says nothing: a law that lies elsewhere leaves no trace at its ends, and one
    between the nodes of the quadrature none at all. In 1D integrals are those of the line, which follow the law.
    """
    found = []
    for name, law in laws.items():
        mass = float(grid.cell_average(law).sum() * grid.volume)
        found.append(Hypothesis(f"the box holds {name}", LOST - abs(1.0 - mass), "1e-6 less the mass beyond it"))
        if grid.dim == 2:
            found.append(resolved(grid, name, law))
    return tuple(found)


def resolved(grid: Grid, name: str, law: Law) -> Hypothesis:
    """Return the hypothesis that the quadrature within the cells finds a law, where its cell probabilities are known.

    What is integrated against the law by the same nodes is then not further off than it is rough itself.
    """
    missed = np.abs(grid.cell_average(law.density) - grid.cell_average(law)).sum() * grid.volume
    detail = f"{_UNRESOLVED:g} less the mass that the nodes in the cells get wrong"
    return Hypothesis(f"the cells resolve {name}", _UNRESOLVED - float(missed), detail)


def around_share(grid: Grid, integrand: Callable[[Array], Array], total: float) -> float:
    """1e-6 less the share of an integral over the box that point values find in the two boxes beside it, on each side.

    `integrand` takes points of the shape of ``grid.x`` and is not negative; `total` is its integral over the box.
    """
    around = Grid(
        tuple((low - _AROUND * (high - low), high + _AROUND * (high - low)) for low, high in grid.bounds), grid.shape
    )
    values = np.array(integrand(around.x), dtype=np.float64)
    points = around.x.reshape(*around.shape, grid.dim)
    low, high = (np.array([ends[side] for ends in grid.bounds]) for side in (0, 1))
    values[np.all((points >= low) & (points <= high), axis=-1)] = 0.0
    beyond = float(values.sum() * around.volume)
    return END_SHARE - beyond / total if total > 0.0 else END_SHARE - beyond


def exp_or_inf(exponent: Array) -> Array:
    """``exp``, held at e^300 where it would overflow: an integral that meets it fails its check at the ends."""
    return np.asarray(np.exp(np.minimum(exponent, _HUGE)))


def end_share(values: Array) -> float:
    """1e-6 less the share of the integral of |values| that the cells at the ends of the box hold.

    Negative where the integrand has not decayed: the integral over the whole space is then larger, perhaps infinite.
    """
    size = np.abs(values)
    total = float(size.sum())
    inner = size[tuple(slice(1, -1) for _ in range(size.ndim))]
    return END_SHARE - (total - float(inner.sum())) / total if total > 0.0 else END_SHARE


#: How to read the margin of an integral in the plane.
ENDS = "1e-6 less the share of the integral at the ends of the box and beyond"


def entropy_of(
    grid: Grid | None, p: Law, q: Law, names: tuple[str, str] = ("the first start", "the second start")
) -> tuple[float, tuple[Hypothesis, ...], tuple[str, ...]]:
    """KL(p|q) over the line in 1D and over the box in 2D, its hypotheses, and what is not checked.

    The integral of ``p log(p/q) - p + q``, which is not negative at any point: an entropy that is small is no
    difference of numbers that are not. Infinite where q is zero and p is not.
    """
    name = "the start has a finite relative entropy"
    if grid is None or p.dim == 1:
        line = Line.of(p, q)
        log_kl = line.log_integral(_log_divergence(p.log_density(line.x), q.log_density(line.x)))
        found = float(np.exp(log_kl)) if log_kl < TOP else np.inf
        return found, (Hypothesis(name, 0.0 if np.isfinite(found) else -1.0),), ()

    def of_p(x: Array) -> Array:
        # p |log(p/q)|: what comes from where p lies, whatever q has there
        log_p, log_q = p.log_density(x), q.log_density(x)
        seen = log_p > _EMPTY
        return np.where(seen, np.exp(log_p) * np.abs(np.where(seen, log_p, 0.0) - np.where(seen, log_q, 0.0)), 0.0)

    values = grid.cell_average(of_p)
    if not np.all(np.isfinite(values)):
        return np.inf, (Hypothesis(name, -1.0),), ()
    share = min(end_share(values), around_share(grid, of_p, float(values.sum() * grid.volume)))
    inside = grid.cell_average(lambda x: exp_or_inf(_log_divergence(p.log_density(x), q.log_density(x))))
    # what q has beyond the box, and p has not
    rest = max(0.0, 1.0 - float(grid.cell_average(q).sum() * grid.volume))
    checked = (*held(grid, **{names[0]: p}), resolved(grid, names[1], q), Hypothesis(name, share, ENDS))
    return float(inside.sum() * grid.volume) + rest, checked, (f"{names[0]} beyond the boxes beside the grid's",)


def _log_divergence(log_p: Array, log_q: Array) -> Array:
    """``log(p log(p/q) - p + q)``."""
    seen = log_p > _EMPTY
    ratio = np.where(seen, log_p, 0.0) - np.where(seen, log_q, 0.0)
    near = np.maximum(ratio, -30.0)
    with np.errstate(divide="ignore"):
        found = np.where(seen, log_p, 0.0) + np.log(near + np.expm1(-near))
    # where p is far below q, q is what is left
    return np.where(seen & (ratio > -30.0), found, log_q)


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
#: Beyond this log density a law has no mass; log of the largest integral that is told from infinity.
_EMPTY, TOP = -700.0, 700.0


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
            # the box with a quarter of its cells more on every side
            extra = [max(1, n // 4) for n in wide.shape]
            more = [k * h for k, h in zip(extra, wide.spacing, strict=True)]
            bounds = tuple((low - d, high + d) for (low, high), d in zip(wide.bounds, more, strict=True))
            wide = Grid(bounds, tuple(n + 2 * k for n, k in zip(wide.shape, extra, strict=True)))
            found = on_cells(wide.cell_average(law), square(wide.x), wide)
        with np.errstate(over="ignore"):
            around = around_share(wide, lambda x: law.density(x) * square(x), found.value)
    except ValueError:
        return found
    missed = _MISSED - (found.value - inside) / found.value if found.value > 0.0 else _MISSED
    return ScoreError(found.value, min(found.held, around, missed), found.resolved, True)


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


def over_time(reverse: Reverse, t0: float, t1: float, panels: int, others: Joints | None = None) -> tuple[Array, Array]:
    """Forward times from t0 down to t1 and weights dr of an integral over reverse time.

    Gauss-Legendre in log t on panels that are even in the clock, or no longer than a factor of 16, and end where
    coefficients jump, have kinks, change quickly or are held; the clock itself is a table, in which no integrand is
    smooth. What is left of a run to ``t1 = 0`` below ``t = 1e-20 t0`` is the last panel.
    """
    nodes, shares = _IN_TIME
    low = max(t1, EARLIEST * t0)
    first, last = (float(reverse.clock(t)) for t in (t0, low))
    inner = reverse.clock_inverse(np.linspace(first, last, panels + 1)[1:-1])
    gap = reverse.horizon - reverse.held_from
    near = reverse.horizon - gap * 4.0 ** np.arange(_TOWARDS if gap > 0.0 else 0)
    joints = reverse.joints if others is None else reverse.joints.with_others(others)
    steep = joints.beside(low, t0, 2.0, share=0.5)
    even = np.geomspace(low, t0, int(np.ceil(np.log(t0 / low) / np.log(_RATIO))) + 1)
    ends = np.array([*inner, *near, *even, *reverse.process.kinks, *joints.times, *steep])
    ends = np.log(np.unique([*ends[(low < ends) & (ends < t0)], t0, low])[::-1])
    half, middle = 0.5 * (ends[:-1] - ends[1:])[:, None], 0.5 * (ends[:-1] + ends[1:])[:, None]
    times = np.exp(middle - half * nodes)
    rest = 0.5 * (low - t1) * (1.0 - nodes), 0.5 * (low - t1) * shares
    parts = [(times.ravel(), np.ravel(half * shares * times)), *([rest] if low > t1 else [])]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def unresolved_panels(times: Array, parts: Array, most: float) -> tuple[float, Joints]:
    """Return how much of an integral over time is in the last two of eight Legendre coefficients per panel, as a share.

    Also the middles of the panels that hold more than their part of `most`. Each panel's rule is exact to twice the
    degree of these coefficients: where they are small its error is far smaller. `times` are those of `over_time`,
    `parts` the integrand there times the weights.
    """
    waves = np.polynomial.legendre.legvander(_IN_TIME[0], _TIME_NODES - 1)[:, -2:] * (
        2 * np.arange(_TIME_NODES)[-2:] + 1
    )
    total = float(np.abs(parts).sum())
    shares = np.abs(parts.reshape(-1, _TIME_NODES) @ waves).sum(axis=1) / (total if total > 0.0 else 1.0)
    middles = np.exp(np.log(times).reshape(-1, _TIME_NODES).mean(axis=1))
    return float(shares.sum()), Joints(tuple(middles[shares > most / shares.size].tolist()))


def square_of(values: Array, dim: int) -> Array:
    return np.square(values) if dim == 1 else np.asarray(np.square(values).sum(axis=-1))


def mean_under(grid: Grid | None, law: Law, f: Callable[[Array], Array]) -> tuple[float, float]:
    """E f under the law, over the line in 1D and over the box in 2D; a margin that is negative where it is infinite."""
    if grid is not None and law.dim == 2:
        values = grid.cell_average(lambda x: law.density(x) * f(x))
        return float(values.sum() * grid.volume), end_share(values)
    line = Line.of(law)
    log_p = law.log_density(line.x)
    seen = log_p > -700.0
    values = np.zeros(line.x.shape)
    values[seen] = f(line.x[seen])
    mean = line.mean(np.where(seen, log_p, -np.inf), values)
    return mean, 0.0 if np.isfinite(mean) else -1.0

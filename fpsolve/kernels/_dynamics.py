"""Kernels of dynamics: the exact one of the reverse dynamics by Bayes' rule, and any by finite-volume steps, all point
starts as right-hand sides of the same solves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, _memory
from fpsolve._compile import compiled
from fpsolve._times import one
from fpsolve.dynamics import BaseDynamics, Reverse, RunClock
from fpsolve.grid import Grid
from fpsolve.kernels._kernel import Kernel, Operator, require_backwards, require_small
from fpsolve.solver import Scheme, advance, rates_at, retreat, scheme_named, step_table

if TYPE_CHECKING:
    from fpsolve.laws import Law
    from fpsolve.solver import StepTable


Array = NDArray[np.float64]

Source = Literal["cell", "point"]

#: Terms below exp(-this) of the largest of a row are left out.
DEEPEST = 200.0
_NODES = (2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64)
#: The source is averaged over its cell where the likelihood's variance is below this many ``h^2/12``.
_NARROW = 1.5
_SOURCE_NODES = 8


def exact(
    reverse: Reverse, grid: Grid, t0: float, t1: float, *, source: Source = "cell", to_grid: Grid | None = None
) -> Kernel:
    r"""Return the exact transition kernel of the reverse SDE between two times, a matrix on the cells.

    With the exact score and eta = 1 the reverse dynamics is the forward process read backwards, so by Bayes' rule

    .. math:: P_{t_0 \to t_1}(y, x) = p_{t_1}(x)\, N(y; \alpha(t_1, t_0)\, x, \sigma^2(t_1, t_0) I) / p_{t_0}(y),

    integrated over every target cell by Gauss-Legendre quadrature with as many nodes as the narrowest factor asks for,
    in logarithms. Rows are then divided by their sum; `defects` keeps what the sum lacked against ``p_{t0}(y)``, mass
    beyond the box included.

    Parameters
    ----------
    reverse : Reverse
        With the exact score and eta = 1.
    grid : Grid
        At most 2000 cells in 1D, 48 x 48 in 2D.
    t0, t1 : float
        Forward times, ``T >= t0 > t1 >= 0``.
    source : {"cell", "point"}
        "point": row i is the transition from the centre of cell i. "cell" (default): from the cell, such that pushing
        cell averages has an error of order h^4; the mass at the centres alone would have a variance ``c = h^2/12`` too
        much. To that order the row is Bayes' rule with y moved to ``y + c score(t0, y)`` and the variance of the
        likelihood lowered by c; where that is not positive by a margin, the mean of the rows over the source cell.
    to_grid : Grid, optional
        Target cells, default `grid`.

    Returns
    -------
    Kernel

    Raises
    ------
    ValueError
        A score model or eta other than 1, times out of order, another dimension, too many cells (with the memory).

    References
    ----------
    Anderson 1982, doi:10.1016/0304-4149(82)90051-5; Haussmann and Pardoux 1986, doi:10.1214/aop/1176992362.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0))
    >>> kernel = exact(reverse, fp.Grid.uniform((-8, 8), cells=120), 1.0, 0.5)
    >>> mean = kernel.pull(kernel.grid.x)  # a stationary OU process is reversible: E[X_0.5 | X_1 = y] = y exp(-1/2)
    >>> abs(float(mean[80] / kernel.grid.x[80] - np.exp(-0.5))) < 1e-10
    True
    """
    _checks.instances(reverse=(reverse, Reverse), grid=(grid, Grid))
    if to_grid is not None:
        _checks.instances(to_grid=(to_grid, Grid))
    if not reverse.exact or reverse.eta != 1.0:
        got = f"eta = {reverse.eta_label}" if reverse.exact else "a score model"
        raise _checks.error("reverse", "the exact score and eta = 1 for Bayes' rule", got, "use finite_volume")
    cells = grid if to_grid is None else to_grid
    for which, each in (("grid", grid), ("to_grid", cells)):
        _checks.same_dim(which, each.dim, "reverse", reverse.dim)
        require_small(each, remedy="push one density at a time with finite_volume_operator")
    _checks.one_of("source", source, ("cell", "point"))
    start, end = require_backwards(t0, t1, reverse.horizon)
    alpha, variance = (float(f(end, start)) for f in (reverse.process.scale, reverse.process.variance))
    correction = np.square(grid.spacing) / 12.0 if source == "cell" else np.zeros(grid.dim)
    averaged = source == "cell" and variance < _NARROW * float(np.max(correction))
    rule = _Rule.of(reverse, cells, end, alpha, variance if averaged else variance - float(np.max(correction)))
    if averaged:
        matrix, defects = _averaged(reverse, grid, rule, start, alpha, variance)
    else:
        points = grid.x.reshape(-1, grid.dim)
        moved = points + correction * np.asarray(reverse.score(start, grid.x)).reshape(points.shape)
        matrix, log_sums = rule.rows(moved, alpha, variance - correction)
        # log int p_{t1}(x) N(y; alpha x, variance) dx where there is a closed form
        left = variance - correction
        law = reverse.marginal(end).diffused(alpha, float(left[0])) if np.ptp(left) == 0.0 else None
        log_evidence = None if law is None else _log_density(law, moved)
        if log_evidence is None:
            log_sums = rule.rows(points, alpha, np.full(grid.dim, variance))[1]
            log_evidence = _log_density(reverse.marginal(start), points)
        defects = np.abs(np.expm1(log_sums - log_evidence))
    name = f"exact {start:g} -> {end:g}"
    return Kernel(matrix, grid, start, end, to_grid, name, defects, float(averaged), reverse)


@dataclass(frozen=True, eq=False)
class _Rule:
    """Quadrature on the target cells: nodes and weights per axis, log p_{t1} at the nodes."""

    axes: tuple[Array, ...]
    shares: tuple[Array, ...]
    log_prior: Array
    cells: Grid

    @classmethod
    def of(cls, reverse: Reverse, cells: Grid, t1: float, alpha: float, variance: float) -> _Rule:
        """As many nodes per axis as the narrowest of prior and likelihood needs."""
        prior = reverse.marginal(t1)
        # a law with kinks has no width of its own: the likelihood decides, and the defect tells
        narrow = float(np.hypot(alpha / np.sqrt(variance), 1.0 / prior.smallest_std if prior.smallest_std else 0.0))
        axes, shares = [], []
        for centres, h in zip(cells.axes, cells.spacing, strict=True):
            nodes, weights = np.polynomial.legendre.leggauss(_node_count(h * narrow))
            axes.append((centres[:, None] + 0.5 * h * nodes).ravel())
            shares.append(0.5 * h * weights)
        return cls(tuple(axes), tuple(shares), reverse.marginals.log_density_on_axes(np.array([t1]), *axes)[0], cells)

    def rows(self, y: Array, alpha: float, variance: Array) -> tuple[Array, Array]:
        """Rows (n, cells) that sum to one, and the logarithms of their sums before; y (n, d), variance (d,)."""
        out = np.empty((len(y), math.prod(self.cells.shape)))
        if self.cells.dim == 1:
            at = y[:, 0].copy()
            log_sums = _line(self.log_prior, self.axes[0], self.shares[0], at, alpha, float(variance[0]), out)
        else:
            planes = out.reshape(len(y), *self.cells.shape)
            axes, shares = (self.axes[0], self.axes[1]), (self.shares[0], self.shares[1])
            log_sums = _plane(self.log_prior, axes, shares, y, alpha, variance, planes)
        out /= out.sum(axis=1, keepdims=True)
        return out, np.asarray(log_sums)


def _averaged(
    reverse: Reverse, grid: Grid, rule: _Rule, t0: float, alpha: float, variance: float
) -> tuple[Array, Array]:
    """Rows averaged over the source cell by Gauss-Legendre quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(_SOURCE_NODES)
    offsets = np.stack(np.meshgrid(*[0.5 * h * nodes for h in grid.spacing], indexing="ij"), axis=-1)
    shares = np.prod(np.meshgrid(*[0.5 * weights] * grid.dim, indexing="ij"), axis=0).ravel()
    points = grid.x.reshape(-1, grid.dim)
    matrix, defects = np.zeros((len(points), math.prod(rule.cells.shape))), np.zeros(len(points))
    spread = np.full(grid.dim, variance)
    for offset, share in zip(offsets.reshape(-1, grid.dim), shares, strict=True):
        rows, log_sums = rule.rows(points + offset, alpha, spread)
        matrix += share * rows
        log_evidence = _log_density(reverse.marginal(t0), points + offset)
        defects = np.maximum(defects, np.abs(np.expm1(log_sums - log_evidence)))
    return matrix / matrix.sum(axis=1, keepdims=True), defects


def _log_density(law: Law, y: Array) -> Array:
    """log density at points (n, d)."""
    return law.log_density(y[:, 0] if law.dim == 1 else y)


def _node_count(ratio: float) -> int:
    """Gauss-Legendre nodes that integrate a Gaussian over a cell of `ratio` standard deviations to 1e-15 of its peak.

    The remainder of m nodes is ``(m!)^4 / ((2m + 1) ((2m)!)^3)`` times the largest derivative of order 2m, which for a
    Gaussian is ``(2m)!/(2^m m!)``.
    """
    for m in _NODES:
        bound = math.factorial(m) ** 3 / ((2 * m + 1) * math.factorial(2 * m) ** 2 * 2**m)
        if np.log(bound) + 2 * m * np.log(ratio) < np.log(1e-15):
            return m
    return _NODES[-1]


@compiled
def _line(log_prior: Array, x: Array, share: Array, y: Array, alpha: float, variance: float, out: Array) -> Array:
    """Rows on a line; returns the logarithm of every row's sum before it is normalised.

    Parameters
    ----------
    log_prior, x : arrays, shape (cells * nodes,)
        log p_{t1} at the nodes, in the order of the cells.
    share : array, shape (nodes,)
        Quadrature weights of a cell (they sum to its length).
    y : array, shape (rows,)
        Where the likelihood N(y; alpha x, variance) is taken.
    out : array, shape (rows, cells)
        Probabilities; every row is divided by its sum.
    """
    nodes, cells = share.size, out.shape[1]
    log_sums, terms = np.empty(y.size), np.empty(x.size)
    log_peak = -0.5 * math.log(2.0 * math.pi * variance)
    for i in range(y.size):
        top = -np.inf
        for a in range(x.size):
            gap = y[i] - alpha * x[a]
            terms[a] = log_prior[a] - 0.5 * gap * gap / variance
            top = max(top, terms[a])
        total = 0.0
        for j in range(cells):
            mass = 0.0
            for k in range(nodes):
                depth = terms[j * nodes + k] - top
                if depth > -DEEPEST:
                    mass += share[k] * math.exp(depth)
            out[i, j] = mass
            total += mass
        for j in range(cells):
            out[i, j] /= total
        log_sums[i] = top + math.log(total) + log_peak
    return log_sums


@compiled
def _plane(
    log_prior: Array, axes: tuple[Array, Array], shares: tuple[Array, Array], y: Array, alpha: float, variance: Array,
    out: Array,
) -> Array:  # fmt: skip
    """Rows in the plane, like `line`; log_prior (nx * nodes, ny * nodes), y (rows, 2), out (rows, nx, ny)."""
    mx, my = shares[0].size, shares[1].size
    rows, nx, ny = out.shape
    log_sums, terms = np.empty(rows), np.empty_like(log_prior)
    log_peak = -math.log(2.0 * math.pi) - 0.5 * math.log(variance[0] * variance[1])
    along = np.empty(my * ny)
    for i in range(rows):
        for b in range(my * ny):
            gap = y[i, 1] - alpha * axes[1][b]
            along[b] = -0.5 * gap * gap / variance[1]
        top = -np.inf
        for a in range(mx * nx):
            gap = y[i, 0] - alpha * axes[0][a]
            here = -0.5 * gap * gap / variance[0]
            for b in range(my * ny):
                terms[a, b] = log_prior[a, b] + here + along[b]
                top = max(top, terms[a, b])
        total = 0.0
        for jx in range(nx):
            for jy in range(ny):
                mass = 0.0
                for k in range(mx):
                    for m in range(my):
                        depth = terms[jx * mx + k, jy * my + m] - top
                        if depth > -DEEPEST:
                            mass += shares[0][k] * shares[1][m] * math.exp(depth)
                out[i, jx, jy] = mass
                total += mass
        out[i] /= total
        log_sums[i] = top + math.log(total) + log_peak
    return log_sums


#: Clock per step by default, and the fewest steps of a block.
CLOCK_STEP = 0.05
FEWEST = 16
#: Startup steps of schemes that have a startup.
STARTUP = 4
#: Rates are computed for so many steps at once that about this many cells are in flight.
CHUNK_CELLS = 250_000
#: Point starts advanced together: bounds the memory of the solves.
CHUNK_STARTS = 512


@dataclass(frozen=True, eq=False)
class FiniteVolumeOperator(Operator):
    """Finite-volume steps between two times, see `finite_volume_operator`.

    Attributes
    ----------
    dynamics : BaseDynamics
    times : array, shape (steps + 1,)
        Step times, equal steps in the clock of a run that starts from a single cell between the times at which
        coefficients jump or have kinks (`breaks` of the dynamics), which are step times.
    scheme : Scheme
    """

    dynamics: BaseDynamics
    times: Array
    scheme: Scheme

    def push_masses(self, masses: Array) -> Array:
        """Masses (n, cells) -> masses (n, cells)."""
        q = masses.reshape(-1, *self.grid.shape)
        for part, table in self._chunks(range(0, self.steps, self._chunk)):
            q = advance(q, part, table, periodic=self.dynamics.boundary == "periodic")
        return np.asarray(q.reshape(masses.shape))

    def pull_functions(self, f: Array) -> Array:
        """Functions (n, cells) -> functions (n, cells)."""
        if self.dynamics.boundary == "periodic":
            raise _checks.error("dynamics", "no-flux ends for a pull", "periodic", "pull with the matrix")
        values = f.reshape(-1, *self.grid.shape)
        for part, table in self._chunks(reversed(range(0, self.steps, self._chunk))):
            values = retreat(values, part, table)
        return np.asarray(values.reshape(f.shape))

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.times) - 1

    @property
    def _chunk(self) -> int:
        return max(1, CHUNK_CELLS // prod(self.grid.shape))

    def _chunks(self, firsts: Iterator[int] | range) -> Iterator[tuple[list[tuple[Array, Array]], StepTable]]:
        """Rates and step numbers of chunk after chunk."""
        dt = np.diff(self.times)
        nodes = self.times[:-1] + self.scheme.node * dt
        table = step_table(self.scheme, np.abs(dt), startup=STARTUP)
        for first in firsts:
            part = slice(first, min(first + self._chunk, self.steps))
            yield rates_at(self.dynamics, self.grid, nodes[part]), table[part]


def finite_volume_operator(
    dynamics: BaseDynamics, grid: Grid, t0: float, t1: float, *, steps: int | None = None, scheme: str = "tr-bdf2"
) -> FiniteVolumeOperator:
    """Return the finite-volume kernel of a dynamics as an operator: `push` and its transpose `pull`, no matrix.

    ``d_r q = -div(b q) + c^2/2 Lap q`` from t0 to t1, as `evolve` solves it on one grid (second order in space and
    time), and the backward equation by transposed solves: to rounding ``sum push(q) f = sum q pull(f)``.

    Parameters
    ----------
    dynamics : Reverse, Forward, Langevin or Dynamics
    grid : Grid
        Any size.
    t0, t1 : float
        Forward times; ``t0 > t1 > 0`` for reverse dynamics, ``t0 < t1`` for every other.
    steps : int, optional
        Default: one per 0.05 of the run's clock, at least 16. Steps end where eta, the process or the score jumps or
        has a kink (the `breaks` of the dynamics); at least one on either side is taken whatever the number.
    scheme : {"tr-bdf2", "damped-crank-nicolson", "crank-nicolson", "backward-euler"}
        The default damps point starts; only backward Euler keeps every entry non-negative whatever the steps.

    Raises
    ------
    ValueError
        Times out of order or range, noise zero (eta = 0), an unknown scheme, mixed dimensions.

    Examples
    --------
    >>> import fpsolve as fp
    >>> grid = fp.Grid.uniform((-6, 6), cells=120)
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0))
    >>> step = finite_volume_operator(reverse, grid, 1.0, 0.5)
    >>> round(float(step.pull(grid.x)[80] / grid.x[80] - np.exp(-0.5)), 3)
    0.0
    """
    _checks.instances(dynamics=(dynamics, BaseDynamics), grid=(grid, Grid))
    start, end = _times(dynamics, t0, t1)
    dim = getattr(dynamics, "dim", grid.dim)
    _checks.same_dim("grid", grid.dim, "dynamics", dim)
    used = scheme_named(scheme)
    clock = RunClock(dynamics, start, end, min(grid.spacing))
    total = float(clock.at(end))
    count = (
        max(FEWEST, ceil(total / CLOCK_STEP))
        if steps is None
        else _memory.count("steps", steps, 650.0, "take fewer steps", seconds=4e-6)
    )
    # about equal steps in the clock that end at every break: a step across a jump is of first order
    breaks = np.array(clock.breaks)
    ends = np.concatenate([[clock.first], breaks[np.argsort(clock.at(breaks))], [clock.last]])
    tau = np.concatenate([[0.0], clock.at(ends[1:-1]), [total]])
    # the equal steps that end nearest to the breaks, moved there
    nearest = np.rint(count * tau / total).astype(np.int64)
    marks = np.append(0, np.cumsum(np.maximum(1, np.diff(nearest))))
    times = clock.inverse(np.interp(np.arange(marks[-1] + 1), marks, tau))
    times[marks] = ends
    name = f"{scheme} {start:g} -> {end:g}"
    return FiniteVolumeOperator(grid, start, end, grid, name, dynamics=dynamics, times=times, scheme=used)


def finite_volume(
    dynamics: BaseDynamics, grid: Grid, t0: float, t1: float, *, steps: int | None = None, scheme: str = "tr-bdf2"
) -> Kernel:
    """Return the finite-volume kernel of a dynamics as a matrix: what `finite_volume_operator` does to every cell.

    Parameters
    ----------
    dynamics, grid, t0, t1, steps, scheme
        As for `finite_volume_operator`; at most 2000 cells in 1D, 48 x 48 in 2D.

    Returns
    -------
    Kernel
        `defects` holds how far the rounding of the steps had moved the row sums from one; `negative` what the scheme
        left below zero.

    Raises
    ------
    ValueError
        As there, and too many cells (with the memory they would take).

    Examples
    --------
    >>> import fpsolve as fp
    >>> kernel = finite_volume(fp.Forward(fp.OrnsteinUhlenbeck(T=1.0)), fp.Grid.uniform((-6, 6), cells=60), 0.0, 1.0)
    >>> kernel.matrix.shape, kernel.defect < 1e-12
    ((60, 60), True)
    """
    _checks.instances(dynamics=(dynamics, BaseDynamics), grid=(grid, Grid))
    require_small(grid, remedy="push one density or pull one function at a time with finite_volume_operator")
    operator = finite_volume_operator(dynamics, grid, t0, t1, steps=steps, scheme=scheme)
    cells = prod(grid.shape)
    matrix = np.empty((cells, cells))
    for first in range(0, cells, CHUNK_STARTS):
        starts = np.zeros((min(CHUNK_STARTS, cells - first), cells))
        starts[np.arange(len(starts)), first + np.arange(len(starts))] = 1.0
        matrix[first : first + len(starts)] = operator.push_masses(starts)
    sums = matrix.sum(axis=1)
    matrix /= sums[:, None]
    return Kernel(matrix, grid, operator.t0, operator.t1, None, operator.name, np.abs(sums - 1.0))


def _times(dynamics: BaseDynamics, t0: float, t1: float) -> tuple[float, float]:
    if not dynamics.reversed_time:
        start, end = _checks.non_negative("t0", t0), one("t1", t1, 0.0, dynamics.horizon)
        if not start < end:
            expected = f"a time after t0 = {_checks.digits(start)}"
            raise _checks.error("t1", expected, _checks.digits(end), "this dynamics runs forwards")
        return start, end
    start, end = require_backwards(t0, t1, dynamics.horizon)
    if end == 0.0:
        raise _checks.error("t1", "a forward time > 0 for finite volumes", "0", "stop short of 0, or use exact")
    return start, end

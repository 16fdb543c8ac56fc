"""Samplers as transition kernels: one step of a method, cell by cell, without particles."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import reduce
from operator import matmul
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _times, samplers
from fpsolve.dynamics import Reverse
from fpsolve.grid import Grid
from fpsolve.kernels._kernel import SAMPLES, Kernel, Operator, require_backwards, require_small
from fpsolve.kernels._spread import Remap, Spread, spreads_of
from fpsolve.samplers import Composed, MemoryStep, Method, Score, Step

Array = NDArray[np.float64]
Source = Literal["cell", "point", "spline"]


@dataclass(frozen=True, eq=False)
class SamplerOperator(Operator):
    """One step of a sampler, applied without a matrix, see `sampler_operator`.

    Attributes
    ----------
    spreads : tuple of Spread
        One Gaussian spreading after another; two where noise comes before a map in the plane.
    remap : Remap or None
        What moves a step narrower than a cell on a line in their place: a spline of the cumulative mass.
    """

    spreads: tuple[Spread, ...]
    remap: Remap | None = None

    @property
    def stochastic(self) -> bool:
        """Whether `push` and `pull` are those of a row-stochastic matrix."""
        return self.remap is None

    @property
    def markov(self) -> SamplerOperator:
        """The row-stochastic operator: sources averaged over their cells where there is a `remap`."""
        return self if self.remap is None else replace(self, remap=None)

    @property
    def averaged(self) -> float:
        """Share of source cells over which the source is averaged, the largest of the stages."""
        return max(spread.averaged for spread in self.spreads)

    @property
    def defects(self) -> Array:
        """Mass beyond the box, which the end cells take: per source cell, shape (cells,)."""
        total = self.spreads[0].beyond()
        for later in self.spreads[1:]:
            total += float(np.max(later.beyond()))
        return total

    def push_masses(self, masses: Array) -> Array:
        """Masses (n, cells of grid) -> masses (n, cells of target)."""
        if self.remap is not None:
            return self.remap.push(masses)
        for spread in self.spreads:
            masses = spread.push(masses)
        return masses

    def pull_functions(self, f: Array) -> Array:
        """Functions (n, cells of target) -> functions (n, cells of grid)."""
        if self.remap is not None:
            return self.remap.pull(f)
        for spread in reversed(self.spreads):
            f = spread.pull(f)
        return f


@dataclass(frozen=True, eq=False)
class ChainOperator(Operator):
    """Several steps with noise of a sampler, one operator after the other, see `sampler_operator`."""

    parts: tuple[SamplerOperator, ...]

    @property
    def stochastic(self) -> bool:
        """Whether all steps are."""
        return all(part.stochastic for part in self.parts)

    @property
    def averaged(self) -> float:
        """The largest of the steps'."""
        return max(part.averaged for part in self.parts)

    @property
    def defects(self) -> Array:
        """Mass beyond the box, at most, per source cell."""
        return self.parts[0].defects + sum(float(np.max(part.defects)) for part in self.parts[1:])

    @property
    def markov(self) -> ChainOperator:
        """The same of row-stochastic operators."""
        return replace(self, parts=tuple(part.markov for part in self.parts))

    def push_masses(self, masses: Array) -> Array:
        """Masses (n, cells of grid) -> masses (n, cells of target)."""
        return reduce(lambda moved, part: part.push_masses(moved), self.parts, masses)

    def pull_functions(self, f: Array) -> Array:
        """Functions (n, cells of target) -> functions (n, cells of grid)."""
        return reduce(lambda moved, part: part.pull_functions(moved), reversed(self.parts), f)


def sampler(
    name: Method | Step,
    reverse: Reverse,
    grid: Grid,
    t0: float,
    t1: float,
    *,
    times: ArrayLike | None = None,
    source: Source = "cell",
    to_grid: Grid | None = None,
    **options: Any,
) -> Kernel:
    r"""Return steps of a sampler from t0 to t1 as a transition kernel: the law of the sampler, not a sample.

    A step takes x to a normal law around m(x), so the probability of a target cell is a difference of normal
    distribution functions at its faces. Where noise comes before the map (EDM's churn) or there is none (Heun, eta = 0)
    the faces are pulled back through the map instead. Mass that the step throws beyond the box goes into its end cells:
    the kernel is that of the sampler stopped at the ends of the box, `defects` says how much that is, row by row.

    Parameters
    ----------
    name : str, Sampler or Step
        One of `fpsolve.samplers.names`, a sampler of one's own (see `fpsolve.samplers`), or one step.
    reverse : Reverse
        Gives process, score (exact or not) and, to methods that have none of their own, eta.
    grid : Grid
        At most 2000 cells in 1D, 48 x 48 in 2D.
    t0, t1 : float
        Forward times, ``T >= t0 > t1 >= 0``.
    times : array, optional
        Step ends ``t0 > ... > t1`` of a run, default one step. A run without noise is one map, moved once; with noise
        the kernels of its steps are multiplied. Methods that remember earlier steps need it.
    source : {"cell", "point", "spline"}
        "point": row i starts from the centre of cell i. "cell" (default): from the cell, such that pushing cell
        averages has an error of order h^4 where the step is wider than about h: the mass sits at the centre and the
        variance is lowered by that of a cell carried along, ``m'(x)^2 h^2/12``. A narrower step, without noise at all
        among them, has two operators: the row-stochastic `Kernel.matrix`, whose sources are averaged over their cells
        (`averaged` is the share of such rows; each product adds a variance of about h^2/6), and in 1D
        `Kernel.moves`, which moves a spline of the cumulative mass: linear, keeps mass, adds no variance (sixth order),
        not positive (`Kernel.stochastic` is False). `push` and `pull` use the second, bounds the first. A map that
        folds the line over has only the first, with a warning. "spline" (1D): the matrix itself is the second; refused
        where the map folds.
    to_grid : Grid, optional
        Target cells, default `grid`.
    **options
        Of the method, see `fpsolve.samplers.get`: `eta` in place of the one of `reverse`, `churn` and others.

    Returns
    -------
    Kernel

    Raises
    ------
    ValueError
        An unknown sampler, times out of order or range, too many cells (with the memory), splines in 2D; a method with
        a memory without `times`, or with noise too: the law of x alone does not tell its next step.

    References
    ----------
    Maruyama 1955, doi:10.1007/BF02846028; Ho et al. 2020, arXiv:2006.11239; Song et al. 2021, arXiv:2010.02502;
    Karras et al. 2022, arXiv:2206.00364.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> step = sampler("euler-maruyama", reverse, fp.Grid.uniform((-6, 6), cells=400), 1.0, 0.98)
    >>> q = step.push(step.grid.cell_average(fp.Gaussian(0.0, std=1.0)))
    >>> variance = float((q * step.grid.x**2).sum() * step.grid.volume) - step.grid.spacing[0] ** 2 / 12
    >>> round(variance, 6)  # (1 + a h - 2 a h/v)^2 + 2 a h, a = 10, h = 0.02, v = p_1's variance 0.99997: 0.64 + 0.4
    1.039981
    """
    _checks.instances(reverse=(reverse, Reverse), grid=(grid, Grid))
    if to_grid is not None:
        _checks.instances(to_grid=(to_grid, Grid))
        _checks.same_dim("to_grid", to_grid.dim, "grid", grid.dim)
    cells = grid if to_grid is None else to_grid
    for each in (grid, cells):
        require_small(each, remedy="push one density or pull one function at a time with sampler_operator")
    step, label = _step(name, reverse, grid, t0, t1, times, options)
    if not isinstance(step, Composed) or step.deterministic:
        return _kernel(step, label, reverse, grid, to_grid, source)
    *first, last = step.parts
    made = [_kernel(part, label, reverse, grid, None, source) for part in first]
    return replace(reduce(matmul, [*made, _kernel(last, label, reverse, grid, to_grid, source)]), name=label)


def _kernel(step: Step, label: str, reverse: Reverse, grid: Grid, to_grid: Grid | None, source: Source) -> Kernel:
    cells = grid if to_grid is None else to_grid
    if source == "spline" and (signed := _signed(step, label, reverse, grid, to_grid)) is not None:
        return signed
    operator = _operator(step, label, reverse, grid, cells, "cell" if source == "spline" else source)
    matrix = operator.spreads[0].matrix()
    for spread in operator.spreads[1:]:
        matrix = matrix @ spread.matrix()
    moves = None if operator.remap is None else operator.remap.matrix()
    defects, averaged = operator.defects, operator.averaged
    return Kernel(matrix, grid, operator.t0, operator.t1, to_grid, label, defects, averaged, moves=moves)


def sampler_operator(
    name: Method | Step,
    reverse: Reverse,
    grid: Grid,
    t0: float,
    t1: float,
    *,
    times: ArrayLike | None = None,
    source: Literal["cell", "point"] = "cell",
    to_grid: Grid | None = None,
    **options: Any,
) -> SamplerOperator | ChainOperator:
    """Return steps of a sampler as an operator: `push` and its transpose `pull`, no matrix, any grid.

    Parameters
    ----------
    name, reverse, grid, t0, t1, times, to_grid, **options
        As for `sampler`.
    source : {"cell", "point"}
        As for `sampler`: a step narrower than a cell moves a spline of the cumulative mass on a line.

    Raises
    ------
    ValueError
        As for `sampler`.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian([0.5, 0.0], std=0.5), fp.VP())
    >>> grid = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=64)
    >>> step = sampler_operator("ddpm", reverse, grid, 1.0, 0.9)
    >>> q = step.push(grid.cell_average(fp.VP().prior(2)))
    >>> round(float(q.sum() * grid.volume), 6)  # the box holds it to 4e-9
    1.0
    """
    _checks.instances(reverse=(reverse, Reverse), grid=(grid, Grid))
    if to_grid is not None:
        _checks.instances(to_grid=(to_grid, Grid))
        _checks.same_dim("to_grid", to_grid.dim, "grid", grid.dim)
    step, label = _step(name, reverse, grid, t0, t1, times, options)
    cells = grid if to_grid is None else to_grid
    if not isinstance(step, Composed) or step.deterministic:
        return _operator(step, label, reverse, grid, cells, source)
    *first, last = step.parts
    made = [_operator(part, label, reverse, grid, grid, source) for part in first]
    parts = (*made, _operator(last, label, reverse, grid, cells, source))
    return ChainOperator(grid, step.t_from, step.t_to, cells, label, parts)


def _operator(step: Step, label: str, reverse: Reverse, grid: Grid, cells: Grid, source: Source) -> SamplerOperator:
    _checks.one_of("source", source, ("cell", "point"))
    spreads = spreads_of(step, reverse.score, grid, cells, averaging=source == "cell")
    remap = _remap_of(step, reverse.score, grid, cells) if source == "cell" and grid.dim == 1 else None
    return SamplerOperator(grid, step.t_from, step.t_to, cells, label, spreads=spreads, remap=remap)


def _remap_of(step: Step, score: Score, grid: Grid, cells: Grid) -> Remap | None:
    """The remap of a step that is narrower than a cell; None, with a warning, where its map folds the line over."""
    if _wide_enough(step, score, grid):
        return None
    remap = Remap.of(step, score, grid, cells)
    if remap is None:
        warnings.warn(
            f"The map of the step from t = {step.t_from:.6g} to {step.t_to:.6g} is not increasing: it folds the line "
            f"over {_fold(step, score, grid)}, and the law has infinite density at the folds. Sources are averaged "
            "over their cells, which adds a variance of about h^2/6 in this step; take smaller steps.",
            stacklevel=4,
        )
    return remap


def _step(
    name: Method | Step,
    reverse: Reverse,
    grid: Grid,
    t0: float,
    t1: float,
    times: ArrayLike | None,
    options: dict[str, Any],
) -> tuple[Step, str]:
    """The step, or all of them as one, and what the kernel is called."""
    _checks.same_dim("grid", grid.dim, "reverse", reverse.dim)
    # a step made ready has its times: a correction stays where it is
    start, end = (float(t0), float(t1)) if isinstance(name, Step) else require_backwards(t0, t1, reverse.horizon)
    span = f"{start:g} -> {end:g}"
    if not isinstance(name, Step):
        method = samplers.get(name, "name", **options)
        if method.memory and times is None:
            remedy = "pass times=, the step ends from t0 to t1"
            raise _checks.error("times", f"those of the run of {method.name!r}, which remembers steps", "none", remedy)
        nodes = np.array([start, end]) if times is None else _run_times(times, start, end, reverse.horizon)
        made = samplers.steps(method, reverse, nodes)
        step = made[0] if times is None else Composed(made)
        _refuse_pairs(step, method.name)
        return step, f"{method.name} {span}"
    for option, value in {**options, **({} if times is None else {"times": times})}.items():
        raise _checks.error(option, "no options beside a step", value, "make the step with it")
    _refuse_pairs(name, type(name).__name__)
    own, given = (name.t_from, name.t_to), (start, end)
    if not all(_times.same(mine, asked, start) for mine, asked in zip(own, given, strict=True)):
        shown = [" and ".join(map(_checks.digits, both)) for both in (own, given)]
        raise _checks.error("t0, t1", f"the step's own times {shown[0]}", shown[1])
    return name, f"{type(name).__name__} {span}"


def _run_times(times: ArrayLike, start: float, end: float, horizon: float) -> Array:
    nodes = _times.decreasing("times", times, horizon)
    if not (_times.same(nodes[0], start, horizon) and _times.same(nodes[-1], end, horizon)):
        got = f"{_checks.digits(nodes[0])} to {_checks.digits(nodes[-1])}"
        raise _checks.error("times", f"t0 = {_checks.digits(start)} to t1 = {_checks.digits(end)}", got)
    nodes[[0, -1]] = start, end
    return nodes


def _refuse_pairs(step: Step, name: str) -> None:
    """Refuse runs with noise whose steps depend on earlier ones: their kernels are those of (x, memory)."""
    parts = step.parts if isinstance(step, Composed) else ()
    if not step.deterministic and any(isinstance(part, MemoryStep) for part in parts):
        expected = "a method whose next step depends on x alone, or one without noise"
        remedy = "its law is one of x and what it remembers: use fpsolve.particles.simulate"
        raise _checks.error("name", expected, f"{name!r}, which remembers steps and adds noise", remedy)


def _signed(step: Step, label: str, reverse: Reverse, grid: Grid, to_grid: Grid | None) -> Kernel | None:
    """The kernel that moves a spline of the cumulative mass; None where the step is wide enough without one."""
    if grid.dim != 1:
        raise _checks.error("source", "'cell' or 'point' in 2D", "'spline'", "splines of the cumulative mass are 1D")
    if _wide_enough(step, reverse.score, grid):
        return None
    remap = Remap.of(step, reverse.score, grid, grid if to_grid is None else to_grid)
    if remap is None:
        remedy = "take smaller steps, or source='cell'"
        got = f"one that folds {_fold(step, reverse.score, grid)}"
        raise _checks.error("source", "a step whose map is increasing for 'spline'", got, remedy)
    return Kernel(remap.matrix(), grid, step.t_from, step.t_to, to_grid, label, remap.beyond())


#: From this many cell widths of noise on the lowered variance of the ordinary kernel is accurate to 1e-8.
_WIDE = 1.0


def _wide_enough(step: Step, score: Score, grid: Grid) -> bool:
    """Whether the ordinary kernel is accurate: the noise as wide as a cell that the map has carried along."""
    faces = step.scale_before * grid.face_axes[0]
    if step.std_before > 0.0:
        return bool(step.std_before >= _WIDE * step.scale_before * grid.spacing[0])
    carried = float(np.max(np.abs(np.diff(step.move(score, faces)))))
    # whatever the source cell: after a map that contracts, splines would show noise its nodes
    return bool(step.std_after > 0.0 and step.std_after >= _WIDE * carried)


def _fold(step: Step, score: Score, grid: Grid) -> str:
    """Where on the line the map of a step is seen to turn back, for messages."""
    x = np.linspace(*grid.bounds[0], SAMPLES)
    back = np.flatnonzero(np.diff(step.move(score, step.scale_before * x)) <= 0.0)
    place = f"between x = {x[back[0]]:.4g} and {x[back[-1] + 1]:.4g}" if back.size else "beyond the box"
    return f"{place} in the step from t = {step.t_from:.6g} to {step.t_to:.6g}"

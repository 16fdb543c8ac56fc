"""Samplers as transition kernels: one step of a method, cell by cell, without particles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, _times, samplers
from fpsolve.grid import Grid
from fpsolve.kernels import _remap
from fpsolve.kernels._kernel import Kernel, require_backwards, require_small
from fpsolve.kernels._operator import Operator
from fpsolve.samplers import Step

if TYPE_CHECKING:
    from fpsolve.dynamics import Reverse
    from fpsolve.kernels._spread import Spread

Array = NDArray[np.float64]
Source = Literal["cell", "point", "spline"]


@dataclass(frozen=True, eq=False)
class SamplerOperator(Operator):
    """One step of a sampler, applied without a matrix, see `sampler_operator`.

    Attributes
    ----------
    spreads : tuple of Spread
        One Gaussian spreading after another; two where noise comes before a map in the plane.
    """

    spreads: tuple[Spread, ...]

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
        for spread in self.spreads:
            masses = spread.push(masses)
        return masses

    def pull_functions(self, f: Array) -> Array:
        """Functions (n, cells of target) -> functions (n, cells of grid)."""
        for spread in reversed(self.spreads):
            f = spread.pull(f)
        return f


def sampler(
    name: str | Step,
    reverse: Reverse,
    grid: Grid,
    t0: float,
    t1: float,
    *,
    source: Source = "cell",
    eta: float | None = None,
    to_grid: Grid | None = None,
    **options: Any,
) -> Kernel:
    r"""Return one step of a sampler from t0 to t1 as a transition kernel: the law of the sampler, not a sample.

    A step takes x to a normal law around m(x), so the probability of a target cell is a difference of normal
    distribution functions at its faces. Where noise comes before the map (EDM's churn) or there is none (Heun, eta = 0)
    the faces are pulled back through the map instead. Mass that the step throws beyond the box goes into its end cells:
    the kernel is that of the sampler stopped at the ends of the box, `defects` says how much that is, row by row.

    Parameters
    ----------
    name : {"euler-maruyama", "exponential-integrator", "ddpm", "ddim", "heun", "edm"} or Step
        Formulas in `fpsolve.samplers`; a Step of one's own will do.
    reverse : Reverse
        Gives process, score (exact or not) and, to the first two methods and DDIM, eta.
    grid : Grid
        At most 2000 cells in 1D, 48 x 48 in 2D.
    t0, t1 : float
        Forward times, ``T >= t0 > t1 >= 0``.
    source : {"cell", "point", "spline"}
        "point": row i starts from the centre of cell i. "cell" (default): from the cell, such that pushing cell
        averages has an error of order h^4 where the step is wider than about h: the mass sits at the centre and the
        variance is lowered by that of a cell carried along, ``m'(x)^2 h^2/12``. Where that is not positive the source
        is averaged over its cell, which adds a variance of h^2/6 on average over all shifts (`averaged` is the share of
        such rows). "spline" (1D): such steps move a spline of the cumulative mass instead, accurate for any noise, none
        included; its rows sum to one but ring around narrow targets, with negative entries (`Kernel.negative`).
    eta : float, optional
        Noise knob in place of the one of `reverse`.
    to_grid : Grid, optional
        Target cells, default `grid`.
    **options
        Of the method: see `fpsolve.samplers.step`.

    Returns
    -------
    Kernel

    Raises
    ------
    ValueError
        An unknown sampler, times out of order or range, too many cells (with the memory), splines in 2D.

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
    cells = grid if to_grid is None else to_grid
    for each in (grid, cells):
        require_small(each, remedy="push one density or pull one function at a time with sampler_operator")
    if source == "spline":
        return _signed(name, reverse, grid, t0, t1, to_grid, eta, options)
    operator = sampler_operator(name, reverse, grid, t0, t1, source=source, eta=eta, to_grid=to_grid, **options)
    matrix = operator.spreads[0].matrix()
    for spread in operator.spreads[1:]:
        matrix = matrix @ spread.matrix()
    return Kernel(matrix, grid, operator.t0, operator.t1, to_grid, operator.name, operator.defects, operator.averaged)


def sampler_operator(
    name: str | Step,
    reverse: Reverse,
    grid: Grid,
    t0: float,
    t1: float,
    *,
    source: Literal["cell", "point"] = "cell",
    eta: float | None = None,
    to_grid: Grid | None = None,
    **options: Any,
) -> SamplerOperator:
    """Return one step of a sampler as an operator: `push` and its transpose `pull`, no matrix, any grid.

    Parameters
    ----------
    name, reverse, grid, t0, t1, eta, to_grid, **options
        As for `sampler`.
    source : {"cell", "point"}

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
    >>> round(float(q.sum() * grid.volume), 12)
    1.0
    """
    from fpsolve.kernels._pieces import spreads_of

    _checks.one_of("source", source, ("cell", "point"))
    step = _step(name, reverse, grid, t0, t1, eta, options)
    cells = grid if to_grid is None else to_grid
    spreads = spreads_of(step, reverse.score, grid, cells, averaging=source == "cell")
    return SamplerOperator(grid, step.t_from, step.t_to, cells, _label(name, step), spreads=spreads)


def _step(
    name: str | Step, reverse: Reverse, grid: Grid, t0: float, t1: float, eta: float | None, options: dict[str, Any]
) -> Step:
    _checks.same_dim("grid", grid.dim, "reverse", reverse.dim)
    start, end = require_backwards(t0, t1, reverse.horizon)
    if not isinstance(name, str):
        own, given = (name.t_from, name.t_to), (start, end)
        if not all(_times.same(mine, asked, start) for mine, asked in zip(own, given, strict=True)):
            shown = [" and ".join(map(_checks.digits, times)) for times in (own, given)]
            raise _checks.error("t0, t1", f"the step's own times {shown[0]}", shown[1])
        return name
    noise = float(reverse.eta_at(start)) if eta is None else _checks.non_negative("eta", eta)
    return samplers.step(name, reverse.process, noise, start, end, **options)


def _signed(
    name: str | Step,
    reverse: Reverse,
    grid: Grid,
    t0: float,
    t1: float,
    to_grid: Grid | None,
    eta: float | None,
    options: dict[str, Any],
) -> Kernel:
    """The kernel that moves a spline of the cumulative mass; the ordinary one where the step is wide enough."""
    if grid.dim != 1:
        raise _checks.error("source", "'cell' or 'point' in 2D", "'spline'", "splines of the cumulative mass are 1D")
    step = _step(name, reverse, grid, t0, t1, eta, options)
    if _remap.wide_enough(step, reverse.score, grid):
        return sampler(name, reverse, grid, t0, t1, eta=eta, to_grid=to_grid, **options)
    matrix, defects = _remap.matrix(step, reverse.score, grid, grid if to_grid is None else to_grid)
    return Kernel(matrix, grid, step.t_from, step.t_to, to_grid, _label(name, step), defects)


def _label(name: str | Step, step: Step) -> str:
    called = name if isinstance(name, str) else type(name).__name__
    return f"{called} {step.t_from:g} -> {step.t_to:g}"

"""`evolve`: the main job. Checks at the border, then a fixed or an adaptive solve, then the Dataset."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _memory
from fpsolve._messages import ToleranceWarning, UnresolvedWarning
from fpsolve.dynamics import BaseDynamics, InFrame, run_clock
from fpsolve.evolution import _setup
from fpsolve.evolution._march import plan_by_density, require
from fpsolve.evolution._methods import method_for
from fpsolve.evolution._problem import Problem, Start
from fpsolve.evolution._result import dataset
from fpsolve.evolution._setup import announce
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.weights import WeightLike

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

#: Boxes that a run without a grid tries at most, each half as wide again, where too much of the density leaves them.
BOXES = 4
#: Default work budget in cell updates (cells times steps, all levels), per dimension: some seconds, a minute or two.
BUDGET = {1: 2e8, 2: 1e9}
#: Updates of cells in a second, about: fewer in the plane, more with several starts.
UPDATES = 3e7


def evolve(
    dynamics: BaseDynamics,
    starts: Mapping[str, Start] | Law,
    *,
    grid: Grid | None = None,
    t_min: float | None = None,
    t_max: float | None = None,
    tol: float | None = None,
    steps: int | None = None,
    save_at: ArrayLike | None = None,
    weight: WeightLike = None,
    scheme: str = "damped-crank-nicolson",
    frame: Literal["auto", "fixed", "scaled"] = "auto",
    estimate: bool = True,
    budget: float | None = None,
    score_budget: float | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """Evolve densities by ``d_r q = -div(b q) + c^2/2 Lap q``, all starts at once.

    With noise by finite-volume Fokker-Planck steps; without it (``Reverse(..., eta=0)``, the probability flow) along
    characteristics, which have no numerical diffusion. Where eta is a function of time that is zero on an interval,
    finite-volume steps and transport take turns; the times at which it jumps are kept besides `save_at`.

    Give exactly one of `tol` (grid and steps are refined until the error estimate is below it) and (`grid` and `steps`)
    (one level on exactly that grid; the estimate then comes from runs on half and a quarter of its cells and steps).

    Parameters
    ----------
    dynamics : Reverse, Forward, Langevin or Dynamics
        Reverse dynamics run from T down to `t_min`, every other from 0 up to `t_max`.
    starts : mapping of str to Law, or a Law
        Initial laws by label. With `grid`, also arrays of cell averages (densities or signed differences).
    grid : Grid, optional
        Required with `steps`. With `tol` it is the coarsest level and its bounds are the box; by default the box holds
        all laws up to a V-weighted tail well below `tol`, and is made wider where a run leaves more beyond it. In the
        scaled frame the grid is in z.
    t_min, t_max : float
        Forward time at which the run ends.
    tol : float
        Absolute tolerance in the V-weighted norm, at every saved time and for every start.
    steps : int
        Number of time steps, spread equally in the clock of the dynamics. Along characteristics steps are adaptive:
        this many at least, equal in log t.
    save_at : array_like, optional
        Forward times to keep; the ends are added. Default: about 50 (13 along characteristics in 2D), equally spaced
        in the clock.
    weight : Weight or callable, optional
        V >= 1 of the norm, default ``1 + |x|^2``.
    scheme : {"damped-crank-nicolson", "crank-nicolson", "tr-bdf2", "backward-euler"}
    frame : {"auto", "fixed", "scaled"}
        Coordinate of the solver: x, or ``z = (x - m(t))/S(t)`` for processes whose scale changes by orders of magnitude
        (VE, EDM); "auto" takes the latter where the marginals' scale changes more than fourfold and no grid was given.
    estimate : bool
        False skips the coarser runs of a fixed grid; the error estimate is NaN then.
    budget : float, optional
        Cell updates a run with `tol` may spend, default 2e8 in 1D and 1e9 in 2D.
    score_budget : float, optional
        Points at which a run with `tol` may ask a score model for more than three levels, default any number. What a
        slow model will cost is said to standard error before the run; `fpsolve.scores.tabulate` asks it once.
    progress : bool, optional
        Progress bar; default: only in a terminal or notebook.

    Returns
    -------
    xarray.Dataset
        `density` (start, t, x[, y]): cell averages, per unit of x (area in 2D); `error_estimate` (start, t) in the
        weighted norm; `mass` (start, t), constant to round-off and never renormalised; `tail` (start, t), weighted mass
        beyond the box; `density_previous`, what errors of differences are computed from; coordinate `reverse_time` (t).
        The attribute `tol_met` is "yes", "no" (budget spent: tolerance not met) or "not asked"; `resolved` is "yes" or,
        with a sentence in `resolved_reason`, "no": then some estimates are infinite ("not asked" without estimates). On
        a given grid `numerical_diffusion` says how much the scheme adds, per diffusivity of the noise (largest mean
        over the density): well below 1 the noise is that of the dynamics, well above 1 that of the cells, and the
        estimate is that of a first-order scheme; `observed_order`, `cells_per_width` and `steps_per_fold` (of the scale
        of the law) are the smallest along the run.

    Raises
    ------
    ValueError
        `tol` and `steps` both or neither; times out of range; mixed dimensions; a box that cuts off a start; noise zero
        in dynamics other than `Reverse`; non-finite coefficients, with the time at which they occur.

    Warns
    -----
    ToleranceWarning
        The estimate of a run with `tol` is not below it, with the start and the time where it is largest.
    UnresolvedWarning
        With `grid` and `steps`: runs on half and a quarter of cells and steps do not show that these are fine enough
        for an estimate, with the first start and time. Estimates are infinite there, never a guess.

    References
    ----------
    Anderson 1982, doi:10.1016/0304-4149(82)90051-5 (reverse dynamics); Scharfetter and Gummel 1969,
    doi:10.1109/T-ED.1969.16566 (fluxes); Richardson 1911, doi:10.1098/rsta.1911.0009 (extrapolation).

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> run = fp.evolve(reverse, {"prior": fp.Gaussian(0.0, std=1.0)}, t_min=0.01, tol=1e-3)
    >>> run.attrs["tol_met"]
    'yes'
    """
    began = time.perf_counter()
    _checks.flag("estimate", estimate)
    given = _setup.check_request(dynamics, starts, grid, tol, steps)
    first, last = _setup.time_range(dynamics, t_min, t_max)
    method = method_for(dynamics, scheme)
    if grid is not None:
        # before the times are planned: a million of them take a while
        saved = min(method.saves(grid.dim), steps or np.inf) if save_at is None else np.size(save_at)
        require(grid, len(given), int(saved))
    elif save_at is not None:
        # how many cells there will be is not known yet: a hundred are few
        _memory.require("save_at", 800.0 * len(given) * np.size(save_at), "save fewer times")
    picture = _setup.choose_frame(dynamics, frame, grid, last)
    clock = run_clock(dynamics, given.values(), first, last, grid)
    seen = dynamics if picture is None else InFrame(picture)
    if steps is not None and grid is not None:
        plan = _setup.counted_plan(clock, steps, save_at, estimate, method.saves(grid.dim))
        if (updates := len(given) * plan.steps * math.prod(grid.shape)) > 10 * UPDATES:
            _memory.say_if_long("evolve", updates / UPDATES)
        problem = Problem(seen, clock, picture, given, plan.saves, weight)
        announce(dynamics, problem, grid, plan.steps, adaptive=False)
        solution = method.fixed(problem, grid, plan, estimate=estimate, progress=progress)
        met = "not asked"
    else:
        saves = _setup.saves_or_default(clock, save_at, method.saves(_setup.dimension(given)))
        problem = Problem(seen, clock, picture, given, saves, weight)
        goal = _checks.positive("tol", tol)
        base, clock_step = _setup.base_level(dynamics, problem, method, grid, goal)
        limit = BUDGET[base.dim] if budget is None else _checks.positive("budget", budget)
        if score_budget is not None:
            # every update asks the score at a face of every axis
            limit = min(limit, _checks.positive("score_budget", score_budget) / base.dim)
        plan = plan_by_density(clock, saves, clock_step)
        announce(dynamics, problem, base, plan.steps, adaptive=True)
        for _ in range(BOXES):
            solution, reached = method.adaptive(problem, base, plan, tol=goal, budget=limit, progress=progress)
            # a score that is not the exact one may carry mass out of the box of the laws
            if reached or grid is not None or not solution.beyond(problem, goal):
                break
            limit -= sum(level.updates for level in solution.levels)
            base = _setup.wider(base)
        met = "yes" if reached else "no"
    attrs = _setup.describe(dynamics, given, t_end=last, tol=tol, steps=steps, scheme=method.name)
    run = dataset(problem, solution, attrs | {"tol_met": met, "wall_time_s": time.perf_counter() - began})
    if met == "no":
        warnings.warn(_missed(run, rough=clock.rough), ToleranceWarning, stacklevel=2)
    if met == "not asked" and run.attrs["resolved"] == "no":
        warnings.warn(str(run.attrs["resolved_reason"]), UnresolvedWarning, stacklevel=2)
    return run


def _missed(run: xr.Dataset, *, rough: bool) -> str:
    """By how much the tolerance was missed, where, and what helps."""
    estimate = run.error_estimate.values
    start, save = np.unravel_index(int(np.argmax(np.where(np.isnan(estimate), np.inf, estimate))), estimate.shape)
    said = (
        f"tol: expected an error below {run.attrs['tol']:g}, got an estimate of {estimate[start, save]:.3g} for start "
        f"{run.start.values[start].item()!r} at t = {float(run.t[save]):.6g}; take a larger tol or t_min, wider "
        "starts or a weaker weight, or give evolve a larger budget."
    )
    if not rough:
        return said
    return (
        f"{said} Its coefficients bend or jump in time more often than steps can follow: a smooth schedule helps most."
    )

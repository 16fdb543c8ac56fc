"""Ensembles of densities under score error as noise, and the Dataset that users hold."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _memory, _runs, evolution, weights
from fpsolve._messages import UnresolvedWarning, described
from fpsolve._messages import progress as progress_bar
from fpsolve.dynamics import BaseDynamics, run_clock
from fpsolve.evolution import (
    Problem,
    Solution,
    Start,
    StepPlan,
    _setup,
    look,
    moved,
    quarter_of,
    require,
    resolution,
    root_mean_square,
    weighted_gap,
    weighted_norm,
)
from fpsolve.grid import Grid
from fpsolve.solver import scheme_named
from fpsolve.stochastic._march import Ensemble, Level, march, require_well_posed
from fpsolve.stochastic._metric import RadialFunction, radial
from fpsolve.stochastic._noise import BrownianPaths, ScoreNoise, seed_of
from fpsolve.weights import WeightLike

if TYPE_CHECKING:
    import xarray as xr


#: Of one step, and of one cell of one path in it.
STEP_SECONDS, UPDATE_SECONDS = 2e-4, 4e-7

Array = NDArray[np.float64]
Attributes = dict[str, str | float | int]


def dataset(
    ensemble: Ensemble, fine: Level, coarse: Level | None, found: Solution, problem: Problem, attrs: Attributes
) -> xr.Dataset:
    """Densities, masses, negativity, errors and functionals of an ensemble; see `fpsolve.stochastic.evolve`."""
    import xarray as xr

    grid = fine.grid
    names = ("x", "y")[: grid.dim]
    axes = tuple(range(-grid.dim, 0))
    tail = found.tail(problem)
    error = found.total(problem, found.gap(problem), tail)
    run = xr.Dataset(
        {
            "density": (("path", "t", *names), fine.values),
            "mass": (("path", "t"), fine.values.sum(axis=axes) * grid.volume),
            "negative_mass": (("path", "t"), np.maximum(-fine.values, 0.0).sum(axis=axes) * grid.volume),
            "smallest_density": (("path", "t"), fine.values.min(axis=axes)),
            "smallest_density_ever": (("path",), fine.smallest),
            "error_estimate": (("path", "t"), error),
            "tail": (("path", "t"), tail),
            "functional": (("path", "node"), fine.functional),
            "variation": (("path", "step"), fine.variation),
            "brownian": (("path", "mode", "node"), fine.w),
        },
        coords={
            "path": np.arange(ensemble.brownian.paths),
            "t": fine.plan.saves,
            "reverse_time": ("t", np.abs(fine.plan.saves - fine.plan.saves[0])),
            "node_t": ("node", fine.times),
            "strength": ("mode", ensemble.noise.variances),
            **dict(zip(names, grid.axes, strict=True)),
        },
    )  # fmt: skip
    if coarse is not None:
        before = tuple(f"{name}_previous" for name in names)
        run = run.assign(density_previous=(("path", "t", *before), coarse.values))
        run = run.assign_coords(dict(zip(before, coarse.grid.axes, strict=True)))
    if np.any(np.isinf(error)):
        run = run.assign_coords({_runs.UNRESOLVED: (("path", "t"), np.isinf(error), {"reason": found.reason})})
    if not ensemble.dynamics.reversed_time:
        run = run.drop_vars("reverse_time")
    return described(run.assign_attrs(attrs | _read_off(ensemble, found, problem) | resolution(found, error)))


def _found(ensemble: Ensemble, problem: Problem, levels: Sequence[Level], which: NDArray[np.int64] | None) -> Solution:
    """The finest level with its error: what two coarser ones along the same Brownian paths show, as of a run.

    What noise does to a path in a step is random, and the difference of two levels small by chance on some paths: the
    root mean square over the ensemble is the least that is taken.

    Parameters
    ----------
    levels : sequence of Level
        On all cells and steps, and with an estimate on half and a quarter of both.
    which : int array or None
        Save times of the third level; None without one.
    """
    fine, *coarser = [evolution.Level(one.grid, one.plan, one.values) for one in levels]
    records = [one.record for one in (*coarser[::-1], fine)]
    if not coarser:
        return Solution(fine.grid, fine.values, None, np.ones(fine.values.shape[:2]), records)
    half = coarser[0]
    gap = weighted_gap(fine.grid, fine.values, half.values, problem.weight_values(half.grid))
    gap = np.maximum(gap, root_mean_square(gap))
    # Ito noise may leave so little diffusion that the fluxes become upwind ones, far from their asymptotic order
    along = 1.0 if ensemble.noise.size == 1 and not ensemble.ito else 0.5
    third = None if which is None else (coarser[1], which)
    tau = problem.clock.at(problem.saves)
    norm = weighted_norm(problem, fine.grid, fine.values)
    shown = look(problem, ensemble.scheme.order, tau, gap, norm, fine, half, third, along=along)
    return Solution(
        fine.grid, fine.values, half.values, shown.factor, records,
        unresolved=shown.unresolved, reason=shown.reason, figures=shown.figures, level_gap=gap, level_norm=norm,
    )  # fmt: skip


def _read_off(ensemble: Ensemble, found: Solution, problem: Problem) -> Attributes:
    return {
        "status": "Monte Carlo",
        "convention": "ito" if ensemble.ito else "stratonovich",
        "noise": ensemble.noise.description,
        "test_function": ensemble.function.description,
        "seed": ensemble.brownian.seed,
        "paths": ensemble.brownian.paths,
        "brownian_span": float(ensemble.brownian.span),
        "weight": weights.to_json(problem.weight),
        "scheme": ensemble.scheme.name,
        "tol_met": "not asked",
        "boundary": ensemble.dynamics.boundary,
        "unbounded": int(ensemble.dynamics.unbounded),
        "frame": "fixed",
        "bounds": json.dumps(found.grid.bounds),
        "levels": json.dumps([{"cells": level.cells, "steps": level.steps} for level in found.levels]),
    }


def evolve(
    dynamics: BaseDynamics,
    start: Start,
    noise: ScoreNoise,
    *,
    grid: Grid,
    steps: int,
    paths: int,
    seed: int | np.random.Generator | np.random.SeedSequence,
    t_min: float | None = None,
    t_max: float | None = None,
    convention: Literal["stratonovich", "ito"] = "stratonovich",
    save_at: ArrayLike | None = None,
    test_function: RadialFunction | None = None,
    weight: WeightLike = None,
    estimate: bool = True,
    progress: bool | None = None,
) -> xr.Dataset:
    r"""Evolve an ensemble of densities under a score error that is noise, one density per Brownian path.

    .. math:: du = \Big[-\nabla\cdot(b u) + \tfrac{\eta^2 g^2}{2} \Delta u\Big] dr
              - \sum_k c(t) \sqrt{\lambda_k}\, \nabla\cdot(u\, e_k) \circ dW^k

    with ``c = (1 + eta^2)/2 g^2`` for reverse dynamics and 1 for every other. In the Stratonovich form (the default) u
    is the conditional law of particles that share the noise; the Ito variant is the same equation with an Ito
    differential, and has the diffusion ``eta^2 g^2 I - c^2 sum lambda_k e_k e_k^T`` left. This is our reading of "score
    error as a stochastic partial differential equation"; the paper's own formulas are not known to us.

    The noise is a conservative remap along the flow of the modes (splines of the cumulative), the rest
    Scharfetter-Gummel fluxes with trapezoidal steps; the two alternate symmetrically.

    Parameters
    ----------
    dynamics : Reverse (eta > 0), Forward, Langevin or Dynamics
        Reverse dynamics run from T down to `t_min`, every other from 0 up to `t_max`.
    start : Law or array
        Initial law, or cell averages on the grid; the same for every path.
    noise : ScoreNoise
        Modes and strengths.
    grid : Grid
        In x; periodic boundaries in 1D only.
    steps : int
        Number of steps, equal in the clock of the dynamics between the times at which coefficients jump or have kinks.
    paths : int
        Members of the ensemble.
    seed : int, Generator or SeedSequence
        Path p of the noise depends on the seed and p only: not on the steps, the grid, the number of paths or the end
        of the run. Runs with another number of steps see the same Brownian paths.
    t_min, t_max : float
        Forward time at which the run ends.
    convention : {"stratonovich", "ito"}
        Where Ito noise takes (nearly) all of the diffusion away, the fluxes left are upwind ones, of first order: the
        error estimate says so.
    save_at : array_like, optional
        Forward times to keep; the ends are added. Default about 50, equally spaced in the clock.
    test_function : RadialFunction, optional
        phi of the quadratic variation, default ``|x|^2/2``.
    weight : Weight or callable, optional
        V of the error estimate and the tails, default ``1 + |x|^2``.
    estimate : bool
        Run companions on half and on a quarter of cells and steps along the same Brownian paths: the difference to the
        first is the estimate, up to a factor by the order of the error along a path (3 for one mode, 7.2 for several,
        whose order is 1/2 unless they commute, or Ito noise), on no path less than the root mean square over the
        ensemble. The second has to show, as for a run of `fpsolve.evolve`, that differences come down; where it does
        not, or cells and steps are too coarse for what they compute, the estimate is infinite. Where space and the
        drift make the errors, ``run.fpsolve.extrapolated`` is of higher order.
    progress : bool, optional

    Returns
    -------
    xarray.Dataset
        `density` (path, t, x[, y]), cell averages; `mass`, `negative_mass` (the mass of the negative part; nothing is
        clipped), `smallest_density`, `error_estimate`, `tail` (path, t); `smallest_density_ever` (path), over all
        steps; `density_previous`, the companion's; `functional` ``<u, phi>`` (path, node) at the step times `node_t`;
        `variation` (path, step), what `quadratic_variation` sums up; `brownian` (path, mode, node). Attributes hold
        every input, and `resolved`, "yes", "no" with a sentence in `resolved_reason`, or "not asked".

    Raises
    ------
    ValueError
        Times out of range, mixed dimensions, no noise in the dynamics (eta = 0), Ito noise stronger than the diffusion
        (with the place), noise that folds the grid over in a step, a periodic plane.

    Warns
    -----
    UnresolvedWarning
        Cells or steps are too coarse for an estimate, with the first path and time where it is infinite.

    References
    ----------
    Kunita 1990, Stochastic flows and stochastic differential equations (conditional laws); the motivation is
    arXiv:2602.08579.

    Examples
    --------
    >>> import fpsolve as fp
    >>> ou, noise = fp.Dynamics(lambda t, x: -x, 2**0.5), fp.stochastic.constant(0.09)
    >>> run = evolve(ou, fp.Gaussian(1.0, std=0.8), noise, grid=fp.Grid.uniform((-8, 8), cells=160), steps=50,
    ...     paths=3, seed=0, t_max=0.5)
    >>> dict(run.density.sizes)
    {'path': 3, 't': 26, 'x': 160}
    >>> bool(abs(run.mass - 1.0).max() < 1e-12)
    True
    """
    began = time.perf_counter()
    count = _memory.count("steps", steps, 1e3, "take fewer steps")
    named = _setup.check_request(dynamics, {"start": start}, grid, None, count)
    updates = float(_checks.integer("paths", paths)) * math.prod(grid.shape)
    _memory.say_if_long("stochastic.evolve", (STEP_SECONDS + UPDATE_SECONDS * updates) * count)
    _checks.flag("estimate", estimate)
    _checks.one_of("convention", convention, ("stratonovich", "ito"))
    if grid.dim == 2 and dynamics.boundary == "periodic":
        raise _checks.error("boundary", "'no-flux' for noise in 2D", "'periodic'", "use a box that holds the laws")
    if not isinstance(noise, ScoreNoise):
        remedy = "use stochastic.ScoreNoise(modes, strengths) or a ready family"
        raise _checks.error("noise", "a ScoreNoise", type(noise).__name__, remedy)
    first, last = _setup.time_range(dynamics, t_min, t_max)
    clock = run_clock(dynamics, named.values(), first, last, grid)
    # length of the Brownian paths: does not depend on where a reverse run ends; else a power of two
    span = float(dynamics.horizon) if dynamics.reversed_time else 2.0 ** math.ceil(math.log2(last))
    ensemble = Ensemble(
        dynamics=dynamics,
        clock=clock,
        noise=noise,
        brownian=BrownianPaths(seed_of(seed), paths, noise.size, span),
        function=radial(test_function),
        ito=convention == "ito",
        scheme=scheme_named("damped-crank-nicolson"),
    )
    plan = _setup.counted_plan(clock, steps, save_at, estimate)
    require(grid, paths, len(plan.saves))
    if ensemble.ito:
        require_well_posed(dynamics, noise, grid, plan.times(clock))
    problem = Problem(dynamics, clock, None, {str(path): start for path in range(paths)}, plan.saves, weight)
    values = Problem(dynamics, clock, None, named, plan.saves, weight).start_values(grid)[0]
    levels, which = _levels(ensemble, plan, grid, values, progress, estimate=estimate)
    attrs = _setup.describe(dynamics, named, t_end=last, steps=steps)
    attrs |= {"wall_time_s": time.perf_counter() - began}
    coarse = levels[1] if estimate else None
    run = dataset(ensemble, levels[0], coarse, _found(ensemble, problem, levels, which), problem, attrs)
    if run.attrs["resolved"] == "no":
        warnings.warn(str(run.attrs["resolved_reason"]), UnresolvedWarning, stacklevel=2)
    return run


def _levels(
    ensemble: Ensemble, plan: StepPlan, grid: Grid, values: Array, progress: bool | None, *, estimate: bool
) -> tuple[list[Level], NDArray[np.int64] | None]:
    """The ensemble on all cells and steps, with `estimate` on half and a quarter of both; the saves of the last."""
    asked, which, quarter = [(grid, plan, values)], None, None
    if estimate:
        half, values = grid.coarsen(), grid.restrict(values)
        asked.append((half, plan.coarsened(), values))
        quarter = quarter_of(half, plan, ensemble.clock.breaks)
    if quarter is not None:
        coarsest, fewest, which = quarter
        asked.append((coarsest, fewest, moved(values, half, coarsest)))
    with progress_bar(sum(level.steps for _, level, _ in asked), "stochastic", enabled=progress) as bar:
        return [march(ensemble, *level, bar.update) for level in asked], which

"""Ensembles of densities under a noisy score, and their Dataset.

From an ensemble to the Dataset users hold.

Ensembles of densities under score error as noise.
"""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, weights
from fpsolve._progress import progress as progress_bar
from fpsolve._tails import edge_tail
from fpsolve.dynamics import BaseDynamics, run_clock
from fpsolve.evolution import _setup
from fpsolve.evolution._estimate import weighted_gap
from fpsolve.evolution._march import StepPlan, plan_by_count, plan_on_nodes, require
from fpsolve.evolution._problem import Problem, Start
from fpsolve.grid import Grid
from fpsolve.solver import scheme_named
from fpsolve.stochastic._brownian import BrownianPaths, seed_of
from fpsolve.stochastic._functional import RadialFunction, radial
from fpsolve.stochastic._march import Ensemble, Level, march, require_well_posed
from fpsolve.stochastic._noise import ScoreNoise
from fpsolve.weights import WeightLike

if TYPE_CHECKING:
    import xarray as xr


Array = NDArray[np.float64]


def dataset(
    ensemble: Ensemble, fine: Level, coarse: Level | None, weight: WeightLike, attrs: dict[str, str | float | int]
) -> xr.Dataset:
    """Densities, masses, negativity, errors and functionals of an ensemble; see `fpsolve.stochastic.evolve`."""
    import xarray as xr

    grid = fine.grid
    names = ("x", "y")[: grid.dim]
    axes = tuple(range(-grid.dim, 0))
    error, tail = _errors(ensemble, fine, coarse, weight)
    w = ensemble.brownian.at(np.abs(fine.times - fine.times[0]))
    run = xr.Dataset(
        {
            "density": (
                ("path", "t", *names), fine.values, {"long_name": "probability density, cell averages"},
            ),
            "mass": (("path", "t"), fine.values.sum(axis=axes) * grid.volume),
            "negative_mass": (
                ("path", "t"),
                np.maximum(-fine.values, 0.0).sum(axis=axes) * grid.volume,
                {"long_name": "mass of the negative part"},
            ),
            "smallest_density": (("path", "t"), fine.values.min(axis=axes)),
            "smallest_density_ever": (("path",), fine.smallest, {"long_name": "over all steps"}),
            "error_estimate": (("path", "t"), error, {"long_name": "error estimate in the weighted norm"}),
            "tail": (("path", "t"), tail, {"long_name": "weighted mass beyond the box"}),
            "functional": (("path", "node"), fine.functional, {"long_name": "<u, phi>"}),
            "variation": (
                ("path", "step"),
                fine.variation,
                {"long_name": "c^2 sum lambda <u, e . grad phi>^2 dr over the step"},
            ),
            "brownian": (("path", "mode", "node"), w, {"long_name": "W at the step times"}),
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
    if not ensemble.dynamics.reversed_time:
        run = run.drop_vars("reverse_time")
    return run.assign_attrs(attrs | _read_off(ensemble, fine, coarse, weight))


def _errors(ensemble: Ensemble, fine: Level, coarse: Level | None, weight: WeightLike) -> tuple[Array, Array]:
    """Error estimate and tail, shape (paths, saves).

    The companion on half the cells and half the steps follows the same Brownian paths. What noise does to a path in
    a step is random, and the difference of the levels small by chance on some paths: the root mean square over the
    ensemble is the least that is taken.
    """
    shape = fine.values.shape[:2]
    v = weights.evaluate(weight, fine.grid)
    tail = edge_tail(fine.values, fine.grid.axes, v) if ensemble.dynamics.unbounded else np.zeros(shape)
    if coarse is None:
        return np.full(shape, np.nan), tail
    on_coarse = np.broadcast_to(weights.evaluate(weight, coarse.grid), (shape[1], *coarse.grid.shape))
    # Ito noise may leave so little diffusion that the fluxes become upwind ones, far from their asymptotic order
    order = 1.0 if ensemble.noise.size == 1 and not ensemble.ito else 0.5
    gap = weighted_gap(fine.grid, fine.values, coarse.values, on_coarse)
    gap = np.maximum(gap, np.sqrt(np.mean(np.square(gap), axis=0)))
    return gap / (2.0**order - 1.0) + tail, tail


def _read_off(
    ensemble: Ensemble, fine: Level, coarse: Level | None, weight: WeightLike
) -> dict[str, str | float | int]:
    levels = [level for level in (coarse, fine) if level is not None]
    return {
        "convention": "ito" if ensemble.ito else "stratonovich",
        "noise": ensemble.noise.description,
        "test_function": ensemble.function.description,
        "seed": ensemble.brownian.seed,
        "paths": ensemble.brownian.paths,
        "brownian_span": float(ensemble.brownian.span),
        "weight": weights.to_json(weight),
        "scheme": ensemble.scheme.name,
        "tol_met": "not asked",
        "boundary": ensemble.dynamics.boundary,
        "unbounded": int(ensemble.dynamics.unbounded),
        "frame": "fixed",
        "bounds": json.dumps(fine.grid.bounds),
        "levels": json.dumps([{"cells": level.grid.shape, "steps": level.plan.steps} for level in levels]),
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
        Number of steps, equal in the clock of the dynamics.
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
        Run a companion on half the cells and steps along the same Brownian paths. The order along a path is taken for 1
        with one mode, and for 1/2 with several (1 in fact where they commute) or Ito noise: the estimate is the
        difference, or 2.4 times it, and on no path less than the root mean square over the ensemble. Where space and
        the drift make the errors, ``run.fpsolve.extrapolated`` is of higher order.
    progress : bool, optional

    Returns
    -------
    xarray.Dataset
        `density` (path, t, x[, y]), cell averages; `mass`, `negative_mass` (the mass of the negative part; nothing is
        clipped), `smallest_density`, `error_estimate`, `tail` (path, t); `smallest_density_ever` (path), over all
        steps; `density_previous`, the companion's; `functional` ``<u, phi>`` (path, node) at the step times `node_t`;
        `variation` (path, step), what `quadratic_variation` sums up; `brownian` (path, mode, node). Attributes hold
        every input.

    Raises
    ------
    ValueError
        Times out of range, mixed dimensions, no noise in the dynamics (eta = 0), Ito noise stronger than the diffusion
        (with the place), noise that folds the grid over in a step, a periodic plane.

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
    named = _setup.check_request(dynamics, {"start": start}, grid, None, _checks.integer("steps", steps))
    _checks.integer("paths", paths)
    _checks.flag("estimate", estimate)
    _checks.one_of("convention", convention, ("stratonovich", "ito"))
    if grid.dim == 2 and dynamics.boundary == "periodic":
        raise _checks.error("boundary", "'no-flux' for noise in 2D", "'periodic'", "use a box that holds the laws")
    if not isinstance(noise, ScoreNoise):
        remedy = "use stochastic.ScoreNoise(modes, strengths) or a ready family"
        raise _checks.error("noise", "a ScoreNoise", type(noise).__name__, remedy)
    first, last = _setup.time_range(dynamics, t_min, t_max)
    clock = run_clock(dynamics, named.values(), first, last)
    ensemble = Ensemble(
        dynamics=dynamics,
        clock=clock,
        noise=noise,
        brownian=BrownianPaths(seed_of(seed), paths, noise.size, _span(dynamics, last)),
        function=radial(test_function),
        ito=convention == "ito",
        scheme=scheme_named("damped-crank-nicolson"),
    )
    plan = _plan(ensemble, steps, save_at, estimate)
    require(grid, paths, len(plan.saves))
    if ensemble.ito:
        require_well_posed(dynamics, noise, grid, plan.times(clock))
    values = Problem(dynamics, clock, None, named, plan.saves, weight).start_values(grid)[0]
    half = plan.coarsened()
    with progress_bar(plan.steps + (half.steps if estimate else 0), "stochastic", enabled=progress) as bar:
        coarse = march(ensemble, grid.coarsen(), half, grid.restrict(values), bar.update) if estimate else None
        fine = march(ensemble, grid, plan, values, bar.update)
    attrs = _setup.describe(dynamics, named, t_end=last, steps=steps)
    return dataset(ensemble, fine, coarse, weight, attrs | {"wall_time_s": time.perf_counter() - began})


def _plan(ensemble: Ensemble, steps: int, save_at: ArrayLike | None, estimate: bool) -> StepPlan:
    clock = ensemble.clock
    if save_at is None:
        return plan_on_nodes(clock, steps)
    return plan_by_count(clock, _setup.save_times(save_at, clock.first, clock.last, steps, estimate), steps)


def _span(dynamics: BaseDynamics, last: float) -> float:
    """Length of the Brownian paths: does not depend on where a reverse run ends; else a power of two."""
    if dynamics.reversed_time:
        return float(dynamics.horizon)
    return 2.0 ** math.ceil(math.log2(last))

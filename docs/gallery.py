"""Pictures of the gallery: every plot with its default arguments, each made by the few lines beside it."""

import inspect
from collections.abc import Callable, Iterator
from functools import cache

import xarray as xr

import fpsolve as fp

LINE = fp.GaussianMixture([0.4, 0.6], [-1.5, 1.0], stds=[0.3, 0.4])
PLANE = fp.GaussianMixture([0.4, 0.6], [[-1.0, 0.5], [1.0, -0.5]], stds=[0.35, 0.45])
PROCESSES = {"OU": fp.OrnsteinUhlenbeck(T=3.0), "VP": fp.VP(), "EDM": fp.EDM(), "cosine": fp.CosineVP()}


def end_of(process):
    """Where runs end: at a hundredth of T, or where EDM's noise is no longer seen."""
    return 0.05 if isinstance(process, fp.EDM) else 0.01 * process.T


@cache
def run_of(target, process, tol):
    """From p_T and from the prior, down to the end."""
    reverse = fp.Reverse(target, process)
    starts = {"exact": reverse.marginal(process.T), "prior": process.prior(reverse.dim)}
    return fp.evolve(reverse, starts, t_min=end_of(process), tol=tol, progress=False)


def density_1d(process):
    return fp.plots.density(run_of(LINE, process, 1e-3), start="prior")


def forgetting_1d(process):
    return fp.plots.forgetting(fp.forgetting_curve(run_of(LINE, process, 1e-3), reference="exact"))


def density_2d(process):
    return fp.plots.density(run_of(PLANE, process, 1e-1), start="prior")


def forgetting_2d(process):
    return fp.plots.forgetting(fp.forgetting_curve(run_of(PLANE, process, 1e-1), reference="exact"))


def contributions(process):
    return fp.plots.contributions(errors_of(process))


@cache
def errors_of(process):
    reverse = fp.Reverse(LINE, process)
    times = fp.samplers.grids.karras(12, process, t_min=end_of(process))
    return fp.decomposition.errors(reverse, "ddpm", start=process.prior(), times=times)


def alive(process):
    return fp.plots.alive(errors_of(process))


def discounts(process):
    return fp.plots.discounts(errors_of(process))


def orbits(process):
    starts = [k * process.prior_std for k in (-3.0, -1.0, 0.0, 1.0, 3.0)]
    return fp.plots.orbits(fp.flows.orbits(fp.Reverse(LINE, process), starts, t_min=end_of(process)))


@cache
def ladder_of(process):
    weights = {"weight": fp.PolynomialWeight(power=2, beta=0.1), "norm": fp.PolynomialWeight(power=2, beta=1.0)}
    grid, frame = fp.Grid.uniform((-9.0, 9.0), cells=180), "scaled" if isinstance(process, fp.EDM) else "fixed"
    return fp.bounds.ladder(
        fp.Reverse(LINE, process), grid=grid, blocks=4, t_min=end_of(process), frame=frame, **weights
    )


def ladder(process):
    return fp.plots.ladder(ladder_of(process))


def ratio(process):
    return fp.plots.ratio(ladder_of(process))


def factors(process):
    return fp.plots.factors(ladder_of(process))


def divergences_1d(process):
    run = run_of(LINE, process, 1e-3)
    exact = run.density.sel(start="exact")
    return fp.plots.divergences(
        {"KL": fp.distances.kl(run.density, exact), "chi-square": fp.distances.chi2(run.density, exact)}
    )


def drift_and_score(process):
    return fp.plots.drift_and_score(run_of(LINE, process, 1e-3), fp.Reverse(LINE, process))


def streamlines_2d(process):
    return fp.plots.streamlines(run_of(PLANE, process, 1e-1), fp.Reverse(PLANE, process), start="prior")


def phase_line(process):
    reverse, t = fp.Reverse(LINE, process, eta=0.0), 2.0 * end_of(process)
    points = fp.flows.stationary_points(lambda x: reverse.drift(t, x), (-4.0, 4.0))
    return fp.plots.phase_line(lambda x: reverse.drift(t, x), points)


def cumulative(process):
    reverse, run = fp.Reverse(LINE, process), run_of(LINE, process, 1e-3)
    cloud = fp.particles.simulate(reverse, process.prior(), n=20_000, steps=300, t_min=end_of(process), seed=0)
    return fp.plots.cumulative(run, cloud, start="prior")


def overview(process):
    return fp.plots.overview(ladder_of(process))


def convergence(process):
    reverse, steps = fp.Reverse(LINE, process), [10, 20, 40, 80]
    grids = [fp.samplers.grids.karras(n, process, t_min=end_of(process)) for n in steps]
    errors = [[fp.design.error(reverse, name, times).distance.item() for times in grids] for name in ("ddim", "heun")]
    made = xr.DataArray(errors, dims=("sampler", "steps"), coords={"sampler": ["ddim", "heun"], "steps": steps})
    return fp.plots.convergence(made, over="steps")


def animation_1d(process):
    return fp.plots.animation(run_of(LINE, process, 1e-3), frames=30)


def pictures(quick: bool = False) -> Iterator[tuple[str, str, Callable[[], object]]]:
    """Name, source and maker of every picture; `quick`: one alone."""
    one = (density_1d, forgetting_1d, contributions, alive, discounts, orbits, ladder, ratio, factors)
    one += (divergences_1d, drift_and_score, phase_line, cumulative, overview, convergence, animation_1d)
    for make in (*one, density_2d, forgetting_2d, streamlines_2d):
        source = inspect.getsource(make)
        for name, process in PROCESSES.items():
            yield f"{make.__name__}, {name}", source, lambda make=make, process=process: make(process)
            if quick:
                return

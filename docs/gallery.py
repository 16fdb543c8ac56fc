"""Pictures of the gallery: every plot with its default arguments, each made by the few lines beside it."""

import inspect
from collections.abc import Callable, Iterator

import fpsolve as fp

LINE = fp.GaussianMixture([0.4, 0.6], [-1.5, 1.0], stds=[0.3, 0.4])
PLANE = fp.GaussianMixture([0.4, 0.6], [[-1.0, 0.5], [1.0, -0.5]], stds=[0.35, 0.45])
PROCESSES = {"OU": fp.OrnsteinUhlenbeck(T=3.0), "VP": fp.VP(), "EDM": fp.EDM(), "cosine": fp.CosineVP()}


def run_of(target, process, tol):
    """From p_T and from the prior, down to a hundredth of T."""
    reverse = fp.Reverse(target, process)
    starts = {"exact": reverse.marginal(process.T), "prior": process.prior(reverse.dim)}
    return fp.evolve(reverse, starts, t_min=0.01 * process.T, tol=tol, progress=False)


def density_1d(process):
    return fp.plots.density(run_of(LINE, process, 1e-3), start="prior")


def forgetting_1d(process):
    return fp.plots.forgetting(fp.forgetting_curve(run_of(LINE, process, 1e-3), reference="exact"))


def density_2d(process):
    return fp.plots.density(run_of(PLANE, process, 1e-1), start="prior")


def forgetting_2d(process):
    return fp.plots.forgetting(fp.forgetting_curve(run_of(PLANE, process, 1e-1), reference="exact"))


def contributions(process):
    reverse = fp.Reverse(LINE, process)
    times = fp.samplers.grids.karras(12, process, t_min=0.01 * process.T)
    return fp.plots.contributions(fp.decomposition.errors(reverse, "ddpm", start=process.prior(), times=times))


def pictures(quick: bool = False) -> Iterator[tuple[str, str, Callable[[], object]]]:
    """Name, source and maker of every picture; `quick`: one alone."""
    for make in (density_1d, forgetting_1d, contributions, density_2d, forgetting_2d):
        source = inspect.getsource(make)
        for name, process in PROCESSES.items():
            yield f"{make.__name__}, {name}", source, lambda make=make, process=process: make(process)
            if quick:
                return

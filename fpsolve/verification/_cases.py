"""The reference values that `fpsolve verify` checks, group by group.

The cases that the reference values belong to.

Evolved densities against the closed form: one level, the extrapolated pair, the honesty of the estimate, mass.

Distances far below the densities' own errors, against the closed form.

Transport without noise: the probability flow keeps plain total variation, product-form flows end where they must.

Score error as noise: a Gaussian along its Brownian paths.

Steady states against Gibbs densities, normalised on the grid.

Contraction, certificates and sampler errors against reference values.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

import fpsolve as fp
from fpsolve import bounds, closed_form, flows, kernels, weights
from fpsolve._checks import FloatArray
from fpsolve.studies.report import Check
from fpsolve.studies.score_noise import oracle

if TYPE_CHECKING:
    import xarray as xr


def ou_mixture() -> fp.Reverse:
    """0.5 N(-2, 0.3^2) + 0.5 N(2, 0.5^2) under the Ornstein-Uhlenbeck process, T = 3."""
    target = fp.GaussianMixture(weights=[0.5, 0.5], means=[-2.0, 2.0], stds=[0.3, 0.5])
    return fp.Reverse(target, fp.OrnsteinUhlenbeck(T=3.0))


def rotated_five() -> fp.Reverse:
    """Five Gaussians on a circle, each turned differently, so not separable in any coordinates; OU, T = 3."""
    angles = 2 * np.pi * np.arange(5) / 5
    means = 2.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    c, s = np.cos(angles + 0.4), np.sin(angles + 0.4)
    turns = np.moveaxis(np.array([[c, -s], [s, c]]), -1, 0)
    covs = turns @ np.diag([0.5**2, 0.3**2]) @ turns.transpose(0, 2, 1)
    target = fp.GaussianMixture(weights=[0.1, 0.15, 0.2, 0.25, 0.3], means=means, covs=covs)
    return fp.Reverse(target, fp.OrnsteinUhlenbeck(T=3.0))


T_MIN = 0.01


def densities() -> tuple[Check, ...]:
    """OU mixture from three starts at t = 0.01, cell averages against Bayes' rule."""
    reverse = ou_mixture()
    starts = {"exact": reverse.marginal(3.0), "shifted": fp.Gaussian(1.5, std=0.5), "prior": fp.Gaussian(0.0, std=1.0)}
    fine, half = fp.Grid.uniform((-6, 6), cells=800), fp.Grid.uniform((-6, 6), cells=400)
    single = fp.evolve(reverse, starts, grid=half, steps=400, t_min=T_MIN, progress=False)
    pair = fp.evolve(reverse, starts, grid=fine, steps=400, t_min=T_MIN, progress=False)
    truth = np.stack([closed_form.cell_averages(reverse, law, T_MIN, half) for law in starts.values()])
    gap = single.density.values[:, -1] - truth
    weighted = (weights.evaluate(None, half) * np.abs(gap)).sum(axis=1) * half.volume
    covered = float((weighted / single.error_estimate.values[:, -1]).max())
    extrapolated = pair.fpsolve.extrapolated.values[:, -1]
    return (
        Check.at_most("OU mixture, 400 cells, one level: TV to the closed form", _tv(gap, half), 3e-4),
        Check.at_most("the same: true error / estimate, largest", covered, 1.0),
        Check.at_most("pair of 400 and 800 cells: TV", _tv(extrapolated - truth, half), 2e-7),
        Check.at_most("mass: largest change", float(np.abs(pair.mass - pair.mass.isel(t=0)).max()), 1e-12),
    )


def plane() -> tuple[Check, ...]:
    """Five rotated Gaussians in the plane, a pair of 128^2 and 256^2 cells, against p_t."""
    reverse = rotated_five()
    grid = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=256)
    start = {"exact": reverse.marginal(3.0)}
    run = fp.evolve(reverse, start, grid=grid, steps=200, t_min=0.02, save_at=[0.02], progress=False)
    half = grid.coarsen()
    gap = run.fpsolve.extrapolated.values[:, -1] - half.cell_average(reverse.marginal(0.02))
    return (Check.at_most("five rotated Gaussians, pair of 128^2 and 256^2 cells: TV", _tv(gap, half), 1e-5),)


def _tv(gap: FloatArray, grid: fp.Grid) -> float:
    """Half the L1 norm of cell averages, the largest over the starts."""
    return float(0.5 * np.abs(gap).sum(axis=tuple(range(-grid.dim, 0))).max() * grid.volume)


#: Total variation at t = 0.01 between the runs from p_T and from N(0, 1).
SIX_MILLIONTHS = 6.558881828e-6


def distances() -> tuple[Check, ...]:
    """TV at t = 0.01 under the OU mixture: p_T against N(0, 1), and starts 2e-4 apart."""
    reverse = ou_mixture()
    starts = {
        "exact": reverse.marginal(3.0),
        "prior": fp.Gaussian(0.0, std=1.0),
        "right": fp.Gaussian(1e-4, std=1.0),
        "left": fp.Gaussian(-1e-4, std=1.0),
    }
    run = fp.evolve(reverse, starts, t_min=T_MIN, tol=1e-6, save_at=[T_MIN], progress=False)
    known = _tv_between(run, "prior", "exact")
    near = _tv_between(run, "right", "left")
    truth = 0.5 * closed_form.weighted_tv(reverse, starts["right"], starts["left"], T_MIN, fp.UnitWeight()).value
    return (
        Check("TV of the runs from p_T and N(0, 1)", known[0], SIX_MILLIONTHS, 1e-4 * SIX_MILLIONTHS),
        Check.at_most("the same: true error / error bar", abs(known[0] - SIX_MILLIONTHS) / known[1], 1.0),
        Check("TV of the runs from N(1e-4, 1) and N(-1e-4, 1)", near[0], truth, 1e-4 * truth),
        Check.at_most("the same: true error / error bar", abs(near[0] - truth) / near[1], 1.0),
    )


def _tv_between(run: xr.Dataset, start: str, reference: str) -> tuple[float, float]:
    """Total variation between two starts at the end of a run, and its error bar."""
    last = fp.forgetting_curve(run, reference=reference, weight=fp.UnitWeight()).sel(start=start).isel(t=-1)
    return 0.5 * float(last["distance"]), 0.5 * float(last["error"])


#: Data {-1, 1}, sigma uniform on [0.02, 3]: zeros of the best product-form score, and where orbits end from -6 and 2.
ZEROS = (-0.98614, 0.0, 0.98614)
ENDS = {-6.0: -1.8248, 2.0: 0.9861}


def probability_flow() -> tuple[Check, ...]:
    """OU mixture at eta = 0: the flow is a bijection, so the total variation of two laws does not move."""
    exact = ou_mixture()
    reverse = fp.Reverse(exact.target, exact.process, eta=0.0)
    starts = {"exact": reverse.marginal(3.0), "shifted": fp.Gaussian(1.5, std=0.5)}
    run = fp.evolve(reverse, starts, t_min=0.01, tol=1e-6, save_at=np.geomspace(0.01, 3.0, 8), progress=False)
    curve = fp.forgetting_curve(run, weight=fp.UnitWeight())
    cost = fp.distances.to_marginals(run, reverse).sel(start="exact")
    return (
        Check.at_most("probability flow: change of plain total variation", float(np.ptp(curve.distance.values)), 1e-8),
        Check.at_most("from p_T: distance to p_t / its error", float((cost.distance / cost.error).max()), 1.0),
    )


def product_form() -> tuple[Check, ...]:
    """Data points -1 and 1 under the best product-form score: stationary points and ends of orbits."""
    points = fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=1e-6)
    score = fp.scores.product_form(points, fp.EDM(sigma_min=0.02, sigma_max=3.0))
    found = flows.stationary_points(score, (-4.0, 4.0))
    ends = flows.end_points(score, list(ENDS), duration=score.duration(0.02))
    zeros = [Check(f"product form: zero at {x:g}", float(at), x, 1e-3) for at, x in zip(found.at, ZEROS, strict=True)]
    return (
        *zeros,
        *(
            Check(f"product form: end of the orbit from {x:g}", float(end), known, 1e-3)
            for end, (x, known) in zip(ends, ENDS.items(), strict=True)
        ),
    )


def score_noise() -> tuple[Check, ...]:
    """Constant noise k = 0.3 on an Ornstein-Uhlenbeck process, 400 cells, 500 steps: mean, variance, variation."""
    found = oracle(strength=0.3**2, cells=400, steps=500, paths=8, seed=0)
    names = {"mean": "mean", "variance": "variance", "variation": "quadratic variation"}
    return (
        *(Check.at_most(f"score noise: {text} along every path", found[name], 1e-3) for name, text in names.items()),
        Check.at_most("score noise: mass along every path", found["mass"], 1e-12),
    )


def steady_states() -> tuple[Check, ...]:
    """Langevin dynamics of a law with two wells, and OU between walls: ``exp(-Phi/D)`` at the cell centres."""
    wells = fp.GaussianMixture(weights=[0.4, 0.6], means=[-2.0, 2.0], stds=[0.5, 0.4])
    line, walls = fp.Grid.uniform((-6, 6), cells=400), fp.Grid.uniform((-1, 2), cells=150)
    ou = fp.Dynamics(noise=1.5, potential=lambda t, x: x**2 / 2, autonomous=True)
    langevin = np.abs(fp.steady_state(fp.Langevin(wells), line).values - _gibbs(wells.log_density(line.x), line))
    boxed = np.abs(fp.steady_state(ou, walls).values - _gibbs(-(walls.x**2) / 1.5**2, walls))
    return (
        Check.at_most("Langevin of two wells: largest difference to its Gibbs state", float(langevin.max()), 1e-12),
        Check.at_most("OU between walls: largest difference to its Gibbs state", float(boxed.max()), 1e-12),
    )


def _gibbs(log_values: FloatArray, grid: fp.Grid) -> FloatArray:
    values = np.exp(log_values - log_values.max())
    return np.asarray(values / (values.sum() * grid.volume))


#: Errors in ``1 + x^2`` of 25 and 50 uniform steps for N(1, 1/2) under the linear VP process from N(0, 1).
GAUSSIAN_STEPS = {"euler-maruyama": {25: 0.1493, 50: 0.0725}, "exponential-integrator": {25: 0.2402, 50: 0.1170}}


def theory() -> tuple[Check, ...]:
    """Sharp Dobrushin coefficient and Harris certificate of the OU mixture, t = 3 to 0.01; the order of a ladder."""
    reverse = ou_mixture()
    kernel = kernels.exact(reverse, fp.Grid.uniform((-10, 10), cells=500), 3.0, 0.01)
    sharp = bounds.dobrushin(kernel, weight=lambda x: 1.0 + 0.1 * (1.0 + x**2)).value
    harris = bounds.harris(kernel, weight=lambda x: 1.0 + 0.03 * (1.0 + x**2)).value
    coarse, weight = fp.Grid.uniform((-10, 10), cells=240), fp.PolynomialWeight(power=2, beta=0.1)
    ladder = bounds.ladder(reverse, grid=coarse, blocks=3, weight=weight)
    broken = sum(not check.holds for check in bounds.verify(ladder))
    return (
        Check("sharp Dobrushin coefficient, weight 1 + 0.1 (1 + x^2)", _number(sharp), 0.225, 0.003),
        Check.at_most("Harris certificate, weight 1 + 0.03 (1 + x^2)", _number(harris), 0.635),
        Check.at_most("inequalities of a ladder that do not hold", float(broken), 0.0),
    )


def sampler_errors() -> tuple[Check, ...]:
    """Euler-Maruyama and the exponential integrator as kernels on a Gaussian, whose errors are known."""
    target, grid = fp.Gaussian(1.0, cov=0.5), fp.Grid.uniform((-7, 7), cells=1000)
    checks = []
    for name, known in GAUSSIAN_STEPS.items():
        for steps, reference in known.items():
            reverse = fp.Reverse(target, fp.VP())
            q = grid.cell_average(fp.Gaussian(0.0, std=1.0))
            for t0, t1 in pairwise(np.linspace(1.0, 0.0, steps + 1)):
                q = kernels.sampler_operator(name, reverse, grid, t0, t1).push(q)
            gap = np.abs(q - grid.cell_average(reverse.target))
            value = float(np.sum(weights.evaluate(None, grid) * gap) * grid.volume)
            checks.append(Check(f"{name}, {steps} steps: weighted error at the end", value, reference, 1e-4))
    return tuple(checks)


def _number(value: float | None) -> float:
    """NaN, which fails every check, where there is no certificate."""
    return float("nan") if value is None else float(value)

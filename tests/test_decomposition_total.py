"""The total of a decomposition against chains of Gaussians worked out by hand: within its stated error."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

import fpsolve as fp

MEAN, STD = 1.0, 0.5


def level(t):
    """alpha, sigma and beta of the linear VP schedule."""
    alpha = np.exp(-0.25 * t * t * (20.0 - 0.1) - 0.5 * t * 0.1)
    return alpha, np.sqrt(1.0 - alpha**2), 0.1 + t * (20.0 - 0.1)


def marginal(t):
    alpha, sigma, _ = level(t)
    return alpha * MEAN, np.sqrt(alpha**2 * STD**2 + sigma**2)


def chain(name, times, start=(0.0, 1.0)):
    """Means and standard deviations of the sampler's law."""
    m, v, laws = start[0], start[1] ** 2, [start]
    for t, later in pairwise(times):
        (alpha, sigma, beta), (mu, sd), h = level(t), marginal(t), t - later
        if name == "euler-maruyama":
            slope = 1.0 + h * (0.5 * beta - beta / sd**2)
            shift, noise = h * beta * mu / sd**2, beta * h
        else:
            # the deterministic step: clean data and noise are both linear in x, eps = sigma (x - mu)/sd^2
            alpha_later, sigma_later, _ = level(later)
            share = sigma / sd**2
            slope = alpha_later / alpha * (1.0 - sigma * share) + sigma_later * share
            shift, noise = (alpha_later / alpha * sigma - sigma_later) * share * mu, 0.0
        m, v = slope * m + shift, slope**2 * v + noise
        laws.append((m, np.sqrt(v)))
    return laws


def pdf(x, mean, std):
    """The normal density; scipy's takes fifty times as long for one number."""
    return math.exp(-0.5 * ((x - mean) / std) ** 2) / (std * math.sqrt(2.0 * math.pi))


def distance(law, t):
    mu, sd = marginal(t)

    def integrand(x):
        return (1.0 + x * x) * abs(pdf(x, *law) - pdf(x, mu, sd))

    return quad(integrand, -20.0, 20.0, points=np.linspace(-6.0, 6.0, 61).tolist(), limit=600, epsabs=1e-9)[0]


@pytest.mark.parametrize(("name", "eta"), [("ddim", 0.0), ("euler-maruyama", 1.0)])
@pytest.mark.parametrize("cells", [80, 200])
def test_totals_of_gaussian_chains_are_covered(name, eta, cells):
    reverse = fp.Reverse(fp.Gaussian(MEAN, std=STD), fp.VP(), eta=eta)
    found = fp.decomposition.errors(
        reverse, name, start=fp.Gaussian(0.0, std=1.0), grid=fp.Grid.uniform((-8, 8), cells=cells),
        steps=20, t_min=0.02, blocks=0, progress=False,
    )  # fmt: skip
    true = [distance(law, t) for law, t in zip(chain(name, found["t"].values), found["t"].values, strict=True)]
    off, error = np.abs(found["total"].values - true), found["total_error"].values
    ratios = error / np.maximum(off, 1e-9)
    print(name, cells, "median", np.median(ratios), "smallest", np.min(ratios))
    assert np.all(off <= error + 1e-8)
    assert np.median(ratios) <= 20.0
    assert found.attrs["total_error"] == error[-1] and found.attrs["total_error_reason"] == ""


def test_a_sampler_that_leaves_the_box_or_cells_that_cannot_be_halved_have_no_error():
    reverse = fp.Reverse(fp.Gaussian(MEAN, std=STD), fp.VP())
    given = {"start": fp.Gaussian(0.0, std=1.0), "t_min": 0.02, "blocks": 0, "progress": False}
    wild = fp.decomposition.errors(
        reverse, "exponential-integrator", grid=fp.Grid.uniform((-8, 8), cells=60), steps=6, **given
    )
    assert wild.attrs["total_error"] == np.inf and "leave the box" in wild.attrs["total_error_reason"]
    odd = fp.decomposition.errors(reverse, "euler-maruyama", grid=fp.Grid.uniform((-8, 8), cells=61), steps=6, **given)
    assert np.all(odd["total_error"] == np.inf) and "half" in odd.attrs["total_error_reason"]


def weighted_gap(p, q):
    """``int (1 + x^2) |p - q| dx`` of two normal laws (mean, std), by quadrature between their roots."""
    (m, s), (n, r) = p, q
    roots = np.roots([r**-2 - s**-2, 2.0 * (m / s**2 - n / r**2), n**2 / r**2 - m**2 / s**2 + 2.0 * np.log(r / s)])
    ends = sorted({m - 12 * s, m, m + 12 * s, n - 12 * r, n, n + 12 * r, *np.real(roots[np.isreal(roots)]).tolist()})

    def gap(x):
        return (1.0 + x * x) * abs(pdf(x, m, s) - pdf(x, n, r))

    return sum(quad(gap, *pair, epsabs=1e-13, epsrel=1e-11)[0] for pair in pairwise(ends))


@pytest.mark.parametrize("levels", [(56.0, 42.0, 28.0, 14.0, 0.094), (40.0, 8.0, 0.05)])
def test_noise_after_a_step_that_contracts_is_not_a_few_atoms(levels):
    # ancestral steps of EDM: x + (V - V') s, V = t^2, and noise of variance (V - V') V'/V; the last takes cells of
    # width 0.1 or more to a thousandth of it, and its noise is narrower than they were
    mean, std, law = 0.2, 0.4, (0.0, levels[0])
    for t, later in pairwise(levels):
        share = (t**2 - later**2) / (std**2 + t**2)
        slope, noise = 1.0 - share, (t**2 - later**2) * later**2 / t**2
        law = slope * law[0] + share * mean, np.sqrt(slope**2 * law[1] ** 2 + noise)
    truth = weighted_gap(law, (mean, np.hypot(std, levels[-1])))
    process = fp.EDM(sigma_max=levels[0])
    reverse = fp.Reverse(fp.Gaussian(mean, std=std), process)
    found = fp.decomposition.errors(reverse, "ddim", start=process.prior(1), times=levels, blocks=0)
    own = fp.design.error(reverse, "ddim", levels)
    print(truth, found.attrs["total"], found.attrs["total_error"], float(own.distance), float(own.error))
    assert abs(found.attrs["total"] - truth) <= found.attrs["total_error"] <= 0.01 * truth
    assert abs(float(own.distance) - truth) <= float(own.error) + 1e-10 and float(own.error) <= 1e-6
    assert found["negative"].max() < 1e-12


@pytest.mark.parametrize(("std", "name", "n"), [(0.011, "euler-maruyama", 19), (0.0115, "deterministic", 23)])
def test_laws_finer_than_cells_have_bars_that_say_so(std, name, n):
    # on 64 cells both laws end in a cell or two: halved or refined, they are as alike as before
    alpha, sigma, _ = level(0.0075)
    times, end = np.linspace(1.0, 0.0075, n + 1), (alpha * MEAN, np.hypot(alpha * std, sigma))
    law, grid = (0.0, 1.0), fp.Grid.uniform((-14.1, 8.7), cells=64)
    for t, later in pairwise(times):
        (alpha, sigma, beta), h = level(t), t - later
        var = (alpha * std) ** 2 + sigma**2
        if name == "euler-maruyama":
            slope, shift, noise = 1.0 + h * (0.5 * beta - beta / var), h * beta * alpha * MEAN / var, beta * h
        else:
            alpha_later, sigma_later, _ = level(later)
            share = sigma / var
            slope = alpha_later / alpha * (1.0 - sigma * share) + sigma_later * share
            shift, noise = (alpha_later / alpha * sigma - sigma_later) * share * alpha * MEAN, 0.0
        law = slope * law[0] + shift, np.sqrt(slope**2 * law[1] ** 2 + noise)
    truth = weighted_gap(law, end)
    reverse = fp.Reverse(fp.Gaussian(MEAN, std=std), fp.VP(), eta=1.0 if name == "euler-maruyama" else 0.0)
    sampler = "euler-maruyama" if name == "euler-maruyama" else "ddim"
    own = fp.design.error(reverse, sampler, times, grid=grid)
    found = fp.decomposition.errors(reverse, sampler, start=fp.Gaussian(0.0, std=1.0), times=times, grid=grid, blocks=0)
    print(truth, float(own.distance), float(own.error), found.attrs["total"], found.attrs["total_error"])
    assert abs(float(own.distance) - truth) <= float(own.error)
    assert abs(found.attrs["total"] - truth) <= found.attrs["total_error"]


@pytest.mark.parametrize(("cells", "mean"), [(40, 0.0), (100, 0.2)])
def test_what_cells_could_not_tell_of_a_start_is_in_every_later_bar(cells, mean):
    """A start within one cell, whose place there is lost: the laws soon are wide, and half the cells lose as much."""
    reverse, start = fp.Reverse(fp.Gaussian(MEAN, std=STD), fp.VP()), (mean, 0.01)
    found = fp.decomposition.errors(
        reverse, "euler-maruyama", start=fp.Gaussian(mean, std=0.01), grid=fp.Grid.uniform((-8, 8), cells=cells),
        steps=20, t_min=0.02, blocks=0, progress=False,
    )  # fmt: skip
    times = found["t"].values
    laws = zip(chain("euler-maruyama", times, start)[1:], times[1:], strict=True)
    true = [weighted_gap(law, marginal(t)) for law, t in laws]
    assert np.all(np.abs(found["total"].values[1:] - true) <= found["total_error"].values[1:])


@pytest.mark.parametrize("steps", [(999, 669, 338, 7), (999, 735, 266, 7)])
def test_a_coarser_chain_by_splines_does_not_make_the_bar_of_a_finer_one(steps):
    # noise of about a cell of the given grid: the chain on half of it moves splines, which know more
    kept = np.cumprod(1.0 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    mean, std, eta, law = -0.99, 0.15, 0.0857, (0.0, 1.0)
    for one, later in pairwise(steps):
        (a, b), (v, w) = np.sqrt(kept[[one, later]]), 1.0 - kept[[one, later]]
        ratio, var = a / b, (a * std) ** 2 + v
        added = eta**2 * (v - ratio**2 * w) * w / v
        share = (v / ratio - np.sqrt((w - added) * v)) / var
        slope = 1.0 / ratio - share
        law = slope * law[0] + share * a * mean, np.sqrt(slope**2 * law[1] ** 2 + added)
    truth = weighted_gap(law, (b * mean, np.sqrt((b * std) ** 2 + w)))
    process = fp.VP.from_betas("scaled_linear")
    reverse, times = fp.Reverse(fp.Gaussian(mean, std=std), process, eta=eta), (np.array(steps) + 1.0) / 1000.0
    found = fp.decomposition.errors(reverse, "ddim", start=process.prior(1), times=times, blocks=0)
    print(truth, found.attrs["total"] - truth, found.attrs["total_error"])
    assert abs(found.attrs["total"] - truth) <= found.attrs["total_error"] < 1e-5

"""The total of a decomposition against chains of Gaussians worked out by hand: within its stated error."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

import fpsolve as fp

MEAN, STD = 1.0, 0.5


def level(t):
    """alpha, sigma and beta of the linear VP schedule."""
    alpha = np.exp(-0.25 * t * t * (20.0 - 0.1) - 0.5 * t * 0.1)
    return alpha, np.sqrt(1.0 - alpha**2), 0.1 + t * (20.0 - 0.1)


def marginal(t):
    alpha, sigma, _ = level(t)
    return alpha * MEAN, np.sqrt(alpha**2 * STD**2 + sigma**2)


def chain(name, times):
    """Means and standard deviations of the sampler's law from N(0, 1)."""
    m, v, laws = 0.0, 1.0, [(0.0, 1.0)]
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


def distance(law, t):
    mu, sd = marginal(t)

    def integrand(x):
        return (1.0 + x * x) * abs(norm.pdf(x, *law) - norm.pdf(x, mu, sd))

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
    assert wild.attrs["total_error"] == np.inf and "leaves the box" in wild.attrs["total_error_reason"]
    odd = fp.decomposition.errors(reverse, "euler-maruyama", grid=fp.Grid.uniform((-8, 8), cells=61), steps=6, **given)
    assert np.all(odd["total_error"] == np.inf) and "half" in odd.attrs["total_error_reason"]

"""Distances over time of random runs with a tolerance, against the closed forms: covered by their errors."""

import cases
import numpy as np
import pytest

import fpsolve as fp
from fpsolve import closed_form, distances


def random_mixture(rng):
    k = int(rng.integers(1, 3))
    return fp.GaussianMixture(rng.dirichlet(3.0 * np.ones(k)), rng.uniform(-2.0, 2.0, k), stds=rng.uniform(0.3, 1.2, k))


def random_run(rng):
    """A run from p_T and from another Gaussian, with its dynamics and weight."""
    processes = [fp.VP(), fp.VP(beta_min=0.5, beta_max=8.0), fp.VE(sigma_max=5.0), fp.OrnsteinUhlenbeck(T=2.0)]
    reverse = fp.Reverse(random_mixture(rng), processes[rng.integers(4)])
    horizon = reverse.process.T
    end, tol = float(rng.uniform(0.05, 0.2) * horizon), float(10 ** rng.uniform(-5.0, -3.0))
    prior = reverse.marginal(horizon)
    width = float(np.sqrt(np.ravel(prior.cov)[0]))
    other = fp.Gaussian(float(rng.uniform(-1.0, 1.0) * width), std=float(rng.uniform(0.5, 1.2) * width))
    weight = [None, fp.UnitWeight()][rng.integers(2)]
    times = np.linspace(horizon, end, 4)[1:]
    starts = {"exact": prior, "other": other}
    return reverse, starts, weight, fp.evolve(reverse, starts, t_min=end, tol=tol, save_at=times, weight=weight)


@pytest.mark.slow
def test_curves_of_random_runs_are_covered():
    """To another start and to the exact marginals, which the start "exact" follows."""
    rng, missed = np.random.default_rng(4_711), []
    for case in range(cases.sample(20, 6)):
        reverse, starts, weight, run = random_run(rng)
        curves = {
            "forgetting": distances.forgetting_curve(run, weight=weight),
            "marginals": distances.to_marginals(run, reverse, weight=weight),
        }
        for t in run["t"].values.tolist():
            true = closed_form.weighted_tv(reverse, starts["other"], starts["exact"], t, weight)
            for name, curve in curves.items():
                found = curve.sel(start="other", t=t)
                value, error = float(found["distance"]), float(found["error"])
                assert np.isfinite(error) and error >= 0.0
                if abs(value - true.value) > error + true.error:
                    missed.append((case, name, t, value, true.value, error))
    print("missed:", missed)
    assert not missed

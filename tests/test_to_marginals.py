"""Distance of a run to the marginals: zero within its error for the exact score, known for Gaussians."""

import cases
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.stats import norm

import fpsolve as fp
from fpsolve.distances import to_marginals


def test_the_exact_score_stays_at_the_marginals_within_the_error():
    reverse = cases.ou_mixture()
    run = fp.evolve(reverse, cases.starts_1d(reverse), t_min=0.01, tol=1e-5)
    curve = to_marginals(run, reverse)
    exact = curve.sel(start="exact")
    print("largest distance / error from p_T:", float((exact.distance / exact.error).max()))
    assert bool((exact.distance <= exact.error).all()) and float(exact.error.max()) <= 1e-5
    forgetting = fp.forgetting_curve(run, reference="exact")
    gap = np.abs(curve.distance - forgetting.distance).sel(start=["shifted", "prior"])
    assert bool((gap <= exact.error + 1e-12).all())


def biased_gaussian(bias, t_end=0.01):
    """Mean and variance of the reverse SDE of N(0.5, 0.25) under VP whose score is too large by `bias`."""
    target, process = fp.Gaussian(0.5, std=0.5), fp.VP()
    model = fp.scores.perturbed(fp.scores.exact(target, process), fp.scores.errors.Bias(bias))
    reverse = fp.Reverse(target, process, score=model)

    def change(r, m):
        t = 1.0 - r
        return [float(reverse.drift(t, np.array(m[0])))]

    found = solve_ivp(change, (0.0, 1.0 - t_end), [float(reverse.marginal(1.0).mean)], rtol=1e-10, atol=1e-12)
    return reverse, float(found.y[0, -1])


def test_a_bias_of_the_score_costs_what_two_gaussians_differ_by():
    reverse, mean = biased_gaussian(0.1)
    run = fp.evolve(reverse, {"exact": reverse.marginal(1.0)}, t_min=0.01, tol=1e-5)
    last = to_marginals(run, reverse).isel(start=0, t=-1)
    law = reverse.marginal(0.01)
    m, s = float(law.mean), float(np.sqrt(law.cov))
    # a constant error shifts the mean and leaves the variance
    middle = 0.5 * (m + mean)
    truth = sum(
        quad(lambda x: (1 + x * x) * abs(norm.pdf(x, mean, s) - norm.pdf(x, m, s)), *ends, epsabs=1e-13, limit=200)[0]
        for ends in ((-8.0, middle), (middle, 8.0))
    )
    print(f"{float(last.distance):.9f} +- {float(last.error):.1e}, truth {truth:.9f}")
    assert truth > 0.05
    assert abs(float(last.distance) - truth) <= float(last.error) <= 1e-5


@pytest.mark.parametrize(
    ("process", "t_min"), [(fp.EDM(), 0.02), (fp.VE(), 1e-3)], ids=["scaled frame, EDM", "scaled frame, VE"]
)
def test_in_the_scaled_frame(process, t_min):
    reverse = fp.Reverse(cases.two_mode_vp().target, process)
    starts = {"exact": reverse.marginal(process.T), "prior": process.prior()}
    run = fp.evolve(reverse, starts, t_min=t_min, tol=1e-3, save_at=[1.0 if process.T > 1 else 0.5])
    curve = to_marginals(run, reverse)
    assert run.attrs["frame"] == "scaled"
    assert bool((curve.distance <= curve.error).sel(start="exact").all())
    # beyond tol by the reconstruction between cells that are as wide as the tolerance allows
    assert float(curve.error.max()) <= 2e-3


def test_in_the_plane_and_on_one_level_without_a_companion():
    reverse = cases.rotated_five()
    grid = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=64)
    ask = dict(grid=grid, steps=40, t_min=0.05, save_at=[0.05])
    start = {"exact": reverse.marginal(3.0)}
    curve = to_marginals(fp.evolve(reverse, start, **ask), reverse)
    assert bool((curve.distance <= curve.error).all())
    bare = to_marginals(fp.evolve(reverse, start, estimate=False, **ask), reverse)
    assert np.isnan(bare.error).all() and "density_previous" in bare.attrs["note"]


def test_what_does_not_fit_is_refused():
    reverse, plane = cases.ou_mixture(), cases.rotated_five()
    run = fp.evolve(reverse, cases.starts_1d(reverse), grid=fp.Grid.uniform((-6, 6), cells=64), steps=20, t_min=0.1)
    with pytest.raises(ValueError, match="run: expected dimension 2 as the target has, got dimension 1"):
        to_marginals(run, plane)
    with pytest.raises(ValueError, match="run: expected a Dataset with the variable density"):
        to_marginals(run.density, reverse)

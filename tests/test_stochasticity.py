"""Stochasticity as a function of time: closed form, quiet stretches, EDM's churn, and what refuses it."""

import cases
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.special import ndtr

import fpsolve as fp
from fpsolve import closed_form, weights
from fpsolve.dynamics import edm_churn


def smooth(t):
    return 0.5 + t


def late(t):
    return 0.9 if t < 0.3 else 0.0


late_with_breaks = edm_churn(0.5, S_min=0.2, S_max=0.7, sigma_max=1.0, process=fp.VP())

GAUSS = fp.Gaussian(0.4, std=0.6)


@pytest.mark.parametrize("eta", [smooth, late, late_with_breaks], ids=["smooth", "late", "churn"])
def test_the_grid_agrees_with_the_gaussian_formula_for_eta_of_t(eta):
    reverse = fp.Reverse(GAUSS, fp.VP(), eta=eta)
    starts = {"exact": reverse.marginal(1.0), "far": fp.Gaussian(1.5, std=0.7)}
    run = fp.evolve(reverse, starts, t_min=0.02, tol=1e-5, save_at=[0.5, 0.1, 0.02])
    grid = run.fpsolve.grid
    v = weights.evaluate(None, grid)
    assert run.attrs["tol_met"] == "yes"
    for k, t in enumerate(run.t.values[1:], start=1):
        exact = np.stack([closed_form.cell_averages(reverse, start, float(t), grid) for start in starts.values()])
        errors = (v * np.abs(run.density.values[:, k] - exact)).sum(axis=1) * grid.volume
        estimate = run.error_estimate.values[:, k]
        print(f"t = {t:g}: errors {errors}, estimate/error {estimate / errors}")
        assert np.all(errors <= estimate)
    assert set(np.round(reverse.joints.times, 9)) <= set(np.round(run.t.values, 9))


def test_the_gaussian_formula_with_a_constant_function_is_that_of_the_number():
    x, start = np.linspace(-2, 2, 9), fp.Gaussian(1.0, std=0.5)
    number, function = (fp.Reverse(GAUSS, fp.VP(), eta=eta) for eta in (0.7, lambda t: 0.7))
    a, b = (closed_form.log_density(r, start, 0.05, x) for r in (number, function))
    assert np.allclose(a, b, rtol=1e-11)


def test_quiet_stretches_in_the_plane():
    target = fp.Gaussian([0.3, -0.2], cov=[[0.5, 0.2], [0.2, 0.4]])
    reverse = fp.Reverse(target, fp.OrnsteinUhlenbeck(T=1.0), eta=lambda t: 1.0 if t < 0.5 else 0.0)
    grid = fp.Grid.uniform([(-5, 5), (-5, 5)], cells=(64, 64))
    start = fp.Gaussian([0.8, 0.0], std=0.8)
    run = fp.evolve(reverse, start, grid=grid, steps=32, t_min=0.2, save_at=[0.2])
    exact = closed_form.cell_averages(reverse, start, 0.2, grid)
    v = weights.evaluate(None, grid)
    error = float((v * np.abs(run.density.values[0, -1] - exact)).sum() * grid.volume)
    print("plane: error", error, "estimate", float(run.error_estimate[0, -1]))
    assert error <= float(run.error_estimate[0, -1]) <= 0.05
    assert np.abs(run.mass - 1.0).max() <= 1e-6


def test_churn_on_edm_with_two_quiet_stretches_carries_the_marginals():
    eta = edm_churn(10.0, S_min=0.05, S_max=50.0)
    reverse = fp.Reverse(cases.ou_mixture().target, fp.EDM(), eta=eta)
    run = fp.evolve(reverse, reverse.marginal(80.0), t_min=0.02, tol=1e-4, save_at=[1.0, 0.02])
    assert run.attrs["tol_met"] == "yes" and {0.05, 50.0} <= set(run.t.values)
    grid = cases.position_grid(run, -1)
    exact = grid.cell_average(reverse.marginal(0.02))
    error = float((weights.evaluate(None, grid) * np.abs(run.density.values[0, -1] - exact)).sum() * grid.volume)
    print("churned EDM: error", error, "estimate", float(run.error_estimate[0, -1]))
    assert error <= float(run.error_estimate[0, -1])


def test_zeros_are_found_and_a_function_that_is_zero_is_the_flow():
    found = fp.Reverse(GAUSS, fp.VP(), eta=late).joints.times
    assert len(found) == 1 and abs(found[0] - 0.3) < 1e-12
    silent = fp.Reverse(GAUSS, fp.VP(), eta=edm_churn(0.0))
    assert silent.noiseless and not fp.Reverse(GAUSS, fp.VP(), eta=late).noiseless
    run = fp.evolve(silent, fp.Gaussian(0.0, std=1.0), t_min=0.1, tol=1e-3, save_at=[0.1])
    assert run.attrs["scheme"] == "characteristics"


def smooth_zero(t):
    return 40.0 * (t - 0.5) ** 2


def from_0_7(t):
    return smooth_zero(t) if t < 0.7 else 0.0


@pytest.mark.parametrize("eta", [smooth_zero, from_0_7], ids=["run", "segment"])
def test_a_smooth_eta_that_is_zero_in_the_middle_of_a_run_or_a_segment_is_noise(eta):
    process, grid = fp.VP(), fp.Grid.uniform((-9.0, 9.0), cells=400)
    reverse = fp.Reverse(GAUSS, process, eta=eta)
    run = fp.evolve(
        reverse, fp.Gaussian(1.5, std=0.6), t_min=0.3, grid=grid, steps=120, save_at=[0.7, 0.3], weight=fp.UnitWeight()
    )

    def moments(r, y):
        t = 1.0 - r
        a, g2, alpha, eta2 = process.drift_rate(t), process.diffusion(t) ** 2, process.scale(0.0, t), eta(t) ** 2
        pull = 0.5 * (1.0 + eta2) * g2 / (alpha**2 * 0.36 + process.variance(0.0, t))
        return [-a * y[0] - pull * (y[0] - alpha * 0.4), -2.0 * (a + pull) * y[1] + eta2 * g2]

    y = np.array([1.5, 0.36])
    for low, high in ((0.0, 0.3 - 1e-12), (0.3 + 1e-12, 0.7)):
        y = solve_ivp(moments, (low, high), y, method="DOP853", rtol=1e-10, atol=1e-13).y[:, -1]
    faces, last = np.linspace(-9.0, 9.0, 401), run.isel(start=0, t=-1)
    error = np.abs(last.density * grid.volume - np.diff(ndtr((faces - y[0]) / np.sqrt(y[1])))).sum()
    print("error", float(error), "estimate", float(last.error_estimate))
    assert float(error) <= float(last.error_estimate) <= 0.1
    assert not reverse.noiseless


def test_the_formula_of_churn():
    eta = edm_churn(40.0, S_min=0.05, S_max=50.0, rho=7.0)
    power = 1.0 / 7.0
    expected = 40.0 * 2.0**power / (7.0 * (80.0**power - 0.002**power))
    assert np.isclose(eta(2.0) ** 2, expected, rtol=1e-14)
    assert eta(0.04) == eta(51.0) == 0.0 and eta.breaks == (0.05, 50.0)
    assert fp.Reverse(GAUSS, fp.EDM(), eta=eta).eta == eta
    assert fp.Reverse(GAUSS, fp.VP(), eta=eta).eta == edm_churn(40.0, S_min=0.05, S_max=50.0, process=fp.VP())
    shifted = edm_churn(1.0, S_min=0.5, sigma_max=2.0, process=fp.VP())
    (t,) = shifted.breaks
    vp = fp.VP()
    assert np.isclose(np.sqrt(vp.variance(0.0, t)) / vp.scale(0.0, t), 0.5, rtol=1e-12)


BAD = {
    "negative": (lambda: fp.Reverse(GAUSS, fp.VP(), eta=-0.1), "eta: expected a finite number >= 0"),
    "negative somewhere": (lambda: fp.Reverse(GAUSS, fp.VP(), eta=lambda t: t - 0.5), "eta: expected finite values"),
    "nan": (lambda: fp.Reverse(GAUSS, fp.VP(), eta=lambda t: float("nan")), "eta: expected finite values"),
    "S_min": (lambda: edm_churn(1.0, S_min=2.0, S_max=1.0), "S_max: expected at least S_min = 2, got 1; swap"),
    "S_churn": (lambda: edm_churn(-1.0), "S_churn"),
    "rho": (lambda: edm_churn(1.0, rho=0.0), "rho"),
    "levels": (lambda: edm_churn(1.0, sigma_min=2.0, sigma_max=1.0), "sigma_max"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_bad_input_gets_one_sentence(name):
    make, expected = BAD[name]
    with pytest.raises(ValueError, match=expected) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_what_reads_eta_works_with_a_function_or_refuses():
    reverse = fp.Reverse(GAUSS, fp.VP(), eta=smooth)
    model = fp.Reverse(GAUSS, fp.VP(), eta=smooth, score=lambda t, x: reverse.score(t, x) + 0.1)
    grid = fp.Grid.uniform((-6, 6), cells=120)
    kernel = fp.kernels.finite_volume(reverse, grid, 0.5, 0.1)
    assert fp.bounds.dobrushin(kernel).value < 1.0
    assert fp.kernels.sampler("euler-maruyama", reverse, grid, 0.5, 0.45).matrix.shape == (120, 120)
    cloud = fp.particles.simulate(reverse, fp.Gaussian(0.0, std=1.0), n=100, steps=20, seed=0)
    assert cloud.attrs["eta"] == f"{smooth.__module__}.{smooth.__qualname__}"
    found = fp.bounds.girsanov(reverse, model, t_min=0.1, grid=grid)
    assert found.value is not None and found.value > 0.0
    with pytest.raises(ValueError, match="eta = "):
        fp.kernels.exact(reverse, grid, 0.5, 0.1)
    with pytest.raises(ValueError, match=r"eta\(t\)"):
        closed_form.kernel(reverse, 0.5, 0.1, [0.0], [0.0])
    quiet = fp.Reverse(GAUSS, fp.VP(), eta=late)
    with pytest.raises(ValueError, match="noise: expected > 0"):
        fp.kernels.finite_volume(quiet, grid, 0.5, 0.1)
    with pytest.raises(ValueError, match="eta > 0 at every time"):
        fp.bounds.girsanov(quiet, fp.Reverse(GAUSS, fp.VP(), eta=late, score=model.score), t_min=0.1, grid=grid)


@pytest.mark.parametrize("eta", [0.02, 0.1, 0.3])
def test_a_small_eta_says_what_the_cells_add_and_the_estimate_covers_it(eta):
    reverse = fp.Reverse(GAUSS, fp.VP(), eta=eta)
    start = fp.Gaussian(1.5, std=0.7)
    for cells in (100, 400):
        grid = fp.Grid.uniform((-6, 6), cells=cells)
        run = fp.evolve(reverse, start, grid=grid, steps=400, t_min=0.02, save_at=[0.3, 0.02])
        v = weights.evaluate(None, grid)
        errors = []
        for k in (1, 2):
            exact = closed_form.cell_averages(reverse, start, float(run.t[k]), grid)
            errors.append(float((v * np.abs(run.density.values[0, k] - exact)).sum() * grid.volume))
        estimate = run.error_estimate.values[0, 1:]
        smeared = run.attrs["numerical_diffusion"]
        print(f"eta {eta:g}, {cells} cells: numerical diffusion {smeared:.3g}, errors {errors}, estimate {estimate}")
        assert np.all(errors <= estimate)
    tight = fp.evolve(reverse, start, t_min=0.02, tol=1e-2, save_at=[0.02])
    exact = closed_form.cell_averages(reverse, start, 0.02, tight.fpsolve.grid)
    v = weights.evaluate(None, tight.fpsolve.grid)
    error = float((v * np.abs(tight.density.values[0, -1] - exact)).sum() * tight.fpsolve.grid.volume)
    print(f"eta {eta:g}, tol 1e-2: {tight.attrs['tol_met']}, error {error:.2e}, {tight.fpsolve.grid.shape}")
    assert error <= float(tight.error_estimate[0, -1])
    assert tight.attrs["tol_met"] == "yes"


def test_plain_total_variation_tells_numerical_diffusion_from_noise():
    starts = {"exact": fp.Reverse(GAUSS, fp.VP()).marginal(1.0), "far": fp.Gaussian(1.5, std=0.7)}
    grid, lost, physical = fp.Grid.uniform((-6, 6), cells=200), {}, {}
    for eta in (0.0, 0.02, 0.3):
        reverse = fp.Reverse(GAUSS, fp.VP(), eta=eta)
        run = fp.evolve(reverse, starts, grid=grid, steps=400, t_min=0.02, save_at=[0.02])
        distance = fp.forgetting_curve(run, weight=fp.UnitWeight()).distance.values[0]
        lost[eta] = 1.0 - distance[-1] / distance[0]
        truth = [
            closed_form.weighted_tv(reverse, *starts.values(), t, weight=fp.UnitWeight()).value for t in (1.0, 0.02)
        ]
        physical[eta] = 1.0 - truth[1] / truth[0]
    print("share of the total variation lost on 200 cells:", lost, "by the noise alone:", physical)
    assert abs(lost[0.0]) < 1e-8
    assert lost[0.02] > 3.0 * physical[0.02]
    assert abs(lost[0.3] - physical[0.3]) < 0.2 * physical[0.3]


def test_strong_churn_of_eta_squared_ten():
    reverse = fp.Reverse(GAUSS, fp.VP(), eta=10.0**0.5)
    start = fp.Gaussian(1.5, std=0.7)
    run = fp.evolve(reverse, start, t_min=0.02, tol=1e-5, save_at=[0.5, 0.02])
    exact = closed_form.cell_averages(reverse, start, 0.02, run.fpsolve.grid)
    error = np.abs(run.density.values[0, -1] - exact) * weights.evaluate(None, run.fpsolve.grid)
    assert run.attrs["tol_met"] == "yes"
    assert float(error.sum() * run.fpsolve.grid.volume) <= float(run.error_estimate[0, -1])


@pytest.mark.parametrize("eta", [1e-170, lambda t: 1e-155 + 0.0 * t, lambda t: 1.0 if t < 0.5 else 1e-200])
def test_eta_whose_square_is_no_number_is_none(eta):
    """Means and variances of Gaussians by quadrature of the drift's slope: p_t and what is left of the start."""
    process, m, s = fp.VP(), 0.3, 0.7
    reverse = fp.Reverse(fp.Gaussian(m, std=s), process, eta=eta)
    grid = fp.Grid.uniform((-7.0, 7.0), cells=160)
    run = fp.evolve(reverse, {"prior": fp.Gaussian(0.0, std=1.0)}, t_min=0.05, grid=grid, steps=120)

    def spread(t):
        return (s * process.scale(0.0, t)) ** 2 + process.variance(0.0, t)

    def slope(t):
        noise = (eta(t) if callable(eta) else eta) ** 2
        return -process.drift_rate(t) - 0.5 * (1.0 + noise) * process.diffusion(t) ** 2 / spread(t)

    c = np.exp(quad(slope, 0.05, 1.0, points=[0.5], epsabs=1e-12)[0])
    mean, v = m * (process.scale(0.0, 0.05) - c * process.scale(0.0, 1.0)), spread(0.05)
    law = fp.Gaussian(mean, std=float(np.sqrt(v + c**2 * (1.0 - spread(1.0)))))
    off = np.sum((1.0 + grid.x**2) * np.abs(run.density.values[0, -1] - grid.cell_average(law))) * grid.volume
    assert off < float(run.error_estimate[0, -1]) < 0.05

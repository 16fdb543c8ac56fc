"""A user's times equal the times they are meant to equal, whatever their last digits; times meant apart stay apart."""

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import _times, samplers

DATA, START = fp.Gaussian(0.5, std=0.5), fp.Gaussian(0.0, std=1.0)


def vp_moments(process, mean, std, t):
    """Mean and standard deviation of the reverse law at t from N(mean, std^2) at T, by Bayes' rule for normal laws."""
    scale, noise = (float(f(t, process.T)) for f in (process.scale, process.variance))
    own = float(process.scale(0.0, t)) ** 2 * 0.25 + float(process.variance(0.0, t))
    centre = 0.5 * float(process.scale(0.0, t))
    last = scale**2 * own + noise
    gain = own * scale / last
    return centre + gain * (mean - scale * centre), np.sqrt(own - gain * scale * own + (gain * std) ** 2)


@pytest.fixture(scope="module")
def reverse():
    return fp.Reverse(DATA, fp.VP())


@pytest.mark.parametrize(
    "save_at",
    [
        np.arange(1.0, 0.05, -0.1),
        np.arange(1.0, 0.05, -0.1, dtype=np.float32),
        1.0 - np.cumsum([0.0] + 9 * [0.1]),
        np.linspace(1.0, 0.1, 10).astype(np.float32),
        [*np.arange(1.0, 0.25, -0.1), 0.3, 0.1 + 0.2, 0.2, 0.1, np.nextafter(0.1, 1.0), np.nextafter(1.0, 0.0)],
    ],
    ids=["arange", "arange32", "cumsum", "linspace32", "pairs"],
)
def test_save_times_one_rounding_error_off_are_the_times_they_equal(reverse, save_at):
    grid = fp.Grid.uniform((-6, 6), cells=200)
    starts = {"exact": reverse.marginal(1.0), "prior": fp.Gaussian(0.3, std=1.2)}
    run = fp.evolve(reverse, starts, grid=grid, steps=180, t_min=0.1, save_at=save_at, progress=False)
    assert run.sizes["t"] == 10
    assert run.t.values[0] == 1.0 and run.t.values[-1] == 0.1
    np.testing.assert_allclose(run.t.values, np.linspace(1.0, 0.1, 10), rtol=1e-5)
    run.sel(t=0.1), run.sel(t=1.0)
    # the rate of -log ||p - q||_V from the moments of two normal laws, by quadrature on a fine line
    x = np.linspace(-9.0, 9.0, 20001)

    def distance(t):
        if t == 1.0:
            laws = [(0.5 * float(reverse.process.scale(0.0, 1.0)), 1.0), (0.3, 1.2)]
            v = float(reverse.process.scale(0.0, 1.0)) ** 2 * 0.25 + float(reverse.process.variance(0.0, 1.0))
            laws[0] = (laws[0][0], np.sqrt(v))
        else:
            m0 = 0.5 * float(reverse.process.scale(0.0, t))
            v0 = float(reverse.process.scale(0.0, t)) ** 2 * 0.25 + float(reverse.process.variance(0.0, t))
            laws = [(m0, np.sqrt(v0)), vp_moments(reverse.process, 0.3, 1.2, t)]
        p, q = (np.exp(-0.5 * ((x - m) / s) ** 2) / (s * np.sqrt(2 * np.pi)) for m, s in laws)
        return np.trapezoid((1 + x**2) * np.abs(p - q), x)

    times = np.linspace(1.0, 0.1, 10)
    logs = np.log([distance(float(t)) for t in times])
    right = -np.gradient(logs, 1.0 - times, edge_order=2)
    curve = fp.forgetting_curve(run)
    np.testing.assert_allclose(curve.rate.values.ravel(), right, rtol=2e-2, atol=0.02)


def test_two_notations_of_a_time_are_one_with_tol_and_under_the_shorter_name(reverse):
    run = fp.evolve(reverse, START, t_min=0.1, tol=1e-2, save_at=[0.1 + 0.2, 0.3, 0.5], progress=False)
    assert run.t.values.tolist() == [1.0, 0.5, 0.3, 0.1]


@pytest.mark.parametrize("gap", [1e-4, 1e-6, 1e-8])
def test_times_meant_to_be_different_stay_so(reverse, gap):
    run = fp.evolve(reverse, START, t_min=0.1, tol=1e-2, save_at=[0.31, 0.31 + gap], progress=False)
    assert run.t.values.tolist() == [1.0, 0.31 + gap, 0.31, 0.1]
    assert np.isfinite(run.density).all()


@pytest.mark.parametrize("dtype", [float, np.float32])
@pytest.mark.parametrize("n", [18, 256])
def test_karras_levels_begin_and_end_where_they_should(dtype, n):
    seventh = dtype(1 / 7)
    ramp = np.linspace(0, 1, n, dtype=dtype)
    levels = (dtype(80) ** seventh + ramp * (dtype(0.002) ** seventh - dtype(80) ** seventh)) ** dtype(7)
    assert levels[0] != 80.0 or levels[-1] != 0.002
    edm = fp.Reverse(DATA, fp.EDM())
    assert _times.saves("save_at", levels, 0.002, 80.0)[[0, -1]].tolist() == [0.002, 80.0]
    steps = _times.decreasing("times", levels, edm.horizon)
    assert steps.size == n and steps[0] == 80.0
    cloud = fp.particles.simulate(edm, fp.EDM().prior(), n=20, seed=0, times=levels)
    assert float(cloud.t[0]) == 80.0


def test_step_grids_end_at_zero_and_do_not_stand_still():
    steps = np.arange(1.0, -0.05, -0.1)
    assert steps[-1] != 0.0
    assert _times.decreasing("times", steps, 1.0)[-1] == 0.0
    assert _times.decreasing("times", [1.0, 0.1 + 0.2, 0.3, 0.1], 1.0).tolist() == [1.0, 0.3, 0.1]
    made = samplers.step("ddpm", fp.VP(), 1.0, np.nextafter(1.0, 2.0), steps[-1])
    assert (made.t_from, made.t_to) == (1.0, 0.0)
    with pytest.raises(ValueError, match=r"t_to: expected a time below t_from = 0\.3, got 0\.299"):
        samplers.step("ddpm", fp.VP(), 1.0, 0.3, np.nextafter(0.3, 0.0))


def test_a_horizon_in_float32_and_times_in_float64_belong_together():
    T = np.float32(0.7)
    process = fp.VP(T=float(T))
    reverse = fp.Reverse(DATA, process)
    grid = fp.Grid.uniform((-5, 5), cells=60)
    run = fp.evolve(reverse, START, grid=grid, steps=20, t_min=0.1, save_at=[0.7, 0.4], progress=False)
    assert run.t.values.tolist() == [float(T), 0.4, 0.1]
    assert fp.kernels.exact(reverse, grid, 0.7 + 1e-8, 0.1).t0 == float(T)


def test_a_jump_of_the_noise_one_rounding_error_from_an_end_is_no_segment():
    def eta(t):
        return 1.0 if t < 0.5 else 0.7

    eta.breaks = (0.5, np.nextafter(1.0, 0.0), 0.1 + 1e-17, np.nextafter(0.1, 1.0))
    reverse = fp.Reverse(DATA, fp.VP(), eta=eta)
    grid = fp.Grid.uniform((-5, 5), cells=60)
    run = fp.evolve(reverse, START, grid=grid, steps=20, t_min=0.1, save_at=[0.5 + 1e-16, 0.3], progress=False)
    assert run.t.values.tolist() == [1.0, 0.5, 0.3, 0.1]


def test_messages_have_the_digits_that_tell_a_limit_from_what_came(reverse):
    with pytest.raises(ValueError, match=r"save_at: expected forward times in \[0\.02, 1\], got 0\.0199999") as caught:
        fp.evolve(reverse, START, t_min=0.02, tol=1e-2, save_at=[0.5, 0.0199999], progress=False)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"t: expected forward times in \[0, T=1\], got 1\.0000001"):
        fp.VP().scale(0.0, 1.0000001)
    with pytest.raises(ValueError, match=r"times: expected at least two decreasing .* got 0\.5 before 0\.7"):
        fp.decomposition.errors(
            reverse, "ddpm", start=START, grid=fp.Grid.uniform((-6, 6), cells=40), times=[1.0, 0.5, 0.7]
        )


def test_particles_and_run_meet_at_times_computed_twice(reverse):
    grid = fp.Grid.uniform((-6, 6), cells=120)
    run = fp.evolve(reverse, START, grid=grid, steps=60, t_min=0.1, save_at=[0.1 + 0.2], progress=False)
    cloud = fp.particles.simulate(
        reverse, START, n=2000, seed=1, steps=60, t_min=0.1, save_at=np.float32([0.3, 0.1]), histogram=run
    )
    compared = fp.particles.compare(run, cloud, start="start", at=[0.3, np.float32(0.1)])
    assert compared.sizes["t"] == 2
    with pytest.raises(ValueError, match=r"at: expected times saved in run and cloud, got 0\.2"):
        fp.particles.compare(run, cloud, start="start", at=[0.3, 0.2])


def test_empty_and_unfit_arguments_get_one_sentence():
    assert _times.within("t", [], 1.0).shape == (0,)
    with pytest.raises(ValueError, match="save_at: expected at least one forward time, got none"):
        _times.saves("save_at", [], 0.1, 1.0)
    with pytest.raises(ValueError, match=r"t: expected forward times in \[0, T=1\], got 1.5"):
        _times.within("t", [0.0, 1.5], 1.0)
    assert _times.places([0.3, 0.4], [0.5, 0.1 + 0.2], 1.0).tolist() == [1, -1]
    assert _times.places([0.3], [], 1.0).tolist() == [-1]

"""The ends of a process: nothing left of the data at T, no noise at 0, and churn beyond T."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import fpsolve as fp
from fpsolve import samplers
from fpsolve.processes import Process

MIX = fp.GaussianMixture(weights=[0.4, 0.6], means=[-1.0, 1.0], stds=[0.3, 0.4])
GRID = fp.Grid.uniform((-6, 6), cells=240)
NAMES = ("euler-maruyama", "exponential-integrator", "ddpm", "ddim", "heun", "edm")


@dataclass(frozen=True)
class Flow(Process):
    """``alpha = 1 - t``, ``s = t``: the interpolation of rectified flows, as a user would write it."""

    T: float = 1.0

    def drift_rate(self, t):
        with np.errstate(divide="ignore"):
            return -1.0 / (1.0 - self._time(t))

    def diffusion(self, t):
        t = self._time(t)
        with np.errstate(divide="ignore"):
            return np.sqrt(2.0 * t / (1.0 - t))

    def scale(self, s, t):
        s, t = self._interval(s, t)
        return np.where(s == t, 1.0, (1.0 - t) / np.where(s < 1.0, 1.0 - s, 1.0))[()]

    def variance(self, s, t):
        s, t = self._interval(s, t)
        return np.asarray(t**2 - np.square(self.scale(s, t)) * s**2)[()]

    @property
    def prior_std(self):
        return 1.0


def mixture_at(t, x, process):
    """Density and score of p_t by sums over the components."""
    scale, noise = float(process.scale(0.0, t)), float(process.variance(0.0, t))
    x = np.asarray(x, dtype=float)[..., None]
    variances = scale**2 * np.square([0.3, 0.4]) + noise
    means = scale * np.array([-1.0, 1.0])
    parts = np.array([0.4, 0.6]) * np.exp(-0.5 * (x - means) ** 2 / variances) / np.sqrt(2 * np.pi * variances)
    return parts.sum(-1), (parts * (means - x) / variances).sum(-1) / parts.sum(-1)


def test_a_process_with_nothing_left_at_its_end_is_refused_with_the_way_out():
    sentence = r"process: expected scale\(0, T\) > 0: .* got 0; give it as fpsolve\.GaussianPath\(.*, T=1\), or end it "
    sentence += r"at T = 0\.999 say"
    for make in (lambda: fp.Reverse(MIX, Flow()), lambda: fp.Forward(Flow())):
        with pytest.raises(ValueError, match=sentence) as caught:
            make()
        assert "\n" not in str(caught.value)
    for name in NAMES:
        with pytest.raises(ValueError, match=r"t_from: expected a time at which .* got 1, where no data"):
            samplers.step(name, Flow(), 1.0, 1.0, 0.9)
        made = samplers.step(name, Flow(), 1.0, 0.999, 0.9)
        assert np.isfinite(made.move(lambda t, x: -x, np.array([0.5]))).all()


def test_the_way_out_is_good():
    # P_{T -> t}(y, .) = p_t at alpha = 0: of a start N(0, 1) at T = 0.999 next to nothing is left
    reverse = fp.Reverse(MIX, Flow(T=0.999))
    kernel = fp.kernels.exact(reverse, GRID, 0.999, 0.3)
    truth = GRID.cell_average(lambda x: mixture_at(0.3, x, reverse.process)[0])
    moved = kernel.push(GRID.cell_average(fp.Gaussian(0.0, std=1.0)))
    assert np.sum(np.abs(moved - truth)) * GRID.volume < 2e-3
    run = fp.evolve(reverse, fp.Gaussian(0.0, std=1.0), t_min=0.1, tol=1e-3, progress=False)
    grid = run.fpsolve.grid
    truth = grid.cell_average(lambda x: mixture_at(0.1, x, reverse.process)[0])
    assert np.sum(np.abs(run.density.values[0, -1] - truth)) * grid.volume < 2e-3


def test_scale_that_underflows_is_no_division_by_zero():
    # exp(-800) is 0: kernels forget everything, steps that divide by it say so
    process = fp.OrnsteinUhlenbeck(T=800.0)
    reverse = fp.Reverse(MIX, process)
    moved = fp.kernels.exact(reverse, GRID, 800.0, 1.0).push(GRID.cell_average(fp.Gaussian(1.0, std=0.5)))
    np.testing.assert_allclose(moved, GRID.cell_average(lambda x: mixture_at(1.0, x, process)[0]), atol=1e-8)
    for name in ("heun", "edm"):
        with pytest.raises(ValueError, match=r"t_from: expected a time at which scale\(0, t\) > 0, got 800"):
            fp.kernels.sampler(name, reverse, GRID, 800.0, 799.0)
    assert samplers.step("ddpm", process, 1.0, 800.0, 799.0).linear == pytest.approx(math.e)


def test_a_flow_model_knows_its_score_where_no_data_are_left():
    process = Flow()

    def velocity(t, x):
        if t == 1.0:
            return x - 0.2  # -E x_0 + E[eps | x]
        score = mixture_at(t, x, process)[1]
        noise = -t * score
        return -(x + t**2 * score) / (1.0 - t) + noise

    score = fp.scores.from_flow_velocity(velocity, process)
    assert float(score(1.0, 0.7)) == pytest.approx(-0.7)
    assert float(score(0.5, 0.7)) == pytest.approx(float(mixture_at(0.5, 0.7, process)[1]), rel=1e-10)


def flowed(process, t0, t1, faces):
    """Faces carried by the probability flow from t0 to t1 by scipy, down to where next to nothing is left."""
    last = t1 if t1 > 0.0 else 1e-10 * t0

    def slope(t, x):
        a, g = float(process.drift_rate(t)), float(process.diffusion(t))
        return a * x - 0.5 * g**2 * mixture_at(t, x, process)[1]

    return solve_ivp(slope, (t0, last), faces, rtol=1e-10, atol=1e-12, method="LSODA").y[:, -1]


@pytest.mark.parametrize("process", [fp.VP(), fp.EDM(), fp.VE(), Flow(T=0.9)], ids=["vp", "edm", "ve", "flow"])
def test_the_error_of_a_deterministic_sampler_down_to_the_data(process):
    reverse = fp.Reverse(MIX, process, eta=0.0)
    start = reverse.marginal(0.5)
    times = [0.5, 0.25, 0.1, 0.0]
    found = fp.decomposition.errors(reverse, "heun", start=start, grid=GRID, times=times, weight=fp.UnitWeight())
    # the last term: mu (K - P) of the last step, both by moving faces, P by scipy
    assert float(found.reference_error[-1]) < 2e-4
    np.testing.assert_allclose(found.closure, 0.0, atol=1e-12)
    faces = np.linspace(-3.0, 3.0, 1201)
    mapped = flowed(process, 0.1, 0.0, faces)
    step = samplers.step("heun", process, 0.0, 0.1, 0.0)
    shifted = step.move(lambda t, x: mixture_at(t, x, process)[1], faces)
    middles, mass = 0.5 * (faces[1:] + faces[:-1]), np.diff(faces)
    mass = mass * mixture_at(0.1, middles, process)[0]
    # densities of both images on a common grid, from p_0.1; the sampler's own start differs little
    out = np.linspace(-2.5, 2.5, 121)
    cumulative = np.append(0.0, np.cumsum(mass))
    exact, sampled = (np.diff(np.interp(out, image, cumulative)) for image in (mapped, shifted))
    assert float(np.abs(exact - sampled).sum()) == pytest.approx(
        float(found.local.sel(source="discretization")[-1]), rel=0.25, abs=3e-3
    )


@pytest.mark.parametrize("law", [fp.Uniform(-1.0, 1.0), fp.Laplace(0.0, scale=0.5)], ids=["uniform", "laplace"])
def test_data_with_edges_are_reached_too(law):
    reverse = fp.Reverse(law, fp.VP(), eta=0.0)
    found = fp.decomposition.errors(reverse, "ddim", start=reverse.marginal(0.5), grid=GRID, times=[0.5, 0.2, 0.0])
    assert float(found.reference_error[-1]) < 5e-3


def test_every_step_down_to_zero_is_finite_for_every_law():
    for law in (MIX, fp.Uniform(-1.0, 1.0), fp.PointMass(0.2)):
        for process in (fp.VP(), fp.EDM(), fp.SubVP(), Flow(T=0.9)):
            score = fp.scores.exact(law, process)
            for name in NAMES:
                moved = samplers.step(name, process, 1.0, 0.1, 0.0).move(score, np.array([0.3, -0.1]))
                assert np.isfinite(moved).all()


CHURN = dict(churn=40.0, steps=10)


def karras_step(score, t0, t1, x, rng):
    """Algorithm 2 of Karras et al. for one step, as k-diffusion writes it."""
    gamma = min(CHURN["churn"] / CHURN["steps"], math.sqrt(2.0) - 1.0)
    top = t0 * (1.0 + gamma)
    x = x + math.sqrt(top**2 - t0**2) * rng.standard_normal(x.shape)
    slope = -top * score(top, x)
    end = x + (t1 - top) * slope
    return x + (t1 - top) * 0.5 * (slope - t1 * score(t1, end))


def test_churn_at_the_highest_level_goes_beyond_it():
    data = fp.Gaussian(0.5, std=0.5)
    reverse = fp.Reverse(data, fp.EDM())
    made = samplers.step("edm", reverse.process, 1.0, 80.0, 60.0, **CHURN)
    assert made.t_top == pytest.approx(80.0 * math.sqrt(2.0)) and made.t_from == 80.0

    def score(t, x):
        return -(x - 0.5) / (0.25 + t**2)

    # every step is affine: the law of the kernel is normal, with the moments of Algorithm 2
    grid = fp.Grid.uniform((-600, 600), cells=600)
    kernel = fp.kernels.sampler("edm", reverse, grid, 80.0, 60.0, **CHURN)
    q = kernel.push(grid.cell_average(fp.Gaussian(3.0, std=70.0)))
    first, second = karras_step(score, 80.0, 60.0, np.array([0.0, 1.0]), _NoNoise())
    gain, shift = second - first, first
    spread = gain * math.sqrt(70.0**2 + 80.0**2)
    x = grid.x
    exact = np.exp(-0.5 * ((x - shift - 3.0 * gain) / spread) ** 2) / (spread * math.sqrt(2.0 * math.pi))
    assert np.abs(q - exact).sum() * grid.volume < 1e-3
    # the same against particles, chi-square on 30 cells
    rng = np.random.default_rng(0)
    y = karras_step(score, 80.0, 60.0, 3.0 + 70.0 * rng.standard_normal(200_000), rng)
    faces = np.linspace(-300.0, 300.0, 31)
    counts = np.histogram(y, faces)[0]
    mass = np.append(0.0, np.cumsum(q)) * grid.volume
    expected = np.diff(np.interp(faces, grid.faces, mass)) * len(y)
    assert np.sum((counts - expected) ** 2 / expected) < 70.0


class _NoNoise:
    def standard_normal(self, shape):
        return np.zeros(shape)


@pytest.mark.parametrize(
    "process", [fp.EDM(), fp.VE(), fp.VP(), fp.VP(curvature=2.0), fp.SubVP(), fp.OrnsteinUhlenbeck(T=2.0)]
)
def test_a_longer_process_is_the_same_diffusion(process):
    T = 1.25 * process.T
    longer = process.longer(T)
    t = np.linspace(0.1, 1.0, 7) * process.T
    for name in ("drift_rate", "diffusion"):
        np.testing.assert_allclose(getattr(longer, name)(t), getattr(process, name)(t), rtol=1e-12)
    for name in ("scale", "variance"):
        np.testing.assert_allclose(getattr(longer, name)(0.05 * T, t), getattr(process, name)(0.05 * T, t), rtol=1e-12)
    assert longer.T == T


def test_churn_that_leaves_a_process_nobody_knows_beyond_its_end_is_refused():
    with pytest.raises(ValueError, match=r"churn: expected a noise level after the churn of at most 9, that of T, got"):
        samplers.step("edm", Flow(T=0.9), 1.0, 0.9, 0.5, **CHURN)
    with pytest.raises(ValueError, match=r"^churn: "):
        samplers.step("edm", fp.VP(beta_min=20.0, beta_max=0.1), 1.0, 1.0, 0.5, **CHURN)
    # one rounding error above T is T
    made = samplers.step("edm", fp.EDM(), 1.0, np.nextafter(80.0, 81.0), 60.0)
    assert (made.t_from, made.t_top) == (80.0, 80.0)
    made = samplers.step("edm", fp.EDM(), 1.0, np.float32(80.0000076), 60.0, churn=0.5, steps=100, s_max=70.0)
    assert made.t_top == 80.0


def test_the_decomposition_of_a_churn_at_the_highest_level():
    data = fp.Gaussian(0.5, std=0.5)
    reverse = fp.Reverse(data, fp.EDM(0.01, 5.0))
    grid = fp.Grid.uniform((-40, 40), cells=800)
    found = fp.decomposition.errors(
        reverse, "edm", start=reverse.marginal(5.0), grid=grid, times=[5.0, 3.0, 1.0], churn=4.0, weight=fp.UnitWeight()
    )
    # from the marginal the exact chain stays on the marginals, churn beyond T included
    assert float(found.reference_error.max()) < 1e-5
    # the sampler's law is normal: two affine steps of Algorithm 2, gamma = sqrt(2) - 1
    mean, variance = 0.5, 0.25 + 25.0
    for t0, t1 in ((5.0, 3.0), (3.0, 1.0)):
        top = math.sqrt(2.0) * t0

        def drift(t, x):
            return t * (x - 0.5) / (0.25 + t**2)

        def heun(x, top=top, t1=t1, drift=drift):
            end = x + (t1 - top) * drift(top, x)
            return x + 0.5 * (t1 - top) * (drift(top, x) + drift(t1, end))

        gain = heun(1.0) - heun(0.0)
        mean, variance = heun(0.0) + gain * mean, gain**2 * (variance + top**2 - t0**2)
    x = np.linspace(-30.0, 30.0, 60001)
    p, q = (np.exp(-0.5 * (x - m) ** 2 / v) / math.sqrt(2 * math.pi * v) for m, v in ((0.5, 1.25), (mean, variance)))
    assert found.attrs["total"] == pytest.approx(float(np.trapezoid(np.abs(p - q), x)), abs=2e-4)


def test_models_are_asked_beyond_the_highest_level_too():
    data, process = fp.Gaussian(0.5, std=0.5), fp.EDM()
    truth = fp.scores.exact(data, process)
    top = 80.0 * math.sqrt(2.0)
    models = {
        "perturbed": fp.scores.perturbed(truth, fp.scores.errors.Bias(0.0)),
        "noise": fp.scores.from_noise_prediction(lambda t, x: t * (x - 0.5) / (0.25 + t**2), process),
        "flow": fp.scores.from_flow_velocity(lambda t, x: t * (x - 0.5) / (0.25 + t**2), process),
    }
    for score in (truth, *models.values()):
        assert float(score(top, 30.0)) == pytest.approx(-29.5 / (0.25 + top**2), rel=1e-9)
    # further out nobody is asked by a churn: a level in place of a time is still refused
    with pytest.raises(ValueError, match=r"t: expected forward times in \[0, T=80\]"):
        truth(150.0, 30.0)
    with pytest.raises(ValueError, match=r"t: expected forward times in \[0, T=1\]"):
        fp.scores.exact(data, fp.VP())(1.5, 0.0)

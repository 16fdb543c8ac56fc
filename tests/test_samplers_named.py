"""Samplers by the names of diffusers, k-diffusion and the papers, against recursions in other variables.

The recursions are written here for Gaussian data in ``y = x/alpha`` and ``sigma = s/alpha``, where every variance
preserving process is the same: ``D(y, sigma) = m + v (y - m)/(v + sigma^2)``; nothing of the package enters.
"""

import math
from itertools import pairwise

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import kernels, particles, samplers
from fpsolve.samplers import Composed, grids

MEAN, VARIANCE = 0.6, 0.3
VP = fp.VP()
GAUSS = fp.Reverse(fp.Gaussian(MEAN, cov=VARIANCE), VP, eta=0.0)
LINE = fp.Grid.uniform((-7, 7), cells=400)
COARSE = fp.Grid.uniform((-7, 7), cells=200)
TWO = np.array([0.0, 1.0])


def level(t):
    """The noise level of the linear VP schedule."""
    return np.sqrt(np.expm1(0.1 * t + 0.5 * 19.9 * np.square(t)))


def scale(t):
    return np.exp(-0.5 * (0.1 * t + 0.5 * 19.9 * np.square(t)))


def clean(y, sigma):
    return MEAN + VARIANCE * (y - MEAN) / (VARIANCE + sigma**2)


def noise(y, sigma):
    return (y - clean(y, sigma)) / sigma


def euler(levels, y):
    for a, b in pairwise(levels):
        y = y + (b - a) * noise(y, a)
    return y


def heun(levels, y):
    for a, b in pairwise(levels):
        first = noise(y, a)
        y = y + 0.5 * (b - a) * (first + noise(y + (b - a) * first, b))
    return y


def dpm_2(levels, y):
    for a, b in pairwise(levels):
        c = math.sqrt(a * b)
        y = y + (b - a) * noise(y + (c - a) * noise(y, a), c)
    return y


def dpmpp_2s(levels, y):
    for a, b in pairwise(levels):
        c = math.sqrt(a * b)
        middle = c / a * y + (1 - c / a) * clean(y, a)
        y = b / a * y + (1 - b / a) * clean(middle, c)
    return y


def dpmpp_2m(levels, y):
    last = None
    for k, (a, b) in enumerate(pairwise(levels)):
        found = clean(y, a)
        mean = found
        if k:
            r = math.log(levels[k - 1] / a) / math.log(a / b)
            mean = (1 + 1 / (2 * r)) * found - last / (2 * r)
        y, last = b / a * y + (1 - b / a) * mean, found
    return y


def dpmpp_3m(levels, y):
    """In the phi functions of k-diffusion and diffusers."""
    seen = []
    for k, (a, b) in enumerate(pairwise(levels)):
        h = math.log(a / b)
        seen.insert(0, clean(y, a))
        y = b / a * y + (1 - b / a) * seen[0]
        phi_2 = math.expm1(-h) / h + 1.0
        if k == 1:
            y = y + 0.5 * (1 - b / a) * (seen[0] - seen[1]) * h / math.log(levels[0] / levels[1])
        if k > 1:
            r0, r1 = (math.log(levels[k - 1 - i] / levels[k - i]) / h for i in range(2))
            d0, d1 = (seen[0] - seen[1]) / r0, (seen[1] - seen[2]) / r1
            first = d0 + r0 / (r0 + r1) * (d0 - d1)
            y = y + phi_2 * first - (phi_2 / h - 0.5) * (d0 - d1) / (r0 + r1)
    return y


def unipc(levels, y):
    """Algorithms 1 and 2 of Zhao et al. for data, p = 2, the system of their equation (5) solved."""
    outs, corrected = [], []
    for k, (a, b) in enumerate(pairwise(levels)):
        outs.append(clean(y, a))
        if k:
            y = corrected[-1] * a / levels[k - 1] + (1 - a / levels[k - 1]) * outs[k - 1]
            h = -math.log(levels[k - 1] / a)
            phi = [math.expm1(h) / h - 1.0]
            phi.append(phi[0] / h - 0.5)
            if k == 1:
                y = y + 0.5 * (1 - a / levels[0]) * (outs[1] - outs[0])
            else:
                r = math.log(levels[k - 2] / levels[k - 1]) / h
                rhos = np.linalg.solve([[1, 1], [r, 1]], [phi[0] / math.expm1(h), 2 * phi[1] / math.expm1(h)])
                change = rhos[0] * (outs[k - 2] - outs[k - 1]) / r + rhos[1] * (outs[k] - outs[k - 1])
                y = y - math.expm1(h) * change
        corrected.append(y)
        mean = outs[k]
        if k:
            mean = mean + 0.5 * math.log(a / b) / math.log(levels[k - 1] / a) * (outs[k] - outs[k - 1])
        y = b / a * y + (1 - b / a) * mean
    return y


def lms(levels, y):
    slopes = []
    for k, (a, b) in enumerate(pairwise(levels)):
        slopes.append(noise(y, a))
        known = range(max(0, k - 3), k + 1)
        for j in known:
            basis = np.poly1d([1.0])
            for i in known:
                if i != j:
                    basis = basis * np.poly1d([1.0, -levels[i]]) / (levels[j] - levels[i])
            whole = basis.integ()
            y = y + (whole(b) - whole(a)) * slopes[j]
    return y


def plms(levels, y):
    seen = []
    for k, (a, b) in enumerate(pairwise(levels)):
        seen.insert(0, noise(y, a))
        if k == 0:
            mean = 0.5 * (seen[0] + noise(y + (b - a) * seen[0], b))
        elif k == 1:
            mean = (3 * seen[0] - seen[1]) / 2
        elif k == 2:
            mean = (23 * seen[0] - 16 * seen[1] + 5 * seen[2]) / 12
        else:
            mean = (55 * seen[0] - 59 * seen[1] + 37 * seen[2] - 9 * seen[3]) / 24
        y = y + (b - a) * mean
    return y


RECURSIONS = {
    "ddim": euler, "euler": euler, "flow-match-euler": euler, "heun": heun, "edm": heun, "dpm-solver-2": dpm_2,
    "dpm-solver++(2s)": dpmpp_2s, "dpm-solver++(2m)": dpmpp_2m, "dpm-solver++(3m)": dpmpp_3m, "unipc": unipc,
    "lms": lms, "plms": plms,
}  # fmt: skip
MEMORIES = tuple(name for name in samplers.names() if samplers.SAMPLERS[name].memory)


def recursion(name, times):
    """Intercept and slope of the whole run as a map of x_T."""
    images = scale(times[-1]) * RECURSIONS[name](level(times).tolist(), TWO / scale(times[0]))
    return images[0], images[1] - images[0]


def test_the_names_are_those_that_practitioners_use():
    asked = """euler euler-ancestral ddpm ddim heun edm dpm-solver-2 dpm-solver++(2s) dpm-solver++(2m) dpm-solver++(3m)
        sde-dpm-solver++(2m) unipc lms plms flow-match-euler euler-maruyama exponential-integrator
        predictor-corrector"""
    assert set(samplers.names()) == set(asked.split())
    deterministic = {name for name in samplers.names() if samplers.get(name).deterministic}
    assert deterministic == set(RECURSIONS) - {"ddim"} and samplers.get("ddim", eta=0.0).deterministic
    assert not samplers.get("edm", churn=1.0).deterministic


@pytest.mark.parametrize("name", RECURSIONS)
def test_ten_steps_on_gaussian_data_are_the_recursion(name):
    """As a map, mean and standard deviation to 1e-8; the kernel of the run has the same."""
    for times in (np.linspace(1.0, 0.05, 11), grids.karras(10, VP, t_min=0.02)):
        shift, slope = recursion(name, times)
        run = Composed(samplers.steps(samplers.get(name), GAUSS, times))
        at = run.move(GAUSS.score, TWO)
        assert run.deterministic and at == pytest.approx([shift, shift + slope], abs=1e-9)
    kernel = kernels.sampler(name, GAUSS, LINE, times[0], times[-1], times=times)
    q = kernel.push(LINE.cell_average(fp.Gaussian(0.2, std=0.9)))
    m = float((q * LINE.x).sum() * LINE.volume)
    std = math.sqrt(float((q * (LINE.x - m) ** 2).sum() * LINE.volume) - LINE.spacing[0] ** 2 / 12)
    assert (m, std) == pytest.approx((shift + 0.2 * slope, 0.9 * abs(slope)), abs=1e-8)


@pytest.mark.parametrize("name", [*RECURSIONS, "parabola"])
def test_orders_are_those_of_the_papers(name):
    """From noise, against the flow ``x_t - m_t = (std_t/std_T) (x_T - m_T)``, at equal numbers of evaluations."""
    errors = []
    method = samplers.get(name) if name != "parabola" else samplers.get("dpm-solver++(3m)", parabola=True)
    for evaluations in (160, 320):
        times = grids.log_snr(evaluations // method.evaluations, VP, t_min=0.05)
        at = Composed(samplers.steps(method, GAUSS, times)).move(GAUSS.score, TWO)
        stds = scale(times) * np.sqrt(VARIANCE + level(times) ** 2)
        errors.append(abs(at[1] - at[0] - stds[-1] / stds[0]))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(method.order, abs=0.2)


@pytest.mark.parametrize("name", RECURSIONS)
def test_evaluations_are_counted(name):
    calls = []
    method = samplers.get(name)

    def counted(t, x):
        calls.append(t)
        return GAUSS.score(t, x)

    Composed(samplers.steps(method, GAUSS, np.linspace(1.0, 0.1, 8))).move(counted, TWO)
    assert len(calls) == 7 * method.evaluations + (name == "plms")


@pytest.mark.parametrize("name", [*RECURSIONS, "sde-dpm-solver++(2m)", "predictor-corrector"])
def test_the_last_step_goes_to_clean_data(name):
    """To t = 0 every method is finite, and the ones of predicted data end in the prediction."""
    times = [0.5, 0.3, 0.1, 0.0]
    run = Composed(samplers.steps(samplers.get(name), GAUSS, times))
    reached = run.draw(GAUSS.score, TWO, np.random.default_rng(0))
    assert np.isfinite(reached).all()
    if name in ("dpm-solver++(2m)", "dpm-solver++(3m)", "dpm-solver++(2s)"):
        y = RECURSIONS[name](level(np.array(times[:-1])).tolist(), TWO / scale(0.5))
        assert reached == pytest.approx(clean(y, level(0.1)), abs=1e-10)


@pytest.mark.parametrize("process", [fp.VP(), fp.EDM(), fp.RectifiedFlow()], ids=["vp", "edm", "flow"])
def test_one_map_under_several_names(process):
    mix = fp.GaussianMixture([0.4, 0.6], [-1.0, 1.0], stds=[0.3, 0.4])
    score, x = fp.scores.exact(mix, process), np.linspace(-3.0, 3.0, 13)
    t, u = 0.7 * process.T, 0.4 * process.T
    alpha, end = process.scale(0.0, t), process.scale(0.0, u)
    s, s_end = np.sqrt(process.variance(0.0, t)), np.sqrt(process.variance(0.0, u))
    e = -s * score(t, x)
    x_0 = (x - s * e) / alpha
    # Song et al., equation (12) without noise; Euler in x/alpha over s/alpha; Euler along eps - x_0
    expected = {"ddim": end * x_0 + s_end * e, "euler": end * (x / alpha + (s_end / end - s / alpha) * e)}
    expected["flow-match-euler"] = x + (s_end - s) * (e - x_0) if isinstance(process, fp.RectifiedFlow) else None
    for name, image in expected.items():
        moved = samplers.step(name, process, 0.0, t, u).move(score, x)
        np.testing.assert_allclose(moved, expected["ddim"], rtol=1e-12, atol=1e-12)
        if image is not None:
            np.testing.assert_allclose(moved, image, rtol=1e-12, atol=1e-12)
    # Euler ancestral of k-diffusion: down to sigma_down, noise up
    sigma, sigma_end = s / alpha, s_end / end
    up = math.sqrt(sigma_end**2 * (sigma**2 - sigma_end**2) / sigma**2)
    down = math.sqrt(sigma_end**2 - up**2)
    for name in ("euler-ancestral", "ddpm"):
        made = samplers.step(name, process, 0.3, t, u)
        np.testing.assert_allclose(made.move(score, x), end * (x / alpha + (down - sigma) * e), rtol=1e-12, atol=1e-12)
        assert made.std_after == pytest.approx(end * up, rel=1e-12)
    assert samplers.step("ddpm", process, 1.0, t, u, variance="fixed_small").std == made.std_after
    large = samplers.step("ddpm", process, 1.0, t, u, variance="fixed_large")
    assert large.std**2 == pytest.approx(process.variance(u, t), rel=1e-12)
    assert samplers.get("euler-ancestral", eta=0.0).step(process, 0.0, t, u).std == 0.0


FROM_NOISE = [name for name in samplers.names() if samplers.SAMPLERS[name].from_noise]


@pytest.mark.parametrize("name", FROM_NOISE)
def test_predicted_data_step_from_where_none_are_left(name):
    """At alpha = 0 the data predicted are the mean, and no later step extrapolates from there."""
    flow, times = fp.RectifiedFlow(), np.linspace(1.0, 0.1, 8)
    reverse = fp.Reverse(GAUSS.target, flow, eta=0.0)
    first = samplers.step(name, flow, 0.0, 1.0, times[1])
    at = first.move(reverse.score, TWO)
    if not first.deterministic:
        noisy = first.parts[0] if isinstance(first, Composed) else first
        assert noisy.move(reverse.score, TWO) == pytest.approx([(1.0 - times[1]) * MEAN] * 2, abs=1e-9)
        assert noisy.std_after == pytest.approx(times[1], rel=1e-12)
        return
    expected = (1.0 - times[1]) * MEAN + times[1] * TWO
    assert at == pytest.approx(expected, abs=1e-9)
    if name != "unipc":
        levels = (times[1:] / (1.0 - times[1:])).tolist()
        reached = 0.9 * RECURSIONS[name](levels, expected / (1.0 - times[1]))
        if name != "dpm-solver++(3m)":
            run = Composed(samplers.steps(samplers.get(name), reverse, times))
            assert run.move(reverse.score, TWO) == pytest.approx(reached, abs=1e-9)
    if name in ("ddim", "unipc"):
        found = fp.decomposition.errors(
            reverse, name, start=flow.prior(), grid=COARSE, times=times[:3], blocks=0, weight=fp.UnitWeight()
        )
        assert float(found["reference_error"].max()) < 1e-4
        image = fp.Gaussian((1.0 - times[1]) * MEAN, std=times[1])
        if name == "ddim":
            one = kernels.sampler(name, reverse, COARSE, 1.0, times[1]).push(COARSE.cell_average(flow.prior()))
            np.testing.assert_allclose(one, COARSE.cell_average(image), atol=1e-6)


def test_a_score_that_predicts_no_data_where_none_are_left_is_refused():
    flow = fp.RectifiedFlow()

    def rough(t, x):
        return GAUSSIAN_FLOW(t, x) + 1e-3

    with pytest.raises(ValueError, match=r"score: expected predicted data with a limit at t = 1, where alpha = 0, got"):
        samplers.step("ddim", flow, 0.0, 1.0, 0.9).move(rough, TWO)
    # a model of the data, as wrong, has one
    model = fp.scores.from_denoiser(lambda t, x: MEAN + 0.1 + 0.0 * x, flow)
    assert samplers.step("ddim", flow, 0.0, 1.0, 0.9).move(model, TWO)[0] == pytest.approx(0.1 * (MEAN + 0.1), abs=1e-9)


GAUSSIAN_FLOW = fp.scores.exact(GAUSS.target, fp.RectifiedFlow())


def test_clipped_predictions_and_their_atoms():
    """Down to clean data the map is clip(D): two atoms and what lies between them."""
    score = fp.scores.clip_sample(GAUSS.score, VP)
    t, x = 0.3, np.linspace(-3.0, 3.0, 25)
    alpha, s = scale(t), math.sqrt(1.0 - scale(t) ** 2)
    predicted = clean(x / alpha, s / alpha)
    held = np.clip(predicted, -1.0, 1.0)
    assert 0 < (held != predicted).sum() < 25
    np.testing.assert_allclose((x + s**2 * score(t, x)) / alpha, held, atol=1e-12)
    np.testing.assert_allclose(samplers.step("ddim", VP, 0.0, t, 0.0).move(score, x), held, atol=1e-12)
    clipped = fp.Reverse(GAUSS.target, VP, score, eta=0.0)
    with pytest.warns(UserWarning, match="folds"):
        kernel = kernels.sampler("ddim", clipped, LINE, t, 0.0)
    q = kernel.push(LINE.cell_average(fp.Gaussian(alpha * MEAN, std=math.sqrt(alpha**2 * VARIANCE + s**2))))
    # D > 1 where y is beyond the point that the Gaussian prediction takes to 1
    edge = MEAN + (1.0 - MEAN) * (VARIANCE + (s / alpha) ** 2) / VARIANCE
    above = 0.5 * math.erfc((edge - MEAN) / math.sqrt(2.0 * (VARIANCE + (s / alpha) ** 2)))
    assert float(q[LINE.x > 0.95].sum() * LINE.volume) == pytest.approx(above, abs=0.03)
    assert float(q[np.abs(LINE.x) > 1.05].sum()) == 0.0
    with pytest.raises(ValueError, match="limit: expected a finite number > 0"):
        fp.scores.clip_sample(GAUSS.score, VP, limit=0.0)


def pairs(times):
    """Mean and covariance of (y, D) under SDE-DPM-Solver++(2M), every step affine in the pair and the noise."""
    m, c = np.array([0.2 / scale(times[0]), 0.0]), np.diag([(0.9 / scale(times[0])) ** 2, 0.0])
    levels = level(times)
    for k, (a, b) in enumerate(pairwise(levels)):
        h = math.log(a / b)
        gain, base = VARIANCE / (VARIANCE + a**2), MEAN * a**2 / (VARIANCE + a**2)
        more = h / (2.0 * math.log(levels[k - 1] / a)) if k else 0.0
        kept, share = b / a * math.exp(-h), -math.expm1(-2.0 * h)
        step = np.array([[kept + share * (1 + more) * gain, -share * more], [gain, 0.0]])
        m = step @ m + np.array([share * (1 + more) * base, base])
        c = step @ c @ step.T + np.diag([-(b**2) * math.expm1(-2.0 * h), 0.0])
    return scale(times[-1]) * m[0], scale(times[-1]) ** 2 * c[0, 0]


def langevin(times):
    """Mean and variance under ancestral steps, each followed by a Langevin step of 2 (0.16 s)^2."""
    m, v = 0.2, 0.81
    for t, u in pairwise(times):
        made = samplers.step("ddpm", VP, 1.0, t, u)
        at = made.move(GAUSS.score, TWO)
        m, v = at[0] + (at[1] - at[0]) * m, (at[1] - at[0]) ** 2 * v + made.std**2
        size, spread = 2 * 0.16**2 * (1 - scale(u) ** 2), scale(u) ** 2 * VARIANCE + 1 - scale(u) ** 2
        m, v = m - size / spread * (m - scale(u) * MEAN), (1 - size / spread) ** 2 * v + 2 * size
    return m, v


@pytest.mark.parametrize(("name", "truth"), [("sde-dpm-solver++(2m)", pairs), ("predictor-corrector", langevin)])
def test_particles_of_noisy_methods_are_the_normal_chain(name, truth):
    times, n = np.linspace(1.0, 0.1, 9), 100_000
    m, v = truth(times)
    cloud = particles.simulate(GAUSS, fp.Gaussian(0.2, std=0.9), n=n, seed=3, times=times, method=name)
    assert abs(float(cloud["mean"][-1, 0]) - m) < 4.5 * math.sqrt(v / n)
    assert abs(float(cloud["cov"][-1, 0, 0]) / v - 1.0) < 4.5 * math.sqrt(2.0 / n)
    assert ("eta" in cloud.attrs) == (name != "predictor-corrector")


def test_the_kernels_of_a_predictor_and_its_corrector_are_multiplied():
    times = np.linspace(1.0, 0.1, 9)
    m, v = langevin(times)
    start = LINE.cell_average(fp.Gaussian(0.2, std=0.9))
    whole = kernels.sampler("predictor-corrector", GAUSS, LINE, 1.0, 0.1, times=times)
    applied = kernels.sampler_operator("predictor-corrector", GAUSS, LINE, 1.0, 0.1, times=times)
    for q in (whole.push(start), applied.push(start)):
        mean = float((q * LINE.x).sum() * LINE.volume)
        variance = float((q * (LINE.x - mean) ** 2).sum() * LINE.volume) - LINE.spacing[0] ** 2 / 12
        assert (mean, variance) == pytest.approx((m, v), abs=2e-6)
    f = LINE.x**2
    np.testing.assert_allclose(applied.pull(f), whole.pull(f), rtol=1e-9, atol=1e-9)
    found = fp.decomposition.errors(
        fp.Reverse(GAUSS.target, VP), "predictor-corrector", start=start, grid=LINE, times=times, blocks=0
    )
    np.testing.assert_allclose(found["sampled"], applied.push(start), atol=1e-6)


@pytest.mark.parametrize("name", ["dpm-solver++(2m)", "unipc"])
def test_decomposition_follows_runs_with_a_memory(name):
    """The sampler's density is that of the image of the start; with a wrong score both parts are seen."""
    times, start = grids.log_snr(4, VP, t_min=0.2), fp.Gaussian(0.2, std=0.9)
    shift, slope = recursion(name, times)
    found = fp.decomposition.errors(GAUSS, name, start=start, grid=COARSE, times=times, blocks=2)
    truth = fp.Gaussian(shift + 0.2 * slope, std=0.9 * abs(slope))
    np.testing.assert_allclose(found["sampled"], COARSE.cell_average(truth), atol=1e-6)
    assert float(found["closure"].max()) < 1e-12 and float(found["reference_error"].max()) < 1e-4
    assert found.attrs["total_error"] < 1e-3 * found.attrs["total"]
    off = fp.decomposition.errors(
        GAUSS, name, start=start, grid=COARSE, times=times, blocks=0, score=lambda t, x: GAUSS.score(t, x) + 0.1
    )
    assert float(off["closure"].max()) < 1e-12 and float(off["local"].sel(source="score").max()) > 1e-3


def test_particles_of_a_run_with_a_memory_are_its_map_of_the_start():
    times = np.linspace(1.0, 0.1, 9)
    for name in ("dpm-solver++(3m)", "unipc", "lms", "plms"):
        cloud = particles.simulate(
            GAUSS, fp.Gaussian(0.2, std=0.9), n=500, seed=2, chunk=300, times=times, method=name, save_at=[1.0, 0.1]
        )
        shift, slope = recursion(name, times)
        first, last = cloud["position"].values
        np.testing.assert_allclose(last, shift + slope * first, atol=1e-8)
        assert cloud.attrs["evaluations"] == 8 and cloud.attrs["eta"] == 0.0


@pytest.mark.parametrize("name", MEMORIES)
def test_one_kernel_of_a_method_with_a_memory_is_refused(name):
    with pytest.raises(ValueError, match=r"times: expected those of the run of .* remembers steps, got none; pass"):
        kernels.sampler(name, GAUSS, LINE, 1.0, 0.5)
    with pytest.raises(ValueError, match=r"times: expected t0 = 1 to t1 = 0\.5, got 1 to 0\.4"):
        kernels.sampler_operator(name, GAUSS, LINE, 1.0, 0.5, times=[1.0, 0.4])


def test_noise_with_a_memory_is_refused_where_laws_of_x_are_pushed():
    name = "sde-dpm-solver++(2m)"
    with pytest.raises(ValueError, match=r"name: expected a method whose next .*\(2m\)', which .* fpsolve.particles"):
        kernels.sampler(name, GAUSS, LINE, 1.0, 0.5, times=[1.0, 0.8, 0.5])
    with pytest.raises(ValueError, match=r"sampler: expected one that remembers no steps or adds no noise, got 'sde-"):
        fp.decomposition.errors(GAUSS, name, start=fp.Gaussian(0.0, std=1.0), grid=LINE, steps=4, t_min=0.1)


def test_a_run_that_folds_the_line_says_where():
    mix = fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=0.1), VP, eta=0.0)
    times = np.linspace(1.0, 0.02, 9)
    with pytest.raises(ValueError, match=r"for 'spline', got one that folds between x = -?[\d.]+ and -?[\d.]+"):
        kernels.sampler("dpm-solver++(3m)", mix, LINE, 1.0, 0.02, times=times, source="spline")
    with pytest.warns(UserWarning, match=r"it folds the line over between x = "):
        kernel = kernels.sampler("dpm-solver++(3m)", mix, LINE, 1.0, 0.02, times=times)
    # where it folds, the law is that of the images
    run = Composed(samplers.steps(samplers.get("dpm-solver++(3m)"), mix, times))
    q = kernel.push(LINE.cell_average(fp.Gaussian(0.0, std=1.0)))
    z = run.move(mix.score, fp.Gaussian(0.0, std=1.0).sample(100_000, np.random.default_rng(1)))
    for low, high in ((-7.0, -2.1), (-2.1, 0.0), (0.0, 2.1)):
        inside = (LINE.x > low) & (LINE.x < high)
        assert float(q[inside].sum() * LINE.volume) == pytest.approx(np.mean((z > low) & (z < high)), abs=0.02)


class Leapfrog(samplers.Sampler):
    """A method with a memory of one's own: Adams-Bashforth in t for the probability flow."""

    order, memory, eta = 2, 1, 0.0

    def step(self, process, eta, t_from, t_to):
        def move(score, x, memory):
            slope = -process.drift_rate(t_from) * x + 0.5 * process.diffusion(t_from) ** 2 * score(t_from, x)
            return x + (t_from - t_to) * (1.5 * slope - 0.5 * (memory or (slope,))[0]), (slope,)

        return samplers.MemoryStep(t_from, t_to, move)


def test_a_method_with_a_memory_of_ones_own_goes_everywhere():
    ou = fp.Reverse(GAUSS.target, fp.OrnsteinUhlenbeck(T=2.0), eta=0.0)
    times, start = np.linspace(2.0, 0.5, 7), fp.Gaussian(0.2, std=0.9)
    x, last = TWO, None
    for t, u in pairwise(times):
        slope = x - (x - math.exp(-t) * MEAN) / (math.exp(-2 * t) * VARIANCE + 1 - math.exp(-2 * t))
        x, last = x + (t - u) * (1.5 * slope - 0.5 * (slope if last is None else last)), slope
    truth = COARSE.cell_average(fp.Gaussian(x[0] + 0.2 * (x[1] - x[0]), std=0.9 * (x[1] - x[0])))
    cloud = particles.simulate(ou, start, n=100, seed=0, times=times, method=Leapfrog)
    np.testing.assert_allclose(cloud["position"][1], x[0] + (x[1] - x[0]) * cloud["position"][0], atol=1e-12)
    kernel = kernels.sampler(Leapfrog(), ou, COARSE, 2.0, 0.5, times=times)
    np.testing.assert_allclose(kernel.push(COARSE.cell_average(start)), truth, atol=1e-6)
    found = fp.decomposition.errors(ou, Leapfrog, start=start, grid=COARSE, times=times, blocks=0)
    np.testing.assert_allclose(found["sampled"], truth, atol=1e-6)


def test_in_the_plane_a_run_is_one_map():
    reverse = fp.Reverse(fp.Gaussian([MEAN, -MEAN], cov=VARIANCE * np.eye(2)), VP, eta=0.0)
    times = np.linspace(1.0, 0.2, 5)
    shift, slope = recursion("unipc", times)
    cloud = particles.simulate(reverse, fp.Gaussian([0.0, 0.0], std=1.0), n=50, seed=0, times=times, method="unipc")
    first, last = cloud["position"].values
    np.testing.assert_allclose(last, np.array([shift, -shift]) + slope * first, atol=1e-9)
    grid = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=24)
    q = kernels.sampler("unipc", reverse, grid, 1.0, 0.2, times=times).push(
        grid.cell_average(fp.Gaussian([0.0, 0.0], std=1.0))
    )
    assert float((q * grid.x[..., 0]).sum() * grid.volume) == pytest.approx(shift, abs=2e-3)


@pytest.mark.parametrize("name", ["dpm-solver++(2s)", "lms"])
def test_steps_from_clean_noise_are_limits_of_steps_from_just_below(name):
    """On a rectified flow of N(m, d^2), whose score is written out; just below T the formulas are the ordinary ones."""
    m, d, x = 0.7, 0.4, np.linspace(-2.0, 2.0, 9)

    def score(t, y):
        return -(y - (1.0 - t) * m) / ((1.0 - t) ** 2 * d**2 + t**2)

    reverse = fp.Reverse(fp.Gaussian(m, std=d), fp.RectifiedFlow(), eta=0.0)
    ends = [
        samplers.Composed(samplers.steps(samplers.get(name), reverse, times)).move(score, x)
        for times in ([1.0, 0.6, 0.3, 0.1], [1.0 - 1e-7, 0.6, 0.3, 0.1], [1.0 - 1e-5, 0.6, 0.3, 0.1])
    ]
    np.testing.assert_allclose(ends[0], ends[1], atol=2e-5)
    assert np.max(np.abs(ends[0] - ends[1])) < 0.5 * np.max(np.abs(ends[0] - ends[2]))


@pytest.mark.parametrize("name", ["heun", "edm", "dpm-solver-2", "plms", "euler-maruyama", "exponential-integrator"])
def test_methods_without_a_limit_at_clean_noise_say_so_by_name(name):
    with pytest.raises(
        ValueError, match=f"scale\\(0, t\\) > 0 for {name}, whose formula has no limit there, got 1, where"
    ):
        samplers.step(name, fp.RectifiedFlow(), 0.0, 1.0, 0.5)

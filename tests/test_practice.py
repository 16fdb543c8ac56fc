"""Samplers against the schedulers of diffusers and the functions of k-diffusion, with an exact score.

Run where torch, diffusers and k-diffusion are installed (the extra ``[practice]``), skipped elsewhere. Single particles
are compared to the precision of their code, much of which is float32; histograms at a false-alarm rate of 1e-3 each.
"""

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import kernels, samplers
from fpsolve.samplers import Composed, grids

torch = pytest.importorskip("torch", reason="torch is not installed: the extra [practice]")
diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed: the extra [practice]")

# what the libraries do with numpy and torch is theirs
pytestmark = pytest.mark.filterwarnings("ignore")

WEIGHTS, MEANS, STDS = np.array([0.4, 0.6]), np.array([-1.2, 0.9]), np.array([0.3, 0.4])
MIX = fp.GaussianMixture(WEIGHTS, MEANS, stds=STDS)
POINTS = np.linspace(-2.5, 2.5, 11)
SCALED = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def predicted_noise(alpha, s, x):
    """E[eps | x] of ``x = alpha X_0 + s eps``, in numpy, nothing of fpsolve."""
    x = np.asarray(x)[..., None]
    v = np.square(alpha * STDS) + s**2
    logs = np.log(WEIGHTS) - 0.5 * np.log(v) - 0.5 * np.square(x - alpha * MEANS) / v
    shares = np.exp(logs - logs.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    return (shares * s * (x - alpha * MEANS) / v).sum(axis=-1)


def of_table(name, n, **options):
    """A scheduler of a table with n steps, its process and our times: those of its timesteps, and 0."""
    made = getattr(diffusers, name)(**{**SCALED, **options})
    made.set_timesteps(n)
    process = fp.FromAlphasCumprod(made.alphas_cumprod.double().numpy())
    kept = torch.as_tensor(made.timesteps).double().numpy()
    kept = kept[np.append(True, np.diff(kept) < 0.0)]
    return made, process, grids.from_timesteps(kept, process)


def sampled(made, process, x, level=False, **more):
    """Where the scheduler takes x at its first timestep; `level`: its samples are x/alpha."""
    table = made.alphas_cumprod.double().numpy()
    first = np.sqrt(table[int(made.timesteps[0])])
    y = torch.tensor(x / first if level else x)[:, None]
    generator = torch.Generator().manual_seed(0)
    for t in made.timesteps:
        scaled = made.scale_model_input(y, t).double().numpy()
        at = np.interp(float(t), np.arange(table.size), np.log((1.0 - table) / table))
        alpha = 1.0 / np.sqrt(1.0 + np.exp(at))
        e = torch.tensor(predicted_noise(alpha, np.sqrt(1.0 - alpha**2), scaled))
        extra = {"generator": generator} if "generator" in made.step.__code__.co_varnames else {}
        y = made.step(e, t, y, **extra, **more).prev_sample.double()
    return y.numpy()[:, 0]


def ours(name, process, times, x, **options):
    reverse = fp.Reverse(MIX, process, eta=0.0)
    return Composed(samplers.steps(samplers.get(name, **options), reverse, times)).move(reverse.score, x)


TABLES = [
    ("ddim", "DDIMScheduler", {"timestep_spacing": "trailing", "clip_sample": False}, False),
    ("plms", "PNDMScheduler", {"timestep_spacing": "trailing", "skip_prk_steps": True, "set_alpha_to_one": True}, 0),
    ("dpm-solver++(2m)", "DPMSolverMultistepScheduler", {"timestep_spacing": "trailing"}, False),
    ("dpm-solver++(2m)", "DPMSolverMultistepScheduler", {}, False),
    ("dpm-solver++(3m)", "DPMSolverMultistepScheduler", {"solver_order": 3, "lower_order_final": False}, False),
    ("unipc", "UniPCMultistepScheduler", {"timestep_spacing": "trailing"}, False),
    ("euler", "EulerDiscreteScheduler", {"timestep_spacing": "trailing"}, True),
    ("lms", "LMSDiscreteScheduler", {"timestep_spacing": "trailing"}, True),
]


@pytest.mark.parametrize("n", [10, 20])
@pytest.mark.parametrize(("name", "scheduler", "options", "level"), TABLES)
def test_particles_go_where_the_scheduler_takes_them(name, scheduler, options, level, n):
    made, process, times = of_table(scheduler, n, **options)
    found = sampled(made, process, POINTS, level)
    assert found == pytest.approx(ours(name, process, times, POINTS), abs=2e-4)


def test_clipped_predictions_are_those_of_the_scheduler():
    made, process, times = of_table("DDIMScheduler", 10, timestep_spacing="trailing", clip_sample=True)
    found = sampled(made, process, POINTS, use_clipped_model_output=True)
    score = fp.scores.clip_sample(fp.scores.exact(MIX, process), process)
    run = Composed(samplers.steps(samplers.get("ddim", eta=0.0), fp.Reverse(MIX, process), times))
    assert found == pytest.approx(run.move(score, POINTS), abs=1e-5)
    assert np.abs(found).max() <= 1.0 + 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 20])
@pytest.mark.parametrize(("name", "scheduler"), [TABLES[2][:2], TABLES[5][:2]])
def test_a_million_particles_of_the_scheduler_fall_as_the_kernel_says(name, scheduler, n):
    """Chi-square on cells of at least 100 expected particles, p > 1e-3."""
    from scipy.stats import chi2

    made, process, times = of_table(scheduler, n, timestep_spacing="trailing")
    reverse, grid = fp.Reverse(MIX, process, eta=0.0), fp.Grid.uniform((-7.0, 7.0), cells=1400)
    start = np.random.default_rng(5).standard_normal(10**6)
    found = sampled(made, process, start)
    kernel = kernels.sampler_operator(name, reverse, grid, times[0], times[-1], times=times)
    mass = np.append(0.0, np.cumsum(kernel.push(grid.cell_average(fp.Gaussian(0.0, std=1.0)))) * grid.volume)
    # 80 cells of the quantiles of the kernel's law, at faces of the grid
    faces = np.unique(np.searchsorted(mass, np.linspace(0.0, 1.0, 81)[1:-1]))
    expected = np.diff(np.concatenate([[0.0], mass[faces], [1.0]])) * found.size
    edges = np.concatenate([[-np.inf], grid.faces[faces], [np.inf]])
    counts = np.histogram(found, edges)[0]
    kept = expected > 100.0
    assert counts[~kept].sum() <= 100 + 6 * np.sqrt(expected[~kept].sum() + 1.0)
    statistic = float((np.square(counts - expected)[kept] / expected[kept]).sum())
    assert chi2.sf(statistic, int(kept.sum()) - 1) > 1e-3


#: The functions of k-diffusion and what they are called with; the second step of its 3m is not that of diffusers.
LEVELS = [
    ("euler", "sample_euler", {}),
    ("heun", "sample_heun", {}),
    ("dpm-solver-2", "sample_dpm_2", {}),
    ("lms", "sample_lms", {}),
    ("dpm-solver++(2s)", "sample_dpmpp_2s_ancestral", {"eta": 0.0}),
    ("dpm-solver++(2m)", "sample_dpmpp_2m", {}),
]


@pytest.mark.parametrize(("name", "function", "options"), LEVELS)
def test_particles_go_where_k_diffusion_takes_them(name, function, options):
    sampling = pytest.importorskip("k_diffusion.sampling", reason="k-diffusion cannot be imported: [practice]")
    process = fp.EDM(0.01, 20.0)
    times = np.append(grids.karras(9, process), 0.0)

    def denoised(x, sigma):
        s = float(sigma[0])
        return torch.tensor(x.numpy() - s * predicted_noise(1.0, s, x.numpy()))

    x = torch.tensor(20.0 * POINTS)
    found = getattr(sampling, function)(denoised, x, torch.tensor(times), disable=True, **options)
    assert found.numpy() == pytest.approx(ours(name, process, times, 20.0 * POINTS), abs=1e-9)


def test_noise_is_as_wide_as_that_of_the_libraries():
    """Standard deviations of one step of ddpm (both variances), euler-ancestral, sde-dpm-solver++(2m)."""
    start, wide = np.full((200_000, 1), 0.4), 4.5 / np.sqrt(400_000)
    for name, scheduler, options, ask in [
        ("ddpm", "DDPMScheduler", {"variance_type": "fixed_small", "clip_sample": False}, {"variance": "fixed_small"}),
        ("ddpm", "DDPMScheduler", {"variance_type": "fixed_large", "clip_sample": False}, {"variance": "fixed_large"}),
        ("sde-dpm-solver++(2m)", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, {}),
    ]:
        made, process, times = of_table(scheduler, 10, timestep_spacing="trailing", **options)
        step = samplers.steps(samplers.get(name, **ask), fp.Reverse(MIX, process), times[:2])[0]
        alpha = float(process.scale(0.0, times[0]))
        e = torch.tensor(predicted_noise(alpha, np.sqrt(1.0 - alpha**2), start))
        moved = made.step(e, made.timesteps[0], torch.tensor(start)).prev_sample.double().numpy()
        assert moved.std() == pytest.approx(step.std_after, rel=wide)
        image = step.move(fp.scores.exact(MIX, process), np.array([0.4]))[0]
        assert moved.mean() == pytest.approx(image, abs=4.5 * step.std_after / np.sqrt(200_000))


def test_the_flow_matching_scheduler_is_euler_on_the_rectified_flow():
    made = diffusers.FlowMatchEulerDiscreteScheduler()
    made.set_timesteps(10)
    times = made.sigmas.double().numpy()
    x = torch.tensor(POINTS)[:, None]
    for t, s in zip(made.timesteps, times, strict=False):
        y = x.numpy()
        if s == 1.0:
            velocity = y - WEIGHTS @ MEANS
        else:
            e = predicted_noise(1.0 - s, s, y)
            velocity = e - (y - s * e) / (1.0 - s)
        x = made.step(torch.tensor(velocity), t, x).prev_sample.double()
    found = ours("flow-match-euler", fp.RectifiedFlow(), times, POINTS)
    assert x.numpy()[:, 0] == pytest.approx(found, abs=1e-5)


def with_noise(name, process, times, x, noises, **options):
    """Our run with the noise that the library drew, step by step."""
    reverse = fp.Reverse(MIX, process)
    for step, noise in zip(samplers.steps(samplers.get(name, **options), reverse, times), noises, strict=True):
        x = step.move(reverse.score, step.scale_before * x) + step.std_after * noise
    return x


@pytest.mark.parametrize("n", [1, 2, 10])
def test_euler_ancestral_is_that_of_diffusers(n):
    made, process, times = of_table("EulerAncestralDiscreteScheduler", n, timestep_spacing="trailing")
    found = sampled(made, process, POINTS, level=True)
    generator = torch.Generator().manual_seed(0)
    shape = (POINTS.size, 1)
    noises = [torch.randn(shape, generator=generator, dtype=torch.float64).numpy()[:, 0] for _ in times[1:]]
    assert found == pytest.approx(with_noise("euler-ancestral", process, times, POINTS, noises), abs=2e-4)
    # and it is ddpm
    assert found == pytest.approx(with_noise("ddpm", process, times, POINTS, noises), abs=2e-4)


@pytest.mark.parametrize(("to_zero", "n"), [(True, 9), (False, 9), (True, 1), (False, 2)])
def test_euler_ancestral_is_that_of_k_diffusion(to_zero, n):
    sampling = pytest.importorskip("k_diffusion.sampling", reason="k-diffusion cannot be imported: [practice]")
    process = fp.EDM(0.01, 20.0)
    times = grids.karras(n, process)
    times = np.append(times, 0.0) if to_zero else times
    noises = np.random.default_rng(3).standard_normal((len(times) - 1, POINTS.size))
    drawn = iter(noises)

    def denoised(x, sigma):
        s = float(sigma[0])
        return torch.tensor(x.numpy() - s * predicted_noise(1.0, s, x.numpy()))

    found = sampling.sample_euler_ancestral(
        denoised, torch.tensor(20.0 * POINTS), torch.tensor(times.copy()), disable=True,
        noise_sampler=lambda *_: torch.tensor(next(drawn)),
    )  # fmt: skip
    expected = with_noise("euler-ancestral", process, times, 20.0 * POINTS, noises)
    assert found.numpy() == pytest.approx(expected, abs=1e-9)

"""Every sampler, and one of one's own, by name and as an object: particles, kernels, decompositions, settings.

The data are Gaussian under the Ornstein-Uhlenbeck process, so that every step is affine and the law of every sampler
is a normal chain; the chains are written here as the papers write the methods, with nothing of the package.
"""

import math
import subprocess
import sys
from itertools import pairwise

import cases
import numpy as np
import pytest

import fpsolve as fp
from fpsolve import kernels, particles, samplers
from fpsolve.settings import read
from fpsolve.studies import error_decomposition, settings, step_size
from fpsolve.studies.config import ParticleSettings, Stages

T, END, MEAN, VARIANCE = 2.0, 0.1, 0.6, 0.3
GAUSS = fp.Reverse(fp.Gaussian(MEAN, cov=VARIANCE), fp.OrnsteinUhlenbeck(T=T))
START = fp.Gaussian(0.2, std=0.9)
LINE = fp.Grid.uniform((-7, 7), cells=500)
TIMES = np.linspace(T, END, 16)
N = 200_000
#: Options with which each method is asked for here.
ASKED = {"ddim": {"eta": 0.4}, "euler-maruyama": {"eta": 0.8}, "edm": {"churn": 3.0}}
NAMES = ("euler-maruyama", "exponential-integrator", "ddpm", "ddim", "heun", "edm")


def alpha(t):
    return math.exp(-t)


def sigma2(t):
    return 1.0 - math.exp(-2.0 * t)


def score(t, x):
    return -(x - alpha(t) * MEAN) / (alpha(t) ** 2 * VARIANCE + sigma2(t))


def noise(t, x):
    """The predicted noise."""
    return -math.sqrt(sigma2(t)) * score(t, x)


def euler_maruyama(t, u, n):
    eta = ASKED["euler-maruyama"]["eta"]
    return lambda x: x + (t - u) * (x + (1 + eta**2) * score(t, x)), 0.0, 2.0 * eta**2 * (t - u)


def exponential_integrator(t, u, n):
    grown = math.exp(t - u)
    return lambda x: grown * x + 2.0 * (grown - 1.0) * score(t, x), 0.0, grown**2 - 1.0


def ddim(t, u, n, eta=0.4):
    """Equations (12) and (16) of Song et al., abar = alpha^2."""
    a, b = alpha(t) ** 2, alpha(u) ** 2
    spread = eta**2 * (1.0 - b) / (1.0 - a) * (1.0 - a / b)

    def move(x):
        x0 = (x - math.sqrt(1.0 - a) * noise(t, x)) / math.sqrt(a)
        return math.sqrt(b) * x0 + math.sqrt(1.0 - b - spread) * noise(t, x)

    return move, 0.0, spread


def ddpm(t, u, n):
    return ddim(t, u, n, eta=1.0)


def heun(t, u, n, churn=0.0):
    """Algorithm 2 of Karras et al. in y = x/alpha and sigma; t = log(1 + sigma^2)/2."""
    low = math.sqrt(sigma2(t)) / alpha(t)
    high = low * (1.0 + min(churn / n, math.sqrt(2.0) - 1.0))
    top = 0.5 * math.log1p(high**2)
    down = math.sqrt(sigma2(u)) / alpha(u)

    def move(x):  # from x at the time t, with the noise of the churn already in y
        y = x / alpha(t)
        slope = noise(top, alpha(top) * y)
        first = y + (down - high) * slope
        return alpha(u) * (y + 0.5 * (down - high) * (slope + noise(u, alpha(u) * first)))

    return move, alpha(t) ** 2 * (high**2 - low**2), 0.0


def edm(t, u, n):
    return heun(t, u, n, churn=3.0)


CHAINS = {
    "euler-maruyama": euler_maruyama,
    "exponential-integrator": exponential_integrator,
    "ddpm": ddpm,
    "ddim": ddim,
    "heun": heun,
    "edm": edm,
}


def chain(method, times, m=0.2, v=0.81):
    """Mean and variance after affine steps: noise before the map, the map, noise after it."""
    for t, u in pairwise(times.tolist()):
        move, before, after = method(t, u, len(times) - 1)
        slope = move(1.0) - move(0.0)
        m, v = move(0.0) + slope * m, slope**2 * (v + before) + after
    return m, v


def moments(q, grid=LINE):
    """Mean and variance of cell averages."""
    m = float((q * grid.x).sum() * grid.volume)
    return m, float((q * (grid.x - m) ** 2).sum() * grid.volume) - grid.spacing[0] ** 2 / 12


def pushed(method, times, **options):
    told = samplers.get(method, **options).in_steps(len(times) - 1)
    q = LINE.cell_average(START)
    for t, u in pairwise(times):
        q = kernels.sampler_operator(told, GAUSS, LINE, t, u).push(q)
    return q


def assert_three_follow(method, truth, **options):
    """Particles, kernels and decomposition of a method against the mean and variance of its normal chain."""
    m, v = chain(truth, TIMES)
    cloud = particles.simulate(GAUSS, START, n=N, seed=3, times=TIMES, method=method, **options)
    assert abs(float(cloud["mean"][-1, 0]) - m) < 4.5 * math.sqrt(v / N)
    assert abs(float(cloud["cov"][-1, 0, 0]) / v - 1.0) < 4.5 * math.sqrt(2.0 / N)
    assert moments(pushed(method, TIMES, **options)) == pytest.approx((m, v), abs=2e-6)
    found = fp.decomposition.errors(GAUSS, method, start=START, grid=LINE, times=TIMES, blocks=0, **options)
    assert moments(found["sampled"].values) == pytest.approx((m, v), abs=2e-6)
    assert float(found.closure.max()) < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_particles_kernels_and_decomposition_are_the_normal_chain_of_the_paper(name):
    assert_three_follow(name, CHAINS[name], **ASKED.get(name, {}))


def test_the_chain_of_another_method_is_told_from_it():
    """Negative control: the ancestral step is not the exponential integrator, nor this churn another."""
    with pytest.raises(AssertionError):
        assert_three_follow("ddpm", exponential_integrator)
    with pytest.raises(AssertionError):
        assert_three_follow("edm", edm, churn=2.0)


@pytest.mark.parametrize("name", NAMES)
def test_particles_are_drawn_from_the_density_that_the_kernels_push(name):
    """A mixture: every merged cell within its binomial spread; 25 cells, false alarm below 1e-7."""
    reverse, grid = cases.two_mode_vp(), fp.Grid.uniform((-6, 6), cells=500)
    times, options = np.linspace(0.5, 0.2, 7), ASKED.get(name, {})
    start = reverse.marginal(0.5)
    cloud = particles.simulate(reverse, start, n=N, seed=8, times=times, method=name, histogram=grid, **options)
    method, q = samplers.get(name, **options).in_steps(6), grid.cell_average(start)
    for t, u in pairwise(times):
        q = kernels.sampler_operator(method, reverse, grid, t, u).push(q)
    expected, seen = ((a.reshape(25, 20).sum(axis=1)) for a in (N * q * grid.volume, cloud["count"].values[-1]))
    z = (seen - expected) / np.sqrt(np.maximum(expected, 20.0))
    assert np.abs(z).max() < 6.0
    # the control: the same cloud against the density of a sampler that stops a step before
    q = grid.cell_average(start)
    for t, u in pairwise(times[:-1]):
        q = kernels.sampler_operator(method, reverse, grid, t, u).push(q)
    assert np.abs(seen - (N * q * grid.volume).reshape(25, 20).sum(axis=1)).max() > 6.0 * math.sqrt(N)


class StochasticMidpoint(samplers.Sampler):
    """A method of one's own: the drift at the midpoint, noise after it."""

    evaluations = 2

    def __init__(self, share=0.5):
        self.share = share

    def step(self, process, eta, t_from, t_to):
        h = t_from - t_to
        middle = t_from - self.share * h

        def drift(score, t, x):
            return -process.drift_rate(t) * x + 0.5 * (1 + eta**2) * process.diffusion(t) ** 2 * score(t, x)

        def move(score, x):
            return x + h * drift(score, middle, x + self.share * h * drift(score, t_from, x))

        return samplers.MapStep(t_from, t_to, move, std_after=eta * process.diffusion(middle) * math.sqrt(h))


def stochastic_midpoint(t, u, n, share=0.5):
    h, middle = t - u, t - share * (t - u)

    def slope(s, x):
        return x + 2.0 * score(s, x)

    return lambda x: x + h * slope(middle, x + share * h * slope(t, x)), 0.0, 2.0 * h


class Split(samplers.Sampler):
    """Noise on both sides of a map: half of it, the drift at the midpoint, the other half."""

    def step(self, process, eta, t_from, t_to):
        whole = StochasticMidpoint().step(process, eta, t_from, t_to)
        half = whole.std_after * math.sqrt(0.5)
        return samplers.MapStep(t_from, t_to, whole.move, std_before=half, std_after=half)


def split(t, u, n):
    move, before, after = stochastic_midpoint(t, u, n)
    return move, 0.5 * (before + after), 0.5 * (before + after)


def test_noise_on_both_sides_of_a_map_is_one_step():
    assert_three_follow(Split(), split)


@pytest.mark.parametrize(("method", "truth"), [("ddpm", ddpm), (StochasticMidpoint(), stochastic_midpoint)])
def test_in_the_plane_every_axis_is_the_normal_chain(method, truth):
    reverse = fp.Reverse(fp.Gaussian([MEAN, -MEAN], cov=VARIANCE * np.eye(2)), GAUSS.process)
    start, times = fp.Gaussian([0.2, -0.2], std=0.9), np.linspace(T, 0.5, 6)
    m, v = chain(truth, times)
    cloud = particles.simulate(reverse, start, n=50_000, seed=2, times=times, method=method)
    np.testing.assert_allclose(cloud["mean"][-1], [m, -m], atol=4.5 * math.sqrt(v / 50_000))
    np.testing.assert_allclose(cloud["cov"][-1], v * np.eye(2), atol=4.5 * v * math.sqrt(2.0 / 50_000))
    grid = fp.Grid.uniform([(-5.5, 5.5), (-5.5, 5.5)], cells=80)
    q = grid.cell_average(start)
    for t, u in pairwise(times):
        q = kernels.sampler_operator(method, reverse, grid, t, u).push(q)
    line = fp.Grid.uniform((-5.5, 5.5), cells=80)
    assert moments(q.sum(axis=1) * line.volume, line) == pytest.approx((m, v), abs=1e-4)
    assert moments(q.sum(axis=0) * line.volume, line) == pytest.approx((-m, v), abs=1e-4)


@pytest.mark.parametrize("given", [StochasticMidpoint(), StochasticMidpoint], ids=["object", "class"])
def test_a_sampler_of_ones_own_is_one_class_and_goes_everywhere(given):
    assert_three_follow(given, stochastic_midpoint)
    cloud = particles.simulate(GAUSS, START, n=10, seed=0, times=TIMES, method=given)
    assert (cloud.attrs["method"], cloud.attrs["evaluations"]) == ("StochasticMidpoint", 30)
    assert "StochasticMidpoint" not in samplers.SAMPLERS


def test_options_of_ones_own_sampler_are_those_of_its_constructor():
    at = chain(lambda t, u, n: stochastic_midpoint(t, u, n, 0.7), TIMES)
    assert moments(pushed(StochasticMidpoint, TIMES, share=0.7)) == pytest.approx(at, abs=2e-6)
    with pytest.raises(ValueError, match=r"shere: expected an option of 'StochasticMidpoint' \(share\), got 0.7; perh"):
        pushed(StochasticMidpoint, TIMES, shere=0.7)
    with pytest.raises(ValueError, match=r"share: expected no options beside an object"):
        pushed(StochasticMidpoint(), TIMES, share=0.7)


def test_what_is_wrong_with_a_sampler_of_ones_own_is_told():
    def having(step):
        return type("Mine", (samplers.Sampler,), {"step": lambda self, process, eta, t, u: step(t, u)})()

    def plain(t, u, std=0.0):
        return samplers.GaussianStep(t, u, 1.0, 0.0, std)

    wrong = {
        r"Mine.step: expected a Step, got None; return a GaussianStep": lambda t, u: None,
        r"Mine.step: expected a step from t = 2 to .*, got one from": lambda t, u: plain(u, t),
        r"Mine.step, std_after: expected a finite number >= 0, got -1": lambda t, u: plain(t, u, -1.0),
        r"the map of the step from t = 2: expected points of shape \(10,\), got shape \(1, 10\)":
            lambda t, u: samplers.MapStep(t, u, lambda score, x: x[None]),
        r"score at t = 5: t: expected forward times in|t: expected forward times in":
            lambda t, u: samplers.MapStep(t, u, lambda score, x: score(5.0, x)),
    }  # fmt: skip
    for message, step in wrong.items():
        with pytest.raises(ValueError, match=message):
            particles.simulate(GAUSS, START, n=10, seed=0, steps=3, method=having(step))
    with pytest.raises(ValueError, match=r"method: expected one of .* got 3; a method of one's own is an object of"):
        particles.simulate(GAUSS, START, n=10, seed=0, steps=3, method=3)


@pytest.mark.parametrize(("name", "steps"), [("heun", 60), ("ddim", 400)])
def test_clouds_of_flows_are_compared_with_runs(name, steps):
    flow = fp.Reverse(cases.two_mode_vp().target, fp.VP(), eta=0.0)
    run = fp.evolve(flow, {"prior": fp.VP().prior()}, t_min=0.1, tol=1e-3, save_at=[0.3, 0.1])
    verdicts = [
        particles.compare(
            run,
            particles.simulate(flow, start, n=20_000, seed=4, steps=steps, method=name, save_at=[0.3, 0.1]),
            start="prior",
        ).attrs["verdict"]
        for start in (fp.VP().prior(), fp.Gaussian(0.1, std=1.0))
    ]
    assert verdicts == ["agree", "disagree"]


class Fading:
    """A noise knob that is a function of time."""

    def __call__(self, t):
        return 0.2 + 0.5 * np.asarray(t)


def test_clouds_say_to_which_eta_their_method_tends():
    """What is compared is of the same dynamics; a churn is of no eta, and nothing is held against it."""
    start = {"prior": START}
    noisy, fading = GAUSS, fp.Reverse(GAUSS.target, GAUSS.process, eta=Fading())
    runs = {name: fp.evolve(r, start, t_min=END, tol=1e-2) for name, r in (("1", noisy), ("t", fading))}

    def compare(run, reverse, **how):
        cloud = particles.simulate(reverse, START, n=100, seed=0, steps=20, t_min=END, **how)
        particles.compare(runs[run], cloud, start="prior", at=[END])
        return cloud.attrs.get("eta", "none")

    assert compare("1", noisy, method="ddim") == 1.0
    assert "Fading" in compare("t", fading, method="euler-maruyama")
    assert compare("1", fading, method="ddpm") == 1.0
    assert compare("1", fading, method="edm", churn=3.0) == "none"
    for how in ({"method": "heun"}, {"method": "edm"}, {"method": "ddim", "eta": 0.5}):
        with pytest.raises(ValueError, match="cloud: expected a result of the same eta as run, 1"):
            compare("1", noisy, **how)


def doors(method, **options):
    """Everything that takes a sampler, each as numbers."""
    reverse = options.pop("reverse", GAUSS)
    cloud = particles.simulate(reverse, START, n=500, seed=1, times=TIMES[:4], method=method, **options)
    found = fp.decomposition.errors(reverse, method, start=START, grid=LINE, times=TIMES[:4], blocks=0, **options)
    # one kernel knows nothing of a run
    kernel = kernels.sampler(samplers.get(method, **options).in_steps(3), reverse, LINE, *TIMES[:2])
    return cloud["position"].values, found["sampled"].values, kernel.matrix


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ddim", {"eta": 0.0}), ("ddim", {"reverse": fp.Reverse(GAUSS.target, GAUSS.process, eta=0.0)})),
        (("euler-maruyama", {"eta": 0.3}), (samplers.EulerMaruyama(eta=0.3), {})),
        (("edm", {"churn": 2.0}), (samplers.Karras(churn=2.0, steps=3), {})),
        (("heun", {}), (samplers.Heun, {})),
        (("ddpm", {"variance": "forward"}), (samplers.DDPM, {"variance": "forward"})),
    ],
    ids=["ddim", "euler-maruyama", "edm", "heun", "ddpm"],
)
def test_options_mean_the_same_everywhere(one, other):
    for a, b in zip(doors(one[0], **one[1]), doors(other[0], **other[1]), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_order_evaluations_and_noise_are_what_the_sampler_says(name):
    method = samplers.get(name, **({"eta": 0.0} if name == "ddim" else {}))
    eta = 1.0 if method.eta is None else method.eta
    calls = []

    def counted(t, x):
        calls.append(t)
        return score(t, x)

    made = samplers.step(method, GAUSS.process, eta, 1.0, 0.9)
    made.move(counted, np.zeros(3))
    assert len(calls) == method.evaluations
    assert made.deterministic == (eta == 0.0)
    errors = []
    for n in (40, 80):
        m, v = alpha(T) * MEAN, alpha(T) ** 2 * VARIANCE + sigma2(T)
        for step in samplers.steps(method, GAUSS, np.linspace(T, 0.5, n + 1)):
            at = step.move(score, np.array([0.0, 1.0]))
            slope = at[1] - at[0]
            m, v = at[0] + slope * m, slope**2 * v + step.std_after**2
        errors.append(abs(v - alpha(0.5) ** 2 * VARIANCE - sigma2(0.5)))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(method.order, abs=0.15)


@pytest.mark.parametrize("name", ["euler-maruyama", "ddim"])
def test_random_numbers_are_those_of_the_documented_seeds(name):
    """Chunk k draws its start, then the noise of every step, from child k; also where eta is 0."""
    start, times = START, TIMES[:4]
    cloud = particles.simulate(GAUSS, start, n=500, seed=9, chunk=300, times=times, method=name, eta=0.0)
    again = []
    for child, size in zip(np.random.SeedSequence(9).spawn(2), (300, 200), strict=True):
        x = start.sample(size, np.random.default_rng(child))
        for step in samplers.steps(samplers.get(name, eta=0.0), GAUSS, times):
            x = step.move(GAUSS.score, x)
        again.append(x)
    np.testing.assert_allclose(cloud["position"].values[-1], np.concatenate(again), rtol=1e-12)


@pytest.mark.parametrize(("name", "options"), [("heun", {}), ("edm", {"churn": 4.0})])
def test_tables_of_the_score_serve_methods_that_ask_for_it_twice(name, options):
    rng = np.random.default_rng(5)
    data = fp.KernelDensity(np.concatenate([rng.normal(-1, 0.4, 60), rng.normal(0.8, 0.5, 80)]))
    reverse = fp.Reverse(data, fp.EDM(0.02, 20.0))
    times = np.geomspace(20.0, 0.05, 21)
    table, exact = (
        particles.simulate(reverse, fp.Gaussian(0.0, std=20.0), n=2000, seed=4, times=times, method=name, tabulate=how,
                           **options)
        for how in (True, False)
    )  # fmt: skip
    # the first step of the churn asks for the score beyond T, where it is exact
    assert table.attrs["score_table"] == "20 of 20 steps" and exact.attrs["score_table"] == "0 of 20 steps"
    gap = float(np.abs(table["position"] - exact["position"]).max())
    assert 0.0 < gap < 10.0 * table.attrs["score_table_shift"] < 1e-2


def ask(where, name):
    match where:
        case "particles":
            particles.simulate(GAUSS, START, n=10, seed=0, steps=3, method=name)
        case "kernels":
            kernels.sampler(name, GAUSS, LINE, 1.0, 0.9)
        case "decomposition":
            fp.decomposition.errors(GAUSS, name, start=START, grid=LINE, times=TIMES)
        case "settings":
            from_toml(f'"{name}"')
        case "names":
            samplers.get(name)


@pytest.mark.parametrize("where", ["particles", "kernels", "decomposition", "settings", "names"])
@pytest.mark.parametrize(("name", "meant"), [("DDIM", "ddim"), ("euler_maruyama", "euler-maruyama"), ("huen", "heun")])
def test_an_unknown_name_is_told_with_the_known_ones_and_the_most_similar(where, name, meant):
    with pytest.raises(ValueError, match=r"expected one of 'euler-maruyama', .*'edm', got") as told:
        ask(where, name)
    assert str(told.value).endswith(f"got {name!r}; perhaps {meant!r} is meant.")


def from_toml(sampler):
    text = settings("error-decomposition").replace('"euler-maruyama"', sampler)
    return read("config", error_decomposition.Config, "settings", "a.toml", text)


@pytest.mark.parametrize("name", samplers.names())
def test_settings_of_studies_take_every_sampler(name):
    options = ASKED.get(name, {})
    table = ", ".join([f'kind = "{name}"', *(f"{key} = {value}" for key, value in options.items())])
    assert from_toml(f'"{name}"').sampler == samplers.get(name)
    config = from_toml(f"{{{table}}}")
    assert config.sampler == samplers.get(name, **options)
    assert config.model_dump(mode="json")["sampler"] == ({"kind": name, **options} if options else name)
    particle = {"n": 10, "steps": 5, "method": {"kind": name, **options}}
    assert ParticleSettings.model_validate(particle).method == samplers.get(name, **options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ('{kind = "edm", churm = 5.0}', r"sampler: churm: expected an option of 'edm' .*perhaps 'churn' is meant"),
        ('{kind = "edm", churn = -1.0}', r"sampler: churn: expected a finite number >= 0, got -1"),
        ("{churn = 5.0}", r"sampler: expected one of 'euler-maruyama'.* got 'a table without its kind'"),
        ("3", r"sampler: expected one of 'euler-maruyama'.* got 3"),
    ],
)
def test_settings_say_what_is_wrong_with_a_sampler(given, message):
    with pytest.raises(ValueError, match=message):
        from_toml(given)


def test_settings_of_the_step_size_study_refuse_an_unknown_sampler():
    text = settings("step-size").replace("ddpm =", "ddmp =")
    with pytest.raises(ValueError, match=r"orders.ddmp: expected one of .* perhaps 'ddpm' is meant"):
        read("config", step_size.Config, "settings", "a.toml", text)


def test_the_study_of_errors_runs_with_a_churned_sampler():
    text = '{kind = "edm", churn = 2.0}'
    config = from_toml(text).model_copy(update={"cells": 200, "steps": 12, "blocks": 1})
    found = error_decomposition._errors(config, Stages("test", False))
    assert found.attrs["sampler"] == "edm" and "churn=2.0, steps=12" in found.attrs["settings"]
    assert float(found.closure.max()) < 1e-12


@pytest.mark.parametrize("name", ["heun", "unipc"])
def test_the_study_of_errors_runs_without_noise(name):
    """Few steps of unipc fold the line, and say so."""
    config = from_toml(f'"{name}"').model_copy(update={"cells": 100, "steps": 12, "blocks": 1})
    report = error_decomposition.run(config, Stages("test", False))
    passed = {check.name: check.passed for check in report.checks}
    assert passed["identity: terms against the chain"] and "narrowest noise: cells per standard deviation" not in passed


def test_samplers_are_public_and_light():
    code = (
        "import sys, fpsolve as fp; heavy = [m for m in ('xarray', 'scipy.stats', 'numba', 'pydantic') if m in "
        "sys.modules]; made = fp.samplers.get('ddim', eta=0.5); print(made, heavy, 'xarray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "DDIM(eta=0.5) [] False"

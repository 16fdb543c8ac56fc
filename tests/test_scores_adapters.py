"""Adapters against posterior means by quadrature, for every process, and what they refuse."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import scores
from fpsolve.scores import ProbeWarning

WEIGHTS, MEANS, STDS = np.array([0.3, 0.7]), np.array([-1.5, 0.8]), np.array([0.3, 0.4])
TARGET = fp.GaussianMixture(WEIGHTS, MEANS, stds=STDS)
PROCESSES = {
    "ou": fp.OrnsteinUhlenbeck(T=3.0),
    "vp linear": fp.VP(),
    "vp curved": fp.VP(curvature=5.0, sigma=1.3, beta_max=30.0),
    "vp cosine": fp.CosineVP(),
    "sub-vp": fp.SubVP(),
    "ve": fp.VE(),
    "ve of score_sde": fp.VE(convention="score_sde"),
    "edm": fp.EDM(),
}
# p_0 beyond these is 0 in double precision; the spacing resolves p_0 and the narrowest kernel used, s/a = 0.05
X0 = np.linspace(-6.0, 6.0, 6001)
LOG_P0 = np.log(np.exp(-0.5 * ((X0[:, None] - MEANS) / STDS) ** 2) @ (WEIGHTS / STDS) + 1e-300)


def posterior_mean(y: Any, sigma: float) -> Any:
    """E[x_0 | x_0 + sigma eps = y] by the trapezoidal rule over x_0; knows nothing of the package."""
    y = np.asarray(y, dtype=float)
    log = LOG_P0 - 0.5 * ((y.reshape(-1, 1) - X0) / sigma) ** 2
    weight = np.exp(log - log.max(axis=1, keepdims=True))
    return ((weight @ X0) / weight.sum(axis=1)).reshape(y.shape)


def models(process: Any) -> dict[str, Callable[[float, Any], Any]]:
    """What perfectly trained models of every kind predict; derivatives of a and s by the ODEs they satisfy."""

    def parts(t: float, x: Any) -> tuple[float, float, Any, Any]:
        a, s = float(process.scale(0.0, t)), float(process.variance(0.0, t)) ** 0.5
        data = posterior_mean(np.asarray(x) / a, s / a)
        return a, s, data, (x - a * data) / s

    def velocity(t: float, x: Any) -> Any:
        a, s, data, eps = parts(t, x)
        return a * eps - s * data

    def flow(t: float, x: Any) -> Any:
        a, s, data, eps = parts(t, x)
        rate, g = float(process.drift_rate(t)), float(process.diffusion(t))
        return rate * a * data + (rate * s + 0.5 * g**2 / s) * eps

    return {
        "from_noise_prediction": lambda t, x: parts(t, x)[3],
        "from_denoiser": lambda t, x: parts(t, x)[2],
        "from_velocity": velocity,
        "from_flow_velocity": flow,
        "from_edm_denoiser": posterior_mean,
    }


def times_of(process: Any) -> list[float]:
    """Times from T down to a noise level s/a of 0.05."""
    grid = process.T * np.geomspace(1e-6, 1.0, 500)
    ratio = np.sqrt(process.variance(0.0, grid)) / process.scale(0.0, grid)
    first = float(grid[np.argmax(ratio >= 0.05)])
    return [float(t) for t in np.geomspace(first, process.T, 6)]


@pytest.mark.parametrize("name", PROCESSES)
def test_adapters_agree_with_quadrature(name: str) -> None:
    """The table: 1e-10 relative to (1 + |x|)/sigma2 for every adapter and process."""
    process, worst = PROCESSES[name], {}
    for maker, model in models(process).items():
        score = getattr(scores, maker)(model, process, dim=1)
        gaps = []
        for t in times_of(process):
            a, variance = float(process.scale(0.0, t)), float(process.variance(0.0, t))
            x = np.hypot(a, variance**0.5) * np.linspace(-4.0, 4.0, 41)
            truth = (a * posterior_mean(x / a, variance**0.5 / a) - x) / variance
            gaps.append(np.max(np.abs(score(t, x) - truth) * variance / (1.0 + np.abs(x))))
            # and the package's own closed form, which shares nothing with the quadrature
            closed = scores.exact(TARGET, process)(t, x)
            gaps.append(np.max(np.abs(closed - truth) * variance / (1.0 + np.abs(x))))
        worst[maker] = max(gaps)
    print(name, {maker: f"{gap:.1e}" for maker, gap in worst.items()})
    assert max(worst.values()) <= 1e-10


@pytest.mark.parametrize("name", PROCESSES)
def test_energy_by_differences_agrees_with_its_stated_error(name: str) -> None:
    process = PROCESSES[name]
    family = fp.marginals.family(TARGET, process)

    def energy(t: float, x: Any) -> Any:
        return 3.0 - family.log_density(t, x)

    by_differences = scores.from_energy(energy, process, dim=1)
    given = scores.from_energy(energy, process, dim=1, gradient=lambda t, x: -family.score(t, x))
    for t in times_of(process):
        variance = float(process.variance(0.0, t))
        x = np.hypot(float(process.scale(0.0, t)), variance**0.5) * np.linspace(-4.0, 4.0, 41)
        gap = np.abs(by_differences(t, x) - family.score(t, x))
        assert np.max(gap * variance / (1.0 + np.abs(x))) <= 1e-10
        stated = by_differences.error(t, x)
        # what it is held against is rounded too
        reference = 16.0 * np.finfo(float).eps * (1.0 + np.abs(x)) / variance
        assert np.all(gap <= stated + reference)
        # and is small itself (it is the error of order 6, where truncation rules)
        assert np.max(stated * variance / (1.0 + np.abs(x))) <= 1e-8
        np.testing.assert_array_equal(given(t, x), family.score(t, x))
        assert not given.error(t, x).any()


@pytest.mark.parametrize("name", ["single precision", "single inside", "cancellation", "zero crossed", "far out"])
@pytest.mark.parametrize("dim", [1, 2])
def test_the_error_of_an_energy_knows_how_accurate_the_users_function_is(name: str, dim: int, rng: Any) -> None:
    """Energies of a Gaussian, N(0, 1), that are good to much less than their last place; the score is -x."""

    def square(x: Any) -> Any:
        return 0.5 * x**2 if dim == 1 else 0.5 * (x**2).sum(axis=-1)

    energies = {
        "single precision": lambda t, x: square(np.asarray(x, dtype=np.float32)),
        "single inside": lambda t, x: square(np.asarray(x, dtype=np.float32)).astype(np.float64),
        "cancellation": lambda t, x: (1e8 + square(x)) - 1e8,
        "zero crossed": lambda t, x: np.log1p(np.exp(square(x)) - 1.0) - 0.5,
        "far out": lambda t, x: square(x),
    }
    score = scores.from_energy(energies[name], fp.VP(), dim=dim)
    x = (1e3 if name == "far out" else 1.0) * rng.standard_normal((400,) if dim == 1 else (200, 2))
    gap, stated = np.abs(score(0.3, x) + x), score.error(0.3, x)
    print(name, f"{gap.max():.1e}, {(gap / stated).max():.2f}, {np.median(stated / np.maximum(gap, 1e-300)):.0f}")
    assert np.all(gap <= stated)
    assert np.median(stated) <= 400.0 * np.median(gap)


def test_a_constant_has_no_slope_on_any_machine() -> None:
    """Weights from a linear solve sum to 1e-14 or so, times E/h: exact ones to nothing."""
    from scipy.special import binom

    from fpsolve.scores._base import first_derivative

    shifted = [scores.from_energy(lambda t, x, c=c: c + 0.5 * x**2, fp.VP(), dim=1) for c in (0.0, 2.0**40)]
    x = np.arange(-2.0, 3.0)
    np.testing.assert_allclose(shifted[1](0.9, 0.0 * x), 0.0, atol=1e-300)
    np.testing.assert_allclose(shifted[0](0.9, x), -x, rtol=1e-12)
    for order in (2, 4, 6, 8):
        m = order // 2
        wanted = [2.0 * (-1) ** (k + 1) / k * binom(2 * m, m - k) / binom(2 * m, m) / 2.0 for k in range(1, m + 1)]
        np.testing.assert_allclose(first_derivative(order), wanted, rtol=1e-14)
        # exact for x, and without odd powers up to the order
        k = np.arange(1.0, m + 1.0)
        moments = [2.0 * np.sum(np.array(first_derivative(order)) * k**power) for power in range(1, order, 2)]
        np.testing.assert_allclose(moments, [1.0] + [0.0] * (m - 1), atol=1e-12)


def test_differences_of_an_energy_are_of_order_eight() -> None:
    """Halving a large step divides the error by 2^8 (log-log slope within 0.2), in both components in 2D."""
    process = fp.VP()

    def energy(t: float, x: Any) -> Any:
        return np.cos(x[..., 0]) + np.sin(x[..., 1]) + np.sum(x**2, axis=-1)

    x = np.array([[0.3, -0.4], [1.0, 0.2]])
    exact = np.stack([np.sin(x[:, 0]) - 2.0 * x[:, 0], -np.cos(x[:, 1]) - 2.0 * x[:, 1]], axis=-1)
    gaps = []
    for step in (0.3, 0.15):
        score = scores.from_energy(energy, process, dim=2, step=step)
        gap = np.abs(score(0.9, x) - exact)
        assert np.all(gap <= score.error(0.9, x))
        gaps.append(gap.max(axis=0))
    slopes = np.log2(gaps[0] / gaps[1])
    assert np.all(np.abs(slopes - 8.0) <= 0.2), slopes


def test_forgetting_the_scale_of_edm_would_be_seen() -> None:
    """Negative control: D(x, s) instead of D(x/a, s/a) is far off."""
    process, t, x = fp.VP(), 0.3, np.linspace(-2.0, 2.0, 9)
    a, variance = float(process.scale(0.0, t)), float(process.variance(0.0, t))
    truth = (a * posterior_mean(x / a, variance**0.5 / a) - x) / variance
    wrong = (posterior_mean(x, variance**0.5) - x) / variance
    assert np.max(np.abs(wrong - truth) * variance / (1.0 + np.abs(x))) > 0.05


def test_in_the_plane_every_adapter_gives_the_score() -> None:
    target = fp.GaussianMixture([0.4, 0.6], [[-1.0, 0.5], [1.0, 0.0]], stds=[0.5, 0.3])
    levels = scores.exact(target, fp.EDM(sigma_max=1e6))
    for process in PROCESSES.values():
        exact, t = scores.exact(target, process), 0.3 * process.T
        s = float(process.variance(0.0, t)) ** 0.5
        x = s * np.random.default_rng(0).standard_normal((3, 4, 2))
        noise = scores.from_noise_prediction(
            lambda t, x, p=process, e=exact: -np.sqrt(p.variance(0.0, t)) * e(t, x), process, dim=2
        )
        np.testing.assert_allclose(noise(t, x), exact(t, x), rtol=1e-13)
        edm = scores.from_edm_denoiser(lambda y, sigma: y + sigma**2 * levels(sigma, y), process, dim=2)
        np.testing.assert_allclose(edm(t, x), exact(t, x), rtol=1e-10, atol=1e-10 / s**2)


def test_time_and_order_of_score_sde() -> None:
    """Networks called as model(x, 999 t), returning -s times the score."""
    process, seen = fp.VP(), []

    def network(x: Any, labels: Any) -> Any:
        seen.append(float(labels))
        t = labels / 999.0
        return -np.sqrt(process.variance(0.0, t)) * scores.exact(TARGET, process)(float(t), x)

    score = scores.from_noise_prediction(network, process, time=999, order="x, t", dim=1)
    x = np.linspace(-2.0, 2.0, 5)
    np.testing.assert_allclose(score(0.25, x), scores.exact(TARGET, process)(0.25, x), rtol=1e-12)
    assert seen[-1] == pytest.approx(249.75)
    by_level = scores.from_denoiser(lambda sigma, x: posterior_mean(x, sigma), fp.EDM(), time=lambda t: t, dim=1)
    np.testing.assert_allclose(by_level(0.5, x), scores.exact(TARGET, fp.EDM())(0.5, x), rtol=1e-10, atol=1e-10)
    with pytest.warns(ProbeWarning, match="looks like .*"):
        scores.from_noise_prediction(lambda x, t: -network(x, t), process, time=999, order="x, t", dim=1)


class Tensor:
    """What is used of torch.Tensor: a device, a graph, no conversion by numpy itself."""

    def __init__(self, array: Any, device: str = "cuda:0", graph: bool = True) -> None:
        self.array, self.device, self.graph = np.asarray(array, dtype=np.float32), device, graph

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def new_tensor(self, array: Any) -> "Tensor":
        return Tensor(array, self.device, False)

    def detach(self) -> "Tensor":
        return Tensor(self.array, self.device, False)

    def cpu(self) -> "Tensor":
        return Tensor(self.array, "cpu", self.graph)

    def numpy(self) -> Any:
        if self.device != "cpu" or self.graph:
            raise TypeError("not on the cpu, or part of a graph")
        return self.array


class Module:
    """A network that takes batches (n, dim) and (n,) of tensors only."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def parameters(self) -> Any:
        yield Tensor([1.0])

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        assert isinstance(x, Tensor) and isinstance(t, Tensor) and x.device == t.device == "cuda:0"
        assert x.array.ndim == 2 and t.array.shape == (len(x.array),)
        return Tensor(self.function(x.array, t.array[:, None]))


@pytest.mark.parametrize("dim", [1, 2])
def test_torch_modules_are_called_with_batches_on_their_device(dim: int) -> None:
    process = fp.EDM()
    model = scores.from_torch(Module(lambda x, t: x / (1.0 + t**2)), dim=dim)
    score = scores.from_denoiser(model, process, dim=dim)
    x = np.random.default_rng(1).standard_normal((3, 2, 2) if dim == 2 else (3, 2))
    np.testing.assert_allclose(score(0.8, x), -x / (1.0 + 0.64), rtol=2e-6)
    small = scores.from_torch(Module(lambda x, t: x / (1.0 + t**2)), dim=dim, batch=2)
    np.testing.assert_array_equal(small(0.8, x), model(0.8, x))
    assert repr(score) == (
        f"from_denoiser(from_torch({Module.__module__}.Module, dim={dim}, order='x, t'), "
        "EDM(sigma_min=0.002, sigma_max=80.0))"
    )


def test_a_raw_score_may_answer_with_tensors_on_a_device() -> None:
    score = scores.checked(lambda t, x: Tensor(-x))
    np.testing.assert_array_equal(score(0.1, np.array([1.0, 2.0])), [-1.0, -2.0])


def test_jax_like_arrays_are_read() -> None:
    class Array:
        def __init__(self, value: Any) -> None:
            self.value = value

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.asarray(self.value, dtype=dtype)

    score = scores.from_denoiser(lambda t, x: Array(x / (1.0 + t**2)), fp.EDM(), dim=2)
    assert score(1.0, np.ones((4, 2))).tolist() == [[-0.5, -0.5]] * 4


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda t, x: x[..., 0], r"denoiser at t = 80: expected the shape of x, \(2, 20, 2\), got \(2, 20\)"),
        (lambda t, x: np.where(x > 3.0, np.nan, x), r"denoiser at t = 80: .* NaN or infinite of 80, .* where x = \("),
        (lambda t, x: np.rint(x).astype(int), r"denoiser at t = 80: .* floats, got integers \(int64\); return floats"),
        (lambda x, t: x, r"model: expected arguments in the order \(t, x\), got \(x, t\); say order='x, t'"),
        (lambda t, x: {}[0], r"denoiser at t = 80: .* answer for points of shape .*, got KeyError: 0; .*from_torch"),
        (lambda t, x: x + 1j, r"real numbers, got ndarray of dtype complex128"),
        (lambda a, b: a[..., :] / (1.0 + b**2), r"it answers when called with \(x, t\): exchange the arguments"),
        (3, r"model: expected a callable model, got 3"),
    ],
)  # fmt: skip
def test_what_a_model_must_not_do_is_refused_at_construction(model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scores.from_denoiser(model, fp.EDM(), dim=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": 0.0}, r"time: expected a finite number > 0, got 0\.0; give the factor of t"),
        ({"order": "x t"}, r"order: expected one of 't, x', 'x, t'"),
        ({"dim": 3}, r"dim: expected 1 or 2"),
    ],
)
def test_bad_options_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scores.from_denoiser(lambda t, x: x / (1.0 + t**2), fp.EDM(), **options)


def test_no_score_without_noise() -> None:
    score = scores.from_denoiser(lambda t, x: x / (1.0 + t**2), fp.EDM(), dim=1)
    with pytest.raises(ValueError, match=r"t: expected a time with noise, sigma2\(0, t\) > 0, got 0\.0"):
        score(0.0, np.ones(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradient": lambda t, x: -x}, r"gradient: .* gradient of the energy .* difference of 2; turn its sign"),
        ({"gradient": lambda t, x: x**3}, r"gradient: expected the gradient of the energy .*; leave it out"),
        ({"step": 0.7}, r"step: expected a number in \(0, 0\.5\], got 0\.7"),
        ({"dim": 3}, r"dim: expected 1 or 2"),
    ],
)  # fmt: skip
def test_bad_energies_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scores.from_energy(lambda t, x: 0.5 * x**2, fp.VP(), **({"dim": 1} | options))


def test_an_energy_of_the_wrong_sign_is_said() -> None:
    with pytest.warns(ProbeWarning, match="points outwards far out"):
        scores.from_energy(lambda t, x: -0.5 * x**2, fp.VP(), dim=1)
    with pytest.raises(ValueError, match=r"energy at t = 1: expected values of shape \(8, 10\), got shape \(\)"):
        scores.from_energy(lambda t, x: np.sum(x), fp.VP(), dim=1)


def test_a_torch_module_without_parameters_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"tensor: expected a function from numpy .* say tensor=torch\.as_tensor"):
        scores.from_torch(lambda x, t: x, dim=1)(0.5, np.ones(3))
    model = scores.from_torch(lambda x, t: Tensor(2.0 * x.array), dim=1, tensor=Tensor)
    assert model(0.5, [1.0, 2.0]).tolist() == [2.0, 4.0]
    with pytest.raises(ValueError, match=r"module at t = 0\.5: expected a tensor of shape \(3, 2\), got \(3,\)"):
        scores.from_torch(lambda x, t: Tensor(x.array[:, 0]), dim=2, tensor=Tensor)(0.5, np.ones((3, 2)))

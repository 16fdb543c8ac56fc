"""Networks as they are: what modules return and take, wrong clocks named, what slow scores cost said beforehand."""

import time
import types
import warnings
from typing import Any

import numpy as np
import pytest

import fpsolve as fp
from fpsolve.scores import exact, from_noise_prediction, from_torch, tabulate, tabulated

TWO = fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5])
PLANE = fp.GaussianMixture([0.5, 0.5], [[-1.5, 0.0], [1.5, 1.0]], covs=[0.2 * np.eye(2), 0.3 * np.eye(2)])
PROCESSES = {"VP": fp.VP(), "EDM": fp.EDM(), "VE": fp.VE(), "flow": fp.RectifiedFlow()}


class Answer:
    """An object with `.sample`, as the models of diffusers return."""

    def __init__(self, sample: Any) -> None:
        self.sample = sample


@pytest.mark.parametrize(
    ("wrap", "word"),
    [
        (lambda a: a, "all"), (lambda a: (a, None), "the first entry"), (Answer, ".sample"),
        (lambda a: {"sample": a}, '["sample"]'),
    ],
)  # fmt: skip
def test_what_modules_return(wrap: Any, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = from_torch(lambda x, t: wrap(x * t[:, None]), dim=2, tensor=np.asarray, batch=3)
    x = np.arange(10.0).reshape(5, 2)
    np.testing.assert_array_equal(model(0.5, x), 0.5 * x)
    np.testing.assert_array_equal(model(0.25, x), 0.25 * x)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"of its answer {word} is taken." in said and "batches of 3" in said
    assert "x (n, 2) of float64" in said


def test_timesteps_floats_and_integers() -> None:
    process, seen = fp.VP.from_betas("linear"), []

    def module(x: Any, t: Any) -> Any:
        seen.append(t[0])
        return x * (t[:, None] ** 2)

    smooth = from_torch(module, dim=1, tensor=np.asarray, timesteps=process, quiet=True)
    whole = from_torch(module, dim=1, tensor=np.asarray, timesteps=process, integer=True, quiet=True)
    t = float(process.time_of(499.25))
    assert smooth(t, 1.0) == pytest.approx(499.25**2, rel=1e-9)
    seen.clear()
    assert whole(t, 1.0) == pytest.approx(0.75 * 499**2 + 0.25 * 500**2, rel=1e-9)
    assert seen == [499, 500] and all(isinstance(n, np.integer) for n in seen)
    seen.clear()
    whole(float(process.time_of(17)), 1.0)
    whole(1e-9, 1.0)
    whole(1.0, 1.0)
    assert seen == [17, 0, 999]
    assert from_torch(module, dim=1, tensor=np.asarray, timesteps=lambda t: 10.0 * t, quiet=True)(0.3, 1.0) == 9.0


def test_moved_first_and_mistakes() -> None:
    moved: list[dict[str, Any]] = []

    class Module:
        def to(self, **where: Any) -> "Module":
            moved.append(where)
            return self

        def __call__(self, x: Any, t: Any) -> Any:
            return x

    model = from_torch(Module(), dim=1, tensor=np.asarray, device="cpu", dtype="float32", quiet=True)
    assert moved == [{"device": "cpu", "dtype": "float32"}] and model(0.5, 2.0) == 2.0
    for options, words in (
        ({"device": "cuda"}, "one that moves"),
        ({"dtype": "torch.bfloat16"}, "bfloat16"),
        ({"timesteps": 3}, "timestep_of"),
    ):
        with pytest.raises(ValueError, match=words):
            from_torch(lambda x, t: x, dim=1, **options)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: (0.3 * x).astype(int), r"module at t = 0.5: expected floats, got integers \(int64\); return floats"),
        (lambda x: x > 0.0, "of dtype bool; return real floats"),
        (lambda x: x + 0j, "of dtype complex128; return real floats"),
        (lambda x: (1e5 * x).astype(np.float16), "got 1 NaN or infinite of 1 in float16, .*; compute in float32"),
        (lambda x: np.array([[None]]), "of dtype object; return real floats"),
    ],
)
def test_answers_that_lost_their_digits_are_refused(answer: Any, words: str) -> None:
    with np.errstate(over="ignore"):
        with pytest.raises(ValueError, match=words):
            from_torch(lambda x, t: answer(x), dim=1, tensor=np.asarray, quiet=True)(0.5, 0.7)
        late = from_noise_prediction(lambda t, x: answer(x) if t == 0.123 else x, PROCESSES["VP"])
        scores = late, fp.scores.checked(lambda t, x: answer(x))
        for score in scores:
            with pytest.raises(ValueError, match=words.split(":")[-1]):
                score(0.123, np.array([0.7]))


@pytest.mark.parametrize(("kind", "far", "words"), [(np.int32, 0.7, "integers"), (np.float16, 7e4, "float16")])
def test_points_that_a_tensor_does_not_hold_are_refused(kind: Any, far: float, words: str) -> None:
    model = from_torch(lambda x, t: np.tanh(1.0 * x), dim=1, tensor=lambda a: a.astype(kind), quiet=True)
    with np.errstate(over="ignore"):
        if kind is np.float16:
            assert model(0.5, 1.0) == pytest.approx(np.tanh(1.0), abs=1e-3)
        with pytest.raises(ValueError, match=f"x as a tensor of the module's type: .*{words}"):
            model(0.5, far)


def test_torch_itself() -> None:
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.steps = torch.nn.Embedding(1000, 2)
            self.layer = torch.nn.Linear(2, 2)

        def forward(self, x: Any, timestep: Any) -> Any:
            return types.SimpleNamespace(sample=self.layer(x) + self.steps(timestep))

    process, net = fp.VP.from_betas("linear"), Net().eval()
    model = from_torch(net, dim=2, timesteps=process, integer=True, dtype=torch.float64, quiet=True)
    x = np.array([[0.3, -0.2], [1.0, 2.0]])
    step = torch.tensor([41, 41])
    truth = net(torch.as_tensor(x), step).sample.detach().numpy()
    np.testing.assert_allclose(model(float(process.time_of(41)), x), truth, rtol=1e-12)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("law", [TWO, PLANE], ids=["line", "plane"])
def test_a_forgotten_factor_of_time_is_named(process: str, law: fp.Law) -> None:
    noise, right = PROCESSES[process], exact(law, PROCESSES[process])

    def network(steps: float, x: Any) -> Any:
        t = min(max(steps / 999.0, 1e-9), float(noise.T))
        return -right(t, x) * np.sqrt(noise.variance(0.0, t))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fp.Reverse(law, noise, score=from_noise_prediction(network, noise))
    said = [str(one.message) for one in caught if one.category is fp.ScoreWarning]
    assert len(said) == 1 and "given 999 t in place of t it fits" in said[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fp.Reverse(law, noise, score=from_noise_prediction(network, noise, time=999.0))


@pytest.mark.parametrize(("process", "factor"), [("VE", -1.0), ("VE", 3.0), ("flow", -1.0), ("flow", 3.0)])
def test_signs_and_factors_on_other_processes(process: str, factor: float) -> None:
    right = exact(PLANE, PROCESSES[process])
    with pytest.warns(fp.ScoreWarning, match=r"turn its sign|it is 3 times the exact one") as caught:
        fp.Reverse(PLANE, PROCESSES[process], score=lambda t, x: factor * right(t, x))
    assert len(caught) == 1


def test_the_cost_of_a_slow_score_is_said_before_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    right, grid = exact(TWO, fp.VP()), fp.Grid.uniform((-6.0, 6.0), cells=64)

    def score(t: float, x: Any) -> Any:
        # only the look before the run is at the centres of all cells
        time.sleep(0.5 * (np.shape(x) == (64,)))
        return right(t, x)

    reverse = fp.Reverse(TWO, fp.VP(), score=score)
    fp.evolve(reverse, {"p": reverse.marginal(1.0)}, grid=grid, steps=80, t_min=0.05)
    said = capsys.readouterr().err
    assert "evolve: the score takes" in said and "points" in said and "fpsolve.scores.tabulate" in said
    looks = []

    def once(t: float, x: Any) -> Any:
        # what is compiled, or remembered for the next time, is slow at its first points only
        looks.append(np.shape(x) == (64,))
        time.sleep(0.5 * (sum(looks) == 1 and looks[-1]))
        return right(t, x)

    for reverse in (fp.Reverse(TWO, fp.VP(), score=once), fp.Reverse(TWO, fp.VP())):
        fp.evolve(reverse, {"p": reverse.marginal(1.0)}, grid=grid, steps=80, t_min=0.05)
        assert "evolve" not in capsys.readouterr().err
    assert sum(looks) == 2


def test_a_budget_in_score_points() -> None:
    right = exact(TWO, fp.VP())
    reverse = fp.Reverse(TWO, fp.VP(), score=lambda t, x: right(t, x))
    start = {"p": fp.Gaussian(0.3, std=1.0)}
    with pytest.warns(fp.ToleranceWarning):
        short = fp.evolve(reverse, start, t_min=0.05, tol=1e-9, score_budget=1.0)
    assert short.attrs["tol_met"] == "no" and len(short.fpsolve.levels) <= 4
    with pytest.raises(ValueError, match="score_budget: expected"):
        fp.evolve(reverse, start, t_min=0.05, tol=1e-3, score_budget=-1.0)


def test_a_table_of_a_network_in_the_plane_runs_like_the_network() -> None:
    """The stated error of the run holds the difference of the two, and the table's own error is measured."""
    rng, process = np.random.default_rng(0), fp.VP()
    layers = [rng.normal(0.0, a**-0.5, (a, b)) for a, b in ((3, 32), (32, 32), (32, 2))]
    right, grid = exact(PLANE, process), fp.Grid.uniform([(-6.0, 6.0)] * 2, cells=(48, 48))

    def network(t: float, x: Any) -> Any:
        h = np.concatenate([np.reshape(x, (-1, 2)), np.full((np.size(x) // 2, 1), t)], axis=1)
        for layer in layers[:-1]:
            h = np.tanh(h @ layer)
        return right(t, x) + 0.05 * (h @ layers[-1]).reshape(np.shape(x))

    table = tabulate(network, grid, np.geomspace(0.1, 1.0, 20))
    runs = []
    for score in (network, tabulated(table, outside="linear")):
        reverse = fp.Reverse(PLANE, process, score=score)
        start = {"p": reverse.marginal(1.0)}
        runs.append(fp.evolve(reverse, start, grid=grid, steps=40, t_min=0.1))
    apart = fp.distances.weighted_tv(*(run.density.isel(start=0, t=-1) for run in runs))
    assert float(table.interpolation_rms.max()) < 0.02
    assert float(apart.distance) < 0.02 and np.isfinite(runs[0].error_estimate).all()

"""The probe: it tells scores from what is handed in for one, and never cries wolf on the exact score."""

from typing import Any

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import data, scores
from fpsolve.scores import probe

PROCESSES = [
    fp.OrnsteinUhlenbeck(T=3.0),
    fp.VP(),
    fp.VP(curvature=5.0, sigma=1.3, beta_max=30.0),
    fp.CosineVP(),
    fp.SubVP(),
    fp.VE(),
    fp.VE(convention="score_sde"),
    fp.EDM(),
]
TARGETS = {
    "two modes": fp.GaussianMixture([0.3, 0.7], [-1.5, 0.8], stds=[0.3, 0.4]),
    "wide": fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5]),
    "geyser": fp.KernelDensity(data.standardise(data.old_faithful()).samples),
    "narrow kernels": fp.KernelDensity(data.standardise(data.old_faithful()).samples, bandwidth=0.05),
}


def models(target: Any, process: Any) -> dict[str, Any]:
    """Perfect models of every kind, from the exact score."""
    exact = scores.exact(target, process)

    def level(t: float) -> tuple[float, float]:
        return float(process.scale(0.0, t)), float(process.variance(0.0, t)) ** 0.5

    def noise(t: float, x: Any) -> Any:
        return -level(t)[1] * exact(t, x)

    def denoiser(t: float, x: Any) -> Any:
        a, s = level(t)
        return (x + s**2 * exact(t, x)) / a

    def velocity(t: float, x: Any) -> Any:
        a, s = level(t)
        return a * noise(t, x) - s * denoiser(t, x)

    return {
        "score": exact,
        "noise prediction": noise,
        "denoiser": denoiser,
        "velocity": velocity,
        "flow velocity": lambda t, x: process.drift_rate(t) * x - 0.5 * process.diffusion(t) ** 2 * exact(t, x),
        "minus a score": lambda t, x: -exact(t, x),
    }


@pytest.mark.parametrize("name", TARGETS)
def test_every_kind_is_recognised(name: str) -> None:
    """By the exact score uniquely (but where two kinds are the same function), by tails alone among others."""
    target = TARGETS[name]
    for process in PROCESSES:
        for kind, model in models(target, process).items():
            blind, seeing = probe(model, process, dim=target.dim), probe(model, process, target=target)
            assert bool(blind.problem) is bool(seeing.problem) is (kind != "score"), (process, kind)
            assert kind in blind.looks_like, (process, kind)
            # s' = 1, a' = 0 for EDM: the flow velocity is the noise
            same = isinstance(process, fp.EDM) and kind in {"noise prediction", "flow velocity"}
            assert seeing.looks_like == (("noise prediction", "flow velocity") if same else (kind,)), (process, kind)


def test_a_denoiser_handed_in_as_a_score_is_named() -> None:
    target, process = TARGETS["two modes"], fp.VP()
    denoiser = models(target, process)["denoiser"]
    found = probe(denoiser, process, target=target)
    assert found.problem.endswith("it looks like a denoiser: use from_denoiser")
    assert "denoiser" in str(found) and found.exact and found.misfits["denoiser"] < 1e-9
    with pytest.raises(ValueError, match=r"score: its score points outwards .* a denoiser: use from_denoiser"):
        fp.Reverse(target, process, score=denoiser).drift(0.5, np.zeros(3))
    # whoever insists may
    insisted = fp.Reverse(target, process, score=scores.checked(denoiser))
    assert np.isfinite(insisted.drift(0.5, np.zeros(3))).all()


def test_adapters_warn_where_the_model_is_of_another_kind() -> None:
    target, process = TARGETS["two modes"], fp.VP()
    kinds = models(target, process)
    said = r"from_noise_prediction\(.*it looks like a score or minus a noise prediction: hand it in as it is"
    with pytest.warns(scores.ProbeWarning, match=said):
        scores.from_noise_prediction(kinds["score"], process, dim=1)
    with pytest.warns(scores.ProbeWarning, match="from_noise_prediction"):
        scores.from_denoiser(kinds["noise prediction"], process, dim=1)
    # tails do not tell the two velocities apart here, the exact score does
    adapted = scores.from_flow_velocity(kinds["velocity"], process, dim=1)
    with pytest.raises(ValueError, match="looks like a velocity: use from_velocity"):
        fp.Reverse(target, process, score=adapted).drift(0.5, np.zeros(3))


def test_the_dimension_is_found_where_it_is_not_said() -> None:
    def plane(t: float, x: Any) -> Any:
        return x @ np.array([[-1.0, 0.0], [0.0, -0.5]])

    assert probe(plane, fp.VP()).dim == 2
    assert probe(lambda t, x: -x, fp.VP()).dim == 1
    with pytest.raises(ValueError, match=r"integers \(int64\)"):
        probe(lambda t, x: np.rint(x @ np.eye(2)).astype(int), fp.VP())


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda x, t: -x, r"score: expected arguments in the order \(t, x\), got \(x, t\); exchange them"),
        (lambda a, b: -a, r"score at t = 1: .* shape of x, \(10,\), got \(\); it answers when called with \(x, t\)"),
        (lambda t, x: np.zeros(3), r"score at t = 1: expected the shape of x, \(10,\), got \(3,\); return one number"),
        (lambda t, x: -np.ones(x.shape, dtype=np.int32), r"score at t = 1: expected floats, got integers \(int32\)"),
        (lambda t, x: np.where(np.abs(x) > 3.0, np.inf, -x), r"2 NaN or infinite of 10, the first where x = 4"),
        (lambda t, x: t.shape, r"got AttributeError: 'float' object has no attribute 'shape'"),
        (2.0, r"score: expected a callable score\(t, x\), got 2\.0"),
    ],
)  # fmt: skip
def test_what_is_no_score_is_refused(score: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        probe(score, fp.VP(), dim=1)
    target = fp.Gaussian(0.0, std=1.0)
    with pytest.raises(ValueError, match="score"):
        fp.Reverse(target, fp.VP(), score=score).score(0.5, np.zeros(3))


def test_swapped_arguments_that_keep_the_shape_are_seen_by_their_tails() -> None:
    found = probe(lambda a, b: -a / (1.0 + np.square(b)), fp.VP(), dim=1)
    assert found.problem


@pytest.mark.parametrize("law", [fp.StudentT(2.0), fp.StudentT(1.0), fp.PointMass(1.0), fp.Uniform(-1.0, 1.0)])
def test_targets_without_a_variance_or_with_kinks_are_no_problem(law: Any) -> None:
    exact = scores.exact(law, fp.VP())
    reverse = fp.Reverse(law, fp.VP(), score=lambda t, x: 1.01 * exact(t, x))
    np.testing.assert_allclose(reverse.score(0.5, np.ones(2)), 1.01 * exact(0.5, np.ones(2)))
    assert not probe(exact, fp.VP(), target=law).problem


def test_warnings_point_at_the_line_of_the_user() -> None:
    for make in (
        lambda: scores.from_denoiser(lambda t, x: 5.0 * x, fp.VP(), dim=1),
        lambda: scores.from_energy(lambda t, x: -0.5 * x**2, fp.VP(), dim=1),
    ):
        with pytest.warns(scores.ProbeWarning) as caught:
            make()
        assert caught[0].filename == __file__


def test_a_target_of_another_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match="target: expected dimension 1"):
        probe(lambda t, x: -x, fp.VP(), dim=1, target=TARGETS["geyser"])
    with pytest.raises(ValueError, match="data_std: expected a finite number > 0"):
        probe(lambda t, x: -x, fp.VP(), dim=1, data_std=0.0)

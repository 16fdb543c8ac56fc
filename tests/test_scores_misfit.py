"""A score that does not fit its target is said: wrong factors, signs and clocks warn, models with errors do not."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fpsolve as fp
from fpsolve.scores import errors, exact, perturbed

TWO = fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5])
TARGETS: dict[str, fp.Law] = {
    "gaussian": fp.Gaussian(0.5, std=0.5),
    "two": TWO,
    "plane": fp.GaussianMixture([0.5, 0.5], [[-2.0, 0.0], [2.0, 1.0]], covs=[0.1 * np.eye(2), 0.3 * np.eye(2)]),
    "laplace": fp.Laplace(0.0, 1.0),
    "student": fp.StudentT(4.0),
}
PROCESSES = {"VP": fp.VP(), "EDM": fp.EDM(), "OU": fp.OrnsteinUhlenbeck(T=3.0)}

#: What people do to a score by mistake, and what the warning calls it.
MISTAKES: dict[str, tuple[Callable[[Any, Any, float, Any], Any], str]] = {
    "three times": (lambda s, p, t, x: 3.0 * s(t, x), "error of 2, it is 3 times the exact one"),
    "twice": (lambda s, p, t, x: 2.0 * s(t, x), "error of 1, it is 2 times the exact one"),
    "half": (lambda s, p, t, x: 0.5 * s(t, x), "error of 0.5, it is 0.5 times the exact one"),
    "sign": (lambda s, p, t, x: -s(t, x), "x.s/|x|^2|it is -1 times the exact one"),
    "nothing": (lambda s, p, t, x: 0.0 * x, "it is 0 times the exact one|outwards"),
    "times the variance": (lambda s, p, t, x: s(t, x) * float(p.variance(0.0, t)), "a factor that depends on time"),
    "over the deviation": (lambda s, p, t, x: s(t, x) / float(p.variance(0.0, t)) ** 0.5, "a factor that depends on"),
    "noise twice": (lambda s, p, t, x: s(t, x) * float(p.diffusion(t)) ** 2, "depends on time|it is 2 times"),
}


def mistaken(name: str, target: fp.Law, process: fp.Process) -> Callable[[float, Any], Any]:
    right, change = exact(target, process), MISTAKES[name][0]
    return lambda t, x: change(right, process, t, x)


@pytest.mark.parametrize(("target", "process"), [("two", "OU"), ("two", "EDM"), ("plane", "VP"), ("student", "VP")])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_warn_when_the_score_is_handed_in(mistake: str, target: str, process: str) -> None:
    law, noise = TARGETS[target], PROCESSES[process]
    with pytest.warns(fp.ScoreWarning, match=r"scores\.probe\(score, process, target=target\)") as caught:
        fp.Reverse(law, noise, score=mistaken(mistake, law, noise))
    (one,) = caught
    assert any(part in str(one.message) for part in MISTAKES[mistake][1].split("|")), str(one.message)
    assert one.filename == __file__


@pytest.mark.parametrize(
    ("process", "clock"),
    [("VP", lambda t: 1.0 - t + 1e-9), ("VP", lambda t: 1e-3 * t), ("EDM", lambda t: 1e-3 * t), ("OU", lambda t: 1e-3)],
    ids=["reversed", "thousandths", "thousandths of sigma", "stopped"],
)
def test_another_clock_warns(process: str, clock: Callable[[float], float]) -> None:
    right = exact(TWO, PROCESSES[process])
    with pytest.warns(fp.ScoreWarning, match="relative error"):
        fp.Reverse(TWO, PROCESSES[process], score=lambda t, x: right(clock(t), x))


def models(law: fp.Law, process: fp.Process) -> dict[str, Callable[[float, Any], Any]]:
    """Scores with errors that models have: too smooth, of few samples, of one sample each, shifted, rough."""
    right = exact(law, process)
    few, all_of_them, own = (
        exact(fp.KernelDensity(law.sample(n, 1), bandwidth=b, bins=0), process)
        for n, b in ((20, None), (1000, None), (50, 1e-3))
    )
    wide = float(np.sqrt(np.trace(np.atleast_2d(law.cov)) / law.dim))
    return {
        "normal": exact(fp.Gaussian(law.mean, std=wide), process),
        "few samples": few,
        "smooth": all_of_them,
        "memorised": own,
        "shifted": lambda t, x: right(t, x - 0.3),
        "rough": lambda t, x: right(t, x) * (1.0 + 0.3 * np.sin(5.0 * x)),
    }


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("target", ["gaussian", "two", "plane", "tight"])
def test_models_with_errors_do_not_warn(target: str, process: str) -> None:
    tight = fp.GaussianMixture([0.3, 0.7], [-1.0, 1.0], stds=[0.05, 0.1])
    law = tight if target == "tight" else TARGETS[target]
    for name, model in models(law, PROCESSES[process]).items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reverse = fp.Reverse(law, PROCESSES[process], score=lambda t, x, model=model: model(t, x))
        assert reverse.score(0.5, np.zeros((3, 2) if law.dim == 2 else 3)).shape[0] == 3, name


def test_what_was_changed_on_purpose_does_not_warn_but_what_is_inside_does() -> None:
    process = PROCESSES["VP"]
    right = exact(TWO, process)
    for meant in (
        perturbed(right, errors.Scaling(2.0)),
        perturbed(right, errors.Bias(5.0)),
        fp.scores.clipped(right, 0.5, dim=1),
        fp.scores.smoothed(perturbed(right, errors.Scaling(-2.0)), 0.2, dim=1),
        fp.scores.checked(lambda t, x: 3.0 * right(t, x)),
    ):
        fp.Reverse(TWO, process, score=meant)
    with pytest.warns(fp.ScoreWarning, match="it is 3 times the exact one"):
        fp.Reverse(TWO, process, score=perturbed(mistaken("three times", TWO, process), errors.Bias(0.01)))


def test_the_sentence_is_that_of_the_probe() -> None:
    score = mistaken("three times", TWO, PROCESSES["VP"])
    found = fp.scores.probe(score, PROCESSES["VP"], target=TWO)
    assert found.implausible == "it is 3 times the exact one" and found.implausible in found.problem
    with pytest.warns(fp.ScoreWarning) as caught:
        fp.Reverse(TWO, PROCESSES["VP"], score=score)
    assert found.problem in str(caught[0].message)
    assert not fp.scores.probe(exact(TWO, fp.VP()), fp.VP(), target=TWO).implausible


def test_a_score_that_sees_the_other_points_is_refused() -> None:
    right = exact(TWO, fp.VP())

    def normalised(t: float, x: Any) -> Any:
        value = right(t, x)
        return value - np.mean(value)

    with pytest.raises(ValueError, match="one value at a point, whatever the others are"):
        _ = fp.Reverse(TWO, fp.VP(), score=normalised).score

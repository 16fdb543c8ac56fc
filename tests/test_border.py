"""What users bring: what a conversion would make numbers of, labels, scales, arguments that contradict each other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fpsolve as fp

LAW, PROCESS = fp.Gaussian(0.0, std=1.0), fp.VP()
REVERSE = fp.Reverse(LAW, PROCESS)
MODEL = fp.Reverse(LAW, PROCESS, score=lambda t, x: -x)
GRID = fp.Grid.uniform((-5.0, 5.0), cells=40)
X = np.array([0.5, 0.2])
NOT_NUMBERS: dict[str, Any] = {
    "complex": np.array([1.0 + 2.0j, 0.5]),
    "complex number": np.complex128(1 + 2j),
    "text": ["0.5", "0.2"],
    "booleans": [True, False],
    "dates": np.array(["2020-01-01", "2020-01-02"], dtype="M8[D]"),
    "masked": np.ma.masked_array([0.5, 0.2], [0, 1]),
    "None": [0.5, None],
}

#: Doors that take numbers, each called with what is none.
DOORS: dict[str, Callable[[Any], object]] = {
    "Gaussian": lambda v: fp.Gaussian(v, std=1.0),
    "GaussianMixture": lambda v: fp.GaussianMixture([0.5, 0.5], v, stds=1.0),
    "KernelDensity": fp.KernelDensity,
    "Laplace": lambda v: fp.Laplace(v, 1.0),
    "Uniform": lambda v: fp.Uniform(v, 5.0),
    "PointMass": fp.PointMass,
    "density": LAW.density,
    "axes": fp.StudentT(3.0).log_density_on_axes,
    "faces": LAW.cell_probabilities,
    "Grid": lambda v: fp.Grid.uniform(v, cells=4),
    "weight": fp.PolynomialWeight(),
    "process time": lambda v: PROCESS.variance(0.0, v),
    "score time": lambda v: REVERSE.score(v, X),
    "score points": lambda v: REVERSE.score(0.5, v),
    "model time": lambda v: MODEL.score(v, X),
    "model points": lambda v: MODEL.score(0.5, v),
    "adapter points": lambda v: fp.scores.from_denoiser(lambda t, x: x / (1.0 + t**2), fp.EDM())(0.5, v),
    "perturbed points": lambda v: fp.scores.perturbed(REVERSE.score, fp.scores.errors.Bias(0.1))(0.5, v),
    "drift points": lambda v: REVERSE.drift(0.5, v),
    "forward points": lambda v: fp.Forward(PROCESS).drift(0.5, v),
    "marginal time": REVERSE.marginal,
    "eta": lambda v: fp.Reverse(LAW, PROCESS, eta=lambda t: v),
    "save_at": lambda v: fp.evolve(REVERSE, LAW, grid=GRID, steps=4, t_min=0.1, save_at=v),
    "start": lambda v: fp.evolve(REVERSE, {"a": v}, grid=fp.Grid.uniform((-1, 1), cells=2), steps=4, t_min=0.1),
    "closed form": lambda v: fp.closed_form.density(REVERSE, LAW, 0.5, v),
    "pushed": lambda v: fp.kernels.exact(REVERSE, fp.Grid.uniform((-1, 1), cells=2), 0.9, 0.5).push(v),
    "strengths": lambda v: fp.stochastic.ScoreNoise([lambda x: x, lambda x: x], v),
    "positions": lambda v: fp.particles.from_positions([0.5], v),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", NOT_NUMBERS)
def test_what_is_not_numbers_is_refused_at_every_door(door: str, kind: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*: expected [^\n]*, got [^\n]*\.$"):
        DOORS[door](NOT_NUMBERS[kind])


def test_the_examples_that_used_to_be_numbers() -> None:
    with pytest.raises(ValueError, match="KernelDensity samples: expected an array of real numbers, got 1 masked of 3"):
        fp.KernelDensity(np.ma.masked_array([1, 2, 1e9], [0, 0, 1]))
    with pytest.raises(ValueError, match="Gaussian mean: expected an array of real numbers, got complex numbers"):
        fp.Gaussian(np.complex128(1 + 2j), std=1.0)
    with pytest.raises(ValueError, match="t: expected a finite number, got 1j"):
        REVERSE.score(1j, X)


def test_nan_is_no_point_to_ask_a_log_density_at() -> None:
    law = fp.FromLogDensity(lambda x: -(x**2) / 2.0, dim=1)
    found = law.density(np.array([0.0, np.nan]))
    assert found[0] == pytest.approx((2.0 * np.pi) ** -0.5) and np.isnan(found[1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: fp.Gaussian(0.0, std=1e300),
        lambda: fp.Gaussian([0.0, 0.0], std=1e300),
        lambda: fp.Gaussian(0.0, std=1e-300),
        lambda: fp.Gaussian(0.0, cov=1e308),
        lambda: fp.Gaussian(1e300, std=1.0),
        lambda: fp.GaussianMixture([0.5, 0.5], [-1e200, 1e200], stds=1.0),
        lambda: fp.Laplace(0.0, 1e300),
        lambda: fp.StudentT(5.0, scale=1e300),
        lambda: fp.Uniform(-1e308, 1e308),
        lambda: fp.KernelDensity([0.0, 1e300]),
        lambda: fp.KernelDensity([0.0, 1.0], bandwidth=1e-300),
    ],
)
def test_lengths_whose_squares_are_no_numbers_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"expected numbers of a size of .*; choose another unit of length"):
        make()


def test_cells_whose_faces_are_one_number_are_refused() -> None:
    for bounds in ((-1e308, 1e308), (1e17, 1e17 + 64.0)):
        with pytest.raises(ValueError, match="bounds: expected cells whose faces are different numbers"):
            fp.Grid.uniform(bounds, cells=100)


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ({"a": np.zeros(40)}, "> 0 in some cells, got zeros"),
        ({"a": -np.ones(40)}, "> 0 in some cells, got none of them"),
        ({"": LAW}, "labels of 1 to 200 printable characters, got ''"),
        ({"a\0b": LAW}, "labels of 1 to 200 printable characters"),
        ({"a\n": LAW}, "labels of 1 to 200 printable characters"),
        ({"a" * 1000: LAW}, "labels of 1 to 200 printable characters"),
        ({1: LAW}, "labels that are strings, got 1"),
        ({None: LAW}, "labels that are strings, got None"),
    ],
)
def test_starts_that_are_nothing_or_have_no_name_are_refused(starts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^starts.*: expected .*{message}"):
        fp.evolve(REVERSE, starts, grid=GRID, steps=4, t_min=0.1)


def test_cell_averages_may_come_as_a_list() -> None:
    averages = GRID.cell_average(LAW)
    starts = {"listed": averages.tolist(), "given": averages}
    run = fp.evolve(REVERSE, starts, grid=GRID, steps=4, t_min=0.5)
    np.testing.assert_array_equal(run.density.sel(start="listed"), run.density.sel(start="given"))


def test_langevin_drift_is_the_score() -> None:
    np.testing.assert_allclose(fp.Langevin(fp.Gaussian(1.0, std=2.0)).drift(0.0, X), -(X - 1.0) / 4.0)


CONTRADICTIONS: dict[str, tuple[Callable[[], object], str]] = {
    "a model of another process": (
        lambda: fp.Reverse(LAW, PROCESS, score=fp.scores.from_denoiser(lambda t, x: x / (1.0 + t**2), fp.EDM())).score,
        "score: expected one for the process VP",
    ),
    "churn of another process": (
        lambda: fp.Reverse(LAW, PROCESS, eta=fp.dynamics.edm_churn(40.0, process=fp.EDM())),
        "eta: expected churn of the process VP",
    ),
    "a score of another dimension": (
        lambda: fp.Reverse(LAW, PROCESS, score=fp.scores.clipped(REVERSE.score, 1.0, dim=2)).score,
        "score: expected dimension 1 as the target has, got dimension 2",
    ),
    "a law of another dimension": (
        lambda: fp.steady_state(fp.Langevin(fp.Gaussian([0.0, 0.0], std=1.0)), GRID),
        "dynamics: expected dimension 1 as the grid has, got dimension 2",
    ),
    "a ring in the scaled frame": (
        lambda: fp.evolve(
            fp.Dynamics(lambda t, x: -x, boundary="periodic"), LAW, grid=GRID, steps=4, t_max=1.0, frame="scaled"
        ),
        "frame: expected 'fixed' or 'auto'",
    ),
    "drift and potential": (lambda: fp.Dynamics(lambda t, x: -x, potential=lambda t, x: x**2), "exactly one of"),
}


@pytest.mark.parametrize("pair", CONTRADICTIONS)
def test_arguments_that_contradict_each_other_are_refused(pair: str) -> None:
    call, message = CONTRADICTIONS[pair]
    with pytest.raises(ValueError, match=message):
        call()

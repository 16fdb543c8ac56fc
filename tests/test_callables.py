"""What users hand in as functions: exchanged arguments, wrong shapes and types, values that depend on other points."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad

import fpsolve as fp
from fpsolve import _callables

LINE = fp.Grid.uniform((-5, 5), cells=60)
PLANE = fp.Grid.uniform([(-5, 5), (-4, 4)], cells=(20, 16))
RING = fp.Grid.uniform((-np.pi, np.pi), cells=128)
START = {1: fp.Gaussian(1.0, std=0.5), 2: fp.Gaussian([1.0, 0.0], std=0.5)}
RNG = np.random.default_rng(0)


def in_place(t: float, x: Any) -> Any:
    x *= -1.0
    return x


#: Functions that are no drift or potential of (t, x), and a part of the sentence that says why.
NOT_OF_T_AND_X: list[tuple[Callable[..., Any], str]] = [
    (lambda x, t: -x, r"arguments in the order \(t, x\), got \(x, t\)"),
    (lambda x, _: -x, r"arguments in the order \(t, x\), got \(x, _\)"),
    (lambda a, b: -a, r"when called with \(x, t\): exchange the arguments"),
    (lambda a, b: -a * (1.0 + np.exp(-b)) * a.shape[0], r"when called with \(x, t\): exchange the arguments"),
    (lambda x: -x, r"a function of \(t, x\), got one of \(x\)"),
    (lambda t, x, y: -x, r"a function of \(t, x\), got one of \(t, x, y\)"),
    (lambda t, x: -x + 0j, "complex numbers"),
    (lambda t, x: x > 0.0, "booleans"),
    (lambda t, x: x.astype(str), "text"),
    (lambda t, x: np.ma.masked_greater(x, 1.0), "masked"),
    (lambda t, x: None, "None"),
    (lambda t, x: x[:-1], "expected values of shape"),
    (lambda t, x: x.no_such_name, "AttributeError"),
    (lambda t, x: np.where(x > 1.0, np.nan, x), r"NaN or infinite of \d+, the first where x = "),
    (lambda t, x: x - x.mean(), "one value at a point, whatever the others are"),
    (lambda t, x: x / np.abs(x).max(), "one value at a point, whatever the others are"),
    (lambda t, x: -x + RNG.normal(size=x.shape), "one value at a point, whatever the others are"),
    (in_place, "leaves its points alone"),
]


@pytest.mark.parametrize("role", ["drift", "potential"])
@pytest.mark.parametrize(("function", "message"), NOT_OF_T_AND_X, ids=[m[:35] for _, m in NOT_OF_T_AND_X])
def test_what_is_no_function_of_time_and_points_is_refused(role: str, function: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{role}.*{message}"):
        fp.evolve(fp.Dynamics(**{role: function}), START[1], grid=LINE, steps=4, t_max=0.5)


@pytest.mark.parametrize(
    "dynamics",
    [
        lambda: fp.Dynamics(lambda a, b: -a),
        lambda: fp.Dynamics(potential=lambda a, b: (a**2).sum(axis=-1) / 2),
        lambda: fp.Dynamics(lambda position, time: -position),
    ],
)
def test_an_exchanged_order_is_refused_in_the_plane_too(dynamics: Any) -> None:
    with pytest.raises(ValueError, match=r"exchange the|order \(t, x\)"):
        fp.evolve(dynamics(), START[2], grid=PLANE, steps=4, t_max=0.5)
    with pytest.raises(ValueError, match=r"exchange the|order \(t, x\)"):
        fp.kernels.finite_volume(dynamics(), PLANE, 0.0, 0.1)


def test_the_exchanged_order_is_refused_by_steady_states() -> None:
    with pytest.raises(ValueError, match="exchange the arguments"):
        fp.steady_state(fp.Dynamics(lambda a, b: -a, autonomous=True), LINE)


@pytest.mark.parametrize(
    ("drift", "mean"),
    [
        (lambda t, x: -x, np.exp(-1.0)),
        (lambda a, b: -b, np.exp(-1.0)),
        (lambda r, point: (-point).tolist(), np.exp(-1.0)),
        (lambda t, x: 0.5, 1.5),
        (lambda t, x: np.cos(t), 1.0 + np.sin(1.0)),
        (lambda a, b: -a * b, np.exp(-0.5)),
    ],
)
def test_what_is_one_is_run_and_moves_the_mean_as_it_should(drift: Any, mean: float) -> None:
    grid = fp.Grid.uniform((-6, 7), cells=260)
    run = fp.evolve(fp.Dynamics(drift, 0.5), START[1], grid=grid, steps=100, t_max=1.0, estimate=False)
    assert float((run.density[0, -1] * grid.x).sum() * grid.volume) == pytest.approx(mean, abs=3e-3)


def test_a_constant_vector_is_a_drift_of_the_plane() -> None:
    dynamics = fp.Dynamics(lambda t, x: [0.5, 0.0], 0.3)
    run = fp.evolve(dynamics, START[2], grid=PLANE, steps=10, t_max=1.0, estimate=False)
    assert float((run.density[0, -1] * PLANE.x[..., 0]).sum() * PLANE.volume) == pytest.approx(1.5, abs=1e-4)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ([1.0, 2.0], "a finite number >= 0"),
        (np.array([1.0, 2.0]), "a finite number >= 0"),
        ("1", "a finite number >= 0"),
        (True, "a finite number >= 0"),
        (-1.0, "a finite number >= 0"),
        (lambda t, x: 1.0 + x**2, r"a function of \(t\), got one of \(t, x\)"),
        (lambda x: 1.0 + x**2, r"a function of \(t\), got one of \(x\)"),
        (lambda t: np.array([1.0, 2.0]), r"at t = .*: expected a finite number >= 0, got array\(\[1., 2.\]\)"),
        (lambda t: 1.0 + 0j, "at t = .*: expected a finite number >= 0"),
        (lambda t: -1.0, "at t = .*: expected a finite number >= 0, got -1.0"),
    ],
)
def test_noise_is_one_number_at_every_time(noise: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^noise.*{message}.*the same along every axis and at every x"):
        fp.evolve(fp.Dynamics(lambda t, x: -x, noise), START[1], grid=LINE, steps=4, t_max=0.5)


@pytest.mark.parametrize("way", ["evolve", "steady_state", "kernel"])
def test_a_potential_that_is_not_periodic_is_refused_on_a_ring(way: str) -> None:
    ring = fp.Dynamics(potential=lambda t, x: -0.7 * x - np.cos(x), boundary="periodic", autonomous=True)
    calls: dict[str, Callable[[], object]] = {
        "evolve": lambda: fp.evolve(ring, START[1], grid=RING, steps=4, t_max=0.5),
        "steady_state": lambda: fp.steady_state(ring, RING),
        "kernel": lambda: fp.kernels.finite_volume(ring, RING, 0.0, 0.1),
    }
    with pytest.raises(ValueError, match=r"^potential: .* differ by 4\.4 at t = .*; give the drift instead"):
        calls[way]()


def test_a_potential_on_a_grid_of_another_period_is_refused_along_both_axes() -> None:
    wrong = fp.Dynamics(potential=lambda t, x: -np.sin(x), boundary="periodic", autonomous=True)
    with pytest.raises(ValueError, match="or a grid of one period"):
        fp.steady_state(wrong, fp.Grid.uniform((-4.0, 4.0), cells=60))
    torus = fp.Grid.uniform([(-np.pi, np.pi)] * 2, cells=12)
    for tilt in ([0.1, 0.0], [0.0, 0.1]):
        slope = np.array(tilt)
        tilted = fp.Dynamics(
            potential=lambda t, x, slope=slope: x @ slope - np.cos(x[..., 0]), boundary="periodic", autonomous=True
        )
        with pytest.raises(ValueError, match=r"values that differ by 0\.628"):
            fp.steady_state(tilted, torus)


def test_the_drift_of_a_tilted_potential_has_the_law_with_a_current() -> None:
    # p(x) ~ exp(-Phi(x)) int_x^{x + 2 pi} exp(Phi(y)) dy with D = 1 (Risken 1989, doi:10.1007/978-3-642-61544-3)
    def density(x: float) -> float:
        return quad(lambda y: np.exp((-0.7 * y - np.cos(y)) - (-0.7 * x - np.cos(x))), x, x + 2.0 * np.pi)[0]

    tilted = fp.Dynamics(lambda t, x: 0.7 - np.sin(x), boundary="periodic", autonomous=True)
    right = np.array([density(x) for x in RING.x])
    right /= right.sum() * RING.volume
    np.testing.assert_allclose(fp.steady_state(tilted, RING).values, right, atol=2e-4)


def test_coefficients_that_change_are_not_autonomous() -> None:
    for changing in (
        fp.Dynamics(lambda t, x: -x * (1.0 + t), autonomous=True),
        fp.Dynamics(lambda t, x: -x, lambda t: 1.0 + t, autonomous=True),
        fp.Dynamics(potential=lambda t, x: x**2 * (1.0 + np.sin(t)), autonomous=True),
    ):
        with pytest.raises(ValueError, match=r"^dynamics: .* as autonomous=True says"):
            fp.steady_state(changing, LINE)


def test_names_decide_only_where_they_are_sure() -> None:
    for names, right in ((lambda t, x: 0.0, "t, x"), (lambda sigma, point: 0.0, "t, x"), (lambda a, b: 0.0, "t, x")):
        _callables.refuse_signature("f", names, right)
    for names in (lambda x, t: 0.0, lambda u, t: 0.0, lambda x, s: 0.0, lambda pos, tau: 0.0):
        with pytest.raises(ValueError, match="exchange them"):
            _callables.refuse_signature("f", names, "t, x")
    _callables.refuse_signature("f", np.hypot, "t, x")  # compiled: nothing is known


SIBLINGS: dict[str, Callable[[Any], object]] = {
    "weight": lambda f: fp.weights.evaluate(f, np.linspace(-1.0, 2.0, 40)),
    "weight in the plane": lambda f: fp.weights.evaluate(lambda x: f(x[..., 0]), PLANE),
    "cell average": LINE.cell_average,
    "slope": lambda f: fp.stochastic.RadialFunction(slope=f).value(np.linspace(-1.0, 2.0, 40), 1),
    "profile": lambda f: fp.stochastic.RadialFunction(profile=f).gradient(np.linspace(-1.0, 2.0, 40), 1),
    "mode": lambda f: fp.stochastic.ScoreNoise([f], [1.0]).values(0.0, np.linspace(-1.0, 2.0, 40)),
}
TWO = fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5])


def moves_its_points(x: Any) -> Any:
    x += 1.0
    return 1.0 + x**2


NOT_OF_X: list[tuple[Callable[..., Any], str]] = [
    (lambda x: 1.0 + x**2 + 0j, "complex numbers"),
    (lambda x: x > 0.0, "booleans"),
    (lambda x: np.ma.masked_less(1.0 + x**2, 1.5), "masked"),
    (lambda x: None, "None"),
    (lambda x: 1.0 + x**2 / np.mean(x**2), "one value at a point"),
    (lambda x: 1.0 + x**2 + RNG.random(), "one value at a point"),
    (lambda x: (1.0 + x**2)[1:], "shape"),
    (lambda x: float(x), "TypeError"),
    (moves_its_points, "alone"),
]


@pytest.mark.parametrize("role", SIBLINGS)
@pytest.mark.parametrize(("function", "message"), NOT_OF_X, ids=[m[:35] for _, m in NOT_OF_X])
def test_what_is_no_function_of_points_is_refused_wherever_one_is_taken(role: str, function: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SIBLINGS[role](function)


@pytest.mark.parametrize("role", [role for role in SIBLINGS if role != "profile"])
def test_a_function_of_points_is_taken(role: str) -> None:
    SIBLINGS[role](lambda x: 1.0 + x**2)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: -(x**2) + 0.1 * x.mean(), "one value at a point"),
        (lambda x: -(x**2) + RNG.random(), "one value at a point"),
        (lambda x: -(x**2) + 0j, "complex numbers"),
        (lambda x: None, "None"),
        (lambda x: math.exp(x), "an answer for points of shape .*TypeError.*use numpy functions"),
    ],
)
def test_a_log_density_has_a_value_at_every_point(function: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^log_density: .*{message}"):
        fp.FromLogDensity(function, dim=1)


def test_a_function_of_time_is_no_weight_and_no_log_density() -> None:
    with pytest.raises(ValueError, match=r"weight: expected a function of \(x\), got one of \(t, x\)"):
        fp.weights.evaluate(lambda t, x: 1.0 + x**2, LINE)
    with pytest.raises(ValueError, match=r"log_density: expected a function of \(x\), got one of \(t, x\)"):
        fp.FromLogDensity(lambda t, x: -(x**2), dim=1)
    with pytest.raises(ValueError, match=r"error: expected arguments in the order \(t, x\), got \(x, t\)"):
        fp.scores.perturbed(fp.scores.exact(TWO, fp.VP()), lambda x, t: 0.1 * x)
    with pytest.raises(ValueError, match=r"modes\[0\]: expected arguments in the order \(t, x\), got \(x, t\)"):
        fp.stochastic.ScoreNoise([lambda x, t: x], [1.0])


@dataclass(frozen=True)
class Own(fp.Process):
    """Ornstein-Uhlenbeck in somebody's own hand, with one mistake of choice."""

    mistake: str = ""
    T: float = 1.0
    prior_std: float = 1.0

    def drift_rate(self, t: Any) -> Any:
        return (1.0 if self.mistake == "sign" else -1.0) * np.ones_like(t)

    def diffusion(self, t: Any) -> Any:
        return (2.0 if self.mistake == "squared" else 2.0**0.5) * np.ones_like(t)

    def scale(self, s: Any, t: Any) -> Any:
        if self.mistake == "scalar":
            return math.exp(s - t)
        return np.exp((0.0 if self.mistake == "from 0" else 1.0) * np.asarray(s) - t)

    def variance(self, s: Any, t: Any) -> Any:
        if self.mistake == "nan":
            return np.full(np.broadcast(s, t).shape, np.nan)
        return -np.expm1((-1.0 if self.mistake == "half" else -2.0) * (np.asarray(t) - s))


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("sign", r"log scale = int drift_rate between t = 0\.001 and .*, got -0\.00216228 and 0\.00216228"),
        ("squared", r"variance = int scale\(u, t\)\^2 diffusion\(u\)\^2 du"),
        ("from 0", r"scale\(0, T\) = scale\(0, s\) scale\(s, T\)"),
        ("half", r"variance\(0, T\) = scale\(s, T\)\^2 variance\(0, s\) \+ variance\(s, T\)"),
        ("scalar", r"process scale: expected an answer for times of shape \(14,\), got TypeError"),
        ("nan", r"process variance: expected finite numbers"),
    ],
)
@pytest.mark.parametrize("way", ["Reverse", "Forward"])
def test_a_process_of_ones_own_is_one_diffusion(way: str, mistake: str, message: str) -> None:
    def make(process: fp.Process) -> object:
        return fp.Forward(process) if way == "Forward" else fp.Reverse(TWO, process)

    make(Own())
    with pytest.raises(ValueError, match=message):
        make(Own(mistake))


@pytest.mark.parametrize(
    "built_in",
    [fp.VP(beta_min=0, curvature=5.0), fp.CosineVP(), fp.SubVP(), fp.VE(), fp.EDM(), fp.OrnsteinUhlenbeck(T=3.0)],
)
def test_the_processes_of_fpsolve_pass_the_look_at_ones_own(built_in: fp.Process) -> None:
    kind = type("Subclass", (type(built_in),), {"__module__": "elsewhere"})
    given = {field.name: getattr(built_in, field.name) for field in fields(built_in) if field.init}
    fp.processes.checked_process(kind(**given))

"""Entropy bounds for score errors: attained by Gaussians, above every run, violated when the error is understated."""

from itertools import pairwise

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import bounds

GRID = fp.Grid.uniform((-8, 8), cells=240)
WIDE = fp.Gaussian(0.3, std=1.4)
PLANE = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=48)


def wave(t, x):
    return 0.4 * np.sin(2.0 * x + t)


def langevin_run(law, error, diffusivity=1.0, start=WIDE):
    def drift(t, x):
        score = -(x - 0.3) / 1.4**2 if law is WIDE else -x
        return diffusivity * score + error(t, x)

    dynamics = fp.Dynamics(drift, (2.0 * diffusivity) ** 0.5)
    return fp.evolve(dynamics, {"start": start}, grid=GRID, steps=120, t_max=3.0)


@pytest.mark.parametrize("diffusivity", [1.0, 0.5])
@pytest.mark.parametrize("error", [wave, lambda t, x: np.tanh(x), lambda t, x: 0.0 * x])
def test_langevin_bound(error, diffusivity):
    law = fp.Gaussian(0.0, std=1.0)
    run = langevin_run(law, error, diffusivity, fp.Gaussian(1.5, std=0.7))
    found = bounds.langevin_kl(run, law, error, convexity=1.0, diffusivity=diffusivity)
    print(found.holds, f"end: {found.kl_end:.3g} <= {found.value:.3g}")
    assert found.certified
    assert found.holds.holds
    assert found.kl_start == pytest.approx(0.5 * (0.49 + 1.5**2 - 1.0) - np.log(0.7), rel=1e-4)


def test_langevin_bound_is_attained_by_a_constant_push():
    """pi = N(0, 1/l), delta constant: the limit is N(delta/(l D), 1/l), its entropy delta^2/(2 l D^2)."""
    law, push, D = WIDE, 0.6, 1.0
    run = langevin_run(law, lambda t, x: np.full_like(x, push))
    found = bounds.langevin_kl(run, law, lambda t, x: np.full_like(x, push), convexity=1.0 / 1.4**2, diffusivity=D)
    mean = push * 1.4**2 * (1.0 - np.exp(-3.0 / 1.4**2))
    assert found.kl_end == pytest.approx(mean**2 / (2.0 * 1.4**2), rel=1e-3)
    assert found.value == pytest.approx(push**2 * 1.4**2 / 2.0, rel=1e-6)
    assert found.holds.holds


def test_an_understated_error_violates_the_bounds():
    push = 0.6
    run = langevin_run(WIDE, lambda t, x: np.full_like(x, push))
    low = bounds.langevin_kl(run, WIDE, lambda t, x: np.full_like(x, 0.6 * push), convexity=1.0 / 1.4**2)
    assert not low.holds.holds
    exact, wrong, error = reverse_case("bias", 1.0)
    run = fp.evolve(wrong, exact.marginal(1.0), grid=GRID, steps=160, t_min=0.05, save_at=SAVES)
    assert bounds.reverse_kl(run, exact, error).holds.holds
    assert not bounds.reverse_kl(run, exact, lambda t, x: 0.5 * error(t, x)).holds.holds


def test_no_certificate_without_convexity():
    law = fp.GaussianMixture([0.5, 0.5], [-1.5, 1.5], stds=[0.6, 0.6])
    run = fp.evolve(fp.Langevin(law), law, grid=GRID, steps=20, t_max=0.2)
    found = bounds.langevin_kl(run, law, wave, convexity=0.5)
    assert not found.certified
    assert "Hess" in found.reason


def test_convexity_is_asked_of_the_whole_line():
    """A component of weight 1e-12 far out leaves no trace on the grid, and Hess(-log pi) is negative before it."""
    law = fp.GaussianMixture([1 - 1e-12, 1e-12], [0.0, 40.0], stds=[1.0, 1.0])
    run = fp.evolve(fp.Langevin(fp.Gaussian(0.0, std=1.0)), WIDE, grid=GRID, steps=10, t_max=0.2)
    found = bounds.langevin_kl(run, law, wave, convexity=0.9)
    assert not found.certified and "Hess" in found.reason
    # modes so close that the mixture is log-concave: 1/v - d^2/(4 v^2) in closed form
    close = fp.GaussianMixture([0.5, 0.5], [-0.3, 0.3], stds=[1.0, 1.0])
    least = 1.0 - 0.6**2 / 4
    assert bounds.langevin_kl(run, close, wave, convexity=least - 1e-6).certified
    assert not bounds.langevin_kl(run, close, wave, convexity=least + 0.01).certified


SAVES = np.linspace(0.05, 1.0, 61)
ERRORS = {"bias": lambda t, x: np.full_like(x, 0.5), "wave": wave, "late": lambda t, x: 0.4 * x * np.exp(-5.0 * t)}


def reverse_case(name, eta):
    target = (
        fp.Gaussian(0.4, std=0.7) if name == "bias" else fp.GaussianMixture([0.4, 0.6], [-1.2, 1.0], stds=[0.5, 0.7])
    )
    exact = fp.Reverse(target, fp.OrnsteinUhlenbeck(T=1.0), eta=eta)
    error = ERRORS[name]
    score = exact.score
    return exact, fp.Reverse(target, exact.process, score=lambda t, x: score(t, x) + error(t, x), eta=eta), error


@pytest.mark.parametrize("eta", [1.0, 0.5, 1.6])
@pytest.mark.parametrize("name", ERRORS)
def test_reverse_bound(name, eta):
    exact, wrong, error = reverse_case(name, eta)
    starts = {"exact": exact.marginal(1.0), "prior": fp.Gaussian(0.0, std=1.0)}
    run = fp.evolve(wrong, starts, grid=GRID, steps=160, t_min=0.05, save_at=SAVES)
    for start in starts:
        tight = bounds.reverse_kl(run, exact, error, start=start)
        loose = bounds.reverse_kl(run, exact, error, start=start, information=False)
        print(f"{name}, eta = {eta:g}, {start}: {tight.kl_end:.4g} <= {tight.value:.4g} <= {loose.value:.4g}")
        assert tight.holds.holds
        assert loose.holds.holds
        assert tight.value <= loose.value
        assert np.all(tight.measured_error[1:] < 0.05 * np.maximum(loose.bound[1:], 1e-3))


def test_reverse_bound_in_the_plane():
    exact = fp.Reverse(fp.Gaussian([0.3, 0.0], cov=[[0.6, 0.2], [0.2, 0.8]]), fp.OrnsteinUhlenbeck(T=1.0))
    score = exact.score

    def error(t, x):
        return 0.3 * np.sin(x[..., ::-1])

    wrong = fp.Reverse(exact.target, exact.process, score=lambda t, x: score(t, x) + error(t, x))
    run = fp.evolve(wrong, exact.marginal(1.0), grid=PLANE, steps=60, t_min=0.1, save_at=np.linspace(0.1, 1.0, 21))
    found = bounds.reverse_kl(run, exact, error)
    print(found, found.holds)
    assert found.holds.holds
    assert found.kl_end > 1e-3


def test_refusals():
    exact, wrong, error = reverse_case("bias", 1.0)
    run = fp.evolve(wrong, {"a": WIDE, "b": WIDE}, grid=GRID, steps=10, t_min=0.5, save_at=[0.5])
    with pytest.raises(ValueError, match="start: expected the label"):
        bounds.reverse_kl(run, exact, error)
    with pytest.raises(ValueError, match="the exact dynamics"):
        bounds.reverse_kl(run, wrong, error, start="a")
    with pytest.raises(ValueError, match="convexity"):
        bounds.langevin_kl(run, WIDE, error, convexity=0.0, start="a")
    with pytest.raises(ValueError, match="fixed frame"):
        bounds.reverse_kl(run.assign_attrs(frame="scaled"), exact, error, start="a")
    with pytest.raises(ValueError, match="a run with error estimates, got one without"):
        bounds.reverse_kl(run.assign(error_estimate=np.nan * run["error_estimate"]), exact, error, start="a")


@pytest.mark.parametrize("eta", [1.0, 0.6])
def test_the_terms_of_the_reverse_bound_by_hand(eta):
    """A constant error e moves the mean by m(r) only: E|e|^2 = e^2 and I = m^2/v_t^2, g^2 = 2."""
    exact, wrong, error = reverse_case("bias", eta)
    wrong = fp.Reverse(exact.target, exact.process, score=fp.scores.checked(wrong.score_model, 1), eta=eta)
    run = fp.evolve(wrong, exact.marginal(1.0), grid=GRID, steps=160, t_min=0.05, save_at=SAVES)
    gained, factor = 0.95 * 0.5**2, ((1 + eta**2) / 2 * 2.0) ** 2 / (eta**2 * 2.0)
    loose = bounds.reverse_kl(run, exact, error, information=False)
    assert loose.value == pytest.approx(factor * gained, rel=1e-4)
    mean, lost, times = 0.0, 0.0, np.linspace(1.0, 0.05, 20_001)
    for t, later in pairwise(times):
        v = np.exp(-2 * t) * 0.49 - np.expm1(-2 * t)
        lost += (t - later) * eta**2 * 2.0 / 4.0 * mean**2 / v**2
        mean += (t - later) * ((1 - (1 + eta**2) / v) * mean + (1 + eta**2) * 0.5)
    tight = bounds.reverse_kl(run, exact, error)
    assert tight.value == pytest.approx(factor * gained - lost, rel=1e-2)
    v = np.exp(-0.1) * 0.49 - np.expm1(-0.1)
    assert tight.kl_end == pytest.approx(mean**2 / (2 * v), rel=1e-2)


def test_an_error_narrower_than_the_cells_is_no_bound():
    """A spike at one cell centre: what the centres say of E|e|^2 is several times what it is, or nothing beside it."""
    law, grid = fp.Gaussian(0.0, std=1.0), fp.Grid.uniform((-8, 8), cells=160)
    run = fp.evolve(fp.Langevin(law), fp.Gaussian(1.0, std=0.5), grid=grid, steps=20, t_max=0.5)

    def spike(t, x):
        return np.exp(-0.5 * ((x - 0.05) / 0.01) ** 2)

    found = bounds.langevin_kl(run, law, spike, convexity=1.0)
    assert found.value is None and "the cells resolve E|e|^2" in found.reason
    assert bounds.langevin_kl(run, law, lambda t, x: 0.1 * np.cos(x), convexity=1.0).value is not None

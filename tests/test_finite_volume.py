"""Fluxes: positivity, column sums, Gibbs states, agreement with textbook limits of the Bernoulli function."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpsolve.solver import exponents_from_drift, generator_matrix, jump_rates, rates_from_log_gibbs


def ratios_of(z):
    up, down = jump_rates(np.array([[z]]), np.array([1.0]))
    return up[0, 0], down[0, 0]


@given(st.floats(-700.0, 700.0))
def test_rates_are_positive_and_their_ratio_is_the_gibbs_factor(z):
    up, down = ratios_of(z)
    assert up > 0.0
    assert down > 0.0
    assert np.log(up) - np.log(down) == pytest.approx(z, rel=1e-13, abs=1e-15)
    # Ber(-z) - Ber(z) = z: pure drift in the mean.
    assert up - down == pytest.approx(z, rel=1e-13, abs=1e-15)


@pytest.mark.parametrize("z", [-1e4, -2000.0, 2000.0, 1e4])
def test_strong_drift_becomes_upwind_without_overflow(z):
    up, down = ratios_of(z)
    assert max(up, down) == pytest.approx(abs(z), rel=1e-12)
    assert min(up, down) == 0.0


@pytest.mark.parametrize("z", [0.0, 1e-12, 0.4999999, 0.5, 0.5000001, 3.0])
def test_bernoulli_function_across_the_seam_of_its_series(z):
    _, down = ratios_of(z)
    exact = 1.0 if z == 0.0 else z / np.expm1(z)
    assert down == pytest.approx(exact, rel=4e-16 * 8)


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("shape", [(7,), (5, 4)])
@pytest.mark.parametrize("seed", range(20))
def test_generator_has_zero_column_sums_and_non_negative_off_diagonals(shape, periodic, seed):
    rng = np.random.default_rng(seed)
    u = rng.normal(size=(1, *shape)) * 5
    pairs = []
    for axis in range(len(shape)):
        up, down = rates_from_log_gibbs(u, axis, np.array([3.0]), periodic=periodic)
        pairs.append((up[0], down[0]))
    a = generator_matrix(pairs, shape).toarray()
    assert np.abs(a.sum(axis=0)).max() <= 1e-14 * np.abs(a).max()
    off = a - np.diag(np.diag(a))
    assert off.min() >= 0.0
    # Negative control: dropping one back-jump breaks the balance. The one that carries most: for any u it is a share
    # of at least 1/(4 dim) of all that leaves and enters a cell, others may carry nothing.
    carried = [
        down * np.roll(np.exp(u[0]), -1, axis)[tuple(map(slice, down.shape))] for axis, (_, down) in enumerate(pairs)
    ]
    axis = int(np.argmax([one.max() for one in carried]))
    pairs[axis][1].flat[carried[axis].argmax()] = 0.0
    broken = generator_matrix(pairs, shape).toarray()
    gibbs = np.exp(u[0]).ravel()
    assert np.abs(a @ gibbs).max() <= 1e-12 * (np.abs(a) @ gibbs).max()
    assert np.abs(broken @ gibbs).max() > 0.1 * (np.abs(a) @ gibbs).max()


@pytest.mark.parametrize("peclet", [1e-3, 1.0, 30.0, 1e3, 1e4])
def test_constant_convection_diffusion_keeps_its_exact_exponential_profile(peclet):
    # -b q + D q' = -F with constant b, D on [0, 1]: q = exp(b x / D) carries no flux (FiPy's exponential profile).
    n, diffusivity = 40, 0.7
    h = 1.0 / n
    drift = peclet * diffusivity / h / n
    z = exponents_from_drift(np.full((1, n - 1), drift), np.array([diffusivity]), h)
    up, down = jump_rates(z, np.array([diffusivity / h**2]))
    x = (np.arange(n) + 0.5) * h
    log_q = drift / diffusivity * (x - 1.0)
    balance = np.log(up[0]) + log_q[:-1] - np.log(down[0]) - log_q[1:] if peclet < 700 * n else np.zeros(1)
    assert np.abs(balance).max() <= 1e-11 * max(1.0, peclet)

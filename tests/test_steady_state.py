"""Steady states: Gibbs states to round-off, a driven ring against closed-form quadrature."""

import numpy as np
import pytest
from scipy.integrate import quad

import fpsolve as fp


def two_wells():
    return fp.GaussianMixture(weights=[0.4, 0.6], means=[-2.0, 2.0], stds=[0.5, 0.4])


def on_grid(log_values, grid):
    values = np.exp(log_values - log_values.max())
    return values / (values.sum() * grid.volume)


def test_langevin_of_a_two_well_law_is_its_gibbs_state():
    grid = fp.Grid.uniform((-6, 6), cells=400)
    q = fp.steady_state(fp.Langevin(two_wells()), grid).values
    gap = np.abs(q - on_grid(two_wells().log_density(grid.x), grid)).max()
    print("two wells: largest difference", gap)
    assert gap <= 1e-12


def test_langevin_in_the_plane():
    law = fp.GaussianMixture(weights=[0.5, 0.5], means=[[-1.0, 0.0], [1.0, 0.5]], covs=[np.diag([0.3, 0.5])] * 2)
    grid = fp.Grid.uniform([(-4, 4), (-4, 4)], cells=(40, 48))
    q = fp.steady_state(fp.Langevin(law), grid).values
    gap = np.abs(q - on_grid(law.log_density(grid.x), grid)).max()
    print("plane: largest difference", gap)
    assert gap <= 1e-12


def test_ou_in_a_reflecting_box():
    grid = fp.Grid.uniform((-1.0, 2.0), cells=150)
    box = fp.Dynamics(noise=1.5, potential=lambda t, x: x**2 / 2, autonomous=True)
    q = fp.steady_state(box, grid).values
    gap = np.abs(q - on_grid(-(grid.x**2) / 1.5**2, grid)).max()
    print("box: largest difference", gap)
    assert gap <= 1e-12


def test_tails_far_out_do_not_overflow():
    grid = fp.Grid.uniform((-45.0, 45.0), cells=900)
    q = fp.steady_state(fp.Dynamics(noise=2**0.5, potential=lambda t, x: x**2 / 2, autonomous=True), grid).values
    assert np.abs(q - on_grid(-(grid.x**2) / 2, grid)).max() <= 1e-12


def test_driven_periodic_potential_at_second_order():
    """q(x) ~ e^{-U(x)} int_x^{x+1} e^{U(y)} dy, U = (Phi - f x)/D (Risken 1996, section 11.3.1)."""
    force, depth, diffusivity = 2.0, 0.4, 0.5

    def u(x):
        return (depth * np.cos(2 * np.pi * x) - force * x) / diffusivity

    def drift(t, x):
        return force + depth * 2 * np.pi * np.sin(2 * np.pi * x)

    ring = fp.Dynamics(drift, (2 * diffusivity) ** 0.5, boundary="periodic", autonomous=True)
    errors = []
    for n in (50, 100, 200):
        grid = fp.Grid.uniform((0.0, 1.0), cells=n)
        nodes = grid.x
        exact = np.array([np.exp(-u(x)) * quad(lambda y: np.exp(u(y)), x, x + 1.0, epsabs=1e-13)[0] for x in nodes])
        total = sum(np.exp(-u(x)) * quad(lambda y: np.exp(u(y)), x, x + 1.0)[0] for x in (np.arange(400) + 0.5) / 400)
        q = fp.steady_state(ring, grid).values
        errors.append(np.abs(q - exact / (total / 400)).sum() / n)
    slope = np.log2(errors[0] / errors[1]), np.log2(errors[1] / errors[2])
    print("driven ring:", errors, slope)
    assert abs(slope[1] - 2) <= 0.2
    assert errors[-1] < 1e-3


def test_zero_current_on_a_ring_is_the_gibbs_state():
    grid = fp.Grid.uniform((0.0, 1.0), cells=100)
    ring = fp.Dynamics(
        noise=1.0, potential=lambda t, x: 0.3 * np.cos(2 * np.pi * x), boundary="periodic", autonomous=True
    )
    q = fp.steady_state(ring, grid).values
    assert np.abs(q - on_grid(-0.6 * np.cos(2 * np.pi * grid.x), grid)).max() <= 1e-12


def test_time_dependent_dynamics_are_refused():
    reverse = fp.Reverse(two_wells(), fp.VP())
    with pytest.raises(ValueError, match="autonomous"):
        fp.steady_state(reverse, fp.Grid.uniform((-6, 6), cells=40))

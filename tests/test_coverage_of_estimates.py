"""The truth that estimates are held against, by a third way: adaptive quadrature of the oracle's point values."""

import numpy as np
import pytest
from scipy.integrate import quad

import fpsolve as fp
from fpsolve import closed_form
from fpsolve.verification.coverage import covered, masses, random_problem, solve

TARGET = fp.GaussianMixture([0.3, 0.3, 0.4], [-2.0, 0.0, 2.0], stds=[0.2, 0.3, 1.0])


@pytest.mark.parametrize(
    "reverse",
    [fp.Reverse(TARGET, fp.VP()), fp.Reverse(fp.Gaussian(0.3, std=0.4), fp.SubVP(), eta=0.5)],
    ids=["mixture", "eta"],
)
@pytest.mark.parametrize("t", [0.02, 0.9, 1.0])
def test_masses_of_coarse_cells_are_those_of_the_oracle(reverse, t):
    faces = np.array([-3.0, -1.0, 0.4, 0.5, 4.0])
    start = fp.Gaussian(1.0, std=0.4)
    found = masses(reverse, start, t, [faces])
    for k, mass in enumerate(found):
        low, high = faces[k : k + 2]
        truth = quad(
            lambda x: float(closed_form.density(reverse, start, t, np.array([x]), rtol=1e-11)[0]),
            low, high, epsabs=1e-9, limit=200,
        )[0]  # fmt: skip
        assert abs(mass - truth) < 1e-8


def test_masses_in_the_plane_are_those_of_the_oracle():
    target = fp.GaussianMixture(
        [0.4, 0.6], [[0.0, 1.0], [2.0, 0.0]], covs=np.array([0.3, 0.5])[:, None, None] * np.eye(2)
    )
    reverse, start = fp.Reverse(target, fp.VP()), fp.Gaussian([1.0, 0.0], std=0.5)
    grid = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=40)
    truth = closed_form.cell_averages(reverse, start, 0.2, grid) * grid.volume
    assert np.abs(masses(reverse, start, 0.2, list(grid.faces)) - truth).sum() < 1e-10


@pytest.mark.parametrize(
    "start",
    [fp.Gaussian(0.0, std=1.0), fp.Laplace(0.2, scale=0.8), fp.Uniform(-2.0, 3.0)],
    ids=["gaussian", "laplace", "uniform"],
)
def test_components_may_switch_within_a_node(start):
    """Poles of the posterior weights, nearer than anything is narrow: once 3.5e-6 off in the weighted norm."""
    target = fp.GaussianMixture([0.5, 0.5], [-1.1, 2.2], stds=[0.25, 0.2])
    reverse = fp.Reverse(target, fp.OrnsteinUhlenbeck(T=0.02))
    grid = fp.Grid.uniform((-9, 10), cells=400)
    truth = closed_form.cell_averages(reverse, start, 0.01, grid) * grid.volume
    found = masses(reverse, start, 0.01, [grid.face_axes[0]])
    gap = ((1.0 + grid.x**2) * np.abs(found - truth)).sum()
    print("gap", gap)
    assert gap < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7001, 7041])
def test_early_times_of_a_narrow_start_in_the_plane_are_covered(seed):
    """Coarse levels do not resolve it: extrapolations come down at less than the second order there, or levels on which
    it is as wide as a cell or two agree on what steps change: 0.75 times the error."""
    problem = random_problem(seed, "tol", 2)
    found = covered(problem, solve(problem)[0])
    print(found.ratios.round(2))
    assert found.held.all() and found.ratios.min() > 1.5

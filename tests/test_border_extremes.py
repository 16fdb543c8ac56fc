"""Numbers and dimensions that nothing can be made of are refused by name; float16 times are the marks they round to."""

import numpy as np
import pytest

import fpsolve as fp

GRID, PLANE = fp.Grid.uniform((-8, 8), cells=40), fp.Grid.uniform([(-8, 8), (-8, 8)], cells=(12, 12))
LINE, FLAT = fp.Gaussian(0.0, std=1.0), fp.Gaussian([0.0, 0.0], std=1.0)
REVERSE = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
DECAY = fp.Dynamics(lambda t, x: -x, 1.0)


@pytest.mark.parametrize("reach", [1e300, 1e-300, 0.0, np.inf])
def test_a_box_for_a_spectral_gap_has_a_size(reach):
    with pytest.raises(ValueError, match=r"reach: expected a .*number"):
        fp.bounds.spectral_gap_constant(LINE, reach=reach)


def test_a_box_so_wide_that_its_cells_miss_the_law_is_refused():
    with pytest.raises(ValueError, match="reach: expected a box in which at least 3 cells hold the law"):
        fp.bounds.spectral_gap_constant(fp.Laplace(0.3, 1.0), reach=9e5)
    with pytest.raises(ValueError, match="law: expected dimension 1 as the line has, got dimension 2"):
        fp.bounds.spectral_gap_constant(FLAT)


@pytest.mark.parametrize("t_max", [1e300, 1e160, 1e-160])
def test_times_whose_powers_are_no_numbers_are_refused(t_max):
    noise = fp.stochastic.constant(0.1)
    for call in (
        lambda: fp.evolve(DECAY, LINE, t_max=t_max, steps=16, grid=GRID),
        lambda: fp.evolve(DECAY, LINE, t_max=t_max, tol=1e-3),
        lambda: fp.stochastic.evolve(DECAY, LINE, noise, t_max=t_max, steps=8, grid=GRID, paths=1, seed=0),
    ):
        with pytest.raises(ValueError, match=r"t_max: expected a time from 1e-100 to 1e\+100"):
            call()


def test_a_process_of_such_a_time_is_refused_too():
    long = fp.Reverse(LINE, fp.OrnsteinUhlenbeck(T=1e300))
    with pytest.raises(ValueError, match="T of the process: expected a time from 1e-100"):
        fp.evolve(long, fp.Gaussian(0.0, std=1e90), t_min=1.0, steps=16, grid=GRID)


@pytest.mark.parametrize("start", [fp.Gaussian(0.0, std=1e10), fp.Gaussian(1e12, std=1.0), fp.Laplace(0.0, 1e11)])
@pytest.mark.parametrize("weight", [None, fp.UnitWeight()])
def test_a_start_too_wide_or_far_is_named_not_the_weight(start, weight):
    with pytest.raises(ValueError, match=r"starts\['far'\]: expected a law within 1e.08 widths"):
        fp.evolve(REVERSE, {"near": LINE, "far": start}, t_min=0.1, tol=1e-3, weight=weight)


@pytest.mark.parametrize("t_min", [0.1, 0.3])
def test_float16_times_round_to_the_ends_from_either_side(t_min):
    assert float(np.float16(0.1)) < 0.1 and float(np.float16(0.3)) > 0.3
    times = np.array([0.5, t_min], dtype=np.float16)
    run = fp.evolve(REVERSE, LINE, t_min=t_min, grid=fp.Grid.uniform((-8, 8), cells=100), steps=16, save_at=times)
    assert run["t"].values.tolist() == [1.0, 0.5, t_min]
    cloud = fp.particles.simulate(REVERSE, LINE, n=10, steps=2, seed=0, t_min=t_min, save_at=times)
    assert cloud["t"].values.tolist() == [0.5, t_min]
    with pytest.raises(ValueError, match="save_at: expected forward times"):
        fp.evolve(REVERSE, LINE, t_min=t_min, grid=GRID, steps=16, save_at=np.array([0.95 * t_min], dtype=np.float16))


MIXED = {
    "grid of poincare": lambda: fp.bounds.poincare(REVERSE, 1.0, 0.1, grid=PLANE),
    "start of poincare": lambda: fp.bounds.poincare(REVERSE, 1.0, 0.1, grid=GRID, start=FLAT),
    "reference of poincare": lambda: fp.bounds.poincare(REVERSE, 1.0, 0.1, grid=GRID, reference=FLAT),
    "grid of girsanov": lambda: fp.bounds.girsanov(REVERSE, REVERSE, t_min=0.1, grid=PLANE),
    "first_start of girsanov": lambda: fp.bounds.girsanov(REVERSE, REVERSE, t_min=0.1, grid=GRID, first_start=FLAT),
    "grid of explicit_kl": lambda: fp.bounds.explicit_kl(REVERSE, 100, grid=PLANE),
    "mu of weighted_pinsker": lambda: fp.bounds.weighted_pinsker(0.1, FLAT, LINE, GRID),
    "grid of ladder": lambda: fp.bounds.ladder(REVERSE, grid=PLANE, blocks=1),
    "to_grid of exact": lambda: fp.kernels.exact(REVERSE, GRID, 1.0, 0.3, to_grid=PLANE),
    "to_grid of sampler": lambda: fp.kernels.sampler("ddpm", REVERSE, GRID, 1.0, 0.3, to_grid=PLANE),
}


@pytest.mark.parametrize("name", MIXED)
def test_mixed_dimensions_name_the_argument(name):
    with pytest.raises(ValueError, match=f"{name.split()[0]}: expected dimension 1 as .* has, got dimension 2"):
        MIXED[name]()

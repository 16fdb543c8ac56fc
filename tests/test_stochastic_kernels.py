"""Brownian trees, and conservative remaps of lines and planes, against numpy, scipy and closed forms."""

import numpy as np
import pytest
from scipy.interpolate import make_interp_spline
from scipy.ndimage import spline_filter1d
from scipy.special import ndtr
from scipy.stats import kstest

import fpsolve as fp
from fpsolve.stochastic import BrownianPaths
from fpsolve.stochastic._lines import AVERAGE_POLES, POINT_POLES, redistribute, remap_lines, remap_planes, spline


def test_paths_do_not_depend_on_what_else_is_asked_for():
    paths = BrownianPaths(seed=5, paths=3, modes=2, span=2.0)
    coarse, fine = (np.linspace(0.0, 1.7, n + 1) for n in (50, 200))
    assert np.array_equal(paths.at(coarse), paths.at(fine)[..., ::4])
    more = BrownianPaths(seed=5, paths=7, modes=4, span=2.0)
    assert np.array_equal(more.at(coarse)[:3, :2], paths.at(coarse))
    assert not np.allclose(BrownianPaths(seed=6, paths=3, modes=2, span=2.0).at(coarse), paths.at(coarse))


def test_integrals_refine_consistently():
    paths = BrownianPaths(seed=1, paths=4, modes=1, span=1.0)
    times = np.linspace(0.0, 1.0, 41)
    increment, mean = paths.increments(times)
    inner, inner_mean = paths.increments(np.linspace(0.0, 1.0, 401))
    w = paths.at(np.linspace(0.0, 1.0, 401))
    pieces = (inner_mean + w[..., :-1]).reshape(4, 1, 40, 10).mean(axis=-1) - w[..., :-1:10]
    # the times agree to round-off only, and a path is as steep as 2^17 between its finest nodes
    assert np.abs(inner.reshape(4, 1, 40, 10).sum(axis=-1) - increment).max() < 1e-10
    assert np.abs(pieces - mean).max() < 1e-10


def test_increments_and_means_have_the_law_of_brownian_motion():
    # unequal steps, not dyadic: covariances h, h/3, h/2 of W, its mean, and both; independent from step to step
    times = np.array([0.0, 0.013, 0.1, 0.4, 0.7])
    increment, mean = BrownianPaths(seed=2, paths=4000, modes=1, span=0.7).increments(times)
    h = np.diff(times)
    joint = np.concatenate([increment[:, 0] / np.sqrt(h), mean[:, 0] / np.sqrt(h / 3.0)], axis=1)
    expected = np.kron([[1.0, 0.75**0.5], [0.75**0.5, 1.0]], np.eye(4))
    assert np.abs(joint.T @ joint / 4000 - expected).max() < 5.0 / 4000**0.5
    assert kstest(joint[:, 0], "norm").pvalue > 1e-3
    assert kstest(joint[:, 6], "norm").pvalue > 1e-3


def test_increments_and_areas_of_one_path_are_independent_standard_normals():
    increment, mean = (steps[0, 0] for steps in BrownianPaths(7, 1, 1, 4096.0).increments(np.arange(4097.0)))
    pairs = np.stack([increment, np.sqrt(12.0) * (mean - 0.5 * increment)], axis=1)
    assert kstest(pairs.ravel(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 5.0 / 4096**0.5
    assert abs(np.corrcoef(pairs[1:, 0], pairs[:-1, 0])[0, 1]) < 5.0 / 4096**0.5


def test_seeds():
    """An integer, or what a generator or a seed sequence gives: the same again from the same."""

    def paths(seed):
        grid = fp.Grid.uniform((-6, 6), cells=60)
        still = fp.Dynamics(lambda t, x: -x, 1.0)
        given = dict(grid=grid, steps=2, paths=1, t_max=0.1, estimate=False)
        noise = fp.stochastic.constant(0.05)
        return fp.stochastic.evolve(still, fp.Gaussian(0.0, std=1.0), noise, seed=seed, **given).attrs["seed"]

    assert paths(3) == 3
    assert paths(np.random.default_rng(1)) == paths(np.random.default_rng(1))
    assert paths(np.random.SeedSequence(1)) == paths(np.random.SeedSequence(1))
    with pytest.raises(ValueError, match="seed"):
        paths(None)
    with pytest.raises(ValueError, match=r"times in \[0, 1\]"):
        BrownianPaths(0, 1, 1, 1.0).at([0.5, 1.5])


@pytest.mark.parametrize(("periodic", "mode"), [(False, "reflect"), (True, "grid-wrap")])
@pytest.mark.parametrize(("poles", "degree"), [(AVERAGE_POLES, 5), (POINT_POLES, 4)])
def test_spline_coefficients_are_scipys(periodic, mode, poles, degree, rng):
    values, c = rng.random(61), np.empty(65)
    spline(values, poles, periodic, c)
    assert np.abs(c[2:-2] - spline_filter1d(values, degree, mode=mode)).max() < 1e-12


@pytest.mark.parametrize("periodic", [False, True])
def test_spline_has_the_averages_of_short_lines_too(periodic, rng):
    values, c = rng.random(8), np.empty(12)
    spline(values, AVERAGE_POLES, periodic, c)
    found = np.convolve(c, np.array([1.0, 26.0, 66.0, 26.0, 1.0]) / 120.0, mode="valid")
    assert np.abs(found - values).max() < 1e-13


def test_redistribution_is_scipys_spline_of_the_cumulative(rng):
    # extended by mirrors so that the ends do not matter
    q = rng.random(40)
    many = np.concatenate([q[::-1], q, q[::-1]])
    cumulative = make_interp_spline(np.arange(-40.0, 81.0), np.concatenate([[0.0], np.cumsum(many)]), k=5)
    positions = np.sort(np.concatenate([[0.0, 40.0], rng.uniform(0.0, 40.0, 39)]))
    out = np.empty(40)
    redistribute(q, positions, False, np.empty(44), out)
    assert np.abs(out - np.diff(cumulative(positions))).max() < 1e-12


@pytest.mark.parametrize("periodic", [False, True])
def test_remap_follows_the_flow_and_keeps_mass(periodic):
    # dx/ds = sin x moves tan(x/2) by e^s
    end = np.pi if periodic else 5.0
    faces = np.linspace(-end, end, 241)
    h = faces[1] - faces[0]
    q = np.diff(ndtr(faces / 0.5))[None] / h
    before = q.sum()
    velocity = (0.05 / h * np.sin(faces))[None]
    for _ in range(10):
        assert remap_lines(q, velocity, 0.25, periodic) > 0.0
    source = 2.0 * np.arctan2(np.exp(-0.5) * np.sin(faces / 2), np.cos(faces / 2))
    source += 2.0 * np.pi * np.round((faces - source) / (2.0 * np.pi))
    exact = np.diff(ndtr(source / 0.5)) / h
    assert 0.5 * np.abs(q[0] - exact).sum() * h < (2e-7 if not periodic else 1e-6)
    assert abs(q.sum() - before) * h < 1e-13


def test_remap_is_of_sixth_order_in_the_cell_width():
    errors = []
    for cells in (60, 120):
        faces = np.linspace(-6.0, 6.0, cells + 1)
        h = faces[1] - faces[0]
        q = np.diff(ndtr(faces / 0.7))[None] / h
        for _ in range(10):  # by thirds of the coarse cell, so that the position within a cell is the same
            remap_lines(q, np.full((1, cells + 1), 0.2 / 3.0 / h), 0.25, False)
        errors.append(np.abs(q[0] - np.diff(ndtr((faces - 2.0 / 3.0) / 0.7)) / h).sum() * h)
    print(errors)
    assert np.log2(errors[0] / errors[1]) > 5.5


def test_a_map_that_folds_is_told():
    q = np.ones((1, 60))
    jump = np.where(np.arange(61) < 30, -4.0, 4.0)[None]
    assert remap_lines(q, jump, 1e9, False) < 0.0


def rotated(law: fp.Gaussian, angle: float) -> fp.Gaussian:
    r = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return fp.Gaussian(r @ law.mean, cov=r @ law.cov @ r.T)


def turned(cells: int, law: fp.Gaussian) -> tuple[np.ndarray, fp.Grid]:
    """Ten rotations by 0.1 on a grid, in two pieces each."""
    grid = fp.Grid.uniform([(-6, 6), (-5, 5)], cells=(cells, cells))
    q = grid.cell_average(law)[None].repeat(2, axis=0)
    x, y = np.moveaxis(grid.x, -1, 0)
    vx, vy = (np.stack([v, v]) for v in (-0.1 * y / grid.spacing[0], 0.1 * x / grid.spacing[1]))
    for _ in range(10):
        assert remap_planes(q, vx, vy, 2) > 0.5
    return q[1], grid


def test_planes_follow_a_rotation_at_high_order_and_keep_mass():
    law = fp.Gaussian([1.0, 0.5], cov=[[0.5, 0.2], [0.2, 0.4]])
    errors = []
    for cells in (48, 96):
        q, grid = turned(cells, law)
        exact = grid.cell_average(rotated(law, 1.0))
        errors.append(0.5 * np.abs(q - exact).sum() * grid.volume)
        assert abs(q.sum() - grid.cell_average(law).sum()) * grid.volume < 1e-13
    assert errors[1] < 1e-5
    assert np.log2(errors[0] / errors[1]) > 4.5


def test_planes_follow_a_flow_that_is_not_a_rotation():
    # (x, y) -> (x + a, y + b) composed with a shear in a random direction: the exact map of v = (1, 2) sin(2x - y)
    grid = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=128)
    law = fp.Gaussian([0.3, -0.2], cov=[[0.6, 0.1], [0.1, 0.8]])
    x, y = np.moveaxis(grid.x, -1, 0)
    stir = 0.3 * np.sin(2.0 * x - y) / grid.spacing[0]
    q = grid.cell_average(law)[None].copy()
    remap_planes(q, stir[None], 2.0 * stir[None], 6)

    def moved(points):
        shift = 0.3 * np.sin(2.0 * points[..., 0] - points[..., 1])  # constant along the flow
        return law.density(points - np.stack([shift, 2.0 * shift], axis=-1))

    assert 0.5 * np.abs(q[0] - grid.cell_average(moved)).sum() * grid.volume < 2e-5


def test_remaps_of_lines_and_planes_agree(rng):
    grid = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=64)
    q = grid.cell_average(fp.Gaussian([0.5, 0.0], std=0.9))[None]
    lines = np.ascontiguousarray(q[0].T)
    planes = q.copy()
    shift = np.full_like(q, 0.37)
    remap_planes(planes, shift, np.zeros_like(q), 1)
    remap_lines(lines, np.full((64, 65), 0.37), 0.25, False)
    assert np.abs(planes[0] - lines.T).max() < 1e-9

"""Grids: nesting, cell averages against closed forms, restriction, and refusals."""

import tracemalloc
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

import fpsolve as fp
from fpsolve import grid as grid_module

LINE = fp.Grid.uniform((-6, 6), cells=400)
PLANE = fp.Grid.uniform([(-6, 6), (-5, 4)], cells=(24, 16))


@dataclass(frozen=True)
class Normal:
    """A product of standard normals, with or without exact cell probabilities."""

    dim: int
    exact: bool

    def cell_probabilities(self, *faces: Any) -> Any:
        masses = [np.diff(ndtr(face)) for face in faces]
        return (masses[0] if self.dim == 1 else np.outer(*masses)) if self.exact else None

    def log_density_on_axes(self, *axes: Any) -> Any:
        squares = axes[0] ** 2 if self.dim == 1 else np.add.outer(axes[0] ** 2, axes[1] ** 2)
        return -0.5 * squares - 0.5 * self.dim * np.log(2 * np.pi)


def test_attributes_in_one_dimension() -> None:
    assert (LINE.dim, LINE.shape, LINE.bounds) == (1, (400,), ((-6.0, 6.0),))
    assert LINE.spacing == (0.03,) and LINE.volume == 0.03
    assert LINE.x.shape == (400,) and LINE.faces.shape == (401,)
    np.testing.assert_array_equal(LINE.x, LINE.axes[0])
    np.testing.assert_array_equal(LINE.faces, LINE.face_axes[0])
    np.testing.assert_allclose(np.diff(LINE.faces), 0.03, rtol=1e-12)
    np.testing.assert_allclose(LINE.x, 0.5 * (LINE.faces[1:] + LINE.faces[:-1]), atol=1e-15)


def test_attributes_in_two_dimensions() -> None:
    assert (PLANE.dim, PLANE.shape, PLANE.spacing) == (2, (24, 16), (0.5, 9 / 16))
    assert PLANE.volume == pytest.approx(0.5 * 9 / 16)
    assert PLANE.x.shape == (24, 16, 2)
    np.testing.assert_array_equal(PLANE.x[:, 3, 0], PLANE.axes[0])
    np.testing.assert_array_equal(PLANE.x[5, :, 1], PLANE.axes[1])
    assert [face.shape for face in PLANE.faces] == [(25,), (17,)]


def test_grids_are_values() -> None:
    assert fp.Grid.uniform((-6, 6), cells=400) == LINE
    assert len({LINE, fp.Grid.uniform((-6, 6), cells=400), PLANE}) == 2
    assert fp.Grid.uniform([(-6, 6)], cells=400) == LINE
    assert fp.Grid.uniform([(-1, 1), (0, 2)], cells=8).shape == (8, 8)
    assert fp.Grid(bounds=((-6, 6),), shape=(400,)) == LINE
    with pytest.raises(FrozenInstanceError):
        LINE.shape = (3,)


def test_a_caller_cannot_change_a_grid_through_its_arrays() -> None:
    LINE.x[:] = 0.0
    LINE.faces[:] = 0.0
    assert LINE.x[0] == pytest.approx(-5.985) and LINE.faces[0] == -6.0


@given(low=st.floats(-100, 100), width=st.floats(1e-3, 200), cells=st.integers(1, 60))
def test_refinement_nests_bit_for_bit(low: float, width: float, cells: int) -> None:
    grid = fp.Grid.uniform((low, low + width), cells=cells)
    fine = grid.refine()
    np.testing.assert_array_equal(fine.faces[::2], grid.faces)
    np.testing.assert_array_equal(fine.faces[1::2], grid.x)
    assert fine.coarsen() == grid
    assert (grid.faces[0], grid.faces[-1]) == grid.bounds[0]
    assert np.all(np.diff(grid.faces) > 0)


@given(half=st.floats(1e-3, 100), cells=st.integers(1, 61))
def test_a_symmetric_box_has_exactly_symmetric_cells(half: float, cells: int) -> None:
    grid = fp.Grid.uniform((-half, half), cells=cells)
    np.testing.assert_array_equal(grid.faces, -grid.faces[::-1])
    np.testing.assert_array_equal(grid.x, -grid.x[::-1])


@pytest.mark.parametrize("dim", [1, 2])
def test_cell_average_of_a_law_by_formula_and_by_quadrature(dim: int) -> None:
    grid = LINE if dim == 1 else PLANE
    exact = grid.cell_average(Normal(dim, exact=True))
    assert exact.shape == grid.shape
    assert exact.sum() * grid.volume == pytest.approx(1.0, abs=1e-4)
    quadrature = grid.cell_average(Normal(dim, exact=False))
    np.testing.assert_allclose(quadrature, exact, rtol=1e-9, atol=1e-14)
    by_points = grid.cell_average(lambda x: density(x, dim))
    np.testing.assert_allclose(by_points, quadrature, rtol=1e-12)
    # the control: point values at the centres are off by h^2
    assert np.abs(density(grid.x, dim) / quadrature - 1).max() > 1e-4


def density(x: Any, dim: int) -> Any:
    square = x**2 if dim == 1 else np.sum(x**2, axis=-1)
    return np.exp(-0.5 * square) / (2 * np.pi) ** (0.5 * dim)


def test_cell_average_is_exact_to_degree_fifteen_and_not_beyond() -> None:
    grid = fp.Grid.uniform((-1, 1), cells=1)
    assert grid.cell_average(lambda x: x**14)[0] == pytest.approx(1 / 15, rel=1e-14)
    assert abs(grid.cell_average(lambda x: x**16)[0] - 1 / 17) > 1e-7


def test_cell_average_in_two_dimensions_keeps_the_axes_apart() -> None:
    grid = fp.Grid.uniform([(0, 2), (-1, 3)], cells=(3, 5))
    averages = grid.cell_average(lambda x: x[..., 0] ** 3 * x[..., 1] ** 2 + x[..., 1])
    (ax, ay), (hx, hy) = grid.face_axes, grid.spacing
    cubes, squares = np.diff(ax**4) / (4 * hx), np.diff(ay**3) / (3 * hy)
    expected = np.outer(cubes, squares) + np.diff(ay**2) / (2 * hy)
    np.testing.assert_allclose(averages, expected, rtol=1e-12)


def test_cell_average_of_a_narrow_bump_keeps_its_mass() -> None:
    std = LINE.spacing[0]
    averages = LINE.cell_average(lambda x: np.exp(-0.5 * ((x - 0.5) / std) ** 2) / (std * np.sqrt(2 * np.pi)))
    np.testing.assert_allclose(averages * LINE.volume, np.diff(ndtr((LINE.faces - 0.5) / std)), atol=1e-13)


def test_chunks_change_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any) -> Any:
        return np.cos(x[..., 0] + 2 * x[..., 1])

    whole = PLANE.cell_average(f)
    for points in (1, 3 * 64 * 16, 7 * 64 * 16):
        monkeypatch.setattr(grid_module, "_CHUNK", points)
        np.testing.assert_allclose(PLANE.cell_average(f), whole, rtol=0, atol=1e-15)


def test_a_large_average_needs_little_memory() -> None:
    grid = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=256)
    tracemalloc.start()
    try:
        grid.cell_average(lambda x: x[..., 0] * x[..., 1])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # all points at once would be 8 * 8 * 256^2 * 16 bytes = 67 MB and its products
    assert peak < 40e6


@given(
    shape=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    lead=st.lists(st.integers(1, 3), max_size=2),
    seed=st.integers(0, 9),
)
def test_restriction_keeps_mass(shape: tuple[int, int], lead: list[int], seed: int) -> None:
    fine = fp.Grid.uniform([(0, 1), (0, 3)], cells=shape).refine()
    values = np.random.default_rng(seed).normal(size=(*lead, *fine.shape))
    coarse = fine.restrict(values)
    assert coarse.shape == (*lead, *shape)
    mass, kept = values.sum(axis=(-2, -1)) * fine.volume, coarse.sum(axis=(-2, -1)) * fine.coarsen().volume
    np.testing.assert_allclose(kept, mass, atol=1e-13)


@pytest.mark.parametrize("grid", [LINE, PLANE], ids=["1D", "2D"])
def test_restricting_averages_gives_the_averages_of_the_coarse_grid(grid: fp.Grid) -> None:
    law = Normal(grid.dim, exact=True)
    np.testing.assert_allclose(
        grid.restrict(grid.cell_average(law)), grid.coarsen().cell_average(law), rtol=1e-12, atol=1e-16
    )


def test_restriction_is_the_mean_of_blocks_to_the_last_bit() -> None:
    values = np.random.default_rng(3).normal(size=(2, 3, 12, 16)) ** 5
    blocks = values.reshape(2, 3, 6, 2, 8, 2).mean(axis=(-3, -1))
    np.testing.assert_array_equal(fp.Grid.uniform([(0, 1), (0, 2)], cells=(12, 16)).restrict(values), blocks)


def test_restriction_takes_leading_axes_in_one_dimension() -> None:
    grid = fp.Grid.uniform((0, 1), cells=4)
    np.testing.assert_array_equal(grid.restrict([[1, 3, 5, 5], [0, 0, 2, 4]]), [[2, 5], [0, 3]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fp.Grid.uniform((1, -1), cells=4),
            r"bounds: expected low < high on every axis, got \(1, -1\)",
        ),
        (lambda: fp.Grid.uniform((0, np.inf), cells=4), "bounds: expected finite numbers"),
        (lambda: fp.Grid.uniform((0, 1, 2), cells=4), r"bounds: expected \(low, high\) or two such pairs"),
        (lambda: fp.Grid.uniform("box", cells=4), "bounds: expected an array of real numbers"),
        (lambda: fp.Grid.uniform([(0, 1)] * 3, cells=4), r"bounds: expected \(low, high\) or two such pairs"),
        (lambda: fp.Grid(((0, 1),) * 3, (4, 4, 4)), r"bounds: expected one \(low, high\) pair per axis"),
        (lambda: fp.Grid.uniform((0, 1), cells=0), "cells: expected an integer >= 1, got 0"),
        (lambda: fp.Grid.uniform((0, 1), cells=4.5), "cells: expected an integer >= 1, got 4.5"),
        (lambda: fp.Grid.uniform((0, 1), cells=(4, 4)), "cells: expected 1 numbers, one per axis"),
        (
            lambda: fp.Grid.uniform((0, 1), cells=5).coarsen(),
            "cells: expected even numbers of cells to halve",
        ),
        (lambda: LINE.restrict(np.zeros(399)), r"values: expected cell averages of shape \(..., \(400,\)\)"),
        (lambda: PLANE.restrict(np.zeros((16, 24))), "values: expected cell averages"),
        (lambda: PLANE.cell_average(Normal(1, exact=True)), "law: expected dimension 2 as the grid has"),
        (lambda: PLANE.cell_average(3.0), "f: expected a law or a callable on points, got 3.0"),
        (lambda: PLANE.cell_average(lambda x: x), r"f: expected values of shape \("),
        (lambda: LINE.cell_average(lambda x: np.where(x > 0, np.nan, x)), "f: expected finite numbers"),
    ],
)
def test_bad_input_is_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


def test_real_laws_are_laws_for_a_grid() -> None:
    averages = LINE.cell_average(fp.Gaussian(0.0, std=1.0))
    np.testing.assert_allclose(averages, LINE.cell_average(Normal(1, exact=True)), rtol=1e-9, atol=1e-13)

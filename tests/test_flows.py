"""Flows: reference values for two data points, orbits, stationary points with their indices, basins, the hull."""

from typing import Any

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import flows

EDM = fp.EDM(sigma_min=0.02, sigma_max=3.0)
#: Data points -1 and 1: a mixture too narrow to be seen.
POINTS = fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=1e-6)
TRIANGLE = fp.GaussianMixture([1 / 3] * 3, [[0.0, 1.0], [-0.9, -0.5], [0.9, -0.5]], stds=1e-6)
SQUARE = fp.GaussianMixture([0.25] * 4, [[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], stds=0.1)
#: Start, end of the product-form flow, end of the exact probability flow, after sigma_max - sigma_min.
ENDS = np.array(
    [
        [-6.0, -1.8248, -1.032],
        [-3.0, -0.9867, -1.008],
        [-0.3, -0.6152, -0.971],
        [0.1, 0.2192, 0.961],
        [0.5, 0.9097, 0.977],
        [2.0, 0.9861, 0.999],
        [5.0, 1.4376, 1.024],
    ]
)


@pytest.fixture(scope="module")
def two() -> Any:
    """The best product-form score for the data points -1 and 1."""
    return fp.scores.product_form(POINTS, EDM)


def test_reference_stationary_points(two: Any) -> None:
    found = flows.stationary_points(two, (-4.0, 4.0))
    print("zeros of S*:", found.at, found.kind)
    np.testing.assert_allclose(found.at, [-0.98614, 0.0, 0.98614], atol=1e-5)
    assert found.kind == ("attracting", "repelling", "attracting")
    assert found.complete and found.degree == 1
    assert found.residual.max() < 1e-14
    np.testing.assert_array_equal(found.index, [1, -1, 1])


@pytest.mark.parametrize("start", range(len(ENDS)))
def test_reference_end_points(two: Any, start: int) -> None:
    x, product, exact = ENDS[start]
    duration = two.duration(0.02)
    assert duration == pytest.approx(2.98, rel=1e-12)
    found = flows.end_points(two, [x], duration=duration)
    along = flows.end_points(fp.Reverse(POINTS, EDM), [x], t_min=0.02)
    print(f"from {x:g}: product form {found[0]:.5f} (reference {product}), exact {along[0]:.5f} (reference {exact})")
    assert found[0] == pytest.approx(product, abs=1e-3)
    assert along[0] == pytest.approx(exact, abs=1e-3)


def test_the_deterministic_sampler_is_a_time_change_of_the_flow(two: Any) -> None:
    ends = flows.end_points(two, ENDS[:, 0], duration=two.duration(0.02))
    sampler = flows.end_points(fp.Reverse(POINTS, EDM, score=two), ENDS[:, 0], t_min=0.02)
    np.testing.assert_allclose(sampler, ends, atol=1e-8)
    # another gain, another process: the same orbits
    ve = fp.VE(sigma_min=0.02, sigma_max=3.0)
    other = fp.scores.product_form(POINTS, ve, field=two.field, gain=lambda s: s**-1.5)
    sampler = flows.end_points(fp.Reverse(POINTS, ve, score=other), ENDS[:, 0], t_min=0.3)
    ends = flows.end_points(two, ENDS[:, 0], duration=other.duration(0.3))
    np.testing.assert_allclose(sampler, ends, atol=1e-8)


@pytest.mark.parametrize("target", [POINTS, TRIANGLE, SQUARE], ids=["points", "triangle", "square"])
def test_the_potential_grows_along_every_orbit(target: Any, rng: np.random.Generator) -> None:
    score = fp.scores.product_form(target, EDM, rtol=1e-6)
    starts = rng.normal(scale=3.0, size=(20,) if target.dim == 1 else (20, 2))
    found = flows.orbits(score, starts, duration=3.0, count=61)
    assert float(found.log_potential.diff("r").min()) > -1e-13
    # the control: along the same orbits backwards it falls
    assert float(found.log_potential[:, ::-1].diff("r").max()) < 1e-13
    reverse = flows.orbits(fp.Reverse(target, EDM, score=score), starts, t_min=0.1, count=61)
    assert float(reverse.log_potential.diff("r").min()) > -1e-13


def test_orbits_keep_their_tolerance_one_by_one() -> None:
    starts = np.linspace(0.5, 2.0, 200)
    found = flows.orbits(lambda x: -x, starts, duration=3.0, rtol=1e-7, atol=1e-12, count=5)
    expected = starts[:, None] * np.exp(-found.r.values)
    assert np.abs(found.position.values / expected - 1.0).max() < 1e-6
    assert found.position.dims == ("orbit", "r") and "log_potential" not in found


def test_probability_flow_of_a_gaussian() -> None:
    reverse = fp.Reverse(fp.Gaussian(0.5, std=0.7), fp.VP())
    found = flows.orbits(reverse, [-1.0, 2.0], t_min=0.05)
    start, end = reverse.marginal(1.0), reverse.marginal(0.05)
    ratio = np.sqrt(end.cov / start.cov)
    expected = end.mean + ratio * (np.array([-1.0, 2.0]) - start.mean)
    np.testing.assert_allclose(found.position[:, -1], expected, atol=1e-8)
    assert found.t.values[[0, -1]] == pytest.approx([1.0, 0.05])


def spiral(x: np.ndarray) -> np.ndarray:
    """Rotation around the origin with attraction."""
    return np.stack([-x[..., 0] - 3.0 * x[..., 1], 3.0 * x[..., 0] - x[..., 1]], axis=-1)


def test_stationary_points_in_the_plane() -> None:
    found = flows.stationary_points(fp.scores.product_form(SQUARE, EDM, rtol=1e-6), [(-4.0, 4.0), (-4.0, 4.0)])
    assert found.complete and found.degree == 1
    assert sorted(found.kind) == ["attracting"] * 4 + ["repelling"] + ["saddle"] * 4
    np.testing.assert_allclose(found.of_kind("repelling"), [[0.0, 0.0]], atol=1e-10)
    np.testing.assert_allclose(np.abs(found.of_kind("attracting")), 0.98818, atol=1e-5)
    assert int(found.index.sum()) == 1 and found.residual.max() < 1e-12
    swirl = flows.stationary_points(spiral, [(-1.0, 2.0), (-1.5, 1.0)])
    assert swirl.kind == ("attracting",) and swirl.complete
    np.testing.assert_allclose(swirl.eigenvalues[0], [-1.0 - 3.0j, -1.0 + 3.0j], atol=1e-8)


def test_closed_form_and_numerical_jacobians_find_the_same_points() -> None:
    score = fp.scores.product_form(SQUARE, EDM, rtol=1e-6)
    box = [(-3.0, 3.0), (-3.0, 3.0)]
    closed, numerical = flows.stationary_points(score, box), flows.stationary_points(lambda x: score.field(x), box)
    np.testing.assert_allclose(closed.at, numerical.at, atol=1e-9)
    np.testing.assert_allclose(closed.eigenvalues, numerical.eigenvalues, atol=1e-7)
    assert closed.kind == numerical.kind


def test_many_random_planes_add_up_to_one(rng: np.random.Generator) -> None:
    """Poincare and Hopf on 30 random data sets: as many attracting and repelling points as saddles, and one more.

    One in 150 such sets has points too close for the search, which says so; a set where it does is no error.
    """
    complete = 0
    for n in rng.integers(2, 7, size=30):
        data = rng.normal(size=(n, 2))
        target = fp.GaussianMixture(np.full(n, 1.0 / n), data, stds=0.05)
        score = fp.scores.product_form(target, EDM, levels=np.geomspace(0.05, 3.0, 12))
        found = flows.stationary_points(score, [(-6.0, 6.0), (-6.0, 6.0)])
        assert found.degree == 1, data
        complete += found.complete
        if n > 2:
            assert flows.outside_hull(found.at, data).max() < 1e-9
    assert complete >= 27


@pytest.mark.parametrize("size", [1e-250, 1e-170, 1e100])
def test_fields_of_any_size_have_the_same_points(size: float) -> None:
    """Products of values of the size of densities are 0, and so are determinants."""
    line = fp.flows.stationary_points(lambda x: size * (x - x**3), (-2.1, 2.0))
    assert line.complete and line.kind == ("attracting", "repelling", "attracting")
    np.testing.assert_allclose(line.at, [-1.0, 0.0, 1.0], atol=1e-12)
    plane = fp.flows.stationary_points(
        lambda x: size * np.stack([x[..., 0] - x[..., 0] ** 3, -x[..., 1]], axis=-1), [(-2.1, 2.0), (-1.0, 1.2)]
    )
    assert plane.complete and plane.kind == ("attracting", "saddle", "attracting")
    assert plane.index.tolist() == [1, -1, 1]


def test_a_missed_point_shows() -> None:
    """The control: with too few cells points are missed, and the indices do not add up."""
    from dataclasses import replace

    found = flows.stationary_points(fp.scores.product_form(SQUARE, EDM, rtol=1e-6), [(-4.0, 4.0), (-4.0, 4.0)])
    for gone in range(len(found)):
        keep = np.arange(len(found)) != gone
        fewer = replace(found, at=found.at[keep], index=found.index[keep])
        assert not fewer.complete


def test_a_cell_without_its_point_shows() -> None:
    """The control: a saddle and an attracting point taken away together keep the sum, but not their cells."""
    from fpsolve.flows._stationary import search

    score = fp.scores.product_form(SQUARE, EDM, rtol=1e-6)
    found = flows.stationary_points(score, [(-4.0, 4.0), (-4.0, 4.0)])
    grid = fp.Grid.uniform(found.box, cells=found.cells)
    seen = search(score.field, grid)
    assert seen.unmatched(found.at, grid) == found.unmatched == 0
    pair = [found.kind.index("saddle"), found.kind.index("attracting")]
    assert seen.unmatched(np.delete(found.at, pair, axis=0), grid) >= 1
    assert len(seen.holding) >= 9


def test_double_zeros_are_degenerate() -> None:
    found = flows.stationary_points(lambda x: (x - 0.3) ** 2 * (1.0 - x), (-2.0, 2.0), tol=1e-8)
    assert found.kind == ("degenerate", "attracting") and not found.complete
    np.testing.assert_allclose(found.at, [0.3, 1.0], atol=1e-3)
    assert len(flows.stationary_points(lambda x: 1.0 + x**2, (-2.0, 2.0))) == 0


def test_basins_on_the_line_end_at_repelling_points(two: Any) -> None:
    points = flows.stationary_points(two, (-4.0, 4.0))
    found = flows.basins(two, points, cells=101)
    x = found.x.values
    np.testing.assert_array_equal(found.basin.values[x < -1e-6], 0)
    np.testing.assert_array_equal(found.basin.values[x > 1e-6], 2)
    assert found.basin.values[50] in (flows.UNDECIDED, 0, 2)
    assert float(found.share.sum()) + found.attrs["undecided"] == pytest.approx(1.0)


def test_basins_in_the_plane_have_the_symmetry_of_the_data() -> None:
    score = fp.scores.product_form(SQUARE, EDM, rtol=1e-3)
    points = flows.stationary_points(score, [(-3.0, 3.0), (-3.0, 3.0)])
    found = flows.basins(score, points, cells=24)
    assert found.attrs["undecided"] == 0.0
    np.testing.assert_allclose(found.share, 0.25, atol=1e-12)
    # every cell belongs to the attracting point of its quadrant
    at = points.at[found.basin.values]
    np.testing.assert_array_equal(np.sign(at[..., 0]), np.sign(found.x.values)[:, None] * np.ones(24))
    np.testing.assert_array_equal(np.sign(at[..., 1]), np.sign(found.y.values) * np.ones((24, 1)))


def test_hull() -> None:
    triangle = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]])
    np.testing.assert_allclose(flows.outside_hull([[1.0, 1.0], [2.0, -1.5], [5.0, 0.0]], triangle), [-1.0, 1.5, 0.6])
    with pytest.raises(ValueError, match="data: expected points that do not lie on one line, got 3 points that do"):
        flows.outside_hull([[0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    with pytest.raises(ValueError, match="points: expected shapes"):
        flows.outside_hull([0.0, 1.0], triangle)


REVERSE = fp.Reverse(POINTS, EDM)
BAD: dict[str, tuple[Any, str]] = {
    "no callable": (lambda: flows.orbits(3, [0.0], duration=1.0), "flow: expected a product-form score or a callable"),
    "no duration": (lambda: flows.orbits(np.negative, [0.0]), "duration: expected a finite number > 0, got None"),
    "t_min": (lambda: flows.orbits(np.negative, [0.0], duration=1.0, t_min=0.1), "t_min: expected duration for an"),
    "duration": (lambda: flows.orbits(REVERSE, [0.0], duration=1.0), "duration: expected t_min for a Rev"),
    "dimension": (lambda: flows.orbits(REVERSE, [[0.0, 0.0]], t_min=0.1), "points: expected dimension 1"),
    "scalar": (lambda: flows.orbits(np.negative, 0.0, duration=1.0), r"points: expected an array of shape \(n,\)"),
    "shape of S": (lambda: flows.orbits(lambda x: x[:1], [0.0, 1.0], duration=1.0), r"S\(x\): expected values of"),
    "NaN": (lambda: flows.stationary_points(lambda x: x + np.nan, (0, 1)), r"S\(x\): expected finite numbers"),
    "box": (lambda: flows.stationary_points(fp.scores.product_form(SQUARE, EDM), (0, 1)), "box: expected dimension 2"),
    "no attractor": (
        lambda: flows.basins(np.positive, flows.stationary_points(np.positive, (-1, 1))),
        "points: expected at least one attracting point, got none",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_one_sentence(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()

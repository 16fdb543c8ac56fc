"""Records, assumptions, the sharp Dobrushin coefficient and minorization."""

import cases
import numpy as np
import pytest

import fpsolve as fp
from fpsolve import bounds, kernels, weights
from fpsolve.bounds import _closed, _pairs


@pytest.fixture(scope="module")
def ou():
    return cases.ou_mixture()


def point_kernel(reverse, t0, t1, box=6.0, cells=300):
    return kernels.exact(reverse, fp.Grid.uniform((-box, box), cells=cells), t0, t1, source="point")


def all_pairs(matrix, weight):
    """||P_i - P_k||_w for all pairs, without pruning."""
    return np.stack([np.abs(matrix - row) @ weight for row in matrix])


# the sharp coefficient


def test_dobrushin_of_the_reference_case_is_0225_at_every_resolution(ou):
    found = []
    for cells in (300, 600, 1200):
        kernel = point_kernel(ou, 3.0, 0.01, cells=cells)
        found.append(bounds.dobrushin(kernel, weight=lambda x: 1 + 0.1 * (1 + x**2)).value)
    print("Dobrushin at N = 300, 600, 1200:", found)
    assert abs(found[1] - 0.225) <= 0.003
    assert np.ptp(found) <= 1e-5


def test_dobrushin_at_beta_003_and_the_pair(ou):
    kernel = point_kernel(ou, 3.0, 0.01, box=10.0, cells=600)
    found = bounds.dobrushin(kernel, weight=lambda x: 1 + 0.03 * (1 + x**2))
    print(found)
    assert found.value == pytest.approx(0.302, abs=0.001)
    w = 1 + 0.03 * (1 + kernel.grid.x**2)
    i, k = (int(np.argmin(np.abs(kernel.grid.x - point))) for point in (found.x, found.y))
    attained = np.abs(kernel.matrix[i] - kernel.matrix[k]) @ w / (w[i] + w[k])
    assert found.value == pytest.approx(attained, rel=1e-12)
    assert all(h.holds for h in found.checked)


@pytest.mark.parametrize("times", [(3.0, 0.01), (0.3, 0.1), (0.05, 0.04)])
@pytest.mark.parametrize("weight", [None, fp.UnitWeight(), fp.PolynomialWeight(2, 0.1), fp.ExponentialWeight(0.4)])
def test_pruning_changes_nothing(ou, times, weight):
    kernel = point_kernel(ou, *times, box=8.0, cells=203)
    w = weights.evaluate(weight, kernel.grid)
    table = all_pairs(kernel.matrix, w)
    assert bounds.dobrushin(kernel, weight=weight).value == pytest.approx((table / np.add.outer(w, w)).max(), rel=1e-12)
    v, levels = w - 1.0, np.geomspace(0.01, 60.0, 200)
    tv = 0.5 * all_pairs(kernel.matrix, np.ones(203))
    heights = np.add.outer(v, v)
    expected = [tv[heights <= level].max(initial=0.0) for level in levels]
    assert np.abs(_pairs.distance_by_level(kernel.matrix, v, levels) - expected).max() <= 2e-12


def test_it_is_the_norm_on_differences_of_probabilities(ou, rng):
    kernel = point_kernel(ou, 3.0, 1.0, cells=120)
    w = weights.evaluate(None, kernel.grid)
    delta = bounds.dobrushin(kernel).value
    for _ in range(50):
        difference = np.subtract(*rng.dirichlet(np.full(120, 0.05), size=2))
        assert np.abs(difference @ kernel.matrix) @ w <= delta * (np.abs(difference) @ w) * (1 + 1e-12)
    found = bounds.dobrushin(kernel)
    extreme = np.zeros(120)
    extreme[int(np.argmin(np.abs(kernel.grid.x - found.x)))] = 1.0
    extreme[int(np.argmin(np.abs(kernel.grid.x - found.y)))] = -1.0
    assert np.abs(extreme @ kernel.matrix) @ w == pytest.approx(delta * (np.abs(extreme) @ w))


def test_it_is_submultiplicative_and_takes_two_weights(ou):
    first, second = point_kernel(ou, 3.0, 0.5), point_kernel(ou, 0.5, 0.05)
    one, two = fp.PolynomialWeight(2, 1.0), fp.PolynomialWeight(2, 0.1)
    product = (
        bounds.dobrushin(first, start_weight=one, weight=two).value
        * bounds.dobrushin(second, start_weight=two, weight=one).value
    )
    assert bounds.dobrushin(first @ second, weight=one).value <= product * (1 + 1e-12)


def test_planes_too():
    grid = fp.Grid.uniform([(-5, 5), (-5, 5)], cells=16)
    kernel = kernels.exact(cases.rotated_five(), grid, 2.0, 0.3, source="point")
    found = bounds.dobrushin(kernel)
    w = weights.evaluate(None, grid).ravel()
    assert found.value == pytest.approx((all_pairs(kernel.matrix, w) / np.add.outer(w, w)).max(), rel=1e-12)
    assert np.shape(found.x) == (2,)


def test_a_weight_below_one_is_refused(ou):
    for call in (bounds.dobrushin, bounds.harris, bounds.minorization):
        with pytest.raises(ValueError, match="weight: expected V >= 1"):
            call(point_kernel(ou, 3.0, 1.0, cells=40), weight=lambda x: 0.5 + x**2)


# minorization


def test_minorization_against_plain_numpy(ou):
    kernel = point_kernel(ou, 3.0, 0.01, box=10.0, cells=250)
    # cells count as soon as a point within a cell's width does
    x, h = kernel.grid.x, kernel.grid.spacing[0]
    v = np.min([(x - h) ** 2, x**2, (x + h) ** 2], axis=0)
    found = bounds.minorization(kernel, 9.0, levels=[1.0, 4.0, 9.0, 30.0])
    tv = 0.5 * all_pairs(kernel.matrix, np.ones(250))
    for level, common, pairwise in zip(found.levels, found.commons, found.pairwise, strict=True):
        assert common == pytest.approx(kernel.matrix[v <= level].min(axis=0).sum(), rel=1e-12)
        assert pairwise == pytest.approx(1 - tv[np.add.outer(v, v) <= level].max(), abs=1e-11)
        assert common <= pairwise + 1e-12
    assert found.value == found.pairwise[2]
    assert found.common == found.commons[2]
    assert np.all(np.diff(found.commons) <= 0.0) and np.all(np.diff(found.pairwise) <= 0.0)


def test_overlaps_on_coarse_cells_are_below_those_on_fine_ones(ou):
    """At any level: the set that is compared reaches beyond every pair of points of the true one."""
    levels = [1.0, 4.0, 9.0, 30.0, 60.0]
    coarse, fine = (
        bounds.minorization(point_kernel(ou, 3.0, 0.3, box=10.0, cells=cells), 9.0, levels=levels)
        for cells in (60, 600)
    )
    print(coarse.pairwise, fine.pairwise, coarse.commons, fine.commons)
    assert np.all(coarse.pairwise <= fine.pairwise) and np.all(coarse.commons <= fine.commons)
    assert np.allclose(coarse.pairwise, fine.pairwise, atol=0.1)


def test_the_minorizing_measure_minorizes(ou):
    kernel = point_kernel(ou, 3.0, 0.01, box=10.0, cells=250)
    found = bounds.minorization(kernel, 9.0)
    assert found.measure.sum() * kernel.grid.volume == pytest.approx(1.0)
    inside = kernel.grid.x**2 <= 9.0
    nu = found.measure * kernel.grid.volume
    assert np.all(kernel.matrix[inside] >= found.common * nu - 1e-15)


def test_a_box_that_does_not_contain_the_level_set_gives_no_certificate(ou):
    found = bounds.minorization(point_kernel(ou, 3.0, 0.01, box=6.0), 40.0)
    assert found.value is None
    assert "the box contains {V <= R}" in found.reason
    assert bounds.minorization(point_kernel(ou, 3.0, 0.01, box=7.0), 40.0).value is not None


def test_levels_must_increase(ou):
    with pytest.raises(ValueError, match="levels: expected increasing"):
        bounds.minorization(point_kernel(ou, 3.0, 1.0, cells=40), 4.0, levels=[4.0, 1.0])


# assumptions


@pytest.mark.parametrize("t", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("case", [cases.ou_mixture, cases.two_mode_vp, cases.rotated_five])
def test_closed_form_constants_of_mixtures_hold_with_a_margin(case, t):
    found = bounds.assumptions(case(), t)
    assert found.method == "closed form" and found.power == 1.0
    assert found.value > 0.0
    assert all(h.holds for h in found.checked), str(found)


@pytest.mark.parametrize("law", [fp.Laplace(), fp.StudentT(4.0), fp.StudentT(30.0)], ids=repr)
@pytest.mark.parametrize("t", [0.0, 0.1])
def test_tails_that_are_not_dissipative_have_no_constant(law, t):
    found = bounds.assumptions(fp.Reverse(law, fp.VP()), t)
    print(found)
    assert found.value is None
    assert "dissipative tail" in found.reason


def test_a_model_is_fitted_with_its_region():
    exact = cases.two_mode_vp()
    model = fp.Reverse(exact.target, exact.process, score=lambda t, x: 1.02 * exact.score(t, x) + 0.1 * np.sin(x))
    found = bounds.assumptions(model, 0.1, region=7.0)
    x = np.linspace(-7, 7, 1001)
    assert found.method == "fitted" and found.region == 7.0 and found.value > 0.0
    assert np.all(x * model.score(0.1, x) <= -found.value * x**2 + 1.01 * found.offset)
    assert "beyond |x| = 7" in found.unchecked[0]


def test_a_score_of_the_wrong_sign_fails_the_dissipativity_check():
    """Negative control."""
    exact = cases.two_mode_vp()
    flipped = fp.scores.perturbed(exact.score, fp.scores.errors.Scaling(-2.0))
    wrong = fp.Reverse(exact.target, exact.process, score=flipped)
    found = bounds.assumptions(wrong, 0.1)
    failed = [h.name for h in found.checked if not h.holds]
    assert found.value is None
    assert "dissipative tail" in failed and "A is positive" in failed


def test_the_slope_of_the_score_is_bounded(rng):
    x = np.linspace(-25, 25, 20_001)
    for trial in range(60):
        count = int(rng.integers(1, 5))
        stds = np.full(count, 0.5) if trial % 3 == 0 else rng.uniform(0.2, 1.2, count)
        law = fp.GaussianMixture(rng.dirichlet(np.ones(count)), rng.normal(0, 2, count), stds=stds)
        slopes = np.diff(law.score(x)) / np.diff(x)
        assert slopes.max() <= _closed.score_slope(law) + 1e-6


def test_the_closed_overlap_is_below_the_true_one():
    reverse = fp.Reverse(fp.GaussianMixture([0.4, 0.6], [-1.0, 1.0], stds=[0.6, 0.6]), fp.VP())
    for t0, t1 in ((1.0, 0.1), (0.5, 0.3)):
        kernel = point_kernel(reverse, t0, t1, box=7.0, cells=150)
        gaps = np.square(np.subtract.outer(kernel.grid.x, kernel.grid.x))
        true = 1 - 0.5 * all_pairs(kernel.matrix, np.ones(150))
        lower = _closed.overlap(reverse.marginal(t0), float(reverse.process.variance(t1, t0)), gaps)
        # cells at the ends lose mass over the edge of the box, and with it some distance
        inner = slice(25, -25)
        assert np.all(lower[inner, inner] <= true[inner, inner] + 1e-9)


def test_a_record_tells_its_story(ou):
    text = str(bounds.harris(point_kernel(ou, 3.0, 0.01, box=10.0), weight=fp.PolynomialWeight(2, 0.03)))
    for part in ("Harris: 0.", "Theorem 1.3", "gamma = ", "holds: the box contains", "not checked: P V"):
        assert part in text


@pytest.mark.parametrize("weight", [fp.UnitWeight(), fp.PolynomialWeight()])
def test_a_coefficient_says_how_far_its_pair_is_from_the_ends_of_the_box(weight):
    """All pairs of rows by hand; without a weight the farthest two cells are the worst, and the box decides."""
    grid = fp.Grid.uniform((-2.0, 2.0), cells=40)
    kernel = kernels.exact(fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0)), grid, 1.0, 0.5)
    found = bounds.dobrushin(kernel, weight=weight)
    v = np.ones(40) if isinstance(weight, fp.UnitWeight) else 1.0 + grid.x**2
    table = (np.abs(kernel.matrix[:, None] - kernel.matrix[None]) * v).sum(axis=2) / np.add.outer(v, v)
    pair = np.unravel_index(np.argmax(table), table.shape)
    margin = min(min(i, 39 - i) for i in pair) - 1
    assert found.checked[0].margin == margin
    assert found.checked[0].holds is bool(margin >= 0)

"""Harris' contraction as a function of the localization set, against its own formula and on too small boxes."""

import cases
import numpy as np
import pytest
from scipy.stats import norm

import fpsolve as fp
from fpsolve import bounds, kernels

WEIGHT = fp.PolynomialWeight(2, 0.03)


def kernel(half, cells=None):
    grid = fp.Grid.uniform((-half, half), cells=cells or 25 * half)
    return kernels.exact(cases.ou_mixture(), grid, 3.0, 0.01, source="point")


@pytest.fixture(scope="module")
def wide():
    return kernel(12)


@pytest.fixture(scope="module")
def found(wide):
    return bounds.localization(wide, weight=WEIGHT)


def test_its_best_level_is_what_harris_finds(wide, found):
    best = bounds.harris(wide, weight=WEIGHT)
    print(found, best, sep="\n")
    assert best.value <= found.value <= best.value * 1.02
    assert found.value == np.nanmin(found.abar) and found.level in found.levels


def test_every_number_is_the_formula_at_its_best_pair(wide, found):
    """abar(R) by hand, over all gammas of the drift record, for three levels."""
    trade = bounds.drift(cases.ou_mixture(), 3.0, 0.01, grid=wide.grid, weight=WEIGHT, kernel=wide)
    for at in (25, 40, 55):
        r, overlap = found.levels[at], found.pairwise[at]
        local = 1 - overlap + trade.ks
        far = (2 + trade.gammas * r + 2 * trade.ks) / (2 + r)
        every = np.maximum(np.maximum(local, trade.gammas), far)
        allowed = r * (1 - trade.gammas) > 2 * trade.ks
        if allowed.any():
            assert found.abar[at] == pytest.approx(float(np.min(every[allowed])), rel=1e-12)
        else:
            assert np.isnan(found.abar[at])


def test_overlaps_are_those_of_all_pairs(found):
    """a'' and a by plain numpy on a coarse kernel; the pair condition is on the sum of V."""
    coarse = kernel(8, cells=60)
    x, h = coarse.grid.x, coarse.grid.spacing[0]
    v = 0.03 * np.min([(x - h) ** 2, x**2, (x + h) ** 2], axis=0)
    one = bounds.localization(coarse, weight=WEIGHT, levels=[0.05, 0.4, 1.5])
    tv = 0.5 * np.abs(coarse.matrix[:, None] - coarse.matrix[None]).sum(axis=-1)
    for r, pairs, common in zip(one.levels, one.pairwise, one.commons, strict=True):
        allowed = v[:, None] + v[None] <= r
        assert pairs == pytest.approx(float(np.min(1 - tv[allowed])), abs=1e-12)
        assert common == pytest.approx(float(coarse.matrix[v <= r].min(axis=0).sum()), abs=1e-12)
    assert np.all(found.commons <= found.pairwise + 1e-12)
    assert np.all(np.diff(found.pairwise) <= 0.0) and np.all(np.diff(found.commons) <= 0.0)


def test_what_all_rows_share_is_that_of_the_line_where_cells_are_wider_than_rows():
    """Rows N(g x + c, v) of width 0.005 on cells of 0.025: rows within a cell look alike on the matrix."""
    beta, std, spread = 500.0, 0.0065, 0.01
    reverse = fp.Reverse(fp.Gaussian(0.013, std=std), fp.EDM(sigma_max=spread))
    coarse = kernels.exact(reverse, fp.Grid.uniform((-0.5, 0.5), cells=40), spread, 0.0, source="point")
    found = bounds.localization(coarse, weight=fp.PolynomialWeight(2, beta))
    pull = std**2 / (std**2 + spread**2)
    # the two rows from the ends of {V <= R}, which cross halfway
    true = 2.0 * norm.sf(pull * np.sqrt(found.levels / beta) / (spread * pull**0.5))
    lowest = beta * np.maximum(np.abs(coarse.grid.x) - 1.5 * coarse.grid.volume, 0.0) ** 2
    assert coarse.matrix[lowest <= found.levels[0]].min(axis=0).sum() < 1.1 * true[0]
    assert np.all(found.commons <= true * (1.0 + 1e-9)) and found.commons[0] > 0.99 * true[0]


@pytest.mark.parametrize("half", [3, 4, 5, 6, 8])
def test_a_smaller_box_never_certifies_more(half, found):
    small = bounds.localization(kernel(half), weight=WEIGHT, levels=found.levels)
    print(half, small.value, found.value)
    assert (small.value is None) == (half < 5)
    if small.value is not None:
        assert small.value >= found.value - 1e-6
        assert bounds.dobrushin(kernel(12), weight=WEIGHT).value <= small.value


def test_without_the_guard_a_small_box_returns_a_false_number(wide):
    """Below the sharp coefficient, which nothing true can be; and the guard does not let it through."""
    weight = fp.PolynomialWeight(2, 0.01)
    small = bounds.localization(kernel(3), weight=weight, levels=np.geomspace(0.02, 8.0, 100))
    truth = bounds.dobrushin(wide, weight=weight).value
    print("unguarded", np.nanmin(small.unguarded), "sharp", truth)
    assert np.nanmin(small.unguarded) < truth
    assert small.value is None and "some level within the box" in small.reason
    assert np.all(np.isnan(small.abar))


def test_where_no_level_contracts_it_says_so(wide):
    none = bounds.localization(wide, weight=lambda x: 1 + 0.3 * (1 + x**2))
    assert none.value is None and "abar is below 1 fails by" in none.reason
    assert np.nanmin(none.abar) > 1.0


def test_levels_must_increase(wide):
    with pytest.raises(ValueError, match="levels: expected increasing levels R"):
        bounds.localization(wide, levels=[2.0, 1.0])
    with pytest.raises(ValueError, match="weight: expected V >= 1"):
        bounds.localization(wide, weight=lambda x: 0.5 + 0.0 * x)

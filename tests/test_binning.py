"""Kernel densities of many samples: binned, with an error that is stated and true."""

import numpy as np
import pytest

import fpsolve as fp


def data(n, dim, rng):
    x = np.concatenate([rng.normal(-1.5, 0.5, n // 3), rng.normal(1.0, 0.8, n - n // 3)])
    return x if dim == 1 else np.stack([x, 0.5 * x + rng.normal(0.0, 0.6, n)], axis=1)


@pytest.mark.parametrize("dim", [1, 2])
def test_many_samples_become_few_components_with_a_stated_error(dim, rng):
    x = data(20_000, dim, rng)
    law = fp.KernelDensity(x)
    exact = fp.KernelDensity(x, bins=0.0)
    print(dim, "components", len(law.log_weights), "of", len(x), "binning error", law.binning_error)
    assert len(law.log_weights) < len(x) / 4
    assert 0.0 < law.binning_error < 1e-3
    assert np.exp(law.log_weights).sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(law.mean, exact.mean, atol=1e-12)
    np.testing.assert_allclose(law.cov, exact.cov, rtol=1e-4)


def test_the_stated_error_is_the_true_one_and_falls_with_the_bins(rng):
    grid, bins = fp.Grid.uniform((-6, 6), cells=3000), (0.5, 0.25, 0.125)
    errors = np.zeros(3)
    # a single sample may lie luckily in its bins
    for _ in range(4):
        x = data(4000, 1, rng)
        exact = fp.KernelDensity(x, bins=0.0).density(grid.x)
        for k, width in enumerate(bins):
            law = fp.KernelDensity(x, bins=width)
            true = np.abs(law.density(grid.x) - exact).sum() * grid.volume
            assert law.binning_error == pytest.approx(true, rel=0.2)
            errors[k] += true
    print("binning errors", errors)
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


def test_few_samples_are_kept_and_bad_bins_refused(rng):
    x = data(300, 1, rng)
    law = fp.KernelDensity(x)
    assert len(law.log_weights) == 300
    assert law.binning_error == 0.0
    with pytest.raises(ValueError, match="bins"):
        fp.KernelDensity(x, bins=2.0)


def test_a_run_on_many_samples_meets_its_tolerance(rng):
    reverse = fp.Reverse(fp.KernelDensity(data(100_000, 1, rng)), fp.VP())
    run = fp.evolve(reverse, {"prior": fp.Gaussian(0.0, std=1.0)}, t_min=0.01, tol=1e-3)
    assert run.attrs["tol_met"] == "yes"


@pytest.mark.parametrize("far", [1e5, 1e9, 1e14])
@pytest.mark.parametrize("dim", [1, 2])
def test_samples_far_away_cost_no_more_than_near_ones(dim, far, rng):
    """Nodes lie where samples are: between a few hundred and one a billion bandwidths off there is nothing."""
    near = data(4000, dim, rng)
    x = np.append(near, np.full_like(near[:1], far), axis=0)
    bandwidth = np.full(dim, 0.1) if dim == 2 else 0.1
    law = fp.KernelDensity(x, bandwidth)
    assert len(law.log_weights) < 8000
    np.testing.assert_allclose(law.mean, x.mean(axis=0), rtol=1e-12)
    # a sample f of the way between two nodes has gained f (1 - f) of their distance squared, others less: 1/6 was taken
    np.testing.assert_allclose(np.diagonal(np.atleast_2d(law.cov)), x.var(axis=0) + 0.1**2, rtol=1e-9)
    # what is stated of the near ones alone, and of the far one by itself what its share among its nodes makes of it
    alone = fp.KernelDensity(near, bandwidth).binning_error * 4000 / 4001
    assert alone <= law.binning_error * (1.0 + 1e-9) < alone + 2.0 / 4001


def test_a_sum_over_the_plane_that_does_not_fit_is_refused(rng):
    law = fp.KernelDensity(rng.standard_cauchy((40_000, 2)), [1e-3, 1e-3])
    with pytest.raises(ValueError, match=r"binning_error: .*larger bandwidth"):
        _ = law.binning_error

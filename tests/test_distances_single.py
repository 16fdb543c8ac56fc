"""Divergences and Wasserstein distances of densities stored in float32 know that they were."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

import fpsolve as fp

GRID = fp.Grid.uniform((-8, 8), cells=320)


def stored(mean, std):
    """Exact cell averages of N(mean, std^2), rounded to float32."""
    averages = np.diff(norm.cdf(GRID.faces, mean, std)) / GRID.volume
    return xr.DataArray(averages.astype(np.float32), dims="x", coords={"x": GRID.x})


def closed(mean):
    """Distances between N(mean, 1) and N(0, 1) in closed form."""
    return {
        "kl": mean**2 / 2,
        "hellinger": np.sqrt(-np.expm1(-(mean**2) / 8)),
        "wasserstein": mean,
        "total_variation": 2 * norm.cdf(mean / 2) - 1,
    }


@pytest.mark.parametrize("mean", [1e-7, 1e-6, 1e-5, 1e-3, 0.2])
@pytest.mark.parametrize("name", ["kl", "hellinger", "wasserstein", "total_variation"])
def test_the_rounding_of_float32_is_in_the_error(name, mean):
    found = getattr(fp.distances, name)(stored(mean, 1.0), stored(0.0, 1.0))
    assert abs(float(found.distance) - closed(mean)[name]) <= float(found.error)
    # and it is no larger than what float32 may do to a distance of that size
    if mean == 0.2:
        assert float(found.error) < 1e-4


def test_narrower_laws_and_the_second_order():
    p, q = stored(0.0, 0.9), stored(0.0, 1.0)
    chi2 = fp.distances.chi2(p, q)
    assert abs(float(chi2.distance) - (1.0 / (0.9 * np.sqrt(2.0 - 0.81)) - 1.0)) <= float(chi2.error) < 1e-3
    second = fp.distances.wasserstein(p, q, order=2)
    assert abs(float(second.distance) - 0.1) <= float(second.error)

"""What every distance of densities has in common: units, places, and float32 in which they were stored."""

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


SYMMETRIC = {"total_variation", "hellinger", "energy", "frechet", "mmd", "wasserstein", "sliced_wasserstein"}
LENGTHS = {"energy": 0.5, "frechet": 1.0, "wasserstein": 1.0, "sliced_wasserstein": 1.0}


def two_laws(dim, scale=1.0, shift=(0.0, 0.0), mirror=1.0, turned=False, cells=40):
    """Cell averages of two laws whose tails the box cuts, moved, scaled, mirrored or with axes exchanged."""
    fields, names = [], ("x", "y")[:dim]
    grid = fp.Grid.uniform([(scale * -3.2 + s, scale * 3.2 + s) for s in shift[:dim]], cells=(cells,) * dim)
    for mean, std in (((0.2, 0.1), 0.9), ((-0.3, 0.3), 0.8)):
        where = scale * mirror * np.array(mean[::-1] if turned else mean) + np.array(shift)
        law = fp.Gaussian(where[0] if dim == 1 else where, std=scale * std)
        fields.append(xr.DataArray(grid.cell_average(law), dims=names, coords=dict(zip(names, grid.axes, strict=True))))
    return fields


CASES = [(name, dim) for name in sorted(SYMMETRIC | {"kl", "chi2"}) for dim in (1, 2)]


@pytest.mark.parametrize(("name", "dim"), [case for case in CASES if case != ("sliced_wasserstein", 1)])
def test_distances_and_their_errors_do_not_know_where_and_in_what_units_laws_are(name, dim):
    def of(swapped=False, scale=1.0, **changes):
        pair = two_laws(dim, scale=scale, **changes)
        options = {"bandwidth": 0.7 * scale} if name == "mmd" else {}
        found = getattr(fp.distances, name)(*(pair[::-1] if swapped else pair), **options)
        return np.array([float(found.distance), float(found.error)])

    plain = of()
    assert 0.0 < plain[1] <= 2.0 * plain[0]
    changes = [{"shift": (64.0, -32.0)}, {"mirror": -1.0}, {"turned": dim == 2}]
    changes += [{"swapped": True}] if name in SYMMETRIC else []
    for change in changes:
        found = of(**change)
        # mass that the box cuts off, and directions that are looked along, may change a little
        assert abs(found[0] - plain[0]) <= 0.3 * plain[1] and 0.98 < found[1] / plain[1] < 1.02, change
    np.testing.assert_allclose(of(scale=4.0), plain * 4.0 ** LENGTHS.get(name, 0.0), rtol=1e-9)


def test_a_mass_that_differs_is_moved_to_the_middle_of_the_box():
    """``2 int (F - G - lost [x > middle])^2`` by the trapezoidal rule."""
    grid = fp.Grid.uniform((0.0, 12.0), cells=120)
    p, q = (
        xr.DataArray(share * np.diff(norm.cdf(grid.faces, mean, std)) / grid.volume, dims="x", coords={"x": grid.x})
        for share, mean, std in ((0.97, 5.2, 0.5), (1.0, 4.9, 0.6))
    )
    x = np.linspace(0.0, 12.0, 200_001)
    gap = 0.97 * norm.cdf(x, 5.2, 0.5) - norm.cdf(x, 4.9, 0.6) + 0.03 * (x > 6.0)
    found = fp.distances.energy(p, q, unbounded=False)
    assert abs(float(found.distance) - np.sqrt(2.0 * np.trapezoid(gap**2, x))) < 1e-4
    assert float(found.error) > 1e-3

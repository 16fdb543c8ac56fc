"""Energy distance, MMD, sliced and plane Wasserstein, Frechet: closed forms of Gaussians lie within the errors."""

import builtins
import warnings

import numpy as np
import pytest
import xarray as xr
from scipy.linalg import sqrtm
from scipy.optimize import brentq
from scipy.special import ive, ndtr

import fpsolve as fp
from fpsolve import distances


def cells(law, grid):
    axes = dict(zip(("x", "y"), grid.axes, strict=False))
    return xr.DataArray(grid.cell_average(law), dims=list(axes), coords=axes)


def mean_size(m, s):
    """E|N(m, s^2)|."""
    return s * np.sqrt(2.0 / np.pi) * np.exp(-0.5 * (m / s) ** 2) + m * (1.0 - 2.0 * ndtr(-m / s))


def mean_length(m, s):
    """E|N(m, s^2 I)| in the plane (Rice)."""
    x = 0.5 * (m / s) ** 2
    return s * np.sqrt(0.5 * np.pi) * ((1.0 + x) * ive(0, 0.5 * x) + x * ive(1, 0.5 * x))


def energy_of(size, m, s, t):
    return np.sqrt(max(2.0 * size(m, np.hypot(s, t)) - size(0.0, s * 2**0.5) - size(0.0, t * 2**0.5), 0.0))


def mmd_of(dim, b, m, s, t):
    def mean_kernel(m, v):
        return (b**2 / (b**2 + v)) ** (0.5 * dim) * np.exp(-0.5 * m**2 / (b**2 + v))

    return np.sqrt(max(mean_kernel(0.0, 2 * s**2) + mean_kernel(0.0, 2 * t**2) - 2 * mean_kernel(m, s**2 + t**2), 0.0))


def frechet_of(m, c, n, d):
    root = np.real(sqrtm(c))
    return np.sqrt(np.sum((m - n) ** 2) + np.trace(c + d - 2.0 * np.real(sqrtm(root @ d @ root))))


def sliced_of(m, c, n, d):
    angles = np.pi * np.arange(2000) / 2000
    u = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    stds = [np.sqrt(np.einsum("ni,ij,nj->n", u, cov, u)) for cov in (c, d)]
    return np.sqrt(np.mean((u @ (m - n)) ** 2 + (stds[0] - stds[1]) ** 2))


def random_line(rng):
    means, stds = rng.uniform(-2.0, 2.0, 2), np.exp(rng.uniform(np.log(0.2), np.log(1.2), 2))
    half, n = rng.uniform(6.0, 12.0), int(rng.integers(40, 260))
    return means, stds, fp.Grid.uniform((-half, half), cells=n)


def random_plane(rng, isotropic=False):
    means, covs = rng.uniform(-1.2, 1.2, (2, 2)), []
    for _ in range(2):
        a, (s, t) = rng.uniform(0.0, np.pi), np.exp(rng.uniform(np.log(0.4), 0.0, 2))
        turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        covs.append(s**2 * np.eye(2) if isotropic else turn @ np.diag([s**2, t**2]) @ turn.T)
    half, n = rng.uniform(5.0, 7.0), int(rng.integers(28, 44))
    return means, covs, fp.Grid.uniform([(-half, half)] * 2, cells=(n, n + 6))


def test_the_errors_cover_in_1d():
    rng, missed, tight = np.random.default_rng(5), 0, []
    for _ in range(40):
        (m, n), (s, t), grid = random_line(rng)
        p, q, width = cells(fp.Gaussian(m, std=s), grid), cells(fp.Gaussian(n, std=t), grid), rng.uniform(0.3, 3.0)
        cases = (
            (distances.energy(p, q), energy_of(mean_size, m - n, s, t)),
            (distances.mmd(p, q, width), mmd_of(1, width, m - n, s, t)),
            (distances.frechet(p, q), np.hypot(m - n, s - t)),
        )
        for result, truth in cases:
            # the closed forms cancel: their own rounding is allowed for
            missed += abs(float(result.distance) - truth) > float(result.error) + 1e-15 / truth
        tight += [float(result.error) for result, _ in cases if grid.spacing[0] < 0.4 * min(s, t)]
    assert missed == 0 and len(tight) > 60
    assert np.median(tight) < 1e-7


def test_the_errors_cover_in_2d():
    rng, missed = np.random.default_rng(6), 0
    for k in range(8):
        (m, n), (c, d), grid = random_plane(rng, isotropic=k % 2 == 0)
        p, q, width = cells(fp.Gaussian(m, cov=c), grid), cells(fp.Gaussian(n, cov=d), grid), rng.uniform(0.5, 3.0)
        cases = [(distances.frechet(p, q), frechet_of(m, c, n, d))]
        if k % 2 == 0:
            far, s, t = np.linalg.norm(m - n), c[0, 0] ** 0.5, d[0, 0] ** 0.5
            cases += [(distances.energy(p, q), energy_of(mean_length, far, s, t))] if k < 4 else []
            cases += [(distances.mmd(p, q, width), mmd_of(2, width, far, s, t))]
        elif k < 4:
            cases += [(distances.sliced_wasserstein(p, q), sliced_of(m, c, n, d))]
        missed += sum(abs(float(r.distance) - truth) > float(r.error) + 1e-14 for r, truth in cases)
    assert missed == 0


def test_transport_in_the_plane_lies_between_its_bounds():
    rng = np.random.default_rng(7)
    for k in range(6):
        (m, n), (c, d), grid = random_plane(rng)
        n = m + 1e-3 * (n - m) if k == 0 else n
        p, q, moved = (cells(fp.Gaussian(a, cov=b), grid) for a, b in ((m, c), (n, d), (n, c)))
        w2, w1 = distances.wasserstein(p, q, 2), distances.wasserstein(p, moved, 1)
        far = np.linalg.norm(m - n)
        assert abs(float(w2.distance) - frechet_of(m, c, n, d)) <= float(w2.error)
        # a translation: W1 is its length
        assert abs(float(w1.distance) - far) <= float(w1.error) <= 0.25 * far


def test_equal_means_and_rings():
    """W1 of N(0, s^2 I) and N(0, t^2 I) is |s - t| (pi/2)^(1/2): mass moves along rays, as |x| tells."""
    grid = fp.Grid.uniform([(-5.0, 5.0)] * 2, cells=(60, 60))
    p, q = (cells(fp.Gaussian([0.0, 0.0], std=s), grid) for s in (0.6, 1.0))
    result = distances.wasserstein(p, q)
    assert abs(float(result.distance) - 0.4 * np.sqrt(0.5 * np.pi)) <= float(result.error) < 0.1


def test_without_pot_a_clear_word(monkeypatch):
    known = builtins.__import__

    def missing(name, *rest):
        if name == "ot":
            raise ModuleNotFoundError(name)
        return known(name, *rest)

    grid = fp.Grid.uniform([(-4.0, 4.0)] * 2, cells=(20, 20))
    p, q = (cells(fp.Gaussian([m, 0.0], std=0.8), grid) for m in (0.0, 0.5))
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'fpsolve\[ot\]'"):
        distances.wasserstein(p, q)


def test_samples_in_1d():
    rng, missed, off, count = np.random.default_rng(8), 0, [], 0
    for k in range(40):
        (m, n), (s, t), grid = random_line(rng)
        s = max(s, 0.4)
        n, t = (m, s) if k % 3 == 0 else (n, t)
        p, x, width = cells(fp.Gaussian(m, std=s), grid), rng.normal(n, t, int(10 ** rng.uniform(1.4, 4.0))), 1.0
        cases = [
            (distances.energy(p, x), energy_of(mean_size, m - n, s, t)),
            (distances.mmd(p, x, width), mmd_of(1, width, m - n, s, t)),
            (distances.frechet(p, x), np.hypot(m - n, s - t)),
            (distances.wasserstein(p, x, 2), np.hypot(m - n, s - t)),
        ]
        cases += [(distances.wasserstein(p, x, 1), abs(m - n))] if s == t else []
        for result, truth in cases:
            count += 1
            missed += abs(float(result.distance) - truth) > float(result.error)
            off.append((float(result.distance) - truth) / float(result.standard_error))
            assert 0.0 < float(result.standard_error) < float(result.error) > abs(float(result.bias))
    assert missed <= 0.01 * count
    # an upper bound of the deviation, yet no far one
    assert 0.2 < np.sqrt(np.mean(np.square(off))) < 1.2


def test_samples_in_the_plane():
    rng = np.random.default_rng(9)
    m, n, c = np.array([0.5, -0.2]), np.array([-0.5, 0.6]), np.array([[0.6, 0.2], [0.2, 0.4]])
    grid, x = fp.Grid.uniform([(-5.0, 5.0)] * 2, cells=(48, 48)), rng.multivariate_normal(n, c, size=3000)
    p = xr.concat([cells(fp.Gaussian(mean, cov=c), grid) for mean in (m, n)], "t")
    far, iso = np.linalg.norm(m - n), cells(fp.Gaussian(m, std=0.7), grid)
    for distance, truth in (
        (distances.frechet, far),
        (distances.sliced_wasserstein, far / 2**0.5),
        (distances.wasserstein, far),
        (lambda p, x: distances.wasserstein(p, x, 2), far),
    ):
        result = distance(p, x)
        assert np.all(np.abs(result.distance - [truth, 0.0]) <= result.error), result
    y = n + 0.5 * rng.standard_normal((3000, 2))
    for result, truth in (
        (distances.energy(iso, y), energy_of(mean_length, far, 0.7, 0.5)),
        (distances.mmd(iso, y, 0.8), mmd_of(2, 0.8, far, 0.7, 0.5)),
    ):
        assert abs(float(result.distance) - truth) <= float(result.error) < 0.2


def test_small_distances_keep_their_digits():
    grid = fp.Grid.uniform((-9.0, 9.0), cells=300)
    p, q = (cells(fp.Gaussian(m, std=1.0), grid) for m in (0.0, 1e-6))
    # to first order in the shift: 2 int (shift density)^2 = shift^2/pi^(1/2), and the derivative of the mean kernel
    assert float(distances.energy(p, q).distance) == pytest.approx(1e-6 * np.pi**-0.25, rel=1e-8)
    assert float(distances.mmd(p, q, 1.0).distance) == pytest.approx(1e-6 * 3.0**-0.75, rel=1e-8)
    assert float(distances.frechet(p, q).distance) == pytest.approx(1e-6, rel=1e-6)
    assert float(distances.energy(p, p).distance) == 0.0 == float(distances.mmd(p, p, 1.0).distance)


def test_what_the_cells_do_not_resolve_has_no_error_bar():
    narrow = fp.Grid.uniform((-9.0, 9.0), cells=60)
    p, q = (cells(fp.Gaussian(m, std=0.05), narrow) for m in (0.0, 1.0))
    x = np.random.default_rng(0).normal(0.0, 0.05, 100)
    for result in (
        distances.energy(p, q), distances.mmd(p, q, 1.0), distances.frechet(p, q), distances.energy(p, x),
        distances.wasserstein(p, x),
    ):  # fmt: skip
        assert float(result.error) == np.inf and "resolve" in result.attrs["reason"]


def test_a_run_over_its_times():
    reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    run = fp.evolve(reverse, {"exact": reverse.marginal(1.0), "prior": fp.Gaussian(0.3, std=1.0)}, t_min=0.05, tol=1e-4)
    p, q = (run.density.sel(start=name) for name in ("prior", "exact"))
    for result in (distances.energy(p, q), distances.mmd(p, q, 0.5), distances.frechet(p, q)):
        assert result.distance.dims == ("t",) and np.all(np.isfinite(result.error))
        assert float(result.distance[-1]) < float(result.distance[0])
    assert float(distances.frechet(p, q).distance[0]) == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("samples", [np.zeros(5), np.full(40, np.nan), np.zeros((40, 2)), "x"])
def test_samples_that_are_none(samples):
    p = cells(fp.Gaussian(0.0, std=1.0), fp.Grid.uniform((-9.0, 9.0), cells=60))
    with pytest.raises(ValueError, match="q: expected"):
        distances.energy(p, samples)


def test_early_stopping_is_a_term_of_its_own():
    """``||p_t - p_0||_V`` of Gaussians by quadrature of the closed form, and the same in decompositions and budgets."""
    reverse, s, t = fp.Reverse(fp.Gaussian(0.3, std=0.5), fp.OrnsteinUhlenbeck(T=2.0), eta=0.0), 0.5, 0.02
    a = np.exp(-t)
    v = (s * a) ** 2 + 1.0 - a**2

    def apart(x):
        p = np.exp(-0.5 * (x - 0.3 * a) ** 2 / v) / np.sqrt(2.0 * np.pi * v)
        return (1.0 + x**2) * abs(p - np.exp(-0.5 * ((x - 0.3) / s) ** 2) / (s * np.sqrt(2.0 * np.pi)))

    x = np.linspace(-6.0, 6.0, 200_001)
    truth = np.sum(apart(x)) * (x[1] - x[0])
    found = distances.early_stopping(reverse, t)
    assert float(found.distance) == pytest.approx(truth, abs=float(found.error) + 1e-8) and found.error < 1e-6
    assert float(distances.early_stopping(reverse, 0.0).distance) == 0.0
    grid, start = fp.Grid.uniform((-6.0, 6.0), cells=120), fp.Gaussian(0.0, std=1.0)
    split = fp.decomposition.errors(reverse, "ddim", start=start, grid=grid, steps=4, t_min=t)
    assert split.attrs["early_stopping"] == pytest.approx(truth, abs=split.attrs["early_stopping_error"])
    whole = fp.decomposition.errors(reverse, "ddim", start=start, grid=grid, steps=4, t_min=0.0)
    # the triangle: what is measured to p_0 is at most what is measured to p_t and the term
    assert whole.attrs["early_stopping"] == 0.0 and whole.attrs["total"] > 0.0
    narrow = fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=0.01), fp.VP())
    lost = distances.early_stopping(narrow, 0.01, grid=grid)
    assert float(lost.error) == np.inf and "resolve" in lost.attrs["reason"]
    plane = fp.Reverse(fp.Gaussian([0.0, 0.0], std=0.5), fp.OrnsteinUhlenbeck(T=2.0))
    w = 0.25 * a**2 + 1.0 - a**2
    # V = 1: half of it is e^(-r^2/2u) between radii where the densities cross
    r2 = 2.0 * np.log(w / 0.25) / (1.0 / 0.25 - 1.0 / w)
    exact = 2.0 * abs(np.exp(-0.5 * r2 / w) - np.exp(-0.5 * r2 / 0.25))
    found = distances.early_stopping(plane, t, fp.UnitWeight(), grid=fp.Grid.uniform([(-4.0, 4.0)] * 2, cells=(80, 80)))
    assert float(found.distance) == pytest.approx(exact, abs=float(found.error)) and found.error < 0.01 * exact
    with pytest.raises(ValueError, match="a target with a density"):
        distances.early_stopping(fp.Reverse(fp.PointMass(0.0), fp.VP()), 0.1)


def _apart(first, second, v):
    """``int V |p - q|`` of mixtures [(weight, mean, std), ...] on the line, in panels between the roots of p - q."""

    def gap(x):
        sizes = [sum(w * np.exp(-0.5 * ((x - m) / s) ** 2) / s for w, m, s in law) for law in (first, second)]
        return (sizes[0] - sizes[1]) / np.sqrt(2.0 * np.pi)

    ends = np.unique([0.0, *(m + s * u for _, m, s in (*first, *second) for u in np.linspace(-14.0, 14.0, 561))])
    turns = np.nonzero(gap(ends[1:]) * gap(ends[:-1]) < 0.0)[0]
    ends = np.unique([*ends, *(brentq(gap, ends[k], ends[k + 1], xtol=1e-14) for k in turns)])
    nodes, weights = np.polynomial.legendre.leggauss(10)
    half = 0.5 * np.diff(ends)[:, None]
    x = ends[:-1, None] + half * (1.0 + nodes)
    return float(np.sum(half * weights * v(x) * np.abs(gap(x))))


@pytest.mark.parametrize(
    ("law", "t", "weight", "v"),
    [
        ([(1.0, 0.1, 0.2)], 2.0, None, lambda x: 1.0 + x**2),
        ([(0.9, 0.0, 0.3), (0.1, 1.0, 0.2)], 1.0, fp.ExponentialWeight(6.0), lambda x: np.exp(6.0 * np.abs(x))),
        ([(0.9999, 0.0, 0.4), (0.0001, 30.0, 0.4)], 0.3, None, lambda x: 1.0 + x**2),
    ],
)
def test_early_stopping_sees_what_is_far_from_most_of_the_data(law, t, weight, v):
    """Noise wider than the data, a weight that grows, a component of small weight: none lies within ten deviations."""
    weights, means, stds = (list(part) for part in zip(*law, strict=True))
    reverse = fp.Reverse(fp.GaussianMixture(weights, means, stds=stds), fp.EDM())
    found = distances.early_stopping(reverse, t, weight)
    truth = _apart(law, [(w, m, np.hypot(s, t)) for w, m, s in law], v)
    assert found.error < 1e-5 * truth
    assert float(found.distance) == pytest.approx(truth, rel=1e-12, abs=float(found.error))


def test_laws_that_cells_do_not_hold_are_said():
    """A box of all of p_t but a component, or a third; cells of twice a component's width: no error bar."""
    reverse = fp.Reverse(fp.GaussianMixture([0.99999, 0.00001], [0.0, 60.0], stds=1.0), fp.EDM())
    box = fp.Grid.uniform((-12.0, 12.0), cells=120)
    for one in (reverse, fp.Reverse(fp.Gaussian(0.0, std=10.0), fp.EDM())):
        found = distances.early_stopping(one, 0.5, grid=box)
        assert float(found.error) == np.inf and "widen" in found.attrs["reason"]
    narrow = fp.Reverse(fp.GaussianMixture([0.999, 0.001], [0.0, 0.0], stds=[3.0, 0.1]), fp.VP())
    found = distances.early_stopping(narrow, 1e-8, fp.UnitWeight(), grid=fp.Grid.uniform((-30.0, 30.0), cells=120))
    assert float(found.error) == np.inf and "resolve" in found.attrs["reason"]
    # a run that stays inside of its box while p_t does not
    wide, process = fp.Gaussian(0.0, std=4.0), fp.VP()
    reverse = fp.Reverse(wide, process, score=fp.scores.exact(fp.Gaussian(0.0, std=0.5), process))
    grid, start = fp.Grid.uniform((-6.0, 6.0), cells=96), {"prior": fp.Gaussian(0.0, std=0.8)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fp.ScoreWarning)
        run = fp.evolve(reverse, start, t_min=0.05, grid=grid, steps=60)
        cost = distances.to_marginals(run, reverse)
        split = fp.decomposition.errors(
            reverse, "ddim", start=start["prior"], grid=grid, steps=6, t_min=0.05, eta=1.0, blocks=0
        )
    assert np.isinf(cost.error[0, -1]) and "widen" in cost.attrs["resolved_reason"]
    assert np.isinf(split.attrs["total_error"]) and "widen" in split.attrs["total_error_reason"]


@pytest.mark.parametrize(("n", "most"), [(48, 2e-6), (96, 2e-7)])
def test_the_energy_distance_of_the_plane_has_a_tight_bar(n, most):
    """Two round normal laws, Rice's mean lengths: the bar is not what makes the value right."""
    m, s, t = np.array([0.8, -0.5]), 0.6, 0.9
    grid = fp.Grid.uniform([(-6.0, 6.0), (-6.0, 6.0)], cells=(n, n))
    found = distances.energy(cells(fp.Gaussian([0.0, 0.0], std=s), grid), cells(fp.Gaussian(m, std=t), grid))
    exact = energy_of(mean_length, np.hypot(*m), s, t)
    assert abs(float(found.distance) - exact) <= float(found.error) <= most


def test_mass_moved_costs_the_energy_distance_of_two_points():
    """``E^2 = 2 |x - c|`` for point masses at x and c, on a line and in the plane."""
    line = np.linspace(-3.0, 5.0, 9)
    plane = np.stack(np.meshgrid(line, line - 1.0, indexing="ij"), axis=-1)
    root = distances._energy._root_distance
    np.testing.assert_allclose(root(line) ** 2, 2.0 * np.abs(line - 1.0), rtol=1e-14)
    np.testing.assert_allclose(root(plane)[0, 0] ** 2, 2.0 * np.hypot(4.0, 4.0), rtol=1e-14)


def test_equal_means_leave_the_error_of_the_deviations():
    """24 cells of 8, deviations 0.3 and 0.5 about one mean: what is off lies in the second moments alone."""
    grid = fp.Grid.uniform((-4.0, 4.0), cells=24)
    found = distances.frechet(*(cells(fp.Gaussian(0.0, std=s), grid) for s in (0.3, 0.5)))
    assert 1e-8 < abs(float(found.distance) - 0.2) <= float(found.error)


def spiked():
    """A run whose second start is too narrow for its cells, so that nothing is known of it."""
    reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    starts = {
        "prior": fp.Gaussian(0.0, std=1.0),
        "spike": fp.Gaussian(0.3, std=1e-3),
        "other": fp.Gaussian(0.2, std=0.9),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fp.UnresolvedWarning)
        return fp.evolve(reverse, starts, grid=fp.Grid.uniform((-6, 6), cells=128), t_min=0.05, steps=64)


def everything(p, q):
    """Every distance between two densities."""
    yield from (getattr(fp.distances, name)(p, q) for name in ("energy", "frechet", "weighted_tv", "total_variation"))
    yield from (getattr(fp.distances, name)(p, q) for name in ("kl", "chi2", "hellinger"))
    yield fp.distances.mmd(p, q, 0.5)
    yield from (fp.distances.wasserstein(p, q, order) for order in (1, 2))
    yield fp.distances.l1_on(p, q, (-1.0, 1.0))


def test_a_run_without_an_estimate_gives_distances_without_a_bar(tmp_path):
    run = spiked()
    assert np.isinf(run["error_estimate"].sel(start="spike")).any()
    assert np.isfinite(run["error_estimate"].sel(start=["prior", "other"])).all()
    run.fpsolve.save(tmp_path / "run.nc")
    rng = np.random.default_rng(0)
    for one in (run, fp.load(tmp_path / "run.nc")):
        last = one["density"].isel(t=[10, 14])
        prior, spike, other = (last.sel(start=name, drop=True) for name in ("prior", "spike", "other"))
        for found in everything(spike, prior):
            assert np.isinf(found["error"]).all() and found.attrs["reason"], found.attrs
            assert np.isfinite(found["distance"]).all()
        for found in everything(prior, spike):
            assert np.isinf(found["error"]).all()
        for found in everything(prior, other):
            assert np.isfinite(found["error"]).all()
        # a whole run against one of its starts: the rows that are lost, and no others
        found = fp.distances.energy(last, prior)
        assert np.isinf(found["error"]).all("t").values.tolist() == [False, True, False]
        assert "spike" in found.attrs["reason"] or "start" in found.attrs["reason"]
        # and against samples
        samples = rng.normal(0.0, 1.0, 400)
        for name in ("energy", "frechet"):
            assert np.isinf(getattr(fp.distances, name)(spike, samples)["error"]).all()
            assert np.isfinite(getattr(fp.distances, name)(prior, samples)["error"]).all()
        assert np.isinf(fp.distances.mmd(spike, samples, 0.5)["error"]).all()
        assert np.isinf(fp.distances.wasserstein(spike, samples, 2)["error"]).all()


@pytest.mark.slow
def test_in_the_plane_too():
    grid = fp.Grid.uniform([(-5, 5), (-5, 5)], cells=40)
    both = xr.concat([cells(fp.Gaussian([m, 0.0], std=1.0), grid) for m in (0.0, 0.5)], "start")
    marked = both.assign_coords(unresolved=("start", [False, True], {"reason": "start 'far': too few cells"}))
    near, far = marked.isel(start=0), marked.isel(start=1)
    for name in ("energy", "sliced_wasserstein", "wasserstein", "frechet", "weighted_tv"):
        found = getattr(distances, name)(marked, near)
        assert np.isinf(found["error"]).values.tolist() == [False, True], name
        assert "too few cells" in found.attrs["reason"] and "unresolved" not in found.coords
    samples = np.random.default_rng(0).normal(size=(100, 2))
    assert np.isinf(distances.sliced_wasserstein(far, samples)["error"])
    assert np.isfinite(distances.sliced_wasserstein(near, samples)["error"])

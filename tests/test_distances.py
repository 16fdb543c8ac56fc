"""Distances against closed forms: accuracy, order, honest errors, metric axioms, clear refusals."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.interpolate import make_interp_spline
from scipy.optimize import brentq
from scipy.special import ndtr

import fpsolve as fp
from fpsolve import distances
from fpsolve.distances import _divergences, _splines

BOX = (-6.0, 6.0)


def cells(law: fp.Law, n: int = 400, bounds: tuple[float, float] = BOX) -> xr.DataArray:
    grid = fp.Grid.uniform(bounds, cells=n)
    return xr.DataArray(grid.cell_average(law), dims="x", coords={"x": grid.x})


def squares(law: fp.Law, n: int, half: float = 8.0) -> xr.DataArray:
    grid = fp.Grid.uniform([(-half, half), (-half, half)], cells=n)
    axes = dict(zip("xy", grid.axes, strict=True))
    return xr.DataArray(grid.cell_average(law), dims=("x", "y"), coords=axes)


def numbers(result: xr.Dataset) -> tuple[float, float]:
    return float(result.distance), float(result.error)


class Signed:
    """A signed mixture of Gaussians: difference of two random mixtures, its cell averages and its exact norm."""

    def __init__(self, rng: np.random.Generator, low: float, high: float) -> None:
        k, m = rng.integers(1, 4, 2)
        self.weights = np.concatenate([rng.dirichlet(np.ones(k)), -rng.dirichlet(np.ones(m))])
        self.means = rng.uniform(-2.5, 2.5, k + m)
        self.stds = np.exp(rng.uniform(np.log(low), np.log(high), k + m))

    def __call__(self, x: np.ndarray | float) -> np.ndarray:
        z = (np.asarray(x)[..., None] - self.means) / self.stds
        return (self.weights / self.stds * np.exp(-0.5 * z * z)).sum(axis=-1) / np.sqrt(2 * np.pi)

    def averages(self, n: int) -> xr.DataArray:
        grid = fp.Grid.uniform(BOX, cells=n)
        z = (grid.faces[:, None] - self.means) / self.stds
        upper = z[:-1] > 0  # from the nearer tail, so that no digits are lost
        masses = np.where(upper, ndtr(-z[:-1]) - ndtr(-z[1:]), ndtr(z[1:]) - ndtr(z[:-1]))
        return xr.DataArray(masses @ self.weights / grid.volume, dims="x", coords={"x": grid.x})

    def primitive(self, x: float) -> float:
        """Integral of (1 + x^2) times this, in closed form."""
        z = (x - self.means) / self.stds
        bell = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
        second = (1 + self.means**2 + self.stds**2) * ndtr(z) - (2 * self.means + self.stds * z) * self.stds * bell
        return float(self.weights @ second)

    def norm(self) -> float:
        x = np.linspace(*BOX, 20_001)
        values = self(x)
        changes = np.nonzero(values[:-1] * values[1:] < 0)[0]
        roots = [brentq(self, x[i], x[i + 1], xtol=1e-15) for i in changes]
        return float(np.abs(np.diff([self.primitive(e) for e in (BOX[0], *roots, BOX[1])])).sum())


# -- conservative splines and roots -------------------------------------------------------------------


@pytest.mark.parametrize("degree", [2, 4])
@pytest.mark.parametrize("n", [8, 9, 40])
def test_splines_are_derivatives_of_interpolated_cumulatives(n: int, degree: int, rng: np.random.Generator) -> None:
    averages = rng.standard_normal((3, n))
    u = np.array([0.0, 0.13, 0.5, 0.99])
    ours = _splines.evaluate(_splines.coefficients(averages, degree), degree, u)
    for row, got in zip(averages, ours, strict=True):
        twin = make_interp_spline(np.arange(n + 1.0), np.append(0.0, np.cumsum(row)), k=degree + 1).derivative()
        np.testing.assert_allclose(got, twin(np.arange(n)[:, None] + u), atol=1e-11)


@pytest.mark.parametrize("degree", [0, 2, 4])
def test_splines_keep_the_averages(degree: int, rng: np.random.Generator) -> None:
    averages = rng.standard_normal((2, 30))
    spline = _splines.coefficients(averages, degree)
    means = _splines.windows(spline, degree) @ _splines.cumulative_basis(degree, np.ones(1))[0]
    np.testing.assert_allclose(means, averages, atol=1e-13)


def test_splines_stay_accurate_relative_to_a_tail() -> None:
    law = fp.Gaussian(0.0, std=1.0)
    p = cells(law, 800, (-12.0, 12.0))
    u = np.array([0.5])
    got = _splines.evaluate(_splines.coefficients(p.values, 4), 4, u)[:, 0]
    # down to 1e-31; at the very ends a spline is less accurate
    np.testing.assert_allclose(got[3:-3], law.density(p.x.values)[3:-3], rtol=1e-5)


def test_roots_agree_with_companion_matrices(rng: np.random.Generator) -> None:
    powers = rng.standard_normal((300, 5))
    for row, ours in zip(powers, _splines.unit_roots(powers), strict=True):
        theirs = np.roots(row[::-1])
        real = np.sort(theirs[(np.abs(theirs.imag) < 1e-12) & (theirs.real > 0) & (theirs.real < 1)].real)
        np.testing.assert_allclose(ours[ours < 1.0], real, atol=1e-9)


def test_bernstein_coefficients_enclose(rng: np.random.Generator) -> None:
    local = rng.standard_normal((100, 5))
    values = local @ _splines.basis(4, np.linspace(0, 1, 51)).T
    corners = local @ _splines.bernstein(4).T
    assert (values.max(axis=1) <= corners.max(axis=1) + 1e-14).all()
    assert (values.min(axis=1) >= corners.min(axis=1) - 1e-14).all()


# -- weighted total variation in 1D -------------------------------------------------------------------


def test_weighted_tv_of_random_mixtures_is_accurate_and_covered(rng: np.random.Generator) -> None:
    """120 pairs at N = 400: the true error is far below 2e-8, never above the estimate, seldom far below it."""
    ratios = []
    for _ in range(120):
        w = Signed(rng, 0.3, 0.9)
        value, error = numbers(distances.weighted_norm(w.averages(400), unbounded=False))
        true = abs(value - w.norm())
        assert true <= 2e-9
        assert true <= error
        ratios.append(error / max(true, 1e-14))
    # 26 to 37 with other random numbers: a bar half or twice as wide is seen
    assert 20.0 <= np.median(ratios) <= 45.0


@pytest.mark.parametrize("n", [50, 51, 100, 202])
def test_errors_cover_on_coarse_grids(n: int, rng: np.random.Generator) -> None:
    for _ in range(40):
        w = Signed(rng, 0.2, 0.6)
        value, error = numbers(distances.weighted_norm(w.averages(n), unbounded=False))
        assert abs(value - w.norm()) <= error


def test_order_six_where_the_plain_sum_has_order_two() -> None:
    sizes = np.array([100, 200, 400])
    ours, plain = np.zeros((2, 3, 60))
    for i, n in enumerate(sizes):
        rng = np.random.default_rng(5)
        for j in range(60):
            w = Signed(rng, 0.4, 0.8)
            averages, true = w.averages(n), w.norm()
            ours[i, j] = abs(float(distances.weighted_norm(averages).distance) - true)
            plain[i, j] = abs(float(((1 + averages.x**2) * abs(averages)).sum() * 12 / n) - true)
    # mean logarithm: single errors depend on where in a cell the roots lie
    slopes = [-np.polyfit(np.log(sizes), np.log(e + 1e-16).mean(axis=1), 1)[0] for e in (ours, plain)]
    assert abs(slopes[0] - 6.0) <= 0.2
    assert abs(slopes[1] - 2.0) <= 0.4
    assert plain[-1].mean() > 1e4 * ours[-1].mean()  # negative control


@pytest.mark.parametrize(("shift", "tolerance"), [(1e-4, 1e-7), (1e-7, 1e-6), (1e-10, 1e-5)])
def test_tiny_distances_keep_their_digits(shift: float, tolerance: float) -> None:
    p, q = (cells(fp.Gaussian(m, std=1.0), 400, (-9.0, 9.0)) for m in (shift, -shift))
    value, error = numbers(distances.weighted_tv(p, q))
    true = 2 * quad(lambda x: (1 + x * x) * _odd_part(x, shift), 0, 12, epsabs=0, epsrel=1e-12)[0]
    assert value == pytest.approx(true, rel=tolerance)
    assert abs(value - true) <= error <= max(1e-5, 1e-15 / shift) * true


def _odd_part(x: float, m: float) -> float:
    """N(x; m, 1) - N(x; -m, 1) without cancellation."""
    return 2 * np.exp(-0.5 * (x * x + m * m)) * np.sinh(x * m) / np.sqrt(2 * np.pi)


def test_a_signed_difference_below_rounding_of_the_densities() -> None:
    grid = fp.Grid.uniform((-9, 9), cells=400)
    law = fp.Gaussian(0.0, std=1.0)
    # cell averages of 1e-20 times the derivative of the density
    slope = xr.DataArray(1e-20 * np.diff(law.density(grid.faces)) / grid.volume, dims="x", coords={"x": grid.x})
    value, error = numbers(distances.weighted_norm(slope))
    assert value == pytest.approx(1e-20 * 6 / np.sqrt(2 * np.pi), rel=1e-9)
    assert error < 1e-29


@pytest.mark.parametrize(
    ("weight", "primitive"),
    [
        (fp.PolynomialWeight(power=1), lambda x: 1 + abs(x)),
        (fp.PolynomialWeight(power=4, beta=0.1), lambda x: 1 + 0.1 * x**4),
        (fp.ExponentialWeight(rate=1.5), lambda x: np.exp(1.5 * abs(x))),
        (fp.UnitWeight(), lambda x: 1.0),
        (lambda x: np.cosh(x), lambda x: np.cosh(x)),
        (lambda x: 1 + np.abs(x - 0.7), lambda x: 1 + abs(x - 0.7)),
    ],
    ids=["linear", "quartic", "exponential", "unit", "cosh", "kink elsewhere"],
)
def test_other_weights(weight: fp.weights.WeightLike, primitive: Callable[[float], float]) -> None:
    p, q = fp.Gaussian(0.3, std=0.6), fp.Gaussian(-0.5, std=0.5)
    value, error = numbers(distances.weighted_tv(cells(p, 401), cells(q, 401), weight))
    roots = [brentq(lambda x: p.density(x) - q.density(x), *ends) for ends in ((-1, 0.5), (-6, -1.5))]
    true = quad(
        lambda x: primitive(x) * abs(float(p.density(x) - q.density(x))), *BOX, points=[0.0, 0.7, *roots], limit=200
    )[0]
    assert abs(value - true) <= error + 1e-12
    assert abs(value - true) <= (2e-5 if primitive(0.7) == 1.0 and primitive(0.0) > 1 else 1e-8)


def _rough_law(rng: np.random.Generator) -> tuple[fp.Law, list[float]]:
    m, s = rng.uniform(-2, 2), rng.uniform(0.3, 1.0)
    kind = rng.integers(3)
    if kind == 0:
        return fp.Uniform(m - s, m + s), [m - s, m + s]
    return (fp.Laplace(m, scale=s / 2), [m]) if kind == 1 else (fp.Gaussian(m, std=s), [])


def _exact_rough(p: fp.Law, q: fp.Law, kinks: list[float]) -> float:
    """Gauss-Legendre between kinks and roots."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    ends = np.unique([*BOX, *(k for k in kinks if BOX[0] < k < BOX[1]), *np.linspace(*BOX, 121)])
    cuts = [ends[0]]
    for low, high in pairwise(ends):
        x = np.linspace(low + 1e-13, high - 1e-13, 21)
        v = p.density(x) - q.density(x)
        cuts += [_secant(x, v, i) for i in np.nonzero(v[:-1] * v[1:] < 0)[0]] + [high]
    half, middle = np.diff(cuts) / 2, np.add(cuts[1:], cuts[:-1]) / 2
    x = middle[:, None] + half[:, None] * nodes
    return float(((((1 + x**2) * np.abs(p.density(x) - q.density(x))) @ weights) * half).sum())


def _secant(x: np.ndarray, v: np.ndarray, i: int) -> float:
    return float(x[i] - v[i] * (x[i + 1] - x[i]) / (v[i + 1] - v[i]))


@pytest.mark.parametrize("n", [50, 101, 200, 400])
def test_errors_cover_densities_with_jumps_and_kinks(n: int, rng: np.random.Generator) -> None:
    ratios = []
    while len(ratios) < 40:
        (p, breaks), (q, more) = _rough_law(rng), _rough_law(rng)
        if not breaks + more:
            continue
        value, error = numbers(distances.weighted_tv(cells(p, n), cells(q, n), unbounded=False))
        true = abs(value - _exact_rough(p, q, breaks + more))
        assert true <= error + 1e-9
        ratios.append(error / max(true, 1e-6))
    # 12 to 26 with other random numbers
    assert 10.0 <= np.median(ratios) <= 32.0


def test_errors_cover_two_normal_laws_at_every_distance() -> None:
    """``2 (2 Phi(d/2) - 1)`` for N(0, 1) and N(d, 1), whose difference is no power of its width at its root."""
    for d in (1.0, 2.5, 3.75, 4.0, 6.0):
        for n in (60, 90, 110, 130):
            p, q = (cells(fp.Gaussian(mean, std=1.0), n, (-9.0, 9.0)) for mean in (0.1 - 0.5 * d, 0.1 + 0.5 * d))
            found = distances.weighted_tv(p, q, fp.UnitWeight())
            off = abs(float(found.distance) - 2.0 * (2.0 * ndtr(0.5 * d) - 1.0))
            assert off < 0.7 * float(found.error)


@pytest.mark.parametrize("n", [40, 60, 80])
def test_divergences_of_wrapped_normal_laws_are_covered(n: int) -> None:
    """On a ring, by the sums of images: cell averages from distribution functions, KL and Hellinger by Gauss nodes."""
    images, faces = np.arange(-8, 9), np.linspace(0.0, 1.0, n + 1)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    x, w = ((np.arange(400)[:, None] + 0.5 + 0.5 * nodes) / 400).ravel(), np.tile(weights / 800, 400)

    def wrapped(m: float, s: float) -> tuple[xr.DataArray, np.ndarray]:
        averages = np.diff(ndtr((faces[:, None] + images - m) / s).sum(axis=1)) * n
        values = np.exp(-0.5 * ((x[:, None] + images - m) / s) ** 2).sum(axis=1) / (s * np.sqrt(2.0 * np.pi))
        return xr.DataArray(averages, dims="x", coords={"x": 0.5 * (faces[1:] + faces[:-1])}), values

    for first, second in (((0.4, 0.2), (0.5, 0.25)), ((0.4, 0.2), (0.5, 0.2)), ((0.1, 0.7), (0.5, 0.15))):
        (p, at_p), (q, at_q) = wrapped(*first), wrapped(*second)
        truth = {distances.kl: w @ (at_p * np.log(at_p / at_q))}
        truth[distances.hellinger] = np.sqrt(0.5 * w @ (np.sqrt(at_p) - np.sqrt(at_q)) ** 2)
        for distance, exact in truth.items():
            value, error = numbers(distance(p, q, unbounded=False))
            assert abs(value - exact) < 0.7 * error + 1e-15


def test_errors_cover_kinks_of_a_weight_wherever_they_lie_in_a_cell() -> None:
    """``int (1 + k (x - c)^+) N(0, 1)``: nearly all of it is in the cells beside c, and two rules may miss it alike."""
    k, w = 1e6, cells(fp.Gaussian(0.0, std=1.0), 800, (-8.0, 8.0))
    for c in 4.0 + 0.02 * np.linspace(0.0, 1.0, 41):
        found = distances.weighted_norm(w, lambda x, c=c: 1.0 + k * np.maximum(x - c, 0.0))
        truth = 1.0 + k * (np.exp(-0.5 * c**2) / np.sqrt(2.0 * np.pi) - c * ndtr(-c))
        assert abs(float(found.distance) - truth) < float(found.error)


def test_the_tail_beyond_the_box_is_part_of_the_error() -> None:
    p, q = (cells(fp.Gaussian(m, std=1.0), 200, (-3.0, 3.0)) for m in (0.4, -0.4))
    value, error = numbers(distances.weighted_tv(p, q))
    inside, blind = numbers(distances.weighted_tv(p, q, unbounded=False))
    true = 2 * quad(lambda x: (1 + x * x) * _odd_part(x, 0.4), 0, 15, epsrel=1e-12)[0]
    assert value == inside
    assert true - value <= error <= 2 * (true - value)
    assert blind < 1e-3 * (true - value)  # what the box alone can tell


def test_identical_densities_are_at_distance_zero() -> None:
    p = cells(fp.Gaussian(0.0, std=1.0), 100)
    assert numbers(distances.weighted_tv(p, p))[0] == 0.0
    assert numbers(distances.total_variation(p, p))[0] == 0.0
    assert numbers(distances.kl(p, p))[0] == 0.0
    assert numbers(distances.wasserstein(p, p))[0] == 0.0


# -- 2D ------------------------------------------------------------------------------------------------


def _circle_case() -> tuple[fp.Law, fp.Law, float]:
    """Two centred Gaussians: the difference changes sign on a circle."""
    s, r = 1.0, 0.7

    def radial(x: float) -> float:
        return float(np.exp(-0.5 * x * x / s**2) / s**2 - np.exp(-0.5 * x * x / r**2) / r**2)

    crossing = brentq(radial, 0.3, 3.0)
    parts = [
        quad(lambda x: (1 + x * x) * radial(x) * x, *ends, epsrel=1e-12)[0] for ends in ((0, crossing), (crossing, 15))
    ]
    return fp.Gaussian([0.0, 0.0], std=s), fp.Gaussian([0.0, 0.0], std=r), sum(map(abs, parts))


def _line_case(dx: float, dy: float) -> tuple[fp.Law, fp.Law, float]:
    """Two shifted unit Gaussians: the difference changes sign on a line."""
    d = np.hypot(dx, dy)
    true = 2 * quad(lambda a: (2 + a * a) * _odd_part(a, d / 2), 0, 15, epsrel=1e-12, epsabs=0)[0]
    return fp.Gaussian([dx / 2, dy / 2], std=1.0), fp.Gaussian([-dx / 2, -dy / 2], std=1.0), true


@pytest.mark.parametrize(
    "case",
    [_circle_case(), _line_case(0.7, 0.31), _line_case(2.0, 1.5), _line_case(0.5, 0.0), _line_case(1e-4, 2e-4)],
    ids=["circle", "line", "far", "axis", "tiny"],
)
def test_plane_is_accurate_and_covered(case: tuple[fp.Law, fp.Law, float]) -> None:
    p, q, true = case
    errors = []
    for n, tolerance in ((65, 5e-6), (128, 2e-8)):
        value, error = numbers(distances.weighted_tv(squares(p, n), squares(q, n)))
        errors.append(abs(value - true))
        assert errors[-1] <= tolerance * true
        assert errors[-1] <= error
    assert errors[0] > 8 * errors[1]


def test_plane_order_six() -> None:
    p, q, true = _circle_case()
    errors = [abs(float(distances.weighted_tv(squares(p, n), squares(q, n)).distance) - true) for n in (64, 128, 192)]
    slope = -np.polyfit(np.log([64, 128, 192]), np.log(errors), 1)[0]
    assert 5.8 <= slope <= 7.2  # not below; coarse cells still gain faster


def test_plane_covers_random_mixtures_and_jumps(rng: np.random.Generator) -> None:
    def mixture() -> fp.Law:
        return fp.GaussianMixture([0.4, 0.6], rng.uniform(-2, 2, (2, 2)), stds=rng.uniform(0.5, 0.9, 2))

    for _ in range(5):
        pair = mixture(), mixture()
        fine = numbers(distances.weighted_tv(*(squares(law, 160, 6.0) for law in pair)))
        coarse = numbers(distances.weighted_tv(*(squares(law, 64, 6.0) for law in pair)))
        assert abs(fine[0] - coarse[0]) <= coarse[1] <= 1e4 * abs(fine[0] - coarse[0])
    box, other = fp.Uniform([-1.0, -0.7], [1.1, 0.9]), fp.Gaussian([0.0, 0.0], std=0.8)
    value, error = numbers(distances.total_variation(squares(box, 60), squares(other, 60)))
    level = 1 / (2.1 * 1.6)
    # TV = int (u - p)^+ over the box
    x = np.linspace(-1.0, 1.1, 2001)[:, None], np.linspace(-0.7, 0.9, 2001)
    excess = np.maximum(level - np.exp(-0.5 * (x[0] ** 2 + x[1] ** 2) / 0.64) / (2 * np.pi * 0.64), 0.0)
    true = np.trapezoid(np.trapezoid(excess, x[1]), x[0][:, 0])
    assert abs(value - true) <= error


def test_plane_does_not_depend_on_the_order_of_axes() -> None:
    p, q = squares(fp.Gaussian([0.2, 0.5], std=0.8), 40), squares(fp.Gaussian([0.0, 0.0], std=1.0), 40)
    straight = distances.weighted_tv(p, q)
    turned = distances.weighted_tv(p.transpose("y", "x"), q)
    assert float(straight.distance) == float(turned.distance)
    swapped = distances.weighted_tv(p.rename(x="y", y="x"), q.rename(x="y", y="x"))
    assert float(swapped.distance) == pytest.approx(float(straight.distance), rel=1e-7)


# -- labels, frames --------------------------------------------------------------------------------------


def test_leading_dimensions_match_by_name() -> None:
    base = cells(fp.Gaussian(0.0, std=1.0), 60)
    p = xr.concat([cells(fp.Gaussian(m, std=1.0), 60) for m in (0.1, 0.2, 0.3)], xr.IndexVariable("t", [3.0, 2.0, 1.0]))
    p = p.assign_coords(reverse_time=("t", [0.0, 1.0, 2.0]))
    q = xr.concat([base, 0.5 * base + 0.5 * p.isel(t=0, drop=True)], xr.IndexVariable("start", ["a", "b"]))
    result = distances.weighted_tv(p, q)
    assert dict(result.sizes) == {"t": 3, "start": 2}
    assert "reverse_time" in result.coords
    for t in p.t.values:
        for start in ("a", "b"):
            single = distances.weighted_tv(p.sel(t=t), q.sel(start=start))
            assert float(result.distance.sel(t=t, start=start)) == pytest.approx(float(single.distance), rel=1e-13)
            assert float(result.error.sel(t=t, start=start)) == pytest.approx(float(single.error), rel=1e-9)


def test_scaled_frames_weigh_positions() -> None:
    """Cells that widen with t: V at x(t, z), densities per unit of x."""
    z = fp.Grid.uniform((-8, 8), cells=200)
    scales, shifts = np.array([1.0, 30.0]), np.array([0.0, 5.0])

    def field(offset: float) -> xr.DataArray:
        rows = []
        for s, m in zip(scales, shifts, strict=True):
            grid = fp.Grid.uniform((m - 8 * s, m + 8 * s), cells=200)
            rows.append(grid.cell_average(fp.Gaussian(m + offset * s, std=s)))
        x = shifts[:, None] + scales[:, None] * z.x
        return xr.DataArray(rows, dims=("t", "z"), coords={"t": [0.0, 1.0], "z": z.x, "x": (("t", "z"), x)})

    result = distances.weighted_tv(field(0.3), field(-0.3))
    for k, (s, m) in enumerate(zip(scales, shifts, strict=True)):
        true = quad(
            lambda a, s=s, m=m: (1 + (m + s * a) ** 2) * abs(_odd_part(a, 0.3)), -14, 14, points=[0.0], epsrel=1e-12
        )[0]
        assert abs(float(result.distance[k]) - true) <= float(result.error[k])
        assert float(result.distance[k]) == pytest.approx(true, rel=1e-9)
    with pytest.raises(ValueError, match="positions"):
        distances.weighted_tv(field(0.3).isel(t=0), field(-0.3).isel(t=1))


def test_scaled_frames_in_the_plane() -> None:
    p, q, true = _line_case(0.7, 0.31)
    a, b = (squares(law, 64).rename(x="z_x", y="z_y") for law in (p, q))
    # the same positions, reached through z = x / 2 + 1
    frame = {
        "x": ("z_x", a.z_x.values),
        "y": ("z_y", a.z_y.values),
        "z_x": a.z_x.values / 2 + 1,
        "z_y": a.z_y.values / 2 + 1,
    }
    value, error = numbers(distances.weighted_tv(a.assign_coords(frame), b.assign_coords(frame)))
    assert abs(value - true) <= error <= 1e-3


# -- divergences -----------------------------------------------------------------------------------------


def _kl(m: float, s: float, n: float, r: float) -> float:
    return np.log(r / s) + (s * s + (m - n) ** 2) / (2 * r * r) - 0.5


def _chi2(m: float, s: float, n: float, r: float) -> float:
    a = 2 / s**2 - 1 / r**2
    b = 2 * m / s**2 - n / r**2
    return r / s**2 / np.sqrt(a) * np.exp(-((m / s) ** 2) + 0.5 * (n / r) ** 2 + 0.5 * b * b / a) - 1


def _hellinger(m: float, s: float, n: float, r: float) -> float:
    return np.sqrt(1 - np.sqrt(2 * s * r / (s * s + r * r)) * np.exp(-((m - n) ** 2) / (4 * (s * s + r * r))))


PAIRS = [(0.0, 1.0, 0.5, 1.2), (1.0, 0.5, 0.0, 1.0), (-1.0, 0.5, 1.0, 1.0), (0.0, 1.0, 0.0, 0.8)]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(("name", "formula"), [("kl", _kl), ("chi2", _chi2), ("hellinger", _hellinger)])
@pytest.mark.parametrize("n", [128, 400])
def test_divergences_of_gaussians(
    name: str, formula: Callable[..., float], pair: tuple[float, float, float, float], n: int
) -> None:
    p, q = (cells(fp.Gaussian(m, std=s), n, (-10.0, 10.0)) for m, s in (pair[:2], pair[2:]))
    value, error = numbers(getattr(distances, name)(p, q))
    true = formula(*pair)
    assert abs(value - true) <= error
    # in the last pair q's tail is thinner and rounds to nothing where p still has mass 1e-10
    assert value == pytest.approx(true, rel=3e-4 if pair[3] < pair[1] else 1e-6)


def test_directions_differ() -> None:
    p, q = cells(fp.Gaussian(0.0, std=0.5), 200), cells(fp.Gaussian(0.3, std=0.7), 200)
    for name, formula in (("kl", _kl), ("chi2", _chi2)):
        there, back = (float(getattr(distances, name)(*pair).distance) for pair in ((p, q), (q, p)))
        assert there == pytest.approx(formula(0.0, 0.5, 0.3, 0.7), rel=1e-4)
        assert abs(there - back) > 0.05


@pytest.mark.parametrize("shift", [1e-3, 1e-6])
def test_small_divergences_keep_their_digits(shift: float) -> None:
    p, q = (cells(fp.Gaussian(m, std=1.0), 400, (-9.0, 9.0)) for m in (shift, -shift))
    assert float(distances.kl(p, q).distance) == pytest.approx(2 * shift**2, rel=1e-7)
    assert float(distances.chi2(p, q).distance) == pytest.approx(np.expm1(4 * shift**2), rel=1e-7)
    assert float(distances.hellinger(p, q).distance) == pytest.approx(np.sqrt(-np.expm1(-0.5 * shift**2)), rel=1e-7)


def test_divergences_in_the_plane() -> None:
    p, q = fp.Gaussian([0.3, -0.2], std=1.0), fp.Gaussian([0.0, 0.1], std=1.2)
    a, b = squares(p, 64), squares(q, 64)
    per_axis = [_kl(0.3, 1.0, 0.0, 1.2), _kl(-0.2, 1.0, 0.1, 1.2)]
    value, error = numbers(distances.kl(a, b))
    assert abs(value - sum(per_axis)) <= min(error, 1e-6)
    affinity = np.prod([1 - _hellinger(m, 1.0, n, 1.2) ** 2 for m, n in ((0.3, 0.0), (-0.2, 0.1))])
    value, error = numbers(distances.hellinger(a, b))
    assert abs(value - np.sqrt(1 - affinity)) <= min(error, 1e-6)


def test_zeros_are_refused_or_counted() -> None:
    normal, box = cells(fp.Gaussian(0.0, std=1.0), 240), cells(fp.Uniform(-1.0, 1.0), 240)
    for function in (distances.kl, distances.chi2):
        with pytest.raises(ValueError, match=r"q > 0 wherever p > 0.*mass 0\.317"):
            function(normal, box)
    value, error = numbers(distances.kl(box, normal))
    true = 0.5 * np.log(2 * np.pi) + 1 / 6 - np.log(2)
    assert abs(value - true) <= error
    value, error = numbers(distances.hellinger(normal, box))
    true = np.sqrt(1 - np.sqrt(0.5 / np.sqrt(2 * np.pi)) * np.sqrt(4 * np.pi) * (2 * ndtr(1 / np.sqrt(2)) - 1))
    assert abs(value - true) <= error


def test_what_is_rounding_is_left_out_and_counted() -> None:
    p, q = (cells(fp.Gaussian(m, std=s), 400, (-10.0, 10.0)) for m, s in ((0.0, 1.0), (0.0, 0.8)))
    result = distances.kl(p, q)
    cut = q.x[q > 1e-14 * q.max()]
    expected = 2 * ndtr(float(cut.min()) - 0.025)
    assert float(result.left_out) == pytest.approx(expected, rel=0.01)
    assert float(result.error) >= float(result.left_out)
    # round-off below zero far out changes nothing
    noisy = q.where(q > 1e-17, -1e-18)
    assert float(distances.kl(p.where(q > 1e-17, 1e-19), noisy).distance) == pytest.approx(
        float(result.distance), rel=1e-6
    )


# -- Wasserstein -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pair", [(0.0, 1.0, 0.5, 1.2), (0.0, 1.0, 0.0, 0.8), (1.0, 0.5, 0.0, 1.0), (-1.0, 0.4, 1.0, 1.0)]
)
@pytest.mark.parametrize("n", [100, 400])
def test_wasserstein_of_gaussians(pair: tuple[float, float, float, float], n: int) -> None:
    p, q = (cells(fp.Gaussian(m, std=s), n, (-10.0, 10.0)) for m, s in (pair[:2], pair[2:]))
    dm, ds = pair[0] - pair[2], abs(pair[1] - pair[3])
    first = ds * np.sqrt(2 / np.pi) * np.exp(-0.5 * (dm / ds) ** 2) + dm * (1 - 2 * ndtr(-dm / ds))
    for order, true in ((1, first), (2, np.hypot(dm, ds))):
        value, error = numbers(distances.wasserstein(p, q, order))
        assert abs(value - true) <= error
        assert value == pytest.approx(true, rel=1e-5 if n == 100 else 1e-9)


def test_wasserstein_of_a_small_shift_and_of_jumps() -> None:
    p, q = (cells(fp.Gaussian(m, std=1.0), 400, (-9.0, 9.0)) for m in (1e-8, -1e-8))
    assert float(distances.wasserstein(p, q).distance) == pytest.approx(2e-8, rel=1e-6)
    value, error = numbers(distances.wasserstein(p, q, 2))
    assert abs(value - 2e-8) <= error
    boxes = [cells(fp.Uniform(a, a + 2.0), 150) for a in (-2.03, 0.51)]
    for order in (1, 2):
        value, error = numbers(distances.wasserstein(*boxes, order))
        assert abs(value - 2.54) <= error <= 0.5


# -- sets ------------------------------------------------------------------------------------------------------


def _between(low: float, high: float) -> float:
    """Integral of |N(-1, 1) - N(1, 1)| over an interval on one side of 0."""
    return abs(ndtr(high + 1) - ndtr(low + 1) - ndtr(high - 1) + ndtr(low - 1))


@pytest.mark.parametrize(
    ("region", "true"),
    [
        ((0.3, 1.7), _between(0.3, 1.7)),
        ((-1.0, 1.0), 2 * _between(0.0, 1.0)),
        ([(-np.inf, 0.0), (0.51, 2.0)], _between(-30.0, 0.0) + _between(0.51, 2.0)),
        (lambda x: (x > 0.3) & (x < 1.7), _between(0.3, 1.7)),
        (lambda x: np.ones(x.shape, dtype=bool), 2 * _between(0.0, 30.0)),
        (lambda x: np.zeros(x.shape, dtype=bool), 0.0),
    ],
    ids=["interval", "across", "union", "function", "everything", "nothing"],
)
def test_l1_on_sets(region: Any, true: float) -> None:
    p, q = (cells(fp.Gaussian(m, std=1.0), 300, (-9.0, 9.0)) for m in (-1.0, 1.0))
    value, error = numbers(distances.l1_on(p, q, region))
    assert abs(value - true) <= min(error + 1e-15, 1e-9)


def test_l1_on_sets_in_the_plane() -> None:
    p, q = squares(fp.Gaussian([-0.5, 0.0], std=1.0), 80), squares(fp.Gaussian([0.5, 0.0], std=1.0), 80)

    def strip(low: float, high: float) -> float:
        return float(abs(ndtr(high + 0.5) - ndtr(low + 0.5) - ndtr(high - 0.5) + ndtr(low - 0.5)))

    for region, true, tolerance in (
        (lambda z: z[..., 0] > 0, strip(0.0, 30.0), 1e-5),
        (((0.2, 1.4), (-np.inf, np.inf)), strip(0.2, 1.4), 1e-5),  # along faces
        (((0.13, 1.55), (-1.0, 1.03)), strip(0.13, 1.55) * (ndtr(1.03) - ndtr(-1.0)), 1e-4),
        (lambda z: (z[..., 0] > 0.13) & (z[..., 0] < 1.55), strip(0.13, 1.55), 3e-2),
    ):
        value, error = numbers(distances.l1_on(p, q, region))
        assert abs(value - true) <= error <= tolerance, region


# -- axioms and inequalities -------------------------------------------------------------------------------------

mixtures = st.builds(
    lambda w, m, s: cells(fp.GaussianMixture([w, 1 - w], list(m), stds=list(s)), 160),
    st.floats(0.05, 0.95),
    st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)),
    st.tuples(st.floats(0.35, 0.8), st.floats(0.35, 0.8)),
)


@settings(max_examples=25)
@given(p=mixtures, q=mixtures, r=mixtures)
def test_metrics(p: xr.DataArray, q: xr.DataArray, r: xr.DataArray) -> None:
    for metric in (distances.weighted_tv, distances.total_variation, distances.hellinger, distances.wasserstein):
        pq, qr, pr = metric(p, q), metric(q, r), metric(p, r)
        slack = sum(float(part.error) for part in (pq, qr, pr)) + 1e-15
        assert float(pq.distance) >= 0.0
        assert float(metric(q, p).distance) == pytest.approx(float(pq.distance), rel=1e-9, abs=1e-14)
        assert float(pr.distance) <= float(pq.distance) + float(qr.distance) + slack


@given(p=mixtures, q=mixtures)
def test_inequalities_between_distances(p: xr.DataArray, q: xr.DataArray) -> None:
    tv, hellinger = distances.total_variation(p, q), distances.hellinger(p, q)
    kl, chi2 = distances.kl(p, q), distances.chi2(p, q)
    w1, w2 = distances.wasserstein(p, q), distances.wasserstein(p, q, 2)
    lower = {name: float((d.distance - d.error).item()) for name, d in locals().items() if isinstance(d, xr.Dataset)}
    upper = {name: float((d.distance + d.error).item()) for name, d in locals().items() if isinstance(d, xr.Dataset)}
    assert lower["tv"] <= 1.0 and lower["hellinger"] <= 1.0
    assert lower["tv"] <= np.sqrt(upper["kl"] / 2)  # Pinsker
    assert max(lower["hellinger"], 0.0) ** 2 <= upper["tv"]
    assert lower["tv"] <= np.sqrt(2) * upper["hellinger"]
    assert lower["kl"] <= np.log1p(upper["chi2"])
    assert lower["w1"] <= upper["w2"]


def test_disjoint_densities_are_at_distance_one() -> None:
    p, q = cells(fp.Uniform(-3.0, -1.0), 120), cells(fp.Uniform(1.0, 3.0), 120)
    for metric in (distances.total_variation, distances.hellinger):
        value, error = numbers(metric(p, q, unbounded=False))
        assert abs(value - 1.0) <= error


# -- refusals ------------------------------------------------------------------------------------------------------

P = cells(fp.Gaussian(0.0, std=1.0), 40)
FLAT = squares(fp.Gaussian([0.0, 0.0], std=1.0), 20)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: distances.weighted_tv(P.values, P), r"p: expected an xarray.DataArray.*got a ndarray; wrap it"),
        (lambda: distances.weighted_tv(P, P.values), r"q: expected an xarray.DataArray"),
        (lambda: distances.weighted_tv(P, FLAT), r"q: expected the space dimensions \('x',\) of p"),
        (lambda: distances.weighted_tv(P.rename(x="position"), P), r"p: expected space dimensions"),
        (lambda: distances.weighted_tv(P.drop_vars("x"), P), r"positions in the coordinate 'x'"),
        (lambda: distances.weighted_tv(P, cells(fp.Gaussian(0.0, std=1.0), 50)), r"same coordinates"),
        (lambda: distances.weighted_tv(P, P.assign_coords(x=P.x + 0.01)), r"same coordinates"),
        (lambda: distances.weighted_tv(P, P * np.nan), r"q: expected finite numbers"),
        (lambda: distances.weighted_norm(P.assign_coords(x=P.x**3)), r"w: expected uniform increasing positions"),
        (lambda: distances.weighted_norm(P[:5]), r"at least 8 cells"),
        (lambda: distances.weighted_tv(P, P, lambda x: 0.5 + 0 * x), r"weight: expected V >= 1"),
        (lambda: distances.sliced_wasserstein(P, P), r"densities in 2D, got 1D"),
        (lambda: distances.wasserstein(P, P, 3), r"order: expected one of 1, 2, got 3"),
        (lambda: distances.wasserstein(P, 1.1 * P), r"equal masses"),
        (lambda: distances.l1_on(P, P, (1.0, 0.0)), r"region: expected .*lo < hi"),
        (lambda: distances.l1_on(P, P, "left"), r"region"),
        (lambda: distances.l1_on(FLAT, FLAT, (0.0, 1.0)), r"\(\(lo, hi\), \(lo, hi\)\) in 2D"),
        (lambda: distances.l1_on(P, P, lambda x: x), r"region: expected booleans"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_one_density_of_a_run_against_all_of_them(rng: np.random.Generator) -> None:
    """``run.density`` against ``run.density.sel(start=...)``, with the scalar coordinate that sel leaves."""
    values = rng.random((2, 3, 16))
    runs = xr.DataArray(
        values, dims=("start", "t", "x"), coords={"start": ["a", "b"], "t": [2.0, 1.0, 0.5], "x": np.arange(16) + 0.5}
    )
    found = distances.weighted_tv(runs, runs.sel(start="a"), unbounded=False)
    assert found.distance.dims == ("start", "t")
    assert np.all(found.distance.sel(start="a") == 0.0)
    assert np.all(found.distance.sel(start="b") > 0.0)


def test_equal_densities_in_the_plane_are_at_distance_zero():
    """No square in which the difference changes its sign: nothing to split, nothing to fail on."""
    grid = fp.Grid.uniform([(-5, 5), (-5, 5)], cells=32)
    p = xr.DataArray(
        grid.cell_average(fp.Gaussian([0.0, 0.5], std=0.8)),
        dims=("x", "y"),
        coords={"x": grid.axes[0], "y": grid.axes[1]},
    )
    found = fp.weighted_tv(p, p)
    assert float(found.distance) == 0.0 and 0.0 <= float(found.error) <= 1e-13
    scaled = fp.weighted_tv(2.0 * p, p, fp.UnitWeight())
    assert float(scaled.distance) == pytest.approx(1.0, abs=1e-6)


def test_chi2_knows_that_nothing_bounds_it_where_q_is_rounding() -> None:
    """p = N(0, 1), q = N(0, 0.6^2): the integral diverges (1/0.6^2 > 2/1), whatever part of it a box holds."""
    laws = [fp.Gaussian(0.0, std=s) for s in (1.0, 0.6)]
    wide, narrow = (cells(law, bounds=(-9.0, 9.0)) for law in laws)
    assert float(distances.chi2(wide, narrow).error) == np.inf
    cut = distances.chi2(*(cells(law, bounds=(-3.0, 3.0)) for law in laws))
    assert float(cut.error) == np.inf
    # and the other way round it is finite: 1/(s sqrt(2 - s^2)) - 1
    there = distances.chi2(narrow, wide)
    assert float(there.distance) == pytest.approx(1 / (0.6 * np.sqrt(2 - 0.36)) - 1, abs=float(there.error))
    assert float(there.error) < 1e-9


def test_a_squared_distance_that_rounds_to_below_zero_is_zero_with_an_error() -> None:
    square = xr.Dataset({"distance": ("k", [-1e-15, 4.0]), "error": ("k", [2e-15, 0.0])})
    roots = _divergences.root(square)
    np.testing.assert_allclose(roots.distance, [0.0, 2.0])
    np.testing.assert_allclose(roots.error, [np.sqrt(2e-15), 0.0])


def test_what_two_rules_differ_by_covers_the_error_of_squares_with_a_sign_change(rng):
    """``int int |s|`` of random polynomials of degree 4 that vanish in a corner, against a midpoint rule on 1500^2."""
    powers = rng.normal(size=(20, 5, 5)) / (1.0 + np.add.outer(np.arange(5), np.arange(5))) ** 2
    powers[:, 0, 0] = 0.0
    inner = np.stack([((np.arange(1500) + 0.5) / 1500) ** k for k in range(5)])
    truth = np.array([np.abs(inner.T @ one @ inner).mean() for one in powers])
    to_bernstein = np.array(
        [[math.comb(i, j) / math.comb(4, j) if j <= i else 0.0 for j in range(5)] for i in range(5)]
    )
    squares = _splines.Squares.oriented(powers, to_bernstein @ powers @ to_bernstein.T)
    fine, coarse = (_splines.absolute_in_squares(squares, lambda _, u, v: np.ones_like(v), n) for n in _splines.OUTER)
    assert np.all(np.abs(fine - truth) <= np.abs(fine - coarse) + 1e-6)
    assert np.abs(fine - coarse).max() > 1e-5

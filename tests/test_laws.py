"""Laws against scipy.stats, quadrature and long arithmetic: densities, scores, cells, blurs, samples, bad input."""

from dataclasses import FrozenInstanceError
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.stats as st
from hypothesis import given
from hypothesis import strategies as some
from scipy.integrate import dblquad, quad

import fpsolve as fp
from fpsolve.laws import DiffusedUniform, Law, NormalMixture

ROTATED = [[[0.3, 0.1], [0.1, 0.2]], [[0.5, -0.3], [-0.3, 0.4]]]
DATA = np.random.default_rng(7).normal(size=(30, 2)) * [1.0, 3.0] + [0.0, 5.0]

ONE: dict[str, Law] = {
    "gaussian": fp.Gaussian(1.0, std=0.5),
    "mixture": fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5]),
    "kernel": fp.KernelDensity(DATA[:, 0]),
    "laplace": fp.Laplace(0.3, 0.7),
    "t": fp.StudentT(5.0, 0.3, 0.8),
    "diffused-laplace": fp.Laplace(0.3, 0.7).diffused(0.6, 0.09),
    "diffused-t": fp.StudentT(5.0, 0.3, 0.8).diffused(0.6, 0.09),
    "diffused-uniform": DiffusedUniform(-1.0, 2.0, 0.3),
}
TWO: dict[str, Law] = {
    "gaussian": fp.Gaussian([1.0, -0.5], cov=[[0.5, 0.2], [0.2, 0.3]]),
    "isotropic": fp.Gaussian([1.0, -0.5], std=0.4),
    "mixture": fp.GaussianMixture([0.3, 0.7], [[-2.0, 0.0], [2.0, 1.0]], covs=ROTATED),
    "kernel": fp.KernelDensity(DATA, bandwidth=[0.3, 0.8]),
    "laplace": fp.Laplace([0.1, 0.0], [1.0, 0.5]),
    "t": fp.StudentT(6.0, [0.1, 0.4], 0.7),
    "diffused-laplace": fp.Laplace([0.1, 0.0], [1.0, 0.5]).diffused(0.8, 0.04),
    "diffused-t": fp.StudentT(6.0, [0.1, 0.4], 0.7).diffused(0.8, 0.04),
    "diffused-uniform": fp.Uniform([-1.0, 0.0], [2.0, 1.0]).diffused(0.8, 0.04),
}
EVERY = pytest.mark.parametrize(
    "law",
    [*ONE.values(), *TWO.values(), fp.Uniform(-1.0, 2.0), fp.Uniform([-1.0, 0.0], [2.0, 1.0])],
    ids=[*(f"{name}-1d" for name in ONE), *(f"{name}-2d" for name in TWO), "uniform-1d", "uniform-2d"],
)
SMOOTH = pytest.mark.parametrize(
    "law", [*ONE.values(), *TWO.values()], ids=[*(f"{n}-1d" for n in ONE), *(f"{n}-2d" for n in TWO)]
)
LINES = pytest.mark.parametrize("law", [*ONE.values(), fp.Uniform(-1.0, 2.0)], ids=[*ONE, "uniform"])


def integral(law: Law, low: float, high: float) -> float:
    """Adaptive quadrature of a 1D density, split at its kinks, jumps and peaks."""
    breaks = [p for p in (-2.0, -1.0, 0.18, 0.3, 1.0, 2.0) if low < p < high]
    return float(quad(law.density, low, high, epsabs=0.0, epsrel=1e-12, limit=400, points=breaks or None)[0])


# densities


@pytest.mark.parametrize(
    ("law", "reference"),
    [
        (fp.Gaussian(1.0, std=0.5), st.norm(1.0, 0.5)),
        (fp.Gaussian([0.0, 1.0], cov=[[1.0, 0.9], [0.9, 1.0]]), st.multivariate_normal([0, 1], [[1, 0.9], [0.9, 1]])),
        (fp.Laplace(0.3, 0.7), st.laplace(0.3, 0.7)),
        (fp.StudentT(2.5, 0.3, 0.8), st.t(2.5, 0.3, 0.8)),
        (fp.StudentT(2.5, [0.3, 0.1], 0.8), st.multivariate_t([0.3, 0.1], 0.64 * np.eye(2), df=2.5)),
        (fp.Uniform(-1.0, 2.0), st.uniform(-1.0, 3.0)),
    ],
    ids=["normal", "normal-2d", "laplace", "t", "t-2d", "uniform"],
)
def test_log_density_against_scipy(law: Law, reference: Any, rng: np.random.Generator) -> None:
    x = rng.normal(scale=3.0, size=(4, 50) + (2,) * (law.dim - 1))
    with np.errstate(all="ignore"):  # scipy takes log 0 outside of the uniform law's support
        expected = reference.logpdf(x)
    assert law.log_density(x).shape == (4, 50)
    np.testing.assert_allclose(law.log_density(x), expected, rtol=1e-13, atol=1e-13)


def test_mixture_is_the_weighted_sum(rng: np.random.Generator) -> None:
    law = TWO["mixture"]
    x = rng.normal(scale=2.0, size=(100, 2))
    parts = [st.multivariate_normal(m, c).pdf(x) for m, c in zip([[-2, 0], [2, 1]], ROTATED, strict=True)]
    np.testing.assert_allclose(law.density(x), 0.3 * parts[0] + 0.7 * parts[1], rtol=1e-12)


def test_kernel_density_is_scipys_with_scotts_rule() -> None:
    reference = st.gaussian_kde(DATA[:, 0])  # 1D: scipy's rule is Scott's per axis
    x = np.linspace(-4.0, 4.0, 50)
    np.testing.assert_allclose(fp.KernelDensity(DATA[:, 0]).density(x), reference(x), rtol=1e-12)
    two = fp.KernelDensity(DATA)
    np.testing.assert_allclose(two.bandwidth, 30 ** (-1 / 6) * DATA.std(axis=0, ddof=1), rtol=1e-14)


@pytest.mark.parametrize("x", [12.0, -14.0, 22.0, 1e3, 1e8])
def test_mixture_far_out_to_rounding(x: float) -> None:
    law = ONE["mixture"]
    with mp.workdps(40):
        terms = [mp.mpf("0.5") * mp.npdf(x, m, mp.mpf(s)) for m, s in ((-2, "0.3"), (2, "0.5"))]
        log_p = mp.log(sum(terms))
        score = (terms[0] * (-2 - mp.mpf(x)) / mp.mpf("0.09") + terms[1] * (2 - mp.mpf(x)) / mp.mpf("0.25")) / sum(
            terms
        )
    np.testing.assert_allclose(law.log_density(x), float(log_p), rtol=1e-14)
    np.testing.assert_allclose(law.score(x), float(score), rtol=1e-14)


def test_ratio_of_densities_fails_where_the_score_does_not() -> None:
    """The negative control of log-sum-exp: both densities underflow."""
    law = fp.Gaussian(0.0, std=1.0)
    assert law.density(40.0) == 0.0
    assert law.score(40.0) == -40.0


@SMOOTH
def test_score_is_the_gradient(law: Law, rng: np.random.Generator) -> None:
    x = rng.normal(scale=2.0, size=(40,) + (2,) * (law.dim - 1))
    x = x[
        np.abs(law.score(x)).reshape(40, -1).min(axis=1) > 0.01
    ]  # differences across the Laplace kink are no gradient
    h = 1e-4
    shifts = [h] if law.dim == 1 else h * np.eye(2)
    slope = [
        (
            8.0 * (law.log_density(x + e) - law.log_density(x - e))
            - law.log_density(x + 2 * e)
            + law.log_density(x - 2 * e)
        )
        / (12.0 * h)
        for e in np.asarray(shifts)
    ]
    expected = slope[0] if law.dim == 1 else np.stack(slope, axis=-1)
    np.testing.assert_allclose(law.score(x), expected, rtol=1e-6, atol=1e-8)


@LINES
def test_mass_mean_and_variance(law: Law) -> None:
    def moment(k: int) -> float:
        parts = [(-np.inf, -10.0), (-10.0, 10.0), (10.0, np.inf)]
        breaks = [-2.0, -1.0, 0.18, 0.3, 1.0, 2.0]
        return sum(
            quad(lambda x: (x - law.mean) ** k * law.density(x), *ends, points=breaks if ends[1] == 10.0 else None)[0]
            for ends in parts
        )

    assert moment(0) == pytest.approx(1.0, abs=1e-8)
    assert moment(1) == pytest.approx(0.0, abs=1e-7)
    assert moment(2) == pytest.approx(law.cov, rel=1e-7)


def composite_gauss() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [-20, 20] with panel ends at the kinks of the laws above."""
    nodes, weights = np.polynomial.legendre.leggauss(6)
    edges = np.concatenate([np.linspace(-20.0, 0.0, 26), [0.08, 0.1, 0.4], np.linspace(0.8, 20.0, 25)])
    half, middle = 0.5 * np.diff(edges)[:, None], 0.5 * (edges[1:] + edges[:-1])[:, None]
    return (middle + half * nodes).ravel(), (half * weights).ravel()


@pytest.mark.parametrize("law", TWO.values(), ids=TWO)
def test_moments_and_marginals_in_two_dimensions(law: Law) -> None:
    x, w = composite_gauss()
    p = np.exp(law.log_density_on_axes(x, x))
    assert w @ p @ w == pytest.approx(1.0, abs=1e-5)
    offsets = [x - m for m in law.mean]
    across = (w * offsets[0]) @ p @ (w * offsets[1])
    assert across == pytest.approx(law.cov[0, 1], abs=1e-5)
    for axis, line in enumerate((p @ w, w @ p)):
        marginal = law.axis_marginal(axis)
        assert marginal is not None and marginal.dim == 1
        assert w @ (line * offsets[axis]) == pytest.approx(0.0, abs=1e-5)
        assert w @ (line * offsets[axis] ** 2) == pytest.approx(law.cov[axis, axis], rel=1e-3)  # tails of t end slowly
        assert (marginal.mean, marginal.cov) == pytest.approx((law.mean[axis], law.cov[axis, axis]), abs=1e-12)
        bulk = np.abs(x) < 4.0
        np.testing.assert_allclose(line[bulk], marginal.density(x[bulk]), rtol=1e-4, atol=1e-6)


@EVERY
def test_shapes_and_axes(law: Law) -> None:
    inside = np.asarray(law.mean)
    assert law.log_density(inside).shape == ()
    assert law.score(np.broadcast_to(inside, (3, 4, *inside.shape))).shape == (3, 4, *inside.shape)
    axes = [np.linspace(m - 0.4, m + 0.3, n) for m, n in zip(np.atleast_1d(law.mean), (5, 7), strict=False)]
    on_axes = law.log_density_on_axes(*axes)
    if law.dim == 1:
        np.testing.assert_array_equal(on_axes, law.log_density(axes[0]))
    else:
        assert on_axes.shape == (5, 7)
        assert on_axes[3, 6] == law.log_density(np.array([axes[0][3], axes[1][6]]))


@EVERY
def test_nan_points_stay_nan(law: Law) -> None:
    if isinstance(law, fp.Uniform):
        assert law.log_density(np.full(np.shape(law.mean), np.nan)) == -np.inf
    else:
        assert np.isnan(law.log_density(np.full(np.shape(law.mean), np.nan)))


# cells


@LINES
def test_cell_probabilities_are_integrals_in_both_tails(law: Law) -> None:
    faces = np.concatenate([[-np.inf], np.linspace(-9.0, 9.0, 61), [np.inf]])
    mass = law.cell_probabilities(faces)
    if isinstance(law, DiffusedUniform):
        assert mass is None
        return
    assert mass.sum() == pytest.approx(1.0, abs=1e-14)
    for i in (1, 8, 20, 27, 31, 34, 45, 52, 60):
        expected = integral(law, faces[i], faces[i + 1])
        assert mass[i] == pytest.approx(expected, rel=2e-11, abs=1e-300)


def test_plain_cdf_differences_lose_the_upper_tail() -> None:
    """The negative control: without the complementary tail nothing is left nine standard deviations out."""
    faces = np.array([9.0, 9.1])
    assert np.diff(st.norm.cdf(faces))[0] == 0.0
    exact = float(mp.quad(mp.npdf, faces.tolist()))
    assert fp.Gaussian(0.0, std=1.0).cell_probabilities(faces)[0] == pytest.approx(exact, rel=1e-13)


def test_cell_probabilities_in_two_dimensions() -> None:
    x, y = np.linspace(-3.0, 3.0, 13), np.linspace(-2.0, 4.0, 7)
    for name in ("isotropic", "kernel", "laplace", "diffused-laplace", "diffused-t"):
        mass = TWO[name].cell_probabilities(x, y)
        assert mass.shape == (12, 6)
        i, j = 7, 2
        expected = dblquad(
            lambda v, u, law=TWO[name]: law.density(np.array([u, v])), x[i], x[i + 1], y[j], y[j + 1], epsabs=1e-11
        )[0]
        assert mass[i, j] == pytest.approx(expected, rel=1e-8), name
    uniform = fp.Uniform([-1.0, 0.0], [2.0, 1.0]).cell_probabilities(x, y)
    assert uniform.sum() == pytest.approx(1.0)
    assert uniform[4, 2] == pytest.approx(0.5 * 1.0 / 3.0)
    for name in ("gaussian", "mixture", "t", "diffused-uniform"):
        assert TWO[name].cell_probabilities(x, y) is None


@given(some.floats(-50.0, 50.0), some.floats(1e-3, 30.0), some.integers(1, 40))
def test_cells_partition_and_refine(start: float, width: float, n: int) -> None:
    faces = np.linspace(start, start + width, 2 * n + 1)
    for name in ("mixture", "laplace", "t", "diffused-laplace", "diffused-t"):
        fine, coarse = ONE[name].cell_probabilities(faces), ONE[name].cell_probabilities(faces[::2])
        assert np.all(fine >= 0.0)
        np.testing.assert_allclose(fine[::2] + fine[1::2], coarse, rtol=1e-10, atol=1e-16)


# what a grid has to resolve


def test_smallest_std() -> None:
    assert ONE["mixture"].smallest_std == pytest.approx(0.3)
    assert fp.Gaussian([0.0, 0.0], cov=[[1.0, 0.9], [0.9, 1.0]]).smallest_std == pytest.approx(np.sqrt(0.1))
    assert TWO["kernel"].smallest_std == pytest.approx(0.3)
    assert fp.Laplace().smallest_std == fp.Uniform(0.0, 1.0).smallest_std == fp.PointMass(1.0).smallest_std == 0.0
    assert fp.Laplace().diffused(1.0, 0.25).smallest_std == 0.5
    for law in (fp.StudentT(5.0, scale=0.8), fp.StudentT(5.0, [0.0, 0.0], 0.8)):
        h = 1e-3 if law.dim == 1 else np.array([1e-3, 0.0])
        curvature = (2.0 * law.log_density(0.0 * h) - law.log_density(h) - law.log_density(-h)) / 1e-6
        assert law.smallest_std == pytest.approx(curvature**-0.5, rel=1e-5)


# samples


@EVERY
def test_samples_follow_the_law(law: Law) -> None:
    n = 20_000
    draws = law.sample(n, 3)
    assert draws.shape == ((n,) if law.dim == 1 else (n, 2))
    np.testing.assert_array_equal(draws, law.sample(n, np.random.default_rng(3)))
    faces = np.linspace(-40.0, 40.0, 40_001)
    for axis in range(law.dim):
        marginal = law.axis_marginal(axis)
        p = marginal.cell_probabilities(faces)
        if p is None:
            p = marginal.density(0.5 * (faces[1:] + faces[:-1])) * np.diff(faces)
        cdf = np.concatenate([[0.0], np.cumsum(p)])
        empirical = np.searchsorted(np.sort(draws.reshape(n, -1)[:, axis]), faces, side="right") / n
        # Dvoretzky-Kiefer-Wolfowitz: false alarm 1e-4 per axis
        assert np.abs(empirical - cdf).max() < np.sqrt(np.log(2.0 / 1e-4) / (2.0 * n)) + 1e-3
    if law.dim == 2:
        scores = (draws - law.mean).prod(axis=1)
        assert abs(scores.mean() - law.cov[0, 1]) < 5.0 * scores.std() / np.sqrt(n)


def test_randomness_is_explicit() -> None:
    for bad in (None, -1, 0.5, "seed"):
        with pytest.raises(ValueError, match=r"rng: expected a numpy[.]random[.]Generator or an integer seed"):
            fp.Gaussian(0.0, std=1.0).sample(3, bad)
    assert fp.Laplace().sample(0, 1).shape == (0,)


# frozen records


@EVERY
def test_laws_are_frozen(law: Law) -> None:
    with pytest.raises(FrozenInstanceError):
        law.dimension = 3
    if isinstance(law, NormalMixture):
        with pytest.raises(ValueError, match="read-only"):
            law.component_means[0] = 1.0


def test_a_law_does_not_follow_its_arguments() -> None:
    means = np.array([-2.0, 2.0])
    law = fp.GaussianMixture([0.5, 0.5], means, stds=1.0)
    means[:] = 0.0
    assert law.cov == 5.0


def test_repr_makes_the_law_again() -> None:
    for law in (ONE["gaussian"], ONE["mixture"], TWO["gaussian"], TWO["mixture"], ONE["t"]):
        again = eval(repr(law), vars(fp.laws))
        x = np.ones((3,) + (2,) * (law.dim - 1))
        np.testing.assert_allclose(again.log_density(x), law.log_density(x), rtol=1e-14)
    assert repr(TWO["kernel"]) == "KernelDensity(30 samples, bandwidth=[0.3, 0.8])"


def test_components_of_weight_zero_are_left_out() -> None:
    law = fp.GaussianMixture([0.0, 1.0], [5.0, 1.0], stds=[1.0, 2.0])
    assert law.log_weights.shape == (1,) and law.component_means.shape == (1, 1)
    np.testing.assert_allclose(law.log_density(3.0), fp.Gaussian(1.0, std=2.0).log_density(3.0))


def test_mixture_arrays_for_compiled_code() -> None:
    law = TWO["mixture"]
    assert law.component_means.shape == (2, 2) and law.component_covs.shape == (2, 2, 2) and not law.diagonal
    assert ONE["kernel"].component_covs.shape == (30, 1, 1) and ONE["kernel"].diagonal and TWO["kernel"].diagonal
    assert isinstance(TWO["kernel"].components, fp.GaussianMixture)
    assert fp.Laplace().components is None


def test_point_mass() -> None:
    at = fp.PointMass([1.0, 2.0])
    np.testing.assert_array_equal(at.sample(2, 0), [[1.0, 2.0], [1.0, 2.0]])
    np.testing.assert_array_equal(fp.PointMass(3.0).sample(2, 0), [3.0, 3.0])
    assert at.dim == 2 and at.axis_marginal(1).mean == 2.0 and not np.any(at.cov)
    for question in (at.log_density, at.score, at.cell_probabilities):
        with pytest.raises(ValueError, match="PointMass: expected a law with a density"):
            question(0.0)

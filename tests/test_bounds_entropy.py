"""Poincare, Girsanov, weighted Pinsker inequalities and the explicit KL bound, each beside the truth."""

from itertools import pairwise

import cases
import numpy as np
import pytest
from scipy import integrate
from scipy.linalg import eigh_tridiagonal

import fpsolve as fp
from fpsolve import bounds, closed_form, kernels, weights


def kl(p, q, grid):
    """KL of two densities on the grid, 0 log 0 = 0."""
    inside = p > 0.0
    return float(np.sum(p[inside] * np.log(p[inside] / np.maximum(q[inside], 1e-300))) * grid.volume)


# Poincare


def test_the_constant_of_a_gaussian_is_its_variance():
    assert bounds.spectral_gap_constant(fp.Gaussian(0.3, std=0.7)) == pytest.approx(0.49, rel=1e-4)


@pytest.mark.parametrize("law", [cases.two_mode_vp().target, cases.ou_mixture().target], ids=repr)
def test_the_spectral_gap_against_lapack(law):
    faces = np.linspace(-6, 6, 3001)
    p, between, h = law.density(0.5 * (faces[1:] + faces[:-1])), law.density(faces[1:-1]), faces[1] - faces[0]
    diagonal = (np.append(between, 0.0) + np.append(0.0, between)) / p / h**2
    side = -between / np.sqrt(p[:-1] * p[1:]) / h**2
    gap = eigh_tridiagonal(diagonal, side, select="i", select_range=(0, 1))[0][1]
    print(law, "C =", bounds.spectral_gap_constant(law), "LAPACK", 1 / gap)
    assert bounds.spectral_gap_constant(law) == pytest.approx(1 / gap, rel=1e-3)


def test_deep_valleys_keep_their_digits():
    """Two narrow modes: by Kramers' formula C ~ w1 w2 int 1/p over the valley; the gap is far below 1/h^2."""
    law = fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[0.12, 0.12])
    x = np.linspace(-0.9, 0.9, 20_001)
    kramers = 0.25 * np.trapezoid(1 / law.density(x), x)
    found = bounds.spectral_gap_constant(law)
    print("C =", found, "Kramers", kramers)
    assert found == pytest.approx(kramers, rel=0.02)
    assert found > 1e12


@pytest.mark.parametrize("case", [cases.two_mode_vp, cases.ou_mixture])
def test_measured_distance_is_below_the_bound(case):
    reverse = case()
    T, grid = reverse.process.T, fp.Grid.uniform((-10, 10), cells=500)
    v = weights.evaluate(None, grid)
    for start in (reverse.process.prior(), fp.Gaussian(0.3, std=0.9)):
        for t in (0.5 * T, 0.1 * T, 0.01 * T):
            found = bounds.poincare(reverse, T, t, grid=grid, start=start)
            q = closed_form.cell_averages(reverse, start, t, grid)
            measured = float(v @ np.abs(q - grid.cell_average(reverse.marginal(t))) * grid.volume)
            print(f"t = {t:g}: measured {measured:.4g}, bound {found.value:.4g}")
            assert measured <= found.value


def test_it_is_sharp_for_gaussian_data_in_chi_square():
    """A shifted start: the first Hermite mode of p_T decays exactly at the rate of the bound."""
    reverse, grid = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP()), fp.Grid.uniform((-7, 7), cells=400)
    p = reverse.marginal(1.0)
    found = bounds.poincare(reverse, 1.0, 0.2, grid=grid, start=fp.Gaussian(p.mean + 1e-4, cov=p.cov))
    q = closed_form.cell_averages(reverse, fp.Gaussian(p.mean + 1e-4, cov=p.cov), 0.2, grid)
    last = grid.cell_average(reverse.marginal(0.2))
    measured = np.sqrt(np.sum((q - last)[40:-40] ** 2 / last[40:-40]) * grid.volume)
    print("chi-square:", measured, found.contraction * found.chi)
    assert measured == pytest.approx(found.contraction * found.chi, rel=1e-3)


@pytest.mark.parametrize(
    ("target", "start", "why"),
    [
        (fp.StudentT(5.0), None, "Poincare constant"),
        # an infinite chi-square between components: no constant of the mixture is known
        (fp.GaussianMixture([0.5, 0.5], [[-1, 0], [1, 0]], stds=[0.4, 0.7]), None, "Poincare constant"),
        (fp.Gaussian(0.0, std=1.0), fp.Gaussian(0.0, std=1.6), "chi-square at t0 is finite"),
    ],
)
def test_no_certificate_is_a_value(target, start, why):
    grid = fp.Grid.uniform((-12, 12), cells=300) if target.dim == 1 else fp.Grid.uniform([(-6, 6), (-6, 6)], cells=40)
    found = bounds.poincare(fp.Reverse(target, fp.VP()), 1.0, 0.1, grid=grid, start=start)
    assert found.value is None
    assert why in found.reason


def test_the_closed_constants():
    for target, constant in ((fp.Laplace(0.0, 0.5), 1.0), (fp.Uniform(-1.0, 1.0), 4 / np.pi**2)):
        found = bounds.poincare(fp.Reverse(target, fp.VP()), 1.0, 0.1, grid=fp.Grid.uniform((-12, 12), cells=400))
        assert found.constant == pytest.approx(constant)
        assert found.value is not None and not found.unchecked


# Girsanov


@pytest.fixture(scope="module")
def pair():
    exact = cases.two_mode_vp()
    model = fp.Reverse(exact.target, exact.process, score=lambda t, x: exact.score(t, x) + 0.3 * np.sin(x))
    return exact, model


def test_girsanov_bounds_entropy_and_distances_both_ways(pair):
    exact, model = pair
    grid, prior = fp.Grid.uniform((-8, 8), cells=400), fp.VP().prior()
    p = grid.cell_average(exact.marginal(0.02))
    q = kernels.finite_volume_operator(model, grid, 1.0, 0.02).push(grid.cell_average(prior))
    v = weights.evaluate(None, grid)
    forth = bounds.girsanov(exact, model, t_min=0.02, grid=grid, second_start=prior)
    back = bounds.girsanov(model, exact, t_min=0.02, grid=grid, first_start=prior, second_start=exact.marginal(1.0))
    for found, entropy in ((forth, kl(p, q, grid)), (back, kl(q, p, grid))):
        print(found, "\n  true KL:", entropy)
        assert entropy <= found.value
        assert 0.5 * np.sum(np.abs(p - q)) * grid.volume <= found.total_variation
        distance = float(np.sum(v * np.abs(p - q)) * grid.volume)
        for bound in (found.details.hellinger, found.details.exponential, found.details.square_exponential):
            assert distance <= bound


def test_girsanov_of_a_constant_error_is_its_formula():
    """s' = s + c: KL_path = 1/2 (1 + eta^2)^2/4/eta^2 c^2 int g^2 dr, whatever the law."""
    exact = fp.Reverse(fp.Gaussian(0.2, std=0.6), fp.VP(), eta=0.7)
    model = fp.Reverse(exact.target, exact.process, score=lambda t, x: exact.score(t, x) + 0.2, eta=0.7)
    found = bounds.girsanov(exact, model, t_min=0.1, grid=fp.Grid.uniform((-8, 8), cells=200))
    power = -2 * np.log(exact.process.scale(0.1, 1.0))
    expected = 0.5 * ((1 + 0.49) / 2) ** 2 / 0.49 * 0.04 * power
    assert found.value == pytest.approx(expected, rel=1e-4)
    assert found.times[0] > found.times[-1] >= 0.1


def test_girsanov_on_a_box_that_does_not_hold_the_laws_gives_nothing(pair):
    first, second = pair
    found = bounds.girsanov(first, second, t_min=0.05, grid=fp.Grid.uniform((-2, 2), cells=80))
    assert found.value is None and "the box holds the laws fails" in found.reason
    assert np.isnan(found.total_variation) and np.isnan(found.weighted)


def test_girsanov_in_the_plane():
    exact = cases.rotated_five()
    model = fp.Reverse(exact.target, exact.process, score=lambda t, x: exact.score(t, x) + 0.1)
    grid = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=32)
    found = bounds.girsanov(exact, model, t_min=2.0, grid=grid)
    assert found.value == pytest.approx(0.5 * 2.0 * 0.02 * 1.0, rel=1e-4)


@pytest.mark.parametrize(
    ("second", "ask", "message"),
    [
        (lambda r: fp.Reverse(r.target, fp.VP(beta_max=10.0)), {}, "second: expected the process and eta of the first"),
        (lambda r: fp.Reverse(r.target, r.process, eta=0.5), {}, "second: expected the process and eta of the first"),
        (lambda r: r, {"t_min": 0.0}, "t_min: expected a number in"),
    ],
)
def test_bad_pairs_are_refused(pair, second, ask, message):
    exact = pair[0]
    with pytest.raises(ValueError, match=message):
        bounds.girsanov(exact, second(exact), grid=fp.Grid.uniform((-6, 6), cells=40), **({"t_min": 0.1} | ask))


def test_without_noise_there_is_no_girsanov(pair):
    flow = fp.Reverse(pair[0].target, pair[0].process, eta=0.0)
    with pytest.raises(ValueError, match="eta > 0"):
        bounds.girsanov(flow, flow, t_min=0.1, grid=fp.Grid.uniform((-6, 6), cells=40))


def test_weighted_pinsker_on_random_pairs(rng):
    grid = fp.Grid.uniform((-12, 12), cells=300)
    for _ in range(40):
        mu, nu = (fp.Gaussian(rng.normal(0, 0.5), std=rng.uniform(0.5, 1.2)) for _ in range(2))
        p, q = grid.cell_average(mu), grid.cell_average(nu)
        weight = fp.PolynomialWeight(2, rng.uniform(0.1, 1.0))
        distance = float(np.sum(weights.evaluate(weight, grid) * np.abs(p - q)) * grid.volume)
        found = bounds.weighted_pinsker(kl(p, q, grid), p, q, grid, weight)
        assert distance <= min(found.hellinger, found.exponential, found.square_exponential)


def test_an_exponential_moment_that_does_not_exist_is_infinite():
    grid, law = fp.Grid.uniform((-12, 12), cells=300), fp.Laplace()
    p = grid.cell_average(law)
    found = bounds.weighted_pinsker(0.01, p, p, grid, fp.PolynomialWeight(2, 1.0))
    assert found.square_exponential == np.inf or found.best == found.hellinger


# the explicit bound


def test_the_explicit_bound_covers_the_sampler_it_is_about():
    reverse = fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[0.6, 0.6]), fp.VP())
    grid = fp.Grid.uniform((-8, 8), cells=400)
    model = fp.Reverse(reverse.target, reverse.process, score=lambda t, x: reverse.score(t, x) + 0.1)
    for used, count in ((reverse, 50), (reverse, 100), (model, 50)):
        q = grid.cell_average(reverse.process.prior())
        for t0, t1 in pairwise(np.linspace(1.0, 0.0, count + 1)):
            q = kernels.sampler_operator("exponential-integrator", used, grid, t0, t1, frozen="modified").push(q)
        true, found = kl(grid.cell_average(reverse.target), q, grid), bounds.explicit_kl(used, count, grid=grid)
        print(count, "steps: KL", true, "bound", found.value, found.constants())
        assert true <= found.value


def test_the_score_part_of_the_explicit_bound():
    """A constant error c: sum_k c^2 int_step beta = c^2 int beta."""
    reverse = fp.Reverse(fp.Gaussian(0.3, std=0.8), fp.VP(sigma=1.2))
    model = fp.Reverse(reverse.target, reverse.process, score=lambda t, x: reverse.score(t, x) + 0.1)
    found = bounds.explicit_kl(model, 40, grid=fp.Grid.uniform((-9, 9), cells=300))
    assert found.score == pytest.approx(0.01 * 0.5 * (0.1 + 20.0), rel=1e-6)
    with pytest.raises(ValueError, match="variance-preserving"):
        bounds.explicit_kl(fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.EDM()), 10, grid=fp.Grid.uniform((-6, 6), cells=50))


# hypotheses of Girsanov


def test_walls_that_hold_mass_back_do_not_make_a_box_large_enough():
    """Finite volumes keep all mass in the box, whatever would leave it: mass at the ends is mass beyond them."""
    exact = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0))
    pushed = fp.Reverse(exact.target, exact.process, score=fp.scores.checked(lambda t, x: -x + 40.0, 1))
    found = bounds.girsanov(exact, pushed, t_min=0.1, grid=fp.Grid.uniform((-7, 7), cells=140))
    assert found.value is None and "the box holds the laws fails" in found.reason


def test_a_score_error_that_grows_to_the_ends_of_the_box_gives_nothing():
    exact = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0))
    wild = fp.Reverse(
        exact.target, exact.process, score=fp.scores.checked(lambda t, x: -x - 1e-6 * np.sinh(3.0 * x), 1)
    )
    found = bounds.girsanov(exact, wild, t_min=0.5, grid=fp.Grid.uniform((-6, 6), cells=300))
    assert found.value is None and "the box holds E|Db|^2 fails" in found.reason


def test_an_interval_without_noise_between_the_nodes_is_found():
    def eta(t):
        return 0.0 if 0.5 < t < 0.51 else 1.0

    exact = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0), eta=eta)
    with pytest.raises(ValueError, match="eta > 0 at every time"):
        bounds.girsanov(exact, exact, t_min=0.1, grid=fp.Grid.uniform((-7, 7), cells=60))


def test_the_entropy_of_the_starts_is_that_of_the_line():
    """A component of weight 1e-7, 500 away: KL = w (log w + (500 - 0)^2/2 ...) is beyond every box."""
    exact = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0))
    far = fp.GaussianMixture([1 - 1e-7, 1e-7], [0.0, 500.0], stds=[1.0, 1.0])
    grid = fp.Grid.uniform((-8, 8), cells=200)
    found = bounds.girsanov(exact, exact, t_min=0.5, grid=grid, first_start=far, second_start=fp.Gaussian(0.0, std=1.0))
    assert found.kl_start == pytest.approx(1e-7 * (np.log(1e-7) + 0.5 * 500.0**2), rel=1e-4)
    narrow = fp.Uniform(-1.0, 1.0)
    found = bounds.girsanov(exact, exact, t_min=0.5, grid=grid, second_start=narrow)
    assert found.kl_start == np.inf and "finite relative entropy" in found.reason


# narrow laws and what lies beyond the box


@pytest.mark.parametrize(("std", "t_min"), [(1e-3, 1e-6), (0.02, 1e-4)])
def test_the_path_integral_of_laws_narrower_than_the_cells_is_that_of_the_line(std, t_min):
    """Score of N(0, 4 std^2) for N(0, std^2), a cell centre in the middle: E|Db|^2 = v (1/v - 1/v')^2."""
    process = fp.OrnsteinUhlenbeck(T=1.0)
    exact, wrong = (fp.Reverse(fp.Gaussian(0.0, std=width), process) for width in (std, 2.0 * std))
    model = fp.Reverse(exact.target, process, score=fp.scores.checked(lambda t, x: wrong.score(t, x), 1))
    found = bounds.girsanov(exact, model, t_min=t_min, grid=fp.Grid.uniform((-6, 6), cells=151))

    def integrand(u):
        t = np.exp(u)
        v, other = (np.exp(-2 * t) * s**2 - np.expm1(-2 * t) for s in (std, 2.0 * std))
        return t * v * (1 / v - 1 / other) ** 2

    path = integrate.quad(integrand, np.log(t_min), 0.0, limit=500, epsrel=1e-10)[0]
    assert found.value == pytest.approx(path, rel=1e-4)
    assert not any("beyond the box" in text for text in found.unchecked if "Db" in text)


def test_cells_wider_than_the_laws_give_nothing_in_the_plane():
    process = fp.OrnsteinUhlenbeck(T=1.0)
    exact, wrong = (fp.Reverse(fp.Gaussian([0.0, 0.0], std=width), process) for width in (0.02, 0.04))
    model = fp.Reverse(exact.target, process, score=fp.scores.checked(lambda t, x: wrong.score(t, x), 2))
    for cells in (24, 25):
        found = bounds.girsanov(exact, model, t_min=1e-3, grid=fp.Grid.uniform([(-6, 6), (-6, 6)], cells=cells))
        assert found.value is None and "the cells resolve E|Db|^2" in found.reason


def test_a_score_error_a_little_beyond_the_box_is_in_the_bound():
    """s' - s = 1e-3 x^3: of E x^6 = 15 the box of four standard deviations misses 0.1 per cent or so, not the bound."""
    process = fp.OrnsteinUhlenbeck(T=1.0)
    exact = fp.Reverse(fp.Gaussian(0.0, std=1.0), process)
    model = fp.Reverse(exact.target, process, score=fp.scores.checked(lambda t, x: -x - 1e-3 * x**3, 1))
    for half, held in ((5.2, True), (4.0, False)):
        found = bounds.girsanov(exact, model, t_min=0.5, grid=fp.Grid.uniform((-half, half), cells=200))
        assert found.kl_path == pytest.approx(0.5 * 1e-6 * 15.0, rel=1e-5)
        assert (found.value is not None) == held, found


def test_in_the_plane_the_box_is_widened_where_the_law_is_known():
    process = fp.OrnsteinUhlenbeck(T=1.0)
    exact = fp.Reverse(fp.Gaussian([0.0, 0.0], std=1.0), process)
    score = fp.scores.checked(lambda t, x: -x * (1.0 + 1e-3 * np.sum(np.square(x), axis=-1, keepdims=True)), 2)
    grid = fp.Grid.uniform([(-5.6, 5.6), (-5.6, 5.6)], cells=44)
    found = bounds.girsanov(exact, fp.Reverse(exact.target, process, score=score), t_min=0.5, grid=grid)
    # E |x|^6 = 48; cells of a quarter of a standard deviation
    print(found)
    assert found.value == pytest.approx(0.5 * 1e-6 * 48.0, rel=2e-2)
    refused = fp.scores.checked(lambda t, x: np.where(np.abs(x).max() > 5.6, np.nan, score(t, x)), 2)
    found = bounds.girsanov(exact, fp.Reverse(exact.target, process, score=refused), t_min=0.5, grid=grid)
    assert found.value is None and "the box holds E|Db|^2" in found.reason
    assert "E|Db|^2 beyond the box" in found.unchecked


@pytest.mark.parametrize(("std", "mean"), [(0.5, 0.0), (0.1, 0.15), (0.03, 0.15), (1e-3, 0.0)])
def test_starts_between_the_nodes_of_the_cells_give_nothing_in_the_plane(std, mean):
    process = fp.OrnsteinUhlenbeck(T=1.0)
    exact = fp.Reverse(fp.Gaussian([0.0, 0.0], std=1.0), process)
    start, other = fp.Gaussian([mean, mean], std=std), fp.Gaussian([0.0, 0.0], std=1.0)
    grid = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=40)
    found = bounds.girsanov(exact, exact, t_min=0.5, grid=grid, first_start=start, second_start=other)
    true = std**2 - 1.0 - 2.0 * np.log(std) + mean**2
    if std >= 0.1:
        assert found.value == pytest.approx(true, rel=1e-6)
    else:
        assert found.value is None and "the cells resolve the first start" in found.reason
        assert np.isnan(found.total_variation) and np.isnan(found.weighted)


def test_a_law_between_the_nodes_of_the_cells_has_no_bound_in_the_plane():
    """Integrals over its density are 0 on such a grid: p_0's Fisher information is 2e6, chi-square infinite or so."""
    grid = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=40)
    narrow = fp.Gaussian([0.0, 0.0], std=1e-3)
    found = bounds.explicit_kl(fp.Reverse(narrow, fp.VP()), 50, grid=grid)
    assert found.value is None and "the cells resolve p_0" in found.reason
    wide = fp.Reverse(fp.Gaussian([0.0, 0.0], std=0.8), fp.VP())
    found = bounds.poincare(wide, 1.0, 0.1, grid=grid, start=narrow)
    assert found.value is None and "the cells resolve start" in found.reason
    assert bounds.poincare(wide, 1.0, 0.1, grid=grid, start=fp.Gaussian([0.1, 0.0], std=0.7)).value is not None

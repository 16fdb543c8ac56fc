"""What lies beyond the box: laws that leave no trace at its ends, drifts that would grow, weights of another shape."""

import math

import cases
import numpy as np
import pytest

import fpsolve as fp
from fpsolve import bounds, kernels
from fpsolve.bounds import _drift, _line, _lyapunov, _pairs

BOX = fp.Grid.uniform((-9, 9), cells=180)


@pytest.fixture(scope="module")
def reverse():
    return fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[0.5, 0.5]), fp.VP())


# laws


def test_a_start_far_outside_of_the_box_gives_no_poincare_bound(reverse):
    """It leaves nothing at the ends of the box: an integral over the box alone would be 1 instead of e^450."""
    found = bounds.poincare(reverse, 1.0, 0.2, grid=BOX, start=fp.Gaussian(30.0, std=1.0))
    print(found)
    assert found.value is None and "the box holds start fails by 1" in found.reason


def test_a_light_mode_far_outside_is_found_too(reverse):
    start = fp.GaussianMixture([1.0 - 1e-9, 1e-9], [0.0, 25.0], stds=[0.9, 0.9])
    found = bounds.poincare(reverse, 1.0, 0.2, grid=BOX, start=start)
    assert found.value is None and "chi-square at t0 is finite fails" in found.reason
    assert bounds.poincare(reverse, 1.0, 0.2, grid=BOX, start=fp.Gaussian(0.0, std=0.9)).certified


def test_a_target_outside_of_the_box_gives_neither_poincare_nor_explicit_kl():
    far = fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-15.0, 15.0], stds=[0.5, 0.5]), fp.OrnsteinUhlenbeck(T=6.0))
    found = bounds.poincare(far, 6.0, 0.05, grid=BOX)
    assert found.value is None and "the box holds p_t1 fails by" in found.reason
    other = bounds.explicit_kl(far, 100, grid=BOX)
    assert other.value is None and "the box holds p_0 fails by" in other.reason


def test_a_ladder_refuses_a_start_that_the_box_does_not_hold(reverse):
    for start, kept in ((fp.Gaussian(30.0, std=1.0), "3.279278e-98"), (fp.Gaussian(9.0, std=1.0), "0.5")):
        with pytest.raises(ValueError, match=f"start: expected a box that holds .* 1e-06, got a mass of {kept} in it"):
            bounds.ladder(reverse, grid=BOX, blocks=2, start=start)


def test_a_valley_too_deep_for_squares_keeps_its_constant():
    """Modes 30 apart: the constant is near 1e195, whose square is no number any more."""
    from fpsolve.bounds import spectral_gap_constant

    found = [spectral_gap_constant(fp.GaussianMixture([0.5, 0.5], [-m, m], stds=[0.5, 0.5])) for m in (14.0, 15.0)]
    print(found)
    # the valley is (15^2 - 14^2)/(2 0.5^2) = 58 deeper, in logarithms
    assert np.log(found[1] / found[0]) == pytest.approx(58.0, rel=0.01)


def test_poincare_of_a_product_of_laplace_laws_takes_the_wider_one():
    plane = fp.Reverse(fp.Laplace([0.0, 0.0], [0.4, 0.7]), fp.OrnsteinUhlenbeck(T=2.0))
    grid = fp.Grid.uniform([(-9, 9), (-9, 9)], cells=40)
    assert bounds.poincare(plane, 2.0, 0.5, grid=grid).constant == pytest.approx(4.0 * 0.7**2)


# moments


def test_second_moments_count_what_lies_beyond_the_box():
    p = fp.Laplace(0.0, 1.0)
    small, large = (fp.Grid.uniform((-b, b), cells=40 * b) for b in (13, 30))
    values = [bounds.weighted_pinsker(0.01, *2 * [g.cell_average(p)], g).hellinger for g in (small, large)]
    inside = float(np.sum(small.cell_average(p) * (1 + small.x**2) ** 2) * small.volume)
    print("with tail", values, "without", np.sqrt(2 * 2 * inside * 0.01))
    assert np.sqrt(2 * 2 * inside * 0.01) < values[1]
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def test_a_second_moment_that_does_not_exist_is_infinite():
    p = BOX.cell_average(fp.StudentT(3.5))
    assert bounds.weighted_pinsker(0.01, p, p, BOX).hellinger == np.inf
    assert np.isfinite(bounds.weighted_pinsker(0.01, p, p, BOX, fp.UnitWeight()).hellinger)


# drift


def test_a_gamma_below_the_rate_at_the_ends_is_not_admissible():
    """P V = 0.3 V + 3 exp(-V/2): with gamma = 0.25 the excess is largest inside of the box, and unbounded beyond."""
    grid = fp.Grid.uniform((-4, 4), cells=81)
    v = grid.x**2
    sound = np.ones(81, dtype=bool)
    ways = tuple(_lyapunov._way_in(grid, v, share) for share in (0.5, 0.9))
    region = _lyapunov.Region(sound, _lyapunov.edge(grid), ways)
    gammas = np.array([0.2, 0.25, 0.29, 0.31, 0.5])
    trade = _lyapunov.TradeOff.of(0.3 * v + 3.0 * np.exp(-0.5 * v), v, region, gammas)
    excess = 3.0 * np.exp(-0.5 * v) + np.multiply.outer(0.3 - gammas, v)
    assert np.all(excess.argmax(axis=1)[1:] == 40), "inside of the box for all but the first"
    assert trade.admissible.tolist() == [False, False, False, True, True]


def test_what_sound_sources_may_send_beyond_the_box_is_part_of_k():
    """P V = V/2 + 1 on the cells and up to 1e-6 beyond them, which no cell shows: K = 1.000001."""
    grid = fp.Grid.uniform((-4, 4), cells=80)
    v, sound = grid.x**2, np.ones(80, dtype=bool)
    ways = tuple(_lyapunov._way_in(grid, v, share) for share in (0.5, 0.9))
    region = _lyapunov.Region(sound, _lyapunov.edge(grid), ways)
    trade = _lyapunov.TradeOff.of(0.5 * v + 1.0, v, region, np.array([0.5]))
    assert trade.ks == pytest.approx([1.0 + 1e-6], abs=1e-12)


def test_a_gamma_below_the_last_slope_is_not_admissible():
    """P V grows faster and faster outwards: the average slope of the outer part is below the one at the ends."""
    grid = fp.Grid.uniform((-4, 4), cells=161)
    v, sound = grid.x**2, np.ones(161, dtype=bool)
    pulled = 1.0 + 0.1 * v + 0.01 * v**2  # slope 0.1 + 0.02 v: 0.34 on average from v = 8 to 16, 0.41 from 14.4
    gammas = np.array([0.3, 0.36, 0.45])
    region = _lyapunov.Region.of(kernels.Kernel(np.eye(161), grid, 1.0, 0.5), None)
    region = _lyapunov.Region(sound, _lyapunov.edge(grid), region.inner)
    trade = _lyapunov.TradeOff.of(pulled + 20.0 * np.exp(-v), v, region, gammas)
    assert trade.admissible.tolist() == [False, False, True]


def test_half_way_is_half_as_high():
    grid = fp.Grid.uniform([(-6, 4), (-5, 5)], cells=(100, 80))
    v = _lyapunov.height(None, grid)
    high = v > 4.0
    for share in (0.5, 0.9):
        way = _lyapunov._way_in(grid, v, share)
        assert np.all(v[way] <= v + 1e-12)
        assert np.all(np.abs(v[way][high] / v[high] - share) < 0.15)


def test_sources_count_as_sound_by_what_they_send_to_the_ends_in_v():
    """The same kernel, a steeper weight: what is thrown to the ends matters more."""
    kernel = kernels.exact(cases.ou_mixture(), fp.Grid.uniform((-6, 6), cells=240), 0.3, 0.1, source="point")
    flat, steep = (_lyapunov.Region.of(kernel, fp.PolynomialWeight(2, beta)) for beta in (1e-6, 100.0))
    assert flat.sound.sum() > steep.sound.sum() > 0
    # in the cells at the ends, and beyond the box
    reached = (kernel.matrix[:, [0, -1]].sum(axis=1) + kernel.defects) * (1.0 + 100.0 * kernel.grid.x[0] ** 2)
    assert np.all(reached[steep.sound] <= 1e-6 * (1 + 1e-9)) and np.all(reached[~steep.sound] > 1e-6 * (1 - 1e-9))


def test_integrated_constants_are_the_integrals_of_the_rates():
    """From the closed rates, whose integrals are known."""
    for reverse, t0, t1 in ((cases.ou_mixture(), 3.0, 0.01), (cases.two_mode_vp(), 1.0, 0.3)):
        found = bounds.drift(reverse, t0, t1, grid=fp.Grid.uniform((-10, 10), cells=200))
        times, dr = _line.over_time(reverse, t0, t1, _drift._PANELS)
        assert np.array_equal(times, found.times)
        gamma, k = _drift._integrated(found.rate_closed, found.source_closed, dr)
        print(gamma, found.gamma_closed, k, found.K_closed)
        assert gamma == pytest.approx(found.gamma_closed, rel=1e-6)
        assert k == pytest.approx(found.K_closed, rel=1e-6)


@pytest.mark.parametrize(
    "process", [fp.VP(), fp.VP(curvature=3.0), fp.OrnsteinUhlenbeck(T=1.0), fp.CosineVP(), fp.RectifiedFlow()], ids=repr
)
def test_a_bias_of_the_score_costs_what_girsanov_says_to_the_last_digits(process):
    """``1/2 int g^2 b^2 dt`` for a constant b: of these processes ``int g^2`` is ``-2 log alpha``, or known."""
    exact = fp.Reverse(fp.Gaussian(0.3, std=0.8), process)
    biased = fp.Reverse(exact.target, process, score=lambda t, x: exact.score(t, x) + 0.1)
    t_min, held = 0.02, process.held_from
    if isinstance(process, fp.RectifiedFlow):
        # g^2 = 2 t/(1 - t), and from `held_from` on its value there
        power = 2.0 * (t_min - held + math.log((1.0 - t_min) / (1.0 - held)) + held)
    else:
        power = -2.0 * math.log(float(process.scale(t_min, process.T)))
    found = bounds.girsanov(exact, biased, t_min=t_min, grid=fp.Grid.uniform((-8, 8), cells=200))
    print(found.kl_path / (0.005 * power) - 1.0)
    assert found.kl_path == pytest.approx(0.005 * power, rel=2e-6)


def test_a_share_outside_of_0_1_is_refused(reverse):
    with pytest.raises(ValueError, match=r"share: expected a number in \(0, 1\), got 1.5"):
        bounds.drift(reverse, 0.8, 0.5, grid=BOX, share=1.5)


# closed forms


@pytest.mark.parametrize(
    ("weight", "dim"),
    [
        (lambda x: 1 + x[..., 0] ** 2, 2),
        (lambda x: 1 + x[..., 0] ** 2 + 2 * x[..., 1] ** 2, 2),
        (lambda x: 1 + np.maximum(x, 0.0) ** 2, 1),
        (lambda x: 1 + np.minimum(x**2, 400.0), 1),
        (lambda x: 1 + x**2 + 1e-3 * np.abs(x), 1),
    ],
)
def test_weights_that_are_not_quadratic_have_no_closed_form(weight, dim):
    assert _lyapunov.quadratic(weight, dim) is None


def test_weights_that_are_quadratic_have_one():
    for dim, square in ((1, lambda x: x**2), (2, lambda x: (x**2).sum(axis=-1))):
        found = _lyapunov.quadratic(lambda x, f=square: 1 + 0.03 * (1 + f(x)), dim)
        assert found == pytest.approx((0.03, 0.03), rel=1e-9)
    assert _lyapunov.quadratic(fp.PolynomialWeight(2, 0.1), 2) == pytest.approx((0.0, 0.1))


@pytest.mark.parametrize(("t0", "t1"), [(0.5, 0.5), (0.5, 0.8), (0.5, -0.1)])
def test_blocks_run_backwards(reverse, t0, t1):
    for ask in (bounds.harris_closed_form, lambda *args: bounds.poincare(*args, grid=BOX)):
        with pytest.raises(ValueError, match=r"t1: expected a forward time in \[0, t0 = 0.5\)"):
            ask(reverse, t0, t1)
    with pytest.raises(ValueError, match=r"t1: expected (a forward time below t0 = 0\.5|forward times in)"):
        bounds.drift(reverse, t0, t1, grid=BOX)


# certificates


def random_block(rng):
    """A target, a process, a block, a box from narrow to wide, a weight."""
    count = int(rng.integers(1, 4))
    target = fp.GaussianMixture(
        rng.dirichlet(np.ones(count)), rng.uniform(-2.5, 2.5, count), stds=rng.uniform(0.3, 1.3, count)
    )
    processes = [fp.VP(), fp.VP(beta_max=6.0), fp.SubVP(), fp.OrnsteinUhlenbeck(T=2.0), fp.VE(0.01, 2.0), fp.CosineVP()]
    process = processes[rng.integers(len(processes))]
    t1, t0 = np.sort(rng.uniform(0.02, 1.0, 2)) * process.T
    weight = fp.PolynomialWeight(float(rng.choice([1.0, 2.0, 4.0])), float(10 ** rng.uniform(-2.5, 0.5)))
    return fp.Reverse(target, process), float(t0), float(t1), float(rng.uniform(3.0, 9.0)), weight


@pytest.mark.slow
def test_certificates_of_narrow_boxes_hold_on_wide_ones():
    """Above the sharp coefficient of a box twice as wide, and overlaps below those of finer cells there."""
    rng, certified = np.random.default_rng(7), 0
    count = cases.sample(60, 20)
    for _ in range(count):
        reverse, t0, t1, half, weight = random_block(rng)
        narrow = kernels.exact(reverse, fp.Grid.uniform((-half, half), cells=100), t0, t1, source="point")
        found = bounds.harris(narrow, weight=weight, optimise=True)
        if found.value is None:
            continue
        certified += 1
        wide = kernels.exact(reverse, fp.Grid.uniform((-18, 18), cells=400), t0, t1, source="point")
        same = fp.PolynomialWeight(weight.power, weight.beta * found.beta)
        sharp = bounds.dobrushin(wide, weight=same).value
        assert sharp <= found.value, (reverse, t0, t1, half, weight)
        v = weight.beta * np.abs(wide.grid.x) ** weight.power
        overlap = 1.0 - float(_pairs.distance_by_level(wide.matrix, v, np.array([found.R]))[0])
        assert found.overlap <= overlap + 2e-3, (reverse, t0, t1, half, weight)
    print(certified, "certificates of", count)
    assert certified >= count // 5

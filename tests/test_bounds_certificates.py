"""Certificates are about the whole line: what is checked on less is said to be, and is none."""

import cases
import numpy as np
import pytest
from scipy import integrate, optimize
from scipy.stats import norm

import fpsolve as fp
from fpsolve import bounds, kernels
from fpsolve.bounds import _lyapunov, _whole_line

WEIGHT = fp.PolynomialWeight(2, 0.3)


def rare(share, centre=0.0, std=3.0):
    """A narrow law with a wide component that a box does not see."""
    target = fp.GaussianMixture([1.0 - share, share], [0.0, centre], stds=[0.3, std])
    return fp.Reverse(target, fp.OrnsteinUhlenbeck(T=0.7))


def distance_at_the_end(reverse, start, t0, t1, weight, centre):
    """``int V |q - p|`` of a normal start at t1, by Bayes' rule on a fine line: nothing of kernels and bounds."""
    alpha, s = (float(f(t1, t0)) for f in (reverse.process.scale, reverse.process.variance))
    z, h = np.linspace(-60.0, 60.0, 24001, retstep=True)
    y, k = np.linspace(centre - 3.0, centre + 3.0, 1201, retstep=True)
    p = np.exp(reverse.marginal(t1).log_density(z))
    ratio = np.exp(start.log_density(y) - reverse.marginal(t0).log_density(y)) * k
    likelihood = norm.pdf(y[:, None], alpha * z, np.sqrt(s))
    return float(np.sum(weight(z) * p * np.abs(ratio @ likelihood - 1.0)) * h)


@pytest.mark.parametrize("share", [1e-3, 1e-9])
def test_a_wide_rare_component_leaves_no_certificate(share):
    """Its rows decide far out: P V grows like 3.6 V or so, whatever a box of eight standard deviations shows."""
    reverse, grid = rare(share), fp.Grid.uniform((-7, 7), cells=400)
    kernel = kernels.exact(reverse, grid, 0.7, 0.05, source="point")
    for found in (
        bounds.harris(kernel, weight=WEIGHT),
        bounds.harris(kernel, weight=WEIGHT, optimise=True),
        bounds.drift(reverse, 0.7, 0.05, grid=grid, weight=WEIGHT),
        bounds.localization(kernel, weight=WEIGHT),
    ):
        print(found)
        assert found.value is None and found.reason
    assert "far out P V grows like" in bounds.harris(kernel, weight=WEIGHT).reason
    assert not all(h.holds for h in bounds.drift(reverse, 0.7, 0.05, grid=grid, weight=WEIGHT).checked)
    sharp = bounds.dobrushin(kernel, weight=WEIGHT, whole_line=True)
    # two points far out on both sides: the widest component's gain squared
    alpha, s = (float(f(0.05, 0.7)) for f in (reverse.process.scale, reverse.process.variance))
    v = 9.0 * np.exp(-0.1) + 1.0 - np.exp(-0.1)
    assert sharp.upper >= (alpha * v / (alpha**2 * v + s)) ** 2 > 2.0
    assert any("far points" in h.name and not h.holds for h in sharp.checked)


@pytest.mark.parametrize("centre", [4.0, 5.0])
def test_a_ladder_allows_what_a_far_start_does(centre):
    reverse, start = rare(1e-3), fp.Gaussian(centre, std=0.25)
    ladder = bounds.ladder(
        reverse, grid=fp.Grid.uniform((-7, 7), cells=300), blocks=[0.7, 0.05], weight=WEIGHT, start=start
    )
    truth = distance_at_the_end(reverse, start, 0.7, 0.05, WEIGHT, centre)
    allowed = ladder["given"].isel(t=-1)
    print(truth, allowed.values)
    assert truth == pytest.approx({4.0: 7.046, 5.0: 18.0}[centre], rel=3e-3)
    assert np.all(np.isnan(allowed.sel(bound=["Harris", "Harris, closed form"])))
    assert all(value >= truth for value in allowed.values[np.isfinite(allowed.values)])


def test_heavier_tails_than_normal_are_known_on_the_box_only():
    """Laplace data: far out the reverse drift only undoes the decay, P V grows like V/alpha^2; no box sees it."""
    reverse = fp.Reverse(fp.Laplace(0.0, 0.5), fp.OrnsteinUhlenbeck(T=2.0))
    grid = fp.Grid.uniform((-9, 9), cells=300)
    kernel = kernels.exact(reverse, grid, 2.0, 0.2, source="point")
    found = bounds.harris(kernel, optimise=True)
    print(found)
    assert found.value is None and found.abar < 1.0 and "on the cells of the box only" in found.reason
    assert "P V <= gamma V + K beyond the box" in found.unchecked
    far = bounds.drift(reverse, 2.0, 0.2, grid=grid)
    assert far.value is None and any("P V <= gamma V + K beyond the box" in what for what in far.unchecked)
    # at y = 60 the row is normal, moved by the slope of the tail: mean (y + s/b')/alpha - ..., far above gamma V + K
    alpha, s = (float(f(0.2, 2.0)) for f in (reverse.process.scale, reverse.process.variance))
    z = np.linspace(0.0, 900.0, 90001)
    row = reverse.marginal(0.2).log_density(z) - 0.5 * (60.0 - alpha * z) ** 2 / s
    row = np.exp(row - row.max())
    assert np.sum(z**2 * row) / np.sum(row) > found.gamma * 60.0**2 + found.K


@pytest.mark.parametrize(
    "weight", [WEIGHT, fp.PolynomialWeight(0.5), fp.PolynomialWeight(1.5), fp.ExponentialWeight(0.7)]
)
def test_constants_of_the_line_by_adaptive_quadrature(weight):
    """K against the maximum of ``P V - gamma V`` with P V integrated by scipy, and the distance of two rows."""
    reverse = fp.Reverse(fp.GaussianMixture([0.3, 0.7], [-1.5, 0.8], stds=[0.3, 0.6]), fp.VP())
    t0, t1, gamma = 0.6, 0.4, 0.7
    alpha, s = (float(f(t1, t0)) for f in (reverse.process.scale, reverse.process.variance))
    law = reverse.marginal(t1)

    def mean(f, y):
        def row(z):
            return float(np.exp(law.log_density(z) - 0.5 * (y - alpha * z) ** 2 / s))

        ends = {"limit": 300, "points": [0.0], "epsabs": 1e-12}
        near = 0.5 * y
        return (
            integrate.quad(lambda z: f(z) * row(z), near - 9, near + 9, **ends)[0]
            / integrate.quad(row, near - 9, near + 9, **ends)[0]
        )

    def excess(y):
        return gamma * (float(weight(y)) - 1.0) - mean(lambda z: float(weight(z)) - 1.0, y)

    starts = (-2.0, -0.3, 0.0, 0.3, 2.0)
    peak = max(
        [-excess(0.0)]
        + [-optimize.minimize_scalar(excess, bounds=(y - 0.6, y + 0.6), method="bounded").fun for y in starts]
    )
    v, posterior = _lyapunov.radial(weight, 1), _whole_line.Posterior.of(reverse, t0, t1)
    k = v.factor * float(posterior.least_constants(v, np.array([gamma]))[0])
    print(k, peak)
    assert peak * (1 - 1e-7) <= k <= peak * 1.01
    x, y = -0.7, 1.1
    z = np.linspace(-8.0, 8.0, 200001)
    rows = [np.exp(law.log_density(z) - 0.5 * (a - alpha * z) ** 2 / s) for a in (x, y)]
    rows = [row / row.sum() for row in rows]
    assert posterior.distance(np.array([x]), np.array([y]))[0] == pytest.approx(
        0.5 * np.abs(rows[0] - rows[1]).sum(), abs=1e-7
    )


def test_the_default_searches_beta_and_says_what_would_help():
    reverse = cases.ou_mixture()
    kernel = kernels.exact(reverse, fp.Grid.uniform((-10, 10), cells=300), 3.0, 0.01, source="point")
    found = bounds.harris(kernel)
    assert found.value is not None and found.value < 0.65 and found.beta < 0.1
    plain = bounds.harris(kernel, optimise=False)
    assert plain.value is None and "optimise=True" in plain.reason
    # a box that holds no row: it says so, and how wide one would do
    small = kernels.exact(reverse, fp.Grid.uniform((-2, 2), cells=100), 3.0, 0.01, source="point")
    refused = bounds.harris(small)
    assert refused.value is None and "the box is too small" in refused.reason and "widen it" in refused.reason
    assert "inf" not in refused.reason


def test_arguments_that_must_agree_are_compared():
    reverse = cases.two_mode_vp()
    grid = fp.Grid.uniform((-9, 9), cells=120)
    kernel = kernels.exact(reverse, grid, 0.9, 0.5, source="point")
    with pytest.raises(
        ValueError, match=r"kernel: expected one of the block 0.6 -> 0.1, got one of the block 0.9 -> 0.5"
    ):
        bounds.drift(reverse, 0.6, 0.1, grid=grid, kernel=kernel)
    with pytest.raises(ValueError, match="kernel: expected one on the grid"):
        bounds.drift(reverse, 0.9, 0.5, grid=grid.refine(), kernel=kernel)
    for other in (
        cases.ou_mixture(),
        fp.Reverse(reverse.target, fp.VP(beta_max=10.0)),
        fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.VP()),
    ):
        if other.horizon >= 0.9:
            with pytest.raises(ValueError, match="kernel: expected one of the dynamics `reverse`"):
                bounds.drift(other, 0.9, 0.5, grid=grid, kernel=kernel)
    plane = fp.Grid.uniform([(-5, 5), (-5, 5)], cells=12)
    for call in (
        lambda: bounds.drift(reverse, 0.9, 0.5, grid=plane),
        lambda: bounds.ladder(reverse, grid=plane, blocks=2),
        lambda: bounds.harris_blocks(reverse, grid=plane, t_min=0.2),
        lambda: bounds.ladder(reverse, grid=grid, blocks=2, start=fp.Gaussian([0.0, 0.0], std=1.0)),
    ):
        with pytest.raises(ValueError, match=r"dimension|1D|2D"):
            call()
    # the same block of the same law, made anew, is accepted
    again = cases.two_mode_vp()
    assert bounds.drift(again, 0.9, 0.5, grid=grid, kernel=kernel).value is not None


def test_overlaps_are_those_of_densities_not_of_cells():
    """Coarse cells hide what happens within them: the cell-wise overlap is larger than the true one."""
    reverse = cases.two_mode_vp()
    kernel = kernels.exact(reverse, fp.Grid.uniform((-9, 9), cells=36), 0.6, 0.4, source="point")
    found = bounds.minorization(kernel, 2.0)
    z = np.linspace(-8.0, 8.0, 16001)
    alpha, s = (float(f(0.4, 0.6)) for f in (reverse.process.scale, reverse.process.variance))
    least = 1.0
    for x in np.linspace(-np.sqrt(2.0), 0.0, 41):
        rows = []
        for y in (x, np.sqrt(max(2.0 - x**2, 0.0))):
            row = np.exp(reverse.marginal(0.4).log_density(z) - 0.5 * (y - alpha * z) ** 2 / s)
            rows.append(row / row.sum())
        least = min(least, float(np.minimum(*rows).sum()))
    assert found.value <= least + 1e-6


@pytest.mark.parametrize("cells", [50, 70, 83, 160])
def test_the_upper_coefficient_of_coarse_cells_is_above_that_of_the_line(cells):
    """Rows N(g x + c, v) cross once, halfway, in a cell that hides what is on both sides of the crossing."""
    mean, var, beta = 0.85, 0.66, 0.05
    reverse = fp.Reverse(fp.Gaussian(mean, cov=var), fp.SubVP())
    kernel = kernels.exact(reverse, fp.Grid.uniform((-9.6, 10.4), cells=cells), 1.0, 0.02, source="point")
    found = bounds.dobrushin(kernel, weight=fp.PolynomialWeight(2, beta), whole_line=True)
    law = reverse.marginal(0.02)
    alpha, s = (float(f(0.02, 1.0)) for f in (reverse.process.scale, reverse.process.variance))
    v = float(law.cov) * s / (alpha**2 * float(law.cov) + s)
    x = np.linspace(-9.0, 9.0, 73)
    centres = v * (alpha * x / s + float(law.mean) / float(law.cov))

    def half_moment(m, cut):
        """``int_cut^inf (1 + beta z^2) N(z; m, v) dz``."""
        u = (cut - m) / np.sqrt(v)
        second = (m**2 + v) * norm.sf(u) + np.sqrt(v) * (m + cut) * norm.pdf(u)
        return norm.sf(u) + beta * second

    a, b = np.meshgrid(centres, centres)
    cut = 0.5 * (a + b)
    upper = half_moment(a, cut) - half_moment(b, cut)
    lower = 1.0 + beta * (b**2 + v) - half_moment(b, cut) - (1.0 + beta * (a**2 + v) - half_moment(a, cut))
    ratio = np.where(a > b, upper + lower, 0.0) / np.add.outer(1.0 + beta * x**2, 1.0 + beta * x**2)
    true = float(ratio.max())
    print(cells, found.value, true, found.upper)
    assert true <= found.upper <= 1.03 * true
    assert found.value <= true * (1.0 + 1e-3)
    # the rung of a ladder is a bound too, not what the cells show
    rungs = bounds.ladder(reverse, grid=kernel.grid, blocks=1, t_min=0.02, weight=fp.PolynomialWeight(2, beta))
    for name in ("sharp Dobrushin", "product of sharp Dobrushin"):
        rung = rungs["prior"].sel(bound=name).values
        assert true <= rung[-1] / rung[0] <= 1.03 * true


def test_the_optimised_certificate_is_no_worse_than_young_s_in_a_box_that_ends_on_one_side():
    """A law around 4 in a box around 0: levels that the box holds certify little, those of the line much more."""
    target = fp.GaussianMixture([0.83, 0.09, 0.08], [4.3, 2.9, 3.6], stds=[0.41, 0.6, 0.98])
    reverse, weight = fp.Reverse(target, fp.CosineVP()), fp.PolynomialWeight(2, 0.0046)
    kernel = kernels.exact(reverse, fp.Grid.uniform((-10, 10.8), cells=200), 1.0, 0.02, source="point")
    found = bounds.harris(kernel, weight=weight, optimise=True)
    closed = bounds.harris_closed_form(reverse, 1.0, 0.02, weight=weight, optimise=True)
    assert found.certified and found.value <= closed.value < 1.0


def rows_by_hand(reverse, weights, means, stds, t0, t1):
    """Posterior components ``pi, mu, v`` of the reverse kernel as a function of its source, by Bayes' rule."""
    process = reverse.process
    first, added = float(process.scale(0.0, t1)), float(process.variance(0.0, t1))
    alpha, s = float(process.scale(t1, t0)), float(process.variance(t1, t0))
    m, v = first * np.array(means), first**2 * np.square(stds) + added
    total = alpha**2 * v + s

    def row(y):
        logs = np.log(weights) - 0.5 * np.log(total) - 0.5 * (y - alpha * m) ** 2 / total
        share = np.exp(logs - logs.max())
        return share / share.sum(), (alpha * v * y + s * m) / total, v * s / total

    return row, alpha / s


@pytest.mark.parametrize("cells", [122, 256])
def test_the_upper_coefficient_is_above_where_rows_are_narrower_than_cells(cells):
    """Rows of width 0.04 on cells of 0.4: what two rows in one cell differ by is not on the matrix."""
    parts = [1.0 - 1e-9, 1e-9, 3.8e-17], [0.15, 0.4, -0.18], [0.042, 0.042, 0.51]
    reverse = fp.Reverse(fp.GaussianMixture(*parts[:2], stds=parts[2]), fp.EDM(sigma_max=5.0))
    kernel = kernels.exact(reverse, fp.Grid.uniform((-56.0, 56.0), cells=cells), 5.0, 0.0, source="point")
    found = bounds.dobrushin(kernel, weight=fp.PolynomialWeight(2, 0.0065), whole_line=True)
    row, _ = rows_by_hand(reverse, *parts, 5.0, 0.0)
    z, largest = np.linspace(-6.0, 6.0, 24_001), 0.0
    for x, y in ((-15.0, 15.0), (-12.0, 12.0), (0.0, 20.0)):
        p, q = (sum(pi * norm.pdf(z, mu, np.sqrt(v)) for pi, mu, v in zip(*row(one), strict=True)) for one in (x, y))
        distance = np.trapezoid((1.0 + 0.0065 * z**2) * np.abs(p - q), z)
        largest = max(largest, distance / (2.0 + 0.0065 * (x**2 + y**2)))
    print(cells, found.value, found.upper, largest)
    assert 0.008 < largest <= found.upper < 0.05


def test_the_coefficient_in_w1_of_an_exact_kernel_is_that_of_the_line():
    """A peak between the centres of cells, and one beyond the box: (alpha/s) Var P(y, .) on a fine scan."""
    for law, process, times, half, cells in (
        (([0.5, 0.5], [-2.0, 2.0], [0.1, 0.1]), fp.VE(sigma_min=0.05, sigma_max=5.0), (0.8, 0.1), 20.0, 40),
        (([1.0 - 1e-12, 1e-12], [0.0, 3.0], [0.3, 0.4]), fp.VP(), (0.3, 0.1), 2.5, 200),
    ):
        reverse = fp.Reverse(fp.GaussianMixture(*law[:2], stds=law[2]), process)
        kernel = kernels.exact(reverse, fp.Grid.uniform((-half, half), cells=cells), *times, source="point")
        found = bounds.ollivier(kernel)
        row, tilt = rows_by_hand(reverse, *law, *times)

        def slope(y, row=row, tilt=tilt):
            pi, mu, v = row(y)
            return tilt * (np.sum(pi * (v + mu**2)) - np.sum(pi * mu) ** 2)

        true = max(slope(y) for y in np.linspace(-20.0, 20.0, 40_001))
        print(found.value, true, found.x)
        assert true * (1.0 - 1e-12) <= found.value <= 1.001 * true and found.status == "estimated"
        assert found.value == pytest.approx(slope(found.x), rel=1e-9)


def test_a_box_that_holds_no_level_set_still_has_the_constants_of_the_line():
    """V is 0 at a source that reaches the ends of the box: no level is held by it, and none is asked of it."""
    reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.EDM(sigma_max=5.0))
    kernel = kernels.exact(reverse, fp.Grid.uniform((-51.0, 51.0), cells=115), 5.0, 0.5, source="point")
    found = bounds.harris(kernel, weight=fp.ExponentialWeight(0.7))
    assert found.value is not None or found.reason


@pytest.mark.parametrize("at", [1.3, 9.0, 700.0])
def test_a_weight_given_as_a_function_is_looked_at_closely(at):
    """1 + |x|^2/10 but for a dip that a few looks miss: points 9 and -9 are in {V <= R}, and share nothing."""

    def weight(x):
        near = np.maximum(1.0 - np.square((np.abs(x) - at) / (0.05 * at)), 0.0)
        return 1.0 + 0.1 * np.square(x) * (1.0 - np.square(near))

    law = fp.GaussianMixture([0.3, 0.7], [-1.5, 0.8], stds=[0.3, 0.4])
    reverse = fp.Reverse(law, fp.VP())
    kernel = kernels.exact(reverse, fp.Grid.uniform((-12.0, 12.0), cells=300), 0.6, 0.3, source="point")
    for found in (bounds.harris(kernel, weight=weight), bounds.harris_closed_form(reverse, 0.6, 0.3, weight=weight)):
        assert found.value is None and found.reason
    assert np.isnan(bounds.dobrushin(kernel, weight=weight, whole_line=True).upper)

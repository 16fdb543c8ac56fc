"""The pieces of an enclosure, each by hand or brute force: a bound that is halved or left out is caught here."""

import math
from fractions import Fraction

import cases
import flint
import numpy as np
import pytest
from flint import acb, arb
from scipy.integrate import quad
from scipy.stats import norm

import fpsolve as fp
from fpsolve import proofs
from fpsolve.processes import OwnUnits
from fpsolve.proofs import _balls, _block, _harris, _mixtures, _sources

GAUSS = np.polynomial.legendre.leggauss(200)
LONG = _balls.Stopwatch(1e9)
SMALL = arb("1e-30")
PROCESSES = [
    fp.OrnsteinUhlenbeck(T=1.7),
    fp.VP(),
    fp.VP(curvature=3.0, sigma=1.3),
    fp.VP(curvature=-1e-9),
    fp.VP(curvature=1e-200),
    fp.SubVP(),
    fp.CosineVP(),
    fp.VE(sigma_min=0.02, sigma_max=20.0),
    fp.VE(sigma_min=0.02, sigma_max=20.0, convention="score_sde"),
    fp.EDM(sigma_min=0.02, sigma_max=20.0),
    fp.RectifiedFlow(T=0.99),
    OwnUnits(fp.EDM()),
    OwnUnits(fp.RectifiedFlow(), T=0.98),
    OwnUnits(fp.VE(sigma_min=0.02, sigma_max=20.0, convention="score_sde")),
]


@pytest.fixture(autouse=True)
def many_bits():
    with _balls.precision(160):
        yield


def normals(weights, means, variances):
    return _mixtures.Mixture(*(tuple(arb(value) for value in values) for values in (weights, means, variances)))


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_transitions_are_those_of_the_process(process):
    for s, t in ((0.0, 0.3), (0.0, 1.0), (0.2, 0.9), (0.999, 1.0)):
        s, t = s * process.T, t * process.T
        found = _mixtures.path(process, s, t)
        assert float(found.scale.mid()) == pytest.approx(float(process.scale(s, t)), rel=1e-12)
        assert float(found.variance.mid()) == pytest.approx(float(process.variance(s, t)), rel=1e-11)
        assert float(found.variance.rad()) <= 1e-12 * float(found.variance.mid())


# --- balls -----------------------------------------------------------------------------------------------------------


def test_balls_that_are_not_finite_prove_nothing():
    for ball in (arb.nan(), arb(0, arb.pos_inf()), 1 / arb(0, 1)):
        assert _balls.float_above(ball) == math.inf and _balls.float_below(ball) == -math.inf
        assert _balls.size(ball) == arb.pos_inf()
        assert not ball <= 1 and not ball >= 1
    assert not _balls.around(arb(1), arb.nan()).is_finite()


def test_doubles_round_outwards_at_both_ends_of_their_range():
    third, huge, tiny = arb(1) / 3, arb(10) ** 400, arb(10) ** -400
    assert Fraction(_balls.float_below(third)) < Fraction(1, 3) < Fraction(_balls.float_above(third))
    assert _balls.float_below(huge) == 1.7976931348623157e308 and _balls.float_above(huge) == math.inf
    assert _balls.float_above(-huge) == -1.7976931348623157e308
    assert _balls.float_below(tiny) == 0.0 and _balls.float_above(tiny) == 5e-324


def test_a_sign_is_not_proved_by_a_ball_that_is_not_finite():
    found = _balls.pieces(lambda centre, half: (arb.nan(), arb.nan()), arb(-1), arb(1), arb(0.1), LONG)
    assert all(piece.sign == 0 and piece.bound == arb.pos_inf() for piece in found)
    found = _balls.pieces(lambda centre, half: (arb(1), arb.nan()), arb(-1), arb(1), arb(0.1), LONG, depth=3)
    assert all(piece.sign == 0 for piece in found)


def test_a_maximum_is_infinite_where_a_box_is_not_judged():
    """NaN in the queue of branch and bound neither ends it nor is passed over."""
    with pytest.raises(_balls.BudgetSpent):
        _harris._maximum(lambda centre, half: (arb(1), arb.nan()), arb(-1), arb(1), _balls.Stopwatch(0.05))


def test_the_posterior_of_a_wide_ball_stays_between_nothing_and_everything():
    block = _block.Block(normals([0.5, 0.5], [-1, 1], [0.04, 0.04]), _mixtures.Path(arb(0.5), arb(0.75)))
    for weight in block.posterior(arb(0, 10**6)):
        assert weight.contains(0) and weight.contains(1) and float(weight.rad()) <= 0.6


# --- signs and integrals -------------------------------------------------------------------------------------------


def test_no_piece_between_sign_changes_is_dropped():
    """int |N(x; -1/2, 1) - N(x; 1/2, 1)| = 2 (2 Phi(1/2) - 1); pieces cover the line without gaps."""
    law = normals([1, -1], [-0.5, 0.5], [1, 1])
    found = _mixtures.signed_norm(law, _mixtures.Sides(fp.UnitWeight()), SMALL, LONG)
    assert float(found.mid()) == pytest.approx(2.0 * (2.0 * norm.cdf(0.5) - 1.0), abs=1e-14)
    cubic = flint.arb_poly([0, -1, 0, 4])  # 4x^3 - x: roots -1/2, 0, 1/2
    cut = _balls.pieces(_balls.by_shift(cubic), arb(-1), arb(1), arb("1e-12"), LONG)
    assert [piece.sign for piece in cut if piece.sign] == [-1, 1, -1, 1]
    ends = [float(piece.low.mid()) for piece in cut] + [1.0]
    assert ends[0] == -1.0 and all(float(p.high.mid()) == end for p, end in zip(cut, ends[1:], strict=True))


def test_pieces_of_unknown_sign_are_counted():
    """Where the sign is looked for nowhere, the ball still holds the integral."""
    law = normals([1, -1], [-0.5, 0.5], [1, 1])
    found = _mixtures.signed_norm(law, _mixtures.Sides(fp.UnitWeight()), arb(10), LONG)
    assert found.contains(arb(2.0 * (2.0 * norm.cdf(0.5) - 1.0)))


def test_what_lies_beyond_the_ends_is_counted():
    """int V N(x; 0, 1) beyond [-1, 2], V = 1 + x^2 and e^{|x|}."""
    law = normals([1], [0], [1])
    for weight in (fp.PolynomialWeight(), fp.ExponentialWeight(1.0)):
        truth = sum(quad(lambda x, w=weight: w(x) * norm.pdf(x), *ends)[0] for ends in ((-40, -1), (2, 40)))
        assert float(_mixtures.tail(law, _mixtures.Sides(weight), arb(-1), arb(2)).mid()) == pytest.approx(
            truth, rel=1e-8
        )


def test_ends_that_are_too_near_widen_the_norm(monkeypatch):
    """With ends at -1 and 1 a third of a standard normal law lies beyond: 1 is still in the ball."""
    monkeypatch.setattr(_mixtures, "reach", lambda *_: (-1.0, 1.0))
    found = _mixtures.signed_norm(normals([1], [0], [1]), _mixtures.Sides(fp.UnitWeight()), SMALL, LONG)
    assert found.contains(1) and found.rad() < arb("0.4")


@pytest.mark.parametrize("degree", [1, 3, 8])
def test_a_series_admits_what_it_leaves_of_a_mixture(degree):
    """Of two components that nearly cancel too; and the remainder is not a thousand times too large."""
    law, half = normals([1, -1, 0.5], [-0.5, -0.45, 1.0], [0.5, 0.5, 0.3]), 0.25
    for centre in (-1.7, 0.0, 0.4, 2.5):
        terms, error = law.series(arb(centre), arb(half), degree)
        worst = 0.0
        for u in np.linspace(-1.0, 1.0, 41):
            left = law.density(arb(centre + half * u)) - sum(a * _balls.power(arb(u), k) for k, a in enumerate(terms))
            worst = max(worst, float(left.abs_upper()))
        assert 1e-4 * float(error) <= worst <= float(error)


def test_moments_between_two_points():
    found = _mixtures.moments(arb(0.3), arb(0.49), arb(-1), arb(0.9), 5)
    for degree, moment in enumerate(found):
        truth = quad(lambda x, n=degree: x**n * norm.pdf(x, 0.3, 0.7), -1.0, 0.9, epsabs=1e-14)[0]
        assert float(moment.mid()) == pytest.approx(truth, abs=1e-13)
    side = _mixtures.Sides(fp.ExponentialWeight(0.4)).right
    truth = quad(lambda x: math.exp(0.4 * x) * norm.pdf(x, 0.3, 0.7), 0.1, 12.0)[0]
    assert float(_mixtures.integral(normals([1], [0.3], [0.49]), side, arb(0.1), None).mid()) == pytest.approx(
        truth, rel=1e-9
    )


# --- quadrature in y -----------------------------------------------------------------------------------------------


def problem(nu=None, t=0.3):
    """Two modes, half way; p_t, p_T, nu and the transition."""
    target = _mixtures.mixture("target", fp.GaussianMixture([0.4, 0.6], means=[-1.0, 0.7], stds=[0.4, 0.6]))
    process = fp.OrnsteinUhlenbeck(T=1.0)
    here, end = (target.diffused(_mixtures.path(process, 0.0, time)) for time in (t, 1.0))
    nu = _mixtures.mixture("nu", nu or fp.Gaussian(-0.4, std=0.7))
    return _block.Problem(here, end, nu, None, _mixtures.path(process, t, 1.0), _mixtures.Sides(fp.UnitWeight()))


def sources(given, low, high, small="1e-25", constant=-1):
    ratio = _sources.Ratio(given.nu, given.end)
    targets = [(arb(0), arb(1) / 4, arb(1))]
    return _sources.Sources(ratio, ratio, given.path, arb(low), arb(high), arb(small), constant, targets, LONG)


def gap(given, x, low=-np.inf, high=np.inf):
    """``int r(y) N(y; alpha x, sigma^2) dy`` by quadrature in doubles."""
    alpha, std = float(given.path.scale.mid()), math.sqrt(float(given.path.variance.mid()))
    low, high = max(low, -12.0), min(high, 12.0)
    if low >= high:
        return 0.0
    nodes, masses = GAUSS
    y = 0.5 * (low + high) + 0.5 * (high - low) * nodes
    ratio = doubles(given.nu, y) / doubles(given.end, y)
    return float(0.5 * (high - low) * (masses * ratio * norm.pdf(y, alpha * x, std)).sum())


def doubles(law, y):
    """The density of a mixture in floating point."""
    rows = [tuple(float(b.mid()) for b in row) for row in law.rows()]
    return sum(w * norm.pdf(y, m, math.sqrt(v)) for w, m, v in rows)


def test_the_ratio_is_bounded_in_the_ellipse():
    """On 400 points of the boundary of the ellipse, where an analytic function is largest; the bound is not loose."""
    given = problem()
    ratio = _sources.Ratio(given.nu, given.end)
    for panel in ratio.panels(arb(-3), arb(3), arb(1) / 3, LONG):
        angles = np.linspace(0.0, 2.0 * np.pi, 400)
        seen = 0.0
        for angle in angles:
            y = acb(panel.centre + panel.reach * math.cos(angle), panel.height * math.sin(angle))
            seen = max(seen, float(ratio.at(y).abs_upper()))
        assert seen <= float(panel.bound) * (1 + 1e-9)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_error_of_gauss_quadrature_is_within_its_bound(count):
    """1/(a - y) is bounded by 1/(a - reach) in E_rho: 8 L M rho^(1 - 2n)/(rho - 1) against the true error."""
    rho, pole = 3.0, (3.0 + 1.0 / 3.0) / 2.0 + 0.05
    rule = [(float(node.mid()), float(weight.mid())) for node, weight in _sources.rule(count, flint.ctx.prec)]
    given = sum(w / (pole - x) for x, w in rule)
    error = abs(given - math.log((pole + 1.0) / (pole - 1.0)))
    panel = _sources.Panel(arb(0), arb(1), arb(rho), arb(1) / arb(0.05))
    bound = float(_sources.quadrature_error(panel, count))
    assert bound == pytest.approx(8.0 * 20.0 * rho ** (1 - 2 * count) / (rho - 1.0), rel=1e-12)
    assert error <= bound


def test_quadrature_with_too_few_nodes_stays_within_its_bound():
    """However wide the quadrature may be, the remainder holds what it leaves: nothing else is left here."""
    given, worst = problem(), 0.0
    for small in ("10", "1", "1e-2", "1e-4", "1e-8"):
        part = sources(given, -12, 12, small).expand(arb(0), arb(1) / 4, arb("1e-18"))
        for u in (-1.0, -0.3, 0.6, 1.0):
            off = abs(float(part.polynomial(arb(u)).mid()) + 1.0 - gap(given, u / 4))
            worst = max(worst, off)
            assert off <= float(part.error) + 1e-11
    assert worst > 1e-6


@pytest.mark.parametrize("small", ["1e6", "1e2", "1", "1e-3", "1e-8"])
def test_sources_far_from_a_panel_are_bounded_in_one_go(small):
    """A window of one standard deviation leaves most of the integral to the bound, which holds it."""
    given = problem()
    made = sources(given, -12, 12)
    for x in (-2.0, 0.0, 1.5):
        window, beyond, astray = made._window(arb(x), arb(1) / 4, arb(small))
        assert len(window) < len(made.sources) and beyond > 0 and astray >= 0
        kept = [float(source.panel.centre.mid()) for source in window]
        low, high = kept[0] - float(window[0].panel.half), kept[-1] + float(window[-1].panel.half)
        missing = gap(given, x, -np.inf, low) + gap(given, x, high, np.inf)
        scale = 1.0 / math.sqrt(2.0 * math.pi * float(given.path.variance.mid()))
        assert missing <= float(beyond) * scale
        part = made.expand(arb(x), arb(1) / 4, arb(small))
        for u in (-1.0, 0.3, 1.0):
            assert abs(float(part.polynomial(arb(u)).mid()) + 1.0 - gap(given, x + u / 4)) <= float(part.error) + 1e-11


def test_what_lies_beyond_the_ends_in_y_is_in_the_remainder():
    """Ends so near that the tail is most of the integral: the remainder is at least what is missing on each side."""
    given = problem()
    for low, high in ((-0.5, 12.0), (-12.0, 0.2), (-0.3, 0.3)):
        made = sources(given, low, high)
        part = made.expand(arb(0), arb(1) / 100, arb("1e-20"))
        missing = gap(given, 0.0, -np.inf, low) + gap(given, 0.0, high, np.inf)
        assert missing <= float(part.error)
        assert gap(given, 0.0, low, high) - 1.0 == pytest.approx(float(part.polynomial(arb(0)).mid()), abs=1e-9)


def test_the_tail_in_y_is_closed_form_for_one_component():
    """p_T = N(0, 1), nu = N(a, s): the bound is the tail itself, so no part of it can be left out."""
    over, under = normals([1], [0.4], [0.5]), normals([1], [0], [1])
    mean, variance = 0.3, 0.6
    found = _sources.Ratio(over, under).tail(arb(-1), arb(1.5), arb(mean), arb(variance))

    def integrand(y):
        return norm.pdf(y, 0.4, math.sqrt(0.5)) / norm.pdf(y) * norm.pdf(y, mean, math.sqrt(variance))

    truth = quad(integrand, -30, -1)[0] + quad(integrand, 1.5, 30)[0]
    assert float(found) == pytest.approx(truth, rel=1e-7)


# --- polynomials in x -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [1, 2, 5, 12])
def test_the_remainder_of_taylor_is_above_the_error_and_near_it(degree):
    """Over sources at 801 places z: what a series of so many terms leaves of e^{-(z - step)^2/2}."""
    step = 0.6
    bound = float(_sources.taylor_remainder(arb(step), degree))
    exact = 1.0865 * step ** (degree + 1) / math.sqrt(math.factorial(degree + 1))
    assert bound == pytest.approx(exact, rel=1e-12)
    worst = 0.0
    for z in np.linspace(-4.0, 4.0, 801):
        series = sum(hermite(k, z) * step**k / math.factorial(k) for k in range(degree + 1)) * math.exp(-z * z / 2)
        nearest = max(abs(z) - step, 0.0)
        worst = max(worst, abs(math.exp(-((z - step) ** 2) / 2) - series) / math.exp(-(nearest**2) / 4))
    assert worst <= bound


def hermite(k, z):
    return float(np.polynomial.hermite_e.HermiteE.basis(k)(z))


def test_a_polynomial_of_low_degree_admits_its_remainder(monkeypatch):
    monkeypatch.setattr(_sources, "MOST_DEGREE", 4)
    given = problem()
    made = sources(given, -12, 12)
    for half in (0.25, 0.5, 1.0):
        part = made.expand(arb(0), arb(half), arb("1e-20"))
        off = max(abs(float(part.polynomial(arb(u)).mid()) + 1.0 - gap(given, u * half)) for u in (-1.0, 1.0))
        assert 1e-9 < off <= float(part.error)


def test_the_error_of_a_polynomial_widens_the_distance():
    """A panel of mass 1/2 with D = 1/10 give or take 1/4 holds everything from 0 to 7/40."""
    given = problem()
    part = _sources.Expansion(arb(1), arb(1), flint.arb_poly([0.1]), arb(1) / 4)
    mass = arb(1) / 2
    found = _block._on_panel(given, part, mass, arb("1e-20"), LONG)
    true_mass = _mixtures.integral(given.law, _mixtures.Sides(fp.UnitWeight()).right, arb(0), arb(2))
    assert found.contains(true_mass * arb(0.1) + arb(0.12)) and found.contains(true_mass * arb(0.1) - arb(0.12))


def test_a_sign_that_is_not_looked_for_widens_the_distance():
    """D = u/1000, of either sign, where 2/1000 may stay unknown: the ball holds its distance all the same."""
    given = problem()
    part = _sources.Expansion(arb(1), arb(1), flint.arb_poly([0.0, 0.001]), arb(0))
    mass = arb(1) / 2
    found = _block._on_panel(given, part, mass, mass * arb("2e-3"), LONG)
    assert found.contains(arb(quad(lambda u: 0.001 * abs(u) * float(doubles(given.law, 1.0 + u)), -1, 1)[0]))


def test_panels_that_end_too_early_widen_the_distance(monkeypatch):
    """With ends at -1/2 and 1/2 most of the distance is in the bound of what lies beyond."""
    given = problem()
    distances = [
        quad(lambda x: float(doubles(given.law, x)) * abs(gap(given, x) - 1.0), -end, end, limit=400)[0]
        for end in (12.0, 0.5)
    ]
    assert distances[1] < 0.8 * distances[0]
    monkeypatch.setattr(_block, "_ends", lambda *_: (-0.5, 0.5, arb(2)))
    assert _block.distance(given, arb("1e-3"), LONG).contains(arb(distances[0]))


# --- beyond the outermost panels -----------------------------------------------------------------------------------


def test_evolved_laws_lie_below_their_majorant_and_its_tail_is_counted():
    given = problem(fp.Gaussian(-0.4, std=1.4))
    majorants = [_block._majorant(given, side) for side in (-1, 1)]
    for x in (-3.0, -1.0, 0.0, 0.8, 2.5):
        density = float(given.law.density(arb(x)).mid()) * gap(given, x)
        assert density <= min(float(m.density(arb(x)).mid()) for m in majorants) * (1 + 1e-9)
    low, high, beyond = _block._ends(given, arb("1e-3"))
    outside = sum(
        np.trapezoid([float(doubles(given.law, x)) * (gap(given, x) + 1.0) for x in ends], ends)
        for ends in (np.linspace(low - 2.0, low, 201), np.linspace(high, high + 2.0, 201))
    )
    assert 0.0 < outside <= float(beyond)


def test_both_tails_of_the_evolved_law_and_of_the_exact_one_are_in_the_bound():
    given = problem()
    low, high, beyond = _block._ends(given, arb("1e-3"))
    left, right = (_block._majorant(given, side) for side in (-1, 1))
    unit = _mixtures.Sides(fp.UnitWeight())
    parts = [
        _mixtures.integral(left, unit.left, None, arb(low)),
        _mixtures.integral(right, unit.right, arb(high), None),
        _mixtures.integral(given.law, unit.left, None, arb(low)),
        _mixtures.integral(given.law, unit.right, arb(high), None),
    ]
    assert float(beyond) == pytest.approx(sum(float(part.mid()) for part in parts), rel=1e-9)


# --- Harris' theorem -----------------------------------------------------------------------------------------------


def test_a_maximum_between_the_samples_is_found():
    """A bump of width 1/1000 at 1/3 that 101 samples of [-1, 1] do not see."""
    centre_of, width = arb(1) / 3, arb(1) / 1000

    def judge(centre, half):
        def bump(x):
            return (-((x - centre_of) / width) * ((x - centre_of) / width)).exp() + arb(1) / 10

        return bump(centre), bump(centre + arb(0, half)).upper()

    sampled = max(math.exp(-(((x - 1 / 3) * 1000) ** 2)) + 0.1 for x in np.linspace(-1.0, 1.0, 101))
    found = float(_harris._maximum(judge, arb(-1), arb(1), LONG))
    assert sampled < 0.11 and 1.1 <= found <= 1.1 * 1.001


def test_the_drift_constant_is_not_that_of_samples():
    """Of a kernel with a narrow bump of P V: K is above the maximum over fine samples, and near it."""
    weights, means, variances = np.array([0.98, 0.02]), np.array([0.0, 3.0]), np.array([0.01, 4e-4])
    alpha, s = 0.9, 0.0025
    block = _block.Block(normals(weights, means, variances), _mixtures.Path(arb(alpha), arb(s)))
    found = float(_harris._drift_constant(block, 2, arb(0.9), LONG))

    def excess(y):
        total = alpha**2 * variances + s
        logs = np.log(weights) + norm.logpdf(y[:, None], alpha * means, np.sqrt(total))
        chances = np.exp(logs - logs.max(axis=1, keepdims=True))
        squares = ((alpha * variances * y[:, None] + s * means) / total) ** 2 + variances * s / total
        return (chances * squares).sum(axis=1) / chances.sum(axis=1) - 0.9 * y**2

    fine, coarse = (float(excess(np.linspace(-4.0, 4.0, n)).max()) for n in (80001, 9))
    assert coarse < 0.95 * fine < fine <= found <= fine * 1.001


def test_only_known_kinds_are_taken():
    """Student's t is a mixture to rounding only; subclasses may be another function or law."""

    class Fivefold(fp.PolynomialWeight):
        def __call__(self, x, *, dim=1):
            return 5.0 * super().__call__(x, dim=dim)

    class Shifted(fp.Gaussian):
        def log_density(self, x):
            return super().log_density(np.asarray(x) - 1.0)

    reverse, nu = cases.two_mode_vp(), fp.Gaussian(1.5, std=0.5)
    with pytest.raises(ValueError, match=r"reverse\.target: expected a finite mixture .*StudentT"):
        proofs.weighted_tv(fp.Reverse(fp.StudentT(5.0, 0.0, 1.0), fp.VP()), nu, t=0.5)
    with pytest.raises(ValueError, match="nu: expected a finite mixture"):
        proofs.weighted_tv(reverse, Shifted(0.0, std=1.0), t=0.5)
    with pytest.raises(ValueError, match="weight: expected"):
        proofs.weighted_tv(reverse, nu, t=0.5, weight=Fivefold())
    with pytest.raises(ValueError, match="weight: expected"):
        proofs.harris(reverse, 1.0, 0.6, weight=Fivefold())


def test_the_budget_holds_where_transitions_or_weights_are_extreme():
    reverse, nu = cases.two_mode_vp(), fp.Gaussian(1.5, std=0.5)
    near = proofs.weighted_tv(reverse, nu, t=1.0 - 1e-13)
    assert near.upper == math.inf and "panels" in near.reason
    steep = proofs.weighted_tv(reverse, nu, t=1.0, weight=fp.ExponentialWeight(60.0), budget=0.3)
    assert steep.seconds < 2.0 and steep.lower <= steep.upper and "budget" in steep.reason


def test_questions_without_an_answer_are_refused():
    reverse, nu = cases.two_mode_vp(), fp.Gaussian(1.5, std=0.5)
    with pytest.raises(ValueError, match="times: expected at least two boundaries, got 1"):
        proofs.harris_blocks(reverse, [1.0])
    with pytest.raises(ValueError, match="budget: expected"):
        proofs.harris(reverse, 1.0, 0.6, budget=-1.0)
    for starts, t, reference in (([nu], [0.5], None), ({"a": nu}, [0.5], "a"), ({"a": nu}, [], None)):
        with pytest.raises(ValueError, match="starts: expected a dict"):
            proofs.forgetting_curve(reverse, starts, t=t, reference=reference)

"""The mass beyond the box, extrapolated from its edges, against closed forms."""

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from fpsolve._cells import edge_tail


def averages(law: stats.rv_continuous, half: float, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    faces = np.linspace(-half, half, n + 1)
    right = faces[1:] > 0
    masses = np.where(right, law.sf(faces[:-1]) - law.sf(faces[1:]), law.cdf(faces[1:]) - law.cdf(faces[:-1]))
    return masses * n / (2 * half), (faces[1:] + faces[:-1]) / 2


@pytest.mark.parametrize("n", [50, 399, 1000])
def test_exact_for_exponentials(n: int) -> None:
    law = stats.laplace(0.0, 0.5)
    values, x = averages(law, 5.0, n)
    assert float(edge_tail(values, [x], np.ones(n))) == pytest.approx(2 * law.sf(5.0), rel=1e-3)


@pytest.mark.parametrize(
    ("law", "half", "low", "high"),
    [
        (stats.norm(), 6.0, 1.0, 1.2),
        (stats.norm(), 3.0, 1.0, 1.4),
        (stats.norm(), 1.5, 1.0, 2.5),
        (stats.t(5), 20.0, 0.99, 1.1),
        (stats.t(3.5), 100.0, 0.99, 1.15),
        (stats.t(8), 12.0, 0.99, 1.1),
    ],
)
@pytest.mark.parametrize("weight", [lambda x: np.ones_like(x), lambda x: 1 + x * x], ids=["unit", "square"])
def test_just_above_the_truth(law, half, low, high, weight) -> None:
    values, x = averages(law, half)
    true = 2 * quad(lambda a: float(weight(np.array(a))) * law.pdf(a), half, np.inf, epsabs=0)[0]
    assert low <= float(edge_tail(values, [x], weight(x))) / true <= high


def test_no_decay_takes_the_length_of_the_box() -> None:
    x = np.linspace(-0.995, 0.995, 200)
    assert float(edge_tail(np.full(200, 0.5), [x], np.ones(200))) == pytest.approx(2 * 0.5 * 2.0)
    assert float(edge_tail(np.exp(np.abs(x)), [x], np.ones(200))) == pytest.approx(2 * np.exp(0.99) * 2.0, rel=0.01)


def test_mass_piled_up_at_a_wall_is_misplaced_not_a_tail() -> None:
    """A pile of 1e-3 in the last cell: it counts as itself, not as a density that goes on for the whole box."""
    values, x = averages(stats.norm(), 6.0)
    piled = values.copy()
    piled[-1] += 1e-3 / 0.03
    clean, with_pile = (float(edge_tail(v, [x], np.ones(400))) for v in (values, piled))
    assert clean + 1e-3 <= with_pile <= clean + 1.2e-3


def test_signs_and_zeros() -> None:
    values, x = averages(stats.norm(), 2.0)
    both = np.stack([values, -values, np.zeros_like(values), np.sign(x) * values])
    tails = edge_tail(both, [x], np.ones(400))
    np.testing.assert_allclose(tails, tails[0] * np.array([1.0, 1.0, 0.0, 1.0]), rtol=1e-12)
    compact = np.where(np.abs(x) < 1.0, values, 0.0)
    assert float(edge_tail(compact, [x], np.ones(400))) == 0.0


def test_rounding_at_the_edge_stays_rounding(rng: np.random.Generator) -> None:
    values, x = averages(stats.norm(scale=0.2), 4.0)
    noisy = values + 1e-17 * rng.standard_normal(400)
    assert float(edge_tail(noisy, [x], 1 + x * x)) < 1e-14


def test_plane_sums_four_sides() -> None:
    px, x = averages(stats.norm(), 3.0, 200)
    py, y = averages(stats.norm(0.5, 0.8), 4.0, 150)
    weight = 1 + x[:, None] ** 2 + y**2
    got = float(edge_tail(px[:, None] * py, [x, y], weight))
    second = quad(lambda a: (1 + a * a + 0.25 + 0.64) * stats.norm.pdf(a), 3.0, 20.0)[0] * 2
    third = sum(quad(lambda b: (2 + b * b) * stats.norm.pdf(b, 0.5, 0.8), *e)[0] for e in ((4.0, 20.0), (-20.0, -4.0)))
    assert 1.0 <= got / (second + third) <= 1.4


def test_leading_dimensions_and_weights_of_each_row() -> None:
    values, x = averages(stats.norm(), 2.0)
    weights = np.stack([np.ones(400), 1 + x**2])
    tails = edge_tail(np.broadcast_to(values, (3, 2, 400)), [x], weights)
    assert tails.shape == (3, 2)
    for k in range(2):
        np.testing.assert_array_equal(tails[:, k], edge_tail(values, [x], weights[k]))


@pytest.mark.parametrize("scale", [1e-150, 1e-300, 5e-324])
def test_densities_that_underflow_at_the_edge_have_no_tail(scale: float) -> None:
    x = np.linspace(-5.0, 5.0, 401)
    assert float(edge_tail(scale * np.exp(-3.0 * x**2), [x], 1.0 + x**2)) <= 1e-25 * scale
    assert float(edge_tail(np.exp(-30.0 * x**2), [x], 1.0 + x**2)) == 0.0


def test_a_support_that_ends_inside_of_the_box_has_no_tail():
    """Neither do three empty blocks make a pile of the jump behind them."""
    centres = np.linspace(-4.95, 4.95, 100)
    for inner in (0.5, 3.9, 4.75):
        density = np.where(np.abs(centres) < inner, 1.0, 0.0)
        assert float(edge_tail(density, [centres], 1.0 + centres**2)) == 0.0

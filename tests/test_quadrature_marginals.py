"""Marginals by quadrature against the closed forms of laws disguised as mere log densities."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import marginals
from fpsolve.laws import Law
from fpsolve.marginals import QuadratureMarginals

VP = fp.VP()
ROTATED = fp.GaussianMixture(
    [0.3, 0.7], [[-2.0, 0.0], [2.0, 1.0]], covs=[[[0.3, 0.1], [0.1, 0.2]], [[0.5, -0.3], [-0.3, 0.4]]]
)
MIXTURE = fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5])


@dataclass(frozen=True, eq=False)
class Opaque(Law):
    """A law that knows nothing of its blur, whatever it is: sends the family to quadrature."""

    inner: Law

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def log_density(self, x: Any) -> np.ndarray:
        return self.inner.log_density(x)

    def score(self, x: Any) -> np.ndarray:
        return self.inner.score(x)

    def sample(self, n: int, rng: Any) -> np.ndarray:
        return self.inner.sample(n, rng)


QUADRATURE: dict[str, tuple[Law, float]] = {
    # target and the relative accuracy of the density asked for, over the bulk and 11 standard deviations out
    "mixture": (MIXTURE, 1e-11),
    "spike": (fp.GaussianMixture([0.5, 0.5], [0.0, 3.0], stds=[0.01, 1.0]), 1e-11),
    "t": (fp.StudentT(5.0), 1e-11),
    "laplace": (fp.Laplace(0.3, 0.7), 1e-10),
    "uniform": (fp.Uniform(-1.0, 2.1), 1e-9),
    "rotated-2d": (ROTATED, 1e-10),
    "t-2d": (fp.StudentT(5.0, [0.0, 0.0]), 1e-10),
}


@pytest.fixture(scope="module")
def opaque() -> dict[str, fp.FromLogDensity]:
    return {name: fp.FromLogDensity(law.log_density, law.dim) for name, (law, _) in QUADRATURE.items()}


@pytest.mark.parametrize("t", [1e-4, 1e-3, 1e-2, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("name", QUADRATURE)
def test_quadrature_against_closed_forms(name: str, t: float, opaque: dict[str, fp.FromLogDensity]) -> None:
    target, accuracy = QUADRATURE[name]
    exact, found = marginals.family(target, VP), marginals.family(opaque[name], VP)
    assert type(found) is QuadratureMarginals
    axes = (
        [np.linspace(-6.0, 6.0, 200)] if target.dim == 1 else [np.linspace(-4.0, 4.0, 16), np.linspace(-3.0, 4.0, 15)]
    )
    expected, got = exact.log_density_on_axes([t], *axes)[0], found.log_density_on_axes([t], *axes)[0]
    bulk = expected > expected.max() - 60.0
    np.testing.assert_allclose(got[bulk], expected[bulk], rtol=0.0, atol=accuracy)
    x = np.random.default_rng(1).uniform(-2.0, 2.0, size=(30,) + (2,) * (target.dim - 1))
    near = exact.log_density(t, x) > expected.max() - 60.0
    np.testing.assert_allclose(found.log_density(t, x)[near], exact.log_density(t, x)[near], rtol=0.0, atol=accuracy)
    score = exact.score(t, x)[near]
    np.testing.assert_allclose(found.score(t, x)[near], score, rtol=1e-9, atol=1e-9 * (0.01 + np.abs(score).max()))


@pytest.mark.parametrize("name", QUADRATURE)
def test_quadrature_is_finite_everywhere(name: str, opaque: dict[str, fp.FromLogDensity]) -> None:
    found, dim = marginals.family(opaque[name], VP), QUADRATURE[name][0].dim
    far = np.array([-1e6, -300.0, -1.5, 0.0, 40.0, 1e4])
    for t in (1e-4, 0.05, 1.0):
        assert np.isfinite(found.log_density_on_axes([t], *[far] * dim)).all()
        points = far if dim == 1 else np.stack([far, far[::-1]], axis=-1)
        assert np.isfinite(found.log_density(t, points)).all()


def test_quadrature_on_a_density_that_underflows() -> None:
    """-inf at every Gauss-Hermite node: the other rule takes over, and log p stays finite."""
    naive = fp.FromLogDensity(lambda x: np.log(np.exp(-0.5 * x**2)), 1)
    found, exact = marginals.family(naive, VP), marginals.family(fp.Gaussian(0.0, std=1.0), VP)
    x = np.array([0.0, 5.0, 30.0, 60.0, 300.0])
    got = found.log_density_on_axes([1e-3], x)[0]
    np.testing.assert_allclose(got[:3], exact.log_density(1e-3, x[:3]), rtol=1e-9)
    assert np.all(np.isfinite(got)) and np.all(np.diff(got) < 0.0)


def test_quadrature_across_kinks_in_two_dimensions() -> None:
    target = fp.Laplace([0.1, 0.0], [1.0, 0.5])
    exact, found = marginals.family(target, VP), marginals.family(Opaque(target), VP)
    x = np.linspace(-2.0, 2.0, 12)
    for t, accuracy in ((0.02, 1e-9), (0.3, 1e-8), (1.0, 1e-9)):
        np.testing.assert_allclose(
            found.log_density_on_axes([t], x, x), exact.log_density_on_axes([t], x, x), rtol=0.0, atol=accuracy
        )


def test_quadrature_law(opaque: dict[str, fp.FromLogDensity], rng: np.random.Generator) -> None:
    for name, dim in (("mixture", 1), ("rotated-2d", 2)):
        found, exact = marginals.family(opaque[name], VP), marginals.family(QUADRATURE[name][0], VP)
        law, reference = found.law(0.2), exact.law(0.2)
        np.testing.assert_allclose(law.mean, reference.mean, atol=1e-9)
        np.testing.assert_allclose(law.cov, reference.cov, atol=1e-9)
        assert law.dim == dim and law.diffused(1.0, 1.0) is None and law.cell_probabilities(*[[0.0, 1.0]] * dim) is None
        assert law.smallest_std == pytest.approx(reference.smallest_std, rel=0.05)
        x = reference.sample(50, rng)
        np.testing.assert_allclose(law.log_density(x), reference.log_density(x), atol=1e-9)
        np.testing.assert_allclose(law.score(x), reference.score(x), rtol=1e-8, atol=1e-8)
        axes = [np.linspace(-1.0, 1.0, 4)] * dim
        np.testing.assert_allclose(law.log_density_on_axes(*axes), reference.log_density_on_axes(*axes), atol=1e-9)
        assert found.law(0.0) is opaque[name]
    draws = marginals.family(opaque["mixture"], VP).law(0.2).sample(20_000, 4)
    assert abs(draws.mean()) < 5.0 * draws.std() / np.sqrt(20_000)


def test_quadrature_at_time_zero_is_the_target(opaque: dict[str, fp.FromLogDensity]) -> None:
    for name in ("t", "rotated-2d"):
        found, law = marginals.family(opaque[name], VP), opaque[name]
        axes = [np.linspace(-1.0, 1.0, 5)] * law.dim
        np.testing.assert_array_equal(found.log_density_on_axes([0.0], *axes)[0], law.log_density_on_axes(*axes))
        x = np.asarray(law.mean) + 0.3
        assert found.log_density(0.0, x) == law.log_density(x)
        np.testing.assert_array_equal(found.score(0.0, x), law.score(x))


def test_one_rule_everywhere_would_not_do(opaque: dict[str, fp.FromLogDensity]) -> None:
    """The negative control: for a kernel narrow against the target's panels their nodes alone miss the density."""
    from fpsolve.marginals._quadrature import tensor_log_density

    found, exact = marginals.family(opaque["t"], VP), marginals.family(QUADRATURE["t"][0], VP)
    scale, variance = (float(v) for v in found.transition(1e-3))
    x = np.linspace(-3.0, 3.0, 50)[:, None]
    uncut = tensor_log_density(found.target, found.panels, scale, np.sqrt(variance), x)
    assert np.abs(uncut - exact.log_density(1e-3, x[:, 0])).max() > 1.0

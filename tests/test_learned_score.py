"""A learned score goes through everything: two-dimensional data, trained here, to bounds and particles."""

import cases
import numpy as np
import pytest
from learned import Learned

import fpsolve as fp
from fpsolve import scores

pytestmark = pytest.mark.slow

T_MIN = 0.02
PROCESS = fp.VP()


@pytest.fixture(scope="module")
def target():
    return fp.KernelDensity(fp.data.standardise(fp.data.old_faithful()).samples)


@pytest.fixture(scope="module")
def learned(target):
    """Trained on draws from the target, so that the target's own score is the truth."""
    model = Learned(target.sample(8_000, 1), PROCESS, t_min=T_MIN, seed=0)
    return scores.from_noise_prediction(model, PROCESS, dim=2)


@pytest.fixture(scope="module")
def grid():
    return fp.Grid.uniform([(-6.0, 6.0), (-6.0, 6.0)], cells=(72, 72))


@pytest.fixture(scope="module")
def table(learned, grid):
    return scores.tabulate(learned, grid, np.geomspace(T_MIN, 1.0, 48))


@pytest.fixture(scope="module")
def reverse(target, table):
    """Both reverse dynamics: the exact score, and the learned one from its table."""
    model = scores.tabulated(table, outside="linear")
    return {"exact": fp.Reverse(target, PROCESS), "learned": fp.Reverse(target, PROCESS, score=model)}


@pytest.fixture(scope="module")
def starts(reverse):
    return {
        "exact": reverse["exact"].marginal(1.0),
        "prior": PROCESS.prior(dim=2),
        "shifted": fp.Gaussian([1.5, -1.5], std=0.5),
    }


@pytest.fixture(scope="module")
def runs(reverse, starts):
    """Half the width of the table's cells: at its own width the estimate is an eighth of what is left of the start."""
    fine = fp.Grid.uniform([(-6.0, 6.0), (-6.0, 6.0)], cells=(144, 144))
    save_at = [1.0, 0.7, 0.4, 0.2, 0.1, 0.05, T_MIN]
    return {
        name: fp.evolve(dynamics, starts, t_min=T_MIN, grid=fine, steps=120, save_at=save_at, scheme="tr-bdf2")
        for name, dynamics in reverse.items()
    }


def test_it_has_learned_something_and_not_everything(learned, target):
    found = scores.probe(learned, PROCESS, target=target)
    assert not found.problem and found.looks_like == ("noise prediction",), str(found)
    curve = scores.error_curve(learned, target, PROCESS, np.geomspace(1.0, T_MIN, 6))
    untrained = scores.error_curve(
        lambda t, x: -learned.model.gaussian(t, x) / np.sqrt(PROCESS.variance(0.0, t)), target, PROCESS, curve.t.values
    )
    print(curve[["value", "error", "relative", "noise_units"]].to_dataframe())
    assert float(curve.relative.max()) < 0.3 and float(curve.error.max()) < 1e-3
    # at least twice as good as the Gaussian it starts from, and yet wrong by more than the quadrature
    assert np.all(curve.value[2:] < untrained.value[2:] / 2.0)
    assert np.all(curve.value > 2.0 * curve.error)


def test_its_table_is_as_good_as_itself(learned, table):
    model, rms = scores.tabulated(table), float(table.interpolation_rms.max())
    print(f"interpolation error at most {model.error:.2g}, root mean square {rms:.2g}")
    x = np.random.default_rng(2).uniform(-5.0, 5.0, (2000, 2))
    for t in (0.9, 0.3, 0.03):
        gap = np.abs(model(t, x) - learned(t, x))
        assert gap.max() <= 1.5 * model.error and np.sqrt(np.mean(gap**2)) <= 1.5 * rms
    # far below what it is wrong by (the error curve)
    assert rms < 0.02


def test_starts_are_forgotten_under_it(runs):
    curve = fp.forgetting_curve(runs["learned"], reference="exact")
    distance, error = curve.distance.sel(start="shifted").values, curve.error.sel(start="shifted").values
    print(distance, error)
    assert np.all(np.diff(distance) < 0.0) and distance[-1] < 0.02 * distance[0]
    assert np.all(error < 0.05 * distance)
    # the same rate as with the exact score within a third: forgetting is the forward process's doing
    exact = fp.forgetting_curve(runs["exact"], reference="exact").distance.sel(start="shifted").values
    assert 2.0 / 3.0 < distance[-1] / exact[-1] < 1.5


def cost_of(runs, start="exact"):
    """Weighted TV at the end between the samplers with the learned and the exact score."""
    ends = [runs[name].density.isel(t=-1).sel(start=start, drop=True) for name in ("learned", "exact")]
    return fp.weighted_tv(*ends)


def test_what_it_costs_is_within_what_girsanov_allows(runs, reverse, grid, starts):
    cost = cost_of(runs)
    plain = fp.weighted_tv(
        *[runs[name].density.isel(t=-1).sel(start="exact", drop=True) for name in ("learned", "exact")],
        weight=fp.UnitWeight(),
    )
    coarse = fp.Grid.uniform(grid.bounds, cells=(48, 48))
    bound = fp.bounds.girsanov(reverse["exact"], reverse["learned"], t_min=T_MIN, grid=coarse)
    print(f"cost {float(cost.distance):.4f} +- {float(cost.error):.1g}, at most {bound.weighted:.3f}")
    print(f"plain TV {0.5 * float(plain.distance):.4f}, at most {bound.total_variation:.4f}; KL {bound.value:.4g}")
    assert bound.value is not None and bound.value > 0.0
    assert 0.02 < float(cost.distance) <= bound.weighted
    assert 0.5 * float(plain.distance) <= bound.total_variation
    # a bound that is no bound would be noticed: it is not a hundred times too large
    assert bound.total_variation < 10.0 * 0.5 * float(plain.distance)


def test_its_error_and_not_the_start_decides(runs):
    """The prior's error is forgotten to far below what the score costs."""
    ends = runs["learned"].isel(t=-1)
    start = fp.weighted_tv(ends.density.sel(start="prior", drop=True), ends.density.sel(start="exact", drop=True))
    assert float(start.distance) < 1e-3 * float(cost_of(runs).distance)


def test_its_assumptions_are_fitted_in_a_region(target, learned):
    """Its tails are those of the Gaussian it was built on: seen from far out, not from where the bumps end."""
    dynamics = fp.Reverse(target, PROCESS, score=learned)
    for t in cases.sample((0.2, 0.05, T_MIN), (0.2, T_MIN)):
        found = fp.bounds.assumptions(dynamics, t, region=12.0)
        assert found.method == "fitted" and found.value is not None and found.value > 0.2, found
        x = np.random.default_rng(0).uniform(-8.0, 8.0, (2000, 2))
        along = np.sum(x * learned(t, x), axis=-1)
        assert np.all(along <= -found.value * np.sum(x**2, axis=-1) + 1.01 * found.offset)
    # a small region: what is claimed is that it holds there; that it goes on is the trend over growing radii
    near = fp.bounds.assumptions(dynamics, 0.05, region=5.5)
    assert not near.certified and near.unchecked == ("both inequalities beyond |x| = 5.5",)
    axis = np.linspace(-5.5, 5.5, 401)
    x = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    x = x[np.hypot(x[:, 0], x[:, 1]) <= 5.5]
    s = learned(0.05, x)
    assert np.all(np.sum(x * s, axis=-1) <= -near.value * np.sum(x**2, axis=-1) + near.offset)
    assert np.all(np.hypot(s[:, 0], s[:, 1]) <= near.growth * (1.0 + np.hypot(x[:, 0], x[:, 1]) ** near.power))
    # far out the model is the score of a Gaussian: its least pull is the inverse of the largest variance
    law = fp.Gaussian(learned.model.mean, cov=learned.model.cov)
    widest = np.linalg.eigvalsh(fp.Reverse(law, PROCESS).marginal(0.05).cov)[-1]
    assert 0.0 < near.value <= 0.5 / widest


def test_a_pull_that_ends_beyond_the_region_is_no_dissipativity(target, learned):
    """The learned score over a high power: nearly the same on |x| <= 5.5, and nothing far out."""

    def fading(t, x):
        return learned(t, x) / (1.0 + (np.sum(np.square(x), axis=-1, keepdims=True) / 900.0) ** 4)

    dynamics = fp.Reverse(target, PROCESS, score=scores.checked(fading, 2))
    near = fp.bounds.assumptions(dynamics, 0.05, region=5.5)
    assert near.value is None and "dissipative tail" in near.reason


def test_particles_follow_it(runs, reverse, starts):
    cloud = fp.particles.simulate(
        reverse["learned"], starts["prior"], n=20_000, steps=300, method="exponential-integrator", seed=3, t_min=T_MIN,
        save_at=[T_MIN],
    )  # fmt: skip
    agrees = fp.particles.compare(runs["learned"], cloud, start="prior")
    assert agrees.attrs["verdict"] == "agree"
    # and not the exact score's density
    assert fp.particles.compare(runs["exact"], cloud, start="prior").attrs["verdict"] != "agree"

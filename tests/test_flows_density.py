"""Densities carried by flows: closed forms, contraction to spikes, distances with errors that cover."""

from typing import Any

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import closed_form, flows

EDM = fp.EDM(sigma_min=0.05, sigma_max=3.0)
POINTS = fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=1e-6)
MIXTURE = fp.GaussianMixture([0.3, 0.7], [-1.5, 0.8], stds=[0.3, 0.4])
PLANE = fp.GaussianMixture([0.4, 0.6], [[-1.0, 0.0], [1.0, 0.5]], stds=0.5)


def test_probability_flow_against_the_oracle() -> None:
    """eta = 0 with the exact score in 1D: the map that matches quantiles, which shares no code with this."""
    reverse, start, x = fp.Reverse(MIXTURE, fp.VP(), eta=0.0), fp.Gaussian(1.5, std=0.5), np.linspace(-2.0, 2.0, 41)
    value = flows.log_density(reverse, start, x, t_min=0.05, rtol=1e-10)
    np.testing.assert_allclose(value, closed_form.log_density(reverse, start, 0.05, x), atol=1e-7)


@pytest.mark.parametrize("target", [MIXTURE, PLANE, fp.Laplace(0.3, 0.7)], ids=["line", "plane", "laplace"])
def test_the_exact_score_carries_the_marginals(target: Any) -> None:
    reverse = fp.Reverse(target, EDM)
    x = np.linspace(-2.0, 2.0, 12).reshape((-1,) if target.dim == 1 else (-1, 2))
    value = flows.log_density(reverse, reverse.marginal(3.0), x, t_min=0.2)
    np.testing.assert_allclose(value, reverse.marginal(0.2).log_density(x), atol=2e-6)


def test_a_linear_flow_in_the_plane() -> None:
    turn = np.array([[-1.0, -2.0], [2.0, -0.5]])
    from scipy.linalg import expm

    start, x = fp.Gaussian([0.5, -0.3], cov=[[1.0, 0.2], [0.2, 0.5]]), np.array([[0.1, 0.2], [-0.4, 0.3], [1.0, 1.0]])
    flow = expm(0.7 * turn)
    end = fp.Gaussian(flow @ start.mean, cov=flow @ start.cov @ flow.T)
    value = flows.log_density(lambda z: z @ turn.T, start, x, duration=0.7, rtol=1e-10)
    np.testing.assert_allclose(value, end.log_density(x), atol=1e-8)


def test_sampler_and_autonomous_flow_agree() -> None:
    score = fp.scores.product_form(MIXTURE, EDM)
    reverse = fp.Reverse(MIXTURE, EDM, score=score)
    start, x = reverse.marginal(3.0), np.linspace(-2.0, 1.5, 30)
    flow = flows.log_density(score, start, x, duration=score.duration(0.05))
    np.testing.assert_allclose(flows.log_density(reverse, start, x, t_min=0.05), flow, atol=1e-6)


def test_distance_of_gaussians() -> None:
    """x' = -x/2 makes N(0, 1) narrower; the distance to another Gaussian by plain quadrature."""
    x = np.linspace(-9.0, 9.0, 90_001)
    end, other = fp.Gaussian(0.0, std=np.exp(-0.5)), fp.Gaussian(0.4, std=0.8)
    exact = float(np.sum((1.0 + x**2) * np.abs(end.density(x) - other.density(x))) * (x[1] - x[0]))
    found = flows.distance(lambda z: -0.5 * z, fp.Gaussian(0.0, std=1.0), other, duration=1.0)
    assert abs(found.value - exact) <= found.error < 1e-4
    overlap = float(np.sum((1.0 + x**2) * np.minimum(end.density(x), other.density(x))) * (x[1] - x[0]))
    assert found.overlap == pytest.approx(overlap, abs=1e-5)


@pytest.mark.parametrize("cells", [128, 256, 512])
@pytest.mark.parametrize("target", [MIXTURE, POINTS], ids=["mixture", "points"])
def test_errors_cover_and_the_exact_flow_is_at_distance_zero(target: Any, cells: int) -> None:
    """The start p_T under the exact score is p_t: the distance is zero up to its error."""
    reverse = fp.Reverse(target, EDM)
    zero = flows.distance(reverse, reverse.marginal(3.0), reverse.marginal(0.2), t_min=0.2, cells=cells)
    assert abs(zero.value) <= zero.error < 0.1
    score = fp.scores.product_form(target, EDM)
    arguments: dict[str, Any] = {"start": reverse.marginal(3.0), "law": reverse.marginal(0.2)}
    rough, fine = (
        flows.distance(score, **arguments, duration=score.duration(0.2), cells=n) for n in (cells, 8 * cells)
    )
    assert abs(rough.value - fine.value) <= rough.error + fine.error
    assert fine.error < 2e-2 < fine.value


def test_evolution_on_cells_agrees() -> None:
    """`evolve` at eta = 0 carries masses of cells between origins of faces; here densities are carried."""
    score = fp.scores.product_form(MIXTURE, EDM)
    reverse = fp.Reverse(MIXTURE, EDM, score=score, eta=0.0)
    start, grid = reverse.marginal(3.0), fp.Grid.uniform((-17.0, 17.0), cells=1200)
    run = fp.evolve(reverse, start, t_min=0.2, grid=grid, steps=60, save_at=[0.2])

    def carried(x: Any) -> Any:
        flat = flows.log_density(score, start, x.ravel(), duration=score.duration(0.2), rtol=1e-9)
        return np.exp(flat).reshape(x.shape)

    off = np.abs(run.density.values[0, -1] - grid.cell_average(carried)).sum() * grid.volume
    assert off < 1e-9
    end = run.density[0, -1].copy(data=grid.cell_average(reverse.marginal(0.2)))
    on_cells = fp.weighted_tv(run.density[0, -1], end)
    found = flows.distance(score, start, reverse.marginal(0.2), duration=score.duration(0.2))
    assert abs(found.value - float(on_cells.distance)) <= found.error + float(on_cells.error)


def test_spikes_do_no_harm() -> None:
    """All mass contracted to next to nothing: distance to a wide law is the sum of both weighted masses."""
    law = fp.Gaussian(0.0, std=1.0)
    for cells, size in ((256, 0.1), (4096, 0.01)):
        found = flows.distance(lambda z: -20.0 * z, fp.Gaussian(0.0, std=1.0), law, duration=1.0, cells=cells)
        # a node on the spike sees it as wide as an interval: the error says so
        assert abs(found.value - 3.0) <= found.error < size


def by_panels(q: Any, p: Any, centres: Any, stds: Any) -> float:
    """``int V |q - p|`` by Simpson's rule on nodes that crowd at every component."""
    near = np.asarray(centres)[:, None] + np.asarray(stds)[:, None] * np.linspace(-12.0, 12.0, 4001)
    x = np.unique(np.concatenate([near.ravel(), np.linspace(-15.0, 15.0, 60001)]))
    ends, middle = ((1.0 + at**2) * np.abs(q.density(at) - p.density(at)) for at in (x, 0.5 * (x[1:] + x[:-1])))
    return float(((ends[1:] + ends[:-1] + 4.0 * middle) * np.diff(x)).sum() / 6.0)


@pytest.mark.parametrize("narrow", ["start", "law"])
def test_laws_narrower_than_the_intervals_have_no_error(narrow: str) -> None:
    """Rules that miss a rare narrow component agree: they said 4e-9 where 1.4e-2 were missing."""
    wide, thin = fp.Gaussian(-1.0, std=0.5), fp.GaussianMixture([0.999, 0.001], [-1.0, 0.3], stds=[0.5, 1e-4])
    start, law = (thin, wide) if narrow == "start" else (wide, thin)
    with pytest.warns(fp.UnresolvedWarning, match=f"{narrow}: intervals of .* cells = "):
        found = flows.distance(lambda x: -0.5 * x, start, law, duration=1.0, cells=256)
    assert found.error == np.inf


@pytest.mark.parametrize("cells", [64, 128, 256, 512])
def test_errors_cover_contracted_mixtures(cells: int) -> None:
    """Peaks of the end between two nodes are seen by no rule; what they may hide is part of the error."""
    rng = np.random.default_rng(7)
    for rate in (0.3, 2.0, 4.0, 6.0):
        means, stds, weights = rng.uniform(-2.0, 2.0, 3), rng.uniform(0.4, 0.8, 3), rng.dirichlet(np.ones(3))
        law, start = fp.Gaussian(rng.uniform(-1.0, 1.0), std=0.9), fp.GaussianMixture(weights, means, stds=stds)
        shrunk = np.exp(-rate) * means, np.exp(-rate) * stds
        end = fp.GaussianMixture(weights, shrunk[0], stds=shrunk[1])
        truth = by_panels(end, law, [*shrunk[0], 0.0], [*shrunk[1], 1.0])
        found = flows.distance(lambda x, rate=rate: -rate * x, start, law, duration=1.0, cells=cells)
        assert abs(found.value - truth) <= found.error <= 0.5, rate


def test_peaks_between_two_nodes_may_hide_an_overlap() -> None:
    """All mass ends halfway between two nodes of the law's rule: 3.4e-2 of overlap that no node sees."""
    law, cells = fp.Gaussian(0.0, std=1.0), 64
    at = float(np.diff(_box_of(law)).item()) / cells * 0.5
    start, shrink = fp.Gaussian(at * np.exp(5.0), std=1.0), np.exp(-5.0)
    truth = by_panels(fp.Gaussian(at, std=shrink), law, [at, 0.0], [shrink, 1.0])
    found = flows.distance(lambda x: -5.0 * x, start, law, duration=1.0, cells=cells)
    print("hidden:", found, "truth", truth)
    assert abs(found.value - truth) <= found.error <= 0.5


def _box_of(law: Any) -> Any:
    from fpsolve.evolution import covering_box

    return covering_box([law], None, 1e-9)[0]


def test_bad_input() -> None:
    score = fp.scores.product_form(MIXTURE, EDM)
    with pytest.raises(ValueError, match="start: expected dimension 1 as the flow has, got dimension 2"):
        flows.log_density(score, fp.Gaussian([0.0, 0.0], std=1.0), [[0.0, 0.0]], duration=1.0)
    with pytest.raises(ValueError, match="cells: expected an even number, to be halved, got 33"):
        flows.distance(score, MIXTURE, MIXTURE, duration=1.0, cells=33)
    with pytest.raises(ValueError, match="start: expected dimension 1 as the law has, got dimension 2"):
        flows.distance(score, PLANE, MIXTURE, duration=1.0)

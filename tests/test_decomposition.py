"""Error decomposition: the identity, closed-form recursions, every sampler, bounds, and controls that must fail."""

import cases
import numpy as np
import pytest

import fpsolve as fp
from fpsolve import decomposition

PRIOR = fp.Gaussian(0.0, std=1.0)
LINE = fp.Grid.uniform((-6, 6), cells=240)


def shifted_score(reverse, size):
    """The exact score plus a constant."""
    return lambda t, x: reverse.score(t, x) + size


def geometric(T, t_min, n):
    """Steps geometric in t + 0.1."""
    times = np.geomspace(T + 0.1, t_min + 0.1, n + 1) - 0.1
    times[[0, -1]] = T, t_min
    return times


def ou_errors(cells=240, **given):
    given = {"start": PRIOR, "times": geometric(3.0, 0.01, 60)} | given
    grid = fp.Grid.uniform((-6, 6), cells=cells)
    return decomposition.errors(cases.ou_mixture(), "euler-maruyama", grid=grid, **given)


def test_reference_numbers_of_the_ou_mixture():
    """Euler-Maruyama in 60 steps geometric in t + 0.1: what early and late errors leave."""
    found = ou_errors(cells=400)
    steps = found.sel(source="discretization")
    assert steps.local[0] == pytest.approx(4.24e-2, abs=1e-4)
    assert steps.propagated[0] == pytest.approx(3.5e-4, abs=1e-5)
    assert steps.local[54] == pytest.approx(1.2e-2, abs=4e-4)
    assert steps.propagated[54] == pytest.approx(7.8e-3, abs=1e-4)
    assert found.attrs["sum_of_terms"] == pytest.approx(0.211, abs=1e-3)
    assert found.attrs["total"] == pytest.approx(0.172, abs=5e-4)
    assert found.closure.max() < 1e-12
    assert found.reference_error.max() < 1e-5


def test_the_total_of_six_hundred_cells_and_sixty_steps():
    target = fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5])
    times = geometric(3.0, 0.01, 60)
    times[[0, -1]] = 3.0, 0.01
    found = decomposition.errors(
        fp.Reverse(target, fp.OrnsteinUhlenbeck(T=3.0)), "euler-maruyama", start=PRIOR,
        grid=fp.Grid.uniform((-6, 6), cells=600), times=times, progress=False,
    )  # fmt: skip
    assert found.attrs["total"] == pytest.approx(0.1719, abs=1e-4) and found.closure.max() <= 1e-12


@pytest.mark.parametrize("perturbed", [False, True])
@pytest.mark.parametrize("name", ["euler-maruyama", "exponential-integrator", "ddpm", "ddim", "heun", "edm"])
def test_the_identity_closes_for_every_sampler(name, perturbed):
    reverse = cases.two_mode_vp()
    score = shifted_score(reverse, 0.2) if perturbed else None
    options = {"churn": 5.0} if name == "edm" else {}
    found = decomposition.errors(
        reverse, name, start=PRIOR, grid=LINE, steps=20, t_min=0.02, score=score, blocks=3, **options
    )
    assert found.closure.max() < 1e-12
    # the exact chain on the grid is the exact law, to the accuracy of 240 cells
    assert found.reference_error.max() < (2e-2 if name in {"heun", "edm"} else 1e-3)
    total, parts = found.attrs["total"], found.attrs["sum_of_terms"]
    off = float(found.reference_error[-1])
    assert total <= parts + off + 1e-12
    # remainders add up, signed, to the measured difference
    v = 1.0 + LINE.x**2
    signed = found["sampled"] - found["exact"] - found["remainder"].sum("source")
    assert float((abs(signed) * v).sum()) * LINE.volume <= off + 1e-12
    assert (found.propagated <= found.bound * (1 + 1e-9) + 1e-12).all()
    assert (found.sel(source="score").local.max() > 1e-3) == perturbed


@pytest.mark.parametrize(
    ("name", "eta"), [("euler-maruyama", 0.0), ("ddim", 0.0), ("ddim", 0.5), ("euler-maruyama", 1.3)]
)
def test_other_noise(name, eta):
    vp = cases.two_mode_vp()
    reverse = fp.Reverse(vp.target, vp.process, eta=eta)
    found = decomposition.errors(reverse, name, start=PRIOR, grid=LINE, steps=25, t_min=0.05, blocks=0)
    assert found.closure.max() < 1e-12
    assert found.reference_error.max() < 2e-2
    assert found.sel(source="discretization").propagated.sum() > 0.01


def test_gaussian_recursion_gives_the_total():
    """m_0 = 1, v_0 = 1/2 under VP: known errors of uniform Euler-Maruyama (0.1493, 0.0725) from N(0, 1)."""
    reverse = fp.Reverse(fp.Gaussian(1.0, std=np.sqrt(0.5)), fp.VP())
    grid = fp.Grid.uniform((-7, 7), cells=400)
    for steps, expected in ((25, 0.1493), (50, 0.0725)):
        found = decomposition.errors(
            reverse, "euler-maruyama", start=PRIOR, grid=grid, steps=steps, t_min=0.0, blocks=0
        )
        assert found.attrs["total"] == pytest.approx(expected, abs=2e-4)


def test_exact_start_has_no_initialization_error_and_exact_score_no_score_error():
    reverse = cases.ou_mixture()
    found = ou_errors(start=reverse.marginal(3.0), blocks=0)
    assert found.sel(source="initialization").local[0] == 0.0
    assert found.sel(source="score").propagated.max() == 0.0
    assert np.isnan(found.sel(source="score").discount).all()


def test_initialization_error_is_the_forgetting_of_the_exact_dynamics():
    reverse, start = cases.ou_mixture(), fp.Gaussian(1.5, std=0.5)
    found = ou_errors(start=start, blocks=0)
    density = fp.closed_form.density(reverse, start, 0.01, LINE.x)
    exact = reverse.marginal(0.01).density(LINE.x)
    expected = float((np.abs(density - exact) * (1 + LINE.x**2)).sum() * LINE.volume)
    assert found.sel(source="initialization").propagated[0] == pytest.approx(expected, rel=1e-2)


def test_discretization_falls_with_the_step_and_score_error_stays():
    reverse = cases.ou_mixture()
    parts = []
    for n in (40, 80):
        found = ou_errors(times=geometric(3.0, 0.01, n), score=shifted_score(reverse, 0.1), blocks=0)
        parts.append(found.alive.isel(t=-1))
    ratio = parts[0] / parts[1]
    assert float(ratio.sel(source="discretization")) == pytest.approx(2.0, abs=0.3)
    assert float(ratio.sel(source="score")) == pytest.approx(1.0, abs=0.1)


def test_negative_control_a_wrong_sign_score_is_a_score_error():
    reverse = cases.ou_mixture()
    wrong = fp.scores.perturbed(reverse.score, fp.scores.errors.Scaling(-1.5))
    found = ou_errors(score=wrong, blocks=0, start=reverse.marginal(3.0))
    assert float(found.sel(source="score").propagated.max()) > 1.0
    assert found.attrs["total"] > 10 * 0.172


def test_the_bound_needs_its_contraction():
    """Late errors are discounted little, early ones much; dropping the contraction is a different number."""
    found = ou_errors()
    contraction = found.contraction.values
    assert contraction[-1] == 1.0
    assert contraction[0] < 0.5
    steps = found.sel(source="discretization")
    assert steps.discount[0] < 0.02
    assert steps.discount[-1] == pytest.approx(1.0)
    assert (steps.discount <= contraction[1:] * (1 + 1e-9)).all()


def test_the_plane_without_matrices():
    reverse = fp.Reverse(fp.Gaussian([0.5, 0.0], std=0.6), fp.OrnsteinUhlenbeck(T=2.0))
    grid = fp.Grid.uniform([(-6, 6), (-6, 6)], cells=64)
    found = decomposition.errors(reverse, "ddpm", start=fp.Gaussian([0.0, 0.0], std=1.0), grid=grid, steps=5, t_min=0.2)
    assert found.attrs["reference"] == "finite volumes"
    assert found.closure.max() < 1e-12
    assert found.attrs["sum_of_bounds"] >= found.attrs["sum_of_terms"] >= found.attrs["total"] - 0.02
    assert found.sampled.dims == ("x", "y")


@pytest.mark.slow
def test_a_plane_of_many_cells_without_matrices():
    reverse, grid = cases.rotated_five(), fp.Grid.uniform([(-6.5, 6.5), (-6.5, 6.5)], cells=cases.sample(256, 128))
    start = fp.Gaussian([0.0, 0.0], std=1.0)
    found = decomposition.errors(reverse, "ddpm", start=start, grid=grid, times=[1.0, 0.8], progress=False)
    assert found.attrs["reference"] == "finite volumes"
    assert found.closure.max() < 1e-12 and found.reference_error.max() < 2e-3
    assert found.attrs["total"] <= found.attrs["sum_of_terms"] + float(found.reference_error[-1])
    assert found.attrs["sum_of_terms"] <= found.attrs["sum_of_bounds"] * (1 + 1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sampler": "milstein"}, "sampler: expected one of 'euler-maruyama'"),
        ({"times": [3.5, 1.0]}, r"times: expected forward times in \[0, T=3\]"),
        ({"times": [1.0, 2.0]}, "times: expected at least two decreasing"),
        ({"times": [3.0, 0.01], "t_min": 0.1}, r"times: expected a grid in \[t_min, T\]"),
        ({"times": None}, "exactly one of these, got none"),
        ({"times": None, "steps": 5}, "t_min: expected the forward time"),
        ({"times": None, "steps": 5, "t_min": 4.0}, r"t_min: expected a number in \[0, 3\)"),
        ({"start": np.ones(100)}, r"start: expected an array of shape \(240,\)"),
        ({"start": np.ones(240)}, "start: expected a probability inside of the box, got mass 12"),
        ({"start": fp.Gaussian([0.0, 0.0], std=1.0)}, "start: expected dimension 1"),
        ({"grid": fp.Grid.uniform([(-6, 6), (-6, 6)], cells=16)}, "grid: expected dimension 1"),
        ({"times": [3.0, 0.0], "score": lambda t, x: -x}, "t_min: expected a finite number > 0"),
    ],
)
def test_bad_input_is_one_sentence(change, words):
    given = {"sampler": "ddpm", "times": [3.0, 1.0], "start": PRIOR, "grid": LINE} | change
    with pytest.raises(ValueError, match=words) as told:
        decomposition.errors(cases.ou_mixture(), given.pop("sampler"), **given)
    assert "\n" not in str(told.value)


def test_the_coefficient_is_that_of_the_weighted_norms(rng):
    """``sum_j W_j |P_ij - P_kj| / (V_i + V_k)`` over all pairs, in weights that vary a hundredfold."""
    matrix, v, w = rng.dirichlet(np.ones(9), size=9), np.geomspace(1.0, 100.0, 9), np.geomspace(30.0, 1.0, 9)
    pairs = [(i, k) for i in range(9) for k in range(i)]
    truth = max(float(w @ np.abs(matrix[i] - matrix[k])) / (v[i] + v[k]) for i, k in pairs)
    assert decomposition._chain.coefficient(matrix, v, w) == pytest.approx(truth, rel=1e-12)


def test_negative_entries_of_a_kernel_count_by_their_size():
    """Rows (1.1, -0.1) and (0, 1): the first takes V = (1, 3) to 1.4, not to 0.8."""
    grid = fp.Grid.uniform((0.0, 2.0), cells=2)
    kernel = fp.kernels.Kernel(np.array([[1.1, -0.1], [0.0, 1.0]]), grid, 1.0, 0.5)
    assert kernel.negative > 0.0
    np.testing.assert_allclose(decomposition._chain.pulled(kernel, np.array([[1.0, 3.0]])), [[1.4, 3.0]])

"""Transition kernels: row sums, closed forms, orders, transposes, composition, and what they refuse."""

from itertools import pairwise

import cases
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.sparse.linalg import expm_multiply
from scipy.special import ndtr

import fpsolve as fp
from fpsolve import closed_form, kernels, laws
from fpsolve.solver import generator_matrix, rates_at


def steps_in_clock(reverse, last, count):
    times = reverse.clock_inverse(np.linspace(reverse.clock(reverse.horizon), reverse.clock(last), count + 1))
    times[[0, -1]] = reverse.horizon, last
    return times


def normal_cells(mean, std, faces):
    return np.diff(ndtr((faces - mean) / std))


@pytest.fixture(scope="module")
def ou():
    return cases.ou_mixture()


@pytest.fixture(scope="module")
def gaussian():
    return fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())


def every_kernel(reverse, grid, t0, t1):
    yield kernels.exact(reverse, grid, t0, t1)
    yield kernels.exact(reverse, grid, t0, t1, source="point")
    yield kernels.finite_volume(reverse, grid, t0, t1)
    yield kernels.finite_volume(reverse, grid, t0, t1, scheme="backward-euler", steps=40)
    for name in ("euler-maruyama", "exponential-integrator", "ddpm", "ddim", "heun", "edm"):
        yield kernels.sampler(name, reverse, grid, t0, t1)
        yield kernels.sampler(name, reverse, grid, t0, t1, source="point")
    yield kernels.sampler("edm", reverse, grid, t0, t1, churn=20.0, steps=100)
    yield kernels.sampler("ddim", reverse, grid, t0, t1, eta=0.0)
    if grid.dim == 1:
        yield kernels.sampler("heun", reverse, grid, t0, t1, source="spline")
        yield kernels.sampler("ddim", reverse, grid, t0, t1, source="spline", eta=0.1)


@pytest.mark.parametrize("times", [(2.0, 0.5), (0.3, 0.28), (0.05, 0.01)])
def test_rows_sum_to_one_on_a_line(ou, times):
    grid = fp.Grid.uniform((-6, 6), cells=201)
    for kernel in every_kernel(ou, grid, *times):
        assert np.abs(kernel.matrix.sum(axis=1) - 1.0).max() <= 1e-13, kernel.name
        assert not kernel.matrix.flags.writeable


def test_rows_sum_to_one_in_the_plane():
    grid = fp.Grid.uniform([(-5, 5), (-4, 4)], cells=(22, 17))
    for kernel in every_kernel(cases.rotated_five(), grid, 0.5, 0.4):
        assert np.abs(kernel.matrix.sum(axis=1) - 1.0).max() <= 1e-13, kernel.name
        assert kernel.negative <= 1e-15


def test_exact_rows_of_a_gaussian_target_are_the_normal_law_of_theory(gaussian):
    """P(y, .) = N(m_t + G (y - m_T), v_t sigma2/v_T)."""
    grid, process, (t0, t1) = fp.Grid.uniform((-6, 6), cells=150), gaussian.process, (1.0, 0.2)
    kernel = kernels.exact(gaussian, grid, t0, t1, source="point")
    mean, var = (
        [process.scale(0, t) * 0.5 for t in (t0, t1)],
        [process.scale(0, t) ** 2 * 0.25 + process.variance(0, t) for t in (t0, t1)],
    )
    slope = var[1] * process.scale(t1, t0) / var[0]
    std = np.sqrt(var[1] * process.variance(t1, t0) / var[0])
    rows = np.stack([normal_cells(mean[1] + slope * (y - mean[0]), std, grid.faces) for y in grid.x])
    print("exact rows of a Gaussian:", np.abs(kernel.matrix - rows).max(), "defect", kernel.defect)
    assert np.abs(kernel.matrix - rows).max() <= 1e-12
    assert np.allclose(kernel.defects, 1.0 - rows.sum(axis=1), atol=1e-12)


@pytest.mark.parametrize(("source", "order"), [("cell", 4), ("point", 2)])
def test_order_of_pushing_cell_averages(gaussian, source, order):
    start = fp.Gaussian(-0.5, std=0.6)
    errors = []
    for cells in (40, 80, 160):
        grid = fp.Grid.uniform((-9, 9), cells=3 * cells // 2)
        kernel = kernels.exact(gaussian, grid, 1.0, 0.8, source=source) @ kernels.exact(
            gaussian, grid, 0.8, 0.2, source=source
        )
        truth = closed_form.cell_averages(gaussian, start, 0.2, grid)
        errors.append(np.abs(kernel.push(grid.cell_average(start)) - truth).sum() * grid.volume)
    slopes = np.diff(np.log(errors)) / np.log(0.5)
    print(source, errors, slopes)
    assert abs(slopes[-1] - order) <= 0.2


def test_sixty_exact_kernels_of_600_cells_reach_the_closed_form(ou):
    grid = fp.Grid.uniform((-6, 6), cells=600)
    q = grid.cell_average(fp.Gaussian(0.0, std=1.0))
    for t0, t1 in pairwise(steps_in_clock(ou, 0.01, 60)):
        kernel = kernels.exact(ou, grid, t0, t1)
        q = kernel.push(q)
        assert kernel.averaged == 0.0
    truth = closed_form.cell_averages(ou, fp.Gaussian(0.0, std=1.0), 0.01, grid)
    error = np.abs(q - truth).sum() * grid.volume
    print("L1 error after 60 kernels:", error)
    assert error <= 1e-6


def test_a_start_narrower_than_any_cell_is_the_row_of_its_cell(ou):
    grid = fp.Grid.uniform((-6, 6), cells=240)
    kernel = kernels.exact(ou, grid, 3.0, 0.3, source="point")
    truth = closed_form.cell_averages(ou, fp.PointMass(float(grid.x[70])), 0.3, grid)
    assert np.abs(kernel.matrix[70] / grid.volume - truth).max() <= 1e-9


@pytest.mark.parametrize("target", [fp.Laplace(0.3, 0.5), fp.StudentT(4.0), fp.Uniform(-1.0, 1.0)], ids=repr)
def test_exact_kernels_of_laws_that_are_no_mixtures(target):
    reverse = fp.Reverse(target, fp.OrnsteinUhlenbeck(T=2.0))
    grid = fp.Grid.uniform((-12, 12), cells=480)
    p, q = (grid.cell_average(reverse.marginal(t)) for t in (1.5, 0.2))
    assert np.abs(kernels.exact(reverse, grid, 1.5, 0.2).push(p) - q).sum() * grid.volume <= 2e-3
    # the tails of Student's t leave the box; inside the error is what they take with them
    inner = np.abs(kernels.exact(reverse, grid, 1.5, 0.2).push(p) - q)[120:-120].max()
    lost = 1.0 - q.sum() * grid.volume
    print(target, "inner error", inner, "mass beyond the box", lost)
    assert inner <= 1e-8 + 0.2 * lost


def test_exact_kernels_in_the_plane():
    reverse = cases.rotated_five()
    for grid in (
        fp.Grid.uniform([(-5.5, 5.5), (-5.5, 5.5)], cells=36),
        fp.Grid.uniform([(-5.5, 5.5), (-5, 5)], cells=(40, 32)),
    ):
        p, q = (grid.cell_average(reverse.marginal(t)) for t in (0.5, 0.2))
        error = np.abs(kernels.exact(reverse, grid, 0.5, 0.2).push(p) - q).sum() * grid.volume
        print("plane:", grid.shape, error)
        assert error <= 2e-4


def test_a_transition_narrower_than_a_cell_is_averaged_and_says_so(ou):
    grid = fp.Grid.uniform((-6, 6), cells=200)
    kernel = kernels.exact(ou, grid, 0.5, 0.4999)
    assert kernel.averaged == 1.0
    p, q = (grid.cell_average(ou.marginal(t)) for t in (0.5, 0.4999))
    pushed = kernel.push(p)
    added = float(((pushed - q) * grid.x**2).sum() * grid.volume) / grid.spacing[0] ** 2
    print("variance added by averaging, in h^2:", added)
    assert 0.0 < added <= 0.25


def test_finite_volumes_of_an_autonomous_dynamics_are_the_matrix_exponential():
    dynamics, grid = fp.Langevin(fp.Gaussian(0.3, std=0.8)), fp.Grid.uniform((-4, 4), cells=60)
    rates = [(up[0], down[0]) for up, down in rates_at(dynamics, grid, np.zeros(1))]
    truth = expm(0.4 * generator_matrix(rates, grid.shape).toarray()).T
    errors = [
        np.abs(kernels.finite_volume(dynamics, grid, 0.0, 0.4, steps=n).matrix - truth).sum(axis=1).max()
        for n in (100, 200, 400)
    ]
    print("finite volumes against expm:", errors)
    assert abs(np.log2(errors[1] / errors[2]) - 2.0) <= 0.2
    assert errors[-1] <= 1e-4


def _generator(push, diffusivity, grid):
    """Exponentially fitted fluxes of the drift ``-push x``, written by hand: column sums are zero."""
    z = -push * grid.face_axes[0][1:-1] * grid.spacing[0] / diffusivity
    up, down = (diffusivity / grid.spacing[0] ** 2 * s * z / -np.expm1(-s * z) for s in (1.0, -1.0))
    matrix = np.diag(up, -1) + np.diag(down, 1)
    return matrix - np.diag(matrix.sum(axis=0))


@pytest.mark.parametrize(
    ("before", "after"), [((1.0, 1.0), (1.0, 0.1)), ((0.3, 0.5), (3.0, 0.5))], ids=["noise", "drift"]
)
def test_steps_of_a_block_end_where_coefficients_jump(before, after):
    """Against matrix exponentials on either side of the jump, which equal steps through the block do not meet."""
    jump, grid = 0.1234, fp.Grid.uniform((-4, 4), cells=61)

    def drift(t, x):
        return -(before if t <= jump else after)[0] * x

    def noise(t):
        return (2.0 * (before if t <= jump else after)[1]) ** 0.5

    dynamics = fp.Dynamics(drift, noise, breaks=(jump,))
    q = normal_cells(1.0, 0.5, grid.face_axes[0])
    truth = expm_multiply((0.4 - jump) * _generator(*after, grid), expm_multiply(jump * _generator(*before, grid), q))
    errors = []
    for steps in (50, 100, 200):
        operator = kernels.finite_volume_operator(dynamics, grid, 0.0, 0.4, steps=steps)
        assert jump in operator.times and operator.steps == steps
        errors.append(np.abs(operator.push_masses(q[None])[0] - truth).sum())
    print("a jump within a block:", errors)
    assert errors[-1] <= 2e-5
    assert abs(np.log2(errors[0] / errors[2]) - 4.0) <= 0.5


def test_blocks_with_jumps_of_eta_or_kinks_of_a_process_are_those_of_their_parts():
    def eta(t):
        return 1.0 if t > 0.55 else 0.4

    eta.breaks = (0.55,)
    grid, target = fp.Grid.uniform((-6, 6), cells=240), fp.GaussianMixture([0.4, 0.6], [-1.0, 1.0], stds=[0.4, 0.5])
    q = normal_cells(0.5, 0.6, grid.face_axes[0])[None]
    kinked = fp.Reverse(target, fp.CosineVP())
    for reverse, t0, t1 in ((fp.Reverse(target, fp.OrnsteinUhlenbeck(T=1.0), eta=eta), 0.9, 0.3), (kinked, 1.0, 0.9)):
        (jump,) = (t for t in reverse.breaks if t1 < t < t0)
        whole = kernels.finite_volume_operator(reverse, grid, t0, t1)
        finer = [kernels.finite_volume_operator(reverse, grid, *ends, steps=400) for ends in ((t0, jump), (jump, t1))]
        gap = np.abs(whole.push_masses(q) - finer[1].push_masses(finer[0].push_masses(q))).sum()
        print("a block with a break against its parts:", whole.steps, gap)
        assert jump in whole.times and gap <= 3e-4


def test_a_block_takes_a_step_on_either_side_of_a_break_whatever_its_number():
    dynamics = fp.Dynamics(lambda t, x: -x, breaks=(1e-3, 0.5))
    operator = kernels.finite_volume_operator(dynamics, fp.Grid.uniform((-4, 4), cells=20), 0.0, 1.0, steps=1)
    assert operator.times.tolist() == [0.0, 1e-3, 0.5, 1.0]


def test_finite_volumes_tend_to_the_exact_kernel(ou):
    starts = [ou.marginal(3.0), fp.Gaussian(0.0, std=1.0)]
    errors = []
    for cells in (100, 200, 400):
        grid = fp.Grid.uniform((-6, 6), cells=cells)
        p = np.stack([grid.cell_average(law) for law in starts])
        truth = np.stack([closed_form.cell_averages(ou, law, 0.01, grid) for law in starts])
        kernel = kernels.finite_volume(ou, grid, 3.0, 0.01, steps=4 * cells)
        errors.append(np.abs(kernel.push(p) - truth).sum(axis=1).max() * grid.volume)
        assert kernel.negative <= 1e-12
    slopes = np.diff(np.log(errors)) / np.log(0.5)
    print("finite volumes against the closed form:", errors, slopes)
    assert abs(slopes[-1] - 2.0) <= 0.2


def test_backward_euler_kernels_are_non_negative_and_periodic_boxes_work():
    ring = fp.Dynamics(lambda t, x: np.sin(2 * np.pi * x), 1.0, boundary="periodic")
    kernel = kernels.finite_volume(
        ring, fp.Grid.uniform((0, 1), cells=50), 0.0, 0.05, scheme="backward-euler", steps=20
    )
    assert kernel.negative == 0.0
    assert kernel.matrix[0, -1] == pytest.approx(kernel.matrix[0, 1], rel=0.2)
    with pytest.raises(ValueError, match="pull with the matrix"):
        kernels.finite_volume_operator(ring, kernel.grid, 0.0, 0.05).pull(np.ones(50))


@pytest.mark.parametrize("scheme", ["tr-bdf2", "damped-crank-nicolson", "backward-euler"])
@pytest.mark.parametrize("dim", [1, 2])
def test_pull_is_the_transpose_of_push(dim, scheme, rng):
    reverse = cases.ou_mixture() if dim == 1 else cases.rotated_five()
    grid = fp.Grid.uniform((-5, 5), cells=80) if dim == 1 else fp.Grid.uniform([(-5, 5), (-4, 4)], cells=(30, 24))
    operators = [
        kernels.finite_volume_operator(reverse, grid, 1.0, 0.7, scheme=scheme, steps=23),
        kernels.sampler_operator("euler-maruyama", reverse, grid, 1.0, 0.9),
        kernels.sampler_operator("edm", reverse, grid, 1.0, 0.9, churn=5.0, steps=20),
    ]
    p, f = rng.random((2, *grid.shape)), rng.normal(size=(3, *grid.shape))
    for operator in operators:
        left = np.tensordot(operator.push(p), f, axes=(range(1, dim + 1), range(1, dim + 1)))
        right = np.tensordot(p, operator.pull(f), axes=(range(1, dim + 1), range(1, dim + 1)))
        assert np.abs(left - right).max() <= 1e-11 * np.abs(left).max(), operator.name


@pytest.mark.parametrize("dim", [1, 2])
def test_operators_do_what_their_matrices_do(dim, rng):
    reverse = cases.ou_mixture() if dim == 1 else cases.rotated_five()
    grid = fp.Grid.uniform((-5, 5), cells=80) if dim == 1 else fp.Grid.uniform([(-5, 5), (-4, 4)], cells=(20, 24))
    pairs = [
        (kernels.finite_volume(reverse, grid, 1.0, 0.7), kernels.finite_volume_operator(reverse, grid, 1.0, 0.7)),
        *(
            (
                kernels.sampler(name, reverse, grid, 1.0, 0.9, **o),
                kernels.sampler_operator(name, reverse, grid, 1.0, 0.9, **o),
            )
            for name, o in (("ddpm", {}), ("heun", {}), ("edm", dict(churn=5.0, steps=20)))
        ),
    ]
    p, f = rng.random((2, *grid.shape)), rng.normal(size=grid.shape)
    for matrix, operator in pairs:
        assert np.allclose(matrix.push(p), operator.push(p), rtol=1e-11, atol=1e-12)
        assert np.allclose(matrix.pull(f), operator.pull(f), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["euler-maruyama", "edm"])
def test_matrix_free_push_and_pull_at_256_squared(name):
    reverse, grid = cases.rotated_five(), fp.Grid.uniform([(-6, 6), (-6, 6)], cells=256)
    operator = kernels.sampler_operator(name, reverse, grid, 0.3, 0.28)
    p = grid.cell_average(reverse.marginal(0.3))
    pushed = operator.push(p)
    assert pushed.sum() * grid.volume == pytest.approx(p.sum() * grid.volume, abs=1e-12)
    norm = (grid.x**2).sum(axis=-1)
    assert (pushed * norm).sum() == pytest.approx((p * operator.pull(norm)).sum(), rel=1e-12)


def test_finite_volumes_at_256_squared():
    reverse, grid = cases.rotated_five(), fp.Grid.uniform([(-6, 6), (-6, 6)], cells=256)
    operator = kernels.finite_volume_operator(reverse, grid, 0.3, 0.28)
    p, q = (grid.cell_average(reverse.marginal(t)) for t in (0.3, 0.28))
    assert np.abs(operator.push(p) - q).sum() * grid.volume <= 1e-3
    # V = |x|^2: E[|X_t1|^2 | X_t0 = y] pulled back agrees with the moment of p_t1
    norm = (grid.x**2).sum(axis=-1)
    assert (p * operator.pull(norm)).sum() == pytest.approx((q * norm).sum(), rel=1e-3)


def test_composition_in_time_order(ou):
    grid = fp.Grid.uniform((-6, 6), cells=400)
    first, second = kernels.exact(ou, grid, 3.0, 1.0), kernels.exact(ou, grid, 1.0, 0.2)
    both, whole = first @ second, kernels.exact(ou, grid, 3.0, 0.2)
    assert (both.t0, both.t1) == (3.0, 0.2)
    assert np.abs(both.matrix - whole.matrix).sum(axis=1)[40:-40].max() <= 1e-6
    p = grid.cell_average(ou.marginal(3.0))
    assert np.allclose(both.push(p), second.push(first.push(p)), atol=1e-14)
    assert np.allclose(both.pull(grid.x), first.pull(second.pull(grid.x)), atol=1e-12)
    assert both.defect <= first.defect + second.defect + 1e-14


def test_hundreds_of_factors_keep_their_row_sums(gaussian):
    step = kernels.exact(gaussian, fp.Grid.uniform((-6, 6), cells=60), 0.5, 0.49)
    product = step
    for n in range(1, 400):
        end = 0.49 - 0.001 * n
        product = product @ kernels.Kernel(step.matrix, step.grid, product.t1, end)
    assert np.abs(product.matrix.sum(axis=1) - 1.0).max() <= 1e-13
    assert product.defect >= step.defect


def test_kernels_between_different_grids_follow_the_scale_of_edm():
    target = cases.ou_mixture().target
    reverse = fp.Reverse(target, fp.EDM(0.02, 80.0))
    times = np.geomspace(80.0, 0.02, 9)
    grids = [fp.Grid.uniform((-6 * np.hypot(t, 2.1), 6 * np.hypot(t, 2.1)), cells=600) for t in times]
    q = grids[0].cell_average(fp.Gaussian(0.0, std=80.0))
    for n, (t0, t1) in enumerate(pairwise(times)):
        q = kernels.exact(reverse, grids[n], t0, t1, to_grid=grids[n + 1]).push(q)
    truth = closed_form.cell_averages(reverse, fp.Gaussian(0.0, std=80.0), 0.02, grids[-1])
    error = np.abs(q - truth).sum() * grids[-1].volume
    print("EDM, eight kernels between grids:", error)
    assert error <= 1e-4


BAD = [
    (lambda r, g: kernels.exact(r, fp.Grid.uniform((-6, 6), cells=2001), 2, 1), "0.032 GB; push one density at a time"),
    (lambda r, g: kernels.finite_volume(r, fp.Grid.uniform((-6, 6), cells=9000), 2, 1), "0.648 GB; .*operator"),
    (lambda r, g: kernels.sampler("ddpm", r, fp.Grid.uniform((-6, 6), cells=9000), 2, 1), "sampler_operator"),
    (lambda r, g: kernels.exact(r, g, 1.0, 1.0), "t1: expected a forward time below t0 = 1"),
    (lambda r, g: kernels.exact(r, g, 1.0, 2.0), "t1: expected a forward time below t0 = 1"),
    (lambda r, g: kernels.finite_volume(r, g, 1.0, 2.0), "t1: expected a forward time below"),
    (lambda r, g: kernels.finite_volume(r, g, 1.0, 0.0), "t1: expected a forward time > 0"),
    (lambda r, g: kernels.finite_volume(fp.Forward(r.process), g, 1.0, 0.5), "runs forwards"),
    (lambda r, g: kernels.sampler("ddpm", r, g, 4.0, 0.5), "t0: expected forward times in"),
    (lambda r, g: kernels.sampler("ddpm", r, g, 1.0, -0.5), "t1: expected forward times in"),
    (lambda r, g: kernels.sampler("milstein", r, g, 1.0, 0.5), "name: expected one of"),
    (lambda r, g: kernels.exact(fp.Reverse(r.target, r.process, eta=0.5), g, 1.0, 0.5), "eta = 0.5; use finite_volume"),
    (lambda r, g: kernels.exact(fp.Reverse(r.target, r.process, r.score), g, 1.0, 0.5), "a score model; use"),
    (lambda r, g: kernels.finite_volume(fp.Reverse(r.target, r.process, eta=0.0), g, 1.0, 0.5), "noise: expected > 0"),
    (lambda r, g: kernels.exact(r, g, 1.0, 0.5).push(np.ones(7)), "p: expected values on the cells"),
    (
        lambda r, g: kernels.exact(r, g, 2, 1) @ kernels.exact(r, fp.Grid.uniform((-6, 6), cells=41), 1, 0.5),
        "the same grid",
    ),
    (lambda r, g: kernels.exact(r, g, 2, 1) @ kernels.exact(r, g, 0.9, 0.5), "times that meet"),
    (lambda r, g: kernels.exact(r, fp.Grid.uniform([(-6, 6), (-6, 6)], cells=9), 2, 1), "grid: expected dimension 1"),
    (lambda r, g: kernels.Kernel(np.full((40, 40), 0.02), g, 2.0, 1.0), "rows that sum to one"),
    (lambda r, g: kernels.sampler("heun", r, g, 3.0, 0.01, source="spline"), "map is increasing"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_requests_are_one_clear_sentence(ou, call, message):
    reverse = ou if "increasing" not in message else folding()
    with pytest.raises(ValueError, match=message):
        call(reverse, fp.Grid.uniform((-6, 6), cells=40))


def folding():
    """A score so steep that a single step folds the line."""
    return fp.Reverse(
        laws.Gaussian(0.0, std=1.0),
        fp.OrnsteinUhlenbeck(T=3.0),
        score=fp.scores.checked(lambda t, x: -50.0 * np.sin(x)),
    )


def test_planes_beyond_48_squared_are_refused():
    with pytest.raises(ValueError, match=r"48 per axis\), got 2500, whose matrix would take 0.05 GB"):
        kernels.finite_volume(cases.rotated_five(), fp.Grid.uniform([(-6, 6), (-6, 6)], cells=50), 1.0, 0.5)

"""Steppers and sweeps against scipy twins: same matrix, same answer; orders; mass; positivity."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.sparse import identity
from scipy.sparse.linalg import spsolve

from fpsolve.solver import (
    SCHEMES,
    advance,
    generator_matrix,
    rates_from_log_gibbs,
    scheme_named,
    step_table,
)

NAMES = tuple(SCHEMES)


def rates_for(shape, steps, rng, *, periodic, size=1.0):
    u = rng.normal(size=(steps, *shape)) * size
    return [rates_from_log_gibbs(u, k, np.full(steps, 2.0 + k), periodic=periodic) for k in range(len(shape))]


def reference_step(a, q, dt, scheme):
    """One step of a scheme by sparse LU: the twin of the compiled sweeps."""
    matrix = (identity(a.shape[0]) - scheme.pole * dt * a).tocsc()
    m = q + scheme.mix * (spsolve(matrix, q) - q)
    return spsolve(matrix, m) if scheme.solves == 2 else m


def reference(q, rates, dt, scheme, shape):
    """Strang splitting (or the plain step in 1D) with sparse matrices."""
    zero = [(np.zeros_like(up), np.zeros_like(down)) for up, down in rates]
    q = q.ravel()
    for s, step in enumerate(dt):
        used = scheme.startup if scheme.startup is not None and s < 4 else scheme
        axes = [(0, 1.0)] if len(shape) == 1 else [(0, 0.5), (1, 1.0), (0, 0.5)]
        for axis, share in axes:
            pairs = [(rates[k] if k == axis else zero[k]) for k in range(len(shape))]
            a = generator_matrix([(up[s], down[s]) for up, down in pairs], shape)
            q = reference_step(a, q, share * step, used)
    return q.reshape(shape)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("shape", [(30,), (9, 12)])
def test_compiled_sweeps_equal_their_scipy_twin(shape, periodic, name, rng):
    scheme = scheme_named(name)
    dt = np.array([0.1, 0.3, 0.05, 0.2, 1.0, 0.02])
    rates = rates_for(shape, len(dt), rng, periodic=periodic)
    q = rng.random((3, *shape))
    out = advance(q, rates, step_table(scheme, dt, startup=4), periodic=periodic)
    for k in range(3):
        twin = reference(q[k], rates, dt, scheme, shape)
        assert np.abs(out[k] - twin).max() <= 1e-13 * np.abs(twin).max()
    assert np.abs(out.sum(axis=tuple(range(1, q.ndim))) / q.sum(axis=tuple(range(1, q.ndim))) - 1).max() <= 1e-13


@pytest.mark.parametrize("periodic", [False, True])
def test_backward_euler_and_tr_bdf2_damp_what_crank_nicolson_keeps(periodic, rng):
    n = 40
    rates = rates_for((n,), 6, rng, periodic=periodic, size=0.0)
    spike = np.zeros((1, n))
    spike[0, n // 2] = 1.0
    ripple = {}
    for name in NAMES:
        q = advance(spike, rates, step_table(scheme_named(name), np.full(6, 50.0), startup=4), periodic=periodic)
        ripple[name] = np.abs(np.diff(q[0], 2)).max()
    assert ripple["crank-nicolson"] > 0.5
    assert ripple["tr-bdf2"] < 1e-2
    assert ripple["backward-euler"] < 1e-2
    assert ripple["damped-crank-nicolson"] < 0.05


def test_backward_euler_keeps_densities_non_negative_for_every_step(rng):
    rates = rates_for((25,), 4, rng, periodic=False, size=10.0)
    q = np.zeros((1, 25))
    q[0, 3] = 1.0
    for dt in (1e-3, 1.0, 1e3):
        assert (
            advance(q, rates, step_table(scheme_named("backward-euler"), np.full(4, dt)), periodic=False).min() >= 0.0
        )


@pytest.mark.parametrize(
    ("name", "order"),
    [("backward-euler", 1), ("crank-nicolson", 2), ("tr-bdf2", 2), ("damped-crank-nicolson", 2)],
)
def test_order_in_time_on_a_time_dependent_generator(name, order):
    """Against scipy's integrator of the linear equations: slope within 0.2, and the limit is right."""
    n, horizon = 12, 1.0
    x = np.linspace(-1, 1, n)
    scheme = scheme_named(name)

    def rates_at(times):
        u = np.sin(3 * np.asarray(times))[:, None] * x * 2 - x**2
        return [rates_from_log_gibbs(u, 0, 4.0 + np.cos(2 * np.asarray(times)))]

    def matrix_at(t):
        up, down = rates_at([t])[0]
        return generator_matrix([(up[0], down[0])], (n,)).toarray()

    q0 = np.exp(-4 * (x - 0.3) ** 2)
    solved = solve_ivp(lambda t, q: matrix_at(t) @ q, (0.0, horizon), q0, method="DOP853", rtol=1e-11, atol=1e-13)
    exact = solved.y[:, -1]
    errors = []
    for steps in (40, 80, 160, 320):
        nodes = (np.arange(steps) + scheme.node) * horizon / steps
        out = advance(
            q0[None], rates_at(nodes), step_table(scheme, np.full(steps, horizon / steps), startup=4), periodic=False
        )
        errors.append(np.abs(out[0] - exact).sum())
    slopes = np.diff(np.log(errors)) / np.log(0.5)
    print(name, "errors", errors, "slopes", slopes)
    assert abs(slopes[-1] - order) <= 0.2
    assert errors[-1] < 1e-2


@pytest.mark.parametrize("shape", [(1, 12), (3, 12), (1, 6, 5), (2, 6, 5)])
def test_advance_leaves_its_input_alone(shape, rng):
    q = rng.random(shape)
    before = q.copy()
    rates = rates_for(shape[1:], 2, rng, periodic=False)
    advance(q, rates, step_table(scheme_named("tr-bdf2"), np.full(2, 0.1)), periodic=False)
    assert np.array_equal(q, before)

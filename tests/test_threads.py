"""Threads: the same bits with any number, one setting, and what the compiled loops are made of."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from importlib import import_module

import numpy as np
import pytest
from cases import rotated_five

import fpsolve as fp
from fpsolve import _compile, _memory
from fpsolve.marginals import FastLaw


@pytest.fixture
def restored():
    before = fp.set_threads(1)
    yield
    fp.set_threads(before)


PLANE = fp.Grid.uniform([(-4.0, 4.0), (-4.0, 4.0)], cells=(202, 206))
START = fp.Gaussian([0.3, -0.2], std=0.9)
RING = fp.Dynamics(
    potential=lambda t, x: np.cos(np.pi * x[..., 0] / 4) + np.sin(np.pi * x[..., 1] / 4), noise=1.0, boundary="periodic"
)
RUNS = {
    "five components": lambda: fp.evolve(rotated_five(), START, grid=PLANE, steps=8, t_min=0.5),
    "a matrix product": lambda: fp.evolve(
        fp.Reverse(fp.KernelDensity(np.random.default_rng(1).normal(size=(40, 2)), bandwidth=0.3), fp.VP()),
        START,
        grid=PLANE,
        steps=8,
        t_min=0.1,
    ),
    "a drift on faces": lambda: fp.evolve(
        fp.Reverse(fp.Gaussian([0.0, 0.0], std=0.8), fp.VP(), score=lambda t, x: -x / (1.0 + t)),
        START,
        grid=PLANE,
        steps=4,
        t_min=0.5,
    ),
    "closed lines": lambda: fp.evolve(RING, START, grid=PLANE, steps=8, t_max=0.5),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", RUNS)
def test_no_bit_depends_on_the_number_of_threads(kind, restored):
    runs = []
    for n in (1, 2, 3):
        fp.set_threads(n)
        runs.append(RUNS[kind]())
    for run in runs[1:]:
        for name in ("density", "error_estimate", "tail", "mass"):
            assert np.array_equal(run[name].values, runs[0][name].values), name


def _without_noise() -> list[np.ndarray]:
    reverse = fp.Reverse(rotated_five().target, fp.VP(), eta=0.0)
    given = dict(grid=fp.Grid.uniform([(-4.0, 4.0)] * 2, cells=(14, 12)), steps=4, t_min=0.8, save_at=[0.8])
    return [fp.evolve(reverse, START, **given, estimate=False).density.values]


def _noisy_score() -> list[np.ndarray]:
    reverse, grid = rotated_five(), fp.Grid.uniform([(-4.0, 4.0)] * 2, cells=(24, 22))
    noise = fp.stochastic.ScoreNoise([lambda t, x: 0.1 * np.sin(x)], [0.05])
    return [fp.stochastic.evolve(reverse, START, noise, grid=grid, steps=6, t_min=2.5, paths=3, seed=1).density.values]


def _kernel() -> list[np.ndarray]:
    line = fp.Grid.uniform((-6.0, 6.0), cells=203)
    reverse = fp.Reverse(fp.GaussianMixture([0.5, 0.5], means=[-1.0, 1.0], stds=[0.4, 0.4]), fp.VP())
    kernel = fp.kernels.sampler("ddpm", reverse, line, 0.6, 0.4)
    matrix = np.asarray(kernel.matrix)
    pairs = import_module("fpsolve.bounds._pairs")
    # symmetric: the largest ratio is attained twice, and the first pair counts
    pair = pairs.largest_ratio(matrix, np.ones(203), np.ones(203))
    levels = pairs.distance_by_level(matrix, line.x**2, np.linspace(1.0, 50.0, 9))
    return [np.array([pair[0], *pair[1]]), levels]


def _sampler_rows() -> list[np.ndarray]:
    line, plane = fp.Grid.uniform((-6.0, 6.0), cells=203), fp.Grid.uniform([(-4.0, 4.0)] * 2, cells=(22, 18))
    found, rng = [], np.random.default_rng(3)
    for target, grid in ((fp.Gaussian(0.3, std=0.5), line), (rotated_five().target, plane)):
        operator = fp.kernels.sampler_operator("ddpm", fp.Reverse(target, fp.VP()), grid, 0.6, 0.3)
        given = rng.random((2, grid.x.shape[0] if grid.dim == 1 else math.prod(grid.shape)))
        found += [operator.push_masses(given), operator.pull_functions(given), operator.spreads[0].matrix()]
    return found


@pytest.mark.parametrize("work", [_without_noise, _noisy_score, _kernel, _sampler_rows])
def test_paths_kernels_and_pairs_neither(work, restored, monkeypatch):
    """The same of points along paths, planes of an ensemble and pairs of rows of a kernel, however few they are."""
    monkeypatch.setattr(_memory, "WORTH", 100)
    asked = []
    real = _memory._pool
    monkeypatch.setattr(_memory, "_pool", lambda *given: asked.append(given) or real(*given))
    found = []
    for n in (1, 2, 3):
        fp.set_threads(n)
        found.append(work())
        assert bool(asked) == (n > 1)  # the control: threads were at work
    for other in found[1:]:
        for one, first in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(one, first)


@pytest.mark.parametrize(("lines", "multiple"), [(1, 1), (7, 1), (1000, 8), (1003, 8), (16, 8)])
def test_every_line_is_done_once(lines, multiple, restored):
    for n in (1, 2, 5):
        fp.set_threads(n)
        done = np.zeros(lines, dtype=int)
        firsts = []

        def work(first, last, done=done, firsts=firsts):
            done[first:last] += 1
            firsts.append(first)

        _memory.over(lines, 10**6, work, multiple=multiple)
        assert (done == 1).all()
        assert all(first % multiple == 0 for first in firsts)


def test_loops_within_a_share_are_done_by_its_thread(restored):
    """Else shares would wait for threads that wait for them; here three shares with a loop each on two threads."""
    fp.set_threads(3)
    found, done = [], np.zeros((3, 50), dtype=int)

    def outer(first, last):
        for row in range(first, last):

            def inner(a, b, row=row):
                found.append((row, threading.get_ident()))
                done[row, a:b] += 1

            _memory.over(50, 10**6, inner)

    _memory.over(3, 10**6, outer)
    assert (done == 1).all() and len(found) == 3
    found.clear()
    _memory.over(50, 10**6, lambda a, b: found.append(a))
    assert len(found) == 3  # the control: outside of a share a loop has threads again


def test_an_error_in_a_thread_reaches_the_caller(restored):
    fp.set_threads(3)

    def work(first, last):
        if first > 0:
            raise ValueError("from a thread")

    with pytest.raises(ValueError, match="from a thread"):
        _memory.over(90, 10**6, work)


@pytest.mark.parametrize("bad", [0, -1, 1.5, "2", True, float("nan"), [2]])
def test_a_number_of_threads_is_a_whole_one(bad):
    with pytest.raises(ValueError, match=r"^n: expected"):
        fp.set_threads(bad)


@pytest.mark.parametrize(("given", "expected"), [("3", "3"), ("0", "FPSOLVE_THREADS: expected"), ("x", "expected")])
def test_the_variable(given, expected):
    code = "import fpsolve as fp\ntry: print(fp.set_threads(None))\nexcept ValueError as e: print(e)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"FPSOLVE_THREADS": given},
        check=True,
    )
    assert expected in done.stdout


@_compile.compiled
def logarithms(x, out):
    for i in range(x.size):
        out[i] = _compile.log(x[i])


def test_logarithm_in_the_vector_units():
    rng = np.random.default_rng(0)
    x = np.concatenate([np.exp(rng.uniform(-640, 700, 20_000)), 1 + 0.1 * rng.normal(size=20_000), [1.0, 1e-280]])
    out = np.empty_like(x)
    logarithms(x, out)
    exact = np.array([math.log(value) for value in x])
    assert np.all(np.abs(out - exact) <= 4e-16 * np.maximum(np.abs(exact), 1e-3))
    assert out[-2] == 0.0


@pytest.mark.parametrize("cells", [40, 120, 400, 900])
def test_fewer_nodes_average_as_well_as_twenty(cells):
    """Averages of the law of five components over cells against a product rule of 20 nodes, written here."""
    law = rotated_five().target
    grid = fp.Grid(((-4.0, 4.0), (0.0, 4 * 8.0 / cells)), (cells, 4))
    found = grid.cell_average(FastLaw(law))
    nodes, weights = np.polynomial.legendre.leggauss(20)
    x, y = ((axis[:, None] + 0.5 * h * nodes).ravel() for axis, h in zip(grid.axes, grid.spacing, strict=True))
    values = np.exp(law.log_density(np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)))
    exact = np.einsum("aibj,i,j->ab", values.reshape(cells, 20, 4, 20), 0.5 * weights, 0.5 * weights)
    assert np.abs(found - exact).max() <= 3e-15 * exact.max()

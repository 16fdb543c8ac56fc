"""A network in the plane: its table, Girsanov's bound and the errors of a sampler with it, in processor seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from benchmarks import report

import fpsolve as fp

SECTION = "network"
LIMIT = 60.0
CELLS, T_MIN = 96, 0.02


def network(process: fp.VP, law: fp.Law) -> Callable[[float, Any], Any]:
    """The exact score less a perceptron of 3 hidden layers of 128 units, in units of the noise."""
    rng, right = np.random.default_rng(0), fp.scores.exact(law, process)
    shapes = ((3, 128), (128, 128), (128, 128), (128, 2))
    layers = [rng.standard_normal(shape) / np.sqrt(shape[0]) for shape in shapes]

    def score(t: float, x: Any) -> Any:
        points = np.reshape(x, (-1, 2))
        hidden = np.concatenate([points, np.full((len(points), 1), t)], axis=1)
        for layer in layers[:-1]:
            hidden = np.tanh(hidden @ layer)
        return right(t, x) - 0.05 * (hidden @ layers[-1]).reshape(np.shape(x)) / np.sqrt(process.variance(0.0, t))

    return score


def test_network(benchmark: Any, judge: Any) -> None:
    process = fp.VP()
    law = fp.GaussianMixture([0.5, 0.5], [[-1.5, 0.0], [1.5, 1.0]], covs=[0.2 * np.eye(2), 0.3 * np.eye(2)])
    grid, model = fp.Grid.uniform([(-5.5, 5.5), (-5.5, 5.5)], cells=CELLS), network(process, law)
    began = time.process_time()
    table = fp.scores.tabulate(model, grid, np.geomspace(T_MIN, 1.0, 48))
    tabulated = time.process_time() - began
    score = fp.scores.tabulated(table, outside="linear")
    exact, learned = fp.Reverse(law, process), fp.Reverse(law, process, score=score)
    largest, rms = float(table.interpolation_error.max()), float(table.interpolation_rms.max())
    stated = f"interpolation off by {largest:.2g} at most, {rms:.1g} in the mean square"
    judge(
        report.figure(
            f"perceptron of 128 x 3, {CELLS}^2: table of 48 times", tabulated, LIMIT, unit=" s", reference=stated
        )
    )

    began = time.process_time()
    bound = benchmark.pedantic(lambda: fp.bounds.girsanov(exact, learned, t_min=T_MIN, grid=grid), rounds=1)
    seconds = time.process_time() - began
    said = f"KL at most {bound.value:.4g}"
    judge(report.figure("Girsanov's bound with the table", seconds, LIMIT, unit=" s", reference=said))

    began = time.process_time()
    found = fp.decomposition.errors(
        learned, "ddpm", start=process.prior(2), grid=grid, steps=12, t_min=T_MIN, progress=False
    )
    seconds = time.process_time() - began
    total = f"total {found.attrs['total']:.4g} +- {found.attrs['total_error']:.1g}"
    judge(report.figure("errors of 12 steps of DDPM with the table", seconds, LIMIT, unit=" s", reference=total))

    began = time.process_time()
    finer = fp.Grid.uniform([(-5.5, 5.5), (-5.5, 5.5)], cells=128)
    run = fp.evolve(learned, {"prior": process.prior(2)}, grid=finer, steps=200, t_min=T_MIN, progress=False)
    seconds = time.process_time() - began
    said = (
        f"estimate {float(run.error_estimate[:, -1].max()):.2g} in the weighted norm, resolved: {run.attrs['resolved']}"
    )
    judge(report.figure("128^2 cells, 200 steps with the table", seconds + tabulated, LIMIT, unit=" s", reference=said))

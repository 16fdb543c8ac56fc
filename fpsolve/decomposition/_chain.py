"""The march: the sampler's density, the exact one, and every signed error on its way to the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve import _progress
from fpsolve.decomposition._steps import Steps
from fpsolve.kernels import Kernel

if TYPE_CHECKING:
    from fpsolve.kernels import Operator

Array = NDArray[np.float64]

#: Order of the sources everywhere.
SOURCES = ("initialization", "discretization", "score")


@dataclass(frozen=True, eq=False)
class Chain:
    """What a march leaves behind; n steps, densities as cell averages.

    Attributes
    ----------
    sampled, reference : array, shape (n + 1, *grid.shape)
        mu_k and p_T P_0 ... P_{k-1}.
    local : array, shape (3, n)
        V-norm of every signed error where it arises; initialization in step 0 only.
    propagated : array, shape (3, n)
        V-norm of what is left of it at the end.
    alive : array, shape (3, n + 1)
        V-norm of the sum of all errors of a source so far, at every time.
    remainders : array, shape (3, *grid.shape)
        That sum at the end, signed.
    closure : array, shape (n + 1,)
        V-norm of mu_k minus the reference minus the sum of all errors: rounding.
    steps : dict of str to array, shape (n,)
        Of the sampler's kernels: `width`, `averaged`, `beyond`, `negative`.
    exact : list
        The exact kernels.
    """

    sampled: Array
    reference: Array
    local: Array
    propagated: Array
    alive: Array
    remainders: Array
    closure: Array
    steps: dict[str, Array]
    exact: list[Kernel | Operator] = field(repr=False)


def march(steps: Steps, times: Array, start: Array, first: Array, weights: Array, progress: bool | None) -> Chain:
    """Run the sampler's chain from `start` and the exact one from `first`; weights are V times the cells' volume."""
    n, shape = len(times) - 1, steps.grid.shape

    def norm(w: Array) -> Array:
        return np.asarray((np.abs(w) * weights).reshape(*w.shape[: w.ndim - len(shape)], -1).sum(axis=-1))

    # rows: mu, reference, then the errors in flight with their source and step
    rows, labels = np.stack([start, first, start - first]), [(0, 0)]
    sampled, reference, exact = [start], [first], []
    local, alive = np.zeros((3, n)), np.zeros((3, n + 1))
    local[0, 0] = alive[0, 0] = norm(rows[2])
    closure, told = np.zeros(n + 1), []
    with _progress.progress(n, f"{steps.sampler.name}: errors", progress) as bar:
        for k, (t0, t1) in enumerate(pairwise(times.tolist())):
            sampler, kernel = steps.sampled(t0, t1), steps.exactly(t0, t1)
            told.append(_told(sampler, steps, t0, t1))
            exact.append(kernel)
            mu, rows = sampler.push(rows[0]), kernel.push(rows)
            made = {1: mu - rows[0]}
            if steps.perturbed:
                made[2] = steps.score_error(sampled[-1], rows[0], t0, t1)
                made[1] -= made[2]
            for source, error in made.items():
                local[source, k] = norm(error)
                labels.append((source, k))
            rows = np.concatenate([mu[None], rows[1:], *(error[None] for error in made.values())])
            sums = _by_source(rows[2:], labels)
            alive[:, k + 1], closure[k + 1] = norm(sums), norm(rows[0] - rows[1] - sums.sum(axis=0))
            sampled.append(rows[0])
            reference.append(rows[1])
            bar.update()
    propagated = np.zeros((3, n))
    for (source, k), left in zip(labels, norm(rows[2:]), strict=True):
        propagated[source, k] = left
    told_by_name = {name: np.array([one[name] for one in told]) for name in told[0]}
    return Chain(np.stack(sampled), np.stack(reference), local, propagated, alive, sums, closure, told_by_name, exact)


def _by_source(errors: Array, labels: list[tuple[int, int]]) -> Array:
    """Sum of the errors of every source, shape (3, *grid.shape)."""
    sources = np.array([source for source, _ in labels])
    return np.stack([errors[sources == source].sum(axis=0) for source in range(len(SOURCES))])


def _told(sampler: Kernel | Operator, steps: Steps, t0: float, t1: float) -> dict[str, float]:
    """What a kernel says of itself: noise in cell widths, averaged sources, mass beyond the box, negative entries."""
    made = steps.step(t0, t1)
    defects = getattr(sampler, "defects", None)
    return {
        "width": max(made.std_before, made.std_after) / max(steps.grid.spacing),
        "averaged": float(getattr(sampler, "averaged", 0.0)),
        "beyond": 0.0 if defects is None else float(np.max(defects)),
        "negative": float(getattr(sampler, "negative", 0.0)),
    }

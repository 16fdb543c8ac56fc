"""The march: the sampler's density, the exact one, every signed error on its way to the end, and what can be left."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve import _progress
from fpsolve.decomposition._steps import Steps, moved
from fpsolve.kernels import Kernel

if TYPE_CHECKING:
    from fpsolve.kernels import Operator

Array = NDArray[np.float64]

#: Order of the sources everywhere.
SOURCES = ("initialization", "discretization", "score")


@dataclass(frozen=True, eq=False)
class Chain:
    """What a march leaves behind; n steps, laws and errors as masses of cells.

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


def march(steps: Steps, times: Array, start: Array, first: Array, v: Array, progress: bool | None) -> Chain:
    """Run the sampler's chain from `start` and the exact one from `first`, masses of cells; V on the cells at times."""
    n, shape = len(times) - 1, steps.grid.shape

    def norm(w: Array, k: int) -> Array:
        return np.asarray((np.abs(w) * v[k]).reshape(*w.shape[: w.ndim - len(shape)], -1).sum(axis=-1))

    # rows: mu, reference, then the errors in flight with their source and step
    rows, labels = np.stack([start, first, start - first]), [(0, 0)]
    sampled, reference, exact = [start], [first], []
    local, alive = np.zeros((3, n)), np.zeros((3, n + 1))
    local[0, 0] = alive[0, 0] = norm(rows[2], 0)
    closure, told = np.zeros(n + 1), []
    with _progress.progress(n, f"{steps.sampler.name}: errors", progress) as bar:
        for k, (t0, t1) in enumerate(pairwise(times.tolist())):
            (sampler, begun), kernel = steps.sampled(times, k), steps.exactly(t0, t1)
            told.append(_told(sampler, steps, t0, t1, np.abs(sampled[begun])))
            exact.append(kernel)
            mu, rows = moved(sampler, sampled[begun]), moved(kernel, rows)
            made = {1: mu - rows[0]}
            if steps.perturbed:
                made[2] = steps.score_error(sampled[-1], rows[0], t0, t1)
                made[1] -= made[2]
            for source, error in made.items():
                local[source, k] = norm(error, k + 1)
                labels.append((source, k))
            rows = np.concatenate([mu[None], rows[1:], *(error[None] for error in made.values())])
            # the sum of the errors of every source, shape (3, *grid.shape)
            sources = np.array([source for source, _ in labels])
            sums = np.stack([rows[2:][sources == source].sum(axis=0) for source in range(len(SOURCES))])
            alive[:, k + 1], closure[k + 1] = norm(sums, k + 1), norm(rows[0] - rows[1] - sums.sum(axis=0), k + 1)
            sampled.append(rows[0])
            reference.append(rows[1])
            bar.update()
    if steps.sampler.memory:
        # every kernel goes from the start: what its map throws out is all of it
        for now, before in zip(told[:0:-1], told[-2::-1], strict=True):
            now["thrown"] -= before["thrown"]
    propagated = np.zeros((3, n))
    for (source, k), left in zip(labels, norm(rows[2:], n), strict=True):
        propagated[source, k] = left
    told_by_name = {name: np.array([one[name] for one in told]) for name in told[0]}
    return Chain(np.stack(sampled), np.stack(reference), local, propagated, alive, sums, closure, told_by_name, exact)


def _told(sampler: Kernel | Operator, steps: Steps, t0: float, t1: float, masses: Array) -> dict[str, float]:
    """What a kernel says of itself: noise in cell widths, averaged sources, mass beyond the box, negative entries."""
    made = steps.step(t0, t1)
    defects = getattr(sampler, "defects", None)
    return {
        "width": max(made.std_before / max(steps.cells(t0).spacing), made.std_after / max(steps.cells(t1).spacing)),
        "averaged": float(getattr(sampler, "averaged", 0.0)),
        "beyond": 0.0 if defects is None else float(np.max(defects)),
        "thrown": 0.0 if defects is None else float(np.ravel(defects) @ masses.ravel()),
        "negative": float(getattr(sampler, "negative", 0.0)),
    }


def coefficient(matrix: Array, v: Array, later: Array) -> float:
    r"""``max_{i \ne k} sum_j W_j |P_ij - P_kj| / (V_i + V_k)``, v = V before and later = W after, shapes (cells,).

    Examples
    --------
    >>> round(coefficient(np.array([[0.9, 0.1], [0.2, 0.8]]), np.ones(2), np.ones(2)), 12)
    0.7
    """
    from scipy.spatial.distance import pdist

    first, second = np.triu_indices(len(v), 1)
    return float(np.max(pdist(matrix * later, "cityblock") / (v[first] + v[second])))


def contractions(chain: list[Kernel | Operator], v: Array, boundaries: list[int]) -> Array:
    r"""Return how much of a signed difference the exact kernels can leave at most: ``c_k``, k = 0, ..., n; ``c_n = 1``.

    .. math:: \|w P_k \cdots P_{n-1}\|_V \le c_k \|w\|_V, \qquad c_k = g_{k,j} \delta_j

    for every difference w of two probabilities: delta_j the weighted Dobrushin coefficient from a block boundary
    ``t_j`` to the end, ``g_{k,j} = sup_x (P_k \cdots P_{j-1} V)(x)/V(x)`` the growth of V from ``t_k`` to it; j is the
    boundary that gives the smallest product, the end (delta = 1) among them.

    Parameters
    ----------
    chain : list
        The exact kernels.
    v : array, shape (n + 1, *grid.shape)
        The weight on the cells at every time.
    boundaries : list of int
        Steps at which Dobrushin coefficients are computed, 0 to n - 1; matrices are needed for that.
    """
    n, rest = len(chain), None
    found = np.ones(n + 1)
    # images of V, one per boundary still ahead, and the coefficient from that boundary on
    images, ahead = [v[-1]], [1.0]
    for k in range(n - 1, -1, -1):
        images = list(pulled(chain[k], np.stack(images)))
        found[k] = min(float(np.max(image / v[k])) * delta for image, delta in zip(images, ahead, strict=True))
        kernel = chain[k]
        if not boundaries or not isinstance(kernel, Kernel):
            continue
        rest = kernel.matrix if rest is None else kernel.matrix @ rest
        if k in boundaries:
            delta = coefficient(rest, v[k].ravel(), v[-1].ravel())
            images.append(v[k])
            ahead.append(delta)
            found[k] = min(found[k], delta)
    return found


def pulled(kernel: Kernel | Operator, f: Array) -> Array:
    """``|P| f``: splines have small negative entries."""
    if isinstance(kernel, Kernel) and kernel.negative > 0.0:
        flat = f.reshape(len(f), -1) @ np.abs(kernel.matrix).T
        return flat.reshape(f.shape)
    return kernel.pull(f)

"""A run cut into blocks: Harris' contraction of each with one beta for all, and the best boundaries."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _times, kernels
from fpsolve.bounds._harris_record import STATEMENT, Harris
from fpsolve.bounds._record import Record
from fpsolve.bounds._sharp import Sharp
from fpsolve.dynamics import Reverse
from fpsolve.grid import Grid
from fpsolve.kernels import Kernel
from fpsolve.weights import WeightLike

Array = NDArray[np.float64]

#: Values of beta that are tried, times the weight's own.
_BETAS = np.geomspace(1e-4, 10.0, 41)
#: Every so many trial gammas and levels are used while boundaries are searched.
_COARSE = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class HarrisBlocks(Record):
    """Harris' contraction over consecutive blocks with a common beta; see `harris_blocks`.

    Attributes
    ----------
    value : float or None
        Product of the blocks' abar: the contraction of the whole run in the weight ``1 + beta V``; None where a block
        has no certificate.
    beta : float
    times : tuple of float
        Block boundaries, forward times from first to last.
    blocks : tuple of Harris
    """

    beta: float
    times: tuple[float, ...]
    blocks: tuple[Harris, ...]


def harris_blocks(
    reverse: Reverse,
    *,
    grid: Grid,
    t_min: float,
    candidates: int | ArrayLike = 7,
    weight: WeightLike = None,
    optimise: bool = True,
) -> HarrisBlocks:
    """Return the best product of Harris contractions over a run: boundaries, gamma and R of each block, and beta.

    Every pair of candidate times is a possible block; the best chain of them from T to t_min is found by dynamic
    programming, for each of 41 common factors beta on V = weight - 1 (with `optimise`), and the best of those is
    returned with the constants of its blocks.

    Parameters
    ----------
    reverse : Reverse
    grid : Grid
        Of the kernels; its box must hold the localization sets.
    t_min : float
        Forward time at which the run ends.
    candidates : int or array
        Boundaries to choose from: so many, equally spaced in the clock, or given forward times (T and t_min are added).
    weight : Weight or callable, optional
        ``1 + V``, default ``1 + |x|^2``.
    optimise : bool
        Search beta; False keeps the weight as given.

    Returns
    -------
    HarrisBlocks

    Raises
    ------
    ValueError
        t_min or candidates outside of the run, a grid too large for matrices.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[0.5, 0.5]), fp.VP())
    >>> found = harris_blocks(reverse, grid=fp.Grid.uniform((-9, 9), cells=120), t_min=0.2, candidates=4)
    >>> found.value is not None and len(found.blocks) == len(found.times) - 1
    True
    """
    _checks.instances(reverse=(reverse, Reverse), grid=(grid, Grid))
    _checks.flag("optimise", optimise)
    times = _candidates(reverse, t_min, candidates)
    sharp = {pair: Sharp.of(kernel, weight) for pair, kernel in all_blocks(reverse, grid, times).items()}
    factors = _BETAS if optimise else np.ones(1)
    chains = [_best_chain(sharp, len(times), float(beta), _COARSE if optimise else 1) for beta in factors]
    at = int(np.argmin([cost for cost, _ in chains]))
    # the search was coarse: refine beta for its path and for the whole run as one block
    paths = [chains[at][1], [0, len(times) - 1]]
    refined = [_refined(sharp, path, factors, at if optimise else None) for path in paths]
    _, beta, path = min(refined, key=lambda found: found[0])
    blocks = tuple(sharp[pair].record(beta) for pair in pairwise(path))
    values = [block.value for block in blocks]
    product = None if any(v is None for v in values) else float(np.prod([v for v in values if v is not None]))
    return HarrisBlocks(
        value=product,
        statement=f"product over blocks of {STATEMENT}",
        unchecked=tuple(dict.fromkeys(what for block in blocks for what in block.unchecked)),
        reason="" if product is not None else _why_not(blocks),
        beta=beta,
        times=tuple(float(times[n]) for n in path),
        blocks=blocks,
    )


def _why_not(blocks: tuple[Harris, ...]) -> str:
    """Which blocks have no certificate, and why."""
    return "; ".join(f"{b.t0:g} -> {b.t1:g}: {b.reason}" for b in blocks if b.value is None)


def block_times(reverse: Reverse, first: float, last: float, blocks: int) -> Array:
    """Boundaries of `blocks` blocks from forward time first down to last, equally long in the clock."""
    ends = [float(reverse.clock(t)) for t in (first, max(last, 1e-6 * first))]
    times = np.asarray(reverse.clock_inverse(np.linspace(ends[0], ends[1], blocks + 1)))
    times[[0, -1]] = first, last
    return times


def all_blocks(reverse: Reverse, grid: Grid, times: Array) -> dict[tuple[int, int], Kernel]:
    """Kernels of all pairs of times, by Bayes' rule or as products of finite-volume kernels of neighbours."""
    pairs = [(n, m) for m in range(1, len(times)) for n in range(m)]
    if reverse.exact and reverse.eta == 1.0:
        return {(n, m): kernels.exact(reverse, grid, times[n], times[m], source="point") for n, m in pairs}
    found: dict[tuple[int, int], Kernel] = {}
    for m in range(1, len(times)):
        found[m - 1, m] = kernels.finite_volume(reverse, grid, times[m - 1], times[m])
        for n in range(m - 2, -1, -1):
            found[n, m] = found[n, m - 1] @ found[m - 1, m]
    return found


def _candidates(reverse: Reverse, t_min: float, candidates: int | ArrayLike) -> Array:
    T = reverse.horizon
    t_min = _times.one("t_min", t_min, 0.0, T, ends="[)")
    if isinstance(candidates, int):
        return block_times(reverse, T, t_min, _checks.integer("candidates", candidates, minimum=2) - 1)
    given = _checks.finite_array("candidates", candidates, shape=(None,))
    return _times.saves("candidates", np.append(given, [t_min, T]), t_min, T)[::-1]


def _refined(
    sharp: dict[tuple[int, int], Sharp], path: list[int], factors: Array, at: int | None
) -> tuple[float, float, list[int]]:
    """Product over a path at its best beta, all trials used; `at`: the coarse optimum, None for a single beta."""
    if at is None:
        betas = factors
    elif len(path) == 2:
        betas = np.array([sharp[path[0], path[1]].best_beta()])
    else:
        betas = np.geomspace(factors[max(at - 1, 0)], factors[min(at + 1, len(factors) - 1)], 21)
    products = [
        float(np.prod([abar if abar < 1.0 else np.inf for abar in _abars(sharp, path, float(beta))])) for beta in betas
    ]
    best = int(np.argmin(products))
    return products[best], float(betas[best]), path


def _abars(sharp: dict[tuple[int, int], Sharp], path: list[int], beta: float) -> list[float]:
    return [sharp[pair].best_on_box(beta) for pair in pairwise(path)]


def _best_chain(
    sharp: dict[tuple[int, int], Sharp], count: int, beta: float, step: int
) -> tuple[float, list[int]]:
    """Smallest sum of log abar from time 0 to the last, blocks without certificate excluded where possible."""
    cost, before = np.full(count, np.inf), np.zeros(count, dtype=int)
    cost[0] = 0.0
    for m in range(1, count):
        for n in range(m):
            abar = sharp[n, m].best_on_box(beta, step)
            # a block without certificate costs more than any chain of certified ones
            dearer = float(np.log(abar)) if abar < 1.0 else 1e3
            if cost[n] + dearer < cost[m]:
                cost[m], before[m] = cost[n] + dearer, n
    path = [count - 1]
    while path[-1] > 0:
        path.append(int(before[path[-1]]))
    return float(cost[-1]), path[::-1]

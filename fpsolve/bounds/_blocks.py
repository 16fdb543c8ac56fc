"""A run cut into blocks: boundaries, grids and kernels, Harris' contraction of each with one beta for all, the best
boundaries, and the same contraction proved in ball arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _memory, _times, distances, kernels, weights
from fpsolve._messages import Status
from fpsolve.bounds._harris import Sharp
from fpsolve.bounds._record import STATEMENT, Harris, Record
from fpsolve.dynamics import Frame, Reverse
from fpsolve.grid import Grid
from fpsolve.kernels import Kernel, Operator
from fpsolve.laws import Law
from fpsolve.weights import PolynomialWeight, WeightLike

if TYPE_CHECKING:
    import xarray as xr


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
    _require_blocks("candidates", candidates, grid, pairs=True)
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
    failed = "; ".join(f"{b.t0:g} -> {b.t1:g}: {b.reason}" for b in blocks if b.value is None)
    return HarrisBlocks(
        value=product,
        statement=f"product over blocks of {STATEMENT}",
        unchecked=tuple(dict.fromkeys(what for block in blocks for what in block.unchecked)),
        reason="" if product is not None else failed,
        beta=beta,
        times=tuple(float(times[n]) for n in path),
        blocks=blocks,
    )


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


def _require_blocks(name: str, blocks: int | ArrayLike, grid: Grid, *, pairs: bool = False) -> None:
    """Refuse kernels that do not fit: of the blocks, of all up to each, of the cells; or of all pairs of times."""
    count = int(blocks) if isinstance(blocks, int | np.integer) else np.size(blocks) - 1
    kept = 0.5 * count * count if pairs else 3.0 * count
    _memory.require(name, 8.0 * kept * math.prod(grid.shape) ** 2, f"take fewer {name}, or fewer cells")


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


def _best_chain(sharp: dict[tuple[int, int], Sharp], count: int, beta: float, step: int) -> tuple[float, list[int]]:
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


#: Names of a ladder's own variables and coordinates.
RESERVED = {"bound", "t", "reverse_time", "start", "block", "t_from", "t_to", "measured", "measured_error", "factor"}
RESERVED |= {"beta", "harris"}
#: Mass of p_T and of a start that the box may miss.
_CUT = 1e-6


@dataclass(frozen=True, eq=False)
class Stages:
    """Boundaries of the blocks, grids at them, and kernels.

    Attributes
    ----------
    reverse : Reverse
    times : array, shape (n + 1,)
    grids : tuple of Grid, n + 1 of them
    blocks, whole : tuple of Kernel, n of them
        Between neighbouring boundaries, and from the first to each; from points.
    carriers : tuple of Kernel, n of them
        Between neighbouring boundaries, from cells: what carries densities to fourth order.
    halved : dict of Grid to list of Operator, n of them, or None
        Of finite volumes those on half of the steps, and of the cells where they can be halved. None for Bayes' rule.
    """

    reverse: Reverse
    times: Array
    grids: tuple[Grid, ...]
    blocks: tuple[Kernel, ...]
    whole: tuple[Kernel, ...]
    carriers: tuple[Kernel, ...]
    halved: dict[Grid, list[Operator]] | None = None

    def measured(self, start: Law, weight: WeightLike) -> tuple[Array, Array]:
        """Weighted distances of the start's run to that of p_T at the boundaries, and their errors."""
        grid, first = self.grids[0], self.reverse.marginal(float(self.times[0]))
        _require_held(grid, start, "start", "a start", "widen it, or move the start")
        runs = [grid.cell_average(start) - grid.cell_average(first)]
        for kernel in self.carriers:
            runs.append(kernel.push(runs[-1]))
        found = [distances.weighted_norm(_labelled(run, g), weight) for run, g in zip(runs, self.grids, strict=True)]
        sizes, errors = (np.array([float(one[name]) for one in found]) for name in ("distance", "error"))
        # the same difference carried from points only: of second order, so a generous measure of the error
        others = [[runs[0], *(kernel.push(runs[0]) for kernel in self.whole)]]
        if self.halved is not None:
            # finite volumes on half of the steps, and of the cells: what either leaves may cancel in both at once
            others = [[runs[0] if on == grid else grid.restrict(runs[0])] for on in self.halved]
            for carried, operators in zip(others, self.halved.values(), strict=True):
                for operator in operators:
                    carried.append(operator.push(carried[-1]))
        for carried in others:
            for n, (run, other, g) in enumerate(zip(runs, carried, self.grids, strict=True)):
                on, mine = (g, run) if other.shape == run.shape else (g.coarsen(), g.restrict(run))
                errors[n] += float(np.sum(weights.evaluate(weight, on) * np.abs(mine - other)) * on.volume)
        if self.halved is not None and len(self.halved) < 2:
            errors[1:] = np.inf
        return sizes, errors


def _labelled(values: Array, grid: Grid) -> xr.DataArray:
    import xarray as xr

    names = ("x", "y")[: grid.dim]
    return xr.DataArray(values, dims=names, coords=dict(zip(names, grid.axes, strict=True)))


def stages(
    reverse: Reverse, grid: Grid, blocks: int | ArrayLike, t_min: float | None, frame: Literal["fixed", "scaled"]
) -> Stages:
    """Check the request of a ladder and make its kernels."""
    _checks.one_of("frame", frame, ("fixed", "scaled"))
    _checks.same_dim("grid", grid.dim, "reverse", reverse.dim)
    _require_blocks("blocks", blocks, grid)
    times = _boundaries(reverse, blocks, t_min)
    grids = tuple(grid if frame == "fixed" else Frame(reverse).grid(t, grid) for t in times.tolist())
    remedy = "widen it; for a grid in z, as runs of VE and EDM have, say frame='scaled'"
    _require_held(grids[0], reverse.marginal(float(times[0])), "grid", "p_T", remedy)
    if reverse.exact and reverse.eta == 1.0:
        return _by_bayes(reverse, times, grids)
    if frame == "scaled":
        raise _checks.error("frame", "'fixed' for a score model or eta other than 1", "'scaled'")
    made = tuple(kernels.finite_volume(reverse, grid, *ends) for ends in pairwise(times.tolist()))
    whole = [made[0]]
    for kernel in made[1:]:
        whole.append(whole[-1] @ kernel)
    halved: dict[Grid, list[Operator]] = {grid: []}
    halved |= {} if any(n % 2 for n in grid.shape) else {grid.coarsen(): []}
    for ends in pairwise(times.tolist()):
        steps = kernels.finite_volume_operator(reverse, grid, *ends).steps
        for on, operators in halved.items():
            count = max(1, steps // 2) if on == grid else steps
            operators.append(kernels.finite_volume_operator(reverse, on, *ends, steps=count))
    return Stages(reverse, times, grids, made, tuple(whole), made, halved)


def _require_held(grid: Grid, law: Law, name: str, what: str, remedy: str) -> None:
    """Refuse a box that does not hold a law: its distances and kernels would be those of another one."""
    kept = float(grid.cell_average(law).sum() * grid.volume)
    if abs(kept - 1.0) > _CUT:
        raise _checks.error(name, f"a box that holds {what} up to {_CUT:g}", f"a mass of {kept:.7g} in it", remedy)


def _by_bayes(reverse: Reverse, times: Array, grids: tuple[Grid, ...]) -> Stages:
    def exact(n: int, m: int, source: Literal["point", "cell"]) -> Kernel:
        return kernels.exact(reverse, grids[n], times[n], times[m], source=source, to_grid=grids[m])

    last = range(1, len(times))
    neighbours = tuple(exact(m - 1, m, "point") for m in last)
    whole = (neighbours[0], *(exact(0, m, "point") for m in last[1:]))
    return Stages(reverse, times, grids, neighbours, whole, tuple(exact(m - 1, m, "cell") for m in last))


def _boundaries(reverse: Reverse, blocks: int | ArrayLike, t_min: float | None) -> Array:
    T = reverse.horizon
    if isinstance(blocks, int | np.integer):
        last = 1e-2 * T if t_min is None else _times.one("t_min", t_min, 0.0, T, ends="[)")
        return block_times(reverse, T, last, _checks.integer("blocks", blocks))
    return _times.decreasing("blocks", blocks, T, wanted="a number, or at least two decreasing")


def named_starts(reverse: Reverse, start: Law | Mapping[str, Law] | None) -> dict[str, Law]:
    """Starts by label; the prior where none is given."""
    if start is None:
        return {"prior": reverse.process.prior(reverse.dim)}
    given = {"given": start} if isinstance(start, Law) else start
    if not isinstance(given, Mapping) or not all(isinstance(law, Law) for law in given.values()):
        raise _checks.error("start", "a law, or laws by their labels", repr(start)[:60])
    given = dict(given)
    for label, law in given.items():
        _checks.same_dim(f"start {label!r}", law.dim, "reverse", reverse.dim)
    taken = sorted(RESERVED & set(given))
    if not given or taken:
        got = f"the reserved {taken[0]!r}" if taken else "no start"
        raise _checks.error("start", "laws by labels that a ladder does not use itself", got, "choose another label")
    return given


#: Processor seconds for one factor or one distance.
BUDGET = 60.0
#: A product of a few proved doubles is rounded by less.
OUTWARD = 1.0 + 2.0**-40


@dataclass(frozen=True, eq=False, kw_only=True)
class Proven(Record):
    """A record whose value, where there is one, is a theorem: its constants are enclosed by ball arithmetic."""

    @property
    def status(self) -> Status:
        """Proved, where there is a value."""
        return "no certificate" if self.value is None else "proved"


@dataclass(frozen=True, eq=False, kw_only=True)
class ProvedBlock(Proven, Harris):
    """A proved contraction."""


@dataclass(frozen=True, eq=False)
class Proved:
    """A block whose contraction is proved, one factor beta on V at a time; each proof is made once.

    Attributes
    ----------
    reverse : Reverse
    t0, t1 : float
    weight : Weight or callable
        1 + V.
    """

    reverse: Reverse
    t0: float
    t1: float
    weight: WeightLike
    _made: dict[float, ProvedBlock] = field(default_factory=dict, repr=False)

    def best(self, beta: float, step: int = 1) -> float:
        """The proved factor in the weight ``1 + beta V``; infinite where there is none. There is one trial only."""
        value = self.record(beta).value
        return math.inf if value is None else value

    def record(self, beta: float) -> ProvedBlock:
        """The proved factor in the weight ``1 + beta V``, or why there is none."""
        if beta not in self._made:
            self._made[beta] = self._proved(beta)
        return self._made[beta]

    def _proved(self, beta: float) -> ProvedBlock:
        weight = weights.DEFAULT if self.weight is None else self.weight
        if isinstance(weight, PolynomialWeight):
            weight = PolynomialWeight(weight.power, beta * weight.beta)
        try:
            found = room().harris(self.reverse, self.t0, self.t1, weight=weight, budget=BUDGET)
        except ValueError as refused:
            # what cannot be proved is refused in a sentence
            return self._block(beta, str(refused))
        # the constants of the proof are those of |x|^p, here V = beta |x|^p
        unit = found.beta / beta
        constants = found.gamma, unit * found.K, unit * found.R, found.overlap
        return self._block(beta, found.reason, found.value, constants, found.hypotheses)

    def _block(
        self,
        beta: float,
        reason: str,
        value: float | None = None,
        constants: tuple[float, ...] = (math.nan,) * 4,
        unchecked: tuple[str, ...] = (),
    ) -> ProvedBlock:
        gamma, K, R, overlap = constants
        return ProvedBlock(
            value=value, statement=STATEMENT, unchecked=unchecked, reason=reason, beta=beta, gamma=gamma, K=K, R=R,
            overlap=overlap, abar=math.nan if value is None else value, t0=self.t0, t1=self.t1,
        )  # fmt: skip


def room() -> ModuleType:
    """Return fpsolve.proofs; ValueError without python-flint."""
    try:
        from fpsolve import proofs
    except ImportError as reason:
        raise _checks.error("proved", "python-flint", "none installed", "pip install 'fpsolve[proofs]'") from reason
    return proofs


def distance(reverse: Reverse, start: Law, t: float, weight: WeightLike, norm: WeightLike) -> Proven:
    """A proved upper bound of the distance of a start at t to p_t in the weight, times ``sup norm/weight``."""
    statement = f"||nu - p_t||_V at t = {t!r} times the largest ratio of the norm's weight to V"
    own, other = (weights.DEFAULT if one is None else one for one in (weight, norm))
    if type(own) is not PolynomialWeight or type(other) is not PolynomialWeight or own.power != other.power:
        return Proven(value=None, statement=statement, reason="a proof needs polynomial weights of one power")
    try:
        found = room().weighted_tv(reverse, start, t=t, t_max=t, weight=own, rtol=1e-6, budget=BUDGET)
    except ValueError as refused:
        return Proven(value=None, statement=statement, reason=str(refused))
    # (1 + a |x|^p)/(1 + b |x|^p) lies between 1 and a/b
    value = found.upper * max(1.0, other.beta / max(own.beta, 1e-300)) * OUTWARD
    known = math.isfinite(value)
    reason = "" if known else found.reason
    return Proven(value=value if known else None, statement=statement, unchecked=found.hypotheses, reason=reason)

"""Where the error of a sampler comes from, step by step.

The public function: arguments checked, cells chosen where none are given, the march run, everything put into a Dataset;
and how well its total is known: cells in the norm and in the chain, mass beyond.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from math import ceil, prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _memory, distances, samplers, weights
from fpsolve._cells import unresolved
from fpsolve._messages import UnresolvedWarning, described
from fpsolve._times import decreasing, one, same
from fpsolve.decomposition._chain import SOURCES, Chain, Steps, contractions, march, moved
from fpsolve.dynamics import Frame, Reverse, identity
from fpsolve.evolution import choose_frame, covering_box
from fpsolve.grid import Grid
from fpsolve.laws import Law

if TYPE_CHECKING:
    import xarray as xr

    from fpsolve.laws import Law
    from fpsolve.samplers import Method
    from fpsolve.scores import Score
    from fpsolve.weights import WeightLike


Array = NDArray[np.float64]

#: Mass beyond the box whose weight is not known any more, and the weight of less, in units of the largest in the box.
LOST, _BEYOND = 1e-6, 4.0
#: Fewest cells along an axis of the companion.
_FEWEST = 8
#: Safety on the error of a chain; the largest fall of a difference on halved cells that is believed, of kernels with
#: noise (fourth order) and of maps by splines.
SAFETY, STEEPEST, STEEPEST_OF_MAPS = 3.3, 16.0, 256.0


def masses_of(law: Law, grid: Grid) -> Array:
    """Masses of cells."""
    return grid.cell_average(law) * grid.volume


def dataset(chain: Chain, plan: Steps, times: Array, v: Array, contraction: Array, weight: WeightLike) -> xr.Dataset:
    """Everything a march has found; v is V on the cells at every time."""
    import xarray as xr

    grid = plan.cells(float(times[-1]))
    axes = ("x", "y")[: grid.dim]
    marginals = np.stack([masses_of(plan.exact.marginal(t), plan.cells(t)) for t in times.tolist()])
    off = (np.abs(chain.reference - marginals) * v).sum(axis=tuple(range(-grid.dim, 0)))
    # what the box lacks of the laws; what a step throws out of it, kernels put into the cells at its ends
    lacking = np.abs(1.0 - chain.sampled[0].sum()) + np.abs(1.0 - marginals.reshape(len(times), -1).sum(axis=1))
    lost = lacking + np.append(0.0, np.cumsum(chain.steps["thrown"]))
    # sums over cells with V at their centres know neither roots within cells nor tails
    known = distances.weighted_norm(_labelled(plan, times, chain.sampled - marginals), weight)
    within = _finer_than_cells(chain.sampled, marginals, v)
    error, reason = chain_errors(plan, times, chain.sampled, lost, v, weight, known["error"].values + within)
    bound = chain.local * contraction[1:]
    bound[0] = chain.local[0] * contraction[0]
    discount = np.divide(chain.propagated, chain.local, out=np.full_like(chain.local, np.nan), where=chain.local > 0.0)
    made = xr.Dataset(
        {
            "local": (("source", "step"), chain.local),
            "propagated": (("source", "step"), chain.propagated),
            "discount": (("source", "step"), discount),
            "bound": (("source", "step"), bound),
            "alive": (("source", "t"), chain.alive),
            "total": ("t", known["distance"].values),
            "total_error": ("t", error),
            "contraction": ("t", contraction),
            "closure": ("t", chain.closure),
            "reference_error": ("t", off),
            "remainder": (("source", *axes), chain.remainders / grid.volume),
            "sampled": (axes, chain.sampled[-1] / grid.volume),
            "exact": (axes, marginals[-1] / grid.volume),
            **{name: ("step", values) for name, values in chain.steps.items()},
        },
        coords={
            "source": list(SOURCES),
            "step": np.arange(len(times) - 1),
            "t_from": ("step", times[:-1]),
            "t_to": ("step", times[1:]),
            "t": times,
            "reverse_time": ("t", times[0] - times),
            **dict(zip(axes, grid.axes, strict=True)),
        },
        attrs={
            "status": "estimated",
            "sampler": plan.sampler.name,
            "settings": repr(plan.sampler),
            "reference": plan.reference,
            "frame": "fixed" if plan.frame is None else "scaled",
            "score": "approximate" if plan.perturbed else "exact",
            "eta": plan.exact.eta_label,
            "total": float(known["distance"][-1]),
            "total_error": float(error[-1]),
            "total_error_reason": reason,
            "sum_of_terms": float(chain.propagated.sum()),
            "sum_of_bounds": float(bound.sum()),
        },
    )
    made.attrs = identity(plan.exact) | made.attrs
    return described(made, width="width of the kernel over that of a cell")


def chain_errors(
    plan: Steps, times: Array, sampled: Array, lost: Array, v: Array, weight: WeightLike, known: Array
) -> tuple[Array, str]:
    """Return how well the total is known, and the reason where not; lost: mass beyond the box, known: of the norm."""
    shape = plan.grid.shape
    if any(n % 2 or n < 2 * _FEWEST for n in shape):
        reason = f"no companion on half of {shape} cells: take even numbers of at least {2 * _FEWEST}"
        return np.full(len(times), np.inf), reason
    beyond = _BEYOND * np.max(v.reshape(len(times), -1), axis=1) * lost
    # either holds several times what is wrong: the larger one covers both
    errors = np.maximum(known, beyond + _from_half(plan, times, sampled, weight))
    return np.where(lost > LOST, np.inf, errors), "the laws leave the box: widen the grid" if np.any(
        lost > LOST
    ) else ""


def _finer_than_cells(sampled: Array, marginals: Array, v: Array) -> Array:
    """What cells cannot tell, at every time: of the sampler's laws so far, and of the marginal."""
    found = np.zeros((2, len(v)))
    for k, weight_values in enumerate(v):
        found[:, k] = unresolved(sampled[k], weight_values), unresolved(marginals[k], weight_values)
    return np.asarray(np.maximum.accumulate(found[0]) + found[1])


def _labelled(plan: Steps, times: Array, masses: Array) -> xr.DataArray:
    """Masses (t, cells) as densities per unit of x, with their positions at every time."""
    import xarray as xr

    names = ("z",) if plan.grid.dim == 1 else ("z_x", "z_y")
    cells = [plan.cells(t) for t in times]
    volume = np.array([one.volume for one in cells]).reshape(-1, *(1,) * plan.grid.dim)
    positions = {
        axis: (("t", name), np.stack([one.axes[k] for one in cells]))
        for k, (axis, name) in enumerate(zip("xy", names, strict=False))
    }
    return xr.DataArray(masses / volume, dims=("t", *names), coords={"t": times, **positions})


def _from_half(plan: Steps, times: Array, sampled: Array, weight: WeightLike) -> Array:
    """Error of the sampler's law by its chains on half and, where there are enough, a quarter of the cells.

    The V-norm of the difference d of the laws on all and on half of the cells, and where that on a quarter shows how
    differences fall, ``3.3 d/(d_before/d - 1)``, falling by no more than is believed. Where half the cells move noise
    by splines and all of them do not, the coarser law may be the better one: then d is what there is.
    """
    gaps, chain, splines = _on_half(plan, times, sampled, weight)
    shape = tuple(n // 2 for n in plan.grid.shape)
    if any(n % 2 or n < 2 * _FEWEST for n in shape):
        return gaps
    before, *_ = _on_half(replace(plan, grid=Grid(plan.grid.bounds, shape)), times, chain, weight)
    pairs = zip(times[:-1].tolist(), times[1:].tolist(), strict=True)
    maps = plan.sampler.memory or all(plan.step(t0, t1).deterministic for t0, t1 in pairs)
    most = STEEPEST_OF_MAPS if maps else STEEPEST
    fall = np.minimum(np.divide(before, gaps, out=np.ones_like(gaps), where=gaps > 0.0), most)
    return np.asarray(gaps * np.where(splines, 1.0, np.minimum(1.0, SAFETY / np.maximum(fall - 1.0, 1.0))))


def _on_half(plan: Steps, times: Array, sampled: Array, weight: WeightLike) -> tuple[Array, Array, list[bool]]:
    """V-norm of what the sampler's chain on half of the cells differs by at every time, that chain, and whether
    noise was moved by splines there.
    """
    half = replace(plan, grid=Grid(plan.grid.bounds, tuple(n // 2 for n in plan.grid.shape)))
    # pairs of cells, axis by axis
    coarse = sampled[:, ::2] + sampled[:, 1::2]
    if plan.grid.dim == 2:
        coarse = coarse[:, :, ::2] + coarse[:, :, 1::2]
    chain, gaps, splines = [coarse[0]], [0.0], [False]
    with warnings.catch_warnings():
        # what coarse cells are warned of, the given ones were too, or their error says so
        warnings.simplefilter("ignore")
        for k, t in enumerate(times[1:]):
            kernel, begun = half.sampled(times, k)
            noisy = not half.step(float(times[k]), float(t)).deterministic
            splines.append(splines[-1] or (noisy and not kernel.stochastic))
            chain.append(moved(kernel, chain[begun]))
            v = weights.evaluate(weight, half.cells(float(t)))
            gaps.append(float((np.abs(coarse[k + 1] - chain[-1]) * v).sum()))
    return np.array(gaps), np.stack(chain), splines


#: Bytes of a step: its formulas, as an object.
STEP_BYTES = 600.0


#: Without a grid: weighted mass left beyond a side of the box, cells per narrowest width at first, fewest and most
#: along an axis, and the share of the total, or of so small a one, to which it has to be known.
_TAIL, _PER_WIDTH, _CELLS = 1e-6, {1: 6.0, 2: 2.0}, {1: (200, 1600), 2: (48, 96)}
_SHARE, _SMALL = 0.01, 1e-3
#: Share of T at which the scale of the laws is that of the data.
_NEARLY_DATA = 1e-6
#: A start must have all but this mass inside of the box.
_LOST_MASS = 1e-6
#: Dobrushin coefficients are computed from so many times on, on grids of at most so many cells.
_BLOCKS, _BLOCK_CELLS = 6, 1000


def errors(
    reverse: Reverse,
    sampler: Method,
    *,
    start: Law | ArrayLike,
    grid: Grid | None = None,
    frame: Literal["auto", "fixed", "scaled"] = "auto",
    times: ArrayLike | None = None,
    steps: int | None = None,
    t_min: float | None = None,
    score: Score | None = None,
    weight: WeightLike = None,
    blocks: int = _BLOCKS,
    progress: bool | None = None,
    **options: Any,
) -> xr.Dataset:
    r"""Split the error of a sampler into what each step of it contributes, exactly.

    The sampler's chain ``mu_{k+1} = mu_k K_k`` runs on times ``t_0 > ... > t_n`` from a start nu; P_k are the kernels
    of the exact reverse dynamics, Q_k those of the continuous-time dynamics with the approximate score. Then

    .. math:: \mu_n - p_{t_n} = (\nu - p_{t_0}) P_0 \cdots P_{n-1}
              + \sum_k \mu_k (K_k - Q_k) P_{k+1} \cdots P_{n-1} + \sum_k \mu_k (Q_k - P_k) P_{k+1} \cdots P_{n-1}:

    initialization, discretization and score errors, every one a signed density that is carried to the end by the exact
    kernels. Norms of terms are ``||w||_V = int V |w|``, sums over cells with V at their centres (second order in the
    cell width); `total` is `fpsolve.distances.weighted_norm`. The identity holds on the grid to rounding (`closure`);
    how well the grid's exact chain knows ``p_t`` is `reference_error`, and how well `total` is known `total_error`.

    Parameters
    ----------
    reverse : Reverse
        Target, process, eta, and the score if it is not the exact one.
    sampler : str or Sampler
        One of `fpsolve.samplers.names`, or a sampler of one's own. P and Q have the noise of what the method
        discretises (`Sampler.eta`): its own eta or that of `reverse`, for edm the flow after the method's own churn.
        Of a method that remembers earlier steps mu_k is the start moved by the map of its first k steps, and
        ``mu_k K_k`` stands for mu_{k+1}; one that adds noise too has no mu_k on a grid and is refused.
    start : Law or array of shape (*grid.shape)
        nu; an array holds cell averages, and needs `grid`.
    grid : Grid, optional
        1D or 2D; in the scaled frame in z. Kernels are matrices up to 2000 cells in 1D and 48 x 48 in 2D, and applied
        without matrices beyond. Default: a box around the start and the laws on the way, whose cells are halved until
        `reference_error` and `total_error` at the end are below a hundredth of `total` (or below 1e-5).
    frame : {"auto", "fixed", "scaled"}
        Coordinate of the cells: x, or ``z = (x - m(t))/S(t)`` with mean and standard deviation of ``p_t`` per axis, so
        that one number of cells serves VE and EDM from beginning to end; "auto" as in `fpsolve.evolve`.
    times : array, shape (n + 1,), optional
        Decreasing forward times in [t_min, T]; or
    steps : int, optional
        as many equal steps from T to `t_min`.
    t_min : float, optional
        Where the run ends, needed with `steps`.
    score : callable ``score(t, x)``, optional
        The approximate score, in place of the one of `reverse`.
    weight : Weight or callable, optional
        V, default ``1 + |x|^2``.
    blocks : int
        Number of times from which Dobrushin coefficients are computed for the bounds, default 6;
        0 leaves only the growth of V, as do grids of more than 1000 cells.
    progress : bool, optional
        Show a bar; default on terminals.
    **options
        Of the sampler, see `fpsolve.samplers.get`: `eta` in place of the one of `reverse`, `churn` and others.

    Returns
    -------
    Dataset
        Over ``source`` (initialization, discretization, score) and ``step``: `local` (V-norm where the error arises),
        `propagated` (what is left at the end), `discount` (their ratio, NaN without local error) and `bound` (local
        times contraction). The initialization error stands in step 0. Over ``t``: `alive(source, t)`, the norm of the
        sum of all errors of a source so far; `total`, the measured ``||mu_k - p_t||_V`` against the exact marginal;
        `total_error`, how well it is known: the larger of quadrature and of what the sampler's chains on half and a
        quarter of the cells and mass beyond the box say (infinite where that mass is more than 1e-6, or cells cannot be
        halved: attrs["total_error_reason"]);
        `contraction` from t to the end; `closure`; `reference_error`. Signed densities at the end: `remainder(source,
        x[, y])`, `sampled`, `exact`. Of the sampler's kernels: `width(step)`, the noise in cell widths (a step below
        about 1 moves splines, in 1D), `averaged(step)`, the share of sources averaged over their cells (each such step
        adds a variance of about h^2/6), `beyond(step)`, the largest mass a source throws out of the box,
        `thrown(step)`, the mass that the sampler's density throws out, and `negative(step)`. attrs: `total`,
        `total_error`, `sum_of_terms`, `sum_of_bounds`, inputs; `early_stopping`, the term that none of these holds,
        ``||p_{t_n} - p_0||_V`` from where the run ends to the data, and `early_stopping_error` (NaN and infinite where
        the data have no density), see `fpsolve.distances.early_stopping`.

    Raises
    ------
    ValueError
        A sampler that does not exist, times that do not decrease or leave [t_min, T], a start on another grid or
        outside of the box, mixed dimensions.

    References
    ----------
    The telescoping is that of Lindeberg; contraction by Dobrushin 1956, doi:10.1137/1101006.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(1.0, std=0.5), fp.OrnsteinUhlenbeck(T=3.0))
    >>> found = errors(reverse, "euler-maruyama", start=fp.Gaussian(0.0, std=1.0), steps=20, t_min=0.05,
    ...                grid=fp.Grid.uniform((-6, 6), cells=200))
    >>> bool(found.attrs["total"] <= found.attrs["sum_of_terms"] <= found.attrs["sum_of_bounds"])
    True
    >>> bool(found["closure"].max() < 1e-12)
    True
    """
    _checks.instances(reverse=(reverse, Reverse))
    if grid is not None:
        _checks.instances(grid=(grid, Grid))
        _checks.same_dim("grid", grid.dim, "reverse", reverse.dim)
    began = time.perf_counter()
    method = samplers.get(sampler, "sampler", **options)
    if method.memory and not method.deterministic:
        remedy = "its law is one of x and what it remembers: use fpsolve.particles.simulate"
        raise _checks.error("sampler", "one that remembers no steps or adds no noise", repr(method.name), remedy)
    if score is not None:
        reverse = Reverse(reverse.target, reverse.process, score, reverse.eta)
    nodes = _times(reverse, times, steps, t_min)
    # the scale at 0 is that of just above
    picture = choose_frame(reverse, frame, grid, max(float(nodes[-1]), _NEARLY_DATA * reverse.horizon))
    method = method.in_steps(len(nodes) - 1)
    tried = _grids(reverse, picture, nodes, start, weight) if grid is None else [grid]
    for cells in tried:
        plan = Steps.of(method, reverse, cells, picture, len(nodes) - 1)
        found = _on(plan, nodes, start, weight, blocks, progress)
        if grid is not None or _doubt(found) <= _SHARE * max(found.attrs["total"], _SMALL):
            break
    else:
        why = found.attrs["total_error_reason"] or "give a finer grid, or fewer steps to take apart"
        known = f"the total of {found.attrs['total']:.3g} to {_doubt(found):.2g} only"
        said = f"grid: {plan.grid.shape} cells know {known}, not to a hundredth: {why}"
        warnings.warn(said, UnresolvedWarning, stacklevel=2)
    inputs = {"weight": weights.to_json(weight), "wall_time_s": time.perf_counter() - began}
    left = _left_to_data(reverse, float(nodes[-1]), plan.cells(float(nodes[-1])), weight)
    return found.assign_attrs(inputs | left)


def _on(
    plan: Steps, nodes: Array, start: Law | ArrayLike, weight: WeightLike, blocks: int, progress: bool | None
) -> xr.Dataset:
    """Everything on given cells."""
    grid = plan.grid
    if plan.reference == "finite volumes" or (plan.perturbed and not plan.exact.noiseless):
        _checks.positive("t_min", nodes[-1], "finite volumes stop short of 0")
    _memory.require("grid", 160.0 * prod(grid.shape) * len(nodes), "take fewer cells or steps")
    if grid.dim == 1:  # noise moves every cell to a share of all others
        _memory.say_if_long("decomposition.errors", 3e-10 * len(nodes) * float(prod(grid.shape)) ** 2)
    v = np.stack([weights.evaluate(weight, plan.cells(t)) for t in nodes.tolist()])
    nu = _start(start, plan.cells(float(nodes[0])))
    chain = march(plan, nodes, nu, masses_of(plan.exact.marginal(nodes[0]), plan.cells(float(nodes[0]))), v, progress)
    # Dobrushin coefficients are computed from so many steps on
    few = _checks.integer("blocks", blocks, minimum=0) if prod(grid.shape) <= _BLOCK_CELLS else 0
    begin = sorted({int(k) for k in np.linspace(0, len(nodes) - 1, min(few, len(nodes) - 1), endpoint=False)})
    contraction = contractions(chain.exact, v, begin)
    return dataset(chain, plan, nodes, v, contraction, weight)


def _grids(
    reverse: Reverse, picture: Frame | None, nodes: Array, start: Law | ArrayLike, weight: WeightLike
) -> Iterator[Grid]:
    """Finer and finer cells, in a box around the start and the laws along the way."""
    if not isinstance(start, Law):
        raise _checks.error("grid", "the Grid of the cells of start", "None", "give a law, or the grid")
    boxes = []
    for t, law in [(nodes[0], start), *((t, reverse.marginal(float(t))) for t in nodes)]:
        ends = np.array(covering_box([law], weight, _TAIL)).T
        if picture is not None:
            ends = (ends - picture.center(t)) / picture.scale(t)
        boxes.append(ends)
    low, high = np.min(boxes, axis=0)[0], np.max(boxes, axis=0)[1]
    last = reverse.marginal(float(nodes[-1]))
    stds = np.sqrt(np.diag(np.atleast_2d(last.cov)))
    width = np.ones_like(stds) if picture is None else picture.scale(nodes[-1])
    narrow = (last.smallest_std or float(np.min(stds)) / 4.0) / width
    fewest, most = _CELLS[reverse.dim]
    wished = np.clip(_PER_WIDTH[reverse.dim] * (high - low) / narrow, fewest, most)
    cells = [2 * ceil(wish / 2.0) for wish in wished]
    while True:
        yield Grid(tuple(zip(low.tolist(), high.tolist(), strict=True)), tuple(cells))
        if max(cells) >= most:
            return
        cells = [2 * n for n in cells]


def _doubt(found: xr.Dataset) -> float:
    """How well the total at the end and the chain it is taken apart with are known."""
    return max(float(found["reference_error"][-1]), float(found.attrs["total_error"]))


def _left_to_data(reverse: Reverse, t: float, grid: Grid, weight: WeightLike) -> dict[str, float]:
    """How far the marginal at the end is from the law of the data, and the error of that."""
    value, error = 0.0, 0.0
    if np.trace(np.atleast_2d(reverse.target.cov)) == 0.0:
        # a point has no density
        value, error = np.nan, np.inf
    elif t > 0.0:
        found = distances.early_stopping(reverse, t, weight, grid=grid)
        value, error = float(found["distance"]), float(found["error"])
    return {"early_stopping": value, "early_stopping_error": error}


def _times(reverse: Reverse, times: ArrayLike | None, steps: int | None, t_min: float | None) -> Array:
    """Decreasing forward times."""
    horizon = reverse.horizon
    if _checks.exactly_one(times=times, steps=steps) == "steps":
        count = _checks.integer("steps", steps)
        _memory.require("steps", STEP_BYTES * count, "take fewer steps")
        if t_min is None:
            raise _checks.error("t_min", "the forward time at which equal steps end", "none", "pass t_min=0.01, say")
        end = one("t_min", t_min, 0.0, horizon, ends="[)")
        return np.linspace(horizon, end, count + 1)
    nodes = decreasing("times", _checks.finite_array("times", times), horizon)
    last = 0.0 if t_min is None else one("t_min", t_min, 0.0, horizon)
    if nodes[-1] < last and not same(nodes[-1], last, horizon):
        expected = f"a grid in [t_min, T] = [{_checks.digits(last)}, {_checks.digits(horizon)}]"
        raise _checks.error("times", expected, f"an end at {_checks.digits(nodes[-1])}")
    return nodes


def _start(start: Law | ArrayLike, grid: Grid) -> Array:
    """Masses of the start."""
    if isinstance(start, Law):
        _checks.same_dim("start", start.dim, "grid", grid.dim)
        masses = masses_of(start, grid)
    else:
        remedy = f"give cell averages on the {grid.shape} cells of grid, or a law"
        masses = _checks.finite_array("start", start, shape=grid.shape, remedy=remedy) * grid.volume
    mass = float(masses.sum())
    if abs(mass - 1.0) > _LOST_MASS:
        raise _checks.error("start", "a probability inside of the box", f"mass {mass:.8g}", "widen the grid")
    return masses

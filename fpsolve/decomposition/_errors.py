"""Where the error of a sampler comes from, step by step, and how well its total is known.

How well the total of a decomposition is known: cells in the norm and in the sampler's chain, mass beyond the box.

The public function: arguments checked, the march run, everything put into a Dataset.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _memory, distances, samplers, weights
from fpsolve._times import decreasing, one, same
from fpsolve.decomposition._chain import SOURCES, Chain, contractions, march
from fpsolve.decomposition._steps import Steps
from fpsolve.dynamics import Reverse
from fpsolve.grid import Grid
from fpsolve.laws import Law

if TYPE_CHECKING:
    import xarray as xr

    from fpsolve.samplers import Method
    from fpsolve.scores import Score
    from fpsolve.weights import WeightLike


Array = NDArray[np.float64]

#: Mass beyond the box whose weight is not known any more, and the weight of less, in units of the largest in the box.
_LOST, _BEYOND = 1e-6, 4.0
#: Fewest cells along an axis of the companion.
_FEWEST = 8

#: Bytes of a step: its formulas, as an object.
STEP_BYTES = 600.0


def total_errors(
    plan: Steps, times: Array, sampled: Array, total: Array, marginals: Array, lost: Array, weight: WeightLike
) -> tuple[Array, str]:
    """Return the error of every total, and the reason where one is infinite; lost is the mass beyond the box so far."""
    import xarray as xr

    grid, names = plan.grid, ("x", "y")[: plan.grid.dim]
    w = xr.DataArray(sampled - marginals, dims=("t", *names), coords=dict(zip(names, grid.axes, strict=True)))
    # its error counts roots within cells and tails, which sums over cells with V at their centres do not know
    found = distances.weighted_norm(w, weight)
    norm = np.abs(found["distance"].values - total) + found["error"].values
    beyond = _BEYOND * float(np.max(weights.evaluate(weight, grid))) * lost
    if any(n % 2 or n < 2 * _FEWEST for n in grid.shape):
        reason = f"no companion on half of {grid.shape} cells: take even numbers of at least {2 * _FEWEST}"
        return np.full(len(times), np.inf), reason
    errors = np.where(lost > _LOST, np.inf, norm + beyond + _from_half(plan, times, sampled, weight))
    return errors, "the sampler leaves the box: widen the grid" if np.any(lost > _LOST) else ""


def _from_half(plan: Steps, times: Array, sampled: Array, weight: WeightLike) -> Array:
    """V-norm of what the sampler's chain on half of the cells differs by: three times the error of second order."""
    half = replace(plan, grid=Grid(plan.grid.bounds, tuple(n // 2 for n in plan.grid.shape)))
    v = weights.evaluate(weight, half.grid) * half.grid.volume
    # pairs of cells, axis by axis
    coarse = 0.5 * (sampled[:, ::2] + sampled[:, 1::2])
    if plan.grid.dim == 2:
        coarse = 0.5 * (coarse[:, :, ::2] + coarse[:, :, 1::2])
    chain, gaps = [coarse[0]], [0.0]
    with warnings.catch_warnings():
        # what coarse cells are warned of, the given ones were too, or their error says so
        warnings.simplefilter("ignore")
        for k in range(len(times) - 1):
            kernel, begun = half.sampled(times, k)
            chain.append(kernel.push(chain[begun]))
            gaps.append(float((np.abs(coarse[k + 1] - chain[-1]) * v).sum()))
    return np.array(gaps)


#: A start must have all but this mass inside of the box.
_LOST_MASS = 1e-6
#: Dobrushin coefficients are computed from so many times on, on grids of at most so many cells.
_BLOCKS, _BLOCK_CELLS = 6, 1000


def errors(
    reverse: Reverse,
    sampler: Method,
    *,
    start: Law | ArrayLike,
    grid: Grid,
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
    kernels. All norms are ``||w||_V = int V |w|``, sums over cells with V at their centres (second order in the cell
    width). The identity holds on the grid to rounding (`closure`); how well the grid's exact chain knows ``p_t`` is
    `reference_error`, and how well `total` is known `total_error`.

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
        nu; an array holds cell averages.
    grid : Grid
        1D or 2D. Kernels are matrices up to 2000 cells in 1D and 48 x 48 in 2D, and applied without matrices beyond.
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
        `total_error`, how well it is known: V at centres of cells, the sampler's chain on half of the cells, mass that
        leaves the box (infinite where that is more than 1e-6, or cells cannot be halved: attrs["total_error_reason"]);
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
    _checks.instances(reverse=(reverse, Reverse), grid=(grid, Grid))
    began = time.perf_counter()
    method = samplers.get(sampler, "sampler", **options)
    if method.memory and not method.deterministic:
        remedy = "its law is one of x and what it remembers: use fpsolve.particles.simulate"
        raise _checks.error("sampler", "one that remembers no steps or adds no noise", repr(method.name), remedy)
    _checks.same_dim("grid", grid.dim, "reverse", reverse.dim)
    if score is not None:
        reverse = Reverse(reverse.target, reverse.process, score, reverse.eta)
    nodes = _times(reverse, times, steps, t_min)
    plan = Steps.of(method.in_steps(len(nodes) - 1), reverse, grid)
    if plan.reference == "finite volumes" or (plan.perturbed and not plan.exact.noiseless):
        _checks.positive("t_min", nodes[-1], "finite volumes stop short of 0")
    _memory.require("grid", 160.0 * prod(grid.shape) * len(nodes), "take fewer cells or steps")
    if grid.dim == 1:  # noise moves every cell to a share of all others
        _memory.say_if_long("decomposition.errors", 3e-10 * len(nodes) * float(prod(grid.shape)) ** 2)
    v = weights.evaluate(weight, grid)
    nu = _start(start, grid)
    first = grid.cell_average(plan.exact.marginal(nodes[0]))
    chain = march(plan, nodes, nu, first, v * grid.volume, progress)
    found = contractions(chain.exact, v, _boundaries(blocks, len(nodes) - 1, prod(grid.shape)))
    dataset = _dataset(chain, plan, nodes, v, found, weight)
    inputs = {"weight": weights.to_json(weight), "wall_time_s": time.perf_counter() - began}
    return dataset.assign_attrs(inputs | _left_to_data(reverse, float(nodes[-1]), grid, weight))


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
    """Cell averages of the start."""
    if isinstance(start, Law):
        _checks.same_dim("start", start.dim, "grid", grid.dim)
        averages = grid.cell_average(start)
    else:
        remedy = f"give cell averages on the {grid.shape} cells of grid, or a law"
        averages = _checks.finite_array("start", start, shape=grid.shape, remedy=remedy)
    mass = float(averages.sum() * grid.volume)
    if abs(mass - 1.0) > _LOST_MASS:
        raise _checks.error("start", "a probability inside of the box", f"mass {mass:.8g}", "widen the grid")
    return averages


def _boundaries(blocks: int, n: int, cells: int) -> list[int]:
    """Steps from which Dobrushin coefficients are computed."""
    _checks.integer("blocks", blocks, minimum=0)
    if blocks == 0 or cells > _BLOCK_CELLS:
        return []
    return sorted({int(k) for k in np.linspace(0, n, blocks, endpoint=False)})


def _dataset(chain: Chain, plan: Steps, times: Array, v: Array, contraction: Array, weight: WeightLike) -> xr.Dataset:
    import xarray as xr

    grid = plan.grid
    axes = ("x", "y")[: grid.dim]
    cell_weights = v * grid.volume
    space = tuple(range(-grid.dim, 0))
    marginals = np.stack([grid.cell_average(plan.exact.marginal(t)) for t in times])
    total = (np.abs(chain.sampled - marginals) * cell_weights).sum(axis=space)
    off = (np.abs(chain.reference - marginals) * cell_weights).sum(axis=space)
    # what a step throws out of the box, kernels put into the cells at its ends
    lost = np.abs(1.0 - chain.sampled[0].sum() * grid.volume) + np.append(0.0, np.cumsum(chain.steps["thrown"]))
    uncertain, reason = total_errors(plan, times, chain.sampled, total, marginals, lost, weight)
    bound = chain.local * contraction[1:]
    bound[0] = chain.local[0] * contraction[0]
    discount = np.full_like(chain.local, np.nan)
    np.divide(chain.propagated, chain.local, out=discount, where=chain.local > 0.0)
    per_step = {name: ("step", values) for name, values in chain.steps.items()}
    both = ("source", "step")
    return xr.Dataset(
        {
            "local": (both, chain.local),
            "propagated": (both, chain.propagated),
            "discount": (both, discount),
            "bound": (both, bound),
            "alive": (("source", "t"), chain.alive),
            "total": ("t", total),
            "total_error": ("t", uncertain),
            "contraction": ("t", contraction),
            "closure": ("t", chain.closure),
            "reference_error": ("t", off),
            "remainder": (("source", *axes), chain.remainders),
            "sampled": (axes, chain.sampled[-1]),
            "exact": (axes, marginals[-1]),
            **per_step,
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
            "score": "approximate" if plan.perturbed else "exact",
            "eta": plan.exact.eta_label,
            "total": float(total[-1]),
            "total_error": float(uncertain[-1]),
            "total_error_reason": reason,
            "sum_of_terms": float(chain.propagated.sum()),
            "sum_of_bounds": float(bound.sum()),
        },
    )

"""How far a run is from the marginals that its score should lead to: what a score error costs, with error bars."""

import xarray as xr

from fpsolve import _checks, _runs, weights
from fpsolve._checks import FloatArray
from fpsolve.distances._curves import curve_of, level_error, previous, solver_rounding, unbounded
from fpsolve.distances._fields import Frame, aligned
from fpsolve.distances._norms import weighted_norm_of_rows
from fpsolve.distances.weighted import input_rounding
from fpsolve.dynamics import Reverse
from fpsolve.grid import Grid
from fpsolve.marginals import FastLaw
from fpsolve.weights import WeightLike

__all__ = ["to_marginals"]


def to_marginals(run: xr.Dataset, reverse: Reverse, weight: WeightLike = None) -> xr.Dataset:
    r"""Return ``t -> ||q_t - p_t||_V``, the distance of every start of a run to the marginals of the forward process.

    With the exact score a run from ``p_T`` stays at 0, up to its error; with a score model the curve from ``p_T`` is
    what the error of the score has cost so far, and the curve from the prior adds the error of the start.

    Parameters
    ----------
    run : Dataset
        What `fpsolve.evolve` returned for `reverse`: cell averages over (start, t, x[, y]).
    reverse : Reverse
        Its target and process define ``p_t``; its score and eta are those of the run.
    weight : weight, callable or None
        V >= 1, default ``1 + |x|^2``.

    Returns
    -------
    Dataset
        `distance`, `error`, `rate` and the parts of the error over (start, t), as `fpsolve.forgetting_curve` returns
        them and `fpsolve.plots.forgetting` draws them. The error is that of the run's own density: level, quadrature,
        tail and rounding. A distance below its error means that nothing was found.

    Raises
    ------
    ValueError
        If the run lacks densities, its dimension is not the target's, or it says that it is one of another target or
        process.

    Examples
    --------
    >>> import fpsolve as fp
    >>> target, process = fp.Gaussian(0.5, std=0.5), fp.VP()
    >>> model = fp.scores.perturbed(fp.scores.exact(target, process), fp.scores.errors.Bias(0.1))
    >>> reverse = fp.Reverse(target, process, score=model)
    >>> run = fp.evolve(reverse, {"exact": reverse.marginal(1.0)}, t_min=0.01, tol=1e-4)
    >>> cost = to_marginals(run, reverse).isel(start=0, t=-1)
    >>> f"{float(cost.distance):.3f}", bool(cost.error < 1e-4)
    ('0.217', True)
    """
    _checks.instances(reverse=(reverse, Reverse))
    given, run = run, _runs.tidy(run)
    density = run["density"].transpose("start", "t", ...)
    truth = _marginals_on(density.isel(start=0, drop=True), reverse)
    _runs.require_made_of(run, target=reverse.target, process=reverse.process)
    frame = aligned(density=density, marginals=truth)
    q, p = frame.rows(density), frame.rows(truth)
    norm = weighted_norm_of_rows(q - p, frame, weight, unbounded=unbounded(run), densities=(p, q))
    rounding = input_rounding(frame, weight, q, p, growth=solver_rounding(run))
    # the marginals are exact on every level, so what is left of the difference is the density's own
    level = level_error(run, previous(run), frame, q, weight)
    attrs = {"quantity": "weighted total variation to the marginals", "weight": weights.to_json(weight)}
    return _runs.in_order_of(given, curve_of(run, frame, attrs, norm, rounding, level))


def _marginals_on(density: xr.DataArray, reverse: Reverse) -> xr.DataArray:
    """Cell averages of p_t where the density (t, x[, y]) has its cells."""
    frame = aligned(density=density)
    _checks.same_dim("run", frame.dim, "the target", reverse.target.dim)
    times = [float(t) for t in density["t"].values]
    return density.copy(data=[_cells(frame, k, reverse, t) for k, t in enumerate(times)])


def _cells(frame: Frame, row: int, reverse: Reverse, t: float) -> FloatArray:
    low, spacing = ([float(part[min(row, len(part) - 1)]) for part in axis] for axis in (frame.low, frame.spacing))
    bounds = [(a, a + h * n) for a, h, n in zip(low, spacing, frame.shape, strict=True)]
    grid = Grid.uniform(bounds[0], cells=frame.shape[0]) if frame.dim == 1 else Grid.uniform(bounds, cells=frame.shape)
    law = reverse.marginal(t)
    mixture = law.components
    # in the plane a rotated component has no closed form of a cell's mass: quadrature of the compiled density
    return grid.cell_average(law if mixture is None or frame.dim == 1 else FastLaw(mixture))

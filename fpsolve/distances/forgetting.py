"""How fast a run forgets where it started: distances to a reference start over time, with error and rate."""

import xarray as xr

from fpsolve import _checks, _runs, weights
from fpsolve.distances._curves import curve_of, level_error, previous, solver_rounding, unbounded
from fpsolve.distances._fields import aligned
from fpsolve.distances._norms import weighted_norm_of_rows
from fpsolve.distances.weighted import input_rounding
from fpsolve.weights import WeightLike

__all__ = ["forgetting_curve"]


def forgetting_curve(run: xr.Dataset, reference: str = "exact", weight: WeightLike = None) -> xr.Dataset:
    """Return ``t -> ||nu_1 P_{T->t} - nu_2 P_{T->t}||_V`` for every start against a reference, with rate and error.

    With the signed difference ``w = p_start - p_reference`` of the stored cell averages,

    * distance = ``int V |w| dx``, by the conservative spline split at its roots (see `weighted_tv`);
    * rate = ``-d log(distance) / dr`` in reverse time r, by second-order differences on the given times;
    * error = what the discretisation leaves in *w*: ``error_factor * sum V |restrict(w) - w_previous| * volume`` with
      the previous level (or extrapolation) stored in the run, plus quadrature, plus the V-weighted tail of w
      beyond the box, plus round-off. The starts share grid and steps, so their errors cancel in w: a distance
      far below the densities' own errors still has correct digits, and the error shows how many.

    Parameters
    ----------
    run : Dataset
        What `evolve` returns: `density(start, t, x[, y])` (cell averages) and, unless estimated errors were switched
        off, `density_previous` on half as many cells; attrs `error_factor` and, where the state space is the
        box itself, ``unbounded = 0``.
    reference : str, default "exact"
        Label of the start all others are compared with.
    weight : weight, callable or None
        V >= 1, default ``1 + |x|^2``.

    Returns
    -------
    Dataset
        `distance`, `error` and `rate` over (start, t), the reference left out; `quadrature_error`, `level_error`,
        `tail_error` and `rounding_error` are the parts of `error`. Coordinates of t, such as `reverse_time`, are
        kept. The rate is NaN where the distance is 0 and where there are fewer than two times. Without
        `density_previous` the level error, hence `error`, is NaN and attrs["note"] says so.

    Raises
    ------
    ValueError
        If the run lacks a density, times, positions, the attribute that scales its errors or the reference, or has no
        start besides it, or is two runs put together.

    Examples
    --------
    >>> import numpy as np
    >>> from fpsolve import Gaussian, Grid
    >>> grid, times = Grid.uniform((-9, 9), cells=200), [2.0, 1.0, 0.0]
    >>> laws = {"exact": lambda t: Gaussian(0.0, std=1.0), "off": lambda t: Gaussian(1e-3 * np.exp(t), std=1.0)}
    >>> density = [[grid.cell_average(law(t)) for t in times] for law in laws.values()]
    >>> run = xr.Dataset(
    ...     {"density": (("start", "t", "x"), density)},
    ...     coords={"start": list(laws), "t": times, "reverse_time": ("t", [0.0, 1.0, 2.0]), "x": grid.x},
    ... )
    >>> curve = forgetting_curve(run)
    >>> curve.rate.sel(start="off").values.round(3)
    array([1., 1., 1.])
    """
    given, run = run, _runs.tidy(run)
    _require(run, reference)
    density = run["density"].transpose("start", "t", ...)
    fixed = density.sel(start=reference, drop=True)
    others = density.drop_sel(start=reference)
    frame = aligned(density=others, reference=fixed)
    p, q = frame.rows(others), frame.rows(fixed)
    norm = weighted_norm_of_rows(p - q, frame, weight, unbounded=unbounded(run), densities=(p, q))
    rounding = input_rounding(frame, weight, p, q, growth=solver_rounding(run))
    before = previous(run)
    signed = None if before is None else before.drop_sel(start=reference) - before.sel(start=reference, drop=True)
    level = level_error(run, signed, frame, p - q, weight)
    curve = curve_of(run, frame, _attrs(run, reference, weight), norm, rounding, level)
    return _runs.in_order_of(given, curve)


def _require(run: xr.Dataset, reference: str) -> None:
    labels = run["start"].values.tolist()
    _checks.one_of("reference", reference, labels, "name a start of the run")
    if len(labels) < 2:
        raise _checks.error("run", "a start besides the reference", f"{labels}", "evolve at least two starts")


def _attrs(run: xr.Dataset, reference: str, weight: WeightLike) -> dict[str, str]:
    return {
        "quantity": "weighted total variation to the reference start",
        "reference": reference,
        "weight": weights.to_json(weight),
    }

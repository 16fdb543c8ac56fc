"""Early stopping: how far p_{t_min}, at which every run and sampler stops, is from the data's law p_0."""

from __future__ import annotations

from math import ceil

import numpy as np
import xarray as xr

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.distances._spectral import COARSE, Field, unresolved
from fpsolve.distances._weighted import weighted_tv
from fpsolve.dynamics import Reverse
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.marginals import FastLaw
from fpsolve.weights import WeightLike

#: The default grid: standard deviations to each side, cells per narrowest width, cells at most per axis in 1D and 2D.
_REACH, _CELLS, _MOST = 10.0, 6.0, (4000, 320)


def early_stopping(
    reverse: Reverse, t_min: float, weight: WeightLike = None, *, grid: Grid | None = None
) -> xr.Dataset:
    """Return ``||p_{t_min} - p_0||_V``, what a run loses by stopping at t_min > 0 even if it is exact.

    Errors of runs and samplers are measured against p_{t_min}; this is the term left to the data's law. It belongs to
    every error budget, and is often the largest part of it.

    Parameters
    ----------
    reverse : Reverse
        Its target is p_0 and its process noises it; score and eta do not matter.
    t_min : float
        Forward time in [0, T] at which the run ends.
    weight : weight, callable or None
        V >= 1, default ``1 + |x|^2``.
    grid : Grid, optional
        Default: ten standard deviations of p_0 to each side, six cells per narrowest width (at most 4000, in 2D 320
        per axis).

    Returns
    -------
    Dataset
        `distance` and `error`, as of `weighted_tv`; infinite where the cells do not resolve p_0.

    Raises
    ------
    ValueError
        A time outside of [0, T]; a target of points, of which every p_t is 2 away in total variation; no finite
        variance and no grid.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=0.5), fp.OrnsteinUhlenbeck(T=2.0))
    >>> round(float(early_stopping(reverse, 0.01).distance), 6)
    0.044059
    """
    _checks.instances(reverse=(reverse, Reverse))
    t = _checks.interval("t_min", t_min, 0.0, reverse.horizon)
    target = reverse.target
    if np.trace(np.atleast_2d(target.cov)) == 0.0:
        raise _checks.error("reverse", "a target with a density", repr(target)[:60], "give its kernel density")
    if grid is None:
        grid = _grid(target)
    _checks.same_dim("grid", grid.dim, "the target", target.dim)
    names = ("x", "y")[: grid.dim]
    p, q = (
        xr.DataArray(_cells(law, grid), dims=names, coords=dict(zip(names, grid.axes, strict=True)))
        for law in (reverse.marginal(t), target)
    )
    low, spacing = (tuple(part[0] for part in grid.bounds), tuple(float(h) for h in grid.spacing))
    result = weighted_tv(p, q, weight)
    coarse = bool(unresolved(Field(q.values[None], low, spacing))[0])
    attrs = {"quantity": "early stopping, to the law of the data"} | ({"reason": COARSE} if coarse else {})
    result["error"] = result["error"] + (np.inf if coarse else 0.0)
    return result.assign_attrs(attrs)


def _cells(law: Law, grid: Grid) -> FloatArray:
    # in the plane a rotated component has no closed form of a cell's mass: quadrature of the compiled density
    mixture = law.components
    return grid.cell_average(law if mixture is None or grid.dim == 1 else FastLaw(mixture))


def _grid(target: Law) -> Grid:
    """A box around the law, with cells for its narrowest feature."""
    mean, cov = np.atleast_1d(target.mean), np.atleast_2d(target.cov)
    stds = np.sqrt(np.diag(cov))
    if not (np.isfinite(mean).all() and np.isfinite(stds).all() and np.all(stds > 0.0)):
        raise _checks.error("grid", "a Grid for a target without a finite variance", "None")
    narrow = target.smallest_std if target.smallest_std > 0.0 else float(stds.min()) / _CELLS**2
    counts = [min(ceil(2.0 * _REACH * s * _CELLS / narrow), _MOST[target.dim - 1]) for s in stds]
    bounds = [(float(m - _REACH * s), float(m + _REACH * s)) for m, s in zip(mean, stds, strict=True)]
    return Grid.uniform(bounds[0], cells=counts[0]) if target.dim == 1 else Grid.uniform(bounds, cells=tuple(counts))

"""The runs of the stochasticity study: one setting of the noise at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import fpsolve as fp
from fpsolve import bounds, kernels, scores, weights
from fpsolve.dynamics import Eta, Frame, InFrame
from fpsolve.laws import Law
from fpsolve.processes import Process
from fpsolve.scores import Score
from fpsolve.solver import Accuracy, trace_back
from fpsolve.weights import Weight

Array = NDArray[np.float64]

#: Saved times of the forgetting curves.
_SAVES = 24


@dataclass(frozen=True, eq=False)
class Knob:
    """What stays the same while the noise changes.

    Attributes
    ----------
    target, process, far : Law, Process, Law
    t_min, tol : float
    size : float
        Of the score errors.
    split : (float, float)
        Early errors act above the first time, late ones below the second.
    weight : Weight
    """

    target: Law
    process: Process
    far: Law
    t_min: float
    tol: float
    size: float
    split: tuple[float, float]
    weight: Weight


def measure(knob: Knob, name: str, labels: Sequence[float], etas: Sequence[Eta]) -> xr.Dataset:
    """Distances of the far start over time and what score errors leave, over the settings of the noise."""
    found = [_one(knob, eta) for eta in etas]
    return xr.concat(found, dim=name).assign_coords({name: list(labels)})


def _one(knob: Knob, eta: Eta) -> xr.Dataset:
    reverse, T = fp.Reverse(knob.target, knob.process, eta=eta), knob.process.T
    first, last = reverse.clock(np.array([T, knob.t_min])).tolist()
    saves = reverse.clock_inverse(np.linspace(first, last, _SAVES))
    saves[[0, -1]] = T, knob.t_min
    exact = reverse.marginal(T)
    run = fp.evolve(
        reverse, {"exact": exact, "far": knob.far}, t_min=knob.t_min, tol=knob.tol, save_at=saves, weight=knob.weight
    )
    curve = fp.forgetting_curve(run, weight=knob.weight).sel(start="far", drop=True)
    plain = fp.forgetting_curve(run, weight=fp.UnitWeight()).sel(start="far", drop=True)
    numbers = {"far": curve.distance, "far_error": curve.error, "plain": 0.5 * plain.distance}
    found = xr.Dataset(numbers).assign(estimate=run.error_estimate.max()).reset_coords(drop=True)
    for label, (low, high) in (("early", (knob.split[0], T)), ("late", (0.0, knob.split[1]))):
        wrong = scores.perturbed(reverse.score, scores.errors.During(scores.errors.Bias(knob.size), low, high))
        found[label], found[f"{label}_error"] = _left(knob, eta, wrong)
    return found


def _left(knob: Knob, eta: Eta, score: Score) -> tuple[float, float]:
    """V-distance at t_min of the law under a wrong score, started from p_T, to the exact marginal, and its error."""
    model = fp.Reverse(knob.target, knob.process, score=score, eta=eta)
    saves = [t for t in knob.split if knob.t_min < t < knob.process.T]
    run = fp.evolve(
        model, model.marginal(knob.process.T), t_min=knob.t_min, tol=knob.tol, save_at=saves, weight=knob.weight
    )
    last = run.density.isel(start=0, t=-1, drop=True)
    x = last["x"].values
    half = 0.5 * (x[1] - x[0])
    grid = fp.Grid.uniform((float(x[0] - half), float(x[-1] + half)), cells=len(x))
    truth = last.copy(data=grid.cell_average(model.marginal(knob.t_min)))
    return float(fp.weighted_tv(last, truth, knob.weight).distance), float(run.error_estimate[0, -1])


def coefficients(knob: Knob, etas: Sequence[Eta], grid: fp.Grid) -> tuple[list[float], list[float]]:
    """Sharp coefficient of the whole trajectory for every setting on `grid` (in standard deviations), and its error.

    Small noise is widened by the cells: the error is the difference to half as many.
    """
    found = [[_coefficient(knob, eta, cells) for cells in (grid, grid.coarsen())] for eta in etas]
    return [fine for fine, _ in found], [abs(fine - coarse) for fine, coarse in found]


def _coefficient(knob: Knob, eta: Eta, grid: fp.Grid) -> float:
    """Sharp V-Dobrushin coefficient from T to t_min in the scaled coordinate, with V at either end."""
    reverse, T = fp.Reverse(knob.target, knob.process, eta=eta), knob.process.T
    frame = Frame(reverse)
    before, after = (_weight_in(frame, t, knob.weight) for t in (T, knob.t_min))
    if not reverse.noiseless:
        kernel = kernels.finite_volume(InFrame(frame), grid, T, knob.t_min)
        value = bounds.dobrushin(kernel, weight=after, start_weight=before).value
        return np.nan if value is None else float(value)

    def rate(t: float, states: Array) -> Array:
        return InFrame(frame).drift(t, states[0])[None]

    # point masses stay point masses: the largest ratio of weights, over points where both are inside of the box
    ends = grid.face_axes[0]
    origins = trace_back(rate, knob.t_min, T, ends[None], Accuracy(1e-9, 1.0)).states[0]
    inside = (origins >= ends[0]) & (origins <= ends[-1])
    return float(np.max((after(ends) / before(origins))[inside]))


def _weight_in(frame: Frame, t: float, weight: Weight) -> Callable[[Array], Array]:
    center, scale = frame.center(t)[0], frame.scale(t)[0]
    return lambda z: weights.evaluate(weight, center + scale * z, 1)

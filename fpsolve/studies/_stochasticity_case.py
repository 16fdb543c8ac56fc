"""The stochasticity study's runs, one setting of the noise at a time, and its figure.

The runs of the stochasticity study: one setting of the noise at a time.

The figure of the stochasticity study: forgetting curves, and what is left against either knob.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import fpsolve as fp
from fpsolve import bounds, kernels, scores, weights
from fpsolve.dynamics import Eta, Frame, InFrame
from fpsolve.laws import Law
from fpsolve.plots import PALETTE, legend_beside, time_axis
from fpsolve.processes import Process
from fpsolve.scores import Score
from fpsolve.solver import Accuracy, trace_back
from fpsolve.weights import Weight

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
    found = (
        xr.Dataset(numbers, attrs={"status": "estimated"})
        .assign(estimate=run.error_estimate.max())
        .reset_coords(drop=True)
    )
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


_LEFT = r"left at $t_{min}$, $V$-norm"


def figure(by_eta: xr.Dataset, by_churn: xr.Dataset) -> Figure:
    """Return the figure of four panels."""
    from matplotlib.figure import Figure

    whole = Figure(figsize=(11.0, 7.6), layout="constrained")
    (a, b), (c, d) = whole.subplots(2, 2)
    _curves(a, by_eta)
    _ends(b, by_eta)
    _errors(c, by_eta, "eta", r"$\eta$")
    _errors(d, by_churn, "churn", r"$S_{churn}$")
    far = _seen(by_churn, "far")[:, -1]
    d.plot(by_churn["churn"], far, marker="^", color=PALETTE[2], ls=":", label="far start")
    d.plot(by_churn["churn"], _drawn(by_churn), marker="s", ls=":", color=PALETTE[3], label="sharp coefficient")
    d.set_xscale("symlog", linthresh=0.5)
    d.set_xticks(by_churn["churn"].values, [f"{value:g}" for value in by_churn["churn"].values])
    d.minorticks_off()
    d.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    for ax, title in zip((a, b, c, d), ("(a) forgetting", "(b) far start", "(c) score errors", "(d) EDM"), strict=True):
        ax.set_title(title, fontsize="medium", loc="left")
        ax.grid(True, which="major", color="0.9", linewidth=0.6)
    return whole


def _seen(found: xr.Dataset, name: str) -> xr.DataArray:
    """Distances above their errors; NaN, which is not drawn, below."""
    return found[name].where(found[name] > found[f"{name}_error"])


def _drawn(found: xr.Dataset) -> xr.DataArray:
    return found["coefficient"].where(found["coefficient"] > 1e-13)


def _curves(ax: Axes, found: xr.Dataset) -> None:
    from matplotlib import colormaps

    r = float(found["t"][0]) - found["t"].values
    for k, eta in enumerate(found["eta"].values):
        color = colormaps["viridis"](0.9 * k / max(found.sizes["eta"] - 1, 1))
        ax.semilogy(r, _seen(found, "far").sel(eta=eta), ls=":", color=color, label=rf"$\eta = {eta:g}$")
    ax.set_ylabel(r"$\|q_t - p_t\|_V$")
    time_axis(ax, found["t"].values)
    legend_beside(ax, "right")


def _ends(ax: Axes, found: xr.Dataset) -> None:
    ax.semilogy(
        found["eta"], _seen(found, "far")[:, -1], marker="^", ls=":", color=PALETTE[2], label="left of the far start"
    )
    ax.semilogy(found["eta"], _drawn(found), marker="s", ls=":", color=PALETTE[0], label="sharp coefficient")
    ax.set(xlabel=r"stochasticity $\eta$", ylabel=_LEFT)
    legend_beside(ax, "right")


def _errors(ax: Axes, found: xr.Dataset, knob: str, label: str) -> None:
    for name, marker, color in (("early", "o", PALETTE[0]), ("late", "D", PALETTE[1])):
        ax.semilogy(found[knob], _seen(found, name), marker=marker, ls=":", color=color, label=f"{name} score error")
    ax.set(xlabel=f"stochasticity {label}" if knob == "eta" else label, ylabel=_LEFT)
    legend_beside(ax, "right")

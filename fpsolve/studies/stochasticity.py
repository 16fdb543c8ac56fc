"""Study: forgetting, sharp contraction and the cost of score errors against eta and against EDM's S_churn.

Runs one setting of the noise at a time; the figure shows forgetting curves, and what is left against either knob.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat

import fpsolve as fp
from fpsolve import bounds, closed_form, kernels, scores, weights
from fpsolve._checks import error
from fpsolve._messages import Status
from fpsolve.dynamics import Eta, Frame, InFrame, edm_churn
from fpsolve.laws import Law
from fpsolve.plots import PALETTE, legend_beside, time_axis
from fpsolve.processes import Process
from fpsolve.scores import Score
from fpsolve.solver import Accuracy, trace_back
from fpsolve.studies.config import (
    AnyWeight,
    LineStart,
    LineTarget,
    OwnProcess,
    Settings,
    Stages,
    StudySettings,
    TMin,
    Tol,
)
from fpsolve.studies.report import Check, Report, Table, number, with_error
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
    numbers["plain_error"] = 0.5 * plain.error.max()
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


__all__ = ["Config", "run"]

#: Coefficients are differences of rows that sum to one.
ROUNDING = 1e-13

#: What the numbers of the table are.
STATUS: dict[Status, tuple[str, ...]] = {
    "estimated": ("far", "coefficient", "early", "late"),
}
NOTES = (
    "far: V-distance to p_t at t_min from the start far out; coefficient: sharp V-Dobrushin coefficient of the whole "
    "trajectory with its change from half as many cells, which widen a small noise; early, late: V-distance at t_min "
    "that a constant score error of the given size leaves when it acts at early or late reverse times only.",
)
CAPTION = (
    "(a) V-distance to the exact law from the start far out, by eta; at eta = 0 total variation stays and "
    "only the weight moves. (b) What is left of it at the end, and the sharp contraction coefficient of the whole "
    "trajectory (squares), against eta. (c) What score errors leave: early ones are forgotten with noise, late ones "
    "are not. (d) The same against S_churn of EDM. Values below their error estimate are not "
    "drawn."
)


class EDMSettings(Settings):
    """The EDM part: highest noise level, and where errors are early and late."""

    sigma_max: PositiveFloat
    """Noise level at which it starts; it runs down to t_min."""
    split: tuple[PositiveFloat, PositiveFloat]
    """Noise levels: early errors above the first, late errors below the second."""


class Config(StudySettings):
    """Settings of the study."""

    etas: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=3)]
    """Values of eta."""
    churns: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=2)]
    """Churns of the EDM sampler, at all levels."""
    t_min: TMin
    tol: Tol
    cells: Annotated[int, Field(ge=50, le=600)]
    """Cells of the contraction coefficients."""
    box: tuple[float, float]
    """Their box, in standard deviations of p_t."""
    size: float
    """Size of the score errors."""
    split: tuple[PositiveFloat, PositiveFloat]
    """Forward times: early errors above the first, late errors below the second."""
    noise_helps: bool = False
    """Check that noise takes early errors away and makes late ones larger, as with this target."""
    process: OwnProcess
    edm: EDMSettings
    """The EDM sampler with churn."""
    weight: AnyWeight
    target: LineTarget
    start: LineStart
    """Law that runs start from, far from p_T, in standard deviations of the prior."""

    def far(self, process: Process) -> Law:
        """Return the start, in units of the prior of a process."""
        found = self.start.diffused(process.prior_std, 0.0)
        if found is None:
            got = f"{self.start!r}, which has no closed form there"
            raise error("start", "a law that can be measured in standard deviations of the prior", got)
        return found


def run(config: Config, stages: Stages) -> Report:
    """Run the study."""
    target, process = config.target, config.process
    edm = fp.EDM(sigma_min=0.1 * config.t_min, sigma_max=config.edm.sigma_max)
    weight = config.weight
    first = Knob(target, process, config.far(process), config.t_min, config.tol, config.size, config.split, weight)
    second = Knob(target, edm, config.far(edm), config.t_min, config.tol, config.size, config.edm.split, weight)
    churn = [edm_churn(s, sigma_min=edm.sigma_min, sigma_max=edm.sigma_max) for s in config.churns]
    with stages.total(4):
        with stages("eta"):
            by_eta = measure(first, "eta", config.etas, config.etas)
        with stages("contraction"):
            grid = fp.Grid.uniform(config.box, cells=config.cells)
            by_eta = _with_coefficients(by_eta, first, config.etas, grid)
        with stages("churn"):
            by_churn = _with_coefficients(measure(second, "churn", config.churns, churn), second, churn, grid)
        with stages("figure"):
            drawn = figure(by_eta, by_churn)
    ends = by_eta[["far", "far_error"]].isel(t=-1).sel(eta=[0.0, 1.0])
    without, usual = map(with_error, ends["far"].values.tolist(), ends["far_error"].values.tolist())
    return Report(
        study="stochasticity",
        title=config.title,
        question=config.question,
        answer=_answer(by_eta, by_churn),
        headline=f"distance left of the start far out {without} at eta = 0, {usual} at eta = 1",
        checks=checks(config, by_eta, by_churn, exact_far(first)),
        table=Table(("knob", "far", "coefficient", "early", "late"), _rows(by_eta, by_churn)),
        status=STATUS,
        notes=NOTES,
        figure=drawn,
        caption=CAPTION,
        metrics={
            "far_flow": float(by_eta["far"][0, -1]),
            "far_last": float(by_eta["far"][-1, -1]),
            "best_eta_early": best(by_eta, "early"),
            "best_eta_late": best(by_eta, "late"),
        },
        datasets={"eta": by_eta, "churn": by_churn},
    )


def _with_coefficients(found: xr.Dataset, knob: Knob, etas: Sequence[Eta], grid: fp.Grid) -> xr.Dataset:
    values, errors = coefficients(knob, etas, grid)
    name = str(found["early"].dims[0])
    return found.assign(coefficient=(name, values), coefficient_error=(name, errors))


def exact_far(knob: Knob) -> float:
    """The distance of the start far out at t_min for eta = 1, from Bayes' rule."""
    reverse = fp.Reverse(knob.target, knob.process)
    starts = knob.far, reverse.marginal(knob.process.T)
    return float(closed_form.weighted_tv(reverse, *starts, knob.t_min, weight=knob.weight).value)


def checks(config: Config, by_eta: xr.Dataset, by_churn: xr.Dataset, known: float) -> tuple[Check, ...]:
    """Return what must hold, each check one that can fail."""
    flow, quiet = by_eta.isel(eta=0), by_churn.isel(churn=0)
    one = by_eta.sel(eta=1.0)
    ratio = max(_ratio(by_eta), _ratio(by_churn))
    gained = float(one["early"] / flow["early"])
    lost = float(by_eta["late"].isel(eta=-1) / flow["late"])
    claims = (
        Check.at_most("early error, eta = 1 against eta = 0", gained, 1.0),
        Check.at_most("late error, eta = 0 against the largest eta", 1.0 / lost, 1.0),
    )
    moved = {"eta = 0": flow, "S_churn = 0": quiet}
    return (
        *(
            Check.at_most(
                f"{name}: total variation moves by",
                float(np.ptp(run["plain"].values)),
                max(1e-8, float(run["plain_error"])),
            )
            for name, run in moved.items()
        ),
        Check("eta = 1: far start against Bayes' rule", float(one["far"][-1]), known, float(one["far_error"][-1])),
        Check.at_most("(measured - error) / (coefficient x initial)", ratio, 1.001),
        Check.at_most("error estimate of a run, eta", float(by_eta["estimate"].max()), config.tol),
        Check.at_most("error estimate of a run, churn", float(by_churn["estimate"].max()), config.tol),
        *claims * config.noise_helps,
    )


def _ratio(found: xr.Dataset) -> float:
    """Largest certain part of a measured distance per bound."""
    certain = np.maximum((found["far"] - found["far_error"]).isel(t=-1), 0.0)
    return float((certain / ((found["coefficient"] + found["coefficient_error"]) * found["far"][:, 0])).max())


def best(found: xr.Dataset, name: str) -> float:
    """Return the knob at which an error is smallest."""
    knob = str(found[name].dims[0])
    return float(found[knob].values[int(np.argmin(found[name].values))])


def _shown(one: xr.Dataset, name: str) -> str:
    """A distance at the end, or its error where that is larger."""
    value, error = (float(one[f"{name}{part}"].values.ravel()[-1]) for part in ("", "_error"))
    return number(value) if value > error else f"< {number(error, 1)}"


def _rows(by_eta: xr.Dataset, by_churn: xr.Dataset) -> tuple[tuple[str, ...], ...]:
    rows = []
    for knob, found, label in (("eta", by_eta, "eta"), ("churn", by_churn, "S_churn")):
        for value in found[knob].values:
            one = found.sel({knob: value})
            errors = (_shown(one, name) for name in ("early", "late"))
            size, error = float(one["coefficient"]), float(one["coefficient_error"])
            # below round-off only that it is
            coefficient = f"< {ROUNDING:.0e}" if size < ROUNDING else with_error(size, error)
            rows.append((f"{label} = {value:g}", _shown(one, "far"), coefficient, *errors))
    return tuple(rows)


def _answer(by_eta: xr.Dataset, by_churn: xr.Dataset) -> tuple[str, ...]:
    flow, one, last = (by_eta.sel(eta=e) for e in (0.0, 1.0, float(by_eta["eta"][-1])))
    quiet, loud = by_churn.isel(churn=0), by_churn.isel(churn=-1)

    def pair(name: str, *found: xr.Dataset) -> Sequence[str]:
        return [_shown(one, name) for one in found]

    far, early, late = pair("far", flow, one, last), pair("early", flow, one, last), pair("late", flow, one, last)
    strong = f"eta = {float(last['eta']):g}"
    return (
        f"The start far out leaves {far[0]} without noise, {far[1]} at eta = 1 and {far[2]} at {strong}.",
        f"An early score error leaves {early[0]}, {early[1]} and {early[2]}: noise takes it away. A late one leaves "
        f"{late[0]}, {late[1]} and {late[2]}: there noise costs, because the error enters with (1 + eta^2)/2.",
        f"EDM with S_churn from 0 to {float(loud['churn']):g}: far start {pair('far', quiet)[0]} to "
        f"{pair('far', loud)[0]}, early error {pair('early', quiet)[0]} to {pair('early', loud)[0]}, late error "
        f"{pair('late', quiet)[0]} to {pair('late', loud)[0]}.",
    )

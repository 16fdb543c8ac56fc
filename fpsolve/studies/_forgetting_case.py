"""The forgetting study in one dimension: laws, grid run, curves, closed form and particles, its checks, each one that
can fail, and its figure: curves, a heat map in 1D, panels in 2D.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
import xarray as xr
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

import fpsolve as fp
from fpsolve import _checks, closed_form, data, particles, plots, weights
from fpsolve._checks import FloatArray
from fpsolve.settings import Misfit, refused
from fpsolve.studies.config import AnyLaw, DataSettings, ParticleSettings, Stages, Tol, by_clock
from fpsolve.studies.report import Check, formula
from fpsolve.weights import Weight

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fpsolve.laws import Law
    from fpsolve.processes import Process


#: Label of the start every other one is compared with: the law p_T of the forward process.
REFERENCE = "exact"
PRIOR = "prior"

#: Gauss nodes per cell and axis of the closed form: the cells are many times narrower than the densities.
ORDER = 3


class CaseParticles(ParticleSettings):
    """Particles of a case, from some of its starts."""

    starts: Annotated[tuple[str, ...], Field(min_length=1)]
    """Starts whose particles are compared with the grid."""


class CaseSettings(DataSettings):
    """Data, tolerance, starts and times of one dimension; "exact" and "prior" are always among the starts."""

    tol: Tol
    times: Annotated[tuple[PositiveFloat, ...], Field(min_length=2)]
    """Forward times of the table; particles are compared there."""
    saves: PositiveInt = 1
    """Further times, for the figure."""
    leading_order: bool = False
    """Check that the end is as the leading order says, with these data."""
    starts: dict[str, AnyLaw]
    """Laws that runs start from, by label, beside the exact one and the prior."""
    particles: CaseParticles
    """Particles beside the grid."""

    @model_validator(mode="after")
    def _one_dimension(self) -> Self:
        dim = len(self.columns)
        wrong = [(label, law.dim) for label, law in self.starts.items() if law.dim != dim]
        if wrong:
            text = f"expected a law in {dim}D like the data, got one in {{}}D"
            raise refused([Misfit(("starts", label), text.format(own)) for label, own in wrong])
        return self


@dataclass(frozen=True, eq=False)
class Case:
    """Everything that was computed in one dimension.

    Attributes
    ----------
    label : str
        "1D" or "2D".
    settings : CaseSettings
    source : Standardised
        The data.
    reverse : Reverse
    starts : mapping of str to Law
    weight : Weight
    run, curve, plain : Dataset
        The grid run, its forgetting curves in the weighted norm and in plain total variation.
    truth : Dataset
        From the closed form, over (start, t), t the times of the table: `distance` between each start and the
        reference, `error` of that number, and `density_error` of the run in the weighted norm. `quadrature`
        (start) is the distance at the end without any grid, NaN in 2D.
    checks : mapping of str to Dataset
        Comparisons with particles, by start.
    """

    label: str
    settings: CaseSettings
    source: data.Standardised
    reverse: fp.Reverse
    starts: Mapping[str, Law]
    weight: Weight
    run: xr.Dataset
    curve: xr.Dataset
    plain: xr.Dataset
    truth: xr.Dataset
    checks: Mapping[str, xr.Dataset]

    @property
    def others(self) -> list[str]:
        """Labels of all starts but the reference."""
        return [label for label in self.starts if label != REFERENCE]

    def index(self, t: float) -> int:
        """Place of a saved time."""
        return int(np.argmin(np.abs(self.run["t"].values - t)))


def solve(
    settings: CaseSettings,
    process: Process,
    weight: Weight,
    t_min: float,
    seed: int,
    stages: Stages,
) -> Case:
    """Run one dimension: grid, curves, closed form, particles."""
    source = data.standardise(settings.table())
    target = settings.kernel_density(source.samples)
    label, reverse = f"{target.dim}D", fp.Reverse(target, process)
    starts = _starts(settings, reverse)
    _check(settings, starts, process, t_min)
    with stages(f"{label}: grid"):
        # times of the table and, for the figure, more of them where the starts still differ most
        # times of the table must come out as they are, not as a neighbour one rounding away
        spread = by_clock(process, t_min, np.linspace(0.0, 1.0, settings.saves + 1), offset=0.5)
        table = np.array([*settings.times, t_min, process.T])
        apart = np.abs(spread[:, None] - table).min(axis=1) > 1e-6 * process.T
        saves = np.unique(np.concatenate([table, spread[apart]]))
        # the fixed frame: closed form and particles are held against cells that stay where they are
        run = fp.evolve(
            reverse, starts, t_min=t_min, tol=settings.tol, save_at=saves, weight=weight, frame="fixed",
            progress=stages.enabled,
        )  # fmt: skip
        run = _described(run, starts, source)
        curve = fp.forgetting_curve(run, reference=REFERENCE, weight=weight)
        plain = fp.forgetting_curve(run, reference=REFERENCE, weight=fp.UnitWeight())
    with stages(f"{label}: closed form"):
        truth = _truth(settings, run, reverse, starts, weight)
    with stages(f"{label}: particles"):
        checks = _particles(settings, run, reverse, starts, seed, stages)
    return Case(label, settings, source, reverse, starts, weight, run, curve, plain, truth, checks)


def _starts(settings: CaseSettings, reverse: fp.Reverse) -> dict[str, Law]:
    taken = {REFERENCE, PRIOR} & set(settings.starts)
    if taken:
        raise _checks.error("starts", "labels other than 'exact' and 'prior'", ", ".join(sorted(taken)), "rename")
    dim, process = reverse.dim, reverse.process
    return {REFERENCE: reverse.marginal(process.T), PRIOR: process.prior(dim=dim), **settings.starts}


def _check(settings: CaseSettings, starts: Mapping[str, Law], process: Process, t_min: float) -> None:
    """Refuse before the work what would fail after some of it."""
    for label in settings.particles.starts:
        _checks.one_of("particles.starts", label, [name for name in starts if name != REFERENCE])
    for t in settings.times:
        _checks.interval("times", t, t_min, process.T)


def _described(run: xr.Dataset, starts: Mapping[str, Law], source: data.Standardised) -> xr.Dataset:
    """Add what figures and files should say: units of the axes, formulas of the starts."""
    texts = {label: formula(start) for label, start in starts.items()}
    formulas = {label: f"${text}$" if "N(" in text else text for label, text in texts.items()} | {REFERENCE: "$p_T$"}
    run = run.assign_coords(description=("start", [formulas[str(label)] for label in run["start"].values]))
    for k, (axis, name) in enumerate(zip(("x", "y"), source.table.columns, strict=False)):
        run[axis].attrs.update(
            long_name=name.removesuffix("_min").replace("_", " ") + " time" * name.endswith("_min"),
            units="standardised",
            standardised_mean=float(source.mean[k]),
            standardised_std=float(source.std[k]),
        )
    return run


def _truth(
    settings: CaseSettings, run: xr.Dataset, reverse: fp.Reverse, starts: Mapping[str, Law], weight: Weight
) -> xr.Dataset:
    """Hold the run against closed-form cell averages at the times of the table, and the end against quadrature."""
    grid, times = run.fpsolve.grid, _table_times(settings, run)
    v = weights.evaluate(weight, grid)
    # the distance of the reference to itself stays 0
    distance, error, wrong = np.zeros((3, len(starts), len(times)))
    rows = [k for k, label in enumerate(starts) if label != REFERENCE]
    for k, t in enumerate(times):
        here = run["density"].sel(t=t)
        cells = [closed_form.cell_averages(reverse, start, t, grid, order=ORDER) for start in starts.values()]
        exact = here.copy(data=np.stack(cells))
        found = fp.weighted_tv(exact.isel(start=rows), exact.sel(start=REFERENCE, drop=True), weight=weight)
        distance[rows, k], error[rows, k] = found["distance"], found["error"]
        wrong[:, k] = (abs(here - exact) * v).sum([*here.dims[1:]]) * grid.volume
    data = {"distance": distance, "error": error, "density_error": wrong}
    coords = {"start": list(starts), "t": times, "reverse_time": ("t", reverse.process.T - np.array(times))}
    columns = {name: (("start", "t"), values) for name, values in data.items()}
    truth = xr.Dataset(columns, coords=coords, attrs={"status": "estimated"})
    return truth.assign(quadrature=("start", _quadrature(reverse, starts, weight, times[-1])))


def _quadrature(reverse: fp.Reverse, starts: Mapping[str, Law], weight: Weight, t: float) -> list[float]:
    """Distances at t with no grid at all; NaN in 2D, where quadrature along curves takes too long."""
    known = [label for label in starts if label != REFERENCE and reverse.dim == 1]
    values = {
        label: closed_form.weighted_tv(reverse, starts[label], starts[REFERENCE], t, weight=weight).value
        for label in known
    }
    return [values.get(label, np.nan) for label in starts]


def _table_times(settings: CaseSettings, run: xr.Dataset) -> list[float]:
    """Times of the table as they are saved, and the end, decreasing."""
    t = run["t"].values
    wanted = [*settings.times, float(t[-1])]
    return sorted({float(t[np.argmin(np.abs(t - time))]) for time in wanted}, reverse=True)


def _particles(
    settings: CaseSettings,
    run: xr.Dataset,
    reverse: fp.Reverse,
    starts: Mapping[str, Law],
    seed: int,
    stages: Stages,
) -> dict[str, xr.Dataset]:
    """Simulate and compare, one cloud per start with a seed of its own."""
    ours = settings.particles
    saved = np.array(_table_times(settings, run))
    # steps that forget the same share each: equal ones in t would be coarsest just where the starts still differ
    ends = by_clock(reverse.process, saved[-1], np.linspace(0.0, 1.0, ours.steps + 1))
    apart = np.abs(ends[:, None] - saved).min(axis=1) > 1e-9 * reverse.process.T
    ends = np.sort(np.concatenate([saved, ends[apart]]))[::-1]
    compared = {}
    for k, label in enumerate(ours.starts):
        cloud = particles.simulate(
            reverse, starts[label], n=ours.n, seed=seed + k, times=ends, method=ours.method, save_at=saved,
            progress=stages.enabled,
        )  # fmt: skip
        compared[label] = particles.compare(run, cloud, start=label, reference=REFERENCE, false_alarm=ours.false_alarm)
    return compared


#: Mass is never renormalised, so it shows what the steps lose.
MASS_TOLERANCE = 1e-12
#: Rounding of a weighted norm, relative to the weighted mass.
ROUNDING = 1e-13


def checks(case: Case) -> list[Check]:
    """Return all checks of one dimension."""
    return [*_of_the_run(case), *_of_the_curves(case), *_of_the_particles(case)]


def _of_the_run(case: Case) -> list[Check]:
    run, label = case.run, case.label
    mass = run["mass"].values
    estimate = run["error_estimate"].sel(t=case.truth["t"]).values
    # what rounding alone does to a norm of the densities themselves
    noise = ROUNDING * (case.curve["distance"].max() + 2.0)
    return [
        Check.at_most(f"{label} mass: largest change", np.abs(mass - mass[:, :1]).max(), MASS_TOLERANCE),
        Check.at_most(f"{label} densities: error estimate", run["error_estimate"].values.max(), case.settings.tol),
        Check.at_most(
            f"{label} densities: true error / estimate",
            _worst_ratio(case.truth["density_error"].values, estimate + float(noise)),
            1.0,
        ),
    ]


def _of_the_curves(case: Case) -> list[Check]:
    label, found = case.label, []
    for start in case.others:
        distance, error = (float(case.curve[name].sel(start=start)[-1]) for name in ("distance", "error"))
        name = f"{label} {start}: final weighted TV vs closed form"
        found.append(Check(name, distance, final_truth(case, start), error))
    here = case.curve.sel(t=case.truth["t"])
    off = abs(here["distance"] - case.truth["distance"].sel(start=case.others))
    ratio = _worst_ratio(off.values, here["error"].values)
    found.append(Check.at_most(f"{label} curves: true error / reported", ratio, 1.0))
    # plain total variation may not grow between saved times by more than both errors
    plain, bars = case.plain["distance"].values, case.plain["error"].values
    growth = float(max(0.0, (np.diff(plain, axis=1) - bars[:, 1:] - bars[:, :-1]).max()))
    found.append(Check.at_most(f"{label} plain TV: growth beyond its errors", growth, 0.0))
    for start in case.others:
        ratio, tolerance = leading_order(case, start)
        # equal means: the leading term is zero and says nothing
        if tolerance > 0.0 and case.settings.leading_order:
            found.append(Check(f"{label} {start}: final weighted TV / leading order", ratio, 1.0, tolerance))
    return found


def final_truth(case: Case, start: str) -> float:
    """Return the closed form of the final distance: by quadrature where that is affordable, else from cells."""
    one = case.truth.sel(start=start)
    direct = float(one["quadrature"])
    return direct if np.isfinite(direct) else float(one["distance"][-1])


def _of_the_particles(case: Case) -> list[Check]:
    found = []
    for start, compared in case.checks.items():
        wrong = int(np.sum(compared["verdict"].values != "agree"))
        name = f"{case.label} {start}: times at which particles disagree, of {compared.sizes['t']}"
        found.append(Check.at_most(name, wrong, 0.0))
    return found


def _worst_ratio(error: FloatArray, estimate: FloatArray) -> float:
    """Largest error/estimate; an estimate of zero covers an error of zero only."""
    if np.any((estimate <= 0.0) & (error > 0.0)):
        return float("inf")
    known = estimate > 0.0
    return float(np.max(error[known] / estimate[known], initial=0.0))


def leading_order(case: Case, start: str) -> tuple[float, float]:
    r"""Return measured/predicted final distance and how close to 1 first order in alpha should be.

    .. math:: \|q_t - q_t'\|_V \approx \frac{\alpha}{\sigma^2} \int V p_t |\langle dm, x - m_t \rangle| dx,
       \quad \alpha = \alpha(t, T),\ \sigma^2 = \sigma^2(t, T)

    with dm the difference of the initial means; the next term is smaller by a factor alpha |dm|. NaN and 0 where that
    is no small number.
    """
    process, grid = case.reverse.process, case.run.fpsolve.grid
    t = float(case.run["t"][-1])
    alpha, variance = float(process.scale(t, process.T)), float(process.variance(t, process.T))
    law = case.reverse.marginal(t)
    gap = np.atleast_1d(case.starts[start].mean) - np.atleast_1d(case.starts[REFERENCE].mean)
    size = float(np.linalg.norm(gap))
    # the means of the prior and of standardised data agree up to rounding
    if size < 1e-9 or alpha * size >= 1.0:
        return float("nan"), 0.0
    x = grid.x if grid.dim == 2 else grid.x[:, None]
    moment = np.abs((x - np.atleast_1d(law.mean)) @ gap)
    v = weights.evaluate(case.weight, grid)
    predicted = alpha / variance * float(np.sum(v * moment * grid.cell_average(law))) * grid.volume
    measured = float(case.curve["distance"].sel(start=start)[-1])
    return measured / predicted, alpha * size


#: The start that has most to forget.
SHOWN = "far"
SIZE = (11.0, 7.6)
PANELS = 4


def figure(cases: Sequence[Case]) -> Figure:
    """Return the figure; no window is opened. The second case, in the plane, may be missing."""
    from matplotlib.figure import Figure

    line = cases[0]
    whole = Figure(figsize=SIZE if len(cases) > 1 else (SIZE[0], 0.58 * SIZE[1]), layout="constrained")
    parts = whole.subfigures(len(cases), 1, height_ratios=(1.35, 1.0)[: len(cases)], hspace=0.03, squeeze=False)[:, 0]
    left, right = parts[0].subplots(1, 2, width_ratios=(1.1, 1.0))
    plots.forgetting(
        line.curve, check=line.checks.values(), closed_form=line.truth["distance"], legend="below", ax=left
    )
    plots.density(line.run, start=_shown(line), ax=right)
    panels = {left: "", right: _shown(line)}
    for lower, plane in zip(parts[1:], cases[1:], strict=True):
        # T, t_min and two between, from the times of the table
        times = sorted(plane.settings.times, reverse=True)
        between = [times[round(k * (len(times) - 1) / (PANELS - 1))] for k in range(PANELS)]
        panel_times = list(dict.fromkeys([float(plane.run["t"][0]), *between[1:-1], float(plane.run["t"][-1])]))
        axes = lower.subplots(1, len(panel_times), squeeze=False)[0]
        panels[axes[0]] = _shown(plane)
        plots.density(plane.run, start=_shown(plane), times=panel_times, ax=axes)
    # a start has one colour, on the line and in the plane
    colours = plots.styles([*dict.fromkeys(label for case in cases for label in case.others)])
    for letter, (ax, start) in zip("abc", panels.items(), strict=False):
        text = f"{start}, {ax.get_title()}".removesuffix(", ") if start else ax.get_title()
        colour = colours[start].colour if start else "black"
        ax.set_title(f"({letter})  {text}", loc="left", fontsize="medium", color=colour)
        ax.set_title("", loc="center")
    return whole


def caption(cases: Sequence[Case]) -> str:
    """Return what the figure shows, in words."""
    shown = [str(case.run["description"].sel(start=_shown(case)).item()) for case in cases]
    n = next(iter(cases[0].checks.values())).attrs["n"]
    source = cases[-1].source
    columns = zip(source.table.columns, source.mean, source.std, strict=True)
    plane = f"(c) 2D: density from the start {shown[1]} at the times written. " if len(cases) > 1 else ""
    standardised = "; ".join(f"{k} has mean {mean:.4g} and standard deviation {std:.4g}" for k, mean, std in columns)
    return (
        f"(a) 1D: weighted total variation to the exact law against reverse time. Lines: grid, with the band of their "
        f"error (too narrow to see); circles: closed form; crosses: what histograms of {n} particles show, the band "
        f"around them what they should show; dotted: the floor below which a histogram cannot see. (b) 1D: density "
        f"from the start {shown[0]}. {plane}An arrow at a colour bar: the "
        f"narrow start is higher. Data are standardised: {standardised}."
    )


def _shown(case: Case) -> str:
    return SHOWN if SHOWN in case.starts else case.others[-1]

"""Study: where samplers end that follow the best score of product form, beside the exact score.

Motivated by arXiv 2601.12965, whose results are not reproduced here.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr
from pydantic import PositiveFloat

import fpsolve as fp
from fpsolve import flows
from fpsolve._checks import FloatArray, error
from fpsolve._messages import Status
from fpsolve.processes import Process
from fpsolve.studies._product_form_case import CAPTION, NARROW, Case, SideSettings, figure, solve
from fpsolve.studies.config import AnyProcess, AnyWeight, Settings, Stages, StudySettings, called, time_at
from fpsolve.studies.report import Check, Report, Table, with_error
from fpsolve.weights import Weight

__all__ = ["Config", "Reference", "checks", "on_cells", "run"]

TARGETS: tuple[Literal["points", "mixture", "data"], ...] = ("points", "mixture", "data")
#: What the numbers of the table are.
STATUS: dict[Status, tuple[str, ...]] = {
    "estimated": ("stationary points", "eta = 0", "eta = 1"),
}
NOTES = (
    "Distances: weighted total variation between the law at the end and that of the exact sampler, both from p_T; the "
    "exact sampler ends in p_t for every eta. In brackets: the share of the largest possible distance, the sum of both "
    "weighted masses.",
    "Motivated by arXiv 2601.12965, whose results are not reproduced here.",
)
#: What the potential may fall between two looks along an orbit, a residual at a stationary point may be, relative to
#: speeds of order one, and a stationary point may lie outside of the hull: rounding.
ROUNDING = 1e-9
#: An error of a distance, relative to it.
KNOWN = 0.05


class ReferenceSettings(Settings):
    """Known values for data points and levels uniform on [sigma_min, sigma_max]."""

    points: tuple[float, ...]
    """The two data points."""
    sigma_min: PositiveFloat
    """Lowest level of the product."""
    sigma_max: PositiveFloat
    """Highest level of the product."""
    zeros: tuple[float, ...]
    """Expected zeros of its score."""
    starts: tuple[float, ...]
    """Points that flows start from."""
    product: tuple[float, ...]
    """Where the flow of the product ends."""
    exact: tuple[float, ...]
    """Where the flow of the exact score ends."""
    tolerance: PositiveFloat
    """How far off they may be."""


class Config(StudySettings):
    """Settings of the study."""

    weight: AnyWeight
    process: AnyProcess = fp.EDM()
    reference: ReferenceSettings
    """Two data points whose numbers are known."""
    line: SideSettings
    """Three targets on the line."""
    plane: SideSettings | None = None
    """Three targets in the plane; may be left out."""


class Reference:
    """The reference case computed: stationary points, orbits of both flows, the exact flow's law as a control."""

    def __init__(self, settings: ReferenceSettings, weight: Weight) -> None:
        n = len(settings.points)
        law = fp.GaussianMixture(np.full(n, 1.0 / n), settings.points, stds=NARROW)
        process = fp.EDM(sigma_min=settings.sigma_min, sigma_max=settings.sigma_max)
        score, exact = fp.scores.product_form(law, process), fp.Reverse(law, process)
        reach = 2.0 * float(np.abs(settings.points).max())
        self.settings = settings
        self.points = flows.stationary_points(score, (-reach, reach))
        # thousands of times finer than what is known of their ends
        rtol, atol, duration = 1e-7, 1e-9, score.duration(settings.sigma_min)
        self.product = flows.orbits(score, settings.starts, duration=duration, rtol=rtol, atol=atol)
        self.exact = flows.orbits(exact, settings.starts, t_min=settings.sigma_min, rtol=rtol, atol=atol)
        t = 0.1 * settings.sigma_max
        start, end = exact.marginal(settings.sigma_max), exact.marginal(t)
        self.control = flows.distance(exact, start, end, t_min=t, weight=weight)

    def deviation(self, which: Literal["product", "exact"]) -> float:
        """Largest deviation of an end point from its known value."""
        ends: FloatArray = getattr(self, which)["position"].isel(r=-1).values
        return float(np.abs(ends - np.array(getattr(self.settings, which))).max())


def run(config: Config, stages: Stages) -> Report:
    """Run the study."""
    weight, cases = config.weight, []
    sides = {"1D": config.line} | ({} if config.plane is None else {"2D": config.plane})
    with stages.total(3 + len(sides) * len(TARGETS)):
        with stages("reference"):
            reference = Reference(config.reference, weight)
        for dim, side in sides.items():
            for name in TARGETS:
                with stages(f"{dim} {name}"):
                    cases.append(solve(side, name, f"{dim} {_called(side, name)}", weight))
        with stages("1D mixture on cells"):
            again = on_cells(cases[TARGETS.index("mixture")], config.line, weight)
        with stages("figure"):
            drawn = figure(reference.product, reference.exact, reference.points, cases, list(sides.values()))
    quiet, noisy = (
        with_error(cases[0].quiet.value, cases[0].quiet.error),
        with_error(cases[0].noisy, cases[0].noisy_error),
    )
    return Report(
        study="product-form",
        title=config.title,
        question=config.question,
        answer=_answer(reference, cases),
        headline=f"{cases[0].label}: distance to the exact sampler {quiet} without noise, {noisy} with it",
        checks=(*checks(reference, cases), again),
        table=Table(("target", "stationary points", "eta = 0", "eta = 1"), tuple(_row(case) for case in cases)),
        status=STATUS,
        notes=(*NOTES, *_of_process(config.process, sides)),
        figure=drawn,
        caption=CAPTION,
        metrics=_metrics(reference, cases),
        provenance={case.label: case.source.record() for case in cases if case.source is not None},
        datasets={"": reference.product} | {case.label.replace(" ", "_"): _saved(case) for case in cases},
    )


def checks(reference: Reference, cases: list[Case]) -> tuple[Check, ...]:
    """Return what must hold, each check one that can fail."""
    known, found, control = reference.settings, reference.points, reference.control
    zeros = [
        Check(f"reference: stationary point {k + 1}", _nth(found.at, k), value, known.tolerance)
        for k, value in enumerate(known.zeros)
    ]
    residual = max(float(case.points.residual.max(initial=0.0)) for case in cases)
    return (
        *zeros,
        Check("reference: stationary points", len(found), len(known.zeros), 0.0),
        Check("reference: attracting ones", found.kind.count("attracting"), (len(known.zeros) + 1) // 2, 0.0),
        Check.at_most("reference: product-form end points, deviation", reference.deviation("product"), known.tolerance),
        Check.at_most("reference: exact end points, deviation", reference.deviation("exact"), known.tolerance),
        Check.at_most("exact flow from p_T: distance to p_t / its error", abs(control.value) / control.error, 1.0),
        *(check for case in cases for check in _of_case(case)),
        Check("flow at the box, smallest degree: inwards", min(case.points.degree for case in cases), 1, 0.0),
        Check.at_most("cells with a stationary point not found", sum(case.points.unmatched for case in cases), 0.0),
        Check.at_most("largest residual |S|", residual, ROUNDING),
        Check.at_most("stationary points outside the hull", max(0.0, *(case.outside for case in cases)), ROUNDING),
        Check.at_most("largest fall of log Psi", max(0.0, *(-case.growth for case in cases)), ROUNDING),
    )


def on_cells(case: Case, side: SideSettings, weight: Weight) -> Check:
    """Hold the distance at eta = 0 against a run on cells, whose masses are carried by characteristics as well."""
    reverse = fp.Reverse(case.reverse.target, case.reverse.process, score=case.score, eta=0.0)
    starts = {"exact": reverse.marginal(side.sigma_max)}
    found = fp.evolve(
        reverse, starts, t_min=side.sigma_min, tol=1e-3, frame="fixed", save_at=[side.sigma_min], weight=weight,
        progress=False,
    )  # fmt: skip
    q = found["density"].isel(start=0, t=-1, drop=True)
    exact = q.copy(data=found.fpsolve.grid.cell_average(reverse.marginal(side.sigma_min)))
    measured = fp.weighted_tv(q, exact, weight=weight)
    error = float(measured["error"] + found["error_estimate"][0, -1]) + case.quiet.error
    return Check(f"{case.label}, eta = 0: distance on cells", float(measured["distance"]), case.quiet.value, error)


def _of_case(case: Case) -> list[Check]:
    found, label = case.points, case.label
    # a degenerate point counts as 0 and so breaks the sum
    return [
        Check(f"{label}: sum of the indices", int(found.index.sum()), found.degree, 0.0),
        Check.at_most(f"{label}, eta = 0: error / distance", case.quiet.error / case.quiet.value, KNOWN),
        Check.at_most(f"{label}, eta = 1: error / distance", case.noisy_error / case.noisy, KNOWN),
    ]


def _of_process(process: Process, sides: dict[str, SideSettings]) -> list[str]:
    """What the numbers mean for a process that is not EDM."""
    kind, told = called(process), []
    for name, side in sides.items():
        first, last = time_at(process, side.sigma_max), time_at(process, side.sigma_min)
        if first == process.T and kind != "EDM":
            expected = f"a process that reaches the noise level sigma/alpha = {side.sigma_max:g}"
            raise error("process", expected, kind, "take a longer T, or a lower sigma_max")
        told.append(f"{name} t = {first:.4g} to {last:.4g}")
    if kind == "EDM":
        return []
    return [
        f"{kind}: in x/alpha(t) every linear process has the reverse dynamics of EDM at the noise level sigma/alpha, "
        f"so these are its numbers too, in {' and '.join(told)}, with V of x/alpha."
    ]


def _nth(points: FloatArray, k: int) -> float:
    return float(points[k]) if k < len(points) else float("nan")


def _called(side: SideSettings, name: str) -> str:
    if name == "points":
        return f"{len(side.points.at)} points"
    own = "Old Faithful" if side.data.file == "old_faithful" else "data"
    return own if name == "data" else "mixture"


def _row(case: Case) -> tuple[str, ...]:
    quiet = f"{with_error(case.quiet.value, case.quiet.error)} ({case.quiet_share:.0%})"
    noisy = f"{with_error(case.noisy, case.noisy_error)} ({case.noisy_share:.0%})"
    return case.label, case.counts, quiet, noisy


def _answer(reference: Reference, cases: list[Case]) -> tuple[str, ...]:
    at = ", ".join(f"{x:.5f}" for x in reference.points.of_kind("attracting"))
    settings = reference.settings
    far = int(np.argmax(np.abs(settings.starts)))
    ends = [float(found["position"][far, -1]) for found in (reference.product, reference.exact)]
    shares = {name: [getattr(case, name) for case in cases] for name in ("quiet_share", "noisy_share")}
    calmer = sum(case.noisy + case.noisy_error < case.quiet.value - case.quiet.error for case in cases)
    return (
        f"Data points {', '.join(f'{x:g}' for x in settings.points)}: the product-form flow is attracted by {at}, not "
        f"by the data; from {settings.starts[far]:g} it gets to {ends[0]:.4f}, the exact flow to {ends[1]:.3f}.",
        f"At the end the distance to the exact sampler is {min(shares['quiet_share']):.0%} to "
        f"{max(shares['quiet_share']):.0%} of the largest possible one without noise (eta = 0) and "
        f"{min(shares['noisy_share']):.0%} to {max(shares['noisy_share']):.0%} with it (eta = 1); noise makes it "
        f"smaller, beyond the errors, in {calmer} of {len(cases)} cases.",
        "All stationary points lie in the convex hull of the data, and log Psi grows along every orbit watched."
        if max(case.outside for case in cases) <= ROUNDING and min(case.growth for case in cases) >= -ROUNDING
        else "Some stationary points lie outside of the convex hull of the data, or log Psi falls along an orbit.",
    )


def _metrics(reference: Reference, cases: list[Case]) -> dict[str, float | int | str]:
    metrics: dict[str, float | int | str] = {
        "reference_product_deviation": reference.deviation("product"),
        "reference_exact_deviation": reference.deviation("exact"),
    }
    for case in cases:
        key = case.label.replace(" ", "_")
        metrics |= {
            f"{key}_stationary_points": len(case.points),
            f"{key}_eta_0": case.quiet.value,
            f"{key}_eta_0_error": case.quiet.error,
            f"{key}_eta_1": case.noisy,
            f"{key}_eta_1_error": case.noisy_error,
        }
    return metrics


def _saved(case: Case) -> xr.Dataset:
    """The noisy run's end with the stationary points."""
    found = case.points
    at = found.at[:, None] if found.at.ndim == 1 else found.at
    return case.run.assign_coords(kind=("point", list(found.kind))).assign(
        stationary=(("point", "axis"), at), index=("point", found.index), residual=("point", found.residual)
    )

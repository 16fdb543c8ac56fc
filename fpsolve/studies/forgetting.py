"""Study: how fast a reverse diffusion forgets where it started, on real data in one and two dimensions.

Every number of the grid is held against the closed form (Bayes' rule), which shares no code with the solver,
and against particles at a stated false-alarm rate.
"""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from fpsolve import distances, particles, weights
from fpsolve._messages import Status
from fpsolve.studies._forgetting_case import (
    REFERENCE,
    Case,
    CaseSettings,
    caption,
    checks,
    figure,
    final_truth,
    leading_order,
    solve,
)
from fpsolve.studies.config import AnyWeight, OwnProcess, Stages, StudySettings, TMin
from fpsolve.studies.report import Report, Table, number, with_error

__all__ = ["Config", "run"]

COLUMNS = ("start", "t", "weighted TV", "closed form", "particles", "expected (2 sd)", "verdict")
#: What the numbers of the table are.
STATUS: dict[Status, tuple[str, ...]] = {
    "estimated": ("weighted TV", "closed form"),
    "Monte Carlo": ("particles", "expected (2 sd)", "verdict"),
}
NOTES = (
    "weighted TV: int V |q - p| between the density q from the start and the exact law p at forward time t, on the "
    "grid, with its error estimate; closed form: the same from Bayes' rule.",
    "particles: distance of their histogram to p; expected: what it should be if the grid is right, mean and two "
    "standard deviations. Where it stays put while the true distance falls, it shows the histogram's floor.",
    "verdict: closed form within the error estimate, and particles not told from the grid by chi-square, "
    "Dvoretzky-Kiefer-Wolfowitz band (1D) and z-scores.",
)


class Config(StudySettings):
    """Settings of the study: one process and weight, a case on the line and one in the plane."""

    t_min: TMin
    process: OwnProcess
    weight: AnyWeight
    line: CaseSettings
    """One column of data on the line."""
    plane: CaseSettings | None = None
    """Two columns in the plane; may be left out."""


def run(config: Config, stages: Stages) -> Report:
    """Run the study."""
    process, weight = config.process, config.weight
    asked = [config.line] + ([] if config.plane is None else [config.plane])
    with stages.total(3 * len(asked) + 1):
        cases = tuple(
            solve(settings, process, weight, config.t_min, config.seed + 1000 * k, stages)
            for k, settings in enumerate(asked)
        )
        with stages("figure"):
            drawn = figure(cases)
    return Report(
        study="forgetting",
        title=config.title,
        question=config.question,
        answer=tuple(_answer(case) for case in cases) + (_summing_up(cases),),
        headline="; ".join(_headline(case) for case in cases),
        checks=tuple(check for case in cases for check in checks(case)),
        table=Table(COLUMNS, tuple(row for case in cases for row in _rows(case))),
        status=STATUS,
        notes=NOTES,
        figure=drawn,
        caption=caption(cases),
        metrics={name: value for case in cases for name, value in _metrics(case).items()},
        provenance={"data": [case.source.record() for case in cases]},
        datasets=_datasets(cases),
    )


def _datasets(cases: tuple[Case, ...]) -> dict[str, xr.Dataset]:
    """The 1D run at the root, everything else in groups beside it."""
    found: dict[str, xr.Dataset] = {}
    for name, root, case in zip(("line", "plane"), ("", "plane_run"), cases, strict=False):
        found |= {root: case.run, f"{name}_curve": case.curve, f"{name}_closed_form": case.truth}
        found |= {f"{name}_particles_{start}": compared for start, compared in case.checks.items()}
    return found


def _rows(case: Case) -> list[tuple[str, ...]]:
    """One row per start and time of the table."""
    return [
        _row(case, start, case.index(t)) for start in case.others for t in sorted(case.settings.times, reverse=True)
    ]


def _row(case: Case, start: str, k: int) -> tuple[str, ...]:
    curve = case.curve.sel(start=start).isel(t=k)
    distance, error = float(curve["distance"]), float(curve["error"])
    truth = float(case.truth["distance"].sel(start=start, t=float(curve["t"])))
    good, seen, expected = abs(distance - truth) <= error, "", ""
    if start in case.checks:
        one = case.checks[start].sel(t=float(curve["t"]), method="nearest")
        good = good and str(one["verdict"].item()) == "agree"
        seen = number(float(one["reference_distance"]))
        expected = f"{number(float(one['reference_expected']))} ± {2.0 * float(one['reference_spread']):.0e}"
    verdict = "pass" if good else "FAIL"
    name = f"{case.label} {start}"
    return (name, f"{float(curve['t']):g}", with_error(distance, error), number(truth, 8), seen, expected, verdict)


def _metrics(case: Case) -> dict[str, float]:
    """Numbers worth keeping: end distances, rates, ratios of estimate to truth."""
    run, metrics = case.run, {}
    for start in case.others:
        distance = case.curve["distance"].sel(start=start).values
        elapsed = float(run["reverse_time"][-1])
        key = f"{case.label}_{start}"
        metrics[f"{key}_initial_distance"], metrics[f"{key}_final_distance"] = float(distance[0]), float(distance[-1])
        metrics[f"{key}_final_error"] = float(case.curve["error"].sel(start=start)[-1])
        metrics[f"{key}_mean_rate"] = math.log(distance[0] / distance[-1]) / elapsed
        metrics[f"{key}_particles_needed"] = float(_needed(case, start))
    for start in case.checks:
        metrics[f"{case.label}_{start}_particle_floor"] = float(case.checks[start]["floor"][-1])
    wrong, estimate = case.truth["density_error"].values[:, -1], run["error_estimate"].values[:, -1]
    stopped = _early_stopping(case)
    metrics[f"{case.label}_early_stopping"] = float(stopped["distance"])
    metrics[f"{case.label}_early_stopping_error"] = float(stopped["error"])
    metrics[f"{case.label}_largest_density_error_at_t_min"] = float(wrong.max())
    metrics[f"{case.label}_largest_estimate_over_error_at_t_min"] = float(np.max(estimate / wrong))
    return metrics


def _early_stopping(case: Case) -> xr.Dataset:
    """How far the law at t_min, which every start approaches, still is from that of the data."""
    t = float(case.run["t"][-1])
    return distances.early_stopping(case.reverse, t, case.weight, grid=case.run.fpsolve.grid)


def _needed(case: Case, start: str) -> int:
    """Particles whose histogram's floor is as low as the final distance."""
    law = case.run["density"].sel(start=REFERENCE)[-1]
    return particles.needed(
        float(case.curve["distance"].sel(start=start)[-1]), law.values, case.run.fpsolve.grid, weight=case.weight
    )


def _weighted(case: Case, start: str) -> str:
    """What one function of particles from p_T sees, weighted by the likelihood ratio w of the starts.

    ``E (w - 1) f = d`` for ``f = V sign(q - p)``: ``n = 4 (E (w - 1)^2 V^2 - d^2)/d^2`` for two standard deviations.
    """
    process, t = case.reverse.process, float(case.run["t"][-1])
    distance, rng = float(case.curve["distance"].sel(start=start)[-1]), np.random.default_rng(0)
    x = case.reverse.marginal(t).sample(100_000, rng)
    # from p_T and with the exact score the reverse SDE is the forward process, read backwards
    noise = np.sqrt(process.variance(t, process.T)) * rng.standard_normal(x.shape)
    y = process.scale(t, process.T) * x + noise
    ratio = np.exp(case.starts[start].log_density(y) - case.reverse.marginal(process.T).log_density(y))
    v = weights.evaluate(case.weight, x, case.reverse.dim)
    found = 4.0 * (float(np.mean(np.square((ratio - 1.0) * v))) / distance**2 - 1.0)
    return f"One mean over {found:.0e} particles, weighted by the likelihood ratio of the starts, sees it."


def _answer(case: Case) -> str:
    """One paragraph per dimension."""
    parts = []
    for start in case.others:
        first, last = case.curve["distance"].sel(start=start).values[[0, -1]].tolist()
        text = f"from {start} {number(first, 3)} to {number(last, 3)}, a factor {number(last / first, 2)}"
        ratio, tolerance = leading_order(case, start)
        if tolerance > 0.0:
            text += f" ({ratio:.3f} of the leading-order prediction)"
        parts.append(text)
    process, t = case.reverse.process, float(case.run["t"][-1])
    alpha = float(process.scale(t, process.T))
    falls = (
        f"{case.label}: from t = {process.T:g} to t = {t:g} the weighted distance to the exact law falls "
        f"{'; '.join(parts)}. The exact law there is {number(_early_stopping(case)['distance'].item(), 2)} from that "
        "of the data: what stopping early costs."
    )
    if alpha == 1.0:
        return falls
    return (
        f"{falls} To leading order a start whose mean is off forgets in proportion to alpha(t, T) = "
        f"{number(alpha, 3)}, the forward gap, times how far its mean is off, and one whose mean is right in "
        f"proportion to the square, {number(alpha**2, 2)}."
    )


def _headline(case: Case) -> str:
    last = case.curve.isel(t=-1).sel(start=case.others[0])
    apart = with_error(float(last["distance"]), float(last["error"]))
    return f"{case.label}: weighted distance at t = {float(last['t']):g} {apart} from {case.others[0]}"


def _summing_up(cases: tuple[Case, ...]) -> str:
    """How well the three ways agree."""
    line = cases[0]
    closest = min(line.others, key=lambda start: float(line.curve["distance"].sel(start=start)[-1]))
    gaps = " and ".join(
        f"{_final_gap(case):.0e} in {case.label} (reported: up to {float(case.curve['error'][:, -1].max()):.0e})"
        for case in cases
    )
    clouds = [compared for case in cases for compared in case.checks.values()]
    agreeing = sum(compared.attrs["verdict"] == "agree" for compared in clouds)
    return (
        f"At the end grid and closed form differ by at most {gaps}. {agreeing} of {len(clouds)} clouds of particles "
        f"cannot be told from the grid at a false-alarm rate of {clouds[0].attrs['false_alarm']:g} each. Their "
        f"histograms see no distance below about {number(float(clouds[0]['floor'][-1]), 2)} in {line.label}: to see "
        f"what is left there from the start {closest} a histogram would take {_needed(line, closest):.0e} independent "
        f"particles. {_weighted(line, closest)}"
    )


def _final_gap(case: Case) -> float:
    """Largest difference between grid and closed form at the end."""
    final = case.curve["distance"][:, -1]
    return max(abs(float(final.sel(start=start)) - final_truth(case, start)) for start in case.others)

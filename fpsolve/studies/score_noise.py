"""Study: rank correlation of the SIEM-like metric with what score errors, given or noise, do to the final law."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import xarray as xr
from pydantic import Field, PositiveFloat, PositiveInt

from fpsolve import _checks, plots, stochastic
from fpsolve._messages import Status
from fpsolve.settings import Settings
from fpsolve.studies import _score_noise_cases as cases
from fpsolve.studies._score_noise_cases import oracle as oracle
from fpsolve.studies.config import Stages
from fpsolve.studies.error_decomposition import LineSettings
from fpsolve.studies.report import Check, Report, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Config", "checks", "run"]

POPULATIONS = {"steady": "given, steady", "windowed": "given, in a window", "noise": "noise"}
DISTANCES = {"weighted_tv": "weighted TV", "w2": "$W_2$"}
#: Errors whose metric and distance are computed on other grids as well.
CONTROLS = 5
#: What the numbers of the table are.
STATUS: dict[Status, tuple[str, ...]] = {
    "Monte Carlo": ("correlations and their intervals",),
    "estimated": ("the metrics and distances they order",),
}
NOTES = (
    "steady: given errors that do not change in time; windowed: given errors that act during a part of the run; noise: "
    "white noise, in the clock int g^2 dr.",
    "metric: Q = sum (c h)^2 <u, e . grad phi>^2 of a given error, mean quadratic variation over the paths of a noise, "
    "phi = |x|^2/2; size: bound of the relative entropy by E|e|^2 of a given error, int c^2 sum lambda E|e|^2 of a "
    "noise. Values in brackets: bootstrap interval. SIEM-like is our reading; it reproduces nobody's formulas.",
    "Within a family: median over bias, scaling, sine, bump and field of the correlation inside each.",
)
CAPTION = (
    "(a) SIEM-like metric over the whole trajectory against the weighted total variation at the end, given errors that "
    "are constant in time. (b) Ranks of the same errors by the metric over the first part of the trajectory. "
    "(c) Rank correlations with bootstrap intervals: metric over the whole trajectory, over its first part, and the "
    "size of the error."
)


class OracleSettings(Settings):
    """The Gaussian under constant noise."""

    strength: PositiveFloat
    """Of the constant noise."""
    cells: Annotated[int, Field(ge=50)]
    """Of its run."""
    steps: PositiveInt
    """Of its run."""
    paths: PositiveInt
    """Of the noise."""


class Config(LineSettings):
    """Settings of the study."""

    intervals: Annotated[int, Field(ge=8, multiple_of=2)]
    """Steps of the metric's time grid, two of the solver's each."""
    errors: Annotated[int, Field(ge=40)]
    """Score errors per population, at least 40."""
    thinned: PositiveInt = 1
    """Keep every so many of them."""
    amplitude: tuple[PositiveFloat, PositiveFloat]
    """Range of the given errors, in units of the score."""
    rates: tuple[PositiveFloat, PositiveFloat]
    """Range of the noise: variance that it adds to a point, per unit of the clock int g^2 dr."""
    paths: PositiveInt
    """Paths of the noise per error."""
    share: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Share of the trajectory that is looked at beside the whole."""
    resamples: PositiveInt
    """Of the bootstrap intervals."""
    level: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Of the intervals."""
    width: PositiveFloat = 0.7
    """Intervals wider than this leave the order unresolved."""
    coarser: PositiveFloat = 0.02
    """How much half of the cells may change a rank correlation."""
    oracle: OracleSettings
    """A Gaussian under constant noise, whose law is known."""

    def ground(self) -> cases.Ground:
        """Return what all errors share."""
        return cases.Ground(self.reverse(), self.grid(), self.times(self.intervals), self.weight)

    @property
    def shares(self) -> tuple[float, float]:
        """The whole trajectory and its first part."""
        return 1.0, self.share


def run(config: Config, stages: Stages) -> Report:
    """Run the study."""
    with stages.total(len(POPULATIONS) + 3):
        ground, parts = config.ground(), []
        for k, population in enumerate(POPULATIONS):
            with stages(population):
                parts.append(_population(config, ground, population, config.seed + k))
        found = xr.concat(parts, dim="population").assign_coords(population=list(POPULATIONS))
        with stages("oracle and controls"):
            known = oracle(seed=config.seed, **config.oracle.model_dump()) | _controls(config, ground, parts[0])
        with stages("correlations"):
            table = correlations(config, found)
        with stages("figure"):
            drawn = _figure(config, found, table)
    return Report(
        study="score-noise",
        title=config.title,
        question=config.question,
        answer=_answer(config, found, table),
        headline=f"rank correlation of metric and distance, errors that last: {_said(table, 'steady', 'whole')}",
        checks=checks(found, table, known, config.width, config.coarser),
        table=_table(config, table),
        status=STATUS,
        notes=NOTES,
        figure=drawn,
        caption=CAPTION,
        metrics=_metrics(table) | {f"oracle_{name}": value for name, value in known.items()},
        datasets={"": found, "correlations": table},
    )


def checks(
    found: xr.Dataset, table: xr.Dataset, known: dict[str, float], widest: float = 0.7, coarser: float = 0.02
) -> tuple[Check, ...]:
    """Return what must hold, each check one that can fail."""
    margins = found["margin"].values[np.isfinite(found["margin"].values)]
    # what has not begun has no order, and the answer says so: its interval is all of [-1, 1]
    width = (table["high"] - table["low"]).where(table["told"] >= 0.5).max()
    return (
        Check.at_most("oracle: mean along every path", known["mean"], 1e-3),
        Check.at_most("oracle: variance along every path", known["variance"], 1e-3),
        Check.at_most("oracle: quadratic variation of every path", known["variation"], 1e-3),
        Check.at_most("oracle: realised less formula, in its standard deviations", known["scatter"], 4.5),
        Check.at_most("mass: change along any path or run", max(float(found["mass"].max()), known["mass"]), 1e-12),
        Check.at_most("mass of negative parts, largest", float(found["negative"].max()), 1e-8),
        Check.at_most("entropy above its bound beyond the errors: runs", float(np.sum(margins < 0.0)), 0.0),
        Check("entropy bounds that could be compared: runs", float(margins.size), 2.0 * found.sizes["case"], 0.0),
        Check("metric of a given error on half the steps / on all", known["halving"], 2.0, 0.1),
        Check.at_most("distance on half the cells and steps: largest change", known["coarser"], coarser),
        Check.at_most("widest interval of a correlation", float(width), widest),
    )


def _population(config: Config, ground: cases.Ground, population: str, seed: int) -> xr.Dataset:
    if population == "noise":
        drawn = cases.noises(config.process, config.errors, config.rates, seed)[:: config.thinned]
        outcomes = [
            cases.outcome_of_noise(ground, case, config.shares, config.paths, seed + k) for k, case in enumerate(drawn)
        ]
    else:
        drawn = cases.given_errors(ground, population, config.errors, config.amplitude, seed)[:: config.thinned]
        outcomes = [cases.outcome_of_error(ground, case, config.shares) for case in drawn]
    scalars = {name: ("case", [one[name] for one in outcomes]) for name in outcomes[0] if name != "metric"}
    metric = (("case", "share"), np.stack([one["metric"] for one in outcomes]))
    return xr.Dataset(
        {**scalars, "metric": metric},
        coords={"share": list(config.shares), "family": ("case", [case.family for case in drawn])},
        attrs={"status": "estimated"},
    )


def _controls(config: Config, ground: cases.Ground, found: xr.Dataset) -> dict[str, float]:
    """The metric on half the steps, and distances on half the cells and steps, of the first steady errors."""
    coarse = ground.coarser()
    drawn = cases.given_errors(ground, "steady", config.errors, config.amplitude, config.seed)[:: config.thinned]
    half = [cases.outcome_of_error(coarse, case, config.shares) for case in drawn[:CONTROLS]]
    ratios = {
        name: np.array([one[name] for one in half]) / values[:CONTROLS]
        for name, values in {"weighted_tv": found["weighted_tv"].values, "metric": found["metric"].values}.items()
    }
    change = float(np.abs(ratios["weighted_tv"] - 1.0).max())
    return {"halving": float(np.median(ratios["metric"][:, 0])), "coarser": change}


def predictors(config: Config) -> dict[str, dict[str, Any]]:
    """What is held against the distances: variable and share by label."""
    return {
        "whole": {"variable": "metric", "share": 1.0},
        "first": {"variable": "metric", "share": config.share},
        "size": {"variable": "size"},
    }


def correlations(config: Config, found: xr.Dataset) -> xr.Dataset:
    """Rank correlations with intervals over (population, predictor, distance), and inside the families.

    `told` is the share of the errors that the predictor tells apart.
    """
    shape = (len(POPULATIONS), len(predictors(config)), len(DISTANCES))
    parts = {name: np.full(shape, np.nan) for name in ("value", "low", "high", "within", "told")}
    for i, population in enumerate(POPULATIONS):
        one = found.sel(population=population)
        for j, chosen in enumerate(predictors(config).values()):
            x = one[chosen["variable"]]
            x = x.sel(share=chosen["share"]) if "share" in chosen else x
            parts["told"][i, j] = np.unique(x.values).size / x.size
            if not _checks.varies(x.values):
                continue  # none of few errors has begun by then: there is no order
            for k, distance in enumerate(DISTANCES):
                rank = stochastic.rank_correlation(
                    x.values, one[distance].values, seed=config.seed, resamples=config.resamples, level=config.level
                )
                for name in ("value", "low", "high"):
                    parts[name][i, j, k] = getattr(rank, name)
                parts["within"][i, j, k] = _within(one["family"].values, x.values, one[distance].values)
    dims = ("population", "predictor", "distance")
    return xr.Dataset(
        {name: (dims, values) for name, values in parts.items()},
        coords={"population": list(POPULATIONS), "predictor": list(predictors(config)), "distance": list(DISTANCES)},
        attrs={"status": "Monte Carlo", "level": config.level, "resamples": config.resamples, "seed": config.seed},
    )


def _within(families: Any, x: Any, y: Any) -> float:
    """Median over the families of the correlation inside each; NaN where a family's metrics are all the same."""
    from scipy.stats import spearmanr

    found = []
    for family in cases.FAMILIES:
        mine = families == family
        if mine.sum() >= 8 and _checks.varies(x[mine]):
            found.append(float(spearmanr(x[mine], y[mine]).statistic))
    return float(np.median(found)) if len(found) == len(cases.FAMILIES) else float("nan")


def _labels(config: Config) -> dict[str, str]:
    return {"whole": "metric, whole", "first": f"metric, first {config.share:.0%}", "size": "size of error"}


def _table(config: Config, table: xr.Dataset) -> Table:
    rows = []
    for population in POPULATIONS:
        for predictor, what in _labels(config).items():
            cells = []
            for distance in DISTANCES:
                one = table.sel(population=population, predictor=predictor, distance=distance)
                value, low, high, within = (float(one[name]) for name in ("value", "low", "high", "within"))
                whole = "none" if np.isnan(value) else f"{value:.2f} [{low:.2f}, {high:.2f}]"
                cells += [whole, "-" if np.isnan(within) else f"{within:.2f}"]
            rows.append((population, what, *cells))
    heads = [text for name in DISTANCES.values() for text in (f"with {name}", "in a family")]
    return Table(("errors", "ordered by", *heads), tuple(rows))


def _metrics(table: xr.Dataset) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for population in POPULATIONS:
        for predictor in table["predictor"].values:
            for distance in DISTANCES:
                one = table.sel(population=population, predictor=predictor, distance=distance)
                numbers |= {f"{population}_{predictor}_{distance}_{name}": float(one[name]) for name in one.data_vars}
    return numbers


def _said(table: xr.Dataset, population: str, predictor: str, distance: str = "weighted_tv") -> str:
    one = table.sel(population=population, predictor=predictor, distance=distance)
    if np.isnan(float(one["value"])):
        return "none"
    return f"{float(one['value']):.2f} [{float(one['low']):.2f}, {float(one['high']):.2f}]"


def _answer(config: Config, found: xr.Dataset, table: xr.Dataset) -> tuple[str, ...]:
    n, first = found.sizes["case"], f"the first {config.share:.0%}"
    blind = int((found["metric"].sel(population="windowed", share=config.share) == 0.0).sum())
    at = {"population": "steady", "predictor": "whole", "distance": "weighted_tv"}
    within, across = (float(table[name].sel(at)) for name in ("within", "value"))
    inside = f"inside one family of lasting errors its correlation is {within:.2f} (median), over all {across:.2f}"
    told = "" if np.isnan(within) else f": {inside}"
    ahead = [
        label
        for population, label in POPULATIONS.items()
        if _value(table, population, "size") > _value(table, population, "whole")
    ]
    return (
        f"Over {n} errors each, the metric's rank correlation with the weighted total variation is "
        f"{_said(table, 'steady', 'whole')} for given errors that last, {_said(table, 'windowed', 'whole')} for those "
        f"that act in a window of times and {_said(table, 'noise', 'whole')} for noise; with W2 it is "
        f"{_said(table, 'steady', 'whole', 'w2')}, {_said(table, 'windowed', 'whole', 'w2')} and "
        f"{_said(table, 'noise', 'whole', 'w2')}.",
        f"From {first} of the trajectory it is {_said(table, 'steady', 'first')} for errors that last and "
        f"{_said(table, 'noise', 'first')} for noise, but {_said(table, 'windowed', 'first')} for errors in a window: "
        f"{blind} of {n} have not begun by then.",
        f"The plain size of the error, E|e|^2 along the run, orders them at {_said(table, 'steady', 'size')}, "
        f"{_said(table, 'windowed', 'size')} and {_said(table, 'noise', 'size')}: better than the metric for "
        f"{len(ahead)} of {len(POPULATIONS)} populations. The metric sees an error through <u, e . x>, so it weighs "
        f"what changes |x|^2 against what shifts the law unlike the distances do{told}. This is our reading of a "
        f"SIEM-like metric on one target, not a verdict on another reading.",
    )


def _value(table: xr.Dataset, population: str, predictor: str) -> float:
    return float(table["value"].sel(population=population, predictor=predictor, distance="weighted_tv"))


def _figure(config: Config, found: xr.Dataset, table: xr.Dataset) -> Figure:
    from matplotlib.figure import Figure

    whole = Figure(figsize=(13.0, 4.4), layout="constrained")
    first, second, third = whole.subplots(1, 3, width_ratios=(1.0, 0.9, 1.0))
    steady = found.sel(population="steady")
    plots.metric_against_distance(steady, ax=first)
    first.set(xlabel=r"metric $Q$, whole trajectory", ylabel="weighted TV at the end", title="(a) Errors that last")
    plots.metric_against_distance(steady, share=config.share, ranks=True, ax=second)
    title = f"(b) Ranks, first {config.share:.0%}"
    second.set(xlabel="rank of the metric", ylabel="rank of the weighted TV", title=title)
    rows = {
        f"{label}:\n{what}": {"population": population, "predictor": predictor}
        for population, label in POPULATIONS.items()
        for predictor, what in _labels(config).items()
    }
    plots.rank_correlations(table, rows=rows, distances=DISTANCES, ax=third)
    third.set_title(f"(c) Correlations, {config.level:.0%} intervals")
    third.tick_params(axis="y", labelsize="small")
    handles, labels = first.get_legend_handles_labels()
    whole.legend(handles, labels, loc="outside lower left", ncols=len(labels), frameon=False, fontsize="small")
    handles, labels = third.get_legend_handles_labels()
    whole.legend(handles, labels, loc="outside lower right", ncols=len(labels), frameon=False, fontsize="small")
    return whole

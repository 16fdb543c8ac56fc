"""Study: the exact error of a sampler against evaluations of the score, on named step grids and on designed ones."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Annotated

import numpy as np
import xarray as xr
from pydantic import Field, PositiveFloat, PositiveInt

import fpsolve as fp
from fpsolve import design, samplers, weights
from fpsolve._checks import FloatArray, error
from fpsolve._messages import Status
from fpsolve.plots import PALETTE, legend_beside, weight_formula
from fpsolve.samplers import Sampler
from fpsolve.studies.config import (
    AnyWeight,
    Box,
    Cells,
    LineTarget,
    OwnProcess,
    SamplerSettings,
    Stages,
    StudySettings,
    TMin,
    seen,
)
from fpsolve.studies.report import Check, Report, Table, formula, number, with_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Config", "run"]

#: What the numbers of the table are.
STATUS: dict[Status, tuple[str, ...]] = {"estimated": ("best named", "designed", "ratio", "flat to")}
NOTES = (
    "best named, designed: V-norm between the sampler's law at t_min, started from the prior, and p_{t_min}; ratio: of "
    "the two; flat to: largest derivative of the logarithm of the error by that of a step. A design is a local "
    "minimum: more evaluations may do worse than fewer.",
)
CAPTION = (
    "(a) Error against evaluations of the score: designed step grids (filled) and the best named ones (open, dashed); "
    "grey: the least error for so many evaluations (Pareto front). (b) Noise levels s/alpha at the step ends for the "
    "middle number of evaluations: of Karras (open), designed (filled), designed for the wrong score (crosses)."
)
#: Ranks of the start from which the independent check is taken.
RANKS = 100_001


class Config(StudySettings):
    """Settings of the study."""

    t_min: TMin
    cells: Cells
    box: Box
    samplers: Annotated[tuple[SamplerSettings, ...], Field(min_length=1)]
    """Samplers without noise."""
    evaluations: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """Numbers of evaluations of the score."""
    tries: PositiveInt
    """Step grids tried per design."""
    bias: PositiveFloat
    """Of the predicted noise, where the score is wrong; for the middle number of evaluations."""
    redesigned: PositiveFloat | None = None
    """Most error of a grid designed for the wrong score, by that of the grid kept; default: not checked."""
    process: OwnProcess
    weight: AnyWeight
    target: LineTarget

    def design(
        self, sampler: Sampler, evaluations: int, *, wrong: bool = False, begin: FloatArray | None = None
    ) -> design.Design:
        """Return the step grid for so many evaluations, searched from a known one too."""
        n = evaluations // sampler.evaluations
        if n < 2:
            raise error("evaluations", f"at least {2 * sampler.evaluations} for {sampler.name}", str(evaluations))
        grid = fp.Grid.uniform(self.box, cells=self.cells)
        return design.steps(
            self.reverse(wrong=wrong), seen(sampler, self.process), n, t_min=self.t_min, grid=grid, weight=self.weight,
            begin=begin, most=self.tries, progress=False,
        )  # fmt: skip

    def reverse(self, *, wrong: bool = False) -> fp.Reverse:
        """Return the probability flow with the exact score, or with the wrong one."""
        score = None
        if wrong:
            off = fp.scores.errors.InNoiseUnits(fp.scores.errors.Bias(self.bias), self.process)
            score = fp.scores.perturbed(fp.scores.exact(self.target, self.process), off)
        return fp.Reverse(self.target, self.process, score, eta=0.0)


def run(config: Config, stages: Stages) -> Report:
    """Run the study."""
    with stages.total(len(config.samplers) + 1):
        parts = []
        for sampler in config.samplers:
            with stages(sampler.name):
                made = [config.design(sampler, m) for m in config.evaluations]
                if not all(np.isfinite(one.error_bar) for one in made):
                    expected = "a law whose tails the box holds in the weighted norm, so that errors have bars"
                    raise error("target", expected, f"{formula(config.target)} without", "lighter tails, a wider box")
                one = xr.concat([_one(config, each) for each in made], dim="evaluations", join="outer")
                parts.append(one.merge(_moved(config, sampler, made[len(made) // 2])))
        names = [sampler.name for sampler in config.samplers]
        found = xr.concat(parts, dim="sampler", join="outer").assign_coords(sampler=names)
        found = found.assign_coords(evaluations=list(config.evaluations))
        found = found.assign_attrs(weight=weights.to_json(config.weight), status="estimated")
        with stages("figure"):
            drawn = _figure(found)
    columns = ("sampler", "evaluations", "best named", "its grid", "designed", "ratio", "flat to")
    return Report(
        study="step-design",
        title=config.title,
        question=config.question,
        answer=_answer(config, found),
        headline=_headline(found),
        checks=checks(found, config.redesigned),
        table=Table(columns, _rows(found)),
        status=STATUS,
        notes=NOTES,
        figure=drawn,
        caption=CAPTION,
        metrics={f"{name}_ratio": float(_ratio(found).sel(sampler=name).max()) for name in names},
        datasets={"": found},
    )


def checks(found: xr.Dataset, redesigned: float | None = 1.0) -> tuple[Check, ...]:
    """Return what must hold, each check one that can fail."""
    off = abs(found["designed"] - found["by_ranks"]) / (found["bar"] + 1e-5 * found["designed"])
    bar = {"designed": found["bar"] / found["designed"], "best named": (found["named_bar"] / found["named"])}
    bar["best named"] = bar["best named"].where(found["named"] == found["named"].min("grid"))
    most = float((found["redesigned"] / found["kept"]).max())
    return (
        Check.at_most("designed / best named error, largest", float(_ratio(found).max()), 1.0),
        *[Check.at_most(f"error bar / error, {kind}, largest", float(one.max()), 0.01) for kind, one in bar.items()],
        Check.at_most("error by cells less error by ranks, over the bar, largest", float(off.max()), 1.0),
        *([Check.at_most("wrong score: redesigned / kept", most, redesigned)] if redesigned else []),
    )


def _ratio(found: xr.Dataset) -> xr.DataArray:
    return found["designed"] / found["named"].min("grid")


def _one(config: Config, made: design.Design) -> xr.Dataset:
    """A design, and what it is better than."""
    names = sorted(made.named)
    return xr.Dataset(
        {
            "designed": made.error,
            "bar": made.error_bar,
            "flat": made.stationarity,
            "by_ranks": _by_ranks(config, made),
            "levels": ("node", _padded(config, made.sigmas)),
            "named": ("grid", [float(made.named[name]) for name in names]),
            "named_bar": ("grid", [made.named[name].bar for name in names]),
        },
        coords={"grid": names},
    )


def _padded(config: Config, values: FloatArray) -> FloatArray:
    return np.append(values, np.full(max(config.evaluations) + 1 - len(values), np.nan))


def _moved(config: Config, sampler: Sampler, right: design.Design) -> xr.Dataset:
    """What the step grid of the exact score costs with the wrong one, and what one designed for that costs."""
    new = config.design(sampler, right.evaluations, wrong=True, begin=right.times)
    grid = fp.Grid.uniform(config.box, cells=config.cells)
    kept = design.error(new.reverse, seen(sampler, config.process), right.times, grid=grid, weight=config.weight)
    karras = samplers.grids.karras(len(right.times) - 1, config.process, t_min=config.t_min)
    levels = np.sqrt(config.process.variance(0.0, karras)) / config.process.scale(0.0, karras)
    return xr.Dataset(
        {
            "kept": float(kept.distance),
            "redesigned": new.error,
            "wrong_levels": ("node", _padded(config, new.sigmas)),
            "karras_levels": ("node", _padded(config, levels)),
        }
    )


def _by_ranks(config: Config, made: design.Design) -> float:
    """The error from images of the ranks of the start, without cells; NaN where the map folds."""
    from scipy.integrate import simpson
    from scipy.interpolate import CubicSpline

    start = config.process.prior()
    u = np.linspace(-8.0, 8.0, RANKS) * float(np.sqrt(start.cov))
    x = samplers.Composed(samplers.steps(made.sampler, made.reverse, made.times)).move(made.reverse.score, u)
    if not np.all(np.diff(x) > 0.0):
        return float("nan")
    last = made.reverse.marginal(config.t_min)

    def weighted(y: FloatArray, density: FloatArray) -> float:
        return float(simpson(weights.evaluate(config.weight, y, 1) * density, x=y))

    beyond = 10.0 * float(np.sqrt(last.cov)) * np.array([-1.0, 1.0]) + last.mean
    ends = np.linspace(min(beyond[0], x[0]), x[0], RANKS), np.linspace(x[-1], max(beyond[1], x[-1]), RANKS)
    missed = sum(weighted(y, last.density(y)) for y in ends)
    slope = CubicSpline(u, x)(u, 1)
    density = np.abs(start.density(u) - last.density(x) * slope)
    return missed + float(simpson(weights.evaluate(config.weight, x, 1) * density, x=u))


def _rows(found: xr.Dataset) -> tuple[tuple[str, ...], ...]:
    rows = []
    for name in found["sampler"].values:
        for m in found["evaluations"].values:
            one = found.sel(sampler=name, evaluations=m)
            best = str(one["named"].idxmin("grid").values)
            numbers = [number(float(v), 3) for v in (one["designed"], _ratio(one), one["flat"])]
            rows.append((str(name), str(m), number(float(one["named"].min()), 3), best, *numbers))
    return tuple(rows)


def _answer(config: Config, found: xr.Dataset) -> tuple[str, ...]:
    ratio = _ratio(found)
    best = found["designed"].min("sampler")
    front = ", ".join(
        f"{number(float(value), 2)} with {m} ({found['designed'].sel(evaluations=m).idxmin('sampler').values})"
        for m, value in zip(found["evaluations"].values, best.values, strict=True)
    )
    gain = found["kept"] / found["redesigned"]
    most = str(gain.idxmax("sampler").values)
    first = found["levels"].isel(evaluations=found.sizes["evaluations"] // 2).max("node")
    moved = ", ".join(
        f"{name} from {number(float(first.sel(sampler=name)), 2)} to "
        f"{number(float(found['wrong_levels'].sel(sampler=name).max()), 2)}"
        for name in found["sampler"].values
    )
    worst = float(gain.max())
    kept = f"costs up to {number(worst, 3)} times" if worst > 1.0 else f"has no more than {number(worst, 3)} times"
    return (
        f"Designed step grids have {number(float(ratio.min()), 2)} to {number(float(ratio.max()), 2)} of the error of "
        f"the best named one. The least errors by evaluations: {front}.",
        f"Under a bias of {config.bias:g} of the predicted noise the first noise level of the best grid goes: {moved}. "
        f"Kept, the grid of the exact score {kept} the error of one that is designed for the wrong score ({most}).",
    )


def _headline(found: xr.Dataset) -> str:
    most = found.isel(evaluations=-1)
    best = most.isel(sampler=int(np.argmin(most["designed"].values)))
    error = with_error(float(best["designed"]), float(best["bar"]))
    return f"least error with {int(best['evaluations'])} evaluations {error} ({best['sampler'].item()})"


def _figure(found: xr.Dataset) -> Figure:
    from matplotlib.figure import Figure

    whole = Figure(figsize=(10.5, 4.4), layout="constrained")
    left, right = whole.subplots(1, 2)
    _errors(left, found)
    middle, names = found.sizes["evaluations"] // 2, [str(name) for name in found["sampler"].values]
    for place, (name, color) in enumerate(zip(names, cycle(PALETTE), strict=False)):
        one = found.sel(sampler=name)
        marks = ("karras_levels", "o", "none"), ("levels", "o", color), ("wrong_levels", "x", color)
        for shift, (variable, marker, face) in zip((0.22, 0.0, -0.22), marks, strict=True):
            values = one[variable] if variable != "levels" else one[variable].isel(evaluations=middle)
            label = (
                None
                if place
                else {"karras_levels": "Karras", "levels": "designed"}.get(variable, "for the wrong score")
            )
            faces = {} if marker == "x" else {"facecolors": face, "edgecolors": color}
            own = {"color": color} if marker == "x" else {}
            right.scatter(values, np.full(values.size, place + shift), marker=marker, label=label, **faces, **own)
    right.set_xscale("log")
    right.set_yticks(range(len(names)), names)
    right.set(xlabel=r"noise level $s/\alpha$ of the step ends", ylim=(-0.6, len(names) - 0.2))
    right.set_title(f"(b) Where the steps go, {int(found['evaluations'][middle])} evaluations", fontsize="medium")
    right.grid(True, axis="x", color="0.9", linewidth=0.6)
    right.set_axisbelow(True)
    legend_beside(right, "below", columns=3)
    return whole


def _errors(ax: Axes, found: xr.Dataset) -> None:
    counts = found["evaluations"].values
    for name, marker, color in zip(found["sampler"].values, cycle("os^vDP"), cycle(PALETTE), strict=False):
        one = found.sel(sampler=name)
        ax.semilogy(counts, one["designed"], marker=marker, color=color, label=f"{name}: designed")
        named = one["named"].min("grid")
        ax.semilogy(counts, named, marker=marker, mfc="none", ls="--", lw=0.9, color=color)
    ax.plot([], [], marker="o", mfc="none", ls="--", lw=0.9, color="0.3", label="best named")
    front = np.minimum.accumulate(found["designed"].min("sampler").values)
    ax.step(counts, front, where="post", color="0.75", linewidth=5.0, zorder=0, label="Pareto front")
    ax.set_xticks(counts, [str(m) for m in counts])
    ax.set(xlabel="evaluations of the score", ylabel=rf"$\|\nu - p_{{t_{{min}}}}\|_V$, {weight_formula(found)}")
    ax.grid(True, which="major", color="0.9", linewidth=0.6)
    ax.set_title("(a) Error at the end", fontsize="medium")
    legend_beside(ax, "below", columns=3)

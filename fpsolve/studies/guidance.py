"""Study: the law that guidance samples beside the tilted law that it is said to sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
import xarray as xr
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

import fpsolve as fp
from fpsolve._checks import error
from fpsolve._messages import Status
from fpsolve.plots import PALETTE, legend_beside
from fpsolve.scores import exact, guided
from fpsolve.studies.config import LineTarget, OwnProcess, Stages, StudySettings, TMin, Tol
from fpsolve.studies.report import Check, Report, Table, number, with_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fpsolve.laws import Law

__all__ = ["Config", "run"]

#: The ways of guidance: eta, and whether in an interval only.
WAYS = {"SDE": (1.0, False), "flow": (0.0, False), "SDE, interval": (1.0, True)}
#: What the error of a distance may be before its run is taken finer, down to this share of the tolerance.
TOLD, LEAST = 5e-3, 0.05
#: What the numbers of the table are.
STATUS: dict[Status, tuple[str, ...]] = {"estimated": ("total variation", "mean", "std")}
NOTES = (
    "Total variation between the law at t_min and the tilted law, diffused to t_min as well: 0 would be as promised. "
    "mean, std: of what the SDE samples, and of the tilted law.",
)
CAPTION = (
    "(a) Total variation between what guidance samples and the tilted law p(x) p(label|x)^w, against w. (b) At the "
    "largest w: densities at t_min, the tilted law dashed, the law without guidance grey."
)


class Config(StudySettings):
    """Settings of the study."""

    label: NonNegativeInt
    """The component of the target that is asked for, from 0."""
    w: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=2)]
    """Strengths of guidance."""
    interval: tuple[PositiveFloat, PositiveFloat]
    """Times of guidance, where it is not at all times."""
    t_min: TMin
    tol: Tol
    particles: PositiveInt
    """Particles at the largest w."""
    process: OwnProcess
    target: LineTarget

    def reverse(self, way: str, w: float) -> fp.Reverse:
        """Return the guided dynamics."""
        mixture = self.target
        if not isinstance(mixture, fp.GaussianMixture):
            raise error("target", "a Gaussian mixture, whose components are the labels", repr(mixture)[:60])
        eta, inside = WAYS[way]
        part, process = mixture.given(self.label), self.process
        interval = self.interval if inside else None
        score = guided(exact(mixture, process), exact(part, process), w, interval=interval)
        return fp.Reverse(part, process, score=score, eta=eta)

    def tilted(self, w: float) -> fp.Reverse:
        """Return the reverse dynamics of the tilted law."""
        mixture = self.target
        assert isinstance(mixture, fp.GaussianMixture)
        return fp.Reverse(mixture.tilted(self.label, w), self.process)


def run(config: Config, stages: Stages) -> Report:
    """Run the study."""
    with stages.total(len(WAYS) + 2):
        parts = []
        runs: dict[tuple[str, float], tuple[fp.Reverse, xr.Dataset]] = {}
        for way in WAYS:
            with stages(way):
                runs |= {(way, w): _run(config, way, w) for w in config.w}
                parts.append(xr.concat([_one(config, runs[way, w], w) for w in config.w], dim="w"))
        found = xr.concat(parts, dim="way").assign_coords(way=list(WAYS), w=list(config.w))
        found = found.assign_attrs(status="estimated")
        with stages("particles"):
            agree = _particles(config, *runs["SDE", max(config.w)])
        with stages("figure"):
            drawn = _figure(config, found, {way: runs[way, config.w[-1]][1] for way in WAYS})
    last = found.isel(w=-1).sel(way="SDE")
    apart = with_error(float(last["apart"]), float(last["bar"]))
    return Report(
        study="guidance",
        title=config.title,
        question=config.question,
        answer=_answer(found),
        headline=f"at w = {float(last['w']):g} with the SDE {apart} in total variation from the tilted law",
        checks=checks(found, agree, max(0.02, 5.0 * config.tol)),
        table=Table(("w", *WAYS, "mean", "tilted", "std", "tilted"), _rows(found)),
        status=STATUS,
        notes=NOTES,
        figure=drawn,
        caption=CAPTION,
        metrics={f"{way}_largest": float(found["apart"].sel(way=way).max()) for way in WAYS},
        datasets={"": found},
    )


def checks(found: xr.Dataset, agree: bool, most: float = 0.02) -> tuple[Check, ...]:
    """Return what must hold, each check one that can fail."""
    known = found.sel(w=1.0) if 1.0 in found["w"] else found.isel(w=[])
    off = float((known["apart"] / known["bar"]).max()) if known["apart"].size else 0.0
    bar = float((found["bar"] / found["apart"].max("w")).max())
    return (
        Check.at_most("w = 1, where guidance is exact: distance / error bar, largest", off, 1.0),
        Check.at_most("error bar / largest distance of its way, largest", bar, most),
        Check.at_most("particles of the largest w that disagree with the density", float(not agree), 0.0),
    )


def _run(config: Config, way: str, w: float) -> tuple[fp.Reverse, xr.Dataset]:
    reverse = config.reverse(way, w)
    start, tol = {"prior": reverse.marginal(config.process.T)}, config.tol
    while True:
        found = fp.evolve(reverse, start, t_min=config.t_min, tol=tol, progress=False)
        # few cells may be enough for the density, but not for a distance to a law with narrow modes
        if float(_apart(config, found, w)[1]["error"]) <= max(TOLD, config.tol) or tol < LEAST * config.tol:
            return reverse, found
        tol /= 10.0


def _apart(config: Config, found: xr.Dataset, w: float) -> tuple[Law, xr.Dataset]:
    """The tilted law at the end, and how far what is sampled is from it."""
    end, tilted = found["density"].isel(start=0, t=-1, drop=True), config.tilted(w).marginal(config.t_min)
    return tilted, fp.distances.total_variation(end, end.copy(data=found.fpsolve.grid.cell_average(tilted)))


def _one(config: Config, run: tuple[fp.Reverse, xr.Dataset], w: float) -> xr.Dataset:
    """How far the law of one w is from the tilted one, and moments of both."""
    found = run[1]
    end, grid = found["density"].isel(start=0, t=-1, drop=True), found.fpsolve.grid
    tilted, apart = _apart(config, found, w)
    # the estimate is one of int V |error| with V >= 1, and total variation is half of it
    bar = float(apart["error"]) + 0.5 * float(found["error_estimate"][0, -1])
    mean, moment = ((end.values * grid.x**k).sum() * grid.volume for k in (1, 2))
    # Sheppard's correction of sums over cells
    std = np.sqrt(moment - mean**2 - grid.spacing[0] ** 2 / 12.0)
    numbers = {"apart": float(apart["distance"]), "bar": bar, "mean": mean, "std": std}
    numbers |= {"tilted_mean": float(tilted.mean), "tilted_std": float(np.sqrt(tilted.cov))}
    return xr.Dataset(numbers)


def _particles(config: Config, reverse: fp.Reverse, found: xr.Dataset) -> bool:
    """Whether particles with the guided score agree with the density."""
    start = reverse.marginal(config.process.T)
    cloud = fp.particles.simulate(
        reverse, start, n=config.particles, steps=1000, method="exponential-integrator", seed=config.seed,
        t_min=config.t_min, save_at=[config.t_min], progress=False,
    )  # fmt: skip
    return bool(fp.particles.compare(found, cloud, start="prior").attrs["verdict"] == "agree")


def _rows(found: xr.Dataset) -> tuple[tuple[str, ...], ...]:
    rows, sde = [], found.sel(way="SDE")
    for k, w in enumerate(found["w"].values):
        each = [found.sel(way=way).isel(w=k) for way in WAYS]
        apart = [with_error(float(one["apart"]), float(one["bar"])) for one in each]
        names = ("mean", "tilted_mean", "std", "tilted_std")
        rows.append((f"{w:g}", *apart, *(number(float(sde[name][k]), 3) for name in names)))
    return tuple(rows)


def _answer(found: xr.Dataset) -> tuple[str, ...]:
    last = found.isel(w=-1)
    values = ", ".join(f"{number(float(last['apart'].sel(way=way)), 3)} ({way})" for way in found["way"].values)
    sde, w = last.sel(way="SDE"), float(found["w"][-1])
    mean, std, tilted, width = (number(float(sde[k]), 3) for k in ("mean", "std", "tilted_mean", "tilted_std"))
    exact = "; at w = 1 nothing is left but the error bar" if 1.0 in found["w"] else ""
    return (
        f"At w = {w:g} the law that is sampled is {values} in total variation away from the tilted law{exact}. "
        f"With the SDE its mean is {mean} where the tilted law has {tilted}, its "
        f"standard deviation {std} where that has {width}.",
    )


def _figure(config: Config, found: xr.Dataset, runs: dict[str, xr.Dataset]) -> Figure:
    from matplotlib.figure import Figure

    whole = Figure(figsize=(10.0, 4.2), layout="constrained")
    left, right = whole.subplots(1, 2)
    w = float(found["w"][-1])
    for way, marker, color in zip(WAYS, "os^", PALETTE, strict=False):
        one = found.sel(way=way)
        left.errorbar(one["w"], one["apart"], yerr=one["bar"], marker=marker, color=color, label=way)
        end = runs[way]["density"].isel(start=0, t=-1)
        right.plot(end["x"], end, color=color, label=way)
    tilted, plain = config.tilted(w).marginal(config.t_min), config.reverse("SDE", 1.0).marginal(config.t_min)
    mean, half = float(plain.mean), 5.0 * float(np.sqrt(plain.cov))
    x = np.linspace(mean - half, mean + half, 800)
    right.plot(x, plain.density(x), color="0.75", label="w = 1", zorder=0)
    right.plot(x, tilted.density(x), color="black", ls="--", label="tilted")
    left.set(xlabel="guidance $w$", ylabel="total variation to the tilted law", ylim=(0.0, None))
    right.set(xlabel="$x$", ylabel="density", xlim=(x[0], x[-1]), title=f"(b) $w = {w:g}$")
    left.set_title("(a) What is sampled is not what is said")
    left.grid(True, color="0.9", linewidth=0.6)
    for ax in (left, right):
        legend_beside(ax, "below", columns=3)
    return whole

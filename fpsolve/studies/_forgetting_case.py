"""One dimension of the forgetting study: laws, grid run, curves, closed form and particles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
import xarray as xr
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

import fpsolve as fp
from fpsolve import _checks, closed_form, data, particles, weights
from fpsolve._checks import FloatArray
from fpsolve.settings import Misfit, refused
from fpsolve.studies._config import AnyLaw, DataSettings, ParticleSettings
from fpsolve.studies._stages import Stages
from fpsolve.studies._text import formula
from fpsolve.weights import Weight

if TYPE_CHECKING:
    from fpsolve.laws import Law
    from fpsolve.processes import Process

__all__ = ["REFERENCE", "Case", "CaseParticles", "CaseSettings", "solve"]

#: Label of the start every other one is compared with: the law p_T of the forward process.
REFERENCE = "exact"
PRIOR = "prior"

#: Gauss nodes per cell and axis of the closed form: the cells are many times narrower than the densities.
ORDER = 3


class CaseParticles(ParticleSettings):
    """Particles of a case, from some of its starts."""

    starts: Annotated[tuple[str, ...], Field(min_length=1)]


class CaseSettings(DataSettings):
    """Data, tolerance, starts and times of one dimension; "exact" and "prior" are always among the starts."""

    tol: PositiveFloat
    times: Annotated[tuple[PositiveFloat, ...], Field(min_length=2)]
    saves: PositiveInt = 1
    starts: dict[str, AnyLaw]
    particles: CaseParticles

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
        saves = _saves(settings, process, t_min)
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


def _saves(settings: CaseSettings, process: Process, t_min: float) -> FloatArray:
    """Times of the table and, for the figure, more of them where the starts still differ most."""
    spread = process.T - (process.T - t_min) * np.linspace(0.0, 1.0, settings.saves + 1) ** 1.5
    # times of the table must come out as they are, not as a neighbour one rounding away
    table = np.array([*settings.times, t_min, process.T])
    apart = np.abs(spread[:, None] - table).min(axis=1) > 1e-6 * process.T
    return np.unique(np.concatenate([table, spread[apart]]))


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
    truth = xr.Dataset({name: (("start", "t"), values) for name, values in data.items()}, coords=coords)
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
    ends = _step_ends(reverse, saved, ours.steps)
    compared = {}
    for k, label in enumerate(ours.starts):
        cloud = particles.simulate(
            reverse, starts[label], n=ours.n, seed=seed + k, times=ends, method=ours.method, save_at=saved,
            progress=stages.enabled,
        )  # fmt: skip
        compared[label] = particles.compare(run, cloud, start=label, reference=REFERENCE, false_alarm=ours.false_alarm)
    return compared


def _step_ends(reverse: fp.Reverse, saved: FloatArray, steps: int) -> FloatArray:
    """Ends of about `steps` steps, equal in ``log scale(0, t)``: each forgets the same share.

    Equal steps in t would be coarsest, relative to the drift, just where the starts still differ. Without a drift they
    are equal in the clock of the dynamics.
    """
    t = np.linspace(saved[-1], saved[0], 20_001)
    forgotten = -np.log(reverse.process.scale(0.0, t))
    if not forgotten.any():
        forgotten = np.sort(reverse.clock(t))
    ends = np.interp(np.linspace(forgotten[0], forgotten[-1], steps + 1), forgotten, t)
    apart = np.abs(ends[:, None] - saved).min(axis=1) > 1e-9 * reverse.process.T
    return np.sort(np.concatenate([saved, ends[apart]]))[::-1]

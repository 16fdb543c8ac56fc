"""A finished run's file, held against what follows from it: ``fpsolve verify RUN.nc`` and the subcommand ``fpsolve
prove RUN.nc``.

What is stored is held against what follows from the stored densities by other means: sums, findiff, closed forms of the
starts. A file with a checksum shows every changed bit; one written by ``run.to_netcdf`` shows what contradicts itself.
Its error bars are held against proofs.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, _runs, _times, settings
from fpsolve._messages import Failure
from fpsolve.settings import netcdf, result_file, write_all
from fpsolve.studies.report import Check, Table, number, outward

if TYPE_CHECKING:
    import xarray as xr

    from fpsolve.dynamics import BaseDynamics, Reverse
    from fpsolve.laws import Law


Array = NDArray[np.float64]

#: Saved times that a derivative in time takes, and at how many of them the equation is looked at.
WINDOW, LOOKS = 9, 25
#: What the equation may be left with, relative to its terms, beside three times what findiff's own orders differ by;
#: and the largest such difference at which saved times are near enough to say anything.
RESIDUAL, UNCLEAR = 0.01, 0.01
#: Rounding of sums, relative; of distances that are computed again; and change of the mass along a run without noise.
ROUNDING, AGAIN, DRIFT = 1e-11, 1e-8, 1e-6
#: Variables that no run is without.
VARIABLES = ("density", "error_estimate", "mass", "tail")


def check_file(path: str | Path) -> tuple[tuple[Check, ...], tuple[str, ...]]:
    """Hold what a file says against what follows from its own densities.

    Parameters
    ----------
    path : path
        What ``run.fpsolve.save``, ``run.to_netcdf`` or a study wrote.

    Returns
    -------
    checks : tuple of Check
    notes : tuple of str
        What could not be looked at, and why.

    Raises
    ------
    ValueError
        No netCDF file, or one in which there is neither a run nor a distance.
    """
    checks: list[Check] = []
    notes: list[str] = []
    try:
        written = settings.checksums(path)
        read = {name: settings.read_netcdf(path, **({"group": name} if name else {})) for name in written}
    except (OSError, KeyError, RuntimeError) as reason:
        told = "no such file" if isinstance(reason, FileNotFoundError) else " ".join(str(reason).split())[:200]
        raise _checks.error("RUN.nc", "a netCDF file that can be read", f"{path}: {told}") from None
    parts = {name: dataset for name, (dataset, _) in read.items()}
    for name, (_, whole) in read.items():
        if written[name] is not None:
            checks.append(Check.at_most(f"{_of(name)}content differs from its sha256", float(not whole), 0.0))
    if None in written.values():
        notes.append("no checksum (run.fpsolve.save writes one): what is changed and fits together is not seen")
    runs = {name: one for name, one in parts.items() if "levels" in one.attrs and "start" in one.dims}
    curves = {name: one for name, one in parts.items() if "distance" in one and "reference" in one.attrs}
    if not runs and not curves and not checks:
        raise _checks.error("RUN.nc", "a file with a run or a curve of distances", f"{path} without")
    for name, run in runs.items():
        missing = [variable for variable in VARIABLES if variable not in run]
        checks += [Check(f"{_of(name)}variables missing: {', '.join(missing) or 'none'}", len(missing), 0.0, 0.0)]
        if "density" in run:
            checks += [Check(_of(name) + one.name, one.value, one.reference, one.tolerance) for one in _run(run, notes)]
    for name, curve in curves.items():
        checks += _curve(_of(name), curve, list(runs.values()), notes)
    return tuple(checks), tuple(dict.fromkeys(notes))


def _of(name: str) -> str:
    return f"{name}: " if name else ""


def _run(run: xr.Dataset, notes: list[str]) -> list[Check]:
    density = run["density"].transpose("start", "t", ...)
    grids = [_runs.grid_at(run, k) for k in range(run.sizes["t"])]
    values = density.values
    mass = values.reshape(*values.shape[:2], -1).sum(axis=-1) * np.array([grid.volume for grid in grids])
    # that of the solver's own coordinate, which the cells of a scaled frame are in
    per_cell = np.array([grid.volume for grid in grids]) / _runs.grid(run).volume
    smallest = float((values.reshape(*values.shape[:2], -1).min(axis=-1) * per_cell).min())
    stored = _runs.number(run, "smallest_density")
    checks = [Check("smallest density as stored", smallest, stored, ROUNDING * abs(stored))]
    estimate = run["error_estimate"].values if "error_estimate" in run else np.full(mass.shape, np.nan)
    if "mass" in run:
        checks.append(Check.at_most("mass less the sum of the densities", _largest(run["mass"].values - mass), 1e-9))
    # what a run without noise loses in the plane is part of its estimate
    drift = np.abs(mass - mass[:, :1]) - np.where(np.isfinite(estimate), estimate, np.inf)
    checks.append(
        Check.at_most("change of the mass beyond its estimate", max(_largest(drift, signed=True), 0.0), DRIFT)
    )
    if "tail" in run and np.isfinite(estimate).any():
        lacking = np.where(np.isnan(estimate), -np.inf, 2.0 * run["tail"].values - estimate)
        checks.append(
            Check.at_most("twice the tail less the estimate", max(_largest(lacking, signed=True), 0.0), ROUNDING)
        )
    checks += _starts(run, values, grids[0], notes)
    # the dynamics of a run, where its attributes hold them as numbers
    from fpsolve.dynamics import Reverse
    from fpsolve.laws import Law
    from fpsolve.processes import Process

    attrs, dynamics = run.attrs, None
    if attrs.get("dynamics") == "Reverse" and attrs.get("score_model") == "exact":
        with Failure():  # what is not there, or no table
            target, process = (
                settings.build(json.loads(str(attrs[f"{name}_json"])), kind)
                for name, kind in (("target", Law), ("process", Process))
            )
            dynamics = Reverse(target, process, eta=float(attrs["eta"]))
    if dynamics is None:
        notes.append("the equation was not looked at: its dynamics are not in the file as numbers")
    elif run.sizes["t"] < WINDOW:
        notes.append(f"the equation was not looked at: fewer than {WINDOW} saved times")
    else:
        checks += _equation(dynamics, run, values, notes)
    return checks


def _largest(values: Any, *, signed: bool = False) -> float:
    return float(np.max(values if signed else np.abs(values)))


def _starts(run: xr.Dataset, values: Array, grid: Any, notes: list[str]) -> list[Check]:
    """The densities at the beginning against the laws that the file names."""
    from fpsolve.laws import Law

    if "reverse_time" in run.coords and float(run["reverse_time"][0]) > 0.0:
        return []
    tables = json.loads(str(run.attrs.get("starts_json") or "{}"))
    found = []
    for k, label in enumerate(str(label) for label in run["start"].values):
        if label not in tables:
            notes.append(f"start {label!r} was not looked at: its law is not in the file as numbers")
            continue
        law: Law = settings.build(tables[label], Law)
        # the run's extrapolation of exact averages is exact
        gap = float(np.abs(values[k, 0] - grid.cell_average(law)).sum() * grid.volume)
        estimate = float(run["error_estimate"].values[k, 0]) if "error_estimate" in run else 0.0
        allowed = ROUNDING + (estimate if np.isfinite(estimate) else 0.0)
        found.append(Check.at_most(f"start {label!r}: first density less its law", gap, allowed))
    return found


def _equation(dynamics: BaseDynamics, run: xr.Dataset, values: Array, notes: list[str]) -> list[Check]:
    """``d_r q + div(b q) - D Lap q`` by findiff, in L1 relative to its terms, at the worst of the times looked at."""
    looked = np.unique(np.linspace(0, run.sizes["t"] - 1, LOOKS).astype(int))
    worst, clear = -np.inf, 0
    for k in looked.tolist():
        first = min(max(k - WINDOW // 2, 0), run.sizes["t"] - WINDOW)
        window = run.isel(t=slice(first, first + WINDOW))
        for density in values[:, first : first + WINDOW]:
            residual, own = _residual(dynamics, window, density, k - first)
            if own <= UNCLEAR:
                clear += 1
                worst = max(worst, residual - 3.0 * own)
    if not clear:
        notes.append("the equation was not looked at: saved times too far apart for derivatives")
        return []
    return [Check.at_most("residual of the equation by findiff, relative", max(worst, 0.0), RESIDUAL)]


def _residual(dynamics: BaseDynamics, window: xr.Dataset, averages: Array, at: int) -> tuple[float, float]:
    """The residual at one time of a window, and what the derivative in time differs by between two orders."""
    from findiff import Diff

    times = window["t"].values
    grids = [_runs.grid_at(window, k) for k in range(len(times))]
    # towards t = 0 things change with log t
    backwards = dynamics.reversed_time
    if backwards and not times[-1] > 0.0:
        return 0.0, np.inf
    grid, steps, rate = (
        grids[at],
        Diff(0, -np.log(times) if backwards else times),
        1.0 / times[at] if backwards else 1.0,
    )
    # point values of what has these averages; of no use at jumps, where the residual is large on any grid
    points = averages - sum((Diff(k, 1.0) ** 2)(averages, acc=4) for k in range(1, grid.dim + 1)) / 24.0
    p = points[at]
    flux = dynamics.drift(float(times[at]), grid.x).reshape(*grid.shape, grid.dim) * p[..., None]
    spread = float(dynamics.diffusivity(times[at : at + 1])[0, 0])
    # cells that move: at fixed x less what they carry along
    centres = [np.stack([one.axes[k] for one in grids]) for k in range(grid.dim)]
    carried, out, noise = np.zeros(p.shape), np.zeros(p.shape), np.zeros(p.shape)
    for k, h in enumerate(grid.spacing):
        along = Diff(k, h)
        shape = [-1 if axis == k else 1 for axis in range(grid.dim)]
        carried += along(p, acc=4) * (rate * steps(centres[k], acc=4)[at]).reshape(shape)
        out += along(flux[..., k], acc=4)
        noise += spread * (along**2)(p, acc=4)
    change, rougher = (rate * steps(points, acc=acc)[at] - carried for acc in (6, 4))
    size = float(sum(np.abs(part).sum() for part in (change, out, noise)))
    if size == 0.0:
        return 0.0, 0.0
    return float(np.abs(change + out - noise).sum()) / size, float(np.abs(change - rougher).sum()) / size


def _curve(name: str, curve: xr.Dataset, runs: list[xr.Dataset], notes: list[str]) -> list[Check]:
    """Distances against those of a run in the same file, computed again."""
    from fpsolve import distances, weights

    reference, starts = str(curve.attrs["reference"]), {str(label) for label in curve["start"].values}
    for run in runs:
        known = {str(label) for label in run["start"].values}
        same = all(str(curve.attrs.get(part, own)) == str(own) for part, own in _runs.identity(run).items())
        if same and starts | {reference} <= known and np.array_equal(run["t"], curve["t"]):
            weight = weights.from_json(str(curve.attrs["weight"]))
            again = distances.forgetting_curve(run, reference=reference, weight=weight).sel(start=curve["start"])
            gap = np.abs(again["distance"] - curve["distance"]) / np.maximum(np.abs(again["distance"]), 1e-300)
            return [Check.at_most(f"{name}distances less those computed again, relative", _largest(gap), AGAIN)]
    notes.append(f"{name or 'its '}distances were not looked at: no run with their starts in the file")
    return []


__all__ = ["add_prove_command", "prove"]

#: Digits that are printed of a distance, and of the ends of its interval, rounded outwards.
DIGITS = 10
_MISSING = "an earlier fpsolve made it, or no file can hold it; fpsolve.proofs.verify takes the objects themselves"


def add_prove_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add ``prove`` to the commands of the command line and return its parser."""
    parser = subparsers.add_parser("prove", help="prove whether the error bars of a run's distances hold")
    parser.add_argument("file", type=Path, metavar="RUN.nc", help="a run, written with run.to_netcdf")
    parser.add_argument("--start", nargs="+", metavar="LABEL", help="starts to look at (default: all)")
    told = "start that the others are held against (default: 'exact', or the exact law where none is so called)"
    parser.add_argument("--reference", metavar="LABEL", help=told)
    parser.add_argument("--times", nargs="+", type=float, metavar="T", help="saved forward times (default: all)")
    parser.add_argument("--budget", type=float, default=600.0, metavar="S", help="seconds for each interval at most")
    parser.add_argument("--out", metavar="FILE.nc", help="write distances, intervals and verdicts there")
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error was raised")
    parser.set_defaults(run=run_prove)
    return parser


def run_prove(arguments: argparse.Namespace) -> int:
    """Prove and print; 0 if every error bar holds, 1 if one is proved wrong, else 2: something is undecided."""
    from fpsolve.evolution import load

    out = None if arguments.out is None else result_file(arguments.out, "choose another with --out FILE.nc")
    try:
        run = load(arguments.file)
    except OSError as reason:
        raise _checks.error("RUN.nc", "a netCDF file", f"{arguments.file}: {reason}") from None
    found = prove(run, arguments.start, arguments.reference, arguments.times, budget=arguments.budget)
    if out is not None:
        write_all(out.parent, {out.name: netcdf({"": found})}, "choose another with --out FILE.nc")
    # the table and what it is about
    columns = ("start", "t", "measured", "error bar", "proved, at least", "at most", "verdict")
    rows = []
    for label in found["start"].values:
        for k, t in enumerate(found["t"].values):
            one = found.sel(start=label).isel(t=k)
            ends = (outward(float(one[name]), up=name == "upper", digits=DIGITS) for name in ("lower", "upper"))
            told = number(float(one["distance"]), DIGITS), number(float(one["error"]), 2)
            rows.append((str(label), f"{float(t):.6g}", *told, *ends, str(one["verdict"].item())))
    about = f"Weighted total variation to {found.attrs['reference']!r}; error bars are estimates, intervals are proved."
    given = [textwrap.fill(f"Given: {text}.", 100) for text in str(found.attrs["hypotheses"]).split("; ")]
    print("\n".join([about, "", Table(columns, tuple(rows)).text(), "", *given]))
    verdicts = found["verdict"].values
    for line in _undecided(found):
        print(f"fpsolve: cannot be proved: {line}", file=sys.stderr)
    return 1 if np.any(verdicts == "does not hold") else 2 if np.any(verdicts == "undecided") else 0


def prove(
    run: xr.Dataset,
    start: list[str] | None = None,
    reference: str | None = None,
    times: list[float] | None = None,
    *,
    budget: float = 600.0,
) -> xr.Dataset:
    """Hold the distances of a run and their error bars against proofs; laws and process are read from its attributes.

    Parameters
    ----------
    run : Dataset
        What `fpsolve.evolve` returned, or `fpsolve.load`.
    start : list of str or None
        Labels to look at; None is all but the reference.
    reference : str or None
        Label of the start that the others are held against. None is the start "exact", or without one of that name the
        exact laws p_t (`fpsolve.distances.to_marginals`).
    times : list of float or None
        Saved forward times; None is all.
    budget : float, default 600
        Processor seconds for each interval.

    Returns
    -------
    Dataset
        As `fpsolve.proofs.verify`.

    Raises
    ------
    ValueError
        Without python-flint; a run that does not hold its laws; what `fpsolve.proofs.weighted_tv` refuses: a law that
        is no mixture of normal laws, 2D, a score model, eta other than 1; labels and times that the run has not.
    """
    from fpsolve import distances, weights
    from fpsolve.studies.proof import room

    proofs = room()
    reverse, labels = _reverse(run), [str(label) for label in run["start"].values]
    # the weight of the run's own error estimates
    text = str(run.attrs.get("weight"))
    if json.loads(text)["kind"] == "callable":
        raise _checks.error("run", "a run in a built-in weight", text, "proofs need integrals in closed form")
    weight = weights.from_json(text)
    if reference is None and "exact" not in labels:
        curve = distances.to_marginals(run, reverse, weight=weight).assign_attrs(reference="exact")
    else:
        curve = distances.forgetting_curve(run, reference=reference or "exact", weight=weight)
    own = [str(label) for label in curve["start"].values]
    chosen = own if start is None else [str(_checks.one_of("--start", label, own)) for label in start]
    curve = curve.sel(start=list(dict.fromkeys(chosen))).isel(t=_places(curve, times, reverse.process.T))
    needed = [*chosen, *({curve.attrs["reference"]} & set(labels))]
    found: xr.Dataset = proofs.verify(curve, reverse, {label: _start(run, label) for label in needed}, budget=budget)
    return found


def _reverse(run: xr.Dataset) -> Reverse:
    """The dynamics of a run with the exact score."""
    from fpsolve.dynamics import Reverse
    from fpsolve.laws import Law
    from fpsolve.processes import Process

    for name, wanted in (("dynamics", "Reverse"), ("score_model", "exact")):
        if (got := _runs.attribute(run, name)) != wanted:
            raise _checks.error("run", f"a run of {name} {wanted!r}", got, "only then is the kernel Bayes' rule")
    eta = run.attrs.get("eta")
    if not isinstance(eta, int | float | np.number) or float(eta) != 1.0:
        raise _checks.error("run", "a run with eta = 1", f"eta = {eta}", "only then is the kernel Bayes' rule")
    return Reverse(_held(run, "target", Law), _held(run, "process", Process))


def _held(run: xr.Dataset, name: str, kind: type) -> Any:
    """A part of the dynamics, of the JSON in the attributes."""
    text = run.attrs.get(f"{name}_json")
    if text is None:
        got = f"only the text {run.attrs.get(name, '')!s:.100}"
        raise _checks.error("run", f"its {name} as JSON (attribute '{name}_json')", got, _MISSING)
    return settings.build(json.loads(str(text)), kind)


def _start(run: xr.Dataset, label: str) -> Law:
    """A start of a run, of the JSON in its attributes."""
    from fpsolve.laws import Law

    tables = json.loads(str(run.attrs.get("starts_json") or "{}"))
    if label not in tables:
        got = str(json.loads(str(run.attrs.get("starts", "{}"))).get(label, "nothing"))
        raise _checks.error("run", f"the law of start {label!r} as JSON (attribute 'starts_json')", got[:100], _MISSING)
    law: Law = settings.build(tables[label], Law)
    return law


def _places(curve: xr.Dataset, times: list[float] | None, end: float) -> list[int]:
    """Where the saved times are that were asked for."""
    saved = [float(t) for t in curve["t"].values]
    if times is None:
        return list(range(len(saved)))
    found = [[k for k, t in enumerate(saved) if _times.same(t, asked, end)] for asked in times]
    for asked, places in zip(times, found, strict=True):
        if not places:
            listed = ", ".join(f"{t:.6g}" for t in saved[:20]) + (", ..." if len(saved) > 20 else "")
            raise _checks.error("--times", f"times that the run has saved ({listed})", f"{asked!r}")
    return [places[0] for places in found]


def _undecided(found: xr.Dataset) -> list[str]:
    """Why each verdict is open."""
    lines = []
    for i, k in zip(*np.nonzero(found["verdict"].values == "undecided"), strict=True):
        one = found.isel(start=int(i), t=int(k))
        known = np.isfinite(float(one["error"]))
        open_ends = str(one["reason"].item()) or "the error bar ends inside of the proved interval"
        why = open_ends if known else "the run has no finite error bar, so there is no claim"
        lines.append(f"start {one['start'].item()!r}, t = {float(one['t']):.6g}: {why}.")
    return lines

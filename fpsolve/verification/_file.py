"""A file of results, computed again: mass, equation, distances, starts, and the checksum it was written with.

What is stored is held against what follows from the stored densities by other means: sums, findiff, closed forms of
the starts. A file with a checksum shows every changed bit; one written by ``run.to_netcdf`` shows what contradicts
itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, _runs, settings
from fpsolve._failure import Failure
from fpsolve.studies.report import Check

if TYPE_CHECKING:
    import xarray as xr

    from fpsolve.dynamics import BaseDynamics

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
        told = " ".join(str(reason).split())[:200]
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
    dynamics = _dynamics(run)
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


def _dynamics(run: xr.Dataset) -> BaseDynamics | None:
    """The dynamics of a run, where its attributes hold them as numbers."""
    from fpsolve.dynamics import Reverse
    from fpsolve.laws import Law
    from fpsolve.processes import Process

    attrs, found = run.attrs, None
    if attrs.get("dynamics") == "Reverse" and attrs.get("score_model") == "exact":
        with Failure():  # what is not there, or no table
            target, process = (
                settings.build(json.loads(str(attrs[f"{name}_json"])), kind)
                for name, kind in (("target", Law), ("process", Process))
            )
            found = Reverse(target, process, eta=float(attrs["eta"]))
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

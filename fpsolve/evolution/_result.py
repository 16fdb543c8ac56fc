"""What a run returns: its Dataset, what ``run.fpsolve`` answers about it, and its file.

A solution has the parts of its error: level difference, mass beyond the box, rounding. The Dataset that users hold is
labelled and self-contained, and is saved and loaded without loss.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fpsolve import _checks, _runs, weights
from fpsolve._cells import edge_tail
from fpsolve._checks import error
from fpsolve._messages import labelled, page
from fpsolve.evolution._estimate import over_saves, richardson, weighted_gap, weighted_norm
from fpsolve.evolution._march import Record
from fpsolve.evolution._problem import Problem
from fpsolve.grid import Grid
from fpsolve.solver import scheme_named
from fpsolve.weights import Weight

Array = NDArray[np.float64]

#: What belongs beyond the box is missing there and, thrown back by its ends, too much inside: it counts twice.
MISPLACED = 2.0
#: Relative rounding of a cell's mass per cell between the origin and the edge: a face is rounded as its position is.
POSITIONS = 0.125
#: Rows of distances that are told.
_ROWS = 12


@dataclass(frozen=True, eq=False)
class Solution:
    """Densities on `grid`, what they are compared with on half the cells, and the levels that were run.

    Attributes
    ----------
    grid : Grid
    values : array, shape (starts, saves, nx[, ny])
        Cell averages per volume of the solver's coordinate.
    previous : array or None
        The previous extrapolation or level on half the cells per axis.
    factor : array, shape (starts, saves)
        Error of `values` per weighted difference to `previous`.
    levels : list of Record
        Coarsest first.
    noise : float or None
        Relative error of a cell average that no difference of levels shows; None: the round-off of the steps.
    smearing : float or None
        Numerical diffusion per diffusivity, see `fpsolve.evolution._methods`; None where it was not looked at.
    floor : array or None
        What the error is at least, whatever the difference to `previous`, shape (starts, saves); None: nothing.
    unresolved : bool array, shape (starts, saves), or None
        Where nothing shows that differences of levels tell errors: the estimate is infinite there.
    reason : str
        Why, in one sentence.
    figures : dict
        What the levels show, for the attributes.
    level_gap : array or None
        The weighted difference to `previous`, where it is known already.
    level_norm : array or None
        The weighted norm, likewise.
    """

    grid: Grid
    values: Array
    previous: Array | None
    factor: Array
    levels: list[Record]
    noise: float | None = None
    smearing: float | None = None
    floor: Array | None = None
    unresolved: NDArray[np.bool_] | None = None
    reason: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    level_gap: Array | None = None
    level_norm: Array | None = None

    def gap(self, problem: Problem) -> Array:
        """Weighted difference to `previous`, shape (starts, saves); NaN without one."""
        previous = self.previous
        if self.level_gap is not None:
            return self.level_gap
        if previous is None:
            return np.full(self.values.shape[:2], np.nan)
        half = self.grid.coarsen()
        v = problem.weight_values(half)
        return over_saves(lambda s: weighted_gap(self.grid, self.values[:, s], previous[:, s], v[s]), self.values)

    def tail(self, problem: Problem) -> Array:
        """V-weighted mass beyond the box, extrapolated from the edges; 0 where the box is the state space.

        The largest so far along the run: what the box once cut off or threw back is misplaced from then on, even when
        nothing is left at the edges later.
        """
        if not problem.dynamics.unbounded:
            return np.zeros(self.values.shape[:2])
        v = problem.weight_values(self.grid)
        now = over_saves(lambda s: edge_tail(self.values[:, s], self.grid.axes, v[s]), self.values)
        return np.asarray(np.maximum.accumulate(now, axis=1))

    def beyond(self, problem: Problem, tol: float) -> bool:
        """Whether what is beyond the box alone misses a tolerance, which finer cells do not change."""
        return bool(np.max(MISPLACED * self.tail(problem)) > tol)

    def rounding(self, problem: Problem) -> Array:
        """Noise in the weighted norm: where nothing else is known, round-off of that many steps, as a random walk, and
        of the positions between which the mass of a cell of a start lies.
        """
        norm = weighted_norm(problem, self.grid, self.values) if self.level_norm is None else self.level_norm
        noise = self.noise
        if noise is None:
            where = problem.position_grid(self.grid, float(problem.saves[0]))
            cells = max(np.max(np.abs(end)) / h for end, h in zip(where.bounds, where.spacing, strict=True))
            noise = float(np.finfo(float).eps * (4.0 + self.levels[-1].steps ** 0.5 + POSITIONS * cells))
        return np.asarray(noise * norm)

    def error(self, problem: Problem) -> Array:
        """Error estimate in the weighted norm, shape (starts, saves)."""
        return self.total(problem, self.gap(problem), self.tail(problem))

    def total(self, problem: Problem, gap: Array, tail: Array) -> Array:
        """The estimate from its parts; infinite where it is unresolved."""
        level = self.factor * gap if self.floor is None else np.maximum(self.factor * gap, self.floor)
        error = level + MISPLACED * tail + self.rounding(problem)
        return np.asarray(error if self.unresolved is None else np.where(self.unresolved, np.inf, error))


Coordinates = dict[str, tuple[Any, ...]]


def axis_names(dim: int, *, scaled: bool, suffix: str = "") -> tuple[str, ...]:
    """Names of the space dimensions: x, y on a fixed grid; z or z_x, z_y in the scaled frame."""
    plain = ("x", "y")[:dim]
    names = plain if not scaled else ("z",) if dim == 1 else tuple(f"z_{name}" for name in plain)
    return tuple(name + suffix for name in names)


def dataset(problem: Problem, solution: Solution, attrs: dict[str, str | float | int]) -> xr.Dataset:
    """Densities, errors, masses and tails of a solution as a Dataset.

    Variables: `density` (start, t, x[, y]), cell averages per unit of x; `density_previous` likewise on half the cells;
    `error_estimate`, `mass`, `tail` (start, t), the first and last in the V-weighted norm. Coordinate `reverse_time`.
    """
    scaled = problem.frame is not None
    per_x = 1.0 / np.array([problem.jacobian(float(t)) for t in problem.saves])
    names = axis_names(solution.grid.dim, scaled=scaled)
    axes = tuple(range(-solution.grid.dim, 0))
    gap, tail = solution.gap(problem), solution.tail(problem)
    error = solution.total(problem, gap, tail)
    variables: dict[str, Any] = {
        "density": (("start", "t", *names), _scale(solution.values, per_x)),
        "error_estimate": (("start", "t"), error),
        "mass": (("start", "t"), solution.values.sum(axis=axes) * solution.grid.volume),
        "tail": (("start", "t"), tail),
    }
    coordinates: Coordinates = {"t": (("t",), problem.saves), **_positions(problem, solution.grid, "")}
    if problem.dynamics.reversed_time:
        coordinates["reverse_time"] = (("t",), problem.saves[0] - problem.saves)
    if solution.previous is not None:
        coarse = axis_names(solution.grid.dim, scaled=scaled, suffix="_previous")
        variables["density_previous"] = (("start", "t", *coarse), _scale(solution.previous, per_x))
        coordinates |= _positions(problem, solution.grid.coarsen(), "_previous")
    if np.any(np.isinf(error)):
        # goes with the densities wherever they go, so that no distance between them has an error bar
        coordinates[_runs.UNRESOLVED] = (("start", "t"), np.isinf(error), {"reason": solution.reason})
    labels = {"start": list(problem.starts), **coordinates}
    attrs = attrs | _measured(problem, solution, gap) | resolution(solution, error)
    return labelled(xr.Dataset(variables, coords=labels, attrs=attrs))


def _scale(values: Array, per_x: Array) -> Array:
    if np.all(per_x == 1.0):
        return values
    return np.asarray(values * per_x.reshape((1, -1) + (1,) * (values.ndim - 2)))


def _positions(problem: Problem, grid: Grid, suffix: str) -> Coordinates:
    """Cell centres: x, y themselves, or z with x(t, z)."""
    names = axis_names(grid.dim, scaled=problem.frame is not None, suffix=suffix)
    coordinates: Coordinates = {name: ((name,), axis) for name, axis in zip(names, grid.axes, strict=True)}
    if problem.frame is not None:
        positions = [problem.frame.to_x(float(t), grid.axes) for t in problem.saves]
        for k, name in enumerate(names):
            coordinates[("x", "y")[k] + suffix] = (("t", name), np.stack([p[k] for p in positions]))
    return coordinates


def _measured(problem: Problem, solution: Solution, gap: Array) -> dict[str, str | float | int]:
    """Attributes read off the solution."""
    smearing: dict[str, str | float | int] = (
        {} if solution.smearing is None else {"numerical_diffusion": solution.smearing}
    )
    return smearing | {
        "weight": weights.to_json(problem.weight),
        "status": "estimated",
        "boundary": problem.dynamics.boundary,
        "unbounded": int(problem.dynamics.unbounded),
        "frame": "fixed" if problem.frame is None else "scaled",
        "bounds": json.dumps(solution.grid.bounds),
        "levels": json.dumps([{"cells": r.cells, "steps": r.steps, "updates": r.updates} for r in solution.levels]),
        "error_factor": _common_factor(solution, gap),
        "smallest_density": float(solution.values.min()),
    }


def resolution(solution: Solution, error: Array) -> dict[str, str | float | int]:
    """Whether every error is known, and if not why; "not asked" for runs without a companion."""
    if solution.previous is None:
        return {"resolved": "not asked", "resolved_reason": "estimate=False: nothing was compared"}
    resolved = "yes" if np.all(np.isfinite(error)) else "no"
    return {"resolved": resolved, "resolved_reason": solution.reason} | solution.figures


def _common_factor(solution: Solution, gap: Array) -> float:
    """One factor for the whole run: the largest among those (start, t) whose level difference matters."""
    if solution.previous is None:
        return float(np.max(solution.factor))
    matters = gap >= 1e-3 * gap.max()
    if solution.unresolved is not None and not np.all(solution.unresolved[matters]):
        matters &= np.logical_not(solution.unresolved)
    return float(np.max(solution.factor[matters]))


class RunAccessor:
    """Grid, weight and levels of a run, read from its Dataset (also after saving and loading).

    Parameters
    ----------
    run : xarray.Dataset
        As returned by `evolve`.
    """

    def __init__(self, run: xr.Dataset) -> None:
        self._run = run

    def __repr__(self) -> str:
        run, attrs = self._run, self._run.attrs
        if "density" not in run:
            return "\n".join(_rungs(run) if "bound" in run.dims else _distances(run))
        lines = [f"{attrs.get('dynamics', 'run')} of {attrs.get('target', attrs.get('law', 'its own drift'))}"]
        lines[0] += f", {attrs['process']}, eta = {attrs['eta']}" if "process" in attrs else ""
        if "error_estimate" in run and run["error_estimate"].size:
            worst = run["error_estimate"].values
            k, n = np.unravel_index(int(np.argmax(worst)), worst.shape)
            where = f"start {run['start'].values[k]!s:.40} at t = {float(run['t'][n]):.4g}"
            met = {"yes": f"tol = {attrs.get('tol')} is met", "no": f"tol = {attrs.get('tol')} is NOT met"}
            told = met.get(str(attrs.get("tol_met")), "no tolerance was asked for")
            lines.insert(0, f"worst estimate of int V |error|: {worst[k, n]:.2g} ({where}); {told}")
        if attrs.get("resolved") == "no":
            lines.insert(1, f"unresolved: {attrs.get('resolved_reason')}")
        if "density" in run:
            grid, t = self.grid, run["t"].values
            box = " x ".join(f"[{low:.4g}, {high:.4g}]" for low, high in grid.bounds)
            cells = " x ".join(str(n) for n in grid.shape)
            frame = "z, scaled" if attrs.get("frame") == "scaled" else "x"
            lines.append(f"box {box} ({frame}), {cells} cells, {t.size} times from {t[0]:.4g} to {t[-1]:.4g}")
        if "levels" in attrs:
            levels = []
            for level in self.levels:
                shape = np.atleast_1d(np.asarray(level.get("cells", [])))
                levels.append(f"{' x '.join(map(str, shape))} cells, {level.get('steps')} steps")
            lines.append("levels: " + "; ".join(levels[-3:]))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The answer first, and a small picture: the last densities on the line, or distances over time."""
        run = self._run
        if {"density", "start", "t"} <= set(run.variables) and self.grid.dim == 1:
            last = run.isel(t=-1)
            return page(repr(self), [(last["x"].values, one) for one in last["density"].transpose("start", ...).values])
        name = next((name for name in ("distance", "measured") if name in run and "t" in run[name].dims), None)
        if name is None:
            return page(repr(self))
        rows = list(run[name].transpose(..., "t").values.reshape(-1, run.sizes["t"]))
        rows += list(run[str(run["start"].values[0])].values) if "bound" in run.dims else []
        time = "reverse_time" if "reverse_time" in run.coords else "t"
        return page(repr(self), [(run[time].values, one) for one in rows], log=True)

    @property
    def grid(self) -> Grid:
        """The grid of the cells that `density` has, also of a run cut in space; in the scaled frame it is in z."""
        return _runs.grid(self._run)

    @property
    def weight(self) -> Weight:
        """The weight of the run's error estimates."""
        return weights.from_json(self._attribute("weight"))

    @property
    def levels(self) -> list[dict[str, object]]:
        """Cells, steps and cell updates of every level, coarsest first."""
        return list(json.loads(self._attribute("levels")))

    @property
    def extrapolated(self) -> xr.DataArray:
        """Richardson extrapolation of a fixed-grid run and its companion, cell averages on the companion's cells.

        Fourth order for the second-order schemes. A run with `tol` is extrapolated already and refuses, as does one
        along characteristics, which has no level error in the cell width.
        """
        solved_once = self._attribute("scheme") == "characteristics"
        if solved_once or self._run.attrs.get("tol_met") != "not asked" or "density_previous" not in self._run:
            raise error("run", "a run with grid, steps, noise and estimate=True", "another", "use its density as it is")
        run = _runs.tidy(self._run, member=_runs.member_of(self._run))
        fine, coarse = run.variables["density"].values, run["density_previous"]
        order = scheme_named(self._attribute("scheme")).order
        # pairs of cells are averaged wherever they lie
        cells = Grid(((0.0, 1.0),) * (fine.ndim - 2), fine.shape[2:])
        return coarse.copy(deep=False, data=richardson(cells.restrict(fine), coarse.values, order))

    def save(self, path: str | Path) -> None:
        """Write the run to a netCDF file that is complete or not there at all; `fpsolve.load` checks its sha256.

        ``run.to_netcdf(path)`` writes the same without a checksum, and a full disk ends inside of HDF5.

        Raises
        ------
        ValueError
            The file cannot be written, an OSError too; what was there before is untouched.
        """
        from fpsolve.settings import netcdf, result_file, write_all

        place = result_file(path, "choose another path")
        write_all(place.parent, {place.name: netcdf({"": self._run})}, "choose another path")

    def _attribute(self, name: str) -> str:
        return _runs.attribute(self._run, name)


def _distances(found: xr.Dataset) -> list[str]:
    """What a curve or a distance says: the last distance of every row with its error bar."""
    if "distance" not in found:
        total = "{total:.4g} +- {total_error:.2g} in all"
        return [total.format(**found.attrs)] * ("total_error" in found.attrs) + [
            f"{name}: {one.attrs.get('long_name', name)}" for name, one in found.data_vars.items()
        ]
    last = found.isel(t=slice(-1, None)) if "t" in found.dims else found
    lines = [f"{last['distance'].attrs.get('long_name', 'distance')}, {found.attrs.get('status', 'estimated')}"]
    distance = last["distance"]
    error = last["error"].transpose(*distance.dims) if "error" in last else np.nan * distance
    for place in list(np.ndindex(distance.shape))[:_ROWS]:
        one, bar = distance[place], float(error.values[place])
        where = [f"t = {one[name].item():.4g}" if name == "t" else str(one[name].item()) for name in distance.dims]
        told = f"{one.item():.4g} +- {bar:.2g}" if bar < np.inf else f"{one.item():.4g}, no error bar"
        lines.append(": ".join(filter(None, [", ".join(where), told])))
    if found.attrs.get("resolved") == "no":
        lines.insert(1, f"unresolved: {found.attrs.get('resolved_reason') or found.attrs.get('reason')}")
    lines += [f"note: {found.attrs['note']}"] if "note" in found.attrs else []
    # the answer first: one row is all there is to say
    return [f"{lines[1]} ({lines[0]})", *lines[2:]] if distance.size == 1 else lines


def _rungs(found: xr.Dataset) -> list[str]:
    """What a ladder says: at the last time the measured distance of every start, and each bound with its word."""
    last, lines = found.isel(t=-1), []
    for start in map(str, found["start"].values):
        measured, error = (float(last[name].sel(start=start)) for name in ("measured", "measured_error"))
        lines.append(f"{start} at t = {float(last['t']):.4g}: measured {measured:.4g} +- {error:.2g}")
        for bound, word, value in zip(found["bound"].values, found["status"].values, last[start].values, strict=True):
            told = "no certificate" if np.isnan(value) else f"{value:.4g} ({word}), {value / measured:.3g} times it"
            lines.append(f"  {bound}: {told}")
    return lines


def load(path: str | Path, **options: Any) -> xr.Dataset:
    """Return a run saved with ``run.fpsolve.save(path)`` or ``run.to_netcdf(path)``, read into memory, the file closed.

    Parameters
    ----------
    path : str or Path
        A netCDF file.
    **options
        Of ``xarray.load_dataset``, such as `group` or `engine` (default h5netcdf).

    Returns
    -------
    Dataset
        With all values and attributes as `evolve` returned them.

    Raises
    ------
    ValueError
        A path without a file, or a file without a density; one saved with a checksum whose content has another one.

    Examples
    --------
    >>> import tempfile, fpsolve as fp
    >>> run = fp.evolve(fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP()), fp.Gaussian(0.0, std=1.0), t_min=0.1, tol=1e-2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run.fpsolve.save(f"{folder}/run.nc")
    ...     again = fp.load(f"{folder}/run.nc")
    >>> again.identical(run), again.fpsolve.grid == run.fpsolve.grid
    (True, True)
    """
    from fpsolve.settings import read_netcdf

    if not Path(path).is_file():
        raise _checks.error("path", "a netCDF file", str(path), "write one with run.fpsolve.save(path)")
    run, whole = read_netcdf(path, **options)
    if not whole:
        raise _checks.error("path", "a file as it was written", f"{path}, whose content has another checksum")
    if "density" not in run:
        got = f"one of {', '.join(map(str, run)) or 'nothing'}"
        raise _checks.error("path", "the file of a run, with the variable density", got, "open others with xarray")
    return run

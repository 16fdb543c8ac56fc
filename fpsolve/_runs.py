"""Runs at the border: what a Dataset from `evolve` is by its data, whatever was done to it since.

A run may have been transposed, reversed, cut, thinned, concatenated, stored in float32 or stripped of its attributes
before it is handed back. Here its times are brought into the order of the run, its dimensions into the usual one, and
its attributes held against the data beside them; what is missing is named in one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve._checks import error
from fpsolve.grid import Grid

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

#: Space dimensions of runs, and the coordinate with the positions along each.
AXES = {"x": "x", "y": "y", "z": "x", "z_x": "x", "z_y": "y"}
#: Attributes that say which dynamics a result was made of.
IDENTITY = ("dynamics", "target", "process", "score_model", "eta", "law")
#: Coordinate of densities without an error estimate; its attribute `reason` says why.
UNRESOLVED = "unresolved"
# positions this close, in cells, are the same; float32 positions by their own rounding besides
_SAME = 1e-6


def member_of(run: xr.Dataset) -> str:
    """The dimension of the densities beside time and space: paths of an ensemble, else starts."""
    return "path" if "path" in getattr(run, "dims", ()) else "start"


def tidy(run: xr.Dataset, *, member: str = "start") -> xr.Dataset:
    """Return a run with dimensions (member, t, space) and its times in the order in which it ran, without repetitions.

    Raises
    ------
    ValueError
        What is no run; a run without times, starts or cells, without the coordinate that says which they are, or with
        one time twice and other densities; runs of different calls put together.
    """
    density = _density(run, member)
    for name in (member, "t"):
        if name not in run.coords or density.sizes[name] == 0:
            if name not in run.coords:
                expected = f"the coordinate {name!r} of a run from evolve"
                raise error("run", expected, "a run without it", "keep its coordinates")
            remedy = "t decreases along a run: slice(later, earlier), run.sel(t=slice(0.5, 0.1))" if name == "t" else ""
            raise error("run", f"at least one saved {'time' if name == 't' else name}", "none", remedy)
    times = _checks.finite_array("run: t", run.variables["t"].values)
    # a run without reverse time and without attributes runs as it is given
    down = forgetful(run) or ("dynamics" not in run.attrs and times[0] > times[-1])
    order = np.argsort(-times if down else times, kind="stable")
    again = np.flatnonzero(np.diff(times[order]) == 0.0) + 1
    for k in again:
        pair = density.isel(t=order[k - 1 : k + 1]).transpose("t", ...).values
        if not np.array_equal(pair[0], pair[1]):
            got = f"two different ones at t = {_checks.digits(times[order[k]])}"
            raise error("run", "one density at every time", got, "drop one of them")
    _require_one_run(run, member)
    if again.size:
        order = np.delete(order, again)
    if not np.array_equal(order, np.arange(len(times))):
        run = run.isel(t=order)
    run = _cut_alike(run)
    wanted = (member, "t", *(name for name in density.dims if name not in (member, "t")))
    ranks = [[wanted.index(d) if d in wanted else len(wanted) for d in v.dims] for v in run.variables.values()]
    # what is in order is not copied: that costs more than the look
    return run if all(rank == sorted(rank) for rank in ranks) else run.transpose(member, "t", ...)


def in_order_of(run: xr.Dataset, curve: xr.Dataset) -> xr.Dataset:
    """Return a curve made of a tidy run with the times of the run that was given."""
    given = run["t"].values
    if np.array_equal(given, curve["t"].values):
        return curve
    place = {t: k for k, t in enumerate(curve["t"].values.tolist())}
    return curve.isel(t=[place[t] for t in given.tolist()])


def attribute(run: xr.Dataset, name: str) -> str:
    """Return an attribute of a run as text.

    Raises
    ------
    ValueError
        It is not there.
    """
    if name not in run.attrs:
        remedy = "keep them: xarray.set_options(keep_attrs=True), or run.assign_attrs(original.attrs)"
        raise error("run", f"the attribute {name!r} of a run from evolve", "a run without it", remedy)
    return str(run.attrs[name])


def number(run: xr.Dataset, name: str) -> float:
    """Return an attribute of a run as a number."""
    return float(attribute(run, name))


def forgetful(run: xr.Dataset) -> bool:
    """Return whether t decreases along the run: it has a reverse time."""
    return "reverse_time" in run.coords


def require_made_of(run: xr.Dataset, **wanted: object) -> None:
    """Refuse a run whose attributes name another target, process or eta than the dynamics it is given with.

    What the attributes do not say is not held against anything.

    Raises
    ------
    ValueError
        One that differs.
    """
    for name, value in wanted.items():
        text, kept = repr(value), str(run.attrs.get(name, ""))
        # attributes are cut at 500 characters, and an address in memory says nothing
        alike = text.startswith(kept[:-3]) if kept.endswith("...") else text == kept
        if kept and " at 0x" not in text and not alike:
            remedy = "pass the dynamics that it was made of"
            raise error("run", f"one of the {name} of `reverse`, {text[:100]}", kept[:100], remedy)


def identity(made: xr.Dataset) -> dict[str, Any]:
    """Return what a Dataset says of the dynamics that it was made of, for the attributes of what is made of it."""
    return {name: made.attrs[name] for name in IDENTITY if name in made.attrs}


def require_same_dynamics(
    first: Mapping[Any, Any], second: Mapping[Any, Any], names: tuple[str, str], parts: Iterable[str] = IDENTITY
) -> None:
    """Refuse two results whose attributes name different dynamics; `names` are what they are called.

    What either does not say is not held against it.

    Raises
    ------
    ValueError
        The first part that differs.
    """
    for part in parts:
        ours, theirs = (str(made.get(part, "")) for made in (first, second))
        if ours and theirs and not _alike(ours, theirs):
            expected = f"a result of the same {part.replace('_', ' ')} as {names[1]}, {theirs[:100]}"
            raise error(names[0], expected, ours[:100], "make both of the same one")


def _alike(ours: str, theirs: str) -> bool:
    """Whether two texts name the same thing, as far as they go: long ones are cut."""
    cut = [text[:-3] for text in (ours, theirs) if text.endswith("...")]
    if cut:
        return all(text.startswith(min(cut, key=len)) for text in (ours, theirs))
    try:
        return float(ours) == float(theirs)
    except ValueError:
        return ours == theirs


def grid(run: xr.Dataset) -> Grid:
    """Return the grid of `density`, read from its positions; in the scaled frame it is in z.

    The attribute `bounds` is that of the box evolved in. Where the positions fill it, its ends are taken bit for bit;
    a run cut in space has the grid of its own cells.

    Raises
    ------
    ValueError
        Positions that are missing, not uniform and increasing, or not those of whole cells of the box.
    """
    density = _density(run, None)
    names = [name for name in AXES if name in density.dims]
    known = json.loads(str(run.attrs.get("bounds", "null"))) or [None] * len(names)
    if len(known) != len(names):
        raise error("run", f"bounds of {len(names)} dimensions as density has", f"{len(known)}", "do not mix runs")
    ends = [_ends(run, name, box, _width(run, k, box)) for k, (name, box) in enumerate(zip(names, known, strict=True))]
    return Grid(tuple(ends), tuple(density.sizes[name] for name in names))


def grid_at(data: Any, index: int) -> Grid:
    """Return the grid in x of a run or a cloud (anything with centres ``x[, y]``) at its saved time number `index`.

    In a fixed frame ``x`` is an index; in a scaled frame it is a coordinate ``x(t, z)``: uniform at every time.

    Raises
    ------
    ValueError
        Positions that are missing, or not uniform and increasing.
    """
    bounds, shape = [], []
    for name in (name for name in ("x", "y") if name in data.coords):
        raw = data.coords[name]
        centres = np.asarray(raw.isel(t=index) if "t" in raw.dims else raw, dtype=np.float64)
        h = float(centres[-1] - centres[0]) / (centres.size - 1) if centres.size > 1 else 0.0
        if not h > 0.0 or np.any(np.abs(np.diff(centres) - h) > position_slack(raw.values, h) * h):
            raise error("run", f"uniform increasing positions along {name}", "others", "sort it")
        bounds.append((float(centres[0] - 0.5 * h), float(centres[-1] + 0.5 * h)))
        shape.append(centres.size)
    if not shape:
        raise error("run", "cell centres in the coordinates x (and y)", "none", "pass what evolve returned")
    return Grid(tuple(bounds), tuple(shape))


def _density(run: xr.Dataset, member: str | None) -> xr.Variable:
    import xarray as xr

    if not isinstance(run, xr.Dataset) or "density" not in run:
        got = f"one of {', '.join(map(str, run)) or 'nothing'}" if isinstance(run, xr.Dataset) else type(run).__name__
        raise error("run", "a Dataset with the variable density, as fp.evolve returns", got)
    density = run.variables["density"]
    space = {name for name in AXES if name in density.dims}
    if (member is not None and not {member, "t"} <= set(density.dims)) or not space:
        wanted = f"({member or 'start'}, t, x[, y])"
        remedy = "select with lists, run.sel(start=['prior'], t=[0.1]), to keep a dimension"
        raise error("run", f"density over {wanted}", f"dimensions {density.dims}", remedy)
    return density


def _cut_alike(run: xr.Dataset) -> xr.Dataset:
    """Return the run with its previous level cut in space as the density was."""
    if "density_previous" not in run:
        return run
    names = [name for name in AXES if name in run.variables["density"].dims]
    if all(_in_pairs(run, name) for name in names):
        return run
    own = grid(run)
    for name, (low, high), h in zip(names, own.bounds, own.spacing, strict=True):
        if f"{name}_previous" not in run.coords:
            wanted = f"the coordinate '{name}_previous' of a run from evolve"
            raise error("run", wanted, "a run without it", "keep its names and coordinates, or drop density_previous")
        coarse = run.variables[f"{name}_previous"].values
        if coarse.size < 2:
            continue
        width = float(coarse[-1] - coarse[0]) / (coarse.size - 1)
        inside = (coarse - 0.5 * width > low - 0.01 * h) & (coarse + 0.5 * width < high + 0.01 * h)
        if abs(np.count_nonzero(inside) * width - (high - low)) > 0.01 * h:
            got = f"a box from {low:.6g} to {high:.6g} that splits cells of {width:.6g}"
            remedy = "cut at an even number of cells, or drop density_previous: the error is then unknown"
            raise error("run", f"density_previous on a divisor of the cells of density along {name}", got, remedy)
        if not inside.all():
            run = run.isel({f"{name}_previous": np.flatnonzero(inside)})
    return run


def _in_pairs(run: xr.Dataset, name: str) -> bool:
    """Whether the cells of the previous level are pairs of those of the density, all along an axis."""
    if not {name, f"{name}_previous"} <= run.variables.keys():
        return False
    fine, coarse = run.variables[name].values, run.variables[f"{name}_previous"].values
    if coarse.size < 2 or fine.size != 2 * coarse.size:
        return False
    return bool(np.all(np.abs(0.5 * (fine[::2] + fine[1::2]) - coarse) <= _SAME * abs(fine[1] - fine[0])))


def _require_one_run(run: xr.Dataset, member: str) -> None:
    """Refuse starts of several runs in one Dataset: one `error_factor`, one box and one weight do not hold for all."""
    known = json.loads(str(run.attrs.get("starts", "{}"))) if member == "start" else {}
    labels = run.variables[member].values.tolist()
    if len(set(labels)) < len(labels):
        raise error("run", f"different labels of its {member}s", f"{labels}", "rename one of them")
    if known and len(labels) > len(known):
        got = f"{len(labels)} starts with the attributes of one that had {len(known)}"
        raise error("run", "one run", got, "evolve the starts together: errors of two runs do not share a factor")


def _width(run: xr.Dataset, axis: int, box: list[float] | None) -> float | None:
    """Width of the cells evolved on, None where the attributes do not say."""
    levels = json.loads(str(run.attrs.get("levels", "[]")))
    return None if box is None or not levels else (box[1] - box[0]) / max(int(level["cells"][axis]) for level in levels)


def _ends(run: xr.Dataset, name: str, box: list[float] | None, width: float | None) -> tuple[float, float]:
    """Ends of the cells along one axis."""
    if name not in run.coords:
        raise error("run", f"positions in the coordinate {name!r}", "a run without it", "keep its coordinates")
    raw = run.variables[name].values
    centres = _checks.finite_array(f"run: {name}", raw)
    if centres.size < 2 and width is None:
        raise error("run", f"at least 2 cells along {name}", f"{centres.size}", "cut less")
    h = width if centres.size < 2 and width else float(centres[-1] - centres[0]) / (centres.size - 1)
    slack = position_slack(raw, h) * h
    if not h > 0.0 or np.any(np.abs(np.diff(centres) - h) > slack):
        raise error("run", f"uniform increasing positions along {name}", "others", "sort it, or evolve on that grid")
    low, high = float(centres[0] - 0.5 * h), float(centres[-1] + 0.5 * h)
    if box is None:
        return low, high
    if abs(low - box[0]) <= slack and abs(high - box[1]) <= slack:
        return float(box[0]), float(box[1])
    unit = h if width is None else width
    at = [(end - box[0]) / unit for end in (low, high)]
    whole = all(abs(place - round(place)) * unit <= slack * max(1.0, h / unit) for place in at)
    if not whole or low < box[0] - slack or high > box[1] + slack:
        got = f"cells of width {h:.6g} from {low:.6g} to {high:.6g}"
        remedy = "cut it with isel(x=slice(a, b)), or average cells with coarsen(x=n).mean()"
        raise error("run", f"whole cells of the box [{box[0]:.6g}, {box[1]:.6g}] along {name}", got, remedy)
    # faces in the form that grids give them, bit for bit
    n, first, last = round((box[1] - box[0]) / unit), round(at[0]), round(at[1])
    return ((n - first) * box[0] + first * box[1]) / n, ((n - last) * box[0] + last * box[1]) / n


def position_slack(raw: NDArray[np.floating], h: float) -> float:
    """Return by how much uniform positions may miss being so, in cells: more where they were stored in float32."""
    rounding = float(np.finfo(raw.dtype).eps) if np.issubdtype(raw.dtype, np.floating) else 0.0
    return max(_SAME, 4.0 * rounding * float(np.max(np.abs(raw), initial=0.0)) / h) if h > 0.0 else _SAME

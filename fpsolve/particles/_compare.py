"""Particles against a grid density, tested at a stated false-alarm rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fpsolve import _checks, _runs, _times, weights
from fpsolve._messages import described
from fpsolve.grid import Grid
from fpsolve.particles import _agreement, _cloud

if TYPE_CHECKING:
    import xarray as xr

    from fpsolve.weights import WeightLike

Array = npt.NDArray[np.float64]

_BLOCK = 2**18  # particles counted at a time


def compare(
    run: xr.Dataset,
    cloud: xr.Dataset,
    *,
    start: str,
    at: npt.ArrayLike | None = None,
    reference: str | None = None,
    weight: WeightLike = None,
    false_alarm: float = 1e-3,
    min_expected: float | None = None,
) -> xr.Dataset:
    r"""Test whether particles and a grid density are the same law, at every common saved time.

    Three families of tests share the false-alarm rate in equal parts (Bonferroni over families, times and
    test functions): Pearson's chi-square on merged cells; in 1D the Dvoretzky-Kiefer-Wolfowitz band around
    the empirical CDF, looked at on the cells' faces; z-scores of fixed test functions ``|f| <= 1 <= V``.
    The grid's own error is allowed for in each: the non-centrality of the chi-square, a wider band, and a
    smaller numerator of z.

    Parameters
    ----------
    run : Dataset
        What `evolve` returned: cell averages ``density(start, t, x[, y])`` in a fixed or scaled frame.
    cloud : Dataset
        What `simulate` or `from_positions` returned. Positions are counted on the run's cells; without
        positions the cloud's counts are used, on the cells they were counted on.
    start : str
        Label of the run's start the particles belong to.
    at : array, optional
        Forward times to compare at; default all times saved in both (equal up to rounding).
    reference : str, optional
        Label of another start: also report the histogram's distance to that law, which is what particles
        alone would say about forgetting.
    weight : Weight, callable or None
        V for the distances; default the run's own weight.
    false_alarm : float
        Probability that a true match is called "disagree", over all times and tests; default 1e-3.
    min_expected : float, optional
        Merge cells to at least this expected count; default ``max(5, n^0.6 / 2)``, see Notes.

    Returns
    -------
    xarray.Dataset
        Over ``t``: ``chi2``, ``chi2_dof``, ``chi2_critical``; in 1D ``dkw`` (max ``|F_n - F|``) and
        ``dkw_band``; ``z(t, function)`` and ``z_band`` (allowance included); ``p_value(t, test)`` (z:
        smallest of the functions) and ``level(t, test)`` it is held against; ``outside`` and
        ``outside_expected`` (fractions beyond the box); ``histogram_distance`` = ``sum V_i |phat_i - p_i|``
        over the cells, its expected value for a perfect match ``floor`` = ``sum V_i sqrt(2 p_i (1-p_i)/(pi
        n))`` (``floor_exact`` with binomial cells) and standard deviation ``floor_spread``; ``grid_error``
        (density error plus tail, weighted norm); with a reference ``reference_distance``,
        ``reference_expected``, ``reference_spread``; ``verdict`` "agree", "disagree" or "not tested".
        Attributes: ``verdict`` over all times, ``not_tested`` (families at times that could not be tested: their
        p-value is NaN), false_alarm, tests, n, start, weight, and the cloud's attributes.

    Raises
    ------
    ValueError
        A cloud of another target, process or eta than the run, no common time (or only the initial one), an unknown
        label, 1D mixed with 2D, a cloud with neither positions nor counts, ``false_alarm`` outside (0, 1).

    Notes
    -----
    Cells are merged further than to 5 expected counts because the tail of the statistic matters at small
    levels: at 5 each, its variance exceeds that of chi-square by a tenth. In 2D cells are merged along Morton's
    curve. The supremum of the band is taken over faces only, where the grid's CDF is exact: conservative.
    Where ``grid_error`` exceeds the particles' noise the tests are blunt: "agree" then says little. Where it is 2 or
    more (or infinite, or NaN) it allows for any two laws, and nothing is tested; nor is chi-square where one cell holds
    all.

    References
    ----------
    Pearson (1900), doi:10.1080/14786440009463897. Massart (1990), doi:10.1214/aop/1176990746. Mann and Wald
    (1942), doi:10.1214/aoms/1177731569.
    """
    _checks.interval("false_alarm", false_alarm, 0.0, 1.0, ends="()")
    if min_expected is not None:
        _checks.non_negative("min_expected", min_expected)
    run = _runs.tidy(run)
    if "t" not in getattr(cloud, "coords", ()):
        raise _checks.error("cloud", "a cloud of particles", f"a {type(cloud).__name__}", "see particles.simulate")
    labels = [start] if reference is None else [start, reference]
    for label in labels:
        _checks.one_of("start", label, [str(s) for s in run["start"].values])
    if min_expected is not None:
        _checks.positive("min_expected", min_expected, "cells that expect nothing have no chi-square")
    # score and start may differ: what another model's particles make of the densities is a question
    _runs.require_same_dynamics(cloud.attrs, run.attrs, ("cloud", "run"), ("dynamics", "target", "process", "eta"))
    pairs = _common(run, cloud, at)
    if weight is None:
        named = run.attrs.get("weight")
        weight = weights.DEFAULT if named is None else weights.from_json(str(named))
    share, rows = false_alarm / len(pairs), []
    for i_run, i_cloud in pairs:
        density = grid_side(run, start, i_run)
        sample = particle_side(cloud, density, i_cloud)
        row = _agreement.tests(density, sample, share, min_expected) | _agreement.distances(density, sample, weight)
        if reference is not None:
            row |= _agreement.to_reference(density, sample, grid_side(run, reference, i_run), weight)
        rows.append(row)
    attrs = {
        "start": start,
        "reference": reference or "",
        "weight": weights.to_json(weight),
        "status": "Monte Carlo",
        "false_alarm": false_alarm,
        **_runs.identity(run),
    }
    return _collect(run, cloud, pairs, rows, attrs)


def _common(run: Any, cloud: Any, at: npt.ArrayLike | None) -> list[tuple[int, int]]:
    """Indices (run, cloud) of the times saved in both, or of the wanted ones among them."""
    ours, theirs = (np.asarray(data["t"].values, dtype=np.float64) for data in (run, cloud))
    remedy = "simulate with save_at=run.t, or evolve with save_at=cloud.t"
    T = float(max(np.max(ours, initial=0.0), np.max(theirs, initial=0.0)))
    pairs = [(i, j) for i, j in enumerate(_times.places(ours, theirs, T).tolist()) if j >= 0]
    if at is None:
        later = [i for i, _ in pairs if "reverse_time" not in run.coords or float(run["reverse_time"][i]) > 0]
        if not later:
            shared = "only the initial time" if pairs else "none"
            got = f"{shared} among {ours.size} of run and {theirs.size} of cloud"
            raise _checks.error("cloud", "saved times in common with the run", got, remedy)
        return pairs
    wanted = np.atleast_1d(_checks.finite_array("at", at))
    if wanted.ndim != 1 or wanted.size == 0:
        raise _checks.error("at", "one time or a list of them", f"shape {wanted.shape}")
    found = _times.places(wanted, ours[[i for i, _ in pairs]], T)
    if wanted.size == 0 or np.any(found < 0):
        missing = ", ".join(map(_checks.digits, wanted[found < 0])) if wanted.size else "none"
        raise _checks.error("at", "times saved in run and cloud", missing, remedy)
    return [pairs[k] for k in np.unique(found)]


def _collect(
    run: Any, cloud: Any, pairs: list[tuple[int, int]], rows: list[dict[str, Any]], attrs: dict[str, Any]
) -> xr.Dataset:
    """Stack the rows of all times into a Dataset and pass the overall verdict."""
    import xarray as xr

    dims = {"z": ("t", "function"), "p_value": ("t", "test"), "level": ("t", "test")}
    data = {name: (dims.get(name, "t"), np.array([row[name] for row in rows])) for name in rows[0]}
    index = [i for i, _ in pairs]
    dim = 1 if "dkw" in rows[0] else 2
    coords = {
        "t": run["t"].values[index],
        "function": list(_cloud.function_names(dim)),
        "test": list(_agreement.families(dim)),
    }
    if "reverse_time" in run.coords:
        coords["reverse_time"] = ("t", run["reverse_time"].values[index])
    p_values, levels = (np.asarray(data[name][1]).ravel().tolist() for name in ("p_value", "level"))
    inherited = {f"cloud_{key}": value for key, value in cloud.attrs.items() if key != "n"}
    each = len(rows[0]["z"]) + len(_agreement.families(dim)) - 1
    verdict = {"verdict": _agreement.verdict(p_values, levels), "tests": len(rows) * each}
    verdict["not_tested"] = int(np.sum(np.isnan(p_values)))
    made = xr.Dataset(data, coords=coords, attrs=verdict | attrs | {"n": rows[0]["particles"]} | inherited)
    return described(made, z="difference of means over its standard deviation")


@dataclass(frozen=True, eq=False)
class GridSide:
    """A run's density at one start and time.

    Attributes
    ----------
    cells : Grid
    probability, slack : array, the cells' shape
        Cell probabilities, and the signed estimate of their error (0 where the run has none).
    outside : array (2,) below and above in 1D, (1,) in 2D
        Probability beyond the box: what is missing from 1, in 1D split in half.
    tail, error : float
        Estimated V-weighted mass beyond the box; error of the density in the weighted norm.
    """

    cells: Grid
    probability: Array
    slack: Array
    outside: Array
    tail: float
    error: float

    def on(self, cells: Grid) -> GridSide:
        """The same density on other cells; what falls outside of those counts as outside."""
        if cells is self.cells:
            return self
        probability, slack = (_cloud.on_cells(p, self.cells, cells) for p in (self.probability, self.slack))
        total = float(self.outside.sum() + self.probability.sum())
        if cells.dim == 2:
            outside = np.array([total - probability.sum()])
        else:
            left, face = self.cells.bounds[0][0], cells.bounds[0][0]
            below = float(self.outside[0])
            if face > left:
                # One cell from the run's left end to the new box's: what lies below it.
                below += float(_cloud.on_cells(self.probability, self.cells, Grid(((left, face),), (1,)))[0])
            outside = np.array([below, total - below - float(probability.sum())])
        return GridSide(cells, probability, slack, outside, self.tail, self.error)


@dataclass(frozen=True, eq=False)
class ParticleSide:
    """Particles at one time: counts per cell and outside (as in GridSide), means of the test functions."""

    n: int
    cells: Grid
    counts: npt.NDArray[np.int64]
    outside: npt.NDArray[np.int64]
    centre: Array
    width: Array
    function_mean: Array


def grid_side(run: Any, start: str, index: int) -> GridSide:
    """Read a run's density at one start and saved time number ``index``."""
    cells = _runs.grid_at(run, index)
    at = run.sel(start=start).isel(t=index)
    density = _checks.finite_array("run density", at["density"].values, shape=cells.shape)
    probability = density * cells.volume
    slack = np.zeros(cells.shape)
    if "density_previous" in run:
        change = cells.restrict(density) - np.asarray(at["density_previous"].values, dtype=np.float64)
        for axis in range(cells.dim):
            # every coarse value on all of its fine cells
            change = np.repeat(change, 2, axis=axis)
        slack = _runs.number(run, "error_factor") * cells.volume * change
    missing = max(0.0, 1.0 - float(probability.sum()))
    outside = np.full(2, 0.5 * missing) if cells.dim == 1 else np.array([missing])
    return GridSide(cells, probability, slack, outside, _number(at, "tail"), _number(at, "error_estimate"))


def _number(at: Any, name: str) -> float:
    """A scalar of the run; 0 where it is absent or NaN (a run without companion estimates nothing)."""
    value = float(at[name]) if name in at else 0.0
    # an infinite estimate is one: the density is not resolved, and says nothing
    return 0.0 if np.isnan(value) else value


def particle_side(cloud: Any, other: GridSide, index: int) -> ParticleSide:
    """Read a cloud at saved time number ``index``: its positions counted on the run's cells, else its counts.

    With positions the test functions sit where the *grid* density does, so their choice does not see the
    sample.
    """
    at, dim = cloud.isel(t=index), other.cells.dim
    if "position" in cloud:
        # positions (n,) or (n, 2) on the run's cells, in blocks so that memory does not follow n
        x = np.asarray(at["position"].values, dtype=np.float64)
        dim = other.cells.dim
        _checks.same_dim("cloud", x.ndim, "run", dim)
        centre, width = _cloud.frame_of_density(other.probability, other.cells)
        counts, outside = (
            np.zeros(other.cells.shape, dtype=np.int64),
            np.zeros(2 if dim == 1 else 1, dtype=np.int64),
        )
        sums = np.zeros(len(_cloud.function_names(dim)))
        for i in range(0, len(x), _BLOCK):
            inside, beyond = _cloud.count(other.cells, x[i : i + _BLOCK])
            counts += inside
            outside += beyond
            sums += _cloud.function_values(x[i : i + _BLOCK], centre, width, dim).sum(axis=1)
        return ParticleSide(len(x), other.cells, counts, outside, centre, width, sums / len(x))
    if "count" not in cloud:
        raise _checks.error("cloud", "positions or counts", str(list(cloud)), "make it with particles.simulate")
    cells = _runs.grid_at(cloud, index)
    _checks.same_dim("cloud", cells.dim, "run", dim)
    counts, outside, centre, width, means = (
        np.asarray(at[name].values) for name in ("count", "outside", "centre", "width", "function_mean")
    )
    return ParticleSide(int(cloud.attrs["n"]), cells, counts, np.atleast_1d(outside), centre, width, means)

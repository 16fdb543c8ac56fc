"""What a ladder stands on: block boundaries, grids and kernels, and the distance measured with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _times, distances, kernels, weights
from fpsolve.bounds._blocks import block_times
from fpsolve.dynamics import Frame, Reverse
from fpsolve.grid import Grid
from fpsolve.kernels import Kernel
from fpsolve.laws import Law
from fpsolve.weights import WeightLike

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

#: Names of a ladder's own variables and coordinates.
RESERVED = {"bound", "t", "reverse_time", "start", "block", "t_from", "t_to", "measured", "measured_error", "factor"}
RESERVED |= {"beta", "harris"}
#: Mass of p_T and of a start that the box may miss.
_CUT = 1e-6


@dataclass(frozen=True, eq=False)
class Stages:
    """Boundaries of the blocks, grids at them, and kernels.

    Attributes
    ----------
    reverse : Reverse
    times : array, shape (n + 1,)
    grids : tuple of Grid, n + 1 of them
    blocks, whole : tuple of Kernel, n of them
        Between neighbouring boundaries, and from the first to each; from points.
    carriers : tuple of Kernel, n of them
        Between neighbouring boundaries, from cells: what carries densities to fourth order.
    """

    reverse: Reverse
    times: Array
    grids: tuple[Grid, ...]
    blocks: tuple[Kernel, ...]
    whole: tuple[Kernel, ...]
    carriers: tuple[Kernel, ...]

    def measured(self, start: Law, weight: WeightLike) -> tuple[Array, Array]:
        """Weighted distances of the start's run to that of p_T at the boundaries, and their errors."""
        grid, first = self.grids[0], self.reverse.marginal(float(self.times[0]))
        _require_held(grid, start, "start", "a start", "widen it, or move the start")
        runs = [grid.cell_average(start) - grid.cell_average(first)]
        for kernel in self.carriers:
            runs.append(kernel.push(runs[-1]))
        # the same difference carried from points only: of second order, so a generous measure of the error
        others = [runs[0], *(kernel.push(runs[0]) for kernel in self.whole)]
        sizes, errors = np.empty(len(runs)), np.empty(len(runs))
        for n, (difference, other, g) in enumerate(zip(runs, others, self.grids, strict=True)):
            found = distances.weighted_norm(_labelled(difference, g), weight)
            sizes[n] = float(found["distance"])
            gap = float(np.sum(weights.evaluate(weight, g) * np.abs(difference - other)) * g.volume)
            errors[n] = float(found["error"]) + gap
        return sizes, errors


def _labelled(values: Array, grid: Grid) -> xr.DataArray:
    import xarray as xr

    names = ("x", "y")[: grid.dim]
    return xr.DataArray(values, dims=names, coords=dict(zip(names, grid.axes, strict=True)))


def stages(
    reverse: Reverse, grid: Grid, blocks: int | ArrayLike, t_min: float | None, frame: Literal["fixed", "scaled"]
) -> Stages:
    """Check the request of a ladder and make its kernels."""
    _checks.one_of("frame", frame, ("fixed", "scaled"))
    _checks.same_dim("grid", grid.dim, "reverse", reverse.dim)
    times = _boundaries(reverse, blocks, t_min)
    grids = tuple(_grid_at(reverse, grid, t, frame) for t in times)
    remedy = "widen it; for a grid in z, as runs of VE and EDM have, say frame='scaled'"
    _require_held(grids[0], reverse.marginal(float(times[0])), "grid", "p_T", remedy)
    if reverse.exact and reverse.eta == 1.0:
        return _by_bayes(reverse, times, grids)
    if frame == "scaled":
        raise _checks.error("frame", "'fixed' for a score model or eta other than 1", "'scaled'")
    made = tuple(kernels.finite_volume(reverse, grid, *ends) for ends in pairwise(times.tolist()))
    whole = [made[0]]
    for kernel in made[1:]:
        whole.append(whole[-1] @ kernel)
    return Stages(reverse, times, grids, made, tuple(whole), made)


def _require_held(grid: Grid, law: Law, name: str, what: str, remedy: str) -> None:
    """Refuse a box that does not hold a law: its distances and kernels would be those of another one."""
    kept = float(grid.cell_average(law).sum() * grid.volume)
    if abs(kept - 1.0) > _CUT:
        raise _checks.error(name, f"a box that holds {what} up to {_CUT:g}", f"a mass of {kept:.7g} in it", remedy)


def _by_bayes(reverse: Reverse, times: Array, grids: tuple[Grid, ...]) -> Stages:
    def exact(n: int, m: int, source: Literal["point", "cell"]) -> Kernel:
        return kernels.exact(reverse, grids[n], times[n], times[m], source=source, to_grid=grids[m])

    last = range(1, len(times))
    neighbours = tuple(exact(m - 1, m, "point") for m in last)
    whole = (neighbours[0], *(exact(0, m, "point") for m in last[1:]))
    return Stages(reverse, times, grids, neighbours, whole, tuple(exact(m - 1, m, "cell") for m in last))


def _boundaries(reverse: Reverse, blocks: int | ArrayLike, t_min: float | None) -> Array:
    T = reverse.horizon
    if isinstance(blocks, int | np.integer):
        last = 1e-2 * T if t_min is None else _times.one("t_min", t_min, 0.0, T, ends="[)")
        return block_times(reverse, T, last, _checks.integer("blocks", blocks))
    return _times.decreasing("blocks", blocks, T, wanted="a number, or at least two decreasing")


def _grid_at(reverse: Reverse, grid: Grid, t: float, frame: str) -> Grid:
    if frame == "fixed":
        return grid
    ends = Frame(reverse).to_x(float(t), tuple(np.asarray(b) for b in grid.bounds))
    return Grid(tuple((float(e[0]), float(e[1])) for e in ends), grid.shape)


def named_starts(reverse: Reverse, start: Law | Mapping[str, Law] | None) -> dict[str, Law]:
    """Starts by label; the prior where none is given."""
    if start is None:
        return {"prior": reverse.process.prior(reverse.dim)}
    given = {"given": start} if isinstance(start, Law) else start
    if not isinstance(given, Mapping) or not all(isinstance(law, Law) for law in given.values()):
        raise _checks.error("start", "a law, or laws by their labels", repr(start)[:60])
    given = dict(given)
    for label, law in given.items():
        _checks.same_dim(f"start {label!r}", law.dim, "reverse", reverse.dim)
    taken = sorted(RESERVED & set(given))
    if not given or taken:
        got = f"the reserved {taken[0]!r}" if taken else "no start"
        raise _checks.error("start", "laws by labels that a ladder does not use itself", got, "choose another label")
    return given

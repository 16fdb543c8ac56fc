"""Cell averages of the oracle's densities, for comparison with finite volumes."""

from typing import Any, Protocol

import numpy as np

from fpsolve._checks import FloatArray, error, integer, positive, same_dim
from fpsolve.closed_form._fields import Field
from fpsolve.closed_form._solve import ReverseLike, Transport, check, require_law, solve
from fpsolve.laws import Law, PointMass

_NODES_AT_ONCE = 2**22  # 34 MB per array


class GridLike(Protocol):
    """What is read of a grid."""

    @property
    def dim(self) -> int: ...
    @property
    def face_axes(self) -> tuple[FloatArray, ...]: ...


def cell_averages(
    reverse: ReverseLike, start: Law, t: float, grid: GridLike, *, order: int = 6, rtol: float = 1e-12
) -> FloatArray:
    """Return the averages of the density at t over the cells of a grid.

    Gauss-Legendre quadrature of the point values of `density` in every cell; exact differences of the CDF at
    t = T and for the probability flow in 1D, where the start has exact cell probabilities.

    Parameters
    ----------
    reverse : Reverse
        Dynamics with the exact score.
    start : Law
        Start at T.
    t : float
        Forward time in (0, T].
    grid : Grid
        Anything with `dim` and `face_axes` (increasing faces per axis).
    order : int, keyword only
        Gauss nodes per cell and axis, default 6: 1e-12 where a cell is at most as wide as the narrowest
        standard deviation; 4 where it is at most a quarter of it.
    rtol : float, keyword only
        Relative accuracy of the point values.

    Returns
    -------
    ndarray of shape (nx,) or (nx, ny)
        Cell averages (densities per unit length or area, not masses).

    Raises
    ------
    ValueError
        Where no closed form is available, see `density`.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=0.5), fp.OrnsteinUhlenbeck(T=1.0))
    >>> grid = fp.Grid.uniform((-6, 6), cells=48)
    >>> q = cell_averages(reverse, fp.Gaussian(1.0, std=1.0), 0.1, grid)
    >>> round(float(q.sum() * grid.volume), 12)
    1.0
    """
    require_law("start", start)
    if not hasattr(grid, "face_axes"):
        raise error("grid", "a Grid, or any object with face_axes", type(grid).__name__, "make one by Grid.uniform")
    t = check(reverse, start, t)
    same_dim("grid", grid.dim, "the start", start.dim)
    field = solve(reverse, start, t, positive("rtol", rtol))
    faces = tuple(np.asarray(axis, dtype=np.float64) for axis in grid.face_axes)
    masses = _exact_masses(field, start, faces, at_start=t == reverse.process.T)
    if masses is not None:
        widths = [np.diff(axis) for axis in faces]
        return masses / (widths[0] if len(widths) == 1 else np.outer(*widths))
    return _quadrature(field, faces, integer("order", order))


def _exact_masses(field: Field, start: Law, faces: tuple[FloatArray, ...], *, at_start: bool) -> FloatArray | None:
    if isinstance(start, PointMass):
        return None
    if at_start:
        return start.cell_probabilities(*faces)
    if isinstance(field, Transport):
        return start.cell_probabilities(field.origin(faces[0]))
    return None


def _quadrature(field: Field, faces: tuple[FloatArray, ...], order: int) -> FloatArray:
    """Return Gauss-Legendre cell averages, some rows of cells at a time."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    axes = [0.5 * (f[:-1] + f[1:])[:, None] + 0.5 * np.diff(f)[:, None] * nodes for f in faces]
    rest = [axis.ravel() for axis in axes[1:]]
    rows = max(1, _NODES_AT_ONCE // (order * (rest[0].size if rest else 1)))
    blocks: list[Any] = []
    for first in range(0, len(axes[0]), rows):
        part = axes[0][first : first + rows]
        values = np.exp(field.log_on_axes(part.ravel(), *rest)).reshape(len(part), order, -1)
        means = np.einsum("ioj,o->ij", values, 0.5 * weights)
        blocks.append(means[:, 0] if not rest else means.reshape(len(part), -1, order) @ (0.5 * weights))
    return np.concatenate(blocks)

"""The V-weighted norm of rows of signed differences, with the parts of its error."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve import weights
from fpsolve._checks import FloatArray
from fpsolve._tails import edge_tail
from fpsolve.distances import _lines, _planes
from fpsolve.distances._fields import Frame
from fpsolve.weights import WeightLike

__all__ = ["TAIL_SAFETY", "Norm", "tail_mass", "tail_of_difference", "weigher", "weighted_norm_of_rows", "weighted_sum"]

#: Tails are continued as they decay at the ends of the box; differences of tails may decay more slowly further out.
TAIL_SAFETY = 1.5
# share of the box next to its ends in which a change of sign spoils that: the difference is then no tail yet
_OUTER = 0.1

# built-in weights have their kink here; a piece more costs nothing for the others
_KINKS = np.zeros(1)


@dataclass(frozen=True, eq=False)
class Norm:
    """``int V |w|`` with its error parts, arrays of shape (rows,).

    Attributes
    ----------
    value : array
        The integral over the box.
    quadrature : array
        Error of reconstruction, quadrature and the sum's round-off.
    tail : array
        Estimated weighted mass outside of the box.
    """

    value: FloatArray
    quadrature: FloatArray
    tail: FloatArray

    @property
    def error(self) -> FloatArray:
        """The sum of the parts."""
        return self.quadrature + self.tail


def weigher(weight: WeightLike, dim: int) -> _lines.Weigh:
    """Return V as a function of points alone, checked wherever it is evaluated."""
    return lambda points: weights.evaluate(weight, points, dim)


def weighted_norm_of_rows(
    w: FloatArray,
    frame: Frame,
    weight: WeightLike,
    *,
    unbounded: bool,
    densities: tuple[FloatArray, FloatArray] | None = None,
) -> Norm:
    """Return the norm of every row of signed cell averages, shape (rows, n[, ny]).

    `densities`: the two whose difference w is, if known. Where w changes its sign near an end of the box, their own
    tails bound what is beyond.
    """
    weigh = weigher(weight, frame.dim)
    if frame.dim == 1:
        value, error = _lines.absolute_integral(w, frame.line, weigh, _KINKS)
    else:
        value, error = _planes.absolute_integral(w, frame.planes, weigh)
    if not unbounded:
        return Norm(value, error, np.zeros_like(value))
    return Norm(value, error, tail_of_difference(w, frame, weigh, densities))


def tail_of_difference(
    w: FloatArray, frame: Frame, weigh: _lines.Weigh, densities: tuple[FloatArray, FloatArray] | None
) -> FloatArray:
    """Return what ``int V |w|`` outside of the box may be; the tails of both densities where w turns near the edge."""
    tail = TAIL_SAFETY * tail_mass(w, frame, weigh)
    if densities is None or frame.dim == 2:
        return tail
    each = [tail_mass(density, frame, weigh) for density in densities]
    return np.where(_turns_near_ends(w), np.maximum(tail, TAIL_SAFETY * (each[0] + each[1])), tail)


def _turns_near_ends(w: FloatArray) -> NDArray[np.bool_]:
    """Return which rows (rows, n) change their sign in the outer part of the box."""
    outer = max(3, int(_OUTER * w.shape[1]))
    sides = (w[:, :outer], w[:, -outer:])
    left, right = ((side.min(axis=1) < 0.0) & (side.max(axis=1) > 0.0) for side in sides)
    return np.asarray(left | right)


def tail_mass(w: FloatArray, frame: Frame, weigh: _lines.Weigh) -> FloatArray:
    """Return the estimated ``int V |w|`` outside of the box of every row."""
    # in units of cells: the volume of the cells of each row turns it into a mass
    axes = [np.arange(float(n)) for n in frame.shape]
    mass = np.empty(len(w))
    for rows, points in frame.groups():
        mass[rows] = edge_tail(w[rows], axes, weigh(points))
    return mass * frame.volume


def weighted_sum(values: FloatArray, frame: Frame, weigh: _lines.Weigh) -> FloatArray:
    """Return ``sum V |values| * cell volume``, V at the cell centres, of every row."""
    total = np.empty(len(values))
    for rows, points in frame.groups():
        total[rows] = np.tensordot(np.abs(values[rows]), weigh(points), axes=frame.dim)
    return total * frame.volume

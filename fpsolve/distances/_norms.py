"""The V-weighted norm of rows of signed differences, with the parts of its error."""

from dataclasses import dataclass

import numpy as np

from fpsolve import weights
from fpsolve._checks import FloatArray
from fpsolve._tails import edge_tail
from fpsolve.distances import _lines, _planes
from fpsolve.distances._fields import Frame
from fpsolve.weights import WeightLike

__all__ = ["Norm", "tail_mass", "weigher", "weighted_norm_of_rows", "weighted_sum"]

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


def weighted_norm_of_rows(w: FloatArray, frame: Frame, weight: WeightLike, *, unbounded: bool) -> Norm:
    """Return the norm of every row of signed cell averages, shape (rows, n[, ny])."""
    weigh = weigher(weight, frame.dim)
    if frame.dim == 1:
        value, error = _lines.absolute_integral(w, frame.line, weigh, _KINKS)
    else:
        value, error = _planes.absolute_integral(w, frame.planes, weigh)
    tail = tail_mass(w, frame, weigh) if unbounded else np.zeros_like(value)
    return Norm(value, error, tail)


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

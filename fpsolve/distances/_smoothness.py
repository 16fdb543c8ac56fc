"""How far a conservative spline is from the truth, cell by cell, judged by splines of lower degree.

Splines of degree 4, 2 and 0 miss a smooth function by terms of the order h^5, h^3 and h (their primitives by
h^6, h^4 and h^2). Continued geometrically, ``gap_2^2 / gap_0`` (gap_k: distance between degrees 4 and k) is the
error of degree 4. The constants were calibrated on random mixtures and on densities with jumps and kinks; these show
themselves by a gap_2 that is not much smaller than gap_0.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import FloatArray
from fpsolve.distances import _splines

__all__ = ["PRIMITIVES", "VALUES", "Calibration", "spline_error", "spread"]

#: Inner positions of a cell at which primitives are compared; their error vanishes at the faces.
INNER = np.array([0.25, 0.5, 0.75])

# cells within which a derivative that vanishes by chance does so no longer: for densities, and for a difference whose
# error is that of a few roots
_REACH, _REACH_OF_ROOTS = 2, 4

Number = TypeVar("Number", np.float64, np.bool_)


@dataclass(frozen=True)
class Calibration:
    """Constants of the extrapolation.

    Attributes
    ----------
    safety : float
        Factor on gap_2^2 / gap_0 that covers the spread of measured errors.
    rough : float
        The ratio gap_2 / gap_0 at two cells per standard deviation of a Gaussian; at a jump it is three times that or
        more. Above it the estimate changes from the extrapolation to gap_0.
    """

    safety: float
    rough: float

    def error(self, gap_2: FloatArray, gap_0: FloatArray) -> FloatArray:
        """Return the error of degree 4; gap_0 itself where w is rough."""
        ratio = _ratio(gap_2, gap_0)
        factor = self.safety * ratio**2 * (1.0 + (ratio / self.rough) ** 4)
        return np.asarray(np.where(gap_0 > 0.0, gap_0 * np.minimum(factor, 1.0), gap_2))

    def is_rough(self, gap_2: FloatArray, gap_0: FloatArray) -> NDArray[np.bool_]:
        """Return where the degrees do not converge as they do for a smooth and resolved function."""
        return np.asarray(_ratio(gap_2, gap_0) > self.rough)


#: For primitives in 1D, where a distance's error sits at a few roots.
PRIMITIVES = Calibration(safety=4.0, rough=0.025)
#: For values in 2D: the errors of many cells along a curve add up, and average out.
VALUES = Calibration(safety=1.0, rough=0.0375)


def spline_error(averages: FloatArray, quartic: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Estimate ``max |int_{left face}^x (s - w)|`` in every cell, in units of (cell width) x w.

    Parameters
    ----------
    averages : array, shape (rows, n)
        Cell averages of w.
    quartic : array, shape (rows, n + 4)
        Coefficients of their conservative spline s of degree 4.

    Returns
    -------
    error : array, shape (rows, n)
    rough : bool array, shape (rows, n)
        Where w has a jump or a kink, or is not resolved.
    """
    primitive = _primitive(quartic, 4)
    others = (_primitive(_splines.coefficients(averages, degree), degree) for degree in (2, 0))
    gap_2, gap_0 = (np.abs(primitive - other).max(axis=-1) for other in others)
    near_2, near_0 = spread(gap_2), spread(gap_0)
    wide_2, wide_0 = spread(gap_2, _REACH_OF_ROOTS), spread(gap_0, _REACH_OF_ROOTS)
    rough = PRIMITIVES.is_rough(near_2, near_0)
    # smooth on the wider stretch: its extrapolation counts too; a jump there is no business of this cell
    smooth = ~PRIMITIVES.is_rough(wide_2, wide_0)
    error = PRIMITIVES.error(near_2, near_0)
    wider = np.where(smooth, np.minimum(PRIMITIVES.error(wide_2, np.maximum(near_0, wide_2)), wide_2), 0.0)
    return np.maximum(error, wider), rough


def spread(values: NDArray[Number], reach: int = _REACH) -> NDArray[Number]:
    """Return the largest value within some cells along the last axis.

    A derivative that happens to vanish in one cell would otherwise pass for accuracy.
    """
    width = [(0, 0)] * (values.ndim - 1) + [(reach, reach)]
    padded = np.pad(values, width, mode="edge")
    cells = values.shape[-1]
    return np.asarray(np.maximum.reduce([padded[..., k : k + cells] for k in range(2 * reach + 1)]))


def _primitive(spline: FloatArray, degree: int) -> FloatArray:
    return _splines.windows(spline, degree) @ _splines.cumulative_basis(degree, INNER).T


def _ratio(gap_2: FloatArray, gap_0: FloatArray) -> FloatArray:
    # capped: beyond 1 both are taken as they are, and powers of it must not overflow
    return np.divide(gap_2, gap_0, out=np.ones_like(gap_2), where=gap_0 > gap_2)

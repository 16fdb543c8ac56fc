"""Conservative splines: from cell averages back to a function with exactly those averages.

On a uniform grid the derivative of the quintic (cubic) interpolating spline of the cumulative at the faces,
with not-a-knot ends, is a spline of degree 4 (2) in the cell averages. It is solved for directly, in cardinal
B-splines ``s(u) = sum_k c_k B(u - k)``, which is the same function without the cancellation of a cumulative:
far out in a tail it stays accurate relative to the local values. Unit of length: one cell.
"""

from functools import cache
from math import comb, factorial

import numpy as np
from scipy.interpolate import BSpline
from scipy.linalg import solve_banded

from fpsolve._checks import FloatArray

__all__ = [
    "MINIMUM_CELLS",
    "basis",
    "cumulative_basis",
    "coefficients",
    "evaluate",
    "monomials",
    "bernstein",
    "to_bernstein",
    "windows",
]

#: The quintic spline with not-a-knot ends needs six faces; the two ends do not overlap from eight cells on.
MINIMUM_CELLS = 8


def coefficients(averages: FloatArray, degree: int) -> FloatArray:
    """Return B-spline coefficients of the conservative spline along the last axis.

    Parameters
    ----------
    averages : array, shape (..., n)
        Cell averages, n >= `MINIMUM_CELLS`.
    degree : {0, 2, 4}
        Degree of the spline; 0 returns the averages themselves.

    Returns
    -------
    array, shape (..., n + degree)
        On cell i the spline is ``basis(degree, u) @ c[i : i + degree + 1]``.
    """
    if degree == 0:
        return averages
    cells, ghosts = averages.shape[-1], degree // 2
    right = np.zeros((cells + degree, averages.size // cells))
    right[ghosts : cells + ghosts] = averages.reshape(-1, cells).T
    bands = (degree + 1, degree + 1)
    solved = solve_banded(bands, _matrix(cells, degree), right, overwrite_b=True, check_finite=False)
    return np.ascontiguousarray(solved.T).reshape(*averages.shape[:-1], cells + degree)


def windows(spline: FloatArray, degree: int) -> FloatArray:
    """Return the coefficients that act on each cell, a view of shape (..., n, degree + 1)."""
    return np.lib.stride_tricks.sliding_window_view(spline, degree + 1, axis=-1)


def basis(degree: int, u: FloatArray) -> FloatArray:
    """Return the B-splines that act on a cell at inner positions u in [0, 1], shape (len(u), degree + 1)."""
    return np.asarray(np.vander(u, degree + 1, increasing=True) @ monomials(degree))


def cumulative_basis(degree: int, u: FloatArray) -> FloatArray:
    """Return their integrals from the cell's left face to u, shape (len(u), degree + 1)."""
    powers = np.vander(u, degree + 2, increasing=True)[:, 1:]
    return np.asarray(powers / np.arange(1, degree + 2) @ monomials(degree))


def evaluate(spline: FloatArray, degree: int, u: FloatArray) -> FloatArray:
    """Return the spline at positions u of every cell, shape (..., n, len(u))."""
    return windows(spline, degree) @ basis(degree, u).T


@cache
def monomials(degree: int) -> FloatArray:
    """Return the matrix from the coefficients of a cell to powers of u, shape (degree + 1, degree + 1)."""
    u = np.linspace(0.0, 1.0, degree + 1)
    values = np.stack([_cardinal(degree, u + degree - k) for k in range(degree + 1)], axis=1)
    solved = np.linalg.solve(np.vander(u, increasing=True), values)
    # entries are integers over degree!: rounding them takes the solver's round-off out
    return np.asarray(np.rint(solved * factorial(degree)) / factorial(degree))


@cache
def bernstein(degree: int) -> FloatArray:
    """Return the matrix from the coefficients of a cell to its Bernstein coefficients."""
    return np.asarray(to_bernstein(degree) @ monomials(degree))


@cache
def to_bernstein(degree: int) -> FloatArray:
    """Return the matrix from powers of u to Bernstein coefficients.

    On [0, 1] a polynomial lies between the smallest and largest of them, so that one sign of all excludes roots.
    """
    rows = [[comb(j, i) / comb(degree, i) if i <= j else 0.0 for i in range(degree + 1)] for j in range(degree + 1)]
    return np.array(rows)


def _cardinal(degree: int, x: FloatArray) -> FloatArray:
    """Return the cardinal B-spline with knots 0, 1, ..., degree + 1."""
    inside = np.clip(x, 0.0, degree + 1.0)
    return np.asarray(BSpline.basis_element(np.arange(degree + 2.0))(inside))


@cache
def _matrix(cells: int, degree: int) -> FloatArray:
    """Return the banded matrix of the conditions in LAPACK storage.

    Rows in the middle: the average over cell i is ``taps @ c[i : i + degree + 1]``. The first and last
    degree/2 rows: the highest derivative does not jump at the faces next to the ends (not-a-knot).
    """
    ghosts, size, upper = degree // 2, cells + degree, degree + 1
    taps = cumulative_basis(degree, np.ones(1))[0]
    jump = [(-1.0) ** k * comb(degree + 1, k) for k in range(degree + 2)]
    bands = np.zeros((2 * upper + 1, size))
    for k, tap in enumerate(taps):
        bands[upper - (k - ghosts), k : k + cells] = tap
    for row in range(ghosts):
        for k, factor in enumerate(jump):
            bands[upper - k, row + k] = factor
            bands[upper + k, size - 1 - row - k] = factor
    return bands

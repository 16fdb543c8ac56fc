"""Conservative splines of cell averages, how far they can be trusted, and integrals of polynomials with sign changes.

From cell averages back to a function with exactly those averages: on a uniform grid the derivative of the quintic
(cubic) interpolating spline of the cumulative at the faces, with not-a-knot ends, is a spline of degree 4 (2) in the
cell averages. It is solved for directly, in cardinal B-splines ``s(u) = sum_k c_k B(u - k)``, which is the same
function without the cancellation of a cumulative: far out in a tail it stays accurate relative to the local values.
Unit of length: one cell.

Splines of degree 4, 2 and 0 miss a smooth function by terms of the order h^5, h^3 and h (their primitives by h^6, h^4
and h^2). Continued geometrically, ``gap_2^2 / gap_0`` (gap_k: distance between degrees 4 and k) is the error of degree
4. The constants were calibrated on random mixtures and on densities with jumps and kinks; these show themselves by a
gap_2 that is not much smaller than gap_0.

Integrals of V |s| over cells are split where s changes sign, in squares along the curve s = 0. Where s is monotone in
one direction over the square, ``s = 0`` is a graph over the other. The inner integral along the monotone direction is
then split at the root and the outer one where the graph leaves the square, so that Gauss-Legendre quadrature sees
smooth functions only (Saye 2015, doi:10.1137/140966290, in 2D).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, reduce
from math import comb, factorial
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.linalg import lapack

from fpsolve._checks import FloatArray
from fpsolve._compile import compiled

#: Gauss-Legendre nodes per piece: exact for a quartic times a weight of degree 7.
NODES = 6

#: V at the inner positions u (p, NODES) of the cells named by the index (p,), shape (p, NODES).
Locate: TypeAlias = Callable[[NDArray[np.intp], FloatArray], FloatArray]

# Newton steps inside a bracket: quadratic convergence from at worst a few bisections
_STEPS = 40
# a root off by this (in cells) changes an integral by its square
_ROOT_TOLERANCE = 1e-11


@cache
def gauss(nodes: int = NODES) -> tuple[FloatArray, FloatArray]:
    """Return Gauss-Legendre nodes and weights on [0, 1]."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return 0.5 * (points + 1.0), 0.5 * weights


@cache
def lobatto(nodes: int) -> tuple[FloatArray, FloatArray]:
    """Return Gauss-Lobatto nodes, both ends among them, and weights on [0, 1]."""
    last = np.polynomial.Legendre.basis(nodes - 1)
    points = np.concatenate([[-1.0], np.sort(last.deriv().roots().real), [1.0]])
    return 0.5 * (points + 1.0), np.asarray(1.0 / (nodes * (nodes - 1) * last(points) ** 2))


def polynomial(powers: FloatArray, u: FloatArray) -> FloatArray:
    """Return ``sum_k powers[..., k] u^k`` for u of shape (..., m)."""
    value = powers[..., -1:] + np.zeros_like(u)
    for k in range(powers.shape[-1] - 2, -1, -1):
        value = value * u + powers[..., k : k + 1]
    return value


def unit_roots(powers: FloatArray) -> FloatArray:
    """Return the roots in (0, 1) where polynomials change sign, shape (m, degree), sorted, padded with 1.

    Between two neighbouring turning points, the roots of the derivative, a polynomial is monotone and has
    at most one root; so the degree is climbed from 1 upwards, with a bracketed Newton search in each gap.
    """
    count, degree = powers.shape[0], powers.shape[1] - 1
    if degree == 0:
        return np.ones((count, 0))
    slope, turning = powers[:, 1:] * np.arange(1.0, degree + 1), np.ones((count, degree - 1))
    # most cells have none: their slope is of one sign
    bent = both_signs(slope @ to_bernstein(degree - 1).T)
    turning[bent] = unit_roots(slope[bent])
    edges = np.concatenate([np.zeros((count, 1)), turning, np.ones((count, 1))], axis=1)
    signs = np.sign(polynomial(powers, edges))
    row, gap = np.nonzero(signs[:, :-1] * signs[:, 1:] < 0.0)
    roots = np.ones((count, degree))
    roots[row, gap] = bracketed_roots(powers[row], edges[row, gap], edges[row, gap + 1], signs[row, gap])
    return np.sort(roots, axis=1)


def both_signs(values: FloatArray) -> NDArray[np.bool_]:
    """Return where the last axis holds numbers below and above 0."""
    columns = [values[..., k] for k in range(values.shape[-1])]
    return np.asarray((reduce(np.minimum, columns) < 0.0) & (reduce(np.maximum, columns) > 0.0))


def absolute_in_cells(powers: FloatArray, locate: Locate, breaks: FloatArray | None = None) -> FloatArray:
    """Return ``int_0^1 V |s| du`` for many cells at once.

    Parameters
    ----------
    powers : array, shape (m, degree + 1)
        The polynomial s of every cell in powers of u.
    locate : callable
        V at given places, see `Locate`.
    breaks : array, shape (m, k), optional
        Further places in [0, 1] where pieces begin, such as kinks of V.

    Returns
    -------
    array, shape (m,)
    """
    count = powers.shape[0]
    inner = [unit_roots(powers)] if breaks is None else [unit_roots(powers), breaks]
    edges = np.concatenate([np.zeros((count, 1)), *inner, np.ones((count, 1))], axis=1)
    edges.sort(axis=1)
    lengths = np.diff(edges, axis=1)
    cell, piece = np.nonzero(lengths > 0.0)
    start, length = edges[cell, piece], lengths[cell, piece]
    nodes, weights = gauss()
    u = start[:, None] + length[:, None] * nodes
    signed = (locate(cell, u) * polynomial(powers[cell], u)) @ weights
    return np.bincount(cell, weights=length * np.abs(signed), minlength=count).astype(float)


@compiled
def bracketed_roots(powers: FloatArray, low: FloatArray, high: FloatArray, sign_low: FloatArray) -> FloatArray:
    """Newton's iteration kept inside [low, high], where each polynomial has exactly one root."""
    found, last = 0.5 * (low + high), powers.shape[1] - 1
    for k in range(found.size):
        start, end = low[k], high[k]
        for _ in range(_STEPS):
            root = found[k]
            value, steepness = powers[k, last], 0.0
            for j in range(last - 1, -1, -1):
                steepness = steepness * root + value
                value = value * root + powers[k, j]
            if np.sign(value) == sign_low[k]:
                start = root
            else:
                end = root
            newton = root - value / steepness if abs(steepness) > abs(value) else root - 2.0
            # a root found already sits on an end of its bracket, and rounding must not throw it out
            if start - _ROOT_TOLERANCE <= newton <= end + _ROOT_TOLERANCE:
                found[k] = min(max(newton, start), end)
            else:
                found[k] = 0.5 * (start + end)
            if abs(found[k] - root) < _ROOT_TOLERANCE:
                break
    return found


#: V at inner positions u, v (both (p, NODES)) of the squares named by the index (p,), shape (p, NODES).
LocateSquare: TypeAlias = Callable[[NDArray[np.intp], FloatArray, FloatArray], FloatArray]

#: Nodes of the outer rule and of the one it is compared with.
OUTER = (4, 3)


@dataclass(frozen=True, eq=False)
class Squares:
    """Polynomials on the unit square, with the direction of the inner integral turned to the second axis.

    Attributes
    ----------
    powers : array, shape (m, degree + 1, degree + 1)
        Coefficients of ``u^a v^b``.
    turned : bool array, shape (m,)
        Where the axes were exchanged.
    """

    powers: FloatArray
    turned: NDArray[np.bool_]

    @classmethod
    def oriented(cls, powers: FloatArray, bernstein: FloatArray) -> "Squares":
        """Turn each polynomial so that it is monotone along its second axis, if it is along any."""
        turned = _steepness(bernstein, 1) > _steepness(bernstein, 2)
        return cls(np.where(turned[:, None, None], powers.swapaxes(1, 2), powers), turned)


def absolute_in_squares(squares: Squares, locate: LocateSquare, outer: int) -> FloatArray:
    """Return ``int_0^1 int_0^1 V |s| du dv`` of many squares, shape (m,), with `outer` nodes per outer piece."""
    # where the curve s = 0 crosses the sides v = 0 and v = 1, with the ends 0 and 1, sorted
    count = len(squares.powers)
    bottom, top = unit_roots(squares.powers[:, :, 0]), unit_roots(squares.powers.sum(axis=2))
    edges = np.concatenate([np.zeros((count, 1)), bottom, top, np.ones((count, 1))], axis=1)
    edges.sort(axis=1)
    lengths = np.diff(edges, axis=1)
    square, piece = np.nonzero(lengths > 0.0)
    start, length = edges[square, piece], lengths[square, piece]
    nodes, weights = gauss(outer)
    across = start[:, None] + length[:, None] * nodes
    exponents = np.arange(squares.powers.shape[1])
    lines = np.einsum("pga,pab->pgb", across[..., None] ** exponents, squares.powers[square])
    owner, position = np.repeat(square, outer), across.ravel()

    def along(index: NDArray[np.intp], v: FloatArray) -> FloatArray:
        at, u = owner[index], np.broadcast_to(position[index, None], v.shape)
        turned = squares.turned[at, None]
        return locate(at, np.where(turned, v, u), np.where(turned, u, v))

    inner = absolute_in_cells(lines.reshape(-1, lines.shape[-1]), along)
    sums = length * (inner.reshape(-1, outer) @ weights)
    return np.bincount(square, weights=sums, minlength=len(squares.powers)).astype(float)


def _steepness(bernstein: FloatArray, axis: int) -> FloatArray:
    """Return a lower bound for |derivative| along an axis; negative where its sign may change."""
    slopes = np.diff(bernstein, axis=axis)
    return np.asarray(np.maximum(slopes.min(axis=(1, 2)), -slopes.max(axis=(1, 2))))


#: The quintic spline with not-a-knot ends needs six faces; the two ends do not overlap from eight cells on.
MINIMUM_CELLS = 8


def coefficients(averages: FloatArray, degree: int) -> FloatArray:
    """Return B-spline coefficients of the conservative spline along the last axis.

    Parameters
    ----------
    averages : array, shape (..., n)
        Cell averages, n >= `MINIMUM_CELLS`.
    degree : {0, 2, 4, 6}
        Degree of the spline; 0 returns the averages themselves.

    Returns
    -------
    array, shape (..., n + degree)
        On cell i the spline is ``basis(degree, u) @ c[i : i + degree + 1]``.
    """
    if degree == 0:
        return averages
    cells, ghosts = averages.shape[-1], degree // 2
    right = np.zeros((cells + degree, averages.size // cells), order="F")
    right[ghosts : cells + ghosts] = averages.reshape(-1, cells).T
    factors, pivots = _factors(cells, degree)
    solved, _ = lapack.dgbtrs(factors, degree + 1, degree + 1, right, pivots, overwrite_b=True)
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
def _factors(cells: int, degree: int) -> tuple[FloatArray, NDArray[np.int32]]:
    """Return the LU factors, in LAPACK's banded storage, of the matrix of the conditions, and their pivots.

    Rows in the middle: the average over cell i is ``taps @ c[i : i + degree + 1]``. The first and last
    degree/2 rows: the highest derivative does not jump at the faces next to the ends (not-a-knot).
    """
    ghosts, size, upper = degree // 2, cells + degree, degree + 1
    taps = cumulative_basis(degree, np.ones(1))[0]
    jump = [(-1.0) ** k * comb(degree + 1, k) for k in range(degree + 2)]
    # the first rows are for what pivoting fills in
    bands = np.zeros((3 * upper + 1, size))
    for k, tap in enumerate(taps):
        bands[2 * upper - (k - ghosts), k : k + cells] = tap
    for row in range(ghosts):
        for k, factor in enumerate(jump):
            bands[2 * upper - k, row + k] = factor
            bands[2 * upper + k, size - 1 - row - k] = factor
    factors, pivots, _ = lapack.dgbtrf(bands, upper, upper)
    return factors, pivots


#: Inner positions of a cell at which primitives are compared; their error vanishes at the faces.
INNER = np.array([0.25, 0.5, 0.75])

# cells within which a derivative that vanishes by chance does so no longer: for densities, and for a difference whose
# error is that of a few roots
_REACH, _REACH_OF_ROOTS = 2, 4
#: Factor on the difference to degree 6, which is the error of degree 4 up to its own
TO_SIX = 2.0

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

    The larger of what degrees 2 and 0 let expect and of the difference to degree 6: derivatives of mixtures of widths
    do not grow from one to the next as those before them did.

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
    others = (_primitive(coefficients(averages, degree), degree) for degree in (6, 2, 0))
    gap_6, gap_2, gap_0 = (
        reduce(np.maximum, [np.abs(mine - its) for mine, its in zip(primitive, other, strict=True)]) for other in others
    )
    near_2, near_0 = spread(gap_2), spread(gap_0)
    wide_2, wide_0 = spread(gap_2, _REACH_OF_ROOTS), spread(gap_0, _REACH_OF_ROOTS)
    rough = PRIMITIVES.is_rough(near_2, near_0)
    # smooth on the wider stretch: its extrapolation counts too; a jump there is no business of this cell
    smooth = ~PRIMITIVES.is_rough(wide_2, wide_0)
    error = PRIMITIVES.error(near_2, near_0)
    wider = np.where(smooth, np.minimum(PRIMITIVES.error(wide_2, np.maximum(near_0, wide_2)), wide_2), 0.0)
    return np.maximum(np.maximum(error, wider), TO_SIX * spread(gap_6)), rough


def spread(values: NDArray[Number], reach: int = _REACH) -> NDArray[Number]:
    """Return the largest value within some cells along the last axis.

    A derivative that happens to vanish in one cell would otherwise pass for accuracy.
    """
    width = [(0, 0)] * (values.ndim - 1) + [(reach, reach)]
    padded = np.pad(values, width, mode="edge")
    cells = values.shape[-1]
    return reduce(np.maximum, [padded[..., k : k + cells] for k in range(2 * reach + 1)])


def _primitive(spline: FloatArray, degree: int) -> list[FloatArray]:
    """Integrals of the spline from the left face of every cell to each of `INNER`, one array for each."""
    cells = spline.shape[-1] - degree
    columns = [spline[..., k : k + cells] for k in range(degree + 1)]
    return [reduce(np.add, map(np.multiply, row, columns)) for row in cumulative_basis(degree, INNER)]


def _ratio(gap_2: FloatArray, gap_0: FloatArray) -> FloatArray:
    # capped: beyond 1 both are taken as they are, and powers of it must not overflow
    return np.divide(gap_2, gap_0, out=np.ones_like(gap_2), where=gap_0 > gap_2)

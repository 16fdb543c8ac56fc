"""What a grid density says about particles: cell probabilities and expectations of test functions."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from fpsolve.particles import _functions
from fpsolve.particles._cells import Cells

Array = npt.NDArray[np.float64]

# Two Gauss-Legendre points per cell and axis: cell averages of smooth test functions to fourth order.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(2)


def on_cells(probability: Array, source: Cells, target: Cells) -> Array:
    """Probabilities of other cells, from the spline of the cumulative distribution at the source's faces.

    Exact (to rounding) where the target's faces are source faces, of order h^6 (1D) or h^4 (2D) elsewhere.
    Mass outside of the source's box is not invented: cells there get none.
    """
    if _same(source, target):
        return probability
    ends = [(faces[0], faces[-1]) for faces in source.faces]
    wanted = [np.clip(faces, *end) for faces, end in zip(target.faces, ends, strict=True)]
    if source.dim == 1:
        from scipy.interpolate import make_interp_spline

        cumulative = np.concatenate([[0.0], np.cumsum(probability)])
        return np.asarray(np.diff(make_interp_spline(source.faces[0], cumulative, k=5)(wanted[0])), dtype=np.float64)
    from scipy.interpolate import RectBivariateSpline

    cumulative = np.zeros((source.shape[0] + 1, source.shape[1] + 1))
    cumulative[1:, 1:] = np.cumsum(np.cumsum(probability, axis=0), axis=1)
    corner = RectBivariateSpline(*source.faces, cumulative)(*wanted)
    return np.asarray(np.diff(np.diff(corner, axis=0), axis=1), dtype=np.float64)


def _same(a: Cells, b: Cells) -> bool:
    """Whether two sets of cells agree to 1e-9 of a cell."""
    if a.shape != b.shape:
        return False
    gap = np.abs([fa - fb for fa, fb in zip(a.low + _high(a), b.low + _high(b), strict=True)])
    return bool(np.all(gap <= 1e-9 * min(a.spacing)))


def _high(cells: Cells) -> tuple[float, ...]:
    return tuple(lo + h * n for lo, h, n in zip(cells.low, cells.spacing, cells.shape, strict=True))


def frame(probability: Array, cells: Cells) -> tuple[Array, Array]:
    """Mean and standard deviation per axis of a grid density: where the test functions sit; each (dim,)."""
    centre, width = [], []
    for axis, points in enumerate(cells.centres):
        line = probability if cells.dim == 1 else probability.sum(axis=1 - axis)
        mean = float(line @ points) / float(line.sum())
        centre.append(mean)
        width.append(np.sqrt(float(line @ (points - mean) ** 2) / float(line.sum())))
    return np.array(centre), np.array(width)


def expectations(probability: Array, cells: Cells, centre: Array, width: Array) -> tuple[Array, Array]:
    r"""Mean and variance of every test function under cell probabilities, each (functions,), of order h^4.

    .. math:: \int f q = \sum_i P_i \bar f_i + \sum_i \tfrac{h^2}{12}\, |C|\, f'_i q'_i + O(h^4)

    per axis (P_i cell probabilities, bars cell averages, |C| the volume): the product of averages is not
    the average of the product.
    """
    average, square = np.zeros((2, len(_functions.names(cells.dim)), *cells.shape))
    for node in itertools.product(range(2), repeat=cells.dim):
        offset = tuple(float(_NODES[k]) / 2 for k in node)
        weight = np.prod([_WEIGHTS[k] / 2 for k in node])
        f = _at(cells, offset, centre, width)
        average += weight * f
        square += weight * f**2
    mean, second = (np.tensordot(values, probability, axes=cells.dim) for values in (average, square))
    for axis in range(cells.dim):
        half = tuple(0.5 if k == axis else 0.0 for k in range(cells.dim))
        right, left = (_at(cells, tuple(s * o for o in half), centre, width) for s in (1, -1))
        # h q' |C| from the differences of the probabilities; the h of the other factor is in right - left.
        change = np.gradient(probability, axis=axis) / 12.0
        mean += np.tensordot(right - left, change, axes=cells.dim)
        second += np.tensordot(right**2 - left**2, change, axes=cells.dim)
    return mean, second - mean**2


def _at(cells: Cells, offset: tuple[float, ...], centre: Array, width: Array) -> Array:
    """Test functions at the cell centres moved by ``offset`` cells: (functions, nx[, ny])."""
    points = cells.points(offset)
    flat = points.ravel() if cells.dim == 1 else points.reshape(-1, 2)
    return _functions.values(flat, centre, width, cells.dim).reshape(-1, *cells.shape)

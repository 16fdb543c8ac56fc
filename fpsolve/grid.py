"""Uniform tensor-product grids of cells in 1D and 2D: where densities live."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import factorial, prod
from typing import Any, Protocol, runtime_checkable

import numpy as np

from fpsolve import _checks, _memory
from fpsolve._callables import values_of
from fpsolve._checks import FloatArray
from fpsolve._messages import page

__all__ = ["Grid"]

# Gauss-Legendre nodes per cell and axis: exact to degree 15, 1e-13 on a Gaussian of one cell's width
_NODES = 8
_rule = cache(np.polynomial.legendre.leggauss)
# points evaluated at a time, so that a 2D cell average needs a few dozen megabytes at any size
_CHUNK = 2**18
# cell widths: relative to the position of the box, and absolute
_CLOSEST, _WIDEST = 1e-14, 1e100

#: Cells whose positions take memory worth a question.
_MANY = 10**6


@runtime_checkable
class _LawLike(Protocol):
    """What a grid needs to know of a law; keeps this file free of fpsolve.laws."""

    @property
    def dim(self) -> int: ...
    def cell_probabilities(self, *faces: FloatArray) -> FloatArray | None: ...
    def log_density_on_axes(self, *axes: FloatArray) -> FloatArray: ...


@dataclass(frozen=True)
class Grid:
    """A box in R or R^2 cut into equal cells.

    Cell (i, j) is ``[x_i, x_{i+1}] x [y_j, y_{j+1}]`` with faces ``x_i = lo + i h``. Faces of a grid are
    faces of its refinements bit for bit, and a box symmetric about 0 has exactly symmetric faces. Use
    `Grid.uniform` to make one.

    Parameters
    ----------
    bounds : tuple of (float, float)
        Lower and upper end of the box, one pair per axis.
    shape : tuple of int
        Number of cells per axis.

    Raises
    ------
    ValueError
        If an end is not finite, a pair is not increasing, cells are fewer than 1, or the axes do not match.

    Examples
    --------
    >>> grid = Grid.uniform((-1, 1), cells=4)
    >>> grid.x
    array([-0.75, -0.25,  0.25,  0.75])
    >>> grid.faces
    array([-1. , -0.5,  0. ,  0.5,  1. ])
    """

    bounds: tuple[tuple[float, float], ...]
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        remedy = "make one by fp.Grid.uniform((low, high), cells=200)"
        _checks.instance("bounds", self.bounds, Sequence | np.ndarray, "one (low, high) pair per axis", remedy)
        _checks.instance("shape", self.shape, Sequence | np.ndarray, "a tuple, one number of cells per axis", remedy)
        bounds = tuple(_pair(pair) for pair in self.bounds)
        if len(bounds) not in (1, 2):
            raise _checks.error("bounds", "one (low, high) pair per axis, 1 or 2 of them", f"{len(bounds)}")
        if len(self.shape) != len(bounds):
            raise _checks.error("cells", f"{len(bounds)} numbers, one per axis", repr(self.shape))
        object.__setattr__(self, "bounds", bounds)
        object.__setattr__(self, "shape", tuple(_checks.integer("cells", n) for n in self.shape))
        for (low, high), h in zip(bounds, self.spacing, strict=True):
            # faces have to differ, and volumes to be numbers
            if not _CLOSEST * max(abs(low), abs(high)) < h < _WIDEST:
                got = f"cells of width {h:.3g} in ({low:g}, {high:g})"
                remedy = "move the box nearer to 0, take fewer cells, or choose another unit of length"
                raise _checks.error("bounds", "cells whose faces are different numbers", got, remedy)

    @classmethod
    def uniform(cls, bounds: Any, *, cells: int | Sequence[int]) -> "Grid":
        """Return the grid of `cells` equal cells in a box.

        Parameters
        ----------
        bounds : (float, float) or sequence of two such pairs
            ``(low, high)`` in 1D, ``[(low, high), (low, high)]`` in 2D.
        cells : int or (int, int)
            Number of cells per axis; one number in 2D means the same for both.

        Examples
        --------
        >>> Grid.uniform([(-6, 6), (-5, 5)], cells=(256, 200)).shape
        (256, 200)
        """
        box = _checks.finite_array("bounds", bounds, remedy="use (low, high) or [(low, high), (low, high)]")
        if box.shape not in ((2,), (1, 2), (2, 2)):
            raise _checks.error("bounds", "(low, high) or two such pairs", f"shape {box.shape}")
        pairs = tuple((float(low), float(high)) for low, high in box.reshape(-1, 2))
        counts = tuple(cells) if isinstance(cells, Sequence) else (cells,) * len(pairs)
        return cls(pairs, counts)

    def _repr_html_(self) -> str:
        """Show box, cells and their widths."""
        box = " x ".join(f"[{low:.6g}, {high:.6g}]" for low, high in self.bounds)
        cells, widths = (" x ".join(f"{n:.4g}" for n in numbers) for numbers in (self.shape, self.spacing))
        return page(f"{cells} cells in {box}\nof width {widths}")

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return len(self.shape)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Cell widths h, one per axis."""
        return tuple((high - low) / n for (low, high), n in zip(self.bounds, self.shape, strict=True))

    @property
    def volume(self) -> float:
        """Length or area of one cell."""
        return prod(self.spacing)

    @property
    def axes(self) -> tuple[FloatArray, ...]:
        """Cell centres per axis, of shapes ``(nx,)[, (ny,)]``."""
        return tuple(_faces(low, high, 2 * n)[1::2] for (low, high), n in zip(self.bounds, self.shape, strict=True))

    @property
    def face_axes(self) -> tuple[FloatArray, ...]:
        """Cell faces per axis, of shapes ``(nx + 1,)[, (ny + 1,)]``."""
        return tuple(_faces(low, high, n) for (low, high), n in zip(self.bounds, self.shape, strict=True))

    @property
    def x(self) -> FloatArray:
        """Cell centres, of shape ``(nx,)`` in 1D and ``(nx, ny, 2)`` in 2D."""
        if prod(self.shape) > _MANY:
            _memory.require("grid", 16.0 * self.dim * prod(self.shape), "take fewer cells")
        return _tensor(self.axes)

    @property
    def faces(self) -> FloatArray | tuple[FloatArray, ...]:
        """Cell faces: an array ``(nx + 1,)`` in 1D, a tuple of two such arrays in 2D."""
        return self.face_axes[0] if self.dim == 1 else self.face_axes

    def cell_average(self, f: Any) -> FloatArray:
        """Return the averages of a density or function over the cells.

        Parameters
        ----------
        f : Law or callable
            A law (exact cell probabilities over the cell volume where it has them) or a function of points of
            shape ``(...)`` (1D) or ``(..., 2)`` (2D). Without a closed form the average is Gauss-Legendre
            quadrature with 8 points per cell and axis, with fewer where a law states by `component_std` that it is a
            sum of normal densities no narrower than that, for which fewer leave no more than a rounding error.

        Returns
        -------
        array
            Cell averages (densities per unit length or area, not masses), of shape `shape`.

        Raises
        ------
        ValueError
            If a law has another dimension, or a function returns another shape, NaN or inf.

        Examples
        --------
        >>> Grid.uniform((0, 1), cells=2).cell_average(lambda x: x**2) * 12
        array([1., 7.])
        """
        if isinstance(f, _LawLike):
            _checks.same_dim("law", f.dim, "the grid", self.dim)
            masses = f.cell_probabilities(*self.face_axes)
            # log p = -inf outside of a support is a density of exactly 0
            if masses is not None:
                return np.asarray(masses) / self.volume
            nodes = nodes_for(max(self.spacing) / getattr(f, "component_std", np.inf))
            return self._quadrature(lambda *axes: np.exp(f.log_density_on_axes(*axes)), nodes)
        if not callable(f):
            raise _checks.error("f", "a law or a callable on points", repr(f)[:60])
        return self._quadrature(lambda *axes: _values(f, _tensor(axes)))

    def refine(self) -> "Grid":
        """Return the grid with twice as many cells per axis in the same box."""
        return Grid(self.bounds, tuple(2 * n for n in self.shape))

    def coarsen(self) -> "Grid":
        """Return the grid with half as many cells per axis in the same box.

        Raises
        ------
        ValueError
            If a number of cells is odd.
        """
        if any(n % 2 for n in self.shape):
            raise _uneven(self.shape)
        return Grid(self.bounds, tuple(n // 2 for n in self.shape))

    def restrict(self, values: Any) -> FloatArray:
        """Return cell averages on the coarsened grid: the mean of 2 (1D) or 2 x 2 (2D) neighbours.

        Parameters
        ----------
        values : array
            Cell averages on this grid, of shape ``(..., *shape)``.

        Returns
        -------
        array
            Cell averages of shape ``(..., *coarsen().shape)``; sums times volume are kept.

        Examples
        --------
        >>> Grid.uniform((0, 1), cells=4).restrict([1.0, 3.0, 5.0, 5.0])
        array([2., 5.])
        """
        if any(n % 2 for n in self.shape):
            raise _uneven(self.shape)
        array = _checks.real_array("values", values)
        if array.shape[array.ndim - self.dim :] != self.shape:
            raise _checks.error("values", f"cell averages of shape (..., {self.shape})", f"shape {array.shape}")
        if self.dim == 1:
            return np.asarray(0.5 * (array[..., 0::2] + array[..., 1::2]))
        rows = array[..., 0::2] + array[..., 1::2]
        return np.asarray(0.25 * (rows[..., 0::2, :] + rows[..., 1::2, :]))

    def _quadrature(self, on_axes: Callable[..., FloatArray], count: int = _NODES) -> FloatArray:
        """Return Gauss-Legendre cell averages of a function of tensor axes, some columns at a time."""
        nodes, weights = _rule(count)
        axes = tuple(
            (centre[:, None] + 0.5 * h * nodes).ravel() for centre, h in zip(self.axes, self.spacing, strict=True)
        )
        rows = max(1, _CHUNK // (count * prod(axis.size for axis in axes[1:])))
        chunks = []
        for start in range(0, self.shape[0], rows):
            part = on_axes(axes[0][count * start : count * (start + rows)], *axes[1:])
            means = np.tensordot(0.5 * weights, part.reshape(-1, count, *part.shape[1:]), axes=(0, 1))
            chunks.append(means if part.ndim == 1 else means.reshape(len(means), -1, count) @ (0.5 * weights))
        return np.concatenate(chunks)


def nodes_for(ratio: float) -> int:
    """Gauss-Legendre nodes that average a normal density over cells of `ratio` standard deviations to rounding.

    The error of n nodes on a cell of width h is ``h^{2n} (n!)^4 / ((2n + 1) (2n)!^3) f^{(2n)}``, and with Cramer's
    inequality ``|f^{(m)}| <= 1.09 sqrt(m!) s^{-m}`` times the peak (Abramowitz and Stegun, 25.4.30 and 22.14.17).
    """
    if not 0.0 < ratio < 1.0:
        return _NODES
    for n in range(2, _NODES):
        m = factorial(2 * n)
        if 1.09 * ratio ** (2 * n) * factorial(n) ** 4 / ((2 * n + 1) * m**2.5) < 0.1 * np.finfo(float).eps:
            return n
    return _NODES


def _uneven(shape: tuple[int, ...]) -> ValueError:
    return _checks.error("cells", "even numbers of cells to halve", repr(shape), "choose even cells")


def _values(f: Callable[[FloatArray], Any], points: FloatArray) -> FloatArray:
    return values_of("f", f, points, dim=points.ndim if points.ndim == 1 else 2)


def _tensor(axes: Sequence[FloatArray]) -> FloatArray:
    """Return points ``(nx,)`` in 1D, ``(nx, ny, 2)`` in 2D."""
    return axes[0] if len(axes) == 1 else np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def _faces(low: float, high: float, n: int) -> FloatArray:
    """Return n + 1 faces; this form is exactly symmetric, nests bit for bit, and the ends are exact."""
    if n > _MANY:
        _memory.require("grid", 32.0 * n, "take fewer cells")
    k = np.arange(n + 1)
    faces = ((n - k) * low + k * high) / n
    faces[0], faces[-1] = low, high
    return faces


def _pair(pair: Any) -> tuple[float, float]:
    if type(pair) is tuple and [type(end) for end in pair] == [float, float] and -np.inf < pair[0] < pair[1] < np.inf:
        return pair  # the common case: grids are made of grids
    low, high = _checks.finite_array("bounds", pair, shape=(2,), remedy="use (low, high) per axis")
    if not low < high:
        got = f"({_checks.digits(low)}, {_checks.digits(high)})"
        raise _checks.error("bounds", "low < high on every axis", got, "swap the ends")
    return float(low), float(high)

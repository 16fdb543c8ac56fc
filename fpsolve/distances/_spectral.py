"""Fourier transforms of conservative splines: distances that are integrals of ``|p_hat - q_hat|^2``.

The transform of the spline of degree k through cell averages is a sum over its B-splines, each a power of a sinc: exact
at every frequency, along rays (projections of a density of the plane onto lines) and on lattices of frequencies.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import FloatArray
from fpsolve.distances._fields import Frame
from fpsolve.distances._splines import PRIMITIVES, coefficients, evaluate

ComplexArray = NDArray[np.complex128]

# the share by which the next halving of the cells is at least expected to gain, in multiples of what this one gained
_SAFETY = 4.0
#: exp(-_REACH^2/2) is rounding.
_REACH = 8.5
#: Empty cells beyond each end of the box, in which what the spline does there dies out.
PADDING = 16


@dataclass(frozen=True, eq=False)
class Field:
    """Rows of signed cell averages (rows, n[, ny]) on one box, and the transform of their splines.

    Attributes
    ----------
    cells : array, shape (rows, n[, ny])
    low, spacing : tuples of float
        Left end and cell width per axis.
    padding : int
        Empty cells beyond each end of the box.
    """

    cells: FloatArray
    low: tuple[float, ...]
    spacing: tuple[float, ...]
    padding: int = PADDING

    @property
    def shape(self) -> tuple[int, ...]:
        return self.cells.shape[1:]

    @property
    def centre(self) -> FloatArray:
        """The middle of the box."""
        return np.array([a + 0.5 * h * n for a, h, n in zip(self.low, self.spacing, self.shape, strict=True)])

    @property
    def sides(self) -> list[float]:
        """Sides of the box with its padding, also that of the field on wider cells."""
        return [h * (n + 2 * PADDING + 8) for h, n in zip(self.spacing, self.shape, strict=True)]

    @property
    def diameter(self) -> float:
        """The diagonal of the padded box."""
        return float(np.hypot.reduce(self.sides))

    @property
    def masses(self) -> FloatArray:
        """The signed mass of every row."""
        return np.asarray(self.cells.reshape(len(self.cells), -1).sum(axis=1) * np.prod(self.spacing))

    @cached_property
    def _known(self) -> dict[int, FloatArray]:
        return {}

    def spline(self, degree: int) -> FloatArray:
        """B-spline coefficients of every row, times the volume of a cell."""
        if degree not in self._known:
            axes = range(1, self.cells.ndim)
            values = np.pad(self.cells, [(0, 0), *((self.padding, self.padding) for _ in axes)]) * np.prod(self.spacing)
            for axis in axes:
                values = np.moveaxis(
                    coefficients(np.ascontiguousarray(np.moveaxis(values, axis, -1)), degree), -1, axis
                )
            self._known[degree] = values
        return self._known[degree]

    def places(self, axis: int, degree: int) -> FloatArray:
        """Centres of the B-splines along an axis."""
        n, h = self.shape[axis] + 2 * self.padding + degree, self.spacing[axis]
        return np.asarray(self.low[axis] + h * (np.arange(n) - self.padding - 0.5 * degree + 0.5))

    def waves(self, axis: int, degree: int, xi: FloatArray) -> ComplexArray:
        """Transform of every B-spline of unit mass along an axis, shape (frequencies, B-splines)."""
        h = self.spacing[axis]
        damping = np.sinc(xi * h / (2.0 * np.pi)) ** (degree + 1)
        return np.asarray(np.exp(-1j * np.multiply.outer(xi, self.places(axis, degree))) * damping[:, None])

    def along(self, direction: FloatArray, xi: FloatArray, degree: int) -> ComplexArray:
        """``w_hat(xi direction)`` of every row, shape (rows, frequencies): the transform of the projection."""
        spline, first = self.spline(degree), self.waves(0, degree, xi * direction[0])
        if len(self.shape) == 1:
            return np.asarray(spline @ first.T)
        second = self.waves(1, degree, xi * direction[1])
        return np.stack([np.einsum("mj,mj->m", first @ row, second) for row in spline])

    def projected(self, angle: float, degree: int = 4) -> FloatArray:
        """Cell averages, shape (rows, n), of the projections onto a direction, around the middle of the box."""
        h, direction = min(self.spacing), self.direction(angle)
        n = 2 * int(np.ceil(0.5 * self.diameter / h))
        xi: FloatArray = np.asarray(2.0 * np.pi * np.fft.rfftfreq(n, h), dtype=np.float64)
        first = self.centre @ direction - 0.5 * (n - 1) * h
        waves = self.along(direction, xi, degree) * (np.sinc(xi * h / (2.0 * np.pi)) * np.exp(1j * xi * first))
        waves[:, -1] = waves[:, -1].real
        return np.asarray(np.fft.irfft(waves, n) / h)

    def direction(self, angle: float) -> FloatArray:
        """The unit vector of an angle; in 1D of angle 0."""
        return np.array([np.cos(angle), np.sin(angle)])[: len(self.shape)]

    def on_lattice(self, xi: tuple[FloatArray, ...], degree: int) -> ComplexArray:
        """``w_hat`` at all (pairs of) frequencies, shape (rows, m[, m'])."""
        spline, waves = self.spline(degree), [self.waves(k, degree, x) for k, x in enumerate(xi)]
        return np.asarray(spline @ waves[0].T if len(waves) == 1 else waves[0] @ spline @ waves[1].T)

    @cached_property
    def wider(self) -> "tuple[Field, Field]":
        """The field on cells twice and four times as wide."""
        return self.merged(2), self.merged(4)

    def merged(self, k: int) -> "Field":
        """The field on cells k times as wide, the last of which may be partly empty."""
        cells, low = self.cells, self.low
        for axis in range(1, cells.ndim):
            moved = np.moveaxis(cells, axis, -1)
            moved = np.pad(moved, [(0, 0)] * (moved.ndim - 1) + [(0, -moved.shape[-1] % k)])
            cells = np.moveaxis(moved.reshape(*moved.shape[:-1], -1, k).mean(axis=-1), -1, axis)
        return Field(cells, low, tuple(k * h for h in self.spacing), self.padding // 4)

    def moments(self, degree: int, about: FloatArray) -> tuple[FloatArray, FloatArray]:
        """First and second moments of every row about a point (d,), shapes (rows, d) and (rows, d, d)."""
        spline, dim = self.spline(degree), len(self.shape)
        places = [self.places(k, degree) - about[k] for k in range(dim)]
        sums = [spline if dim == 1 else spline.sum(axis=2 - k) for k in range(dim)]
        first = np.stack([line @ x for line, x in zip(sums, places, strict=True)], axis=1)
        own = [(degree + 1) * h**2 / 12.0 for h in self.spacing]
        second = np.zeros((len(spline), dim, dim))
        for k in range(dim):
            second[:, k, k] = sums[k] @ (places[k] ** 2 + own[k])
        if dim == 2:
            second[:, 0, 1] = second[:, 1, 0] = (spline @ places[1]) @ places[0]
        return first, second


def fields(frame: Frame, *arrays: FloatArray) -> list[tuple[NDArray[np.intp], list[Field]]]:
    """Return rows that share a box, with a `Field` of each array there."""
    result = []
    for rows, points in frame.groups():
        axes = [points] if frame.dim == 1 else [points[:, 0, 0], points[0, :, 1]]
        widths = tuple(float((axis[-1] - axis[0]) / (axis.size - 1)) for axis in axes)
        lows = tuple(float(axis[0] - 0.5 * h) for axis, h in zip(axes, widths, strict=True))
        result.append((rows, [Field(np.broadcast_to(a, (frame.leading.size, *frame.shape))[rows], lows, widths)
                              for a in arrays]))  # fmt: skip
    return result


def gaps(field: Field, transform: Callable[[Field, int], Any]) -> list[Any]:
    """Return a linear map of the spline of degree 4, and four differences that tell its error.

    To the splines of degrees 2 and 0, to that of degree 4 on cells twice as wide, and from there to four times.
    """
    fine, quadratic, constant = (transform(field, degree) for degree in (4, 2, 0))
    wide, wider = (transform(wider, 4) for wider in field.wider)
    return [fine, fine - quadratic, fine - constant, fine - wide, wide - wider]


def norm_error(norms: FloatArray) -> FloatArray:
    """Return the error of the spline of degree 4 in a norm, from norms (4, rows) of the differences of `gaps`.

    Degrees tell what is missed between the averages, wider cells what the averages alias.
    """
    quadratic, constant, wide, wider = norms
    share = np.divide(wide, wider, out=np.ones_like(wide), where=wider > wide)
    by_degree = PRIMITIVES.error(quadratic, np.maximum(constant, quadratic))
    return np.asarray(np.maximum(by_degree, wide * np.minimum(1.0, _SAFETY * share)))


COARSE = "the cells do not resolve the densities: refine the grid, or compare at times with more noise"
#: Share of the mass in which splines of degree 4 and 2 differ in the middle of cells, where nothing is resolved.
_UNRESOLVED = 0.015


def unresolved(field: Field) -> NDArray[np.bool_]:
    """Return which rows no spline resolves along some axis."""
    size, found = np.abs(field.masses) / np.prod(field.spacing), np.zeros(len(field.cells), dtype=bool)
    for axis in range(1, field.cells.ndim):
        cells = np.ascontiguousarray(np.moveaxis(field.cells, axis, -1))
        middles = [evaluate(coefficients(cells, degree), degree, np.array([0.5])) for degree in (4, 2)]
        gap = np.abs(middles[0] - middles[1]).reshape(len(cells), -1).sum(axis=1)
        found |= gap > _UNRESOLVED * size
    return found


def rbf_frequencies(width: float, length: float, *, half: bool) -> tuple[FloatArray, FloatArray]:
    """Return xi and a with ``exp(-x^2/(2 width^2)) = sum_k a_k cos(xi_k x)`` for |x| up to a length.

    With `half` only xi >= 0, where the sum is over frequencies and their negatives.
    """
    step = 2.0 * np.pi / (length + _REACH * width)
    count = int(np.ceil(_REACH / (width * step)))
    xi = step * np.arange(0 if half else -count, count + 1)
    share = step * width / np.sqrt(2.0 * np.pi) * np.exp(-0.5 * (width * xi) ** 2)
    return np.asarray(xi), np.asarray(np.where(xi > 0.0, 2.0, 1.0) * share if half else share)

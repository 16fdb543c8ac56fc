"""Fourier transforms of conservative splines, for distances that are integrals of ``|p_hat - q_hat|^2``, and distances
to samples: what n of them say, the bias and the standard error.

The transform of the spline of degree k through cell averages is a sum over its B-splines, each a power of a sinc: exact
at every frequency, along rays (projections of a density of the plane onto lines) and on lattices of frequencies.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.distances._fields import Frame, aligned
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


#: Squared deviations exceed so many times their mean with probability 1e-3: the quantile of the square of a normal
#: variable, the worst there is for a sum ``sum_k l_k Z_k^2`` (Szekely and Bakirov 2003, doi:10.1007/s00440-003-0262-6).
EXTREME = 10.83
#: Samples that a linear program takes: of more, so many at random.
MOST = 900
#: Random halvings of the samples.
_HALVINGS = 8
#: Directions of projections, and nodes per cell of their cumulatives.
_DIRECTIONS, _NODES = 24, 8
#: Samples transformed at once.
_CHUNK = 2**14

ToDensity = Callable[[Field, FloatArray], tuple[FloatArray, FloatArray]]


def kernel_to_samples(p: xr.DataArray, samples: Any, attrs: dict[str, str], width: float | None) -> xr.Dataset:
    """Energy distance (`width` None) or MMD of a density and samples.

    The plug-in square ``D(p, q_n)^2`` exceeds ``D(p, q)^2`` by ``E D(q_n, q)^2`` in the mean, which the samples tell
    without bias and which is taken off. By the triangle inequality the distance is off by ``D(q_n, q)`` at most.
    """
    frame, x, boxes = _prepared(p, samples)
    parts = np.empty((3, frame.leading.size))
    for rows, field in boxes:
        parts[:, rows] = _energy_parts(field, x) if width is None else _rbf_parts(field, x, width)
    plugged, noise, grid = parts
    value = np.sqrt(np.maximum(plugged - noise, 0.0))
    top, deviation = np.sqrt(plugged), np.sqrt(np.maximum(noise, 0.0))
    return _labelled(frame, boxes, attrs, x, value, top - value, top, deviation, grid)


def transport_to_samples(
    p: xr.DataArray, samples: Any, attrs: dict[str, str], to_density: ToDensity, between: Any, most: bool = False
) -> xr.Dataset:
    """A metric of transport or moments of a density and samples.

    How far samples are from their law is told by random halves of them, which are ``2 D(q_n, q)`` apart in the mean
    square. The bias is estimated from the distances of the halves, each of which has twice the bias of the square.
    """
    frame, x, boxes = _prepared(p, samples)
    rng = np.random.default_rng(0)
    if most and len(x) > MOST:
        x = x[np.sort(rng.choice(len(x), MOST, replace=False))]
    halves = [np.array_split(rng.permutation(len(x) - len(x) % 2), 2) for _ in range(_HALVINGS)]
    deviation = 0.5 * np.sqrt(np.mean([between(x[a], x[b]) ** 2 for a, b in halves]))
    value, grid, half = np.empty((3, frame.leading.size))
    for rows, field in boxes:
        value[rows], grid[rows] = to_density(field, x)
        half[rows] = np.mean([to_density(field, x[part])[0] ** 2 for part in halves[0]], axis=0)
    bias = value - np.sqrt(np.maximum(2.0 * value**2 - half, 0.0))
    return _labelled(frame, boxes, attrs, x, value, bias, value, np.full_like(value, deviation), grid)


def _prepared(p: xr.DataArray, samples: Any) -> tuple[Frame, FloatArray, list[tuple[Any, Field]]]:
    frame = aligned(p=p)
    shape = (None,) if frame.dim == 1 else (None, 2)
    remedy = "give a density as a DataArray, or samples"
    x = _checks.finite_array("q", samples, shape=shape, remedy=remedy).reshape(-1, frame.dim)
    if len(x) < 20:
        raise _checks.error("q", "a density or at least 20 samples", f"{len(x)}", "draw more")
    return frame, x, [(rows, both[0]) for rows, both in fields(frame, frame.rows(p))]


def _labelled(
    frame: Frame, boxes: Any, attrs: dict[str, str], x: FloatArray,
    value: FloatArray, bias: FloatArray, plugged: FloatArray, deviation: FloatArray, grid: FloatArray,
) -> xr.Dataset:  # fmt: skip
    """The Dataset; the interval of the plug-in distance and its largest deviation holds the truth."""
    reach = np.sqrt(EXTREME) * deviation
    error = np.maximum(plugged + reach - value, value - np.maximum(plugged - reach, 0.0)) + grid
    coarse = np.zeros(frame.leading.size, dtype=bool)
    for rows, field in boxes:
        coarse[rows] = unresolved(field)
    attrs = attrs | {"status": "Monte Carlo", "samples": str(len(x)), "false_alarm": "0.001"}
    attrs |= {"reason": COARSE} if coarse.any() else {}
    error = np.where(coarse, np.inf, error)
    return frame.labelled(attrs, distance=value, error=error, standard_error=deviation, bias=bias)


def _rbf_parts(field: Field, x: FloatArray, width: float) -> FloatArray:
    """Return the plug-in square, its mean for q = p in excess, and the error of the grid, shape (3, rows)."""
    ends = [(min(a, x[:, k].min()), max(a + h * n, x[:, k].max()))
            for k, (a, h, n) in enumerate(zip(field.low, field.spacing, field.shape, strict=True))]  # fmt: skip
    lengths = [side + high - low for side, (low, high) in zip(field.sides, ends, strict=True)]
    lattice = [rbf_frequencies(width, length, half=k == 0) for k, length in enumerate(lengths)]
    xi, shares = tuple(part[0] for part in lattice), [part[1] for part in lattice]
    empirical: Any = 0.0
    for k in range(0, len(x), _CHUNK):
        waves = [np.exp(-1j * np.multiply.outer(x[k : k + _CHUNK, axis], grid)) for axis, grid in enumerate(xi)]
        empirical = empirical + (waves[0].sum(axis=0) if len(xi) == 1 else waves[0].T @ waves[1])
    empirical = empirical / len(x)

    def total(wave: Any) -> FloatArray:
        square = np.abs(wave) ** 2
        for share in reversed(shares):
            square = square @ share
        return np.asarray(square)

    fine, coarse = (field.on_lattice(xi, degree) for degree in (4, 2))
    own = total(empirical[None])[0]
    noise = np.full(len(field.cells), (1.0 - own) / (len(x) - 1))
    return np.stack([total(fine - empirical), noise, np.sqrt(total(fine - coarse))])


def _energy_parts(field: Field, x: FloatArray) -> FloatArray:
    """Return the plug-in square, its mean for q = p in excess, and the error of the grid, shape (3, rows)."""
    plane = len(field.shape) == 2
    factor, each = (0.5 * np.pi if plane else 1.0), []
    for places, levels, line in _lines(field, x):
        t = np.concatenate([[min(places[0], line[0])], line, [max(places[-1], line[-1])]])
        at, step = np.arange(len(line) + 1) / len(line), np.diff(t)
        noise = 2.0 * float((at * (1.0 - at)) @ step) / (len(line) - 1)
        each.append([[2.0 * _squared_gap(places, row, line), noise] for row in levels])
    found = factor * np.array(each)
    square, noise = np.moveaxis(found.mean(axis=0), -1, 0)
    apart = np.abs(np.sqrt(found[::2, :, 0].mean(axis=0)) - np.sqrt(square))
    return np.stack([square, noise, apart if plane else np.zeros_like(square)])


def _squared_gap(places: FloatArray, levels: FloatArray, x: FloatArray) -> float:
    """Return ``int (F - F_n)^2`` for a cumulative that is linear between places, and sorted samples."""
    nodes = np.union1d(places, x)
    f = np.interp(nodes, places, levels)
    step = np.searchsorted(x, nodes[:-1], side="right") / len(x)
    first, second = f[:-1] - step, f[1:] - step
    return float((first**2 + first * second + second**2) @ np.diff(nodes)) / 3.0


def _lines(field: Field, x: FloatArray) -> Any:
    """Yield positions, cumulatives there (rows, n) and sorted samples, in 1D or on each of some directions."""
    from scipy.interpolate import PchipInterpolator

    angles = np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS if len(field.shape) == 2 else [0.0]
    for angle in angles:
        direction, cells = field.direction(float(angle)), field.projected(float(angle))
        h, middle = min(field.spacing), float(field.centre @ direction)
        faces = middle + h * (np.arange(cells.shape[1] + 1) - 0.5 * cells.shape[1])
        # finer places and the cumulative there, non-decreasing up to rounding, its mass 1
        rising = np.concatenate([np.zeros((len(cells), 1)), np.cumsum(cells * h, axis=1)], axis=1)
        rising = np.maximum.accumulate(rising / rising[:, -1:], axis=1)
        places = np.linspace(faces[0], faces[-1], _NODES * (len(faces) - 1) + 1)
        yield places, PchipInterpolator(faces, rising, axis=1)(places), np.sort(x @ direction)


def line_transport(order: int) -> tuple[ToDensity, Any]:
    """W of order 1 or 2 in 1D, or its mean over directions in the plane (order 2), to samples and between samples."""

    def to_density(field: Field, x: FloatArray) -> Any:
        each = [[_quantile_gap(at, row, line, order) for row in levels] for at, levels, line in _lines(field, x)]
        value = np.mean(each, axis=0) ** (1.0 / order)
        apart = np.abs(value - np.mean(each[::2], axis=0) ** (1.0 / order))
        return value, apart + (min(field.spacing) / _NODES) ** 2

    def between(a: FloatArray, b: FloatArray) -> float:
        angles = np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
        lines = np.ones((1, 1)) if a.shape[1] == 1 else np.stack([np.cos(angles), np.sin(angles)], axis=1)
        gaps = np.abs(np.sort(a @ lines.T, axis=0) - np.sort(b @ lines.T, axis=0)) ** order
        return float(gaps.mean() ** (1.0 / order))

    return to_density, between


def _quantile_gap(places: FloatArray, levels: FloatArray, x: FloatArray, order: int) -> float:
    """Return ``int_0^1 |Q(u) - Q_n(u)|^order du`` for a cumulative linear between places, and sorted samples."""
    u = np.union1d(levels, np.arange(len(x) + 1) / len(x))
    keep = np.concatenate([[True], np.diff(levels) > 0.0])
    quantile = np.interp(u, levels[keep], places[keep])
    own = x[np.minimum((0.5 * (u[1:] + u[:-1]) * len(x)).astype(int), len(x) - 1)]
    first, second = quantile[:-1] - own, quantile[1:] - own
    if order == 2:
        return float((first**2 + first * second + second**2) @ np.diff(u)) / 3.0
    crossing = first * second < 0.0
    sizes = np.abs(first) + np.abs(second)
    split = (first**2 + second**2) / np.where(crossing, sizes, 1.0)
    return float(np.where(crossing, split, sizes) @ np.diff(u)) / 2.0

"""Integrals of a function against a Gaussian kernel in the plane: two dense matrix products per tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve.closed_form._line import around_peaks, kernel_edges, narrowed, not_reached, outwards
from fpsolve.closed_form._mixture import EMPTY, LOG_2PI, BoolArray, IndexArray, Panels, chunks, resolve

_TILE = 40.0  # widths s of centres served by one set of panels, per axis
_FAINT = 1e-250  # of the largest term of a tile: below this the tile is cut in four
_ALIVE = 60.0  # nats below the best line: lines fainter than that need not be resolved
_LINES = 48
_EPS = float(np.finfo(np.float64).eps)

LogPlane = Callable[[FloatArray, FloatArray], FloatArray]  # axes (n1,), (n2,) -> (n1, n2)
PlaneFactors = Callable[[FloatArray, FloatArray], FloatArray]  # -> (factors, n1, n2)
# axis, nodes (n,), lines (m,) -> log integrands (n, k, m) and the size of their terms (n, 1)
AlongAxis = Callable[[int, FloatArray, FloatArray], tuple[FloatArray, FloatArray]]


class Targets(Protocol):
    """Centres that share a tile: a tensor grid or scattered points."""

    @property
    def box(self) -> FloatArray: ...
    @property
    def index(self) -> tuple[IndexArray, ...]: ...
    def sample(self) -> Targets: ...
    def few(self) -> PointTargets: ...
    def quarters(self) -> Iterator[Targets]: ...
    def contract(self, rule: Rule, values: FloatArray) -> FloatArray: ...


@dataclass(frozen=True, eq=False)
class Rule:
    """Nodes of a tile and the integrand there, relative to its largest possible term.

    ``values = exp(log_f + log weights - d^2/(2 s^2) - top)`` with d the distance of the node from the box of
    centres: the rest of the kernel, left to `kernel`, is a factor <= 1 per axis.
    """

    axes: tuple[FloatArray, FloatArray]
    values: FloatArray
    top: float
    box: FloatArray
    width: float

    def kernel(self, axis: int, centres: FloatArray) -> FloatArray:
        """Return ``exp((d_i^2 - (y - c)^2)/(2 s^2))`` of shape (centres, nodes)."""
        y = self.axes[axis]
        d = distance(y, self.box[axis])
        return np.exp(0.5 * (d - (y - centres[:, None])) * (d + (y - centres[:, None])) / self.width**2)


@dataclass(frozen=True, eq=False)
class TensorTargets:
    """Centres on a tensor grid: increasing coordinates and their positions in the caller's axes."""

    centres: tuple[FloatArray, FloatArray]
    places: tuple[IndexArray, IndexArray]

    @property
    def box(self) -> FloatArray:
        """Ends per axis, shape (2, 2)."""
        return np.array([[c.min(), c.max()] for c in self.centres])

    @property
    def index(self) -> tuple[IndexArray, ...]:
        """Index of the block in the full result."""
        return np.ix_(*self.places)

    def sample(self) -> TensorTargets:
        """Return a part of the grid, its corners included."""
        return TensorTargets((thinned(self.centres[0]), thinned(self.centres[1])), self.places)

    def few(self) -> PointTargets:
        """Return two points of the grid, between its middle and its ends."""
        at = [[c[(2 * k + 1) * c.size // 4] for k in (0, 1)] for c in self.centres]
        return PointTargets(np.array(at).T, np.arange(2))

    def quarters(self) -> Iterator[TensorTargets]:
        """Yield the parts of the grid on either side of the box's middle."""
        parts = [halves(c, p) for c, p in zip(self.centres, self.places, strict=True)]
        for c1, p1 in parts[0]:
            for c2, p2 in parts[1]:
                yield TensorTargets((c1, c2), (p1, p2))

    def contract(self, rule: Rule, values: FloatArray) -> FloatArray:
        """Return the sums over all nodes, shape (n1, n2)."""
        return np.asarray(rule.kernel(0, self.centres[0]) @ values @ rule.kernel(1, self.centres[1]).T)


@dataclass(frozen=True, eq=False)
class PointTargets:
    """Scattered centres (n, 2) and their positions in the caller's array."""

    centres: FloatArray
    places: IndexArray

    @property
    def box(self) -> FloatArray:
        """Ends per axis, shape (2, 2)."""
        return np.stack([self.centres.min(axis=0), self.centres.max(axis=0)], axis=1)

    @property
    def index(self) -> tuple[IndexArray, ...]:
        """Index of the points in the full result."""
        return (self.places,)

    def sample(self) -> PointTargets:
        """Return some of the points, the outermost along either axis among them."""
        order = [np.argsort(self.centres[:, i]) for i in (0, 1)]
        some = np.linspace(0, len(self.centres) - 1, _LINES).round().astype(np.int64)
        chosen = np.unique(np.concatenate([order[0][some], order[1][some]]))
        return PointTargets(self.centres[chosen], self.places[chosen])

    def few(self) -> PointTargets:
        """Return at most two of the points, inside of their range along the first axis."""
        order = np.argsort(self.centres[:, 0])
        n = order.size
        return PointTargets(self.centres[order[np.unique([n // 4, 3 * n // 4])]], np.arange(2)[: 1 + (n > 1)])

    def quarters(self) -> Iterator[PointTargets]:
        """Yield the points in each quarter of the box."""
        above = self.centres > self.box.mean(axis=1)
        for quarter in np.unique(above, axis=0):
            inside = (above == quarter).all(axis=1)
            yield PointTargets(self.centres[inside], self.places[inside])

    def contract(self, rule: Rule, values: FloatArray) -> FloatArray:
        """Return the sums over all nodes, shape (n,)."""
        out = np.empty(len(self.centres))
        for rows in chunks(len(out), max(values.shape)):
            first = rule.kernel(0, self.centres[rows, 0]) @ values
            out[rows] = (first * rule.kernel(1, self.centres[rows, 1])).sum(axis=1)
        return out


@dataclass(frozen=True, eq=False)
class PlaneIntegral:
    """The integrals ``int exp(log_f(y)) N(y; c, s^2 I) dy`` at many centres c in the plane.

    Parameters
    ----------
    log_f : callable
        Axes (n1,), (n2,) -> (n1, n2), -inf for 0.
    edges : tuple of ndarray
        Per axis: kinks of log_f and landmarks of its peaks.
    width : float
        s > 0.
    rtol, reach : float
        As in `LineIntegral`.
    """

    log_f: LogPlane
    edges: tuple[FloatArray, FloatArray]
    width: float
    rtol: float
    reach: float = 0.0

    def on_axes(self, *centres: FloatArray) -> FloatArray:
        """Return log integrals on the tensor grid of centres, (n1, n2)."""
        return self.with_factors(centres, None)[0]

    def with_factors(
        self, centres: tuple[FloatArray, ...], factors: PlaneFactors | None
    ) -> tuple[FloatArray, FloatArray]:
        """Return log integrals (n1, n2), and averages (m, n1, n2) of signed functions under each integrand."""
        parts = [list(tiles(c, _TILE * self.width)) for c in centres]
        targets = [TensorTargets((centres[0][i], centres[1][j]), (i, j)) for i in parts[0] for j in parts[1]]
        return self._run(targets, (centres[0].size, centres[1].size), factors)

    def at(self, centres: FloatArray) -> FloatArray:
        """Return log integrals at scattered centres (n, 2), shape (n,)."""
        targets = [
            PointTargets(centres[i][j], i[j])
            for i in tiles(centres[:, 0], _TILE * self.width)
            for j in tiles(centres[i, 1], _TILE * self.width)
        ]
        return self._run(targets, (len(centres),), None)[0]

    def _run(
        self, targets: list[TensorTargets] | list[PointTargets], shape: tuple[int, ...], factors: PlaneFactors | None
    ) -> tuple[FloatArray, FloatArray]:
        out, averages = np.empty(shape), None
        queue: list[Targets] = list(targets)
        while queue:
            tile = queue.pop()
            done = self._tile(tile, factors)
            if done is None:
                queue.extend(tile.quarters())
                continue
            averages = np.empty((len(done[1]), *shape)) if averages is None else averages
            out[tile.index] = done[0]
            for k, average in enumerate(done[1]):
                averages[k][tile.index] = average
        return out, np.empty((0, *shape)) if averages is None else averages

    def _tile(self, tile: Targets, factors: PlaneFactors | None) -> tuple[FloatArray, FloatArray] | None:
        """Return log integrals and averages of a tile, or None where its dynamic range is too large."""
        panels = self._panels(tile.box)
        sample = tile.sample()
        before, difference = self._sums(sample, panels, None), np.inf
        for _ in range(3):
            finer = panels[0].halved(), panels[1].halved()
            after = self._sums(sample, finer, None)
            if before is None or after is None:
                return None
            difference = float((np.abs(after[0] - before[0]) - 16.0 * _EPS * after[2]).max())
            if difference <= self.rtol:
                if not self._agrees_alone(tile, panels):
                    return None
                values = self._sums(tile, panels, factors)
                return values if values is None else values[:2]
            panels, before = finer, after
        raise not_reached(self.rtol, difference)

    def _agrees_alone(self, tile: Targets, panels: tuple[Panels, Panels]) -> bool:
        """Say whether a tile's panels find what two of its centres see on panels of their own.

        Halving panels cannot show a peak that none of them holds.
        """
        if np.ptp(tile.box, axis=1).max() == 0.0:
            return True
        for centre in tile.few().centres:
            one = PointTargets(centre[None], np.zeros(1, dtype=np.intp))
            together, alone = self._sums(one, panels, None), self._sums(one, self._panels(one.box), None)
            if together is None or alone is None:
                return False
            if np.abs(together[0] - alone[0])[0] > 10.0 * self.rtol + 32.0 * _EPS * together[2][0]:
                return False
        return True

    def _sums(
        self, tile: Targets, panels: tuple[Panels, Panels], factors: PlaneFactors | None
    ) -> tuple[FloatArray, FloatArray, FloatArray] | None:
        """Return log integrals, averages of the factors, and the size of the terms of the exponents."""
        y1, y2 = panels[0].nodes, panels[1].nodes
        box = tile.box
        shifted = np.maximum(self.log_f(y1, y2), EMPTY)
        log_f = shifted.copy()
        shifted += (panels[0].log_weights - 0.5 * (distance(y1, box[0]) / self.width) ** 2)[:, None]
        shifted += panels[1].log_weights - 0.5 * (distance(y2, box[1]) / self.width) ** 2
        top = float(shifted.max())
        # the terms that count lie near the largest; only the size of their parts is wanted
        size = np.abs(log_f[np.unravel_index(int(shifted.argmax()), shifted.shape)])
        rule = Rule((y1, y2), np.exp(shifted - top), top, box, self.width)
        sums = tile.contract(rule, rule.values)
        if sums.min() < _FAINT:
            return None
        signed = [] if factors is None else [tile.contract(rule, rule.values * f) for f in factors(y1, y2)]
        averages = np.array([values / sums for values in signed]).reshape(len(signed), *sums.shape)
        log_sums = np.log(sums) + top
        return log_sums - LOG_2PI - 2.0 * np.log(self.width), averages, np.abs(log_sums) + size

    def _panels(self, box: FloatArray) -> tuple[Panels, Panels]:
        """Return panels per axis that resolve the integrand for the centres of the box."""
        probes = [np.linspace(lo, hi, 1 + int(np.ceil((hi - lo) / (4.0 * self.width)))) for lo, hi in box]
        far = [self._peaks_far_out(i, probes[i], box[1 - i].mean(keepdims=True)) for i in (0, 1)]
        edges = [np.concatenate([self.edges[i], probes[i], kernel_edges(box[[i]], self.width), far[i]]) for i in (0, 1)]

        def along(axis: int, y: FloatArray, lines: FloatArray) -> tuple[FloatArray, FloatArray]:
            log_f = self.log_f(y, lines) if axis == 0 else self.log_f(lines, y).T
            size = np.abs(log_f).min(axis=1, keepdims=True)
            log_f = np.maximum(log_f, EMPTY) - 0.5 * (distance(lines, box[1 - axis]) / self.width) ** 2
            kernel = -0.5 * ((y[:, None] - probes[axis]) / self.width) ** 2
            return kernel[:, :, None] + log_f[:, None, :], size

        first, second = tensor_panels(along, (edges[0], edges[1]), 0.1 * self.rtol)
        return narrowed(first, box[:1], self.width), narrowed(second, box[1:], self.width)

    def _peaks_far_out(self, axis: int, probes: FloatArray, line: FloatArray) -> FloatArray:
        """Return where the integrands along an axis, the other coordinate that of `line` (1,), peak far out."""
        if self.reach == 0.0:
            return np.empty(0)
        y = outwards(self.edges[axis], self.width, self.reach)
        # a log density may overflow so far out: to -inf, which is right
        with np.errstate(over="ignore"):
            log_f = self.log_f(y, line) if axis == 0 else self.log_f(line, y).T
        return around_peaks(y, np.maximum(log_f, EMPTY) - 0.5 * ((y[:, None] - probes) / self.width) ** 2)


def tiles(centres: FloatArray, width: float) -> Iterator[IndexArray]:
    """Yield index arrays of centres that lie within `width` of each other, in increasing order."""
    order = np.argsort(centres, kind="stable")
    start = 0
    while start < order.size:
        stop = int(np.searchsorted(centres[order], centres[order[start]] + width, side="right"))
        yield order[start:stop]
        start = stop


def tensor_panels(along: AlongAxis, edges: tuple[FloatArray, FloatArray], tolerance: float) -> tuple[Panels, Panels]:
    """Return panels per axis that resolve a function of the plane along lines of the other axis, in turn.

    Parameters
    ----------
    along : callable
        ``along(axis, nodes (n,), lines (m,))`` returns logarithms (n, k, m) for k integrands, and the size (n, 1)
        of the terms they are sums of.
    edges : tuple of ndarray
        Kinks and landmarks per axis.
    tolerance : float
        Of each line's own integral; lines e^-60 below the heaviest do not count.
    """
    first = _along_lines(along, 0, edges, thinned(edges[1]), tolerance)
    second = _along_lines(along, 1, edges, thinned(first.nodes), tolerance)
    return _along_lines(along, 0, edges, thinned(second.nodes), tolerance), second


def _along_lines(
    along: AlongAxis, axis: int, edges: tuple[FloatArray, FloatArray], lines: FloatArray, tolerance: float
) -> Panels:
    def alive(total: FloatArray) -> BoolArray:
        by_line = total.reshape(-1, lines.size)
        return np.asarray(by_line > by_line.max(axis=1, keepdims=True) - _ALIVE).ravel()

    def columns(y: FloatArray) -> tuple[FloatArray, FloatArray]:
        values, sizes = along(axis, y, lines)
        return values.reshape(y.size, -1), sizes

    return resolve(columns, edges[axis], tolerance, alive)


def thinned(values: FloatArray) -> FloatArray:
    """Return at most 48 of the values, increasing, the ends among them."""
    values = np.unique(values)
    return values[np.unique(np.linspace(0, values.size - 1, _LINES).round().astype(np.int64))]


def distance(y: FloatArray, interval: FloatArray) -> FloatArray:
    """Return how far y lies outside of an interval, 0 inside."""
    return np.asarray(np.maximum(np.maximum(interval[0] - y, y - interval[1]), 0.0))


def halves(centres: FloatArray, places: IndexArray) -> list[tuple[FloatArray, IndexArray]]:
    """Return the centres below and above the middle of their range, with their places; one part if all are equal."""
    above = centres > 0.5 * (centres.min() + centres.max())
    return [(centres[side], places[side]) for side in (~above, above) if side.any()]

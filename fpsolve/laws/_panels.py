"""Panels of a composite Gauss-Legendre rule that resolve a density nobody told us anything about.

The law is a callable log density, known up to a constant. Per axis, the interval [-1e8, 1e8] is halved until 16 nodes
integrate each panel to a relative tolerance *of its own mass*, which keeps the tails as accurate as the bulk; panels
far below the peak are dropped. In 2D the test is made along the lines through the other axis' nodes, the axes in turn,
and the rule is the tensor product.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import FloatArray
from fpsolve.laws._gaussian import log_sum_exp

LogDensity = Callable[[FloatArray], FloatArray]  # points (n,) or (n, 2) -> (n,); -inf where the density is 0

ORDER = 16
NODES, _GAUSS = np.polynomial.legendre.leggauss(ORDER)
LOG_GAUSS = np.log(_GAUSS)
_EMPTY = -1e20  # stands in for log 0, so that differences of log densities stay finite
_TOLERANCE = 1e-11
_DEPTH = {1: 800.0, 2: 150.0}  # nats below the peak at which panels end: 40 and 17 standard deviations
_MOST_PANELS = {1: 20_000, 2: 160}
_REACH = 1e8


@dataclass(frozen=True, eq=False)
class Panels:
    """Intervals of one axis, each with `ORDER` Gauss-Legendre nodes.

    Parameters
    ----------
    low, high : ndarray of shape (m,)
        Ends, increasing and disjoint; gaps between them hold no mass to speak of.
    smooth : float
        Width over which the density is smooth everywhere (nearly a polynomial): half that of the narrowest panel, or 0
        if a kink hides at a panel's end.
    """

    low: FloatArray
    high: FloatArray
    smooth: float = 0.0

    @property
    def nodes(self) -> FloatArray:
        """Nodes, shape (16 m,), increasing."""
        return panel_nodes(self.low, self.high).ravel()

    @property
    def log_weights(self) -> FloatArray:
        """Logarithms of the weights, shape (16 m,)."""
        return np.asarray(np.log(0.5 * (self.high - self.low))[:, None] + LOG_GAUSS).ravel()

    def split_size(self, width: float, reach: tuple[float, float]) -> float:
        """Return about how many nodes `split` would make."""
        inside = np.clip(self.high, *reach) - np.clip(self.low, *reach)
        return float(ORDER * (self.low.size + inside.sum() / width))

    def split(self, width: float, reach: tuple[float, float]) -> "Panels":
        """Return panels no wider than `width` inside `reach`; those outside stay as they are."""
        # panels that reach cuts are cut there first: one may be far wider than all of reach
        ends = np.unique(np.concatenate([self.low, self.high, np.clip(reach, self.low[0], self.high[-1])]))
        middle = 0.5 * (ends[:-1] + ends[1:])
        owner = np.searchsorted(self.low, middle, side="right") - 1
        held = middle < self.high[owner]
        low, high = ends[:-1][held], ends[1:][held]
        inside = (high > reach[0]) & (low < reach[1])
        parts = np.where(inside, np.ceil((high - low) / width), 1.0).astype(np.int64)
        owner = np.repeat(np.arange(parts.size), parts)
        part = np.arange(owner.size) - np.repeat(np.cumsum(parts) - parts, parts)
        step = ((high - low) / parts)[owner]
        return Panels(low[owner] + part * step, low[owner] + (part + 1) * step)


def panel_nodes(low: FloatArray, high: FloatArray) -> FloatArray:
    """Return the Gauss-Legendre nodes of every panel, shape (m, 16)."""
    return np.asarray(0.5 * (low + high)[:, None] + 0.5 * (high - low)[:, None] * NODES)


def resolve(log_density: LogDensity, dim: int) -> tuple[Panels, ...]:
    """Return the panels of every axis.

    Parameters
    ----------
    log_density : callable
        Points ``(n,)`` or ``(n, 2)`` to log densities ``(n,)``, up to a constant.
    dim : int
        1 or 2.

    Raises
    ------
    ValueError
        If the density is 0 wherever it was looked for.
    """
    if dim == 1:
        scan = _scan(4097)
        values = log_density(scan)
        peak = _peak(values)
        return (_refine(lambda y: log_density(y)[:, None], dim, peak, (scan, values)),)
    scan = _scan(257)
    values = tensor_log_density(log_density, scan, scan)
    mode, peak = _climb(log_density, scan, values)
    seen = [(scan, values.max(axis=1 - axis)) for axis in (0, 1)]
    first = _refine(lambda y: _on_lines(log_density, y, np.sort(mode[1] + scan), 0), dim, peak, seen[0])
    second = _refine(lambda y: _on_lines(log_density, y, first.nodes, 1), dim, peak, seen[1])
    return _refine(lambda y: _on_lines(log_density, y, second.nodes, 0), dim, peak, seen[0]), second


def tensor_log_density(log_density: LogDensity, first: FloatArray, second: FloatArray) -> FloatArray:
    """Return log densities on a 2D tensor grid, shape (n1, n2)."""
    grid = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1)
    return log_density(grid.reshape(-1, 2)).reshape(first.size, second.size)


def _scan(n: int) -> FloatArray:
    """Return n points between -1e8 and 1e8, about uniform below 0.01 and geometric above."""
    return np.asarray(0.01 * np.sinh(np.linspace(-1.0, 1.0, n) * np.arcsinh(100.0 * _REACH)))


def _peak(values: FloatArray) -> float:
    peak = float(values.max())
    if peak == -np.inf:
        raise ValueError(
            "log_density: expected a density that is > 0 somewhere near the origin, got -inf at every probe; shift "
            "and rescale it so that 0 lies in the bulk and the standard deviation is about 1."
        )
    return peak


def _on_lines(log_density: LogDensity, y: FloatArray, lines: FloatArray, axis: int) -> FloatArray:
    if axis == 0:
        return tensor_log_density(log_density, y, lines)
    return tensor_log_density(log_density, lines, y).T


def _climb(log_density: LogDensity, scan: FloatArray, values: FloatArray) -> tuple[FloatArray, float]:
    """Return the highest point of a 2D scan, improved by ever finer 33 x 33 scans about the best point so far."""
    peak = _peak(values)
    at: Any = np.unravel_index(int(values.argmax()), values.shape)
    mode = np.array([scan[at[0]], scan[at[1]]])
    span, offsets = np.maximum(0.1, np.abs(mode)), np.linspace(-1.0, 1.0, 33)
    for _ in range(60):
        values = tensor_log_density(log_density, mode[0] + span[0] * offsets, mode[1] + span[1] * offsets)
        at = np.array(np.unravel_index(int(values.argmax()), values.shape))
        mode = mode + span * offsets[at]
        peak = max(peak, float(values.max()))
        if values.max() - values.min() < 1.0:
            break
        # with the best point at the rim the mode may lie further out: move without zooming in
        span = span * np.where((at == 0) | (at == 32), 1.0, 0.25)
    return mode, peak


def _refine(on_lines: LogDensity, dim: int, peak: float, seen: tuple[FloatArray, FloatArray]) -> Panels:
    """Halve panels until each passes the test on every line; see the module's head.

    `on_lines` takes coordinates (n,) to values (n, lines). `seen` are points of a scan and the largest values there: no
    panel that holds one that matters is dropped, be it a compact support between the nodes, a log density that is not
    concave, as ``-|x|^0.8``, or one that falls below what stands for log 0, as ``-x^4``. A panel too narrow to halve,
    or beyond the cap on their number, is accepted as it is: a jump or a kink sits in it.
    """
    low, high = np.array([-_REACH]), np.array([_REACH])
    values = _evaluate(on_lines, low, high)
    accepted: list[FloatArray] = []
    count = 0
    while low.size:
        middle = 0.5 * (low + high)
        left, right = _evaluate(on_lines, low, middle), _evaluate(on_lines, middle, high)
        peak = max(peak, float(left.max()), float(right.max()))
        highest = np.maximum(left.max(axis=(1, 2)), right.max(axis=(1, 2)))
        hot = seen[0][seen[1] > peak - _DEPTH[dim]]
        holds_hot = np.searchsorted(hot, low) < np.searchsorted(hot, high)
        # below the floor all over, with no room for a peak between the nodes: between two of them, or at the panel's
        # end, a log density that is concave there rises above both by no more than its slope before carries it
        seen_here = np.concatenate([left, right], axis=1)
        y = np.concatenate([low[:, None], panel_nodes(low, middle), panel_nodes(middle, high), high[:, None]], axis=1)
        room = np.maximum(_room(seen_here, y), _room(seen_here[:, ::-1], -y[:, ::-1]))
        dropped = (room < peak - _DEPTH[dim]) & ~holds_hot
        narrow = (high - low) <= 1e-13 * np.maximum(np.maximum(np.abs(low), np.abs(high)), 1e-3)
        full = count + 2 * low.size > _MOST_PANELS[dim]
        resolved = (highest > peak - _DEPTH[dim]) & _resolved(values, left, right)
        done = ~dropped & (resolved | narrow | full)
        accepted.append(np.stack([low[done], high[done]]))
        count += int(done.sum())
        again = ~dropped & ~done
        low, high, middle = low[again], high[again], middle[again]
        values = np.concatenate([left[again], right[again]])
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
    low, high = np.sort(np.concatenate(accepted, axis=1), axis=1)
    return Panels(low, high, _smooth_width(on_lines, low, high))


def _smooth_width(on_lines: LogDensity, low: FloatArray, high: FloatArray) -> float:
    """Return half the smallest panel's width, or 0 if a panel that wide across two neighbours' end fails the test."""
    touching, width = high[:-1] == low[1:], high - low
    ends, half = high[:-1][touching], 0.25 * np.minimum(width[:-1], width[1:])[touching]
    if ends.size == 0:
        return 0.5 * float(width.min())
    whole = _evaluate(on_lines, ends - half, ends + half)
    left, right = _evaluate(on_lines, ends - half, ends), _evaluate(on_lines, ends, ends + half)
    passed = _resolved(whole, left, right, 1e3 * _TOLERANCE).all()
    return 0.5 * float(width.min()) if passed else 0.0


def _evaluate(on_lines: LogDensity, low: FloatArray, high: FloatArray) -> FloatArray:
    """Return values (panels, 16, lines), log 0 replaced."""
    values = on_lines(panel_nodes(low, high).ravel())
    return np.maximum(values, _EMPTY).reshape(low.size, ORDER, -1)


def _resolved(
    whole: FloatArray, left: FloatArray, right: FloatArray, tolerance: float = _TOLERANCE
) -> NDArray[np.bool_]:
    """Say of every panel whether its rule and that of its halves agree, relative to its heaviest line."""
    one, two, three = (log_sum_exp(np.swapaxes(v + LOG_GAUSS[:, None], 1, 2)) for v in (whole, left, right))
    halves = np.logaddexp(two, three) - np.log(2.0)
    heaviest = np.maximum(one, halves).max(axis=1, keepdims=True)
    difference = np.abs(np.exp(one - heaviest) - np.exp(halves - heaviest)).max(axis=1)
    return np.asarray(difference <= tolerance)


def _room(values: FloatArray, y: FloatArray) -> FloatArray:
    """Return a bound of each panel: every node's value, carried to the next node by the slope that led to it.

    Shapes: values (m, n, lines), y (m, n + 2) with the panel's ends.
    """
    gaps = np.diff(y, axis=1)[..., None]
    rises = np.diff(values, axis=1) / gaps[:, 1:-1]
    hidden = values[:, 1:] + np.maximum(rises, 0.0) * gaps[:, 2:]
    return np.asarray(np.maximum(values[:, 0].max(axis=1), hidden.max(axis=(1, 2))))

"""Integrals of a function against a kernel on the line, in logarithms: ``log int exp(log_f(y)) k(y; c) dy``."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

from fpsolve._checks import FloatArray
from fpsolve.closed_form._mixture import LOG_2PI, IndexArray, chunks, log_sum_exp
from fpsolve.closed_form._panels import EMPTY, Panels, resolve

_CLUSTERS = 16
_SAMPLE = 48
_WIDEST = 4.0  # widths s of a panel near the centres: 16 nodes resolve the kernel to rounding
_EPS = float(np.finfo(np.float64).eps)

LogFunction = Callable[[FloatArray], FloatArray]  # (n,) -> (n,)
LogKernel = Callable[[FloatArray], FloatArray]  # log k as a function of (y - c)/s
Factors = Callable[[FloatArray], FloatArray]  # (n,) -> (factors, n)


def log_normal(z: FloatArray) -> FloatArray:
    """Return the log of the standard normal density."""
    return np.asarray(-0.5 * z**2 - 0.5 * LOG_2PI)


def log_lower(z: FloatArray) -> FloatArray:
    """Return ``log P(Z >= z)``: as a function of (y - c)/s, the log CDF at c of a normal law about y."""
    return np.asarray(log_ndtr(-z))


def log_upper(z: FloatArray) -> FloatArray:
    """Return ``log P(Z <= z)``: the log survival function at c of a normal law about y."""
    return np.asarray(log_ndtr(z))


@dataclass(frozen=True, eq=False)
class LineIntegral:
    """The integrals ``int exp(log_f(y)) k((y - c)/s) dy`` at many centres c.

    Parameters
    ----------
    log_f : callable
        (n,) -> (n,), -inf for 0.
    edges : ndarray
        Kinks of log_f and landmarks of its peaks.
    width : float
        s > 0.
    rtol : float
        Two panel sets, the second with every panel halved, have to agree to this on the log of the integral, up
        to the rounding of the exponents, at up to 48 of every group of centres.
    log_kernel : callable
        Default: the standard normal density.
    """

    log_f: LogFunction
    edges: FloatArray
    width: float
    rtol: float
    log_kernel: LogKernel = log_normal

    def __call__(self, centres: FloatArray) -> FloatArray:
        """Return the logarithms of the integrals at `centres` (n,), shape (n,)."""
        return self.with_factors(centres, None)[0]

    def with_factors(self, centres: FloatArray, factors: Factors | None) -> tuple[FloatArray, FloatArray]:
        """Return log integrals (n,), and the averages (m, n) of m signed functions of y under each integrand."""
        out, averages = np.empty(centres.size), None
        for index, clusters in grouped(centres, self.width):
            value, average = self._group(centres[index], clusters, factors)
            averages = np.empty((len(average), centres.size)) if averages is None else averages
            out[index], averages[:, index] = value, average
        return out, np.empty((0, centres.size)) if averages is None else averages

    def _group(
        self, centres: FloatArray, clusters: FloatArray, factors: Factors | None
    ) -> tuple[FloatArray, FloatArray]:
        """Integrate on panels that a sample of the centres finds to agree with their halves."""
        panels = self._panels(clusters)
        sample = centres[np.unique(np.linspace(0, centres.size - 1, _SAMPLE).round().astype(np.int64))]
        before, difference = self._sums(panels, sample, None)[0], np.inf
        for _ in range(3):
            finer = panels.halved()
            after, _none, size = self._sums(finer, sample, None)
            difference = float((np.abs(after - before) - 16.0 * _EPS * size).max())
            if difference <= self.rtol:
                return self._sums(panels, centres, factors)[:2]
            panels, before = finer, after
        raise not_reached(self.rtol, difference)

    def _panels(self, clusters: FloatArray) -> Panels:
        probes = np.unique(clusters)

        def columns(y: FloatArray) -> tuple[FloatArray, FloatArray]:
            z, log_f = (y[:, None] - probes) / self.width, self.log_f(y)
            return np.maximum(log_f, EMPTY)[:, None] + self.log_kernel(z), self._size(log_f[:, None], y[:, None], z)

        edges = np.concatenate([self.edges, kernel_edges(clusters, self.width)])
        panels = resolve(columns, edges, 0.1 * self.rtol)
        return narrowed(panels, clusters, self.width)

    def _size(self, log_f: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        """Return what rounding errors of an exponent are relative to: log f, and the kernel's slope times y."""
        return np.asarray(np.abs(log_f) + np.abs(z * (y / self.width)))

    def _sums(
        self, panels: Panels, centres: FloatArray, factors: Factors | None
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return log integrals, averages of the factors, and the size of the terms of the largest exponent."""
        y = panels.nodes
        log_f = np.maximum(self.log_f(y), EMPTY) + panels.log_weights
        values = np.empty((0, y.size)) if factors is None else factors(y)
        out, averages = np.empty(centres.size), np.empty((len(values), centres.size))
        size = np.empty(centres.size)
        for rows in chunks(centres.size, y.size):
            z = (y - centres[rows, None]) / self.width
            terms = log_f + self.log_kernel(z)
            out[rows] = log_sum_exp(terms)
            top = terms.argmax(axis=1)
            size[rows] = np.abs(out[rows]) + self._size(log_f[top], y[top], z[np.arange(top.size), top])
            averages[:, rows] = values @ np.exp(terms - out[rows, None]).T
        return out, averages, size


def grouped(centres: FloatArray, width: float) -> Iterator[tuple[IndexArray, FloatArray]]:
    """Yield groups of centres that share panels: their indices and the clusters (m, 2) that hold them.

    A cluster is an interval no longer than 4 widths, so that what the kernel shows from its ends is all there
    is to see from inside; a group is at most 16 clusters, adjacent or far apart.
    """
    order = np.argsort(centres, kind="stable")
    ordered, start = centres[order], 0
    while start < order.size:
        clusters: list[tuple[float, float]] = []
        first = start
        while start < order.size and len(clusters) < _CLUSTERS:
            stop = int(np.searchsorted(ordered, ordered[start] + 4.0 * width, side="right"))
            clusters.append((float(ordered[start]), float(ordered[stop - 1])))
            start = stop
        yield order[first:start], np.array(clusters)


def kernel_edges(clusters: FloatArray, width: float) -> FloatArray:
    """Return landmarks of a kernel of width s with centres in the intervals `clusters` (m, 2)."""
    reach = width * np.array([0.0, 1.0, 3.0, 8.0])
    return np.concatenate([(clusters[:, :1] - reach).ravel(), (clusters[:, 1:] + reach).ravel()])


def narrowed(panels: Panels, clusters: FloatArray, width: float) -> Panels:
    """Return panels that resolve the kernel for every centre in the intervals, not for their ends alone."""
    reach = 10.0 * width
    panels = panels.cut(np.concatenate([clusters[:, 0] - reach, clusters[:, 1] + reach]))
    middle = 0.5 * (panels.low + panels.high)
    near = ((middle[:, None] > clusters[:, 0] - reach) & (middle[:, None] < clusters[:, 1] + reach)).any(axis=1)
    return panels.no_wider_than(np.where(near, _WIDEST * width, panels.high - panels.low))


def not_reached(rtol: float, difference: float) -> ValueError:
    """Return the error for a quadrature whose last two levels still differ."""
    return ValueError(
        f"rtol: expected two quadrature levels to agree to {rtol:.1e}, got a relative difference of "
        f"{difference:.1e}; give a larger rtol."
    )

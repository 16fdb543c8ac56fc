"""Integrals of a function against a kernel on the line, in logarithms: ``log int exp(log_f(y)) k(y; c) dy``."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import log_ndtr

from fpsolve._checks import FloatArray
from fpsolve.closed_form._mixture import EMPTY, LOG_2PI, IndexArray, Panels, chunks, resolve
from fpsolve.laws import log_sum_exp

_CLUSTERS = 16
_SAMPLE = 48
_ALONE = 4  # centres of a group that are also integrated each by itself
_PROBES = 5  # centres of a cluster that decide on its panels
_CLUSTER = 4.0  # widths s: the longest cluster
_FINER = 8.0  # clusters whose panels do not serve all of their centres are cut into so many
_SHORTEST = _CLUSTER / _FINER**3
_WIDEST = 4.0  # widths s of a panel near the centres: 16 nodes resolve the kernel to rounding
_FAR = 0.1  # peaks far out are looked for on a sequence that grows by as many decades a step
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
    reach : float
        f may rise up to so many widths s from the edges, as 1/p_T does, and ``exp(log_f) k`` have peaks far from edges
        and centres; 0 where it does not.
    """

    log_f: LogFunction
    edges: FloatArray
    width: float
    rtol: float
    log_kernel: LogKernel = log_normal
    reach: float = 0.0

    def __call__(self, centres: FloatArray) -> FloatArray:
        """Return the logarithms of the integrals at `centres` (n,), shape (n,)."""
        return self.with_factors(centres, None)[0]

    def with_factors(self, centres: FloatArray, factors: Factors | None) -> tuple[FloatArray, FloatArray]:
        """Return log integrals (n,), and the averages (m, n) of m signed functions of y under each integrand."""
        return self._run(centres, _CLUSTER, factors)

    def _run(self, centres: FloatArray, longest: float, factors: Factors | None) -> tuple[FloatArray, FloatArray]:
        """Integrate group by group; `longest` is that of the clusters, in widths."""
        out, averages = np.empty(centres.size), None
        for index, clusters in grouped(centres, longest * self.width):
            value, average = self._group(centres[index], clusters, longest, factors)
            averages = np.empty((len(average), centres.size)) if averages is None else averages
            out[index], averages[:, index] = value, average
        return out, np.empty((0, centres.size)) if averages is None else averages

    def _group(
        self, centres: FloatArray, clusters: FloatArray, longest: float, factors: Factors | None
    ) -> tuple[FloatArray, FloatArray]:
        """Integrate on panels that a sample of the centres finds to agree with their halves.

        Where f falls slowly and 1/p_T rises, a peak moves many times as far as its centre: panels that resolve it for
        the ends of a cluster may miss it in between, and the cluster has to be cut.
        """
        panels = self._panels(clusters)
        sample = centres[np.unique(np.linspace(0, centres.size - 1, _SAMPLE).round().astype(np.int64))]
        before, difference = self._sums(panels, sample, None)[0], np.inf
        for _ in range(3):
            finer = panels.halved()
            after, _none, size = self._sums(finer, sample, None)
            difference = float((np.abs(after - before) - 16.0 * _EPS * size).max())
            if difference <= self.rtol and self._agrees_alone(panels, centres):
                return self._sums(panels, centres, factors)[:2]
            panels, before = finer, after
        if longest > _SHORTEST:
            return self._run(centres, longest / _FINER, factors)
        raise not_reached(self.rtol, difference)

    def _panels(self, clusters: FloatArray) -> Panels:
        probes = np.unique(clusters[:, :1] + np.ptp(clusters, axis=1)[:, None] * np.linspace(0.0, 1.0, _PROBES))

        def columns(y: FloatArray) -> tuple[FloatArray, FloatArray]:
            z, log_f = (y[:, None] - probes) / self.width, self.log_f(y)
            return np.maximum(log_f, EMPTY)[:, None] + self.log_kernel(z), self._size(log_f[:, None], y[:, None], z)

        edges = np.concatenate([self.edges, kernel_edges(clusters, self.width), self._peaks_far_out(probes)])
        panels = resolve(columns, edges, 0.1 * self.rtol)
        return narrowed(panels, clusters, self.width)

    def _agrees_alone(self, panels: Panels, centres: FloatArray) -> bool:
        """Say whether panels find what centres between the probes see on panels of their own.

        Halving panels cannot show a peak that none of them holds. Without a rising f peaks lie where the edges are.
        """
        if self.reach == 0.0:
            return True
        between = np.unique(centres[(centres.size * (2 * np.arange(_ALONE) + 1)) // (2 * _ALONE)])
        together, _none, size = self._sums(panels, between, None)
        alone = [self._sums(self._panels(np.array([[c, c]])), np.array([c]), None)[0][0] for c in between]
        return bool((np.abs(together - alone) <= 10.0 * self.rtol + 32.0 * _EPS * size).all())

    def _peaks_far_out(self, probes: FloatArray) -> FloatArray:
        """Return local maxima of the integrands on a geometric sequence outwards, with their neighbours."""
        if self.reach == 0.0:
            return np.empty(0)
        y, log_f = self._far
        return around_peaks(y, log_f[:, None] + self.log_kernel((y[:, None] - probes) / self.width))

    @cached_property
    def _far(self) -> tuple[FloatArray, FloatArray]:
        """Places far out on both sides, and log f there."""
        y = outwards(self.edges, self.width, self.reach)
        # a log density may overflow so far out: to -inf, which is right
        with np.errstate(over="ignore"):
            return y, np.maximum(self.log_f(y), EMPTY)

    def _size(self, log_f: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        """Return what rounding errors of exponents are relative to: log f, and the kernel's slope times y."""
        return np.asarray(np.abs(log_f) + np.abs(z * (y / self.width)))

    def _sums(
        self, panels: Panels, centres: FloatArray, factors: Factors | None
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return log integrals, averages of the factors, and the mean size of the terms of the exponents.

        The mean is that under the integrand: a faint peak far out, where exponents are large, counts by its share.
        """
        y = panels.nodes
        log_f = np.maximum(self.log_f(y), EMPTY) + panels.log_weights
        values = np.empty((0, y.size)) if factors is None else factors(y)
        out, averages = np.empty(centres.size), np.empty((len(values), centres.size))
        size = np.empty(centres.size)
        for rows in chunks(centres.size, y.size):
            z = (y - centres[rows, None]) / self.width
            terms = log_f + self.log_kernel(z)
            out[rows] = log_sum_exp(terms)
            shares = np.exp(terms - out[rows, None])
            size[rows] = np.abs(out[rows]) + (shares * self._size(log_f, y, z)).sum(axis=1)
            averages[:, rows] = values @ shares.T
        return out, averages, size


def grouped(centres: FloatArray, longest: float) -> Iterator[tuple[IndexArray, FloatArray]]:
    """Yield groups of centres that share panels: their indices and the clusters (m, 2) that hold them.

    A cluster is an interval no longer than `longest`, so that what the kernel shows from its ends is all there
    is to see from inside; a group is at most 16 clusters, adjacent or far apart.
    """
    order = np.argsort(centres, kind="stable")
    ordered, start = centres[order], 0
    while start < order.size:
        clusters: list[tuple[float, float]] = []
        first = start
        while start < order.size and len(clusters) < _CLUSTERS:
            stop = int(np.searchsorted(ordered, ordered[start] + longest, side="right"))
            clusters.append((float(ordered[start]), float(ordered[stop - 1])))
            start = stop
        yield order[first:start], np.array(clusters)


def kernel_edges(clusters: FloatArray, width: float) -> FloatArray:
    """Return landmarks of a kernel of width s with centres in the intervals `clusters` (m, 2)."""
    reach = width * np.array([0.0, 1.0, 3.0, 8.0])
    return np.concatenate([(clusters[:, :1] - reach).ravel(), (clusters[:, 1:] + reach).ravel()])


def outwards(edges: FloatArray, width: float, reach: float) -> FloatArray:
    """Return places from one width s to `reach` of them from the middle of the edges, on both sides, increasing."""
    away = 10.0 ** np.arange(0.0, np.log10(reach), _FAR)
    return np.asarray(0.5 * (edges.min() + edges.max()) + width * np.concatenate([-away[::-1], away]))


def around_peaks(y: FloatArray, values: FloatArray) -> FloatArray:
    """Return those of the places y (n,) where a column of values (n, m) has a local maximum, and their neighbours."""
    peaks = np.flatnonzero(((values[1:-1] > values[:-2]) & (values[1:-1] >= values[2:])).any(axis=1)) + 1
    return np.asarray(y[np.unique(peaks[:, None] + np.array([-1, 0, 1]))])


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

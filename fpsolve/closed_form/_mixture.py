"""Normal mixtures under a linear flow as bare arrays, where laws have structure, and composite quadrature on panels.

Adaptive panels for integrals of ``exp(log f)``: each is halved until 16 Gauss nodes resolve what lies in it. Everything
is in logarithms and serves many integrands at once (columns): the panels must resolve all of them, each relative to its
own integral. Edges handed in stay edges, so kinks and jumps put there cost nothing. For integrals of an absolute value
each panel is split at the roots of its interpolant.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from fpsolve._checks import FloatArray
from fpsolve.laws import Laplace, Law, StudentT, Uniform, log_sum_exp

BoolArray: TypeAlias = NDArray[np.bool_]
IndexArray: TypeAlias = NDArray[np.intp]

LOG_2PI = float(np.log(2.0 * np.pi))
_CHUNK = 2**20  # doubles per temporary array: 8 MB
_SAFE = 1e-280  # sums of products above this have lost nothing to underflow


@dataclass(frozen=True, eq=False)
class Mixture:
    """The law ``sum_k w_k N(m_k, C_k)``.

    Parameters
    ----------
    log_weights : ndarray of shape (K,)
    means : ndarray of shape (K, d)
    covs : ndarray of shape (K, d, d)
    """

    log_weights: FloatArray
    means: FloatArray
    covs: FloatArray

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return int(self.means.shape[1])

    @property
    def mean(self) -> FloatArray:
        """Mean, shape (d,)."""
        return np.exp(self.log_weights) @ self.means

    def noised(self, scale: float, variance: float) -> "Mixture":
        """Return the law of ``scale X + sqrt(variance) Z``."""
        covs = scale**2 * self.covs + variance * np.eye(self.dim)
        return Mixture(self.log_weights, scale * self.means, covs)

    def log_at(self, x: FloatArray) -> FloatArray:
        """Return the log density at points ``(n,)`` or ``(n, 2)``, shape ``(n,)``."""
        flat = x.reshape(-1, self.dim)
        out = np.empty(len(flat))
        for rows in chunks(len(flat), len(self.log_weights)):
            out[rows] = log_sum_exp(self.log_terms(flat[rows]))
        return out

    def log_on_axes(self, *axes: FloatArray) -> FloatArray:
        """Return the log density on the tensor grid of `axes`, shape ``(nx,)`` or ``(nx, ny)``."""
        if self.dim == 1:
            return self.log_at(axes[0])
        if np.any(self.covs[:, 0, 1]):
            return self.log_at(tensor(*axes)).reshape(axes[0].size, axes[1].size)
        return self._log_of_products(*axes)

    def log_tail(self, x: FloatArray, upper: bool) -> FloatArray:
        """Return ``log P(X <= x)`` in 1D, or ``log P(X > x)`` where `upper`."""
        sign = -1.0 if upper else 1.0
        z = sign * (x[:, None] - self.means[:, 0]) / np.sqrt(self.covs[:, 0, 0])
        return log_sum_exp(self.log_weights + log_ndtr(z))

    def log_terms(self, flat: FloatArray) -> FloatArray:
        """Return ``log w_k N(x; m_k, C_k)`` of shape (n, K), along the principal axes of each component."""
        offsets = [flat[:, j, None] - self.means[:, j] for j in range(self.dim)]
        log_terms = np.tile(self._log_peaks, (len(flat), 1))
        for i in range(self.dim):
            along = sum(offset * self._halved_axes[:, j, i] for j, offset in enumerate(offsets))
            log_terms -= np.square(along)
        return log_terms

    def _log_of_products(self, first: FloatArray, second: FloatArray) -> FloatArray:
        """Return the log density on axes for diagonal covariances: one matrix product per chunk of rows.

        Rows and columns are scaled by their largest term. Where even so the sum comes near underflow (the
        components nearest in x and in y differ, far out), it is taken again by log-sum-exp.
        """
        log_b = self._log_axis(1, second)
        shift_b = log_b.max(axis=1)
        factor_b = np.exp(log_b - shift_b[:, None]).T
        out = np.empty((first.size, second.size))
        for rows in chunks(first.size, second.size + len(self.log_weights)):
            log_a = self._log_axis(0, first[rows]) + self.log_weights
            shift_a = log_a.max(axis=1)
            sums = np.exp(log_a - shift_a[:, None]) @ factor_b
            lost = sums < _SAFE
            block: FloatArray = np.log(np.where(lost, 1.0, sums)) + shift_a[:, None] + shift_b
            if lost.any():
                i, j = np.nonzero(lost)
                block[lost] = self.log_at(np.stack([first[rows][i], second[j]], axis=-1))
            out[rows] = block
        return out

    def _log_axis(self, axis: int, x: FloatArray) -> FloatArray:
        variances = self.covs[:, axis, axis]
        squares = (x[:, None] - self.means[:, axis]) ** 2 / variances
        return np.asarray(-0.5 * (squares + np.log(variances) + LOG_2PI))

    @cached_property
    def _principal(self) -> tuple[FloatArray, FloatArray]:
        values, vectors = np.linalg.eigh(self.covs)
        return values, vectors

    @cached_property
    def _halved_axes(self) -> FloatArray:
        """Principal axes over sqrt(2) standard deviations, (K, d, d)."""
        values, vectors = self._principal
        return np.asarray(vectors / np.sqrt(2.0 * values[:, None, :]))

    @cached_property
    def _log_peaks(self) -> FloatArray:
        log_volumes = np.log(self._principal[0]).sum(axis=1)
        return np.asarray(self.log_weights - 0.5 * (self.dim * LOG_2PI + log_volumes))


def as_mixture(law: Any) -> Mixture | None:
    """Return the arrays of a law that exposes itself as a normal mixture, None for any other."""
    names = ("log_weights", "component_means", "component_covs")
    arrays = [getattr(law, name, None) for name in names]
    if any(array is None for array in arrays):
        return None
    return Mixture(*(np.asarray(array, dtype=np.float64) for array in arrays))


def tensor(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the points of a 2D tensor grid, shape (n1 n2, 2), the second axis fastest."""
    return np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1).reshape(-1, 2)


def chunks(n: int, width: int) -> Iterator[slice]:
    """Yield slices of `n` rows of `width` doubles, a few megabytes each."""
    step = max(1, _CHUNK // max(1, width))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


_OFFSETS = np.array([-12.0, -4.0, -1.5, 0.0, 1.5, 4.0, 12.0])  # in standard deviations


def landmarks(law: Law, axis: int) -> FloatArray:
    """Return edges for the panels of integrals against `law` along `axis`, increasing.

    Every peak has a few of them within its width, every kink and jump is one of them.
    """
    mixture = as_mixture(law)
    if mixture is not None:
        return around(mixture.means[:, axis], np.sqrt(mixture.covs[:, axis, axis]))
    if isinstance(law, Uniform):
        ends = np.array([np.atleast_1d(law.low)[axis], np.atleast_1d(law.high)[axis]])
        return np.concatenate([ends, [0.5 * ends.sum(), 2.0 * ends[0] - ends[1], 2.0 * ends[1] - ends[0]]])
    if isinstance(law, Laplace | StudentT):
        scales = np.broadcast_to(law.scale, (law.dim,))
        return around(np.atleast_1d(law.mean)[[axis]], scales[[axis]])
    panels = getattr(law, "panels", None)
    if panels is not None:
        return np.union1d(panels[axis].low, panels[axis].high)
    # edges for a law of which only the moments are known; they may be infinite or missing
    centre = float(np.atleast_1d(law.mean)[axis])
    variance = float(np.atleast_2d(law.cov)[axis, axis])
    widths = [np.sqrt(variance)] if np.isfinite(variance) and variance > 0.0 else [1.0]
    if law.smallest_std > 0.0:
        widths.append(law.smallest_std)
    return np.concatenate([around(np.array([centre]), np.array([width])) for width in widths])


def around(centres: FloatArray, widths: FloatArray) -> FloatArray:
    """Return edges at, and some widths off, every centre; near duplicates are thinned out."""
    widths = np.broadcast_to(widths, centres.shape)
    edges = np.unique(centres[:, None] + widths[:, None] * _OFFSETS)
    kept = np.round(edges / (0.5 * widths.min()))
    return edges[np.unique(kept, return_index=True)[1]]


ORDER = 16
NODES, WEIGHTS = np.polynomial.legendre.leggauss(ORDER)
LOG_WEIGHTS = np.log(WEIGHTS)
_ENDS = np.array([-1.0 + 2e-9, 1.0 - 2e-9])  # just inside, on this side of jumps
_STEEP = 5.0  # nats from a panel's outermost node to its end
EMPTY = -1e100  # stands in for log 0, so that differences stay finite
NEGLIGIBLE = 75.0  # nats below the integral: exp(-75) = 3e-33
_FARTHEST = 1e30
_STRIDE = 2  # panels tried at a time when growing outward
_MOST = 4000
_EPS = float(np.finfo(np.float64).eps)

# nodes (n,) -> log integrands (n, columns) and, (n, 1) or (n, columns), the size of the terms they are sums of
LogColumns = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True, eq=False)
class Panels:
    """Disjoint intervals with 16 Gauss-Legendre nodes each.

    Parameters
    ----------
    low, high : ndarray of shape (p,)
        Their ends, increasing.
    """

    low: FloatArray
    high: FloatArray

    @property
    def nodes(self) -> FloatArray:
        """Nodes, shape (16 p,), increasing."""
        middle, half = 0.5 * (self.low + self.high), 0.5 * (self.high - self.low)
        return (middle[:, None] + half[:, None] * NODES).ravel()

    @property
    def log_weights(self) -> FloatArray:
        """Logarithms of the weights, shape (16 p,)."""
        return (np.log(0.5 * (self.high - self.low))[:, None] + LOG_WEIGHTS).ravel()

    def halved(self) -> "Panels":
        """Return every panel cut in two."""
        return self.no_wider_than(0.75 * (self.high - self.low))

    def cut(self, places: FloatArray) -> "Panels":
        """Return panels none of which has one of `places` inside."""
        ends = np.unique(np.concatenate([self.low, self.high, places]))
        low, high = ends[:-1], ends[1:]
        owner = np.searchsorted(self.low, low, side="right") - 1
        inside = (owner >= 0) & (high <= self.high[owner])
        return Panels(low[inside], high[inside])

    def no_wider_than(self, width: FloatArray | float) -> "Panels":
        """Return panels cut into equal parts no wider than `width`, a number or one per panel."""
        parts = np.ceil((self.high - self.low) / width).astype(np.int64)
        owner = np.repeat(np.arange(parts.size), parts)
        part = np.arange(owner.size) - np.repeat(np.cumsum(parts) - parts, parts)
        low, step = self.low[owner], ((self.high - self.low) / parts)[owner]
        last = part == parts[owner] - 1
        low, high = low + part * step, np.where(last, self.high[owner], low + (part + 1) * step)
        wide = high > low  # a part of what is a rounding error wide may be none
        return Panels(low[wide], high[wide])


def resolve(
    log_f: LogColumns,
    edges: FloatArray,
    tolerance: float,
    alive: Callable[[FloatArray], BoolArray] | None = None,
    negligible: float = NEGLIGIBLE,
) -> Panels:
    """Return panels that resolve the integrals of ``exp(log_f)`` over the real line.

    The panels start between `edges`, are continued outward until nothing is left, and are halved where the
    16-node rule and that of the halves differ by more than `tolerance` of the column's integral.

    Parameters
    ----------
    log_f : callable
        Nodes ``(n,)`` to logarithms of the integrands ``(n, columns)``, ``EMPTY`` or -inf for 0, and the size
        ``(n, 1)`` or ``(n, columns)`` of the terms they are sums of, whose rounding no halving can resolve.
    edges : ndarray
        Where to begin: kinks, and enough points near every peak for it to be seen.
    tolerance : float
        Relative to each column's integral.
    alive : callable, optional
        From the log integrals ``(columns,)`` to booleans: which columns matter.
    negligible : float
        Panels this many nats below the integral are left out.

    Raises
    ------
    ValueError
        If more than 4000 panels are needed, or an integral does not converge.
    """
    edges = np.unique(edges)
    # of edges that rounding alone separates one: panels need a width
    edges = edges[np.concatenate([[True], np.diff(edges) > 4.0 * _EPS * np.abs(edges).max()])]
    low, high, whole = _grown(log_f, edges, alive or _all, negligible)
    done: list[FloatArray] = []
    accepted = np.full((1, whole.shape[1]), EMPTY)
    while low.size:
        middle = 0.5 * (low + high)
        left, right = _masses(log_f, low, middle), _masses(log_f, middle, high)
        halves = np.logaddexp(left.log_mass, right.log_mass)
        total = log_sum_exp(np.concatenate([accepted, halves]).T)
        columns = (alive or _all)(total)
        relative = np.exp(np.minimum(whole, total + 700.0) - total), np.exp(halves - total)
        noise = 8.0 * _EPS * np.maximum(left.size, right.size) * relative[1]
        error = np.abs(relative[0] - relative[1]) - noise
        at_ends = np.maximum(left.hidden, right.hidden)
        most = np.maximum(np.maximum(halves, whole), at_ends)
        empty = ((most < total - negligible) | ~columns).all(axis=1)
        fine = (((error <= tolerance) & (at_ends <= total + np.log(tolerance))) | ~columns).all(axis=1)
        narrow = (high - low) <= 1e-14 * np.maximum(np.abs(low), np.abs(high))
        keep, again = ~empty & (fine | narrow), ~empty & ~fine & ~narrow
        done.append(np.stack([low[keep], high[keep]]))
        accepted = np.concatenate([accepted, halves[keep]])
        whole = np.concatenate([left.log_mass[again], right.log_mass[again]])
        low, middle, high = low[again], middle[again], high[again]
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
        count = sum(part.shape[1] for part in done) + low.size
        if count > _MOST:
            raise ValueError(
                f"rtol: expected a density that {_MOST} panels resolve to {tolerance:.1e}, got more; "
                "give a larger rtol, or a law whose log density is smooth to rounding."
            )
    ends = np.concatenate(done, axis=1)
    order = np.argsort(ends[0])
    return Panels(ends[0, order], ends[1, order])


def _grown(
    log_f: LogColumns, edges: FloatArray, alive: Callable[[FloatArray], BoolArray], negligible: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return panels between `edges` and beyond, until two in a row hold nothing, with their log masses.

    Beyond the outermost edge the integrands are taken to have one maximum at most: panels double in width.
    """
    low, high = edges[:-1], edges[1:]
    whole = _masses(log_f, low, high).log_mass
    for side in (-1.0, 1.0):
        end, width = (low.min(), high.max())[side > 0.0], 0.1 * (high.max() - low.min())
        growing = True
        while growing:
            ends = np.sort(end + side * width * (2.0 ** np.arange(_STRIDE + 1) - 1.0))
            masses = _masses(log_f, ends[:-1], ends[1:]).log_mass
            low, high = np.append(low, ends[:-1]), np.append(high, ends[1:])
            whole = np.concatenate([whole, masses])
            total = log_sum_exp(whole.T)
            outermost = masses[:2] if side < 0.0 else masses[-2:]
            growing = bool(np.any((outermost >= total - negligible) & alive(total)))
            end, width = (ends[0], ends[-1])[side > 0.0], 2.0**_STRIDE * width
            if width > _FARTHEST:
                raise ValueError("weight: expected a finite integral, got one that grows outward; use a smaller V.")
    return low, high, whole


@dataclass(frozen=True, eq=False)
class Masses:
    """What panels hold, (panels, columns).

    Parameters
    ----------
    log_mass : ndarray
        By the 16-node rule.
    size : ndarray
        Size of the terms of the logarithms.
    hidden : ndarray
        Log of what may lie between the outermost nodes and the ends: the width times the value there where it is far
        above that at every node, ``EMPTY`` elsewhere.
    """

    log_mass: FloatArray
    size: FloatArray
    hidden: FloatArray


def _masses(log_f: LogColumns, low: FloatArray, high: FloatArray) -> Masses:
    half, rule = 0.5 * (high - low), np.concatenate([NODES, _ENDS])
    found, sizes = log_f((0.5 * (low + high)[:, None] + half[:, None] * rule).ravel())
    found = np.moveaxis(np.maximum(found, EMPTY).reshape(low.size, rule.size, -1), 1, 2)
    values, ends = found[..., :ORDER], found[..., ORDER:].max(axis=-1)
    log_mass = log_sum_exp(values + LOG_WEIGHTS) + np.log(half)[:, None]
    hidden = np.where(ends > values.max(axis=-1) + _STEEP, ends + np.log(2.0 * half)[:, None], EMPTY)
    size = sizes.reshape(low.size, rule.size, -1).min(axis=1) + np.abs(values).min(axis=2)
    return Masses(log_mass, np.minimum(size, -EMPTY), hidden)


def _all(total: FloatArray) -> BoolArray:
    # a column that is 0 everywhere needs no panels
    return np.asarray(total > 0.5 * EMPTY)


_SAMPLES = np.linspace(-1.0, 1.0, 65)
_VANDER = np.polynomial.legendre.legvander
# rows: nodes, columns: Legendre coefficients of the interpolant
_TO_COEFFICIENTS = (_VANDER(NODES, ORDER - 1) * WEIGHTS[:, None]) * (np.arange(ORDER) + 0.5)
_TO_SAMPLES = _TO_COEFFICIENTS @ _VANDER(_SAMPLES, ORDER - 1).T


def absolute_integrals(values: FloatArray) -> FloatArray:
    """Return ``int_{-1}^{1} |g|`` for interpolants g of values at the 16 Gauss nodes.

    Parameters
    ----------
    values : ndarray of shape (p, 16)

    Returns
    -------
    ndarray of shape (p,)
    """
    out = np.abs(values @ WEIGHTS)
    samples = values @ _TO_SAMPLES
    # the samples reach the ends of the panel, the nodes do not: a root may lie between
    changing = np.flatnonzero((samples.min(axis=1) < 0.0) & (samples.max(axis=1) > 0.0))
    if not changing.size:
        return out
    coefficients = values[changing] @ _TO_COEFFICIENTS
    signs = np.where(samples[changing] < 0.0, -1.0, 1.0)
    rows, places = np.nonzero(signs[:, :-1] != signs[:, 1:])
    # one root per change, by bisection
    own, sign, low, high = coefficients[rows], signs[rows, places], _SAMPLES[places], _SAMPLES[places + 1]
    for _ in range(45):
        middle = 0.5 * (low + high)
        left = (_VANDER(middle, ORDER - 1) * own).sum(axis=1) * sign > 0.0
        low, high = np.where(left, middle, low), np.where(left, high, middle)
    roots = 0.5 * (low + high)
    primitive = np.polynomial.legendre.legint(coefficients, lbnd=-1, axis=1)
    at_roots = (_VANDER(roots, ORDER) * primitive[rows]).sum(axis=1)
    # int |g| telescopes: twice the primitive at every root, with the sign of g to its left
    total = signs[:, -1] * primitive.sum(axis=1)
    np.add.at(total, rows, 2.0 * signs[rows, places] * at_roots)
    out[changing] = total
    return out

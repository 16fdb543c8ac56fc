"""Composite quadrature on panels, of functions with sign changes too.

Adaptive panels for integrals of ``exp(log f)``: each is halved until 16 Gauss nodes resolve what lies in it.

Everything is in logarithms and serves many integrands at once (columns): the panels must resolve all of them,
each relative to its own integral. Edges handed in stay edges, so kinks and jumps put there cost nothing.

Integrals of an absolute value from Gauss nodes: each panel is split at the roots of its interpolant.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve.closed_form._mixture import BoolArray, log_sum_exp

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
        _check_count(sum(part.shape[1] for part in done) + low.size, tolerance)
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


def _check_count(count: int, tolerance: float) -> None:
    if count > _MOST:
        raise ValueError(
            f"rtol: expected a density that {_MOST} panels resolve to {tolerance:.1e}, got more; "
            "give a larger rtol, or a law whose log density is smooth to rounding."
        )


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
    roots = _roots(coefficients[rows], _SAMPLES[places], _SAMPLES[places + 1], signs[rows, places])
    primitive = np.polynomial.legendre.legint(coefficients, lbnd=-1, axis=1)
    at_roots = (_VANDER(roots, ORDER) * primitive[rows]).sum(axis=1)
    # int |g| telescopes: twice the primitive at every root, with the sign of g to its left
    total = signs[:, -1] * primitive.sum(axis=1)
    np.add.at(total, rows, 2.0 * signs[rows, places] * at_roots)
    out[changing] = total
    return out


def _roots(coefficients: FloatArray, low: FloatArray, high: FloatArray, sign: FloatArray) -> FloatArray:
    """Return one root per row of Legendre coefficients, by bisection; `sign` is that of g at `low`."""
    for _ in range(45):
        middle = 0.5 * (low + high)
        g = (_VANDER(middle, ORDER - 1) * coefficients).sum(axis=1)
        left = g * sign > 0.0
        low, high = np.where(left, middle, low), np.where(left, high, middle)
    return np.asarray(0.5 * (low + high))

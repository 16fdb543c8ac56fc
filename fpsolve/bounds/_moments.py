"""Moments of a law against a weight over the whole space, and the weighted Pinsker inequalities made of them.

An integral over a box exists whatever the law; whether the one over the line does is decided by how fast the density
falls (`Law.tail`) and how fast the weight grows. What neither says is not known, and is said to be so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, weights
from fpsolve._cells import edge_tail
from fpsolve._messages import Status
from fpsolve.bounds._closed import is_mixture
from fpsolve.bounds._line import LOST, Line, around_share, end_share, resolved
from fpsolve.grid import Grid
from fpsolve.laws import Law, Tail
from fpsolve.weights import ExponentialWeight, PolynomialWeight, UnitWeight, WeightLike

Array = NDArray[np.float64]

#: Log density below which functions are not asked, and how far an integrand has to have fallen there: to 1e-6.
_EMPTY, _FALLEN = -700.0, float(np.log(1e-6))


@dataclass(frozen=True)
class Growth:
    """How a weight grows: ``log V ~ rate |x|^power`` (exponential weights) or ``V ~ rate |x|^power``.

    Attributes
    ----------
    exponential : bool
    power, rate : float
        Both 0 for a bounded weight.
    """

    exponential: bool
    power: float
    rate: float

    @classmethod
    def of(cls, weight: WeightLike) -> Growth | None:
        """Return the growth of a built-in weight; None for a function, which shows no more than some of its values."""
        weight = weights.DEFAULT if weight is None else weight
        if isinstance(weight, UnitWeight):
            return cls(False, 0.0, 0.0)
        if isinstance(weight, PolynomialWeight):
            return cls(False, weight.power, weight.beta) if weight.beta > 0.0 else cls(False, 0.0, 0.0)
        if isinstance(weight, ExponentialWeight):
            return cls(True, 1.0, weight.rate) if weight.rate > 0.0 else cls(False, 0.0, 0.0)
        return None

    @property
    def bounded(self) -> bool:
        """Whether V is bounded, then constant."""
        return self.rate == 0.0


def exponential_is_finite(tail: Tail, power: float, rate: float) -> bool:
    """Whether ``E exp(rate |X|^power)`` is finite; a tail that only just balances the exponent counts as not."""
    return rate == 0.0 or power < tail.power or (power == tail.power and rate < tail.rate)


def second_is_finite(law: Law, growth: Growth) -> bool | None:
    """Whether ``E V(X)^2`` is finite, None where the law does not say how fast it falls."""
    if growth.bounded:
        return True
    tail = law.tail
    if tail is None:
        return None
    if growth.exponential:
        return exponential_is_finite(tail, growth.power, 2.0 * growth.rate)
    return tail.power > 0.0 or tail.rate - law.dim > 2.0 * growth.power


@dataclass(frozen=True)
class Moment:
    """A moment, whether it is one of the whole space, and what was taken for granted.

    Attributes
    ----------
    value : float
        Infinite where it is.
    margin : float
        Not negative where the value may be used.
    unchecked : tuple of str
    """

    value: float
    margin: float = 0.0
    unchecked: tuple[str, ...] = ()


def second_moment(law: Law, weight: WeightLike, grid: Grid) -> Moment:
    """Return ``E V(X)^2``: in closed form, over the whole line, or in 2D over the box with a look around it."""
    growth = Growth.of(weight)
    finite = None if growth is None else second_is_finite(law, growth)
    if finite is False:
        return Moment(np.inf, -1.0)
    if growth is not None and growth.bounded:
        return Moment(float(weights.evaluate(weight, np.zeros(law.dim) if law.dim == 2 else 0.0, law.dim)) ** 2)
    if growth is not None and growth.power == 2.0 and not growth.exponential and is_mixture(law):
        return Moment(_quartic(law, growth.rate))
    what = "a weight given as a function does not say how it grows"
    what = what if growth is None else "the law does not say how it falls"
    unchecked = () if finite else (f"V^2 is integrable far out: {what}",)
    if law.dim == 1:
        line = Line.of(law)
        log_p = law.log_density(line.x)
        terms = log_p + 2.0 * log_weight(weight, line.x, law)
        if growth is None and not _falls(log_p, terms):
            return Moment(np.inf, -1.0, unchecked)
        value = float(np.exp(line.log_integral(terms)))
        return Moment(value, 0.0 if np.isfinite(value) else -1.0, unchecked)
    return _in_the_box(law, weight, grid, unchecked)


def log_weight(weight: WeightLike, x: Array, law: Law) -> Array:
    """``log V`` at points in 1D; a function is only asked where the law has mass."""
    if isinstance(weight, ExponentialWeight):
        return np.asarray(weight.rate * np.abs(x))
    if weight is None or isinstance(weight, PolynomialWeight | UnitWeight):
        return np.log(weights.evaluate(weight, x))
    seen = law.log_density(x) > _EMPTY
    values = np.zeros(x.shape)
    values[seen] = np.log(weights.evaluate(weight, x[seen]))
    return values


def _falls(log_p: Array, terms: Array) -> bool:
    """Whether ``e^terms`` has fallen to 1e-6 of its largest where a law has too little mass for a function to be asked.

    Where the law ends there nothing has to fall.
    """
    seen = np.flatnonzero(log_p > _EMPTY)
    ends = [(k, k + way) for k, way in ((seen[0], -1), (seen[-1], 1)) if 0 <= k + way < log_p.size]
    top = np.max(terms[seen])
    return all(terms[k] <= top + _FALLEN or log_p[beyond] == -np.inf for k, beyond in ends)


def _quartic(law: Law, beta: float) -> float:
    """``E (1 + beta |X|^2)^2`` of a Gaussian mixture, in any dimension."""
    mixture = law.components
    if mixture is None:
        return float("nan")
    m, c = mixture.component_means, mixture.component_covs
    spread, square = np.trace(c, axis1=1, axis2=2), np.sum(m**2, axis=1)
    second = spread + square
    fourth = second**2 + 2.0 * np.einsum("kij,kji->k", c, c) + 4.0 * np.einsum("ki,kij,kj->k", m, c, m)
    return float(np.exp(mixture.log_weights) @ (1.0 + 2.0 * beta * second + beta**2 * fourth))


def _in_the_box(law: Law, weight: WeightLike, grid: Grid, unchecked: tuple[str, ...]) -> Moment:
    def integrand(x: Array) -> Array:
        return np.asarray(law.density(x) * weights.evaluate(weight, x, grid.dim) ** 2)

    values = grid.cell_average(integrand)
    total = float(values.sum() * grid.volume)
    margin = min(end_share(values), around_share(grid, integrand, total), resolved(grid, "the law", law).margin)
    return Moment(total, margin, (*unchecked, "V^2 beyond the boxes beside the grid's"))


def log_exponential_moment(law: Law, weight: WeightLike, factor: float, square: bool) -> float:
    """Return ``log E e^{2 c V}`` or, with `square`, ``log E e^{(c V)^2}`` over the whole space; inf where not finite.

    Infinite, too, where it is not known: for a weight that is a function, a law without a known tail, and in 2D where
    there is no closed form.
    """
    growth, tail = Growth.of(weight), law.tail
    power = 2.0 if square else 1.0
    if growth is None or (tail is None and not growth.bounded):
        return np.inf
    if growth.bounded:
        v = float(weights.evaluate(weight, np.zeros(law.dim) if law.dim == 2 else 0.0, law.dim))
        return (factor * v) ** 2 if square else 2.0 * factor * v
    if tail is None or (growth.exponential and tail.power < np.inf):
        return np.inf
    rate = (factor * growth.rate) ** 2 if square else 2.0 * factor * growth.rate
    if not growth.exponential and not exponential_is_finite(tail, power * growth.power, rate):
        return np.inf
    if not square and growth.power == 2.0 and not growth.exponential and is_mixture(law):
        # ``log E exp(2 c + rate |X|^2)`` of a Gaussian mixture, ``rate < 1/(2 v)`` for every variance v
        mixture = law.components
        if mixture is None:
            return np.inf
        m, c = mixture.component_means, mixture.component_covs
        shrunk = np.eye(law.dim) - 2.0 * rate * c
        # E exp(r |m + Z|^2), Z ~ N(0, C): det(I - 2 r C)^(-1/2) exp(r m.(I - 2 r C)^(-1) m)
        pulled = np.einsum("ki,ki->k", m, np.linalg.solve(shrunk, m[..., None])[..., 0])
        terms = mixture.log_weights - 0.5 * np.linalg.slogdet(shrunk)[1] + rate * pulled
        top = float(np.max(terms))
        return 2.0 * factor + top + float(np.log(np.sum(np.exp(terms - top))))
    if law.dim == 2:
        return np.inf
    line = Line.of(law)
    heights = np.exp(np.minimum(log_weight(weight, line.x, law), 340.0))
    exponent = np.square(factor * heights) if square else 2.0 * factor * heights
    log_p = law.log_density(line.x)
    return line.log_integral(np.where(np.isfinite(log_p), log_p + exponent, -np.inf))


#: Share of a second moment that may lie beyond the box, by extrapolation.
_TAIL = 1e-2
#: Factors on V that are tried in the inequalities of Bolley and Villani.
_FACTORS = np.geomspace(1e-3, 1e2, 101)
_CELLS_SAY_NOTHING = "exponential moments of nu: its cells say nothing of its tail; give the law"


@dataclass(frozen=True)
class WeightedPinsker:
    """Bounds of ``||mu - nu||_V`` from ``KL(mu|nu)``; infinite where a moment is, or where it is not known.

    Attributes
    ----------
    hellinger : float
        ``sqrt(2) (mu(V^2) + nu(V^2))^{1/2} KL^{1/2}``.
    exponential : float
        ``(3/2 + log int e^{2V} dnu)(sqrt(KL) + KL/2)``, V rescaled by the best factor.
    square_exponential : float
        ``sqrt(2) (1 + log int e^{V^2} dnu)^{1/2} sqrt(KL)``, V rescaled by the best factor.
    unchecked : tuple of str
        What was taken for granted, or is not known.
    """

    hellinger: float
    exponential: float
    square_exponential: float
    unchecked: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """Certified, but for what `unchecked` lists; no certificate where all three are infinite."""
        return "certified" if np.isfinite(self.best) else "no certificate"

    @property
    def best(self) -> float:
        """The smallest of the three."""
        return min(self.hellinger, self.exponential, self.square_exponential)


def weighted_pinsker(
    kl: float, mu: Array | Law, nu: Array | Law, grid: Grid, weight: WeightLike = None
) -> WeightedPinsker:
    r"""Return three bounds of the weighted distance of mu and nu from their relative entropy ``KL(mu|nu)``.

    Moments are those of the whole space. A law knows its tail: against Gaussian tails ``int e^{(cV)^2}`` is infinite
    for every c where V grows like ``|x|^2``, and ``int e^{2cV}`` finite only for small c. Cells know nothing beyond
    their box: second moments are then continued from the outermost cells, which is an estimate, and exponential ones
    are infinite unless V is bounded.

    Parameters
    ----------
    kl : float
        Relative entropy, or a bound of it; infinite gives no bound.
    mu, nu : Law, or array of the shape of the grid
        The laws, or cell averages of their densities.
    grid : Grid
    weight : Weight or callable, optional
        V, default ``1 + |x|^2``. How a function grows is not known: with one only `hellinger` is finite.

    Raises
    ------
    ValueError
        A relative entropy below 0, densities of another shape.

    References
    ----------
    Bolley and Villani 2005, doi:10.5802/afst.1095, Theorem 2.1 (the last two).

    Examples
    --------
    >>> import fpsolve as fp
    >>> grid, laws = fp.Grid.uniform((-9, 9), cells=300), (fp.Gaussian(0.0, std=1.0), fp.Gaussian(0.1, std=1.0))
    >>> found = weighted_pinsker(0.005, *laws, grid, fp.UnitWeight())
    >>> round(found.hellinger, 6)  # 2 sqrt(KL); Pinsker's own inequality gives sqrt(2 KL) for V = 1
    0.141421
    >>> weighted_pinsker(0.005, *laws, grid, fp.PolynomialWeight(2, 0.01)).square_exponential
    inf
    """
    _checks.instances(grid=(grid, Grid))
    if not (_checks.real_array("kl", kl).ndim == 0 and kl >= 0.0):
        raise _checks.error("kl", "a relative entropy >= 0", repr(kl))
    sides = [_side(name, one, grid, weight) for name, one in (("mu", mu), ("nu", nu))]
    root = float(np.sqrt(kl))
    unchecked = tuple(note for _, notes in sides for note in notes)
    second = sides[0][0] + sides[1][0]
    first, other = (_rescaled(_log_moment(nu, weight, square), square, kl) for square in (False, True))
    if not isinstance(nu, Law) and not np.isfinite(min(first, other)):
        unchecked = (*unchecked, _CELLS_SAY_NOTHING)
    return WeightedPinsker(float(np.sqrt(2.0 * second)) * root if root else 0.0, first, other, unchecked)


def _side(name: str, one: Array | Law, grid: Grid, weight: WeightLike) -> tuple[float, tuple[str, ...]]:
    """``int V^2`` of a law or of cell averages, and what was taken for granted."""
    if isinstance(one, Law):
        _checks.same_dim(name, one.dim, "grid", grid.dim)
        found = second_moment(one, weight, grid)
        return (found.value if found.margin >= 0.0 else np.inf), found.unchecked
    density = _checks.values_at(name, one, grid.shape)
    growth = Growth.of(weight)
    if growth is not None and growth.bounded:
        return float(weights.evaluate(weight, grid).flat[0]) ** 2, ()
    foretold = float(edge_tail(density, grid.axes, np.ones(grid.shape)))
    if abs(1.0 - float(density.sum() * grid.volume)) > LOST + 2.0 * foretold:
        return np.inf, (f"moments of {name}: mass beyond the box that its cells do not foretell",)
    square = weights.evaluate(weight, grid) ** 2
    inside = float(np.sum(density * square) * grid.volume)
    tail = float(edge_tail(density, grid.axes, square))
    value = inside + tail if tail <= _TAIL * inside else np.inf
    return value, (f"second moment of {name}: from its cells, continued beyond the box",)


def _log_moment(nu: Array | Law, weight: WeightLike, square: bool) -> Callable[[float], float]:
    """``c -> log int e^{2 c V} dnu``, or with `square` ``log int e^{(c V)^2} dnu``."""
    if isinstance(nu, Law):
        return lambda factor: log_exponential_moment(nu, weight, factor, square)
    growth = Growth.of(weight)
    if growth is None or not growth.bounded:
        return lambda factor: np.inf
    return lambda factor: factor**2 if square else 2.0 * factor


def _rescaled(log_moment: Callable[[float], float], square: bool, kl: float) -> float:
    """The inequality with the best of the factors: the distance is homogeneous in V, so each gives a bound."""
    root = float(np.sqrt(kl))
    best = np.inf
    for c in _FACTORS:
        moment = log_moment(float(c))
        if not np.isfinite(moment):
            # moments grow with the factor
            break
        found = np.sqrt(2.0 * (1.0 + moment)) * root / c if square else (1.5 + moment) * (root + 0.5 * kl) / c
        best = min(best, float(found))
    return best

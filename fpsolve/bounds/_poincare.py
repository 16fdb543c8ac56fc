"""Poincare constants on the line, enclosed up to a factor of nine by Muckenhoupt's criterion, and the chi-square
distances that contract at the rate they set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve._messages import Status
from fpsolve.bounds import _closed
from fpsolve.bounds._closed import is_mixture, spectral_gap_constant
from fpsolve.bounds._line import END_SHARE, ENDS, TOP, Line, around_share, end_share, exp_or_inf, held
from fpsolve.bounds._moments import second_moment
from fpsolve.bounds._record import Hypothesis, Record, block, failure, yes
from fpsolve.dynamics import Reverse
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.weights import WeightLike

Array = NDArray[np.float64]

#: Nats between neighbouring points at most, points between two nodes at most, the depth below the peak, and the widths
#: of a component of a mixture that are kept whatever their depth.
_NATS, _BETWEEN, _DEPTH, _WIDTHS = 0.1, 1000, 690.0, 37.0


@dataclass(frozen=True)
class Bracket:
    """``lower <= C <= upper`` for the constant C; both infinite where tails are too heavy.

    `known` says whether the law is known in closed form: a function is seen at points only, and what lies between them
    or further out than they do may make the constant larger.
    """

    lower: float
    upper: float
    known: bool = True

    @property
    def status(self) -> Status:
        """Certified, by quadrature in floating point; estimated for a law that is a function."""
        return "no certificate" if not np.isfinite(self.upper) else "certified" if self.known else "estimated"


#: What a bracket of a law that is a function does not check.
BETWEEN = "the log density of the target between and beyond the points at which it was looked at"


def is_known(law: Law) -> bool:
    """Whether the density of a law is a closed form, tails included."""
    return law.tail is not None and law.tail.known


def poincare_bracket(law: Law) -> Bracket:
    r"""Return a lower and an upper bound of the Poincare constant of a law on the line.

    With m the median and

    .. math:: B = \sup_{x > m} \int_x^\infty p \int_m^x \frac1p \quad \text{(or the same to the left, if larger)},
              \qquad \tfrac12 B \le C \le 4 B .

    The integrals are taken by quadrature over the whole line, wherever the law has components; the supremum from below
    and from above, so that the spacing of the points is covered. A law that is a function is seen at points only, down
    to 690 nats below its peak: its bracket is an estimate, and has no upper end where the supremum still rises there.

    Parameters
    ----------
    law : Law
        In 1D.

    Raises
    ------
    ValueError
        A law in 2D.

    References
    ----------
    Muckenhoupt 1972, doi:10.4064/sm-44-1-31-38; Ane et al. 2000, Sur les inegalites de Sobolev logarithmiques, 6.2.

    Examples
    --------
    >>> import fpsolve as fp
    >>> found = poincare_bracket(fp.Gaussian(0.3, std=0.5))  # C = 0.25
    >>> bool(found.lower < 0.25 < found.upper), round(found.upper / found.lower, 1)
    (True, 8.5)
    """
    return _bracket(law, 1.0, lambda log_tail: log_tail, lambda log_tail: log_tail, (0.5, 4.0))


def log_sobolev_bracket(law: Law) -> Bracket:
    r"""Return a lower and an upper bound of the log-Sobolev constant of a law on the line.

    C in ``KL(q|p) <= (C/2) I(q|p)``. With m the median, ``P = int_x^\infty p`` and

    .. math:: B(k) = \sup_{x > m} P \log(1 + k/P) \int_m^x \frac1p \quad \text{(or to the left, if larger)},
              \qquad \tfrac12 B(\tfrac12) \le C \le 2 B(e^2) .

    Quadratures as in `poincare_bracket`. Infinite where tails are heavier than Gaussian.

    Parameters
    ----------
    law : Law
        In 1D.

    Raises
    ------
    ValueError
        A law in 2D.

    References
    ----------
    Bobkov and Goetze 1999, doi:10.1006/jfan.1998.3326; these constants: Barthe and Roberto 2003, doi:10.4064/sm159-3-9.

    Examples
    --------
    >>> import fpsolve as fp
    >>> found = log_sobolev_bracket(fp.Gaussian(0.3, std=0.5))  # C = 0.25
    >>> bool(found.lower < 0.25 < found.upper), round(found.upper / found.lower, 1)
    (True, 9.4)
    """

    def with_log(log_k: float) -> Callable[[Array], Array]:
        # P log(1 + k/P) in logarithms
        return lambda tail: tail + np.log(np.logaddexp(0.0, log_k - tail))

    return _bracket(law, 2.0, with_log(-float(np.log(2.0))), with_log(2.0), (0.5, 2.0))


def _bracket(
    law: Law,
    power: float,
    low: Callable[[Array], Array],
    high: Callable[[Array], Array],
    factors: tuple[float, float],
) -> Bracket:
    """Both ends, from the log of a function of the mass beyond x; infinite for tails of a lower power."""
    _checks.same_dim("law", law.dim, "the line", 1)
    nothing = Bracket(np.inf, np.inf, is_known(law))
    if law.tail is not None and law.tail.power < power:
        return nothing
    x, log_p = _points(law)
    if not np.all(np.isfinite(log_p)):
        return nothing
    mass, inverse = _pieces(x, log_p), _pieces(x, -log_p)
    below = np.logaddexp.accumulate(mass)
    mass = mass - below[-1]
    inverse = inverse + below[-1]
    middle = int(np.searchsorted(below, below[-1] - np.log(2.0)))
    sides = (mass[middle:], inverse[middle:]), (mass[:middle][::-1], inverse[:middle][::-1])
    ends = [max(_supremum(*side, f, k) for side in sides) for k, f in enumerate((low, high))]
    # a supremum that is still rising where the points end lies further out
    if not is_known(law) and any(_rises(*side, high) for side in sides):
        ends[1] = np.inf
    with np.errstate(over="ignore"):
        lower, upper = (float(factor * np.exp(end)) for factor, end in zip(factors, ends, strict=True))
    return Bracket(lower, upper, is_known(law))


def _points(law: Law) -> tuple[Array, Array]:
    """Points between which log p changes little, from one end of the mass to the other, and log p there."""
    x = Line.of(law).x
    log_p = law.log_density(x)
    inside = log_p > np.max(log_p) - _DEPTH
    for centre, width in law.features if is_mixture(law) else ():
        # a component counts however small its weight
        inside |= np.abs(x - centre) <= _WIDTHS * width
    kept = np.flatnonzero(inside)
    # a valley that underflows stays: its depth is what makes the constant large
    x, log_p = x[kept[0] : kept[-1] + 1], log_p[kept[0] : kept[-1] + 1]
    if not np.all(np.isfinite(log_p)):
        return x, log_p
    counts = np.clip(np.ceil(np.abs(np.diff(log_p)) / _NATS), 1, _BETWEEN).astype(int)
    fine = [np.linspace(a, b, n, endpoint=False) for a, b, n in zip(x[:-1], x[1:], counts, strict=True)]
    # between neighbouring doubles there is nothing: the same point comes twice
    points = np.unique(np.append(np.concatenate(fine), x[-1]))
    return points, law.log_density(points)


def _pieces(x: Array, logs: Array) -> Array:
    """log of the integrals of ``e^f`` between neighbouring points, exact where f is linear there."""
    rise = np.abs(np.diff(logs))
    mean = np.where(rise > 1e-6, np.log(-np.expm1(-np.maximum(rise, 1e-6)) / np.maximum(rise, 1e-6)), -0.5 * rise)
    return np.asarray(np.log(np.diff(x)) + np.maximum(logs[1:], logs[:-1]) + mean)


def _supremum(mass: Array, inverse: Array, of_mass: Callable[[Array], Array], above: int) -> float:
    """log of ``sup f(int_x^inf p) int_m^x 1/p`` from below or from above, from pieces ordered outwards."""
    outer = of_mass(np.logaddexp.accumulate(mass[::-1])[::-1])
    inner = np.logaddexp.accumulate(inverse)
    return float(np.max(outer + inner if above else outer[1:] + inner[:-1], initial=-np.inf))


def _rises(mass: Array, inverse: Array, of_mass: Callable[[Array], Array]) -> bool:
    """Whether the function of `_supremum` is larger in the outer half of the nats that were looked at, by 1 %."""
    tail = np.logaddexp.accumulate(mass[::-1])[::-1]
    found = of_mass(tail) + np.logaddexp.accumulate(inverse)
    return bool(np.max(found) > np.max(found[tail >= 0.5 * tail[-1]]) + 0.01)


#: Half-widths, in standard deviations, of the two boxes on which the spectral gap is computed.
_REACHES = (9.0, 12.0)
ESTIMATED = "spectral gap of a grid"
#: Growth of the constant with the box from which it is taken for an artefact.
_BOX_GROWTH = 1.01


@dataclass(frozen=True, eq=False, kw_only=True)
class Poincare(Record):
    """The chi-square bound of a block; see `poincare`.

    Attributes
    ----------
    value : float or None
        Bound on ``||q_{t1} - q'_{t1}||_V``.
    constant : float
        C_0, the Poincare constant of the target; NaN where none is known.
    method : str
        Where it comes from: "closed form", "Muckenhoupt's upper bound", "mixture", "given", "spectral gap of a grid"
        (an estimate), "none".
    estimated : bool
        Whether the constant is an estimate: the value is then no certificate.
    contraction : float
        ``alpha(t1, t0) sqrt(C_t1/C_t0)``.
    chi : float
        ``||(q_{t0} - q'_{t0})/p_{t0}||_{L2(p_{t0})}``.
    moment : float
        ``p_{t1}(V^2)^{1/2}``.
    """

    constant: float
    method: str
    estimated: bool
    contraction: float
    chi: float
    moment: float

    @property
    def status(self) -> Status:
        """Estimated where the constant is: the value is then no certificate."""
        return "estimated" if self.estimated and self.value is not None else super().status


def poincare(
    reverse: Reverse,
    t0: float,
    t1: float,
    *,
    grid: Grid,
    weight: WeightLike = None,
    start: Law | None = None,
    reference: Law | None = None,
    constant: float | Literal["bracket"] | None = None,
) -> Poincare:
    r"""Return the bound on a weighted distance that a Poincare inequality of the target gives.

    If ``Var_{p_0} f <= C_0 E |grad f|^2`` then p_t has ``C_t <= alpha(0,t)^2 C_0 + sigma2(0,t)``, and with the exact
    score and eta = 1

    .. math:: \|q_{t_1} - q'_{t_1}\|_V \le p_{t_1}(V^2)^{1/2}\; \alpha(t_1, t_0) \sqrt{C_{t_1}/C_{t_0}}\;
              \Big\| \frac{q_{t_0} - q'_{t_0}}{p_{t_0}} \Big\|_{L^2(p_{t_0})} .

    No drift or minorization constants; sharp for Gaussian data. Both integrals are those of the whole line in 1D, of
    the box in 2D; whether they are finite is asked of the tails of the laws.

    Parameters
    ----------
    reverse : Reverse
    t0, t1 : float
        Forward times, ``t0 > t1``.
    grid : Grid
        For the two integrals; its box must hold them.
    weight : Weight or callable, optional
        V, default ``1 + |x|^2``.
    start, reference : Law, optional
        q and q' at t0, default the process' prior and the marginal p_{t0}.
    constant : float or "bracket", optional
        C_0. Default: closed form for Gaussian, Laplace, uniform and strongly log-concave mixture laws; in 1D for any
        other the spectral gap of Langevin dynamics on a grid, an estimate, which must lie in `poincare_bracket`; none
        for tails heavier than exponential, though every box would return one. In 2D for mixtures
        ``v_max (1 + X/2)``, X the largest chi-square between components. "bracket": the upper end of
        that bracket, a bound and no estimate. A number is taken as given, unless it is below the variance.

    Returns
    -------
    Poincare

    Raises
    ------
    ValueError
        Times out of order, a grid or law of another dimension than the target's, a constant that is not positive, a
        weight below 1.

    References
    ----------
    Bakry, Gentil and Ledoux 2014, doi:10.1007/978-3-319-00227-9, chapter 4 (4.8: strongly log-concave laws); Del Moral,
    Ledoux and Miclo 2003, doi:10.1007/s00440-003-0270-6 (contraction under kernels); Chen, Chewi and Niles-Weed 2021,
    arXiv:2102.11476 (mixtures).

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> found = poincare(reverse, 1.0, 0.1, grid=fp.Grid.uniform((-8, 8), cells=400))
    >>> found.constant, round(found.contraction, 5)
    (0.25, 0.00397)
    """
    _checks.instances(reverse=(reverse, Reverse), grid=(grid, Grid))
    start_time, end_time = block(reverse, t0, t1)
    _checks.same_dim("grid", grid.dim, "reverse", reverse.dim)
    for name, law in (("start", start), ("reference", reference)):
        if law is not None:
            _checks.instances(**{name: (law, Law)})
            _checks.same_dim(name, law.dim, "reverse", reverse.dim)
    c0, method, of_constant, unchecked = _constant(reverse.target, constant)
    process, p0, p1 = reverse.process, reverse.marginal(start_time), reverse.marginal(end_time)
    c_first, c_last = (process.scale(0.0, t) ** 2 * c0 + process.variance(0.0, t) for t in (start_time, end_time))
    contraction = float(process.scale(end_time, start_time) * np.sqrt(c_last / c_first))
    q, other = process.prior(reverse.dim) if start is None else start, p0 if reference is None else reference
    chi, of_chi, chi_unchecked = _chi(grid, q, other, p0)
    square = second_moment(p1, weight, grid)
    checked = (
        yes("exact score and eta = 1", reverse.exact and reverse.eta == 1.0),
        *of_constant,
        *held(grid, start=q, reference=other, p_t1=p1),
        of_chi,
        Hypothesis("V^2 is integrable", square.margin, "over the line" if grid.dim == 1 else ENDS),
    )
    reason = failure(checked)
    return Poincare(
        value=None if reason else contraction * chi * float(np.sqrt(square.value)),
        statement="||q - q'||_V <= p_t1(V^2)^(1/2) alpha(t1, t0) (C_t1/C_t0)^(1/2) ||(q - q')/p_t0||_L2(p_t0)",
        checked=checked,
        unchecked=(*unchecked, *chi_unchecked, *square.unchecked),
        reason=reason,
        constant=c0,
        method=method,
        estimated=method == ESTIMATED,
        contraction=contraction,
        chi=chi,
        moment=float(np.sqrt(square.value)),
    )


_NAME = "Poincare constant of the target"


def _constant(
    target: Law, given: float | Literal["bracket"] | None
) -> tuple[float, str, tuple[Hypothesis, ...], tuple[str, ...]]:
    """C_0, its origin, what was checked of it, and what was not."""
    if isinstance(given, str) and given == "bracket":
        upper = poincare_bracket(target).upper
        found = yes(_NAME, bool(np.isfinite(upper)), "by quadrature over the line", "Muckenhoupt 1972")
        unchecked = () if is_known(target) else (BETWEEN,)
        return upper if found.holds else float("nan"), "Muckenhoupt's upper bound", (found,), unchecked
    if given is not None:
        c0 = _checks.positive("constant", given, 'give a number, or constant="bracket"')
        return c0, "given", (at_least_variance("C_0", c0, target),), ("the Poincare constant, as given",)
    slope = _closed.score_slope(target)
    closed = target.poincare_constant
    if closed is None and slope is not None and slope < 0.0:
        closed = -1.0 / slope
    if closed is not None:
        return closed, "closed form", (Hypothesis(_NAME, 0.0, "closed form"),), ()
    if target.tail is not None and target.tail.power < 1.0:
        return float("nan"), "none", (yes(_NAME, False, "none: tails heavier than exponential"),), ()
    if target.dim == 2 or not np.any(target.cov):
        numbers, chi = _closed.spectrum(target), _closed.chi_between(target)
        if numbers is None or not np.isfinite(chi):
            return float("nan"), "none", (yes(_NAME, False, "none is known: give constant="),), ()
        # Var f is the mean of the components' variances and the spread of their means, each pair at most chi^2 Var
        return numbers.v_max * (1.0 + 0.5 * chi), "mixture", (Hypothesis(_NAME, 0.0, "chi^2 between components"),), ()
    return _estimate(target)


def at_least_variance(name: str, constant: float, law: Law) -> Hypothesis:
    """Whether a Poincare constant, or what is one, is possible: linear functions ask for the variance."""
    cov = np.atleast_2d(law.cov)
    margin = constant / float(np.max(np.linalg.eigvalsh(cov))) - 1.0 + 1e-9 if np.all(np.isfinite(cov)) else -np.inf
    return Hypothesis(f"{name} is at least the variance", margin, "relative; linear functions attain it")


@lru_cache(maxsize=4)
def _estimate(target: Law) -> tuple[float, str, tuple[Hypothesis, ...], tuple[str, ...]]:
    """The spectral gap on the larger of two boxes, held against the smaller one and against what is certain."""
    small, large = (spectral_gap_constant(target, reach) for reach in _REACHES)
    grown = large / small if np.isfinite(large) else np.inf
    bracket = poincare_bracket(target)
    # digits of the estimate and of the quadrature behind the bracket
    inside = min(large / bracket.lower, bracket.upper / large) - 1.0 if np.isfinite(large) else -np.inf
    checked = (
        Hypothesis("the constant does not grow with the box", _BOX_GROWTH - grown, "1.01 less its growth"),
        Hypothesis("the estimate lies in its bracket", inside + 1e-3, "relative", "Muckenhoupt 1972"),
    )
    return large, ESTIMATED, checked, ("the Poincare constant is an estimate on a grid, no certificate",)


def _chi(grid: Grid, q: Law, other: Law, p: Law) -> tuple[float, Hypothesis, tuple[str, ...]]:
    """``||(q - q')/p||_{L2(p)}``, whether it is finite and held by the box, and what is not checked."""
    name = "chi-square at t0 is finite"

    def integrand(x: Array) -> Array:
        half = 0.5 * p.log_density(x)
        return np.square(exp_or_inf(q.log_density(x) - half) - exp_or_inf(other.log_density(x) - half))

    values = grid.cell_average(integrand)
    inside = float(values.sum() * grid.volume)
    if grid.dim == 2:
        margin = min(end_share(values), around_share(grid, integrand, inside))
        around = "chi-square beyond the boxes beside the grid's"
        return float(np.sqrt(inside)), Hypothesis(name, margin, ENDS), (around,)
    finite = [_square_over(one, p) for one in (q, other)]
    if False in finite:
        return np.inf, yes(name, False, "a tail that is too wide for that of p_t0"), ()
    line = Line.of(q, other, p)
    logs = [law.log_density(line.x) for law in (q, other, p)]
    total = float(np.exp(min(line.log_integral(_log_square_over(*logs)), TOP)))
    beyond = max(total - inside, 0.0) / total if total > 0.0 else 0.0
    detail = "1e-6 less the share of the integral over the line that lies beyond the box"
    found = float(np.sqrt(total)), Hypothesis(name, END_SHARE - beyond, detail)
    return (*found, ("chi-square at t0 far out: a law does not say how it falls",) if None in finite else ())


def _log_square_over(q: Array, other: Array, p: Array) -> Array:
    """``log((e^q - e^other)^2/e^p)`` without cancellation where the two are close; -inf where all vanish."""
    larger, gap = np.maximum(q, other), -np.abs(np.where(np.isfinite(q - other), q - other, -np.inf))
    with np.errstate(divide="ignore", invalid="ignore"):
        log_gap = larger + np.log(-np.expm1(gap))
        found = 2.0 * log_gap - p
    return np.where(np.isneginf(larger), -np.inf, found)


def _square_over(q: Law, p: Law) -> bool | None:
    """Whether ``int q^2/p`` is finite far out, None where a law does not say how it falls."""
    if q.tail is None or p.tail is None:
        return None
    if q.tail.power != p.tail.power or q.tail.power == np.inf:
        return q.tail.power > p.tail.power or q.tail.power == np.inf
    least = float(p.dim) if q.tail.power == 0.0 else 0.0
    return 2.0 * q.tail.rate - p.tail.rate > least

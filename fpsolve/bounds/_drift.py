"""Lyapunov drift of a reverse dynamics over a block, pointwise and integrated, on the grid and in closed form; and
Harris' theorem with constants from the numbers of a Gaussian mixture alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, kernels
from fpsolve._checks import flag, instances
from fpsolve.bounds import _closed
from fpsolve.bounds._line import over_time
from fpsolve.bounds._lyapunov import (
    BOX_ONLY,
    INSIDE,
    INSIDE_DETAIL,
    Region,
    gradient_and_laplacian,
    height,
    looked_at,
    quadratic,
)
from fpsolve.bounds._record import (
    NO_TRIALS,
    Harris,
    Hypothesis,
    Record,
    Trials,
    best_beta,
    block,
    failure,
    record,
    same_block,
)
from fpsolve.bounds._whole_line import Line, trade_off
from fpsolve.dynamics import Reverse
from fpsolve.grid import Grid
from fpsolve.kernels import Kernel, Operator
from fpsolve.weights import WeightLike

Array = NDArray[np.float64]

#: Panels of the time integrals.
_PANELS = 3
#: What no grid can check.
_UNCHECKED = (
    "L V <= -lambda V + kappa beyond the box and between cell centres",
    "P V <= gamma V + K beyond the box and between cell centres",
)
#: Outer part of the box, in units of the largest V, from which the pointwise rate is read.
_OUTER = 0.5


@dataclass(frozen=True, eq=False, kw_only=True)
class Drift(Record):
    """Drift constants of a block; V = weight - 1. See `drift`.

    Attributes
    ----------
    value : float or None
        gamma of the sharp inequality where it is below 1 and the inequality is known on the whole line (see `harris`).
    gamma, K : float
        ``P V <= gamma V + K`` at the gamma with the smallest K/(1 - gamma): on the whole line where P V is a closed
        form, else on the cells of the box only (one transposed solve).
    gamma_integrated, K_integrated : float
        The same from the pointwise rates: ``exp(-int lambda)``, ``int kappa exp(-int lambda)``.
    gamma_closed, K_closed : float
        In closed form; NaN where there is none.
    times : array, shape (n,)
        Forward times of the pointwise rates, from t0 to t1.
    rate, source : arrays, shape (n,)
        ``L_t V <= -lambda_t V + kappa_t`` on the grid, L V by findiff. A negative lambda is said, not hidden.
    rate_closed, source_closed : arrays, shape (n,)
        In closed form; NaN where there is none.
    gammas, ks : arrays
        The trade-off: the smallest K for every gamma, infinite where there is none.
    """

    gamma: float
    K: float
    gamma_integrated: float
    K_integrated: float
    gamma_closed: float
    K_closed: float
    times: Array = field(repr=False)
    rate: Array = field(repr=False)
    source: Array = field(repr=False)
    rate_closed: Array = field(repr=False)
    source_closed: Array = field(repr=False)
    gammas: Array = field(repr=False)
    ks: Array = field(repr=False)


def drift(
    reverse: Reverse,
    t0: float,
    t1: float,
    *,
    grid: Grid,
    weight: WeightLike = None,
    kernel: Kernel | Operator | None = None,
    share: float = 0.5,
) -> Drift:
    r"""Return the drift constants of V = weight - 1 over the block from t0 down to t1.

    Pointwise, with the generator ``L_t V = b . grad V + eta^2 g^2/2 Lap V``,

    .. math:: L_t V \le -\lambda_t V + \kappa_t, \qquad
              P V \le \gamma V + K, \quad \gamma = e^{-\int \lambda}, \; K = \int \kappa\, e^{-\int \lambda},

    and sharply: for the exact kernel of a Gaussian mixture on the line from P V in closed form, else from one
    application of the kernel to V, which tells of the box only. lambda_t is read off the outer part of the box;
    it may be negative: then nothing contracts at that time. The closed form needs the exact score of a Gaussian mixture
    and ``V = c0 + c1 |x|^2``.

    Parameters
    ----------
    reverse : Reverse
        Exact score or not.
    t0, t1 : float
        Forward times, ``T >= t0 > t1``; ``t1 > 0`` unless a kernel is given.
    grid : Grid
        Any size: only one function is pulled back. Its box should hold much more than the laws: see `checked`.
    weight : Weight or callable, optional
        Default ``1 + |x|^2``.
    kernel : Kernel or Operator, optional
        Of the block and on the grid; default exact (eta = 1, exact score, a grid small enough) or finite volumes.
    share : float
        Of the pointwise rate on the outer half of the box, and of the dissipativity constant in closed form: the rest
        pays for the inner part. Default 1/2.

    Returns
    -------
    Drift

    Raises
    ------
    ValueError
        Times out of order, a weight below 1, a share outside of (0, 1), mixed dimensions; a kernel of another block,
        grid or dynamics.

    References
    ----------
    Meyn and Tweedie 1993, doi:10.2307/1427522.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0))
    >>> found = drift(reverse, 1.0, 0.5, grid=fp.Grid.uniform((-10, 10), cells=400))
    >>> round(found.gamma_closed, 6)  # exp(-1): V = |x|^2, dY = -Y dr + sqrt(2) dB
    0.367879
    """
    _checks.instances(reverse=(reverse, Reverse), grid=(grid, Grid))
    _checks.interval("share", share, 0.0, 1.0, ends="()")
    _checks.same_dim("grid", grid.dim, "reverse", reverse.dim)
    used: Kernel | Operator
    if kernel is not None:
        _checks.instances(kernel=(kernel, Kernel))
        same_block(kernel, reverse, t0, t1, grid)
        used = kernel
    elif reverse.exact and reverse.eta == 1.0 and max(grid.shape) <= kernels.LARGEST[grid.dim]:
        used = kernels.exact(reverse, grid, t0, t1, source="point")
    else:
        used = kernels.finite_volume_operator(reverse, grid, t0, t1)
    line = Line.of(used, weight, reverse if kernel is None else None)
    v = height(weight, grid)
    trade = trade_off(used, weight, v, Region.of(used, weight), line)
    best = trade.best()
    times, quadrature = over_time(reverse, t0, t1, _PANELS)
    rate, source, derivative = _pointwise(reverse, times, v, grid, share)
    rate_closed, source_closed, closed = _closed_form(reverse, times, t0, t1, weight, share)
    gamma, k = (float(trade.gammas[best]), float(trade.ks[best])) if best is not None else (np.nan, np.nan)
    checked = (
        Hypothesis(INSIDE, trade.margin(best), INSIDE_DETAIL) if line is None else line.drift_holds(gamma, k),
        Hypothesis("derivatives of V by findiff are accurate", 1e-3 - derivative, "1e-3 of L V less the estimate"),
    )
    reason = failure(checked)
    if line is not None and best is None:
        reason = line.no_drift()
    elif line is None:
        shown = f"gamma = {gamma:.4g}, K = {k:.4g} there" if best is not None else reason
        reason = f"{BOX_ONLY}; {shown}"
    return Drift(
        value=None if reason else gamma,
        statement="L V <= -lambda V + kappa, P V <= gamma V + K (Foster-Lyapunov drift), V = weight - 1",
        checked=checked,
        unchecked=_UNCHECKED if line is None else (_UNCHECKED[0], *line.unchecked),
        reason=reason,
        gamma=gamma,
        K=k,
        **dict(zip(("gamma_integrated", "K_integrated"), _integrated(rate, source, quadrature), strict=True)),
        gamma_closed=closed[0],
        K_closed=closed[1],
        times=times,
        rate=rate,
        source=source,
        rate_closed=rate_closed,
        source_closed=source_closed,
        gammas=trade.gammas,
        ks=trade.ks,
    )


def _pointwise(reverse: Reverse, times: Array, v: Array, grid: Grid, share: float) -> tuple[Array, Array, float]:
    """lambda_t, kappa_t on the grid, and the largest error of L V by findiff relative to its size."""
    gradient, laplacian, gradient_error, laplacian_error = gradient_and_laplacian(v, grid)
    outer = v >= _OUTER * np.max(v)
    rates, sources, errors = np.empty(len(times)), np.empty(len(times)), np.empty(len(times))
    for n, t in enumerate(times):
        b = reverse.drift(float(t), grid.x).reshape(*grid.shape, grid.dim)
        half = 0.5 * float(reverse.noise(float(t))) ** 2
        generator = ((b * gradient).sum(axis=-1) + half * laplacian).ravel()
        error = ((np.abs(b) * gradient_error).sum(axis=-1) + half * laplacian_error).ravel()
        pull = float(np.min(-generator[outer] / v[outer])) if np.max(v) > 0.0 else 0.0
        rates[n] = pull - (1.0 - share) * abs(pull)
        sources[n] = np.max(generator + error + rates[n] * v)
        errors[n] = np.max(error) / max(float(np.max(np.abs(generator))), 1e-300)
    return rates, sources, float(np.max(errors))


def _integrated(rate: Array, source: Array, dr: Array) -> tuple[float, float]:
    """gamma, K from the pointwise rates; nodes run from t0 (reverse time 0) to t1."""
    from numpy.polynomial import legendre

    nodes, shares = legendre.leggauss(len(dr))
    # the rate per node as a polynomial through its values, integrated from every node to the end
    slope = rate * dr / shares
    values = legendre.legvander(nodes, len(dr) - 1)
    primitive = legendre.legint((np.arange(len(dr)) + 0.5) * (values.T @ (shares * slope)))
    left = legendre.legval(1.0, primitive) - legendre.legval(nodes, primitive)
    return float(np.exp(-np.sum(rate * dr))), float(np.sum(source * np.exp(-left) * dr))


def _closed_form(
    reverse: Reverse, times: Array, t0: float, t1: float, weight: WeightLike, share: float
) -> tuple[Array, Array, tuple[float, float]]:
    """lambda_t, kappa_t, (gamma, K) in closed form for ``V = c0 + c1 |x|^2``; NaN where there is none."""
    nothing = np.full(len(times), np.nan)
    shape, numbers = quadratic(weight, reverse.dim), _closed.spectrum(reverse.target)
    if shape is None or numbers is None or not reverse.exact:
        return nothing, nothing, (np.nan, np.nan)
    (c0, c1), process, eta2, d = shape, reverse.process, np.square(reverse.eta_at(times)), reverse.dim
    a, b = _closed.dissipativity(numbers, share)
    spread = np.square(process.scale(0.0, times)) / a + process.variance(0.0, times)
    power = np.square(process.diffusion(times))
    rate = 2.0 * process.drift_rate(times) + (1.0 + eta2) * power / spread
    source = c1 * power * ((1.0 + eta2) * (b + d) + eta2 * d) + rate * c0
    constants = closed_constants(reverse, t0, t1, shape, share)
    return rate, source, constants if constants is not None else (np.nan, np.nan)


def closed_constants(
    reverse: Reverse, t0: float, t1: float, shape: tuple[float, float], share: float
) -> tuple[float, float] | None:
    """gamma, K in closed form for ``V = c0 + c1 |x|^2``, None for targets without constants and for eta(t)."""
    if callable(reverse.eta):
        return None
    found = _closed.drift_constants(reverse.target, reverse.process, reverse.eta, t0, t1, share)
    if found is None:
        return None
    gamma, k = found
    return gamma, shape[1] * k + shape[0] * (1.0 - gamma)


#: Shares of the dissipativity constant that are tried in closed form.
_SHARES = np.linspace(0.05, 0.95, 19)


def harris_closed_form(
    reverse: Reverse, t0: float, t1: float, *, weight: WeightLike = None, optimise: bool | None = None
) -> Harris:
    r"""Return the contraction that Harris' theorem gives a block with constants in closed form, without any grid.

    For the exact score of a Gaussian mixture, eta = 1 and ``weight = 1 + c0 + c1 |x|^2``: gamma and K from the
    dissipativity of the target, carried through the block; a'' from the fact that the rows of Bayes' kernel are
    exponential tilts of one another, ``KL(P(x, .)|P(y, .)) <= |x - y|^2 (L + 1/sigma2(t1, t0))/2`` with L the largest
    slope of the score at t0, and ``|x - y|^2 <= 2 (|x|^2 + |y|^2)``.

    Parameters
    ----------
    reverse : Reverse
    t0, t1 : float
        Forward times, ``t0 > t1``.
    weight : Weight or callable, optional
        Default ``1 + |x|^2``.
    optimise : bool, optional
        Search the factor beta on V = weight - 1 as well. Default: only where there is no certificate without.

    Returns
    -------
    Harris
        `value` is None where there is no closed form or abar is not below 1.

    Raises
    ------
    ValueError
        Times out of order or range, a weight below 1.

    References
    ----------
    Hairer and Mattingly 2011, doi:10.1007/978-3-0348-0021-1_7; Bretagnolle and Huber 1979, doi:10.1007/BF00535268.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[0.5, 0.5]), fp.VP())
    >>> 0.0 < harris_closed_form(reverse, 1.0, 0.3, optimise=True).value < 1.0
    True
    """
    instances(reverse=(reverse, Reverse))
    flag("optimise", optimise, optional=True)
    return searched(Closed.of(reverse, *block(reverse, t0, t1), weight), optimise)


class Analysed(Protocol):
    """A block whose constants are known."""

    def best_beta(self) -> float:
        """The factor on V with the smallest abar."""

    def record(self, beta: float) -> Harris:
        """The best contraction in the weight ``1 + beta V``."""


def searched(found: Analysed, optimise: bool | None) -> Harris:
    """The record in the weight as given, in the best one of its family, or in that where the given one has none."""
    given = None if optimise else found.record(1.0)
    if given is not None and given.certified:
        return given
    best = found.record(found.best_beta())
    if given is None or (optimise is None and best.certified):
        return best
    if best.certified:
        helps = f"in the weight 1 + {best.beta:.3g} V there is one, abar = {best.abar:.4g}: optimise=True"
        return replace(given, reason=f"{given.reason}; {helps}")
    return given


@dataclass(frozen=True, eq=False)
class Closed:
    """A block analysed in closed form.

    Attributes
    ----------
    t0, t1 : float
    trials : Trials
    known : bool
        Whether there are closed forms at all.
    unchecked : tuple of str
        What is taken for granted of the weight.
    """

    t0: float
    t1: float
    trials: Trials
    known: bool
    unchecked: tuple[str, ...]

    @classmethod
    def of(cls, reverse: Reverse, t0: float, t1: float, weight: WeightLike) -> Closed:
        """One pair (gamma, K) per share of the dissipativity constant, and levels from the least admissible one up."""
        shape = quadratic(weight, reverse.dim)
        bayes = reverse.exact and reverse.eta == 1.0
        trials = closed_trials(reverse, t0, t1, shape) if bayes and shape is not None else None
        certain = NO_TRIALS if trials is None else trials
        return cls(float(t0), float(t1), certain, trials is not None, looked_at(weight))

    def best(self, beta: float, step: int = 1) -> float:
        """Smallest abar in the weight ``1 + beta V``; infinite where there is none below 1. There are few trials."""
        abar = self.trials.best(beta)[0]
        return abar if abar < 1.0 else np.inf

    def best_beta(self) -> float:
        """The factor on V with the smallest abar."""
        ks = self.trials.ks
        return best_beta(self.trials, float(np.min(ks))) if ks.size else 1.0

    def record(self, beta: float) -> Harris:
        """The best contraction in the weight ``1 + beta V``."""
        if not self.known:
            needs = "closed-form constants need a Gaussian mixture, its exact score, eta = 1 and V = c0 + c1 |x|^2"
            return record(np.inf, beta, None, (Hypothesis(needs, -1.0),), (), (self.t0, self.t1))
        abar, n, m = self.trials.best(beta)
        constants = self.trials.constants(n, m) if np.isfinite(abar) else None
        return record(abar, beta, constants, (), self.unchecked, (self.t0, self.t1))


def closed_trials(reverse: Reverse, t0: float, t1: float, shape: tuple[float, float]) -> Trials | None:
    """Constants of a block in closed form: one pair (gamma, K) per share of the dissipativity constant."""
    pairs = [closed_constants(reverse, t0, t1, shape, float(share)) for share in _SHARES]
    found = np.array([p for p in pairs if p is not None])
    if len(found) == 0:
        return None
    gammas, ks = found[found[:, 0] < 1.0].T
    least = np.maximum(2.0 * ks / (1.0 - gammas), 2.0 * shape[0])
    levels = least[:, None] * (1.0 + np.geomspace(1e-3, 1e3, 200))
    # lower bound of a'' at levels of ``V = c0 + c1 |x|^2``: ``|x - y|^2 <= 2 (|x|^2 + |y|^2) <= 2 (R - 2 c0)/c1``
    square = 2.0 * np.maximum(levels - 2.0 * shape[0], 0.0) / shape[1]
    overlaps = _closed.overlap(reverse.marginal(t0), float(reverse.process.variance(t1, t0)), square)
    return None if overlaps is None else Trials(gammas, ks, levels, overlaps)

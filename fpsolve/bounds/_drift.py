"""Lyapunov drift of a reverse dynamics over a block: pointwise and integrated, on the grid and in closed form."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, kernels
from fpsolve.bounds import _closed
from fpsolve.bounds._line import over_time
from fpsolve.bounds._lyapunov import BOX_ONLY, INSIDE, INSIDE_DETAIL, Region, gradient_and_laplacian, height, quadratic
from fpsolve.bounds._record import Hypothesis, Record, failure, same_block
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

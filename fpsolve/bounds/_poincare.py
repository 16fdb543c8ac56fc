"""The Poincare inequality: chi-square distances contract at a rate that the target sets through one constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, weights
from fpsolve.bounds._quadrature import around_share, end_share, exp_or_inf, held
from fpsolve.bounds._record import Hypothesis, Record, failure
from fpsolve.bounds._spectral_gap import spectral_gap_constant
from fpsolve.bounds._times import block
from fpsolve.grid import Grid
from fpsolve.laws import Gaussian, Laplace, Law, PointMass, StudentT, Uniform
from fpsolve.weights import WeightLike

if TYPE_CHECKING:
    from fpsolve.dynamics import Reverse

Array = NDArray[np.float64]

#: Half-widths, in standard deviations, of the two boxes on which the spectral gap is computed.
_REACHES = (9.0, 12.0)
ENDS = "1e-6 less the share of the integral at the ends and beyond"
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
        Where it comes from: "closed form", "given", "spectral gap of a grid" (an estimate), "none".
    contraction : float
        ``alpha(t1, t0) sqrt(C_t1/C_t0)``.
    chi : float
        ``||(q_{t0} - q'_{t0})/p_{t0}||_{L2(p_{t0})}``.
    moment : float
        ``p_{t1}(V^2)^{1/2}``.
    """

    constant: float
    method: str
    contraction: float
    chi: float
    moment: float


def poincare(
    reverse: Reverse,
    t0: float,
    t1: float,
    *,
    grid: Grid,
    weight: WeightLike = None,
    start: Law | None = None,
    reference: Law | None = None,
    constant: float | None = None,
) -> Poincare:
    r"""Return the bound on a weighted distance that a Poincare inequality of the target gives.

    If ``Var_{p_0} f <= C_0 E |grad f|^2`` then p_t has ``C_t <= alpha(0,t)^2 C_0 + sigma2(0,t)``, and with the exact
    score and eta = 1

    .. math:: \|q_{t_1} - q'_{t_1}\|_V \le p_{t_1}(V^2)^{1/2}\; \alpha(t_1, t_0) \sqrt{C_{t_1}/C_{t_0}}\;
              \Big\| \frac{q_{t_0} - q'_{t_0}}{p_{t_0}} \Big\|_{L^2(p_{t_0})} .

    No drift or minorization constants; sharp for Gaussian data.

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
    constant : float, optional
        C_0. Default: closed form for Gaussian, Laplace and uniform laws; in 1D for any other the spectral gap of
        Langevin dynamics on a grid (an estimate); none for tails heavier than exponential, though every box would
        return one, and in 2D.

    Returns
    -------
    Poincare

    Raises
    ------
    ValueError
        Times out of order, a constant that is not positive, a weight below 1.

    References
    ----------
    Bakry, Gentil and Ledoux 2014, doi:10.1007/978-3-319-00227-9, chapter 4.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> found = poincare(reverse, 1.0, 0.1, grid=fp.Grid.uniform((-8, 8), cells=400))
    >>> found.constant, round(found.contraction, 5)
    (0.25, 0.00397)
    """
    start_time, end_time = block(reverse, t0, t1)
    c0, method, found = _constant(reverse.target, constant)
    process, p0, p1 = reverse.process, reverse.marginal(start_time), reverse.marginal(end_time)
    c_first, c_last = (process.scale(0.0, t) ** 2 * c0 + process.variance(0.0, t) for t in (start_time, end_time))
    contraction = float(process.scale(end_time, start_time) * np.sqrt(c_last / c_first))
    q, other = process.prior(reverse.dim) if start is None else start, p0 if reference is None else reference
    chi, chi_ends = _chi(grid, q, other, p0)
    moment, moment_ends = _moment(grid, p1, weight)
    checked = (
        Hypothesis("exact score and eta = 1", 0.0 if reverse.exact and reverse.eta == 1.0 else -1.0),
        found,
        *held(grid, start=q, reference=other, p_t1=p1),
        Hypothesis("chi-square at t0 is finite", chi_ends, ENDS),
        Hypothesis("V^2 is integrable in the box", moment_ends, ENDS),
    )
    reason = failure(checked)
    return Poincare(
        value=None if reason else contraction * chi * moment,
        statement="||q - q'||_V <= p_t1(V^2)^(1/2) alpha(t1, t0) (C_t1/C_t0)^(1/2) ||(q - q')/p_t0||_L2(p_t0)",
        checked=checked,
        unchecked=("the Poincare constant is an estimate on a grid",) if method.startswith("spectral") else (),
        reason=reason,
        constant=c0,
        method=method,
        contraction=contraction,
        chi=chi,
        moment=moment,
    )


def _constant(target: Law, given: float | None) -> tuple[float, str, Hypothesis]:
    """C_0, its origin, and whether there is one."""
    if given is not None:
        return _checks.positive("constant", given), "given", Hypothesis("Poincare constant of the target", 0.0)
    closed = _closed_form(target)
    if closed is not None:
        return closed, "closed form", Hypothesis("Poincare constant of the target", 0.0)
    if target.dim == 1 and not isinstance(target, StudentT | PointMass):
        small, large = (spectral_gap_constant(target, reach) for reach in _REACHES)
        grown = large / small if np.isfinite(large) else np.inf
        tail = Hypothesis("the constant does not grow with the box", _BOX_GROWTH - grown, "1.01 less its growth")
        return large, "spectral gap of a grid", tail
    return float("nan"), "none", Hypothesis("Poincare constant of the target", -1.0, "none is known: give constant=")


def _closed_form(target: Law) -> float | None:
    if isinstance(target, Gaussian):
        return float(np.max(np.linalg.eigvalsh(np.atleast_2d(target.cov))))
    if isinstance(target, Laplace):
        return 4.0 * float(np.max(np.asarray(target.scale))) ** 2
    if isinstance(target, Uniform):
        return float(np.max(np.square(np.asarray(target.high) - np.asarray(target.low)))) / np.pi**2
    return None


def _chi(grid: Grid, q: Law, other: Law, p: Law) -> tuple[float, float]:
    """``||(q - q')/p||_{L2(p)}`` and by how much the ends of the box hold less of the integral than they may."""

    def integrand(x: Array) -> Array:
        half = 0.5 * p.log_density(x)
        return np.asarray(exp_or_inf(q.log_density(x) - half) - exp_or_inf(other.log_density(x) - half))

    values = grid.cell_average(lambda x: np.square(integrand(x)))
    total = float(values.sum() * grid.volume)
    around = around_share(grid, lambda x: np.square(integrand(x)), total)
    return float(np.sqrt(total)), min(end_share(values), around)


def _moment(grid: Grid, p: Law, weight: WeightLike) -> tuple[float, float]:
    """``p(V^2)^{1/2}`` and by how much the ends of the box hold less of the integral than they may."""

    def integrand(x: Array) -> Array:
        return np.asarray(p.density(x) * weights.evaluate(weight, x, grid.dim) ** 2)

    values = grid.cell_average(integrand)
    total = float(values.sum() * grid.volume)
    return float(np.sqrt(total)), min(end_share(values), around_share(grid, integrand, total))

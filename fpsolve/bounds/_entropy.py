"""Relative entropy, Wasserstein distances and frozen scores, each bound with its constants.

Log-Sobolev constants, in closed form or from above, and the contraction of relative entropy that they give; contraction
of W2 by strong log-concavity and the sharp coefficient of a kernel on the line; and what freezing the score over the
steps of a sampler costs in relative entropy, by Girsanov.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _times
from fpsolve._messages import Status
from fpsolve.bounds import _closed
from fpsolve.bounds._line import EARLIEST, ENDS, entropy_of, held, mean_under, over_time, square_of
from fpsolve.bounds._poincare import BETWEEN, at_least_variance, is_known, log_sobolev_bracket
from fpsolve.bounds._record import Hypothesis, Record, block, failure, yes
from fpsolve.bounds._whole_line import Posterior
from fpsolve.dynamics import Reverse
from fpsolve.grid import Grid
from fpsolve.kernels import Kernel
from fpsolve.laws import Law

Array = NDArray[np.float64]

_CONSTANT, _BRACKET = "log-Sobolev constant", "bracket on the line"
_OLLIVIER = "W1(mu P, nu P) <= sup W1(P(x,.), P(y,.))/|x - y| W1(mu, nu) (Ollivier 2009)"
_BETWEEN_POINTS = "maxima between the points that were looked at"


#: Share of the last step's integral that may come from before the earliest of its panels.
_EARLY = 1e-6


@dataclass(frozen=True, eq=False, kw_only=True)
class LogSobolev(Record):
    """The entropy bound of a block; see `log_sobolev`.

    Attributes
    ----------
    value : float or None
        Bound on ``KL(q_{t1} | p_{t1})``.
    constant : float
        C_t1, the log-Sobolev constant of p_{t1} that is used.
    method : str
        Where it comes from: "closed form", "bracket on the line", "mixture", "given".
    contraction : float
        ``(alpha(t1, t0)^2 C_t1/C_t0)^(eta^2)``.
    kl_start : float
        ``KL(q_{t0} | p_{t0})``.
    total_variation, wasserstein : float
        ``sqrt(KL/2)`` (Pinsker) and ``W2 <= sqrt(2 C_t1 KL)`` (Otto and Villani) of the value.
    """

    constant: float
    method: str
    contraction: float
    kl_start: float
    total_variation: float
    wasserstein: float


def log_sobolev_constant(law: Law) -> tuple[float, str]:
    r"""Return an upper bound of the log-Sobolev constant of a law, and where it comes from.

    C in ``KL(q|p) <= (C/2) I(q|p)`` for all q, I the relative Fisher information; N(m, v) has C = v. The least of

    * "closed form": ``1/kappa`` for a law with ``-hess log p >= kappa > 0`` (Bakry and Emery 1985);
    * "bracket on the line": the upper end of `log_sobolev_bracket`, in 1D;
    * "mixture": for a Gaussian mixture of any dimension whose components have constants at most K and pairwise
      ``chi^2(P_k|P_l) <= X``: ``K [2 + (1 + X/2)(1 + log(1 + X)/2)]``. The entropy of ``k -> P_k f^2`` is at most
      ``sum w_k Ent_k(f^2) + log(1 + X) E f^2`` (duality of entropy, against ``log P_k/p``), which makes a defective
      inequality; the defect is taken away by Rothaus' lemma and the Poincare constant ``K (1 + X/2)``. An elementary
      version of the theorem of Chen, Chewi and Niles-Weed, with other constants.

    Parameters
    ----------
    law : Law

    Returns
    -------
    float
        Infinite where none of these is: tails heavier than Gaussian have none.
    str

    References
    ----------
    Bakry and Emery 1985, doi:10.1007/BFb0075847; Bobkov and Goetze 1999, doi:10.1006/jfan.1998.3326; Chen, Chewi and
    Niles-Weed 2021, arXiv:2102.11476; Rothaus 1985, doi:10.1016/0022-1236(85)90079-5.

    Examples
    --------
    >>> import fpsolve as fp
    >>> log_sobolev_constant(fp.Gaussian(1.0, std=0.5))
    (0.25, 'closed form')
    """
    _checks.instances(law=(law, Law))
    slope, known = _closed.score_slope(law), {"closed form": np.inf, _BRACKET: np.inf, "mixture": np.inf}
    if slope is not None and slope < 0.0:
        return -1.0 / slope, "closed form"
    if law.dim == 1:
        known[_BRACKET] = log_sobolev_bracket(law).upper
    numbers, chi = _closed.spectrum(law), _closed.chi_between(law)
    if numbers is not None and np.isfinite(chi):
        known["mixture"] = numbers.v_max * (2.0 + (1.0 + 0.5 * chi) * (1.0 + 0.5 * float(np.log1p(chi))))
    method = min(known, key=lambda name: known[name])
    return float(known[method]), method if np.isfinite(known[method]) else "none"


def log_sobolev(
    reverse: Reverse,
    t0: float,
    t1: float,
    *,
    start: Law | None = None,
    grid: Grid | None = None,
    constant: float | None = None,
) -> LogSobolev:
    r"""Return the bound on a relative entropy that a logarithmic Sobolev inequality of the marginals gives.

    With ``KL(q|p_t) <= (C_t/2) I(q|p_t)`` along the block and the exact score,

    .. math:: \mathrm{KL}(q_{t_1} | p_{t_1}) \le \Big[\alpha(t_1, t_0)^2 \frac{C_{t_1}}{C_{t_0}}\Big]^{\eta^2}
              \mathrm{KL}(q_{t_0} | p_{t_0}), \qquad C_{t_0} = \alpha(t_1, t_0)^2 C_{t_1} + \sigma^2(t_1, t_0),

    since the entropy falls at the rate ``eta^2 g^2/2`` times the relative Fisher information, and ``p_t`` is p_{t1}
    scaled and convolved with a normal law. Sharp for Gaussian data. The twin of `poincare`, without a chi-square.

    Parameters
    ----------
    reverse : Reverse
        With the exact score and a constant eta.
    t0, t1 : float
        Forward times, ``t0 > t1``.
    start : Law, optional
        q at t0, default the process' prior.
    grid : Grid, optional
        For the entropy at t0 in 2D; not needed on the line.
    constant : float, optional
        C_t1; default the better of `log_sobolev_constant` at t1 and of that of the target, carried to t1.

    Raises
    ------
    ValueError
        Times out of order, a start of another dimension, no grid in 2D, a constant that is not positive.

    References
    ----------
    Del Moral, Ledoux and Miclo 2003, doi:10.1007/s00440-003-0270-6 (contraction of entropies under Markov kernels);
    Bakry, Gentil and Ledoux 2014, doi:10.1007/978-3-319-00227-9, chapter 5; Otto and Villani 2000,
    doi:10.1006/jfan.1999.3557.

    Examples
    --------
    >>> import fpsolve as fp
    >>> found = log_sobolev(fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP()), 1.0, 0.1)
    >>> round(found.constant, 5), f"{found.value:.3e}"
    (0.32779, '8.527e-11')
    """
    _checks.instances(reverse=(reverse, Reverse))
    first, last = block(reverse, t0, t1)
    process, p0, p1 = reverse.process, reverse.marginal(first), reverse.marginal(last)
    q = process.prior(reverse.dim) if start is None else start
    _checks.same_dim("start", q.dim, "reverse", reverse.dim)
    if reverse.dim == 2 and grid is None:
        raise _checks.error("grid", "a Grid for the entropy at t0 in 2D", "None")
    if constant is None:
        c0, origin = log_sobolev_constant(reverse.target)
        carried = float(process.scale(0.0, last) ** 2 * c0 + process.variance(0.0, last)), origin
        c1, method = min(carried, log_sobolev_constant(p1)) if last > 0.0 else carried
    else:
        c1, method = _checks.positive("constant", constant), "given"
    noise = 0.0 if callable(reverse.eta) else float(reverse.eta) ** 2
    # alpha^2 C_t1/(alpha^2 C_t1 + sigma2), without an infinite C
    left = process.scale(last, first) ** 2 / (process.scale(last, first) ** 2 + process.variance(last, first) / c1)
    kl, of_start, beyond = entropy_of(grid, q, p0, ("start", "p_t0"))
    checked = (
        yes("exact score and a constant eta", reverse.exact and not callable(reverse.eta)),
        yes(_CONSTANT, bool(np.isfinite(c1)), method),
        *(() if constant is None else (at_least_variance("C_t1", c1, p1),)),
        *of_start,
    )
    reason = failure(checked)
    value = float("nan") if reason else float(left) ** noise * kl
    return LogSobolev(
        value=None if reason else value,
        statement="KL(q_t1|p_t1) <= [alpha(t1, t0)^2 C_t1/C_t0]^(eta^2) KL(q_t0|p_t0), C log-Sobolev constants",
        checked=checked,
        unchecked=(
            *(("the log-Sobolev constant, as given",) if method == "given" else ()),
            *((BETWEEN,) if method == _BRACKET and not is_known(reverse.target) else ()),
            *beyond,
            "decay at infinity",
        ),
        reason=reason,
        constant=c1,
        method=method,
        contraction=float(left) ** noise,
        kl_start=kl,
        total_variation=float(np.sqrt(0.5 * value)),
        wasserstein=float(np.sqrt(2.0 * c1 * value)),
    )


def wasserstein(reverse: Reverse, t0: float, t1: float, *, concavity: float | None = None) -> Record:
    r"""Return the factor by which W2 of any two laws falls, for a strongly log-concave target.

    If ``-hess log p_0 >= kappa I``, then ``-hess log p_t >= I/S_t``, ``S_t = alpha(0,t)^2/kappa + sigma2(0,t)``, and
    runs with the same noise come closer at the rate ``a + (1 + eta^2) g^2/(2 S_t)``. Integrated,

    .. math:: W_2(q_{t_1}, q'_{t_1}) \le \alpha(t_1, t_0)^{\eta^2} (S_{t_1}/S_{t_0})^{(1 + \eta^2)/2}\,
              W_2(q_{t_0}, q'_{t_0}),

    for W1 and every other p, too. Attained by Gaussian data. Above 1 where variance grows towards the data.

    Parameters
    ----------
    reverse : Reverse
        With the exact score and a constant eta.
    t0, t1 : float
        Forward times, ``t0 > t1``.
    concavity : float, optional
        kappa; default in closed form for Gaussian mixtures, where it is positive.

    Raises
    ------
    ValueError
        Times out of order, a concavity that is not positive.

    References
    ----------
    Gao, Nguyen and Zhu 2023, arXiv:2311.11003; Saumard and Wellner 2014, doi:10.1214/14-SS107 (convolutions).

    Examples
    --------
    >>> import fpsolve as fp
    >>> round(wasserstein(fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP()), 1.0, 0.1).value, 6)
    0.002275
    """
    _checks.instances(reverse=(reverse, Reverse))
    first, last = block(reverse, t0, t1)
    slope = _closed.score_slope(reverse.target)
    kappa = (0.0 if slope is None else -slope) if concavity is None else _checks.positive("concavity", concavity)
    checked = (
        yes("exact score and a constant eta", reverse.exact and not callable(reverse.eta)),
        Hypothesis("-hess log p_0 >= kappa > 0", kappa if kappa > 0.0 else min(kappa, -1e-300), "closed form"),
        *(() if concavity is None else (at_least_variance("1/kappa", 1.0 / kappa, reverse.target),)),
    )
    reason, process = failure(checked), reverse.process
    value = None
    if not reason and not callable(reverse.eta):
        noise = float(reverse.eta) ** 2
        s0, s1 = (float(process.scale(0.0, t) ** 2 / kappa + process.variance(0.0, t)) for t in (first, last))
        value = float(process.scale(last, first)) ** noise * (s1 / s0) ** (0.5 * (1.0 + noise))
    return Record(
        value=value,
        statement="W_p(q_t1, q'_t1) <= alpha(t1, t0)^(eta^2) (S_t1/S_t0)^((1 + eta^2)/2) W_p(q_t0, q'_t0)",
        checked=checked,
        unchecked=() if concavity is None else ("-hess log p_0 >= concavity, as given",),
        reason=reason,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Ollivier(Record):
    """The coefficient of a kernel in W1, on cells: an estimate; see `ollivier`.

    Attributes
    ----------
    x : float
        Where it is attained; between which neighbouring cells.
    """

    x: float

    @property
    def status(self) -> Status:
        """Estimated: the largest value of those that were looked at."""
        return "no certificate" if self.value is None else "estimated"


def ollivier(kernel: Kernel) -> Ollivier:
    r"""Return the sharp coefficient of a kernel in W1, on the line: no smaller factor holds for all pairs of laws.

    .. math:: \sup_{x \ne y} \frac{W_1(P(x, \cdot), P(y, \cdot))}{|x - y|}
              = \sup_i W_1(P(x_i, \cdot), P(x_{i+1}, \cdot))/h,

    since the triangle inequality along the line makes neighbours suffice. Rows of an exact kernel increase with x in
    stochastic order, so W1 is the difference of their means: for a Gaussian mixture the coefficient is ``(alpha/s) sup
    Var P(y, .)``, in closed form over y on the whole line, whatever the cells. Of any other kernel it is the maximum
    over neighbouring cells of the box, and maxima narrower than a cell are missed.

    Parameters
    ----------
    kernel : Kernel
        On grids in 1D.

    Raises
    ------
    ValueError
        A kernel in 2D.

    References
    ----------
    Ollivier 2009, doi:10.1016/j.jfa.2008.11.001.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse, grid = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP()), fp.Grid.uniform((-8, 8), cells=400)
    >>> kernel = fp.kernels.exact(reverse, grid, 0.4, 0.1, source="point")
    >>> round(ollivier(kernel).value, 4), round(wasserstein(reverse, 0.4, 0.1).value, 4)
    (0.1794, 0.1794)
    """
    _checks.instances(kernel=(kernel, Kernel))
    _checks.same_dim("kernel", kernel.grid.dim, "the line", 1)
    posterior = Posterior.of(kernel.exact_of, kernel.t0, kernel.t1)
    if posterior is not None:
        value, x = _closed.steepest(posterior.mean, posterior.core)
        found = yes("rows are Gaussian mixtures in closed form", True)
        return Ollivier(value=value, statement=_OLLIVIER, checked=(found,), unchecked=(_BETWEEN_POINTS,), x=x)
    h, width = float(kernel.grid.spacing[0]), float(kernel.target.spacing[0])
    # rows that lose mass at the ends of the box say nothing
    lost = np.zeros(len(kernel.matrix)) if kernel.defects is None else np.abs(kernel.defects)
    kept = np.flatnonzero(lost <= 1e-8)
    pairs = kept[:-1][np.diff(kept) == 1]
    gaps = np.abs(np.cumsum(np.diff(kernel.matrix, axis=0), axis=1)).sum(axis=1)[pairs] * width / h
    best = int(np.argmax(gaps)) if pairs.size else 0
    checked = (yes("neighbouring rows that stay in the box", bool(pairs.size)),)
    return Ollivier(
        value=float(gaps[best]) if pairs.size else None,
        statement=_OLLIVIER,
        checked=checked,
        unchecked=("sources between cell centres and beyond the box",),
        reason=failure(checked),
        x=float(kernel.grid.x[pairs[best]] + 0.5 * h) if pairs.size else float("nan"),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Discretization(Record):
    """What freezing the score costs; see `discretization`.

    Attributes
    ----------
    value : float or None
        Bound on ``KL(p_{t_n} | law of the sampler)``.
    kl_start : float
        ``KL(p_{t_0} | start)``.
    steps : array
        What every step adds to the bound.
    """

    kl_start: float
    steps: Array = field(repr=False)


def discretization(
    reverse: Reverse, times: ArrayLike, *, start: Law | None = None, grid: Grid | None = None
) -> Discretization:
    r"""Return the bound on the relative entropy of a sampler that freezes the exact score over its steps.

    The exponential integrator at eta = 1 follows the reverse equation with ``s(t_k, x_k)`` in place of ``s(t, x_t)``.
    By Girsanov, with the expectation under the exact two-time law of ``(X_t, X_{t_k})``,

    .. math:: \mathrm{KL}(p_{t_n} | \mu_n) \le \mathrm{KL}(p_{t_0} | \nu) + \frac12 \sum_k \int_{t_{k+1}}^{t_k} g^2
              \big[J_t + (1 - 2 \alpha(t, t_k)) J_{t_k}\big]\, dt, \qquad J_t = E|\nabla \log p_t(X_t)|^2 .

    No constant of smoothness is needed: ``E[s(t, X_t) | X_{t_k}] = alpha(t, t_k) s(t_k, X_{t_k})``, so the square needs
    nothing but the Fisher information of the marginals.

    Parameters
    ----------
    reverse : Reverse
        Exact score, eta = 1.
    times : array, shape (n + 1,)
        Decreasing forward times of the sampler.
    start : Law, optional
        nu, default the process' prior.
    grid : Grid, optional
        For integrals in 2D; not needed on the line.

    Raises
    ------
    ValueError
        Times out of order or range, no grid in 2D, a start of another dimension.

    References
    ----------
    Girsanov 1960, doi:10.1137/1105027; Song et al. 2021, arXiv:2101.09258 (for diffusion models); Conforti, Durmus and
    Silveri 2023, arXiv:2308.12240 (bounds by the Fisher information).

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=2.0))  # J = 1 at all times
    >>> found = discretization(reverse, [2.0, 1.5, 1.0])  # g^2 = 2: per step int 2 - 2 exp(-(t_k - t)) dt
    >>> round(found.value, 9), round(2 * (1.0 - 2.0 * (1.0 - 2.718281828459045**-0.5)), 9)
    (0.426122639, 0.426122639)
    """
    _checks.instances(reverse=(reverse, Reverse))
    levels = _times.decreasing("times", times, reverse.horizon)
    nu = reverse.process.prior(reverse.dim) if start is None else start
    _checks.same_dim("start", nu.dim, "reverse", reverse.dim)
    if reverse.dim == 2 and grid is None:
        raise _checks.error("grid", "a Grid for the integrals in 2D", "None")
    process, added, early, box = reverse.process, [], 0.0, []

    def fisher(t: float) -> float:
        law = reverse.marginal(t)
        value, margin = mean_under(grid, law, lambda x: square_of(law.score(x), law.dim))
        if law.dim == 2 and grid is not None:
            box.append(min(margin, *(one.margin for one in held(grid, law=law))))
        return value

    for t_k, later in pairwise(levels.tolist()):
        t, dr = over_time(reverse, t_k, later, 1)
        frozen = (1.0 - 2.0 * process.scale(t, t_k)) * fisher(t_k)
        moved = process.diffusion(t) ** 2 * (np.array([fisher(float(s)) for s in t]) + frozen) * dr
        added.append(0.5 * float(np.sum(moved)))
        early = float(np.sum(moved[t < EARLIEST * t_k])) / float(np.sum(moved))
    kl, of_start, beyond = entropy_of(grid, reverse.marginal(float(levels[0])), nu, ("p_t0", "start"))
    checked = (
        yes("exact score and eta = 1", reverse.exact and reverse.eta == 1.0),
        yes("the Fisher information is finite", bool(np.all(np.isfinite(added)))),
        Hypothesis("its integral is finite towards t = 0", _EARLY - early, "1e-6 less the share of the earliest times"),
        *(Hypothesis("the box holds the laws, and the cells resolve them", margin, ENDS) for margin in sorted(box)[:1]),
        *of_start,
    )
    reason = failure(checked)
    return Discretization(
        value=None if reason else kl + sum(added),
        statement="KL(p_tn|mu_n) <= KL(p_t0|nu) + 1/2 sum int g^2 [J_t + (1 - 2 alpha(t, t_k)) J_tk] dt (Girsanov)",
        checked=checked,
        unchecked=(
            "the sampler is the exponential integrator on the score",
            "quadratures in space and time",
            *(("the Fisher information beyond the box",) if box else ()),
            *beyond,
        ),
        reason=reason,
        kl_start=kl,
        steps=np.array(added),
    )

"""Relative entropy along a run: Girsanov's bound for two score models, also in (weighted) total variation, and the
explicit bound on a sampler's of Strasman et al. for variance-preserving processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, _memory, kernels
from fpsolve.bounds._line import (
    HELD,
    LOST,
    RESOLVED,
    entropy_of,
    held,
    mean_under,
    on_cells,
    over_time,
    square_of,
    under,
    unresolved_panels,
)
from fpsolve.bounds._lyapunov import edge
from fpsolve.bounds._moments import WeightedPinsker, weighted_pinsker
from fpsolve.bounds._record import Hypothesis, Record, failure, yes
from fpsolve.dynamics import Reverse
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.weights import WeightLike

Array = NDArray[np.float64]

#: Times at which the schedule is looked at, relative rounding of beta, and bisections towards its steepest rise.
_SCHEDULE_LOOKS, _ROUNDING, _BISECTIONS = 4097, 1e-12, 45
#: A rise of beta that is left, relative to its largest value, when the interval around it is halved that often.
_JUMP = 1e-6
SOURCE = "Strasman et al. 2025"


@dataclass(frozen=True, eq=False, kw_only=True)
class ExplicitKL(Record):
    """The three parts of the bound; see `explicit_kl`.

    Attributes
    ----------
    value : float or None
        ``mixing + score + discretization``, bound on ``KL(p_0|phat_0)``.
    mixing : float
        ``KL(p_0|N(0, sigma^2)) exp(-int beta/sigma^2)``: the start is not p_T.
    score : float
        ``sum_k E|s - shat|^2 int_step beta``.
    discretization : float
        ``2 h beta(T) max{h beta(T)/(4 sigma^2), 1} I(p_0|N(0, sigma^2))``.
    kl_prior, fisher_prior : float
        Relative entropy and relative Fisher information of p_0 to N(0, sigma^2).
    """

    mixing: float
    score: float
    discretization: float
    kl_prior: float
    fisher_prior: float


def explicit_kl(reverse: Reverse, steps: int, *, grid: Grid) -> ExplicitKL:
    r"""Return the explicit bound on ``KL(p_0 | \hat p_0)`` of a sampler with `steps` uniform steps from N(0, sigma^2).

    For a variance-preserving process with rate beta and stationary law N(0, sigma^2), the exponential integrator on the
    frozen modified score ``s + x/sigma^2`` (``frozen="modified"`` in `fpsolve.samplers`) and steps of length h = T/n,

    .. math:: \mathrm{KL}(p_0 | \hat p_0) \le \mathrm{KL}(p_0 | \pi) e^{-\int_0^T \beta/\sigma^2}
              + \sum_k E|s - \hat s|^2 \int_{step\, k} \beta
              + 2 h \beta(T) \max\{h \beta(T)/(4 \sigma^2), 1\}\, I(p_0 | \pi), \quad \pi = N(0, \sigma^2) .

    Its hypotheses are checked and listed: beta is continuous, positive and non-decreasing; the sampler has eta = 1;
    p_0 has a finite relative entropy and Fisher information to pi, over the whole line (in 2D: over the box, whose ends
    must hold nothing), so no jumps. Where one fails there is no value: with a decreasing beta the true relative entropy
    can be many times this number.

    Parameters
    ----------
    reverse : Reverse
        Its score is shat; the exact score makes the second term 0.
    steps : int
        n.
    grid : Grid
        For the integrals; its box must hold p_0 and the marginals.

    Returns
    -------
    ExplicitKL

    Raises
    ------
    ValueError
        A process that is not variance preserving.

    References
    ----------
    Strasman, Ocello, Boyer, Le Corff and Lemaire 2025, arXiv:2402.04650.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=1.0), fp.VP())
    >>> found = explicit_kl(reverse, 100, grid=fp.Grid.uniform((-9, 9), cells=300))
    >>> round(found.kl_prior, 6), round(found.fisher_prior, 6), round(found.discretization, 6)
    (0.125, 0.25, 0.1)
    """
    _checks.instances(reverse=(reverse, Reverse), grid=(grid, Grid))
    _checks.same_dim("grid", grid.dim, "reverse", reverse.dim)
    process, n = reverse.process, _memory.count("steps", steps, 32.0, "take fewer steps")
    _require_preserving(reverse)
    h, beta = process.T / n, float(process.diffusion(process.T)) ** 2
    kl_prior, fisher, of_data, unchecked = _data(reverse, grid)
    mixing = kl_prior * float(process.scale(0.0, process.T)) ** 2
    discretization = 2.0 * h * beta * max(h * beta / (4.0 * process.prior_std**2), 1.0) * fisher
    score, of_score, whole = (0.0, (), True) if reverse.exact else _score_error(reverse, n, process.prior_std**2, grid)
    one = bool(np.all(reverse.eta_at(np.linspace(process.T, 0.0, n + 1)[:-1]) == 1.0))
    checked = (*_schedule(reverse), yes("eta = 1", one, "at every step", SOURCE), *of_data, *of_score)
    reason = failure(checked)
    return ExplicitKL(
        value=None if reason else mixing + score + discretization,
        statement="KL(p_0|phat_0) <= E1 + E2 + E3, Strasman et al. 2025, arXiv:2402.04650",
        checked=checked,
        unchecked=(
            *unchecked,
            *(() if whole else ("the score error beyond the box",)),
            "the sampler: exponential integrator on the frozen modified score, equal steps, from N(0, sigma^2)",
        ),
        reason=reason,
        mixing=mixing,
        score=score,
        discretization=discretization,
        kl_prior=kl_prior,
        fisher_prior=fisher,
    )


def _schedule(reverse: Reverse) -> tuple[Hypothesis, ...]:
    """What the statement asks of beta, looked at on 4097 times."""
    process = reverse.process

    def beta(t: Array) -> Array:
        return np.square(process.diffusion(t))

    values = beta(np.linspace(0.0, process.T, _SCHEDULE_LOOKS))
    top, steps = float(np.max(values)), np.diff(values)
    low = int(np.argmax(np.abs(steps)))
    ends = process.T * np.array([low, low + 1]) / (_SCHEDULE_LOOKS - 1)
    for _ in range(_BISECTIONS):
        middle = 0.5 * ends.sum()
        rises = np.abs(np.diff(beta(np.array([ends[0], middle, ends[1]]))))
        ends = np.array([ends[0], middle]) if rises[0] > rises[1] else np.array([middle, ends[1]])
    jump = float(np.abs(np.diff(beta(ends)))[0]) / top
    where = f"at {_SCHEDULE_LOOKS} times, relative to its largest value"
    return (
        Hypothesis("beta is non-decreasing", float(np.min(steps)) / top + _ROUNDING, f"smallest step {where}", SOURCE),
        yes("beta is positive", float(np.min(values[1:])) > 0.0, where, SOURCE),
        Hypothesis("beta is continuous", _JUMP - jump, "1e-6 less its steepest rise, relative, bisected", SOURCE),
    )


def _data(reverse: Reverse, grid: Grid) -> tuple[float, float, tuple[Hypothesis, ...], tuple[str, ...]]:
    """Relative entropy and Fisher information of p_0 to N(0, sigma^2), their hypotheses, and what is not checked."""
    target, prior = reverse.target, reverse.process.prior(reverse.dim)
    variance = reverse.process.prior_std**2

    def log_ratio(x: Array) -> Array:
        return np.asarray(target.log_density(x) - prior.log_density(x))

    def information(x: Array) -> Array:
        return square_of(target.score(x) + x / variance, grid.dim)

    jumps, unchecked = _regular(target)
    kl, kl_margin = mean_under(grid, target, log_ratio)
    if failure(jumps):
        fisher, fisher_margin = np.inf, -1.0
    elif target.edges.size and target.tail is not None and target.tail.power == np.inf:
        # its score is a difference, which the end of a support cuts off
        fisher, fisher_margin = np.nan, np.nan
    else:
        fisher, fisher_margin = mean_under(grid, target, information)
    where = "over the line" if grid.dim == 1 else "1e-6 less the share of the integral at the ends of the box"
    checked = (
        *held(grid, p_0=target),
        Hypothesis("p_0 has a finite relative entropy", kl_margin, where, SOURCE),
        Hypothesis("p_0 has a finite relative Fisher information", fisher_margin, where, SOURCE),
        *jumps,
    )
    return kl, fisher, checked, unchecked


def _regular(law: Law) -> tuple[tuple[Hypothesis, ...], tuple[str, ...]]:
    """Whether the density has jumps, which make the Fisher information infinite whatever its score integrates to."""
    name = "p_0 has no jumps"
    if law.jumps is not None:
        return (yes(name, not law.jumps, "closed form", SOURCE),), ()
    if law.dim == 1 and law.edges.size:
        ends = law.edges
        step = 1e-9 * float(np.sqrt(np.asarray(law.cov)))
        root = np.exp(0.5 * law.log_density(np.stack([ends - step, ends + step])))
        jump = float(np.max(np.square(root[1] - root[0])) / np.max(np.square(root)))
        return (Hypothesis(name, 1e-6 - jump, "1e-6 less the largest, at its panels' ends", SOURCE),), ()
    return (), (name,)


def _require_preserving(reverse: Reverse) -> None:
    process = reverse.process
    times = np.linspace(0.1, 1.0, 10) * process.T
    power, linear = np.square(process.diffusion(times)), np.asarray(process.drift_rate(times))
    if np.max(np.abs(power + 2.0 * process.prior_std**2 * linear)) > 1e-9 * np.max(power):
        raise _checks.error("reverse", "a variance-preserving process", type(process).__name__, "use VP or girsanov")


def _score_error(reverse: Reverse, n: int, variance: float, grid: Grid) -> tuple[float, tuple[Hypothesis, ...], bool]:
    """``sum_k E|s - shat|^2 int_step beta``, under p_t at the start of each step, and whether beyond the box, too."""
    times = np.linspace(reverse.process.T, 0.0, n + 1)
    total, lost, errors = 0.0, 0.0, []
    for t, later in pairwise(times.tolist()):
        law = reverse.marginal(t)
        lost = max(lost, abs(1.0 - float(grid.cell_average(law).sum() * grid.volume)))

        def square(x: Array, t: float = t) -> Array:
            return square_of(reverse.marginals.score(t, x) - reverse.score(t, x), grid.dim)

        errors.append(under(law, square, grid))
        # int beta = -2 sigma^2 log alpha over the step
        total += errors[-1].value * -2.0 * variance * float(np.log(reverse.process.scale(later, t)))
    checked = (
        Hypothesis("the box holds the marginals", LOST - lost, "1e-6 less the mass beyond it"),
        Hypothesis("the box holds the score error", min(e.held for e in errors), HELD),
        Hypothesis("the cells resolve the score error", min(e.resolved for e in errors), RESOLVED),
    )
    return total, checked, all(e.whole for e in errors)


#: Panels of the time integral, how often they are halved, and the share of it that their last coefficients may hold.
_PANELS, _ROUNDS, _UNRESOLVED = 6, 10, 0.01
#: Times at which an eta that is a function is looked at for zeros.
_LOOKS = 1025


@dataclass(frozen=True, eq=False, kw_only=True)
class Girsanov(Record):
    """Relative entropy of two runs at t_min, and what follows from it; see `girsanov`.

    Attributes
    ----------
    value : float or None
        Bound on ``KL(first|second)`` at t_min.
    kl_start : float
        ``KL`` of the starts.
    kl_path : float
        The path integral.
    total_variation : float
        ``sqrt(KL/2)``, with the factor 1/2 in the definition (Pinsker); NaN without a value.
    weighted : float
        The smallest of the three weighted bounds: on ``int V |dmu - dnu|``; NaN without a value.
    details : WeightedPinsker
        The three of them.
    times, integrand : arrays
        Forward times from T to t_min and ``1/2 E |Db|^2/(eta g)^2`` there: where along the run the entropy arises.
    """

    kl_start: float
    kl_path: float
    total_variation: float
    weighted: float
    details: WeightedPinsker = field(repr=False)
    times: Array = field(repr=False)
    integrand: Array = field(repr=False)


def girsanov(
    first: Reverse,
    second: Reverse,
    *,
    t_min: float,
    grid: Grid,
    weight: WeightLike = None,
    first_start: Law | None = None,
    second_start: Law | None = None,
) -> Girsanov:
    r"""Return the bound on the relative entropy of two reverse dynamics that differ in score and start.

    .. math:: \mathrm{KL}(\mu_{t_{min}} | \nu_{t_{min}}) \le \mathrm{KL}(\mu_T | \nu_T)
              + \frac12 \int E_{\mu_r}\!\Big[\frac{|\Delta b|^2}{\eta^2 g^2}\Big] dr, \qquad
              \Delta b = \tfrac{1 + \eta^2}{2} g^2 (s - s'),

    mu the run of `first`, nu that of `second`. The expectation is taken along the first: the marginals themselves where
    it is exact and starts from p_T, over the line, or in the plane over a box that is widened until it holds them;
    finite volumes on the grid otherwise. Total variation by Pinsker's inequality, weighted by three, with moments from
    the grid.

    Parameters
    ----------
    first, second : Reverse
        Same process and eta > 0.
    t_min : float
        Forward time > 0 at which the runs end.
    grid : Grid
        Holds all laws of both runs.
    weight : Weight or callable, optional
        V of the weighted distance, default ``1 + |x|^2``.
    first_start, second_start : Law, optional
        Laws at T, default p_T for the first and the start of the first for the second.

    Returns
    -------
    Girsanov

    Raises
    ------
    ValueError
        Different processes or eta, eta = 0 (no noise, no absolute continuity), t_min outside of (0, T).

    References
    ----------
    Girsanov 1960, doi:10.1137/1105027; for diffusion models Song et al. 2021, arXiv:2101.09258, and Chen et al. 2023,
    arXiv:2209.11215; Bolley and Villani 2005, doi:10.5802/afst.1095.

    Examples
    --------
    >>> import fpsolve as fp
    >>> exact = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0))
    >>> other = fp.Reverse(exact.target, exact.process, score=lambda t, x: 0.1 - x)
    >>> found = girsanov(exact, other, t_min=0.5, grid=fp.Grid.uniform((-8, 8), cells=200))
    >>> round(found.value, 9)  # g^2 |s - s'|^2/2 over a time of 1/2
    0.005
    """
    _checks.instances(first=(first, Reverse), second=(second, Reverse), grid=(grid, Grid))
    _require(first, second, t_min, first_start=first_start, second_start=second_start)
    _checks.same_dim("grid", grid.dim, "first", first.dim)
    T = first.horizon
    start = first.marginal(T) if first_start is None else first_start
    other = start if second_start is None else second_start
    known = first.exact and first_start is None
    hidden = first.hidden(t_min, T, grid).with_others(second.hidden(t_min, T, grid))
    square = partial(_square, first, second)
    under_marginal = cache(lambda t: under(first.marginal(t), square(t), grid))
    for _ in range(_ROUNDS):
        times, dr = over_time(first, T, t_min, _PANELS, hidden)
        density, last, lost = _densities(first, times, t_min, grid, start if first_start is not None else None)
        factor = _factor(first, times, t_min)
        pairs = zip(times.tolist(), density, strict=True)
        # finite volumes depend on where they stop, marginals are asked once
        errors = [under_marginal(t) if known else on_cells(p, square(t)(grid.x), grid) for t, p in pairs]
        integrand = factor * np.array([error.value for error in errors])
        unresolved, halves = unresolved_panels(times, integrand * dr, _UNRESOLVED)
        if not unresolved > _UNRESOLVED:
            break
        hidden = hidden.with_others(halves)
    kl_start, of_start, beyond = (0.0, (), ()) if other is start else entropy_of(grid, start, other)
    kl_path = float(np.sum(integrand * dr))
    arrived = kernels.finite_volume_operator(second, grid, T, t_min).push(grid.cell_average(other))
    lost = max(lost, _lost(arrived, grid))
    # the first run ends in p_t_min where nothing disturbs it; of the second only cells are known
    ends = first.marginal(t_min) if known else last
    entropy = np.inf if failure(of_start) else kl_start + kl_path
    details = weighted_pinsker(entropy, ends, arrived, grid, weight)
    checked = (
        Hypothesis("the box holds the laws", LOST - lost, "1e-6 less the mass beyond it, or in the cells at its ends"),
        Hypothesis("the box holds E|Db|^2", min(e.held for e in errors), HELD),
        Hypothesis("the cells resolve E|Db|^2", min(e.resolved for e in errors), RESOLVED),
        Hypothesis("the times resolve it", _UNRESOLVED - unresolved, "1 % less the last two of eight coefficients"),
        *of_start,
    )
    reason = failure(checked)
    return Girsanov(
        value=None if reason else entropy,
        statement="KL <= KL(starts) + 1/2 int E|Db|^2/(eta g)^2 dr (Girsanov); Pinsker; Bolley and Villani 2005",
        checked=checked,
        unchecked=(
            "Novikov's condition, or what replaces it (Chen et al. 2023)",
            *(() if all(e.whole for e in errors) else ("E|Db|^2 beyond the box",)),
            *beyond,
            *details.unchecked,
            f"the integrand between its {len(times)} times, the score error between the points of its integrals",
        ),
        reason=reason,
        kl_start=kl_start,
        kl_path=kl_path,
        total_variation=float("nan") if reason else float(np.sqrt(0.5 * entropy)),
        weighted=float("nan") if reason else details.best,
        details=details,
        times=times,
        integrand=integrand,
    )


_SINGULAR = "without noise two runs are singular to each other"


def _require(first: Reverse, second: Reverse, t_min: float, **starts: Law | None) -> None:
    if first.process != second.process or first.eta != second.eta:
        got = f"eta = {second.eta_label}, {second.process!r}"
        raise _checks.error("second", "the process and eta of the first", got)
    if first.noiseless:
        raise _checks.error("first", "eta > 0", "0", _SINGULAR)
    _checks.same_dim("second", second.dim, "first", first.dim)
    _checks.interval("t_min", t_min, 0.0, first.horizon, ends="()")
    for name, law in starts.items():
        if law is not None:
            _checks.instances(**{name: (law, Law)})
            _checks.same_dim(name, law.dim, "first", first.dim)


def _factor(reverse: Reverse, times: Array, t_min: float) -> Array:
    """``((1 + eta^2)/2)^2 g^2/(2 eta^2)``; refused where eta is 0, between the times too: an interval is enough."""
    looks = np.concatenate([times, np.linspace(t_min, reverse.horizon, _LOOKS)]) if callable(reverse.eta) else times
    quiet = reverse.eta_at(looks) == 0.0
    if np.any(quiet):
        raise _checks.error("first", "eta > 0 at every time", f"0 at t = {looks[np.argmax(quiet)]:g}", _SINGULAR)
    square = np.square(reverse.eta_at(times))
    return np.asarray(0.5 * (0.5 * (1.0 + square)) ** 2 / square * np.square(reverse.process.diffusion(times)))


def _densities(
    reverse: Reverse, times: Array, t_min: float, grid: Grid, start: Law | None
) -> tuple[list[Array], Array, float]:
    """Cell averages of the first run at the times and at t_min, and the largest mass beyond the box."""
    if reverse.exact and start is None:
        averages = [grid.cell_average(reverse.marginal(float(t))) for t in (reverse.horizon, *times, t_min)]
    else:
        averages = [grid.cell_average(reverse.marginal(reverse.horizon) if start is None else start)]
        ends = [reverse.horizon, *times.tolist(), t_min]
        for t0, t1 in pairwise(ends):
            averages.append(kernels.finite_volume_operator(reverse, grid, t0, t1).push(averages[-1]))
    lost = max(_lost(p, grid) for p in averages)
    return averages[1:-1], averages[-1], lost


def _lost(p: Array, grid: Grid) -> float:
    """Mass beyond the box, or in the cells at its ends: finite volumes keep there what would leave it."""
    return max(abs(1.0 - float(p.sum() * grid.volume)), float(np.abs(p[edge(grid)]).sum() * grid.volume))


def _square(first: Reverse, second: Reverse, t: float) -> Callable[[Array], Array]:
    """``|s - s'|^2`` at points."""
    return lambda x: square_of(first.score(t, x) - second.score(t, x), first.dim)

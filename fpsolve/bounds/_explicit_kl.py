"""The explicit bound on the relative entropy of a sampler of Strasman et al. for variance-preserving processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve.bounds._line import HELD, LOST, RESOLVED, Line, end_share, held, under
from fpsolve.bounds._record import Hypothesis, Record, failure, yes
from fpsolve.dynamics import Reverse
from fpsolve.grid import Grid
from fpsolve.laws import Law

Array = NDArray[np.float64]

#: Times at which the schedule is looked at, relative rounding of beta, and bisections towards its steepest rise.
_LOOKS, _ROUNDING, _BISECTIONS = 4097, 1e-12, 45
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
    process, n = reverse.process, _checks.integer("steps", steps)
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

    values = beta(np.linspace(0.0, process.T, _LOOKS))
    top, steps = float(np.max(values)), np.diff(values)
    low = int(np.argmax(np.abs(steps)))
    ends = process.T * np.array([low, low + 1]) / (_LOOKS - 1)
    for _ in range(_BISECTIONS):
        middle = 0.5 * ends.sum()
        rises = np.abs(np.diff(beta(np.array([ends[0], middle, ends[1]]))))
        ends = np.array([ends[0], middle]) if rises[0] > rises[1] else np.array([middle, ends[1]])
    jump = float(np.abs(np.diff(beta(ends)))[0]) / top
    where = f"at {_LOOKS} times, relative to its largest value"
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


def square_of(values: Array, dim: int) -> Array:
    return np.square(values) if dim == 1 else np.asarray(np.square(values).sum(axis=-1))


def mean_under(grid: Grid | None, law: Law, f: Callable[[Array], Array]) -> tuple[float, float]:
    """E f under the law, over the line in 1D and over the box in 2D; a margin that is negative where it is infinite."""
    if grid is not None and law.dim == 2:
        values = grid.cell_average(lambda x: law.density(x) * f(x))
        return float(values.sum() * grid.volume), end_share(values)
    line = Line.of(law)
    log_p = law.log_density(line.x)
    seen = log_p > -700.0
    values = np.zeros(line.x.shape)
    values[seen] = f(line.x[seen])
    mean = line.mean(np.where(seen, log_p, -np.inf), values)
    return mean, 0.0 if np.isfinite(mean) else -1.0

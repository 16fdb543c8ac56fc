"""The explicit bound on the relative entropy of a sampler of Strasman et al. for variance-preserving processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve.bounds._quadrature import end_share, held
from fpsolve.bounds._record import Hypothesis, Record, failure
from fpsolve.grid import Grid
from fpsolve.laws import Law

if TYPE_CHECKING:
    from fpsolve.dynamics import Reverse

Array = NDArray[np.float64]


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
    process, n = reverse.process, _checks.integer("steps", steps)
    _require_preserving(reverse)
    prior = process.prior(reverse.dim)
    variance = process.prior_std**2
    h, beta = process.T / n, float(process.diffusion(process.T)) ** 2
    kl_prior, kl_ends = _mean(grid, reverse.target, lambda x: reverse.target.log_density(x) - prior.log_density(x))
    fisher, fisher_ends = _mean(
        grid, reverse.target, lambda x: _square(reverse.target.score(x) + x / variance, grid.dim)
    )
    mixing = kl_prior * float(process.scale(0.0, process.T)) ** 2
    discretization = 2.0 * h * beta * max(h * beta / (4.0 * variance), 1.0) * fisher
    checked = (
        *held(grid, p_0=reverse.target),
        Hypothesis("the box holds the relative entropy", kl_ends, "1e-6 less the share of the integral at the ends"),
        Hypothesis(
            "the box holds the Fisher information", fisher_ends, "1e-6 less the share of the integral at the ends"
        ),
    )
    reason = failure(checked)
    score = 0.0 if reverse.exact else _score_error(reverse, n, variance, grid)
    return ExplicitKL(
        value=None if reason else mixing + score + discretization,
        statement="KL(p_0|phat_0) <= E1 + E2 + E3, Strasman et al. 2025, arXiv:2402.04650",
        checked=checked,
        unchecked=("smoothness of p_0 beyond a finite Fisher information",),
        reason=reason,
        mixing=mixing,
        score=score,
        discretization=discretization,
        kl_prior=kl_prior,
        fisher_prior=fisher,
    )


def _require_preserving(reverse: Reverse) -> None:
    process = reverse.process
    times = np.linspace(0.1, 1.0, 10) * process.T
    power, linear = np.square(process.diffusion(times)), np.asarray(process.drift_rate(times))
    if np.max(np.abs(power + 2.0 * process.prior_std**2 * linear)) > 1e-9 * np.max(power):
        raise _checks.error("reverse", "a variance-preserving process", type(process).__name__, "use VP or girsanov")


def _score_error(reverse: Reverse, n: int, variance: float, grid: Grid) -> float:
    """``sum_k E|s - shat|^2 int_step beta``, the expectation under p_t at the start of each step."""
    times = np.linspace(reverse.process.T, 0.0, n + 1)
    total = 0.0
    for t, later in pairwise(times):
        gap = _square(reverse.marginals.score(float(t), grid.x) - reverse.score(float(t), grid.x), grid.dim)
        mean = float(np.sum(grid.cell_average(reverse.marginal(float(t))) * gap) * grid.volume)
        # int beta = -2 sigma^2 log alpha over the step
        total += mean * -2.0 * variance * float(np.log(reverse.process.scale(float(later), float(t))))
    return total


def _square(values: Array, dim: int) -> Array:
    return np.square(values) if dim == 1 else np.asarray(np.square(values).sum(axis=-1))


def _mean(grid: Grid, law: Law, f: Callable[[Array], Array]) -> tuple[float, float]:
    """E f under the law over the box, and by how much its ends hold less of it than they may."""
    values = grid.cell_average(lambda x: law.density(x) * f(x))
    return float(values.sum() * grid.volume), end_share(values)

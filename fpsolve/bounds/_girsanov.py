"""Girsanov: two score models compared along a run, as relative entropy and in (weighted) total variation."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, kernels
from fpsolve.bounds._line import HELD, RESOLVED, ScoreError, entropy_of, on_cells, over_time, under
from fpsolve.bounds._lyapunov import edge
from fpsolve.bounds._moments import WeightedPinsker, weighted_pinsker
from fpsolve.bounds._record import Hypothesis, Record, failure
from fpsolve.dynamics import Reverse
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.weights import WeightLike

Array = NDArray[np.float64]

#: Panels of the time integral.
_PANELS = 6
#: Times at which an eta that is a function is looked at for zeros.
_LOOKS = 1025
#: Mass that the laws along the run may have beyond the box.
_LOST = 1e-6


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
    _require(first, second, t_min)
    _checks.same_dim("grid", grid.dim, "first", first.dim)
    _require_starts(first, first_start=first_start, second_start=second_start)
    T = first.horizon
    start = first.marginal(T) if first_start is None else first_start
    other = start if second_start is None else second_start
    times, dr = over_time(first, T, t_min, _PANELS)
    density, last, lost = _densities(first, times, t_min, grid, start if first_start is not None else None)
    _require_noise(first, np.concatenate([times, np.linspace(t_min, T, _LOOKS)]) if callable(first.eta) else times)
    square = np.square(first.eta_at(times))
    factor = 0.5 * (0.5 * (1.0 + square)) ** 2 / square
    known = first.exact and first_start is None
    errors = [_error(p, first, second, float(t), grid, known) for t, p in zip(times, density, strict=True)]
    integrand = factor * np.square(first.process.diffusion(times)) * np.array([error.value for error in errors])
    kl_start, of_start, beyond = (0.0, (), ()) if other is start else entropy_of(grid, start, other)
    kl_path = float(np.sum(integrand * dr))
    arrived = kernels.finite_volume_operator(second, grid, T, t_min).push(grid.cell_average(other))
    lost = max(lost, _lost(arrived, grid))
    # the first run ends in p_t_min where nothing disturbs it; of the second only cells are known
    ends = first.marginal(t_min) if known else last
    entropy = np.inf if failure(of_start) else kl_start + kl_path
    details = weighted_pinsker(entropy, ends, arrived, grid, weight)
    checked = (
        Hypothesis("the box holds the laws", _LOST - lost, "1e-6 less the mass beyond it, or in the cells at its ends"),
        Hypothesis("the box holds E|Db|^2", min(e.held for e in errors), HELD),
        Hypothesis("the cells resolve E|Db|^2", min(e.resolved for e in errors), RESOLVED),
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


def _require(first: Reverse, second: Reverse, t_min: float) -> None:
    if first.process != second.process or first.eta != second.eta:
        got = f"eta = {second.eta_label}, {second.process!r}"
        raise _checks.error("second", "the process and eta of the first", got)
    if first.noiseless:
        raise _checks.error("first", "eta > 0", "0", _SINGULAR)
    _checks.same_dim("second", second.dim, "first", first.dim)
    _checks.interval("t_min", t_min, 0.0, first.horizon, ends="()")


def _require_starts(first: Reverse, **starts: Law | None) -> None:
    for name, law in starts.items():
        if law is not None:
            _checks.instances(**{name: (law, Law)})
            _checks.same_dim(name, law.dim, "first", first.dim)


def _require_noise(first: Reverse, times: Array) -> None:
    """Also between the nodes of the integral: an interval without noise is enough."""
    quiet = first.eta_at(times) == 0.0
    if np.any(quiet):
        got = f"0 at t = {times[np.argmax(quiet)]:g}"
        raise _checks.error("first", "eta > 0 at every time", got, _SINGULAR)


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


def _error(p: Array, first: Reverse, second: Reverse, t: float, grid: Grid, known: bool) -> ScoreError:
    """``E|s - s'|^2`` under the first run, which is its marginal where that is `known`."""

    def square(x: Array) -> Array:
        gap = np.square(first.score(t, x) - second.score(t, x))
        return np.asarray(gap if grid.dim == 1 else gap.sum(axis=-1))

    return under(first.marginal(t), square, grid) if known else on_cells(p, square(grid.x), grid)

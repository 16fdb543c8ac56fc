"""Sensitivity of Harris' theorem to the localization set: the best abar for every level R, and what the box allows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve._checks import instances
from fpsolve.bounds._dobrushin import _stochastic, certain, default_levels, increasing, matrix_overlaps
from fpsolve.bounds._harris import UNCHECKED
from fpsolve.bounds._lyapunov import BOX_ONLY, GAMMAS, HELD_DETAIL, Region, height
from fpsolve.bounds._record import STATEMENT, Hypothesis, Record, Trials, failure
from fpsolve.bounds._whole_line import Line, trade_off
from fpsolve.kernels import Kernel
from fpsolve.weights import WeightLike

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Localization(Record):
    """Harris' contraction as a function of the level R of the localization set; see `localization`.

    Attributes
    ----------
    value : float or None
        Smallest abar over the levels that the box holds, where it is below 1 and its hypotheses are known on the whole
        line (see `harris`).
    level : float
        R where it is attained; NaN where no level has one.
    held : float
        The largest level whose set ``{V <= R}`` the box holds: beyond it nothing is certified.
    levels, commons, pairwise : arrays, shape (n,)
        R, a and a''.
    abar, abar_common : arrays, shape (n,)
        The best abar at R over all pairs (gamma, K), with a'' and with a in its place; NaN where R is not above
        ``2K/(1 - gamma)`` for any of them, or beyond `held`.
    unguarded : array, shape (n,)
        The number that one gets from the matrix alone, at every R and with K from all cells, those at the ends of the
        box included: what a box that is too small would make one believe. No certificate.
    """

    level: float
    held: float
    levels: Array = field(repr=False)
    commons: Array = field(repr=False)
    pairwise: Array = field(repr=False)
    abar: Array = field(repr=False)
    abar_common: Array = field(repr=False)
    unguarded: Array = field(repr=False)


def localization(kernel: Kernel, *, weight: WeightLike = None, levels: ArrayLike | None = None) -> Localization:
    r"""Return what Harris' theorem gives a kernel for every localization set ``{V <= R}``, V = weight - 1.

    A small set overlaps well but must hold what the drift sends back, ``R > 2K/(1 - gamma)``; a large one is easily
    returned to but its far ends share nothing: abar(R) has a minimum in between, which `harris` returns.

    Parameters
    ----------
    kernel : Kernel
        Use ``source="point"`` for transitions from points.
    weight : Weight or callable, optional
        ``1 + beta V`` as it stands, default ``1 + |x|^2``.
    levels : array, optional
        R, increasing; default 60 from the smallest pair of cells to what the box holds.

    Returns
    -------
    Localization

    Raises
    ------
    ValueError
        Levels that do not increase, a weight below 1.

    References
    ----------
    Hairer and Mattingly 2011, doi:10.1007/978-3-0348-0021-1_7, Theorem 1.3.

    Examples
    --------
    >>> import fpsolve as fp
    >>> from fpsolve import kernels
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=3.0))
    >>> kernel = kernels.exact(reverse, fp.Grid.uniform((-10, 10), cells=200), 3.0, 0.1, source="point")
    >>> found = localization(kernel, weight=fp.PolynomialWeight(2, 0.1))
    >>> bool(found.value <= np.nanmin(found.abar_common)), bool(found.level <= found.held)
    (True, True)
    """
    instances(kernel=(kernel, Kernel))
    v, region, line = height(weight, kernel.grid), Region.of(kernel, weight), Line.of(kernel, weight)
    held = region.held(v)
    pulled = kernel.markov.pull(height(weight, kernel.target).reshape(kernel.target.shape)).ravel()
    curve = default_levels(v, held) if levels is None else increasing(levels)
    bare = matrix_overlaps(kernel, weight, curve)
    pairwise, commons = certain(line, curve, bare)
    trade = trade_off(kernel, weight, v, region, line)
    ok, within = trade.admissible, curve <= held
    best, with_common = (
        np.where(within, _best(trade.gammas[ok], trade.ks[ok], curve, overlap), np.nan)
        for overlap in (pairwise, commons)
    )
    excess = pulled - np.multiply.outer(GAMMAS, v)
    at = int(np.nanargmin(best)) if np.isfinite(best).any() else None
    smallest = np.inf if at is None else float(best[at])
    checked = (
        Hypothesis("some level within the box has a drift", float(held) if at is not None else -1.0, HELD_DETAIL),
        _stochastic(kernel),
        Hypothesis("abar is below 1", 1.0 - smallest if smallest < 1.0 else min(1.0 - smallest, -1e-300)),
    )
    reason = failure(checked)
    if line is None and not reason:
        reason = f"{BOX_ONLY}; abar = {smallest:.6g} there"
    return Localization(
        value=None if reason else smallest,
        statement=STATEMENT,
        checked=checked,
        unchecked=UNCHECKED if line is None else line.unchecked,
        reason=reason,
        level=float("nan") if at is None else float(curve[at]),
        held=held,
        levels=curve,
        commons=commons,
        pairwise=pairwise,
        abar=best,
        abar_common=with_common,
        unguarded=_best(GAMMAS, np.maximum(excess.max(axis=1), 0.0), curve, bare[0]),
    )


def _best(gammas: Array, ks: Array, levels: Array, overlaps: Array) -> Array:
    """Smallest abar over the pairs at every level; NaN where none is admissible."""
    if gammas.size == 0:
        return np.full(levels.shape, np.nan)
    found = Trials(gammas, ks, levels, overlaps).abar(1.0).min(axis=0)
    return np.where(np.isfinite(found), found, np.nan)

"""Assumptions on the data: dissipativity and polynomial growth of a score, in closed form or fitted with a region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, _times
from fpsolve.bounds import _closed
from fpsolve.bounds._record import Hypothesis, Record, failure
from fpsolve.laws import Law

if TYPE_CHECKING:
    from fpsolve.dynamics import Reverse

Array = NDArray[np.float64]

_RADII, _ANGLES = 400, 64
#: Dissipative tails keep ``-x.s/|x|^2`` when the radius doubles; exponential tails halve it.
_KEPT = 0.8
#: Radius of the region by default, in standard deviations.
_REACH = 8.0
#: Rounding of the check, relative to the size of the terms.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False, kw_only=True)
class Assumptions(Record):
    """Constants of ``x . s(x) <= -A |x|^2 + B`` and ``|s(x)| <= C (1 + |x|^k)``.

    Attributes
    ----------
    value : float or None
        A, where it is positive.
    offset : float
        B.
    growth : float
        C.
    power : float
        k.
    region : float
        Radius within which the inequalities were checked; a fit knows nothing beyond it.
    method : str
        "closed form" or "fitted".
    """

    offset: float
    growth: float
    power: float
    region: float
    method: str


def assumptions(
    dynamics: Reverse | Law, t: float = 0.0, *, region: float | None = None, share: float = 0.5
) -> Assumptions:
    r"""Return dissipativity and growth constants of a score, checked on a region.

    .. math:: x \cdot s(t, x) \le -A |x|^2 + B, \qquad |s(t, x)| \le C (1 + |x|^k).

    For the exact score of a Gaussian mixture (a kernel density is one) with variances in [v_min, v_max] and means
    within M, all at time t: ``A = share/v_max``, ``B = M^2 v_max/(4 (1 - share) v_min^2)``, ``C = max(1, M)/v_min``,
    k = 1. For any other law and for a score model the constants are fitted on ``|x| <= region``: A is the given share
    of the smallest ``-x.s/|x|^2`` in the outer half, B what is then missing, k the slope of ``log|s|`` there. Where
    ``-x.s/|x|^2`` falls off over the outer half (Laplace, Student's t, a score of the wrong sign) there is no A: every
    region would return one.

    Parameters
    ----------
    dynamics : Reverse or Law
        The score of a reverse dynamics at time t, or of a law.
    t : float
        Forward time; not used for a law.
    region : float, optional
        Radius, default 8 standard deviations around 0 plus the distance of the mean.
    share : float
        In (0, 1), default 1/2.

    Returns
    -------
    Assumptions

    Raises
    ------
    ValueError
        A share outside of (0, 1), a radius that is not positive, a law without variance and no region.

    Examples
    --------
    >>> import fpsolve as fp
    >>> found = assumptions(fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.5, 0.5]))
    >>> found.value, found.offset, found.growth, found.method
    (2.0, 8.0, 8.0, 'closed form')
    >>> assumptions(fp.Laplace()).value is None
    True
    """
    _checks.interval("share", share, 0.0, 1.0, ends="()")
    law, score, exact = _what(dynamics, t)
    radius = _default_region(law) if region is None else _checks.positive("region", region)
    numbers = _closed.spectrum(law) if exact else None
    if numbers is not None:
        a, b = _closed.dissipativity(numbers, share)
        return _record(score, law.dim, radius, (a, b, _closed.growth(numbers), 1.0), "closed form", ())
    fitted, checked = _fit(score, law.dim, radius, share)
    return _record(score, law.dim, radius, fitted, "fitted", checked)


def _what(dynamics: Reverse | Law, t: float) -> tuple[Law, Callable[[Array], Array], bool]:
    """The law, its score as a function of points, and whether that score is the law's own."""
    if isinstance(dynamics, Law):
        return dynamics, dynamics.score, True
    _times.within("t", t, dynamics.horizon)
    law = dynamics.marginal(t)
    return law, (law.score if dynamics.exact else lambda x: dynamics.score(t, x)), dynamics.exact


def _default_region(law: Law) -> float:
    variance = float(np.max(np.diagonal(np.atleast_2d(law.cov))))
    if not np.isfinite(variance):
        raise _checks.error("region", "a radius for a law without variance", "None", "give region=")
    return float(np.linalg.norm(np.atleast_1d(law.mean))) + _REACH * float(np.sqrt(variance))


def _polar(dim: int, radii: Array, offset: float = 0.0) -> Array:
    """Points at the given radii in all directions: (n, 2) in 1D (both sides), (n, angles, 2) in 2D."""
    if dim == 1:
        return np.stack([-radii, radii], axis=-1)
    angles = 2.0 * np.pi * (np.arange(_ANGLES) + offset) / _ANGLES
    return np.asarray(radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1))


def _inward(score: Callable[[Array], Array], dim: int, radii: Array, offset: float = 0.0) -> tuple[Array, Array]:
    """``max x.s`` and ``max |s|`` over the directions, per radius."""
    x = _polar(dim, radii, offset)
    s = np.asarray(score(x), dtype=np.float64)
    along, size = (x * s, np.abs(s)) if dim == 1 else ((x * s).sum(axis=-1), np.hypot(s[..., 0], s[..., 1]))
    return along.max(axis=1), size.max(axis=1)


def _fit(
    score: Callable[[Array], Array], dim: int, radius: float, share: float
) -> tuple[tuple[float, float, float, float], tuple[Hypothesis, ...]]:
    """A, B, C, k on the region, and the hypothesis that A is not an artefact of the region."""
    radii = np.linspace(0.0, radius, _RADII + 1)[1:]
    along, size = _inward(score, dim, radii)
    pull = -along / radii**2
    outer = radii >= 0.5 * radius
    kept = float(pull[-1] / pull[outer][0]) if pull[outer][0] > 0.0 else -np.inf
    margin = kept - _KEPT if np.isfinite(kept) else float(np.min(pull[outer]) - abs(pull[outer][0]))
    tail = Hypothesis("dissipative tail", margin, "share of -x.s/|x|^2 left when the radius doubles, less 0.8")
    a = share * float(np.min(pull[outer]))
    b = max(0.0, float(np.max(along + a * radii**2)))
    slope = np.polyfit(np.log(radii[outer]), np.log(np.maximum(size[outer], 1e-300)), 1)[0]
    power = max(0.0, float(slope))
    return (a, b, float(np.max(size / (1.0 + radii**power))), power), (tail,)


def _record(
    score: Callable[[Array], Array],
    dim: int,
    radius: float,
    constants: tuple[float, float, float, float],
    method: str,
    checked: tuple[Hypothesis, ...],
) -> Assumptions:
    """Check the constants at other points than they were fitted on."""
    a, b, c, power = constants
    radii = radius * (np.arange(2 * _RADII) + 0.5) / (2 * _RADII)
    along, size = _inward(score, dim, radii, offset=0.5)
    fine = 1.0 if method == "closed form" else 1.0 + 1e-2
    dissipative = float(np.min(fine * b + _ROUNDING * (1.0 + b) - a * radii**2 - along))
    growing = float(np.min(fine * c * (1.0 + radii**power) - size))
    where = f"|x| <= {radius:.4g}, {method}"
    checked = (
        *checked,
        Hypothesis("dissipativity", dissipative, where),
        Hypothesis("polynomial growth", growing, where),
        Hypothesis("A is positive", a if a > 0.0 else min(a, -1e-300)),
    )
    reason = failure(checked)
    return Assumptions(
        value=None if reason else a,
        statement="x.s(x) <= -A |x|^2 + B and |s(x)| <= C (1 + |x|^k)",
        checked=checked,
        unchecked=() if method == "closed form" else (f"both inequalities beyond |x| = {radius:.4g}",),
        reason=reason,
        offset=b,
        growth=c,
        power=power,
        region=radius,
        method=method,
    )

"""Assumptions on the data: dissipativity and polynomial growth of a score, in closed form or fitted with a region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, _times
from fpsolve.bounds import _closed
from fpsolve.bounds._record import Hypothesis, Record, failure
from fpsolve.dynamics import Reverse
from fpsolve.laws import Law
from fpsolve.marginals import QuadratureLaw

Array = NDArray[np.float64]

_RADII, _ANGLES = 1600, 64
#: Rounds and angles of the search around the best of them: scores of narrow correlated laws turn within a degree.
_ROUNDS, _NEAR = 4, 9
#: Doublings of the radius over which a score is followed beyond the region.
_DOUBLINGS = 12
#: What ``-x.s/|x|^2`` may lose over the later half of them, and that loss against the one over the earlier half: where
#: a constant is approached the loss ends, where a power is left it goes on.
_LOSS, _GOES_ON, _NONE = 0.02, 0.3, 1e-6
#: How much steeper ``log|s|`` may become over the later half.
_STEEPER = 0.05
#: Radius of the region by default, in standard deviations.
_REACH = 8.0
#: What fitted constants B and C have over their largest need at the points looked at: they are for those between, too.
_BETWEEN = 1.01
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
    radii, pull : arrays
        Growing radii, from the region's outwards, and the smallest ``-x.s/|x|^2`` there: the trend that a fitted A
        stands on. Empty where it was not followed.
    """

    offset: float
    growth: float
    power: float
    region: float
    method: str
    radii: Array = field(default_factory=lambda: np.empty(0), repr=False)
    pull: Array = field(default_factory=lambda: np.empty(0), repr=False)

    @property
    def certified(self) -> bool:
        """Whether A, B, C and k are in closed form and hold everywhere; a fit is no certificate."""
        return self.value is not None and self.method == "closed form"


def assumptions(
    dynamics: Reverse | Law, t: float = 0.0, *, region: float | None = None, share: float = 0.5
) -> Assumptions:
    r"""Return dissipativity and growth constants of a score, checked on a region.

    .. math:: x \cdot s(t, x) \le -A |x|^2 + B, \qquad |s(t, x)| \le C (1 + |x|^k).

    For the exact score of a Gaussian mixture (a kernel density is one) with variances in [v_min, v_max] and means
    within M, all at time t: ``A = share/v_max``, ``B = M^2 v_max/(4 (1 - share) v_min^2)``, ``C = max(1, M)/v_min``,
    k = 1: a certificate. For any other law and for a score model the constants are fitted, and no certificate: A is
    the given share of the smallest ``-x.s/|x|^2`` in the outer half of ``|x| <= region`` and at radii up to 4096 times
    that, B what is then missing and 1 % more, k the steepest slope of ``log|s|``. A fit always returns a number, so an
    A is only given where something says that it does not fall off with the radius: for a law its tail,
    ``-log p ~ |x|^p`` with p >= 2 (not Laplace, Student's t or exp(-|x|^1.8)); for a score model the trend over
    growing radii. Where neither can be looked at, that is said, and there is no A.

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
    _checks.instance("dynamics", dynamics, Reverse | Law, "a reverse dynamics or a law")
    law, score, exact = _what(dynamics, t)
    if region is None:
        variance = float(np.max(np.diagonal(np.atleast_2d(law.cov))))
        if not np.isfinite(variance):
            raise _checks.error("region", "a radius for a law without variance", "None", "give region=")
        region = float(np.linalg.norm(np.atleast_1d(law.mean))) + _REACH * float(np.sqrt(variance))
    radius = _checks.positive("region", region)
    numbers = _closed.spectrum(law) if exact else None
    if numbers is not None:
        a, b = _closed.dissipativity(numbers, share)
        return _record(score, law.dim, radius, (a, b, _closed.growth(numbers), 1.0), "closed form", ())
    tail = law.tail if exact else None
    # beyond its support a law has no score, and far beyond its nodes a marginal by quadrature has the rule's tails
    ends = exact and (isinstance(law, QuadratureLaw) or (tail is not None and tail.power == np.inf))
    far = _NOWHERE if ends else _Far.of(score, law.dim, radius)
    fitted = _fit(score, law.dim, radius, share, far)
    checked: tuple[Hypothesis, ...] = () if ends else (far.does_not_steepen(),)
    if tail is None:
        checked = (far.keeps_pulling(), *checked)
    else:
        how = "closed form" if tail.known else "read off the log density up to 1e8"
        margin = tail.power - 2.0
        checked = (Hypothesis("dissipative tail", margin, f"p in -log p ~ |x|^p, less 2; {how}"), *checked)
    return _record(score, law.dim, radius, fitted, "fitted", checked, far)


@dataclass(frozen=True, eq=False)
class _Far:
    """A score followed beyond the region: ``-max x.s/r^2`` and ``max |s|`` at radii that double; empty if refused."""

    radii: Array
    pull: Array
    size: Array
    refusal: str = ""

    @classmethod
    def of(cls, score: Callable[[Array], Array], dim: int, radius: float) -> _Far:
        radii = np.asarray(radius * 2.0 ** np.arange(_DOUBLINGS + 1), dtype=np.float64)
        try:
            with np.errstate(all="ignore"):
                along, size = _inward(score, dim, radii)
        except ValueError as refusal:
            # tables and networks may end somewhere: then nothing is known beyond, which the record says
            return cls(np.empty(0), np.empty(0), np.empty(0), f"the score refuses points so far out: {refusal}")
        if not (np.all(np.isfinite(along)) and np.all(np.isfinite(size))):
            return cls(np.empty(0), np.empty(0), np.empty(0), "the score is not finite so far out")
        return cls(radii, -along / radii**2, size)

    def keeps_pulling(self) -> Hypothesis:
        """Whether ``-x.s/|x|^2`` tends to something positive."""
        name = "dissipative tail"
        if not self.radii.size:
            return Hypothesis(name, float("nan"), self.refusal)
        if np.min(self.pull) <= 0.0:
            return Hypothesis(name, min(float(np.min(self.pull)), -1e-300), "smallest -x.s/|x|^2 at growing radii")
        half = _DOUBLINGS // 2
        early, late = (_loss(part) for part in (self.pull[: half + 1], self.pull[half:]))
        margin = _LOSS - late if late <= max(_NONE, _GOES_ON * early) or late > _LOSS else _GOES_ON * early - late
        detail = f"-x.s/|x|^2 loses {early:.2g} and then {late:.2g} of itself up to |x| = {self.radii[-1]:.3g}"
        return Hypothesis(name, margin, detail)

    def does_not_steepen(self) -> Hypothesis:
        """Whether the growth of ``|s|`` stays that of a power."""
        if not self.radii.size:
            return Hypothesis("polynomial growth far out", float("nan"), self.refusal)
        slopes = np.diff(np.log(np.maximum(self.size, 1e-300))) / np.log(2.0)
        margin = _STEEPER - float(slopes[-1] - slopes[_DOUBLINGS // 2])
        return Hypothesis("polynomial growth far out", margin, "0.05 less what the slope of log|s| gains")


_NOWHERE = _Far(np.empty(0), np.empty(0), np.empty(0), "the law is known by quadrature only")


def _loss(values: Array) -> float:
    """The largest fall from an earlier to a later value, relative to the first."""
    return float(np.max(np.maximum.accumulate(values) - values) / values[0])


def _what(dynamics: Reverse | Law, t: float) -> tuple[Law, Callable[[Array], Array], bool]:
    """The law, its score as a function of points, and whether that score is the law's own."""
    if isinstance(dynamics, Law):
        return dynamics, dynamics.score, True
    _times.within("t", t, dynamics.horizon)
    law = dynamics.marginal(t)
    return law, (law.score if dynamics.exact else lambda x: dynamics.score(t, x)), dynamics.exact


def _inward(score: Callable[[Array], Array], dim: int, radii: Array, offset: float = 0.0) -> tuple[Array, Array]:
    """``max x.s`` and ``max |s|`` over the directions, per radius; in 2D looked for between the angles, too."""
    if dim == 1:
        x = np.stack([-radii, radii], axis=-1)
        s = np.asarray(score(x), dtype=np.float64)
        return (x * s).max(axis=1), np.abs(s).max(axis=1)
    angles = np.broadcast_to(2.0 * np.pi * (np.arange(_ANGLES) + offset) / _ANGLES, (radii.size, _ANGLES))
    along, size = _in_directions(score, radii, angles)
    found = [values.max(axis=1) for values in (along, size)]
    for k, values in enumerate((along, size)):
        best, width = angles[0, values.argmax(axis=1)], 2.0 * np.pi / _ANGLES
        for _ in range(_ROUNDS):
            near = best[:, None] + width * np.linspace(-1.0, 1.0, _NEAR)
            both = _in_directions(score, radii, near)
            found = [np.maximum(old, new.max(axis=1)) for old, new in zip(found, both, strict=True)]
            best = np.take_along_axis(near, both[k].argmax(axis=1)[:, None], axis=1)[:, 0]
            width *= 2.0 / (_NEAR - 1)
    return found[0], found[1]


def _in_directions(score: Callable[[Array], Array], radii: Array, angles: Array) -> tuple[Array, Array]:
    """``x.s`` and ``|s|`` at radii (n,) and angles (n, m)."""
    x = radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    s = np.asarray(score(x), dtype=np.float64)
    return (x * s).sum(axis=-1), np.hypot(s[..., 0], s[..., 1])


def _fit(
    score: Callable[[Array], Array], dim: int, radius: float, share: float, far: _Far
) -> tuple[float, float, float, float]:
    """A, B, C, k on the region and at the radii beyond."""
    radii = np.linspace(0.0, radius, _RADII + 1)[1:]
    along, size = _inward(score, dim, radii)
    outer = radii >= 0.5 * radius
    pull = np.append((-along / radii**2)[outer], far.pull)
    a = share * float(np.min(pull))
    b = max(0.0, float(np.max(along + a * radii**2)), float(np.max((a - far.pull) * far.radii**2, initial=0.0)))
    slopes = [np.polyfit(np.log(radii[outer]), np.log(np.maximum(size[outer], 1e-300)), 1)[0]]
    slopes += (np.diff(np.log(np.maximum(far.size, 1e-300))) / np.log(2.0)).tolist()
    power = max(0.0, *(float(slope) for slope in slopes))
    radii, size = np.append(radii, far.radii), np.append(size, far.size)
    with np.errstate(over="ignore"):
        growth = float(np.max(size / (1.0 + radii**power)))
    return a, _BETWEEN * b, _BETWEEN * growth, power


def _record(
    score: Callable[[Array], Array],
    dim: int,
    radius: float,
    constants: tuple[float, float, float, float],
    method: str,
    checked: tuple[Hypothesis, ...],
    far: _Far = _NOWHERE,
) -> Assumptions:
    """Check the constants at other points than they were fitted on."""
    a, b, c, power = constants
    radii = radius * (np.arange(2 * _RADII) + 0.5) / (2 * _RADII)
    along, size = _inward(score, dim, radii, offset=0.5)
    dissipative = float(np.min(b + _ROUNDING * (1.0 + b) - a * radii**2 - along))
    growing = float(np.min(c * (1.0 + radii**power) - size))
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
        statement="x.s(x) <= -A |x|^2 + B and |s(x)| <= C (1 + |x|^k)"
        + ("" if method == "closed form" else f", fitted on |x| <= {radius:.4g}: no certificate"),
        checked=checked,
        unchecked=() if method == "closed form" else (f"both inequalities beyond |x| = {radius:.4g}",),
        reason=reason,
        offset=b,
        growth=c,
        power=power,
        region=radius,
        method=method,
        radii=far.radii,
        pull=far.pull,
    )

"""The stochasticity eta of a reverse dynamics: a number, or a function of forward time such as EDM's churn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks
from fpsolve._callables import answer_of
from fpsolve._checks import error
from fpsolve._kinks import joints
from fpsolve._times import Joints
from fpsolve.processes import Process

Array = NDArray[np.float64]
EtaFunction: TypeAlias = Callable[[float], float]
Eta: TypeAlias = float | EtaFunction

#: Times at which a function is looked at for its zeros, equal in log t over this many e-folds below T.
_LOOKS, _DEPTH = 1025, 16.0
_BISECTIONS = 60
#: Looks for kinks of eta, one call each.
_ETA_LOOKS = 300
#: Of eta its square is all that counts: below this it is no noise that numbers can tell from none.
_LEAST = 1e-146


def eta_values(eta: EtaFunction, t: ArrayLike) -> Array:
    """A function eta at forward times t, of their shape; 0 where its square is rounding of the smallest numbers.

    Raises
    ------
    ValueError
        A value below 0, NaN or infinite, with the time.
    """
    times = _checks.real_array("t", t)
    values = np.array([_value(eta, s) for s in times.ravel().tolist()]).reshape(times.shape)
    bad = ~((values >= 0.0) & np.isfinite(values))
    if bad.any():
        got = f"{_checks.digits(values[bad][0])} at t = {_checks.digits(times[bad][0])}"
        raise error("eta", "finite values >= 0", got)
    return np.asarray(np.where(values < _LEAST, 0.0, values))


def felt(eta: float) -> float:
    """A number eta, 0 where its square is rounding of the smallest numbers."""
    return 0.0 if eta < _LEAST else eta


def _value(eta: EtaFunction, t: float) -> float:
    label = f"eta at t = {t:g}"
    array = _checks.real_array(label, answer_of(label, eta, t, remedy="eta is a number or a function of t"))
    if array.ndim:
        raise error(label, "one number", f"shape {array.shape}", "eta is the same at every x")
    return float(array)


def eta_joints(eta: EtaFunction, T: float) -> Joints:
    """Times in (0, T) at which eta jumps, bends or becomes 0: its own attribute `breaks`, else what is found.

    Zeros are looked for at a thousand times, so intervals of a thousandth of log t are found.
    """
    known = getattr(eta, "breaks", None)
    if known is not None:
        return Joints(tuple(sorted(float(t) for t in known if 0.0 < t < T)))
    times = T * np.exp(np.linspace(-_DEPTH, 0.0, _LOOKS))
    quiet = eta_values(eta, times) == 0.0
    changes = np.flatnonzero(quiet[1:] != quiet[:-1])
    edges = tuple(_edge(eta, times[k], times[k + 1], bool(quiet[k])) for k in changes)
    return joints(lambda t: eta_values(eta, t)[None], 0.0, T, announced=edges, looks=_ETA_LOOKS)


def always_zero(eta: EtaFunction, T: float, breaks: tuple[float, ...]) -> bool:
    """Whether eta is 0 in the middle of all its pieces and, if so, wherever else it was looked at.

    A zero in the middle says nothing of a smooth piece: ``(t - T/2)^2`` has no breaks.
    """
    ends = np.array([0.0, *breaks, T])
    if np.any(eta_values(eta, 0.5 * (ends[1:] + ends[:-1]))):
        return False
    even = T * (np.arange(_LOOKS) + 0.5) / _LOOKS
    return not np.any(eta_values(eta, np.concatenate([even, T * np.exp(np.linspace(-_DEPTH, 0.0, _LOOKS))])))


def _edge(eta: EtaFunction, low: float, high: float, quiet_below: bool) -> float:
    """The time between `low` and `high` at which eta begins or ceases to be 0."""
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if (float(eta_values(eta, middle)) == 0.0) == quiet_below:
            low = middle
        else:
            high = middle
    return float(0.5 * (low + high))


@dataclass(frozen=True)
class Churn:
    """eta(t) of EDM's stochastic sampler with very many steps; made by `edm_churn`.

    Attributes
    ----------
    S_churn, S_min, S_max : float
    sigma_min, sigma_max, rho : float
        Of Karras' time grid.
    process : Process or None
        Whose noise level at time t is sigma; None: t itself, as in EDM.
    """

    S_churn: float
    S_min: float
    S_max: float
    sigma_min: float
    sigma_max: float
    rho: float
    process: Process | None

    def __call__(self, t: float) -> float:
        """eta(t)."""
        level = self._level(t)
        if not self.S_min <= level <= self.S_max:
            return 0.0
        power = 1.0 / self.rho
        return math.sqrt(self.S_churn * level**power / (self.rho * (self.sigma_max**power - self.sigma_min**power)))

    @property
    def breaks(self) -> tuple[float, ...]:
        """Times at which the noise level is S_min or S_max."""
        return tuple(self._time(level) for level in (self.S_min, self.S_max) if 0.0 < level < self._highest)

    @property
    def _highest(self) -> float:
        return np.inf if self.process is None else self._level(float(self.process.T))

    def _level(self, t: float) -> float:
        if self.process is None:
            return t
        return math.sqrt(float(self.process.variance(0.0, t))) / float(self.process.scale(0.0, t))

    def _time(self, level: float) -> float:
        if self.process is None:
            return level
        from scipy.optimize import brentq

        return float(brentq(lambda t: self._level(t) - level, 0.0, self.process.T, xtol=1e-15, rtol=1e-14))


def edm_churn(
    S_churn: float,
    S_min: float = 0.0,
    S_max: float = math.inf,
    *,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    rho: float = 7.0,
    process: Process | None = None,
) -> Churn:
    """Return eta(t) of EDM's stochastic sampler in the limit of many steps,

        eta^2(sigma) = S_churn sigma^{1/rho} / (rho (sigma_max^{1/rho} - sigma_min^{1/rho})),  S_min <= sigma <= S_max,

    and 0 outside. A sampler with n steps raises the noise level by the factor ``1 + S_churn/n`` before each; the limit
    holds for ``n > S_churn/(sqrt(2) - 1)``, where that factor is not capped, and for S_noise = 1.

    Parameters
    ----------
    S_churn : float
        Churn >= 0; 0 is the deterministic sampler.
    S_min, S_max : float
        Noise levels between which there is churn, default all.
    sigma_min, sigma_max, rho : float
        Of Karras' time grid ``sigma_i^{1/rho}`` equally spaced; defaults 0.002, 80 and 7.
    process : Process, optional
        Where given, sigma is its noise level ``sqrt(sigma2(0,t))/alpha(0,t)``; default sigma = t, as in EDM, and the
        process of the `Reverse` it is handed to where that is another.

    Raises
    ------
    ValueError
        S_churn < 0, S_min > S_max, rho <= 0, sigma_min >= sigma_max.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, Algorithm 2.

    Examples
    --------
    >>> import fpsolve as fp
    >>> eta = edm_churn(40.0, S_min=0.05, S_max=50.0)
    >>> eta(0.01), round(eta(1.0), 4), eta(60.0)
    (0.0, 1.9793, 0.0)
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.EDM(), eta=eta)
    """
    _checks.non_negative("S_churn", S_churn)
    _checks.non_negative("S_min", S_min)
    if not _checks.interval("S_max", S_max, 0.0, math.inf) >= S_min:
        raise error("S_max", f"at least S_min = {_checks.digits(S_min)}", _checks.digits(S_max), "swap S_min and S_max")
    _checks.positive("rho", rho)
    _checks.non_negative("sigma_min", sigma_min)
    if not _checks.positive("sigma_max", sigma_max) > sigma_min:
        raise error("sigma_max", f"above sigma_min = {_checks.digits(sigma_min)}", _checks.digits(sigma_max))
    return Churn(float(S_churn), float(S_min), float(S_max), float(sigma_min), float(sigma_max), float(rho), process)

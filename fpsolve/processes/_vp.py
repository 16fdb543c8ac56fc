"""Processes that pull to the origin: Ornstein-Uhlenbeck, VP, cosine VP and sub-VP.

The variance-preserving process with a linear or curved schedule.

The sub-variance-preserving process.

The variance-preserving process with the cosine schedule.

The Ornstein-Uhlenbeck process.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.processes._base import Process, VariancePreserving, check_schedule, constant, mean_ramp, ramp
from fpsolve.processes._table import FromAlphasCumprod, Schedule, from_betas


@dataclass(frozen=True)
class VP(Process):
    """The process ``dX = -beta(t)/(2 sigma^2) X dt + sqrt(beta(t)) dW``, with stationary law N(0, sigma^2).

    ``beta(t) = beta_min + (beta_max - beta_min) (e^{ct} - 1)/(e^{cT} - 1)``, linear at c = 0. With
    ``B = int_s^t beta``, ``alpha(s, t) = exp(-B/(2 sigma^2))`` and ``sigma2(s, t) = sigma^2 (1 - alpha^2)``.

    Parameters
    ----------
    beta_min, beta_max : float, defaults 0.1 and 20
        Noise rates >= 0 at time 0 and > 0 at time T (unit length^2/time).
    T : float, default 1
        Final time > 0.
    sigma : float, default 1
        Standard deviation > 0 of the stationary law.
    curvature : float, default 0
        Curvature c of the schedule in [-10, 10] (unit 1/time): c > 0 keeps the noise for late times.

    Raises
    ------
    ValueError
        If a parameter is outside of its range.

    References
    ----------
    Song et al. 2021, arXiv:2011.13456 (linear); Strasman et al. 2025, arXiv:2402.04650 (curved).

    Examples
    --------
    >>> process = VP(beta_min=0.1, beta_max=20.0, T=1.0)
    >>> round(float(process.scale(0.0, 1.0)), 6)
    0.006572
    >>> process.beta([0.0, 0.5, 1.0])
    array([ 0.1 , 10.05, 20.  ])
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    T: float = 1.0
    sigma: float = 1.0
    curvature: float = 0.0

    def __post_init__(self) -> None:
        check_schedule(self.beta_min, self.beta_max, self.T)
        _checks.positive("sigma", self.sigma)
        _checks.interval("curvature", self.curvature, -10.0, 10.0)
        _checks.interval("curvature * T", self.curvature * self.T, -500.0, 500.0, remedy="measure time in T")

    def beta(self, t: Any) -> FloatArray:
        """Return the noise rate beta(t)."""
        return self.beta_min + (self.beta_max - self.beta_min) * ramp(self._time(t), self.curvature, self.T)

    def drift_rate(self, t: Any) -> FloatArray:
        """Return a(t) = -beta(t)/(2 sigma^2)."""
        return -self.beta(t) / (2.0 * self.sigma**2)

    def diffusion(self, t: Any) -> FloatArray:
        """Return g(t) = sqrt(beta(t))."""
        return np.sqrt(self.beta(t))

    def scale(self, s: Any, t: Any) -> FloatArray:
        """Return alpha(s, t)."""
        return np.exp(-0.5 * self._integral(s, t) / self.sigma**2)

    def variance(self, s: Any, t: Any) -> FloatArray:
        """Return sigma2(s, t)."""
        return -(self.sigma**2) * np.expm1(-self._integral(s, t) / self.sigma**2)

    @staticmethod
    def from_betas(
        table: Schedule | ArrayLike = "linear", *, steps: int = 1000, zero_snr: bool = False, T: float = 1.0
    ) -> FromAlphasCumprod:
        """Return the process of a discrete table, by name or as an array: `fpsolve.processes.from_betas`."""
        return from_betas(table, steps=steps, zero_snr=zero_snr, T=T)

    def longer(self, T: float) -> "VP | None":
        """Return the same diffusion on [0, T]: beta goes on as it did, as long as it is > 0."""
        last = self.beta_min + (self.beta_max - self.beta_min) * float(ramp(np.asarray(T), self.curvature, self.T))
        return VP(self.beta_min, last, T, self.sigma, self.curvature) if last > 0.0 else None

    @property
    def prior_std(self) -> float:
        """Standard deviation sigma of the prior, the stationary law."""
        return self.sigma

    def _integral(self, s: Any, t: Any) -> FloatArray:
        """Return B(s, t) = int_s^t beta."""
        start, end = self._interval(s, t)
        mean = mean_ramp(start, end, self.curvature, self.T)
        return (end - start) * (self.beta_min * (1.0 - mean) + self.beta_max * mean)


@dataclass(frozen=True)
class SubVP(VariancePreserving):
    """The process ``dX = -beta(t)/2 X dt + sqrt(beta(t) (1 - e^{-2B(t)})) dW`` with ``B(t) = int_0^t beta``.

    ``alpha(s, t) = exp(-(B(t) - B(s))/2)``, and the variance integral is elementary:
    ``sigma2(s, t) = (1 - e^{-(B(t) - B(s))}) (1 - e^{-(B(t) + B(s))})``, from s = 0 ``(1 - e^{-B(t)})^2``.

    Parameters
    ----------
    beta_min, beta_max : float, defaults 0.1 and 20
        Rates >= 0 at time 0 and > 0 at time T (unit 1/time), linear in between.
    T : float, default 1
        Final time > 0.

    Raises
    ------
    ValueError
        If a parameter is outside of its range.

    References
    ----------
    Song et al. 2021, arXiv:2011.13456, section 3.4 and appendix B.

    Examples
    --------
    >>> round(float(SubVP().variance(0.0, 0.5)), 6)
    0.848123
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    T: float = 1.0

    def __post_init__(self) -> None:
        check_schedule(self.beta_min, self.beta_max, self.T)

    def beta(self, t: Any) -> FloatArray:
        """Return the linear schedule beta(t); g^2 is beta (1 - e^{-2B}) here, not beta."""
        return self.beta_min + (self.beta_max - self.beta_min) * ramp(self._time(t), 0.0, self.T)

    def diffusion(self, t: Any) -> FloatArray:
        """Return g(t) = sqrt(beta(t) (1 - e^{-2B(t)}))."""
        return np.sqrt(-self.beta(t) * np.expm1(-2.0 * self._integral(0.0, t)))

    def variance(self, s: Any, t: Any) -> FloatArray:
        """Return sigma2(s, t)."""
        between = self._integral(s, t)
        total = self._integral(0.0, s) + self._integral(0.0, t)
        return np.expm1(-between) * np.expm1(-total)

    def longer(self, T: float) -> "SubVP | None":
        """Return the same diffusion on [0, T]: beta goes on as it did, as long as it is > 0."""
        last = self.beta_min + (self.beta_max - self.beta_min) * T / self.T
        return SubVP(self.beta_min, last, T) if last > 0.0 else None

    def _integral(self, s: Any, t: Any) -> FloatArray:
        """Return B(t) - B(s) = int_s^t beta."""
        start, end = self._interval(s, t)
        mean = mean_ramp(start, end, 0.0, self.T)
        return (end - start) * (self.beta_min * (1.0 - mean) + self.beta_max * mean)


# offset s of Nichol and Dhariwal, and their clip of beta: 0.999 per step with 1000 steps
_OFFSET = 0.008
_CLIP = 999.0


@dataclass(frozen=True)
class CosineVP(VariancePreserving):
    """The process ``dX = -beta(t)/2 X dt + sqrt(beta(t)) dW`` with the cosine schedule, clipped.

    With ``phi(t) = (t/T + 0.008)/1.008 * pi/2`` and ``abar(t) = cos(phi(t))^2 / cos(phi(0))^2``, unclipped
    ``beta = -d log abar/dt = pi/(1.008 T) tan(phi)``, which diverges at T. Here ``beta`` is the minimum of
    that and ``999/T``, and `scale` and `variance` are those of the clipped beta:
    ``alpha(s, t) = sqrt(abar(t)/abar(s))`` before `clip_time` (about 0.998 T), with ``int beta`` growing
    linearly after it; ``sigma2 = 1 - alpha^2``.

    Parameters
    ----------
    T : float, default 1
        Final time > 0.

    Raises
    ------
    ValueError
        If `T` is not > 0.

    References
    ----------
    Nichol and Dhariwal 2021, arXiv:2102.09672, equation 17.

    Examples
    --------
    >>> process = CosineVP()
    >>> round(float(process.scale(0.0, 0.5)), 6), round(float(process.beta(1.0)), 6)
    (0.70274, 999.0)
    """

    T: float = 1.0

    def __post_init__(self) -> None:
        _checks.positive("T", self.T)

    @property
    def clip_time(self) -> float:
        """Time from which on beta is held at 999/T."""
        angle = np.arctan(_CLIP / (self.T * 2.0 * self._speed))
        return float(self.T * (angle * (1.0 + _OFFSET) / (0.5 * np.pi) - _OFFSET))

    @property
    def kinks(self) -> tuple[float, ...]:
        """`clip_time`, where beta has a kink."""
        return (self.clip_time,)

    def beta(self, t: Any) -> FloatArray:
        """Return the clipped noise rate beta(t)."""
        time = self._time(t)
        before = np.minimum(time, self.clip_time)
        return np.where(time < self.clip_time, 2.0 * self._speed * np.tan(self._angle(before)), _CLIP / self.T)[()]

    @property
    def _speed(self) -> float:
        """Return phi'."""
        return float(0.5 * np.pi / ((1.0 + _OFFSET) * self.T))

    def _angle(self, t: FloatArray) -> FloatArray:
        return (t / self.T + _OFFSET) / (1.0 + _OFFSET) * (0.5 * np.pi)

    def _integral(self, s: Any, t: Any) -> FloatArray:
        """Return B(s, t) = int_s^t beta.

        Before the clip, ``cos phi(t)/cos phi(s) = 1 - (2 sin^2(d/2) + tan phi(s) sin d)`` with
        ``d = phi(t) - phi(s)`` needs no difference of logarithms.
        """
        start, end = self._interval(s, t)
        low, high = np.minimum(start, self.clip_time), np.minimum(end, self.clip_time)
        turn = self._speed * (high - low)
        drop = 2.0 * np.sin(0.5 * turn) ** 2 + np.tan(self._angle(low)) * np.sin(turn)
        clipped = np.maximum(end, self.clip_time) - np.maximum(start, self.clip_time)
        integral: FloatArray = -2.0 * np.log1p(-drop) + clipped * _CLIP / self.T
        return integral


@dataclass(frozen=True)
class OrnsteinUhlenbeck(Process):
    """The process ``dX = -X dt + sqrt(2) dW``, with stationary law N(0, 1).

    ``alpha(s, t) = e^-(t-s)``, ``sigma2(s, t) = 1 - e^-2(t-s)``.

    Parameters
    ----------
    T : float
        Final time > 0.

    Raises
    ------
    ValueError
        If `T` is not > 0.

    References
    ----------
    Uhlenbeck and Ornstein 1930, doi:10.1103/PhysRev.36.823.

    Examples
    --------
    >>> round(float(OrnsteinUhlenbeck(T=3.0).scale(0.0, 1.0)), 6)
    0.367879
    """

    T: float

    def __post_init__(self) -> None:
        _checks.positive("T", self.T)

    def drift_rate(self, t: Any) -> FloatArray:
        """Return a(t) = -1."""
        return constant(-1.0, self._time(t))

    def diffusion(self, t: Any) -> FloatArray:
        """Return g(t) = sqrt(2)."""
        return constant(np.sqrt(2.0), self._time(t))

    def beta(self, t: Any) -> FloatArray:
        """Return beta(t) = 2: this is VP with a constant schedule."""
        return constant(2.0, self._time(t))

    def scale(self, s: Any, t: Any) -> FloatArray:
        """Return alpha(s, t)."""
        start, end = self._interval(s, t)
        return np.exp(start - end)

    def variance(self, s: Any, t: Any) -> FloatArray:
        """Return sigma2(s, t)."""
        start, end = self._interval(s, t)
        return -np.expm1(-2.0 * (end - start))

    def longer(self, T: float) -> "OrnsteinUhlenbeck":
        """Return the same diffusion on [0, T]."""
        return OrnsteinUhlenbeck(T)

    @property
    def prior_std(self) -> float:
        """Standard deviation 1 of the prior, the stationary law."""
        return 1.0

"""The variance-preserving process with a linear or curved schedule."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.processes._base import Process
from fpsolve.processes._schedule import check_schedule, mean_ramp, ramp


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
    0.00657
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

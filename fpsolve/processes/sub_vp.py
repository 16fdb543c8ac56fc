"""The sub-variance-preserving process."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve.processes._base import Process
from fpsolve.processes._schedule import check_schedule, mean_ramp, ramp


@dataclass(frozen=True)
class SubVP(Process):
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

    def drift_rate(self, t: Any) -> FloatArray:
        """Return a(t) = -beta(t)/2."""
        return -0.5 * self.beta(t)

    def diffusion(self, t: Any) -> FloatArray:
        """Return g(t) = sqrt(beta(t) (1 - e^{-2B(t)}))."""
        return np.sqrt(-self.beta(t) * np.expm1(-2.0 * self._integral(0.0, t)))

    def scale(self, s: Any, t: Any) -> FloatArray:
        """Return alpha(s, t)."""
        return np.exp(-0.5 * self._integral(s, t))

    def variance(self, s: Any, t: Any) -> FloatArray:
        """Return sigma2(s, t)."""
        between = self._integral(s, t)
        total = self._integral(0.0, s) + self._integral(0.0, t)
        return np.expm1(-between) * np.expm1(-total)

    def longer(self, T: float) -> "SubVP | None":
        """Return the same diffusion on [0, T]: beta goes on as it did, as long as it is > 0."""
        last = self.beta_min + (self.beta_max - self.beta_min) * T / self.T
        return SubVP(self.beta_min, last, T) if last > 0.0 else None

    @property
    def prior_std(self) -> float:
        """Standard deviation 1 of the prior."""
        return 1.0

    def _integral(self, s: Any, t: Any) -> FloatArray:
        """Return B(t) - B(s) = int_s^t beta."""
        start, end = self._interval(s, t)
        mean = mean_ramp(start, end, 0.0, self.T)
        return (end - start) * (self.beta_min * (1.0 - mean) + self.beta_max * mean)

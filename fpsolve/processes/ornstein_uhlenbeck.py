"""The Ornstein-Uhlenbeck process."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.processes._base import Process, constant


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

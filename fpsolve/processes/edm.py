"""The process of EDM."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.processes._base import Process, constant


@dataclass(frozen=True)
class EDM(Process):
    """The process ``dX = sqrt(2t) dW`` on [0, sigma_max]: time is the noise level.

    ``alpha = 1`` and ``sigma2(s, t) = t^2 - s^2``. The rho-spaced steps of Karras et al. are a time grid, not
    part of the process.

    Parameters
    ----------
    sigma_min, sigma_max : float, defaults 0.002 and 80
        Noise levels where samplers end and start, 0 < sigma_min < sigma_max (unit of x); ``T = sigma_max``.

    Raises
    ------
    ValueError
        If a parameter is outside of its range.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364.

    Examples
    --------
    >>> process = EDM()
    >>> float(process.T), float(process.variance(3.0, 5.0))
    (80.0, 16.0)
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    T: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _checks.positive("sigma_min", self.sigma_min)
        if not _checks.positive("sigma_max", self.sigma_max) > self.sigma_min:
            raise _checks.error("sigma_max", f"a number > sigma_min={_checks.digits(self.sigma_min)}", self.sigma_max)
        object.__setattr__(self, "T", self.sigma_max)

    def sigma(self, t: Any) -> FloatArray:
        """Return the noise level sigma(t) = t."""
        return constant(0.0, self._time(t)) + self._time(t)

    def drift_rate(self, t: Any) -> FloatArray:
        """Return a(t) = 0."""
        return constant(0.0, self._time(t))

    def diffusion(self, t: Any) -> FloatArray:
        """Return g(t) = sqrt(2t)."""
        return np.sqrt(2.0 * self._time(t))

    def scale(self, s: Any, t: Any) -> FloatArray:
        """Return alpha(s, t) = 1."""
        start, end = self._interval(s, t)
        return constant(1.0, end - start)

    def variance(self, s: Any, t: Any) -> FloatArray:
        """Return sigma2(s, t) = t^2 - s^2."""
        start, end = self._interval(s, t)
        return (end - start) * (end + start)

    def longer(self, T: float) -> "EDM":
        """Return the same diffusion on [0, T]."""
        return EDM(self.sigma_min, T)

    @property
    def prior_std(self) -> float:
        """Standard deviation sigma_max of the prior."""
        return self.sigma_max

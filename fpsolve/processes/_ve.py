"""Processes without drift, whose variance grows: VE and EDM.

The variance-exploding process.

The process of EDM.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.processes._base import Process, constant


@dataclass(frozen=True)
class VE(Process):
    """The process ``dX = g(t) dW`` with ``g(t)^2 = d(sigma(t)^2)/dt`` for a geometric noise level sigma.

    ``sigma(t) = sigma_min (sigma_max/sigma_min)^(t/T)``, ``alpha = 1``,
    ``sigma2(s, t) = sigma(t)^2 - sigma(s)^2``.

    Song et al. state the marginal at t as p_0 blurred by std sigma(t), though their equation from time 0 adds
    only ``sigma(t)^2 - sigma_min^2``. ``convention="sde"`` follows the equation. ``convention="score_sde"``
    follows the statement: the data are blurred by sigma_min at once, so ``sigma2(0, t) = sigma(t)^2`` for
    every t > 0 (and 0 at t = 0), with the same equation for 0 < s < t. Both are Markov.

    Parameters
    ----------
    sigma_min, sigma_max : float, defaults 0.01 and 50
        Noise levels at time 0 and T, 0 < sigma_min < sigma_max (unit of x).
    T : float, default 1
        Final time > 0.
    convention : {"sde", "score_sde"}, keyword only, default "sde"
        See above.

    Raises
    ------
    ValueError
        If a parameter is outside of its range.

    References
    ----------
    Song et al. 2021, arXiv:2011.13456, appendix B.

    Examples
    --------
    >>> VE(sigma_min=0.01, sigma_max=50.0).sigma([0.0, 1.0])
    array([1.e-02, 5.e+01])
    >>> round(float(VE(1.0, 2.0).variance(0.0, 1.0)), 6)
    3.0
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    T: float = 1.0
    convention: Literal["sde", "score_sde"] = field(default="sde", kw_only=True)

    def __post_init__(self) -> None:
        _checks.positive("sigma_min", self.sigma_min)
        _checks.positive("T", self.T)
        if not _checks.positive("sigma_max", self.sigma_max) > self.sigma_min:
            raise _checks.error("sigma_max", f"a number > sigma_min={_checks.digits(self.sigma_min)}", self.sigma_max)
        _checks.one_of("convention", self.convention, ("sde", "score_sde"))

    def sigma(self, t: Any) -> FloatArray:
        """Return the noise level sigma(t)."""
        return self.sigma_min * np.exp(self._growth * self._time(t))

    def drift_rate(self, t: Any) -> FloatArray:
        """Return a(t) = 0."""
        return constant(0.0, self._time(t))

    def diffusion(self, t: Any) -> FloatArray:
        """Return g(t) = sigma(t) sqrt(2 log(sigma_max/sigma_min)/T)."""
        return np.asarray(self.sigma(t) * np.sqrt(2.0 * self._growth))[()]

    def scale(self, s: Any, t: Any) -> FloatArray:
        """Return alpha(s, t) = 1."""
        start, end = self._interval(s, t)
        return constant(1.0, end - start)

    def variance(self, s: Any, t: Any) -> FloatArray:
        """Return sigma2(s, t)."""
        start, end = self._interval(s, t)
        added: FloatArray = self.sigma(start) ** 2 * np.expm1(2.0 * self._growth * (end - start))
        if self.convention == "sde":
            return added
        blurred = (start == 0.0) & (end > 0.0)
        return added + np.where(blurred, self.sigma_min**2, 0.0)

    def longer(self, T: float) -> "VE":
        """Return the same diffusion on [0, T]: the noise level goes on growing as it did."""
        last = self.sigma_min * float(np.exp(self._growth * T))
        return VE(self.sigma_min, last, T, convention=self.convention)

    @property
    def prior_std(self) -> float:
        """Standard deviation sigma_max of the prior."""
        return self.sigma_max

    @property
    def _growth(self) -> float:
        """Return (log sigma)'."""
        return float(np.log(self.sigma_max / self.sigma_min) / self.T)


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

"""Processes without drift, whose variance grows (VE, EDM), and such that pull to the origin (OU, VP, sub-VP)."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.processes._base import Process, VariancePreserving, check_schedule, constant, mean_ramp, ramp
from fpsolve.processes._table import FromAlphasCumprod, Schedule, from_betas


class _Driftless(Process):
    """What both have: alpha = 1, and a noise level sigma(t) that grows to sigma_max."""

    sigma_min: float
    sigma_max: float

    def _check_levels(self) -> None:
        _checks.positive("sigma_min", self.sigma_min)
        if not _checks.positive("sigma_max", self.sigma_max) > self.sigma_min:
            raise _checks.error("sigma_max", f"a number > sigma_min={_checks.digits(self.sigma_min)}", self.sigma_max)

    def drift_rate(self, t: Any) -> FloatArray:
        """Return a(t) = 0."""
        return constant(0.0, self._time(t))

    def scale(self, s: Any, t: Any) -> FloatArray:
        """Return alpha(s, t) = 1."""
        start, end = self._interval(s, t)
        return constant(1.0, end - start)

    @property
    def prior_std(self) -> float:
        """Standard deviation sigma_max of the prior."""
        return self.sigma_max


@dataclass(frozen=True)
class VE(_Driftless):
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
        _checks.positive("T", self.T)
        self._check_levels()
        _checks.one_of("convention", self.convention, ("sde", "score_sde"))

    def sigma(self, t: Any) -> FloatArray:
        """Return the noise level sigma(t)."""
        return self.sigma_min * np.exp(self._growth * self._time(t))

    def diffusion(self, t: Any) -> FloatArray:
        """Return g(t) = sigma(t) sqrt(2 log(sigma_max/sigma_min)/T)."""
        return np.asarray(self.sigma(t) * np.sqrt(2.0 * self._growth))[()]

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
    def _growth(self) -> float:
        """Return (log sigma)'."""
        return float(np.log(self.sigma_max / self.sigma_min) / self.T)


@dataclass(frozen=True)
class EDM(_Driftless):
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
        self._check_levels()
        object.__setattr__(self, "T", self.sigma_max)

    def sigma(self, t: Any) -> FloatArray:
        """Return the noise level sigma(t) = t."""
        return constant(0.0, self._time(t)) + self._time(t)

    def diffusion(self, t: Any) -> FloatArray:
        """Return g(t) = sqrt(2t)."""
        return np.sqrt(2.0 * self._time(t))

    def variance(self, s: Any, t: Any) -> FloatArray:
        """Return sigma2(s, t) = t^2 - s^2."""
        start, end = self._interval(s, t)
        return (end - start) * (end + start)

    def longer(self, T: float) -> "EDM":
        """Return the same diffusion on [0, T]."""
        return EDM(self.sigma_min, T)


class _Ramped(Process):
    """What both have whose rate goes from `beta_min` at time 0 to `beta_max` at T, linearly or curved."""

    beta_min: float
    beta_max: float
    curvature: float

    def beta(self, t: Any) -> FloatArray:
        """Return the noise rate beta(t)."""
        return self.beta_min + (self.beta_max - self.beta_min) * ramp(self._time(t), self.curvature, self.T)

    def _integral(self, s: Any, t: Any) -> FloatArray:
        """Return B(s, t) = int_s^t beta."""
        start, end = self._interval(s, t)
        mean = mean_ramp(start, end, self.curvature, self.T)
        return (end - start) * (self.beta_min * (1.0 - mean) + self.beta_max * mean)


@dataclass(frozen=True)
class VP(_Ramped):
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


@dataclass(frozen=True)
class SubVP(_Ramped, VariancePreserving):
    """The process ``dX = -beta(t)/2 X dt + sqrt(beta(t) (1 - e^{-2B(t)})) dW`` with ``B(t) = int_0^t beta``.

    ``alpha(s, t) = exp(-(B(t) - B(s))/2)``, and the variance integral is elementary:
    ``sigma2(s, t) = (1 - e^{-(B(t) - B(s))}) (1 - e^{-(B(t) + B(s))})``, from s = 0 ``(1 - e^{-B(t)})^2``.

    Parameters
    ----------
    beta_min, beta_max : float, defaults 0.1 and 20
        Rates >= 0 at time 0 and > 0 at time T (unit 1/time), linear in between; g^2 is not beta here.
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
    curvature = 0.0

    def __post_init__(self) -> None:
        check_schedule(self.beta_min, self.beta_max, self.T)

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

"""The variance-preserving process with the cosine schedule."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.processes._base import Process

# offset s of Nichol and Dhariwal, and their clip of beta: 0.999 per step with 1000 steps
_OFFSET = 0.008
_CLIP = 999.0


@dataclass(frozen=True)
class CosineVP(Process):
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
        return np.where(
            time < self.clip_time, 2.0 * self._speed * np.tan(self._angle(before)), _CLIP / self.T
        )[()]

    def drift_rate(self, t: Any) -> FloatArray:
        """Return a(t) = -beta(t)/2."""
        return -0.5 * self.beta(t)

    def diffusion(self, t: Any) -> FloatArray:
        """Return g(t) = sqrt(beta(t))."""
        return np.sqrt(self.beta(t))

    def scale(self, s: Any, t: Any) -> FloatArray:
        """Return alpha(s, t)."""
        return np.exp(-0.5 * self._integral(s, t))

    def variance(self, s: Any, t: Any) -> FloatArray:
        """Return sigma2(s, t)."""
        return -np.expm1(-self._integral(s, t))

    @property
    def prior_std(self) -> float:
        """Standard deviation 1 of the prior, the stationary law."""
        return 1.0

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

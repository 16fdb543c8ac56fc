"""What every forward process offers."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from fpsolve import _checks, _times
from fpsolve._checks import FloatArray

if TYPE_CHECKING:
    from fpsolve.laws import Gaussian


class Process(ABC):
    """A linear diffusion ``dX_t = a(t) X_t dt + g(t) dW_t`` on [0, T], with scalar a and g.

    Its transition is ``X_t | X_s = x ~ N(scale(s, t) x, variance(s, t) I)`` where
    ``scale(s, t) = exp(int_s^t a)`` and ``variance(s, t) = int_s^t scale(u, t)^2 g(u)^2 du``.

    A new process is one frozen dataclass with T and the five methods below, written so that they are accurate
    for t close to s and to 0 (``expm1`` and friends). Times are forward times in [0, T]; all methods
    broadcast, and scalars give numpy scalars. A time outside of [0, T], or s > t, raises a ValueError. Where one
    is used `checked_process` sees whether the five agree.
    """

    T: float

    @abstractmethod
    def drift_rate(self, t: Any) -> FloatArray:
        """Return a(t), of the shape of `t` (unit 1/time)."""

    @abstractmethod
    def diffusion(self, t: Any) -> FloatArray:
        """Return g(t) >= 0, of the shape of `t` (unit length/sqrt(time))."""

    @abstractmethod
    def scale(self, s: Any, t: Any) -> FloatArray:
        """Return alpha(s, t) = exp(int_s^t a), for s <= t, broadcast over both."""

    @abstractmethod
    def variance(self, s: Any, t: Any) -> FloatArray:
        """Return sigma2(s, t), the variance added from s to t per axis, for s <= t, broadcast over both."""

    @property
    def kinks(self) -> tuple[float, ...]:
        """Times in (0, T) at which a or g jumps or has a kink, default none; steps of a run end there.

        A process of your own whose schedule is in pieces says so here: within a step that holds a kink no scheme keeps
        its order, and error estimates that count on it are too small.
        """
        return ()

    @property
    @abstractmethod
    def prior_std(self) -> float:
        """Standard deviation of the prior, the law samplers start from."""

    def longer(self, T: float) -> "Process | None":
        """Return the same diffusion on [0, T] for a T beyond its own; None where nothing says how it goes on.

        Steps that first add noise, as EDM's churn at the highest level, leave [0, T] for a moment.
        """
        return None

    def reaching(self, t: float) -> "Process":
        """Return this process, or for a t beyond T that one churn can reach the same diffusion on [0, t].

        A churn raises the noise level ``sqrt(sigma2(0, t))/alpha(0, t)`` by at most a factor of sqrt(2). Where it is
        higher, or nothing says how the process goes on, it is this one, which refuses t.
        """
        longer = self.longer(float(t)) if t > self.T * (1.0 + 1e-9) else None
        if longer is None:
            return self
        levels = [float(p.variance(0.0, p.T)) / float(p.scale(0.0, p.T)) ** 2 for p in (self, longer)]
        return longer if levels[1] <= 2.0 * levels[0] * (1.0 + 1e-9) else self

    def prior(self, dim: int = 1) -> "Gaussian":
        """Return the prior N(0, prior_std^2 I), the customary start at time T.

        Parameters
        ----------
        dim : int, default 1
            Dimension, 1 or 2.
        """
        # here, not above: laws and processes share a room, and only this line of it needs a law
        from fpsolve.laws import Gaussian

        mean = 0.0 if _checks.dimension("dim", dim) == 1 else np.zeros(2)
        return Gaussian(mean, std=self.prior_std)

    def _time(self, t: Any) -> FloatArray:
        return _times.within("t", t, self.T)

    def _interval(self, s: Any, t: Any) -> tuple[FloatArray, FloatArray]:
        """Return both times, checked and ordered, unmodified: t - s is exact for close floats."""
        start, end = _times.within("s", s, self.T), _times.within("t", t, self.T)
        if np.any(start > end):
            raise _checks.error(
                "s", "times s <= t", "s > t", "the forward process runs from s to t; swap them"
            )
        return start, end


def constant(value: float, like: FloatArray) -> FloatArray:
    """Return `value` in the shape of `like`, a scalar for a scalar."""
    return value + 0.0 * like

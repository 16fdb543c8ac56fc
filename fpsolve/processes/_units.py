"""Any process with lengths in units of its own standard deviation: there it is variance preserving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray
from fpsolve.processes._base import Process


@dataclass(frozen=True)
class OwnUnits(Process):
    r"""A process in units of the standard deviation that data of standard deviation 1 have at time t.

    .. math:: y = x/c(t), \qquad c(t)^2 = \alpha(0, t)^2 + \sigma^2(0, t), \qquad
              dY = -\tfrac{\beta}{2} Y dt + \sqrt{\beta}\, dW, \qquad \beta = g^2/c^2

    Every process is variance preserving there, with the noise levels ``sigma/alpha`` of before: boxes, cells, starts
    and weights that suit one suit all. ``alpha(s, t)`` is divided by c(t)/c(s), ``sigma2(s, t)`` by ``c(t)^2``. Laws at
    t = 0 are those of before, total variation, KL and the reverse dynamics too; a weighted norm is one of V(x/c(t)).

    Parameters
    ----------
    process : Process
    T : float, optional
        Final time, at most that of the process, which is the default.

    Raises
    ------
    ValueError
        No process; a T that is not in (0, process.T].

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, section 2 (every linear process in the units of another).

    Examples
    --------
    >>> from fpsolve.processes import EDM, OwnUnits
    >>> process = OwnUnits(EDM())
    >>> round(float(process.scale(0.0, 80.0)) * 6401.0**0.5, 12), round(float(process.variance(0.0, 80.0)), 9)
    (1.0, 0.999843774)
    """

    process: Process
    T: float = 0.0

    def __post_init__(self) -> None:
        _checks.instances(process=(self.process, Process))
        if self.T == 0.0:
            object.__setattr__(self, "T", float(self.process.T))
        _checks.interval("T", self.T, 0.0, self.process.T, ends="(]")

    @property
    def plain(self) -> Process:
        """`process`."""
        return self.process.plain

    def length(self, t: Any) -> FloatArray:
        """Return the unit c(t), of the shape of `t`."""
        t = self._time(t)
        return np.sqrt(np.square(self.process.scale(0.0, t)) + self.process.variance(0.0, t))

    def beta(self, t: Any) -> FloatArray:
        """Return the noise rate ``g^2/c^2``."""
        return np.square(self.process.diffusion(t) / self.length(t))

    def drift_rate(self, t: Any) -> FloatArray:
        """Return ``-beta(t)/2``."""
        return -0.5 * self.beta(t)

    def diffusion(self, t: Any) -> FloatArray:
        """Return ``g(t)/c(t)``."""
        return self.process.diffusion(t) / self.length(t)

    def scale(self, s: Any, t: Any) -> FloatArray:
        """Return ``alpha(s, t) c(s)/c(t)``."""
        start, end = self._interval(s, t)
        return self.process.scale(start, end) * (self.length(start) / self.length(end))

    def variance(self, s: Any, t: Any) -> FloatArray:
        """Return ``sigma2(s, t)/c(t)^2``."""
        start, end = self._interval(s, t)
        return self.process.variance(start, end) / np.square(self.length(end))

    @property
    def kinks(self) -> tuple[float, ...]:
        """Those of the process."""
        return tuple(t for t in self.process.kinks if t < self.T)

    @property
    def held_from(self) -> float:
        """That of the process."""
        return min(self.T, self.process.held_from)

    @property
    def prior_std(self) -> float:
        """That of the process, in units of c(T)."""
        return float(self.process.prior_std / self.length(self.T))

    def longer(self, T: float) -> OwnUnits | None:
        """Return the same on [0, T]; None where the process does not say how it goes on."""
        process = self.process if T <= self.process.T else self.process.longer(T)
        return None if process is None else OwnUnits(process, T)

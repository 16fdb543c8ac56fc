"""How fast a law's density falls far out: what decides which moments of it are finite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fpsolve._checks import FloatArray


@dataclass(frozen=True)
class Tail:
    """The leading term of ``-log p(x)`` far out, along the direction in which it is smallest.

    Attributes
    ----------
    power : float
        ``-log p ~ rate |x|^power``: 2 for Gaussian tails, 1 for exponential ones, inf for a compact support; 0 stands
        for power laws, ``p ~ |x|^-rate``.
    rate : float
        > 0, in units of 1/(unit of x)^power; for Gaussian tails ``1/(2 v)``, v the largest variance of a component
        along any direction.
    known : bool
        True for a closed form; False where it was read off the log density at growing radii.
    """

    power: float
    rate: float
    known: bool = True

    def diffused(self, scale: float, variance: float) -> Tail:
        """Return the tail of ``scale X + sqrt(variance) Z``, Z standard normal: the slower of the two decays."""
        if variance == 0.0:
            return Tail(self.power, self.rate / scale ** min(self.power, 2.0), self.known) if self.power else self
        if scale == 0.0 or self.power > 2.0:
            return Tail(2.0, 0.5 / variance, self.known)
        if self.power == 2.0:
            return Tail(2.0, 0.5 / (scale**2 * 0.5 / self.rate + variance), self.known)
        return Tail(self.power, self.rate / scale**self.power, self.known) if self.power else self


#: The tail of a law on a bounded set.
COMPACT = Tail(np.inf, np.inf)

#: Radii at which a log density is read, and the power that counts as 2 or 0 within their rounding.
_RADII = 2.0 ** np.arange(17, 27)
_SAME = 1e-4


def measured(log_density: Callable[[FloatArray], FloatArray], dim: int) -> Tail:
    """Return the tail of a log density read at radii from 1e5 to 1e8.

    With ``g = -log p`` the differences ``g(2r) - g(r)`` grow like ``2^power``; the slowest of 2 (in 2D 16) directions
    counts. A law whose tail begins further out is taken for what it is there.
    """
    angles = np.pi * np.arange(2 if dim == 1 else 16) / (1 if dim == 1 else 8)
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    points = np.asarray(_RADII[:, None] * np.round(ways[:, 0]) if dim == 1 else _RADII[:, None, None] * ways)
    g = -np.asarray(log_density(points))
    slowest = g.min(axis=1)
    if not np.all(np.isfinite(slowest)):
        return Tail(np.inf, np.inf, known=False)
    first, last = np.diff(slowest)[-2:]
    power = float(np.log2(last / first)) if first > 0.0 else 0.0
    if power < _SAME:
        return Tail(0.0, float(last / np.log(2.0)), known=False)
    power = 2.0 if abs(power - 2.0) < _SAME else 1.0 if abs(power - 1.0) < _SAME else power
    return Tail(power, float(last / (_RADII[-2] ** power * (2.0**power - 1.0))), known=False)

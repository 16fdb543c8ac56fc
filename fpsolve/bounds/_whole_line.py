"""What is known of a kernel beyond its box and between its cells: drift and overlap on the whole line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve.bounds._harris_record import HELPS
from fpsolve.bounds._lyapunov import GAMMAS, Region, TradeOff, height
from fpsolve.bounds._posterior import Posterior
from fpsolve.bounds._radial import Radial, looked_at, radial
from fpsolve.bounds._record import Hypothesis
from fpsolve.kernels import Kernel, Operator
from fpsolve.weights import WeightLike

if TYPE_CHECKING:
    from fpsolve.dynamics import Reverse

Array = NDArray[np.float64]

DRIFT = "P V <= gamma V + K on the whole line"
OVERLAP = "1 - TV(P(x, .), P(y, .)) >= a'' for all x, y on the line with V(x) + V(y) <= R"
ROUNDING = "P V and the rows in exact arithmetic: double precision, with margins for rounding"
#: How many levels share one value of a'' at first.
_EVERY = 6
#: Trial gammas near the least one, in units of it.
_NEAR = np.array([1.005, 1.02, 1.05, 1.1, 1.3])


@dataclass(frozen=True, eq=False)
class Line:
    """A kernel on the line that is a Gaussian mixture in closed form, and a weight that grows with |x|.

    Attributes
    ----------
    posterior : Posterior
    v : Radial
        ``V = v.shift + v.factor v(|x|)``.
    looked_at : tuple of str
        What is taken for granted of the weight.
    """

    posterior: Posterior
    v: Radial
    looked_at: tuple[str, ...]

    @property
    def unchecked(self) -> tuple[str, ...]:
        """What is taken for granted."""
        return (*self.looked_at, ROUNDING)

    @classmethod
    def of(cls, kernel: Kernel | Operator, weight: WeightLike, reverse: Reverse | None = None) -> Line | None:
        """None where the kernel or the weight is not known in closed form; `reverse`: whose transitions it is."""
        known = kernel.exact_of if reverse is None and isinstance(kernel, Kernel) else reverse
        posterior = Posterior.of(known, kernel.t0, kernel.t1)
        v = None if posterior is None else radial(weight, 1)
        return None if posterior is None or v is None else cls(posterior, v, looked_at(weight))

    @property
    def least(self) -> float:
        """The gamma at or below which ``P V - gamma V`` is unbounded."""
        return self.v.least(self.posterior.gain)

    def constants(self, gammas: Array) -> Array:
        """The smallest K with ``P V <= gamma V + K`` that is certain, infinite where there is none."""
        k = self.posterior.least_constants(self.v, gammas)
        return np.asarray(np.maximum(self.v.shift * (1.0 - gammas) + self.v.factor * k, 0.0))

    def trade(self, kernel: Kernel | Operator, weight: WeightLike) -> TradeOff:
        """gamma against K, which serves every cell of the matrix as well; margins are gamma less the least one."""
        near = self.least * _NEAR
        gammas = np.union1d(GAMMAS, near[(near > GAMMAS[0]) & (near < GAMMAS[-1])])
        v, end = height(weight, kernel.grid), height(weight, kernel.target)
        pulled = kernel.markov.pull(end.reshape(kernel.target.shape)).ravel()
        ks = np.maximum(self.constants(gammas), (pulled - np.multiply.outer(gammas, v)).max(axis=1))
        return TradeOff(gammas, ks, np.where(np.isfinite(ks), gammas - self.least, -np.abs(gammas - self.least)))

    def overlaps(self, levels: Array) -> Array:
        """Lower bounds of a'' at levels R of V(x) + V(y); 1 where no pair is that low."""
        return self.posterior.overlaps(self.v, (levels - 2.0 * self.v.shift) / self.v.factor)

    def at_most(self, found: Array, levels: Array) -> Array:
        """The smaller of `found` and a'' at increasing levels; a'' decreases, so few of its values tell for most."""
        least = np.empty(levels.shape)
        marks = np.append(np.arange(0, levels.size - 1, _EVERY), levels.size - 1)
        # at every level a'' is at least its value at the next mark
        least[:] = self.overlaps(levels[marks])[np.searchsorted(marks, np.arange(levels.size))]
        open_ = found > least
        if open_.any():
            least[open_] = self.overlaps(levels[open_])
        return np.minimum(found, least)

    def common(self, levels: Array) -> Array:
        """Lower bounds of the mass common to all rows from ``{V <= R}``: log P(x, dz) is concave in x."""
        radii = self.v.radius(np.maximum((levels - self.v.shift) / self.v.factor, 0.0))
        found = np.ones(radii.shape)
        some = radii > 0.0
        found[some] -= self.posterior.distance(-radii[some], radii[some]) + 1e-12
        return np.asarray(np.maximum(found, 0.0))

    def drift_holds(self, gamma: float, k: float) -> Hypothesis:
        """The drift inequality as checked."""
        detail = f"P V in closed form, V = weight - 1: K = {k:.6g}; the margin is gamma less the least possible one"
        margin = gamma - self.least if np.isfinite(k) else -abs(gamma - self.least)
        return Hypothesis(DRIFT, margin, detail)

    def overlap_holds(self, level: float, overlap: float) -> Hypothesis:
        """The overlap as checked."""
        detail = f"rows in closed form, R = {level:.6g}; the margin is the overlap"
        return Hypothesis(OVERLAP, overlap, detail)

    def no_drift(self) -> str:
        """Why no gamma below 1 is admissible, and what helps."""
        grows = f"far out P V grows like {self.least:.4g} V" if np.isfinite(self.least) else "P V grows faster than V"
        return f"no gamma < 1: {grows}, whatever the box; {HELPS}"

    def reach(self, radii: Array) -> Array:
        """Half-widths of boxes that hold the rows from some radii, to ten standard deviations."""
        p = self.posterior
        return np.asarray(p.gain * radii + float(np.max(np.abs(p.offsets))) + 10.0 * np.sqrt(float(p.variances.max())))

    def half_width(self) -> float:
        """A box that holds every component of p at both ends of the block, ten standard deviations of each."""
        p = self.posterior
        spread = np.sqrt(p.variances * p.evidence_variances / max(p.s, 1e-300))
        centres = np.abs(p.offsets) * p.evidence_variances / max(p.s, 1e-300)
        return float(max(p.core, np.max(centres + 10.0 * spread)))


def trade_off(
    kernel: Kernel | Operator, weight: WeightLike, v: Array, region: Region, line: Line | None
) -> TradeOff:
    """gamma against K: on the whole line where the kernel is known there, else on the box."""
    if line is not None:
        return line.trade(kernel, weight)
    pulled = kernel.markov.pull(height(weight, kernel.target).reshape(kernel.target.shape)).ravel()
    return TradeOff.of(pulled, v, region)
